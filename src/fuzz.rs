//! Fuzzing: one function for each decoder of bytes that come from a peer or from the medium. Whatever it is given, it must not panic,
//! and what it prints must be read the same again.
//!
//! `cargo test` drives them with mutations of good input, always the same ones; `scripts/test fuzz` with libFuzzer (tests/fuzz).

use crate::backup::fuzz as backup;
use crate::journal::fuzz as journal;
use crate::store::record;
use crate::types::Time;
use crate::wire::imap::{AppendEnd, Gather, Gathered, Tagged};
use crate::wire::mime::{self, Structure};
use crate::wire::{address, charset, date, header, line, pop3, smtp, structure};

/// A function to be fuzzed.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Good input, from which mutation starts.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: journal::frame_header, seeds: numbers },
    Target { name: "segment", run: journal::segment_header, seeds: numbers },
    Target { name: "superblock", run: journal::superblock, seeds: superblocks },
    Target { name: "store", run: journal::store, seeds: edits },
    Target { name: "caches", run: journal::caches, seeds: cache_edits },
    Target { name: "summary", run: journal::summaries, seeds: summaries },
    Target { name: "parity", run: journal::parity_head, seeds: journal::parity_heads },
    Target { name: "places", run: journal::body_places, seeds: places },
    Target { name: "record", run: records, seeds: golden },
    Target { name: "manifest", run: backup::manifest, seeds: backup::manifests },
    Target { name: "structure", run: structures, seeds: encoded },
    Target { name: "message", run: message, seeds: messages },
    Target { name: "imap", run: imap, seeds: commands },
    Target { name: "lines", run: lines, seeds: commands },
    Target { name: "fields", run: fields, seeds: values },
];

fn records(data: &[u8]) {
    if let Some(records) = record::decode(data) {
        assert_eq!(record::decode(&record::encode(&records)), Some(records));
    }
}

fn structures(data: &[u8]) {
    if let Ok(found) = Structure::decode(data) {
        show(&found);
        assert_eq!(Structure::decode(&found.encode()), Ok(found));
    }
}

/// Asks a structure for all that FETCH may ask.
fn show(found: &Structure) {
    let mut out = Vec::new();
    structure::bodystructure(found, false, &mut out);
    structure::bodystructure(found, true, &mut out);
    if let Some(envelope) = found.envelope() {
        structure::envelope(envelope, &mut out);
    }
    for section in [mime::Section::Header, mime::Section::Text, mime::Section::Mime, mime::Section::Whole] {
        for path in [&[][..], &[1], &[2, 1], &[1, 1, 1], &[u32::MAX]] {
            let _none = found.range(path, section);
        }
    }
}

/// Any cut of a message gives the same structure, and it survives being stored.
fn message(data: &[u8]) {
    let scan = |step: usize| {
        let mut scanner = mime::Scanner::new();
        data.chunks(step.max(1)).for_each(|piece| scanner.push(piece));
        scanner.finish()
    };
    let found = scan(data.len());
    for step in [1, 7, 64] {
        assert_eq!(scan(step), found);
    }
    show(&found);
    assert_eq!(Structure::decode(&found.encode()), Ok(found));
}

fn imap(data: &[u8]) {
    let mut gather = Gather::default();
    let mut rest = data;
    // One command after the other, as a connection would take them.
    for round in 0.. {
        if round == 3 {
            gather.logged_in();
        }
        let consumed = match gather.next(rest) {
            Gathered::More => return,
            Gathered::Continue if round < 9 => continue,
            Gathered::Continue => return,
            Gathered::Command { bytes, consumed } => {
                if let Err(invalid) = Tagged::parse(bytes) {
                    let _answer = invalid.answer();
                }
                consumed
            }
            Gathered::Append { append, consumed } => {
                let size = usize::try_from(append.size).unwrap_or(usize::MAX);
                let message = rest.len().min(consumed.saturating_add(size));
                match gather.append_end(rest.get(message..).unwrap_or_default()) {
                    AppendEnd::More => return,
                    AppendEnd::End { consumed } => message + consumed,
                    AppendEnd::Bad => message,
                }
            }
            Gathered::Refused { consumed, .. } | Gathered::Skip { consumed } => consumed,
        };
        assert!(consumed > 0 && consumed <= rest.len());
        rest = rest.get(consumed..).unwrap_or_default();
    }
}

