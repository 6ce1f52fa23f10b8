//! Segments that hold little are emptied, and used again: which one, frame by frame, and when it is free.
//!
//! The store decides what a record still says; here it is only known which frames of bodies and structures are the ones that are
//! found. Refuses to free a segment that does not read as it was written: what is left of it stays where it is.
//!
//! # When a segment may be used again
//! A victim is read from front to back, and what still counts is appended as any other frame. When its end is reached it is *leaving*:
//! it is free when (1) everything appended up to then is durable, for its copies, and for the changes that made the rest of it dead;
//! and after that (2) a segment header is durable that does not name it as a member. A header that is written names as free only
//! what (1) holds for at that time, so it is true whatever becomes of the batch that it begins. Whoever opens the store believes the newest
//! header; so an opening in which that one is not the last segment kept waits for (2) again.
//!
//! What a freed segment declared is kept where it is needed: the place that it followed is the end of the segment before it, which an
//! `End` frame says from then on. Where something lies behind that place (a cut tail, or a failed write) the segment before goes first.
//! So it does where a segment begins in the middle of a change of several frames: what is left of the change is its last part, and all between.

use super::batch::Frame;
use super::frame::{self, Kind};
use super::payload::{self, Payload};
use super::recovery::{Kept, Tally};
use super::segment::{Members, SegmentHeader};
use super::superblock::Superblock;
use super::tail::Journal;
use super::window::Window;
use super::{AppendError, SEGMENT_START, index::Slot};
use crate::device::Device;
use crate::limits::{
    BLOCK_BYTES, CHANGE_BYTES_MAX, COMPACTION_STEP_BYTES, SEGMENTS_RESERVED_FOR_COMPACTION,
    SEGMENTS_RESERVED_FOR_RECORDS, SEGMENTS_RESERVED_FOR_RETRY,
};
use crate::types::{AccountId, BodyId, Position, Serial};

/// A segment of the journal.
#[derive(Clone, Copy)]
pub(super) struct Member {
    pub index: u32,
    pub sequence: u64,
    pub incarnation: u64,
    /// Sequence of the segment that it follows.
    pub follows: u64,
    /// Position of its first and its last frame; no last one as long as it is written to.
    pub first: u64,
    pub end: Option<u64>,
    /// What followed it has been freed.
    pub open: bool,
    /// Nothing lies behind its end.
    pub regular: bool,
    /// It begins in the middle of a change of several frames.
    pub joined: bool,
    /// It does not read as it was written, or holds what this program does not know.
    pub pinned: bool,
    /// It has parity, or cannot have any.
    pub protected: bool,
    /// Bytes of its records.
    pub record_bytes: u64,
    /// Bytes of all its frames.
    pub frame_bytes: u64,
    /// Bytes of its summaries.
    pub summary_bytes: u64,
}

impl Member {
    pub(super) fn of(kept: &Kept) -> Member {
        let Kept { header, end, open, regular, tally } = *kept;
        Member {
            first: header.first_position,
            end,
            open,
            regular,
            joined: header.joined,
            record_bytes: tally.record_bytes,
            frame_bytes: tally.frame_bytes,
            summary_bytes: tally.summary_bytes,
            ..Member::new(header.index, header.sequence, header.incarnation, header.follows.sequence)
        }
    }

    /// What it holds.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            last: self.end.unwrap_or(0),
            record_bytes: self.record_bytes,
            frame_bytes: self.frame_bytes,
            summary_bytes: self.summary_bytes,
        }
    }

    pub(super) fn new(index: u32, sequence: u64, incarnation: u64, follows: u64) -> Member {
        Member {
            index,
            sequence,
            incarnation,
            follows,
            first: 0,
            end: None,
            open: false,
            regular: false,
            joined: false,
            pinned: false,
            protected: false,
            record_bytes: 0,
            frame_bytes: 0,
            summary_bytes: 0,
        }
    }
}

/// A segment that holds nothing any more.
pub(super) struct Leaving {
    pub index: u32,
    /// Everything up to here must be durable before a header may say so.
    pub after: Position,
}

/// The segment that is being emptied, and how far it is.
#[derive(Clone, Copy)]
pub(super) struct Victim {
    sequence: u64,
    offset: u64,
    expected: u64,
}

