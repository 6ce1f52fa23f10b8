//! What the console is told of the machine, and the jobs that it has done: certificates, the network, the clock, the end.
//!
//! It refuses to decide: what is allowed the console knows, and what is in force the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smol::Timer;

use super::board::Board;
use super::clock::Clock;
use super::{Options, Server, certificate, connection, identity, logger, tls};
use crate::limits::{CLOCK_SAVED_SECONDS, TRIAL_SECONDS, UNREADABLE_COUNTED_MAX};
use crate::session::console::text::{Text, text};
use crate::session::console::{Attempts, ClockFacts, NetworkFacts, StoreFacts, WearFacts};
use crate::session::job::CertificateFacts;
use crate::session::{Job, JobAnswer};
use crate::types::BodyId;

mod wear;

use wear::Chip;

/// The machine as the console sees it.
#[derive(Default)]
pub struct Machine {
    /// On a box.
    pub board: Option<Arc<Board>>,
    /// On a box.
    pub clock: Option<Arc<Clock>>,
    /// What was wrong with the store when it was opened.
    found: StoreFacts,
    /// Messages that have not read as they were written since, and whether something of them is lost.
    unreadable: Mutex<BTreeMap<BodyId, bool>>,
    /// What the store is on, if it tells how worn it is.
    chip: Option<Chip>,
    /// How long the console waits for a key, seconds, if not as long as `limits` says.
    pub idle_seconds: Option<u32>,
    /// Wrong passwords at the serial line.
    pub attempts: Arc<Attempts>,
    /// DER, and what it says.
    certificate: Mutex<(Vec<u8>, CertificateFacts)>,
    /// How long a trial lasts.
    patience: Duration,
    /// The trial that is counted, and when it ends.
    trial: Mutex<Option<(u32, Instant)>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

impl Machine {
    /// A machine, with a store of which this is known; with the board's program, a box.
    pub fn new(options: &Options, found: StoreFacts) -> Machine {
        let board = options.board.clone().map(|program| Arc::new(Board::new(program)));
        let clock = board.as_ref().map(|board| Arc::new(Clock::new(Arc::clone(board))));
        let seconds = options.trial_seconds.unwrap_or(TRIAL_SECONDS);
        let (chip, patience) = (Chip::of(&options.store), Duration::from_secs(u64::from(seconds)));
        let idle_seconds = options.idle_seconds;
        Machine { board, clock, found, chip, patience, idle_seconds, ..Machine::default() }
    }

    /// A message does not read as it was written: something of it is lost, or parity has it.
    pub fn unreadable(&self, body: BodyId, lost: bool) {
        let mut known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(&body) || known.len() < UNREADABLE_COUNTED_MAX {
            *known.entry(body).or_default() |= lost;
        }
    }

    /// Nothing is on trial any more.
    pub fn trial_is_over(&self) {
        *self.trial() = None;
    }

    /// This certificate is in force. Said often, it is read once.
    pub fn shows(&self, der: &[u8]) {
        let mut known = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != der {
            *known = (der.to_vec(), certificate::describe(der));
        }
    }