fn lines(data: &[u8]) {
    let _wrong = smtp::parse(data);
    let _wrong = pop3::parse(data);
    let _wrong = smtp::hello_name(data);
    let _wrong = line::initial_response(data);
    let mut dots = line::dots::Dots::new();
    let mut whole = Vec::new();
    let mut stuffed = Vec::new();
    let mut stuffing = line::dots::Stuffing::new();
    stuffing.push(data, &mut stuffed);
    stuffing.end(&mut stuffed);
    let mut rest = stuffed.as_slice();
    while !rest.is_empty() && !dots.ended() {
        let run = dots.push(rest);
        whole.extend_from_slice(run.bytes);
        rest = rest.get(run.consumed.max(1)..).unwrap_or_default();
    }
    // What was stuffed comes out again, with the line end that the final dot needs.
    assert!(dots.fault().is_some() || whole.starts_with(data), "{data:?} {whole:?}");
}

fn fields(data: &[u8]) {
    for (_, value) in header::fields(data) {
        let _text = header::decode_words(value);
    }
    let _day = date::parse_rfc5322(data).map(|at| at.to_rfc5322());
    let _wrong = address::parse_path(data, true);
    let _wrong = address::domain(data, true);
    let (label, text) = data.split_at(data.len().min(12));
    let _text = charset::decode(label, text);
    let name = crate::wire::imap::utf7::decode(data);
    if let Ok(name) = name {
        let mut out = Vec::new();
        crate::wire::imap::utf7::encode(&mut out, &name);
        assert_eq!(crate::wire::imap::utf7::decode(&out), Ok(name));
    }
    let mut out = Vec::new();
    crate::wire::imap::date::print_date_time(&mut out, Time(i64::from(data.first().copied().unwrap_or(0))));
}

fn numbers() -> Vec<Vec<u8>> {
    let mut header = vec![0xF5, 0x70, 1, 1];
    header.extend((0..124_u8).map(|byte| byte.wrapping_mul(3)));
    vec![header]
}

fn superblocks() -> Vec<Vec<u8>> {
    let mut bytes = vec![3; 40];
    bytes.extend([0, 0x40, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0]);
    vec![bytes]
}

fn edits() -> Vec<Vec<u8>> {
    let headers = [8, 40, 80, 4096, 8192 + 4, 8192 + 8, 8192 + 16, 8192 + 32, 16384 + 64, 16384 + 24];
    let edits: Vec<u8> =
        headers.iter().flat_map(|at: &u16| [at.to_le_bytes()[0], at.to_le_bytes()[1], 5]).collect();
    let mut seeds: Vec<Vec<u8>> = [0, 1, 2, 3].iter().map(|how| [&[*how][..], &edits].concat()).collect();
    // Of two good copies of a header one has another sequence.
    seeds.push(vec![1, 8, 0x80, 0]);
    seeds
}

fn cache_edits() -> Vec<Vec<u8>> {
    let mut random = crate::device::Random(1);
    let mut edits = |how: u8| {
        let mut edits = vec![how; 1 + 3 * 8];
        random.fill(&mut edits[1..]);
        edits
    };
    [0, 1, 1, 1, 1].map(&mut edits).to_vec()
}

/// Bytes of a trailer and of entries: two frames from 8192 on, a record and a body; then a summary of nothing.
fn summaries() -> Vec<Vec<u8>> {
    let mut fields = [0; 37];
    (fields[0], fields[8]) = (1, 2);
    let entries = [0, 0x20, 0, 0, 0xC8, 0x20, 0, 0, 3, 1, 2, 3, 1, 2, 3, 1, 2, 60];
    // The highest position is the last of one, and another follows.
    let highest = [&[17][..], &[0xFF; 17], &[1; 4]].concat();
    vec![[&[55][..], &fields, &entries, &[9, 3, 0, 0, 0, 0, 0, 0, 0, 3]].concat(), highest]
}

/// Three bodies: with a structure, alone, with further pieces.
fn places() -> Vec<Vec<u8>> {
    let usual = vec![0x0B, 0x81, 0x10, 0x64, 1, 0x0A, 0x09, 0x81, 0x02, 0x64, 0x0D, 3, 9, 3, 1, 7, 0, 5, 9];
    // Bodies of so high numbers that they could not be told again.
    let high = [&[0xF8][..], &[0xFF; 8], &[0x01, 0xF9], &[0xFF; 8], &[0x01, 9, 1]].concat();
    vec![usual, high]
}

fn golden() -> Vec<Vec<u8>> {
    let hex = include_str!("store/record.golden").trim();
    let digits = hex.as_bytes().chunks(2);
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    vec![digits.filter_map(byte).collect()]
}

