//! A snapshot is written while other things go on: what is said meanwhile, in the segment in which it was begun, is not lost.

use std::sync::Arc;

use super::super::openings::agree;
use super::super::record::Record;
use super::super::storm::open;
use super::super::{NewMessage, Shared};
use crate::device::{Memory, Outcome, Random};
use crate::journal::{Format, format};
use crate::types::{AccountId, Class, Flags, FolderId, Position, Time};

const ANNA: AccountId = AccountId(1);
const SEGMENT: u32 = 64 * 1024;

/// Nothing of it is written yet.
fn append(shared: &Shared, size: usize) {
    let mut needs = Position::default();
    let kept = shared.access(&mut needs).reserve(ANNA, size as u64).expect("fits");
    let body = shared.access(&mut needs).new_body();
    let mut bytes = vec![0; size];
    Random(body.0).fill(&mut bytes);
    for (piece, part) in bytes.chunks(SEGMENT as usize / 4).enumerate() {
        shared.lock().append_piece(body, piece as u16, part.to_vec()).expect("there is room");
    }
    let message = NewMessage { body, size: size as u64, structure: vec![1; 50], date: Time(5) };
    let added = shared.access(&mut needs).append(message, Flags::NONE, ANNA, FolderId::INBOX, kept);
    added.expect("there is room");
}

/// A store that has been closed in order and is due to have its first snapshot.
fn due() -> Arc<Memory> {
    let device = Memory::new(40 * u64::from(SEGMENT));
    let mut random = Random(1);
    let options = Format { segment_bytes: Some(SEGMENT), force: false };
    format(&device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
    let device = Arc::new(device);
    let (shared, _) = open(&device, 1).expect("opens");
    let address = "anna@example.test".into();
    let (class, bucket_bytes, phc) = (Class::S, 8 << 20, "phc".into());
    let added = Record::AccountAdded { account: ANNA, address, class, bucket_bytes, phc };
    // Above wherever the counter begins, which no record says.
    let (folder, name, uid_validity, special) = (FolderId::INBOX, "INBOX".into(), u32::MAX - 9, None);
    let inbox = Record::FolderAdded { account: ANNA, folder, name, uid_validity, special };
    shared.lock().record(ANNA, &[added, inbox]).expect("there is room");
    while !shared.lock().snapshot_due() {
        append(&shared, 2500);
        shared.lock().commit_pending().expect("commits");
    }
    loop {
        append(&shared, 2500);
        shared.lock().close().expect("closes");
        if goes_on(device.copy()) {
            return device;
        }
    }
}

/// Whether what is written next goes to the segment that has been closed.
fn goes_on(device: Memory) -> bool {
    let (shared, _) = open(&Arc::new(device), 3).expect("opens");
    let free = || shared.lock().journal.capacity().free_segments;
    let before = free();
    append(&shared, 100);
    shared.lock().commit_pending().expect("commits");
    free() == before
}

/// Begins a snapshot while a message of this size waits for the disk. Returns whether the two have taken a fresh segment.
fn begin(shared: &Shared, size: usize) -> bool {
    let free = || shared.lock().journal.capacity().free_segments;
    let before = free();
    append(shared, size);
    assert!(shared.lock().tell_snapshot() && shared.lock().journal.is_snapshot_open());
    shared.lock().commit_pending().expect("commits");
    free() < before
}

/// A message waits for the disk when a snapshot begins: its place is told by nobody but its own frame, be it in the same segment as the
/// snapshot's first portion, or before it in the one that is left then.
#[test]
fn what_waits_for_the_disk_when_a_snapshot_begins_is_read_with_it() {
    let device = due();
    let opened = |device: &Arc<Memory>| open(device, 2).expect("opens").0;
    let (mut fits, mut over) = (100, 60_000);
    while over - fits > 1 {
        let size = (fits + over) / 2;
        let fresh = begin(&opened(&Arc::new(device.copy())), size);
        (fits, over) = if fresh { (fits, size) } else { (size, over) };
    }
    for size in [100, fits, over, over + 100, over + 5000] {
        let device = Arc::new(device.copy());
        let shared = opened(&device);
        assert_eq!(begin(&shared, size), size >= over);
        while shared.lock().journal.is_snapshot_open() {
            assert!(shared.lock().tell_snapshot());
            shared.lock().commit_pending().expect("commits");
        }
        // It is named by the header of a segment that is begun when it is durable.
        for _ in 0..4 {
            append(&shared, 20_000);
            shared.lock().commit_pending().expect("commits");
        }
        let spared = agree(&device.survive(Outcome::Lost, 0), &format!("a message of {size}"));
        assert!(spared > 2, "{size}: {spared}");
    }
}
