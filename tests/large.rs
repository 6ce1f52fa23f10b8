//! Messages of 50 MB through every way in and out of the real server: not a byte differs, and the memory for it is a few hundred KiB,
//! also for a client that takes nothing. A slow client and a stalled sender hold back nobody else.

mod server;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use server::gauge::Gauge;
use server::talk::{Talk, envelope};
use server::{ANNA, BEN, Folder, PASSWORD, POSTFACH, Server, message, run};

/// The largest message that is taken is 50 MiB, with the trace fields.
const LARGE_BYTES: usize = 50 * 1024 * 1024 - 1024;
/// What a connection may cost that takes such a message in, KiB, with what of it is pending for the disk: up to 330 are usual.
const RECEIVING_KIB: u64 = 384;
/// What one may cost that gives such a message out, also to a peer that takes nothing, KiB; about 170 are usual.
const SENDING_KIB: u64 = 256;
/// What all of that may leave behind, KiB: 230 are usual.
const LEFT_KIB: u64 = 256;

/// A message of lines, some of which begin with dots.
fn large(seed: u64) -> Vec<u8> {
    let mut message = message(&format!("large{seed}"), "").into_bytes();
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while message.len() < LARGE_BYTES - 100 {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let line = format!("{:.>1$}{noise:016x}{noise:064o}\r\n", "", (noise % 3) as usize);
        message.extend_from_slice(line.as_bytes());
    }
    message.resize(LARGE_BYTES - 2, b'x');
    message.extend_from_slice(b"\r\n");
    message
}

fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + message.len() / 16);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

/// A server whose mailboxes take such messages.
fn start(options: &[&str]) -> Server {
    let folder = Folder::new();
    let store = folder.0.join("mail.store");
    run(Command::new(POSTFACH).args(["format", "--size", "4G", "--store"]).arg(&store), b"");
    let server = Server::serve_store(folder, store, &[], options);
    for user in [ANNA, BEN] {
        server.console(&["mailbox", "size", user, "XL"], "");
    }
    server
}

fn literal_bytes(line: &str) -> usize {
    let (_, size) = line.rsplit_once('{').expect("a literal");
    size.trim_end_matches('}').parse().expect("a size")
}

fn fetch(server: &Server, sent: &[u8], folder: &str, uid: u32) {
    let mut imap = server.imap(ANNA);
    imap.asks(&format!("s SELECT {folder}"), "s OK");
    imap.says(&format!("f UID FETCH {uid} (BODY.PEEK[])"));
    let size = literal_bytes(&imap.hears("* "));
    let got = imap.bytes(size);
    assert!(got.ends_with(sent) && size < sent.len() + 1024, "{size} bytes came of {}", sent.len());
    imap.hears("f OK");
}

fn retrieve(server: &Server, sent: &[u8], number: u32) {
    let mut pop3 = server.pop3(ANNA);
    let octets: usize = pop3
        .asks(&format!("LIST {number}"), "+OK")
        .rsplit_once(' ')
        .and_then(|(_, octets)| octets.parse().ok())
        .expect("a size");
    pop3.asks(&format!("RETR {number}"), "+OK");
    let trace = octets - sent.len();
    assert!(trace < 1024, "{octets} octets");
    pop3.bytes(trace);
    let wanted = stuffed(sent);
    assert!(pop3.bytes(wanted.len()) == wanted, "RETR gave other bytes");
    pop3.asks("QUIT", "+OK");
}

/// What is paid once is paid: a login that is remembered costs no hash, and every thread has its buffer.
fn warm_up(server: &Server) {
    let small = message("small", "hello").into_bytes();
    // Of several pieces, to the end of a line.
    let mut larger = large(2);
    larger.truncate(400_000);
    larger.extend_from_slice(b"\r\n");
    for sent in [&small; 8].into_iter().chain([&larger; 2]) {
        let mut lmtp = server.lmtp();
        envelope(&mut lmtp, BEN);
        lmtp.asks("DATA", "354");
        lmtp.send(&stuffed(sent));
        lmtp.hears("250 ");
        let mut imap = server.imap(BEN);
        imap.asks("s SELECT INBOX", "s OK");
        imap.asks("f FETCH 1 (BODY.PEEK[])", "f OK");
        server.pop3(BEN).asks("RETR 1", ".");
    }
    server.imap(ANNA);
}