impl Victim {
    /// A segment's beginning.
    pub(super) fn begin(sequence: u64, first: u64) -> Victim {
        Victim { sequence, offset: SEGMENT_START, expected: first }
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// How urgently segments must become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    None,
    /// To be done when there is nothing else to do.
    Low,
    /// Before anything else is taken.
    High,
}

/// A frame of a victim.
pub struct Taken {
    /// What it holds.
    pub kind: Kind,
    /// Whose it is.
    pub account: AccountId,
    /// Which piece of a body.
    pub piece: u16,
    /// Its serial, or its body.
    pub number: u64,
    /// As it was written.
    pub payload: Payload,
    slot: Slot,
}

/// Some frames of a victim, to be read without the store's lock.
pub struct Portion {
    superblock: Superblock,
    header: SegmentHeader,
    last: u64,
    start: Victim,
    next: Victim,
    /// What is not as it was written is taken from parity.
    pub(super) rebuild: bool,
    frames: Vec<Taken>,
    damaged: bool,
    rebuilt: bool,
}

impl Portion {
    pub(super) fn of(superblock: &Superblock, header: &SegmentHeader, last: u64, start: Victim) -> Portion {
        let (superblock, header) = (superblock.clone(), *header);
        Portion {
            superblock,
            header,
            last,
            start,
            next: start,
            rebuild: true,
            frames: Vec::new(),
            damaged: false,
            rebuilt: false,
        }
    }

    /// Reads them: at most [`COMPACTION_STEP_BYTES`], or one frame that is larger, alone. To be called once.
    pub fn read(&mut self, device: &dyn Device) {
        let mut window = Window::new(device, &self.superblock, &self.header);
        window.sealed = self.rebuild;
        let mut bytes = 0;
        while self.next.expected <= self.last {
            let expected = self.next.expected;
            let mut found = window.search(self.next.offset).filter(|(_, found)| found.position == expected);
            if found.is_none() && window.mend(expected) {
                self.rebuilt = true;
                found = window.search(self.next.offset).filter(|(_, found)| found.position == expected);
            }
            let Some((at, found)) = found else {
                self.damaged = true;
                return;
            };
            if bytes > 0 && bytes + found.frame_bytes() > COMPACTION_STEP_BYTES as u64 {
                return;
            }
            bytes += found.frame_bytes();
            let mut payload = window.payload(at, &found).to_vec();
            if frame::checksum(&payload) != found.checksum && window.mend(expected) {
                self.rebuilt = true;
                payload = window.payload(at, &found).to_vec();
            }
            let kind = Kind::of(found.kind).filter(|kind| payload::is_known(*kind, found.flags));
            let (Some(kind), true) = (kind, frame::checksum(&payload) == found.checksum) else {
                self.damaged = true;
                return;
            };
            let slot = Slot::new(window.device_offset(at), payload.len());
            let (account, number) = (AccountId(found.account), found.number);
            let payload = Payload::stored(found.flags, payload);
            self.frames.push(Taken { kind, account, piece: found.piece, number, payload, slot });
            self.next.offset = at + found.frame_bytes();
            self.next.expected = found.position + 1;
        }
    }

    /// What was read, once.
    pub fn take_frames(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.frames)
    }

    /// Where the next one begins.
    pub(super) fn next(&self) -> Victim {
        self.next
    }

    /// Where the last frame that was read ends in the segment.
    pub(super) fn end(&self) -> u64 {
        self.next.offset
    }

    /// Whether the segment's end has been reached.
    pub fn is_last(&self) -> bool {
        self.next.expected > self.last
    }

    /// Whether something had to be taken from parity.
    pub fn is_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// Whether something was not as it was written, and could not be made good.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }
}

impl Journal {
    /// The largest payload that a frame of this store can have, bytes.
    pub fn payload_bytes_max(&self) -> usize {
        self.superblock.payload_bytes_max()
    }

    /// Segments freed since the opening.
    pub fn freed_segments(&self) -> u64 {
        self.freed
    }

    /// How urgently segments must become free.
    pub fn pressure(&self) -> Pressure {
        let free = (self.free.len() + self.suspect.len()).saturating_sub(self.claimed);
        let reserves =
            SEGMENTS_RESERVED_FOR_RETRY + SEGMENTS_RESERVED_FOR_COMPACTION + SEGMENTS_RESERVED_FOR_RECORDS;
        let count = self.incarnations.len();
        // Who changes a whole folder at once cannot wait: room for the largest change, where that is a small part of the store.
        let change = (CHANGE_BYTES_MAX / self.superblock.segment_bytes as usize + 1).min(count / 64);
        let short = reserves + change + 1;
        // Once begun it goes on until a part of the store is free: then segments of what is moved and segments of what is new are each alike,
        // and of the latter most is dead soon.
        let more = if self.reclaiming { count / 24 } else { 0 };
        if free <= short {
            Pressure::High
        } else if free <= short + 1 + more {
            Pressure::Low
        } else {
            Pressure::None
        }
    }

