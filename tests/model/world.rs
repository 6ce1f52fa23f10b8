//! The store under test, what must be true of it, and what becomes of both when the power goes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use postfach::device::{Device, Memory, Operation, Outcome, Random};
use postfach::journal::{Format, Pressure, format};
use postfach::store::{Access, Reservation, Shared, Step, Store, StoreError};
use postfach::types::{AccountId, BodyId, Position};

use super::client::{Client, names};
use super::plain::{Change, Office};

/// A message that is still coming in.
pub struct Incoming {
    pub address: String,
    pub account: AccountId,
    pub kept: Reservation,
    pub body: BodyId,
    pub size: u64,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub cuts: u64,
    pub reopenings: u64,
    pub failures: u64,
    pub refused: u64,
    pub messages: u64,
    pub survived_unacknowledged: u64,
    pub unfinished: u64,
    pub freed: u64,
}

/// What clients have been told for good.
#[derive(Default)]
struct Ledger {
    serial: u64,
    body: u64,
    /// UIDVALIDITY: whose, which folder.
    validities: HashMap<u32, (u32, u32)>,
    /// UIDVALIDITY: UIDNEXT.
    next: HashMap<u32, u32>,
    /// UIDVALIDITY and UID: which body.
    uids: HashMap<(u32, u32), u64>,
    expunged: HashSet<(u32, u32)>,
}

pub struct World {
    pub random: Random,
    pub device: Arc<Memory>,
    pub shared: Shared,
    pub office: Office,
    pub clients: Vec<Client>,
    pub incoming: Vec<Incoming>,
    pub counts: Counts,
    /// As it was acknowledged, and what has happened since.
    durable: Office,
    since: Vec<(u64, Change)>,
    ledger: Ledger,
    /// Serials of changes that no opening will find whole.
    unfinished: Vec<u64>,
}

