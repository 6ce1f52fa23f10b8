//! What the owner looks at: `status`, `show config`, `show client`. Nothing here changes anything.

use std::fmt::Write as _;

use super::table::{Call, Failure};
use super::text::{Text, both, text};
use super::words::address;
use super::{certificate, damage, network, time, wear};
use crate::session::{Job, JobAnswer};
use crate::store::Account;
use crate::types::Language;

type Done = Result<(), Failure>;

/// From here on a mailbox counts as nearly full, percent.
const NEARLY_FULL_PERCENT: u64 = 80;
/// From here on the medium does, percent of its segments.
const MEDIUM_FULL_PERCENT: u64 = 90;
/// The ports that are served, by the names that people look for; numbers before `--port-base`.
const PORTS: [(&str, u16); 8] = [
    ("smtp", 25),
    ("submissions", 465),
    ("submission", 587),
    ("lmtp", 24),
    ("imap", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
];

fn no_arguments(arguments: &[&str]) -> Done {
    match arguments.first() {
        Some(extra) => {
            Err(Failure::Usage(text!("`{extra}` is one word too many", "`{extra}` ist ein Wort zu viel")))
        }
        None => Ok(()),
    }
}

/// A number of bytes for people.
pub fn room(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if value < 9.95 && bytes > 0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Percent of the whole, rounded down; of nothing, all is used.
pub fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100).checked_div(u128::from(whole)).map_or(100, |percent| percent as u64)
}

/// A time span for people, in its two largest units; in German as after `seit` and `vor`.
pub fn span(seconds: i64) -> Text {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (1, hours, _) => text!("1 day {hours} h", "1 Tag {hours} Std."),
        (2.., hours, _) => text!("{days} days {hours} h", "{days} Tagen {hours} Std."),
        (_, 1.., minutes) => text!("{hours} h {minutes} min", "{hours} Std. {minutes} Min."),
        (_, _, 1..) => text!("{minutes} min", "{minutes} Min."),
        _ => text!("{} s", "{} Sek.", seconds.max(0)),
    }
}

/// `status`
pub fn status(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    no_arguments(arguments)?;
    let mut store = call.cx.store();
    let (capacity, read_only) = store.capacity();
    let (all, promised) = store.buckets();
    let domains = store.settings().domains.len();
    let aliases = store.settings().aliases.len();
    let accounts: Vec<_> = store.settings().addresses.values().copied().collect();
    let mut lines = Text::default();
    for account in &accounts {
        let Some(account) = store.account(*account) else { continue };
        lines = lines.and(mailbox_line(account));
    }
    drop(store);
    let filled = percent(capacity.used_bytes, capacity.raw_bytes);
    let (warnings, machine) = (warnings(call), machine_lines(call).1);

    if warnings.is_empty() {
        call.say(&text!("All is well.\n", "Alles in Ordnung.\n"));
    }
    for warning in &warnings {
        call.say(&text!("! {}", "! {}", warning.of(call.language)));
    }
    if !warnings.is_empty() {
        call.out.push('\n');
    }
    let running = match call.facts.started {
        Some(started) => {
            let span = span(call.cx.now.0 - started.0);
            text!("running for {}", "läuft seit {}", span.of(call.language))
        }
        None => text!("the server is not running", "der Server läuft nicht"),
    };
    let (version, host) = (env!("CARGO_PKG_VERSION"), call.host());
    call.say(&text!("Postfach {version} on {host}, ", "Postfach {version} auf {host}, ").and(running));
    let written = text!(
        "Store        {}, {} written, {} free ({filled} % used)",
        "Speicher     {}, {} beschrieben, {} frei ({filled} % belegt)",
        room(capacity.raw_bytes),
        room(capacity.used_bytes),
        room(capacity.raw_bytes.saturating_sub(capacity.used_bytes))
    );
    call.say(&match read_only {
        true => written.and(text!(", READ-ONLY", ", SCHREIBGESCHÜTZT")),
        false => written,
    });
    call.say(&text!(
        "Mailboxes    {}, {} promised to them, {} left",
        "Postfächer   {}, {} ihnen zugesagt, {} übrig",
        accounts.len(),
        room(promised),
        room(all.saturating_sub(promised))
    ));
    if let Some((now, most)) = call.facts.memory.and_then(|memory| memory()) {
        call.say(&text!(
            "Memory       {}, at most {} so far",
            "RAM          {}, bisher höchstens {}",
            room(now),
            room(most)
        ));
    }
    call.say(&text!(
        "Domains      {domains}, aliases {aliases}",
        "Domains      {domains}, Aliasse {aliases}"
    ));
    for line in &machine {
        call.say(line);
    }
    let ports: Vec<String> = PORTS
        .iter()
        .map(|(name, port)| format!("{name} {}", port.saturating_add(call.cx.port_base)))
        .collect();
    let (first, second) = ports.split_at(4);
    let (first, second) = (first.join(", "), second.join(", "));
    call.say(&text!(
        "Ports        {first}\n             {second}",
        "Ports        {first}\n             {second}"
    ));
    call.say(&fingerprint(&call.facts.fingerprint));
    if !accounts.is_empty() {
        let lines = lines.of(call.language);
        call.out.push('\n');
        call.out.push_str(lines);
    }
    Ok(())
}

