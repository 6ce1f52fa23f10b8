//! IMAP's two ways to write a date (RFC 3501 §9 `date` and `date-time`).

use super::cursor::{Bad, Cursor};
use crate::types::Time;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_SECONDS: i64 = 86_400;

/// A day of the calendar without time or zone: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day of `time` in UTC.
    pub fn of(time: Time) -> Day {
        Day(time.0.div_euclid(DAY_SECONDS))
    }

    /// The day of this date, if the calendar has it.
    pub fn from_date(year: i64, month: u32, day: u32) -> Option<Day> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days).contains(&day) || !(0..=9999).contains(&year) {
            return None;
        }
        // Years begin in March here, so that the leap day is a year's last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let day_of_year = i64::from((153 * month + 2) / 5 + day - 1);
        let day_of_age =
            year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
        Some(Day(day_of_age - 719_468))
    }

    /// Year, month from 1, day from 1.
    pub fn date(self) -> (i64, u32, u32) {
        let days = self.0 + 719_468;
        let age = days.div_euclid(146_097);
        let day_of_age = days.rem_euclid(146_097);
        let year_of_age = (day_of_age - day_of_age / 1460 + day_of_age / 36_524 - day_of_age / 146_096) / 365;
        let day_of_year = day_of_age - (365 * year_of_age + year_of_age / 4 - year_of_age / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * month + 2) / 5 + 1) as u32;
        let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
        (year_of_age + age * 400 + year, month as u32, day)
    }
}

/// `date = date-text / DQUOTE date-text DQUOTE`
///
/// `date-text = date-day "-" date-month "-" date-year`
pub fn date(cursor: &mut Cursor<'_>) -> Result<Day, Bad> {
    let quoted = cursor.take(b'"');
    let day = digits(cursor, 1..=2)?;
    let day = date_after_day(cursor, day)?;
    if quoted { cursor.expect(b'"', BAD_DATE.0).map(|()| day) } else { Ok(day) }
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
///
/// `date-day-fixed = (SP DIGIT) / 2DIGIT`; `time = 2DIGIT ":" 2DIGIT ":" 2DIGIT`; `zone = ("+" / "-") 4DIGIT`
///
/// Deliberate: the fixed day may also be one digit without the space.
pub fn date_time(cursor: &mut Cursor<'_>) -> Result<Time, Bad> {
    cursor.expect(b'"', BAD_DATE.0)?;
    let day = if cursor.take(b' ') { digits(cursor, 1..=1)? } else { digits(cursor, 1..=2)? };
    let day = date_after_day(cursor, day)?;
    cursor.expect(b' ', BAD_DATE.0)?;
    let hours = digits(cursor, 2..=2)?;
    cursor.expect(b':', BAD_DATE.0)?;
    let minutes = digits(cursor, 2..=2)?;
    cursor.expect(b':', BAD_DATE.0)?;
    let seconds = digits(cursor, 2..=2)?;
    cursor.expect(b' ', BAD_DATE.0)?;
    let sign = if cursor.take(b'-') { -1 } else { cursor.expect(b'+', BAD_DATE.0).map(|()| 1)? };
    let zone = digits(cursor, 4..=4)?;
    cursor.expect(b'"', BAD_DATE.0)?;
    if hours > 23 || minutes > 59 || seconds > 60 || zone % 100 > 59 {
        return Err(BAD_DATE);
    }
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let east = sign * (i64::from(zone / 100) * 3600 + i64::from(zone % 100) * 60);
    Ok(Time(day.0 * DAY_SECONDS + seconds - east))
}

const BAD_DATE: Bad = Bad("Not a date");

fn date_after_day(cursor: &mut Cursor<'_>, day: u32) -> Result<Day, Bad> {
    cursor.expect(b'-', BAD_DATE.0)?;
    let name = cursor.run(|byte| byte.is_ascii_alphabetic());
    let month =
        MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month.as_bytes())).ok_or(BAD_DATE)?;
    cursor.expect(b'-', BAD_DATE.0)?;
    let year = digits(cursor, 4..=4)?;
    Day::from_date(i64::from(year), month as u32 + 1, day).ok_or(BAD_DATE)
}

