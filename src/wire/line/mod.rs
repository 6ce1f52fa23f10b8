//! Lines: commands of SMTP, LMTP and POP3, what IMAP's clients say between commands, and base64 in them all; [`dots`] has the data
//! between them.
//!
//! Refuses to buffer: a line is looked for in what is there, a too long one is skipped as it comes. RFC 5321 §2.3.8, RFC 1939 §3.
//!
//! Invariant: how the bytes are cut into arrivals never changes what is found.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Malformed;

pub mod dots;

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// CRLF only: IMAP, and SMTP, where a second reading of line ends is an attack (RFC 5321 §2.3.8).
    CrLf,
    /// LF, with or without CR before it. Deliberate: POP3 tolerates what people type by hand; nothing passes through to others.
    Lf,
}

/// A line at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// There is one: its text, and all of it with its end, bytes.
    Complete {
        /// Bytes of the text.
        text_len: usize,
        /// Bytes of text and line end.
        consumed: usize,
    },
    /// It has not ended yet.
    More,
    /// It is longer than allowed: answer once, then [`skip`] it.
    TooLong,
}

/// Finds the line that `bytes` begin with; with its end it may have `max` bytes.
pub fn line(bytes: &[u8], max: usize, ending: Ending) -> Line {
    let window = bytes.get(..max).unwrap_or(bytes);
    match end_of(window, ending) {
        Some((text_len, consumed)) => Line::Complete { text_len, consumed },
        None if bytes.len() >= max => Line::TooLong,
        None => Line::More,
    }
}

/// Skips a too long line: how many bytes belong to it, and whether its end is among them.
pub fn skip(bytes: &[u8], ending: Ending) -> (usize, bool) {
    match end_of(bytes, ending) {
        Some((_, consumed)) => (consumed, true),
        // A CR at the end may be half of the line's end: it stays until its neighbour is there.
        None if ending == Ending::CrLf && bytes.last() == Some(&b'\r') => (bytes.len() - 1, false),
        None => (bytes.len(), false),
    }
}

/// Bytes of the text, and with the line end.
fn end_of(bytes: &[u8], ending: Ending) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = bytes.get(from..)?.iter().position(|byte| *byte == b'\n') {
        let at = from + found;
        let before = bytes.get(..at)?;
        match (before.strip_suffix(b"\r"), ending) {
            (Some(text), _) => return Some((text.len(), at + 1)),
            (None, Ending::Lf) => return Some((at, at + 1)),
            (None, Ending::CrLf) => from = at + 1,
        }
    }
    None
}

/// Splits a line at its first space: the word, and what follows the space.
pub fn word(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b' ').and_then(|at| text.split_at_checked(at)) {
        Some((word, rest)) => (word, rest.get(1..)),
        None => (text, None),
    }
}

/// A request line of HTTP: some page makes a browser talk to a mail server (ALPACA and other cross-protocol attacks).
/// Such a peer is not talked to.
pub fn is_http(text: &[u8]) -> bool {
    const VERBS: [&str; 8] = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "PATCH"];
    let (verb, rest) = word(text);
    rest.is_some() && VERBS.iter().any(|known| verb.eq_ignore_ascii_case(known.as_bytes()))
}

/// Padding may be missing: some phones leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a base64 text (RFC 4648 §4), as SASL exchanges have them.
///
/// # Errors
/// `Malformed`: a foreign letter, or bits left over.
pub fn base64_decode(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    BASE64.decode(text).map_err(|_| Malformed)
}

/// Bytes as base64 text, padded.
pub fn base64_encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Decodes the response of a SASL exchange that stands in a command: `=` alone is the empty one (RFC 4954 §4, RFC 5034 §4,
/// RFC 4959 §3).
///
/// # Errors
/// `Malformed`.
pub fn initial_response(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    if text == b"=" { Ok(Vec::new()) } else { base64_decode(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crlf_ends_a_line_of_smtp() {
        let complete = |text_len, consumed| Line::Complete { text_len, consumed };
        for (bytes, strict, lenient) in [
            (&b""[..], Line::More, Line::More),
            (b"NOOP", Line::More, Line::More),
            (b"NOOP\r", Line::More, Line::More),
            (b"NOOP\r\nX", complete(4, 6), complete(4, 6)),
            (b"NOOP\nX", Line::More, complete(4, 5)),
            (b"A\nB\r\n", complete(3, 5), complete(1, 2)),
            (b"\r\n", complete(0, 2), complete(0, 2)),
            (b"12345678", Line::TooLong, Line::TooLong),
            (b"123456\r\n", complete(6, 8), complete(6, 8)),
            (b"1234567\r\n", Line::TooLong, Line::TooLong),
        ] {
            assert_eq!(line(bytes, 8, Ending::CrLf), strict, "{bytes:?}");
            assert_eq!(line(bytes, 8, Ending::Lf), lenient, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_line_is_skipped_to_its_end_however_it_arrives() {
        let bytes = b"xxxx\nyy\ryy\r\r\nNOOP\r\n";
        for cut in 0..bytes.len() {
            let mut inbox = Vec::new();
            let (mut ended, mut skipped) = (false, 0);
            for part in [&bytes[..cut], &bytes[cut..]] {
                inbox.extend_from_slice(part);
                if !ended {
                    let (count, now) = skip(&inbox, Ending::CrLf);
                    inbox.drain(..count);
                    (ended, skipped) = (now, skipped + count);
                }
            }
            assert!(ended);
            assert_eq!((skipped, &inbox[..]), (13, &b"NOOP\r\n"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn base64_with_and_without_padding() {
        assert_eq!(base64_decode(b"AGE="), Ok(b"\0a".to_vec()));
        assert_eq!(base64_decode(b"AGE"), Ok(b"\0a".to_vec()));
        assert_eq!(initial_response(b"="), Ok(Vec::new()));
        for wrong in [&b"AG E="[..], b"A", b"AGE=\r", b"\xff"] {
            assert_eq!(base64_decode(wrong), Err(Malformed));
        }
    }

    #[test]
    fn http_is_known_by_its_verb() {
        assert!(is_http(b"GET / HTTP/1.1") && is_http(b"post / HTTP/1.0"));
        assert!(!is_http(b"GET") && !is_http(b"RETR 1") && !is_http(b"DELE 1"));
    }
}
