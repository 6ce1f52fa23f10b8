//! Snapshots: the whole state said again, and where the bodies lie, so that an opening need not read what was written before.
//!
//! A snapshot is frames like any others, among them, written in small portions. Its *records* are what compaction's copies are: true when they are
//! appended, so reading them in their order changes nothing (`store::compact`, the law). Its *places* are the index's at that time; a frame of
//! the body itself that is read anyway is newer, and stays. When all is durable the headers of new segments name it: from then on segments that
//! are older than the one in which it was begun are not read at all.
//!
//! Refuses to be needed: the log is whole without it. If a part of it is missing, or is not as it was written, everything is forgotten and the
//! opening begins again without it. Compaction may take its segments at any time.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{self, Header, Kind};
use super::places;
use super::recovery::{Scan, Tally};
use super::summary::{Entry, take_varint, varint};
use super::tail::Journal;
use super::{AppendError, Found, word};
use crate::limits::{COMPACTION_STEP_BYTES, SEGMENT_BYTES_MIN, SNAPSHOT_LOG_BYTES_MIN, SNAPSHOT_LOG_PARTS};
use crate::types::{AccountId, BodyId, Position, Serial};

/// What a portion holds: the frame's `piece`.
const RECORDS: u16 = 0;
const PLACES: u16 = 1;
const MEMBERS: u16 = 2;
const END: u16 = 3;

/// A snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Position of its first frame.
    pub id: u64,
    /// Sequence of the oldest segment that is read with it.
    pub from: u64,
}

/// The journal's snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    /// The one that new headers name.
    pub current: Option<Snapshot>,
    /// One that is whole when this position is durable.
    ended: Option<(Snapshot, Position)>,
    drafting: Option<Drafting>,
    /// Where their frames are: snapshot, sequence of the segment, bytes.
    pub parts: Vec<(u64, u64, u64)>,
}

/// One that is being written.
struct Drafting {
    snapshot: Snapshot,
    portions: u32,
    /// Bodies from here on have not been told; None: all have.
    places: Option<BodyId>,
}

impl Snapshots {
    fn matters(&self, id: u64) -> bool {
        let ended = self.ended.map(|(snapshot, _)| snapshot);
        let drafting = self.drafting.as_ref().map(|drafting| drafting.snapshot);
        [self.current, ended, drafting].into_iter().flatten().any(|snapshot| snapshot.id == id)
    }

    /// Bytes of snapshots that a segment holds and that are of use.
    pub(super) fn bytes_in(&self, sequence: u64) -> u64 {
        let here = self.parts.iter().filter(|(id, at, _)| *at == sequence && self.matters(*id));
        here.map(|(_, _, bytes)| bytes).sum()
    }

    /// Notes a frame that has become durable.
    pub(super) fn count(&mut self, id: u64, sequence: u64, bytes: u64) {
        match self.parts.iter_mut().find(|(of, at, _)| (*of, *at) == (id, sequence)) {
            Some((_, _, sum)) => *sum += bytes,
            None => self.parts.push((id, sequence, bytes)),
        }
    }
}

impl Journal {
    /// Bytes of frames that an opening would have to read, less what snapshots are.
    fn log_bytes(&self) -> u64 {
        let from = self.snapshots.current.map_or(0, |snapshot| snapshot.from);
        let since = self.members.iter().rev().take_while(|member| member.sequence >= from);
        let since: u64 = since.map(|member| member.frame_bytes).sum();
        let own = self.snapshots.parts.iter().filter(|(_, sequence, _)| *sequence >= from);
        since.saturating_sub(own.map(|(_, _, bytes)| bytes).sum())
    }

    /// Whether a portion of a snapshot should be written, one that will have about so many bytes.
    pub fn snapshot_due(&self, bytes: u64) -> bool {
        if self.read_only || self.pressure() == super::Pressure::High || !self.superblock.has_summaries() {
            return false;
        }
        let segment = u64::from(self.superblock.segment_bytes);
        // The tests' stores, with segments smaller than any other, are to have some, too.
        let least = if segment < SEGMENT_BYTES_MIN { 4 * segment } else { SNAPSHOT_LOG_BYTES_MIN };
        self.snapshots.drafting.is_some()
            || self.snapshots.ended.is_none() && self.log_bytes() >= least.max(SNAPSHOT_LOG_PARTS * bytes)
    }

    /// Whether one is being written.
    pub fn is_snapshot_open(&self) -> bool {
        self.snapshots.drafting.is_some()
    }

