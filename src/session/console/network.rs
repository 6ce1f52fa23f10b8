//! `network` and `keep`: what is set of the network, and what is of it. The verbs change nothing but settings; the board's program does the rest.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt::Write as _;
use std::str::FromStr;

use super::facts::NetworkFacts;
use super::settings::{exactly, refused, say};
use super::table::{Call, Failure};
use super::words;
use crate::limits::DNS_SERVERS_MAX;
use crate::session::{Job, JobAnswer};
use crate::store::network::{Ipv4, Ipv6, Network};
use crate::store::{Settings, StoreError};

type Done = Result<(), Failure>;

/// What a machine is told that has a network of its own.
pub const NOT_OURS: &str = "This machine's network is not Postfach's to set: nothing changes here. It counts on a box, and where \
                            `show config` is pasted.";

fn wrong(word: &str, what: &str) -> Failure {
    Failure::Refused(format!("`{word}` is not {what}"))
}

/// `ADDRESS/PREFIX`
fn with_prefix<T: FromStr>(word: &str, most: u8, what: &str) -> Result<(T, u8), Failure> {
    let parts = word.split_once('/').and_then(|(address, prefix)| {
        let prefix = prefix.parse().ok().filter(|prefix| (1..=most).contains(prefix))?;
        Some((address.parse().ok()?, prefix))
    });
    parts.ok_or_else(|| wrong(word, what))
}

fn gateway<T: FromStr>(word: Option<&&str>) -> Result<Option<T>, Failure> {
    word.map(|word| word.parse().map_err(|_| wrong(word, "an address of a gateway"))).transpose()
}

fn dns_servers(words: &[&str]) -> Result<Vec<IpAddr>, Failure> {
    if words.len() > DNS_SERVERS_MAX {
        return Err(Failure::Refused(format!("at most {DNS_SERVERS_MAX} servers for names can be set")));
    }
    words
        .iter()
        .map(|word| word.parse().map_err(|_| wrong(word, "an address of a server for names")))
        .collect()
}

/// Changes the network's settings.
fn change(call: &mut Call<'_, '_>, edit: impl FnOnce(&mut Network), text: &str) -> Done {
    let mut network = call.store().settings().network.clone();
    edit(&mut network);
    call.store().network_set(network).map_err(|error| Failure::Refused(refused(error)))?;
    say(call, text)?;
    if call.facts.machine.is_some() && !call.facts.is_box() {
        return say(call, NOT_OURS);
    }
    Ok(())
}

/// `network dhcp`
pub fn dhcp(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let edit = |network: &mut Network| (network.ipv4, network.dns) = (Ipv4::Dhcp, Vec::new());
    change(call, edit, "The IPv4 address comes from DHCP.")
}

/// `network static`
pub fn fixed(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let Some((first, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(String::from("the address is missing")));
    };
    let (address, prefix) =
        with_prefix::<Ipv4Addr>(first, 32, "an IPv4 address with its prefix, as 192.168.1.20/24")?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback() {
        return Err(wrong(first, "an address that a machine can have"));
    }
    let gateway = gateway::<Ipv4Addr>(rest.first())?;
    let mask = u32::MAX << (32 - u32::from(prefix));
    if gateway.is_some_and(|gateway| (gateway.to_bits() ^ address.to_bits()) & mask != 0) {
        return Err(Failure::Refused(format!("the gateway is not in the network of {first}")));
    }
    let servers = dns_servers(rest.get(1..).unwrap_or_default())?;
    let edit = |network: &mut Network| {
        network.ipv4 = Ipv4::Static { address, prefix, gateway };
        if !servers.is_empty() || rest.len() < 2 && network.dns.is_empty() {
            network.dns =
                if servers.is_empty() { gateway.map(IpAddr::V4).into_iter().collect() } else { servers };
        }
    };
    let without = if gateway.is_none() { " It has no gateway: it reaches its own network only." } else { "" };
    change(call, edit, &format!("The IPv4 address is {first}.{without}"))
}

/// `network ipv6`
pub fn ipv6(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let usage = || Failure::Usage(String::from("after it comes `auto`, `off` or `static`"));
    let (first, rest) = arguments.split_first().ok_or_else(usage)?;
    let (wanted, text) = match (first.to_ascii_lowercase().as_str(), rest) {
        ("auto", []) => (Ipv6::Auto, String::from("IPv6 addresses come from the router.")),
        ("off", []) => (Ipv6::Off, String::from("There is no IPv6.")),
        ("static", [word, rest @ ..]) if rest.len() < 2 => {
            let (address, prefix) =
                with_prefix::<Ipv6Addr>(word, 128, "an IPv6 address with its prefix, as 2001:db8::20/64")?;
            if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
                return Err(wrong(word, "an address that a machine can have"));
            }
            let gateway = gateway::<Ipv6Addr>(rest.first())?;
            (Ipv6::Static { address, prefix, gateway }, format!("The IPv6 address is {word}."))
        }
        _ => return Err(usage()),
    };
    change(call, |network| network.ipv6 = wanted, &text)
}

