//! Compaction beside what is larger than a frame, beside views that outlive a state, and beside a reading under way.
//!
//! The store is small and is written over many times, so that every fact is in a segment that is freed sooner or later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::record::{self, Record};
use super::super::storm::{Trail, judge, lines, open};
use super::super::*;
use crate::device::{Device, Memory, Operation, Outcome, Random, below};
use crate::journal::{Format, format};
use crate::types::{Class, FlagChange, Flags, FolderId, Time, Uid, UidSet};

const ANNA: AccountId = AccountId(1);
const INBOX: FolderId = FolderId::INBOX;
const OLD: FolderId = FolderId(2);

/// A store of 48 segments of 32 KiB, so that a frame has 24 KiB; with so many small messages.
fn office(messages: u32, seed: u64) -> (Arc<Memory>, Shared) {
    let device = Memory::new(49 * 32 * 1024);
    let mut random = Random(seed);
    let options = Format { segment_bytes: Some(32 * 1024), force: false };
    format(&device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
    let device = Arc::new(device);
    let (shared, _) = open(&device, seed).expect("opens");
    let folder = |folder, name: &str, uid_validity| Record::FolderAdded {
        account: ANNA,
        folder,
        name: name.into(),
        uid_validity,
        special: None,
    };
    let added = Record::AccountAdded {
        account: ANNA,
        address: "anna@example.test".into(),
        class: Class::S,
        bucket_bytes: 8 << 20,
        phc: "phc".into(),
    };
    let records = [added, folder(INBOX, "INBOX", 7), folder(OLD, "Old", 8)];
    shared.lock().record(ANNA, &records).expect("there is room");
    for _ in 0..messages {
        deliver(&shared).expect("fits");
    }
    // Flags that take many bytes, in every copy.
    let (all, flags) = (UidSet(vec![(Uid(1), Uid(u32::MAX))]), Flags(1 << 62));
    let mut needs = Position::default();
    let seen = view(&shared, INBOX);
    shared.access(&mut needs).flags_set(&seen, &all, FlagChange::Replace, flags, None).expect("sets");
    shared.lock().commit().expect("commits");
    (device, shared)
}

fn deliver(shared: &Shared) -> Result<(), StoreError> {
    let mut needs = Position::default();
    let kept = shared.access(&mut needs).reserve(ANNA, 60)?;
    let body = shared.access(&mut needs).new_body();
    let mut bytes = vec![0; 60];
    Random(body.0).fill(&mut bytes);
    if !shared.lock().takes_piece(60) {
        shared.lock().commit().map_err(|_| StoreError::ReadOnly)?;
    }
    shared.lock().append_piece(body, 0, bytes)?;
    let message = NewMessage { body, size: 60, structure: vec![1; 20], date: Time(5) };
    shared.access(&mut needs).deliver(message, vec![(ANNA, kept)])?.remove(0).map(drop)
}

fn view(shared: &Shared, folder: FolderId) -> View {
    shared.access(&mut Position::default()).open(ANNA, folder, false).expect("is there")
}

/// Which parts of changes the log has, by serial, with how many there are to be.
fn parts(device: &Memory) -> BTreeMap<Serial, (BTreeSet<u32>, u32)> {
    let mut found: BTreeMap<Serial, (BTreeSet<u32>, u32)> = BTreeMap::new();
    let mut visit = |frame: crate::journal::Found<'_>| {
        let records = record::decode(frame.payload).expect("parses");
        if let Some(Record::Part { number, of }) = records.first() {
            let (numbers, count) = found.entry(frame.serial).or_default();
            numbers.insert(*number);
            *count = *of;
        }
    };
    crate::journal::examine(device, &mut visit).expect("reads");
    found
}

