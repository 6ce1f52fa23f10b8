//! Postfach: the mail box of a small office, as one process on one append-only log.
//!
//! This page is the map. The disk format is specified in [`journal`], the contract of sessions in [`session`].
//!
//! ```text
//!     peers (TLS)             serial line              clock, threads, disk
//!         │                        │                           │
//!   ┌─────┴────────────────────────┴───────────────────────────┴────┐
//!   │ serve/    the only async code: sockets, TLS, argon2, fsync     │  does things
//!   └─────┬───────────────────────────────────────────────▲─────────┘
//!         │ Input                                          │ Next
//!   ┌─────▼───────────────────────────────────────────────┴─────────┐
//!   │ session/  smtp · pop3 · imap · console: state machines          │  decides things
//!   └─────┬───────────────────────────────┬─────────────────────────┘
//!   ┌─────▼──────┐                 ┌───────▼──────┐
//!   │ wire/      │                 │ store/       │  accounts, folders, flags, views, buckets
//!   │ grammars   │                 └───────┬──────┘
//!   └────────────┘                 ┌───────▼──────┐
//!    knows no store                │ journal/     │  the append-only mailbox log: frames in segments
//!                                  └───────┬──────┘
//!                                  ┌───────▼──────┐
//!                                  │ device/      │  a file, a partition, or memory that loses power
//!                                  └──────────────┘
//!   leaves that all may use: limits.rs, types.rs
//! ```
//!
//! Grammar and storage meet only in `session`; only `serve` awaits; only `State::apply` mutates.
//!
//! # Five ideas, and nothing else to learn
//! 1. **Session → Next.** A session takes one `Input` and returns one `Next`; one loop in `serve` does what they ask.
//! 2. **Journal → State.** The journal is a sequence of records; the state is a fold over them; one `apply` runs live and at boot.
//! 3. **Position and serial.** A position says how far the disk is; a serial is one change, kept when copied: IMAP's mod-sequence.
//! 4. **View.** What one session has been told, as numbers; what is new is found by serial, so nothing queues and nothing overflows.
//! 5. **The gate.** No byte leaves before everything that this session has read or written is durable.
//!
//! # Words
//! - *account*, *mailbox*: somebody's login and what belongs to it; *folder*: what IMAP calls a mailbox; POP3's maildrop is INBOX.
//! - *body*: the bytes of a message; *structure*: its MIME part tree, envelope and offsets; *piece*: up to 64 KiB of a body.
//! - *frame*: one entry of the journal; *segment*: a few MiB of frames; *record*: a fact that the state is made of.
//! - *summary*: what a stretch of a segment says, again, at the segment's end; *snapshot*: all that is true, said again: caches, both of them.
//! - *parity*: what a sealed segment's lost blocks are made good from, behind its summaries.
//! - *durable*: survives a power cut from now on; *tail*: where the journal ends; *torn*: a frame that was never wholly written.
//! - *bucket*, *class*: a mailbox's fixed share of the store; *charge*: what a message takes of it.
//! - *view*: what a session has been told of a folder; *tombstone*: an expunged message that some view still shows.

#![deny(unsafe_code)]

pub mod backup;
pub mod check;
pub mod device;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod journal;
pub mod limits;
#[cfg(test)]
#[path = "../tests/proof/mod.rs"]
mod proof;
pub mod serve;
pub mod session;
pub mod store;
pub mod types;
pub mod wire;
