//! SEARCH (RFC 3501 §6.4.4, RFC 7162 §3.1.5): goes through the view message by message and tells each match at once.
//!
//! What the state decides costs no load; else the structure is loaded, and of the message what the undecided keys still need. The
//! answer is one line, `* SEARCH …`, also when nothing matches; long ones are sent in portions. No expunge is told while it runs, so its
//! sequence numbers are those of the view.
//!
//! Deliberate: texts are looked for as letters, whatever the case, in decoded headers and text parts, also when CHARSET is left out.
//! Messages that are damaged, or that another session has expunged (RFC 2180 §4.3), match nothing.
//!
//! Invariants: memory is one piece, one structure and one header field; a step looks at no more than it can in about a millisecond.

mod criteria;
mod passage;
#[cfg(test)]
mod tests;

use super::job::{Job, Progress, Reply, ReplyCode, Selected};
use crate::limits::{OUT_BYTES, PIECE_BYTES, SCAN_MESSAGES};
use crate::session::{Context, Input, Io, Load, Next};
use crate::store::{Account, Folder, LoadError};
use crate::types::{Flags, Serial, Uid, UidSet};
use crate::wire::imap::{self, By, SequenceSet, reply};
use crate::wire::mime::Structure;
use criteria::{Facts, Leaf, Names, Node};
use passage::Passage;

/// The charsets of search texts that are taken.
const CHARSETS: &[&str] = &["US-ASCII", "UTF-8"];
/// Conditions that one step looks at while it holds the store.
const SCAN_CONDITIONS: usize = 20 * SCAN_MESSAGES;
/// Bytes of a message that pass by many leaves in one step, at least.
const PASSAGE_BYTES_MIN: usize = 1024;

/// SEARCH and UID SEARCH, under way.
pub struct Search {
    by: By,
    node: Node,
    leaves: Vec<Leaf>,
    within: UidSet,
    /// The lowest UID that has not been looked at; None when all have been.
    from: Option<Uid>,
    /// Messages that a step looks at.
    scan: usize,
    tells_mod_sequence: bool,
    /// The highest mod-sequence of what has been found.
    highest: Option<Serial>,
    begun: bool,
    current: Option<Box<Current>>,
    damaged: u32,
}

/// The message of which something must be loaded.
struct Current {
    seq: u32,
    facts: Facts,
    structure: Option<Structure>,
    passage: Option<Passage>,
}

/// The folder, while keys are read.
struct Opened<'a> {
    account: &'a Account,
    folder: &'a Folder,
    selected: &'a Selected,
}

impl Names for Opened<'_> {
    fn keyword(&self, name: &str) -> Option<Flags> {
        let known = self.account.keywords.iter().position(|known| known.eq_ignore_ascii_case(name));
        known.map(Flags::keyword)
    }

    fn sequence(&self, set: &SequenceSet) -> UidSet {
        let view = &self.selected.view;
        let count = view.count(self.folder);
        let ranges = set.resolve(count).into_iter().map(|(first, last)| (first, last.min(count)));
        let ranges: Vec<_> = ranges.filter(|(first, last)| first <= last).collect();
        view.uids_of_seqs(self.folder, &ranges).unwrap_or_default()
    }

    fn uids(&self, set: &SequenceSet) -> UidSet {
        self.selected.resolve(self.folder, set, By::Uid).unwrap_or_default()
    }
}

impl Search {
    /// A SEARCH of the view.
    ///
    /// # Errors
    /// BADCHARSET.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(
        command: imap::Search,
        cx: &mut Context<'_>,
        selected: &mut Selected,
    ) -> Result<Box<dyn Job>, Reply> {
        let charset = command.charset.as_deref().unwrap_or("US-ASCII");
        if !CHARSETS.iter().any(|known| known.eq_ignore_ascii_case(charset)) {
            let code = ReplyCode::BadCharset(CHARSETS);
            return Err(Reply::no("", "The text is in a charset that is not known here").with(code));
        }
        let mut leaves = Vec::new();
        let mut store = cx.store();
        let account = store.account(selected.view.account).ok_or_else(super::removed)?;
        let folder = account.folders.get(&selected.view.folder).ok_or_else(super::removed)?;
        let node = criteria::compile(&command.key, &Opened { account, folder, selected }, &mut leaves);
        let all = UidSet(vec![(Uid(1), Uid(u32::MAX))]);
        Ok(Box::new(Search {
            by: command.by,
            within: node.within().cloned().unwrap_or(all),
            scan: (SCAN_CONDITIONS / node.count()).clamp(1, SCAN_MESSAGES),
            node,
            leaves,
            from: Some(Uid(1)),
            tells_mod_sequence: command.tells_mod_sequence(),
            highest: None,
            begun: false,
            current: None,
            damaged: 0,
        }))
    }
}

impl Job for Search {
    fn step(
        &mut self,
        input: Input<'_>,
        io: &mut Io,
        cx: &mut Context<'_>,
        selected: &mut Selected,
    ) -> Progress {
        if !self.begun {
            reply::search_begin(&mut io.out);
            self.begun = true;
        }
        if let Input::Loaded(loaded) = input {
            match loaded {
                Ok(bytes) => self.loaded(bytes, &mut io.out),
                Err(error) => self.unreadable(error),
            }
        }
        loop {
            if io.out.len() >= OUT_BYTES {
                return Progress::Next(Next::Send);
            }
            if let Some(load) = self.load() {
                return Progress::Next(load);
            }
            match self.scan(io, cx, selected) {
                Scanned::Undecided => {}
                Scanned::Enough => return Progress::Next(Next::Send),
                Scanned::All => return Progress::Done(self.end(&mut io.out)),
                Scanned::Gone => {
                    reply::search_end(&mut io.out, None);
                    return Progress::Done(super::removed());
                }
            }
        }
    }

