//! Segments are emptied and used again, by batches of several segments too, on a medium that discards what it is told to or does not; power is
//! cut at every write and flush, and once more soon after. What was told is there, and nothing that a freed segment held comes back.
//!
//! The law of compaction is kept by the smallest store there can be: registers. A record writes one, with a body; the last one counts.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const KEYS: u64 = 6;

/// What a register says: the number of the change, which is its body's, too.
type Registers = BTreeMap<u8, u64>;

struct World {
    device: Arc<Memory>,
    journal: Journal,
    /// What has been appended, as far as it goes.
    now: Registers,
    /// The registers when the last commit ended, and after each change since: a power cut leaves one of these.
    told: Vec<Registers>,
    changes: u64,
    /// Positions that lay in segments which have been freed.
    dead: BTreeSet<u64>,
}

/// What a change's body says: some pieces, from its number alone.
fn pieces(change: u64) -> Vec<Vec<u8>> {
    let mut random = Random(change);
    let pieces = 0..random.below(3);
    pieces
        .map(|_| (0..1 + random.below(3500)).map(|at| (at ^ change) as u8 ^ random.0 as u8).collect())
        .collect()
}

impl World {
    /// Opens what has survived, and holds it against what was told.
    fn open(device: Arc<Memory>, told: &[Registers], dead: BTreeSet<u64>, seed: u64, what: &str) -> World {
        let Opened { mut journal, report, checked, records } = open(device.clone(), seed);
        assert!(!report.is_damaged() && !checked.is_damaged(), "{what}: {report} {checked}");
        let mut now = Registers::new();
        for (position, serial, payload) in &records {
            assert!(!dead.contains(position), "{what}: frame {position} had been freed");
            now.insert(payload[0], *serial);
        }
        assert!(told.contains(&now), "{what}: {now:?} is none of {told:?}");
        let mut buf = Vec::new();
        for change in now.values() {
            journal.hold(BodyId(*change));
            for (piece, wanted) in pieces(*change).iter().enumerate() {
                let extent = journal.find(BodyId(*change), piece as u16);
                let extent = extent.unwrap_or_else(|| panic!("{what}: body {change} is lost"));
                extent.read(&*device, &mut buf).unwrap();
                assert!(buf == *wanted, "{what}: body {change}");
            }
        }
        journal.drop_unheld();
        // Numbers are never given twice, also those of changes that have not survived.
        let changes =
            told.iter().flat_map(|registers| registers.values()).max().map_or(0, |last| *last) + 100;
        World { device, journal, told: vec![now.clone()], now, changes, dead }
    }

    /// Writes a register, if there is room.
    fn change(&mut self, key: u8) {
        let change = self.changes + 1;
        for (piece, payload) in pieces(change).into_iter().enumerate() {
            if self.journal.append_body(ANNA, BodyId(change), piece as u16, payload).is_err() {
                return self.journal.forget(BodyId(change));
            }
        }
        let payload = [vec![key], vec![0; 1 + change as usize * 37 % 900]].concat();
        if self.journal.append_record(ANNA, Serial(change), payload).is_err() {
            return self.journal.forget(BodyId(change));
        }
        self.changes = change;
        self.journal.hold(BodyId(change));
        if let Some(before) = self.now.insert(key, change) {
            self.journal.release(BodyId(before));
        }
        self.told.push(self.now.clone());
    }

    /// Reads a portion of a segment that holds little, and says again what of it still counts.
    fn compact(&mut self) -> bool {
        let needed = self.now.len() as u64 * 600;
        let Some(mut portion) = self.journal.next_portion(needed) else { return false };
        portion.read(&*self.device);
        if portion.is_damaged() {
            return false;
        }
        for taken in portion.take_frames() {
            let copied = if taken.kind != Kind::Record {
                self.journal.copy(taken)
            } else if self.now.get(&taken.payload[0]) == Some(&taken.number) {
                self.journal.copy_record(Serial(taken.number), taken.payload.to_vec())
            } else {
                Ok(())
            };
            if copied.is_err() {
                return false;
            }
        }
        self.journal.pass(&portion).is_ok()
    }

    /// False: writing has come to its end.
    fn commit(&mut self) -> bool {
        while self.journal.pending_bytes() > 0 {
            let before: Vec<_> =
                self.journal.members.iter().map(|member| (member.sequence, member.first)).collect();
            let Some(mut batch) = self.journal.take() else { return false };
            let result = batch.write(&*self.device);
            match self.journal.finish(batch, result) {
                Finish::Durable { .. } => self.told = vec![self.now.clone()],
                Finish::Again => {}
                Finish::Failed => return false,
            }
            let left: BTreeSet<u64> = self.journal.members.iter().map(|member| member.sequence).collect();
            for (nth, (sequence, first)) in before.iter().enumerate() {
                let next = before.get(nth + 1).map_or(*first, |(_, next)| *next);
                if !left.contains(sequence) {
                    self.dead.extend(*first..next);
                }
            }
            for (offset, length) in self.journal.take_discardable() {
                let _hint = self.device.discard(offset, length);
            }
        }
        true
    }

