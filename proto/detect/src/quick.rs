//! A quick look whether detectors may find something among bytes, be they a text or a message of many. `false` is sure:
//! whatever a pattern finds, it finds behind one of the words here, or around one of the characters.
//!
//! All words of tokens, phone numbers and private keys are looked for in one pass, with their letters in lower case; what is behind a
//! word decides whether it counts, because `token`, `task-` and `tel` are parts of many names.

use std::cell::RefCell;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind, packed};
use memchr::{memchr_iter, memchr2_iter};
use spandrel_proto::Detector;

use crate::card;

/// What has to stand behind a word.
#[derive(Debug, Clone, Copy)]
enum Behind {
    /// `=` or `:`, behind quotes and spaces.
    Assignment,
    /// The same behind a word for number, as in `tel-no: `.
    PhoneAssignment,
    /// Spaces and a token.
    Scheme,
    /// So many characters of a token; the word itself is written so.
    Token(&'static [u8], usize),
    /// The same, and no letter or digit in front of the word.
    TokenAlone(&'static [u8], usize),
    /// A letter for the kind of key, `-` and a token.
    Slack,
    /// Capitals and digits.
    AccessKey(&'static [u8]),
    /// Two parts with a dot behind each.
    Jwt,
    /// The word is enough, as it is written here.
    Anything(&'static [u8]),
}

/// Words in lower case. None begins with another.
const WORDS: [(&str, Behind); 42] = [
    ("password", Behind::Assignment),
    ("passwd", Behind::Assignment),
    ("pwd", Behind::Assignment),
    ("secret", Behind::Assignment),
    ("token", Behind::Assignment),
    ("apikey", Behind::Assignment),
    ("api_key", Behind::Assignment),
    ("api-key", Behind::Assignment),
    ("accesskey", Behind::Assignment),
    ("access_key", Behind::Assignment),
    ("access-key", Behind::Assignment),
    ("bearer", Behind::Scheme),
    ("basic", Behind::Scheme),
    ("spdr_", Behind::Token(b"spdr_", 10)),
    ("ghp_", Behind::Token(b"ghp_", 10)),
    ("gho_", Behind::Token(b"gho_", 10)),
    ("ghu_", Behind::Token(b"ghu_", 10)),
    ("ghs_", Behind::Token(b"ghs_", 10)),
    ("ghr_", Behind::Token(b"ghr_", 10)),
    ("github_pat_", Behind::Token(b"github_pat_", 10)),
    ("glpat-", Behind::Token(b"glpat-", 10)),
    ("k_live_", Behind::Token(b"k_live_", 10)),
    ("k_test_", Behind::Token(b"k_test_", 10)),
    ("dckr_pat_", Behind::Token(b"dckr_pat_", 10)),
    ("hvs.", Behind::Token(b"hvs.", 10)),
    ("aiza", Behind::Token(b"AIza", 10)),
    ("sk-", Behind::TokenAlone(b"sk-", 20)),
    ("npm_", Behind::Token(b"npm_", 20)),
    ("sg.", Behind::Token(b"SG.", 20)),
    ("xox", Behind::Slack),
    ("akia", Behind::AccessKey(b"AKIA")),
    ("asia", Behind::AccessKey(b"ASIA")),
    ("eyj", Behind::Jwt),
    // Of phone numbers from here.
    ("phone", Behind::PhoneAssignment),
    ("mobile", Behind::PhoneAssignment),
    ("telefon", Behind::PhoneAssignment),
    ("handy", Behind::PhoneAssignment),
    ("tel", Behind::PhoneAssignment),
    ("fax", Behind::PhoneAssignment),
    ("msisdn", Behind::PhoneAssignment),
    // Of private keys from here.
    ("private key", Behind::Anything(b"PRIVATE KEY")),
    ("age-secret", Behind::Anything(b"AGE-SECRET")),
];
/// The first of [`WORDS`] that is of phone numbers.
const PHONE_WORDS: usize = 33;
/// The first one that is of private keys.
const KEY_WORDS: usize = 40;
/// Digits of an American phone number.
const AMERICAN_DIGITS: u32 = 10;
/// Digits of an international one, at the least.
const INTERNATIONAL_DIGITS: usize = 8;
/// The shortest text that is searched several bytes at a time.
const PACKED_BYTES: usize = 64;
/// A longer buffer is given back.
const KEPT_BYTES: usize = 64 << 10;

/// Finds words: several bytes at a time where the machine can, else one by one.
enum Searcher {
    Packed(packed::Searcher),
    Plain(AhoCorasick),
    /// None could be made, so nothing is sure.
    Missing,
}

static SEARCHER: LazyLock<Searcher> = LazyLock::new(|| {
    let words = WORDS.map(|(word, _)| word);
    let packed =
        packed::Config::new().match_kind(packed::MatchKind::LeftmostFirst).builder().extend(words).build();
    if let Some(packed) = packed {
        return Searcher::Packed(packed);
    }
    let plain = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(words);
    plain.map_or(Searcher::Missing, Searcher::Plain)
});

thread_local! {
    static LOWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether any of these detectors may find something, but for those of cards and of addresses of both kinds.
pub(super) fn may_hold_words(bytes: &[u8], detectors: &[Detector]) -> bool {
    let wanted = [Detector::Token, Detector::Phone, Detector::Key].map(|of| detectors.contains(&of));
    let [token, phone, _] = wanted;
    if wanted == [false; 3] {
        return false;
    }
    token && may_hold_url_secret(bytes)
        || phone && (may_hold_international(bytes) || may_hold_american(bytes))
        || has_word(bytes, wanted)
}

fn has_word(bytes: &[u8], [token, phone, key]: [bool; 3]) -> bool {
    LOWER.with_borrow_mut(|lower| {
        lower.clear();
        lower.extend(bytes.iter().map(u8::to_ascii_lowercase));
        // Shorter texts would be searched one byte at a time. No word has a zero byte.
        lower.resize(lower.len().max(PACKED_BYTES), 0);
        let mut from = 0;
        let found = loop {
            let found = match &*SEARCHER {
                Searcher::Packed(searcher) => searcher
                    .find_in(&*lower, (from..lower.len()).into())
                    .map(|found| (found.pattern().as_usize(), found.start(), found.end())),
                Searcher::Plain(searcher) => searcher
                    .find(Input::new(&*lower).span(from..lower.len()))
                    .map(|found| (found.pattern().as_usize(), found.start(), found.end())),
                Searcher::Missing => break true,
            };
            let Some((word, start, end)) = found else { break false };
            let is_wanted = match word {
                0..PHONE_WORDS => token,
                PHONE_WORDS..KEY_WORDS => phone,
                _ => key,
            };
            if is_wanted && WORDS[word].1.follows(bytes, start, end) {
                break true;
            }
            // A word may begin inside another.
            from = start + 1;
        };
        if lower.capacity() > KEPT_BYTES {
            *lower = Vec::new();
        }
        found
    })
}

// === impl Behind ===

impl Behind {
    fn follows(self, bytes: &[u8], start: usize, end: usize) -> bool {
        let rest = &bytes[end..];
        match self {
            Self::Assignment => is_assignment(rest),
            Self::PhoneAssignment => {
                let rest = rest.strip_prefix(b"_").or(rest.strip_prefix(b"-")).unwrap_or(rest);
                let words = [&b"number"[..], b"no", b"nr"].into_iter();
                let begins = |word: &&[u8]| {
                    rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
                };
                let number = words.filter(begins).map(<[u8]>::len).max().unwrap_or_default();
                is_assignment(&rest[number..])
            }
            Self::Scheme => {
                let spaces = count(rest, |byte| is_space(byte) || matches!(byte, b'+' | b'%' | b'2' | b'0'));
                let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte);
                // What stands for a space may be a part of the token, too.
                spaces > 0
                    && (rest.iter().any(|byte| !byte.is_ascii())
                        || spaces + count(&rest[spaces..], is_token) > 8)
            }
            Self::Token(word, fewest) => {
                bytes[start..].starts_with(word) && count(rest, is_of_token) >= fewest
            }
            Self::TokenAlone(word, fewest) => {
                let is_glued = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                // One such byte may be the length of the text in a message, but not two.
                let is_glued = start >= 2 && bytes[start - 2..start].iter().all(is_glued);
                !is_glued && Self::Token(word, fewest).follows(bytes, start, end)
            }
            Self::Slack => match rest {
                [b'a' | b'b' | b'e' | b'p' | b'r' | b's', b'-', rest @ ..] => {
                    bytes[start..].starts_with(b"xox") && count(rest, is_of_token) >= 10
                }
                _ => false,
            },
            Self::AccessKey(word) => {
                let is_of_key = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
                bytes[start..].starts_with(word) && count(rest, is_of_key) >= 12
            }
            Self::Anything(word) => bytes[start..].starts_with(word),
            Self::Jwt => {
                let part =
                    |rest: &[u8]| count(rest, |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                let first = part(rest);
                bytes[start..].starts_with(b"eyJ") && first >= 5 && rest.get(first) == Some(&b'.') && {
                    let rest = &rest[first + 1..];
                    let second = part(rest);
                    second >= 5 && rest.get(second) == Some(&b'.')
                }
            }
        }
    }
}

/// The bytes at the beginning of which something holds.
fn count(bytes: &[u8], holds: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| holds(**byte)).count()
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

/// Spaces beyond ASCII are not told from other characters there.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || !byte.is_ascii()
}

/// Whether `=`, `:` or `%3D` follows, behind quotes and spaces.
fn is_assignment(rest: &[u8]) -> bool {
    let rest = &rest[count(rest, |byte| matches!(byte, b'\\' | b'"' | b'\''))..];
    let rest = &rest[count(rest, is_space)..];
    match rest {
        [b'=' | b':', ..] => true,
        [b'%', b'3', b'd' | b'D', ..] => true,
        _ => false,
    }
}

// === Characters ===

/// Whether a character stands on each side of a `@`, which may be escaped as `%40`, and a dot and a letter behind.
pub(super) fn may_hold_mail(bytes: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+'-".contains(byte) || !byte.is_ascii();
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte) || !byte.is_ascii();
    memchr2_iter(b'@', b'%', bytes).any(|at| {
        let host = match &bytes[at..] {
            [b'@', host @ ..] => host,
            [b'%', escaped @ ..] => {
                let twice = escaped.chunks(2).take_while(|digits| *digits == b"25").count();
                match escaped[2 * twice..].strip_prefix(b"40") {
                    Some(host) => host,
                    None => return false,
                }
            }
            _ => return false,
        };
        let is_named = at.checked_sub(1).is_some_and(|before| is_of_name(&bytes[before]));
        let host = &host[..count(host, is_of_host)];
        let ends =
            |parts: &[u8]| parts[0] == b'.' && (parts[1].is_ascii_alphabetic() || !parts[1].is_ascii());
        is_named && host.windows(2).skip(1).any(ends)
    })
}

/// Whether a `@` stands behind `://` with no slash and no space between, as in `https://user:password@host`.
fn may_hold_url_secret(bytes: &[u8]) -> bool {
    let mut looked = 0;
    for at in memchr_iter(b'@', bytes) {
        // What is before the last `@` was looked at.
        let before = &bytes[looked..at];
        if let Some(slash) = before.iter().rposition(|byte| *byte == b'/' || byte.is_ascii_whitespace())
            && bytes[..looked + slash + 1].ends_with(b"://")
        {
            return true;
        }
        looked = at + 1;
    }
    false
}

/// Whether a number follows on `+`, which may be written `%2B`.
fn may_hold_international(bytes: &[u8]) -> bool {
    memchr2_iter(b'+', b'%', bytes).any(|at| {
        let number = match &bytes[at..] {
            [b'+', number @ ..] | [b'%', b'2', b'B' | b'b', number @ ..] => number,
            _ => return false,
        };
        let is_between = |byte: &u8| b" .()/-\xc2\xa0".contains(byte);
        let mut digits = 0;
        for byte in number.iter().take_while(|byte| byte.is_ascii_digit() || is_between(byte)) {
            digits += usize::from(byte.is_ascii_digit());
        }
        digits >= INTERNATIONAL_DIGITS
    })
}

/// Whether three digits, a mark and four digits follow on each other.
fn may_hold_american(bytes: &[u8]) -> bool {
    let are_digits = |part: Option<&[u8]>| part.is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    card::has_digits(bytes, AMERICAN_DIGITS)
        && memchr2_iter(b'-', b'.', bytes)
            .any(|at| at >= 3 && are_digits(bytes.get(at - 3..at)) && are_digits(bytes.get(at + 1..at + 5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_where_they_are_looked_for() {
        for (number, (_, behind)) in WORDS.iter().enumerate() {
            assert_eq!(matches!(behind, Behind::PhoneAssignment), (PHONE_WORDS..KEY_WORDS).contains(&number));
            assert_eq!(matches!(behind, Behind::Anything(_)), number >= KEY_WORDS);
        }
    }

    #[test]
    fn what_names_usually_hold_is_ruled_out() {
        let both = [Detector::Token, Detector::Phone];
        for text in [
            "tokenise card",
            "desk-top task-list disk-usage-of-all-the-volumes",
            "http.response.status_code msg.bytes hotel telemetry intel",
            "https://shop.example/api/v1/users?x=1&y=2",
            "npm install and a basic setup for the bearer",
            "asia-east1 Asia akia0123456789abcdef",
            "2026-12-01T10:11:12.123456789Z 0b9e3c1a-1f2d-4c3b-8a79-5d6e7f809a1b",
            "@opentelemetry/instrumentation-http@0.57.1",
        ] {
            assert!(!may_hold_words(text.as_bytes(), &both), "{text}");
        }
    }

    #[test]
    fn a_word_inside_another_and_behind_it_counts() {
        let token = [Detector::Token];
        for text in
            ["tokentoken=x", "secretsecret: y", "api_keypassword=z", "passwdpwd%3dq", "xoxb xoxb-0123456789"]
        {
            assert!(may_hold_words(text.as_bytes(), &token), "{text}");
        }
        let slashes = "a@b".repeat(1000) + "://u:p@h";
        assert!(may_hold_words(slashes.as_bytes(), &token));
        assert!(!may_hold_words("a@b/c".repeat(1000).as_bytes(), &token));
    }
}
