//! The console: the owner's language, on the console's socket, in the offline console and on the serial line.
//!
//! It refuses to know what the commands do ([`table`] does) and how lines are edited ([`line`] does). It decides when a command is read,
//! when a password, and what happens when a command fails.
//!
//! # The conversation on the console's socket
//! The client's first line says how it wants to be spoken to ([`Manner`]):
//!
//! ```text
//! first-line = ( "script" / "terminal" / "command" / "command ask" ) LF
//! script     a list of commands: no greeting, no prompts; the first failing command is named with its line and ends the conversation
//! terminal   a person: greeting, prompts, passwords asked twice; a failing command is told and the conversation goes on
//! command    one command; "ask": a person types its password, twice
//! ```
//!
//! Then both sides take turns. What the server says is UTF-8 text whose only control character is LF, except for these marks:
//!
//! ```text
//! WANT-LINE   %x05  send the next line
//! WANT-SECRET %x0E  send the next line; it is a password: a terminal turns its echo off
//! FAILED      %x15  a command has failed; the text up to the next LF says which and why
//! DONE        %x04  all is well and said; the conversation ends
//! ```
//!
//! The client sends one line (LF, or CR LF) for each WANT, or closes its side. A conversation that ends without FAILED or DONE was cut:
//! the last command may or may not have been carried out. Everything that is said, marks included, is said after the change it speaks of is durable.
//!
//! # The serial line
//! Nothing but a password is taken before the administrator has logged in; without an administrator's password the first thing is to set one.
//! A terminal there is dumb: what is typed is echoed by us, and every byte may be noise.

use std::fmt::Write as _;

use super::{Context, Farewell, Input, Io, Next, SecretAnswer, SecretJob, Session};
use crate::limits::CONSOLE_IDLE_SECONDS;
use crate::store::Draft;

mod certificate;
mod change;
mod facts;
mod help;
pub mod line;
mod login;
mod network;
mod settings;
mod setup;
mod show;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod undo;
mod words;

pub use facts::{Answered, ClockFacts, Facts, Machine, MemoryGauge, Mode, NetworkFacts, ServersFrom};

use change::{Text, UnderWay};
use line::{Editor, Event};
use table::{Act, Failure, Row};
use words::Secret;

/// Mark: the server waits for a line.
pub const WANT_LINE: u8 = 0x05;
/// Mark: the server waits for a password.
pub const WANT_SECRET: u8 = 0x0e;
/// Mark: the rest of this line says which command has failed, and why.
pub const FAILED: u8 = 0x15;
/// Mark: the conversation ends well.
pub const DONE: u8 = 0x04;

/// The prompt for a command.
const PROMPT: &str = "postfach> ";

/// How the other side of a socket wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Not yet said.
    Unknown,
    Script,
    Terminal,
    Command {
        ask: bool,
    },
}

impl Manner {
    /// A person reads this: prompts are shown, and passwords are asked for twice.
    fn asks(self) -> bool {
        matches!(self, Manner::Terminal | Manner::Command { ask: true })
    }
}

