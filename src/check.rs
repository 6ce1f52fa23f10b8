//! `postfach check`: every frame is read and verified, and what is wrong is told in the owner's words: which message of whom, and what to do.
//!
//! Three kinds of findings. *Harmless*: normal after a power cut (a torn tail, abandoned segments). *Warning*: nothing is missing, but the
//! medium has lost something. *Serious*: something acknowledged is damaged or missing: a message, when a piece of it or its structure
//! does not read as it was written, or is not there. It changes not a single byte, unless asked to repair; then only [`journal::repair`] does,
//! which loses nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::device::Device;
use crate::journal::{self, Kind, Lost, LostFrame, OpenError, Repaired};
use crate::limits::{LOSSES_REPORTED_MAX, PIECE_BYTES};
use crate::store::{Examined, State, examine};
use crate::types::{AccountId, BodyId, Uid};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Mailboxes of the store.
    pub mailboxes: usize,
    /// Messages in them.
    pub messages: u64,
    /// Frames read.
    pub frames: u64,
    /// Something acknowledged is damaged or missing: a sentence each.
    pub damage: Vec<String>,
    /// Nothing is missing, but the medium has lost something.
    pub warnings: Vec<String>,
    /// What is normal after a power cut.
    pub normal: Vec<String>,
    /// What has been repaired before.
    pub repaired: Vec<String>,
}

/// What to do about findings of several kinds.
const REPAIR: &str = "run `postfach check --repair` to write it back";
const RESTORE: &str = "bring it back from a backup with `postfach restore --mailbox`";
const BACKUP: &str = "compare with a backup";
const NOTHING: &str = "nothing to do";

/// Reads everything.
///
/// # Errors
/// No store there, a store of a later format, or the medium cannot be read.
pub fn check(device: &dyn Device) -> Result<Findings, OpenError> {
    let examined = examine(device)?;
    let mut findings = Findings {
        mailboxes: examined.state.accounts.len(),
        messages: messages(&examined.state).count() as u64,
        frames: examined.report.frames,
        ..Findings::default()
    };
    findings.losses(&examined);
    findings.missing(&examined);
    findings.rest(&examined);
    Ok(findings)
}

/// Writes back what the medium has lost and what is still known for certain; then reads everything.
///
/// # Errors
/// As [`check`]; the medium cannot be written.
pub fn repair(device: &dyn Device) -> Result<Findings, OpenError> {
    let Repaired { superblocks, marks, headers, blocks, parities } = journal::repair(device)?;
    let done = [
        (superblocks + marks + headers, "bad copies of headers were written again from the good ones"),
        (blocks, "bad blocks were written again as parity knows them"),
        (parities, "segments have got parity, or good parity again"),
    ];
    let done = done.into_iter().filter(|(count, _)| *count > 0);
    let repaired = done.map(|(count, what)| format!("{count} {what}")).collect();
    Ok(Findings { repaired, ..check(device)? })
}

/// A message, as its owner finds it.
struct Place<'a> {
    uid: Uid,
    folder: &'a str,
    address: &'a str,
    body: BodyId,
    size: u32,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message UID {} in {} of {}", self.uid, self.folder, self.address)
    }
}

fn messages(state: &State) -> impl Iterator<Item = Place<'_>> {
    state.accounts.values().flat_map(|account| {
        account.folders.values().flat_map(|folder| {
            folder.live().map(|message| Place {
                uid: message.uid,
                folder: &folder.name,
                address: &account.address,
                body: message.body,
                size: message.size,
            })
        })
    })
}

