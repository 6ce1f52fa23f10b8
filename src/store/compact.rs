//! Compaction, as far as it must know what records mean: what of a segment's records is still to be said before the segment is freed.
//!
//! # The law
//! *Reading what is left of the log, in the order of positions, gives the same state as reading all that was ever written.*
//!
//! The state is many small registers: a message's presence, its flags, a folder's name, a password, a counter. A record writes some
//! of them. Two rules keep the law:
//! - **A copy says what is true when it is appended.** It is never the old record moved, but made from the state, under the lock under which
//!   records are appended. So whoever has read everything up to the copy's position already knows what it says, and whoever reads with holes
//!   learns it here,
//!   before anything newer. Positions decide, and no record must be compared with another. Its frame's serial is
//!   the newest of that time; the serials of what it tells about are inside.
//! - **A segment is freed only when each register that one of its records writes is no worse off without it:** either the register is written
//!   again by a copy, or a later record has written it, which is in the log or has been copied itself.
//!   And only when all that had been appended by then is durable, so that the later record cannot be lost while the earlier one is gone.
//!
//! Record by record:
//! - *A message that is there* is copied whole where a record has all of it (body, size, date): there is one such record of each message. Its
//!   flags are copied
//!   where the record's serial is the message's: then no later record has them.
//! - *A message that is gone* is not copied. That it is gone is copied for ever, because an older record of it may be in any segment. This stays
//!   small: what is copied is the whole gap around it, so one segment tells at most one range more than the folder has messages.
//!   A flag record of a message that is not there makes none. So nothing rises from the dead.
//! - *Folders and accounts*: whole, where a record makes or changes one that is there; gaps of numbers, where one tells of its removal. Numbers
//!   are never given twice, so a
//!   folder made again under its old name is another one. Messages may be read before the copy of their folder, and a folder before that of its
//!   account: both are kept as unknown until they are met, and dropped at the end if they are not (`State::complete`).
//! - *UIDNEXT and HIGHESTMODSEQ* are in the folder's copy. It is written wherever a record goes that has the folder's newest serial or its highest
//!   UID,
//!   so some record left always implies each of the two, also when the folder is empty.
//! - *What has been given out* (UIDVALIDITY, account numbers, bodies, serials) is written with every segment that is freed.
//! - *Keywords, subscriptions, domains* are copied as whole lists: no removal needs to be remembered. *Aliases* one by one, removals too: the
//!   owner types them.
//!
//! Bodies and structures are the journal's: it copies the frame that it would find. Whoever reads one meanwhile finds the old place until the copy
//! is durable, and the new one from then on; the old place is not written before.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::record::{self, Present, Record};
use super::state::{Account, Folder, State};
use crate::journal::{AppendError, Kind, Portion, Pressure, Taken};
use crate::limits::{BARE_BYTES_MAX, COMPACTION_STEP_BYTES};
use crate::types::{AccountId, BodyId, Flags, FolderId, Serial, Uid, UidSet};

/// About what a message, a folder, a mailbox, and an alias or another setting take in records when compaction has packed them, bytes. Rather
/// too much: what seems needed is not copied in vain.
const MESSAGE_RECORD_BYTES: u64 = 96;
const FOLDER_RECORD_BYTES: u64 = 512;
const ACCOUNT_RECORD_BYTES: u64 = 4096;
const SETTING_RECORD_BYTES: u64 = 160;
/// Messages, or ranges of them, in one record.
pub(super) const PACKED: usize = 64;

/// What one step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It went on, and wrote perhaps something.
    Done,
    /// There is nothing to do.
    Nothing,
    /// There is no room to copy to, before what has been appended is durable.
    Stuck,
}

