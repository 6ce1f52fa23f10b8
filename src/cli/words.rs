//! From the words of the command line to what is wanted. The grammar is the table in [`super::usage`].

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;

use postfach::serve::Options;

use super::mail::{Format, export, import, restore};
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
        /// All commands of standard input, or none.
        whole: bool,
    },
    /// `backup`
    Backup {
        /// Which store; None: verify.
        store: Option<PathBuf>,
        /// Where to.
        dir: PathBuf,
        /// For programs.
        json: bool,
    },
    /// `restore`
    Restore {
        /// What is made.
        store: PathBuf,
        /// Bytes; None: all of a partition.
        size: Option<u64>,
        /// Also over something.
        force: bool,
        /// The backup.
        dir: PathBuf,
    },
    /// `restore --mailbox`
    RestoreMailbox(restore::Wanted),
    /// `check`
    Check {
        /// Which store.
        store: PathBuf,
        /// For programs.
        json: bool,
        /// Write back what can be.
        repair: bool,
    },
    /// `export`
    Export(export::Wanted),
    /// `import`
    Import(import::Wanted),
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
        rest.iter().take_while(|word| !has_language(command) || word.as_encoded_bytes().starts_with(b"-"));
    if options.into_iter().any(|word| word == "--help" || word == "-h") {
        return Ok(Wanted::Help(Some(command)));
    }
    wanted(command, rest).map_err(|why| format!("{}: {why}; usage: {}", command.name, command.usage()))
}

/// What follows the first word that is no option is not ours to understand.
fn has_language(command: &Command) -> bool {
    command.name == "console"
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
            let words: Vec<String> = words.into_iter().map(word).collect::<Result<_, _>>()?;
            let whole = value(&given, "--whole").is_some();
            if whole && !words.is_empty() {
                return Err(String::from("with --whole the commands come from standard input"));
            }
            Ok(Wanted::Console { store, words, whole })
        }
        "export" => export_of(store, &given, words).map(Wanted::Export),
        "import" => import_of(store, &given, words).map(Wanted::Import),
        "backup" => {
            let [dir] = <[OsString; 1]>::try_from(words).map_err(|_| String::from("one DIR is wanted"))?;
            let verify = value(&given, "--verify").is_some();
            let store = value(&given, "--store").map(PathBuf::from);
            if verify == store.is_some() {
                return Err(String::from("either --store PATH or --verify is wanted"));
            }
            Ok(Wanted::Backup { store, dir: dir.into(), json: value(&given, "--json").is_some() })
        }
        "restore" => restore_of(store, &given, words),
        _ => {
            let [json, repair] = ["--json", "--repair"].map(|name| value(&given, name).is_some());
            Ok(Wanted::Check { store, json, repair })
        }
    }
}

fn export_of(store: PathBuf, given: &Given, words: Vec<OsString>) -> Result<export::Wanted, String> {
    let all = value(given, "--all").is_some();
    let mut words = words.into_iter();
    let address = if all { None } else { Some(address(words.next())?) };
    let directory = PathBuf::from(words.next().ok_or("the DIR to write to is missing")?);
    last(words)?;
    let (format, json) = (format(given)?.unwrap_or(Format::Maildir), value(given, "--json").is_some());
    Ok(export::Wanted { store, format, address, directory, json })
}

fn import_of(store: PathBuf, given: &Given, words: Vec<OsString>) -> Result<import::Wanted, String> {
    let mut words = words.into_iter();
    let address = address(words.next())?;
    let path = PathBuf::from(words.next().ok_or("the PATH to read from is missing")?);
    last(words)?;
    let (format, into) = (format(given)?, text(given, "--into")?);
    let wrong = |name: &String| name.chars().any(char::is_control) || name.split('/').any(str::is_empty);
    if let Some(name) = into.as_ref().filter(|name| wrong(name)) {
        return Err(format!("`{}` is no folder for --into", name.escape_debug()));
    }
    Ok(import::Wanted { store, format, address, path, into, json: value(given, "--json").is_some() })
}

fn restore_of(store: PathBuf, given: &Given, words: Vec<OsString>) -> Result<Wanted, String> {
    let [dir] = <[OsString; 1]>::try_from(words).map_err(|_| String::from("one DIR is wanted"))?;
    let dir = PathBuf::from(dir);
    let size = text(given, "--size")?.map(size).transpose()?;
    let force = value(given, "--force").is_some();
    let Some(mailbox) = value(given, "--mailbox") else {
        return Ok(Wanted::Restore { store, size, force, dir });
    };
    if size.is_some() || force {
        return Err(String::from(
            "with --mailbox, mail comes into a store that there is: neither --size nor --force goes with it",
        ));
    }
    Ok(Wanted::RestoreMailbox(restore::Wanted { store, address: address(Some(mailbox))?, dir }))
}

