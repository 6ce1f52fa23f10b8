//! `export` and `import` as the owner meets them: what goes out comes back byte for byte with flags and dates, while a server runs and
//! when none does; twice brings nothing; interrupted and run again, all is there once; other programs read it; nothing leaves DIR.
//!
//! The messages are `tests/messages`, and those of the folder that POSTFACH_CORPUS names.

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use server::gauge::Gauge;
use server::talk::Talk;
use server::{ANNA, BEN, PASSWORD, POSTFACH, Server, run, text, try_run};

/// A folder's messages: bytes, flags in order, INTERNALDATE. Sorted: a multiset.
type Messages = Vec<(Vec<u8>, String, String)>;

/// A mailbox over the owner's socket, without its password.
fn owner(server: &Server, user: &str) -> Talk {
    let mut socket = server.store.clone().into_os_string();
    socket.push(".sock");
    let stream = UnixStream::connect(socket).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("takes a timeout");
    let mut talk = Talk::on(stream);
    talk.says(&format!("imap {user}"));
    talk.hears("* PREAUTH");
    talk
}

fn folders(imap: &mut Talk) -> Vec<String> {
    imap.says("l LIST \"\" *");
    let mut names = Vec::new();
    loop {
        let line = imap.line();
        if line.starts_with("l OK") {
            names.sort();
            return names;
        }
        names.push(String::from(line.split_once("\"/\" ").expect("a name").1.trim_matches('"')));
    }
}

fn messages(imap: &mut Talk, folder: &str) -> Messages {
    imap.asks(&format!("e EXAMINE \"{folder}\""), "e OK");
    imap.says("f UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
    let mut found = Messages::new();
    loop {
        let line = imap.line();
        if line.starts_with("f OK") {
            found.sort();
            return found;
        }
        let (_, rest) = line.split_once("FLAGS (").expect("flags");
        let (flags, rest) = rest.split_once(") INTERNALDATE ").expect("a date");
        let (date, size) = rest.split_once(" BODY[] {").expect("a body");
        let mut flags: Vec<&str> = flags.split(' ').filter(|flag| *flag != "\\Recent").collect();
        flags.sort_unstable();
        let bytes = imap.bytes(size.trim_end_matches('}').parse().expect("a size"));
        found.push((bytes, flags.join(" "), date.into()));
        assert_eq!(imap.line(), ")");
    }
}

fn mailbox(server: &Server, user: &str) -> BTreeMap<String, Messages> {
    let mut imap = owner(server, user);
    folders(&mut imap).into_iter().map(|name| (name.clone(), messages(&mut imap, &name))).collect()
}

fn subscriptions(server: &Server, user: &str) -> Vec<String> {
    let mut imap = owner(server, user);
    imap.says("l LSUB \"\" *");
    let mut names: Vec<String> =
        std::iter::from_fn(|| Some(imap.line()).filter(|line| !line.starts_with("l OK"))).collect();
    names.sort();
    names
}

fn append(imap: &mut Talk, folder: &str, flags: &str, date: &str, message: &[u8]) {
    imap.says(&format!("a APPEND \"{folder}\" ({flags}) \"{date}\" {{{}+}}", message.len()));
    imap.send(message);
    imap.asks("", "a OK");
}

fn command(store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(POSTFACH);
    command.arg(words[0]).arg("--store").arg(store).args(&words[1..]);
    command
}

/// Runs it; the status, the number of that name in the JSON, standard error.
fn told(store: &Path, words: &[&str], name: &str) -> (Option<i32>, u64, String) {
    let output = try_run(command(store, words).arg("--json"), b"");
    let out = text(&output.stdout);
    let number = out.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest);
    let digits = number.and_then(|rest| rest.split([',', '}']).next()).unwrap_or_default();
    (output.status.code(), digits.parse().unwrap_or(u64::MAX), text(&output.stderr))
}

fn must(store: &Path, words: &[&str]) -> Output {
    run(&mut command(store, words), b"")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("is text")
}

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

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
    files.sort();
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

