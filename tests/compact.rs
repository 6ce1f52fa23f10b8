//! Space that deleting frees is used again, for ever: a store of fixed size under a mail-like day takes many times its size.
//!
//! Method: one thing after the other is done to a store whose medium can lose power; after each, what the store says of everything is
//! noted. What is opened later, from a log most of which has been freed and written over, must say the same: as it was when the last
//! commit had returned, or after one of the things done since. Every message is read and held against what was sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use postfach::device::{Device, Memory, Outcome, Random};
use postfach::journal::{Format, Pressure, format};
use postfach::limits::PIECE_BYTES;
use postfach::store::{Network, NewMessage, Shared, State, Step, Store, StoreError, View, Which};
use postfach::types::{
    AccountId, BodyId, Class, FlagChange, Flags, FolderId, Language, Position, SpecialUse, Time, Uid, UidSet,
};

/// Everything that the state says, in lines that can be compared.
type Lines = Vec<String>;

fn lines(state: &State) -> Lines {
    let settings = &state.settings;
    let mut lines = vec![
        format!("{} {} {}", state.serial, state.uid_validity, state.account_last),
        format!("{:?} {:?} {:?}", settings.domains, settings.addresses, settings.aliases),
        format!("{:?} {:?}", settings.admin, settings.language),
        format!("{:?} {} {:?}", settings.network, settings.host, settings.time_servers),
    ];
    let certificate = settings.certificate.as_ref();
    lines.push(format!("{:?}", certificate.map(|found| (found.chain.clone(), found.key.clone()))));
    lines.extend(settings.passwords.iter().map(|(account, (phc, _))| format!("{account} {phc}")));
    for account in state.accounts.values() {
        lines.push(format!(
            "{} {} {:?} {} {} {} {:?} {:?}",
            account.id,
            account.address,
            account.class,
            account.bucket_bytes,
            account.used_bytes,
            account.folder_last,
            account.subscriptions,
            account.keywords
        ));
        for folder in account.folders.values() {
            lines.push(format!(
                "{} {} {} {} {} {:?} {}",
                folder.id,
                folder.name,
                folder.uid_validity,
                folder.uid_next,
                folder.serial,
                folder.special,
                folder.unseen
            ));
            for message in folder.live() {
                lines.push(format!(
                    "{} {} {} {} {} {} {}",
                    message.uid,
                    message.size,
                    message.charge,
                    message.flags.0,
                    message.serial,
                    message.body,
                    message.date.0
                ));
            }
        }
    }
    lines
}

struct Office {
    /// What may be found after a cut now: the state of the last commit, and each since.
    trail: RefCell<Option<Vec<Lines>>>,
    device: Arc<Memory>,
    shared: Shared,
    random: Random,
    /// What each body was made of.
    sent: BTreeMap<BodyId, (u64, usize)>,
    delivered_bytes: u64,
    written_before: u64,
    openings: u64,
    tiny: bool,
}

const ALL: (Uid, Uid) = (Uid(1), Uid(u32::MAX));

fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Random(seed).fill(&mut bytes);
    bytes
}

fn open(device: &Arc<Memory>, seed: u64) -> Store {
    let mut random = Random(seed);
    let device = Arc::clone(device) as Arc<dyn Device>;
    let (store, report) = Store::open(device, &mut |bytes| random.fill(bytes)).expect("opens");
    assert!(!report.is_damaged(), "{report}");
    store
}

