//! The owner's way to a mailbox: IMAP on the console's socket, and the commands `export` and `import`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::talk::Talk;
use super::{POSTFACH, Server, run, text, try_run};

/// A folder's messages: bytes, flags in order, INTERNALDATE. Sorted: a multiset.
pub type Messages = Vec<(Vec<u8>, String, String)>;

/// A mailbox over the owner's socket, without its password.
pub fn owner(server: &Server, user: &str) -> Talk {
    let mut socket = server.store.clone().into_os_string();
    socket.push(".sock");
    let stream = UnixStream::connect(socket).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("takes a timeout");
    let mut talk = Talk::on(stream);
    talk.says(&format!("imap {user}"));
    talk.hears("* PREAUTH");
    talk
}

pub fn folders(imap: &mut Talk) -> Vec<String> {
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

pub fn messages(imap: &mut Talk, folder: &str) -> Messages {
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

pub fn mailbox(server: &Server, user: &str) -> BTreeMap<String, Messages> {
    let mut imap = owner(server, user);
    folders(&mut imap).into_iter().map(|name| (name.clone(), messages(&mut imap, &name))).collect()
}

pub fn subscriptions(server: &Server, user: &str) -> Vec<String> {
    let mut imap = owner(server, user);
    imap.says("l LSUB \"\" *");
    let mut names: Vec<String> =
        std::iter::from_fn(|| Some(imap.line()).filter(|line| !line.starts_with("l OK"))).collect();
    names.sort();
    names
}

pub fn append(imap: &mut Talk, folder: &str, flags: &str, date: &str, message: &[u8]) {
    imap.says(&format!("a APPEND \"{folder}\" ({flags}) \"{date}\" {{{}+}}", message.len()));
    imap.send(message);
    imap.asks("", "a OK");
}

pub fn command(store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(POSTFACH);
    command.arg(words[0]).arg("--store").arg(store).args(&words[1..]);
    command
}

/// Runs it; the status, the number of that name in the JSON, standard error.
pub fn told(store: &Path, words: &[&str], name: &str) -> (Option<i32>, u64, String) {
    let output = try_run(command(store, words).arg("--json"), b"");
    let out = text(&output.stdout);
    let number = out.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest);
    let digits = number.and_then(|rest| rest.split([',', '}']).next()).unwrap_or_default();
    (output.status.code(), digits.parse().unwrap_or(u64::MAX), text(&output.stderr))
}

pub fn must(store: &Path, words: &[&str]) -> Output {
    run(&mut command(store, words), b"")
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("is text")
}

/// Every file below a folder, in order.
pub fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
    files.sort();
}

/// A Maildir of six folders, a hundred messages each. How many.
pub fn many(root: &Path) -> usize {
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
