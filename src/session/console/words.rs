//! A command line as words: which command it is, and whether its arguments are what they should be.
//!
//! Words are parted by white space; there is no quoting, because nothing that the owner names has spaces, and passwords are never
//! part of a command. Command words may be written in any case.

use super::table::{Failure, Row, TABLE};
use super::text::{Text, text};
use crate::limits::ARGON2_KIB_MAX;
use crate::types::Class;
use crate::wire::address::{self, Address};

/// Where a command's password comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret<'a> {
    /// It is asked for.
    Ask,
    /// `generate`: it is made up.
    Generate,
    /// `hash PHC`: as `show config` prints it.
    Hash(&'a str),
}

/// The command that these words are, and its arguments. A command's words may be shortened to two letters or more, as long as no other
/// begins like that.
///
/// # Errors
/// What is wrong, as a clause.
pub fn find<'a, 'b>(words: &'a [&'b str]) -> Result<(&'static Row, &'a [&'b str]), Text> {
    let rows = matching(words);
    if let [row] = rows[..]
        && let Some((own, arguments)) = words.split_at_checked(row.words.len())
        && own.iter().all(|word| word.len() >= SHORTEST)
    {
        return Ok((row, arguments));
    }
    let first = words.first().copied().unwrap_or_default();
    let firsts = distinct(&matching(&[first]), 0);
    let name = match firsts[..] {
        [name] if first.len() >= SHORTEST => name,
        [] => return Err(no_command(first)),
        _ => {
            let firsts = firsts.join(", ");
            return Err(text!(
                "`{first}` may be {firsts}: write more of it",
                "`{first}` kann {firsts} sein: Schreiben Sie mehr davon"
            ));
        }
    };
    // `network` alone is `network show`.
    if words.len() == 1
        && let Some(row) = TABLE.iter().find(|row| row.words == [name, "show"])
    {
        return Ok((row, &[]));
    }
    let seconds = distinct(&matching(&[name]), 1).join(", ");
    let found = match words.get(1) {
        Some(second) if rows.is_empty() => {
            text!("there is no command `{name} {second}`", "einen Befehl `{name} {second}` gibt es nicht")
        }
        Some(second) => text!(
            "`{name} {second}` may be {0}",
            "`{name} {second}` kann {0} sein",
            distinct(&rows, 1).join(", ")
        ),
        None => text!("`{name}` is not a whole command", "`{name}` ist noch kein ganzer Befehl"),
    };
    Err(found
        .and(text!("; after `{name}` comes one of: {seconds}", "; nach `{name}` kommt eines von: {seconds}")))
}

/// There is none that begins like this.
pub fn no_command(words: &str) -> Text {
    text!(
        "there is no command `{words}`; `help` lists them all",
        "einen Befehl `{words}` gibt es nicht; `help` zeigt alle"
    )
}

/// The commands whose words begin like these, as far as both go. A whole word is preferred to the beginning of another.
pub fn matching(words: &[&str]) -> Vec<&'static Row> {
    let mut rows: Vec<&'static Row> = TABLE.iter().collect();
    for (index, word) in words.iter().enumerate() {
        let is_whole = |row: &&Row| row.words.get(index).is_some_and(|own| own.eq_ignore_ascii_case(word));
        let begins = |own: &str| own.get(..word.len()).is_some_and(|own| own.eq_ignore_ascii_case(word));
        if rows.iter().any(&is_whole) {
            rows.retain(|row| is_whole(row));
        } else {
            // What is behind a command's own words is its own affair.
            rows.retain(|row| row.words.get(index).is_none_or(|own| begins(own)));
        }
    }
    rows
}

/// Letters that a word is shortened to at most: one letter is easily a slip, or noise.
const SHORTEST: usize = 2;