impl Office {
    fn new(bytes: u64, segment_bytes: impl Into<Option<u32>>, accounts: usize, seed: u64) -> Office {
        let device = Arc::new(Memory::new(bytes));
        let mut random = Random(seed);
        let options = Format { segment_bytes: segment_bytes.into(), force: false };
        format(&*device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
        let shared = Shared::new(open(&device, seed));
        let sent = BTreeMap::new();
        let (delivered_bytes, written_before, openings) = (0, 0, 0);
        let office = Office {
            trail: RefCell::default(),
            device,
            shared,
            random,
            sent,
            delivered_bytes,
            written_before,
            openings,
            tiny: false,
        };
        office.with(|store| store.domain_add("example.test")).expect("adds");
        for number in 0..accounts {
            office
                .with(|store| {
                    store.mailbox_add(&format!("user{number}@example.test"), Class::S, "phc".into())
                })
                .expect("fits");
        }
        office.commit().expect("commits");
        office
    }

    fn with<T>(&self, action: impl FnOnce(&mut postfach::store::Access<'_>) -> T) -> T {
        let done = action(&mut self.shared.access(&mut Position::default()));
        if let Some(trail) = &mut *self.trail.borrow_mut() {
            let now = self.lines();
            if trail.last() != Some(&now) {
                trail.push(now);
            }
        }
        done
    }

    fn commit(&self) -> std::io::Result<()> {
        let mut store = self.shared.lock();
        store.commit()?;
        if store.journal().read_only() {
            return Err(std::io::ErrorKind::ReadOnlyFilesystem.into());
        }
        drop(store);
        if let Some(trail) = &mut *self.trail.borrow_mut() {
            *trail = vec![self.lines()];
        }
        Ok(())
    }

    /// What the server's committer does when nobody waits for anything.
    fn rest(&self) -> std::io::Result<()> {
        let mut store = self.shared.lock();
        while store.compact_here(Pressure::Low) == Step::Done {
            if store.is_worth_a_flush() {
                store.commit()?;
            }
        }
        store.commit()
    }

    fn lines(&self) -> Lines {
        lines(self.shared.lock().state())
    }

    fn written(&self) -> u64 {
        self.written_before + self.device.bytes_written()
    }

    /// Log-normal, as mail is: the median 9 KB, a tail of large ones.
    fn size(&mut self) -> usize {
        let uniform = |random: &mut Random| (random.number() >> 11) as f64 / (1u64 << 53) as f64;
        let sum: f64 = (0..12).map(|_| uniform(&mut self.random)).sum();
        let size = (9000f64.ln() + 1.5 * (sum - 6.0)).exp();
        if self.tiny { 40 + size as usize % 2000 } else { (size as usize).clamp(300, 1 << 20) }
    }

    fn account(&mut self) -> AccountId {
        let accounts: Vec<AccountId> = self.shared.lock().state().accounts.keys().copied().collect();
        accounts[self.random.below(accounts.len() as u64) as usize]
    }

    fn folder(&mut self, account: AccountId) -> FolderId {
        let store = self.shared.lock();
        let folders: Vec<FolderId> = store.state().accounts[&account].folders.keys().copied().collect();
        if self.random.below(3) > 0 {
            return FolderId::INBOX;
        }
        folders[self.random.below(folders.len() as u64) as usize]
    }

    /// Some messages of a folder, with a view of it.
    fn some(&mut self, account: AccountId, count: u64) -> (View, UidSet) {
        let folder = self.folder(account);
        let view = self.with(|store| store.open(account, folder, false)).expect("is there");
        let live: Vec<Uid> = {
            let store = self.shared.lock();
            store.state().accounts[&account].folders[&folder].live().map(|message| message.uid).collect()
        };
        let mut uids: Vec<Uid> = Vec::new();
        if !live.is_empty() {
            let start = self.random.below(live.len() as u64) as usize;
            uids.extend(
                live.iter().skip(start).step_by(1 + self.random.below(3) as usize).take(count as usize),
            );
        }
        (view, UidSet::from_ascending(uids))
    }

    /// Delivers, after making room in the bucket by expunging the oldest, as the owner of a full mailbox does.
    fn deliver(&mut self, account: AccountId) -> Result<(), StoreError> {
        let size = self.size();
        let mut tries = 0;
        let crowded = self.tiny && {
            let store = self.shared.lock();
            let folders = store.state().accounts[&account].folders.values();
            folders.map(|folder| folder.count()).sum::<u32>() > 200
        };
        if crowded {
            self.expunge_oldest(account)?;
        }
        let kept = loop {
            match self.with(|store| store.reserve(account, size as u64 + 400)) {
                Ok(kept) => break kept,
                Err(StoreError::OverQuota) if tries < 500 => {
                    tries += 1;
                    self.expunge_oldest(account)?;
                }
                Err(error) => return Err(error),
            }
        };
        let seed = self.random.number();
        let bytes = content(seed, size);
        let body = self.with(|store| store.new_body());
        for (piece, part) in bytes.chunks(PIECE_BYTES).enumerate() {
            let mut store = self.shared.lock();
            for _ in 0..8 {
                if store.takes_piece(part.len()) || store.commit().is_err() {
                    break;
                }
            }
            store.append_piece(body, piece as u16, part.to_vec())?;
        }
        self.sent.insert(body, (seed, size));
        let structure = vec![seed as u8; 80 + seed as usize % 300];
        let message = NewMessage { body, size: size as u64, structure, date: Time(seed as i64 >> 30) };
        self.with(|store| store.deliver(message, vec![(account, kept)]))?.remove(0)?;
        self.delivered_bytes += size as u64;
        Ok(())
    }

    fn expunge_oldest(&mut self, account: AccountId) -> Result<(), StoreError> {
        let (folder, uids) = {
            let store = self.shared.lock();
            let folders = &store.state().accounts[&account].folders;
            let most = folders.values().max_by_key(|folder| folder.count()).expect("has some");
            let uids: Vec<Uid> = most.live().take(4).map(|message| message.uid).collect();
            (most.id, uids)
        };
        let view = self.with(|store| store.open(account, folder, false)).expect("is there");
        let set = UidSet::from_ascending(uids);
        self.with(|store| store.expunge(&view, Which::These(&set))).map(drop)
    }

    /// Something that a mailbox sees in a day. What cannot be done is no matter, as long as it leaves nothing.
    fn act(&mut self) {
        let account = self.account();
        let number = self.random.number();
        let _refused = match self.random.below(100) {
            0..45 => self.deliver(account),
            45..65 => {
                let (view, set) = self.some(account, 1 + number % 5);
                let change = if number & 64 == 0 { FlagChange::Add } else { FlagChange::Remove };
                let flags = Flags(1 << (number >> 8 & 7) & 0x1F);
                self.with(|store| store.flags_set(&view, &set, change, flags, None)).map(drop)
            }
            // Short-lived mail: of the newest.
            65..80 => {
                let view = self.with(|store| store.open(account, FolderId::INBOX, false)).expect("is there");
                let newest = view_newest(&self.shared, account, number % 12);
                self.with(|store| store.expunge(&view, Which::These(&newest))).map(drop)
            }
            80..84 => {
                let (view, set) = self.some(account, 1 + number % 9);
                let target = self.folder(account);
                self.with(|store| store.r#move(&view, &set, target)).map(drop)
            }
            84..86 => {
                let (view, set) = self.some(account, 1 + number % 3);
                let target = self.folder(account);
                self.with(|store| store.copy(&view, &set, target)).map(drop)
            }
            86..88 => {
                let (view, set) = self.some(account, 1 + number % 20);
                self.with(|store| store.expunge(&view, Which::These(&set))).map(drop)
            }
            _ => self.act_seldom(account, number),
        };
    }

    fn act_seldom(&mut self, account: AccountId, number: u64) -> Result<(), StoreError> {
        let name = format!("F{}", number >> 9 & 7);
        let address = format!("alias{}@example.test", number >> 9 & 3);
        match number % 16 {
            0..3 => self.with(|store| store.folder_create(account, &name, Some(SpecialUse::Junk))).map(drop),
            3..5 => self.with(|store| store.folder_remove(account, &name)),
            5 => self.with(|store| store.folder_rename(account, &name, &format!("F{}", number >> 20 & 7))),
            6 => self.with(|store| store.subscribe(account, &name)),
            7 => self.with(|store| store.unsubscribe(account, &name)),
            8 => self.with(|store| store.keywords(account, &[&format!("k{}", number >> 9 & 31)])).map(drop),
            9 => self.with(|store| store.alias_add(&address, "user0@example.test")),
            10 => self.with(|store| store.alias_remove(&address)),
            11 => self.with(|store| store.password_set("user0@example.test", format!("p{number}"))),
            12 => self.with(|store| store.admin_set(format!("a{number}"))),
            13 if number >> 9 & 1 == 0 => {
                self.with(|store| store.domain_add(&format!("d{}.test", number >> 10 & 3)))
            }
            13 => self.with(|store| store.domain_remove(&format!("d{}.test", number >> 10 & 3))),
            14 if number >> 9 & 7 == 0 => {
                self.with(|store| store.mailbox_remove("user0@example.test"))?;
                self.with(|store| store.mailbox_add("user0@example.test", Class::S, "new".into())).map(drop)
            }
            _ => self.with(|store| store.certificate_set(vec![vec![number as u8; 900]], vec![1; 100])),
        }
    }

    /// Every message reads as it was sent.
    fn read_all(&self) {
        let store = self.shared.lock();
        let mut buffer = Vec::new();
        for account in store.state().accounts.values() {
            for message in account.folders.values().flat_map(|folder| folder.live()) {
                let (seed, size) = self.sent[&message.body];
                let wanted = content(seed, size);
                for (piece, part) in wanted.chunks(PIECE_BYTES).enumerate() {
                    let extent = store.journal().find(message.body, piece as u16).expect("is there");
                    extent.read(&*self.device, &mut buffer).expect("reads");
                    assert!(buffer == part, "body {} piece {piece}", message.body);
                }
                let extent = store.journal().find_structure(message.body).expect("is there");
                extent.read(&*self.device, &mut buffer).expect("reads");
                assert_eq!(buffer.len(), 80 + seed as usize % 300);
            }
        }
    }

    /// The power goes now, or the program ends. `possible`: what may be found.
    fn reopen(&mut self, outcome: Outcome, possible: &[Lines], what: &str) {
        let seed = self.random.number();
        self.written_before += self.device.bytes_written();
        self.device = Arc::new(self.device.survive(outcome, seed));
        self.shared = Shared::new(open(&self.device, seed));
        self.openings += 1;
        let found = self.lines();
        if !possible.contains(&found) {
            let last = possible.last().expect("some");
            let missing: Vec<_> = last.iter().filter(|line| !found.contains(line)).take(8).collect();
            let more: Vec<_> = found.iter().filter(|line| !last.contains(line)).take(8).collect();
            panic!("{what}: of {} states none; missing {missing:?}; not told {more:?}", possible.len());
        }
    }
}

/// One of the newest messages of the INBOX.
fn view_newest(shared: &Shared, account: AccountId, nth: u64) -> UidSet {
    let store = shared.lock();
    let folder = &store.state().accounts[&account].folders[&FolderId::INBOX];
    let live: Vec<Uid> = folder.live().map(|message| message.uid).collect();
    UidSet::from_ascending(live.iter().rev().nth(nth as usize).copied())
}

/// Acts, and commits now and then; power goes at random moments. Ends when the medium has taken so many times its size.
fn live_long(mut office: Office, times: u64, actions_between_cuts: u64) -> Office {
    let size = office.device.size();
    let mut actions = 0u64;
    while office.written() < times * size {
        for _ in 0..office.random.below(2 * actions_between_cuts) {
            office.act();
            actions += 1;
            if office.random.below(3) == 0 {
                office.commit().expect("commits");
            }
        }
        office.commit().expect("commits");
        *office.trail.borrow_mut() = Some(vec![office.lines()]);
        let operations = office.random.below(24);
        office.device.cut_after(operations);
        for _ in 0..30 {
            office.act();
            if office.random.below(3) == 0 && office.commit().is_err() {
                break;
            }
        }
        let _cut = office.commit();
        let possible = office.trail.take().expect("was kept");
        let outcome = Outcome::ALL[office.random.below(4) as usize];
        let what = format!("opening {} {outcome:?}", office.openings);
        office.reopen(outcome, &possible, &what);
        if office.openings.is_multiple_of(8) {
            office.read_all();
        }
    }
    office.read_all();
    let segment_bytes = office.shared.lock().journal().superblock().segment_bytes;
    eprintln!(
        "{} MiB written to a store of {} MiB in segments of {} KiB, {actions} things done, {} openings",
        office.written() >> 20,
        size >> 20,
        segment_bytes >> 10,
        office.openings
    );
    office
}

/// POSTFACH_COMPACT_TIMES and POSTFACH_CRASH_FIRST (the seed) for `scripts/test soak`.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_store_takes_many_times_its_size() {
    let office = Office::new(24 << 20, 256 * 1024, 1, 10 + number("POSTFACH_CRASH_FIRST", 1));
    let office = live_long(office, number("POSTFACH_COMPACT_TIMES", 5), 400);
    let findings = postfach::check::check(&*office.device).expect("reads");
    assert!(findings.damage.is_empty() && findings.warnings.is_empty(), "{findings}");
}

#[test]
fn all_is_still_known_after_every_segment_has_gone() {
    // Little mail, and many changes of everything else.
    let mut office = Office::new(24 << 20, 256 * 1024, 1, 99 + number("POSTFACH_CRASH_FIRST", 1));
    office.tiny = true;
    // What is set once must outlive the segment that it was written to.
    let network = Network { dns: vec![[192, 0, 2, 1].into()], ..Network::default() };
    office.with(|store| store.network_set(network)).expect("sets");
    office.with(|store| store.host_set("box.test")).expect("sets");
    office.with(|store| store.time_servers_set(vec![String::from("time.test")])).expect("sets");
    office.with(|store| store.language_set(Language::German)).expect("sets");
    live_long(office, number("POSTFACH_COMPACT_TIMES", 5).div_ceil(4), 300);
}

#[test]
fn two_hundred_users_toggle_flags_for_ever() {
    let mut office = Office::new(24 << 20, 256 * 1024, 1, 5);
    let anna = office.account();
    while office.shared.lock().state().accounts[&anna].used_bytes < 15 << 20 {
        office.deliver(anna).expect("fits");
    }
    office.commit().expect("commits");
    let view = office.with(|store| store.open(anna, FolderId::INBOX, false)).expect("is there");
    let set = UidSet(vec![ALL]);
    let uids = view_newest_all(&office.shared, anna);
    for round in 0..20_000usize {
        let uid = uids[round * 7919 % uids.len()];
        let change =
            if (round / uids.len()).is_multiple_of(2) { FlagChange::Add } else { FlagChange::Remove };
        let one = UidSet(vec![(uid, uid)]);
        office
            .with(|store| store.flags_set(&view, &one, change, Flags::FLAGGED, None))
            .expect("there is always room for a flag");
        if round % 2 == 1 {
            office.commit().expect("commits");
        }
    }
    office.with(|store| store.flags_set(&view, &set, FlagChange::Add, Flags::SEEN, None)).expect("sets");
    office.commit().expect("commits");
    let wanted = vec![office.lines()];
    let written = office.written() >> 20;
    assert!(written > 40, "{written}");
    office.reopen(Outcome::Lost, &wanted, "flags");
    office.read_all();
}

fn view_newest_all(shared: &Shared, account: AccountId) -> Vec<Uid> {
    let store = shared.lock();
    store.state().accounts[&account].folders[&FolderId::INBOX].live().map(|message| message.uid).collect()
}

#[test]
fn a_full_store_expunges_and_receives_again() {
    let mut office = Office::new(24 << 20, 256 * 1024, 1, 6);
    let anna = office.account();
    for round in 0..6 {
        loop {
            let size = 60_000;
            let Ok(kept) = office.with(|store| store.reserve(anna, size)) else { break };
            let body = office.with(|store| store.new_body());
            let bytes = content(body.0, size as usize);
            office.sent.insert(body, (body.0, size as usize));
            let mut store = office.shared.lock();
            for tries in 0.. {
                if store.takes_piece(bytes.len()) {
                    break;
                }
                store.commit().expect("commits");
                assert!(tries < 20, "round {round}: {:?}", store.journal().capacity());
            }
            store.append_piece(body, 0, bytes).expect("a bucket is promised whole");
            drop(store);
            let structure = vec![1; 80 + body.0 as usize % 300];
            let message = NewMessage { body, size, structure, date: Time(0) };
            office.with(|store| store.deliver(message, vec![(anna, kept)])).expect("fits")[0]
                .as_ref()
                .expect("fits");
            office.commit().expect("commits");
        }
        let used = office.shared.lock().state().accounts[&anna].used_bytes;
        assert!(used > 15 << 20, "round {round}: {used}");
        office.read_all();
        let view = office.with(|store| store.open(anna, FolderId::INBOX, false)).expect("is there");
        let most = UidSet(vec![ALL]);
        office.with(|store| store.expunge(&view, Which::These(&most))).expect("expunges");
        office.commit().expect("commits");
    }
}

/// What is written per byte delivered, where every bucket is full: live mail is what may be promised, 0.72 of raw, and the system has
/// its 1/32 on top. Nothing is left to do before the next commit, as on a box, where mail comes one by one.
fn write_amplification(bytes: u64, segment_bytes: Option<u32>, accounts: usize) -> f64 {
    let mut office = Office::new(bytes, segment_bytes, accounts, 9);
    let accounts: Vec<AccountId> = office.shared.lock().state().accounts.keys().copied().collect();
    let mut turn = 0;
    let mut step = |office: &mut Office| {
        turn += 1;
        let account = accounts[office.random.below(accounts.len() as u64) as usize];
        office.deliver(account).expect("room is made");
        // Four of ten messages are short-lived.
        if office.random.below(10) < 4 {
            let nth = office.random.below(12);
            let newest = view_newest(&office.shared, account, nth);
            let view = office.with(|store| store.open(account, FolderId::INBOX, false)).expect("is there");
            office.with(|store| store.expunge(&view, Which::These(&newest))).expect("expunges");
        }
        if turn % 4 == 0 {
            office.commit().expect("commits");
            office.rest().expect("commits");
        }
    };
    while office.delivered_bytes < 2 * bytes {
        step(&mut office);
    }
    let (delivered, written) = (office.delivered_bytes, office.written());
    while office.delivered_bytes < delivered + 2 * bytes {
        step(&mut office);
    }
    let used: u64 = office.shared.lock().state().accounts.values().map(|account| account.used_bytes).sum();
    let factor = (office.written() - written) as f64 / (office.delivered_bytes - delivered) as f64;
    let live = used as f64 / office.device.size() as f64;
    let segment_bytes = office.shared.lock().journal().superblock().segment_bytes;
    eprintln!(
        "write amplification {factor:.2}, with {live:.3} of raw charged to mailboxes, in segments of {} KiB",
        segment_bytes >> 10
    );
    assert!(live > 0.69, "{live}");
    factor
}

#[test]
fn write_amplification_at_full_buckets() {
    let factor = write_amplification(45 << 20, Some(256 * 1024), 2);
    assert!(factor <= 2.1, "{factor}");
}

/// With parity, which takes a fiftieth of these segments.
#[test]
fn write_amplification_of_larger_segments() {
    let factor = write_amplification(180 << 20, Some(1024 * 1024), 8);
    assert!(factor <= 2.5, "{factor}");
}

/// As a box formats a small card.
#[test]
#[ignore = "minutes, and 5 GiB of memory: `scripts/test soak`"]
fn write_amplification_of_a_card() {
    let factor = write_amplification(2 << 30, None, 32);
    assert!(factor <= 2.5, "{factor}");
}
