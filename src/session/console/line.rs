//! One line at a time, out of bytes that may be typed, pasted, piped or noise.
//!
//! It refuses to know what a line means. On a serial line it echoes what it takes, unless the line is a password; there CR, LF and CR LF
//! all end a line, and what is no text is dropped. On a socket only LF ends a line (a CR before it is dropped) and every other byte is kept.
//! Invariants: at most [`LINE_BYTES_MAX`] bytes are kept; with echo, what is kept is always UTF-8 but for its last, unfinished letter.
//! History and completion will live here.

use heapless::Vec as Line;

use crate::limits::CONSOLE_LINE_BYTES_MAX;
use crate::session::Inbox;

/// Bytes of a line without its end.
pub const LINE_BYTES_MAX: usize = CONSOLE_LINE_BYTES_MAX;

/// What the bytes amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line of more bytes than are kept; it is gone.
    TooLong,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
}

/// Where in a terminal's escape sequence the bytes are (ECMA-48 §5.4): arrow keys send them, and they are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    Control,
}

/// The line that is being typed.
pub struct Editor {
    line: Box<Line<u8, LINE_BYTES_MAX>>,
    serial: bool,
    echo: bool,
    too_long: bool,
    after_cr: bool,
    escape: Escape,
}

impl Editor {
    /// An empty line; `serial`: typed at a terminal that shows what we send back.
    pub fn new(serial: bool) -> Editor {
        Editor {
            line: Box::default(),
            serial,
            echo: false,
            too_long: false,
            after_cr: false,
            escape: Escape::No,
        }
    }

    /// Starts over; `echo`: the line is no password.
    pub fn start(&mut self, echo: bool) {
        self.wipe();
        self.too_long = false;
        self.echo = echo;
    }

    /// What the line holds when no more bytes will come; None when it is empty.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.line.to_vec();
        self.wipe();
        (!rest.is_empty()).then_some(rest)
    }

    /// Takes bytes up to the end of a line; None when there is none yet. Echo goes to `out`.
    pub fn take(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> Option<Event> {
        let mut event = None;
        let mut taken = 0;
        for byte in inbox.bytes() {
            taken += 1;
            event = if self.serial { self.typed(*byte, out) } else { self.piped(*byte) };
            if event.is_some() {
                break;
            }
        }
        inbox.consume(taken);
        event
    }

    fn piped(&mut self, byte: u8) -> Option<Event> {
        if byte != b'\n' {
            self.too_long |= self.line.push(byte).is_err();
            return None;
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Some(self.finish())
    }

    fn finish(&mut self) -> Event {
        let event = if self.too_long { Event::TooLong } else { Event::Line(self.line.to_vec()) };
        self.wipe();
        self.too_long = false;
        event
    }

    /// Passwords pass through here: their bytes are not left behind.
    fn wipe(&mut self) {
        self.line.iter_mut().for_each(|byte| *byte = 0);
        self.line.clear();
    }

    fn typed(&mut self, byte: u8, out: &mut Vec<u8>) -> Option<Event> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        if self.escaped(byte) {
            return None;
        }
        match byte {
            b'\n' if after_cr => None,
            b'\r' | b'\n' => {
                out.extend_from_slice(b"\r\n");
                self.truncate_to_text();
                Some(self.finish())
            }
            0x03 => {
                out.extend_from_slice(b"^C\r\n");
                self.wipe();
                Some(Event::Interrupt)
            }
            0x04 if self.line.is_empty() => {
                out.extend_from_slice(b"\r\n");
                Some(Event::End)
            }
            0x08 | 0x7f => {
                self.erase(out);
                None
            }
            0x15 => {
                while !self.line.is_empty() {
                    self.erase(out);
                }
                None
            }
            0x00..0x20 => None,
            byte => {
                self.letter(byte, out);
                None
            }
        }
    }

    /// Whether the byte belongs to an escape sequence.
    fn escaped(&mut self, byte: u8) -> bool {
        let (was, now) = match (self.escape, byte) {
            (_, 0x1b) => (true, Escape::Begun),
            (Escape::Begun, b'[' | b'O') => (true, Escape::Control),
            (Escape::Begun, b' '..=b'~') => (true, Escape::No),
            (Escape::Control, b' '..=b'?') => (true, Escape::Control),
            (Escape::Control, b'@'..=b'~') => (true, Escape::No),
            // A control byte or noise ends a sequence that was none, and counts.
            _ => (false, Escape::No),
        };
        self.escape = now;
        was
    }

    /// Takes a byte of text: a whole letter is echoed, what can be none is dropped.
    fn letter(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte < 0x80 {
            self.truncate_to_text();
        }
        if self.line.push(byte).is_err() {
            self.truncate_to_text();
            out.push(0x07);
            return;
        }
        let start = self.letter_start();
        match std::str::from_utf8(self.line.get(start..).unwrap_or_default()) {
            Ok(letter) if letter.chars().all(printable) => {
                if self.echo {
                    out.extend_from_slice(letter.as_bytes());
                }
            }
            Ok(_) => self.line.truncate(start),
            Err(error) if error.error_len().is_none() => {}
            Err(error) => self.line.truncate(start + error.valid_up_to()),
        }
    }

    /// Where the last letter begins, whole or not: behind at most three continuation bytes.
    fn letter_start(&self) -> usize {
        let length = self.line.len();
        let tail = self.line.iter().rev().take(4).position(|byte| byte & 0xc0 != 0x80);
        length - tail.map_or(1.min(length), |back| back + 1)
    }

    /// Drops a letter that was begun and not finished.
    fn truncate_to_text(&mut self) {
        if let Err(error) = std::str::from_utf8(&self.line) {
            self.line.truncate(error.valid_up_to());
        }
    }

    fn erase(&mut self, out: &mut Vec<u8>) {
        self.truncate_to_text();
        if self.line.is_empty() {
            return;
        }
        let start = self.letter_start();
        self.line.truncate(start);
        if self.echo {
            out.extend_from_slice(b"\x08 \x08");
        }
    }
}