fn open(device: &Arc<Memory>, random: &mut Random) -> Option<Shared> {
    let device = Arc::clone(device) as Arc<dyn Device>;
    let (store, report) = Store::open(device, &mut |bytes| random.fill(bytes)).ok()?;
    assert!(!report.is_damaged(), "{report}");
    Some(Shared::new(store))
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let device = Memory::new(256 << 20);
        let device = if seed.is_multiple_of(2) { device } else { device.ignoring_discards() };
        // In the smallest segments a change of a few hundred messages takes several frames.
        let segment_bytes = Some([1 << 20, 16 << 10, 16 << 10, 256 << 10][random.below(4) as usize]);
        format(&device, &Format { segment_bytes, force: false }, &mut |bytes| random.fill(bytes))
            .expect("formats");
        let device = Arc::new(device);
        let shared = open(&device, &mut random).expect("opens");
        let world = World {
            random,
            device,
            shared,
            office: Office::default(),
            clients: Vec::new(),
            incoming: Vec::new(),
            counts: Counts::default(),
            durable: Office::default(),
            since: Vec::new(),
            ledger: Ledger::default(),
            unfinished: Vec::new(),
        };
        world.access(|store| store.domain_add("example.test").expect("adds"));
        world.shared.lock().commit().expect("commits");
        world
    }

    pub fn access<T>(&self, act: impl FnOnce(&mut Access<'_>) -> T) -> T {
        act(&mut self.shared.access(&mut Position::default()))
    }

    pub fn serial(&self) -> u64 {
        self.shared.lock().state().serial.0
    }

    /// A verb has done these things, each in a frame of its own, or nothing at all.
    pub fn became(&mut self, before: u64, changes: Vec<Change>) {
        assert_eq!(self.serial(), before + changes.len() as u64, "as many serials as changes: {changes:?}");
        assert!(
            changes.is_empty() || before >= self.ledger.serial,
            "a serial that was given out is given again"
        );
        for (serial, change) in (before + 1..).zip(changes) {
            self.office.apply(serial, &change);
            self.since.push((serial, change));
        }
    }

    /// A verb has refused, as foretold, and done nothing.
    pub fn refused(&mut self, before: u64, told: StoreError, foretold: StoreError) {
        assert_eq!(told, foretold);
        assert_eq!(self.serial(), before, "a refusal changes nothing");
        self.counts.refused += 1;
    }

    /// Everything so far has been acknowledged.
    fn acknowledge(&mut self) {
        for (serial, change) in std::mem::take(&mut self.since) {
            self.note_expunges(&change);
            self.durable.apply(serial, &change);
            self.ledger.serial = serial;
        }
        for account in self.durable.accounts.values() {
            for folder in account.folders.values() {
                let owner = *self.ledger.validities.entry(folder.validity).or_insert((account.id, folder.id));
                assert_eq!(owner, (account.id, folder.id), "UIDVALIDITY {} twice", folder.validity);
                let seen = self.ledger.next.insert(folder.validity, folder.next).unwrap_or(1);
                assert!(folder.next >= seen, "UIDNEXT falls");
                for (uid, message) in folder.messages.range(seen..) {
                    let new = self.ledger.uids.insert((folder.validity, *uid), message.body);
                    self.ledger.body = self.ledger.body.max(message.body);
                    match new {
                        Some(body) => assert_eq!(body, message.body, "UID {uid} for another message"),
                        None => self.counts.messages += 1,
                    }
                }
            }
        }
    }

    fn note_expunges(&mut self, change: &Change) {
        let (Change::Expunged(address, folder, uids) | Change::Copied(address, folder, _, uids, true)) =
            change
        else {
            return;
        };
        let validity = self.durable.accounts[address].folder(*folder).expect("is there").validity;
        self.ledger.expunged.extend(uids.iter().map(|uid| (validity, *uid)));
    }

    /// Some segments are emptied, though there is room: what is freed is used again, and what is not cleared away stays for the next time.
    fn compact(&mut self) {
        for _ in 0..self.random.below(4) {
            let mut store = self.shared.lock();
            if store.compact_here(Pressure::None) == Step::Done && self.random.below(2) == 0 {
                return;
            }
        }
    }

    /// The committer has run; sometimes its flush fails once.
    pub fn commit(&mut self) {
        self.compact();
        if self.random.below(50) == 0 {
            self.device.fail_at(Operation::Flush, self.device.flushes(), false);
            self.counts.failures += 1;
        }
        self.shared.lock().commit().expect("commits");
        self.acknowledge();
        self.device.heal();
    }

    /// Writing fails for good: the store falls back to what was acknowledged, and refuses.
    pub fn fail(&mut self) {
        self.compact();
        self.device.fail_at(Operation::Flush, self.device.flushes(), true);
        let failed = self.shared.lock().commit().is_err();
        assert_eq!(failed, self.shared.lock().journal().read_only());
        if failed {
            self.shared.lock().fall_back().expect("reads");
            self.counts.failures += 1;
            self.since.clear();
            self.office = self.durable.clone();
            self.compare();
            if let Some(account) = self.office.accounts.values().next() {
                let (account, folder) = (AccountId(account.id), postfach::types::FolderId::INBOX);
                let refused = self.access(|store| store.subscribe(account, "not there"));
                assert_eq!(refused, Err(StoreError::ReadOnly));
                assert!(self.access(|store| store.open(account, folder, false)).is_some());
            }
        }
        self.device.heal();
        self.reopen(Outcome::Lost);
    }

    /// The power goes: now, or in the middle of a commit, and perhaps once more while the store is being opened.
    pub fn cut(&mut self) {
        self.compact();
        if self.random.below(3) > 0 {
            self.device.cut_after(self.random.below(4));
            if self.shared.lock().commit().is_ok() {
                self.acknowledge();
            }
        }
        self.counts.cuts += 1;
        let outcome = Outcome::ALL[self.random.below(4) as usize];
        self.reopen(outcome);
    }

    /// The process ends, in order or not, and the power stays.
    pub fn restart(&mut self) {
        if self.random.below(2) == 0 {
            self.shared.lock().close().expect("closes");
            self.acknowledge();
        }
        self.reopen(Outcome::Kept);
    }

    fn reopen(&mut self, outcome: Outcome) {
        self.counts.reopenings += 1;
        self.counts.freed += self.shared.lock().journal().freed_segments();
        self.clients.clear();
        self.incoming.clear();
        self.device = Arc::new(self.device.survive(outcome, self.random.number()));
        if self.random.below(4) == 0 {
            self.device.cut_after(0);
            assert!(open(&self.device, &mut self.random).is_none(), "an opening flushes");
            let outcome = Outcome::ALL[self.random.below(4) as usize];
            self.device = Arc::new(self.device.survive(outcome, self.random.number()));
        }
        self.shared = open(&self.device, &mut self.random).expect("opens");
        let serial = self.serial();
        assert!(serial >= self.ledger.serial, "an acknowledged change is lost: {serial}");
        // Which of the others are there says the serial; each is there whole or not at all.
        // A change of several frames of which the cut has left some has not happened, but its serial is used.
        let unfinished: Vec<u64> = self.shared.lock().state().unfinished().map(|serial| serial.0).collect();
        assert!(unfinished.iter().all(|at| *at > self.ledger.serial || self.unfinished.contains(at)));
        // What is left of a torn one goes with its segments.
        let torn = unfinished.iter().filter(|at| !self.unfinished.contains(at));
        self.counts.unfinished += torn.count() as u64;
        self.since.retain(|(at, _)| *at <= serial && !unfinished.contains(at));
        self.unfinished = unfinished;
        self.counts.survived_unacknowledged += self.since.len() as u64;
        self.acknowledge();
        self.office = self.durable.clone();
        self.compare();
        self.read(10);
    }

    pub fn end(&mut self) {
        self.commit();
        self.compare();
        self.read(100);
        let report = postfach::journal::verify(&*self.device).expect("reads");
        assert!(!report.is_damaged(), "{report}");
        self.reopen(Outcome::Lost);
    }

    /// The store is what the model says, to the last byte of the buckets.
    pub fn compare(&self) {
        let store = self.shared.lock();
        let state = store.state();
        assert_eq!(state.settings.aliases, self.office.aliases);
        assert!(state.settings.addresses.keys().eq(self.office.accounts.keys()));
        let mut charges = 0;
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        for (address, wanted) in &self.office.accounts {
            let found = &state.accounts[&state.settings.addresses[address]];
            assert_eq!((found.id.0, &found.address), (wanted.id, address));
            assert_eq!((found.class, found.bucket_bytes), (wanted.class, wanted.bucket));
            assert_eq!(found.used_bytes, wanted.used(), "used is the sum of the charges");
            assert_eq!(state.settings.passwords[&found.id].0, wanted.password);
            assert_eq!((&found.subscriptions, &found.keywords), (&wanted.subscriptions, &wanted.keywords));
            assert_eq!(found.folders.len(), wanted.folders.len());
            charges += wanted.used();
            for (name, wanted) in &wanted.folders {
                let folder = found.folder_by_name(name).expect("the folder is there");
                assert_eq!((folder.id.0, folder.uid_validity), (wanted.id, wanted.validity));
                assert_eq!(folder.uid_next.0, wanted.next, "UIDNEXT");
                assert_eq!(folder.count() as usize, wanted.messages.len());
                let seen = |message: &&super::plain::Message| !message.flags.contains("\\Seen");
                assert_eq!(folder.unseen as usize, wanted.messages.values().filter(seen).count());
                for (message, (uid, wanted)) in folder.live().zip(&wanted.messages) {
                    assert_eq!((message.uid.0, message.body.0), (*uid, wanted.body));
                    assert_eq!((message.size, u64::from(message.charge)), (wanted.size, wanted.charge));
                    assert_eq!(names(message.flags, &found.keywords), wanted.flags, "flags of UID {uid}");
                    assert_eq!(message.serial.0, wanted.serial, "serial of UID {uid}");
                    assert!(folder.serial >= message.serial && found.serial >= folder.serial);
                    assert!(!self.ledger.expunged.contains(&(folder.uid_validity, *uid)), "it comes back");
                    live.insert(wanted.body, u64::from(wanted.size));
                }
            }
        }
        assert!(live.values().sum::<u64>() <= charges, "live bytes never exceed what is charged");
    }

    /// Messages have the bytes that they were given.
    pub fn read(&mut self, count: u64) {
        let messages = |office: &Office| -> Vec<u64> {
            let folders = office.accounts.values().flat_map(|account| account.folders.values());
            folders.flat_map(|folder| folder.messages.values().map(|message| message.body)).collect()
        };
        let bodies = messages(&self.durable);
        let mut bytes = Vec::new();
        for _ in 0..count.min(bodies.len() as u64) {
            let body = bodies[self.random.below(bodies.len() as u64) as usize];
            let store = self.shared.lock();
            let (piece, structure) =
                (store.journal().find(BodyId(body), 0), store.journal().find_structure(BodyId(body)));
            let (Some(piece), Some(structure)) = (piece, structure) else { panic!("body {body} is gone") };
            drop(store);
            piece.read(&*self.device, &mut bytes).expect("reads");
            assert_eq!(bytes, content(body));
            structure.read(&*self.device, &mut bytes).expect("reads");
        }
    }

    pub fn new_body(&mut self) -> BodyId {
        let body = self.access(|store| store.new_body());
        assert!(body.0 > self.ledger.body, "a body's number is given again");
        let bytes = content(body.0);
        self.shared.lock().append_piece(body, 0, bytes).expect("there is room");
        body
    }
}

/// The bytes of a body.
pub fn content(body: u64) -> Vec<u8> {
    let mut random = Random(body);
    let mut bytes = vec![0; 1 + random.below(900) as usize];
    random.fill(&mut bytes);
    bytes
}
