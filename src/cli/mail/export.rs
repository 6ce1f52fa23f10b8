//! `postfach export`: mailboxes into a directory, each in one of its own.
//!
//! What is there already stays and is not read again: run again, it brings the directory up to date. Messages that have been expunged since
//! are not removed from it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use postfach::serve::Door;
use rustix::fs::FlockOperation;

use super::super::say;
use super::client::{Body, Client, Listed};
use super::ends::ToLf;
use super::progress::Progress;
use super::quote::Quoter;
use super::{Fallible, Format, at, maildir, mbox, names, shown, source};

/// What is to be exported.
#[derive(Debug)]
pub struct Wanted {
    /// Which store.
    pub store: PathBuf,
    /// How.
    pub format: Format,
    /// Whose mailbox; None: all.
    pub address: Option<String>,
    /// Where to.
    pub directory: PathBuf,
    /// For programs.
    pub json: bool,
}

/// What has been done.
#[derive(Default)]
struct Sum {
    mailboxes: u64,
    folders: u64,
    written: u64,
    bytes: u64,
    /// Were there already.
    already: u64,
    /// Could not be read in the store.
    unreadable: u64,
}

/// Does it. True: everything is there.
///
/// # Errors
/// Why it has not been finished.
pub fn export(wanted: &Wanted) -> Fallible<bool> {
    let door = Door::open(&wanted.store).map_err(|error| error.to_string())?;
    let addresses = match &wanted.address {
        Some(address) => vec![address.to_lowercase()],
        None => door.mailboxes().map_err(|error| error.to_string())?,
    };
    let mut sum = Sum::default();
    for address in &addresses {
        let client = Client::open(&door, address)?;
        let root = wanted.directory.join(names::of_address(address));
        maildir::make_directory(&root)?;
        let _lock = lock(&root)?;
        let mut mailbox =
            Mailbox { door: &door, address, client, root: &root, sum: &mut sum, progress: Progress::new() };
        mailbox.export(wanted.format)?;
        maildir::sync(&wanted.directory)?;
        sum.mailboxes += 1;
    }
    say(&sum.told(wanted));
    Ok(sum.unreadable == 0)
}

/// Two exports into one directory would take each other's files away.
fn lock(root: &Path) -> Fallible<File> {
    let file = File::open(root).map_err(at(root.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!("another export is writing to {}", root.display())),
        // A file system without locks.
        _ => Ok(file),
    }
}

impl Sum {
    fn told(&self, wanted: &Wanted) -> String {
        let Sum { mailboxes, folders, written, bytes, already, unreadable } = self;
        if wanted.json {
            return format!(
                "{{\"mailboxes\":{mailboxes},\"folders\":{folders},\"written\":{written},\"bytes\":{bytes},\
                 \"already_there\":{already},\"unreadable\":{unreadable}}}\n"
            );
        }
        let mb = *bytes as f64 / 1e6;
        let lost = match unreadable {
            0 => String::new(),
            count => format!(", {count} could not be read: `postfach check` says more"),
        };
        format!(
            "Exported to {}: {written} messages written ({mb:.1} MB), {already} were there already{lost}. \
             Mailboxes: {mailboxes}, folders: {folders}.\n",
            shown(&wanted.directory.display().to_string())
        )
    }
}

/// A mailbox that is being exported.
struct Mailbox<'a> {
    door: &'a Door,
    address: &'a str,
    client: Client,
    root: &'a Path,
    sum: &'a mut Sum,
    progress: Progress,
}

/// How a body has gone into a file.
enum Written {
    /// Whole: so many bytes.
    Whole(u64),
    /// With LF it would not be what it is.
    Irregular,
    /// Not at all: it has been expunged, or cannot be read.
    Not(Body),
}