impl Store {
    /// Bytes of records that are needed, about.
    pub(super) fn record_bytes(&self) -> u64 {
        let accounts = self.state.accounts.values();
        let folders = || accounts.clone().flat_map(|account| account.folders.values());
        let messages: u64 = folders().map(|folder| u64::from(folder.count())).sum();
        let settings = &self.state.settings;
        let rest = settings.aliases.len() + settings.domains.len() + settings.history.record_count();
        let certificate = settings
            .certificate
            .as_ref()
            .map_or(0, |shown| shown.chain.iter().map(Vec::len).sum::<usize>() + shown.key.len());
        rest as u64 * SETTING_RECORD_BYTES
            + certificate as u64
            + messages * MESSAGE_RECORD_BYTES
            + folders().count() as u64 * FOLDER_RECORD_BYTES
            + accounts.count() as u64 * ACCOUNT_RECORD_BYTES
    }

    /// The next frames to be looked at, if segments are short by this much. They are to be read without the lock, and given to [`Store::compact`].
    pub fn compaction(&mut self, least: Pressure) -> Option<Portion> {
        if self.journal.pressure() < least {
            return None;
        }
        self.forget_given_up();
        let short = self.journal.pressure() == Pressure::High;
        if short || !self.journal.is_emptying() {
            self.state.let_go_of_tombstones(short);
            self.state.effects(&mut self.journal);
        }
        let record_bytes = self.record_bytes();
        self.journal.next_portion(record_bytes)
    }

    /// Whether what compaction has appended is worth a flush: two small steps share one where nobody waits, and a segment's last one wants its own.
    pub fn is_worth_a_flush(&self) -> bool {
        let part = self.journal.superblock().segment_bytes as usize / 8;
        !self.journal.is_emptying() || self.journal.pending_bytes() >= COMPACTION_STEP_BYTES.min(part)
    }

    /// Pieces of messages whose senders have gone away are dead.
    pub(super) fn forget_given_up(&mut self) {
        let journal = &mut self.journal;
        self.incoming.retain(|(body, alive)| {
            let gone = alive.strong_count() == 0;
            if gone {
                journal.forget(*body);
            }
            !gone
        });
    }

    /// Whether parity is to be made: not while a message comes in, whose memory it would add to. But then, too, when the log has fallen idle, or
    /// when much has no parity ([`BARE_BYTES_MAX`]).
    pub fn parity_due(&self) -> bool {
        let receiving = self.incoming.iter().rev().any(|(_, alive)| alive.strong_count() > 0);
        let may_wait =
            receiving && !self.journal.is_witnessed() && self.journal.bare_bytes() <= BARE_BYTES_MAX;
        !may_wait && self.journal.parity_due()
    }

    /// Whether a piece of so many bytes would be taken now.
    pub fn takes_piece(&self, bytes: usize) -> bool {
        self.journal.takes_body(bytes)
    }

    /// Whether room will be made for what is refused now.
    pub fn makes_room(&mut self) -> bool {
        let record_bytes = self.record_bytes();
        !self.journal.read_only() && self.journal.can_reclaim(record_bytes)
    }

    /// Appends what is still needed of the frames that were read. The next commit makes it durable.
    pub fn compact(&mut self, portion: Portion) -> Step {
        match self.try_compact(portion) {
            Ok(()) => Step::Done,
            Err(AppendError::Full) => Step::Stuck,
            Err(AppendError::TooLarge) => {
                self.journal.pin_victim();
                Step::Done
            }
            Err(AppendError::ReadOnly) => Step::Nothing,
        }
    }

    fn try_compact(&mut self, mut portion: Portion) -> Result<(), AppendError> {
        if !self.journal.is_current(&portion) {
            return Ok(());
        }
        if portion.is_damaged() {
            // It stays where it is, and is reported; what has been copied of it is there twice.
            self.journal.pin_victim();
            return Ok(());
        }
        let mut mentioned = Mentioned::default();
        for taken in portion.take_frames() {
            if taken.kind != Kind::Record {
                self.journal.copy(taken)?;
            } else if !mentioned.frame(&self.state, &taken) {
                self.journal.pin_victim();
                return Ok(());
            }
        }
        let mut copies = mentioned.copies(&self.state);
        if portion.is_last() {
            copies.push(self.given());
        }
        self.append_copies(&copies)?;
        self.journal.pass(&portion)
    }

