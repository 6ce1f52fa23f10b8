//! The two fields that we put before a message: Return-Path and Received (RFC 5321 §4.4). Nothing else of it is touched.

use std::net::IpAddr;

use super::Role;
use crate::types::BodyId;
use crate::wire::address::Path;
use crate::wire::date::DateTime;

/// What is known about how a message came.
pub struct Trace<'a> {
    /// Whom errors go back to.
    pub sender: &'a Path,
    /// What the peer called itself: safe to print (`wire::smtp::hello_name`).
    pub hello: &'a str,
    /// Where it really is.
    pub address: Option<IpAddr>,
    /// Who we are.
    pub host: &'a str,
    /// How the message came.
    pub with: String,
    /// Its name in our log.
    pub body: BodyId,
    /// To whom, if it is one only: nobody learns of others.
    pub to: Option<&'a Path>,
    /// When.
    pub date: DateTime,
}

impl Trace<'_> {
    /// Both fields with their line ends.
    pub fn fields(&self) -> Vec<u8> {
        let Trace { sender, hello, host, with, .. } = self;
        let address = match self.address {
            Some(IpAddr::V4(address)) => format!(" ([{address}])"),
            Some(IpAddr::V6(address)) => format!(" ([IPv6:{address}])"),
            None => String::new(),
        };
        let to = self.to.map(|to| format!("\r\n\tfor {to}")).unwrap_or_default();
        let (id, date) = (name(self.body), self.date.to_rfc5322());
        format!(
            "Return-Path: {sender}\r\nReceived: from {hello}{address}\r\n\tby {host} with {with} id {id}{to}; {date}\r\n"
        )
        .into_bytes()
    }
}

/// A message's name in replies, Received fields and the log.
pub fn name(body: BodyId) -> String {
    format!("{:08x}", body.0)
}

/// The protocol as Received names it (RFC 3848, RFC 6531 §4.3).
pub fn protocol(role: Role, extended: bool, utf8: bool, tls: bool, login: bool) -> String {
    let base = match (role, extended) {
        (Role::Lmtp, _) => "LMTP",
        (_, true) if utf8 => "SMTP",
        (_, true) => "ESMTP",
        (_, false) => return String::from("SMTP"),
    };
    let utf8 = if utf8 { "UTF8" } else { "" };
    let tls = if tls { "S" } else { "" };
    let login = if login { "A" } else { "" };
    format!("{utf8}{base}{tls}{login}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Time;

    #[test]
    fn both_fields() {
        let trace = Trace {
            sender: &Path::Null,
            hello: "bar.com",
            address: Some("2001:db8::1".parse().unwrap()),
            host: "mail.example.test",
            with: protocol(Role::Mx, true, false, true, false),
            body: BodyId(0x1f),
            to: Some(&Path::Postmaster),
            date: DateTime::utc(Time(0)),
        };
        let expected = "Return-Path: <>\r\nReceived: from bar.com ([IPv6:2001:db8::1])\r\n\tby mail.example.test with ESMTPS \
                        id 0000001f\r\n\tfor <postmaster>; Thu, 1 Jan 1970 00:00:00 +0000\r\n";
        assert_eq!(String::from_utf8(trace.fields()).unwrap(), expected);
    }

    #[test]
    fn protocols_have_their_registered_names() {
        for (role, extended, utf8, tls, login, name) in [
            (Role::Mx, false, false, false, false, "SMTP"),
            (Role::Mx, true, false, false, false, "ESMTP"),
            (Role::Mx, true, true, true, false, "UTF8SMTPS"),
            (Role::Submission, true, false, true, true, "ESMTPSA"),
            (Role::Submission, true, true, true, true, "UTF8SMTPSA"),
            (Role::Lmtp, true, false, false, false, "LMTP"),
            (Role::Lmtp, true, true, false, false, "UTF8LMTP"),
        ] {
            assert_eq!(protocol(role, extended, utf8, tls, login), name);
        }
    }
}
