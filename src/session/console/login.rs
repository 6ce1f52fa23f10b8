//! Who may speak at the serial line: whoever has the administrator's password. Without one, the first thing is to set it.
//!
//! A wrong password is answered late, each one later than the last. Who has forgotten it sets another with `postfach console`
//! on the machine itself, where being the store's owner is enough.

use std::sync::{Mutex, PoisonError};

use super::line::Kind;
use super::manner::greeting;
use super::text::text;
use super::{Console, Waiting, settings};
use crate::limits::{CONSOLE_FAILURE_SECONDS_MAX, LOGIN_FAILURE_SECONDS};
use crate::session::{Context, Io, Next, SecretJob};
use crate::types::Time;

/// Wrong passwords at the serial line since the last right one. It outlives the conversation: hanging up does not make guessing faster.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Failures>);

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    /// Until then no password is taken.
    until: Option<Time>,
}

impl Attempts {
    /// Another wrong one: how long to wait, seconds.
    fn failed(&self, now: Time) -> u32 {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = (LOGIN_FAILURE_SECONDS << failures.count.min(16)).min(CONSOLE_FAILURE_SECONDS_MAX);
        failures.count = failures.count.saturating_add(1);
        // The clock has whole seconds: rather a bit longer.
        failures.until = Some(Time(now.0 + i64::from(seconds) + 1));
        seconds
    }

    /// How long to wait still, seconds. A clock that is set meanwhile makes it no longer.
    fn left(&self, now: Time) -> Option<u32> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).until?;
        let left = u32::try_from(until.0 - now.0).ok().filter(|left| *left > 0)?;
        Some(left.min(CONSOLE_FAILURE_SECONDS_MAX))
    }

    /// The time is over.
    pub(super) fn waited(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).until = None;
    }

    /// The password was right.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Failures::default();
    }
}

impl Console {
    /// Asks for the administrator's password, or for the first one if there is none.
    pub(super) fn log_in(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.admin = None;
        self.pending = None;
        self.editor.forget();
        self.language = cx.store().settings().language;
        if let Some(seconds) = self.facts.attempts.left(cx.now) {
            self.tell(
                io,
                &text!(
                    "\nA wrong password was typed here: wait {seconds} s.\n",
                    "\nHier wurde ein falsches Passwort eingegeben: Warten Sie {seconds} Sek.\n"
                ),
            );
            self.waiting = Waiting::Pause { told: true };
            return Next::Wait { account: None, seconds, bytes: true };
        }
        if cx.store().settings().admin.is_none() {
            self.tell(
                io,
                &text!(
                    "\nThis box has no administrator's password yet. Set one now; until then it takes no commands here.\n",
                    "\nDieses Gerät hat noch kein Administrator-Passwort. Setzen Sie jetzt eines; vorher nimmt es hier keine Befehle.\n"
                ),
            );
            return self.ask_password(io, None);
        }
        self.waiting = Waiting::Login;
        self.want(io, Kind::Secret, &text!("\nPassword: ", "\nPasswort: "))
    }

    /// The administrator's password has been typed.
    pub(super) fn login(&mut self, password: Vec<u8>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if password.is_empty() {
            return self.log_in(io, cx);
        }
        let phc = cx.store().settings().admin.clone();
        self.admin.clone_from(&phc);
        self.waiting = Waiting::Secret { login: true };
        Next::Secret(SecretJob::Check { password, phc })
    }

    /// The password was wrong: that is said after a pause.
    pub(super) fn wrong(&mut self, cx: &Context<'_>) -> Next {
        log::warn!("wrong password at the serial console");
        self.admin = None;
        self.waiting = Waiting::Pause { told: false };
        Next::Wait { account: None, seconds: self.facts.attempts.failed(cx.now), bytes: true }
    }

    /// What is typed during the pause is no answer to what is asked after it, and a paste no list of passwords to try.
    pub(super) fn go_on_waiting(&mut self, io: &mut Io, cx: &Context<'_>) -> Next {
        io.inbox.clear();
        let seconds = self.facts.attempts.left(cx.now).unwrap_or(1);
        Next::Wait { account: None, seconds, bytes: true }
    }

    /// Sets the first administrator's password, unless somebody else has meanwhile.
    pub(super) fn set_first(&mut self, phc: String, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if cx.store().settings().admin.is_some() {
            self.tell(
                io,
                &text!(
                    "The administrator's password has been set elsewhere meanwhile: log in with it.\n",
                    "Das Administrator-Passwort wurde inzwischen anderswo gesetzt: Melden Sie sich damit an.\n"
                ),
            );
            return self.log_in(io, cx);
        }
        let done = cx.store().admin_set(phc.clone());
        match done {
            Ok(()) => {
                self.admin = Some(phc);
                let new = cx.store().settings().domains.is_empty();
                self.tell(
                    io,
                    &text!(
                        "The administrator's password is set.\n",
                        "Das Administrator-Passwort ist gesetzt.\n"
                    ),
                );
                if new {
                    self.tell(
                        io,
                        &text!(
                            "Next: `setup` asks five questions, and then mail can come.\n",
                            "Weiter: `setup` stellt fünf Fragen, und dann können Nachrichten kommen.\n"
                        ),
                    );
                }
                self.tell(io, &greeting());
                self.prompt(io)
            }
            Err(error) => {
                let why = settings::refused(error);
                self.fail(io, cx, "admin passwd", &why)
            }
        }
    }
}
