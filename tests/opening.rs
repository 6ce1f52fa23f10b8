//! What opening a store reads: with a snapshot, with only the summaries of segments, and when every snapshot has been destroyed.
//!
//! Counted are the blocks of the device that are read, each once, as the page cache does it. The ordinary run has 20,000 messages;
//! the large ones (`cargo test --release --test opening -- --ignored --nocapture`) 100,000 and a million, and print seconds at 20 MB/s of reading,
//! processor time of this machine added.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use postfach::device::{Device, Random};
use postfach::journal::{Event, Format, Report, Trust, format, read};
use postfach::store::{NewMessage, Shared, Store};
use postfach::types::{AccountId, Class, FlagChange, Flags, FolderId, Position, Time, Uid, UidSet};

const BLOCK: usize = 4096;
/// What an SD card gives, bytes a second.
const READ_RATE: f64 = 20e6;

/// A medium that keeps of each block what is not zero, and counts the blocks that are read.
struct Sparse {
    size: u64,
    blocks: Mutex<HashMap<u64, Box<[u8]>>>,
    read: Mutex<HashSet<u64>>,
}

/// Runs of bytes that are not zero: offset, length, bytes.
fn squeeze(block: &[u8]) -> Box<[u8]> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < BLOCK {
        if block[at] == 0 {
            at += 1;
            continue;
        }
        let start = at;
        let mut zeros = 0;
        while at < BLOCK && zeros < 8 {
            zeros = if block[at] == 0 { zeros + 1 } else { 0 };
            at += 1;
        }
        let end = at - zeros;
        out.extend_from_slice(&(start as u16).to_le_bytes());
        out.extend_from_slice(&((end - start) as u16).to_le_bytes());
        out.extend_from_slice(&block[start..end]);
    }
    out.into_boxed_slice()
}

fn spread(squeezed: &[u8], block: &mut [u8; BLOCK]) {
    block.fill(0);
    let mut rest = squeezed;
    while let [a, b, c, d, after @ ..] = rest {
        let (start, length) = (u16::from_le_bytes([*a, *b]) as usize, u16::from_le_bytes([*c, *d]) as usize);
        block[start..start + length].copy_from_slice(&after[..length]);
        rest = &after[length..];
    }
}

impl Sparse {
    fn new(size: u64) -> Sparse {
        Sparse { size, blocks: Mutex::default(), read: Mutex::default() }
    }

    /// Bytes read since the last time.
    fn count(&self) -> u64 {
        std::mem::take(&mut *self.read.lock().expect("nobody panics with it")).len() as u64 * BLOCK as u64
    }

    /// Spoils every frame of a snapshot.
    fn destroy_snapshots(&self) -> usize {
        let mut blocks = self.blocks.lock().expect("nobody panics with it");
        let (mut spoilt, mut block) = (0, [0; BLOCK]);
        for squeezed in blocks.values_mut() {
            spread(squeezed, &mut block);
            let heads = (0..BLOCK).step_by(8).filter(|at| block[*at..].starts_with(&[0xF5, 0x70, 1, 5]));
            let heads: Vec<usize> = heads.collect();
            heads.iter().for_each(|at| block[at + 4] ^= 1);
            if !heads.is_empty() {
                spoilt += heads.len();
                *squeezed = squeeze(&block);
            }
        }
        spoilt
    }
}

