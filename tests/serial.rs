//! The console on a serial line, on a pty: the administrator's password first, then the language; the line survives noise and hang-ups.

mod server;

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use server::{ANNA, Server};

/// A hash, of no password that anybody knows.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";
/// The administrator's password.
const SESAME: &str = "sesame, open";

/// The other end of the line.
struct Terminal {
    pty: File,
    heard: Vec<u8>,
}

/// A server with a serial line whose device may be exchanged, logged in as its administrator.
fn logged_in(options: &[&str]) -> (Terminal, PathBuf, Server) {
    let (mut terminal, name) = Terminal::new();
    let folder = server::Folder::new();
    let (store, device) = (folder.0.join("mail.store"), folder.0.join("tty"));
    std::os::unix::fs::symlink(name, &device).expect("links");
    let mut format = Command::new(server::POSTFACH);
    server::run(format.args(["format", "--size", "2G", "--store"]).arg(&store), b"");
    let serial = device.to_string_lossy();
    let options = [&["--serial", &*serial], options].concat();
    let server = Server::serve_store(folder, store, &[], &options);
    server.console(&["admin", "passwd"], &format!("{SESAME}\n"));
    terminal.until("New password: ");
    terminal.send(b"\r");
    terminal.until("the password is empty");
    terminal.until("Password: ");
    terminal.log_in();
    // The ports open when there is an administrator's password, beside what is said here.
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", server.port(25))).is_err() {
        assert!(Instant::now() < deadline, "the ports stay shut");
        std::thread::sleep(Duration::from_millis(10));
    }
    (terminal, device, server)
}

/// Another terminal at the same device: the one before has hung up.
fn replaced(device: &Path) -> Terminal {
    let (terminal, name) = Terminal::new();
    let new = device.with_extension("new");
    std::os::unix::fs::symlink(name, &new).expect("links");
    std::fs::rename(new, device).expect("replaces");
    terminal
}

impl Terminal {
    /// A line, and the name of the server's end.
    fn new() -> (Terminal, String) {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("has a pty");
        grantpt(&pty).expect("grants");
        unlockpt(&pty).expect("unlocks");
        let name = ptsname(&pty, Vec::new()).expect("has a name").to_string_lossy().into_owned();
        (Terminal { pty: File::from(pty), heard: Vec::new() }, name)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.pty.write_all(bytes).expect("writes");
    }

    fn log_in(&mut self) {
        self.send(format!("{SESAME}\r").as_bytes());
        self.until("postfach> ");
    }

    /// Sends everything at once, as fast as the line takes it, and hears meanwhile.
    fn paste(&mut self, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
        let mut pty = self.pty.try_clone().expect("is cloned");
        std::thread::spawn(move || pty.write_all(&bytes).expect("writes"))
    }

    /// Sends at a steady pace, as a line without flow control does: what the other end has no room for is gone. How much that was, bytes.
    fn stream(&mut self, bytes: Vec<u8>) -> std::thread::JoinHandle<usize> {
        let mut pty = self.pty.try_clone().expect("is cloned");
        rustix::io::ioctl_fionbio(&pty, true).expect("does not block");
        std::thread::spawn(move || {
            let mut lost = 0;
            for part in bytes.chunks(500) {
                lost += part.len() - pty.write(part).unwrap_or_default();
                // Twenty times the speed of a real one.
                std::thread::sleep(Duration::from_millis(2));
            }
            lost
        })
    }

