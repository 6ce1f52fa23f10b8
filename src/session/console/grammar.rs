//! What may follow a command, read out of its row in the table: `ADDRESS [size S|M|L|XL] [generate | hash PHC]`.
//!
//! ```text
//! sequences = sequence *("|" sequence)
//! sequence  = *(word / "[" sequences "]")
//! word      = literal / CAPITALS ["..."] / word *("|" word)   ; without spaces: one of them
//! ```
//!
//! A word in capitals stands for something of the owner's, unless it is one of several of at most two letters (a size). It refuses to
//! judge whether a word of the owner's is a good one: the command does.

/// A part of a sequence.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A word, or one of several; and whether more of them may follow.
    Word(Vec<&'static str>, bool),
    /// May be left out.
    Optional(Vec<Vec<Part>>),
}

/// What may come next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// Words as they are.
    pub literals: Vec<&'static str>,
    /// What stands for something of the owner's.
    pub places: Vec<&'static str>,
    /// Nothing more needs to come.
    pub done: bool,
}

/// What may follow these words.
pub fn following(arguments: &'static str, words: &[&str]) -> Following {
    let mut found = Following::default();
    let mut rest = tokens(arguments).into_iter().peekable();
    for sequence in sequences(&mut rest) {
        walk(&sequence, words, &mut found, &mut |words, found| found.done |= words.is_empty());
    }
    found
}

fn tokens(arguments: &'static str) -> Vec<&'static str> {
    let brackets = |word: &'static str| {
        let mut parts = Vec::new();
        let mut rest = word;
        while let Some(inner) = rest.strip_prefix('[') {
            parts.push("[");
            rest = inner;
        }
        let inner = rest.trim_end_matches(']');
        parts.extend((!inner.is_empty()).then_some(inner));
        parts.extend(rest.get(inner.len()..).unwrap_or_default().chars().map(|_| "]"));
        parts
    };
    arguments.split_whitespace().flat_map(brackets).collect()
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<&'static str>>;

fn sequences(tokens: &mut Tokens) -> Vec<Vec<Part>> {
    let mut all = vec![Vec::new()];
    while let Some(token) = tokens.next_if(|token| *token != "]") {
        let part = match token {
            "|" => {
                all.push(Vec::new());
                continue;
            }
            "[" => {
                let inner = sequences(tokens);
                tokens.next();
                Part::Optional(inner)
            }
            word => {
                let one = word.trim_end_matches("...");
                Part::Word(one.split('|').collect(), one.len() < word.len())
            }
        };
        if let Some(sequence) = all.last_mut() {
            sequence.push(part);
        }
    }
    all
}

/// Whether a word of the table stands for something of the owner's.
fn is_place(word: &str, alone: bool) -> bool {
    word.chars().all(|letter| !letter.is_lowercase()) && (alone || word.len() > 2)
}

/// Goes along the parts as the words do; where the words end, what may come next is found. `then` goes on behind the last part.
fn walk(
    parts: &[Part],
    words: &[&str],
    found: &mut Following,
    then: &mut dyn FnMut(&[&str], &mut Following),
) {
    match parts.split_first() {
        None => then(words, found),
        Some((Part::Optional(sequences), rest)) => {
            for sequence in sequences {
                walk(sequence, words, found, &mut |words, found| walk(rest, words, found, &mut *then));
            }
            walk(rest, words, found, then);
        }
        Some((Part::Word(choices, more), rest)) => {
            let alone = choices.len() == 1;
            let Some((word, words)) = words.split_first() else {
                for choice in choices {
                    let list = if is_place(choice, alone) { &mut found.places } else { &mut found.literals };
                    if !list.contains(choice) {
                        list.push(choice);
                    }
                }
                return;
            };
            let fits = |choice: &&str| is_place(choice, alone) || choice.eq_ignore_ascii_case(word);
            if choices.iter().any(fits) {
                if *more {
                    walk(parts, words, found, &mut *then);
                }
                walk(rest, words, found, then);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(arguments: &'static str, words: &[&str]) -> (Vec<&'static str>, Vec<&'static str>, bool) {
        let found = following(arguments, words);
        (found.literals, found.places, found.done)
    }

    #[test]
    fn what_may_follow_is_read_from_the_usage() {
        const ADD: &str = "ADDRESS [size S|M|L|XL] [generate | hash PHC]";
        assert_eq!(after("", &[]), (vec![], vec![], true));
        assert_eq!(after("", &["x"]), (vec![], vec![], false));
        assert_eq!(after(ADD, &[]), (vec![], vec!["ADDRESS"], false));
        assert_eq!(after(ADD, &["a@b"]), (vec!["size", "generate", "hash"], vec![], true));
        assert_eq!(after(ADD, &["a@b", "SIZE"]), (vec!["S", "M", "L", "XL"], vec![], false));
        assert_eq!(after(ADD, &["a@b", "size", "m"]), (vec!["generate", "hash"], vec![], true));
        assert_eq!(after(ADD, &["a@b", "hash"]), (vec![], vec!["PHC"], false));
        assert_eq!(after(ADD, &["a@b", "generate"]), (vec![], vec![], true));
        assert_eq!(after(ADD, &["a@b", "size", "huge"]), (vec![], vec![], false));
        assert_eq!(after("[COMMAND]", &[]), (vec![], vec!["COMMAND"], true));
    }

    #[test]
    fn sequences_may_be_nested_and_repeated() {
        const NETWORK: &str = "dhcp | static ADDRESS/PREFIX [gateway ADDRESS [dns ADDRESS...]] | off";
        assert_eq!(after(NETWORK, &[]), (vec!["dhcp", "static", "off"], vec![], false));
        assert_eq!(after(NETWORK, &["static", "x"]), (vec!["gateway"], vec![], true));
        assert_eq!(after(NETWORK, &["static", "x", "gateway", "y"]), (vec!["dns"], vec![], true));
        assert_eq!(after(NETWORK, &["static", "x", "gateway", "y", "dns"]), (vec![], vec!["ADDRESS"], false));
        let more = ["static", "x", "gateway", "y", "dns", "z", "z"];
        assert_eq!(after(NETWORK, &more), (vec![], vec!["ADDRESS"], true));
        assert_eq!(after("ADDRESS|off", &[]), (vec!["off"], vec!["ADDRESS"], false));
    }
}
