//! IMAP: RFC 3501 with LITERAL+ (7888), SASL-IR (4959), ID (2971), NAMESPACE (2342), IDLE (2177), UIDPLUS (4315), MOVE (6851),
//! UNSELECT (3691), CHILDREN (3348), SPECIAL-USE (6154), ENABLE (5161), CONDSTORE (7162), LIST-EXTENDED (5258) and
//! LIST-STATUS (5819).
//!
//! - [`table`]: every command: when it is allowed, what it may tell, who does it. Start there.
//! - [`job`]: commands that take more than one step, and what a command ends in.
//! - [`sync`]: what is new in the open folder, told after every command and during IDLE.
//! - the other files: commands.
//!
//! Commands are taken from the inbox one after the other, one at a time: pipelined ones wait there (RFC 3501 §5.5).
//!
//! Choices where the RFCs leave them:
//! - A session whose open folder is removed by another session gets BYE. One that removes its own open folder has none open then.
//! - STORE of messages that others have expunged: the rest is changed. `NO [EXPUNGEISSUED]` if there is no rest, `OK [EXPUNGEISSUED]` else.
//!   By UID they are passed over (RFC 3501 §6.4.8). COPY and MOVE by sequence number move nothing then: `NO [EXPUNGEISSUED]`.
//! - UTF-8 in names and searches is understood; UTF8=ACCEPT is not offered.
//!
//! Deliberate: before login the connection ends after `limits::LOGIN_SECONDS` of silence. RFC 3501 §5.4 asks for 30 minutes;
//! RFC 9051 §5.4 asks for them after login only.

use super::login::{Login, User};
use super::{Context, Farewell, Input, Io, Next, Session, Upgrade};
use crate::limits::{IMAP_IDLE_SECONDS, LOGIN_SECONDS, OUT_BYTES, PEER_ERRORS_MAX};
use crate::types::UidSet;
use crate::wire::imap::cursor::NO_NAME;
use crate::wire::imap::reply::{self, Condition};
use crate::wire::imap::{Append, By, Gather, Gathered, Invalid, Refusal, SequenceSet, Tagged};
use crate::wire::line::is_http;

mod append;
mod close;
mod connection;
mod copy;
mod expunge;
pub mod fetch;
mod flags;
mod folders;
mod idle;
pub mod job;
mod list;
mod login;
mod open;
pub mod search;
mod status;
mod sync;
pub mod table;

use job::{Job, Progress, Reply, Selected};
use sync::Told;
use table::Row;

/// An IMAP connection.
#[derive(Default)]
pub struct Imap {
    client: Client,
    running: Option<Box<Running>>,
    /// What has been sent ends inside a response.
    sent_amid: bool,
}

/// What a connection is between two commands.
#[derive(Default)]
struct Client {
    /// How far the next command has been looked at.
    gather: Gather,
    login: Login,
    /// Who has logged in.
    user: Option<User>,
    /// The open folder.
    selected: Option<Box<Selected>>,
    /// A CONDSTORE-enabling command has been given (RFC 7162 §3.1).
    condstore: bool,
    /// Commands in a row that were BAD.
    errors: u32,
}

/// A command in progress.
struct Running {
    tag: String,
    row: &'static Row,
    stage: Stage,
}

enum Stage {
    Task(Box<dyn Task>),
    /// All is done but what is new in the folder has not been told to its end.
    Finish(Reply),
}

/// A command that takes more than one step and may change the connection's state. [`Job`]s are the ones that only need the open folder.
trait Task: Send {
    /// Goes on: see [`Job::step`].
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress;

    /// Whether `Timeout` is what it waits for; else it ends the connection.
    fn waits_for_timeout(&self) -> bool {
        false
    }

    /// See [`Job::amid`].
    fn amid(&self) -> bool {
        false
    }
}

impl Task for Box<dyn Job> {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress {
        match client.selected.as_deref_mut() {
            Some(selected) => (**self).step(input, io, cx, selected),
            None => Progress::Done(Client::nothing_open()),
        }
    }

    fn amid(&self) -> bool {
        (**self).amid()
    }
}

/// What a command's handler works with.
struct Call<'a, 'c> {
    client: &'a mut Client,
    out: &'a mut Vec<u8>,
    cx: &'a mut Context<'c>,
}

