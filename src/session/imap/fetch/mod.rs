//! FETCH (RFC 3501 §6.4.5, §7.4.2; RFC 7162 §3.1.4): a cursor over the view that goes on wherever it was stopped.
//!
//! What the state knows is told for many messages per step, under one hold of the store. Structures and bytes are loaded, one message
//! at a time, in pieces; answers of small messages gather in `out` until there is enough to send.
//!
//! Of a message, items from the state come first, then the others in the order asked for.
//!
//! - `\Seen` is set before anything is told, for all of the set in one record, and FLAGS are in each response that it has changed. If
//!   that cannot be written (a full medium), the messages are told all the same: what is there can be read.
//! - Messages that another session has expunged are told as long as this view has them (RFC 2180 §4.1.1). Should their bytes be gone
//!   (the whole folder went, or segments are short), they are left out and the command ends with `NO [EXPUNGEISSUED]`; in the middle of a
//!   literal the connection is closed.
//! - Damaged messages: items whose bytes or structure cannot be read are left out, the other messages are told, and the command
//!   ends with `NO [CORRUPTION]` and how many they are (RFC 5530 §3). Wrong bytes are never sent; see [`reading`].
//!
//! Invariants: memory is one piece and one structure, however large set and messages are; the store is not held across a load.

mod reading;
mod section;
#[cfg(test)]
pub(super) mod tests;

use super::job::{Job, Progress, Reply, Selected};
use super::sync;
use crate::limits::{OUT_BYTES, SCAN_MESSAGES};
use crate::session::{Context, Input, Io, Load, Next};
use crate::store::{Account, Entry, Folder, LoadError, Message, View};
use crate::types::{FlagChange, Flags, Serial, Uid, UidSet};
use crate::wire::imap::reply::{self, Condition};
use crate::wire::imap::{self, Item};
use crate::wire::mime::Structure;
use crate::wire::structure;
use reading::{Broken, Reading, Response};
use section::{Needs, Source};

/// FETCH and UID FETCH, under way.
pub struct Fetch {
    items: Vec<Item>,
    changed_since: Option<Serial>,
    set: UidSet,
    /// The lowest UID that has not been looked at; None when all have been.
    from: Option<Uid>,
    seen: Seen,
    /// Some item needs something to be loaded.
    loads: bool,
    /// Some item needs the structure.
    structures: bool,
    current: Option<Box<Current>>,
    damaged: u32,
    gone: u32,
}

/// What this FETCH does to `\Seen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It is to be set.
    Due,
    /// It has been set by this change: messages that have changed since are told with their flags.
    Set(Serial),
    /// Nothing has been changed.
    Left,
}

/// The message that is being told, when something of it must be loaded.
struct Current {
    message: Message,
    expunged: bool,
    response: Response,
    /// The next item to tell.
    item: usize,
    structure: Found,
    reading: Option<Reading>,
    /// Something of it could not be read.
    error: Option<LoadError>,
}

enum Found {
    Due,
    Loading,
    Loaded(Structure),
    /// Not needed, or it cannot be read.
    No,
}

impl Fetch {
    /// A FETCH of the messages of the view that are in `set`: the command's set, read as UIDs.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(
        command: imap::Fetch,
        set: UidSet,
        _cx: &mut Context<'_>,
        selected: &mut Selected,
    ) -> Box<dyn Job> {
        let seen = command.sets_seen() && !selected.view.read_only;
        let needs = |needed: fn(Needs) -> bool| command.items.iter().any(|item| needed(Needs::of(item)));
        Box::new(Fetch {
            seen: if seen { Seen::Due } else { Seen::Left },
            loads: needs(|needs| needs != Needs::Nothing),
            structures: needs(Needs::structure),
            items: command.items,
            changed_since: command.changed_since.map(Serial),
            set,
            from: Some(Uid(1)),
            current: None,
            damaged: 0,
            gone: 0,
        })
    }
}

