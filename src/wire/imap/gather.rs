//! Finds where a command ends, literals included, before anything is parsed (RFC 3501 §4.3 and RFC 7888).
//!
//! Works on the unread bytes where they lie and keeps a few numbers only. A command that is over the bounds is refused and its rest is
//! skipped without being kept, so that the next command is found again.
//!
//! Only CRLF ends a line. A bare LF is an ordinary byte here, and no grammar has a place for it: the command is BAD.

use super::append::{self, Append};
use super::cursor::{Bad, Cursor};
use crate::limits;

/// What the unread bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gathered<'a> {
    /// Not a whole command: more bytes are needed.
    More,
    /// The client waits to be told to send a literal: say [`super::reply::go_on`] and call again.
    Continue,
    /// A whole command, for [`super::Tagged::parse`]; without its last CRLF.
    Command {
        /// The command, literals in place.
        bytes: &'a [u8],
        /// Bytes to consume once it has been dealt with.
        consumed: usize,
    },
    /// APPEND up to its message. Consume; then say [`super::reply::go_on`] if it is `sync`, take `size` bytes, and ask
    /// [`Gather::append_end`]. Or refuse it, and then call [`Gather::skip_message`] first of all.
    Append {
        /// What it says.
        append: Append<'a>,
        /// Bytes to consume: up to the message.
        consumed: usize,
    },
    /// Over the bounds, or APPEND with bad arguments. Answer, consume and call again.
    Refused {
        /// The command's tag; without a valid one the answer is untagged.
        tag: Option<&'a str>,
        /// What to answer.
        why: Refusal,
        /// Bytes to consume.
        consumed: usize,
    },
    /// The rest of a refused command. Consume (at least one byte) and call again.
    Skip {
        /// Bytes to consume.
        consumed: usize,
    },
}

/// Why a command was refused before it was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The line is longer than `limits::IMAP_LINE_BYTES_MAX`: BAD.
    LineTooLong,
    /// The literals together are larger than `limits::IMAP_LITERALS_BYTES_MAX`: BAD.
    LiteralTooBig,
    /// APPEND's arguments before the message are bad: BAD with this text.
    Append(Bad),
}

impl Refusal {
    /// The text of the BAD response.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::LineTooLong => "Command line too long",
            Refusal::LiteralTooBig => "Literal too big",
            Refusal::Append(Bad(text)) => text,
        }
    }
}

/// What follows APPEND's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendEnd {
    /// More bytes are needed.
    More,
    /// The command's end. Consume.
    End {
        /// Bytes to consume.
        consumed: usize,
    },
    /// Something else: answer the command BAD. The rest of the line is skipped by the next calls of [`Gather::next`].
    Bad,
}

/// How far the command at the start of the unread bytes has been looked at.
#[derive(Clone, Debug, Default)]
pub struct Gather {
    /// Where the line begins that is being looked at: 0, or behind a literal.
    line: usize,
    /// How far that line has been searched for its end.
    searched: usize,
    /// Bytes of literals so far.
    literals: usize,
    /// A literal at the end of the line is waited for.
    waiting: bool,
    /// Set while a refused command is skipped: how many bytes of a literal are left.
    skip: Option<u64>,
    /// The wider bounds hold.
    logged_in: bool,
}

/// A literal's header at a line's end: `"{" number ["+"] "}"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LiteralHeader {
    /// Where its `{` is.
    start: usize,
    size: u64,
    sync: bool,
}

/// Longest header that is one: twenty digits, two braces, plus, CR.
const LITERAL_HEADER_BYTES_MAX: usize = 24;

impl Gather {
    /// After login the bounds of `limits` hold; before it `limits::IMAP_LOGIN_BYTES_MAX` for either.
    pub fn logged_in(&mut self) {
        self.logged_in = true;
    }

