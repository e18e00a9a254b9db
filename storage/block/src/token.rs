//! Tokens: hashes of attributes, from which Bloom filters tell which blocks may contain an attribute.
//!
//! An attribute has a token for its key and one for key and value; an array has one for key and each element. Numbers
//! are normalised first, because a query compares numbers whatever their type. The hash is part of the stored format:
//! it must not change within a format version.

use spandrel_proto::otlp::AnyValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A hash of an attribute's key, or of its key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// A number in normal form, so that equal numbers of different types compare equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number between -2^63 and 2^63 - 1.
    Int(i64),
    /// Any other.
    Double(f64),
}

// === impl Number ===

impl Number {
    /// Normalises a double: whole numbers become integers.
    pub fn of_double(double: f64) -> Self {
        // 2^63 itself does not fit; -2^63 does.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if double.fract() == 0.0 && (-LIMIT..LIMIT).contains(&double) {
            Self::Int(double as i64)
        } else {
            Self::Double(double)
        }
    }

    /// The number that a text is the canonical form of: the digits that Rust writes of an integer, or of a finite
    /// double. `007`, `3.0` and `1e3` are texts.
    pub fn of_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        // Most texts end here.
        if !digits.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        if let Ok(int) = text.parse::<i64>()
            && int.to_string() == text
        {
            return Some(Self::Int(int));
        }
        let double: f64 = text.parse().ok().filter(|double: &f64| double.is_finite())?;
        (double.to_string() == text).then(|| Self::of_double(double))
    }

    /// The texts that are canonical forms of the number.
    pub fn texts(self) -> Vec<String> {
        match self {
            // The double -0.0 has a form of its own.
            Self::Int(0) => vec!["0".to_owned(), "-0".to_owned()],
            Self::Int(int) => vec![int.to_string()],
            Self::Double(double) if double.is_finite() => vec![double.to_string()],
            Self::Double(_) => Vec::new(),
        }
    }
}

// === impl Token ===

impl Token {
    /// The token of a key, whatever the value.
    pub fn of_key(key: &str) -> Self {
        Self::of_key_bytes(key.as_bytes())
    }

    pub(crate) fn of_key_bytes(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    /// The token of pages that have attributes kept as bytes, which may have any key and value.
    pub const IRREGULAR: Self = Self(0x1b7e_5c0d_93a8_f246);

    /// The token of this key with a text.
    pub fn with_string(self, value: &str) -> Self {
        self.with_bytes(value.as_bytes())
    }

    pub(crate) fn with_bytes(self, value: &[u8]) -> Self {
        Self(xxh3_64_with_seed(value, self.0))
    }

    /// The token of this key with a number.
    pub fn with_number(self, value: Number) -> Self {
        match value {
            Number::Int(int) => Self(mix(self.0 ^ 1, int as u64)),
            Number::Double(double) => Self(mix(self.0 ^ 2, double.to_bits())),
        }
    }

    /// The token of this key with a truth value.
    pub fn with_bool(self, value: bool) -> Self {
        Self(mix(self.0 ^ 3, u64::from(value)))
    }

    /// The tokens of this key with a value: one for each element of an array, none for types that queries do not
    /// compare.
    pub fn with_value(self, value: AnyValue<'_>) -> impl Iterator<Item = Self> {
        let (one, elements) = match value {
            AnyValue::Array(message) => (None, message),
            one => (Some(one), &[][..]),
        };
        let elements = AnyValue::array_items(elements).map_while(Result::ok);
        one.into_iter().chain(elements).filter_map(move |value| self.with_scalar(value))
    }

    fn with_scalar(self, value: AnyValue<'_>) -> Option<Self> {
        match value {
            AnyValue::String(text) => Some(self.with_string(text)),
            AnyValue::Bool(flag) => Some(self.with_bool(flag)),
            AnyValue::Int(int) => Some(self.with_number(Number::Int(int))),
            AnyValue::Double(double) => Some(self.with_number(Number::of_double(double))),
            AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) | AnyValue::Empty => None,
        }
    }
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        let key = Token::of_key("n");
        assert_eq!(key.with_scalar(AnyValue::Int(3)), key.with_scalar(AnyValue::Double(3.0)));
        assert_ne!(key.with_scalar(AnyValue::Int(3)), key.with_scalar(AnyValue::Double(3.5)));
        assert_ne!(key.with_scalar(AnyValue::Int(1)), key.with_scalar(AnyValue::Bool(true)));
        assert_eq!(Number::of_double(f64::INFINITY), Number::Double(f64::INFINITY));
        assert_eq!(Number::of_double(-9_223_372_036_854_775_808.0), Number::Int(i64::MIN));
        assert_eq!(
            Number::of_double(9_223_372_036_854_775_808.0),
            Number::Double(9_223_372_036_854_775_808.0)
        );
    }

    #[test]
    fn texts_of_one_form_are_numbers() {
        let numbers = [
            ("0", Number::Int(0)),
            ("-0", Number::Int(0)),
            ("42", Number::Int(42)),
            ("-7", Number::Int(-7)),
            ("9223372036854775807", Number::Int(i64::MAX)),
            ("0.5", Number::Double(0.5)),
            ("-2.25", Number::Double(-2.25)),
            ("10000000000000000000", Number::Double(1e19)),
            ("1", Number::of_double(1.0)),
        ];
        for (text, number) in numbers {
            assert_eq!(Number::of_text(text), Some(number), "{text}");
            assert!(number.texts().contains(&text.to_owned()), "{text}");
        }
        let texts =
            ["", "-", "+1", "01", "1.0", "1e3", " 1", "1 ", "0x1", "inf", "NaN", "-inf", "1_000", ".5", "5."];
        assert!(texts.iter().all(|text| Number::of_text(text).is_none()));
        assert_eq!(Number::of_double(f64::NAN).texts(), [""; 0]);
    }

    #[test]
    fn an_array_has_the_tokens_of_its_elements() {
        let key = Token::of_key("tags");
        let tokens = |value| key.with_value(value).collect::<Vec<_>>();
        // A text, a number, an empty value, an array of a text.
        let array = [10, 3, 10, 1, b'a', 10, 2, 24, 7, 10, 0, 10, 7, 42, 5, 10, 3, 10, 1, b'b'];
        let elements = [key.with_string("a"), key.with_number(Number::Int(7))];
        assert_eq!(tokens(AnyValue::Array(&array)), elements);
        assert_eq!(tokens(AnyValue::String("a")), elements[..1]);
        assert_eq!(tokens(AnyValue::Array(&[])), []);
        assert_eq!(tokens(AnyValue::Array(&[10, 9])), [], "damaged");
    }

    #[test]
    fn frozen_version_1() {
        let key = Token::of_key("http.route");
        let all = [key, key.with_string("/cart"), key.with_number(Number::Int(500)), key.with_bool(true)];
        assert_eq!(
            all.map(|token| format!("{:016x}", token.0)),
            ["bc08780c7db743b8", "28cf6ec936235aa4", "7786ed55226b8e12", "041de13078ed276c"]
        );
    }
}
