//! The frames of every body by its number, 13 bytes for almost all of them: a store of a million messages must fit the box.
//!
//! Numbers are given one after the other, so they are not kept: a block has a bit for each of its 313 numbers, and the bodies that are
//! there one after the other. A body that the packed form cannot hold (several pieces, a structure that lies far from its body,
//! dozens of uses) is kept whole beside it: whether it can is found out by unpacking it again, so packing loses nothing.
//!
//! Refuses to know when a body is needed: that is [`super::index`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::index::{LENGTH_BITS, Slot};
use crate::types::BodyId;

/// The frames of one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) first: Slot,
    pub(super) structure: Slot,
    pub(super) others: Vec<Slot>,
    pub(super) uses: u32,
}

impl Body {
    /// All its frames; `Slot::NONE` among them.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        [self.first, self.structure].into_iter().chain(self.others.iter().copied())
    }
}

/// How far behind the first piece the structure may lie, in bits of the alignment: 512 KiB.
const DISTANCE_BITS: u32 = 16;
const USES_BITS: u32 = 4;

const _: () = assert!(64 + LENGTH_BITS + DISTANCE_BITS + USES_BITS == 8 * size_of::<Packed>() as u32);

/// The first piece's slot, the length of the structure, its distance, and the uses; from the lowest bit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed([u8; 13]);

impl Packed {
    /// The body is kept whole.
    const ODD: Packed = Packed([0xFF; 13]);

    /// What can be held of the body.
    fn of(body: &Body) -> Packed {
        let low = |number: u64, bits: u32| u128::from(number & ((1 << bits) - 1));
        let distance = (body.structure.0 >> LENGTH_BITS).wrapping_sub(body.first.0 >> LENGTH_BITS);
        let bits = low(u64::from(body.uses), USES_BITS);
        let bits = bits << DISTANCE_BITS | low(distance, DISTANCE_BITS);
        let bits = bits << LENGTH_BITS | low(body.structure.0, LENGTH_BITS);
        let bits = bits << 64 | u128::from(body.first.0);
        let mut packed = Packed::ODD;
        packed.0.iter_mut().zip(bits.to_le_bytes()).for_each(|(byte, bits)| *byte = bits);
        packed
    }

    fn body(self) -> Body {
        let mut bits = [0; 16];
        bits.iter_mut().zip(self.0).for_each(|(bits, byte)| *bits = byte);
        let bits = u128::from_le_bytes(bits);
        let field = |from: u32, bits_wide: u32| (bits >> from) as u64 & ((1 << bits_wide) - 1);
        let first = Slot(bits as u64);
        let length = field(64, LENGTH_BITS);
        let distance = field(64 + LENGTH_BITS, DISTANCE_BITS);
        let structure = match (length, distance) {
            (0, 0) => Slot::NONE,
            _ => Slot(((first.0 >> LENGTH_BITS) + distance) << LENGTH_BITS | length),
        };
        let uses = field(64 + LENGTH_BITS + DISTANCE_BITS, USES_BITS) as u32;
        Body { first, structure, others: Vec::new(), uses }
    }
}

/// Numbers of a block: 4069 bytes. Allocators round up to powers of two or to finer steps, so just below one is dense with all.
const BLOCK_BODIES: u64 = 313;
const WORD_BITS: u64 = u64::BITS as u64;

/// The bodies of neighbouring numbers.
#[derive(Default)]
struct Block {
    /// A bit for each number that is there.
    present: [u64; BLOCK_BODIES.div_ceil(WORD_BITS) as usize],
    packed: Vec<Packed>,
}

impl Block {
    fn has(&self, at: u64) -> bool {
        self.present[(at / WORD_BITS) as usize] >> (at % WORD_BITS) & 1 == 1
    }

    /// How many lower numbers are there.
    fn rank(&self, at: u64) -> usize {
        let (word, bit) = ((at / WORD_BITS) as usize, at % WORD_BITS);
        let below = self.present[word] & ((1 << bit) - 1);
        (self.present[..word].iter().map(|word| word.count_ones()).sum::<u32>() + below.count_ones()) as usize
    }

    /// Puts one in, of which so many lower numbers are there.
    fn insert(&mut self, at: u64, rank: usize, packed: Packed) {
        let length = self.packed.len();
        if length == self.packed.capacity() {
            // As many as half a full one, a quarter, an eighth…
            let room = BLOCK_BODIES as usize >> (BLOCK_BODIES as usize / (length + 1)).ilog2();
            self.packed.reserve_exact(room - length);
        }
        self.packed.insert(rank, packed);
        self.present[(at / WORD_BITS) as usize] |= 1 << (at % WORD_BITS);
    }