impl Findings {
    /// Frames that the journal has lost, by what they were.
    fn losses(&mut self, examined: &Examined) {
        let report = &examined.report;
        let body = |lost: &Lost| lost.frame.and_then(|frame| frame.body);
        let mut places: BTreeMap<BodyId, Vec<String>> =
            report.lost.iter().filter_map(body).map(|body| (body, Vec::new())).collect();
        for place in messages(&examined.state) {
            if let Some(places) = places.get_mut(&place.body) {
                places.push(place.to_string());
            }
        }
        // Where records are lost too, a body that nobody has may be a message whose record is gone.
        let records_whole =
            report.losses == report.lost.len() as u64 && report.lost.iter().all(|lost| body(lost).is_some());
        for lost in &report.lost {
            let at = lost.offset;
            match lost.frame {
                Some(LostFrame { kind, body: Some(body), piece, .. }) => {
                    let what = match kind {
                        Kind::Structure => String::from("its structure"),
                        _ => format!("its body, from byte {}", usize::from(piece) * PIECE_BYTES),
                    };
                    let owners = places.get(&body).map(Vec::as_slice).unwrap_or_default();
                    for owner in owners {
                        self.damage.push(format!(
                            "{owner} is damaged: {what}, does not read as it was written (byte {at} of the store); {RESTORE}"
                        ));
                    }
                    if owners.is_empty() {
                        let text = format!("a deleted message's bytes do not read as they were written (byte {at} of the store)");
                        if records_whole {
                            self.warnings.push(format!("{text}; {NOTHING}"));
                        } else {
                            self.damage.push(format!("{text}; {BACKUP}"));
                        }
                    }
                }
                Some(LostFrame { account, .. }) => self.damage.push(format!(
                    "a change of {} is lost: its record does not read as it was written (byte {at} of the store); {BACKUP}",
                    owner(&examined.state, account)
                )),
                None => self.damage.push(format!("{lost} of the store; {BACKUP}")),
            }
        }
        if report.losses > report.lost.len() as u64 {
            self.damage.push(format!("and {} further losses", report.losses - report.lost.len() as u64));
        }
    }

    /// Messages of which frames are not there at all.
    fn missing(&mut self, examined: &Examined) {
        let mut more = 0u64;
        for place in messages(&examined.state) {
            let pieces = (place.size as usize).div_ceil(PIECE_BYTES);
            let whole = (0..pieces).all(|piece| examined.bodies.has_piece(place.body, piece as u16));
            let what = match (whole, examined.bodies.has_structure(place.body)) {
                (true, true) => continue,
                (false, _) => "is damaged: part of its body is not there",
                (true, false) => "is damaged: its structure is not there",
            };
            if self.damage.len() < 2 * LOSSES_REPORTED_MAX {
                self.damage.push(format!("{place} {what}; {RESTORE}"));
            } else {
                more += 1;
            }
        }
        if more > 0 {
            self.damage.push(format!("and {more} further messages of which something is not there"));
        }
    }

    fn rest(&mut self, examined: &Examined) {
        let report = &examined.report;
        for offset in &report.unreadable {
            self.damage.push(format!(
                "the medium cannot read the block at byte {offset} of the store; make a backup, and replace the medium"
            ));
        }
        let mut damage = |count: u64, text: &str| {
            if count > 0 {
                self.damage.push(format!("{count} {text}"));
            }
        };
        damage(
            examined.state.unread_records,
            "records are not understood by this version of Postfach; use the one that has written them",
        );
        let mut warning = |count: u64, what: &str, todo: &str| {
            if count > 0 {
                self.warnings.push(format!("{count} {what}; {todo}"));
            }
        };
        let later = "frames are of a kind that a later version of Postfach has written";
        warning(report.unknown_frames, later, "use that one to see them");
        let rescued = "segments had lost their header and were found by the next one's";
        warning(u64::from(report.rescued_segments), rescued, REPAIR);
        warning(u64::from(report.bad_copies), "headers are bad in one of their two copies", REPAIR);
        warning(
            report.rebuilt_blocks,
            "blocks do not read as they were written, and parity has them",
            REPAIR,
        );
        warning(u64::from(report.bad_parities), "segments have bad parity, of blocks that are good", REPAIR);
        let spoilt =
            "further blocks do not read as they were written; what is lost by them is told as serious";
        warning(report.spoilt_blocks, spoilt, NOTHING);
        warning(u64::from(report.bad_summaries), "summaries are bad, and what they tell of is good", NOTHING);
        warning(report.mended_frames, "frames are damaged, and what they say is known", NOTHING);
        self.normal(examined);
    }

