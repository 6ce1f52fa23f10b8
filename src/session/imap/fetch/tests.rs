//! FETCH driven by hand: a store in memory, one job, and what `serve` would do for it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::super::job::{Job, Progress, Reply, Selected};
use super::Fetch;
use crate::device::{Device, Memory};
use crate::journal::{self, Format};
use crate::limits::PIECE_BYTES;
use crate::session::receive::Receiver;
use crate::session::{Context, Input, Io, Load, Next, Peer};
use crate::store::{LoadError, Shared, Store};
use crate::types::{AccountId, BodyId, Class, Flags, FolderId, Position, Time};
use crate::wire::imap::{By, Cursor, Fetch as Command, reply};

/// A store with one mailbox, whose INBOX is open.
pub(in super::super) struct Desk {
    shared: Arc<Shared>,
    needs: Position,
    pub(in super::super) account: AccountId,
    pub(in super::super) selected: Option<Selected>,
    /// Which loads fail.
    pub(in super::super) damage: Box<dyn Fn(Load) -> Option<LoadError>>,
    /// What has been loaded.
    pub(in super::super) loads: Vec<Load>,
    /// The most that lay in `out`.
    pub(in super::super) out_bytes_max: usize,
    /// How often `out` was sent.
    pub(in super::super) sends: usize,
}

fn random() -> impl FnMut(&mut [u8]) {
    let mut state = 7_u8;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(29).wrapping_add(11);
            *byte = state;
        }
    }
}

impl Desk {
    pub(in super::super) fn new() -> Desk {
        Desk::sized(256 << 20, Class::Xl)
    }

    fn sized(bytes: u64, class: Class) -> Desk {
        let device = Arc::new(Memory::new(bytes));
        let options = Format { segment_bytes: Some(256 * 1024), force: false };
        journal::format(&*device, &options, &mut random()).unwrap();
        let (store, _) = Store::open(Arc::clone(&device) as Arc<dyn Device>, &mut random()).unwrap();
        let shared = Arc::new(Shared::new(store));
        let mut needs = Position(0);
        let account = {
            let mut store = shared.access(&mut needs);
            store.domain_add("example.test").unwrap();
            store.mailbox_add("anna@example.test", class, String::from("x")).unwrap()
        };
        Desk {
            shared,
            needs,
            account,
            selected: None,
            damage: Box::new(|_| None),
            loads: Vec::new(),
            out_bytes_max: 0,
            sends: 0,
        }
    }

