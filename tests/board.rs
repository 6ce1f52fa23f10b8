//! A box, as far as any machine can be one: `serve --board` with a program that writes down what it is asked for, and a time server on
//! loopback that tells this machine's own time. Nothing of the machine is changed.

mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postfach::device::File;
use postfach::store::Store;
use server::{Folder, POSTFACH, Server, run, text};

/// Writes its first word and what is wanted into a file, and answers.
const PROGRAM: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $1 in
state) printf 'interface eth0\nlink up\naddress 192.0.2.20/24\ngateway 192.0.2.1\ndns 192.0.2.1\n' ;;
ping) echo "$2 answers" ;;
network) echo "network $HOST $IPV4 $IPV4_GATEWAY $IPV6 $DNS" >>"$here/asked" ;;
*) echo "$1" >>"$here/asked" ;;
esac
"#;

struct Machine {
    server: Server,
    asked: PathBuf,
}

impl Machine {
    fn start(time_server: &str, options: &[&str]) -> Machine {
        let folder = Folder::new();
        let store = folder.0.join("mail.store");
        let program = folder.0.join("board");
        fs::write(&program, PROGRAM).expect("writes");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("may be run");
        let asked = folder.0.join("asked");
        run(Command::new(POSTFACH).args(["format", "--size", "256M", "--store"]).arg(&store), b"");
        let mut console = Command::new(POSTFACH);
        run(console.args(["console", "--store"]).arg(&store).args(["time", "server", time_server]), b"");
        let program = program.to_string_lossy().into_owned();
        let server = Server::serve_store(folder, store, &[], &[&["--board", &program], options].concat());
        Machine { server, asked }
    }

    /// Waits until the program has been asked for this last.
    fn was_asked(&self, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let asked = fs::read_to_string(&self.asked).unwrap_or_default();
            if asked.lines().last() == Some(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "waits for {wanted:?}, asked: {asked:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A person's conversation, line by line; what has been said.
    fn person(&self, lines: &[&str]) -> String {
        let mut socket = self.server.store.clone().into_os_string();
        socket.push(".sock");
        let mut stream = UnixStream::connect(socket).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("takes a timeout");
        stream.write_all(format!("terminal\n{}\nexit\n", lines.join("\n")).as_bytes()).expect("writes");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("reads");
        text(&said)
    }
}

/// Whether the last thing that a store says is that all before it was written: so it ends when it is closed in order.
fn is_witnessed(path: &Path) -> bool {
    // A process that the server had begun to start when it was killed has its lock for a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    let file = loop {
        match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            file => break Arc::new(file.expect("opens")),
        }
    };
    let (store, report) = Store::open(file, &mut |bytes| bytes.fill(9)).expect("is a store");
    assert!(!report.is_damaged(), "{report:?}");
    store.journal().is_witnessed()
}

/// Tells the time to whoever asks, until the test is over.
fn time_server() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("has an address").to_string();
    std::thread::spawn(move || {
        let mut question = [0; 48];
        while let Ok((_, from)) = socket.recv_from(&mut question) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("is after 1970");
            let seconds = (now.as_secs() + 2_208_988_800) as u32;
            let fraction = (f64::from(now.subsec_nanos()) * 4.294_967_296) as u32;
            let stamp = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
            let mut answer = vec![0x24, 2, 6, 0xec, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1];
            answer.extend([&stamp[..], &question[40..48], &stamp, &stamp].concat());
            socket.send_to(&answer, from).expect("sends");
        }
    });
    address
}

