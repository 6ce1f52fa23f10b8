//! The scanner: takes a message in pieces and finds its parts, line by line, with the open parts on a stack (RFC 2046 §5.1).
//!
//! Refuses to buffer a body: it holds one header field, one piece of a line, and what becomes the structure.
//!
//! Invariants: any chunking gives the same structure; each byte is looked at a fixed number of times; memory is bounded by
//! `HEADER_FIELD_BYTES_MAX`, `STRUCTURE_BYTES_MAX` and `MIME_DEPTH_MAX`.
//!
//! Deliberate readings of what the RFCs leave open or what senders get wrong:
//! - A header ends at its first empty line, whatever stands before it; lines that are no field are passed over.
//! - A boundary fits only when nothing but white space follows it, so `--abc` does not end parts of boundary `ab`.
//! - A boundary of an outer multipart ends everything inside, also in the middle of a header.
//! - A multipart without a usable boundary has an invalid Content-Type, and so is text/plain (RFC 2045 §5.2).
//! - Beyond the limits of depth, count and size, what comes is content of the part that is open.

use super::list;
use super::media::{self, Field};
use super::{Encoding, Envelope, Extra, Kind, Mailbox, Params, Part, Structure};
use crate::limits::{
    BOUNDARY_BYTES_MAX, ENVELOPE_ADDRESSES_MAX, HEADER_FIELD_BYTES_MAX, MIME_DEPTH_MAX, MIME_PARTS_MAX,
    STRUCTURE_BYTES_MAX,
};
use crate::wire::date;

/// What a part takes of the encoded structure without its strings, bytes: four numbers of at most 5, and 7 tags and counts.
const PART_BYTES: usize = 28;
/// What an envelope takes without its strings: a date of at most 13, and 11 tags and counts.
const ENVELOPE_BYTES: usize = 32;
/// What a part's less usual fields take without their strings.
const EXTRA_BYTES: usize = 8;
/// What a string takes besides its bytes: tag and length.
const STRING_BYTES: usize = 4;
/// What is kept back from envelopes, so that enormous ones leave room for the fields of the parts.
const DETAILS_BYTES: usize = 24 * 1024;
/// What is kept back from those, so that they leave room for types.
const TYPES_BYTES: usize = 8 * 1024;

const _: () = assert!(PART_BYTES * MIME_PARTS_MAX + 2 * DETAILS_BYTES <= STRUCTURE_BYTES_MAX);
const _: () = assert!(TYPES_BYTES < DETAILS_BYTES);

/// Reads a message once, in pieces of any size.
pub struct Scanner {
    parts: Vec<Part>,
    /// The parts that are not yet closed, outermost first; the index is the depth.
    open: Vec<Open>,
    /// A limit is reached: what comes is content of what is open.
    full: bool,
    /// Bytes of the encoded structure that strings may still take.
    room: usize,

    /// Bytes of whole lines so far.
    offset: u64,
    /// Line feeds so far.
    lines: u64,
    /// Bytes of the line end before the current line: 0, 1 or 2.
    line_end: u64,

    /// The beginning of a line whose end has not come, at most `HEADER_FIELD_BYTES_MAX`.
    pending: Vec<u8>,
    /// How long that line is so far.
    pending_bytes: u64,
    /// Its last byte so far.
    pending_last: u8,

    /// The header field being read, if it is one that matters, and its value without line ends.
    field: Option<Field>,
    value: Vec<u8>,
    /// Of the header being read: whether it has a valid Content-Type, and that one's boundary.
    typed: bool,
    boundary: Vec<u8>,
}

struct Open {
    /// Its number in `parts`.
    part: usize,
    /// Line feeds before its body.
    lines: u64,
    state: State,
}

enum State {
    Header,
    Content,
    /// Between the boundaries, or before the first.
    Multipart {
        boundary: Vec<u8>,
    },
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new()
    }
}

impl Scanner {
    /// Before the first byte.
    pub fn new() -> Scanner {
        let mut scanner = Scanner {
            parts: Vec::new(),
            open: Vec::new(),
            full: false,
            room: STRUCTURE_BYTES_MAX - 16 - ENVELOPE_BYTES - PART_BYTES * MIME_PARTS_MAX,
            offset: 0,
            lines: 0,
            line_end: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            pending_last: 0,
            field: None,
            value: Vec::new(),
            typed: false,
            boundary: Vec::new(),
        };
        scanner.open_part(0, true);
        scanner
    }

