//! The append-only log on a device: frames in segments. This page is the on-disk specification, [`FORMAT`] 1.
//!
//! Everything that the box must remember is a frame here, and nothing lies elsewhere. This layer knows how bytes survive;
//! it refuses to know what they mean: records are opaque, and so is what a body says.
//!
//! All numbers are little-endian and unsigned. Offsets and lengths are bytes. A *block* is 4096 bytes. CRC is CRC-32C (Castagnoli).
//! *Hash* is SipHash-2-4 with the store's key: frames are keyed because mail bodies are chosen by strangers and lie between them.
//!
//! # The device
//! | where | what |
//! |---|---|
//! | block 0, block 1 | the superblock, twice; either one suffices, and where they differ block 0 counts |
//! | block 2, block 3 | the mark, twice: how far segments have ever been used |
//! | block 4 to the first segment | reserved |
//! | (n + 1) · segment_bytes | segment n, for n from 0 to segment_count − 1: aligned to its own size, as flash likes it. At most 29760 |
//!
//! The device is never zero-filled: without a header of this store old bytes mean nothing.
//!
//! # Superblock (64 bytes, the rest of its block is 0)
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | `Postfach` |
//! | 8 | 4 | format number, 1 |
//! | 12 | 4 | 0 |
//! | 16 | 8 | store number, random |
//! | 24 | 16 | key, random; never printed |
//! | 40 | 4 | segment_bytes: whole blocks, 16 KiB to 4 MiB |
//! | 44 | 4 | segment_count |
//! | 48 | 4 | where the UIDVALIDITY counter starts: random, 1 to 2³¹ − 1 |
//! | 52 | 8 | 0 |
//! | 60 | 4 | CRC of bytes 0 to 59 |
//!
//! Written once, by `format`: copy 0, flush, copy 1, flush. An older store's copies are both zeroed and flushed before.
//!
//! # Mark (24 bytes, the rest of its block is 0)
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | `PostfUse` |
//! | 8 | 4 | no segment of this index or a higher one has ever been used |
//! | 12 | 4 | 0 |
//! | 16 | 8 | hash of bytes 0 to 15 |
//!
//! Raised, both copies with one flush, before the first segment behind it is written to. Where neither copy is good every segment may have been used.
//!
//! # Segment
//! Two equal header blocks, then frames from offset 8192 on; at the end room for parity, and from there towards the frames, summaries. A segment
//! is written from front to back, once, under one *incarnation*;
//! taken into use again it gets another, and its old frames are noise from then on. Header blocks are written together with the
//! segment's first frames: a new segment costs no flush. There are two because nothing else vouches for the newest segment.
//!
//! | at | size | field of a header block |
//! |---|---|---|
//! | 0 | 128 | this segment's header |
//! | 128 | 128 | a copy of the header of the segment that this one follows; 0 in the first one |
//! | 256 | 64 | a copy of the superblock, for a store that has lost both |
//! | 320 | 3776 | the members: a bit for each segment that belongs to the journal, with this one; the lowest bit of a byte first |
//!
//! The last 8 bytes of each sector of 512 bytes, but the first, are not of the list: they are the incarnation. A medium writes sectors, not
//! blocks: without that a torn header, which no opening has seen, could become whole when what was missing of it is written for the segment's
//! next use.
//!
//! | at | size | field of a header |
//! |---|---|---|
//! | 0 | 8 | `PostfSeg` |
//! | 8 | 8 | sequence: the order in which segments were taken into use, from 1, store-wide |
//! | 16 | 8 | incarnation: random, never twice |
//! | 24 | 8 | position of the first frame |
//! | 32 | 8 | position that was durable when this was written |
//! | 40 | 4 | index of the segment: a header in a wrong place is none |
//! | 44 | 4 | number of the opening that wrote it, from 1 |
//! | 48 | 8 | follows: sequence of the segment before; 0: this is the first one |
//! | 56 | 8 | follows: its incarnation |
//! | 64 | 8 | follows: position of the last frame before this segment |
//! | 72 | 8 | follows: tag of that frame; 0: it is lost |
//! | 80 | 4 | follows: index of the segment before |
//! | 84 | 4 | bit 0: nothing lies behind the followed place, the next frame did not fit; bit 1: the first frame is one change with the one before |
//! | 88 | 8 | hash of the members |
//! | 96 | 8 | the newest whole snapshot: position of its first frame; 0: there is none |
//! | 104 | 8 | sequence of the oldest segment that is read with it |
//! | 112 | 8 | uses of the members: XOR of the hash of each one's index (4 bytes), sequence and incarnation |
//! | 120 | 8 | hash of bytes 0 to 119 |
//!
//! # Frame
//! A header and a payload. A frame begins at a multiple of 8 and lies in one segment. Frames of one batch (what one flush makes durable)
//! follow each other; a batch begins on a fresh block, so a block that may have been acknowledged is never written again; bytes between are 0.
//!
//! | at | size | field of a frame's header |
//! |---|---|---|
//! | 0 | 2 | F5 70 |
//! | 2 | 1 | version of this header, 1 |
//! | 3 | 1 | kind |
//! | 4 | 2 | flags: how the payload is packed, 0: it is as it came |
//! | 6 | 2 | piece of the body, from 0; what a portion of a snapshot holds; else 0 |
//! | 8 | 4 | bytes of the payload as it is stored, at most 128 KiB |
//! | 12 | 4 | account; number of the portion of a snapshot, from 0 |
//! | 16 | 8 | position: 1 for the store's first frame, then one more for each; an opening may leave a gap, always at a segment's beginning |
//! | 24 | 8 | a record's serial; the body id of a body or structure; the sequence that an end is about; position of a snapshot's first frame |
//! | 32 | 8 | position that was durable when this was written |
//! | 40 | 4 | number of the opening |
//! | 44 | 4 | CRC of the payload as it is stored |
//! | 48 | 8 | tag of the frame before, also over segments |
//! | 56 | 8 | tag: hash of the segment's incarnation and bytes 0 to 55 |
//!
//! Kinds: 1 body (a piece of a message), 2 structure (its parse), 3 record (a fact), 5 a portion of a snapshot, 6 witness (no payload: only its
//! claim that all before
//! it is durable), 9 end (the position, 8 bytes, of the last frame of a segment whose follower has been freed).
//! A frame of another kind or with other flags, and with a good tag, is stepped over: it is no damage.
//!
//! # Packed payload
//! Of bodies and structures; each by itself, and only where it makes them smaller. Flag 1: LZ4. Flag 2: lines. Both: lines first, then LZ4.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | bytes of what was packed, at most 64 KiB: known without unpacking |
//! | 4 | to the end | with flag 1 an LZ4 block (without its frame format) of what follows, else what follows |
//!
//! Without flag 2 that is the piece. With it, it is sections, of which each stands for a text that is not base64 and a run of lines that are:
//!
//! | at | size | field of a section |
//! |---|---|---|
//! | 0 | 2 | bytes of text, t |
//! | 2 | 2 | lines, n |
//! | 4 | 1 | groups of four letters in each of these lines, g |
//! | 5 | t | the text |
//! | 5 + t | 3 · g · n | what the lines stand for (RFC 4648 §4, without padding); each ends with CRLF |
//!
//! What does not unpack to exactly as many bytes as it says is damaged, as if its CRC did not fit; [`verify`] unpacks everything.
//!
//! # Summary
//! What a stretch of a segment's frames says, without the bytes of messages: a cache outside the chain of frames. Only in segments of at least
//! 64 KiB. A stretch ends with the frame that makes it segment_bytes / 8 long (256 KiB at least; half a segment that is smaller than that), and
//! where the segment is left because the next frame does not fit; its summary is written with the batch of its last frame, whole blocks, the
//! first one right before the room for parity and each further one before it. Room for it is kept as the stretch grows; but in segments of
//! 256 KiB up to less than 1 MiB it is left out where there is none. *number* is a variable-length one, 7 bits a byte, the lowest first.
//!
//! | at | size | field of a summary |
//! |---|---|---|
//! | 0 | 4 + 4 | where the stretch begins and ends, bytes from the segment's beginning |
//! | 8 | | entries, one for each frame in its order |
//! | | | 0 up to the trailer |
//! | end − 64 | 8 | `PostfSum` |
//! | end − 56 | 4 | bytes before the zeros |
//! | end − 52 | 4 | CRC of those |
//! | end − 48 | 8 + 8 | position of the first and of the last frame |
//! | end − 32 | 8 | position that was durable when this was written |
//! | end − 24 | 8 | tag of the last frame |
//! | end − 16 | 4 | number of the opening |
//! | end − 12 | 1 | bit 0: there are no entries (below); bit 1: it is the last summary of its segment |
//! | end − 11 | 3 | 0 |
//! | end − 8 | 8 | hash of the segment's incarnation, of where the summary ends in the segment (8 bytes), and of the trailer's bytes 0 to 55 |
//!
//! There are no entries where they would not fit one block and take more than an eighth of the frames, or where not all are known because the
//! store has been opened meanwhile. An entry: a byte (bits 0 to 5: kind; 6: flags and piece follow, as numbers; 7: the frame begins on the next
//! block, not right behind the one before it); of a record or a snapshot the account; the number of a body or structure less that of the one
//! before, any other number less that of the one before (64 bits, wrapping; up and down folded: 0, −1, 1, −2 … are 0, 1, 2, 3 …); bytes of the
//! payload; of a record or an end the payload itself.
//!
//! # Parity
//! Of a sealed segment, so that a loss of some blocks in a row can be made good: in segments of at least 1 MiB, where a 64th of the blocks, L, is
//! XOR and one more its head, the segment's last block. Block number b of the segment is in column b mod L. The L blocks before the head are each
//! the XOR of their own column's covered blocks: so a run of at most L blocks, wherever it begins, has no two of one column, and is made good.
//! Covered are the blocks from the headers to the last frame, and those of the summaries; what lies between was not written.
//!
//! | at | size | field of the head |
//! |---|---|---|
//! | 0 | 8 | `PostfPar` |
//! | 8 | 4 + 4 | number of the block behind the last frame, and of the first one of summaries |
//! | 16 | 8 | position of the last frame |
//! | 24 | 8 | 0 |
//! | 32 | 4 · n | CRC of each block up to the first one of XOR, in their order; 0 of what is not covered |
//! | | | 0 up to the hash |
//! | 4088 | 8 | hash of the segment's incarnation, and of bytes 0 to 4087 |
//!
//! Made when the committer has nothing else to do, 64 KiB a step, of what it has just verified; one write, no flush of its own, never on the way to
//! an answer. Nothing depends on it: half-written, old or missing it makes nothing good, and is made again. A block is believed when the head's hash,
//! the block's CRC, and then the hashes of the frames in it agree. Who meets a bad block in a sealed segment (an opening, a fetch, compaction,
//! [`verify`]) goes on with what is rebuilt, and says so; [`repair()`] writes it back.
//!
//! *What it costs* (segments of 4 MiB, L = 16: 64 KiB in a row can be lost, or any bad block by itself):
//!
//! | | |
//! |---|---|
//! | room, and bytes written once a segment | 17 of 1024 blocks, 1.66 %; no flush, nothing on the way to an answer |
//! | compaction, where every mailbox is full | less room, 2 % more writing: 2.41 instead of 2.36 bytes a byte (simulated, 180 segments of 1 MiB) |
//! | processor, of a PC | 1.2 ms a MiB to verify and to make it; 0.5 ms a MiB to use it, or to check it |
//! | memory | 0.3 MiB while it is made or used |
//! | opening | the same reads; one block more of a segment whose follower has been freed, where its frames' end is looked for |
//! | a fetch of something rotten | reads its whole segment |
//! | program | 48 KiB |
//!
//! It is worth it: a page of a card that goes bad is the ordinary way to lose mail, and a store that is not full pays 1.7 % for getting it
//! back. Below 1 MiB it is not: of segments of 256 KiB two blocks of 64 are 3 %, and such stores have less than 64 MiB.
//!
//! # Snapshot
//! Portions, each a frame, all with the position of the first one as their number, numbered from 0 on, in any mixture with other frames:
//!
//! | piece | payload of the portion |
//! |---|---|
//! | 0 | a serial (8 bytes), then what a record frame's payload is: some of what was true, as compaction says it |
//! | 1 | places of bodies (below) |
//! | 2 | segments that are not read: sequence, last position, bytes of records, of frames, of summaries |
//! | 3 | nothing: it is whole, and this portion's number says how many there are before it |
//!
//! Places are numbers. For each body: its number less that of the one before, times 8, plus 1 if its first piece, 2 if its structure, 4 if further
//! pieces have places here; then those, the further ones after how many there are. A place is 0 for none, else 1 + its distance over 8 (folded) from
//! where the frame of the place before ends; and the bytes of its payload.
//!
//! # What a power cut can leave
//! - **S1** the frame is absent: nothing happened, and nobody was told.
//! - **S2** the frame is torn: the same.
//! - **S3** the frame is whole, and its flush had not returned: it happened or it did not; nobody was told. Recovery decides, once, by what it finds.
//! - **S4** the frame is whole and flushed: it happened, and someone may have been told.
//! - **S5** a body lives in two segments, and what a record says in two records: compaction has copied it and not freed the first. The last one
//!   counts.
//!
//! # What recovery decides, and why
//! 1. *Headers.* Of the segments before the mark, the better of each one's two copies; hash, index and key must fit. The first copy may be of
//!    an earlier use, where the newer one has not arrived, and the second has. So the second one is read, too, but of segments of which it
//!    is known better: the first copies of all members are of the uses that the newest header means; and all headers name the segment,
//!    from the newest on that is known to have been durable (some header claims its first position). The headers of one torn batch agree with each
//!    other, though a later batch has used their segments again; but the last header that really was durable is among those asked, and no segment
//!    that it names has been written over. The cache is forgotten before anything is read: a page whose write-back has failed looks well
//!    there.
//! 2. *The chain.* The newest header names the members; their sequences are their order, and each says where the one before it ends.
//!    This is a declaration, not an inference: what lies behind a place that was followed, and segments that are not named, were abandoned
//!    (by a recovery that cut a torn tail, or by a failed flush) or freed, however whole they look.
//!    A header names no segment any more for which all that freed it was durable before the header was written; so it is true also where
//!    its own batch is torn. And a freed segment is written over only when such a header is durable: until then its old content is
//!    there for an older header. (`reclaim` has the rest of the argument.)
//!    A torn batch can leave a header that names segments of the same batch of which nothing has arrived, and which still say what they said
//!    when they were freed. So one more header is asked: the newest that is known to have been durable (some header claims its first position).
//!    What has a sequence up to that one's and is not named by it had been freed, and is no member, nor is a copy of its header; nor is what has
//!    a lower sequence than another header says its segment has.
//!    If a member's header is gone, the copy in the segment that followed it replaces it, provided that the copy's first frame stands there:
//!    the copy may be older than the segment's last use. If there is none, the segment is lost, and is reported.
//!    A member whose follower has been freed ends with its last frame; an end frame says which that was.
//! 3. *Frames*, along the chain. The next frame stands where the last one ended, or on the next block; it has the next position, and names the
//!    tag before it. (What parity can make good of a segment that another one
//!    follows is read as if it were there.)
//!    Where it does not, or its payload's CRC is wrong, one question is asked: **does anything say that this position was durable?**
//!    Every header, of segments and of frames, carries such a claim, and a true claim stays true, so all that can be read is asked.
//!    - Yes: an acknowledged frame is lost or rotten. All that follows is kept, and the loss is reported, at this and at every later opening.
//!    - No: the tail is torn. It is cut here; what lies behind was never acknowledged and is abandoned.
//!
//!    *By summaries.* Frames that a summary tells of are not read where the summary's last position is known to have been durable, and is not
//!    behind the place where the segment is said to end: then the summary was written with them, and is as old as they are. A torn batch or a
//!    failed write can leave a summary of frames that do not count; that is how it is told apart. Rot in frames that are not read is found by a
//!    fetch, by compaction or by [`verify`]; a record whose frame is rotten and whose summary is good is made good, and [`verify`] says so.
//!    In the last segment frames behind a bad place are searched as far as acknowledged ones can lie there: where there
//!    are more of them than a stretch, there is a summary of them.
//!    *By a snapshot.* The newest header names it. Segments older than those that are read with it are not read; its records are facts like
//!    others, in their
//!    order; its places count where no frame that has been read says another. If anything of it is missing or rotten, everything is forgotten, and
//!    read again without it. It is named when its end is durable, and no longer when one of its segments is about to be freed; nothing depends
//!    on that.
//!
//!    What the device cannot read (twice) counts as acknowledged: it is no torn tail, and a cut there could drop what is whole behind it.
//!    A body's or structure's payload is read only where no segment header covers its position; elsewhere a fetch or [`verify`] finds rot.
//!    What cannot be found out: rot in the newest batch, as long as nothing has been written after it, looks torn. A witness is
//!    written after it when the log has been idle for some seconds, also since an opening, and when the store is closed in order: never on
//!    the way to an answer. And the loss of both copies of the newest segment's header, 8 KiB in a row: then the segment before looks like the
//!    newest one, until another one follows.
//! 4. *Going on.* A flush, so that what was read (S3) is durable before it is served. Nothing else is written: opening changes nothing.
//!    The first batch opens a fresh segment that follows the last frame kept, with the next opening's number and a position above all seen.
//!    So a stale frame behind a cut can never come back: it is behind a followed place, in a segment that no new frame will enter.
//!    Only where the last frame is a witness, with nothing of its segment behind it (and all of that has been looked at) and no higher position
//!    anywhere,
//!    was the store closed in order: then there is no stale frame, and the first batch goes on in that segment, on the next block.
//!
//! A failed write or flush acknowledges nothing. The batch is written again into a fresh segment that follows the last durable frame;
//! if that fails too the journal is read-only.

