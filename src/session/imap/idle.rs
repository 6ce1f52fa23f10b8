//! IDLE (RFC 2177): the client listens, and hears at once what is new in its folder.
//!
//! It costs nothing but the session itself. Without an open folder it waits all the same: there is nothing to tell then.

use super::job::{Progress, Reply};
use super::{Call, Client, Outcome, Task, bye, sync};
use crate::limits::{IMAP_IDLE_SECONDS, IMAP_LOGIN_BYTES_MAX};
use crate::session::{Context, Input, Io, Next};
use crate::types::Time;
use crate::wire::imap::reply;
use crate::wire::line::{Ending, Line, line};

pub(super) fn idle(call: Call<'_, '_>) -> Outcome {
    reply::continue_with(call.out, "idling");
    Outcome::Task(Box::new(Idle { since: call.cx.now }))
}

struct Idle {
    since: Time,
}

impl Task for Idle {
    fn step(&mut self, _: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress {
        match line(io.inbox.bytes(), IMAP_LOGIN_BYTES_MAX, Ending::CrLf) {
            Line::More => {}
            Line::TooLong => {
                bye(&mut io.out, "", "Line too long");
                return Progress::Next(Next::Close);
            }
            Line::Complete { text_len, consumed } => {
                let text = io.inbox.bytes().get(..text_len).unwrap_or_default();
                let done = text.eq_ignore_ascii_case(b"DONE");
                io.inbox.consume(consumed);
                let end = if done { Reply::ok("Idled") } else { Reply::bad("DONE expected") };
                return Progress::Done(end);
            }
        }
        if client.expired(&mut io.out, cx) {
            return Progress::Next(Next::Close);
        }
        match sync::tell(client, true, &mut io.out, cx) {
            sync::Told::Whole => Progress::Next(self.wait(client, cx)),
            sync::Told::More => Progress::Next(Next::Send),
            sync::Told::Gone => {
                bye(&mut io.out, "", "The open folder has been removed");
                Progress::Next(Next::Close)
            }
        }
    }
}

impl Idle {
    /// Changes of the mailbox do not put the autologout off: only the client does.
    fn wait(&self, client: &Client, cx: &Context<'_>) -> Next {
        let idled = u32::try_from(cx.now.0 - self.since.0).unwrap_or(0);
        let account = client.user.as_ref().map(|user| user.account);
        Next::Wait { account, seconds: IMAP_IDLE_SECONDS.saturating_sub(idled).max(1), bytes: true }
    }
}
