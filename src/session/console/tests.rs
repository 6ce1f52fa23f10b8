//! The session, step by step: the conversation on the socket with its marks, and what each manner does when a command fails.

use std::sync::Arc;

mod german;
mod names;
mod net;
mod two;

use names::ANNA;

use super::*;
use crate::device::{Device, Memory};
use crate::journal::{Format, format};
use crate::session::{Job, JobAnswer, Peer, SecretAnswer, SecretJob};
use crate::store::{Shared, Store};
use crate::types::{Position, Time};

struct World {
    shared: Arc<Shared>,
    session: Console,
    io: Io,
    closed: bool,
    /// What serve does.
    serve: fn(Job) -> JobAnswer,
}

fn world(mode: Mode) -> World {
    let device = Memory::new(64 << 20);
    format(&device, &Format { segment_bytes: None, force: false }, &mut |bytes| bytes.fill(7)).unwrap();
    let device: Arc<dyn Device> = Arc::new(device);
    let (store, _) = Store::open(device, &mut |bytes| bytes.fill(9)).unwrap();
    beside(mode, Arc::new(Shared::new(store)))
}

/// A console more on the same store.
fn beside(mode: Mode, shared: Arc<Shared>) -> World {
    let session = Console::new(mode, String::from("AA:BB"));
    let (io, serve) = (Io::default(), |_| JobAnswer::Nobody);
    let mut world = World { shared, session, io, closed: false, serve };
    world.drive(Input::Start);
    world
}

impl World {
    /// Steps until the session waits; what it has said. Hashing is faked.
    fn drive(&mut self, input: Input<'_>) -> String {
        let mut next = self.step(input);
        loop {
            let input = match next {
                Next::Secret(SecretJob::Make { password }) => {
                    let phc = format!("made:{}", String::from_utf8_lossy(&password));
                    Input::Secret(SecretAnswer::Made { phc })
                }
                Next::Secret(SecretJob::Generate) => Input::Secret(SecretAnswer::Generated {
                    password: String::from("generated"),
                    phc: String::from("made:generated"),
                }),
                Next::Secret(SecretJob::Check { password, phc }) => {
                    let wanted = format!("made:{}", String::from_utf8_lossy(&password));
                    Input::Secret(SecretAnswer::Checked(phc == Some(wanted)))
                }
                Next::Job(job) => Input::Job((self.serve)(job)),
                Next::Send => Input::Sent,
                Next::Close => {
                    self.closed = true;
                    break;
                }
                _ => break,
            };
            next = self.step(input);
        }
        String::from_utf8(std::mem::take(&mut self.io.out)).unwrap()
    }

    fn step(&mut self, input: Input<'_>) -> Next {
        let mut needs = Position::default();
        let mut cx = Context {
            shared: &self.shared,
            needs: &mut needs,
            now: Time(0),
            peer: Peer { address: None, tls: false },
            host: "mail.example.test",
            port_base: 0,
        };
        self.session.step(input, &mut self.io, &mut cx)
    }

    fn send(&mut self, text: &str) -> String {
        self.io.inbox.extend(text.as_bytes());
        self.drive(Input::Bytes)
    }
}

const LINE: char = WANT_LINE as char;
const SECRET: char = WANT_SECRET as char;
const FAIL: char = FAILED as char;
const END: char = DONE as char;

#[test]
fn a_command_is_asked_for_carried_out_and_done() {
    let mut world = world(Mode::Socket);
    assert_eq!(world.send("command\n"), format!("{LINE}"));
    let said = world.send("domain add example.test\n");
    assert!(said.starts_with("Mail for") && said.ends_with(&format!("\n{END}")), "{said:?}");
    assert!(world.closed);
}

#[test]
fn a_list_may_come_from_an_editor_that_marks_its_files() {
    let mut world = world(Mode::Script);
    let said = world.send("\u{feff}domain add example.test\r\n");
    assert!(said.starts_with("Mail for example.test"), "{said}");
}

