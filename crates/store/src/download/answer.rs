//! What the head of an answer means for the bytes that follow.

use std::time::Duration;

use ingle_egress::Head;

use super::error::Fault;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Bytes that are there already.
    pub(super) have: u64,
    /// Bytes of the whole, where the caller knows.
    pub(super) size: Option<u64>,
    /// Bytes of the whole, as an earlier answer said.
    pub(super) noted: Option<u64>,
    /// The version that the bytes are of, where the version matters.
    pub(super) etag: Option<&'a str>,
}

/// What to do with an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its body is the file from the first missing byte on; the file has `size` bytes.
    Rest { size: u64 },
    /// Its body is the file from the first byte on. The size may still be unknown.
    Whole { size: Option<u64> },
    /// It is of no use, and what is there must be thrown away.
    Anew(Fault),
    /// It is of no use.
    Fault(Fault),
    /// It will be of no use the next time either.
    Final,
}

/// The parts of a head that matter here.
#[derive(Debug, Clone, Default)]
pub(super) struct Said<'a> {
    pub(super) host: String,
    pub(super) status: u16,
    /// Whether the answer comes from where the request began, and not from where it was redirected to.
    pub(super) at_home: bool,
    pub(super) length: Option<&'a str>,
    pub(super) range: Option<&'a str>,
    pub(super) etag: Option<&'a str>,
    pub(super) encoding: Option<&'a str>,
    pub(super) retry_after: Option<&'a str>,
    pub(super) date: Option<&'a str>,
}

impl<'a> Said<'a> {
    pub(super) fn of(head: &'a Head, at_home: bool) -> Self {
        Self {
            host: head.origin().host(),
            status: head.status(),
            at_home,
            length: head.header("content-length"),
            range: head.header("content-range"),
            etag: head.header("etag"),
            encoding: head.header("content-encoding"),
            retry_after: head.header("retry-after"),
            date: head.header("date"),
        }
    }

    /// What to do with the body.
    pub(super) fn judge(&self, asked: Asked<'_>) -> Answer {
        let host = || self.host.clone();
        if matches!(self.status, 200 | 206)
            && let Some(encoding) = self.encoding
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Answer::Fault(Fault::Encoded {
                host: host(),
                encoding: short(encoding),
            });
        }
        match self.status {
            200 => self.whole(asked),
            206 => self.rest(asked),
            // The range begins beyond the end: what is there is not the beginning of this file.
            416 => Answer::Anew(Fault::Changed { host: host() }),
            408 | 425 | 429 | 500..=599 => Answer::Fault(Fault::Busy {
                host: host(),
                status: self.status,
                retry_after: self.retry_after(),
            }),
            // A download link that has expired, or a cache that is being filled: the next try begins
            // at home and gets another.
            400..=499 if !self.at_home => Answer::Fault(Fault::Busy {
                host: host(),
                status: self.status,
                retry_after: None,
            }),
            _ => Answer::Final,
        }
    }

    fn whole(&self, asked: Asked<'_>) -> Answer {
        let said = self.length.and_then(number);
        match (asked.size, said) {
            (Some(wanted), Some(got)) if wanted != got => Answer::Fault(Fault::Size {
                host: self.host.clone(),
                wanted,
                got,
            }),
            (size, said) => Answer::Whole {
                size: size.or(said),
            },
        }
    }

    fn rest(&self, asked: Asked<'_>) -> Answer {
        let host = || self.host.clone();
        let wrong = || {
            Answer::Fault(Fault::Range {
                host: host(),
                have: asked.have,
                range: short(self.range.unwrap_or("no Content-Range")),
            })
        };
        let Some(range) = self.range.and_then(ContentRange::parse) else {
            return wrong();
        };
        let length = self.length.and_then(number);
        if range.first != asked.have || length.is_some_and(|length| length != range.len()) {
            return wrong();
        }
        match (asked.size, asked.noted, range.total) {
            (Some(wanted), _, Some(got)) if wanted != got => {
                return Answer::Fault(Fault::Size {
                    host: host(),
                    wanted,
                    got,
                });
            }
            // One of two answers was wrong, and nobody can say which.
            (None, Some(noted), Some(got)) if noted != got => {
                return Answer::Anew(Fault::Changed { host: host() });
            }
            _ => {}
        }
        if asked.etag.is_some() && self.etag != asked.etag {
            return Answer::Anew(Fault::Changed { host: host() });
        }
        match asked.size.or(range.total).or(asked.noted) {
            Some(size) if range.last < size => Answer::Rest { size },
            _ => wrong(),
        }
    }

    /// The pause that is asked for: seconds, or a date, which the server's own clock puts in relation.
    fn retry_after(&self) -> Option<Duration> {
        let text = self.retry_after?.trim();
        let seconds = number(text).or_else(|| {
            let (then, now) = (http_date(text)?, http_date(self.date?.trim())?);
            Some(then.saturating_sub(now))
        });
        seconds.map(Duration::from_secs)
    }

    /// The version of the file, if it says which: a weak `ETag` does not tell bytes apart.
    pub(super) fn strong_etag(&self) -> Option<&'a str> {
        const LONGEST: usize = 1024;
        self.etag
            .filter(|etag| etag.len() >= 2 && etag.len() <= LONGEST)
            .filter(|etag| etag.starts_with('"') && etag.ends_with('"'))
    }
}

