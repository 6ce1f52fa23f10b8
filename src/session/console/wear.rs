//! What `status` says of the wear of the medium, where it tells (`serve::wear`).

use super::facts::{Spare, WearFacts};
use super::text::{Text, text};

/// From here on it is time to think of another, tenths of its life: more than 80 % are used.
const WORN_TENTHS: u8 = 9;
/// All of its life is used.
const LIVED_TENTHS: u8 = 11;

/// The line of `status`.
pub fn line(wear: WearFacts) -> Text {
    text!(
        "Wear         of the memory chip's life ",
        "Abnutzung    Von der Lebensdauer des Speicherchips sind "
    )
    .and(used(wear.tenths))
    .and(text!(" is used", " verbraucht"))
}

fn used(tenths: u8) -> Text {
    if tenths >= LIVED_TENTHS {
        return text!("all", "100 %");
    }
    let (from, to) = (10 * tenths.saturating_sub(1), 10 * tenths);
    text!("{from} to {to} %", "{from} bis {to} %")
}

/// What is wrong, and what to do.
pub fn warning(wear: WearFacts) -> Option<Text> {
    let used = used(wear.tenths);
    if wear.tenths >= LIVED_TENTHS || wear.spare == Spare::Gone {
        return Some(text!(
            "The memory chip that the store is on is worn out: writing may fail at any time, and then new mail is refused. Copy what \
             matters now (a mail program can copy folders to its computer), and replace the board or its memory.",
            "Der Speicherchip, auf dem der Speicher liegt, ist abgenutzt: Schreiben kann jederzeit fehlschlagen, und dann werden neue \
             Nachrichten abgewiesen. Kopieren Sie jetzt, was wichtig ist (ein Mailprogramm kann Ordner auf seinen Rechner kopieren), \
             und ersetzen Sie das Gerät oder seinen Speicher."
        ));
    }
    (wear.tenths >= WORN_TENTHS || wear.spare == Spare::Low).then(|| {
        let of = text!(
            "The memory chip that the store is on wears out: ",
            "Der Speicherchip, auf dem der Speicher liegt, nutzt sich ab: "
        );
        of.and(used).and(text!(
            " of its life is used. It still works: plan to replace the board or its memory in the coming months.",
            " seiner Lebensdauer sind verbraucht. Noch geht er: Planen Sie, das Gerät oder seinen Speicher in den nächsten Monaten zu \
             ersetzen."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wear_is_told_in_words_and_warned_of_in_time() {
        let wear = |tenths, spare| WearFacts { tenths, spare };
        assert_eq!(
            line(wear(1, Spare::Enough)).en,
            "Wear         of the memory chip's life 0 to 10 % is used"
        );
        assert_eq!(line(wear(11, Spare::Enough)).en, "Wear         of the memory chip's life all is used");
        let word =
            |wear| warning(wear).map_or("", |text| if text.en.contains("worn out") { "now" } else { "soon" });
        for (tenths, spare, when) in [
            (1, Spare::Enough, ""),
            (8, Spare::Enough, ""),
            (9, Spare::Enough, "soon"),
            (1, Spare::Low, "soon"),
            (10, Spare::Enough, "soon"),
            (11, Spare::Enough, "now"),
            (255, Spare::Low, "now"),
            (1, Spare::Gone, "now"),
        ] {
            assert_eq!(word(wear(tenths, spare)), when, "{tenths} {spare:?}");
        }
    }
}
