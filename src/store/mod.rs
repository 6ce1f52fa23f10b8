//! The mailbox engine: what the office's mail is, and the verbs that change it.
//!
//! It speaks no protocol and does no I/O: a verb checks, makes records, hands them to the journal and applies them to the state
//! with the same `State::apply` that replays them at boot. Nothing is durable when a verb returns; the gate sees to that.
//!
//! - [`Shared`]: the store behind its one lock. Sessions come in through [`Access`], which notes what they have touched.
//! - [`state`]: accounts, folders, messages in memory; `apply`.
//! - [`packed`]: a folder's messages, in little memory.
//! - [`view`]: what one session has been told of a folder.
//! - [`record`]: the facts, as the journal keeps them.
//! - [`settings`], [`folders`], [`mail`]: the verbs, by what they change.
//! - [`compact`]: what is still to be said of a segment that is freed; `copies`: what that means to whoever reads it.
//! - [`history`]: changes of the settings as a whole, and back again; [`network`]: what is set of it.
//! - `tell`: everything that is true, in portions; [`snapshot`](self): when that is written.
//! - [`bucket`]: how much a mailbox may hold and what a message costs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::journal::{AppendError, Bodies, Event, Journal, OpenError, Payload, Pressure, Report};
use crate::limits::{CHANGE_BYTES_MAX, COMPACTION_STEP_BYTES};
use crate::types::{AccountId, BodyId, Position, Serial, Time};

pub mod bucket;
mod compact;
mod copies;
mod folders;
mod heirs;
pub mod history;
mod mail;
mod messages;
pub mod network;
pub mod packed;
mod parts;
pub mod record;
mod restore;
mod rows;
mod settings;
mod snapshot;
pub mod state;
mod tell;
pub mod view;

pub use bucket::Reservation;
pub use compact::Step;
pub use folders::Pop3Lock;
pub use history::{
    CHANGED_MEANWHILE, Draft, Entry as Change, FILLED_MEANWHILE, History, NotUndone, Note, Trial,
};
pub use mail::{Copied, FlagsSet, NewMessage, Which};
pub use network::Network;
pub use restore::{Restored, restore, room as restore_room};
pub use settings::{Credentials, Recipient};
pub use state::{Account, Certificate, Folder, Message, Settings, State};
pub use view::{Entry, Told, View};

use record::Record;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod openings;
#[cfg(test)]
mod rot;
#[cfg(test)]
pub(crate) mod storm;
#[cfg(test)]
mod tests;

/// Why a verb did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The mailbox's bucket is full: `552 5.2.2`, `NO [OVERQUOTA]`.
    OverQuota,
    /// The message is larger than any that this mailbox takes: `552 5.3.4`, `NO [TOOBIG]`.
    TooBig,
    /// The medium has no room: `452 4.3.1`, `NO [UNAVAILABLE]`. Not the user's fault.
    NoSpace,
    /// A flush failed for good; the owner must act: `452 4.3.1`, `NO [UNAVAILABLE]`.
    ReadOnly,
    /// A fixed maximum is reached (`NO [LIMIT]`, RFC 5530); says which.
    Limit(&'static str),
    /// There is one of that name already (`NO [ALREADYEXISTS]`).
    Exists,
    /// There is none of that name, or it has been removed (`NO [NONEXISTENT]`).
    Missing,
    /// It may not be done to this one; says why (`NO [CANNOT]`).
    Cannot(&'static str),
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> StoreError {
        match error {
            AppendError::Full => StoreError::NoSpace,
            AppendError::ReadOnly => StoreError::ReadOnly,
            AppendError::TooLarge => StoreError::Limit("change too large for the log"),
        }
    }
}

/// Why a piece of a message could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// No such message, or no such offset in it.
    Missing,
    /// The medium gives other bytes than were written, or none. Nothing wrong is ever sent.
    Damaged,
}

/// The store: the journal and the state that is folded from it.
pub struct Store {
    journal: Journal,
    state: State,
    next_body: u64,
    /// Messages that are coming in, and whether somebody still sends them.
    incoming: Vec<(BodyId, Weak<()>)>,
    /// Bytes that all buckets together may promise.
    room: u64,
    /// What is in force and not recorded.
    trial: Option<Trial>,
    /// The command that was on trial last, if nobody has kept it in time; until the next change.
    expired: Option<String>,
    /// How many there have been.
    trials: u32,
    /// How far a snapshot has been told; None: none is being written.
    telling: Option<tell::Teller>,
    /// Nothing was missing when the store was opened, and nothing unknown: only then may a snapshot stand for what it was.
    sound: bool,
}

