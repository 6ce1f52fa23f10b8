//! Modified UTF-7, in which IMAP4rev1 writes folder names (RFC 3501 §5.1.3). Inside, names are UTF-8.
//!
//! Deliberate: names that come as raw UTF-8 are accepted as they are, because some clients send them; names always leave as modified
//! UTF-7. What is no modified UTF-7 is refused, not repaired: else two spellings would name one folder.

use crate::wire::Malformed;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// The UTF-8 name that `bytes` spells. Refuses control characters, bad or needless base64, and bytes that are not UTF-8.
///
/// "&" is written `&-`; other printable ASCII stands for itself; the rest is `"&" base64(UTF-16BE) "-"` with "," for "/", unpadded.
pub fn decode(bytes: &[u8]) -> Result<String, Malformed> {
    let mut rest = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
    let mut name = String::with_capacity(rest.len());
    if rest.chars().any(char::is_control) {
        return Err(Malformed);
    }
    while let Some((plain, shifted)) = rest.split_once('&') {
        name.push_str(plain);
        let (base64, after) = shifted.split_once('-').ok_or(Malformed)?;
        if base64.is_empty() {
            name.push('&');
        } else {
            decode_run(base64, &mut name)?;
            // Two runs side by side are one run in the only right spelling.
            if after.starts_with('&') && !after.starts_with("&-") {
                return Err(Malformed);
            }
        }
        rest = after;
    }
    name.push_str(rest);
    Ok(name)
}

fn decode_run(base64: &str, name: &mut String) -> Result<(), Malformed> {
    let mut units = Vec::with_capacity(base64.len() / 2);
    let (mut bits, mut count) = (0u32, 0);
    for byte in base64.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte).ok_or(Malformed)?;
        bits = (bits << 6 | value as u32) & 0x3f_ffff;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count & 0xffff) as u16);
        }
    }
    // What is left over is padding: less than one more letter, and zero.
    if count >= 6 || bits & ((1 << count) - 1) != 0 {
        return Err(Malformed);
    }
    for character in char::decode_utf16(units) {
        let character = character.map_err(|_| Malformed)?;
        if character.is_ascii() || character.is_control() {
            return Err(Malformed);
        }
        name.push(character);
    }
    Ok(())
}

/// Appends `name` in modified UTF-7.
pub fn encode(out: &mut Vec<u8>, name: &str) {
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if is_plain(first) {
            out.push(first as u8);
            if first == '&' {
                out.push(b'-');
            }
            rest = &rest[1..];
        } else {
            let length = rest.find(is_plain).unwrap_or(rest.len());
            encode_run(out, &rest[..length]);
            rest = &rest[length..];
        }
    }
}

fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~')
}

fn encode_run(out: &mut Vec<u8>, run: &str) {
    let letter = |bits: u32| ALPHABET[(bits & 63) as usize];
    out.push(b'&');
    let (mut bits, mut count) = (0u32, 0);
    for unit in run.encode_utf16() {
        bits = (bits & 0x3f) << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            out.push(letter(bits >> count));
        }
    }
    if count > 0 {
        out.push(letter(bits << (6 - count)));
    }
    out.push(b'-');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &str) -> String {
        let mut out = Vec::new();
        encode(&mut out, name);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_the_rfc_and_others() {
        let pairs = [
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("R&-D", "R&D"),
            ("&-&-", "&&"),
            ("&AOQ-&-&AOQ-", "ä&ä"),
            ("&2D3eAA-", "😀"),
            ("&AOQA9gD8-", "äöü"),
            ("", ""),
        ];
        for (wire, name) in pairs {
            assert_eq!(decode(wire.as_bytes()).unwrap(), name);
            assert_eq!(encoded(name), wire);
        }
    }

    #[test]
    fn raw_utf8_is_taken_as_it_is() {
        assert_eq!(decode("Entwürfe".as_bytes()).unwrap(), "Entwürfe");
    }

    #[test]
    fn what_has_another_spelling_or_none_is_refused() {
        let bad: [&[u8]; 14] = [
            b"R&D",
            b"&",
            b"&AOQ",
            b"&AOQ-&AOQ-",
            b"&AEE-",
            b"&AA0-",
            b"&A-",
            b"&AOR-",
            b"&2D0-",
            b"&AOQ=-",
            b"&AO Q-",
            b"a\x07",
            b"\xff",
            b"&AOQA-",
        ];
        for text in bad {
            assert_eq!(decode(text), Err(Malformed), "{}", text.escape_ascii());
        }
        assert_eq!(decode(b"&U/BTFw-"), Err(Malformed));
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for start in (0xa0..0x11_0000u32).step_by(97) {
            let name: String = (start..start + 7).filter_map(char::from_u32).chain(['a', '&', '/']).collect();
            assert_eq!(decode(encoded(&name).as_bytes()).unwrap(), name);
        }
    }
}
