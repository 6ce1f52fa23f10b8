//! Printing what FETCH tells of a message's structure: ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 §7.4.2, §9).
//!
//! Refuses to send 8-bit bytes: RFC 3501 headers and strings are 7-bit, and a client that has not enabled UTF8=ACCEPT may choke.
//!
//! Invariants: where the grammar wants a string there is never NIL; where it wants at least one body there is one.
//!
//! Deliberate, for 8-bit bytes that stand unencoded in a header:
//! - Subject, Content-Description and display names become encoded words (RFC 2047): what a reader shows is right.
//! - Parameters become one RFC 2231 parameter, `"filename*" "utf-8''%C3%A4"`. So do those that RFC 2231 had in pieces.
//! - In all other strings (addresses, identifiers, dates) each 8-bit byte becomes `?`: there is nothing that would mean the same.
//!
//! Deliberate, for structures that the grammar has no words for:
//! - A multipart without parts has one empty text/plain part.
//! - A multipart or message that was not looked into is an application/octet-stream.
//! - An address without a domain has the host `MISSING_DOMAIN`: NIL would make it the start of a group.

use std::fmt::Write as _;

use super::charset;
use super::imap::reply::{nstring, string};
use super::line::base64_encode;
use super::mime::{Encoding, Envelope, Extra, Kind, Mailbox, Part, Structure, Text};

/// UTF-8 bytes of one encoded word: 75 characters at most (RFC 2047 §2), less `=?utf-8?B??=`, times 3/4.
const WORD_BYTES_MAX: usize = 45;

/// ```text
/// envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP
///            env-bcc SP env-in-reply-to SP env-message-id ")"
/// ```
pub fn envelope(envelope: &Envelope, out: &mut Vec<u8>) {
    let or_from = |list| if <[Mailbox]>::is_empty(list) { envelope.from.as_slice() } else { list };
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    display(envelope.subject.as_deref(), out);
    let lists: [&[Mailbox]; 6] = [
        &envelope.from,
        or_from(&envelope.sender),
        or_from(&envelope.reply_to),
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        out.push(b' ');
        addresses(list, out);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

/// `env-to = "(" 1*address ")" / nil`
fn addresses(list: &[Mailbox], out: &mut Vec<u8>) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for mailbox in list {
        address(mailbox, out);
    }
    out.push(b')');
}

/// `address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"`
fn address(mailbox: &Mailbox, out: &mut Vec<u8>) {
    let Mailbox { name, route, local, host } = mailbox;
    out.push(b'(');
    display(name.as_deref(), out);
    out.push(b' ');
    nstring(out, route.as_deref());
    out.push(b' ');
    match host {
        // The start of a group: its name is one to be shown.
        None => display(local.as_deref(), out),
        Some(_) => nstring(out, local.as_deref()),
    }
    out.push(b' ');
    match host {
        Some(host) if host.is_empty() => string(out, b"MISSING_DOMAIN"),
        host => nstring(out, host.as_deref()),
    }
    out.push(b')');
}

/// BODY (`extended` false) or BODYSTRUCTURE (`extended` true).
pub fn bodystructure(structure: &Structure, extended: bool, out: &mut Vec<u8>) {
    Printer { structure, extended }.body(0, out);
}

struct Printer<'a> {
    structure: &'a Structure,
    extended: bool,
}

impl Printer<'_> {
    /// `body = "(" (body-type-1part / body-type-mpart) ")"`
    fn body(&self, at: usize, out: &mut Vec<u8>) {
        let Some(part) = self.structure.parts.get(at) else { return empty_text(self.extended, out) };
        out.push(b'(');
        match part.kind {
            Kind::Multipart => self.multipart(at, part, out),
            Kind::Message => self.message(at, part, out),
            Kind::Leaf => leaf(part, out),
        }
        if self.extended {
            extension(part, out);
        }
        out.push(b')');
    }

    /// `body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]`
    fn multipart(&self, at: usize, part: &Part, out: &mut Vec<u8>) {
        let mut childless = true;
        for child in self.structure.children(at) {
            childless = false;
            self.body(child, out);
        }
        if childless {
            empty_text(self.extended, out);
        }
        out.push(b' ');
        string(out, part.media.as_ref().map_or(b"mixed", |(_, subtype)| subtype));
    }

    /// `body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines`
    fn message(&self, at: usize, part: &Part, out: &mut Vec<u8>) {
        fields(part, out);
        out.push(b' ');
        let child = self.structure.children(at).next();
        let inner = child.and_then(|child| self.structure.parts.get(child)?.envelope.as_deref());
        match inner {
            Some(inner) => envelope(inner, out),
            None => envelope(&Envelope::default(), out),
        }
        out.push(b' ');
        self.body(child.unwrap_or(usize::MAX), out);
        number(part.lines, out);
    }
}

/// `body-type-basic = media-basic SP body-fields`, `body-type-text = media-text SP body-fields SP body-fld-lines`
fn leaf(part: &Part, out: &mut Vec<u8>) {
    fields(part, out);
    if part.is_text() {
        number(part.lines, out);
    }
}

