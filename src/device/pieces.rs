//! A medium put together from files: what a backup looks like to who reads it.
//!
//! Refuses every change. What no file holds reads as zeros.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Device, beyond_the_end, within};

/// Files, each at its place, and zeros between.
pub struct Pieces {
    size: u64,
    /// By offset: bytes that are held in memory, or a file with its length.
    pieces: BTreeMap<u64, Piece>,
}

enum Piece {
    Bytes(Vec<u8>),
    File(fs::File, u64),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(_, length) => *length,
        }
    }
}

impl Pieces {
    /// A medium of so many bytes, all of them zero.
    pub fn new(size: u64) -> Pieces {
        Pieces { size, pieces: BTreeMap::new() }
    }

    /// Puts bytes at a place.
    pub fn put(&mut self, offset: u64, bytes: Vec<u8>) {
        self.pieces.insert(offset, Piece::Bytes(bytes));
    }

    /// Puts a file of that length at a place. Pieces must not overlap.
    pub fn put_file(&mut self, offset: u64, file: fs::File, length: u64) {
        self.pieces.insert(offset, Piece::File(file, length));
    }
}

impl Device for Pieces {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if !within(self.size, offset, buf.len() as u64) {
            return Err(beyond_the_end());
        }
        let end = offset + buf.len() as u64;
        buf.fill(0);
        let first = self.pieces.range(..=offset).next_back().map_or(offset, |(at, _)| *at);
        for (at, piece) in self.pieces.range(first..end) {
            let (from, to) = (offset.max(*at), end.min(at + piece.length()));
            let part = |place: u64| usize::try_from(place.saturating_sub(offset)).unwrap_or(usize::MAX);
            let Some(part) = buf.get_mut(part(from)..part(to)).filter(|part| !part.is_empty()) else {
                continue;
            };
            match piece {
                Piece::Bytes(bytes) => {
                    let skip = usize::try_from(from - at).unwrap_or(usize::MAX);
                    let held = bytes.get(skip..).and_then(|held| held.get(..part.len()));
                    part.copy_from_slice(held.ok_or_else(beyond_the_end)?);
                }
                Piece::File(file, _) => file.read_exact_at(part, from - at)?,
            }
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    /// Nothing has been written.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn prepare(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn forget_cache(&self, _: u64, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_where_they_were_put_and_the_rest_is_zero() {
        let path = std::env::temp_dir().join(format!("postfach-pieces-{}", std::process::id()));
        fs::write(&path, b"0123456789").unwrap();
        let mut pieces = Pieces::new(32);
        pieces.put(0, b"ab".to_vec());
        pieces.put_file(4, fs::File::open(&path).unwrap(), 10);
        fs::remove_file(&path).unwrap();
        let mut all = [9; 32];
        pieces.read_at(0, &mut all).unwrap();
        assert_eq!(&all[..16], b"ab\0\x000123456789\0\0");
        assert_eq!(all[16..], [0; 16]);
        let mut part = [9; 4];
        pieces.read_at(12, &mut part).unwrap();
        assert_eq!(&part, b"89\0\0");
        pieces.read_at(6, &mut part).unwrap();
        assert_eq!(&part, b"2345");
        assert!(pieces.read_at(30, &mut part).is_err());
        assert!(pieces.write_at(0, b"x").is_err());
    }
}
