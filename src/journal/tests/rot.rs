//! Bits rot, blocks go, whole headers go: every acknowledged frame that a later one covers is there or is reported.

use std::io;

use super::*;

/// A store of several openings and segments, and what it holds.
pub(super) struct Sample {
    pub(super) device: Memory,
    /// Position, payload.
    pub(super) records: Vec<(u64, Vec<u8>)>,
    /// Position, body, piece, payload.
    pub(super) bodies: Vec<(u64, u64, u16, Vec<u8>)>,
    /// The newest commit begins here: nothing says yet that it was durable.
    pub(super) newest: u64,
    /// What lies behind may be there or not.
    pub(super) acknowledged: u64,
}

fn sample() -> Sample {
    let device = Arc::new(store(20, 3));
    let mut random = Random(3);
    let (mut records, mut bodies, mut newest, mut body) = (Vec::new(), Vec::new(), 0, 1);
    for opening in 0..3 {
        let mut journal = open(device.clone(), opening).journal;
        for _ in 0..5 {
            newest = journal.last().0 + 1;
            for piece in 0..2 {
                let mut payload = vec![0; 1 + random.below(4000) as usize];
                random.fill(&mut payload);
                let position = journal.append_body(ANNA, BodyId(body), piece, payload.clone()).unwrap().0;
                bodies.push((position, body, piece, payload));
            }
            let payload = vec![opening as u8; 100];
            let position = journal.append_record(ANNA, Serial(body), payload.clone()).unwrap().0;
            records.push((position, payload));
            assert!(matches!(commit(&mut journal), Finish::Durable { .. }));
            body += 1;
        }
    }
    Sample { device: device.copy(), records, bodies, newest, acknowledged: u64::MAX }
}

/// What became of damage.
pub(super) struct Judged {
    /// It was reported.
    pub(super) reported: bool,
    /// Something of the newest commit is gone, and nothing tells it from a torn one.
    pub(super) untold: bool,
}

/// Holds a damaged copy against the sample.
pub(super) fn judge(sample: &Sample, device: Arc<dyn Device>, what: &str) -> Judged {
    let Opened { journal, report, checked, records } = open(device.clone(), 9);
    let mut untold = false;
    let mut excused = |position: u64| {
        let lost = |lost: &Lost| (lost.first.0..=lost.last.0).contains(&position);
        // How many frames an unreadable end held cannot be told, but that there were some is.
        let newest =
            checked.unreadable.is_empty() || checked.lost.iter().any(|lost| lost.first.0 >= sample.newest);
        let told = position > sample.acknowledged || checked.lost.iter().any(lost);
        untold |= !told;
        told || position >= sample.newest && newest
    };
    let mut seen = records.iter();
    let mut next = seen.next();
    for (position, payload) in &sample.records {
        match next {
            Some((at, _, found)) if at == position => {
                assert_eq!(found, payload, "{what}");
                next = seen.next();
            }
            _ => assert!(excused(*position), "{what}: record {position} is silently lost: {checked}"),
        }
    }
    assert!(next.is_none(), "{what}: a record from nowhere");
    let mut buf = Vec::new();
    for (position, body, piece, payload) in &sample.bodies {
        let extent = journal.find(BodyId(*body), *piece);
        match extent.map(|extent| extent.read(device.as_ref(), &mut buf)) {
            Some(Ok(())) => assert_eq!(&buf, payload, "{what}"),
            _ => assert!(excused(*position), "{what}: body {body} is silently lost: {checked}"),
        }
    }
    assert!(checked.is_damaged() || !report.is_damaged(), "{what}");
    Judged { reported: checked.is_damaged(), untold }
}

