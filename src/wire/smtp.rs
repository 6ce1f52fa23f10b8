//! SMTP's and LMTP's command lines (RFC 5321 §4.1, 2033, 1870, 3030, 3207, 4954, 6152, 6531).
//!
//! Refuses to know states and roles: which command is allowed when, the session knows.

use super::address::{Path, parse_path};
use super::line::word;
use super::{Malformed, address};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `HELO name`
    Helo(&'a [u8]),
    /// `EHLO name`
    Ehlo(&'a [u8]),
    /// `LHLO name` (RFC 2033 §4.1)
    Lhlo(&'a [u8]),
    /// `MAIL FROM:<path> …`
    Mail(Mail),
    /// `RCPT TO:<path>`
    Rcpt(Path),
    /// `DATA`
    Data,
    /// `BDAT octets [LAST]` (RFC 3030 §2)
    Bdat {
        /// Bytes that follow the line.
        octets: u64,
        /// Whether they are the message's last.
        last: bool,
    },
    /// `RSET`
    Rset,
    /// `NOOP`
    Noop,
    /// `QUIT`
    Quit,
    /// `VRFY …`
    Vrfy,
    /// `EXPN …`
    Expn,
    /// `HELP …`
    Help,
    /// `STARTTLS`
    StartTls,
    /// `AUTH mechanism [initial-response]`
    Auth(&'a [u8], Option<&'a [u8]>),
}

/// What MAIL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Whom errors go back to.
    pub sender: Path,
    /// SIZE: bytes of the message, as the peer reckons (RFC 1870 §6).
    pub size: Option<u64>,
    /// SMTPUTF8: addresses and headers may be in UTF-8 (RFC 6531 §3.4).
    pub utf8: bool,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is no such command: 500.
    Unknown,
    /// A CR, LF or NUL in it: 500.
    Control,
    /// Its arguments are not what it takes: 501.
    Arguments,
    /// The sender's address is none: 501 5.1.7.
    Sender,
    /// The recipient's address is none: 501 5.1.3.
    Recipient,
    /// A sender in UTF-8 without SMTPUTF8: 553 5.6.7.
    Utf8,
    /// A parameter that is not known: 555.
    Parameter,
}

/// Takes a command line without its CRLF. Keywords in any case; spaces at the end are passed over.
///
/// # Errors
/// Why it is none.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Wrong> {
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Wrong::Control);
    }
    let (verb, rest) = word(line);
    let given = rest.unwrap_or_default().trim_ascii();
    let needed = if given.is_empty() { Err(Wrong::Arguments) } else { Ok(given) };
    let bare = |command| if given.is_empty() { Ok(command) } else { Err(Wrong::Arguments) };
    match verb.to_ascii_uppercase().as_slice() {
        b"HELO" => needed.map(Command::Helo),
        b"EHLO" => needed.map(Command::Ehlo),
        b"LHLO" => needed.map(Command::Lhlo),
        b"MAIL" => mail(given).map(Command::Mail),
        b"RCPT" => rcpt(given).map(Command::Rcpt),
        b"DATA" => bare(Command::Data),
        b"BDAT" => bdat(given),
        b"RSET" => bare(Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"QUIT" => bare(Command::Quit),
        b"VRFY" => needed.map(|_| Command::Vrfy),
        b"EXPN" => needed.map(|_| Command::Expn),
        b"HELP" => Ok(Command::Help),
        b"STARTTLS" => bare(Command::StartTls),
        b"AUTH" => needed.map(word).map(|(mechanism, response)| Command::Auth(mechanism, response)),
        _ => Err(Wrong::Unknown),
    }
}

/// ```text
/// mail            = "MAIL FROM:" Reverse-path [SP Mail-parameters]
/// Mail-parameters = esmtp-param *(SP esmtp-param)
/// esmtp-param     = esmtp-keyword ["=" esmtp-value]
/// ```
///
/// Deliberate: a space after the colon is tolerated, as everywhere.
fn mail(text: &[u8]) -> Result<Mail, Wrong> {
    let text = after(text, b"FROM:")?;
    // Whether the path may be in UTF-8 is said after it.
    let (sender, rest) = parse_path(text, true).map_err(|_| Wrong::Sender)?;
    if sender == Path::Postmaster {
        return Err(Wrong::Sender);
    }
    let mut mail = Mail { sender, size: None, utf8: false };
    let mut seen = [false; 4];
    for (name, value) in parameters(rest)? {
        let index = match (name.to_ascii_uppercase().as_slice(), value) {
            (b"SIZE", Some(value)) => {
                mail.size = Some(number(value)?);
                0
            }
            // BINARYMIME is not offered: it would need no line ends at all (RFC 3030 §3).
            (b"BODY", Some(value))
                if value.eq_ignore_ascii_case(b"7BIT") || value.eq_ignore_ascii_case(b"8BITMIME") =>
            {
                1
            }
            (b"SMTPUTF8", None) => {
                mail.utf8 = true;
                2
            }
            // RFC 4954 §5: who first sent it. It is believed of nobody, and so not kept.
            (b"AUTH", Some(_)) => 3,
            (b"SIZE" | b"SMTPUTF8" | b"AUTH", _) => return Err(Wrong::Arguments),
            _ => return Err(Wrong::Parameter),
        };
        if seen.get_mut(index).is_some_and(|seen| std::mem::replace(seen, true)) {
            return Err(Wrong::Arguments);
        }
    }
    if !mail.utf8 && !mail.sender.to_string().is_ascii() {
        return Err(Wrong::Utf8);
    }
    Ok(mail)
}

