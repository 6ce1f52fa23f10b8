//! Password hashes: argon2id, one at a time, on a thread of its own, so that its 19 MiB exist once at most and no session's thread
//! waits for it.
//!
//! An unknown user costs the same time as a wrong password. Passwords are wiped after use, and never logged.
//!
//! A login that has just been right is remembered for a while, as a digest of password and stored hash under a key of this process that
//! is written nowhere: it is right again without a new hash. A changed password has another stored hash, so the old one is forgotten at
//! once; a wrong password is never remembered.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use super::pool::Pool;
use super::random;
use super::tls::sha256;
use crate::limits::{
    ARGON2_KIB, ARGON2_PASSES, LOGIN_REMEMBERED_SECONDS, LOGINS_REMEMBERED, SECRETS_WAITING_MAX,
};
use crate::session::{SecretAnswer, SecretJob};

/// Characters of a generated password: none that could be taken for another one.
const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyz23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Characters of a generated password: 16 × 5.8 bits.
const GENERATED_CHARACTERS: usize = 16;
/// Bytes of a salt (RFC 9106 §4).
const SALT_BYTES: usize = 16;

/// Where passwords are hashed.
pub struct Secrets {
    pool: Pool,
    /// Of this process; makes the digests worthless without it.
    key: [u8; 32],
    remembered: Mutex<VecDeque<(Digest, Instant)>>,
}

type Digest = [u8; 32];

impl Secrets {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start() -> io::Result<Secrets> {
        let mut key = [0; 32];
        random(&mut key);
        let pool = Pool::start("secret", 1, SECRETS_WAITING_MAX)?;
        Ok(Secrets { pool, key, remembered: Mutex::default() })
    }

    /// Does the job when its turn comes; `Busy` when too many wait.
    pub async fn answer(&self, mut job: SecretJob) -> SecretAnswer {
        let digest = match &mut job {
            SecretJob::Check { password, phc: Some(phc) } => {
                let digest = sha256(&[&self.key, &sha256(&[phc.as_bytes()]), password]);
                if self.remembers(&digest) {
                    wipe(password);
                    return SecretAnswer::Checked(true);
                }
                Some(digest)
            }
            _ => None,
        };
        let answer = self.pool.run(move || answer(job)).await.unwrap_or(SecretAnswer::Busy);
        if let (Some(digest), SecretAnswer::Checked(true)) = (digest, &answer) {
            self.remember(digest);
        }
        answer
    }

    /// Digests are keyed, so the time that comparing them takes tells nothing of the password.
    fn remembers(&self, digest: &Digest) -> bool {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let for_long = Duration::from_secs(u64::from(LOGIN_REMEMBERED_SECONDS));
        remembered.retain(|(_, since)| since.elapsed() < for_long);
        remembered.iter().any(|(known, _)| known == digest)
    }

    fn remember(&self, digest: Digest) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= LOGINS_REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((digest, Instant::now()));
    }
}

fn answer(job: SecretJob) -> SecretAnswer {
    match job {
        SecretJob::Make { mut password } => {
            let made = make(&password);
            wipe(&mut password);
            made.map_or(SecretAnswer::Busy, |phc| SecretAnswer::Made { phc })
        }
        SecretJob::Check { mut password, phc } => {
            let fits = check(&password, phc.as_deref());
            wipe(&mut password);
            SecretAnswer::Checked(fits)
        }
        SecretJob::Generate => {
            let password = generate();
            match make(password.as_bytes()) {
                Some(phc) => SecretAnswer::Generated { password, phc },
                None => SecretAnswer::Busy,
            }
        }
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(ARGON2_KIB, ARGON2_PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn make(password: &[u8]) -> Option<String> {
    let mut salt = [0; SALT_BYTES];
    random(&mut salt);
    let salt = SaltString::encode_b64(&salt).ok()?;
    Some(hasher().hash_password(password, &salt).ok()?.to_string())
}

/// Whether the password fits. Parameters are those of the stored hash, so that they can be raised later.
fn check(password: &[u8], phc: Option<&str>) -> bool {
    match phc.map(PasswordHash::new) {
        Some(Ok(stored)) => hasher().verify_password(password, &stored).is_ok(),
        Some(Err(_)) | None => {
            // The time of a hash is spent all the same: who has a mailbox here is nobody's business.
            let mut out = [0; Output::B64_MAX_LENGTH / 2];
            let _spent = hasher().hash_password_into(password, &[0; SALT_BYTES], &mut out[..32]);
            std::hint::black_box(&out);
            false
        }
    }
}

fn generate() -> String {
    let mut password = String::with_capacity(GENERATED_CHARACTERS);
    while password.len() < GENERATED_CHARACTERS {
        let mut byte = [0];
        random(&mut byte);
        // Bytes beyond the alphabet's last multiple are dropped, or some characters would be likelier.
        let limit = 256 / ALPHABET.len() * ALPHABET.len();
        if usize::from(byte[0]) < limit {
            password.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
    password
}

/// Overwrites a password. The compiler may not know that nobody reads it again.
fn wipe(password: &mut Vec<u8>) {
    password.fill(0);
    std::hint::black_box(password);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_hash_only() {
        let secrets = Secrets::start().unwrap();
        let ask = |job| smol::block_on(secrets.answer(job));
        let SecretAnswer::Made { phc } = ask(SecretJob::Make { password: b"sesam".to_vec() }) else {
            panic!()
        };
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let check = |password: &[u8], phc: Option<&str>| {
            let job = SecretJob::Check { password: password.to_vec(), phc: phc.map(String::from) };
            matches!(ask(job), SecretAnswer::Checked(true))
        };
        assert!(check(b"sesam", Some(&phc)));
        assert!(!check(b"Sesam", Some(&phc)));
        assert!(!check(b"sesam", None));
        assert!(!check(b"sesam", Some("")));
        let SecretAnswer::Generated { password, phc } = ask(SecretJob::Generate) else { panic!() };
        assert_eq!(password.len(), GENERATED_CHARACTERS);
        assert!(password.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert!(check(password.as_bytes(), Some(&phc)));
    }

    #[test]
    fn a_right_login_is_remembered_for_this_password_and_this_hash_only() {
        let secrets = Secrets::start().unwrap();
        let (phc, other) = (make(b"sesam").unwrap(), make(b"sesam").unwrap());
        let check = |password: &[u8], phc: &str| {
            let job = SecretJob::Check { password: password.to_vec(), phc: Some(String::from(phc)) };
            matches!(smol::block_on(secrets.answer(job)), SecretAnswer::Checked(true))
        };
        let count = || secrets.remembered.lock().unwrap().len();
        assert!(!check(b"Sesam", &phc) && count() == 0);
        assert!(check(b"sesam", &phc) && count() == 1);
        assert!(check(b"sesam", &phc) && count() == 1, "remembered");
        assert!(check(b"sesam", &other) && count() == 2, "another hash is another login");
        assert!(!check(b"Sesam", &phc) && count() == 2);
        let from = Instant::now();
        for _ in 0..20 {
            assert!(check(b"sesam", &phc));
        }
        assert!(from.elapsed() < Duration::from_millis(100), "no hash takes 5 ms");
        for login in 0..2 * LOGINS_REMEMBERED {
            secrets.remember(sha256(&[&login.to_le_bytes()]));
        }
        assert_eq!(count(), LOGINS_REMEMBERED);
    }
}
