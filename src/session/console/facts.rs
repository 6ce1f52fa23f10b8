//! What serve knows and the console shows: of the server, the network, the clock, the certificate.
//!
//! [`Machine`] is asked when something is shown, and answers from memory: what takes a while is a [`crate::session::Job`].

use std::sync::Arc;

use super::login::Attempts;
use super::text::Text;
use crate::session::job::CertificateFacts;
use crate::store::Settings;
use crate::types::Time;

/// On which kind of line the console is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The console's socket, or the offline console: whoever can open it is the owner.
    Socket,
    /// A list of commands, as after the socket's first line `script`, without marks and with CR LF.
    Script,
    /// A serial line: whoever is there must log in.
    Serial,
}

impl From<String> for Facts {
    fn from(fingerprint: String) -> Facts {
        Facts { fingerprint, ..Facts::default() }
    }
}

/// What serve knows and `status` shows.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// SHA-256 of the certificate, as `AB:CD:…`; empty when there is none yet.
    pub fingerprint: String,
    /// When the server started; None in the offline console.
    pub started: Option<Time>,
    /// What is wrong with the store.
    pub store: StoreFacts,
    /// How much memory is in use; asked when it is shown.
    pub memory: Option<MemoryGauge>,
    /// The machine that the server runs on; None in the offline console.
    pub machine: Option<Arc<dyn Machine>>,
    /// Wrong passwords at the serial line.
    pub attempts: Arc<Attempts>,
    /// How long a key is waited for, seconds, if not as long as `limits` says.
    pub idle_seconds: Option<u32>,
    /// What the machine is called; None: as the session's context says, unless the owner has named it.
    pub host_name: Option<HostName>,
}

impl Facts {
    /// Looks at what may have changed since the conversation began.
    pub(super) fn refresh(&mut self) {
        if let Some(machine) = &self.machine {
            self.fingerprint = machine.certificate().fingerprint;
            self.store = machine.store();
        }
    }

    /// Whether this is a box, whose network and clock are Postfach's to set.
    pub fn is_box(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.network().is_some())
    }
}

/// Tells what the machine is called by these settings.
pub type HostName = fn(&Settings) -> String;

/// What was wrong with the store when it was opened, and has been found since, in numbers: the places are told in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// Places where something acknowledged is damaged or missing.
    pub lost: u64,
    /// Messages that were asked for since then and could not be read. Some of the places may be theirs.
    pub messages: u64,
    /// The medium could not read some of its blocks.
    pub unreadable: bool,
    /// Some blocks do not read as they were written, and parity has them.
    pub rebuilt: bool,
}

/// Tells the bytes of memory in use now, and at most so far.
pub type MemoryGauge = fn() -> Option<(u64, u64)>;

/// The machine that a server runs on.
pub trait Machine: Send + Sync + std::fmt::Debug {
    /// What the certificate says that is in force.
    fn certificate(&self) -> CertificateFacts;
    /// What is wrong with the store.
    fn store(&self) -> StoreFacts;
    /// The network as it was seen last; None: it is not Postfach's to set.
    fn network(&self) -> Option<NetworkFacts>;
    /// How the clock is doing; None: it is not Postfach's to set.
    fn clock(&self) -> Option<ClockFacts>;
    /// How worn the store's medium is; None: it does not tell.
    fn wear(&self) -> Option<WearFacts>;
    /// Seconds until what is on trial is taken back.
    fn trial_seconds(&self) -> Option<u64>;
    /// The newest lines of the server's log, oldest first.
    fn log(&self, lines: usize) -> Vec<String>;
}

/// The network as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// The interface; empty: there is none.
    pub interface: String,
    /// Whether a cable is in.
    pub link: bool,
    /// Addresses with their prefixes, in any version.
    pub addresses: Vec<String>,
    /// Where all else goes.
    pub gateways: Vec<String>,
    /// Who is asked for names.
    pub dns: Vec<String>,
    /// Whom DHCP names for the time.
    pub time_servers: Vec<String>,
    /// Why the wanted settings are not in force.
    pub problem: Option<Text>,
    /// The settings, or a cable, are so new that the network may not have answered yet.
    pub new: bool,
}

/// How worn a medium is, by what it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WearFacts {
    /// How much of its life is used, in tenths that have begun: 1 to 10; 11 and more: it has lived longer than was meant.
    pub tenths: u8,
    /// What it has to put in the place of what has failed.
    pub spare: Spare,
}

/// What is left of a medium's spare blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// Enough, or it does not tell.
    Enough,
    /// Less than a fifth.
    Low,
    /// Hardly any.
    Gone,
}

/// How the clock is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockFacts {
    /// Who is asked.
    pub servers: Vec<String>,
    /// Whether they come from the owner, from DHCP, or from nobody.
    pub source: ServersFrom,
    /// The last good answer.
    pub last: Option<Answered>,
    /// Why the last question had no good answer.
    pub problem: Option<Text>,
}

/// Where the names of time servers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServersFrom {
    /// `time server`.
    Owner,
    /// DHCP (RFC 2132 §8.3).
    Dhcp,
    /// Nobody has named any.
    #[default]
    Pool,
}

/// A time server's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Whose.
    pub server: String,
    /// How long ago, seconds.
    pub age_seconds: u64,
    /// By how much the clock was late, seconds; it has been set since.
    pub offset_seconds: f64,
}
