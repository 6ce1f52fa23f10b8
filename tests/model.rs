//! The store against a plain model of an office, through random operations, power cuts, failed flushes and reopenings.
//!
//! Every verb's result is foretold by the model. The serial that the store comes back with says which changes have survived: those
//! that were acknowledged, perhaps some more, and each whole. The seed is fixed; POSTFACH_MODEL_SEED is another one, POSTFACH_MODEL_CHAPTERS
//! runs more of them.

#[path = "model/clerk.rs"]
mod clerk;
#[path = "model/client.rs"]
mod client;
mod harness;
#[path = "model/plain.rs"]
mod plain;
mod proof;
#[path = "model/world.rs"]
mod world;

use world::World;

/// Operations in one store, before a new one is begun: its log is read again at every reopening.
const CHAPTER: u64 = 5_000;

#[test]
fn the_store_does_what_the_model_does() {
    let seed = proof::number("POSTFACH_MODEL_SEED").unwrap_or(1);
    let chapters = proof::number("POSTFACH_MODEL_CHAPTERS").unwrap_or(20);
    let seeds = seed * 1000..seed * 1000 + chapters;
    let counts = proof::share("chapters of the model", seeds, |seed| {
        let mut world = World::new(seed);
        for _ in 0..CHAPTER {
            world.step();
        }
        world.end();
        let world::Counts { cuts, reopenings, failures, refused, messages, freed, .. } = world.counts;
        [cuts, reopenings, failures, refused, messages, freed]
    });
    let [cuts, reopenings, failures, refused, messages, freed] = counts;
    let what = format!(
        "POSTFACH_MODEL_SEED={seed}: {cuts} cuts, {reopenings} reopenings, {failures} failures, {refused} refused, \
         {messages} messages, {freed} segments freed"
    );
    proof::count("operations against the model", &what, chapters * CHAPTER);
    assert!(chapters * CHAPTER >= 100_000 || proof::number("POSTFACH_MODEL_CHAPTERS").is_some());
    assert!(cuts > chapters && refused > 100 && messages > 500 * chapters);
    assert!(freed > 10 * chapters, "compaction has freed {freed}");
}