/// `start` of the slot, with everything that it reads and writes in this folder, and what is the machine's left out.
fn start_of_the_slot(root: &Path, postfach: &str) -> String {
    let script =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs/slot/sbin/start")).expect("reads");
    let here = root.to_string_lossy();
    // A device is not emptied by who opens it.
    let mut script = script.replace("/bin/postfach", postfach).replace(">/dev/console", ">>/dev/console");
    for name in ["/boot/", "/dev/console", "/dev/kmsg", "/proc/sys/kernel/", "/etc/"] {
        script = script.replace(name, &format!("{here}{name}"));
    }
    // `date` sets clocks, `mount` and `sync` are the machine's.
    let script = format!("date() {{ :; }}; mount() {{ :; }}; sync() {{ :; }}\n{script}");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .env("STORE", root.join("mail.store"))
        .env("EPOCHSECONDS", "1")
        .env("BLANK", "");
    run(&mut shell, b"");
    let console = root.join("dev/console");
    let said = fs::read_to_string(&console).expect("reads");
    fs::remove_file(console).expect("removes");
    said
}

#[test]
fn a_set_up_file_is_carried_out_whole_or_not_at_all_and_removed_when_that_is_known() {
    let folder = Folder::new();
    let root = folder.0.as_path();
    for name in ["boot", "dev", "etc", "proc/sys/kernel"] {
        fs::create_dir_all(root.join(name)).expect("makes");
    }
    fs::write(root.join("etc/hostname"), "postfach\n").expect("writes");
    fs::write(root.join("etc/built"), "0\n").expect("writes");
    let (store, file) = (root.join("mail.store"), root.join("boot/postfach.setup"));
    let good = "admin passwd\r\nsesame, open\r\ndomain add example.test\r\nnetwork static 192.0.2.7/24 192.0.2.1\r\n\
                mailbox add anna@example.test size S\r\nAnna's password\r\n";
    let config = || {
        let mut console = Command::new(POSTFACH);
        text(&run(console.args(["console", "--store"]).arg(&store).args(["show", "config"]), b"").stdout)
    };
    // No store: nothing is known of the file.
    fs::write(&file, good).expect("writes");
    let said = start_of_the_slot(root, POSTFACH);
    assert!(said.contains("postfach.setup could not be carried out: it stays") && file.exists(), "{said}");
    run(Command::new(POSTFACH).args(["format", "--size", "256M", "--store"]).arg(&store), b"");
    // It is killed: the same.
    let said = start_of_the_slot(root, "sh -c 'kill -9 $$' ");
    assert!(said.contains("it stays") && file.exists(), "{said}");
    // A failing line: nothing is in force, not even what stands before it.
    fs::write(&file, format!("{good}frob\r\n")).expect("writes");
    let said = start_of_the_slot(root, POSTFACH);
    assert!(
        said.contains("line 7: there is no command `frob`") && said.contains("nothing of it is in force"),
        "{said}"
    );
    assert!(!file.exists());
    assert_eq!(config(), "# nothing has been set yet\n");
    // All of it; the power goes before the file is removed.
    fs::write(&file, good).expect("writes");
    let done = start_of_the_slot(root, POSTFACH);
    assert!(done.contains("The mailbox anna@example.test is there") && !file.exists(), "{done}");
    let whole = config();
    assert!(whole.contains("mailbox add anna@example.test") && whole.contains("network static"), "{whole}");
    fs::write(&file, good).expect("writes");
    let said = start_of_the_slot(root, POSTFACH);
    assert!(said.contains("line 3: domain add example.test: example.test is there already"), "{said}");
    assert!(!file.exists() && config() == whole);
    // The other name that it may have.
    let file = root.join("boot/postfach.setup.txt");
    fs::write(&file, "alias add info@example.test anna@example.test").expect("writes");
    start_of_the_slot(root, POSTFACH);
    assert!(!file.exists() && config().contains("alias add info@example.test"));
}

