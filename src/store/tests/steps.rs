//! Compaction goes in steps: what each reads and copies, and what it costs in flushes.

use super::super::*;
use super::full::{deliver, office};
use crate::device::Random;
use crate::journal::Kind;
use crate::types::{FlagChange, Flags, FolderId, Uid, UidSet};

const INBOX: FolderId = FolderId::INBOX;
/// A frame's header, and what rounds it up.
const FRAME_BYTES: usize = 64 + 8;

/// Mail of all sizes comes and goes, and is flagged in between, until segments have been emptied many times.
#[test]
fn a_step_copies_at_most_64_kib_or_one_larger_frame_and_costs_one_flush() {
    let (device, shared) = office(32, 1 << 20, 4);
    let mut random = Random(5);
    let (mut steps, mut alone, mut largest, mut said) = (0, 0, 0, 0);
    let mut needs = Position::default();
    for nth in 0..6000_u32 {
        let account = AccountId(1 + nth % 4);
        let size = [300, 2000, 9000, 30_000, 65_536][random.below(5) as usize];
        deliver(&shared, account, size).expect("there is room");
        let view = shared.access(&mut needs).open(account, INBOX, false).expect("opens");
        let live: Vec<Uid> = {
            let store = shared.lock();
            store.state.accounts[&account].folders[&INBOX].live().map(|message| message.uid).collect()
        };
        let some = live.iter().copied().filter(|_| random.below(2) == 0);
        let change = if nth % 2 == 0 { FlagChange::Add } else { FlagChange::Remove };
        let some = UidSet::from_ascending(some);
        shared.access(&mut needs).flags_set(&view, &some, change, Flags::SEEN, None).expect("fits");
        // Some stay, so segments are never empty by themselves.
        if live.len() > 60 {
            let gone = live.iter().copied().filter(|uid| uid.0 % 16 != 0 || live.len() > 100).take(4);
            let gone = UidSet::from_ascending(gone);
            shared.access(&mut needs).expunge(&view, Which::These(&gone)).expect("fits");
        }
        drop(view);
        shared.lock().commit_pending().expect("commits");
        for _ in 0..4 {
            let mut store = shared.lock();
            assert_eq!(store.journal.pending_bytes(), 0);
            let (Some(mut looked), Some(mut portion)) =
                (store.compaction(Pressure::Low), store.compaction(Pressure::Low))
            else {
                break;
            };
            // The same, twice: what one is asked for its frames is gone.
            looked.read(&*device);
            portion.read(&*device);
            let frames = looked.take_frames();
            let bytes = |kind: fn(Kind) -> bool| -> usize {
                let of_kind = frames.iter().filter(|taken| kind(taken.kind));
                of_kind.map(|taken| FRAME_BYTES + taken.payload.len()).sum()
            };
            let (read, records) = (bytes(|_| true), bytes(|kind| kind == Kind::Record));
            let slack = frames.len() * 16;
            assert!(read <= COMPACTION_STEP_BYTES + slack || frames.len() == 1, "{read} of {}", frames.len());
            alone += u32::from(read > COMPACTION_STEP_BYTES + slack);
            assert_eq!(store.compact(portion), Step::Done);
            let copied = store.journal.pending_bytes();
            // What the segment declared, and what has been given out.
            assert!(
                copied <= COMPACTION_STEP_BYTES.max(read) + 300,
                "{copied} of {read}, {records} of them records"
            );
            largest = largest.max(copied);
            said = said.max(copied.saturating_sub(read));
            let before = device.flushes();
            store.commit_pending().expect("commits");
            assert_eq!(device.flushes() - before, u64::from(copied > 0));
            steps += 1;
        }
    }
    eprintln!(
        "{steps} steps, {alone} of one large frame, {largest} bytes at most; {said} more than was read at most"
    );
    assert!(steps > 500 && alone > 10, "{steps} {alone}");
}

/// A short record may be about much: each range of messages was flagged in one go, and every second one of them otherwise since.
#[test]
fn what_is_said_again_of_a_short_record_may_be_long() {
    let (device, shared) = office(64, 1 << 20, 1);
    let (account, mut needs) = (AccountId(1), Position::default());
    for _ in 0..20_000 {
        deliver(&shared, account, 20).expect("there is room");
    }
    let view = shared.access(&mut needs).open(account, INBOX, false).expect("opens");
    let mut flag = |set: UidSet, flags| {
        shared.access(&mut needs).flags_set(&view, &set, FlagChange::Add, flags, None).expect("fits");
        shared.lock().commit_pending().expect("commits");
    };
    flag(UidSet(vec![(Uid(1), Uid(20_000))]), Flags::SEEN);
    flag(UidSet::from_ascending((1..=10_000).map(|nth| Uid(2 * nth))), Flags::FLAGGED);
    let mut largest = 0;
    let mut random = Random(1);
    for _ in 0..3000 {
        let body = shared.access(&mut needs).incoming();
        let mut bytes = vec![0; 60_000];
        random.fill(&mut bytes);
        let mut store = shared.lock();
        if store.takes_piece(bytes.len()) {
            store.append_piece(body.id(), 0, bytes).expect("fits");
        }
        store.commit_pending().expect("commits");
        drop(body);
        while let Some(mut portion) = store.compaction(Pressure::Low) {
            portion.read(&*device);
            let step = store.compact(portion);
            largest = largest.max(store.journal.pending_bytes());
            store.commit_pending().expect("commits");
            if step != Step::Done {
                break;
            }
        }
    }
    eprintln!("{largest} bytes at most in a step");
    assert!(largest < 256 << 10, "{largest}");
}
