//! The header of a segment: which one it is in the order of writing, and what it follows.
//!
//! It declares the chain: which segments belong to the journal, and that what lies behind the place that it follows has been
//! abandoned, whatever it looks like.

use super::frame::Key;
use super::superblock::{SUPERBLOCK_BYTES, Superblock};
use super::word;
use crate::limits::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"PostfSeg";
/// Bytes of one header.
pub(super) const HEADER_BYTES: usize = 128;

/// A place behind a frame: where a segment goes on from. Sequence 0: the journal's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    pub sequence: u64,
    pub index: u32,
    pub incarnation: u64,
    /// The frame's position, and its tag.
    pub position: u64,
    pub tag: u64,
}

/// A segment's header. The module documentation of `journal` has the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub sequence: u64,
    pub incarnation: u64,
    pub first_position: u64,
    pub durable: u64,
    pub index: u32,
    pub opening: u32,
    pub follows: End,
    /// Nothing at all of that segment lies behind that place: it was left because the next frame did not fit.
    pub regular: bool,
    /// Its first frame is one change with the last frame before it.
    pub joined: bool,
    /// Hash of the block's list of members.
    pub members: u64,
    /// A whole snapshot: position of its first frame, and sequence of the oldest segment that is read with it. 0: none.
    pub snapshot: u64,
    pub snapshot_from: u64,
    /// Of all members, with this one: which use of each it is.
    pub uses: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self, key: &Key) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_position.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.index.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.opening.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.follows.sequence.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.follows.incarnation.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.follows.position.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.follows.tag.to_le_bytes());
        bytes[80..84].copy_from_slice(&self.follows.index.to_le_bytes());
        let bits = u32::from(self.regular) | u32::from(self.joined) << 1;
        bytes[84..88].copy_from_slice(&bits.to_le_bytes());
        bytes[88..96].copy_from_slice(&self.members.to_le_bytes());
        bytes[96..104].copy_from_slice(&self.snapshot.to_le_bytes());
        bytes[104..112].copy_from_slice(&self.snapshot_from.to_le_bytes());
        bytes[112..120].copy_from_slice(&self.uses.to_le_bytes());
        let hash = key.hash(&[&bytes[..120]]);
        bytes[120..].copy_from_slice(&hash.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], key: &Key) -> Option<SegmentHeader> {
        if bytes[..8] != MAGIC || word::u64(bytes, 120) != key.hash(&[&bytes[..120]]) {
            return None;
        }
        Some(SegmentHeader {
            sequence: word::u64(bytes, 8),
            incarnation: word::u64(bytes, 16),
            first_position: word::u64(bytes, 24),
            durable: word::u64(bytes, 32),
            index: word::u32(bytes, 40),
            opening: word::u32(bytes, 44),
            follows: End {
                sequence: word::u64(bytes, 48),
                incarnation: word::u64(bytes, 56),
                position: word::u64(bytes, 64),
                tag: word::u64(bytes, 72),
                index: word::u32(bytes, 80),
            },
            regular: word::u32(bytes, 84) & 1 != 0,
            joined: word::u32(bytes, 84) & 2 != 0,
            members: word::u64(bytes, 88),
            snapshot: word::u64(bytes, 96),
            snapshot_from: word::u64(bytes, 104),
            uses: word::u64(bytes, 112),
        })
    }

    /// Whether this is the segment that `end` lies in.
    pub(super) fn is(&self, end: &End) -> bool {
        (self.sequence, self.index, self.incarnation) == (end.sequence, end.index, end.incarnation)
    }
}

/// Which segments belong to the journal: a bit for each, the lowest of a byte first. As long as a header block has room for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Members {
    bits: Vec<u8>,
    uses: u64,
}

/// Most segments of a store: the list of members must fit a header block.
pub(super) const SEGMENTS_MAX: u32 = (MEMBERS_BYTES * 8) as u32;
const MEMBERS_AT: usize = 2 * HEADER_BYTES + SUPERBLOCK_BYTES;
const MEMBERS_BYTES: usize = BLOCK_BYTES - MEMBERS_AT - STAMP_BYTES * (BLOCK_BYTES / SECTOR_BYTES - 1);
/// What a medium writes whole, bytes.
const SECTOR_BYTES: usize = 512;
/// Bytes of the incarnation at the end of each sector but the first, which has it in the header.
const STAMP_BYTES: usize = 8;

/// Sequence and incarnation of a segment.
type Use = (u64, u64);

impl Members {
    /// Of segments, each by its index and what tells this use from others: its sequence and its incarnation.
    pub(super) fn new(key: &Key, segments: impl Iterator<Item = (u32, Use)>) -> Members {
        let (mut bits, mut uses) = (vec![0; MEMBERS_BYTES], 0);
        for (index, (sequence, incarnation)) in segments {
            if let Some(byte) = bits.get_mut(index as usize / 8) {
                *byte |= 1 << (index % 8);
            }
            uses ^= key.hash(&[&index.to_le_bytes(), &sequence.to_le_bytes(), &incarnation.to_le_bytes()]);
        }
        Members { bits, uses }
    }

    /// Whether each of them is in the use that is meant.
    pub(super) fn are(&self, key: &Key, found: impl Fn(u32) -> Option<Use>) -> bool {
        let indexes = (0..SEGMENTS_MAX).filter(|index| self.has(*index));
        let found: Option<Vec<(u32, Use)>> = indexes.map(|index| Some((index, found(index)?))).collect();
        found.is_some_and(|found| Members::new(key, found.into_iter()).uses == self.uses)
    }

    /// Of all of them together: which use of each it is.
    pub(super) fn uses(&self) -> u64 {
        self.uses
    }

