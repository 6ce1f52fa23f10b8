//! Crowds, silence and garbage: the server keeps its limits, serves whoever behaves, and gives its memory back.

mod server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use server::gauge::{Gauge, anonymous_kib};
use server::talk::{Talk, envelope};
use server::{ANNA, Server, message, run};

/// As `limits::CONNECTIONS_PER_PEER_MAX` says.
const PER_PEER: usize = 1000;
/// Memory of an idle connection without TLS that has not logged in, bytes.
const IDLE_BYTES: u64 = 4096;

/// What a crowd may leave behind, KiB: tables that have grown for 3,000.
const LEFT_KIB: u64 = 1536;

/// A connection from an address of this machine.
fn connect_from(last: u8, server: &Server, standard: u16) -> TcpStream {
    // Not for the servers of other tests to inherit.
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, last], 0))).expect("binds");
    rustix::net::connect(&socket, &SocketAddr::from(([127, 0, 0, 1], server.port(standard))))
        .expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("takes a timeout");
    stream
}

/// This process may have as many files open as it needs.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    assert!(maximum.is_none_or(|maximum| maximum >= 4000), "this machine allows {maximum:?} open files");
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("raises the limit");
}

fn greeting(stream: &mut TcpStream) -> String {
    let mut heard = [0; 512];
    let count = stream.read(&mut heard).expect("a greeting");
    String::from_utf8_lossy(&heard[..count]).into_owned()
}

/// Somebody who behaves: delivers, logs in, reads.
fn is_served(server: &Server, number: u32) {
    let from = Instant::now();
    let mut lmtp = server.lmtp();
    envelope(&mut lmtp, ANNA);
    lmtp.asks("DATA", "354");
    lmtp.send(format!("{}.\r\n", message(&format!("amid{number}"), "hello")).as_bytes());
    lmtp.hears("250 ");
    let mut imap = server.imap(ANNA);
    imap.asks("s SELECT INBOX", "s OK");
    imap.asks("f FETCH * (BODY.PEEK[])", &format!("Subject: amid{number}"));
    imap.hears("f OK");
    assert!(from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());
}

#[test]
fn a_crowd_is_let_in_up_to_the_limit_and_leaves_nothing_behind() {
    raise_descriptors();
    let server = Server::start();
    is_served(&server, 0);
    let gauge = Gauge::new(server.pid());
    let before = gauge.rest();
    let mut crowd = Vec::new();
    for (last, standard, hello) in [(2, 25, "220 "), (3, 143, "* OK"), (4, 110, "+OK")] {
        for _ in 0..PER_PEER {
            let mut stream = connect_from(last, &server, standard);
            assert!(greeting(&mut stream).starts_with(hello));
            crowd.push(stream);
        }
        let mut refused = connect_from(last, &server, 25);
        assert!(greeting(&mut refused).starts_with("421 4.7.0"));
        assert_eq!(refused.read(&mut [0; 10]).expect("an end"), 0);
    }
    let each = (gauge.rest() - before) * 1024 / crowd.len() as u64;
    eprintln!("{} idle connections: {each} bytes each", crowd.len());
    assert!(each <= IDLE_BYTES);
    // Handshakes that are never finished: nothing, and a beginning.
    for number in 0..200 {
        let mut stream = connect_from(5, &server, if number % 2 == 0 { 993 } else { 465 });
        if number % 4 > 1 {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").expect("sends");
        }
        crowd.push(stream);
    }
    is_served(&server, 1);
    drop(crowd);
    let deadline = Instant::now() + Duration::from_secs(10);
    while gauge.rest() > before + LEFT_KIB {
        assert!(Instant::now() < deadline, "{} KiB stay behind", anonymous_kib(server.pid()) - before);
    }
    eprintln!("{} KiB before, {} KiB after", before, gauge.rest());
    is_served(&server, 2);
}

#[test]
fn garbage_is_refused_on_every_port() {
    let mut server = Server::start();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut garbage = |length: usize| -> Vec<u8> {
        let bytes = (0..length).map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            (noise >> 32) as u8
        });
        bytes.collect()
    };
    let rest = Gauge::new(server.pid());
    let rise = rest.rise("garbage", || {
        for standard in [24, 25, 110, 143, 465, 587, 993, 995] {
            for length in [1, 100, 20_000, 1_000_000] {
                let mut stream = connect_from(1, &server, standard);
                let mut bytes = garbage(length);
                // With and without line ends, and as what it is not.
                match length {
                    100 => bytes.splice(..0, *b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").for_each(drop),
                    20_000 => bytes.iter_mut().step_by(50).for_each(|byte| *byte = b'\n'),
                    1_000_000 => bytes.iter_mut().for_each(|byte| *byte = *byte % 95 + 32),
                    _ => {}
                }
                // It may be closed to us at any moment.
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut heard = Vec::new();
                let _ = stream.read_to_end(&mut heard);
                assert!(heard.len() < 100_000, "port {standard}: {} bytes of answers", heard.len());
            }
        }
    });
    assert!(rise < 2048, "{rise} KiB");
    is_served(&server, 0);
    assert!(server.stop());
    let logged = server.logged();
    assert!(logged.iter().all(|line| line.is_ascii() && line.len() < 300), "{logged:?}");
}

#[test]
fn without_descriptors_it_waits_for_some() {
    let server = Server::start();
    let mut before = Talk::on(connect_from(1, &server, 143));
    before.hears("* OK");
    let limit = |limit: &str| {
        let pid = server.pid().to_string();
        run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}")]), b"");
    };
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("a process").count();
    limit(&format!("{open}:"));
    let mut waiting = Talk::on(connect_from(1, &server, 143));
    assert!(server.logs("cannot take connections now"), "nothing is said about it");
    before.asks("n NOOP", "n OK");
    limit("1000:");
    waiting.hears("* OK");
    assert!(server.logged().is_empty(), "once is enough");
    is_served(&server, 0);
}
