//! What is served where: the table of ports, and which session speaks on each.

use std::sync::Arc;

use super::identity::host_name;
use super::{Server, heap};
use crate::session::Session;
use crate::session::console::{Console, Facts, HostName, Mode};
use crate::session::imap::Imap;
use crate::session::owner::Owner;
use crate::session::pop3::Pop3;
use crate::session::smtp::{Role, Smtp};

/// A protocol, as one port speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Mail from other servers (RFC 5321).
    Smtp,
    /// Mail from our own users, TLS from the first byte (RFC 8314 §3.3).
    Submissions,
    /// Mail from our own users, STARTTLS (RFC 6409).
    Submission,
    /// Mail from a server on this machine (RFC 2033).
    Lmtp,
    /// RFC 1939, STLS.
    Pop3,
    /// RFC 1939, TLS from the first byte.
    Pop3s,
    /// RFC 3501, STARTTLS.
    Imap,
    /// RFC 3501, TLS from the first byte.
    Imaps,
    /// The console socket, which is the owner's.
    Console,
    /// The serial line.
    Serial,
}

/// A port.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// What it speaks.
    pub service: Service,
    /// Its standard number.
    pub number: u16,
    /// TLS from the first byte.
    pub tls: bool,
    /// Only this machine may connect.
    pub loopback: bool,
}

/// Every port, by service.
pub const PORTS: [Port; 8] = [
    port(Service::Smtp, 25, false),
    port(Service::Submissions, 465, true),
    port(Service::Submission, 587, false),
    Port { loopback: true, ..port(Service::Lmtp, 24, false) },
    port(Service::Pop3, 110, false),
    port(Service::Pop3s, 995, true),
    port(Service::Imap, 143, false),
    port(Service::Imaps, 993, true),
];

const fn port(service: Service, number: u16, tls: bool) -> Port {
    Port { service, number, tls, loopback: false }
}

/// A new conversation of this service.
pub fn session_of(service: Service, server: &Server) -> Box<dyn Session> {
    match service {
        Service::Console => Box::new(Owner::new(facts(server))),
        Service::Serial => Box::new(Console::new(Mode::Serial, facts(server))),
        Service::Smtp => Box::new(Smtp::new(Role::Mx)),
        Service::Submission | Service::Submissions => Box::new(Smtp::new(Role::Submission)),
        Service::Lmtp => Box::new(Smtp::new(Role::Lmtp)),
        Service::Pop3 | Service::Pop3s => Box::new(Pop3::new()),
        Service::Imap | Service::Imaps => Box::new(Imap::new()),
    }
}

/// What the console tells of the server.
fn facts(server: &Server) -> Facts {
    let fingerprint = server.fingerprint();
    let (started, memory) = (Some(server.started()), Some(heap::resident as _));
    let (machine, attempts) = (Some(Arc::clone(&server.machine) as _), Arc::clone(&server.machine.attempts));
    let idle_seconds = server.machine.idle_seconds;
    let host_name = Some(host_name as HostName);
    Facts { fingerprint, started, memory, machine, attempts, idle_seconds, host_name, ..Facts::default() }
}
