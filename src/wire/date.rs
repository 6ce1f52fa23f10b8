//! Dates of messages (RFC 5322 §3.3, §4.3), and the calendar; how IMAP writes dates is in [`super::imap::date`].
//!
//! Refuses to know the clock or a local zone: a date is seconds since 1970 and the zone it was written in.
//!
//! Invariants: whatever is printed is parsed back to the same value; days and civil dates map one to one.

use serde::{Deserialize, Serialize};

use crate::types::Time;

/// A point of time and the zone that it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DateTime {
    /// The point of time.
    pub time: Time,
    /// East of Greenwich, minutes.
    pub zone_minutes: i16,
}

impl DateTime {
    /// In Greenwich.
    pub const fn utc(time: Time) -> DateTime {
        DateTime { time, zone_minutes: 0 }
    }

    /// The day in its own zone: what SENTON and SENTBEFORE compare (RFC 3501 §6.4.4).
    pub fn day(self) -> Day {
        Day(clamp(self.local().div_euclid(DAY_SECONDS)))
    }

    fn local(self) -> i64 {
        self.time.0.saturating_add(i64::from(self.zone_minutes) * 60)
    }

    fn parts(self) -> Parts {
        let local = self.local();
        let second = local.rem_euclid(DAY_SECONDS);
        let (year, month, day) = self.day().date();
        let weekday = (local.div_euclid(DAY_SECONDS) + 4).rem_euclid(7) as usize;
        let zone = self.zone_minutes;
        let sign = if zone < 0 { '-' } else { '+' };
        let zone = zone.unsigned_abs();
        let month_name = MONTHS.get(month as usize - 1).copied().unwrap_or("Jan");
        Parts {
            date: (year, month_name, day),
            weekday: WEEKDAYS.get(weekday).copied().unwrap_or("Sun"),
            clock: format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
            zone: format!("{sign}{:02}{:02}", zone / 60, zone % 60),
        }
    }

    /// As a Received field writes it: `Tue, 24 Nov 2026 09:18:02 +0000` (RFC 5322 §3.3).
    pub fn to_rfc5322(self) -> String {
        let Parts { date: (year, month, day), weekday, clock, zone } = self.parts();
        format!("{weekday}, {day} {month} {year:04} {clock} {zone}")
    }

    /// As INTERNALDATE writes it, with its quotes: `"24-Nov-2026 09:18:02 +0000"` (RFC 3501 §9 `date-time`).
    pub fn to_imap(self) -> String {
        let Parts { date: (year, month, day), clock, zone, .. } = self.parts();
        format!("\"{day:2}-{month}-{year:04} {clock} {zone}\"")
    }
}

struct Parts {
    date: (i32, &'static str, u32),
    weekday: &'static str,
    clock: String,
    zone: String,
}

const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

fn clamp(days: i64) -> i32 {
    days.clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32
}

/// A day of the Gregorian calendar, without time and zone: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// Years are counted from March here, so that the leap day is the last of its year.
impl Day {
    /// The day of this date, month and day from 1, if the calendar has it.
    pub fn from_date(year: i32, month: u32, day: u32) -> Option<Day> {
        if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
            return None;
        }
        let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(Day(clamp(era * 146_097 + day_of_era - 719_468)))
    }

    /// Year, month from 1, day from 1.
    pub fn date(self) -> (i32, u32, u32) {
        let days = i64::from(self.0) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year as i32, month as u32, day as u32)
    }

    /// Its first second, in Greenwich.
    pub fn start(self) -> Time {
        Time(i64::from(self.0) * DAY_SECONDS)
    }
}

fn month_days(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A month's number by the first three letters of its name, any case.
pub(super) fn month(word: &[u8]) -> Option<u32> {
    let name = word.get(..3)?;
    MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month.as_bytes())).map(|index| index as u32 + 1)
}

