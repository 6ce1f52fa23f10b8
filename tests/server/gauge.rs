//! How much memory a process has to itself, looked at from outside.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Looks at a process's own memory all the time. The page cache does not count, nor does the program's text.
pub struct Gauge {
    pid: u32,
    highest: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Gauge {
    /// Begins to look.
    pub fn new(pid: u32) -> Gauge {
        let (highest, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let watcher = {
            let (highest, ended) = (Arc::clone(&highest), Arc::clone(&ended));
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    highest.fetch_max(kib(pid).unwrap_or_default(), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        Gauge { pid, highest, ended, watcher: Some(watcher) }
    }

    /// The highest that has been seen, KiB.
    pub fn highest(&self) -> u64 {
        self.highest.load(Ordering::Relaxed)
    }

    /// The lowest memory of the next moments in which the process does nothing, KiB: what it does when nobody waits, such as parity, is over.
    pub fn rest(&self) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let before = ticks(self.pid);
            let looks = (0..20).map(|_| {
                thread::sleep(Duration::from_millis(10));
                anonymous_kib(self.pid)
            });
            let least = looks.min().expect("looks");
            if ticks(self.pid) == before {
                return least;
            }
            assert!(Instant::now() < deadline, "it never rests");
        }
    }

    /// Does something; says by how much memory rose meanwhile, KiB.
    pub fn rise(&self, what: &str, doing: impl FnOnce()) -> u64 {
        let base = self.rest();
        self.highest.store(0, Ordering::Relaxed);
        let from = Instant::now();
        doing();
        self.highest.fetch_max(anonymous_kib(self.pid), Ordering::Relaxed);
        let rise = self.highest.load(Ordering::Relaxed).saturating_sub(base);
        eprintln!("{what}: {rise} KiB above {base} KiB, {:.1} s", from.elapsed().as_secs_f32());
        rise
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.watcher.take().map(JoinHandle::join);
    }
}

/// Memory of its own, KiB.
pub fn anonymous_kib(pid: u32) -> u64 {
    kib(pid).expect("a process")
}

fn kib(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Processor time that it has taken so far, in the system's ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // The second field is the program's name, in parentheses; the 14th and 15th are the times (proc(5)).
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}