    /// Looks at the unread bytes. Between two calls nothing may be consumed but what the answers say.
    pub fn next<'a>(&mut self, unread: &'a [u8]) -> Gathered<'a> {
        if self.skip.is_some() {
            return self.skipped(unread);
        }
        loop {
            let Some(end) = self.line_end(unread) else {
                let length = unread.len().saturating_sub(self.line);
                return if length >= self.line_room() {
                    self.refuse(unread, Refusal::LineTooLong, self.line, Some(0))
                } else {
                    Gathered::More
                };
            };
            let Some(header) = literal_header(unread, self.line, end) else {
                *self = Gather { logged_in: self.logged_in, ..Gather::default() };
                return Gathered::Command { bytes: &unread[..end], consumed: end + 2 };
            };
            if !self.waiting {
                if let Some(answer) = self.literal(unread, header, end + 2) {
                    return answer;
                }
                self.waiting = true;
                if header.sync {
                    return Gathered::Continue;
                }
            }
            let size = header.size as usize;
            if unread.len() - (end + 2) < size {
                return Gathered::More;
            }
            self.literals += size;
            self.line = end + 2 + size;
            self.searched = self.line;
            self.waiting = false;
        }
    }

    /// The first sight of a literal: whether it is APPEND's message, or too big.
    fn literal<'a>(
        &mut self,
        unread: &'a [u8],
        header: LiteralHeader,
        consumed: usize,
    ) -> Option<Gathered<'a>> {
        let rest = (!header.sync).then_some(header.size);
        match append::header(&unread[..header.start], header.size, header.sync) {
            append::Header::Message(append) => {
                *self = Gather { logged_in: self.logged_in, ..Gather::default() };
                return Some(Gathered::Append { append, consumed });
            }
            append::Header::Bad(bad) => {
                return Some(self.refuse(unread, Refusal::Append(bad), consumed, rest));
            }
            append::Header::Other => {}
        }
        let room = self.bounds().1.saturating_sub(self.literals) as u64;
        (header.size > room).then(|| self.refuse(unread, Refusal::LiteralTooBig, consumed, rest))
    }

    /// Where the line's CRLF is, within the bound.
    fn line_end(&mut self, unread: &[u8]) -> Option<usize> {
        let limit = unread.len().min(self.line + self.line_room());
        let from = self.searched.min(limit);
        match unread[from..limit].windows(2).position(|pair| pair == b"\r\n") {
            Some(found) => Some(from + found),
            None => {
                self.searched = limit.saturating_sub(1).max(self.line);
                None
            }
        }
    }

    /// How long this line may be, with its CRLF.
    fn line_room(&self) -> usize {
        self.bounds().0.saturating_sub(self.line - self.literals)
    }

    /// Bounds of the lines and of the literals of one command.
    fn bounds(&self) -> (usize, usize) {
        if self.logged_in {
            (limits::IMAP_LINE_BYTES_MAX, limits::IMAP_LITERALS_BYTES_MAX)
        } else {
            (limits::IMAP_LOGIN_BYTES_MAX, limits::IMAP_LOGIN_BYTES_MAX)
        }
    }

    /// `skip` is what is left of the literal whose header was last; none when the command is over because the client waits.
    fn refuse<'a>(
        &mut self,
        unread: &'a [u8],
        why: Refusal,
        consumed: usize,
        skip: Option<u64>,
    ) -> Gathered<'a> {
        *self = Gather { logged_in: self.logged_in, skip, ..Gather::default() };
        Gathered::Refused { tag: tag(unread), why, consumed }
    }

    /// An APPEND is refused: its message and the rest of its line will be skipped, if the client sends them (`sync` is false).
    pub fn skip_message(&mut self, append: &Append<'_>) {
        if !append.sync {
            self.skip_rest(append.size);
        }
    }

    /// The command is refused while the client is sending a literal: `literal_left` bytes of it and the rest of the line are skipped.
    pub fn skip_rest(&mut self, literal_left: u64) {
        *self = Gather { logged_in: self.logged_in, skip: Some(literal_left), ..Gather::default() };
    }

    /// What follows APPEND's message in the unread bytes.
    pub fn append_end(&mut self, unread: &[u8]) -> AppendEnd {
        match unread {
            [b'\r', b'\n', ..] => AppendEnd::End { consumed: 2 },
            [] | [b'\r'] => AppendEnd::More,
            _ => {
                self.skip_rest(0);
                AppendEnd::Bad
            }
        }
    }

    fn skipped(&mut self, unread: &[u8]) -> Gathered<'static> {
        let left = self.skip.unwrap_or(0);
        if unread.is_empty() {
            return Gathered::More;
        }
        if left > 0 {
            let now = left.min(unread.len() as u64);
            self.skip = Some(left - now);
            return Gathered::Skip { consumed: now as usize };
        }
        if let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") {
            // A client that waits for a continuation has been told BAD: its command is over.
            self.skip =
                literal_header(unread, 0, end).filter(|header| !header.sync).map(|header| header.size);
            return Gathered::Skip { consumed: end + 2 };
        }
        // A literal's header may be cut here.
        match unread.len().saturating_sub(LITERAL_HEADER_BYTES_MAX) {
            0 => Gathered::More,
            consumed => Gathered::Skip { consumed },
        }
    }
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8` (RFC 7888 §8): its header, if the line from `line` to `end` ends in one.
///
/// A number that 64 bits do not hold makes no literal.
fn literal_header(bytes: &[u8], line: usize, end: usize) -> Option<LiteralHeader> {
    let inner = bytes.get(line..end)?.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|byte| *byte == b'{')?;
    let (digits, sync) = match inner[start + 1..].strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (&inner[start + 1..], true),
    };
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(LiteralHeader { start: line + start, size, sync })
}

fn tag(bytes: &[u8]) -> Option<&str> {
    let mut cursor = Cursor::new(bytes);
    cursor.tag().ok().filter(|_| cursor.take(b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a client's bytes, with the session's part done: everything is consumed as told.
    fn events(bytes: &[u8], step: usize, logged_in: bool) -> Vec<String> {
        let mut gather = Gather { logged_in, ..Gather::default() };
        let (mut events, mut inbox) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            inbox.extend_from_slice(piece);
            loop {
                let consumed = match gather.next(&inbox) {
                    Gathered::More => break,
                    Gathered::Continue => {
                        events.push("+".to_owned());
                        0
                    }
                    Gathered::Command { bytes, consumed } => {
                        events.push(bytes.escape_ascii().to_string());
                        consumed
                    }
                    Gathered::Append { append, consumed } => {
                        events.push(format!("{} APPEND {} {}", append.tag, append.size, append.sync));
                        if !append.sync {
                            gather.skip_rest(append.size);
                        }
                        consumed
                    }
                    Gathered::Refused { tag, why, consumed } => {
                        events.push(format!("{} BAD {}", tag.unwrap_or("*"), why.text()));
                        consumed
                    }
                    Gathered::Skip { consumed } => {
                        assert!(consumed > 0);
                        consumed
                    }
                };
                inbox.drain(..consumed);
            }
            assert!(inbox.len() <= 2 * limits::IMAP_LINE_BYTES_MAX);
        }
        if !inbox.is_empty() {
            events.push(format!("left {}", inbox.len().min(99)));
        }
        events
    }

    /// The same however the bytes arrive.
    fn same(bytes: &[u8], logged_in: bool) -> Vec<String> {
        let whole = events(bytes, bytes.len().max(1), logged_in);
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(events(bytes, step, logged_in), whole, "in steps of {step}");
        }
        whole
    }

    #[test]
    fn lines_and_literals() {
        let text =
            b"a NOOP\r\nb LOGIN {4}\r\nanna {3+}\r\na\r\n\r\n\r\nc X {0}\r\n\r\nd {0+}\r\n {1}\r\nx\r\ne NOO";
        let wanted = [
            "a NOOP",
            "+",
            "b LOGIN {4}\\r\\nanna {3+}\\r\\na\\r\\n",
            "",
            "+",
            "c X {0}\\r\\n",
            "+",
            "d {0+}\\r\\n {1}\\r\\nx",
            "left 5",
        ];
        assert_eq!(same(text, true), wanted);
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(same(b"a NOOP\nb NOOP\r\nc\rd\r\r\n", true), ["a NOOP\\nb NOOP", "c\\rd\\r"]);
        assert_eq!(same(b"a X {3}\nabc\r\n", true), ["a X {3}\\nabc"]);
    }

    #[test]
    fn what_looks_like_a_literal_and_is_none_ends_the_line() {
        for text in [
            "{}",
            "{-1}",
            "{+}",
            "{1 }",
            "{ 1}",
            "{1++}",
            "{1}x",
            "{99999999999999999999}",
            "{000000000000000000001}",
            "{1",
            "1}",
        ] {
            assert_eq!(
                same(format!("a X {text}\r\nb NOOP\r\n").as_bytes(), true),
                [format!("a X {text}"), "b NOOP".to_owned()]
            );
        }
    }

    #[test]
    fn a_literal_that_is_too_big_is_refused_and_the_next_command_found() {
        let max = limits::IMAP_LITERALS_BYTES_MAX;
        let sync = format!("a LOGIN {{{}}}\r\nb NOOP\r\n", max + 1);
        assert_eq!(same(sync.as_bytes(), true), ["a BAD Literal too big", "b NOOP"]);
        let filling = "x\r\n".repeat(max / 3 + 1);
        let plus =
            format!("a LOGIN {{{}+}}\r\n{filling} {{3+}}\r\n\r\n\r y {{2}}\r\nb NOOP\r\n", filling.len());
        assert_eq!(same(plus.as_bytes(), true), ["a BAD Literal too big", "b NOOP"]);
        let sum = format!("a X {{{max}+}}\r\n{} {{1+}}\r\nx\r\nb NOOP\r\n", "y".repeat(max));
        assert_eq!(same(sum.as_bytes(), true), ["a BAD Literal too big", "b NOOP"]);
        assert_eq!(same(b"a X {18446744073709551615+}\r\nb NOOP\r\n", true), ["a BAD Literal too big"]);
        let fits = format!("a X {{{max}}}\r\n{}\r\n", "y".repeat(max));
        assert_eq!(same(fits.as_bytes(), true).len(), 2);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_command_found() {
        let max = limits::IMAP_LINE_BYTES_MAX;
        let line = |length: usize| format!("tag {}\r\nb NOOP\r\n", "x".repeat(length - 6));
        assert_eq!(same(line(max).as_bytes(), true).len(), 2);
        assert_eq!(same(line(max + 1).as_bytes(), true), ["tag BAD Command line too long", "b NOOP"]);
        assert_eq!(same(line(max * 3).as_bytes(), true), ["tag BAD Command line too long", "b NOOP"]);
        let behind = format!("a X {{5+}}\r\n\r\nb\r\n{} {{3+}}\r\nc\r\n\r\nb NOOP\r\n", "x".repeat(max));
        assert_eq!(same(behind.as_bytes(), true), ["a BAD Command line too long", "b NOOP"]);
        assert_eq!(
            same(&[vec![b'('; max], b"\r\nb NOOP\r\n".to_vec()].concat(), true),
            ["* BAD Command line too long", "b NOOP"]
        );
    }

    #[test]
    fn before_login_the_bounds_are_narrow() {
        let max = limits::IMAP_LOGIN_BYTES_MAX;
        let line = format!("a {}\r\n", "x".repeat(max));
        assert_eq!(same(line.as_bytes(), false), ["a BAD Command line too long"]);
        assert_eq!(same(format!("a LOGIN {{{}}}\r\n", max + 1).as_bytes(), false), ["a BAD Literal too big"]);
        assert_eq!(same(format!("a LOGIN {{{max}}}\r\n").as_bytes(), false)[0], "+");
    }

    #[test]
    fn the_message_of_append_is_left_to_the_session() {
        assert_eq!(same(b"a APPEND x {99999999}\r\nb NOOP\r\n", true), ["a APPEND 99999999 true", "b NOOP"]);
        assert_eq!(
            same(b"a APPEND {1}\r\nx () {5+}\r\n\r\nc\r\n\r\nb NOOP\r\n", true),
            ["+", "a APPEND 5 false", "b NOOP"]
        );
        let bad = b"a APPEND x (\\Recent) {5+}\r\n\r\nc\r\n\r\nb NOOP\r\n";
        assert_eq!(same(bad, true), ["a BAD Not a flag that can be set", "b NOOP"]);
        assert_eq!(
            same(b"a APPEND R&D {5}\r\nb NOOP\r\n", true),
            ["a BAD Not a folder name in modified UTF-7", "b NOOP"]
        );
        assert_eq!(same(b"a APPEND x\r\n", true), ["a APPEND x"]);
    }

    #[test]
    fn after_the_message_comes_the_end_of_the_line() {
        let mut gather = Gather::default();
        assert_eq!(gather.append_end(b"\r"), AppendEnd::More);
        assert_eq!(gather.append_end(b"\r\nb NOOP"), AppendEnd::End { consumed: 2 });
        assert_eq!(gather.append_end(b" {3+}\r\nabc\r\n"), AppendEnd::Bad);
        assert_eq!(gather.next(b" {3+}\r\nabc\r\n"), Gathered::Skip { consumed: 7 });
        assert_eq!(gather.next(b"abc\r\n"), Gathered::Skip { consumed: 3 });
        assert_eq!(gather.next(b"\r\nb X\r\n"), Gathered::Skip { consumed: 2 });
        assert_eq!(gather.next(b"b X\r\n"), Gathered::Command { bytes: b"b X", consumed: 5 });
    }
}
