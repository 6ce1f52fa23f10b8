//! `network` and `keep`: what is set of the network, and what is of it. The verbs change nothing but settings; the board's program does the rest.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt::Write as _;
use std::str::FromStr;

use super::facts::NetworkFacts;
use super::say::{misused, of_store, refuse, say};
use super::settings::exactly;
use super::table::{Call, Failure};
use super::text::{Fixed, Text, both, text};
use super::words;
use crate::limits::DNS_SERVERS_MAX;
use crate::session::{Job, JobAnswer};
use crate::store::network::{Ipv4, Ipv6, Network};
use crate::store::{Settings, StoreError};

type Done = Result<(), Failure>;

/// What a machine is told that has a network of its own.
pub const NOT_OURS: Fixed = both(
    "This machine's network is not Postfach's to set: nothing changes here. It counts on a box, and where `show config` is pasted.",
    "Das Netzwerk dieses Rechners stellt Postfach nicht ein: Hier ändert sich nichts. Es gilt auf einem Gerät, und wo `show config` \
     eingefügt wird.",
);

/// What stands for no gateway, no servers, no name.
const NONE: &str = "-";

/// A word that is not this.
fn wrong(word: &str, what: Fixed) -> Failure {
    refuse(text!("`{word}` is not ", "`{word}` ist ").and(what))
}

const ADDRESS_OF_A_GATEWAY: Fixed = both("an address of a gateway", "keine Adresse eines Gateways");
const ADDRESS_OF_A_SERVER: Fixed =
    both("an address of a server for names", "keine Adresse eines Servers für Namen");
const ADDRESS_OF_A_MACHINE: Fixed =
    both("an address that a machine can have", "keine Adresse, die ein Gerät haben kann");

/// `ADDRESS/PREFIX`
fn with_prefix<T: FromStr>(word: &str, most: u8, what: Fixed) -> Result<(T, u8), Failure> {
    let parts = word.split_once('/').and_then(|(address, prefix)| {
        let prefix = prefix.parse().ok().filter(|prefix| (1..=most).contains(prefix))?;
        Some((address.parse().ok()?, prefix))
    });
    parts.ok_or_else(|| wrong(word, what))
}

fn gateway<T: FromStr>(word: Option<&&str>) -> Result<Option<T>, Failure> {
    word.map(|word| word.parse().map_err(|_| wrong(word, ADDRESS_OF_A_GATEWAY))).transpose()
}

fn dns_servers(words: &[&str]) -> Result<Vec<IpAddr>, Failure> {
    if words.len() > DNS_SERVERS_MAX {
        return Err(refuse(text!(
            "at most {DNS_SERVERS_MAX} servers for names can be set",
            "höchstens {DNS_SERVERS_MAX} Server für Namen können gesetzt werden"
        )));
    }
    words.iter().map(|word| word.parse().map_err(|_| wrong(word, ADDRESS_OF_A_SERVER))).collect()
}

/// Changes the network's settings.
fn change(call: &mut Call<'_, '_>, edit: impl FnOnce(&mut Network), text: impl Into<Text>) -> Done {
    // In one go: what another console sets in between would be set back, without a word.
    let mut store = call.store();
    let mut network = store.settings().network.clone();
    edit(&mut network);
    let done = store.network_set(network);
    drop(store);
    done.map_err(of_store)?;
    say(call, text)?;
    if call.facts.machine.is_some() && !call.facts.is_box() {
        return say(call, NOT_OURS);
    }
    Ok(())
}