use std::fmt;
use std::io;

use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, BodyId, Position, Serial};

mod batch;
mod catalogue;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod headers;
mod index;
mod mark;
mod parity;
mod payload;
mod places;
mod protect;
mod reclaim;
mod recovery;
mod repair;
mod report;
mod retell;
mod room;
mod segment;
mod snapshot;
mod summary;
mod superblock;
mod survey;
mod tail;
mod window;
mod word;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use frame::Kind;
pub use index::{Extent, ReadError, Source};
pub use payload::Payload;
pub use protect::Protect;
pub use reclaim::{Portion, Pressure, Taken};
pub use repair::{Repaired, repair};
pub use report::{Cut, Lost, LostFrame, Report};
pub use superblock::{Format, FormatError, Superblock, format, is_store, raw_bytes};
pub use survey::{Survey, Surveyed, survey};
pub use tail::Journal;

/// The number of the format that this page describes.
pub const FORMAT: u32 = 1;
/// Where the frames of a segment begin: behind the two copies of its header, bytes.
const SEGMENT_START: u64 = 2 * BLOCK_BYTES as u64;
/// Fewest segments of a store: the reserves, and some to write to.
const MINIMUM_SEGMENTS: u32 = 8;

/// A record, as [`Journal::open`] finds it.
#[derive(Debug)]
pub struct Found<'a> {
    /// Whose it is.
    pub account: AccountId,
    /// Where it stands in the order of writing.
    pub position: Position,
    /// Which change it is.
    pub serial: Serial,
    /// What the store wrote.
    pub payload: &'a [u8],
}

