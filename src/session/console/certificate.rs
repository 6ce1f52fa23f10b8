//! `tls`: what the certificate says, another one that is made here, or one that is pasted. A new one is on trial until it is kept.

use super::say::{of_store, refuse, say};
use super::settings::exactly;
use super::system::said;
use super::table::{Call, Failure};
use super::text::{Text, both, text};
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
        None => Err(refuse(both(
            "there is none yet: the server makes one as soon as there is a domain",
            "es gibt noch keines: Der Server macht eines, sobald es eine Domain gibt",
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
            describe(&about, now, call);
            Ok(())
        }
        other => said(&[], other, call),
    }
}

fn describe(about: &CertificateFacts, now: Time, call: &mut Call<'_, '_>) {
    let CertificateFacts { subject, issuer, fingerprint, .. } = about;
    let (names, from, until) = (about.names.join(", "), when(about.from), when(about.until));
    let itself = match issuer == subject {
        true => text!(
            "itself: mail programs ask once whether to trust it",
            "sich selbst: Mailprogramme fragen einmal, ob ihm zu trauen ist"
        ),
        false => text!("{issuer}", "{issuer}"),
    };
    call.say(&text!("Subject      {subject}", "Inhaber      {subject}"));
    call.say(&text!("Names        {names}", "Namen        {names}"));
    call.say(&text!("Issued by    ", "Ausgestellt  von ").and(itself));
    call.say(&text!("Good from    {from} UTC", "Gültig von   {from} UTC"));
    call.say(&text!("     until   {until} UTC", "       bis   {until} UTC"));
    call.say(&text!("SHA-256      {fingerprint}", "SHA-256      {fingerprint}"));
    if let Some(warning) = warning(about, now) {
        call.say(&text!("! ", "! ").and(warning));
    }
}

/// What `status` says of it.
pub fn warning(about: &CertificateFacts, now: Time) -> Option<Text> {
    let (from, until) = (when(about.from), when(about.until));
    if about.fingerprint.is_empty() {
        return None; // There is none yet.
    }
    if now > about.until {
        return Some(text!(
            "The certificate ended on {until}: mail programs refuse it. `tls new` makes one, `tls load` takes another.",
            "Das Zertifikat ist am {until} abgelaufen: Mailprogramme lehnen es ab. `tls new` macht eines, `tls load` nimmt ein anderes."
        ));
    }
    if now < about.from {
        return Some(text!(
            "By this clock the certificate begins only on {from}: is the date right? `time show` says.",
            "Nach dieser Uhr beginnt das Zertifikat erst am {from}: Stimmt das Datum? `time show` sagt es."
        ));
    }
    (about.until.0 - now.0 < ENDS_SOON_SECONDS).then(|| {
        text!(
            "The certificate ends on {until}. `tls new` makes one, `tls load` takes another.",
            "Das Zertifikat läuft am {until} ab. `tls new` macht eines, `tls load` nimmt ein anderes."
        )
    })
}

/// What `tls new` asks for.
pub fn make(arguments: &[&str], _: Vec<u8>, call: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    let host = call.host();
    let domains = call.store().settings().domains.clone();
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
                return Err(refuse(text!(
                    "this certificate ended on {0}",
                    "dieses Zertifikat ist am {0} abgelaufen",
                    when(about.until)
                )));
            }
            call.store().certificate_set(chain, key).map_err(of_store)?;
            let now = call.cx.now;
            describe(&about, now, call);
            let host = call.host();
            if !about.names.iter().any(|name| covers(name, &host)) {
                return say(
                    call,
                    text!(
                        "! It is not good for {host}, which is this machine's name.",
                        "! Es gilt nicht für {host}, den Namen dieses Geräts."
                    ),
                );
            }
            Ok(())
        }
        other => said(&[], other, call),
    }
}

/// Whether a name of a certificate's is this host's (RFC 6125 §6.4.3).
pub fn covers(name: &str, host: &str) -> bool {
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
        let about = CertificateFacts {
            until: Time(100 * 86_400),
            fingerprint: "AA".into(),
            ..CertificateFacts::default()
        };
        assert_eq!(warning(&about, Time(50 * 86_400)), None);
        assert_eq!(warning(&CertificateFacts::default(), Time(1)), None, "there is none");
        for (day, word) in [(85, "ends on"), (101, "ended on"), (-1, "begins only")] {
            assert!(warning(&about, Time(day * 86_400)).unwrap().en.contains(word), "{day}");
        }
    }
}
