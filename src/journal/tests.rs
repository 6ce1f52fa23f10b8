//! The journal on a device that loses power, forgets, rots and fails.

use std::sync::Arc;

use super::*;
use crate::device::{Memory, Operation, Outcome, Random, below};
use crate::types::BodyId;

const ANNA: AccountId = AccountId(7);
const BEN: AccountId = AccountId(8);

/// A fresh store with the smallest segments: two blocks of frames in each.
fn store(segments: u64, seed: u64) -> Memory {
    store_of(segments, 16384, seed)
}

/// A fresh store with segments of this size.
fn store_of(segments: u64, segment_bytes: u32, seed: u64) -> Memory {
    let memory = Memory::new((segments + 1) * u64::from(segment_bytes));
    let options = Format { segment_bytes: Some(segment_bytes), force: false };
    format(&memory, &options, &mut |buf| Random(seed).fill(buf)).unwrap();
    memory
}

/// What an opening has shown.
struct Opened {
    journal: Journal,
    report: Report,
    /// What a check says.
    checked: Report,
    /// Position, serial, payload.
    records: Vec<(u64, u64, Vec<u8>)>,
}

fn open(device: Arc<dyn Device>, seed: u64) -> Opened {
    let mut records = Vec::new();
    let mut visit = |event: Event<'_>| match event {
        Event::Record(found) => records.push((found.position.0, found.serial.0, found.payload.to_vec())),
        Event::Forget => records.clear(),
    };
    let mut random = Random(seed);
    let (journal, report) =
        Journal::open(Arc::clone(&device), &mut |buf| random.fill(buf), &mut visit).unwrap();
    // The frames say the same, unless something is missing.
    let mut read = Vec::new();
    let mut visit = |found: Found<'_>| read.push((found.position.0, found.serial.0, found.payload.to_vec()));
    let (checked, _) = examine(device.as_ref(), &mut visit).unwrap();
    assert!(checked.is_damaged() || records == read, "{checked}\n{report}");
    Opened { journal, report, checked, records }
}

/// One commit of everything pending.
fn commit(journal: &mut Journal) -> Finish {
    let mut batch = journal.take().unwrap();
    let device = journal.device().clone();
    let result = batch.write(device.as_ref());
    journal.finish(batch, result)
}

#[test]
fn what_was_committed_is_there_again() {
    let device = Arc::new(store(8, 1));
    let mut opened = open(device.clone(), 1);
    assert_eq!((opened.report.opening, opened.records.len()), (1, 0));
    let journal = &mut opened.journal;
    journal.append_body(ANNA, BodyId(5), 0, vec![1; 5000]).unwrap();
    journal.append_structure(ANNA, BodyId(5), vec![2; 50]).unwrap();
    let last = journal.append_record(ANNA, Serial(9), b"fact".to_vec()).unwrap();
    assert!(journal.find(BodyId(5), 0).is_none());
    assert_eq!(commit(journal), Finish::Durable { accounts: vec![ANNA] });
    assert_eq!((journal.durable(), journal.last(), journal.pending_bytes()), (last, last, 0));
    assert!(journal.take().is_none());
    drop(opened);
    let opened = open(device.clone(), 2);
    assert_eq!(opened.records, [(3, 9, b"fact".to_vec())]);
    assert_eq!((opened.report.opening, opened.report.frames), (2, 3));
    let mut buf = Vec::new();
    opened.journal.find(BodyId(5), 0).unwrap().read(device.as_ref(), &mut buf).unwrap();
    assert_eq!(buf, vec![1; 5000]);
    opened.journal.find_structure(BodyId(5)).unwrap().read(device.as_ref(), &mut buf).unwrap();
    assert_eq!(buf, vec![2; 50]);
    assert!(!verify(device.as_ref()).unwrap().is_damaged());
}

mod caches;
mod crash;
mod packed;
mod parity;
mod reuse;
mod rot;

