//! What one commit writes: frames laid out in segments. Made and ended under the store's lock, written without it.
//!
//! Invariants: a batch begins on a fresh block; a block that an earlier batch has written is never written again; one flush.
//! Memory for writing is one slice, however long the batch.

use std::collections::VecDeque;
use std::io;

use super::frame::{self, Header, Kind};
use super::mark;
use super::payload::Payload;
use super::segment::{End, HeaderBlock, Members, SegmentHeader};
use super::snapshot::Snapshot;
use super::summary::{Draft, Entry};
use super::superblock::Superblock;
use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, Position};

/// A frame that waits for the disk.
pub(super) struct Frame {
    pub kind: Kind,
    pub account: AccountId,
    pub piece: u16,
    /// Serial or body.
    pub number: u64,
    pub position: Position,
    pub payload: Payload,
    /// Compaction's: it says nothing new, and wakes nobody.
    pub copy: bool,
    /// It is one change with the frame before it.
    pub joined: bool,
    /// Where it lies once it is laid out, bytes on the device.
    pub offset: u64,
}

impl Frame {
    pub(super) fn new(
        kind: Kind,
        account: AccountId,
        number: u64,
        piece: u16,
        position: Position,
        payload: impl Into<Payload>,
    ) -> Frame {
        let payload = payload.into();
        Frame { kind, account, piece, number, position, payload, copy: false, joined: false, offset: 0 }
    }

    /// What a summary tells of it.
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            kind: self.kind as u8,
            flags: self.payload.flags(),
            piece: self.piece,
            account: self.account.0,
            number: self.number,
            length: self.payload.len() as u32,
            fresh_block: false,
            payload: &self.payload,
        }
    }
}

/// Frames that lie together in one segment.
pub(super) struct Run {
    /// Of its first byte, on the device.
    pub offset: u64,
    /// For a fresh segment: which one. What it follows is known when the frames before it have their tags.
    pub fresh: Option<Fresh>,
    /// How many of the batch's frames.
    pub frames: usize,
}

/// A segment taken into use.
pub(super) struct Fresh {
    pub index: u32,
    pub sequence: u64,
    pub incarnation: u64,
    pub first_position: Position,
    /// The segment before ends with its last frame, and nothing lies behind.
    pub regular: bool,
    /// It begins in the middle of a change of several frames.
    pub joined: bool,
    /// The segments of the journal, with this one.
    pub members: Members,
    /// The snapshot that is whole.
    pub snapshot: Option<Snapshot>,
    /// Those that are no members any more. They may be used again when this is durable.
    pub freed: Vec<u32>,
}

/// The most that is written at a time, bytes: whole blocks. The system gathers them until the flush.
const SLICE_BYTES: usize = 16 * 1024;

const _: () = assert!(SLICE_BYTES.is_multiple_of(BLOCK_BYTES));

/// A run on its way to the device.
struct Slices<'a> {
    device: &'a dyn Device,
    /// Where what is gathered begins.
    offset: u64,
    buffer: Vec<u8>,
}

