//! `undo`, `history`, `rollback`: the changes by commands, and back again.

use std::fmt::Write as _;

use super::settings::{exactly, refused, say};
use super::table::{Call, Failure};
use super::time::when;
use crate::session::{Job, JobAnswer};
use crate::store::NotUndone;

type Done = Result<(), Failure>;

/// `history`
pub fn history(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let history = call.cx.store().settings().history.clone();
    if history.entries().next().is_none() {
        return say(call, "Nothing has been changed yet.");
    }
    for entry in history.entries() {
        let end = if entry.undoable { "" } else { "  (cannot be undone)" };
        // A String takes whatever is written to it.
        let _ = writeln!(call.out, "{:>5}  {}  {}{end}", entry.number, when(entry.time), entry.command);
    }
    say(call, "`undo` takes the last one back, `rollback N` all from N on.")
}

/// `undo`, which may end a trial: then serve must know.
pub fn undo(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    let ended = call.cx.store().end_trial();
    match ended {
        Some(command) => say(call, &format!("No longer on trial: {command}"))?,
        None => last(call)?,
    }
    Ok(Job::Settle)
}

/// Nothing is left to be said.
pub fn done(_: &[&str], _: JobAnswer, _: &mut Call<'_, '_>) -> Done {
    Ok(())
}

fn last(call: &mut Call<'_, '_>) -> Done {
    let last = call.cx.store().settings().history.entries().next_back().map(|entry| entry.number);
    match last {
        Some(number) => back_to(number, call),
        None => Err(Failure::Refused(String::from("nothing has been changed yet"))),
    }
}

/// `rollback N`
pub fn rollback(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [word] = exactly(arguments)?;
    match word.parse() {
        Ok(number) => back_to(number, call),
        Err(_) => Err(Failure::Usage(format!("`{word}` is no number of a change; `history` shows them"))),
    }
}

fn back_to(number: u32, call: &mut Call<'_, '_>) -> Done {
    let undone = call.cx.store().undo(number);
    let why = match undone {
        Ok(commands) => {
            commands.iter().for_each(|command| log::info!("console: taken back: {command}"));
            return commands.iter().try_for_each(|command| say(call, &format!("Taken back: {command}")));
        }
        Err(NotUndone::Missing) => format!("there is no change {number}; `history` shows them"),
        Err(NotUndone::Forever(number, command)) => {
            format!("change {number} cannot be undone: {command}; nothing has been changed")
        }
        Err(NotUndone::Mail(number, address)) => format!(
            "change {number} has made the mailbox {address}, which has mail now: `mailbox remove {address}` removes both; \
             nothing has been changed"
        ),
        Err(NotUndone::Room(number)) => {
            format!(
                "the mailboxes as they were before change {number} do not fit any more; nothing has been changed"
            )
        }
        Err(NotUndone::Store(error)) => refused(error),
    };
    Err(Failure::Refused(why))
}
