//! The state: a fold over the records. [`State::apply`] is the only thing that mutates it, live and at boot, and it is idempotent.
//!
//! Beside what records say, the state keeps a few facts of this process only: \Recent, the POP3 lock, reservations, views.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::record::{self, Record};
use crate::journal::Journal;
use crate::limits::CHANGES_REMEMBERED;
use crate::types::{
    AccountId, BodyId, Class, Flags, FolderId, Position, Serial, SpecialUse, Time, Uid, UidSet,
};

/// Everything that the store knows, less the bytes of messages.
#[derive(Debug, Default)]
pub struct State {
    /// The newest change.
    pub serial: Serial,
    /// What the owner has set.
    pub settings: Settings,
    /// The mailboxes.
    pub accounts: BTreeMap<AccountId, Account>,
    /// The highest UIDVALIDITY ever given out.
    pub uid_validity: u32,
    /// The highest account number ever given out.
    pub account_last: AccountId,
    /// Bodies below this have been given out.
    pub next_body: BodyId,
    /// Records that this program could not read: their frames are kept, their meaning is not known.
    pub unread_records: u64,
    /// What `apply` has done to bodies, for the journal's index.
    pub(super) holds: Vec<(BodyId, bool)>,
}

/// What the owner has set.
#[derive(Debug, Default)]
pub struct Settings {
    /// How far the disk must be for all of this to be durable.
    pub position: Position,
    /// Our domains, in lower case, in order of being added.
    pub domains: Vec<String>,
    /// Login address to account.
    pub addresses: BTreeMap<String, AccountId>,
    /// Password hash of each account, and how often it has been changed: sessions compare.
    pub passwords: BTreeMap<AccountId, (String, u32)>,
    /// Alias to login address.
    pub aliases: BTreeMap<String, String>,
    /// argon2id hash of the administrator's password.
    pub admin: Option<String>,
    /// What TLS shows.
    pub certificate: Option<Arc<Certificate>>,
}

/// A certificate with its key.
pub struct Certificate {
    /// DER certificates, the server's own first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS #8 private key, DER.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

/// A mailbox.
#[derive(Debug)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its login address, in lower case.
    pub address: String,
    /// Its bucket's class.
    pub class: Class,
    /// Its bucket's size, bytes.
    pub bucket_bytes: u64,
    /// What its messages are charged, bytes.
    pub used_bytes: u64,
    /// How far the disk must be for all of this account to be durable.
    pub position: Position,
    /// The newest change of the account.
    pub serial: Serial,
    /// Its folders by number.
    pub folders: BTreeMap<FolderId, Folder>,
    /// The names it has subscribed to.
    pub subscriptions: BTreeSet<String>,
    /// Its keywords; the index is the bit.
    pub keywords: Vec<String>,
    /// The highest folder number ever given out.
    pub folder_last: FolderId,
    pub(super) reserved_bytes: Arc<AtomicU64>,
    pub(super) pop3: Arc<AtomicBool>,
    /// While the log is read: the fact that it exists has been met.
    pub(super) known: bool,
}

impl Account {
    /// The folder of this whole name; INBOX in any case.
    pub fn folder_by_name(&self, name: &str) -> Option<&Folder> {
        let inbox = name.eq_ignore_ascii_case("INBOX");
        self.folders
            .values()
            .find(|folder| if inbox { folder.id == FolderId::INBOX } else { folder.name == name })
    }

    /// What is promised to messages that are coming in, bytes.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }
}

/// A folder.
#[derive(Debug)]
pub struct Folder {
    /// Its number in the account.
    pub id: FolderId,
    /// Its whole name, levels parted by `/`.
    pub name: String,
    /// RFC 3501 §2.3.1.1
    pub uid_validity: u32,
    /// The next message's UID.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ (RFC 7162 §3.1.2.1): the newest change of its messages.
    pub serial: Serial,
    /// What it is for.
    pub special: Option<SpecialUse>,
    /// Its messages by ascending UID, tombstones among them.
    pub messages: Vec<Message>,
    /// While the log is read: messages met behind ones of higher UIDs.
    pub(super) late: BTreeMap<Uid, Message>,
    /// While the log is read: the fact that it exists has been met.
    pub(super) known: bool,
    /// The tombstones among `messages`: UID and the serial of the expunge, by ascending UID.
    pub tombstones: Vec<(Uid, Serial)>,
    /// Messages that are not \Seen.
    pub unseen: u32,
    /// UIDs from here on have been \Recent in no session yet.
    pub recent_from: Uid,
    /// The newest flag changes, oldest first; whoever looks further back must scan.
    pub(super) changes: VecDeque<(Serial, Uid)>,
    /// Changes up to this serial may be missing in `changes`.
    pub(super) changes_from: Serial,
    /// Views of the folder: the serial up to which each has been told expunges.
    pub(super) views: Vec<Weak<AtomicU64>>,
}

