//! Restore: an empty store is filled with all that another one holds, of whatever size either is.
//!
//! What it held is said again, with the numbers that it had: UIDs, UIDVALIDITY, mod-sequences, UIDLs. What has been given out since the
//! backup is not known here, so whatever is given out from now on jumps ahead of it: by so much at least, and by a random number more, or
//! what was given out after one restore would be given out again after the next one of the same backup. Bodies are packed again. Refuses to
//! judge: a damaged piece of a message is left out, counted, and told to who fetches it.

use super::record::{self, Record};
use super::state::Folder;
use super::tell::Teller;
use super::{Store, StoreError, bucket};
use crate::journal::Payload;
use crate::limits::{
    PENDING_BYTES, PIECE_BYTES, RESTORE_SERIALS_MORE, RESTORE_SERIALS_SKIPPED, RESTORE_UIDS_MORE,
    RESTORE_UIDS_SKIPPED, RESTORE_UIDVALIDITIES_MORE, RESTORE_UIDVALIDITIES_SKIPPED,
};
use crate::types::{AccountId, BodyId, Serial, Uid};

/// The packed form in memory holds serials up to here: random jumps lead to no longer ones.
const SERIAL_SHORT: u64 = (1 << 40) - 1;

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

/// Bytes of the smallest room for buckets that the source needs, and what a store with so many bytes in its segments has.
pub fn room(source: &Store, raw_bytes: u64) -> (u64, u64) {
    (bucket::promised(&source.state, &source.state), bucket::room_of(raw_bytes))
}

/// Fills `target`, a store in which nothing has happened. `progress` is told how many messages are done, and how many there are.
/// `random` fills with unpredictable bytes. Everything is durable when it returns.
///
/// # Errors
/// The medium's, and `NoSpace`.
pub fn restore(
    source: &Store,
    target: &mut Store,
    random: &mut dyn FnMut(&mut [u8]),
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
    let jumps = Jumps::new(random);
    let serial = jumps.serial(source.state.serial);
    let given = Record::Given {
        next_body: BodyId(source.next_body),
        uid_validity: jumps.uid_validity(source.state.uid_validity),
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
        records = teller.next(&source.state, most).into_iter().map(|record| jumps.ahead(record)).collect();
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
            target.journal.append_body(AccountId::SETTINGS, body, piece, Payload::pack(payload))?;
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

/// How far what will be given out jumps ahead, beyond what it jumps at least: a random number for each kind of number.
struct Jumps {
    uids: u64,
    serials: u64,
    uid_validities: u64,
}

impl Jumps {
    fn new(random: &mut dyn FnMut(&mut [u8])) -> Jumps {
        let mut number = || {
            let mut bytes = [0; 8];
            random(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        Jumps { uids: number(), serials: number(), uid_validities: number() }
    }

    fn serial(&self, last: Serial) -> Serial {
        Serial(jump(last.0, RESTORE_SERIALS_SKIPPED, self.serials % RESTORE_SERIALS_MORE, SERIAL_SHORT))
    }

    fn uid_validity(&self, last: u32) -> u32 {
        let more = self.uid_validities % RESTORE_UIDVALIDITIES_MORE;
        within_u32(jump(last.into(), RESTORE_UIDVALIDITIES_SKIPPED.into(), more, u32::MAX.into()))
    }

    fn uid(&self, next: Uid) -> Uid {
        let more = self.uids % RESTORE_UIDS_MORE;
        Uid(within_u32(jump(next.0.into(), RESTORE_UIDS_SKIPPED.into(), more, u32::MAX.into())))
    }

    /// Of a fact: what will be given out jumps ahead.
    fn ahead(&self, record: Record) -> Record {
        match record {
            Record::FolderIs { account, folder, name, uid_validity, special, uid_next, serial } => {
                let uid_next = self.uid(uid_next);
                Record::FolderIs { account, folder, name, uid_validity, special, uid_next, serial }
            }
            other => other,
        }
    }
}

/// Ahead by `least`, and by `more` unless that is more than a small part of what is left up to `end`: however often it is done, some is left.
fn jump(from: u64, least: u64, more: u64, end: u64) -> u64 {
    let to = from.saturating_add(least);
    to.saturating_add(more % (end.saturating_sub(to) / 32 + 1))
}

fn within_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_go_far_enough_and_not_over_the_end() {
        let mut random = crate::device::Random(4);
        for round in 0..1000_u32 {
            let jumps = Jumps::new(&mut |bytes| random.fill(bytes));
            let far = u32::MAX - round * round * 4000;
            for from in [1, round * 1000, far, u32::MAX] {
                let (uid, validity) = (jumps.uid(Uid(from)).0, jumps.uid_validity(from));
                assert!(uid >= from.saturating_add(1 << 20) && validity >= from.saturating_add(1 << 16));
                assert!(uid - from < 5 << 20 && validity - from < 17 << 16, "{from}");
            }
            let serial = jumps.serial(Serial(from_serial(round))).0;
            assert!((1 << 32..5 << 32).contains(&(serial - from_serial(round))));
            assert_eq!(jumps.serial(Serial(u64::MAX - 5)), Serial(u64::MAX));
            // What has left the packed form jumps no farther than it must.
            assert_eq!(jumps.serial(Serial(1 << 40)), Serial((1 << 40) + (1 << 32)));
        }
        // However often it is done, folders take messages: as long as the least jump is possible.
        let mut next = Uid(1);
        for _ in 0..800 {
            next = Jumps::new(&mut |bytes| bytes.fill(0xFF)).uid(next);
        }
        assert!(next.0 < u32::MAX, "{next}");
    }

    fn from_serial(round: u32) -> u64 {
        u64::from(round) * 4_000_000
    }
}
