//! Finds texts that give away something of a person or open a door: payment cards, mail addresses, tokens.
//!
//! A detector rather hides too much than too little; what it cannot know, a mask by key has to name.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use spandrel_proto::Detector;

static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r"(?i)[\p{L}\p{N}._%+'-]{1,64}(?:@|%(?:25)*40)[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})*\.\p{L}{2,24}",
    )
});
/// Nothing has to stand before a token: it may be glued to a word. Where a prefix also ends common words, more has to
/// follow it.
static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r#"(?x)
        (?i:(?:bearer|basic)(?:\s|%20|\+)+)(?P<scheme>[A-Za-z0-9._~+/=-]{8,})
        | (?P<jwt>eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)
        | (?P<prefixed>
            (?:spdr_|gh[pousr]_|github_pat_|glpat-|[spr]k_(?:live|test)_|xox[abeprs]-|AIza|dckr_pat_|hvs\.)[A-Za-z0-9_.-]{10,}
            | (?:AKIA|ASIA)[A-Z0-9]{12,}
            | (?:sk-|npm_|SG\.)[A-Za-z0-9_.-]{20,}
          )
        | ://[^/\s:@]*:(?P<url>[^/\s]+)@
        | ://(?P<user>[^/\s:@]{16,})@
        | (?i:(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key)[\\"']*\s*(?:[=:]|%3D)\s*[\\"']*)(?P<named>[^\s&;,"'\\]+)
        "#,
    )
});

/// The names of the groups of [`TOKEN`]: what stands around them tells what they are, and is left.
const PARTS: [&str; 6] = ["scheme", "jwt", "prefixed", "url", "user", "named"];

/// A card has so many digits.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// More characters between two groups of digits than these make them two numbers.
const MAX_GAP: usize = 3;

fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

/// The text that stands for what a detector has found.
fn placeholder(detector: Detector) -> &'static str {
    match detector {
        Detector::Card => "[card]",
        Detector::Mail => "[mail]",
        Detector::Token => "[token]",
    }
}

/// The text without what a detector finds in it; `None` if it finds nothing.
pub(super) fn hide(detector: Detector, text: &str) -> Option<String> {
    match detector {
        Detector::Card => hide_cards(text),
        Detector::Mail => hide_matches(detector, MAIL.as_ref(), text),
        Detector::Token => hide_matches(detector, TOKEN.as_ref(), text),
    }
}

/// A pattern that does not compile hides everything.
fn hide_matches(detector: Detector, pattern: Option<&Regex>, text: &str) -> Option<String> {
    let Some(pattern) = pattern else { return Some(placeholder(detector).to_owned()) };
    let replaced = |found: &Captures<'_>| {
        let whole = found.get_match();
        let hidden = PARTS.iter().find_map(|part| found.name(part)).unwrap_or(whole);
        let (start, end) = (hidden.start() - whole.start(), hidden.end() - whole.start());
        let text = whole.as_str();
        format!("{}{}{}", &text[..start], placeholder(detector), &text[end..])
    };
    pattern.is_match(text).then(|| pattern.replace_all(text, replaced).into_owned())
}

fn hide_cards(text: &str) -> Option<String> {
    let groups = digit_groups(text);
    let (mut seen, mut kept, mut at) = (String::new(), 0, 0);
    while at < groups.len() {
        match card_at(text, &groups, at) {
            Some((card, next)) => {
                seen.push_str(&text[kept..card.start]);
                seen.push_str(placeholder(Detector::Card));
                (kept, at) = (card.end, next);
            }
            None => at += 1,
        }
    }
    (kept > 0).then(|| seen + &text[kept..])
}

/// Where digits follow on each other.
fn digit_groups(text: &str) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        match groups.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    groups
}

/// The card that begins with a group, and the group behind it. A card is made of whole groups, so that other numbers
/// before and behind it do not matter, or lies within one that is longer than a card.
fn card_at(text: &str, groups: &[Range<usize>], first: usize) -> Option<(Range<usize>, usize)> {
    let mut digits: Vec<u32> = Vec::new();
    let mut found = None;
    let zeros = text[groups[first].clone()].bytes().take_while(|byte| *byte == b'0').count();
    let padding = if zeros < groups[first].len() { zeros } else { 0 };
    for (at, group) in groups.iter().enumerate().skip(first) {
        let is_next = at == first || is_gap(&text[groups[at - 1].end..group.start]);
        if !is_next || digits.len() + group.len() > *CARD_DIGITS.end() && at > first {
            break;
        }
        digits.extend(text[group.clone()].bytes().map(|byte| u32::from(byte - b'0')));
        if is_card(&digits[padding..]) {
            found = Some((groups[first].start + padding..group.end, at + 1));
        }
    }
    let group = &groups[first];
    found.or_else(|| holds_card(&text[group.clone()]).then(|| (group.clone(), first + 1)))
}

/// Whether what stands between two groups of digits may stand within a number.
fn is_gap(text: &str) -> bool {
    text.chars().count() <= MAX_GAP
        && text.chars().all(|c| matches!(c, ' ' | '-' | '.' | '_' | '+' | '\u{a0}'))
}

