//! The only async code: it does what sessions ask for. Sockets, TLS, password hashes, commits, the clock.
//!
//! Start: the store is opened and locked, has a certificate, and every port is bound, before the first connection is taken. Then one
//! thread per core runs the conversations, one writes the journal, one hashes passwords, a few read what the page cache has not.
//!
//! - [`connection`]: the loop that drives every session; [`stream`]: what it runs on.
//! - [`listen`]: ports, the console socket; [`crowd`]: how many connections; [`service`]: the table of ports.
//! - [`machine`]: what the console is told and has done; [`board`], [`clock`]: a box's network and clock; [`certificate`], [`identity`].
//! - [`commit`]: the committer, the gate, who is woken. [`load`]: pieces of messages. [`secret`]: passwords. [`tls`]. [`pool`]: threads.
//! - [`serial`]: the serial line; [`ring`]: it is read all the time; [`overrun`]: what the kernel has lost of it. [`heap`], [`logger`].

use std::io;
use std::net::{IpAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
use smol::channel::{self, Sender};
use smol::{Async, Executor, Timer};

use crate::device::{self, Device};
use crate::limits::{CONNECTIONS_MAX, PATIENCE_SECONDS, READ_THREADS, SHUTDOWN_SECONDS};
use crate::session::Session;
use crate::session::console::StoreFacts;
use crate::store::{Shared, Store};
use crate::types::Time;

mod board;
mod certificate;
mod clock;
mod commit;
mod connection;
mod crowd;
mod door;
mod heap;
mod identity;
mod listen;
mod load;
mod local;
pub mod logger;
mod machine;
mod overrun;
mod pool;
mod ring;
mod secret;
mod serial;
mod service;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use door::Door;
pub use listen::console_socket;
pub use local::{Ended, console};
pub use service::{PORTS, Port, Service};
pub use tls::fingerprint;

/// Chores that wait.
const CHORES: usize = 16;
/// From the first connections of a crowd that are closed until the memory of all of them is given back.
const CROWD_LEAVES: Duration = Duration::from_secs(1);

/// What `postfach serve` is told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The store: a file or a partition.
    pub store: PathBuf,
    /// Addresses to listen on; none means all of them.
    pub bind: Vec<IpAddr>,
    /// Added to every port's standard number.
    pub port_base: u16,
    /// A serial line that speaks the console's language.
    pub serial: Option<PathBuf>,
    /// The board's program: the machine is a box, whose network and clock are ours.
    pub board: Option<PathBuf>,
    /// How long a change is on trial, seconds, if not as long as `limits` says. For tests.
    pub trial_seconds: Option<u32>,
    /// How long the console waits for a key before it logs out, seconds, if not as long as `limits` says.
    pub idle_seconds: Option<u32>,
    /// Makes every flush take this long, milliseconds. For measuring.
    pub flush_delay_milliseconds: Option<u64>,
    /// Speaks to the owner on the console's socket, and to nobody else: no port, and no certificate is made. See [`Door`].
    pub owner_only: bool,
}