    pub(super) fn has(&self, index: u32) -> bool {
        self.bits.get(index as usize / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    /// Only those that are of the others, too, whatever their uses.
    pub(super) fn keep(&mut self, others: &Members) {
        for (byte, other) in self.bits.iter_mut().zip(&others.bits) {
            *byte &= other;
        }
    }

    pub(super) fn hash(&self, key: &Key) -> u64 {
        key.hash(&[&self.bits])
    }

    /// The list of a block whose header is this one. None, too, where a sector of the block is of another writing: a torn header must not
    /// become whole when what was missing of it is written by a later one.
    pub(super) fn read(block: &[u8], header: &SegmentHeader, key: &Key) -> Option<Members> {
        let mut bits = Vec::with_capacity(MEMBERS_BYTES);
        bits.extend_from_slice(block.get(MEMBERS_AT..SECTOR_BYTES)?);
        for sector in block.get(SECTOR_BYTES..BLOCK_BYTES)?.chunks_exact(SECTOR_BYTES) {
            let (list, stamp) = sector.split_at(SECTOR_BYTES - STAMP_BYTES);
            if stamp != header.incarnation.to_le_bytes() {
                return None;
            }
            bits.extend_from_slice(list);
        }
        let members = Members { bits, uses: header.uses };
        (members.hash(key) == header.members).then_some(members)
    }

    /// Appends the list to what goes before it in the block.
    fn write(&self, incarnation: u64, out: &mut Vec<u8>) {
        let (first, rest) = self.bits.split_at(SECTOR_BYTES - MEMBERS_AT);
        out.extend_from_slice(first);
        for list in rest.chunks_exact(SECTOR_BYTES - STAMP_BYTES) {
            out.extend_from_slice(list);
            out.extend_from_slice(&incarnation.to_le_bytes());
        }
    }
}

/// One of the two equal blocks that a segment begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderBlock {
    pub header: SegmentHeader,
    /// A copy of the header of the segment that this one follows, in case that one is lost.
    pub before: Option<SegmentHeader>,
}

impl HeaderBlock {
    /// Appends the block.
    pub(super) fn write(&self, members: &Members, superblock: &Superblock, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode(&superblock.key));
        match &self.before {
            Some(before) => out.extend_from_slice(&before.encode(&superblock.key)),
            None => out.extend_from_slice(&[0; HEADER_BYTES]),
        }
        out.extend_from_slice(&superblock.encode());
        members.write(self.header.incarnation, out);
    }

    /// What a block at segment `index` says, if it is a header of this store in its right place.
    pub(super) fn read(block: &[u8], superblock: &Superblock, index: u32) -> Option<(HeaderBlock, Members)> {
        let header = SegmentHeader::decode(&word::array(block, 0), &superblock.key)?;
        let before = SegmentHeader::decode(&word::array(block, HEADER_BYTES), &superblock.key)
            .filter(|before| before.is(&header.follows));
        let members = Members::read(block, &header, &superblock.key)?;
        (header.index == index).then_some((HeaderBlock { header, before }, members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_flipped_bit_passes() {
        let key = Key::new([3; 16]);
        let follows = End { sequence: 6, index: 2, incarnation: 99, position: 41, tag: 77 };
        let header = SegmentHeader {
            sequence: 7,
            incarnation: 8,
            first_position: 42,
            durable: 40,
            index: 3,
            opening: 5,
            follows,
            regular: true,
            joined: true,
            members: 12,
            snapshot: 13,
            snapshot_from: 14,
            uses: 15,
        };
        let bytes = header.encode(&key);
        assert_eq!(bytes[..8], *b"PostfSeg");
        assert_eq!(bytes[24], 42);
        assert_eq!(SegmentHeader::decode(&bytes, &key), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped, &key), None, "{bit}");
        }
    }

    #[test]
    fn members_are_bits_and_their_hash_tells_a_flip() {
        let key = Key::new([3; 16]);
        let members = Members::new(&key, [0, 9, SEGMENTS_MAX - 1].map(|index| (index, (1, 1))).into_iter());
        assert_eq!(members.bits[..2], [1, 2]);
        for index in [0, 9, SEGMENTS_MAX - 1] {
            assert!(members.has(index) && !members.has(index ^ 1));
        }
        assert!(!members.has(SEGMENTS_MAX));
        assert!(members.are(&key, |_| Some((1, 1))));
        assert!(!members.are(&key, |index| Some((1, 1 + u64::from(index == 9)))));
        assert!(!members.are(&key, |index| (index != 9).then_some((1, 1))));
        assert_ne!(
            members.hash(&key),
            Members::new(&key, [0, 9].map(|index| (index, (1, 1))).into_iter()).hash(&key)
        );
    }

    #[test]
    fn a_sector_of_another_writing_makes_a_block_bad() {
        let key = Key::new([3; 16]);
        let members = Members::new(&key, [0, 9].map(|index| (index, (1, 1))).into_iter());
        let block = |incarnation| {
            let mut block = vec![0; MEMBERS_AT];
            members.write(incarnation, &mut block);
            block
        };
        let header = SegmentHeader {
            incarnation: 7,
            members: members.hash(&key),
            uses: members.uses,
            ..SegmentHeader::default()
        };
        let (one, other) = (block(7), block(8));
        assert_eq!(one.len(), BLOCK_BYTES);
        assert!(Members::read(&one, &header, &key) == Some(members.clone()));
        for sector in 1..BLOCK_BYTES / SECTOR_BYTES {
            let mut mixed = one.clone();
            let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
            mixed[range.clone()].copy_from_slice(&other[range]);
            assert!(Members::read(&mixed, &header, &key).is_none(), "{sector}");
        }
    }
}
