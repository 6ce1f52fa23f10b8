//! What a power cut can leave of a medium: every state of it that is looked at, each once. All tests of cuts take their states from here.
//!
//! Never for real mail. Invariant: what was flushed is never changed by a cut, unless it was asked that something beside is spoilt;
//! what was not flushed may come out in any mixture of 512-byte sectors.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hasher;
use std::sync::Arc;

use super::memory::{Memory, Random};

/// Sharing blocks makes a copy of a large, mostly empty medium cheap: the crash tests make millions.
const BLOCK: usize = 4096;
/// The unit in which a medium tears.
const SECTOR: usize = 512;
/// Every subset of so many parts is looked at; of more, some.
const PARTS_MAX: usize = 6;

/// What became of the writes that no flush has covered when power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// None arrived.
    Lost,
    /// All arrived.
    Kept,
    /// Some arrived whole, in any order.
    Subset,
    /// Each sector of each write arrived, did not, or is garbage.
    Torn,
    /// Of the parts that would have changed those arrived whose bit is set. A part is a sector, where there are at most six; else a block.
    Parts(u8),
    /// The same, and the others are garbage.
    Spoilt(u8),
    /// As `Torn`; and the flushed block before one that was being written has lost a sector to garbage: two faults at once.
    Beside,
}

impl Outcome {
    /// Those that need to know nothing of what was written.
    pub const ALL: [Outcome; 4] = [Outcome::Lost, Outcome::Kept, Outcome::Subset, Outcome::Torn];
}

/// Blocks that were ever written; the others are zeros.
#[derive(Clone, Default)]
pub(super) struct Image(HashMap<u64, Arc<[u8; BLOCK]>>);

impl Image {
    pub(super) fn read(&self, mut offset: u64, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            let start = (offset % BLOCK as u64) as usize;
            let (part, rest) = buf.split_at_mut(buf.len().min(BLOCK - start));
            match self.0.get(&(offset / BLOCK as u64)) {
                Some(block) => part.copy_from_slice(&block[start..start + part.len()]),
                None => part.fill(0),
            }
            offset += part.len() as u64;
            buf = rest;
        }
    }

    /// Whole blocks of the range are zeros again.
    pub(super) fn erase(&mut self, offset: u64, length: u64) {
        let blocks = offset.div_ceil(BLOCK as u64)..(offset + length) / BLOCK as u64;
        blocks.for_each(|block| drop(self.0.remove(&block)));
    }

    pub(super) fn write(&mut self, mut offset: u64, mut buf: &[u8]) {
        while !buf.is_empty() {
            let start = (offset % BLOCK as u64) as usize;
            let (part, rest) = buf.split_at(buf.len().min(BLOCK - start));
            let block = self.0.entry(offset / BLOCK as u64).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[start..start + part.len()].copy_from_slice(part);
            offset += part.len() as u64;
            buf = rest;
        }
    }

    fn block(&self, block: u64) -> [u8; BLOCK] {
        self.0.get(&block).map_or([0; BLOCK], |block| **block)
    }
}

/// A moment at which the power goes: what the medium has for certain, and what was on its way.
#[derive(Clone, Default)]
pub struct Cut {
    pub(super) size: u64,
    /// What a flush has covered.
    pub(super) durable: Image,
    /// Writes that no flush has covered, in their order.
    pub(super) unflushed: Vec<(u64, Arc<[u8]>)>,
    /// What is discarded stays as it was, as on a card that takes no hints.
    pub(super) ignores_discards: bool,
    /// Writes and flushes before this moment.
    pub(super) operations: u64,
    /// How often what is durable has changed.
    pub(super) generation: u64,
}

impl Cut {
    /// Writes and flushes that had been done; the one after them may be under way.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The medium after the power has come back.
    pub fn survive(&self, outcome: Outcome, seed: u64) -> Memory {
        self.medium(self.left(outcome, seed))
    }

    /// This medium with something else on it.
    fn medium(&self, durable: Image) -> Memory {
        let (size, ignores_discards) = (self.size, self.ignores_discards);
        Memory::running(Cut { size, durable, ignores_discards, ..Cut::default() })
    }

    /// The machine as it is if the power does not go: what is read comes from its cache, and what no flush has covered still waits.
    pub fn running(&self) -> Memory {
        Memory::running(self.clone())
    }

    /// What is on the medium when all that waits arrives.
    pub(super) fn arrived(&self) -> Image {
        let mut image = self.durable.clone();
        self.unflushed.iter().for_each(|(offset, bytes)| image.write(*offset, bytes));
        image
    }

