//! The facts that the state is made of, as the journal keeps them.
//!
//! A record frame's payload is one byte of schema and then records in postcard, one after the other, applied together or not at all;
//! they share the frame's serial. postcard is not self-describing, so variants are only ever added at the end, and a variant's fields never change:
//! a new meaning is a new variant. The golden bytes below hold that promise.
//!
//! A change that is larger than a frame is several, each of which begins with [`Record::Part`]: they are written in one batch, and hold
//! together or not at all.
//!
//! A flag record carries the resulting flags of every message that it names, not the change: the newest one is the whole truth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{
    AccountId, BodyId, Class, Flags, FolderId, Language, Serial, SpecialUse, Time, Uid, UidSet,
};

/// The schema that this program writes.
const SCHEMA: u8 = 1;
/// Bytes of a part's beginning: the schema, and `Record::Part` with two numbers.
const PART_BYTES_MAX: usize = 12;
/// Ranges of one piece of a set that does not fit a frame: at most ten bytes each, so that it fits the smallest segment's.
const RANGES_OF_A_PIECE: usize = 400;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Mail for this domain is ours. Lower case.
    DomainAdded(String),
    /// It is no longer.
    DomainRemoved(String),
    /// A mailbox exists. Its folders follow as records of their own.
    AccountAdded {
        /// Its number.
        account: AccountId,
        /// Its address, in lower case: the login.
        address: String,
        /// Its bucket.
        class: Class,
        /// The bucket's size, bytes.
        bucket_bytes: u64,
        /// argon2id hash of its password, as a PHC string.
        phc: String,
    },
    /// It is gone with all that it held.
    AccountRemoved(AccountId),
    /// It has another password: from now on only this one.
    AccountPassword {
        /// Whose.
        account: AccountId,
        /// argon2id hash, as a PHC string.
        phc: String,
    },
    /// It has another bucket.
    AccountSize {
        /// Whose.
        account: AccountId,
        /// The class.
        class: Class,
        /// The size, bytes.
        bucket_bytes: u64,
    },
    /// Mail for `address` goes to `target`. Both in lower case.
    AliasAdded {
        /// The alias.
        address: String,
        /// A mailbox of ours.
        target: String,
    },
    /// It no longer does.
    AliasRemoved(String),
    /// The administrator's password.
    AdminPassword(String),
    /// What TLS shows.
    Certificate {
        /// DER certificates, the server's own first.
        chain: Vec<Vec<u8>>,
        /// PKCS #8 private key, DER.
        key: Vec<u8>,
    },
    /// A folder exists.
    FolderAdded {
        /// Whose.
        account: AccountId,
        /// Its number in the account.
        folder: FolderId,
        /// Its whole name, levels parted by `/`.
        name: String,
        /// From the store-wide counter: never used again.
        uid_validity: u32,
        /// What it is for.
        special: Option<SpecialUse>,
    },
    /// A folder has another name.
    FolderRenamed {
        /// Whose.
        account: AccountId,
        /// Which.
        folder: FolderId,
        /// Its new whole name.
        name: String,
    },
    /// A folder is gone with its messages.
    FolderRemoved {
        /// Whose.
        account: AccountId,
        /// Which.
        folder: FolderId,
    },
    /// A name is subscribed to, whether a folder of that name exists or not (RFC 3501 §6.3.6).
    Subscribed {
        /// Whose.
        account: AccountId,
        /// The whole name.
        name: String,
    },
    /// It no longer is.
    Unsubscribed {
        /// Whose.
        account: AccountId,
        /// The whole name.
        name: String,
    },
    /// The account's next keyword; its number is how many there were.
    KeywordAdded {
        /// Whose.
        account: AccountId,
        /// As it was first written.
        name: String,
    },
    /// A message is in a folder: delivered, appended, copied or moved there.
    MessageAdded {
        /// Whose.
        account: AccountId,
        /// Where.
        folder: FolderId,
        /// Its UID there.
        uid: Uid,
        /// Its bytes.
        body: BodyId,
        /// How many they are.
        size: u32,
        /// What it costs its bucket, bytes.
        charge: u32,
        /// Its INTERNALDATE.
        date: Time,
        /// Its flags.
        flags: Flags,
    },
    /// Messages have these flags.
    FlagsSet {
        /// Whose.
        account: AccountId,
        /// Where.
        folder: FolderId,
        /// Flags, and the messages that have them now.
        groups: Vec<(Flags, UidSet)>,
    },
    /// Messages are gone from a folder.
    Expunged {
        /// Whose.
        account: AccountId,
        /// Where.
        folder: FolderId,
        /// Which.
        uids: UidSet,
    },
    /// First of its frame: the change is larger than a frame. It is the records of `of` frames of the same serial, by their
    /// numbers; they hold when all are there.
    Part {
        /// From 0.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// People are spoken to in this language.
    Language(Language),
}