    pub(in super::super) fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Context<'_>, &mut Option<Selected>) -> T,
    ) -> T {
        let peer = Peer { address: None, tls: true };
        let mut cx = Context {
            shared: &self.shared,
            needs: &mut self.needs,
            now: Time(0),
            peer,
            host: "mail.example.test",
            port_base: 0,
        };
        act(&mut cx, &mut self.selected)
    }

    pub(in super::super) fn add(&mut self, message: &[u8], flags: Flags) -> BodyId {
        self.add_beside(message, flags, |_| {})
    }

    /// Adds a message; between its end and its record the others do something.
    fn add_beside(&mut self, message: &[u8], flags: Flags, others: impl FnOnce(&mut Context<'_>)) -> BodyId {
        let account = self.account;
        let incoming = self.with(|cx, _| cx.store().incoming());
        let body = incoming.id();
        let mut receiver = Receiver::new(incoming);
        let mut rest = message;
        while !rest.is_empty() || receiver.full() {
            rest = &rest[receiver.push(rest)..];
            if (receiver.full() || rest.is_empty())
                && let Some(Next::Store { body, piece, bytes }) = receiver.store()
            {
                self.shared.lock().append_piece(body, piece, bytes).unwrap();
            }
        }
        let (message, _kept) = receiver.finish(Time(1_000_000_000));
        self.with(|cx, _| {
            others(cx);
            let mut store = cx.store();
            let reservation = store.reserve(account, message.size).unwrap();
            store.append(message, flags, account, FolderId::INBOX, reservation).unwrap();
        });
        body
    }

    pub(in super::super) fn open(&mut self, read_only: bool) {
        let account = self.account;
        self.with(|cx, selected| {
            let view = cx.store().open(account, FolderId::INBOX, read_only).unwrap();
            *selected = Some(Selected { view, condstore: false, uid_validity: 1, keywords_told: 0 });
        });
    }

    fn load(&mut self, wanted: Load) -> Result<Vec<u8>, LoadError> {
        self.loads.push(wanted);
        if let Some(error) = (self.damage)(wanted) {
            return Err(error);
        }
        let mut store = self.shared.lock();
        store.commit().unwrap();
        let journal = store.journal();
        let (extent, skip) = match wanted {
            Load::Body { body, offset } => (
                journal.find(body, (offset / PIECE_BYTES as u64) as u16),
                (offset % PIECE_BYTES as u64) as usize,
            ),
            Load::Structure { body } => (journal.find_structure(body), 0),
        };
        let mut bytes = Vec::new();
        extent.ok_or(LoadError::Missing)?.read(&**journal.device(), &mut bytes).unwrap();
        if skip < bytes.len() { Ok(bytes.split_off(skip)) } else { Err(LoadError::Missing) }
    }

    /// Runs a job to its end: everything said, and the reply; no reply when it has closed the connection.
    pub(in super::super) fn run(&mut self, job: &mut dyn Job) -> (Vec<u8>, Option<Reply>) {
        let (mut said, mut io) = (Vec::new(), Io::default());
        let mut loaded: Option<Result<Vec<u8>, LoadError>> = None;
        let mut input = Input::Start;
        loop {
            let progress = self.with(|cx, selected| job.step(input, &mut io, cx, selected.as_mut().unwrap()));
            self.out_bytes_max = self.out_bytes_max.max(io.out.len());
            input = match progress {
                Progress::Next(Next::Load(wanted)) => {
                    loaded = Some(self.load(wanted));
                    Input::Loaded(loaded.as_ref().unwrap().as_deref().map_err(|error| *error))
                }
                Progress::Next(Next::Send) => {
                    self.sends += 1;
                    said.append(&mut io.out);
                    Input::Sent
                }
                Progress::Next(Next::Close) => {
                    said.append(&mut io.out);
                    return (said, None);
                }
                Progress::Next(other) => panic!("{other:?}"),
                Progress::Done(reply) | Progress::Last(reply) => {
                    said.append(&mut io.out);
                    drop(loaded);
                    return (said, Some(reply));
                }
            };
        }
    }

    fn fetch_bytes(&mut self, by: By, command: &str) -> (Vec<u8>, String) {
        let command = Command::parse(&mut Cursor::new(command.as_bytes()), by).unwrap();
        let mut job = self.with(|cx, selected| {
            let selected = selected.as_mut().unwrap();
            let set = {
                let mut store = cx.store();
                let folder = store.folder(selected.view.account, selected.view.folder).unwrap();
                selected.resolve(folder, &command.set, by).unwrap()
            };
            Fetch::new(command, set, cx, selected)
        });
        let (said, answer) = self.run(&mut *job);
        let mut line = Vec::new();
        if let Some(answer) = answer {
            reply::tagged(&mut line, "a", answer.condition, answer.code.code(), answer.text);
        }
        (said, String::from_utf8(line).unwrap())
    }

    fn fetch(&mut self, command: &str) -> String {
        let (mut said, line) = self.fetch_bytes(By::Sequence, command);
        said.extend_from_slice(line.as_bytes());
        String::from_utf8(said).unwrap()
    }
}

const MESSAGE: &[u8] = b"From: a@b\r\nSubject: x\r\n\r\nHello\r\n";
const OK: &str = "a OK FETCH completed\r\n";

fn desk(messages: &[&[u8]]) -> Desk {
    let mut desk = Desk::new();
    for message in messages {
        desk.add(message, Flags::NONE);
    }
    desk.open(false);
    desk
}

#[test]
fn the_state_needs_no_loads() {
    let mut desk = desk(&[MESSAGE; 3]);
    let said = desk.fetch(" 2:3 (UID FLAGS INTERNALDATE RFC822.SIZE)");
    let line = |n| {
        format!(
            "* {n} FETCH (UID {n} FLAGS (\\Recent) INTERNALDATE \" 9-Sep-2001 01:46:40 +0000\" RFC822.SIZE 32)\r\n"
        )
    };
    assert_eq!(said, format!("{}{}{OK}", line(2), line(3)));
    assert!(desk.loads.is_empty());
}

#[test]
fn whole_messages_take_one_load_each_and_gather() {
    let text = [&b"Subject: x\r\n\r\n"[..], &b"0123456789abcdef".repeat(256)].concat();
    let mut desk = desk(&vec![&text[..]; 100]);
    let (said, line) = desk.fetch_bytes(By::Uid, " 1:* (BODY.PEEK[])");
    assert_eq!(line, OK);
    assert_eq!(desk.loads.len(), 100);
    assert!(desk.sends <= 13, "{}", desk.sends);
    let head = format!("* 7 FETCH (UID 7 BODY[] {{{}}}\r\n", text.len());
    let want = [head.as_bytes(), &text, b")\r\n"].concat();
    assert!(said.windows(want.len()).any(|window| window == want));
}

