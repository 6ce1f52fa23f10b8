//! The real server in a folder of its own, on ports that it has picked free, for tests with real mail programs.
//!
//! Waits are for events, with deadlines. A server that a test has started is ended with it, by its process id.
#![allow(dead_code)]

pub mod gauge;
pub mod owner;
pub mod talk;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The program under test.
pub const POSTFACH: &str = env!("CARGO_BIN_EXE_postfach");
/// Everybody's password.
pub const PASSWORD: &str = "correct horse 9";
/// The mailboxes that there are.
pub const ANNA: &str = "anna@example.test";
pub const BEN: &str = "ben@example.test";

const PORTS: [u16; 8] = [24, 25, 110, 143, 465, 587, 993, 995];

/// A running server.
pub struct Server {
    pub folder: Folder,
    pub store: PathBuf,
    base: u16,
    child: Child,
    /// Lines that the server has logged.
    log: Receiver<String>,
    /// Words put before the program, such as strace and its options.
    wrapper: Vec<String>,
    options: Vec<String>,
}

/// A folder that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postfach-test-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// A new store with two mailboxes, served.
    pub fn start() -> Server {
        Server::start_with(&[], &[])
    }

    /// The same behind a wrapper such as strace, and with further options of `serve`.
    pub fn start_with(wrapper: &[&str], options: &[&str]) -> Server {
        let folder = Folder::new();
        let store = folder.0.join("mail.store");
        run(Command::new(POSTFACH).args(["format", "--size", "512M", "--store"]).arg(&store), b"");
        Server::serve_store(folder, store, wrapper, options)
    }

    /// Mailboxes are made, then the store is served.
    pub fn serve_store(folder: Folder, store: PathBuf, wrapper: &[&str], options: &[&str]) -> Server {
        for (words, input) in [
            (vec!["domain", "add", "example.test"], String::new()),
            (vec!["mailbox", "add", ANNA, "size", "M"], format!("{PASSWORD}\n")),
            (vec!["mailbox", "add", BEN, "size", "M"], format!("{PASSWORD}\n")),
        ] {
            run(
                Command::new(POSTFACH).args(["console", "--store"]).arg(&store).args(words),
                input.as_bytes(),
            );
        }
        let strings = |words: &[&str]| words.iter().map(|word| String::from(*word)).collect::<Vec<_>>();
        Server::launched(folder, store, strings(wrapper), strings(options))
    }

    /// A store as it is, served.
    pub fn launch_store(folder: Folder, store: PathBuf) -> Server {
        Server::launched(folder, store, Vec::new(), Vec::new())
    }

    fn launched(folder: Folder, store: PathBuf, wrapper: Vec<String>, options: Vec<String>) -> Server {
        let (child, log, base) = launch(&store, &wrapper, &options);
        Server { folder, store, base, child, log, wrapper, options }
    }

    /// Where a service is.
    pub fn port(&self, standard: u16) -> u16 {
        self.base + standard
    }

    /// What is added to each standard port.
    pub fn port_base(&self) -> u16 {
        self.base
    }

    /// The server's process, or its wrapper's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A plain connection to a service.
    pub fn connect(&self, standard: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port(standard))).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("takes a timeout");
        stream
    }

    /// Runs a command at the console of the running server; it must succeed.
    pub fn console(&self, words: &[&str], input: &str) -> String {
        let mut command = Command::new(POSTFACH);
        command.args(["console", "--store"]).arg(&self.store).args(words);
        text(&run(&mut command, input.as_bytes()).stdout)
    }

    /// The server's certificate as a PEM file.
    pub fn certificate(&self) -> PathBuf {
        let path = self.folder.0.join("cert.pem");
        if !path.exists() {
            let program = format!(
                "import ssl; print(ssl.get_server_certificate(('127.0.0.1', {}), timeout=20), end='')",
                self.port(993)
            );
            let output = run(Command::new("python3").args(["-c", &program]), b"");
            std::fs::write(&path, output.stdout).expect("writes");
        }
        path
    }

    /// Kills the server as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }

    /// Starts it again on the same store.
    pub fn restart(&mut self) {
        (self.child, self.log, self.base) = launch(&self.store, &self.wrapper, &self.options);
    }

    /// Asks it to stop, and waits: whether it went away by itself with exit status 0.
    pub fn stop(&mut self) -> bool {
        let pid = self.child.id().to_string();
        run(Command::new("kill").args(["-TERM", &pid]), b"");
        self.wait()
    }

    /// Waits until it has gone away by itself: whether with exit status 0.
    pub fn wait(&mut self) -> bool {
        wait(&mut self.child, Duration::from_secs(20)).is_some_and(|status| status.success())
    }

    /// Waits until it logs a line with these words: whether it does within ten seconds.
    pub fn logs(&self, words: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        let next = || self.log.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        std::iter::from_fn(|| next().ok()).any(|line| line.contains(words))
    }

    /// What it has logged so far.
    pub fn logged(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }
}

