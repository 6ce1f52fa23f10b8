//! Commands on folders: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7) and NAMESPACE (RFC 2342).
//!
//! DELETE of a folder with inferiors leaves them; LIST then tells its name as \Noselect. Subscriptions are names only: they outlive
//! folders and need none (RFC 3501 §6.3.6, §6.3.9).

use super::job::Reply;
use super::{Call, Client};
use crate::store::StoreError;
use crate::types::AccountId;
use crate::wire::imap::reply;

impl Client {
    /// Whose mailbox it is.
    pub(super) fn account(&self) -> Result<AccountId, Reply> {
        self.user.as_ref().map(|user| user.account).ok_or_else(|| Reply::bad("Log in first"))
    }
}

/// INBOX has no case (RFC 3501 §5.1), nor has it at the beginning of a name of several levels: `inbox/a` is `INBOX/a`.
pub(super) fn canonical(name: &str) -> String {
    match name.split_at_checked(5) {
        Some((inbox, rest))
            if inbox.eq_ignore_ascii_case("INBOX") && (rest.is_empty() || rest.starts_with('/')) =>
        {
            format!("INBOX{rest}")
        }
        _ => String::from(name),
    }
}

/// A name for a new folder. Wildcards are refused: LIST could not tell such a folder from others.
fn new_name(name: &str) -> Result<String, Reply> {
    if name.contains(['%', '*']) {
        return Err(Reply::no("CANNOT", "A folder's name has no wildcards"));
    }
    Ok(canonical(name))
}

pub(super) fn create(call: Call<'_, '_>, name: &str) -> Result<Reply, Reply> {
    let account = call.client.account()?;
    call.cx.store().folder_create(account, &new_name(name)?, None)?;
    Ok(Reply::ok("Created"))
}

/// Whoever removes the folder that they have open has none open then.
pub(super) fn delete(call: Call<'_, '_>, name: &str) -> Result<Reply, Reply> {
    let Call { client, cx, .. } = call;
    let name = canonical(name);
    let account = client.account()?;
    let mut store = cx.store();
    let id = store.account(account).and_then(|known| known.folder_by_name(&name)).map(|folder| folder.id);
    store.folder_remove(account, &name)?;
    if client.selected.as_ref().is_some_and(|selected| Some(selected.view.folder) == id) {
        client.selected = None;
    }
    Ok(Reply::ok("Removed"))
}

pub(super) fn rename(call: Call<'_, '_>, from: &str, to: &str) -> Result<Reply, Reply> {
    let account = call.client.account()?;
    call.cx.store().folder_rename(account, &canonical(from), &new_name(to)?)?;
    Ok(Reply::ok("Renamed"))
}

pub(super) fn subscribe(call: Call<'_, '_>, name: &str) -> Result<Reply, Reply> {
    let name = canonical(name);
    if name.is_empty() {
        return Err(StoreError::Cannot("not a folder name").into());
    }
    let account = call.client.account()?;
    call.cx.store().subscribe(account, &name)?;
    Ok(Reply::ok("Subscribed"))
}

pub(super) fn unsubscribe(call: Call<'_, '_>, name: &str) -> Result<Reply, Reply> {
    let account = call.client.account()?;
    call.cx.store().unsubscribe(account, &canonical(name))?;
    Ok(Reply::ok("Unsubscribed"))
}

pub(super) fn namespace(call: Call<'_, '_>) -> Reply {
    reply::namespace(call.out);
    Reply::ok("One namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_no_case() {
        for (name, is) in [
            ("inbox", "INBOX"),
            ("InBox/a", "INBOX/a"),
            ("inboxes", "inboxes"),
            ("a/inbox", "a/inbox"),
            ("é€", "é€"),
            ("", ""),
        ] {
            assert_eq!(canonical(name), is);
        }
    }

    #[test]
    fn a_name_with_wildcards_cannot_be_listed() {
        assert!(new_name("a*b").is_err() && new_name("a%").is_err() && new_name("inbox/x").is_ok());
    }
}
