//! How the server ends and begins: it says goodbye to everybody within five seconds, and it is alone with its store.

mod server;

use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use server::talk::{Talk, envelope};
use server::{ANNA, BEN, POSTFACH, Server, message, text, try_run};

fn deliver(lmtp: &mut Talk, to: &str, message: &str) {
    envelope(lmtp, to);
    lmtp.asks("DATA", "354");
    lmtp.send(format!("{message}.\r\n").as_bytes());
    lmtp.hears("250 ");
}

fn count(server: &Server, user: &str) -> String {
    server.imap(user).asks("s STATUS INBOX (MESSAGES)", "* STATUS")
}

#[test]
fn sigterm_says_goodbye_to_everybody() {
    let mut server = Server::start();
    let mut lmtp = server.lmtp();
    deliver(&mut lmtp, ANNA, &message("kept", "hello"));
    deliver(&mut lmtp, BEN, &message("large", &"x".repeat(10 << 20)));

    let mut idle = server.imap(ANNA);
    idle.asks("s SELECT INBOX", "s OK");
    idle.asks("i IDLE", "+ ");
    let mut plain = server.plain(143);
    plain.hears("* OK");
    let mut pop3 = server.pop3(ANNA);
    pop3.asks("STAT", "+OK 1 ");
    pop3.asks("DELE 1", "+OK");
    let mut smtp = server.secret(465);
    smtp.hears("220");
    // In the middle of a message, by DATA and by BDAT.
    let mut data = server.lmtp();
    envelope(&mut data, ANNA);
    data.asks("DATA", "354");
    data.send(&message("half", &"x".repeat(300_000)).into_bytes());
    let mut chunk = server.lmtp();
    envelope(&mut chunk, ANNA);
    chunk.says("BDAT 1000 LAST");
    chunk.send(b"Subject: half\r\n");
    // Nobody takes what this one has asked for; that one never says anything.
    let mut stalled = server.imap(BEN);
    stalled.asks("s SELECT INBOX", "s OK");
    stalled.says("f FETCH 1 (BODY.PEEK[])");
    stalled.hears("* 1 FETCH");
    let mut silent = server.connect(993);

    let from = Instant::now();
    assert!(server.stop(), "exit status 0");
    eprintln!("the end took {:?}", from.elapsed());
    assert!(from.elapsed() < Duration::from_secs(5));
    idle.hears("* BYE");
    plain.hears("* BYE");
    pop3.hears("-ERR");
    for talk in [&mut smtp, &mut data, &mut chunk, &mut lmtp] {
        talk.hears("421 4.3.2");
    }
    // Over TLS an end without close_notify would be an error.
    for talk in [&mut idle, &mut plain, &mut pop3, &mut smtp, &mut data, &mut chunk] {
        assert_eq!(talk.rest().expect("a proper end"), "");
    }
    assert_eq!(silent.read(&mut [0; 10]).expect("an end"), 0);
    drop(stalled);

    server.restart();
    assert!(count(&server, ANNA).contains("MESSAGES 1)"), "neither the halves nor DELE without QUIT");
}

#[test]
fn a_peer_that_never_pauses_does_not_hold_up_the_end() {
    let mut server = Server::start();
    let mut busy = server.lmtp();
    envelope(&mut busy, ANNA);
    busy.asks("DATA", "354");
    let sender = std::thread::spawn(move || {
        let lines = "x".repeat(1000) + "\r\n";
        while busy.try_send(lines.repeat(100).as_bytes()).is_ok() {}
    });
    let mut greedy = server.imap(BEN);
    let reader = std::thread::spawn(move || {
        // Commands without end, and none of the answers is taken.
        while greedy.try_send("n NOOP\r\n".repeat(1000).as_bytes()).is_ok() {}
    });
    std::thread::sleep(Duration::from_millis(300));
    let from = Instant::now();
    assert!(server.stop(), "exit status 0");
    eprintln!("the end took {:?}", from.elapsed());
    assert!(from.elapsed() < Duration::from_secs(5));
    sender.join().expect("is cut off");
    reader.join().expect("is cut off");
}

/// Tries to start a server on the same store.
fn second(server: &Server) -> (Option<i32>, String) {
    let mut command = Command::new(POSTFACH);
    command.args(["serve", "--bind", "127.0.0.1", "--port-base", "40000", "--store"]).arg(&server.store);
    let from = Instant::now();
    let output = try_run(&mut command, b"");
    assert!(from.elapsed() < Duration::from_secs(5));
    (output.status.code(), text(&output.stderr))
}

fn socket(server: &Server) -> PathBuf {
    let mut path = server.store.clone().into_os_string();
    path.push(".sock");
    path.into()
}

#[test]
fn a_store_has_one_server() {
    let server = Server::start();
    let (status, said) = second(&server);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("is in use: a server is running already"), "{said}");
    assert!(
        server.console(&["domain", "list"], "").contains("example.test"),
        "the first one still has its socket"
    );
    assert!(count(&server, ANNA).contains("MESSAGES 0)"));
}

#[test]
fn only_a_socket_is_taken_for_a_stale_one() {
    let mut server = Server::start();
    let socket = socket(&server);
    server.kill();
    assert!(socket.symlink_metadata().expect("is left behind").file_type().is_socket());
    server.restart();
    assert!(server.console(&["domain", "list"], "").contains("example.test"));
    assert!(server.stop());
    assert!(!socket.exists());
    std::fs::write(&socket, "somebody's letters").expect("writes");
    let (status, said) = second(&server);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("mail.store.sock") && said.contains("no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&socket).expect("is there"), "somebody's letters");
}