impl Device for Sparse {
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (blocks, mut read) = (
            self.blocks.lock().expect("nobody panics with it"),
            self.read.lock().expect("nobody panics with it"),
        );
        let (mut at, mut block) = (offset, [0; BLOCK]);
        let mut rest = buf;
        while !rest.is_empty() {
            let start = (at % BLOCK as u64) as usize;
            let (part, after) = rest.split_at_mut(rest.len().min(BLOCK - start));
            read.insert(at / BLOCK as u64);
            match blocks.get(&(at / BLOCK as u64)) {
                Some(squeezed) => spread(squeezed, &mut block),
                None => block.fill(0),
            }
            part.copy_from_slice(&block[start..start + part.len()]);
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(BLOCK as u64) && buf.len().is_multiple_of(BLOCK), "whole blocks");
        let mut blocks = self.blocks.lock().expect("nobody panics with it");
        for (number, block) in (offset / BLOCK as u64..).zip(buf.chunks(BLOCK)) {
            blocks.insert(number, squeeze(block));
        }
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn prepare(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn forget_cache(&self, _: u64, _: u64) {}
}

fn random(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut random = Random(seed);
    move |bytes: &mut [u8]| random.fill(bytes)
}

/// A store of so many messages, each delivered by itself; every fourth time one is read.
fn filled(messages: u64, bytes: u64) -> Arc<Sparse> {
    let size = (messages * (bytes + 4096) * 5 / 4).max(768 << 20);
    let device = Arc::new(Sparse::new(size));
    format(&*device, &Format::default(), &mut random(1)).expect("formats");
    let (store, _) = Store::open(device.clone(), &mut random(2)).expect("opens");
    let shared = Shared::new(store);
    let mut needs = Position::default();
    shared.access(&mut needs).domain_add("example.test").expect("adds");
    let accounts: Vec<AccountId> = (0..4)
        .map(|nth| {
            let address = format!("user{nth}@example.test");
            shared.access(&mut needs).mailbox_add(&address, Class::Xl, String::from("phc")).expect("adds")
        })
        .collect();
    let mut chance = Random(3);
    for number in 0..messages {
        let account = accounts[number as usize % 4];
        let size = bytes / 4 + chance.below(bytes * 3 / 2);
        let body = shared.access(&mut needs).new_body();
        let kept = shared.access(&mut needs).reserve(account, size + 200).expect("there is room");
        let pieces = size.div_ceil(65536);
        for piece in 0..pieces {
            let length = (size - piece * 65536).min(65536) as usize;
            shared.lock().append_piece(body, piece as u16, vec![0; length]).expect("there is room");
        }
        let date = Time(1_700_000_000 + 60 * number as i64 + chance.below(60) as i64);
        let message = NewMessage { body, size, structure: vec![7; 150], date };
        let added = shared.access(&mut needs).append(message, Flags::NONE, account, FolderId::INBOX, kept);
        let (_, uid) = added.expect("there is room");
        shared.lock().commit().expect("commits");
        if number % 4 == 3 {
            let view = shared.access(&mut needs).open(account, FolderId::INBOX, false).expect("is there");
            let uid = Uid(uid.0 - chance.below(u64::from(uid.0).min(100)) as u32);
            let set = UidSet(vec![(uid, uid)]);
            let flagged =
                shared.access(&mut needs).flags_set(&view, &set, FlagChange::Add, Flags::SEEN, None);
            flagged.expect("flags");
            shared.lock().commit().expect("commits");
        }
    }
    device.count();
    device
}

/// This thread's time on the processor, seconds.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Opens the store; returns bytes read, what it has, and the report.
fn opened(device: &Arc<Sparse>, what: &str) -> (u64, String, Report) {
    device.count();
    let before = processor_seconds();
    let (store, report) = Store::open(device.clone(), &mut random(9)).expect("opens");
    let processor = processor_seconds() - before;
    let bytes = device.count();
    tell(what, bytes, processor, &report);
    assert!(!report.is_damaged(), "{report}");
    let accounts = store.state().accounts.values().map(|account| {
        let folders = account.folders.values().map(|folder| {
            let sum = folder.live().fold(0u64, |sum, message| {
                let place = store.journal().find(message.body, 0).map(|extent| extent.payload_bytes());
                sum.wrapping_mul(31)
                    .wrapping_add(message.flags.0 ^ message.serial.0 ^ place.unwrap_or(1) as u64)
            });
            format!("{} {} {sum:x}", folder.name, folder.count())
        });
        format!("{} {} {:?}", account.address, account.used_bytes, folders.collect::<Vec<_>>())
    });
    (bytes, accounts.collect::<Vec<_>>().join("\n"), report)
}

fn tell(what: &str, bytes: u64, processor: f64, report: &Report) {
    eprintln!(
        "{what}: {:.2} MB read, {processor:.3} s of processor: {:.3} s at 20 MB/s ({} segments, {} of them not read)",
        bytes as f64 / 1e6,
        bytes as f64 / READ_RATE + processor,
        report.segments,
        report.unread_segments,
    );
}

/// Returns bytes read with a snapshot, and with summaries only.
fn measure(messages: u64, bytes: u64) -> (u64, u64) {
    let device = filled(messages, bytes);
    eprintln!("{messages} messages of {bytes} bytes on {} MB", device.size() / 1_000_000);
    let (with, wanted, report) = opened(&device, "with a snapshot");
    assert!(report.unread_segments > report.segments / 4, "{report}");
    let before = processor_seconds();
    let mut records = 0;
    let mut visit = |event: Event<'_>| records += u64::from(matches!(event, Event::Record(_)));
    let (report, _) = read(&*device, Trust::Summaries, &mut visit).expect("reads");
    let without = device.count();
    tell("by summaries, only read", without, processor_seconds() - before, &report);
    assert!(records >= messages);
    let used = u64::from(report.segments) * (device.size() / 64).next_power_of_two().min(8 << 20) / 2;
    assert!(without <= used / 10, "{without} of {used} bytes");
    assert!(device.destroy_snapshots() > 3);
    let (destroyed, told, _) = opened(&device, "snapshots destroyed");
    assert_eq!(told, wanted);
    assert!(destroyed <= used / 10, "{destroyed} of {used} bytes");
    let headers = device.size() / (256 * 1024).max(used / u64::from(report.segments)) * 2 * BLOCK as u64;
    assert!(with <= 50 * messages + headers + (2 << 20), "{with}");
    (with, without)
}

#[test]
fn opening_reads_little() {
    measure(20_000, 4000);
}

#[test]
#[ignore = "takes minutes: `scripts/test soak` runs it"]
fn opening_a_large_store_reads_little() {
    // 0.21 s and 1.8 s at 20 MB/s, of 0.25 s and 2.5 s: what is left is the processor's, and that of a small board is slow.
    for (messages, bytes, most) in [(100_000, 4000, 3_800_000), (1_000_000, 4000, 32_000_000)] {
        let (with, _) = measure(messages, bytes);
        assert!(with <= most, "{with} bytes for {messages} messages");
    }
}