    fn amid(&self) -> bool {
        self.begun
    }
}

/// Why a scan of the state has stopped.
enum Scanned {
    /// At a message that needs more.
    Undecided,
    /// So that others get their turn.
    Enough,
    /// At the end.
    All,
    /// The folder is there no more.
    Gone,
}

impl Search {
    /// Looks at messages as the state has them.
    fn scan(&mut self, io: &mut Io, cx: &mut Context<'_>, selected: &Selected) -> Scanned {
        let view = &selected.view;
        let mut store = cx.store();
        let Some(folder) = store.folder(view.account, view.folder) else { return Scanned::Gone };
        for _ in 0..self.scan {
            let found = self.from.and_then(|from| view.next_in(folder, &self.within, from));
            let Some(entry) = found else { return Scanned::All };
            self.from = entry.message.uid.0.checked_add(1).map(Uid);
            if entry.expunged {
                continue;
            }
            let facts = Facts { message: entry.message, recent: view.is_recent(entry.message.uid) };
            match self.node.holds(&facts, &[]) {
                Some(true) => self.found(entry.seq, &facts, &mut io.out),
                Some(false) => {}
                None => {
                    self.leaves.iter_mut().for_each(Leaf::reset);
                    let current = Current { seq: entry.seq, facts, structure: None, passage: None };
                    self.current = Some(Box::new(current));
                    return Scanned::Undecided;
                }
            }
        }
        Scanned::Enough
    }

    fn found(&mut self, seq: u32, facts: &Facts, out: &mut Vec<u8>) {
        let number = if self.by == By::Uid { facts.message.uid.0 } else { seq };
        reply::search_number(out, number);
        if self.tells_mod_sequence {
            self.highest = self.highest.max(Some(facts.message.serial));
        }
    }

    /// What the message that is looked at still needs.
    fn load(&self) -> Option<Next> {
        let current = self.current.as_ref()?;
        let body = current.facts.message.body;
        Some(Next::Load(match &current.passage {
            None => Load::Structure { body },
            Some(passage) => Load::Body { body, offset: passage.offset()? },
        }))
    }

    /// Takes what was loaded: the structure first, then pieces.
    fn loaded(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(current) = &mut self.current else { return };
        match (&current.structure, &mut current.passage) {
            (Some(structure), Some(passage)) => {
                if bytes.is_empty() {
                    return self.unreadable(LoadError::Missing);
                }
                let wanted = self.leaves.iter().filter(|leaf| leaf.found.is_none()).count().max(1);
                let take = (PIECE_BYTES / wanted).max(PASSAGE_BYTES_MIN);
                passage.push(bytes.get(..take).unwrap_or(bytes), structure, &mut self.leaves);
                if passage.offset().is_none() {
                    self.leaves.iter_mut().for_each(Leaf::over);
                }
            }
            _ => {
                let Ok(structure) = Structure::decode(bytes) else {
                    return self.unreadable(LoadError::Damaged);
                };
                self.leaves.iter_mut().for_each(|leaf| leaf.see_structure(&structure));
                current.structure = Some(structure);
            }
        }
        self.conclude(out);
    }

    /// Tells the message, or passes over it, or goes on with what is still undecided.
    fn conclude(&mut self, out: &mut Vec<u8>) {
        let Some(mut current) = self.current.take() else { return };
        if current.passage.is_none()
            && let Some(structure) = &current.structure
        {
            current.passage = Some(self.passage(structure, &current.facts));
        }
        match self.node.holds(&current.facts, &self.leaves) {
            Some(true) => self.found(current.seq, &current.facts, out),
            Some(false) => {}
            None => self.current = Some(current),
        }
    }

    /// The way of the message past the leaves on which the answer depends; of the others none will be asked.
    fn passage(&mut self, structure: &Structure, facts: &Facts) -> Passage {
        let mut wanted = vec![false; self.leaves.len()];
        self.node.undecided(facts, &self.leaves, &mut |index| {
            if let Some(wanted) = wanted.get_mut(index) {
                *wanted = true;
            }
        });
        let (mut header, mut body) = (false, false);
        for (leaf, wanted) in self.leaves.iter_mut().zip(wanted) {
            if wanted {
                header |= leaf.wants_header();
                body |= leaf.wants_body();
            } else {
                leaf.over();
            }
        }
        let passage = Passage::new(structure, header, body);
        // A message without a header, or without a text, has nothing to pass by.
        if passage.past_header() {
            self.leaves.iter_mut().for_each(Leaf::header_over);
        }
        if passage.offset().is_none() {
            self.leaves.iter_mut().for_each(Leaf::over);
        }
        passage
    }

    /// The message cannot be read: it does not match.
    fn unreadable(&mut self, error: LoadError) {
        self.current = None;
        self.damaged += u32::from(error == LoadError::Damaged);
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Reply {
        reply::search_end(out, self.highest);
        if self.damaged > 0 {
            log::error!("SEARCH met damaged messages: {}; `postfach check` says which", self.damaged);
            return Reply::ok("SEARCH completed, but some of the messages are damaged");
        }
        Reply::ok("SEARCH completed")
    }
}
