//! mbox, with the quoting of mboxrd (`>From ` for `From `, and one `>` more for each that is there already), which can be taken back.
//!
//! # What `export` writes
//! ```text
//! message = "From MAILER-DAEMON " asctime-in-UTC LF
//!           "X-Postfach-Mbox: " ( "lf" / "exact" ) [SP state] LF Status-field X-Status-field X-Keywords-field
//!           quoted-message [LF] LF
//! ```
//! These four fields are added in front of the message, and `import` takes exactly them away again; a Status field that the message itself
//! has stays. `lf`: the message ends in CRLF and has no other line ends; `exact`: its bytes are as stored, and one LF more ends them. `state`,
//! in the first message, is what the folder was like: one that still is so needs not be written again.
//!
//! # What `import` reads
//! Without that mark the file is another program's. The fields that such programs keep flags and lengths in (Status, X-Status, X-Keywords,
//! X-Mozilla-…, X-UID, X-IMAP…, Content-Length, Lines) are taken for that and are not part of the message, as in every mail program: they
//! change when a message is read, and it would not be known again. A line is a separator when it begins with `From `, has a date or is
//! `From -`, and follows an empty line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;

use postfach::types::Time;
use postfach::wire::date::{DateTime, parse_rfc5322};

use super::ends::ToCrlf;
use super::marks::Marks;
use super::quote::{FROM, Unquoter};
use super::{CHUNK_BYTES, Fallible};

/// The field that marks a message of ours.
const MARK: &[u8] = b"x-postfach-mbox";
/// The fields that follow it.
const OURS: [&[u8]; 3] = [b"status", b"x-status", b"x-keywords"];
/// What other programs keep in the header.
const THEIRS: [&[u8]; 11] = [
    b"status",
    b"x-status",
    b"x-keywords",
    b"x-mozilla-status",
    b"x-mozilla-status2",
    b"x-mozilla-keys",
    b"x-uid",
    b"x-imap",
    b"x-imapbase",
    b"content-length",
    b"lines",
];
/// A field's line that is looked into, bytes: 56 keywords fit.
const FIELD_BYTES_MAX: usize = 4096;
/// A separator's line, bytes.
const SEPARATOR_BYTES_MAX: usize = 512;

/// What stands before a message.
pub fn head(date: Time, marks: &Marks, exact: bool, state: &str) -> String {
    let form = if exact { "exact" } else { "lf" };
    format!("From MAILER-DAEMON {}\nX-Postfach-Mbox: {form}{state}\n{}", asctime(date), marks.to_fields())
}

/// `Tue Nov 24 10:00:00 2026`
fn asctime(date: Time) -> String {
    let text = DateTime::utc(date).to_rfc5322();
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [weekday, day, month, year, clock, _] => format!("{weekday} {month} {day:>2} {clock} {year}"),
        _ => text,
    }
}

/// The folder's state that the file begins with.
pub fn state(file: &File) -> Option<String> {
    let mut lines = BufReader::new(io::Read::take(file, SEPARATOR_BYTES_MAX as u64)).lines();
    let (_, mark) = (lines.next()?.ok()?, lines.next()?.ok()?);
    let words = mark.strip_prefix("X-Postfach-Mbox: ")?;
    words.split_once(' ').map(|(_, state)| String::from(state))
}

/// Writes over the state that the file begins with, if it does.
pub fn forget_state(file: &File, state: &str) -> io::Result<()> {
    let mut start = vec![0; SEPARATOR_BYTES_MAX];
    let count = file.read_at(&mut start, 0)?;
    let found = start
        .get(..count)
        .and_then(|start| start.windows(state.len()).position(|part| part == state.as_bytes()));
    found.map_or(Ok(()), |at| file.write_all_at(&vec![b'-'; state.len()], at as u64))
}

/// A message of an mbox on its way in: takes off what the format has added, and learns the flags.
#[derive(Default)]
pub struct Opened {
    part: Part,
    /// The start of the header line that is being looked at.
    line: Vec<u8>,
    unquoter: Unquoter,
    ends: ToCrlf,
    exact: bool,
    /// In `exact`: an LF that may be the one that was added.
    last: bool,
    /// What the fields have said.
    pub marks: Marks,
}

