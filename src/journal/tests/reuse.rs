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
