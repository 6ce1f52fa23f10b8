//! Power is cut at every write and flush of a workload, with everything that can become of the unflushed writes; after recovery has
//! written again it is cut a second time, and a third opening goes on.

use super::*;

/// A frame as the workload appended it.
#[derive(Clone)]
struct Written {
    position: u64,
    body: Option<(u64, u16)>,
    payload: Vec<u8>,
}

/// What a store must hold: every frame in order, and how far it was acknowledged.
#[derive(Clone, Default)]
struct History {
    frames: Vec<Written>,
    acknowledged: u64,
    next_body: u64,
}

/// Appends and commits until the power goes or the steps are done. Batches of very different sizes, some over several segments.
fn work(journal: &mut Journal, history: &mut History, steps: u32, random: &mut Random) {
    for _ in 0..steps {
        for _ in 0..=random.below(3) {
            let pieces = random.below(3);
            let body = history.next_body;
            history.next_body += 1;
            for piece in 0..pieces as u16 {
                let payload = payload(random, 5000);
                let position = journal.append_body(ANNA, BodyId(body), piece, payload.clone()).unwrap().0;
                history.frames.push(Written { position, body: Some((body, piece)), payload });
            }
            let payload = payload(random, 200);
            let position = journal.append_record(BEN, Serial(body), payload.clone()).unwrap().0;
            history.frames.push(Written { position, body: None, payload });
        }
        loop {
            match commit(journal) {
                Finish::Durable { accounts } => {
                    assert_eq!(accounts, [BEN]);
                    history.acknowledged = journal.durable().0;
                    break;
                }
                Finish::Again => {}
                Finish::Failed => return,
            }
        }
    }
}

/// Closes the store in order, unless the power has gone.
fn close(journal: &mut Journal) {
    if journal.append_witness().is_ok() {
        while journal.pending_bytes() > 0 && commit(journal) == Finish::Again {}
    }
}

fn payload(random: &mut Random, bound: u64) -> Vec<u8> {
    let mut payload = vec![0; 1 + random.below(bound) as usize];
    random.fill(&mut payload);
    payload
}

/// Opens what has survived and holds it against the history, which is cut to what is there.
fn recover(device: &Arc<Memory>, history: &mut History, seed: u64, what: &str) -> Journal {
    let Opened { mut journal, report, checked, records } = open(device.clone(), seed);
    assert!(!report.is_damaged(), "{what}: {report}");
    let wanted: Vec<_> = history.frames.iter().filter(|frame| frame.body.is_none()).collect();
    assert!(records.len() <= wanted.len(), "{what}: a frame that should be dead");
    for ((position, _, payload), wanted) in records.iter().zip(&wanted) {
        assert_eq!((*position, payload), (wanted.position, &wanted.payload), "{what}: order");
    }
    let next = wanted.get(records.len()).map_or(u64::MAX, |frame| frame.position);
    assert!(next > history.acknowledged, "{what}: an acknowledged record is lost");
    let last = records.last().map_or(0, |record| record.0);
    let mut buf = Vec::new();
    for frame in history.frames.iter().filter(|frame| frame.position <= history.acknowledged.max(last)) {
        if let Some((body, piece)) = frame.body {
            let extent = journal.find(BodyId(body), piece).unwrap_or_else(|| panic!("{what}: body {body}"));
            extent.read(device.as_ref(), &mut buf).unwrap();
            assert_eq!(buf, frame.payload, "{what}");
        }
    }
    // What was not acknowledged may be there in part: from now on it is there, or it is dead.
    let bodies: Vec<_> = history.frames.iter().map(|frame| frame.body).collect();
    let mut kept = bodies.iter().take_while(|body| match body {
        Some((body, piece)) => journal.find(BodyId(*body), *piece).is_some(),
        None => true,
    });
    let frames = kept.by_ref().count();
    history.frames.truncate(frames);
    history.frames.retain(|frame| frame.body.is_some() || frame.position <= last);
    for body in 0..history.next_body {
        journal.hold(BodyId(body));
    }
    assert!(!checked.is_damaged(), "{what}: {checked}");
    journal
}

