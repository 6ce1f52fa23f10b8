//! The clock of a box: time servers are asked (SNTP, RFC 4330 and RFC 5905 §14), and the kernel's clock is set by what they say.
//!
//! It refuses to touch a clock that is not ours: without `--board` nothing here runs. It believes one answer at a time, and a large step only
//! when the next answer says the same: the crate checks that an answer is one to our question (its origin timestamp), and that the server
//! says it knows the time. A server that asks to be left alone (kiss-o'-death) is, for an hour. Nobody is asked more often than every 4 s, and
//! that only after a failure or when the network has come. The time is saved in the log each hour and at the end, for a machine whose clock
//! stops with the power: so it never goes back by more than that.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_listener::Event;
use rsntp::{Config, ProtocolError, SntpClient, SynchronizationError};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use smol::Timer;
use smol::future::FutureExt;

use super::board::Board;
use crate::session::console::text::{Text, text};
use crate::session::console::{Answered, ClockFacts, ServersFrom};

/// Who is asked when nobody has named anybody.
const POOL: &str = "pool.ntp.org";
/// The port of NTP (RFC 5905 §7.2).
const PORT: u16 = 123;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one good answer to the next question: a cheap crystal is off by 0.1 s then.
const INTERVAL: Duration = Duration::from_secs(1024);
/// From a first failure to the next question; it doubles up to `INTERVAL`.
const RETRY: Duration = Duration::from_secs(4);
/// How long a server is left alone that has asked for it.
const REST: Duration = Duration::from_secs(3600);
/// Smaller errors are left: mail counts seconds.
const STEP_SECONDS: f64 = 0.1;
/// Larger steps must be told twice.
const LARGE_STEP_SECONDS: f64 = 1000.0;
/// The second time, with so much difference at most.
const AGREEMENT_SECONDS: f64 = 10.0;
/// A server's two times may be off against each other by so much, seconds.
const DELAY_TOLERANCE_SECONDS: f64 = 0.5;
/// 2026-01-01: it is not earlier than this program.
const FLOOR_SECONDS: f64 = 1_767_225_600.0;

/// The clock, and what is known of it.
pub struct Clock {
    board: Arc<Board>,
    state: Mutex<State>,
    /// Notified to ask now.
    now: Event,
    /// Notified after each question.
    asked: Event,
}

#[derive(Default)]
struct State {
    /// The owner's servers.
    servers: Vec<String>,
    last: Option<(String, Instant, f64)>,
    problem: Option<Text>,
    /// A large step that has been told once.
    suspect: Option<f64>,
    resting: Vec<(String, Instant)>,
    /// Questions without a good answer since the last.
    failures: u32,
}

/// Why an answer is none.
#[derive(Debug, PartialEq)]
enum Bad {
    /// The server wants to be left alone.
    Kiss(String),
    /// All else, as a clause.
    Other(Text),
}

