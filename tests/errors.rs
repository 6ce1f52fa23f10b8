//! The medium fails at the nth read, write or flush, once or for ever, or is full: never a panic, never a lost acknowledgement, and a
//! refusal that says what it is.
//!
//! Method: an office's day on the store, one commit after each thing. After the fault the medium is healed, the power goes, and the
//! store must be what it was at the last acknowledgement, or one thing further.

mod harness;
mod proof;

use std::sync::Arc;

use harness::{load, seeded};
use postfach::device::{Device, Memory, Operation, Outcome};
use postfach::journal::{Format, format};
use postfach::session::Load;
use postfach::store::{NewMessage, Shared, Store, StoreError, Which};
use postfach::types::{AccountId, Class, FlagChange, Flags, FolderId, Position, Time, Uid, UidSet};

const STEPS: u32 = 14;
const ANNA: AccountId = AccountId(1);
const INBOX: FolderId = FolderId::INBOX;

fn open(device: &Arc<Memory>) -> Option<Shared> {
    let device = Arc::clone(device) as Arc<dyn Device>;
    Some(Shared::new(Store::open(device, &mut seeded(2)).ok()?.0))
}

/// The office before the day: one mailbox, three messages.
fn office(size: u64, segment_bytes: u32) -> Memory {
    let device = Memory::new(size);
    let options = Format { segment_bytes: Some(segment_bytes), force: false };
    format(&device, &options, &mut seeded(1)).expect("formats");
    let device = Arc::new(device);
    let shared = open(&device).expect("opens");
    let mut needs = Position::default();
    shared.access(&mut needs).domain_add("example.test").expect("adds");
    let added = shared.access(&mut needs).mailbox_add("anna@example.test", Class::S, "first".into());
    assert_eq!(added, Ok(ANNA));
    shared.lock().commit().expect("commits");
    for number in 0..3 {
        deliver(&shared, number).expect("delivers");
        shared.lock().commit().expect("commits");
    }
    device.copy()
}

fn deliver(shared: &Shared, number: u32) -> Result<(), StoreError> {
    let mut needs = Position::default();
    let kept = shared.access(&mut needs).reserve(ANNA, 9000)?;
    let body = shared.access(&mut needs).new_body();
    shared.lock().append_piece(body, 0, vec![number as u8; 9000])?;
    let message = NewMessage { body, size: 9000, structure: vec![1; 50], date: Time(1) };
    shared.access(&mut needs).deliver(message, vec![(ANNA, kept)])?.remove(0).map(drop)
}

/// One thing.
fn act(shared: &Shared, step: u32) -> Result<(), StoreError> {
    let mut needs = Position::default();
    let first = UidSet(vec![(Uid(1 + step / 5), Uid(1 + step / 5))]);
    let view = shared.access(&mut needs).open(ANNA, INBOX, false).ok_or(StoreError::Missing)?;
    let mut store = shared.access(&mut needs);
    match step % 7 {
        0 | 3 => {
            drop(store);
            deliver(shared, step)
        }
        1 => store.flags_set(&view, &first, FlagChange::Replace, Flags(1 << (step % 5)), None).map(drop),
        2 => store.folder_create(ANNA, &format!("Work {step}"), None).map(drop),
        4 => store.copy(&view, &first, FolderId(5)).map(drop),
        5 => store.r#move(&view, &first, FolderId(6)).map(drop),
        _ => store.expunge(&view, Which::These(&UidSet(vec![(Uid(3), Uid(4))]))).map(drop),
    }
}

/// Everything that the store knows, and every byte of its messages.
fn told(shared: &Shared) -> String {
    let mut messages = Vec::new();
    let mut text = String::new();
    {
        let store = shared.lock();
        let account = &store.state().accounts[&ANNA];
        for folder in account.folders.values() {
            text += &format!("{} {} {}: ", folder.name, folder.uid_validity, folder.uid_next);
            for message in folder.live() {
                text += &format!("{}/{:?}/{} ", message.uid, message.flags, message.serial);
                messages.push(message);
            }
        }
    }
    for message in messages {
        match load(shared, Load::Body { body: message.body, offset: 0 }) {
            Ok(bytes) => assert!(bytes.len() == 9000 && bytes.iter().all(|byte| *byte == bytes[0])),
            Err(error) => text += &format!("{error:?} "),
        }
    }
    text
}

/// The day, until something is refused. Returns how many steps were acknowledged.
fn day(shared: &Shared) -> u32 {
    for step in 0..STEPS {
        let done = act(shared, step);
        let committed = shared.lock().commit();
        if committed.is_err() {
            assert!(shared.lock().journal().read_only());
            let fallen = shared.lock().fall_back();
            assert_eq!(act(shared, 0), Err(StoreError::ReadOnly), "refused for what it is");
            if fallen.is_ok() {
                told(shared);
            }
            return step;
        }
        match done {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, StoreError::ReadOnly | StoreError::NoSpace), "{error:?}");
                return step;
            }
        }
    }
    STEPS
}

