//! A quick look whether detectors may find something among bytes, be they a text or a message of many. `false` is sure:
//! whatever a pattern finds has one of the marks here, and words of its own before or behind the mark.
//!
//! One pass over the bytes does it for mail addresses, tokens, phone numbers and private keys: a table tells the few bytes
//! that are marks of what is looked for, and only at these is anything compared. Cards and addresses of machines have
//! looks of their own.

use spandrel_proto::Detector;

/// What is looked for, as bits.
const MAIL: u8 = 1;
const TOKEN: u8 = 2;
const PHONE: u8 = 4;
const KEY: u8 = 8;

/// For each byte, what it is a mark of.
const MARKS: [u8; 256] = marks();

/// What has a value behind `=` or `:` that is a token.
const NAMES: [&[u8]; 11] = [
    b"password",
    b"passwd",
    b"pwd",
    b"secret",
    b"token",
    b"apikey",
    b"api_key",
    b"api-key",
    b"accesskey",
    b"access_key",
    b"access-key",
];
/// The same for phone numbers, with one of [`NUMBER_WORDS`] behind or without.
const PHONE_NAMES: [&[u8]; 7] = [b"phone", b"mobile", b"telefon", b"handy", b"tel", b"fax", b"msisdn"];
const NUMBER_WORDS: [&[u8]; 4] = [b"", b"number", b"no", b"nr"];
/// Digits of an international number, at the least.
const INTERNATIONAL_DIGITS: usize = 8;

/// One look. What was seen of long stretches is kept, so that marks within them do not look again.
struct Look<'b> {
    bytes: &'b [u8],
    wanted: u8,
    /// No secret of a URL ends before this.
    url: usize,
    /// The end of the last part of a token of JSON.
    part: usize,
}

const fn marks() -> [u8; 256] {
    let mut marks = [0; 256];
    // Spaces beyond ASCII are not told from other characters there.
    let mut byte = 0x80;
    while byte < 256 {
        marks[byte] = TOKEN;
        byte += 1;
    }
    let of_bytes: [(&[u8], u8); 7] = [
        (b"\t\n\x0b\x0c\r _J", TOKEN),
        (b"@", MAIL | TOKEN),
        (b"%", MAIL | TOKEN | PHONE),
        (b"+=:", TOKEN | PHONE),
        (b".", TOKEN | PHONE),
        (b"-", TOKEN | PHONE | KEY),
        (b"I", TOKEN | KEY),
    ];
    let mut group = 0;
    while group < of_bytes.len() {
        let (bytes, of) = of_bytes[group];
        let mut at = 0;
        while at < bytes.len() {
            marks[bytes[at] as usize] = of;
            at += 1;
        }
        group += 1;
    }
    marks
}

/// Whether any of these detectors may find something, but for those of cards and of addresses of machines.
pub(super) fn may_hold(bytes: &[u8], detectors: &[Detector]) -> bool {
    let wanted = detectors.iter().fold(0, |wanted, detector| wanted | bit(*detector));
    if wanted == 0 {
        return false;
    }
    let mut look = Look { bytes, wanted, url: 0, part: 0 };
    bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| MARKS[usize::from(*byte)] & wanted != 0 && look.finds(at, *byte))
}

fn bit(detector: Detector) -> u8 {
    match detector {
        Detector::Mail => MAIL,
        Detector::Token => TOKEN,
        Detector::Phone => PHONE,
        Detector::Key => KEY,
        Detector::Card | Detector::Address => 0,
    }
}

// === impl Look ===

