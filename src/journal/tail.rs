//! The journal's end: takes frames, lays them out in batches, says what is durable, and hands out free segments.
//!
//! Sits inside the store's lock: no I/O here but in [`Journal::open`]. Refuses frames before space runs out, never after.
//! Invariants: positions are given in the order of appending and never twice; one batch is in flight at most; a segment that belongs
//! to the chain is never handed out again; after a failed flush nothing goes on in the old place.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::{Batch, Frame};
use super::frame::{self, Key, Kind};
use super::index::{Extent, Index};
use super::mark;
use super::payload::Payload;
use super::protect::Protect;
use super::reclaim::{Leaving, Member, Pressure, Victim};
use super::recovery::{Kept, Recovered, Scan};
use super::room::Cursor;
use super::segment::{End, SegmentHeader};
use super::snapshot::Snapshots;
use super::superblock::{self, Superblock};
use super::{AppendError, Capacity, Event, Finish, OpenError, Report, Trust};
use crate::device::Device;
use crate::limits::BLOCK_BYTES;
use crate::types::{AccountId, BodyId, Position, Serial};

/// An open journal.
pub struct Journal {
    pub(super) device: Arc<dyn Device>,
    pub(super) superblock: Superblock,
    opening: u32,
    /// The highest sequence given to a segment.
    pub(super) sequence: u64,
    /// Where incarnations come from: random per opening, so that no two segments ever share one.
    pub(super) nonce: Key,
    /// By index: the incarnation of each segment that is in use.
    pub(super) incarnations: Vec<Option<u64>>,
    /// The segments of the journal, in their order.
    pub(super) members: Vec<Member>,
    /// Those that hold nothing any more, but are still named by the newest durable header.
    pub(super) leaving: Vec<Leaving>,
    pub(super) snapshots: Snapshots,
    /// Segments from this index on have never been used.
    pub(super) mark: u32,
    /// What compaction is at.
    pub(super) victim: Option<Victim>,
    /// Compaction has begun, and goes on until more than just enough is free.
    pub(super) reclaiming: bool,
    /// The parity that is being made.
    pub(super) protect: Option<Protect>,
    /// Segments freed since the opening.
    pub(super) freed: u64,
    /// Those of which the device has not been told yet.
    pub(super) discardable: Vec<u32>,
    /// The next batch takes a fresh segment, whatever is left in this one.
    pub(super) relieve: bool,
    /// A record or a copy has been refused that a fresh segment would take.
    pub(super) wanted: bool,
    /// Segments that may be taken, in this order.
    pub(super) free: VecDeque<u32>,
    /// Segments of a batch that failed: taken when there is nothing else.
    pub(super) suspect: Vec<u32>,
    /// Behind the last durable frame, and the header of the segment that it lies in.
    pub(super) end: End,
    segment: Option<SegmentHeader>,
    /// Where the next batch goes; `None`: into a fresh segment.
    pub(super) cursor: Option<Cursor>,
    /// As `cursor`, behind everything that is pending; and fresh segments that will be needed.
    pub(super) plan: Option<Cursor>,
    pub(super) claimed: usize,
    pub(super) pending: Vec<Frame>,
    pub(super) pending_bytes: usize,
    pub(super) in_flight: bool,
    pub(super) last: Position,
    pub(super) durable: Position,
    /// The last witness that is durable.
    witnessed: Position,
    failed_once: bool,
    pub(super) read_only: bool,
    pub(super) index: Index,
    /// The last segment that `prepare_ahead` told of.
    prepared: AtomicU64,
}

impl Journal {
    /// Reads a store. `visit` sees every record in its order; bodies and structures go into the index.
    /// Writes nothing, but ends with a flush: what was read is durable when this returns.
    pub fn open(
        device: Arc<dyn Device>,
        random: &mut dyn FnMut(&mut [u8]),
        visit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Journal, Report), OpenError> {
        let mut index = Index::default();
        let (superblock, recovered) = recover(device.as_ref(), &mut index, visit, Trust::Snapshot, u64::MAX)?;
        device.flush()?;
        let mut nonce = [0; 16];
        random(&mut nonce);
        Ok(Journal::new(device, superblock, recovered, Key::new(nonce), index))
    }

