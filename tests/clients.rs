//! Real mail programs against the real server, over TLS, each doing what its user does with it.
//!
//! A program that is missing fails its test: `scripts/test` installs them all.

mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

use server::{ANNA, BEN, PASSWORD, Server, message, run, text, try_run};

/// curl to one URL, with the server's certificate as the only trusted one.
fn curl(server: &Server, url: &str, words: &[&str], input: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "--cacert"]).arg(server.certificate());
    command.args(words).arg(url);
    text(&run(&mut command, input.as_bytes()).stdout)
}

/// Sends a message as Anna, by curl.
fn send(server: &Server, to: &str, subject: &str, body: &str) {
    let login = format!("{ANNA}:{PASSWORD}");
    let url = format!("smtps://localhost:{}", server.port(465));
    let words = ["-u", &login, "--mail-from", ANNA, "--mail-rcpt", to, "-T", "-"];
    curl(server, &url, &words, &message(subject, body));
}

fn imap(server: &Server, user: &str, path: &str, request: &[&str]) -> String {
    let login = format!("{user}:{PASSWORD}");
    let words: Vec<&str> = ["-u", &login].into_iter().chain(request.iter().copied()).collect();
    curl(server, &format!("imaps://localhost:{}/{path}", server.port(993)), &words, "")
}

fn write(server: &Server, name: &str, content: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = server.folder.0.join(name);
    std::fs::write(&path, content).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets the mode");
    path
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn curl_sends_reads_searches_appends_and_deletes() {
    let server = Server::start();
    send(&server, BEN, "curl1", "the zebra");
    send(&server, BEN, "curl2", "the horse");
    let starttls = format!("smtp://localhost:{}", server.port(587));
    let login = format!("{ANNA}:{PASSWORD}");
    let words = ["--ssl-reqd", "-u", &login, "--mail-from", ANNA, "--mail-rcpt", BEN, "-T", "-"];
    curl(&server, &starttls, &words, &message("curl3", "by STARTTLS"));
    let peer = format!("smtp://localhost:{}/peer.example.org", server.port(25));
    let words = ["--ssl-reqd", "--mail-from", "x@example.org", "--mail-rcpt", BEN, "-T", "-"];
    curl(&server, &peer, &words, &message("curl4", "from a peer"));

    let first = imap(&server, BEN, "INBOX;MAILINDEX=1", &[]);
    assert!(first.contains("Subject: curl1\r\n") && first.ends_with("\r\n\r\nthe zebra\r\n"), "{first}");
    assert!(first.starts_with("Return-Path: <anna@example.test>\r\nReceived: from "), "{first}");
    let found = imap(&server, BEN, "INBOX", &["-X", "SEARCH TEXT zebra"]);
    assert_eq!(found, "* SEARCH 1\r\n");
    let part = imap(&server, BEN, "INBOX;UID=2;SECTION=TEXT", &[]);
    assert_eq!(part, "the horse\r\n");
    let found = imap(&server, BEN, "INBOX", &["-X", "FETCH 1:* FLAGS"]);
    assert!(found.contains("* 1 FETCH (FLAGS (") && found.contains("\\Seen"), "{found}");

    // APPEND needs to know the size, so from a file.
    let file = write(&server, "kept.eml", &message("curl5", "kept")).display().to_string();
    let upload = ["-T", &file, "-u", &format!("{BEN}:{PASSWORD}")];
    curl(&server, &format!("imaps://localhost:{}/Sent", server.port(993)), &upload, "");
    let sent = imap(&server, BEN, "Sent;MAILINDEX=1", &[]);
    assert_eq!(sent, message("curl5", "kept"));
    let listed = imap(&server, BEN, "", &[]);
    for folder in ["INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"] {
        assert!(listed.contains(folder), "{listed}");
    }

    let url = format!("pop3s://localhost:{}/", server.port(995));
    let login = format!("{BEN}:{PASSWORD}");
    let listed = curl(&server, &url, &["-u", &login], "");
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let one = curl(&server, &format!("{url}2"), &["-u", &login], "");
    assert!(one.contains("Subject: curl2\r\n") && one.ends_with("the horse\r\n"), "{one}");
    curl(&server, &format!("{url}1"), &["-u", &login, "-X", "DELE", "-I"], "");
    assert_eq!(curl(&server, &url, &["-u", &login], "").lines().count(), 3);
}

#[test]
fn a_wrong_password_and_a_stranger_are_refused() {
    let server = Server::start();
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "--cacert"]).arg(server.certificate());
    command.args(["-u", &format!("{ANNA}:wrong"), &format!("imaps://localhost:{}/INBOX", server.port(993))]);
    let output = try_run(&mut command, b"");
    assert_eq!(output.status.code(), Some(67), "{}", text(&output.stderr));
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "-T", "-", "--mail-from", "x@example.org", "--mail-rcpt"]);
    command.args(["y@elsewhere.example", &format!("smtp://127.0.0.1:{}", server.port(25))]);
    let output = try_run(&mut command, b"Subject: relay\r\n\r\n");
    assert_eq!(output.status.code(), Some(55), "{}", text(&output.stderr));
    assert!(server.logged().iter().all(|line| !line.contains(PASSWORD) && !line.contains("wrong")));
}

