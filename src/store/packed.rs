//! The messages of a folder by ascending UID, 25 bytes each: a million of them must fit the box. They go in and come out as values.
//!
//! They lie in chunks that grow like a `Vec` up to 326 messages, so that a folder of any size has little unused room, and a message
//! may go in anywhere. A message that the packed form cannot hold (a date before 1970, one of an account's last keywords) is kept
//! whole beside it: whether it can is found out by unpacking it again, so packing loses nothing whatever a message says.
//!
//! Refuses to know what flags mean, and who counts what: that is [`super::messages`].

use std::collections::BTreeMap;

use super::state::Message;
use crate::limits::CHARGE_STEP_BYTES;
use crate::types::{BodyId, Flags, Serial, Time, Uid};

/// Messages of a full chunk: 8150 bytes. Allocators round up to powers of two or to finer steps, so just below one is dense with all.
const CHUNK_MESSAGES: usize = 326;
/// The UIDs of one chunk differ in these bits only.
const LOW: u32 = 0xFFFF;
/// Of packed flags: the message is kept whole. Neither a system flag nor a keyword.
const ODD: u32 = 1 << 6;
const STEP: u32 = CHARGE_STEP_BYTES as u32;

/// A message but for the higher half of its UID, without gaps between the fields.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed)]
struct Packed {
    size: u32,
    flags: u32,
    date: u32,
    serial: u32,
    body: u32,
    uid: u16,
    /// Steps of the charge beyond those of the size: structures of up to 15 KiB.
    charge: u8,
    serial_high: u8,
    body_high: u8,
}

impl Packed {
    /// What can be held of the message.
    fn of(message: &Message) -> Packed {
        let steps = (message.charge / STEP).wrapping_sub(message.size / STEP);
        Packed {
            size: message.size,
            flags: message.flags.0 as u32,
            date: message.date.0 as u32,
            serial: message.serial.0 as u32,
            body: message.body.0 as u32,
            uid: message.uid.0 as u16,
            charge: steps as u8,
            serial_high: (message.serial.0 >> 32) as u8,
            body_high: (message.body.0 >> 32) as u8,
        }
    }

    fn message(&self, high: u32) -> Message {
        let steps = (self.size / STEP).wrapping_add(u32::from(self.charge));
        Message {
            uid: self.uid(high),
            size: self.size,
            charge: steps.wrapping_mul(STEP),
            flags: Flags(u64::from(self.flags)),
            serial: Serial(u64::from(self.serial_high) << 32 | u64::from(self.serial)),
            body: BodyId(u64::from(self.body_high) << 32 | u64::from(self.body)),
            date: Time(i64::from(self.date)),
        }
    }

    fn uid(&self, high: u32) -> Uid {
        Uid(high | u32::from(self.uid))
    }

    fn is_odd(&self) -> bool {
        self.flags & ODD != 0
    }
}

/// Neighbours, at least one.
#[derive(Debug)]
struct Chunk {
    first: Uid,
    packed: Vec<Packed>,
}

impl Chunk {
    fn new(first: Uid) -> Chunk {
        Chunk { first, packed: Vec::new() }
    }

    fn high(&self) -> u32 {
        self.first.0 & !LOW
    }

    /// How many messages have a lower UID. Where no UID between is missing, as is usual, there is nothing to search.
    fn place(&self, uid: Uid) -> usize {
        let high = self.high();
        if self.packed.last().is_none_or(|last| last.uid(high) < uid) {
            return self.packed.len();
        }
        let most = (uid.0.saturating_sub(self.first.0) as usize).min(self.packed.len());
        match self.packed.get(most) {
            Some(packed) if packed.uid(high) == uid => most,
            _ => self.packed[..most].partition_point(|packed| packed.uid(high) < uid),
        }
    }

    fn takes(&self, uid: Uid) -> bool {
        uid.0 & !LOW == self.high() && self.packed.len() < CHUNK_MESSAGES
    }

    fn insert(&mut self, at: usize, packed: Packed) {
        let length = self.packed.len();
        if length == self.packed.capacity() {
            // As many as half a full one, a quarter, an eighth…
            let room = CHUNK_MESSAGES >> (CHUNK_MESSAGES / (length + 1)).ilog2();
            self.packed.reserve_exact(room - length);
        }
        self.packed.insert(at, packed);
        if at == 0 {
            self.first = packed.uid(self.high());
        }
    }
}

/// Messages that the packed form cannot hold.
#[derive(Debug, Default)]
struct Odd(BTreeMap<Uid, Message>);

