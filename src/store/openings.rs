//! A store is opened by a snapshot, by summaries, or by nothing but its frames: the three must say the same, wherever the power was cut,
//! and whatever has rotted of what is not needed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::State;
use super::storm::{fresh, lines, open, storm, tell_counts, used};
use crate::device::{Device, Random};
use crate::journal::{Bodies, Event, Report, Trust, read};
use crate::proof::{self, seeds, share};
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

#[test]
fn three_ways_of_opening_say_the_same_wherever_the_power_is_cut() {
    let spared = AtomicU64::new(0);
    let look = |device: &dyn Device, what: &str| {
        spared.fetch_add(u64::from(agree(device, what) > 0), Ordering::Relaxed);
    };
    let seen = share("three ways of opening", seeds(6), |seed| storm(10 + seed, ROOMY, 64 * 1024, &look));
    tell_counts("three ways of opening", seen);
    let (states, spared) = (seen[..10].iter().sum::<u64>(), spared.into_inner());
    proof::count("of those", "opened by a snapshot", spared);
    assert!(states > 1000 && spared > states / 4, "{states} states, {spared} opened by a snapshot");
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
    let life = fresh(11, ROOMY, 64 * 1024);
    let (shared, _) = open(&life.device, 12).expect("opens");
    let needs = &mut Position::default();
    shared.access(needs).folder_create(AccountId(1), "Gone", None).expect("creates");
    shared.access(needs).folder_remove(AccountId(1), "Gone").expect("removes");
    // Longer than the log that a snapshot is worth, and too short for compaction, which says it too.
    for number in 0..200 {
        shared.access(needs).admin_set(format!("{number:03000}")).expect("sets");
        shared.lock().commit().expect("commits");
    }
    assert!(agree(&*life.device, "whole") > 0, "there is no snapshot");
}
