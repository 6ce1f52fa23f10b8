//! What STATUS asks for (RFC 3501 §6.3.10, RFC 7162 §3.1.7); LIST's RETURN (STATUS …) asks for the same (RFC 5819).

use super::cursor::{Bad, Cursor};

/// One number that STATUS tells of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// How many messages.
    Messages,
    /// How many of them are \Recent.
    Recent,
    /// The next UID.
    UidNext,
    /// UIDVALIDITY.
    UidValidity,
    /// How many messages are not \Seen.
    Unseen,
    /// The highest mod-sequence of its messages.
    HighestModSeq,
}

impl StatusItem {
    /// All of them with their names. A new extension adds its line here.
    pub const ALL: [(StatusItem, &'static str); 6] = [
        (StatusItem::Messages, "MESSAGES"),
        (StatusItem::Recent, "RECENT"),
        (StatusItem::UidNext, "UIDNEXT"),
        (StatusItem::UidValidity, "UIDVALIDITY"),
        (StatusItem::Unseen, "UNSEEN"),
        (StatusItem::HighestModSeq, "HIGHESTMODSEQ"),
    ];

    /// The item's name as STATUS prints it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(item, _)| *item == self).map_or("", |(_, name)| name)
    }

    /// `"(" status-att *(SP status-att) ")"`: each item once, in the client's order.
    pub fn parse_list(cursor: &mut Cursor<'_>) -> Result<Vec<StatusItem>, Bad> {
        let mut items = Vec::new();
        cursor.list(usize::MAX, |cursor| {
            let name = cursor.atom()?;
            let known = Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
            let (item, _) = known.ok_or(Bad("Unknown item of STATUS"))?;
            if !items.contains(item) {
                items.push(*item);
            }
            Ok(())
        })?;
        if items.is_empty() { Err(Bad("Item of STATUS expected")) } else { Ok(items) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_in_any_case_and_told_once() {
        let mut cursor = Cursor::new(b"(uidnext MESSAGES HighestModSeq UIDNEXT)");
        let items = StatusItem::parse_list(&mut cursor).unwrap();
        assert_eq!(items, [StatusItem::UidNext, StatusItem::Messages, StatusItem::HighestModSeq]);
        for text in ["()", "", "MESSAGES", "(SIZES)", "(MESSAGES", "(MESSAGES  UNSEEN)"] {
            assert!(StatusItem::parse_list(&mut Cursor::new(text.as_bytes())).is_err(), "{text}");
        }
        for (item, name) in StatusItem::ALL {
            assert_eq!(item.name(), name);
        }
    }
}
