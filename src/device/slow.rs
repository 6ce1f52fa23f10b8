//! A device whose flush takes time, for measurements: an SD card's flush takes milliseconds, a virtual disk's almost none.

use std::io;
use std::thread;
use std::time::Duration;

use super::Device;

/// Delays every flush of the device inside.
pub struct Slow<D> {
    /// The device that does the work.
    pub inner: D,
    /// Added to each flush, milliseconds.
    pub flush_milliseconds: u64,
}

impl<D: Device> Device for Slow<D> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }

    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.read_cached(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, buf)
    }

    fn flush(&self) -> io::Result<()> {
        thread::sleep(Duration::from_millis(self.flush_milliseconds));
        self.inner.flush()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.discard(offset, length)
    }

    fn prepare(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.prepare(offset, length)
    }

    fn forget_cache(&self, offset: u64, length: u64) {
        self.inner.forget_cache(offset, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Memory;
    use std::time::Instant;

    #[test]
    fn a_flush_takes_at_least_its_time_and_reaches_the_device_inside() {
        let slow = Slow { inner: Memory::new(8192), flush_milliseconds: 20 };
        let before = Instant::now();
        slow.write_at(0, b"x").unwrap();
        slow.flush().unwrap();
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert_eq!((slow.inner.writes(), slow.inner.flushes()), (1, 1));
    }
}
