//! What changes in a folder's messages: arrivals, flags, expunges; and the tombstones that views still have.
//!
//! Invariants: UIDs ascend; a tombstone is in `messages` and in `tombstones`, with the same serial; `unseen` counts what is not \Seen and not
//! expunged.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{Folder, Message, NO_TOMBSTONES, TOMBSTONE};
use crate::limits::CHANGES_REMEMBERED;
use crate::types::{BodyId, Flags, Serial, Uid, UidSet};

impl Folder {
    /// Makes it so that this message is there. Returns the one that was there before under its UID, if any.
    /// Live, a message always has the highest UID so far. While the log is read, a copy may come behind messages of higher UIDs.
    pub(super) fn add(&mut self, message: Message) -> Option<Message> {
        self.uid_next = self.uid_next.max(Uid(message.uid.0.saturating_add(1)));
        self.serial = self.serial.max(message.serial);
        self.unseen += u32::from(!message.flags.contains(Flags::SEEN));
        // What has been expunged stays so.
        let expunged = !self.tombstones.is_empty()
            && self.messages.find(message.uid).is_some_and(|there| there.expunged());
        let before = if expunged { Some(message) } else { self.messages.insert(message) };
        self.unseen -= before.map_or(0, |before| u32::from(!before.flags.contains(Flags::SEEN)));
        before
    }

    pub(super) fn flag(&mut self, uids: &UidSet, flags: Flags, serial: Serial) {
        for (first, last) in &uids.0 {
            self.messages.change(*first, *last, |message| {
                // The same serial: records of one change follow each other.
                let newer = message.serial < serial || message.serial == serial && message.flags != flags;
                if message.expunged() || !newer {
                    return;
                }
                self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
                self.unseen += u32::from(!flags.contains(Flags::SEEN));
                (message.flags, message.serial) = (flags, serial);
                if self.changes.len() >= CHANGES_REMEMBERED
                    && let Some((oldest, _)) = self.changes.pop_front()
                {
                    self.changes_from = oldest;
                }
                self.changes.push_back((serial, message.uid));
            });
        }
        self.serial = self.serial.max(serial);
    }

    /// Turns messages into tombstones. Returns their charges, bytes.
    pub(super) fn expunge(&mut self, uids: &UidSet, serial: Serial) -> u64 {
        let mut freed = 0;
        for (first, last) in &uids.0 {
            self.messages.change(*first, *last, |message| {
                if message.expunged() {
                    return;
                }
                self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
                freed += u64::from(message.charge);
                (message.flags, message.serial) = (message.flags.with(TOMBSTONE), serial);
                self.tombstones.push((message.uid, serial));
                let (oldest, newest) = self.tombstone_serials;
                self.tombstone_serials = (oldest.min(serial), newest.max(serial));
            });
        }
        // Two runs that ascend: merged in one pass.
        self.tombstones.sort();
        freed
    }

    /// Notes a view. Those that have ended are forgotten at the latest when the list would have to grow.
    pub(super) fn remember_view(&mut self, view: Weak<AtomicU64>) {
        if self.views.len() == self.views.capacity() {
            self.forget_views();
        }
        self.views.push(view);
    }

    /// Forgets views that have ended.
    pub(super) fn forget_views(&mut self) {
        self.views.retain(|view| view.strong_count() > 0);
    }

    /// The serial up to which every view has been told expunges; None without views.
    pub(super) fn told_by_all(&mut self) -> Option<Serial> {
        self.forget_views();
        let told = self.views.iter().filter_map(Weak::upgrade).map(|view| view.load(Ordering::Relaxed));
        told.min().map(Serial)
    }
}

/// Removes the tombstones that every view has been told, and lets go of their bodies.
///
/// It waits until they are a fair share of the folder, so that expunging one by one costs no pass over the folder each time.
pub(super) fn bury(folder: &mut Folder, holds: &mut Vec<(BodyId, bool)>) {
    if folder.tombstones.is_empty() || folder.tombstones.len() < folder.messages.len() / 16 {
        return;
    }
    let told = folder.told_by_all().unwrap_or(Serial(u64::MAX));
    if folder.tombstones.iter().all(|(_, serial)| *serial > told) {
        return;
    }
    folder.messages.retain(|message| {
        let keep = !message.expunged() || message.serial > told;
        if !keep {
            holds.push((message.body, false));
        }
        keep
    });
    folder.tombstones.retain(|(_, serial)| *serial > told);
    folder.tombstone_serials = NO_TOMBSTONES;
    for (_, serial) in &folder.tombstones {
        let (oldest, newest) = folder.tombstone_serials;
        folder.tombstone_serials = (oldest.min(*serial), newest.max(*serial));
    }
}