impl Look<'_> {
    fn finds(&mut self, at: usize, mark: u8) -> bool {
        let (before, rest) = (&self.bytes[..at], &self.bytes[at + 1..]);
        match mark {
            b'.' => {
                self.wants(TOKEN) && is_token_with_dot(before, rest)
                    || self.wants(PHONE) && is_american(before, rest)
            }
            b'_' => is_token_with_underscore(before, rest),
            b'-' => {
                self.wants(TOKEN) && is_token_with_dash(before, rest)
                    || self.wants(PHONE) && is_american(before, rest)
                    || self.wants(KEY) && before.ends_with(b"AGE") && rest.starts_with(b"SECRET")
            }
            b'=' | b':' => self.is_assignment(before),
            b'I' => {
                self.wants(TOKEN) && is_token_with_i(before, rest)
                    || self.wants(KEY) && before.ends_with(b"PR") && rest.starts_with(b"VATE KEY")
            }
            b'J' => self.is_jwt(at),
            b'@' => self.wants(MAIL) && is_mail(before, rest) || self.wants(TOKEN) && self.is_url_secret(at),
            b'+' => {
                self.wants(PHONE) && is_international(rest)
                    || self.wants(TOKEN) && is_scheme(before, &self.bytes[at..])
            }
            b'%' => self.is_escaped(at),
            _ => is_scheme(before, &self.bytes[at..]),
        }
    }

    fn wants(&self, what: u8) -> bool {
        self.wanted & what != 0
    }

    /// What `%` stands for: `@`, `+`, `=` or a space.
    fn is_escaped(&self, at: usize) -> bool {
        let (before, rest) = (&self.bytes[..at], &self.bytes[at + 1..]);
        let twice = rest.chunks(2).take_while(|digits| *digits == b"25").count();
        let is_mail = |host| is_mail(before, host);
        self.wants(MAIL) && rest[2 * twice..].strip_prefix(b"40").is_some_and(is_mail)
            || self.wants(PHONE)
                && matches!(rest, [b'2', b'B' | b'b', number @ ..] if is_international(number))
            || matches!(rest, [b'3', b'D' | b'd', ..]) && self.is_assignment(before)
            || self.wants(TOKEN) && is_scheme(before, &self.bytes[at..])
    }

    /// Whether a name stands before an assignment, with quotes and spaces between.
    fn is_assignment(&self, before: &[u8]) -> bool {
        let before = &before[..before.len() - count_back(before, is_space)];
        let quotes = count_back(before, |byte| matches!(byte, b'\\' | b'"' | b'\''));
        let before = &before[..before.len() - quotes];
        // The last letters of all these names: before most colons there is another.
        let may_be_name =
            before.last().is_some_and(|last| b"dtnyelxor_-".contains(&last.to_ascii_lowercase()));
        if !may_be_name {
            return false;
        }
        self.wants(TOKEN) && NAMES.iter().any(|name| ends_with(before, name))
            || self.wants(PHONE) && NUMBER_WORDS.iter().any(|number| is_phone_name(before, number))
    }

    /// Two parts with a dot behind each. Within a part, another beginning has the same end.
    fn is_jwt(&mut self, at: usize) -> bool {
        if !self.bytes[..at].ends_with(b"ey") {
            return false;
        }
        let is_of_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.part <= at {
            self.part = at + 1 + count(&self.bytes[at + 1..], is_of_part);
        }
        let is_first = self.part > at + 5 && self.bytes.get(self.part) == Some(&b'.');
        is_first && {
            let rest = &self.bytes[self.part + 1..];
            let second = count(rest, is_of_part);
            second >= 5 && rest.get(second) == Some(&b'.')
        }
    }

    /// Whether a `@` stands behind `://` with no slash and no space between, as in `https://user:password@host`.
    fn is_url_secret(&mut self, at: usize) -> bool {
        // What is before the last `@` was looked at.
        let looked = std::mem::replace(&mut self.url, at + 1);
        let is_end = |byte: &u8| *byte == b'/' || byte.is_ascii_whitespace();
        let end = self.bytes[looked..at].iter().rposition(is_end);
        end.is_some_and(|end| self.bytes[..=looked + end].ends_with(b"://"))
    }
}

// === What stands around a mark ===

/// Whether a character stands before an `@`, and a dot and a letter behind.
fn is_mail(before: &[u8], host: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+'-".contains(byte) || !byte.is_ascii();
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte) || !byte.is_ascii();
    let ends = |parts: &[u8]| parts[0] == b'.' && (parts[1].is_ascii_alphabetic() || !parts[1].is_ascii());
    before.last().is_some_and(is_of_name) && host[..count(host, is_of_host)].windows(2).skip(1).any(ends)
}

/// Whether the word for a scheme stands before a space, or what stands for one, and a token behind.
fn is_scheme(before: &[u8], rest: &[u8]) -> bool {
    if !matches!(before.last(), Some(b'r' | b'R' | b'c' | b'C'))
        || !ends_with(before, b"bearer") && !ends_with(before, b"basic")
    {
        return false;
    }
    let spaces = count(rest, |byte| is_space(byte) || matches!(byte, b'+' | b'%' | b'2' | b'0'));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte);
    // What stands for a space may be a part of the token, too.
    spaces + count(&rest[spaces..], is_token) > 8
}

fn is_token_with_underscore(before: &[u8], rest: &[u8]) -> bool {
    let fewest = match before {
        [.., b's', b'p', b'd', b'r'] | [.., b'g', b'h', b'p' | b'o' | b'u' | b's' | b'r'] => 10,
        [.., b't'] if [&b"github_pat"[..], b"dckr_pat", b"k_test"].iter().any(|w| before.ends_with(w)) => 10,
        [.., b'e'] if before.ends_with(b"k_live") => 10,
        [.., b'n', b'p', b'm'] => 20,
        _ => return false,
    };
    has_token(rest, fewest)
}

