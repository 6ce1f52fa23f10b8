//! The verbs on messages: reserve, deliver, append, flag, expunge, copy, move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bucket::{self, Reservation};
use super::packed::Messages;
use super::record::Record;
use super::state::Message;
use super::view::View;
use super::{Access, StoreError};
use crate::limits::{CHARGE_OVERHEAD_BYTES, KEYWORD_BYTES_MAX, KEYWORDS_MAX, MESSAGE_BYTES_MAX};
use crate::types::{AccountId, BodyId, FlagChange, Flags, FolderId, Serial, Time, Uid, UidSet};

/// A message whose pieces are all in the journal's hands.
#[derive(Debug)]
pub struct NewMessage {
    /// Its bytes.
    pub body: BodyId,
    /// How many they are.
    pub size: u64,
    /// Its structure, encoded.
    pub structure: Vec<u8>,
    /// INTERNALDATE.
    pub date: Time,
}

/// Which messages of a view an expunge takes.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those that are \Deleted (EXPUNGE, CLOSE).
    Deleted,
    /// Those of the set that are \Deleted (UID EXPUNGE, RFC 4315 §2.1).
    DeletedOf(&'a UidSet),
    /// Those of the set, whatever their flags (POP3's QUIT).
    These(&'a UidSet),
}

/// What a copy or a move has done, for COPYUID (RFC 4315 §3). The nth UID of `from` became the nth of `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the target.
    pub uid_validity: u32,
    /// UIDs in the source.
    pub from: UidSet,
    /// UIDs in the target.
    pub to: UidSet,
}

/// What a flag change has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagsSet {
    /// The mod-sequence of what has changed; the folder's, when nothing has.
    pub serial: Serial,
    /// Messages left alone because they had changed after UNCHANGEDSINCE (RFC 7162 §3.1.3).
    pub modified: UidSet,
}

