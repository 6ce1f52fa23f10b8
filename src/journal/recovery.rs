//! Opening a store: finds the chain of segments, reads the frames along it, and tells a torn tail from lost or rotten frames.
//!
//! Writes nothing. What it decides, and why, stands in the module documentation of [`super`]; the steps here bear its numbers.

use std::io;

use std::collections::BTreeMap;

use super::frame::{self, Header, Kind};
use super::index::{Index, Slot};
use super::payload;
use super::report::{Cut, Lost, LostFrame, Report};
use super::segment::{End, HeaderBlock, Members, SegmentHeader};
use super::superblock::Superblock;
use super::window::Window;
use super::{Found, SEGMENT_START, word};
use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, BodyId, Position, Serial};

/// A segment of the chain.
#[derive(Clone, Copy)]
struct Member {
    header: SegmentHeader,
    /// Where the next segment of the chain goes on from. `None`: not known, or this is the last one.
    end: Option<End>,
    /// What followed it has been freed: it ends with its last frame, and a frame further on says which that is.
    open: bool,
    /// Nothing lies behind its end.
    regular: bool,
    /// The header is a copy that the next segment keeps.
    rescued: bool,
    /// A segment is missing before this one: its last position.
    missing: Option<u64>,
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
    /// Bytes of its frames of records.
    pub record_bytes: u64,
    /// Bytes of all its frames.
    pub frame_bytes: u64,
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
    /// The store was closed in order, and the next batch may go on in the last segment: at this offset of it.
    pub closed: Option<u64>,
    pub report: Report,
}

