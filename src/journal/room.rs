//! Where frames go: what is left of the segment that is written to, what its summary will need of it, and when a fresh one is taken.
//!
//! The same steps are taken twice: when a frame is appended, to know that there will be room, and when it is laid out. They must agree exactly,
//! so both go through [`Cursor`]. Refuses frames before space runs out, never after.

use std::collections::VecDeque;

use super::batch::{Frame, Fresh, Run};
use super::frame::{self, Kind};
use super::payload::Payload;
use super::reclaim::Member;
use super::summary::{Draft, Entry, Stretch};
use super::superblock::Superblock;
use super::tail::Journal;
use super::{AppendError, SEGMENT_START};
use crate::limits::{
    BLOCK_BYTES, SEGMENT_BYTES_MIN, SEGMENTS_RESERVED_FOR_COMPACTION, SEGMENTS_RESERVED_FOR_RECORDS,
    SEGMENTS_RESERVED_FOR_RETRY,
};
use crate::types::{AccountId, Position, Serial};

/// A place in a segment, and the frames before it that no summary tells of yet.
#[derive(Clone)]
pub(super) struct Cursor {
    pub index: u32,
    pub offset: u64,
    /// From here on lie summaries.
    pub floor: u64,
    pub stretch: Stretch,
}

impl Cursor {
    /// The beginning of a segment whose first frame has this position.
    pub(super) fn begin(superblock: &Superblock, index: u32, first: u64, kept: bool) -> Cursor {
        let stretch = Stretch::new(SEGMENT_START, first, kept);
        Cursor { index, offset: SEGMENT_START, floor: superblock.parity_start(), stretch }
    }

    fn plan(&self) -> Cursor {
        Cursor { stretch: self.stretch.plan(), ..*self }
    }

    /// Whether the frame has its place here, with what its summary needs.
    fn fits(&self, superblock: &Superblock, entry: &Entry<'_>) -> bool {
        let end = self.offset + frame::frame_bytes(entry.length as usize);
        if !superblock.keeps_room() {
            return end <= self.floor;
        }
        let mut stretch = self.stretch.plan();
        stretch.add(entry, end);
        end.next_multiple_of(BLOCK_BYTES as u64) + stretch.summary_bytes() <= self.floor
    }

    /// The same, whatever its numbers are.
    fn fits_surely(&self, superblock: &Superblock, entry: &Entry<'_>) -> bool {
        let end =
            (self.offset + frame::frame_bytes(entry.length as usize)).next_multiple_of(BLOCK_BYTES as u64);
        let summary = if superblock.keeps_room() { self.stretch.most_bytes(entry) } else { 0 };
        end + summary <= self.floor
    }

    /// Puts a frame here. Returns the summary that it makes due.
    fn put(&mut self, superblock: &Superblock, entry: Entry<'_>) -> Option<Draft> {
        let fresh_block = self.offset > self.stretch.end;
        self.offset += frame::frame_bytes(entry.length as usize);
        if !superblock.has_summaries() {
            return None;
        }
        self.stretch.add(&Entry { fresh_block, ..entry }, self.offset);
        if self.offset - self.stretch.start < superblock.stretch_bytes() {
            return None;
        }
        let next =
            Stretch::new(self.offset, self.stretch.first + self.stretch.frames, self.stretch.is_kept());
        let draft = self.summarise(false);
        self.stretch = next;
        draft
    }

    /// The summary of what has none yet, if there is room for it.
    fn summarise(&mut self, last_of_segment: bool) -> Option<Draft> {
        let bytes = self.stretch.summary_bytes();
        if bytes == 0 || self.offset.next_multiple_of(BLOCK_BYTES as u64) + bytes > self.floor {
            return None;
        }
        let kept = self.stretch.is_kept();
        let draft = kept.then(|| self.stretch.close(last_of_segment, self.floor));
        self.floor -= bytes;
        self.stretch = Stretch::new(self.offset, self.stretch.first + self.stretch.frames, kept);
        draft
    }

    /// A batch ends: the next one begins on a fresh block.
    fn end_batch(&mut self) {
        self.offset = self.offset.next_multiple_of(BLOCK_BYTES as u64);
    }
}

impl Superblock {
    /// Whether segments are large enough for summaries.
    pub(super) fn has_summaries(&self) -> bool {
        self.segment_bytes as usize >= 16 * BLOCK_BYTES
    }

