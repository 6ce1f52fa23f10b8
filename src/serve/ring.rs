//! A serial line that is read all the time: what comes while a password is hashed or a commit is waited for is kept here.
//!
//! At 115,200 baud the kernel's 4096 bytes are full after a third of a second, and a pasted configuration goes on for ten. When the ring
//! is full, reading rests: a pseudo terminal or a USB line then holds its sender up by itself, and the kernel asks a terminal on a real
//! line to rest (XOFF). It refuses to understand what passes. Invariant: at most [`SERIAL_RING_BYTES`] of the line are kept, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smol::Async;
use smol::future::poll_fn;
use smol::io::{AsyncRead, AsyncWrite};

use crate::limits::SERIAL_RING_BYTES;
use crate::session::console::LOST;

/// The session's end of the line.
pub struct Drained {
    line: Arc<Async<File>>,
    ring: Arc<Ring>,
}

/// The reader's end.
pub struct Reader {
    line: Arc<Async<File>>,
    ring: Arc<Ring>,
}

/// What has been read and not yet taken.
#[derive(Default)]
struct Ring(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// The line has hung up.
    ended: bool,
    taker: Option<Waker>,
    reader: Option<Waker>,
}

/// The two ends of a line. The reader must run all the time.
pub fn split(line: Async<File>) -> (Drained, Reader) {
    let (line, ring) = (Arc::new(line), Arc::new(Ring::default()));
    (Drained { line: Arc::clone(&line), ring: Arc::clone(&ring) }, Reader { line, ring })
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes have room; ready when at least one has.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut kept = self.lock();
        let room = SERIAL_RING_BYTES.saturating_sub(kept.bytes.len());
        if room == 0 {
            kept.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(room)
    }

    /// Keeps what has been read. `lost`: bytes are missing before or among these, in any of the lines that they are of.
    fn put(&self, bytes: &[u8], lost: bool) {
        let mut kept = self.lock();
        let mut begins = true;
        for byte in bytes {
            let ends = matches!(byte, b'\r' | b'\n');
            if lost && begins && !ends {
                kept.bytes.push_back(LOST);
            }
            begins = ends;
            // The mark of a gap is the reader's alone: on the line it is noise.
            kept.bytes.push_back(if *byte == LOST { 0 } else { *byte });
        }
        wake(kept.taker.take());
    }

    fn end(&self) {
        let mut kept = self.lock();
        kept.ended = true;
        wake(kept.taker.take());
    }

    /// Takes bytes out, and wipes their place: they may be a password. None, and no more to come: 0.
    fn poll_take(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<usize> {
        let mut kept = self.lock();
        if kept.bytes.is_empty() && !kept.ended {
            kept.taker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.len().min(kept.bytes.len());
        for (place, byte) in buffer.iter_mut().zip(kept.bytes.iter_mut()) {
            *place = std::mem::take(byte);
        }
        kept.bytes.drain(..count);
        if kept.bytes.is_empty() {
            kept.bytes = VecDeque::new();
        }
        wake(kept.reader.take());
        Poll::Ready(count)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Reader {
    /// Reads until the line hangs up. `lost`: whether bytes have been lost since it was last asked.
    pub async fn run(self, mut lost: impl FnMut() -> bool) {
        let mut buffer = vec![0; 4096];
        loop {
            let room = poll_fn(|cx| self.ring.poll_room(cx)).await;
            let room = room.min(buffer.len());
            let read = self.line.read_with(|mut line| line.read(&mut buffer[..room])).await;
            // Every error is the end: the line is opened anew.
            let count = read.unwrap_or_default();
            self.ring.put(&buffer[..count], lost());
            buffer[..count].fill(0);
            if count == 0 {
                return self.ring.end();
            }
        }
    }
}

impl AsyncRead for Drained {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.ring.poll_take(cx, buffer).map(Ok)
    }
}

impl AsyncWrite for Drained {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.line).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.line).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.line).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn bytes_come_out_in_order_and_a_full_ring_takes_no_more() {
        let ring = Ring::default();
        let mut buffer = [0; 5];
        assert!(now(|cx| ring.poll_take(cx, &mut buffer)).is_pending());
        ring.put(b"hello \x18world", false);
        assert_eq!(now(|cx| ring.poll_take(cx, &mut buffer)), Poll::Ready(5));
        assert_eq!(&buffer, b"hello");
        assert_eq!(now(|cx| ring.poll_take(cx, &mut buffer)), Poll::Ready(5));
        assert_eq!(&buffer, b" \0wor");
        assert_eq!(now(|cx| ring.poll_take(cx, &mut buffer)), Poll::Ready(2));
        assert_eq!(now(|cx| ring.poll_room(cx)), Poll::Ready(SERIAL_RING_BYTES));
        ring.put(&vec![b'x'; SERIAL_RING_BYTES - 1], false);
        assert_eq!(now(|cx| ring.poll_room(cx)), Poll::Ready(1));
        ring.put(b"y", false);
        assert!(now(|cx| ring.poll_room(cx)).is_pending());
        assert_eq!(now(|cx| ring.poll_take(cx, &mut buffer)), Poll::Ready(5));
        assert_eq!(now(|cx| ring.poll_room(cx)), Poll::Ready(5));
        ring.end();
        let mut rest = vec![0; 2 * SERIAL_RING_BYTES];
        assert_eq!(now(|cx| ring.poll_take(cx, &mut rest)), Poll::Ready(SERIAL_RING_BYTES - 5));
        assert_eq!(rest[SERIAL_RING_BYTES - 6], b'y');
        assert_eq!(now(|cx| ring.poll_take(cx, &mut rest)), Poll::Ready(0));
    }

    #[test]
    fn every_line_with_a_gap_is_marked() {
        let ring = Ring::default();
        ring.put(b"add a", false);
        ring.put(b"nna\r\nadd\rben", true);
        ring.put(b"@x\nadd c", false);
        let mut said = [0; 64];
        let Poll::Ready(count) = now(|cx| ring.poll_take(cx, &mut said)) else { panic!("is there") };
        assert_eq!(&said[..count], b"add a\x18nna\r\n\x18add\r\x18ben@x\nadd c");
    }
}
