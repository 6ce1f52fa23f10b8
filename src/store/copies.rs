//! What compaction's records mean, and reading a log with holes: facts that come before the copy of what they are about.
//!
//! A copy says what is true at its position, so applying it where everything before it is there changes nothing. The law
//! and its reasons are in [`super::compact`]. Refuses to guess: what no fact says to exist is dropped at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::messages::bury;
use super::packed::Messages;
use super::record::{Present, Record};
use super::state::{Account, Folder, Message, NO_TOMBSTONES, State};
use crate::types::{AccountId, BodyId, Class, FolderId, Position, Serial, SpecialUse, Uid};

/// Bodies are numbered from 1.
pub(super) const NO_BODY: BodyId = BodyId(0);

impl State {
    pub(super) fn apply_copy(&mut self, record: &Record, position: Position) {
        match record {
            Record::DomainsAre(domains) => self.settings.domains.clone_from(domains),
            Record::AccountsGone(ranges) => {
                for (first, last) in ranges.iter().filter(|(first, last)| first <= last) {
                    self.account_last = self.account_last.max(*last);
                    let gone: Vec<AccountId> =
                        self.accounts.range(*first..=*last).map(|(account, _)| *account).collect();
                    gone.into_iter().for_each(|account| self.remove_account(account));
                }
            }
            Record::Given { next_body, uid_validity, account } => {
                self.next_body = self.next_body.max(*next_body);
                self.uid_validity = self.uid_validity.max(*uid_validity);
                self.account_last = self.account_last.max(*account);
            }
            Record::AccountIs { account, address, class, bucket_bytes, phc, folder_last } => {
                self.account_last = self.account_last.max(*account);
                self.settings.addresses.insert(address.clone(), *account);
                let changes = self.settings.passwords.get(account).map_or(0, |(_, changes)| *changes);
                self.settings.passwords.insert(*account, (phc.clone(), changes));
                let known = self.accounts.entry(*account).or_insert_with(|| Account::unknown(*account));
                known.exist(address, *class, *bucket_bytes);
                (known.class, known.bucket_bytes) = (*class, *bucket_bytes);
                known.folder_last = known.folder_last.max(*folder_last);
                known.position = known.position.max(position);
            }
            _ => self.apply_mail_copy(record, position),
        }
        self.settings.position = self.settings.position.max(position);
    }

    fn apply_mail_copy(&mut self, record: &Record, position: Position) {
        let (Record::MessagesAre { account, .. }
        | Record::FlagsAre { account, .. }
        | Record::MessagesGone { account, .. }
        | Record::FolderIs { account, .. }
        | Record::FoldersGone { account, .. }
        | Record::KeywordsAre { account, .. }
        | Record::SubscriptionsAre { account, .. }) = record
        else {
            return;
        };
        let account = self.accounts.entry(*account).or_insert_with(|| Account::unknown(*account));
        account.position = account.position.max(position);
        match record {
            Record::MessagesAre { folder, messages, .. } => {
                for message in messages {
                    account.add_message(*folder, Message::from(message), &mut self.holds);
                }
            }
            Record::FlagsAre { folder, groups, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    for (serial, flags, uids) in groups {
                        folder.flag(uids, *flags, *serial);
                    }
                }
            }
            Record::MessagesGone { folder, uids, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    let serial = folder.serial;
                    account.used_bytes -= folder.expunge(uids, serial);
                    bury(folder, &mut self.holds);
                }
            }
            Record::FolderIs { folder, name, uid_validity, special, uid_next, serial, .. } => {
                self.uid_validity = self.uid_validity.max(*uid_validity);
                account.folder_last = account.folder_last.max(*folder);
                let known = account.folders.entry(*folder).or_insert_with(|| Folder::unknown(*folder));
                known.exist(name, *uid_validity, *special);
                known.name.clone_from(name);
                known.uid_next = known.uid_next.max(*uid_next);
                known.serial = known.serial.max(*serial);
            }
            Record::FoldersGone { folders, .. } => {
                for (first, last) in folders.iter().filter(|(first, last)| first <= last) {
                    account.folder_last = account.folder_last.max(*last);
                    let gone: Vec<FolderId> =
                        account.folders.range(*first..=*last).map(|(folder, _)| *folder).collect();
                    gone.into_iter().for_each(|folder| account.remove_folder(folder, &mut self.holds));
                }
            }
            Record::KeywordsAre { names, .. } => account.keywords.clone_from(names),
            Record::SubscriptionsAre { names, .. } => {
                account.subscriptions = names.iter().cloned().collect();
            }
            _ => {}
        }
        let newest = account.folders.values().map(|folder| folder.serial).max();
        account.serial = account.serial.max(newest.unwrap_or_default());
    }

    pub(super) fn remove_account(&mut self, account: AccountId) {
        if let Some(mut gone) = self.accounts.remove(&account) {
            if self.settings.addresses.get(&gone.address) == Some(&account) {
                self.settings.addresses.remove(&gone.address);
            }
            let folders: Vec<FolderId> = gone.folders.keys().copied().collect();
            folders.into_iter().for_each(|folder| gone.remove_folder(folder, &mut self.holds));
        }
        self.settings.passwords.remove(&account);
    }

    /// Before room is made, the bytes of expunged messages are let go of: those that no view has any more, and where segments are short all
    /// of them: a session that asks is told that they are gone (RFC 2180 §4.1.2), and charges stay what live bytes are bounded by.
    pub(super) fn let_go_of_tombstones(&mut self, short: bool) {
        let folders = self.accounts.values_mut().flat_map(|account| account.folders.values_mut());
        for folder in folders.filter(|folder| !folder.tombstones.is_empty()) {
            let told = if short { None } else { folder.told_by_all() };
            folder.messages.change(Uid(0), Uid(u32::MAX), |message| {
                let gone = message.expunged() && told.is_none_or(|told| message.serial <= told);
                if gone && message.body != NO_BODY {
                    self.holds.push((std::mem::replace(&mut message.body, NO_BODY), false));
                }
            });
        }
    }

    /// The whole log has been read: what it has not said to exist was removed.
    pub(super) fn complete(&mut self) {
        let unknown = |known: bool, id| (!known).then_some(id);
        let gone: Vec<AccountId> =
            self.accounts.values().filter_map(|account| unknown(account.known, account.id)).collect();
        gone.into_iter().for_each(|account| self.remove_account(account));
        let newest = self.serial;
        for account in self.accounts.values_mut() {
            let gone = account.folders.values().filter(|folder| !folder.known).map(|folder| folder.id);
            let gone: Vec<FolderId> = gone.collect();
            gone.into_iter().for_each(|folder| account.remove_folder(folder, &mut self.holds));
            for folder in account.folders.values_mut() {
                // Copies have come in another order than the changes; views begin behind them all.
                folder.changes = VecDeque::new();
                folder.changes_from = newest;
                folder.recent_from = folder.uid_next;
            }
            account.serial = account.serial.max(newest);
        }
        let addresses = self.accounts.values().map(|account| (account.address.clone(), account.id));
        self.settings.addresses = addresses.collect();
        self.settings.passwords.retain(|account, _| self.accounts.contains_key(account));
        self.inherit();
    }
}

