//! Summaries: what is not read because of them, and that nothing depends on them.

use super::*;
use crate::limits::BLOCK_BYTES;

const SEGMENT: u32 = 65536;

/// Position, serial, payload.
type Records = Vec<(u64, u64, Vec<u8>)>;

/// A store of several segments with summaries, closed in no order; its records by position.
fn sample(seed: u64) -> (Arc<Memory>, Records) {
    let device = Arc::new(store_of(24, SEGMENT, seed));
    let mut random = Random(seed);
    let mut journal = open(device.clone(), seed).journal;
    for serial in 1..=120 {
        let body = BodyId(serial);
        for piece in 0..random.below(3) as u16 {
            let mut payload = vec![0; 1 + random.below(6000) as usize];
            random.fill(&mut payload);
            journal.append_body(ANNA, body, piece, payload).unwrap();
        }
        journal.append_structure(ANNA, body, vec![1; 90]).unwrap();
        journal.append_record(ANNA, Serial(serial), vec![serial as u8; 40]).unwrap();
        assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
    }
    let records = open(device.clone(), seed).records;
    assert_eq!(records.len(), 120);
    (device, records)
}

/// The segments that have any, with their summaries in the order of their frames.
fn summaries(device: &Memory) -> Vec<(u64, Vec<summary::Summary>)> {
    let superblock::Found::Store(superblock, _) = superblock::read(device).unwrap() else { panic!() };
    let segments = (0..24).filter_map(|index| {
        let mut block = vec![0; BLOCK_BYTES];
        device.read_at(superblock.base(index), &mut block).unwrap();
        let (block, _) = segment::HeaderBlock::read(&block, &superblock, index)?;
        Some((superblock.base(index), summary::read(device, &superblock, &block.header).into()))
    });
    segments.filter(|(_, summaries): &(u64, Vec<_>)| !summaries.is_empty()).collect()
}

#[test]
fn summaries_say_what_the_frames_say_and_save_reading_them() {
    let (device, _) = sample(1);
    let found = summaries(&device);
    assert!(found.len() > 6 && found[..found.len() - 1].iter().all(|(_, summaries)| summaries.len() >= 2));
    let whole = found.iter().flat_map(|(_, summaries)| summaries);
    assert!(whole.clone().all(|summary| !summary.damaged && summary.entries.is_some()));
    for summary in whole {
        let frames = summary.frames().unwrap();
        assert_eq!(frames.len() as u64, summary.last + 1 - summary.first);
    }
    // Every frame of a segment but the last two is zeros: whoever has the summaries does not notice.
    let copy = device.copy();
    for (base, summaries) in &found[..found.len() - 2] {
        let floor = summaries.last().unwrap().floor;
        copy.write_at(base + SEGMENT_START, &vec![0; (floor - SEGMENT_START) as usize]).unwrap();
    }
    let mut records = 0;
    let mut count = |event: Event<'_>| records += u32::from(matches!(event, Event::Record(_)));
    let (report, bodies) = read(&copy, Trust::Summaries, &mut count).unwrap();
    assert!(!report.is_damaged() && records == 120, "{records} {report}");
    assert!((1..=120).all(|body| bodies.has_structure(BodyId(body))));
    // A check reads the frames, and names what is missing; records it takes from where they are said again.
    let mut records = 0;
    let (report, _) = examine(&copy, &mut |_| records += 1).unwrap();
    assert!(report.is_damaged() && records == 120, "{records} {report}");
}

#[test]
fn a_rotten_record_is_made_good() {
    let (device, records) = sample(2);
    let mut random = Random(2);
    let (mut mended, mut bodies) = (0, 0);
    for _ in 0..200 {
        let copy = device.copy();
        let offset = u64::from(SEGMENT) + random.below(6 * u64::from(SEGMENT));
        let mut byte = [0];
        copy.read_at(offset, &mut byte).unwrap();
        copy.write_at(offset, &[byte[0] ^ 1 << random.below(8)]).unwrap();
        let (report, _) = examine(&copy, &mut |_| {}).unwrap();
        mended += report.mended_frames;
        bodies += report.losses;
        let opened = open(Arc::new(copy), 3);
        assert_eq!(opened.records, records, "{offset}");
        assert!(!opened.report.is_damaged(), "{offset}: a fetch will find it");
    }
    assert!(mended > 0 && bodies > 50, "{mended} {bodies}");
}

