//! The frame: 64 bytes of header, outside postcard because postcard does not describe itself, and a payload.
//!
//! Refuses every header whose keyed tag does not fit: mail bodies are chosen by strangers and must not forge a frame.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::word;

/// Bytes of a frame's header.
pub(super) const HEADER_BYTES: usize = 64;
/// Frames begin at multiples of this, bytes.
pub(super) const ALIGNMENT: u64 = 8;
/// The first two bytes of every frame.
pub(super) const MAGIC: [u8; 2] = [0xF5, 0x70];
/// The largest payload that any store's frames have, bytes.
pub(super) const PAYLOAD_BYTES: usize = crate::limits::PAYLOAD_BYTES_MAX;
/// The version of the header.
pub(super) const VERSION: u8 = 1;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of a message.
    Body = 1,
    /// A message's structure.
    Structure = 2,
    /// A fact that the state is made of.
    Record = 3,
    /// A part of a snapshot: the state, or the places of bodies, said again. Nothing depends on it.
    Snapshot = 5,
    /// Nothing but its claim that all before it is durable. As the last frame: the store was closed in order.
    Witness = 6,
    /// Where a segment ends whose follower has been freed: its sequence, and as payload the position of its last frame.
    End = 9,
}

impl Kind {
    /// The kind of this number.
    pub(super) fn of(number: u8) -> Option<Kind> {
        [Kind::Body, Kind::Structure, Kind::Record, Kind::Snapshot, Kind::Witness, Kind::End]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// The store's key, made at format. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn new(bytes: [u8; 16]) -> Key {
        Key(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// SipHash-2-4 over the parts, one after the other.
    pub(super) fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// CRC-32C.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// A frame's header. The module documentation of `journal` has the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: u8,
    pub flags: u16,
    pub piece: u16,
    pub length: u32,
    pub account: u32,
    pub position: u64,
    /// The serial of a record, the body id of a body or a structure.
    pub number: u64,
    pub durable: u64,
    pub opening: u32,
    pub checksum: u32,
    pub previous: u64,
    /// Made by `encode`, checked by `decode`.
    pub tag: u64,
}

impl Header {
    /// The bytes as they are written, and the tag in them.
    pub(super) fn encode(&self, key: &Key, incarnation: u64) -> ([u8; HEADER_BYTES], u64) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = self.kind;
        bytes[4..6].copy_from_slice(&self.flags.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.piece.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.account.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.opening.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous.to_le_bytes());
        let tag = key.hash(&[&incarnation.to_le_bytes(), &bytes[..56]]);
        bytes[56..].copy_from_slice(&tag.to_le_bytes());
        (bytes, tag)
    }

    /// The header in these bytes, if its tag is of this key and incarnation.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], key: &Key, incarnation: u64) -> Option<Header> {
        if bytes[..2] != MAGIC || bytes[2] != VERSION {
            return None;
        }
        let tag = word::u64(bytes, 56);
        if tag != key.hash(&[&incarnation.to_le_bytes(), &bytes[..56]]) {
            return None;
        }
        Some(Header {
            kind: bytes[3],
            flags: word::u16(bytes, 4),
            piece: word::u16(bytes, 6),
            length: word::u32(bytes, 8),
            account: word::u32(bytes, 12),
            position: word::u64(bytes, 16),
            number: word::u64(bytes, 24),
            durable: word::u64(bytes, 32),
            opening: word::u32(bytes, 40),
            checksum: word::u32(bytes, 44),
            previous: word::u64(bytes, 48),
            tag,
        })
    }

    /// Bytes from this frame's beginning to where the next may begin.
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.length as usize)
    }
}

/// Bytes that a frame with such a payload takes in its segment.
pub(super) fn frame_bytes(payload_bytes: usize) -> u64 {
    (HEADER_BYTES as u64 + payload_bytes as u64).next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_the_specification_says() {
        let key = Key::new(*b"0123456789abcdef");
        let header = Header {
            kind: Kind::Body as u8,
            flags: 0,
            piece: 0x0102,
            length: 0x0003_0405,
            account: 0x0607_0809,
            position: 0x1011_1213_1415_1617,
            number: 0x2021_2223_2425_2627,
            durable: 0x3031_3233_3435_3637,
            opening: 0x4041_4243,
            checksum: checksum(b"123456789"),
            previous: 0x5051_5253_5455_5657,
            tag: 0,
        };
        let (bytes, tag) = header.encode(&key, 0x6061_6263_6465_6667);
        let golden = "f570 01 01 0000 0201 05040300 09080706 1716151413121110 2726252423222120 \
                      3736353433323130 43424140 839206e3 5756555453525150";
        let hex: String = bytes[..56].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.replace(' ', ""));
        assert_eq!(bytes[56..], tag.to_le_bytes());
        let back = Header::decode(&bytes, &key, 0x6061_6263_6465_6667).unwrap();
        assert_eq!(back, Header { tag, ..header });
        assert_eq!(header.frame_bytes() % 8, 0);
        assert!(Header::decode(&bytes, &key, 1).is_none());
        assert!(Header::decode(&bytes, &Key::new([0; 16]), 0x6061_6263_6465_6667).is_none());
        for bit in 0..512 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&flipped, &key, 0x6061_6263_6465_6667).is_none(), "{bit}");
        }
    }

    #[test]
    fn the_hash_is_siphash_2_4() {
        // Appendix A of the SipHash paper: key 00…0f, input 00…0e.
        let key = Key::new(std::array::from_fn(|index| index as u8));
        let input: [u8; 15] = std::array::from_fn(|index| index as u8);
        assert_eq!(key.hash(&[&input[..4], &input[4..]]), 0xa129_ca61_49be_45e5);
    }
}