    fn normal(&mut self, examined: &Examined) {
        let report = &examined.report;
        // Where records are lost, the rest of the change may be one that had been acknowledged.
        let losses = report.losses > 0;
        for serial in examined.state.unfinished() {
            if losses {
                let text =
                    format!("change number {serial} is not in force: a part of it is not there; {BACKUP}");
                self.damage.push(text);
            } else {
                self.normal.push(format!(
                    "change number {serial} was cut off by a power failure before it was acknowledged, and is not in force; {NOTHING}"
                ));
            }
        }
        if let Some(cut) = report.cut {
            self.normal.push(format!(
                "the end was cut off by a power failure before it was acknowledged (byte {} of the store); {NOTHING}",
                cut.offset
            ));
        }
        if report.abandoned_segments > 0 {
            self.normal.push(format!(
                "{} segments hold nothing any more and will be used again; {NOTHING}",
                report.abandoned_segments
            ));
        }
        if report.bare_segments > 0 {
            self.normal.push(format!(
                "{} segments have no parity yet; they get it when the server has nothing else to do, or by --repair",
                report.bare_segments
            ));
        }
    }

    /// For programs: one object.
    pub fn json(&self) -> String {
        let list = |texts: &[String]| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(",");
        format!(
            "{{\"damaged\":{},\"mailboxes\":{},\"messages\":{},\"frames\":{},\"damage\":[{}],\"warnings\":[{}],\"normal\":[{}],\"repaired\":[{}]}}\n",
            !self.damage.is_empty(),
            self.mailboxes,
            self.messages,
            self.frames,
            list(&self.damage),
            list(&self.warnings),
            list(&self.normal),
            list(&self.repaired),
        )
    }
}

/// Whose an account is.
fn owner(state: &State, account: AccountId) -> String {
    match state.accounts.get(&account) {
        Some(account) => account.address.clone(),
        None if account == AccountId::SETTINGS => String::from("the settings"),
        None => format!("mailbox number {account}, which is not there"),
    }
}

/// For people; every line ends. Folder names are strangers' text: control characters are shown as escapes.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("repaired", &self.repaired),
            ("SERIOUS", &self.damage),
            ("warning", &self.warnings),
            ("harmless", &self.normal),
        ];
        for (kind, texts) in kinds {
            for text in texts {
                writeln!(f, "{kind}: {}", escaped(text))?;
            }
        }
        let verdict = if self.damage.is_empty() {
            "everything that was acknowledged is there"
        } else {
            "the store is damaged"
        };
        let (mailboxes, messages, frames) = (self.mailboxes, self.messages, self.frames);
        writeln!(f, "{mailboxes} mailboxes, {messages} messages, {frames} frames: {verdict}")
    }
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, letter| {
        if letter.is_control() {
            out.extend(letter.escape_default())
        } else {
            out.push(letter)
        }
        out
    })
}

