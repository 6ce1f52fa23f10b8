//! The verbs on folders: create, rename, remove, subscribe, open, and telling a view what is new.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::record::Record;
use super::state::{Account, Folder};
use super::view::{Told, View};
use super::{Access, StoreError};
use crate::limits::{FOLDER_NAME_BYTES_MAX, FOLDERS_MAX, SUBSCRIPTIONS_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::types::{AccountId, FolderId, Serial, SpecialUse, Uid, UidSet};

/// Flag changes, and expunges, that one call of `sync` tells at most; more are told by the next.
const TOLD_AT_ONCE: usize = 500;

/// The UIDVALIDITY after this one: never 0 (RFC 3501 §9 nz-number).
pub(super) fn next_uid_validity(last: u32) -> u32 {
    last.checked_add(1).unwrap_or(1)
}

/// One POP3 session's hold of a mailbox (RFC 1939 §4). Dropping it gives the mailbox free.
#[derive(Debug)]
pub struct Pop3Lock(Arc<AtomicBool>);

impl Drop for Pop3Lock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Access<'_> {
    fn account_or_missing(&mut self, account: AccountId) -> Result<&Account, StoreError> {
        self.account(account).ok_or(StoreError::Missing)
    }

    /// A folder of an account.
    pub fn folder(&mut self, account: AccountId, folder: FolderId) -> Option<&Folder> {
        self.account(account)?.folders.get(&folder)
    }

    /// Creates a folder, and its missing superiors (RFC 3501 §6.3.3). The name's levels are parted by `/`.
    ///
    /// # Errors
    /// `Exists`, `Cannot` for names that cannot be, `Limit`, and the medium's.
    pub fn folder_create(
        &mut self,
        account: AccountId,
        name: &str,
        special: Option<SpecialUse>,
    ) -> Result<FolderId, StoreError> {
        let name = name.trim_end_matches('/');
        checked_name(name)?;
        let known = self.account_or_missing(account)?;
        if known.folder_by_name(name).is_some() {
            return Err(StoreError::Exists);
        }
        let mut folder = known.folder_last;
        let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
        let missing: Vec<String> = ends
            .map(|end| String::from(&name[..end]))
            .filter(|name| known.folder_by_name(name).is_none())
            .collect();
        if known.folders.len() + missing.len() > FOLDERS_MAX {
            return Err(StoreError::Limit("folders"));
        }
        let mut uid_validity = self.store.state.uid_validity;
        let mut records = Vec::new();
        for name_of_level in missing {
            folder.0 += 1;
            uid_validity = next_uid_validity(uid_validity);
            let special = if name_of_level == name { special } else { None };
            records.push(Record::FolderAdded { account, folder, name: name_of_level, uid_validity, special });
        }
        self.record(account, &records)?;
        Ok(folder)
    }

    /// Removes a folder with its messages; its inferiors stay (RFC 3501 §6.3.4: a name with inferiors keeps them).
    ///
    /// # Errors
    /// `Missing`; `Cannot` for INBOX; the medium's.
    pub fn folder_remove(&mut self, account: AccountId, name: &str) -> Result<(), StoreError> {
        let known = self.account_or_missing(account)?;
        let folder = known.folder_by_name(name).ok_or(StoreError::Missing)?.id;
        if folder == FolderId::INBOX {
            return Err(StoreError::Cannot("INBOX cannot be removed"));
        }
        self.record(account, &[Record::FolderRemoved { account, folder }]).map(drop)
    }

    /// Renames a folder and its inferiors; renaming INBOX moves its messages to a new folder and leaves it empty (RFC 3501 §6.3.5).
    ///
    /// # Errors
    /// `Missing`, `Exists`, `Cannot`, `Limit`, and the medium's.
    pub fn folder_rename(&mut self, account: AccountId, from: &str, to: &str) -> Result<(), StoreError> {
        let to = to.trim_end_matches('/');
        checked_name(to)?;
        let known = self.account_or_missing(account)?;
        let folder = known.folder_by_name(from).ok_or(StoreError::Missing)?;
        if known.folder_by_name(to).is_some() {
            return Err(StoreError::Exists);
        }
        let (id, old) = (folder.id, folder.name.clone());
        if id == FolderId::INBOX {
            let target = self.folder_create(account, to, None)?;
            return self.move_all(account, id, target);
        }
        let below = format!("{old}/");
        if to.starts_with(&below) {
            return Err(StoreError::Cannot("a folder cannot become its own inferior"));
        }
        let mut records = Vec::new();
        for folder in known.folders.values() {
            let name = match folder.name.strip_prefix(&below) {
                _ if folder.id == id => String::from(to),
                Some(rest) => format!("{to}/{rest}"),
                None => continue,
            };
            checked_name(&name)?;
            if known.folder_by_name(&name).is_some() {
                return Err(StoreError::Exists);
            }
            records.push(Record::FolderRenamed { account, folder: folder.id, name });
        }
        if let Some((superior, _)) = to.rsplit_once('/')
            && known.folder_by_name(superior).is_none()
        {
            self.folder_create(account, superior, None)?;
        }
        self.record(account, &records).map(drop)
    }

    /// Subscribes to a name.
    ///
    /// # Errors
    /// `Limit`, and the medium's.
    pub fn subscribe(&mut self, account: AccountId, name: &str) -> Result<(), StoreError> {
        let known = self.account_or_missing(account)?;
        let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX" } else { name };
        if known.subscriptions.contains(name) {
            return Ok(());
        }
        let bytes = known.subscriptions.iter().map(|name| name.len() + 2).sum::<usize>() + name.len();
        let many = known.subscriptions.len() >= SUBSCRIPTIONS_MAX || bytes > SUBSCRIPTIONS_BYTES_MAX;
        if many || name.len() > FOLDER_NAME_BYTES_MAX {
            return Err(StoreError::Limit("subscriptions"));
        }
        self.record(account, &[Record::Subscribed { account, name: String::from(name) }]).map(drop)
    }

    /// Gives a subscription up; one that is not there is no error.
    ///
    /// # Errors
    /// The medium's.
    pub fn unsubscribe(&mut self, account: AccountId, name: &str) -> Result<(), StoreError> {
        let known = self.account_or_missing(account)?;
        let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX" } else { name };
        if !known.subscriptions.contains(name) {
            return Ok(());
        }
        self.record(account, &[Record::Unsubscribed { account, name: String::from(name) }]).map(drop)
    }

    /// Takes the mailbox for one POP3 session; None if another has it.
    pub fn pop3_lock(&mut self, account: AccountId) -> Option<Pop3Lock> {
        let flag = &self.account(account)?.pop3;
        (!flag.swap(true, Ordering::Acquire)).then(|| Pop3Lock(Arc::clone(flag)))
    }

    /// Opens a folder: the view has been told everything that is in it now. One that is not `read_only` takes what is \Recent;
    /// POP3 opens `read_only` and expunges all the same.
    pub fn open(&mut self, account: AccountId, folder: FolderId, read_only: bool) -> Option<View> {
        self.account(account)?;
        let serial = self.store.state.accounts.get(&account)?.serial;
        let found = self.store.state.accounts.get_mut(&account)?.folders.get_mut(&folder)?;
        let expunges_told = Arc::new(AtomicU64::new(serial.0));
        found.remember_view(Arc::downgrade(&expunges_told));
        let mut view = View {
            account,
            folder,
            read_only,
            uid_next: found.uid_next,
            flags_told: serial,
            telling: None,
            expunges_told,
            expunging: None,
            recent: UidSet::default(),
        };
        take_recent(found, &mut view);
        Some(view)
    }

    /// What is new since the last time, in the order to tell it: expunges if allowed now (RFC 3501 §7.4.1), then the count if it has
    /// changed, then flags. `false`: there is more, call again. None: the folder is gone.
    pub fn sync(&mut self, view: &mut View, expunges: bool) -> Option<(Vec<Told>, bool)> {
        let account = self.account(view.account)?;
        let serial = account.serial;
        account.folders.get(&view.folder)?;
        let (account, id) = (view.account, view.folder);
        let folder = self.store.state.accounts.get_mut(&account)?.folders.get_mut(&id)?;
        let mut told = Vec::new();
        if expunges {
            if !tell_expunges(folder, view, serial, &mut told) {
                return Some((told, false));
            }
            if !told.is_empty() {
                self.store.state.bury(account, id);
                let store = &mut *self.store;
                store.state.effects(&mut store.journal);
            }
        }
        let folder = self.store.state.accounts.get_mut(&account)?.folders.get_mut(&id)?;
        if folder.uid_next > view.uid_next {
            view.uid_next = folder.uid_next;
            take_recent(folder, view);
            told.push(Told::Exists { count: view.count(folder), recent: view.recent_count(folder) });
        }
        let whole = tell_flags(folder, view, serial, &mut told);
        Some((told, whole))
    }
}

