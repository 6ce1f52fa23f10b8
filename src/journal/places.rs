//! Where the frames of bodies lie, as a snapshot says it: in the order of bodies, each place by its distance from the one before.

use super::frame;
use super::index::{Index, Slot};
use super::summary::{take_varint, unzigzag, varint, zigzag};
use crate::types::BodyId;

const FIRST: u64 = 1;
const STRUCTURE: u64 = 2;
const OTHERS: u64 = 4;
const BITS: u32 = 3;

/// Distances: from the body before, and from where the frame before ends.
#[derive(Default)]
struct Before {
    body: u64,
    end: u64,
}

impl Before {
    /// 0: no place.
    fn put(&mut self, slot: Option<Slot>, out: &mut Vec<u8>) {
        let Some(slot) = slot else { return varint(0, out) };
        let distance = (slot.offset().wrapping_sub(self.end) as i64 / frame::ALIGNMENT as i64) as u64;
        varint(zigzag(distance) + 1, out);
        varint(slot.payload_bytes() as u64, out);
        self.end = slot.offset() + frame::frame_bytes(slot.payload_bytes());
    }

    fn take(&mut self, rest: &mut &[u8]) -> Option<Option<Slot>> {
        let Some(distance) = take_varint(rest)?.checked_sub(1) else { return Some(None) };
        let offset = self.end.wrapping_add(unzigzag(distance).wrapping_mul(frame::ALIGNMENT));
        let bytes =
            usize::try_from(take_varint(rest)?).ok().filter(|bytes| *bytes <= frame::PAYLOAD_BYTES)?;
        self.end = offset.checked_add(frame::frame_bytes(bytes))?;
        Some(Some(Slot::new(offset, bytes)))
    }
}

/// Appends the places of bodies from this one on, those that are `wanted`; about `most` bytes. Returns the body to go on with.
pub(super) fn tell(
    index: &Index,
    from: BodyId,
    most: usize,
    wanted: &dyn Fn(Slot) -> bool,
    out: &mut Vec<u8>,
) -> Option<BodyId> {
    let mut before = Before::default();
    for (body, frames) in index.bodies_from(from) {
        if out.len() >= most {
            return Some(body);
        }
        let slot = |slot: Slot| Some(slot).filter(|slot| *slot != Slot::NONE && wanted(*slot));
        let (first, structure) = (slot(frames.first), slot(frames.structure));
        let others: Vec<Option<Slot>> = frames.others.iter().map(|other| slot(*other)).collect();
        let has_others = others.iter().any(Option::is_some);
        let bit = |is: bool, bit: u64| if is { bit } else { 0 };
        let bits =
            bit(first.is_some(), FIRST) | bit(structure.is_some(), STRUCTURE) | bit(has_others, OTHERS);
        if bits == 0 {
            continue;
        }
        varint((body.0 - before.body) << BITS | bits, out);
        before.body = body.0;
        [first, structure].into_iter().flatten().for_each(|slot| before.put(Some(slot), out));
        if has_others {
            varint(others.len() as u64, out);
            others.into_iter().for_each(|slot| before.put(slot, out));
        }
    }
    None
}

/// Notes what was told; what is known already is newer, and stays. None: it does not add up.
pub(super) fn hear(index: &mut Index, told: &[u8]) -> Option<()> {
    let (mut rest, mut before) = (told, Before::default());
    while !rest.is_empty() {
        let head = take_varint(&mut rest)?;
        before.body = before.body.checked_add(head >> BITS).filter(|body| *body <= u64::MAX >> BITS)?;
        let body = BodyId(before.body);
        let mut place = |bit| if head & bit == 0 { Some(None) } else { before.take(&mut rest) };
        let (first, structure) = (place(FIRST)?, place(STRUCTURE)?);
        index.learn(body, first, structure);
        if head & OTHERS != 0 {
            let count = u16::try_from(take_varint(&mut rest)?).ok()?;
            for piece in 1..=count {
                if let Some(slot) = before.take(&mut rest)? {
                    index.learn_piece(body, piece, slot);
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::frame::Kind;
    use super::*;

    #[test]
    fn places_come_back_in_portions_and_do_not_replace_newer_ones() {
        let mut index = Index::default();
        let slot = |number: u64| Slot::new(1 << 40 | (number * 7919 % 4096) << 12, 100 + number as usize);
        for body in [1, 2, 3, 500, 501, 100_000] {
            index.expect(BodyId(body));
            for piece in 0..(body % 4) as u16 {
                index.insert(Kind::Body, BodyId(body), piece, slot(body + 10 * u64::from(piece)));
            }
            if body != 3 {
                index.insert(Kind::Structure, BodyId(body), 0, slot(body + 5));
            }
        }
        let newer = slot(77);
        let mut heard = Index::default();
        heard.expect(BodyId(2));
        heard.insert(Kind::Body, BodyId(2), 0, newer);
        heard.insert(Kind::Body, BodyId(2), 1, newer);
        let mut at = Some(BodyId(0));
        let mut portions = 0;
        while let Some(from) = at {
            let mut out = Vec::new();
            at = tell(&index, from, 10, &|_| true, &mut out);
            assert_eq!(hear(&mut heard, &out), Some(()));
            for end in 1..out.len() {
                let _ = hear(&mut Index::default(), &out[..end]);
            }
            portions += 1;
        }
        assert!(portions > 2);
        for body in [1, 2, 3, 500, 501, 100_000].map(BodyId) {
            assert_eq!(heard.find(body, None), index.find(body, None), "{body}");
            for piece in 0..4 {
                let wanted =
                    if body == BodyId(2) && piece < 2 { Some(newer) } else { index.find(body, Some(piece)) };
                assert_eq!(heard.find(body, Some(piece)), wanted, "{body} {piece}");
            }
        }
        assert_eq!(hear(&mut heard, &[0xFF]), None);
    }
}