impl Slices<'_> {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(SLICE_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() == SLICE_BYTES {
                self.write()?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes what is left, filled up to a whole block.
    fn end(&mut self) -> io::Result<()> {
        self.buffer.resize(self.buffer.len().next_multiple_of(BLOCK_BYTES), 0);
        if self.buffer.is_empty() { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        self.device.write_at(self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// One commit.
pub struct Batch {
    pub(super) superblock: Superblock,
    pub(super) frames: Vec<Frame>,
    pub(super) runs: Vec<Run>,
    /// Segments behind the mark are taken: it is raised to this first.
    pub(super) mark: Option<u32>,
    /// Summaries that these frames make due, in their order.
    pub(super) drafts: VecDeque<Draft>,
    pub(super) opening: u32,
    pub(super) durable: Position,
    /// Before writing: behind what it goes on. After: behind its last frame.
    pub(super) end: End,
    /// The header of the segment that `end` lies in.
    pub(super) segment: Option<SegmentHeader>,
    pub(super) bytes: usize,
}

impl Batch {
    /// Writes everything and makes it durable with one flush. Without the store's lock.
    /// To be called once; [`super::Journal::finish`] must be told the result.
    pub fn write(&mut self, device: &dyn Device) -> io::Result<()> {
        if let Some(mark) = self.mark {
            mark::write(device, &self.superblock, mark)?;
            device.flush()?;
        }
        let mut end = self.end;
        let mut segment = self.segment;
        let capacity = self.largest_run().min(SLICE_BYTES);
        let mut out = Slices { device, offset: 0, buffer: Vec::with_capacity(capacity) };
        let mut frames = self.frames.iter();
        let mut due = self.drafts.iter().peekable();
        let mut summaries = Vec::new();
        let mut finish = |end: &End| {
            while let Some(draft) = due.next_if(|draft| draft.last == end.position) {
                let bytes = draft.finish(&self.superblock, end.tag, self.durable.0, self.opening);
                summaries.push((draft.offset, bytes));
            }
        };
        finish(&end);
        for run in &self.runs {
            out.offset = run.offset;
            if let Some(fresh) = &run.fresh {
                let header = SegmentHeader {
                    sequence: fresh.sequence,
                    incarnation: fresh.incarnation,
                    first_position: fresh.first_position.0,
                    durable: self.durable.0,
                    index: fresh.index,
                    opening: self.opening,
                    follows: end,
                    regular: fresh.regular,
                    joined: fresh.joined,
                    members: fresh.members.hash(&self.superblock.key),
                    snapshot: fresh.snapshot.map_or(0, |snapshot| snapshot.id),
                    snapshot_from: fresh.snapshot.map_or(0, |snapshot| snapshot.from),
                    uses: fresh.members.uses(),
                };
                let block = HeaderBlock { header, before: segment };
                block.write(&fresh.members, &self.superblock, &mut out.buffer);
                block.write(&fresh.members, &self.superblock, &mut out.buffer);
                segment = Some(header);
                end.sequence = header.sequence;
                end.index = header.index;
                end.incarnation = header.incarnation;
            }
            for frame in frames.by_ref().take(run.frames) {
                end.tag = self.encode(frame, &end, &mut out)?;
                end.position = frame.position.0;
                finish(&end);
            }
            out.end()?;
        }
        for (offset, bytes) in summaries {
            device.write_at(offset, &bytes)?;
        }
        device.flush()?;
        self.end = end;
        self.segment = segment;
        Ok(())
    }

    /// Writes a frame; returns its tag.
    fn encode(&self, frame: &Frame, end: &End, out: &mut Slices<'_>) -> io::Result<u64> {
        let header = Header {
            kind: frame.kind as u8,
            flags: frame.payload.flags(),
            piece: frame.piece,
            length: frame.payload.len() as u32,
            account: frame.account.0,
            position: frame.position.0,
            number: frame.number,
            durable: self.durable.0,
            opening: self.opening,
            checksum: frame::checksum(&frame.payload),
            previous: end.tag,
            tag: 0,
        };
        let (bytes, tag) = header.encode(&self.superblock.key, end.incarnation);
        out.push(&bytes)?;
        out.push(&frame.payload)?;
        let written = bytes.len() + frame.payload.len();
        let padding = written.next_multiple_of(frame::ALIGNMENT as usize) - written;
        out.push(&[0; frame::ALIGNMENT as usize][..padding])?;
        Ok(tag)
    }

    /// Bytes of the longest run, so that the buffer is allocated once.
    fn largest_run(&self) -> usize {
        let mut frames = self.frames.iter();
        let bytes = self.runs.iter().map(|run| {
            let head = if run.fresh.is_some() { 2 * BLOCK_BYTES } else { 0 };
            let body: u64 =
                frames.by_ref().take(run.frames).map(|frame| frame::frame_bytes(frame.payload.len())).sum();
            head + (body as usize).next_multiple_of(BLOCK_BYTES)
        });
        bytes.max().unwrap_or(0)
    }
}
