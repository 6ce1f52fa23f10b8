//! The board's program: what sets the network up, and what restarts the machine. Here is no netlink and no DHCP; that program has them.
//!
//! `serve --board PROGRAM` says that the machine is a box: its network and its clock are Postfach's to set. The program is called as
//!
//! ```text
//! PROGRAM network        sets the network up, now and when a cable or an interface comes later; what is wanted is in the environment:
//!                        HOST   the machine's name, may be empty
//!                        IPV4   dhcp, or ADDRESS/PREFIX         IPV4_GATEWAY   an address, may be empty
//!                        IPV6   auto, off, or ADDRESS/PREFIX    IPV6_GATEWAY   an address, may be empty
//!                        DNS    addresses; none: those of DHCP
//! PROGRAM state          prints the network as the kernel has it, lines of: interface NAME, link up, address ADDRESS/PREFIX,
//!                        gateway ADDRESS, dns ADDRESS, time SERVER (whom DHCP names for the time)
//! PROGRAM ping ADDRESS   prints whether it answers
//! PROGRAM reboot         restarts the machine, PROGRAM poweroff switches it off; the server has ended then
//! ```
//!
//! `network` is called at the start of the server and whenever the settings change. Exit status 0 is good; else the last line of standard
//! error says why.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use event_listener::{Event, EventListener};
use smol::Timer;
use smol::future::FutureExt;

use crate::limits::BOARD_SECONDS;
use crate::session::console::NetworkFacts;
use crate::session::console::text::{Text, both, text};
use crate::store::Network;
use crate::store::network::{Ipv4, Ipv6};

/// Between two looks at the network while it may be changing.
const LOOK_SOON: Duration = Duration::from_secs(2);
/// How many of those follow a change.
const LOOKS_SOON: u32 = 15;
/// Between two looks while there is no address: people put the cable in and ask.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between two looks otherwise: a cable is pulled out, a lease goes.
const LOOK: Duration = Duration::from_secs(60);
/// What is taken of what the program says, bytes.
const SAID_BYTES: usize = 8 * 1024;

/// What the network should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    network: Network,
    host: String,
}

/// The board's program, and what it has said.
pub struct Board {
    program: PathBuf,
    wanted: Mutex<Wanted>,
    facts: Mutex<NetworkFacts>,
    changed: Event,
    /// Notified when the network is another one than before.
    seen: Event,
}

impl Board {
    /// Nothing has been said yet.
    pub fn new(program: PathBuf) -> Board {
        Board {
            program,
            wanted: Mutex::default(),
            facts: Mutex::new(NetworkFacts { new: true, ..NetworkFacts::default() }),
            changed: Event::new(),
            seen: Event::new(),
        }
    }

    /// Has the network set up like this, soon.
    pub fn want(&self, network: &Network, host: &str) {
        let wanted = Wanted { network: network.clone(), host: String::from(host) };
        let mut known = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != wanted {
            *known = wanted;
            self.changed.notify(usize::MAX);
        }
    }

    /// The network as it was seen last.
    pub fn facts(&self) -> NetworkFacts {
        self.known().clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, NetworkFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the network has become another one.
    pub fn listen(&self) -> EventListener {
        self.seen.listen()
    }

    /// Keeps the network as it is wanted, and looks at it, for ever.
    pub async fn keep_applied(&self) {
        let mut applied = None;
        let mut soon = 0;
        loop {
            let changed = self.changed.listen();
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if applied.as_ref() != Some(&wanted) {
                let result = self.run(&["network"], &environment(&wanted)).await;
                let problem = result.err().map(|why| {
                    text!(
                        "The network could not be set up: ",
                        "Das Netzwerk konnte nicht eingerichtet werden: "
                    )
                    .and(why)
                });
                if let Some(problem) = &problem {
                    log::warn!("{}", problem.en);
                }
                self.known().problem = problem;
                (applied, soon) = (Some(wanted), LOOKS_SOON);
            }
            self.known().new = soon > 0;
            let link = self.facts().link;
            if let Err(why) = self.look().await {
                log::warn!("the network could not be looked at: {}", why.en);
            }
            let facts = self.facts();
            if facts.link && !link {
                // A cable has come.
                (soon, self.known().new) = (LOOKS_SOON, true);
            }
            let pause = match soon {
                1.. => LOOK_SOON,
                0 if facts.addresses.is_empty() => LOOK_AGAIN,
                0 => LOOK,
            };
            soon = u32::saturating_sub(soon, 1);
            async {
                Timer::after(pause).await;
            }
            .or(changed)
            .await;
        }
    }

    /// Looks at the network now.
    ///
    /// # Errors
    /// The program's, as a clause.
    pub async fn look(&self) -> Result<(), Text> {
        let said = self.run(&["state"], &[]).await?;
        let mut facts = parse(&said);
        let mut known = self.known();
        (facts.problem, facts.new) = (known.problem.clone(), known.new);
        if *known != facts {
            if known.addresses != facts.addresses {
                log::info!("network: {} has {}", facts.interface, facts.addresses.join(", "));
            }
            *known = facts;
            self.seen.notify(usize::MAX);
        }
        Ok(())
    }

    /// Sends some packets to an address; what came of it.
    ///
    /// # Errors
    /// Nothing answers, or the program's, as a clause.
    pub async fn ping(&self, address: &str) -> Result<String, Text> {
        self.run(&["ping", address], &[]).await
    }

    async fn run(&self, words: &[&str], environment: &[(&str, String)]) -> Result<String, Text> {
        let mut command = smol::process::Command::new(&self.program);
        command.args(words).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let ended = async { command.output().await.map_err(|error| text!("{error}", "{error}")) };
        let late = async {
            Timer::after(Duration::from_secs(u64::from(BOARD_SECONDS))).await;
            Err(text!(
                "it took more than {BOARD_SECONDS} s",
                "es hat mehr als {BOARD_SECONDS} Sek. gebraucht"
            ))
        };
        let output = ended.or(late).await?;
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..SAID_BYTES).unwrap_or(bytes)).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        let why = errors.lines().last().or(said.lines().last());
        let why = why.map_or(both("without a word", "ohne ein Wort").into(), |why| text!("{why}", "{why}"));
        let (program, verb) = (self.program.display(), words.join(" "));
        Err(text!("{program} {verb} has failed: ", "{program} {verb} ist fehlgeschlagen: ").and(why))
    }

    /// Becomes the program that stops the machine. Returns only if it cannot be started.
    pub fn become_it(&self, verb: &str) -> std::io::Error {
        std::process::Command::new(&self.program).arg(verb).exec()
    }
}

