//! FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4).

use super::By;
use super::cursor::{Bad, Cursor};
use super::section::{Partial, Section};
use super::set::SequenceSet;
use crate::limits;

/// FETCH and UID FETCH. Owned: the session keeps it while it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// What the set's numbers are.
    pub by: By,
    /// Which messages.
    pub set: SequenceSet,
    /// What of them, each item once, macros expanded. UID is among them for UID FETCH (RFC 3501 §6.4.8), MODSEQ for
    /// CHANGEDSINCE (RFC 7162 §3.1.4.1).
    pub items: Vec<Item>,
    /// Only messages with a higher mod-sequence than this.
    pub changed_since: Option<u64>,
}

/// One thing to tell of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// ENVELOPE
    Envelope,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822: as `BODY[]`, but told under this name.
    Rfc822,
    /// RFC822.HEADER: as `BODY.PEEK[HEADER]`.
    Rfc822Header,
    /// RFC822.SIZE
    Rfc822Size,
    /// RFC822.TEXT: as `BODY[TEXT]`.
    Rfc822Text,
    /// BODY without a section: the structure without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// UID
    Uid,
    /// MODSEQ (RFC 7162 §3.1.4.2)
    ModSeq,
    /// `BODY[…]` and `BODY.PEEK[…]`
    Section {
        /// Do not set \Seen.
        peek: bool,
        /// Which bytes.
        section: Section,
        /// Which of those bytes.
        partial: Option<Partial>,
    },
}

impl Fetch {
    /// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
    /// [SP fetch-modifiers]`, after the command's name.
    pub fn parse(cursor: &mut Cursor<'_>, by: By) -> Result<Fetch, Bad> {
        cursor.space()?;
        let set = SequenceSet::parse(cursor)?;
        cursor.space()?;
        let mut items = Vec::new();
        if by == By::Uid {
            items.push(Item::Uid);
        }
        if cursor.peek() == Some(b'(') {
            let written = cursor.list(limits::IMAP_FETCH_ITEMS_MAX, Item::parse)?;
            if written.is_empty() {
                return Err(Bad("Item of FETCH expected"));
            }
            written.into_iter().for_each(|item| add(&mut items, item));
        } else if let Some(list) = macro_items(cursor) {
            list.iter().cloned().for_each(|item| add(&mut items, item));
        } else {
            add(&mut items, Item::parse(cursor)?);
        }
        let changed_since = if cursor.take(b' ') { Self::modifiers(cursor)? } else { None };
        if changed_since.is_some() {
            add(&mut items, Item::ModSeq);
        }
        Ok(Fetch { by, set, items, changed_since })
    }

    /// `fetch-modifiers = "(" fetch-modifier *(SP fetch-modifier) ")"`; `"CHANGEDSINCE" SP mod-sequence-value`
    fn modifiers(cursor: &mut Cursor<'_>) -> Result<Option<u64>, Bad> {
        let modifiers = cursor.list(1, |cursor| match cursor.keyword()?.as_str() {
            "CHANGEDSINCE" => cursor.space().and_then(|()| cursor.mod_sequence()),
            _ => Err(Bad("Unknown modifier of FETCH")),
        })?;
        modifiers.into_iter().next().map(Some).ok_or(Bad("Modifier of FETCH expected"))
    }

    /// Whether telling this sets \Seen (where the folder is not read-only).
    pub fn sets_seen(&self) -> bool {
        self.items.iter().any(Item::sets_seen)
    }
}

/// An item that is there already is not told twice.
fn add(items: &mut Vec<Item>, item: Item) {
    if !items.contains(&item) {
        items.push(item);
    }
}

