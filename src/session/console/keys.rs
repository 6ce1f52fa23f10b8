//! Keys, out of the bytes that a terminal sends: letters in UTF-8, control characters, and the escape sequences of the arrow keys
//! (ECMA-48 §5.4, as every terminal since the VT100 sends them).
//!
//! It refuses to know what a key does. What is no key and no text is noise: it is dropped, and remembered only as having been there.
//! A sequence that nobody knows is dropped whole. Invariant: at most one unfinished letter is kept.

use super::line::printable;

/// A serial line's reader puts this (CAN) where bytes are missing; a terminal's own is dropped before.
pub const LOST: u8 = 0x18;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One letter, whole.
    Letter(char),
    /// CR, LF, or both.
    Enter,
    /// Tab.
    Tab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
    /// Arrow, Ctrl-B.
    Left,
    /// Arrow, Ctrl-F.
    Right,
    /// Home, Ctrl-A.
    ToStart,
    /// End, Ctrl-E.
    ToEnd,
    /// Arrow, Ctrl-P.
    Earlier,
    /// Arrow, Ctrl-N.
    Later,
    /// Backspace, Ctrl-H.
    Backspace,
    /// Delete.
    Delete,
    /// Ctrl-U.
    DropStart,
    /// Ctrl-K.
    DropRest,
    /// Ctrl-W.
    DropWord,
    /// Ctrl-L, Ctrl-R.
    Redraw,
    /// Bytes are missing here.
    Lost,
}

/// Where in an escape sequence the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    /// `ESC [` or `ESC O`, with the first number, and whether another one has begun.
    Control(u8, bool),
}

/// Keys that are under way.
#[derive(Debug)]
pub struct Keys {
    after_cr: bool,
    escape: Escape,
    letter: [u8; 4],
    length: usize,
    noise: bool,
}

impl Keys {
    /// Nothing has come yet.
    pub fn new() -> Keys {
        Keys { after_cr: false, escape: Escape::No, letter: [0; 4], length: 0, noise: false }
    }

    /// Whether something that was no key has come since the last call.
    pub fn noise(&mut self) -> bool {
        std::mem::take(&mut self.noise)
    }

    /// Takes a byte; the key that it ends.
    pub fn take(&mut self, byte: u8) -> Option<Key> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        if let Some(key) = self.escaped(byte) {
            return key;
        }
        if byte >= 0x80 {
            return self.part(byte);
        }
        self.drop_letter();
        match byte {
            b'\n' if after_cr => None,
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x01 => Some(Key::ToStart),
            0x02 => Some(Key::Left),
            0x03 => Some(Key::Interrupt),
            0x04 => Some(Key::End),
            0x05 => Some(Key::ToEnd),
            0x06 => Some(Key::Right),
            0x08 | 0x7f => Some(Key::Backspace),
            0x0b => Some(Key::DropRest),
            0x0c | 0x12 => Some(Key::Redraw),
            0x0e => Some(Key::Later),
            0x10 => Some(Key::Earlier),
            0x15 => Some(Key::DropStart),
            0x17 => Some(Key::DropWord),
            LOST => Some(Key::Lost),
            // XON and XOFF: a terminal's own affair with its line.
            0x11 | 0x13 => None,
            0x00..0x20 => {
                self.noise = true;
                None
            }
            byte => Some(Key::Letter(char::from(byte))),
        }
    }

    /// A byte of an escape sequence, and the key that it ends. None: it belongs to none.
    fn escaped(&mut self, byte: u8) -> Option<Option<Key>> {
        let (now, key) = match (self.escape, byte) {
            (_, 0x1b) => {
                self.drop_letter();
                (Escape::Begun, None)
            }
            (Escape::Begun, b'[' | b'O') => (Escape::Control(0, false), None),
            (Escape::Begun, b' '..=b'~') => (Escape::No, None),
            (Escape::Control(number, false), b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(byte - b'0');
                (Escape::Control(number, false), None)
            }
            (Escape::Control(number, _), b' '..=b'?') => (Escape::Control(number, true), None),
            (Escape::Control(number, _), b'@'..=b'~') => (Escape::No, named(number, byte)),
            // A control byte or noise ends a sequence that was none, and counts.
            _ => {
                self.escape = Escape::No;
                return None;
            }
        };
        self.escape = now;
        Some(key)
    }

    /// A byte of a letter that is not ASCII.
    fn part(&mut self, byte: u8) -> Option<Key> {
        loop {
            if let Some(place) = self.letter.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
            match std::str::from_utf8(self.letter.get(..self.length).unwrap_or_default()) {
                Ok(text) => {
                    let letter = text.chars().next().filter(|letter| printable(*letter));
                    self.noise |= letter.is_none();
                    self.forget_letter();
                    return letter.map(Key::Letter);
                }
                Err(error) if error.error_len().is_none() => return None,
                Err(_) => {
                    let again = self.length > 1;
                    self.drop_letter();
                    if !again {
                        return None;
                    }
                    // What does not go on with the letter before may begin one.
                }
            }
        }
    }

    fn drop_letter(&mut self) {
        self.noise |= self.length > 0;
        self.forget_letter();
    }

    /// It may be of a password.
    fn forget_letter(&mut self) {
        (self.letter, self.length) = ([0; 4], 0);
    }
}

