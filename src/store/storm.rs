//! Power is cut at every write and flush while segments are emptied and used again, and a second time soon after.
//!
//! The store is so small that it lives in its reserves: every few changes a segment is freed and another is written over.

use std::sync::Arc;

use super::record::Record;
use super::{NewMessage, Shared, State, Store, Which};
use crate::device::{Memory, Outcome, Random};
use crate::journal::{Format, Report, format};
use crate::types::{AccountId, Class, FlagChange, Flags, FolderId, Position, Serial, Time, Uid, UidSet};

const ANNA: AccountId = AccountId(1);

pub(super) fn lines(state: &State) -> Vec<String> {
    let settings = &state.settings;
    let mut lines = vec![format!(
        "{} {} {} {:?} {:?} {:?}",
        state.serial,
        state.uid_validity,
        state.account_last,
        settings.domains,
        settings.addresses,
        settings.admin
    )];
    for account in state.accounts.values() {
        let (address, used, last) = (&account.address, account.used_bytes, account.folder_last);
        lines.push(format!("{address} {used} {last} {:?} {:?}", account.subscriptions, account.keywords));
        for folder in account.folders.values() {
            let (id, name, next, serial) = (folder.id, &folder.name, folder.uid_next, folder.serial);
            lines.push(format!("{id} {name} {} {next} {serial} {}", folder.uid_validity, folder.unseen));
            lines.extend(folder.live().map(|message| format!("{message:?}")));
        }
    }
    lines
}

pub(super) fn open(device: &Arc<Memory>, seed: u64) -> Option<(Shared, Report)> {
    let mut random = Random(seed);
    let (store, report) = Store::open(device.clone(), &mut |bytes| random.fill(bytes)).ok()?;
    Some((Shared::new(store), report))
}

/// The state of the last commit, and each since.
#[derive(Clone)]
pub(super) struct Trail(pub(super) Vec<Vec<String>>);

impl Trail {
    pub(super) fn of(shared: &Shared) -> Trail {
        Trail(vec![lines(&shared.lock().state)])
    }

    pub(super) fn now(&mut self, shared: &Shared) {
        let now = lines(&shared.lock().state);
        if self.0.last() != Some(&now) {
            self.0.push(now);
        }
    }

    /// False: the power is gone.
    pub(super) fn commit(&mut self, shared: &Shared) -> bool {
        let mut store = shared.lock();
        let done = store.commit().is_ok() && !store.journal.read_only();
        if done {
            self.0 = vec![lines(&store.state)];
        }
        done
    }
}

/// Does so many things, most of them on mail, until the power goes.
pub(super) fn work(shared: &Shared, trail: &mut Trail, random: &mut Random, things: u64) {
    for _ in 0..things {
        act(shared, trail, random);
        if random.below(2) == 0 && !trail.commit(shared) {
            return;
        }
    }
    trail.commit(shared);
}

fn act(shared: &Shared, trail: &mut Trail, random: &mut Random) {
    let mut needs = Position::default();
    let folders: Vec<FolderId> = shared.lock().state.accounts[&ANNA].folders.keys().copied().collect();
    let folder = folders[random.below(folders.len() as u64) as usize];
    let number = random.number();
    let newest = Uid(shared.lock().state.accounts[&ANNA].folders[&folder].uid_next.0.saturating_sub(1));
    let uid = Uid(newest.0.saturating_sub(random.below(12) as u32).max(1));
    let set = UidSet(vec![(uid, Uid(uid.0 + number as u32 % 3))]);
    let view = shared.access(&mut needs).open(ANNA, folder, false).expect("is there");
    match random.below(16) {
        0..6 => deliver(shared, trail, random, folder),
        6..9 => {
            let flags = Flags(1 << (number % 5));
            let _ = shared.access(&mut needs).flags_set(&view, &set, FlagChange::Replace, flags, None);
        }
        9..11 => {
            let _ = shared.access(&mut needs).expunge(&view, Which::These(&set));
        }
        11 => {
            let _ = shared.access(&mut needs).r#move(&view, &set, folders[0]);
        }
        12 => {
            let _ = shared.access(&mut needs).folder_create(ANNA, &format!("F{}", number % 3), None);
        }
        13 => {
            let _ = shared.access(&mut needs).folder_remove(ANNA, &format!("F{}", number % 3));
        }
        14 => {
            let _ = shared.access(&mut needs).admin_set(format!("{number}"));
        }
        _ if number.is_multiple_of(2) => {
            let _ = shared.access(&mut needs).subscribe(ANNA, &format!("F{}", number % 5));
        }
        _ => {
            let _ = shared.access(&mut needs).unsubscribe(ANNA, &format!("F{}", number % 5));
        }
    }
    trail.now(shared);
}