/// Type, subtype, and `body-fields = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets`.
fn fields(part: &Part, out: &mut Vec<u8>) {
    let (kind, subtype): (&[u8], &[u8]) = match &part.media {
        None => (b"text", b"plain"),
        Some((kind, _)) if part.kind == Kind::Leaf && **kind == *b"multipart" => {
            (b"application", b"octet-stream")
        }
        Some(_)
            if part.kind == Kind::Leaf && (part.is("message", "rfc822") || part.is("message", "global")) =>
        {
            (b"application", b"octet-stream")
        }
        Some((kind, subtype)) => (kind, subtype),
    };
    string(out, kind);
    out.push(b' ');
    string(out, subtype);
    out.push(b' ');
    // A text without a charset is US-ASCII (RFC 2045 §5.2), and clients expect to be told so.
    let is_bare_text = part.is_text() && part.param("charset").is_none();
    params(&part.params, is_bare_text, out);
    let extra = part.extra.as_deref();
    out.push(b' ');
    nstring(out, extra.and_then(|extra| extra.id.as_deref()));
    out.push(b' ');
    display(extra.and_then(|extra| extra.description.as_deref()), out);
    out.push(b' ');
    string(out, encoding(&part.encoding));
    number(part.body_end - part.body_start, out);
}

fn encoding(encoding: &Encoding) -> &[u8] {
    match encoding {
        Encoding::SevenBit => b"7bit",
        Encoding::EightBit => b"8bit",
        Encoding::Binary => b"binary",
        Encoding::QuotedPrintable => b"quoted-printable",
        Encoding::Base64 => b"base64",
        Encoding::Other(name) => name,
    }
}

/// ```text
/// body-ext-1part = body-fld-md5   [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
/// body-ext-mpart = body-fld-param [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
/// ```
fn extension(part: &Part, out: &mut Vec<u8>) {
    const NONE: &Extra = &Extra {
        id: None,
        description: None,
        md5: None,
        disposition: None,
        language: Vec::new(),
        location: None,
    };
    let extra = part.extra.as_deref().unwrap_or(NONE);
    out.push(b' ');
    if part.kind == Kind::Multipart {
        params(&part.params, false, out)
    } else {
        nstring(out, extra.md5.as_deref())
    }
    out.push(b' ');
    match &extra.disposition {
        None => out.extend_from_slice(b"NIL"),
        Some((kind, values)) => {
            out.push(b'(');
            string(out, kind);
            out.push(b' ');
            params(values, false, out);
            out.push(b')');
        }
    }
    out.push(b' ');
    match extra.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        tags => {
            out.push(b'(');
            for (index, tag) in tags.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                string(out, tag);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, extra.location.as_deref());
}

/// The one part of a multipart that has none: the grammar wants at least one body.
fn empty_text(extended: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0");
    out.extend_from_slice(if extended { b" NIL NIL NIL NIL)" } else { b")" });
}

/// `body-fld-param = "(" string SP string *(SP string SP string) ")" / nil`
fn params(params: &[(Text, Text)], is_bare_text: bool, out: &mut Vec<u8>) {
    if params.is_empty() && !is_bare_text {
        return out.extend_from_slice(b"NIL");
    }
    let start = out.len();
    out.push(b'(');
    if is_bare_text {
        out.extend_from_slice(b"\"charset\" \"us-ascii\"");
    }
    for (name, value) in params {
        if out.len() > start + 1 {
            out.push(b' ');
        }
        if value.is_ascii() {
            string(out, name);
            out.push(b' ');
            string(out, value);
        } else {
            string(out, &[name, &b"*"[..]].concat());
            out.push(b' ');
            string(out, &percent(value));
        }
    }
    out.push(b')');
}

/// `utf-8''` and the value with everything but plain letters as `%xx` (RFC 2231 §4).
fn percent(value: &[u8]) -> Vec<u8> {
    let mut text = String::from("utf-8''");
    for byte in charset::decode(b"", value).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte as char);
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text.into_bytes()
}

fn number(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(" {value}").as_bytes());
}

/// A string for people, or NIL: 8-bit bytes become encoded words.
fn display(text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text {
        Some(bytes) if !bytes.is_ascii() => string(out, &encoded_words(&charset::decode(b"", bytes))),
        text => nstring(out, text),
    }
}

