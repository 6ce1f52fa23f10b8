//! The laws of the scanner, of section lookup and of the stored form. Real messages are in `tests/structure.rs`.

use super::*;
use crate::limits::{ENVELOPE_ADDRESSES_MAX, HEADER_FIELD_BYTES_MAX};

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.push(message);
    scanner.finish()
}

fn crlf(message: &str) -> Vec<u8> {
    message.replace('\n', "\r\n").into_bytes()
}

/// Each part as `depth kind type "header" "body" lines`.
fn shown(message: &[u8]) -> Vec<String> {
    let structure = scan(message);
    let slice =
        |range: Range<u64>| message[range.start as usize..range.end as usize].escape_ascii().to_string();
    let line = |part: &Part| {
        let media = part
            .media
            .as_ref()
            .map_or("-".into(), |(a, b)| format!("{}/{}", a.escape_ascii(), b.escape_ascii()));
        let Part { depth, kind, lines, .. } = part;
        format!("{depth} {kind:?} {media} [{}] [{}] {lines}", slice(part.header()), slice(part.body()))
    };
    structure.parts.iter().map(line).collect()
}

const MULTI: &str = "Content-Type: multipart/mixed; boundary=b\n\n";

#[test]
fn plain_messages_in_every_shape() {
    for (message, expected) in [
        ("A: b\r\n\r\nx\r\ny", "0 Leaf - [A: b\\r\\n\\r\\n] [x\\r\\ny] 1"),
        ("A: b\n\nx\ny\n", "0 Leaf - [A: b\\n\\n] [x\\ny\\n] 2"),
        ("A: b\r\n", "0 Leaf - [A: b\\r\\n] [] 0"),
        ("A: b", "0 Leaf - [A: b] [] 0"),
        ("", "0 Leaf - [] [] 0"),
        ("\r\nx", "0 Leaf - [\\r\\n] [x] 0"),
        ("\r\r\n\r\nx", "0 Leaf - [\\r\\r\\n\\r\\n] [x] 0"),
        ("no field\r\n\r\nx\0\r\n", "0 Leaf - [no field\\r\\n\\r\\n] [x\\x00\\r\\n] 1"),
        ("A: b\r\n \r\nC: d\r\n\r\nx", "0 Leaf - [A: b\\r\\n \\r\\nC: d\\r\\n\\r\\n] [x] 0"),
    ] {
        assert_eq!(shown(message.as_bytes()), [expected]);
    }
}

#[test]
fn line_ends_before_boundaries_are_not_of_the_body() {
    let message = format!("{MULTI}pre\n--b\n\none\n\n--b \t\nA: b\n--b\n\n--b--\npost\n");
    let expected =
        ["1 Leaf - [\\r\\n] [one\\r\\n] 1", "1 Leaf - [A: b\\r\\n] [] 0", "1 Leaf - [\\r\\n] [] 0"];
    assert_eq!(shown(&crlf(&message))[1..], expected);
    assert_eq!(shown(message.as_bytes())[1..], expected.map(|line| line.replace("\\r", "")));
}

#[test]
fn boundaries_that_are_none() {
    for line in ["--bc", "-b", " --b", "--b x", "--B", "--b---", "b", "x--b"] {
        let message = crlf(&format!("{MULTI}--b\n\none\n{line}\ntwo\n--b--\n"));
        assert_eq!(shown(&message).len(), 2, "{line}");
    }
    // After the last delimiter there are no more parts.
    assert_eq!(shown(&crlf(&format!("{MULTI}--b\n\none\n--b--\n--b\n\ntwo\n"))).len(), 2);
    // A boundary that ends like a last delimiter.
    assert_eq!(
        shown(b"Content-Type: multipart/x; boundary=a--\n\n--a--\n\n1\n--a--\n\n2\n--a----\n").len(),
        3
    );
}

