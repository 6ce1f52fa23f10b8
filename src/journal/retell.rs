//! Opening a store by its summaries: a stretch of frames is taken from what says it again, where that can be believed, and is not read.
//!
//! A summary is believed where its last position is known to have been durable: then so was the summary, for they were written together; and where
//! the segment is not said to end before it: else a failed write or a torn one has left it. Refuses nothing that matters: where a
//! summary is not believed, the frames themselves are read. Rot in frames that are not read is found by a fetch, by
//! compaction and by `verify`; a record whose frame is rotten and whose summary is good is thereby made good.

use std::collections::VecDeque;

use super::frame::{Header, Kind};
use super::index::Slot;
use super::payload;
use super::recovery::Scan;
use super::room::Cursor;
use super::segment::SegmentHeader;
use super::summary::{self, Entry, Stretch, Summary};
use super::{Event, Found, SEGMENT_START, word};
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, BodyId, Position, Serial};

impl Scan<'_> {
    /// The summaries of a segment. What they claim to have been durable was.
    pub(super) fn summaries(&mut self, header: &SegmentHeader) -> VecDeque<Summary> {
        let found = summary::read(self.device, self.superblock, header);
        for summary in &found {
            self.state.covered = self.state.covered.max(summary.durable);
            self.saw(summary.last.max(summary.durable), summary.opening);
        }
        found
    }

    /// How far behind a place in the last segment there can be acknowledged frames, when those at that place are gone: where many are, there is
    /// a summary of them.
    pub(super) fn measure_reach(&mut self, summaries: &VecDeque<Summary>) {
        let whole = summaries.iter().all(|summary| !summary.damaged);
        let told = summaries.back().map_or(SEGMENT_START, |summary| summary.end);
        let span = self.superblock.stretch_bytes() + 2 * BLOCK_BYTES as u64;
        self.state.reach = (whole && self.superblock.has_summaries()).then_some((told, span));
    }

    /// Takes the stretch that begins with this position from its summary, which is returned; and whether it ends with a witness.
    pub(super) fn retell(
        &mut self,
        number: usize,
        summaries: &mut VecDeque<Summary>,
        expected: u64,
        stop: u64,
    ) -> Option<(Summary, bool)> {
        while summaries.front().is_some_and(|summary| summary.first < expected) {
            summaries.pop_front();
        }
        let next = summaries.front().filter(|summary| summary.first == expected)?;
        let (last, end) = (next.last, next.end);
        if self.verify || next.entries.is_none() || last > stop {
            return None;
        }
        if !self.acknowledged(last, number, end) {
            return None;
        }
        let summary = summaries.pop_front()?;
        let base = self.superblock.base(self.state.members.get(number)?.header.index);
        let frames = summary.frames()?;
        let witness = frames.last().is_some_and(|(_, _, entry)| entry.kind == Kind::Witness as u8);
        for (offset, position, entry) in &frames {
            self.count(number, *position, entry.kind, super::frame::frame_bytes(entry.length as usize));
            if *position > self.until {
                continue;
            }
            if self.is_heard(entry.kind, entry.number) {
                self.fetch_portion(number, *position, entry, base + offset);
            } else {
                self.learn(*position, entry, base + offset);
            }
        }
        Some((summary, witness))
    }

    /// To verify, frames are read; but what is said again by a summary that could be believed is not lost with its frame.
    pub(super) fn keep_said(&mut self, number: usize, summaries: &VecDeque<Summary>, stop: u64) {
        self.state.said.clear();
        let verify = self.verify;
        for summary in summaries.iter().filter(|summary| verify && summary.last <= stop) {
            if self.acknowledged(summary.last, number, summary.end) {
                for (_, position, entry) in summary.frames().into_iter().flatten() {
                    let payload = entry.payload.to_vec();
                    self.state.said.insert(position, (Entry { payload: &[], ..entry }, payload));
                }
            }
        }
    }

    /// Takes what these frames said from where it is said again. False: not all of it is.
    pub(super) fn make_good(&mut self, first: u64, last: u64) -> bool {
        let mut missing = last.saturating_sub(first).saturating_add(1);
        let said: Vec<_> =
            self.state.said.range(first..=last).map(|(at, said)| (*at, said.clone())).collect();
        for (position, (entry, payload)) in said {
            if !matches!(Kind::of(entry.kind), Some(Kind::Body | Kind::Structure)) {
                missing -= 1;
                if position <= self.until {
                    self.learn(position, &Entry { payload: &payload, ..entry }, 0);
                }
            }
        }
        missing == 0
    }

    /// What a frame says, by whichever way it has come: its payload is good, or was not needed.
    pub(super) fn learn(&mut self, position: u64, entry: &Entry<'_>, place: u64) {
        match Kind::of(entry.kind).filter(|kind| payload::is_known(*kind, entry.flags)) {
            None => self.state.report.unknown_frames += 1,
            Some(Kind::Record) => (self.visit)(Event::Record(Found {
                account: AccountId(entry.account),
                position: Position(position),
                serial: Serial(entry.number),
                payload: entry.payload,
            })),
            Some(Kind::End) => {
                if entry.payload.len() == 8 {
                    self.state.declared.insert(entry.number, word::u64(entry.payload, 0));
                }
            }
            Some(Kind::Witness | Kind::Snapshot) => {}
            // A damaged piece is in the index, too: who asks for it is told that it is damaged.
            Some(kind @ (Kind::Body | Kind::Structure)) => {
                let body = BodyId(entry.number);
                self.index.expect(body);
                self.index.insert(kind, body, entry.piece, Slot::new(place, entry.length as usize));
            }
        }
    }

    /// Notes that the segment has this frame.
    pub(super) fn count(&mut self, number: usize, position: u64, kind: u8, bytes: u64) {
        self.state.report.frames += 1;
        if let Some(tally) = self.state.tallies.get_mut(number) {
            tally.last = position;
            tally.frame_bytes += bytes;
            tally.record_bytes += if kind == Kind::Record as u8 { bytes } else { 0 };
        }
    }

    /// Where the next batch goes when a segment has been closed in order: behind a frame that ends at `offset`, with `last` as its position.
    /// Deliberate: not where the rest of a segment is so long that it has not been looked at: there could be a stale frame in it.
    pub(super) fn go_on(
        &self,
        header: &SegmentHeader,
        told: Option<&Told>,
        offset: u64,
        last: u64,
    ) -> Option<Cursor> {
        let block = offset.next_multiple_of(BLOCK_BYTES as u64);
        let mut cursor = Cursor::begin(self.superblock, header.index, last + 1, true);
        let (start, first, floor) = told
            .map_or((SEGMENT_START, header.first_position, cursor.floor), |told| {
                (told.end, told.last + 1, told.floor)
            });
        let seen = self.state.reach.is_none_or(|(told, span)| told.max(offset) + span >= cursor.floor);
        if !seen || told.is_some_and(|told| told.damaged || told.last > last) {
            return None;
        }
        (cursor.offset, cursor.floor) = (block, floor);
        cursor.stretch = Stretch::new(block, last + 1, true);
        if first <= last && self.superblock.has_summaries() {
            cursor.stretch = Stretch::unknown(start, offset, first, last + 1 - first);
        }
        Some(cursor)
    }
}

