//! The facts that the state is made of, as the journal keeps them.
//!
//! A record frame's payload is one byte of schema and then records in postcard, one after the other, applied together or not at all;
//! they share the frame's serial. postcard is not self-describing, so variants are only ever added at the end, and a variant's fields never change:
//! a new meaning is a new variant. The golden bytes below hold that promise.
//!
//! A change that is larger than a frame is several: see [`super::parts`].
//!
//! A flag record carries the resulting flags of every message that it names, not the change: the newest one is the whole truth.

use serde::{Deserialize, Serialize};

use super::Network;
use crate::types::{
    AccountId, BodyId, Class, Flags, FolderId, Language, Serial, SpecialUse, Time, Uid, UidSet,
};

/// The schema that this program writes.
const SCHEMA: u8 = 1;

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
        /// Private key, DER: PKCS #8, PKCS #1 or SEC 1.
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
    /// numbers; they hold when the last one is there.
    Part {
        /// From 0.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// What compaction has found: these messages are in the folder, as they are now.
    MessagesAre {
        /// Whose.
        account: AccountId,
        /// Where.
        folder: FolderId,
        /// Which.
        #[serde(with = "super::rows")]
        messages: Vec<Present>,
    },
    /// These messages have these flags, since that change.
    FlagsAre {
        /// Whose.
        account: AccountId,
        /// Where.
        folder: FolderId,
        /// The change, the flags, and the messages.
        groups: Vec<(Serial, Flags, UidSet)>,
    },
    /// No message of these UIDs is in the folder.
    MessagesGone {
        /// Whose.
        account: AccountId,
        /// Where.
        folder: FolderId,
        /// Which; also UIDs that were gone before.
        uids: UidSet,
    },
    /// A folder is so.
    FolderIs {
        /// Whose.
        account: AccountId,
        /// Its number in the account.
        folder: FolderId,
        /// Its whole name.
        name: String,
        /// RFC 3501 §2.3.1.1
        uid_validity: u32,
        /// What it is for.
        special: Option<SpecialUse>,
        /// The next message's UID, at least.
        uid_next: Uid,
        /// HIGHESTMODSEQ, at least.
        serial: Serial,
    },
    /// No folder of these numbers, first to last, is there.
    FoldersGone {
        /// Whose.
        account: AccountId,
        /// Which.
        folders: Vec<(FolderId, FolderId)>,
    },
    /// A mailbox is so.
    AccountIs {
        /// Its number.
        account: AccountId,
        /// Its address, in lower case.
        address: String,
        /// Its bucket.
        class: Class,
        /// The bucket's size, bytes.
        bucket_bytes: u64,
        /// argon2id hash of its password, as a PHC string.
        phc: String,
        /// The highest folder number ever given out.
        folder_last: FolderId,
    },
    /// No mailbox of these numbers, first to last, is there.
    AccountsGone(Vec<(AccountId, AccountId)>),
    /// The account's keywords are these and no others.
    KeywordsAre {
        /// Whose.
        account: AccountId,
        /// In the order of their numbers.
        names: Vec<String>,
    },
    /// The account has subscribed to these names and no others.
    SubscriptionsAre {
        /// Whose.
        account: AccountId,
        /// Whole names.
        names: Vec<String>,
    },
    /// Our domains are these and no others.
    DomainsAre(Vec<String>),
    /// What has been given out, whether anything of it is left or not. The serial is that of the frame.
    Given {
        /// Every body that the log has had is below it.
        next_body: BodyId,
        /// The highest UIDVALIDITY.
        uid_validity: u32,
        /// The highest account number.
        account: AccountId,
    },
    /// The network's settings, all of them.
    Network(Network),
    /// The machine's name; empty: none is set.
    HostName(String),
    /// Who is asked for the time; none: whoever DHCP names, or the pool.
    TimeServers(Vec<String>),
    /// It was this late when this was written: for a machine whose clock stops with the power.
    Clock(Time),
    /// A command has made this change.
    Changed {
        /// The entry's number; one more than the last one's.
        number: u32,
        /// When.
        time: Time,
        /// The command as it is shown.
        command: String,
        /// Whether the records of `Back` take all of it back.
        undoable: bool,
    },
    /// A part of what takes a change back.
    Back {
        /// Of which entry.
        number: u32,
        /// Its place there, from 0.
        nth: u32,
        /// What to apply.
        record: Box<Record>,
    },
    /// The entries of these numbers have been taken back or forgotten, and are gone.
    Undone {
        /// The oldest of them.
        from: u32,
        /// The newest.
        to: u32,
    },
    /// People are spoken to in this language.
    Language(Language),
}

