//! LIST, in its first form (RFC 3501 §6.3.8) and extended (RFC 5258, with the options of RFC 6154 and RFC 5819).

use super::cursor::{Bad, Cursor};
use super::status::StatusItem;
use crate::limits;

/// LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The reference name, decoded.
    pub reference: String,
    /// The patterns, decoded: at least one. `%` and `*` in them are wildcards.
    pub patterns: Vec<String>,
    /// Which folders are told.
    pub select: ListSelect,
    /// What is told of them.
    pub returns: ListReturn,
    /// Selection options, return options or several patterns were given: RFC 5258's rules hold, not RFC 3501's
    /// (an empty pattern then means an empty name, not the delimiter).
    pub extended: bool,
}

/// `list-select-opts` (RFC 5258 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSelect {
    /// SUBSCRIBED: subscribed names only, also such as have no folder.
    pub subscribed: bool,
    /// RECURSIVEMATCH: also folders that have only a child that matches.
    pub recursive_match: bool,
    /// SPECIAL-USE: folders with a special use only (RFC 6154 §2).
    pub special_use: bool,
}

/// `list-return-opts` (RFC 5258 §3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReturn {
    /// SUBSCRIBED: tell \Subscribed.
    pub subscribed: bool,
    /// STATUS: these items of each folder (RFC 5819); none if empty.
    pub status: Vec<StatusItem>,
}

impl List {
    /// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`, after the command's name.
    ///
    /// `mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"`
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<List, Bad> {
        let mut list = List::default();
        cursor.space()?;
        if cursor.peek() == Some(b'(') {
            list.extended = true;
            list.select = ListSelect::parse(cursor)?;
            cursor.space()?;
        }
        list.reference = cursor.mailbox()?;
        cursor.space()?;
        if cursor.peek() == Some(b'(') {
            list.extended = true;
            list.patterns = cursor.list(limits::IMAP_PATTERNS_MAX, Cursor::list_mailbox)?;
        } else {
            list.patterns = vec![cursor.list_mailbox()?];
        }
        if list.patterns.is_empty() {
            return Err(Bad("Pattern expected"));
        }
        if cursor.take(b' ') {
            list.extended = true;
            list.returns = ListReturn::parse(cursor)?;
        }
        Ok(list)
    }

    /// `lsub = "LSUB" SP mailbox SP list-mailbox`, after the command's name: reference and pattern.
    pub fn parse_lsub(cursor: &mut Cursor<'_>) -> Result<(String, String), Bad> {
        cursor.space()?;
        let reference = cursor.mailbox()?;
        cursor.space()?;
        Ok((reference, cursor.list_mailbox()?))
    }
}

impl ListSelect {
    /// `list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")"`, with a base option if there is a modifying one.
    ///
    /// An unknown option is an error, as RFC 5258 §3 wants.
    fn parse(cursor: &mut Cursor<'_>) -> Result<ListSelect, Bad> {
        let mut select = ListSelect::default();
        cursor.list(usize::MAX, |cursor| {
            match cursor.keyword()?.as_str() {
                "SUBSCRIBED" => select.subscribed = true,
                // There are none here, so it changes nothing.
                "REMOTE" => {}
                "RECURSIVEMATCH" => select.recursive_match = true,
                "SPECIAL-USE" => select.special_use = true,
                _ => return Err(Bad("Unknown selection option")),
            }
            Ok(())
        })?;
        if select.recursive_match && !select.subscribed {
            return Err(Bad("RECURSIVEMATCH needs SUBSCRIBED"));
        }
        Ok(select)
    }
}

impl ListReturn {
    /// `list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"`
    ///
    /// `return-option = "SUBSCRIBED" / "CHILDREN" / "SPECIAL-USE" / "STATUS" SP "(" status-att *(SP status-att) ")"`
    fn parse(cursor: &mut Cursor<'_>) -> Result<ListReturn, Bad> {
        let mut returns = ListReturn::default();
        if !cursor.word("RETURN") {
            return Err(Bad("RETURN expected"));
        }
        cursor.space()?;
        cursor.list(usize::MAX, |cursor| {
            match cursor.keyword()?.as_str() {
                "SUBSCRIBED" => returns.subscribed = true,
                // Told in any case.
                "CHILDREN" | "SPECIAL-USE" => {}
                "STATUS" => {
                    cursor.space()?;
                    returns.status = StatusItem::parse_list(cursor)?;
                }
                _ => return Err(Bad("Unknown return option")),
            }
            Ok(())
        })?;
        Ok(returns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<List, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let list = List::parse(&mut cursor)?;
        cursor.end().map(|()| list)
    }

    #[test]
    fn the_first_form() {
        for text in [r#" "" *"#, r#" "" "*""#, " {0}\r\n {1}\r\n*"] {
            let list = list(text).unwrap();
            assert_eq!((list.reference.as_str(), list.patterns.as_slice()), ("", &["*".to_owned()][..]));
            assert!(!list.extended);
        }
        assert_eq!(list(r#" "" """#).unwrap().patterns, [""]);
        assert_eq!(list(" #news. comp.mail.%]").unwrap().patterns, ["comp.mail.%]"]);
        assert_eq!(list(r#" "" Entw&APw-rfe/%"#).unwrap().patterns, ["Entwürfe/%"]);
    }

    #[test]
    fn the_extended_form() {
        let all = ListSelect { subscribed: true, recursive_match: true, special_use: true };
        let list_all = list(
            r#" (SUBSCRIBED REMOTE RecursiveMatch SPECIAL-USE) "" ("INBOX" Drafts %) return (children)"#,
        )
        .unwrap();
        assert_eq!(list_all.select, all);
        assert_eq!(list_all.patterns, ["INBOX", "Drafts", "%"]);
        assert!(list_all.extended);
        let special = list(r#" (SPECIAL-USE) "" "*""#).unwrap();
        assert!(special.extended && special.select.special_use && special.returns == ListReturn::default());
        let returns = list(r#" "" "*" RETURN (SPECIAL-USE CHILDREN SUBSCRIBED STATUS (MESSAGES UNSEEN))"#)
            .unwrap()
            .returns;
        assert!(returns.subscribed);
        assert_eq!(returns.status, [StatusItem::Messages, StatusItem::Unseen]);
        assert!(list(r#" () "" %  RETURN ()"#).is_err());
        assert!(list(r#" () "" % RETURN ()"#).unwrap().extended);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "",
            " ",
            r#" """#,
            r#" "" "#,
            r#" "" ()"#,
            r#" (FOO) "" *"#,
            r#" (RECURSIVEMATCH) "" *"#,
            r#" "" * RETURN (FOO)"#,
            r#" "" * RETURN"#,
            r#" "" * CHILDREN"#,
            r#" "" * RETURN (STATUS)"#,
            r#" "" (* (%))"#,
            r#" "" &"#,
        ] {
            assert!(list(text).is_err(), "{text}");
        }
        let many = " a".repeat(limits::IMAP_PATTERNS_MAX);
        assert!(list(&format!(" \"\" ({})", &many[1..])).is_ok());
        assert!(list(&format!(" \"\" (a{many})")).is_err());
    }
}
