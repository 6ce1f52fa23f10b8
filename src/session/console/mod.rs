//! The console: the owner's language, on the console's socket, in the offline console and on the serial line.
//!
//! It refuses to know what the commands do ([`table`] does), how lines are edited ([`line`] does), how a command gets its password
//! (`command.rs`) and who is spoken to in which manner (`manner.rs`). It decides what the bytes that come are an answer to.
//!
//! # The conversation on the console's socket
//! The client's first line says how it wants to be spoken to (`manner.rs`):
//!
//! ```text
//! first-line = ( "script" / "whole" / "terminal" / "typed" SP columns / "command" / "command ask" ) LF
//! script     a list of commands: no greeting, no prompts; the first failing command is named with its line and ends the conversation
//! whole      the same, but all commands are one change: when one fails, none is carried out, and the conversation ends with FAILED and DONE
//! terminal   a person: greeting, prompts, passwords asked twice; a failing command is told and the conversation goes on
//! typed      a person at a terminal of so many columns, whose every key is sent and which shows what is sent back: as on a serial
//!            line, lines are edited and echoed here; of the marks only DONE is sent
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
//! A terminal there is dumb: what is typed is edited and echoed by us ([`line`]), and every byte may be noise.

use super::{Context, Farewell, Input, Io, Next, Session};
use crate::limits::CONSOLE_IDLE_SECONDS;
use crate::store::Draft;
use crate::types::Language;

mod certificate;
mod change;
mod check;
mod command;
mod complete;
mod damage;
mod facts;
mod grammar;
mod help;
mod history;
mod keys;
pub mod line;
mod login;
mod manner;
mod network;
mod say;
mod settings;
mod setup;
mod show;
mod system;
mod table;
#[cfg(test)]
mod tests;
pub mod text;
mod time;
mod typed;
mod undo;
mod wear;
mod whole;
mod words;

pub use facts::{
    Answered, ClockFacts, Facts, HostName, Machine, MemoryGauge, Mode, NetworkFacts, ServersFrom, Spare,
    StoreFacts, WearFacts,
};
pub use keys::LOST;
pub use login::Attempts;

use change::{Lines, UnderWay};
use command::Pending;
use line::{Editor, Event, Kind};
use manner::Manner;
use table::Row;
use text::{Fixed, Text, both, text};
use whole::Whole;

