//! Pieces of messages for sessions: found anew under the lock, read without it, never sent unless their checksum fits.
//!
//! What the page cache has is read on the session's own thread; for the rest a few threads wait.

use std::sync::Arc;

use super::Server;
use crate::device::Device;
use crate::journal::{Extent, ReadError, Source};
use crate::limits::PIECE_BYTES;
use crate::session::Load;
use crate::store::LoadError;
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
    let (mut extent, device) = match find(server, load) {
        Some(found) => found,
        None => {
            // A message that this session has just seen arrive may still be on its way to the disk.
            server.progress.reach(needs).await.map_err(|_| LoadError::Missing)?;
            find(server, load).ok_or(LoadError::Missing)?
        }
    };
    loop {
        let read = match extent.read_cached(&*device, buffer) {
            Ok(true) => Ok(Source::Written),
            // What is damaged there may be known from elsewhere; to find that out takes reading.
            Ok(false) | Err(_) => wait(server, extent.clone(), Arc::clone(&device), buffer).await,
        };
        let error = match read {
            Ok(Source::Written) => break,
            Ok(Source::Rebuilt) => {
                rebuilt(load);
                break;
            }
            Err(error) => error,
        };
        buffer.clear();
        match find(server, load) {
            // Compaction has moved it, and its old place has been used again.
            Some((moved, _)) if !moved.is(&extent) => extent = moved,
            Some(_) => return Err(damaged(load, &error)),
            // A piece that is gone by now may have made room for another one: then nothing is damaged.
            None => return Err(LoadError::Missing),
        }
    }
    let from = match load {
        Load::Body { offset, .. } => (offset % PIECE_BYTES as u64) as usize,
        Load::Structure { .. } => 0,
    };
    if from < buffer.len() { Ok(from) } else { Err(LoadError::Missing) }
}

fn find(server: &Server, load: Load) -> Option<(Extent, Arc<dyn Device>)> {
    let store = server.shared.lock();
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
    server: &Server,
    extent: Extent,
    device: Arc<dyn Device>,
    buffer: &mut Vec<u8>,
) -> Result<Source, ReadError> {
    let mut taken = std::mem::take(buffer);
    let read = server.reads.run(move || {
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
