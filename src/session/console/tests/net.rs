//! The network's settings: what is refused, what is told of names, and of a change that nobody has kept in time.

use super::*;
use crate::session::console::settings::refused;
use crate::store::{CHANGED_MEANWHILE, FILLED_MEANWHILE, StoreError};

/// A person at a box that has been told this already.
fn told(commands: &str) -> World {
    let mut world = world(Mode::Socket);
    world.send(&format!("terminal\n{commands}"));
    world
}

#[test]
fn a_gateway_is_another_machine_that_can_be_reached() {
    for (command, good) in [
        ("static 192.0.2.7/24 192.0.2.1", true),
        ("static 192.0.2.7/24 192.0.2.7", false),
        ("static 192.0.2.7/24 192.0.2.0", false),
        ("static 192.0.2.7/24 192.0.2.255", false),
        ("static 192.0.2.6/31 192.0.2.7", true),
        ("static 192.0.2.6/31 192.0.2.6", false),
        ("ipv6 static 2001:db8::7/64 2001:db8::1", true),
        ("ipv6 static 2001:db8::7/64 fe80::1", true),
        ("ipv6 static 2001:db8::7/64 2001:dead::1", false),
        ("ipv6 static 2001:db8::7/64 2001:db8::7", false),
        ("ipv6 static 2001:db8::7/64 ::", false),
        ("ipv6 static 2001:db8::7/128 fe80::1", true),
    ] {
        let said = told("").send(&format!("network {command}\n"));
        assert_eq!(!said.starts_with(FAIL), good, "{command}: {said}");
        assert!(good || said.contains("gateway"), "{command}: {said}");
    }
}

#[test]
fn it_is_told_who_is_asked_for_names() {
    assert!(told("").send("network dns\n").contains("whom DHCP names"));
    let mut fixed = told("network static 192.0.2.7/24 192.0.2.1\n");
    assert!(fixed.send("network dns\n").starts_with("Nobody is asked for names"));
    // Who has been named stays, and it is said; the router, whom nobody has named, does not.
    for (commands, kept) in [
        ("network dns 192.0.2.3\n", true),
        ("network static 192.0.2.7/24 192.0.2.1 192.0.2.3\n", true),
        ("network static 192.0.2.7/24 192.0.2.1\n", false),
        ("network static 192.0.2.7/24 192.0.2.1 -\n", false),
    ] {
        let mut world = told(commands);
        let said = world.send("network dhcp\n");
        assert_eq!(said.contains("as before: 192.0.2.3;"), kept, "{commands}{said}");
        assert_eq!(world.shared.lock().state().settings.network.dns.len(), usize::from(kept), "{commands}");
    }
}

/// As when serve's time for a trial is over.
fn expire(world: &World, command: &str) {
    let mut needs = Position::default();
    let mut draft = None;
    let mut network = world.shared.drafting(&mut needs, &mut draft).settings().network.clone();
    network.dns = vec![[192, 0, 2, 3].into()];
    world.shared.drafting(&mut needs, &mut draft).network_set(network).unwrap();
    world.shared.access(&mut needs).try_out(draft.unwrap(), String::from(command)).unwrap();
    let mut store = world.shared.lock();
    let number = store.trial_number().unwrap();
    store.end_trial(number);
}

#[test]
fn what_has_gone_back_by_itself_is_told_to_who_keeps_or_undoes_it() {
    let mut world = told("domain add example.test\n");
    expire(&world, "network dns 192.0.2.3");
    for _ in 0..2 {
        let said = world.send("keep\n");
        assert!(said.starts_with(FAIL) && said.contains("gone back already"), "{said}");
        assert!(said.contains("network dns 192.0.2.3"), "{said}");
    }
    let said = world.send("undo\n");
    assert!(said.starts_with(FAIL) && said.contains("gone back already"), "{said}");
    assert_eq!(world.shared.lock().state().settings.domains.len(), 1);
    assert!(world.send("keep\n").contains("nothing is on trial"));
    assert!(world.send("undo\n").starts_with("Taken back: domain add example.test"));
    // After another change it is that one which is meant.
    expire(&world, "network dns 192.0.2.3");
    world.send("domain add other.test\n");
    assert!(world.send("undo\n").starts_with("Taken back: domain add other.test"));
}

#[test]
fn what_the_store_refuses_is_told_in_german_too() {
    for why in [CHANGED_MEANWHILE, FILLED_MEANWHILE] {
        let text = refused(StoreError::Cannot(why));
        assert_eq!(text.en, why);
        assert!(text.de.ends_with("nichts wurde geändert: Versuchen Sie es noch einmal"), "{}", text.de);
    }
    let mut world = told("language de\n");
    let said = world.send(&format!("time server{}\n", " a.test".repeat(9)));
    assert!(said.contains("Höchstmaß ist erreicht: Zeitserver"), "{said}");
}

#[test]
fn the_mistakes_of_a_load_are_told_in_the_language_that_it_sets() {
    let mut world = told("");
    let said = world.send("load\nfrob\nlanguage de\nfrob\nend\n");
    assert!(said.contains("line 1: there is no command") && said.contains("Zeile 3: einen Befehl"), "{said}");
    assert!(said.contains("2 der Zeilen sind falsch"), "{said}");
    // Nothing has been changed, the language neither.
    assert!(world.send("frob\n").contains("there is no command"));
}
