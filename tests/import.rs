//! `import` as the owner meets it: what other programs have written is read, nothing comes twice, nothing outside of the path is read,
//! and what cannot be taken is named.

mod server;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use server::owner::{Messages, collect, command, mailbox, many, must, owner, path, subscriptions, told};
use server::talk::{Talk, envelope};
use server::{ANNA, BEN, Server, run, text, try_run};

#[test]
fn a_maildir_of_dovecot_is_read() {
    let server = Server::start();
    let root = server.folder.0.join("Maildir");
    for folder in ["", ".Entw&APw-rfe.alt", ".Sent", "plain/deep"] {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(folder).join(part)).expect("makes");
        }
    }
    let write = |name: &str, body: &str, seconds: u64| {
        fs::write(root.join(name), body).expect("writes");
        let file = fs::File::options().write(true).open(root.join(name)).expect("opens");
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).expect("is set");
    };
    write("dovecot-keywords", "0 $Forwarded\n1 NonJunk\n", 0);
    write("dovecot-uidlist", "3 V1700000000 N3 G0\n1 :1700000000.M1P2.host,S=20,W=22\n", 0);
    write("subscriptions", "V\t2\n\nSent\nEntw&APw-rfe\talt\n", 0);
    write("cur/1700000000.M1P2.host,S=17,W=20:2,RSab", "Subject: a\n\nlf\n", 1_700_000_000);
    write("new/1700000001.M1P2.host", "Subject: b\r\n\r\ncrlf\r\nlf\n", 1_700_000_001);
    write("tmp/1700000002.M1P2.host", "half", 1);
    write(".Entw&APw-rfe.alt/cur/1700000003.M1P2.host:2,DFT", "Subject: c\n\n", 1_700_000_003);
    write("plain/deep/cur/5.x:2,P", "Subject: d\n\n", 5);
    assert_eq!(told(&server.store, &["import", ANNA, path(&root)], "imported").1, 4);
    let found = mailbox(&server, ANNA);
    let of = |folder: &str| {
        let read = |(bytes, flags, date): &(Vec<u8>, String, String)| {
            format!("{}|{flags}|{date}", bytes.escape_ascii())
        };
        found[folder].iter().map(read).collect::<Vec<_>>()
    };
    assert_eq!(
        of("INBOX"),
        [
            "Subject: a\\r\\n\\r\\nlf\\r\\n|$Forwarded NonJunk \\Answered \\Seen|\"14-Nov-2023 22:13:20 +0000\"",
            "Subject: b\\r\\n\\r\\ncrlf\\r\\nlf\\r\\n||\"14-Nov-2023 22:13:21 +0000\"",
        ]
    );
    assert_eq!(
        of("Entw&APw-rfe/alt"),
        ["Subject: c\\r\\n\\r\\n|\\Deleted \\Draft \\Flagged|\"14-Nov-2023 22:13:23 +0000\""]
    );
    assert_eq!(of("plain/deep"), ["Subject: d\\r\\n\\r\\n|$Forwarded|\" 1-Jan-1970 00:00:05 +0000\""]);
    assert!(subscriptions(&server, ANNA).iter().any(|line| line.ends_with("\"Entw&APw-rfe/alt\"")));
}