/// Whether a character may be sent to a terminal as it is: no control character, and none that turns the direction of text around.
pub fn printable(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(serial: bool, echo: bool, bytes: &[u8]) -> (Vec<Event>, String) {
        let mut editor = Editor::new(serial);
        editor.start(echo);
        let (mut inbox, mut out, mut events) = (Inbox::default(), Vec::new(), Vec::new());
        // Byte by byte and all at once must be the same.
        for byte in bytes {
            inbox.extend(&[*byte]);
            events.extend(editor.take(&mut inbox, &mut out));
        }
        let mut again = Editor::new(serial);
        again.start(echo);
        inbox.extend(bytes);
        let mut out_again = Vec::new();
        let all: Vec<Event> = std::iter::from_fn(|| again.take(&mut inbox, &mut out_again)).collect();
        assert_eq!((&all, &out_again), (&events, &out));
        (events, String::from_utf8(out).unwrap())
    }

    fn line(text: &str) -> Event {
        Event::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn every_end_of_line_ends_one_line() {
        let (events, echo) = type_in(true, true, b"a\rb\nc\r\nd\r\r\n\n");
        assert_eq!(events, [line("a"), line("b"), line("c"), line("d"), line(""), line("")]);
        assert_eq!(echo, "a\r\nb\r\nc\r\nd\r\n\r\n\r\n");
    }

    #[test]
    fn a_socket_keeps_every_byte() {
        let (events, echo) = type_in(false, true, b"a\x08\xff\r\n\rb\n");
        assert_eq!(events, [Event::Line(b"a\x08\xff".to_vec()), Event::Line(b"\rb".to_vec())]);
        assert_eq!(echo, "");
    }

    #[test]
    fn backspace_takes_a_whole_letter() {
        let (events, echo) = type_in(true, true, "\u{7f}aü\u{7f}\u{8}b€\r".as_bytes());
        assert_eq!(events, [line("b€")]);
        assert_eq!(echo, "aü\x08 \x08\x08 \x08b€\r\n");
        assert_eq!(type_in(true, true, b"abc\x15d\r").0, [line("d")]);
    }

    #[test]
    fn a_password_is_not_echoed() {
        let (events, echo) = type_in(true, false, "geh\u{7f}heim ü\r".as_bytes());
        assert_eq!(events, [line("geheim ü")]);
        assert_eq!(echo, "\r\n");
    }

    #[test]
    fn noise_is_dropped() {
        let (events, echo) = type_in(true, true, b"\x00\xffa\x01\xc3b\xe2\x82\xac\x80c\xf0\x9f\r");
        assert_eq!(events, [line("ab€c")]);
        assert_eq!(echo, "ab€c\r\n");
        let (events, _) = type_in(true, true, b"a\x1b[A\x1b[1;5C\x1bOPb\x1bx\r");
        assert_eq!(events, [line("ab")]);
        let all: Vec<u8> = (0..=255).cycle().take(4096).collect();
        type_in(true, true, &all);
        type_in(false, true, &all);
    }

    #[test]
    fn a_line_has_an_end() {
        let mut long = vec![b'x'; LINE_BYTES_MAX + 10];
        long.extend_from_slice(b"\nshort\n");
        assert_eq!(type_in(false, true, &long).0, [Event::TooLong, line("short")]);
        let (events, echo) = type_in(true, true, &long);
        assert_eq!(events, [line(&"x".repeat(LINE_BYTES_MAX)), line("short")]);
        assert_eq!(echo.matches('\x07').count(), 10);
    }

    #[test]
    fn interrupt_and_end() {
        assert_eq!(type_in(true, true, b"abc\x03d\x04\r\x04").0, [Event::Interrupt, line("d"), Event::End]);
    }
}