/// Where in a message.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// At its first line.
    #[default]
    First,
    /// In our fields, of which so many have passed.
    Ours(usize),
    /// In another program's header. True: the field before was taken off, and so is what continues it.
    Theirs(bool),
    /// In the rest of a long header line that is taken off, or is not.
    Rest(bool),
    Body,
}

impl Opened {
    /// Appends to `out` what belongs to the message.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while self.part != Part::Body && !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            let (now, after) = rest.split_at(end.min(FIELD_BYTES_MAX));
            rest = after;
            if let Part::Rest(off) = self.part {
                if !off {
                    self.pass(now, out);
                }
                if now.ends_with(b"\n") {
                    self.part = Part::Theirs(off);
                }
                continue;
            }
            self.line.extend_from_slice(now);
            if self.line.ends_with(b"\n") || self.line.len() >= FIELD_BYTES_MAX {
                self.header(out);
            }
        }
        self.pass(rest, out);
    }

    /// Decides about a header line, or the start of a long one.
    fn header(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or_default());
        let (name, value) = (name.to_ascii_lowercase(), value.get(1..).unwrap_or_default());
        let whole = line.ends_with(b"\n");
        let off = match self.part {
            Part::First if name == MARK && whole => {
                self.exact = value.trim_ascii().starts_with(b"exact");
                self.part = Part::Ours(0);
                return;
            }
            Part::Ours(passed) if OURS.get(passed).is_some_and(|ours| *ours == name) && whole => {
                self.marks.take_field(&name, value);
                self.part = Part::Ours(passed + 1);
                return;
            }
            Part::Ours(_) => {
                self.part = Part::Body;
                return self.pass(&line, out);
            }
            Part::Theirs(off) if line.starts_with(b" ") || line.starts_with(b"\t") => off,
            _ if colon.is_none() => {
                // An empty line, or no header at all.
                self.part = Part::Body;
                return self.pass(&line, out);
            }
            _ => THEIRS.contains(&name.as_slice()),
        };
        if off {
            self.marks.take_field(&name, value);
        } else {
            self.pass(&line, out);
        }
        self.part = if whole { Part::Theirs(off) } else { Part::Rest(off) };
    }

    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut plain = Vec::with_capacity(bytes.len());
        self.unquoter.push(bytes, &mut plain);
        self.finish(&plain, out);
    }

    fn finish(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        if !self.exact {
            return self.ends.push(plain, out);
        }
        let Some((last, before)) = plain.split_last() else { return };
        if self.last {
            out.push(b'\n');
        }
        out.extend_from_slice(before);
        self.last = *last == b'\n';
        if !self.last {
            out.push(*last);
        }
    }

    /// After the message.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.header(out);
        }
        let mut plain = Vec::new();
        self.unquoter.end(&mut plain);
        self.finish(&plain, out);
    }
}

/// Where a message lies in an mbox, its separator not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first byte.
    pub start: u64,
    /// Offset behind its last one.
    pub end: u64,
    /// What the separator says.
    pub date: Option<Time>,
}

/// The date of a separator; None: it is none. `From -` is one without a date.
fn separator(line: &[u8]) -> Option<Option<Time>> {
    let rest = line.strip_prefix(FROM)?.trim_ascii();
    let (sender, date) = match rest.iter().position(u8::is_ascii_whitespace) {
        Some(end) => rest.split_at(end),
        None => (rest, &b""[..]),
    };
    match parse_rfc5322(date).filter(|_| date.contains(&b':')) {
        Some(date) => Some(Some(date.time)),
        None => (sender == b"-").then_some(None),
    }
}

