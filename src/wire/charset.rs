//! Bytes of any charset and transfer encoding to text, for SEARCH and for encoded words.
//!
//! Refuses to change what is stored: everything here reads a copy on its way past. UTF-7 is not decoded.
//! RFC 2045 §6 (transfer encodings), RFC 3501 §6.4.4 (case-insensitive substrings).
//!
//! Invariants: any chunking of the input gives the same text; memory is bounded by the chunk.

use std::borrow::Cow;

use encoding_rs::{Encoding as Charset, UTF_8, WINDOWS_1252};

use super::mime::Encoding;

/// Text of bytes in the charset of that label. An unknown or empty label: UTF-8 where it is valid, else windows-1252.
///
/// Bytes that are none of the charset become U+FFFD.
pub fn decode<'a>(label: &[u8], bytes: &'a [u8]) -> Cow<'a, str> {
    charset(label, bytes).decode_without_bom_handling(bytes).0
}

/// US-ASCII and unknown labels say nothing about 8-bit bytes, so these are looked at.
fn charset(label: &[u8], bytes: &[u8]) -> &'static Charset {
    let plain = label.trim_ascii().is_empty() || label.trim_ascii().eq_ignore_ascii_case(b"us-ascii");
    match Charset::for_label(label) {
        Some(known) if !plain => known,
        _ if std::str::from_utf8(bytes).is_ok() => UTF_8,
        _ => WINDOWS_1252,
    }
}

/// Undoes a transfer encoding and a charset while the bytes of a part stream past.
pub struct Decoder {
    transfer: Transfer,
    charset: encoding_rs::Decoder,
    /// Bytes after the transfer encoding, of one push.
    bytes: Vec<u8>,
}

enum Transfer {
    Identity,
    QuotedPrintable {
        /// What may still become an escape: `=`, `=4`, `= \t`.
        held: Vec<u8>,
    },
    Base64 {
        bits: u32,
        count: u8,
    },
}

impl Decoder {
    /// Of a part with that encoding and charset label. Unknown encodings are taken as they are; unknown charsets as UTF-8.
    pub fn new(encoding: &Encoding, label: &[u8]) -> Decoder {
        let transfer = match encoding {
            Encoding::QuotedPrintable => Transfer::QuotedPrintable { held: Vec::new() },
            Encoding::Base64 => Transfer::Base64 { bits: 0, count: 0 },
            _ => Transfer::Identity,
        };
        // Of a stream nothing can be looked at first; most unlabelled 8-bit mail is UTF-8 by now.
        let plain = label.trim_ascii().eq_ignore_ascii_case(b"us-ascii");
        let charset = Charset::for_label(label).filter(|_| !plain).unwrap_or(UTF_8);
        Decoder { transfer, charset: charset.new_decoder_without_bom_handling(), bytes: Vec::new() }
    }

    /// Takes bytes as stored and tells the text that they give, in pieces of at most 1 KiB.
    pub fn push(&mut self, stored: &[u8], sink: &mut dyn FnMut(&str)) {
        self.bytes.clear();
        match &mut self.transfer {
            Transfer::Identity => return to_text(&mut self.charset, stored, false, sink),
            Transfer::QuotedPrintable { held } => quoted_printable(held, stored, &mut self.bytes),
            Transfer::Base64 { bits, count } => base64(bits, count, stored, &mut self.bytes),
        }
        to_text(&mut self.charset, &self.bytes, false, sink);
    }

    /// Tells what is left at the end of the part.
    pub fn finish(mut self, sink: &mut dyn FnMut(&str)) {
        let rest = match self.transfer {
            // Cut off in the middle of an escape: as it stands.
            Transfer::QuotedPrintable { held } if held.iter().all(|byte| !byte.is_ascii_whitespace()) => held,
            Transfer::Base64 { bits, count: 2 } => vec![(bits >> 4) as u8],
            Transfer::Base64 { bits, count: 3 } => vec![(bits >> 10) as u8, (bits >> 2) as u8],
            _ => Vec::new(),
        };
        to_text(&mut self.charset, &rest, true, sink);
    }
}

