//! Backups of a running server, their damage, stores made of them, and single mailboxes brought back.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use server::owner::{append, command, mailbox, messages, owner, subscriptions};
use server::talk::{Talk, envelope};
use server::{ANNA, BEN, Folder, POSTFACH, Server, run, text, try_run};

fn deliver(lmtp: &mut Talk, to: &str, subject: &str, bytes: usize) {
    envelope(lmtp, to);
    lmtp.asks("DATA", "354 ");
    let body = format!("{subject} and so on, line after line.\r\n").repeat(bytes / 30 + 1);
    lmtp.send(format!("Message-ID: <{subject}@x.test>\r\nSubject: {subject}\r\n\r\n{body}.\r\n").as_bytes());
    lmtp.hears("250 ");
}

fn backup(store: &Path, dir: &Path) -> String {
    text(&run(Command::new(POSTFACH).args(["backup", "--json", "--store"]).arg(store).arg(dir), b"").stdout)
}

/// What `backup --verify` says, and whether all is well.
fn verify(dir: &Path) -> (bool, String) {
    let output = try_run(Command::new(POSTFACH).args(["backup", "--verify"]).arg(dir), b"");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn restore(dir: &Path, store: &Path, size: &str) -> (bool, String) {
    let mut command = Command::new(POSTFACH);
    let output = try_run(command.args(["restore", "--size", size, "--store"]).arg(store).arg(dir), b"");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Bytes of the store's mail, as it is stored.
fn live_bytes(device: impl postfach::device::Device + 'static) -> u64 {
    let opened = postfach::store::Store::open(Arc::new(device), &mut |buf| buf.fill(7));
    opened.expect("opens").0.journal().capacity().live_bytes
}

/// Everything that a client can see of a mailbox, line by line; what is given out next comes apart.
fn seen(server: &Server, user: &str) -> (Vec<String>, Vec<u64>) {
    let (mut lines, mut next) = (Vec::new(), Vec::new());
    let mut imap = server.imap(user);
    let mut folders = Vec::new();
    imap.says("a LIST \"\" *");
    loop {
        let line = imap.line();
        if line.starts_with("a OK") {
            break;
        }
        folders.push(line.rsplit_once(" \"/\" ").expect("LIST").1.to_string());
        lines.push(line);
    }
    imap.says("b LSUB \"\" *");
    lines.extend(until(&mut imap, "b OK"));
    for folder in folders {
        let status = imap.asks(
            &format!("c STATUS {folder} (MESSAGES UIDVALIDITY UNSEEN HIGHESTMODSEQ UIDNEXT)"),
            "* STATUS",
        );
        imap.hears("c OK");
        let (known, uid_next) = status.rsplit_once("UIDNEXT ").expect("UIDNEXT");
        lines.push(known.to_string());
        next.push(uid_next.trim_end_matches(')').parse().expect("a number"));
        imap.asks(&format!("d EXAMINE {folder}"), "d OK");
        imap.says(
            "e UID FETCH 1:* (UID FLAGS MODSEQ INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])",
        );
        lines.extend(until(&mut imap, "e OK").into_iter().filter(|line| !line.contains(" RECENT")));
    }
    let mut pop3 = server.pop3(user);
    pop3.says("UIDL");
    lines.extend(until(&mut pop3, "."));
    (lines, next)
}

fn until(talk: &mut Talk, end: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = talk.line();
        if line.starts_with(end) {
            return lines;
        }
        // \Recent is of a connection, not of a message.
        line = line.replace(" \\Recent", "").replace("\\Recent ", "").replace("\\Recent", "");
        lines.push(line);
    }
}

fn furnish(server: &Server) {
    let mut lmtp = server.lmtp();
    for number in 0..30 {
        let to = if number % 3 == 0 { BEN } else { ANNA };
        deliver(&mut lmtp, to, &format!("first-{number}"), [100, 5000, 90_000][number % 3]);
    }
    let mut imap = server.imap(ANNA);
    for command in [
        "CREATE Projekte/&AOQ-lt",
        "SUBSCRIBE Projekte/&AOQ-lt",
        "SELECT INBOX",
        "STORE 1:5 +FLAGS (\\Seen $Forwarded)",
        "COPY 2:4 Projekte/&AOQ-lt",
        "MOVE 6 Sent",
        "STORE 7 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "CREATE gone",
        "DELETE gone",
    ] {
        imap.asks(&format!("x {command}"), "x OK");
    }
    server.console(&["alias", "add", "office@example.test", BEN], "");
}

#[test]
fn a_restored_store_is_the_same_to_every_client_and_gives_nothing_out_twice() {
    let server = Server::start();
    furnish(&server);
    let dir = server.folder.0.join("backup");
    let before = [seen(&server, ANNA), seen(&server, BEN)];
    let config = server.console(&["show", "config"], "");
    backup(&server.store, &dir);
    // What happens after the backup is not in it, but has been seen.
    let mut lmtp = server.lmtp();
    deliver(&mut lmtp, ANNA, "later", 100);
    let mut imap = server.imap(ANNA);
    imap.asks("y CREATE later", "y OK");
    let later = imap.asks("y STATUS later (UIDVALIDITY)", "* STATUS");
    drop((imap, lmtp));
    let (well, said) = verify(&dir);
    assert!(well, "{said}");

    let live_bytes = live_bytes(postfach::backup::open(&dir).expect("opens").device);
    let mut given: Vec<Vec<u64>> = Vec::new();
    for size in ["512M", "300M"] {
        let folder = Folder::new();
        let store = folder.0.join("again.store");
        let (well, said) = restore(&dir, &store, size);
        assert!(well && said.contains("2 mailboxes"), "{said}");
        // Mail is as packed as it was.
        let again = self::live_bytes(postfach::device::File::open_beside(&store).expect("opens"));
        assert!(again.abs_diff(live_bytes) < live_bytes / 20, "{live_bytes} {again}");
        let again = Server::launch_store(folder, store);
        for (user, (lines, next)) in [ANNA, BEN].into_iter().zip(&before) {
            let (now, now_next) = seen(&again, user);
            for (old, new) in lines.iter().zip(&now) {
                assert_eq!(old, new);
            }
            assert_eq!(lines.len(), now.len());
            for (old, new) in next.iter().zip(&now_next) {
                assert!(*new >= *old + (1 << 20), "{old} {new}");
            }
            // Nor after another restore of the same backup.
            assert!(!given.contains(&now_next), "{now_next:?}");
            given.push(now_next);
        }
        assert_eq!(again.console(&["show", "config"], ""), config);
        let mut imap = again.imap(ANNA);
        imap.asks("z CREATE later", "z OK");
        assert_ne!(imap.asks("z STATUS later (UIDVALIDITY)", "* STATUS"), later);
        imap.asks("z SELECT INBOX", "z OK");
        let told = imap.asks("z STORE 1 +FLAGS (\\Answered)", "* 1 FETCH");
        let status = imap.asks("z STATUS Sent (HIGHESTMODSEQ)", "* STATUS");
        let told = told + &imap.asks("z FETCH 1 MODSEQ", "* 1 FETCH");
        let serial = told.rsplit_once("MODSEQ (").expect("MODSEQ").1.trim_end_matches(')').parse::<u64>();
        assert!(serial.expect("a number") > 1 << 32, "{told} {status}");
    }
}

#[test]
fn backups_beside_a_storm_hold_what_was_acknowledged_before_they_began() {
    let server = Server::start();
    let dir = server.folder.0.join("backup");
    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let (acknowledged, stop, mut lmtp) = (acknowledged.clone(), stop.clone(), server.lmtp());
            std::thread::spawn(move || {
                // No more than the mailbox takes.
                for number in 0..500 {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    deliver(
                        &mut lmtp,
                        ANNA,
                        &format!("storm-{client}-{number}"),
                        [50, 3000, 30_000][number % 3],
                    );
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..8 {
        let before = acknowledged.load(Ordering::Relaxed);
        let said = backup(&server.store, &dir);
        let (well, found) = verify(&dir);
        assert!(well, "{said} {found}");
        // Before that it may say that newest segments have no parity yet.
        let (_, held) = found.split_once(" mailboxes, ").expect("1 mailboxes, N messages");
        let held: u64 = held.split(' ').next().expect("N messages").parse().expect("a number");
        assert!(held >= before, "{held} of {before}: {found}");
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("ends well"));
    // Nothing new: only the last segment is copied.
    let said = backup(&server.store, &dir);
    backup(&server.store, &dir);
    assert!(backup(&server.store, &dir).contains("\"copied\":1,"), "{said}");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn damage_is_told_and_an_interrupted_backup_leaves_the_one_before() {
    let server = Server::start();
    furnish(&server);
    let dir = server.folder.0.join("backup");
    backup(&server.store, &dir);
    for file in files(&dir) {
        let whole = std::fs::read(&file).expect("reads");
        let mut rotten = whole.clone();
        let middle = rotten.len() / 2;
        rotten[middle] ^= 4;
        std::fs::write(&file, &rotten).expect("writes");
        assert!(!verify(&dir).0, "{}", file.display());
        std::fs::write(&file, &whole[..middle]).expect("writes");
        assert!(!verify(&dir).0, "{}", file.display());
        std::fs::remove_file(&file).expect("removes");
        let (well, said) = verify(&dir);
        assert!(!well && !said.is_empty(), "{}", file.display());
        std::fs::write(&file, &whole).expect("writes");
        assert!(verify(&dir).0, "{}", file.display());
    }
    // Killed in the middle, at whatever step that is.
    for round in 0..10 {
        deliver(&mut server.lmtp(), ANNA, &format!("more-{round}"), 1_500_000);
        let mut command = Command::new(POSTFACH);
        let mut child =
            command.args(["backup", "--store"]).arg(&server.store).arg(&dir).spawn().expect("starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(1 + 2 * round);
        while std::time::Instant::now() < deadline && child.try_wait().expect("waits").is_none() {
            std::thread::yield_now();
        }
        let _over = child.kill();
        child.wait().expect("ends");
        let (well, said) = verify(&dir);
        assert!(well, "round {round}: {said}");
    }
    backup(&server.store, &dir);
    assert!(files(&dir).iter().all(|file| !file.ends_with("copy.new")));
    // Another store's backup is not written over, nor is anything else.
    let other = Server::start();
    for (store, dir) in [(&other.store, &dir), (&server.store, &server.folder.0)] {
        let output = try_run(Command::new(POSTFACH).args(["backup", "--store"]).arg(store).arg(dir), b"");
        assert!(!output.status.success() && text(&output.stderr).contains("another directory"));
    }
    assert!(verify(&dir).0);
}

#[test]
fn a_restore_that_does_not_end_leaves_no_store_and_one_that_cannot_be_leaves_what_was_there() {
    let server = Server::start();
    furnish(&server);
    // What cannot be packed, so that there is much to write.
    let (mut random, mut noise) = (postfach::device::Random(8), vec![0; 700_000]);
    let mut imap = owner(&server, ANNA);
    for _ in 0..20 {
        random.fill(&mut noise);
        append(&mut imap, "INBOX", "", "24-Nov-2024 09:18:02 +0000", &noise);
    }
    drop(imap);
    let dir = server.folder.0.join("backup");
    backup(&server.store, &dir);
    let folder = Folder::new();
    let store = folder.0.join("again.store");
    let (well, said) = restore(&dir, &store, "40M");
    assert!(!well && said.contains("too small") && !store.exists(), "{said}");
    run(Command::new(POSTFACH).args(["format", "--size", "100M", "--store"]).arg(&store), b"");
    let (well, said) = restore(&dir, &store, "512M");
    assert!(!well && said.contains("--force"), "{said}");
    run(Command::new(POSTFACH).args(["check", "--store"]).arg(&store), b"");
    // With --force, and refused all the same: for the backup, for the size, for the mailboxes' sizes.
    let before = std::fs::read(&store).expect("reads");
    let typo = folder.0.join("typo");
    for (command, size, dir, why) in [
        ("restore", "60M", Some(&typo), "manifest"),
        ("restore", "512M", Some(&typo), "manifest"),
        ("restore", "1M", Some(&dir), "too small"),
        ("restore", "40M", Some(&dir), "too small"),
        ("format", "100K", None, "too small"),
        ("format", "17000000000G", None, "cannot make"),
    ] {
        let mut made = Command::new(POSTFACH);
        made.args([command, "--force", "--size", size, "--store"]).arg(&store).args(dir);
        let output = try_run(&mut made, b"");
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{command} {size}: {said}");
        assert!(std::fs::read(&store).expect("reads") == before, "{command} {size} has changed the store");
    }
    run(Command::new(POSTFACH).args(["check", "--store"]).arg(&store), b"");
    // And one that is not refused makes the file shorter.
    run(Command::new(POSTFACH).args(["format", "--force", "--size", "90M", "--store"]).arg(&store), b"");
    assert_eq!(store.metadata().expect("is there").len(), 90 << 20);
    std::fs::remove_file(&store).expect("removes");
    let mut command = Command::new(POSTFACH);
    let mut child =
        command.args(["restore", "--size", "512M", "--store"]).arg(&store).arg(&dir).spawn().expect("starts");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // Once some of it has been written, and before all of it can be.
    let written = || std::os::unix::fs::MetadataExt::blocks(&store.metadata().ok()?).checked_sub(4000);
    while written().is_none() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let _over = child.kill();
    let ended = child.wait().expect("ends").success();
    let output = try_run(Command::new(POSTFACH).args(["check", "--store"]).arg(&store), b"");
    assert!(ended || text(&output.stderr).contains("no store"), "{}", text(&output.stderr));
}

/// `restore --mailbox`: the exit status, and all that it says.
fn restore_mailbox(store: &Path, address: &str, dir: &Path) -> (Option<i32>, String) {
    let output = try_run(command(store, &["restore", "--mailbox", address]).arg(dir), b"");
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// A mailbox's folders, each message as a line: what fails is to be read.
type Lines = BTreeMap<String, Vec<String>>;

fn lines(server: &Server, user: &str) -> Lines {
    let line = |(bytes, flags, date): (Vec<u8>, String, String)| {
        let hash = std::hash::BuildHasher::hash_one(&BuildHasherDefault::<DefaultHasher>::default(), &bytes);
        format!("{} bytes {hash:x} ({flags}) {date}", bytes.len())
    };
    let folders = mailbox(server, user).into_iter();
    folders.map(|(name, messages)| (name, messages.into_iter().map(line).collect())).collect()
}

/// What a mailbox has in its "Restored" folders, by the names that the folders had; their first level.
fn restored(server: &Server, user: &str) -> (Lines, Vec<String>) {
    let (mut found, mut names) = (BTreeMap::new(), BTreeSet::new());
    for (name, messages) in lines(server, user) {
        let mut levels = name.splitn(2, '/');
        let first = levels.next().unwrap_or_default();
        if first.starts_with("Restored ") {
            names.insert(String::from(first));
            found.insert(String::from(levels.next().unwrap_or("INBOX")), messages);
        }
    }
    (with_mail(found), names.into_iter().collect())
}

fn with_mail(folders: Lines) -> Lines {
    folders.into_iter().filter(|(_, messages)| !messages.is_empty()).collect()
}

fn expunge(server: &Server, user: &str, folder: &str) {
    let mut imap = server.imap(user);
    for command in [&format!("SELECT {folder}"), "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"] {
        imap.asks(&format!("x {command}"), "x OK");
    }
}

#[test]
fn one_mailbox_comes_back_beside_what_is_there_with_and_without_a_server() {
    let mut server = Server::start();
    furnish(&server);
    let date = "24-Nov-2024 09:18:02 +0000";
    let mut imap = owner(&server, ANNA);
    for message in ["a\n", "\r", "From me\r\n", "same", "same"] {
        append(&mut imap, "INBOX", "\\Draft work", date, message.as_bytes());
    }
    append(&mut imap, "Sent", "\\Deleted \\Flagged", date, &vec![b'x'; 700_000]);
    drop(imap);
    let before = with_mail(lines(&server, ANNA));
    let dir = server.folder.0.join("backup");
    backup(&server.store, &dir);
    ["INBOX", "Sent"].iter().for_each(|folder| expunge(&server, ANNA, folder));
    deliver(&mut server.lmtp(), ANNA, "later", 100);
    let now = lines(&server, ANNA);
    let others = lines(&server, BEN);

    let (status, said) = restore_mailbox(&server.store, "Anna@Example.test", &dir);
    assert!(status == Some(0) && said.contains("Restored ") && said.contains("3 folders"), "{said}");
    let (came, names) = restored(&server, ANNA);
    assert_eq!(came, before);
    // The day of the manifest, whatever day it is.
    let manifest = Command::new("date").args(["-u", "+%F", "-r"]).arg(dir.join("manifest")).output();
    let day = text(&manifest.expect("date runs").stdout);
    assert_eq!(names, [format!("Restored {}", day.trim())]);
    assert!(subscriptions(&server, ANNA).iter().any(|line| line.contains(&names[0])));
    // What was there is as it was.
    let mut after = lines(&server, ANNA);
    after.retain(|name, _| !name.starts_with("Restored "));
    assert_eq!(after, now);
    assert_eq!(lines(&server, BEN), others);

    let (status, said) = restore_mailbox(&server.store, ANNA, &dir);
    assert!(status == Some(0) && said.contains("Restored 0 messages"), "{said}");
    assert_eq!(restored(&server, ANNA).0, before);

    // Half of it is gone again, and no server runs.
    expunge(&server, ANNA, &format!("\"{}/Sent\"", names[0]));
    assert!(server.stop());
    let (status, said) = restore_mailbox(&server.store, ANNA, &dir);
    assert!(
        status == Some(0) && said.contains(&format!("Restored {} messages", before["Sent"].len())),
        "{said}"
    );
    let (status, said) = restore_mailbox(&server.store, ANNA, &dir);
    assert!(status == Some(0) && said.contains("Restored 0 messages"), "{said}");
    server.restart();
    assert_eq!(restored(&server, ANNA).0, before);
}

#[test]
fn a_mailbox_that_is_not_in_the_backup_or_not_in_the_store_is_told() {
    let server = Server::start();
    let dir = server.folder.0.join("backup");
    deliver(&mut server.lmtp(), BEN, "mail", 100);
    backup(&server.store, &dir);
    server.console(&["mailbox", "add", "carl@example.test", "size", "S"], "correct horse 9\n");
    server.console(&["mailbox", "remove", BEN], "yes\n");
    let (status, said) = restore_mailbox(&server.store, "carl@example.test", &dir);
    assert!(status == Some(1) && said.contains("carl@example.test in the backup"), "{said}");
    let (status, said) = restore_mailbox(&server.store, BEN, &dir);
    assert!(status == Some(1) && said.contains(BEN) && !said.contains("backup"), "{said}");
    let nothing = server.folder.0.join("nothing");
    let (status, said) = restore_mailbox(&nothing, BEN, &dir);
    assert!(status == Some(1) && said.contains("nothing") && !nothing.exists(), "{said}");
    let (status, said) = restore_mailbox(&server.store, BEN, &server.folder.0);
    assert!(status == Some(1) && said.contains("manifest"), "{said}");
}

#[test]
fn a_damaged_message_is_named_and_left_out_and_a_full_mailbox_takes_the_rest_later() {
    let server = Server::start();
    let dir = server.folder.0.join("backup");
    let mut imap = owner(&server, ANNA);
    // Noise, which cannot be packed: so it is found in the backup's files.
    let mut random = postfach::device::Random(7);
    let noise: Vec<Vec<u8>> = (0..8)
        .map(|_| {
            let mut noise = vec![0; 3_000_000];
            random.fill(&mut noise);
            noise
        })
        .collect();
    let date = "24-Nov-2024 09:18:02 +0000";
    noise.iter().for_each(|noise| append(&mut imap, "INBOX", "", date, noise));
    drop(imap);
    backup(&server.store, &dir);
    let wanted = &noise[2][1_000_000..1_000_032];
    let place = |path: &PathBuf| {
        let bytes = std::fs::read(path).expect("reads");
        let at = bytes.windows(wanted.len()).position(|window| window == wanted)?;
        Some((path.clone(), bytes, at))
    };
    let (path, mut bytes, at) = files(&dir).iter().find_map(place).expect("is in the backup");
    // More than parity makes good.
    let end = bytes.len().min(at + 100_000);
    bytes[at..end].fill(0);
    std::fs::write(path, bytes).expect("writes");
    expunge(&server, ANNA, "INBOX");
    server.console(&["mailbox", "size", ANNA, "S"], "");
    let (status, said) = restore_mailbox(&server.store, ANNA, &dir);
    assert!(status == Some(1) && said.contains("message UID 3 of INBOX"), "{said}");
    assert!(said.contains("mailbox is full"), "{said}");
    server.console(&["mailbox", "size", ANNA, "M"], "");
    let (status, said) = restore_mailbox(&server.store, ANNA, &dir);
    assert!(status == Some(1) && !said.contains("mailbox is full"), "{said}");
    let (_, names) = restored(&server, ANNA);
    let came: Vec<_> =
        messages(&mut owner(&server, ANNA), &names[0]).into_iter().map(|(bytes, ..)| bytes).collect();
    let mut rest = noise;
    rest.remove(2);
    rest.sort();
    assert!(came == rest, "{} of {} came", came.len(), rest.len());
}

#[test]
fn a_backup_of_more_segments_than_files_may_be_open_is_read_whole_and_one_that_lacks_a_file_is_told() {
    let server = Server::start();
    let mut random = postfach::device::Random(9);
    let mut imap = owner(&server, ANNA);
    for _ in 0..6 {
        let mut noise = vec![0; 4_000_000];
        random.fill(&mut noise);
        append(&mut imap, "INBOX", "", "24-Nov-2024 09:18:02 +0000", &noise);
    }
    drop(imap);
    let dir = server.folder.0.join("backup");
    backup(&server.store, &dir);
    assert!(files(&dir).len() > 6);
    expunge(&server, ANNA, "INBOX");
    let store = server.folder.0.join("again.store");
    let few = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -Sn 6; exec \"$@\"", "sh", POSTFACH]).args(words).arg(&dir);
        let output = try_run(&mut command, b"");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (path, again) = (server.store.to_str().expect("text"), store.to_str().expect("text"));
    let whole = ["restore", "--force", "--size", "512M", "--store", again];
    let one = ["restore", "--mailbox", ANNA, "--store", path];
    for (words, wanted) in [
        (&["backup", "--verify"][..], "6 messages"),
        (&whole, "with 6 messages"),
        (&one, "Restored 6 messages"),
    ] {
        let (status, said) = few(words);
        assert!(status == Some(0) && said.contains(wanted), "{said}");
    }
    let segment = files(&dir).into_iter().nth(2).expect("a segment");
    std::fs::remove_file(segment).expect("removes");
    for words in [&whole[..], &one] {
        let (status, said) = few(words);
        assert!(status == Some(1) && said.contains("mail may be missing"), "{said}");
    }
}