#[test]
fn the_superblock_is_what_the_specification_says() {
    let memory = store(8, 1);
    let mut block = [0; 4096];
    memory.read_at(4096, &mut block).unwrap();
    let mut first = [0; 4096];
    memory.read_at(0, &mut first).unwrap();
    assert_eq!(first, block);
    let mut random = Random(1);
    let mut fill = |length: usize| {
        let mut bytes = vec![0; length];
        random = Random(1);
        random.fill(&mut bytes);
        bytes
    };
    assert_eq!(block[..16], *b"Postfach\x01\0\0\0\0\0\0\0");
    assert_eq!(block[16..24], fill(8));
    assert_eq!(block[24..40], fill(16));
    assert_eq!(block[40..48], [0, 0x40, 0, 0, 8, 0, 0, 0]);
    let start = u32::from_le_bytes(word::array(&fill(4), 0)) & 0x7FFF_FFFF;
    assert_eq!(word::u32(&block, 48), start);
    assert_eq!(word::u32(&block, 60), crc32c::crc32c(&block[..60]));
    assert!(block[52..60].iter().chain(&block[64..]).all(|byte| *byte == 0));
}

#[test]
fn format_refuses_a_store_and_with_force_leaves_nothing_of_it() {
    let device = Arc::new(store(8, 1));
    let mut journal = open(device.clone(), 1).journal;
    journal.append_record(ANNA, Serial(1), b"old".to_vec()).unwrap();
    commit(&mut journal);
    drop(journal);
    let mut random = Random(2);
    let mut options = Format { segment_bytes: Some(16384), force: false };
    let mut make =
        |device: &dyn Device, options: &Format| format(device, options, &mut |buf| random.fill(buf));
    for spoilt in [None, Some(0), Some(4096)] {
        let copy = device.copy();
        if let Some(offset) = spoilt {
            copy.write_at(offset, &[0xFF; 4096]).unwrap();
        }
        assert_eq!(open(Arc::new(copy.copy()), 1).records.len(), 1);
        assert!(matches!(make(&copy, &options), Err(FormatError::Exists)));
    }
    options.force = true;
    let old = device.copy();
    let operations = device.operations();
    make(device.as_ref(), &options).unwrap();
    let steps = device.operations() - operations;
    assert_eq!(open(device.clone(), 1).records.len(), 0);
    // Cut anywhere: the old store whole, none, or the new one; never a mixture.
    for operation in 0..steps {
        for (outcome, seed) in
            Outcome::ALL.into_iter().flat_map(|outcome| (0..4).map(move |seed| (outcome, seed)))
        {
            let again = old.copy();
            again.cut_after(operation);
            assert!(make(&again, &options).is_err());
            let survived: Arc<dyn Device> = Arc::new(again.survive(outcome, seed));
            let opened = Journal::open(Arc::clone(&survived), &mut |_| {}, &mut |_| {});
            let Ok((journal, report)) = opened else { continue };
            assert!(!report.is_damaged());
            // Nor may the second copy be another store's, which would come back when the first one is lost.
            survived.write_at(0, &[0; 4096]).unwrap();
            if let Ok((second, _)) = Journal::open(survived, &mut |_| {}, &mut |_| {}) {
                assert_eq!(second.superblock(), journal.superblock());
            }
        }
    }
}

#[test]
fn format_says_how_much_it_needs() {
    let mut random = Random(1);
    let mut make = |bytes, segment_bytes| {
        let options = Format { segment_bytes, force: false };
        format(&Memory::new(bytes), &options, &mut |buf| random.fill(buf))
    };
    let Err(FormatError::TooSmall { minimum_bytes }) = make(100_000, None) else { panic!() };
    assert_eq!(minimum_bytes, 9 * 256 * 1024);
    assert!(make(minimum_bytes - 1, None).is_err());
    assert_eq!(make(minimum_bytes, None).unwrap().segment_count, 8);
    let gigabyte = make(1 << 30, None).unwrap();
    assert_eq!((gigabyte.segment_bytes, gigabyte.segment_count), (4 << 20, 255));
    assert_eq!(make(100 << 20, None).unwrap().segment_bytes, 1 << 20);
    for odd in [4096, 16385, 8 << 20] {
        assert!(matches!(make(1 << 30, Some(odd)), Err(FormatError::SegmentBytes)));
    }
    let nothing: Arc<dyn Device> = Arc::new(Memory::new(1 << 20));
    assert!(matches!(Journal::open(nothing, &mut |_| {}, &mut |_| {}), Err(OpenError::NoStore)));
}

