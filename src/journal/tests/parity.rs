//! Parity: every block of a sealed segment, and every run of blocks that is not too long, comes back to the bit; what is more than that is
//! reported, and nothing is invented.

use super::super::parity::{Columns, Head, examine};
use super::super::protect::Protect;
use super::super::{repair, summary};
use super::*;
use crate::proof;

/// The smallest segments that have parity: four columns.
const SEGMENT: u64 = 1 << 20;
const COLUMNS: u64 = 4;
const BLOCKS: u64 = SEGMENT / 4096;

/// A store with some sealed segments, their parity, and what they hold: body, payload.
struct Sample {
    device: Memory,
    bodies: Vec<(u64, Vec<u8>)>,
    records: u64,
}

/// Writes until so many bytes of segments are used.
fn fill(journal: &mut Journal, used_bytes: u64, seed: u64) -> (Vec<(u64, Vec<u8>)>, u64) {
    let mut random = Random(seed);
    let (mut bodies, mut records) = (Vec::new(), 0);
    while journal.capacity().used_bytes < used_bytes {
        let body = bodies.len() as u64 + 1;
        let mut payload = vec![0; 1 + random.below(60_000) as usize];
        random.fill(&mut payload);
        journal.append_body(ANNA, BodyId(body), 0, payload.clone()).unwrap();
        journal.append_record(ANNA, Serial(body), vec![body as u8; 300]).unwrap();
        journal.hold(BodyId(body));
        bodies.push((body, payload));
        records += 1;
        assert!(matches!(commit(journal), Finish::Durable { .. }));
    }
    (bodies, records)
}

fn protect(journal: &mut Journal) {
    let device = journal.device().clone();
    while let Some(mut step) = journal.next_protect() {
        step.step(device.as_ref());
        journal.protected(step);
    }
}

fn sample() -> Sample {
    sample_of(SEGMENT)
}

fn sample_of(segment_bytes: u64) -> Sample {
    let device = Arc::new(store_of(8, segment_bytes as u32, 1));
    let mut journal = open(device.clone(), 1).journal;
    let (bodies, records) = fill(&mut journal, 2 * segment_bytes + segment_bytes / 16, 1);
    journal.append_witness().unwrap();
    assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
    protect(&mut journal);
    assert!(!journal.parity_due());
    Sample { device: device.copy(), bodies, records }
}

fn destroy(device: &Memory, blocks: impl IntoIterator<Item = u64>) {
    for block in blocks {
        let mut noise = [0; 4096];
        Random(block).fill(&mut noise);
        device.write_at(block * 4096, &noise).unwrap();
    }
    device.flush().unwrap();
}

fn bytes(device: &Memory, block: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    device.read_at(block * 4096, &mut bytes).unwrap();
    bytes
}

/// The blocks of the segment that parity covers, counted on the device.
fn covered(device: &Memory, segment: u64) -> Vec<u64> {
    let found = heads(device);
    let (_, head) = &found[segment as usize];
    let first = (segment + 1) * BLOCKS;
    (0..BLOCKS).filter(|block| head.covers(*block)).map(|block| first + block).collect()
}

/// By index: incarnation and head of each segment that has parity.
fn heads(device: &Memory) -> Vec<(u64, Head)> {
    let survey = survey(device).unwrap();
    let sealed = survey.segments.iter().filter(|segment| segment.sealed);
    let examined = sealed.map(|segment| {
        let found = examine(device, &survey.superblock, segment.index, segment.incarnation).unwrap();
        (segment.incarnation, found.head)
    });
    examined.collect()
}

