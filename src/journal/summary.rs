//! A summary says again what a stretch of a segment's frames holds, less the bytes of messages: who has it need not read the frames.
//!
//! A cache outside the chain of frames: nothing depends on it, and what it says is believed only where the frames are known to have been
//! durable and are not told otherwise. Refuses what its keyed hash does not vouch for, or its checksum.

use std::collections::VecDeque;

use super::frame::{self, Header, Kind};
use super::segment::SegmentHeader;
use super::superblock::Superblock;
use super::word;
use crate::device::Device;
use crate::limits::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"PostfSum";
/// Bytes of the trailer, the end of a summary.
const TRAILER_BYTES: usize = 64;
/// Bytes before the entries: where the stretch begins and ends in its segment.
const HEAD_BYTES: usize = 8;
/// A summary of several blocks that is longer than this part of its frames is not worth it: then there is only the trailer.
const WORTH: u64 = 8;
/// More than any that is worth it has, bytes.
const ENTRIES_BYTES_MAX: usize =
    (crate::limits::SEGMENT_BYTES_MAX as usize / 8 + 2 * crate::limits::PAYLOAD_BYTES_MAX) / 8;
/// Flags of the trailer: it has no entries; it is the last one of its segment.
const BARE: u8 = 1;
const LAST: u8 = 2;

/// What a summary tells of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub kind: u8,
    pub flags: u16,
    pub piece: u16,
    pub account: u32,
    pub number: u64,
    pub length: u32,
    /// The frame begins on the block after the one before it.
    pub fresh_block: bool,
    /// Of a record or an end.
    pub payload: &'a [u8],
}

impl Entry<'_> {
    fn is_copied(&self) -> bool {
        self.kind == Kind::Record as u8 || self.kind == Kind::End as u8
    }

    /// Numbers of bodies and other numbers go on by themselves.
    fn row(&self) -> usize {
        usize::from(self.kind == Kind::Body as u8 || self.kind == Kind::Structure as u8)
    }

    /// Appends all but the payload.
    fn head(&self, before: [u64; 2], out: &mut Vec<u8>) {
        let odd = self.flags != 0 || self.piece != 0;
        out.push(self.kind & 0x3F | u8::from(odd) << 6 | u8::from(self.fresh_block) << 7);
        if odd {
            varint(u64::from(self.flags), out);
            varint(u64::from(self.piece), out);
        }
        if self.kind == Kind::Record as u8 || self.kind == Kind::Snapshot as u8 {
            varint(u64::from(self.account), out);
        }
        varint(zigzag(self.number.wrapping_sub(before[self.row()])), out);
        varint(u64::from(self.length), out);
    }
}

/// Frames that no summary tells of yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    /// Where it begins in the segment, and where its last frame ends.
    pub start: u64,
    pub end: u64,
    /// Position of its first frame.
    pub first: u64,
    pub frames: u64,
    /// It will have no entries: too many, or not all are known.
    pub bare: bool,
    /// Bytes of the entries; and those themselves: who only plans needs none.
    bytes: usize,
    kept: bool,
    entries: Vec<u8>,
    before: [u64; 2],
}

impl Stretch {
    pub(super) fn new(start: u64, first: u64, kept: bool) -> Stretch {
        Stretch { start, end: start, first, kept, ..Stretch::default() }
    }

    /// Frames of which it is only known that they are there.
    pub(super) fn unknown(start: u64, end: u64, first: u64, frames: u64) -> Stretch {
        Stretch { end, frames, bare: true, ..Stretch::new(start, first, true) }
    }

    /// Whether the entries themselves are kept.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// The same, for planning.
    pub(super) fn plan(&self) -> Stretch {
        Stretch { kept: false, entries: Vec::new(), ..*self }
    }

    /// Adds the frame that ends at `end`.
    pub(super) fn add(&mut self, entry: &Entry<'_>, end: u64) {
        let mut head = Vec::with_capacity(40);
        entry.head(self.before, &mut head);
        self.before[entry.row()] = entry.number;
        let payload = if entry.is_copied() { entry.payload } else { &[] };
        self.bytes += head.len() + payload.len();
        if self.bytes > ENTRIES_BYTES_MAX {
            self.bare = true;
            self.entries = Vec::new();
        }
        if self.kept && !self.bare {
            self.entries.extend_from_slice(&head);
            self.entries.extend_from_slice(payload);
        }
        self.end = end;
        self.frames += 1;
    }

    /// Whether its summary has entries, as it is now.
    fn is_worth_it(&self) -> bool {
        let one_block = HEAD_BYTES + self.bytes + TRAILER_BYTES <= BLOCK_BYTES;
        !self.bare && (one_block || self.bytes as u64 * WORTH <= self.end - self.start)
    }

