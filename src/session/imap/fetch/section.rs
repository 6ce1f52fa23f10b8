//! Which bytes of a message an item of FETCH names (RFC 3501 §6.4.5). Pure: no message is touched here.
//!
//! A section that the message has not is told as NIL: `BODY[9] NIL`. RFC 3501 leaves it open (`nstring`), and RFC 9051 §7.5.2 reads
//! it so. A partial at or past the end of a section that is there is the empty string; see `Response::empty`.

use std::ops::Range;

use crate::wire::imap::{Item, Partial, Section, SectionText};
use crate::wire::mime::{self, Structure};

/// Where an item's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// These bytes of the message.
    Bytes(Range<u64>),
    /// Fields of a header, found by reading it.
    Fields(Fields<'a>),
    /// There is no such section.
    Missing,
}

/// `HEADER.FIELDS` and `HEADER.FIELDS.NOT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// The header in the message.
    pub(super) header: Range<u64>,
    /// Field names as written.
    pub(super) names: &'a [String],
    /// All fields but these.
    pub(super) not: bool,
    /// Of the fields that are chosen, these bytes.
    pub(super) window: Range<u64>,
}

/// How an item is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// From the state alone.
    Nothing,
    /// From the structure, without bytes of the message.
    Structure,
    /// From the message; where the bytes lie is known without the structure.
    Body,
    /// From the message; where the bytes lie, the structure says.
    Section,
}

impl Needs {
    /// What `item` needs.
    pub(super) fn of(item: &Item) -> Needs {
        match item {
            Item::Flags | Item::InternalDate | Item::Rfc822Size | Item::Uid | Item::ModSeq => Needs::Nothing,
            Item::Envelope | Item::Body | Item::BodyStructure => Needs::Structure,
            Item::Rfc822 => Needs::Body,
            Item::Section { section: Section { part, text: SectionText::All }, .. } if part.is_empty() => {
                Needs::Body
            }
            Item::Rfc822Header | Item::Rfc822Text | Item::Section { .. } => Needs::Section,
        }
    }

    /// Whether the structure must be loaded for it.
    pub(super) fn structure(self) -> bool {
        matches!(self, Needs::Structure | Needs::Section)
    }
}

/// Where the bytes of `item` come from in a message of `size` bytes. `None`: the structure is needed and not there, or the item is no section.
pub(super) fn source<'a>(item: &'a Item, size: u32, structure: Option<&Structure>) -> Option<Source<'a>> {
    let (part, text, partial) = match item {
        Item::Rfc822 => (&[][..], &SectionText::All, None),
        Item::Rfc822Header => (&[][..], &SectionText::Header, None),
        Item::Rfc822Text => (&[][..], &SectionText::Text, None),
        Item::Section { section, partial, .. } => (&section.part[..], &section.text, *partial),
        _ => return None,
    };
    let kind = match text {
        SectionText::All if part.is_empty() => return Some(Source::Bytes(cut(0..u64::from(size), partial))),
        SectionText::All => mime::Section::Whole,
        SectionText::Header | SectionText::Fields { .. } => mime::Section::Header,
        SectionText::Text => mime::Section::Text,
        SectionText::Mime => mime::Section::Mime,
    };
    let Some(range) = structure?.range(part, kind) else { return Some(Source::Missing) };
    Some(match text {
        SectionText::Fields { names, not } => {
            Source::Fields(Fields { header: range, names, not: *not, window: cut(0..u64::MAX, partial) })
        }
        _ => Source::Bytes(cut(range, partial)),
    })
}

/// The part of `range` that `partial` means: never outside of it, maybe empty.
fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { start, count }) = partial else { return range };
    let start = range.start.saturating_add(u64::from(start)).min(range.end);
    start..start.saturating_add(u64::from(count)).min(range.end)
}

/// Of a stream of bytes that passes by, those of a range.
#[derive(Clone, Debug)]
pub(super) struct Window {
    passed: u64,
    range: Range<u64>,
}

impl Window {
    /// Before the first byte.
    pub(super) fn new(range: Range<u64>) -> Window {
        Window { passed: 0, range }
    }

    /// What of the next bytes lies in the range.
    pub(super) fn clip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let within = |offset: u64| offset.saturating_sub(self.passed).min(bytes.len() as u64) as usize;
        let (start, end) = (within(self.range.start), within(self.range.end));
        self.passed += bytes.len() as u64;
        bytes.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        let mut cursor = crate::wire::imap::Cursor::new(text.as_bytes());
        let fetch = crate::wire::imap::Fetch::parse(&mut cursor, crate::wire::imap::By::Sequence).unwrap();
        fetch.items[0].clone()
    }

    fn bytes(text: &str, structure: Option<&Structure>) -> Option<Range<u64>> {
        let item = item(&format!(" 1 {text}"));
        match source(&item, 100, structure)? {
            Source::Bytes(range) => Some(range),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_whole_message_needs_no_structure() {
        for text in ["RFC822", "BODY[]", "BODY.PEEK[]", "BODY[]<3.4>"] {
            assert_eq!(Needs::of(&item(&format!(" 1 {text}"))), Needs::Body, "{text}");
        }
        for text in [
            "RFC822.HEADER",
            "BODY[TEXT]",
            "BODY[1]",
            "BODY[HEADER.FIELDS (A)]",
            "ENVELOPE",
            "BODY",
            "BODYSTRUCTURE",
        ] {
            assert!(Needs::of(&item(&format!(" 1 {text}"))).structure(), "{text}");
        }
        for text in ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "MODSEQ"] {
            assert_eq!(Needs::of(&item(&format!(" 1 {text}"))), Needs::Nothing, "{text}");
        }
        assert_eq!(source(&item(" 1 BODY[1]"), 100, None), None);
    }

    #[test]
    fn partials_end_with_the_section() {
        for (text, range) in [
            ("BODY[]", 0..100),
            ("BODY[]<0.100>", 0..100),
            ("BODY[]<10.20>", 10..30),
            ("BODY[]<90.20>", 90..100),
            ("BODY[]<99.1>", 99..100),
            ("BODY[]<100.1>", 100..100),
            ("BODY[]<4294967295.4294967295>", 100..100),
        ] {
            assert_eq!(bytes(text, None), Some(range), "{text}");
        }
    }

    #[test]
    fn a_window_clips_any_chunking() {
        let text: Vec<u8> = (0..50).collect();
        for range in [0..50, 0..0, 7..9, 40..90, 50..60, 0..u64::MAX] {
            for size in 1..20 {
                let mut window = Window::new(range.clone());
                let got: Vec<u8> = text.chunks(size).flat_map(|chunk| window.clip(chunk).to_vec()).collect();
                let (start, end) = (range.start.min(50) as usize, range.end.min(50) as usize);
                assert_eq!(got, text[start..end], "{range:?} by {size}");
            }
        }
    }
}
