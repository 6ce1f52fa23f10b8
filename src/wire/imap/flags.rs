//! Flags as clients write them, and STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).

use super::By;
use super::cursor::{Bad, Cursor};
use super::set::SequenceSet;
use crate::limits;
use crate::types::{FlagChange, Flags};

/// System flags, and the names of keywords as they were written. Which keyword of the account a name is, the store knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagList<'a> {
    /// The system flags.
    pub system: Flags,
    /// Keywords, each once (case aside), at most `limits::KEYWORDS_MAX`.
    pub keywords: Vec<&'a str>,
}

impl<'a> FlagList<'a> {
    /// `flag-list = "(" [flag *(SP flag)] ")"`
    pub fn parse(cursor: &mut Cursor<'a>) -> Result<FlagList<'a>, Bad> {
        let mut flags = FlagList::default();
        cursor.list(usize::MAX, |cursor| flags.flag(cursor))?;
        Ok(flags)
    }

    /// `flag-list / (flag *(SP flag))`
    fn parse_bare(cursor: &mut Cursor<'a>) -> Result<FlagList<'a>, Bad> {
        if cursor.peek() == Some(b'(') {
            return FlagList::parse(cursor);
        }
        let mut flags = FlagList::default();
        loop {
            flags.flag(cursor)?;
            if !cursor.take(b' ') {
                return Ok(flags);
            }
        }
    }

    /// `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension`
    ///
    /// A `flag-extension` is refused: there is none that this server could keep, and \Recent cannot be set.
    fn flag(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Bad> {
        if cursor.take(b'\\') {
            self.system = self.system.with(system_flag(cursor)?);
            return Ok(());
        }
        let keyword = cursor.atom()?;
        if !self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword)) {
            if self.keywords.len() == limits::KEYWORDS_MAX {
                return Err(Bad("Too many keywords"));
            }
            self.keywords.push(keyword);
        }
        Ok(())
    }
}

/// The rest of a system flag after its backslash.
fn system_flag(cursor: &mut Cursor<'_>) -> Result<Flags, Bad> {
    let name = cursor.atom()?;
    Flags::SYSTEM
        .iter()
        .find(|(_, known)| known.strip_prefix('\\').is_some_and(|known| known.eq_ignore_ascii_case(name)))
        .map(|(flag, _)| *flag)
        .ok_or(Bad("Not a flag that can be set"))
}

/// STORE and UID STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// What the set's numbers are.
    pub by: By,
    /// Which messages.
    pub set: SequenceSet,
    /// What is done with the flags.
    pub change: FlagChange,
    /// `.SILENT`: the new flags are not told.
    pub silent: bool,
    /// The flags.
    pub flags: FlagList<'a>,
    /// `UNCHANGEDSINCE`: messages with a higher mod-sequence are left alone and reported as `[MODIFIED …]`.
    pub unchanged_since: Option<u64>,
}

impl<'a> Store<'a> {
    /// `store = "STORE" SP sequence-set [SP store-modifiers] SP store-att-flags`, after the command's name.
    ///
    /// `store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))`
    pub fn parse(cursor: &mut Cursor<'a>, by: By) -> Result<Store<'a>, Bad> {
        cursor.space()?;
        let set = SequenceSet::parse(cursor)?;
        cursor.space()?;
        let unchanged_since = Self::modifiers(cursor)?;
        let change = if cursor.take(b'+') {
            FlagChange::Add
        } else if cursor.take(b'-') {
            FlagChange::Remove
        } else {
            FlagChange::Replace
        };
        let silent = match cursor.keyword()?.as_str() {
            "FLAGS" => false,
            "FLAGS.SILENT" => true,
            _ => return Err(Bad("STORE changes FLAGS")),
        };
        cursor.space()?;
        let flags = FlagList::parse_bare(cursor)?;
        Ok(Store { by, set, change, silent, flags, unchanged_since })
    }

    /// `store-modifiers = "(" store-modifier *(SP store-modifier) ")" SP`; `"UNCHANGEDSINCE" SP mod-sequence-valzer`
    fn modifiers(cursor: &mut Cursor<'a>) -> Result<Option<u64>, Bad> {
        if cursor.peek() != Some(b'(') {
            return Ok(None);
        }
        let modifiers = cursor.list(1, |cursor| match cursor.keyword()?.as_str() {
            "UNCHANGEDSINCE" => cursor.space().and_then(|()| cursor.mod_sequence()),
            _ => Err(Bad("Unknown modifier of STORE")),
        })?;
        cursor.space()?;
        modifiers.into_iter().next().map(Some).ok_or(Bad("Modifier of STORE expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &str) -> Result<Store<'_>, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let store = Store::parse(&mut cursor, By::Sequence)?;
        cursor.end().map(|()| store)
    }

    #[test]
    fn every_form_of_store() {
        let forms = [
            (" 2:4 FLAGS ()", FlagChange::Replace, false, Flags::NONE, None),
            (" 2:4 +FLAGS (\\Deleted)", FlagChange::Add, false, Flags::DELETED, None),
            (
                " 2:4 -flags.silent \\SEEN \\Draft",
                FlagChange::Remove,
                true,
                Flags::SEEN.with(Flags::DRAFT),
                None,
            ),
            (
                " 2:4 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted)",
                FlagChange::Add,
                true,
                Flags::DELETED,
                Some(320_162_338),
            ),
            (
                " 2:4 (unchangedsince 0) FLAGS \\Answered",
                FlagChange::Replace,
                false,
                Flags::ANSWERED,
                Some(0),
            ),
        ];
        for (text, change, silent, system, unchanged_since) in forms {
            let store = store(text).unwrap();
            assert_eq!(
                (store.change, store.silent, store.flags.system, store.unchanged_since),
                (change, silent, system, unchanged_since),
                "{text}"
            );
            assert_eq!(store.set.resolve(9), [(2, 4)]);
        }
    }

    #[test]
    fn keywords_are_told_once_and_borrowed() {
        let store = store(" 1 +FLAGS ($Forwarded \\Seen $forwarded NonJunk)").unwrap();
        assert_eq!(store.flags.keywords, ["$Forwarded", "NonJunk"]);
        assert_eq!(store.flags.system, Flags::SEEN);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        for text in [
            "",
            " 1",
            " 1 FLAGS",
            " 1 FLAGS ",
            " 1 +FLAGS (\\Recent)",
            " 1 FLAGS (\\*)",
            " 1 FLAGS (\\Foo)",
            " 1 ++FLAGS ()",
            " 1 +-FLAGS ()",
            " 1 FLAGS.LOUD ()",
            " 1 FLAGS (a",
            " 1 FLAGS () ",
            " 1 () FLAGS ()",
            " 1 (UNCHANGEDSINCE) FLAGS ()",
            " 1 (X 1) FLAGS ()",
            " 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 2) FLAGS ()",
            " 1 FLAGS (\"a\")",
            " 1 FLAGS (ä)",
        ] {
            assert!(store(text).is_err(), "{text}");
        }
        let many = (0..=limits::KEYWORDS_MAX).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(store(&format!(" 1 FLAGS ({many})")), Err(Bad("Too many keywords")));
    }
}
