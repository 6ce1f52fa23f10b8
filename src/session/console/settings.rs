//! What the owner sets: domains, mailboxes, aliases, the administrator's password, the language.
//!
//! It refuses to decide what is allowed: the store's verbs do. Here their answers become sentences that say what to do.

use std::fmt::Write as _;

use super::show::{percent, room};
use super::table::{Call, Failure};
use super::text::{Text, text};
use super::words::{self, address, domain};
use crate::store::{CHANGED_MEANWHILE, FILLED_MEANWHILE, StoreError, bucket};
use crate::types::{AccountId, Class, Language};

type Done = Result<(), Failure>;

/// The class of a mailbox for which none is named: sixteen of them fill a store.
const CLASS_DEFAULT: Class = Class::M;

/// What the medium and the fixed maxima refuse, as a clause.
pub fn refused(error: StoreError) -> Text {
    match error {
        StoreError::NoSpace => text!(
            "the store has no room left for changes; `status` says more",
            "im Speicher ist kein Platz mehr für Änderungen; mehr sagt `status`"
        ),
        StoreError::ReadOnly => text!(
            "the store is read-only, because writing to it has failed; `status` says what to do",
            "der Speicher ist schreibgeschützt, weil Schreiben fehlgeschlagen ist; was zu tun ist, sagt `status`"
        ),
        StoreError::Limit(what) => {
            let german = german(what);
            text!("a fixed maximum is reached: {what}", "ein festes Höchstmaß ist erreicht: {german}")
        }
        StoreError::Cannot(why) => {
            let german = german(why);
            text!("{why}", "{german}")
        }
        StoreError::Exists => text!("there is one already", "das gibt es schon"),
        StoreError::Missing => text!("there is none of that name", "etwas mit diesem Namen gibt es nicht"),
        StoreError::OverQuota | StoreError::TooBig => text!("it does not fit", "das passt nicht hinein"),
    }
}

/// What the store says itself of settings: what it has at most so many of, and why it cannot change them now.
fn german(what: &str) -> &str {
    match what {
        "domains" => "Domains",
        "mailboxes" => "Postfächer",
        "aliases" => "Aliasse",
        "time servers" => "Zeitserver",
        "change too large for the log" => "die Änderung ist zu groß für das Protokoll",
        CHANGED_MEANWHILE => {
            "jemand anders hat in diesem Moment die Einstellungen geändert; nichts wurde geändert: Versuchen Sie es noch einmal"
        }
        FILLED_MEANWHILE => {
            "Nachrichten, die in diesem Moment gekommen sind, brauchen den Platz; nichts wurde geändert: Versuchen Sie es noch einmal"
        }
        other => other,
    }
}

fn failure(error: StoreError) -> Failure {
    Failure::Refused(refused(error))
}

fn say(call: &mut Call<'_, '_>, text: Text) -> Done {
    call.say(&text);
    Ok(())
}

fn refuse<T>(text: Text) -> Result<T, Failure> {
    Err(Failure::Refused(text))
}

/// Exactly these arguments.
pub(super) fn exactly<'a, const N: usize>(arguments: &[&'a str]) -> Result<[&'a str; N], Failure> {
    if let Some(extra) = arguments.get(N) {
        return Err(Failure::Usage(text!(
            "`{extra}` is one word too many",
            "`{extra}` ist ein Wort zu viel"
        )));
    }
    arguments.try_into().map_err(|_| Failure::Usage(text!("something is missing", "es fehlt etwas")))
}

/// `domain add`
pub fn domain_add(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = domain(name)?;
    let done = call.store().domain_add(&name);
    match done {
        Ok(()) => say(
            call,
            text!(
                "Mail for {name} is taken. Next: mailbox add somebody@{name}",
                "Nachrichten für {name} werden angenommen. Weiter: mailbox add jemand@{name}"
            ),
        ),
        Err(StoreError::Exists) => refuse(text!("{name} is there already", "{name} gibt es schon")),
        Err(error) => Err(failure(error)),
    }
}

