//! Commands about the connection: CAPABILITY, LOGOUT, STARTTLS (RFC 3501 §6.1 and §6.2), ID (RFC 2971), ENABLE (RFC 5161).

use super::job::Reply;
use super::{Call, Outcome, bye, table};
use crate::wire::imap::reply;

pub(super) fn capability(call: Call<'_, '_>) -> Reply {
    let names = table::capabilities(call.cx.peer.tls, call.client.user.is_some());
    reply::names(call.out, "CAPABILITY", &names);
    Reply::ok("Capabilities told")
}

pub(super) fn logout(call: Call<'_, '_>) -> Outcome {
    bye(call.out, "", "Goodbye");
    Outcome::Last(Reply::ok("Logged out"))
}

/// Says who we are; what the client says of itself is not kept (RFC 2971 §3: it must not change anything).
pub(super) fn id(call: Call<'_, '_>) -> Reply {
    reply::id(call.out, &[("name", "Postfach"), ("version", env!("CARGO_PKG_VERSION"))]);
    Reply::ok("Pleased to meet you")
}

/// Always tells ENABLED, also with nothing in it: RFC 5161 §3.1, and clients wait for it.
pub(super) fn enable(call: Call<'_, '_>, names: &[&str]) -> Reply {
    let condstore = names.iter().any(|name| name.eq_ignore_ascii_case("CONDSTORE"));
    reply::names(call.out, "ENABLED", if condstore { &["CONDSTORE"] } else { &[] });
    if condstore {
        call.client.enable_condstore(call.out, call.cx);
    }
    Reply::ok("Enabled")
}

/// The tagged OK goes out in plain text, and what the client has sent beyond the command is dropped (RFC 3501 §6.2.1).
pub(super) fn starttls(call: Call<'_, '_>) -> Outcome {
    if call.cx.peer.tls {
        return Outcome::Done(Reply::bad("TLS protects the connection already"));
    }
    Outcome::Upgrade(Reply::ok("Begin TLS"))
}
