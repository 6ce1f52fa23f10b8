//! SEARCH (RFC 3501 §6.4.4, RFC 7162 §3.1.5), as a tree that owns what it has: the session keeps it while it runs.
//!
//! Texts are the bytes that came: what they mean, [`Search::charset`] says.

use super::By;
use super::cursor::{Bad, Cursor};
use super::date::date;
use super::section::header_name;
use super::set::SequenceSet;
use crate::limits;
use crate::types::Flags;
use crate::wire::date::Day;

/// SEARCH and UID SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What the answer's numbers are. (Sets inside the keys say themselves what they are.)
    pub by: By,
    /// CHARSET as written. None is US-ASCII; deliberate: UTF-8 is a good reading of it.
    pub charset: Option<String>,
    /// What is looked for.
    pub key: Key,
}

/// A condition on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// All of these; with none of them, ALL.
    And(Vec<Key>),
    /// One of these at least.
    Or(Vec<Key>),
    /// Not this.
    Not(Box<Key>),
    /// All of these system flags: ANSWERED, DELETED, DRAFT, FLAGGED, SEEN.
    With(Flags),
    /// None of these system flags: UNANSWERED and so on.
    Without(Flags),
    /// KEYWORD. UNKEYWORD is `Not` of it.
    Keyword(String),
    /// RECENT. NEW is RECENT UNSEEN, OLD is NOT RECENT.
    Recent,
    /// BEFORE, ON, SINCE: INTERNALDATE's day, time and zone left out.
    Internal(When, Day),
    /// SENTBEFORE, SENTON, SENTSINCE: the Date field's day, time and zone left out.
    Sent(When, Day),
    /// HEADER, and BCC, CC, FROM, SUBJECT, TO as headers of that name. An empty text: the field is there.
    Header {
        /// The field's name as written.
        name: String,
        /// Looked for in the field.
        text: Vec<u8>,
    },
    /// BODY: this in the body of the message.
    Body(Vec<u8>),
    /// TEXT: this in header or body.
    Text(Vec<u8>),
    /// LARGER: more bytes than this.
    Larger(u32),
    /// SMALLER: fewer bytes than this.
    Smaller(u32),
    /// UID: these.
    Uid(SequenceSet),
    /// These message sequence numbers.
    Sequence(SequenceSet),
    /// MODSEQ: this mod-sequence or a higher one. The entry that may be named is not kept: mod-sequences are per message here.
    ModSeq(u64),
}

/// On which side of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On an earlier day.
    Before,
    /// On that day.
    On,
    /// On that day or a later one.
    Since,
}

impl When {
    /// Whether `day` is on this side of `of`.
    pub fn holds(self, day: Day, of: Day) -> bool {
        match self {
            When::Before => day < of,
            When::On => day == of,
            When::Since => day >= of,
        }
    }
}

impl Search {
    /// `search = "SEARCH" [SP "CHARSET" SP astring] 1*(SP search-key)`, after the command's name.
    pub fn parse(cursor: &mut Cursor<'_>, by: By) -> Result<Search, Bad> {
        let mut parser = Parser { cursor, keys: 0 };
        parser.cursor.space()?;
        let mut charset = None;
        if parser.cursor.word("CHARSET") {
            parser.cursor.space()?;
            let name = parser.cursor.astring()?.into_owned();
            charset = Some(String::from_utf8(name).map_err(|_| Bad("Not a charset"))?);
            parser.cursor.space()?;
        }
        let mut keys = vec![parser.key()?];
        while parser.cursor.take(b' ') {
            keys.push(parser.key()?);
        }
        Ok(Search { by, charset, key: all_of(keys) })
    }

    /// Whether the answer tells the highest mod-sequence found (RFC 7162 §3.1.5).
    pub fn tells_mod_sequence(&self) -> bool {
        self.key.any(&mut |key| matches!(key, Key::ModSeq(_)))
    }
}

impl Key {
    /// Whether this key or one inside it is `wanted`: to know beforehand what has to be loaded.
    pub fn any(&self, wanted: &mut impl FnMut(&Key) -> bool) -> bool {
        if wanted(self) {
            return true;
        }
        match self {
            Key::And(keys) | Key::Or(keys) => keys.iter().any(|key| key.any(wanted)),
            Key::Not(key) => key.any(wanted),
            _ => false,
        }
    }
}

