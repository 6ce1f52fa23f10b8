//! The two blocks that say what the device holds, and `format`, which writes them.
//!
//! Refuses to write over an existing store unless forced, and a device that is too small to be one.

use std::fmt;
use std::io;

use super::frame::{self, Key};
use super::segment::SEGMENTS_MAX;
use super::{FORMAT, MINIMUM_SEGMENTS, SEGMENT_START, mark, word};
use crate::device::Device;
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

const MAGIC: [u8; 8] = *b"Postfach";
/// Bytes of a superblock that mean something.
pub(super) const SUPERBLOCK_BYTES: usize = 64;
/// Smallest segment that `Format::segment_bytes` may ask for, bytes: for tests, whose stores fill quickly.
const SEGMENT_BYTES_SMALLEST: u32 = 4 * BLOCK_BYTES as u32;

/// What `format` is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Format {
    /// Bytes of a segment: whole blocks. `None`: chosen by the size of the device.
    pub segment_bytes: Option<u32>,
    /// Write over an existing store.
    pub force: bool,
}

/// What a store says of itself. Written once, by [`format()`].
#[derive(Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Which store this is: random.
    pub store_number: u64,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Segments of the store.
    pub segment_count: u32,
    /// Where the store's UIDVALIDITY counter starts: random, 31 bits, at least 1.
    pub uidvalidity_start: u32,
    pub(super) key: Key,
}

impl fmt::Debug for Superblock {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {:016x}: {} × {} B", self.store_number, self.segment_count, self.segment_bytes)
    }
}

/// Why a device was not formatted.
#[derive(Debug)]
pub enum FormatError {
    /// There is a store, and no force.
    Exists,
    /// The device has too few bytes.
    TooSmall {
        /// The least that would do, bytes.
        minimum_bytes: u64,
    },
    /// A segment size that is no multiple of the block, or out of bounds.
    SegmentBytes,
    /// The device failed.
    Io(io::Error),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Exists => write!(f, "there is a store already"),
            FormatError::TooSmall { minimum_bytes } => {
                write!(f, "too small: a store needs at least {minimum_bytes} bytes")
            }
            FormatError::SegmentBytes => write!(f, "not a possible size of a segment"),
            FormatError::Io(error) => write!(f, "the device failed: {error}"),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> FormatError {
        FormatError::Io(error)
    }
}

/// What the two superblocks say.
pub(super) enum Found {
    /// A store; `copies` of the two are good.
    Store(Superblock, u32),
    /// A store of another format.
    Other(u32),
    /// No store.
    Nothing,
}

/// Makes an empty store. The device may hold anything: without a valid superblock old bytes mean nothing. What is refused is not written to.
pub fn format(
    device: &dyn Device,
    options: &Format,
    random: &mut dyn FnMut(&mut [u8]),
) -> Result<Superblock, FormatError> {
    let (segment_bytes, count) = segments(device.size(), options)?;
    match read(device) {
        Ok(Found::Nothing) => {}
        Ok(Found::Store(..) | Found::Other(_)) if !options.force => return Err(FormatError::Exists),
        Ok(_) => invalidate(device)?,
        // An unreadable block is no store; writing it may heal it.
        Err(_) if options.force => invalidate(device)?,
        Err(error) => return Err(error.into()),
    }
    let superblock = new(segment_bytes, count, random);
    let mut block = vec![0; BLOCK_BYTES];
    block[..SUPERBLOCK_BYTES].copy_from_slice(&superblock.encode());
    mark::write(device, &superblock, 0)?;
    // An older store is gone before the first copy of this one is there, so that no cut leaves one of each.
    device.flush()?;
    // A cut between the two leaves a whole store, since either copy suffices, or none.
    device.write_at(0, &block)?;
    device.flush()?;
    device.write_at(BLOCK_BYTES as u64, &block)?;
    device.flush()?;
    Ok(superblock)
}

/// Bytes of all segments that [`format()`] would make of a device of this size.
///
/// # Errors
/// What `format` would refuse such a device for.
pub fn raw_bytes(device_bytes: u64, options: &Format) -> Result<u64, FormatError> {
    segments(device_bytes, options).map(|(bytes, count)| u64::from(bytes) * u64::from(count))
}

/// Bytes of a segment, and how many there are on a device of this size.
fn segments(device_bytes: u64, options: &Format) -> Result<(u32, u32), FormatError> {
    let segment_bytes = match options.segment_bytes {
        Some(bytes) => bytes,
        None => {
            let wanted = (device_bytes / 64).checked_ilog2().map_or(0, |bits| 1 << bits);
            wanted.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) as u32
        }
    };
    let largest = SEGMENT_BYTES_MAX as u32;
    if !(SEGMENT_BYTES_SMALLEST..=largest).contains(&segment_bytes) || segment_bytes % BLOCK_BYTES as u32 != 0
    {
        return Err(FormatError::SegmentBytes);
    }
    let count = (device_bytes / u64::from(segment_bytes)).saturating_sub(1);
    if count < u64::from(MINIMUM_SEGMENTS) {
        let minimum_bytes = (u64::from(MINIMUM_SEGMENTS) + 1) * u64::from(segment_bytes);
        return Err(FormatError::TooSmall { minimum_bytes });
    }
    Ok((segment_bytes, u32::try_from(count).unwrap_or(u32::MAX).min(SEGMENTS_MAX)))
}