    /// Whether a segment's emptying is under way.
    pub fn is_emptying(&self) -> bool {
        self.victim.is_some()
    }

    /// What to read next, from the segment under way or the one whose emptying promises most. `record_bytes` of all records are
    /// needed, about. `None`: no segment has enough that is dead.
    pub fn next_portion(&mut self, record_bytes: u64) -> Option<Portion> {
        if self.read_only {
            return None;
        }
        let victim = match self.victim {
            Some(victim) => victim,
            None => self.choose(record_bytes)?,
        };
        let member = *self.members.get(self.member(victim.sequence)?)?;
        self.victim = Some(victim);
        let header = SegmentHeader {
            sequence: member.sequence,
            incarnation: member.incarnation,
            index: member.index,
            ..SegmentHeader::default()
        };
        Some(Portion::of(&self.superblock, &header, member.end.unwrap_or(0), victim))
    }

    /// Cost and benefit: what is gained over what must be copied for it, times the cube root of the age. Deliberate: the age itself suits data that
    /// live the longer the older they are, but of mail the newest is thrown away and, where a mailbox is full, the oldest; without any age,
    /// segments of which little is dead would stay for ever (`tests/compact.rs` measures).
    fn choose(&self, record_bytes: u64) -> Option<Victim> {
        let live_part = self.live_part(record_bytes);
        let score = |member: &&Member| {
            let (live, dead) = self.gain(member, live_part)?;
            let age = self.end.sequence.saturating_sub(member.sequence) + 1;
            Some((age as f64).cbrt() * dead as f64 / (live + BLOCK_BYTES as u64) as f64)
        };
        let candidates = self.members.iter().filter(|member| self.may_go(member));
        let best = candidates
            .filter_map(|member| score(&member).map(|score| (score, member)))
            .max_by(|(one, _), (other, _)| one.total_cmp(other))?
            .1;
        let mut first = best;
        while let Some(before) = self.before_that_goes_first(first) {
            first = before;
        }
        Some(Victim::begin(first.sequence, first.first))
    }

    /// How much of all records is needed, about.
    fn live_part(&self, record_bytes: u64) -> f64 {
        let all_records: u64 = self.members.iter().map(|member| member.record_bytes).sum();
        record_bytes.min(all_records) as f64 / all_records.max(1) as f64
    }

    /// What must be copied of a segment and what is left then, bytes, if it is enough to be worth it.
    fn gain(&self, member: &Member, live_part: f64) -> Option<(u64, u64)> {
        let live = self.index.live_bytes(member.index)
            + (member.record_bytes as f64 * live_part) as u64
            + self.snapshots.bytes_in(member.sequence);
        let dead = self.superblock.parity_start().saturating_sub(SEGMENT_START + member.summary_bytes + live);
        // What was never written, padding and the rest at the end, comes back in part when it is copied: 64 KiB pieces leave up to
        // a quarter of the smallest segment. Only what is more than that is a gain, or a segment would be copied for nothing, for ever.
        let deleted = member.frame_bytes.saturating_sub(live);
        let segment_bytes = u64::from(self.superblock.segment_bytes);
        let enough = deleted >= (segment_bytes / 16).max(BLOCK_BYTES as u64)
            || dead.saturating_sub(deleted) > segment_bytes / 100 * 28;
        enough.then_some((live, dead))
    }

    /// Whether a segment can be emptied at all.
    fn may_go(&self, member: &Member) -> bool {
        let written =
            member.end.is_none() || member.sequence == self.end.sequence || self.is_leaving(member.index);
        let at_cursor = self.cursor.as_ref().is_some_and(|at| at.index == member.index);
        let blocked = self
            .before_that_goes_first(member)
            .is_some_and(|before| !self.may_go(before) && !self.is_leaving(before.index));
        !written && !at_cursor && !member.pinned && !blocked
    }

    /// The segment before, if it must be emptied first: something lies behind the end that this one declares, or the first parts of a change
    /// whose other parts are here. A change holds if its last part is there, so that one must go last.
    fn before_that_goes_first(&self, member: &Member) -> Option<&Member> {
        let before = self.members.get(self.member(member.follows)?)?;
        ((!before.regular || member.joined) && !self.is_leaving(before.index)).then_some(before)
    }