fn is_token_with_dash(before: &[u8], rest: &[u8]) -> bool {
    match before {
        [.., b'g', b'l', b'p', b'a', b't'] => has_token(rest, 10),
        [.., b'x', b'o', b'x', b'a' | b'b' | b'e' | b'p' | b'r' | b's'] => has_token(rest, 10),
        [before @ .., b's', b'k'] => {
            let is_glued = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            // One such byte may be the length of the text in a message, but not two.
            let is_word = matches!(before, [.., first, second] if is_glued(first) && is_glued(second));
            !is_word && has_token(rest, 20)
        }
        _ => false,
    }
}

fn is_token_with_dot(before: &[u8], rest: &[u8]) -> bool {
    match before {
        [.., b'h', b'v', b's'] => has_token(rest, 10),
        [.., b'S', b'G'] => has_token(rest, 20),
        _ => false,
    }
}

/// `AIza` and a token, or `AKIA` or `ASIA` with capitals and digits.
fn is_token_with_i(before: &[u8], rest: &[u8]) -> bool {
    match (before, rest) {
        ([.., b'A'], [b'z', b'a', rest @ ..]) => has_token(rest, 10),
        ([.., b'A', b'K' | b'S'], [b'A', rest @ ..]) => {
            count(rest, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) >= 12
        }
        _ => false,
    }
}

fn has_token(rest: &[u8], fewest: usize) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    rest.get(..fewest).is_some_and(|token| token.iter().all(is_of_token))
}

/// Whether a name of phone numbers ends what stands before, with a word for number behind, as in `tel-no`.
fn is_phone_name(before: &[u8], number: &[u8]) -> bool {
    if !ends_with(before, number) {
        return false;
    }
    let before = &before[..before.len() - number.len()];
    let before = before.strip_suffix(b"_").or(before.strip_suffix(b"-")).unwrap_or(before);
    PHONE_NAMES.iter().any(|name| ends_with(before, name))
}

/// Whether enough digits follow on `+`.
fn is_international(number: &[u8]) -> bool {
    let is_between = |byte: &u8| b" .()/-\xc2\xa0".contains(byte);
    let stretch = number.iter().take_while(|byte| byte.is_ascii_digit() || is_between(byte));
    stretch.filter(|byte| byte.is_ascii_digit()).take(INTERNATIONAL_DIGITS).count() == INTERNATIONAL_DIGITS
}

/// Whether the last mark of an American number is between these: three digits behind the end of others, and four.
fn is_american(before: &[u8], rest: &[u8]) -> bool {
    let are_digits = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    let [before @ .., end @ (b'-' | b'.' | b')' | b' '), a, b, c] = before else { return false };
    let area = if matches!(end, b'-' | b'.') { before.last_chunk::<3>() } else { None };
    are_digits(&[*a, *b, *c])
        && rest.first_chunk::<4>().is_some_and(|digits| are_digits(digits))
        && (matches!(end, b')' | b' ') || area.is_some_and(|digits| are_digits(digits)))
}

/// The bytes at the beginning of which something holds.
fn count(bytes: &[u8], holds: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| holds(**byte)).count()
}

/// The same at the end.
fn count_back(bytes: &[u8], holds: impl Fn(u8) -> bool) -> usize {
    bytes.iter().rev().take_while(|byte| holds(**byte)).count()
}

/// Whether a word in small letters ends these bytes, in whatever case.
#[inline]
fn ends_with(bytes: &[u8], word: &[u8]) -> bool {
    let Some(at) = bytes.len().checked_sub(word.len()) else { return false };
    let Some((last, expected)) = bytes.last().zip(word.last()) else { return word.is_empty() };
    last | 0x20 == expected | 0x20 && bytes[at..].eq_ignore_ascii_case(word)
}

/// Spaces beyond ASCII are not told from other characters there.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(!may_hold(text.as_bytes(), &both), "{text}");
        }
    }

    #[test]
    fn a_word_inside_another_and_behind_it_counts() {
        let token = [Detector::Token];
        for text in
            ["tokentoken=x", "secretsecret: y", "api_keypassword=z", "passwdpwd%3dq", "xoxb xoxb-0123456789"]
        {
            assert!(may_hold(text.as_bytes(), &token), "{text}");
        }
        let slashes = "a@b".repeat(1000) + "://u:p@h";
        assert!(may_hold(slashes.as_bytes(), &token));
        assert!(!may_hold("a@b/c".repeat(1000).as_bytes(), &token));
    }

    /// What many marks share is looked at once: else these would take minutes.
    #[test]
    fn a_long_text_of_marks_is_looked_at_once() {
        for piece in ["eyJ", "a@", "bearer ", "password", "+1", "%25", "= ", "1-", "AKIA."] {
            let text = piece.repeat(1 << 18);
            assert!(!may_hold(text.as_bytes(), &[Detector::Token, Detector::Phone]), "{piece}");
        }
    }
}
