//! Points in time as query parameters: RFC 3339, `now`, `now-1h`, Unix seconds or nanoseconds.

use jiff::Timestamp;
use spandrel_proto::{TimeRange, UnixNanos};

use crate::duration::{self, SECOND, parse_duration, scaled_decimal};
use crate::problem::Problem;

/// The length of a range that names no start: an hour up to now.
pub(crate) const DEFAULT_LOOKBACK: u64 = 3_600 * SECOND;

/// The allowed notations, for error texts.
const ALLOWED: &str = "RFC 3339 like 2026-01-31T12:00:00Z, now, now-1h, Unix seconds (up to 11 digits) or Unix nanoseconds (18 digits or more)";

/// Parses one point in time. A time before 1970 or after 2554, which no span can have, becomes the first or the last
/// possible one: the range means the same.
pub(crate) fn parse_time(text: &str, now: UnixNanos) -> Result<UnixNanos, String> {
    if let Some(rest) = text.strip_prefix("now") {
        return relative_to(now, rest).ok_or_else(|| {
            format!("{text:?} is not a time: behind now- stands a duration ({})", duration::ALLOWED)
        });
    }
    let whole = text.split('.').next().unwrap_or(text);
    if !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit()) {
        return parse_number(text, whole.len());
    }
    rfc3339(text).ok_or_else(|| format!("{text:?} is not a time; allowed: {ALLOWED}"))
}

/// The half-open range from `start` to `end`.
pub(crate) fn range(start: Option<&str>, end: Option<&str>, now: UnixNanos) -> Result<TimeRange, TimeError> {
    let end = end.map(|text| parse_time(text, now)).transpose().map_err(|e| TimeError("end", e))?;
    let given = start.map(|text| parse_time(text, now)).transpose().map_err(|e| TimeError("start", e))?;
    let start = given.unwrap_or(UnixNanos(now.0.saturating_sub(DEFAULT_LOOKBACK)));
    match end {
        Some(end) if end < start && given.is_none() => Err(TimeError(
            "start",
            "without start the range begins at now-1h, which is after end; give a start before end"
                .to_owned(),
        )),
        Some(end) if end < start => {
            Err(TimeError("start", "start is after end; give a start before end".to_owned()))
        }
        end => Ok(TimeRange { start, end }),
    }
}

/// The name of the wrong parameter, and the error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimeError(&'static str, String);

impl From<TimeError> for Problem {
    fn from(error: TimeError) -> Self {
        Self::parameter(error.0, error.1).allowing(ALLOWED)
    }
}

fn relative_to(now: UnixNanos, rest: &str) -> Option<UnixNanos> {
    if rest.is_empty() {
        return Some(now);
    }
    let back = parse_duration(rest.strip_prefix('-')?)?;
    Some(UnixNanos(now.0.saturating_sub(back)))
}

fn parse_number(text: &str, digits: usize) -> Result<UnixNanos, String> {
    match digits {
        ..=11 => scaled_decimal(text, SECOND)
            .or_else(|| scaled_decimal(text, 1).map(|_| u64::MAX))
            .map(UnixNanos)
            .ok_or_else(|| format!("{text:?} is not a time; allowed: {ALLOWED}")),
        18.. if !text.contains('.') => Ok(UnixNanos(text.parse().unwrap_or(u64::MAX))),
        18.. => Err(format!("{text} has a fraction, which nanoseconds cannot have; allowed: {ALLOWED}")),
        _ => Err(ambiguous(text)),
    }
}

/// The error for milliseconds and microseconds: a wrong guess would search the wrong century.
fn ambiguous(text: &str) -> String {
    let whole = text.split('.').next().unwrap_or(text);
    let number: i128 = whole.parse().unwrap_or(i128::MAX);
    let nanos = Timestamp::from_nanosecond(number).map_or_else(|_| "no date".to_owned(), |t| t.to_string());
    let year = 1970 + number / 31_556_952;
    format!(
        "{text} is ambiguous: read as Unix seconds it is the year {year}, read as Unix nanoseconds it is {nanos}; \
         write seconds with up to 11 digits or nanoseconds with 18 digits or more"
    )
}

fn rfc3339(text: &str) -> Option<UnixNanos> {
    // A plus sign that was not escaped in the URL arrives as a space.
    let text = match text.rfind(' ') {
        Some(at) if at >= "2026-01-31T12:00".len() => format!("{}+{}", &text[..at], &text[at + 1..]),
        _ => text.to_owned(),
    };
    let nanos = text.parse::<Timestamp>().ok()?.as_nanosecond().clamp(0, i128::from(u64::MAX));
    u64::try_from(nanos).ok().map(UnixNanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

    #[test]
    fn every_notation_is_read_exactly() {
        let check =
            |text: &str, nanos: u64| assert_eq!(parse_time(text, NOW), Ok(UnixNanos(nanos)), "{text}");
        check("now", NOW.0);
        check("now-1h", NOW.0 - 3_600 * SECOND);
        check("now-1h30m", NOW.0 - 5_400 * SECOND);
        check("now-500y", 0);
        check("0", 0);
        check("1700000000", 1_700_000_000 * SECOND);
        check("1700000000.123456789", 1_700_000_000_123_456_789);
        check("16725225600", 16_725_225_600 * SECOND);
        check("1700000000123456789", 1_700_000_000_123_456_789);
        check("18446744073709551615", u64::MAX);
        check("18446744073709551616", u64::MAX);
        check("99999999999", u64::MAX);
        check("99999999999.5", u64::MAX);
        check("9999-12-01T00:00:00Z", u64::MAX);
        check("1969-12-31T23:59:59Z", 0);
        check("1970-01-01T00:00:00Z", 0);
        check("2023-11-14T22:13:20.000000001Z", 1_700_000_000_000_000_001);
        check("2023-11-14T23:13:20+01:00", 1_700_000_000 * SECOND);
        check("2023-11-14T23:13:20 01:00", 1_700_000_000 * SECOND);
        check("2500-01-01T00:00:00Z", 16_725_225_600 * SECOND);
    }

    #[test]
    fn what_lies_between_names_both_readings() {
        let error = parse_time("1700000000000", NOW).unwrap_err();
        assert!(error.contains("seconds it is the year 55840"), "{error}");
        assert!(error.contains("nanoseconds it is 1970-01-01T00:28:20Z"), "{error}");
        for text in ["170000000000", "17000000000000000", "1700000000000.5"] {
            assert!(parse_time(text, NOW).unwrap_err().contains("ambiguous"), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "yesterday", "now-", "now+1h", "now-1", "-5", "1.", "99999999999.x"] {
            assert!(parse_time(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_have_their_defaults() {
        assert_eq!(
            range(None, None, NOW),
            Ok(TimeRange { start: UnixNanos(NOW.0 - DEFAULT_LOOKBACK), end: None })
        );
        assert_eq!(range(Some("5"), Some("5"), NOW).unwrap().end, Some(UnixNanos(5 * SECOND)));
        assert_eq!(range(Some("6"), Some("5"), NOW).unwrap_err().0, "start");
        assert_eq!(range(None, Some("5"), NOW).unwrap_err().0, "start");
        assert_eq!(range(None, Some("x"), NOW).unwrap_err().0, "end");
    }
}
