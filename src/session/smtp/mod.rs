//! SMTP, LMTP and submission: one session, three roles, one table of commands.
//!
//! RFC 5321, 2033 (LMTP), 6409 (submission), with SIZE (1870), PIPELINING (2920), 8BITMIME (6152), SMTPUTF8 (6531),
//! ENHANCEDSTATUSCODES (2034), CHUNKING (3030), STARTTLS (3207), AUTH (4954).
//!
//! - [`Smtp`]: the states of a connection and which command is allowed in which role.
//! - [`transaction`]: sender, recipients, what becomes of the message.
//! - [`message`]: DATA and BDAT, up to the last reply.
//! - [`incoming`]: the message's bytes while they come in.
//! - [`auth`]: AUTH of submission.
//! - [`trace`]: Return-Path and Received.
//!
//! Refused: relaying; BINARYMIME and DSN (not offered, so their parameters are 555); and to change a message: submission adds no
//! Date and no Message-ID (RFC 6409 §8 would allow it), nobody's From is compared with anything.
//! Deliberate: who is logged in sends as their own address or an alias of it, and not as `<>` (553 5.7.1).

use super::login::{Login, User};
use super::{Context, Farewell, Input, Io, Next, Session, Upgrade};
use crate::limits::{MESSAGE_BYTES_MAX, OUT_BYTES, PEER_ERRORS_MAX, SMTP_IDLE_SECONDS, SMTP_LINE_BYTES_MAX};
use crate::wire::address::Path;
use crate::wire::line::{self, Ending, Line};
use crate::wire::smtp::{Command, Mail, Wrong, hello_name, parse};

pub mod auth;
pub mod incoming;
mod message;
pub mod trace;
pub mod transaction;

use transaction::Transaction;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Port 25: mail from anywhere to mailboxes here.
    Mx,
    /// Port 24: mail from another mail server of the office, a reply for each recipient.
    Lmtp,
    /// Ports 465 and 587: mail of people who have a mailbox here.
    Submission,
}

/// An SMTP connection.
pub struct Smtp {
    role: Role,
    login: Login,
    errors: u32,
    hello: Option<Hello>,
    user: Option<Box<User>>,
    transaction: Option<Box<Transaction>>,
    doing: Doing,
}

/// What the peer called itself, and whether with EHLO or LHLO.
struct Hello {
    name: String,
    extended: bool,
}

/// What the next bytes belong to.
#[derive(Debug, Default)]
enum Doing {
    /// Commands.
    #[default]
    Commands,
    /// The rest of a too long line.
    Skipping,
    /// An AUTH exchange.
    Auth(auth::Awaited),
    /// The pause before a wrong password is answered, and whether it was the last.
    Refusing { last: bool },
    /// DATA's content.
    Data,
    /// A chunk of BDAT.
    Chunk { left: u64, octets: u64, last: bool },
    /// A chunk that nobody wants, and what is said after it.
    Swallowing { left: u64, reply: &'static str },
    /// The message's last piece is being stored.
    Finishing,
}

/// What a command leads to.
enum Done {
    /// A reply.
    Say(&'static str),
    /// Replies that have been written already, or that come later.
    Said,
    /// A refusal that counts against the peer.
    Refuse(&'static str),
    /// A last reply.
    Close(&'static str),
    /// Something that takes another step.
    Go(Next),
}

impl Session for Smtp {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let done = match (input, &self.doing) {
            (Input::Start, _) => {
                let protocol = if self.role == Role::Lmtp { "LMTP" } else { "ESMTP" };
                say(&mut io.out, &format!("220 {} {protocol} Postfach ready", cx.host));
                Done::Said
            }
            (Input::Timeout, Doing::Refusing { last }) => {
                let last = *last;
                self.doing = Doing::Commands;
                say(&mut io.out, "535 5.7.8 name or password is wrong");
                if last { Done::Close("421 4.7.0 too many wrong passwords") } else { Done::Said }
            }
            (Input::Timeout, _) => Done::Close("421 4.4.2 nothing heard for too long"),
            (Input::Eof, _) => Done::Go(Next::Close),
            (Input::Secret(answer), _) => self.checked(&answer, cx),
            (Input::Stored(result), _) => {
                self.stored(result);
                Done::Said
            }
            (Input::Upgraded, _) => {
                // RFC 3207 §4.2: everything said before is forgotten.
                self.hello = None;
                self.transaction = None;
                Done::Said
            }
            _ => Done::Said,
        };
        let next = match self.settle(done, &mut io.out) {
            Some(next) => next,
            None => self.run(io, cx),
        };
        if let Next::Close = next {
            // The places in buckets are free again, however long the last bytes take to leave.
            self.transaction = None;
        }
        next
    }

    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>) {
        say(
            out,
            match why {
                Farewell::Shutdown => "421 4.3.2 shutting down, try again later",
                Farewell::NotStored => "421 4.3.1 could not be stored, try again later",
                Farewell::Defect => "421 4.3.0 internal error, try again later",
                Farewell::Busy => "421 4.7.0 too many connections, try again later",
            },
        );
    }
}

fn say(out: &mut Vec<u8>, reply: &str) {
    out.extend_from_slice(reply.as_bytes());
    out.extend_from_slice(b"\r\n");
}

impl Smtp {
    /// A connection that has just been made.
    pub fn new(role: Role) -> Smtp {
        let doing = Doing::Commands;
        Smtp { role, login: Login::default(), errors: 0, hello: None, user: None, transaction: None, doing }
    }

