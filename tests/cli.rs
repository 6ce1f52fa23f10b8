//! The program as a person and a script meet it: usage, exit status, standard output and standard error.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const POSTFACH: &str = env!("CARGO_BIN_EXE_postfach");

/// A folder of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postfach-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn store(&self) -> String {
        self.0.join("mail.store").to_string_lossy().into_owned()
    }

    fn formatted() -> Folder {
        let folder = Folder::new();
        let output = run(&["format", "--store", &folder.store(), "--size", "256M"], "");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        folder
    }

    fn console(&self, words: &[&str], input: &str) -> (Option<i32>, String, String) {
        let store = self.store();
        let arguments = [&["console", "--store", &store], words].concat();
        let output = run(&arguments, input);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(POSTFACH)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // A program that does not read its input may be gone already.
    let _closed = child.stdin.take().expect("has input").write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file is sparse, so it can be made longer than its disk: whoever does that should know.
#[test]
fn a_store_larger_than_its_disk_is_made_with_a_word_about_it() {
    let folder = Folder::new();
    let made = run(&["format", "--store", &folder.store(), "--size", "15000G"], "");
    let said = text(&made.stderr);
    if made.status.code() == Some(0) {
        assert!(said.contains("its disk has room for"), "{said}");
    } else {
        eprintln!("no file can be that long here: {said}");
    }
    let made = run(&["format", "--force", "--store", &folder.store(), "--size", "16M"], "");
    assert_eq!((made.status.code(), text(&made.stderr).as_str()), (Some(0), ""));
}

#[test]
fn wrong_usage_is_one_line_and_exit_status_2() {
    for (arguments, word) in [
        (&[][..], "a command is missing"),
        (&["frob"], "`frob`"),
        (&["serve"], "--store PATH is missing"),
        (&["serve", "--store", "x", "--port-base", "-1"], "`-1`"),
        (&["serve", "--store", "x", "--prot-base", "1"], "`--prot-base`"),
        (&["format", "--store", "/nonexistent/x"], "--size"),
        (&["check", "--store", "x", "y"], "`y`"),
    ] {
        let output = run(arguments, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word) && said.lines().count() == 1, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (arguments, word) in [
        (&["--help"][..], "postfach serve --store PATH"),
        (&["help"], "postfach format"),
        (&["help", "serve"], "--port-base N"),
        (&["help", "serve"], "With --idle SECONDS "),
        (&["check", "--help"], "Exit status 0: nothing is SERIOUS"),
        (&["console", "-h"], "mailbox add anna@example.com"),
        (&["--version"], concat!("postfach ", env!("CARGO_PKG_VERSION"))),
    ] {
        let output = run(arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains(word) && output.stderr.is_empty(), "{arguments:?}");
        assert!(text(&output.stdout).lines().all(|line| line.chars().count() < 100), "{arguments:?}");
    }
}

#[test]
fn a_missing_store_is_told_with_the_way_to_make_one() {
    let folder = Folder::new();
    let store = folder.store();
    for arguments in [&["serve", "--store", &store][..], &["console", "--store", &store, "status"]] {
        let output = run(arguments, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("postfach format --store {store}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(run(&["check", "--store", &store], "").status.code(), Some(1));
    // Something else than a store.
    fs::write(&store, vec![0x55; 1 << 20]).expect("writes");
    assert_eq!(run(&["check", "--store", &store], "").status.code(), Some(1));
    let output = run(&["serve", "--store", &store], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no store"), "{}", text(&output.stderr));
}

#[test]
fn format_does_not_write_over_a_store() {
    let folder = Folder::formatted();
    let store = folder.store();
    let (status, ..) = folder.console(&["domain", "add", "example.test"], "");
    assert_eq!(status, Some(0));
    let output = run(&["format", "--store", &store, "--size", "256M"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--force"), "{}", text(&output.stderr));
    assert_eq!(folder.console(&["domain", "list"], "").1, "example.test\n");
    let output = run(&["format", "--store", &store, "--size", "256M", "--force"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(folder.console(&["domain", "list"], "").1.contains("no domains"));
    // Too small: told with the least, and nothing is left behind.
    let small = folder.0.join("small").to_string_lossy().into_owned();
    let output = run(&["format", "--store", &small, "--size", "100K"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("at least"), "{}", text(&output.stderr));
    assert!(!fs::exists(&small).expect("can look"));
}

#[test]
fn the_console_works_without_a_server() {
    let folder = Folder::formatted();
    let (status, out, err) = folder.console(&["mailbox", "add", "anna@example.test"], "secret\n");
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("mailbox add anna@example.test") && err.contains("domain add example.test"),
        "{err}"
    );
    assert_eq!(folder.console(&["domain", "add", "example.test"], "").0, Some(0));
    // One line is the password; the rest is ignored.
    let (status, out, err) =
        folder.console(&["mailbox", "add", "anna@example.test", "size", "S"], "secret\nrest\n");
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("anna@example.test"), "{out}");
    // A line without its end is one too; no line is none; an empty one is refused.
    assert_eq!(folder.console(&["mailbox", "passwd", "anna@example.test"], "other").0, Some(0));
    let (status, _, err) = folder.console(&["mailbox", "passwd", "anna@example.test"], "");
    assert_eq!(status, Some(1));
    assert!(err.starts_with("mailbox passwd anna@example.test: "), "{err}");
    assert_eq!(folder.console(&["mailbox", "passwd", "anna@example.test"], "\n").0, Some(1));
    let (status, out, _) = folder.console(&["mailbox", "passwd", "anna@example.test", "generate"], "");
    assert_eq!(status, Some(0));
    let password = out.lines().find_map(|line| line.strip_prefix("Password: ")).expect("is shown");
    assert!(password.len() >= 12, "{password}");
    let (status, out, _) = folder.console(&["show", "client", "anna@example.test"], "");
    assert_eq!(status, Some(0));
    assert!(["993", "995", "465", "587"].iter().all(|port| out.contains(port)), "{out}");
    let output = run(&["check", "--store", &folder.store()], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_check_says_how_bad_it_is_and_repairs_what_has_a_twin() {
    let folder = Folder::formatted();
    let store = folder.store();
    assert_eq!(folder.console(&["domain", "add", "example.test"], "").0, Some(0));
    let check = |words: &[&str]| {
        let output = run(&[&["check", "--store", &store], words].concat(), "");
        (output.status.code(), text(&output.stdout))
    };
    // A copy of the superblock, and one of the mark.
    let file = fs::OpenOptions::new().write(true).open(&store).expect("opens");
    for block in [0, 3] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"?", block * 4096 + 9).expect("writes");
    }
    let spoilt = fs::read(&store).expect("reads");
    let (status, said) = check(&[]);
    assert!(
        status == Some(0) && said.starts_with("warning: 2 headers ") && said.contains("--repair"),
        "{said}"
    );
    assert!(fs::read(&store).expect("reads") == spoilt, "a check changes nothing");
    let (status, said) = check(&["--repair", "--json"]);
    assert!(status == Some(0) && said.contains("\"warnings\":[],"), "{said}");
    assert!(said.contains("\"repaired\":[\"2 bad copies"), "{said}");
    let (status, said) = check(&[]);
    assert!(status == Some(0) && !said.contains("warning"), "{said}");
    let missing = run(&["check", "--repair", "--store", &folder.0.join("none").to_string_lossy()], "");
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn a_script_runs_up_to_the_first_failure_and_can_be_pasted_back() {
    let folder = Folder::formatted();
    let script = "# an office\ndomain add example.test\n\nmailbox add anna@example.test size S\nher password\n\
                  alias add info@example.test anna@example.test\nfrob\ndomain add never.test\n";
    let (status, _, err) = folder.console(&[], script);
    assert_eq!(status, Some(1));
    assert!(err.starts_with("line 7: ") && err.contains("`frob`"), "{err}");
    let (status, config, _) = folder.console(&["show", "config"], "");
    assert_eq!(status, Some(0));
    assert!(!config.contains("never.test") && !config.contains("her password"), "{config}");
    let other = Folder::formatted();
    let (status, _, err) = other.console(&[], &config);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert_eq!(other.console(&["show", "config"], "").1, config);
}

#[test]
fn a_script_that_holds_as_a_whole_does_all_or_nothing_and_says_which_by_its_status() {
    let folder = Folder::formatted();
    // As `postfach.setup` may be, also from an editor on Windows.
    let good = "\u{feff}# a box\r\nlanguage de\r\nadmin passwd\r\nopen, sesame\r\nload\r\ntime server 192.0.2.1\r\nend\r\nsetup\r\n\
                de\r\nexample.test\r\nanna\r\nS\r\nnein\r\nher password\r\n\r\nalias add info@example.test anna@example.test\r\n\
                network static 192.0.2.7/24 192.0.2.1\r\nnetwork ipv6 off\r\nkeep\r\nshow config\r\nmailbox add ben@example.test size S\r\n";
    for wrong in [
        "",
        "no password\r\nfrob",
        "his password\r\ndomain add example.test",
        "his\r\nundo",
        "his\r\nload\r\nfrob\r\nend",
    ] {
        let script = format!("{good}{wrong}");
        let (status, out, err) = folder.console(&["--whole"], &script);
        assert_eq!(status, Some(4), "{out}{err}");
        assert!(err.ends_with("nichts von der Liste wurde ausgeführt\n"), "{err}");
        let last = script.lines().count();
        assert!(err.starts_with(&format!("Zeile {last}: ")), "{last}: {err}");
        assert!(!out.contains("Postfach"), "what has not been done is not said to be: {out}");
        assert_eq!(folder.console(&["show", "config"], "").1, "# nothing has been set yet\n");
    }
    let (status, out, err) = folder.console(&["--whole"], &format!("{good}his password"));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("Das Postfach anna@example.test ist angelegt"), "{out}");
    let history = folder.console(&["history"], "").1;
    assert_eq!(history.lines().count(), 2, "it is one change: {history}");
    let config = folder.console(&["show", "config"], "").1;
    for line in [
        "language de",
        "time server 192.0.2.1",
        "network static 192.0.2.7/24 192.0.2.1",
        "domain add example.test",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert_eq!(config.matches("mailbox add").count(), 2, "{config}");
    // Once more, as after a power cut before the file was removed.
    let (status, _, err) = folder.console(&["--whole"], &format!("{good}his password"));
    assert_eq!(status, Some(4), "{err}");
    assert_eq!(folder.console(&["show", "config"], "").1, config);
    // What is not the script's fault has another status.
    let none = run(&["console", "--whole", "--store", "/nonexistent/store"], good);
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(folder.console(&["--whole", "domain", "list"], "").0, Some(2));
}

#[test]
fn setup_proposes_a_size_that_fits() {
    let folder = Folder::new();
    assert_eq!(run(&["format", "--store", &folder.store(), "--size", "1G"], "").status.code(), Some(0));
    let mut script = String::from("domain add example.test\n");
    for (name, size) in ["XL", "XL", "XL", "L", "M", "S"].iter().enumerate() {
        script.push_str(&format!("mailbox add m{name}@example.test size {size} generate\n"));
    }
    assert_eq!(folder.console(&[], &script).0, Some(0));
    let (status, out, err) = folder.console(&[], "setup\n\n\nanna\n\n\n");
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.contains("The mailbox anna@example.test is there, of size S"), "{out}");
}

#[test]
fn settings_are_loaded_whole_and_taken_back_without_a_server() {
    let folder = Folder::formatted();
    let config = "domain add example.test\nnetwork static 192.0.2.7/24 192.0.2.1\ntime server 192.0.2.1\n";
    // What is cut off is not loaded.
    let (status, _, err) = folder.console(&["load"], config);
    assert_eq!(status, Some(1));
    assert!(err.contains("`end`"), "{err}");
    assert!(folder.console(&["history"], "").1.contains("Nothing has been changed"));
    let (status, out, err) = folder.console(&["load"], &format!("{config}frob\nend\n"));
    assert_eq!(status, Some(1));
    assert!(
        out.contains("line 4: there is no command `frob`") && err.contains("nothing has been changed"),
        "{out}{err}"
    );
    assert_eq!(folder.console(&["load"], &format!("{config}end\n")).1, "3 settings are made.\n");
    let shown = folder.console(&["export", "config"], "").1;
    assert!(
        shown.contains("network static 192.0.2.7/24 192.0.2.1 192.0.2.1\nkeep\n")
            && shown.contains("domain add example.test\n"),
        "{shown}"
    );
    // In a list nothing is on trial, and what needs a server says so.
    let script = "network ipv6 off\nnetwork\nkeep\n";
    let (status, out, err) = folder.console(&[], script);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.contains("There is no IPv6.") && out.contains("nothing is known of the network"), "{out}");
    assert!(out.contains("Nothing is on trial: in a list of commands all is kept."), "{out}");
    assert_eq!(folder.console(&["keep"], "").0, Some(1), "who types it is told when it comes too late");
    let (status, out, _) = folder.console(&["rollback", "1"], "");
    assert_eq!(
        (status, out.as_str()),
        (Some(0), "Taken back: network ipv6 off\nTaken back: load, 3 lines\n")
    );
    assert_eq!(folder.console(&["show", "config"], "").1, "# nothing has been set yet\n");
    let check = folder.console(&["check"], "").1;
    assert!(check.starts_with("The server is not running: "), "{check}");
    for list in [&[][..], &["--whole"]] {
        let (status, out, err) =
            folder.console(list, "network hostname old.test\nnetwork hostname box.test\ntls new\n");
        assert_eq!((status, err.as_str()), (Some(0), ""));
        assert!(out.contains("Subject      CN=box.test") && !out.contains("not good for"), "{out}");
        folder.console(&["network", "hostname", "old.test"], "");
    }
    let (status, out, _) = folder.console(&["tls", "new"], "");
    assert_eq!(status, Some(0));
    assert!(out.contains("SHA-256      ") && !out.contains("goes back"), "{out}");
    assert!(folder.console(&["tls"], "").1.contains("Subject      CN="));
}

#[test]
fn a_large_store_is_formatted_at_once() {
    let folder = Folder::new();
    let start = std::time::Instant::now();
    let output = run(&["format", "--store", &folder.store(), "--size", "200G"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(start.elapsed().as_secs() < 10);
}