/// Why the server does not run: one line for people.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    fn new(line: impl Into<String>) -> Error {
        Error(line.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What the system refuses at start other than files and sockets: threads.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error(format!("cannot start a thread: {error}"))
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start.
pub fn serve(options: Options) -> Result<(), Error> {
    logger::install();
    heap::prepare();
    abort_on_panic_in_store();
    let descriptors = raise_descriptors();
    let mut signals = async_signal::Signals::new([async_signal::Signal::Term, async_signal::Signal::Int])
        .map_err(|error| Error::new(format!("cannot listen to signals: {error}")))?;
    let running = Running::start(&options, descriptors, service::session_of)?;
    let server = Arc::clone(&running.server);
    smol::block_on(smol::future::or(
        async {
            smol::stream::StreamExt::next(&mut signals).await;
        },
        server.ended.wait(),
    ));
    running.stop();
    let verb = *server.last_verb.lock().unwrap_or_else(PoisonError::into_inner);
    match (verb, &server.machine.board) {
        (Some(verb), Some(board)) => Err(Error::new(format!("cannot {verb}: {}", board.become_it(verb)))),
        _ => Ok(()),
    }
}

/// What all conversations share.
pub struct Server {
    shared: Shared,
    progress: commit::Progress,
    tls: tls::Tls,
    secrets: secret::Secrets,
    reads: pool::Pool,
    stop: Latch,
    /// The mail ports take connections. With a serial line they wait for an administrator's password.
    open: Latch,
    crowd: Arc<crowd::Crowd>,
    executor: Executor<'static>,
    sessions: Sessions,
    host: RwLock<Arc<str>>,
    machine: Arc<machine::Machine>,
    /// The console has asked for the server's end, and for what the board's program shall do then.
    ended: Latch,
    last_verb: Mutex<Option<&'static str>>,
    port_base: u16,
    /// It has ports, so its certificate is kept.
    certified: bool,
    started: Time,
    housekeeping: Sender<Chore>,
}

/// Makes a service's session.
type Sessions = fn(Service, &Server) -> Box<dyn Session>;

impl Server {
    /// This machine's name.
    fn host(&self) -> Arc<str> {
        Arc::clone(&self.host.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// SHA-256 of the certificate that is shown now, for `status`.
    pub fn fingerprint(&self) -> String {
        self.tls.fingerprint()
    }

    /// When the server started, for `status`.
    pub fn started(&self) -> Time {
        self.started
    }

    /// Negotiates TLS. None: the peer did not manage, or the server stops meanwhile.
    async fn handshake(&self, stream: Async<TcpStream>) -> Option<stream::Stream> {
        let stopped = self.stop.listen();
        if self.stop.is_set() {
            return None;
        }
        let accepted = async { self.tls.accept(stream).await.ok().map(stream::Stream::Tls) };
        smol::future::or(accepted, async {
            stopped.await;
            None
        })
        .await
    }

    /// Opens the ports. A box, which has a serial line, serves nothing before somebody is its administrator: then they open later.
    fn open_when_set_up(&self, serial: bool, bound: &[listen::Bound]) -> Result<(), Error> {
        if serial && self.shared.lock().state().settings.admin.is_none() {
            log::warn!(
                "no administrator's password is set: the serial line asks for one, and no port is open until then"
            );
            return Ok(());
        }
        for bound in bound {
            bound.open()?;
        }
        self.open.set();
        Ok(())
    }

    /// Takes in settings that have become durable, or are on trial. Under the store's lock.
    fn settled(&self, store: &Store) {
        let settings = &store.state().settings;
        if settings.position > store.journal().durable() {
            return; // There is a newer change: its own commit comes.
        }
        match store.certificate() {
            Some(certificate) => {
                self.tls.renew(certificate);
                self.tls.with_own(|der| self.machine.shows(der));
            }
            None if self.certified && !settings.domains.is_empty() => self.chore(Chore::Certify),
            None => {}
        }
        if store.trial_number().is_none() {
            self.machine.trial_is_over();
        }
        if settings.admin.is_some() {
            self.open.set();
        }
        let host = identity::host_name(settings);
        if *self.host() != *host {
            *self.host.write().unwrap_or_else(PoisonError::into_inner) = host.into();
        }
        if let Some(board) = &self.machine.board {
            board.want(store.network(), &settings.host);
        }
        if let Some(clock) = &self.machine.clock {
            clock.servers(&settings.time_servers);
        }
    }

    /// Ends the server in order, and the machine with it.
    fn end_with(&self, verb: &'static str) {
        *self.last_verb.lock().unwrap_or_else(PoisonError::into_inner) = Some(verb);
        self.ended.set();
    }

    fn connection_closed(self: &Arc<Self>) {
        if heap::closed() {
            let server = Arc::clone(self);
            let later = async move {
                Timer::after(CROWD_LEAVES).await;
                server.chore(Chore::GiveBack);
            };
            self.executor.spawn(later).detach();
        }
    }

    /// Has something done when there is time. A chore that finds the queue full is not worth waiting for.
    fn chore(&self, chore: Chore) {
        let _full = self.housekeeping.try_send(chore);
    }
}

/// Something that happens once, told to everybody who waits for it.
#[derive(Default)]
struct Latch {
    set: AtomicBool,
    event: Event,
}

impl Latch {
    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    fn listen(&self) -> EventListener {
        self.event.listen()
    }

    async fn wait(&self) {
        while !self.is_set() {
            let listener = self.listen();
            if !self.is_set() {
                listener.await;
            }
        }
    }

    fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }
}

/// A server that runs.
struct Running {
    server: Arc<Server>,
    listeners: Vec<smol::Task<()>>,
    /// Closed, it ends the threads that run sessions.
    end: Sender<()>,
    committer: JoinHandle<()>,
    /// Those that run sessions, and the one for chores.
    others: Vec<JoinHandle<()>>,
}

impl Running {
    fn start(options: &Options, descriptors: u64, sessions: Sessions) -> Result<Running, Error> {
        let serial = options.serial.as_deref().map(serial::open).transpose()?;
        // A console that had the store to itself, or a server that is stopping, lets it go in a moment.
        let (store, found) = open(options, if options.owner_only { 0 } else { PATIENCE_SECONDS })?;
        if let (Some(saved), Some(_)) = (store.state().clock, &options.board) {
            clock::not_before(saved);
        }
        let shared = Shared::new(store);
        let (tls, host) = identity::find(&shared, !options.owner_only)?;
        let bound = match options.owner_only {
            true => Vec::new(),
            false => listen::bind(&options.bind, options.port_base)?,
        };
        let console = listen::ConsoleSocket::bind(console_socket(&options.store))?;

        let (housekeeping, chores) = channel::bounded(CHORES);
        let durable = shared.lock().journal().durable();
        let server = Arc::new(Server {
            progress: commit::Progress::new(durable),
            shared,
            tls,
            secrets: secret::Secrets::start()?,
            reads: pool::Pool::start("read", READ_THREADS, CONNECTIONS_MAX)?,
            stop: Latch::default(),
            open: Latch::default(),
            crowd: Arc::new(crowd::Crowd::new(descriptors)),
            executor: Executor::new(),
            sessions,
            host: RwLock::new(host.into()),
            machine: Arc::new(machine::Machine::new(options, found)),
            ended: Latch::default(),
            last_verb: Mutex::default(),
            port_base: options.port_base,
            certified: !options.owner_only,
            started: connection::now(),
            housekeeping,
        });
        server.settled(&server.shared.lock());
        server.open_when_set_up(serial.is_some(), &bound)?;
        let committer = start_committer(&server)?;
        let (end, mut others) = start_sessions(&server)?;
        others.push(start_housekeeping(&server, chores)?);
        let mut listeners: Vec<_> = bound
            .into_iter()
            .map(|bound| server.executor.spawn(listen::accept_all(Arc::clone(&server), bound)))
            .collect();
        listeners.push(server.executor.spawn(console.accept_all(Arc::clone(&server))));
        if let (Some(path), Some(line)) = (options.serial.clone(), serial) {
            // Not among the listeners: it takes no more connections, and says goodbye like one.
            server.executor.spawn(serial::serve(Arc::clone(&server), path, line)).detach();
        }
        machine::start(&server);
        log::info!("ready: serving {} as {}", options.store.display(), server.host());
        Ok(Running { server, listeners, end, committer, others })
    }

    /// Takes no more connections, lets every session say goodbye, and writes what is pending.
    fn stop(self) {
        let deadline = Instant::now() + Duration::from_secs(u64::from(SHUTDOWN_SECONDS - 1));
        smol::block_on(async {
            for listener in self.listeners {
                listener.cancel().await;
            }
            self.server.stop.set();
            while self.server.crowd.count() > 0 && Instant::now() < deadline {
                Timer::after(Duration::from_millis(20)).await;
            }
        });
        if self.server.machine.board.is_some() {
            let saved = self.server.shared.lock().save_clock(connection::now());
            if let Err(error) = saved {
                log::warn!("the time could not be saved: {error:?}");
            }
        }
        self.server.progress.stop(&self.server.shared);
        // A panic there has aborted the process.
        let _joined = self.committer.join();
        if let Err(error) = self.server.shared.lock().close() {
            log::warn!("the store could not be closed in order: {error}");
        }
        self.end.close();
        self.server.housekeeping.close();
        for thread in self.others {
            let _joined = thread.join();
        }
        log::info!("stopped");
    }
}

/// Opens and locks the store. What was found goes to the log, with its places; what the owner should act on is counted, too.
/// Waits so many seconds for whoever has it.
fn open(options: &Options, patience_seconds: u64) -> Result<(Store, StoreFacts), Error> {
    let path = &options.store;
    let deadline = Instant::now() + Duration::from_secs(patience_seconds);
    let mut file = device::File::open(path);
    while file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        && Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(50));
        file = device::File::open(path);
    }
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_store(path),
        io::ErrorKind::ResourceBusy => {
            Error::new(format!("{} is in use: a server is running already", path.display()))
        }
        _ => Error::new(format!("cannot open the store {}: {error}", path.display())),
    })?;
    let device: Arc<dyn Device> = match options.flush_delay_milliseconds {
        Some(flush_milliseconds) => Arc::new(device::Slow { inner: file, flush_milliseconds }),
        None => Arc::new(file),
    };
    let (store, report) = Store::open(device, &mut random).map_err(|error| match error {
        crate::journal::OpenError::NoStore => no_store(path),
        error => Error::new(format!("cannot open the store {}: {error}", path.display())),
    })?;
    let level = logger::level(&report);
    for line in report.to_string().lines() {
        log::log!(level, "store: {line}");
    }
    let (lost, unreadable) = (report.losses, !report.unreadable.is_empty());
    let rebuilt = report.rebuilt_blocks > 0;
    Ok((store, StoreFacts { lost, unreadable, rebuilt, ..StoreFacts::default() }))
}

