//! Lengths of time as people write them: `250ms`, `1.5s`, `1h30m`.
//!
//! Shared by TraceQL literals, `now-1h` and the `step` of aggregates. Points in time are in
//! [`crate::times`].

/// The length of each unit in nanoseconds.
const UNITS: [(&str, u64); 11] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
    ("w", 7 * 86_400 * SECOND),
    ("y", 365 * 86_400 * SECOND),
];

/// One second in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// The allowed notation, for error texts.
pub(crate) const ALLOWED: &str = "a number with one of the units ns us ms s m h d w y, like 250ms or 1h30m";

/// Reads one or more numbers with units; `None` when the text is anything else or too long for 64 bits.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let &(_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled_decimal(number, worth)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

/// A decimal number times a whole one, exactly, rounded down.
pub(crate) fn scaled_decimal(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut part = 0u128;
    let mut place = u128::from(scale) * FINEST;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        part += place * u128::from(digit - b'0');
    }
    whole.checked_add(u64::try_from(part / FINEST).ok()?)
}

/// Fractions are scaled with eighteen decimal places; further digits are ignored.
const FINEST: u128 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let check = |text, nanos| assert_eq!(parse_duration(text), nanos, "{text}");
        check("100ms", Some(100_000_000));
        check("1.5s", Some(1_500_000_000));
        check("0.0000000019s", Some(1));
        check("1h30m", Some(5_400 * SECOND));
        check("100us", Some(100_000));
        check("100\u{b5}s", Some(100_000));
        check("100\u{3bc}s", Some(100_000));
        check("7d", Some(604_800 * SECOND));
        check("18446744073709551615ns", Some(u64::MAX));
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "5", "s", "1.s", ".5s", "1..5s", "1M", "1 s", "-1s", "18446744073709551616ns", "600y"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