    fn new(
        device: Arc<dyn Device>,
        superblock: Superblock,
        recovered: Recovered,
        nonce: Key,
        index: Index,
    ) -> (Journal, Report) {
        let count = superblock.segment_count;
        let mut incarnations = vec![None; count as usize];
        for Kept { header, .. } in &recovered.chain {
            if let Some(slot) = incarnations.get_mut(header.index as usize) {
                *slot = Some(header.incarnation);
            }
        }
        let headers = || recovered.chain.iter().map(|kept| kept.header);
        let segment = headers().rfind(|header| header.is(&recovered.end));
        let cursor = recovered.closed;
        let plan = cursor.clone();
        let after = headers().next_back().map_or(0, |header| header.index + 1);
        let free = (0..count).map(|step| ((u64::from(after) + u64::from(step)) % u64::from(count)) as u32);
        let unused = |index: &u32| {
            incarnations.get(*index as usize) == Some(&None) && !recovered.leaving.contains(index)
        };
        // What has never been used comes last: its headers need not be read.
        let (old, new): (Vec<u32>, Vec<u32>) = free.filter(unused).partition(|index| *index < recovered.mark);
        let free = old.into_iter().chain(new).collect();
        let members = recovered.chain.iter().map(Member::of).collect();
        let leaving =
            recovered.leaving.iter().map(|index| Leaving { index: *index, after: Position(0) }).collect();
        let journal = Journal {
            device,
            opening: recovered.report.opening,
            sequence: recovered.sequence,
            nonce,
            incarnations,
            members,
            leaving,
            snapshots: recovered.snapshots,
            mark: recovered.mark,
            victim: None,
            reclaiming: false,
            protect: None,
            relieve: false,
            wanted: false,
            freed: 0,
            discardable: Vec::new(),
            free,
            suspect: Vec::new(),
            segment,
            end: recovered.end,
            // Deliberate: after anything but a closing in order the segment's rest is given up, so that a stale frame behind a cut
            // tail stays dead.
            cursor,
            plan,
            claimed: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            in_flight: false,
            last: Position(recovered.position),
            durable: Position(recovered.position),
            witnessed: Position(if recovered.witnessed { recovered.position } else { 0 }),
            failed_once: false,
            read_only: false,
            index,
            prepared: AtomicU64::new(u64::MAX),
            superblock,
        };
        (journal, recovered.report)
    }

