//! Sessions outlive a state that is made anew: their views keep tombstones, their POP3 locks hold, and who has logged in with a password
//! that is no longer the one is still found out.
//!
//! The log does not know all of it: compaction leaves nothing of a message that is gone, and one record of a password that has been changed often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};

use super::state::{Account, Folder, Message, NO_TOMBSTONES, State};
use crate::types::{AccountId, FolderId};

/// What the state that is made anew takes over from the one before.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    /// Of each account: who has it locked for POP3.
    locks: BTreeMap<AccountId, Arc<AtomicBool>>,
    /// Each password, and how often it had been changed.
    passwords: BTreeMap<AccountId, (String, u32)>,
    folders: BTreeMap<(AccountId, FolderId), Seen>,
}

/// Who looks at a folder, and what is gone that some of them still have.
#[derive(Debug, Default)]
struct Seen {
    views: Vec<Weak<AtomicU64>>,
    tombstones: Vec<Message>,
}

impl State {
    /// An empty state, to be filled again from the records: whoever looks at `former` will look at this one.
    pub(super) fn succeeding(former: &State) -> State {
        let mut heirs = Heirs { passwords: former.settings.passwords.clone(), ..Heirs::default() };
        for account in former.accounts.values() {
            heirs.locks.insert(account.id, Arc::clone(&account.pop3));
            for folder in account.folders.values().filter(|folder| !folder.views.is_empty()) {
                let tombstones = folder.messages.iter().filter(|message| message.expunged());
                let seen = Seen { views: folder.views.clone(), tombstones: tombstones.collect() };
                heirs.folders.insert((account.id, folder.id), seen);
            }
        }
        State { heirs, ..State::default() }
    }

    /// The log has been read: the heirs take their places.
    pub(super) fn inherit(&mut self) {
        let Heirs { mut locks, passwords, mut folders } = std::mem::take(&mut self.heirs);
        for (account, (phc, changes)) in &mut self.settings.passwords {
            if let Some((former, before)) = passwords.get(account) {
                *changes = before + u32::from(former != phc);
            }
        }
        for Account { id, pop3, folders: found, .. } in self.accounts.values_mut() {
            if let Some(lock) = locks.remove(id) {
                *pop3 = lock;
            }
            for folder in found.values_mut() {
                let seen = folders.remove(&(*id, folder.id)).unwrap_or_default();
                seen.take_place(folder);
            }
        }
    }
}

impl Seen {
    /// Tombstones are those that the views know, and with the serials that they know, unless the expunge was never durable.
    fn take_place(self, folder: &mut Folder) {
        folder.messages.retain(|message| !message.expunged());
        (folder.tombstones, folder.tombstone_serials) = (Vec::new(), NO_TOMBSTONES);
        for message in self.tombstones {
            if folder.messages.find(message.uid).is_some() || message.uid >= folder.uid_next {
                continue;
            }
            folder.messages.insert(message);
            folder.tombstones.push((message.uid, message.serial));
            let (oldest, newest) = folder.tombstone_serials;
            folder.tombstone_serials = (oldest.min(message.serial), newest.max(message.serial));
        }
        folder.views = self.views;
    }
}
