//! `export`, `import`, `restore --mailbox`: mailboxes to Maildir and mbox, and back, and out of a backup, by IMAP through [`postfach::serve::Door`].
//!
//! Content is kept byte for byte: a message goes out with LF line ends, as is usual in files, when it has CRLF line ends throughout, and
//! otherwise exactly as stored, with a mark that says so ([`ends`]). What is imported from elsewhere gets CRLF line ends.
//!
//! - [`export`], [`import`], [`restore`]: the commands; [`client`]: the IMAP client; [`digest`]: what is a duplicate.
//! - [`maildir`], [`mbox`] with its [`quote`]: the two formats; [`source`]: which folders there are to import.
//! - [`names`], [`marks`]: folder names and flags in files.
//!
//! Invariants: nothing of a message decides where a file goes; a file of a message appears under its name when it is whole and durable;
//! one piece of a message is in memory at a time.

use std::fmt::Display;

mod client;
mod digest;
mod ends;
pub mod export;
pub mod import;
mod maildir;
mod marks;
mod mbox;
mod names;
mod progress;
mod quote;
pub mod restore;
mod source;

/// How mailboxes lie in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One file per message, one directory per folder.
    Maildir,
    /// One file per folder.
    Mbox,
}

/// What has not been done, as one line for people.
type Fallible<T> = Result<T, String>;

/// Reads and writes so many bytes at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// With the name of what could not be read or written.
fn at<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("{}: {error}", shown(&what.to_string()))
}

/// Names come from anywhere: a terminal must show them, not obey them.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { out.extend(letter.escape_default()) } else { out.push(letter) }
    }
    out
}