    /// Says what there is to say; what takes another step is handed on.
    fn settle(&mut self, done: Done, out: &mut Vec<u8>) -> Option<Next> {
        match done {
            Done::Said => None,
            Done::Say(reply) => {
                say(out, reply);
                None
            }
            Done::Refuse(reply) => {
                say(out, reply);
                self.errors += 1;
                if self.errors < PEER_ERRORS_MAX {
                    return None;
                }
                say(out, "421 4.7.0 too many errors");
                Some(Next::Close)
            }
            Done::Close(reply) => {
                say(out, reply);
                Some(Next::Close)
            }
            Done::Go(next) => Some(next),
        }
    }

    /// Goes on with what is in the inbox until something takes another step.
    fn run(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        loop {
            if io.out.len() >= OUT_BYTES {
                return Next::Send;
            }
            let done = match &self.doing {
                Doing::Data | Doing::Chunk { .. } => self.content(io, cx),
                Doing::Finishing => self.finish(&mut io.out, cx),
                Doing::Swallowing { .. } | Doing::Skipping => self.pass_over(io),
                Doing::Commands | Doing::Auth(_) | Doing::Refusing { .. } => self.command(io, cx),
            };
            if let Some(next) = self.settle(done, &mut io.out) {
                return next;
            }
        }
    }

