//! What the store does in the proofs: one life after the other on a device that keeps its cuts, and what was true at each moment of it.

use std::sync::Arc;

use super::super::{NewMessage, Shared, Step, Which};
use super::{ANNA, Trail, judge, one_of};
use crate::device::{Cut, Memory, Random};
use crate::journal::Pressure;
use crate::proof::Notes;
use crate::types::{FlagChange, Flags, FolderId, Position, Time, Uid, UidSet};

/// What an operation of the device is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// What somebody waits for.
    Work,
    /// The first batch after an opening, and the opening itself.
    Recovery,
    /// Copies out of a segment that is being emptied, and what frees it.
    Compaction,
    /// Portions of a snapshot.
    Snapshot,
    /// The witness of a log that has fallen idle or is closed.
    Witness,
}

impl Doing {
    pub(crate) const ALL: [Doing; 5] =
        [Doing::Work, Doing::Recovery, Doing::Compaction, Doing::Snapshot, Doing::Witness];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Doing::Work => "commits",
            Doing::Recovery => "recovery and the batch that ends it",
            Doing::Compaction => "compaction",
            Doing::Snapshot => "a snapshot",
            Doing::Witness => "a witness",
        }
    }
}

/// What may be found when the power goes.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// What was acknowledged last, and what has been done since.
    pub trail: Trail,
    /// What could be found before the newest batch was acknowledged.
    pub before: Trail,
    pub doing: Doing,
}

/// A store from its opening on.
pub(crate) struct Life {
    pub device: Arc<Memory>,
    pub shared: Shared,
    pub truth: Truth,
    notes: Notes<Truth>,
    recovering: bool,
    /// The device may fail: then also an opening may.
    faulty: bool,
    /// One has.
    pub unopened: bool,
    seed: u64,
}

impl Life {
    /// Opens what has survived, which is one of these, and goes on with it.
    pub(crate) fn after(device: Arc<Memory>, trail: Trail, seed: u64, what: &str) -> Life {
        device.keep_cuts();
        Life::begin(device, trail, seed, false, what).expect("opens")
    }

    /// The same on a device that may fail. `None`: it cannot be opened.
    pub(crate) fn faulty(device: Arc<Memory>, trail: Trail, seed: u64, what: &str) -> Option<Life> {
        Life::begin(device, trail, seed, true, what)
    }

    fn begin(device: Arc<Memory>, mut trail: Trail, seed: u64, faulty: bool, what: &str) -> Option<Life> {
        let mut notes = Notes::default();
        let truth = Truth { trail: trail.clone(), before: Trail(Vec::new()), doing: Doing::Recovery };
        notes.note(device.operations(), truth.clone());
        let shared = if faulty {
            one_of(&device, &mut trail, seed, what)?.0
        } else {
            judge(&device, &mut trail, seed, what)
        };
        let mut life = Life { device, shared, truth, notes, recovering: true, faulty, unopened: false, seed };
        life.truth.trail = trail;
        life.note(Doing::Recovery);
        Some(life)
    }

    /// Every moment at which the power could have gone.
    pub(crate) fn cuts(&self) -> Vec<(Cut, &Truth)> {
        let cuts = self.device.take_cuts().into_iter();
        cuts.map(|cut| (cut.operations(), cut)).map(|(at, cut)| (cut, self.notes.at(at))).collect()
    }

    /// Everything that could have been found at some moment.
    pub(crate) fn possible(&self) -> impl Iterator<Item = &Vec<String>> {
        self.notes.all().flat_map(|truth| &truth.trail.0)
    }

    fn note(&mut self, doing: Doing) {
        self.truth.doing = if self.recovering { Doing::Recovery } else { doing };
        self.notes.note(self.device.operations(), self.truth.clone());
    }

    fn now(&mut self) {
        self.truth.trail.now(&self.shared);
        self.note(Doing::Work);
    }

    /// Commits what is pending, as a part of this. False: the power is gone.
    fn pending(&mut self, doing: Doing) -> bool {
        self.note(doing);
        let some = self.shared.lock().journal.pending_bytes() > 0;
        if self.shared.lock().commit_pending().is_err() || self.shared.lock().journal.read_only() {
            return false;
        }
        if some {
            let now = Trail::of(&self.shared);
            self.truth.before = std::mem::replace(&mut self.truth.trail, now);
            self.recovering = false;
        }
        self.note(Doing::Work);
        true
    }

    /// What [`super::super::Store::commit`] does, knowing which part of it the device is busy with.
    pub(crate) fn commit(&mut self, least: Pressure) -> bool {
        let mut doing = Doing::Work;
        for _ in 0..64 {
            if !self.pending(doing) {
                return false;
            }
            doing = Doing::Compaction;
            let step = self.shared.lock().compact_here(least);
            match step {
                Step::Done => {}
                Step::Stuck if self.shared.lock().journal.pending_bytes() > 0 => {}
                Step::Stuck | Step::Nothing => break,
            }
        }
        if !self.pending(Doing::Compaction) {
            return false;
        }
        self.shared.lock().tell_snapshot();
        self.pending(Doing::Snapshot)
    }

