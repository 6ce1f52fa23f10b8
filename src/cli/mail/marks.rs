//! Flags and keywords in files: Maildir's letters with Dovecot's keyword table, mbox's Status fields; and as IMAP writes them.
//!
//! ```text
//! Maildir   D \Draft, F \Flagged, P $Forwarded, R \Answered, S \Seen, T \Deleted, a to z the keywords of `dovecot-keywords`
//! mbox      Status: R \Seen;  X-Status: A \Answered, F \Flagged, D \Deleted, T \Draft;  X-Keywords: names
//! ```

use postfach::limits::KEYWORD_BYTES_MAX;
use postfach::types::Flags;
use postfach::wire::imap::cursor::is_atom_char;

/// The keyword that Maildir has a letter for.
const FORWARDED: &str = "$Forwarded";
/// Keywords that a folder's table can have: there are 26 letters.
const LETTERS: usize = 26;

const MAILDIR: [(u8, Flags); 5] = [
    (b'D', Flags::DRAFT),
    (b'F', Flags::FLAGGED),
    (b'R', Flags::ANSWERED),
    (b'S', Flags::SEEN),
    (b'T', Flags::DELETED),
];
const X_STATUS: [(u8, Flags); 4] =
    [(b'A', Flags::ANSWERED), (b'F', Flags::FLAGGED), (b'D', Flags::DELETED), (b'T', Flags::DRAFT)];

/// A message's flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The system flags.
    pub system: Flags,
    /// Names of keywords.
    pub keywords: Vec<String>,
}

impl Marks {
    /// From the words between the parentheses of FLAGS. \Recent is nobody's business here.
    pub fn from_imap(words: &str) -> Marks {
        let mut marks = Marks::default();
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            match Flags::SYSTEM.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)) {
                Some((flag, _)) => marks.system = marks.system.with(*flag),
                None => marks.add(word),
            }
        }
        marks
    }

    /// As APPEND takes them.
    pub fn to_imap(&self) -> String {
        let system = Flags::SYSTEM.iter().filter(|(flag, _)| self.system.contains(*flag));
        let words: Vec<&str> =
            system.map(|(_, name)| *name).chain(self.keywords.iter().map(String::as_str)).collect();
        format!("({})", words.join(" "))
    }

    /// Adds a keyword, if it can be one and is not there yet.
    pub fn add(&mut self, keyword: &str) {
        let can_be =
            !keyword.is_empty() && keyword.len() <= KEYWORD_BYTES_MAX && keyword.bytes().all(is_atom_char);
        if can_be && !self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword)) {
            self.keywords.push(String::from(keyword));
        }
    }

    /// What follows `:2,` in a Maildir: letters in ASCII's order. False: the table has no letter for some keyword.
    pub fn to_letters(&self, table: &Keywords) -> (String, bool) {
        let mut letters: Vec<u8> = MAILDIR
            .iter()
            .filter(|(_, flag)| self.system.contains(*flag))
            .map(|(letter, _)| *letter)
            .collect();
        let mut whole = true;
        for keyword in &self.keywords {
            if keyword.eq_ignore_ascii_case(FORWARDED) {
                letters.push(b'P');
            }
            match table.letter(keyword) {
                Some(letter) => letters.push(letter),
                None => whole = false,
            }
        }
        letters.sort_unstable();
        (letters.into_iter().map(char::from).collect(), whole)
    }

    /// From what follows `:2,` in a Maildir.
    pub fn from_letters(letters: &[u8], table: &Keywords) -> Marks {
        let mut marks = Marks::default();
        for letter in letters {
            match MAILDIR.iter().find(|(known, _)| known == letter) {
                Some((_, flag)) => marks.system = marks.system.with(*flag),
                None if *letter == b'P' => marks.add(FORWARDED),
                None => marks.add(table.name(*letter).unwrap_or_default()),
            }
        }
        marks
    }

    /// The three fields of an mbox, always all of them.
    pub fn to_fields(&self) -> String {
        let read = if self.system.contains(Flags::SEEN) { "R" } else { "" };
        let status: String = X_STATUS
            .iter()
            .filter(|(_, flag)| self.system.contains(*flag))
            .map(|(c, _)| char::from(*c))
            .collect();
        format!("Status: {read}O\nX-Status: {status}\nX-Keywords: {}\n", self.keywords.join(" "))
    }

    /// Takes in a field of an mbox; the name in lower case.
    pub fn take_field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"status" if value.contains(&b'R') => self.system = self.system.with(Flags::SEEN),
            b"x-status" => {
                for (_, flag) in X_STATUS.iter().filter(|(letter, _)| value.contains(letter)) {
                    self.system = self.system.with(*flag);
                }
            }
            // Thunderbird writes commas too.
            b"x-keywords" | b"x-mozilla-keys" => {
                let words = value.split(|byte| byte.is_ascii_whitespace() || *byte == b',');
                words.for_each(|word| self.add(std::str::from_utf8(word).unwrap_or_default()));
            }
            b"x-mozilla-status" => self.take_mozilla(value),
            _ => {}
        }
    }

    /// Four hexadecimal digits: 1 read, 2 replied, 4 marked, 8 expunged, 1000 forwarded.
    fn take_mozilla(&mut self, value: &[u8]) {
        let bits = std::str::from_utf8(value).ok().and_then(|text| u32::from_str_radix(text.trim(), 16).ok());
        let bits = bits.unwrap_or_default();
        let flags = [(1, Flags::SEEN), (2, Flags::ANSWERED), (4, Flags::FLAGGED), (8, Flags::DELETED)];
        for (_, flag) in flags.iter().filter(|(bit, _)| bits & bit != 0) {
            self.system = self.system.with(*flag);
        }
        if bits & 0x1000 != 0 {
            self.add(FORWARDED);
        }
    }
}