/// The key of a sequence's number and last byte.
fn named(number: u8, end: u8) -> Option<Key> {
    match (end, number) {
        (b'A', _) => Some(Key::Earlier),
        (b'B', _) => Some(Key::Later),
        (b'C', _) => Some(Key::Right),
        (b'D', _) => Some(Key::Left),
        (b'H', _) | (b'~', 1 | 7) => Some(Key::ToStart),
        (b'F', _) | (b'~', 4 | 8) => Some(Key::ToEnd),
        (b'~', 3) => Some(Key::Delete),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> (Vec<Key>, bool) {
        let mut keys = Keys::new();
        (bytes.iter().filter_map(|byte| keys.take(*byte)).collect(), keys.noise())
    }

    #[test]
    fn every_end_of_line_is_one_enter() {
        assert_eq!(keys(b"\r\n\r\r\n\n"), (vec![Key::Enter; 4], false));
    }

    #[test]
    fn arrows_are_keys_and_other_sequences_are_nothing() {
        let (found, noise) =
            keys(b"\x1b[A\x1bOB\x1b[1;5C\x1b[D\x1b[3~\x1b[1~\x1bOF\x1b[24~\x1bx\x1b[<0;1;1Ma");
        let wanted = [Key::Earlier, Key::Later, Key::Right, Key::Left, Key::Delete, Key::ToStart, Key::ToEnd];
        assert_eq!(found, [&wanted[..], &[Key::Letter('a')]].concat());
        assert!(!noise);
        assert_eq!(keys(b"\x1b[99999999999\ra").0, [Key::Enter, Key::Letter('a')]);
    }

    #[test]
    fn letters_are_whole_and_the_rest_is_noise() {
        assert_eq!(keys("ü€😀".as_bytes()), ("ü€😀".chars().map(Key::Letter).collect(), false));
        let letters = |text: &str| text.chars().map(Key::Letter).collect::<Vec<_>>();
        for (bytes, wanted) in [
            (&b"\xffa\x00\x1f\xc3b"[..], "ab"),
            (b"\xe2\x82\xac\x80c", "€c"),
            (b"\xc3\xc3\xbc", "ü"),
            (b"\xf0\x9f\xc3\xbc", "ü"),
            ("a\u{202e}\u{9b}".as_bytes(), "a"),
        ] {
            assert_eq!(keys(bytes), (letters(wanted), true), "{bytes:x?}");
        }
        keys(&(0..=255).cycle().take(70_000).map(|n: u32| (n * n / 7) as u8).collect::<Vec<u8>>());
    }
}