#[test]
fn sealed_segments_get_parity_once_and_nothing_else_is_written() {
    let device = Arc::new(store_of(8, SEGMENT as u32, 1));
    let mut journal = open(device.clone(), 1).journal;
    fill(&mut journal, 2 * SEGMENT + 100_000, 1);
    let opening = |device: Memory| {
        let device = Arc::new(device);
        Journal::open(device.clone(), &mut |buf| buf.fill(1), &mut |_| {}).unwrap();
        device.reads()
    };
    let reads = opening(device.copy());
    let (before, flushes) = (device.bytes_written(), device.flushes());
    assert_eq!(survey(device.as_ref()).unwrap().segments.len(), 3);
    protect(&mut journal);
    assert_eq!(device.bytes_written() - before, 2 * (COLUMNS + 1) * 4096);
    assert_eq!(device.flushes(), flushes);
    assert_eq!(opening(device.copy()), reads);
    // The next process finds it, and looks at no more than the heads.
    let mut again = open(device.clone(), 2);
    assert_eq!(again.checked.bare_segments + again.checked.bad_parities, 0, "{}", again.checked);
    assert!(again.journal.parity_due());
    let (before, reads) = (device.bytes_written(), device.reads());
    protect(&mut again.journal);
    assert_eq!((device.bytes_written() - before, device.reads() - reads), (0, 2));
}

#[test]
fn every_block_and_every_run_up_to_the_columns_comes_back_to_the_bit() {
    assert_eq!(step_through(SEGMENT, 1..=COLUMNS, 1), 4 * 256 - 10);
    // As on a card: sixteen columns.
    assert_eq!(step_through(4 << 20, [1, 2, 7, 15, 16], 101), 53);
}

#[test]
fn parity_of_an_earlier_use_of_a_segment_is_none() {
    let sample = sample();
    let found = survey(&sample.device).unwrap();
    let (superblock, segment) = (&found.superblock, found.segments[1]);
    let head = |incarnation| Head::read(&sample.device, superblock, segment.index, incarnation);
    assert!(head(segment.incarnation).is_some());
    assert!(head(segment.incarnation ^ 1).is_none() && head(found.segments[0].incarnation).is_none());
}

/// The end of a segment is not where the next batch says it is before that batch is durable.
#[test]
fn parity_waits_until_the_end_of_the_segment_is_durable() {
    let device = Arc::new(store_of(8, SEGMENT as u32, 1));
    let mut journal = open(device.clone(), 1).journal;
    fill(&mut journal, 200_000, 1);
    let free = journal.capacity().free_segments;
    let mut body = 1000;
    let batch = loop {
        journal.append_body(ANNA, BodyId(body), 0, vec![1; 20_000]).unwrap();
        body += 1;
        let mut batch = journal.take().unwrap();
        if journal.capacity().free_segments < free {
            break batch;
        }
        let result = batch.write(device.as_ref());
        journal.finish(batch, result);
    };
    assert!(!journal.parity_due() && journal.next_protect().is_none());
    let mut batch = batch;
    let result = batch.write(device.as_ref());
    journal.finish(batch, result);
    assert!(journal.parity_due());
}

/// Destroys runs of these lengths, from every so many blocks of a sealed segment on; returns how many runs.
fn step_through(segment_bytes: u64, lengths: impl IntoIterator<Item = u64>, step: usize) -> u32 {
    let sample = sample_of(segment_bytes);
    let (incarnation, head) = heads(&sample.device)[1].clone();
    let superblock = survey(&sample.device).unwrap().superblock;
    let blocks = segment_bytes / 4096;
    let first = 2 * blocks;
    let whole: Vec<Vec<u8>> = (0..blocks).map(|block| bytes(&sample.device, first + block)).collect();
    let mut runs = 0;
    for length in lengths {
        // The head is the last one.
        for start in (0..blocks - length).step_by(step) {
            let device = sample.device.copy();
            destroy(&device, first + start..first + start + length);
            let found = examine(&device, &superblock, 1, incarnation).unwrap();
            let hit: Vec<u64> = (start..start + length).filter(|block| head.covers(*block)).collect();
            assert_eq!(found.bad.keys().copied().collect::<Vec<_>>(), hit, "{length} from {start}");
            for (block, rebuilt) in found.rebuilt() {
                assert_eq!(rebuilt, whole[block as usize], "block {block}: {length} from {start}");
            }
            assert_eq!(found.rebuilt().count(), hit.len(), "{length} from {start}");
            runs += 1;
        }
    }
    runs
}