    fn left(&self, outcome: Outcome, seed: u64) -> Image {
        let mut image = self.durable.clone();
        let mut random = Random(seed);
        match outcome {
            Outcome::Lost => {}
            Outcome::Kept => image = self.arrived(),
            Outcome::Subset => {
                let mut kept: Vec<_> = self.unflushed.iter().filter(|_| random.below(2) == 0).collect();
                while !kept.is_empty() {
                    let (offset, bytes) = kept.swap_remove(random.below(kept.len() as u64) as usize);
                    image.write(*offset, bytes);
                }
            }
            Outcome::Torn => self.tear(&mut image, &mut random),
            Outcome::Parts(arrived) | Outcome::Spoilt(arrived) => {
                for (nth, (offset, bytes)) in self.parts().into_iter().enumerate() {
                    if arrived >> nth & 1 == 1 {
                        image.write(offset, &bytes);
                    } else if matches!(outcome, Outcome::Spoilt(_)) {
                        spoil(&mut image, offset, bytes.len(), &mut random);
                    }
                }
            }
            Outcome::Beside => {
                self.tear(&mut image, &mut random);
                let beside: Vec<u64> = self.beside().into_iter().collect();
                if let Some(block) = beside.get(random.below(beside.len() as u64) as usize) {
                    let sector = random.below((BLOCK / SECTOR) as u64);
                    spoil(&mut image, block * BLOCK as u64 + sector * SECTOR as u64, SECTOR, &mut random);
                }
            }
        }
        image
    }

    /// Each sector of each write arrives, or does not, or is garbage.
    fn tear(&self, image: &mut Image, random: &mut Random) {
        for (offset, bytes) in &self.unflushed {
            let mut at = 0;
            while at < bytes.len() {
                let place = offset + at as u64;
                let room = SECTOR - (place % SECTOR as u64) as usize;
                let part = &bytes[at..bytes.len().min(at + room)];
                match random.below(5) {
                    0 | 1 => {}
                    2 | 3 => image.write(place, part),
                    _ => spoil(image, place, part.len(), random),
                }
                at += part.len();
            }
        }
    }

    /// Blocks that are not all as they were, if all that waits arrives.
    fn touched(&self) -> BTreeSet<u64> {
        let blocks = |(offset, bytes): &(u64, Arc<[u8]>)| {
            offset / BLOCK as u64..(offset + bytes.len() as u64).div_ceil(BLOCK as u64)
        };
        self.unflushed.iter().flat_map(blocks).collect()
    }

    /// Blocks that have been written and flushed, and lie right before one that was being written.
    fn beside(&self) -> BTreeSet<u64> {
        let touched = self.touched();
        let before = touched.iter().filter_map(|block| block.checked_sub(1));
        before.filter(|block| !touched.contains(block) && self.durable.0.contains_key(block)).collect()
    }

    /// What would change, in parts: of no more than [`PARTS_MAX`] sectors each is one; else each block. None where those are more, too.
    fn parts(&self) -> Vec<(u64, Vec<u8>)> {
        let arrived = self.arrived();
        let (mut sectors, mut blocks) = (Vec::new(), Vec::new());
        for block in self.touched() {
            let (old, new) = (self.durable.block(block), arrived.block(block));
            let place = block * BLOCK as u64;
            let pairs = old.chunks(SECTOR).zip(new.chunks(SECTOR)).enumerate();
            let changed = pairs.filter(|(_, (old, new))| old != new);
            let before = sectors.len();
            sectors.extend(changed.map(|(nth, (_, new))| (place + (nth * SECTOR) as u64, new.to_vec())));
            if sectors.len() > before {
                blocks.push((place, new.to_vec()));
            }
            if blocks.len() > PARTS_MAX {
                return Vec::new();
            }
        }
        if sectors.len() <= PARTS_MAX { sectors } else { blocks }
    }

    /// What tells states of a medium apart that come from one run.
    fn fingerprint(&self, image: &Image) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.generation);
        let touched = self.touched();
        for block in touched.iter().copied().chain(self.beside()) {
            let now = image.block(block);
            if now != self.durable.block(block) {
                hasher.write_u64(block);
                hasher.write(&now);
            }
        }
        hasher.finish()
    }
}

fn spoil(image: &mut Image, place: u64, length: usize, random: &mut Random) {
    let mut garbage = vec![0; length];
    random.fill(&mut garbage);
    image.write(place, &garbage);
}

/// Goes through the states that cuts of one run can leave, and hands out each once.
#[derive(Default)]
pub struct Outcomes {
    seen: HashSet<u64>,
}

/// A state of the medium after a cut.
pub struct Left {
    /// How it came to be.
    pub outcome: Outcome,
    /// The seed that [`Cut::survive`] needs for it.
    pub seed: u64,
    /// The medium, with its power on.
    pub memory: Memory,
}