fn all_of(mut keys: Vec<Key>) -> Key {
    match keys.pop() {
        Some(only) if keys.is_empty() => only,
        last => {
            keys.extend(last);
            Key::And(keys)
        }
    }
}

/// The cursor, and how many keys have been read: at most `limits::IMAP_SEARCH_KEYS_MAX`.
struct Parser<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    keys: usize,
}

impl Parser<'_, '_> {
    /// `search-key = "ALL" / … / sequence-set / "(" search-key *(SP search-key) ")"`
    fn key(&mut self) -> Result<Key, Bad> {
        self.keys += 1;
        if self.keys > limits::IMAP_SEARCH_KEYS_MAX {
            return Err(Bad("Too many search keys"));
        }
        match self.cursor.peek() {
            Some(b'(') => self.group(),
            Some(b'0'..=b'9' | b'*') => SequenceSet::parse(self.cursor).map(Key::Sequence),
            _ => {
                let name = self.cursor.keyword().map_err(|_| Bad("Search key expected"))?;
                match flag_key(&name) {
                    Some(key) => Ok(key),
                    None => self.key_with_argument(&name),
                }
            }
        }
    }

    fn group(&mut self) -> Result<Key, Bad> {
        self.nested(|parser| {
            parser.cursor.take(b'(');
            let mut keys = vec![parser.key()?];
            while parser.cursor.take(b' ') {
                keys.push(parser.key()?);
            }
            parser.cursor.expect(b')', "Parenthesis not closed").map(|()| all_of(keys))
        })
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Bad>) -> Result<T, Bad> {
        self.cursor.deeper()?;
        let result = inner(self);
        self.cursor.shallower();
        result
    }

    fn key_with_argument(&mut self, name: &str) -> Result<Key, Bad> {
        self.cursor.space()?;
        match name {
            "NOT" => self.nested(Self::key).map(|key| Key::Not(Box::new(key))),
            "OR" => self.nested(Self::or),
            "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => {
                Ok(Key::Header { name: name.to_owned(), text: self.astring()? })
            }
            "HEADER" => {
                let name = header_name(self.cursor)?;
                self.cursor.space()?;
                Ok(Key::Header { name, text: self.astring()? })
            }
            "BODY" => self.astring().map(Key::Body),
            "TEXT" => self.astring().map(Key::Text),
            "KEYWORD" => Ok(Key::Keyword(self.cursor.atom()?.to_owned())),
            "UNKEYWORD" => Ok(Key::Not(Box::new(Key::Keyword(self.cursor.atom()?.to_owned())))),
            "BEFORE" => Ok(Key::Internal(When::Before, date(self.cursor)?)),
            "ON" => Ok(Key::Internal(When::On, date(self.cursor)?)),
            "SINCE" => Ok(Key::Internal(When::Since, date(self.cursor)?)),
            "SENTBEFORE" => Ok(Key::Sent(When::Before, date(self.cursor)?)),
            "SENTON" => Ok(Key::Sent(When::On, date(self.cursor)?)),
            "SENTSINCE" => Ok(Key::Sent(When::Since, date(self.cursor)?)),
            "LARGER" => self.cursor.number().map(Key::Larger),
            "SMALLER" => self.cursor.number().map(Key::Smaller),
            "UID" => SequenceSet::parse(self.cursor).map(Key::Uid),
            "MODSEQ" => self.mod_sequence(),
            _ => Err(Bad("Unknown search key")),
        }
    }

    /// `"OR" SP search-key SP search-key`, after `OR SP`.
    ///
    /// A chain `OR a OR b OR c d`, as clients make it for "one of these", is one list and one level deep.
    fn or(&mut self) -> Result<Key, Bad> {
        let mut keys = vec![self.key()?];
        loop {
            self.cursor.space()?;
            let chain = self.cursor.rest().get(..3).is_some_and(|next| next.eq_ignore_ascii_case(b"OR "));
            if !chain {
                keys.push(self.key()?);
                return Ok(Key::Or(keys));
            }
            self.cursor.word("OR");
            self.cursor.space()?;
            keys.push(self.key()?);
        }
    }

    /// `search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer`, after `MODSEQ SP`.
    ///
    /// `entry-name = DQUOTE "/flags/" attr-flag DQUOTE`; `entry-type-req = "priv" / "shared" / "all"`
    fn mod_sequence(&mut self) -> Result<Key, Bad> {
        if self.cursor.peek() == Some(b'"') {
            let entry = self.cursor.quoted()?;
            if !entry.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"/flags/")) || entry.len() == 7
            {
                return Err(Bad("Unknown entry of MODSEQ"));
            }
            self.cursor.space()?;
            if !matches!(self.cursor.keyword()?.as_str(), "PRIV" | "SHARED" | "ALL") {
                return Err(Bad("Unknown entry type of MODSEQ"));
            }
            self.cursor.space()?;
        }
        self.cursor.mod_sequence().map(Key::ModSeq)
    }

    fn astring(&mut self) -> Result<Vec<u8>, Bad> {
        self.cursor.astring().map(|text| text.into_owned())
    }
}

