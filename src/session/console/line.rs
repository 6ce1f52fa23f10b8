//! One line at a time, out of bytes that may be typed, pasted, piped or noise.
//!
//! It refuses to know what a line means. From a terminal the bytes are keys: a line is edited and echoed, unless it is a password; CR, LF
//! and CR LF all end it, and what is no text is dropped. From a program only LF ends a line (a CR before it is dropped) and every other
//! byte is kept. A line in which something is missing is never given away as if it were whole.
//! Invariants: at most [`LINE_BYTES_MAX`] bytes are kept; what is typed is always UTF-8.

use super::history::History;
use super::keys::{Key, Keys};
use super::typed::Typed;
use crate::limits::{CONSOLE_COLUMNS, CONSOLE_COLUMNS_MIN, CONSOLE_LINE_BYTES_MAX};
use crate::session::Inbox;

/// Bytes of a line without its end.
pub const LINE_BYTES_MAX: usize = CONSOLE_LINE_BYTES_MAX;

/// Where a line's bytes are.
pub type Buffer = heapless::Vec<u8, LINE_BYTES_MAX>;

/// What the bytes amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line of more bytes than are kept; it is gone.
    TooLong,
    /// A line in which bytes are missing; it is gone.
    Lost,
    /// A line with noise in it: it is not what was sent, and is gone.
    Noise,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
    /// Tab in a command, elsewhere white space; `again`: the key before was one, too.
    Complete {
        /// The key before was one, too.
        again: bool,
    },
    /// `?` in a command. It is not yet in the line.
    Question,
}

/// What is to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A command: with history, Tab and `?`.
    Command,
    /// An answer.
    Answer,
    /// A password: nothing is shown.
    Secret,
    /// A line of a text that is not shown, but for [`END`], which ends it.
    Hidden,
}

/// The line that ends a text.
pub const END: &[u8] = b"end";

/// The line that is coming in.
pub struct Editor {
    source: Source,
}

enum Source {
    Program { line: Box<Buffer>, too_long: bool },
    Terminal(Box<Terminal>),
}

struct Terminal {
    keys: Keys,
    typed: Typed,
    kind: Kind,
    history: History,
    too_long: bool,
    lost: bool,
    noise: bool,
    /// The last key was Tab.
    tab: bool,
}

impl Editor {
    /// Lines that a program sends.
    pub fn program() -> Editor {
        Editor { source: Source::Program { line: Box::default(), too_long: false } }
    }

    /// Lines that are typed at a terminal, which shows what we send back; None: it has not said how many columns it has.
    pub fn terminal(columns: Option<usize>) -> Editor {
        let columns = columns.unwrap_or(CONSOLE_COLUMNS).max(CONSOLE_COLUMNS_MIN);
        Editor {
            source: Source::Terminal(Box::new(Terminal {
                keys: Keys::new(),
                typed: Typed::new(columns),
                kind: Kind::Secret,
                history: History::default(),
                too_long: false,
                lost: false,
                noise: false,
                tab: false,
            })),
        }
    }

    /// Starts over, behind a prompt that has been shown.
    pub fn start(&mut self, kind: Kind, prompt: &str) {
        match &mut self.source {
            Source::Program { line, too_long } => {
                wipe(line);
                *too_long = false;
            }
            Source::Terminal(terminal) => terminal.start(kind, prompt),
        }
    }

    /// What the line holds when no more bytes will come; None when it is empty.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = match &mut self.source {
            Source::Program { line, .. } => {
                let rest = line.to_vec();
                wipe(line);
                rest
            }
            Source::Terminal(terminal) => terminal.finish(),
        };
        (!rest.is_empty()).then_some(rest)
    }

    /// Takes bytes up to the next event; None when there is none yet. Echo goes to `out`.
    pub fn take(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> Option<Event> {
        let mut event = None;
        let mut taken = 0;
        for byte in inbox.bytes() {
            taken += 1;
            event = match &mut self.source {
                Source::Program { line, too_long } => piped(line, too_long, *byte),
                Source::Terminal(terminal) => terminal.byte(*byte, out),
            };
            if event.is_some() {
                break;
            }
        }
        inbox.consume(taken);
        if let Some(typed) = self.typed() {
            typed.settle(out);
        }
        event
    }

    /// The terminal's line; a program has none that could be edited.
    pub fn typed(&mut self) -> Option<&mut Typed> {
        match &mut self.source {
            Source::Program { .. } => None,
            Source::Terminal(terminal) => Some(&mut terminal.typed),
        }
    }

    /// Remembers a command, for the terminal's history.
    pub fn remember(&mut self, line: &str) {
        if let Source::Terminal(terminal) = &mut self.source {
            terminal.history.remember(line);
        }
    }

    /// Forgets the history: somebody else may come.
    pub fn forget(&mut self) {
        if let Source::Terminal(terminal) = &mut self.source {
            terminal.history = History::default();
        }
    }
}

