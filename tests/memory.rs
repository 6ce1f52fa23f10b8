//! What a message costs in memory: at most 40 bytes, in the folder and in the journal's index together, and no more while a store is opened.
//!
//! Method: an allocator that counts. Messages of one piece, into eight mailboxes by turns, over a file; the flags of most are changed.
//! What the first few thousand leave behind is not counted: buffers of the journal, and the newest changes of each folder.
//! `POSTFACH_MEMORY_MESSAGES` sets how many there are: a million in the soak.

#![allow(unsafe_code)]

mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::seeded;
use postfach::device::{Device, File};
use postfach::journal::{Format, format};
use postfach::store::{NewMessage, Shared, Store};
use postfach::types::{AccountId, Class, FlagChange, Flags, FolderId, Position, Time, Uid, UidSet};

/// The most that a message may cost, bytes.
const MESSAGE_BYTES: usize = 40;
/// What opening may take for a while, bytes: pages of the log that are being read, and records.
const OPENING_BYTES: usize = 2 << 20;
const MAILBOXES: u32 = 8;
/// Messages before what is counted: whole batches, and more flag changes in each folder than are remembered.
const FIRST: usize = 8 * 1024;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn count(more: usize, less: usize) {
    let before = LIVE.fetch_add(more.wrapping_sub(less), Ordering::Relaxed);
    PEAK.fetch_max(before.wrapping_add(more).wrapping_sub(less), Ordering::Relaxed);
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(place, layout, size) }
    }
}

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Resident bytes of the process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// A file that goes with the test.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn open(place: &Place) -> Shared {
    let device: Arc<dyn Device> = Arc::new(File::open(&place.0).expect("opens"));
    Shared::new(Store::open(device, &mut seeded(2)).expect("a store").0)
}

/// An office without mail, of a size that takes so many messages.
fn office(count: usize) -> Place {
    let place = Place(std::env::temp_dir().join(format!("postfach-memory-{}", std::process::id())));
    let size = (count as u64 * 8192).max(1 << 30);
    let device = File::create(&place.0, size, true).expect("a file");
    let options = Format { segment_bytes: None, force: true };
    format(&device, &options, &mut seeded(1)).expect("formats");
    drop(device);
    let shared = open(&place);
    let mut needs = Position::default();
    shared.access(&mut needs).domain_add("example.test").expect("adds");
    for nth in 0..MAILBOXES {
        let address = format!("user{nth}@example.test");
        shared.access(&mut needs).mailbox_add(&address, Class::L, "phc".into()).expect("adds");
    }
    shared.lock().commit().expect("commits");
    place
}

fn deliver(shared: &Shared, nth: usize) {
    let (mut needs, size) = (Position::default(), 150 + nth % 100);
    let account = AccountId(1 + nth as u32 % MAILBOXES);
    let mut store = shared.access(&mut needs);
    let kept = store.reserve(account, size as u64).expect("there is room");
    let body = store.new_body();
    drop(store);
    shared.lock().append_piece(body, 0, vec![b'x'; size]).expect("there is room");
    let date = Time(1_700_000_000 + nth as i64);
    let message = NewMessage { body, size: size as u64, structure: vec![1; 80], date };
    let mut store = shared.access(&mut needs);
    store.deliver(message, vec![(account, kept)]).expect("delivers");
    drop(store);
    if nth % 256 == 255 {
        shared.lock().commit().expect("commits");
    }
}

/// Somebody reads the first so many messages.
fn flag(shared: &Shared, count: usize) {
    let mut needs = Position::default();
    let seen = UidSet(vec![(Uid(1), Uid(count as u32 / MAILBOXES))]);
    for account in (1..=MAILBOXES).map(AccountId) {
        let view = shared.access(&mut needs).open(account, FolderId::INBOX, false).expect("a folder");
        let mut store = shared.access(&mut needs);
        store.flags_set(&view, &seen, FlagChange::Add, Flags::SEEN, None).expect("flags");
        drop(store);
        shared.lock().commit().expect("commits");
    }
    shared.lock().forget_ended();
}

#[test]
fn a_message_takes_forty_bytes() {
    let wanted = std::env::var("POSTFACH_MEMORY_MESSAGES").ok().and_then(|count| count.parse().ok());
    let count: usize = wanted.unwrap_or(50_000);
    let place = office(FIRST + count);
    let shared = open(&place);
    (0..FIRST).for_each(|nth| deliver(&shared, nth));
    flag(&shared, FIRST);
    let (empty, resident_empty) = (live(), resident());
    let each = |bytes: usize| bytes as f64 / count as f64;
    let report = |what: &str, bytes: usize| println!("{what}: {bytes} bytes, {:.2} per message", each(bytes));
    (FIRST..FIRST + count).for_each(|nth| deliver(&shared, nth));
    report("delivered", live() - empty);
    report("delivered, resident", resident() - resident_empty);
    flag(&shared, (FIRST + count) / 10 * 9);
    let flagged = live() - empty;
    report("flagged", flagged);
    drop(shared);
    let before = live();
    PEAK.store(before, Ordering::Relaxed);
    // All of it, with what an empty store takes.
    let shared = open(&place);
    let (peak, opened) = (PEAK.load(Ordering::Relaxed) - before, live() - before);
    report("opened", opened);
    report("while it was opened, the most", peak);
    let state = shared.lock();
    let folders = state.state().accounts.values().flat_map(|account| account.folders.values());
    assert_eq!(folders.map(|folder| folder.live().count()).sum::<usize>(), FIRST + count);
    assert!(flagged <= MESSAGE_BYTES * count, "{:.2} bytes per message after delivery", each(flagged));
    assert!(opened <= MESSAGE_BYTES * (FIRST + count), "{:.2} bytes per message after opening", each(opened));
    assert!(peak <= opened + OPENING_BYTES, "{:.2} bytes per message during opening", each(peak));
}