/// What a handler leads to.
enum Outcome {
    /// The command is over.
    Done(Reply),
    /// It is over, and so is the connection.
    Last(Reply),
    /// It is over, and TLS begins.
    Upgrade(Reply),
    /// It takes more steps, `Start` first.
    Job(Box<dyn Job>),
    /// The same, for one that changes the connection's state.
    Task(Box<dyn Task>),
    /// This first; the answer goes to the task.
    First(Next, Box<dyn Task>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        Outcome::Done(reply)
    }
}

impl From<Result<Reply, Reply>> for Outcome {
    fn from(result: Result<Reply, Reply>) -> Outcome {
        Outcome::Done(result.unwrap_or_else(|refusal| refusal))
    }
}

/// What comes after a command, once its bytes are consumed.
enum After {
    /// The next command.
    Command,
    /// The running task's first step.
    Start,
    /// This.
    Go(Next),
}

impl Session for Imap {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if input.is_after_sending() {
            self.sent_amid = self.amid();
        }
        let next = match (input, &self.running) {
            (Input::Start, _) => {
                let names = table::capabilities(cx.peer.tls, self.client.user.is_some());
                let (condition, text) = match &self.client.user {
                    Some(user) => {
                        (Condition::Preauth, format!("{} IMAP ready for {}", cx.host, user.address))
                    }
                    None => (Condition::Ok, format!("{} IMAP ready", cx.host)),
                };
                reply::untagged(&mut io.out, condition, Some(reply::Code::Capability(&names)), &text);
                None
            }
            (Input::Eof, _) => Some(Next::Close),
            (Input::Woken | Input::Sent, _) if self.client.is_expired(cx) => {
                // Inside a literal any word would become part of a message.
                if !self.running.as_ref().is_some_and(|running| running.amid()) {
                    expired(&mut io.out);
                }
                Some(Next::Close)
            }
            (Input::Timeout, running)
                if !running.as_ref().is_some_and(|running| running.waits_for_timeout()) =>
            {
                bye(&mut io.out, "", "Autologout");
                Some(Next::Close)
            }
            (input, Some(_)) => self.run(input, io, cx),
            (_, None) => None,
        };
        next.unwrap_or_else(|| self.commands(io, cx))
    }

    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>) {
        // Inside a literal any word would become part of a message.
        let amid = if why == Farewell::Shutdown { self.amid() } else { self.sent_amid };
        if amid {
            return;
        }
        let (code, text) = match why {
            Farewell::Shutdown => ("", "The server stops"),
            Farewell::NotStored => ("UNAVAILABLE", "The server cannot store anything now"),
            Farewell::Defect => ("SERVERBUG", "A defect of the server, sorry"),
            Farewell::Busy => ("UNAVAILABLE", "Too many connections"),
        };
        bye(out, code, text);
    }
}

/// `* BYE`, with a code of RFC 5530 §3 or none.
fn bye(out: &mut Vec<u8>, code: &'static str, text: &str) {
    let code = (!code.is_empty()).then_some(reply::Code::Word(code));
    reply::untagged(out, Condition::Bye, code, text);
}

/// The command is one, but no folder can have this name.
fn no_name(tag: &str, out: &mut Vec<u8>) -> After {
    reply::tagged(out, tag, Condition::No, Some(reply::Code::Word("CANNOT")), NO_NAME.0);
    After::Command
}

impl Running {
    fn waits_for_timeout(&self) -> bool {
        matches!(&self.stage, Stage::Task(task) if task.waits_for_timeout())
    }

    fn amid(&self) -> bool {
        matches!(&self.stage, Stage::Task(task) if task.amid())
    }
}

impl Imap {
    /// A connection that has just been made.
    pub fn new() -> Imap {
        Imap::default()
    }

    /// A connection whose other end is this user without a login: the greeting is PREAUTH (RFC 3501 §7.1.4).
    pub fn preauthenticated(user: User) -> Imap {
        let mut imap = Imap::default();
        imap.client.user = Some(user);
        imap.client.gather.logged_in();
        imap
    }

