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
        language,
        history: _,
    } = &state.settings;
    let mut told = vec![
        Record::DomainsAre(domains.clone()),
        Record::Network(network.clone()),
        Record::HostName(host.clone()),
        Record::TimeServers(time_servers.clone()),
        Record::Language(*language),
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

#[cfg(test)]
mod tests {
    use super::super::storm::lines;
    use super::*;
    use crate::device::Random;
    use crate::types::{BodyId, Class, Flags, Position, Serial, Time, UidSet};

    const ANNA: AccountId = AccountId(1);

    fn added(folder: FolderId, uid: u32) -> Record {
        let (size, charge) = (uid * 10, uid * 10 + 600);
        let date = Time(i64::from(uid));
        let (uid, body, flags) = (Uid(uid), BodyId(u64::from(folder.0 * 10_000 + uid)), Flags::NONE);
        Record::MessageAdded { account: ANNA, folder, uid, body, size, charge, date, flags }
    }

    fn change(random: &mut Random, serial: u64) -> Record {
        let (account, folder) = (ANNA, FolderId(1 + random.below(3) as u32));
        let uid = Uid(1 + random.below(300) as u32);
        let uids = UidSet(vec![(uid, Uid(uid.0 + random.below(5) as u32))]);
        match random.below(8) {
            0 | 1 => added(folder, 300 + serial as u32),
            2 => Record::Expunged { account, folder, uids },
            3 => Record::FolderRenamed { account, folder, name: format!("N{serial}") },
            4 => Record::KeywordAdded { account, name: format!("K{serial}") },
            5 => Record::AliasAdded { address: format!("a{}", uid.0), target: format!("t{serial}") },
            6 => Record::AliasRemoved(format!("a{}", uid.0)),
            _ => Record::FlagsSet { account, folder, groups: vec![(Flags(uid.0.into()), uids)] },
        }
    }

    /// Whoever is told everything, with the changes that come in between, knows the same.
    #[test]
    fn what_is_told_amid_changes_is_everything() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut state = State::default();
            let (address, phc) = (String::from("anna@example.test"), String::from("phc"));
            let anna =
                Record::AccountAdded { account: ANNA, address, class: Class::S, bucket_bytes: 1 << 30, phc };
            state.apply(&anna, Serial(1), Position(1));
            for folder in 1..4 {
                let (account, id, name) = (ANNA, FolderId(folder), format!("F{folder}"));
                let added_folder =
                    Record::FolderAdded { account, folder: id, name, uid_validity: folder, special: None };
                state.apply(&added_folder, Serial(2), Position(2));
                (1..=150 * folder % 400).for_each(|uid| state.apply(&added(id, uid), Serial(3), Position(3)));
            }
            let mut told = State::default();
            let mut teller = Teller::default();
            let (mut serial, mut portions) = (3, 0);
            while !teller.is_done() {
                for record in teller.next(&state, 700) {
                    told.apply(&record, state.serial, Position(serial));
                }
                portions += 1;
                for _ in 0..random.below(4) {
                    serial += 1;
                    let change = change(&mut random, serial);
                    state.apply(&change, Serial(serial), Position(serial));
                    told.apply(&change, Serial(serial), Position(serial));
                }
            }
            assert!(portions > 5, "{portions}");
            state.complete();
            told.complete();
            (told.uid_validity, told.account_last) = (state.uid_validity, state.account_last);
            assert_eq!(lines(&told), lines(&state), "seed {seed}");
            assert_eq!(told.settings.aliases, state.settings.aliases, "seed {seed}");
        }
    }
}
