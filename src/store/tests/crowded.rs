//! Few segments, and much of them live: a change costs a bounded number of bytes, however full the store is, and always finds room.
//!
//! Counted on the medium, not in time: where segments are short and nothing can be gained, compaction must come to rest.

use std::sync::Arc;

use super::super::record::Record;
use super::super::*;
use super::full::{deliver, is_as_it_was, office};
use crate::device::Memory;
use crate::journal::Pressure;
use crate::types::{FlagChange, Flags, FolderId, Uid, UidSet};

const INBOX: FolderId = FolderId::INBOX;
const USERS: u32 = 20;

/// What the server's committer does until it sleeps: one step of compaction, then a commit.
fn serve(shared: &Shared) {
    for _ in 0..200 {
        let mut store = shared.lock();
        let idle = store.journal.pending_bytes() == 0;
        let step = match store.compaction(if idle { Pressure::Low } else { Pressure::High }) {
            Some(mut portion) => {
                portion.read(&**store.journal.device());
                store.compact(portion)
            }
            None => Step::Nothing,
        };
        let gone_on = step == Step::Done || store.relieve();
        let waiting = store.journal.pending_bytes() == 0 && !gone_on;
        if idle && waiting {
            store.tell_snapshot();
        }
        let pending = store.journal.pending_bytes() > 0;
        store.commit_pending().expect("commits");
        let short = store.journal.pressure() > Pressure::None;
        if !(short && (gone_on || pending) || store.snapshot_due()) {
            return;
        }
    }
    panic!("a change, and no end of compaction");
}

/// Fills so much of a store's raw bytes, or all that it takes, and toggles single flags. Returns blocks written for each.
fn toggle(segments: u64, segment_bytes: u32, part: f64, serving: bool) -> f64 {
    let (device, shared) = office(segments, segment_bytes, USERS);
    let size = 60_000.min(segment_bytes as usize / 8);
    let live = (segments as f64 * f64::from(segment_bytes) * part) as usize / size;
    (1..=USERS).for_each(|account| deliver(&shared, AccountId(account), 100).expect("fits"));
    let fill = |nth: usize| deliver(&shared, AccountId(1 + nth as u32 % USERS), size).is_ok();
    let messages = (0..live).take_while(|nth| fill(*nth)).count();
    let what = format!("{segments} segments of {} KiB, {part} live, serving {serving}", segment_bytes >> 10);
    // Some rounds of what is left.
    let times = 4 * 3 * segment_bytes / 4096;
    let written = toggles(&device, &shared, times, serving, &what);
    let live = (messages * size) as f64 / (segments as f64 * f64::from(segment_bytes));
    eprintln!("{what}: {live:.2} of raw is live, {written:.2} blocks written a flag");
    is_as_it_was(&device, &shared);
    written
}

fn toggles(device: &Arc<Memory>, shared: &Shared, times: u32, serving: bool, what: &str) -> f64 {
    let mut needs = Position::default();
    let before = device.bytes_written();
    for nth in 0..times {
        let account = AccountId(1 + nth % USERS);
        let view = shared.access(&mut needs).open(account, INBOX, false).expect("opens");
        let change = if (nth / USERS).is_multiple_of(2) { FlagChange::Add } else { FlagChange::Remove };
        let one = UidSet(vec![(Uid(1), Uid(1))]);
        let set = shared.access(&mut needs).flags_set(&view, &one, change, Flags::SEEN, None);
        set.unwrap_or_else(|error| panic!("{what}: flag {nth}: {error:?}"));
        if serving { serve(shared) } else { shared.lock().commit().expect("commits") }
    }
    (device.bytes_written() - before) as f64 / f64::from(times) / 4096.0
}

#[test]
fn single_flags_cost_little_however_few_segments_there_are_and_however_full_they_are() {
    // By the size of segments: the smaller they are, the more of them is header, summary and what did not fit.
    for (segment_bytes, most) in [(64 << 10, 6.0), (256 << 10, 4.0), (1 << 20, 3.0), (4 << 20, 2.0)] {
        let counts: &[u64] = if segment_bytes == 4 << 20 { &[16] } else { &[16, 20, 64] };
        for segments in counts {
            // The last is more than goes in.
            for (nth, part) in [0.5, 0.65, 0.95].into_iter().enumerate() {
                let written = toggle(*segments, segment_bytes, part, nth % 2 == 0);
                assert!(written < most, "{segments} of {segment_bytes}, {part}: {written} blocks a flag");
            }
        }
    }
}

/// Settings take more records than the mail that they are for; they are no garbage.
#[test]
fn what_is_set_is_not_copied_over_and_over() {
    let (device, shared) = office(20, 256 << 10, USERS);
    (1..=USERS).for_each(|account| deliver(&shared, AccountId(account), 100).expect("fits"));
    for nth in 0..10_000 {
        let target = String::from("user1@example.test");
        let address = format!("an-alias-of-some-length-{nth}@example.test");
        let mut store = shared.lock();
        store.record(AccountId::SETTINGS, &[Record::AliasAdded { address, target }]).expect("fits");
        if nth % 20 == 0 {
            store.commit().expect("commits");
        }
    }
    shared.lock().commit().expect("commits");
    while deliver(&shared, AccountId(1), 6000).is_ok() {}
    let written = toggles(&device, &shared, 1000, true, "aliases");
    eprintln!("beside many aliases {written:.2} blocks written a flag");
    assert!(written < 3.0, "{written}");
    is_as_it_was(&device, &shared);
}
