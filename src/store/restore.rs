//! Restore: an empty store is filled with all that another one holds, of whatever size either is.
//!
//! What it held is said again, with the numbers that it had: UIDs, UIDVALIDITY, mod-sequences, UIDLs. What has been given out since the
//! backup is not known here, so whatever is given out from now on jumps ahead of it. Refuses to judge: a damaged piece of a message is
//! left out, counted, and told to who fetches it.

use super::record::{self, Present, Record};
use super::state::{Account, Folder, Message, Settings, State};
use super::{Store, StoreError, bucket};
use crate::limits::{
    PENDING_BYTES, PIECE_BYTES, RESTORE_SERIALS_SKIPPED, RESTORE_UIDS_SKIPPED, RESTORE_UIDVALIDITIES_SKIPPED,
};
use crate::types::{AccountId, BodyId, Serial, Uid};

/// Messages in one record.
const PACKED: usize = 64;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Messages.
    pub messages: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Frames of messages that could not be read.
    pub damaged: u64,
}

/// Bytes of the smallest room for buckets that the source needs, and what the target has.
pub fn room(source: &Store, target: &Store) -> (u64, u64) {
    let promised = source.state.accounts.values().map(|account| account.bucket_bytes).sum();
    (promised, bucket::room(&target.journal))
}

/// Fills `target`, a store in which nothing has happened. `progress` is told how many messages are done, and how many there are.
/// Everything is durable when it returns.
///
/// # Errors
/// The medium's, and `NoSpace`.
pub fn restore(
    source: &Store,
    target: &mut Store,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, StoreError> {
    let mut restored = Restored { mailboxes: source.state.accounts.len() as u64, ..Restored::default() };
    let folders = || source.state.accounts.values().flat_map(|account| account.folders.values());
    let all: u64 = folders().map(|folder| u64::from(folder.count())).sum();
    let of_folder =
        |folder: &'_ Folder| folder.live().map(|message| (message.body, message.size)).collect::<Vec<_>>();
    let mut bodies: Vec<(BodyId, u32)> = folders().flat_map(of_folder).collect();
    bodies.sort_unstable();
    bodies.dedup();
    let count = bodies.len() as u64;
    for ((body, size), number) in bodies.into_iter().zip(1..) {
        restored.damaged += copy_body(source, target, body, size)?;
        progress((all * number).checked_div(count).unwrap_or(all), all);
    }
    let serial = Serial(source.state.serial.0 + RESTORE_SERIALS_SKIPPED);
    for records in everything(&source.state, source.next_body) {
        commit_if(target, PENDING_BYTES)?;
        let payload = record::encode(&records);
        target.journal.append_record(AccountId::SETTINGS, serial, payload)?;
    }
    commit_if(target, 0)?;
    restored.messages = all;
    Ok(restored)
}

fn commit_if(target: &mut Store, pending_bytes: usize) -> Result<(), StoreError> {
    if target.journal.pending_bytes() > pending_bytes {
        target.commit().map_err(|_| StoreError::ReadOnly)?;
    }
    Ok(())
}

/// Copies a body's frames. Returns how many cannot be read.
fn copy_body(source: &Store, target: &mut Store, body: BodyId, size: u32) -> Result<u64, StoreError> {
    let device = source.journal.device();
    let mut damaged = 0;
    for piece in 0..(size as usize).div_ceil(PIECE_BYTES) as u16 {
        let mut payload = Vec::new();
        let read = source.journal.find(body, piece).map(|extent| extent.read(&**device, &mut payload));
        if matches!(read, Some(Ok(()))) {
            commit_if(target, PENDING_BYTES)?;
            target.journal.append_body(AccountId::SETTINGS, body, piece, payload)?;
        } else {
            damaged += 1;
        }
    }
    let mut payload = Vec::new();
    let read = source.journal.find_structure(body).map(|extent| extent.read(&**device, &mut payload));
    if matches!(read, Some(Ok(()))) {
        target.journal.append_structure(AccountId::SETTINGS, body, payload)?;
    } else {
        damaged += 1;
    }
    Ok(damaged)
}

/// All that is true, a frame's records at a time; numbers that will be given out jump ahead.
fn everything(state: &State, next_body: u64) -> impl Iterator<Item = Vec<Record>> + '_ {
    let given = Record::Given {
        next_body: BodyId(next_body),
        uid_validity: state.uid_validity.saturating_add(RESTORE_UIDVALIDITIES_SKIPPED),
        account: state.account_last,
    };
    let accounts = state.accounts.values().flat_map(|account| mailbox(&state.settings, account));
    settings(state).chain([given]).map(|record| vec![record]).chain(accounts)
}

fn settings(state: &State) -> impl Iterator<Item = Record> + '_ {
    // Each one by name: a setting that nobody has thought of here would be lost.
    let Settings {
        position: _,
        domains,
        addresses: _,
        passwords: _,
        aliases,
        admin,
        certificate,
        network,
        host,
        time_servers,
        language,
        history,
    } = &state.settings;
    let aliases = aliases
        .iter()
        .map(|(address, target)| Record::AliasAdded { address: address.clone(), target: target.clone() });
    let admin = admin.iter().map(|phc| Record::AdminPassword(phc.clone()));
    let certificate = certificate
        .iter()
        .map(|shown| Record::Certificate { chain: shown.chain.clone(), key: shown.key.clone() });
    let whole = [
        Record::DomainsAre(domains.clone()),
        Record::Network(network.clone()),
        Record::HostName(host.clone()),
        Record::TimeServers(time_servers.clone()),
        Record::Language(*language),
    ];
    let clock = state.clock.map(Record::Clock);
    whole
        .into_iter()
        .chain(aliases)
        .chain(admin)
        .chain(certificate)
        .chain(clock)
        .chain(history.tell(|_| true))
}

fn mailbox<'a>(settings: &'a Settings, account: &'a Account) -> impl Iterator<Item = Vec<Record>> + 'a {
    let id = account.id;
    let phc = settings.passwords.get(&id).map(|(phc, _)| phc.clone()).unwrap_or_default();
    let itself = vec![
        Record::AccountIs {
            account: id,
            address: account.address.clone(),
            class: account.class,
            bucket_bytes: account.bucket_bytes,
            phc,
            folder_last: account.folder_last,
        },
        Record::KeywordsAre { account: id, names: account.keywords.clone() },
        Record::SubscriptionsAre { account: id, names: account.subscriptions.iter().cloned().collect() },
    ];
    std::iter::once(itself).chain(account.folders.values().flat_map(move |folder| messages(id, folder)))
}

fn messages(account: AccountId, folder: &Folder) -> impl Iterator<Item = Vec<Record>> + '_ {
    let itself = Record::FolderIs {
        account,
        folder: folder.id,
        name: folder.name.clone(),
        uid_validity: folder.uid_validity,
        special: folder.special,
        uid_next: Uid(folder.uid_next.0.saturating_add(RESTORE_UIDS_SKIPPED)),
        serial: folder.serial,
    };
    let mut rest = folder.live().map(|message| present(*message)).peekable();
    let packed = std::iter::from_fn(move || {
        rest.peek()?;
        let messages = rest.by_ref().take(PACKED).collect();
        Some(vec![Record::MessagesAre { account, folder: folder.id, messages }])
    });
    std::iter::once(vec![itself]).chain(packed)
}

fn present(message: Message) -> Present {
    let Message { uid, size, charge, flags, serial, body, date } = message;
    Present { uid, body, size, charge, date, flags, serial }
}
