//! The message of a transaction while it comes in: by DATA or by BDAT, into pieces for the journal, or into nothing.
//!
//! Refuses to stop early: whatever is wrong with a message, the connection goes on at its real end, so that no byte of it is ever
//! taken for a command (RFC 5321 §4.1.1.4). What is refused already is passed over and costs no memory.
//!
//! Invariant: what is stored is what was sent, dots taken off; what might be read in two ways is refused (RFC 5321 §2.3.8).

use crate::limits::{MESSAGE_BYTES_MAX, RECEIVED_MAX};
use crate::session::Next;
use crate::session::receive::Receiver;
use crate::store::NewBody;
use crate::types::BodyId;
use crate::wire::header::ReceivedCounter;
use crate::wire::line::dots::{Breaks, Dots, Fault};

/// A message that is coming in.
pub struct Incoming {
    /// Which message.
    pub body: BodyId,
    /// None once it is refused.
    receiver: Option<Receiver>,
    received: ReceivedCounter,
    framing: Framing,
    /// Bytes of content so far, without what we put before it.
    size: u64,
    refused: Option<&'static str>,
}

enum Framing {
    /// DATA: up to CRLF.CRLF.
    Dots(Dots),
    /// BDAT: as many bytes as the commands say.
    Chunks(Breaks),
}

impl Incoming {
    /// A message by DATA, with the trace lines that go before it.
    pub fn by_data(body: impl Into<NewBody>, trace: &[u8]) -> Incoming {
        Incoming::new(body.into(), trace, Framing::Dots(Dots::new()))
    }

    /// A message by BDAT.
    pub fn by_chunks(body: impl Into<NewBody>, trace: &[u8]) -> Incoming {
        Incoming::new(body.into(), trace, Framing::Chunks(Breaks::default()))
    }

    fn new(body: NewBody, trace: &[u8], framing: Framing) -> Incoming {
        let id = body.id();
        let mut receiver = Receiver::new(body);
        receiver.push(trace);
        let receiver = Some(receiver);
        Incoming { body: id, receiver, received: ReceivedCounter::new(), framing, size: 0, refused: None }
    }

    /// Takes bytes, and says how many; none when a piece must be stored first.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.receiver.as_ref().map_or(usize::MAX, Receiver::room);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let (content, consumed, fault) = match &mut self.framing {
            Framing::Dots(dots) => {
                let run = dots.push(bytes);
                (run.bytes, run.consumed, dots.fault())
            }
            Framing::Chunks(breaks) => {
                breaks.push(bytes);
                (bytes, bytes.len(), breaks.fault())
            }
        };
        self.size = self.size.saturating_add(content.len() as u64);
        if let Some(receiver) = &mut self.receiver {
            receiver.push(content);
            self.received.push(content);
        }
        if let Some(fault) = fault {
            self.refuse(fault_reply(fault));
        }
        if self.size > MESSAGE_BYTES_MAX {
            self.refuse("552 5.3.4 message too large");
        }
        if self.received.count() > RECEIVED_MAX {
            self.refuse("554 5.4.6 too many hops: this message goes in circles");
        }
        consumed
    }

    /// Refuses the message; the first reason is the one that is told. Its memory is given back now.
    pub fn refuse(&mut self, reply: &'static str) {
        self.refused.get_or_insert(reply);
        self.receiver = None;
    }

    /// Why the message is refused, if it is.
    pub fn refused(&self) -> Option<&'static str> {
        self.refused
    }

    /// Whether DATA has come to its end.
    pub fn ended(&self) -> bool {
        matches!(&self.framing, Framing::Dots(dots) if dots.ended())
    }

    /// Bytes that are to be stored, as far as is known; none of a refused message.
    pub fn stored_bytes(&self) -> u64 {
        self.receiver.as_ref().map_or(0, Receiver::size)
    }

    /// Whether a piece must be stored before more is taken.
    pub fn full(&self) -> bool {
        self.receiver.as_ref().is_some_and(Receiver::full)
    }

    /// The piece that has been gathered.
    pub fn store(&mut self) -> Option<Next> {
        self.receiver.as_mut().and_then(Receiver::store)
    }

    /// The last chunk has come.
    pub fn end_chunks(&mut self) {
        if let Framing::Chunks(breaks) = &self.framing
            && let Some(fault) = breaks.finish()
        {
            self.refuse(fault_reply(fault));
        }
    }

    /// The message, all of whose pieces have been stored; or why it is refused.
    ///
    /// # Errors
    /// The reply.
    pub fn finish(self) -> Result<Receiver, &'static str> {
        match (self.refused, self.receiver) {
            (None, Some(receiver)) => Ok(receiver),
            (reply, _) => Err(reply.unwrap_or("451 4.3.0 internal error")),
        }
    }
}

/// 550: the sender must be told, trying again does not help.
fn fault_reply(fault: Fault) -> &'static str {
    match fault {
        Fault::BareCr => "550 5.6.0 the message has CR without LF",
        Fault::BareLf => "550 5.6.0 the message has LF without CR",
        Fault::Nul => "550 5.6.0 the message has a NUL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(times: usize) -> Option<&'static str> {
        let mut incoming = Incoming::by_data(BodyId(1), b"Received: ours\r\n");
        let mut data = b"Received: by x\r\n".repeat(times);
        data.extend_from_slice(b"\r\nReceived: not a field\r\n.\r\n");
        let mut rest = &data[..];
        while !incoming.ended() {
            let count = incoming.take(rest);
            assert!(count > 0);
            rest = &rest[count..];
        }
        incoming.refused()
    }

    #[test]
    fn a_message_in_circles_is_stopped() {
        assert_eq!(received(RECEIVED_MAX), None);
        assert_eq!(received(RECEIVED_MAX + 1).map(|reply| &reply[..9]), Some("554 5.4.6"));
    }

    #[test]
    fn a_refused_message_goes_on_to_its_end_without_memory() {
        let mut incoming = Incoming::by_data(BodyId(1), b"");
        for _ in 0..100 {
            assert_eq!(incoming.take(&[b'x'; 65536][..]), 65536);
            incoming.refuse("552 5.3.4 message too large");
        }
        assert_eq!((incoming.stored_bytes(), incoming.full()), (0, false));
        assert!(incoming.take(b"\r\n.\r\n") > 0 && incoming.refused().is_some());
        assert!(incoming.store().is_none());
    }
}