/// The scan under way.
pub(super) struct Scan<'a> {
    pub device: &'a dyn Device,
    pub superblock: &'a Superblock,
    pub index: &'a mut Index,
    pub visit: &'a mut dyn FnMut(Found<'_>),
    /// Check every payload, also where only the header is needed.
    pub verify: bool,
    /// Frames behind this position are as good as not there, though they are read.
    pub until: u64,
    state: State,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// By segment of the chain: position of its last frame, bytes of records, bytes of all frames.
    ends: Vec<(u64, u64, u64)>,
    /// Segments that end where nothing follows: sequence, position, place on the device.
    open_ends: Vec<(u64, u64, u64)>,
    /// What frames say of them.
    declared: BTreeMap<u64, u64>,
    /// Members whose header is not to be found.
    lost: Vec<u32>,
    /// The highest position that some segment header says was durable.
    covered: u64,
    position: u64,
    sequence: u64,
    opening: u32,
    /// Behind the last frame that was kept.
    end: End,
    /// Where the next batch would begin, if the last frame kept is a witness and nothing at all of this segment lies behind it.
    closed: Option<u64>,
    report: Report,
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
    /// Something else; and the next frame behind it, if any.
    Bad(Option<(u64, Header)>),
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        device: &'a dyn Device,
        superblock: &'a Superblock,
        index: &'a mut Index,
        visit: &'a mut dyn FnMut(Found<'_>),
        verify: bool,
        until: u64,
    ) -> Scan<'a> {
        Scan { device, superblock, index, visit, verify, until, state: State::default() }
    }

    /// All steps. An error only where the headers cannot be read at all: without them nothing can be told.
    pub(super) fn run(mut self) -> io::Result<Recovered> {
        let (headers, newest) = self.read_headers()?;
        (self.state.members, self.state.lost) = self.chain(&headers, newest.as_ref());
        self.state.ends = vec![(0, 0, 0); self.state.members.len()];
        let valid = headers.iter().flatten().count() as u32;
        let mut used = 0;
        for number in 0..self.state.members.len() {
            let verdict = self.segment(number);
            let kept = self.state.members[number].header.is(&self.state.end);
            if verdict == Verdict::Whole || kept {
                used = number + 1;
            }
            if verdict == Verdict::Torn {
                break;
            }
        }
        let kept = used.checked_sub(1).and_then(|last| self.members_of(&self.state.members[last].header));
        self.prove_ends();
        self.lose_members(kept.as_ref());
        let leaving = self.leaving(kept.as_ref(), used);
        let State { mut members, ends, end, position, sequence, opening, closed, mut report, .. } =
            self.state;
        members.truncate(used);
        report.segments = used as u32;
        let own = members.iter().filter(|member| !member.rescued).count() as u32;
        report.abandoned_segments = valid - own;
        report.opening = opening.saturating_add(1);
        let chain = members.iter().zip(ends).enumerate().map(
            |(number, (member, (last, record_bytes, frame_bytes)))| Kept {
                header: member.header,
                end: (number + 1 < used).then(|| member.end.map_or(last, |end| end.position)),
                open: member.open,
                regular: member.regular,
                record_bytes,
                frame_bytes,
            },
        );
        let chain = chain.collect();
        // Positions of frames that are gone must not be met in the middle of a segment.
        let closed =
            closed.filter(|_| end.position == position && report.cut.is_none() && !report.is_damaged());
        Ok(Recovered { chain, leaving, end, position, sequence, closed, report })
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
                if let Some((last, ..)) = number.and_then(|number| self.state.ends.get_mut(number)) {
                    *last = declared;
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

    /// Step 1: every segment's header, from whichever of its two copies is good.
    fn read_headers(&mut self) -> io::Result<(Vec<Option<HeaderBlock>>, Option<Members>)> {
        let mut newest: Option<(u64, Members)> = None;
        let mut blocks = vec![0; 2 * BLOCK_BYTES];
        let mut headers = Vec::with_capacity(self.superblock.segment_count as usize);
        for index in 0..self.superblock.segment_count {
            let base = self.superblock.base(index);
            if self.device.read_at(base, &mut blocks).is_err() {
                self.read_singly(base, &mut blocks)?;
            }
            let copies = blocks.chunks(BLOCK_BYTES);
            let copies: Vec<_> =
                copies.filter_map(|block| HeaderBlock::read(block, self.superblock, index)).collect();
            self.state.report.bad_copies += u32::from(copies.len() == 1);
            let best = copies.into_iter().max_by_key(|(block, _)| block.header.sequence);
            if let Some((HeaderBlock { header, .. }, members)) = &best {
                if newest.as_ref().is_none_or(|(sequence, _)| header.sequence > *sequence) {
                    newest = Some((header.sequence, members.clone()));
                }
                self.state.covered = self.state.covered.max(header.durable);
                self.state.sequence = self.state.sequence.max(header.sequence);
                self.saw(
                    header.first_position.max(header.follows.position).max(header.durable),
                    header.opening,
                );
            }
            headers.push(best.map(|(block, _)| block));
        }
        Ok((headers, newest.map(|(_, members)| members)))
    }

    /// Which segments belonged to the journal when this header was written.
    fn members_of(&self, header: &SegmentHeader) -> Option<Members> {
        let mut block = vec![0; BLOCK_BYTES];
        (0..2).find_map(|copy| {
            let place = self.superblock.base(header.index) + copy * BLOCK_BYTES as u64;
            self.device.read_at(place, &mut block).ok()?;
            let (found, members) = HeaderBlock::read(&block, self.superblock, header.index)?;
            (found.header == *header).then_some(members)
        })
    }

    fn read_singly(&mut self, base: u64, blocks: &mut [u8]) -> io::Result<()> {
        let mut failures = 0;
        for (place, block) in (base..).step_by(BLOCK_BYTES).zip(blocks.chunks_mut(BLOCK_BYTES)) {
            if let Err(error) = self.device.read_at(place, block) {
                failures += 1;
                if failures == 2 {
                    return Err(error);
                }
                block.fill(0);
                self.state.report.unreadable(place);
            }
        }
        Ok(())
    }

    /// Step 2: the segments that the newest one names, in their order; and those of them whose header is nowhere to be found.
    fn chain(&self, headers: &[Option<HeaderBlock>], newest: Option<&Members>) -> (Vec<Member>, Vec<u32>) {
        let Some(newest) = newest else { return (Vec::new(), Vec::new()) };
        let mut lost = Vec::new();
        let mut blocks: Vec<(HeaderBlock, bool)> = Vec::new();
        for index in (0..self.superblock.segment_count).filter(|index| newest.has(*index)) {
            match headers.get(index as usize).copied().flatten() {
                Some(block) => blocks.push((block, false)),
                None => match self.rescue(headers, index) {
                    Some(header) => blocks.push((HeaderBlock { header, before: None }, true)),
                    None => lost.push(index),
                },
            }
        }
        blocks.sort_by_key(|(block, _)| block.header.sequence);
        let mut members: Vec<Member> = Vec::with_capacity(blocks.len());
        for (HeaderBlock { header, .. }, rescued) in blocks {
            let follows = header.follows;
            let mut missing = None;
            match members.last_mut() {
                Some(before) if before.header.is(&follows) => {
                    (before.end, before.regular) = (Some(follows), header.regular);
                }
                _ if lost.contains(&follows.index) => missing = Some(follows.position),
                Some(before) => (before.open, before.regular) = (true, true),
                None => {}
            }
            members.push(Member { header, end: None, open: false, regular: false, rescued, missing });
        }
        (members, lost)
    }

    /// The copy of a header that the next segment keeps. The segment may have been used again since that copy was made, and have
    /// lost its newer header: it is believed only where its first frame stands.
    fn rescue(&self, headers: &[Option<HeaderBlock>], index: u32) -> Option<SegmentHeader> {
        let copies = headers.iter().flatten().filter_map(|block| block.before);
        let header = copies.filter(|copy| copy.index == index).max_by_key(|copy| copy.sequence)?;
        let mut window = Window::new(self.device, self.superblock, &header);
        window.frame(SEGMENT_START).filter(|first| first.position == header.first_position).map(|_| header)
    }

    fn saw(&mut self, position: u64, opening: u32) {
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
        let verdict = self.frames(number, &member, &mut window);
        for place in window.unreadable {
            self.state.report.unreadable(place);
        }
        verdict
    }

    fn frames(&mut self, number: usize, member: &Member, window: &mut Window<'_>) -> Verdict {
        let header = member.header;
        let stop = member.end.map_or(u64::MAX, |end| end.position);
        let mut expected = header.first_position;
        let mut previous = Some(header.follows.tag);
        let mut offset = SEGMENT_START;
        let mut witness = false;
        while expected <= stop {
            match next(window, offset, expected, previous) {
                Next::Frame(at, found) => {
                    if self.take(number, at, &found, window) == Verdict::Torn {
                        return Verdict::Torn;
                    }
                    offset = at + found.frame_bytes();
                    expected = found.position + 1;
                    previous = Some(found.tag);
                    self.state.end = end(&header, found.position, found.tag);
                    witness = Kind::of(found.kind) == Some(Kind::Witness);
                }
                Next::Bad(behind) => {
                    let behind = behind.filter(|(_, found)| found.position <= stop);
                    let place = window.device_offset(offset);
                    // To where the next batch's first frame would have its header.
                    let reach = 2 * BLOCK_BYTES as u64;
                    if !self.acknowledged(expected, number, offset) && !window.is_unreadable(offset, reach) {
                        let torn = behind.is_some() || number + 1 < self.state.members.len();
                        let next_block = offset.next_multiple_of(BLOCK_BYTES as u64);
                        self.state.closed = (witness && !torn).then_some(next_block);
                        return if torn { self.cut(expected, place) } else { Verdict::Torn };
                    }
                    let last = match (behind, member.end) {
                        (Some((_, found)), _) => found.position - 1,
                        (None, Some(end)) => end.position,
                        (None, None) => self.last_before(number + 1).max(expected),
                    };
                    if behind.is_none() && member.open {
                        self.state.open_ends.push((header.sequence, expected - 1, place));
                        return Verdict::Whole;
                    }
                    self.lose(expected, last, place, None);
                    self.state.end = end(&header, last, 0);
                    expected = last + 1;
                    previous = None;
                    match behind {
                        Some((at, _)) => offset = at,
                        None => return Verdict::Whole,
                    }
                }
            }
        }
        Verdict::Whole
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
        let check = self.verify
            || matches!(kind, Some(Kind::Record | Kind::End))
            || found.position > self.state.covered;
        let good = !check || frame::checksum(window.payload(at, found)) == found.checksum;
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
        self.state.report.frames += 1;
        if let Some((last, record_bytes, frame_bytes)) = self.state.ends.get_mut(number) {
            *last = found.position;
            *frame_bytes += found.frame_bytes();
            *record_bytes += if kind == Some(Kind::Record) { found.frame_bytes() } else { 0 };
        }
        if found.position > self.until {
            return Verdict::Whole;
        }
        match kind {
            None => self.state.report.unknown_frames += 1,
            Some(Kind::Record) if good => (self.visit)(Found {
                account: AccountId(found.account),
                position: Position(found.position),
                serial: Serial(found.number),
                payload: window.payload(at, found),
            }),
            Some(Kind::End) if good && found.length == 8 => {
                let position = word::u64(window.payload(at, found), 0);
                self.state.declared.insert(found.number, position);
            }
            Some(Kind::Record | Kind::Witness | Kind::End) => {}
            // A damaged piece stays in the index: who asks for it is told that it is damaged.
            Some(kind) => {
                let body = BodyId(found.number);
                self.index.expect(body);
                self.index.insert(kind, body, found.piece, Slot::new(place, found.length as usize));
            }
        }
        Verdict::Whole
    }

    /// Whether the frame of this position had been acknowledged: whether anything says that it was durable.
    /// Such a claim is true for ever, so it does not matter where it stands; what could still be unread lies behind.
    fn acknowledged(&mut self, position: u64, number: usize, offset: u64) -> bool {
        if self.state.covered >= position {
            return true;
        }
        let mut offset = offset;
        for number in number..self.state.members.len() {
            let mut window = Window::new(self.device, self.superblock, &self.state.members[number].header);
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
    for at in [offset, offset.next_multiple_of(BLOCK_BYTES as u64)] {
        if let Some(header) = window.frame(at).filter(fits) {
            return Next::Frame(at, header);
        }
    }
    let mut behind = window.search(offset);
    while let Some((at, header)) = behind {
        if header.position > expected {
            break;
        }
        behind = window.search(at + header.frame_bytes());
    }
    Next::Bad(behind)
}