impl Odd {
    /// Packs a message, or keeps it.
    fn pack(&mut self, message: &Message) -> Packed {
        let mut packed = Packed::of(message);
        if !packed.is_odd() && packed.message(message.uid.0 & !LOW) == *message {
            self.0.remove(&message.uid);
        } else {
            packed.flags |= ODD;
            self.0.insert(message.uid, *message);
        }
        packed
    }

    fn unpack(&self, packed: &Packed, high: u32) -> Message {
        let message = packed.message(high);
        if packed.is_odd() { self.0.get(&message.uid).copied().unwrap_or(message) } else { message }
    }
}

/// A folder's messages.
#[derive(Debug, Default)]
pub struct Messages {
    chunks: Vec<Chunk>,
    /// The index of each chunk's first message.
    starts: Vec<u32>,
    odd: Odd,
}

impl Messages {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.end(self.chunks.len()) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The message at an index, from 0.
    pub fn get(&self, index: usize) -> Option<Message> {
        let nth = self.starts.partition_point(|start| *start as usize <= index).checked_sub(1)?;
        let chunk = self.chunks.get(nth)?;
        let packed = chunk.packed.get(index - *self.starts.get(nth)? as usize)?;
        Some(self.odd.unpack(packed, chunk.high()))
    }

    /// The message with this UID.
    pub fn find(&self, uid: Uid) -> Option<Message> {
        self.range(uid, uid).next()
    }

    /// The message with the highest UID.
    pub fn last(&self) -> Option<Message> {
        let chunk = self.chunks.last()?;
        Some(self.odd.unpack(chunk.packed.last()?, chunk.high()))
    }

    /// How many messages have a lower UID.
    pub fn rank(&self, uid: Uid) -> usize {
        let (nth, at) = self.place(uid);
        self.starts.get(nth).map_or(0, |start| *start as usize) + at
    }

    /// Every message.
    pub fn iter(&self) -> impl Iterator<Item = Message> {
        self.range(Uid(0), Uid(u32::MAX))
    }

    /// The messages with UIDs from `first` to `last`, both included.
    pub fn range(&self, first: Uid, last: Uid) -> impl Iterator<Item = Message> {
        let (nth, at) = self.place(first);
        self.walk(nth, at).take_while(move |message| message.uid <= last)
    }

    /// The messages from a UID on, each with its index.
    pub fn from(&self, first: Uid) -> impl Iterator<Item = (usize, Message)> {
        let (nth, at) = self.place(first);
        let start = self.starts.get(nth).map_or(0, |start| *start as usize);
        (start + at..).zip(self.walk(nth, at))
    }

    /// Puts a message in its place. Returns the one that had this UID before.
    pub(super) fn insert(&mut self, message: Message) -> Option<Message> {
        let (nth, at) = self.place(message.uid);
        let chunk = self.chunks.get_mut(nth).map(|chunk| (chunk.high(), &mut chunk.packed));
        if let Some((high, packed)) = chunk
            && let Some(there) = packed.get_mut(at)
            && there.uid(high) == message.uid
        {
            let before = self.odd.unpack(there, high);
            *there = self.odd.pack(&message);
            return Some(before);
        }
        let packed = self.odd.pack(&message);
        let (nth, at) = self.make_room(message.uid, nth, at);
        self.chunks[nth].insert(at, packed);
        self.starts[nth + 1..].iter_mut().for_each(|start| *start += 1);
        None
    }

    /// Shows the messages with UIDs from `first` to `last`, both included, to who may change all of them but their UIDs.
    pub(super) fn change(&mut self, first: Uid, last: Uid, mut change: impl FnMut(&mut Message)) {
        let (nth, mut from) = self.place(first);
        for chunk in self.chunks.iter_mut().skip(nth) {
            let high = chunk.high();
            for packed in chunk.packed.iter_mut().skip(std::mem::take(&mut from)) {
                let before = self.odd.unpack(packed, high);
                if before.uid > last {
                    return;
                }
                let mut message = before;
                change(&mut message);
                debug_assert_eq!(message.uid, before.uid);
                if message != before {
                    *packed = self.odd.pack(&message);
                }
            }
        }
    }

