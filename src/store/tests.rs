//! The engine without sessions: buckets, views, copies, replay. Power cuts and protocols have tests of their own.

use std::sync::Arc;

use super::*;
use crate::device::{Device, Memory, Outcome, Random};
use crate::journal::{Format, format};
use crate::types::{Class, FlagChange, Flags, FolderId, Time, Uid, UidSet};

mod buried;
mod compaction;
mod crowded;
mod full;
mod quota;
mod snapshots;
mod steps;

const INBOX: FolderId = FolderId::INBOX;

struct Office {
    device: Arc<Memory>,
    shared: Shared,
    needs: Position,
    anna: AccountId,
}

fn open(device: Memory) -> (Arc<Memory>, Shared) {
    let device = Arc::new(device);
    let mut random = Random(3);
    let store = Store::open(Arc::clone(&device) as Arc<dyn Device>, &mut |bytes| random.fill(bytes));
    (device, Shared::new(store.expect("opens").0))
}

impl Office {
    fn new() -> Office {
        let device = Memory::new(128 << 20);
        let mut random = Random(1);
        let options = Format { segment_bytes: None, force: false };
        format(&device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
        let (device, shared) = open(device);
        let mut office = Office { device, shared, needs: Position::default(), anna: AccountId(0) };
        let mut store = office.access();
        store.domain_add("Example.test").expect("adds");
        let anna = store.mailbox_add("Anna@example.TEST", Class::S, "phc".into()).expect("adds");
        drop(store);
        office.anna = anna;
        office
    }

    fn access(&mut self) -> Access<'_> {
        self.shared.access(&mut self.needs)
    }

    fn deliver(&mut self, size: usize) -> Result<Uid, StoreError> {
        let anna = self.anna;
        let mut store = self.access();
        let kept = store.reserve(anna, size as u64)?;
        let body = store.new_body();
        store.store.append_piece(body, 0, vec![7; size.min(crate::limits::PIECE_BYTES)])?;
        let message = NewMessage { body, size: size as u64, structure: vec![1; 100], date: Time(5) };
        store.deliver(message, vec![(anna, kept)])?.remove(0)
    }

    fn used(&mut self) -> u64 {
        let anna = self.anna;
        let mut store = self.access();
        let account = store.account(anna).expect("is there");
        let sum: u64 =
            account.folders.values().flat_map(Folder::live).map(|message| u64::from(message.charge)).sum();
        assert_eq!(account.used_bytes, sum);
        sum
    }

    fn reopen(&mut self) {
        self.shared.lock().commit().expect("commits");
        (self.device, self.shared) = open(self.device.survive(Outcome::Lost, 0));
    }
}

fn set(uids: &[u32]) -> UidSet {
    UidSet::from_ascending(uids.iter().copied().map(Uid))
}

#[test]
fn a_full_bucket_refuses_and_an_expunge_frees_exactly_what_was_charged() {
    let mut office = Office::new();
    let mut delivered = 0;
    while office.deliver(1 << 20).is_ok() {
        delivered += 1;
    }
    assert_eq!(delivered, 15, "16 MiB less overheads");
    assert_eq!(office.deliver(1 << 20), Err(StoreError::OverQuota));
    assert_eq!(office.deliver(17 << 20), Err(StoreError::TooBig));
    assert_eq!(office.used(), 15 * bucket::charge(1 << 20, 100));
    let anna = office.anna;
    let view = office.access().open(anna, INBOX, false).expect("opens");
    office.access().expunge(&view, Which::These(&set(&[3, 4]))).expect("expunges");
    assert_eq!(office.used(), 13 * bucket::charge(1 << 20, 100));
    assert_eq!(office.deliver(1 << 20), Ok(Uid(16)));
    office.reopen();
    assert_eq!(office.used(), 14 * bucket::charge(1 << 20, 100));
}

#[test]
fn two_deliveries_do_not_race_for_the_last_bytes() {
    let mut office = Office::new();
    let anna = office.anna;
    let first = office.access().reserve(anna, 9 << 20).expect("fits");
    assert_eq!(office.access().reserve(anna, 9 << 20).err(), Some(StoreError::OverQuota));
    let mut small = office.access().reserve(anna, 1 << 20).expect("fits");
    assert_eq!(office.access().reserve_more(anna, &mut small, 9 << 20), Err(StoreError::OverQuota));
    drop(first);
    office.access().reserve_more(anna, &mut small, 9 << 20).expect("fits now");
    drop(small);
    assert_eq!(office.access().account(anna).expect("is there").reserved_bytes(), 0);
}

