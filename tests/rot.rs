//! One flipped byte in a stored body: `check` names the message, FETCH and RETR say so instead of sending wrong bytes, the
//! neighbours are whole.

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
}
