//! Runs every dialogue below `tests/transcripts/`. Their language is described in `tests/transcripts/README.md`.
//!
//! Without sockets and without sleeps: a dialogue is the session's own, byte for byte, and `cut` and `after` are exact.

mod harness;

use std::path::{Path, PathBuf};

use harness::{World, phc};
use postfach::device::{Operation, Outcome, Random};
use postfach::types::{AccountId, BodyId, Class, Position};

#[test]
fn every_dialogue() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let only = std::env::var("POSTFACH_TRANSCRIPT").unwrap_or_default();
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files.retain(|file| file.to_string_lossy().contains(&only));
    assert!(!files.is_empty(), "there are transcripts");
    let mut failed = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file).display().to_string();
        let text = std::fs::read_to_string(file).expect("readable");
        let outcome = std::panic::catch_unwind(|| Script::default().run(&text));
        let why = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            Err(panic) => match panic.downcast_ref::<String>() {
                Some(text) => format!("panic: {text}"),
                None => format!("panic: {}", panic.downcast_ref::<&str>().unwrap_or(&"?")),
            },
        };
        eprintln!("{name}: {why}\n");
        failed.push(name);
    }
    eprintln!("{} transcripts, {} failed", files.len(), failed.len());
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "txt") {
            files.push(path);
        }
    }
}

/// A running transcript.
#[derive(Default)]
struct Script {
    size: Option<u64>,
    world: Option<World>,
}