fn deliver(shared: &Shared, trail: &mut Trail, random: &mut Random, folder: FolderId) {
    let mut needs = Position::default();
    let size = 200 + random.below(9000);
    // The oldest make room, as the owner of a full mailbox does it.
    while shared.access(&mut needs).reserve(ANNA, size + 200).is_err() {
        let (id, uid) = {
            let store = shared.lock();
            let folders = store.state.accounts[&ANNA].folders.values();
            let most = folders.max_by_key(|folder| folder.count()).expect("some");
            (most.id, most.live().next().expect("some").uid)
        };
        let view = shared.access(&mut needs).open(ANNA, id, false).expect("is there");
        if shared.access(&mut needs).expunge(&view, Which::These(&UidSet(vec![(uid, uid)]))).is_err() {
            return;
        }
        trail.now(shared);
    }
    let kept = shared.access(&mut needs).reserve(ANNA, size + 200).expect("there is room now");
    let body = shared.access(&mut needs).new_body();
    let mut bytes = vec![0; size as usize];
    Random(body.0).fill(&mut bytes);
    for _ in 0..8 {
        if shared.lock().takes_piece(bytes.len()) || !trail.commit(shared) {
            break;
        }
    }
    if shared.lock().append_piece(body, 0, bytes).is_ok() {
        let message = NewMessage { body, size, structure: vec![body.0 as u8; 100], date: Time(size as i64) };
        let _ = shared.access(&mut needs).append(message, Flags::NONE, ANNA, folder, kept);
    }
}

/// Opens what has survived and holds it against what was told.
pub(super) fn judge(device: &Arc<Memory>, trail: &mut Trail, seed: u64, what: &str) -> Shared {
    let (shared, report) = open(device, seed).expect("opens");
    assert!(!report.is_damaged(), "{what}: {report}");
    let found = lines(&shared.lock().state);
    if !trail.0.contains(&found) {
        let last = trail.0.last().expect("some");
        let missing: Vec<_> = last.iter().filter(|line| !found.contains(line)).collect();
        let more: Vec<_> = found.iter().filter(|line| !last.contains(line)).collect();
        panic!("{what}: none of {} states; missing {missing:?}; not told {more:?}", trail.0.len());
    }
    {
        let store = shared.lock();
        let mut buffer = Vec::new();
        for message in store.state.accounts[&ANNA].folders.values().flat_map(|folder| folder.live()) {
            let extent = store.journal.find(message.body, 0).unwrap_or_else(|| panic!("{what}: {message:?}"));
            extent.read(&**device, &mut buffer).expect("reads");
            let mut wanted = vec![0; message.size as usize];
            Random(message.body.0).fill(&mut wanted);
            assert!(buffer == wanted, "{what}: body {}", message.body);
            store.journal.find_structure(message.body).unwrap_or_else(|| panic!("{what}: {message:?}"));
        }
    }
    *trail = Trail(vec![found]);
    shared
}

