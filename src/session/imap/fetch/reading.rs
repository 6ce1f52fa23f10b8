//! One section of a message on its way into a FETCH response, piece by piece (RFC 3501 §4.3 literals, §6.4.5).
//!
//! Nothing is announced before the first piece has been loaded, and so verified: a damaged message is left out of the answer.
//! Damage behind that is [`Broken`]: a literal has been promised whose bytes are not there, and only closing keeps the client from
//! taking something else for them.
//!
//! `HEADER.FIELDS` is filtered on the way. Its length is known only at the header's end: what fits into `PIECE_BYTES` is kept and sent
//! then; of more, the bytes are only counted, and the header is read a second time.
//!
//! Invariant: as many bytes follow an announcement as it says, or the connection closes. Memory: one piece, whatever the size.

use std::ops::Range;

use super::section::{Fields, Window};
use crate::limits::PIECE_BYTES;
use crate::session::Next;
use crate::session::stream::Sending;
use crate::store::LoadError;
use crate::types::BodyId;
use crate::wire::header::FieldFilter;
use crate::wire::imap::Item;
use crate::wire::imap::fetch_line::FetchLine;
use crate::wire::imap::reply;

/// A literal was promised that cannot be kept: close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// How far a section has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to be loaded.
    More,
    /// All of it is in `out`.
    Done,
    /// It could not be read, and nothing of it is in `out`.
    Left(LoadError),
}

/// The response that is being written. Begun by its first item, so that one without items is never begun.
#[derive(Debug)]
pub(super) struct Response {
    seq: u32,
    line: Option<FetchLine>,
}

impl Response {
    /// About the message with this sequence number.
    pub(super) fn new(seq: u32) -> Response {
        Response { seq, line: None }
    }

    /// The response, begun now at the latest.
    pub(super) fn line(&mut self, out: &mut Vec<u8>) -> &mut FetchLine {
        self.line.get_or_insert_with(|| FetchLine::begin(out, self.seq))
    }

    /// Whether something of it is in `out`, or has been sent.
    pub(super) fn is_begun(&self) -> bool {
        self.line.is_some()
    }

    /// Ends the response, if it has been begun.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        if let Some(line) = self.line {
            line.end(out);
        }
    }

    /// An item that has no bytes: an empty literal, since curl and imaplib look for one; of a partial the empty string, as RFC 3501
    /// §6.4.5 puts it.
    pub(super) fn empty(&mut self, item: &Item, out: &mut Vec<u8>) {
        match item {
            Item::Section { partial: Some(_), .. } => {
                self.line(out).named(out, item);
                out.extend_from_slice(b"\"\"");
            }
            _ => self.literal(item, 0, out),
        }
    }

    /// An item that the message has not.
    pub(super) fn nil(&mut self, item: &Item, out: &mut Vec<u8>) {
        self.line(out).named(out, item);
        out.extend_from_slice(b"NIL");
    }

    /// Announces `count` bytes, which must follow.
    fn literal(&mut self, item: &Item, count: u64, out: &mut Vec<u8>) {
        self.line(out).named(out, item);
        reply::literal_header(out, count);
    }
}

/// A section that is being read.
pub(super) struct Reading {
    body: BodyId,
    sending: Sending,
    announced: bool,
    /// Bytes of the literal that are still to come, once it is announced.
    rest: u64,
    fields: Option<Box<Filtering>>,
}

/// Chosen fields of a header.
struct Filtering {
    header: Range<u64>,
    names: Vec<Vec<u8>>,
    not: bool,
    window: Range<u64>,
    filter: FieldFilter,
    clip: Window,
    /// How many bytes the answer has, as far as it is known.
    count: u64,
    /// The answer, as long as it is small.
    kept: Vec<u8>,
}

