//! What a store consists of: for who copies it, also beside a server that is writing.
//!
//! Reads, and decides nothing that an opening would not decide. Whole segments are the unit: one that is sealed never changes, until
//! compaction frees it and it is used again; who has copied one asks whether it is still the same.

use super::recovery::Recovered;
use super::segment::HeaderBlock;
use super::superblock::Superblock;
use super::{OpenError, Report, Trust, index, tail};
use crate::device::Device;
use crate::limits::BLOCK_BYTES;

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
    let Recovered { chain, report, .. } = recovered;
    let last = chain.len().saturating_sub(1);
    let segments = chain.iter().enumerate().map(|(number, kept)| Surveyed {
        index: kept.header.index,
        sequence: kept.header.sequence,
        incarnation: kept.header.incarnation,
        sealed: number < last,
    });
    Ok(Survey { segments: segments.collect(), superblock, report })
}

impl Survey {
    /// Whether the segment is still in the same use. What was read of it before is then what it held.
    pub fn is_same(&self, device: &dyn Device, segment: &Surveyed) -> bool {
        let mut block = vec![0; BLOCK_BYTES];
        (0..2).any(|copy| {
            let at = self.superblock.base(segment.index) + copy * BLOCK_BYTES as u64;
            let header = device.read_at(at, &mut block).ok();
            header.and_then(|()| HeaderBlock::read(&block, &self.superblock, segment.index)).is_some_and(
                |(HeaderBlock { header, .. }, _)| {
                    (header.sequence, header.incarnation) == (segment.sequence, segment.incarnation)
                },
            )
        })
    }
}