/// Each in memory of its own.
fn owned<const N: usize>(texts: [&[u8]; N]) -> Vec<Vec<u8>> {
    texts.map(<[u8]>::to_vec).to_vec()
}

fn messages() -> Vec<Vec<u8>> {
    owned([
        &include_bytes!("../tests/messages/mixed-related-alternative.eml")[..],
        include_bytes!("../tests/messages/digest.eml"),
        include_bytes!("../tests/messages/rfc2231.eml"),
        include_bytes!("../tests/messages/odd-addresses.eml"),
        include_bytes!("../tests/messages/encoded-words.eml"),
        include_bytes!("../tests/messages/outer-ends-inner.eml"),
    ])
}

fn encoded() -> Vec<Vec<u8>> {
    let scan = |message: Vec<u8>| {
        let mut scanner = mime::Scanner::new();
        scanner.push(&message);
        scanner.finish().encode()
    };
    messages().into_iter().map(scan).collect()
}

fn commands() -> Vec<Vec<u8>> {
    owned([
        &b"a LOGIN anna@example.test {5+}\r\nhello\r\nb SELECT \"INBOX\" (CONDSTORE)\r\n"[..],
        b"c UID FETCH 1:*,5 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (To \"Cc\")]<0.99>) (CHANGEDSINCE 7)\r\n",
        b"d SEARCH RETURN () CHARSET UTF-8 OR (SINCE 1-Jan-2026 NOT BODY {3+}\r\nabc) HEADER X \"y\" MODSEQ 4\r\n",
        b"e APPEND &AOQ-bc (\\Seen $x) \"24-Nov-2026 10:00:00 +0100\" {4+}\r\nbody\r\n",
        b"f STORE 1:* (UNCHANGEDSINCE 9) +FLAGS.SILENT (\\Deleted)\r\n",
        b"g LIST (SUBSCRIBED) \"\" (\"*\" %) RETURN (CHILDREN STATUS (UIDNEXT))\r\n",
        b"MAIL FROM:<anna@example.test> SIZE=100 BODY=8BITMIME SMTPUTF8\r\n",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"RETR 12\r\n.\r\n..x\r\n",
    ])
}

fn values() -> Vec<Vec<u8>> {
    owned([
        &b"Tue, 24 Nov 2026 10:00:00 +0100 (CET)"[..],
        b"<@a.test,@b.test:\"anna b\"@[IPv6:::1]> X=1",
        b"Subject: =?utf-8?B?w6TDtg==?= =?iso-8859-1?Q?=E4_b?=\r\n folded\r\nTo: x\r\n\r\n",
        b"&AOQA9g-/&-x",
        b"iso-2022-jp \x1b$B$\"\x1b(B",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Random;

    /// Some bytes other, more, fewer, doubled, or from another seed.
    fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let pick = |random: &mut Random| seeds[random.below(seeds.len() as u64) as usize].clone();
        let mut data = pick(random);
        for _ in 0..=random.below(6) {
            let at = random.below(data.len() as u64 + 1) as usize;
            match random.below(7) {
                0 => data.truncate(at),
                1 => data.insert(at, random.number() as u8),
                2 if at < data.len() => data[at] ^= 1 << random.below(8),
                3 if at < data.len() => data[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n'][random.below(6) as usize],
                4 => {
                    let other = pick(random);
                    let from = random.below(other.len() as u64 + 1) as usize;
                    data.splice(at.., other[from..].iter().copied());
                }
                5 if at < data.len() => {
                    let end = at + random.below((data.len() - at) as u64) as usize;
                    let again = data[at..end].to_vec();
                    data.splice(at..at, again);
                }
                _ => {
                    let end = (at + 8).min(data.len());
                    data[at..end].fill(random.number() as u8);
                }
            }
            data.truncate(8192);
        }
        data
    }

    /// POSTFACH_FUZZ sets how many inputs each target gets.
    #[test]
    fn no_decoder_panics_and_what_it_prints_is_read_again() {
        let wanted = std::env::var("POSTFACH_FUZZ").ok().and_then(|count| count.parse().ok());
        for target in TARGETS {
            let seeds = (target.seeds)();
            let only = std::env::var("POSTFACH_FUZZ_ONLY").unwrap_or_default();
            if !target.name.contains(&only) {
                continue;
            }
            seeds.iter().for_each(|seed| (target.run)(seed));
            let slow = matches!(target.name, "store" | "superblock" | "message" | "caches" | "parity");
            let mut random = Random(1);
            for _ in 0..wanted.unwrap_or(if slow { 400 } else { 4000 }) {
                (target.run)(&mutate(&seeds, &mut random));
            }
        }
    }
}