impl Mailbox<'_> {
    fn export(&mut self, format: Format) -> Fallible<()> {
        let folders = self.client.folders()?;
        let subscriptions: String =
            self.client.subscriptions()?.iter().map(|name| names::to_file(name, false).0 + "\n").collect();
        maildir::write_whole(&self.root.join("subscriptions"), subscriptions.as_bytes())?;
        // As on many a stick.
        let caseless = self.root.join("SUBSCRIPTIONS").exists();
        let mut lower = HashSet::new();
        for folder in &folders {
            let apart = !lower.insert(folder.to_lowercase()) && caseless;
            let (name, cut) = names::to_file(folder, apart);
            let state = self.client.examine(folder)?;
            let messages = self.client.messages()?;
            self.progress.begin(&format!("{} {folder}", self.address), messages.len() as u64);
            match format {
                Format::Maildir => self.maildir(folder, (&name, cut), state.validity, &messages)?,
                Format::Mbox => self.mbox(folder, (&name, cut), &state.text(), &messages)?,
            }
            self.progress.end();
            self.sum.folders += 1;
        }
        maildir::sync(self.root)
    }

    fn maildir(
        &mut self,
        folder: &str,
        (name, cut): (&str, bool),
        validity: u32,
        messages: &[Listed],
    ) -> Fallible<()> {
        let root = if folder == "INBOX" { self.root.to_owned() } else { self.root.join(format!(".{name}")) };
        let mut writer = maildir::Writer::open(&root, validity, messages)?;
        if folder != "INBOX" {
            maildir::write_whole(&root.join("maildirfolder"), b"")?;
        }
        if cut {
            maildir::write_whole(&root.join(source::WHOLE_NAME), folder.as_bytes())?;
        }
        for message in messages {
            if writer.has(message)? {
                self.sum.already += 1;
                self.progress.message(0);
                continue;
            }
            let (mut file, path) = writer.create(message)?;
            let mut target = Target { file: &mut file, path: &path, start: 0, state: None };
            match self.form(folder, message, &mut target)? {
                Some((bytes, exact)) => writer.keep(message, (file, path), bytes, exact)?,
                None => fs::remove_file(&path).map_err(at(path.display()))?,
            }
        }
        writer.finish()
    }

    fn mbox(
        &mut self,
        folder: &str,
        (name, cut): (&str, bool),
        state: &str,
        messages: &[Listed],
    ) -> Fallible<()> {
        let path = self.root.join(format!("{name}.mbox"));
        if cut {
            maildir::write_whole(&source::whole_name(&path), folder.as_bytes())?;
        }
        if File::open(&path).ok().and_then(|file| mbox::state(&file)).as_deref() == Some(state) {
            self.sum.already += messages.len() as u64;
            messages.iter().for_each(|_| self.progress.message(0));
            return Ok(());
        }
        // A name that no import takes for a folder.
        let part = self.root.join(format!(".{name}.part"));
        let mut file = maildir::new_file(&part).map_err(at(part.display()))?;
        let unreadable = self.sum.unreadable;
        let (mut end, mut first) = (0, format!(" {state}"));
        for message in messages {
            let mut target = Target { file: &mut file, path: &part, start: end, state: Some(&first) };
            if let Some((bytes, _)) = self.form(folder, message, &mut target)? {
                end += bytes;
                first.clear();
            }
        }
        if self.sum.unreadable > unreadable {
            // It is not what the folder is: the next export tries again.
            mbox::forget_state(&file, state).map_err(at(part.display()))?;
        }
        file.sync_all().map_err(at(part.display()))?;
        fs::rename(&part, &path).map_err(at(path.display()))
    }

    /// Writes a message into a file, in the form that keeps it. Its bytes there, and whether it is exact; None: it is not to be had.
    fn form(
        &mut self,
        folder: &str,
        message: &Listed,
        target: &mut Target<'_>,
    ) -> Fallible<Option<(u64, bool)>> {
        let (mut exact, mut again) = (false, true);
        loop {
            target.rewind()?;
            match self.write(message, target, exact)? {
                Written::Whole(bytes) => {
                    self.sum.written += 1;
                    self.sum.bytes += message.size;
                    self.progress.message(message.size);
                    return Ok(Some((bytes, exact)));
                }
                Written::Irregular => exact = true,
                Written::Not(Body::Unreadable) if std::mem::take(&mut again) => self.reopen(folder)?,
                Written::Not(body) => {
                    if body == Body::Unreadable {
                        self.sum.unreadable += 1;
                        let name = format!("{} {folder} UID {}", self.address, message.uid);
                        self.progress.say(&format!("{name} cannot be read; the others are exported"));
                        self.reopen(folder)?;
                    }
                    self.progress.message(0);
                    target.rewind()?;
                    return Ok(None);
                }
            }
        }
    }

    /// A server that cannot read on in the middle of a message has to hang up; or it is another one by now.
    fn reopen(&mut self, folder: &str) -> Fallible<()> {
        self.client = Client::open(self.door, self.address)?;
        self.client.examine(folder).map(drop)
    }

    fn write(&mut self, message: &Listed, target: &mut Target<'_>, exact: bool) -> Fallible<Written> {
        let mbox = target.state.is_some();
        let head = target.state.map(|state| mbox::head(message.date, &message.marks, exact, state));
        let (mut ends, mut quoter) = (ToLf::default(), Quoter::default());
        let (mut plain, mut out) = (Vec::new(), Vec::from(head.unwrap_or_default()));
        let (mut bytes, mut last) = (0, None);
        let body = self.client.body(message.uid, &mut |piece| {
            last = piece.last().copied();
            plain.clear();
            let plain = if exact {
                piece
            } else {
                ends.push(piece, &mut plain);
                plain.as_slice()
            };
            if ends.irregular() {
                return Ok(());
            }
            if mbox {
                quoter.push(plain, &mut out)
            } else {
                out.extend_from_slice(plain)
            }
            bytes += out.len() as u64;
            let written = target.write(&out);
            out.clear();
            written
        })?;
        if body != Body::Whole {
            return Ok(Written::Not(body));
        }
        // In an mbox a line must end before the next separator.
        if !exact && (!ends.regular() || (mbox && last != Some(b'\n'))) {
            return Ok(Written::Irregular);
        }
        if mbox {
            quoter.end(&mut out);
            out.extend_from_slice(if exact { b"\n\n" } else { b"\n" });
        }
        bytes += out.len() as u64;
        target.write(&out)?;
        Ok(Written::Whole(bytes))
    }
}

/// Where a message goes.
struct Target<'a> {
    file: &'a mut File,
    path: &'a Path,
    /// Where in the file it begins.
    start: u64,
    /// The folder's state that its head tells, or nothing; None: the file is no mbox, there is no head.
    state: Option<&'a str>,
}

impl Target<'_> {
    /// Nothing of the message is there.
    fn rewind(&mut self) -> Fallible<()> {
        let rewound =
            self.file.set_len(self.start).and_then(|()| self.file.seek(SeekFrom::Start(self.start)));
        rewound.map(drop).map_err(at(self.path.display()))
    }

    fn write(&mut self, bytes: &[u8]) -> Fallible<()> {
        self.file.write_all(bytes).map_err(at(self.path.display()))
    }
}