fn no_store(path: &Path) -> Error {
    let path = path.display();
    Error::new(format!("no store at {path}: make one with `postfach format --store {path} --size 1G`"))
}

/// Starts one thread per core for the conversations. They end when the sender returned is closed.
fn start_sessions(server: &Arc<Server>) -> io::Result<(Sender<()>, Vec<JoinHandle<()>>)> {
    let (end, stopped) = channel::bounded::<()>(1);
    let mut threads = Vec::new();
    for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
        let (server, stopped) = (Arc::clone(server), stopped.clone());
        let run = move || {
            // A panic outside of a session's step ends one conversation too: the thread goes on with the others.
            let run = || smol::block_on(server.executor.run(stopped.recv()));
            while std::panic::catch_unwind(AssertUnwindSafe(run)).is_err() {}
        };
        threads.push(thread::Builder::new().name(String::from("session")).spawn(run)?);
    }
    Ok((end, threads))
}

fn start_committer(server: &Arc<Server>) -> io::Result<JoinHandle<()>> {
    let server = Arc::clone(server);
    thread::Builder::new().name(String::from("commit")).spawn(move || {
        let committed = |store: &Store, settings: bool| {
            if settings {
                server.settled(store);
            }
            if let Some((offset, length)) = store.journal().prepare_ahead() {
                server.chore(Chore::Prepare { offset, length });
            }
        };
        server.progress.commit_all(&server.shared, &committed);
    })
}

