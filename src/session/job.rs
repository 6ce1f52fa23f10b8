//! What a session has done by serve, other than with messages and passwords: it names the job, serve does it and answers.
//!
//! The console is the only one who asks. Every job has an end, within the time that serve gives it.

use super::console::text::Text;
use crate::types::Time;

/// A job.
pub enum Job {
    /// Something is on trial in the store, or no longer: put it into force, and begin to count.
    Settle,
    /// Look at the network as it is now.
    LookAtNetwork,
    /// Look at the network now, see whether its gateways answer and a name is known, and ask for the time.
    Examine,
    /// Ask a time server now.
    AskForTime,
    /// Send some packets to this host, by its name or address.
    Ping {
        /// Which.
        host: String,
    },
    /// Make a key and a self-signed certificate for these names; the first is the machine's.
    MakeCertificate {
        /// The machine's name.
        host: String,
        /// The domains.
        domains: Vec<String>,
    },
    /// Read a chain of certificates and a key, in PEM (RFC 7468), and see whether they belong together.
    ReadCertificate {
        /// The text; it holds a private key.
        pem: Vec<u8>,
    },
    /// Make the certificate that the server makes by itself as soon as there is a domain, unless it is there, and say what it says.
    Certify,
    /// Say what a certificate says.
    DescribeCertificate {
        /// DER.
        der: Vec<u8>,
    },
    /// Stop the server in order, then restart the machine.
    Restart,
    /// Stop the server in order, then switch the machine off.
    PowerOff,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// What became of it.
pub enum JobAnswer {
    /// It is done, or under way.
    Done,
    /// What it has said, line by line.
    Said(String),
    /// What has been tried out; what was only looked at the machine knows now.
    Examined {
        /// Each, and whether it answers.
        gateways: Vec<(String, bool)>,
        /// A name that somebody should know.
        name: String,
        /// Somebody does.
        known: bool,
    },
    /// A certificate that can be used, and what it says.
    Certificate {
        /// DER certificates, the server's own first.
        chain: Vec<Vec<u8>>,
        /// Private key, DER.
        key: Vec<u8>,
        /// What the first one says.
        about: CertificateFacts,
    },
    /// What the certificate says.
    Described(CertificateFacts),
    /// It could not be done: a clause in small letters.
    Failed(Text),
    /// There is nobody to do it: no server runs here.
    Nobody,
}

impl std::fmt::Debug for JobAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobAnswer")
    }
}

/// What a certificate says (RFC 5280 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is.
    pub subject: String,
    /// Who says so.
    pub issuer: String,
    /// The names and addresses that it is good for.
    pub names: Vec<String>,
    /// From when on.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// SHA-256, as people compare it.
    pub fingerprint: String,
}