impl Folder {
    /// Messages that are not expunged.
    pub fn count(&self) -> u32 {
        (self.messages.len() - self.tombstones.len()) as u32
    }

    /// Every message that is not expunged.
    pub fn live(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| !message.expunged())
    }

    fn index(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }
}

/// A message in a folder.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// RFC822.SIZE, bytes.
    pub size: u32,
    /// What it is charged, bytes.
    pub charge: u32,
    /// Its flags; bit 7 marks a tombstone.
    pub flags: Flags,
    /// Its newest change: MODSEQ. Of a tombstone: the expunge.
    pub serial: Serial,
    /// Its bytes.
    pub body: BodyId,
    /// INTERNALDATE.
    pub date: Time,
}

/// The bit of `Message::flags` that marks a tombstone; neither a system flag nor a keyword.
const TOMBSTONE: Flags = Flags(1 << 7);

impl Message {
    /// It is gone; some view has not been told.
    pub fn expunged(&self) -> bool {
        self.flags.contains(TOMBSTONE)
    }
}

impl State {
    /// Applies a frame's records at boot.
    pub(super) fn replay(&mut self, serial: Serial, position: Position, payload: &[u8]) {
        match record::decode(payload) {
            Some(records) => records.iter().for_each(|record| self.apply(record, serial, position)),
            None => self.unread_records += 1,
        }
    }

    /// After the replay: gives the journal the bodies that are in use, and drops tombstones. Returns the next free body number.
    pub(super) fn settle(&mut self, journal: &mut Journal) -> u64 {
        self.complete();
        let start = journal.superblock().uidvalidity_start;
        self.uid_validity = self.uid_validity.max(start);
        for account in self.accounts.values_mut() {
            for folder in account.folders.values_mut() {
                folder.recent_from = folder.uid_next;
                bury(folder, &mut self.holds);
            }
        }
        // Also the numbers of bodies that nobody holds are taken: their frames are still in the log.
        let next_body = self.next_body.0.max(journal.highest_body().0 + 1);
        // A body must not be let go of before all who have it are counted: copies have come in another order than the changes.
        self.holds.sort_by_key(|(_, held)| !held);
        self.effects(journal);
        journal.drop_unheld();
        next_body
    }

    /// Tells the journal which bodies are used more and which less since the last time.
    pub(super) fn effects(&mut self, journal: &mut Journal) {
        for (body, held) in self.holds.drain(..) {
            if held { journal.hold(body) } else { journal.release(body) }
        }
    }

    /// Makes a fact true. Applying it twice is the same as once: a copy made by compaction may come again.
    pub fn apply(&mut self, record: &Record, serial: Serial, position: Position) {
        self.serial = self.serial.max(serial);
        match record {
            Record::AccountAdded { .. }
            | Record::AccountRemoved(_)
            | Record::AccountPassword { .. }
            | Record::AccountSize { .. } => {
                self.settings.position = self.settings.position.max(position);
                self.apply_account(record, serial, position);
            }
            Record::DomainAdded(_)
            | Record::DomainRemoved(_)
            | Record::AliasAdded { .. }
            | Record::AliasRemoved(_)
            | Record::AdminPassword(_)
            | Record::Certificate { .. } => {
                self.settings.position = self.settings.position.max(position);
                self.settings.apply(record);
            }
            Record::FolderAdded { account, uid_validity, .. } => {
                self.uid_validity = self.uid_validity.max(*uid_validity);
                self.apply_mail(*account, record, serial, position);
            }
            Record::MessagesAre { .. }
            | Record::FlagsAre { .. }
            | Record::MessagesGone { .. }
            | Record::FolderIs { .. }
            | Record::FoldersGone { .. }
            | Record::AccountIs { .. }
            | Record::AccountsGone(_)
            | Record::KeywordsAre { .. }
            | Record::SubscriptionsAre { .. }
            | Record::DomainsAre(_)
            | Record::Given { .. } => self.apply_copy(record, position),
            Record::FolderRenamed { account, .. }
            | Record::FolderRemoved { account, .. }
            | Record::Subscribed { account, .. }
            | Record::Unsubscribed { account, .. }
            | Record::KeywordAdded { account, .. }
            | Record::MessageAdded { account, .. }
            | Record::FlagsSet { account, .. }
            | Record::Expunged { account, .. } => self.apply_mail(*account, record, serial, position),
        }
    }