/// Mark: the server waits for a line.
pub const WANT_LINE: u8 = 0x05;
/// Mark: the server waits for a password.
pub const WANT_SECRET: u8 = 0x0e;
/// Mark: the rest of this line says which command has failed, and why.
pub const FAILED: u8 = 0x15;
/// Mark: the conversation ends well.
pub const DONE: u8 = 0x04;

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
    Lines(Lines),
    /// The machine's name, as a confirmation.
    HostName { row: &'static Row, arguments: Vec<String> },
    /// The answer to a job of serve's.
    Job(UnderWay),
    /// The end of the pause after a wrong password; whether it has been told why.
    Pause { told: bool },
    /// The end of the conversation.
    End,
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
    /// What the command under way has changed so far; of a list that holds as a whole, what all of it has.
    draft: Option<Draft>,
    /// Of such a list, what is to be said when all of it is done.
    whole: Option<Whole>,
    /// Every key is sent, and what we send is shown: a line is edited here.
    typed: bool,
    /// The line as it was when `?` was the last key.
    asked: Option<String>,
    /// The box's language, or the one that has just been answered.
    language: Language,
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
            editor: if mode == Mode::Serial { Editor::terminal(None) } else { Editor::program() },
            lines: 0,
            pending: None,
            draft: None,
            whole: None,
            typed: mode == Mode::Serial,
            asked: None,
            language: Language::default(),
            admin: None,
        }
    }

    /// Says text: control characters are shown and not sent, and only lines for a program end in LF alone.
    fn say(&self, io: &mut Io, text: &str) {
        let crlf = self.typed || self.mode != Mode::Socket;
        for letter in text.chars() {
            match letter {
                '\n' if crlf => io.out.extend_from_slice(b"\r\n"),
                '\n' => io.out.push(b'\n'),
                letter if line::printable(letter) => {
                    io.out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                letter => io.out.extend(letter.escape_default().map(|ascii| ascii as u8)),
            }
        }
    }

    /// Says text in the box's language.
    fn tell(&self, io: &mut Io, text: &Text) {
        self.say(io, text.of(self.language));
    }

    /// Marks are for programs; a serial line has a person.
    fn mark(&self, io: &mut Io, mark: u8) {
        if self.mode == Mode::Socket && (!self.typed || mark == DONE) {
            io.out.push(mark);
        }
    }

    fn read(&self) -> Next {
        Next::Read { seconds: self.facts.idle_seconds.unwrap_or(CONSOLE_IDLE_SECONDS) }
    }

    /// Ends the conversation, or on a serial line the login.
    fn leave(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if self.mode == Mode::Serial {
            return self.log_in(io, cx);
        }
        if let Some(whole) = self.whole.take() {
            return self.finish(&whole, io, cx);
        }
        self.mark(io, DONE);
        self.close()
    }

    fn close(&mut self) -> Next {
        self.waiting = Waiting::End;
        Next::Close
    }

    /// Waits for a line of this kind; a person sees the prompt.
    fn want<S: AsRef<str>>(&mut self, io: &mut Io, kind: Kind, prompt: &Text<S>) -> Next {
        let prompt = prompt.of(self.language);
        self.say(io, prompt);
        self.mark(io, if kind == Kind::Secret { WANT_SECRET } else { WANT_LINE });
        self.editor.start(kind, prompt);
        self.read()
    }

    /// Takes what lies in the inbox until something must be waited for.
    fn take(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if matches!(self.waiting, Waiting::Pause { .. }) {
            return self.go_on_waiting(io, cx);
        }
        while let Some(event) = self.editor.take(&mut io.inbox, &mut io.out) {
            let next = match event {
                Event::Line(line) => self.line(line, io, cx),
                Event::TooLong => {
                    let most = line::LINE_BYTES_MAX;
                    let why =
                        text!("a line has at most {most} bytes", "eine Zeile hat höchstens {most} Bytes");
                    self.no_line(&why, io, cx)
                }
                Event::Lost => self.no_line(&LOST_LINE.into(), io, cx),
                Event::Noise => self.no_line(&NOISY_LINE.into(), io, cx),
                // What is known here is no longer told; Enter says why.
                Event::Complete { .. } | Event::Question if self.is_no_longer_admin(cx) => self.read(),
                Event::Complete { again } => self.complete(again, io, cx),
                Event::Question => self.question(io, cx),
                Event::Interrupt => self.interrupt(io, cx),
                Event::End => self.end(io, cx),
            };
            if !matches!(next, Next::Read { .. }) || io.out.len() >= crate::limits::OUT_BYTES {
                return if matches!(next, Next::Read { .. }) { Next::Send } else { next };
            }
        }
        self.read()
    }

    /// A line has come that cannot be taken: nobody may believe that it was.
    fn no_line(&mut self, why: &Text, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.lines += 1;
        self.pending = None;
        match self.waiting {
            Waiting::Manner => self.close(),
            Waiting::Lines(_) => self.text_line(Err(why), io, cx),
            _ => self.fail(io, cx, "", why),
        }
    }

    /// Ctrl-C: what was being typed is dropped.
    fn interrupt(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.pending = None;
        if self.mode == Mode::Serial && self.admin.is_none() {
            return self.log_in(io, cx);
        }
        self.prompt(io)
    }

    /// Somebody else has changed the administrator's password since this login.
    fn is_no_longer_admin(&self, cx: &mut Context<'_>) -> bool {
        self.mode == Mode::Serial && cx.store().settings().admin != self.admin
    }

    fn line(&mut self, bytes: Vec<u8>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match std::mem::replace(&mut self.waiting, Waiting::End) {
            Waiting::Manner => {
                self.language = cx.store().settings().language;
                self.manner(&bytes, io)
            }
            Waiting::Login => self.login(bytes, io, cx),
            Waiting::Password { first } => self.password(bytes, first, io, cx),
            waiting => {
                self.lines += 1;
                if self.is_no_longer_admin(cx) {
                    self.tell(
                        io,
                        &text!(
                            "The administrator's password has been changed: log in again.\n",
                            "Das Administrator-Passwort wurde geändert: Melden Sie sich neu an.\n"
                        ),
                    );
                    return self.log_in(io, cx);
                }
                match waiting {
                    Waiting::Question { row, answers } => self.take_answer(&bytes, row, answers, io, cx),
                    Waiting::HostName { row, arguments } => self.confirm(&bytes, row, arguments, io, cx),
                    lines @ Waiting::Lines(_) => {
                        self.waiting = lines;
                        self.text_line(Ok(&bytes), io, cx)
                    }
                    _ => self.command(&bytes, io, cx),
                }
            }
        }
    }

    fn timeout(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match self.waiting {
            Waiting::Pause { told } => {
                io.inbox.clear();
                if !told {
                    self.tell(io, &text!("Wrong password.\n", "Falsches Passwort.\n"));
                }
                self.facts.attempts.waited();
                self.log_in(io, cx)
            }
            _ if !self.typed => self.close(),
            _ if self.mode != Mode::Serial || self.admin.is_some() => {
                self.tell(
                    io,
                    &text!(
                        "\nLogged out: nothing was typed for a while.\n",
                        "\nAbgemeldet: Eine Weile wurde nichts eingegeben.\n"
                    ),
                );
                self.leave(io, cx)
            }
            // Nobody has logged in: forget what noise has left, without a word.
            _ => {
                self.waiting = match std::mem::replace(&mut self.waiting, Waiting::End) {
                    Waiting::Password { .. } => Waiting::Password { first: None },
                    other => other,
                };
                self.editor.start(Kind::Secret, "");
                self.read()
            }
        }
    }
}