/// What the threads of all programs that this test has started are doing: for a test that waits in vain.
pub fn threads() -> String {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim_end().to_string();
    let folder =
        |path: String| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let children =
        folder(format!("/proc/{}/task", std::process::id())).map(|task| read(task.join("children")));
    let mut told = String::new();
    for pid in children.collect::<Vec<_>>().join(" ").split_whitespace() {
        for task in folder(format!("/proc/{pid}/task")) {
            let [stat, place, call] = ["stat", "wchan", "syscall"].map(|file| read(task.join(file)));
            // proc(5): the state is the third word, and the ticks of the processor are the 14th and 15th.
            let words: Vec<&str> = stat.split_whitespace().collect();
            let ticks = words.get(13..15).map(|ticks| ticks.join("+")).unwrap_or_default();
            let words = words.get(..3).map(|words| words.join(" ")).unwrap_or_default();
            told += &format!("\n  {words} {ticks} ticks, in {place}, system call {call}");
        }
    }
    told
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server on free ports and waits until it says that it is ready.
fn launch(store: &Path, wrapper: &[String], options: &[String]) -> (Child, Receiver<String>, u16) {
    for attempt in 0..20 {
        let base = free_base(attempt);
        let words: Vec<&str> = wrapper.iter().map(String::as_str).chain([POSTFACH]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--bind", "127.0.0.1", "--port-base", &base.to_string(), "--store"])
            .arg(store)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        let log = follow(child.stderr.take().expect("is piped"));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut said = Vec::new();
        loop {
            match log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains("ready:") => return (child, log, base),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    panic!("not ready in time: {said:?}");
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = child.wait();
                    // Somebody took a port between the look and the bind, or the last server still has the store.
                    assert!(attempt < 19, "does not start: {said:?}");
                    break;
                }
            }
        }
    }
    unreachable!("the last attempt has panicked")
}

/// Passes on what is written to a stream, line by line.
fn follow(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn free_base(attempt: u32) -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut seed = std::process::id().wrapping_mul(7919).wrapping_add(attempt * 104_729);
    loop {
        seed = seed.wrapping_add(1009 + 1009 * COUNT.fetch_add(1, Ordering::Relaxed));
        let base = 11_000 + (seed % 20_000) as u16;
        if PORTS.iter().all(|port| TcpListener::bind(("127.0.0.1", base + port)).is_ok()) {
            return base;
        }
    }
}

/// Waits for a process, no longer than that.
pub fn wait(child: &mut Child, longest: Duration) -> Option<std::process::ExitStatus> {
    let pid = child.id();
    let (sender, receiver) = channel::<()>();
    // The watchdog ends the process by id when the time is over; so the wait below always ends.
    let watchdog = std::thread::spawn(move || {
        let late = receiver.recv_timeout(longest) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        late
    });
    let status = child.wait().ok();
    drop(sender);
    if watchdog.join().unwrap_or(true) { None } else { status }
}

/// Runs a program that must succeed within two minutes.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let output = try_run(command, input);
    assert!(
        output.status.success(),
        "{command:?}: {}\nstdout: {}\nstderr: {}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// Runs a program, whatever comes of it, for two minutes at most.
pub fn try_run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let collect = |mut stream: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            bytes
        })
    };
    let stdout = collect(Box::new(child.stdout.take().expect("is piped")));
    let stderr = collect(Box::new(child.stderr.take().expect("is piped")));
    let status =
        wait(&mut child, Duration::from_secs(120)).unwrap_or_else(|| panic!("{command:?} takes too long"));
    let _ = writer.join();
    let join = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Output { status, stdout: join(stdout), stderr: join(stderr) }
}

/// Bytes for a message of a failed assertion.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A short message.
pub fn message(subject: &str, body: &str) -> String {
    format!(
        "From: Anna <{ANNA}>\r\nTo: Ben <{BEN}>\r\nSubject: {subject}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{subject}@example.test>\r\n\r\n{body}\r\n"
    )
}
