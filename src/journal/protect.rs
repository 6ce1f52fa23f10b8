//! Making the parity of sealed segments, a step at a time, when nothing else is to be done.
//!
//! Never on the way to an acknowledgement, and without a flush of its own: what a power cut leaves half-written is no parity, or makes nothing
//! good, and is made again. Refuses to cover what does not read as it was written: parity over rot would vouch for it.
//! After an opening it is not known which segments have parity: the head of each is looked at once, also in such steps.

use super::parity::{Columns, Head, each_block};
use super::reclaim::{Member, Portion, Victim};
use super::segment::{HeaderBlock, SegmentHeader};
use super::summary;
use super::superblock::Superblock;
use super::tail::Journal;
use crate::device::Device;
use crate::limits::BLOCK_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// How far a segment's parity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    Reading,
    /// It has one.
    Written,
    /// Something of the segment does not read as it was written, or cannot be read.
    Refused,
}

/// The parity of one segment, being made: to be gone on with without the store's lock, by whoever writes batches.
pub struct Protect {
    superblock: Superblock,
    header: SegmentHeader,
    /// Position of its last frame.
    last: u64,
    at: Victim,
    columns: Columns,
    /// Blocks that have been added.
    added: u64,
    stage: Stage,
}

impl Protect {
    pub(super) fn new(superblock: &Superblock, header: &SegmentHeader, last: u64) -> Protect {
        Protect {
            superblock: superblock.clone(),
            header: *header,
            last,
            at: Victim::begin(header.sequence, header.first_position),
            columns: Columns::new(superblock),
            added: 0,
            stage: Stage::Begun,
        }
    }

    /// One step: reads 64 KiB, or one frame, or writes the parity. Not durable before the next flush, whoever does it.
    pub fn step(&mut self, device: &dyn Device) {
        self.stage = match self.stage {
            Stage::Begun => self.look(device),
            Stage::Reading => self.go_on(device).unwrap_or(Stage::Refused),
            ended => ended,
        };
    }

    /// All steps. Whether the segment has parity then.
    pub(super) fn run(&mut self, device: &dyn Device) -> bool {
        while !self.is_done() {
            self.step(device);
        }
        self.stage == Stage::Written
    }

    /// Whether there is nothing more to do.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Written | Stage::Refused)
    }

    /// One made before a power cut is as good.
    fn look(&self, device: &dyn Device) -> Stage {
        let SegmentHeader { index, incarnation, .. } = self.header;
        let head = Head::read(device, &self.superblock, index, incarnation);
        match head {
            Some(head) if head.last >= self.last => Stage::Written,
            _ if self.has_headers(device) => Stage::Reading,
            _ => Stage::Refused,
        }
    }

    /// Whether both copies of the segment's header are as they were written.
    fn has_headers(&self, device: &dyn Device) -> bool {
        let SegmentHeader { sequence, incarnation, index, .. } = self.header;
        (0..2).all(|copy| {
            let mut block = vec![0; BLOCK_BYTES];
            let read = device.read_at(self.superblock.base(index) + copy * BLOCK, &mut block);
            let found = read.ok().and_then(|()| HeaderBlock::read(&block, &self.superblock, index));
            found.is_some_and(|(found, _)| {
                (found.header.sequence, found.header.incarnation) == (sequence, incarnation)
            })
        })
    }

    /// `None`: something is not as it was written.
    fn go_on(&mut self, device: &dyn Device) -> Option<Stage> {
        let mut portion = Portion::of(&self.superblock, &self.header, self.last, self.at);
        portion.rebuild = false;
        portion.read(device);
        if portion.is_damaged() {
            return None;
        }
        let (end, is_last) = (portion.end(), portion.is_last());
        self.at = portion.next();
        self.add(device, self.added, if is_last { end.div_ceil(BLOCK) } else { end / BLOCK })?;
        if !is_last {
            return Some(Stage::Reading);
        }
        let limit = self.superblock.parity_start();
        let summaries = summary::read(device, &self.superblock, &self.header);
        // One that is damaged is not vouched for; nor are those before it, which it would not do to tell apart.
        let whole = summaries.iter().all(|summary| !summary.damaged);
        let floor = summaries.back().filter(|_| whole).map_or(limit, |summary| summary.floor);
        let floor = floor.max(end.next_multiple_of(BLOCK));
        self.add(device, floor / BLOCK, limit / BLOCK)?;
        let SegmentHeader { index, incarnation, .. } = self.header;
        let columns = std::mem::take(&mut self.columns);
        let bytes = columns.finish(&self.superblock, incarnation, (self.last, end), floor);
        device.write_at(self.superblock.base(index) + limit, &bytes).ok()?;
        Some(Stage::Written)
    }

    fn add(&mut self, device: &dyn Device, from: u64, to: u64) -> Option<()> {
        let (columns, mut whole) = (&mut self.columns, true);
        each_block(
            device,
            self.superblock.base(self.header.index),
            from..to,
            &mut |number, block| match block {
                Some(block) => columns.add(number, block),
                None => whole = false,
            },
        );
        self.added = to;
        whole.then_some(())
    }
}

impl Journal {
    /// Whether some segment may lack parity.
    pub fn parity_due(&self) -> bool {
        !self.read_only && (self.protect.is_some() || self.bare_member().is_some())
    }

    /// Bytes of the segments that may lack it.
    pub fn bare_bytes(&self) -> u64 {
        self.members.iter().filter(|member| self.is_bare(member)).count() as u64
            * u64::from(self.superblock.segment_bytes)
    }

    /// The newest segment that may lack it.
    fn bare_member(&self) -> Option<usize> {
        self.members.iter().rposition(|member| self.is_bare(member))
    }

    /// Whether the segment is sealed, and durable so, and not known to have parity.
    fn is_bare(&self, member: &Member) -> bool {
        // As long as the one that follows is not durable, this one's end is not either.
        let sealed = member.end.is_some() && member.sequence < self.end.sequence;
        let emptied = self.victim.is_some_and(|victim| victim.sequence() == member.sequence);
        let stays = !emptied && !self.is_leaving(member.index);
        self.superblock.columns() > 0 && !member.protected && sealed && stays
    }

    /// The next step of parity. To be given back with [`Journal::protected`], before the next batch.
    pub fn next_protect(&mut self) -> Option<Protect> {
        let begun = self.protect.take().filter(|begun| {
            let member = self.member(begun.header.sequence).and_then(|at| self.members.get(at));
            member.is_some_and(|member| !self.is_leaving(member.index))
        });
        if begun.is_some() && !self.read_only {
            return begun;
        }
        let member = self.members.get(self.bare_member()?).filter(|_| !self.read_only)?;
        let header = SegmentHeader {
            sequence: member.sequence,
            incarnation: member.incarnation,
            index: member.index,
            first_position: member.first,
            ..SegmentHeader::default()
        };
        Some(Protect::new(&self.superblock, &header, member.end?))
    }

    /// What has become of a step.
    pub fn protected(&mut self, protect: Protect) {
        if !protect.is_done() {
            self.protect = Some(protect);
        } else if let Some(at) = self.member(protect.header.sequence)
            && let Some(member) = self.members.get_mut(at)
        {
            member.protected = true;
        }
    }
}