impl Store {
    /// Opens the journal and replays it. `random` fills with unpredictable bytes.
    ///
    /// # Errors
    /// No store there, a store of a later format, or the medium cannot be read.
    pub fn open(
        device: Arc<dyn crate::device::Device>,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(Store, Report), OpenError> {
        let mut state = State::default();
        let (mut journal, report) = Journal::open(device, random, &mut |event| match event {
            Event::Record(found) => state.replay(found.serial, found.position, found.payload),
            Event::Forget => state = State::default(),
        })?;
        let next_body = state.settle(&mut journal);
        let room = bucket::room(&journal);
        let sound = !report.is_damaged() && report.unknown_frames == 0 && state.unread_records == 0;
        let incoming = Vec::new();
        let (trial, expired, trials, telling) = (None, None, 0, None);
        let store =
            Store { journal, state, next_body, incoming, room, trial, expired, trials, telling, sound };
        Ok((store, report))
    }

    /// The journal, for the committer and for reading pieces.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The journal, for the committer.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The state, for `check` and tests: reading it here passes the gate by.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The network's settings that are in force: what is on trial, too.
    pub fn network(&self) -> &Network {
        self.trial.as_ref().map_or(&self.state.settings.network, |trial| &trial.network)
    }

    /// The certificate that is in force: what is on trial, too.
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        let settings = self.state.settings.certificate.as_ref();
        self.trial.as_ref().map_or(settings, |trial| trial.certificate.as_ref())
    }

    /// The trial's number.
    pub fn trial_number(&self) -> Option<u32> {
        self.trial.as_ref().map(|trial| trial.number)
    }

    /// Ends the trial of this number, if it is still that one: nobody has kept it in time.
    pub fn end_trial(&mut self, number: u32) {
        if self.trial_number() == Some(number) {
            self.expired = self.trial.take().map(|trial| trial.command);
        }
    }

    /// Notes how late it is, for the next start of a machine whose clock stops with the power.
    ///
    /// # Errors
    /// `NoSpace` and `ReadOnly`.
    pub fn save_clock(&mut self, now: Time) -> Result<(), StoreError> {
        self.record(AccountId::SETTINGS, &[Record::Clock(now)]).map(drop)
    }

    /// Hands a piece of a message to the journal.
    ///
    /// # Errors
    /// `NoSpace` and `ReadOnly`.
    pub fn append_piece(
        &mut self,
        body: BodyId,
        piece: u16,
        payload: impl Into<Payload>,
    ) -> Result<(), StoreError> {
        self.journal.append_body(AccountId::SETTINGS, body, piece, payload)?;
        Ok(())
    }

    /// Commits everything pending here and now, and frees segments where they are short. serve has a thread for this; tests and the
    /// offline console have not.
    ///
    /// # Errors
    /// The medium's, after the second try.
    pub fn commit(&mut self) -> std::io::Result<()> {
        // Enough for a few segments: whoever cannot be given room now is told so.
        let steps = 64 + 8 * self.journal.superblock().segment_bytes as usize / COMPACTION_STEP_BYTES;
        self.commit_pending()?;
        for _ in 0..steps {
            match self.compact_here(Pressure::High) {
                Step::Done if !self.is_worth_a_flush() => continue,
                Step::Done => {}
                Step::Stuck | Step::Nothing if self.journal.pending_bytes() > 0 => {}
                Step::Stuck | Step::Nothing => break,
            }
            self.commit_pending()?;
        }
        self.tell_snapshot();
        self.commit_pending()
    }

    fn commit_pending(&mut self) -> std::io::Result<()> {
        while let Some(mut batch) = self.journal.take() {
            let result = batch.write(&**self.journal.device());
            let error =
                result.as_ref().err().map(|error| std::io::Error::new(error.kind(), error.to_string()));
            if let (crate::journal::Finish::Failed, Some(error)) = (self.journal.finish(batch, result), error)
            {
                return Err(error);
            }
            for (offset, length) in self.journal.take_discardable() {
                // A hint: what comes of it is no matter.
                let _told = self.journal.device().discard(offset, length);
            }
        }
        Ok(())
    }

