//! What a delivery, a change of flags and an expunge cost the medium: bytes and flushes.
//!
//! The law, for one client at a time: a change is one block and one flush, an incompressible message of 4 KiB two blocks and one flush,
//! and what new segments and summaries add is a few percent. It is asserted for the store in memory that counts, on every machine, and
//! for the real server as the block layer counts, where the machine has loop devices. There also: on ten connections, where a flush takes 5 ms,
//! a message of 4 KiB takes at most 5.3 KiB and a quarter of a flush; and segments that have come free are discarded.

mod harness;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use harness::World;
use server::talk::{Talk, envelope};
use server::{ANNA, BEN, Folder, PASSWORD, POSTFACH, Server, run, text, try_run};

/// How often each thing is done.
const TIMES: usize = 200;
/// What each may cost: KiB, and flushes.
const DELIVERY: (f64, f64) = (8.7, 1.01);
const CHANGE: (f64, f64) = (4.4, 1.01);
const DELIVERY_IN_COMPANY: (f64, f64) = (5.3, 0.25);

/// Bytes and flushes so far.
type Counts = (u64, u64);

fn holds(medium: &str, what: &str, times: usize, before: Counts, after: Counts, limit: (f64, f64)) {
    let each = |from: u64, to: u64| (to - from) as f64 / times as f64;
    let (kib, flushes) = (each(before.0, after.0) / 1024.0, each(before.1, after.1));
    eprintln!("{medium}, {what}: {kib:.2} KiB and {flushes:.3} flushes each");
    assert!(kib <= limit.0 && flushes <= limit.1, "{what}: {kib} KiB, {flushes} flushes, not {limit:?}");
    // Whoever counts nothing has not measured.
    assert!(kib >= 1.0 && flushes >= 0.01, "{what}: {kib} KiB, {flushes} flushes");
}

/// A loop device over a file, detached when the test ends. One at a time: servers on partitions share the console's socket.
struct Loop {
    device: PathBuf,
    _folder: Folder,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Loop {
    /// None, and a word about it, where the machine has none to give.
    fn new(size: u64) -> Option<Loop> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::new();
        let image = folder.0.join("disk");
        std::fs::File::create(&image).and_then(|file| file.set_len(size)).expect("a file");
        for words in [&["--find", "--show", "--direct-io=on"][..], &["--find", "--show"]] {
            let output = try_run(Command::new("losetup").args(words).arg(&image), b"");
            if output.status.success() {
                let device = PathBuf::from(text(&output.stdout).trim());
                return Some(Loop { device, _folder: folder, _alone: alone });
            }
        }
        eprintln!("no loop device here: what the block layer sees is not measured");
        None
    }

    fn stat(&self) -> Vec<u64> {
        let name = self.device.file_name().expect("a name").to_string_lossy().into_owned();
        let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("is counted");
        stat.split_whitespace().filter_map(|field| field.parse().ok()).collect()
    }

    /// Bytes written, and flushes.
    fn counts(&self) -> Counts {
        let stat = self.stat();
        (stat[6] * 512, stat[15])
    }

    /// Bytes discarded.
    fn discarded(&self) -> u64 {
        self.stat()[13] * 512
    }

