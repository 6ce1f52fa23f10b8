//! THE table: every command with the states it is allowed in, what it may tell, the capability it belongs to, and who does it.
//!
//! A new extension is a row here, a capability below, a file, and its transcripts. A command without a row does not compile.

use super::job::Reply;
use super::{Call, Client, Outcome};
use super::{close, connection, copy, expunge, flags, folders, idle, list, login, open, status};
use super::{fetch, search};
use crate::wire::imap::{By, Command, Fetch, Search, Store, command::Transfer};

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// As clients write it.
    pub name: &'static str,
    /// The states in which it is allowed: bits of `BEFORE`, `AFTER`, `OPEN`.
    pub states: u8,
    /// Expunges may be told before its tagged line. Not while the client's sequence numbers are in use: RFC 3501 §7.4.1.
    pub expunges: bool,
    /// The capability that announces it.
    pub capability: &'static str,
    /// Where it is specified.
    pub rfc: &'static str,
}

/// Not authenticated state (RFC 3501 §3.1).
const BEFORE: u8 = 1;
/// Authenticated state, no folder open (RFC 3501 §3.2).
const AFTER: u8 = 2;
/// Selected state (RFC 3501 §3.3).
const OPEN: u8 = 4;
const IN: u8 = AFTER | OPEN;
const ANY: u8 = BEFORE | IN;

/// Expunges are told after it.
const TELL: bool = true;
/// They wait.
const HOLD: bool = false;