    /// What is still to be said of the records among these frames.
    #[cfg(test)]
    pub(super) fn copies_of(&self, frames: Vec<Taken>) -> Vec<Record> {
        let mut mentioned = Mentioned::default();
        for taken in frames.iter().filter(|taken| taken.kind == Kind::Record) {
            assert!(mentioned.frame(&self.state, taken));
        }
        mentioned.copies(&self.state)
    }

    pub(super) fn given(&self) -> Record {
        let State { uid_validity, account_last, .. } = self.state;
        Record::Given { next_body: BodyId(self.next_body), uid_validity, account: account_last }
    }

    fn append_copies(&mut self, copies: &[Record]) -> Result<(), AppendError> {
        let most = self.journal.payload_bytes_max().min(COMPACTION_STEP_BYTES);
        let serial = self.state.serial;
        for payload in record::packed(copies, most) {
            self.journal.copy_record(serial, payload)?;
        }
        Ok(())
    }

    /// One step here and now, if segments are short by this much; for who has no committer. To be committed.
    pub fn compact_here(&mut self, least: Pressure) -> Step {
        let step = match self.compaction(least) {
            Some(mut portion) => {
                portion.read(&**self.journal.device());
                self.compact(portion)
            }
            None => Step::Nothing,
        };
        if step != Step::Done && self.relieve() { Step::Done } else { step }
    }

    /// Has the next header written now, where segments wait for nothing else. To be committed.
    pub fn relieve(&mut self) -> bool {
        if self.journal.pressure() < Pressure::High {
            return false;
        }
        let (given, record_bytes) = (self.given(), self.record_bytes());
        self.journal.relieve(record_bytes) && self.append_copies(&[given]).is_ok()
    }
}

type Place = (AccountId, FolderId);

/// What the records of some frames are about, as far as it must be said again.
#[derive(Default)]
struct Mentioned {
    messages: BTreeMap<Place, BTreeSet<Uid>>,
    flags: BTreeMap<Place, BTreeSet<Uid>>,
    gone: BTreeMap<Place, BTreeSet<(Uid, Uid)>>,
    folders: BTreeSet<Place>,
    folders_gone: BTreeSet<Place>,
    accounts: BTreeSet<AccountId>,
    accounts_gone: BTreeSet<AccountId>,
    keywords: BTreeSet<AccountId>,
    subscriptions: BTreeSet<AccountId>,
    aliases: BTreeSet<String>,
    domains: bool,
    admin: bool,
    certificate: bool,
    network: bool,
    host: bool,
    time_servers: bool,
    language: bool,
    clock: bool,
    /// Entries of the history; empty: none is mentioned.
    history: BTreeSet<u32>,
}

impl Mentioned {
    /// Notes a frame's records. False: they cannot be read.
    fn frame(&mut self, state: &State, taken: &Taken) -> bool {
        let Some(records) = record::decode(&taken.payload) else { return false };
        records.iter().for_each(|record| self.record(state, record, Serial(taken.number)));
        true
    }

