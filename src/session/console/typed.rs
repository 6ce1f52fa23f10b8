//! The line that is being typed, and how it looks: on a terminal that knows nothing but CR, LF, backspace, space and letters.
//!
//! What is typed at the end is echoed as it comes, and a line that is longer than the terminal goes on in its next row, as in a paste.
//! No dumb terminal can go back to the row before: a long line that is edited is shown anew in one row, which shows the part around
//! the cursor. What takes a row to show is shown when no more keys are there ([`Typed::settle`]). A password is edited in the same way
//! and nothing of it is shown. It refuses to know keys and what the line means.
//! Invariants: at most [`LINE_BYTES_MAX`] bytes, always UTF-8; the cursor is between two letters. Each letter is taken for one column.

use super::line::{Buffer, LINE_BYTES_MAX};

/// Letters of a line that a row shows at least: a prompt that leaves less room is not repeated.
const ROW_LETTERS_MIN: usize = 20;
/// The prompt of a row whose own prompt is too long.
const SHORT_PROMPT: &str = "> ";

/// A line.
pub struct Typed {
    text: Box<Buffer>,
    /// Where the next letter goes, bytes.
    cursor: usize,
    echo: bool,
    columns: usize,
    prompt: String,
    /// Letters that the row shows after the prompt; more than it has columns when it has wrapped.
    drawn: usize,
    /// The first letter that is shown, when the row shows a part.
    first: usize,
    /// The row does not show what the line is: [`Typed::settle`] is to come.
    stale: bool,
}

impl Typed {
    /// An empty line on a terminal of so many columns.
    pub fn new(columns: usize) -> Typed {
        let text = Box::default();
        Typed {
            text,
            cursor: 0,
            echo: false,
            columns,
            prompt: String::new(),
            drawn: 0,
            first: 0,
            stale: false,
        }
    }

    /// Starts over behind a prompt that is shown already; `echo`: what is typed is shown.
    pub fn start(&mut self, prompt: &str, echo: bool) {
        self.wipe();
        self.prompt = String::from(prompt.rsplit('\n').next().unwrap_or_default());
        self.echo = echo;
    }

