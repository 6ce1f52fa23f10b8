//! An IMAP client for one server, our own: it knows what that one says (RFC 3501 §7), and streams messages.
//!
//! It refuses to go on after anything that it does not understand. A response is a line; only a message's body has a literal.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use postfach::serve::Door;
use postfach::types::Time;
use postfach::wire::imap::Cursor;
use postfach::wire::imap::date::{date_time, print_date_time};
use postfach::wire::imap::utf7;

use super::marks::Marks;
use super::{CHUNK_BYTES, Fallible};

/// A line of the server, bytes: FLAGS of 56 keywords is the longest.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A connection to one mailbox.
pub struct Client {
    reader: BufReader<UnixStream>,
    /// What is to be sent next.
    unsent: Vec<u8>,
    tags: u64,
    /// Tags of APPENDs that have not been answered, oldest first.
    waiting: VecDeque<u64>,
}

/// A message of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: u32,
    /// Its flags.
    pub marks: Marks,
    /// INTERNALDATE.
    pub date: Time,
    /// RFC822.SIZE, bytes.
    pub size: u64,
}

/// What a folder is like when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// UIDVALIDITY.
    pub validity: u32,
    uid_next: u64,
    mod_sequence: u64,
}

impl State {
    /// The same text as long as nothing changes in the folder.
    pub fn text(&self) -> String {
        format!("{}.{}.{}", self.validity, self.uid_next, self.mod_sequence)
    }
}

/// A refusal: NO with its code, which may be empty, and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No {
    /// The code's first word.
    pub code: String,
    /// For people.
    pub text: String,
}

/// What a server says to a command.
pub type Answer = Result<(), No>;

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It has been handed over whole.
    Whole,
    /// The message is not there any more.
    Gone,
    /// The store cannot read it; the connection is lost, or not.
    Unreadable,
}

/// What is there to append.
pub struct Appended<'a> {
    /// Where to.
    pub folder: &'a str,
    /// Its flags.
    pub marks: &'a Marks,
    /// INTERNALDATE.
    pub date: Time,
    /// Bytes that will come.
    pub size: u64,
}

fn gone() -> String {
    String::from("the server has gone; run the same command again: it goes on where it stopped")
}

/// What the server says of a mailbox that it does not have.
const NONEXISTENT: &str = "[NONEXISTENT] There is no mailbox ";

fn no_mailbox(why: &str) -> String {
    let address = why.strip_prefix(NONEXISTENT).unwrap_or_default();
    format!(
        "there is no mailbox {address}: `mailbox list` at the console shows all, `mailbox add {address}` makes it"
    )
}

impl Client {
    /// Connects to the mailbox of this address.
    pub fn open(door: &Door, address: &str) -> Fallible<Client> {
        let stream = door.imap(address).map_err(|_| gone())?;
        let reader = BufReader::with_capacity(CHUNK_BYTES, stream);
        let mut client = Client { reader, unsent: Vec::new(), tags: 0, waiting: VecDeque::new() };
        let greeting = client.line()?;
        match greeting.starts_with("* PREAUTH ") {
            true => Ok(client),
            false => Err(format!("the server refuses: {greeting}")),
        }
    }