    fn amid(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.amid())
    }

    /// Takes commands until there are none, or one takes more steps.
    fn commands(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        loop {
            if io.out.len() >= OUT_BYTES {
                return Next::Send;
            }
            if let Some(next) = self.command(io, cx) {
                return next;
            }
        }
    }

    /// Takes one command; None: the next can be taken.
    fn command(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Option<Next> {
        let Io { inbox, out } = &mut *io;
        let (consumed, after) = match self.client.gather.next(inbox.bytes()) {
            Gathered::More => return Some(self.client.read()),
            Gathered::Continue => {
                reply::go_on(out);
                return None;
            }
            Gathered::Skip { consumed } => (consumed, After::Command),
            Gathered::Refused { tag: Some(tag), why: Refusal::Append(NO_NAME), consumed } => {
                (consumed, no_name(tag, out))
            }
            Gathered::Refused { tag, why, consumed } => (consumed, self.client.refuse(tag, why.text(), out)),
            Gathered::Command { bytes, consumed } => (consumed, self.execute(bytes, out, cx)),
            Gathered::Append { append, consumed } => (consumed, self.append(&append, out, cx)),
        };
        inbox.consume(consumed);
        match after {
            After::Command => None,
            After::Start => self.run(Input::Start, io, cx),
            After::Go(next) => {
                if matches!(next, Next::Upgrade(_)) {
                    inbox.clear();
                }
                Some(next)
            }
        }
    }

    fn execute(&mut self, bytes: &[u8], out: &mut Vec<u8>, cx: &mut Context<'_>) -> After {
        if self.client.expired(out, cx) {
            return After::Go(Next::Close);
        }
        let Tagged { tag, command } = match Tagged::parse(bytes) {
            Ok(tagged) => tagged,
            Err(Invalid::Unknown { .. }) if is_http(bytes) => {
                bye(out, "", "This is not a web server");
                return After::Go(Next::Close);
            }
            Err(Invalid::Name { tag }) => return no_name(tag, out),
            Err(invalid) => {
                let (tag, text) = invalid.answer();
                return self.client.refuse(tag, text, out);
            }
        };
        let row = table::row(&command);
        let outcome = match row.refused(&self.client) {
            None => table::run(command, Call { client: &mut self.client, out: &mut *out, cx: &mut *cx }),
            Some(reply) => Outcome::Done(reply),
        };
        self.outcome(tag, row, outcome, out, cx)
    }

    fn append(&mut self, append: &Append<'_>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> After {
        if self.client.expired(out, cx) {
            return After::Go(Next::Close);
        }
        let outcome = match table::APPEND.refused(&self.client) {
            None => append::begin(Call { client: &mut self.client, out: &mut *out, cx: &mut *cx }, append),
            Some(reply) => {
                self.client.gather.skip_message(append);
                Outcome::Done(reply)
            }
        };
        self.outcome(append.tag, &table::APPEND, outcome, out, cx)
    }

    fn outcome(
        &mut self,
        tag: &str,
        row: &'static Row,
        outcome: Outcome,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> After {
        let (task, after): (Box<dyn Task>, After) = match outcome {
            Outcome::Done(reply) => return self.finish(tag, row, reply, out, cx),
            Outcome::Last(reply) => {
                reply::tagged(out, tag, reply.condition, reply.code.code(), reply.text);
                return After::Go(Next::Close);
            }
            Outcome::Upgrade(reply) => {
                reply::tagged(out, tag, reply.condition, reply.code.code(), reply.text);
                return After::Go(Next::Upgrade(Upgrade::Tls));
            }
            Outcome::Job(job) => (Box::new(job), After::Start),
            Outcome::Task(task) => (task, After::Start),
            Outcome::First(next, task) => (task, After::Go(next)),
        };
        self.running = Some(Box::new(Running { tag: String::from(tag), row, stage: Stage::Task(task) }));
        after
    }

    /// One step of the running command; None: it is over.
    fn run(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Option<Next> {
        let mut running = self.running.take()?;
        let reply = match &mut running.stage {
            Stage::Finish(reply) => reply.clone(),
            Stage::Task(task) => match task.step(input, io, cx, &mut self.client) {
                Progress::Next(next) => {
                    self.running = Some(running);
                    return Some(next);
                }
                Progress::Done(reply) => reply,
                Progress::Last(reply) => {
                    reply::tagged(&mut io.out, &running.tag, reply.condition, reply.code.code(), reply.text);
                    return Some(Next::Close);
                }
            },
        };
        match self.finish(&running.tag, running.row, reply, &mut io.out, cx) {
            After::Go(next) => Some(next),
            After::Command | After::Start => None,
        }
    }

    /// Tells what is new, then how the command ended.
    fn finish(
        &mut self,
        tag: &str,
        row: &'static Row,
        reply: Reply,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> After {
        let told = sync::tell(&mut self.client, row.expunges, out, cx);
        if told == Told::More {
            let stage = Stage::Finish(reply);
            self.running = Some(Box::new(Running { tag: String::from(tag), row, stage }));
            return After::Go(Next::Send);
        }
        if reply.condition == Condition::Bad {
            return self.client.refuse(Some(tag), reply.text, out);
        }
        self.client.errors = 0;
        reply::tagged(out, tag, reply.condition, reply.code.code(), reply.text);
        if told == Told::Gone {
            bye(out, "", "The open folder has been removed");
            return After::Go(Next::Close);
        }
        After::Command
    }
}

impl Client {
    /// What is said where the state has been checked already.
    fn nothing_open() -> Reply {
        Reply::bad("No folder is open")
    }

    /// Waits for a command. Who has logged in is woken by changes of the account: its password may be another one now.
    fn read(&self) -> Next {
        match &self.user {
            Some(user) => Next::Wait { account: Some(user.account), seconds: IMAP_IDLE_SECONDS, bytes: true },
            None => Next::Read { seconds: LOGIN_SECONDS },
        }
    }

    /// Whether the login does not count any more: the mailbox is gone or has another password.
    fn is_expired(&self, cx: &mut Context<'_>) -> bool {
        self.user.as_ref().is_some_and(|user| !user.still_valid(cx))
    }

    /// The same. Says goodbye then.
    fn expired(&self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> bool {
        let is_expired = self.is_expired(cx);
        if is_expired {
            expired(out);
        }
        is_expired
    }

    /// BAD. Too many of them in a row end the connection; a mail program that asks once an hour for what is not here goes on for weeks.
    fn refuse(&mut self, tag: Option<&str>, text: &'static str, out: &mut Vec<u8>) -> After {
        match tag {
            Some(tag) => reply::tagged(out, tag, Condition::Bad, None, text),
            None => reply::untagged(out, Condition::Bad, None, text),
        }
        self.errors += 1;
        if self.errors < PEER_ERRORS_MAX {
            return After::Command;
        }
        bye(out, "", "Too many errors");
        After::Go(Next::Close)
    }

    /// The UIDs that a set means in the open folder.
    fn resolve(&self, set: &SequenceSet, by: By, cx: &mut Context<'_>) -> Result<UidSet, Reply> {
        let selected = self.selected.as_deref().ok_or_else(Client::nothing_open)?;
        let mut store = cx.store();
        let folder = store.folder(selected.view.account, selected.view.folder);
        selected.resolve(folder.ok_or_else(removed)?, set, by)
    }

    /// From now on FETCH responses tell MODSEQ; said once, with the folder's highest (RFC 7162 §3.1).
    fn enable_condstore(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.condstore, true) {
            return;
        }
        let Some(selected) = self.selected.as_deref_mut() else { return };
        selected.condstore = true;
        let mut store = cx.store();
        if let Some(folder) = store.folder(selected.view.account, selected.view.folder) {
            let code = reply::Code::HighestModSeq(folder.serial);
            reply::untagged(out, Condition::Ok, Some(code), "Highest mod-sequence");
        }
    }
}

/// Says goodbye to a login that does not count any more.
fn expired(out: &mut Vec<u8>) {
    bye(out, "EXPIRED", "The password has been changed, or the mailbox removed");
}

/// The open folder is gone. BYE follows.
fn removed() -> Reply {
    Reply::no("NONEXISTENT", "The open folder has been removed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousands of them idle: what a connection keeps must stay small.
    #[test]
    fn an_idle_connection_is_small() {
        let selected = std::mem::size_of::<Selected>();
        assert!(std::mem::size_of::<Imap>() + std::mem::size_of::<Running>() + selected <= 512);
    }
}