    fn remove(&mut self, at: u64) {
        self.packed.remove(self.rank(at));
        self.present[(at / WORD_BITS) as usize] &= !(1 << (at % WORD_BITS));
        if self.packed.len() <= self.packed.capacity() / 2 {
            self.packed.shrink_to_fit();
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u64, Packed)> {
        (0..BLOCK_BODIES).filter(|at| self.has(*at)).zip(self.packed.iter().copied())
    }
}

/// Bodies that the packed form cannot hold.
#[derive(Default)]
struct Odd(BTreeMap<BodyId, Body>);

impl Odd {
    /// Packs a body, or keeps it.
    fn pack(&mut self, id: BodyId, body: Body) -> Packed {
        let packed = Packed::of(&body);
        if packed != Packed::ODD && packed.body() == body {
            return packed;
        }
        self.0.insert(id, body);
        Packed::ODD
    }

    fn unpack(&self, id: BodyId, packed: Packed) -> Cow<'_, Body> {
        match self.0.get(&id).filter(|_| packed == Packed::ODD) {
            Some(body) => Cow::Borrowed(body),
            None => Cow::Owned(packed.body()),
        }
    }

    fn take(&mut self, id: BodyId, packed: Packed) -> Body {
        let whole = if packed == Packed::ODD { self.0.remove(&id) } else { None };
        whole.unwrap_or_else(|| packed.body())
    }
}

/// All bodies.
#[derive(Default)]
pub(super) struct Catalogue {
    blocks: BTreeMap<u64, Block>,
    odd: Odd,
}

