//! Reading one segment from front to back, a few blocks at a time, and finding frames in it.
//!
//! A block that the device cannot read counts as zeros and is noted: the rest of the segment must stay within reach. Where something is not
//! as it was written, [`Window::mend`] looks whether the segment's parity has it; what comes from there is checked like anything that is read.

use super::frame::{ALIGNMENT, HEADER_BYTES, Header, MAGIC};
use super::parity::{self, Examined, Head};
use super::segment::SegmentHeader;
use super::superblock::Superblock;
use super::word;
use crate::device::Device;
use crate::limits::BLOCK_BYTES;

/// What is read at a time, unless a frame needs more, bytes.
const READ_BYTES: u64 = 4 * BLOCK_BYTES as u64;

/// A segment under reading.
pub(super) struct Window<'a> {
    device: &'a dyn Device,
    superblock: &'a Superblock,
    index: u32,
    incarnation: u64,
    base: u64,
    bytes: u64,
    start: u64,
    buffer: Vec<u8>,
    /// A place in the segment, and how many bytes from there, or from a later place, are searched. `None`: all.
    pub reach: Option<(u64, u64)>,
    /// Blocks that could not be read: offsets on the device.
    pub unreadable: Vec<u64>,
    /// Another segment follows: this one may have parity.
    pub sealed: bool,
    /// What parity has told, once it was asked.
    examined: Option<Examined>,
}

impl<'a> Window<'a> {
    pub(super) fn new(
        device: &'a dyn Device,
        superblock: &'a Superblock,
        segment: &SegmentHeader,
    ) -> Window<'a> {
        Window {
            device,
            superblock,
            index: segment.index,
            incarnation: segment.incarnation,
            base: superblock.base(segment.index),
            bytes: superblock.parity_start(),
            start: 0,
            buffer: Vec::new(),
            reach: None,
            unreadable: Vec::new(),
            sealed: true,
            examined: None,
        }
    }

    /// Asks the segment's parity, once, if it covers this position. From then on what could be made good is what is read. False: it makes
    /// no difference.
    pub(super) fn mend(&mut self, position: u64) -> bool {
        let covers = |head: Head| head.last >= position;
        let head = || Head::read(self.device, self.superblock, self.index, self.incarnation);
        if !self.sealed || self.examined.is_some() || !head().is_some_and(covers) {
            return false;
        }
        let examined = parity::examine(self.device, self.superblock, self.index, self.incarnation);
        let rebuilt = examined.iter().flat_map(Examined::rebuilt);
        let places: Vec<u64> = rebuilt.map(|(number, _)| self.base + number * BLOCK_BYTES as u64).collect();
        self.unreadable.retain(|place| !places.contains(place));
        self.buffer.clear();
        self.examined = examined;
        !places.is_empty()
    }

    /// What parity has told, if it has been asked.
    pub(super) fn examined(&self) -> Option<&Examined> {
        self.examined.as_ref()
    }

    /// Fills `buf` from `offset`. False: the segment ends before.
    pub(super) fn read(&mut self, offset: u64, buf: &mut [u8]) -> bool {
        let found = self.at(offset, buf.len() as u64).get(..buf.len());
        found.map(|found| buf.copy_from_slice(found)).is_some()
    }

    /// Where a place in the segment lies on the device.
    pub(super) fn device_offset(&self, offset: u64) -> u64 {
        self.base + offset
    }

    /// Everything at hand from `offset`: at least `length` bytes, unless the segment ends before.
    fn at(&mut self, offset: u64, length: u64) -> &[u8] {
        let end = offset.saturating_add(length).min(self.bytes);
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            self.fill(offset, end);
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.buffer.get(from..).unwrap_or_default()
    }

    fn fill(&mut self, offset: u64, end: u64) {
        let block = BLOCK_BYTES as u64;
        self.start = offset.min(self.bytes) / block * block;
        let end = end.next_multiple_of(block).max(self.start + READ_BYTES).min(self.bytes);
        self.buffer.resize((end - self.start) as usize, 0);
        let read = self.device.read_at(self.base + self.start, &mut self.buffer).is_ok();
        let rebuilt = self.examined.as_ref().map(|examined| &examined.bad);
        for (number, part) in (self.start / block..).zip(self.buffer.chunks_mut(BLOCK_BYTES)) {
            let place = self.base + number * block;
            if let Some(Some(rebuilt)) = rebuilt.and_then(|rebuilt| rebuilt.get(&number)) {
                part.copy_from_slice(rebuilt);
            } else if !read && self.device.read_at(place, part).is_err() {
                part.fill(0);
                self.unreadable.push(place);
            }
        }
    }

    /// Whether a block of the range could not be read.
    pub(super) fn is_unreadable(&self, offset: u64, length: u64) -> bool {
        let blocks =
            self.base + offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64..self.base + offset + length;
        self.unreadable.iter().any(|place| blocks.contains(place))
    }

    /// A payload whose frame fits the segment.
    pub(super) fn payload(&mut self, offset: u64, header: &Header) -> &[u8] {
        let length = header.length as usize;
        let bytes = self.at(offset + HEADER_BYTES as u64, u64::from(header.length));
        bytes.get(..length).unwrap_or_default()
    }

    /// The frame that begins at `offset`.
    pub(super) fn frame(&mut self, offset: u64) -> Option<Header> {
        let (superblock, incarnation, bytes) = (self.superblock, self.incarnation, self.bytes);
        let at = self.at(offset, HEADER_BYTES as u64);
        decode(at, superblock, incarnation).filter(|header| offset + header.frame_bytes() <= bytes)
    }

    /// The first frame at or behind `offset`, wherever frames can begin.
    pub(super) fn search(&mut self, offset: u64) -> Option<(u64, Header)> {
        let (superblock, incarnation, bytes) = (self.superblock, self.incarnation, self.bytes);
        let reach = self.reach.map_or(bytes, |(place, span)| bytes.min(place.max(offset) + span));
        let mut offset = offset.next_multiple_of(ALIGNMENT);
        while offset + HEADER_BYTES as u64 <= reach {
            let at = self.at(offset, HEADER_BYTES as u64);
            let places = (at.len() - HEADER_BYTES) / ALIGNMENT as usize + 1;
            for (place, word) in at.chunks_exact(ALIGNMENT as usize).take(places).enumerate() {
                if word[..2] == MAGIC {
                    let place = place * ALIGNMENT as usize;
                    let found = offset + place as u64;
                    let header = decode(&at[place..], superblock, incarnation)
                        .filter(|header| found + header.frame_bytes() <= bytes);
                    if let Some(header) = header {
                        return Some((found, header));
                    }
                }
            }
            offset += (places * ALIGNMENT as usize) as u64;
        }
        None
    }
}

fn decode(bytes: &[u8], superblock: &Superblock, incarnation: u64) -> Option<Header> {
    let bytes = bytes.get(..HEADER_BYTES)?;
    Header::decode(&word::array(bytes, 0), &superblock.key, incarnation)
}