    /// Whether room is kept for summaries: a block is too much of the segment of a small device, which has one where something is left of it anyway.
    fn keeps_room(&self) -> bool {
        let segment = u64::from(self.segment_bytes);
        self.has_summaries() && !(SEGMENT_BYTES_MIN..4 * SEGMENT_BYTES_MIN).contains(&segment)
    }

    /// Bytes of frames after which there is a summary of them. Segments of the tests, which are smaller than any other, have two.
    pub(super) fn stretch_bytes(&self) -> u64 {
        let segment = u64::from(self.segment_bytes);
        if segment < SEGMENT_BYTES_MIN { segment / 2 } else { (segment / 8).max(SEGMENT_BYTES_MIN) }
    }
}

impl Journal {
    /// Takes a change of several records, all of them or none. They are in one batch; a torn one can leave the first of them.
    pub fn append_records(
        &mut self,
        account: AccountId,
        serial: Serial,
        payloads: Vec<Vec<u8>>,
    ) -> Result<Position, AppendError> {
        if payloads.iter().any(|payload| payload.len() > self.superblock.payload_bytes_max()) {
            return Err(AppendError::TooLarge);
        }
        let frames = payloads.into_iter().zip(1..).map(|(payload, nth)| {
            let position = Position(self.last.0 + nth);
            Frame { joined: nth > 1, ..Frame::new(Kind::Record, account, serial.0, 0, position, payload) }
        });
        let frames: Vec<Frame> = frames.collect();
        let (mut plan, mut claimed) = (self.plan.clone(), self.claimed);
        frames.iter().for_each(|frame| plan_frame(&self.superblock, &mut plan, &mut claimed, frame));
        let free = self.free.len() + self.suspect.len();
        let reserve = SEGMENTS_RESERVED_FOR_RETRY + SEGMENTS_RESERVED_FOR_COMPACTION;
        if claimed > self.claimed && free < claimed + reserve {
            self.wanted |= claimed == self.claimed + 1;
            return Err(AppendError::Full);
        }
        let mut position = self.last;
        for frame in frames {
            position = self.append_frame(frame)?;
        }
        Ok(position)
    }

    pub(super) fn append(
        &mut self,
        kind: Kind,
        account: AccountId,
        number: u64,
        piece: u16,
        payload: impl Into<Payload>,
        copy: bool,
    ) -> Result<Position, AppendError> {
        let position = Position(self.last.0 + 1);
        self.append_frame(Frame { copy, ..Frame::new(kind, account, number, piece, position, payload) })
    }

    fn append_frame(&mut self, frame: Frame) -> Result<Position, AppendError> {
        if self.read_only {
            return Err(AppendError::ReadOnly);
        }
        if frame.payload.len() > self.superblock.payload_bytes_max() {
            return Err(AppendError::TooLarge);
        }
        let fits = self.plan.as_ref().is_some_and(|plan| plan.fits(&self.superblock, &frame.entry()));
        if !self.may_take(fits, frame.kind, frame.copy) {
            self.wanted |= frame.copy || frame.kind == Kind::Record;
            return Err(AppendError::Full);
        }
        plan_frame(&self.superblock, &mut self.plan, &mut self.claimed, &frame);
        self.last = frame.position;
        self.pending_bytes += frame::frame_bytes(frame.payload.len()) as usize;
        self.pending.push(frame);
        Ok(self.last)
    }

    /// Whether a body's frame would be taken now.
    pub fn takes_body(&self, payload_bytes: usize) -> bool {
        let body = Entry {
            kind: Kind::Body as u8,
            flags: u16::MAX,
            piece: u16::MAX,
            account: u32::MAX,
            number: u64::MAX / 2,
            length: payload_bytes as u32,
            fresh_block: true,
            payload: &[],
        };
        let fits = self.plan.as_ref().is_some_and(|plan| plan.fits_surely(&self.superblock, &body));
        self.read_only || self.may_take(fits, Kind::Body, false)
    }

    /// Whether such a frame may be taken: into the segment that is being written to, where it fits, or into a fresh one.
    fn may_take(&self, fits: bool, kind: Kind, copy: bool) -> bool {
        let free = (self.free.len() + self.suspect.len()).saturating_sub(self.claimed);
        let records = SEGMENTS_RESERVED_FOR_RETRY + SEGMENTS_RESERVED_FOR_COMPACTION;
        let bodies = records + SEGMENTS_RESERVED_FOR_RECORDS;
        let reserve = match kind {
            _ if copy => SEGMENTS_RESERVED_FOR_RETRY + 1,
            Kind::Record | Kind::Witness | Kind::End => records,
            Kind::Body | Kind::Structure => bodies,
            // What nobody needs comes last.
            Kind::Snapshot => bodies + 1,
        };
        if fits {
            // What compaction has opened is not for new bodies, or they would eat up the reserve by and by.
            return copy || reserve == records || free >= reserve;
        }
        free > if self.relieve { SEGMENTS_RESERVED_FOR_RETRY } else { reserve }
    }