/// A folder's `dovecot-keywords`: each line a number from 0, a space and a name; number 0 is letter `a`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords(Vec<String>);

impl Keywords {
    /// Reads the file's text. What is no line of it is passed over.
    pub fn parse(text: &[u8]) -> Keywords {
        let mut names = vec![String::new(); LETTERS];
        for line in text.split(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(line).unwrap_or_default();
            let Some((number, name)) = line.split_once(' ') else { continue };
            if let Some(place) = number.parse::<usize>().ok().and_then(|number| names.get_mut(number)) {
                *place = String::from(name.trim());
            }
        }
        names.truncate(names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1));
        Keywords(names)
    }

    /// The file's text.
    pub fn print(&self) -> String {
        let named = self.0.iter().enumerate().filter(|(_, name)| !name.is_empty());
        named.map(|(number, name)| format!("{number} {name}\n")).collect()
    }

    /// Gives a message's keywords their letters, as long as there are some. A number that was given up may still be on files.
    pub fn learn(&mut self, marks: &Marks) {
        for keyword in &marks.keywords {
            if self.letter(keyword).is_none() && self.0.len() < LETTERS {
                self.0.push(keyword.clone());
            }
        }
    }

    fn letter(&self, keyword: &str) -> Option<u8> {
        let index = self.0.iter().position(|name| name.eq_ignore_ascii_case(keyword))?;
        u8::try_from(index).ok().map(|index| b'a' + index)
    }

    fn name(&self, letter: u8) -> Option<&str> {
        let index = letter.checked_sub(b'a')?;
        self.0.get(usize::from(index)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_to_files_and_back() {
        let text = "\\Answered \\Seen \\Draft $Forwarded work";
        let marks = Marks::from_imap(&format!("\\Recent {text}"));
        assert_eq!(marks.to_imap(), format!("({text})"));
        let mut table = Keywords::parse(b"0 other\n2 $forwarded\nx\n99 y\n");
        table.learn(&marks);
        assert_eq!(marks.to_letters(&table), (String::from("DPRScd"), true));
        assert_eq!(table.print(), "0 other\n2 $forwarded\n3 work\n");
        let back = Marks::from_letters(b"DPRScd!e", &Keywords::parse(table.print().as_bytes()));
        assert_eq!(back, marks);
        let fields = marks.to_fields();
        assert_eq!(fields, "Status: RO\nX-Status: AT\nX-Keywords: $Forwarded work\n");
        let mut back = Marks::default();
        for line in fields.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            back.take_field(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
        }
        assert_eq!(back, marks);
    }

    #[test]
    fn there_are_twenty_six_letters() {
        let mut marks = Marks::default();
        (0..27).for_each(|n| marks.add(&format!("k{n}")));
        let mut table = Keywords::default();
        table.learn(&marks);
        let (letters, whole) = marks.to_letters(&table);
        assert_eq!((letters.as_str(), whole), ("abcdefghijklmnopqrstuvwxyz", false));
    }

    #[test]
    fn what_is_no_keyword_is_none() {
        let mut marks = Marks::default();
        ["", "a b", "\\x", "é", "x\r\n", &"k".repeat(65)].into_iter().for_each(|name| marks.add(name));
        marks.take_field(b"x-mozilla-status", b"1005 ");
        assert_eq!(marks.to_imap(), "(\\Flagged \\Seen $Forwarded)");
    }
}
