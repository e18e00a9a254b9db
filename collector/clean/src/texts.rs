//! What becomes of single texts and values: redaction, keyed hashes, lengths, and names with IDs in them.

use std::sync::LazyLock;

use regex::Regex;
use ring::hmac;
use spandrel_detect::{hide, may_find, may_find_any};
use spandrel_proto::Detector;
use spandrel_proto::otlp::{AnyValue, SpanHead};

use crate::selector::{Selector, Subject};

/// What stands for a match of a pattern.
const REDACTED: &str = "[redacted]";
/// What ends a text that was cut.
const CUT: char = '…';
/// The digits of a hash: 128 bits.
const HASH_BYTES: usize = 16;

/// A value that takes the place of another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NewValue {
    Text(String),
    Bytes(Vec<u8>),
}

/// Hides what detectors and patterns find.
#[derive(Debug)]
pub(crate) struct Redaction {
    pub(crate) detectors: Vec<Detector>,
    pub(crate) patterns: Vec<Regex>,
    /// Where; `None` for every text.
    pub(crate) subjects: Option<Vec<Subject>>,
}

/// Replaces values by a keyed hash of them.
#[derive(Debug)]
pub(crate) struct Hashing {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) key: HashKey,
}

/// The key of a hash, which is never shown.
#[derive(Clone)]
pub struct HashKey(hmac::Key);

/// Replaces IDs in names by words for them.
#[derive(Debug)]
pub(crate) struct Folding {
    pub(crate) kinds: Vec<IdKind>,
    pub(crate) patterns: Vec<(Regex, String)>,
}

/// The IDs that are known by their form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdKind {
    Number,
    Uuid,
    Hex,
    Date,
}

static IDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r"(?x)
        (?P<uuid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})
        | (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T\x20][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?)
        | (?P<hex>[0-9a-fA-F]{8,})
        | (?P<number>[0-9]+)";
    Regex::new(pattern).ok()
});

// === impl Redaction ===

impl Redaction {
    /// The text with placeholders for what detectors and patterns find; `None` if they find nothing.
    pub(crate) fn text(&self, text: &str) -> Option<String> {
        let mut seen: Option<String> = None;
        // One look for all of them: most texts hold nothing.
        if self.patterns.is_empty() && !may_find_any(&self.detectors, text.as_bytes()) {
            return None;
        }
        for detector in &self.detectors {
            let now = seen.as_deref().unwrap_or(text);
            if may_find(*detector, now.as_bytes()) {
                seen = hide(*detector, now).or(seen);
            }
        }
        for pattern in &self.patterns {
            let now = seen.as_deref().unwrap_or(text);
            if pattern.is_match(now) {
                seen = Some(pattern.replace_all(now, REDACTED).into_owned());
            }
        }
        seen.filter(|seen| seen != text)
    }

    /// A quick look whether anything may be found in the texts of a span. `false` is sure.
    pub(crate) fn may_find(&self, span: &[u8]) -> bool {
        // IDs stand in front of the name, and are no texts.
        let texts = SpanHead::parse(span).map(|head| head.name.as_ptr() as usize - span.as_ptr() as usize);
        !self.patterns.is_empty() || may_find_any(&self.detectors, &span[texts.unwrap_or_default()..])
    }

    /// Whether numbers are looked at, too: they may be those of cards, and are not written in digits in a message.
    pub(crate) fn looks_at_numbers(&self) -> bool {
        self.detectors.contains(&Detector::Card)
    }

    pub(crate) fn value(&self, value: AnyValue<'_>) -> Option<NewValue> {
        match value {
            AnyValue::String(text) => self.text(text).map(NewValue::Text),
            AnyValue::Int(int) => self.number(int.unsigned_abs() >= SMALLEST_CARD, int),
            AnyValue::Double(double) => self.number(double.abs() >= SMALLEST_CARD as f64, double),
            AnyValue::Bytes(bytes) => self.bytes(bytes).map(NewValue::Bytes),
            _ => None,
        }
    }

    /// Only long numbers give something away, but a pattern may look for any.
    fn number(&self, is_long: bool, number: impl ToString) -> Option<NewValue> {
        let is_asked = is_long || !self.patterns.is_empty();
        is_asked.then(|| self.text(&number.to_string())).flatten().map(NewValue::Text)
    }

    /// The texts among bytes.
    fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut changed) = (Vec::new(), false);
        for chunk in bytes.utf8_chunks() {
            let seen = self.text(chunk.valid());
            changed |= seen.is_some();
            out.extend_from_slice(seen.as_deref().unwrap_or(chunk.valid()).as_bytes());
            out.extend_from_slice(chunk.invalid());
        }
        changed.then_some(out)
    }

    /// Whether it is about a text that is no attribute.
    pub(crate) fn is_about(&self, subject: Option<&Subject>) -> bool {
        match (&self.subjects, subject) {
            (None, _) => true,
            (Some(subjects), Some(subject)) => subjects.contains(subject),
            (Some(_), None) => false,
        }
    }
}