/// One round of a mailbox whose changes are larger than a frame: everything is copied, every copy is flagged, most copies go again, and so
/// do some messages of the INBOX, for new ones. False: the power is gone.
fn round(shared: &Shared, trail: &mut Trail, number: u64) -> bool {
    let mut needs = Position::default();
    let all = UidSet(vec![(Uid(1), Uid(u32::MAX))]);
    let live = |folder| -> Vec<Uid> {
        shared.lock().state.accounts[&ANNA].folders[&folder].live().map(|message| message.uid).collect()
    };
    let mut done = |result: Result<(), StoreError>| {
        trail.now(shared);
        let committed = trail.commit(shared);
        if committed {
            result.expect("there is room");
        }
        committed
    };
    let from = view(shared, INBOX);
    let copied = shared.access(&mut needs).copy(&from, &all, OLD).map(drop);
    if !done(copied) {
        return false;
    }
    let (to, copies) = (view(shared, OLD), live(OLD));
    for part in 0..4 {
        let set = UidSet::from_ascending(copies.iter().copied().skip(part).step_by(4));
        let flags = Flags(1 << ((number + part as u64) % 5) | 1 << (58 + part));
        let set = shared.access(&mut needs).flags_set(&to, &set, FlagChange::Replace, flags, None).map(drop);
        if !done(set) {
            return false;
        }
    }
    let most = copies.into_iter().filter(|uid| u64::from(uid.0) % 97 != number % 97);
    let gone = shared.access(&mut needs).expunge(&to, Which::These(&UidSet::from_ascending(most))).map(drop);
    if !done(gone) {
        return false;
    }
    let some = live(INBOX).into_iter().filter(|uid| u64::from(uid.0) % 31 == number % 31 && uid.0 % 50 != 0);
    let some = UidSet::from_ascending(some);
    let gone = shared.access(&mut needs).expunge(&from, Which::These(&some)).map(drop);
    done(gone) && done(some.iter().try_for_each(|_| deliver(shared)))
}

#[test]
fn changes_of_several_frames_are_freed_from_the_front_and_hold_all_the_while() {
    let (device, shared) = office(2000, 1);
    let mut trail = Trail(vec![lines(&shared.lock().state)]);
    let (mut seen, mut part_gone) = (BTreeSet::new(), 0);
    for number in 0..48 {
        assert!(round(&shared, &mut trail, number));
        for (serial, (numbers, of)) in parts(&device) {
            seen.insert(serial);
            assert!(numbers.contains(&(of - 1)), "{serial}: {numbers:?} of {of}");
            part_gone += u32::from(numbers.len() < of as usize);
        }
        let copy = Arc::new(device.survive(Outcome::Lost, 0));
        let other = judge(&copy, &mut trail, number, "in between");
        assert_eq!(other.lock().state.unfinished().count(), 0);
    }
    let freed = shared.lock().journal.freed_segments();
    eprintln!(
        "{} large changes, {part_gone} times one of them freed in part, {freed} segments freed",
        seen.len()
    );
    assert!(freed > 150 && seen.len() >= 48 && part_gone > 4, "{freed} {} {part_gone}", seen.len());
}

#[test]
fn a_large_change_that_was_cut_never_comes_back() {
    let (base, worn) = office(1500, 2);
    let mut before = Trail(Vec::new());
    assert!((0..8).all(|number| round(&worn, &mut before, number)));
    let (mut torn, mut freed) = (0, 0);
    for cut in 0..8 {
        let device = Arc::new(base.copy());
        let (shared, _) = open(&device, cut).expect("opens");
        let mut trail = Trail(vec![lines(&shared.lock().state)]);
        device.cut_after(cut % 2);
        // Where the change is torn, nothing of it holds, but its number has been used.
        let serial = shared.lock().state.serial.0;
        let mut used = trail.0[0].clone();
        used[0] = used[0].replacen(&serial.to_string(), &(serial + 1).to_string(), 1);
        round(&shared, &mut trail, cut);
        trail.0.push(used);
        let mut device = Arc::new(device.survive(Outcome::ALL[cut as usize / 2], cut));
        for number in 0..4 {
            let shared = judge(&device, &mut trail, cut, &format!("cut {cut}, round {number}"));
            let unfinished = shared.lock().state.unfinished().count();
            if number == 0 {
                eprintln!("{cut}: {unfinished} {:?}", parts(&device));
            }
            torn += u32::from(number == 0 && unfinished > 0);
            assert!(unfinished <= 1);
            assert!(round(&shared, &mut trail, number));
            freed += shared.lock().journal.freed_segments();
            device = Arc::new(device.survive(Outcome::Lost, 0));
        }
    }
    eprintln!("{torn} changes torn, {freed} segments freed behind them");
    assert!(torn >= 1 && freed > 40, "{torn} {freed}");
}

