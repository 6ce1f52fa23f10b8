//! APPEND up to its message (RFC 3501 §6.3.11). The message itself is never gathered: the session streams it.

use super::cursor::{Bad, Cursor};
use super::date::date_time;
use super::flags::FlagList;
use crate::types::Time;

/// An APPEND whose message comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append<'a> {
    /// The command's tag.
    pub tag: &'a str,
    /// The folder, decoded.
    pub mailbox: String,
    /// The flags; none given is none set.
    pub flags: FlagList<'a>,
    /// INTERNALDATE, if given.
    pub date: Option<Time>,
    /// Length of the message, bytes.
    pub size: u64,
    /// The client waits for `+` before it sends the message. If not, its bytes come in any case.
    pub sync: bool,
}

/// What a command that ends in a literal's header is, as far as APPEND is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// Not APPEND, or its message is not reached.
    Other,
    /// The literal is the message.
    Message(Append<'a>),
    /// APPEND with bad arguments.
    Bad(Bad),
}

/// Looks at `before`, a command up to the `{` of a literal that has `size` bytes.
///
/// `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal`
pub fn header(before: &[u8], size: u64, sync: bool) -> Header<'_> {
    let mut cursor = Cursor::new(before);
    let Ok(tag) = cursor.tag() else { return Header::Other };
    if cursor.space().is_err() || !cursor.word("APPEND") || cursor.space().is_err() {
        return Header::Other;
    }
    // Nothing more: the literal is the folder's name.
    if cursor.rest().is_empty() {
        return Header::Other;
    }
    match arguments(&mut cursor) {
        Ok((mailbox, flags, date)) => Header::Message(Append { tag, mailbox, flags, date, size, sync }),
        Err(bad) => Header::Bad(bad),
    }
}

type Arguments<'a> = (String, FlagList<'a>, Option<Time>);

fn arguments<'a>(cursor: &mut Cursor<'a>) -> Result<Arguments<'a>, Bad> {
    let mailbox = cursor.mailbox()?;
    cursor.space()?;
    let mut flags = FlagList::default();
    if cursor.peek() == Some(b'(') {
        flags = FlagList::parse(cursor)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date_time(cursor)?);
        cursor.space()?;
    }
    cursor.end().map(|()| (mailbox, flags, date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Flags;

    #[test]
    fn the_forms_of_append() {
        let Header::Message(append) = header(b"A003 append saved-messages (\\Seen) ", 310, true) else {
            panic!()
        };
        assert_eq!(
            (append.tag, append.mailbox.as_str(), append.flags.system),
            ("A003", "saved-messages", Flags::SEEN)
        );
        assert_eq!((append.date, append.size, append.sync), (None, 310, true));
        let full = b"a APPEND {5}\r\ninbox (\\Draft $a) \" 1-Jan-1970 00:00:01 +0000\" ";
        let Header::Message(append) = header(full, 0, false) else { panic!() };
        assert_eq!(
            (append.mailbox.as_str(), append.date, append.flags.keywords),
            ("INBOX", Some(Time(1)), vec!["$a"])
        );
        assert!(matches!(header(b"a APPEND \"x y\" ", 1, true), Header::Message(_)));
    }

    #[test]
    fn what_is_not_the_message_is_told_apart() {
        for text in [&b"a APPEND "[..], b"a LOGIN ", b"a APPEND", b"a APPENDIX x ", b"", b"+ APPEND x "] {
            assert_eq!(header(text, 1, true), Header::Other, "{}", text.escape_ascii());
        }
        for text in [
            &b"a APPEND  "[..],
            b"a APPEND x",
            b"a APPEND x  ",
            b"a APPEND x (\\Recent) ",
            b"a APPEND x \"yesterday\" ",
            b"a APPEND R&D ",
            b"a APPEND x () () ",
            b"a APPEND x ()",
            b"a APPEND {1}\r\n",
        ] {
            assert!(matches!(header(text, 1, true), Header::Bad(_)), "{}", text.escape_ascii());
        }
    }
}
