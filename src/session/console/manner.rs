//! How the other side is spoken to: as a script, as a person at a terminal, or for one command; and what each gets when a command is done,
//! has failed, or when the other side has gone.
//!
//! It refuses to know what a command does (`command.rs`).

use super::line::{Editor, Kind};
use super::setup;
use super::text::{Fixed, Text, both, text};
use super::whole::Whole;
use super::{Console, DONE, FAILED, Mode, Waiting};
use crate::session::{Context, Io, Next};

/// The prompt for a command.
const PROMPT: Fixed = both("postfach> ", "postfach> ");

/// Why a text that has not ended is not taken.
const NO_END: Fixed =
    both("there is no line `end`: nothing has been changed", "eine Zeile `end` fehlt: Nichts wurde geändert");

/// What a person reads first.
pub(super) fn greeting() -> Text {
    text!(
        "\nPostfach {0}. `help` lists the commands, `exit` leaves.\n",
        "\nPostfach {0}. `help` zeigt die Befehle, `exit` beendet.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// How the other side of a socket wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Not yet said.
    Unknown,
    Script,
    /// A script that is carried out as a whole, or not at all (`whole.rs`).
    Whole,
    Terminal,
    Command {
        ask: bool,
    },
}

impl Manner {
    /// A person reads this: prompts are shown, and passwords are asked for twice.
    pub(super) fn asks(self) -> bool {
        matches!(self, Manner::Terminal | Manner::Command { ask: true })
    }
}

/// The columns of `typed 80`.
fn columns(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.strip_prefix("typed ")?.parse().ok()
}

impl Console {
    /// The first line of a socket.
    pub(super) fn manner(&mut self, line: &[u8], io: &mut Io) -> Next {
        self.manner = match line {
            b"script" => Manner::Script,
            b"whole" => {
                self.whole = Some(Whole::default());
                Manner::Whole
            }
            b"terminal" => Manner::Terminal,
            b"command" => Manner::Command { ask: false },
            b"command ask" => Manner::Command { ask: true },
            _ => match columns(line) {
                Some(columns) => {
                    self.typed = true;
                    self.editor = Editor::terminal(Some(columns));
                    Manner::Terminal
                }
                None => {
                    self.mark(io, FAILED);
                    self.say(io, "The first line must be `script`, `whole`, `terminal`, `typed COLUMNS`, `command` or `command ask`.\n");
                    return self.close();
                }
            },
        };
        if self.manner == Manner::Terminal {
            self.tell(io, &greeting());
        }
        self.prompt(io)
    }

    /// Asks for a command.
    pub(super) fn prompt(&mut self, io: &mut Io) -> Next {
        self.waiting = Waiting::Command;
        let prompt = if self.manner == Manner::Terminal { PROMPT } else { both("", "") };
        self.want(io, Kind::Command, &prompt)
    }

    /// A command has been carried out: the next one, or the end.
    pub(super) fn after(&mut self, io: &mut Io) -> Next {
        if matches!(self.manner, Manner::Command { .. }) {
            self.mark(io, DONE);
            return self.close();
        }
        self.prompt(io)
    }

    /// A command has failed. It ends a script; a person goes on.
    pub(super) fn fail(&mut self, io: &mut Io, cx: &mut Context<'_>, name: &str, why: &Text) -> Next {
        self.pending = None;
        if self.manner == Manner::Whole {
            return self.refuse_whole(name, why, io);
        }
        let colon = if name.is_empty() { "" } else { ": " };
        self.mark(io, FAILED);
        if self.manner == Manner::Script {
            self.tell(io, &text!("line {}: ", "Zeile {}: ", self.lines));
        }
        self.say(io, &format!("{name}{colon}{}\n", why.of(self.language)));
        match self.manner {
            Manner::Terminal if self.mode == Mode::Serial && self.admin.is_none() => self.log_in(io, cx),
            Manner::Terminal => self.prompt(io),
            _ => self.close(),
        }
    }

    /// Ctrl-D on an empty line. What it breaks off has done nothing, and says so.
    pub(super) fn end(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let why = match self.waiting {
            Waiting::Lines(_) => Some(NO_END.into()),
            Waiting::Question { .. } => {
                Some(setup::unanswered().and(both(": nothing has been changed", ": Nichts wurde geändert")))
            }
            Waiting::Password { .. } if self.pending.is_some() => Some(text!(
                "there is no password: nothing has been changed",
                "das Passwort fehlt: Nichts wurde geändert"
            )),
            _ => None,
        };
        if let Some(why) = why {
            self.tell(io, &why.and(both("\n", "\n")));
        }
        self.leave(io, cx)
    }

    /// The other side has closed its side: the end of a script, or a command without its password.
    pub(super) fn eof(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if self.typed {
            self.mark(io, DONE);
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
                if !matches!(self.manner, Manner::Script | Manner::Whole) {
                    self.manner = Manner::Command { ask: false };
                }
                self.fail(
                    io,
                    cx,
                    &name,
                    &text!(
                        "there is no password on standard input: nothing has been changed",
                        "auf der Standardeingabe ist kein Passwort: Nichts wurde geändert"
                    ),
                )
            }
            Waiting::Question { .. } => self.fail(io, cx, "setup", &setup::unanswered()),
            Waiting::Lines(_) => self.fail(io, cx, "", &NO_END.into()),
            _ => self.leave(io, cx),
        }
    }
}
