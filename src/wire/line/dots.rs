//! Data between lines: dots are taken off (SMTP DATA) and put on (POP3 RETR); line ends are checked on the way in.
//!
//! RFC 5321 §4.5.2, §2.3.8, §4.1.1.4; RFC 1939 §3. Refuses to repair: a message with a bare CR, a bare LF or a NUL is refused
//! whole, since every program that it passes through would read its ends differently ("SMTP smuggling").
//!
//! Invariants: [`Dots`] ends at CRLF.CRLF and nowhere else, whatever faults came before; how the bytes are cut never matters;
//! what [`Stuffing`] writes never has a line of a lone dot, neither for a reader of CRLF nor for a reader of LF, but its own at the end.

/// What a message by SMTP may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// NUL.
    Nul,
}

/// Takes dots off, finds the end.
#[derive(Debug)]
pub struct Dots {
    at: At,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    /// CR has been seen, and handed on.
    Cr,
    /// A dot at the start of a line: not handed on.
    Dot,
    /// CR after that: not handed on.
    DotCr,
    End,
}

/// A stretch of the message, as it lies in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Bytes of the message; perhaps none.
    pub bytes: &'a [u8],
    /// Bytes of input that are done with: at least one, if there are any.
    pub consumed: usize,
}

impl Dots {
    /// At the start of the data.
    pub fn new() -> Dots {
        Dots { at: At::LineStart, fault: None }
    }

    /// Takes input up to the next dot that is to go, or to the end of the data.
    pub fn push<'a>(&mut self, input: &'a [u8]) -> Run<'a> {
        let (mut from, mut i) = (0, 0);
        while let Some(byte) = input.get(i).copied() {
            match self.at {
                At::LineStart if byte == b'.' => {
                    if i > from {
                        return run(input, from, i, i);
                    }
                    self.at = At::Dot;
                    i += 1;
                    from = i;
                }
                At::LineStart => self.at = At::Text,
                At::Text => i = self.text(input, i),
                At::Cr if byte == b'\n' => {
                    self.at = At::LineStart;
                    i += 1;
                }
                At::Cr => self.fault_at(Fault::BareCr),
                At::Dot if byte == b'\r' => {
                    self.at = At::DotCr;
                    i += 1;
                    from = i;
                }
                At::Dot => self.at = At::Text,
                At::DotCr if byte == b'\n' => {
                    self.at = At::End;
                    return run(input, i, i, i + 1);
                }
                At::DotCr => self.fault_at(Fault::BareCr),
                At::End => return run(input, i, i, i),
            }
        }
        run(input, from, i, i)
    }

    /// Passes over text to the next byte that matters.
    fn text(&mut self, input: &[u8], from: usize) -> usize {
        let rest = input.get(from..).unwrap_or_default();
        let Some(found) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) else {
            return input.len();
        };
        match rest.get(found) {
            Some(b'\r') => self.at = At::Cr,
            Some(b'\n') => self.fault_at(Fault::BareLf),
            _ => self.fault_at(Fault::Nul),
        }
        from + found + 1
    }

    fn fault_at(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.at = At::Text;
    }

    /// Whether CRLF.CRLF has been taken.
    pub fn ended(&self) -> bool {
        self.at == At::End
    }

    /// The first fault. The data go on to their end all the same.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

impl Default for Dots {
    fn default() -> Dots {
        Dots::new()
    }
}

fn run(input: &[u8], from: usize, to: usize, consumed: usize) -> Run<'_> {
    Run { bytes: input.get(from..to).unwrap_or_default(), consumed }
}

/// Looks for the same faults where dots mean nothing: in BDAT (RFC 3030).
#[derive(Debug, Default)]
pub struct Breaks {
    cr: bool,
    fault: Option<Fault>,
}

impl Breaks {
    /// Looks at what comes next.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let fault = match (self.cr, byte) {
                (true, b'\n') => None,
                (true, _) => Some(Fault::BareCr),
                (false, b'\n') => Some(Fault::BareLf),
                (false, 0) => Some(Fault::Nul),
                (false, _) => None,
            };
            self.cr = *byte == b'\r';
            if self.fault.is_none() {
                self.fault = fault;
            }
        }
    }

    /// The first fault so far.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The first fault of a message that ends here.
    pub fn finish(&self) -> Option<Fault> {
        self.fault.or(self.cr.then_some(Fault::BareCr))
    }
}

/// Puts dots on, and ends the data.
///
/// Every line that begins with a dot gets another one, also one that begins after a bare LF: readers that end lines at LF
/// would take a lone dot there for the end. Such content comes by IMAP only.
#[derive(Debug)]
pub struct Stuffing {
    line_start: bool,
    last_two: [u8; 2],
}

impl Stuffing {
    /// At the start of a message.
    pub fn new() -> Stuffing {
        Stuffing { line_start: true, last_two: *b"\r\n" }
    }

