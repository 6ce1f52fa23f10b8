//! The loop that drives every session of every protocol: it does what the session asks for, and nothing else.
//!
//! The contract is in [`crate::session`]. Invariants: nothing is sent before the gate is open; while a connection waits, it holds no
//! buffer that it does not need; a panic in a session ends that session only; a peer that stalls is let go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_listener::EventListener;
use smol::future::{Future, FutureExt, poll_fn};

use super::load::load;
use super::stream::{Deadline, Stream};
use super::{Server, machine};
use crate::limits::{
    LAST_WRITE_SECONDS, LINGER_SECONDS, OUT_BYTES, PIECE_BYTES, STEPS_IN_A_ROW, WRITE_SECONDS,
};
use crate::session::{
    Context, Farewell, Input, Io, Job, JobAnswer, Next, Peer, SecretAnswer, SecretJob, Session, Upgrade,
};
use crate::store::{LoadError, StoreError};
use crate::types::{AccountId, Position, Time};

/// One conversation.
pub struct Connection {
    server: Arc<Server>,
    session: Box<dyn Session>,
    stream: Stream,
    peer: Peer,
    io: Io,
    needs: Position,
    /// How far the disk was before the last step: what the session cannot have missed.
    seen: Position,
    /// The piece that was loaded last. Empty while the connection waits.
    loaded: Vec<u8>,
    deadline: Deadline,
    /// When the silence that a change of the account has broken would have been too long: only the peer puts that off.
    silent_until: Option<Instant>,
    stop: EventListener,
    ended: bool,
}

/// What happened; an [`Input`] that borrows nothing.
enum Happened {
    Start,
    Bytes,
    Sent,
    Loaded(Result<usize, LoadError>),
    Stored(Result<(), StoreError>),
    Secret(SecretAnswer),
    Job(JobAnswer),
    Upgraded,
    Woken,
    Timeout,
    Eof,
}

/// Why a conversation ends before its session has said `Close`.
enum End {
    /// There is somebody to say goodbye to.
    Farewell(Farewell),
    /// The peer is gone.
    Gone,
}

impl Connection {
    /// A conversation that has not begun yet; with implicit TLS, after the handshake.
    pub fn new(server: Arc<Server>, session: Box<dyn Session>, stream: Stream, peer: Peer) -> Connection {
        Connection {
            stop: server.stop.listen(),
            server,
            session,
            stream,
            peer,
            io: Io::default(),
            needs: Position::default(),
            seen: Position::default(),
            loaded: Vec::new(),
            deadline: Deadline::default(),
            silent_until: None,
            ended: false,
        }
    }

    /// Runs it to its end.
    pub async fn run(mut self) {
        match self.converse().await {
            Ok(()) => {}
            Err(End::Farewell(why)) => {
                self.io.out.clear();
                let said = catch_unwind(AssertUnwindSafe(|| self.session.farewell(why, &mut self.io.out)));
                if said.is_err() || self.write().await.is_err() {
                    return;
                }
            }
            Err(End::Gone) => return,
        }
        self.close().await;
    }

    async fn converse(&mut self) -> Result<(), End> {
        let mut happened = Happened::Start;
        let mut steps = 0;
        loop {
            let next = self.step(happened)?;
            happened = match next {
                Next::Read { seconds } => {
                    self.acknowledge();
                    self.send().await?;
                    self.wait(None, seconds, true).await?
                }
                Next::Send => {
                    self.send().await?;
                    self.go_on()?;
                    Happened::Sent
                }
                Next::Load(what) => {
                    self.go_on()?;
                    let loading = load(&self.server, what, self.needs, &mut self.loaded);
                    Happened::Loaded(loading.boxed().await)
                }
                Next::Store { body, piece, bytes } => {
                    let storing = self.server.progress.store(&self.server.shared, body, piece, bytes);
                    Happened::Stored(storing.boxed().await)
                }
                Next::Secret(job) => self.hash(job).boxed().await?,
                Next::Job(job) => self.job(job).boxed().await?,
                Next::Upgrade(Upgrade::Tls) => {
                    self.send().await?;
                    self.upgrade().boxed().await?;
                    Happened::Upgraded
                }
                Next::Wait { account, seconds, bytes } => {
                    if !self.io.inbox.is_empty() {
                        self.acknowledge();
                    }
                    self.send().await?;
                    self.wait(account, seconds, bytes).await?
                }
                Next::Close => return self.send().await,
            };
            steps += 1;
            if steps % STEPS_IN_A_ROW == 0 {
                smol::future::yield_now().await;
            }
        }
    }

