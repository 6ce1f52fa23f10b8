//! Backup: the store's segments as files in a directory, and a list of them. Made beside a running server, or without one.
//!
//! Refuses to lock the store, to ask the server, and to change a byte of the store (it does flush what it has seen): sealed segments do not
//! change, so they are copied once; the last one is copied each time. A segment that was freed and used again while it was copied is noticed by
//! its header, and everything is looked at once more; so it is where a look misses something.
//!
//! # The directory
//! | file | what |
//! |---|---|
//! | `manifest` | what belongs to the backup; text, written last, replaced as a whole |
//! | SEQUENCE-INCARNATION-CRC`.segment` | a sealed segment, whole |
//! | SEQUENCE-INCARNATION-CRC`.tail` | the last segment, as it was |
//! | `copy-again` | names of sealed segments that [`verify`] found damaged, a line each: the next backup copies them again |
//! | NAME`.bad` | a damaged file in whose place the store had something else than what was copied; nobody reads it |
//!
//! Numbers in names are hexadecimal. The manifest:
//!
//! ```text
//! manifest   = "postfach backup 1" LF "superblock " 128HEXDIG LF *segment "end " 8HEXDIG LF
//! segment    = "segment " index SP name LF          ; index: decimal, which segment of the device
//! ```
//!
//! `end` has the CRC-32C of all before it. Who kills a backup at any moment keeps the one before it, and what has been copied is used
//! by the next. One backup at a time writes to a directory, which it locks; who reads one needs no lock, since no file with a name is changed in
//! place, and a backup that ends meanwhile is read instead. A file of another length than a segment's is copied again.
//! The directory holds the store's key and everybody's mail: it is made for its owner alone.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use embedded_io::Read as _;

use crate::check::{self, Findings};
use crate::device::{Device, Pieces, Region, Veil};
use crate::journal::{self, Format, FormatError, OpenError, Superblock, Survey, Surveyed, checksum};
use crate::limits::BLOCK_BYTES;
use crate::store::{self, Restored, Store};

#[cfg(test)]
mod tests;

const FIRST_LINE: &str = "postfach backup 1";
const MANIFEST: &str = "manifest";
const COPY_AGAIN: &str = "copy-again";
/// Bytes of a file's name that say which use of a segment it is of.
const STEM_BYTES: usize = 34;
/// Read and written at a time, bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// How often the store is looked at again, because it reused a segment while it was copied.
const ROUNDS_MAX: u32 = 10;

/// What a backup has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Segments of the store.
    pub segments: u64,
    /// Those of them that were copied now.
    pub copied: u64,
    /// Bytes copied now.
    pub copied_bytes: u64,
    /// The store has lost something, which is as lost in the backup: `check` says what.
    pub damaged: bool,
}