/// Everything is there, whatever has to be rebuilt for it.
fn judge(sample: &Sample, device: &Arc<Memory>, what: &str) {
    let opened = open(device.clone(), 9);
    assert!(!opened.checked.is_damaged() && !opened.report.is_damaged(), "{what}: {}", opened.checked);
    assert_eq!(opened.records.len() as u64, sample.records, "{what}");
    let mut buf = Vec::new();
    for (body, payload) in &sample.bodies {
        let extent = opened.journal.find(BodyId(*body), 0).unwrap();
        extent.read(device.as_ref(), &mut buf).unwrap();
        assert_eq!(&buf, payload, "{what}: body {body}");
    }
}

#[test]
fn what_is_rebuilt_is_served_reported_and_written_back() {
    let sample = sample();
    let first = 2 * BLOCKS;
    // Headers; headers and the first frame; the last frame and what follows; summaries and parity; parity and its head.
    let covered = covered(&sample.device, 1);
    let end =
        covered.windows(2).find(|pair| pair[0] + 1 < pair[1]).map_or(first + BLOCKS, |pair| pair[0] + 1);
    let seams = [first, first + 1, end - 2, end - 1, first + BLOCKS - 6, first + BLOCKS - 3];
    for start in seams.into_iter().chain((first + 2..first + BLOCKS - 4).step_by(47)) {
        let device = Arc::new(sample.device.copy());
        destroy(&device, start..start + COLUMNS);
        let hit = covered.iter().filter(|block| (start..start + COLUMNS).contains(*block)).count() as u64;
        let found = verify(device.as_ref()).unwrap();
        assert_eq!((found.rebuilt_blocks, found.spoilt_blocks), (hit, 0), "{start}: {found}");
        judge(&sample, &device, &format!("{start}, before"));
        let done = repair::repair(device.as_ref()).unwrap();
        // At the seam also a header of the next segment.
        let next = u64::from(start + COLUMNS > first + BLOCKS);
        assert_eq!(done.blocks + done.headers, hit + next, "{start}: {done:?}");
        let clean = verify(device.as_ref()).unwrap();
        let left = (clean.rebuilt_blocks, clean.bare_segments, clean.bad_parities, clean.bad_copies);
        assert_eq!(left, (0, 0, 0, 0), "{start}: {clean}");
        let lasting = Arc::new(device.survive(Outcome::Lost, 1));
        for block in first..first + BLOCKS {
            let gap = !covered.contains(&block) && block < first + BLOCKS - COLUMNS - 1;
            assert!(gap || bytes(&lasting, block) == bytes(&sample.device, block), "{start}: {block}");
        }
        judge(&sample, &lasting, &format!("{start}, after"));
    }
}

