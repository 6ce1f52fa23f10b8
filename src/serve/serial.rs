//! The serial line: a terminal device that speaks the console's language, one login at a time, for as long as the server runs.
//!
//! It refuses to understand what is said there: it opens the device, makes it raw, and gives the stream to the loop of all sessions.
//! 115200 baud, 8 data bits, no parity; no flow control but that a terminal is asked to rest when [`ring`](super::ring) and kernel are
//! full. When the line hangs up (a USB adapter is pulled), the login ends and the line is opened anew.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::termios::{self, ControlModes, InputModes, OptionalActions, SpecialCodeIndex};
use smol::{Async, Timer};

use super::listen::converse;
use super::overrun::Overruns;
use super::ring;
use super::service::Service;
use super::stream::Stream;
use super::{Error, Server};
use crate::session::Peer;

/// Speed of the line, baud.
const SPEED: u32 = 115_200;
/// Between two attempts to open a line that has hung up.
const REST: Duration = Duration::from_secs(1);

/// An open serial line.
pub type Line = Async<std::fs::File>;

/// Opens a serial line and makes it raw.
///
/// # Errors
/// It is not there, or no terminal: one line that names it.
pub fn open(path: &Path) -> Result<Line, Error> {
    let failed =
        |error: io::Error| Error::new(format!("cannot open the serial line {}: {error}", path.display()));
    open_raw(path).map_err(failed)
}

fn open_raw(path: &Path) -> io::Result<Line> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.cast_signed()).open(path)?;
    let mut modes = termios::tcgetattr(&file)?;
    modes.make_raw();
    // Nobody's modem is asked whether we may speak.
    modes.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    modes.control_modes -= ControlModes::CRTSCTS | ControlModes::CSTOPB;
    // The kernel says XOFF when it has no room left, before it loses anything.
    modes.input_modes |= InputModes::IXOFF;
    // A byte that came with a framing error is read as NUL (termios(3)): noise, and not some other letter.
    modes.input_modes |= InputModes::INPCK;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes.set_speed(SPEED)?;
    termios::tcsetattr(&file, OptionalActions::Now, &modes)?;
    Async::new(file)
}

/// Speaks on the line until the server stops.
pub async fn serve(server: Arc<Server>, path: PathBuf, line: Line) {
    let mut line = Some(line);
    let mut told = false;
    while !server.stop.is_set() {
        match line.take().map_or_else(|| open(&path), Ok) {
            Ok(open) => {
                told = false;
                let _place = server.crowd.enter(None);
                let peer = Peer { address: None, tls: false };
                let (line, reader) = ring::split(open);
                let mut overruns = Overruns::of(&path);
                let reading = server.executor.spawn(reader.run(move || overruns.any()));
                converse(&server, Service::Serial, Stream::Other(Box::new(line)), peer).await;
                reading.cancel().await;
            }
            // Told once: it may be away for a long time.
            Err(error) if !told => {
                log::warn!("{error}; trying again every second");
                told = true;
            }
            Err(_) => {}
        }
        Timer::after(REST).await;
    }
}
