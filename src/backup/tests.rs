//! Power is cut while a backup is made beside a store at work, and in the next attempt again; and while a store is restored, and again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::device::{Left, Memory, Operation, Outcome, Outcomes, Random, below};
use crate::proof::{self, seeds, share};
use crate::store::storm::{Life, Trail, lines, used};

/// A folder that goes with its owner. In memory where there is such a place: it is made durable thousands of times.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let name = format!("postfach-cuts-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = place.join(name);
        let _old = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn copy(&self) -> Folder {
        let copy = Folder::new();
        for name in names(&self.0).unwrap() {
            fs::copy(self.0.join(&name), copy.0.join(&name)).unwrap();
        }
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// The store's medium, as a backup reads it: the store lives on meanwhile, and at one read the power goes.
struct Busy {
    inner: Mutex<Working>,
    device: Arc<Memory>,
}

struct Working {
    life: Life,
    random: Random,
    /// Blocks that are read until the power goes.
    power: u64,
}

impl Device for Busy {
    below!(device: size flush forget_cache);

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut working = self.inner.lock().unwrap();
        let Working { life, random, power } = &mut *working;
        // As the page cache does it: one block after the other, and what is written meanwhile is there or not.
        for (part, at) in buf.chunks_mut(BLOCK_BYTES).zip((offset..).step_by(BLOCK_BYTES)) {
            *power = power.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            if random.below(16) == 0 {
                life.live(random, 1);
            }
            self.device.read_at(at, part)?;
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        unreachable!("a backup changes nothing")
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("a backup changes nothing")
    }

    fn prepare(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("a backup changes nothing")
    }
}

/// What a backup says, which must be whole.
fn content(dir: &Path, what: &str) -> Vec<String> {
    let opened = open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(opened.damage, [""; 0], "{what}");
    let (store, report) = Store::open(Arc::new(opened.device), &mut |buf| buf.fill(7)).unwrap();
    assert!(!report.is_damaged(), "{what}: {report}");
    lines(store.state())
}

/// What had no name yet, or was not durable, may be anything after a cut.
fn tear(dir: &Path, random: &mut Random) {
    for name in ["copy.new", "manifest.new"] {
        let path = dir.join(name);
        let Ok(mut bytes) = fs::read(&path) else { continue };
        match random.below(4) {
            0 => fs::remove_file(&path).unwrap(),
            1 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
            2 => random.fill(&mut bytes),
            _ => {}
        }
        if path.exists() {
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// A backup is begun while the store is at work, and the power goes at one of its reads; or while a commit is on its way, which the backup sees
/// and the medium may never have. What is left of the store, and what it may be; and whether the backup was made: if not, it is the one before.
fn cut_in_a_backup(mut life: Life, dir: &Path, random: &mut Random, what: &str) -> (Memory, Trail, bool) {
    let old = dir.join(MANIFEST).exists().then(|| content(dir, what));
    let power = random.below(600);
    let (made, left, trail);
    if random.below(2) == 0 {
        let device = life.device.clone();
        let working = Working { life, random: Random(random.number()), power };
        let busy = Busy { inner: Mutex::new(working), device };
        made = backup(&busy, dir, &mut |_, _| {}).is_ok();
        life = busy.inner.into_inner().unwrap().life;
        let found = made.then(|| content(dir, what));
        assert!(
            found.is_none_or(|found| life.possible().any(|state| *state == found)),
            "{what}: of no state"
        );
        // The backup has seen nothing that comes later.
        let operations = life.device.operations();
        life.live(random, 2);
        let cuts: Vec<_> =
            life.cuts().into_iter().filter(|(cut, _)| cut.operations() >= operations).collect();
        if let Some((cut, truth)) = cuts.get(random.below(cuts.len() as u64) as usize) {
            let mut states = Outcomes::default().of(cut, 1, false, random.number());
            left = states.swap_remove(random.below(states.len() as u64) as usize).memory;
            trail = truth.trail.clone();
        } else {
            (left, trail) = (life.device.survive(Outcome::Lost, 0), life.truth.trail.clone());
        }
    } else {
        let cuts = life.cuts();
        let (cut, truth) = &cuts[random.below(cuts.len() as u64) as usize];
        let device = cut.running();
        if random.below(2) == 0 {
            device.fail_at(Operation::Read, power, true);
        }
        made = backup(&device, dir, &mut |_, _| {}).is_ok();
        let found = made.then(|| content(dir, what));
        assert!(found.is_none_or(|found| truth.trail.0.contains(&found)), "{what}: of no state");
        left = device.survive(Outcome::ALL[random.below(4) as usize], random.number());
        trail = truth.trail.clone();
    }
    tear(dir, random);
    if let (false, Some(old)) = (made, old) {
        assert_eq!(content(dir, what), old, "{what}: the one before");
    }
    (left, trail, made)
}

/// Counts states after a second cut, and those of them that met a backup that was already made.
fn backups(seed: u64) -> [u64; 2] {
    let base = Arc::new(used(seed, 25, 32 * 1024));
    let trail = Trail(vec![lines(crate::store::storm::open(&base, seed).unwrap().0.lock().state())]);
    let (first, empty) = (Folder::new(), Folder::new());
    backup(&*base, &first.0, &mut |_, _| {}).unwrap();
    assert_eq!(content(&first.0, "first"), trail.0[0]);
    let (mut seen, mut done) = (0, 0);
    for round in 0..80 {
        let mut random = Random(seed << 8 | round);
        let what = format!("seed {seed} round {round}");
        let folder = if round % 4 == 0 { empty.copy() } else { first.copy() };
        let (mut device, mut trail) = (base.copy(), trail.clone());
        for time in 0..2 {
            // Between two cuts the store writes something at least, so that no two states are the same.
            // Each opening draws other random numbers.
            let mut life = Life::after(Arc::new(device), trail, seed * 1000 + round * 10 + time, &what);
            assert!(life.live(&mut random, 3));
            let made;
            (device, trail, made) = cut_in_a_backup(life, &folder.0, &mut random, &what);
            (seen, done) = (seen + time, done + time * u64::from(made));
        }
        let device = Arc::new(device);
        let life = Life::after(device.clone(), trail, seed * 1000 + round * 10 + 9, &what);
        backup(&*device, &folder.0, &mut |_, _| {}).unwrap();
        assert_eq!(content(&folder.0, &what), life.truth.trail.0[0], "{what}");
        assert!(names(&folder.0).unwrap().iter().all(|name| !name.ends_with(".new")), "{what}");
    }
    [seen, done]
}

#[test]
fn a_cut_in_a_backup_and_one_in_the_next_lose_neither_mail_nor_the_backup_before() {
    let [seen, made] = share("backups", seeds(4), backups);
    proof::count(proof::DOUBLES, "in a backup, beside a store at work", seen);
    proof::count("of those", "the backup was made before the power went", made);
    assert!(seen >= 320 && made > 20 && made < seen, "{seen} {made}");
}

#[test]
fn one_backup_at_a_time_is_written_to_a_directory() {
    let folder = Folder::new();
    let base = used(2, 25, 32 * 1024);
    backup(&base, &folder.0, &mut |_, _| {}).unwrap();
    let before = names(&folder.0).unwrap();
    let running = lock(&folder.0).unwrap();
    let refused = backup(&base, &folder.0, &mut |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("another backup"), "{refused}");
    assert_eq!(names(&folder.0).unwrap(), before);
    assert!(verify(&folder.0, &mut |_, _| {}).unwrap().damage.is_empty());
    drop(running);
    backup(&base, &folder.0, &mut |_, _| {}).unwrap();
}

#[test]
fn who_reads_beside_a_backup_sees_the_one_before_or_the_new_one() {
    let folder = Folder::new();
    let base = Arc::new(used(4, 25, 32 * 1024));
    let trail = Trail(vec![lines(crate::store::storm::open(&base, 4).unwrap().0.lock().state())]);
    let life = Life::after(Arc::new(base.copy()), trail, 4, "beside");
    let device = life.device.clone();
    backup(&*device, &folder.0, &mut |_, _| {}).unwrap();
    let working = Working { life, random: Random(4), power: u64::MAX };
    let busy = Busy { inner: Mutex::new(working), device };
    let (made, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut seen = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..60 {
                let done = backup(&busy, &folder.0, &mut |_, _| {});
                made.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
            }
            ended.store(1, Ordering::Release);
        });
        while ended.load(Ordering::Acquire) == 0 {
            let opened = open(&folder.0).unwrap();
            assert_eq!(opened.damage, [""; 0]);
            seen += 1;
        }
    });
    assert!(seen > 0 && made.into_inner() > 10);
}

#[test]
fn a_file_that_is_damaged_is_copied_again() {
    let folder = Folder::new();
    let base = used(5, 25, 32 * 1024);
    backup(&base, &folder.0, &mut |_, _| {}).unwrap();
    let whole = |folder: &Folder| {
        let found = verify(&folder.0, &mut |_, _| {}).unwrap();
        found.damage.is_empty()
    };
    let mut before = names(&folder.0).unwrap();
    before.sort();
    let sealed: Vec<_> = before.iter().filter(|name| name.ends_with(".segment")).cloned().collect();
    let spoil = |name: &String, length: usize| {
        let mut bytes = fs::read(folder.0.join(name)).unwrap();
        bytes[9000] ^= 1;
        bytes.truncate(length);
        fs::write(folder.0.join(name), bytes).unwrap();
    };
    // Another length: noticed by the backup itself.
    spoil(&sealed[0], 20_000);
    spoil(&sealed[1], 0xFFFF_FFFF);
    assert_eq!(backup(&base, &folder.0, &mut |_, _| {}).unwrap().copied, 2);
    let found = verify(&folder.0, &mut |_, _| {}).unwrap().damage;
    let told = found.iter().find(|text| text.contains(&sealed[1]));
    assert!(
        told.is_some_and(|told| told.contains("the next `postfach backup` copies it again")),
        "{found:?}"
    );
    assert!(!found.iter().any(|text| text.contains(&sealed[0])), "{found:?}");
    // Looked at twice, noted once; and the next backup makes it good.
    assert!(!whole(&folder));
    assert_eq!(copy_again(&folder.0), BTreeSet::from([sealed[1].clone()]));
    assert_eq!(backup(&base, &folder.0, &mut |_, _| {}).unwrap().copied, 2);
    assert!(whole(&folder));
    let mut after = names(&folder.0).unwrap();
    after.sort();
    assert_eq!(after, before);

    // What is in the store is not what was copied: the damaged file stays, beside.
    let survey = look(&base).unwrap();
    let segment = survey.segments.iter().find(|segment| {
        segment.sealed
            && sealed[1].starts_with(&format!("{:016x}-{:016x}-", segment.sequence, segment.incarnation))
    });
    spoil(&sealed[1], 20_000);
    let other = base.copy();
    other.write_at(survey.superblock.base(segment.unwrap().index) + 12_000, b"rot").unwrap();
    backup(&other, &folder.0, &mut |_, _| {}).unwrap();
    let after = names(&folder.0).unwrap();
    assert!(after.contains(&format!("{}.bad", sealed[1])) && !after.contains(&sealed[1]), "{after:?}");
    assert!(after.len() == before.len() + 1);
}

/// Makes a store of a backup.
fn make(dir: &Path, device: &Arc<Memory>, seed: u64) -> Result<Restored, Error> {
    let mut random = Random(seed);
    let mut wanted = Wanted { force: true, room_bytes: None, random: &mut |buf| random.fill(buf) };
    restore(dir, device.clone(), &mut wanted, &mut |_, _| {})
}

#[test]
fn what_is_refused_leaves_the_store_that_was_there_as_it_was() {
    let folder = Folder::new();
    let base = used(3, 25, 32 * 1024);
    backup(&base, &folder.0, &mut |_, _| {}).unwrap();
    let refused = |device_bytes: u64, room_bytes: Option<u64>, dir: &Path| {
        let device = Arc::new(Memory::new(device_bytes));
        let options = Format { segment_bytes: Some(32 * 1024), force: false };
        journal::format(&*device, &options, &mut |buf| buf.fill(9)).unwrap();
        let writes = device.writes();
        let mut wanted = Wanted { force: true, room_bytes, random: &mut |buf| buf.fill(5) };
        let refusal = restore(dir, device.clone(), &mut wanted, &mut |_, _| {}).unwrap_err();
        assert_eq!(device.writes(), writes, "{refusal}");
        refusal
    };
    assert!(matches!(refused(4 << 20, None, Path::new("/nowhere")), Error::File(..)));
    assert!(matches!(refused(1 << 20, None, &folder.0), Error::Format(FormatError::TooSmall { .. })));
    assert!(matches!(refused(4 << 20, Some(1000), &folder.0), Error::Room { there: 1000, .. }));
    std::fs::write(folder.0.join(MANIFEST), "torn").unwrap();
    assert!(matches!(refused(4 << 20, None, &folder.0), Error::Damaged(..)));
}

/// The store that is there, if there is one: then it is whole.
fn restored(device: &Arc<Memory>, what: &str) -> Option<Vec<String>> {
    journal::is_store(&**device).then(|| {
        let found = check::check(&**device).unwrap();
        assert!(found.damage.is_empty(), "{what}: {found}");
        // Where numbers go on is at random, behind all that were given out: the first line says it of the store, and each folder's has its own.
        let lines = lines(crate::store::storm::open(device, 1).unwrap().0.lock().state()).split_off(1);
        let words = |line: String| line.split(' ').filter(|word| !word.starts_with("next:")).collect();
        lines.into_iter().map(words).collect()
    })
}

/// What a store gives out next: a mod-sequence, a UIDVALIDITY, and each folder's UIDs. And the bytes of its bodies and structures.
fn given_out(device: Arc<dyn Device>) -> (Vec<u64>, u64) {
    let (store, _) = Store::open(device, &mut |buf| buf.fill(3)).unwrap();
    let state = store.state();
    let folders = state.accounts.values().flat_map(|account| account.folders.values());
    let mut given = vec![state.serial.0, state.uid_validity.into()];
    given.extend(folders.map(|folder| u64::from(folder.uid_next.0)));
    (given, store.journal().capacity().live_bytes)
}

#[test]
fn one_backup_restored_twice_gives_out_other_numbers() {
    let folder = Folder::new();
    let base = Arc::new(used(6, 25, 32 * 1024));
    backup(&*base, &folder.0, &mut |_, _| {}).unwrap();
    let (before, _) = given_out(base);
    let given = [5, 6].map(|seed| {
        let device = Arc::new(Memory::new(4 << 20));
        make(&folder.0, &device, seed).unwrap();
        given_out(device).0
    });
    assert!(before.len() > 3 && given.iter().all(|given| given.len() == before.len()));
    for (nth, before) in before.iter().enumerate() {
        let least = before + [1 << 32, 1 << 16].get(nth).unwrap_or(&(1 << 20));
        let [first, second] = [0, 1].map(|restore: usize| given[restore][nth]);
        assert!(first >= least && second >= least && first != second, "{nth}: {before} {first} {second}");
    }
}

/// Counts states after a cut, after a second one, and those in which there is a whole store.
fn restores(seed: u64) -> [u64; 3] {
    let folder = Folder::new();
    backup(&used(seed, 25, 32 * 1024), &folder.0, &mut |_, _| {}).unwrap();
    let device = Arc::new(Memory::new(4 << 20));
    device.keep_cuts();
    make(&folder.0, &device, 5).unwrap();
    let whole = restored(&device, "whole").unwrap();
    let mut seen = [0; 3];
    let mut outcomes = Outcomes::default();
    for cut in device.take_cuts() {
        for Left { outcome, seed: how, memory } in outcomes.of(&cut, 6, false, seed) {
            let what = format!("seed {seed} cut {} {outcome:?} {how}", cut.operations());
            let device = Arc::new(memory);
            seen[0] += 1;
            if let Some(found) = restored(&device, &what) {
                assert_eq!(found, whole, "{what}");
                seen[2] += 1;
            }
            if !how.is_multiple_of(2) {
                continue;
            }
            // The next attempt is not in the way of the first; and neither are in that of a third.
            device.keep_cuts();
            make(&folder.0, &device, 6).unwrap();
            let cuts = device.take_cuts();
            let mut random = Random(how);
            let cut = &cuts[random.below(cuts.len() as u64) as usize];
            let mut states = Outcomes::default().of(cut, 1, false, how);
            let again = states.swap_remove(random.below(states.len() as u64) as usize);
            let what = format!("{what}, then {} {:?}", cut.operations(), again.outcome);
            let device = Arc::new(again.memory);
            seen[1] += 1;
            if let Some(found) = restored(&device, &what) {
                assert_eq!(found, whole, "{what}");
                seen[2] += 1;
            }
            make(&folder.0, &device, 7).unwrap();
            assert_eq!(restored(&device, &what).as_ref(), Some(&whole), "{what}");
        }
    }
    seen
}

#[test]
fn a_cut_at_any_step_of_a_restore_leaves_no_store_or_a_whole_one() {
    let [states, doubles, whole] = share("restores", seeds(4), restores);
    proof::count(proof::STATES, "in a restore", states);
    proof::count(proof::DOUBLES, "in a restore", doubles);
    proof::count("of those", "a whole store", whole);
    assert!(states > 200 && doubles > 20 && whole > 10, "{states} {doubles} {whole}");
}
