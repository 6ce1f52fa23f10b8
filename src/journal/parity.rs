//! Parity of a sealed segment: what makes a loss of some blocks in a row good again.
//!
//! At the end of the segment lie as many blocks of XOR as may be lost in a row, and a head with the CRC of every block that they cover.
//! Block number b is in column b modulo that many; a block of XOR is the XOR of its column, and lies where it is one more block of that
//! column: so no run of blocks that is not longer than the columns are many holds two of one column, wherever it begins.
//! Refuses to make good what does not fit its CRC then, and everything of a column that has lost two blocks. Nothing depends on it: without
//! parity a segment is as whole as before. Who gets a block from here still asks the frame's own hash and checksum.

use std::collections::BTreeMap;

use super::frame::{self, Key};
use super::superblock::Superblock;
use super::{SEGMENT_START, word};
use crate::device::Device;
use crate::limits::{BLOCK_BYTES, PARITY_PARTS, PROTECTED_SEGMENT_BYTES_MIN};

const MAGIC: [u8; 8] = *b"PostfPar";
/// Where the checksums begin in the head, and where its hash lies.
const CHECKSUMS_AT: usize = 32;
const HASH_AT: usize = BLOCK_BYTES - 8;
/// Read at a time, blocks.
pub(super) const STRIDE: u64 = 16;

const BLOCK: u64 = BLOCK_BYTES as u64;

impl Superblock {
    /// Blocks of XOR of a segment: so many lost in a row can be made good. 0: there is no parity in segments that are so small. A head and one
    /// block of XOR would be 3% of the smallest, and less room there means much more compaction.
    pub(super) fn columns(&self) -> u64 {
        let segment = u64::from(self.segment_bytes);
        if segment < PROTECTED_SEGMENT_BYTES_MIN { 0 } else { segment / BLOCK / PARITY_PARTS }
    }

    /// Where frames and summaries end in a segment, bytes: what is behind is kept for parity.
    pub(super) fn parity_start(&self) -> u64 {
        match self.columns() {
            0 => u64::from(self.segment_bytes),
            columns => u64::from(self.segment_bytes) / BLOCK * BLOCK - (columns + 1) * BLOCK,
        }
    }
}

/// What parity covers, and what must stand there: the last block of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Position of the last frame covered.
    pub last: u64,
    /// Number of the block behind the last frame, and of the first block of summaries: those between are not covered.
    pub frames_end: u64,
    pub floor: u64,
    /// By number of the block; of one that is not covered 0.
    pub checksums: Vec<u32>,
}

impl Head {
    #[cfg(any(test, fuzzing))]
    pub(super) fn covers(&self, block: u64) -> bool {
        block < self.frames_end || (self.floor..self.checksums.len() as u64).contains(&block)
    }

    fn encode(&self, key: &Key, incarnation: u64) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&(self.frames_end as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.floor as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.to_le_bytes());
        for (at, checksum) in bytes[CHECKSUMS_AT..HASH_AT].chunks_exact_mut(4).zip(&self.checksums) {
            at.copy_from_slice(&checksum.to_le_bytes());
        }
        let hash = key.hash(&[&incarnation.to_le_bytes(), &bytes[..HASH_AT]]);
        bytes[HASH_AT..].copy_from_slice(&hash.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], superblock: &Superblock, incarnation: u64) -> Option<Head> {
        let (told, hash) = bytes.split_at_checked(HASH_AT)?;
        let blocks = superblock.parity_start() / BLOCK;
        let made = superblock.key.hash(&[&incarnation.to_le_bytes(), told]);
        if told[..8] != MAGIC || word::u64(hash, 0) != made {
            return None;
        }
        let (frames_end, floor) = (u64::from(word::u32(told, 8)), u64::from(word::u32(told, 12)));
        let checksums = told[CHECKSUMS_AT..].chunks_exact(4).take(blocks as usize);
        let checksums: Vec<u32> = checksums.map(|bytes| word::u32(bytes, 0)).collect();
        let adds_up = frames_end <= floor && floor <= blocks && checksums.len() as u64 == blocks;
        adds_up.then_some(Head { last: word::u64(told, 16), frames_end, floor, checksums })
    }

    /// The head of this use of a segment, if there is a good one.
    pub(super) fn read(
        device: &dyn Device,
        superblock: &Superblock,
        index: u32,
        incarnation: u64,
    ) -> Option<Head> {
        let columns = superblock.columns();
        if columns == 0 {
            return None;
        }
        let place = superblock.base(index) + superblock.parity_start() + columns * BLOCK;
        let mut block = vec![0; BLOCK_BYTES];
        device.read_at(place, &mut block).ok()?;
        Head::decode(&block, superblock, incarnation)
    }
}

/// The XOR of each column, and the CRC of each block, as they are read.
#[derive(Default)]
pub(super) struct Columns {
    sums: Vec<[u8; BLOCK_BYTES]>,
    checksums: Vec<u32>,
}

impl Columns {
    pub(super) fn new(superblock: &Superblock) -> Columns {
        let blocks = superblock.parity_start() / BLOCK;
        Columns {
            sums: vec![[0; BLOCK_BYTES]; superblock.columns() as usize],
            checksums: vec![0; blocks as usize],
        }
    }

