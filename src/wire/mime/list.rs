//! Address lists of header fields (RFC 5322 §3.4, §4.4), as RFC 3501 §7.4.2 wants them told.
//!
//! Refuses nothing: what is no address becomes one without a domain, since readers want to see what is there.
//!
//! Invariants: linear in the field; every start of a group has its end, also when the list is cut off.

use super::{Mailbox, Text};

/// ```text
/// address-list = address *("," address)                        ; empty ones are passed over
/// address      = mailbox / group
/// mailbox      = [display-name] "<" [obs-route] addr-spec ">" / addr-spec
/// group        = display-name ":" [address-list] ";"
/// ```
///
/// At most `count_max` addresses, with the marks of groups among them.
pub fn parse(value: &[u8], count_max: usize) -> Vec<Mailbox> {
    let mut reader = Reader { rest: value, listed: Vec::new(), in_group: false };
    while !reader.rest.is_empty() && reader.listed.len() + 1 < count_max {
        reader.address();
    }
    if reader.in_group {
        reader.listed.push(Mailbox::default());
    }
    reader.listed
}

/// Leaves at most `count_max` addresses, with every group that begins among them ended.
pub fn cut(listed: &mut Vec<Mailbox>, count_max: usize) {
    if listed.len() <= count_max {
        return;
    }
    listed.truncate(count_max);
    // The last mark of a group, if it is a start, has lost its end.
    let is_start = |mailbox: &Mailbox| mailbox.host.is_none() && mailbox.local.is_some();
    let last_mark = listed.iter().rfind(|mailbox| mailbox.host.is_none());
    if last_mark.is_some_and(is_start)
        && let Some(last) = listed.pop()
        && !is_start(&last)
    {
        listed.push(Mailbox::default());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    listed: Vec<Mailbox>,
    in_group: bool,
}

/// Words as they are read, before it is known whether they are a name or an address.
#[derive(Default)]
struct Words {
    /// As a name: quotes removed, blanks between words.
    name: Vec<u8>,
    /// As an address: quotes removed, no blanks.
    spec: Vec<u8>,
    /// Where `spec` has its last unquoted `@`.
    at: Option<usize>,
    /// White space has passed since the last word.
    blank: bool,
    comment: Option<Vec<u8>>,
}

impl Words {
    fn push(&mut self, bytes: &[u8]) {
        if self.blank && !self.name.is_empty() {
            self.name.push(b' ');
        }
        self.blank = false;
        self.name.extend_from_slice(bytes);
        self.spec.extend_from_slice(bytes);
    }

    fn display_name(&self) -> Option<Text> {
        let name = self.name.trim_ascii();
        (!name.is_empty()).then(|| name.into())
    }
}

impl<'a> Reader<'a> {
    /// One address, or one mark of a group.
    fn address(&mut self) {
        let mut words = Words::default();
        while let Some(byte) = self.rest.first() {
            match byte {
                b',' => {
                    self.skip(1);
                    break;
                }
                b';' => {
                    self.skip(1);
                    self.end_spec(words);
                    if std::mem::take(&mut self.in_group) {
                        self.listed.push(Mailbox::default());
                    }
                    return;
                }
                b'<' => return self.angle(words),
                b':' if !self.in_group && words.at.is_none() => {
                    self.skip(1);
                    self.in_group = true;
                    let name = words.display_name().unwrap_or_default();
                    self.listed.push(Mailbox { local: Some(name), ..Mailbox::default() });
                    return;
                }
                _ => self.word(&mut words),
            }
        }
        self.end_spec(words);
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// One word, blank or comment that stands in front.
    fn word(&mut self, words: &mut Words) {
        match self.rest.first() {
            Some(b'"') => {
                let text = self.quoted();
                words.push(&text);
            }
            Some(b'(') => {
                words.comment = Some(self.comment());
                words.blank = true;
            }
            Some(b'[') => {
                let end =
                    self.rest.iter().position(|byte| *byte == b']').map_or(self.rest.len(), |end| end + 1);
                words.push(self.rest.get(..end).unwrap_or_default());
                self.skip(end);
            }
            Some(b' ' | b'\t') => {
                words.blank = true;
                self.skip(1);
            }
            _ => {
                let ends = |byte: &u8| {
                    matches!(byte, b'"' | b'(' | b'[' | b' ' | b'\t' | b',' | b';' | b'<' | b'>' | b':')
                };
                // At least one byte, so that a bracket or colon that is out of place is part of a word.
                let end = self.rest.iter().skip(1).position(ends).map_or(self.rest.len(), |end| end + 1);
                let word = self.rest.get(..end).unwrap_or_default();
                words.push(word);
                if let Some(at) = word.iter().rposition(|byte| *byte == b'@') {
                    words.at = Some(words.spec.len() - word.len() + at);
                }
                self.skip(end);
            }
        }
    }

    /// A quoted string without its quotes; an unclosed one goes to the end.
    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut bytes = self.rest.iter().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.skip(at + 1);
                    return text;
                }
                b'\\' => text.extend(bytes.next().map(|(_, byte)| *byte)),
                other => text.push(*other),
            }
        }
        self.rest = &[];
        text
    }

    /// A comment's text, with nested ones in it; an unclosed one goes to the end.
    fn comment(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0_usize;
        let mut bytes = self.rest.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 1 => {
                    self.skip(at + 1);
                    return text.get(1..).unwrap_or_default().to_vec();
                }
                b')' => depth -= 1,
                b'\\' => {
                    text.extend(bytes.next().map(|(_, byte)| *byte));
                    continue;
                }
                _ => {}
            }
            text.push(*byte);
        }
        self.rest = &[];
        text.get(1..).unwrap_or_default().to_vec()
    }

    /// `angle-addr = "<" [obs-route] addr-spec ">"`, then whatever stands before the next separator.
    fn angle(&mut self, words: Words) {
        self.skip(1);
        let route = self.route();
        let mut spec = Words::default();
        while let Some(byte) = self.rest.first() {
            match byte {
                b'>' => {
                    self.skip(1);
                    break;
                }
                b',' | b';' if spec.at.is_some() => break,
                b'<' => self.skip(1),
                _ => self.word(&mut spec),
            }
        }
        let name = words.display_name();
        if name.is_some() || !spec.spec.is_empty() {
            let (local, host) = split(&spec);
            self.listed.push(Mailbox { name, route, local: Some(local), host: Some(host) });
        }
        self.skip_to_separator();
    }

    /// `obs-route = "@" domain *("," "@" domain) ":"`
    fn route(&mut self) -> Option<Text> {
        let inner = self.rest.trim_ascii_start();
        if !inner.starts_with(b"@") {
            return None;
        }
        // Not beyond another bracket: looking further for each of many would not be linear.
        let end = inner.iter().position(|byte| matches!(byte, b':' | b'>' | b'<'))?;
        let (route, rest) = inner.split_at_checked(end)?;
        self.rest = rest.strip_prefix(b":")?;
        Some(route.into())
    }

    /// After an address in brackets: comments and junk, up to a separator or the beginning of another address.
    fn skip_to_separator(&mut self) {
        let mut ignored = Words::default();
        while let Some(byte) = self.rest.first() {
            match byte {
                b',' => return self.skip(1),
                b';' | b'<' | b'"' => return,
                b':' => self.skip(1),
                b' ' | b'\t' | b'(' => self.word(&mut ignored),
                _ => return,
            }
        }
    }

    /// An address without brackets: the name, if any, is in a comment.
    fn end_spec(&mut self, words: Words) {
        if words.spec.is_empty() {
            return;
        }
        let (local, host) = split(&words);
        let comment = words.comment.unwrap_or_default();
        let comment = comment.trim_ascii();
        let name = (!comment.is_empty()).then(|| comment.into());
        self.listed.push(Mailbox { name, route: None, local: Some(local), host: Some(host) });
    }
}