impl Access<'_> {
    /// Keeps a place of `bytes` in the account's bucket for a message that is coming in. Not gated: nothing is told but "go on".
    ///
    /// # Errors
    /// `OverQuota`; `TooBig` when no emptying would help; `Missing`.
    pub fn reserve(&mut self, account: AccountId, bytes: u64) -> Result<Reservation, StoreError> {
        let account = self.store.state.accounts.get(&account).ok_or(StoreError::Missing)?;
        if bytes > bucket::message_bytes_max(account.bucket_bytes) {
            return Err(StoreError::TooBig);
        }
        let bytes = bucket::charge(bytes, CHARGE_OVERHEAD_BYTES);
        if account.used_bytes + account.reserved_bytes() + bytes > account.bucket_bytes {
            return Err(StoreError::OverQuota);
        }
        account.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Reservation { counter: Arc::clone(&account.reserved_bytes), bytes })
    }

    /// Widens a reservation to a message of `bytes` in all; for one whose size was not announced.
    ///
    /// # Errors
    /// As `reserve`; the reservation stays as it was.
    pub fn reserve_more(
        &mut self,
        account: AccountId,
        reservation: &mut Reservation,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let known = self.store.state.accounts.get(&account).ok_or(StoreError::Missing)?;
        if bytes > bucket::message_bytes_max(known.bucket_bytes) {
            return Err(StoreError::TooBig);
        }
        let wanted = bucket::charge(bytes, CHARGE_OVERHEAD_BYTES);
        let more = wanted.saturating_sub(reservation.bytes);
        if known.used_bytes + known.reserved_bytes() + more > known.bucket_bytes {
            return Err(StoreError::OverQuota);
        }
        reservation.counter.fetch_add(more, Ordering::Relaxed);
        reservation.bytes += more;
        Ok(())
    }

    /// The largest message that the account takes, bytes (SIZE, APPENDLIMIT).
    pub fn message_bytes_max(&mut self, account: AccountId) -> u64 {
        let known = self.store.state.accounts.get(&account);
        known.map_or(MESSAGE_BYTES_MAX, |account| bucket::message_bytes_max(account.bucket_bytes))
    }

    /// Puts a message into the INBOX of each of these accounts, all at once. Each result belongs to the account at its place; the
    /// reservations are used up.
    ///
    /// # Errors
    /// The medium's: then nobody has it.
    pub fn deliver(
        &mut self,
        message: NewMessage,
        to: Vec<(AccountId, Reservation)>,
    ) -> Result<Vec<Result<Uid, StoreError>>, StoreError> {
        let to: Vec<_> = to.into_iter().map(|(account, kept)| (account, FolderId::INBOX, kept)).collect();
        self.add(message, Flags::NONE, to)
    }

    /// Puts a message into a folder (IMAP APPEND).
    ///
    /// # Errors
    /// `Missing`, `OverQuota`, and the medium's.
    pub fn append(
        &mut self,
        message: NewMessage,
        flags: Flags,
        account: AccountId,
        folder: FolderId,
        reservation: Reservation,
    ) -> Result<(u32, Uid), StoreError> {
        let uid = match self.add(message, flags, vec![(account, folder, reservation)])?.pop() {
            Some(result) => result?,
            None => return Err(StoreError::Missing),
        };
        let uid_validity = self.folder(account, folder).ok_or(StoreError::Missing)?.uid_validity;
        Ok((uid_validity, uid))
    }

    fn add(
        &mut self,
        message: NewMessage,
        flags: Flags,
        to: Vec<(AccountId, FolderId, Reservation)>,
    ) -> Result<Vec<Result<Uid, StoreError>>, StoreError> {
        let NewMessage { body, size, structure, date } = message;
        // Compaction may have found its sender gone, between the last piece and this.
        if size > 0 && !self.store.journal.knows(body) {
            return Err(StoreError::NoSpace);
        }
        let charge = bucket::charge(size, structure.len() as u64);
        let mut records = Vec::new();
        let mut results = Vec::new();
        // Several deliveries of one message to one folder get UIDs one after the other.
        let mut given: BTreeMap<(AccountId, FolderId), u32> = BTreeMap::new();
        for (account, folder, reservation) in to {
            let known = self.store.state.accounts.get(&account);
            let Some((known, target)) = known.and_then(|known| Some((known, known.folders.get(&folder)?)))
            else {
                results.push(Err(StoreError::Missing));
                continue;
            };
            let others = known.reserved_bytes() - reservation.bytes;
            if known.used_bytes + others + charge > known.bucket_bytes {
                results.push(Err(StoreError::OverQuota));
                continue;
            }
            let nth = given.entry((account, folder)).or_default();
            let uid = Uid(target.uid_next.0.checked_add(*nth).ok_or(StoreError::Limit("UIDs"))?);
            *nth += 1;
            records.push(Record::MessageAdded {
                account,
                folder,
                uid,
                body,
                size: size as u32,
                charge: charge as u32,
                date,
                flags,
            });
            results.push(Ok(uid));
        }
        if records.is_empty() {
            return Ok(results);
        }
        let owner = match given.len() {
            1 => given.keys().next().map_or(AccountId::SETTINGS, |(account, _)| *account),
            _ => AccountId::SETTINGS,
        };
        self.store.journal.append_structure(owner, body, structure)?;
        self.record(owner, &records)?;
        Ok(results)
    }

    /// The flags of these keywords, with keywords added to the account's table where it has them not yet.
    ///
    /// # Errors
    /// `Limit` when the table is full; the medium's.
    pub fn keywords(&mut self, account: AccountId, names: &[&str]) -> Result<Flags, StoreError> {
        let mut flags = Flags::NONE;
        for name in names {
            let table = &self.account(account).ok_or(StoreError::Missing)?.keywords;
            let index = match table.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                Some(index) => index,
                None if table.len() >= KEYWORDS_MAX => return Err(StoreError::Limit("keywords")),
                None if name.len() > KEYWORD_BYTES_MAX => return Err(StoreError::Limit("keyword too long")),
                None => {
                    let index = table.len();
                    self.record(account, &[Record::KeywordAdded { account, name: String::from(*name) }])?;
                    index
                }
            };
            flags = flags.with(Flags::keyword(index));
        }
        Ok(flags)
    }

    /// Changes the flags of the set's messages. Expunged ones are passed over; others are changed all the same (RFC 2180 §4.2).
    /// Before it, the session has told the view's flag changes (`sync`); after it, it tells these and calls `View::skip_flags`.
    ///
    /// # Errors
    /// `Missing` when the folder is gone; the medium's.
    pub fn flags_set(
        &mut self,
        view: &View,
        set: &UidSet,
        change: FlagChange,
        given: Flags,
        unchanged_since: Option<Serial>,
    ) -> Result<FlagsSet, StoreError> {
        let folder = self.folder(view.account, view.folder).ok_or(StoreError::Missing)?;
        let mut serial = folder.serial;
        let mut modified = UidSet::default();
        let mut groups: BTreeMap<u64, UidSet> = BTreeMap::new();
        for message in members(&folder.messages, set).filter(|message| message.uid < view.uid_next) {
            if unchanged_since.is_some_and(|since| message.serial > since) {
                modified.push(message.uid);
                continue;
            }
            let flags = change.of(message.flags, given);
            if flags != message.flags {
                groups.entry(flags.0).or_default().push(message.uid);
            }
        }
        if !groups.is_empty() {
            let groups = groups.into_iter().map(|(flags, uids)| (Flags(flags), uids)).collect();
            let record = Record::FlagsSet { account: view.account, folder: view.folder, groups };
            serial = self.record(view.account, &[record])?;
        }
        Ok(FlagsSet { serial, modified })
    }

    /// Expunges messages of the view. What goes is told by the next `sync`.
    ///
    /// # Errors
    /// `Missing` when the folder is gone; the medium's.
    pub fn expunge(&mut self, view: &View, which: Which<'_>) -> Result<UidSet, StoreError> {
        let folder = self.folder(view.account, view.folder).ok_or(StoreError::Missing)?;
        let all = UidSet(vec![(Uid(0), Uid(u32::MAX))]);
        let (set, deleted) = match which {
            Which::Deleted => (&all, true),
            Which::DeletedOf(set) => (set, true),
            Which::These(set) => (set, false),
        };
        let gone = members(&folder.messages, set).filter(|message| {
            message.uid < view.uid_next && (!deleted || message.flags.contains(Flags::DELETED))
        });
        let uids = UidSet::from_ascending(gone.map(|message| message.uid));
        if !uids.is_empty() {
            let record = Record::Expunged { account: view.account, folder: view.folder, uids: uids.clone() };
            self.record(view.account, &[record])?;
        }
        Ok(uids)
    }

    /// Copies the set's messages to another folder of the account, all or none (RFC 3501 §6.4.7). None: the set has no message.
    ///
    /// # Errors
    /// `Missing`, `OverQuota`, `Limit`, and the medium's.
    pub fn copy(
        &mut self,
        view: &View,
        set: &UidSet,
        target: FolderId,
    ) -> Result<Option<Copied>, StoreError> {
        self.copy_or_move(view.account, view.folder, view.uid_next, set, target, false)
    }

    /// Moves them (RFC 6851): as a copy and an expunge in one, so it needs no room.
    ///
    /// # Errors
    /// As `copy`, less `OverQuota`.
    pub fn r#move(
        &mut self,
        view: &View,
        set: &UidSet,
        target: FolderId,
    ) -> Result<Option<Copied>, StoreError> {
        self.copy_or_move(view.account, view.folder, view.uid_next, set, target, true)
    }

    /// Moves everything, for the renaming of INBOX.
    pub(super) fn move_all(
        &mut self,
        account: AccountId,
        from: FolderId,
        to: FolderId,
    ) -> Result<(), StoreError> {
        let all = UidSet(vec![(Uid(1), Uid(u32::MAX))]);
        self.copy_or_move(account, from, Uid(u32::MAX), &all, to, true).map(drop)
    }

    fn copy_or_move(
        &mut self,
        account: AccountId,
        source: FolderId,
        below: Uid,
        set: &UidSet,
        target: FolderId,
        moving: bool,
    ) -> Result<Option<Copied>, StoreError> {
        let known = self.account(account).ok_or(StoreError::Missing)?;
        let from = known.folders.get(&source).ok_or(StoreError::Missing)?;
        let to = known.folders.get(&target).ok_or(StoreError::Missing)?;
        let messages: Vec<Message> =
            members(&from.messages, set).filter(|message| message.uid < below).collect();
        if messages.is_empty() {
            return Ok(None);
        }
        let charge: u64 = messages.iter().map(|message| u64::from(message.charge)).sum();
        if !moving && known.used_bytes + known.reserved_bytes() + charge > known.bucket_bytes {
            return Err(StoreError::OverQuota);
        }
        let (uid_validity, first) = (to.uid_validity, to.uid_next.0);
        if first.checked_add(messages.len() as u32).is_none() {
            return Err(StoreError::Limit("UIDs"));
        }
        let uids = UidSet::from_ascending(messages.iter().map(|message| message.uid));
        let mut records = Vec::with_capacity(messages.len() + 1);
        for (message, uid) in messages.iter().zip(first..) {
            records.push(Record::MessageAdded {
                account,
                folder: target,
                uid: Uid(uid),
                body: message.body,
                size: message.size,
                charge: message.charge,
                date: message.date,
                flags: message.flags,
            });
        }
        if moving {
            records.push(Record::Expunged { account, folder: source, uids: uids.clone() });
        }
        self.record(account, &records)?;
        let last = Uid(first + messages.len() as u32 - 1);
        Ok(Some(Copied { uid_validity, from: uids, to: UidSet(vec![(Uid(first), last)]) }))
    }
}

/// The messages of a set that are not expunged.
fn members(messages: &Messages, set: &UidSet) -> impl Iterator<Item = Message> {
    let ranges = set.0.iter().flat_map(|(first, last)| messages.range(*first, *last));
    ranges.filter(|message| !message.expunged())
}