    /// Bytes of its summary, whole blocks; 0 if it has no frame.
    pub(super) fn summary_bytes(&self) -> u64 {
        if self.frames == 0 {
            return 0;
        }
        let entries = if self.is_worth_it() { self.bytes } else { 0 };
        ((HEAD_BYTES + entries + TRAILER_BYTES) as u64).next_multiple_of(BLOCK_BYTES as u64)
    }

    /// At most what its summary will have once it has an entry more: bytes.
    pub(super) fn most_bytes(&self, entry: &Entry<'_>) -> u64 {
        let mut head = Vec::new();
        entry.head(self.before, &mut head);
        ((HEAD_BYTES + self.bytes + head.len() + TRAILER_BYTES) as u64).next_multiple_of(BLOCK_BYTES as u64)
    }

    /// What its summary is made of.
    pub(super) fn close(&self, last_of_segment: bool, place: u64) -> Draft {
        let worth = self.is_worth_it();
        let mut payload = Vec::with_capacity(HEAD_BYTES + self.bytes);
        payload.extend_from_slice(&(self.start as u32).to_le_bytes());
        payload.extend_from_slice(&(self.end as u32).to_le_bytes());
        payload.extend_from_slice(if worth { &self.entries } else { &[] });
        let flags = u8::from(!worth) * BARE + u8::from(last_of_segment) * LAST;
        let (first, last, offset) = (self.first, self.first + self.frames - 1, place - self.summary_bytes());
        Draft { first, last, flags, payload, offset, place, incarnation: 0 }
    }

    /// Whether the summary says the same.
    pub(super) fn agrees(&self, summary: &Summary) -> bool {
        let place = (self.start, self.end, self.first, self.first + self.frames)
            == (summary.start, summary.end, summary.first, summary.last + 1);
        place && summary.entries.as_ref().is_none_or(|entries| self.entries == *entries)
    }
}

/// A summary that waits for the disk: what it needs yet is the tag of its last frame.
pub(super) struct Draft {
    pub first: u64,
    pub last: u64,
    flags: u8,
    payload: Vec<u8>,
    /// Where it begins on the device, and where it ends in its segment, bytes.
    pub offset: u64,
    pub place: u64,
    pub incarnation: u64,
}

impl Draft {
    /// Bytes that it takes, whole blocks.
    pub(super) fn bytes(&self) -> u64 {
        ((self.payload.len() + TRAILER_BYTES) as u64).next_multiple_of(BLOCK_BYTES as u64)
    }

    /// As it is written.
    pub(super) fn finish(&self, superblock: &Superblock, tag: u64, durable: u64, opening: u32) -> Vec<u8> {
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..8].copy_from_slice(&MAGIC);
        trailer[8..12].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        trailer[12..16].copy_from_slice(&frame::checksum(&self.payload).to_le_bytes());
        trailer[16..24].copy_from_slice(&self.first.to_le_bytes());
        trailer[24..32].copy_from_slice(&self.last.to_le_bytes());
        trailer[32..40].copy_from_slice(&durable.to_le_bytes());
        trailer[40..48].copy_from_slice(&tag.to_le_bytes());
        trailer[48..52].copy_from_slice(&opening.to_le_bytes());
        trailer[52] = self.flags;
        let hash = hash(superblock, &trailer, self.incarnation, self.place);
        trailer[56..].copy_from_slice(&hash.to_le_bytes());
        let mut bytes = self.payload.clone();
        bytes.resize((bytes.len() + TRAILER_BYTES).next_multiple_of(BLOCK_BYTES) - TRAILER_BYTES, 0);
        bytes.extend_from_slice(&trailer);
        bytes
    }
}

fn hash(superblock: &Superblock, trailer: &[u8; TRAILER_BYTES], incarnation: u64, place: u64) -> u64 {
    superblock.key.hash(&[&incarnation.to_le_bytes(), &place.to_le_bytes(), &trailer[..56]])
}

/// A summary as it has been read. Its hash is good.
#[derive(Debug)]
pub(super) struct Summary {
    /// Where its stretch begins and ends in the segment; 0 where the payload is bad.
    pub start: u64,
    pub end: u64,
    pub first: u64,
    pub last: u64,
    pub durable: u64,
    /// Tag of the last frame.
    pub tag: u64,
    pub opening: u32,
    /// None: there are none, or they are bad.
    pub entries: Option<Vec<u8>>,
    pub damaged: bool,
    /// Where the next one ends in the segment, unless this is the last.
    pub floor: u64,
    is_last: bool,
}

