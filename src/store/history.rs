//! Changes of the settings by commands: made as a whole, remembered, taken back.
//!
//! A command works on a [`Draft`]: a copy of the settings, on which the verbs check and record as they do on the state. When the command
//! has done all, the draft's records become one change with one serial, and beside them stands an entry of the [`History`]: the command, and
//! the records that take it back. So a command holds as a whole, at any power cut too, however many verbs it takes (`setup`, `load`),
//! and so may a list of commands.
//!
//! Entries are taken back newest first, so each meets the settings that it left. What cannot be taken back says so: a mailbox that has been
//! removed, one that has got mail, the first administrator's password. It refuses to remember passwords: it has their hashes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::record::Record;
use super::state::{Account, State};
use super::{Access, Certificate, Network, StoreError, bucket};
use crate::limits::{HISTORY_ENTRIES_MAX, HISTORY_RECORDS_MAX};
use crate::types::{AccountId, Position, Time};

/// Why a draft's change cannot be made now.
pub const CHANGED_MEANWHILE: &str =
    "somebody else has changed the settings at this moment; nothing has been changed: try again";
/// The same, of the room that it needs.
pub const FILLED_MEANWHILE: &str =
    "mail that has come in at this moment takes the room; nothing has been changed: try again";

/// Records of one part of an entry that is told.
const PART_RECORDS: usize = 64;

/// Who has made a change, in words, and when.
#[derive(Clone, Debug)]
pub struct Note {
    /// When.
    pub time: Time,
    /// The command as it is shown: without hashes.
    pub command: String,
}

/// A change that can be looked at, and perhaps be taken back.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number; never used again.
    pub number: u32,
    /// When it was made.
    pub time: Time,
    /// The command as it is shown.
    pub command: String,
    /// Whether the records of `back` undo all of it.
    pub undoable: bool,
    /// What takes it back, in this order.
    back: Vec<Arc<Record>>,
}

/// The newest changes.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    /// The highest number ever given.
    last: u32,
}

impl History {
    /// The entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many records tell of it.
    pub(super) fn record_count(&self) -> usize {
        self.entries.iter().map(|entry| 1 + entry.back.len()).sum()
    }

    /// Makes a fact true; again is the same as once. Facts of older entries may come after those of newer ones: compaction has copied them.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Changed { number, time, command, undoable } => {
                self.last = self.last.max(*number);
                let at = self.entries.partition_point(|entry| entry.number < *number);
                if self.entries.get(at).is_none_or(|entry| entry.number != *number) {
                    let (command, back) = (command.clone(), Vec::new());
                    let (number, time, undoable) = (*number, *time, *undoable);
                    self.entries.insert(at, Entry { number, time, command, undoable, back });
                }
            }
            Record::Back { number, nth, record } => {
                if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.number == *number)
                    && entry.back.len() == *nth as usize
                {
                    entry.back.push(Arc::new(Record::clone(record)));
                }
            }
            Record::Undone { from, to } => {
                self.last = self.last.max(*to);
                self.entries.retain(|entry| entry.number < *from || entry.number > *to);
            }
            _ => {}
        }
        let mut records: usize = self.entries.iter().map(|entry| entry.back.len()).sum();
        while self.entries.len() > 1
            && (self.entries.len() > HISTORY_ENTRIES_MAX || records > HISTORY_RECORDS_MAX)
        {
            records -= self.entries.pop_front().map_or(0, |entry| entry.back.len());
        }
    }

    /// All of it, or of its entries only those that are `wanted`: in any case which numbers are gone.
    pub(super) fn tell(&self, wanted: impl Fn(u32) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        let mut next = 1;
        for entry in &self.entries {
            let Entry { number, time, ref command, undoable, ref back } = *entry;
            if next < number {
                records.push(Record::Undone { from: next, to: number - 1 });
            }
            next = number + 1;
            if wanted(number) {
                records.push(Record::Changed { number, time, command: command.clone(), undoable });
                let numbered = back.iter().zip(0..);
                records.extend(numbered.map(|(record, nth)| {
                    let record = Box::new(Record::clone(record));
                    Record::Back { number, nth, record }
                }));
            }
        }
        if next <= self.last {
            records.push(Record::Undone { from: next, to: self.last });
        }
        records
    }

    /// A part of it for who begins with nothing: of the first entry from this number on, its records from that one on; and where it goes on.
    /// None: all has been told.
    pub(super) fn part(&self, from: (u32, usize)) -> Option<(Vec<Record>, (u32, usize))> {
        let Some(entry) = self.entries.iter().find(|entry| entry.number >= from.0) else {
            let gone = Record::Undone { from: from.0, to: self.last };
            return (from.0 <= self.last).then(|| (vec![gone], (self.last.saturating_add(1), 0)));
        };
        let number = entry.number;
        let told = if number == from.0 { from.1 } else { 0 };
        let whole = History { entries: [entry.clone()].into(), last: number }.tell(|_| true);
        let own = whole.into_iter().filter(|record| !matches!(record, Record::Undone { .. }));
        let records: Vec<Record> = own.skip(told).take(PART_RECORDS).collect();
        let next =
            if records.len() < PART_RECORDS { (number + 1, 0) } else { (number, told + records.len()) };
        Some((records, next))
    }
}

