//! Opening a store, steps 1 and 2: which segments there are, and which of them are the journal. The words are those of [`super`].

use std::collections::BTreeSet;
use std::io;

use super::SEGMENT_START;
use super::recovery::{Member, Scan};
use super::segment::{End, HeaderBlock, Members, SegmentHeader};
use super::snapshot::Snapshot;
use super::window::Window;
use crate::limits::BLOCK_BYTES;

impl Scan<'_> {
    /// Step 1: every segment's header. One good copy is enough of a member that the header of another member names: elsewhere the second
    /// one may be of a later use, whose batch was torn.
    pub(super) fn read_headers(&mut self) -> io::Result<(Vec<Option<HeaderBlock>>, Option<Members>)> {
        let count = self.superblock.segment_count;
        let mut headers: Vec<Option<HeaderBlock>> = vec![None; count as usize];
        let mut newest: Option<(u64, Members)> = None;
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
                if newest.as_ref().is_none_or(|(sequence, _)| header.sequence > *sequence) {
                    newest = Some((header.sequence, members));
                }
            }
            let is_member = |index: u32| newest.as_ref().is_some_and(|(_, newest)| newest.has(index));
            let members = headers.iter().flatten().filter(|block| is_member(block.header.index));
            let named: Vec<End> = members.map(|block| block.header.follows).collect();
            let named: BTreeSet<(u32, u64, u64)> =
                named.iter().map(|end| (end.index, end.incarnation, end.sequence)).collect();
            let vouched = |index: u32| {
                let header = headers[index as usize].map(|block| block.header);
                let header = header.map(|header| (index, header.incarnation, header.sequence));
                !self.verify && is_member(index) && header.is_some_and(|header| named.contains(&header))
            };
            first = (0..self.mark).filter(|index| !second[*index as usize] && !vouched(*index)).collect();
        }
        for HeaderBlock { header, .. } in headers.iter().flatten() {
            self.state.covered = self.state.covered.max(header.durable);
            self.state.sequence = self.state.sequence.max(header.sequence);
            let highest = header.first_position.max(header.follows.position).max(header.durable);
            self.saw(highest, header.opening);
        }
        Ok((headers, newest.map(|(_, members)| members)))
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
