//! The console on a serial line, on a pty: the administrator's password first, then the language; the line survives noise and hang-ups.

mod server;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use server::{ANNA, Server};

/// The other end of the line.
struct Terminal {
    pty: File,
    heard: Vec<u8>,
}

impl Terminal {
    /// A line, and the name of the server's end.
    fn new() -> (Terminal, String) {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("has a pty");
        grantpt(&pty).expect("grants");
        unlockpt(&pty).expect("unlocks");
        let name = ptsname(&pty, Vec::new()).expect("has a name").to_string_lossy().into_owned();
        (Terminal { pty: File::from(pty), heard: Vec::new() }, name)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.pty.write_all(bytes).expect("writes");
    }

    /// Waits until this is heard; returns everything up to and with it.
    fn until(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let at = self.heard.windows(wanted.len()).position(|part| part == wanted.as_bytes());
            if let Some(at) = at {
                let heard: Vec<u8> = self.heard.drain(..at + wanted.len()).collect();
                return String::from_utf8_lossy(&heard).into_owned();
            }
            let heard = || String::from_utf8_lossy(&self.heard).into_owned();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waits for {wanted:?}, heard {:?}", heard());
            let mut polled = [PollFd::new(&self.pty, PollFlags::IN)];
            let left = Timespec::try_from(left).expect("a short time");
            if poll(&mut polled, Some(&left)).expect("polls") == 0 {
                continue;
            }
            let mut buffer = [0; 4096];
            match self.pty.read(&mut buffer) {
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                // Nobody has the other end open just now.
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

#[test]
fn the_console_is_spoken_on_a_serial_line() {
    let (mut terminal, device) = Terminal::new();
    let mut server = Server::start_with(&[], &["--serial", &device]);
    terminal.until("no administrator's password yet");
    // Nothing is served before there is one.
    for port in [25, 143, 993] {
        let refused = TcpStream::connect(("127.0.0.1", server.port(port))).expect_err("refuses");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{port}");
    }
    terminal.until("New password: ");
    terminal.send(b"domain list\r");
    terminal.until("The same again: ");
    terminal.send(b"no\r");
    terminal.until("not the same");
    terminal.until("New password: ");
    terminal.send(b"sesame, open\r\n");
    terminal.until("The same again: ");
    terminal.send(b"sesame, open\n");
    let heard = terminal.until("postfach> ");
    assert!(!heard.contains("sesame"), "{heard}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", server.port(143))).is_err() {
        assert!(Instant::now() < deadline, "the ports stay closed");
        std::thread::sleep(Duration::from_millis(10));
    }

    // Typed with a mistake, noise and an arrow key.
    terminal.send(b"domaim\x7fn \xff\x00\x1b[Alist\r");
    let heard = terminal.until("postfach> ");
    assert!(heard.contains("\r\nexample.test\r\n"), "{heard:?}");
    terminal.send(b"mailbox list\r\nalias list\rhelp alias\n");
    assert!(terminal.until("postfach> ").contains(ANNA));
    assert!(terminal.until("postfach> ").contains("There are no aliases."));
    assert!(terminal.until("postfach> ").contains("alias remove ALIAS"));
    assert!(server.console(&["status"], "").contains("All is well."));

    terminal.send(b"exit\r");
    terminal.until("Password: ");
    let start = Instant::now();
    terminal.send(b"wrong\r");
    terminal.until("Wrong password.");
    assert!(start.elapsed() >= Duration::from_secs(2), "answered too soon");
    terminal.until("Password: ");
    terminal.send(b"sesame, open\r");
    terminal.until("postfach> ");
    assert!(server.stop());
    terminal.until("the server is stopping");
}

#[test]
fn a_wrong_device_is_told_at_once() {
    let folder = server::Folder::new();
    let store = folder.0.join("mail.store");
    let postfach = |words: &[&str]| {
        let mut command = Command::new(server::POSTFACH);
        server::try_run(command.args(words).arg("--store").arg(&store), b"")
    };
    assert!(postfach(&["format", "--size", "64M"]).status.success());
    for device in ["/nonexistent", "/dev/null"] {
        let output = postfach(&["serve", "--port-base", "40000", "--serial", device]);
        assert_eq!(output.status.code(), Some(1));
        assert!(server::text(&output.stderr).contains(device), "{}", server::text(&output.stderr));
    }
}

#[test]
fn a_person_types_a_password_twice_and_it_is_not_shown() {
    let folder = server::Folder::new();
    let store = folder.0.join("mail.store");
    let command = |word: &str| {
        let mut command = Command::new(server::POSTFACH);
        command.args([word, "--store"]).arg(&store);
        command
    };
    assert!(server::try_run(command("format").args(["--size", "64M"]), b"").status.success());
    let (mut terminal, device) = Terminal::new();
    let screen = File::options().read(true).write(true).open(device).expect("opens");
    let mut ask = |second: &str| {
        let end = || screen.try_clone().expect("is cloned");
        let mut asked = command("console");
        asked.args(["admin", "passwd"]).stdin(end()).stdout(end()).stderr(end());
        let mut child = asked.spawn().expect("starts");
        terminal.until("New password: ");
        terminal.send(b"open sesane\x7f\x7fme\n");
        let first = terminal.until("The same again: ");
        terminal.send(second.as_bytes());
        let heard = first + &terminal.until(".\r\n");
        assert!(!heard.contains("open") && !heard.contains("sesame"), "{heard}");
        let status = server::wait(&mut child, Duration::from_secs(30)).expect("ends");
        (status.code(), heard)
    };
    let (status, heard) = ask("open sesame\n");
    assert_eq!(status, Some(0), "{heard}");
    assert!(heard.contains("password is set"), "{heard}");
    // Ctrl-C leaves the echo on and changes nothing.
    let (status, heard) = ask("open ses\x03");
    assert_eq!(status, Some(1), "{heard}");
    assert!(heard.contains("interrupted"), "{heard}");
    terminal.send(b"echo\n");
    terminal.until("echo");
}
