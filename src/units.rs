//! Durations and sizes in flags and in the configuration file: `30s`, `7d`, `64MiB`.

use std::time::Duration;

/// Windows are hours, so a shorter retention would remove spans that have just arrived.
const MIN_RETENTION: Duration = Duration::from_secs(3600);
/// A longer duration is a typing mistake, and adding it to a time may overflow: a hundred of humantime's years.
const MAX_DURATION: Duration = Duration::from_secs(100 * 31_557_600);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Parses `30s`, `5m`, `12h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let allowed = "allowed is a number with a unit, like 30s, 5m, 12h or 7d, up to 100y";
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; {allowed}"))?;
    if duration > MAX_DURATION { Err(allowed.to_owned()) } else { Ok(duration) }
}

/// Parses a duration of at least an hour.
pub(crate) fn parse_retention(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < MIN_RETENTION {
        return Err("allowed is 1h and more: data goes by whole hours".to_owned());
    }
    Ok(duration)
}

/// Parses `200GB`, `64 KiB` or a number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let unit = SIZE_UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit) = unit.unwrap_or((text, 1));
    number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit))
}

/// Writes a duration as one word that [`parse_duration`] reads again.
pub(crate) fn duration_word(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in
            [("1", 1), ("200GB", 200_000_000_000), ("1 KiB", 1024), ("7B", 7), ("2TiB", 2 << 40)]
        {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for wrong in ["", "-1", "1.5GB", "5 apples", "99999999TiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["30s", "1h", "1day", "90days", "1s500ms"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&duration_word(duration)), Ok(duration), "{text}");
        }
        assert!(parse_duration("101y").unwrap_err().contains("100y"));
        assert!(parse_retention("59m").unwrap_err().contains("1h and more"));
    }
}
