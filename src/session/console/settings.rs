//! What the owner sets: domains, mailboxes, aliases, the administrator's password.
//!
//! It refuses to decide what is allowed: the store's verbs do. Here their answers become sentences that say what to do.

use std::fmt::Write as _;

use super::show::{percent, room};
use super::table::{Call, Failure};
use super::words::{self, address, domain};
use crate::store::{StoreError, bucket};
use crate::types::Class;

type Done = Result<(), Failure>;

/// The class of a mailbox for which none is named: sixteen of them fill a store.
const CLASS_DEFAULT: Class = Class::M;

/// What the medium and the fixed maxima refuse, as a clause.
pub fn refused(error: StoreError) -> String {
    match error {
        StoreError::NoSpace => String::from("the store has no room left for changes; `status` says more"),
        StoreError::ReadOnly => {
            String::from("the store is read-only, because writing to it has failed; `status` says what to do")
        }
        StoreError::Limit(what) => format!("a fixed maximum is reached: {what}"),
        StoreError::Cannot(why) => String::from(why),
        StoreError::Exists => String::from("there is one already"),
        StoreError::Missing => String::from("there is none of that name"),
        StoreError::OverQuota | StoreError::TooBig => String::from("it does not fit"),
    }
}

fn failure(error: StoreError) -> Failure {
    Failure::Refused(refused(error))
}

pub(super) fn say(call: &mut Call<'_, '_>, text: &str) -> Done {
    call.out.push_str(text);
    call.out.push('\n');
    Ok(())
}

/// Exactly these arguments.
pub(super) fn exactly<'a, const N: usize>(arguments: &[&'a str]) -> Result<[&'a str; N], Failure> {
    if let Some(extra) = arguments.get(N) {
        return Err(Failure::Usage(format!("`{extra}` is one word too many")));
    }
    arguments.try_into().map_err(|_| Failure::Usage(String::from("something is missing")))
}

/// `domain add`
pub fn domain_add(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = domain(name)?;
    let done = call.store().domain_add(&name);
    match done {
        Ok(()) => say(call, &format!("Mail for {name} is taken. Next: mailbox add somebody@{name}")),
        Err(StoreError::Exists) => Err(Failure::Refused(format!("{name} is there already"))),
        Err(error) => Err(failure(error)),
    }
}

/// `domain remove`
pub fn domain_remove(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [name] = exactly(arguments)?;
    let name = domain(name)?;
    let done = call.store().domain_remove(&name);
    match done {
        Ok(()) => say(call, &format!("Mail for {name} is no longer taken.")),
        Err(StoreError::Missing) => {
            Err(Failure::Refused(format!("there is no domain {name}; `domain list` shows them")))
        }
        Err(StoreError::Cannot(_)) => Err(Failure::Refused(format!(
            "{name} still has mailboxes or aliases; remove them first: `mailbox list` and `alias list` show them"
        ))),
        Err(error) => Err(failure(error)),
    }
}

/// `domain list`
pub fn domain_list(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let domains = call.store().settings().domains.clone();
    if domains.is_empty() {
        return say(call, "There are no domains yet. Add one: domain add example.com");
    }
    domains.iter().try_for_each(|name| say(call, name))
}

/// The address and the class of `mailbox add`.
fn new_mailbox(arguments: &[&str]) -> Result<(String, Class), Failure> {
    match arguments {
        [name] => Ok((address(name)?, CLASS_DEFAULT)),
        [name, size, class] if size.eq_ignore_ascii_case("size") => {
            Ok((address(name)?, words::class(class)?))
        }
        [] => Err(Failure::Usage(String::from("the address is missing"))),
        [_, size] if size.eq_ignore_ascii_case("size") => {
            Err(Failure::Usage(String::from("after `size` comes S, M, L or XL")))
        }
        [_, wrong, ..] => Err(Failure::Usage(format!("`{wrong}` is not understood"))),
    }
}

/// `mailbox add`, before its password.
pub fn mailbox_add_check(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let (name, class) = new_mailbox(arguments)?;
    known_domain(&name, &call.store().settings().domains)?;
    is_new(&name, call)?;
    fits(&name, class, 0, "mailbox add", call)
}

/// Whether an address belongs to nobody yet.
pub(super) fn is_new(name: &str, call: &mut Call<'_, '_>) -> Done {
    let mut store = call.store();
    if let Some(target) = store.settings().aliases.get(name) {
        return Err(Failure::Refused(format!(
            "{name} is an alias of {target}; remove that first: alias remove {name}"
        )));
    }
    if store.settings().addresses.contains_key(name) {
        return Err(Failure::Refused(format!("there is a mailbox {name} already")));
    }
    Ok(())
}

fn known_domain(address: &str, domains: &[String]) -> Done {
    let name = address.rsplit_once('@').map(|(_, name)| name).unwrap_or_default();
    if domains.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(Failure::Refused(format!("{name} is not a domain of this box; add it first: domain add {name}")))
}

