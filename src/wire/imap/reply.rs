//! What the server says: every encoder appends to `out` (RFC 3501 §7 and §9).
//!
//! Invariants: a response code is followed by a text, always; text is one line of ASCII-safe bytes, whatever is passed in.

use super::status::StatusItem;
use super::utf7;
use crate::types::{Flags, Serial, Uid, UidSet};

/// `resp-cond-state = ("OK" / "NO" / "BAD") SP resp-text`, and BYE and PREAUTH, which are untagged only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
    /// The connection ends.
    Bye,
    /// The greeting to who needs no login.
    Preauth,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Condition::Ok => "OK",
            Condition::No => "NO",
            Condition::Bad => "BAD",
            Condition::Bye => "BYE",
            Condition::Preauth => "PREAUTH",
        }
    }
}

/// `resp-text-code`. Those without arguments are [`Code::Word`]: a new one needs no change here.
#[derive(Clone, Copy, Debug)]
pub enum Code<'a> {
    /// A code that says all: `Word("TRYCREATE")`. RFC 3501 §7.1 and RFC 5530 §3 name them.
    Word(&'static str),
    /// The capabilities, in order.
    Capability(&'a [&'a str]),
    /// What CHARSET may be.
    BadCharset(&'a [&'a str]),
    /// Flags that a client can change, with the keyword's names, and whether it may make new keywords (`\*`).
    PermanentFlags {
        /// System flags.
        system: Flags,
        /// Names of keywords.
        keywords: &'a [&'a str],
        /// `\*`
        new_keywords: bool,
    },
    /// The folder's next UID.
    UidNext(Uid),
    /// The folder's UIDVALIDITY.
    UidValidity(u32),
    /// Sequence number of the first message that is not \Seen.
    Unseen(u32),
    /// RFC 7162 §3.1.2.1
    HighestModSeq(Serial),
    /// RFC 7162 §3.1.3: sequence numbers or UIDs that a conditional STORE has left alone.
    Modified(&'a UidSet),
    /// RFC 4315 §3
    AppendUid {
        /// UIDVALIDITY of the folder.
        uid_validity: u32,
        /// The new message.
        uid: Uid,
    },
    /// RFC 4315 §3
    CopyUid {
        /// UIDVALIDITY of the folder that was copied to.
        uid_validity: u32,
        /// The messages' UIDs where they come from.
        from: &'a UidSet,
        /// Their UIDs there, in the same order.
        to: &'a UidSet,
    },
}

/// `response-tagged = tag SP resp-cond-state CRLF`
pub fn tagged(out: &mut Vec<u8>, tag: &str, condition: Condition, code: Option<Code<'_>>, text: &str) {
    out.extend_from_slice(tag.as_bytes());
    condition_line(out, condition, code, text);
}

/// `"*" SP (resp-cond-state / resp-cond-bye / resp-cond-auth) CRLF`
pub fn untagged(out: &mut Vec<u8>, condition: Condition, code: Option<Code<'_>>, text: &str) {
    out.push(b'*');
    condition_line(out, condition, code, text);
}

/// `resp-text = ["[" resp-text-code "]" SP] text`
fn condition_line(out: &mut Vec<u8>, condition: Condition, code: Option<Code<'_>>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(condition.name().as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        print_code(out, code);
        out.extend_from_slice(b"] ");
    }
    let start = out.len();
    out.extend(text.bytes().filter(|byte| matches!(byte, b' '..=b'~')));
    if out.len() == start {
        out.push(b'.');
    }
    out.extend_from_slice(b"\r\n");
}

