//! What concerns the machine as a whole: `log`, `ping`, `support`, `reboot`, `poweroff`.

use super::settings::{exactly, say};
use super::table::{Call, Failure};
use super::{network, show, time};
use crate::limits::LOG_LINES_KEPT;
use crate::session::{Job, JobAnswer};

type Done = Result<(), Failure>;

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
            _ => return Err(Failure::Usage(format!("`{word}` is no number from 1 to {LOG_LINES_KEPT}"))),
        },
        [_, extra, ..] => return Err(Failure::Usage(format!("`{extra}` is one word too many"))),
    };
    let Some(machine) = &call.facts.machine else {
        return Err(Failure::Refused(String::from(
            "the server is not running: it keeps its last lines in memory only",
        )));
    };
    let lines = machine.log(count);
    lines.iter().try_for_each(|line| say(call, line))
}

/// What `ping` asks for.
pub fn ping(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [host] = exactly(arguments)?;
    let name = |host: &str| {
        host.len() <= 253
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    if host.parse::<core::net::IpAddr>().is_err() && (!name(host) || host.starts_with('-')) {
        return Err(Failure::Refused(format!("`{host}` is neither a name nor an address")));
    }
    only_a_box(call)?;
    Ok(Job::Ping { host: String::from(host) })
}

fn only_a_box(call: &Call<'_, '_>) -> Done {
    match (&call.facts.machine, call.facts.is_box()) {
        (_, true) => Ok(()),
        (None, _) => Err(Failure::Refused(String::from("the server is not running"))),
        _ => Err(Failure::Refused(String::from(
            "this machine is not a box of Postfach's: use its own commands",
        ))),
    }
}

/// What has been said.
pub fn said(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Said(text) => text.lines().try_for_each(|line| say(call, line)),
        JobAnswer::Failed(why) => Err(Failure::Refused(why)),
        JobAnswer::Nobody => Err(Failure::Refused(String::from("the server is not running"))),
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
        JobAnswer::Done => say(call, "The mail is put away in order, and then the machine stops."),
        other => said(&[], other, call),
    }
}

/// `support`: everything that an expert asks first, and no secrets.
pub fn support(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    say(
        call,
        concat!(
            "---- Postfach ",
            env!("CARGO_PKG_VERSION"),
            ": for whoever helps you. No passwords and no mail are in it. ----"
        ),
    )?;
    show::status(&[], call)?;
    say(call, "\n---- network ----")?;
    network::describe(call);
    say(call, "\n---- time ----")?;
    time::show(&[], call)?;
    say(call, "\n---- settings ----")?;
    show::config(&["public"], call)?;
    say(call, "\n---- log ----")?;
    let lines =
        call.facts.machine.as_ref().map(|machine| machine.log(LOG_LINES_FOR_SUPPORT)).unwrap_or_default();
    lines.iter().try_for_each(|line| say(call, line))?;
    say(call, "---- end ----")
}
