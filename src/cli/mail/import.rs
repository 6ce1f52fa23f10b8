//! `postfach import`: a Maildir or mbox into a mailbox.
//!
//! A message is there already when one of the same bytes is in the same folder, as often as it is there: so the same import again brings
//! nothing, one that was interrupted is completed, and what is twice in the source is twice afterwards. Flags of what is there stay.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use postfach::serve::Door;
use postfach::types::Time;

use super::super::say;
use super::client::{Appended, Body, Client, No};
use super::digest::{Keys, Known};
use super::marks::Marks;
use super::progress::Progress;
use super::source::{self, Message};
use super::{Fallible, Format, at, shown};

/// Messages under way at a time: the server makes them durable together.
const WAITING_MAX: usize = 32;
/// Bytes of messages under way at a time; a larger message goes alone, and only after the server has agreed.
const WAITING_BYTES: u64 = 256 * 1024;

/// What is to be imported.
#[derive(Debug)]
pub struct Wanted {
    /// Which store.
    pub store: PathBuf,
    /// What it is; None: whatever it looks like.
    pub format: Option<Format>,
    /// Whose mailbox.
    pub address: String,
    /// From where.
    pub path: PathBuf,
    /// The folder that INBOX becomes, and that the others come below.
    pub into: Option<String>,
    /// For programs.
    pub json: bool,
}

/// The mailbox that is filled, and how that is told.
pub struct Target<'a> {
    /// Which store.
    pub store: &'a Path,
    /// Whose mailbox.
    pub address: &'a str,
    /// What has been done: the first word that is said.
    pub verb: &'static str,
    /// For programs.
    pub json: bool,
}

/// A folder to fill.
pub struct Filling<'a> {
    /// Its name in the mailbox.
    pub folder: String,
    /// What it gets, read when its turn comes.
    pub messages: Box<dyn Fn() -> Fallible<Vec<Message>> + 'a>,
}

/// What has been done.
#[derive(Default)]
struct Sum {
    folders: u64,
    imported: u64,
    bytes: u64,
    /// Were there already.
    already: u64,
    /// Were refused, could not be read, or their folder could not be made.
    refused: u64,
    /// Had no byte.
    empty: u64,
}

/// Does it. True: everything is in the mailbox.
///
/// # Errors
/// Why it has not been finished.
pub fn import(wanted: &Wanted) -> Fallible<bool> {
    // A link that the owner names is followed; none below it is.
    let path = wanted.path.canonicalize().map_err(at(wanted.path.display()))?;
    let format = wanted.format.map_or_else(|| source::guess(&path), Ok)?;
    let folders = source::folders(&path, format)?;
    if folders.is_empty() {
        let what = match wanted.format {
            Some(Format::Maildir) => "no Maildir",
            Some(Format::Mbox) => "no mbox",
            None => "neither a Maildir nor an mbox",
        };
        return Err(format!("there is {what} in {}", shown(&wanted.path.display().to_string())));
    }
    let subscriptions = if path.is_dir() { source::subscriptions(&path)? } else { None };
    // Below another folder, none of these names is one.
    let subscriptions = subscriptions.map(|names| if wanted.into.is_none() { names } else { Vec::new() });
    let single = !path.is_dir();
    let filling = |folder| {
        let source::Folder { name, .. } = &folder;
        Filling {
            folder: target(name, wanted.into.as_deref(), single),
            messages: Box::new(move || folder.messages(format)),
        }
    };
    let fillings: Vec<Filling<'_>> = folders.into_iter().map(filling).collect();
    let target =
        Target { store: &wanted.store, address: &wanted.address, verb: "Imported", json: wanted.json };
    fill(&target, &fillings, subscriptions.as_deref())
}