    /// Does so many things, most of them on mail, until the power goes or the device fails for good: then this is false. Falls idle and is opened
    /// again now and then.
    pub(crate) fn live(&mut self, random: &mut Random, things: u64) -> bool {
        for _ in 0..things {
            self.act(random);
            let done = match random.below(24) {
                0..10 => self.commit(Pressure::High),
                10..13 => self.commit(Pressure::Low),
                13 => self.pending(Doing::Work) && self.idle(),
                14 => self.reopen(),
                _ => true,
            };
            if !done {
                return false;
            }
        }
        self.commit(Pressure::High)
    }

    /// As after some seconds in which nothing was written, or when the store is closed.
    pub(crate) fn idle(&mut self) -> bool {
        self.note(Doing::Witness);
        // Where there is no room for it, there is none.
        let _told = self.shared.lock().journal.append_witness();
        self.pending(Doing::Witness)
    }

    /// Without a word to anybody: what was pending is gone.
    fn reopen(&mut self) -> bool {
        self.seed += 7;
        self.recovering = true;
        self.note(Doing::Recovery);
        self.shared = if self.faulty {
            match one_of(&self.device, &mut self.truth.trail, self.seed, "opened again") {
                Some((shared, _)) => shared,
                None => {
                    self.unopened = true;
                    return false;
                }
            }
        } else {
            judge(&self.device, &mut self.truth.trail, self.seed, "opened again")
        };
        self.note(Doing::Recovery);
        true
    }

    fn act(&mut self, random: &mut Random) {
        let mut needs = Position::default();
        let shared = &self.shared;
        let folders: Vec<FolderId> = shared.lock().state.accounts[&ANNA].folders.keys().copied().collect();
        let folder = folders[random.below(folders.len() as u64) as usize];
        let number = random.number();
        let newest = Uid(shared.lock().state.accounts[&ANNA].folders[&folder].uid_next.0.saturating_sub(1));
        let uid = Uid(newest.0.saturating_sub(random.below(12) as u32).max(1));
        let set = UidSet(vec![(uid, Uid(uid.0 + number as u32 % 3))]);
        let view = shared.access(&mut needs).open(ANNA, folder, false).expect("is there");
        match random.below(16) {
            0..6 => return self.deliver(random, folder),
            6..9 => {
                let flags = Flags(1 << (number % 5));
                let _ = shared.access(&mut needs).flags_set(&view, &set, FlagChange::Replace, flags, None);
            }
            9..11 => {
                let _ = shared.access(&mut needs).expunge(&view, Which::These(&set));
            }
            11 => {
                let _ = shared.access(&mut needs).r#move(&view, &set, folders[0]);
            }
            12 => {
                let _ = shared.access(&mut needs).folder_create(ANNA, &format!("F{}", number % 3), None);
            }
            13 => {
                let _ = shared.access(&mut needs).folder_remove(ANNA, &format!("F{}", number % 3));
            }
            14 => {
                let _ = shared.access(&mut needs).admin_set(format!("{number}"));
            }
            _ if number.is_multiple_of(2) => {
                let _ = shared.access(&mut needs).subscribe(ANNA, &format!("F{}", number % 5));
            }
            _ => {
                let _ = shared.access(&mut needs).unsubscribe(ANNA, &format!("F{}", number % 5));
            }
        }
        self.now();
    }

    fn deliver(&mut self, random: &mut Random, folder: FolderId) {
        let mut needs = Position::default();
        let size = 200 + random.below(9000);
        // The oldest make room, as the owner of a full mailbox does it.
        while self.shared.access(&mut needs).reserve(ANNA, size + 200).is_err() {
            let (id, uid) = {
                let store = self.shared.lock();
                let folders = store.state.accounts[&ANNA].folders.values();
                let most = folders.max_by_key(|folder| folder.count()).expect("some");
                (most.id, most.live().next().expect("some").uid)
            };
            let view = self.shared.access(&mut needs).open(ANNA, id, false).expect("is there");
            if self.shared.access(&mut needs).expunge(&view, Which::These(&UidSet(vec![(uid, uid)]))).is_err()
            {
                return;
            }
            self.now();
        }
        let kept = self.shared.access(&mut needs).reserve(ANNA, size + 200).expect("there is room now");
        let body = self.shared.access(&mut needs).new_body();
        let mut bytes = vec![0; size as usize];
        Random(body.0).fill(&mut bytes);
        for _ in 0..8 {
            if self.shared.lock().takes_piece(bytes.len()) || !self.commit(Pressure::High) {
                break;
            }
        }
        if self.shared.lock().append_piece(body, 0, bytes).is_ok() {
            let message =
                NewMessage { body, size, structure: vec![body.0 as u8; 100], date: Time(size as i64) };
            let _ = self.shared.access(&mut needs).append(message, Flags::NONE, ANNA, folder, kept);
        }
        self.now();
    }
}
