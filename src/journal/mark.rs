//! How far the segments of a device have ever been used: what lies behind has no headers to be read.
//!
//! On a card of 32 GB the headers alone would be 64 MB to read. The mark is raised, and durable, before the first segment behind it is written
//! to. It stands twice, and each copy is true by itself; where neither can be read every segment is looked at.

use std::io;

use super::superblock::Superblock;
use super::word;
use crate::device::Device;
use crate::limits::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"PostfUse";
/// The blocks that hold it.
const BLOCKS: [u64; 2] = [2, 3];
/// It is raised by so many segments at a time: one flush more for each 64 MiB, at 4 MiB a segment.
const STEP: u32 = 16;

/// The mark's two copies on a new store, or raised. Not durable before the next flush.
pub(super) fn write(device: &dyn Device, superblock: &Superblock, mark: u32) -> io::Result<()> {
    BLOCKS.iter().try_for_each(|number| write_copy(device, superblock, *number, mark))
}

fn write_copy(device: &dyn Device, superblock: &Superblock, number: u64, mark: u32) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    block[..8].copy_from_slice(&MAGIC);
    block[8..12].copy_from_slice(&mark.to_le_bytes());
    let hash = superblock.key.hash(&[&block[..16]]);
    block[16..24].copy_from_slice(&hash.to_le_bytes());
    device.write_at(number * BLOCK_BYTES as u64, &block)
}

fn read_copy(device: &dyn Device, superblock: &Superblock, number: u64) -> Option<u32> {
    let mut block = [0; 24];
    device.read_at(number * BLOCK_BYTES as u64, &mut block).ok()?;
    let good = block[..8] == MAGIC && word::u64(&block, 16) == superblock.key.hash(&[&block[..16]]);
    good.then(|| word::u32(&block, 8))
}

/// The copy that is bad, and what the other one says. None: both are good, or neither.
fn bad_copy(device: &dyn Device, superblock: &Superblock) -> Option<(u64, u32)> {
    match BLOCKS.map(|number| read_copy(device, superblock, number)) {
        [Some(mark), None] => Some((BLOCKS[1], mark)),
        [None, Some(mark)] => Some((BLOCKS[0], mark)),
        _ => None,
    }
}

/// Whether one of the two copies is bad.
pub(super) fn has_bad_copy(device: &dyn Device, superblock: &Superblock) -> bool {
    bad_copy(device, superblock).is_some()
}

/// Makes a bad copy what the other one is; returns how many. Not durable before the next flush.
pub(super) fn mend(device: &dyn Device, superblock: &Superblock) -> io::Result<u64> {
    let Some((number, mark)) = bad_copy(device, superblock) else { return Ok(0) };
    write_copy(device, superblock, number, mark).map(|()| 1)
}

/// No segment of this index or a higher one has ever been used. The lower of two marks is true, too: neither was durable without the other
/// when a segment behind it was used.
pub(super) fn read(device: &dyn Device, superblock: &Superblock) -> u32 {
    let marks = BLOCKS.iter().filter_map(|number| read_copy(device, superblock, *number));
    marks.min().unwrap_or(superblock.segment_count).min(superblock.segment_count)
}

/// The mark that a segment of this index needs.
pub(super) fn above(index: u32, superblock: &Superblock) -> u32 {
    index.saturating_add(1).next_multiple_of(STEP).min(superblock.segment_count)
}

#[cfg(test)]
mod tests {
    use super::super::superblock::{Found, read as read_superblock};
    use super::super::{Format, format};
    use super::*;
    use crate::device::{Memory, Random};

    #[test]
    fn either_copy_suffices_and_without_them_all_segments_count() {
        let device = Memory::new(101 * 16384);
        let options = Format { segment_bytes: Some(16384), force: false };
        format(&device, &options, &mut |bytes| Random(1).fill(bytes)).unwrap();
        let Found::Store(superblock, _) = read_superblock(&device).unwrap() else { panic!() };
        assert_eq!(read(&device, &superblock), 0);
        write(&device, &superblock, 48).unwrap();
        for spoilt in [&[][..], &[2], &[3], &[2, 3]] {
            let copy = device.copy();
            spoilt.iter().for_each(|block| copy.write_at(block * 4096 + 9, &[1]).unwrap());
            assert_eq!(read(&copy, &superblock), if spoilt.len() == 2 { 100 } else { 48 });
        }
        assert_eq!([0, 15, 16, 98, 99].map(|index| above(index, &superblock)), [16, 16, 32, 100, 100]);
    }
}
