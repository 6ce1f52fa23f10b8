//! What SEARCH looks for, as a tree whose leaves learn about one message step by step (RFC 3501 §6.4.4). Pure.
//!
//! Conditions on the state are decided at once. The others are [`Leaf`]s: undecided until the structure, the header or the body
//! has passed by. Evaluation is three-valued, so that nothing is loaded for a leaf on which the answer does not depend.
//!
//! Deliberate:
//! - Address fields are looked for in what the envelope keeps of them, `name <local@host>`, comments left out.
//! - A message without a Date that can be understood matches no SENT key.
//! - A keyword that no message has ever had matches nothing; so does a message number beyond the view, which RFC 3501 §6.4.8 lets
//!   other commands refuse: `SEARCH 1:*` is asked of empty folders, too.

use crate::store::Message;
use crate::types::{Flags, Serial, UidSet};
use crate::wire::charset::{self, Needle};
use crate::wire::date::{self, DateTime, Day};
use crate::wire::header::decode_words;
use crate::wire::imap::{Key, SequenceSet, When};
use crate::wire::mime::{Envelope, Mailbox, Structure};

/// Headers up to this size are in the envelope whole; of larger ones something may have been left out of it.
const HEADER_BYTES_KEPT: u32 = 16 * 1024;

/// A condition.
#[derive(Debug)]
pub(super) enum Node {
    /// All of these.
    And(Vec<Node>),
    /// One of these at least.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
    /// All of these flags.
    With(Flags),
    /// None of these flags.
    Without(Flags),
    /// \Recent in this session.
    Recent,
    /// INTERNALDATE's day.
    Internal(When, Day),
    /// More bytes.
    Larger(u32),
    /// Fewer bytes.
    Smaller(u32),
    /// One of these.
    Uids(UidSet),
    /// Changed at this or later.
    ModSeq(Serial),
    /// The leaf with this number.
    Leaf(usize),
}

/// What reading the keys needs to know of the folder.
pub(super) trait Names {
    /// The flag of a keyword, if the account has it.
    fn keyword(&self, name: &str) -> Option<Flags>;
    /// The messages with these sequence numbers.
    fn sequence(&self, set: &SequenceSet) -> UidSet;
    /// The messages with these UIDs.
    fn uids(&self, set: &SequenceSet) -> UidSet;
}

/// What the state says of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The message.
    pub(super) message: Message,
    /// \Recent in this session.
    pub(super) recent: bool,
}

/// A condition on what must be loaded.
pub(super) struct Leaf {
    what: What,
    /// What is known by now.
    pub(super) found: Option<bool>,
}

enum What {
    /// A header field of that name with that text; without a text, one of that name.
    Field { name: Vec<u8>, text: Option<Needle> },
    /// The Date field's day.
    Sent(When, Day),
    /// A text in the body.
    Body(Needle),
    /// A text in header or body.
    Text(Needle),
}

/// Reads keys into a tree and its leaves.
pub(super) fn compile(key: &Key, names: &dyn Names, leaves: &mut Vec<Leaf>) -> Node {
    let all =
        |keys: &[Key], leaves: &mut Vec<Leaf>| keys.iter().map(|key| compile(key, names, leaves)).collect();
    let what = match key {
        Key::And(keys) => return Node::And(all(keys, leaves)),
        Key::Or(keys) => return Node::Or(all(keys, leaves)),
        Key::Not(key) => return Node::Not(Box::new(compile(key, names, leaves))),
        Key::With(flags) => return Node::With(*flags),
        Key::Without(flags) => return Node::Without(*flags),
        Key::Keyword(name) => return names.keyword(name).map_or(Node::Or(Vec::new()), Node::With),
        Key::Recent => return Node::Recent,
        Key::Internal(when, day) => return Node::Internal(*when, *day),
        Key::Larger(size) => return Node::Larger(*size),
        Key::Smaller(size) => return Node::Smaller(*size),
        Key::Uid(set) => return Node::Uids(names.uids(set)),
        Key::Sequence(set) => return Node::Uids(names.sequence(set)),
        Key::ModSeq(serial) => return Node::ModSeq(Serial(*serial)),
        Key::Sent(when, day) => What::Sent(*when, *day),
        Key::Header { name, text } => What::Field {
            name: name.as_bytes().to_ascii_lowercase(),
            text: (!text.is_empty()).then(|| needle(text)),
        },
        // The empty text is in every body.
        Key::Body(text) | Key::Text(text) if text.is_empty() => return Node::And(Vec::new()),
        Key::Body(text) => What::Body(needle(text)),
        Key::Text(text) => What::Text(needle(text)),
    };
    leaves.push(Leaf { what, found: None });
    Node::Leaf(leaves.len() - 1)
}

/// UTF-8; what is none is taken as the mail of the last century has it.
fn needle(text: &[u8]) -> Needle {
    Needle::new(&charset::decode(b"", text))
}

