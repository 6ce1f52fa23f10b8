//! The small values that every layer speaks of. A leaf: it uses no other module.
//!
//! A bare `u32` or `u64` in a signature elsewhere needs a reason; these names say what a number counts.

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A mailbox, in the sense of somebody's account. Never reused. 0 is the store itself: its settings.
    AccountId(u32)
);
number!(
    /// A folder of one account (what IMAP calls a mailbox). Never reused within the account. 1 is INBOX.
    FolderId(u32)
);
number!(
    /// A message's unique identifier in its folder (RFC 3501 §2.3.1.1). Starts at 1, only grows.
    Uid(u32)
);
number!(
    /// Where a frame stands in the order of writing: one per frame as written, a copy gets a new one. 0 is before the first.
    Position(u64)
);
number!(
    /// One per change of the state, kept when a record is copied, never reused; IMAP's mod-sequence (RFC 7162 §3.1).
    Serial(u64)
);
number!(
    /// The bytes of one message, wherever they lie. Copies and joint deliveries share it. Never reused.
    BodyId(u64)
);

impl AccountId {
    /// The store itself, as the account that its settings belong to.
    pub const SETTINGS: AccountId = AccountId(0);
}

impl FolderId {
    /// Every account's INBOX; POP3's maildrop.
    pub const INBOX: FolderId = FolderId(1);
}

/// Seconds since 1970-01-01T00:00:00Z. Negative before that: a message may claim any date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

/// A message's flags: the system flags of RFC 3501 §2.3.2 in the low byte, the account's keywords above them.
///
/// Bit 8 + n is keyword n of the account's keyword table. \Recent is no flag here: it is never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flags(pub u64);

impl Flags {
    /// No flag at all.
    pub const NONE: Flags = Flags(0);
    /// `\Seen`
    pub const SEEN: Flags = Flags(1);
    /// `\Answered`
    pub const ANSWERED: Flags = Flags(2);
    /// `\Flagged`
    pub const FLAGGED: Flags = Flags(4);
    /// `\Deleted`
    pub const DELETED: Flags = Flags(8);
    /// `\Draft`
    pub const DRAFT: Flags = Flags(16);
    /// Every system flag with its name, in the order they are printed.
    pub const SYSTEM: [(Flags, &'static str); 5] = [
        (Flags::ANSWERED, "\\Answered"),
        (Flags::FLAGGED, "\\Flagged"),
        (Flags::DELETED, "\\Deleted"),
        (Flags::SEEN, "\\Seen"),
        (Flags::DRAFT, "\\Draft"),
    ];

    /// Keyword number `index` of the account's table, 0 to 55.
    pub const fn keyword(index: usize) -> Flags {
        Flags(1 << (8 + index))
    }

    /// All flags of `other` are set in `self`.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// `self` less what is set in `other`.
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The numbers of the keywords that are set, ascending.
    pub fn keywords(self) -> impl Iterator<Item = usize> {
        (0..56).filter(move |n| self.contains(Flags::keyword(*n)))
    }
}

/// A language that people are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English
    #[default]
    English,
    /// German
    German,
}

impl Language {
    /// All, with their tags (RFC 5646) and their own names.
    pub const ALL: [(Language, &'static str, &'static str); 2] =
        [(Language::English, "en", "English"), (Language::German, "de", "Deutsch")];

    /// Its tag.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::German => "de",
        }
    }

    /// The language of this tag, or of this name of its own; case does not matter.
    pub fn parse(text: &str) -> Option<Language> {
        let is = |name: &str| name.eq_ignore_ascii_case(text);
        let found = Language::ALL.into_iter().find(|(_, tag, name)| is(tag) || is(name));
        found.map(|(language, _, _)| language)
    }
}

/// What STORE does with the flags that it is given (RFC 3501 §6.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

impl FlagChange {
    /// The flags after the change of `old` by `given`.
    pub fn of(self, old: Flags, given: Flags) -> Flags {
        match self {
            FlagChange::Replace => given,
            FlagChange::Add => old.with(given),
            FlagChange::Remove => old.without(given),
        }
    }
}