/// `"ALL" / "FULL" / "FAST"`, which stand alone.
fn macro_items(cursor: &mut Cursor<'_>) -> Option<&'static [Item]> {
    const FULL: &[Item] = &[Item::Flags, Item::InternalDate, Item::Rfc822Size, Item::Envelope, Item::Body];
    let (_, count) =
        [("FAST", 3), ("ALL", 4), ("FULL", 5)].into_iter().find(|(name, _)| cursor.word(name))?;
    FULL.get(..count)
}

impl Item {
    /// `fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] / "BODY" ["STRUCTURE"] / "UID" /
    /// "BODY" [".PEEK"] section ["<" number "." nz-number ">"] / "MODSEQ"`
    fn parse(cursor: &mut Cursor<'_>) -> Result<Item, Bad> {
        let name = cursor.run(|byte| byte.is_ascii_alphanumeric() || byte == b'.').to_ascii_uppercase();
        let section = cursor.peek() == Some(b'[');
        Ok(match name.as_slice() {
            b"BODY" | b"BODY.PEEK" if section => {
                let section = Section::parse(cursor)?;
                Item::Section { peek: name.ends_with(b"PEEK"), section, partial: Partial::parse(cursor)? }
            }
            b"ENVELOPE" => Item::Envelope,
            b"FLAGS" => Item::Flags,
            b"INTERNALDATE" => Item::InternalDate,
            b"RFC822" => Item::Rfc822,
            b"RFC822.HEADER" => Item::Rfc822Header,
            b"RFC822.SIZE" => Item::Rfc822Size,
            b"RFC822.TEXT" => Item::Rfc822Text,
            b"BODY" => Item::Body,
            b"BODYSTRUCTURE" => Item::BodyStructure,
            b"UID" => Item::Uid,
            b"MODSEQ" => Item::ModSeq,
            _ => return Err(Bad("Unknown item of FETCH")),
        })
    }

    /// Whether telling it sets \Seen.
    pub fn sets_seen(&self) -> bool {
        matches!(self, Item::Rfc822 | Item::Rfc822Text | Item::Section { peek: false, .. })
    }

    /// Appends the item's name as the response tells it: `BODY[1.HEADER.FIELDS (SUBJECT)]<0>`. No `.PEEK`, no count.
    pub fn print_name(&self, out: &mut Vec<u8>) {
        let name = match self {
            Item::Envelope => "ENVELOPE",
            Item::Flags => "FLAGS",
            Item::InternalDate => "INTERNALDATE",
            Item::Rfc822 => "RFC822",
            Item::Rfc822Header => "RFC822.HEADER",
            Item::Rfc822Size => "RFC822.SIZE",
            Item::Rfc822Text => "RFC822.TEXT",
            Item::Body | Item::Section { .. } => "BODY",
            Item::BodyStructure => "BODYSTRUCTURE",
            Item::Uid => "UID",
            Item::ModSeq => "MODSEQ",
        };
        out.extend_from_slice(name.as_bytes());
        if let Item::Section { section, partial, .. } = self {
            section.print(out);
            if let Some(partial) = partial {
                out.extend_from_slice(format!("<{}>", partial.start).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(text: &str, by: By) -> Result<Fetch, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let fetch = Fetch::parse(&mut cursor, by)?;
        cursor.end().map(|()| fetch)
    }

    fn names(text: &str) -> String {
        let items = fetch(text, By::Sequence).unwrap().items;
        let mut out = Vec::new();
        for item in items {
            item.print_name(&mut out);
            out.push(b',');
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn items_and_their_names() {
        assert_eq!(names(" 1 (flags uid Envelope)"), "FLAGS,UID,ENVELOPE,");
        assert_eq!(names(" 1 RFC822"), "RFC822,");
        assert_eq!(
            names(" 1 (RFC822.HEADER RFC822.SIZE RFC822.TEXT)"),
            "RFC822.HEADER,RFC822.SIZE,RFC822.TEXT,"
        );
        assert_eq!(
            names(" 1 (BODY BODYSTRUCTURE INTERNALDATE MODSEQ)"),
            "BODY,BODYSTRUCTURE,INTERNALDATE,MODSEQ,"
        );
        assert_eq!(
            names(" 1 BODY.PEEK[1.HEADER.FIELDS (SUBJECT)]<0.9>"),
            "BODY[1.HEADER.FIELDS (SUBJECT)]<0>,"
        );
        assert_eq!(names(" 1 (BODY[] BODY[]<0.1> BODY[])"), "BODY[],BODY[]<0>,");
    }

    #[test]
    fn macros_stand_alone() {
        assert_eq!(names(" 1 fast"), "FLAGS,INTERNALDATE,RFC822.SIZE,");
        assert_eq!(names(" 1 ALL"), "FLAGS,INTERNALDATE,RFC822.SIZE,ENVELOPE,");
        assert_eq!(names(" 1 Full"), "FLAGS,INTERNALDATE,RFC822.SIZE,ENVELOPE,BODY,");
        assert!(fetch(" 1 (ALL)", By::Sequence).is_err());
    }

    #[test]
    fn what_is_implied_is_added() {
        let uid = fetch(" 7 (FLAGS UID) (CHANGEDSINCE 12345)", By::Uid).unwrap();
        assert_eq!(uid.items, [Item::Uid, Item::Flags, Item::ModSeq]);
        assert_eq!(uid.changed_since, Some(12345));
        assert!(!uid.sets_seen());
        for (text, seen) in [
            (" 1 RFC822", true),
            (" 1 RFC822.HEADER", false),
            (" 1 BODY[HEADER]", true),
            (" 1 BODY.PEEK[]", false),
        ] {
            assert_eq!(fetch(text, By::Sequence).unwrap().sets_seen(), seen, "{text}");
        }
    }

    #[test]
    fn what_is_no_fetch_is_refused() {
        for text in [
            "",
            " 1",
            " 1 ",
            " 1 ()",
            " 1 (FLAGS",
            " 1 FLAGS UID",
            " 1 FOO",
            " 1 BODY.PEEK",
            " 1 RFC822[]",
            " 1 BODY[]<0>",
            " 1 (FLAGS )",
            " 1 BODY[",
            " 0 FLAGS",
            " 1 FLAGS (CHANGEDSINCE)",
            " 1 FLAGS ()",
            " 1 FLAGS (VANISHED)",
            " 1 FLAGS (CHANGEDSINCE 1) ",
            " 1 ((FLAGS))",
            " 1 ALL FLAGS",
        ] {
            assert!(fetch(text, By::Sequence).is_err(), "{text}");
        }
    }
}