macro_rules! table {
    ($call:ident; $($name:literal, $states:expr, $expunges:expr, $capability:literal, $rfc:literal, $pattern:pat => $does:expr;)*) => {
        /// The row of a command.
        #[allow(unused_variables)]
        pub fn row(command: &Command<'_>) -> &'static Row {
            match command {
                $($pattern => &Row { name: $name, states: $states, expunges: $expunges, capability: $capability, rfc: $rfc },)*
            }
        }

        /// Does a command that its row allows now.
        pub(super) fn run(command: Command<'_>, $call: Call<'_, '_>) -> Outcome {
            match command {
                $($pattern => $does,)*
            }
        }

        /// Every row but APPEND's.
        #[cfg(test)]
        pub const ROWS: &[Row] = &[
            $(Row { name: $name, states: $states, expunges: $expunges, capability: $capability, rfc: $rfc },)*
        ];
    };
}

table! { call;
    "CAPABILITY",   ANY,    TELL, "IMAP4rev1", "RFC 3501 §6.1.1",  Command::Capability =>
        connection::capability(call).into();
    "NOOP",         ANY,    TELL, "IMAP4rev1", "RFC 3501 §6.1.2",  Command::Noop =>
        Reply::ok("Nothing done").into();
    "LOGOUT",       ANY,    TELL, "IMAP4rev1", "RFC 3501 §6.1.3",  Command::Logout =>
        connection::logout(call);
    "ID",           ANY,    TELL, "ID",        "RFC 2971 §3.1",    Command::Id =>
        connection::id(call).into();
    "STARTTLS",     BEFORE, TELL, "STARTTLS",  "RFC 3501 §6.2.1",  Command::StartTls =>
        connection::starttls(call);
    "AUTHENTICATE", BEFORE, TELL, "AUTH=PLAIN", "RFC 3501 §6.2.2", Command::Authenticate { mechanism, initial } =>
        login::authenticate(call, mechanism, initial);
    "LOGIN",        BEFORE, TELL, "IMAP4rev1", "RFC 3501 §6.2.3",  Command::Login { user, password } =>
        login::login(call, &user, &password);
    "ENABLE",       IN,     TELL, "ENABLE",    "RFC 5161 §3.1",    Command::Enable(names) =>
        connection::enable(call, &names).into();
    "SELECT",       IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.1",  Command::Select(select) =>
        open::open(call, &select, false).into();
    "EXAMINE",      IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.2",  Command::Examine(select) =>
        open::open(call, &select, true).into();
    "CREATE",       IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.3",  Command::Create(name) =>
        folders::create(call, &name).into();
    "DELETE",       IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.4",  Command::Delete(name) =>
        folders::delete(call, &name).into();
    "RENAME",       IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.5",  Command::Rename { from, to } =>
        folders::rename(call, &from, &to).into();
    "SUBSCRIBE",    IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.6",  Command::Subscribe(name) =>
        folders::subscribe(call, &name).into();
    "UNSUBSCRIBE",  IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.7",  Command::Unsubscribe(name) =>
        folders::unsubscribe(call, &name).into();
    "LIST",         IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.8",  Command::List(list) =>
        list::list(call, list);
    "LSUB",         IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.9",  Command::Lsub { reference, pattern } =>
        list::lsub(call, &reference, &pattern);
    "NAMESPACE",    IN,     TELL, "NAMESPACE", "RFC 2342 §5",      Command::Namespace =>
        folders::namespace(call).into();
    "STATUS",       IN,     TELL, "IMAP4rev1", "RFC 3501 §6.3.10", Command::Status { mailbox, items } =>
        status::status(call, &mailbox, &items).into();
    "IDLE",         IN,     TELL, "IDLE",      "RFC 2177",         Command::Idle =>
        idle::idle(call);
    "CHECK",        OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.1",  Command::Check =>
        Reply::ok("Checked").into();
    "CLOSE",        OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.2",  Command::Close =>
        close::close(call).into();
    "UNSELECT",     OPEN,   TELL, "UNSELECT",  "RFC 3691 §2",      Command::Unselect =>
        close::unselect(call).into();
    "EXPUNGE",      OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.3",  Command::Expunge { uids: None } =>
        expunge::expunge(call, None).into();
    "UID EXPUNGE",  OPEN,   TELL, "UIDPLUS",   "RFC 4315 §2.1",    Command::Expunge { uids: Some(uids) } =>
        expunge::expunge(call, Some(&uids)).into();
    "UID SEARCH",   OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.8",  Command::Search(it @ Search { by: By::Uid, .. }) =>
        search(call, it);
    "SEARCH",       OPEN,   HOLD, "IMAP4rev1", "RFC 3501 §6.4.4",  Command::Search(it) =>
        search(call, it);
    "UID FETCH",    OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.8",  Command::Fetch(it @ Fetch { by: By::Uid, .. }) =>
        fetch(call, it);
    "FETCH",        OPEN,   HOLD, "IMAP4rev1", "RFC 3501 §6.4.5",  Command::Fetch(it) =>
        fetch(call, it);
    "UID STORE",    OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.8",  Command::Store(it @ Store { by: By::Uid, .. }) =>
        flags::store(call, &it);
    "STORE",        OPEN,   HOLD, "IMAP4rev1", "RFC 3501 §6.4.6",  Command::Store(it) =>
        flags::store(call, &it);
    "UID COPY",     OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.8",  Command::Copy(it @ Transfer { by: By::Uid, .. }) =>
        copy::copy(call, &it, false).into();
    "COPY",         OPEN,   TELL, "IMAP4rev1", "RFC 3501 §6.4.7",  Command::Copy(it) =>
        copy::copy(call, &it, false).into();
    "UID MOVE",     OPEN,   TELL, "MOVE",      "RFC 6851 §3.2",    Command::Move(it @ Transfer { by: By::Uid, .. }) =>
        copy::copy(call, &it, true).into();
    "MOVE",         OPEN,   TELL, "MOVE",      "RFC 6851 §3.1",    Command::Move(it) =>
        copy::copy(call, &it, true).into();
}

/// The row of APPEND, which is not gathered whole: `append::begin` does it.
pub const APPEND: Row =
    Row { name: "APPEND", states: IN, expunges: TELL, capability: "IMAP4rev1", rfc: "RFC 3501 §6.3.11" };

fn fetch(call: Call<'_, '_>, command: Fetch) -> Outcome {
    if command.changed_since.is_some() || command.items.contains(&crate::wire::imap::Item::ModSeq) {
        call.client.enable_condstore(call.out, call.cx);
    }
    let set = match call.client.resolve(&command.set, command.by, call.cx) {
        Ok(set) => set,
        Err(reply) => return Outcome::Done(reply),
    };
    match call.client.selected.as_deref_mut() {
        Some(selected) => Outcome::Job(fetch::Fetch::new(command, set, call.cx, selected)),
        None => Outcome::Done(Client::nothing_open()),
    }
}

fn search(call: Call<'_, '_>, command: Search) -> Outcome {
    if command.tells_mod_sequence() {
        call.client.enable_condstore(call.out, call.cx);
    }
    let Some(selected) = call.client.selected.as_deref_mut() else {
        return Outcome::Done(Client::nothing_open());
    };
    match search::Search::new(command, call.cx, selected) {
        Ok(job) => Outcome::Job(job),
        Err(reply) => Outcome::Done(reply),
    }
}

impl Row {
    /// Why it is not allowed in the state that the connection is in.
    pub(super) fn refused(&self, client: &Client) -> Option<Reply> {
        let state = match (&client.user, &client.selected) {
            (None, _) => BEFORE,
            (Some(_), None) => AFTER,
            (Some(_), Some(_)) => OPEN,
        };
        match (self.states & state, state) {
            (0, BEFORE) => Some(Reply::bad("Log in first")),
            (0, _) if self.states == BEFORE => Some(Reply::bad("You have logged in already")),
            (0, _) => Some(Client::nothing_open()),
            _ => None,
        }
    }
}

// ---- capabilities ----

/// When a capability is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Before TLS.
    Plain,
    /// Under TLS, before login.
    Secure,
    /// Before login.
    Before,
}