/// The smallest number of thirteen digits.
const SMALLEST_CARD: u64 = 1_000_000_000_000;

// === impl HashKey ===

impl HashKey {
    /// The fewest bytes of a key: a shorter one can be found by trying.
    pub const MIN_BYTES: usize = 16;

    /// A key for HMAC-SHA-256.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(format!("a key for hashes has at least {} bytes", Self::MIN_BYTES));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    fn hash(&self, bytes: &[u8]) -> NewValue {
        let tag = hmac::sign(&self.0, bytes);
        let digits = tag.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}"));
        NewValue::Text(digits.collect())
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey")
    }
}

// === impl Hashing ===

impl Hashing {
    /// The hash of a value by its text, so that a number and its text have the same.
    pub(crate) fn value(&self, value: AnyValue<'_>) -> Option<NewValue> {
        Some(match value {
            AnyValue::String(text) => self.key.hash(text.as_bytes()),
            AnyValue::Bool(flag) => self.key.hash(flag.to_string().as_bytes()),
            AnyValue::Int(int) => self.key.hash(int.to_string().as_bytes()),
            AnyValue::Double(double) => self.key.hash(double.to_string().as_bytes()),
            AnyValue::Bytes(bytes) => self.key.hash(bytes),
            AnyValue::Empty | AnyValue::Array(_) | AnyValue::KeyValues(_) => return None,
        })
    }
}

// === Lengths ===

/// The first characters of a text, so that it has `length` of them with the mark behind; `None` if it is that short.
pub(crate) fn cut(text: &str, length: usize) -> Option<String> {
    if text.len() <= length || text.chars().nth(length).is_none() {
        return None;
    }
    let end = text.char_indices().nth(length.saturating_sub(1)).map_or(0, |(at, _)| at);
    Some(format!("{}{CUT}", &text[..end]))
}

/// The same for a value; bytes have no mark.
pub(crate) fn cut_value(value: AnyValue<'_>, length: usize) -> Option<NewValue> {
    match value {
        AnyValue::String(text) => cut(text, length).map(NewValue::Text),
        AnyValue::Bytes(bytes) => {
            bytes.get(..length).filter(|cut| cut.len() < bytes.len()).map(|b| NewValue::Bytes(b.to_vec()))
        }
        _ => None,
    }
}

// === impl Folding ===

impl IdKind {
    pub(crate) const ALL: [Self; 4] = [Self::Number, Self::Uuid, Self::Hex, Self::Date];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Number => "numbers",
            Self::Uuid => "uuids",
            Self::Hex => "hex",
            Self::Date => "dates",
        }
    }

    fn placeholder(self) -> &'static str {
        match self {
            Self::Number => "{id}",
            Self::Uuid => "{uuid}",
            Self::Hex => "{hex}",
            Self::Date => "{date}",
        }
    }
}

impl Folding {
    /// The name with words for its IDs; `None` if it has none.
    pub(crate) fn name(&self, name: &str) -> Option<String> {
        let mut folded: Option<String> = None;
        for (pattern, with) in &self.patterns {
            let now = folded.as_deref().unwrap_or(name);
            if pattern.is_match(now) {
                folded = Some(pattern.replace_all(now, with).into_owned());
            }
        }
        let now = folded.as_deref().unwrap_or(name);
        if !self.kinds.is_empty() && may_hold_id(now) {
            folded = self.known_forms(now).or(folded);
        }
        folded.filter(|folded| folded != name)
    }

    fn known_forms(&self, name: &str) -> Option<String> {
        let (mut out, mut kept) = (String::new(), 0);
        for found in IDS.as_ref()?.captures_iter(name) {
            let (whole, text) = (found.get_match(), found.get_match().as_str());
            let kind = if found.name("uuid").is_some() {
                IdKind::Uuid
            } else if found.name("date").is_some() {
                IdKind::Date
            } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
                IdKind::Number
            } else {
                IdKind::Hex
            };
            let is_word = kind == IdKind::Hex && !text.bytes().any(|byte| byte.is_ascii_digit());
            if is_word || !self.kinds.contains(&kind) || !stands_alone(name, whole.range(), kind) {
                continue;
            }
            out.push_str(&name[kept..whole.start()]);
            out.push_str(kind.placeholder());
            kept = whole.end();
        }
        (kept > 0).then(|| out + &name[kept..])
    }
}

/// A quick look whether a name may hold an ID that is known by its form. `false` is sure: a name with one has a digit, and
/// a word of nothing but hexadecimal digits, as is each part of an ID; a word with a letter like `v1` is none.
fn may_hold_id(name: &str) -> bool {
    let is_id = |word: &[u8]| {
        word.iter().all(u8::is_ascii_hexdigit) && (word.len() >= 8 || word.iter().any(u8::is_ascii_digit))
    };
    name.bytes().any(|byte| byte.is_ascii_digit())
        && name
            .as_bytes()
            .split(|byte| !byte.is_ascii_alphanumeric())
            .any(|word| !word.is_empty() && is_id(word))
}

