//! Power is cut at every write and flush while segments are emptied and used again, snapshots are told, a log falls idle or is opened; and a second
//! time in what follows, in each of these.
//!
//! The store is so small that it lives in its reserves: every few changes a segment is freed and another is written over.

use std::sync::Arc;

use super::record::Record;
use super::{Shared, State, Store};
use crate::device::{Cut, Device, Left, Memory, Outcome, Outcomes, Random};
use crate::journal::{Extent, Format, Report, format};
use crate::proof::{self, seeds, share};
use crate::types::{AccountId, BodyId, Class, FolderId, Position, Serial};

mod life;

pub(crate) use life::{Doing, Life, Truth};

const ANNA: AccountId = AccountId(1);

pub(crate) fn lines(state: &State) -> Vec<String> {
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
            lines.push(format!("{id} {name} {} next:{next} {serial} {}", folder.uid_validity, folder.unseen));
            lines.extend(folder.live().map(|message| format!("{message:?}")));
        }
    }
    lines
}

pub(crate) fn open(device: &Arc<Memory>, seed: u64) -> Option<(Shared, Report)> {
    let mut random = Random(seed);
    let (store, report) = Store::open(device.clone(), &mut |bytes| random.fill(bytes)).ok()?;
    Some((Shared::new(store), report))
}

/// The state of the last commit, and each since.
#[derive(Clone, Debug)]
pub(crate) struct Trail(pub(crate) Vec<Vec<String>>);

impl Trail {
    pub(crate) fn of(shared: &Shared) -> Trail {
        Trail(vec![lines(&shared.lock().state)])
    }

    pub(crate) fn now(&mut self, shared: &Shared) {
        let now = lines(&shared.lock().state);
        if self.0.last() != Some(&now) {
            self.0.push(now);
        }
    }

    /// False: the power is gone.
    pub(crate) fn commit(&mut self, shared: &Shared) -> bool {
        let mut store = shared.lock();
        let done = store.commit().is_ok() && !store.journal.read_only();
        if done {
            self.0 = vec![lines(&store.state)];
        }
        done
    }
}

/// Opens what has survived and holds it against what was told.
pub(crate) fn judge(device: &Arc<Memory>, trail: &mut Trail, seed: u64, what: &str) -> Shared {
    let (shared, report) = one_of(device, trail, seed, what).expect("opens");
    assert!(!report.is_damaged(), "{what}: {report}");
    assert_eq!(bodies(&shared, device, what), [], "{what}");
    shared
}

/// The same without the bodies. `None`: it cannot be opened.
fn one_of(device: &Arc<Memory>, trail: &mut Trail, seed: u64, what: &str) -> Option<(Shared, Report)> {
    let (shared, report) = open(device, seed)?;
    let found = lines(&shared.lock().state);
    if !trail.0.contains(&found) {
        let last = trail.0.last().expect("some");
        let missing: Vec<_> = last.iter().filter(|line| !found.contains(line)).collect();
        let more: Vec<_> = found.iter().filter(|line| !last.contains(line)).collect();
        panic!("{what}: none of {} states; missing {missing:?}; not told {more:?}", trail.0.len());
    }
    *trail = Trail(vec![found]);
    Some((shared, report))
}

/// Bodies that are not there, or not as they were written, and say so. No other bytes are ever given for them.
pub(crate) fn bodies(shared: &Shared, device: &Memory, what: &str) -> Vec<BodyId> {
    let store = shared.lock();
    let (mut damaged, mut buffer) = (Vec::new(), Vec::new());
    let folders = store.state.accounts.values().flat_map(|account| account.folders.values());
    for message in folders.flat_map(|folder| folder.live()) {
        let mut read = |extent: Option<Extent>| extent.is_some_and(|at| at.read(device, &mut buffer).is_ok());
        let structure = read(store.journal.find_structure(message.body));
        if !read(store.journal.find(message.body, 0)) || !structure {
            damaged.push(message.body);
            continue;
        }
        let mut wanted = vec![0; message.size as usize];
        Random(message.body.0).fill(&mut wanted);
        assert!(buffer == wanted, "{what}: body {} has other bytes", message.body);
    }
    damaged
}

/// A store with one mailbox, in which nothing has happened.
pub(crate) fn fresh(seed: u64, segments: u64, segment_bytes: u32) -> Life {
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
    shared.lock().commit().expect("commits");
    let trail = Trail::of(&shared);
    drop(shared);
    let life = Life::after(device, trail, seed, "new");
    life.device.take_cuts();
    life
}

/// A store that has been written over a few times.
pub(crate) fn used(seed: u64, segments: u64, segment_bytes: u32) -> Memory {
    let mut life = fresh(seed, segments, segment_bytes);
    life.live(&mut Random(seed), 900);
    assert!(life.device.bytes_written() > 3 * 25 * 32 * 1024, "{}", life.device.bytes_written());
    life.device.survive(Outcome::Lost, 0)
}