/// What can wait.
enum Chore {
    /// Zeros where the journal will write next, bytes on the device.
    Prepare { offset: u64, length: u64 },
    /// Memory for the system.
    GiveBack,
    /// A certificate for the first domain.
    Certify,
}

fn start_housekeeping(server: &Arc<Server>, chores: channel::Receiver<Chore>) -> io::Result<JoinHandle<()>> {
    let server = Arc::clone(server);
    let device = Arc::clone(server.shared.lock().journal().device());
    if let Some((offset, length)) = server.shared.lock().journal().prepare_ahead() {
        server.chore(Chore::Prepare { offset, length });
    }
    thread::Builder::new().name(String::from("housekeeping")).spawn(move || {
        while let Ok(chore) = chores.recv_blocking() {
            match chore {
                Chore::Certify => identity::certify(&server),
                Chore::GiveBack => {
                    server.shared.lock().forget_ended();
                    heap::give_back();
                }
                Chore::Prepare { offset, length } => {
                    if let Err(error) = device.prepare(offset, length) {
                        log::warn!(
                            "cannot prepare the store's next segment, commits will be slower: {error}"
                        );
                    }
                }
            }
        }
    })
}

/// Panics are told by their place: what a formatted message says may be a peer's bytes, or a password. One where the store is changed
/// leaves it half changed: then the process ends, and the next start replays what is durable.
fn abort_on_panic_in_store() {
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map(|at| (at.file(), at.line())).unwrap_or_default();
        let why = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"a defect");
        let thread = thread::current();
        let name = thread.name().unwrap_or_default();
        log::error!("panic at {file}:{line} in thread {name}: {why}");
        if name == "commit" || ["store", "journal", "device"].iter().any(|layer| is_in(file, layer)) {
            std::process::abort();
        }
    }));
}

/// Whether a source file belongs to a layer of this crate.
fn is_in(file: &str, layer: &str) -> bool {
    let here = file!().strip_suffix("serve/mod.rs");
    let inside = here.and_then(|here| file.strip_prefix(here));
    inside.and_then(|path| path.strip_prefix(layer)).is_some_and(|rest| rest.starts_with(['/', '.']))
}

/// Allows as many file descriptors as this process may have. Returns how many.
pub fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, wanted).is_ok() { limit.maximum } else { limit.current };
    allowed.unwrap_or(u64::MAX)
}

/// Fills with unpredictable bytes.
pub fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Keys and salts that are not random are worse than no server.
            Err(error) => panic!("the system has no random bytes: {error}"),
        }
    }
}

#[cfg(test)]
mod unit {
    use super::is_in;

    #[test]
    fn panics_are_told_apart_by_layer() {
        assert!(is_in("src/store/state.rs", "store") && is_in("src/journal/mod.rs", "journal"));
        assert!(!is_in("src/session/imap/mod.rs", "store") && !is_in("/rustc/x/library/store/a.rs", "store"));
    }
}
