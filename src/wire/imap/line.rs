//! Lines of the client that are no commands: what answers AUTHENTICATE's challenges, and IDLE's DONE.

use super::cursor::Secret;
use crate::wire::Malformed;
use crate::wire::line::base64_decode;

/// The next line of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientLine<'a> {
    /// Not whole yet.
    More,
    /// Longer than the bound: close, for nothing else can follow.
    TooLong,
    /// A line without its end.
    Line {
        /// What it says.
        bytes: &'a [u8],
        /// Bytes to consume, with CRLF.
        consumed: usize,
    },
}

/// Looks for a line of at most `bytes_max` with CRLF.
pub fn client_line(unread: &[u8], bytes_max: usize) -> ClientLine<'_> {
    let within = &unread[..unread.len().min(bytes_max)];
    match within.windows(2).position(|pair| pair == b"\r\n") {
        Some(length) => ClientLine::Line { bytes: &unread[..length], consumed: length + 2 },
        None if unread.len() >= bytes_max => ClientLine::TooLong,
        None => ClientLine::More,
    }
}

/// Whether the line ends IDLE: `"DONE" CRLF` (RFC 2177 §4), in any case.
pub fn is_done(line: &[u8]) -> bool {
    line.eq_ignore_ascii_case(b"DONE")
}

/// What the client answers to a challenge of AUTHENTICATE (RFC 3501 §6.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslAnswer {
    /// `*`: the client gives up; answered BAD.
    Cancel,
    /// The decoded response.
    Response(Secret<'static>),
}

/// `authenticate = "AUTHENTICATE" SP auth-type *(CRLF base64)`: one of the lines after the first.
pub fn sasl_answer(line: &[u8]) -> Result<SaslAnswer, Malformed> {
    if line == b"*" {
        return Ok(SaslAnswer::Cancel);
    }
    Ok(SaslAnswer::Response(Secret(base64_decode(line)?.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_within_the_bound() {
        assert_eq!(client_line(b"DONE\r\nrest", 9), ClientLine::Line { bytes: b"DONE", consumed: 6 });
        assert_eq!(client_line(b"DONE\r", 9), ClientLine::More);
        assert_eq!(client_line(b"DONE\r\n", 6), ClientLine::Line { bytes: b"DONE", consumed: 6 });
        assert_eq!(client_line(b"DONE\r\n", 5), ClientLine::TooLong);
        assert_eq!(client_line(b"", 0), ClientLine::TooLong);
        assert!(is_done(b"done") && !is_done(b"DONE ") && !is_done(b""));
    }

    #[test]
    fn answers_are_base64_or_a_star() {
        assert_eq!(sasl_answer(b"*"), Ok(SaslAnswer::Cancel));
        assert_eq!(sasl_answer(b""), Ok(SaslAnswer::Response(Secret((&b""[..]).into()))));
        for text in [&b"A"[..], b"AG*A", b"AGEA\n", b"===="] {
            assert_eq!(sasl_answer(text), Err(Malformed), "{}", text.escape_ascii());
        }
        assert_eq!(format!("{:?}", sasl_answer(b"AGEAYg==")), "Ok(Response(Secret))");
    }
}
