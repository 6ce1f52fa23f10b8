//! A place in a command, and the small productions that every command is made of (RFC 3501 §9).
//!
//! What can be borrowed is borrowed from the command's slice. A parser that fails leaves the cursor anywhere: the command is refused.
//!
//! Deliberate: bytes from 0x80 are accepted in strings and in astrings written as atoms. RFC 3501 allows them in literals only, yet
//! clients write UTF-8 names and search texts wherever they like. Atoms proper (tags, keywords, flags) stay ASCII.

use std::borrow::Cow;

use super::utf7;
use crate::limits;

/// Arguments that are not of the grammar, with the text of the BAD response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad(pub &'static str);

/// The grammar takes these bytes, but no folder can have this name: NO, not BAD (RFC 3501 §7.1.2).
pub const NO_NAME: Bad = Bad("Not a folder name in modified UTF-7");

/// A password, or what SASL carries one in. Not printed by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<'a>(pub Cow<'a, [u8]>);

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What is still to be read of a command, and how deep in parentheses it is.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// `ATOM-CHAR = <any CHAR except atom-specials>`
///
/// `atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials`
pub fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
pub fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes, depth: 0 }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, not taken.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes `byte`, which must be next.
    pub fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Bad> {
        if self.take(byte) { Ok(()) } else { Err(Bad(otherwise)) }
    }

    /// `SP`: exactly one space.
    pub fn space(&mut self) -> Result<(), Bad> {
        self.expect(b' ', "Space expected")
    }

    /// The end of the command.
    pub fn end(&self) -> Result<(), Bad> {
        if self.rest.is_empty() { Ok(()) } else { Err(Bad("Too many arguments")) }
    }

    /// The longest run of bytes that are `wanted`, maybe empty.
    pub fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(length);
        self.rest = rest;
        run
    }

    /// Takes `word` if it is next in any case and no further letter or digit follows.
    pub fn word(&mut self, word: &str) -> bool {
        match self.rest.split_at_checked(word.len()) {
            Some((start, rest))
                if start.eq_ignore_ascii_case(word.as_bytes())
                    && !rest.first().is_some_and(u8::is_ascii_alphanumeric) =>
            {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// One level deeper, for as long as `inner` runs.
    pub fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Bad>) -> Result<T, Bad> {
        self.deeper()?;
        let result = inner(self);
        self.shallower();
        result
    }

    /// One level deeper, until [`Cursor::shallower`].
    pub fn deeper(&mut self) -> Result<(), Bad> {
        if self.depth >= limits::IMAP_DEPTH_MAX {
            return Err(Bad("Nested too deeply"));
        }
        self.depth += 1;
        Ok(())
    }

    /// Back again.
    pub fn shallower(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// `"(" item *(SP item) ")"`, at most `count_max` items. `()` is an empty list: the caller says whether that is allowed.
    pub fn list<T>(
        &mut self,
        count_max: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Bad>,
    ) -> Result<Vec<T>, Bad> {
        self.expect(b'(', "Parenthesis expected")?;
        self.nested(|cursor| {
            let mut items = Vec::new();
            if cursor.take(b')') {
                return Ok(items);
            }
            loop {
                if items.len() == count_max {
                    return Err(Bad("Too long a list"));
                }
                items.push(item(cursor)?);
                if cursor.take(b')') {
                    return Ok(items);
                }
                cursor.space()?;
            }
        })
    }

    /// `tag = 1*<any ASTRING-CHAR except "+">`
    pub fn tag(&mut self) -> Result<&'a str, Bad> {
        let run = self.run(|byte| is_astring_char(byte) && byte != b'+');
        text(run).filter(|tag| !tag.is_empty()).ok_or(Bad("No tag"))
    }

    /// `atom = 1*ATOM-CHAR`
    pub fn atom(&mut self) -> Result<&'a str, Bad> {
        text(self.run(is_atom_char)).filter(|atom| !atom.is_empty()).ok_or(Bad("Atom expected"))
    }

    /// An atom as a word to compare with: in upper case.
    pub fn keyword(&mut self) -> Result<String, Bad> {
        Ok(self.atom()?.to_ascii_uppercase())
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub fn astring(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.wide_atom(is_astring_char),
        }
    }

    /// `list-mailbox = 1*list-char / string`
    ///
    /// `list-char = ATOM-CHAR / list-wildcards / resp-specials`
    pub fn list_mailbox(&mut self) -> Result<String, Bad> {
        let bytes = match self.peek() {
            Some(b'"' | b'{') => self.string()?,
            _ => self.wide_atom(|byte| is_astring_char(byte) || byte == b'%' || byte == b'*')?,
        };
        utf7::decode(&bytes).map_err(|_| NO_NAME)
    }

    fn wide_atom(&mut self, wanted: impl Fn(u8) -> bool) -> Result<Cow<'a, [u8]>, Bad> {
        let run = self.run(|byte| byte >= 0x80 || wanted(byte));
        if run.is_empty() { Err(Bad("Argument expected")) } else { Ok(Cow::Borrowed(run)) }
    }

    /// `string = quoted / literal`
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(Bad("String expected")),
        }
    }

    /// `nstring = string / nil`
    pub fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>, Bad> {
        if self.word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`
    ///
    /// `QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials`
    pub fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        self.expect(b'"', "Quoted string expected")?;
        let mut text = Cow::Borrowed(self.run(is_plain_quoted));
        while self.take(b'\\') {
            let special = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'));
            let special = special.ok_or(Bad("Bad escape in a quoted string"))?;
            self.take(special);
            let plain = self.run(is_plain_quoted);
            let owned = text.to_mut();
            owned.push(special);
            owned.extend_from_slice(plain);
        }
        self.expect(b'"', "Quoted string not closed")?;
        Ok(text)
    }

    /// `literal = "{" number "}" CRLF *CHAR8`, also with `"+"` after the number (RFC 7888 §8).
    pub fn literal(&mut self) -> Result<&'a [u8], Bad> {
        self.expect(b'{', "Literal expected")?;
        let count = self.number()?;
        self.take(b'+');
        let head = self.rest.strip_prefix(b"}\r\n").ok_or(Bad("Bad literal"))?;
        let count = usize::try_from(count).map_err(|_| Bad("Bad literal"))?;
        let (literal, rest) = head.split_at_checked(count).ok_or(Bad("Bad literal"))?;
        if literal.contains(&0) {
            return Err(Bad("NUL in a literal"));
        }
        self.rest = rest;
        Ok(literal)
    }

    /// `number = 1*DIGIT ; Unsigned 32-bit integer`
    pub fn number(&mut self) -> Result<u32, Bad> {
        u32::try_from(self.number64()?).map_err(|_| Bad("Number out of range"))
    }

    /// `nz-number = digit-nz *DIGIT ; Non-zero unsigned 32-bit integer`
    pub fn nz_number(&mut self) -> Result<u32, Bad> {
        match self.peek() {
            Some(b'1'..=b'9') => self.number(),
            _ => Err(Bad("Number above zero expected")),
        }
    }

    /// `mod-sequence-valzer = "0" / mod-sequence-value ; 63-bit` (RFC 7162 §7)
    pub fn mod_sequence(&mut self) -> Result<u64, Bad> {
        self.number64().and_then(|n| if n < 1 << 63 { Ok(n) } else { Err(Bad("Number out of range")) })
    }

    fn number64(&mut self) -> Result<u64, Bad> {
        let digits = text(self.run(|byte| byte.is_ascii_digit())).unwrap_or_default();
        if digits.is_empty() {
            return Err(Bad("Number expected"));
        }
        digits.parse().map_err(|_| Bad("Number out of range"))
    }

    /// `mailbox = "INBOX" / astring ; INBOX is case-insensitive`
    ///
    /// The name decoded from modified UTF-7 (RFC 3501 §5.1.3); `INBOX` in any case is `INBOX`.
    pub fn mailbox(&mut self) -> Result<String, Bad> {
        let bytes = self.astring()?;
        if bytes.eq_ignore_ascii_case(b"INBOX") {
            return Ok("INBOX".to_owned());
        }
        utf7::decode(&bytes).map_err(|_| NO_NAME)
    }
}

fn is_plain_quoted(byte: u8) -> bool {
    !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole<'a, T>(text: &'a [u8], parse: impl Fn(&mut Cursor<'a>) -> Result<T, Bad>) -> Result<T, Bad> {
        let mut cursor = Cursor::new(text);
        let value = parse(&mut cursor)?;
        cursor.end().map(|()| value)
    }

    #[test]
    fn an_astring_is_an_atom_a_quoted_string_or_a_literal() {
        for text in [&b"ab]c"[..], b"\"ab]c\"", b"{4}\r\nab]c", b"{4+}\r\nab]c", b"{0004}\r\nab]c"] {
            assert_eq!(whole(text, Cursor::astring).unwrap().as_ref(), b"ab]c");
        }
        assert_eq!(whole(b"\"\"", Cursor::astring).unwrap().as_ref(), b"");
        assert_eq!(whole(b"{0}\r\n", Cursor::astring).unwrap().as_ref(), b"");
        assert_eq!(whole(b"\"a\\\"b\\\\\"", Cursor::astring).unwrap().as_ref(), b"a\"b\\");
        assert_eq!(whole("Größe".as_bytes(), Cursor::astring).unwrap().as_ref(), "Größe".as_bytes());
        assert_eq!(whole(b"NIL", Cursor::astring).unwrap().as_ref(), b"NIL");
    }

    #[test]
    fn what_is_no_astring_is_refused() {
        let bad: [&[u8]; 14] = [
            b"",
            b" ",
            b"(",
            b"a b",
            b"\"a",
            b"\"a\\n\"",
            b"\"a\nb\"",
            b"\"a\0\"",
            b"{3}\r\nab",
            b"{-1}\r\n",
            b"{3}ab",
            b"{1}\r\n\0",
            b"{99999999999999999999}\r\n",
            b"{4294967295}\r\nabc",
        ];
        for text in bad {
            assert!(whole(text, Cursor::astring).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_borrowed_string_is_not_copied() {
        assert!(matches!(whole(b"\"abc\"", Cursor::string), Ok(Cow::Borrowed(_))));
        assert!(matches!(whole(b"\"a\\\\c\"", Cursor::string), Ok(Cow::Owned(_))));
    }

    #[test]
    fn nil_is_no_string_and_a_string_nil_is_not_nil() {
        assert_eq!(whole(b"nil", Cursor::nstring), Ok(None));
        assert_eq!(whole(b"\"NIL\"", Cursor::nstring), Ok(Some(Cow::Borrowed(&b"NIL"[..]))));
        assert!(whole(b"NILS", Cursor::nstring).is_err());
    }

    #[test]
    fn numbers_keep_their_range() {
        assert_eq!(whole(b"4294967295", Cursor::number), Ok(u32::MAX));
        assert_eq!(whole(b"007", Cursor::number), Ok(7));
        for text in [&b""[..], b"-1", b"4294967296", b"99999999999999999999999"] {
            assert!(whole(text, Cursor::number).is_err());
        }
        assert!(whole(b"0", Cursor::nz_number).is_err());
        assert!(whole(b"01", Cursor::nz_number).is_err());
        assert_eq!(whole(b"9223372036854775807", Cursor::mod_sequence), Ok(i64::MAX as u64));
        assert!(whole(b"9223372036854775808", Cursor::mod_sequence).is_err());
    }

    #[test]
    fn tags_have_no_plus_and_atoms_no_bracket() {
        assert_eq!(whole(b"a]1.$", Cursor::tag), Ok("a]1.$"));
        for text in [&b"+"[..], b"a+1", b"", b"*", b"a*", "ä".as_bytes()] {
            assert!(whole(text, Cursor::tag).is_err());
        }
        assert_eq!(whole(b"a+1[", Cursor::atom), Ok("a+1["));
        assert!(whole(b"a]", Cursor::atom).is_err());
    }

    #[test]
    fn inbox_is_inbox_in_any_case_and_writing() {
        for text in [&b"inbox"[..], b"\"InBox\"", b"{5}\r\nINBOX"] {
            assert_eq!(whole(text, Cursor::mailbox).unwrap(), "INBOX");
        }
        assert_eq!(whole(b"inbox/a", Cursor::mailbox).unwrap(), "inbox/a");
        assert_eq!(whole(b"&U,BTFw-", Cursor::mailbox).unwrap(), "台北");
        assert!(whole(b"R&D", Cursor::mailbox).is_err());
    }

    #[test]
    fn lists_are_bounded_in_length_and_depth() {
        assert_eq!(whole(b"(1 2 3)", |c| c.list(3, Cursor::number)), Ok(vec![1, 2, 3]));
        assert_eq!(whole(b"()", |c| c.list(3, Cursor::number)), Ok(vec![]));
        for text in [&b"(1 2 3 4)"[..], b"(1  2)", b"( 1)", b"(1 )", b"(1", b"1"] {
            assert!(whole(text, |c| c.list(3, Cursor::number)).is_err());
        }
        fn deep(cursor: &mut Cursor<'_>) -> Result<usize, Bad> {
            match cursor.peek() {
                Some(b'(') => Ok(cursor.list(1, deep)?.into_iter().sum::<usize>() + 1),
                _ => cursor.number().map(|_| 0),
            }
        }
        let nest = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
        assert_eq!(whole(nest(limits::IMAP_DEPTH_MAX).as_bytes(), deep), Ok(limits::IMAP_DEPTH_MAX));
        assert_eq!(whole(nest(limits::IMAP_DEPTH_MAX + 1).as_bytes(), deep), Err(Bad("Nested too deeply")));
    }
}
