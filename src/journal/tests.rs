//! The journal on a device that loses power, forgets, rots and fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::device::{Memory, Operation, Outcome, Random};
use crate::types::BodyId;

const ANNA: AccountId = AccountId(7);
const BEN: AccountId = AccountId(8);

/// A fresh store with small segments.
fn store(segments: u64, seed: u64) -> Memory {
    let memory = Memory::new((segments + 1) * 16384);
    let options = Format { segment_bytes: Some(16384), force: false };
    format(&memory, &options, &mut |buf| Random(seed).fill(buf)).unwrap();
    memory
}

/// What an opening has shown.
struct Opened {
    journal: Journal,
    report: Report,
    /// Position, serial, payload.
    records: Vec<(u64, u64, Vec<u8>)>,
}

fn open(device: Arc<dyn Device>, seed: u64) -> Opened {
    let mut records = Vec::new();
    let mut visit = |found: Found<'_>| {
        records.push((found.position.0, found.serial.0, found.payload.to_vec()));
    };
    let mut random = Random(seed);
    let (journal, report) = Journal::open(device, &mut |buf| random.fill(buf), &mut visit).unwrap();
    Opened { journal, report, records }
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
