//! `setup`: a few questions instead of commands, for who sees this console for the first time. Mail for the postmaster needs none: it
//! comes into a domain's first mailbox.
//!
//! An empty answer takes what stands in brackets. A wrong answer is told and asked for again; in a script it ends the script. Nothing is
//! changed before the last question is answered. It refuses to know anything that the commands do not: they do what it has been told.

use super::command::Pending;
use super::line::Kind;
use super::manner::Manner;
use super::table::{Act, Call, Failure, Row};
use super::words::{address, class, domain};
use super::{Console, Waiting, settings};
use crate::session::{Context, Io, Next, SecretJob};
use crate::store::StoreError;

/// A question.
struct Question {
    text: &'static str,
    /// What an empty answer means, given the answers before.
    default: fn(&[String], &mut Call<'_, '_>) -> String,
    /// The answer as it is kept.
    check: fn(&str, &[String], &mut Call<'_, '_>) -> Result<String, Failure>,
}

/// All of them. The first three answers are the arguments of [`set`].
static QUESTIONS: [Question; 4] = [
    Question {
        text: "Which domain shall get mail here?",
        default: |_, call| {
            let first = call.cx.store().settings().domains.first().cloned();
            // A name that nobody else has, for a box without a domain of its own (RFC 8375).
            first.unwrap_or_else(|| String::from("office.home.arpa"))
        },
        check: |word, _, _| domain(word),
    },
    Question {
        text: "The name of the first mailbox?",
        default: |_, _| String::from("office"),
        check: |word, answers, call| {
            let domain = answers.first().map(String::as_str).unwrap_or_default();
            let name = word.strip_suffix(&format!("@{domain}")).unwrap_or(word);
            let address = address(&format!("{name}@{domain}"))?;
            settings::is_new(&address, call).map(|()| address)
        },
    },
    Question {
        text: "Its size, S, M, L or XL?",
        default: |_, _| String::from("M"),
        check: |word, answers, call| {
            let (class, address) = (class(word)?, answers.last().map(String::as_str).unwrap_or_default());
            settings::fits(address, class, 0, "mailbox add", call).map(|()| String::from(class.name()))
        },
    },
    Question {
        text: "Shall a password be made up for it?",
        default: |_, _| yes_if(true),
        check: |word, _, _| yes_or_no(word),
    },
];

fn yes_if(yes: bool) -> String {
    String::from(if yes { "yes" } else { "no" })
}

fn yes_or_no(word: &str) -> Result<String, Failure> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "y" | "ja" | "j" => Ok(yes_if(true)),
        "no" | "n" | "nein" => Ok(yes_if(false)),
        _ => Err(Failure::Refused(format!("`{word}` is neither yes nor no"))),
    }
}

impl Console {
    /// Asks the next question; after the last one, for the password.
    pub(super) fn ask(
        &mut self,
        row: &'static Row,
        answers: Vec<String>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        if matches!(self.manner, Manner::Command { .. }) {
            return self.fail(io, cx, "setup", "it asks questions: type it at the console's prompt");
        }
        let Some(question) = QUESTIONS.get(answers.len()) else {
            return self.answered(row, answers, io);
        };
        let mut prompt = String::new();
        if self.manner == Manner::Terminal {
            let default = (question.default)(&answers, &mut self.call(cx, &mut String::new()));
            prompt = format!("{} [{default}]: ", question.text);
        }
        self.waiting = Waiting::Question { row, answers };
        self.want(io, Kind::Answer, &prompt)
    }

    /// A question has been answered.
    pub(super) fn take_answer(
        &mut self,
        line: &[u8],
        row: &'static Row,
        mut answers: Vec<String>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(question) = QUESTIONS.get(answers.len()) else { return self.answered(row, answers, io) };
        let typed = String::from_utf8_lossy(line);
        let mut out = String::new();
        let mut call = self.call(cx, &mut out);
        let word = match typed.trim() {
            "" => (question.default)(&answers, &mut call),
            word => String::from(word),
        };
        match (question.check)(&word, &answers, &mut call) {
            Ok(answer) => answers.push(answer),
            Err(Failure::Refused(why) | Failure::Usage(why)) if self.manner == Manner::Terminal => {
                self.say(io, &format!("{why}\n"));
            }
            Err(Failure::Refused(why) | Failure::Usage(why)) => return self.fail(io, cx, "setup", &why),
        }
        self.ask(row, answers, io, cx)
    }

    fn answered(&mut self, row: &'static Row, mut answers: Vec<String>, io: &mut Io) -> Next {
        let generate = answers.pop().is_some_and(|answer| answer == "yes");
        self.pending = Some(Pending { row, arguments: answers });
        if !generate {
            return self.ask_password(io, None);
        }
        self.waiting = Waiting::Secret { login: false };
        Next::Secret(SecretJob::Generate)
    }

    fn call<'a, 'b>(&'a self, cx: &'a mut Context<'b>, out: &'a mut String) -> Call<'a, 'b> {
        Call { cx, out, facts: &self.facts }
    }
}

/// Does what the answers say, with the hash of the mailbox's password.
pub fn set(answers: &[&str], phc: String, call: &mut Call<'_, '_>) -> Result<(), Failure> {
    let [domain, mailbox, size] = *answers else {
        return Err(Failure::Refused(String::from("not all questions were answered")));
    };
    let added = call.cx.store().domain_add(domain);
    match added {
        Ok(()) | Err(StoreError::Exists) => {}
        Err(error) => return Err(Failure::Refused(settings::refused(error))),
    }
    settings::mailbox_add(&[mailbox, "size", size], phc, call)?;
    call.out.push_str(&format!("Next: show client {mailbox}\n"));
    Ok(())
}

/// The act of `setup`.
pub const ACT: Act = Act::Ask { set };
