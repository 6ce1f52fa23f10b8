//! The FETCH response (RFC 3501 §7.4.2, RFC 7162 §3.1.4.2), put together item by item.

use super::date::print_date_time;
use super::fetch::Item;
use super::reply::flag_list;
use crate::types::{Flags, Serial, Time, Uid};

/// `"*" SP nz-number SP "FETCH" SP "(" msg-att ")"`, put together item by item, maybe over several steps of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLine {
    empty: bool,
}

impl FetchLine {
    /// Begins the response about message `sequence`.
    pub fn begin(out: &mut Vec<u8>, sequence: u32) -> FetchLine {
        out.extend_from_slice(format!("* {sequence} FETCH (").as_bytes());
        FetchLine { empty: true }
    }

    /// Before each item: the space between two.
    pub fn item(&mut self, out: &mut Vec<u8>) {
        if !self.empty {
            out.push(b' ');
        }
        self.empty = false;
    }

    /// `"UID" SP uniqueid`
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: Uid) {
        self.item(out);
        out.extend_from_slice(format!("UID {uid}").as_bytes());
    }

    /// `"FLAGS" SP "(" [flag-fetch *(SP flag-fetch)] ")"`; see [`flag_list`].
    pub fn flags<'a>(
        &mut self,
        out: &mut Vec<u8>,
        flags: Flags,
        recent: bool,
        keyword: impl Fn(usize) -> Option<&'a str>,
    ) {
        self.item(out);
        out.extend_from_slice(b"FLAGS ");
        flag_list(out, flags, recent, keyword);
    }

    /// `"MODSEQ" SP "(" permsg-modsequence ")"` (RFC 7162 §7)
    pub fn mod_sequence(&mut self, out: &mut Vec<u8>, serial: Serial) {
        self.item(out);
        out.extend_from_slice(format!("MODSEQ ({serial})").as_bytes());
    }

    /// `"INTERNALDATE" SP date-time`
    pub fn internal_date(&mut self, out: &mut Vec<u8>, time: Time) {
        self.item(out);
        out.extend_from_slice(b"INTERNALDATE ");
        print_date_time(out, time);
    }

    /// `"RFC822.SIZE" SP number`
    pub fn size(&mut self, out: &mut Vec<u8>, size: u64) {
        self.item(out);
        out.extend_from_slice(format!("RFC822.SIZE {size}").as_bytes());
    }

    /// An item's name and a space; its value follows: a structure, an [`super::reply::nstring`], or a [`super::reply::literal_header`] and the bytes.
    pub fn named(&mut self, out: &mut Vec<u8>, item: &Item) {
        self.item(out);
        item.print_name(out);
        out.push(b' ');
    }

    /// Ends the response.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::imap::reply::literal_header;

    fn printed(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_fetch_response_is_put_together() {
        let line = printed(|out| {
            let mut line = FetchLine::begin(out, 12);
            line.uid(out, Uid(7));
            line.flags(out, Flags::SEEN.with(Flags::keyword(1)), true, |n| ["a", "$b"].get(n).copied());
            line.mod_sequence(out, Serial(5));
            line.internal_date(out, Time(0));
            line.size(out, 4286);
            line.named(out, &Item::Rfc822);
            literal_header(out, 2);
            out.extend_from_slice(b"xy");
            line.end(out);
        });
        let wanted = "* 12 FETCH (UID 7 FLAGS (\\Recent \\Seen $b) MODSEQ (5) INTERNALDATE \" 1-Jan-1970 00:00:00 +0000\" \
                      RFC822.SIZE 4286 RFC822 {2}\r\nxy)\r\n";
        assert_eq!(line, wanted);
        assert_eq!(printed(|out| FetchLine::begin(out, 1).end(out)), "* 1 FETCH ()\r\n");
    }
}