/// What has been seen: states by what the cut was in, states after a second cut by what that was in, states with damage beside, and those of
/// them in which the newest batch is spoilt.
pub(crate) type Seen = [u64; 12];

/// One workload, cut everywhere. `look` is shown every state first.
pub(crate) fn storm(seed: u64, segments: u64, segment_bytes: u32, look: &dyn Fn(&dyn Device, &str)) -> Seen {
    let base = Arc::new(used(seed, segments, segment_bytes));
    let trail = Trail::of(&open(&base, seed).expect("opens").0);
    let mut life = Life::after(Arc::new(base.copy()), trail, seed + 1, "before");
    life.live(&mut Random(seed + 2), 40);
    let mut seen = Seen::default();
    let (mut outcomes, mut spoilt) = (Outcomes::default(), Outcomes::default());
    for (cut, truth) in life.cuts() {
        let salt = seed ^ cut.operations() << 8;
        let what = format!("seed {seed} cut {} in {}", cut.operations(), truth.doing.name());
        for (nth, left) in outcomes.of(&cut, 1, false, salt).into_iter().enumerate() {
            let what = format!("{what}: {:?} {}", left.outcome, left.seed);
            look(&left.memory, &what);
            let life = Life::after(Arc::new(left.memory), truth.trail.clone(), salt, &what);
            seen[truth.doing as usize] += 1;
            if (salt + nth as u64).is_multiple_of(4) {
                cut_again(life, salt, look, &what, &mut seen[5..10]);
            }
        }
        // What lies beside may be of the newest batch: then it must be known what there was before.
        if truth.before.0.is_empty() {
            continue;
        }
        for Left { seed: how, memory, .. } in spoilt.of(&cut, 2, true, salt) {
            seen[10] += 1;
            seen[11] += u64::from(judge_beside(memory, truth, &format!("{what}: beside {how}")));
        }
    }
    seen
}

/// Goes on with a life, and cuts it once in each thing that it did.
fn cut_again(mut life: Life, seed: u64, look: &dyn Fn(&dyn Device, &str), what: &str, seen: &mut [u64]) {
    let mut random = Random(seed);
    life.live(&mut random, 8);
    let cuts = life.cuts();
    for doing in Doing::ALL {
        let cuts: Vec<&(Cut, &Truth)> = cuts.iter().filter(|(_, truth)| truth.doing == doing).collect();
        let Some((cut, truth)) = cuts.get(random.below(cuts.len() as u64) as usize) else { continue };
        let mut states = Outcomes::default().of(cut, 1, false, seed);
        let left = states.swap_remove(random.below(states.len() as u64) as usize);
        let (at, how) = (cut.operations(), left.seed);
        let what = format!("{what}, then at {at} in {}: {:?} {how}", doing.name(), left.outcome);
        look(&left.memory, &what);
        let mut third = Life::after(Arc::new(left.memory), truth.trail.clone(), seed + 1, &what);
        third.device.take_cuts();
        third.live(&mut random, 2);
        seen[doing as usize] += 1;
    }
}

/// Two faults at once: what is not as it was told is reported, and no body has other bytes. True: the newest batch is gone, and nothing tells it
/// from a torn one.
fn judge_beside(memory: Memory, truth: &Truth, what: &str) -> bool {
    let device = Arc::new(memory);
    let (shared, report) = open(&device, 5).expect("opens");
    let found = lines(&shared.lock().state);
    let whole = bodies(&shared, &device, what).is_empty();
    if whole && truth.trail.0.contains(&found) || report.is_damaged() {
        return false;
    }
    let checked = crate::check::check(&*device).expect("reads");
    if !checked.damage.is_empty() {
        return false;
    }
    assert!(whole, "{what}: bodies are gone and a check is content");
    assert!(truth.before.0.contains(&found), "{what}: what was acknowledged is gone without a word");
    true
}

pub(crate) fn tell_counts(what: &str, seen: Seen) {
    for doing in Doing::ALL {
        let (name, nth) = (doing.name(), doing as usize);
        proof::count(proof::STATES, &format!("{what}: in {name}"), seen[nth]);
        proof::count(proof::DOUBLES, &format!("{what}: in {name}"), seen[5 + nth]);
    }
    proof::count(proof::BESIDE, what, seen[10]);
    proof::count("of those", &format!("{what}: the newest batch is spoilt, which looks torn"), seen[11]);
}

#[test]
fn nothing_told_is_lost_while_segments_are_used_again() {
    // Segments of 32 KiB have no summaries, and then there are no snapshots.
    let bytes = |seed: u64| [32 * 1024, 64 * 1024][seed as usize / 2 % 2];
    let seen = share("segments used again", seeds(16), |seed| storm(seed, 25, bytes(seed), &|_, _| {}));
    tell_counts("segments used again", seen);
    assert!(
        seen[..10].iter().sum::<u64>() > 2000 && seen[2] > 200 && seen[7] > 100 && seen[3] > 0,
        "{seen:?}"
    );
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
    assert!(steps > 1 && store.state.serial > Serial(0), "{steps}");
}
