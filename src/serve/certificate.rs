//! Certificates as people bring and read them: PEM in, what one says out. What TLS does with one is in [`super::tls`].
//!
//! Refuses what could not be shown to anybody: no certificate, no key, a key that does not fit. Dates and names are for the owner to judge.

use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::tls;
use crate::limits::CERTIFICATE_BYTES_MAX;
use crate::session::console::text::{Text, text};
use crate::session::job::CertificateFacts;
use crate::store::Certificate;
use crate::types::Time;

/// Reads a chain and its key.
///
/// # Errors
/// What is wrong, as a clause.
pub fn read(pem: &[u8]) -> Result<Certificate, Text> {
    if pem.len() > CERTIFICATE_BYTES_MAX {
        return Err(text!(
            "it is longer than {CERTIFICATE_BYTES_MAX} bytes",
            "es ist länger als {CERTIFICATE_BYTES_MAX} Bytes"
        ));
    }
    let damaged = |_| {
        text!(
            "the PEM text is damaged: paste it whole, from -----BEGIN to -----END, each on a line of its own",
            "der PEM-Text ist beschädigt: Fügen Sie ihn ganz ein, von -----BEGIN bis -----END, beides in eigenen Zeilen"
        )
    };
    let chain: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem)
        .map(|certificate| certificate.map(|der| der.to_vec()).map_err(damaged))
        .collect::<Result<_, _>>()?;
    if chain.is_empty() {
        return Err(text!(
            "there is no certificate in it: it begins with -----BEGIN CERTIFICATE-----",
            "darin ist kein Zertifikat: Es beginnt mit -----BEGIN CERTIFICATE-----"
        ));
    }
    if pem.windows(9).any(|bytes| bytes == b"ENCRYPTED") {
        return Err(text!(
            "the key is encrypted: give it without a password",
            "der Schlüssel ist verschlüsselt: Geben Sie ihn ohne Passwort"
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        text!(
            "there is no private key in it: it begins with -----BEGIN PRIVATE KEY-----",
            "darin ist kein privater Schlüssel: Er beginnt mit -----BEGIN PRIVATE KEY-----"
        )
    })?;
    let key = key.secret_der().to_vec();
    // The key's certificate comes first, wherever it was put.
    let fits = |index: usize| {
        let mut chain = chain.clone();
        let own = chain.remove(index);
        chain.insert(0, own);
        let certificate = Certificate { chain, key: key.clone() };
        tls::config(&certificate).map(|_| certificate)
    };
    let mut why = None;
    for index in 0..chain.len() {
        match fits(index) {
            Ok(certificate) => return Ok(certificate),
            Err(error) => why = why.or(Some(error)),
        }
    }
    Err(match why {
        Some(rustls::Error::InconsistentKeys(_)) | None => {
            text!(
                "the key belongs to none of the certificates",
                "der Schlüssel gehört zu keinem der Zertifikate"
            )
        }
        Some(error) => text!("it cannot be used: {error}", "es kann nicht benutzt werden: {error}"),
    })
}

/// What a certificate says; of one that cannot be read, its fingerprint alone.
pub fn describe(der: &[u8]) -> CertificateFacts {
    let fingerprint = tls::fingerprint(der);
    let Ok(certificate) = x509_cert::Certificate::from_der(der) else {
        return CertificateFacts { fingerprint, ..CertificateFacts::default() };
    };
    let tbs = certificate.tbs_certificate();
    let names = match tbs.get_extension::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    let seconds = |time: x509_cert::time::Time| {
        Time(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
    };
    CertificateFacts {
        subject: tbs.subject().to_string(),
        issuer: tbs.issuer().to_string(),
        names,
        from: seconds(tbs.validity().not_before),
        until: seconds(tbs.validity().not_after),
        fingerprint,
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            bytes if bytes.len() == 4 => {
                <[u8; 4]>::try_from(bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string())
            }
            bytes => {
                <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
            }
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        let digits: Vec<char> = crate::wire::line::base64_encode(der).chars().collect();
        let lines: Vec<String> = digits.chunks(64).map(|line| line.iter().collect()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    #[test]
    fn what_is_made_can_be_pasted_and_read() {
        let made = tls::self_signed("mail.example.test", &[String::from("example.test")], 2026).unwrap();
        let other = tls::self_signed("other.example.test", &[], 2026).unwrap();
        let (own, key) = (pem("CERTIFICATE", &made.chain[0]), pem("PRIVATE KEY", &made.key));
        let stranger = pem("CERTIFICATE", &other.chain[0]);
        let read_back = read(format!("{own}{key}").as_bytes()).unwrap();
        assert_eq!((&read_back.chain, &read_back.key), (&made.chain, &made.key));
        // In any order, the key's own comes first.
        let read_back = read(format!("words\n{stranger}{key}{own}").as_bytes()).unwrap();
        assert_eq!(read_back.chain, [made.chain[0].clone(), other.chain[0].clone()]);
        let why = |text: &str| read(text.as_bytes()).map(|_| ()).unwrap_err().en;
        assert!(why("").contains("no certificate"));
        assert!(why(&own).contains("no private key"));
        assert!(why(&format!("{stranger}{key}")).contains("belongs to none"));
        assert!(why(&format!("{own}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE"))).contains("encrypted"));
        assert!(why(&own.replace("MI", "!!")).contains("damaged"));
        assert!(why(&"x".repeat(CERTIFICATE_BYTES_MAX + 1)).contains("longer"));
    }

    #[test]
    fn a_self_signed_one_says_who_it_is_and_has_always_begun() {
        for year in [1970, 2026] {
            let made = tls::self_signed("mail.example.test", &[String::from("example.test")], year).unwrap();
            let about = describe(&made.chain[0]);
            assert_eq!((about.subject.as_str(), &about.issuer), ("CN=mail.example.test", &about.subject));
            assert!(
                ["mail.example.test", "example.test", "127.0.0.1", "::1"]
                    .iter()
                    .all(|name| about.names.iter().any(|known| known == name)),
                "{about:?}"
            );
            // 2025-01-01: before this program was made, so before any clock that it has set.
            assert_eq!(about.from, Time(1_735_689_600));
            assert!(about.until.0 > 2_050_000_000, "ten years");
            assert_eq!(about.fingerprint, tls::fingerprint(&made.chain[0]));
        }
        assert_eq!(describe(b"no certificate").subject, "");
    }
}
