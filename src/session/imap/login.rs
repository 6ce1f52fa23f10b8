//! LOGIN and AUTHENTICATE PLAIN (RFC 3501 §6.2.2 and §6.2.3, RFC 4616, RFC 4959). Under TLS only.

use super::job::{Progress, Reply, ReplyCode};
use super::{Call, Client, Outcome, Task, bye, table};
use crate::limits::{IMAP_LOGIN_BYTES_MAX, LOGIN_SECONDS};
use crate::session::login::Refused;
use crate::session::{Context, Input, Io, Next};
use crate::wire::imap::{Secret, reply};
use crate::wire::line::{Ending, Line, base64_decode, line};

const PRIVACY: &str = "Only under TLS: use STARTTLS or port 993";
const WRONG: &str = "Address or password is wrong";

pub(super) fn login(call: Call<'_, '_>, user: &[u8], password: &Secret<'_>) -> Outcome {
    if !call.cx.peer.tls {
        return Outcome::Done(Reply::no("PRIVACYREQUIRED", PRIVACY));
    }
    // An address that is no UTF-8 is nobody's; it is checked as such, so that it takes as long.
    let address = std::str::from_utf8(user).unwrap_or_default();
    let first = call.client.login.check(address, password.0.to_vec(), call.cx);
    Outcome::First(first, Box::new(LogIn { refused: None }))
}

pub(super) fn authenticate(call: Call<'_, '_>, mechanism: &str, initial: Option<Secret<'static>>) -> Outcome {
    if !call.cx.peer.tls {
        return Outcome::Done(Reply::no("PRIVACYREQUIRED", PRIVACY));
    }
    if !mechanism.eq_ignore_ascii_case("PLAIN") {
        return Outcome::Done(Reply::no("", "Only PLAIN is known here"));
    }
    match initial {
        Some(response) => match check(response.0.into_owned(), call.client, call.cx) {
            Ok(first) => Outcome::First(first, Box::new(LogIn { refused: None })),
            Err(reply) => Outcome::Done(reply),
        },
        None => {
            reply::continue_with(call.out, "");
            Outcome::Task(Box::new(Challenge { log_in: None }))
        }
    }
}

fn check(response: Vec<u8>, client: &mut Client, cx: &mut Context<'_>) -> Result<Next, Reply> {
    let checked = client.login.check_plain(response, cx);
    checked.map_err(|_| Reply::bad("Not a response of PLAIN"))
}

/// AUTHENTICATE without an initial response: the next line is the response.
struct Challenge {
    /// It has come and is being checked.
    log_in: Option<LogIn>,
}

impl Task for Challenge {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress {
        if let Some(log_in) = &mut self.log_in {
            return log_in.step(input, io, cx, client);
        }
        let (answer, consumed) = match line(io.inbox.bytes(), IMAP_LOGIN_BYTES_MAX, Ending::CrLf) {
            Line::More => return Progress::Next(Next::Read { seconds: LOGIN_SECONDS }),
            Line::TooLong => {
                bye(&mut io.out, "", "Line too long");
                return Progress::Next(Next::Close);
            }
            Line::Complete { text_len, consumed } => {
                match io.inbox.bytes().get(..text_len).unwrap_or_default() {
                    b"*" => (Err(Reply::bad("Cancelled")), consumed),
                    text => (base64_decode(text).map_err(|_| Reply::bad("Not base64")), consumed),
                }
            }
        };
        io.inbox.consume(consumed);
        match answer.and_then(|response| check(response, client, cx)) {
            Ok(first) => {
                self.log_in = Some(LogIn { refused: None });
                Progress::Next(first)
            }
            Err(reply) => Progress::Done(reply),
        }
    }

    fn waits_for_timeout(&self) -> bool {
        self.log_in.as_ref().is_some_and(Task::waits_for_timeout)
    }
}

/// The password is being checked, or its refusal is being delayed.
struct LogIn {
    refused: Option<Refused>,
}

impl Task for LogIn {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress {
        if let Some(refused) = self.refused {
            let reply = Reply::no("AUTHENTICATIONFAILED", WRONG);
            if refused != Refused::Last {
                return Progress::Done(reply);
            }
            bye(&mut io.out, "", "Too many wrong passwords");
            return Progress::Last(reply);
        }
        let Input::Secret(answer) = input else { return Progress::Done(Reply::no("SERVERBUG", WRONG)) };
        match client.login.answer(&answer, cx) {
            Ok(user) => {
                client.user = Some(user);
                client.gather.logged_in();
                let names = table::capabilities(cx.peer.tls, true);
                Progress::Done(Reply::ok("Logged in").with(ReplyCode::Capability(names)))
            }
            Err(Refused::Busy) => Progress::Done(Reply::no("UNAVAILABLE", "Too busy, try again later")),
            Err(refused) => {
                self.refused = Some(refused);
                Progress::Next(client.login.delay())
            }
        }
    }

    fn waits_for_timeout(&self) -> bool {
        self.refused.is_some()
    }
}