impl Node {
    /// Whether the message fits, as far as is known: `None` while it depends on an undecided leaf. Of no leaves, all are undecided.
    pub(super) fn holds(&self, facts: &Facts, leaves: &[Leaf]) -> Option<bool> {
        let message = &facts.message;
        Some(match self {
            Node::And(nodes) => return joined(nodes, facts, leaves, false),
            Node::Or(nodes) => return joined(nodes, facts, leaves, true),
            Node::Not(node) => return node.holds(facts, leaves).map(|holds| !holds),
            Node::Leaf(index) => return leaves.get(*index)?.found,
            Node::With(flags) => message.flags.contains(*flags),
            Node::Without(flags) => message.flags.without(*flags) == message.flags,
            Node::Recent => facts.recent,
            Node::Internal(when, day) => when.holds(DateTime::utc(message.date).day(), *day),
            Node::Larger(size) => message.size > *size,
            Node::Smaller(size) => message.size < *size,
            Node::Uids(set) => set.contains(message.uid),
            Node::ModSeq(serial) => message.serial >= *serial,
        })
    }

    /// Tells the leaves on which the answer still depends.
    pub(super) fn undecided(&self, facts: &Facts, leaves: &[Leaf], told: &mut dyn FnMut(usize)) {
        if self.holds(facts, leaves).is_some() {
            return;
        }
        match self {
            Node::And(nodes) | Node::Or(nodes) => {
                nodes.iter().for_each(|node| node.undecided(facts, leaves, told))
            }
            Node::Not(node) => node.undecided(facts, leaves, told),
            Node::Leaf(index) => told(*index),
            _ => {}
        }
    }

    /// How many conditions there are: what looking at one message costs.
    pub(super) fn count(&self) -> usize {
        1 + match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(Node::count).sum(),
            Node::Not(node) => node.count(),
            _ => 0,
        }
    }

    /// A set that has every message that can fit, if the tree says so at its top.
    pub(super) fn within(&self) -> Option<&UidSet> {
        match self {
            Node::Uids(set) => Some(set),
            Node::And(nodes) => nodes.iter().find_map(|node| match node {
                Node::Uids(set) => Some(set),
                _ => None,
            }),
            _ => None,
        }
    }
}

/// Several conditions, of which one that is `decisive` decides.
fn joined(nodes: &[Node], facts: &Facts, leaves: &[Leaf], decisive: bool) -> Option<bool> {
    let mut all = Some(!decisive);
    for node in nodes {
        match node.holds(facts, leaves) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => all = None,
        }
    }
    all
}

impl Leaf {
    /// The next message: nothing is known.
    pub(super) fn reset(&mut self) {
        self.found = None;
        if let Some(needle) = self.needle() {
            needle.reset();
        }
    }

    /// Whether the message's own header is to be read for it.
    pub(super) fn wants_header(&self) -> bool {
        !matches!(self.what, What::Body(_))
    }

    /// Whether the body is to be read for it.
    pub(super) fn wants_body(&self) -> bool {
        matches!(self.what, What::Body(_) | What::Text(_))
    }

    /// Looks into the structure: often that decides.
    pub(super) fn see_structure(&mut self, structure: &Structure) {
        let Some(envelope) = structure.envelope() else { return };
        let root = structure.root();
        let whole = root.body_start.saturating_sub(root.header_start) <= HEADER_BYTES_KEPT;
        match &mut self.what {
            What::Field { name, text } => {
                let Some(value) = of_envelope(envelope, name) else { return };
                let hit = match text {
                    // A field may be there and say nothing.
                    None => !value.is_empty(),
                    Some(needle) => needle.push(&value),
                };
                let missed = text.is_some() && whole;
                self.found = if hit { Some(true) } else { missed.then_some(false) };
            }
            What::Sent(when, day) => match envelope.sent {
                Some(sent) => self.found = Some(when.holds(sent.day(), *day)),
                None if whole => self.found = Some(false),
                None => {}
            },
            What::Body(_) | What::Text(_) => {}
        }
    }

    /// Looks into a field of the message's own header (`own`), or of an embedded one, which belongs to the body.
    pub(super) fn see_field(&mut self, own: bool, name: &[u8], value: &str) {
        match &self.what {
            What::Field { name: wanted, text } if own && name.eq_ignore_ascii_case(wanted) => {
                if text.is_none() {
                    self.found = Some(true);
                }
                self.part();
                self.see_text(value);
            }
            What::Sent(when, day) if own && name.eq_ignore_ascii_case(b"date") => {
                let sent = date::parse_rfc5322(value.as_bytes());
                self.found = Some(sent.is_some_and(|sent| when.holds(sent.day(), *day)));
            }
            What::Body(_) if own => {}
            What::Text(_) | What::Body(_) => {
                self.part();
                self.see_text(&String::from_utf8_lossy(name));
                self.see_text(": ");
                self.see_text(value);
            }
            _ => {}
        }
    }

    /// Looks into text.
    pub(super) fn see_text(&mut self, text: &str) {
        if self.found.is_none() && self.needle().is_some_and(|needle| needle.push(text)) {
            self.found = Some(true);
        }
    }

    /// Another text begins: what is looked for does not reach across.
    pub(super) fn part(&mut self) {
        if let Some(needle) = self.needle() {
            needle.part();
        }
    }