fn print_code(out: &mut Vec<u8>, code: Code<'_>) {
    let text = match code {
        Code::Word(word) => word.to_owned(),
        Code::Capability(names) => format!("CAPABILITY {}", names.join(" ")),
        Code::BadCharset(names) => format!("BADCHARSET ({})", names.join(" ")),
        Code::UidNext(uid) => format!("UIDNEXT {uid}"),
        Code::UidValidity(uid_validity) => format!("UIDVALIDITY {uid_validity}"),
        Code::Unseen(sequence) => format!("UNSEEN {sequence}"),
        Code::HighestModSeq(serial) => format!("HIGHESTMODSEQ {serial}"),
        Code::Modified(set) => format!("MODIFIED {set}"),
        Code::AppendUid { uid_validity, uid } => format!("APPENDUID {uid_validity} {uid}"),
        Code::CopyUid { uid_validity, from, to } => format!("COPYUID {uid_validity} {from} {to}"),
        Code::PermanentFlags { system, keywords, new_keywords } => {
            out.extend_from_slice(b"PERMANENTFLAGS ");
            let star = new_keywords.then_some("\\*");
            return words(out, system_names(system).chain(keywords.iter().copied()).chain(star));
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// `continue-req = "+" SP resp-text CRLF`: send the literal.
pub fn go_on(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ OK\r\n");
}

/// `continue-req = "+" SP (resp-text / base64) CRLF` with this text: a challenge of SASL, or IDLE's "idling".
pub fn continue_with(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("+ {text}\r\n").as_bytes());
}

// ---- strings ----

/// Longer strings are literals, bytes: clients read lines into buffers.
const QUOTED_BYTES_MAX: usize = 1000;

/// `string = quoted / literal`: quoted where that can carry the bytes, and 7-bit in any case, since UTF8=ACCEPT is not offered.
///
/// Deliberate: a NUL, which CHAR8 has not, and bytes from 0x80 are shown as `?`. Bodies do not pass here.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let shown = bytes.iter().map(|byte| if matches!(byte, 1..=0x7f) { *byte } else { b'?' });
    if bytes.len() > QUOTED_BYTES_MAX || bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        literal_header(out, bytes.len() as u64);
        return out.extend(shown);
    }
    out.push(b'"');
    for byte in shown {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// `nstring = string / nil`
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `astring = 1*ASTRING-CHAR / string`: an atom where that can be.
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let atom = !bytes.is_empty() && bytes.iter().all(|byte| super::cursor::is_astring_char(*byte));
    if atom && !bytes.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(bytes);
    } else {
        string(out, bytes);
    }
}

/// `mailbox = "INBOX" / astring`: in modified UTF-7, always quoted but for INBOX.
pub fn mailbox(out: &mut Vec<u8>, name: &str) {
    if name == "INBOX" {
        out.extend_from_slice(b"INBOX");
        return;
    }
    let mut encoded = Vec::with_capacity(name.len());
    utf7::encode(&mut encoded, name);
    string(out, &encoded);
}

/// `literal = "{" number "}" CRLF *CHAR8`: the header; the bytes follow.
pub fn literal_header(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(format!("{{{size}}}\r\n").as_bytes());
}

/// `"(" [word *(SP word)] ")"`
fn words<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a str>) {
    out.push(b'(');
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b')');
}

fn system_names<'a>(flags: Flags) -> impl Iterator<Item = &'a str> {
    Flags::SYSTEM.into_iter().filter(move |(flag, _)| flags.contains(*flag)).map(|(_, name)| name as &str)
}

/// `"(" [flag-fetch *(SP flag-fetch)] ")"`: a message's flags. `keyword` names keyword n of the account.
pub fn flag_list<'a>(
    out: &mut Vec<u8>,
    flags: Flags,
    recent: bool,
    keyword: impl Fn(usize) -> Option<&'a str>,
) {
    let recent = recent.then_some("\\Recent");
    words(out, recent.into_iter().chain(system_names(flags)).chain(flags.keywords().filter_map(keyword)));
}

// ---- untagged data ----

/// `"*" SP number SP ("EXISTS" / "RECENT" / "EXPUNGE") CRLF`
pub fn numbered(out: &mut Vec<u8>, number: u32, what: &str) {
    out.extend_from_slice(format!("* {number} {what}\r\n").as_bytes());
}

/// `"FLAGS" SP flag-list`: what flags the folder knows.
pub fn flags(out: &mut Vec<u8>, system: Flags, keywords: &[&str]) {
    out.extend_from_slice(b"* FLAGS ");
    words(out, system_names(system).chain(keywords.iter().copied()));
    out.extend_from_slice(b"\r\n");
}

