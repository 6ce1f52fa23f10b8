//! What fuzzing gives to the journal's decoders. Tags and checksums are made to fit: behind them the bytes must be harmless, too.

use std::sync::{Arc, OnceLock};

use super::frame::{self, Header, Key, Kind};
use super::index::Index;
use super::segment::{self, SegmentHeader};
use super::superblock::{SUPERBLOCK_BYTES, Superblock};
use super::{
    BLOCK_BYTES, Event, Finish, Format, Journal, Trust, format, parity, places, read, summary, verify, word,
};
use crate::device::{Device, Memory, Random};
use crate::limits::PROTECTED_SEGMENT_BYTES_MIN;
use crate::types::{AccountId, BodyId, Serial};

const SEGMENTS: u64 = 10;
const SEGMENT_BYTES: u32 = 16384;

/// As many bytes as fit, over zeros.
fn over<const N: usize>(data: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(data).for_each(|(byte, given)| *byte = *given);
    bytes
}

/// A frame's header with a tag that fits.
pub(crate) fn frame_header(data: &[u8]) {
    let key = Key::new([7; 16]);
    let mut bytes: [u8; frame::HEADER_BYTES] = over(data);
    assert!(Header::decode(&bytes, &key, 5).is_none() || data.len() >= 64);
    sign_frame(&mut bytes, &key, 5);
    if let Some(header) = Header::decode(&bytes, &key, 5) {
        assert_eq!(header.encode(&key, 5).0, bytes);
    }
}

fn sign_frame(bytes: &mut [u8; frame::HEADER_BYTES], key: &Key, incarnation: u64) {
    let tag = key.hash(&[&incarnation.to_le_bytes(), &bytes[..56]]);
    bytes[56..].copy_from_slice(&tag.to_le_bytes());
}

/// A segment's header with a hash that fits.
pub(crate) fn segment_header(data: &[u8]) {
    let key = Key::new([7; 16]);
    let mut bytes: [u8; segment::HEADER_BYTES] = over(data);
    bytes[..8].copy_from_slice(b"PostfSeg");
    let hash = key.hash(&[&bytes[..120]]);
    bytes[120..].copy_from_slice(&hash.to_le_bytes());
    let header = SegmentHeader::decode(&bytes, &key).expect("signed");
    let again = SegmentHeader::decode(&header.encode(&key), &key);
    assert_eq!(again, Some(header));
}