#[test]
fn an_outer_boundary_ends_what_is_inside() {
    let inner = "Content-Type: multipart/x; boundary=c\n\n";
    let message = crlf(&format!(
        "{MULTI}--b\n{inner}--c\n\none\n--c\nContent-Type: message/rfc822\n\nSubject: x\n--b\n\ntwo"
    ));
    assert_eq!(
        shown(&message)[1..],
        [
            "1 Multipart multipart/x [Content-Type: multipart/x; boundary=c\\r\\n\\r\\n] [--c\\r\\n\\r\\none\\r\\n--c\\r\\n\
             Content-Type: message/rfc822\\r\\n\\r\\nSubject: x\\r\\n] 0",
            "2 Leaf - [\\r\\n] [one] 0",
            "2 Message message/rfc822 [Content-Type: message/rfc822\\r\\n\\r\\n] [Subject: x\\r\\n] 1",
            "3 Leaf - [Subject: x\\r\\n] [] 0",
            "1 Leaf - [\\r\\n] [two] 0",
        ]
    );
}

#[test]
fn defaults_of_types() {
    let media = |message: &str| {
        let structure = scan(message.as_bytes());
        let part = structure.root();
        (part.media.clone().map(|(a, b)| format!("{}/{}", a.escape_ascii(), b.escape_ascii())), part.kind)
    };
    assert_eq!(media("\n"), (None, Kind::Leaf));
    assert_eq!(media("Content-Type: nonsense\n\n"), (None, Kind::Leaf));
    assert_eq!(
        media("Content-Type: nonsense\nContent-Type: a/b\nContent-Type: c/d\n\n"),
        (Some("a/b".into()), Kind::Leaf)
    );
    assert_eq!(media("Content-Type: multipart/mixed\n\n"), (None, Kind::Leaf));
    assert_eq!(media("Content-Type: multipart/mixed; boundary=\" \"\n\n"), (None, Kind::Leaf));
    let digest = scan(b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\n--b\nContent-Type: text/plain\n\n--b--");
    let kinds: Vec<_> = digest.parts.iter().map(|part| (part.depth, part.kind)).collect();
    assert_eq!(kinds, [(0, Kind::Multipart), (1, Kind::Message), (2, Kind::Leaf), (1, Kind::Leaf)]);
}

#[test]
fn sections_are_found_as_the_rfc_numbers_them() {
    // The tree of RFC 3501 §6.4.5, with a text as its part 1.
    let message = crlf(&format!(
        "{MULTI}--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: s\nContent-Type: multipart/mixed; boundary=c\n\n\
         --c\nA: 1\n\n2.1\n--c\n\n2.2\n--c--\n--b\nContent-Type: message/rfc822\n\nSubject: t\n\n3.1\n--b--\n"
    ));
    let structure = scan(&message);
    let at = |path: &[u32], section| {
        let range = structure.range(path, section)?;
        Some(String::from_utf8_lossy(&message[range.start as usize..range.end as usize]).into_owned())
    };
    use Section::{Header, Mime, Text, Whole};
    let some = |text: &str| Some(text.replace('\n', "\r\n"));
    assert_eq!(at(&[], Whole), Some(String::from_utf8_lossy(&message).into_owned()));
    assert_eq!(at(&[], Header), some(MULTI));
    assert!(at(&[], Text).is_some_and(|text| text.starts_with("--b\r\n") && text.ends_with("--b--\r\n")));
    assert_eq!(at(&[], Mime), None);
    assert_eq!(at(&[1], Whole), some("one"));
    assert_eq!(at(&[1], Mime), some("\n"));
    assert_eq!((at(&[1], Header), at(&[1], Text), at(&[1, 1], Whole)), (None, None, None));
    assert_eq!(at(&[2], Mime), some("Content-Type: message/rfc822\n\n"));
    assert_eq!(at(&[2], Header), some("Subject: s\nContent-Type: multipart/mixed; boundary=c\n\n"));
    assert_eq!(at(&[2], Text), some("--c\nA: 1\n\n2.1\n--c\n\n2.2\n--c--"));
    assert_eq!(at(&[2, 1], Whole), some("2.1"));
    assert_eq!(at(&[2, 1], Mime), some("A: 1\n\n"));
    assert_eq!(at(&[2, 2], Whole), some("2.2"));
    assert_eq!(
        (at(&[2, 3], Whole), at(&[2, 0], Whole), at(&[4], Whole), at(&[0], Whole)),
        (None, None, None, None)
    );
    assert_eq!(at(&[3], Text), some("3.1"));
    assert_eq!(at(&[3, 1], Whole), some("3.1"));
    assert_eq!(at(&[3, 1], Mime), some("Subject: t\n\n"));
    assert_eq!((at(&[3, 1, 1], Whole), at(&[3, 2], Whole)), (None, None));
}

#[test]
fn part_one_of_what_has_no_parts_is_its_body() {
    let structure = scan(b"Subject: x\n\nbody");
    assert_eq!(structure.range(&[1], Section::Whole), Some(12..16));
    assert_eq!(structure.range(&[1], Section::Mime), Some(0..12));
    assert_eq!((structure.section(&[2]), structure.section(&[1, 1])), (None, None));
    let structure = scan(b"Content-Type: message/rfc822\n\nSubject: x\n\nbody");
    assert_eq!(structure.range(&[1], Section::Whole), Some(30..46));
    assert_eq!(structure.range(&[1], Section::Header), Some(30..42));
    assert_eq!(structure.range(&[1, 1], Section::Whole), Some(42..46));
    assert_eq!(structure.section(&[1, 1, 1]), None);
    let structure = scan(b"Content-Type: multipart/x; boundary=b\n\n");
    assert_eq!(structure.section(&[1]), None);
}

#[test]
fn envelopes_keep_strings_as_they_are() {
    let structure = scan(
        b"Subject:  =?utf-8?q?x?=\r\n\ty \r\nDATE: Tue, 24 Nov 2026 10:18:02 +0100\r\nTo: a@b\r\nTo: c@d\r\nFrom: e@f\r\nFrom: g@h\r\n\
          Message-ID : <1@x>\r\nSubject: second\r\n\r\n",
    );
    let envelope = structure.envelope().unwrap();
    assert_eq!(envelope.subject.as_deref(), Some(&b"=?utf-8?q?x?=\ty"[..]));
    assert_eq!(envelope.sent.map(|sent| (sent.time.0, sent.zone_minutes)), Some((1_795_511_882, 60)));
    assert_eq!((envelope.to.len(), envelope.from.len()), (2, 1));
    assert_eq!(envelope.message_id.as_deref(), Some(&b"<1@x>"[..]));
    assert_eq!(envelope.in_reply_to, None);
}

#[test]
fn an_ordinary_message_is_stored_compactly() {
    let header = "From: Anna Weber <anna@example.test>\r\nTo: Ben Kurz <ben@example.test>\r\nSubject: Order 4711\r\n\
        Date: Tue, 24 Nov 2026 09:18:02 +0000\r\nMessage-ID: <0123456789abcdef@example.test>\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=us-ascii\r\nX-Mailer: something long that is not looked at\r\n\r\n";
    let encoded = scan(format!("{header}{}", "text\r\n".repeat(600)).as_bytes()).encode();
    // 124 bytes of strings.
    assert!(encoded.len() <= 200, "{}", encoded.len());
}

#[test]
fn the_stored_form_is_refused_when_it_is_another() {
    let encoded = scan(b"Subject: x\n\nbody").encode();
    assert!(Structure::decode(&encoded).is_ok());
    assert_eq!(Structure::decode(&[]), Err(Malformed));
    assert_eq!(Structure::decode(&encoded[1..]), Err(Malformed));
    assert_eq!(Structure::decode(&[&[VERSION + 1], &encoded[1..]].concat()), Err(Malformed));
    let deep = |depths: &[u8]| Structure {
        size: 0,
        parts: depths.iter().map(|depth| Part { depth: *depth, ..Part::default() }).collect(),
    };
    for depths in [&[][..], &[1], &[0, 0], &[0, 2], &[0, 1, 3]] {
        assert_eq!(Structure::decode(&deep(depths).encode()), Err(Malformed), "{depths:?}");
    }
    assert!(Structure::decode(&deep(&[0, 1, 2, 1]).encode()).is_ok());
}

#[test]
fn what_is_made_too_large_is_stored_without_its_details() {
    let mut structure = scan(b"Subject: x\n\nbody");
    let child =
        Part { depth: 1, params: vec![(b"a"[..].into(), vec![b'x'; 60_000].into())], ..Part::default() };
    structure.parts.extend([child.clone(), child]);
    let encoded = structure.encode();
    assert!(encoded.len() <= STRUCTURE_BYTES_MAX);
    assert_eq!(Structure::decode(&encoded).unwrap().envelope(), structure.envelope());
}

/// A message made of many pieces, and what is left of it within the limits.
fn limited(head: &str, piece: &str, count: usize) -> Structure {
    let mut scanner = Scanner::new();
    scanner.push(head.as_bytes());
    for _ in 0..count {
        scanner.push(piece.as_bytes());
    }
    let structure = scanner.finish();
    let encoded = structure.encode();
    assert!(encoded.len() <= STRUCTURE_BYTES_MAX);
    assert_eq!(Structure::decode(&encoded).as_ref(), Ok(&structure));
    structure
}

#[test]
fn hostile_messages_stay_within_the_limits() {
    let many = limited(MULTI, "--b\nContent-Type: image/png; name=picture.png\n\nx\n", 100_000);
    assert!(many.parts.len() > 500 && many.parts.len() <= MIME_PARTS_MAX, "{}", many.parts.len());
    assert_eq!(many.parts.last().map(|part| part.body_end), Some(many.size));
    let many = limited(MULTI, "--b\n\n\n", 100_000);
    assert_eq!(many.parts.len(), MIME_PARTS_MAX);

    let deep = limited("", "Content-Type: multipart/mixed; boundary=b\n\n--b\n", 10_000);
    assert_eq!(deep.parts.iter().map(|part| usize::from(part.depth)).max(), Some(MIME_DEPTH_MAX - 1));
    let deep = limited("", "Content-Type: message/rfc822\n\n", 10_000);
    assert_eq!(deep.parts.len(), MIME_DEPTH_MAX);
    assert_eq!(deep.parts.last().map(|part| part.kind), Some(Kind::Leaf));

    let fields = limited("Subject: x\n", "X-Field: y\n", 100_000);
    assert_eq!(fields.root().body_start, fields.size);
    let subjects = limited("", "Subject: s\nTo: a@b, c@d\n", 50_000);
    assert_eq!(subjects.envelope().map(|envelope| envelope.to.len()), Some(ENVELOPE_ADDRESSES_MAX));
    let params = limited("Content-Type: a/b", ";\n a=b", 20_000);
    assert!(params.root().params.len() <= 64);
    let described = limited(MULTI, &format!("--b\nContent-Description: {}\n\n", "d".repeat(9000)), 200);
    assert_eq!(described.parts.len(), 201);
}

#[test]
fn a_field_of_a_megabyte_is_understood_in_part() {
    let structure = limited("Subject: ", "x", 1_000_000);
    let subject =
        structure.envelope().and_then(|envelope| envelope.subject.as_ref().map(|subject| subject.len()));
    assert!(
        subject
            .is_some_and(|length| length > HEADER_FIELD_BYTES_MAX - 16 && length <= HEADER_FIELD_BYTES_MAX)
    );
    let structure = limited("Subject: folded", "\n x", 500_000);
    let subject =
        structure.envelope().and_then(|envelope| envelope.subject.as_ref().map(|subject| subject.len()));
    assert!(subject.is_some_and(|length| length <= HEADER_FIELD_BYTES_MAX));
    // What comes behind the monster is understood.
    let message = format!("To: {}\r\nSubject: x\r\n\r\n", "a@b,".repeat(300_000));
    let structure = scan(message.as_bytes());
    assert_eq!(structure.envelope().and_then(|envelope| envelope.subject.as_deref()), Some(&b"x"[..]));
}
