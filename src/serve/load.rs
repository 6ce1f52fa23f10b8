//! Pieces of messages for sessions: found anew under the lock, read without it, never sent unless their checksum fits.
//!
//! What the page cache has is read on the session's own thread; for the rest a few threads wait.

use std::sync::Arc;

use super::Server;
use super::commit::Progress;
use super::pool::Pool;
use crate::device::Device;
use crate::journal::{Extent, ReadError, Source};
use crate::limits::PIECE_BYTES;
use crate::session::Load;
use crate::store::{LoadError, Shared};
use crate::types::Position;

/// Makes `buffer` the piece and says where in it the bytes asked for begin.
///
/// # Errors
/// `Missing` and `Damaged`.
pub async fn load(
    server: &Server,
    load: Load,
    needs: Position,
    buffer: &mut Vec<u8>,
) -> Result<usize, LoadError> {
    let loaded = load_from(&server.shared, &server.progress, &server.reads, load, needs, buffer).await;
    let (Load::Body { body, .. } | Load::Structure { body }) = load;
    match loaded {
        Ok((_, Source::Rebuilt)) => server.machine.unreadable(body, false),
        Err(LoadError::Damaged) => server.machine.unreadable(body, true),
        Ok((_, Source::Written)) | Err(LoadError::Missing) => {}
    }
    loaded.map(|(from, _)| from)
}

async fn load_from(
    shared: &Shared,
    progress: &Progress,
    reads: &Pool,
    load: Load,
    needs: Position,
    buffer: &mut Vec<u8>,
) -> Result<(usize, Source), LoadError> {
    let (mut extent, device) = match find(shared, load) {
        Some(found) => found,
        None => {
            // A message that this session has just seen arrive may still be on its way to the disk.
            progress.reach(needs).await.map_err(|_| LoadError::Missing)?;
            find(shared, load).ok_or(LoadError::Missing)?
        }
    };
    let source = loop {
        let read = match extent.read_cached(&*device, buffer) {
            Ok(true) => Ok(Source::Written),
            // What is damaged there may be known from elsewhere; to find that out takes reading.
            Ok(false) | Err(_) => wait(reads, extent.clone(), Arc::clone(&device), buffer).await,
        };
        let error = match read {
            Ok(Source::Written) => break Source::Written,
            Ok(Source::Rebuilt) => {
                rebuilt(load);
                break Source::Rebuilt;
            }
            Err(error) => error,
        };
        buffer.clear();
        match find(shared, load) {
            // Compaction has moved it, and its old place has been used again.
            Some((moved, _)) if !moved.is(&extent) => extent = moved,
            Some(_) => return Err(damaged(load, &error)),
            // A piece that is gone by now may have made room for another one: then nothing is damaged.
            None => return Err(LoadError::Missing),
        }
    };
    let from = match load {
        Load::Body { offset, .. } => (offset % PIECE_BYTES as u64) as usize,
        Load::Structure { .. } => 0,
    };
    if from < buffer.len() { Ok((from, source)) } else { Err(LoadError::Missing) }
}

fn find(shared: &Shared, load: Load) -> Option<(Extent, Arc<dyn Device>)> {
    let store = shared.lock();
    let journal = store.journal();
    let extent = match load {
        Load::Body { body, offset } => {
            journal.find(body, u16::try_from(offset / PIECE_BYTES as u64).ok()?)?
        }
        Load::Structure { body } => journal.find_structure(body)?,
    };
    Some((extent, Arc::clone(journal.device())))
}

async fn wait(
    reads: &Pool,
    extent: Extent,
    device: Arc<dyn Device>,
    buffer: &mut Vec<u8>,
) -> Result<Source, ReadError> {
    let mut taken = std::mem::take(buffer);
    let read = reads.run(move || {
        let result = extent.read_or_rebuild(&*device, &mut taken);
        (result, taken)
    });
    // The queue is as long as there are connections: only a defect in reading leaves the work undone.
    let (result, filled) = read.await.map_err(|_| ReadError::Damaged)?;
    *buffer = filled;
    result
}

fn rebuilt(load: Load) {
    let (Load::Body { body, .. } | Load::Structure { body }) = load;
    log::warn!(
        "message body {body} does not read as it was written and was rebuilt from parity: nothing is lost, but the medium has lost \
         something; when the server can be stopped, run `postfach check --repair` to write it back"
    );
}