    fn trial(&self) -> std::sync::MutexGuard<'_, Option<(u32, Instant)>> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl crate::session::console::Machine for Machine {
    fn certificate(&self) -> CertificateFacts {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn store(&self) -> StoreFacts {
        let known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = known.values().filter(|lost| **lost).count() as u64;
        let rebuilt = self.found.rebuilt || known.values().any(|lost| !lost);
        StoreFacts { messages, rebuilt, ..self.found }
    }

    fn network(&self) -> Option<NetworkFacts> {
        self.board.as_ref().map(|board| board.facts())
    }

    fn clock(&self) -> Option<ClockFacts> {
        self.clock.as_ref().map(|clock| clock.facts())
    }

    fn wear(&self) -> Option<WearFacts> {
        self.chip.as_ref().and_then(Chip::wear)
    }

    fn trial_seconds(&self) -> Option<u64> {
        let left =
            |until: Instant| until.saturating_duration_since(Instant::now()) + Duration::from_millis(999);
        self.trial().map(|(_, until)| left(until).as_secs())
    }

    fn log(&self, lines: usize) -> Vec<String> {
        logger::last(lines)
    }
}

/// On a box: keeps the network and the clock, and saves the time, for as long as the server runs.
pub fn start(server: &Arc<Server>) {
    let Machine { board: Some(board), clock: Some(clock), .. } = &*server.machine else { return };
    let (board, clock, saving) = (Arc::clone(board), Arc::clone(clock), Arc::clone(server));
    server.executor.spawn(async move { board.keep_applied().await }).detach();
    server.executor.spawn(async move { clock.keep().await }).detach();
    let save = async move {
        loop {
            Timer::after(Duration::from_secs(u64::from(CLOCK_SAVED_SECONDS))).await;
            let mut store = saving.shared.lock();
            match store.save_clock(connection::now()) {
                Ok(()) => saving.shared.announce(),
                Err(error) => log::warn!("the time could not be saved: {error:?}"),
            }
        }
    };
    server.executor.spawn(save).detach();
}

/// Does a job.
pub async fn answer(server: &Arc<Server>, job: Job) -> JobAnswer {
    let machine = &server.machine;
    let failed = |result: Result<(), Text>| result.map_or_else(JobAnswer::Failed, |()| JobAnswer::Done);
    match (job, &machine.board, &machine.clock) {
        (Job::Settle, ..) => {
            settle(server);
            JobAnswer::Done
        }
        (Job::LookAtNetwork, Some(board), _) => failed(board.look().await),
        (Job::Examine, Some(board), Some(clock)) => examine(board, clock).await,
        (Job::AskForTime, _, Some(clock)) => failed(clock.ask_now().await),
        (Job::Ping { host }, Some(board), _) => ping(board, host).await,
        (Job::Certify, ..) if server.certified => {
            identity::certify(server);
            let own = identity::own(&server.shared);
            own.map_or(JobAnswer::Nobody, |own| JobAnswer::Described(certificate::describe(&own)))
        }
        (Job::Restart, Some(_), _) => {
            server.end_with("reboot");
            JobAnswer::Done
        }
        (Job::PowerOff, Some(_), _) => {
            server.end_with("poweroff");
            JobAnswer::Done
        }
        (job, ..) => answer_alone(job),
    }
}

/// Does what needs no server.
pub fn answer_alone(job: Job) -> JobAnswer {
    let whole = |made: crate::store::Certificate| {
        let about = made.chain.first().map(|own| certificate::describe(own)).unwrap_or_default();
        JobAnswer::Certificate { chain: made.chain, key: made.key, about }
    };
    match job {
        Job::MakeCertificate { host, domains } => {
            let made = tls::self_signed(&host, &domains, connection::year());
            made.map_or_else(|error| JobAnswer::Failed(text!("{error}", "{error}")), whole)
        }
        Job::ReadCertificate { mut pem } => {
            let read = certificate::read(&pem);
            pem.fill(0);
            std::hint::black_box(&mut pem);
            read.map_or_else(JobAnswer::Failed, whole)
        }
        Job::DescribeCertificate { der } => JobAnswer::Described(certificate::describe(&der)),
        Job::Settle
        | Job::Certify
        | Job::LookAtNetwork
        | Job::Examine
        | Job::AskForTime
        | Job::Ping { .. }
        | Job::Restart
        | Job::PowerOff => JobAnswer::Nobody,
    }
}

/// Puts into force what is on trial, and takes it back when its time is over.
fn settle(server: &Arc<Server>) {
    let store = server.shared.lock();
    server.settled(&store);
    let number = store.trial_number();
    drop(store);
    let mut counted = server.machine.trial();
    if counted.map(|(counted, _)| counted) == number {
        return;
    }
    *counted = number.map(|number| (number, Instant::now() + server.machine.patience));
    drop(counted);
    let Some(number) = number else { return };
    let later = Arc::clone(server);
    let over = async move {
        Timer::after(later.machine.patience).await;
        let mut store = later.shared.lock();
        if store.trial_number() == Some(number) {
            log::warn!("the change on trial has not been kept: back to what was before");
            store.end_trial(number);
            later.settled(&store);
        }
    };
    server.executor.spawn(over).detach();
}

async fn examine(board: &Arc<Board>, clock: &Clock) -> JobAnswer {
    if let Err(why) = board.look().await {
        log::warn!("the network could not be looked at: {}", why.en);
    }
    let NetworkFacts { gateways: known, interface, .. } = board.facts();
    let asked = async {
        let mut gateways = Vec::new();
        for gateway in known {
            // An address of the link alone means nothing without the link.
            let link = if gateway.starts_with("fe80:") { format!("%{interface}") } else { String::new() };
            let answers = board.ping(&format!("{gateway}{link}")).await.is_ok();
            gateways.push((gateway, answers));
        }
        gateways
    };
    let name = clock.a_name();
    let sought = name.clone();
    let found = smol::unblock(move || {
        std::net::ToSocketAddrs::to_socket_addrs(&(sought.as_str(), 0))
            .is_ok_and(|mut all| all.next().is_some())
    });
    let answers = smol::future::zip(asked, smol::future::zip(found, clock.ask_now()));
    // What the time server has said, or why it has not, the clock tells.
    let (gateways, (known, _)) = answers.await;
    JobAnswer::Examined { gateways, name, known }
}

async fn ping(board: &Board, host: String) -> JobAnswer {
    let name = host.clone();
    // The board's program may be one that cannot look names up.
    let found = smol::unblock(move || {
        std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0)).map(|mut all| all.next())
    });
    let address = match found.await {
        Ok(Some(address)) => address.ip().to_string(),
        Ok(None) => return JobAnswer::Failed(text!("{host} has no address", "{host} hat keine Adresse")),
        Err(_) => {
            return JobAnswer::Failed(text!(
                "nobody knows {host}: `network show` says who is asked",
                "niemand kennt {host}: `network show` sagt, wer gefragt wird"
            ));
        }
    };
    match board.ping(&address).await {
        Ok(said) => JobAnswer::Said(said),
        Err(_) => JobAnswer::Failed(text!("{address} does not answer", "{address} antwortet nicht")),
    }
}
