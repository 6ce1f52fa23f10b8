//! A bit of a small store flips: any bit of every header, and some of every block. What there is afterwards is true, or it is reported; wrong bytes
//! are never given, and nothing is gone without a word.
//!
//! The store has several segments with summaries, a snapshot, messages that are deleted, and a witness behind its last batch.

use std::sync::Arc;

use super::openings::agree;
use super::storm::{Life, Trail, bodies, fresh, lines, open};
use crate::device::{Device, Memory, Outcome, Random};
use crate::proof::{self, seeds, share};

const BLOCK: u64 = 4096;

/// A store, and all that it says.
fn sample(seed: u64) -> (Memory, Vec<String>) {
    let mut life = fresh(seed, 16, 64 * 1024);
    let mut random = Random(seed);
    let named = |life: &Life| agree(&life.device.copy(), "whole") > 0;
    // Where there is no room for a witness there is none, and a snapshot is no longer named when one of its segments is emptied.
    loop {
        while !named(&life) {
            assert!(life.live(&mut random, 1) && life.device.bytes_written() < 8 << 20, "no snapshot yet");
        }
        assert!(life.live(&mut random, 6) && life.idle());
        assert!(life.device.bytes_written() < 8 << 20, "no witness yet");
        let witnessed = life.shared.lock().journal.is_witnessed();
        if witnessed && named(&life) {
            break;
        }
    }
    let told = lines(&life.shared.lock().state);
    (life.device.survive(Outcome::Lost, 0), told)
}

/// The bits of every header: where it begins, and its bytes.
fn headers(device: &Memory) -> Vec<(&'static str, u64, u64)> {
    let mut found = Vec::new();
    let mut block = [0; BLOCK as usize];
    for at in (0..device.size()).step_by(BLOCK as usize) {
        device.read_at(at, &mut block).expect("reads");
        for (magic, name, bytes) in [
            (b"Postfach", "superblocks", 64),
            (b"PostfUse", "marks", 24),
            // With the copies of two others, and the members.
            (b"PostfSeg", "headers of segments", 322),
        ] {
            if block.starts_with(magic) {
                found.push((name, at, bytes));
            }
        }
        if block.starts_with(b"PostfSeg") {
            // The ends of the other sectors: the incarnation.
            found.extend((1..8).map(|sector| ("headers of segments", at + 512 * sector + 504, 8)));
        }
        if block[4032..].starts_with(b"PostfSum") {
            found.push(("trailers of summaries", at + 4032, 64));
        }
        let frames = (0..BLOCK).step_by(8).filter(|within| {
            let bytes = &block[*within as usize..];
            bytes.starts_with(&[0xF5, 0x70, 1]) && (1..10).contains(&bytes[3])
        });
        // What begins in the next block is a frame of zeros.
        found.extend(frames.map(|within| ("headers of frames", at + within, 64)));
    }
    found
}

/// Flips a bit. What became of it: 0: nothing is missed; 1: it is reported by the opening; 2: by who reads the message, and by a check.
fn flip(whole: &Memory, told: &[String], at: u64, bit: u64, check: bool) -> usize {
    let what = format!("byte {at} bit {bit}");
    let device = Arc::new(whole.copy());
    let mut byte = [0];
    device.read_at(at, &mut byte).expect("reads");
    device.write_at(at, &[byte[0] ^ 1 << bit]).expect("writes");
    let (shared, report) = open(&device, 3).unwrap_or_else(|| panic!("{what}: does not open"));
    let same = lines(&shared.lock().state) == told;
    let spoilt = bodies(&shared, &device, &what);
    assert!(same || report.is_damaged(), "{what}: other than it was, without a word: {report}");
    drop(shared);
    if check || !same || !spoilt.is_empty() {
        let found = crate::check::check(&*device).expect("reads");
        let silent = found.damage.is_empty();
        assert!(same && spoilt.is_empty() || !silent, "{what}: {spoilt:?} are gone, and a check is content");
    }
    match (report.is_damaged(), spoilt.is_empty()) {
        (true, _) => 1,
        (false, false) => 2,
        (false, true) => 0,
    }
}

#[test]
fn no_flipped_bit_of_a_header_or_of_any_block_is_ever_silent() {
    for seed in seeds(1) {
        let (whole, told) = sample(seed);
        assert_eq!(flip(&whole, &told, whole.size() - 1, 0, true), 0, "behind all segments");
        let mut places: Vec<(&str, u64, u64)> = Vec::new();
        let mut random = Random(seed);
        for (name, at, bytes) in headers(&whole) {
            places.extend((0..bytes * 8).map(|bit| (name, at + bit / 8, bit % 8)));
        }
        for block in 0..whole.size() / BLOCK {
            let mut anywhere = || (block * BLOCK + random.below(BLOCK), random.below(8));
            places.extend((0..8).map(|_| anywhere()).map(|(at, bit)| ("anywhere in a block", at, bit)));
        }
        let names =
            ["superblocks", "marks", "headers of segments", "trailers of summaries", "headers of frames"];
        for name in names.into_iter().chain(["anywhere in a block"]) {
            let places: Vec<_> = places.iter().filter(|place| place.0 == name).collect();
            let [same, reported, read] = share(name, 0..places.len().div_ceil(64) as u64, |part| {
                let mut seen = [0; 3];
                for (nth, (_, at, bit)) in places.iter().skip(64 * part as usize).take(64).enumerate() {
                    seen[flip(&whole, &told, *at, *bit, nth % 16 == 0)] += 1;
                }
                seen
            });
            let end = format!(
                "{name}: {same} harmless or repaired, {reported} reported by the opening, {read} by who reads"
            );
            proof::count("flipped bits", &end, places.len() as u64);
            assert_eq!(same + reported + read, places.len() as u64);
            assert!(places.len() > 100, "{name}: {}", places.len());
        }
    }
}

/// The laws see what they are to see.
#[test]
fn a_state_that_differs_is_noticed() {
    let (whole, mut told) = sample(1);
    told.pop();
    let silent = std::panic::catch_unwind(|| flip(&whole, &told, whole.size() - 1, 0, false));
    assert!(silent.is_err());
    assert_ne!(Trail(vec![told]).0[0], sample(1).1);
}
