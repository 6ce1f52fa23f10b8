//! What the owner looks at: `status`, `show config`, `show client`. Nothing here changes anything.

use std::fmt::Write as _;

use super::table::{Call, Failure};
use super::words::address;
use super::{certificate, network, time};
use crate::store::Account;

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
        Some(extra) => Err(Failure::Usage(format!("`{extra}` is one word too many"))),
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

/// A time span for people, in its two largest units.
pub fn span(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (1, hours, _) => format!("1 day {hours} h"),
        (2.., hours, _) => format!("{days} days {hours} h"),
        (_, 1.., minutes) => format!("{hours} h {minutes} min"),
        (_, _, 1..) => format!("{minutes} min"),
        _ => format!("{} s", seconds.max(0)),
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
    let no_admin = store.settings().admin.is_none();
    let accounts: Vec<_> = store.settings().addresses.values().copied().collect();
    let mut warnings = call.facts.warnings.clone();
    let mut lines = String::new();
    for account in &accounts {
        let Some(account) = store.account(*account) else { continue };
        lines.push_str(&mailbox_line(account));
        warnings.extend(mailbox_warning(account));
    }
    drop(store);
    let filled = percent(capacity.used_bytes, capacity.raw_bytes);
    warnings.extend(store_warnings(read_only, filled, domains, accounts.len(), no_admin));
    let (more, machine) = machine_lines(call);
    warnings.extend(more);

    let out = &mut *call.out;
    // A String takes whatever is written to it.
    if warnings.is_empty() {
        out.push_str("All is well.\n\n");
    }
    for warning in &warnings {
        let _ = writeln!(out, "! {warning}");
    }
    if !warnings.is_empty() {
        out.push('\n');
    }
    let running = match call.facts.started {
        Some(started) => format!("running for {}", span(call.cx.now.0 - started.0)),
        None => String::from("the server is not running"),
    };
    let _ = writeln!(out, "Postfach {} on {}, {running}", env!("CARGO_PKG_VERSION"), call.cx.host);
    let _ = writeln!(
        out,
        "Store        {}, {} written, {} free ({filled} % used){}",
        room(capacity.raw_bytes),
        room(capacity.used_bytes),
        room(capacity.raw_bytes.saturating_sub(capacity.used_bytes)),
        if read_only { ", READ-ONLY" } else { "" },
    );
    let _ = writeln!(
        out,
        "Mailboxes    {}, {} promised to them, {} left",
        accounts.len(),
        room(promised),
        room(all.saturating_sub(promised))
    );
    if let Some((now, most)) = call.facts.memory.and_then(|memory| memory()) {
        let _ = writeln!(out, "Memory       {}, at most {} so far", room(now), room(most));
    }
    let _ = writeln!(out, "Domains      {domains}, aliases {aliases}");
    out.push_str(&machine);
    let ports: Vec<String> = PORTS
        .iter()
        .map(|(name, port)| format!("{name} {}", port.saturating_add(call.cx.port_base)))
        .collect();
    let (first, second) = ports.split_at(4);
    let _ = writeln!(out, "Ports        {}\n             {}", first.join(", "), second.join(", "));
    let _ = writeln!(out, "Certificate  SHA-256 fingerprint {}", fingerprint(&call.facts.fingerprint));
    if !lines.is_empty() {
        let _ = write!(out, "\n{lines}");
    }
    Ok(())
}

/// What is wrong with the machine, and what there is to say of it.
fn machine_lines(call: &Call<'_, '_>) -> (Vec<String>, String) {
    let (mut warnings, mut lines) = (Vec::new(), String::new());
    let Some(machine) = &call.facts.machine else { return (warnings, lines) };
    warnings.extend(certificate::warning(&machine.certificate(), call.cx.now));
    if let Some(clock) = machine.clock() {
        warnings.extend(time::warning(&clock));
    }
    if let Some(network) = machine.network() {
        warnings.extend(network.problem.clone());
        if network.addresses.is_empty() {
            warnings.push(String::from("The network gives no address: `network show` says more."));
        }
        // A String takes whatever is written to it.
        let _ = writeln!(lines, "Network      {}", network.addresses.join(", "));
    }
    if let Some(seconds) = machine.trial_seconds() {
        warnings.push(format!("A change is on trial: it goes back in {seconds} s, unless you type `keep`."));
    }
    (warnings, lines)
}

