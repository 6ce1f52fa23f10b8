//! THE table of the console's commands: a command is a row here and a function in the file of what it is about.
//!
//! The help is this table; nothing about a command is written anywhere else.

use super::text::{Fixed, Text, both};
use super::{Facts, help, settings, setup, show};
use crate::session::Context;
use crate::types::Language;

/// A command.
pub struct Row {
    /// Its words.
    pub words: &'static [&'static str],
    /// What follows them: capitals stand for something of the owner's, brackets for what may be left out.
    pub arguments: &'static str,
    /// One sentence.
    pub help: Fixed,
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
    /// The language of what it says.
    pub language: Language,
    /// What serve knows.
    pub facts: &'a Facts,
}

impl Call<'_, '_> {
    /// Says a line.
    pub fn say(&mut self, text: &Text) {
        self.out.push_str(text.of(self.language));
        self.out.push('\n');
    }
}

/// Why a command has done nothing. The text is a clause in small letters, without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The arguments are wrong: the right ones are told too.
    Usage(Text),
    /// It cannot be done: why, and what to do.
    Refused(Text),
}

impl Row {
    /// How the command is written.
    pub fn usage(&self) -> String {
        let space = if self.arguments.is_empty() { "" } else { " " };
        format!("{}{space}{}", self.words.join(" "), self.arguments)
    }
}

const fn row(words: &'static [&'static str], arguments: &'static str, help: Fixed, act: Act) -> Row {
    Row { words, arguments, help, act }
}

/// Every command, in the order in which help shows them.
pub static TABLE: [Row; 20] = [
    row(
        &["setup"],
        "",
        both(
            "Answer five questions: language, a domain and a mailbox. May be done again.",
            "Fünf Fragen beantworten: Sprache, eine Domain und ein Postfach. Auch später noch einmal.",
        ),
        setup::ACT,
    ),
    row(
        &["status"],
        "",
        both(
            "How the box is doing; what needs attention comes first.",
            "Wie es dem Gerät geht; was Aufmerksamkeit braucht, kommt zuerst.",
        ),
        Act::Do(show::status),
    ),
    row(
        &["domain", "add"],
        "DOMAIN",
        both("Take mail for this domain.", "Nachrichten für diese Domain annehmen."),
        Act::Do(settings::domain_add),
    ),
    row(
        &["domain", "remove"],
        "DOMAIN",
        both("No longer take mail for this domain.", "Nachrichten für diese Domain nicht mehr annehmen."),
        Act::Do(settings::domain_remove),
    ),
    row(
        &["domain", "list"],
        "",
        both("Show the domains.", "Die Domains zeigen."),
        Act::Do(settings::domain_list),
    ),
    row(
        &["mailbox", "add"],
        "ADDRESS [size S|M|L|XL] [generate | hash PHC]",
        both(
            "Make a mailbox, of size M if none is given; asks for its password, or makes one up and shows it once.",
            "Ein Postfach anlegen, mit Größe M, wenn keine genannt ist; fragt nach dem Passwort, oder erzeugt eines und zeigt es einmal.",
        ),
        Act::WithPassword { check: settings::mailbox_add_check, set: settings::mailbox_add },
    ),
    row(
        &["mailbox", "passwd"],
        "ADDRESS [generate | hash PHC]",
        both(
            "Give a mailbox another password; whoever is logged in with the old one is logged out.",
            "Einem Postfach ein anderes Passwort geben; wer mit dem alten angemeldet ist, wird abgemeldet.",
        ),
        Act::WithPassword { check: settings::mailbox_passwd_check, set: settings::mailbox_passwd },
    ),
    row(
        &["mailbox", "size"],
        "ADDRESS S|M|L|XL",
        both(
            "Give a mailbox more or less room; no mail is lost.",
            "Einem Postfach mehr oder weniger Platz geben; keine Nachricht geht verloren.",
        ),
        Act::Do(settings::mailbox_size),
    ),
    row(
        &["mailbox", "list"],
        "",
        both("Show the mailboxes and how full they are.", "Die Postfächer zeigen, und wie voll sie sind."),
        Act::Do(settings::mailbox_list),
    ),
    row(
        &["mailbox", "remove"],
        "ADDRESS",
        both(
            "Remove a mailbox with all its mail and the aliases that lead to it.",
            "Ein Postfach mit allen Nachrichten und den Aliassen, die zu ihm führen, entfernen.",
        ),
        Act::Do(settings::mailbox_remove),
    ),
    row(
        &["alias", "add"],
        "ALIAS ADDRESS",
        both(
            "Put mail for ALIAS into the mailbox ADDRESS.",
            "Nachrichten für ALIAS in das Postfach ADDRESS legen.",
        ),
        Act::Do(settings::alias_add),
    ),
    row(
        &["alias", "remove"],
        "ALIAS",
        both("Remove an alias.", "Einen Alias entfernen."),
        Act::Do(settings::alias_remove),
    ),
    row(
        &["alias", "list"],
        "",
        both("Show the aliases.", "Die Aliasse zeigen."),
        Act::Do(settings::alias_list),
    ),
    row(
        &["admin", "passwd"],
        "[generate | hash PHC]",
        both(
            "Set the administrator's password, which the serial console asks for.",
            "Das Administrator-Passwort setzen, nach dem die serielle Konsole fragt.",
        ),
        Act::WithPassword { check: settings::admin_passwd_check, set: settings::admin_passwd },
    ),
    row(
        &["show", "config"],
        "[public]",
        both(
            "Show all settings as commands that can be pasted back; passwords as hashes, or with public not at all.",
            "Alle Einstellungen als Befehle zeigen, die wieder eingefügt werden können; Passwörter als Hashes, mit public gar nicht.",
        ),
        Act::Do(show::config),
    ),
    row(
        &["show", "client"],
        "ADDRESS",
        both("Show what to type into a mail program.", "Zeigen, was in ein Mailprogramm einzutragen ist."),
        Act::Do(show::client),
    ),
    row(
        &["language"],
        "en|de",
        both("Speak English or German here.", "Hier Englisch oder Deutsch sprechen."),
        Act::Do(settings::language),
    ),
    row(
        &["help"],
        "[COMMAND]",
        both(
            "Show the commands. At a terminal ? shows what can come next, and Tab completes it.",
            "Die Befehle zeigen. Am Terminal zeigt ?, was als Nächstes kommen kann, und Tab ergänzt es.",
        ),
        Act::Do(help::run),
    ),
    row(&["exit"], "", both("Leave the console.", "Die Konsole verlassen."), Act::Exit),
    row(&["quit"], "", both("The same as exit.", "Dasselbe wie exit."), Act::Exit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_hides_another() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(!row.words.is_empty(), "{}", row.usage());
            assert!(row.help.en.ends_with('.') && row.help.de.ends_with('.'), "{}", row.usage());
            for other in &TABLE[index + 1..] {
                assert!(!row.words.starts_with(other.words), "{} hides {}", other.usage(), row.usage());
                assert!(!other.words.starts_with(row.words), "{} hides {}", row.usage(), other.usage());
            }
        }
    }
}
