//! Part of a message on its way out, piece by piece: one piece of memory, whatever the size.

use std::ops::Range;

use super::{Load, Next};
use crate::types::BodyId;

/// A range of a message that is being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    body: BodyId,
    rest: Range<u64>,
}

impl Sending {
    /// Starts with this range of offsets of the message.
    pub fn new(body: BodyId, range: Range<u64>) -> Sending {
        Sending { body, rest: range }
    }

    /// What to load next; None when everything has been.
    pub fn load(&self) -> Option<Next> {
        (!self.rest.is_empty()).then_some(Next::Load(Load::Body { body: self.body, offset: self.rest.start }))
    }

    /// Of what was loaded, that which belongs to the range.
    pub fn take<'a>(&mut self, loaded: &'a [u8]) -> &'a [u8] {
        let count = (loaded.len() as u64).min(self.rest.end.saturating_sub(self.rest.start));
        self.rest.start += count;
        &loaded[..count as usize]
    }
}
