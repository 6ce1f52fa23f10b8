//! A whole command: its tag, its name, and what its arguments say (RFC 3501 §6 and the extensions named below).
//!
//! A new command is one arm in [`Tagged::parse`]'s table, one variant, and a file of its own when it has arguments of its own.

use std::borrow::Cow;

use super::By;
use super::cursor::{Bad, Cursor, NO_NAME, Secret};
use super::fetch::Fetch;
use super::flags::Store;
use super::list::List;
use super::search::Search;
use super::set::SequenceSet;
use super::status::StatusItem;
use crate::limits;
use crate::wire::line::initial_response;

/// A command with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// Told back in the response that ends the command.
    pub tag: &'a str,
    /// What is wanted.
    pub command: Command<'a>,
}

/// Why bytes are no command. Answered BAD, but for `Name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid<'a> {
    /// There is no valid tag: `* BAD`.
    NoTag,
    /// No command has this name.
    Unknown {
        /// The tag to answer with.
        tag: &'a str,
    },
    /// It is one, but for a name that no folder can have: NO.
    Name {
        /// The tag to answer with.
        tag: &'a str,
    },
    /// The command is known, its arguments are not its.
    Arguments {
        /// The tag to answer with.
        tag: &'a str,
        /// What to say.
        text: &'static str,
    },
}

impl<'a> Invalid<'a> {
    /// The tag to answer with, and the text.
    pub fn answer(self) -> (Option<&'a str>, &'static str) {
        match self {
            Invalid::NoTag => (None, "No valid tag"),
            Invalid::Unknown { tag } => (Some(tag), "Unknown command"),
            Invalid::Name { tag } => (Some(tag), NO_NAME.0),
            Invalid::Arguments { tag, text } => (Some(tag), text),
        }
    }
}

/// Every command. APPEND is not among them: [`super::Gather`] yields it before its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// RFC 3501 §6.1.1
    Capability,
    /// RFC 3501 §6.1.2
    Noop,
    /// RFC 3501 §6.1.3
    Logout,
    /// RFC 2971. What the client says of itself is not kept.
    Id,
    /// RFC 3501 §6.2.1
    StartTls,
    /// RFC 3501 §6.2.2
    Authenticate {
        /// The SASL mechanism as written.
        mechanism: &'a str,
        /// The decoded initial response (RFC 4959), which may be empty.
        initial: Option<Secret<'static>>,
    },
    /// RFC 3501 §6.2.3
    Login {
        /// Who.
        user: Cow<'a, [u8]>,
        /// And the password.
        password: Secret<'a>,
    },
    /// RFC 5161: the names as written.
    Enable(Vec<&'a str>),
    /// RFC 3501 §6.3.1
    Select(Select),
    /// RFC 3501 §6.3.2
    Examine(Select),
    /// RFC 3501 §6.3.3. A trailing delimiter, which announces children, is still there.
    Create(String),
    /// RFC 3501 §6.3.4
    Delete(String),
    /// RFC 3501 §6.3.5
    Rename {
        /// The name now.
        from: String,
        /// The name then.
        to: String,
    },
    /// RFC 3501 §6.3.6
    Subscribe(String),
    /// RFC 3501 §6.3.7
    Unsubscribe(String),
    /// RFC 3501 §6.3.8, RFC 5258
    List(List),
    /// RFC 3501 §6.3.9
    Lsub {
        /// The reference name, decoded.
        reference: String,
        /// The pattern, decoded.
        pattern: String,
    },
    /// RFC 2342
    Namespace,
    /// RFC 3501 §6.3.10
    Status {
        /// The folder.
        mailbox: String,
        /// What of it.
        items: Vec<StatusItem>,
    },
    /// RFC 2177
    Idle,
    /// RFC 3501 §6.4.1
    Check,
    /// RFC 3501 §6.4.2
    Close,
    /// RFC 3691
    Unselect,
    /// RFC 3501 §6.4.3; with a set, UID EXPUNGE of RFC 4315 §2.1.
    Expunge {
        /// Only these UIDs.
        uids: Option<SequenceSet>,
    },
    /// RFC 3501 §6.4.4
    Search(Search),
    /// RFC 3501 §6.4.5
    Fetch(Fetch),
    /// RFC 3501 §6.4.6
    Store(Store<'a>),
    /// RFC 3501 §6.4.7
    Copy(Transfer),
    /// RFC 6851
    Move(Transfer),
}

/// What SELECT and EXAMINE say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// The folder.
    pub mailbox: String,
    /// `(CONDSTORE)`: RFC 7162 §3.1.8.
    pub condstore: bool,
}

