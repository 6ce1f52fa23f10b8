//! The structures of real messages, held against independent parsers, and the laws that hold for any bytes.
//!
//! The messages are those of `tests/messages`, and every `*.eml` below the folder that POSTFACH_CORPUS names.

#![allow(clippy::unwrap_used)] // All of this is a test, also what is not marked as one.

#[path = "structure/grammar.rs"]
mod grammar;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mail_parser::{Address, HeaderName, Message, MessageParser, MimeHeaders, PartType};
use postfach::limits::{ENVELOPE_ADDRESSES_MAX, MIME_PARTS_MAX, STRUCTURE_BYTES_MAX};
use postfach::wire::address::parse_path;
use postfach::wire::date::parse_rfc5322;
use postfach::wire::header::{FieldFilter, decode_words, fields};
use postfach::wire::mime::{Envelope, Kind, Mailbox, Part, Scanner, Structure};
use postfach::wire::structure::{bodystructure, envelope};

/// Messages that both other parsers read differently, and why we do not follow either.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "legacy/001",
        "encoded words in UTF-7: we do not decode UTF-7, and FETCH tells encoded words as they are",
    ),
    ("legacy/005", "encoded words in UTF-7, as in legacy/001"),
    ("malformed/000", "boundaries in the midst of headers: both lose parts there"),
    (
        "malformed/007",
        "a header goes on to its empty line; both end it at a line that looks like a boundary not yet in force",
    ),
    (
        "malformed/013",
        "the same boundary four levels deep: Python lets the outermost win, mail-parser drops the last, empty part",
    ),
    (
        "malformed/022",
        "an embedded message without any field: its lines are a header without fields, as everywhere",
    ),
    ("rfc/000", "an address that is only a comment: nobody; mail-parser makes it a name"),
    (
        "thirdparty/015",
        "a line that is no field, within a header: passed over; Python ends the header there, mail-parser overruns a boundary",
    ),
    (
        "messages/odd-addresses",
        "quotes and blanks in addresses, a source route: taken out, as RFC 3501 §7.4.2 asks",
    ),
];

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            found.push(path);
        }
    }
}

/// Every message with its name, which ends in the last two steps of its path; line ends made CRLF.
fn messages() -> Vec<(String, Vec<u8>)> {
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages"), &mut paths);
    if let Some(corpus) = std::env::var_os("POSTFACH_CORPUS") {
        collect(Path::new(&corpus), &mut paths);
    }
    paths.sort();
    assert!(paths.len() >= 30, "the messages are missing");
    paths.iter().map(|path| (name(path), with_crlf(&std::fs::read(path).unwrap()))).collect()
}

