//! `export` and `import` as the owner meets them: what goes out comes back byte for byte with flags and dates, while a server runs and
//! when none does; twice brings nothing; interrupted and run again, all is there once; other programs read it; nothing leaves DIR.
//!
//! The messages are `tests/messages`, and those of the folder that POSTFACH_CORPUS names.

mod server;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use server::gauge::Gauge;
use server::owner::{append, collect, command, mailbox, many, must, owner, path, subscriptions, told};
use server::{ANNA, BEN, Server, run, text};

/// Test messages as their files are, and with CRLF; and the oddest line ends that there are.
fn corpus() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages"), &mut files);
    if let Ok(folder) = std::env::var("POSTFACH_CORPUS") {
        collect(Path::new(&folder), &mut files);
    }
    let mut all: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("readable")).collect();
    let crlf: Vec<Vec<u8>> =
        all.iter().map(|message| text_with_crlf(message)).filter(|message| !all.contains(message)).collect();
    all.extend(crlf);
    for odd in [
        "a",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\n\r\n",
        "a\r\n\n",
        "a\n\r",
        "\r\r\n",
        "a: b\r\n\r\nno end",
        "a: b\r\n\r\n\r\n\r\n",
        "From a@b Tue Nov 24 10:00:00 2026\r\n",
        "\r\n\r\nFrom me\r\n>From me\r\n>>From\r\n",
        "\n\nFrom a@b Tue Nov 24 10:00:00 2026\n\nx",
        "Status: mine\r\nX-Keywords: no\r\n\r\n",
        "Status: mine\n\nx",
        "X-Postfach-Mbox: exact\r\nStatus: RO\r\n\r\nx\r\n",
        "X-Postfach-Mbox: lf\n",
        ">",
        ">From ",
        "From ",
        "\0\u{1}\r\n",
        "x\r\n.\r\nFrom - \r\n\r\nFrom - \r\n",
    ] {
        all.push(odd.into());
    }
    all.retain(|message| !message.is_empty());
    all
}

