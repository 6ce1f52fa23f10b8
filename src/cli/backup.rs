//! `postfach backup`: what is copied, checked, and told.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use postfach::backup;
use postfach::device::File;

use super::{DONE, FAILED, complain, say};

/// A line for a person who waits; nothing where nobody does.
pub struct Progress {
    verb: &'static str,
    shown: bool,
    percent: u64,
}

impl Progress {
    /// `verb`: what has been done with the bytes.
    pub fn new(verb: &'static str, quiet: bool) -> Progress {
        Progress { verb, shown: !quiet && io::stderr().is_terminal(), percent: u64::MAX }
    }

    /// So many bytes of so many are done.
    pub fn tell(&mut self, done: u64, all: u64) {
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        if self.shown && percent != self.percent {
            self.percent = percent;
            let (verb, mebibytes) = (self.verb, done >> 20);
            let _closed = write!(io::stderr(), "\r{verb} {mebibytes} MiB, {percent}% ");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _closed = write!(io::stderr(), "\r{:32}\r", "");
        }
    }
}

/// Brings a backup up to date.
pub fn make(store: &Path, dir: &Path, json: bool) -> u8 {
    let name = store.display();
    let device = match File::open_beside(store) {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return failed(&format!("there is no store at {name}"));
        }
        Err(error) => return failed(&format!("cannot open {name}: {error}")),
    };
    let mut progress = Progress::new("copied", json);
    let made = backup::backup(&device, dir, &mut |done, all| progress.tell(done, all));
    drop(progress);
    let done = match made {
        Ok(done) => done,
        Err(error) => return failed(&error.to_string()),
    };
    let backup::Done { segments, copied, copied_bytes, damaged } = done;
    say(&if json {
        format!(
            "{{\"segments\":{segments},\"copied\":{copied},\"copied_bytes\":{copied_bytes},\"damaged\":{damaged}}}\n"
        )
    } else {
        let warning = if damaged {
            "The store has lost something, and so has the backup: `postfach check` says what.\n"
        } else {
            ""
        };
        format!(
            "The backup in {} is up to date: {segments} segments, of which {copied} ({} MiB) were copied now.\n{warning}",
            dir.display(),
            copied_bytes >> 20
        )
    });
    DONE
}

/// Reads a backup and says what is damaged.
pub fn verify(dir: &Path, json: bool) -> u8 {
    let mut progress = Progress::new("read", json);
    let found = backup::verify(dir, &mut |done, all| progress.tell(done, all));
    drop(progress);
    match found {
        Ok(findings) => {
            say(&if json { findings.json() } else { findings.to_string() });
            if findings.damage.is_empty() { DONE } else { FAILED }
        }
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> u8 {
    complain(&format!("backup: {why}"));
    FAILED
}