/// The words at this place, each once.
fn distinct(rows: &[&'static Row], index: usize) -> Vec<&'static str> {
    let mut words: Vec<&str> = Vec::new();
    for word in rows.iter().filter_map(|row| row.words.get(index)) {
        if !words.contains(word) {
            words.push(word);
        }
    }
    words
}

/// Whether a line has something that must not be shown again: a hash.
pub fn has_secret(words: &[&str]) -> bool {
    words.iter().any(|word| word.starts_with('$') || word.eq_ignore_ascii_case("hash"))
}

/// The command as it is named when it fails: without a hash.
pub fn shown(row: &Row, arguments: &[impl AsRef<str>]) -> String {
    let mut text = row.words.join(" ");
    for argument in arguments.iter().map(AsRef::as_ref) {
        text.push(' ');
        text.push_str(if argument.starts_with('$') { "..." } else { argument });
    }
    text
}

/// Takes `generate` and `hash PHC` out of the arguments.
///
/// # Errors
/// What is wrong, as a clause.
pub fn secret<'a>(arguments: &[&'a str]) -> Result<(Vec<&'a str>, Secret<'a>), Text> {
    let (mut rest, mut found) = (Vec::new(), Secret::Ask);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let secret = if word.eq_ignore_ascii_case("generate") {
            Secret::Generate
        } else if word.eq_ignore_ascii_case("hash") {
            let phc = words.next().ok_or_else(|| {
                text!(
                    "after `hash` comes a hash, as `show config` prints it",
                    "nach `hash` kommt ein Hash, wie `show config` ihn zeigt"
                )
            })?;
            if !is_phc(phc) {
                return Err(text!(
                    "the hash is not one that `show config` prints: $argon2id$v=19$m=...,t=...,p=...$...$...",
                    "der Hash ist keiner, wie `show config` ihn zeigt: $argon2id$v=19$m=...,t=...,p=...$...$..."
                ));
            }
            Secret::Hash(phc)
        } else {
            rest.push(*word);
            continue;
        };
        if found != Secret::Ask {
            return Err(text!(
                "`generate` and `hash` are two ways to set one password: choose one",
                "`generate` und `hash` sind zwei Wege zu einem Passwort: Wählen Sie einen"
            ));
        }
        found = secret;
    }
    Ok((rest, found))
}

/// Whether this is an argon2id hash whose cost this box can bear, in the PHC string format.
fn is_phc(text: &str) -> bool {
    let base64 = |part: &str, least: usize| {
        (least..=86).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    };
    let cost = |part: &str| {
        let numbers: Vec<(&str, u32)> = part
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
            .collect();
        matches!(numbers[..], [("m", kib), ("t", passes), ("p", lanes)]
            if (1..=8).contains(&lanes) && (8 * lanes..=ARGON2_KIB_MAX).contains(&kib) && (1..=16).contains(&passes))
    };
    match text.split('$').collect::<Vec<_>>()[..] {
        ["", "argon2id", "v=19", costs, salt, hash] => cost(costs) && base64(salt, 11) && base64(hash, 16),
        _ => false,
    }
}

/// A domain of the owner's, in lower case.
pub fn domain(word: &str) -> Result<String, Failure> {
    if !word.is_ascii() {
        return Err(Failure::Refused(text!(
            "`{word}` has letters that are not ASCII: write the domain as it is registered, beginning with xn--",
            "`{word}` hat Zeichen außerhalb von ASCII: Schreiben Sie die Domain, wie sie registriert ist, mit xn-- am Anfang"
        )));
    }
    match address::domain(word.as_bytes(), false) {
        Ok(domain) if !domain.starts_with('[') => Ok(domain),
        _ => Err(Failure::Refused(text!(
            "`{word}` is not a domain; one looks like example.com",
            "`{word}` ist keine Domain; eine sieht so aus: example.com"
        ))),
    }
}

/// An address of the owner's, in lower case.
pub fn address(word: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::Refused(text!(
            "`{word}` is not an address; one looks like anna@example.com",
            "`{word}` ist keine Adresse; eine sieht so aus: anna@example.com"
        ))
    };
    if let Some((_, right)) = word.rsplit_once('@') {
        domain(right).map_err(|failure| if right.is_ascii() { wrong() } else { failure })?;
    }
    let address = Address::parse(word.as_bytes(), true).map_err(|_| wrong())?;
    // Deliberate: RFC 5322 §3.2.3 has it, but where a word begins, a terminal's `?` asks for help.
    if word.starts_with('?') {
        return Err(wrong());
    }
    if address.to_string().starts_with('"') {
        return Err(wrong());
    }
    Ok(address.key())
}