#[test]
fn the_network_is_set_up_tried_out_and_kept() {
    let mut machine = Machine::start(&time_server(), &[]);
    machine.was_asked("network  dhcp  auto ");
    // In a list of commands it is kept at once.
    machine.server.console(&["network", "hostname", "box.example.test"], "");
    machine.was_asked("network box.example.test dhcp  auto ");
    let said = machine.person(&["network static 192.0.2.7/24 192.0.2.1", "status"]);
    assert!(said.contains("goes back in 90 s") && said.contains("A change is on trial"), "{said}");
    machine.was_asked("network box.example.test 192.0.2.7/24 192.0.2.1 auto 192.0.2.1");
    let config = machine.server.console(&["show", "config"], "");
    assert!(!config.contains("static"), "{config}");
    let said = machine.person(&["undo", "network show"]);
    assert!(said.contains("No longer on trial") && said.contains("192.0.2.20/24"), "{said}");
    machine.was_asked("network box.example.test dhcp  auto ");
    let said = machine.person(&["network ipv6 off", "network show"]);
    assert!(said.contains("On trial     network ipv6 off"), "{said}");
    machine.was_asked("network box.example.test dhcp  off ");
    // A restart in between: what was not kept is not there.
    machine.server.kill();
    machine.server.restart();
    machine.was_asked("network box.example.test dhcp  auto ");
    machine.person(&["network ipv6 off"]);
    assert!(machine.server.console(&["keep"], "").contains("It stays"));
    assert!(!machine.server.console(&["status"], "").contains("on trial"));
    let config = machine.server.console(&["show", "config"], "");
    assert!(config.contains("network ipv6 off\n"), "{config}");
    assert!(machine.server.stop());
}

#[test]
fn a_network_that_has_not_answered_yet_is_still_being_asked() {
    let machine = Machine::start(&time_server(), &[]);
    let program = machine.server.folder.0.join("board");
    let status = || machine.server.console(&["status"], "");
    let changed = |from: &str, to: &str| {
        let text = fs::read_to_string(&program).expect("reads").replace(from, to);
        let new = program.with_extension("new");
        fs::write(&new, text).expect("writes");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("may be run");
        fs::rename(new, &program).expect("is replaced");
    };
    changed("address 192.0.2.20/24", "nothing yet");
    machine.server.console(&["network", "show"], "");
    let said = status();
    assert!(said.contains("! The network is still being asked for an address"), "{said}");
    changed("nothing yet", "address 192.0.2.21/24");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !status().contains("Network      192.0.2.21/24") {
        assert!(Instant::now() < deadline, "{}", status());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!status().contains("being asked"));
}

#[test]
fn what_is_not_kept_goes_back_by_itself() {
    let machine = Machine::start(&time_server(), &["--trial", "2"]);
    machine.was_asked("network  dhcp  auto ");
    let first = machine.server.console(&["tls"], "");
    let said = machine.person(&["network ipv6 off"]);
    assert!(said.contains("goes back in 2 s"), "{said}");
    machine.was_asked("network  dhcp  off ");
    machine.was_asked("network  dhcp  auto ");
    assert!(!machine.server.console(&["status"], "").contains("on trial"));
    let start = Instant::now();
    machine.person(&["tls new"]);
    while machine.server.console(&["tls"], "") != first {
        assert!(start.elapsed() < Duration::from_secs(20), "the old certificate does not come back");
    }
    assert!(start.elapsed() >= Duration::from_secs(2));
    // What is kept stays, also when the time of the trial is over.
    machine.person(&["network ipv6 off", "keep"]);
    machine.was_asked("network  dhcp  off ");
    machine.person(&["network static 192.0.2.7/24"]);
    machine.was_asked("network  192.0.2.7/24  off ");
    machine.was_asked("network  dhcp  off ");
}

