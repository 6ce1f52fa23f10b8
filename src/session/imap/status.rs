//! STATUS (RFC 3501 §6.3.10, RFC 7162 §3.1.7), also of the folder that is open.

use super::folders::canonical;
use super::job::Reply;
use super::{Call, Client};
use crate::session::Context;
use crate::store::{Folder, StoreError};
use crate::types::FolderId;
use crate::wire::imap::{StatusItem, reply};

pub(super) fn status(call: Call<'_, '_>, name: &str, items: &[StatusItem]) -> Result<Reply, Reply> {
    let Call { client, out, cx } = call;
    let name = canonical(name);
    let account = client.account()?;
    let id = {
        let mut store = cx.store();
        let found = store.account(account).and_then(|known| known.folder_by_name(&name));
        found.ok_or(StoreError::Missing)?.id
    };
    if items.contains(&StatusItem::HighestModSeq) {
        client.enable_condstore(out, cx);
    }
    tell(client, id, &name, items, out, cx);
    Ok(Reply::ok("Status told"))
}

/// The STATUS response of a folder, if it is still there.
pub(super) fn tell(
    client: &Client,
    id: FolderId,
    name: &str,
    items: &[StatusItem],
    out: &mut Vec<u8>,
    cx: &mut Context<'_>,
) {
    let Ok(account) = client.account() else { return };
    let mut store = cx.store();
    let Some(folder) = store.folder(account, id) else { return };
    let numbers: Vec<_> = items.iter().map(|item| (*item, number(client, folder, *item))).collect();
    reply::status(out, name, &numbers);
}

fn number(client: &Client, folder: &Folder, item: StatusItem) -> u64 {
    match item {
        StatusItem::Messages => u64::from(folder.count()),
        StatusItem::Recent => u64::from(recent(client, folder)),
        StatusItem::UidNext => u64::from(folder.uid_next.0),
        StatusItem::UidValidity => u64::from(folder.uid_validity),
        StatusItem::Unseen => u64::from(folder.unseen),
        StatusItem::HighestModSeq => folder.serial.0,
    }
}

/// What is \Recent in no session yet, and what is in this one's view if it has taken it.
fn recent(client: &Client, folder: &Folder) -> u32 {
    let nobodys = folder.live().filter(|message| message.uid >= folder.recent_from).count() as u32;
    let view = client.selected.as_deref().map(|selected| &selected.view);
    let ours = view.filter(|view| view.folder == folder.id && !view.read_only);
    nobodys + ours.map_or(0, |view| view.recent_count(folder))
}