    fn record(&mut self, state: &State, record: &Record, serial: Serial) {
        match record {
            Record::DomainAdded(_) | Record::DomainRemoved(_) | Record::DomainsAre(_) => self.domains = true,
            Record::AliasAdded { address, .. } | Record::AliasRemoved(address) => {
                self.aliases.insert(address.clone());
            }
            Record::AdminPassword(_) => self.admin = true,
            Record::Certificate { .. } => self.certificate = true,
            Record::Network(_) => self.network = true,
            Record::HostName(_) => self.host = true,
            Record::TimeServers(_) => self.time_servers = true,
            Record::Language(_) => self.language = true,
            Record::Clock(_) => self.clock = true,
            Record::Changed { number, .. }
            | Record::Back { number, .. }
            | Record::Undone { from: number, .. } => {
                self.history.insert(*number);
            }
            Record::AccountAdded { account, .. }
            | Record::AccountPassword { account, .. }
            | Record::AccountSize { account, .. }
            | Record::AccountIs { account, .. } => {
                self.accounts.insert(*account);
            }
            Record::AccountRemoved(account) => {
                self.accounts_gone.insert(*account);
            }
            Record::AccountsGone(ranges) => {
                // Any number of a gap stands for all of it.
                self.accounts_gone.extend(ranges.iter().map(|(first, _)| *first));
            }
            Record::Subscribed { account, .. }
            | Record::Unsubscribed { account, .. }
            | Record::SubscriptionsAre { account, .. } => {
                self.subscriptions.insert(*account);
            }
            Record::KeywordAdded { account, .. } | Record::KeywordsAre { account, .. } => {
                self.keywords.insert(*account);
            }
            // A change of several frames is no more than its records: of those that are freed what is true is said again.
            Record::Given { .. } | Record::Part { .. } => {}
            // Each one by name: a kind of record that nobody has thought of here would be lost.
            Record::FolderAdded { .. }
            | Record::FolderRenamed { .. }
            | Record::FolderRemoved { .. }
            | Record::MessageAdded { .. }
            | Record::FlagsSet { .. }
            | Record::Expunged { .. }
            | Record::MessagesAre { .. }
            | Record::FlagsAre { .. }
            | Record::MessagesGone { .. }
            | Record::FolderIs { .. }
            | Record::FoldersGone { .. } => self.mail(state, record, serial),
        }
    }