/// All of the text as encoded words (RFC 2047 §2): `=?utf-8?B?…?= =?utf-8?B?…?=`.
fn encoded_words(text: &str) -> Vec<u8> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // A word holds whole letters; one letter has at most four bytes.
        let end = (1..=WORD_BYTES_MAX.min(rest.len()))
            .rev()
            .find(|end| rest.is_char_boundary(*end))
            .unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        if !words.is_empty() {
            words.push(b' ');
        }
        words.extend_from_slice(b"=?utf-8?B?");
        words.extend_from_slice(base64_encode(word.as_bytes()).as_bytes());
        words.extend_from_slice(b"?=");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mime::Scanner;

    fn structure(message: &str) -> Structure {
        let mut scanner = Scanner::new();
        scanner.push(message.replace('\n', "\r\n").as_bytes());
        scanner.finish()
    }

    fn shown(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn body(message: &str, extended: bool) -> String {
        shown(|out| bodystructure(&structure(message), extended, out))
    }

    fn env(message: &str) -> String {
        shown(|out| envelope(structure(message).envelope().unwrap(), out))
    }

    /// RFC 3501 §8.
    #[test]
    fn the_example_of_the_rfc() {
        let message = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\nFrom: Terry Gray <gray@cac.washington.edu>\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\nTo: imap@cac.washington.edu\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\nMIME-Version: 1.0\n\
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\nhi\n";
        assert_eq!(
            env(message),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
             ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
             \"<B27397-0100000@cac.washington.edu>\")"
        );
        assert_eq!(
            body(message, false),
            "(\"text\" \"plain\" (\"charset\" \"US-ASCII\") NIL NIL \"7bit\" 4 1)"
        );
    }

    #[test]
    fn absent_and_empty_differ() {
        assert_eq!(env("\nbody\n"), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            env("Subject:\nDate: \nTo:\nIn-Reply-To:\n\n"),
            "(\"\" \"\" NIL NIL NIL NIL NIL NIL \"\" NIL)"
        );
    }

    #[test]
    fn groups_and_addresses_without_a_domain() {
        assert_eq!(
            env("To: G: a@x;, me\n\n"),
            "(NIL NIL NIL NIL NIL ((NIL NIL \"G\" NIL)(NIL NIL \"a\" \"x\")(NIL NIL NIL NIL)\
             (NIL NIL \"me\" \"MISSING_DOMAIN\")) NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn nested_parts_with_extensions() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b\n\
            Content-Type: message/rfc822\nContent-Disposition: attachment; filename=\"x.eml\"\nContent-Language: de, en\n\n\
            Subject: in\n\nbody\n\n--b\nContent-Type: image/png; name=a\nContent-ID: <1@x>\nContent-Description: pic\n\
            Content-Transfer-Encoding: BASE64\nContent-MD5: Q2hlY2s=\nContent-Location: http://x/\n\naGk=\n--b--\n";
        assert_eq!(
            body(message, false),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 8 1)\
             (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1) 3)\
             (\"image\" \"png\" (\"name\" \"a\") \"<1@x>\" \"pic\" \"base64\" 4) \"mixed\")"
        );
        let extended = body(message, true);
        assert!(extended.ends_with(
            "(\"image\" \"png\" (\"name\" \"a\") \"<1@x>\" \"pic\" \"base64\" 4 \"Q2hlY2s=\" NIL NIL \"http://x/\") \
             \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
        ));
        assert!(
            extended.contains(" 3 NIL (\"attachment\" (\"filename\" \"x.eml\")) (\"de\" \"en\") NIL)"),
            "{extended}"
        );
    }

    #[test]
    fn never_nil_where_a_string_is_required() {
        let empty = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";
        assert_eq!(body("Content-Type: multipart/x; boundary=b\n\n", false), format!("({empty} \"x\")"));
        assert_eq!(
            body("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdA==\n", false),
            "(\"application\" \"octet-stream\" NIL NIL NIL \"base64\" 14)"
        );
        assert_eq!(
            body(
                "Content-Disposition: ;\nContent-Transfer-Encoding:\nContent-Type: audio/x;a=\"\"\n\n",
                true
            ),
            "(\"audio\" \"x\" (\"a\" \"\") NIL NIL \"7bit\" 0 NIL (\"attachment\" NIL) NIL NIL)"
        );
    }

    #[test]
    fn eight_bits_never_leave() {
        assert_eq!(
            env("Subject: gr\u{fc}n\nFrom: J\u{f6}rg <j\u{f6}rg@x>\nMessage-ID: <\u{e4}@x>\n\n")
                .replace("NIL ", ""),
            "(\"=?utf-8?B?Z3LDvG4=?=\" ((\"=?utf-8?B?SsO2cmc=?=\" \"j??rg\" \"x\")) ((\"=?utf-8?B?SsO2cmc=?=\" \"j??rg\" \"x\")) \
             ((\"=?utf-8?B?SsO2cmc=?=\" \"j??rg\" \"x\")) \"<??@x>\")"
        );
        assert_eq!(
            body("Content-Type: a/b; name*0*=iso-8859-1''%E4; name*1=b; x=\"\u{e4}\"\n\n", false),
            "(\"a\" \"b\" (\"name*\" \"utf-8''%C3%A4b\" \"x*\" \"utf-8''%C3%A4\") NIL NIL \"7bit\" 0)"
        );
        let words = encoded_words(&"ä".repeat(100));
        assert!(words.split(|byte| *byte == b' ').all(|word| word.len() <= 75) && words.is_ascii());
    }
}
