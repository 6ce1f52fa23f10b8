//! `BODY[…]`: which bytes of a message (RFC 3501 §6.4.5), and its name in the response.

use super::cursor::{Bad, Cursor};
use super::reply;
use crate::limits;

/// What stands between the brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from the outermost, each at least 1; empty for the message itself.
    pub part: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
}

/// What of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SectionText {
    /// Nothing more is said: `BODY[]` is the message, `BODY[1.2]` the part's content.
    #[default]
    All,
    /// `HEADER`, of the message or of an embedded one.
    Header,
    /// `HEADER.FIELDS` and `HEADER.FIELDS.NOT`
    Fields {
        /// Field names as written, at least one.
        names: Vec<String>,
        /// All fields but these.
        not: bool,
    },
    /// `TEXT`: without the header.
    Text,
    /// `MIME`: the part's own header; only with part numbers.
    Mime,
}

/// `<start.count>`: a part of what the section names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// First byte, from 0. At or past the end, the answer is empty.
    pub start: u32,
    /// How many bytes at most, at least 1.
    pub count: u32,
}

impl Section {
    /// `section = "[" [section-spec] "]"`
    ///
    /// `section-spec = section-msgtext / (section-part ["." section-text])`; `section-part = nz-number *("." nz-number)`
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Section, Bad> {
        cursor.expect(b'[', "Section expected")?;
        let mut part = Vec::new();
        let mut dot = true;
        while cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            if part.len() == limits::IMAP_SECTION_DEPTH_MAX {
                return Err(Bad("Section too deep"));
            }
            part.push(cursor.nz_number()?);
            dot = cursor.take(b'.');
            if !dot {
                break;
            }
        }
        let at_end = cursor.peek() == Some(b']');
        let text = match (part.is_empty(), dot, at_end) {
            (true, _, true) | (false, false, true) => SectionText::All,
            (_, true, false) => SectionText::parse(cursor, !part.is_empty())?,
            _ => return Err(Bad("Bad section")),
        };
        cursor.expect(b']', "Section not closed")?;
        Ok(Section { part, text })
    }

    /// Appends `[…]` as it is told in the response.
    pub fn print(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        let mut dot = "";
        for number in &self.part {
            out.extend_from_slice(format!("{dot}{number}").as_bytes());
            dot = ".";
        }
        let word = match &self.text {
            SectionText::All => "",
            SectionText::Header => "HEADER",
            SectionText::Fields { not: false, .. } => "HEADER.FIELDS (",
            SectionText::Fields { not: true, .. } => "HEADER.FIELDS.NOT (",
            SectionText::Text => "TEXT",
            SectionText::Mime => "MIME",
        };
        if !word.is_empty() {
            out.extend_from_slice(dot.as_bytes());
            out.extend_from_slice(word.as_bytes());
        }
        if let SectionText::Fields { names, .. } = &self.text {
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                reply::astring(out, name.as_bytes());
            }
            out.push(b')');
        }
        out.push(b']');
    }
}

impl SectionText {
    /// `section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"`
    ///
    /// `section-text = section-msgtext / "MIME"`
    fn parse(cursor: &mut Cursor<'_>, in_part: bool) -> Result<SectionText, Bad> {
        let word = cursor.run(|byte| byte.is_ascii_alphabetic() || byte == b'.').to_ascii_uppercase();
        match word.as_slice() {
            b"HEADER" => Ok(SectionText::Header),
            b"HEADER.FIELDS" => Ok(SectionText::Fields { names: header_list(cursor)?, not: false }),
            b"HEADER.FIELDS.NOT" => Ok(SectionText::Fields { names: header_list(cursor)?, not: true }),
            b"TEXT" => Ok(SectionText::Text),
            b"MIME" if in_part => Ok(SectionText::Mime),
            _ => Err(Bad("Unknown section")),
        }
    }
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`
fn header_list(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Bad> {
    cursor.space()?;
    let names = cursor.list(limits::IMAP_HEADER_NAMES_MAX, header_name)?;
    if names.is_empty() { Err(Bad("Name of a header field expected")) } else { Ok(names) }
}

/// `header-fld-name = astring`
///
/// Deliberate: printable ASCII and spaces only. Nothing else can name a field (RFC 5322 §2.2), and it must be told back.
pub fn header_name(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let name = cursor.astring()?;
    if !name.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Bad("Not the name of a header field"));
    }
    String::from_utf8(name.into_owned()).map_err(|_| Bad("Not the name of a header field"))
}

impl Partial {
    /// `["<" number "." nz-number ">"]`
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Partial>, Bad> {
        if !cursor.take(b'<') {
            return Ok(None);
        }
        let start = cursor.number()?;
        cursor.expect(b'.', "Bad partial")?;
        let count = cursor.nz_number()?;
        cursor.expect(b'>', "Bad partial")?;
        Ok(Some(Partial { start, count }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<Section, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let section = Section::parse(&mut cursor)?;
        cursor.end().map(|()| section)
    }

    #[test]
    fn every_section_prints_as_it_was_read() {
        for text in [
            "[]",
            "[1]",
            "[4.2.2.1]",
            "[HEADER]",
            "[TEXT]",
            "[4.1.MIME]",
            "[4.2.HEADER]",
            "[4.2.TEXT]",
            "[HEADER.FIELDS (DATE FROM)]",
            "[1.HEADER.FIELDS (SUBJECT)]",
            "[4.2.HEADER.FIELDS.NOT (X-a Y)]",
            "[HEADER.FIELDS (\"\")]",
            "[HEADER.FIELDS (\"a(b\")]",
            "[4294967295]",
        ] {
            let mut out = Vec::new();
            section(text).unwrap().print(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let quoted = section("[header.fields (\"DATE\" {4}\r\nFROM)]").unwrap();
        assert_eq!(quoted, section("[HEADER.FIELDS (DATE FROM)]").unwrap());
    }

    #[test]
    fn what_is_no_section_is_refused() {
        for text in [
            "",
            "[",
            "[0]",
            "[1.]",
            "[.1]",
            "[1..2]",
            "[MIME]",
            "[1 ]",
            "[ 1]",
            "[HEADER.FIELDS]",
            "[HEADER.FIELDS ()]",
            "[TEXT.1]",
            "[1TEXT]",
            "[1.FOO]",
            "[HEADER.FIELDS (A B]",
            "[HEADER.FIELDS (\"A\tB\")]",
            "[HEADER.FIELDS (ä)]",
            "[4294967296]",
            "[]]",
        ] {
            assert!(section(text).is_err(), "{text}");
        }
        let deep = |depth: usize| format!("[{}]", vec!["1"; depth].join("."));
        assert!(section(&deep(limits::IMAP_SECTION_DEPTH_MAX)).is_ok());
        assert!(section(&deep(limits::IMAP_SECTION_DEPTH_MAX + 1)).is_err());
    }

    #[test]
    fn partials_have_a_count() {
        let partial = |text: &'static str| Partial::parse(&mut Cursor::new(text.as_bytes()));
        assert_eq!(partial("<0.2048>"), Ok(Some(Partial { start: 0, count: 2048 })));
        assert_eq!(partial(""), Ok(None));
        for text in ["<0>", "<0.0>", "<.1>", "<1.>", "<1.1", "<-1.1>", "<4294967296.1>"] {
            assert!(partial(text).is_err(), "{text}");
        }
    }
}