/// A change in the making.
pub struct Draft {
    pub(super) state: State,
    /// The settings that it was begun on.
    base: Position,
    records: Vec<Record>,
    /// What takes each record back.
    back: Vec<Vec<Record>>,
    undoable: bool,
}

impl Draft {
    /// On the settings as they are; the accounts have no folders there.
    pub(super) fn begin(state: &State) -> Draft {
        let accounts = state.accounts.values().map(|account| (account.id, without_mail(account))).collect();
        let state = State {
            serial: state.serial,
            settings: state.settings.clone(),
            accounts,
            uid_validity: state.uid_validity,
            account_last: state.account_last,
            ..State::default()
        };
        let base = state.settings.position;
        Draft { state, base, records: Vec::new(), back: Vec::new(), undoable: true }
    }

    pub(super) fn record(&mut self, records: &[Record]) {
        for record in records {
            match inverse(&self.state, record) {
                Some(back) => self.back.push(back),
                None => self.undoable = false,
            }
            self.state.apply(record, self.state.serial, self.base);
            self.records.push(record.clone());
        }
    }

    /// Whether it changes what could lock its maker out: the network, or what TLS shows.
    pub fn is_risky(&self) -> bool {
        self.records.iter().any(|record| matches!(record, Record::Network(_) | Record::Certificate { .. }))
    }

    /// The records of the change and of its entry in the history.
    fn with_entry(self, note: Note, number: u32) -> Vec<Record> {
        let back: Vec<Record> = self.back.into_iter().rev().flatten().collect();
        let undoable = self.undoable && !back.is_empty();
        let mut records = self.records;
        records.push(Record::Changed { number, time: note.time, command: note.command, undoable });
        if undoable {
            let framed = back.into_iter().zip(0..);
            records.extend(framed.map(|(record, nth)| Record::Back {
                number,
                nth,
                record: Box::new(record),
            }));
        }
        records
    }
}

fn without_mail(account: &Account) -> Account {
    Account {
        id: account.id,
        address: account.address.clone(),
        class: account.class,
        bucket_bytes: account.bucket_bytes,
        used_bytes: account.used_bytes,
        position: account.position,
        serial: account.serial,
        folders: Default::default(),
        subscriptions: Default::default(),
        keywords: Vec::new(),
        folder_last: account.folder_last,
        reserved_bytes: Arc::clone(&account.reserved_bytes),
        pop3: Arc::clone(&account.pop3),
        known: account.known,
    }
}