/// What an opening shows, in its order.
#[derive(Debug)]
pub enum Event<'a> {
    /// A record.
    Record(Found<'a>),
    /// What has been shown counts for nothing: it begins again, without the snapshot.
    Forget,
}

/// Why a frame was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// No segment is left for it. Records are refused later than bodies, so that a full store can still expunge.
    Full,
    /// Writing has failed twice.
    ReadOnly,
    /// Larger than a frame of this store can be.
    TooLarge,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendError::Full => "the store is full",
            AppendError::ReadOnly => "the store is read-only, because writing to it has failed",
            AppendError::TooLarge => "too large for a frame of this store",
        })
    }
}

impl std::error::Error for AppendError {}

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The device failed.
    Io(io::Error),
    /// Neither superblock is one.
    NoStore,
    /// A store of this other format.
    Format(u32),
    /// The device is smaller than the store says.
    Truncated,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(error) => write!(f, "the device failed: {error}"),
            OpenError::NoStore => write!(f, "there is no store"),
            OpenError::Format(format) => write!(f, "a store of format {format}; this program knows {FORMAT}"),
            OpenError::Truncated => write!(f, "smaller than the store that it holds"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::Io(error)
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is durable; the accounts that its records touch, ascending.
    Durable {
        /// Each once.
        accounts: Vec<AccountId>,
    },
    /// Writing failed once: the frames are pending again, and the next batch tries elsewhere.
    Again,
    /// Writing failed again: everything behind [`Journal::durable`] is lost, and the journal is read-only for good.
    Failed,
}

