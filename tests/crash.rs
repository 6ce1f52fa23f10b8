//! Power is cut at every write and every flush of a day in the office; what a client was told must hold afterwards.
//!
//! Method: clients do one thing after the other through real sessions over a device in memory, while a model keeps what they were
//! told. The power goes at the nth operation of the device. Writes that no flush has covered are then lost, kept, reordered or torn. The
//! store is opened again, and must be what the model says: before or after the one thing that was not answered.
//! Then the clients go on, and the power goes a second time: nothing of the first cut may come back to life.

mod harness;

use std::collections::BTreeMap;
use std::sync::Arc;

use harness::{World, load, phc, seeded};
use postfach::device::{Memory, Outcome};
use postfach::journal::{Format, format};
use postfach::limits::PIECE_BYTES;
use postfach::session::Load;
use postfach::types::{AccountId, Class, Position};

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

/// Runs deeds until the power is gone. Returns what was told, and what would be true if the unanswered deed had happened.
fn run(world: &mut World, told: &mut Model, deeds: &[Deed]) -> Option<Model> {
    for deed in deeds {
        let mut after = told.clone();
        if act(world, &mut after, *deed) {
            *told = after;
        } else {
            return Some(after);
        }
    }
    None
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
    let seeds: u64 = std::env::var("POSTFACH_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let (device, before) = office(1);
    let operations = {
        let mut world = World::open(device.copy(), 2);
        let start = world.device.operations();
        assert!(run(&mut world, &mut before.clone(), DAY).is_none(), "without a cut the day goes through");
        world.device.operations() - start
    };
    let mut states = 0;
    for at in 0..=operations {
        for (nth, outcome) in Outcome::ALL.into_iter().enumerate() {
            for seed in 0..seeds {
                let seed = seed * 1000 + at * 10 + nth as u64;
                states += cut_twice(&device, &before, at, outcome, seed);
            }
        }
    }
    eprintln!("{states} crash states over {operations} device operations");
    assert!(states >= 5_000, "only {states} states");
}

/// Cuts at operation `at`, checks, goes on, cuts again at every fourth operation or so, checks. Returns how many states were checked.
fn cut_twice(device: &Memory, before: &Model, at: u64, outcome: Outcome, seed: u64) -> u64 {
    let mut world = World::open(device.copy(), seed);
    let mut told = before.clone();
    world.device.cut_after(at);
    let tried = run(&mut world, &mut told, DAY);
    let first = world.device.survive(outcome, seed);
    drop(world);
    let world = World::open(first.copy(), seed + 1);
    let told =
        possible(&world, &told, tried.as_ref(), &format!("first cut at {at}, {outcome:?}, seed {seed}"));
    drop(world);
    let mut states = 1;
    for (second, again) in [(seed % 3, Outcome::Torn), (3 + seed % 7, Outcome::Subset), (9, Outcome::Kept)] {
        // The power may also go while the store is being opened: recovery flushes.
        let medium = Arc::new(first.copy());
        medium.cut_after(second);
        let mut told = told.clone();
        let (tried, medium) = match World::try_open(Arc::clone(&medium), seed + 2) {
            Some(mut world) => {
                let tried = run(&mut world, &mut told, AFTERWARDS);
                (tried, world.device.survive(again, seed))
            }
            None => (None, medium.survive(again, seed)),
        };
        let world = World::open(medium, seed + 3);
        let when = format!("cut at {at} {outcome:?}, again at {second} {again:?}, seed {seed}");
        possible(&world, &told, tried.as_ref(), &when);
        states += 1;
    }
    states
}