#[test]
fn one_block_more_than_can_be_rebuilt_is_reported_and_nothing_is_invented() {
    let sample = sample();
    let first = 2 * BLOCKS;
    for start in (first + 2..first + BLOCKS - 2 * COLUMNS - 4).step_by(31) {
        let device = Arc::new(sample.device.copy());
        let run = start..start + COLUMNS + 1;
        destroy(&device, run.clone());
        let spoilt: Vec<_> = run.clone().map(|block| bytes(&device, block)).collect();
        let found = verify(device.as_ref()).unwrap();
        let covered = covered(&sample.device, 1);
        if covered.contains(&start) && covered.contains(&(start + COLUMNS)) {
            assert_eq!(found.spoilt_blocks, 2, "{found}");
            assert!(
                found.is_damaged() || found.bad_summaries > 0 || found.mended_frames > 0,
                "{start}: {found}"
            );
        }
        let damaged = found.is_damaged();
        let opened = open(device.clone(), 9);
        let mut buf = Vec::new();
        for (body, payload) in &sample.bodies {
            let read =
                opened.journal.find(BodyId(*body), 0).map(|extent| extent.read(device.as_ref(), &mut buf));
            assert!(damaged || matches!(read, Some(Ok(()))));
            assert!(!matches!(read, Some(Ok(()))) || buf == *payload, "{start}");
        }
        // What cannot be made good stays as it is, and stays reported.
        repair::repair(device.as_ref()).unwrap();
        for (block, before) in [(start, &spoilt[0]), (start + COLUMNS, &spoilt[COLUMNS as usize])] {
            assert!(!covered.contains(&start) || bytes(&device, block) == *before, "{start}");
        }
        assert_eq!(verify(device.as_ref()).unwrap().is_damaged(), damaged);
    }
}

/// Parity is what makes good, and nothing else: where a bit of it flips, everything is as before, and its rot is reported.
#[test]
fn a_flipped_bit_of_parity_is_reported_and_harms_nothing() {
    let sample = sample();
    let head = 3 * BLOCKS - 1;
    let mut random = Random(4);
    // Of the head every bit of what it says and of its hash, and one of each CRC and of each eight bytes behind; and some of the XOR.
    let fields = (0..32).chain(4088..4096).flat_map(|byte| (0..8).map(move |bit| (head, byte, bit)));
    let mut places: Vec<(u64, u64, u64)> = fields.collect();
    let crcs = (32..32 + 4 * BLOCKS).step_by(4).map(|byte| (byte, 4));
    for (byte, bytes) in crcs.chain((32 + 4 * BLOCKS..4088).step_by(8).map(|byte| (byte, 8))) {
        places.push((head, byte + random.below(bytes), random.below(8)));
    }
    let sums = (head - COLUMNS..head).flat_map(|block| (0..32).map(move |nth| (block, 128 * nth)));
    places.extend(sums.map(|(block, byte)| (block, byte + random.below(128), random.below(8))));
    for (block, at, bit) in &places {
        let device = Arc::new(sample.device.copy());
        let mut byte = [0];
        device.read_at(block * 4096 + at, &mut byte).unwrap();
        device.write_at(block * 4096 + at, &[byte[0] ^ 1 << bit]).unwrap();
        let what = format!("bit {bit} of byte {at} of block {block}");
        let found = verify(device.as_ref()).unwrap();
        assert!(!found.is_damaged(), "{what}: {found}");
        // A head that is none cannot be told from one that was never made.
        assert_eq!(found.bad_parities + found.bare_segments, 1, "{what}: {found}");
        judge(&sample, &device, &what);
        repair::repair(device.as_ref()).unwrap();
        judge(&sample, &device, &what);
    }
    proof::count("flipped bits", "parity: harmless, and reported", places.len() as u64);
}

/// The parity of a column is gone together with a block of it: a summary, which no frame's hash vouches for.
#[test]
fn a_block_is_not_made_of_rotten_parity() {
    let sample = sample();
    let device = sample.device.copy();
    let summary = *covered(&device, 1).last().unwrap();
    let parity = (summary + 1..).find(|block| block % COLUMNS == summary % COLUMNS).unwrap();
    destroy(&device, [summary, parity]);
    let before = bytes(&device, summary);
    let found = verify(&device).unwrap();
    assert_eq!((found.rebuilt_blocks, found.spoilt_blocks, found.is_damaged()), (0, 1, false), "{found}");
    let done = repair::repair(&device).unwrap();
    assert_eq!((done.blocks, bytes(&device, summary)), (0, before));
}