/// What must be told after each number of steps.
fn expected(device: &Memory) -> Vec<String> {
    let device = Arc::new(device.copy());
    let shared = open(&device).expect("opens");
    let mut all = vec![told(&shared)];
    for step in 0..STEPS {
        act(&shared, step).expect("works");
        shared.lock().commit().expect("commits");
        all.push(told(&shared));
    }
    all
}

#[test]
fn an_error_at_any_operation_loses_nothing_acknowledged() {
    let [faults, states, refused, unopened] = errors(&office(24 << 20, 32 << 10));
    let what = "reads, writes, short writes, no space, flushes, each once and for ever";
    proof::count("errors at every index", what, faults);
    proof::count("states after an error and a cut", "a day on the store", states);
    assert!(states > 250 && refused > 20 && unopened > 10, "{states} {refused} {unopened}");
}

/// The day with each kind of error at every operation. Counts errors, states after them, days refused, and stores not opened.
fn errors(medium: &Memory) -> [u64; 4] {
    let expected = expected(medium);
    let whole = Arc::new(medium.copy());
    let shared = open(&whole).expect("opens");
    assert_eq!(day(&shared), STEPS);
    told(&shared);
    let mut seen = [0; 4];
    for (operation, count) in [
        (Operation::Read, whole.reads()),
        (Operation::Write, whole.writes()),
        (Operation::ShortWrite, whole.writes()),
        (Operation::NoSpace, whole.writes()),
        (Operation::Flush, whole.flushes()),
    ] {
        assert!(count > u64::from(STEPS) / 2, "{operation:?}");
        for (index, for_ever) in (0..count).flat_map(|index| [(index, false), (index, true)]) {
            let device = Arc::new(medium.copy());
            device.fail_at(operation, index, for_ever);
            let opened = open(&device);
            let acknowledged = opened.as_ref().map_or(0, day);
            device.heal();
            let what = format!("{operation:?} {index} for ever {for_ever}: {acknowledged} steps");
            seen[0] += 1;
            seen[2] += u64::from(acknowledged < STEPS);
            seen[3] += u64::from(opened.is_none());
            let writes = !matches!(operation, Operation::Read | Operation::Flush);
            assert!(for_ever || acknowledged == STEPS || !writes, "{what}");
            // Reading leaves the medium as it was.
            let outcomes = if operation == Operation::Read { &Outcome::ALL[..1] } else { &Outcome::ALL };
            for outcome in outcomes {
                let left = Arc::new(device.survive(*outcome, index));
                let found = told(&open(&left).expect("opens"));
                let further = (acknowledged as usize + 1).min(STEPS as usize);
                assert!(expected[acknowledged as usize..=further].contains(&found), "{what}: {found}");
                assert!(!postfach::journal::verify(&*left).expect("reads").is_damaged(), "{what}");
                seen[1] += 1;
            }
        }
    }
    seen
}

/// A read that fails while the server runs is an error of that message, and the next one may work.
#[test]
fn a_failed_read_is_that_messages_error() {
    let device = Arc::new(office(24 << 20, 32 << 10));
    let shared = open(&device).expect("opens");
    let before = told(&shared);
    device.fail_at(Operation::Read, device.reads(), false);
    assert_ne!(told(&shared), before);
    assert_eq!(told(&shared), before);
    assert_eq!(day(&shared), STEPS);
}

#[test]
fn a_full_medium_refuses_what_is_new_and_still_expunges() {
    let device = Arc::new(office(24 << 20, 32 << 10));
    let shared = open(&device).expect("opens");
    let filler = shared.access(&mut Position::default()).new_body();
    let mut piece = 0;
    // What is too large for the rest of a segment still leaves room for what is small.
    for size in [20_000, 500] {
        while shared.lock().append_piece(filler, piece, vec![9; size]).is_ok() {
            shared.lock().commit().expect("commits");
            piece += 1;
        }
    }
    assert_eq!(deliver(&shared, 1), Err(StoreError::NoSpace));
    let mut needs = Position::default();
    let view = shared.access(&mut needs).open(ANNA, INBOX, false).expect("opens");
    let gone = UidSet(vec![(Uid(1), Uid(1))]);
    assert_eq!(shared.access(&mut needs).expunge(&view, Which::These(&gone)), Ok(gone));
    shared.lock().commit().expect("commits");
    let now = told(&shared);
    let left = Arc::new(device.survive(Outcome::Lost, 0));
    assert_eq!(told(&open(&left).expect("opens")), now);
}
