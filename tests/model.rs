//! The store against a plain model of an office, through random operations, power cuts, failed flushes and reopenings.
//!
//! Every verb's result is foretold by the model. The serial that the store comes back with says which changes have survived: those
//! that were acknowledged, perhaps some more, and each whole. A seed is printed; POSTFACH_MODEL_SEED replays it, POSTFACH_MODEL_CHAPTERS
//! runs more of them.

#[path = "model/clerk.rs"]
mod clerk;
#[path = "model/client.rs"]
mod client;
mod harness;
#[path = "model/plain.rs"]
mod plain;
#[path = "model/world.rs"]
mod world;

use std::time::Instant;

use world::World;

/// Operations in one store, before a new one is begun: its log is read again at every reopening.
const CHAPTER: u64 = 5_000;

#[test]
fn the_store_does_what_the_model_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("POSTFACH_MODEL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let chapters = number("POSTFACH_MODEL_CHAPTERS").unwrap_or(20);
    eprintln!("POSTFACH_MODEL_SEED={seed}");
    let start = Instant::now();
    let mut seen = world::Counts::default();
    for chapter in 0..chapters {
        let mut world = World::new(seed * 1000 + chapter);
        for _ in 0..CHAPTER {
            world.step();
        }
        world.end();
        seen.add(&world.counts);
    }
    eprintln!("{} operations, {seen:?}, in {:.1} s", chapters * CHAPTER, start.elapsed().as_secs_f32());
    assert!(chapters * CHAPTER >= 100_000 || number("POSTFACH_MODEL_CHAPTERS").is_some());
    assert!(seen.cuts > chapters && seen.refused > 100 && seen.messages > 500 * chapters);
    assert!(seen.freed > 10 * chapters, "compaction has freed {}", seen.freed);
}
