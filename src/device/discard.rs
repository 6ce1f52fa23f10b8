//! Telling a block device that a range of it is not needed any more (`BLKDISCARD`). With `serve/heap.rs` the only file with `unsafe`:
//! no library offers this call as a safe one, and on newer kernels fallocate(2) is no way to it: there it writes zeros instead.

#![allow(unsafe_code)]

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `_IO(0x12, 119)`, linux/fs.h; its argument is two u64: offset and length.
const BLKDISCARD: Opcode = opcode::none(0x12, 119);

/// Discards a range, bytes, of a block device: what is read there afterwards is undefined.
///
/// # Errors
/// The kernel's; `OPNOTSUPP` where the medium cannot.
pub fn discard(device: impl AsFd, offset: u64, length: u64) -> Result<(), Errno> {
    // SAFETY: with a block device BLKDISCARD reads two u64 at its argument, which points to the array for the time of the call, and
    // writes nothing to memory; to other files the number means nothing, and they refuse it.
    unsafe { ioctl(device, Setter::<BLKDISCARD, [u64; 2]>::new([offset, length])) }
}