/// `domain remove`
pub fn domain_remove(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = domain(name)?;
    let done = call.store().domain_remove(&name);
    match done {
        Ok(()) => say(
            call,
            text!(
                "Mail for {name} is no longer taken.",
                "Nachrichten für {name} werden nicht mehr angenommen."
            ),
        ),
        Err(StoreError::Missing) => refuse(text!(
            "there is no domain {name}; `domain list` shows them",
            "eine Domain {name} gibt es nicht; `domain list` zeigt alle"
        )),
        Err(StoreError::Cannot(_)) => refuse(text!(
            "{name} still has mailboxes or aliases; remove them first: `mailbox list` and `alias list` show them",
            "{name} hat noch Postfächer oder Aliasse; entfernen Sie diese zuerst: `mailbox list` und `alias list` zeigen sie"
        )),
        Err(error) => Err(failure(error)),
    }
}

/// `domain list`
pub fn domain_list(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let domains = call.store().settings().domains.clone();
    if domains.is_empty() {
        return say(
            call,
            text!(
                "There are no domains yet. Add one: domain add example.com",
                "Es gibt noch keine Domains. Eine anlegen: domain add example.com"
            ),
        );
    }
    domains.iter().try_for_each(|name| say(call, text!("{name}", "{name}")))
}

/// The address and the class of `mailbox add`.
fn new_mailbox(arguments: &[&str]) -> Result<(String, Class), Failure> {
    match arguments {
        [name] => Ok((address(name)?, CLASS_DEFAULT)),
        [name, size, class] if size.eq_ignore_ascii_case("size") => {
            Ok((address(name)?, words::class(class)?))
        }
        [] => Err(Failure::Usage(text!("the address is missing", "die Adresse fehlt"))),
        [_, size] if size.eq_ignore_ascii_case("size") => Err(Failure::Usage(text!(
            "after `size` comes S, M, L or XL",
            "nach `size` kommt S, M, L oder XL"
        ))),
        [_, wrong, ..] => {
            Err(Failure::Usage(text!("`{wrong}` is not understood", "`{wrong}` ist unverständlich")))
        }
    }
}

/// `mailbox add`, before its password.
pub fn mailbox_add_check(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let (name, class) = new_mailbox(arguments)?;
    known_domain(&name, &call.store().settings().domains)?;
    is_new(&name, call)?;
    fits(&name, class, None, "mailbox add", call)
}

/// Whether an address belongs to nobody yet.
pub(super) fn is_new(name: &str, call: &mut Call<'_, '_>) -> Done {
    let mut store = call.store();
    if let Some(target) = store.settings().aliases.get(name) {
        return refuse(text!(
            "{name} is an alias of {target}; remove that first: alias remove {name}",
            "{name} ist ein Alias von {target}; entfernen Sie ihn zuerst: alias remove {name}"
        ));
    }
    if store.settings().addresses.contains_key(name) {
        return refuse(text!("there is a mailbox {name} already", "ein Postfach {name} gibt es schon"));
    }
    Ok(())
}

fn known_domain(address: &str, domains: &[String]) -> Done {
    let name = address.rsplit_once('@').map(|(_, name)| name).unwrap_or_default();
    if domains.iter().any(|known| known == name) {
        return Ok(());
    }
    refuse(text!(
        "{name} is not a domain of this box; add it first: domain add {name}",
        "{name} ist keine Domain dieses Geräts; legen Sie sie zuerst an: domain add {name}"
    ))
}

/// Whether a bucket of this class fits, for a new mailbox or for this one. If not: what does.
pub(super) fn fits(
    name: &str,
    class: Class,
    account: Option<AccountId>,
    command: &str,
    call: &mut Call<'_, '_>,
) -> Done {
    let mut store = call.store();
    let Err(left) = store.fits(class, account) else { return Ok(()) };
    let size = bucket::class_bytes(class, store.buckets().0);
    let largest = store.class_that_fits(account);
    drop(store);
    let why = text!(
        "size {} takes {}, and {} are left",
        "Größe {} braucht {}, und {} sind frei",
        class.name(),
        room(size),
        room(left)
    );
    refuse(why.and(match largest {
        Some(class) if command == "mailbox add" => text!(
            "; size {0} fits: mailbox add {name} size {0}",
            "; Größe {0} passt: mailbox add {name} size {0}",
            class.name()
        ),
        Some(class) => text!(
            "; size {0} fits: mailbox size {name} {0}",
            "; Größe {0} passt: mailbox size {name} {0}",
            class.name()
        ),
        None => text!(
            "; no size fits: make another mailbox smaller, or remove one",
            "; keine Größe passt: verkleinern Sie ein anderes Postfach, oder entfernen Sie eines"
        ),
    }))
}

