//! Where the pieces of the bodies lie, and how to read one.
//!
//! In memory only: made anew at every opening from the frames. Refuses to hand out bytes whose checksum does not fit.
//! How bodies are kept in little memory is [`super::catalogue`].

use std::borrow::Cow;
use std::fmt;
use std::io;

use super::catalogue::{Body, Catalogue};
use super::frame::{self, HEADER_BYTES, Header, Kind};
use super::payload;
use super::segment::SegmentHeader;
use super::superblock::Superblock;
use super::window::Window;
use crate::device::Device;
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::types::BodyId;

/// Bits of a slot that hold the payload's length.
pub(super) const LENGTH_BITS: u32 = 20;

const _: () = assert!(PAYLOAD_BYTES_MAX < 1 << LENGTH_BITS);

/// A frame's offset on the device over its alignment, and its payload's length. 0: none, for frames never lie at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u64);

impl Slot {
    pub(super) const NONE: Slot = Slot(0);

    pub(super) fn new(offset: u64, payload_bytes: usize) -> Slot {
        Slot((offset / frame::ALIGNMENT) << LENGTH_BITS | payload_bytes as u64)
    }

    pub(super) fn offset(self) -> u64 {
        (self.0 >> LENGTH_BITS) * frame::ALIGNMENT
    }

    pub(super) fn payload_bytes(self) -> usize {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as usize
    }
}

/// Counts a frame as live, or no longer.
fn count(live: &mut [u64], segment_bytes: u64, slot: Slot, more: bool) {
    let segment = slot.offset().checked_div(segment_bytes).and_then(|nth| nth.checked_sub(1));
    if let Some(bytes) = segment.and_then(|segment| live.get_mut(segment as usize)) {
        let frame = frame::frame_bytes(slot.payload_bytes());
        *bytes = if more { *bytes + frame } else { bytes.saturating_sub(frame) };
    }
}

/// All bodies.
#[derive(Default)]
pub(super) struct Index {
    bodies: Catalogue,
    /// Of any body ever expected, also of those forgotten again.
    highest: BodyId,
    /// By segment: bytes of the frames that are found here. Empty until `measure`.
    live: Vec<u64>,
    segment_bytes: u64,
}

impl Index {
    /// Begins to count what is live in each segment.
    pub(super) fn measure(&mut self, segment_bytes: u32, segment_count: u32) {
        self.segment_bytes = u64::from(segment_bytes);
        self.live = vec![0; segment_count as usize];
    }

    /// Bytes of a segment's frames that are found here.
    pub(super) fn live_bytes(&self, segment: u32) -> u64 {
        self.live.get(segment as usize).copied().unwrap_or(0)
    }

    /// Makes the body known: only known bodies take frames, so a body released while its frames wait for the disk is gone.
    pub(super) fn expect(&mut self, body: BodyId) {
        self.highest = self.highest.max(body);
        self.bodies.expect(body);
    }

    /// Notes where a frame of a known body lies.
    pub(super) fn insert(&mut self, kind: Kind, body: BodyId, piece: u16, slot: Slot) {
        let before = self.bodies.change(body, |body| {
            let place = match (kind, piece.checked_sub(1)) {
                (Kind::Record | Kind::Snapshot | Kind::Witness | Kind::End, _) => return None,
                (Kind::Structure, _) => &mut body.structure,
                (Kind::Body, None) => &mut body.first,
                (Kind::Body, Some(at)) => {
                    if body.others.len() <= usize::from(at) {
                        body.others.resize(usize::from(at) + 1, Slot::NONE);
                    }
                    &mut body.others[usize::from(at)]
                }
            };
            Some(std::mem::replace(place, slot))
        });
        if let Some(before) = before.flatten() {
            count(&mut self.live, self.segment_bytes, before, false);
            count(&mut self.live, self.segment_bytes, slot, true);
        }
    }

