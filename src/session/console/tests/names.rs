//! Names and certificates in the middle of a list: what has just been typed counts, not what is in force still.

use super::*;
use crate::session::job::CertificateFacts;
use crate::store::Settings;

const UNTIL: Time = Time(i64::MAX);

/// serve, of which a certificate's bytes are the name that it is for, and its fingerprint.
fn by_name(job: Job) -> JobAnswer {
    let about = |name: String| CertificateFacts {
        names: vec![name.clone()],
        fingerprint: format!("SHA-OF-{name}"),
        until: UNTIL,
        ..CertificateFacts::default()
    };
    match job {
        Job::MakeCertificate { host, .. } => {
            let (chain, key) = (vec![host.clone().into_bytes()], vec![1]);
            JobAnswer::Certificate { chain, key, about: about(host) }
        }
        Job::DescribeCertificate { der } => JobAnswer::Described(about(String::from_utf8(der).unwrap())),
        Job::Certify => JobAnswer::Described(about(String::from("first"))),
        _ => JobAnswer::Done,
    }
}

fn host_name(settings: &Settings) -> String {
    match settings.domains.first() {
        Some(domain) if settings.host.is_empty() => format!("mail.{domain}"),
        _ => settings.host.clone(),
    }
}

fn of(manner: &str) -> World {
    let mut world = world(Mode::Socket);
    world.session = Console::new(Mode::Socket, Facts { host_name: Some(host_name), ..Facts::default() });
    world.serve = by_name;
    world.drive(Input::Start);
    world.send(&format!("{manner}\n"));
    world
}

pub(super) const ANNA: &str = "mailbox add anna@x.test size S hash $argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";

#[test]
fn a_certificate_is_made_for_the_name_that_has_just_been_given() {
    for manner in ["script", "whole", "terminal"] {
        let mut world = of(manner);
        let said = world.send("domain add x.test\nnetwork hostname box.other.test\ntls new\nexit\n");
        assert!(said.contains("Names        box.other.test\n") && !said.contains("not good for"), "{said}");
        let settings = world.shared.lock().state().settings.clone();
        assert_eq!(settings.certificate.unwrap().chain, [b"box.other.test"], "{manner}");
        // And without a name of its own: by the domain that has just come.
        let said = of(manner).send("domain add x.test\ntls new\nexit\n");
        assert!(said.contains("Names        mail.x.test\n") && !said.contains("not good for"), "{said}");
    }
    // The name has changed since: that is told, and of which one.
    let mut world = of("script");
    world.send("domain add x.test\n");
    world.serve = |job| match job {
        Job::MakeCertificate { .. } => {
            by_name(Job::MakeCertificate { host: String::from("old.test"), domains: Vec::new() })
        }
        job => by_name(job),
    };
    assert!(world.send("tls new\n").contains("! It is not good for mail.x.test,"));
}

#[test]
fn a_mail_program_is_told_what_will_be_in_force() {
    for manner in ["script", "whole", "terminal"] {
        let show = |commands: &str| {
            let said = of(manner)
                .send(&format!("domain add x.test\n{ANNA}\n{commands}show client anna@x.test\nexit\n"));
            let word = |start: &str| {
                let line = said.lines().filter_map(|line| line.split_once(start)).next_back();
                line.map(|(_, word)| String::from(word)).unwrap_or_default()
            };
            (word("  Server      "), word("SHA-OF-"))
        };
        let told = |host: &str, digest: &str| (String::from(host), String::from(digest));
        assert_eq!(show(""), told("mail.x.test", "first"), "{manner}");
        assert_eq!(show("network hostname b.test\n"), told("b.test", "first"), "{manner}");
        let named = "network hostname b.test\ntls new\n";
        assert_eq!(show(named), told("b.test", "b.test"), "{manner}");
    }
}

#[test]
fn a_certificate_on_trial_is_told_and_the_one_before_when_it_is_taken_back() {
    let [mut world, _] = german::pair(Some(true), by_name);
    world.send(&format!("terminal\ndomain add x.test\n{ANNA}\nnetwork hostname a.test\ntls new\nkeep\n"));
    assert!(world.send("network hostname b.test\ntls new\n").contains("unless you type: keep"));
    assert!(world.send("show client anna@x.test\n").contains("SHA-OF-b.test"));
    assert!(world.send("undo\nshow client anna@x.test\n").contains("SHA-OF-a.test"));
}

#[test]
fn a_restart_is_confirmed_by_the_name_that_was_asked_for() {
    let [mut world, _] = german::pair(Some(true), by_name);
    let said = world.send("terminal\nnetwork hostname b.test\nreboot\n");
    assert!(said.contains("to confirm (b.test): "), "{said}");
    assert!(world.send("b.test\n").contains("then the machine stops"));
    assert!(world.send("network hostname c.test\nnetwork\n").contains("Host name    c.test\n"));
    assert!(world.send("status\n").contains(" on c.test, "));
}