    /// A line without its end.
    fn line(&mut self) -> Fallible<String> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|_| gone())?;
        if line.strip_suffix(b"\r\n").is_none() {
            return Err(gone());
        }
        line.truncate(line.len() - 2);
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.strip_prefix("* BYE ") {
            Some(why) if why.starts_with(NONEXISTENT) => Err(no_mailbox(why)),
            Some(why) => Err(format!("the server has ended it: {why}; run the same command again")),
            None => Ok(line),
        }
    }

    fn flush(&mut self) -> Fallible<()> {
        let sent = self.reader.get_mut().write_all(&self.unsent);
        self.unsent.clear();
        // Why it has gone, it may have said: then reading tells.
        sent.or_else(|_| self.line().map(drop))
    }

    /// Begins a command; its tag.
    fn begin(&mut self, words: &str) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.unsent.extend_from_slice(format!("{tag} {words}\r\n").as_bytes());
        tag
    }

    /// Says a command; hands over each line before its answer.
    fn ask(&mut self, words: &str, mut untagged: impl FnMut(&str) -> Fallible<()>) -> Fallible<Answer> {
        let tag = self.begin(words);
        self.flush()?;
        loop {
            let line = self.line()?;
            match answer(&line, &tag)? {
                Some(answer) => return Ok(answer),
                None => untagged(&line)?,
            }
        }
    }

    fn must(&mut self, words: &str, untagged: impl FnMut(&str) -> Fallible<()>) -> Fallible<()> {
        self.ask(words, untagged)?.map_err(|no| format!("the server refuses: {}", no.text))
    }

    /// Every folder that can be opened.
    pub fn folders(&mut self) -> Fallible<Vec<String>> {
        self.names("LIST \"\" \"*\"", "* LIST ")
    }

    /// Every subscription.
    pub fn subscriptions(&mut self) -> Fallible<Vec<String>> {
        self.names("LSUB \"\" \"*\"", "* LSUB ")
    }

    fn names(&mut self, words: &str, start: &str) -> Fallible<Vec<String>> {
        let mut names = Vec::new();
        self.must(words, |line| {
            if let Some((attributes, rest)) = line.strip_prefix(start).and_then(|line| line.split_once(") "))
                && !attributes.to_ascii_lowercase().contains("\\noselect")
            {
                let mut cursor = Cursor::new(rest.as_bytes());
                let name = cursor.string().and_then(|_| cursor.space()).and_then(|()| cursor.mailbox());
                names.push(name.map_err(|_| strange(line))?);
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// Opens a folder to read it.
    pub fn examine(&mut self, folder: &str) -> Fallible<State> {
        let mut state = State::default();
        self.must(&format!("EXAMINE {}", quoted(folder)), |line| {
            let code = line.strip_prefix("* OK [").and_then(|line| line.split(']').next());
            let number = |text: &str| text.parse().map_err(|_| strange(line));
            match code.and_then(|code| code.split_once(' ')) {
                Some(("UIDVALIDITY", text)) => state.validity = text.parse().map_err(|_| strange(line))?,
                Some(("UIDNEXT", text)) => state.uid_next = number(text)?,
                Some(("HIGHESTMODSEQ", text)) => state.mod_sequence = number(text)?,
                _ => {}
            }
            Ok(())
        })?;
        if state.validity > 0 { Ok(state) } else { Err(strange("no UIDVALIDITY")) }
    }

    /// Every message of the open folder.
    pub fn messages(&mut self) -> Fallible<Vec<Listed>> {
        let mut messages = Vec::new();
        self.must("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", |line| {
            // Also what others have changed meanwhile is told so; only a whole answer has a size.
            if line.contains(" FETCH (UID ") && line.contains(" RFC822.SIZE ") {
                messages.push(listed(line).ok_or_else(|| strange(line))?);
            }
            Ok(())
        })?;
        Ok(messages)
    }

    /// Reads a message of the open folder piece by piece.
    ///
    /// # Errors
    /// The sink's. After `Unreadable` the connection may be lost: open another one.
    pub fn body(&mut self, uid: u32, sink: &mut dyn FnMut(&[u8]) -> Fallible<()>) -> Fallible<Body> {
        let tag = self.begin(&format!("UID FETCH {uid} BODY.PEEK[]"));
        self.flush()?;
        let mut body = Body::Gone;
        loop {
            // A store that cannot go on in the middle of a message can only hang up.
            let line = match self.line() {
                Err(_) if body == Body::Unreadable => return Ok(body),
                line => line?,
            };
            if let Some(answer) = answer(&line, &tag)? {
                return Ok(if answer.is_err() { Body::Unreadable } else { body });
            }
            let literal = line.strip_suffix('}').and_then(|line| line.rsplit_once('{'));
            let size = literal.filter(|_| line.contains(" FETCH (")).and_then(|(_, size)| size.parse().ok());
            if let Some(size) = size {
                body = if self.literal(size, sink)? { Body::Whole } else { Body::Unreadable };
            }
        }
    }

    /// False: the server has hung up in the middle.
    fn literal(&mut self, size: u64, sink: &mut dyn FnMut(&[u8]) -> Fallible<()>) -> Fallible<bool> {
        let mut left = size;
        while left > 0 {
            let bytes = self.reader.fill_buf().unwrap_or_default();
            let now = bytes.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(bytes);
            let count = now.len();
            if count == 0 {
                return Ok(false);
            }
            sink(now)?;
            self.reader.consume(count);
            left -= count as u64;
        }
        Ok(true)
    }

    /// Makes a folder.
    pub fn create(&mut self, folder: &str) -> Fallible<Answer> {
        self.ask(&format!("CREATE {}", quoted(folder)), |_| Ok(()))
    }

    /// Subscribes to a name.
    pub fn subscribe(&mut self, folder: &str) -> Fallible<Answer> {
        self.ask(&format!("SUBSCRIBE {}", quoted(folder)), |_| Ok(()))
    }

    /// Begins an APPEND. With `patient` the server is asked before the message is sent; its refusal ends the command. Else the answers are
    /// those of [`Client::appended`], in order.
    pub fn append(&mut self, message: &Appended<'_>, patient: bool) -> Fallible<Answer> {
        let mut date = Vec::new();
        print_date_time(&mut date, message.date);
        let (folder, flags, size) = (quoted(message.folder), message.marks.to_imap(), message.size);
        let plus = if patient { "" } else { "+" };
        let words = format!("APPEND {folder} {flags} {} {{{size}{plus}}}", String::from_utf8_lossy(&date));
        let tag = self.begin(&words);
        if patient {
            self.flush()?;
            loop {
                let line = self.line()?;
                if line.starts_with('+') {
                    break;
                }
                if let Some(Err(no)) = answer(&line, &tag)? {
                    return Ok(Err(no));
                }
            }
        }
        self.waiting.push_back(self.tags);
        Ok(Ok(()))
    }

    /// More of the message that is being appended.
    pub fn send(&mut self, bytes: &[u8]) -> Fallible<()> {
        self.unsent.extend_from_slice(bytes);
        if self.unsent.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// The message that is being appended is whole.
    pub fn sent(&mut self) {
        self.unsent.extend_from_slice(b"\r\n");
    }

    /// How many APPENDs have not been answered.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The answer to the oldest APPEND that has none yet.
    pub fn appended(&mut self) -> Fallible<Answer> {
        let Some(tag) = self.waiting.pop_front() else { return Ok(Ok(())) };
        let tag = format!("t{tag}");
        self.flush()?;
        loop {
            let line = self.line()?;
            if let Some(answer) = answer(&line, &tag)? {
                return Ok(answer);
            }
        }
    }
}

/// The line that ends a command. BAD is a defect, here or there.
fn answer(line: &str, tag: &str) -> Fallible<Option<Answer>> {
    let Some(rest) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) else { return Ok(None) };
    match rest.split_once(' ') {
        Some(("OK", _)) => Ok(Some(Ok(()))),
        Some(("NO", text)) => {
            let coded = text.strip_prefix('[').and_then(|text| text.split_once("] "));
            let (code, text) = coded.unwrap_or(("", text));
            let code = code.split(' ').next().unwrap_or_default();
            Ok(Some(Err(No { code: String::from(code), text: String::from(text) })))
        }
        _ => Err(strange(line)),
    }
}

fn strange(line: &str) -> String {
    format!("the server says what was not expected: {line}")
}

/// `* 1 FETCH (UID 7 FLAGS (\Seen) INTERNALDATE "…" RFC822.SIZE 4286)`
fn listed(line: &str) -> Option<Listed> {
    let (_, rest) = line.split_once(" FETCH (UID ")?;
    let (uid, rest) = rest.split_once(" FLAGS (")?;
    let (flags, rest) = rest.split_once(") INTERNALDATE ")?;
    let mut cursor = Cursor::new(rest.as_bytes());
    let date = date_time(&mut cursor).ok()?;
    let size = std::str::from_utf8(cursor.rest()).ok()?.strip_prefix(" RFC822.SIZE ")?.strip_suffix(')')?;
    Some(Listed { uid: uid.parse().ok()?, marks: Marks::from_imap(flags), date, size: size.parse().ok()? })
}

/// `quoted`: a folder's name in modified UTF-7, which has no control characters.
fn quoted(name: &str) -> String {
    let mut encoded = Vec::new();
    utf7::encode(&mut encoded, name);
    let text = String::from_utf8_lossy(&encoded).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_understood() {
        let line = "* 3 FETCH (UID 7 FLAGS (\\Seen work) INTERNALDATE \" 1-Jan-1970 00:00:05 +0000\" RFC822.SIZE 42)";
        let wanted = Listed { uid: 7, marks: Marks::from_imap("\\Seen work"), date: Time(5), size: 42 };
        assert_eq!(listed(line), Some(wanted));
        assert_eq!(listed("* 3 FETCH (UID 7 FLAGS (\\Seen))"), None);
        assert_eq!(answer("t1 OK [APPENDUID 1 2] Appended", "t1"), Ok(Some(Ok(()))));
        let no = answer("t1 NO [OVERQUOTA] The mailbox is full", "t1").unwrap().unwrap().unwrap_err();
        assert_eq!((no.code.as_str(), no.text.as_str()), ("OVERQUOTA", "The mailbox is full"));
        assert_eq!(answer("t10 OK x", "t1"), Ok(None));
        assert!(answer("t1 BAD x", "t1").is_err());
        assert_eq!(quoted("a\"b\\/ä"), "\"a\\\"b\\\\/&AOQ-\"");
    }
}