/// A store whose superblock says this.
pub(crate) fn superblock(data: &[u8]) {
    let mut bytes: [u8; SUPERBLOCK_BYTES] = over(data);
    bytes[..12].copy_from_slice(b"Postfach\x01\0\0\0");
    let checksum = frame::checksum(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    let memory = Memory::new(SEGMENTS * u64::from(SEGMENT_BYTES));
    memory.write_at(0, &bytes).expect("inside");
    let _opened = verify(&memory);
}

/// Places of bodies as a portion of a snapshot says them: what is understood is said again the same.
pub(crate) fn body_places(data: &[u8]) {
    let mut index = Index::default();
    let _wrong = places::hear(&mut index, data);
    let (mut told, mut again) = (Vec::new(), Index::default());
    assert_eq!(places::tell(&index, BodyId(0), usize::MAX, &|_| true, &mut told), None);
    assert!(places::hear(&mut again, &told).is_some());
    for (body, frames) in index.bodies_from(BodyId(0)) {
        assert_eq!(again.find(body, None), index.find(body, None));
        for piece in 0..=frames.others.len().min(usize::from(u16::MAX)) as u16 {
            assert_eq!(again.find(body, Some(piece)), index.find(body, Some(piece)));
        }
    }
}

/// A segment that ends in summaries, with hashes that fit: each takes the next bytes, after how many they are, for its trailer and entries.
pub(crate) fn summaries(data: &[u8]) {
    let superblock = cached().1.clone();
    let header = SegmentHeader { incarnation: 5, index: 1, ..SegmentHeader::default() };
    let memory = Memory::new(4 * u64::from(superblock.segment_bytes));
    let (mut floor, mut rest) = (u64::from(superblock.segment_bytes), data);
    for _ in 0..4 {
        let Some((length, after)) = rest.split_first() else { break };
        let (part, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let (fields, payload) = part.split_at(part.len().min(37));
        let bytes = (payload.len() + 64).next_multiple_of(BLOCK_BYTES);
        let mut block = payload.to_vec();
        block.resize(bytes, 0);
        let trailer = bytes - 64;
        block[trailer..trailer + 8].copy_from_slice(b"PostfSum");
        block[trailer + 8..trailer + 12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        block[trailer + 12..trailer + 16].copy_from_slice(&frame::checksum(payload).to_le_bytes());
        block[trailer + 16..trailer + 16 + fields.len()].copy_from_slice(fields);
        sign_summary(&mut block, &superblock, header.incarnation, floor);
        let Some(next) = floor.checked_sub(bytes as u64) else { break };
        memory.write_at(superblock.base(header.index) + next, &block).expect("inside");
        floor = next;
    }
    for summary in summary::read(&memory, &superblock, &header) {
        for (offset, position, entry) in summary.frames().into_iter().flatten() {
            assert!(offset + frame::frame_bytes(entry.length as usize) <= summary.end);
            assert!((summary.first..=summary.last).contains(&position));
        }
    }
}

fn sign_summary(block: &mut [u8], superblock: &Superblock, incarnation: u64, place: u64) {
    let trailer = block.len() - 64;
    let signed = &block[trailer..trailer + 56];
    let hash = superblock.key.hash(&[&incarnation.to_le_bytes(), &place.to_le_bytes(), signed]);
    block[trailer + 56..].copy_from_slice(&hash.to_le_bytes());
}

/// A head of parity with a hash that fits: what is made good is as it says.
pub(crate) fn parity_head(data: &[u8]) {
    let Some(examined) = examined(data) else { return };
    for (number, block) in examined.rebuilt() {
        assert_eq!(Some(&frame::checksum(block)), examined.head.checksums.get(number as usize));
    }
    let sums = protected().parity_start() / BLOCK_BYTES as u64..;
    assert!(examined.bad_sums.keys().all(|number| sums.contains(number)));
    assert!(examined.bad.keys().all(|number| examined.head.covers(*number)));
}

/// A segment with this head and blocks of zeros, of which some differ.
fn examined(data: &[u8]) -> Option<parity::Examined> {
    let superblock = protected();
    let memory = Memory::new(superblock.base(1));
    let mut block = [0; BLOCK_BYTES];
    let fields = BLOCK_BYTES - 8;
    block[8..fields].iter_mut().zip(data).for_each(|(byte, given)| *byte = *given);
    block[..8].copy_from_slice(b"PostfPar");
    let hash = superblock.key.hash(&[&5_u64.to_le_bytes(), &block[..fields]]);
    block[fields..].copy_from_slice(&hash.to_le_bytes());
    let place = superblock.parity_start() + superblock.columns() * BLOCK_BYTES as u64;
    memory.write_at(superblock.base(0) + place, &block).expect("inside");
    for at in data.iter().take(4) {
        memory.write_at(superblock.base(0) + u64::from(*at) * 1024, b"x").expect("inside");
    }
    parity::examine(&memory, superblock, 0, 5)
}

/// The head's fields for two blocks of frames and two of summaries, all of them zeros.
pub(crate) fn parity_heads() -> Vec<Vec<u8>> {
    let blocks = (protected().parity_start() / BLOCK_BYTES as u64) as u32;
    let mut head = [2, blocks - 2, 9, 0, 0, 0].map(u32::to_le_bytes).concat();
    for number in 0..blocks {
        let covered = number < 2 || number >= blocks - 2;
        head.extend_from_slice(&if covered { frame::checksum(&[0; BLOCK_BYTES]) } else { 0 }.to_le_bytes());
    }
    vec![head]
}

/// Of a store of the smallest segments that have parity.
fn protected() -> &'static Superblock {
    static PROTECTED: OnceLock<Superblock> = OnceLock::new();
    PROTECTED.get_or_init(|| {
        let memory = Memory::new(SEGMENTS * PROTECTED_SEGMENT_BYTES_MIN);
        let segment_bytes = Some(PROTECTED_SEGMENT_BYTES_MIN as u32);
        let options = Format { segment_bytes, force: false };
        format(&memory, &options, &mut |buf| Random(1).fill(buf)).expect("large enough")
    })
}

fn commit(journal: &mut Journal, memory: &Memory) {
    if let Some(mut batch) = journal.take() {
        let result = batch.write(memory);
        assert!(matches!(journal.finish(batch, result), Finish::Durable { .. }));
    }
}

/// Where a store has something to be decoded: offset and length.
type Spans = Vec<(u64, u64)>;

/// A store with summaries and a snapshot, of segments that are as small as such ones can be; and its interesting places.
fn cached() -> &'static (Memory, Superblock, Spans) {
    static CACHED: OnceLock<(Memory, Superblock, Spans)> = OnceLock::new();
    CACHED.get_or_init(|| {
        let segment_bytes = 16 * BLOCK_BYTES as u32;
        let memory = Arc::new(Memory::new((SEGMENTS + 1) * u64::from(segment_bytes)));
        let options = Format { segment_bytes: Some(segment_bytes), force: false };
        let superblock = format(&*memory, &options, &mut |buf| Random(1).fill(buf)).expect("large enough");
        let opened = Journal::open(memory.clone(), &mut |buf| Random(2).fill(buf), &mut |_| {});
        let (mut journal, _) = opened.expect("a store");
        let deliver = |journal: &mut Journal, number: u64| {
            let mut bytes = vec![0; 14_000];
            Random(number).fill(&mut bytes);
            // Nothing in it looks like a frame.
            bytes.iter_mut().for_each(|byte| *byte &= 0x7F);
            journal.append_body(AccountId(1), BodyId(number), 0, bytes).expect("room");
            journal.append_structure(AccountId(1), BodyId(number), vec![9; 40]).expect("room");
            journal.append_record(AccountId(1), Serial(number), vec![1, 2, 3]).expect("room");
            commit(journal, &memory);
        };
        (1..8).for_each(|number| deliver(&mut journal, number));
        journal.begin_snapshot();
        while journal.tell_places().expect("room") {}
        journal.tell_records(Serial(7), &[1, 2, 3]).expect("room");
        journal.end_snapshot().expect("room");
        commit(&mut journal, &memory);
        (8..15).for_each(|number| deliver(&mut journal, number));
        let spans = spans(&memory, &superblock);
        (memory.copy(), superblock, spans)
    })
}

/// Segments that have been used: where each begins, and its bytes.
fn used(memory: &Memory, superblock: &Superblock) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let segments = (0..superblock.segment_count).map(|index| {
        let mut segment = vec![0; superblock.segment_bytes as usize];
        memory.read_at(superblock.base(index), &mut segment).expect("inside");
        (superblock.base(index), segment)
    });
    segments.filter(|(_, segment)| segment.starts_with(b"PostfSeg"))
}

