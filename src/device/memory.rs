//! A device in memory with a power switch, and operations that fail when it is asked for. Seeded, so every run repeats.
//!
//! Never for real mail. Compiled always, because the crash tests of every layer above stand on it. What a cut leaves is in [`super::cut`].

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cut::{Cut, Image, Outcome};
use super::{Device, beyond_the_end, within};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `read_at`
    Read,
    /// `write_at`: all of it is on its way all the same.
    Write,
    /// `write_at`, the same count: half of it is on its way.
    ShortWrite,
    /// `write_at`, the same count: nothing of it is, there is no room.
    NoSpace,
    /// `flush`
    Flush,
}

/// A small seeded generator (SplitMix64): for tests, not for keys.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// Fills `buf`.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for part in buf.chunks_mut(8) {
            let bytes = self.number().to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
    }
}

/// An error to come.
struct Fault {
    operation: Operation,
    index: u64,
    for_ever: bool,
}

#[derive(Default)]
struct Inner {
    /// What reads see.
    current: Image,
    /// What there would be if the power went now.
    cut: Cut,
    /// Every moment at which it could have gone, if they are kept.
    cuts: Option<Vec<Cut>>,
    reads: u64,
    writes: u64,
    flushes: u64,
    bytes_written: u64,
    /// Writes and flushes that still succeed; `None`: all.
    power: Option<u64>,
    off: bool,
    faults: Vec<Fault>,
}

/// The device.
pub struct Memory {
    size: u64,
    inner: Mutex<Inner>,
}

impl Memory {
    /// A medium of `size` bytes, all zeros.
    pub fn new(size: u64) -> Memory {
        Memory::running(Cut { size, ..Cut::default() })
    }

    /// A medium that takes no hints: what is discarded stays as it was.
    pub fn ignoring_discards(self) -> Memory {
        self.inner().cut.ignores_discards = true;
        self
    }

    pub(super) fn running(cut: Cut) -> Memory {
        let (size, current) = (cut.size, cut.arrived());
        Memory { size, inner: Mutex::new(Inner { current, cut, ..Inner::default() }) }
    }

    /// From now on every moment at which the power could go is kept: at each write, which may have arrived in part, and at each flush.
    pub fn keep_cuts(&self) {
        self.inner().cuts = Some(Vec::new());
    }

    /// The moments since then; no further ones are kept.
    pub fn take_cuts(&self) -> Vec<Cut> {
        self.inner().cuts.take().unwrap_or_default()
    }

    /// Lets this many more writes and flushes succeed and then cuts the power: everything fails from there on.
    /// The write that meets the cut counts as not flushed: it may have arrived in part.
    pub fn cut_after(&self, operations: u64) {
        self.inner().power = Some(operations);
    }

    /// Makes operation number `index` of its kind, counted from the device's beginning and from 0, fail: once, or from there on for ever.
    /// A write that fails may have arrived in part. A flush that fails loses what it should have covered, as Linux does:
    /// reads still see it, until [`Device::forget_cache`], but the medium never will.
    pub fn fail_at(&self, operation: Operation, index: u64, for_ever: bool) {
        self.inner().faults.push(Fault { operation, index, for_ever });
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        self.inner().faults.clear();
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.inner().writes
    }

    /// Flushes so far.
    pub fn flushes(&self) -> u64 {
        self.inner().flushes
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.inner().reads
    }

    /// Writes and flushes so far: what [`Memory::cut_after`] counts.
    pub fn operations(&self) -> u64 {
        let inner = self.inner();
        inner.writes + inner.flushes
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.inner().bytes_written
    }

    /// The medium after the power has come back.
    pub fn survive(&self, outcome: Outcome, seed: u64) -> Memory {
        self.inner().cut.survive(outcome, seed)
    }

