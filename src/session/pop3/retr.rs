//! RETR and TOP: a message on its way out, piece by piece, with dots put on (RFC 1939 §5, §7).
//!
//! +OK is said when the first piece is there, so what cannot be read is refused in words. What breaks off later is cut off without
//! the lone dot: nothing wrong is ever sent, and the client knows.

use super::maildrop::Maildrop;
use super::text::{Text, say};
use super::{Doing, Done, Pop3};
use crate::limits::OUT_BYTES;
use crate::session::stream::Sending;
use crate::session::{Context, Io, Next};
use crate::store::LoadError;
use crate::wire::line::dots::Stuffing;
use crate::wire::pop3::Top;

/// A message that is being sent.
#[derive(Debug)]
pub struct Retrieving {
    number: u32,
    octets: u64,
    sending: Sending,
    stuffing: Stuffing,
    top: Option<Top>,
    /// +OK has been said: there is no way back.
    pub started: bool,
}

impl Pop3 {
    /// RETR and TOP.
    pub(super) fn start(
        &mut self,
        maildrop: &Maildrop,
        number: u32,
        top: Option<Top>,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Done {
        let entry = match maildrop.message(number, cx) {
            Ok(entry) if entry.expunged => return self.no(Text::Expunged, number, out),
            Ok(entry) => entry,
            Err(text) => return self.no(text, number, out),
        };
        let octets = u64::from(entry.message.size);
        let sending = Sending::new(entry.message.body, 0..octets);
        let mut retrieving =
            Box::new(Retrieving { number, octets, sending, stuffing: Stuffing::new(), top, started: false });
        match retrieving.sending.load() {
            Some(load) => {
                self.doing = Doing::Retrieving(retrieving);
                Done::Go(load)
            }
            None => {
                self.head(&mut retrieving, out);
                retrieving.stuffing.end(out);
                Done::Next
            }
        }
    }

    /// Says +OK to RETR and TOP, when the first piece is there.
    fn head(&self, retrieving: &mut Retrieving, out: &mut Vec<u8>) {
        if !retrieving.started {
            retrieving.started = true;
            match retrieving.top {
                Some(_) => say(out, self.language, Text::Top, &[]),
                None => say(out, self.language, Text::Octets, &[retrieving.octets]),
            }
        }
    }

    pub(super) fn loaded(
        &mut self,
        mut retrieving: Box<Retrieving>,
        loaded: Result<&[u8], LoadError>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let bytes = match loaded {
            Ok(bytes) => bytes,
            // The message is cut off: without its lone dot the client knows.
            Err(_) if retrieving.started => return Next::Close,
            Err(_) => {
                say(&mut io.out, self.language, Text::Unreadable, &[retrieving.number.into()]);
                return self.commands(io, cx);
            }
        };
        self.head(&mut retrieving, &mut io.out);
        let mut bytes = retrieving.sending.take(bytes);
        let mut ended = false;
        if let Some(top) = &mut retrieving.top {
            let taken;
            (taken, ended) = top.take(bytes);
            bytes = bytes.get(..taken).unwrap_or_default();
        }
        retrieving.stuffing.push(bytes, &mut io.out);
        if ended || retrieving.sending.load().is_none() {
            retrieving.stuffing.end(&mut io.out);
            return self.commands(io, cx);
        }
        if io.out.len() >= OUT_BYTES {
            self.doing = Doing::Retrieving(retrieving);
            return Next::Send;
        }
        self.retrieve(retrieving, io, cx)
    }

    pub(super) fn retrieve(
        &mut self,
        retrieving: Box<Retrieving>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        match retrieving.sending.load() {
            Some(load) => {
                self.doing = Doing::Retrieving(retrieving);
                load
            }
            None => {
                retrieving.stuffing.end(&mut io.out);
                self.commands(io, cx)
            }
        }
    }
}