#[test]
fn the_clock_is_asked_for_and_the_machine_is_stopped_in_order() {
    let mut machine = Machine::start(&time_server(), &[]);
    assert!(machine.server.logs("and it is set"), "a time server has answered");
    let said = machine.server.console(&["time"], "");
    assert!(said.contains("Last answer") && said.contains("of 127.0.0.1:"), "{said}");
    assert!(machine.server.console(&["network"], "").contains("Addresses    192.0.2.20/24"));
    assert!(machine.server.console(&["status"], "").contains("Network      192.0.2.20/24"));
    assert!(machine.server.console(&["ping", "127.0.0.1"], "").contains("127.0.0.1 answers"));
    assert!(machine.server.console(&["log", "3"], "").lines().count() == 3);
    let support = machine.server.console(&["support"], "");
    for part in ["mailbox add anna@example.test", "interface", "Last answer", "ready: serving"] {
        assert!(support.to_lowercase().contains(&part.to_lowercase()), "{part}: {support}");
    }
    assert!(!support.contains("$argon2id"), "{support}");
    // Right before, so that nothing but the end itself can have said that all is written.
    machine.server.console(&["alias", "add", "info@example.test", "anna@example.test"], "");
    let said = machine.person(&["reboot", "no"]);
    assert!(said.contains("not the machine's name"), "{said}");
    let said = machine.person(&["reboot", "mail.example.test"]);
    assert!(said.contains("put away in order"), "{said}");
    assert!(machine.server.wait(), "the server has become the program");
    machine.was_asked("reboot");
    assert!(is_witnessed(&machine.server.store), "the store was closed in order");
    // Whereas one that is killed has not said that.
    machine.server.restart();
    machine.server.console(&["alias", "remove", "info@example.test"], "");
    machine.server.kill();
    assert!(!is_witnessed(&machine.server.store));
}

#[test]
fn a_certificate_is_pasted_tried_out_and_goes_back() {
    let machine = Machine::start("127.0.0.1:9", &[]);
    let shown = |machine: &Machine| machine.server.console(&["tls", "show"], "");
    let first = shown(&machine);
    assert!(first.contains("Subject      CN=") && first.contains("Good from    2025-01-01"), "{first}");
    let made = machine.person(&["tls new"]);
    assert!(made.contains("goes back in 90 s"), "{made}");
    assert_ne!(shown(&machine), first);
    machine.person(&["undo"]);
    assert_eq!(shown(&machine), first);
    let folder = machine.server.folder.0.clone();
    let (key, own) = (folder.join("key.pem"), folder.join("own.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "90",
    ]);
    openssl.args(["-subj", "/CN=pasted.test", "-addext", "subjectAltName=DNS:pasted.test", "-keyout"]);
    run(openssl.arg(&key).arg("-out").arg(&own), b"");
    let pem = [fs::read_to_string(&own).expect("reads"), fs::read_to_string(&key).expect("reads")].concat();
    let said = machine.server.console(&["tls", "load"], &format!("{pem}end\n"));
    assert!(
        said.contains("CN=pasted.test") && said.contains("It is not good for mail.example.test"),
        "{said}"
    );
    let after = shown(&machine);
    assert!(after.contains("pasted.test"), "{after}");
    let presented = fs::read_to_string(machine.server.certificate()).expect("reads");
    assert_eq!(presented.trim(), fs::read_to_string(&own).expect("reads").trim());
    assert!(machine.server.console(&["history"], "").contains("tls load"));
    machine.server.console(&["undo"], "");
    assert_eq!(shown(&machine), first);
}

#[test]
fn a_machine_that_is_no_box_says_so() {
    let server = Server::start_with(&[], &[]);
    let said = server.console(&["network", "static", "192.0.2.7/24"], "");
    assert!(said.contains("not Postfach's to set"), "{said}");
    assert!(server.console(&["network"], "").contains("not Postfach's to set"));
    assert!(server.console(&["time"], "").contains("not Postfach's to set"));
    for words in [&["reboot"][..], &["ping", "127.0.0.1"], &["time", "sync"]] {
        let mut command = Command::new(POSTFACH);
        let output =
            server::try_run(command.args(["console", "--store"]).arg(&server.store).args(words), b"");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(text(&output.stderr).contains("not"), "{words:?}: {}", text(&output.stderr));
    }
}
