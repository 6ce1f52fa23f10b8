//! AUTH of submission: PLAIN and LOGIN, only under TLS (RFC 4954, RFC 4616, draft-murchison-sasl-login).

use super::{Doing, Done, Smtp};
use crate::session::login::{Refused, User};
use crate::session::{Context, SecretAnswer};
use crate::wire::line::{base64_decode, initial_response};

/// What is awaited.
#[derive(Debug)]
pub enum Awaited {
    /// PLAIN's one message.
    Plain,
    /// LOGIN's name.
    Name,
    /// LOGIN's password.
    Password {
        /// The name, given before.
        name: String,
    },
}

/// "Username:" in base64.
const ASK_NAME: &str = "334 VXNlcm5hbWU6";
/// "Password:" in base64.
const ASK_PASSWORD: &str = "334 UGFzc3dvcmQ6";
const NOT_BASE64: &str = "501 5.5.2 not what the mechanism expects";

impl Smtp {
    /// `AUTH mechanism [initial-response]`
    pub(super) fn auth(&mut self, mechanism: &[u8], response: Option<&[u8]>, cx: &mut Context<'_>) -> Done {
        if !cx.peer.tls {
            return Done::Refuse("538 5.7.11 encryption required: use STARTTLS first");
        }
        if self.hello.is_none() {
            return Done::Refuse("503 5.5.1 EHLO first");
        }
        if self.user.is_some() {
            return Done::Refuse("503 5.5.1 logged in already");
        }
        if self.transaction.is_some() {
            return Done::Refuse("503 5.5.1 not during a transaction");
        }
        let (awaited, ask) = match mechanism.to_ascii_uppercase().as_slice() {
            b"PLAIN" => (Awaited::Plain, "334 "),
            b"LOGIN" => (Awaited::Name, ASK_NAME),
            _ => return Done::Refuse("504 5.5.4 no such mechanism"),
        };
        match response.map(initial_response) {
            None => {
                self.doing = Doing::Auth(awaited);
                Done::Say(ask)
            }
            Some(Ok(response)) => self.response(awaited, response, cx),
            Some(Err(_)) => Done::Refuse(NOT_BASE64),
        }
    }

    /// A line of the exchange.
    pub(super) fn auth_line(&mut self, awaited: Awaited, text: &[u8], cx: &mut Context<'_>) -> Done {
        if text == b"*" {
            return Done::Refuse("501 5.7.0 cancelled");
        }
        match base64_decode(text) {
            Ok(response) => self.response(awaited, response, cx),
            Err(_) => Done::Refuse(NOT_BASE64),
        }
    }

    fn response(&mut self, awaited: Awaited, response: Vec<u8>, cx: &mut Context<'_>) -> Done {
        match awaited {
            Awaited::Plain => self.login.check_plain(response, cx).map_or(Done::Refuse(NOT_BASE64), Done::Go),
            Awaited::Name => match String::from_utf8(response) {
                Ok(name) => {
                    self.doing = Doing::Auth(Awaited::Password { name });
                    Done::Say(ASK_PASSWORD)
                }
                Err(_) => Done::Refuse(NOT_BASE64),
            },
            Awaited::Password { name } => Done::Go(self.login.check(&name, response, cx)),
        }
    }

    /// The password has been checked.
    pub(super) fn checked(&mut self, answer: &SecretAnswer, cx: &mut Context<'_>) -> Done {
        let answer: Result<User, Refused> = self.login.answer(answer, cx);
        match answer {
            Ok(user) => {
                self.user = Some(Box::new(user));
                Done::Say("235 2.7.0 welcome")
            }
            Err(Refused::Busy) => Done::Say("454 4.7.0 busy, try again later"),
            Err(refused) => {
                self.doing = Doing::Refusing { last: refused == Refused::Last };
                Done::Go(self.login.delay())
            }
        }
    }
}