    fn apply_account(&mut self, record: &Record, serial: Serial, position: Position) {
        match record {
            Record::AccountAdded { account, address, class, bucket_bytes, phc } => {
                self.account_last = self.account_last.max(*account);
                self.settings.addresses.insert(address.clone(), *account);
                self.settings.passwords.insert(*account, (phc.clone(), 0));
                let known = self.accounts.entry(*account).or_insert_with(|| Account::unknown(*account));
                known.exist(address, *class, *bucket_bytes);
                known.position = known.position.max(position);
                known.serial = known.serial.max(serial);
            }
            Record::AccountRemoved(account) => {
                self.account_last = self.account_last.max(*account);
                self.remove_account(*account);
            }
            Record::AccountPassword { account, phc } => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.position = account.position.max(position);
                }
                if let Some((old, changes)) = self.settings.passwords.get_mut(account) {
                    *changes += u32::from(old != phc);
                    old.clone_from(phc);
                }
            }
            Record::AccountSize { account, class, bucket_bytes } => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.position = account.position.max(position);
                    (account.class, account.bucket_bytes) = (*class, *bucket_bytes);
                }
            }
            _ => {}
        }
    }

    fn apply_mail(&mut self, account: AccountId, record: &Record, serial: Serial, position: Position) {
        // While the log is read, what is true of an account may come before the copy of the fact that it exists.
        let account = self.accounts.entry(account).or_insert_with(|| Account::unknown(account));
        account.position = account.position.max(position);
        account.serial = account.serial.max(serial);
        match record {
            Record::FolderAdded { folder, name, uid_validity, special, .. } => {
                account.folder_last = account.folder_last.max(*folder);
                let added = account.folders.entry(*folder).or_insert_with(|| Folder::unknown(*folder));
                added.exist(name, *uid_validity, *special);
                added.serial = added.serial.max(serial);
            }
            Record::FolderRenamed { folder, name, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    folder.name.clone_from(name);
                }
            }
            Record::FolderRemoved { folder, .. } => {
                account.folder_last = account.folder_last.max(*folder);
                account.remove_folder(*folder, &mut self.holds);
            }
            Record::Subscribed { name, .. } => {
                account.subscriptions.insert(name.clone());
            }
            Record::Unsubscribed { name, .. } => {
                account.subscriptions.remove(name);
            }
            Record::KeywordAdded { name, .. }
                if !account.keywords.iter().any(|known| known.eq_ignore_ascii_case(name)) =>
            {
                account.keywords.push(name.clone());
            }
            Record::MessageAdded { folder, uid, body, size, charge, date, flags, .. } => {
                let message = Message {
                    uid: *uid,
                    size: *size,
                    charge: *charge,
                    flags: *flags,
                    serial,
                    body: *body,
                    date: *date,
                };
                account.add_message(*folder, message, &mut self.holds);
            }
            Record::FlagsSet { folder, groups, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    groups.iter().for_each(|(flags, uids)| folder.flag(uids, *flags, serial));
                }
            }
            Record::Expunged { folder, uids, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    folder.serial = folder.serial.max(serial);
                    account.used_bytes -= folder.expunge(uids, serial, &mut self.holds);
                    bury(folder, &mut self.holds);
                }
            }
            _ => {}
        }
    }

    /// Drops the tombstones of a folder that no view has any more.
    pub(super) fn bury(&mut self, account: AccountId, folder: FolderId) {
        let account = self.accounts.get_mut(&account);
        if let Some(folder) = account.and_then(|account| account.folders.get_mut(&folder)) {
            bury(folder, &mut self.holds);
        }
    }
}