/// Finds the messages of an mbox. None: it is no mbox.
pub fn spans(file: impl io::Read) -> io::Result<Option<Vec<Span>>> {
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, file);
    let mut spans: Vec<Span> = Vec::new();
    // The line before: where it began, and whether it was empty.
    let (mut offset, mut before, mut blank) = (0, 0, true);
    let mut line = Vec::new();
    loop {
        let start = offset;
        let mut length = 0;
        line.clear();
        loop {
            let bytes = reader.fill_buf()?;
            let end = bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let now = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            let room = SEPARATOR_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(now.get(..room).unwrap_or(now));
            let count = now.len();
            length += count as u64;
            reader.consume(count);
            if end.is_some() || count == 0 {
                break;
            }
        }
        offset += length;
        let found = if blank && length > 0 { separator(&line) } else { None };
        if (found.is_some() || length == 0)
            && let Some(last) = spans.last_mut()
        {
            last.end = if blank && before >= last.start { before } else { start };
        }
        match found {
            Some(date) => spans.push(Span { start: offset, end: offset, date }),
            None if length == 0 => return Ok(Some(spans)),
            None if spans.is_empty() && line.iter().any(|byte| !byte.is_ascii_whitespace()) => {
                return Ok(None);
            }
            None => {}
        }
        blank = line == b"\n" || line == b"\r\n";
        before = start;
    }
}

/// Sends one message through [`Opened`].
pub fn open(
    mut pieces: impl FnMut(&mut dyn FnMut(&[u8]) -> Fallible<()>) -> Fallible<()>,
    sink: &mut dyn FnMut(&[u8]) -> Fallible<()>,
) -> Fallible<Marks> {
    let (mut opened, mut out) = (Opened::default(), Vec::new());
    pieces(&mut |bytes| {
        opened.push(bytes, &mut out);
        let passed = sink(&out);
        out.clear();
        passed
    })?;
    opened.end(&mut out);
    sink(&out)?;
    Ok(opened.marks)
}

#[cfg(test)]
mod tests {
    use super::super::ends::ToLf;
    use super::super::quote::Quoter;
    use super::*;

    /// What `import` makes of what stands between two separators.
    fn opened(text: &[u8], step: usize) -> (Vec<u8>, Marks) {
        let mut message = Vec::new();
        let pieces = |sink: &mut dyn FnMut(&[u8]) -> Fallible<()>| text.chunks(step).try_for_each(sink);
        let marks = open(pieces, &mut |bytes| {
            message.extend_from_slice(bytes);
            Ok(())
        });
        (message, marks.unwrap())
    }

