//! A command, from its line to what it has to say: it is found in the table, its password is got where it needs one, and it is carried out.
//!
//! It refuses to know where the lines come from and what becomes of a conversation in which a command has failed (`manner.rs`).

use std::fmt::Write as _;

use super::line::Kind;
use super::manner::GREETING;
use super::table::{Act, Call, Failure, Row};
use super::words::{self, Secret};
use super::{Console, Mode, Waiting};
use crate::session::{Context, Io, Next, SecretAnswer, SecretJob};

/// A command that waits for its password.
pub(super) struct Pending {
    pub(super) row: &'static Row,
    pub(super) arguments: Vec<String>,
}

impl Console {
    /// A command's line has come.
    pub(super) fn command(&mut self, line: &[u8], io: &mut Io, cx: &mut Context<'_>) -> Next {
        let Ok(text) = std::str::from_utf8(line) else {
            return self.fail(io, cx, "", "the line is not UTF-8 text");
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            return self.after(io);
        }
        if self.was_asked(text, cx) {
            return self.after(io);
        }
        if !words::has_secret(&words) {
            self.editor.remember(text);
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
        let result = match &row.act {
            Act::Exit => return self.leave(io, cx),
            Act::Ask { .. } if !arguments.is_empty() => {
                Err(Failure::Usage(String::from("it takes no words")))
            }
            Act::Ask { .. } => return self.ask(row, Vec::new(), io, cx),
            Act::Do(run) => run(arguments, &mut Call { cx, out: &mut out, facts: &self.facts }),
            Act::WithPassword { check, .. } => {
                let (arguments, secret) = match words::secret(arguments) {
                    Ok(parts) => parts,
                    Err(why) => return self.fail(io, cx, &name, &why),
                };
                match check(&arguments, &mut Call { cx, out: &mut out, facts: &self.facts }) {
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

    /// A password has been typed, for the first time or again.
    pub(super) fn password(
        &mut self,
        line: Vec<u8>,
        first: Option<Vec<u8>>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
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

    pub(super) fn pending_name(&self) -> String {
        match &self.pending {
            Some(pending) => words::shown(pending.row, &pending.arguments),
            None => String::from("admin passwd"),
        }
    }

    /// What became of the password.
    pub(super) fn answer(&mut self, answer: SecretAnswer, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let login = matches!(self.waiting, Waiting::Secret { login: true });
        match answer {
            SecretAnswer::Checked(true) if login => {
                self.facts.attempts.forget();
                self.say(io, GREETING);
                self.prompt(io)
            }
            SecretAnswer::Checked(_) => self.wrong(cx),
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
        let mut call = Call { cx, out: &mut out, facts: &self.facts };
        let result = set(&arguments, phc, &mut call);
        if let (Ok(()), Some(password)) = (&result, generated) {
            // A String takes whatever is written to it.
            let _ = writeln!(out, "Its password is shown only this once.\nPassword: {password}");
        }
        if self.mode == Mode::Serial && row.words == ["admin", "passwd"] {
            self.admin.clone_from(&cx.store().settings().admin);
        }
        self.result(row, &name, result, &out, io, cx)
    }

    fn result(
        &mut self,
        row: &Row,
        name: &str,
        result: Result<(), Failure>,
        out: &str,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        match result {
            Ok(()) => {
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

    /// Asks for a password; of a person, twice.
    pub(super) fn ask_password(&mut self, io: &mut Io, first: Option<Vec<u8>>) -> Next {
        let prompt = match first {
            _ if !self.manner.asks() => "",
            Some(_) => "The same again: ",
            None => "New password: ",
        };
        self.waiting = Waiting::Password { first };
        self.want(io, Kind::Secret, prompt)
    }
}
