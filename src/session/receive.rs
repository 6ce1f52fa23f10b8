//! A message that is coming in, in bounded memory: it is cut into pieces for the journal, and its structure is found on the way.
//!
//! One piece of memory per message, whatever the message's size. SMTP's DATA and BDAT and IMAP's APPEND all come through here.

use super::Next;
use crate::limits::{PIECE_BYTES, READ_BYTES};
use crate::store::{NewBody, NewMessage};
use crate::types::Time;
use crate::wire::mime::Scanner;

/// A message that is coming in.
pub struct Receiver {
    /// As long as this lives, its pieces are kept.
    body: NewBody,
    next_piece: u16,
    gathered: Vec<u8>,
    scanner: Scanner,
    size: u64,
}

impl Receiver {
    /// Starts a message whose identity the store has given out.
    pub fn new(body: impl Into<NewBody>) -> Receiver {
        Receiver { body: body.into(), next_piece: 0, gathered: Vec::new(), scanner: Scanner::new(), size: 0 }
    }

    /// Takes bytes of the message; says how many. Fewer than given: [`Receiver::full`], store the piece first.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(PIECE_BYTES - self.gathered.len());
        if self.gathered.len() + taken > self.gathered.capacity().max(READ_BYTES) {
            // It will be a large one: growing by doubling would leave holes in the heap.
            self.gathered.reserve_exact(PIECE_BYTES - self.gathered.len());
        }
        self.gathered.extend_from_slice(&bytes[..taken]);
        self.scanner.push(&bytes[..taken]);
        self.size += taken as u64;
        taken
    }

    /// Whether the piece must go to the journal before more can be taken.
    pub fn full(&self) -> bool {
        self.gathered.len() == PIECE_BYTES
    }

    /// How many bytes the piece can still take.
    pub fn room(&self) -> usize {
        PIECE_BYTES - self.gathered.len()
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The gathered piece, for the journal. None when nothing is gathered: at the end of the message, all is stored then.
    pub fn store(&mut self) -> Option<Next> {
        if self.gathered.is_empty() {
            return None;
        }
        let piece = self.next_piece;
        self.next_piece += 1;
        Some(Next::Store { body: self.body.id(), piece, bytes: std::mem::take(&mut self.gathered) })
    }

    /// The message, all of whose pieces are in the journal's hands; they are kept as long as what comes with it lives: until it is somebody's.
    pub fn finish(self, date: Time) -> (NewMessage, NewBody) {
        debug_assert!(self.gathered.is_empty(), "the last piece has been stored");
        let structure = self.scanner.finish().encode();
        (NewMessage { body: self.body.id(), size: self.size, structure, date }, self.body)
    }
}
