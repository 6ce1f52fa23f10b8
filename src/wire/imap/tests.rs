//! The laws of the whole grammar, on what clients really send: RFC 3501 §8's session, a hundred valid commands, and mutations of them.

use super::{Command, Gather, Gathered, Tagged};

/// The client's lines of the example of RFC 3501 §8.
const EXAMPLE: &[u8] =
    b"a001 login mrc secret\r\na002 select inbox\r\na003 fetch 12 full\r\na004 fetch 12 body[header]\r\n\
    a005 store 12 +flags \\deleted\r\na006 logout\r\n";

/// Valid commands, one of every form. `\n` stands for CRLF.
const VALID: &[&str] = &[
    "a CAPABILITY",
    "a NOOP",
    "a LOGOUT",
    "a STARTTLS",
    "a NAMESPACE",
    "a IDLE",
    "a CHECK",
    "a CLOSE",
    "a UNSELECT",
    "a EXPUNGE",
    "a UID EXPUNGE 3000:3002",
    "A.1 ID NIL",
    "a ID ()",
    "a ID (\"name\" \"sodr\" \"version\" \"19.34\" \"vendor\" NIL)",
    "a ID ({4}\nname {2+}\nab)",
    "a AUTHENTICATE PLAIN",
    "a AUTHENTICATE PLAIN AGEAYmNk",
    "a AUTHENTICATE EXTERNAL =",
    "a LOGIN SMITH SESAME",
    "a LOGIN {11}\nFRED FOOBAR {7}\nfat man",
    "a LOGIN \"a\\\"b\" \"\\\\\"",
    "a ENABLE CONDSTORE UTF8=ACCEPT",
    "a SELECT INBOX",
    "a SELECT INBOX (CONDSTORE)",
    "a EXAMINE blurdybloop",
    "a CREATE owatagusiam/blurdybloop",
    "a CREATE {5+}\nEntw1",
    "a DELETE \"foo bar\"",
    "a RENAME blurdybloop sarasoon",
    "a RENAME {1}\nx {0}\n",
    "a SUBSCRIBE #news.comp.mail.mime",
    "a UNSUBSCRIBE &U,BTFw-/&ZeVnLIqe-",
    "a LIST \"\" \"\"",
    "a LIST /usr/staff/jones \"\"",
    "a LIST \"\" *",
    "a LIST (SPECIAL-USE) \"\" \"*\"",
    "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"%\" INBOX)",
    "a LIST \"\" \"*\" RETURN (SPECIAL-USE CHILDREN SUBSCRIBED)",
    "a LIST () \"\" % RETURN (STATUS (MESSAGES UNSEEN))",
    "a LSUB \"#news.\" \"comp.mail.*\"",
    "a STATUS blurdybloop (UIDNEXT MESSAGES)",
    "a STATUS INBOX (HIGHESTMODSEQ RECENT UIDVALIDITY UNSEEN)",
    "a SEARCH ALL",
    "a SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
    "a SEARCH TEXT \"string not in mailbox\"",
    "a SEARCH CHARSET UTF-8 TEXT {6}\nXXXXXX",
    "a SEARCH OR SEEN OR (DRAFT 1:*) UID 5",
    "a SEARCH HEADER Message-ID <a@b> SMALLER 5 LARGER 1",
    "a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338",
    "a UID SEARCH NOT NOT NOT KEYWORD $Junk UNKEYWORD a",
    "a UID SEARCH SENTSINCE \"1-Feb-1994\" SENTON 1-Feb-1994 SENTBEFORE 1-Feb-1994",
    "a UID SEARCH BEFORE 1-Feb-1994 ON 1-Feb-1994 BCC a CC b TO c SUBJECT d BODY e",
    "a SEARCH NEW OLD RECENT UNSEEN UNDRAFT",
    "a FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
    "a FETCH 1 ALL",
    "a FETCH 1 FAST",
    "a FETCH *:4,5:7 FULL",
    "a FETCH 1 (ENVELOPE INTERNALDATE RFC822.SIZE BODY BODYSTRUCTURE)",
    "a FETCH 1 (RFC822 RFC822.HEADER RFC822.TEXT)",
    "a FETCH 1 BODY.PEEK[]<0.2048>",
    "a FETCH 1 (BODY[1.2.3.MIME] BODY[1.HEADER.FIELDS.NOT (\"X Y\" {1}\nZ)])",
    "a FETCH 1 (BODY[TEXT]<5.1> BODY[HEADER] BODY[1] BODY[4.2.TEXT])",
    "a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345)",
    "a UID FETCH 1:* (UID MODSEQ)",
    "a STORE 2:4 +FLAGS (\\Deleted)",
    "a STORE 1 FLAGS ()",
    "a STORE * -FLAGS.SILENT \\Seen $Forwarded NonJunk",
    "a STORE 7,5,9 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted)",
    "a UID STORE 4:2 FLAGS.SILENT (\\Answered \\Flagged \\Draft)",
    "a COPY 2:4 MEETING",
    "a UID COPY 1,3 {7}\nMEETING",
    "a MOVE 42:69 foo",
    "a UID MOVE 42:69 INBOX",
];

/// Commands that end in APPEND's message.
const APPENDS: &[&str] = &[
    "a APPEND saved-messages (\\Seen) {310}\n",
    "a APPEND x {0}\n",
    "a APPEND {1}\nx (\\Draft $a) \"17-Jul-1996 02:44:25 -0700\" {5+}\n",
    "a APPEND \"Entw&APw-rfe\" \" 7-Jul-1996 02:44:25 +0000\" {5000000}\n",
];

fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// Gathers and parses all that is there, as a session does; the answers' debug texts.
fn session(bytes: &[u8]) -> Vec<String> {
    let mut gather = Gather::default();
    gather.logged_in();
    let (mut unread, mut said) = (bytes, Vec::new());
    loop {
        let consumed = match gather.next(unread) {
            Gathered::More => return said,
            Gathered::Continue => 0,
            Gathered::Command { bytes, consumed } => {
                said.push(format!("{:?}", Tagged::parse(bytes)));
                consumed
            }
            Gathered::Append { append, consumed } => {
                gather.skip_message(&append);
                said.push(format!("{append:?}"));
                consumed
            }
            Gathered::Refused { tag, why, consumed } => {
                said.push(format!("{tag:?} {why:?}"));
                consumed
            }
            Gathered::Skip { consumed } => consumed,
        };
        unread = &unread[consumed..];
    }
}

#[test]
fn the_example_session_of_the_rfc() {
    let said = session(EXAMPLE);
    let wanted = ["Login", "Select", "Fetch", "Fetch", "Store", "Logout"];
    assert_eq!(said.len(), wanted.len());
    for (said, wanted) in said.iter().zip(wanted) {
        assert!(said.starts_with("Ok(") && said.contains(wanted), "{said}");
    }
}

#[test]
fn every_valid_command_is_understood_and_ends_where_it_ends() {
    assert!(VALID.len() + APPENDS.len() >= 75);
    for text in VALID {
        let command = wire(text);
        let parsed = Tagged::parse(&command);
        assert!(parsed.is_ok(), "{text}: {parsed:?}");
        let gathered = session(&[command.as_slice(), b"\r\nb NOOP\r\n"].concat());
        assert_eq!(gathered, [format!("{parsed:?}"), format!("{:?}", Tagged::parse(b"b NOOP"))], "{text}");
    }
    for text in APPENDS {
        assert!(session(&wire(text))[0].starts_with("Append {"), "{text}");
    }
}

#[test]
fn a_command_cut_short_is_refused_or_another_one() {
    for text in VALID {
        let command = wire(text);
        for end in 0..command.len() {
            // Cutting `FETCH 1 BODYSTRUCTURE` may leave a valid command; never the same one.
            if let Ok(cut) = Tagged::parse(&command[..end]) {
                assert_ne!(Ok(cut), Tagged::parse(&command), "{text} cut at {end}");
            }
        }
    }
}

#[test]
fn keywords_are_words_in_any_case() {
    let lower = Tagged::parse(b"a uid fetch 1 (flags body.peek[header.fields (a)]<0.1>) (changedsince 1)");
    let upper = Tagged::parse(b"a UID FETCH 1 (FLAGS BODY.PEEK[HEADER.FIELDS (a)]<0.1>) (CHANGEDSINCE 1)");
    assert!(lower.is_ok());
    assert_eq!(lower, upper);
}

/// xorshift64*: the same mutations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// Goal: no input panics, none loses the way for ever, and what is kept is a small multiple of what was sent.
/// Method: valid commands with bytes changed, removed, doubled and spliced, between two that are untouched.
#[test]
fn mutated_commands_do_no_harm() {
    const NASTY: &[u8] = b"(){}[]<>\"\\*%+-:,.0123456789 \r\n\0\x7f\x80\xff&aN";
    let mut random = Random(0x1234_5678_9abc_def1);
    let seeds: Vec<Vec<u8>> = VALID.iter().chain(APPENDS).map(|text| wire(text)).collect();
    for round in 0..40_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 if !bytes.is_empty() => bytes[at] = NASTY[random.below(NASTY.len())],
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.insert(at, NASTY[random.below(NASTY.len())]),
                3 => bytes.truncate(at),
                _ => {
                    let other = &seeds[random.below(seeds.len())];
                    let from = random.below(other.len());
                    bytes.splice(at..at, other[from..].iter().copied());
                }
            }
        }
        bytes.extend_from_slice(b"\r\nz NOOP\r\n");
        let kept: usize = session(&bytes).iter().map(String::len).sum();
        assert!(kept <= 2000 + 100 * bytes.len(), "{kept} from {}", bytes.escape_ascii());
    }
}

/// The largest commands that the bounds let through take a bounded time and memory.
#[test]
fn large_commands_stay_small() {
    let fill = |head: &str, repeated: &str, tail: &str| {
        let room = crate::limits::IMAP_LINE_BYTES_MAX - head.len() - tail.len() - 2;
        format!("{head}{}{tail}", repeated.repeat(room / repeated.len()))
    };
    for text in [
        fill("a SEARCH ALL", " ALL", ""),
        fill("a SEARCH ", "(", ""),
        fill("a SEARCH ", "NOT ", "ALL"),
        fill("a FETCH 1 (UID", " UID", ")"),
        fill("a FETCH 1 (UID", " BODY[1]<0.1>", ")"),
        fill("a FETCH 1 BODY[HEADER.FIELDS (a", " a", ")]"),
        fill("a FETCH 1 BODY[1", ".1", "]"),
        fill("a FETCH 1", ",9", " UID"),
        fill("a STORE 1 FLAGS (a", " \\Seen", ")"),
        fill("a ENABLE", " a", ""),
        fill("a LIST \"\" (a", " a", ")"),
        fill("a LIST \"\" ", "(", ""),
        fill("a STATUS a (UNSEEN", " UNSEEN", ")"),
        fill("a ID (\"a\" NIL", " \"a\" NIL", ")"),
        fill("a CREATE \"", "\\\\", "\""),
    ] {
        let kept = format!("{:?}", Tagged::parse(text.as_bytes())).len();
        assert!(kept <= 12 * text.len(), "{} kept {kept}", &text[..30]);
    }
    assert!(matches!(
        Tagged::parse(fill("a SUBSCRIBE ", "x", "").as_bytes()),
        Ok(Tagged { command: Command::Subscribe(_), .. })
    ));
}