/// The keys that are one word.
fn flag_key(name: &str) -> Option<Key> {
    Some(match name {
        "ALL" => Key::And(Vec::new()),
        "NEW" => Key::And(vec![Key::Recent, Key::Without(Flags::SEEN)]),
        "OLD" => Key::Not(Box::new(Key::Recent)),
        "RECENT" => Key::Recent,
        "ANSWERED" => Key::With(Flags::ANSWERED),
        "DELETED" => Key::With(Flags::DELETED),
        "DRAFT" => Key::With(Flags::DRAFT),
        "FLAGGED" => Key::With(Flags::FLAGGED),
        "SEEN" => Key::With(Flags::SEEN),
        "UNANSWERED" => Key::Without(Flags::ANSWERED),
        "UNDELETED" => Key::Without(Flags::DELETED),
        "UNDRAFT" => Key::Without(Flags::DRAFT),
        "UNFLAGGED" => Key::Without(Flags::FLAGGED),
        "UNSEEN" => Key::Without(Flags::SEEN),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Result<Search, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let search = Search::parse(&mut cursor, By::Sequence)?;
        cursor.end().map(|()| search)
    }

    fn key(text: &str) -> Key {
        search(text).unwrap().key
    }

    fn header(name: &str, text: &str) -> Key {
        Key::Header { name: name.to_owned(), text: text.as_bytes().to_vec() }
    }

    #[test]
    fn every_key() {
        let day = Day(8797);
        let set = |text: &str| SequenceSet::parse(&mut Cursor::new(text.as_bytes())).unwrap();
        let keys = [
            ("all", Key::And(vec![])),
            ("UNSEEN", Key::Without(Flags::SEEN)),
            ("flagged", Key::With(Flags::FLAGGED)),
            ("NEW", Key::And(vec![Key::Recent, Key::Without(Flags::SEEN)])),
            ("OLD", Key::Not(Box::new(Key::Recent))),
            ("KEYWORD $Junk", Key::Keyword("$Junk".to_owned())),
            ("UNKEYWORD a", Key::Not(Box::new(Key::Keyword("a".to_owned())))),
            ("BEFORE 1-Feb-1994", Key::Internal(When::Before, day)),
            ("ON \"1-Feb-1994\"", Key::Internal(When::On, day)),
            ("SINCE 1-Feb-1994", Key::Internal(When::Since, day)),
            ("SENTBEFORE 1-Feb-1994", Key::Sent(When::Before, day)),
            ("SENTON 1-Feb-1994", Key::Sent(When::On, day)),
            ("SENTSINCE 1-Feb-1994", Key::Sent(When::Since, day)),
            ("from Smith", header("FROM", "Smith")),
            ("HEADER Message-ID \"<a@b>\"", header("Message-ID", "<a@b>")),
            ("HEADER X \"\"", header("X", "")),
            ("BODY {3}\r\na b", Key::Body(b"a b".to_vec())),
            ("TEXT \"ü\"", Key::Text("ü".as_bytes().to_vec())),
            ("LARGER 5", Key::Larger(5)),
            ("SMALLER 4294967295", Key::Smaller(u32::MAX)),
            ("UID 1:*", Key::Uid(set("1:*"))),
            ("2,4:*", Key::Sequence(set("2,4:*"))),
            ("*", Key::Sequence(set("*"))),
            ("MODSEQ 620162338", Key::ModSeq(620_162_338)),
            ("MODSEQ \"/flags/\\\\draft\" all 620162338", Key::ModSeq(620_162_338)),
            ("NOT SEEN", Key::Not(Box::new(Key::With(Flags::SEEN)))),
            ("(SEEN)", Key::With(Flags::SEEN)),
            (
                "(1 (SEEN DRAFT))",
                Key::And(vec![
                    Key::Sequence(set("1")),
                    Key::And(vec![Key::With(Flags::SEEN), Key::With(Flags::DRAFT)]),
                ]),
            ),
        ];
        for (text, wanted) in keys {
            assert_eq!(key(&format!(" {text}")), wanted, "{text}");
        }
    }

    #[test]
    fn charset_and_mod_sequence() {
        let both = search(" CHARSET utf-8 SUBJECT x NOT MODSEQ 1").unwrap();
        assert_eq!(both.charset.as_deref(), Some("utf-8"));
        assert!(both.tells_mod_sequence());
        assert!(!search(" ALL").unwrap().tells_mod_sequence());
    }

    #[test]
    fn a_chain_of_or_is_one_list() {
        assert_eq!(
            key(" OR SEEN OR DRAFT RECENT"),
            Key::Or(vec![Key::With(Flags::SEEN), Key::With(Flags::DRAFT), Key::Recent])
        );
        let left = Key::Or(vec![Key::Or(vec![Key::With(Flags::SEEN), Key::With(Flags::DRAFT)]), Key::Recent]);
        assert_eq!(key(" OR OR SEEN DRAFT RECENT"), left);
        assert!(search(&format!(" {}SEEN", "OR SEEN ".repeat(500))).is_ok());
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let max = limits::IMAP_DEPTH_MAX;
        let nest = |depth: usize| format!(" {}SEEN{}", "(".repeat(depth), ")".repeat(depth));
        assert!(search(&nest(max)).is_ok() && search(&nest(max + 1)).is_err());
        assert!(search(&format!(" {}SEEN", "NOT ".repeat(max))).is_ok());
        assert_eq!(search(&format!(" {}SEEN", "NOT ".repeat(max + 1))), Err(Bad("Nested too deeply")));
        assert!(search(&format!(" {}SEEN", "OR ".repeat(max + 1))).is_err());
        assert!(search(&" SEEN".repeat(limits::IMAP_SEARCH_KEYS_MAX)).is_ok());
        let many = " (SEEN SEEN)".repeat(limits::IMAP_SEARCH_KEYS_MAX / 2);
        assert_eq!(search(&many), Err(Bad("Too many search keys")));
    }

    #[test]
    fn what_is_no_search_is_refused() {
        for text in [
            "",
            " ",
            " FOO",
            " SEEN ",
            " ()",
            " (SEEN",
            " NOT",
            " OR SEEN",
            " OR SEEN ",
            " FROM",
            " FROM ",
            " SINCE x",
            " LARGER -1",
            " LARGER 4294967296",
            " UID",
            " UID x",
            " 0",
            " CHARSET",
            " CHARSET UTF-8",
            " KEYWORD \\Seen",
            " MODSEQ x",
            " HEADER X",
            " MODSEQ \"/other/a\" all 1",
            " MODSEQ \"/flags/a\" some 1",
            " HEADER ä c",
            " SEEN  DRAFT",
            " ORSEEN DRAFT",
        ] {
            assert!(search(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sides_of_a_day() {
        let table = [
            (When::Before, [true, false, false]),
            (When::On, [false, true, false]),
            (When::Since, [false, true, true]),
        ];
        for (when, wanted) in table {
            assert_eq!([4, 5, 6].map(|day| when.holds(Day(day), Day(5))), wanted);
        }
    }
}
