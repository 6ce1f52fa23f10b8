//! The commands that were typed since login, newest last: in memory only, and gone with the login.
//!
//! It refuses to judge what is a secret: whoever remembers a line has looked ([`super::words::has_secret`]).

use std::collections::VecDeque;

use crate::limits::CONSOLE_HISTORY_LINES;

/// Lines, and which of them is shown.
#[derive(Debug, Default)]
pub struct History {
    lines: VecDeque<String>,
    /// The line that is shown; None: the one that is being typed.
    at: Option<usize>,
    /// What was being typed before an older line was shown.
    draft: String,
}

impl History {
    /// Remembers a line; the oldest makes room. An empty one, and one that is there already as the last, is none.
    pub fn remember(&mut self, line: &str) {
        self.leave();
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() >= CONSOLE_HISTORY_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(String::from(line));
    }

    /// Shows the one that is being typed again.
    pub fn leave(&mut self) {
        (self.at, self.draft) = (None, String::new());
    }

    /// The line before the one that is shown; None when there is none.
    pub fn earlier(&mut self, shown: &str) -> Option<&str> {
        let at = self.at.unwrap_or(self.lines.len()).checked_sub(1)?;
        if self.at.is_none() {
            self.draft = String::from(shown);
        }
        self.at = Some(at);
        self.lines.get(at).map(String::as_str)
    }

    /// The line after the one that is shown; after the last one, what was being typed.
    pub fn later(&mut self) -> Option<&str> {
        let at = self.at? + 1;
        self.at = (at < self.lines.len()).then_some(at);
        Some(self.lines.get(at).unwrap_or(&self.draft))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_walked_both_ways_and_what_was_typed_is_kept() {
        let mut history = History::default();
        assert_eq!(history.earlier("x"), None);
        assert_eq!(history.later(), None);
        for line in ["a", "b", "b", " ", "c"] {
            history.remember(line);
        }
        assert_eq!(history.earlier("typed"), Some("c"));
        assert_eq!(history.earlier("c"), Some("b"));
        assert_eq!(history.later(), Some("c"));
        assert_eq!(history.later(), Some("typed"));
        assert_eq!(history.later(), None);
        for wanted in [Some("c"), Some("b"), Some("a"), None, None] {
            assert_eq!(history.earlier("x"), wanted);
        }
    }

    #[test]
    fn only_so_many_lines_are_kept() {
        let mut history = History::default();
        (0..CONSOLE_HISTORY_LINES + 7).for_each(|number| history.remember(&number.to_string()));
        let mut oldest = String::new();
        while let Some(line) = history.earlier("") {
            oldest = String::from(line);
        }
        assert_eq!(oldest, "7");
    }
}
