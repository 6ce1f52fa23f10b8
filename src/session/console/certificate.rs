//! `tls`: what the certificate says, another one that is made here, or one that is pasted. A new one is on trial until it is kept.

use std::fmt::Write as _;

use super::settings::{exactly, refused, say};
use super::table::{Call, Failure};
use super::time::when;
use crate::session::job::CertificateFacts;
use crate::session::{Job, JobAnswer};
use crate::types::Time;

type Done = Result<(), Failure>;

/// From here on before its end a certificate is worth a warning, seconds: a fortnight is enough to get another.
const ENDS_SOON_SECONDS: i64 = 21 * 86_400;

/// What `tls show` asks for.
pub fn look(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    let known = call.cx.store().settings().certificate.clone();
    match known.as_ref().and_then(|known| known.chain.first()) {
        Some(own) => Ok(Job::DescribeCertificate { der: own.clone() }),
        None => Err(Failure::Refused(String::from(
            "there is none yet: the server makes one when it first starts",
        ))),
    }
}

/// `tls show`: what is in force, which may be on trial.
pub fn show(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Described(kept) => {
            let in_force = call.facts.machine.as_ref().map(|machine| machine.certificate());
            let about = in_force.unwrap_or(kept);
            let now = call.cx.now;
            describe(&about, now, call.out);
            Ok(())
        }
        JobAnswer::Failed(why) => Err(Failure::Refused(why)),
        _ => Ok(()),
    }
}

fn describe(about: &CertificateFacts, now: Time, out: &mut String) {
    let itself = if about.issuer == about.subject {
        "itself: mail programs ask once whether to trust it"
    } else {
        &about.issuer
    };
    // A String takes whatever is written to it.
    let _ = writeln!(out, "Subject      {}", about.subject);
    let _ = writeln!(out, "Names        {}", about.names.join(", "));
    let _ = writeln!(out, "Issued by    {itself}");
    let _ = writeln!(out, "Good from    {} UTC", when(about.from));
    let _ = writeln!(out, "     until   {} UTC", when(about.until));
    let _ = writeln!(out, "SHA-256      {}", about.fingerprint);
    if let Some(warning) = warning(about, now) {
        let _ = writeln!(out, "! {warning}");
    }
}

/// What `status` says of it.
pub fn warning(about: &CertificateFacts, now: Time) -> Option<String> {
    if now > about.until {
        return Some(format!(
            "The certificate ended on {}: mail programs refuse it. `tls new` makes one, `tls load` takes another.",
            when(about.until)
        ));
    }
    if now < about.from {
        return Some(format!(
            "By this clock the certificate begins only on {}: is the date right? `time show` says.",
            when(about.from)
        ));
    }
    (about.until.0 - now.0 < ENDS_SOON_SECONDS).then(|| {
        format!(
            "The certificate ends on {}. `tls new` makes one, `tls load` takes another.",
            when(about.until)
        )
    })
}

/// What `tls new` asks for.
pub fn make(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    let host = String::from(call.cx.host);
    let domains = call.cx.store().settings().domains.clone();
    Ok(Job::MakeCertificate { host, domains })
}

/// What `tls load` asks for, with the text that has been pasted.
pub fn read(arguments: &[&str], pem: Vec<u8>, _: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    Ok(Job::ReadCertificate { pem })
}

/// Takes the certificate that has been made or read.
pub fn take(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    match answer {
        JobAnswer::Certificate { chain, key, about } => {
            if call.cx.now > about.until {
                return Err(Failure::Refused(format!("this certificate ended on {}", when(about.until))));
            }
            call.store().certificate_set(chain, key).map_err(|error| Failure::Refused(refused(error)))?;
            let now = call.cx.now;
            describe(&about, now, call.out);
            let host = call.cx.host;
            if !about.names.iter().any(|name| covers(name, host)) {
                return say(call, &format!("! It is not good for {host}, which is this machine's name."));
            }
            Ok(())
        }
        JobAnswer::Failed(why) => Err(Failure::Refused(why)),
        _ => Ok(()),
    }
}

/// Whether a name of a certificate's is this host's (RFC 6125 §6.4.3).
fn covers(name: &str, host: &str) -> bool {
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_ascii_lowercase());
    name.eq_ignore_ascii_case(host) || name.starts_with("*.") && parent(name) == parent(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_covers_one_label() {
        assert!(
            covers("*.example.test", "mail.example.test") && covers("Mail.example.test", "mail.example.test")
        );
        assert!(
            !covers("*.example.test", "a.mail.example.test") && !covers("example.test", "mail.example.test")
        );
    }

    #[test]
    fn a_certificate_is_warned_of_before_it_ends() {
        let about =
            CertificateFacts { from: Time(0), until: Time(100 * 86_400), ..CertificateFacts::default() };
        assert_eq!(warning(&about, Time(50 * 86_400)), None);
        for (day, word) in [(85, "ends on"), (101, "ended on"), (-1, "begins only")] {
            assert!(warning(&about, Time(day * 86_400)).unwrap().contains(word), "{day}");
        }
    }
}