/// A class of buckets.
pub fn class(word: &str) -> Result<Class, Failure> {
    Class::parse(word).ok_or_else(|| {
        Failure::Usage(text!(
            "`{word}` is not a size: S, M, L or XL",
            "`{word}` ist keine Größe: S, M, L oder XL"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_their_words() {
        let (row, arguments) = find(&["MAILBOX", "Add", "a@b", "generate"]).unwrap();
        assert_eq!((row.words, arguments), (&["mailbox", "add"][..], &["a@b", "generate"][..]));
        let told = |words: &[&str]| find(words).map(|_| ()).unwrap_err().en;
        assert_eq!(told(&["frob"]), "there is no command `frob`; `help` lists them all");
        assert_eq!(
            told(&["alias"]),
            "`alias` is not a whole command; after `alias` comes one of: add, remove, list"
        );
        assert_eq!(
            told(&["admin", "x"]),
            "there is no command `admin x`; after `admin` comes one of: passwd"
        );
    }

    #[test]
    fn command_words_may_be_shortened() {
        let found = |words: &[&str]| find(words).map(|(row, arguments)| (row.words, arguments.len()));
        assert_eq!(found(&["mailb", "li"]), Ok((&["mailbox", "list"][..], 0)));
        assert_eq!(found(&["AL", "ad", "x@y", "z@y"]), Ok((&["alias", "add"][..], 2)));
        let told = |words: &[&str]| find(words).map(|_| ()).unwrap_err().en;
        assert!(told(&["s"]).starts_with("`s` may be setup, status, "));
        assert_eq!(told(&["e"]), "`e` may be export, exit: write more of it");
        assert!(told(&["mailbox", "r"]).starts_with("`mailbox r` may be remove; after `mailbox` comes"));
        assert!(
            told(&["domain", "frob"]).starts_with("there is no command `domain frob`; after `domain` comes")
        );
    }

    #[test]
    fn a_hash_is_a_secret() {
        assert!(has_secret(&["x", "Hash", "y"]) && has_secret(&["$argon2id$"]) && !has_secret(&["a@b"]));
    }

    #[test]
    fn a_password_comes_from_one_place() {
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";
        assert_eq!(secret(&["a@b", "size", "M"]), Ok((vec!["a@b", "size", "M"], Secret::Ask)));
        assert_eq!(
            secret(&["a@b", "Generate", "size", "M"]),
            Ok((vec!["a@b", "size", "M"], Secret::Generate))
        );
        assert_eq!(secret(&["a@b", "hash", phc]), Ok((vec!["a@b"], Secret::Hash(phc))));
        for wrong in [
            &["a@b", "hash"][..],
            &["a@b", "hash", "x"],
            &["a@b", "hash", "*"],
            &["generate", "hash", phc],
            &["generate", "generate"],
        ] {
            assert!(secret(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=4000000000,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=19456,t=2$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA$x",
        ] {
            assert!(!is_phc(wrong), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(address("Anna.B+x@Example.TEST"), Ok(String::from("anna.b+x@example.test")));
        assert_eq!(address("jürgen@example.test"), Ok(String::from("jürgen@example.test")));
        for wrong in [
            "",
            "anna",
            "@x.de",
            "anna@",
            "a b@x.de",
            "a@b@c",
            "\"a b\"@x.de",
            "a@[1.2.3.4]",
            "a@müller.de",
            "<a@x.de>",
            "?a@x.de",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert_eq!(domain("Example.TEST"), Ok(String::from("example.test")));
        for wrong in ["", ".", "a..b", "-a.de", "[1.2.3.4]", "a b", "müller.de", "example.test."] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(domain("müller.de"), Err(Failure::Refused(why)) if why.en.contains("xn--")));
    }

    #[test]
    fn a_hash_is_not_named() {
        let (row, _) = find(&["admin", "passwd"]).unwrap();
        assert_eq!(shown(row, &["hash", "$argon2id$x"]), "admin passwd hash ...");
    }
}
