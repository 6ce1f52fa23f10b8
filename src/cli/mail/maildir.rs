//! Maildir, and Maildir++ for several folders: <https://cr.yp.to/proto/maildir.html>, Dovecot's and Courier's additions.
//!
//! ```text
//! name = date ".V" uidvalidity "U" uid ".postfach,S=" bytes ( ",W=" bytes-with-CRLF / ",exact" ) ":2," letters
//! ```
//!
//! The name says UIDVALIDITY and UID, so a message that is there already is known; only its letters may be out of date, and a rename
//! makes them right. A file is whole and on the disk before it gets its name in `cur`. `exact`: its line ends are as stored ([`super::ends`]).
//!
//! More than 26 keywords have no letters in `dovecot-keywords`: the messages that have others stand in `postfach-keywords`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use postfach::types::Time;
use rustix::fs::OFlags;

use super::client::Listed;
use super::marks::{Keywords, Marks};
use super::{Fallible, at};

/// Files that wait for the disk together: one by one they would take ten times as long.
const BATCH_FILES: usize = 256;
/// The table of keywords.
const KEYWORDS: &str = "dovecot-keywords";
/// Keywords without a letter: `V1U2 name name` in each line.
const MORE_KEYWORDS: &str = "postfach-keywords";
/// Mail is its owner's alone.
const MODE: u32 = 0o600;
/// Says that line ends are as stored.
const EXACT: &[u8] = b"exact";

/// A folder that is being written.
pub struct Writer {
    root: PathBuf,
    validity: u32,
    /// What is there of this UIDVALIDITY, by UID.
    present: HashMap<u32, PathBuf>,
    table: Keywords,
    batch: Vec<New>,
}

/// A file that is whole and not yet durable.
struct New {
    from: PathBuf,
    to: PathBuf,
}

impl Writer {
    /// Makes the folder if it is not there, clears away what was left half, and gives the messages' keywords their letters.
    pub fn open(root: &Path, validity: u32, messages: &[Listed]) -> Fallible<Writer> {
        for part in ["cur", "new", "tmp"] {
            make_directory(&root.join(part))?;
        }
        for path in files(&root.join("tmp"))? {
            if unique(&path).is_some() {
                fs::remove_file(&path).map_err(at(path.display()))?;
            }
        }
        let mut present = HashMap::new();
        for path in files(&root.join("cur"))?.into_iter().chain(files(&root.join("new"))?) {
            if let Some((_, uid)) = unique(&path).filter(|(known, _)| *known == validity) {
                present.insert(uid, path);
            }
        }
        let table = Keywords::parse(&read_or_empty(&root.join(KEYWORDS))?);
        let mut writer = Writer { root: root.to_owned(), validity, present, table, batch: Vec::new() };
        writer.write_keywords(messages)?;
        Ok(writer)
    }

    /// Before any file has a letter that the table does not explain.
    fn write_keywords(&mut self, messages: &[Listed]) -> Fallible<()> {
        let before = self.table.clone();
        let mut more = String::new();
        for message in messages {
            self.table.learn(&message.marks);
            if !message.marks.to_letters(&self.table).1 {
                // A String takes whatever is written to it.
                let _ =
                    writeln!(more, "V{}U{} {}", self.validity, message.uid, message.marks.keywords.join(" "));
            }
        }
        if self.table != before {
            write_whole(&self.root.join(KEYWORDS), self.table.print().as_bytes())?;
        }
        let path = self.root.join(MORE_KEYWORDS);
        if read_or_empty(&path)? == more.as_bytes() { Ok(()) } else { write_whole(&path, more.as_bytes()) }
    }

    /// Whether the message is there; its letters are right then.
    pub fn has(&mut self, message: &Listed) -> Fallible<bool> {
        let Some(path) = self.present.get(&message.uid) else { return Ok(false) };
        let name = path.file_name().unwrap_or_default().as_bytes();
        let base = name.split(|byte| *byte == b':').next().unwrap_or_default();
        let right = self.path("cur", base, &message.marks);
        if right != *path {
            fs::rename(path, &right).map_err(at(path.display()))?;
        }
        Ok(true)
    }

    fn path(&self, part: &str, base: &[u8], marks: &Marks) -> PathBuf {
        let (letters, _) = marks.to_letters(&self.table);
        let name = [base, b":2,", letters.as_bytes()].concat();
        self.root.join(part).join(std::ffi::OsString::from_vec(name))
    }

    /// A file for this message.
    pub fn create(&self, message: &Listed) -> Fallible<(File, PathBuf)> {
        let path = self.root.join("tmp").join(format!("{}.postfach", self.base(message)));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        Ok((file.map_err(at(path.display()))?, path))
    }

    fn base(&self, message: &Listed) -> String {
        format!("{}.V{}U{}", message.date.0.max(0), self.validity, message.uid)
    }

    /// The file is whole and has so many bytes; `exact`: as stored.
    pub fn keep(
        &mut self,
        message: &Listed,
        (file, from): (File, PathBuf),
        bytes: u64,
        exact: bool,
    ) -> Fallible<()> {
        file.set_modified(system_time(message.date)).map_err(at(from.display()))?;
        let form = if exact { String::from("exact") } else { format!("W={}", message.size) };
        let base = format!("{}.postfach,S={bytes},{form}", self.base(message));
        let to = self.path("cur", base.as_bytes(), &message.marks);
        self.batch.push(New { from, to });
        if self.batch.len() < BATCH_FILES { Ok(()) } else { self.commit() }
    }

