//! A bucket that is made smaller than what it holds loses nothing: receiving stops, deleting lets it go on, and so does a larger bucket.
//! What is charged is exact all the while, after the power has been cut and after segments have been written over. And what it holds beyond
//! its bucket is sold to nobody else.

use super::super::*;
use super::{INBOX, Office, set};
use crate::device::Random;
use crate::types::{Class, FolderId, Uid, UidSet};

/// 1 MiB that cannot be packed: what is charged is on the medium.
fn deliver(office: &mut Office, account: AccountId) -> Result<Uid, StoreError> {
    let mut store = office.access();
    let kept = store.reserve(account, 1 << 20)?;
    let body = store.new_body();
    for piece in 0..16 {
        let mut bytes = vec![0; 65536];
        Random(body.0 << 8 | piece).fill(&mut bytes);
        // As who waits for room does.
        for _ in 0..8 {
            if store.store.takes_piece(bytes.len()) {
                break;
            }
            store.store.commit().expect("commits");
        }
        store.store.append_piece(body, piece as u16, bytes)?;
    }
    let message = NewMessage { body, size: 1 << 20, structure: vec![1; 100], date: Time(5) };
    let delivered = store.deliver(message, vec![(account, kept)])?.remove(0);
    drop(store);
    office.shared.lock().commit().expect("commits");
    delivered
}

/// Every message is there, and the charges are those of the messages.
fn holds(office: &mut Office, uids: &[u32], class: Class) {
    let each = bucket::charge(1 << 20, 100);
    assert_eq!(office.used(), each * uids.len() as u64);
    let store = office.shared.lock();
    let account = &store.state.accounts[&office.anna];
    assert_eq!((account.class, account.reserved_bytes()), (class, 0));
    assert_eq!(account.bucket_bytes, bucket::class_bytes(class, store.room));
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    for message in account.folders[&INBOX].live() {
        found.push(message.uid.0);
        for piece in 0..16 {
            let mut wanted = vec![0; 65536];
            Random(message.body.0 << 8 | piece).fill(&mut wanted);
            let extent = store.journal.find(message.body, piece as u16).expect("is there");
            extent.read(&*office.device, &mut buffer).expect("reads");
            assert!(buffer == wanted, "{}", message.uid);
        }
    }
    assert_eq!(found, uids);
}

/// Another mailbox's mail comes and goes until what is free of the store has been written over.
fn write_over(office: &mut Office) {
    let ben = office.access().account_of("ben@example.test").expect("is there");
    let before = office.shared.lock().journal.freed_segments();
    let segments = office.shared.lock().journal.superblock().segment_count;
    while office.shared.lock().journal.freed_segments() < before + u64::from(segments / 2) {
        let delivered = deliver(office, ben).expect("there is room");
        let view = office.access().open(ben, INBOX, false).expect("opens");
        let one = UidSet(vec![(delivered, delivered)]);
        office.access().expunge(&view, Which::These(&one)).expect("expunges");
    }
}

