//! The MIME fields of a header: types, parameters, encodings, dispositions, languages (RFC 2045 §5, §6; RFC 2183; RFC 2231; RFC 3282).
//!
//! Refuses nothing that can be understood: a missing semicolon, blanks in an unquoted value, comments anywhere.
//!
//! Invariant: names come out in lower case, RFC 2231 continuations joined and their charset turned into UTF-8.

use super::{Encoding, Params, Text};
use crate::wire::charset;

/// Bytes of a type, a subtype or a parameter's name that are believed.
const TOKEN_BYTES_MAX: usize = 127;
/// Parameters of one field.
const PARAMS_MAX: usize = 64;

/// The header fields that a structure is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Bcc,
    Cc,
    ContentType,
    Date,
    Description,
    Disposition,
    Encoding,
    From,
    Id,
    InReplyTo,
    Language,
    Location,
    Md5,
    MessageId,
    ReplyTo,
    Sender,
    Subject,
    To,
}

impl Field {
    const NAMES: [(&str, Field); 18] = [
        ("Bcc", Field::Bcc),
        ("Cc", Field::Cc),
        ("Content-Description", Field::Description),
        ("Content-Disposition", Field::Disposition),
        ("Content-ID", Field::Id),
        ("Content-Language", Field::Language),
        ("Content-Location", Field::Location),
        ("Content-MD5", Field::Md5),
        ("Content-Transfer-Encoding", Field::Encoding),
        ("Content-Type", Field::ContentType),
        ("Date", Field::Date),
        ("From", Field::From),
        ("In-Reply-To", Field::InReplyTo),
        ("Message-ID", Field::MessageId),
        ("Reply-To", Field::ReplyTo),
        ("Sender", Field::Sender),
        ("Subject", Field::Subject),
        ("To", Field::To),
    ];

    /// The field of that name, any case.
    pub fn of(name: &[u8]) -> Option<Field> {
        Field::NAMES
            .into_iter()
            .find(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes()))
            .map(|(_, field)| field)
    }
}

/// A value as it is kept: blanks at its ends removed, CR and NUL made spaces, since no IMAP string in a line can hold them.
pub fn clean(value: &[u8]) -> Vec<u8> {
    let visible = |byte: &u8| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte };
    let cleaned: Vec<u8> = value.iter().map(visible).collect();
    cleaned.trim_ascii().to_vec()
}

/// Type, subtype and parameters.
///
/// ```text
/// content := "Content-Type" ":" type "/" subtype *(";" parameter)
/// ```
pub fn content_type(value: &[u8]) -> Option<(Text, Text, Params)> {
    let value = without_comments(value);
    let (kind, rest) = token(&value);
    let (subtype, rest) = token(rest.trim_ascii_start().strip_prefix(b"/")?.trim_ascii_start());
    let fits = |word: &[u8]| (1..=TOKEN_BYTES_MAX).contains(&word.len());
    (fits(kind) && fits(subtype)).then(|| (lower(kind), lower(subtype), params(rest)))
}

/// `disposition := "Content-Disposition" ":" disposition-type *(";" disposition-parm)`
///
/// Without a type it is an attachment, as an unknown one is (RFC 2183 §2.8).
pub fn disposition(value: &[u8]) -> (Text, Params) {
    let value = without_comments(value);
    let (kind, rest) = token(&value);
    let is_param = rest.trim_ascii_start().starts_with(b"=");
    if kind.is_empty() || kind.len() > TOKEN_BYTES_MAX || is_param {
        return (b"attachment"[..].into(), params(if is_param { &value } else { rest }));
    }
    (lower(kind), params(rest))
}

/// `encoding := "Content-Transfer-Encoding" ":" mechanism`
pub fn encoding(value: &[u8]) -> Encoding {
    let value = without_comments(value);
    let name = token(&value).0;
    match &*lower(name.get(..TOKEN_BYTES_MAX).unwrap_or(name)) {
        b"" | b"7bit" => Encoding::SevenBit,
        b"8bit" => Encoding::EightBit,
        b"binary" => Encoding::Binary,
        b"quoted-printable" => Encoding::QuotedPrintable,
        b"base64" => Encoding::Base64,
        other => Encoding::Other(other.into()),
    }
}

/// `Language-List = *([CFWS] ",") [CFWS] Language-Tag …`
pub fn language(value: &[u8]) -> Vec<Text> {
    let value = without_comments(value);
    let tags = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
    tags.take(PARAMS_MAX).map(Text::from).collect()
}

/// A token and what follows it (RFC 2045 §5.1). 8-bit bytes are tolerated.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| *byte <= b' ' || b"()<>@,;:\\\"/[]?=\x7f".contains(byte);
    text.split_at_checked(text.iter().position(ends).unwrap_or(text.len())).unwrap_or((text, &[]))
}