impl Job for Fetch {
    fn step(
        &mut self,
        input: Input<'_>,
        io: &mut Io,
        cx: &mut Context<'_>,
        selected: &mut Selected,
    ) -> Progress {
        if let Input::Loaded(loaded) = input
            && let Err(Broken) = self.loaded(loaded, &mut io.out)
        {
            log::error!(
                "a message is damaged behind its beginning: connection closed; `postfach check` says which"
            );
            return Progress::Next(Next::Close);
        }
        loop {
            if io.out.len() >= OUT_BYTES {
                return Progress::Next(Next::Send);
            }
            let next = match (&mut self.current, self.seen) {
                (Some(_), _) => self.go_on(&mut io.out),
                (None, Seen::Due) => self.set_seen(io, cx, selected),
                (None, _) => self.tell(io, cx, selected),
            };
            match next {
                Step::On => {}
                Step::Next(next) => return Progress::Next(next),
                Step::End => return Progress::Done(self.end(&mut io.out)),
                Step::Gone => return Progress::Done(super::removed()),
            }
        }
    }

    fn amid(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.response.is_begun())
    }
}

/// What one move of the cursor has come to.
enum Step {
    /// There is more to do at once.
    On,
    /// Something must happen first.
    Next(Next),
    /// All has been told.
    End,
    /// The folder is there no more.
    Gone,
}

impl Fetch {
    /// Sets `\Seen`. What others have changed is told before it, so that the view may skip this change.
    fn set_seen(&mut self, io: &mut Io, cx: &mut Context<'_>, selected: &mut Selected) -> Step {
        let mut store = cx.store();
        match sync::tell_selected(selected, false, &mut io.out, &mut store) {
            sync::Told::Whole => {}
            sync::Told::More => return Step::Next(Next::Send),
            sync::Told::Gone => return Step::Gone,
        }
        self.seen = Seen::Left;
        let view = &selected.view;
        let Some(folder) = store.folder(view.account, view.folder) else { return Step::Gone };
        let before = folder.serial;
        if let Some(since) = self.changed_since {
            let changed = Entries { view, folder, set: &self.set, from: Some(Uid(1)) };
            self.set = UidSet::from_ascending(
                changed.filter(|entry| entry.message.serial > since).map(|entry| entry.message.uid),
            );
        }
        if let Ok(set) = store.flags_set(view, &self.set, FlagChange::Add, Flags::SEEN, None)
            && set.serial > before
        {
            self.seen = Seen::Set(set.serial);
            selected.view.skip_flags(set.serial);
        }
        Step::On
    }

    /// Tells messages from the state, until there is enough to send, enough has been looked at, or a message needs more.
    fn tell(&mut self, io: &mut Io, cx: &mut Context<'_>, selected: &mut Selected) -> Step {
        let mut store = cx.store();
        let Some(account) = store.account(selected.view.account) else { return Step::Gone };
        sync::tell_keywords(selected, account, &mut io.out);
        let view = &selected.view;
        let Some(folder) = account.folders.get(&view.folder) else { return Step::Gone };
        for _ in 0..SCAN_MESSAGES {
            let found = self.from.and_then(|from| view.next_in(folder, &self.set, from));
            let Some(entry) = found else { return Step::End };
            self.from = entry.message.uid.0.checked_add(1).map(Uid);
            if self.changed_since.is_some_and(|since| entry.message.serial <= since) {
                continue;
            }
            let mut response = Response::new(entry.seq);
            self.tell_state(&entry, account, selected, &mut response, &mut io.out);
            if self.loads {
                let structure = if self.structures { Found::Due } else { Found::No };
                let Entry { message, expunged, .. } = entry;
                let current =
                    Current { message, expunged, response, item: 0, structure, reading: None, error: None };
                self.current = Some(Box::new(current));
                return Step::On;
            }
            response.end(&mut io.out);
            if io.out.len() >= OUT_BYTES {
                break;
            }
        }
        Step::Next(Next::Send)
    }

    fn tell_state(
        &self,
        entry: &Entry,
        account: &Account,
        selected: &Selected,
        response: &mut Response,
        out: &mut Vec<u8>,
    ) {
        let message = &entry.message;
        let recent = selected.view.is_recent(message.uid);
        let keyword = |index: usize| account.keywords.get(index).map(String::as_str);
        for item in &self.items {
            match item {
                Item::Uid => response.line(out).uid(out, message.uid),
                Item::Flags => response.line(out).flags(out, message.flags, recent, keyword),
                Item::InternalDate => response.line(out).internal_date(out, message.date),
                Item::Rfc822Size => response.line(out).size(out, u64::from(message.size)),
                Item::ModSeq => response.line(out).mod_sequence(out, message.serial),
                _ => {}
            }
        }
        let changed = matches!(self.seen, Seen::Set(serial) if message.serial >= serial && !entry.expunged);
        if changed && !self.items.contains(&Item::Flags) {
            response.line(out).flags(out, message.flags, recent, keyword);
        }
        // RFC 7162 §3.1: once a client has shown that it knows mod-sequences, each change is told with its own.
        if changed && selected.condstore && !self.items.contains(&Item::ModSeq) {
            response.line(out).mod_sequence(out, message.serial);
        }
    }