    fn step(&mut self, happened: Happened) -> Result<Next, End> {
        let input = match happened {
            Happened::Start => Input::Start,
            Happened::Bytes => Input::Bytes,
            Happened::Sent => Input::Sent,
            Happened::Loaded(Ok(from)) => Input::Loaded(Ok(self.loaded.get(from..).unwrap_or_default())),
            Happened::Loaded(Err(error)) => Input::Loaded(Err(error)),
            Happened::Stored(stored) => Input::Stored(stored),
            Happened::Secret(answer) => Input::Secret(answer),
            Happened::Job(answer) => Input::Job(answer),
            Happened::Upgraded => Input::Upgraded,
            Happened::Woken => Input::Woken,
            Happened::Timeout => Input::Timeout,
            Happened::Eof => Input::Eof,
        };
        self.seen = self.server.progress.durable();
        let host = self.server.host();
        let mut cx = Context {
            shared: &self.server.shared,
            needs: &mut self.needs,
            now: now(),
            peer: self.peer,
            host: &host,
            port_base: self.server.port_base,
        };
        let (session, io) = (&mut self.session, &mut self.io);
        catch_unwind(AssertUnwindSafe(|| session.step(input, io, &mut cx))).map_err(|_panic| {
            log::error!("a defect of this program has ended one connection; the line before says where");
            End::Farewell(Farewell::Defect)
        })
    }

    /// Ends the conversation if the server stops. Waiting looks for that by itself; a session that need not wait does it here.
    fn go_on(&self) -> Result<(), End> {
        if self.server.stop.is_set() { Err(End::Farewell(Farewell::Shutdown)) } else { Ok(()) }
    }

    /// Bytes of the peer are there that are not answered now.
    fn acknowledge(&self) {
        if self.io.out.is_empty() {
            self.stream.acknowledge();
        }
    }

    /// Waits for a password hash, or for the server to stop.
    async fn hash(&mut self, job: SecretJob) -> Result<Happened, End> {
        let server = Arc::clone(&self.server);
        self.unless_stopped(async move { Happened::Secret(server.secrets.answer(job).await) }).await
    }

    /// Waits for a job to be done, or for the server to stop.
    async fn job(&mut self, job: Job) -> Result<Happened, End> {
        let server = Arc::clone(&self.server);
        self.unless_stopped(async move { Happened::Job(machine::answer(&server, job).await) }).await
    }

    async fn unless_stopped(&mut self, answer: impl Future<Output = Happened>) -> Result<Happened, End> {
        let Connection { server, stop, .. } = self;
        let answered = async { Ok(answer.await) };
        let stopped = async {
            if !server.stop.is_set() {
                stop.await;
            }
            Err(End::Farewell(Farewell::Shutdown))
        };
        answered.or(stopped).await
    }