#[test]
fn mbsync_goes_both_ways() {
    let server = Server::start();
    for number in 0..30 {
        send(&server, ANNA, &format!("mbsync{number}"), "to be mirrored");
    }
    let folder = server.folder.0.display();
    let config = format!(
        "IMAPAccount a\nHost localhost\nPort {}\nUser {ANNA}\nPass \"{PASSWORD}\"\nSSLType IMAPS\nCertificateFile {}\n\
         AuthMechs LOGIN\n\nIMAPStore remote\nAccount a\n\nMaildirStore local\nPath {folder}/mail/\nInbox {folder}/mail/INBOX\n\
         SubFolders Verbatim\n\nChannel c\nFar :remote:\nNear :local:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        server.port(993),
        server.certificate().display()
    );
    let config = write(&server, "mbsyncrc", &config);
    std::fs::create_dir_all(server.folder.0.join("mail")).expect("a folder");
    let sync = || run(Command::new("mbsync").arg("-c").arg(&config).arg("c"), b"");
    sync();
    let inbox = server.folder.0.join("mail/INBOX");
    let mails = |inbox: &Path| {
        let all = files_below(inbox).into_iter().filter(|file| {
            file.parent().is_some_and(|folder| folder.ends_with("cur") || folder.ends_with("new"))
        });
        let mut all: Vec<PathBuf> = all.collect();
        all.sort();
        all
    };
    let there = mails(&inbox);
    assert_eq!(there.len(), 30);

    // A flag, a removal and a new message here; a new one there.
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let bare = name(&there[0]).split(":2,").next().expect("a base").to_string();
    std::fs::rename(&there[0], inbox.join("cur").join(format!("{bare}:2,FS"))).expect("renames");
    std::fs::remove_file(&there[1]).expect("removes");
    std::fs::write(inbox.join("new/1.local"), message("local", "written here").replace("\r\n", "\n"))
        .expect("writes");
    send(&server, ANNA, "remote", "written there");
    sync();
    assert_eq!(mails(&inbox).len(), 31);
    let flagged = imap(&server, ANNA, "INBOX", &["-X", "SEARCH FLAGGED SEEN"]);
    assert_eq!(flagged.split_whitespace().count(), 3, "{flagged}");
    let status = imap(&server, ANNA, "", &["-X", "STATUS INBOX (MESSAGES)"]);
    assert!(status.contains("MESSAGES 31"), "{status}");
    let local = imap(&server, ANNA, "INBOX", &["-X", "SEARCH SUBJECT local"]);
    assert_eq!(local.split_whitespace().count(), 3, "{local}");
    let before = mails(&inbox);
    sync();
    assert_eq!(mails(&inbox), before, "a second run changes nothing");
    assert!(server.folder.0.join("mail/Sent").exists(), "the other folders are mirrored too");
}