    /// After `Finish::Failed`: makes the state, and what is known of bodies, again from what is durable. The journal stays read-only.
    ///
    /// # Errors
    /// The medium cannot be read. The state is left as it was; the gate hides what was never durable.
    pub fn fall_back(&mut self) -> Result<(), OpenError> {
        let mut state = State::succeeding(&self.state);
        let former = &self.state;
        self.journal.read_again(&mut |event| match event {
            Event::Record(found) => state.replay(found.serial, found.position, found.payload),
            Event::Forget => state = State::succeeding(former),
        })?;
        state.settle(&mut self.journal);
        self.state = state;
        Ok(())
    }

    /// Lets go of what sessions that have ended have left in the state.
    pub fn forget_ended(&mut self) {
        let folders = self.state.accounts.values_mut().flat_map(|account| account.folders.values_mut());
        folders.for_each(state::Folder::forget_views);
    }

    /// Commits everything pending, and that it has been: for the end of a process. Nothing is written if nothing has been since the last.
    ///
    /// # Errors
    /// The medium's, or it is full or read-only: what was acknowledged is durable all the same.
    pub fn close(&mut self) -> std::io::Result<()> {
        self.journal.append_witness().map_err(std::io::Error::other)?;
        self.commit_pending()
    }

    /// Records a change: one serial, applied at once; one frame, unless it is larger than one.
    fn record(&mut self, account: AccountId, records: &[Record]) -> Result<Serial, StoreError> {
        let serial = Serial(self.state.serial.0 + 1);
        let payloads = parts::encode_within(records, self.journal.superblock().payload_bytes_max());
        if payloads.iter().map(Vec::len).sum::<usize>() > CHANGE_BYTES_MAX {
            return Err(AppendError::TooLarge.into());
        }
        let position = self.journal.append_records(account, serial, payloads)?;
        for record in records {
            self.state.apply(record, serial, position);
        }
        self.state.effects(&mut self.journal);
        Ok(serial)
    }
}

/// What a check finds of a store.
pub struct Examined {
    /// What the records that are left say.
    pub state: State,
    /// What is wrong with the journal.
    pub report: Report,
    /// Which frames of messages there are.
    pub bodies: Bodies,
}

/// Reads and verifies everything, and changes nothing.
///
/// # Errors
/// As [`Store::open`].
pub fn examine(device: &dyn crate::device::Device) -> Result<Examined, OpenError> {
    let mut state = State::default();
    let (report, bodies) = crate::journal::examine(device, &mut |found| {
        state.replay(found.serial, found.position, found.payload);
    })?;
    state.complete();
    Ok(Examined { state, report, bodies })
}

/// The store behind its lock, shared by all sessions and the committer.
pub struct Shared {
    store: Mutex<Store>,
    work: Work,
}

/// What the committer waits for: something that somebody waits for. Pieces alone are not; their message's record is.
#[derive(Default)]
struct Work {
    due: AtomicBool,
    announced: Condvar,
}

impl Work {
    /// Under the store's lock, or the committer could miss it.
    fn announce(&self) {
        self.due.store(true, Ordering::Relaxed);
        self.announced.notify_one();
    }
}

impl Shared {
    /// Shares a store.
    pub fn new(store: Store) -> Shared {
        Shared { store: Mutex::new(store), work: Work::default() }
    }

    /// The store, past the gate: for serve, `check` and tests.
    ///
    /// A panic in `apply` or the journal aborts the process, so a poisoned lock is a session's panic outside of them.
    pub fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store for one step of a session. Everything that is touched raises `needs`.
    pub fn access<'a>(&'a self, needs: &'a mut Position) -> Access<'a> {
        Access { store: self.lock(), needs, work: &self.work, recorded: false, draft: None }
    }

    /// The same for a command: what it changes of the settings is a draft, which it sees and nobody else.
    pub fn drafting<'a>(&'a self, needs: &'a mut Position, draft: &'a mut Option<Draft>) -> Access<'a> {
        Access { store: self.lock(), needs, work: &self.work, recorded: false, draft: Some(draft) }
    }

    /// Tells the committer that what is pending should be written now. To be called under the store's lock.
    pub fn announce(&self) {
        self.work.announce();
    }

    /// Whether somebody waits for what is pending. Under the store's lock.
    pub fn is_due(&self) -> bool {
        self.work.due.load(Ordering::Relaxed)
    }

    /// Waits until a commit is due or `stop` says so; the committer's place to sleep. Wake it with `announce`. Also ends, and then says true,
    /// when nothing has been written for that long and no witness says so yet.
    pub fn wait_for_work(&self, stop: &dyn Fn() -> bool, idle: Duration) -> (MutexGuard<'_, Store>, bool) {
        let mut store = self.lock();
        while !self.work.due.swap(false, Ordering::Relaxed) && !stop() {
            if store.journal.is_witnessed() || store.journal.read_only() {
                store = self.work.announced.wait(store).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited =
                self.work.announced.wait_timeout(store, idle).unwrap_or_else(PoisonError::into_inner);
            store = waited.0;
            if waited.1.timed_out() && !self.work.due.load(Ordering::Relaxed) {
                return (store, true);
            }
        }
        (store, false)
    }
}

