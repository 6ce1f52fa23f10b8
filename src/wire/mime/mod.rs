//! What a message is made of: its part tree, envelope and offsets, computed once while it streams in (RFC 2045, 2046, 2183, 2231).
//!
//! [`Scanner`] reads, [`Structure`] is what it yields and what is stored beside the message, [`super::structure`] prints it.
//! Refuses to judge or change content, and to keep any of it: parts are offsets, only header strings are copied.
//!
//! Invariants:
//! - Parts lie in the order of their headers; the first is the message itself; a part's children follow it, one deeper.
//! - `header_start <= body_start <= body_end <= size` for every part, and a child lies inside its parent's body.
//! - What [`Structure::encode`] gives has at most [`STRUCTURE_BYTES_MAX`] bytes and decodes to the same value.
//! - Strings are those of the header, unfolded and trimmed; CR and NUL in them are spaces; encoded words are left alone.

mod list;
mod media;
mod scanner;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use scanner::Scanner;

use super::Malformed;
use super::date::DateTime;
use crate::limits::{MIME_DEPTH_MAX, MIME_PARTS_MAX, STRUCTURE_BYTES_MAX};

/// A string of a header. Bytes, not text: headers may hold anything.
pub type Text = Box<[u8]>;

/// Parameters of a field: names in lower case, and values.
pub type Params = Vec<(Text, Text)>;

/// The first byte of an encoded structure. Another number means: made by another version, scan the message again.
const VERSION: u8 = 1;

/// Everything about a message that FETCH ENVELOPE and BODYSTRUCTURE and section lookups need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// The whole message, bytes.
    pub size: u32,
    /// All parts in the order of their headers, the message itself first. Never empty.
    pub parts: Vec<Part>,
}

/// One entity: the message, a part of a multipart, or an embedded message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How deep it lies: 0 is the message itself, a child is one deeper than its parent.
    pub depth: u8,
    /// What its body is made of.
    pub kind: Kind,
    /// Where its header begins, bytes from the start of the message.
    pub header_start: u32,
    /// Where its body begins: after the blank line.
    pub body_start: u32,
    /// Where its body ends: before the line end that belongs to the next boundary.
    pub body_end: u32,
    /// Line ends in its body; 0 unless it is a text or an embedded message, for which BODYSTRUCTURE tells them.
    pub lines: u32,
    /// Type and subtype in lower case; `None` is text/plain.
    pub media: Option<(Text, Text)>,
    /// Parameters of Content-Type, names in lower case, RFC 2231 undone.
    pub params: Params,
    /// Content-Transfer-Encoding.
    pub encoding: Encoding,
    /// The less usual fields.
    pub extra: Option<Box<Extra>>,
    /// Of the message itself and of embedded ones.
    pub envelope: Option<Box<Envelope>>,
}

/// What a part's body is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Content that is not looked into.
    #[default]
    Leaf,
    /// Children between boundaries; none, when the boundary never came.
    Multipart,
    /// One child: the embedded message.
    Message,
}

/// Header fields of a part that most parts lack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// Content-ID
    pub id: Option<Text>,
    /// Content-Description
    pub description: Option<Text>,
    /// Content-MD5
    pub md5: Option<Text>,
    /// Content-Disposition: its type in lower case and its parameters.
    pub disposition: Option<(Text, Params)>,
    /// Content-Language: its tags.
    pub language: Vec<Text>,
    /// Content-Location
    pub location: Option<Text>,
}

/// Content-Transfer-Encoding (RFC 2045 §6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// `7bit`, and where there is no field.
    #[default]
    SevenBit,
    /// `8bit`
    EightBit,
    /// `binary`
    Binary,
    /// `quoted-printable`
    QuotedPrintable,
    /// `base64`
    Base64,
    /// Something else, in lower case.
    Other(Text),
}

/// The fields of RFC 3501 §7.4.2 ENVELOPE. `None` is an absent field, an empty string an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Date, as written.
    pub date: Option<Text>,
    /// Date, where it could be understood.
    pub sent: Option<DateTime>,
    /// Subject
    pub subject: Option<Text>,
    /// From
    pub from: Vec<Mailbox>,
    /// Sender; empty means the same as From.
    pub sender: Vec<Mailbox>,
    /// Reply-To; empty means the same as From.
    pub reply_to: Vec<Mailbox>,
    /// To
    pub to: Vec<Mailbox>,
    /// Cc
    pub cc: Vec<Mailbox>,
    /// Bcc
    pub bcc: Vec<Mailbox>,
    /// In-Reply-To
    pub in_reply_to: Option<Text>,
    /// Message-ID
    pub message_id: Option<Text>,
}

/// One address of a header field, or the start (no host) or the end (nothing at all) of a group (RFC 3501 §7.4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Who it is, without quotes.
    pub name: Option<Text>,
    /// Source route (RFC 5322 §4.4 `obs-route`), without its colon.
    pub route: Option<Text>,
    /// Local part without quotes; of a group's start its name.
    pub local: Option<Text>,
    /// Domain. Empty where an address has none.
    pub host: Option<Text>,
}

/// Which bytes of a section are meant (RFC 3501 §6.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `BODY[1.2]`, `BODY[]`
    Whole,
    /// `BODY[1.HEADER]`, `BODY[HEADER]`
    Header,
    /// `BODY[1.TEXT]`, `BODY[TEXT]`
    Text,
    /// `BODY[1.MIME]`
    Mime,
}