#[test]
fn a_frame_in_a_message_is_never_believed() {
    let device = Arc::new(store(8, 1));
    let mut journal = open(device.clone(), 1).journal;
    journal.append_record(ANNA, Serial(1), b"true".to_vec()).unwrap();
    commit(&mut journal);
    // A stranger who knows everything but the key, and fills a message with frames at every alignment.
    let stranger = frame::Key::new([0; 16]);
    let mut header =
        frame::Header { kind: 3, length: 4, position: 3, number: 2, durable: 99, ..Default::default() };
    header.checksum = frame::checksum(b"fake");
    let (bytes, _) = header.encode(&stranger, 0);
    let mut payload = Vec::new();
    while payload.len() < 4000 {
        payload.extend_from_slice(&bytes);
        payload.extend_from_slice(b"fake\0\0\0\0");
    }
    journal.append_body(ANNA, BodyId(1), 0, payload).unwrap();
    commit(&mut journal);
    drop(journal);
    // The header of the body's frame goes, so that the search reads the message.
    let base = 16384 + 8192 + 4096;
    device.write_at(base, &[0; 64]).unwrap();
    let opened = open(device, 2);
    assert_eq!(opened.records.len(), 1);
    assert!(!opened.report.is_damaged());
}

#[test]
fn a_failed_flush_is_made_good_elsewhere_and_a_second_one_ends_writing() {
    for failing in [Operation::Flush, Operation::Write] {
        let device = Arc::new(store(8, 1));
        let mut journal = open(device.clone(), 1).journal;
        journal.append_record(ANNA, Serial(1), b"one".to_vec()).unwrap();
        commit(&mut journal);
        let next = if failing == Operation::Flush { device.flushes() } else { device.writes() };
        device.fail_at(failing, next, false);
        journal.append_record(ANNA, Serial(2), b"two".to_vec()).unwrap();
        let mut batch = journal.take().unwrap();
        journal.append_record(BEN, Serial(3), b"three".to_vec()).unwrap();
        assert!(journal.take().is_none());
        let result = batch.write(device.as_ref());
        assert!(result.is_err());
        assert_eq!(journal.finish(batch, result), Finish::Again);
        assert_eq!(journal.durable(), Position(1));
        assert_eq!(commit(&mut journal), Finish::Durable { accounts: vec![ANNA, BEN] });
        assert_eq!((journal.durable(), journal.pending_bytes()), (Position(3), 0));
        let opened = open(Arc::new(device.survive(Outcome::Lost, 0)), 2);
        let records: Vec<_> = opened.records.iter().map(|record| (record.0, record.1)).collect();
        assert_eq!(records, [(1, 1), (2, 2), (3, 3)]);
        assert!(!opened.report.is_damaged());

        device.fail_at(Operation::Flush, device.flushes(), true);
        journal.append_record(ANNA, Serial(4), b"four".to_vec()).unwrap();
        assert_eq!(commit(&mut journal), Finish::Again);
        assert_eq!(commit(&mut journal), Finish::Failed);
        assert!(journal.read_only() && journal.take().is_none());
        assert_eq!(journal.append_record(ANNA, Serial(5), vec![1]), Err(AppendError::ReadOnly));
        assert_eq!(journal.durable(), Position(3));
        assert_eq!(open(Arc::new(device.survive(Outcome::Lost, 0)), 2).records.len(), 3);
    }
}

