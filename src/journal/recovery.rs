//! Opening a store: finds the chain of segments, reads the frames along it, and tells a torn tail from lost or rotten frames.
//!
//! Writes nothing. What it decides, and why, stands in the module documentation of [`super`]; the steps here bear its numbers.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::frame::{self, Header, Kind};
use super::index::Index;
use super::mark;
use super::payload;
use super::report::{Cut, Lost, LostFrame, Report};
use super::retell::{Comparison, Told};
use super::room::Cursor;
use super::segment::{End, Members, SegmentHeader};
use super::snapshot::{Heard, Snapshots};
use super::summary::{self, Entry, Summary};
use super::superblock::Superblock;
use super::window::Window;
use super::{Event, SEGMENT_START};
use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, BodyId, Position, Serial};

/// A segment of the chain.
#[derive(Clone, Copy)]
pub(super) struct Member {
    pub header: SegmentHeader,
    /// Where the next segment of the chain goes on from. `None`: not known, or this is the last one.
    pub end: Option<End>,
    /// What followed it has been freed: it ends with its last frame, and a frame further on says which that is.
    pub open: bool,
    /// Nothing lies behind its end.
    pub regular: bool,
    /// The header is a copy that the next segment keeps.
    pub rescued: bool,
    /// A segment is missing before this one: its last position.
    pub missing: Option<u64>,
}

/// A segment in use, as an opening has found it.
pub(super) struct Kept {
    pub header: SegmentHeader,
    /// Position of its last frame; `None` for the last segment.
    pub end: Option<u64>,
    /// What followed it has been freed.
    pub open: bool,
    /// Nothing lies behind its end.
    pub regular: bool,
    /// What it holds.
    pub tally: Tally,
}

/// What a segment holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// Position of its last frame.
    pub last: u64,
    /// Bytes of its frames of records.
    pub record_bytes: u64,
    /// Bytes of all its frames.
    pub frame_bytes: u64,
    /// Bytes of its summaries.
    pub summary_bytes: u64,
}

/// What an opening needs to go on.
pub(super) struct Recovered {
    /// The segments in use, in their order.
    pub chain: Vec<Kept>,
    /// Segments that the last kept header still counts as members: nothing may take their place before a newer one is durable.
    pub leaving: Vec<u32>,
    /// Behind the last frame.
    pub end: End,
    /// The highest numbers seen anywhere.
    pub position: u64,
    pub sequence: u64,
    /// The last frame is a witness.
    pub witnessed: bool,
    /// The store was closed in order, and the next batch may go on in the last segment: here.
    pub closed: Option<Cursor>,
    pub snapshots: Snapshots,
    /// Segments from this index on have never been used.
    pub mark: u32,
    pub report: Report,
}

/// The scan under way.
pub(super) struct Scan<'a> {
    pub device: &'a dyn Device,
    pub superblock: &'a Superblock,
    pub index: &'a mut Index,
    pub visit: &'a mut dyn FnMut(Event<'_>),
    /// Check every payload, also where only the header is needed.
    pub verify: bool,
    /// Frames behind this position are as good as not there, though they are read.
    pub until: u64,
    /// Segments from this index on have never been used.
    pub mark: u32,
    pub(super) state: State,
}