    /// Appends content, stuffed.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line_start && line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(line);
            self.line_start = line.ends_with(b"\n");
        }
        match bytes {
            [] => {}
            [last] => self.last_two = [self.last_two[1], *last],
            [.., before, last] => self.last_two = [*before, *last],
        }
    }

    /// Appends the end: CRLF where the content has none, and the lone dot.
    pub fn end(self, out: &mut Vec<u8>) {
        if self.last_two != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

impl Default for Stuffing {
    fn default() -> Stuffing {
        Stuffing::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message, fault, and what is left after the end; None without an end.
    type Decoded = Option<(Vec<u8>, Option<Fault>, Vec<u8>)>;

    fn decode(input: &[u8], cut: usize) -> Decoded {
        let (mut dots, mut message, mut left) = (Dots::new(), Vec::new(), Vec::new());
        for mut part in [&input[..cut], &input[cut..]] {
            while !part.is_empty() && !dots.ended() {
                let run = dots.push(part);
                assert!(run.consumed > 0);
                message.extend_from_slice(run.bytes);
                part = &part[run.consumed..];
            }
            left.extend_from_slice(part);
        }
        dots.ended().then_some((message, dots.fault(), left))
    }

    #[test]
    fn dots_come_off_and_only_crlf_dot_crlf_ends() {
        let clean = |message: &[u8], left: &[u8]| Some((message.to_vec(), None, left.to_vec()));
        let faulty = |fault, left: &[u8]| Some((Vec::new(), Some(fault), left.to_vec()));
        for (input, expected) in [
            (&b".\r\n"[..], clean(b"", b"")),
            (b"a\r\n.\r\nQUIT\r\n", clean(b"a\r\n", b"QUIT\r\n")),
            (b"..\r\n...a\r\n.b\r\n.\r\n", clean(b".\r\n..a\r\nb\r\n", b"")),
            (b"\r\n\r\n.\r\n", clean(b"\r\n\r\n", b"")),
            (b"a\r\n", None),
            (b"a.\r\n", None),
            (b"a\n.\n", None),
            (b"a\n.\r\n", None),
            (b"a\r.\r\n", None),
            (b"a\r\n.\nb", None),
            (b"a\r\n.\rb", None),
            (b"a\n.\r\nMAIL\r\n.\r\nX", faulty(Fault::BareLf, b"X")),
            (b"a\r\n.\r\r\n.\r\nX", faulty(Fault::BareCr, b"X")),
            (b"a\rb\nc\0\r\n.\r\nX", faulty(Fault::BareCr, b"X")),
            (b"\0\r\n.\r\nX", faulty(Fault::Nul, b"X")),
            (b"a\r\n.\n\r\n.\r\nX", faulty(Fault::BareLf, b"X")),
        ] {
            for cut in 0..=input.len() {
                let mut found = decode(input, cut);
                if let Some((message, Some(_), _)) = &mut found {
                    message.clear();
                }
                assert_eq!(found, expected, "{:?} cut at {cut}", String::from_utf8_lossy(input));
            }
        }
    }

    #[test]
    fn chunks_are_looked_at_across_their_borders() {
        for (bytes, expected) in [
            (&b"a\r\nb\r\n"[..], None),
            (b"no end", None),
            (b"a\r", Some(Fault::BareCr)),
            (b"a\rb\n", Some(Fault::BareCr)),
            (b"\n", Some(Fault::BareLf)),
            (b"a\0\n", Some(Fault::Nul)),
            (b"\r\r\n", Some(Fault::BareCr)),
        ] {
            for cut in 0..=bytes.len() {
                let mut breaks = Breaks::default();
                breaks.push(&bytes[..cut]);
                breaks.push(&bytes[cut..]);
                assert_eq!(breaks.finish(), expected, "{bytes:?}");
            }
        }
    }

    #[test]
    fn what_was_stuffed_comes_off_again() {
        for (content, end) in [
            (&b""[..], &b""[..]),
            (b".\r\n", b""),
            (b"a\r\n.\r\n..b\r\n.", b"\r\n"),
            (b"a", b"\r\n"),
            (b"a\r", b"\r\n"),
            (b"\r\n", b""),
        ] {
            for cut in 0..=content.len() {
                let (mut stuffing, mut out) = (Stuffing::new(), Vec::new());
                stuffing.push(&content[..cut], &mut out);
                stuffing.push(&content[cut..], &mut out);
                stuffing.end(&mut out);
                let (message, _, left) = decode(&out, 0).unwrap();
                assert_eq!(message, [content, end].concat(), "{content:?}");
                assert!(left.is_empty());
            }
        }
    }

    #[test]
    fn a_bare_lf_hides_no_end() {
        let (mut stuffing, mut out) = (Stuffing::new(), Vec::new());
        stuffing.push(b"a\n.\n.b\n", &mut out);
        stuffing.end(&mut out);
        assert_eq!(out, b"a\n..\n..b\n\r\n.\r\n");
    }
}