/// Starts it and kills it when it has told of this folder.
fn interrupted(store: &Path, words: &[&str], folder: &str) {
    let mut child: Child =
        command(store, words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.as_mut().expect("is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(folder)));
    child.kill().expect("kills");
    assert!(!child.wait().expect("ends").success(), "it was done before it was killed");
}

fn many(root: &Path) -> usize {
    for folder in 0..6 {
        let cur = root.join(format!(".F{folder}/cur"));
        fs::create_dir_all(&cur).expect("makes");
        for number in 0..100 {
            let body = format!("Subject: {number}\n\n{}\n", "x".repeat(number * 40));
            fs::write(cur.join(format!("{number}.x:2,S")), body).expect("writes");
        }
    }
    600
}

fn killed(running: bool, format: &str) {
    let mut server = Server::start();
    let root = server.folder.0.join("Maildir");
    let count = many(&root) as u64;
    if !running {
        assert!(server.stop());
    }
    let store = server.store.clone();
    let import = ["import", ANNA, path(&root)];
    interrupted(&store, &import, "F1: 100 of 100 messages");
    let (status, imported, err) = told(&store, &import, "imported");
    assert!(status == Some(0) && imported > 0 && imported < count, "{imported}: {err}");
    assert_eq!(told(&store, &import, "already_there").1, count);
    let out = server.folder.0.join("out");
    let export = ["export", "--format", format, ANNA, path(&out)];
    interrupted(&store, &export, "F1: 100 of 100 messages");
    let (status, written, err) = told(&store, &export, "written");
    assert!(status == Some(0) && written < count, "{written}: {err}");
    let (status, imported, err) = told(&store, &["import", BEN, path(&out.join(ANNA))], "imported");
    assert_eq!((status, imported), (Some(0), count), "{err}");
    if !running {
        server.restart();
    }
    assert_eq!(mailbox(&server, ANNA), mailbox(&server, BEN));
    let mut left = Vec::new();
    collect(&out, &mut left);
    let half = |path: &&PathBuf| {
        path.to_string_lossy().contains("/tmp/") && path.to_string_lossy().contains("/out/")
    };
    assert_eq!(
        left.iter().filter(|path| path.parent().is_some_and(|up| up.ends_with("tmp"))).count(),
        0,
        "{:?}",
        left.iter().find(half)
    );
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
fn a_server_that_dies_in_between_costs_nothing() {
    let mut server = Server::start();
    let root = server.folder.0.join("Maildir");
    let count = many(&root) as u64;
    let import = ["import", ANNA, path(&root)];
    let mut child =
        command(&server.store, &import).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("F1: 100 of 100 messages")));
    server.kill();
    let last = lines.last().expect("says why");
    assert!(last.contains("the server has gone") && last.contains("run the same command again"), "{last}");
    assert_eq!(child.wait().expect("ends").code(), Some(1));
    server.restart();
    let (status, imported, err) = told(&server.store, &import, "imported");
    assert!(status == Some(0) && imported > 0 && imported <= count - 200, "{imported}: {err}");
    let found = mailbox(&server, ANNA);
    assert_eq!(found.values().map(Vec::len).sum::<usize>() as u64, count);
    assert!((0..6).all(|folder| found[&format!("F{folder}")].len() == 100));
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
    for (running, user) in [(true, ANNA), (false, BEN)] {
        if !running {
            assert!(server.stop());
        }
        let out = server.folder.0.join(format!("out-{user}"));
        for words in [
            &["import", user, path(&root)][..],
            &["import", user, path(&root)],
            &["export", user, path(&out)],
            &["export", "--format", "mbox", user, path(&out.join("mbox"))],
            &["import", "--into", "x", user, path(&out.join("mbox").join(user))],
        ] {
            let kib = watched(&store, words);
            eprintln!("{words:?}: {kib} KiB");
            assert!(kib < 12 * 1024, "{words:?}: {kib} KiB");
        }
    }
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
    assert!(!PASSWORD.is_empty() && run(&mut command(&server.store, &["check"]), b"").status.success());
}