#[derive(Default)]
pub(super) struct State {
    pub members: Vec<Member>,
    /// By segment of the chain.
    pub tallies: Vec<Tally>,
    /// The summaries of the last segment of the chain, before it is read.
    newest: Option<VecDeque<Summary>>,
    /// In the last segment: where its summaries end, and how many bytes from there, or from any place behind, are searched for frames. `None`: all.
    pub reach: Option<(u64, u64)>,
    /// Segments that end where nothing follows: sequence, position, place on the device.
    open_ends: Vec<(u64, u64, u64)>,
    /// What frames say of them.
    pub declared: BTreeMap<u64, u64>,
    /// Members whose header is not to be found.
    pub lost: Vec<u32>,
    /// The highest position that some header of a segment, or some summary, says was durable.
    pub covered: u64,
    position: u64,
    pub sequence: u64,
    opening: u32,
    /// Behind the last frame that was kept.
    end: End,
    /// The last frame kept is a witness.
    witnessed: bool,
    /// Where the next batch would begin, if the last frame kept is a witness and nothing at all of this segment lies behind it.
    closed: Option<Cursor>,
    /// To verify: what the summaries of the segment say, by position.
    pub said: BTreeMap<u64, (Entry<'static>, Vec<u8>)>,
    /// The snapshot that the store is opened with.
    pub heard: Option<Heard>,
    pub report: Report,
}

/// How the scan of one segment ended.
#[derive(PartialEq, Eq)]
enum Verdict {
    Whole,
    Torn,
}

/// What stands at the place where a frame is expected.
enum Next {
    /// The expected frame.
    Frame(u64, Header),
    /// Something else; and the next frame behind it, if any. `silent`: there is no frame at all behind it.
    Bad { behind: Option<(u64, Header)>, silent: bool },
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        device: &'a dyn Device,
        superblock: &'a Superblock,
        index: &'a mut Index,
        visit: &'a mut dyn FnMut(Event<'_>),
        verify: bool,
        until: u64,
    ) -> Scan<'a> {
        let mark = mark::read(device, superblock);
        Scan { device, superblock, index, visit, verify, until, mark, state: State::default() }
    }

    /// All steps. An error only where the headers cannot be read at all: without them nothing can be told. `None`: the snapshot is not whole.
    pub(super) fn run(mut self, with_snapshot: bool) -> io::Result<Option<Recovered>> {
        let (headers, newest) = self.read_headers()?;
        (self.state.members, self.state.lost) = self.chain(&headers, newest.as_ref());
        self.state.heard = self.snapshot(&headers).filter(|_| with_snapshot).map(Heard::new);
        self.state.tallies = vec![Tally::default(); self.state.members.len()];
        if let Some(last) = self.state.members.last().map(|member| member.header) {
            let summaries = self.summaries(&last);
            self.measure_reach(&summaries);
            self.state.newest = Some(summaries);
        }
        let valid = headers.iter().flatten().count() as u32;
        let mut used = 0;
        let from = self.state.heard.as_ref().map_or(0, |heard| heard.from);
        for number in 0..self.state.members.len() {
            if self.state.members[number].header.sequence < from {
                used = number + 1;
                self.state.report.unread_segments += 1;
                continue;
            }
            let verdict = self.segment(number);
            let kept = self.state.members[number].header.is(&self.state.end);
            if verdict == Verdict::Whole || kept {
                used = number + 1;
            }
            if verdict == Verdict::Torn {
                break;
            }
        }
        if !self.take_heard() {
            return Ok(None);
        }
        let kept = used.checked_sub(1).and_then(|last| self.members_of(&self.state.members[last].header));
        self.prove_ends();
        self.lose_members(kept.as_ref());
        let leaving = self.leaving(kept.as_ref(), used);
        let State {
            mut members,
            tallies,
            end,
            heard,
            position,
            sequence,
            opening,
            witnessed,
            closed,
            mut report,
            ..
        } = self.state;
        members.truncate(used);
        report.segments = used as u32;
        let own = members.iter().filter(|member| !member.rescued).count() as u32;
        report.abandoned_segments = valid - own;
        report.opening = opening.saturating_add(1);
        let chain = members.iter().zip(tallies).enumerate().map(|(number, (member, tally))| Kept {
            header: member.header,
            end: (number + 1 < used).then(|| member.end.map_or(tally.last, |end| end.position)),
            open: member.open,
            regular: member.regular,
            tally,
        });
        let chain = chain.collect();
        // Positions of frames that are gone must not be met in the middle of a segment.
        let closed =
            closed.filter(|_| end.position == position && report.cut.is_none() && !report.is_damaged());
        let snapshots = heard.map(Snapshots::from).unwrap_or_default();
        let mark = self.mark;
        Ok(Some(Recovered {
            chain,
            leaving,
            end,
            position,
            sequence,
            witnessed,
            closed,
            snapshots,
            mark,
            report,
        }))
    }

    /// Puts what the snapshot tells of segments that were not read in its place. False: something of the snapshot is missing.
    fn take_heard(&mut self) -> bool {
        let Some(heard) = &self.state.heard else { return true };
        for (member, tally) in self.state.members.iter().zip(&mut self.state.tallies) {
            if member.header.sequence < heard.from {
                let Some(told) = heard.tallies.get(&member.header.sequence) else { return false };
                *tally = *told;
            }
        }
        heard.is_whole()
    }

    /// Segments that are free by now, but whose header the next opening would believe if nothing newer were written.
    fn leaving(&self, kept: Option<&Members>, used: usize) -> Vec<u32> {
        let Some(kept) = kept else { return Vec::new() };
        let chain = &self.state.members[..used];
        let in_use = |index: &u32| chain.iter().any(|member| member.header.index == *index);
        (0..self.superblock.segment_count).filter(|index| kept.has(*index) && !in_use(index)).collect()
    }

    /// Step 3, last part: a segment whose follower has been freed must end where it was said to end.
    fn prove_ends(&mut self) {
        for (sequence, reached, place) in std::mem::take(&mut self.state.open_ends) {
            let declared = self.state.declared.get(&sequence).copied().unwrap_or(reached);
            if declared > reached {
                self.lose(reached + 1, declared, place, None);
                let number = self.state.members.iter().position(|member| member.header.sequence == sequence);
                if let Some(tally) = number.and_then(|number| self.state.tallies.get_mut(number)) {
                    tally.last = declared;
                }
            }
        }
    }

    /// A member without a header is lost, unless it was never durable: then the last header kept does not name it.
    fn lose_members(&mut self, kept: Option<&Members>) {
        for index in std::mem::take(&mut self.state.lost) {
            if kept.is_some_and(|kept| kept.has(index)) {
                self.lose(0, 0, self.superblock.base(index), None);
            }
        }
    }

    pub(super) fn saw(&mut self, position: u64, opening: u32) {
        self.state.position = self.state.position.max(position);
        self.state.opening = self.state.opening.max(opening);
    }

    /// Steps 2 and 3 for one segment of the chain.
    fn segment(&mut self, number: usize) -> Verdict {
        let member = self.state.members[number];
        let header = member.header;
        let base = self.superblock.base(header.index);
        if let Some(last) = member.missing {
            let first = self.state.end.position + 1;
            if !self.acknowledged(first, number, SEGMENT_START) {
                return self.cut(first, base);
            }
            self.lose(first, last.max(first), base, None);
        }
        if member.rescued {
            if !self.acknowledged(header.first_position, number, SEGMENT_START) {
                return self.cut(header.first_position, base);
            }
            self.state.report.rescued_segments += 1;
        }
        let mut window = Window::new(self.device, self.superblock, &header);
        window.sealed = number + 1 < self.state.members.len();
        if self.verify {
            window.mend(0);
        }
        let verdict = self.frames(number, &member, &mut window);
        self.state.report.parity(&window, base, self.verify && self.superblock.columns() > 0);
        for place in window.unreadable {
            self.state.report.unreadable(place);
        }
        verdict
    }

    fn frames(&mut self, number: usize, member: &Member, window: &mut Window<'_>) -> Verdict {
        let header = member.header;
        let stop = member.end.map_or(u64::MAX, |end| end.position);
        let is_last = number + 1 == self.state.members.len();
        let newest = self.state.newest.take_if(|_| is_last);
        let mut summaries = newest.unwrap_or_else(|| self.summaries(&header));
        let told = Told::by(&summaries);
        let damaged = summaries.iter().filter(|summary| summary.damaged).map(|summary| summary.last);
        let damaged: Vec<u64> = damaged.collect();
        if let Some(tally) = self.state.tallies.get_mut(number) {
            let end = self.superblock.parity_start();
            tally.summary_bytes = summaries.back().map_or(0, |last| end - last.floor);
        }
        window.reach = self.state.reach.filter(|_| is_last);
        self.keep_said(number, &summaries, stop);
        let mut comparison = Comparison::default();
        let mut expected = header.first_position;
        let mut previous = Some(header.follows.tag);
        let mut offset = SEGMENT_START;
        let mut witness = false;
        let verdict = loop {
            if expected > stop {
                break Verdict::Whole;
            }
            if let Some((summary, ends)) = self.retell(number, &mut summaries, expected, stop) {
                (offset, expected, previous) = (summary.end, summary.last + 1, Some(summary.tag));
                self.state.end = end(&header, summary.last, summary.tag);
                witness = ends;
                continue;
            }
            match next(window, offset, expected, previous) {
                Next::Frame(at, found) => {
                    if self.take(number, at, &found, window) == Verdict::Torn {
                        break Verdict::Torn;
                    }
                    if self.verify {
                        comparison.frame(&mut summaries, at, &found, window.payload(at, &found));
                    }
                    offset = at + found.frame_bytes();
                    expected = found.position + 1;
                    previous = Some(found.tag);
                    self.state.end = end(&header, found.position, found.tag);
                    witness = Kind::of(found.kind) == Some(Kind::Witness);
                }
                Next::Bad { behind, silent } => {
                    let behind = behind.filter(|(_, found)| found.position <= stop);
                    let place = window.device_offset(offset);
                    // To where the next batch's first frame would have its header.
                    let reach = 2 * BLOCK_BYTES as u64;
                    // Where nothing has been found, nothing is searched a second time.
                    let from = if silent { (number + 1, SEGMENT_START) } else { (number, offset) };
                    if !self.acknowledged(expected, from.0, from.1) && !window.is_unreadable(offset, reach) {
                        let torn = behind.is_some() || number + 1 < self.state.members.len();
                        if witness && !torn {
                            self.state.closed = self.go_on(&header, told.as_ref(), offset, expected - 1);
                        }
                        break if torn { self.cut(expected, place) } else { Verdict::Torn };
                    }
                    let last = match (behind, member.end) {
                        (Some((_, found)), _) => found.position - 1,
                        (None, Some(end)) => end.position,
                        (None, None) => self.last_before(number + 1).max(expected),
                    };
                    if behind.is_none() && member.open {
                        self.state.open_ends.push((header.sequence, expected - 1, place));
                        break Verdict::Whole;
                    }
                    self.lose(expected, last, place, None);
                    self.state.end = end(&header, last, 0);
                    expected = last + 1;
                    previous = None;
                    match behind {
                        Some((at, _)) => offset = at,
                        None => break Verdict::Whole,
                    }
                }
            }
        };
        if header.is(&self.state.end) {
            self.state.witnessed = witness;
        }
        let damaged = damaged.iter().filter(|last| **last < expected).count() as u32;
        self.state.report.bad_summaries += comparison.wrong + damaged;
        verdict
    }

    /// The last position that segment `number` of the chain follows; for the last one, the last that is known to have been durable.
    fn last_before(&self, number: usize) -> u64 {
        let member = self.state.members.get(number);
        member
            .map_or(self.state.covered, |member| member.missing.map_or(member.header.follows.position, |_| 0))
    }

    /// A frame in its place: checks what must be checked, and keeps it.
    fn take(&mut self, number: usize, at: u64, found: &Header, window: &mut Window<'_>) -> Verdict {
        self.saw(found.position.max(found.durable), found.opening);
        let kind = Kind::of(found.kind).filter(|kind| payload::is_known(*kind, found.flags));
        let heard = self.is_heard(found.kind, found.number);
        let needed = heard || matches!(kind, Some(Kind::Record | Kind::End));
        let check = self.verify || needed || found.position > self.state.covered;
        let fits = |window: &mut Window<'_>| frame::checksum(window.payload(at, found)) == found.checksum;
        let good = !check || fits(window) || window.mend(found.position) && fits(window);
        let place = window.device_offset(at);
        if !good {
            let readable = !window.is_unreadable(at, found.frame_bytes());
            if !self.acknowledged(found.position, number, at + found.frame_bytes()) && readable {
                return self.cut(found.position, place);
            }
            let frame = kind.map(|kind| lost_frame(kind, found));
            self.lose(found.position, found.position, place, frame);
        } else if self.verify && kind.is_some() && !payload::is_sound(found.flags, window.payload(at, found))
        {
            // Not torn: its checksum fits.
            self.lose(found.position, found.position, place, kind.map(|kind| lost_frame(kind, found)));
        }
        self.count(number, found.position, found.kind, found.frame_bytes());
        if found.position > self.until || needed && !good && !heard {
            return Verdict::Whole;
        }
        let payload = if needed { window.payload(at, found) } else { &[] };
        let entry = summary::entry_of(found, false, payload);
        if heard {
            self.hear(number, found.position, &entry, good);
        } else {
            self.learn(found.position, &entry, place);
        }
        Verdict::Whole
    }

    /// Whether the frame of this position had been acknowledged: whether anything says that it was durable.
    /// Such a claim is true for ever, so it does not matter where it stands; what could still be unread lies behind.
    pub(super) fn acknowledged(&mut self, position: u64, number: usize, offset: u64) -> bool {
        if self.state.covered >= position {
            return true;
        }
        let mut offset = offset;
        for number in number..self.state.members.len() {
            let mut window = Window::new(self.device, self.superblock, &self.state.members[number].header);
            window.reach = self.state.reach.filter(|_| number + 1 == self.state.members.len());
            while let Some((at, found)) = window.search(offset) {
                self.saw(found.position, found.opening);
                if found.durable >= position {
                    self.state.covered = self.state.covered.max(found.durable);
                    return true;
                }
                offset = at + found.frame_bytes();
            }
            offset = SEGMENT_START;
        }
        false
    }

    fn cut(&mut self, position: u64, offset: u64) -> Verdict {
        self.state.report.cut = Some(Cut { position: Position(position), offset });
        Verdict::Torn
    }

    fn lose(&mut self, first: u64, last: u64, offset: u64, frame: Option<LostFrame>) {
        let harmless = frame.is_some_and(|frame| frame.kind == Kind::Snapshot);
        if harmless || self.make_good(first, last) {
            self.state.report.mended_frames += last + 1 - first;
            return;
        }
        let (first, last) = (Position(first), Position(last));
        self.state.report.lose(Lost { first, last, offset, frame });
    }
}