/// A message that is coming in: pieces of one that nobody sends any more, and that nobody has got, are not kept.
#[derive(Debug)]
pub struct NewBody {
    body: BodyId,
    _alive: Option<Arc<()>>,
}

impl NewBody {
    /// Its identity.
    pub fn id(&self) -> BodyId {
        self.body
    }
}

/// Kept until the store is opened again, whatever becomes of its sender.
impl From<BodyId> for NewBody {
    fn from(body: BodyId) -> NewBody {
        NewBody { body, _alive: None }
    }
}

/// The store in the hands of one session, for one step. Its verbs are in `settings`, `folders` and `mail`.
pub struct Access<'a> {
    store: MutexGuard<'a, Store>,
    needs: &'a mut Position,
    work: &'a Work,
    /// Whether a commit is due when this is over.
    recorded: bool,
    /// Where changes of the settings go instead of into the log.
    draft: Option<&'a mut Option<Draft>>,
}

impl Access<'_> {
    /// The state as this session sees it.
    fn state(&self) -> &State {
        match &self.draft {
            Some(Some(draft)) => &draft.state,
            _ => &self.store.state,
        }
    }

    /// Notes that the session has seen everything up to here.
    fn touch(&mut self, position: Position) {
        *self.needs = (*self.needs).max(position);
    }

    /// Records a change on behalf of the session.
    fn record(&mut self, account: AccountId, records: &[Record]) -> Result<Serial, StoreError> {
        if let Some(draft) = &mut self.draft {
            draft.get_or_insert_with(|| Draft::begin(&self.store.state)).record(records);
            return Ok(self.store.state.serial);
        }
        let serial = self.store.record(account, records)?;
        self.recorded = true;
        let last = self.store.journal.last();
        self.touch(last);
        Ok(serial)
    }

    /// The settings: domains, addresses, aliases, certificate. What accounts hold is behind [`Access::account`].
    pub fn settings(&mut self) -> &Settings {
        let position = self.store.state.settings.position;
        self.touch(position);
        &self.state().settings
    }

    /// An account with all its folders.
    pub fn account(&mut self, account: AccountId) -> Option<&Account> {
        let position = self.state().accounts.get(&account)?.position;
        self.touch(position);
        self.state().accounts.get(&account)
    }

    /// A new message's identity; its pieces go to the journal by `Next::Store`.
    pub fn new_body(&mut self) -> BodyId {
        let body = BodyId(self.store.next_body);
        self.store.next_body += 1;
        body
    }

    /// As [`Access::new_body`], for a message whose sender may go away in the middle: its pieces are kept as long as this lives.
    pub fn incoming(&mut self) -> NewBody {
        if self.store.incoming.len() % 64 == 63 {
            self.store.forget_given_up();
        }
        let body = self.new_body();
        let alive = Arc::new(());
        self.store.incoming.push((body, Arc::downgrade(&alive)));
        NewBody { body, _alive: Some(alive) }
    }

    /// How full the medium is, and whether it is read-only, for `status`.
    pub fn capacity(&self) -> (crate::journal::Capacity, bool) {
        let mut capacity = self.store.journal.capacity();
        // What only compaction has to clear away is free to the owner.
        capacity.used_bytes = capacity.used_bytes.min(capacity.live_bytes + self.store.record_bytes());
        (capacity, self.store.journal.read_only())
    }

    /// Bytes that buckets may promise together, and how many of them are promised, or held beyond a bucket that was made smaller.
    pub fn buckets(&mut self) -> (u64, u64) {
        let state = &self.store.state;
        let held = state.accounts.values().map(|account| account.position).max().unwrap_or_default();
        let position = state.settings.position.max(held);
        self.touch(position);
        (self.store.room, bucket::promised(self.state(), &self.store.state))
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        if self.recorded {
            self.work.announce();
        }
    }
}
