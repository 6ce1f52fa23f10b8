//! From the words of the command line to what is wanted. The grammar is the table in [`super::usage`].

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;

use postfach::serve::Options;

use super::usage::{COMMANDS, Choice, Command, Times};

/// What is wanted.
#[derive(Debug)]
pub enum Wanted {
    /// Help: of one command, or of all.
    Help(Option<&'static Command>),
    /// The version.
    Version,
    /// `format`
    Format {
        /// Where.
        store: PathBuf,
        /// Bytes; None: all of a partition.
        size: Option<u64>,
        /// Also over something.
        force: bool,
    },
    /// `serve`
    Serve(Options),
    /// `console`
    Console {
        /// Which store.
        store: PathBuf,
        /// The console's command; none: from standard input.
        words: Vec<String>,
    },
    /// `check`
    Check {
        /// Which store.
        store: PathBuf,
        /// For programs.
        json: bool,
    },
}

/// The options that were given, in order.
type Given = Vec<(&'static Choice, OsString)>;

/// Understands the arguments.
///
/// # Errors
/// One line: the wrong word, and the right usage.
pub fn parse(arguments: Vec<OsString>) -> Result<Wanted, String> {
    let mut words = arguments.into_iter();
    let Some(first) = words.next() else {
        return Err(format!("a command is missing: {}; `postfach --help` explains them", names()));
    };
    let rest: Vec<OsString> = words.collect();
    match first.to_str() {
        Some("--help" | "-h" | "help") => return help(&rest),
        Some("--version" | "-V" | "version") => return Ok(Wanted::Version),
        _ => {}
    }
    let Some(command) = COMMANDS.iter().find(|command| first == command.name) else {
        let word = first.display();
        return Err(format!(
            "unknown command `{word}`; it is one of: {}; `postfach --help` explains them",
            names()
        ));
    };
    // Of `console`, help comes before the first word of its own language.
    let options =
        rest.iter().take_while(|word| command.words.is_empty() || word.as_encoded_bytes().starts_with(b"-"));
    if options.into_iter().any(|word| word == "--help" || word == "-h") {
        return Ok(Wanted::Help(Some(command)));
    }
    wanted(command, rest).map_err(|why| format!("{}: {why}; usage: {}", command.name, command.usage()))
}

fn names() -> String {
    COMMANDS.map(|command| command.name).join(", ")
}

fn help(rest: &[OsString]) -> Result<Wanted, String> {
    let Some(word) = rest.first() else { return Ok(Wanted::Help(None)) };
    match COMMANDS.iter().find(|command| word == command.name) {
        Some(command) => Ok(Wanted::Help(Some(command))),
        None => Err(format!("no help for `{}`; there is some for: {}", word.display(), names())),
    }
}

fn wanted(command: &'static Command, rest: Vec<OsString>) -> Result<Wanted, String> {
    let (given, words) = options(command, rest)?;
    let store = PathBuf::from(value(&given, "--store").unwrap_or_default());
    match command.name {
        "format" => {
            let size = text(&given, "--size")?.map(size).transpose()?;
            Ok(Wanted::Format { store, size, force: value(&given, "--force").is_some() })
        }
        "serve" => serve(store, &given).map(Wanted::Serve),
        "console" => {
            let word = |word: OsString| {
                word.into_string().map_err(|word| format!("`{}` is not UTF-8 text", word.display()))
            };
            let words = words.into_iter().map(word).collect::<Result<_, _>>()?;
            Ok(Wanted::Console { store, words })
        }
        _ => Ok(Wanted::Check { store, json: value(&given, "--json").is_some() }),
    }
}

fn serve(store: PathBuf, given: &Given) -> Result<Options, String> {
    let addresses = given.iter().filter(|(choice, _)| choice.name == "--bind");
    let bind = addresses
        .map(|(_, word)| {
            let address = word.to_str().and_then(|word| word.trim_matches(['[', ']']).parse::<IpAddr>().ok());
            address.ok_or_else(|| format!("`{}` is no IP address for --bind", word.display()))
        })
        .collect::<Result<_, _>>()?;
    let port_base = number(given, "--port-base", u16::MAX - 995)?.unwrap_or_default();
    let flush_delay_milliseconds = number(given, "--flush-delay", 60_000)?.map(u64::from);
    let [serial, board] = ["--serial", "--board"].map(|name| value(given, name).map(PathBuf::from));
    Ok(Options { store, bind, port_base, serial, board, flush_delay_milliseconds })
}

/// Takes the options, and what follows them.
fn options(command: &'static Command, rest: Vec<OsString>) -> Result<(Given, Vec<OsString>), String> {
    let mut given = Given::new();
    let mut rest = rest.into_iter().peekable();
    while let Some(word) =
        rest.next_if(|word| command.words.is_empty() || word.as_encoded_bytes().starts_with(b"-"))
    {
        if word == "--" && !command.words.is_empty() {
            break;
        }
        let (name, mut value) = split(&word);
        let Some(choice) = command.options.iter().find(|choice| name == choice.name) else {
            let what =
                if word.as_encoded_bytes().starts_with(b"-") { "unknown option" } else { "unexpected word" };
            return Err(format!("{what} `{}`", word.display()));
        };
        if choice.times != Times::Many && given.iter().any(|(other, _)| other.name == choice.name) {
            return Err(format!("{} is given twice", choice.name));
        }
        if choice.value.is_empty() {
            if value.is_some() {
                return Err(format!("{} takes no value", choice.name));
            }
        } else if value.is_none() {
            value = rest.next();
        }
        let value = match value {
            Some(value) if !value.is_empty() || choice.value.is_empty() => value,
            None if choice.value.is_empty() => OsString::new(),
            _ => return Err(format!("{} needs its {}", choice.name, choice.value)),
        };
        given.push((choice, value));
    }
    for choice in command.options.iter().filter(|choice| choice.times == Times::One) {
        if !given.iter().any(|(other, _)| other.name == choice.name) {
            return Err(format!("{} {} is missing", choice.name, choice.value));
        }
    }
    Ok((given, rest.collect()))
}

/// `--name=value` or `--name`
fn split(word: &OsStr) -> (OsString, Option<OsString>) {
    match word.to_str().and_then(|text| text.split_once('=')) {
        Some((name, value)) if name.starts_with("--") => (name.into(), Some(value.into())),
        _ => (word.to_owned(), None),
    }
}

fn value(given: &Given, name: &str) -> Option<OsString> {
    given.iter().find(|(choice, _)| choice.name == name).map(|(_, value)| value.clone())
}

fn text(given: &Given, name: &str) -> Result<Option<String>, String> {
    let text = value(given, name).map(OsString::into_string).transpose();
    text.map_err(|word| format!("`{}` is not text", word.display()))
}

fn number(given: &Given, name: &str, most: u16) -> Result<Option<u16>, String> {
    let Some(word) = text(given, name)? else { return Ok(None) };
    match word.parse() {
        Ok(number) if number <= most => Ok(Some(number)),
        _ => Err(format!("`{word}` is no number from 0 to {most} for {name}")),
    }
}

/// A number of bytes: `512M`, `1G`; K, M, G and T are powers of 1024.
fn size(word: String) -> Result<u64, String> {
    let wrong = || format!("`{word}` is not a size; one looks like 512M or 1G");
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match word.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Result<Wanted, String> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn every_command_is_understood() {
        let format = told("format --size 1G --store a.store --force").unwrap();
        assert!(matches!(format, Wanted::Format { size: Some(0x4000_0000), force: true, .. }));
        let Wanted::Serve(options) =
            told("serve --store=a --bind 127.0.0.1 --bind [::1] --port-base 10000 --serial /dev/ttyS0 --flush-delay 5").unwrap()
        else {
            panic!("serve")
        };
        assert_eq!(
            (options.bind.len(), options.port_base, options.flush_delay_milliseconds),
            (2, 10000, Some(5))
        );
        let console = told("console --store a mailbox add --help").unwrap();
        assert!(matches!(console, Wanted::Console { words, .. } if words == ["mailbox", "add", "--help"]));
        assert!(matches!(told("check --json --store a").unwrap(), Wanted::Check { json: true, .. }));
        assert!(
            matches!(told("serve --help").unwrap(), Wanted::Help(Some(command)) if command.name == "serve")
        );
        assert!(matches!(told("console --help").unwrap(), Wanted::Help(Some(_))));
        assert!(matches!(told("help").unwrap(), Wanted::Help(None)));
        assert!(matches!(told("--version").unwrap(), Wanted::Version));
    }

    #[test]
    fn the_wrong_word_is_named() {
        for (line, word) in [
            ("", "missing"),
            ("frob", "`frob`"),
            ("help frob", "`frob`"),
            ("format --size 1G", "--store PATH is missing"),
            ("format --store", "--store needs its PATH"),
            ("format --store a --size 1X", "`1X`"),
            ("format --store a --size 0", "`0`"),
            ("format --store a --size 99999999T", "`99999999T`"),
            ("format --store a --store b", "twice"),
            ("format --store a --force=yes", "takes no value"),
            ("serve --store a --bind here", "`here`"),
            ("serve --store a --port-base 65000", "`65000`"),
            ("serve --store a now", "`now`"),
            ("check --store a --jsn", "`--jsn`"),
            ("console --stoer a", "`--stoer`"),
        ] {
            let why = told(line).unwrap_err();
            assert!(why.contains(word) && !why.contains('\n'), "{line}: {why}");
        }
        assert!(told("serve --now").unwrap_err().ends_with(
            "usage: postfach serve --store PATH [--bind ADDR]... [--port-base N] [--serial DEVICE] [--board PROGRAM]"
        ));
    }
}
