//! What the kernel sees: between the last write of a change to the store and the write of its acknowledgement to the socket lies a
//! successful flush. For deliveries of one client and of ten, for IMAP's OK, POP3's QUIT, and a password change.

mod server;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use server::{ANNA, PASSWORD, Server, run, text};

/// One system call, at the place in the trace where it began and where it ended.
#[derive(Debug)]
struct Call {
    begun: usize,
    ended: usize,
    name: String,
    /// The first argument: the file.
    file: i32,
    arguments: String,
    result: i64,
}

/// A server under strace, and where the trace goes.
fn traced() -> (Server, PathBuf) {
    let trace = server::Folder::new();
    let path = trace.0.join("trace");
    std::mem::forget(trace);
    let calls = "trace=openat,pwrite64,pwritev,pwritev2,fdatasync,fsync,sendto,sendmsg,write,writev,recvfrom,recvmsg,read,readv,accept4";
    let output = path.to_string_lossy().into_owned();
    let wrapper = ["strace", "-f", "-s", "70000", "-e", calls, "-o", &output];
    (Server::start_with(&wrapper, &[]), path)
}

/// Reads a trace. `unfinished` and `resumed` lines are put together.
fn calls(path: &Path) -> Vec<Call> {
    let text = std::fs::read(path).expect("a trace");
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut open: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(pid, (number, begun.into()));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            if let (Some((begun, head)), Some((_, tail))) =
                (open.remove(pid), resumed.split_once(" resumed>"))
            {
                calls.extend(call(begun, number, &format!("{head}{tail}")));
            }
        } else {
            calls.extend(call(number, number, rest));
        }
    }
    calls
}

fn call(begun: usize, ended: usize, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let number =
        |text: &str| text.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect::<String>();
    let file = number(arguments).parse().unwrap_or(-1);
    let result = number(result.trim()).parse().unwrap_or(-1);
    Some(Call { begun, ended, name: name.into(), file, arguments: arguments.into(), result })
}

impl Call {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    fn sends(&self) -> bool {
        self.is(&["sendto", "sendmsg", "write", "writev"])
    }
}

/// The file number that frames are written to. Zeros are written ahead through another one.
fn store_file(calls: &[Call], store: &Path) -> i32 {
    let store = format!("\"{}\"", store.display());
    let opened = calls.iter().filter(|call| call.name == "openat" && call.arguments.contains(&store));
    let files: Vec<i32> = opened.map(|call| call.result as i32).collect();
    let write = calls.iter().find(|call| call.is(&WRITES) && files.contains(&call.file) && !zeros(call));
    write.expect("the store is written").file
}

const WRITES: [&str; 3] = ["pwrite64", "pwritev", "pwritev2"];

/// Zero-filling ahead acknowledges nothing.
fn zeros(call: &Call) -> bool {
    call.arguments.contains(", \"\\0\\0\\0\\0\\0\\0\\0\\0")
}

/// Writes of frames to the store.
fn store_writes(calls: &[Call], file: i32) -> Vec<&Call> {
    calls.iter().filter(|call| call.file == file && call.is(&WRITES) && !zeros(call)).collect()
}

/// Whether a flush that succeeded lies between the end of one call and the beginning of another.
fn flushed(calls: &[Call], file: i32, from: usize, to: usize) -> bool {
    let flushes =
        calls.iter().filter(|call| call.file == file && call.is(&["fdatasync", "fsync"]) && call.result == 0);
    flushes.into_iter().any(|call| call.begun > from && call.ended < to)
}

fn deliver(stream: std::net::TcpStream, markers: &[String]) {
    let mut writer = stream.try_clone().expect("clones");
    let mut lines = BufReader::new(stream).lines();
    let mut line = || lines.next().expect("a line").expect("reads");
    line();
    writer.write_all(b"LHLO test\r\n").expect("sends");
    while !line().starts_with("250 ") {}
    for marker in markers {
        let head = format!("MAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nDATA\r\n");
        writer
            .write_all(format!("{head}Subject: {marker}\r\n\r\n{}.\r\n", "body\r\n".repeat(300)).as_bytes())
            .expect("sends");
        for wanted in ["250 ", "250 ", "354 ", "250 "] {
            let line = line();
            assert!(line.starts_with(wanted), "{line}");
        }
    }
}

