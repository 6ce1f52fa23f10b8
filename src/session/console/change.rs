//! What commands do beyond a line and its answer: changes that hold as a whole or are on trial, jobs of serve's, texts of several lines.
//!
//! A command's changes are a draft (`store::history`) until it has done all; here the draft becomes a change, or goes on trial. A change of
//! the network or the certificate, typed by a person where it is in force at once, is on trial: it goes back by itself unless it is kept.
//! In a list of commands, and in `load`, nobody would keep it: there it is kept at once.

use super::line::{END, Kind};
use super::manner::Manner;
use super::say::{misused, refuse};
use super::table::{Act, Call, Failure, First, Row};
use super::text::{Text, both, text};
use super::words::{self, Secret};
use super::{Console, Mode, Waiting, settings};
use crate::limits::{LOAD_BYTES_MAX, LOAD_ERRORS_TOLD, LOAD_LINES_MAX, TRIAL_SECONDS};
use crate::session::{Context, Io, Job, JobAnswer, Next};
use crate::store::{Draft, Note};

/// Commands after which the administrator's password may be another one, by whoever has typed them.
const MAY_CHANGE_ADMIN: [&str; 4] = ["admin", "load", "undo", "rollback"];

/// A command that waits for serve.
pub(super) struct UnderWay {
    row: &'static Row,
    arguments: Vec<String>,
    /// What is to be said when it is done.
    out: String,
    /// What it has changed is on trial.
    trial: bool,
}

/// The lines of a text, up to `end`.
pub(super) struct Lines {
    row: &'static Row,
    arguments: Vec<String>,
    bytes: Vec<u8>,
    count: usize,
    /// Why it will not be taken. It is read to its end all the same: its lines are not commands.
    refused: Option<Text>,
}

impl Console {
    /// What a command works with.
    pub(super) fn call<'a, 'b>(&'a mut self, cx: &'a mut Context<'b>, out: &'a mut String) -> Call<'a, 'b> {
        let listed = matches!(self.manner, Manner::Script | Manner::Whole);
        Call { cx, out, language: self.language, facts: &self.facts, draft: &mut self.draft, listed }
    }

    /// A command has changed settings: now they are changed, or tried out.
    pub(super) fn change(
        &mut self,
        row: &'static Row,
        name: &str,
        draft: Draft,
        out: &str,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let machine = self.facts.machine.is_some() && (row.words[0] != "network" || self.facts.is_box());
        if draft.is_risky() && machine && self.manner.asks() && !matches!(row.act, Act::Load) {
            let tried = cx.store().try_out(draft, String::from(name));
            if tried.is_err() {
                let why = text!(
                    "another change is on trial: `keep` keeps it, `undo` takes it back",
                    "eine andere Änderung ist auf Probe: `keep` behält sie, `undo` nimmt sie zurück"
                );
                return self.fail(io, cx, name, &why);
            }
            self.waiting =
                Waiting::Job(UnderWay { row, arguments: Vec::new(), out: String::from(out), trial: true });
            return Next::Job(Job::Settle);
        }
        let note = Note { time: cx.now, command: String::from(name) };
        let adopted = cx.store().adopt(draft, note);
        if let Err(error) = adopted {
            return self.fail(io, cx, name, &settings::refused(error));
        }
        log::info!("console: {name}");
        self.remember_admin(row, cx);
        self.say(io, out);
        self.after(io)
    }

    /// Who has changed the administrator's password stays logged in.
    pub(super) fn remember_admin(&mut self, row: &Row, cx: &mut Context<'_>) {
        if self.mode == Mode::Serial && self.admin.is_some() && MAY_CHANGE_ADMIN.contains(&row.words[0]) {
            self.admin.clone_from(&cx.store().settings().admin);
        }
    }