/// Why there is no backup.
#[derive(Debug)]
pub enum Error {
    /// A file of the backup.
    File(PathBuf, io::Error),
    /// The store.
    Store(OpenError),
    /// The directory holds something else.
    Foreign(PathBuf),
    /// The directory holds the backup of another store.
    Other(PathBuf),
    /// Another backup is being written to the directory.
    Busy(PathBuf),
    /// The store uses its segments again faster than they are copied.
    Restless,
    /// No store can be made there.
    Format(FormatError),
    /// The mailboxes' sizes do not fit: what they need, and what there is, bytes.
    Small {
        /// The sum of the mailboxes' sizes.
        needed: u64,
        /// What a store of this size can promise.
        there: u64,
    },
    /// The file system of the new store has too little room: what the mail takes at least, and what there is, bytes.
    Room {
        /// The mail.
        needed: u64,
        /// How long the new store's file can become.
        there: u64,
    },
    /// The mail does not fit, or the medium takes no more.
    Full,
    /// A file of the backup is not as it was written.
    Damaged(PathBuf, &'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Store(error) => error.fmt(f),
            Error::Foreign(path) => {
                write!(f, "{} is not empty and holds no backup; take another directory", path.display())
            }
            Error::Other(path) => {
                write!(f, "{} holds the backup of another store; take another directory", path.display())
            }
            Error::Busy(path) => write!(f, "another backup is being written to {}", path.display()),
            Error::Restless => {
                write!(f, "the store changes faster than it can be copied; try again when it is quieter")
            }
            Error::Format(error) => error.fmt(f),
            Error::Small { needed, there } => write!(
                f,
                "the store is too small: its mailboxes need {} MiB, and it can promise {} MiB",
                needed.div_ceil(1 << 20),
                there >> 20
            ),
            Error::Room { needed, there } => write!(
                f,
                "its disk has too little room: the mail takes {} MiB, and there are {} MiB",
                needed.div_ceil(1 << 20),
                there >> 20
            ),
            Error::Full => write!(f, "the medium takes no more"),
            Error::Damaged(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Error {
        Error::Store(error)
    }
}

/// What a manifest says.
#[derive(PartialEq)]
struct Manifest {
    superblock: Superblock,
    /// Index of the segment, and its file.
    segments: Vec<(u32, String)>,
}

/// Brings the backup in `dir` up to date. `progress` is told bytes done, and bytes in all.
///
/// # Errors
/// The backup that was there before is still there, whole.
pub fn backup(device: &dyn Device, dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Done, Error> {
    let at = |error| Error::File(dir.to_path_buf(), error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
    let _lock = lock(dir)?;
    let again = copy_again(dir);
    let mut done = Done::default();
    for _round in 0..ROUNDS_MAX {
        let survey = look(device)?;
        // What was seen must not go with the power any more: a sealed segment that a cut would open again is copied once and never again.
        device.flush().map_err(|error| Error::Store(OpenError::Io(error)))?;
        ours(dir, &survey)?;
        if let Some(segments) = copy_all(device, &survey, dir, &again, &mut done, progress)? {
            done.segments = segments.len() as u64;
            done.damaged = survey.report.is_damaged();
            finish(dir, &Manifest { superblock: survey.superblock.clone(), segments }, &again)?;
            return Ok(done);
        }
    }
    Err(Error::Restless)
}

/// Two backups into one directory would take each other's files away.
fn lock(dir: &Path) -> Result<fs::File, Error> {
    let file = fs::File::open(dir).map_err(|error| Error::File(dir.to_path_buf(), error))?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(Error::Busy(dir.to_path_buf())),
        // A file system without locks.
        _ => Ok(file),
    }
}

/// The files that have been found damaged.
fn copy_again(dir: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(dir.join(COPY_AGAIN)).unwrap_or_default();
    text.lines().map(String::from).collect()
}

/// Looks which segments there are. A look beside a server that writes may mix two moments, and miss what was moved meanwhile: that is there in
/// another look. What the store has really lost is missing in the next one, too.
fn look(device: &dyn Device) -> Result<Survey, Error> {
    let mut before: Option<Survey> = None;
    for _round in 0..ROUNDS_MAX {
        let survey = journal::survey(device)?;
        let steady = survey.segments.iter().all(|segment| survey.is_same(device, segment));
        let again = before.as_ref().is_some_and(|before| before.is_as(&survey));
        if steady && (again || !survey.report.is_damaged()) {
            return Ok(survey);
        }
        before = Some(survey);
    }
    Err(Error::Restless)
}

/// Only a new directory, or one with a backup of this store.
fn ours(dir: &Path, survey: &Survey) -> Result<(), Error> {
    match read_manifest(dir) {
        Ok(old) if old.superblock == survey.superblock => Ok(()),
        Ok(_) => Err(Error::Other(dir.to_path_buf())),
        Err(Error::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            // A first backup that was interrupted has left files of ours only.
            let mut names = names(dir)?.into_iter();
            if names.all(|name| is_ours(&name)) { Ok(()) } else { Err(Error::Foreign(dir.to_path_buf())) }
        }
        Err(error) => Err(error),
    }
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let at = |error| Error::File(dir.to_path_buf(), error);
    let entries = fs::read_dir(dir).map_err(at)?;
    entries.map(|entry| Ok(entry.map_err(at)?.file_name().to_string_lossy().into_owned())).collect()
}

fn is_ours(name: &str) -> bool {
    [".segment", ".tail", ".new"].iter().any(|end| name.ends_with(end))
}

/// Whether a file is as long as a segment, and nobody has found it damaged.
fn is_good(dir: &Path, name: &str, segment_bytes: u64, again: &BTreeSet<String>) -> bool {
    !again.contains(name) && dir.join(name).metadata().is_ok_and(|found| found.len() == segment_bytes)
}

/// Copies what is not there yet, and what is damaged there. None: a segment was used again meanwhile.
fn copy_all(
    device: &dyn Device,
    survey: &Survey,
    dir: &Path,
    again: &BTreeSet<String>,
    done: &mut Done,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Vec<(u32, String)>>, Error> {
    let there = names(dir)?;
    let segment_bytes = u64::from(survey.superblock.segment_bytes);
    let all = survey.segments.len() as u64 * segment_bytes;
    let mut segments = Vec::with_capacity(survey.segments.len());
    for (segment, number) in survey.segments.iter().zip(1..) {
        let stem = format!("{:016x}-{:016x}-", segment.sequence, segment.incarnation);
        let kept = there.iter().find(|name| {
            let sealed = name.starts_with(&stem) && name.ends_with(".segment");
            sealed && is_good(dir, name, segment_bytes, again)
        });
        let name = match kept {
            Some(name) if segment.sealed => name.clone(),
            _ => {
                let (written, crc) = copy(device, survey, segment, dir)?;
                if !survey.is_same(device, segment) {
                    let _left = fs::remove_file(written);
                    return Ok(None);
                }
                let name = format!("{stem}{crc:08x}.{}", if segment.sealed { "segment" } else { "tail" });
                let path = dir.join(&name);
                fs::rename(&written, &path).map_err(|error| Error::File(path, error))?;
                done.copied += 1;
                done.copied_bytes += segment_bytes;
                name
            }
        };
        segments.push((segment.index, name));
        progress(number * segment_bytes, all);
    }
    Ok(Some(segments))
}

/// Copies a segment to a new file, durably; returns its path and the CRC of its bytes.
fn copy(
    device: &dyn Device,
    survey: &Survey,
    segment: &Surveyed,
    dir: &Path,
) -> Result<(PathBuf, u32), Error> {
    let path = dir.join("copy.new");
    let at = |error| Error::File(path.clone(), error);
    let mut file = new_file(&path).map_err(at)?;
    let place = survey.superblock.base(segment.index);
    let length = u64::from(survey.superblock.segment_bytes);
    let crc = if segment.sealed {
        read_all(device, place, length, &mut |read| file.write_all(read)).map_err(at)?
    } else {
        let bytes = read_backwards(device, place, length).map_err(at)?;
        file.write_all(&bytes).map_err(at)?;
        checksum(0, &bytes)
    };
    file.sync_all().map_err(at)?;
    Ok((path, crc))
}

fn new_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes the manifest the new one, and removes what it does not name: but not a damaged file in whose place something else was copied, because
/// the store may have lost what is in it.
fn finish(dir: &Path, manifest: &Manifest, again: &BTreeSet<String>) -> Result<(), Error> {
    let at = |error| Error::File(dir.to_path_buf(), error);
    let sync = || fs::File::open(dir).and_then(|dir| dir.sync_all());
    sync().map_err(at)?;
    let new = dir.join("manifest.new");
    let mut file = new_file(&new).map_err(at)?;
    file.write_all(manifest.text().as_bytes()).and_then(|()| file.sync_all()).map_err(at)?;
    fs::rename(&new, dir.join(MANIFEST)).map_err(at)?;
    sync().map_err(at)?;
    let named: BTreeSet<&str> = manifest.segments.iter().map(|(_, name)| name.as_str()).collect();
    for name in names(dir)?.iter().filter(|name| is_ours(name) && !named.contains(name.as_str())) {
        let (path, stem) = (dir.join(name), name.get(..STEM_BYTES).unwrap_or(name));
        let replaced = name.ends_with(".segment") && named.iter().any(|named| named.starts_with(stem));
        let segment_bytes = u64::from(manifest.superblock.segment_bytes);
        if replaced && !is_good(dir, name, segment_bytes, again) {
            fs::rename(&path, dir.join(format!("{name}.bad"))).map_err(at)?;
        } else {
            fs::remove_file(path).map_err(at)?;
        }
    }
    // What has been found in the meantime is the next one's business.
    if !again.is_empty() && copy_again(dir) == *again {
        fs::remove_file(dir.join(COPY_AGAIN)).map_err(at)?;
    }
    Ok(())
}

impl Manifest {
    fn text(&self) -> String {
        let superblock: String = self.superblock.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut text = format!("{FIRST_LINE}\nsuperblock {superblock}\n");
        for (index, name) in &self.segments {
            text += &format!("segment {index} {name}\n");
        }
        let crc = checksum(0, text.as_bytes());
        text + &format!("end {crc:08x}\n")
    }

    fn parse(text: &str) -> Option<Manifest> {
        let end = text.rfind("end ")?;
        let (body, last) = text.split_at_checked(end)?;
        if last != format!("end {:08x}\n", checksum(0, body.as_bytes())) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let hex = lines.next()?.strip_prefix("superblock ")?;
        let digits = hex.as_bytes().chunks(2).map(|digits| std::str::from_utf8(digits).ok());
        let superblock: Option<Vec<u8>> = digits.map(|digits| u8::from_str_radix(digits?, 16).ok()).collect();
        let superblock = Superblock::of(&superblock?)?;
        let segment = |line: &str| {
            let (index, name) = line.strip_prefix("segment ")?.split_once(' ')?;
            let index = index.parse().ok().filter(|index| *index < superblock.segment_count)?;
            (is_ours(name) && !name.contains('/')).then(|| (index, String::from(name)))
        };
        let segments = lines.map(segment).collect::<Option<_>>()?;
        Some(Manifest { segments, superblock })
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, Error> {
    let path = dir.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| Error::File(path.clone(), error))?;
    Manifest::parse(&text).ok_or(Error::Damaged(path, "it is not as it was written"))
}

/// A backup that can be read like a store.
pub struct Opened {
    /// What stands for the store's medium. What is missing reads as zeros.
    pub device: Pieces,
    /// What is missing or damaged: a sentence each.
    pub damage: Vec<String>,
    /// When the backup was made: the manifest's modification time.
    pub made: SystemTime,
    manifest: Manifest,
}

/// The backup as a medium. The files' content is not read here.
///
/// # Errors
/// There is no backup in the directory, or its manifest is damaged.
pub fn open(dir: &Path) -> Result<Opened, Error> {
    let mut opened = open_now(dir)?;
    for _round in 0..ROUNDS_MAX {
        // A backup that has ended meanwhile has removed files of the one before.
        if opened.damage.is_empty() || read_manifest(dir)? == opened.manifest {
            break;
        }
        opened = open_now(dir)?;
    }
    Ok(opened)
}

fn open_now(dir: &Path) -> Result<Opened, Error> {
    let manifest = read_manifest(dir)?;
    let path = dir.join(MANIFEST);
    let made =
        path.metadata().and_then(|found| found.modified()).map_err(|error| Error::File(path, error))?;
    let superblock = &manifest.superblock;
    let length = u64::from(superblock.segment_bytes);
    let mut device = Pieces::new(superblock.device_bytes());
    for copy in 0..2 {
        device.put(copy * BLOCK_BYTES as u64, superblock.encode().to_vec());
    }
    let mut damage = Vec::new();
    for (index, name) in &manifest.segments {
        let opened = fs::File::open(dir.join(name)).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((bytes, file)) if bytes == length => device.put_file(superblock.base(*index), file, length),
            Ok(_) => damage.push(format!("the file {name} has another length than when it was written")),
            Err(error) => damage.push(format!("the file {name} cannot be read: {error}")),
        }
    }
    Ok(Opened { device, damage, made, manifest })
}

/// Reads a backup whole: every file against its checksum, and every frame as `check` reads a store. Notes for the next backup which sealed
/// segments are damaged, if the directory can be written to.
///
/// # Errors
/// As [`open`]. What is wrong with a file is among the findings.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Findings, Error> {
    let Opened { device, mut damage, manifest, .. } = open(dir)?;
    let length = u64::from(manifest.superblock.segment_bytes);
    let all = manifest.segments.len() as u64 * length;
    let mut again = BTreeSet::new();
    for ((index, name), number) in manifest.segments.iter().zip(1..) {
        let missing = damage.iter().any(|text| text.contains(name.as_str()));
        let found = match read_all(&device, manifest.superblock.base(*index), length, &mut |_| Ok(())) {
            Ok(crc) if missing || name.contains(&format!("-{crc:08x}.")) => None,
            Ok(_) => Some(format!("the file {name} is not as it was written")),
            Err(error) => Some(format!("the file {name} cannot be read: {error}")),
        };
        if let Some(found) = found {
            damage.push(found);
            again.insert(name.as_str());
        }
        progress(number * length, all);
    }
    let advice = if note(dir, &again) {
        "the next `postfach backup` copies it again, if the store still has it"
    } else {
        "rename it, and the next `postfach backup` copies it again, if the store still has it"
    };
    damage.iter_mut().for_each(|text| *text = format!("{text}; {advice}"));
    let mut findings = check::check(&device)?;
    findings.damage.splice(0..0, damage);
    Ok(findings)
}

/// Notes which files are to be copied again, beside those that are noted already. False: it cannot be noted, or read again.
fn note(dir: &Path, names: &BTreeSet<&str>) -> bool {
    let sealed = names.iter().filter(|name| name.ends_with(".segment"));
    let mut noted = copy_again(dir);
    let before = noted.len();
    noted.extend(sealed.map(|name| String::from(*name)));
    if noted.len() == before {
        return true;
    }
    let text: String = noted.iter().map(|name| format!("{name}\n")).collect();
    let new = dir.join("copy-again.new");
    let write = |mut file: fs::File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let written = new_file(&new).and_then(write).and_then(|()| fs::rename(&new, dir.join(COPY_AGAIN)));
    written.is_ok() && copy_again(dir) == noted
}

/// What a restore needs to know.
pub struct Wanted<'a> {
    /// Also over a store.
    pub force: bool,
    /// How long the device can really become, bytes, if that is known.
    pub room_bytes: Option<u64>,
    /// Fills with unpredictable bytes.
    pub random: &'a mut dyn FnMut(&mut [u8]),
}

/// Makes a new store on `device` of what the backup holds: with its own key, and as large as the device is. Until everything is there,
/// the device holds no store at all. What can be known before is known before the device is written to: what is refused leaves it as it was.
///
/// # Errors
/// As [`open`]; no room; there is a store already; the medium's, of which only those of writing come after it has been written to.
pub fn restore(
    dir: &Path,
    device: Arc<dyn Device>,
    wanted: &mut Wanted<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, Error> {
    let Opened { device: pieces, damage, .. } = open(dir)?;
    let (source, _) = Store::open(Arc::new(pieces), wanted.random)?;
    if !wanted.force && journal::is_store(&*device) {
        return Err(Error::Format(FormatError::Exists));
    }
    let io = |error| Error::Store(OpenError::Io(error));
    let options = Format { segment_bytes: None, force: true };
    let raw_bytes = journal::raw_bytes(device.size(), &options).map_err(Error::Format)?;
    let (needed, there) = store::restore_room(&source, raw_bytes);
    if needed > there {
        return Err(Error::Small { needed, there });
    }
    let needed = source.journal().capacity().live_bytes;
    if let Some(there) = wanted.room_bytes.filter(|there| *there < needed) {
        return Err(Error::Room { needed, there });
    }
    // From here on nothing is left of what was there.
    let veil = Arc::new(Veil::over(device, 2 * BLOCK_BYTES));
    veil.draw().map_err(io)?;
    journal::format(&*veil, &options, wanted.random).map_err(Error::Format)?;
    let (mut target, _) = Store::open(veil.clone(), wanted.random)?;
    let mut restored =
        store::restore(&source, &mut target, wanted.random, progress).map_err(|_| Error::Full)?;
    restored.lossy |= !damage.is_empty();
    target.close().map_err(io)?;
    veil.lift(BLOCK_BYTES).map_err(io)?;
    Ok(restored)
}

/// Reads a segment that is being written to, block by block from its end: so a frame is never there without those before it, which were
/// written earlier.
fn read_backwards(device: &dyn Device, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    for (nth, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate().rev() {
        device.read_at(offset + (nth * BLOCK_BYTES) as u64, block)?;
    }
    Ok(bytes)
}

/// Reads a range to its end, part by part. Returns its checksum.
fn read_all(
    device: &dyn Device,
    offset: u64,
    length: u64,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u32> {
    let mut region = Region::new(device, offset, length);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut crc = 0;
    loop {
        let count = region.read(&mut chunk).map_err(|error| error.0)?;
        let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else { return Ok(crc) };
        crc = checksum(crc, read);
        take(read)?;
    }
}

/// What fuzzing gives to the manifest.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    use super::*;
    use crate::device::{Memory, Random};
    use crate::journal::format;

    /// Any text, with a checksum that fits: what is understood is said again the same.
    pub(crate) fn manifest(data: &[u8]) {
        let body = String::from_utf8_lossy(data);
        let text = format!("{body}end {:08x}\n", checksum(0, body.as_bytes()));
        if let Some(manifest) = Manifest::parse(&text) {
            assert!(Manifest::parse(&manifest.text()) == Some(manifest));
        }
    }

    /// Of three segments.
    pub(crate) fn manifests() -> Vec<Vec<u8>> {
        let options = Format { segment_bytes: None, force: false };
        let formatted = format(&Memory::new(64 << 20), &options, &mut |buf| Random(1).fill(buf));
        let segments = (0..3).map(|index| (index, format!("{index}.segment"))).collect();
        let text = Manifest { superblock: formatted.expect("large enough"), segments }.text();
        assert!(Manifest::parse(&text).is_some());
        vec![text[..text.rfind("end ").expect("is there")].into()]
    }
}