fn digits(cursor: &mut Cursor<'_>, count: std::ops::RangeInclusive<usize>) -> Result<u32, Bad> {
    let run = cursor.run(|byte| byte.is_ascii_digit());
    if !count.contains(&run.len()) {
        return Err(BAD_DATE);
    }
    Ok(run.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// Appends `time` as a `date-time` in UTC: `"17-Jul-1996 09:44:25 +0000"`. Years outside 0 to 9999 are printed as the nearest.
pub fn print_date_time(out: &mut Vec<u8>, time: Time) {
    const YEAR_0: i64 = -719_528 * DAY_SECONDS;
    const YEAR_10000: i64 = 2_932_897 * DAY_SECONDS;
    let time = time.0.clamp(YEAR_0, YEAR_10000 - 1);
    let (year, month, day) = Day::of(Time(time)).date();
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or("Jan");
    let seconds = time.rem_euclid(DAY_SECONDS);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = format!("\"{day:2}-{month}-{year:04} {hours:02}:{minutes:02}:{seconds:02} +0000\"");
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<Time, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let time = date_time(&mut cursor)?;
        cursor.end().map(|()| time)
    }

    fn day(text: &str) -> Result<Day, Bad> {
        let mut cursor = Cursor::new(text.as_bytes());
        let day = date(&mut cursor)?;
        cursor.end().map(|()| day)
    }

    fn printed(time: Time) -> String {
        let mut out = Vec::new();
        print_date_time(&mut out, time);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn date_times_are_seconds_and_back() {
        assert_eq!(time("\" 1-Jan-1970 00:00:00 +0000\""), Ok(Time(0)));
        assert_eq!(time("\"17-Jul-1996 02:44:25 -0700\""), Ok(Time(837_596_665)));
        assert_eq!(time("\"1-jan-1970 01:30:00 +0130\""), Ok(Time(0)));
        assert_eq!(printed(Time(837_596_665)), "\"17-Jul-1996 09:44:25 +0000\"");
        assert_eq!(printed(Time(-1)), "\"31-Dec-1969 23:59:59 +0000\"");
        assert_eq!(printed(Time(i64::MIN)), "\" 1-Jan-0000 00:00:00 +0000\"");
        assert_eq!(printed(Time(i64::MAX)), "\"31-Dec-9999 23:59:59 +0000\"");
    }

    #[test]
    fn every_day_of_ten_thousand_years_reads_back() {
        for number in (-719_528..2_932_897).step_by(13) {
            let (year, month, day) = Day(number).date();
            assert_eq!(Day::from_date(year, month, day), Some(Day(number)));
        }
        assert_eq!(Day::from_date(2000, 2, 29), Some(Day(11_016)));
    }

    #[test]
    fn dates_of_search() {
        assert_eq!(day("1-Feb-1994"), Ok(Day(8797)));
        assert_eq!(day("\"01-FEB-1994\""), Ok(Day(8797)));
        assert_eq!(Day::of(Time(-1)), Day(-1));
        for text in [
            "",
            "1-Feb-94",
            "30-Feb-1994",
            "29-Feb-1900",
            "0-Jan-2000",
            "1-Foo-2000",
            "\"1-Jan-2000",
            "1-Jan-2000\"",
        ] {
            assert!(day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_time_is_refused() {
        let good = "\"17-Jul-1996 02:44:25 -0700\"";
        for end in 0..good.len() {
            assert!(time(&good[..end]).is_err());
        }
        for text in [
            "\"17-Jul-1996 24:44:25 -0700\"",
            "\"17-Jul-1996 02:60:25 -0700\"",
            "\"17-Jul-1996 02:44:25 0700\"",
            "\"32-Jul-1996 02:44:25 -0700\"",
            "\"17-Jul-1996 02:44:25 -0760\"",
            "\"  7-Jul-1996 02:44:25 -0700\"",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
