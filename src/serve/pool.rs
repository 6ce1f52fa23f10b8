//! Threads for work that would make a session's thread wait: reads from the medium, password hashes.
//!
//! A fixed number of threads and one queue. Refuses to be a general place for blocking: whoever comes here has a bound of their own.

use std::io;
use std::thread;

use smol::channel::{self, Sender, TrySendError};

type Job = Box<dyn FnOnce() + Send>;

/// The pool: it lives as long as the process.
pub struct Pool {
    jobs: Sender<Job>,
}

/// The queue is full, or the work ended in a panic.
#[derive(Debug, PartialEq, Eq)]
pub struct NotDone;

impl Pool {
    /// Starts `threads` threads. At most `waiting` jobs wait for them.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(name: &str, threads: usize, waiting: usize) -> io::Result<Pool> {
        let (jobs, queue) = channel::bounded::<Job>(waiting);
        for _ in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name(String::from(name)).spawn(move || {
                while let Ok(job) = queue.recv_blocking() {
                    // A panic ends this job only: its answer is dropped with it, and whoever waits sees `NotDone`.
                    let _panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            })?;
        }
        Ok(Pool { jobs })
    }

    /// Has the work done there.
    ///
    /// # Errors
    /// `NotDone`.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (answer, answered) = channel::bounded(1);
        let job: Job = Box::new(move || {
            // Nobody may be waiting any more.
            let _gone = answer.try_send(work());
        });
        match self.jobs.try_send(job) {
            Ok(()) => answered.recv().await.map_err(|_| NotDone),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Err(NotDone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_a_full_queue_says_so() {
        let pool = Pool::start("test", 1, 1).unwrap();
        assert_eq!(smol::block_on(pool.run(|| 6 * 7)), Ok(42));
        let (open, gate) = channel::bounded::<()>(1);
        let (entered, inside) = channel::bounded::<()>(1);
        let busy = pool.run(move || {
            entered.send_blocking(()).unwrap();
            gate.recv_blocking()
        });
        smol::block_on(async {
            let mut busy = Box::pin(busy);
            assert!(smol::future::poll_once(&mut busy).await.is_none());
            inside.recv().await.unwrap();
            let mut waiting = Box::pin(pool.run(|| 1));
            assert!(smol::future::poll_once(&mut waiting).await.is_none());
            assert_eq!(pool.run(|| 2).await, Err(NotDone));
            open.send(()).await.unwrap();
            assert_eq!(waiting.await, Ok(1));
        });
    }

    #[test]
    fn a_panic_ends_one_job_only() {
        let pool = Pool::start("test", 1, 4).unwrap();
        smol::block_on(async {
            assert_eq!(pool.run(|| -> u8 { panic!("on purpose") }).await, Err(NotDone));
            assert_eq!(pool.run(|| 5).await, Ok(5));
        });
    }
}