    /// The whole line.
    pub fn text(&self) -> &str {
        // Only whole letters are put in and taken out.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// What is left of the cursor.
    pub fn before(&self) -> &str {
        self.text().get(..self.cursor).unwrap_or_default()
    }

    fn after(&self) -> &str {
        self.text().get(self.cursor..).unwrap_or_default()
    }

    /// Forgets the line, byte by byte: it may be a password.
    pub fn wipe(&mut self) {
        self.text.iter_mut().for_each(|byte| *byte = 0);
        self.text.clear();
        (self.cursor, self.drawn, self.first, self.stale) = (0, 0, 0, false);
    }

    /// Puts a letter in. False: there is no room for it.
    pub fn insert(&mut self, letter: char, out: &mut Vec<u8>) -> bool {
        let mut bytes = [0; 4];
        let bytes = letter.encode_utf8(&mut bytes).as_bytes();
        if self.text.len() + bytes.len() > LINE_BYTES_MAX {
            return false;
        }
        let at_end = self.cursor == self.text.len();
        for (index, byte) in bytes.iter().enumerate() {
            // There is room, and the cursor lies in the line.
            let _fits = self.text.insert(self.cursor + index, *byte);
        }
        self.cursor += bytes.len();
        if !self.echo {
        } else if !self.stale && at_end && (self.first == 0 || !self.row_is_full()) {
            out.extend_from_slice(bytes);
            self.drawn += 1;
        } else {
            self.stale = true;
        }
        true
    }

    /// Takes the letter left of the cursor out.
    pub fn backspace(&mut self, out: &mut Vec<u8>) {
        let Some(letter) = self.before().chars().next_back() else { return };
        let simple = self.after().is_empty() && self.in_one_row();
        self.remove(self.cursor - letter.len_utf8(), self.cursor);
        if simple && self.echo {
            out.extend_from_slice(b"\x08 \x08");
            self.drawn -= 1;
        } else {
            self.stale = true;
        }
    }

    /// Takes the letter at the cursor out.
    pub fn delete(&mut self) {
        if let Some(letter) = self.after().chars().next() {
            self.remove(self.cursor, self.cursor + letter.len_utf8());
            self.stale = true;
        }
    }

    /// Takes everything left of the cursor out.
    pub fn drop_start(&mut self) {
        self.remove(0, self.cursor);
        self.stale = true;
    }

    /// Takes everything from the cursor on out.
    pub fn drop_rest(&mut self) {
        self.remove(self.cursor, self.text.len());
        self.stale = true;
    }

    /// Takes the word left of the cursor out.
    pub fn drop_word(&mut self) {
        let word = self.before().trim_end();
        let start = word.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        self.remove(start, self.cursor);
        self.stale = true;
    }

    /// Puts another line in its place.
    pub fn replace(&mut self, line: &str) {
        let fits = line.len().min(LINE_BYTES_MAX);
        self.text.clear();
        // As much as fits, cut between two letters.
        let line = line.get(..fits).unwrap_or_default();
        let _fits = self.text.extend_from_slice(line.as_bytes());
        self.cursor = self.text.len();
        self.stale = true;
    }

    /// Moves the cursor to the left.
    pub fn left(&mut self, out: &mut Vec<u8>) {
        let length = self.before().chars().next_back().map_or(0, char::len_utf8);
        self.go(self.cursor - length, out);
    }

    /// Moves the cursor to the right.
    pub fn right(&mut self, out: &mut Vec<u8>) {
        let length = self.after().chars().next().map_or(0, char::len_utf8);
        self.go(self.cursor + length, out);
    }

    /// Moves the cursor to the start.
    pub fn go_to_start(&mut self, out: &mut Vec<u8>) {
        self.go(0, out);
    }

    /// Moves the cursor to the end.
    pub fn go_to_end(&mut self, out: &mut Vec<u8>) {
        self.go(self.text.len(), out);
    }

    fn go(&mut self, to: usize, out: &mut Vec<u8>) {
        let from = std::mem::replace(&mut self.cursor, to);
        if from == to || !self.echo {
        } else if !self.in_one_row() {
            self.stale = true;
        } else if to < from {
            let back = self.text().get(to..from).unwrap_or_default().chars().count();
            out.resize(out.len() + back, 0x08);
        } else {
            out.extend_from_slice(self.text().get(from..to).unwrap_or_default().as_bytes());
        }
    }

    fn remove(&mut self, from: usize, to: usize) {
        let length = self.text.len();
        if from >= to || to > length {
            return;
        }
        self.text.copy_within(to.., from);
        let left = length - (to - from);
        self.text.iter_mut().skip(left).for_each(|byte| *byte = 0);
        self.text.truncate(left);
        if self.cursor >= to {
            self.cursor -= to - from;
        } else {
            self.cursor = self.cursor.min(from);
        }
    }

    fn room(&self) -> usize {
        // The last column stays free: some terminals begin the next row as soon as it is used.
        (self.columns.saturating_sub(self.prompt.chars().count() + 1)).max(ROW_LETTERS_MIN)
    }

    fn row_is_full(&self) -> bool {
        self.drawn >= self.room()
    }

    /// Whether the whole line is shown, in one row.
    fn in_one_row(&self) -> bool {
        !self.stale && self.one_row() && self.first == 0 && self.drawn == self.text().chars().count()
    }

    /// Whether what has been drawn is in one row.
    fn one_row(&self) -> bool {
        self.prompt.chars().count() + self.drawn < self.columns
    }

    /// Shows prompt and line in an empty row.
    pub fn redraw(&mut self, out: &mut Vec<u8>) {
        self.drawn = 0;
        self.stale = false;
        if self.echo {
            self.draw(out);
        } else {
            out.extend_from_slice(self.prompt.as_bytes());
        }
    }

    /// Shows what the keys since the last call have made of the line: a row for many keys, not one for each.
    pub fn settle(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.stale) && self.echo {
            self.draw(out);
        }
    }

    /// Shows the line, or the part around the cursor, over what the row shows; in a new one if that has wrapped.
    fn draw(&mut self, out: &mut Vec<u8>) {
        if !self.one_row() {
            out.extend_from_slice(b"\r\n");
            self.drawn = 0;
        }
        if self.prompt.chars().count() + 1 + ROW_LETTERS_MIN > self.columns {
            // It has been read, and stays in the row above.
            if self.drawn > 0 {
                out.extend_from_slice(b"\r\n");
                self.drawn = 0;
            }
            self.prompt = String::from(SHORT_PROMPT);
        }
        let room = self.room();
        let (letters, cursor) = (self.text().chars().count(), self.before().chars().count());
        if letters <= room {
            self.first = 0;
        } else if cursor <= self.first || cursor >= self.first + room {
            // Half a row at a time: not every letter costs a row.
            self.first = cursor.saturating_sub(room / 2);
        }
        let mut shown: Vec<char> = self.text().chars().skip(self.first).take(room).collect();
        if self.first > 0
            && let Some(letter) = shown.first_mut()
        {
            *letter = '<';
        }
        if letters > self.first + room
            && let Some(letter) = shown.last_mut()
        {
            *letter = '>';
        }
        out.push(b'\r');
        out.extend_from_slice(self.prompt.as_bytes());
        out.extend_from_slice(shown.iter().collect::<String>().as_bytes());
        let blank = self.drawn.saturating_sub(shown.len());
        out.resize(out.len() + blank, b' ');
        let back = blank + shown.len() - (cursor - self.first).min(shown.len());
        out.resize(out.len() + back, 0x08);
        self.drawn = shown.len();
    }
}