#[test]
fn a_bucket_made_smaller_than_its_content_loses_nothing() {
    let mut office = Office::new();
    let anna = office.anna;
    office.access().mailbox_add("ben@example.test", Class::S, "phc".into()).expect("fits");
    office.access().mailbox_size("anna@example.test", Class::M).expect("fits");
    let mut uids: Vec<u32> = Vec::new();
    while let Ok(uid) = deliver(&mut office, anna) {
        uids.push(uid.0);
    }
    assert_eq!(uids.len(), 31, "32 MiB less overheads");
    office.access().mailbox_size("anna@example.test", Class::S).expect("always fits");
    for round in 0..3 {
        holds(&mut office, &uids, Class::S);
        assert_eq!(deliver(&mut office, anna), Err(StoreError::OverQuota));
        let view = office.access().open(anna, INBOX, false).expect("opens");
        assert_eq!(office.access().copy(&view, &set(&[1]), FolderId(2)), Err(StoreError::OverQuota));
        match round {
            0 => office.reopen(),
            1 => write_over(&mut office),
            _ => {}
        }
    }
    // What is larger than the bucket could not be taken however much were deleted.
    assert_eq!(office.access().reserve(anna, 17 << 20).err(), Some(StoreError::TooBig));
    // One after the other is deleted; only below the bucket's size there is room again.
    let view = office.access().open(anna, INBOX, false).expect("opens");
    while uids.len() > 15 {
        assert_eq!(deliver(&mut office, anna), Err(StoreError::OverQuota), "{}", uids.len());
        let first = uids.remove(0);
        office.access().expunge(&view, Which::These(&set(&[first]))).expect("expunges");
    }
    drop(view);
    assert_eq!(deliver(&mut office, anna), Err(StoreError::OverQuota), "15 of them fill it");
    let view = office.access().open(anna, INBOX, false).expect("opens");
    let last = uids.pop().expect("some");
    office.access().expunge(&view, Which::These(&set(&[last]))).expect("expunges");
    drop(view);
    uids.push(deliver(&mut office, anna).expect("there is room again").0);
    assert_eq!(uids.last(), Some(&32), "no UID twice");
    office.reopen();
    holds(&mut office, &uids, Class::S);
    assert_eq!(deliver(&mut office, anna), Err(StoreError::OverQuota));
    // Made larger it takes more, also after all has been written over.
    office.access().mailbox_size("anna@example.test", Class::M).expect("fits");
    write_over(&mut office);
    office.reopen();
    while let Ok(uid) = deliver(&mut office, anna) {
        uids.push(uid.0);
    }
    assert_eq!(uids.len(), 31);
    holds(&mut office, &uids, Class::M);
}

/// Makes anna's bucket L and fills it.
fn filled() -> Office {
    let mut office = Office::new();
    office.access().mailbox_size("anna@example.test", Class::L).expect("fits");
    while office.deliver(1 << 20).is_ok() {}
    office
}

/// Expunges anna's messages until she has so many.
fn empty(office: &mut Office, left: u32) {
    let anna = office.anna;
    let view = office.access().open(anna, INBOX, false).expect("opens");
    let count = office.access().account(anna).expect("is there").folders[&INBOX].count();
    let folder = |store: &mut Access<'_>| {
        let live = store.account(anna).expect("is there").folders[&INBOX].live();
        UidSet::from_ascending(live.map(|message| message.uid).take((count - left) as usize))
    };
    let gone = folder(&mut office.access());
    office.access().expunge(&view, Which::These(&gone)).expect("expunges");
}

fn add(office: &mut Office, name: &str, class: Class) -> Result<AccountId, StoreError> {
    office.access().mailbox_add(&format!("{name}@example.test"), class, "phc".into())
}

#[test]
fn what_a_mailbox_holds_beyond_its_bucket_is_promised_to_nobody_else() {
    let mut office = filled();
    let (room, _) = office.access().buckets();
    office.access().mailbox_size("anna@example.test", Class::S).expect("always fits");
    let used = office.used();
    assert!(used > 62 << 20 && room - used < 32 << 20, "there seem to be {room}, and {used} are held");
    for round in 0..2 {
        assert_eq!(office.access().buckets(), (room, used));
        assert_eq!(add(&mut office, "ben", Class::L), Err(StoreError::OverQuota));
        assert_eq!(add(&mut office, "ben", Class::M), Err(StoreError::OverQuota));
        assert_eq!(office.access().fits(Class::M, None), Err(room - used));
        assert_eq!(office.access().class_that_fits(None), Some(Class::S));
        // A restore needs as much.
        let store = office.shared.lock();
        assert_eq!(restore_room(&store, 0).0, used, "{round}");
        drop(store);
        office.reopen();
    }
    add(&mut office, "ben", Class::S).expect("fits");
    // Back again, or any size up to what is held, promises no more than before.
    for class in [Class::L, Class::M, Class::M, Class::S] {
        office.access().mailbox_size("anna@example.test", class).expect("fits");
    }
    // As the mailbox is emptied its promise shrinks, and others get the room; down to the bucket.
    assert_eq!(office.access().mailbox_size("ben@example.test", Class::M), Err(StoreError::OverQuota));
    empty(&mut office, 50);
    let used = office.used();
    assert_eq!(office.access().buckets().1, used + (16 << 20));
    office.access().mailbox_size("ben@example.test", Class::M).expect("fits now");
    assert_eq!(office.access().mailbox_size("anna@example.test", Class::L), Err(StoreError::OverQuota));
    empty(&mut office, 10);
    assert_eq!(office.access().buckets().1, (16 + 32) << 20);
    office.access().mailbox_size("ben@example.test", Class::L).expect("fits now");
    assert_eq!(add(&mut office, "carl", Class::S), Err(StoreError::OverQuota));
    office.access().mailbox_remove("anna@example.test").expect("removes");
    add(&mut office, "carl", Class::S).expect("fits now");
}