/// What takes a record back that is about to be applied; None if nothing can.
fn inverse(state: &State, record: &Record) -> Option<Vec<Record>> {
    let settings = &state.settings;
    let back = match record {
        Record::DomainAdded(domain) => vec![Record::DomainRemoved(domain.clone())],
        Record::DomainRemoved(domain) => {
            // The first domain names the box: it must come back to its place, which is before those that follow.
            let behind = settings.domains.iter().skip_while(|known| *known != domain).skip(1);
            let again = behind
                .flat_map(|later| [Record::DomainRemoved(later.clone()), Record::DomainAdded(later.clone())]);
            [Record::DomainAdded(domain.clone())].into_iter().chain(again).collect()
        }
        Record::AccountAdded { account, .. } => vec![Record::AccountRemoved(*account)],
        Record::AccountPassword { account, .. } => {
            let (phc, _) = settings.passwords.get(account)?.clone();
            vec![Record::AccountPassword { account: *account, phc }]
        }
        Record::AccountSize { account, .. } => {
            let Account { id, class, bucket_bytes, .. } = state.accounts.get(account)?;
            vec![Record::AccountSize { account: *id, class: *class, bucket_bytes: *bucket_bytes }]
        }
        Record::AliasAdded { address, .. } => vec![Record::AliasRemoved(address.clone())],
        Record::AliasRemoved(address) => {
            let target = settings.aliases.get(address)?.clone();
            vec![Record::AliasAdded { address: address.clone(), target }]
        }
        // A box keeps an administrator.
        Record::AdminPassword(_) => settings.admin.clone().map(Record::AdminPassword).into_iter().collect(),
        Record::Certificate { .. } => {
            let known = settings.certificate.as_ref();
            let known =
                known.map(|known| Record::Certificate { chain: known.chain.clone(), key: known.key.clone() });
            known.into_iter().collect()
        }
        Record::Network(_) => vec![Record::Network(settings.network.clone())],
        Record::HostName(_) => vec![Record::HostName(settings.host.clone())],
        Record::TimeServers(_) => vec![Record::TimeServers(settings.time_servers.clone())],
        Record::Language(_) => vec![Record::Language(settings.language)],
        // They come and go with their account.
        Record::FolderAdded { .. } | Record::Subscribed { .. } => Vec::new(),
        _ => return None,
    };
    Some(back)
}

/// A change that is in force and not in the log: it ends with the process, if nobody keeps it before.
pub struct Trial {
    /// Tells it from others.
    pub number: u32,
    /// The command as it is shown.
    pub command: String,
    records: Vec<Record>,
    pub(super) network: Network,
    pub(super) certificate: Option<Arc<Certificate>>,
}

/// Why changes are not taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotUndone {
    /// There is no such entry.
    Missing,
    /// This one cannot be taken back: its number and its command.
    Forever(u32, String),
    /// It added this mailbox, which has mail.
    Mail(u32, String),
    /// The buckets that it would bring back do not fit.
    Room(u32),
    /// The medium's.
    Store(StoreError),
}

