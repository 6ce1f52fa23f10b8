//! libFuzzer's way into the decoder that POSTFACH_FUZZ_ONLY names.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use postfach::fuzz::{TARGETS, Target};

fn target() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("POSTFACH_FUZZ_ONLY").unwrap_or_default();
        TARGETS.iter().find(|target| target.name == name).expect("POSTFACH_FUZZ_ONLY names a target")
    })
}

fuzz_target!(|data: &[u8]| (target().run)(data));