/// The log has been written over and knows nothing of what a view still has; then writing fails for good.
#[test]
fn views_locks_and_logins_outlive_a_failure_after_compaction() {
    let (device, shared) = office(1400, 3);
    let mut needs = Position::default();
    for phc in ["second", "third"] {
        shared.access(&mut needs).password_set("anna@example.test", phc.into()).expect("sets");
    }
    let generation = shared.access(&mut needs).generation(ANNA);
    let lock = shared.access(&mut needs).pop3_lock(ANNA).expect("is free");
    let mut old = view(&shared, INBOX);
    let gone = UidSet(vec![(Uid(3), Uid(3)), (Uid(10), Uid(19)), (Uid(300), Uid(300))]);
    let mine = view(&shared, INBOX);
    shared.access(&mut needs).expunge(&mine, Which::These(&gone)).expect("expunges");
    drop(mine);
    let mut trail = Trail(vec![lines(&shared.lock().state)]);
    for number in 0..16 {
        assert!(round(&shared, &mut trail, number));
    }
    assert!(shared.lock().journal.freed_segments() > 20);
    let seqs = |shared: &Shared, view: &View| -> Vec<Option<Uid>> {
        let store = shared.lock();
        let folder = &store.state.accounts[&ANNA].folders[&INBOX];
        (1..=view.count(folder)).map(|seq| view.by_seq(folder, seq).map(|entry| entry.message.uid)).collect()
    };
    let before = seqs(&shared, &old);
    assert_eq!(before.len(), 1400);
    // Not durable, and so not true afterwards.
    let last = view(&shared, INBOX);
    let never = UidSet(vec![(Uid(20), Uid(29))]);
    shared.access(&mut needs).expunge(&last, Which::These(&never)).expect("expunges");
    device.fail_at(Operation::Flush, device.flushes(), true);
    assert!(shared.lock().commit().is_err());
    shared.lock().fall_back().expect("reads");
    assert_eq!(lines(&shared.lock().state), trail.0[0], "what was durable, no more");
    assert_eq!(seqs(&shared, &old), before);
    let mut told: Vec<Uid> = Vec::new();
    loop {
        let (portion, whole) = shared.access(&mut needs).sync(&mut old, true).expect("is there");
        told.extend(portion.into_iter().filter_map(|told| match told {
            Told::Expunged { uid, .. } => Some(uid),
            _ => None,
        }));
        if whole {
            break;
        }
    }
    let live = shared.lock();
    let folder = &live.state.accounts[&ANNA].folders[&INBOX];
    let wanted = (1..=1400).map(Uid).filter(|uid| folder.live().all(|message| message.uid != *uid));
    assert_eq!(told, wanted.collect::<Vec<_>>());
    assert!(told.len() > 200 && gone.iter().all(|uid| told.contains(&uid)), "{}", told.len());
    drop(live);
    assert!(shared.access(&mut needs).pop3_lock(ANNA).is_none(), "still taken");
    drop(lock);
    assert!(shared.access(&mut needs).pop3_lock(ANNA).is_some());
    assert_eq!(shared.access(&mut needs).generation(ANNA), generation);
    let store = shared.lock();
    let mut buffer = Vec::new();
    for message in store.state.accounts[&ANNA].folders[&INBOX].live() {
        let extent = store.journal.find(message.body, 0).expect("is there");
        extent.read(&*device, &mut buffer).expect("reads");
    }
}

/// A device that lets something happen between two reads of one who reads without the lock.
struct Between<'a> {
    device: Arc<Memory>,
    reads: std::sync::atomic::AtomicU64,
    at: u64,
    act: &'a (dyn Fn() + Sync),
}

impl Device for Between<'_> {
    below!(device: size write_at flush discard prepare forget_cache);

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == self.at {
            (self.act)();
        }
        self.device.read_at(offset, buf)
    }
}

/// A piece is found, and before its header or its payload is read the segment is emptied and written over.
#[test]
fn a_reading_that_races_with_reuse_is_noticed_and_ends_well() {
    let (mut raced, mut kept) = (0, 0);
    for at in 0..2 {
        for uid in [50, 1000] {
            let (device, shared) = office(1400, 4);
            let message = {
                let store = shared.lock();
                let folder = &store.state.accounts[&ANNA].folders[&INBOX];
                folder.live().find(|message| message.uid == Uid(uid)).expect("is there")
            };
            let extent = shared.lock().journal.find(message.body, 0).expect("is there");
            let churn = || {
                let mut trail = Trail(Vec::new());
                for number in 0..30 {
                    assert!(round(&shared, &mut trail, number));
                }
            };
            let between = Between { device: Arc::clone(&device), reads: 0.into(), at, act: &churn };
            let mut wanted = vec![0; 60];
            Random(message.body.0).fill(&mut wanted);
            let mut buffer = Vec::new();
            let read = extent.read(&between, &mut buffer);
            let moved = shared.lock().journal.find(message.body, 0).expect("is there still");
            assert!(!moved.is(&extent), "thirty rounds move everything");
            match read {
                Ok(()) => kept += u32::from(buffer == wanted),
                Err(_) => raced += 1,
            }
            assert!(buffer.is_empty() || buffer == wanted, "never other bytes");
            moved.read(&*device, &mut buffer).expect("reads");
            assert_eq!(buffer, wanted);
        }
    }
    eprintln!("{raced} readings found that they had been overtaken, {kept} did not need to");
    assert!(raced >= 3, "{raced} {kept}");
}