#[test]
fn fetchmail_collects_by_pop3_and_imap() {
    let server = Server::start();
    for (protocol, port) in [("POP3", 995), ("IMAP", 993)] {
        for number in 0..20 {
            send(&server, ANNA, &format!("fetchmail{number}"), ".leading dot\r\n..two\r\n.");
        }
        let mbox = server.folder.0.join(format!("{protocol}.mbox"));
        let config = format!(
            "poll localhost protocol {protocol} port {} user \"{ANNA}\" password \"{PASSWORD}\" ssl sslcertck sslcertfile \"{}\" \
             fetchall nokeep mda \"cat >> {}\"\n",
            server.port(port),
            server.certificate().display(),
            mbox.display()
        );
        let config = write(&server, "fetchmailrc", &config);
        let ids = server.folder.0.join("ids");
        run(
            Command::new("fetchmail")
                .arg("-f")
                .arg(config)
                .args(["-s", "--pidfile"])
                .arg(server.folder.0.join("pid"))
                .arg("-i")
                .arg(ids),
            b"",
        );
        let got = std::fs::read_to_string(mbox).expect("reads");
        assert_eq!(got.matches("Subject: fetchmail").count(), 20);
        assert_eq!(got.matches("\n.leading dot\n..two\n.\n").count(), 20);
        let left = imap(&server, ANNA, "", &["-X", "STATUS INBOX (MESSAGES)"]);
        assert!(left.contains("MESSAGES 0"), "{protocol}: {left}");
    }
}

#[test]
fn mpop_collects_and_deletes() {
    let server = Server::start();
    for number in 0..20 {
        send(&server, BEN, &format!("mpop{number}"), "hello");
    }
    let config = format!(
        "account t\nhost localhost\nport {}\ntls on\ntls_starttls off\ntls_trust_file {}\nauth user\nuser {BEN}\npassword {PASSWORD}\n\
         delivery mbox {}/mpop.mbox\nuidls_file {}/uidls\nkeep off\n",
        server.port(995),
        server.certificate().display(),
        server.folder.0.display(),
        server.folder.0.display()
    );
    let config = write(&server, "mpoprc", &config);
    run(Command::new("mpop").arg("-C").arg(config).arg("t"), b"");
    let got = std::fs::read_to_string(server.folder.0.join("mpop.mbox")).expect("reads");
    assert_eq!(got.matches("\nSubject: mpop").count(), 20);
    let left = imap(&server, BEN, "", &["-X", "STATUS INBOX (MESSAGES)"]);
    assert!(left.contains("MESSAGES 0"), "{left}");
}

#[test]
fn getmail_collects_by_pop3_and_imap() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    std::fs::set_permissions(&server.folder.0, std::fs::Permissions::from_mode(0o777))
        .expect("sets the mode");
    let certificate = server.certificate();
    for (kind, port) in [("SimplePOP3SSLRetriever", 995), ("SimpleIMAPSSLRetriever", 993)] {
        for number in 0..10 {
            send(&server, ANNA, &format!("getmail{number}"), "hello");
        }
        let home = server.folder.0.join(kind);
        for folder in ["", "mail", "mail/cur", "mail/new", "mail/tmp"] {
            std::fs::create_dir_all(home.join(folder)).expect("a folder");
            std::fs::set_permissions(home.join(folder), std::fs::Permissions::from_mode(0o777))
                .expect("sets");
        }
        let config = format!(
            "[retriever]\ntype = {kind}\nserver = localhost\nport = {}\nusername = {ANNA}\npassword = {PASSWORD}\nca_certs = {}\n\
             [destination]\ntype = Maildir\npath = {}/mail/\n[options]\ndelete = true\nverbose = 0\n",
            server.port(port),
            certificate.display(),
            home.display()
        );
        let rc = home.join("getmailrc");
        std::fs::write(&rc, config).expect("writes");
        // getmail refuses to deliver as root.
        let mut command = if run(Command::new("id").arg("-u"), b"").stdout == b"0\n" {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "getmail"]);
            command
        } else {
            Command::new("getmail")
        };
        command.arg(format!("--getmaildir={}", home.display())).arg(format!("--rcfile={}", rc.display()));
        let output = run(&mut command, b"");
        let got = files_below(&home.join("mail/new")).len();
        assert_eq!(got, 10, "{kind}: {} {}", text(&output.stdout), text(&output.stderr));
        let left = imap(&server, ANNA, "", &["-X", "STATUS INBOX (MESSAGES)"]);
        assert!(left.contains("MESSAGES 0"), "{kind}: {left}");
    }
}

