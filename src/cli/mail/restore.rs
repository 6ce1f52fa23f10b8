//! `postfach restore --mailbox`: the mail of one mailbox as a backup has it, into folders beside what the mailbox has now.
//!
//! It comes as an import does: what is there stays as it is, and the same again brings nothing. The backup is read like a store, message
//! by message, a piece at a time. It refuses to guess: a message of which a piece does not read as it was written is named and left out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use postfach::backup::{self, Opened};
use postfach::limits::PIECE_BYTES;
use postfach::serve;
use postfach::store::Store;
use postfach::store::state::{Account, Folder};
use postfach::types::{BodyId, Flags, Time, Uid};
use postfach::wire::date::DateTime;

use super::super::backup::lost;
use super::super::complain;
use super::Fallible;
use super::import::{Filling, Target, fill, target};
use super::marks::Marks;
use super::source::Message;

/// What is to be restored.
#[derive(Debug)]
pub struct Wanted {
    /// Into which store.
    pub store: PathBuf,
    /// Whose mailbox, there and in the backup.
    pub address: String,
    /// The backup.
    pub dir: PathBuf,
}

/// Where a message lies in a backup.
pub struct Stored {
    store: Rc<Store>,
    folder: Rc<str>,
    uid: Uid,
    body: BodyId,
}

/// Does it. True: everything is in the mailbox.
///
/// # Errors
/// Why it has not been finished.
pub fn restore(wanted: &Wanted) -> Fallible<bool> {
    serve::raise_descriptors();
    let dir = wanted.dir.display();
    let Opened { device, damage, made, .. } = backup::open(&wanted.dir).map_err(|error| error.to_string())?;
    let opened = Store::open(Arc::new(device), &mut serve::random);
    let (store, report) = opened.map_err(|error| format!("{dir}: {error}"))?;
    let store = Rc::new(store);
    let state = store.state();
    let whole = damage.is_empty() && !report.is_damaged() && state.unread_records == 0;
    if !whole {
        complain(&format!("restore: {}", lost(&wanted.dir)));
    }
    let account = state.settings.addresses.get(&wanted.address.to_lowercase());
    let account = account.and_then(|account| state.accounts.get(account));
    let account =
        account.ok_or_else(|| format!("there is no mailbox {} in the backup in {dir}", wanted.address))?;
    let (into, backup) = (name(made), Rc::from(wanted.dir.as_path()));
    let mut fillings = Vec::new();
    for folder in account.folders.values().filter(|folder| folder.count() > 0) {
        let messages = || Ok(messages(&store, &backup, account, folder));
        let folder = target(&folder.name, Some(&into), false);
        fillings.push(Filling { folder, messages: Box::new(messages) });
    }
    let target = Target { store: &wanted.store, address: &wanted.address, verb: "Restored", json: false };
    Ok(fill(&target, &fillings, None)? && whole)
}

/// The folder that a backup of this time comes into.
fn name(made: SystemTime) -> String {
    let since = made.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let (year, month, day) = DateTime::utc(time).day().date();
    format!("Restored {year:04}-{month:02}-{day:02}")
}

fn messages(store: &Rc<Store>, backup: &Rc<Path>, account: &Account, folder: &Folder) -> Vec<Message> {
    let name: Rc<str> = folder.name.as_str().into();
    let message = |found: postfach::store::state::Message| {
        let stored = Stored { store: store.clone(), folder: name.clone(), uid: found.uid, body: found.body };
        let marks = marks(found.flags, &account.keywords);
        Message::stored(backup.clone(), stored, found.size, marks, found.date)
    };
    folder.live().map(message).collect()
}

/// A message's flags by name.
fn marks(flags: Flags, names: &[String]) -> Marks {
    let mut marks = Marks::default();
    for (flag, _) in Flags::SYSTEM.iter().filter(|(flag, _)| flags.contains(*flag)) {
        marks.system = marks.system.with(*flag);
    }
    flags.keywords().filter_map(|number| names.get(number)).for_each(|name| marks.add(name));
    marks
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message UID {} of {}", self.uid, self.folder)
    }
}

impl Stored {
    /// Hands its bytes over. False: not all of its `size` bytes read as they were written.
    pub fn read(&self, size: u64, sink: &mut dyn FnMut(&[u8]) -> Fallible<()>) -> Fallible<bool> {
        let journal = self.store.journal();
        let (mut payload, mut left) = (Vec::new(), size);
        for piece in 0..size.div_ceil(PIECE_BYTES as u64) {
            let extent = u16::try_from(piece).ok().and_then(|piece| journal.find(self.body, piece));
            payload.clear();
            let read = extent.map(|extent| extent.read(&**journal.device(), &mut payload));
            let after = left.checked_sub(payload.len() as u64);
            match (read, after) {
                (Some(Ok(())), Some(after)) => left = after,
                _ => return Ok(false),
            }
            sink(&payload)?;
        }
        Ok(left == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_folder_has_the_day_of_the_backup() {
        let at = |seconds| name(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_795_478_399), "Restored 2026-11-23");
        assert_eq!(at(1_795_478_400), "Restored 2026-11-24");
    }

    #[test]
    fn flags_have_their_names() {
        let names = ["$Forwarded", "work"].map(String::from);
        let flags = Flags::SEEN.with(Flags::DELETED).with(Flags::keyword(1)).with(Flags::keyword(9));
        assert_eq!(marks(flags, &names).to_imap(), "(\\Deleted \\Seen work)");
    }
}
