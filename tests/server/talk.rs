//! A client that says what it is told and hears line by line, in plain text or over TLS with the certificate that the server shows.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{PASSWORD, Server};

/// What a conversation runs on.
pub trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A conversation.
pub struct Talk {
    stream: BufReader<Box<dyn Duplex>>,
    /// Lines since something was said last: what to tell if no other comes.
    heard: Vec<String>,
}

impl Talk {
    /// Speaks on a stream that is there.
    pub fn on(stream: impl Duplex + 'static) -> Talk {
        let stream: Box<dyn Duplex> = Box::new(stream);
        Talk { stream: BufReader::with_capacity(64 * 1024, stream), heard: Vec::new() }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sends");
    }

    /// Sends bytes, if the server still takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.heard.clear();
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    /// Sends a line.
    pub fn says(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// The next line without its end.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        if let Err(error) = self.stream.read_until(b'\n', &mut line) {
            panic!("{error}; heard before: {:?}; the server: {}", self.heard, super::threads());
        }
        assert!(!line.is_empty(), "the conversation is over; heard before: {:?}", self.heard);
        let line = String::from_utf8_lossy(&line).trim_end().to_string();
        self.heard.push(line.clone());
        line
    }

    /// Reads lines until one starts so; returns that one.
    pub fn hears(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// Says a line and hears the answer.
    pub fn asks(&mut self, line: &str, start: &str) -> String {
        self.says(line);
        self.hears(start)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("reads");
        bytes
    }

    /// Everything to the end. Over TLS an end without close_notify is an error.
    pub fn rest(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Server {
    /// Speaks to a service in plain text.
    pub fn plain(&self, standard: u16) -> Talk {
        Talk::on(self.connect(standard))
    }

    /// Speaks to a service with TLS from the first byte.
    pub fn secret(&self, standard: u16) -> Talk {
        self.secretly(self.connect(standard))
    }

    /// Negotiates TLS on a stream.
    pub fn secretly(&self, stream: impl Duplex + 'static) -> Talk {
        let session = ClientConnection::new(self.tls(), ServerName::try_from("localhost").expect("a name"));
        Talk::on(StreamOwned::new(session.expect("a client"), stream))
    }

    fn tls(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.certificate()).expect("a certificate"))
            .expect("is taken");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// An IMAP conversation of this user.
    pub fn imap(&self, user: &str) -> Talk {
        let mut imap = self.secret(993);
        imap.hears("* OK");
        imap.asks(&format!("l LOGIN {user} \"{PASSWORD}\""), "l OK");
        imap
    }

    /// A POP3 conversation of this user.
    pub fn pop3(&self, user: &str) -> Talk {
        let mut pop3 = self.secret(995);
        pop3.hears("+OK");
        pop3.asks(&format!("USER {user}"), "+OK");
        pop3.asks(&format!("PASS {PASSWORD}"), "+OK");
        pop3
    }

    /// A conversation by LMTP, past the greeting.
    pub fn lmtp(&self) -> Talk {
        let mut lmtp = self.plain(24);
        lmtp.hears("220");
        lmtp.asks("LHLO test.example", "250 ");
        lmtp
    }
}

/// Names a sender and a recipient.
pub fn envelope(smtp: &mut Talk, to: &str) {
    smtp.asks("MAIL FROM:<sender@test.example>", "250 ");
    smtp.asks(&format!("RCPT TO:<{to}>"), "250 ");
}
