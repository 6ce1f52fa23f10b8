//! Sessions decide; they do nothing. A session takes one [`Input`] and returns one [`Next`].
//!
//! No I/O, no clock, no await here: [`crate::serve`] has one loop that does what every session of every protocol asks for,
//! on TLS, on plain TCP and on the serial line, and the tests drive the same sessions without sockets or sleeps.
//!
//! The contract:
//! - The first input is `Start`. After that, each `Next` is answered by exactly one input:
//!   `Read` by `Bytes`, `Eof` or `Timeout`; `Send` by `Sent`; `Load` by `Loaded`; `Store` by `Stored`; `Secret` by `Secret`; `Job` by `Job`;
//!   `Upgrade` by `Upgraded`; `Wait` by `Bytes`, `Woken`, `Eof` or `Timeout`. After `Close` there is no further step.
//! - Bytes of the peer lie in [`Io::inbox`]; the session consumes what it has understood and leaves the rest there, so pipelined
//!   commands wait by themselves. `Bytes` says that the inbox has grown. A session returns `Read` only when what is in the inbox
//!   is not enough, and then never leaves more than its own line limit there.
//! - Bytes for the peer are appended to [`Io::out`]. They are sent before `Read`, `Send`, `Wait`, `Upgrade` and `Close` take effect,
//!   not before `Load`, `Store`, `Secret` or `Job`. A session that has gathered `limits::OUT_BYTES` returns `Send`.
//! - Nothing of `out` leaves before everything that this session has read from or written to the store is durable ([`gate`]).
//! - A step takes the store for microseconds ([`Context::store`]) and parses hostile bytes before it does.

use std::net::IpAddr;

use crate::store::{Access, LoadError, Shared, StoreError};
use crate::types::{AccountId, BodyId, Position, Time};

pub mod console;
pub mod imap;
pub mod job;
pub mod login;
pub mod pop3;
pub mod receive;
pub mod smtp;
pub mod stream;

pub use job::{Job, JobAnswer};

/// One connection's state machine.
pub trait Session: Send {
    /// Takes what happened and says what to do next.
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next;

    /// Appends this protocol's last words; the connection is closed after them. What was in `out` before has been dropped, so the
    /// peer has what was sent before the last step, and with `Shutdown` everything.
    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>);
}

/// Why serve ends a session that has not asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The server stops: `421 4.3.2`, `* BYE`.
    Shutdown,
    /// What the session was about to acknowledge could not be made durable: `421 4.3.1`, `* BYE [UNAVAILABLE]`, `-ERR [SYS/TEMP]`.
    NotStored,
    /// A defect of ours: `421 4.3.0`, `* BYE`.
    Defect,
    /// Too many connections, here or from this address: `421 4.7.0`, `* BYE`, `-ERR [SYS/TEMP]`. Said instead of a greeting.
    Busy,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection is there (with implicit TLS: the handshake is done).
    Start,
    /// The inbox has grown.
    Bytes,
    /// All of `out` has been handed to the system.
    Sent,
    /// What was to be loaded. The piece's checksum has been verified.
    Loaded(Result<&'a [u8], LoadError>),
    /// The piece is in the journal's hands, not yet durable: the gate sees to that.
    Stored(Result<(), StoreError>),
    /// The answer to a `Secret` job.
    Secret(SecretAnswer),
    /// The answer to a `Job`.
    Job(JobAnswer),
    /// The upgrade is done; plaintext that was still unread has been dropped.
    Upgraded,
    /// An account that `Wait` named has changed, durably.
    Woken,
    /// Nothing happened for as long as `Read` or `Wait` said.
    Timeout,
    /// The peer will send no more.
    Eof,
}

impl Input<'_> {
    /// Whether all of `out` has been sent since the last step: so it is with everything but the answers to `Load`, `Store`,
    /// `Secret` and `Job`.
    pub fn is_after_sending(&self) -> bool {
        !matches!(self, Input::Loaded(_) | Input::Stored(_) | Input::Secret(_) | Input::Job(_))
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Wait for bytes of the peer, this long.
    Read {
        /// Silence after which `Timeout` comes.
        seconds: u32,
    },
    /// Send `out` now.
    Send,
    /// Fetch a piece of a message.
    Load(Load),
    /// Hand a piece of a message to the journal. Answered when there is room: this is the back-pressure.
    Store {
        /// Which message.
        body: BodyId,
        /// Which piece, from 0. Every piece but the last has `limits::PIECE_BYTES`.
        piece: u16,
        /// Its bytes, at least one.
        bytes: Vec<u8>,
    },
    /// Hash or check a password.
    Secret(SecretJob),
    /// Have something done that takes a while, or that only the machine can do.
    Job(Job),
    /// Change the connection.
    Upgrade(Upgrade),
    /// Wait for bytes, for a change of one of the accounts, or for time to pass.
    Wait {
        /// Wakes the session when it changes durably.
        account: Option<AccountId>,
        /// Silence after which `Timeout` comes.
        seconds: u32,
        /// Whether bytes of the peer end the wait. If not, it is a mere delay.
        bytes: bool,
    },
    /// Send `out`, say goodbye to TLS, close.
    Close,
}

