//! The rules of the house, as a test: who may use whom, where a crate lives, how large a file may be, what may not stay.

use std::path::{Path, PathBuf};

/// A layer, the layers that it may use, and the words that it must not have.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    ("limits", &[], &["std::fs", "std::net", "log::"]),
    ("types", &[], &["std::fs", "std::net", "log::"]),
    (
        "wire",
        &["limits", "types"],
        &["std::fs", "std::net::Tcp", "std::thread", "log::", "SystemTime", "Instant", "smol"],
    ),
    ("device", &["limits", "types"], &["std::net", "smol"]),
    ("journal", &["device", "limits", "types"], &["std::fs", "std::net", "smol", "SystemTime"]),
    ("store", &["journal", "device", "limits", "types"], &["std::fs", "std::net", "smol", "SystemTime"]),
    (
        "session",
        &["wire", "store", "limits", "types"],
        &["std::fs", "std::thread", "smol", "futures_rustls", "argon2::", "SystemTime", "Instant", ".await"],
    ),
];

/// Each crate has a home, so that it can be replaced in an afternoon.
const HOMES: &[(&str, &[&str])] = &[
    ("smol::", &["src/serve/", "src/main.rs"]),
    ("futures_rustls::", &["src/serve/"]),
    ("rcgen::", &["src/serve/"]),
    ("argon2::", &["src/serve/secret.rs"]),
    ("event_listener::", &["src/serve/"]),
    ("postcard::", &["src/store/record.rs", "src/wire/mime/", "src/wire/mime.rs"]),
    ("rsntp::", &["src/serve/clock.rs"]),
    ("x509_cert::", &["src/serve/certificate.rs"]),
    ("siphasher::", &["src/journal/"]),
    ("crc32c::", &["src/journal/"]),
    ("encoding_rs::", &["src/wire/charset.rs"]),
    ("base64::", &["src/wire/", "src/journal/payload.rs"]),
    ("lz4_flex::", &["src/journal/payload.rs"]),
    ("rustix::", &["src/device/", "src/serve/", "src/main.rs", "src/cli/"]),
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    let name = |file: &PathBuf| file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
    let read = |file: &PathBuf| std::fs::read_to_string(file).expect("readable");
    files.iter().map(|file| (name(file), read(file))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The lines of a file that are code and not tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn layers_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let Some((layer, below, words)) = LAYERS.iter().find(|(layer, ..)| {
            name == format!("src/{layer}.rs") || name.starts_with(&format!("src/{layer}/"))
        }) else {
            continue;
        };
        if name.ends_with("/tests.rs") {
            continue;
        }
        for (number, line) in code(&text) {
            for used in line.match_indices("crate::").map(|(at, _)| &line[at + 7..]) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let module = LAYERS.iter().any(|(known, ..)| *known == used) || used == "serve";
                if module && used != *layer && !below.contains(&used.as_str()) {
                    wrong.push(format!("{name}:{}: {layer} uses {used}", number + 1));
                }
            }
            for word in words.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{name}:{}: {layer} says {word}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_stays_at_home() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (number, line) in code(&text) {
            for (word, homes) in HOMES {
                let used = line.contains(word) && !line.contains(&format!("::{word}"));
                if used && !homes.iter().any(|home| name.starts_with(home)) {
                    wrong.push(format!("{name}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_open_with_what_they_are_and_stay_small() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        if !text.starts_with("//!") {
            wrong.push(format!("{name} does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > 600 {
            wrong.push(format!("{name} has {lines} lines"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.ends_with(' ') || line.contains('\t') || line.chars().count() > 150 {
                wrong.push(format!("{name}:{}: white space or length", number + 1));
            }
            if line.contains("(in progress") || line.contains("FIXME") || line.contains("todo!(") {
                wrong.push(format!("{name}:{}: unfinished", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_has_two_files() {
    for (name, text) in sources() {
        let used =
            code(&text).any(|(_, line)| line.contains("unsafe ") || line.contains("allow(unsafe_code)"));
        let known = ["src/device/discard.rs", "src/serve/heap.rs"];
        assert!(!used || known.contains(&name.as_str()), "{name} is unsafe");
    }
}