    /// Waits until this is heard; returns everything up to and with it.
    #[track_caller]
    fn until(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut from = 0;
        loop {
            // What has been searched is not searched again: a paste is answered with megabytes.
            let new = &self.heard[from..];
            let at = new.windows(wanted.len()).position(|part| part == wanted.as_bytes());
            if let Some(at) = at.map(|at| from + at) {
                let heard: Vec<u8> = self.heard.drain(..at + wanted.len()).collect();
                return String::from_utf8_lossy(&heard).into_owned();
            }
            from = self.heard.len().saturating_sub(wanted.len() - 1);
            let heard =
                || String::from_utf8_lossy(&self.heard[self.heard.len().saturating_sub(5000)..]).into_owned();
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

    // Typed with a mistake and an arrow key, after noise; and with noise in it.
    terminal.send(b"doma\xffin list\r");
    assert!(terminal.until("postfach> ").contains("noise"));
    terminal.send(b"\xff\x00domaim\x7fn \x1b[24~list\r");
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

/// Domains, mailboxes and aliases as `show config` prints them, and one mailbox whose password is hashed while the rest comes in.
fn configuration(aliases: usize) -> (Vec<String>, Vec<String>) {
    let mut lines: Vec<String> = (0..40).map(|n| format!("domain add d{n}.test")).collect();
    lines.extend((0..24).map(|n| format!("mailbox add m{n}@d{n}.test size S hash {PHC}")));
    let asked = ["mailbox add asked@d0.test size S", "opened, sesame", "opened, sesame"];
    let mut typed = lines.clone();
    typed.extend(asked.map(String::from));
    let aliases: Vec<String> = (0..aliases)
        .map(|n| format!("alias add a{n}@d{}.test m{}@d{}.test", n % 40, n % 24, n % 24))
        .collect();
    typed.extend_from_slice(&aliases);
    lines.extend(aliases);
    (typed, lines)
}

#[test]
fn a_configuration_is_pasted_at_full_speed() {
    let (mut terminal, _, server) = logged_in(&[]);
    // With CR, LF and CR LF; the last one is more than all buffers together hold.
    for (end, aliases) in [("\r", 933), ("\n", 933), ("\r\n", 3000)] {
        let (typed, lines) = configuration(aliases);
        assert!(typed.len() >= 1000);
        let mut pasted = typed.join(end);
        pasted.push_str(end);
        pasted.push_str("# the end");
        let pasting = terminal.paste(pasted.into_bytes());
        let heard = terminal.until("postfach> # the end");
        pasting.join().expect("pastes");
        assert_eq!(heard.matches("already").count(), 0, "{heard}");
        assert_eq!(heard.matches("Mail for d").count(), 40);
        assert_eq!(heard.matches(" goes to ").count(), aliases);
        // In force, in this order where it matters, and nothing else.
        let config = server.console(&["show", "config"], "");
        let shown: HashSet<&str> = config.lines().collect();
        let missing: Vec<_> = lines.iter().filter(|line| !shown.contains(line.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let domains: Vec<&str> = config.lines().filter(|line| line.starts_with("domain add d")).collect();
        assert_eq!(domains, lines[..40]);
        assert!(config.contains("mailbox add asked@d0.test size S hash $argon2id$"));
        assert_eq!(shown.len(), lines.len() + 5, "{config}");
        // All of it away again, pasted too.
        let mut gone: Vec<String> = (0..24).map(|n| format!("mailbox remove m{n}@d{n}.test\r")).collect();
        gone.push(String::from("mailbox remove asked@d0.test\r"));
        gone.extend((0..40).map(|n| format!("domain remove d{n}.test\r")));
        gone.push(String::from("# gone"));
        terminal.send(format!("\x15{}", gone.concat()).as_bytes());
        terminal.until("postfach> # gone");
        assert_eq!(server.console(&["domain", "list"], ""), "example.test\n");
        terminal.send(b"\x15");
    }
}

/// A box's network, as the program of `--board` sees it.
const BOARD: &str =
    "#!/bin/sh\n[ \"$1\" = state ] && printf 'interface eth0\\nlink up\\naddress 192.0.2.20/24\\n'\nexit 0\n";

/// The board's program, in this folder; its name.
fn board(folder: &server::Folder, script: &str) -> String {
    let program = folder.0.join("board");
    std::fs::write(&program, script).expect("writes");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("may be run");
    program.to_string_lossy().into_owned()
}

#[test]
fn every_line_of_show_config_is_pasted_at_a_box_and_stays() {
    let folder = server::Folder::new();
    let (mut terminal, _, server) = logged_in(&["--board", &board(&folder, BOARD)]);
    let config = || server.console(&["show", "config"], "");
    let numbers = || -> Vec<u32> {
        let history = server.console(&["history"], "");
        history.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    };
    server.console(&["time", "server", "127.0.0.1:9"], "");
    let (before, last) = (config(), numbers().len());
    let take_back = || {
        server.console(&["rollback", &numbers()[last].to_string()], "");
        assert_eq!(config(), before);
    };
    let rest = format!(
        "language de\nadmin passwd hash {PHC}\nnetwork hostname box.example.test\ntime server 127.0.0.1:123\ndomain add other.test\n\
         mailbox add carl@other.test size S hash {PHC}\nalias add info@other.test carl@other.test\n"
    );
    for network in [
        "network static 192.0.2.7/24 192.0.2.1\nnetwork dns 192.0.2.3 2001:db8::1\nnetwork ipv6 static 2001:db8::7/64 fe80::1\n",
        "network static 192.0.2.7/24 192.0.2.1\nnetwork dns\nnetwork ipv6 off\n",
        "network static 192.0.2.7/24 192.0.2.1\n",
        "network static 192.0.2.7/24\nnetwork dns 192.0.2.3\n",
        "network static 192.0.2.7/24\n",
        "network dns 192.0.2.3\nnetwork ipv6 static 2001:db8::7/64\n",
    ] {
        server.console(&["load"], &format!("{network}{rest}end\n"));
        let wanted = config();
        for line in rest.lines().chain(["network "]) {
            assert!(wanted.contains(line), "{line}: {wanted}");
        }
        take_back();
        // What is there already is told, and nothing else.
        terminal.send(format!("{}# the end", wanted.replace('\n', "\r")).as_bytes());
        let heard = terminal.until("postfach> # the end");
        assert_eq!(config(), wanted, "{heard}");
        assert!(!server.console(&["status"], "").contains("auf Probe"), "nothing is left on trial: {heard}");
        take_back();
        // The administrator's password has been another one meanwhile.
        terminal.send(b"\x03\r");
        terminal.until("Password: ");
        terminal.log_in();
    }
}

#[test]
fn a_line_without_flow_control_loses_nothing() {
    // Every commit takes longer than the kernel's buffer lasts, and so do the passwords.
    let (mut terminal, _, server) = logged_in(&["--flush-delay", "200"]);
    let (mut typed, lines) = configuration(933);
    for n in 0..3 {
        typed.insert(
            100 * n + 100,
            format!("mailbox passwd m{n}@d{n}.test\rchanged, sesame\rchanged, sesame"),
        );
    }
    let streaming = terminal.stream((typed.join("\r") + "\r# the end").into_bytes());
    let heard = terminal.until("postfach> # the end");
    assert_eq!(streaming.join().expect("streams"), 0, "bytes had no room");
    assert_eq!(heard.matches("only the new one works").count(), 3);
    assert_eq!(heard.matches(" goes to ").count(), 933);
    let config = server.console(&["show", "config"], "");
    let changed = |line: &&String| !config.contains(line.as_str());
    assert_eq!(lines.iter().filter(changed).count(), 3, "{config}");
}

#[test]
fn what_is_pasted_behind_a_name_knows_it() {
    // Nothing is durable, and so in force, before the next line has come.
    let (mut terminal, _, server) = logged_in(&["--flush-delay", "200"]);
    let show = |address: &str| format!("show client {address}\r");
    terminal.send(format!("setup\r\rx.test\ranna\rS\r\r{}# the end", show("anna@x.test")).as_bytes());
    let heard = terminal.until("postfach> # the end");
    let first = heard.split("fingerprint:\r\n").nth(1).and_then(|rest| rest.lines().next());
    let first = String::from(first.unwrap_or_else(|| panic!("no fingerprint: {heard}")));
    assert!(server.console(&["tls"], "").contains(&first), "{heard}");
    let config =
        format!("\x15network hostname box.other.test\rtls new\rkeep\r{}# the end", show("anna@x.test"));
    terminal.send(config.as_bytes());
    let heard = terminal.until("postfach> # the end");
    assert!(heard.contains("CN=box.other.test") && !heard.contains("not good for"), "{heard}");
    assert!(heard.contains("Server      box.other.test\r\n"), "{heard}");
    let second = server.console(&["tls"], "");
    assert!(second.contains("CN=box.other.test") && !second.contains(&first), "{second}");
    let told = heard.split("fingerprint:\r\n").nth(1).and_then(|rest| rest.lines().next());
    assert!(told.is_some_and(|told| second.contains(told)), "{heard}{second}");
}

#[test]
fn nobody_stays_logged_in_who_types_nothing() {
    let (mut terminal, _, server) = logged_in(&["--idle", "2"]);
    let start = Instant::now();
    terminal.send(b"mailbox remove ");
    terminal.until("Logged out: nothing was typed for a while.");
    assert!(start.elapsed() >= Duration::from_secs(2));
    terminal.until("Password: ");
    // What was begun is gone, and what comes is a password.
    terminal.send(format!("{ANNA}\r").as_bytes());
    terminal.until("Wrong password.");
    assert!(server.console(&["mailbox", "list"], "").contains(ANNA));
}

#[test]
fn whoever_comes_after_a_hang_up_logs_in_and_waits() {
    let (mut terminal, device, mut server) = logged_in(&[]);
    terminal.send(b"mailbox remo");
    terminal.until("mailbox remo");
    // The cable is pulled: the next one finds no login and no line begun.
    drop(terminal);
    let mut terminal = replaced(&device);
    terminal.until("Password: ");
    terminal.send(format!("ve {ANNA}\r").as_bytes());
    terminal.until("Wrong password.");
    terminal.until("Password: ");
    // Wrong passwords count on through a hang-up, and so does the time to wait.
    terminal.send(b"wrong\r");
    drop(terminal);
    let mut terminal = replaced(&device);
    let heard = terminal.until("Password: ");
    let start = Instant::now();
    terminal.send(b"wrong\r");
    terminal.until("Wrong password.");
    assert!(start.elapsed() >= Duration::from_secs(if heard.contains("wait ") { 8 } else { 4 }), "{heard}");
    terminal.until("Password: ");
    terminal.log_in();
    terminal.send(b"mailbox list\r");
    assert!(terminal.until("postfach> ").contains(ANNA));
    // Unplugged while a password is typed: nothing is set.
    terminal.send(b"admin passwd\r");
    terminal.until("New password: ");
    terminal.send(b"half a pass");
    drop(terminal);
    let mut terminal = replaced(&device);
    terminal.until("Password: ");
    terminal.log_in();
    assert!(server.stop());
}

#[test]
fn noise_does_nothing() {
    let (mut terminal, _, server) = logged_in(&[]);
    let mut seed = 0x9e37_79b9_u32;
    let mut noise = |count: usize, most: u32| -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.resize_with(count, || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            (seed % most) as u8
        });
        // What would log us out, or ask something, is not noise.
        bytes.retain(|byte| !matches!(byte, 0x04));
        bytes
    };
    let config = server.console(&["show", "config"], "");
    for noise in [vec![0; 100_000], vec![0xff; 100_000], noise(200_000, 256), noise(50_000, 32)] {
        let pasting = terminal.paste(noise);
        // Ctrl-C ends whatever it has begun.
        pasting.join().expect("pastes");
        terminal.send(b"\x03domain list\r# heard");
        let heard = terminal.until("postfach> # heard");
        assert!(heard.ends_with("domain list\r\nexample.test\r\npostfach> # heard"));
        let drives = |letter: char| letter.is_control() && !"\r\n\u{7}\u{8}".contains(letter);
        assert!(!heard.contains(drives), "what comes in as an escape sequence does not go out");
        terminal.send(b"\x03");
        terminal.until("^C\r\npostfach> ");
    }
    terminal.send(b"exit\r");
    terminal.until("Password: ");
    // Before login, too: what is no text is no password, and makes nobody wait.
    let mut flood = Vec::new();
    (0..2000).for_each(|_| flood.extend_from_slice(b"\xff\x00x\xfe\r"));
    let pasting = terminal.paste(flood);
    terminal.until("there was noise on the line");
    pasting.join().expect("pastes");
    terminal.send(b"\r");
    let start = Instant::now();
    terminal.log_in();
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(server.console(&["show", "config"], ""), config);
}

/// A network whose DHCP server, and whose board's program in its name, say what would move a terminal's cursor and turn text around.
const HOSTILE: &str = r#"#!/bin/sh
case $1 in
state) printf 'interface eth0\nlink up\naddress 192.0.2.20/24\ndns \033[2J\342\200\256evil\ntime \033]0;owned\007.test\n' ;;
ping) printf '64 bytes from \033[6n\342\200\256\n' ;;
*) printf 'the router says \033[2J\342\200\256\n' >&2 && exit 1 ;;
esac
"#;

