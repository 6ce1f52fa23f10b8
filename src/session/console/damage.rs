//! What is wrong with the store, in words: what is lost or doubtful, and what to do.

use super::facts::StoreFacts;
use super::text::{Fixed, Text, both, text};

/// A box has no shell: its card is looked at on another machine.
const ON_A_BOX: Fixed = both(
    " Keep every backup. `poweroff`, and then copy, check and repair the card on a Linux machine, as section 2 of the manual says.",
    " Behalten Sie alle Sicherungen. `poweroff`, und dann die Karte auf einem Linux-Rechner kopieren, prüfen und reparieren, wie es in \
     Abschnitt 2 des Handbuchs steht.",
);

/// What `status` says of it.
pub fn warnings(found: StoreFacts, is_box: bool, has_log: bool) -> Vec<Text> {
    let StoreFacts { lost, messages, unreadable, rebuilt } = found;
    let mut warnings = Vec::new();
    if lost > 0 || messages > 0 || unreadable {
        let places = match lost {
            0 => text!("The store is damaged.", "Der Speicher ist beschädigt."),
            1 => text!(
                "The store is damaged: what stood in 1 place of it, a message or a change, is lost or doubtful.",
                "Der Speicher ist beschädigt: Was an 1 Stelle stand, eine Nachricht oder eine Änderung, ist verloren oder zweifelhaft."
            ),
            _ => text!(
                "The store is damaged: what stood in {lost} places of it, messages or changes, is lost or doubtful.",
                "Der Speicher ist beschädigt: Was an {lost} Stellen stand, Nachrichten oder Änderungen, ist verloren oder zweifelhaft."
            ),
        };
        let asked_for = match messages {
            0 => text!("", ""),
            1 => text!(
                " 1 message that was asked for since the start cannot be read.",
                " 1 Nachricht, die seit dem Start verlangt wurde, ist nicht zu lesen."
            ),
            _ => text!(
                " {messages} messages that were asked for since the start cannot be read.",
                " {messages} Nachrichten, die seit dem Start verlangt wurden, sind nicht zu lesen."
            ),
        };
        let what = places.and(asked_for);
        let failing = match unreadable {
            true => both(
                " The medium cannot read parts of it any more: replace it.",
                " Das Medium kann Teile davon nicht mehr lesen: Ersetzen Sie es.",
            ),
            false => both("", ""),
        };
        let remedy = match is_box {
            true => ON_A_BOX,
            false => both(
                " Keep every backup. While no server runs, copy the store and run `postfach check`, which says what is lost and what to do.",
                " Behalten Sie alle Sicherungen. Während kein Server läuft, kopieren Sie den Speicher und rufen Sie `postfach check` auf: \
                 Es sagt, was verloren ist und was zu tun ist.",
            ),
        };
        let places = match has_log {
            true => both(" `log` names the places.", " Die Stellen nennt `log`."),
            false => both("", ""),
        };
        warnings.push(what.and(failing).and(remedy).and(places));
    }
    if rebuilt {
        let what = both(
            "Parts of the store do not read as they were written. Nothing of them is lost yet: parity has them.",
            "Teile des Speichers sind nicht mehr zu lesen, wie sie geschrieben wurden. Noch fehlt nichts davon: Die Parität hat sie.",
        );
        let remedy = match is_box {
            true => ON_A_BOX,
            false => both(
                " Make a backup; while no server runs, `postfach check --repair` writes back what is lost on the medium.",
                " Machen Sie eine Sicherung; während kein Server läuft, schreibt `postfach check --repair` zurück, was auf dem Medium fehlt.",
            ),
        };
        warnings.push(Text::from(what).and(remedy));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_store_is_told_with_what_can_be_done_there() {
        assert_eq!(warnings(StoreFacts::default(), true, true), []);
        let (one, many) = (
            StoreFacts { lost: 1, ..StoreFacts::default() },
            StoreFacts { lost: 3, ..StoreFacts::default() },
        );
        assert!(warnings(one, true, true)[0].en.contains("in 1 place of it"));
        assert!(warnings(many, true, true)[0].de.contains("an 3 Stellen"));
        let asked_for = StoreFacts { messages: 1, ..StoreFacts::default() };
        assert!(warnings(asked_for, true, true)[0].en.starts_with("The store is damaged. 1 message that"));
        let all = StoreFacts { lost: 3, messages: 2, unreadable: true, rebuilt: true };
        for (is_box, can, cannot) in
            [(true, "poweroff", "postfach check"), (false, "postfach check", "poweroff")]
        {
            let told = warnings(all, is_box, is_box);
            assert_eq!(told.len(), 2);
            for Text { en, de } in told {
                assert!(en.contains(can) && de.contains(can), "{en} {de}");
                assert!(!en.contains(cannot) && !de.contains(cannot), "{en} {de}");
            }
        }
        assert!(!warnings(many, false, false)[0].en.contains("`log`"));
    }
}
