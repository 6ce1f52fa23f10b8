//! THE table of the console's commands: a command is a row here and a function in the file of what it is about.
//!
//! The help is this table; nothing about a command is written anywhere else.

use super::{Facts, certificate, help, network, settings, setup, show, system, time, undo};
use crate::session::{Context, Job, JobAnswer};
use crate::store::{Access, Draft};

/// A command.
pub struct Row {
    /// Its words.
    pub words: &'static [&'static str],
    /// What follows them: capitals stand for something of the owner's, brackets for what may be left out.
    pub arguments: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it does.
    pub act: Act,
}

/// What a command does.
pub enum Act {
    /// It is done at once.
    Do(Run),
    /// It changes settings, at once; `load` takes it too.
    Set(Run),
    /// serve does a part of it.
    Job {
        /// What the console needs before.
        first: First,
        /// The job, from the arguments and the text.
        ask: Ask,
        /// Does the rest, with the answer.
        tell: Tell,
    },
    /// It takes settings, up to a line `end`, all or none.
    Load,
    /// It sets a password: typed, or `generate`, or `hash PHC`. Those words are not among the arguments that the functions get.
    WithPassword {
        /// Whether it can be done, before anybody is asked for a password.
        check: fn(&[&str], &mut Call<'_, '_>) -> Result<(), Failure>,
        /// Does it, with the password's hash.
        set: fn(&[&str], String, &mut Call<'_, '_>) -> Result<(), Failure>,
    },
    /// It asks its questions (`setup.rs`), and then for a password.
    Ask {
        /// Does it, with the answers and the password's hash.
        set: fn(&[&str], String, &mut Call<'_, '_>) -> Result<(), Failure>,
    },
    /// It leaves the console.
    Exit,
}

/// Does a command.
pub type Run = fn(&[&str], &mut Call<'_, '_>) -> Result<(), Failure>;

/// Names the job, from the arguments and the text.
pub type Ask = fn(&[&str], Vec<u8>, &mut Call<'_, '_>) -> Result<Job, Failure>;

/// Tells what came of it.
pub type Tell = fn(&[&str], JobAnswer, &mut Call<'_, '_>) -> Result<(), Failure>;

/// What a command of serve's needs before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Nothing.
    Nothing,
    /// Lines, up to `end`.
    Text,
    /// The machine's name, typed by the person there.
    HostName,
}

/// What a command works with.
pub struct Call<'a, 'b> {
    /// The store and the world.
    pub cx: &'a mut Context<'b>,
    /// What it says when it is done.
    pub out: &'a mut String,
    /// What serve knows.
    pub facts: &'a Facts,
    /// What it has changed so far.
    pub draft: &'a mut Option<Draft>,
}

impl Call<'_, '_> {
    /// The store as the command has changed it so far: here it looks and changes.
    pub fn store(&mut self) -> Access<'_> {
        self.cx.shared.drafting(self.cx.needs, self.draft)
    }
}

/// Why a command has done nothing. The text is a clause in small letters, without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The arguments are wrong: the right ones are told too.
    Usage(String),
    /// It cannot be done: why, and what to do.
    Refused(String),
}

impl Row {
    /// How the command is written.
    pub fn usage(&self) -> String {
        let space = if self.arguments.is_empty() { "" } else { " " };
        format!("{}{space}{}", self.words.join(" "), self.arguments)
    }
}

const fn row(words: &'static [&'static str], arguments: &'static str, help: &'static str, act: Act) -> Row {
    Row { words, arguments, help, act }
}

