//! `postfach console`: the other end of the console's socket. When no server runs it opens the store itself and has the same session
//! in this process.
//!
//! It refuses to understand commands: it carries lines there and text back, and does what the marks of [`crate::session::console`] ask for.
//! It takes turns with the session, so one thread is enough, and a terminal's echo is off exactly while a password is typed. For a person
//! at a terminal it carries every key there and what is to be shown back: lines are edited as on the serial line, by the session.

use std::io::{self, BufRead, IsTerminal, Read, StdinLock, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use super::identity::host_name;
use super::secret::Secrets;
use super::{Error, Options, connection, console_socket, fingerprint, machine, open};
use crate::limits::CONSOLE_COLUMNS;
use crate::session::console::line::{Editor, Event, Kind, LINE_BYTES_MAX};
use crate::session::console::{Console, DONE, FAILED, Facts, Mode, WANT_LINE, WANT_SECRET};
use crate::session::{Context, Farewell, Inbox, Input, Io, Next, Peer, Session, gate};
use crate::store::Shared;
use crate::types::Position;

/// How long a store that is locked, by a server without a socket, may be about to get one.
pub(super) const STARTING: Duration = Duration::from_secs(5);
/// Between two looks at it.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// How a conversation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No command has failed; for a person, every end that was wanted is a good one.
    Well,
    /// One has.
    Failed,
    /// One of a list that holds as a whole: nothing of it has been carried out, and the same list would fail again.
    Refused,
}

/// Runs a command, or without one what standard input has: a list of commands, also as a whole, or a person.
///
/// # Errors
/// There is no store, or the conversation was cut.
pub fn console(store: &Path, command: &[String], whole: bool) -> Result<Ended, Error> {
    let command = (!command.is_empty()).then(|| command.join(" "));
    if command.as_ref().is_some_and(|line| line.contains(char::is_control)) {
        return Err(Error::new("a command is one line without control characters"));
    }
    let person = io::stdin().is_terminal();
    let manner = match (&command, person) {
        (Some(_), true) => "command ask",
        (Some(_), false) => "command",
        (None, _) if whole => "whole",
        (None, true) if io::stdout().is_terminal() => return typed(connect(store)?).map(|()| Ended::Well),
        // Somebody reads along.
        (None, true) => "terminal",
        (None, false) => "script",
    };
    let mut link = connect(store)?;
    link.send(format!("{manner}\n").as_bytes())?;
    let stdin = io::stdin().lock();
    Client { link, stdin, command, person, failed: false, to_stderr: false, quiet: None }.run(manner)
}

/// A person's terminal: keys go there, and what comes back is shown, until the person has left.
fn typed(mut link: Link) -> Result<(), Error> {
    let columns = termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    let columns = if columns == 0 { CONSOLE_COLUMNS } else { columns };
    let failed = |error| Error::new(format!("cannot read from the terminal: {error}"));
    let _raw = Quiet::start().map_err(failed)?;
    link.send(format!("typed {columns}\n").as_bytes())?;
    let mut keys = [0; 1024];
    loop {
        let (pressed, said) = link.ready().map_err(failed)?;
        if said {
            let said = link.receive()?;
            let text = said.split(|byte| *byte == DONE).next().unwrap_or_default();
            let mut out = io::stdout().lock();
            let _closed = out.write_all(text).and_then(|()| out.flush());
            match said.is_empty() {
                _ if text.len() < said.len() => return Ok(()),
                true => return Err(cut()),
                false => continue,
            }
        }
        if pressed {
            let count = rustix::io::read(io::stdin(), &mut keys).map_err(|error| failed(error.into()))?;
            match keys.get(..count) {
                Some(pressed) if count > 0 => link.send(pressed)?,
                _ => link.end(),
            }
            keys.fill(0);
        }
    }
}

/// The way to the session.
enum Link {
    Socket(UnixStream),
    Here(Box<Here>),
}