fn name(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
    format!("{folder}/{}", path.file_stem().unwrap().to_string_lossy())
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

fn scan(message: &[u8], chunk: usize) -> Structure {
    let mut scanner = Scanner::new();
    message.chunks(chunk).for_each(|piece| scanner.push(piece));
    scanner.finish()
}

// ---- what the parsers say, as lines ----

/// One line for each part: depth, type, charset, and where it lies; of a multipart or embedded message not where it ends.
fn our_parts(structure: &Structure) -> Vec<String> {
    let line = |part: &Part| {
        let end = if part.kind == Kind::Leaf { part.body_end.to_string() } else { String::new() };
        let charset = text(part.charset()).to_lowercase();
        format!("{} {} {charset} {} {} {end}", part.depth, media(part), part.header_start, part.body_start)
    };
    structure.parts.iter().map(line).collect()
}

/// One line for each message in it: subject and addresses, decoded.
fn our_texts(structure: &Structure) -> Vec<String> {
    let shown = |list: &[Mailbox]| list.iter().filter_map(our_address).collect::<Vec<_>>().join(", ");
    let line = |envelope: &Envelope| {
        let Envelope { subject, from, to, cc, .. } = envelope;
        let subject = subject.as_ref().map(|subject| blanks(&decode_words(subject))).unwrap_or_default();
        format!("subject {subject}; from {}; to {}; cc {}", shown(from), shown(to), shown(cc))
    };
    structure.parts.iter().filter_map(|part| part.envelope.as_deref()).map(line).collect()
}

/// What Python prints, of ours.
fn our_bodies(structure: &Structure, message: &[u8]) -> Vec<String> {
    let line = |(at, part): (usize, &Part)| {
        let mut body = &message[part.body_start as usize..part.body_end as usize];
        if structure.children(at).next().is_some() {
            body = &[];
        } else if part.body_end == structure.size && part.depth > 0 {
            // Where no boundary ends a part, Python takes the line end from it all the same.
            body = body.strip_suffix(b"\r\n").unwrap_or(body);
        }
        let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {} {hex}", part.depth, media(part))
    };
    structure.parts.iter().enumerate().map(line).collect()
}

fn media(part: &Part) -> String {
    part.media
        .as_ref()
        .map_or("text/plain".into(), |(kind, subtype)| format!("{}/{}", text(kind), text(subtype)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An address as both show it: marks of groups are none, words without a domain are a name.
fn our_address(mailbox: &Mailbox) -> Option<String> {
    let host = text(mailbox.host.as_ref()?);
    let local = text(mailbox.local.as_ref()?);
    let name = mailbox.name.as_ref().map(|name| blanks(&decode_words(name))).unwrap_or_default();
    if host.is_empty() {
        return Some(if name.is_empty() { format!("{local}<>") } else { format!("{name}<{local}>") });
    }
    Some(format!("{name}<{local}@{host}>"))
}

/// mail-parser's parts and texts, in the form of ours.
fn theirs(message: &Message<'_>, id: usize, depth: usize, parts: &mut Vec<String>, texts: &mut Vec<String>) {
    let part = &message.parts[id];
    if id == 0 {
        let shown = |name: HeaderName<'_>| {
            let addresses = message.header(name).and_then(|value| value.as_address());
            addresses.map(their_addresses).unwrap_or_default()
        };
        let subject = blanks(message.subject().unwrap_or_default());
        let (from, to, cc) = (shown(HeaderName::From), shown(HeaderName::To), shown(HeaderName::Cc));
        texts.push(format!("subject {subject}; from {from}; to {to}; cc {cc}"));
    }
    let inner = match &part.body {
        PartType::Message(inner) if part.encoding == mail_parser::Encoding::None => Some(inner),
        _ => None,
    };
    // A Content-Type that is invalid counts as none (RFC 2045 §5.2); they tell it all the same.
    let media = part.content_type().filter(|media| media.subtype().is_some());
    let media = media.filter(|media| media.ctype() != "multipart" || media.attribute("boundary").is_some());
    let (kind, subtype) = match media {
        Some(media) => (media.ctype().to_lowercase(), media.subtype().unwrap().to_lowercase()),
        None if matches!(part.body, PartType::Message(_)) => ("message".into(), "rfc822".into()),
        None => ("text".into(), "plain".into()),
    };
    let charset = media.and_then(|media| media.attribute("charset")).unwrap_or_default().to_lowercase();
    let is_leaf = inner.is_none() && kind != "multipart";
    let end = if is_leaf { part.offset_end.to_string() } else { String::new() };
    parts.push(format!(
        "{depth} {kind}/{subtype} {charset} {} {} {end}",
        part.offset_header, part.offset_body
    ));
    if let Some(inner) = inner {
        theirs(inner, 0, depth + 1, parts, texts);
    }
    if let PartType::Multipart(children) = &part.body {
        for child in children {
            theirs(message, *child as usize, depth + 1, parts, texts);
        }
    }
}

/// Their names have comments appended; ours have not.
fn their_addresses(addresses: &Address<'_>) -> String {
    let one = |address: &mail_parser::Addr<'_>| {
        let name = address.name.as_deref().unwrap_or_default();
        let name = name.split_once(" (").map_or(name, |(name, _)| name);
        format!("{}<{}>", blanks(name), address.address.as_deref().unwrap_or_default())
    };
    addresses.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// They decode unlabelled 8-bit bytes as UTF-8 only.
fn same_texts(ours: &[String], theirs: &[String]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            ours == theirs
                || theirs.contains('\u{fffd}')
                    && ours
                        .chars()
                        .map(|letter| if letter.is_ascii() { letter } else { '\u{fffd}' })
                        .eq(theirs.chars())
        })
}

/// What Python's email package finds.
fn python(message: &[u8]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/structure/parts.py");
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed as the second opinion");
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// mail-parser knows the innermost boundary only; where it differs, Python's email package is asked.
fn agrees(name: &str, message: &[u8]) -> bool {
    let structure = scan(message, usize::MAX);
    let Some(parsed) = MessageParser::default().parse(message) else { return true };
    let (mut their_parts, mut their_texts) = (Vec::new(), Vec::new());
    theirs(&parsed, 0, 0, &mut their_parts, &mut their_texts);
    let (parts, texts) = (our_parts(&structure), our_texts(&structure));
    let same_parts = parts == their_parts;
    // Where the parts differ, the embedded messages do; there is only the message's own header to compare.
    let compared = if same_parts { usize::MAX } else { 1 };
    let first = |texts: &[String]| texts.iter().take(compared).cloned().collect::<Vec<_>>();
    let agrees = same_texts(&first(&texts), &first(&their_texts))
        && (same_parts || our_bodies(&structure, message) == python(message));
    if !agrees && !DIFFERENCES.iter().any(|(known, _)| *known == name) {
        eprintln!("{name}\n  {texts:#?}\n  {their_texts:#?}\n  {parts:#?}\n  {their_parts:#?}");
    }
    agrees
}

#[test]
fn structures_agree_with_independent_parsers() {
    assert!(DIFFERENCES.len() <= 10);
    let messages = messages();
    let differing: Vec<&str> = messages
        .iter()
        .filter(|(name, message)| !agrees(name, message))
        .map(|(name, _)| name.as_str())
        .collect();
    let is_known = |name: &str| DIFFERENCES.iter().any(|(known, _)| *known == name);
    let unknown: Vec<_> = differing.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{} of {}: {unknown:?}", unknown.len(), messages.len());
    // A difference that has gone is taken off the list.
    let there = |name: &str| messages.iter().any(|(own, _)| own == name);
    let gone = |name: &&str| there(name) && !differing.contains(name);
    assert_eq!(DIFFERENCES.iter().map(|(name, _)| *name).find(gone), None);
}

// ---- laws ----

/// A generator of numbers that every run repeats.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn every_chunking_gives_the_same_structure() {
    let mut numbers = Numbers(1);
    for (name, message) in messages() {
        let whole = scan(&message, usize::MAX);
        if message.len() < 3000 {
            for split in 0..=message.len() {
                let mut scanner = Scanner::new();
                scanner.push(&message[..split]);
                scanner.push(&message[split..]);
                assert!(scanner.finish() == whole, "{name} split at {split}");
            }
        }
        for chunk in [1, 2, 3, 7, 64, 4096] {
            assert!(scan(&message, chunk) == whole, "{name} by {chunk}");
        }
        for _ in 0..8 {
            let mut scanner = Scanner::new();
            let mut rest = message.as_slice();
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(numbers.below(200).min(rest.len()));
                scanner.push(piece);
                rest = tail;
            }
            assert!(scanner.finish() == whole, "{name} by random pieces");
        }
    }
}

