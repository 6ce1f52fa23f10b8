//! What a frame holds, as it is stored: as it came, or packed smaller. Packed frame by frame, so a piece of a message is read alone.
//!
//! Two steps, each left out where it does not help. Base64 lines become the bytes that they stand for: most of an office's mail is attachments,
//! and no general compression gets below what the 64 letters waste. What is left goes through LZ4. The journal's specification has the format.
//!
//! Refuses to trust itself: what is packed is unpacked and compared before it is taken. Refuses to unpack to more bytes than a piece has,
//! whatever the payload claims, and to anything but exactly what it claims.

use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::frame::Kind;
use super::word;
use crate::limits::{PACK_BYTES_MIN, PIECE_BYTES};

/// Flag of a frame: the rest of the payload is an LZ4 block.
const LZ4: u16 = 1;
/// Flag of a frame: runs of base64 lines are stored as the bytes that they stand for.
const LINES: u16 = 2;
/// The length of what was packed stands before it, bytes.
const LENGTH_BYTES: usize = 4;
/// Before each section of folded text: literal bytes (2), lines (2), groups of four letters in each line (1).
const SECTION_BYTES: usize = 5;
/// Fewest lines of a run, and fewest and most groups of a line: shorter ones save little, longer ones mail does not have.
const RUN_LINES_MIN: usize = 4;
const LINE_GROUPS: std::ops::RangeInclusive<usize> = 4..=249;
/// At least this part of a payload must be saved, or it stays as it is: reading it should cost nothing then.
const SAVED_PART: usize = 16;

/// A payload on its way to the log; dereferences to the bytes that are stored.
#[derive(Clone, Debug)]
pub struct Payload {
    flags: u16,
    bytes: Vec<u8>,
}