    /// Removes messages, and packs those that stay as densely as can be.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Message) -> bool) {
        self.starts.clear();
        for chunk in std::mem::take(&mut self.chunks) {
            for packed in chunk.packed {
                let message = self.odd.unpack(&packed, chunk.first.0 & !LOW);
                if !keep(&message) {
                    self.odd.0.remove(&message.uid);
                    continue;
                }
                if self.chunks.last().is_none_or(|last| !last.takes(message.uid)) {
                    self.add_chunk(self.chunks.len(), Chunk::new(message.uid));
                }
                if let Some(last) = self.chunks.last_mut() {
                    last.insert(last.packed.len(), packed);
                }
            }
        }
    }

    /// The index behind the `nth` chunk's predecessor.
    fn end(&self, nth: usize) -> u32 {
        let before = nth.checked_sub(1).and_then(|nth| self.chunks.get(nth).zip(self.starts.get(nth)));
        before.map_or(0, |(chunk, start)| start + chunk.packed.len() as u32)
    }

    /// The chunk that a UID belongs to, and how many of its messages have a lower one. There is no such chunk where there is none.
    fn place(&self, uid: Uid) -> (usize, usize) {
        // Most messages come last.
        let nth = match self.chunks.last() {
            Some(last) if last.first <= uid => self.chunks.len() - 1,
            _ => self.chunks.partition_point(|chunk| chunk.first <= uid).saturating_sub(1),
        };
        (nth, self.chunks.get(nth).map_or(0, |chunk| chunk.place(uid)))
    }

    fn walk(&self, nth: usize, at: usize) -> Walk<'_> {
        let mut chunks = self.chunks.get(nth..).unwrap_or_default().iter();
        let first = chunks.next().map(|chunk| (chunk.high(), chunk.packed.get(at..).unwrap_or_default()));
        let (high, packed) = first.unwrap_or_default();
        Walk { odd: &self.odd, high, packed: packed.iter(), chunks }
    }

    /// From the place of a UID that is not there to one with a chunk that takes it.
    fn make_room(&mut self, uid: Uid, nth: usize, at: usize) -> (usize, usize) {
        let Some(chunk) = self.chunks.get_mut(nth) else {
            self.add_chunk(0, Chunk::new(uid));
            return (0, 0);
        };
        let length = chunk.packed.len();
        if chunk.takes(uid) {
            return (nth, at);
        }
        if 0 < at && at < length {
            let packed = chunk.packed.split_off(length / 2);
            let first = packed.first().map_or(uid, |packed| packed.uid(chunk.high()));
            self.add_chunk(nth + 1, Chunk { first, packed });
            return self.place(uid);
        }
        let next = if at == 0 { nth } else { nth + 1 };
        if !self.chunks.get(next).is_some_and(|chunk| chunk.takes(uid)) {
            self.add_chunk(next, Chunk::new(uid));
        }
        (next, 0)
    }

    fn add_chunk(&mut self, nth: usize, chunk: Chunk) {
        self.starts.insert(nth, self.end(nth));
        self.chunks.insert(nth, chunk);
    }
}

/// Messages one after the other.
struct Walk<'a> {
    odd: &'a Odd,
    high: u32,
    packed: std::slice::Iter<'a, Packed>,
    chunks: std::slice::Iter<'a, Chunk>,
}

