//! A medium whose beginning is written last: until it is lifted, who opens the medium finds nothing there.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Device, below, beyond_the_end};

/// Keeps what is written to the first bytes of a medium in memory.
pub struct Veil {
    inner: Arc<dyn Device>,
    head: Mutex<Vec<u8>>,
}

impl Veil {
    /// Keeps so many bytes, at first zeros. The medium is not touched.
    pub fn over(inner: Arc<dyn Device>, bytes: usize) -> Veil {
        Veil { inner, head: Mutex::new(vec![0; bytes]) }
    }

    /// Zeroes the medium's own first bytes, durably: what was there has ended.
    pub fn draw(&self) -> io::Result<()> {
        let bytes = self.head.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.inner.write_at(0, &vec![0; bytes])?;
        self.inner.flush()
    }

    /// Writes what was kept: everything else first becomes durable, then the parts of that many bytes, one by one.
    pub fn lift(&self, part_bytes: usize) -> io::Result<()> {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.flush()?;
        let mut offset = 0;
        for part in head.chunks(part_bytes) {
            self.inner.write_at(offset, part)?;
            self.inner.flush()?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// The kept bytes of a range that lies before their end, or None if it lies behind. A range over the end is refused.
    fn kept<T>(&self, offset: u64, length: usize, act: impl FnOnce(&mut [u8]) -> T) -> Option<io::Result<T>> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).ok().filter(|start| *start < head.len())?;
        let range = start.checked_add(length).and_then(|end| head.get_mut(start..end));
        Some(range.map(act).ok_or_else(beyond_the_end))
    }
}

impl Device for Veil {
    below!(inner: size flush discard prepare forget_cache);

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let kept = self.kept(offset, buf.len(), |kept| buf.copy_from_slice(kept));
        kept.unwrap_or_else(|| self.inner.read_at(offset, buf))
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let kept = self.kept(offset, buf.len(), |kept| kept.copy_from_slice(buf));
        kept.unwrap_or_else(|| self.inner.write_at(offset, buf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Memory;

    #[test]
    fn the_beginning_is_nothing_until_it_is_lifted() {
        let memory = Arc::new(Memory::new(64));
        memory.write_at(0, &[1; 64]).unwrap();
        let veil = Veil::over(memory.clone(), 16);
        veil.draw().unwrap();
        veil.write_at(0, b"12345678").unwrap();
        veil.write_at(16, b"behind").unwrap();
        assert!(veil.write_at(12, b"over the edge").is_err());
        let mut seen = [0; 8];
        veil.read_at(0, &mut seen).unwrap();
        assert_eq!(seen, *b"12345678");
        memory.read_at(0, &mut seen).unwrap();
        assert_eq!(seen, [0; 8]);
        veil.lift(8).unwrap();
        memory.read_at(0, &mut seen).unwrap();
        assert_eq!(seen, *b"12345678");
        memory.read_at(16, &mut seen).unwrap();
        assert_eq!(seen, *b"behind\x01\x01");
    }
}