fn to_text(decoder: &mut encoding_rs::Decoder, mut bytes: &[u8], last: bool, sink: &mut dyn FnMut(&str)) {
    let mut text = [0_u8; 1024];
    loop {
        let (result, read, written, _) = decoder.decode_to_utf8(bytes, &mut text, last);
        if let Some(Ok(piece)) = text.get(..written).map(std::str::from_utf8)
            && !piece.is_empty()
        {
            sink(piece);
        }
        bytes = bytes.get(read..).unwrap_or_default();
        if result == encoding_rs::CoderResult::InputEmpty {
            return;
        }
    }
}

/// RFC 2045 §6.7; an escape that is none stays as it is.
fn quoted_printable(held: &mut Vec<u8>, stored: &[u8], out: &mut Vec<u8>) {
    for byte in stored {
        match (held.as_slice(), byte) {
            ([], b'=') => held.push(b'='),
            ([], other) => out.push(*other),
            // Soft line break; white space before it is transport padding.
            ([b'='] | [b'=', b' ' | b'\t' | b'\r'], b'\n') => held.clear(),
            ([b'='], b' ' | b'\t' | b'\r') => held.push(*byte),
            ([b'=', b' ' | b'\t' | b'\r'], b' ' | b'\t' | b'\r') => {}
            ([b'='], digit) if digit.is_ascii_hexdigit() => held.push(*byte),
            ([b'=', high], low) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                held.clear();
            }
            (_, other) => {
                out.append(held);
                if *other == b'=' { held.push(b'=') } else { out.push(*other) }
            }
        }
    }
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// RFC 2045 §6.8: what is not of the alphabet is passed over; padding ends a group of four.
fn base64(bits: &mut u32, count: &mut u8, stored: &[u8], out: &mut Vec<u8>) {
    for byte in stored {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                match count {
                    2 => out.push((*bits >> 4) as u8),
                    3 => out.extend([(*bits >> 10) as u8, (*bits >> 2) as u8]),
                    _ => {}
                }
                (*bits, *count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        (*bits, *count) = (*bits << 6 | u32::from(value), *count + 1);
        if *count == 4 {
            out.extend([(*bits >> 16) as u8, (*bits >> 8) as u8, *bits as u8]);
            (*bits, *count) = (0, 0);
        }
    }
}

/// All of a text in base64, for encoded words: padding and what is not of the alphabet are passed over.
pub(super) fn base64_decode(encoded: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0, 0);
    base64(&mut bits, &mut count, encoded, out);
    base64(&mut bits, &mut count, b"=", out);
}

/// Finds a text in a stream of text, whatever the case of either, also across the borders of chunks (Knuth, Morris, Pratt).
pub struct Needle {
    letters: Vec<char>,
    /// For each count of letters that fit: how many still fit when the next one does not.
    fallback: Vec<usize>,
    fitting: usize,
    found: bool,
}

impl Needle {
    /// Looks for `text`; the empty text is everywhere.
    pub fn new(text: &str) -> Needle {
        let letters: Vec<char> = text.chars().map(lower).collect();
        let mut fallback = vec![0; letters.len() + 1];
        let mut fitting = 0;
        for (index, letter) in letters.iter().enumerate().skip(1) {
            while fitting > 0 && letters.get(fitting) != Some(letter) {
                fitting = fallback.get(fitting).copied().unwrap_or(0);
            }
            fitting += usize::from(letters.get(fitting) == Some(letter));
            if let Some(slot) = fallback.get_mut(index + 1) {
                *slot = fitting;
            }
        }
        let found = letters.is_empty();
        Needle { letters, fallback, fitting: 0, found }
    }

    /// Takes the next chunk; whether the text has been found by now.
    pub fn push(&mut self, chunk: &str) -> bool {
        for letter in chunk.chars() {
            if self.found {
                break;
            }
            let letter = lower(letter);
            while self.fitting > 0 && self.letters.get(self.fitting) != Some(&letter) {
                self.fitting = self.fallback.get(self.fitting).copied().unwrap_or(0);
            }
            self.fitting += usize::from(self.letters.get(self.fitting) == Some(&letter));
            self.found = self.fitting == self.letters.len();
        }
        self.found
    }