    fn sum(&mut self, number: u64) -> &mut [u8; BLOCK_BYTES] {
        let column = number as usize % self.sums.len().max(1);
        &mut self.sums[column]
    }

    /// Adds a block.
    pub(super) fn add(&mut self, number: u64, block: &[u8]) {
        if let Some(checksum) = self.checksums.get_mut(number as usize) {
            *checksum = frame::checksum(block);
        }
        add(self.sum(number), block);
    }

    /// The parity as it is written: from [`Superblock::parity_start`] on, to the end of the segment.
    pub(super) fn finish(
        mut self,
        superblock: &Superblock,
        incarnation: u64,
        frames: (u64, u64),
        floor: u64,
    ) -> Vec<u8> {
        let (last, end) = frames;
        let start = superblock.parity_start() / BLOCK;
        let mut bytes = Vec::with_capacity((self.sums.len() + 1) * BLOCK_BYTES);
        for number in start..start + superblock.columns() {
            bytes.extend_from_slice(self.sum(number));
        }
        let (frames_end, floor) = (end.div_ceil(BLOCK), floor / BLOCK);
        let head = Head { last, frames_end, floor, checksums: self.checksums };
        bytes.extend_from_slice(&head.encode(&superblock.key, incarnation));
        bytes
    }
}

fn add(sum: &mut [u8; BLOCK_BYTES], block: &[u8]) {
    let (sums, words) = (sum.as_chunks_mut::<8>().0, block.as_chunks::<8>().0);
    for (sum, word) in sums.iter_mut().zip(words) {
        *sum = (u64::from_ne_bytes(*sum) ^ u64::from_ne_bytes(*word)).to_ne_bytes();
    }
}

/// What a segment's parity tells of its blocks. At most one block of each column is held.
#[derive(Debug)]
pub(super) struct Examined {
    pub head: Head,
    /// Blocks that are not as they were written, by number: as they were written, or `None` where that cannot be found out.
    pub bad: BTreeMap<u64, Option<Vec<u8>>>,
    /// Blocks of XOR that are not, though their whole column is as it was written; and what they should be.
    pub bad_sums: BTreeMap<u64, Vec<u8>>,
}

impl Examined {
    /// Blocks that could be made good, as they were written.
    pub(super) fn rebuilt(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.bad.iter().filter_map(|(number, block)| Some((*number, block.as_deref()?)))
    }
}

/// Reads all that parity covers, and makes good what it can. `None`: the segment has no parity.
pub(super) fn examine(
    device: &dyn Device,
    superblock: &Superblock,
    index: u32,
    incarnation: u64,
) -> Option<Examined> {
    let head = Head::read(device, superblock, index, incarnation)?;
    let base = superblock.base(index);
    let (mut columns, mut bad) = (Columns::new(superblock), Vec::new());
    let blocks = head.checksums.len() as u64;
    for range in [0..head.frames_end, head.floor..blocks] {
        each_block(device, base, range, &mut |number, block| {
            let wanted = head.checksums.get(number as usize).copied();
            match block.filter(|block| Some(frame::checksum(block)) == wanted) {
                Some(block) => add(columns.sum(number), block),
                None => bad.push(number),
            }
        });
    }
    let mut examined = Examined { head, bad: BTreeMap::new(), bad_sums: BTreeMap::new() };
    each_block(device, base, blocks..blocks + superblock.columns(), &mut |number, sum| {
        let mut of_column =
            bad.iter().filter(|bad| **bad % superblock.columns() == number % superblock.columns());
        let rest = columns.sum(number);
        match (of_column.next(), of_column.next(), sum) {
            (None, _, Some(sum)) if *sum == rest[..] => {}
            (None, ..) => drop(examined.bad_sums.insert(number, rest.to_vec())),
            (Some(one), None, Some(sum)) => {
                add(rest, sum);
                let good = examined.head.checksums.get(*one as usize) == Some(&frame::checksum(rest));
                examined.bad.insert(*one, good.then(|| rest.to_vec()));
            }
            (Some(_), ..) => {}
        }
    });
    for number in bad {
        examined.bad.entry(number).or_default();
    }
    Some(examined)
}

/// Shows each block of the range; `None` is one that cannot be read.
pub(super) fn each_block(
    device: &dyn Device,
    base: u64,
    range: std::ops::Range<u64>,
    show: &mut dyn FnMut(u64, Option<&[u8]>),
) {
    let mut buffer = vec![0; (STRIDE * BLOCK) as usize];
    let mut number = range.start;
    while number < range.end {
        let count = STRIDE.min(range.end - number);
        let buffer = &mut buffer[..(count * BLOCK) as usize];
        let read = device.read_at(base + number * BLOCK, buffer).is_ok();
        for (number, block) in (number..).zip(buffer.chunks_exact_mut(BLOCK_BYTES)) {
            let good = read || device.read_at(base + number * BLOCK, block).is_ok();
            show(number, good.then_some(&*block));
        }
        number += count;
    }
}

const _: () = assert!(SEGMENT_START == 2 * BLOCK);
const _: () = assert!(
    CHECKSUMS_AT
        + 4 * (crate::limits::SEGMENT_BYTES_MAX / BLOCK * (PARITY_PARTS - 1) / PARITY_PARTS) as usize
        <= HASH_AT
);
const _: () = assert!(PROTECTED_SEGMENT_BYTES_MIN / BLOCK >= PARITY_PARTS);