#[test]
fn neomutt_limits_tags_and_flags() {
    let server = Server::start();
    for number in 0..12 {
        send(&server, ANNA, &format!("{}{number}", if number % 2 == 0 { "even" } else { "odd" }), "hello");
    }
    let config = format!(
        "set folder=\"imaps://localhost:{}/\"\nset spoolfile=\"+INBOX\"\nset imap_user=\"{ANNA}\"\nset imap_pass=\"{PASSWORD}\"\n\
         set certificate_file=\"{}\"\nset ssl_force_tls=yes\nset ssl_verify_host=no\nset mail_check=0\nset quit=yes\n\
         set header_cache=\"{}/cache\"\nset sort=mailbox-order\nset confirmappend=no\nset timeout=5\n",
        server.port(993),
        server.certificate().display(),
        server.folder.0.display()
    );
    let config = write(&server, "muttrc", &config);
    let keys = "push \"<limit>~s even<enter><tag-pattern>~A<enter><tag-prefix><set-flag>!<quit>y\"";
    let program = format!("neomutt -n -F {} -e '{}'", config.display(), keys);
    run(Command::new("script").env("TERM", "xterm").args(["-qfec", &program, "/dev/null"]), b"");
    let flagged = imap(&server, ANNA, "INBOX", &["-X", "SEARCH FLAGGED"]);
    assert_eq!(flagged, "* SEARCH 1 3 5 7 9 11\r\n");
}

#[test]
fn swaks_delivers_submits_and_is_refused() {
    let server = Server::start();
    let swaks = |words: &[&str]| {
        let mut command = Command::new("swaks");
        command.args(["--timeout", "30", "--h-Subject", "swaks", "--body", "hello"]).args(words);
        try_run(&mut command, b"")
    };
    let mx = format!("127.0.0.1:{}", server.port(25));
    let output = swaks(&["--server", &mx, "--tls", "--to", ANNA, "--from", "a@b.example"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let submission = format!("127.0.0.1:{}", server.port(587));
    for mechanism in ["PLAIN", "LOGIN"] {
        let words = [
            "--server",
            &submission,
            "--tls",
            "--auth",
            mechanism,
            "--auth-user",
            BEN,
            "--auth-password",
            PASSWORD,
        ];
        let output = swaks(&[&words[..], &["--to", ANNA, "--from", BEN]].concat());
        assert!(output.status.success(), "{}", text(&output.stdout));
        let output = swaks(&[&words[..], &["--to", ANNA, "--from", ANNA]].concat());
        assert!(text(&output.stdout).contains("553 5.7.1"), "{}", text(&output.stdout));
    }
    let lmtp = format!("127.0.0.1:{}", server.port(24));
    let output = swaks(&["--server", &lmtp, "--protocol", "LMTP", "--to", ANNA, "--from", "a@b.example"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let output = swaks(&["--server", &mx, "--to", "nobody@example.test", "--from", "a@b.example"]);
    assert!(text(&output.stdout).contains("550 5.1.1"), "{}", text(&output.stdout));
    let found = imap(&server, ANNA, "INBOX", &["-X", "SEARCH SUBJECT swaks"]);
    assert_eq!(found, "* SEARCH 1 2 3 4\r\n");
}

#[test]
fn python_does_what_its_libraries_can() {
    let server = Server::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/libraries.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(server.port_base().to_string()).arg(server.certificate());
    command.args([ANNA, BEN, PASSWORD]);
    let output = run(&mut command, b"");
    assert!(text(&output.stdout).contains("all done"), "{}", text(&output.stdout));
}