#[test]
fn mboxes_of_other_programs_are_read() {
    let server = Server::start();
    let root = server.folder.0.join("Mail");
    fs::create_dir_all(root.join("Archive.sbd")).expect("makes");
    let from = "From - Tue Nov 24 10:00:00 2026\n";
    let one = "X-Mozilla-Status: 0005\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys: work  \nSubject: a\n\nFrom here on\n\n";
    let two = "Subject: b\nStatus: RO\nX-Status: A\n\n>From quoted\n\n";
    fs::write(root.join("Inbox"), format!("{from}{one}{from}{two}")).expect("writes");
    fs::write(root.join("Archive.sbd/2020"), format!("{from}{two}").replace('\n', "\r\n")).expect("writes");
    fs::write(root.join("Inbox.msf"), "// <!-- <mdb:mork").expect("writes");
    let import = ["import", "--into", "Old", ANNA, path(&root)];
    let (status, imported, err) = told(&server.store, &import, "imported");
    assert_eq!((status, imported), (Some(0), 3), "{err}");
    let found = mailbox(&server, ANNA);
    let date = "\"24-Nov-2026 10:00:00 +0000\"";
    let expected = |list: &[(&str, &str)]| -> Messages {
        list.iter()
            .map(|(bytes, flags)| (bytes.as_bytes().to_vec(), String::from(*flags), String::from(date)))
            .collect()
    };
    let two = ("Subject: b\r\n\r\nFrom quoted\r\n", "\\Answered \\Seen");
    assert_eq!(
        found["Old/Inbox"],
        expected(&[("Subject: a\r\n\r\nFrom here on\r\n", "\\Flagged \\Seen work"), two])
    );
    assert_eq!(found["Old/Archive/2020"], expected(&[two]));
    // The same file after another program has changed flags in it brings nothing.
    fs::write(
        root.join("Inbox"),
        format!(
            "{from}{}{from}{two}",
            one.replace("0005", "0001"),
            two = "Subject: b\nStatus: O\n\n>From quoted\n\n"
        ),
    )
    .expect("writes");
    assert_eq!(told(&server.store, &import, "imported").1, 0);
    // One file goes where it is told to.
    assert_eq!(told(&server.store, &["import", ANNA, path(&root.join("Inbox"))], "imported").1, 2);
    assert_eq!(mailbox(&server, ANNA)["INBOX"].len(), 2);
}

#[test]
fn duplicates_stay_as_many_as_they_are() {
    let server = Server::start();
    let root = server.folder.0.join("Maildir");
    fs::create_dir_all(root.join("cur")).expect("makes");
    let write = |name: &str| fs::write(root.join("cur").join(name), "Subject: twice\n\nx\n").expect("writes");
    let import = || told(&server.store, &["import", ANNA, path(&root)], "imported").1;
    write("1");
    write("2");
    assert_eq!((import(), import()), (2, 0));
    write("3");
    assert_eq!((import(), import()), (1, 0));
    // Changed flags of what is exported are a rename.
    let out = server.folder.0.join("out");
    let export = ["export", ANNA, path(&out)];
    assert_eq!(told(&server.store, &export, "written").1, 3);
    let mut imap = owner(&server, ANNA);
    imap.asks("s SELECT INBOX", "s OK");
    imap.asks("t STORE 2 FLAGS (\\Seen new)", "t OK");
    assert_eq!(told(&server.store, &export, "written").1, 0);
    let names: Vec<String> = fs::read_dir(out.join(ANNA).join("cur"))
        .expect("reads")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(":2,Sa")).count(), 1, "{names:?}");
    assert_eq!(names.len(), 3);
}

#[test]
fn hostile_names_stay_inside() {
    let server = Server::start();
    let root = server.folder.0.join("in");
    let secret = server.folder.0.join("secret");
    fs::create_dir_all(secret.join("cur")).expect("makes");
    fs::write(secret.join("cur/1"), "Subject: secret\n\n").expect("writes");
    let os = |bytes: &[u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
    for name in [&b"..."[..], b".\\2e\\2e.\\2e\\2e", b".a\x07b\nc", b".\xff\xfe", b".%*", b".a\\2fb"] {
        let cur = root.join(os(name)).join("cur");
        fs::create_dir_all(&cur).expect("makes");
        fs::write(cur.join(os(b"1\x1b[31m\xff:2,\xffS")), format!("Subject: {}\n\n", name.escape_ascii()))
            .expect("writes");
    }
    fs::create_dir_all(root.join("cur")).expect("makes");
    symlink(secret.join("cur/1"), root.join("cur/link")).expect("links");
    symlink(&secret, root.join(".Link")).expect("links");
    run(Command::new("mkfifo").arg(root.join("cur/pipe")), b"");
    let output = try_run(&mut command(&server.store, &["import", ANNA, path(&root)]), b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found = mailbox(&server, ANNA);
    let all: Vec<u8> = found.values().flatten().flat_map(|message| message.0.clone()).collect();
    assert!(!text(&all).contains("secret") && found["INBOX"].is_empty());
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), 6);
    assert!(
        found.contains_key("../..") && found.contains_key("=FF=FE") && found.contains_key("a_b_c"),
        "{:?}",
        found.keys()
    );
    assert!(!output.stderr.contains(&0x1b) && !output.stderr.contains(&7), "{}", text(&output.stderr));
    for format in ["maildir", "mbox"] {
        let out = server.folder.0.join("x/y/z").join(format);
        must(&server.store, &["export", "--format", format, ANNA, path(&out)]);
        let mut files = Vec::new();
        collect(&server.folder.0.join("x"), &mut files);
        assert!(files.iter().all(|file| file.starts_with(server.folder.0.join("x/y/z"))), "{files:?}");
        let (status, imported, _) = told(&server.store, &["import", BEN, path(&out.join(ANNA))], "imported");
        assert_eq!((status, imported), (Some(0), if format == "maildir" { 6 } else { 0 }));
    }
}