    /// What has been kept gets its names once it is on the disk.
    fn commit(&mut self) -> Fallible<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let root = File::open(&self.root).map_err(at(self.root.display()))?;
        rustix::fs::syncfs(&root).map_err(at(self.root.display()))?;
        for new in self.batch.drain(..) {
            fs::rename(&new.from, &new.to).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => format!(
                    "{}: this file system takes no `:` in names, which a Maildir needs; use --format mbox",
                    self.root.display()
                ),
                _ => at(new.to.display())(error),
            })?;
        }
        Ok(())
    }

    /// The folder is done: all of it is on the disk.
    pub fn finish(mut self) -> Fallible<()> {
        self.commit()?;
        ["new", "cur"].iter().try_for_each(|part| sync(&self.root.join(part)))?;
        sync(&self.root)
    }
}

/// UIDVALIDITY and UID in a name of ours.
fn unique(path: &Path) -> Option<(u32, u32)> {
    let name = std::str::from_utf8(path.file_name()?.as_bytes()).ok()?;
    let mut parts = name.split('.');
    let (_, unique, ours) = (parts.next()?, parts.next()?, parts.next()?);
    let (validity, uid) = unique.strip_prefix('V')?.split_once('U')?;
    ours.starts_with("postfach").then_some((validity.parse().ok()?, uid.parse().ok()?))
}

/// A message file that is to be imported.
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes are to be taken as they are.
    pub exact: bool,
    /// Its flags.
    pub marks: Marks,
    /// When it came.
    pub date: Time,
    /// Its length.
    pub bytes: u64,
}

/// Every message of a Maildir: ours by UID, others by the number that their names begin with.
pub fn entries(root: &Path) -> Fallible<Vec<Entry>> {
    let table = Keywords::parse(&read_or_empty(&root.join(KEYWORDS))?);
    let more = read_or_empty(&root.join(MORE_KEYWORDS))?;
    let more: HashMap<&str, &str> = std::str::from_utf8(&more)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut found = Vec::new();
    for part in ["new", "cur"] {
        let part = root.join(part);
        for path in if part.is_dir() { files(&part)? } else { Vec::new() } {
            let name = path.file_name().unwrap_or_default().as_bytes();
            // A folder's own files are not messages.
            if !name.starts_with(b".") {
                let number = name.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
                let number = std::str::from_utf8(number).ok().and_then(|digits| digits.parse::<u64>().ok());
                let order = unique(&path).map(|(_, uid)| u64::from(uid)).or(number).unwrap_or_default();
                found.push((order, path));
            }
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| entry(path, &table, &more)).collect())
}

fn entry(path: PathBuf, table: &Keywords, more: &HashMap<&str, &str>) -> Entry {
    // One that a mail program has renamed meanwhile is missed, and named, when it is read.
    let metadata = path.symlink_metadata().ok();
    let name = path.file_name().unwrap_or_default().as_bytes();
    let (base, info) = match name.iter().rposition(|byte| *byte == b':') {
        Some(colon) => name.split_at(colon),
        None => (name, &b""[..]),
    };
    let mut marks = Marks::from_letters(info.strip_prefix(b":2,").unwrap_or_default(), table);
    if let Some((validity, uid)) = unique(&path)
        && let Some(names) = more.get(format!("V{validity}U{uid}").as_str())
    {
        names.split(' ').for_each(|name| marks.add(name));
    }
    let exact = base.split(|byte| *byte == b',').skip(1).any(|field| field == EXACT);
    let date = metadata.as_ref().and_then(|found| found.modified().ok()).map(time).unwrap_or_default();
    Entry { exact, marks, date, bytes: metadata.map_or(0, |found| found.len()), path }
}

/// The regular files of a directory. Links and pipes are none of ours.
pub fn files(directory: &Path) -> Fallible<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(at(directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(directory.display()))?;
        if entry.file_type().is_ok_and(|found| found.is_file()) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A file's bytes; none when there is no such file.
pub fn read_or_empty(path: &Path) -> Fallible<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(at(path.display())),
    }
}

/// Writes a small file: the old one stays until the new one is on the disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Fallible<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || -> io::Result<()> {
        let mut file = new_file(&new)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(at(path.display()))
}

/// A new file, or an old one made empty; not where a link leads to.
pub fn new_file(path: &Path) -> io::Result<File> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(MODE).custom_flags(nofollow).open(path)
}

/// Makes a directory, and those above it, for its owner alone.
pub fn make_directory(path: &Path) -> Fallible<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path.display()))
}

/// A directory's names are on the disk.
pub fn sync(directory: &Path) -> Fallible<()> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory.display()))
}

fn system_time(time: Time) -> SystemTime {
    let distance = Duration::from_secs(time.0.unsigned_abs());
    let at = if time.0 < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn time(at: SystemTime) -> Time {
    let seconds = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Time(seconds(after)),
        Err(before) => Time(-seconds(before.duration()) - i64::from(before.duration().subsec_nanos() > 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_ours_says_which_message_it_is() {
        for (name, is) in [
            ("1795514400.V12U7.postfach,S=5,W=6:2,S", Some((12, 7))),
            ("5.V1U2.postfach", Some((1, 2))),
            ("1795514400.M1P2.host,S=5:2,", None),
            ("V1U2.postfach", None),
            ("1.V99999999999U1.postfach", None),
        ] {
            assert_eq!(unique(Path::new(name)), is, "{name}");
        }
    }

    #[test]
    fn dates_before_1970_are_dates() {
        for seconds in [-1, 0, 1, -86_400, 1_795_514_400] {
            assert_eq!(time(system_time(Time(seconds))), Time(seconds));
        }
    }
}
