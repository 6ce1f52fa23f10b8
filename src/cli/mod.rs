//! The command line: which command, with which options, and what its end means.
//!
//! It refuses to guess: a wrong word is named together with the right usage, on one line, with exit status 2.
//! Exit status: 0 done, 1 failed, 2 wrong usage; `check` also 3, when a server has the store;
//! `console --whole` also 4, when a command of the list has failed and so none of them has been carried out.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

mod backup;
mod mail;
mod run;
mod usage;
mod words;

/// Done.
const DONE: u8 = 0;
/// Failed.
const FAILED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// `check`: a server has the store.
const IN_USE: u8 = 3;
/// `console --whole`: a command of the list has failed.
const REFUSED: u8 = 4;

/// Does what the arguments say, without the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    ExitCode::from(match words::parse(arguments) {
        Ok(wanted) => run::run(wanted),
        Err(why) => {
            complain(&why);
            USAGE
        }
    })
}

/// One line on standard error. When that is closed, nobody wants to know.
fn complain(why: &str) {
    let _closed = writeln!(std::io::stderr(), "postfach: {why}");
}

/// Text on standard output. When that is closed, nobody wants to know.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
