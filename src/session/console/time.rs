//! `time`: what the clock says, who is asked for the time, and what has been answered.

use std::fmt::Write as _;

use super::facts::{ClockFacts, ServersFrom};
use super::settings::{exactly, refused, say};
use super::show::span;
use super::table::{Call, Failure};
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
        [] => return Err(Failure::Usage(String::from("a server is missing, or `default`"))),
        [word] if word.eq_ignore_ascii_case("default") => Vec::new(),
        words => words.iter().map(|word| checked(word)).collect::<Result<_, _>>()?,
    };
    let text = match servers.is_empty() {
        true => String::from("The time is asked of whom DHCP names, or of pool.ntp.org."),
        false => format!("The time is asked of {}.", servers.join(", ")),
    };
    call.store().time_servers_set(servers).map_err(|error| Failure::Refused(refused(error)))?;
    say(call, &text)
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
        return Err(Failure::Refused(format!(
            "`{word}` is not a server; one looks like ntp.example.com or 192.0.2.1"
        )));
    }
    words::domain(name)?;
    Ok(word.to_ascii_lowercase())
}

/// What `time show` and `time sync` ask for: the first nothing.
pub fn ask(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    if call.facts.machine.as_ref().and_then(|machine| machine.clock()).is_none() {
        return Err(Failure::Refused(String::from(NOT_OURS)));
    }
    Ok(Job::AskForTime)
}

const NOT_OURS: &str = "this machine's clock is not Postfach's to set";

/// `time sync`
pub fn synced(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Failed(why) => Err(Failure::Refused(why)),
        _ => show(&[], call),
    }
}

/// `time show`
pub fn show(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let clock = call.facts.machine.as_ref().and_then(|machine| machine.clock());
    let now = call.cx.now;
    let out = &mut *call.out;
    // A String takes whatever is written to it.
    let _ = writeln!(out, "Clock        {} UTC", when(now));
    let Some(clock) = clock else {
        let servers = call.cx.store().settings().time_servers.join(", ");
        let servers = if servers.is_empty() { "whom DHCP names, or pool.ntp.org" } else { &servers };
        let _ = writeln!(call.out, "Servers      {servers} (on a box)");
        return say(call, "This machine's clock is not Postfach's to set.");
    };
    let from = match clock.source {
        ServersFrom::Owner => "",
        ServersFrom::Dhcp => " (from DHCP)",
        ServersFrom::Pool => " (as nobody else is named)",
    };
    let _ = writeln!(out, "Servers      {}{from}", clock.servers.join(", "));
    let _ = match &clock.last {
        Some(last) => writeln!(
            out,
            "Last answer  {} ago, of {}; the clock was {:+.3} s off",
            span(i64::try_from(last.age_seconds).unwrap_or(i64::MAX)),
            last.server,
            last.offset_seconds
        ),
        None => writeln!(out, "Last answer  none since the start"),
    };
    if let Some(problem) = &clock.problem {
        let _ = writeln!(out, "Last problem {problem}");
    }
    Ok(())
}

/// What `status` says when nobody has told the time yet.
pub fn warning(clock: &ClockFacts) -> Option<String> {
    let why = clock.problem.as_deref().unwrap_or("none has been asked yet");
    clock.last.is_none().then(|| {
        format!(
            "No time server has answered since the start, so the date may be wrong ({why}). Mail is served all the same. \
             `time show` and `network show` say more."
        )
    })
}