/// Every command, in the order in which help shows them.
pub static TABLE: [Row; 42] = [
    row(&["setup"], "", "Answer four questions: a domain and a mailbox. May be done again.", setup::ACT),
    row(&["status"], "", "How the box is doing; what needs attention comes first.", Act::Do(show::status)),
    row(&["domain", "add"], "DOMAIN", "Take mail for this domain.", Act::Set(settings::domain_add)),
    row(
        &["domain", "remove"],
        "DOMAIN",
        "No longer take mail for this domain.",
        Act::Set(settings::domain_remove),
    ),
    row(&["domain", "list"], "", "Show the domains.", Act::Do(settings::domain_list)),
    row(
        &["mailbox", "add"],
        "ADDRESS [size S|M|L|XL] [generate | hash PHC]",
        "Make a mailbox, of size M if none is given; asks for its password, or makes one up and shows it once.",
        Act::WithPassword { check: settings::mailbox_add_check, set: settings::mailbox_add },
    ),
    row(
        &["mailbox", "passwd"],
        "ADDRESS [generate | hash PHC]",
        "Give a mailbox another password; whoever is logged in with the old one is logged out.",
        Act::WithPassword { check: settings::mailbox_passwd_check, set: settings::mailbox_passwd },
    ),
    row(
        &["mailbox", "size"],
        "ADDRESS S|M|L|XL",
        "Give a mailbox more or less room; no mail is lost.",
        Act::Set(settings::mailbox_size),
    ),
    row(
        &["mailbox", "list"],
        "",
        "Show the mailboxes and how full they are.",
        Act::Do(settings::mailbox_list),
    ),
    row(
        &["mailbox", "remove"],
        "ADDRESS",
        "Remove a mailbox with all its mail and the aliases that lead to it.",
        Act::Do(settings::mailbox_remove),
    ),
    row(
        &["alias", "add"],
        "ALIAS ADDRESS",
        "Put mail for ALIAS into the mailbox ADDRESS.",
        Act::Set(settings::alias_add),
    ),
    row(&["alias", "remove"], "ALIAS", "Remove an alias.", Act::Set(settings::alias_remove)),
    row(&["alias", "list"], "", "Show the aliases.", Act::Do(settings::alias_list)),
    row(
        &["admin", "passwd"],
        "[generate | hash PHC]",
        "Set the administrator's password, which the serial console asks for.",
        Act::WithPassword { check: settings::admin_passwd_check, set: settings::admin_passwd },
    ),
    row(
        &["show", "config"],
        "[public]",
        "Show all settings as commands that can be pasted back; passwords as hashes, or with public not at all.",
        Act::Do(show::config),
    ),
    row(
        &["export", "config"],
        "[public]",
        "The same, to take along; mail is exported on a computer, by: postfach export",
        Act::Do(show::config),
    ),
    row(&["show", "client"], "ADDRESS", "Show what to type into a mail program.", Act::Do(show::client)),
    row(
        &["network", "show"],
        "",
        "Show the addresses and how the network is set; so does network alone.",
        Act::Job { first: First::Nothing, ask: network::look, tell: network::show },
    ),
    row(
        &["network", "dhcp"],
        "",
        "Get the IPv4 address by DHCP, as a new box does.",
        Act::Set(network::dhcp),
    ),
    row(
        &["network", "static"],
        "ADDRESS/PREFIX [GATEWAY [DNS ...]]",
        "Set the IPv4 address, as in: network static 192.168.1.20/24 192.168.1.1",
        Act::Set(network::fixed),
    ),
    row(
        &["network", "ipv6"],
        "auto | off | static ADDRESS/PREFIX [GATEWAY]",
        "Take IPv6 addresses from the router, none, or set one.",
        Act::Set(network::ipv6),
    ),
    row(
        &["network", "dns"],
        "[ADDRESS ...]",
        "Set who is asked for names; without addresses, whom DHCP names.",
        Act::Set(network::dns),
    ),
    row(
        &["network", "hostname"],
        "NAME",
        "Name the machine, as in: network hostname mail.example.com",
        Act::Set(network::hostname),
    ),
    row(
        &["keep"],
        "",
        "Keep a change of the network or the certificate that is on trial.",
        Act::Do(network::keep),
    ),
    row(
        &["time", "show"],
        "",
        "Show the clock, who is asked for the time, and what was answered; so does time alone.",
        Act::Do(time::show),
    ),
    row(
        &["time", "server"],
        "SERVER ... | default",
        "Set who is asked for the time; by default whom DHCP names, or pool.ntp.org.",
        Act::Set(time::server),
    ),
    row(
        &["time", "sync"],
        "",
        "Ask a time server now.",
        Act::Job { first: First::Nothing, ask: time::ask, tell: time::synced },
    ),
    row(
        &["tls", "show"],
        "",
        "Show the certificate: names, dates, SHA-256; so does tls alone.",
        Act::Job { first: First::Nothing, ask: certificate::look, tell: certificate::show },
    ),
    row(
        &["tls", "new"],
        "",
        "Make another key and a self-signed certificate for this machine's name and domains.",
        Act::Job { first: First::Nothing, ask: certificate::make, tell: certificate::take },
    ),
    row(
        &["tls", "load"],
        "",
        "Take the certificates and the key that follow, in PEM, up to a line: end",
        Act::Job { first: First::Text, ask: certificate::read, tell: certificate::take },
    ),
    row(
        &["load"],
        "",
        "Take the settings that follow, as show config prints them, up to a line: end. All or none.",
        Act::Load,
    ),
    row(
        &["undo"],
        "",
        "Take the last change back.",
        Act::Job { first: First::Nothing, ask: undo::undo, tell: undo::done },
    ),
    row(&["history"], "", "Show the last changes with their numbers.", Act::Do(undo::history)),
    row(&["rollback"], "N", "Take all changes from number N on back.", Act::Do(undo::rollback)),
    row(&["log"], "[N]", "Show the last N lines of the server's log.", Act::Do(system::log)),
    row(
        &["ping"],
        "HOST",
        "See whether another machine answers.",
        Act::Job { first: First::Nothing, ask: system::ping, tell: system::said },
    ),
    row(
        &["support"],
        "",
        "Show all that somebody who helps needs, without secrets.",
        Act::Do(system::support),
    ),
    row(
        &["reboot"],
        "",
        "Restart the machine.",
        Act::Job { first: First::HostName, ask: system::reboot, tell: system::stopping },
    ),
    row(
        &["poweroff"],
        "",
        "Switch the machine off.",
        Act::Job { first: First::HostName, ask: system::poweroff, tell: system::stopping },
    ),
    row(&["help"], "[COMMAND]", "Show the commands; so does ? in place of any word.", Act::Do(help::run)),
    row(&["exit"], "", "Leave the console.", Act::Exit),
    row(&["quit"], "", "The same as exit.", Act::Exit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_hides_another() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(!row.words.is_empty() && !row.help.is_empty(), "{}", row.usage());
            for other in &TABLE[index + 1..] {
                assert!(!row.words.starts_with(other.words), "{} hides {}", other.usage(), row.usage());
                assert!(!other.words.starts_with(row.words), "{} hides {}", row.usage(), other.usage());
            }
        }
    }
}
