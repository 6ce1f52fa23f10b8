//! Changes by commands against power cuts: `load` is all or nothing however large it is, so is taking it back, and what is on trial is not
//! there after a cut unless `keep` was answered.
//!
//! The power goes at every operation of the medium while one command is carried out, with every outcome of a cut.

mod harness;

use std::fmt::Write as _;

use harness::{World, phc, seeded};
use postfach::device::{Memory, Outcome};
use postfach::journal::{Format, format};
use postfach::store::network::Ipv4;
use postfach::types::{Class, Position};

const ANNA: &str = "anna@example.test";
/// So many aliases, and what takes them back, are more than a frame.
const ALIASES: usize = 2500;

/// A box with one mailbox and an administrator.
fn office() -> Memory {
    let device = Memory::new(64 << 20);
    let options = Format { segment_bytes: Some(512 * 1024), force: false };
    format(&device, &options, &mut seeded(1)).expect("formats");
    let world = World::open(device, 1);
    let mut needs = Position::default();
    let mut store = world.shared.access(&mut needs);
    store.domain_add("example.test").expect("adds");
    store.mailbox_add(ANNA, Class::S, phc(b"secret")).expect("adds");
    store.admin_set(phc(b"sesame")).expect("sets");
    drop(store);
    world.shared.lock().commit().expect("commits");
    world.device.survive(Outcome::Lost, 0)
}

/// What there is now: aliases, whether the address is set, changes that can be seen.
fn observe(world: &World) -> (usize, bool, usize) {
    let store = world.shared.lock();
    let settings = &store.state().settings;
    let set = settings.network.ipv4 != Ipv4::Dhcp;
    (settings.aliases.len(), set, settings.history.entries().count())
}

fn said(world: &mut World, protocol: &str, text: &str) -> String {
    world.connect("c", protocol);
    world.send("c", text.as_bytes());
    String::from_utf8_lossy(&world.connection("c").said).into_owned()
}

/// Cuts at every operation of what `act` does. Afterwards there is `before` or `after`, and `after` if it was answered.
fn cut_everywhere(
    device: &Memory,
    (before, after): ((usize, bool, usize), (usize, bool, usize)),
    act: &dyn Fn(&mut World) -> bool,
) -> Memory {
    let mut world = World::open(device.copy(), 2);
    let start = world.device.operations();
    assert_eq!(observe(&world), before);
    assert!(act(&mut world), "without a cut it is answered");
    assert_eq!(observe(&world), after);
    let operations = world.device.operations() - start;
    let done = world.device.survive(Outcome::Lost, 0);
    drop(world);
    for at in 0..=operations {
        for (nth, outcome) in Outcome::ALL.into_iter().enumerate() {
            let seed = at * 10 + nth as u64;
            let mut world = World::open(device.copy(), seed);
            world.device.cut_after(at);
            let answered = act(&mut world);
            let world = World::open(world.device.survive(outcome, seed), seed + 1);
            let found = observe(&world);
            assert!(
                found == after || found == before && !answered,
                "cut at {at} of {operations}, {outcome:?}: {found:?}, answered: {answered}"
            );
        }
    }
    done
}

#[test]
fn load_and_taking_it_back_are_all_or_nothing() {
    let mut text = String::from("load\nnetwork static 192.0.2.7/24 192.0.2.1\n");
    for number in 0..ALIASES {
        writeln!(text, "alias add number.{number}@example.test {ANNA}").expect("writes");
    }
    text.push_str("end\n");
    let device = office();
    let loaded = cut_everywhere(&device, ((0, false, 0), (ALIASES, true, 1)), &|world| {
        said(world, "console", &text).contains("2501 settings are made.")
    });
    cut_everywhere(&loaded, ((ALIASES, true, 1), (0, false, 0)), &|world| {
        said(world, "console", "undo\n").contains("Taken back")
    });
}

#[test]
fn what_is_on_trial_is_not_there_before_it_is_kept() {
    let device = office();
    let typed = "sesame\rnetwork static 192.0.2.7/24\r";
    cut_everywhere(&device, ((0, false, 0), (0, false, 0)), &|world| {
        said(world, "box", typed).contains("It is in force now.")
    });
    cut_everywhere(&device, ((0, false, 0), (0, true, 1)), &|world| {
        said(world, "box", &format!("{typed}keep\r")).contains("It stays")
    });
}
