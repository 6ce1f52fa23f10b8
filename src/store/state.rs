//! The state: a fold over the records. [`State::apply`] is the only thing that mutates it, live and at boot, and it is idempotent.
//!
//! Beside what records say, the state keeps a few facts of this process only: \Recent, the POP3 lock, reservations, views.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::copies::NO_BODY;
use super::heirs::Heirs;
use super::history::History;
use super::messages::bury;
use super::network::Network;
use super::packed::Messages;
use super::parts::Parts;
use super::record::{self, Record};
use crate::journal::Journal;
use crate::types::{
    AccountId, BodyId, Class, Flags, FolderId, Language, Position, Serial, SpecialUse, Time, Uid,
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
    /// The time that was saved last, for a machine without a clock.
    pub clock: Option<Time>,
    /// Records that this program could not read: their frames are kept, their meaning is not known.
    pub unread_records: u64,
    /// Changes of several frames of which not all have been read.
    pub(super) parts: Parts,
    /// Of the state that this one is made to succeed: who is looking at what.
    pub(super) heirs: Heirs,
    /// What `apply` has done to bodies, for the journal's index.
    pub(super) holds: Vec<(BodyId, bool)>,
}

/// What the owner has set.
#[derive(Clone, Debug, Default)]
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
    /// How the network is set up.
    pub network: Network,
    /// The machine's name; empty: none is set.
    pub host: String,
    /// Who is asked for the time.
    pub time_servers: Vec<String>,
    /// The newest changes by commands.
    pub history: History,
    /// The language that people are spoken to in.
    pub language: Language,
}

/// A certificate with its key.
pub struct Certificate {
    /// DER certificates, the server's own first.
    pub chain: Vec<Vec<u8>>,
    /// Private key, DER: PKCS #8, PKCS #1 or SEC 1.
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
    pub messages: Messages,
    /// While the log is read: the fact that it exists has been met.
    pub(super) known: bool,
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
    pub fn live(&self) -> impl Iterator<Item = Message> {
        self.messages.iter().filter(|message| !message.expunged())
    }
}

/// A message in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub(super) const NO_TOMBSTONES: (Serial, Serial) = (Serial(u64::MAX), Serial(0));

/// The bit of `Message::flags` that marks a tombstone; neither a system flag nor a keyword.
pub(super) const TOMBSTONE: Flags = Flags(1 << 7);

impl Message {
    /// It is gone; some view has not been told.
    pub fn expunged(&self) -> bool {
        self.flags.contains(TOMBSTONE)
    }
}

impl State {
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
        // Bodies are counted when all has been read: copies have come in another order than the changes.
        self.holds.clear();
    }

    /// Changes of several frames that are not whole: the power went before they were acknowledged, or the medium is damaged.
    /// None of their facts holds.
    pub fn unfinished(&self) -> impl Iterator<Item = Serial> {
        self.parts.unfinished()
    }

    /// After the replay: gives the journal the bodies that are in use, and drops tombstones. Returns the next free body number.
    pub(super) fn settle(&mut self, journal: &mut Journal) -> u64 {
        self.complete();
        let start = journal.superblock().uidvalidity_start;
        self.uid_validity = self.uid_validity.max(start);
        // Also the numbers of bodies that nobody holds are taken: their frames are still in the log.
        let next_body = self.next_body.0.max(journal.highest_body().0 + 1);
        self.holds = Vec::new();
        let folders = self.accounts.values().flat_map(|account| account.folders.values());
        let bodies = folders.flat_map(|folder| folder.messages.iter()).map(|message| message.body);
        bodies.filter(|body| *body != NO_BODY).for_each(|body| journal.hold(body));
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
            | Record::Certificate { .. }
            | Record::Network(_)
            | Record::HostName(_)
            | Record::TimeServers(_)
            | Record::Changed { .. }
            | Record::Back { .. }
            | Record::Undone { .. }
            | Record::Language(_) => {
                self.settings.position = self.settings.position.max(position);
                self.settings.apply(record);
            }
            Record::Part { .. } => {}
            // Not a setting: no session waits until it is durable.
            Record::Clock(time) => self.clock = Some(*time),
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
            Record::Network(network) => self.network.clone_from(network),
            Record::HostName(name) => self.host.clone_from(name),
            Record::TimeServers(servers) => self.time_servers.clone_from(servers),
            Record::Changed { .. } | Record::Back { .. } | Record::Undone { .. } => {
                self.history.apply(record)
            }
            _ => {}
        }
    }
}
