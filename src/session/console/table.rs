//! THE table of the console's commands: a command is a row here and a function in the file of what it is about.
//!
//! The help is this table; nothing about a command is written anywhere else.

use super::text::{Fixed, Text, both};
use super::{Facts, certificate, check, help, network, settings, setup, show, system, time, undo};
use crate::session::{Context, Job, JobAnswer};
use crate::store::{Access, Draft};
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
    /// The language of what it says.
    pub language: Language,
    /// What serve knows.
    pub facts: &'a Facts,
    /// What it has changed so far.
    pub draft: &'a mut Option<Draft>,
    /// It is one of a list, where nothing is on trial: nobody would keep it.
    pub listed: bool,
}

impl Call<'_, '_> {
    /// The store as the command has changed it so far: here it looks and changes.
    pub fn store(&mut self) -> Access<'_> {
        self.cx.shared.drafting(self.cx.needs, self.draft)
    }

    /// The machine's name by the settings as the command has changed them so far. The context's follows when they are durable, which
    /// the next line of a paste does not wait for.
    pub fn host(&mut self) -> String {
        let (name, known) = (self.facts.host_name, self.cx.host);
        let mut store = self.store();
        match (name, store.settings()) {
            (Some(name), settings) => name(settings),
            (None, settings) if settings.host.is_empty() => String::from(known),
            (None, settings) => settings.host.clone(),
        }
    }

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
pub static TABLE: [Row; 44] = [
    row(
        &["setup"],
        "",
        both(
            "Answer five questions: language, a domain and a mailbox. May be done again: what is there stays.",
            "Fünf Fragen beantworten: Sprache, eine Domain und ein Postfach. Auch später noch einmal: Was es gibt, bleibt.",
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
        &["check"],
        "",
        both(
            "Try out the network, names, the time; tell what is wrong.",
            "Netzwerk, Namen und Zeit ausprobieren; sagen, was fehlt.",
        ),
        Act::Job { first: First::Nothing, ask: check::ask, tell: check::tell },
    ),
    row(
        &["domain", "add"],
        "DOMAIN",
        both("Take mail for this domain.", "Nachrichten für diese Domain annehmen."),
        Act::Set(settings::domain_add),
    ),
    row(
        &["domain", "remove"],
        "DOMAIN",
        both("No longer take mail for this domain.", "Nachrichten für diese Domain nicht mehr annehmen."),
        Act::Set(settings::domain_remove),
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
        Act::Set(settings::mailbox_size),
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
        Act::Set(settings::alias_add),
    ),
    row(
        &["alias", "remove"],
        "ALIAS",
        both("Remove an alias.", "Einen Alias entfernen."),
        Act::Set(settings::alias_remove),
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
            "Show all settings as commands that can be pasted back, and then stay; passwords as hashes, or with public as *.",
            "Alle Einstellungen als Befehle zeigen, die wieder eingefügt werden können und dann bleiben; Passwörter als Hashes, mit \
             public als *.",
        ),
        Act::Do(show::config),
    ),
    row(
        &["export", "config"],
        "[public]",
        both(
            "The same, to take along. Mail is exported on a computer, by `postfach export`.",
            "Dasselbe, zum Mitnehmen. Nachrichten exportiert man an einem Rechner, mit `postfach export`.",
        ),
        Act::Do(show::config),
    ),
    row(
        &["show", "client"],
        "ADDRESS",
        both("Show what to type into a mail program.", "Zeigen, was in ein Mailprogramm einzutragen ist."),
        Act::Job { first: First::Nothing, ask: show::look_for_client, tell: show::client },
    ),
    row(
        &["network", "show"],
        "",
        both(
            "Show the addresses and how the network is set; so does network alone.",
            "Die Adressen zeigen, und wie das Netzwerk eingestellt ist; ebenso `network` allein.",
        ),
        Act::Job { first: First::Nothing, ask: network::look, tell: network::show },
    ),
    row(
        &["network", "dhcp"],
        "",
        both(
            "Get the IPv4 address by DHCP, as a new box does.",
            "Die IPv4-Adresse von DHCP bekommen, wie ein neues Gerät.",
        ),
        Act::Set(network::dhcp),
    ),
    row(
        &["network", "static"],
        "ADDRESS/PREFIX [GATEWAY|- [DNS ...|-]]",
        both(
            "Set the IPv4 address, as in `network static 192.168.1.20/24 192.168.1.1`; `-` is none.",
            "Die IPv4-Adresse festlegen, wie in `network static 192.168.1.20/24 192.168.1.1`; `-` heißt keines.",
        ),
        Act::Set(network::fixed),
    ),
    row(
        &["network", "ipv6"],
        "auto | off | static ADDRESS/PREFIX [GATEWAY]",
        both(
            "Take IPv6 addresses from the router, none, or set one.",
            "IPv6-Adressen vom Router nehmen, keine, oder eine festlegen.",
        ),
        Act::Set(network::ipv6),
    ),
    row(
        &["network", "dns"],
        "[ADDRESS ...]",
        both(
            "Set who is asked for names; without addresses, whom DHCP names, or nobody where the address is set.",
            "Festlegen, wer nach Namen gefragt wird; ohne Adressen, wen DHCP nennt, oder niemand, wo die Adresse festgelegt ist.",
        ),
        Act::Set(network::dns),
    ),
    row(
        &["network", "hostname"],
        "NAME|-",
        both(
            "Name the machine, as in `network hostname mail.example.com`; `-`: by the system's name, or `mail` in the first domain.",
            "Das Gerät benennen, wie in `network hostname mail.example.com`; `-`: wie das System, oder `mail` in der ersten Domain.",
        ),
        Act::Set(network::hostname),
    ),
    row(
        &["keep"],
        "",
        both(
            "Keep a change of the network or the certificate that is on trial; in a list of commands all is kept.",
            "Eine Änderung des Netzwerks oder des Zertifikats behalten, die auf Probe ist; in einer Liste von Befehlen bleibt alles.",
        ),
        Act::Do(network::keep),
    ),
    row(
        &["time", "show"],
        "",
        both(
            "Show the clock, who is asked for the time, and what was answered; so does time alone.",
            "Die Uhr zeigen, wer nach der Zeit gefragt wird und was geantwortet wurde; ebenso `time` allein.",
        ),
        Act::Do(time::show),
    ),
    row(
        &["time", "server"],
        "SERVER ... | default",
        both(
            "Set who is asked for the time; by default whom DHCP names, or pool.ntp.org.",
            "Festlegen, wer nach der Zeit gefragt wird; sonst, wen DHCP nennt, oder pool.ntp.org.",
        ),
        Act::Set(time::server),
    ),
    row(
        &["time", "sync"],
        "",
        both("Ask a time server now.", "Jetzt einen Zeitserver fragen."),
        Act::Job { first: First::Nothing, ask: time::ask, tell: time::synced },
    ),
    row(
        &["tls", "show"],
        "",
        both(
            "Show the certificate: names, dates, SHA-256; so does tls alone.",
            "Das Zertifikat zeigen: Namen, Daten, SHA-256; ebenso `tls` allein.",
        ),
        Act::Job { first: First::Nothing, ask: certificate::look, tell: certificate::show },
    ),
    row(
        &["tls", "new"],
        "",
        both(
            "Make another key and a self-signed certificate for this machine's name and domains.",
            "Einen anderen Schlüssel machen und ein selbst ausgestelltes Zertifikat für den Namen und die Domains dieses Geräts.",
        ),
        Act::Job { first: First::Nothing, ask: certificate::make, tell: certificate::take },
    ),
    row(
        &["tls", "load"],
        "",
        both(
            "Take the certificates and the key that follow, in PEM, up to a line `end`.",
            "Die Zertifikate und den Schlüssel nehmen, die folgen, in PEM, bis zu einer Zeile `end`.",
        ),
        Act::Job { first: First::Text, ask: certificate::read, tell: certificate::take },
    ),
    row(
        &["load"],
        "",
        both(
            "Take the settings that follow, as `show config` prints them, up to a line `end`. All or none.",
            "Die Einstellungen nehmen, die folgen, wie `show config` sie zeigt, bis zu einer Zeile `end`. Alle oder keine.",
        ),
        Act::Load,
    ),
    row(
        &["undo"],
        "",
        both("Take the last change back.", "Die letzte Änderung zurücknehmen."),
        Act::Job { first: First::Nothing, ask: undo::undo, tell: undo::done },
    ),
    row(
        &["history"],
        "",
        both("Show the last changes with their numbers.", "Die letzten Änderungen mit ihren Nummern zeigen."),
        Act::Do(undo::history),
    ),
    row(
        &["rollback"],
        "N",
        both("Take all changes from number N on back.", "Alle Änderungen ab Nummer N zurücknehmen."),
        Act::Do(undo::rollback),
    ),
    row(
        &["log"],
        "[N]",
        both("Show the last N lines of the server's log.", "Die letzten N Zeilen des Protokolls zeigen."),
        Act::Do(system::log),
    ),
    row(
        &["ping"],
        "HOST",
        both("See whether another machine answers.", "Sehen, ob ein anderer Rechner antwortet."),
        Act::Job { first: First::Nothing, ask: system::ping, tell: system::said },
    ),
    row(
        &["support"],
        "",
        both(
            "Show all that somebody who helps needs, without secrets.",
            "Alles zeigen, was jemand braucht, der hilft, ohne Geheimnisse.",
        ),
        Act::Do(system::support),
    ),
    row(
        &["reboot"],
        "",
        both("Restart the machine.", "Das Gerät neu starten."),
        Act::Job { first: First::HostName, ask: system::reboot, tell: system::stopping },
    ),
    row(
        &["poweroff"],
        "",
        both("Switch the machine off.", "Das Gerät ausschalten."),
        Act::Job { first: First::HostName, ask: system::poweroff, tell: system::stopping },
    ),
    row(
        &["language"],
        "en|de",
        both("Speak English or German here.", "Hier Englisch oder Deutsch sprechen."),
        Act::Set(settings::language),
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
