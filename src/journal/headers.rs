//! Opening a store, steps 1 and 2: which segments there are, and which of them are the journal. The words are those of [`super`].

use std::collections::BTreeMap;
use std::io;

use super::SEGMENT_START;
use super::recovery::{Member, Scan};
use super::segment::{End, HeaderBlock, Members, SegmentHeader};
use super::snapshot::Snapshot;
use super::window::Window;
use crate::limits::BLOCK_BYTES;

/// Uses of segments that are over, as other headers tell.
struct Over {
    /// Sequence of the newest header that is known to have been durable, and the members that it names.
    durable: Option<(u64, Members)>,
    /// By index: the highest sequence of the segments that others say they follow.
    followed: BTreeMap<u32, u64>,
}

impl Over {
    /// Whether this use of a segment is: also where the segment is a member again, of a batch that was torn.
    fn is(&self, index: u32, sequence: u64) -> bool {
        let freed = |(durable, members): &(u64, Members)| sequence <= *durable && !members.has(index);
        self.durable.as_ref().is_some_and(freed)
            || self.followed.get(&index).is_some_and(|last| sequence < *last)
    }
}

impl Scan<'_> {
    /// Step 1: every segment's header. One copy is enough of members where the newest header vouches for all that was found of them, and which
    /// nobody can have written over; else the second one may be of a later use, whose first copy has not arrived.
    pub(super) fn read_headers(&mut self) -> io::Result<(Vec<Option<HeaderBlock>>, Option<Members>)> {
        let count = self.superblock.segment_count;
        let mut headers: Vec<Option<HeaderBlock>> = vec![None; count as usize];
        let mut newest: Option<(SegmentHeader, Members)> = None;
        let (mut first, mut second): (Vec<u32>, Vec<bool>) =
            ((0..self.mark).collect(), vec![false; count as usize]);
        for copy in [0].into_iter().chain(std::iter::repeat(1)) {
            if first.is_empty() {
                break;
            }
            for index in std::mem::take(&mut first) {
                let before = headers[index as usize];
                let failed = copy == 1 && before.is_none();
                let found = self.read_header(index, copy, failed)?;
                second[index as usize] = copy == 1;
                self.state.report.bad_copies += u32::from(copy == 1 && before.is_some() != found.is_some());
                let Some((block @ HeaderBlock { header, .. }, members)) = found else { continue };
                if before.is_some_and(|before| before.header.sequence >= header.sequence) {
                    continue;
                }
                headers[index as usize] = Some(block);
                if newest.as_ref().is_none_or(|(newest, _)| header.sequence > newest.sequence) {
                    newest = Some((header, members));
                }
            }
            self.hear_claims(&headers);
            let found = |index: u32| {
                let block = headers.get(index as usize).copied().flatten()?;
                Some((block.header.sequence, block.header.incarnation))
            };
            let vouching = newest.as_ref().filter(|_| !self.verify);
            let vouching = vouching.filter(|(_, members)| members.are(&self.superblock.key, found));
            let untouched = vouching.and_then(|_| self.untouched(&headers));
            // Nobody vouches for the newest one itself.
            let vouched = |index| {
                vouching.is_some_and(|(newest, _)| newest.index != index)
                    && untouched.as_ref().is_some_and(|untouched| untouched.has(index))
            };
            first = (0..self.mark).filter(|index| !second[*index as usize] && !vouched(*index)).collect();
        }
        Ok((headers, newest.map(|(_, members)| members)))
    }

    /// What headers say of all that is before them.
    fn hear_claims(&mut self, headers: &[Option<HeaderBlock>]) {
        for HeaderBlock { header, .. } in headers.iter().flatten() {
            self.state.covered = self.state.covered.max(header.durable);
            self.state.sequence = self.state.sequence.max(header.sequence);
            let highest = header.first_position.max(header.follows.position).max(header.durable);
            self.saw(highest, header.opening);
        }
    }

    /// The newest header that is known to have been durable.
    fn durable(&self, headers: &[Option<HeaderBlock>]) -> Option<SegmentHeader> {
        let headers = headers.iter().flatten().map(|block| block.header);
        headers
            .filter(|header| header.first_position <= self.state.covered)
            .max_by_key(|header| header.sequence)
    }

    /// The segments that nobody can have written over: all headers name them, from the newest on that is known to have been durable. The last one
    /// that really was is among them, and only what it does not name is used again.
    fn untouched(&self, headers: &[Option<HeaderBlock>]) -> Option<Members> {
        let since = self.durable(headers)?;
        let headers = headers.iter().flatten().map(|block| block.header);
        let mut untouched = self.members_of(&since)?;
        for header in headers.filter(|header| header.sequence > since.sequence) {
            untouched.keep(&self.members_of(&header)?);
        }
        Some(untouched)
    }

    /// Step 2, first part: which uses of segments are over, whatever still stands there.
    fn over(&self, headers: &[Option<HeaderBlock>]) -> Over {
        let durable = self.durable(headers);
        let headers = || headers.iter().flatten().map(|block| block.header);
        let durable = durable.and_then(|header| Some((header.sequence, self.members_of(&header)?)));
        let mut followed = BTreeMap::new();
        for End { index, sequence, .. } in headers().map(|header| header.follows) {
            let last = followed.entry(index).or_insert(sequence);
            *last = sequence.max(*last);
        }
        Over { durable, followed }
    }

    /// One copy of a header. An error only where the other one is not good either.
    fn read_header(
        &mut self,
        index: u32,
        copy: u64,
        other_is_bad: bool,
    ) -> io::Result<Option<(HeaderBlock, Members)>> {
        let mut block = vec![0; BLOCK_BYTES];
        let place = self.superblock.base(index) + copy * BLOCK_BYTES as u64;
        match self.device.read_at(place, &mut block) {
            Ok(()) => Ok(HeaderBlock::read(&block, self.superblock, index)),
            Err(error)
                if other_is_bad && self.state.report.unreadable.contains(&(place - BLOCK_BYTES as u64)) =>
            {
                Err(error)
            }
            Err(_) => {
                self.state.report.unreadable(place);
                Ok(None)
            }
        }
    }

    /// Which segments belonged to the journal when this header was written.
    pub(super) fn members_of(&self, header: &SegmentHeader) -> Option<Members> {
        let mut block = vec![0; BLOCK_BYTES];
        (0..2).find_map(|copy| {
            let place = self.superblock.base(header.index) + copy * BLOCK_BYTES as u64;
            self.device.read_at(place, &mut block).ok()?;
            let (found, members) = HeaderBlock::read(&block, self.superblock, header.index)?;
            (found.header == *header).then_some(members)
        })
    }

    /// Step 2: the segments that the newest one names, in their order; and those of them whose header is nowhere to be found.
    pub(super) fn chain(
        &self,
        headers: &[Option<HeaderBlock>],
        newest: Option<&Members>,
    ) -> (Vec<Member>, Vec<u32>) {
        let Some(newest) = newest else { return (Vec::new(), Vec::new()) };
        let over = self.over(headers);
        let mut lost = Vec::new();
        let mut blocks: Vec<(HeaderBlock, bool)> = Vec::new();
        for index in (0..self.superblock.segment_count).filter(|index| newest.has(*index)) {
            let found = headers.get(index as usize).copied().flatten();
            match found.filter(|block| !over.is(index, block.header.sequence)) {
                Some(block) => blocks.push((block, false)),
                None => match self.rescue(headers, index, &over) {
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
                _ if lost.contains(&follows.index) && !over.is(follows.index, follows.sequence) => {
                    missing = Some(follows.position)
                }
                Some(before) => (before.open, before.regular) = (true, true),
                None => {}
            }
            members.push(Member { header, end: None, open: false, regular: false, rescued, missing });
        }
        (members, lost)
    }

    /// The copy of a header that the next segment keeps. The segment may have been used again since that copy was made, and have
    /// lost its newer header: it is believed only where its first frame stands.
    fn rescue(&self, headers: &[Option<HeaderBlock>], index: u32, over: &Over) -> Option<SegmentHeader> {
        let copies = headers.iter().flatten().filter_map(|block| block.before);
        let copies = copies.filter(|copy| copy.index == index && !over.is(index, copy.sequence));
        let header = copies.max_by_key(|copy| copy.sequence)?;
        let mut window = Window::new(self.device, self.superblock, &header);
        let first = header.first_position;
        let stands = |window: &mut Window<'_>| {
            window.frame(SEGMENT_START).is_some_and(|found| found.position == first)
        };
        (stands(&mut window) || window.mend(first) && stands(&mut window)).then_some(header)
    }

    /// The snapshot that the newest header names. None where the chain has holes: then everything is read.
    pub(super) fn snapshot(&self, headers: &[Option<HeaderBlock>]) -> Option<Snapshot> {
        let members = &self.state.members;
        let holes = !self.state.lost.is_empty()
            || members.iter().any(|member| member.rescued || member.missing.is_some());
        let newest =
            headers.iter().flatten().map(|block| block.header).max_by_key(|header| header.sequence)?;
        (newest.snapshot != 0 && !holes)
            .then_some(Snapshot { id: newest.snapshot, from: newest.snapshot_from })
    }
}