    fn mail(&mut self, state: &State, record: &Record, serial: Serial) {
        match record {
            Record::FolderAdded { account, folder, .. }
            | Record::FolderRenamed { account, folder, .. }
            | Record::FolderIs { account, folder, .. } => {
                self.folders.insert((*account, *folder));
            }
            Record::FolderRemoved { account, folder } => {
                self.folders_gone.insert((*account, *folder));
            }
            Record::FoldersGone { account, folders } => {
                self.folders_gone.extend(folders.iter().map(|(first, _)| (*account, *first)));
            }
            Record::MessageAdded { account, folder, uid, .. } => {
                self.message(state, (*account, *folder), *uid, serial);
            }
            Record::MessagesAre { account, folder, messages } => {
                for message in messages {
                    self.message(state, (*account, *folder), message.uid, message.serial);
                }
            }
            Record::FlagsSet { account, folder, groups } => {
                let place = (*account, *folder);
                groups.iter().for_each(|(_, uids)| self.flags(state, place, uids, serial));
            }
            Record::FlagsAre { account, folder, groups } => {
                let place = (*account, *folder);
                groups.iter().for_each(|(serial, _, uids)| self.flags(state, place, uids, *serial));
            }
            Record::Expunged { account, folder, uids } | Record::MessagesGone { account, folder, uids } => {
                let place = (*account, *folder);
                if let Some(found) = folder_of(state, place) {
                    let gaps = uids.0.iter().map(|range| gap(found, *range));
                    self.gone.entry(place).or_default().extend(gaps);
                    if matches!(record, Record::Expunged { .. }) && found.serial == serial {
                        self.folders.insert(place);
                    }
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, state: &State, place: Place, uid: Uid, serial: Serial) {
        let Some(folder) = folder_of(state, place) else { return };
        if folder.live_at(uid).is_some() {
            self.messages.entry(place).or_default().insert(uid);
        }
        if folder.serial == serial || folder.uid_next.0 == uid.0.saturating_add(1) {
            self.folders.insert(place);
        }
    }

    fn flags(&mut self, state: &State, place: Place, uids: &UidSet, serial: Serial) {
        let Some(folder) = folder_of(state, place) else { return };
        for (first, last) in &uids.0 {
            let within = folder.messages.range(*first, *last);
            let newest = within.filter(|message| !message.expunged() && message.serial == serial);
            let uids: Vec<Uid> = newest.map(|message| message.uid).collect();
            if !uids.is_empty() {
                self.flags.entry(place).or_default().extend(uids);
            }
        }
        if folder.serial == serial {
            self.folders.insert(place);
        }
    }

    /// What is true of all that. Accounts before folders before messages, for whoever reads it.
    fn copies(self, state: &State) -> Vec<Record> {
        let mut copies = Vec::new();
        self.settings(state, &mut copies);
        for account in &self.accounts_gone {
            if !state.accounts.contains_key(account) {
                let gaps = number_gap(account.0, state.account_last.0, state.accounts.keys().map(|id| id.0));
                let range = (AccountId(gaps.0), AccountId(gaps.1));
                copies.push(Record::AccountsGone(vec![range]));
            }
        }
        let known = |account: &&AccountId| state.accounts.contains_key(account);
        for account in self.accounts.iter().filter(known).filter_map(|account| state.accounts.get(account)) {
            copies.extend(account_is(state, account));
        }
        for account in self.keywords.iter().filter_map(|account| state.accounts.get(account)) {
            copies.push(Record::KeywordsAre { account: account.id, names: account.keywords.clone() });
        }
        for account in self.subscriptions.iter().filter_map(|account| state.accounts.get(account)) {
            let names = account.subscriptions.iter().cloned().collect();
            copies.push(Record::SubscriptionsAre { account: account.id, names });
        }
        for place in &self.folders_gone {
            let Some(account) = state.accounts.get(&place.0) else { continue };
            if !account.folders.contains_key(&place.1) {
                let used = account.folders.keys().map(|id| id.0);
                let (first, last) = number_gap(place.1.0, account.folder_last.0, used);
                let folders = vec![(FolderId(first), FolderId(last))];
                copies.push(Record::FoldersGone { account: account.id, folders });
            }
        }
        for place in &self.folders {
            copies.extend(folder_of(state, *place).map(|folder| folder_is(place.0, folder)));
        }
        copies.dedup();
        self.messages(state, &mut copies);
        copies
    }

    fn settings(&self, state: &State, copies: &mut Vec<Record>) {
        let settings = &state.settings;
        if self.domains {
            copies.push(Record::DomainsAre(settings.domains.clone()));
        }
        for address in &self.aliases {
            copies.push(match settings.aliases.get(address) {
                Some(target) => Record::AliasAdded { address: address.clone(), target: target.clone() },
                None => Record::AliasRemoved(address.clone()),
            });
        }
        copies.extend(settings.admin.clone().filter(|_| self.admin).map(Record::AdminPassword));
        if let Some(certificate) = settings.certificate.as_ref().filter(|_| self.certificate) {
            let (chain, key) = (certificate.chain.clone(), certificate.key.clone());
            copies.push(Record::Certificate { chain, key });
        }
        let set = [
            self.network.then(|| Record::Network(settings.network.clone())),
            self.host.then(|| Record::HostName(settings.host.clone())),
            self.time_servers.then(|| Record::TimeServers(settings.time_servers.clone())),
            self.language.then_some(Record::Language(settings.language)),
            state.clock.filter(|_| self.clock).map(Record::Clock),
        ];
        copies.extend(set.into_iter().flatten());
        if !self.history.is_empty() {
            copies.extend(settings.history.tell(|number| self.history.contains(&number)));
        }
    }

    fn messages(&self, state: &State, copies: &mut Vec<Record>) {
        for ((account, id), uids) in &self.messages {
            let Some(folder) = folder_of(state, (*account, *id)) else { continue };
            let present: Vec<Present> = uids.iter().filter_map(|uid| folder.live_at(*uid)).collect();
            for messages in present.chunks(PACKED) {
                copies.push(Record::MessagesAre {
                    account: *account,
                    folder: *id,
                    messages: messages.to_vec(),
                });
            }
        }
        for (place, uids) in &self.flags {
            let Some(folder) = folder_of(state, *place) else { continue };
            let whole = self.messages.get(place);
            let mut groups: BTreeMap<(Serial, u64), UidSet> = BTreeMap::new();
            let rest = uids.iter().filter(|uid| whole.is_none_or(|whole| !whole.contains(uid)));
            for message in rest.filter_map(|uid| folder.live_at(*uid)) {
                groups.entry((message.serial, message.flags.0)).or_default().push(message.uid);
            }
            let groups: Vec<_> = groups
                .into_iter()
                .flat_map(|((serial, flags), uids)| {
                    let parts: Vec<_> = uids.0.chunks(PACKED).map(|part| UidSet(part.to_vec())).collect();
                    parts.into_iter().map(move |uids| (serial, Flags(flags), uids))
                })
                .collect();
            let (account, folder) = *place;
            let ranges = |(_, _, uids): &(Serial, Flags, UidSet)| uids.0.len();
            let mut part = Vec::new();
            for group in groups {
                if part.iter().map(ranges).sum::<usize>() + ranges(&group) > PACKED && !part.is_empty() {
                    copies.push(Record::FlagsAre { account, folder, groups: std::mem::take(&mut part) });
                }
                part.push(group);
            }
            if !part.is_empty() {
                copies.push(Record::FlagsAre { account, folder, groups: part });
            }
        }
        for ((account, folder), gaps) in &self.gone {
            let gaps: Vec<(Uid, Uid)> = gaps.iter().copied().collect();
            for part in gaps.chunks(PACKED) {
                let uids = UidSet(part.to_vec());
                copies.push(Record::MessagesGone { account: *account, folder: *folder, uids });
            }
        }
    }
}

fn folder_of(state: &State, (account, folder): Place) -> Option<&Folder> {
    state.accounts.get(&account)?.folders.get(&folder)
}

/// The widest range around one in which the folder has no message.
fn gap(folder: &Folder, (first, _): (Uid, Uid)) -> (Uid, Uid) {
    let there = |message: &super::Message| !message.expunged();
    let before =
        (0..folder.messages.rank(first)).rev().filter_map(|index| folder.messages.get(index)).find(there);
    let behind = folder.messages.range(first, Uid(u32::MAX)).find(there);
    let first = before.map_or(Uid(1), |message| Uid(message.uid.0 + 1));
    let end = behind.map_or(folder.uid_next, |message| message.uid);
    (first, Uid(end.0.saturating_sub(1)))
}

/// The widest range around a number, from 1 to the last given out, in which none is in use.
fn number_gap(number: u32, last: u32, used: impl Iterator<Item = u32>) -> (u32, u32) {
    used.fold((1, last.max(number)), |(from, to), used| {
        if used < number { (from.max(used + 1), to) } else { (from, to.min(used.saturating_sub(1))) }
    })
}

pub(super) fn account_is(state: &State, account: &Account) -> Option<Record> {
    let (phc, _) = state.settings.passwords.get(&account.id)?;
    Some(Record::AccountIs {
        account: account.id,
        address: account.address.clone(),
        class: account.class,
        bucket_bytes: account.bucket_bytes,
        phc: phc.clone(),
        folder_last: account.folder_last,
    })
}

pub(super) fn folder_is(account: AccountId, folder: &Folder) -> Record {
    Record::FolderIs {
        account,
        folder: folder.id,
        name: folder.name.clone(),
        uid_validity: folder.uid_validity,
        special: folder.special,
        uid_next: folder.uid_next,
        serial: folder.serial,
    }
}

impl Folder {
    /// The message of this UID, if it is there.
    fn live_at(&self, uid: Uid) -> Option<Present> {
        let message = self.messages.find(uid).filter(|message| !message.expunged())?;
        Some(Present::from(&message))
    }
}