#[test]
fn a_full_store_takes_records_after_it_refuses_bodies_and_never_runs_out_in_between() {
    let device = Arc::new(store(12, 1));
    let mut journal = open(device.clone(), 1).journal;
    assert_eq!(journal.append_record(ANNA, Serial(1), vec![0; 8192]), Err(AppendError::TooLarge));
    let (mut bodies, mut records) = (0, 0);
    while journal.append_body(ANNA, BodyId(1), bodies, vec![1; 3000]).is_ok() {
        bodies += 1;
    }
    assert_eq!(journal.append_structure(ANNA, BodyId(1), vec![1; 3000]), Err(AppendError::Full));
    // A flush that fails now finds room to write everything again.
    device.fail_at(Operation::Flush, device.flushes(), false);
    assert_eq!(commit(&mut journal), Finish::Again);
    assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
    while journal.append_record(ANNA, Serial(records), vec![2; 500]).is_ok() {
        records += 1;
        if records % 3 == 0 {
            assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
        }
    }
    assert!(bodies > 10 && records >= 3, "{bodies} {records}");
    while journal.take().is_some_and(|mut batch| {
        let result = batch.write(device.as_ref());
        journal.finish(batch, result) == Finish::Again
    }) {}
    let capacity = journal.capacity();
    assert!(capacity.free_segments >= 1 && capacity.used_bytes < capacity.raw_bytes);
    let opened = open(device, 2);
    assert_eq!(opened.records.len() as u64, records);
    assert!((0..bodies).all(|piece| opened.journal.find(BodyId(1), piece).is_some()));
}

#[test]
fn a_small_commit_is_one_write_of_whole_blocks_and_one_flush() {
    let device = Arc::new(store(8, 1));
    let mut journal = open(device.clone(), 1).journal;
    journal.append_record(ANNA, Serial(1), vec![1]).unwrap();
    commit(&mut journal);
    let before = (device.writes(), device.flushes(), device.bytes_written());
    journal.append_body(ANNA, BodyId(1), 0, vec![1; 3500]).unwrap();
    journal.append_record(ANNA, Serial(2), vec![1; 100]).unwrap();
    commit(&mut journal);
    let after = (device.writes(), device.flushes(), device.bytes_written());
    assert_eq!(after, (before.0 + 1, before.1 + 1, before.2 + 4096));
    // On a block of its own: what was acknowledged is not written again.
    let extent = journal.find(BodyId(1), 0).unwrap();
    assert_eq!(extent.slot.offset(), 16384 + 8192 + 4096);
    let mut buf = vec![9];
    assert!(extent.read_cached(device.as_ref(), &mut buf).unwrap());
    assert_eq!((buf.len(), extent.payload_bytes()), (3500, 3500));
    assert!(matches!(
        Extent { piece: 1, ..extent.clone() }.read(device.as_ref(), &mut buf),
        Err(ReadError::Damaged)
    ));
    assert!(buf.is_empty());
    let (offset, length) = journal.prepare_ahead().unwrap();
    assert_eq!((offset, length), (2 * 16384, 16384));
    assert_eq!(journal.prepare_ahead(), None);
}

#[test]
fn a_store_in_a_file_is_there_after_closing_it() {
    let path = std::env::temp_dir().join(format!("postfach-journal-{}", std::process::id()));
    let _old = std::fs::remove_file(&path);
    let mut random = Random(4);
    let file = crate::device::File::create(&path, 3 << 20, false).unwrap();
    format(&file, &Format::default(), &mut |buf| random.fill(buf)).unwrap();
    let mut journal = open(Arc::new(file), 1).journal;
    let (offset, length) = journal.prepare_ahead().unwrap();
    journal.device().prepare(offset, length).unwrap();
    for serial in 1..=200 {
        journal.append_body(ANNA, BodyId(serial), 0, vec![serial as u8; 3000]).unwrap();
        journal.append_record(ANNA, Serial(serial), vec![serial as u8; 80]).unwrap();
        assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
    }
    drop(journal);
    let device: Arc<dyn Device> = Arc::new(crate::device::File::open(&path).unwrap());
    let opened = open(device.clone(), 2);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(opened.records.len(), 200);
    assert_eq!(opened.report.to_string(), "opening 2: 4 segments, 400 frames");
    let mut buf = Vec::new();
    opened.journal.find(BodyId(200), 0).unwrap().read(device.as_ref(), &mut buf).unwrap();
    assert_eq!(buf, [200; 3000]);
}

