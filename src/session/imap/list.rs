//! LIST and LSUB (RFC 3501 §6.3.8 and §6.3.9), with CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154), LIST-EXTENDED (RFC 5258)
//! and LIST-STATUS (RFC 5819).
//!
//! Names come from the folders and from the subscriptions; between them lie the names that have none of both but inferiors that have:
//! `a` when only `a/b` exists. Those are told as \Noselect, or as \NonExistent to a client that speaks RFC 5258.
//! The names are taken from the store once; patterns are matched without it.

use std::collections::BTreeMap;

use super::job::{Progress, Reply};
use super::{Call, Client, Outcome, Task, status};
use crate::limits::OUT_BYTES;
use crate::session::{Context, Input, Io, Next};
use crate::types::{FolderId, SpecialUse};
use crate::wire::imap::{List as Command, Pattern, reply};

pub(super) fn list(call: Call<'_, '_>, command: Command) -> Outcome {
    if !command.extended && command.patterns.iter().all(String::is_empty) {
        reply::list_delimiter(call.out);
        return Outcome::Done(Reply::ok("Delimiter told"));
    }
    let patterns = command.patterns.iter().filter(|pattern| !pattern.is_empty());
    let patterns = patterns.map(|pattern| Pattern::new(&command.reference, pattern)).collect();
    begin(call, patterns, Form::List(command))
}

pub(super) fn lsub(call: Call<'_, '_>, reference: &str, pattern: &str) -> Outcome {
    let levels = pattern.ends_with('%');
    begin(call, vec![Pattern::new(reference, pattern)], Form::Lsub { levels })
}

fn begin(call: Call<'_, '_>, patterns: Vec<Pattern>, form: Form) -> Outcome {
    let account = match call.client.account() {
        Ok(account) => account,
        Err(reply) => return Outcome::Done(reply),
    };
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    if let Some(account) = call.cx.store().account(account) {
        for folder in account.folders.values() {
            names.entry(folder.name.clone()).or_default().folder = Some((folder.id, folder.special));
        }
        for name in &account.subscriptions {
            names.entry(name.clone()).or_default().subscribed = true;
        }
    }
    Outcome::Task(Box::new(List { names: Names(names.into_iter().collect()), patterns, form, next: 0 }))
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    folder: Option<(FolderId, Option<SpecialUse>)>,
    subscribed: bool,
}

/// Names in ascending order. Those below one name lie together.
struct Names(Vec<(String, Name)>);

impl Names {
    /// The names below this one.
    fn below(&self, name: &str) -> impl Iterator<Item = &Name> {
        let prefix = format!("{name}/");
        let start = self.0.partition_point(|(other, _)| *other < prefix);
        self.0[start..].iter().take_while(move |(other, _)| other.starts_with(&prefix)).map(|(_, name)| name)
    }

    /// The superiors of name number `index` that are no names of their own and were not superiors of the one before.
    fn gaps(&self, index: usize) -> impl Iterator<Item = &str> {
        let name = self.0.get(index).map_or("", |(name, _)| name.as_str());
        let before =
            index.checked_sub(1).and_then(|before| self.0.get(before)).map_or("", |(name, _)| name.as_str());
        name.match_indices('/').filter_map(move |(end, _)| {
            let superior = &name[..end];
            let known = self.0.binary_search_by(|(other, _)| other.as_str().cmp(superior)).is_ok();
            (!known && !before.starts_with(&name[..=end])).then_some(superior)
        })
    }
}

enum Form {
    List(Command),
    /// `levels`: the pattern ends in `%`, so superiors of subscribed names are told too.
    Lsub {
        levels: bool,
    },
}

/// A LIST or LSUB that is being told.
struct List {
    names: Names,
    patterns: Vec<Pattern>,
    form: Form,
    next: usize,
}