fn lower(word: &[u8]) -> Text {
    word.to_ascii_lowercase().into()
}

/// Takes comments out that stand outside quotes; a space stands for each. An unclosed one is no comment.
fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(value.len());
    let (mut depth, mut quoted, mut escaped, mut opened) = (0_usize, false, false, 0);
    for (at, byte) in value.iter().enumerate() {
        let was_escaped = escaped;
        escaped = !was_escaped && *byte == b'\\' && (quoted || depth > 0);
        match byte {
            b'"' if !was_escaped && depth == 0 => quoted = !quoted,
            b'(' if !was_escaped && !quoted => {
                if depth == 0 {
                    (opened, _) = (at, kept.push(b' '));
                }
                depth += 1;
            }
            b')' if !was_escaped && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(*byte);
        }
    }
    if depth > 0 {
        kept.pop();
        kept.extend_from_slice(value.get(opened..).unwrap_or_default());
    }
    kept
}

/// ```text
/// parameter := attribute "=" value        ; value := token / quoted-string
/// ```
///
/// Semicolons may be doubled or missing after a quoted value; an unquoted value goes to the next semicolon.
fn params(mut rest: &[u8]) -> Params {
    let mut written = Vec::new();
    while written.len() < PARAMS_MAX {
        let skip = |byte: &u8| *byte == b';' || byte.is_ascii_whitespace();
        rest = rest.get(rest.iter().take_while(|byte| skip(byte)).count()..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let (name, after) = token(rest);
        let Some(value) = after.trim_ascii_start().strip_prefix(b"=") else {
            // No parameter: on to the next one.
            let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = if value.starts_with(b"\"") { quoted(value) } else { unquoted(value) };
        rest = after;
        if (1..=TOKEN_BYTES_MAX).contains(&name.len()) {
            written.push((name.to_ascii_lowercase(), value));
        }
    }
    join(written)
}

/// A quoted string without its quotes, and what follows it. An unclosed one goes to the end.
fn quoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, text.get(at + 1..).unwrap_or_default()),
            b'\\' => value.extend(bytes.next().map(|(_, quoted)| *quoted)),
            other => value.push(*other),
        }
    }
    (value, &[])
}

fn unquoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (value, rest) = text
        .split_at_checked(text.iter().position(|byte| *byte == b';').unwrap_or(text.len()))
        .unwrap_or((text, &[]));
    (value.trim_ascii().to_vec(), rest)
}

/// One piece of a parameter by RFC 2231: `name*2*`.
struct Piece<'a> {
    base: &'a [u8],
    number: usize,
    is_extended: bool,
}

fn piece(name: &[u8]) -> Option<Piece<'_>> {
    let star = name.iter().position(|byte| *byte == b'*').filter(|star| *star > 0)?;
    let (base, rest) = name.split_at_checked(star)?;
    let rest = rest.get(1..)?;
    let (digits, is_extended) = match rest.strip_suffix(b"*") {
        Some(digits) => (digits, true),
        None => (rest, rest.is_empty()),
    };
    let number = match digits {
        b"" => 0,
        digits if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
        }
        _ => return None,
    };
    Some(Piece { base, number, is_extended })
}