impl Clock {
    /// Nobody has been asked yet.
    pub fn new(board: Arc<Board>) -> Clock {
        Clock { board, state: Mutex::default(), now: Event::new(), asked: Event::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the owner's servers.
    pub fn servers(&self, servers: &[String]) {
        let mut state = self.state();
        if state.servers != servers {
            *state = State { servers: servers.to_vec(), last: state.last.take(), ..State::default() };
            self.now.notify(usize::MAX);
        }
    }

    /// How it is doing.
    pub fn facts(&self) -> ClockFacts {
        let (servers, source) = self.candidates();
        let state = self.state();
        let answered = |(server, at, offset): &(String, Instant, f64)| Answered {
            server: server.clone(),
            age_seconds: at.elapsed().as_secs(),
            offset_seconds: *offset,
        };
        ClockFacts {
            servers,
            source,
            last: state.last.as_ref().map(answered),
            problem: state.problem.clone(),
        }
    }

    /// Asks now, and waits for what comes of it.
    ///
    /// # Errors
    /// Why there was no good answer.
    pub async fn ask_now(&self) -> Result<(), Text> {
        let asked = self.asked.listen();
        self.now.notify(usize::MAX);
        let late = async {
            Timer::after(4 * PATIENCE).await;
        };
        asked.or(late).await;
        self.state().problem.clone().map_or(Ok(()), Err)
    }

    /// A name that servers for names should know: a time server's.
    pub fn a_name(&self) -> String {
        let (servers, _) = self.candidates();
        let names = servers.into_iter().map(|server| match server.split_once(':') {
            Some((name, _)) if server.parse::<Ipv6Addr>().is_err() => String::from(name),
            _ => server,
        });
        names
            .into_iter()
            .find(|name| name.parse::<std::net::IpAddr>().is_err())
            .unwrap_or_else(|| String::from(POOL))
    }

    fn candidates(&self) -> (Vec<String>, ServersFrom) {
        let owner = self.state().servers.clone();
        if !owner.is_empty() {
            return (owner, ServersFrom::Owner);
        }
        let leased = self.board.facts().time_servers;
        match leased.is_empty() {
            true => (vec![String::from(POOL)], ServersFrom::Pool),
            false => (leased, ServersFrom::Dhcp),
        }
    }

    /// The server whose turn it is; None: all of them want to be left alone.
    fn next_server(&self) -> Option<String> {
        let (candidates, _) = self.candidates();
        let mut state = self.state();
        state.resting.retain(|(_, since)| since.elapsed() < REST);
        let awake: Vec<String> = candidates
            .into_iter()
            .filter(|server| !state.resting.iter().any(|(resting, _)| resting == server))
            .collect();
        let turn = state.failures as usize;
        (!awake.is_empty()).then(|| awake[turn % awake.len()].clone())
    }

    /// Keeps the clock right, for ever.
    pub async fn keep(&self) {
        loop {
            let (now, network) = (self.now.listen(), self.board.listen());
            if let Some(server) = self.next_server() {
                let asked = server.clone();
                let answer = smol::unblock(move || ask(&asked)).await;
                self.take(server, answer, &step);
            }
            self.asked.notify(usize::MAX);
            let pause = self.pause();
            let wait = async {
                Timer::after(pause).await;
            };
            let called = async {
                // Not at once: who calls again and again is answered every few seconds.
                now.or(network).await;
                Timer::after(if self.state().last.is_some() { Duration::ZERO } else { RETRY / 4 }).await;
            };
            wait.or(called).await;
        }
    }

    fn pause(&self) -> Duration {
        let state = self.state();
        match (state.failures, state.suspect) {
            (_, Some(_)) => RETRY,
            (0, None) => INTERVAL,
            (failures, None) => INTERVAL.min(RETRY * (1 << failures.min(9).saturating_sub(1))),
        }
    }

    /// Takes an answer, and sets the clock by it.
    fn take(&self, server: String, answer: Result<f64, Bad>, step: &dyn Fn(f64) -> std::io::Result<()>) {
        let mut state = self.state();
        let problem = match answer {
            Ok(offset)
                if offset.abs() > LARGE_STEP_SECONDS
                    && state.suspect.is_none_or(|before| (before - offset).abs() > AGREEMENT_SECONDS) =>
            {
                state.suspect = Some(offset);
                Some(text!(
                    "{server} says that the clock is {offset:.0} s off; it is asked again before that is believed",
                    "{server} sagt, dass die Uhr {offset:.0} Sek. falsch geht; bevor das geglaubt wird, wird noch einmal gefragt"
                ))
            }
            Ok(offset) => {
                state.suspect = None;
                match if offset.abs() < STEP_SECONDS { Ok(()) } else { step(offset) } {
                    Ok(()) => {
                        if state.last.is_none() || offset.abs() > 1.0 {
                            log::info!("clock: {server} says {offset:+.3} s, and it is set");
                        }
                        state.last = Some((server, Instant::now(), offset));
                        None
                    }
                    Err(error) => Some(text!(
                        "the clock cannot be set: {error}",
                        "die Uhr kann nicht gestellt werden: {error}"
                    )),
                }
            }
            Err(Bad::Kiss(why)) => {
                state.resting.push((server.clone(), Instant::now()));
                Some(text!(
                    "{server} wants to be left alone: {why}",
                    "{server} will in Ruhe gelassen werden: {why}"
                ))
            }
            Err(Bad::Other(why)) => Some(text!("{server}: ", "{server}: ").and(why)),
        };
        match &problem {
            None => state.failures = 0,
            Some(problem) => {
                if state.problem.as_ref() != Some(problem) {
                    log::warn!("clock: {}", problem.en);
                }
                // A second server should confirm a large step.
                state.failures = state.failures.saturating_add(1);
            }
        }
        state.problem = problem;
    }
}

/// Asks a server: by how much the clock is late, seconds. Takes as long as the network lets it.
fn ask(server: &str) -> Result<f64, Bad> {
    let other = |error: &dyn std::fmt::Display| Bad::Other(text!("{error}", "{error}"));
    let unknown = |_| Bad::Other(text!("nobody knows this name", "niemand kennt diesen Namen"));
    let address = resolve(server).map_err(unknown)?;
    let bind: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let client = SntpClient::with_config(Config::default().bind_address(bind).timeout(PATIENCE));
    let before = Instant::now();
    let result = client.synchronize(address).map_err(|error| match error {
        SynchronizationError::ProtocolError(ProtocolError::KissODeath(code)) => Bad::Kiss(code.to_string()),
        SynchronizationError::IOError(error)
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
        {
            Bad::Other(text!("no answer", "keine Antwort"))
        }
        error => other(&error),
    })?;
    let offset = result.clock_offset().as_secs_f64();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    if !offset.is_finite() || now + offset < FLOOR_SECONDS {
        return Err(Bad::Other(text!(
            "it tells a time before this program was made",
            "er nennt eine Zeit, bevor dieses Programm gemacht wurde"
        )));
    }
    // What it says it has taken cannot be more than it has, nor less than nothing.
    let delay = result.round_trip_delay().as_secs_f64();
    if !(-DELAY_TOLERANCE_SECONDS..before.elapsed().as_secs_f64() + DELAY_TOLERANCE_SECONDS).contains(&delay)
    {
        return Err(Bad::Other(text!(
            "its times contradict each other",
            "seine Zeiten widersprechen einander"
        )));
    }
    Ok(offset)
}

/// The first address of a server that is a name or an address, perhaps with a port.
fn resolve(server: &str) -> std::io::Result<SocketAddr> {
    if let Ok(address) = server.parse::<std::net::IpAddr>() {
        return Ok((address, PORT).into());
    }
    let mut addresses =
        match server.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']')) {
            Some(_) => server.to_socket_addrs()?,
            None => (server, PORT).to_socket_addrs()?,
        };
    addresses.next().ok_or_else(|| std::io::Error::other("the name has no address"))
}