impl Task for List {
    fn step(&mut self, _: Input<'_>, io: &mut Io, cx: &mut Context<'_>, client: &mut Client) -> Progress {
        while let Some((name, known)) = self.names.0.get(self.next) {
            if io.out.len() >= OUT_BYTES {
                return Progress::Next(Next::Send);
            }
            for superior in self.names.gaps(self.next) {
                self.tell(superior, Name::default(), &mut io.out);
            }
            if self.tell(name, *known, &mut io.out)
                && let (Form::List(command), Some((id, _))) = (&self.form, known.folder)
                && !command.returns.status.is_empty()
                && (known.subscribed || !command.select.subscribed)
            {
                status::tell(client, id, name, &command.returns.status, &mut io.out, cx);
            }
            self.next += 1;
        }
        Progress::Done(Reply::ok("Listed"))
    }
}

impl List {
    /// Tells one name if it is wanted; says whether it was.
    fn tell(&self, name: &str, known: Name, out: &mut Vec<u8>) -> bool {
        if !self.patterns.iter().any(|pattern| pattern.matches(name)) {
            return false;
        }
        let told = match &self.form {
            Form::Lsub { levels } => self.lsub(name, known, *levels),
            Form::List(command) => self.list(command, name, known),
        };
        let Some((attributes, childinfo)) = told else { return false };
        let what = if matches!(self.form, Form::Lsub { .. }) { "LSUB" } else { "LIST" };
        reply::list(out, what, &attributes, name, childinfo);
        true
    }

    /// RFC 3501 §6.3.9: with `foo/bar` subscribed and `foo` not, `%` means `foo`, which is told as \Noselect.
    fn lsub(&self, name: &str, known: Name, levels: bool) -> Option<(Vec<&'static str>, bool)> {
        if known.subscribed {
            return Some((Vec::new(), false));
        }
        let superior = levels && self.names.below(name).any(|name| name.subscribed);
        superior.then(|| (vec!["\\Noselect"], false))
    }

    fn list(&self, command: &Command, name: &str, known: Name) -> Option<(Vec<&'static str>, bool)> {
        let (select, returns) = (&command.select, &command.returns);
        let children = self.names.below(name).any(|name| name.folder.is_some());
        let childinfo = select.recursive_match && self.names.below(name).any(|name| name.subscribed);
        let special = known.folder.and_then(|(_, special)| special);
        let wanted = if select.subscribed {
            known.subscribed || childinfo
        } else {
            known.folder.is_some() || children
        };
        if !wanted || (select.special_use && special.is_none()) {
            return None;
        }
        let mut attributes = Vec::new();
        if known.folder.is_none() {
            attributes.push(if command.extended { "\\NonExistent" } else { "\\Noselect" });
        }
        if known.subscribed && (select.subscribed || returns.subscribed) {
            attributes.push("\\Subscribed");
        }
        attributes.push(if children { "\\HasChildren" } else { "\\HasNoChildren" });
        attributes.extend(special.map(SpecialUse::attribute));
        Some((attributes, childinfo))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        let folder =
            |n: usize| Name { folder: Some((FolderId(n as u32), None)), subscribed: n.is_multiple_of(2) };
        let names: BTreeMap<_, _> =
            list.iter().enumerate().map(|(n, name)| (String::from(*name), folder(n))).collect();
        Names(names.into_iter().collect())
    }

    #[test]
    fn gaps_are_found_once() {
        let names = names(&["INBOX", "a/b/c", "a/b/d", "a/e", "a!", "f", "f/g"]);
        let all: Vec<_> = (0..names.0.len()).flat_map(|index| names.gaps(index)).collect();
        assert_eq!(all, ["a", "a/b"]);
    }

    #[test]
    fn below_means_whole_levels() {
        let names = names(&["a", "a!", "a/b", "a/b/c", "ab"]);
        assert_eq!(names.below("a").count(), 2);
        assert_eq!(names.below("ab").count(), 0);
        assert_eq!(names.below("a/b").count(), 1);
    }
}
