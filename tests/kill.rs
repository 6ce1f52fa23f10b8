//! The server is killed again and again during a storm of deliveries: what was acknowledged is there exactly once, and what has been expunged does
//! not come back.
//!
//! Fifty kills; POSTFACH_KILLS sets another number.

mod proof;
mod server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use server::{ANNA, BEN, PASSWORD, Server, run, text};

/// Delivers until the server is gone; reports every acknowledged message.
fn storm(stream: TcpStream, client: usize, round: usize, acknowledged: &Sender<String>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.next()?;
    writer.write_all(b"LHLO storm\r\n").ok()?;
    while !lines.next()?.starts_with("250 ") {}
    for number in 0.. {
        let id = format!("storm-{round}-{client}-{number}");
        let recipient = if (client + number).is_multiple_of(2) { ANNA } else { BEN };
        let padding = "x".repeat(70) + "\r\n";
        let size = [3, 60, 20, 1500][number % 4];
        let body = format!("Message-ID: <{id}>\r\nX-Ledger: {id};\r\n\r\n{}", padding.repeat(size));
        let head = format!("MAIL FROM:<>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n");
        writer.write_all(format!("{head}{body}.\r\n").as_bytes()).ok()?;
        for wanted in ["250 ", "250 ", "354 ", "250 "] {
            let line = lines.next()?;
            assert!(line.starts_with(wanted), "{line}");
        }
        acknowledged.send(id).ok()?;
    }
    None
}

#[test]
fn every_acknowledged_message_is_there_once() {
    let kills = proof::number("POSTFACH_KILLS").unwrap_or(50) as usize;
    let mut server = Server::start();
    let (mut ledger, mut expunged, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for round in 0..kills {
        let (sender, receiver) = channel();
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (stream, sender) = (server.connect(24), sender.clone());
                std::thread::spawn(move || storm(stream, client, round, &sender))
            })
            .collect();
        drop(sender);
        // The blow falls after so many acknowledgements, while others are under way.
        for _ in 0..5 + round * 7 % 23 {
            match receiver.recv_timeout(Duration::from_secs(60)) {
                Ok(id) => ledger.insert(id),
                Err(RecvTimeoutError::Timeout) => panic!("no acknowledgement within a minute"),
                Err(RecvTimeoutError::Disconnected) => panic!("the storm is over before the blow"),
            };
        }
        server.kill();
        for client in clients {
            client.join().expect("a client that saw only what may be");
        }
        ledger.extend(receiver.try_iter());
        server.restart();
        // Before the mailboxes are full, and at the end.
        if (round + 1) % 25 == 0 || round + 1 == kills {
            count += ledger.len();
            reckon(&server, std::mem::take(&mut ledger), &mut expunged);
            if (round + 1) % 100 == 0 {
                proof::tell(format_args!("kills: {} of {kills}, {count} acknowledged", round + 1));
            }
        }
    }
    proof::count("kills of the server", &format!("{count} messages acknowledged"), kills as u64);
    assert!(server.stop(), "it stops by itself");
    let output = run(Command::new(server::POSTFACH).args(["check", "--store"]).arg(&server.store), b"");
    eprintln!("{}", text(&output.stdout));
}

/// Holds what is there against the ledger, and expunges it.
fn reckon(server: &Server, ledger: BTreeSet<String>, expunged: &mut BTreeSet<String>) {
    let (mut found, mut double) = (BTreeSet::new(), Vec::new());
    for id in [ANNA, BEN].into_iter().flat_map(|user| take_all(server, user)) {
        assert!(!expunged.contains(&id), "expunged, and there again: {id}");
        if !found.insert(id.clone()) {
            double.push(id);
        }
    }
    let missing: Vec<&String> = ledger.difference(&found).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    assert!(double.is_empty(), "there twice: {double:?}");
    expunged.append(&mut found);
}

/// The ledger entries of a mailbox, read by IMAP; every message is read whole, and then expunged.
fn take_all(server: &Server, user: &str) -> Vec<String> {
    let script = "import imaplib, ssl, sys\n\
        imaplib._MAXLINE = 10_000_000\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        imap = imaplib.IMAP4_SSL('localhost', int(sys.argv[1]), ssl_context=context, timeout=60)\n\
        imap.login(sys.argv[3], sys.argv[4])\n\
        count = int(imap.select('INBOX')[1][0])\n\
        for first in range(1, count + 1, 200):\n\
        \x20   answer = imap.fetch(f'{first}:{min(first + 199, count)}', '(BODY.PEEK[])')\n\
        \x20   assert answer[0] == 'OK', answer[1][:3]\n\
        \x20   for part in answer[1]:\n\
        \x20       if isinstance(part, tuple):\n\
        \x20           id = part[1].split(b'X-Ledger: ')[1].split(b';')[0].decode()\n\
        \x20           lines = part[1].split(b'\\r\\n\\r\\n', 1)[1]\n\
        \x20           assert lines == (b'x' * 70 + b'\\r\\n') * (len(lines) // 72), id\n\
        \x20           print(id)\n\
        assert imap.store('1:*', '+FLAGS.SILENT', '(\\\\Deleted)')[0] == 'OK'\n\
        assert imap.expunge()[0] == 'OK'\n";
    let mut command = Command::new("python3");
    command
        .args(["-c", script, &server.port(993).to_string()])
        .arg(server.certificate())
        .args([user, PASSWORD]);
    text(&run(&mut command, b"").stdout).lines().map(String::from).collect()
}
