//! What concerns the machine as a whole: `log`, `ping`, `support`, `reboot`, `poweroff`.

use super::say::{misused, refuse, say};
use super::settings::exactly;
use super::table::{Call, Failure};
use super::text::{Fixed, both, text};
use super::{network, show, time};
use crate::limits::LOG_LINES_KEPT;
use crate::session::{Job, JobAnswer};

type Done = Result<(), Failure>;

/// Why nothing can be done with the machine.
const NOT_RUNNING: Fixed = both("the server is not running", "der Server läuft nicht");
/// Lines of the log that are shown if no number is given.
const LOG_LINES: usize = 20;
/// Lines of the log that go into `support`.
const LOG_LINES_FOR_SUPPORT: usize = 200;

/// `log`
pub fn log(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let count = match arguments {
        [] => LOG_LINES,
        [word] => match word.parse() {
            Ok(count) if (1..=LOG_LINES_KEPT).contains(&count) => count,
            _ => {
                return Err(misused(text!(
                    "`{word}` is no number from 1 to {LOG_LINES_KEPT}",
                    "`{word}` ist keine Zahl von 1 bis {LOG_LINES_KEPT}"
                )));
            }
        },
        [_, extra, ..] => {
            return Err(misused(text!("`{extra}` is one word too many", "`{extra}` ist ein Wort zu viel")));
        }
    };
    let Some(machine) = &call.facts.machine else {
        return Err(refuse(both(
            "the server is not running: it keeps its last lines in memory only",
            "der Server läuft nicht: Er hält seine letzten Zeilen nur im Arbeitsspeicher",
        )));
    };
    machine.log(count).iter().for_each(|line| print(call, line));
    Ok(())
}

/// A line that is the same in all languages.
fn print(call: &mut Call<'_, '_>, line: &str) {
    call.out.push_str(line);
    call.out.push('\n');
}

/// What `ping` asks for.
pub fn ping(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [host] = exactly(arguments)?;
    let name = |host: &str| {
        host.len() <= 253
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    if host.parse::<core::net::IpAddr>().is_err() && (!name(host) || host.starts_with('-')) {
        return Err(refuse(text!(
            "`{host}` is neither a name nor an address",
            "`{host}` ist weder ein Name noch eine Adresse"
        )));
    }
    only_a_box(call)?;
    Ok(Job::Ping { host: String::from(host) })
}

fn only_a_box(call: &Call<'_, '_>) -> Done {
    match (&call.facts.machine, call.facts.is_box()) {
        (_, true) => Ok(()),
        (None, _) => Err(refuse(NOT_RUNNING)),
        _ => Err(refuse(both(
            "this machine is not a box of Postfach's: use its own commands",
            "dieser Rechner ist kein Gerät von Postfach: Benutzen Sie seine eigenen Befehle",
        ))),
    }
}

/// What has been said.
pub fn said(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Said(text) => {
            text.lines().for_each(|line| print(call, line));
            Ok(())
        }
        JobAnswer::Failed(why) => Err(refuse(why)),
        JobAnswer::Nobody => Err(refuse(NOT_RUNNING)),
        _ => Ok(()),
    }
}

/// What `reboot` asks for.
pub fn reboot(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    only_a_box(call).map(|()| Job::Restart)
}

/// What `poweroff` asks for.
pub fn poweroff(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    only_a_box(call).map(|()| Job::PowerOff)
}

/// The machine is about to stop.
pub fn stopping(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Done => say(
            call,
            both(
                "The mail is put away in order, and then the machine stops.",
                "Die Nachrichten werden sicher abgelegt, und dann hält das Gerät an.",
            ),
        ),
        other => said(&[], other, call),
    }
}

/// `support`: everything that an expert asks first, and no secrets.
pub fn support(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    say(
        call,
        text!(
            "---- Postfach {0}: for whoever helps you. No passwords and no mail are in it. ----",
            "---- Postfach {0}: für alle, die Ihnen helfen. Passwörter und Nachrichten sind nicht darin. ----",
            env!("CARGO_PKG_VERSION")
        ),
    )?;
    show::status(&[], call)?;
    say(call, both("\n---- network ----", "\n---- Netzwerk ----"))?;
    network::describe(call);
    say(call, both("\n---- time ----", "\n---- Zeit ----"))?;
    time::show(&[], call)?;
    say(call, both("\n---- settings ----", "\n---- Einstellungen ----"))?;
    show::config(&["public"], call)?;
    say(call, both("\n---- log ----", "\n---- Protokoll ----"))?;
    let lines =
        call.facts.machine.as_ref().map(|machine| machine.log(LOG_LINES_FOR_SUPPORT)).unwrap_or_default();
    lines.iter().for_each(|line| print(call, line));
    say(call, both("---- end ----", "---- Ende ----"))
}
