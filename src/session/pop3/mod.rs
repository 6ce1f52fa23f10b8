//! POP3: RFC 1939 with CAPA (2449), STLS (2595), AUTH PLAIN (5034, 4616), AUTH-RESP-CODE (3206), UTF8 and LANG (6856).
//!
//! - [`Pop3`]: the states of a connection and which command is allowed in which.
//! - [`maildrop`]: the open mailbox: view, lock, marks.
//! - [`retr`]: RETR and TOP.
//! - [`text`]: everything it says, in English and German.
//!
//! Refused: passwords without TLS (`-ERR [SYS/PERM]`: it is not the password that is wrong, so clients need not forget it), and APOP,
//! whose passwords would have to be kept readable.
//!
//! Sizes: a message has as many octets as are stored; what RETR sends has exactly as many when dots are taken off.
//! Deliberate: one that does not end in CRLF (possible by BDAT and APPEND only) gets CRLF before the lone dot; it is not counted,
//! since no octet of it is stored.
//! Deliberate: messages are sent as they are also without UTF8: nobody's mail is withheld because their program is old
//! (RFC 6856 §2.1 would refuse).

use std::io::Write;

use super::login::{Login, Refused};
use super::{Context, Farewell, Input, Io, Next, SecretAnswer, Session, Upgrade};
use crate::limits::{OUT_BYTES, PEER_ERRORS_MAX, POP3_IDLE_SECONDS, POP3_LINE_BYTES_MAX};
use crate::types::Language;
use crate::wire::line::{self, Ending, Line};
use crate::wire::pop3::{Command, Top, Wrong, parse};

pub mod maildrop;
mod retr;
pub mod text;

use maildrop::Maildrop;
use retr::Retrieving;
use text::{Text, matching, say};

/// A POP3 connection.
#[derive(Debug, Default)]
pub struct Pop3 {
    login: Login,
    language: Language,
    errors: u32,
    /// USER has named somebody; PASS is awaited.
    name: Option<String>,
    /// Whom somebody's mailbox is open to: the TRANSACTION state.
    maildrop: Option<Box<Maildrop>>,
    doing: Doing,
    /// What has been sent ends inside a message or a list.
    sent_amid: bool,
}

/// What the next input belongs to.
#[derive(Debug, Default)]
enum Doing {
    /// Commands.
    #[default]
    Commands,
    /// The rest of a too long line.
    Skipping,
    /// The response of AUTH PLAIN.
    Plain,
    /// The pause before a wrong password is answered, and whether it was the last.
    Refusing { last: bool },
    /// LIST or UIDL of everything: the number to go on with.
    Listing { next: u32, uidl: bool },
    /// RETR or TOP.
    Retrieving(Box<Retrieving>),
}

/// What a command leads to.
enum Done {
    /// Answered: the next command.
    Next,
    /// Something that takes another step.
    Go(Next),
}

impl Session for Pop3 {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        if input.is_after_sending() {
            self.sent_amid = self.amid();
        }
        let next = self.advance(input, io, cx);
        if let Next::Close = next {
            // The lock ends here, however long the last bytes take to leave.
            self.maildrop = None;
        }
        next
    }

    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>) {
        // In the middle of a message any word would become part of it.
        let amid = if why == Farewell::Shutdown { self.amid() } else { self.sent_amid };
        if !amid {
            let text = match why {
                Farewell::Shutdown => Text::Shutdown,
                Farewell::NotStored => Text::NotStored,
                Farewell::Defect => Text::Defect,
                Farewell::Busy => Text::TooManyConnections,
            };
            say(out, self.language, text, &[]);
        }
    }
}

impl Pop3 {
    /// A connection that has just been made.
    pub fn new() -> Pop3 {
        Pop3::default()
    }

    fn amid(&self) -> bool {
        match &self.doing {
            Doing::Retrieving(retrieving) => retrieving.started,
            Doing::Listing { .. } => true,
            _ => false,
        }
    }

