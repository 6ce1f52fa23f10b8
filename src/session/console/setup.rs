//! `setup`: a few questions instead of commands, for who sees this console for the first time. The first is in which language the others
//! are asked. Mail for the postmaster needs none: it comes into a domain's first mailbox.
//!
//! An empty answer takes what stands in brackets; that always works, also when it has all been answered before: then the mailbox that is
//! there stays as it is, and what would be asked of a new one is not asked. A wrong answer is told and asked for again; in a script it
//! ends the script. Nothing is changed before the last question is answered. It refuses to know anything that the commands do not: they
//! do what it has been told.

use super::command::Pending;
use super::line::Kind;
use super::manner::Manner;
use super::table::{Act, Call, Failure, Row};
use super::text::{Fixed, Text, both, text};
use super::words::{address, class, domain};
use super::{Console, Waiting, settings};
use crate::session::{Context, Io, Next, SecretJob};
use crate::store::{Settings, StoreError};
use crate::types::{Class, Language};

/// A question.
struct Question {
    text: Fixed,
    /// What an empty answer means, given the answers before.
    default: fn(&[String], &mut Call<'_, '_>) -> String,
    /// The answer as it is kept.
    check: fn(&str, &[String], &mut Call<'_, '_>) -> Result<String, Failure>,
}

/// All of them. All answers but the last are the arguments of [`set`].
static QUESTIONS: [Question; 5] = [
    Question {
        text: both("Which language, en or de?", "Welche Sprache, en oder de?"),
        default: |_, call| String::from(call.cx.store().settings().language.tag()),
        check: |word, _, call| {
            let Some(language) = Language::parse(word) else {
                return Err(Failure::Refused(text!(
                    "`{word}` is not a language: en or de",
                    "`{word}` ist keine Sprache: en oder de"
                )));
            };
            // The questions after this one are asked in it.
            call.language = language;
            Ok(String::from(language.tag()))
        },
    },
    Question {
        text: both("Which domain shall get mail here?", "Welche Domain soll hier Nachrichten bekommen?"),
        default: |_, call| {
            let first = call.cx.store().settings().domains.first().cloned();
            // A name that nobody else has, for a box without a domain of its own (RFC 8375).
            first.unwrap_or_else(|| String::from("office.home.arpa"))
        },
        check: |word, _, _| domain(word),
    },
    Question {
        text: both("The name of the first mailbox?", "Wie heißt das erste Postfach?"),
        default: |answers, call| {
            let (suffix, language) = (at_domain(answers), call.language);
            let mut store = call.store();
            let Settings { addresses, aliases, .. } = store.settings();
            let there = addresses.iter().filter(|(address, _)| address.ends_with(&suffix));
            if let Some((first, _)) = there.min_by_key(|(_, account)| **account) {
                return String::from(first.strip_suffix(&suffix).unwrap_or(first));
            }
            // An alias may have the name already.
            let names = [both("office", "buero"), both("post", "post"), both("inbox", "eingang")];
            let mut names = names.iter().map(|name| name.of(language));
            let free = names.find(|name| !aliases.contains_key(&format!("{name}{suffix}")));
            String::from(free.unwrap_or("office"))
        },
        check: |word, answers, call| {
            let suffix = at_domain(answers);
            let name = word.strip_suffix(&suffix).unwrap_or(word);
            let address = address(&format!("{name}{suffix}"))?;
            if is_there(&address, call) {
                return Ok(address);
            }
            settings::is_new(&address, call).map(|()| address)
        },
    },
    Question {
        text: both("Its size, S, M, L or XL?", "Wie groß, S, M, L oder XL?"),
        default: |_, call| {
            let fits = call.store().class_that_fits(None).unwrap_or(Class::M);
            String::from(fits.min(Class::M).name())
        },
        check: |word, answers, call| {
            let (class, address) = (class(word)?, answers.last().map(String::as_str).unwrap_or_default());
            settings::fits(address, class, None, "mailbox add", call).map(|()| String::from(class.name()))
        },
    },
    Question {
        text: both("Shall a password be made up for it?", "Soll ein Passwort dafür erzeugt werden?"),
        default: |_, call| String::from(yes(call.language)),
        check: |word, _, _| yes_or_no(word),
    },
];

