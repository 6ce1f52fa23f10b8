//! APPEND (RFC 3501 §6.3.11), with APPENDUID (RFC 4315 §3).
//!
//! Folder, room and flags are checked before the client is asked for the message; without asking (LITERAL+) a message that is refused is read
//! over. The message streams into the journal piece by piece. Nothing of it is judged; an empty one is refused.

use super::folders::canonical;
use super::job::{Progress, Reply, ReplyCode};
use super::{Call, Client, Outcome, Task, flags};
use crate::limits::IMAP_IDLE_SECONDS;
use crate::session::receive::Receiver;
use crate::session::{Context, Input, Io, Next};
use crate::store::{Reservation, StoreError};
use crate::types::{AccountId, FlagChange, Flags, FolderId, Time};
use crate::wire::imap::{Append as Command, AppendEnd, reply};

/// Begins to take a message, or refuses it.
pub(super) fn begin(call: Call<'_, '_>, command: &Command<'_>) -> Outcome {
    let Call { client, out, cx } = call;
    match prepare(client, cx, command) {
        Ok(append) => {
            if command.sync {
                reply::go_on(out);
            }
            Outcome::Task(Box::new(append))
        }
        Err(reply) => {
            client.gather.skip_message(command);
            Outcome::Done(reply)
        }
    }
}

fn prepare(client: &Client, cx: &mut Context<'_>, command: &Command<'_>) -> Result<Append, Reply> {
    let account = client.account()?;
    let date = command.date.unwrap_or(cx.now);
    let mut store = cx.store();
    let known = store.account(account).ok_or(StoreError::Missing)?;
    let target = known.folder_by_name(&canonical(&command.mailbox));
    let folder = target.ok_or_else(no_folder)?.id;
    if command.size == 0 {
        return Err(Reply::no("CANNOT", "A message is not empty"));
    }
    let reservation = store.reserve(account, command.size)?;
    let flags = flags::flags(&mut store, account, FlagChange::Add, &command.flags)?;
    let receiver = Receiver::new(store.incoming());
    Ok(Append { account, folder, flags, date, left: command.size, kept: Some((receiver, reservation)) })
}

fn no_folder() -> Reply {
    Reply::no("TRYCREATE", "There is no such folder")
}

/// A message that is coming in.
struct Append {
    account: AccountId,
    folder: FolderId,
    flags: Flags,
    date: Time,
    /// Bytes of the message that have not come yet.
    left: u64,
    /// The message so far, and its place in the bucket. None at the end.
    kept: Option<(Receiver, Reservation)>,
}

impl Task for Append {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress {
        if let Input::Stored(Err(error)) = input {
            return self.give_up(client, error.into());
        }
        let Some((receiver, _)) = &mut self.kept else { return Progress::Done(no_folder()) };
        while self.left > 0 && !receiver.full() && !io.inbox.is_empty() {
            let bytes = io.inbox.bytes();
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let taken = receiver.push(&bytes[..wanted]);
            io.inbox.consume(taken);
            self.left -= taken as u64;
        }
        if (self.left == 0 || receiver.full())
            && let Some(next) = receiver.store()
        {
            return Progress::Next(next);
        }
        let read = Progress::Next(Next::Read { seconds: IMAP_IDLE_SECONDS });
        if self.left > 0 {
            return read;
        }
        match client.gather.append_end(io.inbox.bytes()) {
            AppendEnd::More => read,
            AppendEnd::Bad => Progress::Done(Reply::bad("One message is all that APPEND takes")),
            AppendEnd::End { consumed } => {
                io.inbox.consume(consumed);
                Progress::Done(self.finish(cx).unwrap_or_else(|refusal| refusal))
            }
        }
    }
}

impl Append {
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<Reply, Reply> {
        let (receiver, reservation) = self.kept.take().ok_or_else(no_folder)?;
        let (message, _kept) = receiver.finish(self.date);
        match cx.store().append(message, self.flags, self.account, self.folder, reservation) {
            Ok((uid_validity, uid)) => {
                Ok(Reply::ok("Appended").with(ReplyCode::AppendUid(uid_validity, uid)))
            }
            Err(StoreError::Missing) => Err(no_folder()),
            Err(error) => Err(error.into()),
        }
    }

    /// The rest of the message is read over.
    fn give_up(&mut self, client: &mut Client, refusal: Reply) -> Progress {
        self.kept = None;
        client.gather.skip_rest(self.left);
        Progress::Done(refusal)
    }
}