#[test]
fn a_250_leaves_after_the_flush_of_its_message() {
    let (mut server, trace) = traced();
    let clients = 10;
    let markers =
        |client: usize, count: usize| (0..count).map(move |n| format!("marker-{client}-{n}-end")).collect();
    let alone: Vec<String> = markers(99, 20);
    deliver(server.connect(24), &alone);
    let threads: Vec<_> = (0..clients)
        .map(|client| {
            let (stream, markers): (_, Vec<String>) = (server.connect(24), markers(client, 10));
            std::thread::spawn(move || deliver(stream, &markers))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("delivers"));
    assert!(end(&mut server, &trace));
    let calls = calls(&trace);
    let file = store_file(&calls, &server.store);
    let writes = store_writes(&calls, file);
    let all = (0..clients).flat_map(|client| markers(client, 10)).chain(alone);
    let all: Vec<String> = all.collect();
    for marker in &all {
        let received = calls.iter().find(|call| {
            call.is(&["recvfrom", "recvmsg", "read", "readv"]) && call.arguments.contains(marker.as_str())
        });
        let received = received.unwrap_or_else(|| panic!("{marker} was never received"));
        let write = writes.iter().rfind(|call| call.arguments.contains(marker.as_str()));
        let write = write.unwrap_or_else(|| panic!("{marker} was never written"));
        // The acknowledgement is the first 250 that this connection is sent after the 354, perhaps together with it.
        let answer = calls.iter().find(|call| {
            let behind = call.arguments.split("354 ").last().unwrap_or_default();
            call.sends()
                && call.file == received.file
                && call.begun > received.ended
                && behind.contains("250 2.")
        });
        let answer = answer.unwrap_or_else(|| panic!("{marker} was never acknowledged"));
        assert!(write.ended < answer.begun, "{marker} was acknowledged before it was written");
        assert!(
            flushed(&calls, file, write.ended, answer.begun),
            "{marker} was acknowledged before its flush"
        );
    }
    eprintln!("{} acknowledgements, each after its flush", all.len());
}

/// With one client at a time the rule is simple: after a write to the store nothing is sent to anybody before a flush has succeeded.
#[test]
fn every_other_acknowledgement_leaves_after_its_flush() {
    let (mut server, trace) = traced();
    deliver(server.connect(24), &[String::from("one"), String::from("two")]);
    let curl = |words: &[&str], url: String| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "--cacert"]).arg(server.certificate());
        command.args(["-u", &format!("{ANNA}:{PASSWORD}")]).args(words).arg(url);
        run(&mut command, b"")
    };
    let inbox = format!("imaps://localhost:{}/INBOX", server.port(993));
    for request in ["STORE 1 +FLAGS (\\Flagged)", "COPY 1 Archive", "MOVE 1 Trash", "CREATE Work"] {
        curl(&["-X", request], inbox.clone());
    }
    let file = server.folder.0.join("appended.eml");
    std::fs::write(&file, "Subject: appended\r\n\r\nhello\r\n").expect("writes");
    curl(&["-T", &file.to_string_lossy()], inbox.clone());
    curl(&["-X", "DELE", "-I"], format!("pop3s://localhost:{}/1", server.port(995)));
    server.console(&["mailbox", "passwd", ANNA], "another password 7\n");
    assert!(end(&mut server, &trace));
    let calls = calls(&trace);
    let file = store_file(&calls, &server.store);
    let writes = store_writes(&calls, file);
    let mut changes = 0;
    for write in &writes {
        let sent = calls
            .iter()
            .find(|call| call.sends() && call.file > 2 && call.begun > write.ended && talks(call));
        if let Some(sent) = sent {
            assert!(
                flushed(&calls, file, write.ended, sent.begun),
                "sent before the flush: {sent:.300?}\nafter {write:.300?}"
            );
            changes += 1;
        }
    }
    eprintln!("{changes} changes, each acknowledged after its flush");
    assert!(changes >= 9, "{changes} changes were seen");
}

/// Not an eventfd or a pipe that wakes a thread: those are written eight bytes or one.
fn talks(call: &Call) -> bool {
    call.is(&["sendto", "sendmsg"]) || call.result > 8
}

/// Stops the server inside the wrapper, and waits for both.
fn end(server: &mut Server, trace: &Path) -> bool {
    let traced = std::fs::read(trace).expect("a trace");
    let first = text(&traced[..traced.len().min(100)]);
    let pid = first.split(' ').next().expect("a process id").to_string();
    run(Command::new("kill").args(["-TERM", &pid]), b"");
    server.wait()
}
