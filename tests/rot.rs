//! One flipped byte in a stored body: `check` names the message, FETCH and RETR say so instead of sending wrong bytes, the
//! neighbours are whole. In a sealed segment sixteen blocks in a row can go: FETCH and RETR send what was there, and `check --repair` writes
//! it back.

mod server;

use std::io::Write;
use std::process::Command;

use server::{ANNA, PASSWORD, POSTFACH, Server, text, try_run};

#[test]
fn a_flipped_byte_is_named_and_never_sent() {
    let mut server = Server::start();
    let mut stream = server.connect(24);
    let mut all = String::from("LHLO test\r\n");
    for number in 1..=3 {
        all += &format!(
            "MAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nDATA\r\nSubject: rot{number}\r\n\r\nthe marker{number} here\r\n.\r\n"
        );
    }
    stream.write_all((all + "QUIT\r\n").as_bytes()).expect("sends");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stream, &mut said).expect("reads");
    assert_eq!(said.matches("\r\n250 2.").count(), 9, "{said}");
    assert!(server.stop());
    let check =
        |server: &Server| try_run(Command::new(POSTFACH).args(["check", "--store"]).arg(&server.store), b"");
    let output = check(&server);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));

    let mut bytes = std::fs::read(&server.store).expect("reads");
    let at = bytes.windows(7).position(|part| part == b"marker2").expect("is stored as it was sent");
    bytes[at] ^= 1;
    std::fs::write(&server.store, bytes).expect("writes");
    let output = check(&server);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("UID 2") && said.contains("INBOX") && said.contains(ANNA), "{said}");
    assert!(!said.contains("UID 1 ") && !said.contains("UID 3 "), "{said}");

    server.restart();
    let output = try_run(Command::new(POSTFACH).args(["check", "--store"]).arg(&server.store), b"");
    assert_eq!(output.status.code(), Some(3), "a running server has the store: {}", text(&output.stderr));
    assert!(!server.console(&["status"], "").contains("asked for"));
    let curl = |url: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "--cacert"]).arg(server.certificate());
        command.args(["-u", &format!("{ANNA}:{PASSWORD}"), url]);
        try_run(&mut command, b"")
    };
    for number in 1..=3 {
        let fetched = curl(&format!("imaps://localhost:{}/INBOX;MAILINDEX={number}", server.port(993)));
        let retrieved = curl(&format!("pop3s://localhost:{}/{number}", server.port(995)));
        for output in [fetched, retrieved] {
            let body = text(&output.stdout);
            assert_eq!(
                body.ends_with(&format!("the marker{number} here\r\n")),
                number != 2,
                "{number}: {body}"
            );
            assert_eq!(
                output.status.success() && !body.is_empty(),
                number != 2,
                "{number}: {}",
                text(&output.stderr)
            );
            assert!(number != 2 || !body.contains("the "), "{body}");
        }
    }
    let mut command = Command::new("curl");
    command.args(["-sSv", "--max-time", "60", "--cacert"]).arg(server.certificate());
    command.args(["-u", &format!("{ANNA}:{PASSWORD}"), "-X", "FETCH 1:3 BODY.PEEK[TEXT]"]);
    command.arg(format!("imaps://localhost:{}/INBOX", server.port(993)));
    let output = try_run(&mut command, b"");
    assert!(text(&output.stderr).contains(" NO ["), "{}", text(&output.stderr));
    // Once, though it was asked for three times.
    let said = server.console(&["status"], "");
    assert!(said.contains(" 1 message that was asked for since the start cannot be read."), "{said}");
}

#[test]
fn a_damaged_store_says_so_in_words_in_the_language_of_its_owner() {
    let folder = server::Folder::new();
    let store = folder.0.join("mail.store");
    let run = |words: &[&str]| {
        let (first, rest) = words.split_first().expect("has a word");
        let output = try_run(Command::new(POSTFACH).args([first, "--store"]).arg(&store).args(rest), b"");
        text(&output.stdout)
    };
    run(&["format", "--size", "256M"]);
    for name in ["first", "marker", "later", "last"] {
        run(&["console", "domain", "add", &format!("{name}.test")]);
    }
    assert!(!run(&["console", "status"]).contains("The store is damaged"));
    let mut bytes = std::fs::read(&store).expect("reads");
    let at = bytes.windows(11).position(|part| part == b"marker.test").expect("is stored as it is named");
    bytes[at] ^= 1;
    std::fs::write(&store, bytes).expect("writes");
    let said = run(&["console", "status"]);
    assert!(said.starts_with("! The store is damaged: what stood in 1 place of it"), "{said}");
    assert!(said.contains("run `postfach check`") && !said.contains("normal:"), "{said}");
    run(&["console", "language", "de"]);
    let said = run(&["console", "status"]);
    assert!(said.starts_with("! Der Speicher ist beschädigt: Was an 1 Stelle"), "{said}");
    assert!(said.contains("rufen Sie `postfach check` auf") && !said.contains("damaged"), "{said}");
}