#[test]
fn buckets_are_promised_whole() {
    let mut office = Office::new();
    let add = |office: &mut Office, name: &str, class| {
        office.access().mailbox_add(&format!("{name}@example.test"), class, "phc".into())
    };
    let (room, _) = office.access().buckets();
    assert!(room <= 96 << 20 && room > 80 << 20);
    assert_eq!(add(&mut office, "ben", Class::Xl), Err(StoreError::OverQuota));
    assert_eq!(office.access().class_that_fits(None), Some(Class::L));
    add(&mut office, "ben", Class::L).expect("fits");
    assert_eq!(office.access().class_that_fits(None), None);
    assert_eq!(office.access().mailbox_size("anna@example.test", Class::M), Err(StoreError::OverQuota));
    office.access().mailbox_remove("ben@example.test").expect("removes");
    office.access().mailbox_size("anna@example.test", Class::M).expect("fits");
    assert_eq!(add(&mut office, "anna", Class::S), Err(StoreError::Exists));
    assert_eq!(
        office.access().domain_remove("example.test"),
        Err(StoreError::Cannot("it still has mailboxes or aliases"))
    );
}

#[test]
fn addresses_are_found_in_any_case_and_postmaster_always() {
    let mut office = Office::new();
    let anna = office.anna;
    office.access().alias_add("Info@example.test", "ANNA@example.test").expect("adds");
    let mut who = |local: &str, domain: Option<&str>| office.access().recipient(local, domain);
    assert_eq!(who("ANNA", Some("EXAMPLE.test")), Recipient::Account(anna));
    assert_eq!(who("info", Some("example.test")), Recipient::Account(anna));
    assert_eq!(who("Postmaster", Some("example.test")), Recipient::Account(anna));
    assert_eq!(who("postmaster", None), Recipient::Account(anna));
    assert_eq!(who("carl", Some("example.test")), Recipient::Unknown);
    assert_eq!(who("anna", Some("example.org")), Recipient::Elsewhere);
    for (address, owned) in [("INFO@example.test", true), ("x@example.test", false)] {
        assert_eq!(office.access().owns(anna, address), owned);
    }
    office.access().mailbox_remove("anna@example.test").expect("removes");
    assert_eq!(office.access().recipient("info", Some("example.test")), Recipient::Unknown);
}

#[test]
fn a_view_keeps_its_numbers_until_it_is_told() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..5 {
        office.deliver(100).expect("fits");
    }
    let mut one = office.access().open(anna, INBOX, false).expect("opens");
    let mut two = office.access().open(anna, INBOX, false).expect("opens");
    office.access().expunge(&one, Which::These(&set(&[2, 4]))).expect("expunges");
    office.deliver(100).expect("fits");
    {
        let mut store = office.access();
        let folder = store.folder(anna, INBOX).expect("is there");
        assert_eq!((one.count(folder), two.count(folder), folder.count()), (5, 5, 4));
        assert_eq!(
            two.by_seq(folder, 4).map(|entry| (entry.message.uid, entry.expunged)),
            Some((Uid(4), true))
        );
        assert_eq!(two.find(folder, Uid(5)).map(|entry| entry.seq), Some(5));
        assert_eq!(two.find(folder, Uid(6)).map(|entry| entry.seq), None);
    }
    let (told, whole) = office.access().sync(&mut one, true).expect("is there");
    assert!(whole);
    let gone = |seq, uid| Told::Expunged { seq, uid: Uid(uid) };
    assert_eq!(told, [gone(2, 2), gone(3, 4), Told::Exists { count: 4, recent: 4 }]);
    // The other one may not be told expunges yet: its numbers stay, the new message comes behind them.
    let (told, _) = office.access().sync(&mut two, false).expect("is there");
    assert_eq!(told, [Told::Exists { count: 6, recent: 0 }]);
    {
        let mut store = office.access();
        let folder = store.folder(anna, INBOX).expect("is there");
        assert_eq!(two.uids_of_seqs(folder, &[(3, 6)]), Some(UidSet(vec![(Uid(3), Uid(6))])));
        assert_eq!(two.uids_of_seqs(folder, &[(3, 7)]), None);
        let seqs: Vec<_> =
            (1..=4).filter_map(|seq| one.by_seq(folder, seq)).map(|entry| entry.message.uid.0).collect();
        assert_eq!(seqs, [1, 3, 5, 6]);
    }
    let (told, _) = office.access().sync(&mut two, true).expect("is there");
    assert_eq!(told, [gone(2, 2), gone(3, 4)]);
    drop((one, two));
}

