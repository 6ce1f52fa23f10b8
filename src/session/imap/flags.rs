//! STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).
//!
//! In one hold of the store: what others have changed is told, the change is made, and the view takes note that it is told. Its FETCH
//! responses follow, over several steps if they are many.

use super::expunge::READ_ONLY;
use super::job::{Job, Progress, Reply, ReplyCode, Selected};
use super::sync::{FlagLine, Told, tell_keywords, tell_selected};
use super::{Call, Client, Outcome, copy};
use crate::limits::OUT_BYTES;
use crate::session::{Context, Input, Io, Next};
use crate::store::{Access, StoreError};
use crate::types::{AccountId, FlagChange, Flags, Serial, Uid, UidSet};
use crate::wire::imap::{By, FlagList, Store as Command};

pub(super) fn store(call: Call<'_, '_>, command: &Command<'_>) -> Outcome {
    if command.unchanged_since.is_some() {
        call.client.enable_condstore(call.out, call.cx);
    }
    let set = match call.client.resolve(&command.set, command.by, call.cx) {
        Ok(set) => set,
        Err(reply) => return Outcome::Done(reply),
    };
    let Some(selected) = call.client.selected.as_deref() else {
        return Outcome::Done(Client::nothing_open());
    };
    if selected.view.read_only {
        return Outcome::Done(Reply::no("", READ_ONLY));
    }
    let given = match flags(&mut call.cx.store(), selected.view.account, command.change, &command.flags) {
        Ok(given) => given,
        Err(error) => return Outcome::Done(error.into()),
    };
    Outcome::Job(Box::new(Store {
        set,
        by: command.by,
        change: command.change,
        given,
        silent: command.silent,
        unchanged_since: command.unchanged_since.map(Serial),
        done: None,
    }))
}

/// The bits of a list of flags. Keywords that the account has not yet are added to its table, unless they are to be taken away.
pub(super) fn flags(
    store: &mut Access<'_>,
    account: AccountId,
    change: FlagChange,
    list: &FlagList<'_>,
) -> Result<Flags, StoreError> {
    let mut names = list.keywords.clone();
    if change == FlagChange::Remove {
        let table = &store.account(account).ok_or(StoreError::Missing)?.keywords;
        names.retain(|name| table.iter().any(|known| known.eq_ignore_ascii_case(name)));
    }
    Ok(list.system.with(store.keywords(account, &names)?))
}

/// A STORE.
struct Store {
    set: UidSet,
    by: By,
    change: FlagChange,
    given: Flags,
    silent: bool,
    unchanged_since: Option<Serial>,
    /// The change has been made; what is to be told of it.
    done: Option<Telling>,
}

struct Telling {
    /// Messages that UNCHANGEDSINCE has kept from the change.
    modified: UidSet,
    /// The next UID to tell.
    next: Uid,
    reply: Reply,
}

impl Job for Store {
    fn step(&mut self, _: Input<'_>, io: &mut Io, cx: &mut Context<'_>, selected: &mut Selected) -> Progress {
        let mut store = cx.store();
        if self.done.is_none() {
            match tell_selected(selected, false, &mut io.out, &mut store) {
                Told::Whole => {}
                Told::More => return Progress::Next(Next::Send),
                Told::Gone => return Progress::Done(super::removed()),
            }
            match self.change(&mut store, selected) {
                Ok(telling) => self.done = Some(telling),
                Err(reply) => return Progress::Done(reply),
            }
        }
        self.tell(io, &mut store, selected)
    }
}

impl Store {
    fn change(&self, store: &mut Access<'_>, selected: &mut Selected) -> Result<Telling, Reply> {
        let view = &selected.view;
        let folder = store.folder(view.account, view.folder).ok_or_else(super::removed)?;
        let expunged = self.by == By::Sequence && copy::has_expunged(view, folder, &self.set);
        let rest = folder.live().any(|message| self.set.contains(message.uid));
        let set = store.flags_set(view, &self.set, self.change, self.given, self.unchanged_since)?;
        selected.view.skip_flags(set.serial);
        let modified = match self.by {
            By::Uid => set.modified.clone(),
            By::Sequence => sequence_numbers(store, selected, &set.modified).ok_or_else(super::removed)?,
        };
        let reply = if !modified.is_empty() {
            Reply::ok("Some messages had changed").with(ReplyCode::Modified(modified))
        } else if expunged && !rest && !self.silent {
            Reply::no("EXPUNGEISSUED", "These messages have been expunged")
        } else if expunged {
            Reply::ok("Stored; some messages have been expunged").with(ReplyCode::Word("EXPUNGEISSUED"))
        } else {
            Reply::ok("Stored")
        };
        Ok(Telling { modified: set.modified, next: Uid(1), reply })
    }

    /// Tells the flags of the set's messages. Of a silent one only MODSEQ, if CONDSTORE is on (RFC 7162 §3.1.3), and all of what
    /// was left alone.
    fn tell(&mut self, io: &mut Io, store: &mut Access<'_>, selected: &mut Selected) -> Progress {
        let Some(telling) = &mut self.done else { return Progress::Done(super::removed()) };
        let Some(account) = store.account(selected.view.account) else {
            return Progress::Done(super::removed());
        };
        tell_keywords(selected, account, &mut io.out);
        let Some(folder) = account.folders.get(&selected.view.folder) else {
            return Progress::Done(super::removed());
        };
        if self.silent && !selected.condstore {
            return Progress::Done(telling.reply.clone());
        }
        while let Some(entry) = selected.view.next_in(folder, &self.set, telling.next) {
            if io.out.len() >= OUT_BYTES {
                return Progress::Next(Next::Send);
            }
            let message = entry.message;
            telling.next = Uid(message.uid.0.saturating_add(1));
            let whole = !self.silent || telling.modified.contains(message.uid);
            if !entry.expunged {
                let line = FlagLine {
                    seq: entry.seq,
                    uid: message.uid,
                    tell_uid: self.by == By::Uid,
                    flags: whole.then_some(message.flags),
                    serial: message.serial,
                };
                line.print(selected, account, &mut io.out);
            }
            if message.uid.0 == u32::MAX {
                break;
            }
        }
        Progress::Done(telling.reply.clone())
    }
}

/// The numbers at which the view has these messages, as a set.
fn sequence_numbers(store: &mut Access<'_>, selected: &Selected, uids: &UidSet) -> Option<UidSet> {
    let view = &selected.view;
    let folder = store.folder(view.account, view.folder)?;
    let entries = uids.iter().filter_map(|uid| view.find(folder, uid));
    Some(UidSet::from_ascending(entries.map(|entry| Uid(entry.seq))))
}