/// What COPY and MOVE say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What the set's numbers are.
    pub by: By,
    /// Which messages.
    pub set: SequenceSet,
    /// Where to.
    pub mailbox: String,
}

impl<'a> Tagged<'a> {
    /// Reads a whole command: `bytes` as [`super::Gather`] gives them, without the last CRLF, literals in place.
    ///
    /// `command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF`
    pub fn parse(bytes: &'a [u8]) -> Result<Tagged<'a>, Invalid<'a>> {
        let mut cursor = Cursor::new(bytes);
        let tag = cursor.tag().map_err(|_| Invalid::NoTag)?;
        if !cursor.take(b' ') {
            return Err(if cursor.end().is_ok() { Invalid::Unknown { tag } } else { Invalid::NoTag });
        }
        let name = cursor.keyword().map_err(|_| Invalid::Unknown { tag })?;
        let command = match command(&name, &mut cursor) {
            Some(command) => command.and_then(|command| cursor.end().map(|()| command)),
            None => return Err(Invalid::Unknown { tag }),
        };
        match command {
            Ok(command) => Ok(Tagged { tag, command }),
            Err(NO_NAME) => Err(Invalid::Name { tag }),
            Err(Bad(text)) => Err(Invalid::Arguments { tag, text }),
        }
    }
}

/// The table of commands. None: no such command.
fn command<'a>(name: &str, cursor: &mut Cursor<'a>) -> Option<Result<Command<'a>, Bad>> {
    Some(match name {
        "CAPABILITY" => Ok(Command::Capability),
        "NOOP" => Ok(Command::Noop),
        "LOGOUT" => Ok(Command::Logout),
        "STARTTLS" => Ok(Command::StartTls),
        "NAMESPACE" => Ok(Command::Namespace),
        "IDLE" => Ok(Command::Idle),
        "CHECK" => Ok(Command::Check),
        "CLOSE" => Ok(Command::Close),
        "UNSELECT" => Ok(Command::Unselect),
        "EXPUNGE" => Ok(Command::Expunge { uids: None }),
        "ID" => id(cursor),
        "AUTHENTICATE" => authenticate(cursor),
        "LOGIN" => login(cursor),
        "ENABLE" => enable(cursor),
        "SELECT" => Select::parse(cursor).map(Command::Select),
        "EXAMINE" => Select::parse(cursor).map(Command::Examine),
        "CREATE" => mailbox(cursor).map(Command::Create),
        "DELETE" => mailbox(cursor).map(Command::Delete),
        "SUBSCRIBE" => mailbox(cursor).map(Command::Subscribe),
        "UNSUBSCRIBE" => mailbox(cursor).map(Command::Unsubscribe),
        "RENAME" => rename(cursor),
        "LIST" => List::parse(cursor).map(Command::List),
        "LSUB" => List::parse_lsub(cursor).map(|(reference, pattern)| Command::Lsub { reference, pattern }),
        "STATUS" => status(cursor),
        "APPEND" => Err(Bad("APPEND wants a folder, maybe flags and a date, and a literal")),
        "UID" => return uid(cursor),
        _ => return with_numbers(name, cursor, By::Sequence),
    })
}

