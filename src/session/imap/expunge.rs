//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1). What is gone is told by the sync that follows every command.

use super::job::Reply;
use super::{Call, Client};
use crate::store::Which;
use crate::types::UidSet;
use crate::wire::imap::{By, SequenceSet};

pub(super) const READ_ONLY: &str = "The folder is open for reading only";

pub(super) fn expunge(call: Call<'_, '_>, uids: Option<&SequenceSet>) -> Result<Reply, Reply> {
    let set: Option<UidSet> = uids.map(|uids| call.client.resolve(uids, By::Uid, call.cx)).transpose()?;
    let selected = call.client.selected.as_deref().ok_or_else(Client::nothing_open)?;
    if selected.view.read_only {
        return Err(Reply::no("", READ_ONLY));
    }
    let which = set.as_ref().map_or(Which::Deleted, Which::DeletedOf);
    call.cx.store().expunge(&selected.view, which)?;
    Ok(Reply::ok("Expunged"))
}