    #[test]
    fn what_was_added_is_taken_off_and_nothing_else() {
        let marks = Marks::from_imap("\\Seen \\Flagged work");
        let own = b"Status: mine\nX-Keywords: mine\n\nStatus: body\n";
        for exact in [false, true] {
            let head = head(Time(0), &marks, exact, "");
            let (first, head) = head.split_once('\n').unwrap();
            assert_eq!(first, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970");
            let end = if exact { "\n" } else { "" };
            let text = [head.as_bytes(), own, end.as_bytes()].concat();
            for step in [1, 7, 1000] {
                let (message, found) = opened(&text, step);
                let wanted = if exact {
                    own.to_vec()
                } else {
                    String::from_utf8_lossy(own).replace('\n', "\r\n").into()
                };
                assert_eq!((message, found), (wanted, marks.clone()));
            }
        }
    }

    #[test]
    fn other_programs_fields_are_flags() {
        let long = "x".repeat(3 * FIELD_BYTES_MAX);
        let text = format!(
            "Subject: a\n {long}\nStatus: RO\nX-Keywords: work\n  home\nContent-Length: 5\nX-UID: {long}\nX-Last: {long}\n\nStatus: x\n"
        );
        for step in [1, 1000, 100_000] {
            let (message, marks) = opened(text.as_bytes(), step);
            let wanted = format!("Subject: a\r\n {long}\r\nX-Last: {long}\r\n\r\nStatus: x\r\n");
            assert!(message == wanted.as_bytes());
            assert_eq!(marks.to_imap(), "(\\Seen work)");
        }
        assert_eq!(opened(b"no header\n\nStatus: R\n", 4).0, b"no header\r\n\r\nStatus: R\r\n");
        assert_eq!(opened(b"Status: R", 4), (Vec::new(), Marks::from_imap("\\Seen")));
    }

    #[test]
    fn separators_have_dates() {
        for (line, seconds) in [
            ("From a@b Tue Nov 24 10:00:00 2026", Some(START)),
            ("From - Tue Nov 24 10:00:00 2026\r", Some(START)),
            ("From a@b  Tue Nov 24 11:00:00 2026 +0100", Some(START)),
            ("From MAILER-DAEMON Thu Jan  1 00:00:00 1970", Some(0)),
        ] {
            assert_eq!(separator(line.as_bytes()).flatten(), seconds.map(Time), "{line}");
        }
        assert_eq!(separator(b"From - "), Some(None));
        for line in ["From here on", "From me to you: 3", ">From a Tue Nov 24 10:00:00 2026", "From", "From "]
        {
            assert_eq!(separator(line.as_bytes()), None, "{line}");
        }
        for seconds in [0, -86_400 * 365, START, 4_000_000_000] {
            let line = format!("From x {}", asctime(Time(seconds)));
            assert_eq!(separator(line.as_bytes()), Some(Some(Time(seconds))), "{line}");
        }
    }

    /// 2026-11-24T10:00:00Z
    const START: i64 = 1_795_514_400;

    /// Whatever messages there are: an mbox of them gives them back.
    #[test]
    fn any_messages_come_back() {
        let mut seed = 1_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let parts = [
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            ">",
            "From ",
            "From a Tue Nov 24 10:00:00 2026",
            "x",
            ":",
            "Status: R",
            " ",
        ];
        for _ in 0..3000 {
            let mut messages = Vec::new();
            let mut file = Vec::new();
            for _ in 0..random(4) {
                let odd = random(2) == 0;
                let parts: Vec<&str> =
                    parts.iter().copied().filter(|part| odd || !matches!(*part, "\n" | "\r")).collect();
                let text: String =
                    (0..random(12)).map(|_| parts[random(parts.len() as u64) as usize]).collect();
                let (mut ends, mut lf) = (ToLf::default(), Vec::new());
                ends.push(text.as_bytes(), &mut lf);
                let exact = !ends.regular() || !text.ends_with('\n');
                file.extend_from_slice(head(Time(0), &Marks::default(), exact, "").as_bytes());
                let mut quoter = Quoter::default();
                quoter.push(if exact { text.as_bytes() } else { &lf }, &mut file);
                quoter.end(&mut file);
                file.extend_from_slice(if exact { b"\n\n" } else { b"\n" });
                messages.push(text);
            }
            let found = spans(file.as_slice()).unwrap().unwrap();
            let step = 1 + random(9) as usize;
            let read = |span: &Span| opened(&file[span.start as usize..span.end as usize], step).0;
            let found: Vec<_> =
                found.iter().map(read).map(|bytes| bytes.escape_ascii().to_string()).collect();
            let wanted: Vec<_> = messages.iter().map(|text| text.escape_default().to_string()).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn messages_are_found_between_separators() {
        let spans_of = |text: &str| {
            let found = spans(text.as_bytes()).unwrap();
            found.map(|spans| {
                spans
                    .iter()
                    .map(|span| &text[span.start as usize..span.end as usize])
                    .map(String::from)
                    .collect::<Vec<_>>()
            })
        };
        let from = "From a@b Tue Nov 24 10:00:00 2026\n";
        assert_eq!(spans_of(""), Some(vec![]));
        assert_eq!(spans_of("hello\n"), None);
        assert_eq!(
            spans_of(&format!("{from}a\n\n{from}b\n\n\n{from}{from}")).unwrap(),
            ["a\n", "b\n\n", from]
        );
        assert_eq!(spans_of(&format!("\n{from}a\n{from}b")).unwrap(), [format!("a\n{from}b")]);
        assert_eq!(spans_of(&format!("{from}a\n\nFrom here on\n")).unwrap(), ["a\n\nFrom here on\n"]);
        let windows = format!("{from}a\n\n{from}b\n\n").replace('\n', "\r\n");
        assert_eq!(spans_of(&windows).unwrap(), ["a\r\n", "b\r\n"]);
    }
}