    /// Where in `members` the segment of this sequence is: they ascend.
    pub(super) fn member(&self, sequence: u64) -> Option<usize> {
        self.members.binary_search_by_key(&sequence, |member| member.sequence).ok()
    }

    pub(super) fn is_leaving(&self, index: u32) -> bool {
        self.leaving.iter().any(|leaving| leaving.index == index)
    }

    /// Whether the portion is the one that was asked for last.
    pub fn is_current(&self, portion: &Portion) -> bool {
        self.victim.is_some_and(|victim| {
            (victim.sequence, victim.offset) == (portion.start.sequence, portion.start.offset)
        })
    }

    /// Appends a frame of a body, a structure or an end again, if it is the one that counts.
    ///
    /// # Errors
    /// As for any frame; but copies may take the reserve.
    pub fn copy(&mut self, taken: Taken) -> Result<(), AppendError> {
        let Taken { kind, account, piece, number, payload, slot } = taken;
        let counts = match kind {
            Kind::Body => self.index.find(BodyId(number), Some(piece)) == Some(slot),
            Kind::Structure => self.index.find(BodyId(number), None) == Some(slot),
            Kind::End => self.member(number).is_some_and(|at| self.members[at].open),
            Kind::Record | Kind::Witness | Kind::Snapshot => false,
        };
        if counts {
            self.append(kind, account, number, piece, payload, true)?;
        }
        Ok(())
    }

    /// Appends what is still true of a victim's records.
    ///
    /// # Errors
    /// As for any frame; but copies may take the reserve.
    pub fn copy_record(&mut self, serial: Serial, payload: Vec<u8>) -> Result<(), AppendError> {
        self.append(Kind::Record, AccountId::SETTINGS, serial.0, 0, payload, true).map(drop)
    }

    /// Everything of this portion that counts has been appended. With the last one the segment is leaving.
    ///
    /// # Errors
    /// As for any frame: then the portion must be read again.
    pub fn pass(&mut self, portion: &Portion) -> Result<(), AppendError> {
        if !portion.is_last() {
            self.victim = Some(portion.next);
            return Ok(());
        }
        let gone = self.member(portion.start.sequence).and_then(|at| self.members.get(at)).copied();
        if let Some(gone) = gone {
            let before = self.member(gone.follows);
            if let Some(before) = before
                && let Some((sequence, end, index)) = self
                    .members
                    .get(before)
                    .and_then(|before| Some((before.sequence, before.end?, before.index)))
                && !self.is_leaving(index)
            {
                let payload = end.to_le_bytes().to_vec();
                self.append(Kind::End, AccountId::SETTINGS, sequence, 0, payload, true)?;
                self.members[before].open = true;
            }
            self.leaving.push(Leaving { index: gone.index, after: self.last });
        }
        self.victim = None;
        Ok(())
    }

    /// The victim stays as it is, for good: it holds what cannot be copied.
    pub fn pin_victim(&mut self) {
        if let Some(victim) = self.victim.take()
            && let Some(at) = self.member(victim.sequence)
            && let Some(member) = self.members.get_mut(at)
        {
            member.pinned = true;
        }
    }

    /// Whether emptying a segment, or the next header, will free some.
    pub fn can_reclaim(&mut self, record_bytes: u64) -> bool {
        !self.leaving.is_empty() || self.next_portion(record_bytes).is_some()
    }

    /// Where segments are short, and no segment but the one that is written to can be emptied, makes the next frame begin a fresh one, if that
    /// gains something: its header frees those that wait for nothing else, and what was written to can be emptied, too.
    /// Something must be appended after this. False: there is nothing to gain. `record_bytes` of all records are needed, about.
    pub fn relieve(&mut self, record_bytes: u64) -> bool {
        let ready = self.leaving.iter().filter(|leaving| leaving.after <= self.durable).count();
        let free = self.free.len() + self.suspect.len();
        let idle = self.pending.is_empty() && !self.in_flight;
        if !idle || self.read_only || self.pressure() < Pressure::High {
            return false;
        }
        // One for one gains nothing but a place for what the one written to has none for. Otherwise that one's rest would be given up, it
        // would be the next to be emptied, into the one just taken, and so on for ever.
        let full = self.wanted || self.cursor_rest() < self.short_bytes();
        let gains = match ready {
            0 => free > SEGMENTS_RESERVED_FOR_RETRY + 1 && full && self.turning_gains(record_bytes, false),
            1 => {
                let gains = self.wanted || full && self.turning_gains(record_bytes, true);
                free > SEGMENTS_RESERVED_FOR_RETRY && gains
            }
            _ => free > SEGMENTS_RESERVED_FOR_RETRY,
        };
        if gains {
            (self.relieve, self.wanted) = (true, false);
            self.plan = None;
        }
        gains
    }

