//! The world without sockets, clocks and sleeps: sessions over a store over memory that can lose power.
//!
//! It does what `serve` does, one thing at a time and in the open: the gate commits, passwords are compared as they are.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use postfach::device::{Device, Memory, Outcome};
use postfach::journal::{Format, Payload, ReadError, format};
use postfach::limits::{PIECE_BYTES, READ_BYTES, TRIAL_SECONDS};
use postfach::session::console::text::both;
use postfach::session::console::{
    Answered, ClockFacts, Console, Facts, Machine, Mode, NetworkFacts, StoreFacts, WearFacts,
};
use postfach::session::imap::Imap;
use postfach::session::job::CertificateFacts;
use postfach::session::owner::Owner;
use postfach::session::pop3::Pop3;
use postfach::session::smtp::{Role, Smtp};
use postfach::session::{
    Context, Farewell, Input, Io, Job, JobAnswer, Load, Next, Peer, SecretAnswer, SecretJob, Session,
    Upgrade, gate,
};
use postfach::store::{LoadError, Shared, Store};
use postfach::types::{AccountId, Position, Time};

/// 2026-11-24T10:00:00Z
pub const START: i64 = 1_795_514_400;

/// One store and the sessions on it.
pub struct World {
    pub device: Arc<Memory>,
    pub shared: Shared,
    pub connections: BTreeMap<String, Connection>,
    pub now: i64,
    /// The trial that is counted, and when it is over.
    trial: Option<(u32, i64)>,
    seed: u64,
}

/// A box, as the console is told of it.
#[derive(Debug)]
struct Box1;

impl Machine for Box1 {
    fn certificate(&self) -> CertificateFacts {
        CertificateFacts { fingerprint: "AA:BB".into(), until: Time(i64::MAX), ..CertificateFacts::default() }
    }

    fn store(&self) -> StoreFacts {
        StoreFacts::default()
    }

    fn network(&self) -> Option<NetworkFacts> {
        let (interface, addresses) = ("eth0".into(), vec!["192.0.2.20/24".into(), "2001:db8::20/64".into()]);
        Some(NetworkFacts { interface, link: true, addresses, ..NetworkFacts::default() })
    }

    fn clock(&self) -> Option<ClockFacts> {
        let last = Answered { server: "ntp.example.test".into(), age_seconds: 75, offset_seconds: 0.004 };
        Some(ClockFacts {
            servers: vec!["ntp.example.test".into()],
            last: Some(last),
            ..ClockFacts::default()
        })
    }

    fn wear(&self) -> Option<WearFacts> {
        None
    }

    fn trial_seconds(&self) -> Option<u64> {
        None
    }

    fn log(&self, lines: usize) -> Vec<String> {
        vec!["2026-11-24T10:00:00Z info: ready".into(); lines.min(2)]
    }
}

/// What a session is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading { deadline: i64 },
    Waiting { account: Option<(AccountId, Position)>, deadline: i64, bytes: bool },
    Closed,
}

/// A session and what has been said.
pub struct Connection {
    session: Box<dyn Session>,
    io: Io,
    needs: Position,
    peer: Peer,
    state: State,
    queued: Vec<u8>,
    /// What the server has said and the test has not read.
    pub said: Vec<u8>,
    device: Arc<Memory>,
    /// How many operations the device had done when the server last said something.
    answered: u64,
}

/// What serve's committer does: after a failure for good the state is made again from what is durable. False: it has failed.
fn commit(store: &mut Store) -> bool {
    match store.commit() {
        Ok(()) => true,
        Err(_) => {
            // Without power nothing can be read either: the state stays, behind the gate.
            let _ = store.fall_back();
            false
        }
    }
}

/// Unpredictable enough for tests, the same every time.
pub fn seeded(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |bytes| {
        for byte in bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
    }
}

/// The stored form of a password in tests.
pub fn phc(password: &[u8]) -> String {
    format!("$test${}", String::from_utf8_lossy(password))
}