/// Passwords pass through here: their bytes are not left behind.
fn wipe(line: &mut Buffer) {
    line.iter_mut().for_each(|byte| *byte = 0);
    line.clear();
}

fn piped(line: &mut Buffer, too_long: &mut bool, byte: u8) -> Option<Event> {
    if byte != b'\n' {
        *too_long |= line.push(byte).is_err();
        return None;
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let event = if *too_long { Event::TooLong } else { Event::Line(line.to_vec()) };
    wipe(line);
    *too_long = false;
    Some(event)
}

impl Terminal {
    fn start(&mut self, kind: Kind, prompt: &str) {
        self.kind = kind;
        self.typed.start(prompt, !matches!(kind, Kind::Secret | Kind::Hidden));
        self.history.leave();
        self.keys.noise();
        (self.too_long, self.lost, self.noise, self.tab) = (false, false, false, false);
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Option<Event> {
        let key = self.keys.take(byte);
        // Of a line that has not begun nothing is missing: so says a terminal that is being connected.
        self.noise |= self.keys.noise();
        self.noise &= !self.typed.text().is_empty();
        self.key(key?, out)
    }

    fn finish(&mut self) -> Vec<u8> {
        let line = self.typed.text().as_bytes().to_vec();
        self.typed.wipe();
        self.history.leave();
        line
    }

    fn key(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Event> {
        let again = std::mem::replace(&mut self.tab, key == Key::Tab);
        let key = match (key, self.kind) {
            // Nothing is completed there: it is the white space that it is in a file. In a password nobody would see it.
            (Key::Tab, Kind::Answer | Kind::Hidden) => Key::Letter(' '),
            (key, _) => key,
        };
        let typed = &mut self.typed;
        match key {
            Key::Enter => return Some(self.enter(out)),
            Key::Interrupt => {
                out.extend_from_slice(b"^C\r\n");
                self.typed.wipe();
                return Some(Event::Interrupt);
            }
            Key::End if typed.text().is_empty() => {
                out.extend_from_slice(b"\r\n");
                return Some(Event::End);
            }
            Key::Tab if self.kind == Kind::Command => return Some(Event::Complete { again }),
            Key::Letter('?') if self.kind == Kind::Command => return Some(Event::Question),
            Key::Letter(letter) => {
                if !typed.insert(letter, out) {
                    self.too_long = true;
                    out.push(0x07);
                }
            }
            Key::Tab => out.push(0x07),
            Key::Left => typed.left(out),
            Key::Right => typed.right(out),
            Key::ToStart => typed.go_to_start(out),
            Key::ToEnd => typed.go_to_end(out),
            Key::Earlier | Key::Later => self.walk(key == Key::Earlier, out),
            Key::Backspace => typed.backspace(out),
            Key::Delete | Key::End => typed.delete(),
            Key::DropStart => typed.drop_start(),
            Key::DropRest => typed.drop_rest(),
            Key::DropWord => typed.drop_word(),
            Key::Redraw => {
                out.extend_from_slice(b"\r\n");
                typed.redraw(out);
            }
            Key::Lost => self.lost = true,
        }
        if matches!(key, Key::Backspace | Key::Delete | Key::DropStart | Key::DropRest | Key::DropWord) {
            // Who takes something out has seen what had no room.
            self.too_long = false;
        }
        None
    }

    fn enter(&mut self, out: &mut Vec<u8>) -> Event {
        self.typed.settle(out);
        let line = self.finish();
        if self.kind == Kind::Hidden && line.eq_ignore_ascii_case(END) {
            out.extend_from_slice(&line);
        }
        out.extend_from_slice(b"\r\n");
        let flaws = (self.lost, self.too_long, self.noise);
        (self.lost, self.too_long, self.noise) = (false, false, false);
        match flaws {
            (true, _, _) => Event::Lost,
            (_, true, _) => Event::TooLong,
            (_, _, true) => Event::Noise,
            _ => Event::Line(line),
        }
    }

    /// Another line of the history.
    fn walk(&mut self, earlier: bool, out: &mut Vec<u8>) {
        let line = match earlier {
            _ if self.kind != Kind::Command => None,
            true => self.history.earlier(self.typed.text()),
            false => self.history.later(),
        };
        match line.map(String::from) {
            Some(line) => self.typed.replace(&line),
            None => out.push(0x07),
        }
    }
}

/// Whether a character may be sent to a terminal as it is: no control character, and none that turns the direction of text around.
pub fn printable(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