    /// Starts over at the beginning of another text; what has been found stays found.
    pub fn part(&mut self) {
        self.fitting = 0;
    }

    /// Forgets what has been found: the next message.
    pub fn reset(&mut self) {
        (self.fitting, self.found) = (0, self.letters.is_empty());
    }
}

/// Simple lower case: one letter for one, so that positions stay comparable; `ẞ` is `ß`, `İ` stays.
fn lower(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    let mut lowered = letter.to_lowercase();
    match (lowered.next(), lowered.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: &Encoding, label: &str, stored: &[u8], chunk: usize) -> String {
        let mut decoder = Decoder::new(encoding, label.as_bytes());
        let mut text = String::new();
        for piece in stored.chunks(chunk) {
            decoder.push(piece, &mut |piece| text.push_str(piece));
        }
        decoder.finish(&mut |piece| text.push_str(piece));
        text
    }

    #[test]
    fn every_chunking_gives_the_same_text() {
        for (encoding, label, stored, text) in [
            (Encoding::EightBit, "utf-8", &b"gr\xc3\xbc\xc3\x9fe"[..], "grüße"),
            (Encoding::SevenBit, "iso-8859-1", b"gr\xfc\xdfe", "grüße"),
            (
                Encoding::QuotedPrintable,
                "iso-8859-15",
                b"gr=FC=DFe=20=\r\n f=FCr = \t\r\n10 =A4 =x =4",
                "grüße  für 10 € =x =4",
            ),
            (Encoding::QuotedPrintable, "", b"==41=\n=4=41=", "=A=4A="),
            (Encoding::Base64, "utf-8", b"Z3LD\r\nvMOf\r\n ZQ==\r\nIQ==", "grüße!"),
            (Encoding::Base64, "utf-8", b"Z3LDvMOfZQ", "grüße"),
            (Encoding::Base64, "iso-2022-jp", b"GyRCRnxLXBsoQg==", "日本"),
            (Encoding::Binary, "utf-16le", b"a\0\xe4\0", "aä"),
        ] {
            for chunk in 1..=stored.len() {
                assert_eq!(decoded(&encoding, label, stored, chunk), text, "{text} by {chunk}");
            }
        }
    }

    #[test]
    fn long_input_comes_out_whole() {
        let stored = "ä".repeat(70_000);
        assert_eq!(decoded(&Encoding::EightBit, "utf-8", stored.as_bytes(), 4097), stored);
    }

    #[test]
    fn unlabelled_bytes_are_guessed() {
        assert_eq!(decode(b"", "ä".as_bytes()), "ä");
        assert_eq!(decode(b"", b"\xe4"), "ä");
        assert_eq!(decode(b"us-ascii", "ä".as_bytes()), "ä");
        assert_eq!(decode(b"koi8-r", b"\xf0\xf2"), "ПР");
        assert_eq!(decode(b"no-such", b"\xe4\xff"), "äÿ");
    }

    #[test]
    fn a_needle_is_found_across_borders_in_any_case() {
        for (needle, text, found) in [
            ("", "", true),
            ("ÄB", "xäb", true),
            ("aab", "aaab", true),
            ("abcabd", "abcabcabd", true),
            ("aab", "aac", false),
            ("straße", "STRAẞE", true),
            ("ab", "a b", false),
        ] {
            for split in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let mut matcher = Needle::new(needle);
                let (left, right) = text.split_at(split);
                matcher.push(left);
                assert_eq!(matcher.push(right), found, "{needle} in {left}|{right}");
            }
        }
        let mut matcher = Needle::new("ab");
        matcher.push("a");
        matcher.part();
        assert!(!matcher.push("b") && matcher.push("ab"));
        matcher.reset();
        assert!(!matcher.push("b"));
    }

    #[test]
    fn a_needle_agrees_with_the_plain_search() {
        let mut seed = 7_u32;
        let mut letter = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if seed >> 31 == 0 { 'a' } else { 'B' }
        };
        for _ in 0..2000 {
            let text: String = (0..12).map(|_| letter()).collect();
            let needle: String = (0..4).map(|_| letter()).collect();
            assert_eq!(Needle::new(&needle).push(&text), text.contains(&needle), "{needle} in {text}");
        }
    }
}