    fn advance(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match (input, std::mem::take(&mut self.doing)) {
            (Input::Start, _) => {
                // No timestamp: that would offer APOP (RFC 1939 §7).
                let _ = write!(io.out, "+OK {} POP3 ready\r\n", cx.host);
                self.commands(io, cx)
            }
            (Input::Timeout, Doing::Refusing { last }) => {
                self.say(io, Text::LoginWrong);
                if last { Next::Close } else { self.commands(io, cx) }
            }
            // RFC 1939 §3: the autologout removes nothing and says nothing.
            (Input::Timeout | Input::Eof, _) => Next::Close,
            (Input::Secret(answer), _) => self.checked(&answer, io, cx),
            (Input::Upgraded, _) => {
                // What was asked for in plain text could be anybody's wish.
                self.language = Language::default();
                self.commands(io, cx)
            }
            (Input::Woken, _) if self.is_over(cx) => {
                self.say(io, Text::SessionOver);
                Next::Close
            }
            // In the middle of a message or list there is nothing that could be said.
            (Input::Sent, Doing::Retrieving(_) | Doing::Listing { .. }) if self.is_over(cx) => Next::Close,
            (Input::Loaded(loaded), Doing::Retrieving(retrieving)) => self.loaded(retrieving, loaded, io, cx),
            (Input::Sent, Doing::Retrieving(retrieving)) => self.retrieve(retrieving, io, cx),
            (Input::Sent, Doing::Listing { next, uidl }) => match self.list(next, uidl, io, cx) {
                Done::Next => self.commands(io, cx),
                Done::Go(next) => next,
            },
            (_, doing) => {
                self.doing = doing;
                self.commands(io, cx)
            }
        }
    }

    fn say(&self, io: &mut Io, text: Text) {
        say(&mut io.out, self.language, text, &[]);
    }

    /// Takes commands until there are none, or something takes another step.
    fn commands(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        loop {
            if io.out.len() >= OUT_BYTES {
                return Next::Send;
            }
            let Io { inbox, out } = &mut *io;
            if matches!(self.doing, Doing::Skipping) {
                let (count, ended) = line::skip(inbox.bytes(), Ending::Lf);
                inbox.consume(count);
                if !ended {
                    return self.read();
                }
                self.doing = Doing::Commands;
                continue;
            }
            let done = match line::line(inbox.bytes(), POP3_LINE_BYTES_MAX, Ending::Lf) {
                Line::More => return self.read(),
                Line::TooLong => {
                    self.doing = Doing::Skipping;
                    self.error(Text::LineTooLong, out)
                }
                Line::Complete { text_len, consumed } => {
                    let text = inbox.bytes().get(..text_len).unwrap_or_default();
                    let done = self.line(text, out, cx);
                    inbox.consume(consumed);
                    done
                }
            };
            if let Done::Go(next) = done {
                return next;
            }
        }
    }

    /// Waits for a command. Who has logged in is woken by changes of the account: its password may be another one now.
    fn read(&self) -> Next {
        match &self.maildrop {
            Some(maildrop) => {
                let account = Some(maildrop.user.account);
                Next::Wait { account, seconds: POP3_IDLE_SECONDS, bytes: true }
            }
            None => Next::Read { seconds: POP3_IDLE_SECONDS },
        }
    }

    /// Whether the login does not count any more: the mailbox is gone or has another password.
    fn is_over(&self, cx: &mut Context<'_>) -> bool {
        self.maildrop.as_ref().is_some_and(|maildrop| !maildrop.user.still_valid(cx))
    }

    /// A refusal that counts.
    fn error(&mut self, text: Text, out: &mut Vec<u8>) -> Done {
        self.errors += 1;
        if self.errors < PEER_ERRORS_MAX {
            return self.refuse(text, out);
        }
        say(out, self.language, Text::TooManyErrors, &[]);
        Done::Go(Next::Close)
    }

    /// A refusal that does not count: the state of the mailbox is not the client's fault.
    fn refuse(&self, text: Text, out: &mut Vec<u8>) -> Done {
        self.answer(text, &[], out)
    }

    fn answer(&self, text: Text, numbers: &[u64], out: &mut Vec<u8>) -> Done {
        say(out, self.language, text, numbers);
        Done::Next
    }

