//! One mail transaction: sender, recipients with their places in buckets, and what becomes of the message (RFC 5321 §3.3).
//!
//! In SMTP one reply speaks for all recipients. So a message that one of them cannot take any more is given to none of them: the sender
//! hears of it, and nobody gets it twice when it is sent again. In LMTP each recipient has its own reply (RFC 2033 §4.2).
//!
//! Invariant: a 250 is said for a recipient only when the message is in that mailbox.

use super::Role;
use super::incoming::Incoming;
use crate::limits::{MESSAGE_BYTES_MAX, RECIPIENTS_MAX};
use crate::session::Context;
use crate::store::{Access, NewMessage, Recipient, Reservation, StoreError};
use crate::types::AccountId;
use crate::wire::address::Path;
use crate::wire::smtp::Mail;

/// What is reckoned for the trace fields and the structure when a place is kept by SIZE, bytes.
const EXTRA_BYTES: u64 = 1024;

/// A transaction: from MAIL to the end of the message.
pub struct Transaction {
    /// What MAIL said.
    pub mail: Mail,
    /// Who was accepted, in their order: the path, and the mailbox's index.
    recipients: Vec<(Path, usize)>,
    /// Each mailbox once, also when it was named twice.
    mailboxes: Vec<Mailbox>,
    /// How many bytes the places are good for.
    reserved_for: u64,
    /// The message, once it comes.
    pub incoming: Option<Incoming>,
}

struct Mailbox {
    account: AccountId,
    /// A place in its bucket, or why it has none any more.
    place: Result<Reservation, StoreError>,
}

