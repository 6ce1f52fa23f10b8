//! CLOSE (RFC 3501 §6.4.2) and UNSELECT (RFC 3691).

use super::Call;
use super::job::Reply;
use crate::store::Which;

/// Expunges what is \Deleted, silently, unless the folder was opened by EXAMINE. On failure the folder stays open.
pub(super) fn close(call: Call<'_, '_>) -> Result<Reply, Reply> {
    if let Some(selected) = call.client.selected.as_deref()
        && !selected.view.read_only
    {
        call.cx.store().expunge(&selected.view, Which::Deleted)?;
    }
    call.client.selected = None;
    Ok(Reply::ok("Closed"))
}

pub(super) fn unselect(call: Call<'_, '_>) -> Reply {
    call.client.selected = None;
    Reply::ok("Closed, nothing expunged")
}