#[test]
fn flag_changes_are_told_once_and_only_to_others() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..3 {
        office.deliver(100).expect("fits");
    }
    let mut one = office.access().open(anna, INBOX, false).expect("opens");
    let mut two = office.access().open(anna, INBOX, false).expect("opens");
    let done =
        office.access().flags_set(&one, &set(&[1, 3]), FlagChange::Add, Flags::SEEN, None).expect("sets");
    one.skip_flags(done.serial);
    assert_eq!(office.access().sync(&mut one, true), Some((vec![], true)));
    let (told, _) = office.access().sync(&mut two, false).expect("is there");
    let seen = |seq| Told::Flags { seq, uid: Uid(seq), flags: Flags::SEEN, serial: done.serial };
    assert_eq!(told, [seen(1), seen(3)]);
    assert_eq!(office.access().sync(&mut two, true), Some((vec![], true)));
    // Nothing changes: no record, no serial (RFC 7162 §3.1).
    let again =
        office.access().flags_set(&one, &set(&[1]), FlagChange::Add, Flags::SEEN, None).expect("sets");
    assert_eq!(again.serial, done.serial);
    let refused = office.access().flags_set(
        &one,
        &set(&[1, 2]),
        FlagChange::Replace,
        Flags::DRAFT,
        Some(Serial(done.serial.0 - 1)),
    );
    assert_eq!(refused.expect("sets").modified, set(&[1]));
    let folder = |office: &mut Office| office.access().folder(anna, INBOX).map(|folder| folder.unseen);
    assert_eq!(folder(&mut office), Some(1));
    office.reopen();
    assert_eq!(folder(&mut office), Some(1));
}

#[test]
fn many_flag_changes_are_told_in_portions_and_none_twice() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..1300 {
        office.deliver(10).expect("fits");
    }
    let one = office.access().open(anna, INBOX, false).expect("opens");
    let mut two = office.access().open(anna, INBOX, false).expect("opens");
    let all = UidSet(vec![(Uid(1), Uid(u32::MAX))]);
    office.access().flags_set(&one, &all, FlagChange::Add, Flags::SEEN, None).expect("sets");
    let mut portions = Vec::new();
    loop {
        let (told, whole) = office.access().sync(&mut two, true).expect("is there");
        portions.push(told.len());
        if whole {
            break;
        }
    }
    assert_eq!(portions, [500, 500, 300]);
    assert_eq!(office.access().sync(&mut two, true), Some((vec![], true)));
}

#[test]
fn recent_is_one_sessions_own() {
    let mut office = Office::new();
    let anna = office.anna;
    office.deliver(100).expect("fits");
    let reader = office.access().open(anna, INBOX, true).expect("opens");
    let mut first = office.access().open(anna, INBOX, false).expect("opens");
    let second = office.access().open(anna, INBOX, false).expect("opens");
    assert!(reader.is_recent(Uid(1)) && first.is_recent(Uid(1)) && !second.is_recent(Uid(1)));
    office.deliver(100).expect("fits");
    let (told, _) = office.access().sync(&mut first, true).expect("is there");
    assert_eq!(told, [Told::Exists { count: 2, recent: 2 }]);
    office.reopen();
    let after = office.access().open(anna, INBOX, false).expect("opens");
    assert!(!after.is_recent(Uid(2)), "kept in memory only");
}