    /// A server on a new store there.
    fn serve(&self, size: &str, options: &[&str]) -> Server {
        run(Command::new(POSTFACH).args(["format", "--size", size, "--store"]).arg(&self.device), b"");
        Server::serve_store(Folder::new(), self.device.clone(), &[], options)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// So many bytes that no compression makes smaller, in lines.
fn noise(seed: &mut u64, length: usize) -> Vec<u8> {
    let mut message = b"Subject: noise\r\n\r\n".to_vec();
    while message.len() < length - 2 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let byte = 0x21 + (*seed >> 32) as u8 % 0x5e;
        if message.len() % 76 == 75 && message.len() < length - 6 {
            message.extend_from_slice(b"\r\n");
        }
        message.push(if byte == b'.' { b'-' } else { byte });
    }
    message.truncate(length - 2);
    message.extend_from_slice(b"\r\n");
    message
}

/// The commands of one delivery, and the message.
fn transaction(to: &str, seed: &mut u64) -> Vec<u8> {
    let head = format!("MAIL FROM:<sender@bench.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    [head.as_bytes(), &noise(seed, 4096), b".\r\n"].concat()
}

fn deliver(stream: std::net::TcpStream, to: &[&str], count: usize, mut seed: u64) {
    let mut writer = stream.try_clone().expect("clones");
    let mut lines = BufReader::new(stream).lines();
    let mut line = || lines.next().expect("a line").expect("reads");
    line();
    writer.write_all(b"LHLO bench.example\r\n").expect("sends");
    while !line().starts_with("250 ") {}
    for number in 0..count {
        writer.write_all(&transaction(to[number % to.len()], &mut seed)).expect("sends");
        for wanted in ["250 ", "250 ", "354 ", "250 "] {
            let line = line();
            assert!(line.starts_with(wanted), "{line}");
        }
    }
}

#[test]
fn each_change_costs_its_blocks_and_one_flush_as_the_store_counts() {
    let mut world = World::new(512 << 20, 1);
    world.connect("console", "console");
    let added = format!("domain add example.test\nmailbox add {ANNA} size M\n{PASSWORD}\n");
    world.send("console", added.as_bytes());
    world.connect("lmtp", "lmtp");
    world.send("lmtp", b"LHLO bench.example\r\n");
    world.connect("imap", "imaps");
    world.send("imap", format!("a LOGIN {ANNA} \"{PASSWORD}\"\r\nb SELECT INBOX\r\n").as_bytes());
    let mut seed = 1;
    measure(&mut world, "delivery", DELIVERY, |_| ("lmtp", transaction(ANNA, &mut seed), "250 2.1.5"));
    world.send("imap", b"n NOOP\r\n");
    measure(&mut world, "change of flags", CHANGE, |number| {
        ("imap", format!("c STORE {number} +FLAGS.SILENT (\\Deleted)\r\n").into(), "c OK")
    });
    measure(&mut world, "expunge", CHANGE, |number| {
        ("imap", format!("d UID EXPUNGE {number}\r\n").into(), "d OK")
    });
}

/// Does something often: who says what, and what is to be answered.
fn measure<F>(world: &mut World, what: &str, limit: (f64, f64), mut line: F)
where
    F: FnMut(usize) -> (&'static str, Vec<u8>, &'static str),
{
    let counts = |world: &World| (world.device.bytes_written(), world.device.flushes());
    let before = counts(world);
    for number in 1..=TIMES {
        let (name, sent, wanted) = line(number);
        world.connection(name).said.clear();
        world.send(name, &sent);
        let said = text(&world.connection(name).said);
        assert!(said.contains(wanted), "{what}: {said}");
    }
    holds("memory", what, TIMES, before, counts(world), limit);
}

#[test]
fn each_change_costs_its_blocks_and_one_flush_as_the_block_layer_counts() {
    let Some(disk) = Loop::new(512 << 20) else { return };
    let server = disk.serve("512M", &[]);
    let mut imap = server.imap(ANNA);
    deliver(server.connect(24), &[ANNA, BEN], 5, 1);
    let before = disk.counts();
    deliver(server.connect(24), &[ANNA], TIMES, 77);
    holds("loop device", "delivery", TIMES, before, disk.counts(), DELIVERY);
    imap.asks("s SELECT INBOX", "s OK");
    for (what, line) in
        [("change of flags", "STORE # +FLAGS.SILENT (\\Deleted)"), ("expunge", "UID EXPUNGE #")]
    {
        let before = disk.counts();
        for number in 1..=TIMES {
            imap.asks(&format!("c {}", line.replace('#', &number.to_string())), "c OK");
        }
        holds("loop device", what, TIMES, before, disk.counts(), CHANGE);
    }
    imap.asks("f FETCH 1:* (UID)", &format!("* 1 FETCH (UID {})", TIMES + 1));
}

#[test]
fn deliveries_in_company_share_blocks_and_flushes() {
    let Some(disk) = Loop::new(512 << 20) else { return };
    let server = disk.serve("512M", &["--flush-delay", "5"]);
    deliver(server.connect(24), &[ANNA, BEN], 5, 1);
    let before = disk.counts();
    let threads: Vec<_> = (0..10)
        .map(|client| {
            let stream = server.connect(24);
            std::thread::spawn(move || deliver(stream, &[ANNA, BEN], 60, client + 77))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("delivers"));
    holds("loop device", "delivery of ten at once", 600, before, disk.counts(), DELIVERY_IN_COMPANY);
}

/// Deletes all but the first message.
fn delete_the_rest(imap: &mut Talk) {
    imap.asks("n NOOP", "n OK");
    imap.asks("s STORE 2:* +FLAGS.SILENT (\\Deleted)", "s OK");
    imap.asks("e EXPUNGE", "e OK");
}

fn kept(imap: &mut Talk, sent: &[u8]) {
    imap.says("f FETCH 1 (BODY.PEEK[])");
    let line = imap.hears("* 1 FETCH");
    let size = line.trim_end_matches('}').rsplit('{').next().and_then(|size| size.parse().ok());
    let got = imap.bytes(size.expect("a literal"));
    assert!(got.ends_with(sent), "{} bytes came of {}", got.len(), sent.len());
    imap.hears("f OK");
}

#[test]
fn what_comes_free_on_a_partition_is_discarded_and_what_lives_is_not() {
    let Some(disk) = Loop::new(128 << 20) else { return };
    let mut server = disk.serve("128M", &[]);
    let (mut seed, megabyte) = (5, 1 << 20);
    let first = noise(&mut seed, megabyte);
    let mut lmtp = server.lmtp();
    let mut send = |sent: &[u8]| {
        envelope(&mut lmtp, ANNA);
        lmtp.asks("DATA", "354");
        lmtp.send(&[sent, b".\r\n"].concat());
        lmtp.hears("250 ");
    };
    send(&first);
    let mut imap = server.imap(ANNA);
    imap.asks("s SELECT INBOX", "s OK");
    let before = disk.discarded();
    // What was discarded is written to again before what was never used.
    for _ in 0..20 {
        for _ in 0..8 {
            send(&noise(&mut seed, megabyte));
        }
        delete_the_rest(&mut imap);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while disk.discarded() - before < 48 << 20 {
        assert!(Instant::now() < deadline, "only {} bytes were discarded", disk.discarded() - before);
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("{} MiB written, {} MiB discarded", 20 * 8, (disk.discarded() - before) >> 20);
    kept(&mut imap, &first);
    drop(imap);
    assert!(server.stop());
    let said = run(Command::new(POSTFACH).args(["check", "--store"]).arg(&disk.device), b"");
    eprintln!("{}", text(&said.stdout).trim());
    server.restart();
    let mut imap = server.imap(ANNA);
    imap.asks("s SELECT INBOX", "s OK");
    kept(&mut imap, &first);
}