/// The payload of a record frame.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut payload = vec![SCHEMA];
    for record in records {
        payload = postcard::to_extend(record, payload).expect("a Vec takes whatever postcard writes");
    }
    payload
}

/// The payloads of the frames that the change takes, where a frame has `limit` bytes: one, or parts that hold together.
/// A record that is larger by itself makes a payload that is too large.
pub fn encode_within(records: &[Record], limit: usize) -> Vec<Vec<u8>> {
    let whole = encode(records);
    if whole.len() <= limit {
        return vec![whole];
    }
    let mut parts: Vec<Vec<Record>> = vec![Vec::new()];
    let mut bytes = PART_BYTES_MAX;
    for record in records.iter().flat_map(pieces) {
        let more = encode(std::slice::from_ref(&record)).len();
        bytes += more;
        if bytes > limit {
            parts.push(Vec::new());
            bytes = PART_BYTES_MAX + more;
        }
        if let Some(part) = parts.last_mut() {
            part.push(record);
        }
    }
    let of = parts.len() as u32;
    let framed = parts.into_iter().zip(0..).map(|(mut part, number)| {
        part.insert(0, Record::Part { number, of });
        encode(&part)
    });
    framed.collect()
}

/// The record in pieces that say the same one after the other.
fn pieces(record: &Record) -> Vec<Record> {
    let chunks = |uids: &UidSet| -> Vec<UidSet> {
        uids.0.chunks(RANGES_OF_A_PIECE).map(|ranges| UidSet(ranges.to_vec())).collect()
    };
    match record {
        Record::FlagsSet { account, folder, groups } => {
            let pieces =
                groups.iter().flat_map(|(flags, uids)| chunks(uids).into_iter().map(|uids| (*flags, uids)));
            let piece = |group| Record::FlagsSet { account: *account, folder: *folder, groups: vec![group] };
            pieces.map(piece).collect()
        }
        Record::Expunged { account, folder, uids } => {
            let piece = |uids| Record::Expunged { account: *account, folder: *folder, uids };
            chunks(uids).into_iter().map(piece).collect()
        }
        other => vec![other.clone()],
    }
}

/// Changes of several frames, while they are being read.
#[derive(Debug, Default)]
pub struct Parts(BTreeMap<Serial, BTreeMap<u32, Vec<Record>>>);

impl Parts {
    /// The records of a frame, or of all frames of its change when it is the last one to come. A part that comes again is the same.
    pub fn join(&mut self, serial: Serial, mut records: Vec<Record>) -> Option<Vec<Record>> {
        let Some(Record::Part { number, of }) = records.first().cloned() else { return Some(records) };
        records.remove(0);
        let parts = self.0.entry(serial).or_default();
        parts.insert(number, records);
        if parts.len() < of as usize {
            return None;
        }
        Some(self.0.remove(&serial)?.into_values().flatten().collect())
    }

    /// Changes that are not whole.
    pub fn unfinished(&self) -> impl Iterator<Item = Serial> {
        self.0.keys().copied()
    }
}

