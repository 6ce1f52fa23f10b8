//! Durability: the one thread that writes the journal, the gate that sessions wait at, and who is woken by what has become durable.
//!
//! Group commit: nothing waits for company; while a flush is in flight the next batch gathers. Invariants: `durable` is raised only
//! after the flush has succeeded; it is raised under the store's lock, so that whoever asks about an account under that lock either
//! sees the change as durable or is woken by it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use event_listener::{Event, EventListener};

use crate::journal::Finish;
use crate::limits::PENDING_BYTES;
use crate::session::gate;
use crate::store::{Shared, Store, StoreError};
use crate::types::{AccountId, BodyId, Position};

/// How far the disk is, and who waits for it.
#[derive(Default)]
pub struct Progress {
    durable: AtomicU64,
    /// Writing has failed for good: nothing more will become durable.
    failed: AtomicBool,
    stopping: AtomicBool,
    /// Notified after each commit: the gate, and pieces that wait for room.
    committed: Event,
    /// Those who wait for an account to change.
    watched: Mutex<HashMap<AccountId, Arc<Event>>>,
}

/// What a session has written, or read, will never be durable.
#[derive(Debug, PartialEq, Eq)]
pub struct NotStored;

/// Waiting for one account.
pub struct Watch {
    /// Resolves when the account has changed.
    pub listener: EventListener,
    /// Keeps the account's entry alive.
    _event: Arc<Event>,
}

impl Progress {
    /// Starts where the store has been opened.
    pub fn new(durable: Position) -> Progress {
        Progress { durable: AtomicU64::new(durable.0), ..Progress::default() }
    }

    /// Everything up to here survives a power cut.
    pub fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Waits at the gate until `needs` is durable.
    ///
    /// # Errors
    /// It never will be.
    pub async fn reach(&self, needs: Position) -> Result<(), NotStored> {
        loop {
            let listener = self.committed.listen();
            if gate(needs, self.durable()) {
                return Ok(());
            }
            if self.failed.load(Ordering::Acquire) {
                return Err(NotStored);
            }
            listener.await;
        }
    }

    /// Hands a piece to the journal when there is room.
    ///
    /// It does not wake the committer before much has gathered: the record that makes the pieces a message will, and one flush
    /// does for all of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn store(
        &self,
        shared: &Shared,
        body: BodyId,
        piece: u16,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        loop {
            let listener = self.committed.listen();
            {
                let mut store = shared.lock();
                let pending = store.journal().pending_bytes();
                if pending + bytes.len() <= PENDING_BYTES || pending == 0 {
                    let length = bytes.len();
                    store.append_piece(body, piece, bytes)?;
                    drop(store);
                    if pending + length >= PENDING_BYTES / 2 {
                        shared.announce();
                    }
                    return Ok(());
                }
            }
            shared.announce();
            listener.await;
        }
    }

    /// Begins to wait for an account. None: it has changed since the disk was at `seen`, and waiting would miss it.
    ///
    /// The listener is there before the account is looked at; a change that is not durable yet will notify it.
    pub fn watch(&self, shared: &Shared, account: AccountId, seen: Position) -> Option<Watch> {
        let event = {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(watched.entry(account).or_default())
        };
        let listener = event.listen();
        let changed = last_change(&shared.lock(), account);
        let missed = changed.is_none_or(|position| position > seen && position <= self.durable());
        (!missed).then_some(Watch { listener, _event: event })
    }

    /// The committer: returns when it has been stopped and everything pending has been written.
    ///
    /// `committed` is called under the store's lock after each commit, and told whether it touches the settings.
    pub fn commit_all(&self, shared: &Shared, committed: &dyn Fn(&Store, bool)) {
        let stop = || self.stopping.load(Ordering::Acquire);
        loop {
            let mut store = shared.wait_for_work(&stop);
            let Some(mut batch) = store.journal_mut().take() else {
                if stop() {
                    return;
                }
                continue;
            };
            let device = Arc::clone(store.journal().device());
            drop(store);
            let result = batch.write(&*device);
            let error = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
            let mut store = shared.lock();
            match store.journal_mut().finish(batch, result) {
                Finish::Durable { accounts } => {
                    self.publish(&store, &accounts);
                    committed(&store, accounts.contains(&AccountId::SETTINGS));
                }
                Finish::Again => log::warn!("writing to the store failed, trying elsewhere: {error}"),
                Finish::Failed => self.fail(&mut store, &error),
            }
        }
    }

    /// Makes the committer end when it has nothing more to write.
    pub fn stop(&self, shared: &Shared) {
        self.stopping.store(true, Ordering::Release);
        // Under the lock: the committer either has not looked at `stopping` yet, or sleeps and hears this.
        let _store = shared.lock();
        shared.announce();
    }

    fn publish(&self, store: &Store, accounts: &[AccountId]) {
        let before = self.durable();
        self.durable.store(store.journal().durable().0, Ordering::Release);
        self.committed.notify(usize::MAX);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, event| Arc::strong_count(event) > 1);
        // A delivery to several accounts is one record of none of them: only the accounts themselves know.
        let several = accounts.contains(&AccountId::SETTINGS);
        for (account, event) in watched.iter() {
            let changed = accounts.binary_search(account).is_ok()
                || several && last_change(store, *account).is_none_or(|position| position > before);
            if changed {
                event.notify(usize::MAX);
            }
        }
    }

    fn fail(&self, store: &mut Store, error: &str) {
        log::error!(
            "the store cannot be written: {error}. Nothing acknowledged is lost, but nothing more is taken until the medium \
             works again and the server has been started anew: look at the medium, then run `postfach check`"
        );
        if let Err(error) = store.fall_back() {
            // What cannot be replayed stays behind the gate: its positions will never be durable.
            log::error!("the store cannot be read back either: {error}");
        }
        self.failed.store(true, Ordering::Release);
        self.committed.notify(usize::MAX);
        for event in self.watched.lock().unwrap_or_else(PoisonError::into_inner).values() {
            event.notify(usize::MAX);
        }
    }
}

/// How far the disk must be for all of the account to be durable. None: there is no such account.
fn last_change(store: &Store, account: AccountId) -> Option<Position> {
    store.state().accounts.get(&account).map(|account| account.position)
}