    /// Goes on with the message that is being told.
    fn go_on(&mut self, out: &mut Vec<u8>) -> Step {
        let Some(current) = &mut self.current else { return Step::On };
        if let Some(load) = current.reading.as_ref().and_then(Reading::load) {
            return Step::Next(load);
        }
        if matches!(current.structure, Found::Due) {
            current.structure = Found::Loading;
            return Step::Next(Next::Load(Load::Structure { body: current.message.body }));
        }
        while let Some(item) = self.items.get(current.item) {
            current.begin(item, out);
            if let Some(load) = current.reading.as_ref().and_then(Reading::load) {
                return Step::Next(load);
            }
            current.item += 1;
            if out.len() >= OUT_BYTES {
                return Step::On;
            }
        }
        if let Some(current) = self.current.take() {
            match current.error {
                None => {}
                Some(LoadError::Missing) if current.expunged => self.gone += 1,
                Some(_) => self.damaged += 1,
            }
            current.response.end(out);
        }
        Step::On
    }

    /// Takes what was loaded for the message that is being told.
    fn loaded(&mut self, loaded: Result<&[u8], LoadError>, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Found::Loading = current.structure {
            let decoded = loaded.and_then(|bytes| Structure::decode(bytes).map_err(|_| LoadError::Damaged));
            current.structure = match decoded {
                Ok(structure) => Found::Loaded(structure),
                Err(error) => {
                    current.error = Some(error);
                    Found::No
                }
            };
            return Ok(());
        }
        let (Some(reading), Some(item)) = (&mut current.reading, self.items.get(current.item)) else {
            return Ok(());
        };
        match reading.loaded(loaded, item, &mut current.response, out)? {
            reading::Progress::More => return Ok(()),
            reading::Progress::Done => {}
            reading::Progress::Left(error) => current.error = Some(error),
        }
        current.reading = None;
        current.item += 1;
        Ok(())
    }

    fn end(&self, out: &mut Vec<u8>) -> Reply {
        if self.damaged > 0 {
            log::error!("FETCH met damaged messages: {}; `postfach check` says which", self.damaged);
            let text =
                format!("Damaged messages, of which what cannot be read is left out: {}", self.damaged);
            reply::untagged(out, Condition::No, None, &text);
            return Reply::no("CORRUPTION", "Some of the messages are damaged");
        }
        if self.gone > 0 {
            return Reply::no("EXPUNGEISSUED", "Some of the messages have been expunged");
        }
        Reply::ok("FETCH completed")
    }
}

impl Current {
    /// Tells an item, or begins to read it. Items of the state have been told.
    fn begin(&mut self, item: &Item, out: &mut Vec<u8>) {
        let structure = match &self.structure {
            Found::Loaded(structure) => Some(structure),
            _ => None,
        };
        let body = self.message.body;
        match (item, structure) {
            (Item::Envelope, Some(known)) => {
                self.response.line(out).named(out, item);
                structure::envelope(known.envelope().unwrap_or(&Default::default()), out);
            }
            (Item::Body | Item::BodyStructure, Some(known)) => {
                self.response.line(out).named(out, item);
                structure::bodystructure(known, *item == Item::BodyStructure, out);
            }
            _ => match section::source(item, self.message.size, structure) {
                None => {}
                Some(Source::Missing) => self.response.nil(item, out),
                Some(Source::Bytes(range)) if range.is_empty() => self.response.empty(item, out),
                Some(Source::Bytes(range)) => self.reading = Some(Reading::bytes(body, range)),
                Some(Source::Fields(fields)) if fields.header.is_empty() => self.response.empty(item, out),
                Some(Source::Fields(fields)) => self.reading = Some(Reading::fields(body, &fields)),
            },
        }
    }
}

/// The messages of a view that are in a set.
struct Entries<'a> {
    view: &'a View,
    folder: &'a Folder,
    set: &'a UidSet,
    from: Option<Uid>,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = self.view.next_in(self.folder, self.set, self.from?)?;
        self.from = entry.message.uid.0.checked_add(1).map(Uid);
        Some(entry)
    }
}