#[test]
fn fifty_megabytes_pass_in_little_memory() {
    let server = start(&[]);
    let sent = large(1);
    let lines = stuffed(&sent);
    warm_up(&server);
    let gauge = Gauge::new(server.pid());
    let before = gauge.rest();
    let mut costs = Vec::new();
    let mut measure = |what: &'static str, doing: &dyn Fn()| costs.push((what, gauge.rise(what, doing)));
    measure("DATA", &|| {
        let mut smtp = server.plain(25);
        smtp.hears("220");
        smtp.asks("EHLO test.example", "250 ");
        envelope(&mut smtp, ANNA);
        smtp.asks("DATA", "354");
        smtp.send(&lines);
        smtp.hears("250 2.0.0");
    });
    measure("DATA over TLS", &|| {
        let mut smtp = server.secret(465);
        smtp.hears("220");
        smtp.asks("EHLO test.example", "250 ");
        smtp.asks("AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGNvcnJlY3QgaG9yc2UgOQ==", "235");
        smtp.asks(&format!("MAIL FROM:<{ANNA}> SIZE={}", sent.len()), "250 ");
        smtp.asks(&format!("RCPT TO:<{ANNA}>"), "250 ");
        smtp.asks("DATA", "354");
        smtp.send(&lines);
        smtp.hears("250 2.0.0");
    });
    measure("BDAT", &|| {
        let mut lmtp = server.lmtp();
        envelope(&mut lmtp, ANNA);
        for chunk in sent.chunks(20 << 20) {
            lmtp.says(&format!("BDAT {}", chunk.len()));
            lmtp.send(chunk);
            lmtp.hears("250 ");
        }
        lmtp.asks("BDAT 0 LAST", "250 2.1.5");
    });
    measure("APPEND", &|| {
        let mut imap = server.imap(ANNA);
        imap.asks(&format!("a APPEND Archive {{{}}}", sent.len()), "+ ");
        imap.send(&sent);
        imap.asks("", "a OK");
    });
    for (what, uid) in [("FETCH of DATA", 1), ("FETCH of DATA over TLS", 2), ("FETCH of BDAT", 3)] {
        measure(what, &|| fetch(&server, &sent, "INBOX", uid));
    }
    measure("FETCH of APPEND", &|| fetch(&server, &sent, "Archive", 1));
    measure("RETR", &|| retrieve(&server, &sent, 1));
    measure("a FETCH that nobody reads", &|| {
        let mut imap = server.imap(ANNA);
        imap.asks("s SELECT INBOX", "s OK");
        imap.says("f UID FETCH 1:* (BODY.PEEK[])");
        thread::sleep(Duration::from_secs(1));
    });
    let limits = [RECEIVING_KIB; 4].into_iter().chain(std::iter::repeat(SENDING_KIB));
    let expensive: Vec<_> = costs.iter().zip(limits).filter(|((_, rise), limit)| rise > limit).collect();
    assert!(expensive.is_empty(), "KiB of memory: {expensive:?}");
    let left = gauge.rest().saturating_sub(before);
    assert!(left <= LEFT_KIB, "{left} KiB stay behind");
}

/// Nagle's algorithm keeps the second write back until the first is acknowledged, and a server that has nothing to answer yet does that
/// after 40 ms unless it is told to. Python's imaplib writes so.
#[test]
fn a_literal_and_its_end_in_two_writes_are_not_delayed() {
    let server = Server::start();
    let mut imap = server.imap(ANNA);
    let small = message("two writes", "hello");
    let times = (0..20).map(|_| {
        let from = Instant::now();
        imap.asks(&format!("a APPEND Archive {{{}}}", small.len()), "+ ");
        imap.send(small.as_bytes());
        imap.asks("", "a OK");
        from.elapsed()
    });
    let fastest = times.min().expect("times");
    assert!(fastest < Duration::from_millis(35), "{fastest:?}");
}

/// A stream that gives a kilobyte a second, once it has been made slow.
struct Slow {
    stream: TcpStream,
    is_slow: Arc<AtomicBool>,
}

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.is_slow.load(Ordering::Relaxed) {
            return self.stream.read(buf);
        }
        thread::sleep(Duration::from_secs(1));
        let most = buf.len().min(1024);
        self.stream.read(&mut buf[..most])
    }
}

impl Write for Slow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Fetches a large message, and reads a kilobyte a second of it for so long.
fn read_slowly(server: &Server, seconds: u64) -> JoinHandle<()> {
    let is_slow = Arc::new(AtomicBool::new(false));
    let stream = Slow { stream: server.connect(993), is_slow: Arc::clone(&is_slow) };
    let mut imap = server.secretly(stream);
    imap.hears("* OK");
    imap.asks(&format!("l LOGIN {BEN} \"{PASSWORD}\""), "l OK");
    imap.asks("s SELECT INBOX", "s OK");
    imap.says("f FETCH 1 (BODY.PEEK[])");
    imap.hears("* 1 FETCH");
    is_slow.store(true, Ordering::Relaxed);
    thread::spawn(move || (0..seconds).for_each(|_| drop(imap.bytes(1024))))
}

#[test]
fn slow_and_stalled_peers_hold_back_nobody() {
    let server = start(&[]);
    let sent = large(2);
    let lines = stuffed(&sent);
    let mut lmtp = server.lmtp();
    envelope(&mut lmtp, BEN);
    lmtp.asks("DATA", "354");
    lmtp.send(&lines);
    lmtp.hears("250 ");
    let readers: Vec<_> = (0..4).map(|_| read_slowly(&server, 5)).collect();
    // Each has sent more than fits the journal's queue, and says no more.
    let (begun, later) = lines.split_at(1 << 20);
    let mut stalled: Vec<Talk> = (0..4).map(|_| server.lmtp()).collect();
    for lmtp in &mut stalled {
        envelope(lmtp, ANNA);
        lmtp.asks("DATA", "354");
        lmtp.send(begun);
    }
    let mut appending = server.imap(BEN);
    appending.asks(&format!("a APPEND Archive {{{}}}", sent.len()), "+ ");
    appending.send(&sent[..1 << 20]);

    let mut imap = server.imap(ANNA);
    imap.asks("s SELECT INBOX", "s OK");
    for number in 1..=30 {
        let from = Instant::now();
        envelope(&mut lmtp, ANNA);
        lmtp.asks("DATA", "354");
        lmtp.send(&stuffed(message(&format!("quick{number}"), "hello").as_bytes()));
        lmtp.hears("250 ");
        imap.asks("n NOOP", &format!("* {number} EXISTS"));
        imap.asks(&format!("f FETCH {number} (BODY.PEEK[])"), &format!("Subject: quick{number}"));
        imap.hears("f OK");
        assert!(from.elapsed() < Duration::from_secs(2), "{number} took {:?}", from.elapsed());
    }
    for lmtp in &mut stalled[..2] {
        lmtp.send(later);
        lmtp.hears("250 ");
    }
    appending.send(&sent[1 << 20..]);
    appending.asks("", "a OK");
    for reader in readers {
        reader.join().expect("is served, slowly");
    }
    fetch(&server, &sent, "INBOX", 31);
}
