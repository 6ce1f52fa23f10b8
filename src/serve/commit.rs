//! Durability: the one thread that writes the journal, the gate that sessions wait at, and who is woken by what has become durable.
//!
//! Group commit: nothing waits for company; while a flush is in flight the next batch gathers. Invariants: `durable` is raised only
//! after the flush has succeeded; it is raised under the store's lock, so that whoever asks about an account under that lock either
//! sees the change as durable or is woken by it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::{Event, EventListener};

use crate::device::Device;
use crate::journal::{Finish, Payload, Pressure};
use crate::limits::{PENDING_BYTES, WITNESS_SECONDS};
use crate::session::gate;
use crate::store::{Shared, Step, Store, StoreError};
use crate::types::{AccountId, BodyId, Position};

/// How far the disk is, and who waits for it.
#[derive(Default)]
pub struct Progress {
    durable: AtomicU64,
    /// How long the log must be idle for a witness.
    idle: Duration,
    /// Writing has failed for good: nothing more will become durable.
    failed: AtomicBool,
    stopping: AtomicBool,
    /// Compaction has found nothing to free.
    exhausted: AtomicBool,
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

/// A hint to the medium. What comes of it is no matter.
fn discard(device: &dyn Device, ranges: &[(u64, u64)]) {
    for (offset, length) in ranges {
        if let Err(error) = device.discard(*offset, *length) {
            log::debug!("the medium was not told that {length} bytes are free: {error}");
        }
    }
}

/// One step of parity, where there is nothing else to do at all. By the thread that writes batches: no segment is used again meanwhile.
fn protect<'a>(shared: &'a Shared, mut store: MutexGuard<'a, Store>) -> MutexGuard<'a, Store> {
    if !store.parity_due() {
        return store;
    }
    let Some(mut protect) = store.journal_mut().next_protect() else { return store };
    let device = Arc::clone(store.journal().device());
    drop(store);
    protect.step(&*device);
    store = shared.lock();
    store.journal_mut().protected(protect);
    if store.parity_due() {
        shared.announce();
    }
    store
}

impl Progress {
    /// Starts where the store has been opened.
    pub fn new(durable: Position) -> Progress {
        let idle = Duration::from_secs(WITNESS_SECONDS);
        Progress { durable: AtomicU64::new(durable.0), idle, ..Progress::default() }
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

    /// Packs a piece and hands it to the journal when there is room.
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
        // Packing takes almost twice as much memory beside the piece: that too should find room. So one piece may be pending while the
        // next is packed; what comes while two are in flight gathers with its sender.
        drop(self.room(shared, bytes.len(), bytes.len() * 7 / 4).await);
        let payload = Payload::pack(bytes);
        self.room(shared, payload.len(), 0).await.append_piece(body, piece, payload)
    }

