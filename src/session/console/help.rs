//! `help` and `?`: the table, as text that fits 80 columns.

use std::fmt::Write as _;

use super::table::{Call, Failure};
use super::text::text;
use super::words;

/// Where the explanations begin, columns.
const COLUMN: usize = 28;
/// Where lines end, columns.
pub const WIDTH: usize = 79;

/// `help [COMMAND]`
pub fn run(arguments: &[&str], call: &mut Call<'_, '_>) -> Result<(), Failure> {
    let rows = words::matching(arguments);
    if rows.is_empty() {
        return Err(Failure::Refused(words::no_command(&arguments.join(" "))));
    }
    if arguments.is_empty() {
        call.say(&text!(
            "Words in capitals are yours; what is in brackets may be left out.\n",
            "Wörter in Großbuchstaben sind Ihre; was in Klammern steht, kann wegbleiben.\n"
        ));
    }
    for row in rows {
        explain(&row.usage(), row.help.of(call.language), call.out);
    }
    Ok(())
}

/// One command or word, and what it does.
pub fn explain(usage: &str, help: &str, out: &mut String) {
    // A String takes whatever is written to it.
    let _ = write!(out, "{usage:<COLUMN$}");
    let mut column = usage.chars().count().max(COLUMN);
    if column > COLUMN {
        let _ = write!(out, "\n{:COLUMN$}", "");
        column = COLUMN;
    }
    for (index, word) in help.split(' ').enumerate() {
        if column + 1 + word.chars().count() > WIDTH {
            let _ = write!(out, "\n{:COLUMN$}", "");
            column = COLUMN;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.chars().count();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_a_terminal() {
        let mut out = String::new();
        for row in &super::super::table::TABLE {
            explain(&row.usage(), row.help.en, &mut out);
            explain(&row.usage(), row.help.de, &mut out);
        }
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        let mut out = String::new();
        explain("status", "How it is.", &mut out);
        assert_eq!(out, format!("{:28}How it is.\n", "status"));
    }
}
