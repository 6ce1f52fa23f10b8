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

const FORMAT: Choice =
    Choice { name: "--format", value: "FORMAT", times: Times::Maybe, help: "maildir or mbox" };
const FORCE: Choice = Choice {
    name: "--force",
    value: "",
    times: Times::Maybe,
    help: "write over what is there: all mail in it is lost",
};
const JSON: Choice =
    Choice { name: "--json", value: "", times: Times::Maybe, help: "tell the result as JSON, for programs" };

/// Every command.
pub const COMMANDS: [Command; 8] = [
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
            FORCE,
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
            Choice { name: "--idle", value: "SECONDS", times: Times::Maybe, help: "" },
            Choice { name: "--trial", value: "SECONDS", times: Times::Maybe, help: "" },
            Choice { name: "--flush-delay", value: "MS", times: Times::Maybe, help: "" },
        ],
        words: "",
        notes: "Ports: 25 smtp, 465 submissions, 587 submission, 24 lmtp (this machine only),\n\
                110 pop3, 995 pop3s, 143 imap, 993 imaps. With --port-base 10000 IMAP is on 10143 and 10993.\n\
                With --idle SECONDS the console logs out who types nothing for so long; without it, for 900.",
    },
    Command {
        name: "console",
        help: "Look at the settings and change them, while the server runs or not.",
        options: &[
            STORE,
            Choice {
                name: "--whole",
                value: "",
                times: Times::Maybe,
                help: "carry out all commands of standard input, or none of them",
            },
        ],
        words: "[COMMAND ...]",
        notes: "Without a COMMAND: type commands at the prompt, or send a list of them to standard input.\n\
                A password is asked for on a terminal; otherwise it is one line of standard input.\n\
                A list ends at the first failing command, exit status 1; those before it have been carried out.\n\
                With --whole none has, and it is 4: the list is wrong. 1 is then anything else, as no store.\n\
                `postfach console --store PATH help` lists the commands. The first ones to use:\n\
                \x20   domain add example.com\n\
                \x20   mailbox add anna@example.com\n\
                \x20   show client anna@example.com",
    },
    Command {
        name: "check",
        help: "Read the whole store and say what is damaged. Changes nothing, unless told to repair.",
        options: &[
            STORE,
            Choice {
                name: "--repair",
                value: "",
                times: Times::Maybe,
                help: "first write back what is bad and known for certain from elsewhere",
            },
            JSON,
        ],
        words: "",
        notes: "Each line says how bad it is, and what to do about it:\n\
                \x20   harmless: normal after a power failure\n\
                \x20   warning:  nothing is missing, but the medium has lost something\n\
                \x20   SERIOUS:  something that was acknowledged is damaged or missing\n\
                --repair writes bad copies of headers again from the good ones, bad blocks from parity,\n\
                and missing parity. It cuts, drops and guesses nothing: what cannot be made good stays.\n\
                Exit status 0: nothing is SERIOUS; 1: something is, also after a repair;\n\
                3: a server is running on the store.",
    },
    Command {
        name: "export",
        help: "Write mailboxes to a directory as Maildir or mbox, while the server runs or not.",
        options: &[
            STORE,
            FORMAT,
            Choice {
                name: "--all",
                value: "",
                times: Times::Maybe,
                help: "every mailbox; then there is no ADDRESS",
            },
            JSON,
        ],
        words: "ADDRESS DIR",
        notes: "Each mailbox gets its own directory, DIR/ADDRESS: a Maildir++ as Dovecot reads it (the default),\n\
                or one FOLDER.mbox for each folder (mboxrd). Flags, keywords, dates, folders and\n\
                subscriptions are kept. Folder names are in modified UTF-7; `.` in one becomes `\\2e`.\n\
                Messages have LF line ends there, as is usual; one whose line ends are not CRLF throughout\n\
                is written as it is, and import knows it. In an mbox each message gets X-Postfach-Mbox,\n\
                Status, X-Status and X-Keywords in front, which import takes away again.\n\
                Run again, it goes on where it stopped, and brings new messages and flags. It removes nothing.\n\
                Exit status 1: not everything could be written; standard error says what and why.",
    },
    Command {
        name: "import",
        help: "Take a Maildir or mbox into a mailbox, while the server runs or not.",
        options: &[
            STORE,
            FORMAT,
            Choice {
                name: "--into",
                value: "FOLDER",
                times: Times::Maybe,
                help: "put INBOX into this folder, and the others below it",
            },
            JSON,
        ],
        words: "ADDRESS PATH",
        notes: "PATH is a Maildir with or without folders (Maildir++ of Dovecot and Courier, or plain\n\
                directories), an mbox, or a directory of mboxes; which, it sees by itself without --format.\n\
                Folders are made as needed. Flags, keywords and dates are kept (a Maildir's file times, an\n\
                mbox's From lines). Fields in which mbox programs keep flags and lengths (Status,\n\
                X-Status, X-Keywords, X-Mozilla-Status, Content-Length, ...) are not part of the messages.\n\
                A message that is in its folder already, byte for byte, is not taken again: run again, it\n\
                takes only what is missing. Flags of messages that are there stay as they are.\n\
                Exit status 1: something was refused, or the mailbox is full; standard error says what.",
    },
    Command {
        name: "backup",
        help: "Copy the store to a directory, while the server runs or not; again: only what is new.",
        options: &[
            Choice {
                name: "--store",
                value: "PATH",
                times: Times::Maybe,
                help: "the store: a file or a partition",
            },
            Choice {
                name: "--verify",
                value: "",
                times: Times::Maybe,
                help: "read the backup in DIR whole, and say what is damaged; needs no store",
            },
            JSON,
        ],
        words: "DIR",
        notes: "DIR is made if it is not there. It then holds all mail and the store's key: keep it where nobody else reads it.\n\
                A backup that is interrupted leaves the one before it whole; only one at a time writes to DIR. A file that\n\
                --verify has found damaged is copied again by the next backup. Exit status of --verify: as of check.",
    },
    Command {
        name: "restore",
        help: "Make a store of what a backup holds, or bring one mailbox of it into a store that there is.",
        options: &[
            STORE,
            Choice {
                name: "--size",
                value: "SIZE",
                times: Times::Maybe,
                help: "how large: 512M, 1G, ...; also another than the old store's; a partition is taken whole without it",
            },
            FORCE,
            Choice {
                name: "--mailbox",
                value: "ADDRESS",
                times: Times::Maybe,
                help: "only this mailbox's mail, beside what it has in the store now",
            },
        ],
        words: "DIR",
        notes: "Everything is as it was when the backup was made: mailboxes, passwords, folders, UIDs. Mail programs go on as before.\n\
                With --mailbox, while the server runs or not: the mail that ADDRESS has in the backup comes into the\n\
                folder `Restored DATE` (INBOX) and folders below it (`Restored DATE/Sent`) of the same mailbox, with\n\
                flags, keywords and dates. DATE is the day, in UTC, on which DIR's file `manifest` was written. Folders\n\
                without mail are not made. Nothing that is there is changed; run again, it brings only what is missing.\n\
                Exit status 1: a message is damaged in the backup, or the mailbox is full; standard error says what.",
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
