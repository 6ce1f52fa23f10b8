//! Several IMAP sessions on one folder, held against a client's own book-keeping (RFC 3501 §7.4): whatever the sessions do, each client
//! that applies what it is told has the folder as it is.

mod harness;

use harness::{World, phc, seeded};
use postfach::types::{Class, Position};

/// What a client knows: the flags of each message by number, where it has been told.
#[derive(Default)]
struct Client {
    messages: Vec<Option<String>>,
    /// A command is in progress during which expunges must not be told.
    numbers_in_use: bool,
}

impl Client {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let ["*", number, what, rest @ ..] = &words[..] else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        match *what {
            "EXISTS" => {
                assert!(number >= self.messages.len(), "EXISTS does not shrink: {line}");
                self.messages.resize(number, None);
            }
            "EXPUNGE" => {
                assert!(!self.numbers_in_use, "{line} while numbers are in use");
                self.messages.remove(number - 1);
            }
            "FETCH" => {
                let flags = rest.first().and_then(|rest| rest.split_once("FLAGS (")).expect("FLAGS").1;
                let flags = flags.split_once(')').expect("closed").0.replace("\\Recent", "");
                self.messages[number - 1] = Some(flags.trim().into());
            }
            _ => {}
        }
    }
}

fn world() -> World {
    let mut world = World::new(256 << 20, 7);
    let mut needs = Position::default();
    {
        let mut store = world.shared.access(&mut needs);
        store.domain_add("example.test").expect("a domain");
        store.mailbox_add("anna@example.test", Class::Xl, phc(b"secret")).expect("a mailbox");
    }
    world.now += 1;
    world
}

fn log_in(world: &mut World, name: &str) {
    world.connect(name, "imaps");
    world.send(name, b"l LOGIN anna@example.test secret\r\n");
    take(world, name);
}

fn take(world: &mut World, name: &str) -> Vec<String> {
    let said = std::mem::take(&mut world.connection(name).said);
    String::from_utf8(said).expect("UTF-8").lines().map(String::from).collect()
}

/// Sends a command; the client hears the answers. Returns all lines.
fn command(world: &mut World, client: &mut Client, name: &str, text: &str) -> Vec<String> {
    let first = text.split(' ').next().unwrap_or_default();
    client.numbers_in_use = matches!(first, "STORE" | "FETCH" | "SEARCH");
    world.send(name, format!("t {text}\r\n").as_bytes());
    let lines = take(world, name);
    lines.iter().for_each(|line| client.hear(line));
    client.numbers_in_use = false;
    assert!(lines.last().is_some_and(|last| last.starts_with("t ")), "{text}: {lines:?}");
    lines
}

