//! Header fields as bytes on their way past: picking some out, counting some, decoding some (RFC 5322 §2.2, RFC 2047).
//!
//! Refuses to hold a header: the filter and the counter keep one field name at most. What fields mean is in [`super::mime`].
//!
//! Invariants: any chunking gives the same answer; kept fields come out byte for byte as they were.

use super::charset;

/// Field names are at most a line (RFC 5322 §2.1.1); what is longer is no name.
const NAME_BYTES_MAX: usize = 998;

/// An encoded word has 75 characters (RFC 2047 §2); senders make longer ones. A bound keeps decoding linear.
const ENCODED_WORD_BYTES_MAX: usize = 4096;

/// The fields of a header up to its empty line: name and raw value, with the folds but without the last line end.
///
/// Lines that are no field are passed over.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// See [`fields`].
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let field = self.rest.get(..field_end(self.rest))?;
            if matches!(field, b"" | b"\n" | b"\r\n") {
                self.rest = &[];
                return None;
            }
            self.rest = self.rest.get(field.len()..).unwrap_or_default();
            let field = field.strip_suffix(b"\n").unwrap_or(field);
            let field = field.strip_suffix(b"\r").unwrap_or(field);
            if let Some(colon) = field.iter().position(|byte| *byte == b':')
                && let Some((name, value)) = field.split_at_checked(colon)
                && is_name(name.trim_ascii_end())
            {
                return Some((name.trim_ascii_end(), value.get(1..).unwrap_or_default()));
            }
        }
    }
}

/// Where the field at the start of a header ends: after the first line end that no blank follows.
fn field_end(header: &[u8]) -> usize {
    let mut end = 0;
    while let Some(line) = header.get(end..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
        let is_empty_line = end == 0 && matches!(header.get(..line), Some(b"" | b"\r"));
        end += line + 1;
        if is_empty_line || !matches!(header.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
    header.len()
}

/// `field-name = 1*ftext` (RFC 5322 §3.6.8).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

/// A raw value without its folds (RFC 5322 §2.2.3) and without blanks at its ends.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut unfolded = Vec::with_capacity(value.len());
    for line in value.split(|byte| *byte == b'\n') {
        unfolded.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
    }
    unfolded.trim_ascii().to_vec()
}

/// The text that a raw value shows: unfolded, encoded words decoded (RFC 2047), 8-bit bytes guessed.
///
/// Blanks between encoded words are none of the text; words of one charset are decoded together, since senders break letters.
pub fn decode_words(value: &[u8]) -> String {
    let value = unfold(value);
    let mut text = String::new();
    let mut rest = value.as_slice();
    // Encoded words that have been read but not decoded, with their charset.
    let mut held: Option<(&[u8], Vec<u8>)> = None;
    while let Some(start) = find(rest, b"=?") {
        let (before, tail) = rest.split_at_checked(start).unwrap_or((rest, &[]));
        let Some((label, bytes, after)) = encoded_word(tail) else {
            flush(&mut held, &mut text);
            // No word: its first two bytes are text.
            let (plain, tail) = rest.split_at_checked(start + 2).unwrap_or((rest, &[]));
            text.push_str(&charset::decode(b"", plain));
            rest = tail;
            continue;
        };
        rest = after;
        let joins = held.is_some() && before.trim_ascii().is_empty();
        match &mut held {
            Some((own, held)) if joins && own.eq_ignore_ascii_case(label) => held.extend(bytes),
            _ => {
                flush(&mut held, &mut text);
                if !joins {
                    text.push_str(&charset::decode(b"", before));
                }
                held = Some((label, bytes));
            }
        }
    }
    flush(&mut held, &mut text);
    text.push_str(&charset::decode(b"", rest));
    text
}

fn flush(held: &mut Option<(&[u8], Vec<u8>)>, text: &mut String) {
    if let Some((label, bytes)) = held.take() {
        text.push_str(&charset::decode(label, &bytes));
    }
}

fn find(text: &[u8], what: &[u8; 2]) -> Option<usize> {
    text.windows(2).position(|window| window == what)
}

/// `encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="`; the answer: charset, bytes, what follows.
fn encoded_word(whole: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let text = whole.get(..ENCODED_WORD_BYTES_MAX).unwrap_or(whole);
    let mut marks = text.get(2..)?.splitn(3, |byte| *byte == b'?');
    let (label, encoding, rest) = (marks.next()?, marks.next()?, marks.next()?);
    if label.is_empty() || label.len() > 64 || !label.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let (encoded, after) = rest.split_at_checked(find(rest, b"?=")?)?;
    let mut bytes = Vec::with_capacity(encoded.len());
    match encoding {
        b"q" | b"Q" => q_encoded(encoded, &mut bytes),
        b"b" | b"B" => charset::base64_decode(encoded, &mut bytes),
        _ => return None,
    }
    let label = label.split(|byte| *byte == b'*').next().unwrap_or(label);
    let used = text.len() - after.len() + 2;
    Some((label, bytes, whole.get(used..).unwrap_or_default()))
}

/// RFC 2047 §4.2.
fn q_encoded(encoded: &[u8], out: &mut Vec<u8>) {
    let mut rest = encoded;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'_', _) => out.push(b' '),
            (b'=', [high, low, after @ ..]) => match charset::hex(*high).zip(charset::hex(*low)) {
                Some((high, low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                None => out.push(b'='),
            },
            (other, _) => out.push(*other),
        }
    }
}