fn environment(wanted: &Wanted) -> Vec<(&'static str, String)> {
    let Wanted { network: Network { ipv4, ipv6, dns }, host } = wanted;
    let or_empty = |address: Option<String>| address.unwrap_or_default();
    let (ipv4, ipv4_gateway) = match ipv4 {
        Ipv4::Dhcp => (String::from("dhcp"), None),
        Ipv4::Static { address, prefix, gateway } => {
            (format!("{address}/{prefix}"), gateway.map(|gateway| gateway.to_string()))
        }
    };
    let (ipv6, ipv6_gateway) = match ipv6 {
        Ipv6::Auto => (String::from("auto"), None),
        Ipv6::Off => (String::from("off"), None),
        Ipv6::Static { address, prefix, gateway } => {
            (format!("{address}/{prefix}"), gateway.map(|gateway| gateway.to_string()))
        }
    };
    let dns: Vec<String> = dns.iter().map(ToString::to_string).collect();
    vec![
        ("HOST", host.clone()),
        ("IPV4", ipv4),
        ("IPV4_GATEWAY", or_empty(ipv4_gateway)),
        ("IPV6", ipv6),
        ("IPV6_GATEWAY", or_empty(ipv6_gateway)),
        ("DNS", dns.join(" ")),
    ]
}

fn parse(said: &str) -> NetworkFacts {
    let mut facts = NetworkFacts::default();
    for (word, value) in said.lines().filter_map(|line| line.trim().split_once(' ')) {
        let value = String::from(value.trim());
        match word {
            "interface" => facts.interface = value,
            "link" => facts.link = value == "up",
            "address" => facts.addresses.push(value),
            "gateway" => facts.gateways.push(value),
            "dns" => facts.dns.push(value),
            "time" => facts.time_servers.push(value),
            _ => {}
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_said_in_the_environment() {
        let mut wanted = Wanted::default();
        let said = |wanted: &Wanted| -> Vec<String> {
            environment(wanted).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        assert_eq!(
            said(&wanted),
            ["HOST=", "IPV4=dhcp", "IPV4_GATEWAY=", "IPV6=auto", "IPV6_GATEWAY=", "DNS="]
        );
        wanted.network.ipv4 =
            Ipv4::Static { address: [192, 0, 2, 7].into(), prefix: 24, gateway: Some([192, 0, 2, 1].into()) };
        wanted.network.ipv6 = Ipv6::Off;
        wanted.network.dns = vec![[192, 0, 2, 1].into(), core::net::Ipv6Addr::LOCALHOST.into()];
        assert_eq!(
            said(&wanted)[1..],
            ["IPV4=192.0.2.7/24", "IPV4_GATEWAY=192.0.2.1", "IPV6=off", "IPV6_GATEWAY=", "DNS=192.0.2.1 ::1"]
        );
    }

    #[test]
    fn the_state_is_lines_and_what_is_unknown_is_passed_over() {
        let facts = parse(
            "interface eth0\nlink up\naddress 192.0.2.7/24\naddress fe80::1/64\n\nfrob\nmood good\ntime a.test\n",
        );
        assert_eq!((facts.interface.as_str(), facts.link), ("eth0", true));
        assert_eq!((facts.addresses.len(), facts.time_servers.len(), facts.dns.len()), (2, 1, 0));
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_told() {
        let said = |program: &str, words: &[&str]| {
            smol::block_on(Board::new(PathBuf::from(program)).run(words, &[]))
        };
        assert_eq!(said("/bin/echo", &["state"]), Ok(String::from("state\n")));
        assert!(said("/bin/false", &["state"]).unwrap_err().en.contains("/bin/false state has failed"));
        assert!(said("/nonexistent", &["state"]).is_err());
    }
}
