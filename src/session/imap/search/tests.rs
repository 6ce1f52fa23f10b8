//! SEARCH driven by hand, with every load seen.
#![allow(clippy::unwrap_used)]

use super::super::fetch::tests::Desk;
use super::Search;
use crate::limits::PIECE_BYTES;
use crate::session::Load;
use crate::store::LoadError;
use crate::types::{Flags, Serial, Uid, UidSet};
use crate::wire::imap::{By, Cursor, Search as Command, reply};

fn search(desk: &mut Desk, by: By, keys: &str) -> String {
    let command = Command::parse(&mut Cursor::new(format!(" {keys}").as_bytes()), by).unwrap();
    desk.loads.clear();
    let job = desk.with(|cx, selected| Search::new(command, cx, selected.as_mut().unwrap()));
    let (mut said, answer) = match job {
        Ok(mut job) => desk.run(&mut *job),
        Err(answer) => (Vec::new(), Some(answer)),
    };
    let answer = answer.unwrap();
    reply::tagged(&mut said, "a", answer.condition, answer.code.code(), answer.text);
    String::from_utf8(said).unwrap()
}

const OK: &str = "a OK SEARCH completed\r\n";

/// Searches by sequence number; the numbers, as text.
fn found(desk: &mut Desk, keys: &str) -> String {
    let said = search(desk, By::Sequence, keys);
    let numbers = said.strip_suffix(&format!("\r\n{OK}")).and_then(|said| said.strip_prefix("* SEARCH"));
    numbers.unwrap_or_else(|| panic!("{keys}: {said}")).trim().to_owned()
}

const ONE: &[u8] =
    b"From: Anna <anna@example.test>\r\nTo: b@c\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle\r\n\
    Date: Tue, 24 Nov 2026 23:30:00 -0500\r\nMessage-ID: <1@x>\r\nX-Mark: red\r\n\r\nHello world\r\n";
const TWO: &[u8] = b"From: Ben <ben@example.test>\r\nSubject: list\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\nK=E4se und Br=\r\not\r\n--b\r\n\
    Content-Type: application/octet-stream\r\n\r\nsecretbytes\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: inner =?utf-8?b?w6TDtsO8?=\r\n\r\ninside text\r\n--b--\r\n";

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.add(ONE, Flags::SEEN);
    desk.add(TWO, Flags::FLAGGED);
    desk.add(b"\r\n", Flags::NONE);
    desk.open(false);
    desk
}

#[test]
fn the_state_is_asked_first_and_alone() {
    let mut desk = desk();
    for (keys, numbers) in [
        ("ALL", "1 2 3"),
        ("SEEN", "1"),
        ("UNSEEN", "2 3"),
        ("NOT FLAGGED", "1 3"),
        ("OR SEEN FLAGGED", "1 2"),
        ("UNSEEN FLAGGED", "2"),
        ("KEYWORD none", ""),
        ("UNKEYWORD none", "1 2 3"),
        ("NEW", "2 3"),
        ("OLD", ""),
        ("2:*", "2 3"),
        ("7:9", ""),
        ("UID 1,3", "1 3"),
        ("ON 9-Sep-2001", "1 2 3"),
        ("BEFORE 9-Sep-2001", ""),
        ("SMALLER 3", "3"),
        ("LARGER 2 SMALLER 300", "1"),
        ("BODY \"\"", "1 2 3"),
        ("SEEN UNSEEN BODY x", ""),
        ("OR ALL BODY x", "1 2 3"),
    ] {
        assert_eq!(found(&mut desk, keys), numbers, "{keys}");
        assert!(desk.loads.is_empty(), "{keys}");
    }
}

#[test]
fn envelope_fields_take_the_structure_only() {
    let mut desk = desk();
    for (keys, numbers) in [
        ("SUBJECT grüsse", ""),
        ("SUBJECT \"GRÜSSE\"", ""),
        ("SUBJECT \"grüße an\"", "1"),
        ("FROM anna", "1"),
        ("FROM \"<ben@EXAMPLE\"", "2"),
        ("TO b@c", "1"),
        ("CC b@c", ""),
        ("HEADER Message-ID \"<1@x>\"", "1"),
        ("HEADER subject \"\"", "1 2"),
        ("SENTON 24-Nov-2026", "1"),
        ("SENTSINCE 25-Nov-2026", ""),
        ("SENTBEFORE 25-Nov-2026", "1"),
        ("NOT FROM anna", "2 3"),
        ("OR FROM anna SUBJECT LIST", "1 2"),
    ] {
        assert_eq!(found(&mut desk, keys), numbers, "{keys}");
        let empty = keys.contains("\"\"");
        assert!(empty || desk.loads.iter().all(|load| matches!(load, Load::Structure { .. })), "{keys}");
    }
    assert_eq!(found(&mut desk, "SEEN FROM anna"), "1");
    assert_eq!(desk.loads.len(), 1);
}