/// A JSON string (RFC 8259 §7).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..='\x1f' => out += &format!("\\u{:04x}", u32::from(letter)),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::Memory;
    use crate::journal::{Format, format};
    use crate::store::{NewMessage, Shared, Store, record};
    use crate::types::{Class, Flags, FolderId, Position, Serial, Time};

    const MARKER: &[u8] = b"here is the body of number ";

    /// A store with three messages in anna's INBOX, the last one with two pieces.
    fn store() -> Arc<Memory> {
        let device = Arc::new(Memory::new(128 << 20));
        format(&*device, &Format { segment_bytes: None, force: false }, &mut |bytes| bytes.fill(3)).unwrap();
        let (store, _) =
            Store::open(Arc::clone(&device) as Arc<dyn Device>, &mut |bytes| bytes.fill(4)).unwrap();
        let shared = Shared::new(store);
        let mut needs = Position::default();
        shared.access(&mut needs).domain_add("example.test").unwrap();
        let anna =
            shared.access(&mut needs).mailbox_add("anna@example.test", Class::S, String::from("x")).unwrap();
        for number in b"123" {
            let body = shared.access(&mut needs).new_body();
            let text = [MARKER, &[*number]].concat();
            let pieces = if *number == b'3' { vec![vec![b'x'; PIECE_BYTES], text] } else { vec![text] };
            let size = pieces.iter().map(|piece| piece.len() as u64).sum();
            for (index, piece) in pieces.into_iter().enumerate() {
                shared.lock().append_piece(body, index as u16, piece).unwrap();
            }
            let message = NewMessage { body, size, structure: vec![1, 2, 3], date: Time(0) };
            let reserved = shared.access(&mut needs).reserve(anna, size).unwrap();
            shared.access(&mut needs).append(message, Flags::NONE, anna, FolderId::INBOX, reserved).unwrap();
            shared.lock().commit().unwrap();
        }
        // What nothing later says was durable may be a torn tail.
        shared.access(&mut needs).domain_add("later.test").unwrap();
        shared.lock().commit().unwrap();
        device
    }

    /// Changes one byte of the marker of this number.
    fn rot(device: &Memory, number: u8) {
        let wanted = [MARKER, &[number]].concat();
        let mut all = vec![0; 8 << 20];
        device.read_at(0, &mut all).unwrap();
        let at = all.windows(wanted.len()).position(|part| part == wanted).unwrap();
        let block = at / 4096 * 4096;
        let mut bytes = all[block..block + 4096].to_vec();
        bytes[at - block] ^= 1;
        device.write_at(block as u64, &bytes).unwrap();
        device.flush().unwrap();
    }

    #[test]
    fn a_whole_store_has_no_damage() {
        let findings = check(&*store()).unwrap();
        assert_eq!((findings.damage.len(), findings.messages, findings.mailboxes), (0, 3, 1), "{findings}");
        assert!(findings.json().starts_with("{\"damaged\":false,"));
        assert!(findings.json().ends_with("\"repaired\":[]}\n"));
    }

    #[test]
    fn every_line_says_how_bad_it_is_and_what_to_do() {
        let device = store();
        rot(&device, b'2');
        // A bad copy of the superblock, and of the mark: both have a good one.
        [0, 3].iter().for_each(|block| device.write_at(block * 4096 + 9, &[1]).unwrap());
        device.flush().unwrap();
        let text = check(&*device).unwrap().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].starts_with("SERIOUS: message UID 2 ") && lines[0].contains("; bring it back"),
            "{text}"
        );
        assert!(lines[1].starts_with("warning: 2 headers ") && lines[1].contains("--repair"), "{text}");
        // What can be repaired is; what cannot stays, and stays told.
        let text = repair(&*device).unwrap().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("repaired: 2 bad copies of headers "), "{text}");
        assert!(lines[1].starts_with("SERIOUS: message UID 2 "), "{text}");
        assert_eq!(repair(&*device).unwrap().repaired.len(), 0);
    }

    #[test]
    fn a_damaged_message_is_named() {
        for (number, uid, from) in [(b'2', 2, "from byte 0"), (b'3', 3, "from byte 65536")] {
            let device = store();
            rot(&device, number);
            let findings = check(&*device).unwrap();
            assert_eq!(findings.damage.len(), 1, "{findings}");
            let text = &findings.damage[0];
            let named = format!("message UID {uid} in INBOX of anna@example.test is damaged: ");
            assert!(text.starts_with(&named) && text.contains(from), "{text}");
        }
    }

    #[test]
    fn a_change_that_was_cut_off_is_told() {
        let device = store();
        let mut random = |bytes: &mut [u8]| bytes.fill(5);
        let (mut journal, _) = journal::Journal::open(device.clone(), &mut random, &mut |_| {}).unwrap();
        // The first of two parts; the other one was behind the cut.
        let part = record::encode(&[record::Record::Part { number: 0, of: 2 }]);
        journal.append_record(AccountId(1), Serial(77), part).unwrap();
        let mut batch = journal.take().unwrap();
        let result = batch.write(&*device);
        journal.finish(batch, result);
        let findings = check(&*device).unwrap();
        let told = "change number 77 was cut off by a power failure before it was acknowledged";
        assert!(findings.normal.iter().any(|text| text.starts_with(told)), "{findings}");
        assert!(findings.damage.is_empty(), "{findings}");
    }

    #[test]
    fn json_is_quoted() {
        assert_eq!(quoted("a\"b\\c\n\u{1}ü"), "\"a\\\"b\\\\c\\u000a\\u0001ü\"");
    }
}