#[test]
fn what_peers_say_cannot_drive_the_terminal() {
    let folder = server::Folder::new();
    let (mut terminal, _, server) = logged_in(&["--board", &board(&folder, HOSTILE)]);
    assert!(server.logs("could not be set up"));
    let mut peer = server.connect(25);
    let mut said = [0; 4096];
    for line in [
        &b"EHLO \x1b]0;owned\x07\x1b[2J\r\n"[..],
        b"EHLO evil.example\r\n",
        b"MAIL FROM:<\xc2\x9b31m@evil.example>\r\n",
        b"RCPT TO:<\xe2\x80\xae@example.test>\r\n",
        b"\x1b[6n\r\n",
    ] {
        let _ = peer.read(&mut said).expect("answers");
        peer.write_all(line).expect("writes");
    }
    let mut pop = server.connect(110);
    let _ = pop.read(&mut said).expect("greets");
    pop.write_all(b"USER \x1b[2J\r\nPASS \x1b[2J\r\n").expect("writes");
    let name = "\u{202e}x@example.test";
    server.console(&["mailbox", "add", name, "size", "S"], "a password\n");
    // What must be shown of it, and is not sent as it is; where something is, or the test would prove nothing.
    for (command, shown) in [
        ("network", &[r"\u{1b}[2J\u{202e}evil", r"the router says \u{1b}[2J\u{202e}"][..]),
        ("time", &[r"\u{1b}]0;owned\u{7}.test"]),
        ("status", &[r"the router says \u{1b}[2J\u{202e}"]),
        ("ping 192.0.2.9", &[r"from \u{1b}[6n\u{202e}"]),
        ("mailbox add \u{202e}y@example.test generate", &["there was noise on the line"]),
        ("help \u{9b}", &[]),
        ("mailbox list", &[r"\u{202e}x@example.test"]),
        ("show config", &[r"mailbox add \u{202e}x@example.test"]),
        ("history", &[r"mailbox add \u{202e}x@example.test"]),
        ("log", &[r"the router says \u{1b}[2J\u{202e}", r"console: mailbox add \u{202e}x"]),
        ("support", &[r"the router says \u{1b}[2J\u{202e}", r"owned\u{7}.test", r"mailbox add \u{202e}x"]),
    ] {
        terminal.send(format!("{command}\r# {command}").as_bytes());
        let heard = terminal.until("postfach> # ");
        assert!(!heard.contains(|letter: char| letter.is_control() && !"\r\n".contains(letter)), "{heard:?}");
        assert!(!heard.contains('\u{202e}'), "{heard:?}");
        for shown in shown {
            assert!(heard.contains(shown), "{shown} after {command}: {heard}");
        }
        terminal.send(b"\x03");
        terminal.until("^C\r\npostfach> ");
    }
    let logged = server.logged().join("\n");
    assert!(logged.contains("console: mailbox add"), "{logged}");
    assert!(!logged.contains(|letter: char| letter.is_control() && letter != '\n'), "{logged:?}");
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

#[test]
fn the_console_on_a_terminal_of_its_own_edits_lines_too() {
    let folder = server::Folder::new();
    let store = folder.0.join("mail.store");
    let mut format = Command::new(server::POSTFACH);
    server::run(format.args(["format", "--size", "512M", "--store"]).arg(&store), b"");
    let mut serving = None;
    // With the store to itself, and with a server.
    for domains in ["domains yet. Add one", "example.test"] {
        let (mut terminal, device) = Terminal::new();
        let screen = File::options().read(true).write(true).open(device).expect("opens");
        let end = || screen.try_clone().expect("is cloned");
        let mut console = Command::new(server::POSTFACH);
        console.args(["console", "--store"]).arg(&store).stdin(end()).stdout(end()).stderr(end());
        let mut child = console.spawn().expect("starts");
        terminal.until("postfach> ");
        terminal.send(b"xdomai\x01\x1b[3~\x05n l\tx\x7f\r");
        let heard = terminal.until("\npostfach> ").replace('\r', "");
        assert!(heard.contains("domain list ") && heard.contains(domains), "{heard:?}");
        terminal.send(b"\x1b[A\r");
        terminal.until("domain list ");
        terminal.until("postfach> ");
        terminal.send(b"admin passwd\r");
        terminal.until("New password: ");
        terminal.send(b"sesame\rsesame\r");
        let heard = terminal.until("postfach> ");
        assert!(heard.contains("password is set") && !heard.contains("sesame"), "{heard}");
        terminal.send(b"x\x03exit\r");
        let status = server::wait(&mut child, Duration::from_secs(30)).expect("ends");
        assert_eq!(status.code(), Some(0));
        // The terminal is as it was.
        terminal.send(b"echo\n");
        terminal.until("echo");
        serving =
            serving.or_else(|| Some(Server::serve_store(server::Folder::new(), store.clone(), &[], &[])));
    }
    drop(serving);
}