/// No issuer begins with another digit, and times in nanoseconds begin with 1.
fn is_card(digits: &[u32]) -> bool {
    CARD_DIGITS.contains(&digits.len()) && (2..=6).contains(&digits[0]) && has_checksum(digits)
}

/// Whether a longer number holds that of a card, with the first digits that issuers have. A time in nanoseconds holds
/// none.
fn holds_card(group: &str) -> bool {
    let digits: Vec<u32> = group.bytes().map(|byte| u32::from(byte - b'0')).collect();
    let is_time = digits.len() == 19 && digits[0] == 1;
    let is_issued = |card: &[u32]| match (card.len(), card[0], card[1]) {
        (15, 3, 4 | 7) => has_checksum(card),
        (16, 4, _) | (16, 5, 1..=5) | (16, 2, 2..=7) | (16, 3, 5) | (16, 6, 0 | 4 | 5) => has_checksum(card),
        _ => false,
    };
    digits.len() > 15 && !is_time && [15, 16].iter().any(|length| digits.windows(*length).any(is_issued))
}

/// The checksum of ISO/IEC 7812-1 (Luhn).
fn has_checksum(digits: &[u32]) -> bool {
    let value = |(place, digit): (usize, &u32)| match place % 2 {
        1 if *digit > 4 => 2 * digit - 9,
        1 => 2 * digit,
        _ => *digit,
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_replaced_and_the_rest_stays() {
        for (detector, text, hidden) in [
            (Detector::Card, "paid with 4111 1111 1111 1111 today", "paid with [card] today"),
            (Detector::Card, "5500-0000-0000-0004,340000000000009", "[card],[card]"),
            (Detector::Mail, "to ada.l+x@mail.example.org: sent", "to [mail]: sent"),
            (Detector::Mail, "/users/ada%40example.org/cart", "/users/[mail]/cart"),
            (Detector::Mail, "q=ada%2540example.org", "q=[mail]"),
            (Detector::Token, "Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [token]"),
            (Detector::Token, "eyJhbGciOi.eyJzdWIiOi.c2ln x", "[token] x"),
            (Detector::Token, "key spdr_0123456789_abcdefghij", "key [token]"),
            (Detector::Token, "postgres://app:hunter2@db/shop", "postgres://app:[token]@db/shop"),
            (Detector::Token, "postgres://app:hun@ter2@db/shop", "postgres://app:[token]@db/shop"),
            (Detector::Token, "/login?user=ada&password=hunter2&x=1", "/login?user=ada&password=[token]&x=1"),
            (Detector::Token, r#"{"pwd":"ab","n":1}"#, r#"{"pwd":"[token]","n":1}"#),
            (Detector::Token, r#"{\"secret\":\"ab\"}"#, r#"{\"secret\":\"[token]\"}"#),
        ] {
            assert_eq!(hide(detector, text).as_deref(), Some(hidden));
        }
    }

    #[test]
    fn a_card_is_found_among_other_digits() {
        for (text, hidden) in [
            ("12 4111 1111 1111 1111 7", "12 [card] 7"),
            ("2024 4111111111111111", "2024 [card]"),
            ("4111-1111-1111-1111-123", "[card]-123"),
            ("x4111111111111111y", "x[card]y"),
            ("order_4111111111111111_7", "order_[card]_7"),
            ("4111.1111.1111.1111", "[card]"),
            ("4111+1111+1111+1111", "[card]"),
            ("4111  1111  1111  1111", "[card]"),
            ("00004111111111111111", "0000[card]"),
            ("94111111111111111877", "[card]"),
        ] {
            assert_eq!(hide(Detector::Card, text).as_deref(), Some(hidden), "{text}");
        }
    }

    #[test]
    fn a_token_is_found_behind_a_word() {
        for (text, hidden) in [
            ("keyspdr_0123456789_abcdefghij", "key[token]"),
            ("idghp_0123456789abcdef", "id[token]"),
            ("aAKIA0123456789ABCDEF", "a[token]"),
            ("xeyJhbGciOi.eyJzdWIiOi.c2ln", "x[token]"),
            ("db_password=hunter2", "db_password=[token]"),
            ("access_token: abc", "access_token: [token]"),
            ("sentBearer abcdefgh12345678", "sentBearer [token]"),
        ] {
            assert_eq!(hide(Detector::Token, text).as_deref(), Some(hidden), "{text}");
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        for (detector, text) in [
            (Detector::Card, "4111111111111112"),
            (Detector::Card, "1764541200000000000"),
            (Detector::Card, "0af7651916cd43dd8448eb211c80319c"),
            (Detector::Card, ""),
            (Detector::Mail, "me@localhost and @example.org"),
            (Detector::Token, "the token of the game; Bearer x; https://shop.example/a:b"),
            (Detector::Token, "disk-usage-job"),
        ] {
            assert_eq!(hide(detector, text), None, "{text}");
        }
    }

    #[test]
    fn every_pattern_compiles_and_one_that_does_not_hides_everything() {
        assert!(MAIL.is_some() && TOKEN.is_some());
        let hidden = hide_matches(Detector::Mail, regex("(").as_ref(), "nothing to hide");
        assert_eq!(hidden.as_deref(), Some("[mail]"));
    }
}
