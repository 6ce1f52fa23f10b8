//! Every kind of record outlives its segment: it is told once, buried under other traffic until the segments of that time have been freed,
//! and those of the copies too, and whoever reads the log then knows the same.
//!
//! Each kind has a story here at least; a kind without one fails the test by name. What a story says must change the state, and be
//! nobody else's to say: the traffic is another mailbox's.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::record::{self, Present, Record};
use super::super::state::{Account, Folder, Settings, State};
use super::super::storm::open;
use super::super::{NewMessage, Shared, Which};
use crate::device::{Memory, Outcome, Random};
use crate::journal::{Event, Format, Trust, format, read};
use crate::types::{
    AccountId, BodyId, Class, Flags, FolderId, Language, Position, Serial, SpecialUse, Time, Uid, UidSet,
};

const ANNA: AccountId = AccountId(1);
const BEN: AccountId = AccountId(2);
const CARL: AccountId = AccountId(3);
const INBOX: FolderId = FolderId::INBOX;
const WORK: FolderId = FolderId(2);
const NEW: FolderId = FolderId(3);
/// Above wherever the counter begins, which no record says.
const VALIDITY: u32 = u32::MAX - 999;

/// Everything that records say. Each field by name, and no `..`: the compiler asks about one that nobody has thought of here. First what any
/// change changes.
fn facts(state: &State) -> (Serial, Vec<String>) {
    let State {
        serial,
        settings,
        accounts,
        uid_validity,
        account_last,
        clock,
        unread_records,
        // The highest of any frame counts, too (`settle`).
        next_body: _,
        // Of a process, or of the reading.
        parts: _,
        heirs: _,
        holds: _,
    } = state;
    let Settings {
        // Copies move it.
        position: _,
        domains,
        addresses,
        passwords,
        aliases,
        admin,
        certificate,
        network,
        host,
        time_servers,
        history,
        language,
    } = settings;
    let passwords: Vec<_> = passwords.iter().map(|(account, (phc, _))| (account, phc)).collect();
    let certificate = certificate.as_ref().map(|shown| (shown.chain.clone(), shown.key.clone()));
    let mut lines = vec![
        format!("{uid_validity} {account_last} {clock:?} {unread_records}"),
        format!("{domains:?} {addresses:?} {passwords:?} {aliases:?} {admin:?} {certificate:?}"),
        format!("{network:?} {host:?} {time_servers:?} {history:?} {language:?}"),
    ];
    for (id, account) in accounts {
        let Account {
            id: own,
            address,
            class,
            bucket_bytes,
            used_bytes,
            folders,
            subscriptions,
            keywords,
            folder_last,
            known,
            // Copies move them.
            position: _,
            serial: _,
            // Of a process.
            reserved_bytes: _,
            pop3: _,
        } = account;
        lines.push(format!("{id} {own} {address} {class:?} {bucket_bytes} {used_bytes} {known}"));
        lines.push(format!("{subscriptions:?} {keywords:?} {folder_last}"));
        for (id, folder) in folders {
            let Folder {
                id: own,
                name,
                uid_validity,
                uid_next,
                serial,
                special,
                unseen,
                known,
                // Told by `live`, as far as they are there.
                messages: _,
                // Of a process: who has been told what.
                tombstones: _,
                tombstone_serials: _,
                recent_from: _,
                changes: _,
                changes_from: _,
                views: _,
            } = folder;
            lines.push(format!("{id} {own} {name} {uid_validity} {uid_next} {serial} {special:?}"));
            lines.push(format!("{unseen} {known} {:?}", folder.live().collect::<Vec<_>>()));
        }
    }
    (*serial, lines)
}

/// What reading the log from nothing says, and the positions of the records that are left.
fn reread(device: &Memory) -> ((Serial, Vec<String>), Vec<Position>) {
    let (mut state, mut positions) = (State::default(), Vec::new());
    let (report, _) = read(device, Trust::Summaries, &mut |event| match event {
        Event::Record(found) => {
            positions.push(found.position);
            state.replay(found.serial, found.position, found.payload);
        }
        Event::Forget => unreachable!("there is no snapshot"),
    })
    .expect("reads");
    assert!(!report.is_damaged(), "{report}");
    state.complete();
    (facts(&state), positions)
}

/// One change, in one frame or in several.
fn tell(shared: &Shared, frames: &[Vec<Record>]) {
    let mut store = shared.lock();
    let serial = Serial(store.state.serial.0 + 1);
    let payloads = frames.iter().map(|records| record::encode(records)).collect();
    let position = store.journal.append_records(ANNA, serial, payloads).expect("there is room");
    frames.iter().flatten().for_each(|record| store.state.apply(record, serial, position));
    store.commit().expect("commits");
}