    /// The message's own header is over.
    pub(super) fn header_over(&mut self) {
        if !self.wants_body() {
            self.found.get_or_insert(false);
        }
    }

    /// The message is over.
    pub(super) fn over(&mut self) {
        self.found.get_or_insert(false);
    }

    fn needle(&mut self) -> Option<&mut Needle> {
        match &mut self.what {
            What::Field { text: Some(needle), .. } | What::Body(needle) | What::Text(needle) => Some(needle),
            What::Field { text: None, .. } | What::Sent(..) => None,
        }
    }
}

/// What the envelope has of a field, as text. `None`: it does not keep that field.
fn of_envelope(envelope: &Envelope, name: &[u8]) -> Option<String> {
    let text = |value: &Option<Box<[u8]>>| Some(value.as_deref().map(decode_words).unwrap_or_default());
    match name {
        b"subject" => text(&envelope.subject),
        b"message-id" => text(&envelope.message_id),
        b"in-reply-to" => text(&envelope.in_reply_to),
        b"date" => text(&envelope.date),
        b"from" => Some(addresses(&envelope.from)),
        b"to" => Some(addresses(&envelope.to)),
        b"cc" => Some(addresses(&envelope.cc)),
        b"bcc" => Some(addresses(&envelope.bcc)),
        _ => None,
    }
}

/// `Anna Adler <anna@example.test>, Ben <…>`
fn addresses(list: &[Mailbox]) -> String {
    let mut text = String::new();
    let shown = |part: &Option<Box<[u8]>>| part.as_deref().map(decode_words).unwrap_or_default();
    for mailbox in list {
        if !text.is_empty() {
            text.push_str(", ");
        }
        if mailbox.name.is_some() {
            text.push_str(&shown(&mailbox.name));
            text.push(' ');
        }
        match &mailbox.host {
            Some(_) => text.push_str(&format!("<{}@{}>", shown(&mailbox.local), shown(&mailbox.host))),
            None => text.push_str(&shown(&mailbox.local)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BodyId, Time, Uid};

    fn facts() -> Facts {
        let message = Message {
            uid: Uid(7),
            size: 100,
            charge: 0,
            flags: Flags::SEEN,
            serial: Serial(5),
            body: BodyId(1),
            date: Time(86_400),
        };
        Facts { message, recent: false }
    }

    fn leaf(found: Option<bool>) -> Leaf {
        Leaf { what: What::Body(Needle::new("x")), found }
    }

    #[test]
    fn what_is_known_decides_as_soon_as_it_can() {
        let leaves = [leaf(None), leaf(Some(true)), leaf(Some(false))];
        let (yes, no) = (|| Node::With(Flags::SEEN), || Node::Without(Flags::SEEN));
        for (node, holds, undecided) in [
            (Node::And(vec![]), Some(true), vec![]),
            (Node::Or(vec![]), Some(false), vec![]),
            (Node::And(vec![Node::Leaf(0), no()]), Some(false), vec![]),
            (Node::And(vec![Node::Leaf(0), yes()]), None, vec![0]),
            (Node::Or(vec![Node::Leaf(0), yes()]), Some(true), vec![]),
            (Node::Or(vec![Node::Leaf(2), no()]), Some(false), vec![]),
            (Node::Not(Box::new(Node::Or(vec![no(), Node::Leaf(0)]))), None, vec![0]),
            (Node::And(vec![Node::Or(vec![Node::Leaf(1), Node::Leaf(0)]), Node::Leaf(0)]), None, vec![0]),
            (Node::Leaf(9), None, vec![9]),
        ] {
            assert_eq!(node.holds(&facts(), &leaves), holds, "{node:?}");
            let mut told = Vec::new();
            node.undecided(&facts(), &leaves, &mut |index| told.push(index));
            assert_eq!(told, undecided, "{node:?}");
        }
    }

    #[test]
    fn the_state_decides_its_own_keys() {
        let uids = UidSet::from_ascending([Uid(7)]);
        for (node, holds) in [
            (Node::Internal(When::On, Day(1)), true),
            (Node::Internal(When::Before, Day(1)), false),
            (Node::Larger(100), false),
            (Node::Smaller(101), true),
            (Node::Recent, false),
            (Node::Uids(uids), true),
            (Node::Uids(UidSet::default()), false),
            (Node::ModSeq(Serial(5)), true),
            (Node::ModSeq(Serial(6)), false),
            (Node::With(Flags::SEEN.with(Flags::DRAFT)), false),
            (Node::Without(Flags::DRAFT), true),
        ] {
            assert_eq!(node.holds(&facts(), &[]), Some(holds), "{node:?}");
        }
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        let text = |text: &str| Some(text.as_bytes().into());
        let anna =
            Mailbox { name: text("=?utf-8?q?=C3=84nne?="), route: None, local: text("a"), host: text("b") };
        let bare = Mailbox { name: None, route: None, local: text("c"), host: text("d") };
        let group = Mailbox { name: None, route: None, local: text("Staff"), host: None };
        assert_eq!(addresses(&[anna, group, bare]), "Änne <a@b>, Staff, <c@d>");
    }
}