/// What is said at the end.
pub enum Outcome {
    /// To all of them.
    All(&'static str),
    /// It is in all the mailboxes.
    Delivered,
    /// To each recipient, with its path (LMTP): the refusal, or none.
    Each(Vec<(Path, Option<&'static str>)>),
}

impl Transaction {
    /// MAIL has been accepted.
    pub fn new(mail: Mail) -> Transaction {
        let reserved_for = mail.size.map_or(0, |size| (size + EXTRA_BYTES).min(MESSAGE_BYTES_MAX));
        Transaction { mail, recipients: Vec::new(), mailboxes: Vec::new(), reserved_for, incoming: None }
    }

    /// Whether somebody has been accepted.
    pub fn has_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// The recipient, if there is one only.
    pub fn only_recipient(&self) -> Option<&Path> {
        match &self.recipients[..] {
            [(path, _)] => Some(path),
            _ => None,
        }
    }

    /// RCPT: who it is, and whether there is room for what was announced.
    ///
    /// # Errors
    /// The reply.
    pub fn add(&mut self, path: Path, role: Role, cx: &mut Context<'_>) -> Result<(), &'static str> {
        if self.recipients.len() >= RECIPIENTS_MAX {
            return Err("452 4.5.3 too many recipients, send the rest in another transaction");
        }
        let mut store = cx.store();
        let found = match &path {
            Path::Null => Recipient::Unknown,
            Path::Postmaster => store.recipient("postmaster", None),
            Path::Mailbox(address) => store.recipient(&address.local, Some(&address.domain)),
        };
        let account = match found {
            Recipient::Account(account) => account,
            Recipient::Unknown => return Err("550 5.1.1 no such mailbox here"),
            Recipient::Elsewhere if role == Role::Submission => {
                return Err("550 5.7.1 sending to other domains is not possible yet");
            }
            Recipient::Elsewhere => return Err("550 5.7.1 relaying refused: not a domain of this server"),
        };
        let known = self.mailboxes.iter().position(|mailbox| mailbox.account == account);
        let index = match known {
            Some(index) => index,
            None => {
                let place = store.reserve(account, self.reserved_for).map_err(refusal)?;
                self.mailboxes.push(Mailbox { account, place: Ok(place) });
                self.mailboxes.len() - 1
            }
        };
        self.recipients.push((path, index));
        Ok(())
    }

    /// Widens the places to what has come so far, and refuses the message where nobody (LMTP) or not everybody (SMTP) has room for it.
    pub fn widen(&mut self, role: Role, cx: &mut Context<'_>) {
        let Some(incoming) = &mut self.incoming else { return };
        let bytes = incoming.stored_bytes().min(MESSAGE_BYTES_MAX);
        if bytes <= self.reserved_for {
            return;
        }
        self.reserved_for = bytes;
        widen_to(&mut self.mailboxes, bytes, &mut cx.store());
        if let Some(reply) = refusal_of(&self.mailboxes, role) {
            incoming.refuse(reply);
        }
    }

    /// The message is there, and stored but for its record: delivers it.
    pub fn finish(mut self, role: Role, cx: &mut Context<'_>) -> Outcome {
        let (message, _kept) = match self.incoming.take().map(Incoming::finish) {
            Some(Ok(receiver)) => receiver.finish(cx.now),
            Some(Err(reply)) => return self.outcome(role, |_| Some(reply)),
            None => return Outcome::All("503 5.5.1 MAIL first"),
        };
        let bytes = (message.size + message.structure.len() as u64).min(MESSAGE_BYTES_MAX);
        // In one step with the store: what has room now has it also in `deliver`.
        let mut store = cx.store();
        widen_to(&mut self.mailboxes, bytes, &mut store);
        if let Some(reply) = refusal_of(&self.mailboxes, role).filter(|_| role != Role::Lmtp) {
            return Outcome::All(reply);
        }
        let results = deliver(std::mem::take(&mut self.mailboxes), message, &mut store);
        drop(store);
        self.outcome(role, |index| results.get(index).and_then(|result| result.err()).map(refusal))
    }

    /// What is said, when this is the refusal of each mailbox.
    fn outcome(self, role: Role, refusal: impl Fn(usize) -> Option<&'static str>) -> Outcome {
        if role == Role::Lmtp {
            return Outcome::Each(
                self.recipients.into_iter().map(|(path, index)| (path, refusal(index))).collect(),
            );
        }
        match self.recipients.iter().find_map(|(_, index)| refusal(*index)) {
            Some(reply) => Outcome::All(reply),
            None => Outcome::Delivered,
        }
    }
}

fn widen_to(mailboxes: &mut [Mailbox], bytes: u64, store: &mut Access<'_>) {
    for mailbox in mailboxes {
        if let Ok(place) = &mut mailbox.place
            && let Err(error) = store.reserve_more(mailbox.account, place, bytes)
        {
            mailbox.place = Err(error);
        }
    }
}

/// Why the message is refused as a whole.
fn refusal_of(mailboxes: &[Mailbox], role: Role) -> Option<&'static str> {
    let mut errors = mailboxes.iter().filter_map(|mailbox| mailbox.place.as_ref().err());
    let error = errors.next()?;
    let all = errors.count() + 1 == mailboxes.len();
    (all || role != Role::Lmtp).then(|| refusal(*error))
}

/// The result for each of the mailboxes.
fn deliver(
    mailboxes: Vec<Mailbox>,
    message: NewMessage,
    store: &mut Access<'_>,
) -> Vec<Result<(), StoreError>> {
    let mut results: Vec<Result<(), StoreError>> = Vec::new();
    let mut to = Vec::new();
    for mailbox in mailboxes {
        results.push(mailbox.place.as_ref().map(drop).map_err(|error| *error));
        if let Ok(place) = mailbox.place {
            to.push((mailbox.account, place));
        }
    }
    let delivered = store.deliver(message, to);
    let places = results.iter_mut().filter(|result| result.is_ok());
    match delivered {
        Ok(delivered) => {
            for (place, result) in places.zip(delivered) {
                *place = result.map(drop);
            }
        }
        Err(error) => places.for_each(|place| *place = Err(error)),
    }
    results
}

/// What the store's refusals are in SMTP.
pub fn refusal(error: StoreError) -> &'static str {
    match error {
        StoreError::OverQuota => "552 5.2.2 mailbox is full",
        StoreError::TooBig => "552 5.3.4 message is larger than this mailbox takes",
        StoreError::NoSpace => "452 4.3.1 no space on the medium, try again later",
        StoreError::ReadOnly => "452 4.3.1 the medium does not take anything, try again later",
        StoreError::Missing => "550 5.1.1 no such mailbox here",
        StoreError::Limit(_) | StoreError::Exists | StoreError::Cannot(_) => "451 4.3.0 could not be stored",
    }
}
