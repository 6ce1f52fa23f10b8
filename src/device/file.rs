//! A regular file or a block device (a partition) as a medium: buffered, locked against a second user, errors checked.
//!
//! Refuses: to be opened twice ([`io::ErrorKind::ResourceBusy`]); to touch an existing file unless forced ([`io::ErrorKind::AlreadyExists`]),
//! and then before it is written to: who looks at it and goes away leaves it as it was.
//! Invariants: the size never changes while open; `prepare` fills holes only and shares a lock with writing, so that it can run beside it;
//! it syncs through a description of its own, because Linux tells a failed write-back once per description and the commit must hear it.

use std::fs;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, FlockOperation, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use super::discard::discard;
use super::{Device, beyond_the_end, within};

/// Zeros written under one hold of the lock, bytes: what a commit may have to wait for.
const FILL_BYTES: u64 = 256 * 1024;

/// An open, locked file or partition.
pub struct File {
    file: fs::File,
    /// The same file opened again, for `prepare`.
    filler: fs::File,
    size: u64,
    regular: bool,
    /// Somebody else is writing to it.
    beside: bool,
    /// An existing file that has another length yet. What it lacks reads as zeros.
    uncut: AtomicBool,
    /// Held by whoever writes.
    writing: Mutex<()>,
}

impl File {
    /// Makes a sparse file of `size` bytes, or takes the partition that is there (`size` 0: the whole of it).
    /// An existing file is only taken with `force`, and brought to that size by the first write; its bytes stay until they are written over.
    pub fn create(path: &Path, size: u64, force: bool) -> io::Result<File> {
        let made = options().create_new(true).mode(0o600).open(path);
        match made {
            Ok(file) => {
                let file = File::new(file, path, Some(size))?;
                drop(file.writing()?);
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = options().open(path)?;
                let kind = file.metadata()?;
                if kind.is_file() && kind.len() > 0 && !force {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists"));
                }
                File::new(file, path, Some(size))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens what is there.
    pub fn open(path: &Path) -> io::Result<File> {
        File::new(options().open(path)?, path, None)
    }

    /// Opens what is there for reading only, beside whoever writes to it: what is read may change.
    pub fn open_beside(path: &Path) -> io::Result<File> {
        let open = || fs::OpenOptions::new().read(true).open(path);
        let (file, filler) = (open()?, open()?);
        let size = rustix::fs::seek(&file, SeekFrom::End(0))?;
        let (uncut, writing) = (AtomicBool::new(false), Mutex::new(()));
        Ok(File { file, filler, size, regular: false, beside: true, uncut, writing })
    }

    /// How long a regular file can become where it is, bytes: what it takes of the file system, and what is free there. None: a partition, or
    /// the system does not say.
    pub fn room(&self) -> Option<u64> {
        let system = rustix::fs::fstatvfs(&self.file).ok().filter(|_| self.regular)?;
        let taken = self.file.metadata().ok()?.blocks().checked_mul(512)?;
        system.f_bavail.checked_mul(system.f_frsize)?.checked_add(taken)
    }

    /// Locks. Nothing is changed yet.
    fn new(file: fs::File, path: &Path, wanted: Option<u64>) -> io::Result<File> {
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a partition"));
        }
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => io::Error::new(io::ErrorKind::ResourceBusy, "the store is in use"),
            error => error.into(),
        })?;
        let regular = kind.is_file();
        let whole = rustix::fs::seek(&file, SeekFrom::End(0))?;
        let size = wanted.filter(|size| regular || *size > 0).unwrap_or(whole);
        if size > whole && !regular {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the partition is smaller than that"));
        }
        if wanted.is_some() && regular {
            sync_parent(path)?;
        }
        let filler = options().open(path)?;
        let (uncut, writing) = (AtomicBool::new(regular && size != whole), Mutex::new(()));
        Ok(File { file, filler, size, regular, beside: false, uncut, writing })
    }

