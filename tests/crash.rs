//! Power is cut at every write and every flush of a day in the office; what a client was told must hold afterwards.
//!
//! Method: clients do one thing after the other through real sessions over a device in memory, while a model keeps what they were
//! told. The power goes at the nth operation of the device. Writes that no flush has covered are then lost, kept, reordered or torn. The
//! store is opened again, and must be what the model says: before or after the one thing that was not answered.
//! Then the clients go on, and the power goes a second time: nothing of the first cut may come back to life.

mod harness;
mod proof;

use std::collections::BTreeMap;

use harness::{World, load, phc, seeded};
use postfach::device::{Left, Memory, Outcome, Outcomes, Random};
use postfach::journal::{Format, format};
use postfach::limits::PIECE_BYTES;
use postfach::session::Load;
use postfach::types::{AccountId, Class, Position};
use proof::{Notes, seeds, share};

const ANNA: &str = "anna@example.test";
const BEN: &str = "ben@example.test";

/// A message as a client sees it: its UID's place is the key beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    body: Vec<u8>,
    flags: u64,
}

/// Everything that clients can have been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    /// (account, folder) → UID → message
    folders: BTreeMap<(String, String), BTreeMap<u32, Seen>>,
    /// UIDNEXT of each folder: may be higher after a cut, never lower.
    uid_next: BTreeMap<(String, String), u32>,
    passwords: BTreeMap<String, String>,
}

