//! The device fails at every read, write and flush of a workload, once or for ever, wholly or in part, while segments are emptied and snapshots
//! are told: never a panic, never a lost acknowledgement, and who is refused is refused for what it is.

use std::sync::Arc;

use super::storm::{Life, Trail, judge, lines, open, used};
use super::{StoreError, record::Record};
use crate::device::{Memory, Operation, Outcome, Random};
use crate::proof::{self, seeds, share};
use crate::types::AccountId;

const ANNA: AccountId = AccountId(1);

/// Lives on a medium, until it fails for good. None: it could not be opened.
fn live(device: &Arc<Memory>, trail: &Trail, seed: u64, what: &str) -> (Option<Life>, bool) {
    let Some(mut life) = Life::faulty(device.clone(), trail.clone(), seed, what) else {
        return (None, false);
    };
    let whole = life.live(&mut Random(seed), 24);
    (Some(life), whole)
}

/// After writing has failed for good: what is told then is what was durable, and nothing is taken any more.
fn fallen(life: &Life, what: &str) {
    let mut store = life.shared.lock();
    if !store.journal.read_only() {
        return;
    }
    if store.fall_back().is_ok() {
        assert_eq!(lines(&store.state), life.truth.trail.0[0], "{what}: what was durable, no more");
    }
    let refused = store.record(ANNA, &[Record::AdminPassword("refused".into())]);
    assert_eq!(refused, Err(StoreError::ReadOnly), "{what}");
}

/// Every fault at every index. Counts faults, states after them, and how often somebody was refused or nothing could be opened; and segments
/// freed without a fault.
fn faults(seed: u64, segments: u64, segment_bytes: u32) -> [u64; 5] {
    let base = used(seed, segments, segment_bytes);
    let trail = Trail::of(&open(&Arc::new(base.copy()), seed).expect("opens").0);
    let whole = Arc::new(base.copy());
    let (life, done) = live(&whole, &trail, seed, "whole");
    assert!(done, "without a fault all of it is done");
    let freed = life.map_or(0, |life| life.shared.lock().journal.freed_segments());
    let mut seen = [0, 0, 0, 0, freed];
    for (operation, count) in [
        (Operation::Read, whole.reads()),
        (Operation::Write, whole.writes()),
        (Operation::ShortWrite, whole.writes()),
        (Operation::NoSpace, whole.writes()),
        (Operation::Flush, whole.flushes()),
    ] {
        for (index, for_ever) in (0..count).flat_map(|index| [(index, false), (index, true)]) {
            let what = format!("seed {seed} {operation:?} {index} for ever {for_ever}");
            let device = Arc::new(base.copy());
            device.fail_at(operation, index, for_ever);
            let (life, done) = live(&device, &trail, seed, &what);
            seen[0] += 1;
            seen[2] += u64::from(!done);
            let unopened = life.as_ref().is_none_or(|life| life.unopened);
            seen[3] += u64::from(unopened);
            let good = done || for_ever || unopened || operation == Operation::Read;
            assert!(good, "{what}: one failure is made good");
            if let Some(life) = &life {
                fallen(life, &what);
            }
            device.heal();
            let trail = life.as_ref().map_or(&trail, |life| &life.truth.trail);
            // Reading leaves the medium as it was.
            let outcomes = if operation == Operation::Read { &Outcome::ALL[..1] } else { &Outcome::ALL };
            for outcome in outcomes {
                let left = Arc::new(device.survive(*outcome, index));
                judge(&left, &mut trail.clone(), seed, &format!("{what}, then {outcome:?}"));
                seen[1] += 1;
            }
        }
    }
    seen
}

#[test]
fn an_error_at_any_operation_of_compaction_and_snapshots_loses_nothing_acknowledged() {
    let seen = share("errors", seeds(4), |seed| match seed % 2 {
        0 => faults(seed, 25, 32 * 1024),
        _ => faults(seed, 40, 64 * 1024),
    });
    let [faults, states, refused, unopened, freed] = seen;
    let what = "reads, writes, short writes, no space, flushes, each once and for ever";
    proof::count("errors at every index beside compaction", what, faults);
    proof::count("states after an error and a cut", "beside compaction", states);
    assert!(faults > 1000 && refused > 200 && unopened > 20 && freed > 2, "{seen:?}");
}
