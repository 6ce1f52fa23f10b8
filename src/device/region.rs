//! A part of a device as an embedded-io reader and writer, for what copies whole ranges: backup, restore, check.

use std::fmt;
use std::io;

use embedded_io::{ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};

use super::Device;

/// A range of a device with a place in it. Reading ends, and writing gets no further, at the range's end.
pub struct Region<'a> {
    device: &'a dyn Device,
    start: u64,
    length: u64,
    place: u64,
}

impl<'a> Region<'a> {
    /// The range of `length` bytes from `start`, cut at the device's end.
    pub fn new(device: &'a dyn Device, start: u64, length: u64) -> Region<'a> {
        let length = length.min(device.size().saturating_sub(start));
        Region { device, start, length, place: 0 }
    }

    /// How much of `wanted` bytes still lies in the range.
    fn room(&self, wanted: usize) -> usize {
        usize::try_from(self.length.saturating_sub(self.place)).unwrap_or(usize::MAX).min(wanted)
    }
}

/// What the device said. A type of its own, because embedded-io knows `std::io::Error` only with a feature that nothing else needs.
#[derive(Debug)]
pub struct Failure(pub io::Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl embedded_io::Error for Failure {
    fn kind(&self) -> ErrorKind {
        match self.0.kind() {
            io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::Other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure(error)
    }
}

impl ErrorType for Region<'_> {
    type Error = Failure;
}

impl Read for Region<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        let count = self.room(buf.len());
        if let Some(buf) = buf.get_mut(..count).filter(|buf| !buf.is_empty()) {
            self.device.read_at(self.start + self.place, buf)?;
            self.place += count as u64;
        }
        Ok(count)
    }
}

impl Write for Region<'_> {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        let count = self.room(buf.len());
        let Some(part) = buf.get(..count).filter(|part| !part.is_empty()) else {
            return if buf.is_empty() { Ok(0) } else { Err(super::beyond_the_end().into()) };
        };
        self.device.write_at(self.start + self.place, part)?;
        self.place += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(self.device.flush()?)
    }
}

impl Seek for Region<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Self::Error> {
        let place = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.place.checked_add_signed(offset),
        };
        self.place = place.filter(|place| *place <= self.length).ok_or_else(super::beyond_the_end)?;
        Ok(self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Memory;

    #[test]
    fn a_region_reads_and_writes_inside_its_bounds_only() {
        let memory = Memory::new(64);
        memory.write_at(0, &[7; 64]).unwrap();
        let mut region = Region::new(&memory, 10, 8);
        assert_eq!(region.write(b"0123456789").unwrap(), 8);
        assert!(region.write(b"x").is_err());
        assert!(region.seek(SeekFrom::Start(9)).is_err());
        assert_eq!(region.seek(SeekFrom::End(-6)).unwrap(), 2);
        let mut buf = [0; 20];
        assert_eq!(region.read(&mut buf).unwrap(), 6);
        assert_eq!(&buf[..6], b"234567");
        assert_eq!(region.read(&mut buf).unwrap(), 0);
        let mut around = [0; 2];
        memory.read_at(9, &mut around).unwrap();
        assert_eq!(around, *b"\x070");
        memory.read_at(17, &mut around).unwrap();
        assert_eq!(around, *b"7\x07");
    }
}