/// `network dhcp`
pub fn dhcp(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let edit = |network: &mut Network| {
        if is_guessed(network) {
            network.dns = Vec::new();
        }
        network.ipv4 = Ipv4::Dhcp;
    };
    let network = call.store().settings().network.clone();
    let names = match network.dns.is_empty() || is_guessed(&network) {
        true => Text::default(),
        false => text!(
            " These are asked for names as before: {0}; `network dns` asks whom DHCP names.",
            " Nach Namen wird weiter gefragt: {0}; `network dns` fragt, wen DHCP nennt.",
            network.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    let text = text!("The IPv4 address comes from DHCP.", "Die IPv4-Adresse kommt von DHCP.");
    change(call, edit, text.and(names))
}

/// Where nobody is named, DHCP or the router is asked for names; also when it was, and is another one now.
fn is_guessed(network: &Network) -> bool {
    match &network.ipv4 {
        Ipv4::Static { gateway, .. } => network.dns == of_gateway(*gateway),
        Ipv4::Dhcp => network.dns.is_empty(),
    }
}

/// `network static`
pub fn fixed(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let Some((first, rest)) = arguments.split_first() else {
        return Err(misused(both("the address is missing", "die Adresse fehlt")));
    };
    let what = both(
        "an IPv4 address with its prefix, as 192.168.1.20/24",
        "keine IPv4-Adresse mit Präfix, wie 192.168.1.20/24",
    );
    let (address, prefix) = with_prefix::<Ipv4Addr>(first, 32, what)?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback() {
        return Err(wrong(first, ADDRESS_OF_A_MACHINE));
    }
    let gateway = gateway::<Ipv4Addr>(rest.first().filter(|word| **word != NONE))?;
    let mask = u32::MAX << (32 - u32::from(prefix));
    let host = address.to_bits() & !mask;
    if prefix < 31 && (host == 0 || host == !mask) {
        return Err(refuse(text!(
            "{first} is the network itself, or all of it: a machine has an address between them",
            "{first} ist das Netzwerk selbst, oder alle darin: Ein Gerät hat eine Adresse dazwischen"
        )));
    }
    if gateway.is_some_and(|gateway| (gateway.to_bits() ^ address.to_bits()) & mask != 0) {
        return Err(refuse(text!(
            "the gateway is not in the network of {first}",
            "das Gateway liegt außerhalb des Netzwerks von {first}"
        )));
    }
    let host = gateway.map(|gateway| gateway.to_bits() & !mask);
    if gateway == Some(address) || prefix < 31 && (host == Some(0) || host == Some(!mask)) {
        return Err(wrong(rest.first().unwrap_or(first), ADDRESS_OF_A_GATEWAY));
    }
    let names = rest.get(1..).unwrap_or_default();
    let servers = if names == [NONE] { Vec::new() } else { dns_servers(names)? };
    let edit = |network: &mut Network| {
        if !names.is_empty() {
            network.dns = servers;
        } else if is_guessed(network) {
            network.dns = of_gateway(gateway);
        }
        network.ipv4 = Ipv4::Static { address, prefix, gateway };
    };
    let without = match gateway {
        Some(_) => both("", ""),
        None => both(
            " It has no gateway: it reaches its own network only.",
            " Ohne Gateway erreicht das Gerät nur sein eigenes Netzwerk.",
        ),
    };
    let text = text!("The IPv4 address is {first}.", "Die IPv4-Adresse ist {first}.");
    change(call, edit, text.and(without))
}

fn of_gateway(gateway: Option<Ipv4Addr>) -> Vec<IpAddr> {
    gateway.map(IpAddr::V4).into_iter().collect()
}

/// `network ipv6`
pub fn ipv6(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let usage = || {
        misused(both("after it comes `auto`, `off` or `static`", "danach kommt `auto`, `off` oder `static`"))
    };
    let (first, rest) = arguments.split_first().ok_or_else(usage)?;
    let (wanted, text) = match (first.to_ascii_lowercase().as_str(), rest) {
        ("auto", []) => {
            (Ipv6::Auto, text!("IPv6 addresses come from the router.", "IPv6-Adressen kommen vom Router."))
        }
        ("off", []) => (Ipv6::Off, text!("There is no IPv6.", "Es gibt kein IPv6.")),
        ("static", [word, rest @ ..]) if rest.len() < 2 => {
            let what = both(
                "an IPv6 address with its prefix, as 2001:db8::20/64",
                "keine IPv6-Adresse mit Präfix, wie 2001:db8::20/64",
            );
            let (address, prefix) = with_prefix::<Ipv6Addr>(word, 128, what)?;
            if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
                return Err(wrong(word, ADDRESS_OF_A_MACHINE));
            }
            let gateway = gateway::<Ipv6Addr>(rest.first())?;
            if gateway.is_some_and(|gateway| {
                gateway == address || gateway.is_unspecified() || gateway.is_loopback()
            }) {
                return Err(wrong(rest.first().unwrap_or(word), ADDRESS_OF_A_GATEWAY));
            }
            let mask = u128::MAX << (128 - u32::from(prefix));
            let is_near = |gateway: Ipv6Addr| {
                gateway.is_unicast_link_local() || (gateway.to_bits() ^ address.to_bits()) & mask == 0
            };
            if gateway.is_some_and(|gateway| !is_near(gateway)) {
                return Err(refuse(text!(
                    "the gateway is neither in the network of {word} nor one of the link alone (fe80::...)",
                    "das Gateway liegt weder im Netzwerk von {word}, noch gilt es nur am Anschluss (fe80::...)"
                )));
            }
            let text = text!("The IPv6 address is {word}.", "Die IPv6-Adresse ist {word}.");
            (Ipv6::Static { address, prefix, gateway }, text)
        }
        _ => return Err(usage()),
    };
    change(call, |network| network.ipv6 = wanted, text)
}

/// `network dns`
pub fn dns(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let servers = dns_servers(arguments)?;
    let by_dhcp = call.store().settings().network.ipv4 == Ipv4::Dhcp;
    let text = match servers.len() {
        0 if by_dhcp => {
            both("Names are asked of whom DHCP names.", "Nach Namen wird gefragt, wen DHCP nennt.")
        }
        0 => both(
            "Nobody is asked for names: without DHCP no name is found, nor a time server by its name, before `network dns ADDRESS` sets whom to \
             ask.",
            "Nach Namen wird niemand gefragt: Ohne DHCP wird kein Name gefunden, auch kein Zeitserver bei seinem Namen, bis \
             `network dns ADRESSE` festlegt, wer gefragt wird.",
        ),
        _ => both("These servers are asked for names.", "Diese Server werden nach Namen gefragt."),
    };
    change(call, |network| network.dns = servers, text)
}

/// `network hostname`
pub fn hostname(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = if name == NONE { String::new() } else { words::domain(name)? };
    if name.split('.').any(|label| label.len() > 63) || name.len() > 64 {
        return Err(wrong(
            &name,
            both("a host name: it has at most 64 letters", "kein Hostname: Er hat höchstens 64 Zeichen"),
        ));
    }
    call.store().host_set(&name).map_err(of_store)?;
    match name.as_str() {
        "" => say(
            call,
            both("The machine has no name of its own any more.", "Das Gerät hat keinen eigenen Namen mehr."),
        ),
        name => say(
            call,
            text!(
                "The machine is {name}, in greetings and on the network. A certificate for it: tls new",
                "Das Gerät heißt {name}, in Begrüßungen und im Netzwerk. Ein Zertifikat dafür: tls new"
            ),
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
        let what =
            text!("! The network could not be looked at: ", "! Das Netzwerk konnte nicht angesehen werden: ");
        call.say(&what.and(why));
    }
    Ok(())
}

/// The network in words: what is wanted, and what is.
pub fn describe(call: &mut Call<'_, '_>) {
    let network = call.cx.store().settings().network.clone();
    let host = call.host();
    call.say(&text!("Host name    {host}", "Hostname     {host}"));
    call.say(&text!("Set          ", "Eingestellt  ").and(set(&network)));
    let Some(machine) = &call.facts.machine else {
        call.say(&text!(
            "The server is not running: nothing is known of the network.",
            "Der Server läuft nicht: Über das Netzwerk ist nichts bekannt."
        ));
        return;
    };
    let Some(facts) = machine.network() else {
        call.say(&NOT_OURS.into());
        return;
    };
    is(facts, call);
    let trial = call.cx.store().trial().map(|trial| trial.command.clone());
    if let (Some(seconds), Some(command)) = (machine.trial_seconds(), trial) {
        call.say(&text!(
            "On trial     {command}: {seconds} s left, `keep` keeps it",
            "Auf Probe    {command}: noch {seconds} Sek., `keep` behält es"
        ));
    }
}

fn is(facts: NetworkFacts, call: &mut Call<'_, '_>) {
    let NetworkFacts { interface, link, addresses, gateways, dns, problem, .. } = facts;
    call.say(&match (interface.as_str(), link) {
        ("", _) => text!(
            "Interface    none is there: is the adapter plugged in?",
            "Anschluss    keiner da: Ist der Adapter eingesteckt?"
        ),
        (name, true) => text!("Interface    {name}", "Anschluss    {name}"),
        (name, false) => text!("Interface    {name}, no cable", "Anschluss    {name}, kein Kabel"),
    });
    for (heading, values) in [
        (both("Addresses    ", "Adressen     "), addresses),
        (both("Gateways     ", "Gateways     "), gateways),
        (both("Names from   ", "Namen von    "), dns),
    ] {
        call.say(&Text::from(heading).and(listed(&values)));
    }
    if let Some(problem) = problem {
        call.say(&text!("! ", "! ").and(problem));
    }
}

/// What `status` says is wrong with it.
pub fn warning(facts: &NetworkFacts) -> Option<Text> {
    let NetworkFacts { interface, link, addresses, problem, new, .. } = facts;
    match (problem, interface.as_str()) {
        (Some(problem), _) => Some(problem.clone()),
        _ if !addresses.is_empty() => None,
        _ if *new => Some(text!(
            "The network is still being asked for an address: look again in half a minute.",
            "Das Netzwerk wird noch nach einer Adresse gefragt: Sehen Sie in einer halben Minute wieder nach."
        )),
        (None, "") => Some(text!(
            "There is no network adapter: is it plugged in?",
            "Es gibt keinen Netzwerkadapter: Ist er eingesteckt?"
        )),
        _ if !link => Some(text!(
            "No network cable is in, or nothing is at its other end.",
            "Kein Netzwerkkabel steckt, oder am anderen Ende ist nichts."
        )),
        _ => Some(text!(
            "The network gives no address: look whether the router gives addresses (DHCP), or set one with `network static`.",
            "Das Netzwerk gibt keine Adresse: Sehen Sie nach, ob der Router Adressen vergibt (DHCP), oder setzen Sie eine mit `network \
             static`."
        )),
    }
}

/// Names or addresses, if there are any.
pub fn listed(values: &[String]) -> Text {
    if values.is_empty() {
        return text!("none", "keine");
    }
    let values = values.join(", ");
    text!("{values}", "{values}")
}

fn set(network: &Network) -> Text {
    let ipv4 = match &network.ipv4 {
        Ipv4::Dhcp => text!("IPv4 by DHCP, ", "IPv4 über DHCP, "),
        Ipv4::Static { address, prefix, .. } => {
            text!("IPv4 {address}/{prefix}, ", "IPv4 {address}/{prefix}, ")
        }
    };
    ipv4.and(match &network.ipv6 {
        Ipv6::Auto => text!("IPv6 from the router", "IPv6 vom Router"),
        Ipv6::Off => text!("no IPv6", "kein IPv6"),
        Ipv6::Static { address, prefix, .. } => {
            text!("IPv6 {address}/{prefix}", "IPv6 {address}/{prefix}")
        }
    })
}

/// The settings as commands; what nobody has set has none. At the console of a box each change of the network is on trial, and the next
/// one is not taken before that is kept.
pub fn commands(settings: &Settings, out: &mut String) {
    let list =
        |addresses: &[IpAddr]| -> String { addresses.iter().map(|address| format!(" {address}")).collect() };
    let Settings { network, host, time_servers, .. } = settings;
    // A String takes whatever is written to it.
    if !host.is_empty() {
        let _ = writeln!(out, "network hostname {host}");
    }
    match &network.ipv4 {
        Ipv4::Static { address, prefix, gateway: via } => {
            // In one line, or for a while the first of two would be in force alone.
            let via = match via {
                Some(via) => format!(" {via}"),
                None if network.dns.is_empty() => String::new(),
                None => format!(" {NONE}"),
            };
            let dns = match network.dns.is_empty() {
                true if via.is_empty() => String::new(),
                true => format!(" {NONE}"),
                false => list(&network.dns),
            };
            let _ = writeln!(out, "network static {address}/{prefix}{via}{dns}\nkeep");
        }
        Ipv4::Dhcp if !network.dns.is_empty() => {
            let _ = writeln!(out, "network dns{}\nkeep", list(&network.dns));
        }
        Ipv4::Dhcp => {}
    }
    match &network.ipv6 {
        Ipv6::Auto => {}
        Ipv6::Off => out.push_str("network ipv6 off\nkeep\n"),
        Ipv6::Static { address, prefix, gateway: via } => {
            let via = via.map(|via| format!(" {via}")).unwrap_or_default();
            let _ = writeln!(out, "network ipv6 static {address}/{prefix}{via}\nkeep");
        }
    }
    if !time_servers.is_empty() {
        let _ = writeln!(out, "time server {}", time_servers.join(" "));
    }
}

/// `keep`
pub fn keep(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let now = call.cx.now;
    let mut store = call.cx.store();
    let (kept, expired) = (store.keep(now), store.expired().map(String::from));
    drop(store);
    match (kept, expired) {
        (Ok(command), _) => say(call, text!("It stays: {command}", "Es bleibt: {command}")),
        (Err(StoreError::Missing), Some(command)) => Err(refuse(text!(
            "it has gone back already, as nobody kept it in time: {command}",
            "es ist schon zurückgenommen, weil niemand es rechtzeitig behalten hat: {command}"
        ))),
        (Err(StoreError::Missing), None) if call.listed => say(
            call,
            both(
                "Nothing is on trial: in a list of commands all is kept.",
                "Nichts ist auf Probe: In einer Liste von Befehlen bleibt alles.",
            ),
        ),
        (Err(StoreError::Missing), None) => Err(refuse(both(
            "nothing is on trial; what is typed is kept, unless it says otherwise",
            "nichts ist auf Probe; was eingegeben wird, bleibt, wenn nichts anderes dabeisteht",
        ))),
        (Err(error), _) => Err(of_store(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_network_is_told_by_its_cause() {
        let word = |facts: &NetworkFacts| warning(facts).map(|text| text.en).unwrap_or_default();
        let mut facts = NetworkFacts { new: true, ..NetworkFacts::default() };
        assert!(word(&facts).contains("still being asked"));
        facts.new = false;
        assert!(word(&facts).contains("no network adapter"));
        facts.interface = String::from("eth0");
        assert!(word(&facts).contains("No network cable"));
        facts.link = true;
        assert!(word(&facts).contains("(DHCP)"));
        facts.problem = Some(text!("It has failed.", "Es ging nicht."));
        assert_eq!(word(&facts), "It has failed.");
        facts = NetworkFacts { addresses: vec![String::from("192.0.2.20/24")], ..NetworkFacts::default() };
        assert_eq!(word(&facts), "");
    }
}