/// `mailbox add`
pub fn mailbox_add(arguments: &[&str], phc: String, call: &mut Call<'_, '_>) -> Done {
    // Asking for the password has taken time: somebody else may have been quicker.
    mailbox_add_check(arguments, call)?;
    let (name, class) = new_mailbox(arguments)?;
    let account = call.store().mailbox_add(&name, class, phc).map_err(failure)?;
    let bytes = call.store().account(account).map(|account| account.bucket_bytes).unwrap_or_default();
    say(
        call,
        text!(
            "The mailbox {name} is there, of size {} ({}).",
            "Das Postfach {name} ist angelegt, mit Größe {} ({}).",
            class.name(),
            room(bytes)
        ),
    )
}

fn known_mailbox(name: &str, call: &mut Call<'_, '_>) -> Done {
    let mut store = call.store();
    if store.account_of(name).is_ok() {
        return Ok(());
    }
    refuse(match store.settings().aliases.get(name) {
        Some(target) => text!(
            "{name} is an alias of {target}, not a mailbox",
            "{name} ist ein Alias von {target}, kein Postfach"
        ),
        None => text!(
            "there is no mailbox {name}; `mailbox list` shows them",
            "ein Postfach {name} gibt es nicht; `mailbox list` zeigt alle"
        ),
    })
}

/// `mailbox passwd`, before its password.
pub fn mailbox_passwd_check(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    known_mailbox(&address(name)?, call)
}

/// `mailbox passwd`
pub fn mailbox_passwd(arguments: &[&str], phc: String, call: &mut Call<'_, '_>) -> Done {
    mailbox_passwd_check(arguments, call)?;
    let [name] = exactly(arguments)?;
    let name = address(name)?;
    call.store().password_set(&name, phc).map_err(failure)?;
    say(
        call,
        text!(
            "The password of {name} is changed; only the new one works from now on.",
            "Das Passwort von {name} ist geändert; ab jetzt gilt nur noch das neue."
        ),
    )
}

/// `mailbox size`
pub fn mailbox_size(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    // `mailbox size anna@example.com size L` is what a hand used to `mailbox add` writes.
    let arguments: Vec<&str> = match arguments {
        [name, size, class] if size.eq_ignore_ascii_case("size") => vec![name, class],
        _ => arguments.to_vec(),
    };
    let [name, class] = exactly(&arguments)?;
    let (name, class) = (address(name)?, words::class(class)?);
    known_mailbox(&name, call)?;
    let account = call.store().account_of(&name).map_err(failure)?;
    fits(&name, class, Some(account), "mailbox size", call)?;
    call.store().mailbox_size(&name, class).map_err(failure)?;
    let (used, bytes) = match call.store().account(account) {
        Some(account) => (account.used_bytes, account.bucket_bytes),
        None => (0, 0),
    };
    say(
        call,
        text!(
            "The mailbox {name} has size {} ({}).",
            "Das Postfach {name} hat Größe {} ({}).",
            class.name(),
            room(bytes)
        ),
    )?;
    if used > bytes {
        let used = room(used);
        return say(
            call,
            text!(
                "It holds {used}: nothing is lost, but it gets no mail, and others not its room, until some is deleted.",
                "Es enthält {used}: Nichts geht verloren, aber bis etwas gelöscht ist, empfängt es nichts, und sein Platz wird nicht frei."
            ),
        );
    }
    Ok(())
}

/// `mailbox list`
pub fn mailbox_list(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let [address, size, whole, full] = match call.language {
        Language::English => ["ADDRESS", "SIZE", "ROOM", "USED"],
        Language::German => ["ADRESSE", "GR.", "PLATZ", "BELEGT"],
    };
    let mut store = call.store();
    let accounts: Vec<_> = store.settings().addresses.clone().into_iter().collect();
    let width = accounts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max(7);
    let mut table = format!("{address:width$}  {size:<4}  {whole:>9}  {full:>9}\n");
    for (name, account) in &accounts {
        let Some(account) = store.account(*account) else { continue };
        let (bytes, used) = (account.bucket_bytes, account.used_bytes);
        let class = account.class.name();
        // A String takes whatever is written to it.
        let _ = writeln!(
            table,
            "{name:width$}  {class:<4}  {:>9}  {:>9}  {:>3} %",
            room(bytes),
            room(used),
            percent(used, bytes)
        );
    }
    drop(store);
    if accounts.is_empty() {
        return say(
            call,
            text!(
                "There are no mailboxes yet. Make one: mailbox add anna@example.com",
                "Es gibt noch keine Postfächer. Eines anlegen: mailbox add anna@example.com"
            ),
        );
    }
    call.out.push_str(&table);
    Ok(())
}

