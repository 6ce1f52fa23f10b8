//! The append-only log on a device: frames in segments. This page is the on-disk specification.

use std::fmt;
use std::io;

use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, Position, Serial};

mod batch;
mod frame;
mod index;
mod recovery;
mod report;
mod segment;
mod superblock;
mod tail;
mod window;
mod word;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use frame::{Kind, reserved};
pub use index::{Extent, ReadError};
pub use report::{Cut, Lost, LostFrame, Report};
pub use superblock::{Format, FormatError, Superblock, format};
pub use tail::Journal;

/// The number of the format that this page describes.
pub const FORMAT: u32 = 1;
/// Where the frames of a segment begin: behind the two copies of its header, bytes.
const SEGMENT_START: u64 = 2 * BLOCK_BYTES as u64;
/// Fewest segments of a store: the reserves, and some to write to.
const MINIMUM_SEGMENTS: u32 = 8;

/// A record, as [`Journal::open`] finds it.
#[derive(Debug)]
pub struct Found<'a> {
    /// Whose it is.
    pub account: AccountId,
    /// Where it stands in the order of writing.
    pub position: Position,
    /// Which change it is.
    pub serial: Serial,
    /// What the store wrote.
    pub payload: &'a [u8],
}

/// Why a frame was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// No segment is left for it. Records are refused later than bodies, so that a full store can still expunge.
    Full,
    /// Writing has failed twice.
    ReadOnly,
    /// Larger than a frame of this store can be.
    TooLarge,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendError::Full => "the store is full",
            AppendError::ReadOnly => "the store is read-only, because writing to it has failed",
            AppendError::TooLarge => "too large for a frame of this store",
        })
    }
}

impl std::error::Error for AppendError {}

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The device failed.
    Io(io::Error),
    /// Neither superblock is one.
    NoStore,
    /// A store of this other format.
    Format(u32),
    /// The device is smaller than the store says.
    Truncated,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(error) => write!(f, "the device failed: {error}"),
            OpenError::NoStore => write!(f, "there is no store"),
            OpenError::Format(format) => write!(f, "a store of format {format}; this program knows {FORMAT}"),
            OpenError::Truncated => write!(f, "smaller than the store that it holds"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::Io(error)
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is durable; the accounts that its records touch, ascending.
    Durable {
        /// Each once.
        accounts: Vec<AccountId>,
    },
    /// Writing failed once: the frames are pending again, and the next batch tries elsewhere.
    Again,
    /// Writing failed again: everything behind [`Journal::durable`] is lost, and the journal is read-only for good.
    Failed,
}

/// How full a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of all segments.
    pub raw_bytes: u64,
    /// Bytes of segments in use, without the rest of the one being written.
    pub used_bytes: u64,
    /// Segments that can still be taken, with the reserves.
    pub free_segments: u32,
}

/// Reads everything, and checks every frame's payload, from the medium. Changes nothing.
pub fn verify(device: &dyn Device) -> Result<Report, OpenError> {
    let mut index = index::Index::default();
    let (_, recovered) = tail::recover(device, &mut index, &mut |_| {}, true)?;
    Ok(recovered.report)
}
