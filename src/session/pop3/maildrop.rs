//! The mailbox of a POP3 session: INBOX as it was at login, numbered, with the marks of DELE (RFC 1939 §5).
//!
//! Refuses to see what comes later: no `sync`, so numbers and sizes stay while IMAP and deliveries go on. What others expunge
//! meanwhile stays numbered; it cannot be fetched any more, and may be deleted once more.
//!
//! Invariant: nothing is removed before [`Maildrop::update`].

use crate::session::Context;
use crate::session::login::User;
use crate::store::{Entry, Pop3Lock, StoreError, View, Which};
use crate::types::{FolderId, Uid, UidSet};

use super::text::Text;

/// A mailbox that is open, and locked until this is dropped.
#[derive(Debug)]
pub struct Maildrop {
    /// Whose.
    pub user: User,
    view: View,
    uid_validity: u32,
    /// All messages and their octets at login, deleted ones among them.
    count: u32,
    octets: u64,
    /// Marked messages, ascending, and their octets.
    deleted: Vec<Uid>,
    deleted_octets: u64,
    _lock: Pop3Lock,
}

impl Maildrop {
    /// Locks and opens the mailbox of somebody who has logged in.
    ///
    /// # Errors
    /// What to say instead.
    pub fn open(user: User, cx: &mut Context<'_>) -> Result<Maildrop, Text> {
        let mut store = cx.store();
        let account = user.account;
        let known = store.account(account).is_some();
        let lock = store.pop3_lock(account).ok_or(if known { Text::InUse } else { Text::MailboxGone })?;
        let view = store.open(account, FolderId::INBOX, true).ok_or(Text::MailboxGone)?;
        let folder = store.folder(account, FolderId::INBOX).ok_or(Text::MailboxGone)?;
        let octets = folder.live().map(|message| u64::from(message.size)).sum();
        Ok(Maildrop {
            uid_validity: folder.uid_validity,
            count: view.count(folder),
            octets,
            user,
            view,
            deleted: Vec::new(),
            deleted_octets: 0,
            _lock: lock,
        })
    }

    /// The highest message number.
    pub fn last(&self) -> u32 {
        self.count
    }

    /// Messages that are not marked, and their octets.
    pub fn total(&self) -> [u64; 2] {
        [u64::from(self.count) - self.deleted.len() as u64, self.octets - self.deleted_octets]
    }

    fn entry(&self, number: u32, cx: &mut Context<'_>) -> Result<Entry, Text> {
        let mut store = cx.store();
        let folder = store.folder(self.view.account, self.view.folder).ok_or(Text::MailboxGone)?;
        self.view.by_seq(folder, number).ok_or(Text::NoSuchMessage)
    }

    /// A message that is not marked.
    ///
    /// # Errors
    /// What to say instead.
    pub fn message(&self, number: u32, cx: &mut Context<'_>) -> Result<Entry, Text> {
        let entry = self.entry(number, cx)?;
        match self.deleted.binary_search(&entry.message.uid) {
            Ok(_) => Err(Text::DeletedAlready),
            Err(_) => Ok(entry),
        }
    }

    /// Appends what LIST or UIDL say of one message.
    pub fn describe(&self, entry: &Entry, uidl: bool, out: &mut Vec<u8>) {
        let Entry { seq, message, .. } = entry;
        let line = match uidl {
            true => format!("{seq} {}.{}\r\n", self.uid_validity, message.uid),
            false => format!("{seq} {}\r\n", message.size),
        };
        out.extend_from_slice(line.as_bytes());
    }

    /// Appends what LIST or UIDL say of all messages that are not marked, from a number on, until `out` has `bytes` or all is
    /// said. The number to go on with.
    pub fn list(&self, from: u32, uidl: bool, bytes: usize, out: &mut Vec<u8>, cx: &mut Context<'_>) -> u32 {
        let mut store = cx.store();
        let Some(folder) = store.folder(self.view.account, self.view.folder) else { return self.count + 1 };
        let mut number = from;
        while number <= self.count && out.len() < bytes {
            if let Some(entry) = self.view.by_seq(folder, number)
                && self.deleted.binary_search(&entry.message.uid).is_err()
            {
                self.describe(&entry, uidl, out);
            }
            number += 1;
        }
        number
    }

    /// Marks a message.
    ///
    /// # Errors
    /// What to say instead.
    pub fn delete(&mut self, number: u32, cx: &mut Context<'_>) -> Result<(), Text> {
        let entry = self.message(number, cx)?;
        let place = self.deleted.partition_point(|uid| *uid < entry.message.uid);
        self.deleted.insert(place, entry.message.uid);
        self.deleted_octets += u64::from(entry.message.size);
        Ok(())
    }

    /// Takes all marks off.
    pub fn reset(&mut self) {
        self.deleted = Vec::new();
        self.deleted_octets = 0;
    }

    /// The UPDATE state (RFC 1939 §6): what is marked goes, all at once.
    ///
    /// # Errors
    /// The store's: then nothing has gone.
    pub fn update(&self, cx: &mut Context<'_>) -> Result<(), StoreError> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        let marked = UidSet::from_ascending(self.deleted.iter().copied());
        cx.store().expunge(&self.view, Which::These(&marked)).map(drop)
    }
}