/// The commands that also exist behind UID.
fn with_numbers<'a>(name: &str, cursor: &mut Cursor<'a>, by: By) -> Option<Result<Command<'a>, Bad>> {
    Some(match name {
        "SEARCH" => Search::parse(cursor, by).map(Command::Search),
        "FETCH" => Fetch::parse(cursor, by).map(Command::Fetch),
        "STORE" => Store::parse(cursor, by).map(Command::Store),
        "COPY" => Transfer::parse(cursor, by).map(Command::Copy),
        "MOVE" => Transfer::parse(cursor, by).map(Command::Move),
        _ => return None,
    })
}

/// `uid = "UID" SP (copy / fetch / search / store / move / uid-expunge)`; `uid-expunge = "EXPUNGE" SP sequence-set`
fn uid<'a>(cursor: &mut Cursor<'a>) -> Option<Result<Command<'a>, Bad>> {
    let name = match cursor.space().and_then(|()| cursor.keyword()) {
        Ok(name) => name,
        Err(_) => return Some(Err(Bad("UID of which command?"))),
    };
    if name == "EXPUNGE" {
        let uids = cursor.space().and_then(|()| SequenceSet::parse(cursor));
        return Some(uids.map(|uids| Command::Expunge { uids: Some(uids) }));
    }
    with_numbers(&name, cursor, By::Uid)
}

/// `SP mailbox`
fn mailbox(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    cursor.space()?;
    cursor.mailbox()
}

/// `rename = "RENAME" SP mailbox SP mailbox`
fn rename<'a>(cursor: &mut Cursor<'_>) -> Result<Command<'a>, Bad> {
    Ok(Command::Rename { from: mailbox(cursor)?, to: mailbox(cursor)? })
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
fn status<'a>(cursor: &mut Cursor<'_>) -> Result<Command<'a>, Bad> {
    let mailbox = mailbox(cursor)?;
    cursor.space()?;
    Ok(Command::Status { mailbox, items: StatusItem::parse_list(cursor)? })
}