    fn work(&mut self, random: &mut Random, steps: u64) {
        for _ in 0..steps {
            // Few changes are one batch; many, one of several segments.
            for _ in 0..[1, 2, 4, 12][random.below(4) as usize] {
                self.change(random.below(KEYS) as u8);
            }
            let mut portions = random.below(4);
            while self.journal.pressure() == Pressure::High || portions > 0 {
                portions = portions.saturating_sub(1);
                if !self.compact() {
                    break;
                }
            }
            if !self.commit() {
                return;
            }
            if self.journal.relieve(u64::MAX) {
                self.change(random.below(KEYS) as u8);
            }
        }
        self.commit();
    }
}

/// A store that has been written over some times.
fn used(seed: u64) -> (Memory, Registers, BTreeSet<u64>) {
    let device = store_of(26, [16384, 32768][seed as usize / 2 % 2], seed);
    let device = if seed.is_multiple_of(2) { device } else { device.ignoring_discards() };
    let told = [Registers::new()];
    let mut world = World::open(Arc::new(device), &told, BTreeSet::new(), seed, "new");
    world.work(&mut Random(seed), 150);
    assert!(world.journal.freed_segments() > 40, "{}", world.journal.freed_segments());
    assert!(world.changes > 200 && world.now.len() as u64 == KEYS, "{}", world.changes);
    (world.device.copy(), world.now, world.dead)
}

/// One workload, cut everywhere. Returns how many states were seen.
fn storm(seed: u64, stride: u64) -> u32 {
    let (base, registers, dead) = used(seed);
    let run = |cut: Option<u64>| {
        let device = Arc::new(base.copy());
        let told = [registers.clone()];
        let mut world = World::open(device.clone(), &told, dead.clone(), seed + 1, "again");
        let before = device.operations();
        if let Some(cut) = cut {
            device.cut_after(cut);
        }
        world.work(&mut Random(seed + 2), 25);
        (world, device.operations() - before)
    };
    let operations = run(None).1;
    let mut states = 0;
    for cut in (seed % stride..operations).step_by(stride as usize) {
        let (world, _) = run(Some(cut));
        for (nth, outcome) in Outcome::ALL.into_iter().enumerate() {
            for variant in 0..if nth < 2 { 1 } else { 6 } {
                let salt = seed << 32 ^ cut << 8 ^ variant << 4 ^ nth as u64;
                let what = format!("seed {seed} cut {cut} {outcome:?} {variant}");
                let mut random = Random(salt);
                let device = Arc::new(world.device.survive(outcome, salt));
                let mut again = World::open(device.clone(), &world.told, world.dead.clone(), salt, &what);
                device.cut_after(random.below(12));
                again.work(&mut random, 4);
                let outcome = Outcome::ALL[random.below(4) as usize];
                let what = format!("{what}, then {outcome:?}");
                let device = Arc::new(device.survive(outcome, salt));
                let mut third = World::open(device, &again.told, again.dead, salt + 1, &what);
                third.work(&mut random, 2);
                World::open(third.device, &[third.now], third.dead, salt + 2, &what);
                states += 3;
            }
        }
    }
    states
}

/// POSTFACH_CRASH_SEEDS: so many workloads from POSTFACH_CRASH_FIRST on, cut at every operation; else some of each of four.
#[test]
fn what_a_freed_segment_held_stays_dead() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("POSTFACH_CRASH_FIRST").unwrap_or(1);
    let (seeds, stride) = number("POSTFACH_CRASH_SEEDS").map_or((4, 4), |seeds| (seeds, 1));
    let states: u32 = (first..first + seeds).map(|seed| storm(seed, stride)).sum();
    eprintln!("{states} states");
    assert!(u64::from(states) > seeds * 1000 / stride, "{states}");
}

/// A batch may have been torn so that of a header only the second copy is of this use: so it stays until the segment is used again. Here that
/// has befallen every segment, or some.
#[test]
fn the_first_copy_of_a_header_of_an_earlier_use_is_not_believed() {
    let mut stale_copies = 0;
    for seed in [1, 3, 5] {
        let (base, registers, dead) = used(seed);
        let device = Arc::new(base.ignoring_discards());
        let mut world = World::open(device.clone(), &[registers], dead, seed, "again");
        let superblock = world.journal.superblock().clone();
        let place = |index: usize| superblock.base(index as u32);
        let first_copies = || -> Vec<Vec<u8>> {
            let mut block = vec![0; 4096];
            let copies = (0..superblock.segment_count as usize).map(|index| {
                device.read_at(place(index), &mut block).unwrap();
                block.clone()
            });
            copies.collect()
        };
        let (mut now, mut before) = (first_copies(), BTreeMap::new());
        let mut random = Random(seed);
        for step in 0..60 {
            // What stays where it is, while what followed it is freed: then nobody else tells which use is meant.
            if step < 8 {
                world.change(100 + step as u8);
            }
            world.work(&mut random, 1);
            for (index, block) in first_copies().into_iter().enumerate() {
                if block != now[index] {
                    before.insert(index, std::mem::replace(&mut now[index], block));
                }
            }
            for every in [1, 2, 3] {
                let torn = device.copy();
                for (index, block) in before.iter().filter(|(index, _)| index.is_multiple_of(every)) {
                    torn.write_at(place(*index), block).unwrap();
                    stale_copies += 1;
                }
                let what = format!("seed {seed}, step {step}, every {every}");
                World::open(Arc::new(torn), &world.told, world.dead.clone(), seed + step, &what);
            }
        }
    }
    assert!(stale_copies > 1000, "{stale_copies}");
}

