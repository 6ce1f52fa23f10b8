//! The byte streams that a conversation runs on, and the deadline of waiting for one.
//!
//! An idle connection keeps no buffer here: what is read passes through one scratch buffer per thread, into the inbox.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_rustls::server::TlsStream;
use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, Timer};

use crate::limits::READ_BYTES;
use crate::session::Inbox;

/// Any other duplex stream: the serial line.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What a conversation runs on.
pub enum Stream {
    /// Plain TCP, before an upgrade or for good.
    Tcp(Async<TcpStream>),
    /// TLS on TCP.
    Tls(Box<TlsStream<Async<TcpStream>>>),
    /// The console socket.
    Unix(Async<UnixStream>),
    /// The serial line.
    Other(Box<dyn Duplex>),
    /// None: while TLS is being negotiated, and after that has failed.
    Gone,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

impl Stream {
    /// Appends to the inbox what the peer has sent. False: it will send no more.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox) -> Poll<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            // Every error of reading is the end of what the peer says; that a TLS peer left without close_notify too.
            let count = ready!(self.poll_read(cx, scratch)).unwrap_or_default();
            inbox.extend(&scratch[..count]);
            Poll::Ready(count > 0)
        })
    }

    /// Throws away what the peer still sends. False: it will send no more.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            // Below TLS: nobody reads it any more, so it needs not be decrypted.
            let read = match self {
                Stream::Tls(stream) => Pin::new(stream.get_mut().0).poll_read(cx, scratch),
                other => other.poll_read(cx, scratch),
            };
            read.map(|count| count.unwrap_or_default() > 0)
        })
    }

    /// Tells the peer's kernel that what has been read has come, where no answer tells it: a client that sends a literal and the end of
    /// its line in two writes waits for that (RFC 896), and TCP by itself would let it wait for 40 ms.
    pub fn acknowledge(&self) {
        let socket = match self {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
            Stream::Unix(_) | Stream::Other(_) | Stream::Gone => return,
        };
        // Without it things only take longer.
        let _not_here = rustix::net::sockopt::set_tcp_quickack(socket, true);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Other(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Gone => Poll::Ready(Ok(0)),
        }
    }

    /// Hands bytes over, some at least.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Other(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Everything that has been handed over is with the system.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Other(stream) => Pin::new(stream).poll_flush(cx),
            // A socket holds nothing back.
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Says goodbye: close_notify where there is TLS, then the end of our side.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => Poll::Ready(stream.get_ref().shutdown(Shutdown::Write)),
            Stream::Tls(stream) => {
                ready!(Pin::new(&mut *stream).poll_close(cx))?;
                Poll::Ready(stream.get_ref().0.get_ref().shutdown(Shutdown::Write))
            }
            Stream::Unix(stream) => Poll::Ready(stream.get_ref().shutdown(Shutdown::Write)),
            Stream::Other(stream) => Pin::new(stream).poll_close(cx),
            Stream::Gone => Poll::Ready(Ok(())),
        }
    }
}

/// When waiting ends. Setting it later costs no system call: the timer of before goes off, and is set again for the rest.
#[derive(Default)]
pub struct Deadline {
    at: Option<Instant>,
    timer: Option<(Timer, Instant)>,
}

impl Deadline {
    /// Sets it so many seconds from now.
    pub fn set(&mut self, seconds: u32) {
        self.set_at(Instant::now() + Duration::from_secs(u64::from(seconds)));
    }

    /// Sets it to a time.
    pub fn set_at(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// Ready when it has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        loop {
            let (timer, armed) = self.timer.get_or_insert_with(|| (Timer::at(at), at));
            if *armed > at {
                timer.set_at(at);
                *armed = at;
            }
            ready!(Pin::new(timer).poll(cx));
            self.timer = None;
            if Instant::now() >= at {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::poll_fn;

    fn wait(deadline: &mut Deadline, at: Instant) -> Duration {
        let from = Instant::now();
        deadline.at = Some(at);
        smol::block_on(poll_fn(|cx| deadline.poll(cx)));
        from.elapsed()
    }

    #[test]
    fn a_deadline_can_move_both_ways() {
        let mut deadline = Deadline::default();
        assert!(smol::block_on(smol::future::poll_once(poll_fn(|cx| deadline.poll(cx)))).is_none());
        deadline.set(3600);
        assert!(smol::block_on(smol::future::poll_once(poll_fn(|cx| deadline.poll(cx)))).is_none());
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(wait(&mut deadline, soon) < Duration::from_secs(60));
        // Armed for 20 ms, then moved to 60 ms.
        deadline.at = Some(Instant::now() + Duration::from_millis(20));
        assert!(smol::block_on(smol::future::poll_once(poll_fn(|cx| deadline.poll(cx)))).is_none());
        let later = Instant::now() + Duration::from_millis(60);
        assert!(wait(&mut deadline, later) >= Duration::from_millis(59));
    }

    #[test]
    fn what_is_read_lands_in_the_inbox_and_the_end_is_told() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::Unix(Async::new(ours).unwrap());
        let mut inbox = Inbox::default();
        io::Write::write_all(&mut theirs, b"hello").unwrap();
        assert!(smol::block_on(poll_fn(|cx| stream.poll_fill(cx, &mut inbox))));
        assert_eq!(inbox.bytes(), b"hello");
        drop(theirs);
        assert!(!smol::block_on(poll_fn(|cx| stream.poll_fill(cx, &mut inbox))));
    }
}
