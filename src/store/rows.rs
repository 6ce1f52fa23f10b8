//! Messages of a folder as a record holds them: each by its difference from the one before, which is most often small. So a message takes
//! a dozen bytes instead of twenty-five, in every snapshot and every copy.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::Present;
use crate::limits::CHARGE_STEP_BYTES;
use crate::types::{BodyId, Flags, Serial, Time, Uid};

/// Differences of UID and of body; the size; the charge, as [`of_charge`] says it; difference of date; the flags; difference of serial.
#[derive(Serialize, Deserialize)]
struct Row(i32, i64, u32, u64, i64, Flags, i64);

const STEP: u32 = CHARGE_STEP_BYTES as u32;

/// Twice the steps that a charge has more than the size, which is one byte for almost all; of any other charge itself, twice and one.
fn of_charge(charge: u32, size: u32) -> u64 {
    match (charge / STEP).checked_sub(size / STEP) {
        Some(steps) if charge.is_multiple_of(STEP) => u64::from(steps) << 1,
        _ => u64::from(charge) << 1 | 1,
    }
}

fn charge(told: u64, size: u32) -> u32 {
    let number = (told >> 1) as u32;
    if told & 1 == 1 { number } else { (size / STEP).wrapping_add(number).wrapping_mul(STEP) }
}

const BEFORE: Present = Present {
    uid: Uid(0),
    body: BodyId(0),
    size: 0,
    charge: 0,
    date: Time(0),
    flags: Flags::NONE,
    serial: Serial(0),
};

pub(super) fn serialize<S: Serializer>(messages: &[Present], serializer: S) -> Result<S::Ok, S::Error> {
    let before = std::iter::once(&BEFORE).chain(messages);
    serializer.collect_seq(before.zip(messages).map(|(before, message)| {
        Row(
            message.uid.0.wrapping_sub(before.uid.0) as i32,
            message.body.0.wrapping_sub(before.body.0) as i64,
            message.size,
            of_charge(message.charge, message.size),
            message.date.0.wrapping_sub(before.date.0),
            message.flags,
            message.serial.0.wrapping_sub(before.serial.0) as i64,
        )
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Present>, D::Error> {
    let mut before = BEFORE;
    let rows = Vec::<Row>::deserialize(deserializer)?;
    let messages = rows.into_iter().map(|Row(uid, body, size, cost, date, flags, serial)| {
        before = Present {
            uid: Uid(before.uid.0.wrapping_add(uid as u32)),
            body: BodyId(before.body.0.wrapping_add(body as u64)),
            size,
            charge: charge(cost, size),
            date: Time(before.date.0.wrapping_add(date)),
            flags,
            serial: Serial(before.serial.0.wrapping_add(serial as u64)),
        };
        before.clone()
    });
    Ok(messages.collect())
}

#[cfg(test)]
mod tests {
    use super::super::record::{Record, decode, encode};
    use super::*;
    use crate::types::{AccountId, FolderId};

    #[test]
    fn messages_come_back_and_take_little() {
        let present = |uid: u32, body, size, charge, date, flags, serial| Present {
            uid: Uid(uid),
            body: BodyId(body),
            size,
            charge,
            date: Time(date),
            flags: Flags(flags),
            serial: Serial(serial),
        };
        let odd = vec![
            present(u32::MAX, u64::MAX, u32::MAX, 0, i64::MIN, u64::MAX, u64::MAX),
            present(0, 0, 0, u32::MAX, i64::MAX, 0, 0),
            present(1, 1, u32::MAX, u32::MAX / STEP * STEP, 0, 0, 0),
            present(2, 1, 100, 64, 0, 0, 0),
            present(3, 1, 100, 63, 0, 0, 0),
        ];
        let usual: Vec<_> = (0..64)
            .map(|nth| {
                present(
                    500_000 + nth,
                    900_000 + 2 * u64::from(nth),
                    9000 + nth,
                    (9664 + nth).next_multiple_of(STEP),
                    1_760_000_000 + 300 * i64::from(nth),
                    1,
                    2_000_000 + u64::from(nth),
                )
            })
            .collect();
        for messages in [odd, usual.clone()] {
            let records = [Record::MessagesAre { account: AccountId(1), folder: FolderId(2), messages }];
            assert_eq!(decode(&encode(&records)).as_deref(), Some(&records[..]));
        }
        let record = Record::MessagesAre { account: AccountId(1), folder: FolderId(2), messages: usual };
        assert!(encode(&[record]).len() < 64 * 11);
    }
}
