//! IMAP's grammar: commands as clients write them, responses as servers do. RFC 3501 §9 and the extensions named at each parser.
//!
//! The way of a command:
//! 1. [`Gather`] looks at the unread bytes until a whole command lies there, literals included. It asks for continuations, refuses what
//!    is over the bounds, finds its way back to the next command, and stops before APPEND's message, which is never gathered.
//! 2. [`Tagged::parse`] turns that one slice into a tag and a [`Command`], or says in which way it is [`Invalid`].
//! 3. [`reply`] prints what the session has to say.
//!
//! It refuses to know states: whether a command is allowed before login is the session's business.
//!
//! A new extension is one arm in [`command`] and one file here.
//!
//! Invariants: no input panics; recursion is bounded by `limits::IMAP_DEPTH_MAX`; every list has its bound in `limits`; what a parser
//! returns is at most a small multiple of the bytes it has read.

pub mod append;
pub mod command;
pub mod cursor;
pub mod date;
pub mod fetch;
pub mod fetch_line;
pub mod flags;
pub mod gather;
pub mod list;
pub mod pattern;
pub mod reply;
pub mod search;
pub mod section;
pub mod set;
pub mod status;
pub mod utf7;

#[cfg(test)]
mod tests;

pub use append::Append;
pub use command::{Command, Invalid, Tagged};
pub use cursor::{Bad, Cursor, Secret};
pub use fetch::{Fetch, Item};
pub use flags::{FlagList, Store};
pub use gather::{AppendEnd, Gather, Gathered, Refusal};
pub use list::{List, ListReturn, ListSelect};
pub use pattern::Pattern;
pub use search::{Key, Search, When};
pub use section::{Partial, Section, SectionText};
pub use set::{Bound, SequenceSet};
pub use status::StatusItem;

/// What the numbers of a command are (RFC 3501 §6.4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Message sequence numbers.
    Sequence,
    /// Unique identifiers: the command came as `UID …`.
    Uid,
}

/// What separates the levels of a folder's name (RFC 3501 §5.1.1).
pub const DELIMITER: char = '/';
