//! Which folder names a pattern of LIST and LSUB means (RFC 3501 §6.3.8).

use crate::limits;

/// Reference and pattern joined, and made short: ready to be held against names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// No two wildcards follow each other, and there are at most as many other bytes as a name can have.
    bytes: Vec<u8>,
    /// It is longer than any name.
    hopeless: bool,
}

impl Pattern {
    /// The reference is put before the pattern as it is: `LIST a/ %` is `LIST "" a/%`.
    pub fn new(reference: &str, pattern: &str) -> Pattern {
        let mut bytes = Vec::new();
        let mut plain = 0;
        for byte in reference.bytes().chain(pattern.bytes()) {
            match (bytes.last(), byte) {
                // A run of wildcards is one, the stronger.
                (Some(b'*'), b'*' | b'%') | (Some(b'%'), b'%') => {}
                (Some(b'%'), b'*') => {
                    bytes.pop();
                    bytes.push(b'*');
                }
                _ => {
                    plain += usize::from(!is_wildcard(byte));
                    bytes.push(byte);
                }
            }
            if plain > limits::FOLDER_NAME_BYTES_MAX {
                return Pattern { bytes: Vec::new(), hopeless: true };
            }
        }
        Pattern { bytes, hopeless: false }
    }

    /// Whether the folder's name, decoded, is meant: `*` is anything, `%` anything without a delimiter. INBOX has no case.
    ///
    /// Takes time in proportion to name times pattern at worst; both are at most about `limits::FOLDER_NAME_BYTES_MAX`.
    pub fn matches(&self, name: &str) -> bool {
        if self.hopeless {
            return false;
        }
        let inbox = name == "INBOX" || name.starts_with("INBOX/");
        // reached[n]: the name so far is meant by the first n bytes of the pattern.
        let mut reached = vec![false; self.bytes.len() + 1];
        reached[0] = true;
        self.pass_wildcards(&mut reached);
        for (at, letter) in name.bytes().enumerate() {
            let mut next = vec![false; reached.len()];
            for (n, byte) in self.bytes.iter().enumerate().filter(|(n, _)| reached[*n]) {
                if is_wildcard(*byte) {
                    next[n] |= *byte == b'*' || letter != super::DELIMITER as u8;
                } else if *byte == letter || inbox && at < 5 && byte.eq_ignore_ascii_case(&letter) {
                    next[n + 1] = true;
                }
            }
            self.pass_wildcards(&mut next);
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }

    /// A wildcard may stand for nothing.
    fn pass_wildcards(&self, reached: &mut [bool]) {
        for (n, byte) in self.bytes.iter().enumerate() {
            if reached[n] && is_wildcard(*byte) {
                reached[n + 1] = true;
            }
        }
    }
}

fn is_wildcard(byte: u8) -> bool {
    matches!(byte, b'*' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_names() {
        let table = [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("a/%", "a/", true),
            ("a*c", "a/b/c", true),
            ("a%c", "a/b/c", false),
            ("*b", "a/b", true),
            ("*x%y%z", "x/xaybz", true),
            ("*%", "a/b", true),
            ("%*%", "a/b", true),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a", "A", false),
            ("inbox", "INBOX", true),
            ("iN%", "INBOX", true),
            ("inbox/a", "INBOX/a", true),
            ("inbox/a", "INBOX/A", false),
            ("Entw%", "Entwürfe", true),
            ("%ü%", "Entwürfe", true),
        ];
        for (pattern, name, wanted) in table {
            assert_eq!(Pattern::new("", pattern).matches(name), wanted, "{pattern} {name}");
        }
        assert!(Pattern::new("a/", "%").matches("a/b"));
        assert!(!Pattern::new("a/", "%").matches("b"));
    }

    #[test]
    fn it_agrees_with_the_definition() {
        fn defined(pattern: &[u8], name: &[u8]) -> bool {
            match (pattern.split_first(), name.split_first()) {
                (None, _) => name.is_empty(),
                (Some((b'*', rest)), Some((_, tail))) => defined(rest, name) || defined(pattern, tail),
                (Some((b'%', rest)), Some((b'/', _))) => defined(rest, name),
                (Some((b'%', rest)), Some((_, tail))) => defined(rest, name) || defined(pattern, tail),
                (Some((b'*' | b'%', rest)), None) => defined(rest, name),
                (Some((byte, rest)), Some((letter, tail))) => byte == letter && defined(rest, tail),
                (Some(_), None) => false,
            }
        }
        let spell = |mut number: usize, letters: &[u8; 4]| {
            let mut text = String::new();
            while number > 0 {
                text.push(letters[number % 4] as char);
                number /= 4;
            }
            text
        };
        for pattern in (0..1024).map(|number| spell(number, b"*%/a")) {
            for name in (0..256).map(|number| spell(number, b"ab/a")) {
                let wanted = defined(pattern.as_bytes(), name.as_bytes());
                assert_eq!(Pattern::new("", &pattern).matches(&name), wanted, "{pattern} {name}");
            }
        }
    }

    #[test]
    fn hostile_patterns_are_short_work() {
        let name = "a".repeat(limits::FOLDER_NAME_BYTES_MAX);
        assert!(Pattern::new("", &"%*".repeat(30_000)).matches(&name));
        assert!(!Pattern::new("", &format!("{}b", "*a".repeat(250))).matches(&name));
        assert!(Pattern::new("", &"a".repeat(60_000)).hopeless);
        assert!(Pattern::new("", &name).matches(&name));
    }
}