/// Fills a mailbox. `subscriptions`: None: to every folder that is made. True: everything is in the mailbox.
///
/// # Errors
/// Why it has not been finished.
pub fn fill(
    target: &Target<'_>,
    fillings: &[Filling<'_>],
    subscriptions: Option<&[String]>,
) -> Fallible<bool> {
    let door = Door::open(target.store).map_err(|error| error.to_string())?;
    let mut client = Client::open(&door, target.address)?;
    let existing = client.folders()?;
    let mut mailbox = Mailbox {
        door: &door,
        target,
        client,
        existing,
        keys: Keys::default(),
        pending: VecDeque::new(),
        pending_bytes: 0,
        sum: Sum::default(),
        progress: Progress::new(),
    };
    let done = fillings.iter().try_for_each(|filling| mailbox.folder(filling, subscriptions.is_none()));
    let done = done.and_then(|()| mailbox.subscribe(subscriptions.unwrap_or_default()));
    say(&mailbox.sum.told(target, done.is_ok()));
    done.map(|()| mailbox.sum.refused == 0)
}

/// Where a folder of the source goes. A single file goes where it is told to.
pub fn target(name: &str, into: Option<&str>, single: bool) -> String {
    match into {
        None => String::from(name),
        Some(into) if single || name == "INBOX" => String::from(into),
        Some(into) => format!("{into}/{name}"),
    }
}

impl Sum {
    fn told(&self, target: &Target<'_>, done: bool) -> String {
        let Sum { folders, imported, bytes, already, refused, empty } = self;
        if target.json {
            return format!(
                "{{\"folders\":{folders},\"imported\":{imported},\"bytes\":{bytes},\"already_there\":{already},\
                 \"refused\":{refused},\"empty\":{empty},\"complete\":{done}}}\n"
            );
        }
        let mb = *bytes as f64 / 1e6;
        let mut text = format!(
            "{} {imported} messages ({mb:.1} MB) of {folders} folders to {}; {already} were there already",
            target.verb,
            shown(target.address)
        );
        for (count, what) in [(refused, "refused"), (empty, "empty and left out")] {
            if *count > 0 {
                text.push_str(&format!("; {what}: {count}"));
            }
        }
        text + ".\n"
    }
}

/// The mailbox that is filled.
struct Mailbox<'a> {
    door: &'a Door,
    target: &'a Target<'a>,
    client: Client,
    /// Its folders.
    existing: Vec<String>,
    keys: Keys,
    /// Messages that the server has not answered yet, oldest first.
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    sum: Sum,
    progress: Progress,
}

/// A message under way.
struct Pending {
    /// Which of its folder.
    index: usize,
    size: u64,
    marks: Marks,
}

