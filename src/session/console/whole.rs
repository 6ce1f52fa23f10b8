//! A list of commands that holds as a whole: all of them are one change, made when the last one has been read, or none is.
//!
//! All commands of the list work on one draft, and see what those before them have done. What they say is held back until the change is
//! made. The first failing command ends the list, and so does whatever keeps the change from being made; only the first of them is the
//! list's own fault, and DONE follows it: the same list would fail again.

use super::table::Row;
use super::text::{Text, text};
use super::{Console, DONE, FAILED};
use crate::session::{Context, Io, Next};
use crate::store::{Note, StoreError};

/// Commands that have no place in such a list: they do something at once that cannot be taken back with the rest.
const AT_ONCE: [&str; 4] = ["undo", "rollback", "reboot", "poweroff"];

/// What the commands of the list have done so far; the draft is the console's.
#[derive(Default)]
pub(super) struct Whole {
    /// What they say.
    said: String,
    /// How many there were.
    count: u32,
}

impl Whole {
    /// A command has done what it should.
    pub(super) fn hold(&mut self, said: &str) {
        self.said.push_str(said);
        self.count += 1;
    }
}

/// Why this command cannot be one of the list.
pub(super) fn refused(row: &Row) -> Option<Text> {
    AT_ONCE.contains(&row.words[0]).then(|| {
        text!(
            "it is done at once, and has no place in a list that is carried out as a whole",
            "das geschieht sofort und hat in einer Liste, die als Ganzes ausgeführt wird, keinen Platz"
        )
    })
}

impl Console {
    /// The list has been read: its change is made.
    pub(super) fn finish(&mut self, whole: &Whole, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let (count, language) = (whole.count, self.language);
        if let Some(draft) = self.draft.take() {
            let command = text!("a list of commands: {count}", "eine Liste von Befehlen: {count}");
            let command = String::from(command.of(language));
            let note = Note { time: cx.now, command: command.clone() };
            let adopted = cx.store().adopt(draft, note);
            if let Err(error) = adopted {
                let again = !matches!(error, StoreError::Limit(_));
                return self.not_made(super::settings::refused(error), again, io);
            }
            log::info!("console: {command}");
        }
        self.say(io, &whole.said);
        self.mark(io, DONE);
        self.close()
    }

    /// The list's change cannot be made: perhaps another time.
    pub(super) fn not_made(&mut self, why: Text, again: bool, io: &mut Io) -> Next {
        self.mark(io, FAILED);
        self.tell(io, &why.and(text!("; nothing has been changed\n", "; nichts wurde geändert\n")));
        if !again {
            self.mark(io, DONE);
        }
        self.close()
    }

    /// A command has failed, and with it the list.
    pub(super) fn refuse_whole(&mut self, name: &str, why: &Text, io: &mut Io) -> Next {
        self.draft = None;
        let colon = if name.is_empty() { "" } else { ": " };
        self.mark(io, FAILED);
        self.tell(io, &text!("line {}: ", "Zeile {}: ", self.lines));
        self.say(io, &format!("{name}{colon}"));
        let nothing = text!(
            "; nothing of the list has been carried out\n",
            "; nichts von der Liste wurde ausgeführt\n"
        );
        self.tell(io, &why.clone().and(nothing));
        self.mark(io, DONE);
        self.close()
    }
}