/// `rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]`; no parameter is offered.
fn rcpt(text: &[u8]) -> Result<Path, Wrong> {
    let (path, rest) = parse_path(after(text, b"TO:")?, true).map_err(|_| Wrong::Recipient)?;
    if path == Path::Null {
        return Err(Wrong::Recipient);
    }
    match parameters(rest)?.next() {
        Some(_) => Err(Wrong::Parameter),
        None => Ok(path),
    }
}

fn after<'a>(text: &'a [u8], word: &[u8]) -> Result<&'a [u8], Wrong> {
    match text.split_at_checked(word.len()) {
        Some((found, rest)) if found.eq_ignore_ascii_case(word) => Ok(rest.trim_ascii_start()),
        _ => Err(Wrong::Arguments),
    }
}

/// The parameters after a path, each with its value.
fn parameters(rest: &[u8]) -> Result<impl Iterator<Item = (&[u8], Option<&[u8]>)>, Wrong> {
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return Err(Wrong::Arguments);
    }
    let words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    Ok(words.map(|word| {
        let mut parts = word.splitn(2, |byte| *byte == b'=');
        (parts.next().unwrap_or_default(), parts.next())
    }))
}

/// `bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ]`
fn bdat(text: &[u8]) -> Result<Command<'_>, Wrong> {
    let (octets, rest) = word(text);
    let last = match rest.map(<[u8]>::trim_ascii) {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return Err(Wrong::Arguments),
    };
    Ok(Command::Bdat { octets: number(octets)?, last })
}

