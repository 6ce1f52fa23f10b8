//! What the console says, in both of its languages beside each other: nothing can be said in one alone.
//!
//! A sentence is written once, `text!("There is no mailbox {name}", "Es gibt kein Postfach {name}")`, where it is needed; the compiler asks
//! for both, and for the same arguments in both. Command words are the same in all languages. It refuses to know who listens: the
//! session picks the language when it says it.

use crate::types::Language;

/// The same in English and in German.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<S = String> {
    /// English
    pub en: S,
    /// German
    pub de: S,
}

/// A text without arguments.
pub type Fixed = Text<&'static str>;

/// A text without arguments, in English and in German.
pub const fn both(en: &'static str, de: &'static str) -> Fixed {
    Text { en, de }
}

/// A text, in English and in German, with arguments as `format!` takes them.
macro_rules! text {
    ($en:literal, $de:literal $(, $argument:expr)* $(,)?) => {
        $crate::session::console::text::Text {
            en: format!($en $(, $argument)*),
            de: format!($de $(, $argument)*),
        }
    };
}
pub(crate) use text;

impl<S: AsRef<str>> Text<S> {
    /// It in this language.
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::English => self.en.as_ref(),
            Language::German => self.de.as_ref(),
        }
    }
}

impl Text {
    /// This, and then more.
    pub fn and(mut self, more: impl Into<Text>) -> Text {
        let more = more.into();
        self.en.push_str(&more.en);
        self.de.push_str(&more.de);
        self
    }
}

impl From<Fixed> for Text {
    fn from(fixed: Fixed) -> Text {
        Text { en: String::from(fixed.en), de: String::from(fixed.de) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_in_one_language() {
        let name = "anna";
        let text = text!("{name} is {0} % full", "{name} ist zu {0} % voll", 80).and(both(".", "!"));
        assert_eq!(text.of(Language::English), "anna is 80 % full.");
        assert_eq!(text.of(Language::German), "anna ist zu 80 % voll!");
    }
}