/// A batch of three segments: to go on with.
fn three(device: &Arc<Memory>, body: u64) -> Vec<u32> {
    let mut journal = open(device.clone(), 7 + body).journal;
    let before: BTreeSet<u32> = journal.members.iter().map(|member| member.index).collect();
    for piece in 0..3 {
        journal.append_body(ANNA, BodyId(body), piece, vec![body as u8; 6000]).unwrap();
    }
    journal.append_record(ANNA, Serial(body), vec![body as u8]).unwrap();
    commit(&mut journal);
    journal.members.iter().map(|member| member.index).filter(|index| !before.contains(index)).collect()
}

/// The first copies of the headers of a torn batch agree with each other. A second torn batch has left only the second copy of one.
#[test]
fn a_torn_batch_does_not_vouch_for_its_own_segments() {
    let device = Arc::new(store_of(16, 16384, 1));
    three(&device, 1);
    // Blocks of the segments that a batch has used, by their number in the segment, that have arrived.
    let torn = |device: &Arc<Memory>, body: u64, arrived: &[&[u64]]| {
        let whole = Arc::new(device.copy());
        let segments = three(&whole, body);
        let left = Arc::new(device.copy());
        for (index, blocks) in segments.iter().zip(arrived) {
            for block in *blocks {
                let (mut bytes, at) = ([0; 4096], (u64::from(*index) + 1) * 16384 + block * 4096);
                whole.read_at(at, &mut bytes).unwrap();
                left.write_at(at, &bytes).unwrap();
            }
        }
        left.flush().unwrap();
        (left, segments)
    };
    let (once, segments) = torn(&device, 2, &[&[0, 1], &[0, 1], &[0, 1]]);
    let (twice, again) = torn(&once, 3, &[&[1, 2, 3]]);
    assert_eq!(segments, again);
    let opened = open(twice, 9);
    assert!(!opened.report.is_damaged() && !opened.checked.is_damaged(), "{}", opened.report);
    assert_eq!(opened.report.segments, opened.checked.segments);
}

/// A medium that changes for good while it is looked at: as soon as frames of this segment are read.
struct Moving {
    segment: std::ops::Range<u64>,
    now: std::sync::Mutex<Memory>,
    then: Memory,
}

impl Device for Moving {
    fn size(&self) -> u64 {
        self.then.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let mut now = self.now.lock().unwrap();
        if self.segment.contains(&offset) {
            *now = self.then.copy();
        }
        now.read_at(offset, buf)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> {
        unreachable!("a look changes nothing")
    }

    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> std::io::Result<()> {
        unreachable!("a look changes nothing")
    }

    fn prepare(&self, _: u64, _: u64) -> std::io::Result<()> {
        unreachable!("a look changes nothing")
    }

    fn forget_cache(&self, _: u64, _: u64) {}
}

/// Whoever looks for what to copy has read the newest header; until he reads its frames the segment is gone, and so are those that it had freed.
#[test]
fn a_look_beside_a_server_says_what_it_has_missed() {
    let (base, registers, dead) = used(1);
    let device = Arc::new(base.ignoring_discards());
    let mut world = World::open(device.clone(), &[registers], dead, 1, "again");
    let (mut random, mut seen) = (Random(1), 0);
    for _ in 0..80 {
        let uses = |world: &World| -> Vec<(u32, u64)> {
            world.journal.members.iter().map(|member| (member.index, member.sequence)).collect()
        };
        let before = uses(&world);
        world.work(&mut random, 1);
        let now = uses(&world);
        let [.., previous, newest] = now[..] else { continue };
        let mut gone: Vec<u32> =
            before.iter().filter(|used| !now.contains(used)).map(|used| used.0).collect();
        if gone.is_empty() || before.last() != Some(&previous) {
            continue;
        }
        gone.push(newest.0);
        let superblock = world.journal.superblock().clone();
        let then = device.copy();
        for index in gone {
            let zeros = vec![0; superblock.segment_bytes as usize];
            then.write_at(superblock.base(index), &zeros).unwrap();
        }
        let base = superblock.base(newest.0);
        let segment = base + SEGMENT_START..base + u64::from(superblock.segment_bytes);
        let moving = Moving { segment, now: std::sync::Mutex::new(device.copy()), then };
        let found = survey(&moving).unwrap();
        assert!(found.report.is_damaged(), "{}", found.report);
        seen += 1;
    }
    assert!(seen > 3, "{seen}");
}
