//! What dialogues cannot reach: a medium that does not give back what was written, a password check that is busy, goodbyes.

use std::sync::Arc;

use super::Pop3;
use crate::device::Memory;
use crate::journal::{Format, format};
use crate::session::receive::Receiver;
use crate::session::{Context, Farewell, Input, Io, Load, Next, Peer, SecretAnswer, Session};
use crate::store::{LoadError, Shared, Store};
use crate::types::{Class, Position, Time};

/// A session on a store where anna has one message of 100,000 bytes.
struct Desk {
    shared: Shared,
    needs: Position,
    io: Io,
    session: Pop3,
}

impl Desk {
    fn new() -> Desk {
        let mut random = |bytes: &mut [u8]| bytes.fill(7);
        let device = Memory::new(64 << 20);
        format(&device, &Format { segment_bytes: None, force: false }, &mut random).unwrap();
        let shared = Shared::new(Store::open(Arc::new(device), &mut random).unwrap().0);
        let mut needs = Position::default();
        let mut store = shared.access(&mut needs);
        store.domain_add("example.test").unwrap();
        let anna = store.mailbox_add("anna@example.test", Class::S, String::from("phc")).unwrap();
        let place = store.reserve(anna, 100_000).unwrap();
        let mut receiver = Receiver::new(store.new_body());
        drop(store);
        let message = vec![b'x'; 100_000];
        let mut rest = &message[..];
        while !rest.is_empty() {
            rest = &rest[receiver.push(rest)..];
            if let Some(Next::Store { body, piece, bytes }) = receiver.store() {
                shared.lock().append_piece(body, piece, bytes).unwrap();
            }
        }
        let (message, _kept) = receiver.finish(Time(0));
        shared.access(&mut needs).deliver(message, vec![(anna, place)]).unwrap();
        Desk { shared, needs, io: Io::default(), session: Pop3::new() }
    }

    fn step(&mut self, input: Input<'_>) -> Next {
        let peer = Peer { address: None, tls: true };
        let Desk { shared, needs, io, session } = self;
        let mut cx = Context { shared, needs, now: Time(0), peer, host: "mail.example.test", port_base: 0 };
        session.step(input, io, &mut cx)
    }

    fn send(&mut self, line: &str) -> Next {
        self.io.inbox.extend(line.as_bytes());
        self.step(Input::Bytes)
    }

    fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.io.out)).unwrap()
    }

    fn logged_in() -> Desk {
        let mut desk = Desk::new();
        desk.step(Input::Start);
        assert!(matches!(desk.send("USER anna@example.test\r\nPASS x\r\n"), Next::Secret(_)));
        assert!(matches!(
            desk.step(Input::Secret(SecretAnswer::Checked(true))),
            Next::Wait { bytes: true, .. }
        ));
        assert!(desk.said().ends_with("+OK 1 messages (100000 octets)\r\n"));
        desk
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    let mut desk = Desk::logged_in();
    assert!(matches!(desk.send("RETR 1\r\nNOOP\r\n"), Next::Load(Load::Body { offset: 0, .. })));
    assert!(matches!(desk.step(Input::Loaded(Err(LoadError::Damaged))), Next::Wait { bytes: true, .. }));
    assert_eq!(desk.said(), "-ERR [SYS/TEMP] message 1 cannot be read\r\n+OK nothing done\r\n");
}

#[test]
fn what_breaks_off_is_cut_off_without_a_lone_dot() {
    let mut desk = Desk::logged_in();
    desk.send("RETR 1\r\nNOOP\r\n");
    assert!(matches!(desk.step(Input::Loaded(Ok(&[b'x'; 65536]))), Next::Send));
    assert_eq!(desk.said(), format!("+OK 100000 octets\r\n{}", "x".repeat(65536)));
    assert!(matches!(desk.step(Input::Sent), Next::Load(Load::Body { offset: 65536, .. })));
    assert!(matches!(desk.step(Input::Loaded(Err(LoadError::Damaged))), Next::Close));
    assert_eq!(desk.said(), "");
}

#[test]
fn a_message_of_several_pieces_has_one_end() {
    let mut desk = Desk::logged_in();
    desk.send("RETR 1\r\n");
    desk.step(Input::Loaded(Ok(&[b'x'; 65536])));
    desk.step(Input::Sent);
    // A piece that is longer than the rest of the message is taken only as far as it belongs.
    assert!(matches!(desk.step(Input::Loaded(Ok(&[b'x'; 65536]))), Next::Send));
    assert_eq!(desk.said(), format!("+OK 100000 octets\r\n{}\r\n.\r\n", "x".repeat(100_000)));
    assert!(matches!(desk.step(Input::Sent), Next::Wait { bytes: true, .. }));
}

#[test]
fn goodbyes_never_become_part_of_a_message() {
    let mut desk = Desk::logged_in();
    desk.session.farewell(Farewell::Shutdown, &mut desk.io.out);
    assert_eq!(desk.said(), "-ERR [SYS/TEMP] server shutting down\r\n");
    desk.send("RETR 1\r\n");
    desk.step(Input::Loaded(Ok(&[b'x'; 65536])));
    desk.said();
    desk.session.farewell(Farewell::Shutdown, &mut desk.io.out);
    assert_eq!(desk.said(), "");
}

#[test]
fn a_busy_password_check_is_no_wrong_password() {
    let mut desk = Desk::new();
    desk.step(Input::Start);
    desk.said();
    desk.send("USER anna@example.test\r\nPASS x\r\n");
    assert!(matches!(desk.step(Input::Secret(SecretAnswer::Busy)), Next::Read { .. }));
    assert_eq!(desk.said(), "+OK now PASS\r\n-ERR [SYS/TEMP] busy, try again later\r\n");
}
