//! (in progress on another branch)
#![allow(missing_docs)]
use std::io;
pub trait Device: Send + Sync {
    fn size(&self) -> u64;
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool>;
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;
    fn flush(&self) -> io::Result<()>;
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;
    fn prepare(&self, offset: u64, length: u64) -> io::Result<()>;
    fn forget_cache(&self, offset: u64, length: u64);
}