impl Access<'_> {
    /// Makes a draft's change, as a whole.
    ///
    /// # Errors
    /// `Cannot` if somebody else has changed the settings meanwhile, or mail has come in where the draft has made a bucket smaller, and another
    /// has got the room; the medium's.
    pub fn adopt(&mut self, draft: Draft, note: Note) -> Result<(), StoreError> {
        if self.store.state.settings.position != draft.base {
            return Err(StoreError::Cannot(CHANGED_MEANWHILE));
        }
        if self.oversells(&draft.state) {
            return Err(StoreError::Cannot(FILLED_MEANWHILE));
        }
        let number = self.store.state.settings.history.last + 1;
        let risky = draft.is_risky();
        let mut records = draft.with_entry(note, number);
        // Folders may have been made since the draft began.
        let mut last = self.store.state.uid_validity;
        for record in &mut records {
            if let Record::FolderAdded { uid_validity, .. } = record {
                last = super::folders::next_uid_validity(last);
                *uid_validity = last;
            }
        }
        self.record(AccountId::SETTINGS, &records)?;
        self.store.expired = None;
        if risky {
            // The newest word counts.
            self.store.trial = None;
        }
        Ok(())
    }

    /// Whether more would be promised with these buckets than there is, and more than now.
    fn oversells(&self, after: &State) -> bool {
        let now = &self.store.state;
        let promised = bucket::promised(after, now);
        promised > self.store.room && promised > bucket::promised(now, now)
    }

    /// Puts a draft's change into force without recording it.
    ///
    /// # Errors
    /// `Exists`: another one is on trial.
    pub fn try_out(&mut self, draft: Draft, command: String) -> Result<(), StoreError> {
        if self.store.trial.is_some() {
            return Err(StoreError::Exists);
        }
        self.store.expired = None;
        self.store.trials += 1;
        self.store.trial = Some(Trial {
            number: self.store.trials,
            command,
            records: draft.records,
            network: draft.state.settings.network,
            certificate: draft.state.settings.certificate,
        });
        Ok(())
    }

    /// What is on trial.
    pub fn trial(&self) -> Option<&Trial> {
        self.store.trial.as_ref()
    }

    /// The certificate that will be in force when all is durable: the draft's, what is on trial, or the settings'.
    pub fn certificate(&mut self) -> Option<Arc<Certificate>> {
        let drafted = self.settings().certificate.clone();
        let settings = self.store.state.settings.certificate.as_ref();
        if drafted.as_ref().map(Arc::as_ptr) == settings.map(Arc::as_ptr) {
            self.store.certificate().cloned()
        } else {
            drafted
        }
    }

    /// The command that has gone back because nobody kept it in time, if nothing has been changed since.
    pub fn expired(&self) -> Option<&str> {
        self.store.expired.as_deref()
    }

    /// The same, told this once.
    pub fn take_expired(&mut self) -> Option<String> {
        self.store.expired.take()
    }

    /// Ends the trial without keeping it; the command that was on trial.
    pub fn end_trial(&mut self) -> Option<String> {
        self.store.trial.take().map(|trial| trial.command)
    }

    /// Records what is on trial; its command.
    ///
    /// # Errors
    /// `Missing`, and the medium's: it stays on trial.
    pub fn keep(&mut self, time: Time) -> Result<String, StoreError> {
        let trial = self.store.trial.as_ref().ok_or(StoreError::Missing)?;
        let command = trial.command.clone();
        let mut draft = Draft::begin(&self.store.state);
        draft.record(&trial.records);
        self.adopt(draft, Note { time, command: command.clone() })?;
        Ok(command)
    }

    /// Takes the entries from this number on back, all or none; their commands, newest first.
    ///
    /// # Errors
    /// Which entry stands in the way, and why.
    pub fn undo(&mut self, from: u32) -> Result<Vec<String>, NotUndone> {
        let history = &self.store.state.settings.history;
        if !history.entries().any(|entry| entry.number == from) {
            return Err(NotUndone::Missing);
        }
        let (mut records, mut commands) = (Vec::new(), Vec::new());
        for entry in history.entries().rev().take_while(|entry| entry.number >= from) {
            if !entry.undoable {
                return Err(NotUndone::Forever(entry.number, entry.command.clone()));
            }
            for record in &entry.back {
                if let Record::AccountRemoved(account) = &**record
                    && let Some(account) = self.store.state.accounts.get(account)
                    && (account.reserved_bytes() > 0
                        || account.folders.values().any(|folder| !folder.messages.is_empty()))
                {
                    return Err(NotUndone::Mail(entry.number, account.address.clone()));
                }
                records.push(Record::clone(record));
            }
            commands.push(entry.command.clone());
        }
        let mut after = Draft::begin(&self.store.state);
        after.record(&records);
        if self.oversells(&after.state) {
            return Err(NotUndone::Room(from));
        }
        let risky = after.is_risky();
        records.push(Record::Undone { from, to: self.store.state.settings.history.last });
        self.record(AccountId::SETTINGS, &records).map_err(NotUndone::Store)?;
        self.store.expired = None;
        if risky {
            // The newest word counts: what is on trial was made of what has just been taken back.
            self.store.trial = None;
        }
        Ok(commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settings;
    use crate::types::{Class, Language};

    fn changed(number: u32, backs: u32) -> Vec<Record> {
        let (time, command) = (Time(i64::from(number)), format!("change {number}"));
        let entry = Record::Changed { number, time, command, undoable: true };
        let back = |nth| Record::Back {
            number,
            nth,
            record: Box::new(Record::AliasRemoved(format!("{number}.{nth}@example.test"))),
        };
        [entry].into_iter().chain((0..backs).map(back)).collect()
    }

    fn numbers(history: &History) -> Vec<u32> {
        history.entries().map(|entry| entry.number).collect()
    }

    #[test]
    fn the_history_is_bounded_and_what_comes_again_changes_nothing() {
        let mut history = History::default();
        let all: Vec<Record> = (1..=60).flat_map(|number| changed(number, 3)).collect();
        all.iter().for_each(|record| history.apply(record));
        assert_eq!(numbers(&history), (11..=60).collect::<Vec<_>>());
        all.iter().for_each(|record| history.apply(record));
        assert_eq!(numbers(&history), (11..=60).collect::<Vec<_>>());
        assert!(history.entries().all(|entry| entry.back.len() == 3));
        history.apply(&Record::Undone { from: 59, to: 60 });
        changed(61, 1).iter().for_each(|record| history.apply(record));
        history.apply(&Record::Undone { from: 61, to: 61 });
        changed(62, 1).iter().for_each(|record| history.apply(record));
        // What is told says the same, behind whatever is left of what was said before; and numbers are not used again.
        let told = history.tell(|_| true);
        for before in [&[][..], &all, &told] {
            let mut again = History::default();
            before.iter().chain(&told).for_each(|record| again.apply(record));
            assert_eq!((numbers(&again), again.last), (numbers(&history), 62));
            assert!(again.entries().zip(history.entries()).all(|(one, other)| one.back == other.back));
        }
        // One that is large pushes the others out, and stays.
        changed(63, HISTORY_RECORDS_MAX as u32 + 1).iter().for_each(|record| history.apply(record));
        assert_eq!(numbers(&history), [63]);
    }

    #[test]
    fn what_takes_changes_back_leaves_what_was_before() {
        let mut state = State::default();
        let apply = |state: &mut State, record: &Record| state.apply(record, state.serial, Position(0));
        for domain in ["one.test", "two.test", "three.test"] {
            apply(&mut state, &Record::DomainAdded(String::from(domain)));
        }
        let account = AccountId(1);
        let (class, phc) = (Class::S, String::from("first"));
        let (address, bucket_bytes) = (String::from("anna@two.test"), 16 << 20);
        apply(&mut state, &Record::AccountAdded { account, address, class, bucket_bytes, phc });
        let told = |state: &State| {
            let accounts: Vec<_> =
                state.accounts.values().map(|account| (account.id, account.class)).collect();
            let Settings { domains, aliases, passwords, network, host, time_servers, language, .. } =
                &state.settings;
            let phcs: Vec<_> = passwords.values().map(|(phc, _)| phc.clone()).collect();
            format!(
                "{domains:?} {aliases:?} {phcs:?} {network:?} {host} {time_servers:?} {language:?} {accounts:?}"
            )
        };
        let before = told(&state);
        let mut draft = Draft::begin(&state);
        draft.record(&[
            Record::DomainRemoved(String::from("one.test")),
            Record::AccountPassword { account, phc: String::from("second") },
            Record::AccountSize { account, class: Class::L, bucket_bytes: 64 << 20 },
            Record::AliasAdded {
                address: String::from("info@two.test"),
                target: String::from("anna@two.test"),
            },
            Record::Network(Network { dns: vec![[192, 0, 2, 1].into()], ..Network::default() }),
            Record::HostName(String::from("box.two.test")),
            Record::TimeServers(vec![String::from("time.test")]),
            Record::Language(Language::German),
        ]);
        assert_ne!(told(&draft.state), before);
        assert_eq!(told(&state), before, "a draft is a copy");
        let mut after = State { settings: draft.state.settings.clone(), ..State::default() };
        after.accounts =
            draft.state.accounts.values().map(|account| (account.id, without_mail(account))).collect();
        let note = Note { time: Time(0), command: String::new() };
        for record in draft.with_entry(note, 1) {
            if let Record::Back { record, .. } = record {
                apply(&mut after, &record);
            }
        }
        assert_eq!(told(&after), before);
        let mut removal = Draft::begin(&state);
        removal.record(&[Record::AccountRemoved(account)]);
        assert!(!removal.undoable);
    }
}
