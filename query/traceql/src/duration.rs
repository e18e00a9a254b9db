//! Lengths of time as queries write them: `250ms`, `1.5s`, `1h30m`. Signs belong to the parser.

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

const SECOND: u64 = 1_000_000_000;

/// The allowed notation, for error texts.
pub(crate) const ALLOWED: &str = "a number with one of the units ns us ms s m h d w y, like 250ms or 1h30m";

/// Reads one or more numbers with units; `None` when the text is anything else or too long for 63 bits.
pub(crate) fn read(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let &(_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, worth)?)?;
        rest = next;
    }
    i64::try_from(total).ok().filter(|_| !text.is_empty())
}

/// A decimal number times a whole one, exactly, rounded down.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut part = 0u128;
    let mut place = u128::from(scale) * FINEST;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        part += place * u128::from(digit - b'0');
    }
    whole.checked_mul(scale)?.checked_add(u64::try_from(part / FINEST).ok()?)
}

/// Fractions are scaled with eighteen decimal places; further digits are ignored.
const FINEST: u128 = 1_000_000_000_000_000_000;

/// Writes a duration so that [`read`] gives the same nanoseconds: `1h30m`, `1.5s`, `250ms`.
pub(crate) fn write(nanos: u64) -> String {
    let (hours, rest) = (nanos / (3_600 * SECOND), nanos % (3_600 * SECOND));
    let (minutes, rest) = (rest / (60 * SECOND), rest % (60 * SECOND));
    let mut text = String::new();
    for (count, unit) in [(hours, "h"), (minutes, "m")] {
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if rest > 0 || text.is_empty() {
        let (unit, worth) = match rest {
            1..1_000 => ("ns", 1),
            1_000..1_000_000 => ("us", 1_000),
            1_000_000..SECOND => ("ms", 1_000_000),
            _ => ("s", SECOND),
        };
        text += &format!("{}{unit}", decimal(rest, worth));
    }
    text
}

/// `nanos / worth` without an error of rounding.
fn decimal(nanos: u64, worth: u64) -> String {
    let (whole, part) = (nanos / worth, nanos % worth);
    if part == 0 {
        return whole.to_string();
    }
    // The digits of `worth` without its leading one are the places of the fraction.
    let places = worth.ilog10() as usize;
    format!("{whole}.{}", format!("{part:0places$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let check = |text, nanos| assert_eq!(read(text), nanos, "{text}");
        check("100ms", Some(100_000_000));
        check("1.5s", Some(1_500_000_000));
        check(".5s", Some(500_000_000));
        check("0.0000000019s", Some(1));
        check("1h30m", Some(5_400_000_000_000));
        check("30m1h", Some(5_400_000_000_000));
        check("100\u{b5}s", Some(100_000));
        check("100\u{3bc}s", Some(100_000));
        check("1w2d", Some(777_600_000_000_000));
        check("9223372036854775807ns", Some(i64::MAX));
        for text in ["", "5", "s", ".s", "1..5s", "1M", "1 s", "-1s", "9223372036854775808ns", "600y"] {
            check(text, None);
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let check = |nanos, text| {
            assert_eq!(write(nanos), text);
            assert_eq!(read(text), i64::try_from(nanos).ok());
        };
        check(0, "0s");
        check(1, "1ns");
        check(1_500, "1.5us");
        check(250_000_000, "250ms");
        check(1_000_000_001, "1.000000001s");
        check(90_000_000_000, "1m30s");
        check(5_400_000_000_000, "1h30m");
        check(9_223_372_036_854_775_807, "2562047h47m16.854775807s");
    }
}