#[test]
fn no_flip_in_a_summary_does_harm_and_a_check_counts_it() {
    let (device, records) = sample(3);
    let found = summaries(&device);
    let mut random = Random(3);
    let mut counted = 0;
    for (base, summaries) in &found {
        let floor = summaries.last().unwrap().floor;
        for block in (floor..u64::from(SEGMENT)).step_by(BLOCK_BYTES) {
            // Its beginning, its trailer, and anywhere.
            for within in [random.below(60), 4032 + random.below(64), random.below(4096)] {
                let copy = device.copy();
                let offset = base + block + within;
                let mut byte = [0];
                copy.read_at(offset, &mut byte).unwrap();
                copy.write_at(offset, &[byte[0] ^ 1 << random.below(8)]).unwrap();
                let opened = open(Arc::new(copy), 4);
                assert_eq!(opened.records, records, "{offset}");
                assert!(!opened.report.is_damaged(), "{offset}: {}", opened.report);
                counted += opened.report.bad_summaries;
            }
        }
    }
    assert!(counted > 10, "{counted}");
}

/// What a failed write leaves is a summary of frames that are elsewhere by now, with the same positions.
#[test]
fn a_summary_behind_the_end_of_its_segment_is_not_believed() {
    let device = Arc::new(store_of(24, SEGMENT, 5));
    let mut journal = open(device.clone(), 5).journal;
    journal.append_record(ANNA, Serial(1), b"kept".to_vec()).unwrap();
    commit(&mut journal);
    // All of it arrives, with its summary, and then the flush fails.
    device.fail_at(Operation::Flush, device.flushes(), false);
    journal.append_body(ANNA, BodyId(1), 0, vec![1; 30_000]).unwrap();
    journal.append_record(ANNA, Serial(2), b"elsewhere".to_vec()).unwrap();
    let mut batch = journal.take().unwrap();
    let unflushed = device.copy();
    assert!(batch.write(&unflushed).is_ok());
    let result = batch.write(device.as_ref());
    assert_eq!(journal.finish(batch, result), Finish::Again);
    commit(&mut journal);
    for serial in 3..10 {
        journal.append_record(ANNA, Serial(serial), b"later".to_vec()).unwrap();
        commit(&mut journal);
    }
    // The medium has both.
    let mut first = vec![0; SEGMENT as usize];
    unflushed.read_at(u64::from(SEGMENT), &mut first).unwrap();
    device.write_at(u64::from(SEGMENT), &first).unwrap();
    assert!(!summaries(&device)[0].1.is_empty());
    let opened = open(device.clone(), 6);
    assert!(!opened.report.is_damaged(), "{}", opened.report);
    let place = opened.journal.find(BodyId(1), 0).unwrap().slot.offset();
    assert!(place >= 2 * u64::from(SEGMENT), "{place}");
    assert_eq!(opened.records.len(), 9);
}

/// A torn batch leaves a whole summary: what it says never happened, also when later frames are known to be durable.
#[test]
fn a_summary_of_a_torn_batch_stays_dead() {
    let device = Arc::new(store_of(24, SEGMENT, 7));
    let mut journal = open(device.clone(), 7).journal;
    journal.append_record(ANNA, Serial(1), b"kept".to_vec()).unwrap();
    commit(&mut journal);
    journal.append_record(ANNA, Serial(2), b"dead".to_vec()).unwrap();
    journal.append_body(ANNA, BodyId(1), 0, vec![1; 30_000]).unwrap();
    commit(&mut journal);
    device.write_at(u64::from(SEGMENT) + SEGMENT_START + 4096, &[0; 4096]).unwrap();
    assert_eq!(summaries(&device)[0].1[0].last, 3);
    for serial in 2..6 {
        let mut opened = open(device.clone(), serial);
        assert!(!opened.report.is_damaged() && opened.journal.find(BodyId(1), 0).is_none());
        assert!(opened.records.iter().all(|(.., payload)| payload != b"dead"), "{serial}");
        for _ in 0..3 {
            opened.journal.append_record(ANNA, Serial(serial), b"new".to_vec()).unwrap();
            commit(&mut opened.journal);
        }
    }
}

/// Segments in which no room is kept for a summary: it must not take that of frames.
#[test]
fn a_full_segment_goes_without_a_summary() {
    let device = Arc::new(store_of(16, 256 * 1024, 8));
    let mut journal = open(device.clone(), 8).journal;
    for serial in 1..=400 {
        let length = if serial <= 130 { 4000 } else { 5000 };
        journal.append_record(ANNA, Serial(serial), vec![1; length]).unwrap();
        commit(&mut journal);
    }
    let opened = open(device.clone(), 8);
    assert!(!opened.report.is_damaged() && !opened.checked.is_damaged(), "{}", opened.report);
    assert_eq!(opened.records.len(), 400);
}
