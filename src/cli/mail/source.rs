//! What there is to import: which folders a path holds, and how their messages are read.
//!
//! It looks at directories and regular files only: links and pipes inside are passed over, so nothing outside of the path is read.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use postfach::types::Time;
use rustix::fs::OFlags;

use super::ends::ToCrlf;
use super::marks::Marks;
use super::restore::Stored;
use super::{CHUNK_BYTES, Fallible, Format, at, maildir, mbox, names};

/// How deep directories are looked into.
const DEPTH_MAX: usize = 32;
/// The file with a folder's whole name, where that is too long for a file name.
pub const WHOLE_NAME: &str = "postfach-name";

/// A folder to import.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// Its name, `/` between the levels.
    pub name: String,
    /// The Maildir, or the mbox.
    pub path: PathBuf,
}

/// A message to import.
pub struct Message {
    file: Rc<Path>,
    start: u64,
    end: u64,
    kind: Kind,
    /// Flags that are known before it is read.
    marks: Marks,
    /// When it came; none that is known.
    pub date: Option<Time>,
}

enum Kind {
    /// A file; `exact`: its bytes as they are.
    File { exact: bool },
    /// A part of an mbox.
    Mbox,
    /// In a backup, which `file` is.
    Stored(Stored),
}

/// Which format a path has, if it is not said.
pub fn guess(path: &Path) -> Fallible<Format> {
    if !path.is_dir() {
        return Ok(Format::Mbox);
    }
    let maildir = folders(path, Format::Maildir).is_ok_and(|found| !found.is_empty());
    Ok(if maildir { Format::Maildir } else { Format::Mbox })
}

/// The folders that a path holds.
pub fn folders(path: &Path, format: Format) -> Fallible<Vec<Folder>> {
    let mut found = Vec::new();
    match format {
        Format::Maildir => maildirs(path, &[], DEPTH_MAX, &mut found)?,
        Format::Mbox if path.is_dir() => mboxes(path, &[], DEPTH_MAX, &mut found)?,
        Format::Mbox => {
            let name = path.file_name().unwrap_or_default().as_bytes();
            // Any other file is somebody's mail: /var/mail/anna, mbox, Inbox.
            let name = if name.ends_with(b".mbox") { mbox_name(path)? } else { String::from("INBOX") };
            found.push(Folder { name, path: path.to_owned() });
        }
    }
    found.sort();
    Ok(found)
}

fn maildirs(path: &Path, levels: &[String], depth: usize, found: &mut Vec<Folder>) -> Fallible<()> {
    if is_maildir(path) {
        let whole = maildir::read_or_empty(&path.join(WHOLE_NAME))?;
        let name = match String::from_utf8(whole).ok().filter(|name| !name.is_empty()) {
            Some(name) => names::joined(name.split('/').map(String::from)),
            None if levels.is_empty() => String::from("INBOX"),
            None => names::joined(levels.iter().cloned()),
        };
        // Dots and nothing else.
        let plain = || names::literal(path.file_name().unwrap_or_default().as_bytes());
        let name = if name.is_empty() { names::joined([plain()].into_iter()) } else { name };
        found.push(Folder { name, path: path.to_owned() });
    }
    for (name, path) in directories(path)? {
        if !matches!(name.as_slice(), b"cur" | b"new" | b"tmp") && depth > 0 {
            let mut levels = levels.to_vec();
            match name.strip_prefix(b".") {
                // Maildir++: `.Sent`, `.Folder.Sub`.
                Some(name) => levels.extend(names::from_file(name).split('/').map(String::from)),
                None => levels.push(names::literal(&name)),
            }
            maildirs(&path, &levels, depth - 1, found)?;
        }
    }
    Ok(())
}

fn is_maildir(path: &Path) -> bool {
    ["cur", "new"].iter().any(|part| path.join(part).symlink_metadata().is_ok_and(|found| found.is_dir()))
}