fn address(word: Option<OsString>) -> Result<String, String> {
    let word = word.ok_or("the ADDRESS of the mailbox is missing")?;
    let text = word.to_str().filter(|text| text.contains('@') && !text.contains(char::is_control));
    text.map(String::from).ok_or_else(|| format!("`{}` is no ADDRESS", word.display()))
}

fn last(mut words: impl Iterator<Item = OsString>) -> Result<(), String> {
    words.next().map_or(Ok(()), |word| Err(format!("unexpected word `{}`", word.display())))
}

fn format(given: &Given) -> Result<Option<Format>, String> {
    match text(given, "--format")?.as_deref() {
        None => Ok(None),
        Some("maildir") => Ok(Some(Format::Maildir)),
        Some("mbox") => Ok(Some(Format::Mbox)),
        Some(other) => Err(format!("`{other}` is no format; there are maildir and mbox")),
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
    let [trial_seconds, idle_seconds] = [number(given, "--trial", 3600)?, number(given, "--idle", 3600)?]
        .map(|seconds| seconds.map(u32::from));
    let [serial, board] = ["--serial", "--board"].map(|name| value(given, name).map(PathBuf::from));
    Ok(Options {
        store,
        bind,
        port_base,
        serial,
        board,
        trial_seconds,
        idle_seconds,
        flush_delay_milliseconds,
        owner_only: false,
    })
}

/// Takes the options, and what follows them.
fn options(command: &'static Command, rest: Vec<OsString>) -> Result<(Given, Vec<OsString>), String> {
    let (mut given, mut words) = (Given::new(), Vec::new());
    let mut rest = rest.into_iter().peekable();
    while let Some(word) =
        rest.next_if(|word| !has_language(command) || word.as_encoded_bytes().starts_with(b"-"))
    {
        if word == "--" && !command.words.is_empty() {
            break;
        }
        if !command.words.is_empty() && !word.as_encoded_bytes().starts_with(b"-") {
            words.push(word);
            continue;
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
    words.extend(rest);
    Ok((given, words))
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
        let check = told("check --json --store a").unwrap();
        assert!(matches!(check, Wanted::Check { json: true, repair: false, .. }));
        assert!(matches!(told("check --store a --repair").unwrap(), Wanted::Check { repair: true, .. }));
        let Wanted::Export(export) = told("export --all --store a dir --json").unwrap() else {
            panic!("export")
        };
        assert_eq!((export.address, export.json), (None, true));
        let import = told("import --store a --format mbox anna@b in --into Old/Mail").unwrap();
        let Wanted::Import(import) = import else { panic!("import") };
        assert_eq!((import.address.as_str(), import.into.as_deref()), ("anna@b", Some("Old/Mail")));
        assert!(matches!(told("export --store a -- anna@b -dir").unwrap(), Wanted::Export(_)));
        assert!(matches!(told("backup --store a b").unwrap(), Wanted::Backup { store: Some(_), .. }));
        assert!(matches!(told("backup --verify b").unwrap(), Wanted::Backup { store: None, .. }));
        let restore = told("restore --size 2G --store a b").unwrap();
        assert!(matches!(restore, Wanted::Restore { size: Some(0x8000_0000), force: false, .. }));
        let one = told("restore --mailbox anna@b --store a b").unwrap();
        assert!(matches!(one, Wanted::RestoreMailbox(wanted) if wanted.address == "anna@b"));
        assert!(told("restore --store a").is_err());
        assert!(told("backup b").is_err() && told("backup --store a --verify b").is_err());
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
            ("export --store a", "ADDRESS"),
            ("export --store a anna@b", "DIR"),
            ("export --store a --all d e", "`e`"),
            ("export --store a --format zip anna@b d", "`zip`"),
            ("import --store a anna@b", "PATH"),
            ("import --store a anna d", "`anna`"),
            ("import --store a anna@b d --into a//b", "`a//b`"),
            ("import --store a anna@b d --inot x", "`--inot`"),
            ("restore --store a --mailbox anna d", "`anna`"),
            ("restore --store a --mailbox anna@b --size 1G d", "--size"),
            ("restore --store a --mailbox anna@b --force d", "--force"),
        ] {
            let why = told(line).unwrap_err();
            assert!(why.contains(word) && !why.contains('\n'), "{line}: {why}");
        }
        assert!(told("serve --now").unwrap_err().ends_with(
            "usage: postfach serve --store PATH [--bind ADDR]... [--port-base N] [--serial DEVICE] [--board PROGRAM]"
        ));
    }
}