#[test]
fn a_full_mailbox_ends_it_and_it_goes_on_later() {
    let server = Server::start();
    server.console(&["mailbox", "size", ANNA, "S"], "");
    let root = server.folder.0.join("Maildir");
    fs::create_dir_all(root.join("cur")).expect("makes");
    for number in 0..40 {
        let line = format!("{number} {}\n", "x".repeat(70));
        fs::write(root.join(format!("cur/{number}")), format!("Subject: x\n\n{}", line.repeat(8000)))
            .expect("writes");
    }
    let import = ["import", ANNA, path(&root)];
    let (status, imported, err) = told(&server.store, &import, "imported");
    assert!(status == Some(1) && imported > 10 && imported < 40, "{imported}");
    assert!(err.contains("mailbox is full") && err.contains("mailbox size anna@example.test"), "{err}");
    server.console(&["mailbox", "size", ANNA, "M"], "");
    let (status, more, err) = told(&server.store, &import, "imported");
    assert_eq!((status, imported + more), (Some(0), 40), "{err}");
}

#[test]
fn what_is_too_big_is_named_and_the_rest_goes_on() {
    let server = Server::start();
    let root = server.folder.0.join("Maildir");
    fs::create_dir_all(root.join("cur")).expect("makes");
    fs::write(root.join("cur/1.big"), vec![b'x'; 51 << 20]).expect("writes");
    fs::write(root.join("cur/2.small"), "Subject: small\n\n").expect("writes");
    let (status, imported, err) = told(&server.store, &["import", ANNA, path(&root)], "imported");
    assert_eq!((status, imported), (Some(1), 1), "{err}");
    assert!(err.contains("cur/1.big: ") && err.contains("too big"), "{err}");
    let mistakes: [&[&str]; 4] = [
        &["import", "nobody@example.test", path(&root)],
        &["export", "nobody@example.test", "x"],
        &["import", ANNA, "/nonexistent"],
        &["import", ANNA, path(&server.store)],
    ];
    for words in mistakes {
        let output = try_run(&mut command(&server.store, words), b"");
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(1) && err.lines().count() == 1, "{words:?}: {err}");
        // None of them is mended by trying once more.
        assert!(!err.contains("same command again"), "{words:?}: {err}");
        assert_eq!(err.contains("mailbox add nobody@example.test"), words[1].starts_with("nobody"), "{err}");
    }
}

#[test]
fn a_server_that_dies_in_between_costs_nothing() {
    assert!((0..5).any(|_| server_dies_in_time()), "it is always done before the server is killed");
}

fn server_dies_in_time() -> bool {
    let mut server = Server::start();
    let root = server.folder.0.join("Maildir");
    let count = many(&root) as u64;
    let import = ["import", ANNA, path(&root)];
    let mut child =
        command(&server.store, &import).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("F1: 100 of 100 messages")));
    server.kill();
    let last = lines.last().unwrap_or_default();
    let code = child.wait().expect("ends").code();
    if code == Some(0) {
        return false;
    }
    assert!(last.contains("the server has gone") && last.contains("run the same command again"), "{last}");
    assert_eq!(code, Some(1));
    server.restart();
    let (status, imported, err) = told(&server.store, &import, "imported");
    assert!(status == Some(0) && imported <= count - 200, "{imported}: {err}");
    let found = mailbox(&server, ANNA);
    assert_eq!(found.values().map(Vec::len).sum::<usize>() as u64, count);
    assert!((0..6).all(|folder| found[&format!("F{folder}")].len() == 100));
    true
}

