//! The time as a value, and `strftime` on it.
use super::error::{Run, failed};
use super::meter::Text;

/// A moment as a wall clock shows it. The caller reads the clock; no library does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Full year, such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl LocalTime {
    /// The time `seconds` after the beginning of 1970, where `seconds` already contains the offset of
    /// the local time from UTC.
    pub fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let of_day = seconds.rem_euclid(86_400);
        // Days to a date of the Gregorian calendar, in eras of 400 years that begin on 1 March.
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era
            .saturating_mul(400)
            .saturating_add(year + i64::from(month <= 2));
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Self {
            year: i32::try_from(year).unwrap_or(i32::MAX),
            month: small(month),
            day: small(day),
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
        }
    }

    /// Days since 1 January, from 0.
    fn day_of_year(self) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let month = usize::from(self.month.saturating_sub(1));
        let days: i64 = before.get(month).copied().unwrap_or(0);
        days + i64::from(self.day) - 1 + i64::from(leap && self.month > 2)
    }

    /// 0 for Sunday.
    fn weekday(self) -> i64 {
        let before = i64::from(self.year) - 1;
        let leaps = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
        (before * 365 + leaps + self.day_of_year() + 1).rem_euclid(7)
    }
}

fn named(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .unwrap_or("")
}

/// Appends `datetime.strftime(pattern)` in the C locale.
pub(super) fn write_time(out: &mut Text<'_>, time: LocalTime, pattern: &str) -> Run<()> {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push_char(c)?;
            continue;
        }
        match chars.next() {
            // `%-d` and `%_d`, extensions of the GNU library: no filling, filling by spaces.
            Some(flag @ ('-' | '_')) => {
                let text = field(time, chars.next())?;
                let bare = text.trim_start_matches('0');
                let bare = if bare.is_empty() && !text.is_empty() {
                    "0"
                } else {
                    bare
                };
                let missing = if flag == '_' {
                    text.len().saturating_sub(bare.len())
                } else {
                    0
                };
                out.repeat(" ", missing)?;
                out.push(bare)?;
            }
            directive => out.push(&field(time, directive)?)?,
        }
    }
    Ok(())
}

fn field(time: LocalTime, directive: Option<char>) -> Run<String> {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = time;
    let month_name = named(&MONTHS, i64::from(month) - 1);
    let weekday = time.weekday();
    let weekday_name = named(&WEEKDAYS, weekday);
    let short = |name: &str| name.get(..3).unwrap_or(name).to_owned();
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let week = |first: i64| (time.day_of_year() + 7 - (weekday - first).rem_euclid(7)) / 7;
    Ok(match directive {
        Some('d') => format!("{day:02}"),
        Some('e') => format!("{day:2}"),
        Some('m') => format!("{month:02}"),
        Some('Y') => year.to_string(),
        Some('y') => format!("{:02}", year.rem_euclid(100)),
        Some('C') => format!("{:02}", year.div_euclid(100)),
        Some('B') => month_name.to_owned(),
        Some('b' | 'h') => short(month_name),
        Some('A') => weekday_name.to_owned(),
        Some('a') => short(weekday_name),
        Some('H') => format!("{hour:02}"),
        Some('I') => format!("{hour12:02}"),
        Some('M') => format!("{minute:02}"),
        Some('S') => format!("{second:02}"),
        Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        Some('f') => "000000".to_owned(),
        Some('j') => format!("{:03}", time.day_of_year() + 1),
        Some('w') => weekday.to_string(),
        Some('u') => (if weekday == 0 { 7 } else { weekday }).to_string(),
        Some('U') => format!("{:02}", week(0)),
        Some('W') => format!("{:02}", week(1)),
        Some('F') => format!("{year}-{month:02}-{day:02}"),
        Some('D' | 'x') => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
        Some('T' | 'X') => format!("{hour:02}:{minute:02}:{second:02}"),
        Some('R') => format!("{hour:02}:{minute:02}"),
        Some('c') => format!(
            "{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}",
            short(weekday_name),
            short(month_name)
        ),
        Some('z' | 'Z') => String::new(),
        Some('%') => "%".to_owned(),
        Some('n') => "\n".to_owned(),
        Some('t') => "\t".to_owned(),
        _ => return failed("strftime_now was called with an unknown directive"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        let date = |seconds| {
            let time = LocalTime::from_unix(seconds);
            (time.year, time.month, time.day, time.hour, time.weekday())
        };
        assert_eq!(date(0), (1970, 1, 1, 0, 4));
        assert_eq!(date(951_782_400), (2000, 2, 29, 0, 2));
        assert_eq!(date(-1), (1969, 12, 31, 23, 3));
        assert_eq!(date(1_795_226_400), (2026, 11, 21, 2, 6));
    }
}