/// A message in a folder, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its UID there.
    pub uid: Uid,
    /// Its bytes.
    pub body: BodyId,
    /// How many they are.
    pub size: u32,
    /// What it costs its bucket, bytes.
    pub charge: u32,
    /// Its INTERNALDATE.
    pub date: Time,
    /// Its flags.
    pub flags: Flags,
    /// Its newest change: MODSEQ.
    pub serial: Serial,
}

/// The payload of a record frame.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut payload = vec![SCHEMA];
    for record in records {
        payload = postcard::to_extend(record, payload).expect("a Vec takes whatever postcard writes");
    }
    payload
}

/// Payloads of at most `most` bytes, as few as possible, of records that are each true by itself. A record that is larger by itself makes
/// a payload that is too large.
pub fn packed(records: &[Record], most: usize) -> Vec<Vec<u8>> {
    let empty = encode(&[]).len();
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for record in records {
        let encoded = encode(std::slice::from_ref(record));
        match payloads.last_mut() {
            Some(last) if last.len() + encoded.len() - empty <= most => {
                last.extend_from_slice(encoded.get(empty..).unwrap_or_default());
            }
            _ => payloads.push(encoded),
        }
    }
    payloads
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
pub(super) mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::store::network::{Ipv4, Ipv6};

    pub(in crate::store) fn samples() -> Vec<Record> {
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
            Record::MessagesAre {
                account,
                folder,
                messages: vec![Present {
                    uid: Uid(1),
                    body: BodyId(300),
                    size: 4096,
                    charge: 4992,
                    date: Time(-1),
                    flags: Flags::SEEN,
                    serial: Serial(700),
                }],
            },
            Record::FlagsAre {
                account,
                folder,
                groups: vec![(Serial(9), Flags::DELETED, UidSet(vec![(Uid(1), Uid(3))]))],
            },
            Record::MessagesGone { account, folder, uids: UidSet(vec![(Uid(1), Uid(3))]) },
            Record::FolderIs {
                account,
                folder,
                name: name(),
                uid_validity: 99,
                special: None,
                uid_next: Uid(300),
                serial: Serial(9),
            },
            Record::FoldersGone { account, folders: vec![(FolderId(2), FolderId(3))] },
            Record::AccountIs {
                account,
                address: "anna@example.test".into(),
                class: Class::L,
                bucket_bytes: 1 << 26,
                phc: "$argon2id$".into(),
                folder_last: FolderId(6),
            },
            Record::AccountsGone(vec![(AccountId(1), AccountId(6))]),
            Record::KeywordsAre { account, names: vec!["$Forwarded".into()] },
            Record::SubscriptionsAre { account, names: vec![name()] },
            Record::DomainsAre(vec!["example.test".into()]),
            Record::Given { next_body: BodyId(300), uid_validity: 99, account },
            Record::Network(Network::default()),
            Record::Network(Network {
                ipv4: Ipv4::Static {
                    address: [192, 0, 2, 7].into(),
                    prefix: 24,
                    gateway: Some([192, 0, 2, 1].into()),
                },
                ipv6: Ipv6::Static { address: Ipv6Addr::LOCALHOST, prefix: 64, gateway: None },
                dns: vec![[192, 0, 2, 1].into(), Ipv6Addr::LOCALHOST.into()],
            }),
            Record::HostName("mail.example.test".into()),
            Record::TimeServers(vec!["time.example.test".into()]),
            Record::Clock(Time(1_795_514_400)),
            Record::Changed { number: 1, time: Time(2), command: "domain add".into(), undoable: true },
            Record::Back { number: 1, nth: 0, record: Box::new(Record::AccountRemoved(account)) },
            Record::Undone { from: 300, to: 301 },
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

    /// What format 1 wrote must be read for ever.
    #[test]
    fn golden_bytes() {
        let hex: String = encode(&samples()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("record.golden").trim());
    }
}