    /// Plans again for everything that is pending, from nothing but fresh segments.
    pub(super) fn plan_again(&mut self) {
        (self.plan, self.claimed) = (None, 0);
        let pending = std::mem::take(&mut self.pending);
        pending
            .iter()
            .for_each(|frame| plan_frame(&self.superblock, &mut self.plan, &mut self.claimed, frame));
        self.pending = pending;
    }

    /// Gives each frame its place.
    pub(super) fn lay_out(&mut self, frames: &mut [Frame]) -> (Vec<Run>, VecDeque<Draft>) {
        let (mut runs, mut drafts): (Vec<Run>, VecDeque<Draft>) = (Vec::new(), VecDeque::new());
        let (mut sequence, mut position) = (self.end.sequence, self.end.position);
        for frame in frames {
            let fits = self.cursor.as_ref().is_some_and(|at| at.fits(&self.superblock, &frame.entry()));
            if !fits || self.relieve {
                let summary = self.cursor.as_mut().and_then(|at| at.summarise(true));
                drafts.extend(summary.and_then(|summary| self.located(summary)));
                let fresh = self.fresh(frame, sequence, position);
                sequence = fresh.sequence;
                self.relieve = false;
                self.cursor = Some(Cursor::begin(&self.superblock, fresh.index, frame.position.0, true));
                let offset = self.superblock.base(fresh.index);
                runs.push(Run { offset, fresh: Some(fresh), frames: 0 });
            }
            let Some(at) = &mut self.cursor else { continue };
            let base = self.superblock.base(at.index);
            if runs.is_empty() {
                runs.push(Run { offset: base + at.offset, fresh: None, frames: 0 });
            }
            if let Some(run) = runs.last_mut() {
                run.frames += 1;
            }
            frame.offset = base + at.offset;
            position = frame.position.0;
            let summary = at.put(&self.superblock, frame.entry());
            drafts.extend(summary.and_then(|summary| self.located(summary)));
        }
        if let Some(at) = &mut self.cursor {
            at.end_batch();
        }
        (self.plan, self.claimed) = (self.cursor.as_ref().map(Cursor::plan), 0);
        (runs, drafts)
    }

    /// A summary of the segment that is written to, where it lies on the device.
    fn located(&self, mut draft: Draft) -> Option<Draft> {
        let at = self.cursor.as_ref()?;
        draft.incarnation = (*self.incarnations.get(at.index as usize)?)?;
        draft.offset += self.superblock.base(at.index);
        Some(draft)
    }

    /// Takes a free segment into use for this frame, behind the frame of this position in that segment.
    fn fresh(&mut self, first: &Frame, before: u64, end: u64) -> Fresh {
        let index = self.free.pop_front().or_else(|| self.suspect.pop());
        let index = index.expect("append and finish have made sure that there are enough");
        self.sequence += 1;
        let incarnation = self.nonce.hash(&[&self.sequence.to_le_bytes()]);
        if let Some(slot) = self.incarnations.get_mut(index as usize) {
            *slot = Some(incarnation);
        }
        // Deliberate: without a cursor there may be anything behind the end, as after a cut or a failed write.
        let regular = self.cursor.is_some();
        let sequence = self.sequence;
        let (first_position, joined) = (first.position, first.joined);
        let member =
            Member { first: first_position.0, joined, ..Member::new(index, sequence, incarnation, before) };
        let (members, freed) = self.enlist(member, end, regular);
        let snapshot = self.standing();
        Fresh { index, sequence, incarnation, first_position, regular, joined, members, snapshot, freed }
    }
}

/// Notes that a frame joins those that have been planned for.
fn plan_frame(superblock: &Superblock, plan: &mut Option<Cursor>, claimed: &mut usize, frame: &Frame) {
    let entry = frame.entry();
    let at = match plan.take() {
        Some(at) if at.fits(superblock, &entry) => at,
        _ => {
            *claimed += 1;
            Cursor::begin(superblock, 0, frame.position.0, false)
        }
    };
    plan.insert(at).put(superblock, entry);
}
