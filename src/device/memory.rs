//! A device in memory with a power switch: it loses, keeps, reorders and tears what was not flushed. Seeded, so every run repeats.
//!
//! Never for real mail. Compiled always, because the crash tests of every layer above stand on it.
//! Invariant: what was flushed is never changed by a cut; what was not flushed may come out in any mixture of 512-byte sectors.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Device, beyond_the_end, within};

/// Sharing blocks makes a copy of a large, mostly empty medium cheap: the crash tests make thousands.
const BLOCK: usize = 4096;
/// The unit in which a medium tears.
const SECTOR: usize = 512;

/// What became of the writes that no flush has covered when power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// None arrived.
    Lost,
    /// All arrived.
    Kept,
    /// Some arrived whole, in any order.
    Subset,
    /// Each sector of each write arrived, did not, or is garbage.
    Torn,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 4] = [Outcome::Lost, Outcome::Kept, Outcome::Subset, Outcome::Torn];
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `read_at`
    Read,
    /// `write_at`
    Write,
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

/// Blocks that were ever written; the others are zeros.
#[derive(Clone, Default)]
struct Image(HashMap<u64, Arc<[u8; BLOCK]>>);

impl Image {
    fn read(&self, mut offset: u64, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            let start = (offset % BLOCK as u64) as usize;
            let (part, rest) = buf.split_at_mut(buf.len().min(BLOCK - start));
            match self.0.get(&(offset / BLOCK as u64)) {
                Some(block) => part.copy_from_slice(&block[start..start + part.len()]),
                None => part.fill(0),
            }
            offset += part.len() as u64;
            buf = rest;
        }
    }

    /// Whole blocks of the range are zeros again.
    fn erase(&mut self, offset: u64, length: u64) {
        let blocks = offset.div_ceil(BLOCK as u64)..(offset + length) / BLOCK as u64;
        blocks.for_each(|block| drop(self.0.remove(&block)));
    }

    fn write(&mut self, mut offset: u64, mut buf: &[u8]) {
        while !buf.is_empty() {
            let start = (offset % BLOCK as u64) as usize;
            let (part, rest) = buf.split_at(buf.len().min(BLOCK - start));
            let block = self.0.entry(offset / BLOCK as u64).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[start..start + part.len()].copy_from_slice(part);
            offset += part.len() as u64;
            buf = rest;
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
    /// What a flush has covered.
    durable: Image,
    /// Writes that no flush has covered, in their order.
    unflushed: Vec<(u64, Vec<u8>)>,
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
    /// What is discarded stays as it was, as on a card that takes no hints.
    ignores_discards: bool,
    inner: Mutex<Inner>,
}

impl Memory {
    /// A medium of `size` bytes, all zeros.
    pub fn new(size: u64) -> Memory {
        Memory { size, ignores_discards: false, inner: Mutex::default() }
    }

    /// A medium that takes no hints: what is discarded stays as it was.
    pub fn ignoring_discards(self) -> Memory {
        Memory { ignores_discards: true, ..self }
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
        let inner = self.inner();
        let mut image = inner.durable.clone();
        let mut random = Random(seed);
        match outcome {
            Outcome::Lost => {}
            Outcome::Kept => image = inner.arrived(),
            Outcome::Subset => {
                let mut kept: Vec<_> = inner.unflushed.iter().filter(|_| random.below(2) == 0).collect();
                while !kept.is_empty() {
                    let (offset, bytes) = kept.swap_remove(random.below(kept.len() as u64) as usize);
                    image.write(*offset, bytes);
                }
            }
            Outcome::Torn => {
                for (offset, bytes) in &inner.unflushed {
                    tear(&mut image, *offset, bytes, &mut random);
                }
            }
        }
        let inner = Inner { current: image.clone(), durable: image, ..Inner::default() };
        Memory { size: self.size, ignores_discards: self.ignores_discards, inner: Mutex::new(inner) }
    }

    /// The same medium again, with its power on and nothing that waits lost, as a device of its own.
    pub fn copy(&self) -> Memory {
        self.survive(Outcome::Kept, 0)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes each sector of `bytes`, or garbage, or nothing.
fn tear(image: &mut Image, offset: u64, bytes: &[u8], random: &mut Random) {
    let mut at = 0;
    while at < bytes.len() {
        let place = offset + at as u64;
        let room = SECTOR - (place % SECTOR as u64) as usize;
        let part = &bytes[at..bytes.len().min(at + room)];
        match random.below(5) {
            0 | 1 => {}
            2 | 3 => image.write(place, part),
            _ => {
                let mut garbage = vec![0; part.len()];
                random.fill(&mut garbage);
                image.write(place, &garbage);
            }
        }
        at += part.len();
    }
}

impl Inner {
    /// What is on the medium when all that waits arrives.
    fn arrived(&self) -> Image {
        let mut image = self.durable.clone();
        self.unflushed.iter().for_each(|(offset, bytes)| image.write(*offset, bytes));
        image
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
        inner.bytes_written += buf.len() as u64;
        inner.current.write(offset, buf);
        inner.unflushed.push((offset, buf.to_vec()));
        if !inner.powered() {
            return Err(no_power());
        }
        if inner.fails(Operation::Write, index) { Err(injected()) } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let index = inner.flushes;
        inner.flushes += 1;
        if !inner.powered() {
            return Err(no_power());
        }
        if inner.fails(Operation::Flush, index) {
            inner.unflushed.clear();
            return Err(injected());
        }
        inner.durable = inner.arrived();
        inner.unflushed.clear();
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
        if self.ignores_discards {
            return Ok(());
        }
        inner.current.erase(offset, length);
        inner.durable.erase(offset, length);
        inner.unflushed.retain(|(at, _)| *at < offset || *at >= offset + length);
        Ok(())
    }

    fn prepare(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// Of everything, whatever the range.
    fn forget_cache(&self, _offset: u64, _length: u64) {
        let mut inner = self.inner();
        inner.current = inner.arrived();
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
    fn a_cut_keeps_what_was_flushed_and_may_lose_the_rest() {
        let memory = Memory::new(1 << 20);
        memory.write_at(0, &[1; 9000]).unwrap();
        memory.flush().unwrap();
        memory.cut_after(1);
        memory.write_at(9000, &[2; 5000]).unwrap();
        assert!(memory.write_at(20_000, &[3; 10]).is_err());
        assert!(memory.flush().is_err());
        assert!(memory.read_at(0, &mut [0]).is_err());
        for outcome in Outcome::ALL {
            for seed in 0..20 {
                let after = memory.survive(outcome, seed);
                assert_eq!(read(&after, 0, 9000), vec![1; 9000]);
                assert_eq!(read(&after, 100_000, 10), vec![0; 10]);
            }
        }
        assert_eq!(read(&memory.survive(Outcome::Lost, 0), 9000, 5000), vec![0; 5000]);
        assert_eq!(read(&memory.survive(Outcome::Kept, 0), 9000, 5000), vec![2; 5000]);
        let torn: Vec<_> =
            (0..8).map(|seed| read(&memory.survive(Outcome::Torn, seed), 9000, 5000)).collect();
        assert!(torn.iter().any(|bytes| bytes.contains(&2) && bytes.contains(&0)));
        assert_eq!(torn[3], read(&memory.survive(Outcome::Torn, 3), 9000, 5000));
    }

    #[test]
    fn reordered_writes_to_one_place_leave_either_of_them() {
        let memory = Memory::new(4096);
        memory.write_at(0, b"old").unwrap();
        memory.write_at(0, b"new").unwrap();
        let seen: std::collections::HashSet<_> =
            (0..64).map(|seed| read(&memory.survive(Outcome::Subset, seed), 0, 3)).collect();
        assert_eq!(seen.len(), 3);
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
}