fn append(shared: &Shared, account: AccountId, size: usize) {
    let mut needs = Position::default();
    let kept = shared.access(&mut needs).reserve(account, size as u64).expect("fits");
    let body = shared.access(&mut needs).new_body();
    let mut bytes = vec![0; size];
    Random(body.0).fill(&mut bytes);
    shared.lock().append_piece(body, 0, bytes).expect("there is room");
    let message = NewMessage { body, size: size as u64, structure: vec![1; 50], date: Time(5) };
    shared.access(&mut needs).append(message, Flags::NONE, account, INBOX, kept).expect("fits");
}

/// Ben's mailbox: one message comes, the one before goes.
fn traffic(shared: &Shared) {
    let mut needs = Position::default();
    let view = shared.access(&mut needs).open(BEN, INBOX, false).expect("is there");
    append(shared, BEN, 12_000);
    let all = UidSet(vec![(Uid(1), Uid(u32::MAX))]);
    shared.access(&mut needs).expunge(&view, Which::These(&all)).expect("expunges");
    shared.lock().commit().expect("commits");
}

/// Until no record is left that has been written by now, but behind `floor`. Whenever `step` segments have been freed the log must say
/// what is true.
fn bury(device: &Memory, shared: &Shared, (floor, step): (Position, u64), what: &str) {
    let (written, mut freed) = (shared.lock().journal.last(), 0);
    for _ in 0..400 {
        traffic(shared);
        let now = shared.lock().journal.freed_segments();
        if now < freed + step {
            continue;
        }
        freed = now;
        let (found, positions) = reread(&device.survive(Outcome::Lost, 0));
        let wanted = facts(&shared.lock().state);
        let missing: Vec<_> = wanted.1.iter().filter(|line| !found.1.contains(line)).collect();
        let more: Vec<_> = found.1.iter().filter(|line| !wanted.1.contains(line)).collect();
        assert!(found == wanted, "{what}: {} is now {}; {missing:?} is {more:?}", wanted.0, found.0);
        if !positions.iter().any(|position| *position > floor && *position <= written) {
            return;
        }
    }
    panic!("{what}: what was told is never freed");
}

/// What is told; what has been told and buried before; and what is told later, each in a segment of its own.
struct Story {
    before: Vec<Record>,
    told: Box<dyn Fn(Serial) -> Vec<Vec<Record>>>,
    then: Vec<Record>,
}

fn story(before: Vec<Record>, told: Record) -> Story {
    Story { before, told: Box::new(move |_| vec![vec![told.clone()]]), then: vec![] }
}

fn stories(told: Record, then: Vec<Record>) -> Story {
    Story { then, ..story(vec![], told) }
}

fn account_added(account: AccountId, name: &str) -> Record {
    let (address, phc) = (format!("{name}@example.test"), format!("phc of {name}"));
    Record::AccountAdded { account, address, class: Class::M, bucket_bytes: 300_000, phc }
}

fn folder_added(account: AccountId, folder: FolderId, name: &str, nth: u32) -> Record {
    let (name, uid_validity, special) = (name.into(), VALIDITY + nth, Some(SpecialUse::Junk));
    Record::FolderAdded { account, folder, name, uid_validity, special }
}

fn present(uid: u32, serial: Serial) -> Present {
    let (uid, body, date) = (Uid(uid), BodyId(5_000_000 + u64::from(uid)), Time(77));
    Present { uid, body, size: 100, charge: 704, date, flags: Flags::FLAGGED, serial }
}

fn message_added(folder: FolderId, uid: u32) -> Record {
    let (uid, body, date) = (Uid(uid), BodyId(1_000_000 * u64::from(folder.0) + u64::from(uid)), Time(7));
    Record::MessageAdded {
        account: ANNA,
        folder,
        uid,
        body,
        size: 100,
        charge: 704,
        date,
        flags: Flags::NONE,
    }
}

fn uids(first: u32, last: u32) -> UidSet {
    UidSet(vec![(Uid(first), Uid(last))])
}

/// Anna's and Ben's mailboxes as they are at the beginning of each story: three messages in each of Anna's two folders.
fn beginning() -> Vec<Record> {
    let mut records = vec![account_added(ANNA, "anna"), account_added(BEN, "ben")];
    records.push(folder_added(ANNA, INBOX, "INBOX", 1));
    records.push(folder_added(ANNA, WORK, "Work", 2));
    records.push(folder_added(BEN, INBOX, "INBOX", 3));
    records.extend((1..=3).flat_map(|uid| [message_added(INBOX, uid), message_added(WORK, uid)]));
    records
}