/// The summaries of a segment, in the order of its frames.
pub(super) fn read(
    device: &dyn Device,
    superblock: &Superblock,
    header: &SegmentHeader,
) -> VecDeque<Summary> {
    let mut found: VecDeque<Summary> = VecDeque::new();
    if !superblock.has_summaries() {
        return found;
    }
    let mut floor = superblock.parity_start();
    while let Some(summary) = read_one(device, superblock, header, floor) {
        // Each goes on where the one before it has ended.
        if found.back().is_some_and(|before| before.last.checked_add(1) != Some(summary.first)) {
            break;
        }
        floor = summary.floor;
        let is_last = summary.is_last;
        found.push_back(summary);
        if is_last {
            break;
        }
    }
    found
}

fn read_one(
    device: &dyn Device,
    superblock: &Superblock,
    header: &SegmentHeader,
    floor: u64,
) -> Option<Summary> {
    let block = BLOCK_BYTES as u64;
    let least = super::SEGMENT_START + block;
    let base = superblock.base(header.index);
    if floor < least + block {
        return None;
    }
    let mut last_block = vec![0; BLOCK_BYTES];
    device.read_at(base + floor - block, &mut last_block).ok()?;
    let trailer: [u8; TRAILER_BYTES] = word::array(&last_block, BLOCK_BYTES - TRAILER_BYTES);
    if trailer[..8] != MAGIC
        || word::u64(&trailer, 56) != hash(superblock, &trailer, header.incarnation, floor)
    {
        return None;
    }
    let length = word::u32(&trailer, 8) as usize;
    let bytes = ((length + TRAILER_BYTES) as u64).next_multiple_of(block);
    let begin = floor.checked_sub(bytes).filter(|begin| *begin >= least)?;
    let mut payload = vec![0; bytes as usize];
    let rest = payload.len() - BLOCK_BYTES;
    payload[rest..].copy_from_slice(&last_block);
    let read = rest == 0 || device.read_at(base + begin, &mut payload[..rest]).is_ok();
    payload.truncate(length);
    let good = read && length >= HEAD_BYTES && frame::checksum(&payload) == word::u32(&trailer, 12);
    let place = |at| if good { u64::from(word::u32(&payload, at)) } else { 0 };
    let flags = trailer[52];
    Some(Summary {
        start: place(0),
        end: place(4),
        first: word::u64(&trailer, 16),
        last: word::u64(&trailer, 24),
        durable: word::u64(&trailer, 32),
        tag: word::u64(&trailer, 40),
        opening: word::u32(&trailer, 48),
        entries: (good && flags & BARE == 0).then(|| payload.split_off(HEAD_BYTES)),
        damaged: !good,
        floor: begin,
        is_last: flags & LAST != 0,
    })
}

impl Summary {
    /// Each frame with its offset in the segment and its position. None: the entries do not add up, which their checksum rules out.
    pub(super) fn frames(&self) -> Option<Vec<(u64, u64, Entry<'_>)>> {
        let mut rest = self.entries.as_deref()?;
        let (mut offset, mut before) = (self.start, [0; 2]);
        let mut frames = Vec::new();
        for position in self.first..=self.last {
            let entry = take(&mut rest, &mut before)?;
            if entry.fresh_block {
                offset = offset.next_multiple_of(BLOCK_BYTES as u64);
            }
            frames.push((offset, position, entry));
            offset += frame::frame_bytes(entry.length as usize);
        }
        (rest.is_empty() && offset == self.end).then_some(frames)
    }
}

fn take<'a>(rest: &mut &'a [u8], before: &mut [u64; 2]) -> Option<Entry<'a>> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    let mut entry = Entry {
        kind: first & 0x3F,
        flags: 0,
        piece: 0,
        account: 0,
        number: 0,
        length: 0,
        fresh_block: first & 0x80 != 0,
        payload: &[],
    };
    if first & 0x40 != 0 {
        entry.flags = u16::try_from(take_varint(rest)?).ok()?;
        entry.piece = u16::try_from(take_varint(rest)?).ok()?;
    }
    if entry.kind == Kind::Record as u8 || entry.kind == Kind::Snapshot as u8 {
        entry.account = u32::try_from(take_varint(rest)?).ok()?;
    }
    let row = entry.row();
    entry.number = before[row].wrapping_add(unzigzag(take_varint(rest)?));
    before[row] = entry.number;
    entry.length = u32::try_from(take_varint(rest)?).ok()?;
    if entry.is_copied() {
        (entry.payload, *rest) = rest.split_at_checked(entry.length as usize)?;
    }
    Some(entry)
}

/// What a frame's header tells.
pub(super) fn entry_of<'a>(header: &Header, fresh_block: bool, payload: &'a [u8]) -> Entry<'a> {
    let Header { kind, flags, piece, account, number, length, .. } = *header;
    Entry { kind, flags, piece, account, number, length, fresh_block, payload }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
pub(super) fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Small differences, up or down, become small numbers.
pub(super) fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ (difference as i64 >> 63) as u64
}

pub(super) fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}