/// Local part and domain. Without an `@` all of it is the local part, as words.
fn split(words: &Words) -> (Text, Text) {
    let parts = words.at.and_then(|at| words.spec.split_at_checked(at));
    match parts {
        Some((local, host)) => (local.into(), host.get(1..).unwrap_or_default().into()),
        None => (words.name.trim_ascii().into(), Text::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let text = |text: &Option<Text>| {
            text.as_ref().map_or("-".into(), |text| String::from_utf8_lossy(text).into_owned())
        };
        let one = |m: &Mailbox| {
            let route = m.route.as_ref().map_or(String::new(), |_| format!("{{{}}}", text(&m.route)));
            format!("{}{route}<{}@{}>", text(&m.name), text(&m.local), text(&m.host))
        };
        parse(value.as_bytes(), 1000).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn addresses_are_read() {
        for (value, read) in [
            ("", ""),
            (" , ,", ""),
            ("anna@x.de", "-<anna@x.de>"),
            ("anna@x.de (Anna \\(A\\) (B))", "Anna (A) (B)<anna@x.de>"),
            ("Anna Meyer <anna@x.de>, ben@y.de", "Anna Meyer<anna@x.de> -<ben@y.de>"),
            ("\"Meyer, Anna\" <anna@x.de>", "Meyer, Anna<anna@x.de>"),
            ("\"M \\\"Q\\\" A\"  B <anna@x.de> (c), d@e", "M \"Q\" A B<anna@x.de> -<d@e>"),
            ("=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_X?= <j@x.de>", "=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_X?=<j@x.de>"),
            ("a . b @ x . de", "-<a.b@x.de>"),
            ("\"a b\"@x.de", "-<a b@x.de>"),
            ("\"a@b\"@x.de", "-<a@b@x.de>"),
            ("<@x.de>, <@a, <b@c>, <@a:b@c", "-<@x.de> -<@a> -<b@c> -{@a}<b@c>"),
            ("<@hop.one,@hop.two:a@x.de>", "-{@hop.one,@hop.two}<a@x.de>"),
            ("a@[IPv6:::1], b@[1.2.3.4]", "-<a@[IPv6:::1]> -<b@[1.2.3.4]>"),
            ("Undisclosed recipients:;", "-<Undisclosed recipients@-> -<-@->"),
            ("G: Anna <a@x>, b@y; , c@z", "-<G@-> Anna<a@x> -<b@y> -<-@-> -<c@z>"),
            ("G: a@x", "-<G@-> -<a@x> -<-@->"),
            ("<>", ""),
            ("Nobody <>", "Nobody<@>"),
            ("just words", "-<just words@>"),
            ("a@x.de b@y.de", "-<a@x.deb@y.de>"),
            ("A <a@x.de> B <b@y.de>", "A<a@x.de> B<b@y.de>"),
            ("A <a@x.de, B <b@y.de>", "A<a@x.de> B<b@y.de>"),
            ("A <a@x.de", "A<a@x.de>"),
            ("\"open <a@x.de>", "-<open <a@x.de>@>"),
            ("(only a comment)", ""),
            ("a@b@c", "-<a@b@c>"),
            ("Re: x: y;", "-<Re@-> -<x: y@> -<-@->"),
        ] {
            assert_eq!(shown(value), read, "{value}");
        }
    }

    #[test]
    fn lists_are_cut_off_and_groups_closed() {
        let value = format!("g:{}", "a@b,".repeat(5000));
        let listed = parse(value.as_bytes(), 1000);
        assert_eq!(listed.len(), 1000);
        assert_eq!(listed.last(), Some(&Mailbox::default()));
        let whole = parse(b"a@b, g: c@d, e@f;, h: i@j;", 1000);
        for (count, shown) in [
            (8, "@ g @ @ . h @ ."),
            (7, "@ g @ @ . h ."),
            (6, "@ g @ @ ."),
            (4, "@ g @ ."),
            (3, "@ g ."),
            (2, "@"),
            (0, ""),
        ] {
            let mut listed = whole.clone();
            cut(&mut listed, count);
            let mark = |mailbox: &Mailbox| match (&mailbox.local, &mailbox.host) {
                (_, Some(_)) => "@".to_string(),
                (Some(name), None) => String::from_utf8_lossy(name).into_owned(),
                (None, None) => ".".to_string(),
            };
            assert_eq!(listed.iter().map(mark).collect::<Vec<_>>().join(" "), shown, "{count}");
        }
    }
}