/// The program ends without a power cut, so the cache still shows what never reached the medium, or has not reached it yet.
#[test]
fn what_an_opening_has_shown_survives_a_power_cut_right_after_it() {
    for failing in [false, true] {
        let device = Arc::new(store(8, 1));
        let mut journal = open(device.clone(), 1).journal;
        journal.append_record(ANNA, Serial(1), b"one".to_vec()).unwrap();
        commit(&mut journal);
        journal.append_record(ANNA, Serial(2), b"two".to_vec()).unwrap();
        let mut batch = journal.take().unwrap();
        device.fail_at(Operation::Flush, device.flushes(), false);
        if failing {
            assert!(batch.write(device.as_ref()).is_err());
        } else {
            // Killed between the write and the flush.
            struct Unflushed<'a>(&'a Memory);
            impl Device for Unflushed<'_> {
                below!(0: size read_at write_at discard prepare forget_cache);

                fn flush(&self) -> io::Result<()> {
                    Err(io::Error::other("killed"))
                }
            }
            device.heal();
            assert!(batch.write(&Unflushed(&device)).is_err());
        }
        drop(journal);
        let shown = open(device.clone(), 2).records;
        assert_eq!(shown.len(), if failing { 1 } else { 2 });
        assert_eq!(open(Arc::new(device.survive(Outcome::Lost, 0)), 3).records, shown);
    }
}

#[test]
fn format_is_durable_and_either_copy_suffices() {
    for spoilt in [0, 4096] {
        let device = store(8, 1).survive(Outcome::Lost, 0);
        device.write_at(spoilt, &[0; 4096]).unwrap();
        assert_eq!(open(Arc::new(device), 1).report.opening, 1);
    }
}

/// With a good tag of its own, at the right place and with the right position, but behind another frame than the one that is there.
#[test]
fn a_frame_that_follows_another_is_not_this_journals() {
    let device = Arc::new(store(8, 1));
    let mut journal = open(device.clone(), 1).journal;
    for serial in 1..=2 {
        journal.append_record(ANNA, Serial(serial), b"fact".to_vec()).unwrap();
        commit(&mut journal);
    }
    let mut block = [0; 4096];
    device.read_at(16384, &mut block).unwrap();
    let superblock = journal.superblock().clone();
    let segment = segment::HeaderBlock::read(&block, &superblock, 0).unwrap().0.header;
    let place = 16384 + 8192 + 4096;
    let mut bytes = [0; frame::HEADER_BYTES];
    device.read_at(place, &mut bytes).unwrap();
    let header = frame::Header::decode(&bytes, &superblock.key, segment.incarnation).unwrap();
    for (previous, records) in [(header.previous, 2), (header.previous ^ 1, 1)] {
        let (bytes, _) = frame::Header { previous, ..header }.encode(&superblock.key, segment.incarnation);
        device.write_at(place, &bytes).unwrap();
        assert_eq!(open(device.clone(), 2).records.len(), records);
    }
}

#[test]
fn after_a_cut_positions_are_above_all_seen_and_claims_are_not() {
    let device = Arc::new(store(8, 1));
    let mut journal = open(device.clone(), 1).journal;
    for serial in 1..=2 {
        journal.append_record(ANNA, Serial(serial), b"fact".to_vec()).unwrap();
        commit(&mut journal);
    }
    // The second one's payload is torn; its header has been seen.
    device.write_at(16384 + 8192 + 4096 + 64, b"torn").unwrap();
    let mut journal = open(device.clone(), 2).journal;
    assert_eq!(journal.append_record(ANNA, Serial(2), b"new".to_vec()), Ok(Position(3)));
    commit(&mut journal);
    let mut block = [0; 4096];
    device.read_at(2 * 16384, &mut block).unwrap();
    let segment = segment::HeaderBlock::read(&block, journal.superblock(), 1).unwrap().0.header;
    assert_eq!((segment.durable, segment.first_position, segment.follows.position), (1, 3, 1));
}