impl Catalogue {
    /// The frames of a body.
    pub(super) fn get(&self, id: BodyId) -> Option<Cow<'_, Body>> {
        let (block, at) = (self.blocks.get(&(id.0 / BLOCK_BODIES))?, id.0 % BLOCK_BODIES);
        block.has(at).then(|| self.odd.unpack(id, block.packed[block.rank(at)]))
    }

    /// Makes a body known, without frames and uses, unless it is.
    pub(super) fn expect(&mut self, id: BodyId) {
        let (block, at) = (self.blocks.entry(id.0 / BLOCK_BODIES).or_default(), id.0 % BLOCK_BODIES);
        if !block.has(at) {
            block.insert(at, block.rank(at), Packed::of(&Body::default()));
        }
    }

    /// Changes a body, which is known from now on if it was not.
    pub(super) fn settle<T>(&mut self, id: BodyId, change: impl FnOnce(&mut Body) -> T) -> T {
        let (block, at) = (self.blocks.entry(id.0 / BLOCK_BODIES).or_default(), id.0 % BLOCK_BODIES);
        let rank = block.rank(at);
        if block.has(at) {
            let mut body = self.odd.take(id, block.packed[rank]);
            let result = change(&mut body);
            block.packed[rank] = self.odd.pack(id, body);
            return result;
        }
        let mut body = Body::default();
        let result = change(&mut body);
        block.insert(at, rank, self.odd.pack(id, body));
        result
    }

    /// Changes a body, if it is known.
    pub(super) fn change<T>(&mut self, id: BodyId, change: impl FnOnce(&mut Body) -> T) -> Option<T> {
        let (block, at) = (self.blocks.get_mut(&(id.0 / BLOCK_BODIES))?, id.0 % BLOCK_BODIES);
        if !block.has(at) {
            return None;
        }
        let rank = block.rank(at);
        let mut body = self.odd.take(id, block.packed[rank]);
        let result = change(&mut body);
        block.packed[rank] = self.odd.pack(id, body);
        Some(result)
    }

    /// Forgets a body.
    pub(super) fn remove(&mut self, id: BodyId) -> Option<Body> {
        let (number, at) = (id.0 / BLOCK_BODIES, id.0 % BLOCK_BODIES);
        let block = self.blocks.get_mut(&number)?;
        if !block.has(at) {
            return None;
        }
        let body = self.odd.take(id, block.packed[block.rank(at)]);
        block.remove(at);
        if block.packed.is_empty() {
            self.blocks.remove(&number);
        }
        Some(body)
    }

    /// The bodies from a number on, by ascending numbers.
    pub(super) fn from(&self, id: BodyId) -> impl Iterator<Item = (BodyId, Cow<'_, Body>)> {
        let all = self.blocks.range(id.0 / BLOCK_BODIES..).flat_map(move |(number, block)| {
            block.iter().map(move |(at, packed)| {
                let id = BodyId(number * BLOCK_BODIES + at);
                (id, self.odd.unpack(id, packed))
            })
        });
        all.skip_while(move |(number, _)| *number < id)
    }

    /// Forgets bodies. Returns how many.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(BodyId, &Body) -> bool) -> usize {
        let mut gone = 0;
        self.blocks.retain(|number, block| {
            let mut left = Block::default();
            for (at, packed) in block.iter() {
                let id = BodyId(number * BLOCK_BODIES + at);
                if keep(id, &self.odd.unpack(id, packed)) {
                    left.insert(at, left.packed.len(), packed);
                } else {
                    self.odd.take(id, packed);
                    gone += 1;
                }
            }
            left.packed.shrink_to_fit();
            *block = left;
            !block.packed.is_empty()
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Random;
    use crate::journal::frame::ALIGNMENT;

    trait Sample {
        fn slot(&mut self) -> Slot;
        fn body(&mut self) -> Body;
    }

    impl Sample for Random {
        fn slot(&mut self) -> Slot {
            match self.below(10) {
                0 => Slot::NONE,
                1 => Slot(u64::MAX),
                _ => Slot::new(self.below(1 << 43) * ALIGNMENT, self.below(1 << 17) as usize),
            }
        }

        /// Most are like others; some are at the edges of what packs, or beyond.
        fn body(&mut self) -> Body {
            let first = self.slot();
            let behind = first.offset() + ALIGNMENT * self.below(1 << 16);
            let structure = Slot::new(behind, self.below(1 << 17) as usize);
            let mut body = Body { first, structure, others: Vec::new(), uses: 1 };
            match self.below(20) {
                0 => body.structure = self.slot(),
                1 => body.others = (0..self.below(4)).map(|_| self.slot()).collect(),
                2 => body.uses = self.below(20) as u32,
                3 => body.structure = Slot::new(first.offset(), 0),
                4 => body.structure = Slot::new(first.offset() + ALIGNMENT * (1 << DISTANCE_BITS), 7),
                5 => body = Packed::ODD.body(),
                6 => body.uses = u32::MAX,
                _ => {}
            }
            body
        }
    }

    fn agree(catalogue: &Catalogue, model: &BTreeMap<BodyId, Body>, from: BodyId) {
        let told = catalogue.from(from).map(|(id, body)| (id, body.into_owned()));
        assert!(told.eq(model.range(from..).map(|(id, body)| (*id, body.clone()))));
        assert_eq!(catalogue.get(from).as_deref(), model.get(&from));
        for (number, block) in &catalogue.blocks {
            let count: u32 = block.present.iter().map(|word| word.count_ones()).sum();
            assert!(count > 0 && count as usize == block.packed.len(), "{number}");
        }
        let whole = catalogue.odd.0.iter().all(|(id, body)| model.get(id) == Some(body));
        assert!(whole, "only bodies that are there are kept");
    }

    #[test]
    fn behaves_as_a_map_does() {
        for seed in 1..=4 {
            let random = &mut Random(seed << 20);
            let (mut catalogue, mut model) = (Catalogue::default(), BTreeMap::<BodyId, Body>::new());
            for step in 0..8000 {
                let id = BodyId(match random.below(8) {
                    0 => random.below(u64::MAX),
                    1 => u64::MAX - random.below(300),
                    _ => random.below(1200),
                });
                match random.below(10) {
                    0..=2 => {
                        catalogue.expect(id);
                        model.entry(id).or_default();
                    }
                    3..=7 => {
                        let body = random.body();
                        let former = catalogue.change(id, |there| std::mem::replace(there, body.clone()));
                        assert_eq!(former, model.get_mut(&id).map(|there| std::mem::replace(there, body)));
                    }
                    8 => assert_eq!(catalogue.remove(id), model.remove(&id)),
                    _ if random.below(20) == 0 => {
                        let (share, before) = (2 + random.below(9), model.len());
                        model.retain(|id, _| id.0 % share != 0);
                        assert_eq!(catalogue.retain(|id, _| id.0 % share != 0), before - model.len());
                    }
                    _ => assert_eq!(catalogue.get(id).as_deref(), model.get(&id)),
                }
                if step % 50 == 0 {
                    agree(&catalogue, &model, id);
                }
            }
            agree(&catalogue, &model, BodyId(0));
            catalogue.retain(|_, _| false);
            agree(&catalogue, &BTreeMap::new(), BodyId(0));
        }
    }

    #[test]
    fn a_body_takes_14_bytes_with_all() {
        let mut catalogue = Catalogue::default();
        for id in 0..100_000 {
            catalogue.expect(BodyId(id));
            let first = Slot::new(4096 * (1 + id), 3000);
            let structure = Slot::new(first.offset() + 3064, 700);
            catalogue.change(BodyId(id), |body| {
                *body = Body { first, structure, others: Vec::new(), uses: 1 };
            });
        }
        assert!(catalogue.odd.0.is_empty());
        let packed: usize = catalogue.blocks.values().map(|block| block.packed.capacity()).sum();
        // Half of a tree's places may be empty.
        let bytes = packed * size_of::<Packed>() + catalogue.blocks.len() * (8 + size_of::<Block>()) * 2;
        assert!(bytes <= 14 * 100_000, "{bytes}");
    }
}
