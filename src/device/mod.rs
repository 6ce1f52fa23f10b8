//! What the journal is written on: a file, a partition, or memory that loses power.
//!
//! The only layer that knows where bytes lie. It refuses to know what they mean: no frames, no checksums, no retries.
//! Offsets and lengths are bytes. Errors are never swallowed: an operation is done whole, or it is an error.

use std::io;

mod below;
mod cut;
mod discard;
mod file;
mod memory;
mod pieces;
mod region;
mod slow;
mod veil;

pub(crate) use below::below;
pub use cut::{Cut, Left, Outcome, Outcomes};
pub use file::File;
pub use memory::{Memory, Operation, Random};
pub use pieces::Pieces;
pub use region::{Failure, Region};
pub use slow::Slow;
pub use veil::Veil;

/// A medium. Shared by threads: reads go on while a batch is being written.
pub trait Device: Send + Sync {
    /// Bytes of the medium. Does not change.
    fn size(&self) -> u64;

    /// Fills `buf` from `offset`: all of it, or an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// As [`Device::read_at`], but never waits for the medium: `Ok(false)` says that it would have to, and `buf` then holds nothing.
    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
        self.read_at(offset, buf).map(|()| true)
    }

    /// Writes all of `buf` at `offset`, or is an error. Not durable before [`Device::flush`].
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;

    /// Everything written before survives a power cut once this has returned `Ok`.
    fn flush(&self) -> io::Result<()>;

    /// A hint that the range is not needed any more. What is read there afterwards is undefined.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes later overwriting of the range cheap. Changes nothing that has been written, also when it races with writes.
    fn prepare(&self, offset: u64, length: u64) -> io::Result<()>;

    /// The next read of the range comes from the medium: a page whose writing failed must not be believed.
    fn forget_cache(&self, offset: u64, length: u64);
}

/// The error for a range beyond the medium's end.
fn beyond_the_end() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the device")
}

/// Whether `length` bytes at `offset` lie inside `size`.
fn within(size: u64, offset: u64, length: u64) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= size)
}
