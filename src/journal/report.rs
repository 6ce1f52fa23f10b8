//! What an opening or a check has found, for people and for tests.

use std::fmt;

use super::frame::Kind;
use super::window::Window;
use crate::limits::{BLOCK_BYTES, LOSSES_REPORTED_MAX};
use crate::types::{AccountId, BodyId, Position, Serial};

/// Acknowledged frames that are not there any more, or not as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first position lost.
    pub first: Position,
    /// The last one.
    pub last: Position,
    /// Where on the device, bytes.
    pub offset: u64,
    /// What the frame was, where its header is still good.
    pub frame: Option<LostFrame>,
}

/// A frame whose header is good and whose payload is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostFrame {
    /// What it held.
    pub kind: Kind,
    /// Whose it is.
    pub account: AccountId,
    /// The message, of a body or a structure.
    pub body: Option<BodyId>,
    /// Which piece of the body, from 0.
    pub piece: u16,
    /// The change, of a record.
    pub serial: Option<Serial>,
}

/// Where the journal was cut: nobody had been told of what lies behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first position that is not there any more.
    pub position: Position,
    /// Where on the device, bytes.
    pub offset: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of this opening of the store.
    pub opening: u32,
    /// Segments in use.
    pub segments: u32,
    /// Segments in use that have not been read: a snapshot says what they hold.
    pub unread_segments: u32,
    /// Frames of the journal, of the segments that have been read.
    pub frames: u64,
    /// Frames of a kind that this program does not know.
    pub unknown_frames: u64,
    /// Segments with a good header that do not belong to the journal any more: abandoned, or freed by compaction. Normal.
    pub abandoned_segments: u32,
    /// A torn tail. Normal after a power cut.
    pub cut: Option<Cut>,
    /// Damage: at most `limits::LOSSES_REPORTED_MAX` of them.
    pub lost: Vec<Lost>,
    /// How many there are.
    pub losses: u64,
    /// Blocks that the device could not read, at most as many: offsets, bytes. Damage.
    pub unreadable: Vec<u64>,
    /// Segments whose own header is lost and was taken from the next segment. A warning: nothing is missing.
    pub rescued_segments: u32,
    /// Copies of superblocks and of segment headers that are bad while the other copy is good. A warning.
    pub bad_copies: u32,
    /// Summaries that cannot be read, or say something else than the frames. A warning: they are not needed.
    pub bad_summaries: u32,
    /// Blocks that are not as they were written, and that parity has made good: offsets, bytes, at most `limits::LOSSES_REPORTED_MAX`. A
    /// warning: they are still bad on the medium.
    pub rebuilt: Vec<u64>,
    /// How many there are.
    pub rebuilt_blocks: u64,
    /// To verify: blocks of sealed segments that are not as they were written, and that parity cannot make good. What is lost by that is told
    /// as lost, and else nothing is.
    pub spoilt_blocks: u64,
    /// To verify: segments whose parity is bad in part, while what it covers is good. A warning.
    pub bad_parities: u32,
    /// To verify: sealed segments that have no parity yet. Normal.
    pub bare_segments: u32,
    /// Frames that are damaged or missing, and that nothing depends on: a summary says what they said, or they are of a snapshot. A warning.
    pub mended_frames: u64,
}

impl Report {
    /// Whether something acknowledged is missing or not as it was.
    pub fn is_damaged(&self) -> bool {
        self.losses > 0 || !self.unreadable.is_empty()
    }

    pub(super) fn lose(&mut self, lost: Lost) {
        self.losses += 1;
        if self.lost.len() < LOSSES_REPORTED_MAX {
            self.lost.push(lost);
        }
    }

    /// What the parity of a segment, which begins there on the device, has told. `all`: it was asked for all that it knows.
    pub(super) fn parity(&mut self, window: &Window<'_>, base: u64, all: bool) {
        let Some(examined) = window.examined() else {
            self.bare_segments += u32::from(all && window.sealed);
            return;
        };
        for (number, _) in examined.rebuilt() {
            self.rebuilt_blocks += 1;
            if self.rebuilt.len() < LOSSES_REPORTED_MAX {
                self.rebuilt.push(base + number * BLOCK_BYTES as u64);
            }
        }
        if all {
            self.spoilt_blocks += (examined.bad.len() - examined.rebuilt().count()) as u64;
            self.bad_parities += u32::from(!examined.bad_sums.is_empty());
        }
    }

    pub(super) fn unreadable(&mut self, offset: u64) {
        if self.unreadable.len() < LOSSES_REPORTED_MAX && !self.unreadable.contains(&offset) {
            self.unreadable.push(offset);
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.frame {
            None if self.first == self.last => write!(f, "missing: frame {}", self.first)?,
            None => write!(f, "missing: frames {} to {}", self.first, self.last)?,
            Some(LostFrame { kind, account, body: Some(body), piece, .. }) => {
                let what = if kind == Kind::Body { "piece" } else { "structure" };
                write!(f, "damaged: frame {}, {what} {piece} of body {body}, account {account}", self.first)?;
            }
            Some(LostFrame { account, .. }) => {
                write!(f, "damaged: frame {}, a record of account {account}", self.first)?;
            }
        }
        write!(f, ", at byte {}", self.offset)
    }
}

/// One line for each thing found; no line break at the end.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opening {}: {} segments, {} frames", self.opening, self.segments, self.frames)?;
        if self.unread_segments > 0 {
            write!(f, "\nnormal: {} segments known by a snapshot", self.unread_segments)?;
        }
        if self.abandoned_segments > 0 {
            write!(f, "\nnormal: {} segments abandoned or freed", self.abandoned_segments)?;
        }
        if let Some(cut) = self.cut {
            write!(f, "\nnormal: torn tail cut off before frame {}, at byte {}", cut.position, cut.offset)?;
        }
        if self.unknown_frames > 0 {
            write!(f, "\nwarning: {} frames of a newer kind stepped over", self.unknown_frames)?;
        }
        if self.rescued_segments > 0 {
            write!(f, "\nwarning: {} segments found by a copy of their header", self.rescued_segments)?;
        }
        if self.bad_copies > 0 {
            write!(f, "\nwarning: {} header copies are bad, the other copy is good", self.bad_copies)?;
        }
        if self.bad_summaries > 0 {
            write!(f, "\nwarning: {} summaries are bad, the frames are good", self.bad_summaries)?;
        }
        if self.rebuilt_blocks > 0 {
            write!(f, "\nwarning: {} blocks are bad and were rebuilt from parity", self.rebuilt_blocks)?;
            write!(f, ": `postfach check --repair` writes them back")?;
        }
        if self.spoilt_blocks > 0 {
            write!(f, "\nwarning: {} blocks are bad and cannot be rebuilt", self.spoilt_blocks)?;
        }
        if self.bad_parities > 0 {
            write!(
                f,
                "\nwarning: the parity of {} segments is bad, what it covers is good",
                self.bad_parities
            )?;
        }
        if self.bare_segments > 0 {
            write!(f, "\nnormal: {} segments have no parity yet", self.bare_segments)?;
        }
        if self.mended_frames > 0 {
            write!(f, "\nwarning: {} frames are damaged, what they say is known", self.mended_frames)?;
        }
        for offset in &self.unreadable {
            write!(f, "\nunreadable: the block at byte {offset}")?;
        }
        for lost in &self.lost {
            write!(f, "\n{lost}")?;
        }
        if self.losses > self.lost.len() as u64 {
            write!(f, "\nand {} further losses", self.losses - self.lost.len() as u64)?;
        }
        Ok(())
    }
}