/// The mark, the headers of segments, the summaries, and every frame but what bodies hold.
fn spans(memory: &Memory, superblock: &Superblock) -> Spans {
    let mut spans = vec![(2 * BLOCK_BYTES as u64, 24), (3 * BLOCK_BYTES as u64, 24)];
    for (base, segment) in used(memory, superblock) {
        spans.extend([0, BLOCK_BYTES as u64].map(|copy| (base + copy, 328)));
        for at in (2 * BLOCK_BYTES..segment.len()).step_by(8) {
            if segment[at..at + 2] == frame::MAGIC && segment[at + 2] == 1 {
                let length = u64::from(word::u32(&segment, at + 8));
                let body = segment[at + 3] == Kind::Body as u8;
                spans.push((base + at as u64, 64 + if body { 0 } else { length }));
            }
            if segment[at..].starts_with(b"PostfSum") {
                let block = at / BLOCK_BYTES * BLOCK_BYTES;
                let length = u64::from(word::u32(&segment, at + 8));
                spans.extend([(base + at as u64, 64), (base + block as u64, length)]);
            }
        }
    }
    spans
}

/// As [`store`], one with summaries and a snapshot: triples of place (among the interesting ones) and value.
pub(crate) fn caches(data: &[u8]) {
    let Some((how, edits)) = data.split_first() else { return };
    let (memory, superblock, spans) = cached();
    let memory = memory.copy();
    let all: u64 = spans.iter().map(|(_, length)| length).sum();
    for edit in edits.chunks_exact(3).take(64) {
        let mut at = u64::from(u16::from_le_bytes([edit[0], edit[1]])) % all;
        let span = spans.iter().find(|(_, length)| {
            let here = at < *length;
            at -= if here { 0 } else { *length };
            here
        });
        let (offset, _) = span.expect("it is within all of them");
        memory.write_at(offset + at, &edit[2..]).expect("inside");
    }
    if how & 1 == 1 {
        sign_all(&memory, superblock);
    }
    for trust in [Trust::Summaries, Trust::Snapshot] {
        read(&memory, trust, &mut |_| {}).expect("its superblock is whole");
    }
    goes_on(Arc::new(memory), superblock);
}

