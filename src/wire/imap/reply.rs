//! What the server says: every encoder appends to `out` (RFC 3501 §7 and §9).
//!
//! Invariants: a response code is followed by a text, always; text is one line of ASCII-safe bytes, whatever is passed in.

use super::date::print_date_time;
use super::status::StatusItem;
use super::utf7;
use crate::types::{Flags, Serial, Time, Uid, UidSet};

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
    /// Logged in from the start.
    PreAuth,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Condition::Ok => "OK",
            Condition::No => "NO",
            Condition::Bad => "BAD",
            Condition::Bye => "BYE",
            Condition::PreAuth => "PREAUTH",
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

/// `string = quoted / literal`: quoted where that can carry the bytes.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Long strings go as literals: clients have line limits.
    if bytes.len() <= 1024 && bytes.iter().all(|byte| byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0)) {
        out.push(b'"');
        for byte in bytes {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.push(b'"');
    } else {
        literal_header(out, bytes.len() as u64);
        // CHAR8 has no NUL.
        out.extend(bytes.iter().map(|byte| if *byte == 0 { b'?' } else { *byte }));
    }
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

// ---- FETCH ----

/// `"*" SP nz-number SP "FETCH" SP "(" msg-att ")"`, put together item by item, maybe over several steps of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLine {
    empty: bool,
}

impl FetchLine {
    /// Begins the response about message `sequence`.
    pub fn begin(out: &mut Vec<u8>, sequence: u32) -> FetchLine {
        out.extend_from_slice(format!("* {sequence} FETCH (").as_bytes());
        FetchLine { empty: true }
    }

    /// Before each item: the space between two.
    pub fn item(&mut self, out: &mut Vec<u8>) {
        if !self.empty {
            out.push(b' ');
        }
        self.empty = false;
    }

    /// `"UID" SP uniqueid`
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: Uid) {
        self.item(out);
        out.extend_from_slice(format!("UID {uid}").as_bytes());
    }

    /// `"FLAGS" SP "(" [flag-fetch *(SP flag-fetch)] ")"`; see [`flag_list`].
    pub fn flags<'a>(
        &mut self,
        out: &mut Vec<u8>,
        flags: Flags,
        recent: bool,
        keyword: impl Fn(usize) -> Option<&'a str>,
    ) {
        self.item(out);
        out.extend_from_slice(b"FLAGS ");
        flag_list(out, flags, recent, keyword);
    }

    /// `"MODSEQ" SP "(" permsg-modsequence ")"` (RFC 7162 §7)
    pub fn mod_sequence(&mut self, out: &mut Vec<u8>, serial: Serial) {
        self.item(out);
        out.extend_from_slice(format!("MODSEQ ({serial})").as_bytes());
    }

    /// `"INTERNALDATE" SP date-time`
    pub fn internal_date(&mut self, out: &mut Vec<u8>, time: Time) {
        self.item(out);
        out.extend_from_slice(b"INTERNALDATE ");
        print_date_time(out, time);
    }

    /// `"RFC822.SIZE" SP number`
    pub fn size(&mut self, out: &mut Vec<u8>, size: u64) {
        self.item(out);
        out.extend_from_slice(format!("RFC822.SIZE {size}").as_bytes());
    }

    /// An item's name and a space; its value follows: a structure, an [`nstring`], or a [`literal_header`] and the bytes.
    pub fn named(&mut self, out: &mut Vec<u8>, item: &super::Item) {
        self.item(out);
        item.print_name(out);
        out.push(b' ');
    }

    /// Ends the response.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }
}