    /// Whoever else writes waits while this is held. A file that was there before is brought to its size first.
    fn writing(&self) -> io::Result<MutexGuard<'_, ()>> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.uncut.load(Ordering::Acquire) {
            self.file.set_len(self.size)?;
            self.file.sync_all()?;
            self.uncut.store(false, Ordering::Release);
        }
        Ok(writing)
    }

    /// How many of these bytes there are in a file that may have another length yet.
    fn there(&self, offset: u64, length: usize) -> io::Result<usize> {
        let rest = self.file.metadata()?.len().saturating_sub(offset);
        Ok(usize::try_from(rest).map_or(length, |rest| rest.min(length)))
    }

    /// Fills the first hole of `offset..end` with zeros, up to `FILL_BYTES`; returns where to go on, or `None` at the end.
    fn fill(&self, offset: u64, end: u64, zeros: &[u8]) -> io::Result<Option<u64>> {
        let _writing = self.writing()?;
        let hole = match rustix::fs::seek(&self.filler, SeekFrom::Hole(offset)) {
            Ok(hole) if hole < end => hole,
            // ENXIO: nothing but data to the end; EINVAL: a file system without holes.
            Ok(_) | Err(Errno::NXIO | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let data = match rustix::fs::seek(&self.filler, SeekFrom::Data(hole)) {
            Ok(data) => data.min(end),
            Err(Errno::NXIO) => end,
            Err(error) => return Err(error.into()),
        };
        let stop = data.min(hole.saturating_add(FILL_BYTES));
        let length = usize::try_from(stop - hole).unwrap_or(usize::MAX).min(zeros.len());
        self.filler.write_all_at(&zeros[..length], hole)?;
        Ok(Some(hole + length as u64).filter(|next| *next < end))
    }
}

fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    options
}

/// Makes the directory entry of a new file durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

