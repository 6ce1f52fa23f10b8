//! What fuzzing gives to the journal's decoders. Tags and checksums are made to fit: behind them the bytes must be harmless, too.

use std::sync::Arc;

use super::frame::{self, Header, Key};
use super::segment::{self, SegmentHeader};
use super::superblock::{SUPERBLOCK_BYTES, Superblock};
use super::{BLOCK_BYTES, Event, Finish, Format, Journal, format, verify, word};
use crate::device::{Device, Memory, Random};
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

/// A small store with records, bodies and structures, closed or cut.
fn sample(closed: bool) -> (Memory, Superblock) {
    let memory = Arc::new(Memory::new((SEGMENTS + 1) * u64::from(SEGMENT_BYTES)));
    let options = Format { segment_bytes: Some(SEGMENT_BYTES), force: false };
    let superblock = format(&*memory, &options, &mut |buf| Random(1).fill(buf)).expect("large enough");
    let (mut journal, _) =
        Journal::open(memory.clone(), &mut |buf| Random(2).fill(buf), &mut |_| {}).expect("a store");
    for number in 1..6 {
        let commit = |journal: &mut Journal| {
            if let Some(mut batch) = journal.take() {
                let result = batch.write(&*memory);
                assert!(matches!(journal.finish(batch, result), Finish::Durable { .. }));
            }
        };
        journal.append_body(AccountId(1), BodyId(number), 0, vec![number as u8; 3000]).expect("room");
        journal.append_structure(AccountId(1), BodyId(number), vec![9; 40]).expect("room");
        journal.append_record(AccountId(1), Serial(number), vec![1, 2, 3]).expect("room");
        commit(&mut journal);
        if closed && number == 5 {
            journal.append_witness().expect("room");
            commit(&mut journal);
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
    let device: Arc<dyn Device> = Arc::new(memory);
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
    // Whatever it holds, it can be gone on with, and what is written then is there.
    if journal.append_record(AccountId(1), Serial(99), b"later".to_vec()).is_ok()
        && let Some(mut batch) = journal.take()
    {
        let result = batch.write(&*device);
        assert!(matches!(journal.finish(batch, result), Finish::Durable { .. }));
        let mut later = false;
        let opened = Journal::open(device, &mut |buf| Random(4).fill(buf), &mut |found| {
            later |= matches!(found, Event::Record(found) if found.payload == b"later");
        });
        assert!(opened.is_ok() && later);
    }
}

/// Signs every header of a segment, and of a frame where there is one's magic number, with its payload.
fn sign_all(memory: &Memory, superblock: &Superblock) {
    let mut segment = vec![0; SEGMENT_BYTES as usize];
    for index in 0..superblock.segment_count {
        let base = superblock.base(index);
        memory.read_at(base, &mut segment).expect("inside");
        if &segment[..8] != b"PostfSeg" {
            continue;
        }
        for copy in [0, BLOCK_BYTES] {
            let hash = superblock.key.hash(&[&segment[copy..copy + 120]]);
            segment[copy + 120..copy + 128].copy_from_slice(&hash.to_le_bytes());
        }
        let incarnation = word::u64(&segment, 16);
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