fn session(protocol: &str) -> (Box<dyn Session>, bool) {
    match protocol {
        "smtp" => (Box::new(Smtp::new(Role::Mx)), false),
        "lmtp" => (Box::new(Smtp::new(Role::Lmtp)), false),
        "submission" => (Box::new(Smtp::new(Role::Submission)), false),
        "submissions" => (Box::new(Smtp::new(Role::Submission)), true),
        "pop3" => (Box::new(Pop3::new()), false),
        "pop3s" => (Box::new(Pop3::new()), true),
        "imap" => (Box::new(Imap::new()), false),
        "imaps" => (Box::new(Imap::new()), true),
        "console" => (Box::new(Console::new(Mode::Script, String::from("AA:BB"))), false),
        "owner" => (Box::new(Owner::new(String::from("AA:BB"))), false),
        "box" => {
            let facts = Facts { machine: Some(Arc::new(Box1)), ..Facts::from(String::from("AA:BB")) };
            (Box::new(Console::new(Mode::Serial, facts)), false)
        }
        "serial" => (Box::new(Console::new(Mode::Serial, String::from("AA:BB"))), false),
        other => panic!("no protocol {other}"),
    }
}

impl World {
    /// A formatted, empty store of this size.
    pub fn new(size: u64, seed: u64) -> World {
        let device = Memory::new(size);
        format(&device, &Format { segment_bytes: None, force: false }, &mut seeded(seed)).expect("formats");
        World::open(device, seed)
    }

    /// A store that exists already.
    pub fn open(device: Memory, seed: u64) -> World {
        World::try_open(Arc::new(device), seed).expect("opens")
    }

    /// A store that exists already, if it opens: the power may go while it does.
    pub fn try_open(device: Arc<Memory>, seed: u64) -> Option<World> {
        let (store, _) = Store::open(Arc::clone(&device) as Arc<dyn Device>, &mut seeded(seed + 1)).ok()?;
        let shared = Shared::new(store);
        Some(World { device, shared, connections: BTreeMap::new(), now: START, trial: None, seed })
    }

    /// Power fails; the store is opened again from what is left.
    pub fn cut(&mut self, outcome: Outcome) {
        let left = self.device.survive(outcome, self.seed);
        let (now, seed) = (self.now, self.seed + 1);
        *self = World { now, ..World::open(left, seed) };
    }

    /// Opens a connection; what is said first is in `said`.
    pub fn connect(&mut self, name: &str, protocol: &str) {
        let (session, tls) = session(protocol);
        let address = match protocol {
            "console" | "owner" | "serial" | "box" => None,
            _ => Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        };
        let connection = Connection {
            session,
            io: Io::default(),
            needs: Position::default(),
            peer: Peer { address, tls },
            state: State::Closed,
            queued: Vec::new(),
            said: Vec::new(),
            device: Arc::clone(&self.device),
            answered: self.device.operations(),
        };
        self.connections.insert(name.into(), connection);
        self.drive(name, Happened::Start);
    }

    /// The client sends bytes.
    pub fn send(&mut self, name: &str, bytes: &[u8]) {
        self.connection(name).queued.extend_from_slice(bytes);
        self.feed(name);
        self.wake();
    }

    /// The client goes away.
    pub fn eof(&mut self, name: &str) {
        if self.connection(name).state != State::Closed {
            self.drive(name, Happened::Eof);
        }
        self.wake();
    }

    /// Time passes.
    pub fn after(&mut self, seconds: i64) {
        self.now += seconds;
        if let Some((number, until)) = self.trial
            && until <= self.now
        {
            self.shared.lock().end_trial(number);
        }
        let names: Vec<String> = self.connections.keys().cloned().collect();
        for name in names {
            let late = match self.connection(&name).state {
                State::Reading { deadline } | State::Waiting { deadline, .. } => deadline <= self.now,
                State::Closed => false,
            };
            if late {
                self.drive(&name, Happened::Timeout);
                self.feed(&name);
            }
        }
        self.wake();
    }

    pub fn connection(&mut self, name: &str) -> &mut Connection {
        self.connections.get_mut(name).unwrap_or_else(|| panic!("no session {name}"))
    }

    /// How many operations the device had done when anybody was last told anything.
    pub fn answered(&self) -> u64 {
        self.connections.values().map(|connection| connection.answered).max().unwrap_or_default()
    }

    /// Whether the server has closed it.
    pub fn closed(&mut self, name: &str) -> bool {
        self.connection(name).state == State::Closed
    }

