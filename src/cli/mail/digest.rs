//! What is a duplicate: a message of the same bytes, as many times as it is there.
//!
//! A digest is two SipHashes under keys that this process has drawn at random: 128 bits that whoever writes mail cannot aim at.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// std leaves open whether a hash depends on how its input is cut: so it is cut the same way always.
const BLOCK_BYTES: usize = 4096;

/// What messages are known by: size and digest.
pub type Key = (u64, [u64; 2]);

/// The keys of this process.
#[derive(Default)]
pub struct Keys([RandomState; 2]);

/// A digest in the making.
pub struct Digest {
    hashers: [std::hash::DefaultHasher; 2],
    block: Vec<u8>,
    bytes: u64,
}

impl Keys {
    /// Of nothing yet.
    pub fn digest(&self) -> Digest {
        Digest { hashers: self.0.each_ref().map(RandomState::build_hasher), block: Vec::new(), bytes: 0 }
    }
}

impl Digest {
    /// Takes more of the message.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while self.block.len() + bytes.len() >= BLOCK_BYTES {
            let (now, later) = bytes.split_at(BLOCK_BYTES - self.block.len());
            self.block.extend_from_slice(now);
            self.write();
            bytes = later;
        }
        self.block.extend_from_slice(bytes);
    }

    fn write(&mut self) {
        self.hashers.iter_mut().for_each(|hasher| hasher.write(&self.block));
        self.block.clear();
    }

    /// The whole message's.
    pub fn key(mut self) -> Key {
        self.write();
        (self.bytes, self.hashers.map(|hasher| hasher.finish()))
    }
}

/// Messages of a folder that are there already, as a multiset.
#[derive(Default)]
pub struct Known {
    /// UIDs by size, of those that have not been read yet: most folders never have to be.
    unread: HashMap<u64, Vec<u32>>,
    counts: HashMap<Key, u32>,
}

impl Known {
    /// These messages: size and UID.
    pub fn new(messages: impl Iterator<Item = (u64, u32)>) -> Known {
        let mut known = Known::default();
        for (size, uid) in messages {
            known.unread.entry(size).or_default().push(uid);
        }
        known
    }

    /// Those of this size that must be read before [`Known::take`] can know.
    pub fn unread(&mut self, size: u64) -> Vec<u32> {
        self.unread.remove(&size).unwrap_or_default()
    }

    /// One of them has been read.
    pub fn add(&mut self, key: Key) {
        *self.counts.entry(key).or_default() += 1;
    }

    /// Whether such a message is there; if so, it is there once less for the next that asks.
    pub fn take(&mut self, key: &Key) -> bool {
        match self.counts.get_mut(key) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_the_cuts() {
        let keys = Keys::default();
        let text: Vec<u8> = (0..20_000u32).map(|n| ((n * n) >> 3) as u8).collect();
        let of = |step: usize| {
            let mut digest = keys.digest();
            text.chunks(step).for_each(|piece| digest.push(piece));
            digest.key()
        };
        assert!([1, 7, 4095, 4096, 4097, 20_000].into_iter().all(|step| of(step) == of(64)));
        assert_ne!(keys.digest().key().1, of(64).1);
    }

    #[test]
    fn duplicates_are_counted() {
        let mut known = Known::new([(5, 1), (5, 9), (6, 2)].into_iter());
        assert_eq!((known.unread(5), known.unread(5)), (vec![1, 9], vec![]));
        let key = (5, [1, 2]);
        known.add(key);
        known.add(key);
        assert_eq!([0; 3].map(|_| known.take(&key)), [true, true, false]);
    }
}