    fn line(&mut self, text: &[u8], out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        if let Doing::Plain = std::mem::take(&mut self.doing) {
            return match text {
                b"*" => self.error(Text::Cancelled, out),
                text => self.plain(line::base64_decode(text).ok(), out, cx),
            };
        }
        if self.is_over(cx) {
            // Whoever has the old password shall not delete either: no UPDATE.
            self.maildrop = None;
            say(out, self.language, Text::SessionOver, &[]);
            return Done::Go(Next::Close);
        }
        let command = match parse(text) {
            Ok(command) => command,
            Err(Wrong::Unknown) if line::is_http(text) => return Done::Go(Next::Close),
            Err(Wrong::Unknown) => return self.error(Text::UnknownCommand, out),
            Err(Wrong::Arguments) => return self.error(Text::Arguments, out),
        };
        match command {
            Command::Capa => self.capa(out, cx.peer.tls),
            Command::Lang(None) => self.languages(out),
            Command::Lang(Some(range)) => {
                let own = cx.store().settings().language;
                let Some(language) = matching(range, own) else {
                    return self.error(Text::LanguageUnknown, out);
                };
                self.language = language;
                self.answer(Text::LanguageChosen, &[], out)
            }
            Command::Quit => self.quit(out, cx),
            command => match self.maildrop.take() {
                None => self.authorization(command, out, cx),
                Some(mut maildrop) => {
                    let done = self.transaction(command, &mut maildrop, out, cx);
                    self.maildrop = Some(maildrop);
                    done
                }
            },
        }
    }

    /// The same in all states, as each of their documents asks for, but for TLS (RFC 2595 §4: ask again after STLS).
    fn capa(&self, out: &mut Vec<u8>, tls: bool) -> Done {
        say(out, self.language, Text::Capabilities, &[]);
        let login = if tls { "USER\r\nSASL PLAIN\r\n" } else { "STLS\r\n" };
        out.extend_from_slice(b"TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n");
        out.extend_from_slice(b"EXPIRE NEVER\r\nLOGIN-DELAY 0\r\nUTF8\r\nLANG\r\n");
        out.extend_from_slice(login.as_bytes());
        out.extend_from_slice(b"IMPLEMENTATION Postfach\r\n.\r\n");
        Done::Next
    }

    fn languages(&self, out: &mut Vec<u8>) -> Done {
        say(out, self.language, Text::Languages, &[]);
        for (_, tag, name) in Language::ALL {
            out.extend_from_slice(format!("{tag} {name}\r\n").as_bytes());
        }
        out.extend_from_slice(b".\r\n");
        Done::Next
    }