fn mailbox_line(account: &Account) -> String {
    let messages: u64 = account.folders.values().map(|folder| u64::from(folder.count())).sum();
    format!(
        "  {}: {} of {} ({} %), {messages} {}\n",
        account.address,
        room(account.used_bytes),
        room(account.bucket_bytes),
        percent(account.used_bytes, account.bucket_bytes),
        if messages == 1 { "message" } else { "messages" },
    )
}

fn mailbox_warning(account: &Account) -> Option<String> {
    let filled = percent(account.used_bytes, account.bucket_bytes);
    let name = &account.address;
    let what = if filled >= 100 { "gets no more mail" } else { "will soon get no more mail" };
    (filled >= NEARLY_FULL_PERCENT).then(|| {
        format!("{name} is {filled} % full and {what}: delete some, or give it more room with `mailbox size {name} ...`")
    })
}

fn store_warnings(
    read_only: bool,
    filled: u64,
    domains: usize,
    mailboxes: usize,
    no_admin: bool,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if read_only {
        warnings.push(String::from(
            "The store is READ-ONLY, because writing to it has failed. New mail is refused; mail that is there can be read. \
             Look at the medium (the system's log, the card, the cable), then restart Postfach; \
             if it fails again, stop Postfach and copy the store to another medium.",
        ));
    }
    if filled >= MEDIUM_FULL_PERCENT {
        warnings.push(format!("The store is {filled} % full: when it is full, new mail is refused."));
    }
    if domains == 0 {
        warnings.push(String::from("There is no domain yet: `domain add example.com`."));
    } else if mailboxes == 0 {
        warnings.push(String::from("There is no mailbox yet: `mailbox add anna@example.com`."));
    }
    if no_admin {
        warnings.push(String::from(
            "There is no administrator's password for the serial console yet: `admin passwd`.",
        ));
    }
    warnings
}

/// The fingerprint in one line, longer than a terminal's: it can be copied and searched for.
fn fingerprint(text: &str) -> &str {
    if text.is_empty() { "none yet: the server makes a certificate when it first starts" } else { text }
}

/// `show config`
pub fn config(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let public = match arguments {
        [] => false,
        [word] if word.eq_ignore_ascii_case("public") => true,
        _ => return Err(Failure::Usage(String::from("after it comes `public`, or nothing"))),
    };
    // Who may see the settings need not get anything to guess passwords with. The rest can be pasted: it asks for the passwords.
    let hash = |phc: &str| if public { String::new() } else { format!(" hash {phc}") };
    let mut store = call.cx.store();
    let settings = store.settings();
    let mut text = String::new();
    // A String takes whatever is written to it.
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
        text.push_str("# nothing has been set yet\n");
    }
    call.out.push_str(&text);
    Ok(())
}

/// `show client`
pub fn client(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = arguments else {
        return Err(Failure::Usage(String::from("one address is needed")));
    };
    let name = address(name)?;
    let mut store = call.cx.store();
    let settings = store.settings();
    let target = settings.aliases.get(&name).cloned();
    let login = target.clone().unwrap_or_else(|| name.clone());
    if !settings.addresses.contains_key(&login) {
        return Err(Failure::Refused(format!("there is no mailbox {name}; `mailbox list` shows them")));
    }
    drop(store);
    let (host, base) = (call.cx.host, call.cx.port_base);
    let port = |number: u16| number.saturating_add(base);
    let out = &mut *call.out;
    // A String takes whatever is written to it.
    if target.is_some() {
        let _ = writeln!(out, "{name} is an alias: its mail is in the mailbox {login}.\n");
    }
    for (heading, safe, upgraded) in [
        ("Receiving, with IMAP (recommended)", 993, 143),
        ("Receiving, with POP3 (instead of IMAP)", 995, 110),
        ("Sending, with SMTP", 465, 587),
    ] {
        let _ = writeln!(out, "{heading}");
        let _ = writeln!(out, "  Server      {host}");
        let _ = writeln!(out, "  Port        {}, security SSL/TLS", port(safe));
        let _ = writeln!(out, "              or {}, security STARTTLS", port(upgraded));
        let _ = writeln!(out, "  User name   {login}");
        let _ = writeln!(out, "  Password    the mailbox's, as a normal password\n");
    }
    if !call.facts.fingerprint.is_empty() {
        let _ = writeln!(
            out,
            "The mail program may ask once whether to trust the certificate. It is the right one\nif it shows this SHA-256 fingerprint:\n{}",
            call.facts.fingerprint
        );
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
            assert_eq!(span(seconds), text);
        }
    }
}