#[test]
fn moving_needs_no_room_and_copying_does() {
    let mut office = Office::new();
    let anna = office.anna;
    while office.deliver(1 << 20).is_ok() {}
    let view = office.access().open(anna, INBOX, false).expect("opens");
    let trash = office
        .access()
        .account(anna)
        .and_then(|account| account.folder_by_name("Trash"))
        .map(|folder| folder.id);
    let trash = trash.expect("is there");
    let used = office.used();
    assert_eq!(office.access().copy(&view, &set(&[1, 2]), trash), Err(StoreError::OverQuota));
    let moved = office.access().r#move(&view, &set(&[1, 2, 99]), trash).expect("moves").expect("some");
    assert_eq!((moved.from, moved.to), (set(&[1, 2]), set(&[1, 2])));
    assert_eq!(office.used(), used);
    assert_eq!(office.access().copy(&view, &set(&[1]), trash), Ok(None));
}

#[test]
fn folders_have_superiors_and_new_validities() {
    let mut office = Office::new();
    let anna = office.anna;
    let names = |office: &mut Office| -> Vec<String> {
        let mut store = office.access();
        let folders = store.account(anna).expect("is there").folders.values();
        let mut names: Vec<_> =
            folders.map(|folder| folder.name.clone()).filter(|name| name.starts_with('W')).collect();
        names.sort();
        names
    };
    office.access().folder_create(anna, "W/a/b", None).expect("creates");
    assert_eq!(names(&mut office), ["W", "W/a", "W/a/b"]);
    let validity = |office: &mut Office, name: &str| {
        office
            .access()
            .account(anna)
            .and_then(|account| account.folder_by_name(name))
            .map(|folder| folder.uid_validity)
    };
    let before = validity(&mut office, "W/a").expect("is there");
    office.access().folder_rename(anna, "W/a", "W/c").expect("renames");
    assert_eq!(names(&mut office), ["W", "W/c", "W/c/b"]);
    assert_eq!(validity(&mut office, "W/c"), Some(before));
    office.access().folder_remove(anna, "W/c").expect("removes");
    office.access().folder_create(anna, "W/c", None).expect("creates");
    assert!(validity(&mut office, "W/c") > Some(before));
    assert_eq!(office.access().folder_create(anna, "inbox", None), Err(StoreError::Exists));
    assert_eq!(
        office.access().folder_rename(anna, "W", "W/d"),
        Err(StoreError::Cannot("a folder cannot become its own inferior"))
    );
    office.deliver(100).expect("fits");
    office.access().folder_rename(anna, "INBOX", "Old").expect("renames");
    let count = |office: &mut Office, name: &str| {
        office.access().account(anna).and_then(|account| account.folder_by_name(name)).map(Folder::count)
    };
    assert_eq!((count(&mut office, "INBOX"), count(&mut office, "Old")), (Some(0), Some(1)));
    office.reopen();
    assert_eq!((count(&mut office, "INBOX"), count(&mut office, "Old")), (Some(0), Some(1)));
    assert!(validity(&mut office, "W/c") > Some(before), "survives");
}

#[test]
fn a_session_needs_what_it_has_touched_and_nothing_else() {
    let mut office = Office::new();
    let ben = office.access().mailbox_add("ben@example.test", Class::S, "phc".into()).expect("adds");
    office.shared.lock().commit().expect("commits");
    office.deliver(100).expect("fits");
    let mut stranger = Position::default();
    let mut store = office.shared.access(&mut stranger);
    store.account(ben).expect("is there");
    store.recipient("anna", Some("example.test"));
    drop(store);
    let store = office.shared.lock();
    let (durable, last) = (store.journal().durable(), store.journal().last());
    assert!(stranger <= durable && office.needs == last && last > durable);
    drop(store);
    let mut reader = Position::default();
    office.shared.access(&mut reader).folder(office.anna, INBOX).expect("is there");
    assert_eq!(reader, last, "who reads what is not durable waits for it");
}

#[test]
fn numbers_of_bodies_that_nobody_holds_are_not_given_again() {
    let mut office = Office::new();
    office.deliver(100).expect("fits");
    let lost = office.access().new_body();
    office.shared.lock().append_piece(lost, 0, vec![1; 100]).expect("fits");
    office.reopen();
    assert!(office.access().new_body() > lost);
}

