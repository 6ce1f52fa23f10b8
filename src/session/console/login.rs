//! Who may speak at the serial line: whoever has the administrator's password. Without one, the first thing is to set it.
//!
//! A wrong password is answered late, each one later than the last. Who has forgotten it sets another with `postfach console`
//! on the machine itself, where being the store's owner is enough.

use super::manner::GREETING;
use super::{Console, WANT_SECRET, Waiting, settings};
use crate::limits::{CONSOLE_FAILURE_SECONDS_MAX, LOGIN_FAILURE_SECONDS};
use crate::session::{Context, Io, Next, SecretJob};

impl Console {
    /// Asks for the administrator's password, or for the first one if there is none.
    pub(super) fn log_in(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        self.admin = None;
        self.pending = None;
        if cx.store().settings().admin.is_none() {
            self.say(
                io,
                "\nThis box has no administrator's password yet. Set one now; until then it takes no commands here.\n",
            );
            return self.ask_password(io, None);
        }
        self.waiting = Waiting::Login;
        self.say(io, "\nPassword: ");
        self.want(io, WANT_SECRET)
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
    pub(super) fn wrong(&mut self) -> Next {
        log::warn!("wrong password at the serial console");
        let seconds = LOGIN_FAILURE_SECONDS << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.waiting = Waiting::Pause;
        Next::Wait { account: None, seconds: seconds.min(CONSOLE_FAILURE_SECONDS_MAX), bytes: false }
    }

    /// Sets the first administrator's password, unless somebody else has meanwhile.
    pub(super) fn set_first(&mut self, phc: String, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if cx.store().settings().admin.is_some() {
            self.say(io, "The administrator's password has been set elsewhere meanwhile: log in with it.\n");
            return self.log_in(io, cx);
        }
        let done = cx.store().admin_set(phc.clone());
        match done {
            Ok(()) => {
                self.admin = Some(phc);
                let new = cx.store().settings().domains.is_empty();
                self.say(io, "The administrator's password is set.\n");
                if new {
                    self.say(io, "Next: `setup` asks four questions, and then mail can come.\n");
                }
                self.say(io, GREETING);
                self.prompt(io)
            }
            Err(error) => {
                let why = settings::refused(error);
                self.fail(io, cx, "admin passwd", &why)
            }
        }
    }
}
