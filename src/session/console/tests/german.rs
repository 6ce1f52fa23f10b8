//! A box that has been told to speaks German, whatever it is asked and whatever goes wrong.

use super::*;
use crate::session::job::CertificateFacts;

/// Words of an English sentence that no German one has.
const ENGLISH: [&str; 30] = [
    "the", "is", "are", "and", "there", "of", "to", "not", "no", "nothing", "with", "which", "password",
    "mail", "it", "its", "that", "this", "for", "from", "has", "have", "none", "nobody", "goes", "unless",
    "taken", "ago", "cannot", "server's",
];

fn assert_german(said: &str) {
    // What stands in quotes is a command, and a name is a name.
    let sentence: String = said.split('`').step_by(2).collect();
    for word in sentence.split(|letter: char| !letter.is_alphanumeric() && !"@.-_".contains(letter)) {
        assert!(!ENGLISH.contains(&word.to_lowercase().trim_end_matches('.')), "{word:?} in {said}");
    }
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_is_german_when_the_box_is() {
    let mut world = world(Mode::Socket);
    world.send("typed 80\nlanguage de\n");
    for row in &table::TABLE {
        assert_ne!(row.help.en, row.help.de);
        let words = row.words.join(" ");
        let asked = [format!("help {words}\n"), format!("{words} ?\x15\n")];
        for said in asked.map(|line| flat(&world.send(&line))) {
            assert!(said.contains(&flat(row.help.de)), "{words}: {said}");
            assert!(!said.contains(&flat(row.help.en)), "{words}: {said}");
        }
        assert_german(row.help.de);
    }
    assert_german(&world.send("help\n"));
}

#[test]
fn every_answer_is_german_when_the_box_is() {
    let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";
    let commands = [
        "status",
        "domain list",
        "mailbox list",
        "alias list",
        "domain add example.test",
        "domain add example.test",
        "domain add x",
        "domain add m\u{fc}ller.de",
        "domain",
        "domain add",
        "domain add a b",
        "domain remove other.test",
        "frob",
        "s",
        "alias frob",
        "alias a",
        "status",
        "mailbox add anna",
        "mailbox add anna@other.test",
        "mailbox add anna@example.test size XXL",
        "mailbox add anna@example.test size",
        "mailbox add anna@example.test frob",
        "mailbox add anna@example.test size XL generate",
        "mailbox add anna@example.test size S hash x",
        "mailbox add anna@example.test size S hash",
        "mailbox add anna@example.test size S generate hash $x",
        &format!("mailbox add anna@example.test size S hash {phc}"),
        &format!("mailbox add anna@example.test size S hash {phc}"),
        "domain remove example.test",
        "mailbox add ben@example.test size S generate",
        "mailbox passwd ben@example.test generate",
        "mailbox passwd carl@example.test generate",
        "mailbox size ben@example.test S",
        "mailbox size ben@example.test XL",
        "mailbox list",
        "alias add info@example.test ben@example.test",
        "alias add info@example.test anna@example.test",
        "alias add ben@example.test anna@example.test",
        "alias add x@example.test carl@example.test",
        "mailbox passwd info@example.test",
        "mailbox add info@example.test",
        "show client info@example.test",
        "show client carl@example.test",
        "show client",
        "show config frob",
        "alias remove x@example.test",
        "alias remove info@example.test",
        "alias add info@example.test ben@example.test",
        "mailbox remove ben@example.test",
        "admin passwd generate",
        "admin passwd\none\ntwo",
        "admin passwd\n\n",
        "status now",
        "help frob",
        "setup\nfr\nde\n.\nexample.test\na b\ncarl\nXXL\nS\nvielleicht\nja",
        "setup\nde\n\nanna",
        "setup now",
        "mailbox ",
        "language fr",
        "language de",
    ];
    let [mut english, mut german] = [world(Mode::Socket), world(Mode::Socket)];
    walk(&mut english, &mut german, &commands);
}

/// Both are asked the same. The setting itself is not a change that could be undone.
fn walk(english: &mut World, german: &mut World, commands: &[&str]) {
    let mut needs = Position::default();
    german.shared.access(&mut needs).language_set(Language::German).unwrap();
    assert_german(&german.send("terminal\n"));
    english.send("terminal\n");
    for command in commands {
        let said = german.send(&format!("{command}\n"));
        assert_german(&said);
        let in_english = english.send(&format!(
            "{}\n",
            command.replace("\nde\n", "\nen\n").replace("language de", "language en")
        ));
        let line = |said: &str| said.lines().next().map(String::from);
        // A table of names may begin alike, and what others have said is said as it is.
        let alike = ["list", "log 1", "history", "192.0.2.1"].iter().any(|end| command.ends_with(end));
        assert!(line(&said) != line(&in_english) || alike, "{command}: {said}");
    }
}

/// A box, well or not.
#[derive(Debug)]
struct Fake {
    well: bool,
}

impl Machine for Fake {
    fn certificate(&self) -> CertificateFacts {
        let until = Time(if self.well { i64::MAX } else { -1 });
        CertificateFacts { fingerprint: String::from("AA:BB"), until, ..CertificateFacts::default() }
    }

    fn store(&self) -> StoreFacts {
        StoreFacts { lost: u64::from(!self.well), ..StoreFacts::default() }
    }

    fn network(&self) -> Option<NetworkFacts> {
        let problem = text!("The adapter is gone.", "Der Adapter ist weg.");
        Some(match self.well {
            true => NetworkFacts {
                interface: String::from("eth0"),
                addresses: vec![String::from("192.0.2.20/24")],
                ..NetworkFacts::default()
            },
            false => NetworkFacts { problem: Some(problem), ..NetworkFacts::default() },
        })
    }

    fn clock(&self) -> Option<ClockFacts> {
        let last = Answered { server: String::from("a.test"), age_seconds: 180_000, offset_seconds: 0.5 };
        Some(match self.well {
            true => ClockFacts { last: Some(last), ..ClockFacts::default() },
            false => ClockFacts { source: ServersFrom::Dhcp, ..ClockFacts::default() },
        })
    }

    fn wear(&self) -> Option<WearFacts> {
        Some(WearFacts { tenths: if self.well { 2 } else { 11 }, spare: Spare::Low })
    }

    fn trial_seconds(&self) -> Option<u64> {
        (!self.well).then_some(42)
    }

    fn log(&self, _: usize) -> Vec<String> {
        vec![String::from("info: ready")]
    }
}

fn made(about: CertificateFacts) -> JobAnswer {
    JobAnswer::Certificate { chain: vec![vec![1]], key: vec![2], about }
}

fn examined(known: bool) -> JobAnswer {
    JobAnswer::Examined {
        gateways: vec![(String::from("192.0.2.1"), known)],
        name: String::from("a.test"),
        known,
    }
}

/// Jobs that end well.
fn done(job: Job) -> JobAnswer {
    let until = Time(i64::from(u32::MAX));
    let about = CertificateFacts { until, subject: String::from("CN=a"), ..CertificateFacts::default() };
    match job {
        Job::Examine => examined(true),
        Job::Ping { host } => JobAnswer::Said(format!("{host} said so")),
        Job::MakeCertificate { .. } | Job::ReadCertificate { .. } => made(about),
        Job::DescribeCertificate { .. } => JobAnswer::Described(about),
        _ => JobAnswer::Done,
    }
}

/// Jobs that do not.
fn failed(job: Job) -> JobAnswer {
    match job {
        Job::Settle => JobAnswer::Done,
        Job::Examine => examined(false),
        Job::MakeCertificate { .. } => {
            made(CertificateFacts { until: Time(-1), ..CertificateFacts::default() })
        }
        _ => JobAnswer::Failed(text!("there is none", "es gibt keines")),
    }
}

/// The two who are asked, in a box that is well or not, or with a machine of somebody else's, or with none.
pub(super) fn pair(machine: Option<bool>, serve: fn(Job) -> JobAnswer) -> [World; 2] {
    [(); 2].map(|()| {
        let mut world = world(Mode::Socket);
        let machine = machine.map(|well| Arc::new(Fake { well }) as Arc<dyn Machine>);
        world.session = Console::new(Mode::Socket, Facts { machine, ..Facts::default() });
        world.serve = serve;
        world.drive(Input::Start);
        world
    })
}

#[test]
fn a_box_answers_in_german_of_its_network_clock_and_certificate() {
    let long = format!("load\n{}\nend", "x".repeat(line::LINE_BYTES_MAX + 1));
    let commands = [
        "history",
        "undo",
        "keep",
        "status",
        "network",
        "network frob",
        "network static",
        "network static x",
        "network static 192.0.2.0/24",
        "network static 127.0.0.1/8",
        "network static 192.0.2.7/24 x",
        "network static 192.0.2.7/24 198.51.100.1",
        "network static 192.0.2.7/24 192.0.2.1 x",
        "network static 192.0.2.7/24",
        "network dhcp",
        "network show",
        "keep",
        "network static 192.0.2.8/24 192.0.2.1",
        "undo",
        "undo",
        "network dhcp now",
        "network dhcp",
        "keep",
        "network ipv6",
        "network ipv6 static x",
        "network ipv6 static ::1/64",
        "network ipv6 static 2001:db8::1/64 x",
        "network ipv6 static 2001:db8::1/64",
        "keep",
        "network ipv6 off",
        "keep",
        "network ipv6 auto",
        "keep",
        "network dns a",
        "network dns ::1 ::2 ::3 ::4 ::5 ::6 ::7 ::8 ::9 ::a",
        "network dns 192.0.2.1",
        "keep",
        "network dns",
        "keep",
        &format!("network hostname {0}.{0}.test", "a".repeat(40)),
        "network hostname box.test",
        "network hostname -",
        "time",
        "time frob",
        "time server",
        "time server -x:y",
        "time server a.test:x",
        "time server a.test",
        "time server default",
        "time sync",
        "tls",
        "tls new",
        "keep",
        "tls show",
        "tls load\n-----BEGIN\nend",
        "keep",
        "tls load x\nend",
        "load now",
        "load\nend",
        "load\nfrob\nstatus\ndomain add\nmailbox add anna@a.test\n\u{e9}\nend",
        "load\ndomain add example.test\nend",
        &long,
        &format!("load\n{}end", "# x\n".repeat(crate::limits::LOAD_LINES_MAX + 1)),
        "mailbox add anna@example.test generate",
        "mailbox remove anna@example.test",
        "undo",
        "rollback",
        "rollback x",
        "rollback 99999",
        "rollback 1",
        "history",
        "log 0",
        "log 1 2",
        "log 1",
        "ping -f",
        "ping 192.0.2.1",
        "check",
        "support",
        "reboot\nno",
        "reboot now",
        "poweroff\nmail.example.test",
        "export config x",
        "lo",
    ];
    for (machine, serve) in
        [(Some(true), done as fn(Job) -> JobAnswer), (Some(false), failed), (None, |_| JobAnswer::Nobody)]
    {
        let [mut english, mut german] = pair(machine, serve);
        // Nothing answers a ping here but what is said in both languages.
        let said_so = |command: &&str| machine == Some(true) || !command.starts_with("log 1");
        let commands: Vec<&str> = commands.iter().copied().filter(said_so).collect();
        walk(&mut english, &mut german, &commands);
    }
}

#[test]
fn a_language_is_taken_back_and_told_in_the_one_before() {
    let mut world = world(Mode::Socket);
    world.send("terminal\n");
    assert!(world.send("language de\n").starts_with("Ab jetzt"));
    assert!(world.send("history\n").contains("`undo` nimmt die letzte zurück"));
    assert!(world.send("undo\n").starts_with("Taken back: language de\n"));
    assert_eq!(world.shared.lock().state().settings.language, Language::English);
    assert!(world.send("load\nlanguage de\ndomain add example.test\nend\n").contains("2 settings are made."));
    assert!(world.send("domain list x\n").contains("ist ein Wort zu viel"));
    assert_eq!(world.send("undo\n").lines().next(), Some("Taken back: load, 2 lines"));
}
