//! Fixed quota buckets: how much a mailbox may hold, what a message costs, and reservations.
//!
//! A bucket is reserved whole: the sum of all buckets and the system's share stays below 0.75 of the medium, so that compaction
//! always finds room. A bucket made smaller than what its mailbox holds gives up only what is empty of it: the rest comes back as the mailbox is
//! emptied ([`promised_to`]). A message is charged in full for every copy, also where copies share their bytes: live bytes never exceed charges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{Account, State};
use crate::journal::Journal;
use crate::limits::{BUCKET_BYTES_MIN, CHARGE_OVERHEAD_BYTES, CHARGE_STEP_BYTES, MESSAGE_BYTES_MAX};
use crate::types::Class;

/// What a message is charged, bytes: its RFC822 size, its structure and an overhead, rounded up.
pub fn charge(size: u64, structure: u64) -> u64 {
    (size + structure + CHARGE_OVERHEAD_BYTES).next_multiple_of(CHARGE_STEP_BYTES)
}

/// Bytes that all buckets together may promise: 0.75 of the medium less the system's 1/32.
pub fn room(journal: &Journal) -> u64 {
    room_of(journal.capacity().raw_bytes)
}

/// The same of a store with so many bytes in its segments.
pub(super) fn room_of(raw_bytes: u64) -> u64 {
    raw_bytes / 4 * 3 - raw_bytes / 32
}

/// The size of a bucket of this class in a store that can promise `room` bytes.
pub fn class_bytes(class: Class, room: u64) -> u64 {
    match class {
        Class::S => (room / 32).max(BUCKET_BYTES_MIN),
        Class::M => (room / 16).max(2 * BUCKET_BYTES_MIN),
        Class::L => (room / 8).max(4 * BUCKET_BYTES_MIN),
        Class::Xl => (room / 4).max(8 * BUCKET_BYTES_MIN),
    }
}

/// What a mailbox takes of the room, bytes: its bucket, or what it holds where that is more, because its bucket has been made smaller.
/// The bucket is that of `account`, which may be a draft's; what is held is what `content` says, for mail comes in while a draft is made.
pub(super) fn promised_to(account: &Account, content: &State) -> u64 {
    account.bucket_bytes.max(content.accounts.get(&account.id).map_or(0, |account| account.used_bytes))
}

/// What all mailboxes of `buckets` take of the room, bytes.
pub(super) fn promised(buckets: &State, content: &State) -> u64 {
    buckets.accounts.values().map(|account| promised_to(account, content)).sum()
}

/// The largest message that a bucket takes, bytes: announced as SIZE and APPENDLIMIT.
pub fn message_bytes_max(bucket_bytes: u64) -> u64 {
    MESSAGE_BYTES_MAX.min(bucket_bytes)
}

/// A place kept in a bucket for a message that is still coming in. Dropping it gives the place back.
#[derive(Debug)]
pub struct Reservation {
    pub(super) counter: Arc<AtomicU64>,
    pub(super) bytes: u64,
}

impl Reservation {
    /// What is kept, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