/// How far the summaries of a segment reach.
pub(super) struct Told {
    last: u64,
    end: u64,
    floor: u64,
    damaged: bool,
}

impl Told {
    pub(super) fn by(summaries: &VecDeque<Summary>) -> Option<Told> {
        let damaged = summaries.iter().any(|summary| summary.damaged);
        summaries.back().map(|last| Told { last: last.last, end: last.end, floor: last.floor, damaged })
    }
}

/// What `verify` finds of summaries, frame by frame.
#[derive(Default)]
pub(super) struct Comparison {
    stretch: Option<Stretch>,
    /// Summaries that say something else than the frames.
    pub wrong: u32,
}

impl Comparison {
    /// A frame that begins at `at` of its segment.
    pub(super) fn frame(
        &mut self,
        summaries: &mut VecDeque<Summary>,
        at: u64,
        found: &Header,
        payload: &[u8],
    ) {
        while summaries.front().is_some_and(|summary| summary.last < found.position || summary.damaged) {
            summaries.pop_front();
            self.stretch = None;
        }
        let Some(summary) = summaries.front() else { return };
        if summary.first == found.position {
            self.stretch = Some(Stretch::new(summary.start, summary.first, true));
        }
        let Some(stretch) = &mut self.stretch else { return };
        if stretch.first + stretch.frames != found.position {
            self.stretch = None;
            return;
        }
        let entry = summary::entry_of(found, at > stretch.end, payload);
        stretch.add(&entry, at + found.frame_bytes());
        if summary.last == found.position {
            self.wrong += u32::from(!stretch.agrees(summary));
            summaries.pop_front();
            self.stretch = None;
        }
    }
}
