//! What the owner's socket speaks: the console, and IMAP to any mailbox without its password.
//!
//! Whoever can open that socket is the owner, so being let into a mailbox is no new power: the console sets its password. The way in is a
//! whole IMAP session, so `export` and `import` read and change the store as any mail program does: by the gate, the quota, the UIDs.
//!
//! ```text
//! first-line = ( "imap " address / "mailboxes" / CONSOLE ) LF
//! imap       the greeting is PREAUTH (RFC 3501 §7.1.4), or BYE when there is no such mailbox; an alias is none
//! mailboxes  the answer is the address of every mailbox, each a line, then an empty line; a list without that was cut
//! CONSOLE    everything else: see [`super::console`]
//! ```

use super::console::{Console, Facts, Mode};
use super::imap::Imap;
use super::login::User;
use super::{Context, Farewell, Input, Io, Next, Session};
use crate::limits::{CONSOLE_IDLE_SECONDS, CONSOLE_LINE_BYTES_MAX};
use crate::wire::imap::reply::{self, Code, Condition};

const IMAP: &[u8] = b"imap ";
const MAILBOXES: &[u8] = b"mailboxes";

/// A conversation on the owner's socket.
pub struct Owner {
    /// What it is until the first line says otherwise.
    console: Console,
    imap: Option<Imap>,
    begun: bool,
}

/// What the first line asks for.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// It is not whole yet.
    More,
    /// IMAP to this mailbox.
    Imap(String),
    Mailboxes,
    Console,
}

impl Owner {
    /// A conversation that has not begun.
    pub fn new(facts: impl Into<Facts>) -> Owner {
        Owner { console: Console::new(Mode::Socket, facts), imap: None, begun: false }
    }

    /// Looks at the first line; takes it if the console does not.
    fn begin(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Option<Next> {
        let address = match first(io.inbox.bytes()) {
            First::More => return Some(Next::Read { seconds: CONSOLE_IDLE_SECONDS }),
            First::Console => {
                self.begun = true;
                return None;
            }
            First::Mailboxes => {
                for address in cx.store().settings().addresses.keys() {
                    io.out.extend_from_slice(address.as_bytes());
                    io.out.push(b'\n');
                }
                io.out.push(b'\n');
                return Some(Next::Close);
            }
            First::Imap(address) => address,
        };
        let line = io.inbox.bytes().iter().position(|byte| *byte == b'\n');
        io.inbox.consume(line.map_or(0, |end| end + 1));
        let Some(found) = cx.store().login(&address) else {
            let why = format!("There is no mailbox {address}");
            reply::untagged(&mut io.out, Condition::Bye, Some(Code::Word("NONEXISTENT")), &why);
            return Some(Next::Close);
        };
        let user =
            User { account: found.account, address: address.to_lowercase(), generation: found.generation };
        let imap = self.imap.insert(Imap::preauthenticated(user));
        self.begun = true;
        Some(imap.step(Input::Start, io, cx))
    }
}

fn first(bytes: &[u8]) -> First {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let ours = |start: &[u8]| start.starts_with(bytes) || bytes.starts_with(start);
        let more = bytes.len() < CONSOLE_LINE_BYTES_MAX && (ours(IMAP) || ours(MAILBOXES));
        return if more { First::More } else { First::Console };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.strip_prefix(IMAP).map(std::str::from_utf8) {
        Some(Ok(address)) if line.len() < CONSOLE_LINE_BYTES_MAX => First::Imap(String::from(address)),
        None if line == MAILBOXES => First::Mailboxes,
        _ => First::Console,
    }
}

impl Session for Owner {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if !self.begun
            && matches!(input, Input::Start | Input::Bytes)
            && let Some(next) = self.begin(io, cx)
        {
            return next;
        }
        match &mut self.imap {
            Some(imap) => imap.step(input, io, cx),
            None => self.console.step(input, io, cx),
        }
    }

    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>) {
        match &mut self.imap {
            Some(imap) => imap.farewell(why, out),
            None => self.console.farewell(why, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_is_spoken() {
        for (line, wanted) in [
            (&b""[..], First::More),
            (b"im", First::More),
            (b"mailboxes", First::More),
            (b"imap anna@example.test", First::More),
            (b"imap Anna@example.test\r\na NOOP\r\n", First::Imap("Anna@example.test".into())),
            (b"mailboxes\n", First::Mailboxes),
            (b"script\n", First::Console),
            (b"s", First::Console),
            (b"imap\n", First::Console),
            (b"imap \xff\n", First::Console),
            (b"mailboxes x\n", First::Console),
        ] {
            assert_eq!(first(line), wanted, "{}", line.escape_ascii());
        }
        let long = [IMAP, &[b'x'; CONSOLE_LINE_BYTES_MAX][..]].concat();
        assert_eq!(first(&long), First::Console);
    }
}
