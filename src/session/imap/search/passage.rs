//! A message passing by the leaves of a search: header fields decoded, text parts decoded, attachments skipped (RFC 3501 §6.4.4).
//!
//! What is looked into: the message's own header; of the body, parts of type text and message and the headers of embedded messages.
//!
//! Invariants: each byte is looked at once; memory is one header field; what need not be seen is not loaded.

use std::ops::Range;

use super::criteria::Leaf;
use crate::limits::HEADER_FIELD_BYTES_MAX;
use crate::wire::charset::Decoder;
use crate::wire::header;
use crate::wire::mime::{Kind, Part, Structure};

/// How far a message has passed by.
pub(super) struct Passage {
    segments: Vec<Segment>,
    /// The segment that is passing by.
    at: usize,
    /// Of the message, the next byte.
    offset: u64,
    reader: Reader,
}

struct Segment {
    range: Range<u64>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// The message's own header.
    Own,
    /// The header of an embedded message.
    Embedded,
    /// The text of the part with this number.
    Text(usize),
}

enum Reader {
    Between,
    Fields(Gather),
    Text(Box<Decoder>),
}

impl Passage {
    /// Of a message of which the leaves want the header, the body, or both.
    pub(super) fn new(structure: &Structure, header: bool, body: bool) -> Passage {
        let mut segments = Vec::new();
        let mut above = Vec::new();
        for (index, part) in structure.parts.iter().enumerate() {
            above.truncate(usize::from(part.depth));
            let embedded = above.last() == Some(&Kind::Message);
            above.push(part.kind);
            let what = if index == 0 { What::Own } else { What::Embedded };
            if (index == 0 && header) || (embedded && body) {
                segments
                    .push(Segment { range: u64::from(part.header_start)..u64::from(part.body_start), what });
            }
            if body && has_text(part) {
                let range = u64::from(part.body_start)..u64::from(part.body_end);
                segments.push(Segment { range, what: What::Text(index) });
            }
        }
        segments.retain(|segment| !segment.range.is_empty());
        Passage { segments, at: 0, offset: 0, reader: Reader::Between }
    }

    /// The offset of the next byte that is to be seen; `None` when all has passed.
    pub(super) fn offset(&self) -> Option<u64> {
        self.segments.get(self.at).map(|segment| self.offset.max(segment.range.start))
    }

    /// Whether the message's own header has passed.
    pub(super) fn past_header(&self) -> bool {
        self.segments.get(self.at).is_none_or(|segment| !matches!(segment.what, What::Own))
    }

    /// Takes the bytes at [`Passage::offset`].
    pub(super) fn push(&mut self, bytes: &[u8], structure: &Structure, leaves: &mut [Leaf]) {
        let Some(start) = self.offset() else { return };
        self.offset = start;
        let mut bytes = bytes;
        while let Some(Segment { range, what }) = self.segments.get(self.at) {
            let gap = range.start.saturating_sub(self.offset).min(bytes.len() as u64);
            let take = range.end.saturating_sub(self.offset + gap).min(bytes.len() as u64 - gap);
            let (passed, rest) = bytes.split_at_checked((gap + take) as usize).unwrap_or((bytes, &[]));
            let seen = passed.get(gap as usize..).unwrap_or_default();
            self.offset += gap + take;
            bytes = rest;
            let what = *what;
            let over = self.offset >= range.end;
            self.see(seen, what, structure, leaves);
            if !over {
                return;
            }
            self.finish(what, leaves);
            self.at += 1;
        }
    }