/// What the session waits for.
enum Waiting {
    /// The first line of the socket.
    Manner,
    /// The administrator's password.
    Login,
    /// A command.
    Command,
    /// The answer to a question of a command's.
    Question { row: &'static Row, answers: Vec<String> },
    /// A password, for the first time or again.
    Password { first: Option<Vec<u8>> },
    /// The answer to a job: a login, or the command under way.
    Secret { login: bool },
    /// A line of a text, or its end.
    Text(Text),
    /// The machine's name, as a confirmation.
    HostName { row: &'static Row, arguments: Vec<String> },
    /// The answer to a job of serve's.
    Job(UnderWay),
    /// The end of the pause after a wrong password.
    Pause,
    /// The end of the conversation.
    End,
}

/// A command that waits for its password.
struct Pending {
    row: &'static Row,
    arguments: Vec<String>,
}

/// The console's session.
pub struct Console {
    mode: Mode,
    facts: Facts,
    manner: Manner,
    waiting: Waiting,
    editor: Editor,
    /// Lines read so far, for naming the failing one.
    lines: u32,
    /// The command under way, when it waits for a password; the administrator's first password has none.
    pending: Option<Pending>,
    /// What the command under way has changed so far.
    draft: Option<Draft>,
    /// Wrong passwords since the last right one.
    failures: u32,
    /// The hash the administrator logged in against: when it changes elsewhere, this login ends.
    admin: Option<String>,
}

impl Console {
    /// A console on a line of this kind.
    pub fn new(mode: Mode, facts: impl Into<Facts>) -> Console {
        let (manner, waiting) = match mode {
            Mode::Socket => (Manner::Unknown, Waiting::Manner),
            Mode::Script => (Manner::Script, Waiting::Command),
            Mode::Serial => (Manner::Terminal, Waiting::Manner),
        };
        Console {
            mode,
            facts: facts.into(),
            manner,
            waiting,
            editor: Editor::new(mode == Mode::Serial),
            lines: 0,
            pending: None,
            draft: None,
            failures: 0,
            admin: None,
        }
    }

    /// Says text: control characters are shown and not sent, and only a socket's lines end in LF alone.
    fn say(&self, io: &mut Io, text: &str) {
        for letter in text.chars() {
            match letter {
                '\n' if self.mode != Mode::Socket => io.out.extend_from_slice(b"\r\n"),
                '\n' => io.out.push(b'\n'),
                letter if line::printable(letter) => {
                    io.out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                letter => io.out.extend(letter.escape_default().map(|ascii| ascii as u8)),
            }
        }
    }

    /// Marks are for programs; a serial line has a person.
    fn mark(&self, io: &mut Io, mark: u8) {
        if self.mode == Mode::Socket {
            io.out.push(mark);
        }
    }

    fn read(&self) -> Next {
        Next::Read { seconds: CONSOLE_IDLE_SECONDS }
    }

    /// Ends the conversation, or on a serial line the login.
    fn leave(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if self.mode == Mode::Serial {
            return self.log_in(io, cx);
        }
        self.mark(io, DONE);
        self.close()
    }

    fn close(&mut self) -> Next {
        self.waiting = Waiting::End;
        Next::Close
    }

    fn prompt(&mut self, io: &mut Io) -> Next {
        self.waiting = Waiting::Command;
        if self.manner == Manner::Terminal {
            self.say(io, PROMPT);
        }
        self.want(io, WANT_LINE)
    }

    fn ask_password(&mut self, io: &mut Io, first: Option<Vec<u8>>) -> Next {
        if self.manner.asks() {
            self.say(io, if first.is_some() { "The same again: " } else { "New password: " });
        }
        self.waiting = Waiting::Password { first };
        self.want(io, WANT_SECRET)
    }

    fn want(&mut self, io: &mut Io, mark: u8) -> Next {
        self.mark(io, mark);
        self.editor.start(mark == WANT_LINE);
        self.read()
    }

    /// Takes what lies in the inbox until something must be waited for.
    fn take(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        while let Some(event) = self.editor.take(&mut io.inbox, &mut io.out) {
            let next = match event {
                Event::Line(line) => self.line(line, io, cx),
                Event::TooLong => self.too_long(io, cx),
                Event::Interrupt => self.interrupt(io, cx),
                Event::End => self.leave(io, cx),
            };
            if !matches!(next, Next::Read { .. }) || io.out.len() >= crate::limits::OUT_BYTES {
                return if matches!(next, Next::Read { .. }) { Next::Send } else { next };
            }
        }
        self.read()
    }

    fn too_long(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.lines += 1;
        let why = format!("a line has at most {} bytes", line::LINE_BYTES_MAX);
        self.pending = None;
        match self.waiting {
            Waiting::Manner => self.close(),
            Waiting::Text(_) => self.text_line(None, io, cx),
            _ => self.fail(io, cx, "", &why),
        }
    }

    /// Ctrl-C: what was being typed is dropped.
    fn interrupt(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.pending = None;
        match self.waiting {
            Waiting::Command
            | Waiting::Question { .. }
            | Waiting::Password { .. }
            | Waiting::Text(_)
            | Waiting::HostName { .. }
                if self.admin.is_some() =>
            {
                self.prompt(io)
            }
            _ => self.log_in(io, cx),
        }
    }

    fn line(&mut self, bytes: Vec<u8>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match std::mem::replace(&mut self.waiting, Waiting::End) {
            Waiting::Manner => self.manner(&bytes, io),
            Waiting::Login => self.login(bytes, io, cx),
            Waiting::Password { first } => self.password(bytes, first, io, cx),
            waiting => {
                self.lines += 1;
                if self.mode == Mode::Serial && cx.store().settings().admin != self.admin {
                    self.say(io, "The administrator's password has been changed: log in again.\n");
                    return self.log_in(io, cx);
                }
                match waiting {
                    Waiting::Question { row, answers } => self.take_answer(&bytes, row, answers, io, cx),
                    Waiting::HostName { row, arguments } => self.confirm(&bytes, row, arguments, io, cx),
                    text @ Waiting::Text(_) => {
                        self.waiting = text;
                        self.text_line(Some(&bytes), io, cx)
                    }
                    _ => self.command(&bytes, io, cx),
                }
            }
        }
    }

    fn manner(&mut self, line: &[u8], io: &mut Io) -> Next {
        self.manner = match line {
            b"script" => Manner::Script,
            b"terminal" => Manner::Terminal,
            b"command" => Manner::Command { ask: false },
            b"command ask" => Manner::Command { ask: true },
            _ => {
                self.mark(io, FAILED);
                self.say(io, "The first line must be `script`, `terminal`, `command` or `command ask`.\n");
                return self.close();
            }
        };
        if self.manner == Manner::Terminal {
            self.say(io, GREETING);
        }
        self.prompt(io)
    }

    fn command(&mut self, line: &[u8], io: &mut Io, cx: &mut Context<'_>) -> Next {
        let Ok(text) = std::str::from_utf8(line) else {
            return self.fail(io, cx, "", "the line is not UTF-8 text");
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            return self.after(io);
        }
        if words.last() == Some(&"?") {
            // `mailbox ?` is `help mailbox`.
            words.pop();
            words.insert(0, "help");
        }
        let (row, arguments) = match words::find(&words) {
            Ok(found) => found,
            Err(why) => return self.fail(io, cx, "", &why),
        };
        self.run(row, arguments, io, cx)
    }

    fn run(&mut self, row: &'static Row, arguments: &[&str], io: &mut Io, cx: &mut Context<'_>) -> Next {
        let name = words::shown(row, arguments);
        let mut out = String::new();
        self.draft = None;
        self.facts.refresh();
        let result = match &row.act {
            Act::Load | Act::Job { .. } => return self.begin(row, arguments, io, cx),
            Act::Exit => return self.leave(io, cx),
            Act::Ask { .. } if !arguments.is_empty() => {
                Err(Failure::Usage(String::from("it takes no words")))
            }
            Act::Ask { .. } => return self.ask(row, Vec::new(), io, cx),
            Act::Do(run) | Act::Set(run) => run(arguments, &mut self.call(cx, &mut out)),
            Act::WithPassword { check, .. } => {
                let (arguments, secret) = match words::secret(arguments) {
                    Ok(parts) => parts,
                    Err(why) => return self.fail(io, cx, &name, &why),
                };
                match check(&arguments, &mut self.call(cx, &mut out)) {
                    Ok(()) => return self.secret(row, arguments, secret, io, cx),
                    Err(failure) => Err(failure),
                }
            }
        };
        self.result(row, &name, result, &out, io, cx)
    }

    /// Gets the password that the command needs.
    fn secret(
        &mut self,
        row: &'static Row,
        arguments: Vec<&str>,
        secret: Secret<'_>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let arguments = arguments.into_iter().map(String::from).collect();
        self.pending = Some(Pending { row, arguments });
        match secret {
            Secret::Ask => self.ask_password(io, None),
            Secret::Generate => {
                self.waiting = Waiting::Secret { login: false };
                Next::Secret(SecretJob::Generate)
            }
            Secret::Hash(phc) => self.set(String::from(phc), None, io, cx),
        }
    }

    fn password(&mut self, line: Vec<u8>, first: Option<Vec<u8>>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.lines += 1;
        let refused = match &first {
            Some(first) if *first != line => {
                Some("the two passwords are not the same: nothing has been changed")
            }
            Some(_) => None,
            None if line.is_empty() => Some("the password is empty: nothing has been changed"),
            None if std::str::from_utf8(&line).is_err() => Some("the password is not UTF-8 text"),
            None => None,
        };
        if let Some(why) = refused {
            let name = self.pending_name();
            return self.fail(io, cx, &name, why);
        }
        if first.is_none() && self.manner.asks() {
            return self.ask_password(io, Some(line));
        }
        self.waiting = Waiting::Secret { login: false };
        Next::Secret(SecretJob::Make { password: line })
    }

    fn pending_name(&self) -> String {
        match &self.pending {
            Some(pending) => words::shown(pending.row, &pending.arguments),
            None => String::from("admin passwd"),
        }
    }

    fn answer(&mut self, answer: SecretAnswer, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let login = matches!(self.waiting, Waiting::Secret { login: true });
        match answer {
            SecretAnswer::Checked(true) if login => {
                self.failures = 0;
                self.say(io, GREETING);
                self.prompt(io)
            }
            SecretAnswer::Checked(_) => self.wrong(),
            SecretAnswer::Busy if login => {
                self.say(io, "The server is busy: try again.\n");
                self.log_in(io, cx)
            }
            SecretAnswer::Busy => {
                let name = self.pending_name();
                self.fail(io, cx, &name, "the server is busy: try again")
            }
            SecretAnswer::Made { phc } => self.set(phc, None, io, cx),
            SecretAnswer::Generated { password, phc } => self.set(phc, Some(password), io, cx),
        }
    }

    /// Carries the command out whose password is there.
    fn set(&mut self, phc: String, generated: Option<String>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let name = self.pending_name();
        let Some(Pending { row, arguments }) = self.pending.take() else {
            return self.set_first(phc, io, cx);
        };
        let (Act::WithPassword { set, .. } | Act::Ask { set }) = &row.act else { return self.after(io) };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut out = String::new();
        let result = set(&arguments, phc, &mut self.call(cx, &mut out));
        if let (Ok(()), Some(password)) = (&result, generated) {
            // A String takes whatever is written to it.
            let _ = writeln!(out, "Its password is shown only this once.\nPassword: {password}");
        }
        self.result(row, &name, result, &out, io, cx)
    }

    fn result(
        &mut self,
        row: &'static Row,
        name: &str,
        result: Result<(), Failure>,
        out: &str,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let draft = self.draft.take();
        match result {
            Ok(()) => {
                if let Some(draft) = draft {
                    return self.change(row, name, draft, out, io, cx);
                }
                self.remember_admin(row, cx);
                self.say(io, out);
                self.after(io)
            }
            Err(Failure::Refused(why)) => self.fail(io, cx, name, &why),
            Err(Failure::Usage(why)) => {
                let why = format!("{why}; it is: {}", row.usage());
                self.fail(io, cx, name, &why)
            }
        }
    }

    /// A command has been carried out: the next one, or the end.
    fn after(&mut self, io: &mut Io) -> Next {
        if matches!(self.manner, Manner::Command { .. }) {
            self.mark(io, DONE);
            return self.close();
        }
        self.prompt(io)
    }

    /// A command has failed. It ends a script; a person goes on.
    fn fail(&mut self, io: &mut Io, cx: &mut Context<'_>, name: &str, why: &str) -> Next {
        self.pending = None;
        let colon = if name.is_empty() { "" } else { ": " };
        let text = match self.manner {
            Manner::Script => format!("line {}: {name}{colon}{why}\n", self.lines),
            _ => format!("{name}{colon}{why}\n"),
        };
        self.mark(io, FAILED);
        self.say(io, &text);
        match self.manner {
            Manner::Terminal if self.mode == Mode::Serial && self.admin.is_none() => self.log_in(io, cx),
            Manner::Terminal => self.prompt(io),
            _ => self.close(),
        }
    }

    fn timeout(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match self.waiting {
            Waiting::Pause => {
                // What was typed during the pause is no answer to what is asked after it.
                io.inbox.clear();
                self.say(io, "Wrong password.\n");
                self.log_in(io, cx)
            }
            _ if self.mode != Mode::Serial => self.close(),
            _ if self.admin.is_some() => {
                self.say(io, "\nLogged out: nothing was typed for a while.\n");
                self.log_in(io, cx)
            }
            // Nobody has logged in: forget what noise has left, without a word.
            _ => {
                self.waiting = match std::mem::replace(&mut self.waiting, Waiting::End) {
                    Waiting::Password { .. } => Waiting::Password { first: None },
                    other => other,
                };
                self.editor.start(false);
                self.read()
            }
        }
    }

    /// The other side has closed its side: the end of a script, or a command without its password.
    fn eof(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if self.mode == Mode::Serial {
            return self.close();
        }
        if let Some(line) = self.editor.rest() {
            // The last line of a script may lack its end.
            let next = self.line(line, io, cx);
            if !matches!(next, Next::Read { .. }) {
                return next;
            }
        }
        match self.waiting {
            Waiting::Password { .. } => {
                let name = self.pending_name();
                self.manner = if self.manner == Manner::Script {
                    Manner::Script
                } else {
                    Manner::Command { ask: false }
                };
                self.fail(io, cx, &name, "there is no password on standard input: nothing has been changed")
            }
            Waiting::Question { .. } => self.fail(io, cx, "setup", "not all questions were answered"),
            Waiting::Text(_) => self.fail(io, cx, "", "there is no line `end`: nothing has been changed"),
            _ => self.leave(io, cx),
        }
    }
}

/// What a person reads first.
const GREETING: &str =
    concat!("\nPostfach ", env!("CARGO_PKG_VERSION"), ". `help` lists the commands, `exit` leaves.\n");

impl Session for Console {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match input {
            Input::Start if self.mode == Mode::Serial => {
                let banner = format!("\nPostfach {} on {}\n", env!("CARGO_PKG_VERSION"), cx.host);
                self.say(io, &banner);
                self.log_in(io, cx)
            }
            Input::Secret(answer) => match self.answer(answer, io, cx) {
                Next::Read { .. } => self.take(io, cx),
                next => next,
            },
            Input::Job(answer) => match self.job_done(answer, io, cx) {
                Next::Read { .. } => self.take(io, cx),
                next => next,
            },
            Input::Timeout => self.timeout(io, cx),
            Input::Eof => self.eof(io, cx),
            _ => self.take(io, cx),
        }
    }

    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>) {
        let text = match why {
            Farewell::Shutdown => "the server is stopping",
            Farewell::NotStored => {
                "the change could not be written to the store and has not been made; `status` says more"
            }
            Farewell::Defect => "a defect of this program has ended the console; the log says more",
            Farewell::Busy => "too many consoles are open",
        };
        let mut io = Io::default();
        self.mark(&mut io, FAILED);
        self.say(&mut io, &format!("{text}\n"));
        out.append(&mut io.out);
    }
}