impl Script {
    fn run(&mut self, text: &str) -> Result<(), String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut index = 0;
        while index < lines.len() {
            let line = lines[index].trim();
            index += 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // `S: ...` alone needs the expectation after it.
            let following = lines[index..]
                .iter()
                .map(|line| line.trim())
                .find(|line| !line.is_empty() && !line.starts_with('#'))
                .unwrap_or_default();
            self.line(line, following).map_err(|why| format!("line {index}: {line}\n    {why}"))?;
        }
        Ok(())
    }

    fn world(&mut self) -> &mut World {
        let size = self.size.unwrap_or(128 << 20);
        self.world.get_or_insert_with(|| World::new(size, 1))
    }

    fn line(&mut self, line: &str, following: &str) -> Result<(), String> {
        if let Some((name, what, rest)) = dialogue(line) {
            let name = self.named(name)?;
            return self.dialogue(&name, what, rest, following);
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (word, &words[..]) {
            ("store", [size]) => self.size = Some(bytes_of(size)),
            ("domain", [domain]) => self.access(|store| store.domain_add(domain).map_err(debug))?,
            ("mailbox", [address, password]) => self.mailbox(address, password, Class::S)?,
            ("mailbox", [address, password, class]) => {
                self.mailbox(address, password, Class::parse(class).ok_or("no such class")?)?;
            }
            ("alias", [alias, target]) => {
                self.access(|store| store.alias_add(alias, target).map_err(debug))?;
            }
            ("mail", [address, ..]) => {
                let message = message(&rest[address.len()..])?;
                self.deliver(address, &message)?;
            }
            ("append", [address, folder, file, flags @ ..]) => {
                let message = message(file)?;
                self.append(address, folder, &message, &flags.join(" "))?;
            }
            ("open", [name, protocol]) => self.world().connect(name, protocol),
            ("open", [name, protocol, "as", address, password]) => {
                self.world().connect(name, protocol);
                self.log_in(name, protocol, address, password)?;
            }
            ("after", [time]) => {
                let seconds = seconds(time)?;
                self.world().after(seconds);
            }
            ("cut", []) => self.world().cut(Outcome::Lost),
            ("full", []) => self.fill(),
            ("failing", ["once"]) => {
                let device = &self.world().device;
                device.fail_at(Operation::Flush, device.flushes(), false);
            }
            ("failing", []) => {
                let device = &self.world().device;
                device.fail_at(Operation::Write, device.writes(), true);
                device.fail_at(Operation::Flush, device.flushes(), true);
            }
            ("failing", ["flushes"]) => {
                let device = &self.world().device;
                device.fail_at(Operation::Flush, device.flushes(), true);
            }
            ("failing", ["reads"]) => {
                let device = &self.world().device;
                device.fail_at(Operation::Read, device.reads(), true);
            }
            ("heal", []) => self.world().device.heal(),
            _ => return Err("not understood".into()),
        }
        Ok(())
    }

    /// The session that a dialogue line means.
    fn named(&mut self, name: Option<&str>) -> Result<String, String> {
        if let Some(name) = name {
            return Ok(name.into());
        }
        let mut names = self.world().connections.keys();
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name.clone()),
            _ => Err("which session?".into()),
        }
    }

    fn dialogue(&mut self, name: &str, what: &str, rest: &str, following: &str) -> Result<(), String> {
        let world = self.world();
        if !world.connections.contains_key(name) {
            return Err(format!("no session {name}"));
        }
        match what {
            "C:" => world.send(name, &[unescape(rest)?, b"\r\n".to_vec()].concat()),
            "C+" => world.send(name, &unescape(rest)?),
            "C*" => {
                let (count, byte) = rest.split_once(' ').ok_or("C* COUNT BYTE")?;
                let count = count.parse::<usize>().map_err(debug)?;
                world.send(name, &unescape(byte)?.repeat(count));
            }
            "C%" => {
                let mut noise = vec![0; rest.parse::<usize>().map_err(debug)?];
                Random(1).fill(&mut noise);
                // Letters, digits and signs: nothing that ends a line or a message.
                noise.iter_mut().for_each(|byte| *byte = b'!' + *byte % 94);
                noise.iter_mut().skip(68).step_by(70).for_each(|byte| *byte = b'\r');
                noise.iter_mut().skip(69).step_by(70).for_each(|byte| *byte = b'\n');
                noise.iter_mut().step_by(70).for_each(|byte| *byte = b'x');
                world.send(name, &noise);
            }
            "S:" if rest == "..." => {
                let wanted = dialogue(following);
                let next = wanted.filter(|(_, what, rest)| *what == "S:" && *rest != "...");
                let said = &mut world.connection(name).said;
                match next {
                    Some((_, _, pattern)) => loop {
                        let line = first_line(said).ok_or_else(|| format!("no line matches {pattern}"))?;
                        if matches(pattern, &line) {
                            break;
                        }
                        said.drain(..line.chars().count() + 2);
                    },
                    None => said.clear(),
                }
            }
            "S:" => {
                let said = &mut world.connection(name).said;
                let line =
                    first_line(said).ok_or_else(|| format!("nothing more was said but {:?}", show(said)))?;
                if !matches(rest, &line) {
                    return Err(format!("said: {}", show(said)));
                }
                said.drain(..line.chars().count() + 2);
            }
            "S+" => {
                let wanted = unescape(rest)?;
                let said = &mut world.connection(name).said;
                if !said.starts_with(&wanted) {
                    return Err(format!("said: {}", show(said)));
                }
                said.drain(..wanted.len());
            }
            "quiet" | "closed" => {
                let said = &world.connection(name).said;
                if !said.is_empty() {
                    return Err(format!("said: {}", show(said)));
                }
                if what == "closed" && !world.closed(name) {
                    return Err("it is still open".into());
                }
                if what == "quiet" && world.closed(name) {
                    return Err("it is closed".into());
                }
            }
            "eof" => world.eof(name),
            _ => return Err("not understood".into()),
        }
        Ok(())
    }

    fn access<T>(
        &mut self,
        act: impl FnOnce(&mut postfach::store::Access<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let world = self.world();
        let mut needs = Position::default();
        let result = act(&mut world.shared.access(&mut needs))?;
        world.shared.lock().commit().map_err(debug)?;
        Ok(result)
    }

    fn mailbox(&mut self, address: &str, password: &str, class: Class) -> Result<(), String> {
        let domain = address.split_once('@').ok_or("an address")?.1;
        self.access(|store| {
            if !store.settings().domains.iter().any(|known| known == domain) {
                store.domain_add(domain).map_err(debug)?;
            }
            store.mailbox_add(address, class, phc(password.as_bytes())).map(drop).map_err(debug)
        })
    }

    /// Delivers as a peer would: through LMTP.
    fn deliver(&mut self, address: &str, message: &[u8]) -> Result<(), String> {
        let world = self.world();
        world.connect("(mail)", "lmtp");
        let stuffed = String::from_utf8_lossy(message).into_owned();
        assert!(!stuffed.starts_with('.') && !stuffed.contains("\r\n."), "needs no dot-stuffing");
        let head = format!("LHLO test\r\nMAIL FROM:<>\r\nRCPT TO:<{address}>\r\nDATA\r\n");
        world.send("(mail)", head.as_bytes());
        world.send("(mail)", message);
        world.send("(mail)", if message.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" });
        let said = show(&world.connection("(mail)").said);
        world.connections.remove("(mail)");
        if said.contains("250 2.1.5 ") || said.lines().last().is_some_and(|last| last.starts_with("250 2")) {
            Ok(())
        } else {
            Err(format!("not delivered: {said}"))
        }
    }

    fn append(&mut self, address: &str, folder: &str, message: &[u8], flags: &str) -> Result<(), String> {
        let password = {
            let world = self.world();
            let store = world.shared.lock();
            let settings = &store.state().settings;
            let account: AccountId = *settings.addresses.get(address).ok_or("no such mailbox")?;
            let (phc, _) = &settings.passwords[&account];
            phc.trim_start_matches("$test$").to_string()
        };
        let world = self.world();
        world.connect("(append)", "imaps");
        let head =
            format!("a LOGIN {address} {password}\r\nb APPEND {folder} {flags} {{{}+}}\r\n", message.len());
        world.send("(append)", head.replace("  ", " ").as_bytes());
        world.send("(append)", message);
        world.send("(append)", b"\r\n");
        let said = show(&world.connection("(append)").said);
        world.connections.remove("(append)");
        if said.contains("b OK") { Ok(()) } else { Err(format!("not appended: {said}")) }
    }

    fn log_in(&mut self, name: &str, protocol: &str, address: &str, password: &str) -> Result<(), String> {
        let (line, good) = match protocol {
            "imaps" => (format!("login LOGIN {address} {password}\r\n"), "login OK"),
            "pop3s" => (format!("USER {address}\r\nPASS {password}\r\n"), "+OK"),
            "submissions" => {
                let plain =
                    postfach::wire::line::base64_encode(format!("\0{address}\0{password}").as_bytes());
                (format!("EHLO client.example.test\r\nAUTH PLAIN {plain}\r\n"), "235")
            }
            other => return Err(format!("{other} has no login")),
        };
        let world = self.world();
        world.send(name, line.as_bytes());
        let said = std::mem::take(&mut world.connection(name).said);
        let said = show(&said);
        if said.lines().last().is_some_and(|last| last.starts_with(good)) {
            Ok(())
        } else {
            Err(format!("not logged in: {said}"))
        }
    }

    /// Fills the medium with a message that nobody gets.
    fn fill(&mut self) {
        let mut store = self.world().shared.lock();
        let body = BodyId(u64::MAX >> 1);
        for piece in 0.. {
            if store.append_piece(body, piece, vec![0; 64 << 10]).is_err() {
                break;
            }
            let _ = store.commit();
        }
    }
}

/// Takes `[NAME] WHAT REST` apart.
fn dialogue(line: &str) -> Option<(Option<&str>, &str, &str)> {
    const WHATS: [&str; 8] = ["C:", "C+", "C*", "C%", "S:", "S+", "quiet", "closed"];
    let is = |word: &str| WHATS.contains(&word) || word == "eof";
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if is(first) {
        return Some((None, first, rest));
    }
    let (second, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    is(second).then_some((Some(first), second, rest))
}

fn first_line(said: &[u8]) -> Option<String> {
    let end = said.windows(2).position(|pair| pair == b"\r\n")?;
    Some(said[..end].iter().map(|byte| char::from(*byte)).collect())
}

/// `...` matches any text. The line is latin-1 of the bytes, so the pattern is compared by its bytes too.
fn matches(pattern: &str, line: &str) -> bool {
    let pattern: String = pattern.bytes().map(char::from).collect();
    let mut parts = pattern.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'0') => out.push(0),
            Some(b'x') => {
                let digits = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
                let digits = std::str::from_utf8(&digits).map_err(debug)?;
                out.push(u8::from_str_radix(digits, 16).map_err(debug)?);
            }
            // \Seen and the like stay as they are; a double backslash is one.
            Some(b'\\') => out.push(b'\\'),
            Some(other) => out.extend_from_slice(&[b'\\', other]),
            None => out.push(b'\\'),
        }
    }
    Ok(out)
}

fn message(what: &str) -> Result<Vec<u8>, String> {
    let what = what.trim();
    if let Some(text) = what.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return unescape(text);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(what);
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn bytes_of(size: &str) -> u64 {
    let mebibytes = size.trim_end_matches('M').parse::<u64>().expect("a size like 16M");
    mebibytes << 20
}

fn seconds(time: &str) -> Result<i64, String> {
    let (number, unit) = time.split_at(time.len() - 1);
    let number = number.parse::<i64>().map_err(debug)?;
    match unit {
        "s" => Ok(number),
        "m" => Ok(number * 60),
        "h" => Ok(number * 3600),
        _ => Err("a time like 30m".into()),
    }
}

fn show(said: &[u8]) -> String {
    String::from_utf8_lossy(said).into_owned()
}

fn debug(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