    /// Begins one. What it has not said by then is in frames behind this place.
    pub fn begin_snapshot(&mut self) {
        let snapshot = Snapshot { id: self.last.0 + 1, from: self.end.sequence };
        self.snapshots.drafting = Some(Drafting { snapshot, portions: 0, places: Some(BodyId(0)) });
    }

    /// Gives up the one that is being written.
    pub fn drop_snapshot(&mut self) {
        self.snapshots.drafting = None;
    }

    /// Bytes of a portion: small beside a segment.
    pub fn portion_bytes(&self) -> usize {
        let segment = self.superblock.segment_bytes as usize / 8;
        COMPACTION_STEP_BYTES.min(segment).min(self.superblock.payload_bytes_max()) - 64
    }

    /// Appends the next places. False: all have been told.
    ///
    /// # Errors
    /// There is no room for what nobody needs.
    pub fn tell_places(&mut self) -> Result<bool, AppendError> {
        let Some(drafting) = &self.snapshots.drafting else { return Ok(false) };
        let (Some(body), from) = (drafting.places, drafting.snapshot.from) else { return Ok(false) };
        let segment_bytes = u64::from(self.superblock.segment_bytes);
        let old: BTreeSet<u64> = self
            .members
            .iter()
            .filter(|member| member.sequence < from)
            .map(|member| u64::from(member.index) + 1)
            .collect();
        let mut payload = Vec::new();
        let wanted = |slot: super::index::Slot| old.contains(&(slot.offset() / segment_bytes));
        let next = places::tell(&self.index, body, self.portion_bytes(), &wanted, &mut payload);
        self.tell(PLACES, payload)?;
        if let Some(drafting) = &mut self.snapshots.drafting {
            drafting.places = next;
        }
        Ok(true)
    }

    /// Appends records: some of what is true now.
    ///
    /// # Errors
    /// There is no room for what nobody needs.
    pub fn tell_records(&mut self, serial: Serial, records: &[u8]) -> Result<(), AppendError> {
        let mut payload = serial.0.to_le_bytes().to_vec();
        payload.extend_from_slice(records);
        self.tell(RECORDS, payload)
    }

    /// Everything has been told.
    ///
    /// # Errors
    /// There is no room for what nobody needs.
    pub fn end_snapshot(&mut self) -> Result<(), AppendError> {
        let Some(Drafting { snapshot, .. }) = self.snapshots.drafting else { return Ok(()) };
        let old: Vec<(u64, Tally)> = self
            .members
            .iter()
            .filter(|member| member.sequence < snapshot.from)
            .map(|member| (member.sequence, member.tally()))
            .collect();
        for part in old.chunks((self.portion_bytes() / 48).max(1)) {
            let mut payload = Vec::new();
            for (sequence, tally) in part {
                let Tally { last, record_bytes, frame_bytes, summary_bytes } = *tally;
                [*sequence, last, record_bytes, frame_bytes, summary_bytes]
                    .into_iter()
                    .for_each(|number| varint(number, &mut payload));
            }
            self.tell(MEMBERS, payload)?;
        }
        self.tell(END, Vec::new())?;
        self.snapshots.drafting = None;
        self.snapshots.ended = Some((snapshot, self.last));
        Ok(())
    }

    fn tell(&mut self, what: u16, payload: Vec<u8>) -> Result<(), AppendError> {
        let Some(Drafting { snapshot, portions, .. }) = &mut self.snapshots.drafting else { return Ok(()) };
        if *portions == 0 {
            // Others may have appended since it was begun: what they said is behind its beginning all the same.
            snapshot.id = self.last.0 + 1;
        }
        let (id, nth) = (snapshot.id, AccountId(*portions));
        self.append(Kind::Snapshot, nth, id, what, payload, false)?;
        if let Some(drafting) = &mut self.snapshots.drafting {
            drafting.portions += 1;
        }
        Ok(())
    }

    /// The snapshot that a header names which is written now: all of it is durable, and none of it is leaving.
    pub(super) fn standing(&mut self) -> Option<Snapshot> {
        if let Some((snapshot, end)) = self.snapshots.ended.filter(|(_, end)| *end <= self.durable) {
            debug_assert!(end.0 > snapshot.id);
            self.snapshots.current = Some(snapshot);
            self.snapshots.ended = None;
        }
        let current = self.snapshots.current?;
        let there = |sequence: u64| {
            let index =
                self.members.iter().find(|member| member.sequence == sequence).map(|member| member.index);
            index.is_some_and(|index| !self.leaving.iter().any(|leaving| leaving.index == index))
        };
        let whole =
            self.snapshots.parts.iter().filter(|(id, ..)| *id == current.id).all(|(_, at, _)| there(*at));
        if !whole {
            self.snapshots.current = None;
        }
        let mut parts = std::mem::take(&mut self.snapshots.parts);
        parts.retain(|(id, ..)| self.snapshots.matters(*id));
        self.snapshots.parts = parts;
        self.snapshots.current
    }
}

