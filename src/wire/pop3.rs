//! POP3's command lines (RFC 1939, 2449, 2595, 5034, 6856), and where TOP ends.
//!
//! Refuses to know states: which command is allowed when, the session knows.

use super::line::word;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `USER name`
    User(&'a [u8]),
    /// `PASS string`: everything after the space, spaces included (RFC 1939 §7).
    Pass(&'a [u8]),
    /// `APOP …`
    Apop,
    /// `AUTH [mechanism [initial-response]]` (RFC 5034 §4)
    Auth(Option<(&'a [u8], Option<&'a [u8]>)>),
    /// `STLS`
    Stls,
    /// `CAPA`
    Capa,
    /// `UTF8`
    Utf8,
    /// `LANG [range]`
    Lang(Option<&'a [u8]>),
    /// `STAT`
    Stat,
    /// `LIST [msg]`
    List(Option<u32>),
    /// `UIDL [msg]`
    Uidl(Option<u32>),
    /// `RETR msg`
    Retr(u32),
    /// `TOP msg n`
    Top(u32, u32),
    /// `DELE msg`
    Dele(u32),
    /// `NOOP`
    Noop,
    /// `RSET`
    Rset,
    /// `QUIT`
    Quit,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is no such command.
    Unknown,
    /// Its arguments are not what it takes.
    Arguments,
}

/// ```text
/// command = keyword *(SP argument) CRLF        ; keywords in any case (RFC 1939 §3)
/// ```
///
/// Spaces at the end are passed over, but for PASS.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &[u8]) -> Result<Command<'_>, Wrong> {
    let (keyword, rest) = word(text);
    let mut name = [0; 4];
    let name = match name.get_mut(..keyword.len()) {
        Some(name) => {
            name.copy_from_slice(keyword);
            name.make_ascii_uppercase();
            &*name
        }
        None => return Err(Wrong::Unknown),
    };
    let given = rest.map(<[u8]>::trim_ascii_end).filter(|rest| !rest.is_empty());
    let needed = given.ok_or(Wrong::Arguments);
    let bare = |command| if given.is_none() { Ok(command) } else { Err(Wrong::Arguments) };
    match name {
        b"USER" => needed.map(Command::User),
        b"PASS" => rest.filter(|rest| !rest.is_empty()).map(Command::Pass).ok_or(Wrong::Arguments),
        b"APOP" => Ok(Command::Apop),
        b"AUTH" => Ok(Command::Auth(given.map(word))),
        b"STLS" => bare(Command::Stls),
        b"CAPA" => bare(Command::Capa),
        b"UTF8" => bare(Command::Utf8),
        b"LANG" => Ok(Command::Lang(given)),
        b"STAT" => bare(Command::Stat),
        b"LIST" => given.map(number).transpose().map(Command::List),
        b"UIDL" => given.map(number).transpose().map(Command::Uidl),
        b"RETR" => needed.and_then(number).map(Command::Retr),
        b"DELE" => needed.and_then(number).map(Command::Dele),
        b"TOP" => {
            let (message, lines) = word(needed?);
            Ok(Command::Top(number(message)?, number(lines.ok_or(Wrong::Arguments)?)?))
        }
        b"NOOP" => bare(Command::Noop),
        b"RSET" => bare(Command::Rset),
        b"QUIT" => bare(Command::Quit),
        _ => Err(Wrong::Unknown),
    }
}

/// `1*DIGIT`; a number beyond `u32` is one that no message has.
fn number(text: &[u8]) -> Result<u32, Wrong> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Wrong::Arguments);
    }
    Ok(text.iter().fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'))))
}

/// Finds where TOP ends: after the header, the empty line, and so many lines of the body (RFC 1939 §7).
#[derive(Debug)]
pub struct Top {
    header: bool,
    lines_left: u32,
    /// Bytes of the current line so far, and the first of them.
    length: usize,
    first: u8,
}

impl Top {
    /// `lines` of the body.
    pub fn new(lines: u32) -> Top {
        Top { header: true, lines_left: lines, length: 0, first: 0 }
    }

    /// How many of these next bytes belong to it, and whether it ends there.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            taken += line.len();
            if self.length == 0 {
                self.first = line.first().copied().unwrap_or_default();
            }
            self.length += line.len();
            if !line.ends_with(b"\n") {
                continue;
            }
            let empty = self.length == 1 || (self.length == 2 && self.first == b'\r');
            self.length = 0;
            match self.header {
                true => self.header = !empty,
                false => self.lines_left -= 1,
            }
            if !self.header && self.lines_left == 0 {
                return (taken, true);
            }
        }
        (taken, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case() {
        for (text, expected) in [
            (&b"USER anna@example.test"[..], Ok(Command::User(b"anna@example.test"))),
            (b"pass  two words ", Ok(Command::Pass(b" two words "))),
            (b"PASS ", Err(Wrong::Arguments)),
            (b"USER", Err(Wrong::Arguments)),
            (b"APOP mrose c4c9", Ok(Command::Apop)),
            (b"AUTH", Ok(Command::Auth(None))),
            (b"AUTH PLAIN", Ok(Command::Auth(Some((b"PLAIN", None))))),
            (b"AUTH PLAIN =", Ok(Command::Auth(Some((b"PLAIN", Some(b"=")))))),
            (b"list", Ok(Command::List(None))),
            (b"LIST 2 ", Ok(Command::List(Some(2)))),
            (b"LIST -1", Err(Wrong::Arguments)),
            (b"RETR 99999999999", Ok(Command::Retr(u32::MAX))),
            (b"RETR 1 2", Err(Wrong::Arguments)),
            (b"RETR", Err(Wrong::Arguments)),
            (b"TOP 1 0", Ok(Command::Top(1, 0))),
            (b"TOP 1", Err(Wrong::Arguments)),
            (b"STAT 1", Err(Wrong::Arguments)),
            (b"LANG *", Ok(Command::Lang(Some(b"*")))),
            (b"", Err(Wrong::Unknown)),
            (b"RETRIEVE 1", Err(Wrong::Unknown)),
            (b"\xff\0", Err(Wrong::Unknown)),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn top_ends_where_it_should() {
        for (message, lines, expected) in [
            (&b"A: b\r\n\r\none\r\ntwo\r\n"[..], 0, 8),
            (b"A: b\r\n\r\none\r\ntwo\r\n", 1, 13),
            (b"A: b\r\n\r\none\r\ntwo\r\n", 9, 18),
            (b"A: b\n\none\ntwo\n", 1, 10),
            (b"\r\none\r\n", 0, 2),
            (b"A: b\r\n", 0, 6),
            (b"A: b\r\n\r\nno end", 1, 14),
            (b"", 3, 0),
        ] {
            for cut in 0..=message.len() {
                let mut top = Top::new(lines);
                let (mut taken, ended) = top.take(&message[..cut]);
                if !ended {
                    taken += top.take(&message[cut..]).0;
                }
                assert_eq!(taken, expected, "{message:?} cut at {cut}");
            }
        }
    }
}
