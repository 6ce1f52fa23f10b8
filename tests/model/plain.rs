//! The office as plain maps: what a reader of the protocols' promises would write, without log, bits, tombstones or sharing.

use std::collections::{BTreeMap, BTreeSet};

use postfach::types::{Class, FlagChange};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub size: u32,
    pub charge: u64,
    pub flags: BTreeSet<String>,
    pub serial: u64,
    pub body: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub id: u32,
    pub validity: u32,
    pub next: u32,
    pub messages: BTreeMap<u32, Message>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: u32,
    pub class: Class,
    pub bucket: u64,
    pub password: String,
    pub folders: BTreeMap<String, Folder>,
    pub subscriptions: BTreeSet<String>,
    pub keywords: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Office {
    pub accounts: BTreeMap<String, Account>,
    pub aliases: BTreeMap<String, String>,
}

/// Something that has become true.
#[derive(Clone, Debug)]
pub enum Change {
    MailboxAdded(String, Account),
    MailboxRemoved(String),
    Size(String, Class, u64),
    Password(String, String),
    AliasAdded(String, String),
    AliasRemoved(String),
    /// Name, number, UIDVALIDITY.
    Created(String, Vec<(String, u32, u32)>),
    Removed(String, String),
    Renamed(String, String, String),
    Subscribed(String, String, bool),
    Keyword(String, String),
    /// Account, folder's number, message.
    Added(Vec<(String, u32, Message)>),
    Flags(String, u32, Vec<u32>, FlagChange, BTreeSet<String>),
    Expunged(String, u32, Vec<u32>),
    /// From, to, which, whether they go.
    Copied(String, u32, u32, Vec<u32>, bool),
}

impl Account {
    pub fn used(&self) -> u64 {
        let messages = self.folders.values().flat_map(|folder| folder.messages.values());
        messages.map(|message| message.charge).sum()
    }

    pub fn folder(&self, id: u32) -> Option<&Folder> {
        self.folders.values().find(|folder| folder.id == id)
    }

    fn folder_mut(&mut self, id: u32) -> &mut Folder {
        self.folders.values_mut().find(|folder| folder.id == id).expect("the folder is there")
    }

    pub fn named(&self, name: &str) -> Option<&Folder> {
        let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX" } else { name };
        self.folders.get(name)
    }
}

/// What STORE makes of flags.
pub fn changed(old: &BTreeSet<String>, change: FlagChange, given: &BTreeSet<String>) -> BTreeSet<String> {
    match change {
        FlagChange::Replace => given.clone(),
        FlagChange::Add => old | given,
        FlagChange::Remove => old - given,
    }
}

impl Office {
    fn account(&mut self, address: &str) -> &mut Account {
        self.accounts.get_mut(address).expect("the account is there")
    }

    pub fn apply(&mut self, serial: u64, change: &Change) {
        match change {
            Change::MailboxAdded(address, account) => {
                self.accounts.insert(address.clone(), account.clone());
            }
            Change::MailboxRemoved(address) => {
                self.accounts.remove(address);
                self.aliases.retain(|_, target| target != address);
            }
            Change::Size(address, class, bucket) => {
                let account = self.account(address);
                (account.class, account.bucket) = (*class, *bucket);
            }
            Change::Password(address, phc) => self.account(address).password = phc.clone(),
            Change::AliasAdded(address, target) => {
                self.aliases.insert(address.clone(), target.clone());
            }
            Change::AliasRemoved(address) => {
                self.aliases.remove(address);
            }
            Change::Created(address, folders) => {
                for (name, id, validity) in folders {
                    let folder = Folder { id: *id, validity: *validity, next: 1, messages: BTreeMap::new() };
                    self.account(address).folders.insert(name.clone(), folder);
                }
            }
            Change::Removed(address, name) => {
                self.account(address).folders.remove(name);
            }
            Change::Renamed(address, from, to) => {
                let folders = &mut self.account(address).folders;
                let below = format!("{from}/");
                let names: Vec<String> = folders
                    .keys()
                    .filter(|name| *name == from || name.starts_with(&below))
                    .cloned()
                    .collect();
                for name in names {
                    let folder = folders.remove(&name).expect("is there");
                    folders.insert(format!("{to}{}", &name[from.len()..]), folder);
                }
            }
            Change::Subscribed(address, name, on) => {
                let names = &mut self.account(address).subscriptions;
                if *on {
                    names.insert(name.clone())
                } else {
                    names.remove(name)
                };
            }
            Change::Keyword(address, name) => self.account(address).keywords.push(name.clone()),
            Change::Added(added) => {
                for (address, folder, message) in added {
                    let folder = self.account(address).folder_mut(*folder);
                    folder.messages.insert(folder.next, Message { serial, ..message.clone() });
                    folder.next += 1;
                }
            }
            Change::Flags(address, folder, uids, change, given) => {
                let folder = self.account(address).folder_mut(*folder);
                for uid in uids {
                    let message = folder.messages.get_mut(uid).expect("is there");
                    message.flags = changed(&message.flags, *change, given);
                    message.serial = serial;
                }
            }
            Change::Expunged(address, folder, uids) => {
                let folder = self.account(address).folder_mut(*folder);
                uids.iter().for_each(|uid| drop(folder.messages.remove(uid)));
            }
            Change::Copied(address, from, to, uids, moving) => {
                let account = self.account(address);
                let source = account.folder_mut(*from);
                let messages: Vec<Message> = uids.iter().map(|uid| source.messages[uid].clone()).collect();
                if *moving {
                    uids.iter().for_each(|uid| drop(source.messages.remove(uid)));
                }
                let target = account.folder_mut(*to);
                for message in messages {
                    target.messages.insert(target.next, Message { serial, ..message });
                    target.next += 1;
                }
            }
        }
    }
}
