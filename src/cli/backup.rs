//! `postfach backup` and `restore`: what is copied, checked, and told.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use postfach::backup;
use postfach::device::File;
use postfach::serve;
use postfach::store::Restored;

use super::run::is_partition;
use super::{DONE, FAILED, USAGE, complain, say};

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

    /// So many messages of so many are done.
    pub fn tell_count(&mut self, done: u64, all: u64) {
        self.show(done, all, &format!("{done} messages"));
    }

    /// So many bytes of so many are done.
    pub fn tell(&mut self, done: u64, all: u64) {
        self.show(done, all, &format!("{} MiB", done >> 20));
    }

    fn show(&mut self, done: u64, all: u64, amount: &str) {
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        if self.shown && percent != self.percent {
            self.percent = percent;
            let _closed = write!(io::stderr(), "\r{} {amount}, {percent}% ", self.verb);
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
    // A backup of many segments is as many files.
    serve::raise_descriptors();
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

/// Makes a store of a backup.
pub fn restore(path: &Path, size: Option<u64>, force: bool, dir: &Path) -> u8 {
    let failed = |why: &str| {
        complain(&format!("restore: {why}"));
        FAILED
    };
    if size.is_none() && !is_partition(path) {
        complain("restore: --size SIZE is missing, as in --size 1G; only a partition has a size of its own");
        return USAGE;
    }
    serve::raise_descriptors();
    let (name, new) = (path.display(), !path.exists());
    let device = match File::create(path, size.unwrap_or_default(), force) {
        Ok(device) => Arc::new(device),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return failed(&format!(
                "{name} exists; with --force it is written over, and all mail in it is lost"
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return failed(&format!("{name} is in use: a server is running on it"));
        }
        Err(error) => {
            if new {
                let _gone = std::fs::remove_file(path);
            }
            return failed(&format!("cannot make {name}: {error}"));
        }
    };
    let mut wanted = backup::Wanted { force, room_bytes: device.room(), random: &mut serve::random };
    let mut progress = Progress::new("restored", false);
    let made = backup::restore(dir, device, &mut wanted, &mut |done, all| progress.tell_count(done, all));
    drop(progress);
    match made {
        Ok(Restored { mailboxes, messages, damaged, lossy }) => {
            say(&format!(
                "{name} holds {mailboxes} mailboxes with {messages} messages. Next: postfach serve --store {name}\n"
            ));
            if lossy {
                failed(&lost(dir));
            }
            if damaged > 0 {
                failed(&format!(
                    "{damaged} parts of messages are damaged in the backup; `postfach check` says whose"
                ));
            }
            if lossy || damaged > 0 { FAILED } else { DONE }
        }
        Err(error) => {
            if new {
                // What was made for nothing is not left behind; if it cannot be removed, it was not made.
                let _gone = std::fs::remove_file(path);
            }
            failed(&error.to_string())
        }
    }
}

/// What is said of a backup of which something is missing.
pub fn lost(dir: &Path) -> String {
    let dir = dir.display();
    format!("the backup is damaged, mail may be missing; `postfach backup --verify {dir}` says what")
}

fn failed(why: &str) -> u8 {
    complain(&format!("backup: {why}"));
    FAILED
}
