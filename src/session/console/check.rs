//! `check`: what `status` knows from before is looked at now, and what it cannot know is tried out: the gateway, names, the time.
//!
//! It refuses to look at mail: `postfach check` reads every frame of a store, while no server runs.

use super::certificate::covers;
use super::settings::exactly;
use super::show::warnings;
use super::table::{Call, Failure};
use super::text::text;
use super::time::{self, when};
use crate::session::{Job, JobAnswer};

type Done = Result<(), Failure>;

/// What `check` asks for.
pub fn ask(arguments: &[&str], _: Vec<u8>, _: &mut Call<'_, '_>) -> Result<Job, Failure> {
    let [] = exactly(arguments)?;
    Ok(Job::Examine)
}

/// `check`
pub fn tell(_: &[&str], answer: JobAnswer, call: &mut Call<'_, '_>) -> Done {
    let mut wrong = warnings(call);
    let tried = matches!(answer, JobAnswer::Examined { .. });
    if !tried {
        call.say(&match call.facts.machine {
            None => text!(
                "The server is not running: network, names, time and certificate have not been tried out.",
                "Der Server läuft nicht: Netzwerk, Namen, Zeit und Zertifikat wurden nicht ausprobiert."
            ),
            Some(_) => text!(
                "This machine's network and clock are not Postfach's: network, names and time have not been tried out.",
                "Netzwerk und Uhr dieses Rechners stellt Postfach nicht: Netzwerk, Namen und Zeit wurden nicht ausprobiert."
            ),
        });
    }
    if let JobAnswer::Examined { gateways, name, known } = answer {
        for (gateway, answers) in gateways {
            call.say(&match answers {
                true => text!("Gateway      {gateway} answers", "Gateway      {gateway} antwortet"),
                false => {
                    text!("Gateway      {gateway} does not answer", "Gateway      {gateway} antwortet nicht")
                }
            });
            wrong.extend((!answers).then(|| {
                text!(
                    "The gateway {gateway} does not answer: is the router on, and is that its address? `network show` says more.",
                    "Das Gateway {gateway} antwortet nicht: Ist der Router an, und ist das seine Adresse? Mehr sagt `network show`."
                )
            }));
        }
        call.say(&match known {
            true => text!("Names        {name} is known", "Namen        {name} ist bekannt"),
            false => text!("Names        {name} is not known", "Namen        {name} ist nicht bekannt"),
        });
        wrong.extend((!known).then(|| {
            text!(
                "Nobody knows the name {name}: is there a way to the Internet? `network dns` sets who is asked.",
                "Niemand kennt den Namen {name}: Gibt es einen Weg ins Internet? `network dns` setzt, wer gefragt wird."
            )
        }));
    }
    if let Some(machine) = call.facts.machine.clone() {
        if let Some(clock) = machine.clock() {
            let line = time::line(&clock, call.cx.now);
            call.say(&line);
        }
        let (about, host) = (machine.certificate(), call.cx.host);
        if !about.fingerprint.is_empty() {
            let until = when(about.until);
            call.say(&text!("Certificate  good until {until} UTC", "Zertifikat   gültig bis {until} UTC"));
            wrong.extend((!about.names.iter().any(|name| covers(name, host))).then(|| {
                text!(
                    "The certificate is not good for {host}, which mail programs look for: `tls new` makes one that is.",
                    "Das Zertifikat gilt nicht für {host}, wonach Mailprogramme sehen: `tls new` macht eines, das gilt."
                )
            }));
        }
    }
    if !call.out.is_empty() {
        call.out.push('\n');
    }
    if wrong.is_empty() {
        call.say(&match tried {
            true => text!("All is well.", "Alles in Ordnung."),
            false => text!("Otherwise all is well.", "Sonst ist alles in Ordnung."),
        });
    }
    for wrong in &wrong {
        call.say(&text!("! ", "! ").and(wrong.clone()));
    }
    Ok(())
}