/// `id = "ID" SP id_params_list`; `id_params_list = "(" #(string SP nstring) ")" / nil` (RFC 2971 §4)
fn id<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, Bad> {
    cursor.space()?;
    if cursor.word("NIL") {
        return Ok(Command::Id);
    }
    cursor.list(limits::IMAP_ID_FIELDS_MAX, |cursor| {
        cursor.string()?;
        cursor.space()?;
        cursor.nstring().map(drop)
    })?;
    Ok(Command::Id)
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] *(CRLF base64)` (RFC 4959 §7)
fn authenticate<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, Bad> {
    cursor.space()?;
    let mechanism = cursor.atom()?;
    let mut initial = None;
    if cursor.take(b' ') {
        let text = cursor.run(|byte| byte != b' ');
        let bytes = initial_response(text).ok().filter(|_| !text.is_empty()).ok_or(Bad("Not base64"))?;
        initial = Some(Secret(bytes.into()));
    }
    Ok(Command::Authenticate { mechanism, initial })
}

/// `login = "LOGIN" SP userid SP password`; both astrings
fn login<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, Bad> {
    cursor.space()?;
    let user = cursor.astring()?;
    cursor.space()?;
    Ok(Command::Login { user, password: Secret(cursor.astring()?) })
}

/// `"ENABLE" 1*(SP capability)` (RFC 5161 §4)
fn enable<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, Bad> {
    cursor.space()?;
    let mut names = vec![cursor.atom()?];
    while cursor.take(b' ') {
        if names.len() == limits::IMAP_ENABLE_MAX {
            return Err(Bad("Too long a list"));
        }
        names.push(cursor.atom()?);
    }
    Ok(Command::Enable(names))
}

impl Select {
    /// `select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]`, after the command's name (RFC 4466 §3).
    fn parse(cursor: &mut Cursor<'_>) -> Result<Select, Bad> {
        let mailbox = mailbox(cursor)?;
        let mut condstore = false;
        if cursor.take(b' ') {
            let parameters = cursor.list(1, |cursor| match cursor.keyword()?.as_str() {
                "CONDSTORE" => Ok(()),
                _ => Err(Bad("Unknown parameter of SELECT")),
            })?;
            if parameters.is_empty() {
                return Err(Bad("Parameter of SELECT expected"));
            }
            condstore = true;
        }
        Ok(Select { mailbox, condstore })
    }
}

impl Transfer {
    /// `copy = "COPY" SP sequence-set SP mailbox`; `move = "MOVE" SP sequence-set SP mailbox`, after the command's name.
    fn parse(cursor: &mut Cursor<'_>, by: By) -> Result<Transfer, Bad> {
        cursor.space()?;
        let set = SequenceSet::parse(cursor)?;
        Ok(Transfer { by, set, mailbox: mailbox(cursor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command<'_> {
        Tagged::parse(text.as_bytes()).unwrap_or_else(|invalid| panic!("{text}: {invalid:?}")).command
    }

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn commands_without_arguments() {
        let plain = [
            ("CAPABILITY", Command::Capability),
            ("noop", Command::Noop),
            ("LogOut", Command::Logout),
            ("STARTTLS", Command::StartTls),
            ("NAMESPACE", Command::Namespace),
            ("IDLE", Command::Idle),
            ("CHECK", Command::Check),
            ("CLOSE", Command::Close),
            ("UNSELECT", Command::Unselect),
            ("EXPUNGE", Command::Expunge { uids: None }),
        ];
        for (name, wanted) in plain {
            let text = format!("a1 {name}");
            assert_eq!(Tagged::parse(text.as_bytes()), Ok(Tagged { tag: "a1", command: wanted }));
            let more = format!("a1 {name} x");
            assert!(
                matches!(Tagged::parse(more.as_bytes()), Err(Invalid::Arguments { tag: "a1", .. })),
                "{more}"
            );
        }
    }

    #[test]
    fn login_takes_astrings_in_every_writing_and_hides_the_password() {
        for text in
            ["a LOGIN anna secret", "a login \"anna\" {6}\r\nsecret", "a LOGIN {4+}\r\nanna \"secret\""]
        {
            let Command::Login { user, password } = command(text) else { panic!() };
            assert_eq!((user.as_ref(), password.0.as_ref()), (&b"anna"[..], &b"secret"[..]));
        }
        assert!(format!("{:?}", command("a LOGIN anna secret")).ends_with("password: Secret }"));
    }

    #[test]
    fn authenticate_with_and_without_initial_response() {
        let initial = |text| match command(text) {
            Command::Authenticate { mechanism, initial } => {
                (mechanism, initial.map(|secret| secret.0.into_owned()))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(initial("a AUTHENTICATE PLAIN"), ("PLAIN", None));
        assert_eq!(initial("a AUTHENTICATE EXTERNAL ="), ("EXTERNAL", Some(vec![])));
        assert_eq!(initial("a authenticate PLAIN AGEAYg=="), ("PLAIN", Some(b"\0a\0b".to_vec())));
        for text in
            ["a AUTHENTICATE", "a AUTHENTICATE PLAIN ", "a AUTHENTICATE PLAIN *", "a AUTHENTICATE PLAIN = ="]
        {
            assert!(Tagged::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn id_is_a_list_or_nil() {
        for text in ["a ID NIL", "a ID ()", "a ID (\"name\" \"sodr\" {2}\r\nos NIL)"] {
            assert_eq!(command(text), Command::Id);
        }
        let fields = |count: usize| format!("a ID ({})", vec!["\"a\" NIL"; count].join(" "));
        assert!(Tagged::parse(fields(limits::IMAP_ID_FIELDS_MAX).as_bytes()).is_ok());
        assert!(Tagged::parse(fields(limits::IMAP_ID_FIELDS_MAX + 1).as_bytes()).is_err());
        for text in ["a ID", "a ID (\"name\")", "a ID (name \"x\")", "a ID (NIL NIL)"] {
            assert!(Tagged::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn commands_about_folders() {
        let select = |condstore| Select { mailbox: "INBOX".to_owned(), condstore };
        assert_eq!(command("a SELECT inbox"), Command::Select(select(false)));
        assert_eq!(command("a EXAMINE \"INBOX\" (condstore)"), Command::Examine(select(true)));
        assert_eq!(command("a CREATE owatagusiam/"), Command::Create("owatagusiam/".to_owned()));
        assert_eq!(command("a DELETE &AOQ-"), Command::Delete("ä".to_owned()));
        assert_eq!(
            command("a RENAME a {1}\r\nb"),
            Command::Rename { from: "a".to_owned(), to: "b".to_owned() }
        );
        assert_eq!(command("a SUBSCRIBE \"\""), Command::Subscribe(String::new()));
        assert_eq!(command("a UNSUBSCRIBE x"), Command::Unsubscribe("x".to_owned()));
        assert_eq!(
            command("a LSUB \"\" *"),
            Command::Lsub { reference: String::new(), pattern: "*".to_owned() }
        );
        let status = Command::Status { mailbox: "x".to_owned(), items: vec![StatusItem::UidNext] };
        assert_eq!(command("a STATUS x (UIDNEXT)"), status);
        assert_eq!(command("a ENABLE CONDSTORE X-GOOD"), Command::Enable(vec!["CONDSTORE", "X-GOOD"]));
        assert_eq!(Tagged::parse(b"a CREATE R&D"), Err(Invalid::Name { tag: "a" }));
        for text in [
            "SELECT",
            "SELECT a ()",
            "SELECT a (X)",
            "SELECT a b",
            "RENAME a",
            "STATUS x",
            "ENABLE",
            "ENABLE ",
        ] {
            assert!(Tagged::parse(format!("a {text}").as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn uid_says_what_the_numbers_are() {
        let transfer = |by| Transfer { by, set: set("2:4"), mailbox: "MEETING".to_owned() };
        assert_eq!(command("a COPY 2:4 MEETING"), Command::Copy(transfer(By::Sequence)));
        assert_eq!(command("a uid copy 2:4 MEETING"), Command::Copy(transfer(By::Uid)));
        assert_eq!(command("a MOVE 2:4 MEETING"), Command::Move(transfer(By::Sequence)));
        assert_eq!(command("a UID MOVE 2:4 MEETING"), Command::Move(transfer(By::Uid)));
        assert_eq!(command("a UID EXPUNGE 3000:3002"), Command::Expunge { uids: Some(set("3000:3002")) });
        assert!(matches!(command("a UID SEARCH ALL"), Command::Search(Search { by: By::Uid, .. })));
        assert!(matches!(command("a UID FETCH 1 FLAGS"), Command::Fetch(Fetch { by: By::Uid, .. })));
        assert!(matches!(command("a UID STORE 1 FLAGS ()"), Command::Store(Store { by: By::Uid, .. })));
        assert_eq!(Tagged::parse(b"a UID NOOP"), Err(Invalid::Unknown { tag: "a" }));
        assert!(matches!(Tagged::parse(b"a UID"), Err(Invalid::Arguments { .. })));
        assert!(matches!(Tagged::parse(b"a UID EXPUNGE"), Err(Invalid::Arguments { .. })));
    }

    #[test]
    fn errors_know_the_tag_when_there_is_one() {
        for text in [
            &b""[..],
            b" ",
            b"+ NOOP",
            b"* NOOP",
            b" NOOP",
            b"a+ NOOP",
            b"\"a\" NOOP",
            b"\xff NOOP",
            b"a\nb NOOP",
        ] {
            assert_eq!(Tagged::parse(text), Err(Invalid::NoTag), "{}", text.escape_ascii());
        }
        for text in [&b"a"[..], b"a ", b"a FROB", b"a  NOOP", b"a (", b"a XNOOP 1"] {
            assert_eq!(Tagged::parse(text), Err(Invalid::Unknown { tag: "a" }), "{}", text.escape_ascii());
        }
        for text in [&b"a NOOP "[..], b"a NOOP\nb", b"a LOGIN a\nb c", b"a APPEND x"] {
            assert!(
                matches!(Tagged::parse(text), Err(Invalid::Arguments { tag: "a", .. })),
                "{}",
                text.escape_ascii()
            );
        }
    }
}
