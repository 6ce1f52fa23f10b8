//! Sets of message numbers as clients write them (RFC 3501 §9 `sequence-set`), with `*` kept until the highest number is known.

use super::cursor::{Bad, Cursor};
use crate::limits;

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// A number, not 0.
    Number(u32),
    /// `*`: the highest number in use.
    Star,
}

/// A `sequence-set`: at least one range, at most `limits::IMAP_RANGES_MAX`, in the client's order.
///
/// A range's first bound is not above its second; `*` counts as the highest, so `*:4` is kept as `4:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(Vec<(Bound, Bound)>);

impl SequenceSet {
    /// `sequence-set = (seq-number / seq-range) *("," sequence-set)`
    ///
    /// `seq-range = seq-number ":" seq-number`
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<SequenceSet, Bad> {
        let mut ranges: Vec<(Bound, Bound)> = Vec::new();
        loop {
            let first = Self::bound(cursor)?;
            let last = if cursor.take(b':') { Self::bound(cursor)? } else { first };
            push(&mut ranges, (first.min(last), first.max(last)))?;
            if !cursor.take(b',') {
                return Ok(SequenceSet(ranges));
            }
        }
    }

    /// `seq-number = nz-number / "*"`
    fn bound(cursor: &mut Cursor<'_>) -> Result<Bound, Bad> {
        if cursor.take(b'*') {
            return Ok(Bound::Star);
        }
        cursor.nz_number().map(Bound::Number).map_err(|_| Bad("Not a set of messages"))
    }

    /// Whether `*` is in it.
    pub fn has_star(&self) -> bool {
        self.0.iter().any(|(_, last)| *last == Bound::Star)
    }

    /// The highest number that is written in it, 0 if there is only `*`.
    pub fn number_max(&self) -> u32 {
        let number = |bound: Bound| if let Bound::Number(number) = bound { number } else { 0 };
        self.0.iter().map(|(first, last)| number(*first).max(number(*last))).max().unwrap_or(0)
    }

    /// The ranges with `*` read as `highest`, sorted and merged: ascending, apart by at least one number.
    ///
    /// Numbers above `highest` stay: whether they are an error differs by command. With `highest` 0 a lone `*` names nothing,
    /// while `4:*` is `4:4`, as RFC 3501 §9 wants `n:*` to include the last message even when that is below `n`.
    pub fn resolve(&self, highest: u32) -> Vec<(u32, u32)> {
        let number = |bound: Bound| if let Bound::Number(number) = bound { number } else { highest };
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|(first, last)| (number(*first), number(*last)))
            .map(|(a, b)| (a.min(b).max(1), a.max(b)))
            .filter(|(first, last)| first <= last)
            .collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(1);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        ranges
    }
}

/// Ranges that continue the one before are joined with it: clients that list numbers one by one cost no memory for it.
fn push(ranges: &mut Vec<(Bound, Bound)>, range: (Bound, Bound)) -> Result<(), Bad> {
    if let (Some((_, Bound::Number(last))), Bound::Number(first)) = (ranges.last(), range.0)
        && last.checked_add(1) == Some(first)
        && let Some(kept) = ranges.last_mut()
    {
        kept.1 = range.1;
        return Ok(());
    }
    if ranges.len() == limits::IMAP_RANGES_MAX {
        return Err(Bad("Too many ranges in a set"));
    }
    ranges.push(range);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<SequenceSet, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let set = SequenceSet::parse(&mut cursor)?;
        cursor.end().map(|()| set)
    }

    #[test]
    fn the_rfcs_examples_resolve_as_it_says() {
        assert_eq!(set("2,4:7,9,12:*").unwrap().resolve(15), [(2, 2), (4, 7), (9, 9), (12, 15)]);
        assert_eq!(set("*:4,5:7").unwrap().resolve(10), [(4, 10)]);
        assert_eq!(set("3291:*").unwrap().resolve(12), [(12, 3291)]);
        assert_eq!(set("4:2").unwrap(), set("2:4").unwrap());
        assert_eq!(set("5:3").unwrap().resolve(9), [(3, 5)]);
    }

    #[test]
    fn stars_in_every_place() {
        assert_eq!(set("*").unwrap().resolve(7), [(7, 7)]);
        assert_eq!(set("*").unwrap().resolve(0), []);
        assert_eq!(set("*:*").unwrap().resolve(0), []);
        assert_eq!(set("1:*").unwrap().resolve(0), [(1, 1)]);
        assert_eq!(set("*:4").unwrap().0, [(Bound::Number(4), Bound::Star)]);
        assert_eq!(set("*,1").unwrap().resolve(2), [(1, 2)]);
        assert_eq!(set("*:4,7").unwrap().number_max(), 7);
        assert!(set("1:*").unwrap().has_star() && !set("1:9").unwrap().has_star());
    }

    #[test]
    fn neighbours_are_joined_and_overlaps_merged() {
        assert_eq!(set("1,2,3,4:5").unwrap().0, [(Bound::Number(1), Bound::Number(5))]);
        assert_eq!(set("9,1:5,3:7,8").unwrap().resolve(99), [(1, 9)]);
        assert_eq!(set("4294967295,4294967294").unwrap().resolve(1), [(u32::MAX - 1, u32::MAX)]);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in
            ["", "0", "1:", ":1", "1,", ",1", "1::2", "a", "-1", "4294967296", "1:0", "01", "**", "1 2"]
        {
            assert!(set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_count_of_ranges_is_bounded() {
        let many = |count: usize| (0..count).map(|n| (2 * n + 1).to_string()).collect::<Vec<_>>().join(",");
        assert!(set(&many(limits::IMAP_RANGES_MAX)).is_ok());
        assert_eq!(set(&many(limits::IMAP_RANGES_MAX + 1)), Err(Bad("Too many ranges in a set")));
        let list = (1..=20_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(set(&list).unwrap().resolve(1), [(1, 20_000)]);
    }
}
