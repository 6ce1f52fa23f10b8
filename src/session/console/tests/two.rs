//! Two consoles that change settings at the same time: each change holds, or its maker is told that it does not.

use super::*;
use crate::store::network::Ipv6;
use crate::store::{Draft, Note, StoreError};

/// What a console has at hand in the middle of a command: `network ipv6 off`.
fn half_done(shared: &Shared) -> Draft {
    let (mut needs, mut draft) = (Position::default(), None);
    let mut network = shared.drafting(&mut needs, &mut draft).settings().network.clone();
    network.ipv6 = Ipv6::Off;
    shared.drafting(&mut needs, &mut draft).network_set(network).expect("drafts");
    draft.expect("something has been changed")
}

#[test]
fn of_two_changes_at_once_one_is_refused_and_none_is_lost() {
    let mut world = world(Mode::Socket);
    world.send("terminal\ndomain add example.test\nmailbox add anna@example.test size S generate\n");
    let shared = Arc::clone(&world.shared);
    let needs = &mut Position::default();
    let note = || Note { time: Time(0), command: String::from("network ipv6 off") };
    let draft = half_done(&shared);
    world.send("network dns 192.0.2.1\n");
    let refused = shared.access(needs).adopt(draft, note());
    assert!(matches!(refused, Err(StoreError::Cannot(why)) if why.contains("try again")), "{refused:?}");
    let network = shared.lock().state().settings.network.clone();
    assert_eq!((network.dns.len(), network.ipv6), (1, Ipv6::Auto));
    // Trying again helps, and nobody is told to who has no rival: mail may come and go.
    let draft = half_done(&shared);
    let anna = shared.access(needs).account_of("anna@example.test").expect("is there");
    shared.access(needs).folder_create(anna, "Work", None).expect("creates");
    shared.lock().commit().expect("commits");
    assert_eq!(shared.access(needs).adopt(draft, note()), Ok(()));
    let network = shared.lock().state().settings.network.clone();
    assert_eq!((network.dns.len(), network.ipv6), (1, Ipv6::Off));
}

#[test]
fn a_trial_does_not_bring_back_what_has_been_taken_back_meanwhile() {
    let mut world = world(Mode::Socket);
    world.send("terminal\nnetwork dns 192.0.2.1\ndomain add example.test\n");
    let shared = Arc::clone(&world.shared);
    let needs = &mut Position::default();
    let draft = half_done(&shared);
    shared.access(needs).try_out(draft, String::from("network ipv6 off")).expect("tries");
    // What has nothing to do with it leaves it alone.
    world.send("domain add other.test\nrollback 3\n");
    assert!(shared.access(needs).trial().is_some());
    assert!(world.send("rollback 1\n").contains("Taken back: network dns 192.0.2.1"));
    assert_eq!(shared.access(needs).keep(Time(0)), Err(StoreError::Missing));
    let settings = shared.lock().state().settings.clone();
    assert!(settings.network.dns.is_empty() && settings.domains.is_empty(), "{:?}", settings.network);
}
