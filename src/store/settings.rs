//! The verbs of the owner: domains, mailboxes, aliases, passwords, the certificate. And who an address is.

use super::record::Record;
use super::{Access, Network, StoreError, bucket};
use crate::limits::{ACCOUNTS_MAX, ALIASES_MAX, DOMAINS_MAX, TIME_SERVERS_MAX};
use crate::types::{AccountId, Class, FolderId, Language, SpecialUse};

/// Who an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A mailbox of ours, perhaps through an alias.
    Account(AccountId),
    /// Our domain, but nobody there: `550 5.1.1`.
    Unknown,
    /// Not our domain: `550 5.7.1` to strangers.
    Elsewhere,
}

/// What a login is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose.
    pub account: AccountId,
    /// argon2id hash, as a PHC string.
    pub phc: String,
    /// How often the password has been changed: a session of an older one ends.
    pub generation: u32,
}

impl Access<'_> {
    /// Who `local@domain` is; without a domain, the postmaster of our first domain (RFC 5321 §4.1.1.3). Case does not matter.
    pub fn recipient(&mut self, local: &str, domain: Option<&str>) -> Recipient {
        let settings = self.settings();
        let local = local.to_lowercase();
        let domain = match domain {
            Some(domain) => domain.to_lowercase(),
            None => match settings.domains.first() {
                Some(first) => first.clone(),
                None => return Recipient::Unknown,
            },
        };
        if !settings.domains.contains(&domain) {
            return Recipient::Elsewhere;
        }
        let address = format!("{local}@{domain}");
        let target = settings.aliases.get(&address).unwrap_or(&address);
        if let Some(account) = settings.addresses.get(target) {
            return Recipient::Account(*account);
        }
        // RFC 5321 §4.5.1: postmaster must be reachable; the first mailbox of the domain is, unless an alias says otherwise.
        let suffix = format!("@{domain}");
        let first = settings.addresses.iter().filter(|(address, _)| address.ends_with(&suffix));
        match first.map(|(_, account)| *account).min() {
            Some(account) if local == "postmaster" => Recipient::Account(account),
            _ => Recipient::Unknown,
        }
    }

    /// What a login with this address is checked against.
    pub fn login(&mut self, address: &str) -> Option<Credentials> {
        let settings = self.settings();
        let account = *settings.addresses.get(&address.to_lowercase())?;
        let (phc, generation) = settings.passwords.get(&account)?.clone();
        Some(Credentials { account, phc, generation })
    }

    /// How often the account's password has been changed; None when the account is gone. Sessions compare at each step.
    pub fn generation(&mut self, account: AccountId) -> Option<u32> {
        self.settings().passwords.get(&account).map(|(_, changes)| *changes)
    }

    /// Whether mail from this address may be sent by this account: its own address, or an alias to it.
    pub fn owns(&mut self, account: AccountId, address: &str) -> bool {
        let settings = self.settings();
        let address = address.to_lowercase();
        let target = settings.aliases.get(&address).unwrap_or(&address);
        settings.addresses.get(target) == Some(&account)
    }

    /// Takes a domain in.
    ///
    /// # Errors
    /// `Exists`, `Limit`, and the medium's.
    pub fn domain_add(&mut self, domain: &str) -> Result<(), StoreError> {
        let domain = domain.to_lowercase();
        if self.settings().domains.contains(&domain) {
            return Err(StoreError::Exists);
        }
        if self.settings().domains.len() >= DOMAINS_MAX {
            return Err(StoreError::Limit("domains"));
        }
        self.record(AccountId::SETTINGS, &[Record::DomainAdded(domain)]).map(drop)
    }

    /// Gives a domain up.
    ///
    /// # Errors
    /// `Missing`; `Cannot` while mailboxes or aliases of the domain exist; and the medium's.
    pub fn domain_remove(&mut self, domain: &str) -> Result<(), StoreError> {
        let domain = domain.to_lowercase();
        let settings = self.settings();
        if !settings.domains.contains(&domain) {
            return Err(StoreError::Missing);
        }
        let suffix = format!("@{domain}");
        if settings.addresses.keys().chain(settings.aliases.keys()).any(|address| address.ends_with(&suffix))
        {
            return Err(StoreError::Cannot("it still has mailboxes or aliases"));
        }
        self.record(AccountId::SETTINGS, &[Record::DomainRemoved(domain)]).map(drop)
    }

    /// Makes a mailbox with its folders.
    ///
    /// # Errors
    /// `Exists` (also as an alias); `Missing` when the domain is not ours; `OverQuota` when the bucket does not fit; `Limit`; the medium's.
    pub fn mailbox_add(&mut self, address: &str, class: Class, phc: String) -> Result<AccountId, StoreError> {
        let address = address.to_lowercase();
        let settings = self.settings();
        let domain = address.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
        if !settings.domains.iter().any(|known| known == domain) {
            return Err(StoreError::Missing);
        }
        if settings.addresses.contains_key(&address) || settings.aliases.contains_key(&address) {
            return Err(StoreError::Exists);
        }
        if settings.addresses.len() >= ACCOUNTS_MAX {
            return Err(StoreError::Limit("mailboxes"));
        }
        let bucket_bytes = self.fits(class, None).map_err(|_| StoreError::OverQuota)?;
        let account = AccountId(self.state().account_last.0 + 1);
        let mut uid_validity = self.state().uid_validity;
        let mut records = vec![Record::AccountAdded { account, address, class, bucket_bytes, phc }];
        let names = SpecialUse::ALL.map(|special| (special.folder(), Some(special)));
        for (index, (name, special)) in [("INBOX", None)].into_iter().chain(names).enumerate() {
            uid_validity = super::folders::next_uid_validity(uid_validity);
            let folder = FolderId(index as u32 + 1);
            let name = String::from(name);
            records.push(Record::FolderAdded { account, folder, name: name.clone(), uid_validity, special });
            records.push(Record::Subscribed { account, name });
        }
        self.record(account, &records)?;
        Ok(account)
    }

    /// The size of a bucket of this class, if a new mailbox, or this one, can have it beside what others have.
    ///
    /// # Errors
    /// It does not fit: bytes that are left for it.
    pub fn fits(&mut self, class: Class, account: Option<AccountId>) -> Result<u64, u64> {
        let (room, promised) = self.buckets();
        let known = account.and_then(|account| self.state().accounts.get(&account));
        let own = known.map_or(0, |known| bucket::promised_to(known, &self.store.state));
        let (bytes, left) = (bucket::class_bytes(class, room), room.saturating_sub(promised - own));
        // Who takes no more than before is never refused, though too much were promised already.
        if bytes <= left.max(own) { Ok(bytes) } else { Err(left) }
    }

    /// The largest class whose bucket fits, for the refusal of one that does not.
    pub fn class_that_fits(&mut self, account: Option<AccountId>) -> Option<Class> {
        Class::ALL.into_iter().rev().find(|class| self.fits(*class, account).is_ok())
    }

    /// The account of a login address.
    ///
    /// # Errors
    /// `Missing`.
    pub fn account_of(&mut self, address: &str) -> Result<AccountId, StoreError> {
        self.settings().addresses.get(&address.to_lowercase()).copied().ok_or(StoreError::Missing)
    }

    /// Removes a mailbox with its mail and the aliases that lead to it.
    ///
    /// # Errors
    /// `Missing`, and the medium's.
    pub fn mailbox_remove(&mut self, address: &str) -> Result<(), StoreError> {
        let account = self.account_of(address)?;
        let address = address.to_lowercase();
        let aliases = self.settings().aliases.iter().filter(|(_, target)| **target == address);
        let mut records: Vec<Record> =
            aliases.map(|(alias, _)| Record::AliasRemoved(alias.clone())).collect();
        records.push(Record::AccountRemoved(account));
        self.record(account, &records).map(drop)
    }

    /// Gives a mailbox another bucket. One that is smaller than its content loses nothing: receiving stops, and what the mailbox holds is
    /// promised to nobody else.
    ///
    /// # Errors
    /// `Missing`; `OverQuota` when the bucket does not fit; the medium's.
    pub fn mailbox_size(&mut self, address: &str, class: Class) -> Result<(), StoreError> {
        let account = self.account_of(address)?;
        let bucket_bytes = self.fits(class, Some(account)).map_err(|_| StoreError::OverQuota)?;
        self.record(account, &[Record::AccountSize { account, class, bucket_bytes }]).map(drop)
    }

    /// Gives a mailbox another password: only the new one works from now on, and sessions of the old one end.
    ///
    /// # Errors
    /// `Missing`, and the medium's.
    pub fn password_set(&mut self, address: &str, phc: String) -> Result<(), StoreError> {
        let account = self.account_of(address)?;
        self.record(account, &[Record::AccountPassword { account, phc }]).map(drop)
    }

    /// Mail for `address` goes to the mailbox `target`.
    ///
    /// # Errors
    /// `Exists`; `Missing` when the domain or the target is not ours; `Limit`; the medium's.
    pub fn alias_add(&mut self, address: &str, target: &str) -> Result<(), StoreError> {
        let (address, target) = (address.to_lowercase(), target.to_lowercase());
        let settings = self.settings();
        let domain = address.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
        if !settings.domains.iter().any(|known| known == domain) || !settings.addresses.contains_key(&target)
        {
            return Err(StoreError::Missing);
        }
        if settings.addresses.contains_key(&address) || settings.aliases.contains_key(&address) {
            return Err(StoreError::Exists);
        }
        if settings.aliases.len() >= ALIASES_MAX {
            return Err(StoreError::Limit("aliases"));
        }
        self.record(AccountId::SETTINGS, &[Record::AliasAdded { address, target }]).map(drop)
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// `Missing`, and the medium's.
    pub fn alias_remove(&mut self, address: &str) -> Result<(), StoreError> {
        let address = address.to_lowercase();
        if !self.settings().aliases.contains_key(&address) {
            return Err(StoreError::Missing);
        }
        self.record(AccountId::SETTINGS, &[Record::AliasRemoved(address)]).map(drop)
    }

    /// Sets the administrator's password.
    ///
    /// # Errors
    /// The medium's.
    pub fn admin_set(&mut self, phc: String) -> Result<(), StoreError> {
        self.record(AccountId::SETTINGS, &[Record::AdminPassword(phc)]).map(drop)
    }

    /// Sets the language that people are spoken to in.
    ///
    /// # Errors
    /// The medium's.
    pub fn language_set(&mut self, language: Language) -> Result<(), StoreError> {
        self.record(AccountId::SETTINGS, &[Record::Language(language)]).map(drop)
    }

    /// Sets what TLS shows: DER certificates, the server's own first, and its key.
    ///
    /// # Errors
    /// The medium's.
    pub fn certificate_set(&mut self, chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<(), StoreError> {
        self.record(AccountId::SETTINGS, &[Record::Certificate { chain, key }]).map(drop)
    }

    /// Sets the network up; what is in force is what the board's program makes of it.
    ///
    /// # Errors
    /// The medium's.
    pub fn network_set(&mut self, network: Network) -> Result<(), StoreError> {
        self.record(AccountId::SETTINGS, &[Record::Network(network)]).map(drop)
    }

    /// Names the machine; an empty name lets the system and the first domain name it.
    ///
    /// # Errors
    /// The medium's.
    pub fn host_set(&mut self, name: &str) -> Result<(), StoreError> {
        self.record(AccountId::SETTINGS, &[Record::HostName(name.to_lowercase())]).map(drop)
    }

    /// Sets who is asked for the time.
    ///
    /// # Errors
    /// `Limit`, and the medium's.
    pub fn time_servers_set(&mut self, servers: Vec<String>) -> Result<(), StoreError> {
        if servers.len() > TIME_SERVERS_MAX {
            return Err(StoreError::Limit("time servers"));
        }
        self.record(AccountId::SETTINGS, &[Record::TimeServers(servers)]).map(drop)
    }
}