/// Whether there is a store, also one of another format.
pub fn is_store(device: &dyn Device) -> bool {
    !matches!(read(device), Ok(Found::Nothing))
}

/// Ends an older store: both copies go.
fn invalidate(device: &dyn Device) -> io::Result<()> {
    device.write_at(0, &vec![0; 2 * BLOCK_BYTES])
}

fn new(segment_bytes: u32, segment_count: u32, random: &mut dyn FnMut(&mut [u8])) -> Superblock {
    let mut number = [0; 8];
    let mut key = [0; 16];
    let mut start = [0; 4];
    random(&mut number);
    random(&mut key);
    random(&mut start);
    Superblock {
        store_number: u64::from_le_bytes(number),
        segment_bytes,
        segment_count,
        uidvalidity_start: (u32::from_le_bytes(start) & 0x7FFF_FFFF).max(1),
        key: Key::new(key),
    }
}

/// Reads both copies. An error only when neither could be read.
pub(super) fn read(device: &dyn Device) -> io::Result<Found> {
    let mut block = [0; SUPERBLOCK_BYTES];
    let mut found = Found::Nothing;
    let mut failure = None;
    let mut copies = 0;
    for index in 0..2 {
        if let Err(error) = device.read_at(index * BLOCK_BYTES as u64, &mut block) {
            failure = Some(error);
            continue;
        }
        match decode(&block) {
            Found::Nothing => {}
            // The first copy is written first: where the two differ, it is the newer one.
            other => {
                copies += 1;
                if matches!(found, Found::Nothing) {
                    found = other;
                }
            }
        }
    }
    match (found, failure) {
        (Found::Store(superblock, _), _) => Ok(Found::Store(superblock, copies)),
        (Found::Nothing, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

/// Writes a copy that is none again; returns how many. Not durable before the next flush.
pub(super) fn mend(device: &dyn Device, superblock: &Superblock) -> io::Result<u64> {
    let mut block = [0; SUPERBLOCK_BYTES];
    let places = [0, BLOCK_BYTES as u64];
    let bad = places.into_iter().filter(|place| {
        device.read_at(*place, &mut block).is_err() || matches!(decode(&block), Found::Nothing)
    });
    let bad: Vec<u64> = bad.collect();
    let mut whole = vec![0; BLOCK_BYTES];
    whole[..SUPERBLOCK_BYTES].copy_from_slice(&superblock.encode());
    bad.iter().try_for_each(|place| device.write_at(*place, &whole))?;
    Ok(bad.len() as u64)
}

fn decode(bytes: &[u8; SUPERBLOCK_BYTES]) -> Found {
    if bytes[..8] != MAGIC || frame::checksum(&bytes[..60]) != word::u32(bytes, 60) {
        return Found::Nothing;
    }
    if word::u32(bytes, 8) != FORMAT {
        return Found::Other(word::u32(bytes, 8));
    }
    Found::Store(
        Superblock {
            store_number: word::u64(bytes, 16),
            key: Key::new(word::array(bytes, 24)),
            segment_bytes: word::u32(bytes, 40),
            segment_count: word::u32(bytes, 44),
            uidvalidity_start: word::u32(bytes, 48),
        },
        1,
    )
}

impl Superblock {
    /// What these bytes say, if they are a superblock of this format.
    pub fn of(bytes: &[u8]) -> Option<Superblock> {
        match decode(bytes.first_chunk()?) {
            Found::Store(superblock, _) => Some(superblock).filter(|superblock| superblock.fits(u64::MAX)),
            Found::Other(_) | Found::Nothing => None,
        }
    }

    /// Bytes of the smallest device that holds the store.
    pub fn device_bytes(&self) -> u64 {
        self.base(self.segment_count)
    }

    /// As the blocks hold it. The key is in it.
    pub fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.store_number.to_le_bytes());
        bytes[24..40].copy_from_slice(self.key.bytes());
        bytes[40..44].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.segment_count.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.uidvalidity_start.to_le_bytes());
        let checksum = frame::checksum(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Where a segment lies on the device, bytes.
    pub fn base(&self, index: u32) -> u64 {
        (u64::from(index) + 1) * u64::from(self.segment_bytes)
    }

    /// Whether the store fits the device and its own rules: a superblock's checksum is not keyed.
    pub(super) fn fits(&self, device_bytes: u64) -> bool {
        self.segment_bytes >= SEGMENT_BYTES_SMALLEST
            && u64::from(self.segment_bytes) <= SEGMENT_BYTES_MAX
            && (self.segment_bytes as usize).is_multiple_of(BLOCK_BYTES)
            && (1..=SEGMENTS_MAX).contains(&self.segment_count)
            && self.base(self.segment_count) <= device_bytes
    }

    /// The largest payload that a frame of this store can have, bytes.
    pub fn payload_bytes_max(&self) -> usize {
        // With a summary of it, which then is one block.
        let summary = if self.has_summaries() { BLOCK_BYTES } else { 0 };
        (self.parity_start() as usize - SEGMENT_START as usize - summary - frame::HEADER_BYTES)
            .min(crate::limits::PAYLOAD_BYTES_MAX)
    }
}
