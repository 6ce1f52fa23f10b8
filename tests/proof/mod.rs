//! What the proofs have in common: how many workloads there are, on how many cores, and where is written what has been seen.
//!
//! Fixed workloads by default. POSTFACH_CRASH_SEEDS: so many times as many, POSTFACH_CRASH_FIRST: from this seed on. Counts go to the file
//! POSTFACH_COUNTS, one a line, which `scripts/test` prints at its end; without it, to the terminal, whatever cargo keeps from it.
#![allow(dead_code)]

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// How many times as much as usual is to be done: 1 in the ordinary run.
pub fn times() -> u64 {
    number("POSTFACH_CRASH_SEEDS").unwrap_or(1)
}

/// The seeds of a proof that usually has so many workloads.
pub fn seeds(workloads: u64) -> Range<u64> {
    let first = number("POSTFACH_CRASH_FIRST").unwrap_or(1);
    first..first + workloads * times()
}

/// Passes cargo's capture by, which only has what is printed with its macros.
pub fn tell(line: impl Display) {
    let _told = writeln!(std::io::stderr().lock(), "{line}");
}

/// Has so much of this been seen: in the test's output.
pub fn count(kind: &str, what: &str, count: u64) {
    let line = format!("{count}\t{kind}\t{what}");
    match std::env::var_os("POSTFACH_COUNTS") {
        // One write each: many processes do this.
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all((line + "\n").as_bytes())).expect("counts are kept");
        }
        None => tell(format_args!("seen: {count} {kind}, {what}")),
    }
}

/// A state of a medium after a cut of the power.
pub const STATES: &str = "crash states";
/// One after a second cut.
pub const DOUBLES: &str = "states after a second cut";
/// What is beside a torn write has been spoilt.
pub const BESIDE: &str = "crash states with damage beside";

/// Does each of these, on all cores, and says now and then how far it is. The sums of what they count.
pub fn share<const N: usize>(
    what: &str,
    items: Range<u64>,
    act: impl Fn(u64) -> [u64; N] + Sync,
) -> [u64; N] {
    let next = AtomicU64::new(items.start);
    let sums = Mutex::new(([0; N], 0, Instant::now()));
    let work = || {
        loop {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= items.end {
                return;
            }
            let acting = panic::catch_unwind(AssertUnwindSafe(|| act(item)));
            let counts = acting.unwrap_or_else(|failed| {
                tell(format_args!("{what}: failed with POSTFACH_CRASH_FIRST={item}"));
                panic::resume_unwind(failed)
            });
            let mut sums = sums.lock().unwrap_or_else(|failed| failed.into_inner());
            for (sum, count) in sums.0.iter_mut().zip(counts) {
                *sum += count;
            }
            sums.1 += 1;
            if sums.2.elapsed() > Duration::from_secs(20) {
                let (done, all) = (sums.1, items.end - items.start);
                tell(format_args!("{what}: {done} of {all}, {} seen", sums.0.iter().sum::<u64>()));
                sums.2 = Instant::now();
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        let others: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
        work();
        for other in others {
            // With the message of the one that failed.
            other.join().unwrap_or_else(|failed| panic::resume_unwind(failed));
        }
    });
    let sums = sums.into_inner().unwrap_or_else(|failed| failed.into_inner());
    sums.0
}

/// What was true at which operation of the device, so that one run serves for all its cuts.
#[derive(Debug)]
pub struct Notes<T>(Vec<(u64, T)>);

impl<T> Default for Notes<T> {
    fn default() -> Notes<T> {
        Notes(Vec::new())
    }
}

impl<T> Notes<T> {
    /// After so many operations this is true. Replaces what was noted at the same moment.
    pub fn note(&mut self, operations: u64, what: T) {
        match self.0.last_mut() {
            Some(last) if last.0 == operations => last.1 = what,
            _ => self.0.push((operations, what)),
        }
    }

    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, what)| what)
    }

    /// What is true when the power goes at this operation.
    pub fn at(&self, operations: u64) -> &T {
        let behind = self.0.partition_point(|(noted, _)| *noted <= operations);
        &self.0[behind.checked_sub(1).expect("the beginning is noted")].1
    }
}