impl Iterator for Walk<'_> {
    type Item = Message;

    #[inline]
    fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(packed) = self.packed.next() {
                return Some(self.odd.unpack(packed, self.high));
            }
            let chunk = self.chunks.next()?;
            (self.high, self.packed) = (chunk.high(), chunk.packed.iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Random;

    trait Sample {
        fn message(&mut self, uid: u32) -> Message;
    }

    impl Sample for Random {
        /// Most messages are like others; some are at the edges of what packs, or beyond.
        fn message(&mut self, uid: u32) -> Message {
            let size = self.below(100_000) as u32;
            let mut message = Message {
                uid: Uid(uid),
                size,
                charge: (size + 900).next_multiple_of(STEP),
                flags: Flags(self.below(32)),
                serial: Serial(self.below(1 << 40)),
                body: BodyId(self.below(1 << 40)),
                date: Time(self.below(1 << 32) as i64),
            };
            let edge = [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 40) - 1, 1 << 40, u64::MAX];
            let edge = edge[self.below(7) as usize];
            match self.below(30) {
                0 => message.flags = Flags(1 << self.below(64)),
                1 => message.serial = Serial(edge),
                2 => message.body = BodyId(edge),
                3 => message.date = Time(edge as i64),
                4 => message.size = edge as u32,
                5 => message.charge = edge as u32,
                _ => {}
            }
            message
        }
    }

    fn heap_bytes(messages: &Messages) -> usize {
        let packed: usize = messages.chunks.iter().map(|chunk| chunk.packed.capacity()).sum();
        packed * size_of::<Packed>()
            + messages.chunks.capacity() * size_of::<Chunk>()
            + messages.starts.capacity() * 4
    }

    fn agree(messages: &Messages, model: &BTreeMap<Uid, Message>, random: &mut Random) {
        assert!(messages.iter().eq(model.values().copied()));
        assert_eq!((messages.len(), messages.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(messages.last(), model.values().last().copied());
        let index = random.below(model.len() as u64 + 2) as usize;
        assert_eq!(messages.get(index), model.values().nth(index).copied());
        let odd = model.values().filter(|message| messages.odd.0.contains_key(&message.uid)).count();
        assert_eq!(messages.odd.0.len(), odd);
        let mut start = 0;
        for (chunk, told) in messages.chunks.iter().zip(&messages.starts) {
            assert_eq!(*told as usize, start);
            assert!((1..=CHUNK_MESSAGES).contains(&chunk.packed.len()));
            assert_eq!(chunk.first, chunk.packed[0].uid(chunk.high()));
            start += chunk.packed.len();
        }
        assert_eq!(messages.starts.len(), messages.chunks.len());
    }

    /// UIDs that lie dense, wide apart, and on both sides of where chunks must end.
    fn uid(random: &mut Random) -> u32 {
        match random.below(4) {
            0 => random.below(3000) as u32,
            1 => 0x1_FF00 + random.below(0x200) as u32,
            2 => random.below(1 << 32) as u32,
            _ => 100_000 + random.below(400) as u32,
        }
    }

    #[test]
    fn behaves_as_a_map_does() {
        for seed in 1..=4 {
            let random = &mut Random(seed << 20);
            let (mut messages, mut model) = (Messages::default(), BTreeMap::new());
            for step in 0..6000 {
                let first = Uid(uid(random));
                let span = 1 << (3 * random.below(8));
                let last = Uid(first.0.saturating_add(random.below(span) as u32));
                match random.below(40) {
                    0..=29 => {
                        let message = random.message(first.0);
                        assert_eq!(messages.insert(message), model.insert(message.uid, message));
                    }
                    30..=33 => {
                        let flags = Flags(1 << random.below(40));
                        let set = |message: &mut Message| message.flags = message.flags.with(flags);
                        messages.change(first, last, set);
                        model.range_mut(first..=last).for_each(|(_, message)| set(message));
                    }
                    34 => {
                        let share = 2 + random.below(30);
                        let keep = |message: &Message| u64::from(message.uid.0) % share != 0;
                        messages.retain(keep);
                        model.retain(|_, message| keep(message));
                    }
                    _ => {
                        let below = model.range(..first).count();
                        assert_eq!(
                            (messages.rank(first), messages.find(first)),
                            (below, model.get(&first).copied())
                        );
                        let (index, message) = messages.from(first).next().unzip();
                        assert_eq!(message, model.range(first..).next().map(|(_, message)| *message));
                        assert!(index.is_none_or(|index| index == below));
                        assert!(
                            messages
                                .range(first, last)
                                .eq(model.range(first..=last).map(|(_, message)| *message))
                        );
                    }
                }
                if step % 50 == 0 {
                    agree(&messages, &model, random);
                }
            }
            agree(&messages, &model, random);
            messages.retain(|_| false);
            agree(&messages, &BTreeMap::new(), random);
            assert!(messages.odd.0.is_empty());
        }
    }

    #[test]
    fn comes_in_any_order() {
        let mut orders: Vec<Vec<u32>> = vec![(0..5000).collect(), (0..5000).rev().collect()];
        orders.push((0..10).rev().flat_map(|run| run * 500..(run + 1) * 500).collect());
        orders.push((0..5000).map(|nth| nth * 7 % 5000).collect());
        for order in orders {
            let (mut messages, mut model) = (Messages::default(), BTreeMap::new());
            for uid in order {
                let message = Random(u64::from(uid) + 1).message(0xFFFF - 2000 + uid);
                assert_eq!(messages.insert(message), None);
                model.insert(message.uid, message);
            }
            agree(&messages, &model, &mut Random(1));
            assert!(messages.chunks.len() <= 2 * 5000_usize.div_ceil(CHUNK_MESSAGES) + 1);
            messages.retain(|_| true);
            agree(&messages, &model, &mut Random(2));
            assert!(messages.chunks.len() <= 5000_usize.div_ceil(CHUNK_MESSAGES) + 1);
        }
    }

    #[test]
    fn a_message_takes_26_bytes_with_all() {
        assert_eq!(size_of::<Packed>(), 25);
        let mut messages = Messages::default();
        for uid in 0..100_000 {
            let mut message = Random(u64::from(uid) + 1).message(uid);
            message.flags = Flags::SEEN;
            messages.insert(Message {
                date: Time(1 << 31),
                serial: Serial(1 << 39),
                body: BodyId(9),
                ..message
            });
        }
        assert!(heap_bytes(&messages) <= 26 * messages.len(), "{}", heap_bytes(&messages));
        messages.retain(|message| message.uid.0 % 50 == 0);
        assert!(heap_bytes(&messages) <= 28 * messages.len(), "{}", heap_bytes(&messages));
    }
}