/// What a folder is for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialUse {
    /// `\Sent`
    Sent,
    /// `\Drafts`
    Drafts,
    /// `\Trash`
    Trash,
    /// `\Junk`
    Junk,
    /// `\Archive`
    Archive,
}

impl SpecialUse {
    /// All of them, in the order in which a new mailbox gets its folders.
    pub const ALL: [SpecialUse; 5] =
        [SpecialUse::Drafts, SpecialUse::Sent, SpecialUse::Trash, SpecialUse::Junk, SpecialUse::Archive];

    /// The attribute as LIST prints it.
    pub const fn attribute(self) -> &'static str {
        match self {
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Trash => "\\Trash",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Archive => "\\Archive",
        }
    }

    /// The folder's name in a new mailbox.
    pub const fn folder(self) -> &'static str {
        match self {
            SpecialUse::Sent => "Sent",
            SpecialUse::Drafts => "Drafts",
            SpecialUse::Trash => "Trash",
            SpecialUse::Junk => "Junk",
            SpecialUse::Archive => "Archive",
        }
    }
}

/// The fixed quota buckets that a mailbox can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Small: 1/32 of what the store can give out, at least 16 MiB.
    S,
    /// Medium: 1/16.
    M,
    /// Large: 1/8.
    L,
    /// Extra large: 1/4.
    Xl,
}

impl Class {
    /// All of them, smallest first.
    pub const ALL: [Class; 4] = [Class::S, Class::M, Class::L, Class::Xl];

    /// As the console writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::S => "S",
            Class::M => "M",
            Class::L => "L",
            Class::Xl => "XL",
        }
    }

    /// As the console reads it: any case.
    pub fn parse(word: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name().eq_ignore_ascii_case(word))
    }
}

/// A set of UIDs as ascending, disjoint, not adjacent ranges; both ends belong to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UidSet(pub Vec<(Uid, Uid)>);

impl UidSet {
    /// The set of these UIDs, which must ascend; equal neighbours are allowed.
    pub fn from_ascending(uids: impl IntoIterator<Item = Uid>) -> UidSet {
        let mut set = UidSet::default();
        for uid in uids {
            set.push(uid);
        }
        set
    }

    /// Adds a UID that is not lower than any that the set has.
    pub fn push(&mut self, uid: Uid) {
        match self.0.last_mut() {
            Some((_, last)) if uid.0 <= last.0.saturating_add(1) => *last = uid.max(*last),
            _ => self.0.push((uid, uid)),
        }
    }

    /// Whether the set has no UID.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many UIDs the set has.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| u64::from(last.0 - first.0) + 1).sum()
    }

    /// Whether the set has this UID.
    pub fn contains(&self, uid: Uid) -> bool {
        self.0
            .binary_search_by(|(first, last)| {
                if *last < uid {
                    std::cmp::Ordering::Less
                } else if *first > uid {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .is_ok()
    }

    /// Every UID of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.0.iter().flat_map(|(first, last)| (first.0..=last.0).map(Uid))
    }
}

/// Printed as IMAP prints a set: `1:3,7` (RFC 3501 §9 `sequence-set`).
impl std::fmt::Display for UidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}:{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_joins_neighbours_and_finds_members() {
        let set = UidSet::from_ascending([1, 2, 3, 7, 9, 10].map(Uid));
        assert_eq!(set.to_string(), "1:3,7,9:10");
        assert_eq!(set.len(), 6);
        for uid in 0..12 {
            assert_eq!(set.contains(Uid(uid)), [1, 2, 3, 7, 9, 10].contains(&uid), "{uid}");
        }
        assert_eq!(set.iter().map(|uid| uid.0).collect::<Vec<_>>(), [1, 2, 3, 7, 9, 10]);
    }

    #[test]
    fn keywords_lie_above_the_system_flags() {
        let flags = Flags::SEEN.with(Flags::keyword(0)).with(Flags::keyword(55));
        assert_eq!(flags.keywords().collect::<Vec<_>>(), [0, 55]);
        assert!(flags.contains(Flags::SEEN) && !flags.contains(Flags::DRAFT));
    }
}
