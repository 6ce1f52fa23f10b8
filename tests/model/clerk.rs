//! Who does things in the office: picks an operation at random, foretells what it does by the model, does it, and compares.

use std::collections::BTreeSet;

use postfach::store::bucket::{charge, class_bytes};
use postfach::store::{NewMessage, StoreError, Which};
use postfach::types::{AccountId, Class, FlagChange, Flags, FolderId, Serial, Time, Uid, UidSet};

use super::client::Client;
use super::plain::{Account, Change, Folder, Message, changed};
use super::world::{Incoming, World};

const PEOPLE: [&str; 4] = ["anna@example.test", "ben@example.test", "carl@example.test", "dora@example.test"];
const ALIASES: [&str; 3] = ["info@example.test", "sales@example.test", "ben@example.test"];
const FOLDERS: [&str; 9] = ["INBOX", "inbox", "Trash", "W", "W/a", "W/a/b", "X", "X/W", "INBOX/old"];
const SYSTEM: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];
const KEYWORDS: [&str; 4] = ["$Forwarded", "work", "WORK", "later"];
const STRUCTURE: usize = 60;
const SPECIAL: [&str; 5] = ["Drafts", "Sent", "Trash", "Junk", "Archive"];

impl World {
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len() as u64) as usize]
    }

    /// Somebody who has a mailbox.
    fn somebody(&mut self) -> Option<(String, AccountId)> {
        let people: Vec<(String, u32)> =
            self.office.accounts.iter().map(|(address, account)| (address.clone(), account.id)).collect();
        let place = self.random.below(people.len() as u64) as usize;
        people.get(place).map(|(address, id)| (address.clone(), AccountId(*id)))
    }

    pub fn step(&mut self) {
        match self.random.below(1000) {
            0..200 => self.receive(),
            200..380 => self.deliver(),
            380..400 => drop(self.incoming.pop()),
            400..430 => self.select(),
            430..440 => self.leave(),
            440..560 => self.flags(),
            560..620 => self.expunge(),
            620..700 => self.copy(0),
            700..780 => self.hear(),
            780..800 => self.create(),
            800..812 => self.remove(),
            812..825 => self.rename(),
            825..835 => self.subscribe(),
            835..850 => self.size(),
            850..858 => self.mailbox(),
            858..866 => self.alias(),
            866..870 => self.password(),
            870..871 => self.double(),
            871..970 => self.commit(),
            970..990 => self.look(),
            990..995 => self.cut(),
            995..998 => self.restart(),
            _ => self.fail(),
        }
    }

    /// A message begins to come in: its place in the bucket is kept.
    fn receive(&mut self) {
        let Some((address, account)) = self.somebody() else { return self.mailbox() };
        let size = match self.random.below(20) {
            0 => self.random.below(60 << 20),
            1..4 => self.random.below(2 << 20),
            _ => self.random.below(20_000),
        } + 1;
        let known = &self.office.accounts[&address];
        let kept: u64 = self
            .incoming
            .iter()
            .filter(|other| other.account == account)
            .map(|other| other.kept.bytes())
            .sum();
        let foretold = if size > known.bucket.min(50 << 20) {
            Err(StoreError::TooBig)
        } else if known.used() + kept + charge(size, 512) > known.bucket {
            Err(StoreError::OverQuota)
        } else {
            Ok(charge(size, 512))
        };
        let before = self.serial();
        match self.access(|store| store.reserve(account, size)) {
            Ok(kept) => {
                assert_eq!(Ok(kept.bytes()), foretold);
                let body = self.new_body();
                self.incoming.push(Incoming { address, account, kept, body, size });
            }
            Err(error) => self.refused(before, error, foretold.expect_err("it would fit")),
        }
        if self.incoming.len() > 8 {
            self.incoming.remove(0);
        }
    }

    /// A message has come in: for one INBOX, for two, or for another folder.
    fn deliver(&mut self) {
        let Some(Incoming { address, account, kept, body, size }) = self.incoming.pop() else {
            return self.receive();
        };
        let message = NewMessage { body, size, structure: vec![3; STRUCTURE], date: Time(7) };
        let cost = charge(size, STRUCTURE as u64);
        let added = |flags: &BTreeSet<String>| Message {
            size: size as u32,
            charge: cost,
            flags: flags.clone(),
            serial: 0,
            body: body.0,
        };
        let fits = |world: &World, address: &str, account: AccountId| {
            let others = world.incoming.iter().filter(|other| other.account == account);
            let kept: u64 = others.map(|other| other.kept.bytes()).sum();
            let known = world.office.accounts.get(address).filter(|known| known.id == account.0);
            let known = known.ok_or(StoreError::Missing)?;
            let fits = known.used() + kept + cost <= known.bucket;
            if fits { Ok(()) } else { Err(StoreError::OverQuota) }
        };
        if self.random.below(3) == 0 {
            let name = self.one_of(&FOLDERS);
            if self.office.accounts.get(&address).is_none_or(|known| known.id != account.0) {
                return;
            }
            let flags = self.some_flags(&address);
            let before = self.serial();
            let known = &self.office.accounts[&address];
            let folder = known.named(name).map(|folder| (folder.id, folder.validity, folder.next));
            let (bits, _) = self.bits(account, &flags);
            let result = self.access(|store| {
                store.append(message, bits, account, FolderId(folder.map_or(999, |f| f.0)), kept)
            });
            match (folder.ok_or(StoreError::Missing), fits(self, &address, account), result) {
                (Ok((id, validity, next)), Ok(()), result) => {
                    assert_eq!(result, Ok((validity, Uid(next))));
                    self.became(before, vec![Change::Added(vec![(address, id, added(&flags))])]);
                }
                (Err(foretold), _, Err(error)) | (_, Err(foretold), Err(error)) => {
                    self.refused(before, error, foretold)
                }
                other => panic!("{other:?}"),
            }
            return;
        }
        let mut to = vec![(account, kept)];
        let mut people = vec![address];
        // Joint deliveries: also to somebody whose reservation was made for another message.
        if let Some(place) =
            self.incoming.iter().position(|other| other.account != account && other.size >= size)
        {
            let other = self.incoming.remove(place);
            people.push(other.address);
            to.push((other.account, other.kept));
        }
        let foretold: Vec<_> =
            people.iter().zip(&to).map(|(address, (account, _))| fits(self, address, *account)).collect();
        let before = self.serial();
        let results = self.access(|store| store.deliver(message, to)).expect("there is room on the medium");
        let mut changes = Vec::new();
        for ((address, foretold), result) in people.into_iter().zip(foretold).zip(results) {
            assert_eq!(result.map(drop), foretold);
            if let Ok(uid) = result {
                let inbox = &self.office.accounts[&address].folders["INBOX"];
                assert_eq!(uid.0, inbox.next);
                changes.push((address, inbox.id, added(&BTreeSet::new())));
            }
        }
        let changes = if changes.is_empty() { Vec::new() } else { vec![Change::Added(changes)] };
        self.became(before, changes);
    }

    /// Flags that the account's table has or will have.
    fn some_flags(&mut self, address: &str) -> BTreeSet<String> {
        let mut flags: BTreeSet<String> =
            (0..self.random.below(3)).map(|_| self.one_of(&SYSTEM).into()).collect();
        if self.random.below(4) == 0 && self.office.accounts.contains_key(address) {
            let word = self.one_of(&KEYWORDS);
            flags.insert(self.keyword(address, word));
        }
        flags
    }

    /// A keyword as the table has it.
    fn keyword(&mut self, address: &str, word: &str) -> String {
        let known = &self.office.accounts[address];
        let account = AccountId(known.id);
        let there = known.keywords.iter().find(|known| known.eq_ignore_ascii_case(word)).cloned();
        let before = self.serial();
        self.access(|store| store.keywords(account, &[word])).expect("there is room");
        let new = there.is_none().then(|| Change::Keyword(address.into(), word.into()));
        self.became(before, new.into_iter().collect());
        there.unwrap_or_else(|| word.into())
    }

    fn bits(&mut self, account: AccountId, flags: &BTreeSet<String>) -> (Flags, u64) {
        let before = self.serial();
        let system = Flags::SYSTEM.iter().filter(|(_, name)| flags.contains(*name));
        let system = system.fold(Flags::NONE, |all, (flag, _)| all.with(*flag));
        let words: Vec<&str> =
            flags.iter().map(String::as_str).filter(|name| !name.starts_with('\\')).collect();
        (system.with(self.access(|store| store.keywords(account, &words)).expect("they are known")), before)
    }

    fn select(&mut self) {
        let Some((address, account)) = self.somebody() else { return };
        let folders: Vec<u32> =
            self.office.accounts[&address].folders.values().map(|folder| folder.id).collect();
        let folder = FolderId(self.one_of(&folders));
        let read_only = self.random.below(4) == 0;
        let client = self.access(|store| {
            let view = store.open(account, folder, read_only).expect("is there");
            Client::select(view, &address, store)
        });
        client.knows(&self.office);
        self.clients.push(client);
        if self.clients.len() > 4 {
            self.clients.remove(0);
        }
    }

    fn leave(&mut self) {
        if !self.clients.is_empty() {
            self.clients.remove(0);
        }
    }

    /// A client whose folder is still there, taken out; the clerk puts it back.
    fn client(&mut self) -> Option<(Client, Folder)> {
        let place = self.random.below(self.clients.len() as u64) as usize;
        self.nth_client(place)
    }

    fn nth_client(&mut self, place: usize) -> Option<(Client, Folder)> {
        let client = self.clients.get(place)?;
        let account = self.office.accounts.get(&client.address).filter(|known| known.id == client.account.0);
        let folder = account.and_then(|account| account.folder(client.folder)).cloned();
        let mut client = self.clients.remove(place);
        match folder {
            Some(folder) => Some((client, folder)),
            None => {
                assert!(!self.access(|store| client.sync(store, true)), "the folder is gone");
                None
            }
        }
    }

    fn hear(&mut self) {
        let Some((mut client, _)) = self.client() else { return };
        let (expunges, at) = (self.random.below(2) == 0, self.random.number());
        assert!(self.access(|store| client.sync(store, expunges)), "the folder is there");
        self.access(|store| client.check(store, at));
        if expunges {
            client.knows(&self.office);
        }
        self.clients.push(client);
    }

    /// Some messages: by UID, also such as are not there.
    fn some(&mut self, folder: &Folder) -> UidSet {
        match self.random.below(4) {
            0 => UidSet(vec![(Uid(1), Uid(u32::MAX))]),
            1 => {
                let first = 1 + self.random.below(u64::from(folder.next)) as u32;
                UidSet(vec![(Uid(first), Uid(first + self.random.below(20) as u32))])
            }
            _ => UidSet::from_ascending(
                folder.messages.keys().filter(|_| self.random.below(6) == 0).map(|uid| Uid(*uid)),
            ),
        }
    }

    fn flags(&mut self) {
        let Some((mut client, folder)) = self.client() else { return self.select() };
        let flags = self.some_flags(&client.address.clone());
        let (bits, before) = self.bits(client.account, &flags);
        let set = self.some(&folder);
        let change = self.one_of(&[FlagChange::Replace, FlagChange::Add, FlagChange::Remove]);
        let since = (self.random.below(4) == 0).then(|| before.saturating_sub(self.random.below(200)));
        assert!(self.access(|store| client.sync(store, false)));
        let (mut touched, mut modified) = (Vec::new(), Vec::new());
        for (uid, message) in
            folder.messages.range(..client.below).filter(|(uid, _)| set.contains(Uid(**uid)))
        {
            if since.is_some_and(|since| message.serial > since) {
                modified.push(Uid(*uid));
            } else if changed(&message.flags, change, &flags) != message.flags {
                touched.push(*uid);
            }
        }
        let result =
            self.access(|store| store.flags_set(&client.view, &set, change, bits, since.map(Serial)));
        let result = result.expect("there is room");
        assert_eq!(result.modified, UidSet::from_ascending(modified));
        client.view.skip_flags(result.serial);
        for (uid, known) in &mut client.list {
            if touched.binary_search(uid).is_ok() {
                *known = changed(known, change, &flags);
            }
        }
        let changes = if touched.is_empty() {
            Vec::new()
        } else {
            assert_eq!(result.serial.0, before + 1);
            vec![Change::Flags(client.address.clone(), folder.id, touched, change, flags)]
        };
        self.became(before, changes);
        self.clients.push(client);
    }

    fn expunge(&mut self) {
        let Some((client, folder)) = self.client() else { return };
        let set = self.some(&folder);
        let kind = self.random.below(4);
        let which = match kind {
            0 => Which::These(&set),
            1 => Which::DeletedOf(&set),
            _ => Which::Deleted,
        };
        let gone = folder.messages.range(..client.below).filter(|(uid, message)| {
            (kind > 1 || set.contains(Uid(**uid))) && (kind == 0 || message.flags.contains("\\Deleted"))
        });
        let gone: Vec<u32> = gone.map(|(uid, _)| *uid).collect();
        let before = self.serial();
        let result = self.access(|store| store.expunge(&client.view, which)).expect("there is room");
        assert!(result.iter().map(|uid| uid.0).eq(gone.iter().copied()));
        let changes = if gone.is_empty() {
            vec![]
        } else {
            vec![Change::Expunged(client.address.clone(), folder.id, gone)]
        };
        self.became(before, changes);
        self.clients.push(client);
    }

    /// Makes a folder large, so that what is done to all of it takes several frames; sometimes the power goes while it is written.
    fn double(&mut self) {
        for _ in 0..8 {
            self.select();
        }
        self.clients.sort_by_key(|client| std::cmp::Reverse(client.list.len()));
        for _ in 0..9 {
            self.copy(250);
        }
        self.commit();
        self.copy(600);
        if self.random.below(3) > 0 {
            self.cut();
        }
    }

    /// `most`: everything that is small once more in the same folder, unless it has more than so many messages; 0: something somewhere.
    fn copy(&mut self, most: usize) {
        let double = most > 0;
        let client = if double { self.nth_client(0) } else { self.client() };
        let Some((mut client, folder)) = client else { return };
        if double {
            assert!(self.access(|store| client.sync(store, true)));
        }
        if double && folder.messages.len() > most {
            return self.clients.insert(0, client);
        }
        let small = folder.messages.iter().filter(|(_, message)| message.charge < 8000);
        let small = UidSet::from_ascending(small.map(|(uid, _)| Uid(*uid)));
        let set = if double { small } else { self.some(&folder) };
        let moving = !double && self.random.below(3) > 0;
        let known = &self.office.accounts[&client.address];
        let targets: Vec<u32> = known.folders.values().map(|folder| folder.id).collect();
        let target = if double { folder.id } else { self.one_of(&targets) };
        let known = &self.office.accounts[&client.address];
        let uids: Vec<u32> = folder
            .messages
            .range(..client.below)
            .map(|(uid, _)| *uid)
            .filter(|uid| set.contains(Uid(*uid)))
            .collect();
        let cost: u64 = uids.iter().map(|uid| folder.messages[uid].charge).sum();
        let others = self.incoming.iter().filter(|other| other.account == client.account);
        let kept: u64 = others.map(|other| other.kept.bytes()).sum();
        let full = !moving && !uids.is_empty() && known.used() + kept + cost > known.bucket;
        let (validity, first) =
            known.folder(target).map(|folder| (folder.validity, folder.next)).expect("is there");
        let before = self.serial();
        let result = self.access(|store| match moving {
            true => store.r#move(&client.view, &set, FolderId(target)),
            false => store.copy(&client.view, &set, FolderId(target)),
        });
        match result {
            Err(error) => {
                assert!(full);
                self.refused(before, error, StoreError::OverQuota);
            }
            Ok(None) => {
                assert!(uids.is_empty());
                self.became(before, vec![]);
            }
            Ok(Some(copied)) => {
                assert!(!full);
                assert_eq!(copied.uid_validity, validity);
                assert!(copied.from.iter().map(|uid| uid.0).eq(uids.iter().copied()));
                assert!(copied.to.iter().map(|uid| uid.0).eq(first..first + uids.len() as u32));
                let address = client.address.clone();
                self.became(before, vec![Change::Copied(address, folder.id, target, uids, moving)]);
            }
        }
        // The same client is the next one again.
        if double { self.clients.insert(0, client) } else { self.clients.push(client) }
    }

    /// The folder that the store has made, with the number and UIDVALIDITY that it gave.
    fn made(&self, account: AccountId, names: Vec<String>) -> Vec<(String, u32, u32)> {
        let store = self.shared.lock();
        let known = &store.state().accounts[&account];
        let made = names.into_iter().map(|name| {
            let folder = known.folders.values().find(|folder| folder.name == name).unwrap_or_else(|| {
                panic!(
                    "{name} was made: {:?}",
                    known.folders.values().map(|folder| &folder.name).collect::<Vec<_>>()
                )
            });
            (name, folder.id.0, folder.uid_validity)
        });
        made.collect()
    }

    /// The levels of a name that are not there yet.
    fn missing(&self, address: &str, name: &str) -> Vec<String> {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        let levels = ends.map(|end| String::from(&name[..end]));
        levels.filter(|level| self.office.accounts[address].named(level).is_none()).collect()
    }

    fn create(&mut self) {
        let Some((address, account)) = self.somebody() else { return };
        let name = self.one_of(&FOLDERS);
        let missing = self.missing(&address, name);
        let there = self.office.accounts[&address].named(name).is_some();
        let before = self.serial();
        match self.access(|store| store.folder_create(account, name, None)) {
            Err(error) => {
                assert!(there);
                self.refused(before, error, StoreError::Exists);
            }
            Ok(_) => {
                assert!(!there);
                let made = self.made(account, missing);
                self.became(before, vec![Change::Created(address, made)]);
            }
        }
    }

    fn remove(&mut self) {
        let Some((address, account)) = self.somebody() else { return };
        let name = self.one_of(&FOLDERS);
        let foretold = match self.office.accounts[&address].named(name) {
            None => Err(StoreError::Missing),
            Some(folder) if folder.id == 1 => Err(StoreError::Cannot("INBOX cannot be removed")),
            Some(_) => Ok(()),
        };
        let before = self.serial();
        let result = self.access(|store| store.folder_remove(account, name));
        assert_eq!(result, foretold);
        let changes = result.map(|()| vec![Change::Removed(address, name.into())]).unwrap_or_default();
        self.became(before, changes);
    }

    fn rename(&mut self) {
        let Some((address, account)) = self.somebody() else { return };
        let (from, to) = (self.one_of(&FOLDERS), self.one_of(&FOLDERS));
        let known = &self.office.accounts[&address];
        let below = format!("{from}/");
        let inferiors = known.folders.keys().filter_map(|name| name.strip_prefix(&below));
        let inbox = from.eq_ignore_ascii_case("INBOX");
        let foretold = if known.named(from).is_none() {
            Err(StoreError::Missing)
        } else if known.named(to).is_some() {
            Err(StoreError::Exists)
        } else if to.starts_with(&below) && !inbox {
            Err(StoreError::Cannot("a folder cannot become its own inferior"))
        } else if !inbox
            && inferiors.map(|rest| format!("{to}/{rest}")).any(|name| known.named(&name).is_some())
        {
            Err(StoreError::Exists)
        } else {
            Ok(())
        };
        let everything = known.folders["INBOX"].messages.keys().copied().collect::<Vec<_>>();
        let mut missing = self.missing(&address, to);
        let before = self.serial();
        let result = self.access(|store| store.folder_rename(account, from, to));
        assert_eq!(result, foretold, "{from} to {to}");
        if result.is_err() {
            return self.became(before, vec![]);
        }
        let mut changes = Vec::new();
        if inbox {
            let made = self.made(account, missing);
            let target = made.last().expect("at least itself").1;
            changes.push(Change::Created(address.clone(), made));
            if !everything.is_empty() {
                changes.push(Change::Copied(address, 1, target, everything, true));
            }
        } else {
            missing.pop();
            // A superior that is there needs none of its own: RFC 3501 §6.3.4 lets it outlive them.
            let superior = to.rsplit_once('/').map(|(superior, _)| superior);
            missing.retain(|_| {
                superior.is_some_and(|name| self.office.accounts[&address].named(name).is_none())
            });
            if !missing.is_empty() {
                changes.push(Change::Created(address.clone(), self.made(account, missing)));
            }
            changes.push(Change::Renamed(address, from.into(), to.into()));
        }
        self.became(before, changes);
    }

    fn subscribe(&mut self) {
        let Some((address, account)) = self.somebody() else { return };
        let name = self.one_of(&["INBOX", "W", "never there"]);
        let on = self.random.below(2) == 0;
        let there = self.office.accounts[&address].subscriptions.contains(name);
        let before = self.serial();
        let done = self.access(|store| match on {
            true => store.subscribe(account, name),
            false => store.unsubscribe(account, name),
        });
        assert_eq!(done, Ok(()));
        let changes = if there == on { vec![] } else { vec![Change::Subscribed(address, name.into(), on)] };
        self.became(before, changes);
    }

    /// Bytes that a bucket of the class takes, if it fits beside what others have: their buckets, or what they hold where that is more. A mailbox
    /// that has as much already may keep it.
    fn fitting(&self, class: Class, whose: Option<&str>) -> Result<u64, StoreError> {
        let (room, _) = self.access(|store| store.buckets());
        let taken = |account: &Account| account.bucket.max(account.used());
        let others = self.office.accounts.iter().filter(|(address, _)| Some(address.as_str()) != whose);
        let promised: u64 = others.map(|(_, account)| taken(account)).sum();
        let own = whose.map_or(0, |whose| taken(&self.office.accounts[whose]));
        let bytes = class_bytes(class, room);
        if bytes <= own || promised + bytes <= room { Ok(bytes) } else { Err(StoreError::OverQuota) }
    }

    fn size(&mut self) {
        let Some((address, _)) = self.somebody() else { return };
        let class = self.one_of(&Class::ALL);
        let foretold = self.fitting(class, Some(&address));
        let before = self.serial();
        match (self.access(|store| store.mailbox_size(&address, class)), foretold) {
            (Ok(()), Ok(bytes)) => self.became(before, vec![Change::Size(address, class, bytes)]),
            (Err(error), Err(foretold)) => self.refused(before, error, foretold),
            other => panic!("{other:?}"),
        }
    }

    fn mailbox(&mut self) {
        let address = self.one_of(&PEOPLE);
        let before = self.serial();
        if self.office.accounts.contains_key(address) && self.random.below(3) == 0 {
            self.access(|store| store.mailbox_remove(address)).expect("is there");
            return self.became(before, vec![Change::MailboxRemoved(address.into())]);
        }
        let class = self.one_of(&[Class::S, Class::S, Class::M, Class::L]);
        let there = self.office.accounts.contains_key(address) || self.office.aliases.contains_key(address);
        let foretold = if there { Err(StoreError::Exists) } else { self.fitting(class, None) };
        match (self.access(|store| store.mailbox_add(address, class, "first".into())), foretold) {
            (Ok(account), Ok(bucket)) => {
                let names = [&["INBOX"][..], &SPECIAL].concat();
                let made = self.made(account, names.iter().map(|name| String::from(*name)).collect());
                let folder = |(name, id, validity)| {
                    (name, Folder { id, validity, next: 1, messages: Default::default() })
                };
                let new = Account {
                    id: account.0,
                    class,
                    bucket,
                    password: "first".into(),
                    folders: made.into_iter().map(folder).collect(),
                    subscriptions: names.into_iter().map(String::from).collect(),
                    keywords: Vec::new(),
                };
                self.became(before, vec![Change::MailboxAdded(address.into(), new)]);
            }
            (Err(error), Err(foretold)) => self.refused(before, error, foretold),
            other => panic!("{other:?}"),
        }
    }

    fn alias(&mut self) {
        let (alias, target) = (self.one_of(&ALIASES), self.one_of(&PEOPLE));
        let before = self.serial();
        if self.random.below(2) == 0 {
            let there = self.office.aliases.contains_key(alias);
            let result = self.access(|store| store.alias_remove(alias));
            assert_eq!(result, if there { Ok(()) } else { Err(StoreError::Missing) });
            let changes = if there { vec![Change::AliasRemoved(alias.into())] } else { vec![] };
            return self.became(before, changes);
        }
        let foretold = if !self.office.accounts.contains_key(target) {
            Err(StoreError::Missing)
        } else if self.office.accounts.contains_key(alias) || self.office.aliases.contains_key(alias) {
            Err(StoreError::Exists)
        } else {
            Ok(())
        };
        let result = self.access(|store| store.alias_add(alias, target));
        assert_eq!(result, foretold);
        let added = result.map(|()| vec![Change::AliasAdded(alias.into(), target.into())]);
        self.became(before, added.unwrap_or_default());
    }

    fn password(&mut self) {
        let Some((address, account)) = self.somebody() else { return };
        let phc = format!("password {}", self.random.below(1000));
        let before = self.serial();
        let generation = self.access(|store| store.generation(account));
        self.access(|store| store.password_set(&address, phc.clone())).expect("is there");
        let same = self.office.accounts[&address].password == phc;
        let after = self.access(|store| store.generation(account));
        assert_eq!(after, generation.map(|number| number + u32::from(!same)));
        self.became(before, vec![Change::Password(address, phc)]);
    }

    /// Looks at everything.
    fn look(&mut self) {
        self.compare();
        self.commit();
        self.read(5);
    }
}