    /// Hands queued bytes over as fast as the session takes them.
    fn feed(&mut self, name: &str) {
        loop {
            let connection = self.connection(name);
            let ready = match connection.state {
                State::Reading { .. } => true,
                State::Waiting { bytes, .. } => bytes,
                State::Closed => false,
            };
            if !ready || connection.queued.is_empty() {
                return;
            }
            let count = connection.queued.len().min(READ_BYTES);
            let chunk: Vec<u8> = connection.queued.drain(..count).collect();
            connection.io.inbox.extend(&chunk);
            let before = connection.io.inbox.len();
            assert!(before <= 8 * READ_BYTES, "the session leaves {before} bytes in its inbox");
            self.drive(name, Happened::Bytes);
        }
    }

    /// Wakes the sessions whose account has changed durably, and all of them when writing has failed.
    fn wake(&mut self) {
        let failed = !commit(&mut self.shared.lock());
        let number = self.shared.lock().trial_number();
        if self.trial.map(|(known, _)| known) != number {
            self.trial = number.map(|number| (number, self.now + i64::from(TRIAL_SECONDS)));
        }
        let names: Vec<String> = self.connections.keys().cloned().collect();
        for name in names {
            let State::Waiting { account: Some((account, seen)), .. } = self.connection(&name).state else {
                continue;
            };
            let position = {
                let store = self.shared.lock();
                let account = store.state().accounts.get(&account);
                account.map_or(store.state().settings.position, |account| account.position)
            };
            if failed || position > seen {
                self.drive(&name, Happened::Woken);
                self.feed(&name);
            }
        }
    }

    fn drive(&mut self, name: &str, happened: Happened) {
        let World { shared, connections, now, .. } = self;
        let connection = connections.get_mut(name).unwrap_or_else(|| panic!("no session {name}"));
        connection.drive(shared, *now, happened);
    }
}

enum Happened {
    Start,
    Bytes,
    Woken,
    Timeout,
    Eof,
}

impl Connection {
    fn drive(&mut self, shared: &Shared, now: i64, happened: Happened) {
        let mut next = match happened {
            Happened::Start => self.step(Input::Start, shared, now),
            Happened::Bytes => self.step(Input::Bytes, shared, now),
            Happened::Woken => self.step(Input::Woken, shared, now),
            Happened::Timeout => self.step(Input::Timeout, shared, now),
            Happened::Eof => self.step(Input::Eof, shared, now),
        };
        loop {
            let sends = !matches!(next, Next::Load(_) | Next::Store { .. } | Next::Secret(_) | Next::Job(_));
            if sends && !self.flush(shared) {
                return;
            }
            next = match next {
                Next::Read { seconds } => {
                    self.state = State::Reading { deadline: now + i64::from(seconds) };
                    return;
                }
                Next::Wait { account, seconds, bytes } => {
                    let store = shared.lock();
                    let seen = |account| {
                        let known = store.state().accounts.get(&account);
                        (account, known.map_or(Position(0), |known| known.position))
                    };
                    let deadline = now + i64::from(seconds);
                    self.state = State::Waiting { account: account.map(seen), deadline, bytes };
                    return;
                }
                Next::Close => {
                    self.state = State::Closed;
                    return;
                }
                Next::Send => self.step(Input::Sent, shared, now),
                Next::Upgrade(Upgrade::Tls) => {
                    self.io.inbox.clear();
                    self.queued.clear();
                    self.peer.tls = true;
                    self.step(Input::Upgraded, shared, now)
                }
                Next::Store { body, piece, bytes } => {
                    let payload = Payload::pack(bytes);
                    let mut store = shared.lock();
                    for _ in 0..16 {
                        if store.takes_piece(payload.len()) || store.commit().is_err() {
                            break;
                        }
                    }
                    let result = store.append_piece(body, piece, payload);
                    drop(store);
                    self.step(Input::Stored(result), shared, now)
                }
                Next::Secret(job) => {
                    let answer = answer(job);
                    self.step(Input::Secret(answer), shared, now)
                }
                Next::Job(job) => self.step(Input::Job(done(job)), shared, now),
                Next::Load(wanted) => match load(shared, wanted) {
                    Ok(bytes) => self.step(Input::Loaded(Ok(&bytes)), shared, now),
                    Err(error) => self.step(Input::Loaded(Err(error)), shared, now),
                },
            };
        }
    }