#[test]
fn clients_keep_step_whatever_happens() {
    let mut world = world();
    let mut random = seeded(11);
    let mut next = move |below: usize| {
        let mut bytes = [0; 2];
        random(&mut bytes);
        usize::from(u16::from_le_bytes(bytes)) % below
    };
    let names = ["1", "2", "3"];
    let mut clients = [Client::default(), Client::default(), Client::default()];
    for (name, client) in names.iter().zip(&mut clients) {
        log_in(&mut world, name);
        command(&mut world, client, name, "SELECT INBOX");
    }
    for step in 0..4000 {
        let who = next(3);
        let (name, client) = (names[who], &mut clients[who]);
        let count = client.messages.len();
        let one = next(count.max(1)) + 1;
        let flag = ["\\Seen", "\\Deleted", "\\Flagged", "$Label"][next(4)];
        let text = match next(12) {
            0..3 => String::from("APPEND INBOX {1+}\r\nx"),
            3..7 if count > 0 => {
                let last = one + next(count + 1 - one);
                format!(
                    "STORE {one}:{last} {}FLAGS{} ({flag})",
                    ["+", "-", ""][next(3)],
                    ["", ".SILENT"][next(2)]
                )
            }
            7 if next(3) == 0 => String::from("EXPUNGE"),
            8 if count > 0 && next(4) == 0 => format!("MOVE {one} Trash"),
            8 if count > 0 => format!("FETCH {one}:* FLAGS"),
            9 => String::from("UID STORE 1:* +FLAGS (\\Answered)"),
            10 if next(8) == 0 => {
                *client = Client::default();
                String::from("SELECT INBOX")
            }
            _ => String::from("NOOP"),
        };
        let silent = text.contains(".SILENT");
        command(&mut world, client, name, &text);
        if silent {
            // The client would reckon the flags by itself; here it asks.
            command(&mut world, client, name, "FETCH 1:* FLAGS");
        }
        if step % 50 == 49 {
            for (name, client) in names.iter().zip(&mut clients) {
                command(&mut world, client, name, "NOOP");
                let known = std::mem::take(&mut client.messages);
                client.messages = vec![None; known.len()];
                if !known.is_empty() {
                    command(&mut world, client, name, "FETCH 1:* FLAGS");
                }
                for (number, (known, told)) in known.iter().zip(&client.messages).enumerate() {
                    assert!(told.is_some(), "{name}: message {} is not there at step {step}", number + 1);
                    assert!(known.is_none() || known == told, "{name}: {known:?} {told:?} at step {step}");
                }
            }
            assert!(clients.iter().all(|client| client.messages.len() == clients[0].messages.len()));
        }
    }
}

#[test]
fn many_messages_are_told_in_portions_and_once() {
    const COUNT: usize = 2500;
    let mut world = world();
    let (mut one, mut two) = (Client::default(), Client::default());
    log_in(&mut world, "1");
    log_in(&mut world, "2");
    command(&mut world, &mut two, "2", "SELECT INBOX");
    world.send("1", "a APPEND INBOX {1+}\r\nx\r\n".repeat(COUNT).as_bytes());
    assert_eq!(
        take(&mut world, "1").iter().filter(|line| line.starts_with("a OK [APPENDUID ")).count(),
        COUNT
    );
    command(&mut world, &mut one, "1", "SELECT INBOX");
    let lines = command(&mut world, &mut one, "1", "STORE 1:* +FLAGS (\\Seen $Label)");
    assert_eq!(
        lines.iter().filter(|line| line.contains("FETCH (FLAGS (\\Recent \\Seen $Label))")).count(),
        COUNT
    );
    let lines = command(&mut world, &mut two, "2", "NOOP");
    assert_eq!(lines.iter().filter(|line| line.contains(" FETCH (FLAGS (")).count(), COUNT);
    assert_eq!(command(&mut world, &mut two, "2", "NOOP").len(), 1);
    for number in (1..=COUNT).step_by(500) {
        command(&mut world, &mut two, "2", &format!("STORE {number} +FLAGS.SILENT (\\Deleted)"));
    }
    world.send("1", b"i IDLE\r\n");
    command(&mut world, &mut two, "2", "EXPUNGE");
    world.send("1", b"DONE\r\n");
    take(&mut world, "1").iter().for_each(|line| one.hear(line));
    assert_eq!((one.messages.len(), two.messages.len()), (COUNT - 5, COUNT - 5));
}

#[test]
fn many_folders_are_listed_in_portions_and_once() {
    let mut world = world();
    let mut client = Client::default();
    log_in(&mut world, "1");
    for number in 0..491 {
        let name = format!("{number:0>3}/{}", "long".repeat(60));
        command(&mut world, &mut client, "1", &format!("CREATE {name}"));
        if number % 2 == 0 {
            command(&mut world, &mut client, "1", &format!("DELETE {number:0>3}"));
        }
    }
    let lines = command(&mut world, &mut client, "1", "LIST \"\" *");
    assert_eq!(lines.len(), 6 + 2 * 491 + 1);
    let lines = command(&mut world, &mut client, "1", "LIST \"\" %");
    assert_eq!(lines.iter().filter(|line| line.contains("\\Noselect")).count(), 246);
}