/// A small store with records, bodies and structures, closed or cut.
fn sample(closed: bool) -> (Memory, Superblock) {
    let memory = Arc::new(Memory::new((SEGMENTS + 1) * u64::from(SEGMENT_BYTES)));
    let options = Format { segment_bytes: Some(SEGMENT_BYTES), force: false };
    let superblock = format(&*memory, &options, &mut |buf| Random(1).fill(buf)).expect("large enough");
    let (mut journal, _) =
        Journal::open(memory.clone(), &mut |buf| Random(2).fill(buf), &mut |_| {}).expect("a store");
    for number in 1..6 {
        journal.append_body(AccountId(1), BodyId(number), 0, vec![number as u8; 3000]).expect("room");
        journal.append_structure(AccountId(1), BodyId(number), vec![9; 40]).expect("room");
        journal.append_record(AccountId(1), Serial(number), vec![1, 2, 3]).expect("room");
        commit(&mut journal, &memory);
        if closed && number == 5 {
            journal.append_witness().expect("room");
            commit(&mut journal, &memory);
        }
    }
    (memory.copy(), superblock)
}

/// A store with some bytes changed: triples of place (two bytes, counted from the end of the reserved part) and value.
/// An odd first byte signs what was changed, as if we had written it.
pub(crate) fn store(data: &[u8]) {
    let Some((how, edits)) = data.split_first() else { return };
    let (memory, superblock) = sample(how & 2 != 0);
    for edit in edits.chunks_exact(3).take(64) {
        let at = superblock.base(0) + u64::from(u16::from_le_bytes([edit[0], edit[1]]));
        memory.write_at(at, &edit[2..]).expect("inside");
    }
    if how & 1 == 1 {
        sign_all(&memory, &superblock);
    }
    goes_on(Arc::new(memory), &superblock);
}

/// Whatever a store holds, it can be opened and gone on with, and what is written then is there.
fn goes_on(device: Arc<Memory>, superblock: &Superblock) {
    let report = verify(&*device).expect("its superblock is whole");
    let opened = Journal::open(device.clone(), &mut |buf| Random(3).fill(buf), &mut |_| {});
    let (mut journal, _) = opened.expect("its superblock is whole");
    assert!(report.segments <= superblock.segment_count);
    let mut buf = Vec::new();
    for body in 0..8 {
        for extent in
            [journal.find(BodyId(body), 0), journal.find_structure(BodyId(body))].into_iter().flatten()
        {
            let _damaged = extent.read(&*device, &mut buf);
        }
    }
    if journal.append_record(AccountId(1), Serial(99), b"later".to_vec()).is_ok()
        && journal.pending_bytes() > 0
    {
        commit(&mut journal, &device);
        let mut later = false;
        let opened = Journal::open(device, &mut |buf| Random(4).fill(buf), &mut |found| {
            later |= matches!(found, Event::Record(found) if found.payload == b"later");
        });
        assert!(opened.is_ok() && later);
    }
}