impl Account {
    /// An account of which something is known, but not yet that it exists.
    pub(super) fn unknown(id: AccountId) -> Account {
        Account {
            id,
            address: String::new(),
            class: Class::S,
            bucket_bytes: 0,
            used_bytes: 0,
            position: Position(0),
            serial: Serial(0),
            folders: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            keywords: Vec::new(),
            folder_last: FolderId(0),
            reserved_bytes: Arc::default(),
            pop3: Arc::default(),
            known: false,
        }
    }

    /// It exists, and was made like this; what is known of it already is newer.
    pub(super) fn exist(&mut self, address: &str, class: Class, bucket_bytes: u64) {
        if !self.known {
            self.known = true;
            self.address = String::from(address);
            (self.class, self.bucket_bytes) = (class, bucket_bytes);
        }
    }

    pub(super) fn add_message(
        &mut self,
        folder: FolderId,
        message: Message,
        holds: &mut Vec<(BodyId, bool)>,
    ) {
        let folder = self.folders.entry(folder).or_insert_with(|| Folder::unknown(folder));
        holds.push((message.body, true));
        self.used_bytes += u64::from(message.charge);
        if let Some(before) = folder.add(message) {
            self.used_bytes -= u64::from(before.charge);
            holds.push((before.body, false));
        }
    }

    pub(super) fn remove_folder(&mut self, folder: FolderId, holds: &mut Vec<(BodyId, bool)>) {
        if let Some(gone) = self.folders.remove(&folder) {
            self.used_bytes -= gone.live().map(|message| u64::from(message.charge)).sum::<u64>();
            holds.extend(gone.messages.iter().map(|message| (message.body, false)));
        }
    }
}

impl Folder {
    /// A folder of which something is known, but not yet that it exists.
    pub(super) fn unknown(id: FolderId) -> Folder {
        Folder {
            id,
            name: String::new(),
            uid_validity: 0,
            uid_next: Uid(1),
            serial: Serial(0),
            special: None,
            messages: Messages::default(),
            known: false,
            tombstones: Vec::new(),
            tombstone_serials: NO_TOMBSTONES,
            unseen: 0,
            recent_from: Uid(1),
            changes: VecDeque::new(),
            changes_from: Serial(0),
            views: Vec::new(),
        }
    }

    /// It exists, and was made like this; what is known of it already is newer.
    pub(super) fn exist(&mut self, name: &str, uid_validity: u32, special: Option<SpecialUse>) {
        if !self.known {
            self.known = true;
            self.name = String::from(name);
            (self.uid_validity, self.special) = (uid_validity, special);
        }
    }
}

impl From<&Present> for Message {
    fn from(present: &Present) -> Message {
        let Present { uid, body, size, charge, date, flags, serial } = *present;
        Message { uid, size, charge, flags, serial, body, date }
    }
}

impl From<&Message> for Present {
    fn from(message: &Message) -> Present {
        let Message { uid, size, charge, flags, serial, body, date } = *message;
        Present { uid, body, size, charge, date, flags, serial }
    }
}
