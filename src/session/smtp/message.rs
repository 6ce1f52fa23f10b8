//! DATA and BDAT: from the command to the last reply (RFC 5321 §4.1.1.4, RFC 3030 §2, RFC 2033 §4.2).

use super::incoming::Incoming;
use super::trace::{self, Trace};
use super::transaction::{self, Outcome};
use super::{Doing, Done, READ, Role, Smtp, say};
use crate::session::{Context, Io};
use crate::store::{NewBody, StoreError};
use crate::wire::date::DateTime;

impl Smtp {
    /// Why no message may begin now.
    fn not_ready(&self) -> Option<&'static str> {
        match &self.transaction {
            None => Some("503 5.5.1 MAIL first"),
            Some(transaction) if transaction.has_recipients() => None,
            Some(_) if self.role == Role::Lmtp => Some("503 5.5.1 no valid recipients"),
            Some(_) => Some("554 5.5.1 no valid recipients"),
        }
    }

    pub(super) fn data(&mut self, cx: &mut Context<'_>) -> Done {
        if let Some(reply) = self.not_ready() {
            return Done::Refuse(reply);
        }
        if self.transaction.as_ref().is_some_and(|transaction| transaction.incoming.is_some()) {
            return Done::Refuse("503 5.5.1 the message has begun with BDAT");
        }
        self.begin(Incoming::by_data, cx);
        self.doing = Doing::Data;
        Done::Say("354 end with <CRLF>.<CRLF>")
    }

    pub(super) fn bdat(&mut self, octets: u64, last: bool, cx: &mut Context<'_>) -> Done {
        if let Some(reply) = self.not_ready() {
            // The chunk comes all the same (RFC 3030 §2).
            self.doing = Doing::Swallowing { left: octets, reply };
            return Done::Said;
        }
        if self.transaction.as_ref().is_some_and(|transaction| transaction.incoming.is_none()) {
            self.begin(Incoming::by_chunks, cx);
        }
        self.doing = Doing::Chunk { left: octets, octets, last };
        Done::Said
    }

    /// The message begins, with the trace fields.
    fn begin(&mut self, incoming: fn(NewBody, &[u8]) -> Incoming, cx: &mut Context<'_>) {
        let (Some(transaction), Some(hello)) = (&mut self.transaction, &self.hello) else { return };
        let body = cx.store().incoming();
        let utf8 = transaction.mail.utf8;
        let login = self.user.is_some();
        let trace = Trace {
            sender: &transaction.mail.sender,
            hello: &hello.name,
            address: cx.peer.address,
            host: cx.host,
            with: trace::protocol(self.role, hello.extended, utf8, cx.peer.tls, login),
            body: body.id(),
            to: transaction.only_recipient(),
            date: DateTime::utc(cx.now),
        };
        transaction.incoming = Some(incoming(body, &trace.fields()));
    }

    /// Takes content of the message until there is no more, a piece is to be stored, or the message or chunk ends.
    pub(super) fn content(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Done {
        let Some(transaction) = &mut self.transaction else { return Done::Close("421 4.3.0 internal error") };
        loop {
            let Some(incoming) = &mut transaction.incoming else {
                return Done::Close("421 4.3.0 internal error");
            };
            if incoming.full() {
                transaction.widen(self.role, cx);
                match transaction.incoming.as_mut().and_then(Incoming::store) {
                    Some(next) => return Done::Go(next),
                    None => continue,
                }
            }
            match &mut self.doing {
                Doing::Chunk { left: 0, octets, last } => {
                    let (octets, last) = (*octets, *last);
                    return self.chunk_ended(octets, last, &mut io.out);
                }
                Doing::Chunk { .. } | Doing::Data if io.inbox.is_empty() => return READ,
                Doing::Chunk { left, .. } => {
                    let limit = usize::try_from(*left).unwrap_or(usize::MAX);
                    let bytes = io.inbox.bytes();
                    let count = incoming.take(bytes.get(..limit).unwrap_or(bytes));
                    io.inbox.consume(count);
                    *left -= count as u64;
                }
                _ => {
                    let count = incoming.take(io.inbox.bytes());
                    io.inbox.consume(count);
                    if incoming.ended() {
                        return self.ended();
                    }
                }
            }
        }
    }

    fn chunk_ended(&mut self, octets: u64, last: bool, out: &mut Vec<u8>) -> Done {
        self.doing = Doing::Commands;
        let Some(incoming) = self.transaction.as_mut().and_then(|transaction| transaction.incoming.as_mut())
        else {
            return Done::Said;
        };
        if last {
            incoming.end_chunks();
            return self.ended();
        }
        match incoming.refused() {
            // What follows is answered 503 until the peer begins anew (RFC 3030 §2).
            Some(reply) => {
                self.transaction = None;
                Done::Refuse(reply)
            }
            None => {
                say(out, &format!("250 2.0.0 {octets} octets received"));
                Done::Said
            }
        }
    }

    /// The message has ended: its last piece goes to the journal.
    fn ended(&mut self) -> Done {
        self.doing = Doing::Finishing;
        let incoming = self.transaction.as_mut().and_then(|transaction| transaction.incoming.as_mut());
        incoming.and_then(Incoming::store).map_or(Done::Said, Done::Go)
    }

    pub(super) fn stored(&mut self, result: Result<(), StoreError>) {
        let incoming = self.transaction.as_mut().and_then(|transaction| transaction.incoming.as_mut());
        if let (Err(error), Some(incoming)) = (result, incoming) {
            incoming.refuse(transaction::refusal(error));
        }
    }

    /// Delivers, and says what has become of the message. The gate holds the replies back until it is durable.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        self.doing = Doing::Commands;
        let Some(transaction) = self.transaction.take() else { return Done::Said };
        let name =
            transaction.incoming.as_ref().map(|incoming| trace::name(incoming.body)).unwrap_or_default();
        let outcome = transaction.finish(self.role, cx);
        let address = cx.peer.address.map(|address| format!(" from {address}")).unwrap_or_default();
        match outcome {
            Outcome::Delivered => {
                log::info!("message {name}{address}: delivered");
                say(out, &format!("250 2.0.0 delivered as {name}"));
            }
            Outcome::All(reply) => {
                log::info!("message {name}{address}: {reply}");
                return if reply.starts_with("550") || reply.starts_with("554") {
                    Done::Refuse(reply)
                } else {
                    Done::Say(reply)
                };
            }
            Outcome::Each(replies) => {
                for (path, refusal) in replies {
                    log::info!("message {name}{address}: {}", refusal.unwrap_or("delivered"));
                    match refusal {
                        Some(reply) => say(out, reply),
                        None => say(out, &format!("250 2.1.5 {path} delivered as {name}")),
                    }
                }
            }
        }
        Done::Said
    }
}
