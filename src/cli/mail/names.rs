//! Folder names as file names: as Dovecot writes them in Maildir++, modified UTF-7 with `.` between the levels.
//!
//! What a level cannot have there (`.`, `/`, `\`, `~`) is written `\2e`, as Dovecot's `mail_list` escape does. So no folder's name, `..` among
//! them, leaves the directory that it is written to. Names beyond what a file system takes are cut and get a digest; then the whole name
//! stands in a file of its own.

use postfach::limits::FOLDER_NAME_BYTES_MAX;
use postfach::wire::imap::utf7;

/// The longest file name that is made of a folder's, bytes: file systems take 255, and there are suffixes.
const NAME_BYTES_MAX: usize = 220;

/// A folder's file name, without a leading dot or a suffix. True: it has been cut and does not say the whole name. That is so with
/// `apart` too: another folder has the same name but for its case, and the file system does not tell them apart.
pub fn to_file(folder: &str, apart: bool) -> (String, bool) {
    let mut name = String::new();
    for (index, level) in folder.split('/').enumerate() {
        if index > 0 {
            name.push('.');
        }
        let mut encoded = Vec::new();
        utf7::encode(&mut encoded, level);
        // Modified UTF-7 is ASCII.
        encoded.into_iter().for_each(|byte| escape(char::from(byte), &mut name));
    }
    if name.len() <= NAME_BYTES_MAX && !apart {
        return (name, false);
    }
    // FNV-1a: the same in every run.
    let digest = folder.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // ASCII, so any place is between two letters.
    name.truncate(NAME_BYTES_MAX - 17);
    (format!("{name}~{digest:016x}"), true)
}

/// A mailbox's address as a directory's name.
pub fn of_address(address: &str) -> String {
    let mut name = String::new();
    for (index, letter) in address.chars().enumerate() {
        // Dots are welcome in addresses, but not first.
        if letter == '.' && index > 0 { name.push('.') } else { escape(letter, &mut name) }
    }
    name
}

fn escape(letter: char, name: &mut String) {
    if matches!(letter, '.' | '/' | '\\' | '~') || letter.is_control() {
        name.push_str(&format!("\\{:02x}", u32::from(letter)));
    } else {
        name.push(letter);
    }
}

/// The folder that a file name written so says, `/` between the levels. What is no modified UTF-7 is taken as it is.
pub fn from_file(name: &[u8]) -> String {
    let levels = name.split(|byte| *byte == b'.').map(|level| {
        let level = unescape(level);
        utf7::decode(&level).unwrap_or_else(|_| literal(&level))
    });
    joined(levels)
}

/// The name of a folder whose directory or file is simply called that.
pub fn literal(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("={byte:02X}")));
    }
    text
}

/// Levels to a name that a folder can have: no empty ones; what cannot be in a name becomes `_`.
pub fn joined(levels: impl Iterator<Item = String>) -> String {
    let cannot = |letter: char| letter.is_control() || matches!(letter, '/' | '%' | '*');
    let levels = levels.map(|level| level.replace(cannot, "_")).filter(|level| !level.is_empty());
    let mut name = levels.collect::<Vec<_>>().join("/");
    if name.len() > FOLDER_NAME_BYTES_MAX {
        let end = (0..=FOLDER_NAME_BYTES_MAX).rev().find(|end| name.is_char_boundary(*end));
        name.truncate(end.unwrap_or_default());
    }
    String::from(name.trim_end_matches('/'))
}

fn unescape(level: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(level.len());
    let mut rest = level;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_stay_inside() {
        for (folder, file) in [
            ("Sent", "Sent"),
            ("INBOX/a", "INBOX.a"),
            ("Entwürfe/R&D", "Entw&APw-rfe.R&-D"),
            ("..", "\\2e\\2e"),
            ("../../etc", "\\2e\\2e.\\2e\\2e.etc"),
            ("a.b/c\\2e", "a\\2eb.c\\5c2e"),
            ("~root", "\\7eroot"),
            ("日本語", "&ZeVnLIqe-"),
            ("a b", "a b"),
        ] {
            assert_eq!(to_file(folder, false), (String::from(file), false));
            assert_eq!(from_file(file.as_bytes()), folder);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_told_apart() {
        let (one, two) = ("日".repeat(85), "日".repeat(84) + "月");
        let ((one, cut), (two, _)) = (to_file(&one, false), to_file(&two, false));
        assert!(cut && one != two && one.len() <= NAME_BYTES_MAX && one.is_ascii());
        let ((one, cut), (two, _)) = (to_file("Old", true), to_file("OLD", true));
        assert!(cut && !one.eq_ignore_ascii_case(&two));
    }

    #[test]
    fn hostile_file_names_become_harmless_folders() {
        for (file, folder) in [
            (&b"..a..b."[..], "a/b"),
            (b"\\2f\\00x", "__x"),
            (b"a\xff", "a=FF"),
            (b"\\zz", "\\zz"),
            (b"\\", "\\"),
            (b"a*%\x07", "a___"),
            (b"R&D", "R&D"),
            (b"&AAA-", "&AAA-"),
            (b"", ""),
            (b"...", ""),
            ("Entwürfe".as_bytes(), "Entwürfe"),
        ] {
            assert_eq!(from_file(file), folder, "{}", file.escape_ascii());
        }
        assert_eq!(joined(["é".repeat(200)].into_iter()).len(), 254);
    }

    #[test]
    fn an_address_is_one_directory() {
        assert_eq!(of_address("anna.b@example.de"), "anna.b@example.de");
        assert_eq!(of_address("../x@y"), "\\2e.\\2fx@y");
    }
}
