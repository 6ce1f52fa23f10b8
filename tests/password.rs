//! A password that has been changed is another one at once and everywhere: sessions of the old one end, logins that were remembered
//! are forgotten. A mailbox that is removed takes its sessions with it.

mod server;

use std::time::{Duration, Instant};

use server::talk::{Talk, envelope};
use server::{ANNA, BEN, PASSWORD, Server, message};

const NEW: &str = "another password 7";

/// Every way to log in, and whether it succeeds. A refusal is delayed by seconds, so they are asked all at once.
fn logins(server: &Server, user: &str, password: &str) -> Vec<bool> {
    let sasl = |mechanism: &str| {
        let bytes = format!("\0{user}\0{password}");
        format!("AUTH {mechanism} {}", base64(bytes.as_bytes()))
    };
    let mut imap = server.secret(993);
    imap.hears("* OK");
    imap.says(&format!("l LOGIN {user} \"{password}\""));
    let mut pop3 = server.secret(995);
    pop3.hears("+OK");
    pop3.asks(&format!("USER {user}"), "+OK");
    pop3.says(&format!("PASS {password}"));
    let mut sasl_pop3 = server.secret(995);
    sasl_pop3.hears("+OK");
    let mut smtp = server.secret(465);
    smtp.hears("220");
    smtp.asks("EHLO test.example", "250 ");
    smtp.says(&sasl("PLAIN"));
    let first = pop3.line();
    // One POP3 session at a time.
    pop3.asks("QUIT", "");
    sasl_pop3.says(&sasl("PLAIN"));
    vec![
        imap.hears("l ").starts_with("l OK"),
        first.starts_with("+OK"),
        smtp.line().starts_with("235"),
        sasl_pop3.line().starts_with("+OK"),
    ]
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|three| {
        let number =
            three.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        (0..4).map(move |at| match at <= three.len() {
            true => char::from(LETTERS[number >> (18 - 6 * at) & 63]),
            false => '=',
        })
    });
    letters.collect()
}

/// Sessions of a user: one that idles, one that waits for a command, one of POP3, one that sends.
fn sessions(server: &Server, user: &str) -> [Talk; 4] {
    let mut idle = server.imap(user);
    idle.asks("s SELECT INBOX", "s OK");
    idle.asks("i IDLE", "+ ");
    let mut waiting = server.imap(user);
    waiting.asks("s SELECT Sent", "s OK");
    let mut pop3 = server.pop3(user);
    pop3.asks("DELE 1", "+OK");
    let mut smtp = server.secret(465);
    smtp.hears("220");
    smtp.asks("EHLO test.example", "250 ");
    smtp.asks(&format!("AUTH PLAIN {}", base64(format!("\0{user}\0{PASSWORD}").as_bytes())), "235");
    [idle, waiting, pop3, smtp]
}

/// They end, without another word of theirs.
fn end(sessions: [Talk; 4], from: Instant) {
    let [mut idle, mut waiting, mut pop3, mut smtp] = sessions;
    idle.hears("* BYE [EXPIRED]");
    waiting.hears("* BYE [EXPIRED]");
    pop3.hears("-ERR");
    assert!(from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());
    for talk in [&mut idle, &mut waiting, &mut pop3] {
        assert_eq!(talk.rest().expect("a proper end"), "");
    }
    // It hears nothing, so it is told when it says something.
    smtp.asks("NOOP", "421 4.7.0");
}

fn deliver(server: &Server, to: &str) {
    let mut lmtp = server.lmtp();
    envelope(&mut lmtp, to);
    lmtp.asks("DATA", "354");
    lmtp.send(format!("{}.\r\n", message("kept", "hello")).as_bytes());
    lmtp.hears("250 ");
}

#[test]
fn a_changed_password_counts_at_once_and_everywhere() {
    let server = Server::start();
    deliver(&server, ANNA);
    deliver(&server, BEN);
    assert_eq!(logins(&server, ANNA, PASSWORD), [true; 4]);
    let anna = sessions(&server, ANNA);
    let mut ben = server.pop3(BEN);
    let from = Instant::now();
    server.console(&["mailbox", "passwd", ANNA], &format!("{NEW}\n"));
    end(anna, from);
    assert_eq!(logins(&server, ANNA, NEW), [true; 4]);
    assert_eq!(logins(&server, ANNA, PASSWORD), [false; 4], "remembered logins are forgotten");
    assert_eq!(logins(&server, ANNA, NEW), [true; 4], "and they stay the right ones");
    ben.asks("STAT", "+OK 1 ");
    let mut anna = server.secret(995);
    anna.hears("+OK");
    anna.asks(&format!("USER {ANNA}"), "+OK");
    anna.asks(&format!("PASS {NEW}"), "+OK");
    anna.asks("STAT", "+OK 1 ");
}

#[test]
fn a_removed_mailbox_takes_its_sessions_with_it() {
    let server = Server::start();
    deliver(&server, ANNA);
    let anna = sessions(&server, ANNA);
    let from = Instant::now();
    server.console(&["mailbox", "remove", ANNA], "yes\n");
    end(anna, from);
    assert_eq!(logins(&server, ANNA, PASSWORD), [false; 4]);
    // Another mailbox of that name has nothing of the old one.
    server.console(&["mailbox", "add", ANNA, "size", "S"], &format!("{PASSWORD}\n"));
    server.pop3(ANNA).asks("STAT", "+OK 0 0");
    assert_eq!(logins(&server, BEN, PASSWORD), [true; 4]);
}
