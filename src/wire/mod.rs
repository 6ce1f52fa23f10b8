//! Bytes to values and back, pure: no store, no session, no clock, no I/O, no log.
//!
//! A grammar here takes a slice and returns a value or [`Malformed`]; an encoder appends to a `Vec<u8>`. Nothing panics on any input.

pub mod address;
pub mod charset;
pub mod date;
pub mod header;
pub mod imap;
pub mod line;
pub mod mime;
pub mod pop3;
pub mod smtp;
pub mod structure;

/// The bytes are not of the grammar. Says no more: a peer that sent them knows what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
