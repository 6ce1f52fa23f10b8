//! Log lines on standard error: time, level, text. One line per event, whatever the text holds. The newest are kept in memory, for `log`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::journal::Report;
use crate::limits::{LOG_LINE_BYTES_KEPT, LOG_LINES_KEPT};

struct Logger;

/// The newest lines, oldest first.
static KEPT: Mutex<VecDeque<Box<str>>> = Mutex::new(VecDeque::new());

/// The newest lines, at most so many, oldest first.
pub fn last(count: usize) -> Vec<String> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().skip(kept.len().saturating_sub(count)).map(|line| String::from(&**line)).collect()
}

fn keep(line: &str) {
    let mut end = line.len().min(LOG_LINE_BYTES_KEPT);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= LOG_LINES_KEPT {
        kept.pop_front();
    }
    kept.push_back(line[..end].into());
}

/// How loudly to tell what an opening of the store has found.
pub fn level(found: &Report) -> Level {
    match (found.is_damaged(), found.rebuilt_blocks > 0) {
        (true, _) => Level::Error,
        (false, true) => Level::Warn,
        (false, false) => Level::Info,
    }
}

/// Makes this the program's log. A second call changes nothing.
pub fn install() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries' own lines are for their authors; only what they warn of concerns the owner.
        metadata.level() <= Level::Warn || metadata.target().starts_with("postfach")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let line = line(seconds, record.level(), &record.args().to_string());
        keep(line.trim_end());
        // Where should it be told that it cannot be told?
        let _lost = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(seconds: u64, level: Level, text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 32);
    let (year, month, day) = date(seconds / 86400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    let _infallible =
        write!(line, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z {level}: ");
    for character in text.chars() {
        // A peer's text must not forge a line, nor move the cursor of whoever reads it.
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar: years are counted from March, so that the leap
/// day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_no_more() {
        for number in 0..LOG_LINES_KEPT + 5 {
            keep(&format!("{number} {}", "ü".repeat(LOG_LINE_BYTES_KEPT)));
        }
        let lines = last(usize::MAX);
        assert_eq!(lines.len(), LOG_LINES_KEPT);
        assert!(lines.iter().all(|line| line.len() <= LOG_LINE_BYTES_KEPT));
        assert!(last(1)[0].starts_with(&format!("{} ü", LOG_LINES_KEPT + 4)));
    }

    #[test]
    fn a_line_is_one_line_with_its_time() {
        assert_eq!(
            line(1_795_514_400, Level::Warn, "a\r\nb\u{1b}[2J ü"),
            "2026-11-24T10:00:00Z warning: a\\r\\nb\\u{1b}[2J ü\n"
        );
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(19_722), (2023, 12, 31));
    }
}
