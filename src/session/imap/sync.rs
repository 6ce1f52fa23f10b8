//! What is new in the open folder: expunges where they may be told, the count, flags (RFC 3501 §5.2 and §7.4.1).

use super::Client;
use super::job::Selected;
use crate::limits::{KEYWORDS_MAX, OUT_BYTES};
use crate::session::Context;
use crate::store;
use crate::store::Account;
use crate::types::{Flags, Serial, Uid};
use crate::wire::imap::fetch_line::FetchLine;
use crate::wire::imap::reply::{self, Code, Condition};

/// How far telling has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Everything, or no folder is open.
    Whole,
    /// `out` is full: send and call again.
    More,
    /// The folder is gone.
    Gone,
}

/// Tells what is new since the last time. `expunges`: RFC 3501 §7.4.1 allows them now.
pub(super) fn tell(client: &mut Client, expunges: bool, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Told {
    let Some(selected) = client.selected.as_deref_mut() else { return Told::Whole };
    client.condstore |= selected.condstore;
    tell_selected(selected, expunges, out, &mut cx.store())
}

/// The same, within one hold of the store.
pub(super) fn tell_selected(
    selected: &mut Selected,
    expunges: bool,
    out: &mut Vec<u8>,
    store: &mut store::Access<'_>,
) -> Told {
    loop {
        let Some((news, whole)) = store.sync(&mut selected.view, expunges) else { return Told::Gone };
        let Some(account) = store.account(selected.view.account) else { return Told::Gone };
        tell_keywords(selected, account, out);
        for told in news {
            print(selected, account, told, out);
        }
        if whole {
            return Told::Whole;
        }
        if out.len() >= OUT_BYTES {
            return Told::More;
        }
    }
}

fn print(selected: &Selected, account: &Account, told: store::Told, out: &mut Vec<u8>) {
    match told {
        store::Told::Expunged { seq, .. } => reply::numbered(out, seq, "EXPUNGE"),
        store::Told::Exists { count, recent } => {
            reply::numbered(out, count, "EXISTS");
            reply::numbered(out, recent, "RECENT");
        }
        store::Told::Flags { seq, uid, flags, serial } => {
            let line = FlagLine { seq, uid, tell_uid: false, flags: Some(flags), serial };
            line.print(selected, account, out);
        }
    }
}

/// A FETCH response that tells flags.
pub(super) struct FlagLine {
    pub seq: u32,
    pub uid: Uid,
    /// A UID command has caused it (RFC 3501 §6.4.8).
    pub tell_uid: bool,
    /// None: a silent STORE, which tells MODSEQ only.
    pub flags: Option<Flags>,
    pub serial: Serial,
}

impl FlagLine {
    /// With MODSEQ once CONDSTORE is on.
    pub fn print(&self, selected: &Selected, account: &Account, out: &mut Vec<u8>) {
        let mut line = FetchLine::begin(out, self.seq);
        if self.tell_uid {
            line.uid(out, self.uid);
        }
        if let Some(flags) = self.flags {
            let keyword = |n: usize| account.keywords.get(n).map(String::as_str);
            line.flags(out, flags, selected.view.is_recent(self.uid), keyword);
        }
        if selected.condstore {
            line.mod_sequence(out, self.serial);
        }
        line.end(out);
    }
}

/// `FLAGS` and PERMANENTFLAGS, when the account has keywords that this client has not heard of (RFC 3501 §7.2.6).
pub(super) fn tell_keywords(selected: &mut Selected, account: &Account, out: &mut Vec<u8>) {
    if selected.keywords_told == account.keywords.len() {
        return;
    }
    selected.keywords_told = account.keywords.len();
    let names: Vec<&str> = account.keywords.iter().map(String::as_str).collect();
    let system = Flags::SYSTEM.iter().fold(Flags::NONE, |all, (flag, _)| all.with(*flag));
    reply::flags(out, system, &names);
    let (code, text) = if selected.view.read_only {
        let code = Code::PermanentFlags { system: Flags::NONE, keywords: &[], new_keywords: false };
        (code, "No flag can be changed")
    } else {
        let new_keywords = names.len() < KEYWORDS_MAX;
        (Code::PermanentFlags { system, keywords: &names, new_keywords }, "Flags that can be changed")
    };
    reply::untagged(out, Condition::Ok, Some(code), text);
}