#[test]
fn large_messages_stream_in_flat_memory() {
    let text = [&b"Subject: x\r\n\r\n"[..], &b"0123456789abcde\n".repeat(40_000)].concat();
    let mut desk = desk(&[&text]);
    let (said, line) = desk.fetch_bytes(By::Sequence, " 1 (RFC822 BODY.PEEK[TEXT]<70000.100000> UID)");
    assert_eq!(line, OK);
    assert!(desk.out_bytes_max < 2 * PIECE_BYTES + 1000, "{}", desk.out_bytes_max);
    let head = format!("* 1 FETCH (UID 1 FLAGS (\\Recent \\Seen) RFC822 {{{}}}\r\n", text.len());
    let part = &text[14 + 70_000..14 + 170_000];
    let want = [head.as_bytes(), &text, b" BODY[TEXT]<70000> {100000}\r\n", part, b")\r\n"].concat();
    assert!(said == want, "{}", String::from_utf8_lossy(&said[..200]));
}

#[test]
fn seen_is_set_once_and_told_where_it_changes() {
    let mut desk = desk(&[MESSAGE; 3]);
    desk.selected.as_mut().unwrap().condstore = true;
    let said = desk.fetch(" 2 BODY[TEXT]");
    assert!(said.starts_with("* 2 FETCH (FLAGS (\\Recent \\Seen) MODSEQ ("), "{said}");
    assert!(said.ends_with(&format!(") BODY[TEXT] {{7}}\r\nHello\r\n)\r\n{OK}")), "{said}");
    assert_eq!(desk.fetch(" 2 RFC822.TEXT"), format!("* 2 FETCH (RFC822.TEXT {{7}}\r\nHello\r\n)\r\n{OK}"));
    assert_eq!(
        desk.fetch(" 1 RFC822.HEADER"),
        format!("* 1 FETCH (RFC822.HEADER {{25}}\r\nFrom: a@b\r\nSubject: x\r\n\r\n)\r\n{OK}")
    );
    desk.open(true);
    assert_eq!(desk.fetch(" 1 BODY[TEXT]"), format!("* 1 FETCH (BODY[TEXT] {{7}}\r\nHello\r\n)\r\n{OK}"));
}

#[test]
fn sections_partials_and_what_is_not_there() {
    let mut desk = desk(&[MESSAGE]);
    for (item, told) in [
        ("BODY.PEEK[1]", "BODY[1] {7}\r\nHello\r\n"),
        ("BODY.PEEK[2]", "BODY[2] NIL"),
        ("BODY.PEEK[1.HEADER]", "BODY[1.HEADER] NIL"),
        ("BODY.PEEK[1.MIME]", "BODY[1.MIME] {25}\r\nFrom: a@b\r\nSubject: x\r\n\r\n"),
        ("BODY.PEEK[]<0.5>", "BODY[]<0> {5}\r\nFrom:"),
        ("BODY.PEEK[]<30.9>", "BODY[]<30> {2}\r\n\r\n"),
        ("BODY.PEEK[]<32.9>", "BODY[]<32> \"\""),
        ("BODY.PEEK[TEXT]<5.1>", "BODY[TEXT]<5> {1}\r\n\r"),
        (
            "BODY.PEEK[HEADER.FIELDS (subject X)]",
            "BODY[HEADER.FIELDS (subject X)] {14}\r\nSubject: x\r\n\r\n",
        ),
        (
            "BODY.PEEK[HEADER.FIELDS.NOT (subject)]",
            "BODY[HEADER.FIELDS.NOT (subject)] {13}\r\nFrom: a@b\r\n\r\n",
        ),
        ("BODY.PEEK[HEADER.FIELDS (subject)]<9.2>", "BODY[HEADER.FIELDS (subject)]<9> {2}\r\nx\r"),
        ("BODY.PEEK[HEADER.FIELDS (subject)]<14.2>", "BODY[HEADER.FIELDS (subject)]<14> \"\""),
        ("BODY.PEEK[HEADER.FIELDS (none)]", "BODY[HEADER.FIELDS (none)] {2}\r\n\r\n"),
    ] {
        assert_eq!(desk.fetch(&format!(" 1 {item}")), format!("* 1 FETCH ({told})\r\n{OK}"), "{item}");
    }
}

