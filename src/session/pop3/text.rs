//! Everything POP3 says, in every language it speaks (LANG, RFC 6856 §3).
//!
//! Response codes (RFC 2449 §8, RFC 3206) are of the protocol and the same in all languages. English is ASCII (RFC 1939 §3);
//! another language is spoken only to who has asked for it, in UTF-8.

/// A language. The first is spoken until LANG says otherwise, and is what `LANG *` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English
    #[default]
    English,
    /// German
    German,
}

impl Language {
    /// All, with their tags (RFC 5646) and their own names.
    pub const ALL: [(Language, &'static str, &'static str); 2] =
        [(Language::English, "en", "English"), (Language::German, "de", "Deutsch")];

    /// The language that a basic language range asks for. One that is more exact than what there is (`de-AT`) gets what is
    /// nearest (lookup, RFC 4647 §3.4).
    pub fn matching(range: &[u8]) -> Option<Language> {
        if range == b"*" {
            return Some(Language::default());
        }
        let primary = range.split(|byte| *byte == b'-').next().unwrap_or_default();
        let found =
            Language::ALL.into_iter().find(|(_, tag, _)| primary.eq_ignore_ascii_case(tag.as_bytes()));
        found.map(|(language, _, _)| language)
    }
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The texts themselves stand below.
pub enum Text {
    Capabilities,
    BeginTls,
    TlsAlready,
    TlsFirst,
    NotNow,
    Utf8On,
    Languages,
    LanguageChosen,
    LanguageUnknown,
    ApopNot,
    Mechanisms,
    MechanismUnknown,
    NotBase64,
    Cancelled,
    SendPass,
    UserFirst,
    BadAddress,
    LoginWrong,
    LoginBusy,
    InUse,
    MailboxGone,
    SessionOver,
    Maildrop,
    MessageList,
    UidList,
    Top,
    Octets,
    NoSuchMessage,
    Deleted,
    DeletedAlready,
    Expunged,
    Unreadable,
    Nothing,
    Bye,
    ByeEmpty,
    ByeMessages,
    NotRemoved,
    UnknownCommand,
    Arguments,
    LineTooLong,
    TooManyErrors,
    Shutdown,
    NotStored,
    Defect,
    TooManyConnections,
}

impl Text {
    /// Status with response code, English, German. `#` is the place of a number.
    const fn parts(self) -> [&'static str; 3] {
        const OK: &str = "+OK";
        const ERR: &str = "-ERR";
        const TEMP: &str = "-ERR [SYS/TEMP]";
        match self {
            Text::Capabilities => [OK, "capabilities follow", "Fähigkeiten folgen"],
            Text::BeginTls => [OK, "begin TLS", "TLS beginnen"],
            Text::TlsAlready => [ERR, "TLS is active already", "TLS ist schon aktiv"],
            Text::TlsFirst => ["-ERR [SYS/PERM]", "use STLS first", "zuerst STLS verwenden"],
            Text::NotNow => [ERR, "not in this state", "in diesem Zustand nicht möglich"],
            Text::Utf8On => [OK, "UTF-8 mode", "UTF-8-Modus"],
            Text::Languages => [OK, "languages follow", "Sprachen folgen"],
            Text::LanguageChosen => [OK, "en English it is", "de Ab jetzt Deutsch"],
            Text::LanguageUnknown => [ERR, "no such language", "diese Sprache gibt es hier nicht"],
            Text::ApopNot => [ERR, "APOP is not offered", "APOP wird nicht angeboten"],
            Text::Mechanisms => [OK, "mechanisms follow", "Verfahren folgen"],
            Text::MechanismUnknown => [ERR, "no such mechanism", "dieses Verfahren gibt es hier nicht"],
            Text::NotBase64 => [ERR, "not a PLAIN response in base64", "keine PLAIN-Antwort in Base64"],
            Text::Cancelled => [ERR, "cancelled", "abgebrochen"],
            Text::SendPass => [OK, "now PASS", "jetzt PASS"],
            Text::UserFirst => [ERR, "USER first", "zuerst USER"],
            Text::BadAddress => [ERR, "the name is not UTF-8", "der Name ist kein UTF-8"],
            Text::LoginWrong => ["-ERR [AUTH]", "name or password is wrong", "Name oder Passwort ist falsch"],
            Text::LoginBusy => [TEMP, "busy, try again later", "überlastet, bitte später noch einmal"],
            Text::InUse => [
                "-ERR [IN-USE]",
                "another POP3 session has this mailbox",
                "eine andere POP3-Sitzung hat dieses Postfach",
            ],
            Text::MailboxGone => [TEMP, "the mailbox has been removed", "das Postfach wurde entfernt"],
            Text::SessionOver => [
                "-ERR [AUTH]",
                "the password has been changed, log in again",
                "das Passwort wurde geändert, bitte neu anmelden",
            ],
            Text::Maildrop => [OK, "# messages (# octets)", "# Nachrichten (# Oktette)"],
            Text::MessageList => [OK, "# messages (# octets)", "# Nachrichten (# Oktette)"],
            Text::UidList => [OK, "unique identifiers follow", "Kennungen folgen"],
            Text::Top => [OK, "top of message follows", "Anfang der Nachricht folgt"],
            Text::Octets => [OK, "# octets", "# Oktette"],
            Text::NoSuchMessage => [ERR, "no such message", "diese Nachricht gibt es nicht"],
            Text::Deleted => [OK, "message # deleted", "Nachricht # gelöscht"],
            Text::DeletedAlready => [ERR, "message # is deleted already", "Nachricht # ist schon gelöscht"],
            Text::Expunged => [
                ERR,
                "message # was removed by another program",
                "Nachricht # wurde von einem anderen Programm entfernt",
            ],
            Text::Unreadable => [TEMP, "message # cannot be read", "Nachricht # kann nicht gelesen werden"],
            Text::Nothing => [OK, "nothing done", "nichts getan"],
            Text::Bye => [OK, "goodbye", "auf Wiedersehen"],
            Text::ByeEmpty => [OK, "goodbye (mailbox empty)", "auf Wiedersehen (Postfach leer)"],
            Text::ByeMessages => [OK, "goodbye (# messages left)", "auf Wiedersehen (# Nachrichten bleiben)"],
            Text::NotRemoved => {
                [TEMP, "some deleted messages not removed", "gelöschte Nachrichten wurden nicht entfernt"]
            }
            Text::UnknownCommand => [ERR, "unknown command", "unbekannter Befehl"],
            Text::Arguments => [ERR, "wrong arguments", "falsche Argumente"],
            Text::LineTooLong => [ERR, "line too long", "Zeile zu lang"],
            Text::TooManyErrors => [ERR, "too many errors", "zu viele Fehler"],
            Text::Shutdown => [TEMP, "server shutting down", "der Server wird beendet"],
            Text::NotStored => [TEMP, "could not be stored", "konnte nicht gespeichert werden"],
            Text::Defect => [TEMP, "internal error", "interner Fehler"],
            Text::TooManyConnections => [TEMP, "too many connections", "zu viele Verbindungen"],
        }
    }
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
    fn a_range_finds_its_language() {
        for (range, expected) in [
            (&b"*"[..], Some(Language::English)),
            (b"DE", Some(Language::German)),
            (b"de-AT", Some(Language::German)),
            (b"en", Some(Language::English)),
            (b"den", None),
            (b"", None),
            (b"\xff", None),
        ] {
            assert_eq!(Language::matching(range), expected);
        }
    }
}