    /// Commands before login.
    fn authorization(&mut self, command: Command<'_>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        match command {
            Command::Stls if cx.peer.tls => self.error(Text::TlsAlready, out),
            Command::Stls => {
                say(out, self.language, Text::BeginTls, &[]);
                Done::Go(Next::Upgrade(Upgrade::Tls))
            }
            Command::Utf8 => self.answer(Text::Utf8On, &[], out),
            Command::Apop => self.error(Text::ApopNot, out),
            Command::User(_) | Command::Pass(_) | Command::Auth(_) if !cx.peer.tls => {
                self.error(Text::TlsFirst, out)
            }
            // Who exists is not told here.
            Command::User(name) => match std::str::from_utf8(name) {
                Ok(name) => {
                    self.name = Some(String::from(name));
                    self.answer(Text::SendPass, &[], out)
                }
                Err(_) => self.error(Text::BadAddress, out),
            },
            Command::Pass(password) => match self.name.take() {
                Some(name) => Done::Go(self.login.check(&name, password.to_vec(), cx)),
                None => self.error(Text::UserFirst, out),
            },
            Command::Auth(None) => {
                say(out, self.language, Text::Mechanisms, &[]);
                out.extend_from_slice(b"PLAIN\r\n.\r\n");
                Done::Next
            }
            Command::Auth(Some((mechanism, response))) if mechanism.eq_ignore_ascii_case(b"PLAIN") => {
                match response {
                    Some(response) => self.plain(line::initial_response(response).ok(), out, cx),
                    None => {
                        self.doing = Doing::Plain;
                        out.extend_from_slice(b"+ \r\n");
                        Done::Next
                    }
                }
            }
            Command::Auth(Some(_)) => self.error(Text::MechanismUnknown, out),
            _ => self.error(Text::NotNow, out),
        }
    }

    fn plain(&mut self, message: Option<Vec<u8>>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        match message.map(|message| self.login.check_plain(message, cx)) {
            Some(Ok(next)) => Done::Go(next),
            _ => self.error(Text::NotBase64, out),
        }
    }

    fn checked(&mut self, answer: &SecretAnswer, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match self.login.answer(answer, cx) {
            Ok(user) => match Maildrop::open(user, cx) {
                Ok(maildrop) => {
                    say(&mut io.out, self.language, Text::Maildrop, &maildrop.total());
                    self.maildrop = Some(Box::new(maildrop));
                }
                Err(text) => self.say(io, text),
            },
            Err(Refused::Busy) => self.say(io, Text::LoginBusy),
            Err(refused) => {
                self.doing = Doing::Refusing { last: refused == Refused::Last };
                return self.login.delay();
            }
        }
        self.commands(io, cx)
    }

    /// Commands after login.
    fn transaction(
        &mut self,
        command: Command<'_>,
        maildrop: &mut Maildrop,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Done {
        match command {
            Command::Stat => {
                let [count, octets] = maildrop.total();
                let _ = write!(out, "+OK {count} {octets}\r\n");
                Done::Next
            }
            Command::List(None) => {
                say(out, self.language, Text::MessageList, &maildrop.total());
                self.list_of(maildrop, 1, false, out, cx)
            }
            Command::Uidl(None) => {
                say(out, self.language, Text::UidList, &[]);
                self.list_of(maildrop, 1, true, out, cx)
            }
            Command::List(Some(number)) => self.describe(maildrop, number, false, out, cx),
            Command::Uidl(Some(number)) => self.describe(maildrop, number, true, out, cx),
            Command::Retr(number) => self.start(maildrop, number, None, out, cx),
            Command::Top(number, lines) => self.start(maildrop, number, Some(Top::new(lines)), out, cx),
            Command::Dele(number) => match maildrop.delete(number, cx) {
                Ok(()) => self.answer(Text::Deleted, &[number.into()], out),
                Err(text) => self.no(text, number, out),
            },
            Command::Noop => self.answer(Text::Nothing, &[], out),
            Command::Rset => {
                maildrop.reset();
                self.answer(Text::Maildrop, &maildrop.total(), out)
            }
            _ => self.error(Text::NotNow, out),
        }
    }

    /// No to a message number. A number that never was is the client's error; the rest is nobody's.
    fn no(&mut self, text: Text, number: u32, out: &mut Vec<u8>) -> Done {
        match text {
            Text::NoSuchMessage => self.error(text, out),
            text => self.answer(text, &[number.into()], out),
        }
    }

    fn describe(
        &mut self,
        maildrop: &Maildrop,
        number: u32,
        uidl: bool,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Done {
        match maildrop.message(number, cx) {
            Ok(entry) => {
                out.extend_from_slice(b"+OK ");
                maildrop.describe(&entry, uidl, out);
                Done::Next
            }
            Err(text) => self.no(text, number, out),
        }
    }

    fn list(&mut self, next: u32, uidl: bool, io: &mut Io, cx: &mut Context<'_>) -> Done {
        let Some(maildrop) = self.maildrop.take() else { return Done::Go(Next::Close) };
        let done = self.list_of(&maildrop, next, uidl, &mut io.out, cx);
        self.maildrop = Some(maildrop);
        done
    }

    fn list_of(
        &mut self,
        maildrop: &Maildrop,
        from: u32,
        uidl: bool,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Done {
        let next = maildrop.list(from, uidl, OUT_BYTES, out, cx);
        if next <= maildrop.last() {
            self.doing = Doing::Listing { next, uidl };
            return Done::Go(Next::Send);
        }
        out.extend_from_slice(b".\r\n");
        Done::Next
    }

    /// QUIT: the UPDATE state after login (RFC 1939 §6). The gate holds the answer back until the removal is durable.
    fn quit(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Done {
        let (text, left) = match self.maildrop.take() {
            None => (Text::Bye, 0),
            Some(maildrop) => match (maildrop.update(cx), maildrop.total()) {
                (Err(_), _) => (Text::NotRemoved, 0),
                (Ok(()), [0, _]) => (Text::ByeEmpty, 0),
                (Ok(()), [left, _]) => (Text::ByeMessages, left),
            },
        };
        say(out, self.language, text, &[left]);
        Done::Go(Next::Close)
    }
}

#[cfg(test)]
mod tests;
