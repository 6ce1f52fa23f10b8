//! What each command does, in terms of the library, and how a person is told.

use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use postfach::check::{self, Findings};
use postfach::device::{Device, File};
use postfach::journal::{self, Format, FormatError};
use postfach::serve::{self, Ended};

use super::mail::{export, import, restore};
use super::words::Wanted;
use super::{DONE, FAILED, IN_USE, REFUSED, USAGE, backup, complain, say, usage};

/// Bytes between two signs of progress.
const PROGRESS_BYTES: u64 = 16 * 1024 * 1024;

/// Does it; the exit status.
pub fn run(wanted: Wanted) -> u8 {
    match wanted {
        Wanted::Help(command) => say(&command.map_or_else(usage::help, |command| command.help())),
        Wanted::Version => say(concat!("postfach ", env!("CARGO_PKG_VERSION"), "\n")),
        Wanted::Format { store, size, force } => return format(&store, size, force),
        Wanted::Serve(options) => return ended(serve::serve(options).map(|()| true)),
        Wanted::Console { store, words, whole } => {
            return match serve::console(&store, &words, whole) {
                Ok(Ended::Refused) => REFUSED,
                other => ended(other.map(|how| how == Ended::Well)),
            };
        }
        Wanted::Check { store, json, repair } => return check(&store, json, repair),
        Wanted::Export(wanted) => return mail(export::export(&wanted)),
        Wanted::Import(wanted) => return mail(import::import(&wanted)),
        Wanted::Backup { store: Some(store), dir, json } => return backup::make(&store, &dir, json),
        Wanted::Restore { store, size, force, dir } => return backup::restore(&store, size, force, &dir),
        Wanted::RestoreMailbox(wanted) => return mail(restore::restore(&wanted)),
        Wanted::Backup { store: None, dir, json } => return backup::verify(&dir, json),
    }
    DONE
}

fn ended(result: Result<bool, serve::Error>) -> u8 {
    match result {
        Ok(true) => DONE,
        // The console has said why.
        Ok(false) => FAILED,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

/// What could not be brought over has been named.
fn mail(result: Result<bool, String>) -> u8 {
    match result {
        Ok(true) => DONE,
        Ok(false) => FAILED,
        Err(why) => {
            complain(&why);
            FAILED
        }
    }
}

fn format(path: &Path, size: Option<u64>, force: bool) -> u8 {
    if size.is_none() && !is_partition(path) {
        complain("format: --size SIZE is missing, as in --size 1G; only a partition has a size of its own");
        return USAGE;
    }
    let new = !path.exists();
    let why = match make(path, size.unwrap_or_default(), force) {
        Ok((bytes, room)) => {
            let path = path.display();
            say(&format!(
                "Made a store of {} MiB at {path}. Next: postfach console --store {path} domain add example.com\n",
                bytes >> 20
            ));
            if let Some(room) = room.filter(|room| *room < bytes) {
                complain(&format!(
                    "its disk has room for {} MiB only; when that is full, nothing more is taken until there is more and the server is \
                     started again",
                    room >> 20
                ));
            }
            return DONE;
        }
        Err(why) => why,
    };
    if new {
        // What was made for nothing is not left behind; if it cannot be removed, it was not made.
        let _gone = std::fs::remove_file(path);
    }
    complain(&why);
    FAILED
}

/// Only a partition has a size of its own.
pub fn is_partition(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.file_type().is_block_device())
}

/// Makes a store; says how long it is, and how long it can become where it is, if that is known, bytes.
fn make(path: &Path, size: u64, force: bool) -> Result<(u64, Option<u64>), String> {
    let name = path.display();
    let exists =
        || format!("{name} exists; with --force an empty store is made of it, and all mail in it is lost");
    let file = File::create(path, size, force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        io::ErrorKind::ResourceBusy => format!("{name} is in use: a server is running on it"),
        _ => format!("cannot make {name}: {error}"),
    })?;
    let options = Format { segment_bytes: None, force };
    match journal::format(&file, &options, &mut serve::random) {
        Ok(_) => Ok((file.size(), file.room())),
        Err(FormatError::Exists) => Err(exists()),
        Err(FormatError::TooSmall { minimum_bytes }) => Err(format!(
            "{name} would be too small: a store has at least {} MiB",
            minimum_bytes.div_ceil(1 << 20)
        )),
        Err(error) => Err(format!("cannot make a store at {name}: {error}")),
    }
}

fn check(path: &Path, json: bool, repair: bool) -> u8 {
    let name = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            complain(&format!("check: a server is running on {name}; stop it first"));
            return IN_USE;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            complain(&format!("check: there is no store at {name}"));
            return FAILED;
        }
        Err(error) => {
            complain(&format!("check: cannot open {name}: {error}"));
            return FAILED;
        }
    };
    let shown = io::stderr().is_terminal() && !json;
    let watched = Watched { file, repair, read_bytes: AtomicU64::new(0), shown };
    let found = if repair { check::repair(&watched) } else { check::check(&watched) };
    watched.end();
    match found {
        Ok(findings) => {
            say(&if json { findings.json() } else { findings.to_string() });
            status(&findings)
        }
        Err(error) => {
            complain(&format!("check: {name}: {error}"));
            FAILED
        }
    }
}

fn status(findings: &Findings) -> u8 {
    if findings.damage.is_empty() { DONE } else { FAILED }
}

/// A device that shows a person how much of it has been read.
struct Watched {
    file: File,
    /// Writing is allowed.
    repair: bool,
    read_bytes: AtomicU64,
    shown: bool,
}

impl Watched {
    fn read(&self, bytes: usize) {
        let before = self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let after = before + bytes as u64;
        if self.shown && before / PROGRESS_BYTES != after / PROGRESS_BYTES {
            let _closed = write!(io::stderr(), "\rchecked {} MiB ", after >> 20);
        }
    }

    fn end(&self) {
        if self.shown {
            let _closed = write!(io::stderr(), "\r{:24}\r", "");
        }
    }
}

impl Device for Watched {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read(buf.len());
        self.file.read_at(offset, buf)
    }

    /// A check changes nothing.
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if !self.repair {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.file.write_at(offset, buf)
    }

    fn flush(&self) -> io::Result<()> {
        if self.repair { self.file.flush() } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn prepare(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn forget_cache(&self, offset: u64, length: u64) {
        self.file.forget_cache(offset, length);
    }
}
