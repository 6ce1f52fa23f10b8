//! TLS 1.2 and 1.3 with the store's certificate, and the self-signed one that a new store gets.
//!
//! Refuses: client certificates, session resumption (a full handshake is a third of a millisecond, a remembered session is memory and
//! outlives a change of the certificate), early data. A new certificate is in force for the next handshake. The self-signed one stays
//! when domains are added later: people have compared its fingerprint, and mail programs have been told to trust it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::server::NoServerSessionStorage;
use futures_rustls::rustls::{self, ServerConfig};
use futures_rustls::server::TlsStream;
use smol::Async;

use crate::limits::HANDSHAKE_SECONDS;
use crate::store::Certificate;

/// Years that a self-signed certificate is good for.
const YEARS: i32 = 10;
/// The clock of a board may stand at 1970: no certificate starts, or is made, before this.
const FIRST_YEAR: i32 = 2026;

/// What handshakes use now.
pub struct Tls {
    current: RwLock<Current>,
}

struct Current {
    certificate: Arc<Certificate>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Starts with a certificate.
    ///
    /// # Errors
    /// Key and certificate do not belong together, or cannot be read.
    pub fn new(certificate: Arc<Certificate>) -> Result<Tls, rustls::Error> {
        let config = config(&certificate)?;
        Ok(Tls { current: RwLock::new(Current { certificate, config }) })
    }

    /// Takes another certificate, if it is another one. One that cannot be used is reported and not taken.
    pub fn renew(&self, certificate: &Arc<Certificate>) {
        let same = |current: &Current| Arc::ptr_eq(&current.certificate, certificate);
        if same(&self.current.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        match config(certificate) {
            Ok(config) => {
                let certificate = Arc::clone(certificate);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    Current { certificate, config };
            }
            Err(error) => log::error!("the new certificate cannot be used, the old one stays: {error}"),
        }
    }

    /// SHA-256 of the certificate that is shown now.
    pub fn fingerprint(&self) -> String {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.certificate.chain.first().map(|der| fingerprint(der)).unwrap_or_default()
    }

    /// Shows the certificate that is in force, DER.
    pub fn with_own(&self, show: impl FnOnce(&[u8])) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = current.certificate.chain.first() {
            show(own);
        }
    }

    /// Negotiates TLS as the server.
    ///
    /// # Errors
    /// The peer's, or it has taken too long.
    pub async fn accept(&self, stream: Async<TcpStream>) -> io::Result<Box<TlsStream<Async<TcpStream>>>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config);
        let accept = async { TlsAcceptor::from(config).accept(stream).await.map(Box::new) };
        let late = async {
            smol::Timer::after(Duration::from_secs(u64::from(HANDSHAKE_SECONDS))).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        smol::future::or(accept, late).await
    }
}

/// What handshakes with this certificate use.
///
/// # Errors
/// Key and certificate do not belong together, or cannot be read.
pub fn config(certificate: &Certificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut provider = ring::default_provider();
    let aes = has_aes();
    if !aes {
        provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("CHACHA20"));
    }
    let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(certificate.key.clone());
    let key = key.map_err(|why| rustls::Error::General(String::from(why)))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // A client that has no AES asks for ChaCha20 first; where it is we who have none, our order counts.
    config.ignore_client_order = !aes;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Whether the CPU has AES instructions. Where nobody knows (32-bit ARM), none are assumed.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// Makes a key (P-256) and a certificate for these names, this machine included.
///
/// # Errors
/// A name that no certificate can hold.
pub fn self_signed(host: &str, domains: &[String], year: i32) -> Result<Certificate, rcgen::Error> {
    let mut names: Vec<String> = vec![String::from(host), String::from("localhost")];
    names.extend(domains.iter().flat_map(|domain| [domain.clone(), format!("mail.{domain}")]));
    names.retain(|name| name.is_ascii() && !name.is_empty());
    names.extend(
        [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(|ip| ip.to_string()),
    );
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, host);
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year.max(FIRST_YEAR) + YEARS, 12, 31);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Certificate { chain: vec![certificate.der().to_vec()], key: key.serialize_der() })
}

/// SHA-256 of a DER certificate, as people compare it: upper-case hexadecimal with colons.
pub fn fingerprint(der: &[u8]) -> String {
    let bytes = sha256(&[der]);
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// SHA-256 of these parts, one after the other. ring is here through rustls only: its SHA-256 is that of a suite named for it.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite.expect("TLS13_AES_128_GCM_SHA256 is a suite of TLS 1.3").common.hash_provider;
    let mut running = hash.start();
    for part in parts {
        running.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(running.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_sha_256() {
        assert_eq!(
            fingerprint(b"abc"),
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
        );
    }

    #[test]
    fn a_certificate_names_this_machine_and_our_domains_once() {
        let domains = ["example.test", "b\u{fc}ro.test", "box.example.test"].map(String::from);
        let made = self_signed("mail.example.test", &domains, 2026).unwrap();
        let count = |name: &str| {
            // A dNSName (RFC 5280 §4.2.1.6): tag, length, name.
            let entry = [&[0x82, name.len() as u8], name.as_bytes()].concat();
            made.chain[0].windows(entry.len()).filter(|bytes| *bytes == entry).count()
        };
        for name in
            ["mail.example.test", "example.test", "box.example.test", "mail.box.example.test", "localhost"]
        {
            assert_eq!(count(name), 1, "{name}");
        }
        assert!(self_signed("", &[], 1970).is_ok(), "a machine without a name");
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
        let make = || Arc::new(self_signed("box", &[String::from("example.test")], 1970).unwrap());
        let (first, second) = (make(), make());
        let tls = Tls::new(Arc::clone(&first)).unwrap();
        assert_eq!(tls.fingerprint(), fingerprint(&first.chain[0]));
        tls.renew(&second);
        assert_eq!(tls.fingerprint(), fingerprint(&second.chain[0]));
        tls.renew(&Arc::new(Certificate { chain: first.chain.clone(), key: second.key.clone() }));
        assert_eq!(tls.fingerprint(), fingerprint(&second.chain[0]));
    }
}
