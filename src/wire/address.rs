//! Addresses as SMTP speaks them: paths, local parts, domains, address literals (RFC 5321 §4.1.2, §4.1.3; RFC 6531 §3.3).
//!
//! Refuses to know which addresses exist, and to read header fields: those are in [`super::mime`].
//!
//! Invariants: an [`Address`] printed and parsed again is the same; lengths are those of RFC 5321 §4.5.3.1.

use std::fmt;

use super::Malformed;

/// Bytes of a local part as written (RFC 5321 §4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;
/// Bytes of a domain (RFC 5321 §4.5.3.1.2).
const DOMAIN_BYTES_MAX: usize = 255;
/// Bytes of a path with its brackets (RFC 5321 §4.5.3.1.3).
const PATH_BYTES_MAX: usize = 256;

/// Somebody's address: `local@domain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The local part without quoting, in the case it was written in.
    pub local: String,
    /// The domain in lower case, or an address literal with its brackets.
    pub domain: String,
}

/// What MAIL FROM and RCPT TO name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// `<>`: nobody; the sender of notifications.
    Null,
    /// `<postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
    /// Somebody.
    Mailbox(Address),
}

impl Address {
    /// The address of a text without brackets, as a person types it at the console: `anna@example.de`.
    pub fn parse(text: &[u8], utf8: bool) -> Result<Address, Malformed> {
        let (address, rest) = mailbox(text, utf8)?;
        if rest.is_empty() { Ok(address) } else { Err(Malformed) }
    }

    /// What lookups compare: local part and domain in lower case. Deliberate: no two mailboxes differ in case only.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }
}

/// Quotes the local part where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext));
        if plain {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for letter in self.local.chars() {
            if matches!(letter, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{letter}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

/// As SMTP writes it, with brackets.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Null => f.write_str("<>"),
            Path::Postmaster => f.write_str("<postmaster>"),
            Path::Mailbox(address) => write!(f, "<{address}>"),
        }
    }
}

/// ```text
/// Reverse-path = Path / "<>"
/// Path         = "<" [ A-d-l ":" ] Mailbox ">"        ; or "<Postmaster>"
/// A-d-l        = At-domain *( "," At-domain )          ; accepted and ignored (RFC 5321 appendix C)
/// ```
///
/// The answer is the path and what follows it. `utf8`: the peer has said SMTPUTF8.
pub fn parse_path(text: &[u8], utf8: bool) -> Result<(Path, &[u8]), Malformed> {
    let inner = text.strip_prefix(b"<").ok_or(Malformed)?;
    if let Some(rest) = inner.strip_prefix(b">") {
        return Ok((Path::Null, rest));
    }
    let inner = source_route(inner)?;
    let word = inner.iter().position(|byte| *byte == b'>').and_then(|end| inner.split_at_checked(end));
    if let Some((word, rest)) = word
        && word.eq_ignore_ascii_case(b"postmaster")
    {
        return Ok((Path::Postmaster, rest.get(1..).unwrap_or_default()));
    }
    let (address, rest) = mailbox(inner, utf8)?;
    let rest = rest.strip_prefix(b">").ok_or(Malformed)?;
    if text.len() - rest.len() > PATH_BYTES_MAX {
        return Err(Malformed);
    }
    Ok((Path::Mailbox(address), rest))
}

fn source_route(mut inner: &[u8]) -> Result<&[u8], Malformed> {
    if !inner.starts_with(b"@") {
        return Ok(inner);
    }
    loop {
        let hop = inner.strip_prefix(b"@").ok_or(Malformed)?;
        let end = hop.iter().position(|byte| matches!(byte, b',' | b':' | b'>')).ok_or(Malformed)?;
        let (host, rest) = hop.split_at_checked(end).ok_or(Malformed)?;
        domain(host, true)?;
        match rest {
            [b':', rest @ ..] => return Ok(rest),
            [b',', rest @ ..] => inner = rest,
            _ => return Err(Malformed),
        }
    }
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )`; the answer is the address and what follows it.
fn mailbox(text: &[u8], utf8: bool) -> Result<(Address, &[u8]), Malformed> {
    let (local, rest) =
        if text.starts_with(b"\"") { quoted_string(text, utf8)? } else { dot_string(text, utf8)? };
    let rest = rest.strip_prefix(b"@").ok_or(Malformed)?;
    let end = if rest.starts_with(b"[") {
        rest.iter().position(|byte| *byte == b']').ok_or(Malformed)? + 1
    } else {
        rest.iter().position(|byte| !is_domain_byte(*byte)).unwrap_or(rest.len())
    };
    let (host, rest) = rest.split_at_checked(end).ok_or(Malformed)?;
    Ok((Address { local, domain: domain(host, utf8)? }, rest))
}

/// `Dot-string = Atom *("." Atom)`
fn dot_string(text: &[u8], utf8: bool) -> Result<(String, &[u8]), Malformed> {
    let end = text.iter().position(|byte| *byte != b'.' && !is_atext(*byte)).unwrap_or(text.len());
    let (local, rest) = text.split_at_checked(end).ok_or(Malformed)?;
    if local.len() > LOCAL_BYTES_MAX || local.split(|byte| *byte == b'.').any(<[u8]>::is_empty) {
        return Err(Malformed);
    }
    Ok((letters(local.to_vec(), utf8)?, rest))
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`
fn quoted_string(text: &[u8], utf8: bool) -> Result<(String, &[u8]), Malformed> {
    let mut local = Vec::new();
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                // An empty local part cannot be told from none, and nobody has one.
                if local.is_empty() || at + 1 > LOCAL_BYTES_MAX {
                    return Err(Malformed);
                }
                return Ok((letters(local, utf8)?, text.get(at + 1..).unwrap_or_default()));
            }
            b'\\' => match bytes.next() {
                Some((_, quoted @ b' '..=b'~')) => local.push(*quoted),
                _ => return Err(Malformed),
            },
            b' '..=b'~' | 0x80.. => local.push(*byte),
            _ => return Err(Malformed),
        }
    }
    Err(Malformed)
}