/// All that is wrong and known without looking further.
pub fn warnings(call: &mut Call<'_, '_>) -> Vec<Text> {
    let mut store = call.cx.store();
    let (capacity, read_only) = store.capacity();
    let domains = store.settings().domains.len();
    let no_admin = store.settings().admin.is_none();
    let accounts: Vec<_> = store.settings().addresses.values().copied().collect();
    let mut warnings = damage::warnings(call.facts.store, call.facts.is_box(), call.facts.machine.is_some());
    warnings.extend(accounts.iter().filter_map(|account| mailbox_warning(store.account(*account)?)));
    drop(store);
    let filled = percent(capacity.used_bytes, capacity.raw_bytes);
    warnings.extend(store_warnings(read_only, filled, domains, accounts.len(), no_admin));
    warnings.extend(machine_lines(call).0);
    warnings
}

/// What is wrong with the machine, and what there is to say of it, each a line.
fn machine_lines(call: &Call<'_, '_>) -> (Vec<Text>, Vec<Text>) {
    let (mut warnings, mut lines) = (Vec::new(), Vec::new());
    let Some(machine) = &call.facts.machine else { return (warnings, lines) };
    warnings.extend(certificate::warning(&machine.certificate(), call.cx.now));
    if let Some(clock) = machine.clock() {
        warnings.extend(time::warning(&clock));
        lines.push(time::line(&clock, call.cx.now));
    }
    if let Some(network) = machine.network() {
        warnings.extend(network::warning(&network));
        lines.push(text!("Network      ", "Netzwerk     ").and(network::listed(&network.addresses)));
    }
    if let Some(worn) = machine.wear() {
        warnings.extend(wear::warning(worn));
        lines.push(wear::line(worn));
    }
    if let Some(seconds) = machine.trial_seconds() {
        warnings.push(text!(
            "A change is on trial: it goes back in {seconds} s, unless you type `keep`.",
            "Eine Änderung ist auf Probe: In {seconds} Sek. wird sie zurückgenommen, wenn Sie nicht `keep` eingeben."
        ));
    }
    (warnings, lines)
}

fn mailbox_line(account: &Account) -> Text {
    let messages: u64 = account.folders.values().map(|folder| u64::from(folder.count())).sum();
    let filled = text!(
        "  {}: {} of {} ({} %), ",
        "  {}: {} von {} ({} %), ",
        account.address,
        room(account.used_bytes),
        room(account.bucket_bytes),
        percent(account.used_bytes, account.bucket_bytes)
    );
    filled.and(match messages {
        1 => text!("1 message\n", "1 Nachricht\n"),
        n => text!("{n} messages\n", "{n} Nachrichten\n"),
    })
}

fn mailbox_warning(account: &Account) -> Option<Text> {
    let filled = percent(account.used_bytes, account.bucket_bytes);
    let name = &account.address;
    let full = text!("{name} is {filled} % full and ", "{name} ist zu {filled} % voll und ");
    let what = match filled {
        100.. => text!("gets no more mail", "empfängt nichts mehr"),
        _ => text!("will soon get no more mail", "empfängt bald nichts mehr"),
    };
    let remedy = text!(
        ": delete some, or give it more room with `mailbox size {name} ...`",
        ": Löschen Sie etwas, oder geben Sie ihm mehr Platz mit `mailbox size {name} ...`"
    );
    (filled >= NEARLY_FULL_PERCENT).then(|| full.and(what).and(remedy))
}

