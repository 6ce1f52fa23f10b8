//! COPY (RFC 3501 §6.4.7) and MOVE (RFC 6851), both with COPYUID (RFC 4315 §3). All of the set's messages or none.

use super::expunge::READ_ONLY;
use super::folders::canonical;
use super::job::{Reply, ReplyCode};
use super::{Call, Client};
use crate::store::{Folder, StoreError, View};
use crate::types::{Uid, UidSet};
use crate::wire::imap::By;
use crate::wire::imap::command::Transfer;
use crate::wire::imap::reply::{self, Condition};

pub(super) fn copy(call: Call<'_, '_>, command: &Transfer, moving: bool) -> Result<Reply, Reply> {
    let set = call.client.resolve(&command.set, command.by, call.cx)?;
    let Call { client, out, cx } = call;
    let selected = client.selected.as_deref().ok_or_else(Client::nothing_open)?;
    if moving && selected.view.read_only {
        return Err(Reply::no("", READ_ONLY));
    }
    let mut store = cx.store();
    let account = store.account(selected.view.account).ok_or(StoreError::Missing)?;
    let target = account.folder_by_name(&canonical(&command.mailbox));
    let target = target.ok_or(Reply::no("TRYCREATE", "There is no such folder"))?.id;
    let source = account.folders.get(&selected.view.folder).ok_or_else(super::removed)?;
    // Who counts messages by number means every one of them (RFC 2180 §4.4.1).
    if command.by == By::Sequence && has_expunged(&selected.view, source, &set) {
        return Err(Reply::no("EXPUNGEISSUED", "Some of these messages have been expunged"));
    }
    let done = if moving {
        store.r#move(&selected.view, &set, target)?
    } else {
        store.copy(&selected.view, &set, target)?
    };
    let reply = Reply::ok(if moving { "Moved" } else { "Copied" });
    let Some(done) = done else { return Ok(reply) };
    let code = ReplyCode::CopyUid(done.uid_validity, done.from, done.to);
    if !moving {
        return Ok(reply.with(code));
    }
    // Before the expunges, which would take the numbers away (RFC 6851 §4.3).
    reply::untagged(out, Condition::Ok, code.code(), "Moved to these UIDs");
    Ok(reply)
}

/// Whether the view still shows messages of the set that others have expunged.
pub(super) fn has_expunged(view: &View, folder: &Folder, set: &UidSet) -> bool {
    let gone = folder.tombstones.iter().map(|(uid, _)| *uid);
    gone.filter(|uid| set.contains(*uid)).any(|uid: Uid| view.find(folder, uid).is_some())
}
