//! Power is cut at every write and flush of a workload, with everything that can become of the unflushed writes; after recovery has
//! written again it is cut a second time, and a third opening goes on.

use super::*;
use crate::device::{Left, Outcomes};
use crate::proof::{self, Notes, seeds, share};

/// A frame as the workload appended it.
#[derive(Clone)]
struct Written {
    position: u64,
    body: Option<(u64, u16)>,
    payload: Arc<Vec<u8>>,
}

/// What a store must hold: every frame in order, and how far it was acknowledged.
#[derive(Clone, Default)]
struct History {
    frames: Vec<Written>,
    acknowledged: u64,
    /// The newest batch that was acknowledged begins here.
    newest: u64,
    next_body: u64,
}

/// How far a history has come.
#[derive(Debug)]
struct SoFar {
    frames: usize,
    acknowledged: u64,
    newest: u64,
    next_body: u64,
}

impl History {
    fn told(&self) -> SoFar {
        let History { ref frames, acknowledged, newest, next_body } = *self;
        SoFar { frames: frames.len(), acknowledged, newest, next_body }
    }

    fn as_of(&self, told: &SoFar) -> History {
        let SoFar { frames, acknowledged, newest, next_body } = *told;
        History { frames: self.frames[..frames].to_vec(), acknowledged, newest, next_body }
    }

    /// What damage is judged by.
    fn sample(&self) -> rot::Sample {
        let payload = |frame: &Written| frame.payload.to_vec();
        let records = self.frames.iter().filter(|frame| frame.body.is_none());
        let bodies = self.frames.iter().filter_map(|frame| frame.body.map(|body| (frame, body)));
        rot::Sample {
            device: Memory::new(0),
            records: records.map(|frame| (frame.position, payload(frame))).collect(),
            bodies: bodies
                .map(|(frame, (body, piece))| (frame.position, body, piece, payload(frame)))
                .collect(),
            newest: self.newest,
            acknowledged: self.acknowledged,
        }
    }
}