/// `1*20DIGIT` (RFC 1870 §6)
fn number(text: &[u8]) -> Result<u64, Wrong> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Wrong::Arguments);
    }
    Ok(text.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// The name that a peer has greeted with, for the Received field. What is no domain is believed no more than what is,
/// and refused no more (RFC 5321 §4.1.4); but it must not break the field, which is ASCII whatever MAIL will say (RFC 6531 §3.7.1).
///
/// # Errors
/// Nothing is left of it.
pub fn hello_name(name: &[u8]) -> Result<String, Malformed> {
    if let Ok(domain) = address::domain(name, false) {
        return Ok(domain);
    }
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    let name: String =
        name.iter().take(255).map(|byte| if fits(byte) { char::from(*byte) } else { '_' }).collect();
    if name.is_empty() { Err(Malformed) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::address::Address;

    fn somebody(local: &str, domain: &str) -> Path {
        Path::Mailbox(Address { local: local.into(), domain: domain.into() })
    }

    #[test]
    fn plain_commands() {
        for (line, expected) in [
            (&b"EHLO bar.com"[..], Ok(Command::Ehlo(b"bar.com"))),
            (b"helo  bar.com ", Ok(Command::Helo(b"bar.com"))),
            (b"EHLO", Err(Wrong::Arguments)),
            (b"LHLO x", Ok(Command::Lhlo(b"x"))),
            (b"DATA", Ok(Command::Data)),
            (b"data ", Ok(Command::Data)),
            (b"DATA x", Err(Wrong::Arguments)),
            (b"NOOP anything", Ok(Command::Noop)),
            (b"QUIT now", Err(Wrong::Arguments)),
            (b"VRFY", Err(Wrong::Arguments)),
            (b"AUTH", Err(Wrong::Arguments)),
            (b"AUTH PLAIN", Ok(Command::Auth(b"PLAIN", None))),
            (b"AUTH PLAIN AA==", Ok(Command::Auth(b"PLAIN", Some(b"AA==")))),
            (b"BDAT 10", Ok(Command::Bdat { octets: 10, last: false })),
            (b"BDAT 0 last", Ok(Command::Bdat { octets: 0, last: true })),
            (b"BDAT", Err(Wrong::Arguments)),
            (b"BDAT -1", Err(Wrong::Arguments)),
            (b"BDAT 1 FIRST", Err(Wrong::Arguments)),
            (b"BDAT 99999999999999999999", Ok(Command::Bdat { octets: u64::MAX, last: false })),
            (b"STARTTLS x", Err(Wrong::Arguments)),
            (b"", Err(Wrong::Unknown)),
            (b"XYZ", Err(Wrong::Unknown)),
            (b"NOOP\nQUIT", Err(Wrong::Control)),
            (b"NOOP\r", Err(Wrong::Control)),
            (b"NOOP\0", Err(Wrong::Control)),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn mail_with_parameters() {
        let plain = |sender| Ok(Command::Mail(Mail { sender, size: None, utf8: false }));
        for (line, expected) in [
            ("MAIL FROM:<>", plain(Path::Null)),
            ("mail from:<Smith@Bar.COM>", plain(somebody("Smith", "bar.com"))),
            ("MAIL FROM: <a@x.de>", plain(somebody("a", "x.de"))),
            ("MAIL FROM:<a@x.de> BODY=8BITMIME", plain(somebody("a", "x.de"))),
            ("MAIL FROM:<a@x.de> body=7bit AUTH=<>", plain(somebody("a", "x.de"))),
            (
                "MAIL FROM:<a@x.de> SIZE=1000 SMTPUTF8",
                Ok(Command::Mail(Mail { sender: somebody("a", "x.de"), size: Some(1000), utf8: true })),
            ),
            (
                "MAIL FROM:<ä@x.de> SMTPUTF8",
                Ok(Command::Mail(Mail { sender: somebody("ä", "x.de"), size: None, utf8: true })),
            ),
            ("MAIL FROM:<ä@x.de>", Err(Wrong::Utf8)),
            ("MAIL FROM:<a@x.de>SIZE=1", Err(Wrong::Arguments)),
            ("MAIL FROM:<a@x.de> SIZE=", Err(Wrong::Arguments)),
            ("MAIL FROM:<a@x.de> SIZE=1 SIZE=2", Err(Wrong::Arguments)),
            ("MAIL FROM:<a@x.de> SIZE=1x", Err(Wrong::Arguments)),
            ("MAIL FROM:<a@x.de> SMTPUTF8=1", Err(Wrong::Arguments)),
            ("MAIL FROM:<a@x.de> BODY=BINARYMIME", Err(Wrong::Parameter)),
            ("MAIL FROM:<a@x.de> RET=FULL", Err(Wrong::Parameter)),
            ("MAIL FROM:<postmaster>", Err(Wrong::Sender)),
            ("MAIL FROM:a@x.de", Err(Wrong::Sender)),
            ("MAIL FROM:", Err(Wrong::Sender)),
            ("MAIL", Err(Wrong::Arguments)),
            ("MAIL TO:<a@x.de>", Err(Wrong::Arguments)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn recipients() {
        for (line, expected) in [
            ("RCPT TO:<Postmaster>", Ok(Command::Rcpt(Path::Postmaster))),
            ("rcpt to:<@a.de:Jones@Foo.com>", Ok(Command::Rcpt(somebody("Jones", "foo.com")))),
            ("RCPT TO:<>", Err(Wrong::Recipient)),
            ("RCPT TO:<a>", Err(Wrong::Recipient)),
            ("RCPT TO:<a@x.de> NOTIFY=NEVER", Err(Wrong::Parameter)),
            ("RCPT FROM:<a@x.de>", Err(Wrong::Arguments)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_name_cannot_break_the_field() {
        for (name, expected) in [
            ("Bar.COM", Ok("bar.com")),
            ("[192.0.2.1]", Ok("[192.0.2.1]")),
            ("ü.de", Ok("__.de")),
            ("a b;(c)\t<d>", Ok("a_b__c___d_")),
            ("", Err(Malformed)),
        ] {
            assert_eq!(hello_name(name.as_bytes()), expected.map(String::from), "{name}");
        }
    }

    /// Lines near to right ones: nothing panics, and what is accepted obeys the limits of paths.
    #[test]
    fn mutated_lines_are_read_or_refused() {
        let lines: [&[u8]; 4] = [
            b"MAIL FROM:<@a.de,@b.de:\"a \\\" b\"@x.de> SIZE=100 BODY=8BITMIME SMTPUTF8 AUTH=<>",
            b"RCPT TO:<postmaster@[IPv6:2001:db8::1]>",
            b"BDAT 18446744073709551615 LAST",
            b"EHLO [192.0.2.1]",
        ];
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for round in 0..20_000 {
            let mut line = lines[round % 4].to_vec();
            for _ in 0..=random(4) {
                let at = random(line.len().max(1));
                match random(3) {
                    _ if line.is_empty() => {}
                    0 => line[at] = random(256) as u8,
                    1 => drop(line.remove(at)),
                    _ => line.truncate(at + 1),
                }
            }
            match parse(&line) {
                Ok(Command::Mail(Mail { sender, .. })) => assert!(sender.to_string().len() <= 512),
                Ok(Command::Ehlo(name)) => {
                    let name = hello_name(name).unwrap();
                    assert!(
                        name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()),
                        "{name:?}"
                    );
                }
                _ => {}
            }
        }
    }
}