fn check_laws(message: &[u8], what: &str) {
    let structure = scan(message, usize::MAX);
    let encoded = structure.encode();
    assert!(encoded.len() <= STRUCTURE_BYTES_MAX, "{what}: {} bytes", encoded.len());
    assert!(Structure::decode(&encoded).as_ref() == Ok(&structure), "{what}: decoded to something else");
    assert_eq!(structure.size as usize, message.len(), "{what}");
    assert!(structure.parts.len() <= MIME_PARTS_MAX);
    for (at, part) in structure.parts.iter().enumerate() {
        assert!(
            part.header_start <= part.body_start && part.body_start <= part.body_end,
            "{what}: part {at}"
        );
        for child in structure.children(at) {
            let child = &structure.parts[child];
            assert!(
                part.body_start <= child.header_start && child.body_end <= part.body_end,
                "{what}: part {at} does not hold its child {child:?}"
            );
        }
        if let Some(envelope) = &part.envelope {
            assert!(envelope.to.len() <= ENVELOPE_ADDRESSES_MAX);
        }
    }
    for extended in [false, true] {
        let mut out = Vec::new();
        bodystructure(&structure, extended, &mut out);
        grammar::body(&out, extended).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    }
    let mut out = Vec::new();
    envelope(structure.envelope().unwrap(), &mut out);
    grammar::envelope(&out).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
}

/// All fields and no fields together are the header; what is in them can be anything.
fn check_header_laws(message: &[u8], what: &str) {
    let structure = scan(message, usize::MAX);
    let header = &message[..structure.root().body_start as usize];
    let mut all = Vec::new();
    let mut filter = FieldFilter::new(Vec::new(), true);
    message.chunks(7).for_each(|piece| filter.push(piece, &mut all));
    filter.finish(&mut all);
    let lines = header.strip_suffix(b"\n").map_or(header, |lines| lines.strip_suffix(b"\r").unwrap_or(lines));
    let ends_with_blank_line = lines.is_empty() || lines.ends_with(b"\n");
    let expected = if ends_with_blank_line && header.ends_with(b"\n") { lines } else { header };
    let kept = all.strip_suffix(b"\r\n").unwrap();
    assert!(
        kept == expected || kept.strip_suffix(b"\r\n") == Some(expected),
        "{what}: the filter lost something"
    );
    for (name, value) in fields(header) {
        assert!(!name.is_empty(), "{what}");
        let _ = (decode_words(value), parse_rfc5322(value));
        for utf8 in [false, true] {
            if let Ok((path, _)) = parse_path(value.trim_ascii(), utf8) {
                let printed = path.to_string();
                assert_eq!(parse_path(printed.as_bytes(), utf8), Ok((path, &b""[..])), "{what}: {printed}");
            }
        }
    }
}