#[test]
fn what_comes_in_while_a_draft_is_made_counts() {
    let mut office = Office::new();
    office.access().mailbox_size("anna@example.test", Class::L).expect("fits");
    let note = || Note { time: Time(5), command: "load".into() };
    let resize = |office: &Office, draft: &mut Option<Draft>| {
        let mut needs = Position::default();
        office.shared.drafting(&mut needs, draft).mailbox_size("anna@example.test", Class::S)
    };
    let add = |office: &Office, draft: &mut Option<Draft>, class| {
        let mut needs = Position::default();
        let mut store = office.shared.drafting(&mut needs, draft);
        store.mailbox_add("ben@example.test", class, "phc".into()).map(drop)
    };
    let mut draft = None;
    resize(&office, &mut draft).expect("fits");
    // Her bucket is still the large one, and mail comes in before the draft goes on.
    for _ in 0..40 {
        office.deliver(1 << 20).expect("fits");
    }
    assert_eq!(add(&office, &mut draft, Class::L), Err(StoreError::OverQuota));
    add(&office, &mut draft, Class::M).expect("fits");
    // And before it is adopted.
    for _ in 0..20 {
        office.deliver(1 << 20).expect("fits");
    }
    let refused = office.access().adopt(draft.take().expect("something has been changed"), note());
    assert!(matches!(refused, Err(StoreError::Cannot(why)) if why.contains("try again")), "{refused:?}");
    assert_eq!(office.access().buckets().1, 64 << 20, "nothing has been changed");
    empty(&mut office, 50);
    resize(&office, &mut draft).expect("fits");
    add(&office, &mut draft, Class::M).expect("fits");
    office.access().adopt(draft.take().expect("something has been changed"), note()).expect("fits");
    // What has nothing to do with it is not refused, however little room there is.
    let mut needs = Position::default();
    office.shared.drafting(&mut needs, &mut draft).domain_add("example.org").expect("adds");
    office.access().adopt(draft.take().expect("something has been changed"), note()).expect("adopts");
}

#[test]
fn an_undo_sells_no_room_that_is_held() {
    let mut office = Office::new();
    add(&mut office, "ben", Class::L).expect("fits");
    let mut draft = None;
    for (address, class) in [("ben@example.test", Class::S), ("anna@example.test", Class::L)] {
        let mut needs = Position::default();
        office.shared.drafting(&mut needs, &mut draft).mailbox_size(address, class).expect("fits");
    }
    let note = Note { time: Time(5), command: "load".into() };
    office.access().adopt(draft.take().expect("something has been changed"), note).expect("fits");
    while office.deliver(1 << 20).is_ok() {}
    assert_eq!(office.access().undo(1), Err(NotUndone::Room(1)));
    empty(&mut office, 20);
    office.access().undo(1).expect("fits now");
    let used = office.used();
    assert_eq!(office.access().buckets().1, used + (64 << 20));
}
