//! When a snapshot is written, and what: everything that is true, a portion at a time, when there is nothing else to do.
//!
//! Refuses to stand for what an opening could not read: then everything is read again by the next one. What becomes of it in the log is in
//! `journal::snapshot`.

use super::tell::Teller;
use super::{Store, record};
use crate::journal::AppendError;

/// About what a message, a folder and a mailbox take in a snapshot, bytes.
const MESSAGE_BYTES: u64 = 24;
const FOLDER_BYTES: u64 = 96;
const ACCOUNT_BYTES: u64 = 512;

impl Store {
    /// Whether the next portion of a snapshot should be written.
    pub fn snapshot_due(&self) -> bool {
        self.sound && self.journal.snapshot_due(self.snapshot_bytes())
    }

    /// About how long a snapshot would be.
    fn snapshot_bytes(&self) -> u64 {
        let accounts = self.state.accounts.values();
        let folders = accounts.clone().flat_map(|account| account.folders.values());
        let (mut messages, mut count) = (0, 0);
        for folder in folders {
            messages += u64::from(folder.count());
            count += 1;
        }
        messages * MESSAGE_BYTES + count * FOLDER_BYTES + accounts.count() as u64 * ACCOUNT_BYTES
    }

    /// Appends the next portion of a snapshot, if one is due. The next commit makes it durable. False: there is nothing to be written.
    pub fn tell_snapshot(&mut self) -> bool {
        if !self.snapshot_due() {
            return false;
        }
        match self.try_tell() {
            Ok(()) => true,
            Err(error) => {
                // What is too large now will be so again.
                self.sound &= error != AppendError::TooLarge;
                self.journal.drop_snapshot();
                self.telling = None;
                false
            }
        }
    }

    fn try_tell(&mut self) -> Result<(), AppendError> {
        if !self.journal.is_snapshot_open() {
            self.journal.begin_snapshot();
            self.telling = Some(Teller::default());
        }
        if self.journal.tell_places()? {
            return Ok(());
        }
        let teller = self.telling.get_or_insert_default();
        let mut records = teller.next(&self.state, self.journal.portion_bytes());
        let done = teller.is_done();
        if done {
            records.push(self.given());
        }
        self.journal.tell_records(self.state.serial, &record::encode(&records))?;
        if done {
            self.telling = None;
            self.journal.end_snapshot()?;
        }
        Ok(())
    }
}