fn connect(store: &Path) -> Result<Link, Error> {
    let path = console_socket(store);
    let start = Instant::now();
    loop {
        match UnixStream::connect(&path) {
            Ok(stream) => return Ok(Link::Socket(stream)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let path = path.display();
                return Err(Error::new(format!(
                    "the console socket {path} belongs to another user: be that user, or root"
                )));
            }
            // No server, or a socket that one has left behind.
            Err(_) => {}
        }
        match Here::open(store) {
            Ok(here) => return Ok(Link::Here(Box::new(here))),
            // A server may just be starting.
            Err(error) if start.elapsed() >= STARTING || !locked(store) => return Err(error),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

pub(super) fn locked(store: &Path) -> bool {
    crate::device::File::open(store).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

impl Link {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Link::Socket(stream) => stream.write_all(bytes).map_err(|_| cut()),
            Link::Here(here) => {
                here.io.inbox.extend(bytes);
                here.drive(Input::Bytes);
                Ok(())
            }
        }
    }

    /// We have nothing more to say.
    fn end(&mut self) {
        match self {
            // If the server has gone meanwhile, reading says so.
            Link::Socket(stream) => drop(stream.shutdown(std::net::Shutdown::Write)),
            Link::Here(here) => here.drive(Input::Eof),
        }
    }

    /// Waits for a person or the session: whether a key has been pressed, and whether something has been said.
    fn ready(&self) -> io::Result<(bool, bool)> {
        let stdin = io::stdin();
        let mut polled = vec![PollFd::new(&stdin, PollFlags::IN)];
        match self {
            Link::Socket(stream) => polled.push(PollFd::new(stream, PollFlags::IN)),
            Link::Here(here) if here.ended || !here.said.is_empty() => return Ok((false, true)),
            Link::Here(_) => {}
        }
        rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
        let is_ready = |index: usize| polled.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok((is_ready(0), is_ready(1)))
    }

    /// What the session says; nothing when the conversation is over.
    fn receive(&mut self) -> Result<Vec<u8>, Error> {
        match self {
            Link::Socket(stream) => {
                let mut buffer = vec![0; 4096];
                let count = stream.read(&mut buffer).map_err(|_| cut())?;
                buffer.truncate(count);
                Ok(buffer)
            }
            Link::Here(here) => Ok(std::mem::take(&mut here.said)),
        }
    }
}

fn cut() -> Error {
    Error::new("the server has gone: the last command may or may not have been carried out")
}

/// A session in this process, on a store of our own.
struct Here {
    shared: Shared,
    session: Console,
    io: Io,
    needs: Position,
    secrets: Secrets,
    host: String,
    /// What has passed the gate.
    said: Vec<u8>,
    ended: bool,
}

impl Here {
    fn open(path: &Path) -> Result<Here, Error> {
        let (store, found) = open(&Options { store: path.to_owned(), ..Options::default() }, 0)?;
        let settings = &store.state().settings;
        let certificate = settings.certificate.as_ref().and_then(|certificate| certificate.chain.first());
        let fingerprint = certificate.map(|own| fingerprint(own)).unwrap_or_default();
        let host = host_name(settings);
        let secrets =
            Secrets::start().map_err(|error| Error::new(format!("cannot start a thread: {error}")))?;
        let facts = Facts { fingerprint, store: found, host_name: Some(host_name), ..Facts::default() };
        let mut here = Here {
            shared: Shared::new(store),
            session: Console::new(Mode::Socket, facts),
            io: Io::default(),
            needs: Position::default(),
            secrets,
            host,
            said: Vec::new(),
            ended: false,
        };
        here.drive(Input::Start);
        Ok(here)
    }

    /// Steps until the session wants bytes, or has ended.
    fn drive(&mut self, input: Input<'_>) {
        if self.ended {
            return;
        }
        let mut next = self.step(input);
        loop {
            if !matches!(next, Next::Secret(_) | Next::Job(_)) && !self.flush() {
                return;
            }
            next = match next {
                Next::Secret(job) => {
                    let answer = smol::block_on(self.secrets.answer(job));
                    self.step(Input::Secret(answer))
                }
                Next::Job(job) => self.step(Input::Job(machine::answer_alone(job))),
                Next::Send => self.step(Input::Sent),
                Next::Read { .. } => return,
                // The console waits for nothing else.
                _ => {
                    self.ended = true;
                    return;
                }
            };
        }
    }

    fn step(&mut self, input: Input<'_>) -> Next {
        let mut cx = Context {
            shared: &self.shared,
            needs: &mut self.needs,
            now: connection::now(),
            peer: Peer { address: None, tls: false },
            host: &self.host,
            port_base: 0,
        };
        self.session.step(input, &mut self.io, &mut cx)
    }

    /// The gate: what is said leaves when what it speaks of is durable. False: it could not be made so, and the session is over.
    fn flush(&mut self) -> bool {
        let mut store = self.shared.lock();
        let committed = store.commit();
        let durable = store.journal().durable();
        drop(store);
        if committed.is_err() || !gate(self.needs, durable) {
            self.io.out.clear();
            self.session.farewell(Farewell::NotStored, &mut self.io.out);
            self.ended = true;
        }
        self.said.append(&mut self.io.out);
        !self.ended
    }
}

/// However the conversation ends, the store is closed in order.
impl Drop for Here {
    fn drop(&mut self) {
        // What was acknowledged is durable already: without the witness the next opening only takes a fresh segment.
        if let Err(error) = self.shared.lock().close() {
            log::warn!("the store could not be closed in order: {error}");
        }
    }
}

/// This end of the conversation.
struct Client {
    link: Link,
    stdin: StdinLock<'static>,
    /// The command of the arguments, until it is sent.
    command: Option<String>,
    person: bool,
    failed: bool,
    /// The rest of this line says what has failed.
    to_stderr: bool,
    /// While passwords are typed.
    quiet: Option<Quiet>,
}

impl Client {
    /// Takes turns to the end.
    fn run(mut self, manner: &str) -> Result<Ended, Error> {
        loop {
            let said = self.link.receive()?;
            if said.is_empty() {
                return if self.failed { Ok(Ended::Failed) } else { Err(cut()) };
            }
            let mut rest = said.as_slice();
            while !rest.is_empty() {
                let end = rest.iter().position(|byte| is_mark(*byte)).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                if let Some(mark) = after.first() {
                    // Before the prompt is seen: who types fast must not see the password.
                    self.echo(*mark != WANT_SECRET)?;
                }
                self.show(text);
                let Some((mark, after)) = after.split_first() else { break };
                rest = after;
                match *mark {
                    DONE if !self.failed || manner == "terminal" => return Ok(Ended::Well),
                    DONE => return Ok(Ended::Refused),
                    FAILED => (self.failed, self.to_stderr) = (true, true),
                    mark => self.answer(mark == WANT_SECRET)?,
                }
            }
        }
    }

    /// A person's terminal shows what is typed, or does not.
    fn echo(&mut self, shown: bool) -> Result<(), Error> {
        if shown {
            self.quiet = None;
        } else if self.person && self.quiet.is_none() {
            let failed = |error| Error::new(format!("cannot turn the terminal's echo off: {error}"));
            self.quiet = Some(Quiet::start().map_err(failed)?);
        }
        Ok(())
    }

    /// Shows text; what has failed goes where errors go. Who has closed our output does not want to see it.
    fn show(&mut self, text: &[u8]) {
        let mut text = text;
        if self.to_stderr {
            let end = text.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let (why, after) = text.split_at(end.unwrap_or(text.len()));
            let _closed = io::stderr().write_all(why);
            self.to_stderr = end.is_none();
            text = after;
        }
        let mut out = io::stdout().lock();
        let _closed = out.write_all(text).and_then(|()| out.flush());
    }

    /// Sends the line that is wanted, or says that there is none.
    fn answer(&mut self, secret: bool) -> Result<(), Error> {
        if !secret && let Some(command) = self.command.take() {
            return self.link.send(format!("{command}\n").as_bytes());
        }
        let read = if secret && self.person { self.secret() } else { self.line() };
        match read.map_err(|error| Error::new(format!("cannot read standard input: {error}")))? {
            Some(mut line) => {
                line.push(b'\n');
                let sent = self.link.send(&line);
                line.fill(0);
                sent
            }
            None => {
                self.link.end();
                Ok(())
            }
        }
    }

    /// A line of standard input without its end; None when there are no more. One that is too long is passed on too long, to be refused.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.stdin).take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line)?;
        match line.last() {
            None => return Ok(None),
            Some(b'\n') => drop(line.pop()),
            Some(_) if line.len() > LINE_BYTES_MAX => {
                // The rest of it would be taken for the next line.
                self.stdin.skip_until(b'\n')?;
            }
            Some(_) => {}
        }
        Ok(Some(line))
    }

    /// A line typed while the echo is off; None when Ctrl-D was typed instead.
    fn secret(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut editor, mut inbox) = (Editor::terminal(None), Inbox::default());
        let mut echo = Vec::new();
        editor.start(Kind::Secret, "");
        loop {
            let bytes = self.stdin.fill_buf()?;
            let count = bytes.len().min(1);
            if count == 0 {
                return Ok(None);
            }
            inbox.extend(&bytes[..count]);
            self.stdin.consume(count);
            let event = editor.take(&mut inbox, &mut echo);
            let mut out = io::stdout().lock();
            let _closed = out.write_all(&echo).and_then(|()| out.flush());
            echo.clear();
            match event {
                Some(Event::Line(line)) => return Ok(Some(line)),
                Some(Event::End) => return Ok(None),
                Some(Event::Interrupt) => {
                    return Err(io::Error::other("interrupted, nothing has been changed."));
                }
                Some(Event::TooLong) => return Err(io::Error::other("the password is too long.")),
                Some(Event::Lost | Event::Noise) => {
                    return Err(io::Error::other("there was noise on the line."));
                }
                Some(Event::Complete { .. } | Event::Question) | None => {}
            }
        }
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, WANT_LINE | WANT_SECRET | FAILED | DONE)
}

/// The terminal without echo, for as long as this lives. Ctrl-C becomes a byte, so that it cannot leave the echo off.
struct Quiet(Termios);

impl Quiet {
    fn start() -> io::Result<Quiet> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If the terminal is gone, so is its echo.
        let _gone = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