    /// Notes where the first piece and the structure lie, as far as that is not known.
    pub(super) fn learn(&mut self, body: BodyId, first: Option<Slot>, structure: Option<Slot>) {
        self.highest = self.highest.max(body);
        let (live, segment_bytes) = (&mut self.live, self.segment_bytes);
        self.bodies.settle(body, |body| {
            for (known, told) in [(&mut body.first, first), (&mut body.structure, structure)] {
                if let Some(slot) = told.filter(|_| *known == Slot::NONE) {
                    *known = slot;
                    count(live, segment_bytes, slot, true);
                }
            }
        });
    }

    /// Notes where a further piece lies, if that is not known.
    pub(super) fn learn_piece(&mut self, body: BodyId, piece: u16, slot: Slot) {
        if self.find(body, Some(piece)).is_none() {
            self.insert(Kind::Body, body, piece, slot);
        }
    }

    /// All bodies from this one on.
    pub(super) fn bodies_from(&self, from: BodyId) -> impl Iterator<Item = (BodyId, Cow<'_, Body>)> {
        self.bodies.from(from)
    }

    /// Where a piece lies, or with `None` the structure.
    pub(super) fn find(&self, body: BodyId, piece: Option<u16>) -> Option<Slot> {
        let body = self.bodies.get(body)?;
        let slot = match piece.map(|piece| piece.checked_sub(1)) {
            None => body.structure,
            Some(None) => body.first,
            Some(Some(at)) => *body.others.get(usize::from(at))?,
        };
        Some(slot).filter(|slot| *slot != Slot::NONE)
    }

    pub(super) fn hold(&mut self, body: BodyId) {
        self.bodies.settle(body, |body| body.uses = body.uses.saturating_add(1));
    }

    pub(super) fn release(&mut self, body: BodyId) {
        let left = self.bodies.change(body, |body| {
            body.uses = body.uses.saturating_sub(1);
            body.uses
        });
        if left == Some(0)
            && let Some(gone) = self.bodies.remove(body)
        {
            gone.slots().for_each(|slot| count(&mut self.live, self.segment_bytes, slot, false));
        }
    }

    pub(super) fn knows(&self, body: BodyId) -> bool {
        self.bodies.get(body).is_some()
    }

    /// Forgets a body that nothing holds.
    pub(super) fn forget(&mut self, body: BodyId) {
        if self.bodies.get(body).is_some_and(|body| body.uses == 0) {
            self.release(body);
        }
    }

    pub(super) fn drop_unheld(&mut self) -> usize {
        self.bodies.retain(|_, body| {
            if body.uses == 0 {
                body.slots().for_each(|slot| count(&mut self.live, self.segment_bytes, slot, false));
            }
            body.uses > 0
        })
    }

    pub(super) fn highest(&self) -> BodyId {
        self.highest
    }
}

/// Where a piece or a structure lies, and what must stand there. Valid while the body is held.
#[derive(Clone)]
pub struct Extent {
    pub(super) slot: Slot,
    pub(super) kind: Kind,
    pub(super) body: BodyId,
    pub(super) piece: u16,
    pub(super) segment: u32,
    pub(super) incarnation: u64,
    pub(super) superblock: Superblock,
}

/// Where a payload has come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From where it was written.
    Written,
    /// There it does not read as it was written: from parity.
    Rebuilt,
}