impl Outcomes {
    /// Lost, kept, every subset of up to six parts with and without garbage in the others, and so many random states of each other kind, which
    /// `seed` chooses. `beside`: also those in which what had been flushed is spoilt, and none but those.
    pub fn of(&mut self, cut: &Cut, random: u64, beside: bool, seed: u64) -> Vec<Left> {
        let mut wanted = Vec::new();
        if !beside {
            wanted.extend([(Outcome::Lost, seed), (Outcome::Kept, seed)]);
            let parts = cut.parts().len();
            for arrived in 0..1u8 << parts {
                wanted.extend([(Outcome::Parts(arrived), seed), (Outcome::Spoilt(arrived), seed)]);
            }
        }
        let kinds: &[Outcome] =
            if beside { &[Outcome::Beside] } else { &[Outcome::Subset, Outcome::Torn, Outcome::Torn] };
        let nothing = cut.unflushed.is_empty() || beside && cut.beside().is_empty();
        if !nothing {
            let mut random_seeds = Random(seed);
            for _ in 0..random {
                wanted.extend(kinds.iter().map(|kind| (*kind, random_seeds.number())));
            }
        }
        let mut states = Vec::with_capacity(wanted.len());
        for (outcome, seed) in wanted {
            let image = cut.left(outcome, seed);
            if self.seen.insert(cut.fingerprint(&image)) {
                states.push(Left { outcome, seed, memory: cut.medium(image) });
            }
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    fn read(memory: &Memory, offset: u64, length: usize) -> Vec<u8> {
        let mut buf = vec![0; length];
        memory.read_at(offset, &mut buf).unwrap();
        buf
    }

    #[test]
    fn a_cut_keeps_what_was_flushed_and_may_lose_the_rest() {
        let memory = Memory::new(1 << 20);
        memory.write_at(0, &[1; 9000]).unwrap();
        memory.flush().unwrap();
        memory.cut_after(1);
        memory.write_at(9000, &[2; 5000]).unwrap();
        assert!(memory.write_at(20_000, &[3; 10]).is_err());
        assert!(memory.flush().is_err());
        assert!(memory.read_at(0, &mut [0]).is_err());
        for outcome in Outcome::ALL {
            for seed in 0..20 {
                let after = memory.survive(outcome, seed);
                assert_eq!(read(&after, 0, 9000), vec![1; 9000]);
                assert_eq!(read(&after, 100_000, 10), vec![0; 10]);
            }
        }
        assert_eq!(read(&memory.survive(Outcome::Lost, 0), 9000, 5000), vec![0; 5000]);
        assert_eq!(read(&memory.survive(Outcome::Kept, 0), 9000, 5000), vec![2; 5000]);
        let torn: Vec<_> =
            (0..8).map(|seed| read(&memory.survive(Outcome::Torn, seed), 9000, 5000)).collect();
        assert!(torn.iter().any(|bytes| bytes.contains(&2) && bytes.contains(&0)));
        assert_eq!(torn[3], read(&memory.survive(Outcome::Torn, 3), 9000, 5000));
    }

    #[test]
    fn reordered_writes_to_one_place_leave_either_of_them() {
        let memory = Memory::new(4096);
        memory.write_at(0, b"old").unwrap();
        memory.write_at(0, b"new").unwrap();
        let seen: HashSet<_> =
            (0..64).map(|seed| read(&memory.survive(Outcome::Subset, seed), 0, 3)).collect();
        assert_eq!(seen.len(), 3);
    }

    /// The cuts of: two sectors written and flushed, three more written, of which one changes nothing.
    fn cuts() -> Vec<Cut> {
        let memory = Memory::new(1 << 20);
        memory.write_at(4096, &[1; 2 * SECTOR]).unwrap();
        memory.flush().unwrap();
        memory.keep_cuts();
        memory.write_at(8192, &[[2; SECTOR], [0; SECTOR], [3; SECTOR]].concat()).unwrap();
        memory.write_at(12_288, &[4; SECTOR]).unwrap();
        memory.flush().unwrap();
        memory.take_cuts()
    }

    #[test]
    fn every_subset_of_what_changes_is_looked_at_once() {
        let cuts = cuts();
        let operations: Vec<_> = cuts.iter().map(Cut::operations).collect();
        assert_eq!(operations, [2, 3, 4]);
        let mut outcomes = Outcomes::default();
        let first = outcomes.of(&cuts[0], 0, false, 1);
        // Lost, kept, two more subsets, and three with garbage.
        assert_eq!(first.len(), 4 + 3);
        let second = outcomes.of(&cuts[1], 0, false, 1);
        let whole = |left: &Left| read(&left.memory, 0, 16_384);
        let clean = second.iter().filter(|left| !matches!(left.outcome, Outcome::Spoilt(_)));
        // What arrives of the second write only, with any of the first.
        assert_eq!(clean.clone().count(), 4);
        assert!(clean.clone().all(|left| read(&left.memory, 12_288, SECTOR) == [4; SECTOR]));
        assert_eq!(second.iter().chain(&first).map(whole).collect::<HashSet<_>>().len(), second.len() + 7);
        assert!(second.iter().all(|left| read(&left.memory, 4096, 2 * SECTOR) == [1; 2 * SECTOR]));
        // At the flush nothing new can be left but by chance.
        assert_eq!(outcomes.of(&cuts[2], 0, false, 1).len(), 0);
        assert!(!outcomes.of(&cuts[2], 20, false, 1).is_empty());
        let again = cuts[1].survive(second[3].outcome, second[3].seed);
        assert_eq!(read(&again, 0, 16_384), whole(&second[3]));
    }

    #[test]
    fn what_lies_beside_is_spoilt_only_when_it_is_asked_for() {
        let states = Outcomes::default().of(&cuts()[1], 20, true, 1);
        assert!(states.len() > 15);
        let sound = [vec![1; 2 * SECTOR], vec![0; 3072]].concat();
        assert!(states.iter().all(|left| read(&left.memory, 4096, 4096) != sound));
    }
}