/// `mailbox remove`
pub fn mailbox_remove(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = address(name)?;
    known_mailbox(&name, call)?;
    let aliases = call.store().settings().aliases.values().filter(|target| **target == name).count();
    call.store().mailbox_remove(&name).map_err(failure)?;
    let with = match aliases {
        0 => Text::default(),
        1 => text!(" and the alias that led to it", " und dem Alias, der zu ihm führte,"),
        n => text!(" and the {n} aliases that led to it", " und den {n} Aliassen, die zu ihm führten,"),
    };
    let removed = text!(
        "The mailbox {name} is removed with all its mail",
        "Das Postfach {name} ist mit allen Nachrichten"
    );
    say(call, removed.and(with).and(text!(".", " entfernt.")))
}

/// `alias add`
pub fn alias_add(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [alias, target] = exactly(arguments)?;
    let (alias, target) = (address(alias)?, address(target)?);
    let mut store = call.store();
    known_domain(&alias, &store.settings().domains)?;
    if store.settings().addresses.contains_key(&alias) {
        return refuse(text!(
            "there is a mailbox {alias}; an alias needs another name",
            "es gibt ein Postfach {alias}; ein Alias braucht einen anderen Namen"
        ));
    }
    if let Some(other) = store.settings().aliases.get(&alias) {
        return refuse(text!(
            "{alias} is an alias of {other} already; remove that first: alias remove {alias}",
            "{alias} ist schon ein Alias von {other}; entfernen Sie ihn zuerst: alias remove {alias}"
        ));
    }
    drop(store);
    known_mailbox(&target, call)?;
    call.store().alias_add(&alias, &target).map_err(failure)?;
    say(call, text!("Mail for {alias} goes to {target}.", "Nachrichten für {alias} gehen an {target}."))
}

/// `alias remove`
pub fn alias_remove(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [alias] = exactly(arguments)?;
    let alias = address(alias)?;
    let done = call.store().alias_remove(&alias);
    match done {
        Ok(()) => say(call, text!("The alias {alias} is removed.", "Der Alias {alias} ist entfernt.")),
        Err(StoreError::Missing) => refuse(text!(
            "there is no alias {alias}; `alias list` shows them",
            "einen Alias {alias} gibt es nicht; `alias list` zeigt alle"
        )),
        Err(error) => Err(failure(error)),
    }
}

/// `alias list`
pub fn alias_list(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let aliases = call.store().settings().aliases.clone();
    if aliases.is_empty() {
        return say(
            call,
            text!(
                "There are no aliases. Add one: alias add info@example.com anna@example.com",
                "Es gibt keine Aliasse. Einen anlegen: alias add info@example.com anna@example.com"
            ),
        );
    }
    let line = |(alias, target)| text!("{alias} -> {target}", "{alias} -> {target}");
    aliases.iter().map(line).try_for_each(|line| say(call, line))
}

/// `admin passwd`, before its password.
pub fn admin_passwd_check(arguments: &[&str], _: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    Ok(())
}

/// `admin passwd`
pub fn admin_passwd(_: &[&str], phc: String, call: &mut Call<'_, '_>) -> Done {
    call.store().admin_set(phc).map_err(failure)?;
    say(call, text!("The administrator's password is set.", "Das Administrator-Passwort ist gesetzt."))
}

/// `language`
pub fn language(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [word] = exactly(arguments)?;
    let Some(language) = Language::parse(word) else {
        return Err(Failure::Usage(text!("`{word}` is not a language", "`{word}` ist keine Sprache")));
    };
    call.store().language_set(language).map_err(failure)?;
    call.language = language;
    say(call, text!("From now on English is spoken here.", "Ab jetzt wird hier Deutsch gesprochen."))
}