/// Of a store of 512 MiB.
const SEGMENT: usize = 4 << 20;

/// A message that nothing makes smaller.
fn noise(seed: &mut u64, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        text.push(char::from(b'/' + (*seed >> 32) as u8 % 0x50));
        if text.len() % 76 == 75 {
            text.push_str("\r\n");
        }
    }
    text
}

fn deliver(server: &Server, bodies: &[String]) {
    let stream = server.connect(24);
    let mut writer = stream.try_clone().expect("clones");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    let mut wait = |wanted: &str| {
        let line = lines.by_ref().map(|line| line.expect("reads")).find(|line| line.as_bytes()[3] == b' ');
        assert!(line.as_ref().is_some_and(|line| line.starts_with(wanted)), "{line:?}");
    };
    wait("220");
    writer.write_all(b"LHLO test\r\n").expect("sends");
    wait("250");
    for body in bodies {
        let all = format!("MAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nDATA\r\n");
        writer.write_all(all.as_bytes()).expect("sends");
        ["250", "250", "354"].iter().for_each(|wanted| wait(wanted));
        writer.write_all(format!("Subject: x\r\n\r\n{body}\r\n.\r\n").as_bytes()).expect("sends");
        wait("250");
    }
}

/// Bytes of the store.
fn part(server: &Server, at: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let file = std::fs::File::open(&server.store).expect("opens");
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, at as u64).expect("reads");
    bytes
}

#[test]
fn blocks_that_are_gone_from_a_sealed_segment_are_still_fetched_right() {
    let mut server = Server::start();
    let mut seed = 7;
    let mut bodies: Vec<String> = (0..80).map(|_| noise(&mut seed, 60_000)).collect();
    bodies[20] = String::from("the marker here");
    deliver(&server, &bodies);
    let all = std::fs::read(&server.store).expect("reads");
    let marker =
        all.windows(15).position(|part| part == b"the marker here").expect("is stored as it was sent");
    let segment = marker / SEGMENT * SEGMENT;
    let begun = std::time::Instant::now();
    while part(&server, segment + SEGMENT - 4096, 8) != b"PostfPar" {
        assert!(begun.elapsed().as_secs() < 60, "no parity");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let before = part(&server, segment, SEGMENT);
    let hole = (marker / 4096 - 8) * 4096;
    let file = std::fs::OpenOptions::new().write(true).open(&server.store).expect("opens");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xAA; 16 * 4096], hole as u64).expect("writes");
    file.sync_all().expect("syncs");
    for number in [19, 20, 21, 22] {
        for url in [
            format!("imaps://localhost:{}/INBOX;MAILINDEX={number}", server.port(993)),
            format!("pop3s://localhost:{}/{number}", server.port(995)),
        ] {
            let mut command = Command::new("curl");
            command.args(["-sS", "--max-time", "60", "--cacert"]).arg(server.certificate());
            command.args(["-u", &format!("{ANNA}:{PASSWORD}"), &url]);
            let output = try_run(&mut command, b"");
            let sent = text(&output.stdout);
            assert!(
                sent.trim_end().ends_with(bodies[number - 1].trim_end()),
                "{url}: {}",
                text(&output.stderr)
            );
        }
    }
    assert!(server.logs("rebuilt from parity"));
    let said = server.console(&["status"], "");
    assert!(said.contains("! Parts of the store do not read"), "{said}");
    assert!(!said.contains("The store is damaged"), "{said}");
    let check = |server: &Server, words: &[&str]| {
        let output =
            try_run(Command::new(POSTFACH).args(["check", "--store"]).arg(&server.store).args(words), b"");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(check(&server, &["--repair"]).0, Some(3), "a running server has the store");
    assert!(server.stop());
    let (status, said) = check(&server, &[]);
    assert!(status == Some(0) && said.contains("warning: 16 blocks "), "{said}");
    let (status, said) = check(&server, &["--repair"]);
    assert!(status == Some(0) && said.starts_with("repaired: 16 bad blocks "), "{said}");
    assert!(part(&server, segment, SEGMENT) == before, "to the bit");
    let (status, said) = check(&server, &[]);
    assert!(status == Some(0) && !said.contains("warning") && !said.contains("repaired"), "{said}");
}