#[test]
fn other_fields_and_texts_are_read_and_decoded() {
    let mut desk = desk();
    for (keys, numbers) in [
        ("HEADER X-Mark RED", "1"),
        ("HEADER X-Mark \"\"", "1"),
        ("HEADER X-Other \"\"", ""),
        ("NOT HEADER X-Mark red", "2 3"),
        ("BODY \"hello W\"", "1"),
        ("BODY red", ""),
        ("TEXT red", "1"),
        ("TEXT x-mark:", "1"),
        ("BODY käse", "2"),
        ("CHARSET UTF-8 BODY \"Brot\"", "2"),
        ("BODY secretbytes", ""),
        ("BODY preamble", ""),
        ("BODY \"inner äöü\"", "2"),
        ("TEXT \"inside text\"", "2"),
        ("TEXT grüße", "1"),
        ("NOT TEXT e", "3"),
        ("OR BODY world BODY inside", "1 2"),
        ("BODY hello NOT BODY world", ""),
        ("HEADER From anna BODY world", "1"),
        ("OR HEADER X-Mark world BODY zzz", ""),
        ("OR HEADER X-Mark red BODY inside", "1 2"),
    ] {
        assert_eq!(found(&mut desk, keys), numbers, "{keys}");
    }
    // Nothing of the body is loaded where the envelope has said no.
    assert_eq!(found(&mut desk, "FROM nobody BODY hello"), "");
    assert!(desk.loads.iter().all(|load| matches!(load, Load::Structure { .. })));
}

#[test]
fn a_large_body_passes_by_and_is_found_across_pieces() {
    let mut desk = Desk::new();
    let mut text = b"Subject: x\r\n\r\n".to_vec();
    text.resize(PIECE_BYTES - 3, b'.');
    text.extend_from_slice(b"needle");
    text.resize(5 * PIECE_BYTES, b'.');
    desk.add(&text, Flags::NONE);
    desk.open(false);
    assert_eq!(found(&mut desk, "BODY needle"), "1");
    assert_eq!(desk.loads.len(), 3);
    assert_eq!(found(&mut desk, "BODY needles"), "");
    assert_eq!(desk.loads.len(), 6);
    let many = (0..100).map(|n| format!("BODY absent{n} ")).collect::<String>();
    assert_eq!(found(&mut desk, &format!("OR BODY NEEDLE ({})", many.trim())), "1");
}

#[test]
fn numbers_mod_sequences_and_refusals() {
    let mut desk = desk();
    assert_eq!(search(&mut desk, By::Uid, "2:3"), format!("* SEARCH 2 3\r\n{OK}"));
    let highest = desk.with(|cx, selected| {
        let view = &selected.as_ref().unwrap().view;
        cx.store().folder(view.account, view.folder).unwrap().serial
    });
    let Serial(serial) = highest;
    let said = search(&mut desk, By::Sequence, &format!("MODSEQ {serial}"));
    assert_eq!(said, format!("* SEARCH 3 (MODSEQ {serial})\r\n{OK}"));
    assert_eq!(
        search(&mut desk, By::Sequence, &format!("MODSEQ {}", serial + 1)),
        format!("* SEARCH\r\n{OK}")
    );
    let said = search(&mut desk, By::Sequence, "CHARSET KOI8-R ALL");
    assert!(said.starts_with("a NO [BADCHARSET (US-ASCII UTF-8)] "), "{said}");
}

#[test]
fn what_is_damaged_or_expunged_does_not_match() {
    let mut desk = desk();
    let damaged = desk.add(ONE, Flags::NONE);
    desk.open(false);
    desk.damage =
        Box::new(move |load| (load == Load::Structure { body: damaged }).then_some(LoadError::Damaged));
    let said = search(&mut desk, By::Sequence, "FROM anna");
    assert_eq!(said, "* SEARCH 1\r\na OK SEARCH completed, but some of the messages are damaged\r\n");
    desk.with(|cx, selected| {
        let view = &selected.as_ref().unwrap().view;
        let one = UidSet::from_ascending([Uid(1)]);
        cx.store().expunge(view, crate::store::Which::These(&one)).unwrap();
    });
    assert_eq!(found(&mut desk, "ALL"), "2 3 4");
}

#[test]
fn an_empty_folder_has_nothing() {
    let mut desk = Desk::new();
    desk.open(false);
    for keys in ["ALL", "1:*", "*", "UID 1:*", "1", "NOT 1", "BODY x"] {
        assert_eq!(found(&mut desk, keys), "", "{keys}");
    }
}

#[test]
fn a_long_answer_is_sent_in_portions() {
    let mut desk = Desk::new();
    for _ in 0..9000 {
        desk.add(b"\r\n", Flags::NONE);
    }
    desk.open(false);
    let said = found(&mut desk, "ALL");
    let want: Vec<String> = (1..=9000).map(|n: u32| n.to_string()).collect();
    assert_eq!(said, want.join(" "));
    assert!(desk.sends >= 9 && desk.out_bytes_max < crate::limits::OUT_BYTES + 10_000);
}