/// One workload, cut everywhere. `fault`: this flush fails once. Returns how many states were seen.
fn storm(seed: u64, fault: Option<u64>) -> u32 {
    // Small segments are often full, large ones have room to go on in.
    let empty = store_of(40, [65536, 16384, 32768][seed as usize % 3], seed);
    let whole = empty.copy();
    let run = |memory: Memory| {
        let device = Arc::new(memory);
        let mut history = History { next_body: 1, ..History::default() };
        if let Some(index) = fault {
            device.fail_at(Operation::Flush, index, false);
        }
        let mut random = Random(seed);
        let opened = Journal::open(device.clone(), &mut |buf| Random(seed).fill(buf), &mut |_| {});
        if let Ok((mut journal, _)) = opened {
            work(&mut journal, &mut history, 7, &mut random);
            close(&mut journal);
        }
        // Closed in order, the store goes on in the same segment.
        let opened = Journal::open(device.clone(), &mut |buf| Random(seed + 1).fill(buf), &mut |_| {});
        if let Ok((mut journal, _)) = opened {
            work(&mut journal, &mut history, 5, &mut random);
        }
        (device, history)
    };
    let (device, history) = run(whole);
    assert_eq!(history.acknowledged, history.frames.last().unwrap().position);
    let mut states = 0;
    for operation in 0..device.operations() {
        let memory = empty.copy();
        memory.cut_after(operation);
        let (device, history) = run(memory);
        for outcome in Outcome::ALL {
            let variants = if matches!(outcome, Outcome::Lost | Outcome::Kept) { 1 } else { 4 };
            for variant in 0..variants {
                let what = format!("seed {seed} fault {fault:?} cut {operation} {outcome:?} {variant}");
                let survived = device.survive(outcome, seed ^ operation << 8 ^ variant);
                states += again(Arc::new(survived), history.clone(), seed + variant, &what);
            }
        }
    }
    states
}

/// Recovers, writes, cuts a second time, recovers, writes, and looks once more.
fn again(device: Arc<Memory>, mut history: History, seed: u64, what: &str) -> u32 {
    let mut random = Random(seed);
    let mut journal = recover(&device, &mut history, seed + 100, what);
    device.cut_after(1 + random.below(8));
    work(&mut journal, &mut history, 4, &mut random);
    let outcome = Outcome::ALL[random.below(4) as usize];
    let what = format!("{what}, then {outcome:?}");
    let device = Arc::new(device.survive(outcome, seed));
    let mut journal = recover(&device, &mut history, seed + 200, &what);
    work(&mut journal, &mut history, 2, &mut random);
    if seed.is_multiple_of(2) {
        close(&mut journal);
    }
    drop(journal);
    let mut journal = recover(&device, &mut history, seed + 250, &what);
    work(&mut journal, &mut history, 2, &mut random);
    let count = history.frames.len();
    recover(&device, &mut history, seed + 300, &what);
    assert_eq!(history.frames.len(), count, "{what}: all of it was acknowledged");
    3
}

#[test]
fn a_store_closed_in_order_goes_on_in_its_segment_and_any_other_in_a_fresh_one() {
    let device = Arc::new(store_of(16, 32768, 1));
    let mut random = Random(1);
    let free = |device: &Arc<Memory>| open(device.clone(), 5).journal.capacity().free_segments;
    let one = |random: &mut Random, in_order: bool| {
        let mut journal = open(device.clone(), 6).journal;
        journal.append_record(BEN, Serial(1), payload(random, 50)).unwrap();
        commit(&mut journal);
        if in_order {
            close(&mut journal);
            close(&mut journal);
        }
    };
    one(&mut random, true);
    let first = free(&device);
    one(&mut random, true);
    one(&mut random, false);
    assert_eq!(free(&device), first, "both went on behind a witness");
    one(&mut random, true);
    assert_eq!(free(&device), first - 1, "the one before was not closed");
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_dead_comes_back() {
    let states: u32 = (1..=6).map(|seed| storm(seed, None)).sum();
    assert!(states > 3000, "{states}");
}

#[test]
fn the_same_holds_when_a_flush_has_failed_before() {
    let states: u32 = (1..=5).map(|seed| storm(100 + seed, Some(seed * 2))).sum();
    assert!(states > 2000, "{states}");
}
