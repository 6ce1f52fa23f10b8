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
            append::Header::Bad(_, bad) => {
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
