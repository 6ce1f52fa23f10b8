//! The only async code: it does what sessions ask for. Sockets, TLS, password hashes, commits, the clock.
//!
//! Start: the store is opened and locked, has a certificate, and every port is bound, before the first connection is taken. Then one
//! thread per core runs the conversations, one writes the journal, one hashes passwords, a few read what the page cache has not.
//!
//! - [`connection`]: the loop that drives every session; [`stream`]: what it runs on.
//! - [`listen`]: ports, the console socket; [`crowd`]: how many connections; [`service`]: the table of ports.
//! - [`commit`]: the committer, the gate, who is woken. [`load`]: pieces of messages. [`secret`]: passwords. [`tls`].
//! - [`pool`]: threads; [`heap`]: giving memory back; [`logger`].

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
use smol::channel::{self, Sender};
use smol::{Executor, Timer};

use crate::device::{self, Device};
use crate::limits::{CONNECTIONS_MAX, READ_THREADS, SHUTDOWN_SECONDS};
use crate::session::Session;
use crate::store::{Certificate, Shared, Store};
use crate::types::Position;

mod commit;
mod connection;
mod crowd;
mod heap;
mod listen;
mod load;
pub mod logger;
mod placeholder;
mod pool;
mod secret;
mod service;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use listen::console_socket;
pub use service::{PORTS, Port, Service};
pub use tls::fingerprint;

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
    /// Makes every flush take this long, milliseconds. For measuring.
    pub flush_delay_milliseconds: Option<u64>,
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
    smol::block_on(smol::stream::StreamExt::next(&mut signals));
    running.stop();
    Ok(())
}

/// What all conversations share.
pub struct Server {
    shared: Shared,
    progress: commit::Progress,
    tls: tls::Tls,
    secrets: secret::Secrets,
    reads: pool::Pool,
    stop: Stop,
    crowd: Arc<crowd::Crowd>,
    executor: Executor<'static>,
    /// Makes the session of a service.
    sessions: fn(Service, &Server) -> Box<dyn Session>,
    host: RwLock<Arc<str>>,
    port_base: u16,
    housekeeping: Sender<()>,
}

impl Server {
    /// This machine's name.
    fn host(&self) -> Arc<str> {
        Arc::clone(&self.host.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// SHA-256 of the certificate that is shown now, for `status`.
    pub fn fingerprint(&self) -> String {
        self.tls.fingerprint()
    }

    /// Takes in settings that have become durable. Under the store's lock.
    fn settled(&self, store: &Store) {
        let settings = &store.state().settings;
        if settings.position > store.journal().durable() {
            return; // There is a newer change: its own commit comes.
        }
        if let Some(certificate) = &settings.certificate {
            self.tls.renew(certificate);
        }
        let host = host_name(&settings.domains);
        if *self.host() != *host {
            *self.host.write().unwrap_or_else(PoisonError::into_inner) = host.into();
        }
    }

    fn connection_closed(&self) {
        if heap::closed() {
            // It is already under way when the channel is full.
            let _full = self.housekeeping.try_send(());
        }
    }
}

/// The end of the server, told to everybody who waits.
#[derive(Default)]
struct Stop {
    set: AtomicBool,
    event: Event,
}

impl Stop {
    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    fn listen(&self) -> EventListener {
        self.event.listen()
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
    threads: Sender<()>,
    committer: JoinHandle<()>,
}

impl Running {
    fn start(
        options: &Options,
        descriptors: u64,
        sessions: fn(Service, &Server) -> Box<dyn Session>,
    ) -> Result<Running, Error> {
        let mut store = open(options)?;
        let certificate = certificate(&mut store)?;
        let bound = listen::bind(&options.bind, options.port_base)?;
        let console = listen::ConsoleSocket::bind(console_socket(&options.store))?;
        let threads = |error: io::Error| Error::new(format!("cannot start a thread: {error}"));

        let (housekeeping, chores) = channel::bounded(1);
        let host = host_name(&store.state().settings.domains);
        let server = Arc::new(Server {
            progress: commit::Progress::new(store.journal().durable()),
            shared: Shared::new(store),
            tls: certificate,
            secrets: secret::Secrets::start().map_err(threads)?,
            reads: pool::Pool::start("read", READ_THREADS, CONNECTIONS_MAX + READ_THREADS).map_err(threads)?,
            stop: Stop::default(),
            crowd: Arc::new(crowd::Crowd::new(descriptors)),
            executor: Executor::new(),
            sessions,
            host: RwLock::new(host.into()),
            port_base: options.port_base,
            housekeeping,
        });
        let committer = start_committer(&server).map_err(threads)?;
        start_housekeeping(&server, chores).map_err(threads)?;
        let (stop_threads, stopped) = channel::bounded::<()>(1);
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (server, stopped) = (Arc::clone(&server), stopped.clone());
            let run = move || {
                let _closed = smol::block_on(server.executor.run(stopped.recv()));
            };
            thread::Builder::new().name(String::from("session")).spawn(run).map_err(threads)?;
        }
        let mut listeners: Vec<_> = bound
            .into_iter()
            .map(|bound| server.executor.spawn(listen::accept_all(Arc::clone(&server), bound)))
            .collect();
        listeners.push(server.executor.spawn(console.accept_all(Arc::clone(&server))));
        log::info!("serving {} as {}", options.store.display(), server.host());
        Ok(Running { server, listeners, threads: stop_threads, committer })
    }

    /// Takes no more connections, lets every session say goodbye, and writes what is pending.
    fn stop(self) {
        let deadline = Instant::now() + Duration::from_secs(u64::from(SHUTDOWN_SECONDS));
        smol::block_on(async {
            for listener in self.listeners {
                listener.cancel().await;
            }
            self.server.stop.set();
            while self.server.crowd.count() > 0 && Instant::now() < deadline {
                Timer::after(Duration::from_millis(20)).await;
            }
        });
        self.server.progress.stop(&self.server.shared);
        // A panic there has aborted the process.
        let _joined = self.committer.join();
        self.threads.close();
        log::info!("stopped");
    }
}

/// Opens and locks the store, and says what was found.
fn open(options: &Options) -> Result<Store, Error> {
    let path = &options.store;
    let file = device::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_store(path),
        io::ErrorKind::ResourceBusy => {
            Error::new(format!("{} is in use: a server is running already", path.display()))
        }
        _ => Error::new(format!("cannot open the store {}: {error}", path.display())),
    })?;
    let mut device: Arc<dyn Device> = Arc::new(file);
    if let Some(milliseconds) = options.flush_delay_milliseconds {
        device = Arc::new(device::Slow::new(device, Duration::from_millis(milliseconds)));
    }
    let (store, report) = Store::open(device, &mut random).map_err(|error| match error {
        crate::journal::OpenError::NoStore => no_store(path),
        error => Error::new(format!("cannot open the store {}: {error}", path.display())),
    })?;
    let level = if report.is_damaged() { log::Level::Error } else { log::Level::Info };
    for line in report.to_string().lines() {
        log::log!(level, "store: {line}");
    }
    Ok(store)
}