fn end(header: &SegmentHeader, position: u64, tag: u64) -> End {
    End { sequence: header.sequence, index: header.index, incarnation: header.incarnation, position, tag }
}

fn lost_frame(kind: Kind, found: &Header) -> LostFrame {
    let record = kind == Kind::Record;
    let body = matches!(kind, Kind::Body | Kind::Structure);
    LostFrame {
        kind,
        account: AccountId(found.account),
        body: body.then_some(BodyId(found.number)),
        piece: found.piece,
        serial: record.then_some(Serial(found.number)),
    }
}

/// The frame that is next in order: right here, or, where a batch has ended, on the next block.
fn next(window: &mut Window<'_>, offset: u64, expected: u64, previous: Option<u64>) -> Next {
    let fits = |header: &Header| {
        header.position == expected && previous.is_none_or(|previous| previous == header.previous)
    };
    loop {
        for at in [offset, offset.next_multiple_of(BLOCK_BYTES as u64)] {
            if let Some(header) = window.frame(at).filter(fits) {
                return Next::Frame(at, header);
            }
        }
        if !window.mend(expected) {
            break;
        }
    }
    let mut behind = window.search(offset);
    let silent = behind.is_none();
    while let Some((at, header)) = behind {
        if header.position > expected {
            break;
        }
        behind = window.search(at + header.frame_bytes());
    }
    Next::Bad { behind, silent }
}
