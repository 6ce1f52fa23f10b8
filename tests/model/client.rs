//! A client with a folder open: it knows only what it has been told, and believes in numbers.

use std::collections::BTreeSet;

use postfach::store::{Access, Told, View};
use postfach::types::{AccountId, Flags};

use super::plain::Office;

pub struct Client {
    pub view: View,
    pub address: String,
    pub account: AccountId,
    pub folder: u32,
    /// UIDs below this have been told.
    pub below: u32,
    /// UID and flags of each message, in order of their numbers.
    pub list: Vec<(u32, BTreeSet<String>)>,
}

/// The names of flags.
pub fn names(flags: Flags, keywords: &[String]) -> BTreeSet<String> {
    let system = Flags::SYSTEM.iter().filter(|(flag, _)| flags.contains(*flag));
    let system = system.map(|(_, name)| String::from(*name));
    system.chain(flags.keywords().map(|index| keywords[index].clone())).collect()
}

impl Client {
    /// Takes in what is there at SELECT.
    pub fn select(view: View, address: &str, store: &mut Access<'_>) -> Client {
        let (account, folder) = (view.account, view.folder);
        let mut client =
            Client { view, address: address.into(), account, folder: folder.0, below: 0, list: Vec::new() };
        let count = client.view.count(store.folder(account, folder).expect("is there"));
        client.extend(count, store);
        client
    }

    fn extend(&mut self, count: u32, store: &mut Access<'_>) {
        let account = store.account(self.account).expect("is there");
        let folder = &account.folders[&self.view.folder];
        for seq in self.list.len() as u32 + 1..=count {
            let entry = self.view.by_seq(folder, seq).expect("every number up to the count");
            self.list.push((entry.message.uid.0, names(entry.message.flags, &account.keywords)));
        }
        self.below = folder.uid_next.0;
    }

    /// Hears what is new. False: the folder is gone.
    pub fn sync(&mut self, store: &mut Access<'_>, expunges: bool) -> bool {
        loop {
            let Some((told, whole)) = store.sync(&mut self.view, expunges) else { return false };
            assert!(told.len() <= 1100, "told in portions");
            for told in told {
                match told {
                    Told::Expunged { seq, uid } => {
                        let (gone, _) = self.list.remove(seq as usize - 1);
                        assert_eq!(gone, uid.0, "the number belongs to this message");
                    }
                    Told::Exists { count, .. } => {
                        assert!(count as usize >= self.list.len(), "the count never falls by itself");
                        self.extend(count, store);
                    }
                    Told::Flags { seq, uid, flags, .. } => {
                        let keywords = &store.account(self.account).expect("is there").keywords;
                        let known = &mut self.list[seq as usize - 1];
                        assert_eq!(known.0, uid.0, "the number belongs to this message");
                        known.1 = names(flags, keywords);
                    }
                }
            }
            if whole {
                return true;
            }
        }
    }

    /// Numbers and UIDs are as the client has them, whatever others have done meanwhile.
    pub fn check(&self, store: &mut Access<'_>, at: u64) {
        let folder = store.folder(self.account, self.view.folder).expect("is there");
        assert_eq!(self.view.count(folder) as usize, self.list.len());
        if self.list.is_empty() {
            return;
        }
        let index = at as usize % self.list.len();
        let (uid, _) = self.list[index];
        let entry = self.view.by_seq(folder, index as u32 + 1).expect("is there");
        assert_eq!(entry.message.uid.0, uid);
        let entry = self.view.find(folder, entry.message.uid).expect("is there");
        assert_eq!(entry.seq as usize, index + 1);
    }

    /// After everything has been told, the client knows what is true.
    pub fn knows(&self, office: &Office) {
        let folder = office.accounts[&self.address].folder(self.folder).expect("is there");
        let truth = folder.messages.iter().map(|(uid, message)| (*uid, &message.flags));
        let known = self.list.iter().map(|(uid, flags)| (*uid, flags));
        assert!(truth.eq(known), "a client was told something else: {:?}", self.list);
    }
}