impl Settings {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::DomainAdded(domain) if !self.domains.contains(domain) => {
                self.domains.push(domain.clone())
            }
            Record::DomainRemoved(domain) => self.domains.retain(|known| known != domain),
            Record::AliasAdded { address, target } => {
                self.aliases.insert(address.clone(), target.clone());
            }
            Record::AliasRemoved(address) => {
                self.aliases.remove(address);
            }
            Record::AdminPassword(phc) => self.admin = Some(phc.clone()),
            Record::Certificate { chain, key } => {
                self.certificate = Some(Arc::new(Certificate { chain: chain.clone(), key: key.clone() }));
            }
            _ => {}
        }
    }
}

impl Folder {
    /// Makes it so that this message is there. Returns the one that was there before under its UID, if any.
    /// Live, a message always has the highest UID so far. While the log is read, a copy may come behind messages of higher UIDs.
    pub(super) fn add(&mut self, message: Message) -> Option<Message> {
        self.uid_next = self.uid_next.max(Uid(message.uid.0.saturating_add(1)));
        self.serial = self.serial.max(message.serial);
        self.unseen += u32::from(!message.flags.contains(Flags::SEEN));
        let before = if self.messages.last().is_none_or(|last| last.uid < message.uid) {
            self.messages.push(message);
            // A lower UID may have come late, but not this one.
            self.late.remove(&message.uid)
        } else if let Some(index) = self.index(message.uid) {
            match &mut self.messages[index] {
                // What has been expunged stays so.
                there if there.expunged() => Some(message),
                there => Some(std::mem::replace(there, message)),
            }
        } else {
            self.late.insert(message.uid, message)
        };
        self.unseen -= before.map_or(0, |before| u32::from(!before.flags.contains(Flags::SEEN)));
        before
    }

    pub(super) fn flag(&mut self, uids: &UidSet, flags: Flags, serial: Serial) {
        for (first, last) in uids.0.iter().filter(|(first, last)| first <= last) {
            for (_, message) in self.late.range_mut(*first..=*last) {
                self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
                self.unseen += u32::from(!flags.contains(Flags::SEEN));
                (message.flags, message.serial) = (flags, message.serial.max(serial));
            }
            let start = self.messages.partition_point(|message| message.uid < *first);
            for index in start..self.messages.len() {
                let message = &mut self.messages[index];
                if message.uid > *last {
                    break;
                }
                if message.expunged() || message.serial >= serial {
                    continue;
                }
                self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
                self.unseen += u32::from(!flags.contains(Flags::SEEN));
                (message.flags, message.serial) = (flags, serial);
                self.changes.push_back((serial, message.uid));
                if self.changes.len() > CHANGES_REMEMBERED
                    && let Some((oldest, _)) = self.changes.pop_front()
                {
                    self.changes_from = oldest;
                }
            }
        }
        self.serial = self.serial.max(serial);
    }

    /// Turns messages into tombstones. Returns their charges, bytes.
    pub(super) fn expunge(&mut self, uids: &UidSet, serial: Serial, holds: &mut Vec<(BodyId, bool)>) -> u64 {
        let mut freed = 0;
        for (first, last) in uids.0.iter().filter(|(first, last)| first <= last) {
            while let Some(uid) = self.late.range(*first..=*last).next().map(|(uid, _)| *uid)
                && let Some(message) = self.late.remove(&uid)
            {
                self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
                freed += u64::from(message.charge);
                holds.push((message.body, false));
            }
            let start = self.messages.partition_point(|message| message.uid < *first);
            for message in self.messages[start..].iter_mut().take_while(|message| message.uid <= *last) {
                if message.expunged() {
                    continue;
                }
                self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
                freed += u64::from(message.charge);
                (message.flags, message.serial) = (message.flags.with(TOMBSTONE), serial);
                let at = self.tombstones.partition_point(|(gone, _)| *gone < message.uid);
                self.tombstones.insert(at, (message.uid, serial));
            }
        }
        freed
    }

    /// The serial up to which every view has been told expunges; None without views.
    fn told_by_all(&mut self) -> Option<Serial> {
        self.views.retain(|view| view.strong_count() > 0);
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
}