/// `network dns`
pub fn dns(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let servers = dns_servers(arguments)?;
    let text = match servers.len() {
        0 => "Names are asked of whom DHCP names.",
        _ => "These servers are asked for names.",
    };
    change(call, |network| network.dns = servers, text)
}

/// `network hostname`
pub fn hostname(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = if name == "-" { String::new() } else { words::domain(name)? };
    if name.split('.').any(|label| label.len() > 63) || name.len() > 64 {
        return Err(wrong(&name, "a host name: it has at most 64 letters"));
    }
    call.store().host_set(&name).map_err(|error| Failure::Refused(refused(error)))?;
    match name.as_str() {
        "" => say(call, "The machine has no name of its own any more."),
        name => say(
            call,
            &format!("The machine is {name}, in greetings and on the network. A certificate for it: tls new"),
        ),
    }
}

/// What `network show` asks for.
pub fn look(arguments: &[&str], _: Vec<u8>, _: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    Ok(Job::LookAtNetwork)
}

/// `network show`
pub fn show(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    describe(call);
    if let JobAnswer::Failed(why) = answer {
        say(call, &format!("! The network could not be looked at: {why}"))?;
    }
    Ok(())
}

/// The network in words: what is wanted, and what is.
pub fn describe(call: &mut Call<'_, '_>) {
    let settings = call.cx.store().settings().clone();
    let host = call.cx.host;
    let out = &mut *call.out;
    // A String takes whatever is written to it.
    let _ = writeln!(out, "Host name    {host}");
    let _ = writeln!(out, "Set          {}", set(&settings.network));
    let Some(machine) = &call.facts.machine else {
        out.push_str("The server is not running: nothing is known of the network.\n");
        return;
    };
    let Some(facts) = machine.network() else {
        let _ = writeln!(out, "{NOT_OURS}");
        return;
    };
    is(&facts, out);
    if let Some(seconds) = machine.trial_seconds()
        && let Some(trial) = call.cx.store().trial()
    {
        let _ = writeln!(out, "On trial     {}: {seconds} s left, `keep` keeps it", trial.command);
    }
}

fn is(facts: &NetworkFacts, out: &mut String) {
    // A String takes whatever is written to it.
    let _ = match (facts.interface.as_str(), facts.link) {
        ("", _) => writeln!(out, "Interface    none is there: is the adapter plugged in?"),
        (name, true) => writeln!(out, "Interface    {name}"),
        (name, false) => writeln!(out, "Interface    {name}, no cable"),
    };
    for (heading, values) in
        [("Addresses", &facts.addresses), ("Gateways", &facts.gateways), ("Names from", &facts.dns)]
    {
        let text = if values.is_empty() { String::from("none") } else { values.join(", ") };
        let _ = writeln!(out, "{heading:<12} {text}");
    }
    if let Some(problem) = &facts.problem {
        let _ = writeln!(out, "! {problem}");
    }
}

fn set(network: &Network) -> String {
    let ipv4 = match &network.ipv4 {
        Ipv4::Dhcp => String::from("IPv4 by DHCP"),
        Ipv4::Static { address, prefix, .. } => format!("IPv4 {address}/{prefix}"),
    };
    let ipv6 = match &network.ipv6 {
        Ipv6::Auto => String::from("IPv6 from the router"),
        Ipv6::Off => String::from("no IPv6"),
        Ipv6::Static { address, prefix, .. } => format!("IPv6 {address}/{prefix}"),
    };
    format!("{ipv4}, {ipv6}")
}

/// The settings as commands; what nobody has set has none.
pub fn commands(settings: &Settings, out: &mut String) {
    let gateway = |gateway: Option<IpAddr>| gateway.map(|gateway| format!(" {gateway}")).unwrap_or_default();
    let list =
        |addresses: &[IpAddr]| -> String { addresses.iter().map(|address| format!(" {address}")).collect() };
    let Settings { network, host, time_servers, .. } = settings;
    // A String takes whatever is written to it.
    if !host.is_empty() {
        let _ = writeln!(out, "network hostname {host}");
    }
    if let Ipv4::Static { address, prefix, gateway: via } = &network.ipv4 {
        let _ = writeln!(out, "network static {address}/{prefix}{}", gateway(via.map(IpAddr::V4)));
    }
    match &network.ipv6 {
        Ipv6::Auto => {}
        Ipv6::Off => out.push_str("network ipv6 off\n"),
        Ipv6::Static { address, prefix, gateway: via } => {
            let _ = writeln!(out, "network ipv6 static {address}/{prefix}{}", gateway(via.map(IpAddr::V6)));
        }
    }
    if !network.dns.is_empty() {
        let _ = writeln!(out, "network dns{}", list(&network.dns));
    }
    if !time_servers.is_empty() {
        let _ = writeln!(out, "time server {}", time_servers.join(" "));
    }
}

/// `keep`
pub fn keep(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let now = call.cx.now;
    let kept = call.cx.store().keep(now);
    match kept {
        Ok(command) => say(call, &format!("It stays: {command}")),
        Err(StoreError::Missing) => Err(Failure::Refused(String::from(
            "nothing is on trial; what is typed is kept, unless it says otherwise",
        ))),
        Err(error) => Err(Failure::Refused(refused(error))),
    }
}
