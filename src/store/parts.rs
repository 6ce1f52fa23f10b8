//! A change that is larger than a frame: several frames of one serial, which hold together or not at all.
//!
//! Each begins with [`Record::Part`]. They are written in one batch, one right behind the other, so what a power cut leaves of them is some from
//! the first on, never the last one. And a segment is freed only after those before it that hold earlier parts of the same change
//! (`journal::reclaim`), so what compaction leaves of them is some up to the last one. Hence the law: *a change holds if its last part is there.*
//! What has been freed of it is dead, or has been said again by a copy behind it. Refuses to guess: without its last part none of it holds.

use super::record::{Record, encode};
use crate::types::{Serial, UidSet};

/// Bytes of a part's beginning: the schema, and `Record::Part` with two numbers.
const PART_BYTES_MAX: usize = 12;
/// Ranges of one piece of a set that does not fit a frame: at most ten bytes each, so that it fits the smallest segment's.
const RANGES_OF_A_PIECE: usize = 400;

/// The payloads of the frames that the change takes, where a frame has `limit` bytes: one, or parts that hold together.
/// A record that is larger by itself makes a payload that is too large.
pub fn encode_within(records: &[Record], limit: usize) -> Vec<Vec<u8>> {
    let whole = encode(records);
    if whole.len() <= limit {
        return vec![whole];
    }
    let mut parts: Vec<Vec<Record>> = vec![Vec::new()];
    let mut bytes = PART_BYTES_MAX;
    for record in records.iter().flat_map(pieces) {
        let more = encode(std::slice::from_ref(&record)).len();
        bytes += more;
        if bytes > limit {
            parts.push(Vec::new());
            bytes = PART_BYTES_MAX + more;
        }
        if let Some(part) = parts.last_mut() {
            part.push(record);
        }
    }
    let of = parts.len() as u32;
    let framed = parts.into_iter().zip(0..).map(|(mut part, number)| {
        part.insert(0, Record::Part { number, of });
        encode(&part)
    });
    framed.collect()
}

/// The record in pieces that say the same one after the other.
fn pieces(record: &Record) -> Vec<Record> {
    let chunks = |uids: &UidSet| -> Vec<UidSet> {
        uids.0.chunks(RANGES_OF_A_PIECE).map(|ranges| UidSet(ranges.to_vec())).collect()
    };
    match record {
        Record::FlagsSet { account, folder, groups } => {
            let pieces =
                groups.iter().flat_map(|(flags, uids)| chunks(uids).into_iter().map(|uids| (*flags, uids)));
            let piece = |group| Record::FlagsSet { account: *account, folder: *folder, groups: vec![group] };
            pieces.map(piece).collect()
        }
        Record::Expunged { account, folder, uids } => {
            let piece = |uids| Record::Expunged { account: *account, folder: *folder, uids };
            chunks(uids).into_iter().map(piece).collect()
        }
        other => vec![other.clone()],
    }
}

/// A change of several frames, while it is being read.
#[derive(Debug, Default)]
pub struct Parts {
    open: Option<(Serial, Vec<Record>)>,
    unfinished: Vec<Serial>,
}

impl Parts {
    /// The records of a frame, or with the last part of a change those of all its parts that are left.
    pub fn join(&mut self, serial: Serial, mut records: Vec<Record>) -> Option<Vec<Record>> {
        if self.open.as_ref().is_some_and(|(of, _)| *of != serial) {
            self.unfinished.extend(self.open.take().map(|(of, _)| of));
        }
        let Some(Record::Part { number, of }) = records.first().cloned() else { return Some(records) };
        records.remove(0);
        let mut joined = self.open.take().map(|(_, joined)| joined).unwrap_or_default();
        joined.append(&mut records);
        if number.saturating_add(1) >= of {
            return Some(joined);
        }
        self.open = Some((serial, joined));
        None
    }

    /// Changes that are not whole.
    pub fn unfinished(&self) -> impl Iterator<Item = Serial> {
        self.unfinished.iter().copied().chain(self.open.iter().map(|(serial, _)| *serial))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::decode;
    use super::super::record::tests::samples;
    use super::*;
    use crate::types::{AccountId, Flags, FolderId, Uid};

    fn changes(payloads: &[Vec<u8>], parts: &mut Parts) -> Option<Vec<Record>> {
        let joined = payloads.iter().map(|payload| parts.join(Serial(9), decode(payload).unwrap()));
        joined.last().flatten()
    }

    #[test]
    fn a_large_change_is_parts_that_hold_together() {
        let (account, folder) = (AccountId(7), FolderId(1));
        let odd = UidSet::from_ascending((0..3000).map(|number| Uid(u32::MAX - 6000 + 2 * number)));
        let mut records = samples();
        records.retain(|record| !matches!(record, Record::Part { .. }));
        records.push(Record::FlagsSet { account, folder, groups: vec![(Flags(u64::MAX), odd.clone())] });
        records.push(Record::Expunged { account, folder, uids: odd.clone() });
        assert_eq!(encode_within(&records, 128 << 10), [encode(&records)]);
        let payloads = encode_within(&records, 8128);
        assert!(payloads.len() > 3 && payloads.iter().all(|payload| payload.len() <= 8128));
        let whole = changes(&payloads, &mut Parts::default()).unwrap();
        assert_eq!(whole[..records.len() - 2], records[..records.len() - 2]);
        let mut flagged = Vec::new();
        let mut expunged = Vec::new();
        for record in &whole[records.len() - 2..] {
            match record {
                Record::FlagsSet { groups, .. } => {
                    groups.iter().for_each(|(_, uids)| flagged.extend(uids.iter()))
                }
                Record::Expunged { uids, .. } => expunged.extend(uids.iter()),
                other => panic!("{other:?}"),
            }
        }
        assert!(odd.iter().eq(flagged) && odd.iter().eq(expunged));
        // A cut leaves the first ones: none holds, and it is known, also when something comes behind.
        for cut in 1..payloads.len() {
            let mut parts = Parts::default();
            assert_eq!(changes(&payloads[..cut], &mut parts), None);
            assert_eq!(parts.unfinished().collect::<Vec<_>>(), [Serial(9)]);
            assert_eq!(parts.join(Serial(9 + 1), samples()), Some(samples()));
            assert_eq!(parts.unfinished().collect::<Vec<_>>(), [Serial(9)]);
        }
        // Compaction leaves the last ones: they hold.
        for freed in 1..payloads.len() {
            let mut parts = Parts::default();
            let left = changes(&payloads[freed..], &mut parts).unwrap();
            assert!(!left.is_empty() && whole.ends_with(&left));
            assert_eq!(parts.unfinished().count(), 0);
        }
    }
}
