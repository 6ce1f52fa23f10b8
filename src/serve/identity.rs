//! Who this machine is: its name, and the certificate that it makes for itself.
//!
//! The certificate is made once, as soon as there is a domain, for the names that there are then: mail programs are told to trust it, so it
//! stays. Before that nobody has a mailbox, and what TLS shows is not kept.

use std::fmt::Display;

use super::{Error, Server, connection, tls};
use crate::store::{Certificate, Settings, Shared};
use crate::types::Position;

/// What TLS shows, and this machine's name. A store with a domain that has no certificate gets one first, durably if it is to be kept.
///
/// # Errors
/// No certificate can be made, or the store takes none.
pub fn find(shared: &Shared, kept: bool) -> Result<(tls::Tls, String), Error> {
    let settings = shared.access(&mut Position::default()).settings().clone();
    let host = host_name(&settings);
    if let Some(known) = &settings.certificate {
        match tls::Tls::new(std::sync::Arc::clone(known)) {
            Ok(tls) => return Ok((tls, host)),
            // Without TLS nobody could log in and say so: show something, store nothing.
            Err(error) => log::error!("the stored certificate cannot be used ({error}); showing another one"),
        }
    }
    let made = make(&settings)?;
    if kept && settings.certificate.is_none() && !settings.domains.is_empty() {
        keep(shared, &made)?;
        let committed = shared.lock().commit();
        committed.map_err(|error| Error::new(format!("the store cannot be written: {error}")))?;
    }
    Ok((tls::Tls::new(std::sync::Arc::new(made)).map_err(failed)?, host))
}

/// The first domain has come while the server runs.
pub fn certify(server: &Server) {
    let settings = server.shared.access(&mut Position::default()).settings().clone();
    if settings.certificate.is_some() || settings.domains.is_empty() {
        return;
    }
    // It is shown as soon as it is durable: the commit says so.
    if let Err(error) = make(&settings).and_then(|made| keep(&server.shared, &made)) {
        log::error!("{error}");
    }
}

/// The certificate that is stored, without its chain.
pub fn own(shared: &Shared) -> Option<Vec<u8>> {
    let known = shared.access(&mut Position::default()).settings().certificate.clone()?;
    known.chain.first().cloned()
}

fn make(settings: &Settings) -> Result<Certificate, Error> {
    tls::self_signed(&host_name(settings), &settings.domains, connection::year()).map_err(failed)
}

/// Unless there is one by now.
fn keep(shared: &Shared, made: &Certificate) -> Result<(), Error> {
    let mut needs = Position::default();
    let mut store = shared.access(&mut needs);
    if store.settings().certificate.is_some() {
        return Ok(());
    }
    let kept = store.certificate_set(made.chain.clone(), made.key.clone());
    kept.map_err(|error| Error::new(format!("the store takes no certificate: {error:?}")))?;
    let own = made.chain.first().map(|own| tls::fingerprint(own)).unwrap_or_default();
    log::info!("made a certificate; SHA-256 fingerprint {own}");
    Ok(())
}

fn failed(error: impl Display) -> Error {
    Error::new(format!("cannot make a certificate: {error}"))
}

/// This machine's name: the owner's, else what the system calls it, if that is a whole name; else `mail` in our first domain.
pub fn host_name(settings: &Settings) -> String {
    if !settings.host.is_empty() {
        return settings.host.clone();
    }
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name = if name.is_empty() || name == "(none)" { "localhost".into() } else { name };
    match settings.domains.first() {
        Some(domain) if !name.contains('.') => format!("mail.{domain}"),
        _ => name.into_owned(),
    }
}
