//! A command, from its line to what it has to say: it is found in the table, its password is got where it needs one, and it is carried out.
//!
//! It refuses to know where the lines come from and what becomes of a conversation in which a command has failed (`manner.rs`).

use super::line::Kind;
use super::manner::greeting;
use super::table::{Act, Failure, Row};
use super::text::{Text, text};
use super::words::{self, Secret};
use super::{Console, Waiting, whole};
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
            return self.fail(
                io,
                cx,
                "",
                &text!("the line is not UTF-8 text", "die Zeile ist kein UTF-8-Text"),
            );
        };
        if self.whole.is_none() {
            self.language = cx.store().settings().language;
        }
        // So begins a text file of some editors on Windows.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
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
        if self.whole.is_none() {
            self.draft = None;
        } else if let Some(why) = whole::refused(row) {
            return self.fail(io, cx, &name, &why);
        } else if row.words == ["keep"] {
            // What another console has on trial is not this list's.
            return self.after(io);
        }
        self.facts.refresh();
        let result = match &row.act {
            Act::Load | Act::Job { .. } => return self.begin(row, arguments, io, cx),
            Act::Exit => return self.leave(io, cx),
            Act::Ask { .. } if !arguments.is_empty() => {
                Err(Failure::Usage(text!("it takes no words", "danach kommt kein Wort")))
            }
            Act::Ask { .. } => return self.ask(row, Vec::new(), io, cx),
            Act::Do(run) | Act::Set(run) => {
                let mut call = self.call(cx, &mut out);
                let done = run(arguments, &mut call);
                self.language = call.language;
                done
            }
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
            Some(first) if *first != line => Some(text!(
                "the two passwords are not the same: nothing has been changed",
                "die beiden Passwörter sind nicht gleich: Nichts wurde geändert"
            )),
            Some(_) => None,
            None if line.is_empty() => Some(text!(
                "the password is empty: nothing has been changed",
                "das Passwort ist leer: Nichts wurde geändert"
            )),
            None if std::str::from_utf8(&line).is_err() => {
                Some(text!("the password is not UTF-8 text", "das Passwort ist kein UTF-8-Text"))
            }
            None => None,
        };
        if let Some(why) = refused {
            let name = self.pending_name();
            return self.fail(io, cx, &name, &why);
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
        let busy = text!(
            "the server is busy: try again",
            "der Server ist beschäftigt: Versuchen Sie es noch einmal"
        );
        match answer {
            SecretAnswer::Checked(true) if login => {
                self.facts.attempts.forget();
                self.tell(io, &greeting());
                self.prompt(io)
            }
            SecretAnswer::Checked(_) => self.wrong(cx),
            SecretAnswer::Busy if login => {
                self.tell(
                    io,
                    &text!(
                        "The server is busy: try again.\n",
                        "Der Server ist beschäftigt: Versuchen Sie es noch einmal.\n"
                    ),
                );
                self.log_in(io, cx)
            }
            SecretAnswer::Busy if self.whole.is_some() => self.not_made(busy, true, io),
            SecretAnswer::Busy => {
                let name = self.pending_name();
                self.fail(io, cx, &name, &busy)
            }
            SecretAnswer::Made { phc } => self.set(phc, None, io, cx),
            SecretAnswer::Generated { password, phc } => self.set(phc, Some(password), io, cx),
        }
    }

    /// Carries the command out whose password is there.
    pub(super) fn set(
        &mut self,
        phc: String,
        generated: Option<String>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let name = self.pending_name();
        let Some(Pending { row, arguments }) = self.pending.take() else {
            return self.set_first(phc, io, cx);
        };
        let (Act::WithPassword { set, .. } | Act::Ask { set }) = &row.act else { return self.after(io) };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut out = String::new();
        let result = set(&arguments, phc, &mut self.call(cx, &mut out));
        if let (Ok(()), Some(password)) = (&result, generated) {
            let once = text!(
                "Its password is shown only this once.\nPassword: {password}\n",
                "Das Passwort wird nur dieses eine Mal gezeigt.\nPasswort: {password}\n"
            );
            out.push_str(once.of(self.language));
        }
        self.result(row, &name, result, &out, io, cx)
    }

    /// What a command says, and what it has changed.
    pub(super) fn result(
        &mut self,
        row: &'static Row,
        name: &str,
        result: Result<(), Failure>,
        out: &str,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        if let (Ok(()), Some(whole)) = (&result, &mut self.whole) {
            whole.hold(out);
            return self.after(io);
        }
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
                let why = why.and(text!("; it is: {}", "; richtig ist: {}", row.usage()));
                self.fail(io, cx, name, &why)
            }
        }
    }

    /// Asks for a password; of a person, twice.
    pub(super) fn ask_password(&mut self, io: &mut Io, first: Option<Vec<u8>>) -> Next {
        let prompt = match first {
            _ if !self.manner.asks() => Text::default(),
            Some(_) => text!("The same again: ", "Noch einmal dasselbe: "),
            None => text!("New password: ", "Neues Passwort: "),
        };
        self.waiting = Waiting::Password { first };
        self.want(io, Kind::Secret, &prompt)
    }
}
