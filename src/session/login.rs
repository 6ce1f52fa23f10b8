//! Who is at the other end: the password check that SMTP, POP3 and IMAP share.
//!
//! The order of a login: [`Login::check`] gives `Next::Secret`; its answer goes to [`Login::answer`]. A wrong password is answered late:
//! the session returns [`Login::delay`], and says no when the `Timeout` comes. Unknown addresses take the same time as wrong passwords.
//! Only under TLS: callers refuse before they read a password.

use super::{Context, Next, SecretAnswer, SecretJob};
use crate::limits::{LOGIN_FAILURE_SECONDS, LOGIN_FAILURES_MAX};
use crate::types::AccountId;
use crate::wire::Malformed;

/// Somebody who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Whose mailbox.
    pub account: AccountId,
    /// The address they logged in with, in lower case.
    pub address: String,
    /// The password's generation: when it changes, the session ends.
    pub generation: u32,
}

impl User {
    /// Whether the session is still theirs: the mailbox exists and its password is the one that was given.
    pub fn still_valid(&self, cx: &mut Context<'_>) -> bool {
        cx.store().generation(self.account) == Some(self.generation)
    }
}

/// Why somebody has not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Address or password are wrong; which, is not told (`535 5.7.8`, `NO [AUTHENTICATIONFAILED]`, `-ERR [AUTH]`).
    Wrong,
    /// Wrong once too often: say so and close.
    Last,
    /// The server is busy: try again later (`454 4.7.0`, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`).
    Busy,
}

/// The logins tried on one connection.
#[derive(Debug, Default)]
pub struct Login {
    failures: u32,
    user: Option<User>,
}

impl Login {
    /// Has a password checked.
    pub fn check(&mut self, address: &str, password: Vec<u8>, cx: &mut Context<'_>) -> Next {
        let found = cx.store().login(address);
        let phc = found.as_ref().map(|found| found.phc.clone());
        self.user = found.map(|found| User {
            account: found.account,
            address: address.to_lowercase(),
            generation: found.generation,
        });
        Next::Secret(SecretJob::Check { password, phc })
    }

    /// Has a message of SASL PLAIN checked, and wipes it.
    ///
    /// # Errors
    /// `Malformed`: it is none.
    pub fn check_plain(&mut self, mut message: Vec<u8>, cx: &mut Context<'_>) -> Result<Next, Malformed> {
        let next = sasl_plain(&message).map(|(name, password)| self.check(name, password.to_vec(), cx));
        message.fill(0);
        next
    }

    /// Takes the answer. A password that was changed meanwhile no longer counts.
    ///
    /// # Errors
    /// Why not.
    pub fn answer(&mut self, answer: &SecretAnswer, cx: &mut Context<'_>) -> Result<User, Refused> {
        match (answer, self.user.take()) {
            (SecretAnswer::Busy, _) => return Err(Refused::Busy),
            (SecretAnswer::Checked(true), Some(user)) if user.still_valid(cx) => return Ok(user),
            _ => {}
        }
        self.failures += 1;
        log::info!("login refused{}", from(cx));
        Err(if self.failures >= LOGIN_FAILURES_MAX { Refused::Last } else { Refused::Wrong })
    }

    /// The pause before a wrong password is answered.
    pub fn delay(&self) -> Next {
        Next::Wait { account: None, seconds: LOGIN_FAILURE_SECONDS, bytes: false }
    }
}

fn from(cx: &Context<'_>) -> String {
    cx.peer.address.map(|address| format!(" from {address}")).unwrap_or_default()
}

/// Takes a SASL PLAIN message apart: login and password. An authorization identity other than the login is refused.
///
/// ```text
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd        (RFC 4616 §2)
/// ```
///
/// # Errors
/// `Malformed`.
fn sasl_plain(message: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let mut parts = message.split(|byte| *byte == 0);
    let (authzid, authcid, password) = (parts.next(), parts.next(), parts.next());
    match (authzid, authcid, password, parts.next()) {
        (Some(authzid), Some(authcid), Some(password), None)
            if !authcid.is_empty() && (authzid.is_empty() || authzid.eq_ignore_ascii_case(authcid)) =>
        {
            Ok((std::str::from_utf8(authcid).map_err(|_| Malformed)?, password))
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_three_parts() {
        assert_eq!(sasl_plain(b"\0anna@example.test\0secret"), Ok(("anna@example.test", &b"secret"[..])));
        assert_eq!(sasl_plain(b"a@b\0A@b\0x"), Ok(("A@b", &b"x"[..])));
        for wrong in [&b""[..], b"a\0b", b"\0\0x", b"other\0anna\0x", b"\0a\0b\0c", b"\0\xff\0x"] {
            assert_eq!(sasl_plain(wrong), Err(Malformed));
        }
    }
}