    fn step(&mut self, input: Input<'_>, shared: &Shared, now: i64) -> Next {
        let mut cx = Context {
            shared,
            needs: &mut self.needs,
            now: Time(now),
            peer: self.peer,
            host: "mail.example.test",
            port_base: 10000,
        };
        self.session.step(input, &mut self.io, &mut cx)
    }

    /// The gate. False: what was to be acknowledged cannot be made durable, and the session is over.
    fn flush(&mut self, shared: &Shared) -> bool {
        if self.io.out.is_empty() {
            return true;
        }
        let durable = {
            let mut store = shared.lock();
            if !gate(self.needs, store.journal().durable()) {
                commit(&mut store);
            }
            store.journal().durable()
        };
        if gate(self.needs, durable) {
            self.said.append(&mut self.io.out);
            self.answered = self.device.operations();
            return true;
        }
        self.io.out.clear();
        self.session.farewell(Farewell::NotStored, &mut self.io.out);
        self.said.append(&mut self.io.out);
        self.state = State::Closed;
        false
    }
}

fn answer(job: SecretJob) -> SecretAnswer {
    match job {
        SecretJob::Make { password } => SecretAnswer::Made { phc: phc(&password) },
        SecretJob::Check { password, phc: stored } => {
            SecretAnswer::Checked(stored.is_some_and(|stored| stored == phc(&password)))
        }
        SecretJob::Generate => {
            SecretAnswer::Generated { password: "generated".into(), phc: phc(b"generated") }
        }
    }
}

/// What serve does for `Next::Job`, of which the dialogues need something.
fn done(job: Job) -> JobAnswer {
    let about = |subject: &str| CertificateFacts {
        subject: subject.into(),
        issuer: subject.into(),
        names: vec![subject.trim_start_matches("CN=").into()],
        from: Time(START - 86_400),
        until: Time(START + 10 * 365 * 86_400),
        fingerprint: "CC:DD".into(),
    };
    match job {
        Job::Examine => JobAnswer::Examined {
            gateways: vec![("192.0.2.1".into(), false)],
            name: "ntp.example.test".into(),
            known: true,
        },
        Job::Ping { host } => JobAnswer::Said(format!("{host} answers\n")),
        Job::MakeCertificate { host, .. } => {
            let about = about(&format!("CN={host}"));
            JobAnswer::Certificate { chain: vec![vec![1]], key: vec![2], about }
        }
        Job::ReadCertificate { pem } if pem == b"good\n" => {
            JobAnswer::Certificate { chain: vec![vec![3]], key: vec![4], about: about("CN=pasted.test") }
        }
        Job::ReadCertificate { .. } => {
            JobAnswer::Failed(both("there is no certificate in it", "darin ist kein Zertifikat").into())
        }
        Job::Certify => JobAnswer::Nobody,
        Job::DescribeCertificate { .. } => JobAnswer::Described(about("CN=mail.example.test")),
        Job::Settle | Job::LookAtNetwork | Job::AskForTime | Job::Restart | Job::PowerOff => JobAnswer::Done,
    }
}

/// What serve does for `Next::Load`.
pub fn load(shared: &Shared, wanted: Load) -> Result<Vec<u8>, LoadError> {
    let mut store = shared.lock();
    commit(&mut store);
    let journal = store.journal();
    let (extent, skip) = match wanted {
        Load::Body { body, offset } => {
            let piece = u16::try_from(offset / PIECE_BYTES as u64).map_err(|_| LoadError::Missing)?;
            (journal.find(body, piece), (offset % PIECE_BYTES as u64) as usize)
        }
        Load::Structure { body } => (journal.find_structure(body), 0),
    };
    let mut bytes = Vec::new();
    let extent = extent.ok_or(LoadError::Missing)?;
    match extent.read(&**journal.device(), &mut bytes) {
        Ok(()) if skip < bytes.len() => Ok(bytes.split_off(skip)),
        Ok(()) => Err(LoadError::Missing),
        Err(ReadError::Io(_) | ReadError::Damaged) => Err(LoadError::Damaged),
    }
}
