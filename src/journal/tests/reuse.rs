//! Segments that are used again by a batch of several segments, of which a power cut leaves some: those of which nothing has arrived still
//! say what they said before, and must stay dead.

use super::*;

/// What is dead goes: a store that needs no copies.
fn free_all(journal: &mut Journal) {
    while let Some(mut portion) = journal.next_portion(0) {
        portion.read(&**journal.device());
        portion.take_frames();
        journal.pass(&portion).unwrap();
    }
}

/// A record that fills a segment of two blocks.
fn fill(journal: &mut Journal, serial: u64) {
    for part in 0..2 {
        journal.append_record(ANNA, Serial(serial), vec![serial as u8 ^ part; 3900]).unwrap();
    }
}

#[test]
fn a_torn_batch_never_brings_back_what_its_segments_held_before() {
    let base = store(24, 1).ignoring_discards();
    for rounds in 20..32 {
        for seed in 0..40 {
            let device = Arc::new(base.copy());
            let mut journal = open(device.clone(), 1).journal;
            for serial in 1..=rounds {
                fill(&mut journal, serial);
                commit(&mut journal);
                free_all(&mut journal);
            }
            assert!(journal.freed_segments() > 10, "{}", journal.freed_segments());
            let whole = open(Arc::new(device.copy()), 2);
            let known: Vec<u64> = whole.records.iter().map(|record| record.1).collect();
            device.cut_after(seed % 4);
            for serial in 101..104 {
                fill(&mut journal, serial);
            }
            commit(&mut journal);
            for outcome in [Outcome::Subset, Outcome::Torn] {
                let survived = Arc::new(device.survive(outcome, seed));
                let what = format!("{rounds} rounds, seed {seed}, {outcome:?}");
                let opened = open(survived.clone(), 3);
                assert!(!opened.checked.is_damaged(), "{what}: {}", opened.checked);
                let serials: Vec<u64> = opened.records.iter().map(|record| record.1).collect();
                let (old, new): (Vec<u64>, Vec<u64>) = serials.iter().partition(|serial| **serial < 100);
                assert!(known.ends_with(&old) && old.contains(&rounds), "{what}: {serials:?} of {known:?}");
                assert!([101, 101, 102, 102, 103, 103].starts_with(&new), "{what}: {new:?}");
            }
        }
    }
}
