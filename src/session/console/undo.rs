//! `undo`, `history`, `rollback`: the changes by commands, and back again.

use std::fmt::Write as _;

use super::say::{misused, of_store, refuse, say};
use super::settings::exactly;
use super::table::{Call, Failure};
use super::text::{both, text};
use super::time::when;
use crate::session::{Job, JobAnswer};
use crate::store::NotUndone;

type Done = Result<(), Failure>;

/// `history`
pub fn history(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let history = call.cx.store().settings().history.clone();
    if history.entries().next().is_none() {
        return say(call, both("Nothing has been changed yet.", "Noch wurde nichts geändert."));
    }
    for entry in history.entries() {
        let end = match entry.undoable {
            true => both("", ""),
            false => both("  (cannot be undone)", "  (nicht rückgängig zu machen)"),
        };
        let end = end.of(call.language);
        // A String takes whatever is written to it.
        let _ = writeln!(call.out, "{:>5}  {}  {}{end}", entry.number, when(entry.time), entry.command);
    }
    say(
        call,
        both(
            "`undo` takes the last one back, `rollback N` all from N on.",
            "`undo` nimmt die letzte zurück, `rollback N` alle ab N.",
        ),
    )
}

/// `undo`, which may end a trial: then serve must know.
pub fn undo(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    let mut store = call.cx.store();
    let (ended, expired) = (store.end_trial(), store.take_expired());
    drop(store);
    match (ended, expired) {
        (Some(command), _) => {
            say(call, text!("No longer on trial: {command}", "Nicht mehr auf Probe: {command}"))?
        }
        // Who types it means that change, and not the one before.
        (None, Some(command)) => {
            return Err(refuse(text!(
                "it has gone back already, as nobody kept it in time: {command}; `undo` once more takes back the change before it",
                "es ist schon zurückgenommen, weil niemand es rechtzeitig behalten hat: {command}; noch einmal `undo` nimmt die Änderung \
                 davor zurück"
            )));
        }
        (None, None) => last(call)?,
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
        None => Err(refuse(both("nothing has been changed yet", "noch wurde nichts geändert"))),
    }
}

/// `rollback N`
pub fn rollback(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [word] = exactly(arguments)?;
    match word.parse() {
        Ok(number) => back_to(number, call),
        Err(_) => Err(misused(text!(
            "`{word}` is no number of a change; `history` shows them",
            "`{word}` ist keine Nummer einer Änderung; `history` zeigt sie"
        ))),
    }
}

fn back_to(number: u32, call: &mut Call<'_, '_>) -> Done {
    let undone = call.cx.store().undo(number);
    let why = match undone {
        Ok(commands) => {
            commands.iter().for_each(|command| log::info!("console: taken back: {command}"));
            let line = |command: &String| text!("Taken back: {command}", "Zurückgenommen: {command}");
            // What takes `language` back is told in the language that is spoken again.
            call.language = call.cx.store().settings().language;
            return commands.iter().try_for_each(|command| say(call, line(command)));
        }
        Err(NotUndone::Missing) => text!(
            "there is no change {number}; `history` shows them",
            "eine Änderung {number} gibt es nicht; `history` zeigt sie"
        ),
        Err(NotUndone::Forever(number, command)) => text!(
            "change {number} cannot be undone: {command}; nothing has been changed",
            "Änderung {number} kann nicht zurückgenommen werden: {command}; nichts wurde geändert"
        ),
        Err(NotUndone::Mail(number, address)) => text!(
            "change {number} has made the mailbox {address}, which has mail now: `mailbox remove {address}` removes both; \
             nothing has been changed",
            "Änderung {number} hat das Postfach {address} angelegt, in dem nun Nachrichten sind: `mailbox remove {address}` \
             entfernt beides; nichts wurde geändert"
        ),
        Err(NotUndone::Room(number)) => text!(
            "the mailboxes as they were before change {number} do not fit any more; nothing has been changed",
            "die Postfächer, wie sie vor Änderung {number} waren, passen nicht mehr; nichts wurde geändert"
        ),
        Err(NotUndone::Store(error)) => return Err(of_store(error)),
    };
    Err(refuse(why))
}
