//! The listening sockets: all of them are bound before the first connection is taken, so a server that starts serves everything.
//! Bound and not yet open, a port refuses connections as if nobody were there.
//!
//! What is set on a listening socket holds for the connections taken from it (Linux): no delay for small packets, and probes that
//! find out that a peer is dead. Refuses more connections than `limits` say: they are told so and closed.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use smol::{Async, Timer};

use super::connection::Connection;
use super::service::{PORTS, Port, Service};
use super::stream::Stream;
use super::{Error, Server};
use crate::limits::{DEAD_PEER_SECONDS, WRITE_SECONDS};
use crate::session::{Farewell, Peer};

/// Connections that wait to be taken, per socket. The system may allow fewer.
const BACKLOG: i32 = 4096;
/// Between two probes of a silent peer.
const PROBE_SECONDS: u32 = DEAD_PEER_SECONDS / 10;
/// Rest after an error of accepting that will not go away at once (no more descriptors).
const REST: Duration = Duration::from_millis(100);
/// Between two lines about that in the log.
const COMPLAINT: Duration = Duration::from_secs(60);

/// A socket that has its address, and for what.
pub struct Bound {
    port: Port,
    address: SocketAddr,
    listener: Async<TcpListener>,
}

impl Bound {
    /// Lets connections in. A second call changes nothing.
    ///
    /// # Errors
    /// Somebody else has opened the port meanwhile.
    pub fn open(&self) -> Result<(), Error> {
        rustix::net::listen(&self.listener, BACKLOG)
            .map_err(|error| cannot_listen(self.address, self.port, &error.into()))
    }
}

fn cannot_listen(address: SocketAddr, port: Port, error: &io::Error) -> Error {
    Error::new(format!("cannot listen on {address} ({:?}): {error}", port.service))
}

/// Binds every port on every address.
///
/// # Errors
/// An address that cannot be bound, named with its port. Missing IPv6 is no error unless it was asked for.
pub fn bind(addresses: &[IpAddr], base: u16) -> Result<Vec<Bound>, Error> {
    let everywhere = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
    let (addresses, asked) = if addresses.is_empty() { (&everywhere[..], false) } else { (addresses, true) };
    let mut all = Vec::new();
    for port in PORTS {
        let number = base.checked_add(port.number).ok_or_else(|| {
            Error::new(format!("port base {base} is too high: port {} would be beyond 65535", port.number))
        })?;
        for address in addresses.iter().filter_map(|address| place(*address, port)) {
            let (ipv6, address) = (address.is_ipv6(), SocketAddr::new(address, number));
            match socket(address) {
                Ok(listener) => all.push(Bound { port, address, listener }),
                Err(error) if ipv6 && !asked && no_ipv6(&error) => {}
                Err(error) => return Err(cannot_listen(address, port, &error)),
            }
        }
    }
    Ok(all)
}