/// Whether an ID is a part of its own: `4711` in `/user/4711` and `user-4711`, but not in `v4711`, `1.4711` and
/// `oauth2`. Where short numbers are usual, only long ones are IDs: `retry 3`, `step-1`.
fn stands_alone(name: &str, range: std::ops::Range<usize>, kind: IdKind) -> bool {
    let before = name[..range.start].chars().next_back();
    let mut rest = name[range.end..].chars();
    let after = rest.next();
    let glued = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    if glued(before) || glued(after) {
        return false;
    }
    if kind != IdKind::Number {
        return true;
    }
    let is_fraction =
        after == Some('.') && rest.next().is_some_and(|c| c.is_ascii_digit()) || before == Some('.');
    let fewest = match (before, after) {
        (Some('/' | '=' | ':' | '(' | '[' | '#' | ','), _) => 1,
        (Some('-' | '_'), _) | (_, Some('-' | '_')) => 3,
        _ => 4,
    };
    !is_fraction && range.len() >= fewest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_ids_and_nothing_else() {
        let all = Folding { kinds: IdKind::ALL.to_vec(), patterns: Vec::new() };
        for (name, folded) in [
            ("/user/4711", "/user/{id}"),
            ("GET /user/7/orders/12?page=3", "GET /user/{id}/orders/{id}?page={id}"),
            ("user-4711", "user-{id}"),
            ("/o/0b9e3c1a-1f2d-4c3b-8a79-5d6e7f809a1b/x", "/o/{uuid}/x"),
            ("/blob/3f786850e387550fdab836ed7e6dc881de23001b", "/blob/{hex}"),
            ("report 2026-12-01", "report {date}"),
            ("at 2026-12-01T10:11:12.5Z end", "at {date} end"),
            ("job 123456", "job {id}"),
        ] {
            assert_eq!(all.name(name).as_deref(), Some(folded), "{name}");
        }
        for name in [
            "GET /v1/users",
            "HTTP/1.1",
            "oauth2 callback",
            "retry 3",
            "HTTP 404",
            "step-1",
            "/facade",
            "",
            "é4711",
        ] {
            assert_eq!(all.name(name), None, "{name}");
        }
        let own = Folding {
            kinds: Vec::new(),
            patterns: vec![(Regex::new("/u/[^/]+").unwrap(), "/u/{name}".to_owned())],
        };
        assert_eq!(own.name("/u/ada/4").as_deref(), Some("/u/{name}/4"));
    }

    #[test]
    fn the_quick_look_at_names_rules_out_no_id() {
        let all = Folding { kinds: IdKind::ALL.to_vec(), patterns: Vec::new() };
        let pieces = [
            "/",
            "-",
            "_",
            " ",
            "v1",
            "4711",
            "7",
            "2026-12-01",
            "T10:11:12Z",
            "T10",
            "abcdefab",
            "ab",
            "é",
            ".",
            ":",
            "0b9e3c1a-1f2d-4c3b-8a79-5d6e7f809a1b",
            "abcdefab-abcd-abcd-abcd-abcdefabcdef",
            "GET",
            "+02:00",
        ];
        let count = pieces.len();
        for number in 0..count.pow(4) {
            let digits = [number, number / count, number / count.pow(2), number / count.pow(3)];
            let name = digits.map(|digit| pieces[digit % count]).concat();
            let has_digit = name.bytes().any(|byte| byte.is_ascii_digit());
            assert!(may_hold_id(&name) || !has_digit || all.known_forms(&name).is_none(), "{name}");
        }
        assert!(!may_hold_id("GET /api/v1/users") && !may_hold_id("oauth2 callback"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("grüße", 4).as_deref(), Some("grü…"));
        assert_eq!(cut("grüße", 5), None);
        assert_eq!(cut("ab", 1).as_deref(), Some("…"));
        assert_eq!(cut("", 1), None);
    }

    #[test]
    fn redaction_reaches_numbers_and_bytes() {
        let redaction = Redaction {
            detectors: vec![Detector::Card, Detector::Mail],
            patterns: Vec::new(),
            subjects: None,
        };
        assert_eq!(
            redaction.value(AnyValue::Int(4111111111111111)),
            Some(NewValue::Text("[card]".to_owned()))
        );
        assert_eq!(redaction.value(AnyValue::Int(42)), None);
        assert_eq!(
            redaction.value(AnyValue::Bytes(b"\xffada@example.org\xfe")),
            Some(NewValue::Bytes(b"\xff[mail]\xfe".to_vec()))
        );
    }
}