fn text_with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in message {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// Anna's mailbox gets the corpus, folders of every kind of name, more keywords than there are letters, and dates.
fn fill(server: &Server) -> usize {
    let mut imap = owner(server, ANNA);
    let long = "x".repeat(120);
    for name in [
        "Projects/2026/R&-D",
        "Entw&APw-rfe.alt",
        "..",
        "../../up",
        "a\\\\b",
        "~",
        "INBOX/below",
        "&ZeVnLIqe-/x y",
        &format!("{long}/{long}"),
        "empty",
    ] {
        imap.asks(&format!("c CREATE \"{name}\""), "c OK");
    }
    imap.asks("s SUBSCRIBE \"Projects/2026/R&-D\"", "s OK");
    imap.asks("s UNSUBSCRIBE Trash", "s OK");
    let targets =
        ["INBOX", "Projects/2026/R&-D", "Entw&APw-rfe.alt", "..", "../../up", &format!("{long}/{long}")];
    let flags =
        ["", "\\Seen", "\\Answered \\Flagged work", "\\Deleted \\Draft $Forwarded", "\\Seen \\Flagged"];
    let dates = [
        "24-Nov-2026 10:00:00 +0100",
        " 1-Jan-1970 00:00:00 +0000",
        "31-Dec-1969 23:59:58 +0000",
        "29-Feb-2024 23:59:59 -0800",
        "19-Jan-2038 03:14:08 +0000",
    ];
    let corpus = corpus();
    for (index, message) in corpus.iter().enumerate() {
        let target = if index < 40 { targets[index % targets.len()] } else { "INBOX" };
        append(&mut imap, target, flags[index % flags.len()], dates[index % 7 % dates.len()], message);
    }
    for number in 0..40 {
        append(
            &mut imap,
            "..",
            &format!("\\Seen k{number} k{}", number + 1),
            dates[0],
            b"Subject: k\r\n\r\n",
        );
    }
    corpus.len() + 40
}

fn round_trip(format: &str, running: bool) {
    let mut server = Server::start();
    let count = fill(&server) as u64;
    let before = mailbox(&server, ANNA);
    let subscribed = subscriptions(&server, ANNA);
    let out = server.folder.0.join("out");
    if !running {
        assert!(server.stop());
    }
    let store = server.store.clone();
    let export = ["export", "--format", format, ANNA, path(&out)];
    assert_eq!(told(&store, &export, "written").1, count);
    assert_eq!(told(&store, &export, "already_there").1, count);
    let from = out.join(ANNA);
    let import = ["import", BEN, path(&from)];
    assert_eq!(told(&store, &import, "imported").1, count);
    let (status, imported, err) = told(&store, &import, "imported");
    assert_eq!((status, imported), (Some(0), 0), "{err}");
    if !running {
        server.restart();
    }
    let after = mailbox(&server, BEN);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (folder, messages) in &before {
        for (one, other) in messages.iter().zip(&after[folder]) {
            assert_eq!(one.0.escape_ascii().to_string(), other.0.escape_ascii().to_string(), "{folder}");
            assert_eq!((&one.1, &one.2), (&other.1, &other.2), "{folder}: {}", one.0.escape_ascii());
        }
        assert_eq!(messages.len(), after[folder].len(), "{folder}");
    }
    // Ben's own first subscriptions stay: import adds.
    let missing: Vec<_> =
        subscribed.iter().filter(|name| !subscriptions(&server, BEN).contains(name)).cloned().collect();
    assert_eq!(missing, Vec::<String>::new());
    // What was in the mailbox stays as it was, and nothing was written beside DIR.
    assert_eq!(mailbox(&server, ANNA), before);
    let beside: Vec<_> =
        fs::read_dir(&server.folder.0).expect("reads").flatten().map(|e| e.file_name()).collect();
    assert!(
        beside.iter().all(|name| name == "out" || name.as_bytes().starts_with(b"mail.store")),
        "{beside:?}"
    );
    let mode = fs::metadata(&from).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_maildir_comes_back_while_the_server_runs() {
    round_trip("maildir", true);
}

#[test]
fn an_mbox_comes_back_while_the_server_runs() {
    round_trip("mbox", true);
}

#[test]
fn a_maildir_comes_back_without_a_server() {
    round_trip("maildir", false);
}

#[test]
fn an_mbox_comes_back_without_a_server() {
    round_trip("mbox", false);
}

#[test]
fn python_reads_what_is_exported() {
    let server = Server::start();
    let mut imap = owner(&server, ANNA);
    let plain = server::message("plain", "From here\r\n>From there");
    append(&mut imap, "INBOX", "\\Seen \\Flagged", "24-Nov-2026 10:00:00 +0000", plain.as_bytes());
    append(
        &mut imap,
        "INBOX",
        "\\Answered",
        "25-Nov-2026 10:00:00 +0000",
        b"Subject: odd\r\n\r\nbare\nend\r\n",
    );
    imap.asks("c CREATE Old/Mail", "c OK");
    append(&mut imap, "Old/Mail", "\\Draft", "24-Nov-2026 10:00:00 +0000", b"Subject: three\r\n\r\nx\r\n");
    let out = server.folder.0.join("out");
    must(&server.store, &["export", "--all", path(&out)]);
    must(&server.store, &["export", "--all", "--format=mbox", path(&out.join("mbox"))]);
    let script = "import mailbox, sys, os\n\
        root = sys.argv[1] + '/anna@example.test'\n\
        box = mailbox.Maildir(root, create=False)\n\
        found = sorted((m.get_date(), m.get_flags(), box.get_bytes(k)) for k, m in box.iteritems())\n\
        print(found)\n\
        print(sorted(box.list_folders()), [box.get_folder('Old.Mail').get_bytes(k) for k in box.get_folder('Old.Mail').keys()])\n\
        times = sorted(os.stat(f'{root}/cur/{n}').st_mtime for n in os.listdir(root + '/cur'))\n\
        print(times)\n\
        box = mailbox.mbox(sys.argv[1] + '/mbox/anna@example.test/INBOX.mbox', create=False)\n\
        print([(m.get_from(), m.get_flags(), m.get_payload()) for m in box])\n";
    let output = run(Command::new("python3").args(["-c", script, path(&out)]), b"");
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("'FS'") && lines[0].contains("'R'"), "{said}");
    assert!(
        lines[0].contains("\\n\\nFrom here\\n>From there\\n'")
            && !lines[0].contains("plain@example.test>\\r"),
        "{said}"
    );
    assert!(lines[0].contains("b'Subject: odd\\r\\n\\r\\nbare\\nend\\r\\n'"), "{said}");
    assert!(
        lines[1].contains("'Old', 'Old.Mail'") && lines[1].contains("b'Subject: three\\n\\nx\\n'"),
        "{said}"
    );
    assert_eq!(lines[2], "[1795514400.0, 1795600800.0]");
    assert!(
        lines[3].starts_with(
            "[('MAILER-DAEMON Tue Nov 24 10:00:00 2026', 'ROF', '>From here\\n>>From there\\n')"
        ),
        "{said}"
    );
    assert!(lines[3].contains("('MAILER-DAEMON Wed Nov 25 10:00:00 2026', 'OA', "), "{said}");
    assert!(out.join(BEN).join("cur").is_dir());
}

/// Starts it and kills it when it has told of a folder in the middle. False: it was done before the blow fell.
fn interrupted(store: &Path, words: &[&str]) -> bool {
    let mut child: Child =
        command(store, words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.as_mut().expect("is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("F1: 100 of 100 messages")));
    child.kill().expect("kills");
    !child.wait().expect("ends").success()
}

fn killed(running: bool, format: &str) {
    assert!((0..5).any(|_| killed_in_time(running, format)), "it is always done before it is killed");
}

fn killed_in_time(running: bool, format: &str) -> bool {
    let mut server = Server::start();
    let root = server.folder.0.join("Maildir");
    let count = many(&root) as u64;
    if !running {
        assert!(server.stop());
    }
    let store = server.store.clone();
    let import = ["import", ANNA, path(&root)];
    if !interrupted(&store, &import) {
        return false;
    }
    let (status, imported, err) = told(&store, &import, "imported");
    assert!(status == Some(0) && imported <= count - 200, "{imported}: {err}");
    assert_eq!(told(&store, &import, "already_there").1, count);
    let out = server.folder.0.join("out");
    let export = ["export", "--format", format, ANNA, path(&out)];
    if !interrupted(&store, &export) {
        return false;
    }
    let (status, written, err) = told(&store, &export, "written");
    assert!(status == Some(0) && written <= count - 200, "{written}: {err}");
    let from = out.join(ANNA);
    let (status, imported, err) = told(&store, &["import", BEN, path(&from)], "imported");
    assert_eq!((status, imported), (Some(0), count), "{err}");
    if !running {
        server.restart();
    }
    assert_eq!(mailbox(&server, ANNA), mailbox(&server, BEN));
    let mut left = Vec::new();
    collect(&out, &mut left);
    let half = |path: &&PathBuf| {
        let name = path.file_name().is_some_and(|name| name.as_bytes().ends_with(b".part"));
        name || path.parent().is_some_and(|up| up.ends_with("tmp"))
    };
    assert_eq!(left.iter().find(half), None);
    true
}

#[test]
fn what_was_killed_is_completed_while_the_server_runs() {
    killed(true, "maildir");
}

#[test]
fn what_was_killed_is_completed_without_a_server() {
    killed(false, "mbox");
}

#[test]
fn what_is_rotten_is_named_and_the_rest_is_exported() {
    let mut server = Server::start();
    let mut imap = owner(&server, ANNA);
    let large = "y".repeat(70) + "\r\n";
    for number in 1..=3 {
        let body = format!("Subject: {number}\r\n\r\n{}the marker{number}\r\n", large.repeat(1200));
        append(&mut imap, "INBOX", "", "24-Nov-2026 10:00:00 +0000", body.as_bytes());
    }
    drop(imap);
    assert!(server.stop());
    let mut bytes = fs::read(&server.store).expect("reads");
    let at = bytes.windows(7).position(|part| part == b"marker2").expect("is stored as it was sent");
    bytes[at] ^= 1;
    fs::write(&server.store, bytes).expect("writes");
    for format in ["mbox", "maildir"] {
        let out = server.folder.0.join(format);
        for written in if format == "mbox" { [2, 2] } else { [2, 0] } {
            let export = ["export", "--format", format, ANNA, path(&out)];
            let (status, found, err) = told(&server.store, &export, "written");
            assert_eq!((status, found), (Some(1), written), "{err}");
            assert!(err.contains("INBOX UID 2 cannot be read"), "{err}");
        }
        let from = out.join(ANNA);
        let import = ["import", "--into", format, BEN, path(&from)];
        assert_eq!(told(&server.store, &import, "imported").1, 2);
    }
}

/// Does it while its memory is watched; how far it rose, KiB.
fn watched(store: &Path, words: &[&str]) -> u64 {
    let mut child =
        command(store, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let gauge = Gauge::new(child.id());
    let status = server::wait(&mut child, Duration::from_secs(120)).expect("ends in time");
    assert!(status.success(), "{words:?}");
    gauge.highest()
}

#[test]
fn a_large_message_takes_little_memory() {
    let mut server = Server::start();
    for user in [ANNA, BEN] {
        server.console(&["mailbox", "size", user, "XL"], "");
    }
    let root = server.folder.0.join("Maildir");
    fs::create_dir_all(root.join("cur")).expect("makes");
    let line = "x".repeat(75) + "\n";
    fs::write(root.join("cur/1"), format!("Subject: x\n\n{}", line.repeat((49 << 20) / 77))).expect("writes");
    let store = server.store.clone();
    let out = server.folder.0.join("out");
    let mbox = out.join(ANNA).join("INBOX.mbox");
    let check = |words: &[&str]| {
        let kib = watched(&store, words);
        eprintln!("{words:?}: {kib} KiB");
        assert!(kib < 12 * 1024, "{words:?}: {kib} KiB");
    };
    check(&["import", ANNA, path(&root)]);
    check(&["export", "--format", "mbox", ANNA, path(&out)]);
    assert!(server.stop());
    check(&["import", BEN, path(&mbox)]);
    check(&["import", BEN, path(&root)]);
    check(&["export", BEN, path(&out)]);
    let written = fs::read_dir(out.join(BEN).join("cur")).expect("reads").count();
    assert_eq!(written, 1, "the second import has brought nothing");
}