#[test]
fn applying_twice_is_applying_once() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..4 {
        office.deliver(1000).expect("fits");
    }
    let keep = office.access().open(anna, INBOX, false).expect("opens");
    let trash = office.access().folder_create(anna, "Old", None).expect("creates");
    office.access().flags_set(&keep, &set(&[1, 2]), FlagChange::Add, Flags::SEEN, None).expect("sets");
    office.access().r#move(&keep, &set(&[2, 3]), trash).expect("moves");
    office.access().copy(&keep, &set(&[1]), trash).expect("copies");
    office.access().expunge(&keep, Which::These(&set(&[4]))).expect("expunges");
    office.shared.lock().commit().expect("commits");
    // Every record once, and then: each again at once, and all of them again in their order.
    let mut found = Vec::new();
    crate::journal::examine(&*office.device, &mut |record| {
        found.push((record.serial, record.position, record.payload.to_vec()));
    })
    .expect("reads");
    let (mut once, mut twice) = (State::default(), State::default());
    for (serial, position, payload) in &found {
        once.replay(*serial, *position, payload);
        twice.replay(*serial, *position, payload);
        twice.replay(*serial, *position, payload);
    }
    let all = |state: &State| {
        let account = &state.accounts[&anna];
        let folders = account.folders.values().map(|folder| {
            let messages: Vec<_> =
                folder.live().map(|message| (message.uid, message.flags, message.serial)).collect();
            (folder.id, folder.uid_next, folder.unseen, folder.serial, folder.count(), messages)
        });
        (account.used_bytes, account.serial, folders.collect::<Vec<_>>())
    };
    assert_eq!(all(&once), all(&twice));
    let (serial, position, payload) = found.last().expect("some");
    once.replay(*serial, *position, payload);
    assert_eq!(all(&once), all(&twice));
    // With a view on them the expunged are still there as tombstones.
    let mut store = office.shared.lock();
    assert_eq!(all(&twice), all(store.state()));
    for (serial, position, payload) in &found {
        store.state.replay(*serial, *position, payload);
    }
    assert_eq!(all(&twice), all(store.state()));
}

#[test]
fn views_that_have_ended_are_forgotten() {
    let mut office = Office::new();
    let anna = office.anna;
    let kept = office.access().open(anna, INBOX, false).expect("opens");
    for _ in 0..1000 {
        office.access().open(anna, INBOX, false).expect("opens");
    }
    let remembered = |office: &Office| office.shared.lock().state.accounts[&anna].folders[&INBOX].views.len();
    assert!(remembered(&office) < 10);
    office.shared.lock().forget_ended();
    assert_eq!(remembered(&office), 1);
    drop(kept);
}

#[test]
fn many_expunges_are_told_in_portions_and_numbers_stay_right_in_between() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..2000 {
        office.deliver(10).expect("fits");
    }
    let one = office.access().open(anna, INBOX, false).expect("opens");
    let mut two = office.access().open(anna, INBOX, false).expect("opens");
    let odd = UidSet::from_ascending((1..=2000).step_by(2).map(Uid));
    office.access().expunge(&one, Which::These(&odd)).expect("expunges");
    let mut known: Vec<u32> = (1..=2000).collect();
    let mut portions = Vec::new();
    loop {
        let (told, whole) = office.access().sync(&mut two, true).expect("is there");
        portions.push(told.len());
        for told in told {
            match told {
                Told::Expunged { seq, uid } => assert_eq!(known.remove(seq as usize - 1), uid.0),
                Told::Exists { count, .. } => known.extend(known.len() as u32 + 1001..=count + 1000),
                other @ Told::Flags { .. } => panic!("{other:?}"),
            }
        }
        // In the middle of it others go on, and the numbers are as the client has them.
        if portions.len() == 1 {
            office.deliver(10).expect("fits");
            office.access().expunge(&one, Which::These(&set(&[2]))).expect("expunges");
        }
        let mut store = office.access();
        let folder = store.folder(anna, INBOX).expect("is there");
        assert_eq!(two.count(folder) as usize, known.len());
        for (index, uid) in known.iter().enumerate().step_by(7) {
            let entry = two.by_seq(folder, index as u32 + 1).expect("is there");
            assert_eq!(entry.message.uid.0, *uid);
            assert_eq!(two.find(folder, entry.message.uid).expect("is there").seq as usize, index + 1);
        }
        if whole {
            break;
        }
    }
    assert_eq!(portions, [500, 501], "and EXISTS");
    let (told, whole) = office.access().sync(&mut two, true).expect("is there");
    assert_eq!((told, whole), (vec![Told::Expunged { seq: 1, uid: Uid(2) }], true));
}