fn settings() -> Vec<Story> {
    let name = |text: &str| String::from(text);
    let (account, folder) = (ANNA, WORK);
    let added =
        |address: &str| Record::AliasAdded { address: name(address), target: name("anna@example.test") };
    let changed = |number| Record::Changed { number, time: Time(9), command: name("a b"), undoable: true };
    let back = |nth| Record::Back { number: 2, nth, record: Box::new(Record::DomainRemoved(name("a.test"))) };
    let domains = || vec![Record::DomainAdded(name("a.test")), Record::DomainAdded(name("b.test"))];
    let network = super::super::Network { dns: vec![[192, 0, 2, 1].into()], ..Default::default() };
    let is = Record::AccountIs {
        account,
        address: name("anna@example.test"),
        class: Class::Xl,
        bucket_bytes: 700_000,
        phc: name("another"),
        folder_last: FolderId(40),
    };
    let given = Record::Given { next_body: BodyId(9), uid_validity: u32::MAX - 3, account: AccountId(99) };
    vec![
        story(vec![], Record::DomainAdded(name("a.test"))),
        story(domains(), Record::DomainRemoved(name("a.test"))),
        story(domains(), Record::DomainsAre(vec![name("c.test")])),
        story(vec![], account_added(CARL, "carl")),
        story(vec![account_added(CARL, "carl")], Record::AccountRemoved(CARL)),
        story(vec![account_added(CARL, "carl")], Record::AccountsGone(vec![(CARL, CARL)])),
        story(vec![], Record::AccountPassword { account, phc: name("second") }),
        story(vec![], Record::AccountSize { account, class: Class::L, bucket_bytes: 1000 }),
        story(vec![], is),
        story(vec![], added("info@example.test")),
        story(vec![added("info@example.test")], Record::AliasRemoved(name("info@example.test"))),
        story(vec![Record::AdminPassword(name("first"))], Record::AdminPassword(name("second"))),
        story(vec![], Record::Certificate { chain: vec![vec![1; 900]], key: vec![2; 100] }),
        story(vec![], Record::Subscribed { account, name: name("Work") }),
        story(
            vec![Record::Subscribed { account, name: name("Work") }],
            Record::Unsubscribed { account, name: name("Work") },
        ),
        story(vec![], Record::SubscriptionsAre { account, names: vec![name("A"), name("B")] }),
        story(vec![], Record::KeywordAdded { account, name: name("$Junk") }),
        story(vec![], Record::KeywordsAre { account, names: vec![name("$A"), name("$B")] }),
        story(vec![], given),
        story(vec![], Record::Network(network)),
        story(vec![], Record::HostName(name("box.test"))),
        story(vec![], Record::TimeServers(vec![name("time.test")])),
        story(vec![Record::Clock(Time(3))], Record::Clock(Time(4))),
        story(vec![], Record::Language(Language::German)),
        story(vec![changed(1)], changed(2)),
        story(vec![changed(1), changed(2), back(0)], back(1)),
        story(vec![changed(1), changed(2), back(0)], Record::Undone { from: 1, to: 1 }),
        // Numbers that have been given out, and nothing is left of them.
        story(vec![changed(1), changed(2), back(0)], Record::Undone { from: 1, to: 2 }),
        story(vec![folder_added(account, NEW, "New", 99)], Record::FolderRemoved { account, folder: NEW }),
        story(vec![Record::FolderRemoved { account, folder }], folder_added(account, NEW, "Work", 9)),
    ]
}