fn no_store(path: &Path) -> Error {
    let path = path.display();
    Error::new(format!("no store at {path}: make one with `postfach format --store {path} --size 1G`"))
}

/// What TLS shows: the store's certificate; a new store gets one first, durably.
fn certificate(store: &mut Store) -> Result<tls::Tls, Error> {
    let settings = &store.state().settings;
    let known = settings.certificate.clone();
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("cannot make a certificate: {error}"));
    let make = || {
        let year = 1970 + connection::now().0 / 31_556_952;
        let host = host_name(&settings.domains);
        tls::self_signed(&host, &settings.domains, i32::try_from(year).unwrap_or_default())
    };
    if let Some(known) = &known {
        match tls::Tls::new(Arc::clone(known)) {
            Ok(tls) => return Ok(tls),
            // Without TLS nobody could log in and say so: show something, store nothing.
            Err(error) => log::error!("the stored certificate cannot be used ({error}); showing another one"),
        }
    }
    let made = make().map_err(|error| failed(&error))?;
    log::info!("made a certificate; SHA-256 fingerprint {}", fingerprint(&made.chain[0]));
    if known.is_none() {
        keep(store, &made)?;
    }
    tls::Tls::new(Arc::new(made)).map_err(|error| failed(&error))
}

fn keep(store: &mut Store, made: &Certificate) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Debug| Error::new(format!("the store cannot be written: {error:?}"));
    store.certificate_set(made.chain.clone(), made.key.clone()).map_err(|error| failed(&error))?;
    store.commit().map_err(|error| failed(&error))
}

/// This machine's name: what the system calls it, if that is a whole name; else `mail` in our first domain.
fn host_name(domains: &[String]) -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name = if name.is_empty() || name == "(none)" { "localhost".into() } else { name };
    match domains.first() {
        Some(domain) if !name.contains('.') => format!("mail.{domain}"),
        _ => name.into_owned(),
    }
}

fn start_committer(server: &Arc<Server>) -> io::Result<JoinHandle<()>> {
    let server = Arc::clone(server);
    thread::Builder::new().name(String::from("commit")).spawn(move || {
        server.progress.commit_all(&server.shared, &|store| {
            server.settled(store);
            // Whatever else is due after a commit is not the committer's to do.
        });
    })
}

/// The thread for what can wait: zeros ahead of the journal, memory for the system.
fn start_housekeeping(server: &Arc<Server>, chores: channel::Receiver<()>) -> io::Result<()> {
    let server = Arc::clone(server);
    thread::Builder::new().name(String::from("housekeeping")).spawn(move || {
        while chores.recv_blocking().is_ok() {
            heap::give_back();
            prepare_ahead(&server.shared);
        }
    })?;
    Ok(())
}