/// Twenty thousand messages change their folder at once: one change, of several frames, whole or not at all.
#[test]
fn a_large_folder_is_moved_as_a_whole() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..20_000 {
        office.deliver(10).expect("fits");
        if office.shared.lock().journal().pending_bytes() > 1 << 20 {
            office.shared.lock().commit().expect("commits");
        }
    }
    let old = office.access().folder_create(anna, "Old", None).expect("creates");
    let view = office.access().open(anna, INBOX, false).expect("opens");
    let all = UidSet(vec![(Uid(1), Uid(u32::MAX))]);
    office.access().flags_set(&view, &set(&[1, 3, 5]), FlagChange::Add, Flags::FLAGGED, None).expect("sets");
    office.shared.lock().commit().expect("commits");
    let used = office.used();
    let counts = |office: &mut Office| {
        let account = office
            .access()
            .account(anna)
            .map(|account| [INBOX, old].map(|folder| account.folders.get(&folder).map_or(0, Folder::count)));
        account.expect("is there")
    };
    let moved = office.access().r#move(&view, &all, old).expect("moves").expect("some");
    assert_eq!(
        (moved.from, moved.to),
        (UidSet(vec![(Uid(1), Uid(20_000))]), UidSet(vec![(Uid(1), Uid(20_000))]))
    );
    assert_eq!((counts(&mut office), office.used()), ([0, 20_000], used));
    // Cut when all but the flush has been done: before or after, never in between.
    office.device.keep_cuts();
    office.shared.lock().commit().expect("commits");
    let cuts = office.device.take_cuts();
    assert!(cuts.len() > 4, "the change is several writes");
    let cut = cuts.last().expect("some");
    let mut seen = [0, 0];
    for seed in 0..4 {
        let torn = cut.survive(Outcome::ALL[seed as usize % 4], seed);
        let (device, shared) = open(torn);
        let mut other = Office { device, shared, needs: Position::default(), anna };
        let found = counts(&mut other);
        assert!(found == [20_000, 0] || found == [0, 20_000], "{found:?}");
        seen[usize::from(found[0] == 0)] += 1;
        assert_eq!(other.used(), used);
        // What is left of the torn one does not mix with the change that comes next.
        let view = other.access().open(anna, INBOX, false).expect("opens");
        other.access().r#move(&view, &all, old).expect("moves");
        assert_eq!(counts(&mut other), [0, 20_000]);
        if seed == 3 {
            other.reopen();
            assert_eq!((counts(&mut other), other.used()), ([0, 20_000], used));
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn a_change_that_does_not_fit_is_refused_whole() {
    let mut office = Office::new();
    let anna = office.anna;
    for _ in 0..3000 {
        office.deliver(10).expect("fits");
    }
    let body = office.access().new_body();
    for piece in 0.. {
        let mut store = office.shared.lock();
        if store.append_piece(body, piece, vec![0; 64 << 10]).is_err() {
            break;
        }
        if store.journal.pending_bytes() > 1 << 20 {
            store.commit().expect("commits");
        }
    }
    // What is left for records takes small changes longer than everything at once.
    let (mut folders, all) = ((INBOX, FolderId(5)), UidSet(vec![(Uid(1), Uid(u32::MAX))]));
    let mut refused = None;
    for _ in 0..1000 {
        let (used, serial) = (office.used(), office.shared.lock().state().serial);
        let view = office.access().open(anna, folders.0, false).expect("opens");
        let result = office.access().r#move(&view, &all, folders.1);
        if let Err(error) = result {
            refused = Some(error);
            assert_eq!(office.shared.lock().state().serial, serial);
            assert_eq!(office.used(), used);
            break;
        }
        folders = (folders.1, folders.0);
    }
    assert_eq!(refused, Some(StoreError::NoSpace));
    let view = office.access().open(anna, folders.0, false).expect("opens");
    office.access().expunge(&view, Which::Deleted).expect("nothing is deleted");
    let first = office.access().folder(anna, folders.0).and_then(|folder| folder.live().next());
    let first = set(&[first.expect("some").uid.0]);
    assert_eq!(office.access().expunge(&view, Which::These(&first)), Ok(first.clone()), "a small one fits");
    let used = office.used();
    office.reopen();
    assert_eq!(office.used(), used);
}