/// Parity that vouches for rot, which [`Protect`] never makes: what comes of it fits its checksum, and is still not believed.
#[test]
fn what_parity_gives_is_checked_by_the_frames_own_hash() {
    let sample = sample();
    let device = Arc::new(sample.device.copy());
    let found = survey(device.as_ref()).unwrap();
    let (superblock, segment) = (found.superblock, found.segments[1]);
    let head = heads(&device)[1].1.clone();
    let rotten = 2 * BLOCKS + 20;
    destroy(&device, [rotten]);
    let mut columns = Columns::new(&superblock);
    for block in (0..BLOCKS).filter(|block| head.covers(*block)) {
        columns.add(block, &bytes(&device, 2 * BLOCKS + block));
    }
    let frames = (head.last, head.frames_end * 4096);
    let made = columns.finish(&superblock, segment.incarnation, frames, head.floor * 4096);
    device.write_at(superblock.base(1) + superblock.parity_start(), &made).unwrap();
    device.write_at(rotten * 4096, &[7; 4096]).unwrap();
    device.flush().unwrap();
    assert_eq!(verify(device.as_ref()).unwrap().rebuilt_blocks, 1);
    assert!(verify(device.as_ref()).unwrap().is_damaged());
    let done = repair::repair(device.as_ref()).unwrap();
    assert_eq!((done.blocks, bytes(&device, rotten)), (0, vec![7; 4096]), "{done:?}");
    // And who makes parity does not vouch for rot.
    let header = found_header(&device, &superblock, 1);
    assert!(!Protect::new(&superblock, &header, head.last + 1).run(device.as_ref()));
}

fn found_header(
    device: &Memory,
    superblock: &Superblock,
    index: u32,
) -> super::super::segment::SegmentHeader {
    let mut block = vec![0; 4096];
    device.read_at(superblock.base(index), &mut block).unwrap();
    let (found, _) = super::super::segment::HeaderBlock::read(&block, superblock, index).unwrap();
    assert!(!summary::read(device, superblock, &found.header).is_empty());
    found.header
}

/// The head is lost, and so is something that it would have made good: it is not made again over that, but once that has been put right.
#[test]
fn parity_is_made_of_nothing_but_what_was_written() {
    let sample = sample();
    for (lost, mended) in [(2 * BLOCKS, true), (2 * BLOCKS + 1, true), (2 * BLOCKS + 30, false)] {
        let device = Arc::new(sample.device.copy());
        destroy(&device, [lost, 3 * BLOCKS - 1]);
        let mut journal = open(device.clone(), 9).journal;
        let before = device.bytes_written();
        protect(&mut journal);
        assert_eq!(device.bytes_written(), before);
        let done = repair::repair(device.as_ref()).unwrap();
        assert_eq!((done.headers, done.parities), (u64::from(mended), u64::from(mended)));
        assert_eq!(verify(device.as_ref()).unwrap().bare_segments, u32::from(!mended));
    }
}

/// What compaction moves is whole again.
#[test]
fn compaction_takes_what_is_rotten_from_parity() {
    let sample = sample();
    for first in [BLOCKS, 2 * BLOCKS] {
        destroy(&sample.device, first + 20..first + 20 + COLUMNS);
    }
    let device = Arc::new(sample.device);
    let mut journal = open(device.clone(), 9).journal;
    sample.bodies.iter().for_each(|(body, _)| journal.hold(BodyId(*body)));
    // Of each segment most is deleted.
    sample
        .bodies
        .iter()
        .filter(|(body, _)| body % 4 != 0)
        .for_each(|(body, _)| journal.release(BodyId(*body)));
    let mut rebuilt = 0;
    while let Some(mut portion) = journal.next_portion(0) {
        portion.read(device.as_ref());
        assert!(!portion.is_damaged());
        rebuilt += u32::from(portion.is_rebuilt());
        portion.take_frames().into_iter().for_each(|taken| journal.copy(taken).unwrap());
        journal.pass(&portion).unwrap();
        if journal.pending_bytes() > 0 {
            assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
        }
    }
    assert_eq!(rebuilt, 2);
    let mut buf = Vec::new();
    for (body, payload) in sample.bodies.iter().filter(|(body, _)| body % 4 == 0) {
        let extent = journal.find(BodyId(*body), 0).unwrap();
        assert_eq!(extent.read_or_rebuild(device.as_ref(), &mut buf).unwrap(), Source::Written);
        assert_eq!(&buf, payload);
    }
}

