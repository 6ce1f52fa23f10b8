//! THE table of the console's commands: a command is a row here and a function in the file of what it is about.
//!
//! The help is this table; nothing about a command is written anywhere else.

use super::{Facts, help, settings, setup, show};
use crate::session::Context;

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
    Do(fn(&[&str], &mut Call<'_, '_>) -> Result<(), Failure>),
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

/// What a command works with.
pub struct Call<'a, 'b> {
    /// The store and the world.
    pub cx: &'a mut Context<'b>,
    /// What it says when it is done.
    pub out: &'a mut String,
    /// What serve knows.
    pub facts: &'a Facts,
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
pub static TABLE: [Row; 19] = [
    row(&["setup"], "", "Answer four questions: a domain and a mailbox. May be done again.", setup::ACT),
    row(&["status"], "", "How the box is doing; what needs attention comes first.", Act::Do(show::status)),
    row(&["domain", "add"], "DOMAIN", "Take mail for this domain.", Act::Do(settings::domain_add)),
    row(
        &["domain", "remove"],
        "DOMAIN",
        "No longer take mail for this domain.",
        Act::Do(settings::domain_remove),
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
        Act::Do(settings::mailbox_size),
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
        Act::Do(settings::alias_add),
    ),
    row(&["alias", "remove"], "ALIAS", "Remove an alias.", Act::Do(settings::alias_remove)),
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
    row(&["show", "client"], "ADDRESS", "Show what to type into a mail program.", Act::Do(show::client)),
    row(
        &["help"],
        "[COMMAND]",
        "Show the commands. At a terminal ? shows what can come next, and Tab completes it.",
        Act::Do(help::run),
    ),
    row(&["exit"], "", "Leave the console.", Act::Exit),
    row(&["quit"], "", "The same as exit.", Act::Exit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_hides_another() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(!row.words.is_empty() && row.help.ends_with('.'), "{}", row.usage());
            for other in &TABLE[index + 1..] {
                assert!(!row.words.starts_with(other.words), "{} hides {}", other.usage(), row.usage());
                assert!(!other.words.starts_with(row.words), "{} hides {}", row.usage(), other.usage());
            }
        }
    }
}