impl Filtering {
    fn new(fields: &Fields<'_>) -> Filtering {
        let names: Vec<_> = fields.names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Filtering {
            header: fields.header.clone(),
            filter: FieldFilter::new(names.clone(), fields.not),
            names,
            not: fields.not,
            clip: Window::new(fields.window.clone()),
            window: fields.window.clone(),
            count: 0,
            kept: Vec::new(),
        }
    }

    /// Takes the next bytes of the header; gives those that are told of them.
    fn choose(&mut self, bytes: &[u8], last: bool) -> Vec<u8> {
        let mut chosen = Vec::new();
        self.filter.push(bytes, &mut chosen);
        if last {
            let filter = std::mem::replace(&mut self.filter, FieldFilter::new(self.names.clone(), self.not));
            filter.finish(&mut chosen);
        }
        self.clip.clip(&chosen).to_vec()
    }
}

impl Reading {
    /// Bytes of the message, at least one.
    pub(super) fn bytes(body: BodyId, range: Range<u64>) -> Reading {
        let rest = range.end.saturating_sub(range.start);
        Reading { body, sending: Sending::new(body, range), announced: false, rest, fields: None }
    }

    /// Fields of a header that has at least one byte.
    pub(super) fn fields(body: BodyId, fields: &Fields<'_>) -> Reading {
        let sending = Sending::new(body, fields.header.clone());
        Reading { body, sending, announced: false, rest: 0, fields: Some(Box::new(Filtering::new(fields))) }
    }

    /// What to load next. There is something while `loaded` says `More`.
    pub(super) fn load(&self) -> Option<Next> {
        self.sending.load()
    }

    /// Takes what was loaded.
    pub(super) fn loaded(
        &mut self,
        loaded: Result<&[u8], LoadError>,
        item: &Item,
        response: &mut Response,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Broken> {
        let bytes = match loaded.map(|bytes| self.sending.take(bytes)) {
            Ok(bytes) if !bytes.is_empty() => bytes,
            _ if self.announced => return Err(Broken),
            Ok(_) => return Ok(Progress::Left(LoadError::Missing)),
            Err(error) => return Ok(Progress::Left(error)),
        };
        let last = self.sending.load().is_none();
        let Some(fields) = &mut self.fields else {
            if !self.announced {
                response.literal(item, self.rest, out);
                self.announced = true;
            }
            return self.send(bytes, last, out);
        };
        let chosen = fields.choose(bytes, last);
        if self.announced {
            return self.send(&chosen, last, out);
        }
        fields.count += chosen.len() as u64;
        if fields.count <= PIECE_BYTES as u64 {
            fields.kept.extend_from_slice(&chosen);
        }
        Ok(if last { self.counted(item, response, out) } else { Progress::More })
    }

    /// Appends bytes of the literal that has been announced. The same bytes are read twice, so they are as many as were counted; were
    /// they not, the client must not take them for the literal.
    fn send(&mut self, bytes: &[u8], last: bool, out: &mut Vec<u8>) -> Result<Progress, Broken> {
        self.rest = self.rest.checked_sub(bytes.len() as u64).ok_or(Broken)?;
        out.extend_from_slice(bytes);
        match (last, self.rest) {
            (true, 0) => Ok(Progress::Done),
            (true, _) => Err(Broken),
            (false, _) => Ok(Progress::More),
        }
    }

    /// All of the header has been seen once: it is known how long the answer is.
    fn counted(&mut self, item: &Item, response: &mut Response, out: &mut Vec<u8>) -> Progress {
        let Some(fields) = &mut self.fields else { return Progress::Done };
        if fields.count == 0 {
            response.empty(item, out);
            return Progress::Done;
        }
        response.literal(item, fields.count, out);
        if fields.count <= PIECE_BYTES as u64 {
            out.append(&mut fields.kept);
            return Progress::Done;
        }
        (self.announced, self.rest) = (true, fields.count);
        (fields.kept, fields.clip) = (Vec::new(), Window::new(fields.window.clone()));
        self.sending = Sending::new(self.body, fields.header.clone());
        Progress::More
    }
}
