//! What the allocator keeps, and when it gives it back. With `device/discard.rs` the only file with `unsafe`.
//!
//! glibc raises its threshold for separate mappings to the size of the largest block freed (mallopt(3)): after the first
//! password hash, 19 MiB would stay in the heap for good. And it keeps what a thousand closed connections had: 20 MB where 4 are needed.
//! Elsewhere (musl gives back by itself) both functions do nothing.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

/// Blocks from this size on are mappings of their own, bytes: pieces of messages and password hashes, which come and go.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = crate::limits::PIECE_BYTES as libc::c_int;
/// Free bytes at the heap's top that are kept.
#[cfg(target_env = "gnu")]
const TOP_BYTES: libc::c_int = 64 * 1024;
/// Bytes that the heap grows by beyond what is asked for.
#[cfg(target_env = "gnu")]
const PAD_BYTES: libc::c_int = 16 * 1024;
/// Heaps: threads share them, or each would keep its own free memory.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 1;
/// Connections closed since the last time after which it is time to give back again.
const CLOSED: u32 = 16;

static CLOSED_SINCE: AtomicU32 = AtomicU32::new(0);

/// Fixes the allocator's thresholds. To be called before there are threads.
pub fn prepare() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers and keeps no pointer; it takes malloc's own lock. The constants are positive and
    // within the ranges of mallopt(3). An option that is refused leaves the default, which is slower or larger, never wrong.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TOP_BYTES);
        libc::mallopt(libc::M_TOP_PAD, PAD_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Notes that a connection has been closed. True when it is time for [`give_back`], soon: others close with it.
pub fn closed() -> bool {
    CLOSED_SINCE.fetch_add(1, Ordering::Relaxed) + 1 == CLOSED
}

/// Gives free memory back to the system. It takes milliseconds: not for a session's thread.
pub fn give_back() {
    CLOSED_SINCE.store(0, Ordering::Relaxed);
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes an integer, may be called from any thread at any time (it takes malloc's locks), and only
    // releases pages that hold no allocation.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of memory that this process has now, and the most it ever had; None where the system does not tell.
pub fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some((bytes("VmRSS:")?, bytes("VmHWM:")?))
}