fn mboxes(path: &Path, levels: &[String], depth: usize, found: &mut Vec<Folder>) -> Fallible<()> {
    for path in maildir::files(path)? {
        let bytes = path.file_name().unwrap_or_default().as_bytes();
        if bytes.starts_with(b".") || bytes.ends_with(WHOLE_NAME.as_bytes()) {
            continue;
        }
        let ours = bytes.ends_with(b".mbox");
        let mut start = [0; 5];
        let from = read_only(&path).and_then(|mut file| file.read_exact(&mut start).map_err(at(""))).is_ok();
        if (from && start == *b"From ") || (ours && path.metadata().is_ok_and(|found| found.len() == 0)) {
            let name = if ours { mbox_name(&path)? } else { names::literal(bytes) };
            let name = names::joined(levels.iter().cloned().chain(name.split('/').map(String::from)));
            found.push(Folder { name, path });
        }
    }
    for (name, path) in directories(path)? {
        if depth > 0 && !name.starts_with(b".") {
            // Thunderbird keeps a folder's inferiors beside it in a directory of that ending.
            let name = names::literal(name.strip_suffix(b".sbd").unwrap_or(&name));
            mboxes(&path, &[levels, &[name]].concat(), depth - 1, found)?;
        }
    }
    Ok(())
}

fn mbox_name(path: &Path) -> Fallible<String> {
    let whole = maildir::read_or_empty(&whole_name(path))?;
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = match String::from_utf8(whole).ok().filter(|name| !name.is_empty()) {
        Some(whole) => names::joined(whole.split('/').map(String::from)),
        None => names::from_file(name.strip_suffix(b".mbox").unwrap_or(name)),
    };
    Ok(if name.is_empty() { String::from("INBOX") } else { name })
}

/// Where the whole name of an mbox stands.
pub fn whole_name(mbox: &Path) -> PathBuf {
    let mut path = mbox.as_os_str().to_owned();
    path.push(".");
    path.push(WHOLE_NAME);
    PathBuf::from(path)
}

fn directories(path: &Path) -> Fallible<Vec<(Vec<u8>, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(at(path.display()))? {
        let entry = entry.map_err(at(path.display()))?;
        if entry.file_type().is_ok_and(|found| found.is_dir()) {
            found.push((entry.file_name().as_bytes().to_vec(), entry.path()));
        }
    }
    Ok(found)
}

/// The names in Dovecot's `subscriptions`, two versions of it, or in Courier's `courierimapsubscribed`. None: there is no such file.
pub fn subscriptions(path: &Path) -> Fallible<Option<Vec<String>>> {
    let files = ["subscriptions", "courierimapsubscribed"].map(|name| path.join(name));
    let Some((index, file)) = files.iter().enumerate().find(|(_, file)| file.is_file()) else {
        return Ok(None);
    };
    let text = maildir::read_or_empty(file)?;
    let tabs = text.starts_with(b"V\t");
    let lines = text.split(|byte| *byte == b'\n').skip(usize::from(tabs));
    let decode = |line: &[u8]| match (tabs, index) {
        (true, _) => names::joined(line.split(|byte| *byte == b'\t').map(names::from_file)),
        (false, 0) => names::from_file(line),
        // Courier has every folder below INBOX.
        (false, _) => names::from_file(line.strip_prefix(b"INBOX.").unwrap_or(line)),
    };
    Ok(Some(lines.map(decode).filter(|name| !name.is_empty()).collect()))
}

impl Folder {
    /// Its messages, in order.
    pub fn messages(&self, format: Format) -> Fallible<Vec<Message>> {
        if format == Format::Maildir {
            let message = |entry: maildir::Entry| Message {
                file: entry.path.into(),
                start: 0,
                end: entry.bytes,
                kind: Kind::File { exact: entry.exact },
                marks: entry.marks,
                date: Some(entry.date),
            };
            return Ok(maildir::entries(&self.path)?.into_iter().map(message).collect());
        }
        let file: Rc<Path> = self.path.as_path().into();
        let spans = mbox::spans(&read_only(&file)?).map_err(at(file.display()))?;
        let spans = spans.ok_or_else(|| format!("{} is no mbox", file.display()))?;
        let message = |span: mbox::Span| Message {
            file: Rc::clone(&file),
            start: span.start,
            end: span.end,
            kind: Kind::Mbox,
            marks: Marks::default(),
            date: span.date,
        };
        Ok(spans.into_iter().map(message).collect())
    }
}