/// Where a reader of lines is in a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the name of a field, or in what may be one.
    Name,
    /// Behind the name, up to the end of the line.
    Value,
    /// The empty line has come.
    Body,
}

/// Splits a header that comes in pieces into lines whose beginnings are known, for the filter and the counter.
struct Lines {
    at: At,
    /// What has come of the current line, while its name is read.
    beginning: Vec<u8>,
}

/// What stands at the beginning of a line.
enum Beginning<'a> {
    /// White space: the line belongs to the field before.
    Fold,
    /// A field, by its name without trailing blanks.
    Name(&'a [u8]),
    /// Neither.
    Junk,
}

impl Lines {
    fn new() -> Lines {
        Lines { at: At::Name, beginning: Vec::new() }
    }

    /// Takes bytes; tells each beginning of a line once, with the bytes of it so far, and then the other bytes of the line.
    fn push(&mut self, bytes: &[u8], told: &mut dyn FnMut(Option<Beginning<'_>>, &[u8])) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            match self.at {
                At::Body => return,
                At::Value => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let (piece, tail) =
                        rest.split_at_checked(end.map_or(rest.len(), |end| end + 1)).unwrap_or((rest, &[]));
                    told(None, piece);
                    rest = tail;
                    if end.is_some() {
                        self.at = At::Name;
                    }
                }
                At::Name => {
                    self.beginning.push(*first);
                    rest = rest.get(1..).unwrap_or_default();
                    self.decide(told);
                }
            }
        }
    }

    fn decide(&mut self, told: &mut dyn FnMut(Option<Beginning<'_>>, &[u8])) {
        let beginning = match self.beginning.as_slice() {
            b"\n" | b"\r\n" => {
                self.at = At::Body;
                self.beginning.clear();
                return;
            }
            [b' ' | b'\t'] => Beginning::Fold,
            [name @ .., b':'] if is_name(name.trim_ascii_end()) => Beginning::Name(name.trim_ascii_end()),
            [.., b':' | b'\n'] => Beginning::Junk,
            long if long.len() > NAME_BYTES_MAX => Beginning::Junk,
            _ => return,
        };
        let ends_line = self.beginning.ends_with(b"\n");
        told(Some(beginning), &self.beginning);
        self.beginning.clear();
        if !ends_line {
            self.at = At::Value;
        }
    }
}

/// HEADER.FIELDS and HEADER.FIELDS.NOT of a header that is fed in pieces (RFC 3501 §6.4.5).
pub struct FieldFilter {
    lines: Lines,
    names: Vec<Vec<u8>>,
    inverted: bool,
    keeping: bool,
    /// The last byte given out, for a header that is cut off in a line.
    last: Option<u8>,
}

impl FieldFilter {
    /// Keeps the fields of these names, any case; `inverted`: all but those.
    pub fn new(names: Vec<Vec<u8>>, inverted: bool) -> FieldFilter {
        FieldFilter { lines: Lines::new(), names, inverted, keeping: inverted, last: None }
    }

