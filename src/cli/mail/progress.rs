//! How far it is, on standard error: one line that is written anew on a terminal, else one line per folder.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::shown;

/// Between two looks at a terminal's line.
const INTERVAL: Duration = Duration::from_millis(100);
/// A terminal's line, letters: one that wraps cannot be written anew.
const WIDTH: usize = 79;

/// How far a folder is.
pub struct Progress {
    terminal: bool,
    what: String,
    total: u64,
    done: u64,
    bytes: u64,
    drawn: Option<Instant>,
}

impl Progress {
    /// Nothing yet.
    pub fn new() -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress { terminal, what: String::new(), total: 0, done: 0, bytes: 0, drawn: None }
    }

    /// A folder begins that has so many messages.
    pub fn begin(&mut self, what: &str, total: u64) {
        (self.what, self.total) = (shown(what), total);
        (self.done, self.bytes) = (0, 0);
        self.draw(true);
    }

    /// A message is done; so many bytes of it were new.
    pub fn message(&mut self, bytes: u64) {
        self.done += 1;
        self.bytes += bytes;
        self.draw(false);
    }

    /// The folder is done.
    pub fn end(&mut self) {
        let line = self.line();
        self.clear();
        let _closed = writeln!(io::stderr(), "{line}");
    }

    /// Says something between.
    pub fn say(&mut self, text: &str) {
        self.clear();
        super::super::complain(&shown(text));
        self.draw(true);
    }

    fn line(&self) -> String {
        let mb = self.bytes as f64 / 1e6;
        format!("{}: {} of {} messages, {mb:.1} MB", self.what, self.done, self.total)
    }

    fn draw(&mut self, now: bool) {
        if !self.terminal || (!now && self.drawn.is_some_and(|drawn| drawn.elapsed() < INTERVAL)) {
            return;
        }
        self.drawn = Some(Instant::now());
        let line: String = self.line().chars().take(WIDTH).collect();
        let _closed = write!(io::stderr(), "\r{line}\x1b[K");
    }

    fn clear(&mut self) {
        if self.terminal {
            let _closed = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