fn mail() -> Vec<Story> {
    let (account, folder) = (ANNA, WORK);
    let flags = |uid: u32, flags| {
        let groups = vec![(flags, uids(uid, uid))];
        Record::FlagsSet { account, folder, groups }
    };
    let expunged = |uids| Record::Expunged { account, folder, uids };
    let told =
        |told: fn(Serial) -> Vec<Vec<Record>>| Story { before: vec![], told: Box::new(told), then: vec![] };
    vec![
        story(vec![], folder_added(account, NEW, "New", 9)),
        story(vec![], Record::FolderRenamed { account, folder, name: "Other".into() }),
        story(vec![], Record::FolderRemoved { account, folder }),
        story(vec![], Record::FoldersGone { account, folders: vec![(WORK, WORK)] }),
        story(vec![], message_added(folder, 4)),
        story(vec![], flags(2, Flags::SEEN)),
        story(vec![flags(2, Flags::SEEN)], flags(2, Flags::DELETED)),
        story(vec![], expunged(uids(2, 2))),
        // UIDNEXT and HIGHESTMODSEQ of a folder in which nothing is left.
        story(vec![], expunged(uids(1, 3))),
        story(vec![], Record::MessagesGone { account, folder, uids: uids(1, 3) }),
        // UIDNEXT of a message that is gone, while the record of the folder's newest change is in a segment that stays longer.
        stories(message_added(folder, 4), vec![expunged(uids(4, 4)), flags(1, Flags::SEEN)]),
        // An expunge, while a record of the message's flags and one of the message itself stay longer.
        story(vec![message_added(folder, 4), flags(4, Flags::SEEN)], expunged(uids(4, 4))),
        stories(flags(2, Flags::SEEN), vec![expunged(uids(2, 2)), flags(1, Flags::SEEN)]),
        // HIGHESTMODSEQ of a change whose message is gone.
        story(vec![flags(3, Flags::SEEN)], expunged(uids(3, 3))),
        told(|serial| {
            let messages = vec![present(4, serial), present(5, serial)];
            vec![vec![Record::MessagesAre { account: ANNA, folder: WORK, messages }]]
        }),
        told(|serial| {
            let groups = vec![(serial, Flags::ANSWERED, uids(1, 2))];
            vec![vec![Record::FlagsAre { account: ANNA, folder: WORK, groups }]]
        }),
        told(|serial| {
            let (account, folder, name, special) = (ANNA, WORK, "Other".into(), Some(SpecialUse::Junk));
            let (uid_validity, uid_next) = (VALIDITY + 2, Uid(500));
            let is = Record::FolderIs { account, folder, name, uid_validity, special, uid_next, serial };
            vec![vec![is]]
        }),
        // A change of several frames.
        told(|_| {
            let part = |number| Record::Part { number, of: 2 };
            let groups = vec![(Flags::SEEN, uids(1, 1))];
            let flags = Record::FlagsSet { account: ANNA, folder: WORK, groups };
            let gone = Record::Expunged { account: ANNA, folder: WORK, uids: uids(2, 2) };
            vec![vec![part(0), flags], vec![part(1), gone]]
        }),
    ]
}

/// The names of a type's variants, as serde's derive knows them.
struct Variants<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Variants<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only variants are asked for"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

fn variant(record: &Record) -> String {
    format!("{record:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// 25 segments of 32 KiB, with the mailboxes, and what is told before.
fn office(before: Vec<Record>) -> (Arc<Memory>, Shared) {
    let device = Memory::new(26 * 32 * 1024);
    let mut random = Random(1);
    let options = Format { segment_bytes: Some(32 * 1024), force: false };
    format(&device, &options, &mut |bytes| random.fill(bytes)).expect("formats");
    let device = Arc::new(device);
    let (shared, _) = open(&device, 1).expect("opens");
    tell(&shared, &[beginning()]);
    before.into_iter().for_each(|record| tell(&shared, &[vec![record]]));
    (device, shared)
}

/// Tells a story and buries it. `cold`: what was before stays where it is, beside a message that stays. Returns the kinds that were told.
fn live(Story { before, told, then }: Story, cold: bool) -> Vec<String> {
    let (device, shared) = office(before);
    let next = || Serial(shared.lock().state.serial.0 + 1);
    let mut floor = Position(0);
    if cold {
        append(&shared, ANNA, 14_000);
        (0..2).for_each(|_| traffic(&shared));
        floor = shared.lock().journal.last();
    } else if then.is_empty() {
        bury(&device, &shared, (floor, 12), "what was before");
    }
    let was = facts(&shared.lock().state).1;
    let frames = told(next());
    let what = format!("{frames:?}, cold {cold}");
    tell(&shared, &frames);
    let now = facts(&shared.lock().state).1;
    assert!(now.iter().any(|line| !was.contains(line)) || now.len() < was.len(), "{what} changes nothing");
    let step = if then.is_empty() && !cold { 4 } else { 1 };
    for later in then {
        (0..4).for_each(|_| traffic(&shared));
        tell(&shared, &[vec![later]]);
    }
    bury(&device, &shared, (floor, step), &what);
    if !cold {
        bury(&device, &shared, (floor, 12), &format!("copies of {what}"));
    }
    frames.iter().flatten().map(variant).collect()
}

#[test]
fn every_kind_of_record_outlives_its_segment() {
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    for cold in [false, true] {
        settings().into_iter().chain(mail()).for_each(|story| kinds.extend(live(story, cold)));
    }
    let mut all: &[&str] = &[];
    assert!(Record::deserialize(Variants(&mut all)).is_err() && all.len() >= 38);
    let missing: Vec<_> = all.iter().filter(|name| !kinds.contains(**name)).collect();
    assert!(missing.is_empty(), "no story of {missing:?}");
}
