//! Line ends: CRLF in the store, LF in files.
//!
//! Only a message whose line ends are CRLF throughout is written with LF: then LF becomes CRLF again and nothing is lost. A message with a
//! CR or LF of its own ("irregular") is written exactly as it is stored, and marked so.

/// Makes LF of CRLF, piece by piece.
#[derive(Default)]
pub struct ToLf {
    cr: bool,
    irregular: bool,
}

impl ToLf {
    /// Appends `bytes` to `out` with LF line ends. Worthless once the message is irregular.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            self.irregular |= self.cr != (*first == b'\n');
            let end = rest.iter().position(|byte| *byte == b'\r');
            let (now, after) = rest.split_at(end.unwrap_or(rest.len()));
            // An LF with no CR before it can only be the first byte: others are alone.
            self.irregular |= now.iter().skip(1).any(|byte| *byte == b'\n');
            self.irregular |= self.cr && now.is_empty();
            out.extend_from_slice(now);
            self.cr = end.is_some();
            rest = after.get(1..).unwrap_or_default();
        }
    }

    /// After the whole message: whether its line ends were CRLF throughout.
    pub fn regular(&self) -> bool {
        !self.irregular && !self.cr
    }

    /// Whether that is out of question already.
    pub fn irregular(&self) -> bool {
        self.irregular
    }
}

/// Makes CRLF of LF; an LF that has its CR stays as it is.
#[derive(Default)]
pub struct ToCrlf {
    cr: bool,
}

impl ToCrlf {
    /// Appends `bytes` to `out` with CRLF line ends.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let cr = if text.is_empty() { self.cr } else { text.ends_with(b"\r") };
            out.extend_from_slice(text);
            if text.len() < line.len() {
                out.extend_from_slice(if cr { b"\n" } else { b"\r\n" });
            }
            self.cr = cr && text.len() == line.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_lf(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut ends, mut out) = (ToLf::default(), Vec::new());
        pieces.iter().for_each(|piece| ends.push(piece, &mut out));
        (out, ends.regular())
    }

    fn to_crlf(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut ends, mut out) = (ToCrlf::default(), Vec::new());
        pieces.iter().for_each(|piece| ends.push(piece, &mut out));
        out
    }

    #[test]
    fn what_is_regular_comes_back() {
        for text in [&b"a\r\n\r\nb\r\n"[..], b"", b"a", b"\r\n", b"a\r\nb"] {
            for cut in 0..=text.len() {
                let (lf, regular) = to_lf(&[&text[..cut], &text[cut..]]);
                assert!(regular && !lf.contains(&b'\r'), "{}", text.escape_ascii());
                let cut = cut.min(lf.len());
                assert_eq!(to_crlf(&[&lf[..cut], &lf[cut..]]), text);
            }
        }
    }

    #[test]
    fn what_is_irregular_is_known() {
        for text in [&b"a\nb\r\n"[..], b"a\rb", b"\r", b"a\r\r\n", b"\n", b"\r\n\n"] {
            for cut in 0..=text.len() {
                assert!(!to_lf(&[&text[..cut], &text[cut..]]).1, "{}", text.escape_ascii());
            }
        }
        assert_eq!(to_crlf(&[b"a\nb\r", b"\n\rc\n"]), b"a\r\nb\r\n\rc\r\n");
    }
}