/// A piece to load. It is found anew at each step; a place on disk is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The piece of the message that has this offset: `Loaded` gives its bytes from the offset to the piece's end,
    /// at least one byte when the offset lies inside the message.
    Body {
        /// Which message.
        body: BodyId,
        /// Offset in the message, bytes.
        offset: u64,
    },
    /// The message's stored structure, as `wire::mime::Structure` encodes itself.
    Structure {
        /// Which message.
        body: BodyId,
    },
}

/// How a connection can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// STARTTLS and STLS. Drops unread plaintext (RFC 3207 §6, RFC 2595 §2).
    Tls,
}

/// Work with a password, done one at a time elsewhere. The bytes are wiped after use.
pub enum SecretJob {
    /// Make a PHC string of a password.
    Make {
        /// The password.
        password: Vec<u8>,
    },
    /// Check a password. Without a PHC string the same time is spent and the answer is no.
    Check {
        /// The password.
        password: Vec<u8>,
        /// The stored hash, if the account exists.
        phc: Option<String>,
    },
    /// Make a password of the console's `generate`, and its PHC string.
    Generate,
}

impl std::fmt::Debug for SecretJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretJob")
    }
}

/// What became of a `SecretJob`.
pub enum SecretAnswer {
    /// The PHC string made.
    Made {
        /// `$argon2id$…`
        phc: String,
    },
    /// The password made, and its PHC string.
    Generated {
        /// Shown once.
        password: String,
        /// `$argon2id$…`
        phc: String,
    },
    /// Whether the password fits.
    Checked(bool),
    /// Too many are waiting: try again.
    Busy,
}

impl std::fmt::Debug for SecretAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretAnswer")
    }
}

/// The two buffers of a connection. serve gives their memory back while they are empty.
#[derive(Debug, Default)]
pub struct Io {
    /// What the peer has sent and the session has not consumed.
    pub inbox: Inbox,
    /// What is to be sent to the peer.
    pub out: Vec<u8>,
}

/// Unread bytes of the peer.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// The unread bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes are unread.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Marks the first `count` unread bytes as read, and wipes them: they may be a password. More than there are counts as all.
    pub fn consume(&mut self, count: usize) {
        let end = self.start.saturating_add(count).min(self.bytes.len());
        self.bytes[self.start..end].fill(0);
        self.start = end;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Appends what the peer has sent.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops everything unread and gives the memory back.
    pub fn clear(&mut self) {
        *self = Inbox::default();
    }

    /// Gives memory back that an empty inbox need not hold.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Inbox::default();
        }
    }
}

/// Who is at the other end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address of the peer; none on the serial line and the console socket.
    pub address: Option<IpAddr>,
    /// TLS protects the connection now.
    pub tls: bool,
}

/// What a step may know of the world.
pub struct Context<'a> {
    /// The store, shared by all sessions.
    pub shared: &'a Shared,
    /// What this session has read or written: the gate waits for it.
    pub needs: &'a mut Position,
    /// The clock.
    pub now: Time,
    /// The other end.
    pub peer: Peer,
    /// This machine's name, for greetings and Received fields.
    pub host: &'a str,
    /// What the port numbers are shifted by, for `show client`.
    pub port_base: u16,
}

impl Context<'_> {
    /// The store, for the rest of this step at most. Whatever is read or written raises `needs`.
    pub fn store(&mut self) -> Access<'_> {
        self.shared.access(self.needs)
    }
}

/// Whether bytes of a session that has touched everything up to `needs` may leave when the disk is as far as `durable`.
pub fn gate(needs: Position, durable: Position) -> bool {
    needs <= durable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_read_is_wiped() {
        let mut inbox = Inbox::default();
        inbox.extend(b"PASS secret\r\nQUIT");
        inbox.consume(13);
        assert_eq!((inbox.bytes(), &inbox.bytes[..13]), (&b"QUIT"[..], &[0; 13][..]));
        inbox.consume(usize::MAX);
        assert!(inbox.is_empty());
    }
}