    fn command(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Done {
        let Io { inbox, out } = io;
        match line::line(inbox.bytes(), SMTP_LINE_BYTES_MAX, Ending::CrLf) {
            Line::More => READ,
            Line::TooLong => match std::mem::replace(&mut self.doing, Doing::Skipping) {
                Doing::Auth(_) => Done::Refuse("500 5.5.6 line too long"),
                _ => Done::Refuse("500 5.5.2 line too long"),
            },
            Line::Complete { text_len, consumed } => {
                let text = inbox.bytes().get(..text_len).unwrap_or_default();
                let done = match std::mem::take(&mut self.doing) {
                    Doing::Auth(awaited) => self.auth_line(awaited, text, cx),
                    _ => self.line(text, out, cx),
                };
                inbox.consume(consumed);
                done
            }
        }
    }

    /// A too long line, or a chunk that nobody wants.
    fn pass_over(&mut self, io: &mut Io) -> Done {
        let Doing::Swallowing { left, reply } = &mut self.doing else {
            let (count, ended) = line::skip(io.inbox.bytes(), Ending::CrLf);
            io.inbox.consume(count);
            if !ended {
                return READ;
            }
            self.doing = Doing::Commands;
            return Done::Said;
        };
        let count = io.inbox.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        io.inbox.consume(count);
        *left -= count as u64;
        if *left > 0 {
            return READ;
        }
        let reply = *reply;
        self.doing = Doing::Commands;
        Done::Refuse(reply)
    }

    fn line(&mut self, text: &[u8], out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        if self.user.as_ref().is_some_and(|user| !user.still_valid(cx)) {
            return Done::Close("421 4.7.0 the password has been changed, log in again");
        }
        let command = match parse(text) {
            Ok(command) => command,
            Err(Wrong::Unknown) if line::is_http(text) => {
                return Done::Close("421 4.7.0 this is not a web server");
            }
            Err(wrong) => return Done::Refuse(complaint(wrong)),
        };
        match command {
            Command::Helo(_) | Command::Ehlo(_) if self.role == Role::Lmtp => {
                Done::Refuse("500 5.5.1 this is LMTP, say LHLO")
            }
            Command::Lhlo(_) if self.role != Role::Lmtp => Done::Refuse("500 5.5.1 this is SMTP, say EHLO"),
            Command::Helo(name) => self.greet(name, false, out, cx),
            Command::Ehlo(name) | Command::Lhlo(name) => self.greet(name, true, out, cx),
            Command::Mail(mail) => self.mail(mail, cx),
            Command::Rcpt(path) => self.rcpt(path, cx),
            Command::Data => self.data(cx),
            Command::Bdat { octets, last } => self.bdat(octets, last, cx),
            Command::Rset => {
                self.transaction = None;
                Done::Say("250 2.0.0 forgotten")
            }
            Command::Noop => Done::Say("250 2.0.0 nothing done"),
            Command::Quit => {
                say(out, &format!("221 2.0.0 {} says goodbye", cx.host));
                Done::Go(Next::Close)
            }
            // Who exists is not told here; RCPT tells who tries to send (RFC 5321 §3.5.3, §7.3).
            Command::Vrfy => Done::Say("252 2.5.2 send some mail, and it will be tried"),
            Command::Expn => Done::Refuse("502 5.5.1 there are no lists here"),
            Command::Help => Done::Say("214 2.0.0 RFC 5321 says it all"),
            Command::StartTls => self.starttls(out, cx),
            Command::Auth(..) if self.role != Role::Submission => {
                Done::Refuse("502 5.5.1 login is on the submission ports")
            }
            Command::Auth(mechanism, response) => self.auth(mechanism, response, cx),
        }
    }

    /// HELO, EHLO, LHLO: also forget what went before (RFC 5321 §4.1.4).
    fn greet(&mut self, name: &[u8], extended: bool, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        let Ok(name) = hello_name(name) else { return Done::Refuse(complaint(Wrong::Arguments)) };
        self.transaction = None;
        self.hello = Some(Hello { name, extended });
        if !extended {
            say(out, &format!("250 {}", cx.host));
            return Done::Said;
        }
        let size = format!("SIZE {MESSAGE_BYTES_MAX}");
        let submission = self.role == Role::Submission;
        // THE table of what is offered, and when.
        let offers = [
            ("PIPELINING", true),
            (&size, true),
            ("STARTTLS", self.offers_tls() && !cx.peer.tls),
            ("AUTH PLAIN LOGIN", submission && cx.peer.tls),
            ("8BITMIME", true),
            ("SMTPUTF8", true),
            ("CHUNKING", true),
            ("ENHANCEDSTATUSCODES", true),
        ];
        say(out, &format!("250-{}", cx.host));
        let mut offered = offers.into_iter().filter(|(_, now)| *now).peekable();
        while let Some((keyword, _)) = offered.next() {
            let dash = if offered.peek().is_some() { '-' } else { ' ' };
            say(out, &format!("250{dash}{keyword}"));
        }
        Done::Said
    }

    /// LMTP is spoken on the loopback only.
    fn offers_tls(&self) -> bool {
        self.role != Role::Lmtp
    }

    fn starttls(&mut self, out: &mut Vec<u8>, cx: &Context<'_>) -> Done {
        if !self.offers_tls() {
            return Done::Refuse("502 5.5.1 TLS is not offered here");
        }
        if cx.peer.tls {
            return Done::Refuse("503 5.5.1 TLS is active already");
        }
        say(out, "220 2.0.0 begin TLS");
        Done::Go(Next::Upgrade(Upgrade::Tls))
    }

    fn mail(&mut self, mail: Mail, cx: &mut Context<'_>) -> Done {
        if self.hello.is_none() {
            return Done::Refuse(match self.role {
                Role::Lmtp => "503 5.5.1 LHLO first",
                _ => "503 5.5.1 EHLO first",
            });
        }
        if self.transaction.is_some() {
            return Done::Refuse("503 5.5.1 there is a transaction already");
        }
        if self.role == Role::Submission {
            let Some(user) = &self.user else {
                return Done::Refuse(match cx.peer.tls {
                    true => "530 5.7.0 log in first",
                    false => "530 5.7.0 use STARTTLS first, then log in",
                });
            };
            let own = match &mail.sender {
                Path::Mailbox(address) => cx.store().owns(user.account, &address.key()),
                Path::Null | Path::Postmaster => false,
            };
            if !own {
                return Done::Refuse("553 5.7.1 this sender is not your address");
            }
        }
        if mail.size.is_some_and(|size| size > MESSAGE_BYTES_MAX) {
            return Done::Say("552 5.3.4 message too large");
        }
        self.transaction = Some(Box::new(Transaction::new(mail)));
        Done::Say("250 2.1.0 sender ok")
    }

    fn rcpt(&mut self, path: Path, cx: &mut Context<'_>) -> Done {
        let Some(transaction) = &mut self.transaction else { return Done::Refuse("503 5.5.1 MAIL first") };
        if transaction.incoming.is_some() {
            return Done::Refuse("503 5.5.1 the message has begun");
        }
        if !transaction.mail.utf8 && !path.to_string().is_ascii() {
            return Done::Refuse(complaint(Wrong::Utf8));
        }
        match transaction.add(path, self.role, cx) {
            Ok(()) => Done::Say("250 2.1.5 recipient ok"),
            // Somebody who guesses names is stopped; a mail server of the office that knows no better is not.
            Err(reply) if reply.starts_with("550") && self.role != Role::Lmtp => Done::Refuse(reply),
            Err(reply) => Done::Say(reply),
        }
    }
}

/// More is needed from the peer.
const READ: Done = Done::Go(Next::Read { seconds: SMTP_IDLE_SECONDS });

fn complaint(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Unknown => "500 5.5.1 unknown command",
        Wrong::Control => "500 5.5.2 control characters in a command",
        Wrong::Arguments => "501 5.5.4 wrong arguments",
        Wrong::Sender => "501 5.1.7 not a sender's address",
        Wrong::Recipient => "501 5.1.3 not a recipient's address",
        Wrong::Utf8 => "553 5.6.7 an address in UTF-8 needs SMTPUTF8",
        Wrong::Parameter => "555 5.5.4 unknown parameter",
    }
}