#[test]
fn laws_hold_for_every_message() {
    for (name, message) in messages() {
        check_laws(&message, &name);
        check_header_laws(&message, &name);
    }
}

#[test]
fn laws_hold_for_mutated_messages() {
    let mut numbers = Numbers(2);
    let snippets: [&[u8]; 12] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"--",
        b"\r\n\r\n",
        b"\"",
        b"(",
        b"<",
        b"\xff",
        b"\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n",
        b"\r\nContent-Type: message/rfc822\r\n\r\n",
    ];
    for (name, message) in messages() {
        let rounds = if message.len() < 20_000 { 60 } else { 2 };
        for round in 0..rounds {
            let mut mutated = message.clone();
            for _ in 0..=numbers.below(8) {
                let at = numbers.below(mutated.len() + 1);
                match numbers.below(4) {
                    0 => {
                        drop(mutated.splice(at..at, snippets[numbers.below(snippets.len())].iter().copied()))
                    }
                    1 => mutated.truncate(at.max(1)),
                    2 if at < mutated.len() => mutated[at] = numbers.below(256) as u8,
                    _ => drop(mutated.drain(at..(at + numbers.below(40)).min(mutated.len()))),
                }
            }
            let what = format!("{name}, mutation {round}");
            check_laws(&mutated, &what);
            check_header_laws(&mutated, &what);
            assert!(scan(&mutated, 1 + numbers.below(50)) == scan(&mutated, usize::MAX), "{what}: chunks");
        }
    }
}

#[test]
fn the_grammar_refuses_what_is_wrong() {
    let text = r#"("text" "plain" NIL NIL NIL "7bit" 1 1)"#;
    assert_eq!(grammar::body(text.as_bytes(), false), Ok(()));
    assert_eq!(grammar::body(format!(r#"({text}{text} "mixed")"#).as_bytes(), false), Ok(()));
    for wrong in [
        r#"("text" "plain" NIL NIL NIL NIL 1 1)"#,
        r#"("text" "plain" NIL NIL NIL "7bit" 1)"#,
        r#"("text" "plain" () NIL NIL "7bit" 1 1)"#,
        r#"("text" "plain" NIL NIL  "7bit" 1 1)"#,
        r#"("image" "png" NIL NIL NIL "7bit" 1 1)"#,
        r#"("multipart" "mixed" NIL NIL NIL "7bit" 1)"#,
        r#"("message" "rfc822" NIL NIL NIL "7bit" 1)"#,
        r#"("text" "pläin" NIL NIL NIL "7bit" 1 1)"#,
        r#"( "mixed")"#,
        r#"("text" "plain" NIL NIL NIL "7bit" 1 1) "#,
    ] {
        assert!(grammar::body(wrong.as_bytes(), false).is_err(), "{wrong}");
    }
    assert!(grammar::body(text.as_bytes(), true).is_err());
    assert!(grammar::envelope(b"(NIL NIL () NIL NIL NIL NIL NIL NIL NIL)").is_err());
    assert!(grammar::envelope(br#"(NIL NIL ((NIL NIL "g" NIL)) NIL NIL NIL NIL NIL NIL NIL)"#).is_err());
    assert_eq!(grammar::envelope(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"), Ok(()));
}

#[test]
fn damaged_structures_are_refused_or_sound() {
    let mut numbers = Numbers(3);
    for (_, message) in messages() {
        let encoded = scan(&message, usize::MAX).encode();
        for _ in 0..200 {
            let mut damaged = encoded.clone();
            let at = numbers.below(damaged.len());
            damaged[at] = numbers.below(256) as u8;
            if numbers.below(4) == 0 {
                damaged.truncate(at);
            }
            if let Ok(structure) = Structure::decode(&damaged) {
                bodystructure(&structure, true, &mut Vec::new());
            }
        }
    }
}
