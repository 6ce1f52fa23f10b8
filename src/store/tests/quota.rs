//! A bucket that is made smaller than what it holds loses nothing: receiving stops, deleting lets it go on, and so does a larger bucket.
//! What is charged is exact all the while, after the power has been cut and after segments have been written over.

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