/// A block that cannot be read is as good as a lost one.
#[test]
fn an_unreadable_block_of_a_sealed_segment_is_rebuilt() {
    let sample = sample();
    for block in [2 * BLOCKS + 2, 2 * BLOCKS + 50, 2 * BLOCKS + BLOCKS - COLUMNS - 2] {
        let device = Arc::new(rot::Unreadable { inner: sample.device.copy(), block });
        let opened = open(device.clone(), 9);
        assert!(!opened.checked.is_damaged(), "{block}: {}", opened.checked);
        let mut buf = Vec::new();
        for (body, payload) in &sample.bodies {
            let extent = opened.journal.find(BodyId(*body), 0).unwrap();
            extent.read(device.as_ref(), &mut buf).unwrap();
            assert_eq!(&buf, payload);
        }
    }
}

/// Power is cut at every write while parity is made and while blocks are written back: nothing is lost, and what could be rebuilt still can.
#[test]
fn a_cut_while_parity_is_made_or_used_loses_nothing() {
    let device = Arc::new(store_of(8, SEGMENT as u32, 1));
    let mut journal = open(device.clone(), 1).journal;
    let (bodies, records) = fill(&mut journal, 2 * SEGMENT + 100_000, 1);
    journal.append_witness().unwrap();
    commit(&mut journal);
    drop(journal);
    let sample = Sample { device: device.copy(), bodies, records };
    let mut states = 0;
    let outcomes = || Outcome::ALL.into_iter().flat_map(|outcome| (0..2).map(move |seed| (outcome, seed)));
    for cut in 0..3 {
        let device = Arc::new(sample.device.copy());
        let mut journal = open(device.clone(), 2).journal;
        device.cut_after(cut);
        protect(&mut journal);
        for (outcome, seed) in outcomes() {
            let left = Arc::new(device.survive(outcome, seed));
            judge(&sample, &left, &format!("making, cut {cut}, {outcome:?} {seed}"));
            // The next process makes it anew.
            let done = repair::repair(left.as_ref()).unwrap();
            let found = verify(left.as_ref()).unwrap();
            assert_eq!(
                found.bare_segments + found.bad_parities,
                0,
                "{cut} {outcome:?} {seed}: {done:?} {found}"
            );
            states += 1;
        }
    }
    repair::repair(&sample.device).unwrap();
    let hurt = sample.device.copy();
    // Headers of one segment, a block and a sum of another, and the mark's and the superblock's first copies.
    destroy(&hurt, [0, 2, BLOCKS, BLOCKS + 1, 2 * BLOCKS + 31, 3 * BLOCKS - 2]);
    for cut in 0..20 {
        let device = Arc::new(hurt.copy());
        device.cut_after(cut);
        let ended = repair::repair(device.as_ref()).is_ok();
        for (outcome, seed) in outcomes() {
            let left = Arc::new(device.survive(outcome, seed));
            judge(&sample, &left, &format!("repairing, cut {cut}, {outcome:?} {seed}"));
            repair::repair(left.as_ref()).unwrap();
            let found = verify(left.as_ref()).unwrap();
            assert_eq!((found.rebuilt_blocks, found.spoilt_blocks, found.bad_copies), (0, 0, 0), "{found}");
            judge(&sample, &left, &format!("repaired after cut {cut}, {outcome:?} {seed}"));
            states += 1;
        }
        if ended {
            break;
        }
        assert!(cut < 19);
    }
    eprintln!("{states} states after cuts while parity is made and used");
    assert!(states > 80);
}