fn number(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 6 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

/// `hh:mm` or `hh:mm:ss`; the second may be a leap second. The answer is seconds of the day.
fn clock(word: &[u8]) -> Option<u32> {
    let mut numbers = word.split(|byte| *byte == b':');
    let (hour, minute) = (number(numbers.next()?)?, number(numbers.next()?)?);
    let second = match numbers.next() {
        Some(word) => number(word.split(|byte| *byte == b'.').next()?)?,
        None => 0,
    };
    (numbers.next().is_none() && hour < 24 && minute < 60 && second <= 60)
        .then_some(hour * 3600 + minute * 60 + second.min(59))
}

fn numeric_zone(word: &[u8]) -> Option<i16> {
    let (sign, digits) = match word {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let value = number(digits).filter(|_| digits.len() == 4)?;
    let minutes = value / 100 * 60 + value % 100;
    (value % 100 < 60 && minutes < 24 * 60).then_some(sign * minutes as i16)
}

/// `obs-zone` (RFC 5322 §4.3); letters and unknown names count as Greenwich, as the RFC says.
fn zone(word: &[u8]) -> Option<i16> {
    if let Some(minutes) = numeric_zone(word) {
        return Some(minutes);
    }
    let hours = match word.to_ascii_uppercase().as_slice() {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        b"CET" | b"MEZ" => 1,
        b"CEST" | b"MESZ" => 2,
        name if name.first()?.is_ascii_alphabetic() => 0,
        _ => return None,
    };
    Some(hours * 60)
}

/// The date of a Date field's value (RFC 5322 §3.3 and §4.3), read as generously as it can be understood:
///
/// ```text
/// date-time = [ day-of-week "," ] day month year time-of-day zone   ; in this order, or month before day
/// ```
///
/// Comments, the weekday, missing seconds or zone, two-digit years, `24-Nov-2026` and junk after the zone are tolerated.
pub fn parse_rfc5322(text: &[u8]) -> Option<DateTime> {
    let text = without_comments(text);
    let words =
        text.split(|byte| byte.is_ascii_whitespace() || *byte == b',').filter(|word| !word.is_empty());
    let (mut day, mut month_number, mut year, mut second, mut zone_minutes) = (None, None, None, None, None);
    for word in words.flat_map(dashed) {
        if word.contains(&b':') {
            second = second.or(clock(word));
        } else if second.is_some() && year.is_some() && zone_minutes.is_none() && zone(word).is_some() {
            zone_minutes = zone(word);
        } else if let Some(value) = number(word) {
            match (day, month_number, year) {
                (None, _, _) if word.len() <= 2 => day = Some(value),
                (_, Some(_), None) => year = Some(full_year(word.len(), value)),
                _ => {}
            }
        } else if month_number.is_none() {
            month_number = month(word);
        } else if second.is_some() && zone_minutes.is_none() {
            // `Nov 24 09:18:02 CET 2026`: the zone stands before the year.
            zone_minutes = zone(word);
        }
    }
    let day = Day::from_date(year?, month_number?, day?)?;
    let zone_minutes = zone_minutes.unwrap_or(0);
    let time = Time(day.start().0 + i64::from(second.unwrap_or(0)) - i64::from(zone_minutes) * 60);
    Some(DateTime { time, zone_minutes })
}

/// Two digits are 2000 to 2049 or 1950 to 1999, three are counted from 1900 (RFC 5322 §4.3).
fn full_year(digits: usize, value: u32) -> i32 {
    let year = match (digits, value) {
        (0..=2, 0..=49) => value + 2000,
        (0..=3, _) => value + 1900,
        _ => value,
    };
    year.min(9999) as i32
}

/// Splits `24-Nov-2026`, and leaves `-0500` alone.
fn dashed(word: &[u8]) -> impl Iterator<Item = &[u8]> {
    let splits = word.first().is_some_and(u8::is_ascii_digit) && !word.contains(&b':');
    word.split(move |byte| splits && *byte == b'-').filter(|word| !word.is_empty())
}

/// Takes comments out, nested ones too (RFC 5322 §3.2.2); a space stands for each.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut depth = 0_usize;
    let mut kept = Vec::with_capacity(text.len().min(128));
    for byte in text.iter().take(512) {
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                kept.push(b' ');
            }
            other if depth == 0 => kept.push(*other),
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<(i64, i16)> {
        parse_rfc5322(text.as_bytes()).map(|date| (date.time.0, date.zone_minutes))
    }

    #[test]
    fn days_and_dates_map_one_to_one() {
        let mut expected = Day::from_date(-401, 1, 1).unwrap();
        for year in -401..2801 {
            for month in 1..=12 {
                for day in 1..=month_days(year, month) {
                    assert_eq!(Day::from_date(year, month, day), Some(expected));
                    assert_eq!(expected.date(), (year, month, day));
                    expected.0 += 1;
                }
                assert_eq!(Day::from_date(year, month, month_days(year, month) + 1), None);
            }
        }
        assert_eq!(Day::from_date(1970, 1, 1), Some(Day(0)));
        assert_eq!(Day::from_date(2000, 3, 1), Some(Day(11_017)));
        assert_eq!((Day::from_date(1900, 2, 29), Day::from_date(2000, 13, 1)), (None, None));
    }

    #[test]
    fn what_is_printed_is_parsed_back() {
        for step in -400..4000_i64 {
            let time = Time(step * 7_654_321);
            let zone_minutes = ((step * 15) % (14 * 60)) as i16;
            let date = DateTime { time, zone_minutes };
            assert_eq!(parse_rfc5322(date.to_rfc5322().as_bytes()), Some(date), "{}", date.to_rfc5322());
        }
    }

    #[test]
    fn prints_as_the_rfcs_do() {
        let date = DateTime::utc(Time(1_795_511_882));
        assert_eq!(date.to_rfc5322(), "Tue, 24 Nov 2026 09:18:02 +0000");
        assert_eq!(date.to_imap(), "\"24-Nov-2026 09:18:02 +0000\"");
        let date = DateTime { time: Time(0), zone_minutes: -480 };
        assert_eq!(date.to_imap(), "\"31-Dec-1969 16:00:00 -0800\"");
        assert_eq!(date.day(), Day(-1));
        assert_eq!(DateTime::utc(Time(86_400 * 4)).to_imap(), "\" 5-Jan-1970 00:00:00 +0000\"");
    }

    #[test]
    fn old_and_odd_dates_are_understood() {
        let t = 1_795_511_882;
        for text in [
            "Tue, 24 Nov 2026 09:18:02 GMT",
            "24 Nov 26 09:18:02 UT",
            "Tue, 24 Nov 2026 09:18:02",
            "Tue,24 Nov 2026 09:18:02 +0000 (UTC) junk",
            "Tue (day), (a (nested) one) 24 Nov\t2026 09:18:02 Z",
            "Tue Nov 24 09:18:02 2026",
            "Tue Nov 24 09:18:02 GMT 2026",
            "24-Nov-2026 09:18:02 +0000",
            "Tuesday, 24 November 2026 09:18:02.123 +0000",
        ] {
            assert_eq!(seconds(text), Some((t, 0)), "{text}");
        }
        assert_eq!(seconds("24 Nov 2026 04:18:02 EST"), Some((t, -300)));
        assert_eq!(seconds("24 Nov 2026 10:18:02 +0100"), Some((t, 60)));
        assert_eq!(seconds("24 Nov 101 00:00 +0000").map(|date| date.0), Some(1_006_560_000));
        assert_eq!(seconds("1 Jan 50 00:00 +0000").map(|date| date.0), Some(-631_152_000));
        for text in [
            "",
            "garbage",
            "31 Feb 2026 00:00 +0000",
            "0 Jan 2026 00:00 +0000",
            "Nov 2026",
            "(",
            "99999999999 Jan",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
