//! `check --repair`: writes back what the medium has lost and what is still known for certain, where it was.
//!
//! A copy from its twin, blocks from parity, parity from what it covers. Refuses everything else: nothing is cut, dropped, moved or guessed,
//! and a block is written only when all frames in it are as their own hashes say. A block in place of a bad one is all that is ever
//! written, so a cut in the middle leaves it as bad as it was, and as well known. To be done while nobody else has the store.

use std::io;
use std::ops::Range;

use super::protect::Protect;
use super::recovery::Kept;
use super::segment::{HeaderBlock, SegmentHeader};
use super::superblock::{self, Superblock};
use super::window::Window;
use super::{OpenError, SEGMENT_START, Trust, frame, index, mark, tail};
use crate::device::Device;
use crate::limits::BLOCK_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Copies of the superblock.
    pub superblocks: u64,
    /// Copies of the mark.
    pub marks: u64,
    /// Copies of headers of segments.
    pub headers: u64,
    /// Blocks of frames and summaries.
    pub blocks: u64,
    /// Segments whose parity was bad, or that had none.
    pub parities: u64,
}

/// Writes back what can be, durably.
///
/// # Errors
/// As [`super::verify`]; the medium cannot be written. Then some of it may have been done.
pub fn repair(device: &dyn Device) -> Result<Repaired, OpenError> {
    let mut index = index::Index::default();
    let (superblock, recovered) = tail::recover(device, &mut index, &mut |_| {}, Trust::Snapshot, u64::MAX)?;
    let mut done = Repaired {
        superblocks: superblock::mend(device, &superblock)?,
        marks: mark::mend(device, &superblock)?,
        ..Repaired::default()
    };
    for (number, kept) in recovered.chain.iter().enumerate() {
        done.headers += mend_header(device, &superblock, &kept.header)?;
        if number + 1 < recovered.chain.len() && superblock.columns() > 0 {
            mend_segment(device, &superblock, kept, &mut done)?;
        }
    }
    device.flush()?;
    Ok(done)
}

/// Makes the one copy the other one, where one is bad.
fn mend_header(device: &dyn Device, superblock: &Superblock, header: &SegmentHeader) -> io::Result<u64> {
    let places = [0, 1].map(|copy| superblock.base(header.index) + copy * BLOCK);
    let copies = places.map(|place| {
        let mut block = vec![0; BLOCK_BYTES];
        let read = device.read_at(place, &mut block).is_ok();
        Some(block).filter(|block| read && is_header(block, superblock, header))
    });
    match copies {
        [Some(good), None] => device.write_at(places[1], &good).map(|()| 1),
        [None, Some(good)] => device.write_at(places[0], &good).map(|()| 1),
        _ => Ok(0),
    }
}

fn is_header(block: &[u8], superblock: &Superblock, header: &SegmentHeader) -> bool {
    HeaderBlock::read(block, superblock, header.index).is_some_and(|(found, _)| found.header == *header)
}

fn mend_segment(
    device: &dyn Device,
    superblock: &Superblock,
    kept: &Kept,
    done: &mut Repaired,
) -> io::Result<()> {
    let header = &kept.header;
    let last = kept.end.unwrap_or(kept.tally.last);
    let base = superblock.base(header.index);
    let mut window = Window::new(device, superblock, header);
    window.mend(0);
    let Some(examined) = window.examined().filter(|examined| examined.head.last >= last) else {
        // Without the frames that are as they were written there is nothing to vouch for.
        done.parities += u64::from(Protect::new(superblock, header, last).run(device));
        return Ok(());
    };
    let sums: Vec<_> = examined.bad_sums.iter().map(|(number, sum)| (*number, sum.clone())).collect();
    let rebuilt: Vec<_> = examined.rebuilt().map(|(number, block)| (number, block.to_vec())).collect();
    let doubtful = if rebuilt.is_empty() { Vec::new() } else { doubtful(&mut window, header, last) };
    for (number, block) in rebuilt {
        let place = number * BLOCK..(number + 1) * BLOCK;
        let believed = if place.end <= SEGMENT_START {
            is_header(&block, superblock, header)
        } else {
            doubtful.iter().all(|range| range.end <= place.start || place.end <= range.start)
        };
        if believed {
            device.write_at(base + place.start, &block)?;
            *if place.end <= SEGMENT_START { &mut done.headers } else { &mut done.blocks } += 1;
        }
    }
    done.parities += u64::from(!sums.is_empty());
    sums.iter().try_for_each(|(number, sum)| device.write_at(base + number * BLOCK, sum))
}

/// Where frames of the segment are not as they were written, with what parity has made good.
fn doubtful(window: &mut Window<'_>, header: &SegmentHeader, last: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let (mut offset, mut expected) = (SEGMENT_START, header.first_position);
    while expected <= last {
        let mut next = window.search(offset);
        while let Some((at, _)) = next.filter(|(_, found)| found.position < expected) {
            next = window.search(at + frame::HEADER_BYTES as u64);
        }
        let Some((at, found)) = next.filter(|(_, found)| found.position <= last) else {
            ranges.push(offset..u64::MAX);
            break;
        };
        let end = at + found.frame_bytes();
        if found.position > expected {
            ranges.push(offset..at);
        }
        if frame::checksum(window.payload(at, &found)) != found.checksum {
            ranges.push(at..end);
        }
        (offset, expected) = (end, found.position + 1);
    }
    ranges
}
