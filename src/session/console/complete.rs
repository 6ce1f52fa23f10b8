//! Tab and `?`: what may come next at the cursor, from the table's words and usages and from what the store knows.
//!
//! It refuses to be a second place that knows a command: a row of the table is enough. A pasted script must mean what it means in a
//! file. So Tab behind a word that it knows nothing about is the white space that it looks like, and at the start of a word it puts
//! nothing in; and `?` is a letter in a comment and inside a word of the owner's, whose addresses may have one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::grammar::{Following, following};
use super::table::Row;
use super::text::text;
use super::{Console, help, words};
use crate::limits::CONSOLE_CHOICES_MAX;
use crate::session::{Context, Io, Next};
use crate::types::Language;

/// What may come next.
struct Choices {
    /// The begun word, as typed; empty at the start of a word.
    part: String,
    /// Words that go on from the begun one.
    words: BTreeSet<String>,
    /// It is the first word.
    first: bool,
    /// Commands that these may become, while their own words are not all there.
    rows: Vec<&'static Row>,
    /// The command, once its words are all there, and what may follow.
    row: Option<(&'static Row, Following)>,
}

impl Choices {
    fn at(before: &str, cx: &mut Context<'_>) -> Choices {
        let mut typed: Vec<&str> = before.split_whitespace().collect();
        let part = match before.chars().next_back() {
            Some(last) if !last.is_whitespace() => typed.pop().unwrap_or_default(),
            _ => "",
        };
        let mut choices = Choices {
            part: String::from(part),
            words: BTreeSet::new(),
            first: typed.is_empty(),
            rows: Vec::new(),
            row: None,
        };
        for row in words::matching(&typed) {
            match typed.split_at_checked(row.words.len()) {
                Some((_, arguments)) => choices.argument(row, arguments, cx),
                None => {
                    let next = row.words.get(typed.len()).copied().unwrap_or_default();
                    if begins(next, part) {
                        choices.rows.push(row);
                        choices.words.insert(String::from(next));
                    }
                }
            }
        }
        choices
    }

    fn argument(&mut self, row: &'static Row, arguments: &[&str], cx: &mut Context<'_>) {
        let found = following(row.arguments, arguments);
        let literals = found.literals.iter().map(|word| String::from(*word));
        // What is to be added is not there yet.
        let new = arguments.is_empty() && row.words.last() == Some(&"add");
        let known = found.places.iter().flat_map(|place| values(place, new, arguments, &self.part, cx));
        let part = self.part.as_str();
        self.words = literals.chain(known).filter(|word| begins(word, part)).collect();
        self.row = Some((row, found));
    }

    /// What all the words have in common beyond the begun one.
    fn common(&self) -> String {
        let mut words = self.words.iter().filter_map(|word| word.get(self.part.len()..));
        let mut common = String::from(words.next().unwrap_or_default());
        for word in words {
            let same = common.chars().zip(word.chars()).take_while(|(left, right)| left == right);
            let length = same.map(|(letter, _)| letter.len_utf8()).sum();
            common.truncate(length);
        }
        common
    }
}

fn begins(word: &str, part: &str) -> bool {
    word.get(..part.len()).is_some_and(|start| start.eq_ignore_ascii_case(part))
}

/// What the store knows for a word in capitals.
fn values(place: &str, new: bool, before: &[&str], part: &str, cx: &mut Context<'_>) -> Vec<String> {
    let mut store = cx.store();
    let settings = store.settings();
    match place {
        "DOMAIN" if !new => settings.domains.clone(),
        "ADDRESS" if !new => settings.addresses.keys().cloned().collect(),
        "ALIAS" if !new => settings.aliases.keys().cloned().collect(),
        // A new address is in one of the domains.
        "ADDRESS" | "ALIAS" => match part.split_once('@') {
            Some((name, _)) => settings.domains.iter().map(|domain| format!("{name}@{domain}")).collect(),
            None => Vec::new(),
        },
        "COMMAND" => {
            let next = |row: &&'static Row| row.words.get(before.len()).map(|word| String::from(*word));
            words::matching(before).iter().filter_map(next).collect()
        }
        _ => Vec::new(),
    }
}

impl Console {
    /// Tab.
    pub(super) fn complete(&mut self, again: bool, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let Some(typed) = self.editor.typed() else { return self.read() };
        let before = String::from(typed.before());
        let choices = Choices::at(&before, cx);
        let comment = before.trim_start().starts_with('#');
        let (common, started) = (choices.common(), !choices.part.is_empty());
        let put = match choices.words.len() {
            _ if comment => String::from(" "),
            1 if started => common + " ",
            0 if started && choices.row.is_some() => String::from(" "),
            // A whole word, which others go on from.
            _ if started && common.is_empty() && choices.words.contains(&choices.part) => String::from(" "),
            _ if started => common,
            _ => String::new(),
        };
        if put.is_empty() && again && choices.words.len() > 1 {
            self.show_choices(&list(&choices.words, self.language), io);
        } else if put.is_empty() {
            io.out.push(0x07);
        }
        if let Some(typed) = self.editor.typed() {
            put.chars().for_each(|letter| {
                // What has no room cannot be completed.
                let _full = typed.insert(letter, &mut io.out);
            });
            typed.settle(&mut io.out);
        }
        self.read()
    }