    /// Begins a command of which serve does a part, or that has a text.
    pub(super) fn begin(
        &mut self,
        row: &'static Row,
        arguments: &[&str],
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let words = || arguments.iter().map(|word| String::from(*word)).collect();
        match &row.act {
            Act::Load if !arguments.is_empty() => {
                let failure = misused(both(
                    "the settings follow on lines of their own",
                    "die Einstellungen folgen in eigenen Zeilen",
                ));
                self.result(row, &words::shown(row, arguments), Err(failure), "", io, cx)
            }
            Act::Load | Act::Job { first: First::Text, .. } => {
                let lines = Lines { row, arguments: words(), bytes: Vec::new(), count: 0, refused: None };
                if self.manner.asks() {
                    let how = both(
                        "Paste the lines now; a line `end` ends them.",
                        "Fügen Sie die Zeilen jetzt ein; eine Zeile `end` beendet sie.",
                    );
                    let hidden = match lines.kind(self.typed) {
                        Kind::Hidden => both(" They are not shown.\n", " Sie werden nicht angezeigt.\n"),
                        _ => both("\n", "\n"),
                    };
                    self.tell(io, &Text::from(how).and(hidden));
                }
                self.next_line(lines, io)
            }
            Act::Job { first: First::HostName, .. } if self.manner.asks() => {
                let host = self.call(cx, &mut String::new()).host();
                let ask = text!(
                    "Type the machine's name to confirm ({host}): ",
                    "Geben Sie zur Bestätigung den Namen des Geräts ein ({host}): "
                );
                self.waiting = Waiting::HostName { row, arguments: words() };
                self.want(io, Kind::Answer, &ask)
            }
            _ => self.job(row, words(), Vec::new(), io, cx),
        }
    }

    /// The machine's name has been typed, or something else.
    pub(super) fn confirm(
        &mut self,
        line: &[u8],
        row: &'static Row,
        arguments: Vec<String>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let host = self.call(cx, &mut String::new()).host();
        if String::from_utf8_lossy(line).trim().eq_ignore_ascii_case(&host) {
            return self.job(row, arguments, Vec::new(), io, cx);
        }
        let name = words::shown(row, &arguments);
        let why = text!(
            "that is not the machine's name: nothing has been done",
            "das ist nicht der Name des Geräts: Nichts wurde getan"
        );
        self.fail(io, cx, &name, &why)
    }

    fn job(
        &mut self,
        row: &'static Row,
        arguments: Vec<String>,
        text: Vec<u8>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let Act::Job { ask, .. } = &row.act else { return self.after(io) };
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut out = String::new();
        match ask(&words, text, &mut self.call(cx, &mut out)) {
            Ok(job) => {
                self.waiting = Waiting::Job(UnderWay { row, arguments, out, trial: false });
                Next::Job(job)
            }
            Err(failure) => self.result(row, &words::shown(row, &words), Err(failure), "", io, cx),
        }
    }