impl Device for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if !within(self.size, offset, buf.len() as u64) {
            return Err(beyond_the_end());
        }
        if !self.uncut.load(Ordering::Acquire) {
            return self.file.read_exact_at(buf, offset);
        }
        let (there, lacking) = buf.split_at_mut(self.there(offset, buf.len())?);
        lacking.fill(0);
        self.file.read_exact_at(there, offset)
    }

    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
        if !within(self.size, offset, buf.len() as u64) {
            return Err(beyond_the_end());
        }
        if self.uncut.load(Ordering::Acquire) {
            return Ok(false);
        }
        let mut done = 0;
        while done < buf.len() {
            let rest = &mut [IoSliceMut::new(&mut buf[done..])];
            let at = offset + done as u64;
            match retry_on_intr(|| rustix::io::preadv2(&self.file, rest, at, ReadWriteFlags::NOWAIT)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(Errno::AGAIN) => return Ok(false),
                // A file system or kernel that cannot say: take the way that may wait.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if !within(self.size, offset, buf.len() as u64) {
            return Err(beyond_the_end());
        }
        let _writing = self.writing()?;
        self.file.write_all_at(buf, offset)
    }

    fn flush(&self) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::fdatasync(&self.file)).map_err(io::Error::from)
    }

    /// Of a partition; a file keeps its blocks, so that writing there again costs nothing. A medium that cannot is no error.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.regular {
            return Ok(());
        }
        if !within(self.size, offset, length) {
            return Err(beyond_the_end());
        }
        let _writing = self.writing()?;
        match retry_on_intr(|| discard(&self.file, offset, length)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOTTY) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn prepare(&self, offset: u64, length: u64) -> io::Result<()> {
        if !self.regular {
            return Ok(());
        }
        let end = offset.saturating_add(length).min(self.size);
        let zeros = vec![0; FILL_BYTES as usize];
        let mut next = Some(offset).filter(|offset| *offset < end);
        let mut filled = false;
        while let Some(from) = next {
            next = self.fill(from, end, &zeros)?;
            filled |= next != Some(from);
        }
        if filled {
            retry_on_intr(|| rustix::fs::fdatasync(&self.filler)).map_err(io::Error::from)
        } else {
            Ok(())
        }
    }

    fn forget_cache(&self, offset: u64, length: u64) {
        if self.beside {
            // What the writer has in the cache is newer than the medium, and it is the writer's.
            return;
        }
        // A hint: where it is refused, recovery believes the page cache, as it must on a file system without it.
        if let Some(length) = NonZeroU64::new(length) {
            let _refused = rustix::fs::fadvise(&self.file, offset, Some(length), Advice::DontNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A path of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("postfach-device-{}-{name}", std::process::id()));
            let _old = fs::remove_file(&path);
            Place(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _gone = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_bounds_are_kept() {
        let place = Place::new("bounds");
        let file = File::create(&place.0, 1 << 20, false).unwrap();
        file.write_at(5000, b"hello").unwrap();
        file.flush().unwrap();
        let mut buf = [0; 7];
        file.read_at(4999, &mut buf).unwrap();
        assert_eq!(buf, *b"\0hello\0");
        let mut cached = [0; 7];
        assert!(!file.read_cached(4999, &mut cached).unwrap() || cached == buf);
        file.forget_cache(0, 1 << 20);
        file.read_at(4999, &mut buf).unwrap();
        assert_eq!(buf, *b"\0hello\0");
        assert!(file.write_at((1 << 20) - 2, b"abc").is_err());
        assert!(file.read_at(u64::MAX, &mut buf).is_err());
        assert_eq!(fs::metadata(&place.0).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_user_is_told_that_it_is_busy_and_a_file_is_not_taken_over() {
        let place = Place::new("lock");
        let file = File::create(&place.0, 8192, false).unwrap();
        file.write_at(0, b"mine").unwrap();
        assert_eq!(File::open(&place.0).err().unwrap().kind(), io::ErrorKind::ResourceBusy);
        drop(file);
        assert_eq!(File::create(&place.0, 8192, false).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let file = File::create(&place.0, 4096, true).unwrap();
        let mut buf = [0; 4];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!((buf, file.size()), (*b"mine", 4096));
        assert!(file.read_at(4096, &mut buf).is_err());
        file.write_at(8, b"more").unwrap();
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(buf, *b"mine");
        drop(file);
        assert_eq!(File::open(&place.0).unwrap().size(), 4096);
        assert!(File::open(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_file_that_was_there_is_cut_or_made_longer_by_the_first_write_only() {
        let place = Place::new("uncut");
        for (size, prepared) in [(4096, false), (1 << 20, false), (4096, true), (1 << 20, true)] {
            fs::write(&place.0, [7; 8192]).unwrap();
            let file = File::create(&place.0, size, true).unwrap();
            let mut buf = [1; 2048];
            file.read_at(size - 2048, &mut buf).unwrap();
            assert_eq!(buf, [if size > 8192 { 0 } else { 7 }; 2048]);
            let edge = (7168 - 1024).min(size - 2048);
            file.read_at(edge, &mut buf).unwrap();
            assert_eq!(buf, [7; 2048]);
            if size > 8192 {
                file.read_at(7168, &mut buf).unwrap();
                assert_eq!((&buf[..1024], &buf[1024..]), (&[7; 1024][..], &[0; 1024][..]));
            }
            assert!(!file.read_cached(0, &mut buf).unwrap());
            file.flush().unwrap();
            file.discard(0, size).unwrap();
            file.forget_cache(0, size);
            assert_eq!((file.size(), fs::read(&place.0).unwrap() == [7; 8192]), (size, true));
            if prepared {
                file.prepare(0, size).unwrap();
            } else {
                file.write_at(size - 1, b"x").unwrap();
            }
            assert_eq!(fs::metadata(&place.0).unwrap().len(), size);
        }
    }

    #[test]
    fn prepare_fills_holes_and_changes_nothing_that_was_written() {
        let place = Place::new("prepare");
        let file = File::create(&place.0, 1 << 20, false).unwrap();
        file.write_at(300_000, b"kept").unwrap();
        file.prepare(4096, 900_000).unwrap();
        let mut buf = [0; 4];
        file.read_at(300_000, &mut buf).unwrap();
        assert_eq!(buf, *b"kept");
        let blocks = fs::metadata(&place.0).unwrap().blocks() * 512;
        assert!((900_000..1_000_000).contains(&blocks), "{blocks}");
        file.prepare(4096, 900_000).unwrap();
        file.prepare(0, u64::MAX).unwrap();
        assert!(fs::metadata(&place.0).unwrap().blocks() * 512 >= 1 << 20);
    }

    #[test]
    fn prepare_beside_writing_loses_nothing() {
        let place = Place::new("beside");
        let file = File::create(&place.0, 8 << 20, false).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| file.prepare(0, 8 << 20).unwrap());
            for block in (0..2048_u64).rev() {
                file.write_at(block * 4096, &[block as u8 | 1; 4096]).unwrap();
            }
        });
        let mut buf = vec![0; 4096];
        for block in 0..2048 {
            file.read_at(block * 4096, &mut buf).unwrap();
            assert_eq!(buf, [block as u8 | 1; 4096], "{block}");
        }
    }
}