fn store_warnings(
    read_only: bool,
    filled: u64,
    domains: usize,
    mailboxes: usize,
    no_admin: bool,
) -> Vec<Text> {
    let mut warnings = Vec::new();
    if read_only {
        warnings.push(text!(
            "The store is READ-ONLY, because writing to it has failed. New mail is refused; mail that is there can be read. \
             Look at the medium (the system's log, the card, the cable), then restart Postfach; \
             if it fails again, stop Postfach and copy the store to another medium.",
            "Der Speicher ist SCHREIBGESCHÜTZT, weil Schreiben fehlgeschlagen ist. Neue Nachrichten werden abgewiesen; vorhandene \
             können gelesen werden. Sehen Sie nach dem Medium (Protokoll des Systems, Karte, Kabel), dann starten Sie Postfach \
             neu; wenn es wieder fehlschlägt, halten Sie Postfach an und kopieren Sie den Speicher auf ein anderes Medium."
        ));
    }
    if filled >= MEDIUM_FULL_PERCENT {
        warnings.push(text!(
            "The store is {filled} % full: when it is full, new mail is refused.",
            "Der Speicher ist zu {filled} % voll: Ist er voll, werden neue Nachrichten abgewiesen."
        ));
    }
    if domains == 0 {
        warnings.push(text!(
            "There is no domain yet: `domain add example.com`.",
            "Es gibt noch keine Domain: `domain add example.com`."
        ));
    } else if mailboxes == 0 {
        warnings.push(text!(
            "There is no mailbox yet: `mailbox add anna@example.com`.",
            "Es gibt noch kein Postfach: `mailbox add anna@example.com`."
        ));
    }
    if no_admin {
        warnings.push(text!(
            "There is no administrator's password for the serial console yet: `admin passwd`.",
            "Es gibt noch kein Administrator-Passwort für die serielle Konsole: `admin passwd`."
        ));
    }
    warnings
}

/// The fingerprint in one line, longer than a terminal's: it can be copied and searched for.
fn fingerprint(digest: &str) -> Text {
    match digest {
        "" => text!(
            "Certificate  none yet: the server makes one as soon as there is a domain",
            "Zertifikat   noch keines: Der Server macht eines, sobald es eine Domain gibt"
        ),
        digest => {
            text!("Certificate  SHA-256 fingerprint {digest}", "Zertifikat   SHA-256-Fingerabdruck {digest}")
        }
    }
}

/// `show config`
pub fn config(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let public = match arguments {
        [] => false,
        [word] if word.eq_ignore_ascii_case("public") => true,
        _ => {
            return Err(Failure::Usage(text!(
                "after it comes `public`, or nothing",
                "danach kommt `public` oder nichts"
            )));
        }
    };
    // Who may see the settings need not get anything to guess passwords with. Pasted, what is masked is refused: a command that asked for a
    // password would take the next line for it.
    let hash = |phc: &str| format!(" hash {}", if public { "*" } else { phc });
    let mut store = call.store();
    let settings = store.settings();
    let mut text = String::new();
    // A String takes whatever is written to it.
    if settings.language != Language::default() {
        let _ = writeln!(text, "language {}", settings.language.tag());
    }
    if let Some(phc) = &settings.admin {
        let _ = writeln!(text, "admin passwd{}", hash(phc));
    }
    network::commands(settings, &mut text);
    for domain in &settings.domains {
        let _ = writeln!(text, "domain add {domain}");
    }
    let aliases = settings.aliases.clone();
    let mut accounts: Vec<_> =
        settings.passwords.iter().map(|(account, (phc, _))| (*account, phc.clone())).collect();
    // In the order in which they were made: the first mailbox of a domain is its postmaster's.
    accounts.sort();
    for (account, phc) in accounts {
        let Some(account) = store.account(account) else { continue };
        let _ = writeln!(text, "mailbox add {} size {}{}", account.address, account.class.name(), hash(&phc));
    }
    for (alias, target) in &aliases {
        let _ = writeln!(text, "alias add {alias} {target}");
    }
    drop(store);
    if text.is_empty() {
        let nothing = text!("# nothing has been set yet\n", "# noch ist nichts eingestellt\n");
        text.push_str(nothing.of(call.language));
    }
    call.out.push_str(&text);
    Ok(())
}