    /// serve has done what the command needs.
    pub(super) fn job_done(&mut self, answer: JobAnswer, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let Waiting::Job(UnderWay { row, arguments, mut out, trial }) =
            std::mem::replace(&mut self.waiting, Waiting::End)
        else {
            return self.close();
        };
        let Act::Job { tell, .. } = &row.act else {
            return self.tried(row, &out, io, cx);
        };
        if trial {
            return self.tried(row, &out, io, cx);
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let result = tell(&words, answer, &mut self.call(cx, &mut out));
        self.result(row, &words::shown(row, &words), result, &out, io, cx)
    }

    fn tried(&mut self, row: &'static Row, out: &str, io: &mut Io, _: &mut Context<'_>) -> Next {
        log::info!("console: on trial: {}", row.words.join(" "));
        self.say(io, out);
        let seconds = self.facts.machine.as_ref().and_then(|machine| machine.trial_seconds());
        let seconds = seconds.unwrap_or(u64::from(TRIAL_SECONDS));
        self.tell(
            io,
            &text!(
                "It is in force now. It goes back in {seconds} s, unless you type: keep\n",
                "Es gilt jetzt. In {seconds} Sek. wird es zurückgenommen, außer Sie geben ein: keep\n"
            ),
        );
        self.after(io)
    }

    /// Waits for the next line of a text.
    fn next_line(&mut self, lines: Lines, io: &mut Io) -> Next {
        let kind = lines.kind(self.typed);
        self.waiting = Waiting::Lines(lines);
        self.want(io, kind, &both("", ""))
    }

    /// A line of a text, or why it could not be taken.
    pub(super) fn text_line(
        &mut self,
        line: Result<&[u8], &Text>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Next {
        let Waiting::Lines(mut lines) = std::mem::replace(&mut self.waiting, Waiting::End) else {
            return self.close();
        };
        match line {
            Ok(line) if line.trim_ascii().eq_ignore_ascii_case(END) => {
                return self.text_end(lines, io, cx);
            }
            Ok(line) if lines.bytes.len() + line.len() < LOAD_BYTES_MAX && lines.count < LOAD_LINES_MAX => {
                lines.bytes.extend_from_slice(line);
            }
            Ok(_) => {
                lines.refused = Some(text!(
                    "there are more than {LOAD_LINES_MAX} lines, or {LOAD_BYTES_MAX} bytes",
                    "es sind mehr als {LOAD_LINES_MAX} Zeilen oder {LOAD_BYTES_MAX} Bytes"
                ));
            }
            Err(why) => {
                let number = lines.count + 1;
                lines.refused = Some(text!("line {number}: ", "Zeile {number}: ").and(why.clone()));
            }
        }
        lines.bytes.push(b'\n');
        lines.count += 1;
        if lines.refused.is_some() {
            lines.bytes = Vec::new();
        }
        self.next_line(lines, io)
    }

    fn text_end(&mut self, lines: Lines, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let Lines { row, arguments, bytes, refused, .. } = lines;
        if let Some(why) = refused {
            let name = words::shown(row, &arguments);
            let nothing = text!("; nothing has been changed", "; nichts wurde geändert");
            return self.fail(io, cx, &name, &why.and(nothing));
        }
        match &row.act {
            Act::Load => self.load(row, &bytes, io, cx),
            _ => self.job(row, arguments, bytes, io, cx),
        }
    }

    /// `load`: all lines are checked, and then all are carried out or none.
    fn load(&mut self, row: &'static Row, text: &[u8], io: &mut Io, cx: &mut Context<'_>) -> Next {
        let (mut done, mut wrong, before) = (0, 0, self.language);
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let mut said = String::new();
            let mut call = self.call(cx, &mut said);
            let loaded = load_line(line, &mut call);
            // What follows `language` is told in that one.
            self.language = call.language;
            match loaded {
                Ok(counts) => done += u32::from(counts),
                Err(why) => {
                    wrong += 1;
                    if wrong <= LOAD_ERRORS_TOLD {
                        let line = text!("line {number}: ", "Zeile {number}: ");
                        self.tell(io, &line.and(why).and(both("\n", "\n")));
                    }
                }
            }
        }
        let draft = self.draft.take();
        let language = std::mem::replace(&mut self.language, before);
        let why = match draft {
            _ if wrong > 0 => text!(
                "{wrong} of the lines are wrong, and nothing has been changed",
                "{wrong} der Zeilen sind falsch, und nichts wurde geändert"
            ),
            None => text!(
                "there is no setting in it, and nothing has been changed",
                "darin ist keine Einstellung, und nichts wurde geändert"
            ),
            Some(draft) => {
                let name = text!("load, {done} lines", "load, {done} Zeilen").of(self.language).to_owned();
                let made = text!("{done} settings are made.\n", "Übernommene Einstellungen: {done}.\n");
                if let Some(whole) = &mut self.whole {
                    self.language = language;
                    whole.hold(made.of(language));
                    self.draft = Some(draft);
                    return self.after(io);
                }
                return self.change(row, &name, draft, made.of(self.language), io, cx);
            }
        };
        self.language = language;
        let next = self.fail(io, cx, "load", &why);
        self.language = before;
        next
    }
}

impl Lines {
    /// What a terminal shows of them: a private key is not shown.
    fn kind(&self, typed: bool) -> Kind {
        if typed && !matches!(self.row.act, Act::Load) { Kind::Hidden } else { Kind::Answer }
    }
}

/// A line of `load`; whether it is a setting, and not empty.
fn load_line(line: &[u8], call: &mut Call<'_, '_>) -> Result<bool, Text> {
    let text =
        std::str::from_utf8(line).map_err(|_| text!("it is not UTF-8 text", "sie ist kein UTF-8-Text"))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.first().is_none_or(|word| word.starts_with('#')) {
        return Ok(false);
    }
    let (row, arguments) = words::find(&words)?;
    let named = |failure| {
        let why = match failure {
            Failure::Refused(why) => why,
            Failure::Usage(why) => why.and(text!("; it is: {}", "; richtig ist: {}", row.usage())),
        };
        let name = words::shown(row, arguments);
        text!("{name}: ", "{name}: ").and(why)
    };
    match &row.act {
        // `show config` prints it for who pastes line by line; here all is kept.
        _ if row.words == ["keep"] && arguments.is_empty() => return Ok(false),
        Act::Set(run) => run(arguments, call).map_err(named)?,
        Act::WithPassword { check, set } => match words::secret(arguments)? {
            (arguments, Secret::Hash(phc)) => {
                check(&arguments, call).map_err(named)?;
                set(&arguments, String::from(phc), call).map_err(named)?;
            }
            _ => {
                return Err(named(refuse(both(
                    "here its password is given as `hash`, as `show config` prints it",
                    "hier wird das Passwort als `hash` angegeben, wie `show config` es zeigt",
                ))));
            }
        },
        _ => {
            return Err(named(refuse(both(
                "it is no setting, and has no place between `load` and `end`",
                "das ist keine Einstellung und hat zwischen `load` und `end` keinen Platz",
            ))));
        }
    }
    Ok(true)
}