/// What the clients do, in order.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Deliver { number: usize, both: bool },
    Append { number: usize },
    Flag { uid: u32, add: bool, flag: u64, name: &'static str },
    Move { uid: u32 },
    Copy { uid: u32 },
    Expunge { uid: u32 },
    Create { name: &'static str },
    Pop3Delete,
    Password { number: usize },
}

const DAY: &[Deed] = &[
    Deed::Deliver { number: 1, both: false },
    Deed::Deliver { number: 2, both: true },
    Deed::Flag { uid: 1, add: true, flag: 1, name: "\\Seen" },
    Deed::Deliver { number: 3, both: false },
    Deed::Move { uid: 2 },
    Deed::Append { number: 4 },
    Deed::Create { name: "Work" },
    Deed::Copy { uid: 1 },
    Deed::Flag { uid: 3, add: true, flag: 8, name: "\\Deleted" },
    Deed::Expunge { uid: 3 },
    Deed::Password { number: 1 },
    Deed::Deliver { number: 40, both: false },
    Deed::Flag { uid: 1, add: false, flag: 1, name: "\\Seen" },
    Deed::Pop3Delete,
    Deed::Deliver { number: 5, both: true },
    Deed::Password { number: 2 },
    Deed::Flag { uid: 5, add: true, flag: 4, name: "\\Flagged" },
    Deed::Deliver { number: 6, both: false },
];

const AFTERWARDS: &[Deed] = &[
    Deed::Deliver { number: 7, both: true },
    Deed::Append { number: 8 },
    Deed::Password { number: 3 },
    Deed::Deliver { number: 9, both: false },
];

/// Message `number`; one of them is of several pieces. The content differs everywhere.
fn text(number: usize) -> Vec<u8> {
    let mut text = format!("Subject: number {number}\r\n\r\n").into_bytes();
    let wanted = if number == 40 { 2 * PIECE_BYTES + 700 } else { 300 + 700 * (number % 7) };
    let mut line = 0;
    while text.len() < wanted {
        text.extend_from_slice(format!("line {line} of message {number}, and so on\r\n").as_bytes());
        line += 1;
    }
    text
}

fn key(address: &str, folder: &str) -> (String, String) {
    (address.into(), folder.into())
}

/// The office before the day begins.
fn office(seed: u64) -> (Memory, Model) {
    let device = Memory::new(128 << 20);
    let options = Format { segment_bytes: Some(256 * 1024), force: false };
    format(&device, &options, &mut seeded(seed)).expect("formats");
    let world = World::open(device, seed);
    let mut needs = Position::default();
    let mut store = world.shared.access(&mut needs);
    store.domain_add("example.test").expect("adds");
    let mut model = Model::default();
    for address in [ANNA, BEN] {
        store.mailbox_add(address, Class::S, phc(b"first")).expect("adds");
        model.passwords.insert(address.into(), phc(b"first"));
    }
    drop(store);
    world.shared.lock().commit().expect("commits");
    let model = Model { passwords: model.passwords, ..observe(&world) };
    let device = world.device.survive(Outcome::Lost, 0);
    (device, model)
}

/// Does one thing. Returns whether the client was told that it is done; the model becomes what it would then be.
fn act(world: &mut World, model: &mut Model, deed: Deed) -> bool {
    let inbox = key(ANNA, "INBOX");
    match deed {
        Deed::Deliver { number, both } => {
            let recipients: &[&str] = if both { &[ANNA, BEN] } else { &[ANNA] };
            let body = text(number);
            let done = deliver(world, recipients, &body);
            for address in recipients {
                add(model, &key(address, "INBOX"), Seen { body: body.clone(), flags: 0 });
            }
            done
        }
        Deed::Append { number } => {
            let body = text(number);
            let done = imap(world, "Sent", &format!("APPEND Sent {{{}+}}\r\n", body.len()), &body);
            add(model, &key(ANNA, "Sent"), Seen { body, flags: 0 });
            done
        }
        Deed::Flag { uid, add, flag, name } => {
            let sign = if add { '+' } else { '-' };
            let done = imap(world, "INBOX", &format!("UID STORE {uid} {sign}FLAGS ({name})"), b"");
            if let Some(seen) = model.folders.entry(inbox).or_default().get_mut(&uid) {
                seen.flags = if add { seen.flags | flag } else { seen.flags & !flag };
            }
            done
        }
        Deed::Move { uid } => {
            let done = imap(world, "INBOX", &format!("UID MOVE {uid} Archive"), b"");
            if let Some(seen) = model.folders.entry(inbox).or_default().remove(&uid) {
                add(model, &key(ANNA, "Archive"), seen);
            }
            done
        }
        Deed::Copy { uid } => {
            let done = imap(world, "INBOX", &format!("UID COPY {uid} Work"), b"");
            if let Some(seen) = model.folders.entry(inbox).or_default().get(&uid).cloned() {
                add(model, &key(ANNA, "Work"), seen);
            }
            done
        }
        Deed::Expunge { uid } => {
            let done = imap(world, "INBOX", &format!("UID EXPUNGE {uid}"), b"");
            model.folders.entry(inbox).or_default().remove(&uid);
            done
        }
        Deed::Create { name } => {
            let done = imap(world, "INBOX", &format!("CREATE {name}"), b"");
            model.folders.insert(key(ANNA, name), BTreeMap::new());
            model.uid_next.insert(key(ANNA, name), 1);
            done
        }
        Deed::Pop3Delete => {
            let done = pop3_delete_first(world);
            if let Some(folder) = model.folders.get_mut(&key(BEN, "INBOX")) {
                folder.pop_first();
            }
            done
        }
        Deed::Password { number } => {
            let password = format!("password{number}");
            world.connect("console", "console");
            world.send("console", format!("mailbox passwd {ANNA}\n{password}\n").as_bytes());
            let said = String::from_utf8_lossy(&world.connection("console").said).into_owned();
            model.passwords.insert(ANNA.into(), phc(password.as_bytes()));
            said.contains("changed")
        }
    }
}

fn add(model: &mut Model, folder: &(String, String), seen: Seen) {
    let next = model.uid_next.entry(folder.clone()).or_insert(1);
    model.folders.entry(folder.clone()).or_default().insert(*next, seen);
    *next += 1;
}

fn deliver(world: &mut World, recipients: &[&str], body: &[u8]) -> bool {
    world.connect("lmtp", "lmtp");
    world.send("lmtp", b"LHLO test\r\nMAIL FROM:<x@example.org>\r\n");
    for address in recipients {
        world.send("lmtp", format!("RCPT TO:<{address}>\r\n").as_bytes());
    }
    world.send("lmtp", b"DATA\r\n");
    world.connection("lmtp").said.clear();
    world.send("lmtp", body);
    world.send("lmtp", b".\r\n");
    let said = String::from_utf8_lossy(&world.connection("lmtp").said).into_owned();
    said.lines().count() == recipients.len() && said.lines().all(|line| line.starts_with("250 "))
}

/// One command of Anna's in a fresh session with this folder selected.
fn imap(world: &mut World, folder: &str, command: &str, literal: &[u8]) -> bool {
    let password = world.password(ANNA);
    world.connect("imap", "imaps");
    world.send("imap", format!("a LOGIN {ANNA} {password}\r\nb SELECT {folder}\r\nc {command}").as_bytes());
    world.send("imap", literal);
    world.send("imap", b"\r\n");
    String::from_utf8_lossy(&world.connection("imap").said).contains("\r\nc OK")
}

fn pop3_delete_first(world: &mut World) -> bool {
    let password = world.password(BEN);
    world.connect("pop3", "pop3s");
    world.send("pop3", format!("USER {BEN}\r\nPASS {password}\r\nDELE 1\r\n").as_bytes());
    world.connection("pop3").said.clear();
    world.send("pop3", b"QUIT\r\n");
    world.connection("pop3").said.starts_with(b"+OK")
}

trait Password {
    fn password(&self, address: &str) -> String;
}

impl Password for World {
    /// The password that the store has for it.
    fn password(&self, address: &str) -> String {
        let store = self.shared.lock();
        let settings = &store.state().settings;
        let account: AccountId = settings.addresses[address];
        settings.passwords[&account].0.trim_start_matches("$test$").to_string()
    }
}

/// What clients would find now. Trace lines that delivery has put before a message are left out.
fn observe(world: &World) -> Model {
    let mut model = Model::default();
    let mut bodies = Vec::new();
    {
        let store = world.shared.lock();
        for account in store.state().accounts.values() {
            let phc = &store.state().settings.passwords[&account.id].0;
            model.passwords.insert(account.address.clone(), phc.clone());
            for folder in account.folders.values() {
                let key = (account.address.clone(), folder.name.clone());
                model.uid_next.insert(key.clone(), folder.uid_next.0);
                model.folders.insert(key.clone(), BTreeMap::new());
                for message in folder.live() {
                    bodies.push((key.clone(), message));
                }
            }
        }
    }
    for (key, message) in bodies {
        let mut body = Vec::new();
        while (body.len() as u64) < u64::from(message.size) {
            let wanted = Load::Body { body: message.body, offset: body.len() as u64 };
            body.extend(load(&world.shared, wanted).expect("what is there can be read"));
        }
        load(&world.shared, Load::Structure { body: message.body }).expect("its structure can be read");
        let start = body.windows(9).position(|part| part == b"Subject: ").unwrap_or(0);
        let seen = Seen { body: body.split_off(start), flags: message.flags.0 };
        model.folders.entry(key).or_default().insert(message.uid.0, seen);
    }
    model
}

/// `found` is what `told` says. UIDNEXT may have moved on.
fn agrees(found: &Model, told: &Model) -> bool {
    found.folders == told.folders
        && found.passwords == told.passwords
        && told
            .uid_next
            .iter()
            .all(|(folder, next)| found.uid_next.get(folder).is_some_and(|now| now >= next))
}

/// What was told, and what would be true if the deed that was not answered had happened.
type Truth = (Model, Option<Model>);

/// Does these deeds on a device that keeps its cuts. What is true at each of its operations, and afterwards.
fn run(world: &mut World, mut told: Model, deeds: &[Deed], notes: &mut Notes<Truth>) -> Model {
    for deed in deeds {
        let operations = world.device.operations();
        let mut after = told.clone();
        assert!(act(world, &mut after, *deed), "without a cut {deed:?} is answered");
        notes.note(operations, (told, Some(after.clone())));
        // From the moment on at which it was said.
        notes.note(world.answered(), (after.clone(), None));
        told = after;
    }
    told
}

/// A cut leaves nothing of the last deed or all of it. Returns what is there.
fn possible(world: &World, told: &Model, tried: Option<&Model>, when: &str) -> Model {
    let found = observe(world);
    assert!(
        agrees(&found, told) || tried.is_some_and(|tried| agrees(&found, tried)),
        "{when}: found {:?}\n told {:?}\n tried {:?}",
        brief(&found),
        brief(told),
        tried.map(brief)
    );
    found
}

fn brief(model: &Model) -> Vec<String> {
    let folders = model.folders.iter().filter(|(_, messages)| !messages.is_empty());
    let mut lines: Vec<String> = folders
        .map(|((address, folder), messages)| {
            let of = |(uid, seen): (&u32, &Seen)| format!("{uid}:{}b/{}", seen.body.len(), seen.flags);
            format!("{address} {folder} {:?}", messages.iter().map(of).collect::<Vec<_>>())
        })
        .collect();
    lines.push(format!("{:?}", model.passwords));
    lines
}

#[test]
fn what_was_told_holds_after_every_cut_and_a_second_one() {
    let [states, recovering, doubles] = share("a day in the office", seeds(4), storm);
    proof::count(proof::STATES, "a day in the office, by clients", states);
    proof::count(proof::DOUBLES, "a day in the office: in recovery or the batch that ends it", recovering);
    proof::count(proof::DOUBLES, "a day in the office: in what clients do behind", doubles);
    assert!(states > 5000 && recovering > 1000 && doubles > 1000, "{states} {recovering} {doubles}");
}

/// One day, cut everywhere. Counts states, and those after a second cut: in recovery, and in what comes behind.
fn storm(seed: u64) -> [u64; 3] {
    let (device, before) = office(seed);
    device.keep_cuts();
    let mut notes = Notes::default();
    notes.note(0, (before.clone(), None));
    let mut world = World::open(device, seed + 1);
    run(&mut world, before, DAY, &mut notes);
    let mut seen = [0; 3];
    let mut outcomes = Outcomes::default();
    for cut in world.device.take_cuts() {
        let (told, tried) = notes.at(cut.operations());
        let salt = seed ^ cut.operations() << 8;
        for (nth, left) in outcomes.of(&cut, 24, false, salt).into_iter().enumerate() {
            let Left { outcome, seed: how, memory } = left;
            let what = format!("seed {seed} cut {} {outcome:?} {how}", cut.operations());
            memory.keep_cuts();
            let mut world = World::open(memory, salt + 2);
            let told = possible(&world, told, tried.as_ref(), &what);
            seen[0] += 1;
            if (nth as u64 + salt).is_multiple_of(3) {
                cut_again(&mut world, told, salt + nth as u64, &what, &mut seen);
            }
        }
    }
    seen
}

/// The clients go on, and the power goes a second time: while the store recovers, and in what comes behind.
fn cut_again(world: &mut World, told: Model, seed: u64, what: &str, seen: &mut [u64; 3]) {
    let mut random = Random(seed);
    let mut notes = Notes::default();
    notes.note(0, (told.clone(), None));
    let opened = world.device.operations();
    run(world, told, AFTERWARDS, &mut notes);
    let cuts = world.device.take_cuts();
    let early = cuts.partition_point(|cut| cut.operations() < opened + 2);
    let (first, second) = cuts.split_at(early);
    for (nth, cuts) in [first, second].into_iter().enumerate() {
        let cut = &cuts[random.below(cuts.len() as u64) as usize];
        let mut states = Outcomes::default().of(cut, 1, false, seed);
        let Left { outcome, seed: how, memory } =
            states.swap_remove(random.below(states.len() as u64) as usize);
        let what = format!("{what}, again at {} {outcome:?} {how}", cut.operations());
        let (told, tried) = notes.at(cut.operations());
        possible(&World::open(memory, seed + 3), told, tried.as_ref(), &what);
        seen[nth + 1] += 1;
    }
}