    /// The same medium again, with its power on and nothing that waits lost, as a device of its own.
    pub fn copy(&self) -> Memory {
        self.survive(Outcome::Kept, 0)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Keeps this moment, if they are kept.
    fn note(&mut self) {
        let operations = self.writes + self.flushes - 1;
        if let Some(cuts) = &mut self.cuts {
            cuts.push(Cut { operations, ..self.cut.clone() });
        }
    }

    /// Whether this operation fails.
    fn fails(&mut self, operation: Operation, index: u64) -> bool {
        self.faults.iter().any(|fault| {
            fault.operation == operation && (fault.index == index || (fault.for_ever && fault.index < index))
        })
    }

    /// Takes one operation's power; false when there is none.
    fn powered(&mut self) -> bool {
        match &mut self.power {
            _ if self.off => false,
            Some(0) => {
                self.off = true;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl Device for Memory {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let index = inner.reads;
        inner.reads += 1;
        if inner.off {
            return Err(no_power());
        }
        if inner.fails(Operation::Read, index) {
            return Err(injected());
        }
        if !within(self.size, offset, buf.len() as u64) {
            return Err(beyond_the_end());
        }
        inner.current.read(offset, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if !within(self.size, offset, buf.len() as u64) {
            return Err(beyond_the_end());
        }
        let mut inner = self.inner();
        if inner.off {
            return Err(no_power());
        }
        let index = inner.writes;
        inner.writes += 1;
        let failing = [Operation::Write, Operation::ShortWrite, Operation::NoSpace]
            .into_iter()
            .find(|operation| inner.fails(*operation, index));
        let arriving = match failing {
            Some(Operation::NoSpace) => &[],
            Some(Operation::ShortWrite) => &buf[..buf.len() / 2],
            _ => buf,
        };
        inner.bytes_written += arriving.len() as u64;
        inner.current.write(offset, arriving);
        if !arriving.is_empty() {
            inner.cut.unflushed.push((offset, arriving.into()));
        }
        inner.note();
        if !inner.powered() {
            return Err(no_power());
        }
        match failing {
            Some(Operation::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(injected()),
            None => Ok(()),
        }
    }

    fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.off {
            return Err(no_power());
        }
        let index = inner.flushes;
        inner.flushes += 1;
        inner.note();
        if !inner.powered() {
            return Err(no_power());
        }
        let covered = std::mem::take(&mut inner.cut.unflushed);
        inner.cut.generation += 1;
        if inner.fails(Operation::Flush, index) {
            return Err(injected());
        }
        covered.iter().for_each(|(offset, bytes)| inner.cut.durable.write(*offset, bytes));
        Ok(())
    }

    /// At once and for good: whoever still needs what was there finds zeros. Or not at all.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if !within(self.size, offset, length) {
            return Err(beyond_the_end());
        }
        let mut inner = self.inner();
        if inner.off {
            return Err(no_power());
        }
        if inner.cut.ignores_discards {
            return Ok(());
        }
        inner.current.erase(offset, length);
        inner.cut.durable.erase(offset, length);
        inner.cut.unflushed.retain(|(at, _)| *at < offset || *at >= offset + length);
        inner.cut.generation += 1;
        Ok(())
    }

    fn prepare(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// Of everything, whatever the range.
    fn forget_cache(&self, _offset: u64, _length: u64) {
        let mut inner = self.inner();
        inner.current = inner.cut.arrived();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(memory: &Memory, offset: u64, length: usize) -> Vec<u8> {
        let mut buf = vec![0; length];
        memory.read_at(offset, &mut buf).unwrap();
        buf
    }

    #[test]
    fn faults_come_once_or_for_ever_and_a_failed_flush_covers_nothing() {
        let memory = Memory::new(4096);
        memory.fail_at(Operation::Flush, 1, false);
        memory.fail_at(Operation::Write, 3, true);
        memory.flush().unwrap();
        memory.write_at(0, b"a").unwrap();
        assert!(memory.flush().is_err());
        memory.flush().unwrap();
        assert_eq!(read(&memory.survive(Outcome::Kept, 0), 0, 1), [0]);
        assert_eq!(read(&memory, 0, 1), *b"a");
        memory.forget_cache(0, 1);
        assert_eq!(read(&memory, 0, 1), [0]);
        memory.write_at(0, b"a").unwrap();
        memory.flush().unwrap();
        assert_eq!(read(&memory.survive(Outcome::Lost, 0), 0, 1), *b"a");
        memory.write_at(0, b"b").unwrap();
        assert!(memory.write_at(0, b"c").is_err() && memory.write_at(0, b"d").is_err());
        memory.heal();
        memory.write_at(0, b"e").unwrap();
        assert!(memory.write_at(4095, b"ee").is_err() && memory.read_at(4096, &mut [0]).is_err());
    }

    #[test]
    fn a_write_can_fail_when_half_of_it_or_none_has_arrived() {
        let memory = Memory::new(4096);
        memory.fail_at(Operation::ShortWrite, 0, false);
        memory.fail_at(Operation::NoSpace, 1, false);
        assert!(memory.write_at(0, b"half").is_err());
        let full = memory.write_at(8, b"none").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        memory.write_at(16, b"all").unwrap();
        assert_eq!(read(&memory, 0, 20), b"ha\0\0\0\0\0\0\0\0\0\0\0\0\0\0all\0");
    }
}