/// What the addresses of the answered domain end with.
fn at_domain(answers: &[String]) -> String {
    format!("@{}", answers.get(1).map(String::as_str).unwrap_or_default())
}

/// Whether it is a mailbox.
fn is_there(address: &str, call: &mut Call<'_, '_>) -> bool {
    call.store().settings().addresses.contains_key(address)
}

/// The answer that is kept for yes.
const YES: &str = "yes";

fn yes(language: Language) -> &'static str {
    match language {
        Language::English => YES,
        Language::German => "ja",
    }
}

fn yes_or_no(word: &str) -> Result<String, Failure> {
    match word.to_ascii_lowercase().as_str() {
        YES | "y" | "ja" | "j" => Ok(String::from(YES)),
        "no" | "n" | "nein" => Ok(String::from("no")),
        _ => {
            Err(Failure::Refused(text!("`{word}` is neither yes nor no", "`{word}` ist weder ja noch nein")))
        }
    }
}

/// Why nothing is done with some answers only.
pub fn unanswered() -> Text {
    text!("not all questions were answered", "nicht alle Fragen wurden beantwortet")
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
            let why = text!(
                "it asks questions: type it at the console's prompt",
                "es stellt Fragen: Geben Sie es in der Konsole ein"
            );
            return self.fail(io, cx, "setup", &why);
        }
        if let [_, _, address] = &answers[..]
            && is_there(address, &mut self.call(cx, &mut String::new()))
        {
            self.pending = Some(Pending { row, arguments: answers });
            return self.set(String::new(), None, io, cx);
        }
        let Some(question) = QUESTIONS.get(answers.len()) else {
            return self.answered(row, answers, io);
        };
        let mut prompt = Text::default();
        if self.manner == Manner::Terminal {
            let default = (question.default)(&answers, &mut self.call(cx, &mut String::new()));
            prompt = Text::from(question.text).and(text!(" [{default}]: ", " [{default}]: "));
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
        let checked = (question.check)(&word, &answers, &mut call);
        self.language = call.language;
        match checked {
            Ok(answer) => answers.push(answer),
            Err(Failure::Refused(why) | Failure::Usage(why)) if self.manner == Manner::Terminal => {
                self.tell(io, &why.and(text!("\n", "\n")));
            }
            Err(Failure::Refused(why) | Failure::Usage(why)) => return self.fail(io, cx, "setup", &why),
        }
        self.ask(row, answers, io, cx)
    }

    fn answered(&mut self, row: &'static Row, mut answers: Vec<String>, io: &mut Io) -> Next {
        let generate = answers.pop().is_some_and(|answer| answer == YES);
        self.pending = Some(Pending { row, arguments: answers });
        if !generate {
            return self.ask_password(io, None);
        }
        self.waiting = Waiting::Secret { login: false };
        Next::Secret(SecretJob::Generate)
    }
}

/// Does what the answers say, with the hash of the mailbox's password.
pub fn set(answers: &[&str], phc: String, call: &mut Call<'_, '_>) -> Result<(), Failure> {
    let [language, domain, mailbox, ref size @ ..] = *answers else {
        return Err(Failure::Refused(unanswered()));
    };
    let language = Language::parse(language).unwrap_or_default();
    let before = call.store().settings().language;
    if language != before {
        let chosen = call.store().language_set(language);
        chosen.map_err(|error| Failure::Refused(settings::refused(error)))?;
    }
    let added = call.store().domain_add(domain);
    match added {
        Ok(()) | Err(StoreError::Exists) => {}
        Err(error) => return Err(Failure::Refused(settings::refused(error))),
    }
    match *size {
        [size] => settings::mailbox_add(&[mailbox, "size", size], phc, call)?,
        _ => call.say(&text!(
            "The mailbox {mailbox} is there, and stays as it is.",
            "Das Postfach {mailbox} gibt es, und es bleibt, wie es ist."
        )),
    }
    call.say(&text!("Next: show client {mailbox}", "Weiter: show client {mailbox}"));
    Ok(())
}

/// The act of `setup`.
pub const ACT: Act = Act::Ask { set };
