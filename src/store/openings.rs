//! A store is opened by a snapshot, by summaries, or by nothing but its frames: the three must say the same, wherever the power was cut,
//! and whatever has rotted of what is not needed.

use std::sync::Arc;

use super::State;
use super::storm::{Trail, fresh, judge, lines, open, used, work};
use crate::device::{Device, Outcome, Random};
use crate::journal::{Bodies, Event, Report, Trust, read};
use crate::types::{AccountId, Position};

/// Segments of a store that has room for snapshots.
const ROOMY: u64 = 40;

/// The state as it is when everything has been read in this way, and where the bodies lie that it needs.
fn read_by(device: &dyn Device, trust: Trust) -> (Vec<String>, Report) {
    let mut state = State::default();
    let (report, bodies) = read(device, trust, &mut |event| match event {
        Event::Record(found) => state.replay(found.serial, found.position, found.payload),
        Event::Forget => state = State::default(),
    })
    .expect("reads");
    state.complete();
    let mut lines = lines(&state);
    for account in state.accounts.values() {
        for message in account.folders.values().flat_map(|folder| folder.live()) {
            lines.push(format!("{} {:?}", message.body, places(&bodies, message.body)));
        }
    }
    (lines, report)
}

fn places(bodies: &Bodies, body: crate::types::BodyId) -> [Option<u64>; 3] {
    [None, Some(0), Some(1)].map(|piece| bodies.place(body, piece))
}

/// All ways give the same. Returns how many segments the snapshot has spared.
pub(super) fn agree(device: &dyn Device, what: &str) -> u32 {
    let (wanted, checked) = read_by(device, Trust::Nothing);
    assert!(!checked.is_damaged(), "{what}: {checked}");
    let (told, _) = read_by(device, Trust::Summaries);
    differ(&wanted, &told, &format!("{what}, by summaries"));
    let (told, report) = read_by(device, Trust::Snapshot);
    differ(&wanted, &told, &format!("{what}, by a snapshot: {report}"));
    report.unread_segments
}

fn differ(wanted: &[String], told: &[String], what: &str) {
    let missing: Vec<_> = wanted.iter().filter(|line| !told.contains(line)).collect();
    let more: Vec<_> = told.iter().filter(|line| !wanted.contains(line)).collect();
    assert!(wanted == told, "{what}: missing {missing:?}; more {more:?}");
}

fn storm(seed: u64, stride: u64) -> (u32, u32) {
    let base = used(seed, ROOMY, 64 * 1024);
    let run = |cut: Option<u64>| {
        let device = Arc::new(base.copy());
        let (shared, _) = open(&device, seed + 1).expect("opens");
        let mut trail = Trail::of(&shared);
        if let Some(cut) = cut {
            device.cut_after(cut);
        }
        let before = device.operations();
        work(&shared, &mut trail, &mut Random(seed + 2), 60);
        (device.operations() - before, device, trail)
    };
    let (operations, ..) = run(None);
    let (mut states, mut spared) = (0, 0);
    for cut in (seed % stride..operations).step_by(stride as usize) {
        let (_, device, trail) = run(Some(cut));
        for (nth, outcome) in Outcome::ALL.into_iter().enumerate() {
            for variant in 0..if nth < 2 { 1 } else { 2 } {
                let salt = seed ^ cut << 8 ^ variant << 4 ^ nth as u64;
                let what = format!("seed {seed} cut {cut} {outcome:?} {variant}");
                let device = Arc::new(device.survive(outcome, salt));
                let mut trail = trail.clone();
                spared += u32::from(agree(&*device, &what) > 0);
                let shared = judge(&device, &mut trail, salt, &what);
                let mut random = Random(salt);
                device.cut_after(random.below(20));
                work(&shared, &mut trail, &mut random, 12);
                let outcome = Outcome::ALL[random.below(4) as usize];
                let device = Arc::new(device.survive(outcome, salt));
                let what = format!("{what}, then {outcome:?}");
                spared += u32::from(agree(&*device, &what) > 0);
                judge(&device, &mut trail, salt + 1, &what);
                states += 2;
            }
        }
    }
    eprintln!("{states} states over {operations} operations of the device, {spared} opened by a snapshot");
    (states, spared)
}

/// POSTFACH_CRASH_SEEDS: so many workloads from POSTFACH_CRASH_FIRST on, cut at every operation (`scripts/test soak`); else some of each of two.
#[test]
fn three_ways_of_opening_say_the_same_wherever_the_power_is_cut() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("POSTFACH_CRASH_FIRST").unwrap_or(11);
    let (seeds, stride) = number("POSTFACH_CRASH_SEEDS").map_or((2, 5), |seeds| (seeds, 1));
    let (mut states, mut spared) = (0, 0);
    for seed in first..first + seeds {
        let one = storm(seed, stride);
        (states, spared) = (states + one.0, spared + one.1);
    }
    assert!(states > 200 && spared > states / 4, "{states} states, {spared} opened by a snapshot");
}

/// A flip in any summary or any portion of a snapshot: the state is the same, and nothing is called damaged.
#[test]
fn no_rot_in_what_is_not_needed_does_harm() {
    let (device, spared) = (21..40)
        .map(|seed| used(seed, ROOMY, 64 * 1024))
        .map(|device| (device.copy(), agree(&device, "whole")))
        .find(|(_, spared)| *spared > 0)
        .expect("one of them has a snapshot");
    let (wanted, _) = read_by(&device, Trust::Nothing);
    let mut random = Random(21);
    let (mut without, mut flips) = (0, 0);
    let mut block = [0; 4096];
    for at in 0..device.size() / 4096 {
        device.read_at(at * 4096, &mut block).expect("reads");
        let portion = (0..4096).step_by(8).find(|at| block[*at..].starts_with(&[0xF5, 0x70, 1, 5]));
        let summary = block[4032..].starts_with(b"PostfSum").then_some(4032);
        for start in portion.into_iter().chain(summary).chain(summary.map(|_| 0)) {
            let copy = device.copy();
            let within = (start + random.below(64) as usize).min(4095);
            copy.write_at(at * 4096 + within as u64, &[block[within] ^ 1 << random.below(8)])
                .expect("writes");
            let (told, report) = read_by(&copy, Trust::Snapshot);
            let what = format!("flip at {}", at * 4096 + within as u64);
            assert!(!report.is_damaged(), "{what}: {report}");
            differ(&wanted, &told, &what);
            without += u32::from(report.unread_segments == 0);
            flips += 1;
        }
    }
    assert!(
        flips > 40 && without > 0,
        "{spared} segments spared; {without} of {flips} flips cost the snapshot"
    );
}

/// A folder that was the last to get a UIDVALIDITY is gone, and the snapshot spares the reading of what said that it was there.
#[test]
fn a_snapshot_says_which_numbers_were_given_out() {
    let (device, shared, _) = fresh(11, ROOMY, 64 * 1024);
    let needs = &mut Position::default();
    shared.access(needs).folder_create(AccountId(1), "Gone", None).expect("creates");
    shared.access(needs).folder_remove(AccountId(1), "Gone").expect("removes");
    // Longer than the log that a snapshot is worth, and too short for compaction, which says it too.
    for number in 0..200 {
        shared.access(needs).admin_set(format!("{number:03000}")).expect("sets");
        shared.lock().commit().expect("commits");
    }
    assert!(agree(&*device, "whole") > 0, "there is no snapshot");
}