#[test]
fn structures_are_told_without_the_body() {
    let mut desk = desk(&[MESSAGE]);
    let address = "((NIL NIL \"a\" \"b\"))";
    let envelope = format!("(NIL \"x\" {address} {address} {address} NIL NIL NIL NIL NIL)");
    let said = desk.fetch(" 1 (ENVELOPE BODY BODYSTRUCTURE)");
    assert!(said.starts_with(&format!("* 1 FETCH (ENVELOPE {envelope} BODY (\"text\" \"plain\" ")), "{said}");
    assert!(said.contains(" BODYSTRUCTURE (\"text\" \"plain\" "), "{said}");
    assert!(matches!(desk.loads[..], [Load::Structure { .. }]));
}

#[test]
fn a_header_larger_than_a_piece_is_read_twice() {
    let header: Vec<u8> =
        (0..4000).flat_map(|n| format!("X-{n}: {}\r\n", "y".repeat(40)).into_bytes()).collect();
    let text = [&header[..], b"Subject: x\r\n\r\nbody"].concat();
    let mut desk = desk(&[&text]);
    let (said, line) = desk.fetch_bytes(By::Sequence, " 1 BODY.PEEK[HEADER.FIELDS.NOT (Subject)]");
    assert_eq!(line, OK);
    let head = format!("* 1 FETCH (BODY[HEADER.FIELDS.NOT (Subject)] {{{}}}\r\n", header.len() + 2);
    assert!(said == [head.as_bytes(), &header, b"\r\n)\r\n"].concat());
    assert!(desk.out_bytes_max < 2 * PIECE_BYTES);
    assert_eq!(desk.loads.len(), 1 + 2 * text.len().div_ceil(PIECE_BYTES));
    assert_eq!(
        desk.fetch(" 1 BODY.PEEK[HEADER.FIELDS (Subject)]"),
        format!("* 1 FETCH (BODY[HEADER.FIELDS (Subject)] {{14}}\r\nSubject: x\r\n\r\n)\r\n{OK}")
    );
}

#[test]
fn a_damaged_message_is_left_out_and_named_by_number() {
    let mut desk = desk(&[MESSAGE]);
    let damaged = desk.add(MESSAGE, Flags::NONE);
    desk.add(MESSAGE, Flags::NONE);
    desk.open(false);
    desk.damage =
        Box::new(move |load| (load == Load::Body { body: damaged, offset: 0 }).then_some(LoadError::Damaged));
    let whole = |n| format!("* {n} FETCH (BODY[] {{32}}\r\n{}", String::from_utf8_lossy(MESSAGE));
    let no = "* NO Damaged messages, of which what cannot be read is left out: 1\r\n\
              a NO [CORRUPTION] Some of the messages are damaged\r\n";
    assert_eq!(desk.fetch(" 1:3 BODY.PEEK[]"), format!("{})\r\n{})\r\n{no}", whole(1), whole(3)));
    assert_eq!(desk.fetch(" 2 (UID BODY.PEEK[])"), format!("* 2 FETCH (UID 2)\r\n{no}"));
    desk.damage =
        Box::new(move |load| (load == Load::Structure { body: damaged }).then_some(LoadError::Damaged));
    assert_eq!(desk.fetch(" 2 (ENVELOPE BODY.PEEK[] BODY.PEEK[1])"), format!("{})\r\n{no}", whole(2)));
}

#[test]
fn damage_behind_the_announcement_closes() {
    let text = [&b"Subject: x\r\n\r\n"[..], &b"0123456789abcde\n".repeat(20_000)].concat();
    let mut desk = desk(&[]);
    let body = desk.add(&text, Flags::NONE);
    desk.open(false);
    desk.damage = Box::new(move |load| {
        (load == Load::Body { body, offset: PIECE_BYTES as u64 }).then_some(LoadError::Damaged)
    });
    let (said, line) = desk.fetch_bytes(By::Sequence, " 1 BODY.PEEK[]");
    assert_eq!(line, "");
    let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", text.len());
    assert!(said == [head.as_bytes(), &text[..PIECE_BYTES]].concat());
}

#[test]
fn changed_since_leaves_out_what_is_known() {
    let mut desk = desk(&[MESSAGE; 3]);
    let serial = desk.with(|cx, selected| {
        let view = &selected.as_ref().unwrap().view;
        let folder = cx.store().folder(view.account, view.folder).unwrap().serial;
        folder.0 - 1
    });
    let said = desk.fetch(&format!(" 1:3 FLAGS (CHANGEDSINCE {serial})"));
    assert_eq!(said, format!("* 3 FETCH (FLAGS (\\Recent) MODSEQ ({}))\r\n{OK}", serial + 1));
    let said = desk.fetch(&format!(" 1:3 BODY[TEXT] (CHANGEDSINCE {serial})"));
    assert!(said.starts_with("* 3 FETCH (MODSEQ ("), "{said}");
    assert!(desk.fetch(" 1 FLAGS").contains("FLAGS (\\Recent)"));
}

