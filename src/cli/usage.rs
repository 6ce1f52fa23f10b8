//! The table of commands and their options; help is made from it, and the parser reads it.

use std::fmt::Write as _;

/// A command of the program.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Its options.
    pub options: &'static [Choice],
    /// What follows the options, as usage shows it.
    pub words: &'static str,
    /// What else a person should know.
    pub notes: &'static str,
}

/// An option.
#[derive(Debug)]
pub struct Choice {
    /// With its dashes.
    pub name: &'static str,
    /// What its value is called; empty: it has none.
    pub value: &'static str,
    /// How often.
    pub times: Times,
    /// One clause; empty: it is not shown.
    pub help: &'static str,
}

/// How often an option may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once, and it must be.
    One,
    /// Once or not at all.
    Maybe,
    /// Any number of times.
    Many,
}

const STORE: Choice =
    Choice { name: "--store", value: "PATH", times: Times::One, help: "the store: a file or a partition" };

/// Every command.
pub const COMMANDS: [Command; 4] = [
    Command {
        name: "format",
        help: "Make an empty store.",
        options: &[
            STORE,
            Choice {
                name: "--size",
                value: "SIZE",
                times: Times::Maybe,
                help: "how large: 512M, 1G, ...; a partition is taken whole without it",
            },
            Choice {
                name: "--force",
                value: "",
                times: Times::Maybe,
                help: "write over what is there: all mail in it is lost",
            },
        ],
        words: "",
        notes: "A store cannot grow later. A file takes space on the disk only as mail comes in.",
    },
    Command {
        name: "serve",
        help: "Serve mail until SIGTERM or Ctrl-C.",
        options: &[
            STORE,
            Choice {
                name: "--bind",
                value: "ADDR",
                times: Times::Many,
                help: "listen on this address only; may be given again (default: all)",
            },
            Choice {
                name: "--port-base",
                value: "N",
                times: Times::Maybe,
                help: "add N to every port number (default: 0)",
            },
            Choice {
                name: "--serial",
                value: "DEVICE",
                times: Times::Maybe,
                help: "also speak the console's language on this serial line",
            },
            Choice {
                name: "--board",
                value: "PROGRAM",
                times: Times::Maybe,
                help: "this is a box: PROGRAM sets its network up, its clock is ours",
            },
            Choice { name: "--flush-delay", value: "MS", times: Times::Maybe, help: "" },
        ],
        words: "",
        notes: "Ports: 25 smtp, 465 submissions, 587 submission, 24 lmtp (this machine only),\n\
                110 pop3, 995 pop3s, 143 imap, 993 imaps. With --port-base 10000 IMAP is on 10143 and 10993.",
    },
    Command {
        name: "console",
        help: "Look at the settings and change them, while the server runs or not.",
        options: &[STORE],
        words: "[COMMAND ...]",
        notes: "Without a COMMAND: type commands at the prompt, or send a list of them to standard input.\n\
                A password is asked for on a terminal; otherwise it is one line of standard input.\n\
                `postfach console --store PATH help` lists the commands. The first ones to use:\n\
                \x20   domain add example.com\n\
                \x20   mailbox add anna@example.com\n\
                \x20   show client anna@example.com",
    },
    Command {
        name: "check",
        help: "Read the whole store and say what is damaged. Changes nothing.",
        options: &[
            STORE,
            Choice { name: "--json", value: "", times: Times::Maybe, help: "tell it as JSON, for programs" },
        ],
        words: "",
        notes: "Exit status 0: nothing that was acknowledged is damaged or missing; 1: something is;\n\
                3: a server is running on the store.",
    },
];

impl Command {
    /// The command on one line.
    pub fn usage(&self) -> String {
        let mut line = format!("postfach {}", self.name);
        for choice in self.options.iter().filter(|choice| !choice.help.is_empty()) {
            let text = choice.text();
            // A String takes whatever is written to it.
            let _ = match choice.times {
                Times::One => write!(line, " {text}"),
                Times::Maybe => write!(line, " [{text}]"),
                Times::Many => write!(line, " [{text}]..."),
            };
        }
        if !self.words.is_empty() {
            line.push(' ');
            line.push_str(self.words);
        }
        line
    }

    /// What `--help` says of it.
    pub fn help(&self) -> String {
        let mut text = format!("{}\n\n  {}\n\n", self.help, self.usage());
        for choice in self.options.iter().filter(|choice| !choice.help.is_empty()) {
            // A String takes whatever is written to it.
            let _ = writeln!(text, "  {:<17} {}", choice.text(), choice.help);
        }
        text + "\n" + self.notes + "\n"
    }
}

impl Choice {
    fn text(&self) -> String {
        if self.value.is_empty() { String::from(self.name) } else { format!("{} {}", self.name, self.value) }
    }
}

/// What `postfach --help` says.
pub fn help() -> String {
    let mut text = format!(
        "Postfach {}: the mail box of a small office, by SMTP, POP3 and IMAP, in one process.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for command in &COMMANDS {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "  {}\n      {}", command.usage(), command.help);
    }
    text + "\n`postfach help COMMAND` says more of each. To begin:\n\n\
            \x20 postfach format --store mail.store --size 1G\n\
            \x20 postfach console --store mail.store domain add example.com\n\
            \x20 postfach console --store mail.store mailbox add anna@example.com\n\
            \x20 postfach serve --store mail.store\n"
}
