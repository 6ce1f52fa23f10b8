//! A store that is full to the last segment, and one in which only flags change: there is always room to expunge, and room comes back.
//!
//! With segments as stores have them: 256 KiB is the least that a format chooses. Deliberate: not with the 16 KiB of other tests, of which
//! two blocks hold frames: what compaction must say again of one takes one of them, so such a store is full at half.

use std::sync::Arc;

use super::super::record::Record;
use super::super::storm::{lines, open};
use super::super::*;
use crate::device::{Memory, Outcome, Random};
use crate::journal::{Format, format};
use crate::types::{Class, FlagChange, Flags, FolderId, Uid, UidSet};

const INBOX: FolderId = FolderId::INBOX;
const ANNA: AccountId = AccountId(1);

/// A store of so many segments, with mailboxes that may hold more than it has.
pub(super) fn office(segments: u64, segment_bytes: u32, accounts: u32) -> (Arc<Memory>, Shared) {
    let device = Memory::new((segments + 1) * u64::from(segment_bytes));
    let mut random = Random(1);
    let options = Format { segment_bytes: Some(segment_bytes), force: false };
    format(&device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
    let device = Arc::new(device);
    let (shared, _) = open(&device, 1).expect("opens");
    for account in (1..=accounts).map(AccountId) {
        let (address, phc) = (format!("user{account}@example.test"), "phc".into());
        let added = Record::AccountAdded { account, address, class: Class::S, bucket_bytes: 1 << 40, phc };
        let (folder, name, uid_validity, special) = (INBOX, "INBOX".into(), u32::MAX - account.0, None);
        let inbox = Record::FolderAdded { account, folder, name, uid_validity, special };
        shared.lock().record(account, &[added, inbox]).expect("there is room");
    }
    shared.lock().commit().expect("commits");
    (device, shared)
}

/// A message that cannot be packed; waits for room as who receives does.
pub(super) fn deliver(shared: &Shared, account: AccountId, size: usize) -> Result<(), StoreError> {
    let mut needs = Position::default();
    let kept = shared.access(&mut needs).reserve(account, size as u64)?;
    let body = shared.access(&mut needs).new_body();
    let mut bytes = vec![0; size];
    Random(body.0).fill(&mut bytes);
    for _ in 0..20 {
        if shared.lock().takes_piece(size) {
            break;
        }
        shared.lock().commit().expect("commits");
    }
    let mut store = shared.lock();
    let appended = store.append_piece(body, 0, bytes);
    drop(store);
    appended?;
    let message = NewMessage { body, size: size as u64, structure: vec![1; 80], date: Time(5) };
    shared.access(&mut needs).append(message, Flags::NONE, account, INBOX, kept)?;
    shared.lock().commit().expect("commits");
    Ok(())
}

/// Making it would add to the memory that a message takes; but nobody can keep it away.
#[test]
fn parity_waits_while_a_message_comes_in_and_not_for_ever() {
    let (_, shared) = office(100, 1 << 20, 1);
    let body = shared.access(&mut Position::default()).incoming();
    let mut piece = 0;
    let mut come_in = |segments: u64| {
        let wanted = shared.lock().journal.bare_bytes() + (segments << 20);
        while shared.lock().journal.bare_bytes() < wanted {
            let mut bytes = vec![0; 60_000];
            Random(u64::from(piece)).fill(&mut bytes);
            let mut store = shared.lock();
            store.append_piece(body.id(), piece, bytes).expect("fits");
            store.commit_pending().expect("commits");
            piece += 1;
        }
    };
    let is_due = || shared.lock().parity_due();
    come_in(3);
    assert!(!is_due());
    // The sender has stopped in the middle.
    shared.lock().journal.append_witness().expect("fits");
    shared.lock().commit_pending().expect("commits");
    assert!(is_due());
    come_in(1);
    assert!(!is_due());
    // Or does not come to an end.
    come_in(crate::limits::BARE_BYTES_MAX >> 20);
    assert!(is_due());
    // It has ended.
    while shared.lock().journal.bare_bytes() > 3 << 20 {
        let mut store = shared.lock();
        let mut step = store.journal.next_protect().expect("a step");
        step.step(&**store.journal.device());
        store.journal.protected(step);
    }
    assert!(!is_due());
    drop(body);
    assert!(is_due());
}

fn expunge(shared: &Shared, first: usize) -> Result<UidSet, StoreError> {
    let mut needs = Position::default();
    let live: Vec<Uid> = {
        let store = shared.lock();
        store.state.accounts[&ANNA].folders[&INBOX].live().map(|message| message.uid).collect()
    };
    // From all over the store, so that no segment is free by it alone.
    let step = live.len() / first;
    let set = UidSet::from_ascending(live.into_iter().step_by(step).take(first));
    let view = shared.access(&mut needs).open(ANNA, INBOX, false).expect("opens");
    let gone = shared.access(&mut needs).expunge(&view, Which::These(&set));
    shared.lock().commit().expect("commits");
    gone
}

pub(super) fn is_as_it_was(device: &Arc<Memory>, shared: &Shared) {
    let wanted = lines(&shared.lock().state);
    let device = Arc::new(device.survive(Outcome::Lost, 0));
    let (again, report) = open(&device, 9).expect("opens");
    assert!(!report.is_damaged(), "{report}");
    let store = again.lock();
    assert_eq!(lines(&store.state), wanted);
    let mut buffer = Vec::new();
    for message in store.state.accounts.values().flat_map(|account| account.folders[&INBOX].live()) {
        store.journal.find(message.body, 0).expect("is there").read(&*device, &mut buffer).expect("reads");
    }
}

/// Fills a store, and then in rounds expunges some and fills it again. Returns which part of raw was live when nothing more went in.
fn fill(segments: u64, segment_bytes: u32, size: usize) -> f64 {
    let (device, shared) = office(segments, segment_bytes, 1);
    let mut part = 1.0f64;
    // Two segments' worth: room is made by whole segments.
    let some = 2 * segment_bytes as usize / size;
    for round in 0..4 {
        let mut taken = 0;
        let refused = loop {
            match deliver(&shared, ANNA, size) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
        };
        let what = format!("{segment_bytes} bytes, round {round}");
        assert_eq!(refused, StoreError::NoSpace, "{what}");
        assert!(round == 0 || taken >= some / 2, "{what}: {taken} of {some}");
        let store = shared.lock();
        let messages = store.state.accounts[&ANNA].folders[&INBOX].count();
        part = part.min((messages as usize * size) as f64 / store.journal.capacity().raw_bytes as f64);
        drop(store);
        assert_eq!(expunge(&shared, some).map(|set| set.iter().count()), Ok(some), "{what}");
    }
    is_as_it_was(&device, &shared);
    part
}

#[test]
fn a_store_at_a_hundred_percent_expunges_and_receives_again() {
    let sizes = [(64, 256 << 10, 20_000), (16, 1 << 20, 60_000), (10, 4 << 20, 60_000)];
    let live = sizes.map(|(segments, bytes, size)| fill(segments, bytes, size));
    eprintln!("live when full: {live:.2?} with segments of 256 KiB, 1 MiB and 4 MiB");
    // What all buckets together may promise is less than this of 64 segments, which a store has at least; of 16 and of 10 four are kept back, too.
    assert!(live[0] > 0.75 && live[1] > 0.6 && live[2] > 0.45, "{live:?}");
}

#[test]
fn two_hundred_users_toggle_single_flags_for_ever() {
    for (segment_bytes, times) in [(256u32 << 10, 4000), (1 << 20, 6000)] {
        let (device, shared) = office(64, segment_bytes, 200);
        // About what all buckets together may promise.
        let live = 64 * segment_bytes as usize / 32 * 22;
        for nth in 0..live / 61_440 {
            deliver(&shared, AccountId(1 + nth as u32 % 200), 60_000).expect("that much is promised");
        }
        (1..=200).for_each(|account| deliver(&shared, AccountId(account), 100).expect("so is this"));
        let mut needs = Position::default();
        let before = (shared.lock().journal.freed_segments(), device.bytes_written());
        for nth in 0..times {
            let account = AccountId(1 + nth % 200);
            let view = shared.access(&mut needs).open(account, INBOX, false).expect("opens");
            let change = if nth / 200 % 2 == 0 { FlagChange::Add } else { FlagChange::Remove };
            let one = UidSet(vec![(Uid(1), Uid(1))]);
            let set = shared.access(&mut needs).flags_set(&view, &one, change, Flags::SEEN, None);
            set.unwrap_or_else(|error| panic!("{segment_bytes}: flag {nth}: {error:?}"));
            shared.lock().commit().expect("commits");
        }
        let freed = shared.lock().journal.freed_segments() - before.0;
        let written = (device.bytes_written() - before.1) as f64 / f64::from(times) / 4096.0;
        eprintln!("{segment_bytes}: {freed} segments freed, {written:.2} blocks written a flag");
        assert!(freed >= 10 && written < 1.5, "{freed} {written}");
        is_as_it_was(&device, &shared);
    }
}

/// Not a sixteenth of the folder: they stay where they are in it.
#[test]
fn the_bytes_of_expunged_messages_are_kept_for_views_while_there_is_room() {
    let (_, shared) = office(60, 256 * 1024, 1);
    (0..40).for_each(|_| deliver(&shared, ANNA, 1000).expect("fits"));
    let mut needs = Position::default();
    let mut expunged = |uid: u32| {
        let view = shared.access(&mut needs).open(ANNA, INBOX, false).expect("is there");
        let body = shared.lock().state.accounts[&ANNA].folders[&INBOX]
            .messages
            .find(Uid(uid))
            .expect("is there")
            .body;
        let one = UidSet(vec![(Uid(uid), Uid(uid))]);
        shared.access(&mut needs).expunge(&view, Which::These(&one)).expect("expunges");
        shared.lock().commit().expect("commits");
        (view, body)
    };
    let there = |body: BodyId, short: bool| {
        let mut store = shared.lock();
        let store = &mut *store;
        store.state.let_go_of_tombstones(short);
        store.state.effects(&mut store.journal);
        store.journal.find(body, 0).is_some()
    };
    let (view, first) = expunged(3);
    assert!(there(first, false), "who has not been told it may still ask for it");
    drop(view);
    assert!(!there(first, false), "nobody can ask for it");
    let (_view, second) = expunged(5);
    assert!(there(second, false) && !there(second, true));
}