fn checked_name(name: &str) -> Result<(), StoreError> {
    let level_missing = name.split('/').any(str::is_empty);
    if level_missing || name.chars().any(char::is_control) {
        return Err(StoreError::Cannot("not a folder name"));
    }
    if name.len() > FOLDER_NAME_BYTES_MAX {
        return Err(StoreError::Limit("folder name too long"));
    }
    Ok(())
}

/// What has been \Recent in no session yet becomes so in this one (RFC 3501 §2.3.2). A reader sees it, and leaves it.
fn take_recent(folder: &mut Folder, view: &mut View) {
    if folder.recent_from < folder.uid_next {
        let range = (folder.recent_from, Uid(folder.uid_next.0 - 1));
        match view.recent.0.last_mut() {
            Some((_, last)) if last.0 + 1 >= range.0.0 => *last = range.1,
            _ => view.recent.0.push(range),
        }
        if !view.read_only {
            folder.recent_from = folder.uid_next;
        }
    }
}

/// Tells expunges in portions, in one pass over the tombstones; false: there are more.
fn tell_expunges(folder: &Folder, view: &mut View, serial: Serial, told: &mut Vec<Told>) -> bool {
    let (_, target) = view.expunging.unwrap_or((Uid(0), serial));
    let mut gone = 0;
    for (uid, at) in folder.tombstones.iter().take_while(|(uid, _)| *uid < view.uid_next) {
        if view.is_told(*uid, *at) {
            gone += 1;
        } else if *at <= target {
            if told.len() >= TOLD_AT_ONCE {
                view.expunging = Some((*uid, target));
                return false;
            }
            let index = folder.messages.rank(*uid);
            told.push(Told::Expunged { seq: (index - gone) as u32 + 1, uid: *uid });
            gone += 1;
        }
    }
    view.expunging = None;
    view.expunges_told.fetch_max(target.0, Ordering::Relaxed);
    true
}

