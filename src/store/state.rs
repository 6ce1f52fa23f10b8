//! The state: a fold over the records. [`State::apply`] is the only thing that mutates it, live and at boot, and it is idempotent.
//!
//! Beside what records say, the state keeps a few facts of this process only: \Recent, the POP3 lock, reservations, views.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::record::{self, Parts, Record};
use crate::journal::Journal;
use crate::limits::CHANGES_REMEMBERED;
use crate::types::{
    AccountId, BodyId, Class, Flags, FolderId, Language, Position, Serial, SpecialUse, Time, Uid, UidSet,
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
    /// Records that this program could not read: their frames are kept, their meaning is not known.
    pub unread_records: u64,
    /// Changes of several frames of which not all have been read.
    parts: Parts,
    /// Of the state that this one is made to succeed: who is looking at what.
    heirs: Heirs,
    /// What `apply` has done to bodies, for the journal's index.
    holds: Vec<(BodyId, bool)>,
}

/// Sessions outlive a state that is made anew: their views keep tombstones, and their POP3 locks hold.
#[derive(Debug, Default)]
struct Heirs {
    views: BTreeMap<(AccountId, FolderId), Vec<Weak<AtomicU64>>>,
    locks: BTreeMap<AccountId, Arc<AtomicBool>>,
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
    /// The language that people are spoken to in.
    pub language: Language,
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
    /// The tombstones among `messages`: UID and the serial of the expunge, by ascending UID.
    pub tombstones: Vec<(Uid, Serial)>,
    /// The oldest and the newest serial among the tombstones.
    pub(super) tombstone_serials: (Serial, Serial),
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

/// `Folder::tombstone_serials` where there are none.
const NO_TOMBSTONES: (Serial, Serial) = (Serial(u64::MAX), Serial(0));

/// The bit of `Message::flags` that marks a tombstone; neither a system flag nor a keyword.
const TOMBSTONE: Flags = Flags(1 << 7);

impl Message {
    /// It is gone; some view has not been told.
    pub fn expunged(&self) -> bool {
        self.flags.contains(TOMBSTONE)
    }
}

impl State {
    /// An empty state, to be filled again from the records: whoever looks at `former` will look at this one.
    pub(super) fn succeeding(former: &State) -> State {
        let mut heirs = Heirs::default();
        for account in former.accounts.values() {
            heirs.locks.insert(account.id, Arc::clone(&account.pop3));
            let folders = account.folders.values();
            heirs.views.extend(folders.map(|folder| ((account.id, folder.id), folder.views.clone())));
        }
        State { heirs, ..State::default() }
    }

    /// Applies a frame's records at boot.
    pub(super) fn replay(&mut self, serial: Serial, position: Position, payload: &[u8]) {
        // Also of a change that is not whole: its serial has been used.
        self.serial = self.serial.max(serial);
        match record::decode(payload) {
            Some(records) => {
                let whole = self.parts.join(serial, records).unwrap_or_default();
                whole.iter().for_each(|record| self.apply(record, serial, position));
            }
            None => self.unread_records += 1,
        }
    }

    /// Changes of several frames that are not whole: the power went before they were acknowledged, or the medium is damaged.
    /// None of their facts holds.
    pub fn unfinished(&self) -> impl Iterator<Item = Serial> {
        self.parts.unfinished()
    }