#[test]
fn a_message_expunged_elsewhere_is_still_told() {
    let mut desk = desk(&[MESSAGE; 2]);
    desk.with(|cx, selected| {
        let view = &selected.as_ref().unwrap().view;
        let one = crate::types::UidSet::from_ascending([crate::types::Uid(1)]);
        cx.store().expunge(view, crate::store::Which::These(&one)).unwrap();
    });
    let said = desk.fetch(" 1:2 (UID BODY.PEEK[TEXT])");
    let line = |n| format!("* {n} FETCH (UID {n} BODY[TEXT] {{7}}\r\nHello\r\n)\r\n");
    assert_eq!(said, format!("{}{}{OK}", line(1), line(2)));
    desk.damage = Box::new(|load| matches!(load, Load::Body { .. }).then_some(LoadError::Missing));
    assert_eq!(
        desk.fetch(" 1 (UID BODY.PEEK[])"),
        "* 1 FETCH (UID 1)\r\na NO [EXPUNGEISSUED] Some of the messages have been expunged\r\n"
    );
}

/// Others begin messages between a message's end and its record, and the store looks whose senders have gone.
#[test]
fn a_message_is_kept_until_it_is_somebodys() {
    let mut desk = Desk::new();
    desk.add_beside(b"Subject: kept\r\n\r\nbody\r\n", Flags::NONE, |cx| {
        (0..200).for_each(|_| drop(cx.store().incoming()));
    });
}

/// Others send until segments are so short that this body is let go of.
fn crowd_out(shared: &Shared, body: BodyId) {
    let mut noise = vec![0; PIECE_BYTES];
    crate::device::Random(1).fill(&mut noise);
    for _ in 0..10_000 {
        if shared.lock().journal().find(body, 0).is_none() {
            return;
        }
        let incoming = shared.access(&mut Position(0)).incoming();
        if !shared.lock().takes_piece(PIECE_BYTES) {
            shared.lock().commit().unwrap();
        }
        shared.lock().append_piece(incoming.id(), 0, noise.clone()).unwrap();
    }
    panic!("there is room for all of it");
}

/// An expunged message is being told when segments run short: its bytes make room, whoever has a view of them.
#[test]
fn an_expunged_message_that_makes_room_while_it_is_told_ends_the_connection() {
    let mut desk = Desk::sized(32 << 20, Class::S);
    let long = [MESSAGE, &b"0123456789abcde\n".repeat(3 * PIECE_BYTES / 16)].concat();
    let body = desk.add(&long, Flags::NONE);
    desk.add(MESSAGE, Flags::NONE);
    desk.open(false);
    desk.with(|cx, selected| {
        let view = &selected.as_ref().unwrap().view;
        let one = crate::types::UidSet::from_ascending([crate::types::Uid(1)]);
        cx.store().expunge(view, crate::store::Which::These(&one)).unwrap();
    });
    // When the second piece is wanted it is there no more.
    let shared = Arc::clone(&desk.shared);
    desk.damage = Box::new(move |load| {
        if matches!(load, Load::Body { offset, .. } if offset > 0) {
            crowd_out(&shared, body);
        }
        None
    });
    let (said, answer) = desk.fetch_bytes(By::Sequence, " 1:2 BODY.PEEK[]");
    let whole = [format!("* 1 FETCH (BODY[] {{{}}}\r\n", long.len()).as_bytes(), &long].concat();
    assert!(said.len() > PIECE_BYTES && said.len() < whole.len(), "{}", said.len());
    assert!(whole.starts_with(&said), "not a byte that is not the message's");
    assert_eq!(answer, "", "the connection is closed without a word");
    // Who comes to it from now on is told that it is gone, and of the others everything; later sessions go on, and so does receiving.
    let line =
        format!("FETCH (UID 2 BODY[] {{{}}}\r\n{})\r\n", MESSAGE.len(), str::from_utf8(MESSAGE).unwrap());
    assert_eq!(
        desk.fetch(" 1:2 (UID BODY.PEEK[])"),
        format!(
            "* 1 FETCH (UID 1)\r\n* 2 {line}a NO [EXPUNGEISSUED] Some of the messages have been expunged\r\n"
        )
    );
    desk.selected = None;
    desk.add(MESSAGE, Flags::NONE);
    desk.open(false);
    assert_eq!(desk.fetch(" 1 (UID BODY.PEEK[])"), format!("* 1 {line}{OK}"));
    assert_eq!(desk.fetch(" 2 UID"), format!("* 2 FETCH (UID 3)\r\n{OK}"));
}