/// The address, the alias's target if it is one, and the mailbox.
fn mailbox_of(
    arguments: &[&str],
    call: &mut Call<'_, '_>,
) -> Result<(String, Option<String>, String), Failure> {
    let [name] = arguments else {
        return Err(Failure::Usage(text!("one address is needed", "eine Adresse ist nötig")));
    };
    let name = address(name)?;
    let mut store = call.store();
    let settings = store.settings();
    let target = settings.aliases.get(&name).cloned();
    let login = target.clone().unwrap_or_else(|| name.clone());
    if !settings.addresses.contains_key(&login) {
        return Err(Failure::Refused(text!(
            "there is no mailbox {name}; `mailbox list` shows them",
            "ein Postfach {name} gibt es nicht; `mailbox list` zeigt alle"
        )));
    }
    drop(store);
    Ok((name, target, login))
}

/// What `show client` asks for: the certificate. What has just been typed may not be in force yet, and the first one not be made.
pub fn look_for_client(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    mailbox_of(arguments, call)?;
    let known = call.store().certificate();
    Ok(match known.as_ref().and_then(|known| known.chain.first()) {
        Some(own) => Job::DescribeCertificate { der: own.clone() },
        None => Job::Certify,
    })
}

/// `show client`
pub fn client(arguments: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    let (name, target, login) = mailbox_of(arguments, call)?;
    let (host, base) = (call.host(), call.cx.port_base);
    let fingerprint = match answer {
        JobAnswer::Described(about) => about.fingerprint,
        _ => call.facts.fingerprint.clone(),
    };
    let port = |number: u16| number.saturating_add(base);
    if target.is_some() {
        call.say(&text!(
            "{name} is an alias: its mail is in the mailbox {login}.\n",
            "{name} ist ein Alias: Seine Nachrichten sind im Postfach {login}.\n"
        ));
    }
    for (heading, safe, upgraded) in [
        (both("Receiving, with IMAP (recommended)", "Empfangen, mit IMAP (empfohlen)"), 993, 143),
        (both("Receiving, with POP3 (instead of IMAP)", "Empfangen, mit POP3 (statt IMAP)"), 995, 110),
        (both("Sending, with SMTP", "Senden, mit SMTP"), 465, 587),
    ] {
        call.say(&heading.into());
        call.say(&text!(
            "  Server      {host}\n  Port        {}, security SSL/TLS\n              or {}, security STARTTLS",
            "  Server      {host}\n  Port        {}, Sicherheit SSL/TLS\n              oder {}, Sicherheit STARTTLS",
            port(safe),
            port(upgraded)
        ));
        call.say(&text!(
            "  User name   {login}\n  Password    the mailbox's, as a normal password\n",
            "  Benutzer    {login}\n  Passwort    das des Postfachs, als normales Passwort\n"
        ));
    }
    if !fingerprint.is_empty() {
        call.say(&text!(
            "The mail program may ask once whether to trust the certificate. It is the right one\n\
             if it shows this SHA-256 fingerprint:\n{fingerprint}",
            "Das Mailprogramm fragt vielleicht einmal, ob dem Zertifikat zu trauen ist. Es ist das richtige,\n\
             wenn es diesen SHA-256-Fingerabdruck zeigt:\n{fingerprint}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (512, "0.5 KiB"),
            (20 << 10, "20 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (48 << 20, "48 MiB"),
            (3 << 40, "3.0 TiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(room(bytes), text);
        }
        assert_eq!((percent(1, 3), percent(0, 0), percent(u64::MAX, u64::MAX)), (33, 100, 100));
    }

    #[test]
    fn spans_are_for_people() {
        for (seconds, text) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3660, "1 h 1 min"),
            (90_000, "1 day 1 h"),
            (180_000, "2 days 2 h"),
        ] {
            assert_eq!(span(seconds).en, text);
        }
    }
}
