//! IMAP's two ways to write a date (RFC 3501 §9 `date` and `date-time`).

use super::cursor::{Bad, Cursor};
use crate::types::Time;
use crate::wire::date::{DateTime, Day, month};

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
    Ok(Time(day.start().0 + seconds - east))
}

const BAD_DATE: Bad = Bad("Not a date");

fn date_after_day(cursor: &mut Cursor<'_>, day: u32) -> Result<Day, Bad> {
    cursor.expect(b'-', BAD_DATE.0)?;
    let name = cursor.run(|byte| byte.is_ascii_alphabetic());
    let month = month(name).filter(|_| name.len() == 3).ok_or(BAD_DATE)?;
    cursor.expect(b'-', BAD_DATE.0)?;
    let year = digits(cursor, 4..=4)?;
    Day::from_date(year as i32, month, day).ok_or(BAD_DATE)
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
    const YEAR_0: Day = Day(-719_528);
    const YEAR_10000: Day = Day(2_932_897);
    let time = Time(time.0.clamp(YEAR_0.start().0, YEAR_10000.start().0 - 1));
    out.extend_from_slice(DateTime::utc(time).to_imap().as_bytes());
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
    fn dates_of_search() {
        assert_eq!(day("1-Feb-1994"), Ok(Day(8797)));
        assert_eq!(day("\"01-FEB-1994\""), Ok(Day(8797)));
        for text in [
            "",
            "1-Feb-94",
            "30-Feb-1994",
            "29-Feb-1900",
            "0-Jan-2000",
            "1-Foo-2000",
            "1-February-1994",
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