/// Sets the kernel's clock forward by so much.
fn step(offset_seconds: f64) -> std::io::Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let wanted = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9 + offset_seconds;
    // Nanoseconds of a sum in f64 are off by less than a microsecond.
    let (seconds, rest) = (wanted.floor(), wanted - wanted.floor());
    let time = Timespec { tv_sec: seconds as i64, tv_nsec: (rest * 1e9).clamp(0.0, 999_999_999.0) as _ };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

/// Sets the kernel's clock to the time that was saved, if it stands before it: it has stopped with the power.
pub fn not_before(saved: crate::types::Time) {
    let now = super::connection::now();
    if now < saved {
        let ahead = (saved.0 - now.0) as f64;
        match step(ahead) {
            Ok(()) => log::warn!("the clock stood {ahead} s before the time saved last, and starts there"),
            Err(error) => {
                log::warn!("the clock stands before the time saved last, and cannot be set: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::path::PathBuf;
    use std::thread;

    use super::*;

    /// Seconds from 1900 to 1970 (RFC 5905 §6).
    const ERA: u64 = 2_208_988_800;

    type Spoil = fn(&mut Vec<u8>);

    /// A time server that answers one question; `spoil` makes of a good answer what it sends.
    fn server(ahead_seconds: i64, spoil: Spoil) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut question = [0; 48];
            let (_, from) = socket.recv_from(&mut question).unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seconds = (now.as_secs() + ERA).wrapping_add_signed(ahead_seconds) as u32;
            let fraction = (f64::from(now.subsec_nanos()) * 4.294_967_296) as u32;
            let stamp = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
            // No warning, version 4, server; stratum 2, poll 6, precision -20; no delays; an address as reference.
            let mut answer = vec![0x24, 2, 6, 0xec, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1];
            answer.extend_from_slice(&stamp);
            answer.extend_from_slice(&question[40..48]);
            answer.extend_from_slice(&stamp);
            answer.extend_from_slice(&stamp);
            spoil(&mut answer);
            socket.send_to(&answer, from).unwrap();
        });
        address
    }

    #[test]
    fn a_good_answer_tells_the_offset() {
        let offset = ask(&server(0, |_| {})).unwrap();
        assert!(offset.abs() < 0.5, "{offset}");
        let offset = ask(&server(3600, |_| {})).unwrap();
        assert!((offset - 3600.0).abs() < 0.5, "{offset}");
    }

    #[test]
    fn hostile_answers_are_none() {
        let spoils: [(&str, Spoil); 8] = [
            ("another question's", |answer| answer[24] ^= 1),
            ("stratum 0, no code", |answer| answer[1] = 0),
            ("stratum 16", |answer| answer[1] = 16),
            ("not synchronised", |answer| answer[0] = 0xe4),
            ("a client's", |answer| answer[0] = 0x23),
            ("no time", |answer| answer[40..48].fill(0)),
            ("short", |answer| answer.truncate(47)),
            ("empty", Vec::clear),
        ];
        for (name, spoil) in spoils {
            assert!(ask(&server(0, spoil)).is_err(), "{name}");
        }
        let kiss: Spoil = |answer| {
            answer[1] = 0;
            answer[12..16].copy_from_slice(b"DENY");
        };
        assert!(matches!(ask(&server(0, kiss)), Err(Bad::Kiss(_))));
        assert!(ask(&server(-10 * 365 * 86_400, |_| {})).is_err(), "the past");
    }

    #[test]
    fn a_large_step_is_told_twice() {
        let clock = Clock::new(Arc::new(Board::new(PathBuf::from("/bin/true"))));
        let steps = Mutex::new(Vec::new());
        let step = |offset: f64| {
            steps.lock().unwrap().push(offset);
            Ok(())
        };
        let take = |offset: f64| clock.take(String::from("a"), Ok(offset), &step);
        take(0.01);
        assert!(clock.facts().last.is_some() && clock.facts().problem.is_none());
        assert_eq!(clock.pause(), INTERVAL);
        take(5.0);
        take(90_000.0);
        assert!(clock.facts().problem.unwrap().en.contains("asked again"));
        assert_eq!(clock.pause(), RETRY);
        take(-400.0);
        take(90_000.0);
        take(50_000.0);
        take(50_004.0);
        assert_eq!(*steps.lock().unwrap(), [5.0, -400.0, 50_004.0]);
        let failing = |_: f64| Err(std::io::Error::other("not allowed"));
        clock.take(String::from("a"), Ok(2.0), &failing);
        assert!(clock.facts().problem.unwrap().en.contains("not allowed"));
    }

    #[test]
    fn servers_take_turns_and_rest_when_they_ask_for_it() {
        let clock = Clock::new(Arc::new(Board::new(PathBuf::from("/bin/true"))));
        assert_eq!(clock.next_server().as_deref(), Some(POOL));
        clock.servers(&[String::from("a"), String::from("b")]);
        assert_eq!(clock.next_server().as_deref(), Some("a"));
        let fail = |server: &str, bad| clock.take(String::from(server), Err(bad), &|_| Ok(()));
        fail("a", Bad::Other(text!("no answer", "keine Antwort")));
        assert_eq!((clock.next_server().as_deref(), clock.pause()), (Some("b"), RETRY));
        fail("b", Bad::Kiss(String::from("denied")));
        for _ in 0..20 {
            assert_eq!(clock.next_server().as_deref(), Some("a"));
            fail("a", Bad::Other(text!("no answer", "keine Antwort")));
        }
        assert_eq!(clock.pause(), INTERVAL);
        fail("a", Bad::Kiss(String::from("denied")));
        assert_eq!(clock.next_server(), None);
    }

    #[test]
    fn a_server_may_have_a_port() {
        let told = |server: &str| resolve(server).unwrap().to_string();
        assert_eq!(told("192.0.2.1"), "192.0.2.1:123");
        assert_eq!(told("192.0.2.1:1123"), "192.0.2.1:1123");
        assert_eq!(told("::1"), "[::1]:123");
        assert_eq!(told("[::1]:1123"), "[::1]:1123");
        assert!(told("localhost:77").ends_with(":77"));
    }
}
