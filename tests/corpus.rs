//! Every message goes in by SMTP and by APPEND, and comes out byte for byte the same by IMAP, in pieces too, and by POP3.
//!
//! The messages are `tests/messages`, and those of the folder that POSTFACH_CORPUS names.

mod harness;

use std::path::{Path, PathBuf};

use harness::{World, phc};
use postfach::types::{Class, Position};

const ANNA: &str = "anna@example.test";

fn messages() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages"), &mut files);
    if let Ok(folder) = std::env::var("POSTFACH_CORPUS") {
        collect(Path::new(&folder), &mut files);
    }
    files.sort();
    let read =
        |path: &PathBuf| (path.display().to_string(), with_crlf(&std::fs::read(path).expect("readable")));
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "eml" || end == "txt" || end == "crlf") {
            files.push(path);
        }
    }
}

/// Line ends become CRLF, and the last line gets one; a CR alone stays what it is.
fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 100);
    for byte in message {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 100);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}

/// SMTP refuses what could end a message in the middle elsewhere: a CR or LF alone, a NUL.
fn refusable(message: &[u8]) -> bool {
    let bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
    message.contains(&0) || message.windows(2).any(bare)
}

struct Mailbox {
    world: World,
}

impl Mailbox {
    fn new() -> Mailbox {
        let world = World::new(256 << 20, 1);
        let mut needs = Position::default();
        let mut store = world.shared.access(&mut needs);
        store.domain_add("example.test").expect("adds");
        store.mailbox_add(ANNA, Class::Xl, phc(b"secret")).expect("adds");
        drop(store);
        world.shared.lock().commit().expect("commits");
        let mut mailbox = Mailbox { world };
        for (name, protocol) in [("smtp", "smtp"), ("imap", "imaps")] {
            mailbox.world.connect(name, protocol);
        }
        assert!(mailbox.say("smtp", b"EHLO corpus\r\n").starts_with(b"220 "));
        let said = mailbox.say("imap", format!("a LOGIN {ANNA} secret\r\nb SELECT INBOX\r\n").as_bytes());
        assert!(String::from_utf8_lossy(&said).contains("b OK"));
        mailbox
    }

    fn say(&mut self, name: &str, bytes: &[u8]) -> Vec<u8> {
        self.world.send(name, bytes);
        std::mem::take(&mut self.world.connection(name).said)
    }

    /// The literal of the one FETCH answer.
    fn fetch(&mut self, what: &str) -> Vec<u8> {
        let said = self.say("imap", format!("f FETCH * ({what})\r\n").as_bytes());
        let open = said.iter().position(|byte| *byte == b'{').unwrap_or_else(|| {
            panic!("no literal: {}", String::from_utf8_lossy(&said[..said.len().min(300)]));
        });
        let close = open + said[open..].iter().position(|byte| *byte == b'}').expect("closes");
        let length: usize = String::from_utf8_lossy(&said[open + 1..close]).parse().expect("a number");
        assert!(String::from_utf8_lossy(&said[close + 3 + length..]).contains("\r\nf OK"), "{what}");
        said[close + 3..close + 3 + length].to_vec()
    }

    fn in_pieces(&mut self, length: usize, step: usize) -> Vec<u8> {
        let mut whole = Vec::new();
        for start in (0..length).step_by(step) {
            whole.extend(self.fetch(&format!("BODY.PEEK[]<{start}.{step}>")));
        }
        whole
    }

    fn by_pop3(&mut self) -> Vec<u8> {
        self.world.connect("pop3", "pop3s");
        let said = self.say("pop3", format!("USER {ANNA}\r\nPASS secret\r\nSTAT\r\n").as_bytes());
        let said = String::from_utf8_lossy(&said).into_owned();
        let count = said.lines().last().and_then(|stat| stat.split(' ').nth(1)).expect("a count").to_string();
        let said = self.say("pop3", format!("RETR {count}\r\nQUIT\r\n").as_bytes());
        let start = said.windows(2).position(|pair| pair == b"\r\n").expect("a line") + 2;
        let end = said.windows(5).rposition(|part| part == b"\r\n.\r\n").expect("an end") + 2;
        let mut message = Vec::new();
        for line in said[start..end].split_inclusive(|byte| *byte == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        message
    }
}

#[test]
fn messages_come_out_as_they_went_in() {
    let mut mailbox = Mailbox::new();
    let messages = messages();
    let mut refused = 0;
    for (name, message) in &messages {
        // By SMTP: what comes out begins with the two trace fields of the delivery.
        let said = mailbox
            .say("smtp", format!("MAIL FROM:<a@b.example>\r\nRCPT TO:<{ANNA}>\r\nDATA\r\n").as_bytes());
        assert!(String::from_utf8_lossy(&said).contains("354 "), "{name}");
        let said = mailbox.say("smtp", &[&stuffed(message)[..], b".\r\n"].concat());
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(said.starts_with("250 "), !refusable(message), "{name}: {said}");
        if refusable(message) {
            refused += 1;
        } else {
            mailbox.say("imap", b"n NOOP\r\n");
            let fetched = mailbox.fetch("BODY.PEEK[]");
            assert!(fetched.ends_with(message), "{name} by SMTP and FETCH");
            let trace = String::from_utf8_lossy(&fetched[..fetched.len() - message.len()]).into_owned();
            assert!(
                trace.starts_with("Return-Path: <a@b.example>\r\nReceived: from corpus "),
                "{name}: {trace}"
            );
            assert_eq!(mailbox.by_pop3(), fetched, "{name} by POP3");
        }
        // By APPEND: nothing is added.
        mailbox.world.send("imap", format!("p APPEND INBOX {{{}+}}\r\n", message.len()).as_bytes());
        let said = mailbox.say("imap", &[&message[..], b"\r\n"].concat());
        assert!(String::from_utf8_lossy(&said).contains("p OK"), "{name}");
        assert!(mailbox.fetch("BODY.PEEK[]") == *message, "{name} by APPEND and FETCH");
        for step in [message.len().div_ceil(3), 997] {
            assert!(mailbox.in_pieces(message.len(), step) == *message, "{name} in pieces of {step}");
        }
        let halves = [mailbox.fetch("BODY.PEEK[HEADER]"), mailbox.fetch("BODY.PEEK[TEXT]")].concat();
        assert!(halves == *message, "{name} as header and text");
        if !refusable(message) {
            assert!(mailbox.by_pop3() == *message, "{name} by APPEND and POP3");
        }
    }
    eprintln!("{} messages, {refused} of them refused by SMTP", messages.len());
    assert!(messages.len() >= 20);
    if std::env::var("POSTFACH_CORPUS").is_ok() {
        assert!(messages.len() >= 107 + 20);
    }
}
