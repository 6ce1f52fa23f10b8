//! SELECT and EXAMINE (RFC 3501 §6.3.1 and §6.3.2, RFC 7162 §3.1.2).

use super::job::{Reply, ReplyCode, Selected};
use super::{Call, folders, sync};
use crate::store::StoreError;
use crate::types::Flags;
use crate::wire::imap::command::Select;
use crate::wire::imap::reply::{self, Code, Condition};

/// Opens a folder. The one that was open is closed in any case, without an expunge.
pub(super) fn open(call: Call<'_, '_>, select: &Select, read_only: bool) -> Result<Reply, Reply> {
    let Call { client, out, cx } = call;
    client.selected = None;
    client.condstore |= select.condstore;
    let account = client.account()?;
    let missing = || Reply::from(StoreError::Missing);
    let mut store = cx.store();
    let known = store.account(account).ok_or_else(missing)?;
    let id = known.folder_by_name(&folders::canonical(&select.mailbox)).ok_or_else(missing)?.id;
    let view = store.open(account, id, read_only).ok_or_else(missing)?;
    let known = store.account(account).ok_or_else(missing)?;
    let folder = known.folders.get(&id).ok_or_else(missing)?;
    // No account has this many keywords: FLAGS is told now in any case.
    let keywords_told = usize::MAX;
    let (uid_validity, condstore) = (folder.uid_validity, client.condstore);
    let mut selected = Box::new(Selected { view, condstore, uid_validity, keywords_told });
    sync::tell_keywords(&mut selected, known, out);
    reply::numbered(out, selected.view.count(folder), "EXISTS");
    reply::numbered(out, selected.view.recent_count(folder), "RECENT");
    if folder.unseen > 0
        && let Some(index) = folder.live().position(|message| !message.flags.contains(Flags::SEEN))
    {
        reply::untagged(out, Condition::Ok, Some(Code::Unseen(index as u32 + 1)), "First unseen message");
    }
    reply::untagged(out, Condition::Ok, Some(Code::UidValidity(uid_validity)), "UIDs are valid");
    reply::untagged(out, Condition::Ok, Some(Code::UidNext(folder.uid_next)), "Next UID");
    reply::untagged(out, Condition::Ok, Some(Code::HighestModSeq(folder.serial)), "Highest mod-sequence");
    client.selected = Some(selected);
    let (code, text) = if read_only { ("READ-ONLY", "Examined") } else { ("READ-WRITE", "Selected") };
    Ok(Reply::ok(text).with(ReplyCode::Word(code)))
}