/// `"*" SP what *(SP name) CRLF`: CAPABILITY and ENABLED (RFC 5161 §3.2).
pub fn names(out: &mut Vec<u8>, what: &str, names: &[&str]) {
    out.extend_from_slice(format!("* {what}").as_bytes());
    for name in names {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox`; `what` is LIST or LSUB.
///
/// `childinfo` adds `("CHILDINFO" ("SUBSCRIBED"))`: RECURSIVEMATCH found a child (RFC 5258 §3.5).
pub fn list(out: &mut Vec<u8>, what: &str, attributes: &[&str], name: &str, childinfo: bool) {
    out.extend_from_slice(format!("* {what} ").as_bytes());
    words(out, attributes.iter().copied());
    out.extend_from_slice(format!(" \"{}\" ", super::DELIMITER).as_bytes());
    mailbox(out, name);
    if childinfo {
        out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    out.extend_from_slice(b"\r\n");
}

/// LIST's answer to an empty pattern: the delimiter and an empty name (RFC 3501 §6.3.8).
pub fn list_delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(format!("* LIST (\\Noselect) \"{}\" \"\"\r\n", super::DELIMITER).as_bytes());
}

/// `"STATUS" SP mailbox SP "(" [status-att-list] ")"`
pub fn status(out: &mut Vec<u8>, name: &str, items: &[(StatusItem, u64)]) {
    out.extend_from_slice(b"* STATUS ");
    mailbox(out, name);
    out.extend_from_slice(b" (");
    for (index, (item, number)) in items.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        out.extend_from_slice(format!("{space}{} {number}", item.name()).as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

/// `"SEARCH" *(SP nz-number)`: the beginning. [`search_number`]s and [`search_end`] follow.
pub fn search_begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* SEARCH");
}

/// One number found.
pub fn search_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(format!(" {number}").as_bytes());
}

/// The end, with `"(" "MODSEQ" SP mod-sequence-value ")"` if something was found and MODSEQ was looked for (RFC 7162 §3.1.5).
pub fn search_end(out: &mut Vec<u8>, highest: Option<Serial>) {
    if let Some(serial) = highest {
        out.extend_from_slice(format!(" (MODSEQ {serial})").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `Namespace_Response`: personal names only, from the empty prefix (RFC 2342 §5).
pub fn namespace(out: &mut Vec<u8>) {
    out.extend_from_slice(format!("* NAMESPACE ((\"\" \"{}\")) NIL NIL\r\n", super::DELIMITER).as_bytes());
}

/// `id_response = "ID" SP id_params_list` (RFC 2971 §4)
pub fn id(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID (");
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        string(out, name.as_bytes());
        out.push(b' ');
        string(out, value.as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_follows_every_code() {
        let set = UidSet::from_ascending([1, 2, 3, 7].map(Uid));
        let permanent = Code::PermanentFlags { system: Flags(31), keywords: &["$a"], new_keywords: true };
        let codes = [
            (Code::Word("TRYCREATE"), "TRYCREATE"),
            (Code::Capability(&["IMAP4rev1", "IDLE"]), "CAPABILITY IMAP4rev1 IDLE"),
            (Code::BadCharset(&["US-ASCII", "UTF-8"]), "BADCHARSET (US-ASCII UTF-8)"),
            (permanent, "PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $a \\*)"),
            (Code::UidNext(Uid(4392)), "UIDNEXT 4392"),
            (Code::UidValidity(3_857_529_045), "UIDVALIDITY 3857529045"),
            (Code::Unseen(12), "UNSEEN 12"),
            (Code::HighestModSeq(Serial(715_194_045_007)), "HIGHESTMODSEQ 715194045007"),
            (Code::Modified(&set), "MODIFIED 1:3,7"),
            (Code::AppendUid { uid_validity: 38505, uid: Uid(3955) }, "APPENDUID 38505 3955"),
            (Code::CopyUid { uid_validity: 38505, from: &set, to: &set }, "COPYUID 38505 1:3,7 1:3,7"),
        ];
        for (code, text) in codes {
            let line = printed(|out| tagged(out, "a1", Condition::Ok, Some(code), "Done"));
            assert_eq!(line, format!("a1 OK [{text}] Done\r\n"));
            let line = printed(|out| untagged(out, Condition::No, Some(code), ""));
            assert_eq!(line, format!("* NO [{text}] .\r\n"));
        }
    }

    #[test]
    fn a_text_is_one_line() {
        assert_eq!(printed(|out| tagged(out, "a", Condition::Bad, None, "x\r\n* OK\0ü")), "a BAD x* OK\r\n");
        assert_eq!(printed(|out| untagged(out, Condition::Bye, None, "Bye")), "* BYE Bye\r\n");
        assert_eq!(printed(|out| continue_with(out, "idling")), "+ idling\r\n");
        assert_eq!(printed(go_on), "+ OK\r\n");
    }

    #[test]
    fn strings_are_quoted_where_they_can_be() {
        let strings: [(&[u8], &str); 5] = [
            (b"", "\"\""),
            (b"a \"b\" \\", "\"a \\\"b\\\" \\\\\""),
            ("ü".as_bytes(), "\"??\""),
            (b"a\r\nb", "{4}\r\na\r\nb"),
            (b"a\0", "\"a?\""),
        ];
        for (bytes, text) in strings {
            assert_eq!(printed(|out| string(out, bytes)), text);
            assert_eq!(printed(|out| nstring(out, Some(bytes))), text);
        }
        assert_eq!(printed(|out| nstring(out, None)), "NIL");
        assert!(printed(|out| string(out, &[b'x'; 1001])).starts_with("{1001}\r\n"));
        for (bytes, text) in [("a]b", "a]b"), ("", "\"\""), ("nil", "\"nil\""), ("a b", "\"a b\"")] {
            assert_eq!(printed(|out| astring(out, bytes.as_bytes())), text);
        }
    }

    #[test]
    fn what_is_told_of_folders() {
        assert_eq!(printed(|out| list(out, "LIST", &[], "INBOX", false)), "* LIST () \"/\" INBOX\r\n");
        let line = printed(|out| list(out, "LSUB", &["\\Noselect", "\\HasChildren"], "R&D/Entwürfe", true));
        let wanted = "* LSUB (\\Noselect \\HasChildren) \"/\" \"R&-D/Entw&APw-rfe\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n";
        assert_eq!(line, wanted);
        assert_eq!(printed(list_delimiter), "* LIST (\\Noselect) \"/\" \"\"\r\n");
        let items = [(StatusItem::Messages, 231), (StatusItem::UidNext, 44_292)];
        assert_eq!(
            printed(|out| status(out, "a b", &items)),
            "* STATUS \"a b\" (MESSAGES 231 UIDNEXT 44292)\r\n"
        );
        assert_eq!(printed(namespace), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
        assert_eq!(printed(|out| flags(out, Flags::SEEN, &["$a", "b"])), "* FLAGS (\\Seen $a b)\r\n");
        assert_eq!(printed(|out| numbered(out, 18, "EXISTS")), "* 18 EXISTS\r\n");
    }

    #[test]
    fn other_lines() {
        assert_eq!(printed(|out| names(out, "CAPABILITY", &["IMAP4rev1"])), "* CAPABILITY IMAP4rev1\r\n");
        assert_eq!(printed(|out| names(out, "ENABLED", &[])), "* ENABLED\r\n");
        assert_eq!(
            printed(|out| id(out, &[("name", "x"), ("a", "b\"")])),
            "* ID (\"name\" \"x\" \"a\" \"b\\\"\")\r\n"
        );
        let found = printed(|out| {
            search_begin(out);
            search_number(out, 2);
            search_number(out, 84);
            search_end(out, Some(Serial(917)));
        });
        assert_eq!(found, "* SEARCH 2 84 (MODSEQ 917)\r\n");
    }
}