    /// Takes the next bytes of the header and appends what is kept of them. What follows the empty line is ignored.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let (names, inverted) = (&self.names, self.inverted);
        let (keeping, last) = (&mut self.keeping, &mut self.last);
        self.lines.push(bytes, &mut |beginning, piece| {
            match beginning {
                None | Some(Beginning::Fold) => {}
                Some(Beginning::Junk) => *keeping = inverted,
                Some(Beginning::Name(name)) => {
                    *keeping = names.iter().any(|own| own.eq_ignore_ascii_case(name)) != inverted;
                }
            }
            if *keeping {
                out.extend_from_slice(piece);
                *last = piece.last().copied().or(*last);
            }
        });
    }

    /// Appends the empty line that the answer always ends with.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        // A last line without line end and without a colon is no field.
        let rest = std::mem::take(&mut self.lines.beginning);
        if self.inverted {
            out.extend_from_slice(&rest);
            self.last = rest.last().copied().or(self.last);
        }
        if self.last.is_some_and(|last| last != b'\n') {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Counts the Received fields of a message that streams past: a message with too many goes in circles (RFC 5321 §6.3).
pub struct ReceivedCounter {
    lines: Lines,
    count: usize,
}

impl Default for ReceivedCounter {
    fn default() -> Self {
        ReceivedCounter::new()
    }
}

impl ReceivedCounter {
    /// Before the first byte.
    pub fn new() -> ReceivedCounter {
        ReceivedCounter { lines: Lines::new(), count: 0 }
    }

    /// Takes the next bytes of the message; those behind the header cost nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        let count = &mut self.count;
        self.lines.push(bytes, &mut |beginning, _| {
            if matches!(beginning, Some(Beginning::Name(name)) if name.eq_ignore_ascii_case(b"received")) {
                *count += 1;
            }
        });
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"From anna Tue 09:18\r\nReceived: a\r\n\tb;\r\n c\r\nSubject : x\r\n\
        received:\nX-Junk\r\nTo:\r\n\r\nReceived: body\r\n";

    fn filtered(header: &[u8], names: &[&str], inverted: bool, chunk: usize) -> String {
        let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut filter = FieldFilter::new(names, inverted);
        let mut out = Vec::new();
        for piece in header.chunks(chunk) {
            filter.push(piece, &mut out);
        }
        filter.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_told_apart() {
        let found: Vec<_> =
            fields(HEADER).map(|(name, value)| (name.escape_ascii().to_string(), value)).collect();
        let expected: [(&str, &[u8]); 4] =
            [("Received", b" a\r\n\tb;\r\n c"), ("Subject", b" x"), ("received", b""), ("To", b"")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_string(), value)));
        assert_eq!(unfold(b" a\r\n\tb;\n c \r\n"), b"a\tb; c");
        assert_eq!(fields(b"\r\nA: b\r\n").count(), 0);
        assert_eq!(fields(b"A: b").count(), 1);
    }

    #[test]
    fn the_filter_keeps_bytes_whatever_the_chunks() {
        for chunk in 1..=HEADER.len() {
            assert_eq!(
                filtered(HEADER, &["RECEIVED", "to"], false, chunk),
                "Received: a\r\n\tb;\r\n c\r\nreceived:\nTo:\r\n\r\n"
            );
            assert_eq!(
                filtered(HEADER, &["RECEIVED", "to"], true, chunk),
                "From anna Tue 09:18\r\nSubject : x\r\nX-Junk\r\n\r\n"
            );
            assert_eq!(filtered(HEADER, &[], false, chunk), "\r\n");
            assert_eq!(filtered(b"A: b\r\nC: d", &["c"], false, chunk), "C: d\r\n\r\n");
            assert_eq!(filtered(b"A: b\r\nC", &["a"], true, chunk), "C\r\n\r\n");
        }
        let long = [&b"x"[..]].repeat(3000).concat();
        assert_eq!(filtered(&long, &["a"], true, 7).len(), 3004);
    }

    #[test]
    fn received_fields_are_counted() {
        for chunk in 1..=HEADER.len() {
            let mut counter = ReceivedCounter::new();
            HEADER.chunks(chunk).for_each(|piece| counter.push(piece));
            assert_eq!(counter.count(), 2);
        }
    }

    #[test]
    fn words_are_decoded() {
        for (value, text) in [
            ("plain", "plain"),
            ("=?utf-8?q?J=C3=B6rg_M?= <x>", "Jörg M <x>"),
            ("=?iso-8859-1?Q?a?=\r\n =?iso-8859-1?Q?b?= c", "ab c"),
            ("=?UTF-8?B?ww==?= =?utf-8?B?qQ==?=", "é"),
            ("=?utf-8*de?B?w6k=?=!", "é!"),
            ("a =?x?= b =?utf-8?x?y?= c", "a =?x?= b =?utf-8?x?y?= c"),
            ("=?utf-8?q?open", "=?utf-8?q?open"),
            ("gr\u{fc}n", "grün"),
        ] {
            assert_eq!(decode_words(value.as_bytes()), text, "{value}");
        }
        assert_eq!(decode_words(b"gr\xfcn"), "grün");
    }
}
