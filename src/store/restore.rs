//! Restore: an empty store is filled with all that another one holds, of whatever size either is.
//!
//! What it held is said again, with the numbers that it had: UIDs, UIDVALIDITY, mod-sequences, UIDLs. What has been given out since the
//! backup is not known here, so whatever is given out from now on jumps ahead of it. Refuses to judge: a damaged piece of a message is
//! left out, counted, and told to who fetches it.

use super::record::{self, Record};
use super::state::Folder;
use super::tell::Teller;
use super::{Store, StoreError, bucket};
use crate::limits::{
    PENDING_BYTES, PIECE_BYTES, RESTORE_SERIALS_SKIPPED, RESTORE_UIDS_SKIPPED, RESTORE_UIDVALIDITIES_SKIPPED,
};
use crate::types::{AccountId, BodyId, Serial, Uid};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Messages.
    pub messages: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Frames of messages that could not be read.
    pub damaged: u64,
    /// The source had lost something, of which nobody knows how much.
    pub lossy: bool,
}

/// Bytes of the smallest room for buckets that the source needs, and what the target has.
pub fn room(source: &Store, target: &Store) -> (u64, u64) {
    (bucket::promised(&source.state, &source.state), bucket::room(&target.journal))
}

/// Fills `target`, a store in which nothing has happened. `progress` is told how many messages are done, and how many there are.
/// Everything is durable when it returns.
///
/// # Errors
/// The medium's, and `NoSpace`.
pub fn restore(
    source: &Store,
    target: &mut Store,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, StoreError> {
    let mailboxes = source.state.accounts.len() as u64;
    let mut restored = Restored { mailboxes, lossy: !source.sound, ..Restored::default() };
    let folders = || source.state.accounts.values().flat_map(|account| account.folders.values());
    let all: u64 = folders().map(|folder| u64::from(folder.count())).sum();
    let of_folder =
        |folder: &'_ Folder| folder.live().map(|message| (message.body, message.size)).collect::<Vec<_>>();
    let mut bodies: Vec<(BodyId, u32)> = folders().flat_map(of_folder).collect();
    bodies.sort_unstable();
    bodies.dedup();
    let count = bodies.len() as u64;
    for ((body, size), number) in bodies.into_iter().zip(1..) {
        restored.damaged += copy_body(source, target, body, size)?;
        progress((all * number).checked_div(count).unwrap_or(all), all);
    }
    let serial = Serial(source.state.serial.0 + RESTORE_SERIALS_SKIPPED);
    let given = Record::Given {
        next_body: BodyId(source.next_body),
        uid_validity: source.state.uid_validity.saturating_add(RESTORE_UIDVALIDITIES_SKIPPED),
        account: source.state.account_last,
    };
    let most = target.journal.payload_bytes_max();
    let mut teller = Teller::default();
    let mut records = vec![given];
    loop {
        for payload in record::packed(&records, most) {
            commit_if(target, PENDING_BYTES)?;
            target.journal.append_record(AccountId::SETTINGS, serial, payload)?;
        }
        if teller.is_done() {
            break;
        }
        records = teller.next(&source.state, most).into_iter().map(ahead).collect();
    }
    commit_if(target, 0)?;
    restored.messages = all;
    Ok(restored)
}

fn commit_if(target: &mut Store, pending_bytes: usize) -> Result<(), StoreError> {
    if target.journal.pending_bytes() > pending_bytes {
        target.commit().map_err(|_| StoreError::ReadOnly)?;
    }
    Ok(())
}

/// Copies a body's frames. Returns how many cannot be read.
fn copy_body(source: &Store, target: &mut Store, body: BodyId, size: u32) -> Result<u64, StoreError> {
    let device = source.journal.device();
    let mut damaged = 0;
    for piece in 0..(size as usize).div_ceil(PIECE_BYTES) as u16 {
        let mut payload = Vec::new();
        let read = source.journal.find(body, piece).map(|extent| extent.read(&**device, &mut payload));
        if matches!(read, Some(Ok(()))) {
            commit_if(target, PENDING_BYTES)?;
            target.journal.append_body(AccountId::SETTINGS, body, piece, payload)?;
        } else {
            damaged += 1;
        }
    }
    let mut payload = Vec::new();
    let read = source.journal.find_structure(body).map(|extent| extent.read(&**device, &mut payload));
    if matches!(read, Some(Ok(()))) {
        target.journal.append_structure(AccountId::SETTINGS, body, payload)?;
    } else {
        damaged += 1;
    }
    Ok(damaged)
}

/// Of a fact: what will be given out jumps ahead.
fn ahead(record: Record) -> Record {
    match record {
        Record::FolderIs { account, folder, name, uid_validity, special, uid_next, serial } => {
            let uid_next = Uid(uid_next.0.saturating_add(RESTORE_UIDS_SKIPPED));
            Record::FolderIs { account, folder, name, uid_validity, special, uid_next, serial }
        }
        other => other,
    }
}