/// Joins what RFC 2231 took apart. A plain parameter of the same name gives way to the extended one (RFC 6266 §4.3).
fn join(written: Vec<(Vec<u8>, Vec<u8>)>) -> Params {
    let mut joined: Params = Vec::new();
    let mut done: Vec<&[u8]> = Vec::new();
    for (name, value) in &written {
        let base = piece(name).map_or(name.as_slice(), |piece| piece.base);
        if done.contains(&base) {
            continue;
        }
        done.push(base);
        let mut pieces: Vec<(Piece<'_>, &[u8])> = written
            .iter()
            .filter_map(|(name, value)| piece(name).map(|piece| (piece, value.as_slice())))
            .filter(|(piece, _)| piece.base == base)
            .collect();
        if pieces.is_empty() {
            joined.push((base.into(), value.as_slice().into()));
            continue;
        }
        pieces.sort_by_key(|(piece, _)| piece.number);
        joined.push((base.into(), extended(&pieces).into()));
    }
    joined
}

/// The value of numbered pieces in their order: `charset'language'%xx…` in the first, when that one is extended (RFC 2231 §4.1).
fn extended(pieces: &[(Piece<'_>, &[u8])]) -> Vec<u8> {
    let mut label: &[u8] = &[];
    let mut bytes = Vec::new();
    for (index, (piece, value)) in pieces.iter().enumerate() {
        // Numbers have no gaps: what comes after one is not of this value. Nor is a second piece of the same number.
        if index != 0 && piece.number != index {
            break;
        }
        let mut value = *value;
        if index == 0 && piece.is_extended {
            let mut quotes = value.splitn(3, |byte| *byte == b'\'');
            if let (Some(charset), Some(_), Some(text)) = (quotes.next(), quotes.next(), quotes.next()) {
                (label, value) = (charset, text);
            }
        }
        if piece.is_extended { percent(value, &mut bytes) } else { bytes.extend_from_slice(value) }
    }
    if bytes.is_ascii() && !label.to_ascii_lowercase().starts_with(b"iso-2022") {
        return clean(&bytes);
    }
    clean(charset::decode(label, &bytes).as_bytes())
}

fn percent(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        let digits = match (first, tail) {
            (b'%', [high, low, ..]) => charset::hex(*high).zip(charset::hex(*low)),
            _ => None,
        };
        match digits {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(params: &[(Text, Text)]) -> String {
        let pair = |(name, value): &(Text, Text)| {
            format!("{}={}", name.escape_ascii(), String::from_utf8_lossy(value))
        };
        params.iter().map(pair).collect::<Vec<_>>().join("|")
    }

    fn typed(value: &str) -> Option<String> {
        content_type(value.as_bytes()).map(|(kind, sub, params)| {
            format!("{}/{} {}", kind.escape_ascii(), sub.escape_ascii(), shown(&params))
        })
    }

    #[test]
    fn types_are_read_generously() {
        for (value, read) in [
            ("text/plain", "text/plain "),
            ("TEXT/Html; Charset=UTF-8", "text/html charset=UTF-8"),
            (
                "text / plain (a; (b)) ; charset = \"x;\\\"y\" ;; format=flowed;",
                "text/plain charset=x;\"y|format=flowed",
            ),
            ("multipart/mixed boundary=\"a b\"", "multipart/mixed boundary=a b"),
            ("a/b; name=my file.pdf; x=\"y\" z=1", "a/b name=my file.pdf|x=y|z=1"),
            ("a/b; name=\"open", "a/b name=open"),
            ("a/b; junk; =x; c=d", "a/b c=d"),
            ("a/b; n=x (unclosed", "a/b n=x (unclosed"),
        ] {
            assert_eq!(typed(value).as_deref(), Some(read), "{value}");
        }
        for value in ["", "text", "text/", "/plain", ";", "text plain"] {
            assert_eq!(typed(value), None, "{value}");
        }
    }

    #[test]
    fn rfc_2231_is_undone() {
        for (value, read) in [
            ("a/b; title*0=\"one \"; title*1=two", "title=one two"),
            ("a/b; url*1=\"c\"; url*0=\"ab\"", "url=abc"),
            ("a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title=This is ***fun***"),
            ("a/b; n*0*=utf-8''%C3%A4; n*1=%41; n*2*=%42", "n=ä%41B"),
            ("a/b; filename=x; filename*=iso-8859-1''%E4.txt", "filename=ä.txt"),
            ("a/b; filename*=iso-8859-1''%E4.txt; filename=x", "filename=ä.txt"),
            ("a/b; n*=%zz%4", "n=%zz%4"),
            ("a/b; n*0=a; n*2=c", "n=a"),
            ("a/b; n*x=a; *0*=b", "n*x=a|*0*=b"),
        ] {
            assert_eq!(
                typed(value).map(|read| read.replacen("a/b ", "", 1)).as_deref(),
                Some(read),
                "{value}"
            );
        }
    }

    #[test]
    fn dispositions_and_encodings() {
        let (kind, params) = disposition(b"; filename=\"a.png\"");
        assert_eq!((&*kind, shown(&params).as_str()), (&b"attachment"[..], "filename=a.png"));
        let (kind, params) = disposition(b"filename=a.png");
        assert_eq!((&*kind, shown(&params).as_str()), (&b"attachment"[..], "filename=a.png"));
        let (kind, params) = disposition(b"Inline (x)");
        assert_eq!((&*kind, shown(&params).as_str()), (&b"inline"[..], ""));
        assert_eq!(encoding(b"BASE64 (x)"), Encoding::Base64);
        assert_eq!(encoding(b"Quoted-Printable;"), Encoding::QuotedPrintable);
        assert_eq!(encoding(b""), Encoding::SevenBit);
        assert_eq!(encoding(b"X-Uue"), Encoding::Other(b"x-uue"[..].into()));
        assert_eq!(language(b"de, (x) en-GB,,"), [Text::from(&b"de"[..]), Text::from(&b"en-GB"[..])]);
    }
}