#[test]
fn a_command_asks_a_person_twice_and_a_script_once() {
    let mut world = world(Mode::Socket);
    assert_eq!(world.send("command ask\nadmin passwd\n"), format!("{LINE}New password: {SECRET}"));
    assert_eq!(world.send("secret\n"), format!("The same again: {SECRET}"));
    assert_eq!(
        world.send("Secret\n"),
        format!("{FAIL}admin passwd: the two passwords are not the same: nothing has been changed\n")
    );
    assert!(world.closed);

    world.session = Console::new(Mode::Socket, String::new());
    world.drive(Input::Start);
    assert_eq!(world.send("command\nadmin passwd\n"), format!("{LINE}{SECRET}"));
    assert_eq!(world.send(" with space \r\n"), format!("The administrator's password is set.\n{END}"));
    assert_eq!(world.shared.lock().state().settings.admin.as_deref(), Some("made: with space "));
}

#[test]
fn a_script_ends_at_the_first_failing_command() {
    let mut world = world(Mode::Socket);
    let said = world.send("script\ndomain add a.test\nfrob\ndomain add b.test\n");
    assert!(
        said.ends_with(&format!("{LINE}{FAIL}line 2: there is no command `frob`; `help` lists them all\n")),
        "{said:?}"
    );
    assert!(world.closed);
    assert_eq!(world.shared.lock().state().settings.domains, ["a.test"]);
}

#[test]
fn a_script_may_lack_its_last_line_end() {
    let mut world = world(Mode::Socket);
    world.send("script\ndomain add a.test");
    let said = world.drive(Input::Eof);
    assert!(said.contains("Mail for a.test") && said.ends_with(END), "{said:?}");
    assert!(world.closed);
}

#[test]
fn a_password_without_its_line_fails() {
    let mut world = world(Mode::Socket);
    world.send("terminal\nadmin passwd\n");
    let said = world.drive(Input::Eof);
    assert_eq!(
        said,
        format!("{FAIL}admin passwd: there is no password on standard input: nothing has been changed\n")
    );
    assert!(world.closed);
}

#[test]
fn a_person_goes_on_after_a_failure_and_leaves() {
    let mut world = world(Mode::Socket);
    let said = world.send("terminal\n");
    assert!(
        said.contains("`help` lists the commands") && said.ends_with(&format!("postfach> {LINE}")),
        "{said:?}"
    );
    let said = world.send("frob\n");
    assert_eq!(said, format!("{FAIL}there is no command `frob`; `help` lists them all\npostfach> {LINE}"));
    assert!(world.send("admin passwd generate\n").contains("\nPassword: generated\n"));
    assert_eq!(world.send("quit\n"), format!("{END}"));
    assert!(world.closed);
}

#[test]
fn the_first_line_must_be_one_of_six() {
    let mut world = world(Mode::Socket);
    assert!(world.send("GET / HTTP/1.0\r\n").starts_with(FAIL));
    assert!(world.closed);
}

#[test]
fn marks_cannot_be_forged() {
    let mut world = world(Mode::Socket);
    let said = world.send("terminal\n\u{4}\u{15}\u{5}\u{9b}\u{202e}x\n");
    let line = said.lines().last().unwrap_or_default();
    assert_eq!(said.matches([END, FAIL]).count(), 1, "{said:?}");
    assert!(said.contains(r"`\u{4}\u{15}\u{5}\u{9b}\u{202e}x`"), "{line:?}");
}

#[test]
fn what_show_config_prints_can_be_pasted_back() {
    let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";
    let config = format!(
        "admin passwd hash {phc}\nnetwork hostname mail.example.test\nnetwork static 192.0.2.7/24 192.0.2.1 192.0.2.1 2001:db8::1\nkeep\n\
         network ipv6 static 2001:db8::7/64 fe80::1\nkeep\n\
         time server ntp.example.test:1123 192.0.2.3\ndomain add example.test\n\
         mailbox add anna@example.test size S hash {phc}\nalias add info@example.test anna@example.test\n"
    );
    let mut first = world(Mode::Script);
    first.send(&config);
    let shown = first.send("show config\n");
    assert_eq!(shown.replace("\r\n", "\n"), config);
    let mut second = world(Mode::Script);
    second.send(&shown);
    assert_eq!(second.send("show config\n"), shown);
    let mut third = world(Mode::Script);
    assert!(third.send(&format!("load\n{config}end\n")).contains("8 settings are made."));
    assert_eq!(third.send("show config\n"), shown);
}