#[test]
fn a_flipped_bit_anywhere_is_reported_or_harmless() {
    let sample = sample();
    assert!(!judge(&sample, Arc::new(sample.device.copy()), "whole").reported);
    let mut random = Random(5);
    let (mut flips, mut reported) = (0, 0);
    for block in 0..sample.device.size() / 4096 {
        for round in 0..4 {
            // The first round hits the block's head, where headers of frames and segments lie.
            let offset = block * 4096 + random.below(if round == 0 { 64 } else { 4096 });
            let device = sample.device.copy();
            let mut byte = [0];
            device.read_at(offset, &mut byte).unwrap();
            byte[0] ^= 1 << random.below(8);
            device.write_at(offset, &byte).unwrap();
            flips += 1;
            reported += u32::from(judge(&sample, Arc::new(device), &format!("flip at {offset}")).reported);
        }
    }
    assert!(reported > flips / 8 && reported < flips, "{reported} of {flips}");
}

#[test]
fn a_lost_block_anywhere_is_reported_or_harmless() {
    let sample = sample();
    for block in 0..sample.device.size() / 4096 {
        for garbage in [false, true] {
            let mut bytes = vec![0; 4096];
            if garbage {
                Random(block).fill(&mut bytes);
            }
            let device = sample.device.copy();
            device.write_at(block * 4096, &bytes).unwrap();
            judge(&sample, Arc::new(device), &format!("block {block} garbage {garbage}"));
        }
    }
}

/// A medium with a block that cannot be read.
pub(super) struct Unreadable {
    pub inner: Memory,
    pub block: u64,
}

impl Device for Unreadable {
    below!(inner: size write_at flush discard prepare forget_cache);

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let blocks = offset / 4096..(offset + buf.len() as u64).div_ceil(4096);
        if blocks.contains(&self.block) {
            Err(io::Error::other("rot"))
        } else {
            self.inner.read_at(offset, buf)
        }
    }
}

#[test]
fn an_unreadable_block_is_reported_and_the_rest_stays_within_reach() {
    let sample = sample();
    for block in 4..sample.device.size() / 4096 {
        let device = Arc::new(Unreadable { inner: sample.device.copy(), block });
        let reported = judge(&sample, device, &format!("unreadable {block}")).reported;
        let used = block < 4 + 4 * 2;
        assert!(reported || !used, "{block}");
    }
}

#[test]
fn a_segment_whose_header_is_gone_is_found_by_the_next_one() {
    let sample = sample();
    let used = open(Arc::new(sample.device.copy()), 1).report.segments;
    assert!(used > 5);
    for segment in 1..u64::from(used) {
        let device = sample.device.copy();
        device.write_at(segment * 16384, &[0xAA; 8192]).unwrap();
        let device = Arc::new(device);
        assert!(!judge(&sample, device.clone(), &format!("segment {segment}")).reported);
        let opened = open(device, 1);
        assert_eq!((opened.report.rescued_segments, opened.records.len()), (1, sample.records.len()));
    }
    // Two in a row: what lies in the first cannot be told any more, but that it is missing can.
    let device = sample.device.copy();
    device.write_at(3 * 16384, &[0; 8192]).unwrap();
    device.write_at(4 * 16384, &[0; 8192]).unwrap();
    assert!(judge(&sample, Arc::new(device), "two segments").reported);
}

#[test]
fn damage_stays_reported_after_writing_has_gone_on() {
    let sample = sample();
    let device = sample.device.copy();
    // Everything behind the headers of the last segment but one.
    let used = open(Arc::new(sample.device.copy()), 1).report.segments;
    device.write_at(u64::from(used - 1) * 16384 + 8192, &[0; 8192]).unwrap();
    let device = Arc::new(device);
    assert!(judge(&sample, device.clone(), "before").reported);
    for opening in 0..3 {
        let mut opened = open(device.clone(), opening);
        assert!(opened.report.is_damaged(), "{opening}");
        opened.journal.append_record(BEN, Serial(1000 + opening), vec![1]).unwrap();
        assert!(matches!(commit(&mut opened.journal), Finish::Durable { .. }));
    }
    let opened = open(device.clone(), 9);
    assert!(opened.report.is_damaged() && opened.records.len() > 3);
    assert_eq!(opened.records.last().unwrap().1, 1002);
}