/// A store with a mailbox, and nothing in it; and the numbers that go on.
pub(super) fn fresh(seed: u64, segments: u64, segment_bytes: u32) -> (Arc<Memory>, Shared, Random) {
    let device = Memory::new(segments * u64::from(segment_bytes));
    // What a freed segment held is still there when it is used again, or it is not.
    let device = if seed.is_multiple_of(2) { device } else { device.ignoring_discards() };
    let mut random = Random(seed);
    let options = Format { segment_bytes: Some(segment_bytes), force: false };
    format(&device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
    let device = Arc::new(device);
    let (shared, _) = open(&device, seed).expect("opens");
    let added = Record::AccountAdded {
        account: ANNA,
        address: "anna@example.test".into(),
        class: Class::S,
        bucket_bytes: 260 * 1024,
        phc: "phc".into(),
    };
    let inbox = Record::FolderAdded {
        account: ANNA,
        folder: FolderId::INBOX,
        name: "INBOX".into(),
        uid_validity: 7,
        special: None,
    };
    shared.lock().record(ANNA, &[added, inbox]).expect("there is room");
    (device, shared, random)
}

/// A store that has been written over a few times.
pub(super) fn used(seed: u64, segments: u64, segment_bytes: u32) -> Memory {
    let (device, shared, mut random) = fresh(seed, segments, segment_bytes);
    let mut trail = Trail(Vec::new());
    work(&shared, &mut trail, &mut random, 900);
    assert!(device.bytes_written() > 3 * 25 * 32 * 1024, "{}", device.bytes_written());
    let device = Arc::new(device.survive(Outcome::Lost, 0));
    judge(&device, &mut trail, seed, "before");
    device.copy()
}

/// Cuts one workload at every `stride`th operation. Returns how many states were seen.
fn storm(seed: u64, stride: u64) -> u32 {
    let base = used(seed, 25, 32 * 1024);
    let run = |cut: Option<u64>| {
        let device = Arc::new(base.copy());
        let (shared, _) = open(&device, seed + 1).expect("opens");
        let mut trail = Trail(vec![lines(&shared.lock().state)]);
        if let Some(cut) = cut {
            device.cut_after(cut);
        }
        let before = device.operations();
        work(&shared, &mut trail, &mut Random(seed + 2), 40);
        let freed = shared.lock().journal.freed_segments();
        (device.operations() - before, device, trail, freed)
    };
    let (operations, _, _, freed) = run(None);
    assert!(freed > 2, "only {freed} segments freed");
    let mut states = 0;
    for cut in (seed % stride..operations).step_by(stride as usize) {
        let (_, device, trail, _) = run(Some(cut));
        for (nth, outcome) in Outcome::ALL.into_iter().enumerate() {
            let variants = if nth < 2 { 1 } else { 3 };
            for variant in 0..variants {
                let salt = seed ^ cut << 8 ^ variant << 4 ^ nth as u64;
                let what = format!("seed {seed} cut {cut} {outcome:?} {variant}");
                let device = Arc::new(device.survive(outcome, salt));
                let mut trail = Trail(trail.0.clone());
                let shared = judge(&device, &mut trail, salt, &what);
                let mut random = Random(salt);
                device.cut_after(random.below(12));
                work(&shared, &mut trail, &mut random, 8);
                let outcome = Outcome::ALL[random.below(4) as usize];
                let device = Arc::new(device.survive(outcome, salt));
                let shared = judge(&device, &mut trail, salt + 1, &format!("{what}, then {outcome:?}"));
                work(&shared, &mut trail, &mut random, 3);
                states += 2;
            }
        }
    }
    eprintln!("seed {seed}: {states} states over {operations} operations, {freed} segments freed meanwhile");
    states
}

/// POSTFACH_CRASH_SEEDS: so many workloads from POSTFACH_CRASH_FIRST on, cut at every operation (`scripts/test soak`); else some of each of three.
#[test]
fn nothing_told_is_lost_while_segments_are_used_again() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("POSTFACH_CRASH_FIRST").unwrap_or(1);
    let (seeds, stride) = number("POSTFACH_CRASH_SEEDS").map_or((3, 6), |seeds| (seeds, 1));
    let states: u32 = (first..first + seeds).map(|seed| storm(seed, stride)).sum();
    eprintln!("{states} states");
    assert!(u64::from(states) >= seeds * 600 / stride, "{states}");
}

/// Applying a copy where it was made changes nothing.
#[test]
fn a_copy_says_what_is_true() {
    let device = Arc::new(used(9, 25, 32 * 1024));
    let (shared, _) = open(&device, 9).expect("opens");
    let mut store = shared.lock();
    let before = lines(&store.state);
    let mut steps = 0;
    while let Some(mut portion) = {
        let bytes = store.record_bytes();
        store.journal.next_portion(bytes)
    } {
        portion.read(&**store.journal.device());
        let copies = store.copies_of(portion.take_frames());
        for copy in &copies {
            let serial = store.state.serial;
            store.state.apply(copy, serial, Position(0));
        }
        assert_eq!(lines(&store.state), before);
        assert!(store.journal.pass(&portion).is_ok());
        steps += 1;
        if steps > 200 {
            break;
        }
    }
    assert!(steps > 3 && store.state.serial > Serial(0), "{steps}");
}
