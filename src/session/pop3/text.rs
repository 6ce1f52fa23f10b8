//! Everything POP3 says, in every language it speaks (LANG, RFC 6856 §3).
//!
//! Response codes (RFC 2449 §8, RFC 3206) are of the protocol and the same in all languages. English is ASCII (RFC 1939 §3);
//! another language is spoken only to who has asked for it, in UTF-8.

use crate::types::Language;

/// The language that a basic language range asks for. One that is more exact than what there is (`de-AT`) gets what is nearest
/// (lookup, RFC 4647 §3.4); `*` gets the box's own.
pub fn matching(range: &[u8], own: Language) -> Option<Language> {
    if range == b"*" {
        return Some(own);
    }
    let primary = range.split(|byte| *byte == b'-').next().unwrap_or_default();
    let found = Language::ALL.into_iter().find(|(_, tag, _)| primary.eq_ignore_ascii_case(tag.as_bytes()));
    found.map(|(language, _, _)| language)
}

macro_rules! texts {
    ($($name:ident: $status:expr, $english:literal, $german:literal;)*) => {
        /// What there is to say.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Text {
            $(#[doc = $english] $name,)*
        }

        impl Text {
            /// Everything.
            #[cfg(test)]
            const ALL: &[Text] = &[$(Text::$name),*];

            /// Status with response code, English, German. `#` is the place of a number.
            const fn parts(self) -> [&'static str; 3] {
                match self {
                    $(Text::$name => [$status, $english, $german],)*
                }
            }
        }
    };
}

const OK: &str = "+OK";
const ERR: &str = "-ERR";
/// RFC 3206 §4: it may be better later.
const TEMP: &str = "-ERR [SYS/TEMP]";

texts! {
    Capabilities: OK, "capabilities follow", "Fähigkeiten folgen";
    BeginTls: OK, "begin TLS", "TLS beginnen";
    TlsAlready: ERR, "TLS is active already", "TLS ist schon aktiv";
    TlsFirst: "-ERR [SYS/PERM]", "use STLS first", "zuerst STLS verwenden";
    NotNow: ERR, "not in this state", "in diesem Zustand nicht möglich";
    Utf8On: OK, "UTF-8 mode", "UTF-8-Modus";
    Languages: OK, "languages follow", "Sprachen folgen";
    LanguageChosen: OK, "en English it is", "de Ab jetzt Deutsch";
    LanguageUnknown: ERR, "no such language", "diese Sprache gibt es hier nicht";
    ApopNot: ERR, "APOP is not offered", "APOP wird nicht angeboten";
    Mechanisms: OK, "mechanisms follow", "Verfahren folgen";
    MechanismUnknown: ERR, "no such mechanism", "dieses Verfahren gibt es hier nicht";
    NotBase64: ERR, "not a PLAIN response in base64", "keine PLAIN-Antwort in Base64";
    Cancelled: ERR, "cancelled", "abgebrochen";
    SendPass: OK, "now PASS", "jetzt PASS";
    UserFirst: ERR, "USER first", "zuerst USER";
    BadAddress: ERR, "the name is not UTF-8", "der Name ist kein UTF-8";
    LoginWrong: "-ERR [AUTH]", "name or password is wrong", "Name oder Passwort ist falsch";
    LoginBusy: TEMP, "busy, try again later", "überlastet, bitte später noch einmal";
    InUse: "-ERR [IN-USE]", "another POP3 session has this mailbox", "eine andere POP3-Sitzung hat dieses Postfach";
    MailboxGone: TEMP, "the mailbox has been removed", "das Postfach wurde entfernt";
    SessionOver: "-ERR [AUTH]", "the password has been changed, log in again", "das Passwort wurde geändert, bitte neu anmelden";
    Maildrop: OK, "# messages (# octets)", "# Nachrichten (# Oktette)";
    MessageList: OK, "# messages (# octets)", "# Nachrichten (# Oktette)";
    UidList: OK, "unique identifiers follow", "Kennungen folgen";
    Top: OK, "top of message follows", "Anfang der Nachricht folgt";
    Octets: OK, "# octets", "# Oktette";
    NoSuchMessage: ERR, "no such message", "diese Nachricht gibt es nicht";
    Deleted: OK, "message # deleted", "Nachricht # gelöscht";
    DeletedAlready: ERR, "message # is deleted already", "Nachricht # ist schon gelöscht";
    Expunged: ERR, "message # was removed by another program", "Nachricht # wurde von einem anderen Programm entfernt";
    Unreadable: TEMP, "message # cannot be read", "Nachricht # kann nicht gelesen werden";
    Nothing: OK, "nothing done", "nichts getan";
    Bye: OK, "goodbye", "auf Wiedersehen";
    ByeEmpty: OK, "goodbye (mailbox empty)", "auf Wiedersehen (Postfach leer)";
    ByeMessages: OK, "goodbye (# messages left)", "auf Wiedersehen (# Nachrichten bleiben)";
    NotRemoved: TEMP, "some deleted messages not removed", "gelöschte Nachrichten wurden nicht entfernt";
    UnknownCommand: ERR, "unknown command", "unbekannter Befehl";
    Arguments: ERR, "wrong arguments", "falsche Argumente";
    LineTooLong: ERR, "line too long", "Zeile zu lang";
    TooManyErrors: ERR, "too many errors", "zu viele Fehler";
    Shutdown: TEMP, "server shutting down", "der Server wird beendet";
    NotStored: TEMP, "could not be stored", "konnte nicht gespeichert werden";
    Defect: TEMP, "internal error", "interner Fehler";
    TooManyConnections: TEMP, "too many connections", "zu viele Verbindungen";
}

/// Says it: one line, with the numbers in their places.
pub fn say(out: &mut Vec<u8>, language: Language, text: Text, numbers: &[u64]) {
    let [status, english, german] = text.parts();
    let words = match language {
        Language::English => english,
        Language::German => german,
    };
    out.extend_from_slice(status.as_bytes());
    out.push(b' ');
    let mut numbers = numbers.iter();
    for (index, part) in words.split('#').enumerate() {
        if index > 0 {
            out.extend_from_slice(numbers.next().copied().unwrap_or_default().to_string().as_bytes());
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_their_places() {
        let mut out = Vec::new();
        say(&mut out, Language::English, Text::Maildrop, &[2, 320]);
        say(&mut out, Language::German, Text::Deleted, &[7]);
        assert_eq!(out, "+OK 2 messages (320 octets)\r\n+OK Nachricht 7 gelöscht\r\n".as_bytes());
    }

    #[test]
    fn every_text_is_there_in_every_language() {
        for text in Text::ALL {
            let [status, english, german] = text.parts();
            assert!(status == OK || status.starts_with(ERR), "{text:?}");
            assert!(english.is_ascii(), "{text:?}: who has not asked for a language gets ASCII");
            assert_eq!(english.matches('#').count(), german.matches('#').count(), "{text:?}");
            let longest = status.len() + english.len().max(german.len()) + 2 * 20;
            assert!(longest <= 512, "{text:?}: RFC 2449 §4");
        }
    }

    #[test]
    fn a_range_finds_its_language() {
        assert_eq!(matching(b"*", Language::German), Some(Language::German));
        for (range, expected) in [
            (&b"*"[..], Some(Language::English)),
            (b"DE", Some(Language::German)),
            (b"de-AT", Some(Language::German)),
            (b"en", Some(Language::English)),
            (b"den", None),
            (b"", None),
            (b"\xff", None),
        ] {
            assert_eq!(matching(range, Language::English), expected);
        }
    }
}