impl Part {
    /// Whether its type is this one; both in lower case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        match &self.media {
            Some((own, sub)) => **own == *kind.as_bytes() && **sub == *subtype.as_bytes(),
            None => (kind, subtype) == ("text", "plain"),
        }
    }

    /// Whether it is text of any kind.
    pub fn is_text(&self) -> bool {
        self.media.as_ref().is_none_or(|(kind, _)| **kind == *b"text")
    }

    /// A parameter of Content-Type by its name in lower case.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|(own, _)| **own == *name.as_bytes()).map(|(_, value)| &**value)
    }

    /// The label of its charset, for [`super::charset`]; empty where there is none.
    pub fn charset(&self) -> &[u8] {
        self.param("charset").unwrap_or_default()
    }

    fn header(&self) -> Range<u64> {
        u64::from(self.header_start)..u64::from(self.body_start)
    }

    fn body(&self) -> Range<u64> {
        u64::from(self.body_start)..u64::from(self.body_end)
    }
}

impl Structure {
    /// The message itself.
    pub fn root(&self) -> &Part {
        const NONE: &Part = &Part {
            depth: 0,
            kind: Kind::Leaf,
            header_start: 0,
            body_start: 0,
            body_end: 0,
            lines: 0,
            media: None,
            params: Vec::new(),
            encoding: Encoding::SevenBit,
            extra: None,
            envelope: None,
        };
        self.parts.first().unwrap_or(NONE)
    }

    /// The message's own envelope.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.root().envelope.as_deref()
    }

    /// The numbers, in `parts`, of the children of the part with number `parent`.
    pub fn children(&self, parent: usize) -> impl Iterator<Item = usize> + '_ {
        let depth = self.parts.get(parent).map_or(u8::MAX, |part| part.depth);
        let below =
            self.parts.iter().enumerate().skip(parent + 1).take_while(move |(_, part)| part.depth > depth);
        below.filter(move |(_, part)| part.depth == depth + 1).map(|(index, _)| index)
    }

    /// The part that a section's numbers name (RFC 3501 §6.4.5); no numbers name the message.
    ///
    /// Numbers pass through an embedded message into its parts; part 1 of what has no parts is its body.
    pub fn section(&self, path: &[u32]) -> Option<&Part> {
        self.parts.get(self.find(path)?)
    }

    fn find(&self, path: &[u32]) -> Option<usize> {
        let mut at = 0;
        for (step, number) in path.iter().enumerate() {
            // The entity whose parts are numbered here: the message, or what a part contains.
            let entity = match (step, self.parts.get(at)?.kind) {
                (0, _) | (_, Kind::Multipart) => at,
                (_, Kind::Message) => self.children(at).next()?,
                (_, Kind::Leaf) => return None,
            };
            at = match self.parts.get(entity)?.kind {
                Kind::Multipart => {
                    self.children(entity).nth(usize::try_from(*number).ok()?.checked_sub(1)?)?
                }
                _ if *number == 1 => entity,
                _ => return None,
            };
        }
        Some(at)
    }

    /// Where the bytes of a section lie in the message; `None` where there is no such section.
    ///
    /// HEADER and TEXT belong to messages only, MIME to numbered parts only.
    pub fn range(&self, path: &[u32], section: Section) -> Option<Range<u64>> {
        let at = self.find(path)?;
        let part = self.parts.get(at)?;
        let message = || match (path.is_empty(), part.kind) {
            (true, _) => Some(part),
            (false, Kind::Message) => self.parts.get(self.children(at).next()?),
            _ => None,
        };
        match section {
            Section::Whole if path.is_empty() => Some(0..u64::from(self.size)),
            Section::Whole => Some(part.body()),
            Section::Mime if path.is_empty() => None,
            Section::Mime => Some(part.header()),
            Section::Header => Some(message()?.header()),
            Section::Text => Some(message()?.body()),
        }
    }

    /// As it is stored: a version byte, then postcard. At most `STRUCTURE_BYTES_MAX`.
    ///
    /// The scanner never makes more; of a larger one the strings are left out, the deepest parts' first.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_whole();
        if bytes.len() <= STRUCTURE_BYTES_MAX {
            return bytes;
        }
        let mut smaller = self.clone();
        smaller.parts.truncate(MIME_PARTS_MAX);
        for depth in (0..=MIME_DEPTH_MAX as u8).rev() {
            for part in smaller.parts.iter_mut().filter(|part| part.depth >= depth) {
                (part.params, part.extra, part.envelope) = (Vec::new(), None, None);
                (part.media, part.encoding) = (None, Encoding::SevenBit);
            }
            bytes = smaller.encode_whole();
            if bytes.len() <= STRUCTURE_BYTES_MAX {
                break;
            }
        }
        bytes
    }

    fn encode_whole(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// A structure as [`Structure::encode`] made it. Another version or other bytes are malformed: the message must be scanned again.
    pub fn decode(bytes: &[u8]) -> Result<Structure, Malformed> {
        let Some((&VERSION, bytes)) = bytes.split_first() else { return Err(Malformed) };
        let structure: Structure = postcard::from_bytes(bytes).map_err(|_| Malformed)?;
        if structure.is_sound() { Ok(structure) } else { Err(Malformed) }
    }

    /// The invariants at the top of this file, so that bytes of a damaged store cannot make readers recurse or overrun.
    fn is_sound(&self) -> bool {
        let mut depth = None;
        (1..=MIME_PARTS_MAX).contains(&self.parts.len())
            && self.parts.iter().all(|part| {
                let fits = match depth.replace(part.depth) {
                    None => part.depth == 0,
                    Some(before) => part.depth > 0 && part.depth <= before.saturating_add(1),
                };
                let ordered = part.header_start <= part.body_start
                    && part.body_start <= part.body_end
                    && part.body_end <= self.size;
                fits && ordered && usize::from(part.depth) < MIME_DEPTH_MAX
            })
    }
}