    /// After the replay: gives the journal the bodies that are in use, and drops tombstones. Returns the next free body number.
    pub(super) fn settle(&mut self, journal: &mut Journal) -> u64 {
        let start = journal.superblock().uidvalidity_start;
        self.uid_validity = self.uid_validity.max(start);
        for account in self.accounts.values_mut() {
            for folder in account.folders.values_mut() {
                folder.recent_from = folder.uid_next;
                bury(folder, &mut self.holds);
            }
        }
        // Also the numbers of bodies that nobody holds are taken: their frames are still in the log.
        let next_body = journal.highest_body().0 + 1;
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
            | Record::Language(_)
            | Record::Certificate { .. } => {
                self.settings.position = self.settings.position.max(position);
                self.settings.apply(record);
            }
            Record::Part { .. } => {}
            Record::FolderAdded { account, uid_validity, .. } => {
                self.uid_validity = self.uid_validity.max(*uid_validity);
                self.apply_mail(*account, record, serial, position);
            }
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
                self.accounts.entry(*account).or_insert_with(|| Account {
                    id: *account,
                    address: address.clone(),
                    class: *class,
                    bucket_bytes: *bucket_bytes,
                    used_bytes: 0,
                    position,
                    serial,
                    folders: BTreeMap::new(),
                    subscriptions: BTreeSet::new(),
                    keywords: Vec::new(),
                    folder_last: FolderId(0),
                    reserved_bytes: Arc::default(),
                    pop3: self.heirs.locks.remove(account).unwrap_or_default(),
                });
            }
            Record::AccountRemoved(account) => {
                if let Some(gone) = self.accounts.remove(account) {
                    self.settings.addresses.remove(&gone.address);
                    let messages = gone.folders.values().flat_map(|folder| &folder.messages);
                    self.holds.extend(messages.map(|message| (message.body, false)));
                }
                self.settings.passwords.remove(account);
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
        let Some(account) = self.accounts.get_mut(&account) else { return };
        account.position = account.position.max(position);
        account.serial = account.serial.max(serial);
        match record {
            Record::FolderAdded { folder, name, uid_validity, special, .. } => {
                account.folder_last = account.folder_last.max(*folder);
                let views = self.heirs.views.remove(&(account.id, *folder)).unwrap_or_default();
                account.folders.entry(*folder).or_insert_with(|| Folder {
                    id: *folder,
                    name: name.clone(),
                    uid_validity: *uid_validity,
                    uid_next: Uid(1),
                    serial,
                    special: *special,
                    messages: Vec::new(),
                    tombstones: Vec::new(),
                    tombstone_serials: NO_TOMBSTONES,
                    unseen: 0,
                    recent_from: Uid(1),
                    changes: VecDeque::new(),
                    changes_from: serial,
                    views,
                });
            }
            Record::FolderRenamed { folder, name, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    folder.name.clone_from(name);
                }
            }
            Record::FolderRemoved { folder, .. } => {
                if let Some(gone) = account.folders.remove(folder) {
                    account.used_bytes -= gone.live().map(|message| u64::from(message.charge)).sum::<u64>();
                    self.holds.extend(gone.messages.iter().map(|message| (message.body, false)));
                }
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
                if let Some(folder) = account.folders.get_mut(folder)
                    && folder.add(message)
                {
                    account.used_bytes += u64::from(*charge);
                    self.holds.push((*body, true));
                }
            }
            Record::FlagsSet { folder, groups, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    groups.iter().for_each(|(flags, uids)| folder.flag(uids, *flags, serial));
                }
            }
            Record::Expunged { folder, uids, .. } => {
                if let Some(folder) = account.folders.get_mut(folder) {
                    account.used_bytes -= folder.expunge(uids, serial);
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
            Record::Language(language) => self.language = *language,
            Record::Certificate { chain, key } => {
                self.certificate = Some(Arc::new(Certificate { chain: chain.clone(), key: key.clone() }));
            }
            _ => {}
        }
    }
}

impl Folder {
    /// Adds a message; false if it is there or has been there.
    fn add(&mut self, message: Message) -> bool {
        if message.uid < self.uid_next {
            return false;
        }
        self.uid_next = Uid(message.uid.0 + 1);
        self.serial = self.serial.max(message.serial);
        self.unseen += u32::from(!message.flags.contains(Flags::SEEN));
        self.messages.push(message);
        true
    }

    fn flag(&mut self, uids: &UidSet, flags: Flags, serial: Serial) {
        for (first, last) in &uids.0 {
            let start = self.messages.partition_point(|message| message.uid < *first);
            for index in start..self.messages.len() {
                let message = &mut self.messages[index];
                if message.uid > *last {
                    break;
                }
                // The same serial: records of one change follow each other.
                let newer = message.serial < serial || message.serial == serial && message.flags != flags;
                if message.expunged() || !newer {
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
    fn expunge(&mut self, uids: &UidSet, serial: Serial) -> u64 {
        let mut freed = 0;
        for uid in uids.iter() {
            let Some(index) = self.index(uid) else { continue };
            let message = &mut self.messages[index];
            if message.expunged() {
                continue;
            }
            self.unseen -= u32::from(!message.flags.contains(Flags::SEEN));
            freed += u64::from(message.charge);
            (message.flags, message.serial) = (message.flags.with(TOMBSTONE), serial);
            self.tombstones.push((uid, serial));
            let (oldest, newest) = self.tombstone_serials;
            self.tombstone_serials = (oldest.min(serial), newest.max(serial));
        }
        // Two runs that ascend: merged in one pass.
        self.tombstones.sort();
        self.serial = self.serial.max(serial);
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
    fn told_by_all(&mut self) -> Option<Serial> {
        self.forget_views();
        let told = self.views.iter().filter_map(Weak::upgrade).map(|view| view.load(Ordering::Relaxed));
        told.min().map(Serial)
    }
}

/// Removes the tombstones that every view has been told, and lets go of their bodies.
///
/// It waits until they are a fair share of the folder, so that expunging one by one costs no pass over the folder each time.
fn bury(folder: &mut Folder, holds: &mut Vec<(BodyId, bool)>) {
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