fn damaged(load: Load, error: &ReadError) -> LoadError {
    let (Load::Body { body, .. } | Load::Structure { body }) = load;
    log::error!(
        "message body {body} cannot be read ({error:?}) and was not sent: run `postfach check` to see whose it is"
    );
    LoadError::Damaged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::device::{Memory, Random, below};
    use crate::journal::{Format, format};
    use crate::store::{NewBody, Store};
    use crate::types::BodyId;

    const PIECE: usize = 8000;

    type Act = Box<dyn FnOnce() + Send>;

    /// A medium to which something happens just before it is read.
    struct Overtaken {
        inner: Memory,
        /// After how many readings, and what.
        act: Mutex<Option<(u32, Act)>>,
        /// Nothing of it is in the page cache.
        cold: bool,
    }

    impl Device for Overtaken {
        below!(inner: size write_at flush discard prepare forget_cache);

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let mut act = self.act.lock().unwrap();
            let due = match &mut *act {
                Some((0, _)) => act.take(),
                Some((readings, _)) => {
                    *readings -= 1;
                    None
                }
                None => None,
            };
            drop(act);
            if let Some((_, act)) = due {
                act();
            }
            self.inner.read_at(offset, buf)
        }
        fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
            if self.cold { Ok(false) } else { self.read_at(offset, buf).map(|()| true) }
        }
    }

    struct Desk {
        device: Arc<Overtaken>,
        shared: Arc<Shared>,
        /// A message of one piece, still coming in; None: its sender has gone away.
        message: Option<NewBody>,
        body: BodyId,
        load: Load,
        /// Where it lies at first.
        extent: Extent,
    }

    fn noise(body: u64) -> Vec<u8> {
        let mut bytes = vec![0; PIECE];
        Random(body).fill(&mut bytes);
        bytes
    }

    /// Takes in a piece, which lives as long as what is given back.
    fn piece(shared: &Shared) -> NewBody {
        let body = shared.access(&mut Position::default()).incoming();
        if !shared.lock().takes_piece(PIECE) {
            shared.lock().commit().unwrap();
        }
        shared.lock().append_piece(body.id(), 0, noise(body.id().0)).unwrap();
        body
    }

    impl Desk {
        /// A small store, where the message lies among what nobody needs any more.
        fn new(cold: bool) -> Desk {
            let inner = Memory::new(49 * 32 * 1024);
            let device = Arc::new(Overtaken { inner, act: Mutex::default(), cold });
            let options = Format { segment_bytes: Some(32 * 1024), force: false };
            let mut random = Random(1);
            let mut random = |bytes: &mut [u8]| random.fill(bytes);
            format(&*device, &options, &mut random).unwrap();
            let (store, _) = Store::open(Arc::clone(&device) as Arc<dyn Device>, &mut random).unwrap();
            let shared = Arc::new(Shared::new(store));
            drop(piece(&shared));
            let message = piece(&shared);
            drop(piece(&shared));
            shared.lock().commit().unwrap();
            let body = message.id();
            let extent = shared.lock().journal().find(body, 0).unwrap();
            Desk {
                device,
                shared,
                message: Some(message),
                load: Load::Body { body, offset: 0 },
                extent,
                body,
            }
        }

        /// What happens before the reading of this number.
        fn before(&self, reading: u32, act: impl FnOnce() + Send + 'static) {
            *self.device.act.lock().unwrap() = Some((reading, Box::new(act)));
        }

        /// Others' messages come and go until the place where the message was has been written over.
        fn churn(&self) -> impl FnOnce() + Send + 'static {
            let (device, shared, extent) =
                (Arc::clone(&self.device), Arc::clone(&self.shared), self.extent.clone());
            move || {
                for _ in 0..10_000 {
                    if extent.read(&device.inner, &mut Vec::new()).is_err() {
                        return;
                    }
                    drop(piece(&shared));
                }
                panic!("the message has stayed where it was");
            }
        }

        fn load(&self) -> Result<Vec<u8>, LoadError> {
            let (progress, reads) = (Progress::new(Position::default()), Pool::start("reads", 1, 1).unwrap());
            let mut buffer = Vec::new();
            let loading =
                load_from(&self.shared, &progress, &reads, self.load, Position::default(), &mut buffer);
            let (from, _) = smol::block_on(loading)?;
            assert!(self.device.act.lock().unwrap().is_none(), "it has happened");
            Ok(buffer.split_off(from))
        }
    }

    /// Between the lookup and the reading, or between the header and the payload; on the session's own thread, or on one that waits.
    #[test]
    fn a_piece_that_compaction_has_moved_meanwhile_is_read_where_it_is_now() {
        for cold in [false, true] {
            for reading in 0..2 {
                let desk = Desk::new(cold);
                desk.before(reading, desk.churn());
                assert_eq!(desk.load().as_deref(), Ok(&*noise(desk.body.0)), "{cold} {reading}");
                let now = desk.shared.lock().journal().find(desk.body, 0).unwrap();
                assert!(!now.is(&desk.extent));
            }
        }
    }

    #[test]
    fn a_piece_that_is_gone_meanwhile_is_missing_and_one_that_has_stayed_is_damaged() {
        for cold in [false, true] {
            let mut desk = Desk::new(cold);
            let (message, churn) = (desk.message.take(), desk.churn());
            desk.before(0, move || {
                drop(message);
                churn();
            });
            assert_eq!(desk.load(), Err(LoadError::Missing));

            let desk = Desk::new(cold);
            let device = Arc::clone(&desk.device);
            desk.before(1, move || {
                // All of the first segment's frames.
                let zeros = vec![0; 24 * 1024];
                device.inner.write_at(32 * 1024 + 8192, &zeros).unwrap();
            });
            assert_eq!(desk.load(), Err(LoadError::Damaged));
        }
    }
}