fn letters(bytes: Vec<u8>, utf8: bool) -> Result<String, Malformed> {
    if !utf8 && !bytes.is_ascii() {
        return Err(Malformed);
    }
    String::from_utf8(bytes).map_err(|_| Malformed)
}

/// A domain or an address literal, checked, in lower case.
///
/// ```text
/// Domain          = sub-domain *("." sub-domain)
/// sub-domain      = Let-dig [Ldh-str]                 ; or a U-label (RFC 6531 §3.3); "_" is tolerated
/// address-literal = "[" ( IPv4 / "IPv6:" IPv6 / General-address-literal ) "]"
/// ```
pub fn domain(text: &[u8], utf8: bool) -> Result<String, Malformed> {
    if text.is_empty() || text.len() > DOMAIN_BYTES_MAX {
        return Err(Malformed);
    }
    let name = letters(text.to_vec(), utf8)?.to_lowercase();
    if let Some(literal) = name.strip_prefix('[') {
        return address_literal(literal.strip_suffix(']').ok_or(Malformed)?).then_some(name).ok_or(Malformed);
    }
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        (1..=63).contains(&bytes.len())
            && ends(bytes.first())
            && ends(bytes.last())
            && label
                .chars()
                .all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_') || is_mark(letter))
    };
    name.split('.').all(label).then_some(name).ok_or(Malformed)
}

/// Combining marks belong to letters of many scripts and are not `alphanumeric`; no ASCII is.
fn is_mark(letter: char) -> bool {
    !letter.is_ascii() && !letter.is_whitespace() && !letter.is_control()
}

fn address_literal(inner: &str) -> bool {
    if let Some(six) = inner.strip_prefix("ipv6:") {
        return six.parse::<std::net::Ipv6Addr>().is_ok();
    }
    if inner.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    let Some((tag, content)) = inner.split_once(':') else { return false };
    let tag_fits = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    tag_fits
        && !content.is_empty()
        && content.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'[' | b'\\'))
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') || byte >= 0x80
}

/// `atext` of RFC 5322 §3.2.3, with every byte of UTF-8 (RFC 6531 §3.3).
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<(String, String), Malformed> {
        parse_path(text.as_bytes(), false)
            .map(|(path, rest)| (path.to_string(), String::from_utf8_lossy(rest).into_owned()))
    }

    #[test]
    fn paths_are_read_and_printed() {
        for (text, printed, rest) in [
            ("<>", "<>", ""),
            ("<> SIZE=3", "<>", " SIZE=3"),
            ("<PostMaster>", "<postmaster>", ""),
            ("<Anna@Example.DE> X", "<Anna@example.de>", " X"),
            ("<a.b+c@x>", "<a.b+c@x>", ""),
            ("<\"a b\"@x.de>", "<\"a b\"@x.de>", ""),
            ("<\"anna\"@x.de>", "<anna@x.de>", ""),
            ("<\"a>\\\"b\"@x.de>", "<\"a>\\\"b\"@x.de>", ""),
            ("<@hop.one,@hop.two:anna@x.de>", "<anna@x.de>", ""),
            ("<a@[127.0.0.1]>", "<a@[127.0.0.1]>", ""),
            ("<a@[IPv6:::1]>", "<a@[ipv6:::1]>", ""),
            ("<a@[tag:some-thing]>", "<a@[tag:some-thing]>", ""),
        ] {
            assert_eq!(path(text), Ok((printed.into(), rest.into())), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long_local = format!("<{}@x.de>", "a".repeat(65));
        let long_domain = format!("<a@{}>", "a.".repeat(130));
        for text in [
            "",
            "<",
            "a@x.de",
            "<a@x.de",
            "<a@>",
            "<@x.de>",
            "<a>",
            "<a b@x.de>",
            "<.a@x.de>",
            "<a.@x.de>",
            "<a..b@x.de>",
            "<a@x..de>",
            "<a@-x.de>",
            "<a@x-.de>",
            "<a@[1.2.3]>",
            "<a@[1.2.3.4>",
            "<\"a@x.de>",
            "<\"\"@x.de>",
            "<a@x.de,b@y.de>",
            "<ä@x.de>",
            "<a@x.de.>",
            "<a\u{0}@x.de>",
            &long_local,
            &long_domain,
        ] {
            assert_eq!(path(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn utf8_needs_leave() {
        let text = "<jörg@MÜNCHEN.example>".as_bytes();
        assert_eq!(parse_path(text, false), Err(Malformed));
        let address = Address { local: "jörg".into(), domain: "münchen.example".into() };
        assert_eq!(parse_path(text, true), Ok((Path::Mailbox(address), &b""[..])));
        assert_eq!(parse_path(b"<j\xf6rg@x.de>", true), Err(Malformed));
    }

    #[test]
    fn an_address_printed_is_parsed_back() {
        for local in ["anna", "a b", "a\"b", "a\\b", ".", "a..b", "@", "a@b", "ä"] {
            let address = Address { local: local.into(), domain: "x.de".into() };
            assert_eq!(Address::parse(address.to_string().as_bytes(), true), Ok(address));
        }
        let address = Address::parse(b"Anna@X.de", false).unwrap();
        assert_eq!(address.key(), "anna@x.de");
    }
}
