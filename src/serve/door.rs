//! The owner's door to the mailboxes: IMAP on the console's socket, by [`crate::session::owner`], for `export` and `import`.
//!
//! When no server runs, one is started in this process that has no port and speaks to the owner only. So there is one way to the store's
//! data, with every invariant, and the console works beside it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use super::local::{LOOK, STARTING, locked};
use super::{
    Error, Options, Running, abort_on_panic_in_store, console_socket, logger, raise_descriptors, service,
};

/// A server that can be asked for mailboxes: one that runs already, or our own.
pub struct Door {
    socket: PathBuf,
    own: Option<Running>,
}

impl Door {
    /// Finds the server of this store, or starts our own.
    ///
    /// # Errors
    /// There is no store, it cannot be opened, or the socket is another user's.
    pub fn open(store: &Path) -> Result<Door, Error> {
        let socket = console_socket(store);
        let start = Instant::now();
        loop {
            match UnixStream::connect(&socket) {
                Ok(_) => return Ok(Door { socket, own: None }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let socket = socket.display();
                    return Err(Error::new(format!(
                        "the console socket {socket} belongs to another user: be that user, or root"
                    )));
                }
                // No server, or a socket that one has left behind.
                Err(_) => {}
            }
            match own(store) {
                Ok(running) => return Ok(Door { socket, own: Some(running) }),
                // A server may just be starting.
                Err(error) if start.elapsed() >= STARTING || !locked(store) => return Err(error),
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// The address of every mailbox.
    ///
    /// # Errors
    /// The server has gone.
    pub fn mailboxes(&self) -> Result<Vec<String>, Error> {
        let mut list = String::new();
        let read = self.ask("mailboxes").and_then(|mut stream| stream.read_to_string(&mut list));
        match (read, list.strip_suffix("\n\n"), list.as_str()) {
            (Ok(_), _, "\n") => Ok(Vec::new()),
            (Ok(_), Some(list), _) => Ok(list.lines().map(String::from).collect()),
            _ => Err(Error::new("the server has gone before it has told which mailboxes there are")),
        }
    }

    /// An IMAP connection to this mailbox; its greeting comes first.
    ///
    /// # Errors
    /// The system's: the server has gone.
    pub fn imap(&self, address: &str) -> io::Result<UnixStream> {
        self.ask(&format!("imap {address}"))
    }

    fn ask(&self, line: &str) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        Ok(stream)
    }
}

fn own(store: &Path) -> Result<Running, Error> {
    logger::install();
    // What a server tells of itself is not asked for here.
    log::set_max_level(log::LevelFilter::Warn);
    abort_on_panic_in_store();
    let options = Options { store: store.to_owned(), owner_only: true, ..Options::default() };
    Running::start(&options, raise_descriptors(), service::session_of)
}

/// Our own server writes what is pending and closes the store in order.
impl Drop for Door {
    fn drop(&mut self) {
        if let Some(running) = self.own.take() {
            running.stop();
        }
    }
}