    /// What is left of the segment that is written to, bytes.
    fn cursor_rest(&self) -> u64 {
        self.cursor.as_ref().map_or(0, |at| at.floor.saturating_sub(at.offset))
    }

    /// With less than this left of the segment that is written to, the next changes may find no place there, bytes.
    fn short_bytes(&self) -> u64 {
        (u64::from(self.superblock.segment_bytes) / 16).max(2 * BLOCK_BYTES as u64)
    }

    /// Whether there is more room for what is new, by an eighth of a segment, when the segment that is written to is left for a fresh one:
    /// where it is worth emptying, that takes what it holds. If not, and it `may_stay`, it is left as it is.
    fn turning_gains(&self, record_bytes: u64, may_stay: bool) -> bool {
        let at = self.cursor.as_ref().and_then(|_| self.member(self.end.sequence));
        let Some(member) = at.and_then(|at| self.members.get(at)) else { return may_stay };
        // What it would need besides is not there.
        if member.pinned || self.before_that_goes_first(member).is_some() {
            return may_stay;
        }
        let least = self.cursor_rest() + u64::from(self.superblock.segment_bytes) / 8;
        self.gain(member, self.live_part(record_bytes)).map_or(may_stay, |(_, dead)| dead >= least)
    }

    /// A segment is taken into use, behind the one that ends at `end`. Returns who belongs to the journal from now on, and who does not any more.
    pub(super) fn enlist(&mut self, member: Member, end: u64, regular: bool) -> (Members, Vec<u32>) {
        if let Some(before) = self.member(member.follows).and_then(|at| self.members.get_mut(at)) {
            (before.end, before.regular) = (Some(end), regular);
        }
        self.members.push(member);
        let durable = self.durable;
        let freed: Vec<u32> = self
            .leaving
            .iter()
            .filter(|leaving| leaving.after <= durable)
            .map(|leaving| leaving.index)
            .collect();
        let left = self.members.iter().map(|member| (member.index, (member.sequence, member.incarnation)));
        let left = left.filter(|(index, _)| !freed.contains(index));
        (Members::new(&self.superblock.key, left), freed)
    }

    /// A header is durable that does not name this segment any more.
    pub(super) fn free_again(&mut self, index: u32) {
        let before = self.leaving.len();
        self.leaving.retain(|leaving| leaving.index != index);
        if self.leaving.len() == before {
            return;
        }
        self.members.retain(|member| member.index != index);
        if let Some(slot) = self.incarnations.get_mut(index as usize) {
            *slot = None;
        }
        let behind = self.free.iter().position(|free| *free >= self.mark).unwrap_or(self.free.len());
        self.free.insert(behind, index);
        self.freed += 1;
        self.discardable.push(index);
    }

    /// Ranges of the device that hold nothing any more, offset and length, each told once. To be discarded by whoever writes batches, before the
    /// next one: it may lie there.
    pub fn take_discardable(&mut self) -> Vec<(u64, u64)> {
        let length = u64::from(self.superblock.segment_bytes);
        let ranges = self.discardable.drain(..).map(|index| (self.superblock.base(index), length));
        ranges.collect()
    }

    fn member_at(&mut self, offset: u64) -> Option<&mut Member> {
        let segment = (offset / u64::from(self.superblock.segment_bytes)).saturating_sub(1);
        self.members.iter_mut().rfind(|member| u64::from(member.index) == segment)
    }

    /// Notes that a summary lies at this place of the device.
    pub(super) fn count_summary(&mut self, offset: u64, bytes: u64) {
        if let Some(member) = self.member_at(offset) {
            member.summary_bytes += bytes;
        }
    }

    /// Notes that a frame lies at this place of the device.
    pub(super) fn count_frame(&mut self, frame: &Frame) {
        let (bytes, kind) = (frame::frame_bytes(frame.payload.len()), frame.kind);
        if kind == Kind::Snapshot
            && let Some(sequence) = self.member_at(frame.offset).map(|member| member.sequence)
        {
            self.snapshots.count(frame.number, sequence, bytes);
        }
        if let Some(member) = self.member_at(frame.offset) {
            member.frame_bytes += bytes;
            member.record_bytes += if kind == Kind::Record { bytes } else { 0 };
        }
    }
}