/// Tells flag changes in portions. `telling` keeps the place by UID; changes that happen meanwhile are found by the next pass.
fn tell_flags(folder: &Folder, view: &mut View, serial: Serial, told: &mut Vec<Told>) -> bool {
    if view.telling.is_none() && folder.serial <= view.flags_told {
        view.flags_told = view.flags_told.max(serial);
        return true;
    }
    let (from, target) = view.telling.unwrap_or((Uid(0), serial));
    let since = view.flags_told;
    let mut uids: Vec<Uid> = if since >= folder.changes_from {
        folder.changes.iter().rev().take_while(|(at, _)| *at > since).map(|(_, uid)| *uid).collect()
    } else {
        let rest = folder.messages.range(from, Uid(u32::MAX));
        let newer = rest.filter(|message| message.serial > since && !message.expunged());
        newer.take(TOLD_AT_ONCE + 1).map(|message| message.uid).collect()
    };
    uids.sort_unstable();
    uids.dedup();
    let start = uids.partition_point(|uid| *uid < from);
    for (count, uid) in uids[start..].iter().enumerate() {
        if count >= TOLD_AT_ONCE {
            view.telling = Some((*uid, target));
            return false;
        }
        // A message that is new since then was told by EXISTS; its flags are told only when they have changed after that.
        if let Some(entry) = view.find(folder, *uid)
            && !entry.expunged
            && entry.message.serial > since
        {
            let message = entry.message;
            told.push(Told::Flags {
                seq: entry.seq,
                uid: *uid,
                flags: message.flags,
                serial: message.serial,
            });
        }
    }
    view.telling = None;
    view.flags_told = target;
    true
}
