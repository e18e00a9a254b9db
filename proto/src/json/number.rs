//! Numbers of ProtoJSON, in a string or not: integers exactly, also with a fraction or an exponent if the value is
//! whole (`1.795988707752e18`).

/// A whole number from 0 to 2^64 - 1.
#[inline]
pub(crate) fn unsigned(text: &[u8]) -> Option<u64> {
    match split_sign(text) {
        (Sign::Plus, magnitude_text) => magnitude(magnitude_text),
        (Sign::Minus, magnitude_text) => magnitude(magnitude_text).filter(|value| *value == 0),
    }
}

/// A whole number from 0 to 2^32 - 1.
#[inline]
pub(crate) fn unsigned_32(text: &[u8]) -> Option<u32> {
    unsigned(text).and_then(|value| value.try_into().ok())
}

/// A whole number from -2^63 to 2^63 - 1.
#[inline]
pub(crate) fn signed(text: &[u8]) -> Option<i64> {
    match split_sign(text) {
        (Sign::Plus, magnitude_text) => magnitude(magnitude_text)?.try_into().ok(),
        (Sign::Minus, magnitude_text) => 0_i64.checked_sub_unsigned(magnitude(magnitude_text)?),
    }
}

/// A finite number; `None` if it is too large for a double.
#[inline]
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

enum Sign {
    Plus,
    Minus,
}

fn split_sign(text: &[u8]) -> (Sign, &[u8]) {
    match text {
        [b'-', rest @ ..] => (Sign::Minus, rest),
        [b'+', rest @ ..] => (Sign::Plus, rest),
        _ => (Sign::Plus, text),
    }
}

/// The number of digits that always fit into 64 bits.
const SHORT: usize = 19;
/// A number with more digits never fits.
const MOST_DIGITS: i64 = 20;

#[inline]
fn magnitude(text: &[u8]) -> Option<u64> {
    if (1..=SHORT).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0')));
    }
    any_magnitude(text)
}

fn any_magnitude(text: &[u8]) -> Option<u64> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (&mantissa[..at], non_empty(&mantissa[at + 1..])?),
        None => (mantissa, &[][..]),
    };
    let digits = || non_empty(whole).into_iter().flatten().chain(fraction);
    if whole.is_empty() || !digits().all(u8::is_ascii_digit) {
        return None;
    }
    // Leading and trailing zeros are not counted; there may be many.
    let count = whole.len() + fraction.len();
    let Some(first) = digits().position(|digit| *digit != b'0') else { return Some(0) };
    let zeros_behind = digits().rev().take_while(|digit| **digit == b'0').count();
    let significant = count - first - zeros_behind;
    let scale = exponent.saturating_add(zeros_behind as i64).saturating_sub(fraction.len() as i64);
    let fits = (0..=MOST_DIGITS).contains(&scale) && scale.saturating_add(significant as i64) <= MOST_DIGITS;
    if !fits {
        return None;
    }
    let value = digits().skip(first).take(significant);
    let value = value.fold(0_u128, |value, digit| 10 * value + u128::from(digit - b'0'));
    u64::try_from(value * 10_u128.pow(scale as u32)).ok()
}

/// An exponent. One that is too large saturates, which makes no difference.
fn exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = split_sign(text);
    if non_empty(digits)?.iter().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    let add = |value: i64, digit: &u8| value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    let value = digits.iter().fold(0, add);
    Some(match sign {
        Sign::Plus => value,
        Sign::Minus => -value,
    })
}

fn non_empty(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_may_have_an_exponent() {
        for (text, value) in [
            ("1.795988707752e18", 1_795_988_707_752_000_000),
            ("1.795988707752E+18", 1_795_988_707_752_000_000),
            ("1795988707752000000", 1_795_988_707_752_000_000),
            ("0.5e1", 5),
            ("50e-1", 5),
            ("5.0", 5),
            ("1e0", 1),
            ("0e99999999999999999999", 0),
            ("0.000", 0),
            ("-0", 0),
            ("-0.0e5", 0),
            ("18446744073709551615", u64::MAX),
            ("1844674407370955161500e-2", u64::MAX),
            ("1.8446744073709551615e19", u64::MAX),
            ("9007199254740993e0", 9_007_199_254_740_993),
        ] {
            assert_eq!(unsigned(text.as_bytes()), Some(value), "{text}");
        }
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"-9.223372036854775808e18"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775807"), Some(i64::MAX));
    }

    #[test]
    fn fractions_and_overflows_are_none() {
        for text in [
            "",
            "-",
            "+",
            "1.5",
            "5e-1",
            "1.7959887077521e12",
            "18446744073709551616",
            "1e20",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "-1",
            "1e",
            "e5",
            ".5e1",
            "5.e1",
            "0x10",
            " 1",
            "1 ",
            "1_000",
            "--1",
            "1e1.0",
            "NaN",
        ] {
            assert_eq!(unsigned(text.as_bytes()), None, "{text}");
        }
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!(signed(b"-9223372036854775809"), None);
        assert_eq!(unsigned_32(b"4294967296"), None);
        assert_eq!(double(b"1e999"), None);
    }

    proptest! {
        #[test]
        fn the_place_of_the_point_does_not_matter(value: u64, point in 0_usize..30, zeros in 0_usize..5) {
            let digits = format!("{value}{}", "0".repeat(zeros));
            let padded = format!("{digits:0>31}");
            let (whole, fraction) = padded.split_at(padded.len() - point);
            let whole = whole.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let exponent = point as i64 - zeros as i64;
            let text = match point {
                0 => format!("{whole}e{exponent}"),
                _ => format!("{whole}.{fraction}E{exponent:+}"),
            };
            prop_assert_eq!(unsigned(text.as_bytes()), Some(value), "{}", text);
        }
    }
}
