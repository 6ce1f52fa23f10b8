//! What one session has been told of a folder, as numbers.
//!
//! A view is the folder, the highest UID told, and two serials: flag changes are told up to one, expunges up to the other
//! (RFC 3501 §7.4.1 forbids to tell expunges at times when flags may be told). Deliberate: DESIGN.md has one serial; two are needed for that.
//! A message is in the view when its UID has been told and it has not been told to be expunged. Expunged messages stay in
//! the folder as tombstones while a view still has them, so sequence numbers are counted over the shared array and cost no memory here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{Folder, Message};
use crate::types::{AccountId, Flags, FolderId, Serial, Uid, UidSet};

/// What a session has been told of a folder.
#[derive(Debug)]
pub struct View {
    /// Whose folder.
    pub account: AccountId,
    /// Which folder.
    pub folder: FolderId,
    /// EXAMINE, and POP3.
    pub read_only: bool,
    /// UIDs below this have been told.
    pub(super) uid_next: Uid,
    /// Flag changes up to here have been told.
    pub(super) flags_told: Serial,
    /// While flag changes are being told in portions: the next UID to look at, and how far the whole is.
    pub(super) telling: Option<(Uid, Serial)>,
    /// Expunges up to here have been told; shared with the folder, which keeps tombstones by it.
    pub(super) expunges_told: Arc<AtomicU64>,
    /// While expunges are being told in portions: of those up to this serial, the ones with a lower UID than this have been told.
    pub(super) expunging: Option<(Uid, Serial)>,
    /// The messages that are \Recent here.
    pub(super) recent: UidSet,
}

/// A message as a view has it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its sequence number, from 1.
    pub seq: u32,
    /// The message.
    pub message: Message,
    /// It has been expunged, which this view has not been told yet.
    pub expunged: bool,
}

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// `* seq EXPUNGE`
    Expunged {
        /// The number at the time of telling.
        seq: u32,
        /// The UID, for VANISHED.
        uid: Uid,
    },
    /// `* count EXISTS` and `* recent RECENT`
    Exists {
        /// Messages in the view now.
        count: u32,
        /// Those that are \Recent here.
        recent: u32,
    },
    /// `* seq FETCH (FLAGS …)`
    Flags {
        /// Sequence number.
        seq: u32,
        /// UID.
        uid: Uid,
        /// The flags now.
        flags: Flags,
        /// Mod-sequence.
        serial: Serial,
    },
}

impl View {
    /// Whether the view has been told of this expunge.
    pub(super) fn is_told(&self, uid: Uid, serial: Serial) -> bool {
        let told = Serial(self.expunges_told.load(Ordering::Relaxed));
        serial <= told || self.expunging.is_some_and(|(below, target)| uid < below && serial <= target)
    }

    /// Whether the message is in the view.
    fn has(&self, message: &Message) -> bool {
        message.uid < self.uid_next && !(message.expunged() && self.is_told(message.uid, message.serial))
    }

    /// How many of these tombstones the view no longer has. Most often all or none, which must be cheap: FETCH asks for each message.
    fn told_of(&self, folder: &Folder, tombstones: &[(Uid, Serial)]) -> usize {
        let told = Serial(self.expunges_told.load(Ordering::Relaxed));
        let (oldest, newest) = folder.tombstone_serials;
        if newest <= told {
            tombstones.len()
        } else if oldest > told && self.expunging.is_none() {
            0
        } else {
            tombstones.iter().filter(|(uid, serial)| self.is_told(*uid, *serial)).count()
        }
    }

    /// How many messages the view has.
    pub fn count(&self, folder: &Folder) -> u32 {
        self.seq_before(folder, self.uid_next)
    }

    /// How many messages of the view have a lower UID.
    fn seq_before(&self, folder: &Folder, uid: Uid) -> u32 {
        let uid = uid.min(self.uid_next);
        self.seq_at(folder, uid, folder.messages.rank(uid))
    }

    /// As `seq_before`, where so many messages of the folder have a lower UID.
    fn seq_at(&self, folder: &Folder, uid: Uid, index: usize) -> u32 {
        let before = folder.tombstones.partition_point(|(gone, _)| *gone < uid);
        let before = folder.tombstones.get(..before).unwrap_or_default();
        (index - self.told_of(folder, before)) as u32
    }

    /// The first message of the view whose UID is `from` or higher and in `set`.
    pub fn next_in(&self, folder: &Folder, set: &UidSet, from: Uid) -> Option<Entry> {
        let mut range = set.0.partition_point(|(_, last)| *last < from);
        let mut from = from;
        while let Some((first, last)) = set.0.get(range) {
            from = from.max(*first);
            match folder.messages.from(from).find(|(_, message)| self.has(message)) {
                None => return None,
                Some((index, message)) if message.uid <= *last => {
                    let seq = self.seq_at(folder, message.uid, index) + 1;
                    return Some(Entry { seq, message, expunged: message.expunged() });
                }
                Some((_, message)) => {
                    from = message.uid;
                    range += set.0[range..].partition_point(|(_, last)| *last < from);
                }
            }
        }
        None
    }

    /// The message with this UID, if the view has it.
    pub fn find(&self, folder: &Folder, uid: Uid) -> Option<Entry> {
        self.next_in(folder, &UidSet(vec![(uid, uid)]), uid)
    }

    /// The message with this sequence number.
    pub fn by_seq(&self, folder: &Folder, seq: u32) -> Option<Entry> {
        if seq == 0 || seq > self.count(folder) {
            return None;
        }
        // The message's index is seq - 1 and as many more as there are tombstones before it that this view no longer has.
        let reaches = |uid: Uid| self.seq_before(folder, Uid(uid.0.saturating_add(1))) >= seq;
        let (mut low, mut high) = (seq as usize - 1, seq as usize - 1 + folder.tombstones.len());
        while low < high {
            let middle = low.midpoint(high);
            if folder.messages.get(middle).is_none_or(|message| reaches(message.uid)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let message = folder.messages.get(low)?;
        Some(Entry { seq, message, expunged: message.expunged() })
    }

    /// The UIDs that the view has at these sequence numbers: ascending, disjoint ranges, both ends included.
    /// A UID range of the answer may span UIDs that no longer exist. None if a number is reaches the view.
    pub fn uids_of_seqs(&self, folder: &Folder, seqs: &[(u32, u32)]) -> Option<UidSet> {
        let ends = seqs.iter().map(|(first, last)| {
            Some((self.by_seq(folder, *first)?.message.uid, self.by_seq(folder, *last)?.message.uid))
        });
        ends.collect::<Option<Vec<_>>>().map(UidSet)
    }

    /// The highest UID that the view has, for `*`.
    pub fn uid_max(&self, folder: &Folder) -> Option<Uid> {
        self.by_seq(folder, self.count(folder)).map(|entry| entry.message.uid)
    }

    /// Whether the message is \Recent in this session (RFC 3501 §2.3.2).
    pub fn is_recent(&self, uid: Uid) -> bool {
        self.recent.contains(uid)
    }

    /// How many messages of the view are \Recent here.
    pub fn recent_count(&self, folder: &Folder) -> u32 {
        let ranges = self.recent.0.iter();
        ranges
            .map(|(first, last)| self.seq_before(folder, Uid(last.0 + 1)) - self.seq_before(folder, *first))
            .sum()
    }

    /// Takes note of what the session itself has changed and told: flag changes up to `serial`.
    pub fn skip_flags(&mut self, serial: Serial) {
        self.flags_told = self.flags_told.max(serial);
    }
}