#[test]
fn every_network_can_be_pasted_back() {
    for (commands, shown) in [
        (
            "network static 192.0.2.7/24 192.0.2.1\nnetwork dns",
            "network static 192.0.2.7/24 192.0.2.1 -\nkeep\n",
        ),
        ("network static 192.0.2.7/24", "network static 192.0.2.7/24\nkeep\n"),
        ("network static 192.0.2.7/24 - 192.0.2.3", "network static 192.0.2.7/24 - 192.0.2.3\nkeep\n"),
        (
            "network dns 192.0.2.3 ::1\nnetwork ipv6 off",
            "network dns 192.0.2.3 ::1\nkeep\nnetwork ipv6 off\nkeep\n",
        ),
    ] {
        let mut first = world(Mode::Script);
        first.send(&format!("{commands}\n"));
        assert_eq!(first.send("show config\n").replace("\r\n", "\n"), shown);
        for (manner, end) in [("script", ""), ("terminal\nload", "end\n"), ("whole", "exit\n")] {
            let mut second = world(Mode::Socket);
            second.send(&format!("{manner}\n{shown}{end}"));
            let network = |world: &World| world.shared.lock().state().settings.network.clone();
            assert_eq!(network(&second), network(&first), "{shown}");
        }
    }
}

#[test]
fn every_command_of_the_table_answers_without_its_arguments() {
    for row in &table::TABLE {
        let mut world = world(Mode::Socket);
        let said = world.send(&format!("command\n{}\n", row.words.join(" ")));
        let text = said == format!("{LINE}{LINE}");
        assert!(world.closed || said.ends_with(SECRET) || text, "{}: {said:?}", row.usage());
    }
}

#[test]
fn what_has_not_been_tried_out_is_not_called_well() {
    for (machine, why) in [(None, "The server is not running: "), (Some(true), "This machine's network ")] {
        let [mut world, _] = german::pair(machine, |_| JobAnswer::Nobody);
        world.send(&format!("terminal\nadmin passwd generate\ndomain add x.test\n{ANNA}\n"));
        let said = world.send("check\n");
        assert!(said.starts_with(why) && said.contains("not been tried out."), "{said}");
        assert!(!said.contains("All is well."), "{said}");
    }
    let [mut world, _] = german::pair(None, |_| JobAnswer::Nobody);
    world.send(&format!("terminal\nlanguage de\nadmin passwd generate\ndomain add x.test\n{ANNA}\n"));
    let said = world.send("check\n");
    assert!(
        said.starts_with("Der Server läuft nicht: ") && said.contains("Sonst ist alles in Ordnung."),
        "{said}"
    );
}

#[test]
fn tabs_in_what_is_pasted_keep_words_apart() {
    let mut world = world(Mode::Socket);
    world.send("typed 80\n");
    let said = world.send("load\rtime\tserver a.test\tb.test\rend\r");
    assert!(said.contains("1 settings are made."), "{said}");
    assert_eq!(world.shared.lock().state().settings.time_servers, ["a.test", "b.test"]);
    // An answer's are trimmed, as in a file.
    let said = world.send("setup\r\t\rx.test\t\r\tanna\r\t\r\t\r");
    assert!(said.contains("The mailbox anna@x.test is there"), "{said}");
}

#[test]
fn who_leaves_in_the_middle_is_told_that_nothing_was_done() {
    for (commands, why, german) in [
        ("load\rdomain add x.test\r", "there is no line `end`", "eine Zeile `end` fehlt"),
        ("setup\r", "not all questions were answered", "nicht alle Fragen wurden beantwortet"),
        ("admin passwd\r", "there is no password", "das Passwort fehlt"),
    ] {
        for (language, why, nothing) in
            [("", why, "nothing has been changed"), ("language de\r", german, "Nichts wurde geändert")]
        {
            let mut world = world(Mode::Socket);
            world.send(&format!("typed 80\n{language}{commands}"));
            let said = world.send("\u{4}");
            assert!(said.contains(&format!("\r\n{why}: {nothing}\r\n")), "{said}");
            assert!(world.closed);
        }
    }
}

#[test]
fn the_serial_line_is_silent_when_nobody_is_there() {
    let mut world = world(Mode::Serial);
    world.send("\u{0}\u{1b}[A");
    assert_eq!(world.drive(Input::Timeout), "");
    assert!(!world.closed);
    world.drive(Input::Eof);
    assert!(world.closed);
}

#[test]
fn a_farewell_fails_the_command() {
    let mut out = Vec::new();
    Console::new(Mode::Socket, String::new()).farewell(Farewell::Shutdown, &mut out);
    assert_eq!(out, format!("{FAIL}the server is stopping\n").as_bytes());
}