/// Appends and commits until the power goes or the steps are done. Batches of very different sizes, some over several segments.
/// `note` is told after each.
fn work(
    journal: &mut Journal,
    history: &mut History,
    steps: u32,
    random: &mut Random,
    note: &mut dyn FnMut(&History),
) {
    for _ in 0..steps {
        for _ in 0..=random.below(3) {
            let pieces = random.below(3);
            let body = history.next_body;
            history.next_body += 1;
            for piece in 0..pieces as u16 {
                let payload = Arc::new(payload(random, 5000));
                let position = journal.append_body(ANNA, BodyId(body), piece, payload.to_vec()).unwrap().0;
                history.frames.push(Written { position, body: Some((body, piece)), payload });
            }
            let payload = Arc::new(payload(random, 200));
            let position = journal.append_record(BEN, Serial(body), payload.to_vec()).unwrap().0;
            history.frames.push(Written { position, body: None, payload });
        }
        note(history);
        loop {
            match commit(journal) {
                Finish::Durable { accounts } => {
                    assert_eq!(accounts, [BEN]);
                    history.newest = history.acknowledged + 1;
                    history.acknowledged = journal.durable().0;
                    note(history);
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
        assert_eq!((*position, payload), (wanted.position, &*wanted.payload), "{what}: order");
    }
    let next = wanted.get(records.len()).map_or(u64::MAX, |frame| frame.position);
    assert!(next > history.acknowledged, "{what}: an acknowledged record is lost");
    let last = records.last().map_or(0, |record| record.0);
    let mut buf = Vec::new();
    for frame in history.frames.iter().filter(|frame| frame.position <= history.acknowledged.max(last)) {
        if let Some((body, piece)) = frame.body {
            let extent = journal.find(BodyId(body), piece).unwrap_or_else(|| panic!("{what}: body {body}"));
            extent.read(device.as_ref(), &mut buf).unwrap();
            assert_eq!(buf, *frame.payload, "{what}");
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

/// One workload, cut everywhere. `fault`: this flush fails once. Counts states, states after a second cut in recovery and in what comes behind
/// it, and states with damage beside.
fn storm(seed: u64, fault: Option<u64>) -> [u64; 5] {
    // Small segments are often full, large ones have room to go on in.
    let empty = store_of(40, [65536, 16384, 32768][seed as usize % 3], seed);
    let device = Arc::new(empty.copy());
    if let Some(index) = fault {
        device.fail_at(Operation::Flush, index, false);
    }
    device.keep_cuts();
    let mut history = History { next_body: 1, ..History::default() };
    let mut random = Random(seed);
    let mut notes = Notes::default();
    notes.note(0, history.told());
    // Closed in order, the store goes on in the same segment; and where it was only left, in a fresh one.
    for (nth, steps) in [6, 4, 2].into_iter().enumerate() {
        let fill = &mut |buf: &mut [u8]| Random(seed + nth as u64).fill(buf);
        let opened = Journal::open(device.clone(), fill, &mut |_| {});
        let Ok((mut journal, _)) = opened else { continue };
        work(&mut journal, &mut history, steps, &mut random, &mut |history| {
            notes.note(device.operations(), history.told());
        });
        if nth == 0 {
            close(&mut journal);
        }
    }
    assert_eq!(history.acknowledged, history.frames.last().unwrap().position);
    let [mut states, mut recovering, mut later, mut beside, mut untold] = [0; 5];
    let (mut outcomes, mut spoilt) = (Outcomes::default(), Outcomes::default());
    for cut in device.take_cuts() {
        let history = history.as_of(notes.at(cut.operations()));
        let salt = seed ^ cut.operations() << 8;
        for (variant, left) in outcomes.of(&cut, 3, false, salt).into_iter().enumerate() {
            let Left { outcome, seed: how, memory } = left;
            let what = format!("seed {seed} fault {fault:?} cut {} {outcome:?} {how}", cut.operations());
            let [second, third] = again(Arc::new(memory), history.clone(), salt ^ variant as u64, &what);
            (states, recovering, later) = (states + 1, recovering + second, later + third);
        }
        for Left { seed: how, memory, .. } in spoilt.of(&cut, 4, true, salt) {
            let what = format!("seed {seed} fault {fault:?} cut {} beside {how}", cut.operations());
            beside += 1;
            untold += u64::from(rot::judge(&history.sample(), Arc::new(memory), &what).untold);
        }
    }
    [states, recovering, later, beside, untold]
}

/// Recovers, writes, cuts a second time while or after it recovers, recovers, writes, and looks once more.
fn again(device: Arc<Memory>, mut history: History, seed: u64, what: &str) -> [u64; 2] {
    let mut random = Random(seed);
    device.keep_cuts();
    let mut journal = recover(&device, &mut history, seed + 100, what);
    let opened = device.operations();
    let mut notes = Notes::default();
    notes.note(0, history.told());
    work(&mut journal, &mut history, 2, &mut random, &mut |history| {
        notes.note(device.operations(), history.told());
    });
    let cuts = device.take_cuts();
    let mut seen = [0, 0];
    // What belongs to the first batch, which ends a recovery; and what comes behind that.
    let early = cuts.partition_point(|cut| cut.operations() < opened + 3);
    let (first, second) = cuts.split_at(early);
    for (kind, cuts) in [first, second].into_iter().enumerate() {
        if (seed + kind as u64).is_multiple_of(3) {
            continue;
        }
        let Some(cut) = cuts.get(random.below(cuts.len() as u64) as usize) else { continue };
        let mut states = Outcomes::default().of(cut, 2, false, seed);
        let Left { outcome, seed: how, memory } =
            states.swap_remove(random.below(states.len() as u64) as usize);
        let what = format!("{what}, then at {} {outcome:?} {how}", cut.operations());
        let mut history = history.as_of(notes.at(cut.operations()));
        go_on(Arc::new(memory), &mut history, seed, &what);
        seen[kind] += 1;
    }
    seen
}

/// Nothing of either cut may come back, whatever is written behind them.
fn go_on(device: Arc<Memory>, history: &mut History, seed: u64, what: &str) {
    let mut random = Random(seed);
    let mut journal = recover(&device, history, seed + 200, what);
    work(&mut journal, history, 2, &mut random, &mut |_| {});
    if seed.is_multiple_of(2) {
        close(&mut journal);
    }
    drop(journal);
    let mut journal = recover(&device, history, seed + 250, what);
    work(&mut journal, history, 2, &mut random, &mut |_| {});
    let count = history.frames.len();
    recover(&device, history, seed + 300, what);
    assert_eq!(history.frames.len(), count, "{what}: all of it was acknowledged");
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
fn what_an_opening_has_found_gets_a_witness_too() {
    let device = Arc::new(store_of(16, 32768, 1));
    let mut journal = open(device.clone(), 5).journal;
    assert!(journal.is_witnessed(), "there is nothing yet");
    journal.append_record(BEN, Serial(1), b"the newest".to_vec()).unwrap();
    commit(&mut journal);
    drop(journal);
    let mut journal = open(device.clone(), 6).journal;
    assert!(!journal.is_witnessed());
    close(&mut journal);
    assert!(journal.is_witnessed());
    let written = device.bytes_written();
    close(&mut open(device.clone(), 7).journal);
    assert_eq!(device.bytes_written(), written, "once");
    // It rots: nobody takes it for torn.
    for at in (0..device.size()).step_by(4096) {
        let mut block = [0; 4096];
        device.read_at(at, &mut block).unwrap();
        if let Some(found) = block.windows(10).position(|bytes| bytes == b"the newest") {
            device.write_at(at + found as u64, b"T").unwrap();
        }
    }
    assert!(open(device, 8).report.is_damaged());
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_dead_comes_back() {
    let counts = share("journal", seeds(24), |seed| storm(seed, None));
    tell_counts("the journal", counts);
}

#[test]
fn the_same_holds_when_a_flush_has_failed_before() {
    let counts =
        share("journal, a flush has failed", seeds(12), |seed| storm(100 + seed, Some(1 + seed * 2 % 14)));
    tell_counts("the journal, a flush has failed before", counts);
}

fn tell_counts(what: &str, [states, recovering, later, beside, untold]: [u64; 5]) {
    proof::count(proof::STATES, what, states);
    proof::count(proof::DOUBLES, &format!("{what}: in recovery or the batch that ends it"), recovering);
    proof::count(proof::DOUBLES, &format!("{what}: in what comes behind"), later);
    proof::count(proof::BESIDE, what, beside);
    proof::count(
        "of those",
        "the newest batch is spoilt and nothing tells it from a torn one (journal, step 3)",
        untold,
    );
    assert!(states > 1000 && recovering + later > 500 && beside > 300, "{states}");
}