/// Whether a bucket of this class fits when `freed` bytes are given up. If not: what does.
pub(super) fn fits(name: &str, class: Class, freed: u64, command: &str, call: &mut Call<'_, '_>) -> Done {
    let (all, promised) = call.store().buckets();
    let left = all.saturating_sub(promised.saturating_sub(freed));
    let size = bucket::class_bytes(class, all);
    if size <= left {
        return Ok(());
    }
    let mut why = format!("size {} takes {}, and {} are left", class.name(), room(size), room(left));
    let largest = call.store().class_that_fits(freed);
    // A String takes whatever is written to it.
    let _ = match largest {
        Some(class) if command == "mailbox add" => {
            write!(why, "; size {0} fits: mailbox add {name} size {0}", class.name())
        }
        Some(class) => write!(why, "; size {0} fits: mailbox size {name} {0}", class.name()),
        None => write!(why, "; no size fits: make another mailbox smaller, or remove one"),
    };
    Err(Failure::Refused(why))
}

/// `mailbox add`
pub fn mailbox_add(arguments: &[&str], phc: String, call: &mut Call<'_, '_>) -> Done {
    // Asking for the password has taken time: somebody else may have been quicker.
    mailbox_add_check(arguments, call)?;
    let (name, class) = new_mailbox(arguments)?;
    let account = call.store().mailbox_add(&name, class, phc).map_err(failure)?;
    let bytes = call.store().account(account).map(|account| account.bucket_bytes).unwrap_or_default();
    say(call, &format!("The mailbox {name} is there, of size {} ({}).", class.name(), room(bytes)))
}

fn known_mailbox(name: &str, call: &mut Call<'_, '_>) -> Done {
    let mut store = call.store();
    if store.account_of(name).is_ok() {
        return Ok(());
    }
    Err(Failure::Refused(match store.settings().aliases.get(name) {
        Some(target) => format!("{name} is an alias of {target}, not a mailbox"),
        None => format!("there is no mailbox {name}; `mailbox list` shows them"),
    }))
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
    say(call, &format!("The password of {name} is changed; only the new one works from now on."))
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
    let mut store = call.store();
    let account = store.account_of(&name).map_err(failure)?;
    let freed = store.account(account).map(|account| account.bucket_bytes).unwrap_or_default();
    drop(store);
    fits(&name, class, freed, "mailbox size", call)?;
    call.store().mailbox_size(&name, class).map_err(failure)?;
    let (used, bytes) = match call.store().account(account) {
        Some(account) => (account.used_bytes, account.bucket_bytes),
        None => (0, 0),
    };
    say(call, &format!("The mailbox {name} has size {} ({}).", class.name(), room(bytes)))?;
    if used > bytes {
        let used = room(used);
        return say(
            call,
            &format!("It holds {used}: nothing is lost, but it gets no mail until some is deleted."),
        );
    }
    Ok(())
}

/// `mailbox list`
pub fn mailbox_list(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let mut store = call.store();
    let accounts: Vec<_> = store.settings().addresses.clone().into_iter().collect();
    let width = accounts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max(7);
    let mut table = format!("{:width$}  {:<4}  {:>9}  {:>9}\n", "ADDRESS", "SIZE", "ROOM", "USED");
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
        return say(call, "There are no mailboxes yet. Make one: mailbox add anna@example.com");
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
        0 => String::new(),
        1 => String::from(" and the alias that led to it"),
        n => format!(" and the {n} aliases that led to it"),
    };
    say(call, &format!("The mailbox {name} is removed with all its mail{with}."))
}

/// `alias add`
pub fn alias_add(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [alias, target] = exactly(arguments)?;
    let (alias, target) = (address(alias)?, address(target)?);
    let mut store = call.store();
    known_domain(&alias, &store.settings().domains)?;
    if store.settings().addresses.contains_key(&alias) {
        return Err(Failure::Refused(format!("there is a mailbox {alias}; an alias needs another name")));
    }
    if let Some(other) = store.settings().aliases.get(&alias) {
        let why = format!("{alias} is an alias of {other} already; remove that first: alias remove {alias}");
        return Err(Failure::Refused(why));
    }
    drop(store);
    known_mailbox(&target, call)?;
    call.store().alias_add(&alias, &target).map_err(failure)?;
    say(call, &format!("Mail for {alias} goes to {target}."))
}

/// `alias remove`
pub fn alias_remove(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [alias] = exactly(arguments)?;
    let alias = address(alias)?;
    let done = call.store().alias_remove(&alias);
    match done {
        Ok(()) => say(call, &format!("The alias {alias} is removed.")),
        Err(StoreError::Missing) => {
            Err(Failure::Refused(format!("there is no alias {alias}; `alias list` shows them")))
        }
        Err(error) => Err(failure(error)),
    }
}

/// `alias list`
pub fn alias_list(arguments: &[&str], call: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    let aliases = call.store().settings().aliases.clone();
    if aliases.is_empty() {
        return say(call, "There are no aliases. Add one: alias add info@example.com anna@example.com");
    }
    aliases.iter().try_for_each(|(alias, target)| say(call, &format!("{alias} -> {target}")))
}

/// `admin passwd`, before its password.
pub fn admin_passwd_check(arguments: &[&str], _: &mut Call<'_, '_>) -> Done {
    let [] = exactly(arguments)?;
    Ok(())
}

/// `admin passwd`
pub fn admin_passwd(_: &[&str], phc: String, call: &mut Call<'_, '_>) -> Done {
    call.store().admin_set(phc).map_err(failure)?;
    say(call, "The administrator's password is set.")
}
