//! `time`: what the clock says, who is asked for the time, and what has been answered.

use super::facts::{Answered, ClockFacts, ServersFrom};
use super::say::{misused, of_store, refuse, say};
use super::settings::exactly;
use super::show::span;
use super::table::{Call, Failure};
use super::text::{Fixed, Text, both, text};
use super::words;
use crate::session::{Job, JobAnswer};
use crate::types::Time;
use crate::wire::date::{DateTime, Day};

type Done = Result<(), Failure>;

/// A point of time for people, in UTC.
pub fn when(time: Time) -> String {
    let (year, month, day) = DateTime::utc(time).day().date();
    let second = time.0 - Day::start(DateTime::utc(time).day()).0;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// `time server`
pub fn server(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let servers = match arguments {
        [] => {
            return Err(misused(both(
                "a server is missing, or `default`",
                "ein Server fehlt, oder `default`",
            )));
        }
        [word] if word.eq_ignore_ascii_case("default") => Vec::new(),
        words => words.iter().map(|word| checked(word)).collect::<Result<_, _>>()?,
    };
    let text = match servers.is_empty() {
        true => text!(
            "The time is asked of whom DHCP names, or of pool.ntp.org.",
            "Nach der Zeit wird gefragt, wen DHCP nennt, oder pool.ntp.org."
        ),
        false => text!("The time is asked of {0}.", "Nach der Zeit wird gefragt: {0}.", servers.join(", ")),
    };
    call.store().time_servers_set(servers).map_err(of_store)?;
    say(call, text)
}

/// A name or an address, perhaps with a port.
fn checked(word: &str) -> Result<String, Failure> {
    if word.parse::<core::net::SocketAddr>().is_ok() || word.parse::<core::net::IpAddr>().is_ok() {
        return Ok(String::from(word));
    }
    let (name, port) = match word.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (word, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(refuse(text!(
            "`{word}` is not a server; one looks like ntp.example.com or 192.0.2.1",
            "`{word}` ist kein Server; einer sieht so aus: ntp.example.com oder 192.0.2.1"
        )));
    }
    words::domain(name)?;
    Ok(word.to_ascii_lowercase())
}

/// What `time show` and `time sync` ask for: the first nothing.
pub fn ask(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    if call.facts.machine.as_ref().and_then(|machine| machine.clock()).is_none() {
        return Err(refuse(NOT_OURS));
    }
    Ok(Job::AskForTime)
}

const NOT_OURS: Fixed =
    both("this machine's clock is not Postfach's to set", "die Uhr dieses Rechners stellt Postfach nicht");

/// `time sync`
pub fn synced(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Failed(why) => Err(refuse(why)),
        _ => show(&[], call),
    }
}

/// `time show`
pub fn show(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let clock = call.facts.machine.as_ref().and_then(|machine| machine.clock());
    let now = when(call.cx.now);
    call.say(&text!("Clock        {now} UTC", "Uhr          {now} UTC"));
    let Some(clock) = clock else {
        let servers = call.cx.store().settings().time_servers.join(", ");
        let servers = match servers.as_str() {
            "" => text!("whom DHCP names, or pool.ntp.org", "wen DHCP nennt, oder pool.ntp.org"),
            servers => text!("{servers}", "{servers}"),
        };
        call.say(
            &text!("Servers      ", "Server       ")
                .and(servers)
                .and(both(" (on a box)", " (auf einem Gerät)")),
        );
        return say(
            call,
            both(
                "This machine's clock is not Postfach's to set.",
                "Die Uhr dieses Rechners stellt Postfach nicht.",
            ),
        );
    };
    let from = match clock.source {
        ServersFrom::Owner => both("", ""),
        ServersFrom::Dhcp => both(" (from DHCP)", " (von DHCP)"),
        ServersFrom::Pool => both(" (as nobody else is named)", " (da sonst niemand genannt ist)"),
    };
    call.say(&text!("Servers      {0}", "Server       {0}", clock.servers.join(", ")).and(from));
    call.say(&match &clock.last {
        Some(Answered { server, age_seconds, offset_seconds }) => {
            let ago = ago(*age_seconds);
            Text {
                en: format!(
                    "Last answer  {} ago, of {server}; the clock was {offset_seconds:+.3} s off",
                    ago.en
                ),
                de: format!(
                    "Antwort      vor {}, von {server}; die Uhr ging {offset_seconds:+.3} Sek. falsch",
                    ago.de
                ),
            }
        }
        None => text!("Last answer  none since the start", "Antwort      keine seit dem Start"),
    });
    if let Some(problem) = clock.problem {
        call.say(&text!("Last problem ", "Problem      ").and(problem));
    }
    Ok(())
}

/// What `status` says of the clock.
pub fn line(clock: &ClockFacts, now: Time) -> Text {
    let now = when(now);
    let told = match &clock.last {
        Some(last) => {
            let (ago, server) = (ago(last.age_seconds), &last.server);
            Text {
                en: format!(", as {server} has told {} ago", ago.en),
                de: format!(", wie {server} vor {} gesagt hat", ago.de),
            }
        }
        None => text!(", as nobody has told", ", wie niemand gesagt hat"),
    };
    text!("Clock        {now} UTC", "Uhr          {now} UTC").and(told)
}

fn ago(seconds: u64) -> Text {
    span(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// What `status` says when nobody has told the time yet.
pub fn warning(clock: &ClockFacts) -> Option<Text> {
    let none = || Text::from(both("none has been asked yet", "noch wurde keiner gefragt"));
    let Text { en, de } = clock.problem.clone().unwrap_or_else(none);
    clock.last.is_none().then(|| Text {
        en: format!(
            "No time server has answered since the start, so the date may be wrong ({en}). Mail is served all the same. \
             `time show` and `network show` say more."
        ),
        de: format!(
            "Seit dem Start hat kein Zeitserver geantwortet, also kann das Datum falsch sein ({de}). Postfach arbeitet trotzdem. \
             Mehr sagen `time show` und `network show`."
        ),
    })
}