/// A snapshot as an opening finds it.
#[derive(Default)]
pub(super) struct Heard {
    pub id: u64,
    pub from: u64,
    portions: BTreeSet<u32>,
    /// How many portions there are: known at its end.
    of: Option<u32>,
    /// What the segments hold that are not read.
    pub tallies: BTreeMap<u64, Tally>,
    /// Where its frames are: sequence, bytes.
    pub parts: BTreeMap<u64, u64>,
    bad: bool,
}

impl Heard {
    pub(super) fn new(snapshot: Snapshot) -> Heard {
        Heard { id: snapshot.id, from: snapshot.from, ..Heard::default() }
    }

    /// Whether nothing of it is missing.
    pub(super) fn is_whole(&self) -> bool {
        !self.bad
            && self.of.is_some_and(|of| {
                self.portions.len() == of as usize && self.portions.range(of..).next().is_none()
            })
    }
}

impl From<Heard> for Snapshots {
    fn from(heard: Heard) -> Snapshots {
        let parts = heard.parts.iter().map(|(sequence, bytes)| (heard.id, *sequence, *bytes)).collect();
        let current = Some(Snapshot { id: heard.id, from: heard.from });
        Snapshots { current, parts, ..Snapshots::default() }
    }
}

impl Scan<'_> {
    /// Whether a frame belongs to the snapshot with which the store is opened.
    pub(super) fn is_heard(&self, kind: u8, number: u64) -> bool {
        kind == Kind::Snapshot as u8 && self.state.heard.as_ref().is_some_and(|heard| heard.id == number)
    }

    /// Reads such a frame, which a summary has told of.
    pub(super) fn fetch_portion(&mut self, number: usize, position: u64, entry: &Entry<'_>, place: u64) {
        let Some(member) = self.state.members.get(number) else { return };
        let mut bytes = vec![0; frame::HEADER_BYTES + entry.length as usize];
        let read = self.device.read_at(place, &mut bytes).is_ok();
        let header = word::array(&bytes, 0);
        let header =
            Header::decode(&header, &self.superblock.key, member.header.incarnation).filter(|_| read);
        let payload = bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
        let good = header.is_some_and(|header| {
            header.position == position
                && header.kind == entry.kind
                && header.checksum == frame::checksum(payload)
        });
        self.hear(number, position, &Entry { payload, ..*entry }, good);
    }

    /// What a portion says.
    pub(super) fn hear(&mut self, number: usize, position: u64, entry: &Entry<'_>, good: bool) {
        let sequence = self.state.members.get(number).map_or(0, |member| member.header.sequence);
        let Some(heard) = self.state.heard.as_mut() else { return };
        *heard.parts.entry(sequence).or_default() += frame::frame_bytes(entry.length as usize);
        let mut rest = entry.payload;
        let understood = match entry.piece {
            _ if !good => None,
            RECORDS => rest.split_at_checked(8).map(|(serial, payload)| {
                let serial = Serial(word::u64(serial, 0));
                let (account, position) = (AccountId::SETTINGS, Position(position));
                (self.visit)(super::Event::Record(Found { account, position, serial, payload }));
            }),
            PLACES => places::hear(self.index, rest),
            MEMBERS => tallies(&mut rest, &mut heard.tallies),
            END => {
                heard.of = Some(entry.account);
                return;
            }
            _ => None,
        };
        heard.bad |= understood.is_none();
        heard.portions.insert(entry.account);
    }
}

fn tallies(rest: &mut &[u8], tallies: &mut BTreeMap<u64, Tally>) -> Option<()> {
    while !rest.is_empty() {
        let sequence = take_varint(rest)?;
        let [last, record_bytes, frame_bytes, summary_bytes] =
            [take_varint(rest)?, take_varint(rest)?, take_varint(rest)?, take_varint(rest)?];
        tallies.insert(sequence, Tally { last, record_bytes, frame_bytes, summary_bytes });
    }
    Some(())
}