/// Where a port is on an address: what only this machine may use is on its loopback address, or nowhere.
fn place(address: IpAddr, port: Port) -> Option<IpAddr> {
    match address {
        _ if !port.loopback || address.is_loopback() => Some(address),
        IpAddr::V4(address) => address.is_unspecified().then_some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(address) => address.is_unspecified().then_some(IpAddr::from(Ipv6Addr::LOCALHOST)),
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    let error = rustix::io::Errno::from_io_error(error);
    matches!(error, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}

fn socket(address: SocketAddr) -> io::Result<Async<TcpListener>> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    // A silent peer is probed. The kernel lets go at the first probe that finds the user timeout over (tcp(7)), so that one is set a
    // probe's distance before the last moment; data that nobody takes ends with it too.
    sockopt::set_tcp_keepidle(&socket, Duration::from_secs(u64::from(DEAD_PEER_SECONDS / 2)))?;
    sockopt::set_tcp_keepintvl(&socket, Duration::from_secs(u64::from(PROBE_SECONDS)))?;
    sockopt::set_tcp_keepcnt(&socket, (DEAD_PEER_SECONDS / 2 - PROBE_SECONDS) / PROBE_SECONDS)?;
    sockopt::set_tcp_user_timeout(&socket, (DEAD_PEER_SECONDS - PROBE_SECONDS) * 1000)?;
    rustix::net::bind(&socket, &address)?;
    Async::new_nonblocking(TcpListener::from(socket))
}

/// Takes connections, for ever, as soon as the server is open.
pub async fn accept_all(server: Arc<Server>, bound: Bound) {
    server.open.wait().await;
    if let Err(error) = bound.open() {
        return log::error!("{error}");
    }
    let mut complained = None;
    loop {
        match bound.listener.accept().await {
            Ok((stream, address)) => welcome(&server, bound.port, stream, address.ip()),
            Err(error) => complain(&error, &mut complained).await,
        }
    }
}

fn welcome(server: &Arc<Server>, port: Port, stream: Async<TcpStream>, address: IpAddr) {
    let Some(place) = server.crowd.enter(Some(address)) else {
        return turn_away(server, port, &stream);
    };
    let connection = Arc::clone(server);
    let spawned = server.executor.spawn(async move {
        let peer = Peer { address: Some(address), tls: port.tls };
        let stream = match port.tls {
            true => Box::pin(connection.handshake(stream)).await,
            false => Some(Stream::Tcp(stream)),
        };
        if let Some(stream) = stream {
            converse(&connection, port.service, stream, peer).await;
        }
        drop(place);
        connection.connection_closed();
    });
    spawned.detach();
}

/// Speaks one service's protocol on a stream, to the end.
pub async fn converse(server: &Arc<Server>, service: Service, stream: Stream, peer: Peer) {
    let session = (server.sessions)(service, server);
    Connection::new(Arc::clone(server), session, stream, peer).run().await;
}

/// Says that there are too many, without waiting for anything. With TLS from the first byte there is nothing that could be said.
fn turn_away(server: &Server, port: Port, stream: &Async<TcpStream>) {
    if !port.tls {
        let mut last_words = Vec::new();
        (server.sessions)(port.service, server).farewell(Farewell::Busy, &mut last_words);
        // They fit the empty buffer of a new socket.
        let _gone = stream.get_ref().write(&last_words);
    }
    let _gone = stream.get_ref().shutdown(Shutdown::Both);
}

async fn complain(error: &io::Error, last: &mut Option<Instant>) {
    // Errors of one connection that was gone before it was taken concern nobody (accept(2)).
    let passing =
        [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted, io::ErrorKind::ConnectionReset];
    if !passing.contains(&error.kind()) {
        if last.is_none_or(|last| last.elapsed() >= COMPLAINT) {
            *last = Some(Instant::now());
            log::warn!("cannot take connections now: {error}");
        }
        Timer::after(REST).await;
    }
}

/// Where the console socket of a store is: beside a file; for a partition in /run, with its name, whichever of its names is given.
pub fn console_socket(store: &Path) -> PathBuf {
    if let Ok(name) = std::fs::canonicalize(store).as_deref().unwrap_or(store).strip_prefix("/dev") {
        return PathBuf::from(format!("/run/postfach-{}.sock", name.display().to_string().replace('/', "-")));
    }
    let mut path = store.as_os_str().to_owned();
    path.push(".sock");
    PathBuf::from(path)
}

/// The console socket, for its owner only. The store is locked, so one that is there already is stale.
pub struct ConsoleSocket {
    path: PathBuf,
    listener: Async<UnixListener>,
}

impl ConsoleSocket {
    /// Binds it.
    ///
    /// # Errors
    /// The path is too long, or cannot be written to.
    pub fn bind(path: PathBuf) -> Result<ConsoleSocket, Error> {
        let failed = |error: io::Error| {
            Error::new(format!("cannot make the console socket {}: {error}", path.display()))
        };
        let listener = listen_unix(&path).map_err(failed)?;
        Ok(ConsoleSocket { path, listener })
    }

    /// Takes connections, for ever.
    pub async fn accept_all(self, server: Arc<Server>) {
        let mut complained = None;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let connection = Arc::clone(&server);
                    let place = server.crowd.enter(None);
                    let spawned = server.executor.spawn(async move {
                        let _place = place;
                        let peer = Peer { address: None, tls: false };
                        converse(&connection, Service::Console, Stream::Unix(stream), peer).await;
                    });
                    spawned.detach();
                }
                Err(error) => complain(&error, &mut complained).await,
            }
        }
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn listen_unix(path: &Path) -> io::Result<Async<UnixListener>> {
    match path.symlink_metadata() {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
        // Whatever it is, it is not ours.
        Ok(_) => return Err(io::Error::other("there is something of this name that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    // Nobody can connect before it listens, and then it is the owner's alone.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, 16)?;
    Async::new_nonblocking(UnixListener::from(socket))
}

const _: () = assert!(DEAD_PEER_SECONDS < WRITE_SECONDS);

#[cfg(test)]
mod tests {
    use super::*;

    /// A POP3 mailbox whose client has vanished is free again within a minute.
    #[test]
    fn a_connection_is_probed_and_let_go_within_the_time() {
        let listener = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let _client = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
        let (taken, _) = smol::block_on(listener.accept()).unwrap();
        assert!(sockopt::socket_keepalive(&taken).unwrap() && sockopt::tcp_nodelay(&taken).unwrap());
        let idle = sockopt::tcp_keepidle(&taken).unwrap().as_secs();
        let distance = sockopt::tcp_keepintvl(&taken).unwrap().as_secs();
        let probes = u64::from(sockopt::tcp_keepcnt(&taken).unwrap());
        let timeout = u64::from(sockopt::tcp_user_timeout(&taken).unwrap()) / 1000;
        assert!(probes > 2 && idle + probes * distance >= timeout, "probed until the timeout is over");
        assert!(timeout + distance <= u64::from(DEAD_PEER_SECONDS) && timeout > idle);
    }

    #[test]
    fn every_partition_has_a_socket_of_its_own() {
        let file = |path: &str| console_socket(Path::new(path));
        assert_eq!(file("/srv/mail.store"), Path::new("/srv/mail.store.sock"));
        assert_eq!(file("/dev/null"), Path::new("/run/postfach-null.sock"));
        assert_eq!(file("/dev/nowhere/p4"), Path::new("/run/postfach-nowhere-p4.sock"));
        // By another name it is the same.
        let link = std::env::temp_dir().join(format!("postfach-socket-{}", std::process::id()));
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(console_socket(&link), file("/dev/null"));
        std::fs::remove_file(&link).unwrap();
    }

    #[test]
    fn only_a_socket_is_stale() {
        let path = std::env::temp_dir().join(format!("postfach-listen-{}.sock", std::process::id()));
        std::fs::write(&path, "a letter").unwrap();
        assert!(ConsoleSocket::bind(path.clone()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
        std::fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let bound = ConsoleSocket::bind(path.clone());
        drop(bound.ok().unwrap());
        assert!(!path.exists());
    }
}