/// `Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    /// `None` for `*`.
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.trim().split_once(' ')?;
        let (ends, total) = range.trim().split_once('/')?;
        let (first, last) = ends.split_once('-')?;
        let range = Self {
            first: number(first)?,
            last: number(last)?,
            total: match total {
                "*" => None,
                total => Some(number(total)?),
            },
        };
        let sound = unit.eq_ignore_ascii_case("bytes")
            && range.first <= range.last
            && range.last < range.total.unwrap_or(u64::MAX);
        sound.then_some(range)
    }

    fn len(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// Digits and nothing else: the standard library would also take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The seconds of a date in the one form that is still written, `Sun, 06 Nov 1994 08:49:37 GMT`
/// (RFC 9110, section 5.6.7), counted from a day long ago. Only differences mean something.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_once(", ")?.1.splitn(5, ' ');
    let day = number(words.next()?).filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let year = number(words.next()?).filter(|year| (1900..=9999).contains(year))?;
    let mut clock = words.next()?.splitn(3, ':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let sound = words.next() == Some("GMT") && hour < 24 && minute < 60 && second < 61;
    // Years that begin in March, so that the day that some of them have more is their last.
    let (year, month) = match month {
        0 | 1 => (year - 1, month + 10),
        _ => (year, month - 2),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    sound.then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// A header for a message.
fn short(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_as_far_apart_as_they_are() {
        let at = |text| http_date(text).unwrap();
        let first = at("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at("Mon, 07 Nov 1994 08:49:38 GMT") - first, 86_401);
        let leap = at("Fri, 01 Mar 2024 00:00:00 GMT") - at("Wed, 28 Feb 2024 00:00:00 GMT");
        assert_eq!(leap, 2 * 86_400);
        let common = at("Wed, 01 Jan 2025 00:00:00 GMT") - at("Sun, 01 Jan 2023 00:00:00 GMT");
        assert_eq!(common, (365 + 366) * 86_400);
        for bad in [
            "",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 0 Nov 1994 1:1:1 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_date() {
        let said = |retry_after, date| {
            let said = Said {
                retry_after,
                date,
                ..Said::default()
            };
            said.retry_after().map(|pause| pause.as_secs())
        };
        assert_eq!(said(Some("120"), None), Some(120));
        assert_eq!(said(Some("-1"), None), None);
        let (then, now) = (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:48:37 GMT",
        );
        assert_eq!(said(Some(then), Some(now)), Some(60));
        assert_eq!(said(Some(now), Some(then)), Some(0));
        assert_eq!(said(Some(then), None), None);
    }

    fn answer(status: u16, range: Option<&str>, length: Option<&str>, asked: Asked<'_>) -> String {
        let said = Said {
            host: "h".to_owned(),
            status,
            at_home: true,
            range,
            length,
            ..Said::default()
        };
        match said.judge(asked) {
            Answer::Rest { size } => format!("rest of {size}"),
            Answer::Whole { size } => format!("whole {size:?}"),
            Answer::Anew(fault) => format!("anew: {fault}"),
            Answer::Fault(fault) => format!("fault: {fault}"),
            Answer::Final => "final".to_owned(),
        }
    }

    #[test]
    fn a_part_must_be_the_part_that_is_missing() {
        let asked = Asked {
            have: 10,
            size: Some(30),
            noted: None,
            etag: None,
        };
        assert_eq!(
            answer(206, Some("bytes 10-29/30"), Some("20"), asked),
            "rest of 30"
        );
        assert_eq!(
            answer(206, Some("bytes 10-19/*"), None, asked),
            "rest of 30"
        );
        for range in [
            "bytes 0-29/30",
            "bytes 11-29/30",
            "bytes 10-30/30",
            "bytes 10-29/31",
            "bytes 10-9/30",
            "bytes */30",
            "items 10-29/30",
            "bytes 10-29",
            "10-29/30",
            "",
            "bytes +10-29/30",
            "bytes 10-29/30, 5",
            "bytes 10-18446744073709551616/30",
        ] {
            assert!(
                answer(206, Some(range), None, asked).starts_with("fault"),
                "{range}"
            );
        }
        assert!(answer(206, Some("bytes 10-29/30"), Some("19"), asked).starts_with("fault"));
        assert!(answer(206, None, Some("20"), asked).starts_with("fault"));
    }

    #[test]
    fn a_size_that_only_a_server_said_is_given_up_when_another_says_otherwise() {
        let asked = Asked {
            have: 10,
            size: None,
            noted: Some(99),
            etag: None,
        };
        assert!(answer(206, Some("bytes 10-29/30"), None, asked).starts_with("anew"));
        assert_eq!(answer(200, None, Some("30"), asked), "whole Some(30)");
        assert_eq!(answer(200, None, None, asked), "whole None");
        assert!(answer(416, Some("bytes */5"), None, asked).starts_with("anew"));
    }

    proptest! {
        /// Every range that can be written is read back; a rest never reaches beyond the whole.
        #[test]
        fn ranges_are_read_as_they_are_written(first: u64, len in 1..=u64::MAX, over: u32, known: bool) {
            let last = first.saturating_add(len - 1);
            let total = known.then(|| last.saturating_add(1).saturating_add(u64::from(over)));
            let text = match total {
                Some(total) => format!("bytes {first}-{last}/{total}"),
                None => format!("bytes {first}-{last}/*"),
            };
            let sound = last < total.unwrap_or(u64::MAX);
            prop_assert_eq!(
                ContentRange::parse(&text),
                sound.then_some(ContentRange { first, last, total })
            );
        }

        /// No text of a server makes trouble, and what is accepted is the missing part.
        #[test]
        fn any_text_is_judged(
            range in "(bytes )?[0-9*/ +-]{0,12}(/[0-9]{1,3})?",
            length in proptest::option::of("[0-9]{1,3}|x"),
            have in 0_u64..50,
            status in prop_oneof![Just(200_u16), Just(206)],
        ) {
            let said = Said {
                host: "h".to_owned(), status, at_home: true,
                range: Some(&range), length: length.as_deref(), ..Said::default()
            };
            let asked = Asked { have, size: Some(50), noted: None, etag: None };
            match said.judge(asked) {
                Answer::Rest { size } => {
                    prop_assert_eq!((status, size), (206, 50));
                    let range = ContentRange::parse(&range).unwrap();
                    prop_assert!(range.first == have && range.last < 50);
                }
                Answer::Whole { size } => prop_assert_eq!((status, size), (200, Some(50))),
                _ => {}
            }
        }
    }
}