/// What is announced, in this order. What works only after login is announced before it too: there are clients that never ask again.
const CAPABILITIES: [(&str, When); 18] = [
    ("IMAP4rev1", When::Always),
    ("LITERAL+", When::Always),
    ("SASL-IR", When::Before),
    ("ID", When::Always),
    ("STARTTLS", When::Plain),
    ("LOGINDISABLED", When::Plain),
    ("AUTH=PLAIN", When::Secure),
    ("ENABLE", When::Always),
    ("NAMESPACE", When::Always),
    ("IDLE", When::Always),
    ("UIDPLUS", When::Always),
    ("MOVE", When::Always),
    ("UNSELECT", When::Always),
    ("CHILDREN", When::Always),
    ("SPECIAL-USE", When::Always),
    ("CONDSTORE", When::Always),
    ("LIST-EXTENDED", When::Always),
    ("LIST-STATUS", When::Always),
];

/// The capabilities of the connection as it is now (RFC 3501 §6.1.1).
pub fn capabilities(tls: bool, logged_in: bool) -> Vec<&'static str> {
    let now = |when: When| match when {
        When::Always => true,
        When::Plain => !tls && !logged_in,
        When::Secure => tls && !logged_in,
        When::Before => !logged_in,
    };
    CAPABILITIES.iter().filter(|(_, when)| now(*when)).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_announced_and_named_once() {
        for (index, row) in ROWS.iter().chain([&APPEND]).enumerate() {
            assert!(CAPABILITIES.iter().any(|(name, _)| *name == row.capability), "{}", row.name);
            assert!(ROWS[..index.min(ROWS.len())].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(row.rfc.starts_with("RFC "));
        }
    }

    #[test]
    fn expunges_wait_while_sequence_numbers_are_in_use() {
        let held: Vec<_> = ROWS.iter().filter(|row| !row.expunges).map(|row| row.name).collect();
        assert_eq!(held, ["SEARCH", "FETCH", "STORE"]);
    }

    #[test]
    fn passwords_are_invited_under_tls_only() {
        let has = |tls, logged_in, name| capabilities(tls, logged_in).contains(&name);
        assert!(has(false, false, "STARTTLS") && has(false, false, "LOGINDISABLED"));
        assert!(!has(false, false, "AUTH=PLAIN") && has(true, false, "AUTH=PLAIN"));
        assert!(!has(true, false, "LOGINDISABLED") && !has(true, true, "AUTH=PLAIN"));
    }
}