/// Why a piece could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The device failed.
    Io(io::Error),
    /// What lies there is not what was written: its header or its checksum does not fit, or it cannot be unpacked.
    Damaged,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "the device failed: {error}"),
            ReadError::Damaged => write!(f, "damaged: the checksum does not fit"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl Extent {
    /// Whether both are the same frame in the same use of its segment: reading it again would show the same.
    pub fn is(&self, other: &Extent) -> bool {
        (self.slot, self.incarnation) == (other.slot, other.incarnation)
    }

    /// Bytes that [`Extent::read`] reads of the payload, which may be packed.
    pub fn payload_bytes(&self) -> usize {
        self.slot.payload_bytes()
    }

    /// Makes `buf` the payload. It may wait for the medium: not for a thread that serves others.
    pub fn read(&self, device: &dyn Device, buf: &mut Vec<u8>) -> Result<(), ReadError> {
        self.read_or_rebuild(device, buf).map(|_source| ())
    }

    /// The same, and says where it has come from.
    pub fn read_or_rebuild(&self, device: &dyn Device, buf: &mut Vec<u8>) -> Result<Source, ReadError> {
        let read = self.fetch(buf, |offset, part| device.read_at(offset, part).map(|()| true));
        let Err(error) = read else { return Ok(Source::Written) };
        let (index, incarnation) = (self.segment, self.incarnation);
        let segment = SegmentHeader { index, incarnation, ..SegmentHeader::default() };
        let mut window = Window::new(device, &self.superblock, &segment);
        if !window.mend(0) {
            return Err(error);
        }
        let base = self.superblock.base(index);
        match self.fetch(buf, |offset, part| Ok(window.read(offset.saturating_sub(base), part))) {
            Ok(true) => Ok(Source::Rebuilt),
            _ => Err(error),
        }
    }

    /// As [`Extent::read`], but `Ok(false)`, with nothing in `buf`, where it would have to wait. Rebuilds nothing.
    pub fn read_cached(&self, device: &dyn Device, buf: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.fetch(buf, |offset, part| device.read_cached(offset, part))
    }

    fn fetch(
        &self,
        buf: &mut Vec<u8>,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<bool>,
    ) -> Result<bool, ReadError> {
        let mut header = [0; HEADER_BYTES];
        buf.clear();
        if !read(self.slot.offset(), &mut header)? {
            return Ok(false);
        }
        let header =
            Header::decode(&header, &self.superblock.key, self.incarnation).ok_or(ReadError::Damaged)?;
        let wanted = (self.kind as u8, self.body.0, self.piece, self.payload_bytes());
        if (header.kind, header.number, header.piece, header.length as usize) != wanted {
            return Err(ReadError::Damaged);
        }
        buf.resize(self.payload_bytes(), 0);
        let outcome = match read(self.slot.offset() + HEADER_BYTES as u64, buf) {
            Ok(true) if frame::checksum(buf) == header.checksum => match payload::open(header.flags, buf) {
                true => return Ok(true),
                false => Err(ReadError::Damaged),
            },
            Ok(true) => Err(ReadError::Damaged),
            Ok(false) => Ok(false),
            Err(error) => Err(error.into()),
        };
        buf.clear();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_far_offsets_and_the_largest_payload() {
        let slot = Slot::new((1 << 46) - 8, PAYLOAD_BYTES_MAX);
        assert_eq!((slot.offset(), slot.payload_bytes()), ((1 << 46) - 8, PAYLOAD_BYTES_MAX));
    }

    #[test]
    fn a_body_is_forgotten_with_its_last_use_and_takes_no_late_frames() {
        let mut index = Index::default();
        let body = BodyId(7);
        index.insert(Kind::Body, body, 0, Slot::new(4096, 1));
        assert!(index.find(body, Some(0)).is_none());
        index.expect(body);
        index.insert(Kind::Body, body, 0, Slot::new(4096, 1));
        index.insert(Kind::Body, body, 2, Slot::new(8192, 2));
        index.insert(Kind::Structure, body, 0, Slot::new(12288, 3));
        assert_eq!(index.find(body, Some(0)).map(Slot::offset), Some(4096));
        assert_eq!(index.find(body, Some(1)), None);
        assert_eq!(index.find(body, Some(2)).map(Slot::offset), Some(8192));
        assert_eq!(index.find(body, Some(3)), None);
        assert_eq!(index.find(body, None).map(Slot::payload_bytes), Some(3));
        index.hold(body);
        index.hold(body);
        index.release(body);
        assert_eq!(index.drop_unheld(), 0);
        index.release(body);
        assert!(index.find(body, Some(0)).is_none());
        index.insert(Kind::Body, body, 1, Slot::new(16384, 1));
        assert_eq!(index.highest(), body);
        index.expect(body);
        assert_eq!((index.highest(), index.drop_unheld()), (body, 1));
    }
}