    /// `?`
    pub(super) fn question(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let Some(typed) = self.editor.typed() else { return self.read() };
        let before = String::from(typed.before());
        let choices = Choices::at(&before, cx);
        let of_the_owner = choices.row.is_some() && !choices.part.is_empty();
        if of_the_owner || before.trim_start().starts_with('#') {
            typed.insert('?', &mut io.out);
            typed.settle(&mut io.out);
            return self.read();
        }
        io.out.push(b'?');
        self.asked = Some(String::from(typed.text()));
        self.show_choices(&explained(&choices, self.language), io);
        self.read()
    }

    /// Says it below the line that is being typed, and shows that again.
    fn show_choices(&mut self, text: &str, io: &mut Io) {
        self.say(io, "\n");
        self.say(io, text);
        if let Some(typed) = self.editor.typed() {
            typed.redraw(&mut io.out);
        }
    }

    /// Whether this line is not a whole command, and was asked about when the last key came: who types Enter after `?` wants no error.
    pub(super) fn was_asked(&mut self, line: &str, cx: &mut Context<'_>) -> bool {
        let asked = self.asked.take().is_some_and(|asked| asked == line);
        asked && !Choices::at(&format!("{line} "), cx).row.is_some_and(|(_, found)| found.done)
    }
}

/// Words beside each other, in as many columns as fit.
fn list(words: &BTreeSet<String>, language: Language) -> String {
    let shown: Vec<&str> = words.iter().take(CONSOLE_CHOICES_MAX).map(String::as_str).collect();
    let width = shown.iter().map(|word| word.chars().count()).max().unwrap_or_default() + 2;
    let columns = (help::WIDTH / width).max(1);
    let mut out = String::new();
    for row in shown.chunks(columns) {
        let row: String = row.iter().map(|word| format!("{word:width$}")).collect();
        // A String takes whatever is written to it.
        let _ = writeln!(out, "{}", row.trim_end());
    }
    if words.len() > shown.len() {
        let more = text!("... and {} more", "... und {} weitere", words.len() - shown.len());
        let _ = writeln!(out, "{}", more.of(language));
    }
    out
}

/// What `?` says.
fn explained(choices: &Choices, language: Language) -> String {
    let mut out = String::new();
    let Some((row, found)) = &choices.row else {
        if choices.rows.is_empty() {
            let none = text!(
                "No command begins like this; `help` lists them all.\n",
                "So beginnt kein Befehl; `help` zeigt alle.\n"
            );
            out.push_str(none.of(language));
        } else if choices.first {
            overview(&choices.rows, language, &mut out);
        } else {
            for row in &choices.rows {
                help::explain(&row.usage(), row.help.of(language), &mut out);
            }
        }
        return out;
    };
    help::explain(&row.usage(), row.help.of(language), &mut out);
    let mut next: Vec<&str> = found.places.iter().chain(&found.literals).copied().collect();
    next.extend(found.done.then_some("Enter"));
    let next = match next.is_empty() {
        true => text!("Next: nothing fits here.\n", "Weiter: Hier passt nichts.\n"),
        false => text!("Next: {0}\n", "Weiter: {0}\n", next.join(", ")),
    };
    out.push_str(next.of(language));
    let known = choices.words.iter().filter(|word| !found.literals.contains(&word.as_str())).cloned();
    out.push_str(&list(&known.collect(), language));
    out
}

/// The first words of the commands, with what they do or what comes after them.
fn overview(rows: &[&'static Row], language: Language, out: &mut String) {
    let mut shown = BTreeSet::new();
    for row in rows {
        let first = row.words.first().copied().unwrap_or_default();
        let same = rows.iter().filter(|row| row.words.first() == Some(&first));
        let seconds: Vec<&str> = same.filter_map(|row| row.words.get(1).copied()).collect();
        if !shown.insert(first) {
        } else if seconds.is_empty() {
            help::explain(first, row.help.of(language), out);
        } else {
            help::explain(first, &seconds.join(", "), out);
        }
    }
}