impl Message {
    /// A message in this backup, of so many bytes.
    pub fn stored(backup: Rc<Path>, stored: Stored, size: u32, marks: Marks, date: Time) -> Message {
        let kind = Kind::Stored(stored);
        Message { file: backup, start: 0, end: u64::from(size), kind, marks, date: Some(date) }
    }

    /// What it is called when something is said of it.
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::File { .. } => self.file.display().to_string(),
            Kind::Mbox => format!("{} at byte {}", self.file.display(), self.start),
            Kind::Stored(stored) => format!("{stored} in {}", self.file.display()),
        }
    }

    /// Hands its bytes over, as they are to be stored; then its flags.
    pub fn read(&self, sink: &mut dyn FnMut(&[u8]) -> Fallible<()>) -> Fallible<Marks> {
        match &self.kind {
            Kind::Mbox => mbox::open(|pieces| self.bytes(pieces), sink),
            Kind::File { exact: true } => self.bytes(sink).map(|()| self.marks.clone()),
            Kind::File { exact: false } => {
                let (mut ends, mut out) = (ToCrlf::default(), Vec::new());
                self.bytes(&mut |bytes| {
                    out.clear();
                    ends.push(bytes, &mut out);
                    sink(&out)
                })?;
                Ok(self.marks.clone())
            }
            Kind::Stored(stored) => {
                let whole = stored.read(self.end, sink)?;
                if whole { Ok(self.marks.clone()) } else { Err(self.name()) }
            }
        }
    }

    fn bytes(&self, sink: &mut dyn FnMut(&[u8]) -> Fallible<()>) -> Fallible<()> {
        let mut file = read_only(&self.file)?;
        file.seek(SeekFrom::Start(self.start)).map_err(at(self.file.display()))?;
        let mut file = file.take(self.end - self.start);
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = file.read(&mut buffer).map_err(at(self.file.display()))?;
            match buffer.get(..count) {
                Some(bytes) if count > 0 => sink(bytes)?,
                _ => return Ok(()),
            }
        }
    }
}

/// Opens a regular file, and nothing that a link or a pipe has been put in its place.
fn read_only(path: &Path) -> Fallible<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(at(path.display()))?;
    if file.metadata().is_ok_and(|found| found.is_file()) {
        Ok(file)
    } else {
        Err(format!("{}: no regular file", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_three_programs_are_read() {
        let path = std::env::temp_dir().join(format!("postfach-source-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        assert_eq!(subscriptions(&path), Ok(None));
        let read = |name: &str, text: &str| {
            fs::write(path.join(name), text).unwrap();
            subscriptions(&path).unwrap().unwrap()
        };
        assert_eq!(read("courierimapsubscribed", "INBOX\nINBOX.Sent\nINBOX.A.B\n"), ["INBOX", "Sent", "A/B"]);
        assert_eq!(read("subscriptions", "INBOX\nA.&AOQ-\n\n"), ["INBOX", "A/ä"]);
        assert_eq!(read("subscriptions", "V\t2\n\nA\t&AOQ-\nSent\n"), ["A/ä", "Sent"]);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_file_is_somebodys_inbox_unless_its_name_says_more() {
        let named = |name: &str| folders(Path::new(name), Format::Mbox).unwrap().remove(0).name;
        assert_eq!(named("/var/mail/anna"), "INBOX");
        assert_eq!(named("x/Sent.mbox"), "Sent");
        assert_eq!(named("x/A.\\2e\\2e.mbox"), "A/..");
    }
}
