//! A device whose flush takes time, for measurements: an SD card's flush takes milliseconds, a virtual disk's almost none.

use std::io;
use std::thread;
use std::time::Duration;

use super::{Device, below};

/// Delays every flush of the device inside.
pub struct Slow<D> {
    /// The device that does the work.
    pub inner: D,
    /// Added to each flush, milliseconds.
    pub flush_milliseconds: u64,
}

impl<D: Device> Device for Slow<D> {
    below!(inner: size read_at read_cached write_at discard prepare forget_cache);

    fn flush(&self) -> io::Result<()> {
        thread::sleep(Duration::from_millis(self.flush_milliseconds));
        self.inner.flush()
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