#[test]
fn the_console_works_beside_an_import_without_a_server() {
    let mut server = Server::start();
    assert!(server.stop());
    let root = server.folder.0.join("Maildir");
    many(&root);
    let mut child = command(&server.store, &["import", ANNA, path(&root)])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().expect("is piped")).read_line(&mut line).expect("reads");
    assert!(server.console(&["mailbox", "list"], "").contains(ANNA));
    drop(child.stderr.take());
    assert!(server::wait(&mut child, Duration::from_secs(60)).is_some_and(|status| status.success()));
    assert!(run(&mut command(&server.store, &["check"]), b"").status.success());
}

#[test]
fn keywords_beyond_the_most_are_left_out_and_the_messages_come() {
    let server = Server::start();
    let mbox = server.folder.0.join("many.mbox");
    let one = |n: u32| {
        format!("From - Tue Nov 24 10:00:00 2026\nX-Keywords: k{n}\nStatus: R\nSubject: {n}\n\nx\n\n")
    };
    fs::write(&mbox, (0..70).map(one).collect::<String>()).expect("writes");
    let (status, imported, err) = told(&server.store, &["import", ANNA, path(&mbox)], "imported");
    assert_eq!((status, imported), (Some(0), 70), "{err}");
    assert!(err.contains("no room for more keywords"), "{err}");
    let found = &mailbox(&server, ANNA)["many"];
    assert_eq!(found.len(), 70);
    assert!(found.iter().all(|(_, flags, _)| flags.contains("\\Seen")));
    let with = found.iter().filter(|(_, flags, _)| flags.contains('k')).count();
    assert!((20..70).contains(&with), "{with}");
}

#[test]
fn mail_may_come_and_go_meanwhile() {
    let server = Server::start();
    let root = server.folder.0.join("Maildir");
    fs::create_dir_all(root.join("cur")).expect("makes");
    for number in 0..300 {
        let body = format!("Subject: {number}\n\n{}\n", "x".repeat(number * 20));
        fs::write(root.join(format!("cur/{number}")), body).expect("writes");
    }
    let mut lmtp = server.lmtp();
    let deliver = |lmtp: &mut Talk, number: u32| {
        envelope(lmtp, ANNA);
        lmtp.asks("DATA", "354 ");
        lmtp.asks(&format!("Subject: new {number}\r\n\r\nx\r\n."), "250 ");
    };
    std::thread::scope(|scope| {
        let import = scope.spawn(|| told(&server.store, &["import", ANNA, path(&root)], "imported"));
        (0..60).for_each(|number| deliver(&mut lmtp, number));
        let (status, imported, err) = import.join().expect("ends");
        assert_eq!((status, imported), (Some(0), 300), "{err}");
    });
    assert_eq!(mailbox(&server, ANNA)["INBOX"].len(), 360);
    // What is expunged while it is exported is there or not; the rest is there.
    let mut imap = owner(&server, ANNA);
    imap.asks("s SELECT INBOX", "s OK");
    imap.asks("t UID STORE 1:360 +FLAGS.SILENT (\\Deleted)", "t OK");
    let kept = (1..=360).step_by(2).map(|uid: u32| uid.to_string()).collect::<Vec<_>>().join(",");
    imap.asks(&format!("u UID STORE {kept} -FLAGS.SILENT (\\Deleted)"), "u OK");
    for format in ["maildir", "mbox"] {
        let out = server.folder.0.join(format);
        let words = ["export", "--format", format, ANNA, path(&out)];
        std::thread::scope(|scope| {
            let export = scope.spawn(|| told(&server.store, &words, "written"));
            imap.asks("x EXPUNGE", "x OK");
            let (status, written, err) = export.join().expect("ends");
            assert!(status == Some(0) && (180..=360).contains(&written), "{written}: {err}");
        });
    }
}
