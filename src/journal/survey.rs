//! What a store consists of: for who copies it, also beside a server that is writing.
//!
//! Reads, and decides nothing that an opening would not decide. Whole segments are the unit: one that is sealed never changes, until
//! compaction frees it and it is used again; who has copied one asks whether it is still the same.

use super::recovery::Recovered;
use super::segment::{HeaderBlock, SegmentHeader};
use super::superblock::Superblock;
use super::{Lost, OpenError, Report, Trust, index, tail};
use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::Position;

/// The segments of a store at some moment.
#[derive(Debug)]
pub struct Survey {
    /// What the store says of itself.
    pub superblock: Superblock,
    /// In the order of writing.
    pub segments: Vec<Surveyed>,
    /// What an opening would say.
    pub report: Report,
}

/// A segment in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Which one of the device.
    pub index: u32,
    /// Its place in the order of writing.
    pub sequence: u64,
    /// This use of it.
    pub incarnation: u64,
    /// Another one follows it: it does not change any more.
    pub sealed: bool,
}

/// Looks which segments make up the store.
///
/// # Errors
/// As [`super::verify`].
pub fn survey(device: &dyn Device) -> Result<Survey, OpenError> {
    let mut index = index::Index::default();
    let (superblock, recovered) = tail::recover(device, &mut index, &mut |_| {}, Trust::Snapshot, u64::MAX)?;
    let Recovered { chain, leaving, mut report, .. } = recovered;
    let last = chain.len().saturating_sub(1);
    let surveyed = |header: &SegmentHeader, sealed| Surveyed {
        index: header.index,
        sequence: header.sequence,
        incarnation: header.incarnation,
        sealed,
    };
    let kept = chain.iter().enumerate().map(|(number, kept)| surveyed(&kept.header, number < last));
    let mut segments: Vec<Surveyed> = kept.collect();
    let mut gone = Vec::new();
    // A header whose batch was torn says that these are free. Without it, and a copy goes without it, they are members as before; and where they
    // are not to be found, it will say so. (Beside a server: the batch was not torn. Its segment has come and gone while this looked.)
    for index in leaving {
        let older =
            |header: &SegmentHeader| segments.last().is_some_and(|last| header.sequence < last.sequence);
        match headers(device, &superblock, index).find(older) {
            Some(header) => gone.push(surveyed(&header, true)),
            None => {
                let (first, last) = (Position(0), Position(0));
                report.lose(Lost { first, last, offset: superblock.base(index), frame: None });
            }
        }
    }
    segments.extend(gone);
    segments.sort_unstable_by_key(|segment| segment.sequence);
    Ok(Survey { segments, superblock, report })
}

/// The copies of a segment's header that are good.
fn headers<'a>(
    device: &'a dyn Device,
    superblock: &'a Superblock,
    index: u32,
) -> impl Iterator<Item = SegmentHeader> + 'a {
    (0..2).filter_map(move |copy| {
        let mut block = vec![0; BLOCK_BYTES];
        device.read_at(superblock.base(index) + copy * BLOCK_BYTES as u64, &mut block).ok()?;
        HeaderBlock::read(&block, superblock, index).map(|(block, _)| block.header)
    })
}

impl Survey {
    /// Whether another look has found the same segments, and misses the same.
    pub fn is_as(&self, other: &Survey) -> bool {
        let missing = |survey: &Survey| (survey.report.lost.clone(), survey.report.unreadable.clone());
        self.segments == other.segments && missing(self) == missing(other)
    }

    /// Whether the segment is still in the same use. What was read of it before is then what it held.
    pub fn is_same(&self, device: &dyn Device, segment: &Surveyed) -> bool {
        headers(device, &self.superblock, segment.index)
            .any(|header| (header.sequence, header.incarnation) == (segment.sequence, segment.incarnation))
    }
}
