//! Everything that is true, in portions: what a snapshot says, and what a store made anew from another would be told.
//!
//! The records are those that compaction's copies are (the law is in [`super::compact`]): each is true when it is told. Between two portions the
//! state may change: what has been told by then is changed by a record that comes later, and what has not is told as it has become.
//! So the place to go on from is a name (an account, a folder, a UID), never an index. Refuses to tell what is gone: who begins with nothing
//! need not be told.

use std::ops::Bound;

use super::compact::{PACKED, account_is, folder_is};
use super::record::{self, Present, Record};
use super::state::{Account, Folder, Settings, State};
use crate::types::{AccountId, FolderId, Uid};

/// How far it has been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Teller(Place);

/// What is told next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Settings,
    Certificate,
    /// From this entry on, and of that one from this record on.
    History(u32, usize),
    /// Aliases behind this one.
    Aliases(String),
    /// The first account from this number on.
    Account(AccountId),
    /// The first folder from this number on.
    Folder(AccountId, FolderId),
    /// Its messages from this UID on.
    Messages(AccountId, FolderId, Uid),
    End,
}

impl Teller {
    /// Whether everything has been told.
    pub(super) fn is_done(&self) -> bool {
        self.0 == Place::End
    }

    /// The next records: at most `most` bytes as they are encoded, unless one alone is longer.
    pub(super) fn next(&mut self, state: &State, most: usize) -> Vec<Record> {
        let (mut told, mut bytes) = (Vec::new(), 0);
        let empty = record::encode(&[]).len();
        while !self.is_done() {
            let (records, next) = self.0.tell(state);
            let more: usize =
                records.iter().map(|told| record::encode(std::slice::from_ref(told)).len() - empty).sum();
            if bytes > 0 && bytes + more > most {
                break;
            }
            bytes += more;
            told.extend(records);
            self.0 = next;
        }
        told
    }
}

impl Place {
    /// What is said here, and what comes next.
    fn tell(&self, state: &State) -> (Vec<Record>, Place) {
        match self {
            Place::Settings => (settings(state), Place::Certificate),
            Place::Certificate => {
                let certificate = state.settings.certificate.as_ref().map(|certificate| {
                    let (chain, key) = (certificate.chain.clone(), certificate.key.clone());
                    Record::Certificate { chain, key }
                });
                (certificate.into_iter().collect(), Place::History(0, 0))
            }
            Place::History(number, nth) => match state.settings.history.part((*number, *nth)) {
                Some((told, (number, nth))) => (told, Place::History(number, nth)),
                None => (Vec::new(), Place::Aliases(String::new())),
            },
            Place::Aliases(told) => {
                let rest = (Bound::Excluded(told.as_str()), Bound::Unbounded);
                match state.settings.aliases.range::<str, _>(rest).next() {
                    Some((address, target)) => {
                        let (address, target) = (address.clone(), target.clone());
                        (
                            vec![Record::AliasAdded { address: address.clone(), target }],
                            Place::Aliases(address),
                        )
                    }
                    None => (Vec::new(), Place::Account(AccountId(0))),
                }
            }
            Place::Account(from) => match state.accounts.range(from..).next() {
                Some((id, account)) => (account.tell(state), Place::Folder(*id, FolderId(0))),
                None => (Vec::new(), Place::End),
            },
            Place::Folder(id, from) => {
                let folders = state.accounts.get(id).map(|account| account.folders.range(from..));
                match folders.and_then(|mut folders| folders.next()) {
                    Some((folder, found)) => {
                        (vec![folder_is(*id, found)], Place::Messages(*id, *folder, Uid(0)))
                    }
                    None => (Vec::new(), Place::Account(AccountId(id.0.saturating_add(1)))),
                }
            }
            Place::Messages(id, folder, from) => {
                let found = state.accounts.get(id).and_then(|account| account.folders.get(folder));
                let messages = found.map(|found| found.present_from(*from)).unwrap_or_default();
                match messages.last().map(|last| last.uid) {
                    Some(last) => {
                        let told = Record::MessagesAre { account: *id, folder: *folder, messages };
                        (vec![told], Place::Messages(*id, *folder, Uid(last.0.saturating_add(1))))
                    }
                    None => (Vec::new(), Place::Folder(*id, FolderId(folder.0.saturating_add(1)))),
                }
            }
            Place::End => (Vec::new(), Place::End),
        }
    }
}

/// Those that are small.
fn settings(state: &State) -> Vec<Record> {
    // Each one by name: a setting that nobody has thought of here would be lost.
    let Settings {
        position: _,
        domains,
        addresses: _,
        passwords: _,
        aliases: _,
        admin,
        certificate: _,
        network,
        host,
        time_servers,
        history: _,
    } = &state.settings;
    let mut told = vec![
        Record::DomainsAre(domains.clone()),
        Record::Network(network.clone()),
        Record::HostName(host.clone()),
        Record::TimeServers(time_servers.clone()),
    ];
    told.extend(admin.clone().map(Record::AdminPassword));
    told.extend(state.clock.map(Record::Clock));
    told
}

impl Account {
    fn tell(&self, state: &State) -> Vec<Record> {
        let mut told: Vec<Record> = account_is(state, self).into_iter().collect();
        let names = self.keywords.clone();
        told.push(Record::KeywordsAre { account: self.id, names });
        let names = self.subscriptions.iter().cloned().collect();
        told.push(Record::SubscriptionsAre { account: self.id, names });
        told
    }
}

impl Folder {
    /// The next few messages from this UID on.
    fn present_from(&self, from: Uid) -> Vec<Present> {
        let live = self.messages.from(from).map(|(_, message)| message).filter(|message| !message.expunged());
        live.take(PACKED).map(|message| Present::from(&message)).collect()
    }
}