    /// The store, once so many bytes may join what is pending, and others be used beside them; or once it is known that compaction has no
    /// room to give on the medium.
    async fn room<'a>(&self, shared: &'a Shared, bytes: usize, beside: usize) -> MutexGuard<'a, Store> {
        loop {
            let listener = self.committed.listen();
            {
                let mut store = shared.lock();
                let pending = store.journal().pending_bytes() + bytes;
                // Whoever waits below waits for the commit that is due here.
                if pending > PENDING_BYTES / 2 {
                    shared.announce();
                }
                if pending + beside <= PENDING_BYTES {
                    if store.takes_piece(bytes) {
                        return store;
                    }
                    // Slower, rather than not at all.
                    if self.exhausted.load(Ordering::Acquire) || !store.makes_room() {
                        self.exhausted.store(false, Ordering::Release);
                        return store;
                    }
                    shared.announce();
                }
            }
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
    /// `committed` is called under the store's lock after each commit, and told whether the settings are durable and were not before.
    pub fn commit_all(&self, shared: &Shared, committed: &dyn Fn(&Store, bool)) {
        let stop = || self.stopping.load(Ordering::Acquire);
        let mut told = Position::default();
        loop {
            let (mut store, idle) = shared.wait_for_work(&stop, self.idle);
            if idle {
                // Where there is no room for it, what is newest stays without: nothing else depends on it.
                let _full = store.journal_mut().append_witness();
            }
            let mut store = if stop() || idle { store } else { self.compact(shared, store) };
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
                    // By their position: accounts belong to them too, and what has been set meanwhile waits for its own commit.
                    let settings = store.state().settings.position;
                    let new = settings != told && gate(settings, self.durable());
                    if new {
                        told = settings;
                    }
                    committed(&store, new);
                    let idle = store.journal().pending_bytes() == 0;
                    let more = store.journal().pressure() > Pressure::None || store.parity_due();
                    if idle && more || store.snapshot_due() {
                        shared.announce();
                    }
                    let ranges = store.journal_mut().take_discardable();
                    drop(store);
                    discard(&*device, &ranges);
                }
                Finish::Again => {
                    log::warn!("writing to the store failed, trying elsewhere: {error}");
                    shared.announce();
                }
                Finish::Failed => self.fail(&mut store, &error),
            }
        }
    }

    /// A step of compaction, or two small ones: always where segments are short, otherwise when nobody waits; and then, if there is nothing to free,
    /// a portion of a snapshot, and if there is none, a step of parity. What is appended goes out with the next batch.
    fn compact<'a>(&self, shared: &'a Shared, mut store: MutexGuard<'a, Store>) -> MutexGuard<'a, Store> {
        let idle = store.journal().pending_bytes() == 0;
        let least = if idle { Pressure::Low } else { Pressure::High };
        let step = loop {
            let Some(mut portion) = store.compaction(least) else { break Step::Nothing };
            let device = Arc::clone(store.journal().device());
            drop(store);
            portion.read(&*device);
            if portion.is_rebuilt() {
                log::warn!(
                    "what compaction moves does not read as it was written, and was rebuilt from parity"
                );
            }
            store = shared.lock();
            let step = store.compact(portion);
            if step != Step::Done || !idle || shared.is_due() || store.is_worth_a_flush() {
                break step;
            }
        };
        let gone_on = step == Step::Done || store.relieve();
        if gone_on && store.journal().pressure() > Pressure::None {
            shared.announce();
        }
        let waiting = store.journal().pending_bytes() == 0 && !gone_on;
        // Deliberate: a snapshot makes no room, so whoever waits for some is not told to wait for it.
        if idle && waiting {
            store.tell_snapshot();
            if store.journal().pending_bytes() == 0 {
                store = protect(shared, store);
            }
        }
        self.exhausted.store(waiting, Ordering::Release);
        if waiting {
            self.committed.notify(usize::MAX);
        }
        store
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Condvar;
    use std::thread;

    use super::*;
    use crate::device::{Device, Memory, Random, below};
    use crate::journal::{Format, format};
    use crate::limits::PIECE_BYTES;
    use crate::types::Class;

    #[derive(Clone, Copy, Default, PartialEq)]
    enum Flush {
        #[default]
        Works,
        Waits,
        /// So many times, then it works again.
        Fails(u32),
    }

    /// A device whose flush does what the test says.
    struct Valve {
        inner: Memory,
        flush: Mutex<Flush>,
        /// Told when that is changed, and when a flush begins to wait.
        turned: Condvar,
        waiting: AtomicBool,
    }

    impl Valve {
        fn turn(&self, to: Flush) {
            *self.flush.lock().unwrap() = to;
            self.turned.notify_all();
        }

        /// Returns when a flush waits.
        fn holds(&self) {
            let not_yet = |_: &mut Flush| !self.waiting.load(Ordering::Relaxed);
            drop(self.turned.wait_while(self.flush.lock().unwrap(), not_yet).unwrap());
        }
    }

    impl Device for Valve {
        below!(inner: size read_at write_at discard prepare forget_cache);

        fn flush(&self) -> io::Result<()> {
            let waiting = |flush: &mut Flush| {
                let waits = *flush == Flush::Waits;
                self.waiting.store(waits, Ordering::Relaxed);
                self.turned.notify_all();
                waits
            };
            let mut flush = self.turned.wait_while(self.flush.lock().unwrap(), waiting).unwrap();
            match *flush {
                Flush::Fails(times) => {
                    *flush = if times > 1 { Flush::Fails(times - 1) } else { Flush::Works };
                    Err(io::Error::other("on purpose"))
                }
                _ => self.inner.flush(),
            }
        }
    }

    /// Runs a test beside a committer.
    fn with_committer(test: impl FnOnce(&Valve, &Shared, &Progress)) {
        with_committer_telling(&|_, _| {}, test);
    }

    fn with_committer_telling(
        committed: &(dyn Fn(&Store, bool) + Sync),
        test: impl FnOnce(&Valve, &Shared, &Progress),
    ) {
        let inner = Memory::new(64 << 20);
        let device = Arc::new(Valve {
            inner,
            flush: Mutex::default(),
            turned: Condvar::new(),
            waiting: AtomicBool::default(),
        });
        let mut random = |bytes: &mut [u8]| bytes.fill(7);
        format(&*device, &Format { segment_bytes: None, force: true }, &mut random).unwrap();
        let (store, _) = Store::open(Arc::clone(&device) as Arc<dyn Device>, &mut random).unwrap();
        let progress = Progress::new(store.journal().durable());
        let shared = Shared::new(store);
        beside_committer(&shared, &progress, committed, || {
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&device, &shared, &progress)));
            device.turn(Flush::Works);
            result.unwrap();
        });
    }

    /// Whatever becomes of the test, the committer ends.
    fn beside_committer(
        shared: &Shared,
        progress: &Progress,
        committed: &(dyn Fn(&Store, bool) + Sync),
        test: impl FnOnce(),
    ) {
        thread::scope(|scope| {
            scope.spawn(|| progress.commit_all(shared, committed));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
            progress.stop(shared);
            result.unwrap();
        });
    }

    fn poll<T>(future: impl Future<Output = T> + Unpin) -> Option<T> {
        smol::block_on(smol::future::poll_once(future))
    }

    #[test]
    fn the_gate_opens_after_the_flush_and_the_account_wakes() {
        with_committer(|device, shared, progress| {
            let mut needs = Position::default();
            shared.access(&mut needs).domain_add("example.test").unwrap();
            let added = shared.access(&mut needs).mailbox_add("a@example.test", Class::S, String::new());
            let account = added.unwrap();
            smol::block_on(progress.reach(needs)).unwrap();
            drop(shared.lock()); // The committer has told everybody.
            let seen = progress.durable();

            device.turn(Flush::Waits);
            let before = needs;
            let mut watch = progress.watch(shared, account, seen).unwrap();
            shared.access(&mut needs).password_set("a@example.test", String::from("x")).unwrap();
            let mut reach = Box::pin(progress.reach(needs));
            assert!(poll(&mut reach).is_none(), "the gate is shut");
            assert_eq!(smol::block_on(progress.reach(before)), Ok(()), "but not for others");
            let mut late = progress.watch(shared, account, seen).unwrap();
            assert!(poll(&mut watch.listener).is_none() && poll(&mut late.listener).is_none());
            device.turn(Flush::Works);
            assert_eq!(smol::block_on(reach), Ok(()));
            smol::block_on(watch.listener);
            smol::block_on(late.listener);
            assert!(progress.watch(shared, account, seen).is_none(), "it has changed since");
            assert!(progress.watch(shared, account, progress.durable()).is_some());
        });
    }

    /// They were forgotten where an account was added while they were written: no certificate, no name, no network.
    #[test]
    fn settings_are_told_when_the_last_of_them_is_durable() {
        let told = Mutex::new(Vec::new());
        let committed = |store: &Store, settings: bool| {
            if settings {
                let durable = store.state().settings.position <= store.journal().durable();
                told.lock().unwrap().push((store.state().accounts.len(), durable));
            }
        };
        with_committer_telling(&committed, |device, shared, progress| {
            device.turn(Flush::Waits);
            let mut needs = Position::default();
            shared.access(&mut needs).domain_add("example.test").unwrap();
            device.holds();
            let added = shared.access(&mut needs).mailbox_add("a@example.test", Class::S, String::new());
            device.turn(Flush::Works);
            assert_eq!(smol::block_on(progress.reach(needs)), Ok(()));
            // What an account holds is no setting.
            shared.access(&mut needs).folder_create(added.unwrap(), "Mine", None).unwrap();
            assert_eq!(smol::block_on(progress.reach(needs)), Ok(()));
            drop(shared.lock()); // The committer has told everybody.
            assert_eq!(*told.lock().unwrap(), [(1, true)]);
        });
    }

    #[test]
    fn pieces_wait_for_room() {
        with_committer(|device, shared, progress| {
            device.turn(Flush::Waits);
            let body = shared.access(&mut Position::default()).new_body();
            // With what packing another one takes.
            let fitting = 2;
            let noise = |length: usize| {
                let mut bytes = vec![0; length];
                Random(7).fill(&mut bytes);
                bytes
            };
            for piece in 0..fitting {
                let storing = progress.store(shared, body, piece, noise(PIECE_BYTES));
                smol::block_on(storing).unwrap();
            }
            let mut storing = Box::pin(progress.store(shared, body, fitting, noise(PIECE_BYTES)));
            assert!(poll(&mut storing).is_none());
            device.turn(Flush::Works);
            assert_eq!(smol::block_on(storing), Ok(()));
        });
    }

    /// Three times as much as the medium holds, from senders who go away in the middle.
    #[test]
    fn whoever_sends_waits_for_compaction_and_is_not_refused() {
        // What cannot be packed.
        let mut noise = vec![0; PIECE_BYTES];
        crate::device::Random(1).fill(&mut noise);
        with_committer(|_, shared, progress| {
            for _ in 0..300 {
                let body = shared.access(&mut Position::default()).incoming();
                for piece in 0..10 {
                    let storing = progress.store(shared, body.id(), piece, noise.clone());
                    assert_eq!(smol::block_on(storing), Ok(()));
                }
            }
            assert!(shared.lock().journal().freed_segments() > 60);
            // One who does not go away keeps what is there: then there is nothing to wait for.
            let body = shared.access(&mut Position::default()).incoming();
            let refused = (0..2000).any(|piece| {
                let storing = progress.store(shared, body.id(), piece, noise.clone());
                smol::block_on(storing) == Err(StoreError::NoSpace)
            });
            assert!(refused);
        });
    }

    #[test]
    fn when_the_log_falls_idle_a_witness_stands_behind_what_is_newest() {
        let device = Arc::new(Memory::new(64 << 20));
        let mut random = |bytes: &mut [u8]| bytes.fill(7);
        format(&*device, &Format { segment_bytes: None, force: true }, &mut random).unwrap();
        let (store, _) = Store::open(device.clone(), &mut random).unwrap();
        let progress =
            Progress { idle: Duration::from_millis(1), ..Progress::new(store.journal().durable()) };
        let shared = Shared::new(store);
        beside_committer(&shared, &progress, &|_, _| {}, || {
            let mut needs = Position::default();
            shared.access(&mut needs).domain_add("example.test").unwrap();
            assert_eq!(smol::block_on(progress.reach(needs)), Ok(()));
            assert_eq!(smol::block_on(progress.reach(Position(needs.0 + 1))), Ok(()));
            // Once: it is not an occasion for another one.
            assert!(shared.lock().journal().is_witnessed());
        });
        // The power is cut here, and the newest fact rots: it is known that it was there.
        let left = device.survive(crate::device::Outcome::Lost, 1);
        let block = (0..left.size()).step_by(4096).find(|block| {
            let mut bytes = [0; 4096];
            left.read_at(*block, &mut bytes).unwrap();
            bytes.windows(12).any(|found| found == b"example.test")
        });
        left.write_at(block.unwrap() + 70, b"?").unwrap();
        assert!(crate::journal::verify(&left).unwrap().is_damaged());
    }

    #[test]
    fn one_failure_is_tried_again() {
        with_committer(|device, shared, progress| {
            let mut needs = Position::default();
            device.turn(Flush::Fails(1));
            shared.access(&mut needs).domain_add("kept.test").unwrap();
            assert_eq!(smol::block_on(progress.reach(needs)), Ok(()));
        });
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_forgotten() {
        for failures in [2, 1000] {
            with_committer(|device, shared, progress| {
                let mut needs = Position::default();
                shared.access(&mut needs).domain_add("kept.test").unwrap();
                smol::block_on(progress.reach(needs)).unwrap();
                let kept = needs;
                device.turn(Flush::Fails(failures));
                shared.access(&mut needs).domain_add("lost.test").unwrap();
                assert_eq!(smol::block_on(progress.reach(needs)), Err(NotStored));
                assert_eq!(smol::block_on(progress.reach(kept)), Ok(()));
                let refused = shared.access(&mut Position::default()).domain_add("more.test");
                assert_eq!(refused, Err(StoreError::ReadOnly));
                // Nothing is left of what was refused, and what was kept can be told.
                let mut seen = Position::default();
                assert_eq!(shared.access(&mut seen).settings().domains, ["kept.test"]);
                assert_eq!(smol::block_on(progress.reach(seen)), Ok(()));
            });
        }
    }
}