    fn see(&mut self, bytes: &[u8], what: What, structure: &Structure, leaves: &mut [Leaf]) {
        if bytes.is_empty() {
            return;
        }
        if let Reader::Between = self.reader {
            leaves.iter_mut().for_each(Leaf::part);
            self.reader = match what {
                What::Own | What::Embedded => Reader::Fields(Gather::default()),
                What::Text(index) => match structure.parts.get(index) {
                    Some(part) => Reader::Text(Box::new(Decoder::new(&part.encoding, part.charset()))),
                    None => return,
                },
            };
        }
        let own = matches!(what, What::Own);
        match &mut self.reader {
            Reader::Between => {}
            Reader::Fields(gather) => {
                gather.push(bytes, &mut |name, value| see_field(leaves, own, name, value))
            }
            Reader::Text(decoder) => decoder.push(bytes, &mut |text| see_text(leaves, text)),
        }
    }

    fn finish(&mut self, what: What, leaves: &mut [Leaf]) {
        let own = matches!(what, What::Own);
        match std::mem::replace(&mut self.reader, Reader::Between) {
            Reader::Between => {}
            Reader::Fields(gather) => gather.finish(&mut |name, value| see_field(leaves, own, name, value)),
            Reader::Text(decoder) => decoder.finish(&mut |text| see_text(leaves, text)),
        }
        if own {
            leaves.iter_mut().for_each(Leaf::header_over);
        }
    }
}

fn see_field(leaves: &mut [Leaf], own: bool, name: &[u8], value: &str) {
    for leaf in leaves.iter_mut().filter(|leaf| leaf.found.is_none()) {
        leaf.see_field(own, name, value);
    }
}

fn see_text(leaves: &mut [Leaf], text: &str) {
    leaves.iter_mut().for_each(|leaf| leaf.see_text(text));
}

/// Whether the part's body is text for people, or nearly: delivery reports are `message/…`.
fn has_text(part: &Part) -> bool {
    part.kind == Kind::Leaf
        && (part.is_text() || part.media.as_ref().is_some_and(|(kind, _)| **kind == *b"message"))
}

/// Puts the fields of a header together that comes in pieces.
#[derive(Default)]
struct Gather {
    field: Vec<u8>,
    /// The next byte begins a line.
    in_line: bool,
}

impl Gather {
    fn push(&mut self, bytes: &[u8], told: &mut dyn FnMut(&[u8], &str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.in_line && !matches!(piece.first(), Some(b' ' | b'\t')) {
                self.tell(told);
            }
            let room = HEADER_FIELD_BYTES_MAX.saturating_sub(self.field.len());
            self.field.extend_from_slice(piece.get(..room).unwrap_or(piece));
            self.in_line = piece.last() != Some(&b'\n');
        }
    }

    fn finish(mut self, told: &mut dyn FnMut(&[u8], &str)) {
        self.tell(told);
    }

    fn tell(&mut self, told: &mut dyn FnMut(&[u8], &str)) {
        if let Some((name, value)) = header::fields(&self.field).next() {
            told(name, &header::decode_words(value));
        }
        self.field.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_put_together_from_any_pieces() {
        let header = b"Subject: =?utf-8?q?a=20?=\r\n =?utf-8?q?b?=\r\njunk\r\nTo:\r\n\tx\r\n\r\n";
        for size in 1..=header.len() {
            let mut gather = Gather::default();
            let mut fields = Vec::new();
            let mut told = |name: &[u8], value: &str| {
                fields.push((String::from_utf8_lossy(name).into_owned(), String::from(value)));
            };
            header.chunks(size).for_each(|piece| gather.push(piece, &mut told));
            gather.finish(&mut told);
            let want =
                [("Subject", "a b"), ("To", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(fields, want, "by {size}");
        }
    }

    #[test]
    fn a_field_that_is_too_long_is_cut_off() {
        let mut gather = Gather::default();
        let mut bytes = 0;
        let mut told = |_: &[u8], value: &str| bytes += value.len();
        gather.push(b"A: ", &mut told);
        for _ in 0..20 {
            gather.push(&[b'x'; 8192], &mut told);
        }
        gather.push(b"\r\nB: y\r\n", &mut told);
        gather.finish(&mut told);
        assert_eq!(bytes, HEADER_FIELD_BYTES_MAX - 3 + 1);
    }
}