/// How full a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of all segments.
    pub raw_bytes: u64,
    /// Bytes of segments in use, without the rest of the one being written.
    pub used_bytes: u64,
    /// Segments that can still be taken, with the reserves.
    pub free_segments: u32,
    /// Bytes of frames that are still needed, of bodies and structures. Records are not among them.
    pub live_bytes: u64,
}

/// Reads everything, and checks every frame's payload, from the medium. Changes nothing.
pub fn verify(device: &dyn Device) -> Result<Report, OpenError> {
    examine(device, &mut |_| {}).map(|(report, _)| report)
}

/// As [`verify`]; shows the records on the way, and what there is of bodies.
pub fn examine(device: &dyn Device, visit: &mut dyn FnMut(Found<'_>)) -> Result<(Report, Bodies), OpenError> {
    let mut visit = |event: Event<'_>| {
        if let Event::Record(found) = event {
            visit(found);
        }
    };
    read(device, Trust::Nothing, &mut visit)
}

/// What is believed instead of being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A snapshot, and summaries: as a store is opened.
    Snapshot,
    /// Summaries.
    Summaries,
    /// Nothing: every frame is read, and verified.
    Nothing,
}

/// Reads a store in one of the ways that must give the same. Changes nothing.
pub fn read(
    device: &dyn Device,
    trust: Trust,
    visit: &mut dyn FnMut(Event<'_>),
) -> Result<(Report, Bodies), OpenError> {
    let mut index = index::Index::default();
    let (_, recovered) = tail::recover(device, &mut index, visit, trust, u64::MAX)?;
    Ok((recovered.report, Bodies(index)))
}

/// CRC-32C of bytes that go on from those with this one; 0: from nothing.
pub fn checksum(before: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(before, bytes)
}

/// Which frames of bodies a check has found, damaged ones too.
pub struct Bodies(index::Index);

impl Bodies {
    /// Whether there is this piece of the body.
    pub fn has_piece(&self, body: BodyId, piece: u16) -> bool {
        self.0.find(body, Some(piece)).is_some()
    }

    /// Where a piece lies, or with `None` the structure: bytes on the device.
    #[cfg(test)]
    pub(crate) fn place(&self, body: BodyId, piece: Option<u16>) -> Option<u64> {
        self.0.find(body, piece).map(index::Slot::offset)
    }

    /// Whether there is the body's structure.
    pub fn has_structure(&self, body: BodyId) -> bool {
        self.0.find(body, None).is_some()
    }
}