    /// Takes the next bytes of the message.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some((line, rest)) = cut(bytes) {
            bytes = rest;
            if self.pending_bytes == 0 {
                self.line(line, line.len() as u64, line.ends_with(b"\r"), true);
            } else {
                self.hold(line);
                self.pending_line(true);
            }
        }
        self.hold(bytes);
    }

    /// What the message was made of.
    pub fn finish(mut self) -> Structure {
        if self.pending_bytes > 0 {
            self.pending_line(false);
        }
        // What ends with the message has no boundary after it that a line end belongs to.
        self.line_end = 0;
        self.close_down_to(0);
        Structure { size: offset32(self.offset), parts: self.parts }
    }

    /// Keeps the beginning of a line until its end comes.
    fn hold(&mut self, bytes: &[u8]) {
        let room = HEADER_FIELD_BYTES_MAX.saturating_sub(self.pending.len());
        self.pending.extend(bytes.iter().take(room));
        self.pending_bytes += bytes.len() as u64;
        self.pending_last = bytes.last().copied().unwrap_or(self.pending_last);
    }

    fn pending_line(&mut self, line_feed: bool) {
        let mut line = std::mem::take(&mut self.pending);
        let (bytes, last) = (self.pending_bytes, self.pending_last);
        (self.pending_bytes, self.pending_last) = (0, 0);
        self.line(&line, bytes, last == b'\r', line_feed);
        line.clear();
        self.pending = line;
    }

    /// A line without its line feed, of which at least the first `HEADER_FIELD_BYTES_MAX` bytes are given.
    fn line(&mut self, line: &[u8], bytes: u64, cr: bool, line_feed: bool) {
        let next = self.offset + bytes + u64::from(line_feed);
        let line_end = if line_feed { 1 + u64::from(cr) } else { 0 };
        let text = match line.get(..HEADER_FIELD_BYTES_MAX) {
            Some(beginning) => beginning,
            None if line_end == 2 => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        let delimiter = if text.starts_with(b"--") && !self.full { self.delimiter(text) } else { None };
        if let Some((level, last)) = delimiter {
            self.close_down_to(level + 1);
            match self.open.last_mut() {
                Some(multipart) if last => multipart.state = State::Content,
                _ => self.open_part(next, false),
            }
        } else if matches!(self.open.last(), Some(Open { state: State::Header, .. })) {
            if text.is_empty() && line_feed {
                self.end_header(next, self.lines + 1);
            } else {
                self.header_line(text);
            }
        }
        self.offset = next;
        self.lines += u64::from(line_feed);
        self.line_end = line_end;
    }

    /// Which open multipart a line that begins with `--` delimits, innermost first, and whether it is its last delimiter.
    ///
    /// ```text
    /// delimiter       = CRLF "--" boundary *( SP / HTAB )
    /// close-delimiter = CRLF "--" boundary "--" *( SP / HTAB )
    /// ```
    fn delimiter(&mut self, text: &[u8]) -> Option<(usize, bool)> {
        let rest = text.get(2..)?.trim_ascii_end();
        let fits = |open: &Open| match &open.state {
            State::Multipart { boundary } if rest == boundary => Some(false),
            State::Multipart { boundary } if rest.strip_suffix(b"--") == Some(boundary) => Some(true),
            _ => None,
        };
        let found =
            self.open.iter().enumerate().rev().find_map(|(level, open)| Some((level, fits(open)?)))?;
        // If no more parts may be opened, none will be closed either: the rest is content of what is open.
        self.full |= !found.1 && self.parts.len() >= MIME_PARTS_MAX;
        (!self.full).then_some(found)
    }

    fn open_part(&mut self, header_start: u64, is_message: bool) {
        let depth = u8::try_from(self.open.len()).unwrap_or(u8::MAX);
        let start = offset32(header_start);
        self.open.push(Open { part: self.parts.len(), lines: 0, state: State::Header });
        self.parts.push(Part {
            depth,
            header_start: start,
            body_start: start,
            body_end: start,
            envelope: is_message.then(Box::default),
            ..Part::default()
        });
        (self.field, self.typed) = (None, false);
        self.boundary.clear();
    }

    /// Ends the parts that lie deeper than `level` others, before the current line.
    fn close_down_to(&mut self, level: usize) {
        while matches!(self.open.last(), Some(Open { state: State::Header, .. })) && self.open.len() > level {
            self.end_header(self.offset, self.lines);
        }
        // The line end before a boundary belongs to it, unless it ends the innermost header: that one keeps it,
        // and so do the parts around it.
        let innermost = self.open.last().and_then(|open| self.parts.get(open.part));
        let mut line_end = self.line_end;
        if innermost.is_some_and(|part| part.body_start > offset32(self.offset - line_end)) {
            line_end = 0;
        }
        let end = offset32(self.offset - line_end);
        while self.open.len() > level {
            let Some(open) = self.open.pop() else { return };
            let Some(part) = self.parts.get_mut(open.part) else { return };
            part.body_end = end.max(part.body_start);
            if part.is_text() || part.kind == Kind::Message {
                let lines = (self.lines - u64::from(line_end > 0)).saturating_sub(open.lines);
                part.lines = offset32(lines);
            }
        }
    }

    fn header_line(&mut self, text: &[u8]) {
        if text.starts_with(b" ") || text.starts_with(b"\t") {
            if self.field.is_some() {
                self.append(text);
            }
            return;
        }
        self.end_field();
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = text.split_at_checked(colon).unwrap_or((text, &[]));
        self.field = Field::of(name.trim_ascii_end());
        if self.field.is_some() {
            self.append(value.get(1..).unwrap_or_default());
        }
    }

    fn append(&mut self, text: &[u8]) {
        let room = HEADER_FIELD_BYTES_MAX.saturating_sub(self.value.len());
        self.value.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// Decides what the body is that begins here, after `lines` line feeds.
    fn end_header(&mut self, body_start: u64, lines: u64) {
        self.end_field();
        let is_digest = self.parent().is_some_and(|parent| parent.is("multipart", "digest"));
        let is_shallow = self.open.len() < MIME_DEPTH_MAX;
        let boundary = std::mem::take(&mut self.boundary);
        let Some(open) = self.open.last_mut() else { return };
        let Some(part) = self.parts.get_mut(open.part) else { return };
        part.body_start = offset32(body_start);
        open.lines = lines;
        open.state = State::Content;
        if is_digest && !self.typed {
            part.media = Some((b"message"[..].into(), b"rfc822"[..].into()));
        }
        let is_multipart = part.media.as_ref().is_some_and(|(kind, _)| **kind == *b"multipart");
        let is_message = part.is("message", "rfc822") || part.is("message", "global");
        let is_encoded = matches!(part.encoding, Encoding::Base64 | Encoding::QuotedPrintable);
        if is_multipart && boundary.is_empty() {
            (part.media, part.params) = (None, Vec::new());
        } else if is_multipart && is_shallow && !self.full {
            part.kind = Kind::Multipart;
            open.state = State::Multipart { boundary };
        } else if is_message
            && !is_encoded
            && is_shallow
            && self.parts.len() < MIME_PARTS_MAX
            && self.spend(ENVELOPE_BYTES, 0)
        {
            self.set_kind(Kind::Message);
            self.open_part(body_start, true);
        }
    }

    fn set_kind(&mut self, kind: Kind) {
        if let Some(part) = self.current() {
            part.kind = kind;
        }
    }

    fn current(&mut self) -> Option<&mut Part> {
        self.parts.get_mut(self.open.last()?.part)
    }

    fn parent(&self) -> Option<&Part> {
        let level = self.open.len().checked_sub(2)?;
        self.parts.get(self.open.get(level)?.part)
    }

    /// Takes a string's bytes from what the structure may still have, unless less than `reserve` would be left.
    fn spend(&mut self, bytes: usize, reserve: usize) -> bool {
        match self.room.checked_sub(bytes + STRING_BYTES) {
            Some(left) if left >= reserve => {
                self.room = left;
                true
            }
            _ => false,
        }
    }

    /// Understands the field that has just been read. Of fields that may stand only once, the first counts.
    fn end_field(&mut self) {
        let Some(field) = self.field.take() else { return };
        let value = media::clean(&self.value);
        self.value.clear();
        match field {
            Field::ContentType => self.content_type(&value),
            Field::Encoding => self.encoding(&value),
            Field::Disposition => self.disposition(&value),
            Field::Language | Field::Id | Field::Description | Field::Md5 | Field::Location => {
                self.extra(field, value);
            }
            Field::From | Field::Sender | Field::ReplyTo | Field::To | Field::Cc | Field::Bcc => {
                self.addresses(field, &value)
            }
            Field::Date | Field::Subject | Field::InReplyTo | Field::MessageId => {
                self.envelope_text(field, value)
            }
        }
    }

    fn content_type(&mut self, value: &[u8]) {
        if self.typed {
            return;
        }
        let Some((kind, subtype, params)) = media::content_type(value) else { return };
        self.typed = true;
        let is_plain = *kind == *b"text" && *subtype == *b"plain";
        if *kind == *b"multipart"
            && let Some((_, boundary)) = params.iter().find(|(name, _)| **name == *b"boundary")
            && boundary.len() <= BOUNDARY_BYTES_MAX
        {
            self.boundary = boundary.trim_ascii_end().to_vec();
        }
        if !is_plain && !self.spend(kind.len() + subtype.len() + STRING_BYTES, 0) {
            self.full = true;
            return;
        }
        let params = self.affordable(params);
        if let Some(part) = self.current() {
            part.media = (!is_plain).then_some((kind, subtype));
            part.params = params;
        }
    }

    fn affordable(&mut self, mut params: Params) -> Params {
        params.retain(|(name, value)| self.spend(name.len() + value.len() + STRING_BYTES, TYPES_BYTES));
        params
    }

    fn encoding(&mut self, value: &[u8]) {
        let encoding = media::encoding(value);
        let is_affordable = match &encoding {
            Encoding::Other(name) => self.spend(name.len(), TYPES_BYTES),
            _ => true,
        };
        if let Some(part) = self.current()
            && part.encoding == Encoding::SevenBit
            && is_affordable
        {
            part.encoding = encoding;
        }
    }

    fn disposition(&mut self, value: &[u8]) {
        let (kind, params) = media::disposition(value);
        if !self.spend(kind.len() + EXTRA_BYTES, TYPES_BYTES) {
            return;
        }
        let params = self.affordable(params);
        if let Some(part) = self.current() {
            part.extra.get_or_insert_with(Box::default).disposition.get_or_insert((kind, params));
        }
    }

    fn extra(&mut self, field: Field, value: Vec<u8>) {
        if !self.spend(value.len() + EXTRA_BYTES, TYPES_BYTES) {
            return;
        }
        let Some(part) = self.current() else { return };
        let extra: &mut Extra = part.extra.get_or_insert_with(Box::default);
        let slot = match field {
            Field::Id => &mut extra.id,
            Field::Description => &mut extra.description,
            Field::Md5 => &mut extra.md5,
            Field::Location => &mut extra.location,
            _ => {
                if extra.language.is_empty() {
                    extra.language = media::language(&value);
                }
                return;
            }
        };
        slot.get_or_insert_with(|| value.into());
    }

    fn envelope(&mut self) -> Option<&mut Envelope> {
        self.current()?.envelope.as_deref_mut()
    }

    fn envelope_text(&mut self, field: Field, value: Vec<u8>) {
        if self.envelope().is_none() || !self.spend(value.len(), DETAILS_BYTES) {
            return;
        }
        let Some(envelope) = self.envelope() else { return };
        let slot = match field {
            Field::Date => {
                envelope.sent = envelope.sent.or_else(|| date::parse_rfc5322(&value));
                &mut envelope.date
            }
            Field::Subject => &mut envelope.subject,
            Field::InReplyTo => &mut envelope.in_reply_to,
            _ => &mut envelope.message_id,
        };
        slot.get_or_insert_with(|| value.into());
    }

    fn addresses(&mut self, field: Field, value: &[u8]) {
        if self.envelope().is_none() {
            return;
        }
        let mut listed = list::parse(value, ENVELOPE_ADDRESSES_MAX);
        let affordable = listed.iter().take_while(|mailbox| self.spend(cost(mailbox), DETAILS_BYTES)).count();
        list::cut(&mut listed, affordable);
        let Some(envelope) = self.envelope() else { return };
        let (slot, adds) = match field {
            Field::From => (&mut envelope.from, false),
            Field::Sender => (&mut envelope.sender, false),
            Field::ReplyTo => (&mut envelope.reply_to, false),
            Field::To => (&mut envelope.to, true),
            Field::Cc => (&mut envelope.cc, true),
            _ => (&mut envelope.bcc, true),
        };
        // Recipient fields that stand twice are all told, as every reader shows them.
        if adds || slot.is_empty() {
            slot.append(&mut listed);
            list::cut(slot, ENVELOPE_ADDRESSES_MAX);
        }
    }
}

/// What an address takes of the encoded structure, besides `STRING_BYTES`.
fn cost(mailbox: &Mailbox) -> usize {
    let Mailbox { name, route, local, host } = mailbox;
    [name, route, local, host].into_iter().flatten().map(|text| text.len() + STRING_BYTES).sum::<usize>()
        + STRING_BYTES
}

/// The first line, without its line feed, and what follows it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'\n')?)?;
    Some((line, rest.get(1..)?))
}

fn offset32(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