/// The records of a payload; None if this program does not know their schema or they do not parse.
pub fn decode(payload: &[u8]) -> Option<Vec<Record>> {
    let (schema, mut rest) = payload.split_first()?;
    if *schema != SCHEMA {
        return None;
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (record, after) = postcard::take_from_bytes(rest).ok()?;
        records.push(record);
        rest = after;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let (account, folder) = (AccountId(7), FolderId(1));
        let name = || String::from("Sent");
        vec![
            Record::DomainAdded("example.test".into()),
            Record::DomainRemoved("example.test".into()),
            Record::AccountAdded {
                account,
                address: "anna@example.test".into(),
                class: Class::M,
                bucket_bytes: 1 << 25,
                phc: "$argon2id$".into(),
            },
            Record::AccountRemoved(account),
            Record::AccountPassword { account, phc: "$argon2id$".into() },
            Record::AccountSize { account, class: Class::Xl, bucket_bytes: 1 << 27 },
            Record::AliasAdded { address: "info@example.test".into(), target: "anna@example.test".into() },
            Record::AliasRemoved("info@example.test".into()),
            Record::AdminPassword("$argon2id$".into()),
            Record::Certificate { chain: vec![vec![1, 2]], key: vec![3] },
            Record::FolderAdded {
                account,
                folder,
                name: name(),
                uid_validity: 99,
                special: Some(SpecialUse::Sent),
            },
            Record::FolderRenamed { account, folder, name: name() },
            Record::FolderRemoved { account, folder },
            Record::Subscribed { account, name: name() },
            Record::Unsubscribed { account, name: name() },
            Record::KeywordAdded { account, name: "$Forwarded".into() },
            Record::MessageAdded {
                account,
                folder,
                uid: Uid(1),
                body: BodyId(300),
                size: 4096,
                charge: 4992,
                date: Time(-1),
                flags: Flags::SEEN,
            },
            Record::FlagsSet {
                account,
                folder,
                groups: vec![(Flags::DELETED, UidSet(vec![(Uid(1), Uid(3))]))],
            },
            Record::Expunged { account, folder, uids: UidSet(vec![(Uid(1), Uid(3))]) },
            Record::Part { number: 1, of: 300 },
            Record::Language(Language::German),
        ]
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(decode(&encode(&samples())), Some(samples()));
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[9, 0]), None);
        let payload = encode(&samples());
        for end in 2..payload.len() {
            if let Some(records) = decode(&payload[..end]) {
                assert!(samples().starts_with(&records));
            }
        }
    }

    #[test]
    fn a_large_change_is_parts_that_hold_together() {
        let (account, folder) = (AccountId(7), FolderId(1));
        let odd = UidSet::from_ascending((0..3000).map(|number| Uid(u32::MAX - 6000 + 2 * number)));
        let mut records = samples();
        records.pop();
        records.push(Record::FlagsSet { account, folder, groups: vec![(Flags(u64::MAX), odd.clone())] });
        records.push(Record::Expunged { account, folder, uids: odd.clone() });
        assert_eq!(encode_within(&records, 128 << 10), [encode(&records)]);
        let payloads = encode_within(&records, 8128);
        assert!(payloads.len() > 3 && payloads.iter().all(|payload| payload.len() <= 8128));
        let mut parts = Parts::default();
        // In any order, and again: only with the last one missing it is whole.
        let mut whole = None;
        for payload in payloads.iter().rev().chain(&payloads[1..]) {
            assert!(whole.is_none() || parts.unfinished().count() <= 1);
            whole = whole.or(parts.join(Serial(9), decode(payload).unwrap()));
        }
        let whole = whole.unwrap();
        assert_eq!(whole[..records.len() - 2], records[..records.len() - 2]);
        let mut flagged = Vec::new();
        let mut expunged = Vec::new();
        for record in &whole[records.len() - 2..] {
            match record {
                Record::FlagsSet { groups, .. } => {
                    groups.iter().for_each(|(_, uids)| flagged.extend(uids.iter()))
                }
                Record::Expunged { uids, .. } => expunged.extend(uids.iter()),
                other => panic!("{other:?}"),
            }
        }
        assert!(odd.iter().eq(flagged) && odd.iter().eq(expunged));
        assert_eq!(parts.unfinished().collect::<Vec<_>>(), [Serial(9)]);
    }

    /// What format 1 wrote must be read for ever.
    #[test]
    fn golden_bytes() {
        let hex: String = encode(&samples()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("record.golden").trim());
    }
}