/// Signs every header of a segment with its members, every summary, and a frame where there is one's magic number, with its payload. Not the
/// mark: one that is too low is true of no store, and what is written next would be behind older headers.
fn sign_all(memory: &Memory, superblock: &Superblock) {
    for (base, mut segment) in used(memory, superblock) {
        for copy in [0, BLOCK_BYTES] {
            // The list, without the incarnation at the end of each sector.
            let mut list = segment[copy + 320..copy + 512].to_vec();
            for sector in segment[copy + 512..copy + BLOCK_BYTES].chunks_exact(512) {
                list.extend_from_slice(&sector[..504]);
            }
            let members = superblock.key.hash(&[&list]);
            segment[copy + 88..copy + 96].copy_from_slice(&members.to_le_bytes());
            let hash = superblock.key.hash(&[&segment[copy..copy + 120]]);
            segment[copy + 120..copy + 128].copy_from_slice(&hash.to_le_bytes());
        }
        let incarnation = word::u64(&segment, 16);
        for (nth, block) in segment.chunks_mut(BLOCK_BYTES).enumerate().skip(2) {
            let trailer = BLOCK_BYTES - 64;
            if block[trailer..].starts_with(b"PostfSum") {
                let length = (word::u32(block, trailer + 8) as usize).min(trailer);
                let checksum = frame::checksum(&block[..length]);
                block[trailer + 12..trailer + 16].copy_from_slice(&checksum.to_le_bytes());
                sign_summary(block, superblock, incarnation, ((nth + 1) * BLOCK_BYTES) as u64);
            }
        }
        let mut at = 2 * BLOCK_BYTES;
        while at + frame::HEADER_BYTES <= segment.len() {
            if segment[at..at + 2] != frame::MAGIC {
                at += 8;
                continue;
            }
            let length = word::u32(&segment, at + 8) as usize;
            if let Some(payload) = segment.get(at + 64..).and_then(|rest| rest.get(..length)) {
                let checksum = frame::checksum(payload);
                segment[at + 44..at + 48].copy_from_slice(&checksum.to_le_bytes());
            }
            let mut header: [u8; frame::HEADER_BYTES] = word::array(&segment, at);
            sign_frame(&mut header, &superblock.key, incarnation);
            segment[at..at + 64].copy_from_slice(&header);
            at += 64;
        }
        memory.write_at(base, &segment).expect("inside");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this the targets would look at nothing.
    #[test]
    fn the_sample_has_what_is_to_be_decoded() {
        let examined = examined(&parity_heads()[0]).expect("a good head");
        assert!(examined.rebuilt().count() > 0);
        let (memory, superblock, spans) = cached();
        let wanted = superblock.base(0)..superblock.base(9);
        assert!(
            spans.len() > 60 && spans.iter().skip(2).all(|(at, length)| wanted.contains(&(at + length - 1)))
        );
        assert!(spans.iter().map(|(_, length)| length).sum::<u64>() < 1 << 16);
        let (report, _) = read(memory, Trust::Snapshot, &mut |_| {}).unwrap();
        assert!(report.unread_segments > 0 && !report.is_damaged(), "{report}");
        let signed = memory.copy();
        sign_all(&signed, superblock);
        let (mut before, mut after) = (vec![0; 1 << 19], vec![0; 1 << 19]);
        memory.read_at(0, &mut before).unwrap();
        signed.read_at(0, &mut after).unwrap();
        assert!(before == after, "what is signed anew is as it was");
    }
}