/// Why a line with a gap is not taken.
const LOST_LINE: Fixed = both(
    "some of what was sent has not arrived: this line is dropped, and lines before it may be missing",
    "ein Teil des Gesendeten ist nicht angekommen: Diese Zeile entfällt, und Zeilen davor können fehlen",
);
/// Why a line with noise in it is not taken.
const NOISY_LINE: Fixed = both(
    "there was noise on the line: what was typed is dropped",
    "die Leitung war gestört: Die Eingabe entfällt",
);

impl Session for Console {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match input {
            Input::Start if self.mode == Mode::Serial => {
                self.language = cx.store().settings().language;
                let (version, host) = (env!("CARGO_PKG_VERSION"), cx.host);
                self.tell(
                    io,
                    &text!("\nPostfach {version} on {host}\n", "\nPostfach {version} auf {host}\n"),
                );
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
            Farewell::Shutdown => both("the server is stopping", "der Server wird beendet"),
            Farewell::NotStored => both(
                "the change could not be written to the store and has not been made; `status` says more",
                "die Änderung konnte nicht gespeichert werden und gilt nicht; mehr sagt `status`",
            ),
            Farewell::Defect => both(
                "a defect of this program has ended the console; the log says more",
                "ein Fehler dieses Programms hat die Konsole beendet; mehr sagt das Protokoll",
            ),
            Farewell::Busy => both("too many consoles are open", "zu viele Konsolen sind offen"),
        };
        let mut io = Io::default();
        self.mark(&mut io, FAILED);
        self.say(&mut io, &format!("{}\n", text.of(self.language)));
        out.append(&mut io.out);
    }
}
