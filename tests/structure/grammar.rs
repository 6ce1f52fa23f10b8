//! A strict reader of `envelope` and `body` (RFC 3501 §9), as the strictest client would read them: one space where one is due,
//! no NIL where a string is due, no byte above 127. It keeps nothing.

/// Reads exactly one `envelope`.
pub fn envelope(bytes: &[u8]) -> Result<(), String> {
    let mut reader = Reader { bytes, at: 0 };
    reader.envelope()?;
    reader.end()
}

/// Reads exactly one `body`.
pub fn body(bytes: &[u8], extended: bool) -> Result<(), String> {
    let mut reader = Reader { bytes, at: 0 };
    reader.body(extended)?;
    reader.end()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Read<T = ()> = Result<T, String>;

impl Reader<'_> {
    fn fail<T>(&self, wanted: &str) -> Read<T> {
        let before = String::from_utf8_lossy(&self.bytes[self.at.saturating_sub(60)..self.at]);
        let after = String::from_utf8_lossy(&self.bytes[self.at..self.bytes.len().min(self.at + 60)]);
        Err(format!("{wanted} wanted at {} between [{before}] and [{after}]", self.at))
    }

    fn next_is(&self, text: &str) -> bool {
        self.bytes[self.at..].starts_with(text.as_bytes())
    }

    fn take(&mut self, text: &str) -> Read {
        if !self.next_is(text) {
            return self.fail(&format!("{text:?}"));
        }
        self.at += text.len();
        Ok(())
    }

    fn end(&self) -> Read {
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("the end") }
    }

    fn nil_or(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        if self.next_is("NIL") { self.take("NIL") } else { read(self) }
    }

    /// `string = quoted / literal`
    fn string(&mut self) -> Read<Vec<u8>> {
        if self.next_is("{") {
            self.at += 1;
            let length = self.number()?;
            self.take("}\r\n")?;
            let Some(text) = self.bytes.get(self.at..self.at + length) else { return self.fail("a literal") };
            if !text.iter().all(|byte| (1..0x80).contains(byte)) {
                return self.fail("a literal of 7 bits");
            }
            self.at += length;
            return Ok(text.to_vec());
        }
        self.take("\"")?;
        let mut text = Vec::new();
        loop {
            match self.bytes[self.at..] {
                [b'"', ..] => break,
                [b'\\', quoted @ (b'"' | b'\\'), ..] => {
                    text.push(quoted);
                    self.at += 2;
                }
                [b'\\' | b'\r' | b'\n' | 0 | 0x80.., ..] | [] => return self.fail("a TEXT-CHAR"),
                [byte, ..] => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.take("\"")?;
        Ok(text)
    }

    fn nstring(&mut self) -> Read {
        self.nil_or(|reader| reader.string().map(drop))
    }

    fn number(&mut self) -> Read<usize> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = String::from_utf8_lossy(&self.bytes[self.at..self.at + digits]).into_owned();
        match text.parse::<u32>() {
            Ok(number) => {
                self.at += digits;
                Ok(number as usize)
            }
            Err(_) => self.fail("a number"),
        }
    }

    fn envelope(&mut self) -> Read {
        self.take("(")?;
        self.nstring()?;
        self.take(" ")?;
        self.nstring()?;
        for _ in 0..6 {
            self.take(" ")?;
            self.nil_or(Self::addresses)?;
        }
        self.take(" ")?;
        self.nstring()?;
        self.take(" ")?;
        self.nstring()?;
        self.take(")")
    }

    /// `"(" 1*address ")"`; groups begin and end, and do not nest.
    fn addresses(&mut self) -> Read {
        let mut in_group = false;
        self.take("(")?;
        loop {
            self.take("(")?;
            self.nstring()?;
            self.take(" ")?;
            self.nstring()?;
            self.take(" ")?;
            let has_mailbox = !self.next_is("NIL");
            self.nstring()?;
            self.take(" ")?;
            let has_host = !self.next_is("NIL");
            self.nstring()?;
            self.take(")")?;
            match (has_mailbox, has_host) {
                (true, true) => {}
                (true, false) if !in_group => in_group = true,
                (false, false) if in_group => in_group = false,
                _ => return self.fail("an address, or a group's start or end"),
            }
            if self.next_is(")") {
                break;
            }
        }
        if in_group {
            return self.fail("the end of the group");
        }
        self.take(")")
    }

    fn body(&mut self, extended: bool) -> Read {
        self.take("(")?;
        let is_multipart = self.next_is("(");
        if is_multipart {
            while self.next_is("(") {
                self.body(extended)?;
            }
            self.take(" ")?;
            self.string()?;
        } else {
            self.one_part(extended)?;
        }
        if extended {
            self.take(" ")?;
            if is_multipart {
                self.nil_or(Self::params)?
            } else {
                self.nstring()?
            }
            self.take(" ")?;
            self.nil_or(Self::disposition)?;
            self.take(" ")?;
            if self.next_is("(") {
                self.languages()?
            } else {
                self.nstring()?
            }
            self.take(" ")?;
            self.nstring()?;
        }
        self.take(")")
    }

    fn one_part(&mut self, extended: bool) -> Read {
        let kind = self.string()?.to_ascii_lowercase();
        self.take(" ")?;
        let subtype = self.string()?.to_ascii_lowercase();
        self.take(" ")?;
        self.nil_or(Self::params)?;
        self.take(" ")?;
        self.nstring()?;
        self.take(" ")?;
        self.nstring()?;
        self.take(" ")?;
        if self.string()?.is_empty() {
            return self.fail("an encoding");
        }
        self.take(" ")?;
        self.number()?;
        match (kind.as_slice(), subtype.as_slice()) {
            (b"multipart", _) | (b"", _) | (_, b"") => return self.fail("a type of one part"),
            (b"message", b"rfc822" | b"global") => {
                self.take(" ")?;
                self.envelope()?;
                self.take(" ")?;
                self.body(extended)?;
            }
            (b"text", _) => {}
            _ => return Ok(()),
        }
        self.take(" ")?;
        self.number().map(drop)
    }

    /// `"(" string SP string *(SP string SP string) ")"`
    fn params(&mut self) -> Read {
        self.take("(")?;
        loop {
            if self.string()?.is_empty() {
                return self.fail("a parameter's name");
            }
            self.take(" ")?;
            self.string()?;
            if !self.next_is(" ") {
                return self.take(")");
            }
            self.take(" ")?;
        }
    }

    fn disposition(&mut self) -> Read {
        self.take("(")?;
        self.string()?;
        self.take(" ")?;
        self.nil_or(Self::params)?;
        self.take(")")
    }

    fn languages(&mut self) -> Read {
        self.take("(")?;
        loop {
            self.string()?;
            if !self.next_is(" ") {
                return self.take(")");
            }
            self.take(" ")?;
        }
    }
}
