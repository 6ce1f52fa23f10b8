//! mboxrd's quoting: `>From ` for `From ` at a line's start, and one `>` more for each that is there already.
//!
//! Both ways work piece by piece and hold back no more than `>From `, however long a line or its run of `>` is.

/// What a separator begins with.
pub const FROM: &[u8] = b"From ";

/// Where in a line, as far as `>*From ` at its start is concerned.
#[derive(Clone, Copy, Default)]
enum Place {
    /// Among the `>`.
    #[default]
    Start,
    /// So many bytes of `From ` have been seen after them, and are held back.
    From(usize),
    Inside,
}

impl Place {
    /// How much of `From ` has been seen; all of it where it does not count.
    fn seen(self) -> usize {
        match self {
            Place::Start => 0,
            Place::From(seen) => seen,
            Place::Inside => FROM.len(),
        }
    }

    /// Inside of a line: passes on all up to its end. What is left.
    fn pass<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if !matches!(self, Place::Inside) {
            return bytes;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        let (now, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        out.extend_from_slice(now);
        if end.is_some() {
            *self = Place::Start;
        }
        rest
    }

    /// Takes a byte. True: with it `>*From ` is whole.
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let seen = self.seen();
        if FROM.get(seen) == Some(&byte) {
            let whole = seen + 1 == FROM.len();
            *self = if whole { Place::Inside } else { Place::From(seen + 1) };
            return whole;
        }
        self.release(out);
        out.push(byte);
        *self = if byte == b'\n' { Place::Start } else { Place::Inside };
        false
    }

    /// Passes on what was held back.
    fn release(&mut self, out: &mut Vec<u8>) {
        if let Place::From(seen) = *self {
            out.extend_from_slice(FROM.get(..seen).unwrap_or_default());
        }
        *self = Place::Inside;
    }
}

/// Quotes lines that look like separators, piece by piece.
#[derive(Default)]
pub struct Quoter(Place);

impl Quoter {
    /// Appends `bytes` to `out`, quoted. `>` are all alike, so the new one goes behind those that are there.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = self.0.pass(bytes, out);
        while let Some((byte, after)) = rest.split_first() {
            if matches!(self.0, Place::Start) && *byte == b'>' {
                out.push(b'>');
            } else if self.0.take(*byte, out) {
                out.push(b'>');
                out.extend_from_slice(FROM);
            }
            rest = self.0.pass(after, out);
        }
    }

    /// After the message: what was held back.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.0.release(out);
    }
}

/// Takes one `>` off before each `>*From ` at a line's start, piece by piece.
#[derive(Default)]
pub struct Unquoter {
    place: Place,
    /// The first `>` of this line, held back.
    held: bool,
}

impl Unquoter {
    /// Appends `bytes` to `out` as they were before.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = self.place.pass(bytes, out);
        while let Some((byte, after)) = rest.split_first() {
            self.byte(*byte, out);
            rest = self.place.pass(after, out);
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if matches!(self.place, Place::Start) && byte == b'>' {
            if std::mem::replace(&mut self.held, true) {
                out.push(b'>');
            }
            return;
        }
        if self.held && FROM.get(self.place.seen()) != Some(&byte) {
            out.push(b'>');
            self.held = false;
        }
        if self.place.take(byte, out) {
            out.extend_from_slice(FROM);
            self.held = false;
        }
    }

    /// After the message: what was held back.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            out.push(b'>');
        }
        self.place.release(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &[u8], step: usize) -> Vec<u8> {
        let (mut quoter, mut out) = (Quoter::default(), Vec::new());
        text.chunks(step).for_each(|piece| quoter.push(piece, &mut out));
        quoter.end(&mut out);
        out
    }

    fn unquoted(text: &[u8], step: usize) -> Vec<u8> {
        let (mut unquoter, mut out) = (Unquoter::default(), Vec::new());
        text.chunks(step).for_each(|piece| unquoter.push(piece, &mut out));
        unquoter.end(&mut out);
        out
    }

    #[test]
    fn quoting_is_undone_wherever_it_is_cut() {
        let text = b"From a\n>From b\n>>From c\nFrom\n>\n>>\nFro>From \n From \n>x>From \n\nFrom ";
        let wanted = b">From a\n>>From b\n>>>From c\nFrom\n>\n>>\nFro>From \n From \n>x>From \n\n>From ";
        for step in 1..text.len() {
            assert_eq!(quoted(text, step).escape_ascii().to_string(), wanted.escape_ascii().to_string());
            assert_eq!(unquoted(wanted, step).escape_ascii().to_string(), text.escape_ascii().to_string());
        }
        for text in [&b">"[..], b">>", b"Fro", b">Fro", b"a\n>", b""] {
            assert_eq!(unquoted(&quoted(text, 1), 3), text);
        }
    }
}