    /// Reads the store again, as far as it is durable: for a state that is made anew after writing has failed. `visit` sees those records;
    /// the index is made anew with them, and holds nothing. No flush: what is durable has been flushed.
    pub fn read_again(&mut self, visit: &mut dyn FnMut(Event<'_>)) -> Result<(), OpenError> {
        // Also of bodies: a copy that was not durable must not take the place of the one that is.
        let mut index = Index::default();
        recover(self.device.as_ref(), &mut index, visit, Trust::Snapshot, self.durable.0)?;
        self.index = index;
        Ok(())
    }

    /// What the store says of itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The device, for reading extents.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Takes a record. It is durable when [`Journal::durable`] reaches the position returned.
    pub fn append_record(
        &mut self,
        account: AccountId,
        serial: Serial,
        payload: Vec<u8>,
    ) -> Result<Position, AppendError> {
        self.append(Kind::Record, account, serial.0, 0, payload, false)
    }

    /// Takes a piece of a message. The body is forgotten again when it is released, or by [`Journal::drop_unheld`].
    pub fn append_body(
        &mut self,
        account: AccountId,
        body: BodyId,
        piece: u16,
        payload: impl Into<Payload>,
    ) -> Result<Position, AppendError> {
        let position = self.append(Kind::Body, account, body.0, piece, payload, false)?;
        self.index.expect(body);
        Ok(position)
    }

    /// Takes a message's structure.
    pub fn append_structure(
        &mut self,
        account: AccountId,
        body: BodyId,
        payload: impl Into<Payload>,
    ) -> Result<Position, AppendError> {
        let position = self.append(Kind::Structure, account, body.0, 0, payload, false)?;
        self.index.expect(body);
        Ok(position)
    }

    /// Whether nothing has been written since the last witness.
    pub fn is_witnessed(&self) -> bool {
        self.last <= self.witnessed
    }

    /// Takes a witness, if anything has been written since the last one: to be committed when the log falls idle, and when the store is closed
    /// in order. From then on a rotten newest frame is not mistaken for a torn one, and the next opening goes on in the same segment.
    pub fn append_witness(&mut self) -> Result<(), AppendError> {
        if !self.is_witnessed() {
            self.append(Kind::Witness, AccountId(0), 0, 0, Vec::new(), false)?;
        }
        Ok(())
    }

    /// Bytes of frames appended and not yet durable, also those in flight.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// The last position given.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Everything up to here survives a power cut.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Whether nothing is taken any more, because writing has failed twice.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Everything pending, laid out. `None`: nothing is pending, or a batch is in flight.
    pub fn take(&mut self) -> Option<Batch> {
        if self.in_flight || self.read_only || self.pending.is_empty() {
            return None;
        }
        let mut frames = std::mem::take(&mut self.pending);
        let (runs, drafts) = self.lay_out(&mut frames);
        let highest = runs.iter().filter_map(|run| run.fresh.as_ref()).map(|fresh| fresh.index).max();
        let mark =
            highest.filter(|index| *index >= self.mark).map(|index| mark::above(index, &self.superblock));
        self.in_flight = true;
        Some(Batch {
            superblock: self.superblock.clone(),
            bytes: frames.iter().map(|frame| frame::frame_bytes(frame.payload.len()) as usize).sum(),
            frames,
            runs,
            drafts,
            mark,
            opening: self.opening,
            // Deliberate: not `self.durable`, which after an opening also counts positions that were cut off. A claim must be true for ever.
            durable: Position(self.end.position),
            end: self.end,
            segment: self.segment,
        })
    }

    /// Ends a batch: `result` is what [`Batch::write`] returned.
    pub fn finish(&mut self, batch: Batch, result: io::Result<()>) -> Finish {
        self.in_flight = false;
        match result {
            Ok(()) => self.succeed(batch),
            Err(_) if self.failed_once => self.fail(),
            Err(_) => self.again(batch),
        }
    }

    fn succeed(&mut self, batch: Batch) -> Finish {
        self.failed_once = false;
        self.end = batch.end;
        self.segment = batch.segment;
        self.mark = batch.mark.unwrap_or(self.mark);
        self.durable = Position(batch.end.position);
        self.pending_bytes -= batch.bytes;
        let mut accounts = Vec::new();
        for frame in &batch.frames {
            self.count_frame(frame);
            match frame.kind {
                Kind::Record => {
                    accounts.extend((!frame.copy).then_some(frame.account));
                }
                Kind::Witness => self.witnessed = frame.position,
                Kind::End | Kind::Snapshot => {}
                Kind::Body | Kind::Structure => {
                    let slot = super::index::Slot::new(frame.offset, frame.payload.len());
                    self.index.insert(frame.kind, BodyId(frame.number), frame.piece, slot);
                }
            }
        }
        for draft in &batch.drafts {
            self.count_summary(draft.offset, draft.bytes());
        }
        for fresh in batch.runs.iter().filter_map(|run| run.fresh.as_ref()) {
            fresh.freed.iter().for_each(|index| self.free_again(*index));
        }
        self.reclaiming = self.pressure() > Pressure::None;
        accounts.sort_unstable();
        accounts.dedup();
        Finish::Durable { accounts }
    }

    /// After the first failure: the same frames, with the same positions, go into a fresh segment that follows the last durable frame.
    fn again(&mut self, batch: Batch) -> Finish {
        self.failed_once = true;
        for fresh in batch.runs.iter().filter_map(|run| run.fresh.as_ref()) {
            self.suspect.push(fresh.index);
            self.members.retain(|member| member.sequence != fresh.sequence);
            if let Some(slot) = self.incarnations.get_mut(fresh.index as usize) {
                *slot = None;
            }
        }
        let later = std::mem::replace(&mut self.pending, batch.frames);
        self.pending.extend(later);
        self.cursor = None;
        self.plan_again();
        if self.claimed > self.free.len() + self.suspect.len() {
            return self.fail();
        }
        Finish::Again
    }

    fn fail(&mut self) -> Finish {
        self.read_only = true;
        self.pending = Vec::new();
        self.pending_bytes = 0;
        Finish::Failed
    }

    /// Where a piece lies, once it is durable.
    pub fn find(&self, body: BodyId, piece: u16) -> Option<Extent> {
        self.extent(Kind::Body, body, Some(piece))
    }

    /// Where a message's structure lies, once it is durable.
    pub fn find_structure(&self, body: BodyId) -> Option<Extent> {
        self.extent(Kind::Structure, body, None)
    }

    fn extent(&self, kind: Kind, body: BodyId, piece: Option<u16>) -> Option<Extent> {
        let slot = self.index.find(body, piece)?;
        let segment = (slot.offset() / u64::from(self.superblock.segment_bytes)).checked_sub(1)?;
        let segment = u32::try_from(segment).ok()?;
        let incarnation = (*self.incarnations.get(segment as usize)?)?;
        let superblock = self.superblock.clone();
        Some(Extent { slot, kind, body, piece: piece.unwrap_or(0), segment, incarnation, superblock })
    }

    /// One more use of the body.
    pub fn hold(&mut self, body: BodyId) {
        self.index.hold(body);
    }

    /// One use less. With the last one the body is forgotten: its bytes are dead. Also ends a body that was never held.
    pub fn release(&mut self, body: BodyId) {
        self.index.release(body);
    }

    /// Whether there are frames of the body.
    pub fn knows(&self, body: BodyId) -> bool {
        self.index.knows(body)
    }

    /// Forgets a body, unless something holds it.
    pub fn forget(&mut self, body: BodyId) {
        self.index.forget(body);
    }

    /// Forgets bodies that nothing holds: to be called once, when the records that were read hold theirs.
    /// They are messages whose client went away in the middle. Returns how many there were.
    pub fn drop_unheld(&mut self) -> usize {
        self.index.drop_unheld()
    }

    /// The highest body id of any frame of the journal, also of bodies forgotten again: a new one must lie above it.
    pub fn highest_body(&self) -> BodyId {
        self.index.highest()
    }

    /// How full it is.
    pub fn capacity(&self) -> Capacity {
        let segment_bytes = u64::from(self.superblock.segment_bytes);
        let used = self.incarnations.iter().flatten().count() as u64 * segment_bytes;
        Capacity {
            raw_bytes: u64::from(self.superblock.segment_count) * segment_bytes,
            used_bytes: used - self.cursor.as_ref().map_or(0, |at| segment_bytes - at.offset),
            free_segments: (self.free.len() + self.suspect.len()) as u32,
            live_bytes: (0..self.superblock.segment_count).map(|index| self.index.live_bytes(index)).sum(),
        }
    }

    /// The range of the segment that will be taken next, offset and length, told once: [`Device::prepare`] for it, in the background,
    /// spares the commit that first writes there.
    pub fn prepare_ahead(&self) -> Option<(u64, u64)> {
        let index = *self.free.front()?;
        let told = self.prepared.swap(u64::from(index), Ordering::Relaxed);
        let range = (self.superblock.base(index), u64::from(self.superblock.segment_bytes));
        (told != u64::from(index)).then_some(range)
    }
}

/// Finds the store on a device and scans it.
pub(super) fn recover(
    device: &dyn Device,
    index: &mut Index,
    visit: &mut dyn FnMut(Event<'_>),
    trust: Trust,
    until: u64,
) -> Result<(Superblock, Recovered), OpenError> {
    // A page whose writing failed is still in the cache, and looks well there.
    device.forget_cache(0, device.size());
    let (superblock, copies) = match superblock::read(device)? {
        superblock::Found::Store(superblock, copies) => (superblock, copies),
        superblock::Found::Other(format) => return Err(OpenError::Format(format)),
        superblock::Found::Nothing => return Err(OpenError::NoStore),
    };
    if !superblock.fits(device.size()) {
        return Err(OpenError::Truncated);
    }
    let mut recovered = None;
    for with_snapshot in [trust == Trust::Snapshot, false] {
        *index = Index::default();
        index.measure(superblock.segment_bytes, superblock.segment_count);
        recovered = Scan::new(device, &superblock, index, visit, trust == Trust::Nothing, until)
            .run(with_snapshot)?;
        if recovered.is_some() {
            break;
        }
        visit(Event::Forget);
    }
    let mut recovered = recovered.expect("without a snapshot there is always something");
    let bad_mark = trust == Trust::Nothing && mark::has_bad_copy(device, &superblock);
    recovered.report.bad_copies += 2 - copies + u32::from(bad_mark);
    if !recovered.report.unreadable.is_empty() {
        // A device that gives nothing any more has no bad blocks: it is gone, and without what it holds nothing may be given out.
        device.forget_cache(0, 2 * BLOCK_BYTES as u64);
        superblock::read(device)?;
    }
    Ok((superblock, recovered))
}
