//! Commands that take more than one step, and what every command ends in.
//!
//! A command that can be answered at once writes its data to `Io::out` and gives a [`Reply`]. One that loads, streams or says more
//! than `limits::OUT_BYTES` is a [`Job`]: it gets every input until it is done. In both cases the session then tells what is
//! new in the folder, as the table allows, and writes the tagged line.

use crate::session::{Context, Input, Io, Next};
use crate::store::{Folder, StoreError, View};
use crate::types::{Serial, Uid, UidSet};
use crate::wire::imap::reply::{Code, Condition};
use crate::wire::imap::{By, SequenceSet};

/// A command that takes more than one step.
pub trait Job: Send {
    /// Goes on. The first input is `Start`; then each is the answer to the `Next` that was returned.
    fn step(
        &mut self,
        input: Input<'_>,
        io: &mut Io,
        cx: &mut Context<'_>,
        selected: &mut Selected,
    ) -> Progress;

    /// Whether `out` may end inside a response or a literal: then no last words can be said.
    fn amid(&self) -> bool {
        false
    }
}

/// What a job does next.
#[derive(Debug)]
pub enum Progress {
    /// This first; its answer is the job's next input. `Close` ends the session as it is.
    Next(Next),
    /// The command is over.
    Done(Reply),
    /// It is over, and so is the connection.
    Last(Reply),
}

/// The folder that is open.
#[derive(Debug)]
pub struct Selected {
    /// What has been told of it.
    pub view: View,
    /// MODSEQ is told with every FETCH response. Any CONDSTORE-enabling command sets it (RFC 7162 §3.1); it stays for the connection.
    pub condstore: bool,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// How many of the account's keywords FLAGS has named.
    pub keywords_told: usize,
}

impl Selected {
    /// The UIDs that a command's set means in this view. A UID set is only a set: it may name what is not there.
    ///
    /// # Errors
    /// BAD when a sequence number is beyond the view.
    pub fn resolve(&self, folder: &Folder, set: &SequenceSet, by: By) -> Result<UidSet, Reply> {
        if by == By::Uid {
            let highest = self.view.uid_max(folder).unwrap_or_default();
            let ranges = set.resolve(highest.0).into_iter();
            return Ok(UidSet(
                ranges
                    .map(|(first, last)| (Uid(first), Uid(last.min(highest.0))))
                    .filter(ascending)
                    .collect(),
            ));
        }
        let count = self.view.count(folder);
        let beyond = Reply::bad("There is no message of that number");
        if set.number_max() > count || (count == 0 && set.has_star()) {
            return Err(beyond);
        }
        self.view.uids_of_seqs(folder, &set.resolve(count)).ok_or(beyond)
    }
}

fn ascending(range: &(Uid, Uid)) -> bool {
    range.0 <= range.1
}

/// The line that ends a command, less its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// OK, NO or BAD.
    pub condition: Condition,
    /// The response code.
    pub code: ReplyCode,
    /// For people.
    pub text: &'static str,
}

/// A response code that outlives a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReplyCode {
    /// None.
    #[default]
    None,
    /// A code without arguments.
    Word(&'static str),
    /// `[BADCHARSET (…)]`
    BadCharset(&'static [&'static str]),
    /// `[HIGHESTMODSEQ n]`
    HighestModSeq(Serial),
    /// `[MODIFIED set]`; sequence numbers or UIDs, as the command had them.
    Modified(UidSet),
    /// `[APPENDUID uidvalidity uid]`
    AppendUid(u32, Uid),
    /// `[COPYUID uidvalidity from to]`
    CopyUid(u32, UidSet, UidSet),
    /// `[CAPABILITY …]`
    Capability(Vec<&'static str>),
}

impl ReplyCode {
    /// As the encoder takes it.
    pub fn code(&self) -> Option<Code<'_>> {
        Some(match self {
            ReplyCode::None => return None,
            ReplyCode::Word(word) => Code::Word(word),
            ReplyCode::BadCharset(names) => Code::BadCharset(names),
            ReplyCode::HighestModSeq(serial) => Code::HighestModSeq(*serial),
            ReplyCode::Modified(set) => Code::Modified(set),
            ReplyCode::AppendUid(uid_validity, uid) => {
                Code::AppendUid { uid_validity: *uid_validity, uid: *uid }
            }
            ReplyCode::CopyUid(uid_validity, from, to) => {
                Code::CopyUid { uid_validity: *uid_validity, from, to }
            }
            ReplyCode::Capability(names) => Code::Capability(names),
        })
    }
}

impl Reply {
    /// OK.
    pub fn ok(text: &'static str) -> Reply {
        Reply { condition: Condition::Ok, code: ReplyCode::None, text }
    }

    /// NO with a code of RFC 3501 §7.1 or RFC 5530 §3; an empty one is none.
    pub fn no(code: &'static str, text: &'static str) -> Reply {
        let code = if code.is_empty() { ReplyCode::None } else { ReplyCode::Word(code) };
        Reply { condition: Condition::No, code, text }
    }

    /// BAD. Counts as an error of the peer.
    pub fn bad(text: &'static str) -> Reply {
        Reply { condition: Condition::Bad, code: ReplyCode::None, text }
    }

    /// The same with this code.
    pub fn with(self, code: ReplyCode) -> Reply {
        Reply { code, ..self }
    }
}

/// A store's refusal as IMAP says it (RFC 5530 §3, RFC 9208 §4.3.1 for OVERQUOTA, RFC 4469 §4.2 for TOOBIG).
impl From<StoreError> for Reply {
    fn from(error: StoreError) -> Reply {
        match error {
            StoreError::OverQuota => Reply::no("OVERQUOTA", "The mailbox is full"),
            StoreError::TooBig => Reply::no("TOOBIG", "The message is too big for the mailbox"),
            StoreError::NoSpace => Reply::no("UNAVAILABLE", "The server has no room, try again later"),
            StoreError::ReadOnly => Reply::no("UNAVAILABLE", "The server cannot store anything now"),
            StoreError::Limit(which) => Reply::no("LIMIT", which),
            StoreError::Exists => Reply::no("ALREADYEXISTS", "There is a folder of that name already"),
            StoreError::Missing => Reply::no("NONEXISTENT", "There is no such folder"),
            StoreError::Cannot(why) => Reply::no("CANNOT", why),
        }
    }
}