impl From<Vec<u8>> for Payload {
    /// Stored as it is.
    fn from(bytes: Vec<u8>) -> Payload {
        Payload { flags: 0, bytes }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Payload {
    /// A piece of a message, packed if that makes it smaller. Takes up to a millisecond on a small board: not under the store's lock.
    pub fn pack(bytes: Vec<u8>) -> Payload {
        pack(&bytes).unwrap_or(Payload { flags: 0, bytes })
    }

    /// What the frame's header says of it.
    pub(super) fn flags(&self) -> u16 {
        self.flags
    }

    /// As a frame holds it.
    pub(super) fn stored(flags: u16, bytes: Vec<u8>) -> Payload {
        Payload { flags, bytes }
    }
}

/// Whether this program understands a frame of this kind with these flags. Records are never packed: every opening reads them.
pub(super) fn is_known(kind: Kind, flags: u16) -> bool {
    match kind {
        Kind::Body | Kind::Structure => flags & !(LZ4 | LINES) == 0,
        Kind::Record | Kind::Witness | Kind::End | Kind::Snapshot => flags == 0,
    }
}

/// Makes the stored bytes what was packed, in the memory that is there. False: these bytes were not made by [`Payload::pack`].
pub(super) fn open(flags: u16, bytes: &mut Vec<u8>) -> bool {
    flags == 0 || unpack(flags, &bytes.to_vec(), bytes).is_some()
}

/// Whether it can be unpacked.
pub(super) fn is_sound(flags: u16, stored: &[u8]) -> bool {
    flags == 0 || unpack(flags, stored, &mut Vec::new()).is_some()
}

fn pack(plain: &[u8]) -> Option<Payload> {
    if !(PACK_BYTES_MIN..=PIECE_BYTES).contains(&plain.len()) {
        return None;
    }
    let mut flags = 0;
    let folded = fold(plain);
    let text = folded.as_deref().unwrap_or(plain);
    let mut bytes = vec![0; LENGTH_BYTES + lz4_flex::block::get_maximum_output_size(text.len())];
    // It fails where the output is too small, which this is not: then there is nothing gained.
    let length = lz4_flex::block::compress_into(text, &mut bytes[LENGTH_BYTES..]).unwrap_or(usize::MAX);
    if length < text.len() {
        flags |= LZ4;
        bytes.truncate(LENGTH_BYTES + length);
    } else {
        bytes.truncate(LENGTH_BYTES);
        bytes.extend_from_slice(text);
    }
    flags |= if folded.is_some() { LINES } else { 0 };
    drop(folded);
    if flags == 0 || bytes.len() > plain.len() - plain.len() / SAVED_PART {
        return None;
    }
    bytes[..LENGTH_BYTES].copy_from_slice(&(plain.len() as u32).to_le_bytes());
    // It waits for the disk: not with the room that it did not need.
    bytes.shrink_to_fit();
    // Deliberate: a message is acknowledged on these bytes, and nothing else of it is kept.
    stands_for(flags, &bytes, plain).then_some(Payload { flags, bytes })
}

/// Whether [`unpack`] makes the text of these bytes again. Runs of lines are compared one by one, not made whole once more.
fn stands_for(flags: u16, stored: &[u8], plain: &[u8]) -> bool {
    let Some(packed) = stored.get(LENGTH_BYTES..) else { return false };
    let mut rest = plain;
    let mut same = |part: &[u8]| match rest.strip_prefix(part) {
        Some(behind) => {
            rest = behind;
            true
        }
        None => false,
    };
    let done = if flags & LZ4 == 0 {
        unfold(packed, plain.len(), &mut same)
    } else {
        let mut text = vec![0; plain.len()];
        match lz4_flex::block::decompress_into(packed, &mut text) {
            Ok(filled) if flags & LINES != 0 => unfold(&text[..filled], plain.len(), &mut same),
            Ok(filled) => same(&text[..filled]).then_some(()),
            Err(_) => None,
        }
    };
    done.is_some() && rest.is_empty()
}

/// Makes `out` what was packed.
fn unpack(flags: u16, stored: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let packed = stored.get(LENGTH_BYTES..)?;
    let length = word::u32(stored, 0) as usize;
    if flags & !(LZ4 | LINES) != 0 || length > PIECE_BYTES {
        return None;
    }
    out.clear();
    out.reserve_exact(length);
    if flags & LZ4 == 0 {
        append_unfolded(packed, length, out)?;
    } else {
        // Never longer than what is claimed: folded text is shorter than the text. Zeroed, so that nothing old can show.
        out.resize(length, 0);
        let filled = lz4_flex::block::decompress_into(packed, out).ok()?;
        out.truncate(filled);
    }
    if flags == LZ4 | LINES {
        let folded = out.to_vec();
        out.clear();
        append_unfolded(&folded, length, out)?;
    }
    (out.len() == length).then_some(())
}

fn append_unfolded(folded: &[u8], length: usize, out: &mut Vec<u8>) -> Option<()> {
    unfold(folded, length, &mut |part| {
        out.extend_from_slice(part);
        true
    })
}

/// Runs of base64 lines as bytes. None: there are none. The result is shorter: a run saves more than its section costs.
fn fold(plain: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut literal, mut at) = (0, 0);
    while at < plain.len() {
        let before = u16::try_from(at - literal).ok()?;
        let Some(groups) = run(&plain[at..]) else {
            at += plain[at..].iter().position(|byte| *byte == b'\n').map_or(plain.len() - at, |end| end + 1);
            continue;
        };
        if out.is_empty() {
            out.reserve_exact(plain.len());
        }
        let section = out.len();
        out.extend_from_slice(&[0; SECTION_BYTES]);
        out.extend_from_slice(&plain[literal..at]);
        let lines = decode_lines(&plain[at..], groups, &mut out);
        out[section..section + 2].copy_from_slice(&before.to_le_bytes());
        out[section + 2..section + 4].copy_from_slice(&(lines as u16).to_le_bytes());
        out[section + 4] = groups as u8;
        at += lines * line_bytes(groups);
        literal = at;
    }
    let rest = u16::try_from(at - literal).ok().filter(|_| !out.is_empty())?;
    if rest > 0 {
        out.extend_from_slice(&rest.to_le_bytes());
        out.extend_from_slice(&[0; SECTION_BYTES - 2]);
        out.extend_from_slice(&plain[literal..]);
    }
    Some(out)
}

/// How many groups the lines have of the run that the text begins with, if it does.
fn run(text: &[u8]) -> Option<usize> {
    let groups = line_groups(text)?;
    let mut lines = Vec::new();
    let first = text.get(..RUN_LINES_MIN * line_bytes(groups))?;
    (decode_lines(first, groups, &mut lines) == RUN_LINES_MIN).then_some(groups)
}

/// How many groups of four letters the first line has, if its length is one that a base64 line can have.
fn line_groups(text: &[u8]) -> Option<usize> {
    let text = &text[..text.len().min(line_bytes(*LINE_GROUPS.end()))];
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let letters = text[..end].strip_suffix(b"\r")?.len();
    Some(letters / 4).filter(|groups| letters.is_multiple_of(4) && LINE_GROUPS.contains(groups))
}

/// Bytes of a line with so many groups, with CRLF.
fn line_bytes(groups: usize) -> usize {
    4 * groups + 2
}

/// Appends the bytes of the base64 lines of this length that `text` begins with; says how many.
fn decode_lines(text: &[u8], groups: usize, out: &mut Vec<u8>) -> usize {
    let mut lines = 0;
    // Lines of a whole number of groups and without padding: each stands for its bytes, and they for it, in one way only.
    for line in text.chunks_exact(line_bytes(groups)).take(usize::from(u16::MAX)) {
        let Some(letters) = line.strip_suffix(b"\r\n") else { break };
        let end = out.len();
        out.resize(end + 3 * groups, 0);
        if STANDARD_NO_PAD.decode_slice(letters, &mut out[end..]) != Ok(3 * groups) {
            out.truncate(end);
            break;
        }
        lines += 1;
    }
    lines
}

/// Gives the text again, which has at most `length` bytes, part by part, until one is not taken.
fn unfold(mut folded: &[u8], length: usize, take: &mut impl FnMut(&[u8]) -> bool) -> Option<()> {
    let mut left = length;
    let mut line = [0; 4 * *LINE_GROUPS.end() + 2];
    while !folded.is_empty() {
        let (section, rest) = folded.split_at_checked(SECTION_BYTES)?;
        let (literal, rest) = rest.split_at_checked(usize::from(word::u16(section, 0)))?;
        let (lines, groups) = (usize::from(word::u16(section, 2)), usize::from(section[4]));
        let (run, rest) = rest.split_at_checked(lines * groups * 3)?;
        left = left.checked_sub(literal.len() + lines * line_bytes(groups))?;
        take(literal).then_some(())?;
        for bytes in run.chunks_exact(3 * groups.max(1)) {
            let line = line.get_mut(..line_bytes(groups))?;
            let letters = STANDARD_NO_PAD.encode_slice(bytes, line).ok()?;
            line.get_mut(letters..)?.copy_from_slice(b"\r\n");
            take(line).then_some(())?;
        }
        folded = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Random;

    /// Stored, and the same again.
    fn packed(plain: &[u8]) -> Payload {
        let payload = Payload::pack(plain.to_vec());
        let mut bytes = payload.to_vec();
        assert!(open(payload.flags(), &mut bytes) && bytes == plain, "{} bytes", plain.len());
        assert!(payload.len() <= plain.len() && payload.bytes.capacity() <= plain.len() + 16);
        payload
    }

    fn noise(length: usize, random: &mut Random) -> Vec<u8> {
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        bytes
    }

    fn opened(flags: u16, stored: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = stored.to_vec();
        open(flags, &mut bytes).then_some(bytes)
    }

    /// Lines of so many letters, as mail programs attach it.
    fn attachment(bytes: &[u8], letters: usize) -> Vec<u8> {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        text.as_bytes().chunks(letters).flat_map(|line| [line, b"\r\n"].concat()).collect()
    }

    #[test]
    fn every_sample_message_comes_back_as_it_was_wherever_it_is_cut() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut seen = 0;
        for message in files.map(|file| std::fs::read(file).unwrap()) {
            for length in [PIECE_BYTES, 5000, 1001, 512] {
                message.chunks(length).for_each(|piece| seen += usize::from(packed(piece).flags() != 0));
            }
        }
        assert!(seen > 50, "only {seen} were packed");
    }

    #[test]
    fn what_is_half_text_half_attachment_comes_back_as_it_was() {
        let mut random = Random(5);
        for round in 0..400 {
            let mut plain = Vec::new();
            while plain.len() < 200 + round * 60 {
                let letters = [4, 16, 60, 64, 72, 75, 76, 76, 76, 996, 1000][random.below(11) as usize];
                let bytes = noise(random.below(1200) as usize, &mut random);
                match random.below(6) {
                    0 => plain.extend_from_slice(&bytes[..bytes.len() / 2]),
                    1 => plain.extend_from_slice(b"Some words, some words; and some words.\r\n"),
                    2 => plain.extend_from_slice(b"\r\n\r\nabcd\nefgh\r\n====\r\n"),
                    3 => plain.extend(vec![b'A'; bytes.len()]),
                    _ => plain.extend(attachment(&bytes, letters)),
                }
            }
            let from = random.below(plain.len() as u64 / 2) as usize;
            plain.drain(..from);
            plain.truncate(PIECE_BYTES);
            packed(&plain);
        }
    }

    #[test]
    fn attachments_take_the_room_of_what_is_attached() {
        let mut random = Random(6);
        for (letters, flags) in [(76, LINES), (64, LINES), (60, LINES), (72, LINES)] {
            let mut piece = attachment(&noise(60_000, &mut random), letters);
            piece.drain(..31);
            piece.truncate(PIECE_BYTES);
            let payload = packed(&piece);
            assert!(payload.flags() & LINES == flags && payload.len() * 100 < piece.len() * 74, "{letters}");
        }
        let table: Vec<u8> =
            (0..2000).flat_map(|row| format!("2026;R-{row};{};net\n", row * 7).into_bytes()).collect();
        let (direct, attached) = (packed(&table), packed(&attachment(&table, 76)));
        assert_eq!((direct.flags(), attached.flags()), (LZ4, LZ4 | LINES));
        assert!(attached.len() < direct.len() + direct.len() / 8, "{} {}", attached.len(), direct.len());
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let mut random = Random(7);
        for length in [0, 1, PACK_BYTES_MIN, 4096, PIECE_BYTES - 1, PIECE_BYTES] {
            let plain = noise(length, &mut random);
            let payload = packed(&plain);
            assert!(payload.flags() == 0 && *payload == plain[..], "{length}");
        }
        assert_eq!(packed(&[b'x'; PACK_BYTES_MIN - 1]).flags(), 0);
        assert_eq!(packed(&[b'x'; PACK_BYTES_MIN]).flags(), LZ4);
        assert_eq!(packed(&vec![b'x'; PIECE_BYTES + 1]).flags(), 0);
        // All lines look like base64, and there is never a run of them.
        let lines = b"abcdefghijklmnop\r\n".repeat(RUN_LINES_MIN - 1);
        let torn: Vec<u8> =
            (0..900).flat_map(|row| [&lines[..], format!("{row}!\r\n").as_bytes()].concat()).collect();
        assert_eq!(packed(&torn).flags(), LZ4);
    }

    #[test]
    fn a_hostile_payload_is_refused_and_never_grows_beyond_its_claim() {
        let claim = |length: usize, rest: &[u8]| [&(length as u32).to_le_bytes()[..], rest].concat();
        // One letter, then itself 250,000,000 times.
        let bomb = [&[0x1F, b'x', 1, 0][..], &[0xFF; 1_000_000], &[0, 0x50][..], b"xxxxx"].concat();
        // A run of 65,535 lines of 249 groups, of which nothing is there; and one of lines without letters.
        let run = [0, 0, 0xFF, 0xFF, 249];
        let empty = [0, 0, 0xFF, 0xFF, 0];
        let mut out = vec![claim(PIECE_BYTES, &bomb), claim(PIECE_BYTES, &run), claim(2 * 0xFFFF, &empty)];
        out.extend([claim(0xFFFF, &empty), claim(2 * 0x7FFF, &[0, 0, 0xFF, 0x7F, 0]), claim(0, &[])]);
        out.extend([
            claim(usize::MAX, b"x"),
            claim(PIECE_BYTES + 1, &[0; PIECE_BYTES + 1]),
            Vec::new(),
            vec![1, 0, 0],
        ]);
        for stored in &out {
            for flags in [LZ4, LINES, LZ4 | LINES, 4, 0x8001, 0xFFFF] {
                let plain = opened(flags, stored);
                assert!(
                    plain.is_none_or(|plain| plain.is_empty()),
                    "{flags} {:?}",
                    &stored[..stored.len().min(9)]
                );
            }
        }
        assert_eq!(
            opened(LINES, &claim(3, &[3, 0, 0, 0, 0, b'a', b'b', b'c'])).as_deref(),
            Some(&b"abc"[..])
        );
    }

    #[test]
    fn a_changed_payload_never_gives_more_than_it_claims() {
        let mut random = Random(8);
        let words = b"From: anna\r\nTo: ben\r\nSubject: invoices of the month of May\r\n\r\n".repeat(8);
        let plain = [words, attachment(&noise(3000, &mut random), 76)].concat();
        let good = packed(&plain);
        assert_eq!(good.flags(), LZ4 | LINES);
        for _ in 0..50_000 {
            let mut stored = good.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(stored.len().min(300) as u64) as usize;
                stored[at] = random.number() as u8;
            }
            stored.truncate(good.len() - random.below(2) as usize * random.below(good.len() as u64) as usize);
            for flags in [LZ4, LINES, LZ4 | LINES] {
                if let Some(out) = opened(flags, &stored) {
                    assert_eq!(out.len(), word::u32(&stored, 0) as usize);
                    assert!(out.len() <= PIECE_BYTES && out.capacity() <= 2 * PIECE_BYTES);
                }
            }
        }
    }
}