impl Mailbox<'_> {
    fn folder(&mut self, filling: &Filling<'_>, subscribes: bool) -> Fallible<()> {
        let target = filling.folder.as_str();
        let messages = match (filling.messages)() {
            Ok(messages) => messages,
            Err(why) => {
                self.progress.say(&why);
                self.sum.refused += 1;
                return Ok(());
            }
        };
        self.progress.begin(target, messages.len() as u64);
        if let Err(no) = self.make(target, subscribes)? {
            self.progress.say(&format!("folder {target} cannot be made: {}", no.text));
            self.sum.refused += messages.len().max(1) as u64;
            return Ok(());
        }
        self.client.examine(target)?;
        let mut known = Known::new(self.client.messages()?.into_iter().map(|found| (found.size, found.uid)));
        for index in 0..messages.len() {
            self.message(&messages, index, target, &mut known)?;
        }
        self.settle(0, 0, &messages, target)?;
        self.progress.end();
        self.sum.folders += 1;
        Ok(())
    }

    /// Makes the folder if it is not there.
    fn make(&mut self, target: &str, subscribes: bool) -> Fallible<Result<(), No>> {
        let there =
            |known: &String| known == target || (known == "INBOX" && target.eq_ignore_ascii_case("INBOX"));
        if self.existing.iter().any(there) {
            return Ok(Ok(()));
        }
        match self.client.create(target)? {
            Err(no) if no.code != "ALREADYEXISTS" => return Ok(Err(no)),
            _ => {}
        }
        self.existing.push(String::from(target));
        if subscribes {
            // Most mail programs show only what is subscribed to. If it cannot be, the mail is there all the same.
            let _shown = self.client.subscribe(target)?;
        }
        Ok(Ok(()))
    }

    fn subscribe(&mut self, names: &[String]) -> Fallible<()> {
        for name in names {
            if let Err(no) = self.client.subscribe(name)? {
                self.progress.say(&format!("no subscription to {name}: {}", no.text));
            }
        }
        Ok(())
    }

    fn message(&mut self, all: &[Message], index: usize, target: &str, known: &mut Known) -> Fallible<()> {
        let Some(message) = all.get(index) else { return Ok(()) };
        let mut digest = self.keys.digest();
        let read = message.read(&mut |bytes| {
            digest.push(bytes);
            Ok(())
        });
        let marks = match read {
            Ok(marks) => marks,
            Err(why) => {
                self.refuse(&why, "cannot be read");
                return Ok(());
            }
        };
        let key = digest.key();
        let size = key.0;
        if size == 0 {
            self.sum.empty += 1;
            self.progress.message(0);
            return Ok(());
        }
        let unread = known.unread(size);
        if !unread.is_empty() {
            self.settle(0, 0, all, target)?;
        }
        for uid in unread {
            self.learn(uid, target, known)?;
        }
        if known.take(&key) {
            self.sum.already += 1;
            self.progress.message(0);
            return Ok(());
        }
        let patient = size > WAITING_BYTES / 4;
        let bytes_max = if patient { 0 } else { WAITING_BYTES };
        self.settle(if patient { 0 } else { WAITING_MAX }, bytes_max, all, target)?;
        self.append(message, index, size, marks, target, patient)
    }

    /// Reads a message that is there.
    fn learn(&mut self, uid: u32, target: &str, known: &mut Known) -> Fallible<()> {
        let mut digest = self.keys.digest();
        let body = self.client.body(uid, &mut |bytes| {
            digest.push(bytes);
            Ok(())
        })?;
        match body {
            Body::Whole => known.add(digest.key()),
            Body::Gone => {}
            Body::Unreadable => {
                self.client = Client::open(self.door, self.target.address)?;
                self.client.examine(target)?;
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        message: &Message,
        index: usize,
        size: u64,
        marks: Marks,
        target: &str,
        patient: bool,
    ) -> Fallible<()> {
        let date = message.date.unwrap_or_else(now);
        let appended = Appended { folder: target, marks: &marks, date, size };
        if let Err(no) = self.client.append(&appended, patient)? {
            return self.answered(Err(no), Pending { index, size, marks }, message, target);
        }
        let mut left = size;
        message.read(&mut |bytes| {
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| changed(message))?;
            self.client.send(bytes)
        })?;
        if left > 0 {
            return Err(changed(message));
        }
        self.client.sent();
        self.pending.push_back(Pending { index, size, marks });
        self.pending_bytes += size;
        Ok(())
    }

    /// Waits for answers until no more than this is under way.
    fn settle(&mut self, count: usize, bytes: u64, all: &[Message], target: &str) -> Fallible<()> {
        while self.client.waiting() > count || (self.pending_bytes > bytes && self.client.waiting() > 0) {
            let answer = self.client.appended()?;
            let Some(pending) = self.pending.pop_front() else { continue };
            self.pending_bytes -= pending.size;
            if let Some(message) = all.get(pending.index) {
                self.answered(answer, pending, message, target)?;
            }
        }
        Ok(())
    }

    fn answered(
        &mut self,
        answer: Result<(), No>,
        pending: Pending,
        message: &Message,
        target: &str,
    ) -> Fallible<()> {
        let Err(no) = answer else {
            self.sum.imported += 1;
            self.sum.bytes += pending.size;
            self.progress.message(pending.size);
            return Ok(());
        };
        match no.code.as_str() {
            "OVERQUOTA" => {
                self.drain();
                Err(self.full(target))
            }
            "UNAVAILABLE" | "TRYCREATE" | "SERVERBUG" => Err(format!(
                "{}: {}; run the same command again: it goes on where it stopped",
                target, no.text
            )),
            "LIMIT" if !pending.marks.keywords.is_empty() => {
                let name = message.name();
                self.progress.say(&format!(
                    "{name}: the mailbox has no room for more keywords: it comes without its own"
                ));
                let marks = Marks { keywords: Vec::new(), ..pending.marks };
                self.append(message, pending.index, pending.size, marks, target, false)
            }
            _ => {
                self.refuse(&message.name(), &no.text);
                Ok(())
            }
        }
    }

    /// What is under way already may still have been taken.
    fn drain(&mut self) {
        while self.client.waiting() > 0 {
            let (answer, pending) = (self.client.appended(), self.pending.pop_front());
            match (answer, pending) {
                (Ok(Ok(())), Some(pending)) => {
                    self.sum.imported += 1;
                    self.sum.bytes += pending.size;
                }
                (Ok(_), _) => {}
                (Err(_), _) => return,
            }
        }
    }

    fn full(&self, target: &str) -> String {
        let (store, address) = (self.target.store.display(), self.target.address);
        format!(
            "the mailbox is full, at folder {target}: give it a larger class with `postfach console --store {store} mailbox size \
             {address} CLASS`, or expunge something; then run the same command again: it goes on where it stopped"
        )
    }

    fn refuse(&mut self, name: &str, why: &str) {
        self.sum.refused += 1;
        self.progress.say(&format!("{name}: {why}"));
        self.progress.message(0);
    }
}

fn changed(message: &Message) -> String {
    format!("{} has changed while it was read; run the same command again", message.name())
}

fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_where_they_are_told_to() {
        assert_eq!(target("Sent", None, false), "Sent");
        assert_eq!(target("INBOX", Some("Old"), false), "Old");
        assert_eq!(target("Sent/2020", Some("Old"), false), "Old/Sent/2020");
        assert_eq!(target("Sent", Some("Old"), true), "Old");
    }
}