    /// Sends `out`, once everything that it may tell of is durable.
    async fn send(&mut self) -> Result<(), End> {
        if self.io.out.is_empty() {
            return Ok(());
        }
        if !crate::session::gate(self.needs, self.server.progress.durable()) {
            let reached = self.server.progress.reach(self.needs).boxed().await;
            reached.map_err(|_| End::Farewell(Farewell::NotStored))?;
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), End> {
        let Connection { stream, deadline, io, server, stop, .. } = self;
        let mut written = 0;
        let mut hurried = false;
        deadline.set(WRITE_SECONDS);
        let sent = poll_fn(|cx| {
            // Whoever takes nothing must not hold up the server's end.
            if !hurried && (server.stop.is_set() || Pin::new(&mut *stop).poll(cx).is_ready()) {
                hurried = true;
                deadline.set(LAST_WRITE_SECONDS);
            }
            while written < io.out.len() {
                match stream.poll_write(cx, &io.out[written..]) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        written += count;
                        if !hurried {
                            deadline.set(WRITE_SECONDS);
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return deadline.poll(cx).map(|()| false),
                }
            }
            match stream.poll_flush(cx) {
                Poll::Ready(result) => Poll::Ready(result.is_ok()),
                Poll::Pending => deadline.poll(cx).map(|()| false),
            }
        });
        if !sent.await {
            return Err(End::Gone);
        }
        self.io.out.clear();
        if self.io.out.capacity() > 2 * (OUT_BYTES + PIECE_BYTES) {
            self.io.out = Vec::new();
        }
        Ok(())
    }

    /// Waits for bytes, for a change of the account, for time to pass, or for the server to stop.
    async fn wait(&mut self, account: Option<AccountId>, seconds: u32, bytes: bool) -> Result<Happened, End> {
        let longest = Duration::from_secs(u64::from(seconds));
        let until = self.silent_until.take().unwrap_or_else(|| Instant::now() + longest);
        let mut watch = None;
        if let Some(account) = account {
            watch = self.server.progress.watch(&self.server.shared, account, self.seen);
            if watch.is_none() {
                self.silent_until = Some(until);
                return Ok(Happened::Woken);
            }
        }
        if self.ended && bytes {
            // A session that still reads after the end has been told so.
            return Err(End::Gone);
        }
        let Connection { stream, deadline, io, loaded, stop, server, ended, silent_until, .. } = self;
        deadline.set_at(until);
        let mut idle = false;
        poll_fn(|cx| {
            // First of all: a peer that never pauses must not hold up the server's end.
            if server.stop.is_set() || Pin::new(&mut *stop).poll(cx).is_ready() {
                return Poll::Ready(Err(End::Farewell(Farewell::Shutdown)));
            }
            if bytes && let Poll::Ready(more) = stream.poll_fill(cx, &mut io.inbox) {
                *ended = !more;
                return Poll::Ready(Ok(if more { Happened::Bytes } else { Happened::Eof }));
            }
            if let Some(watch) = &mut watch
                && Pin::new(&mut watch.listener).poll(cx).is_ready()
            {
                *silent_until = Some(until);
                return Poll::Ready(Ok(Happened::Woken));
            }
            if deadline.poll(cx).is_ready() {
                return Poll::Ready(Ok(Happened::Timeout));
            }
            if !std::mem::replace(&mut idle, true) {
                io.inbox.shrink();
                (io.out, *loaded) = (Vec::new(), Vec::new());
            }
            Poll::Pending
        })
        .await
    }

    async fn upgrade(&mut self) -> Result<(), End> {
        // RFC 3207 §6, RFC 2595 §2: what was sent before the handshake could be anybody's.
        self.io.inbox.clear();
        let Stream::Tcp(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(End::Gone);
        };
        self.stream = self.server.handshake(stream).await.ok_or(End::Gone)?;
        self.peer.tls = true;
        Ok(())
    }

    /// Says goodbye, and lets the peer read what it has not read yet: closing at once would take that from it.
    async fn close(&mut self) {
        let Connection { stream, deadline, ended, .. } = self;
        deadline.set(LINGER_SECONDS);
        let mut finished = false;
        poll_fn(|cx| {
            if !finished {
                match stream.poll_finish(cx) {
                    Poll::Ready(Ok(())) => finished = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return deadline.poll(cx),
                }
            }
            while !*ended && deadline.poll(cx).is_pending() {
                match stream.poll_drain(cx) {
                    Poll::Ready(more) => *ended = !more,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// This year, about.
pub fn year() -> i32 {
    i32::try_from(1970 + now().0 / 31_556_952).unwrap_or_default()
}

/// The clock.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Time(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
