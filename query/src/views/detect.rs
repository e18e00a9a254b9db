//! Finds texts that give away something of a person or open a door: payment cards, mail addresses, tokens.
//!
//! A detector rather hides too much than too little; what it cannot know, a mask by key has to name.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use spandrel_proto::Detector;

/// 13 to 19 digits, also in groups: the checksum decides. No issuer begins with another digit, and times in nanoseconds
/// begin with 1.
static CARD: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r"\b[2-6](?:[ -]?[0-9]){12,18}\b"));
static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(r"(?i)[\p{L}\p{N}._%+'-]{1,64}(?:@|%40)[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})*\.\p{L}{2,24}")
});
static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r#"(?x)
        (?i:\b(?:bearer|basic)\s+)(?P<scheme>[A-Za-z0-9._~+/=-]{8,})
        | (?P<jwt>\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)
        | (?P<prefixed>\b(?:spdr_|gh[pousr]_|github_pat_|glpat-|sk-|[spr]k_(?:live|test)_|xox[abeprs]-|AKIA|ASIA|AIza|SG\.|npm_|dckr_pat_|hvs\.)[A-Za-z0-9_.-]{10,})
        | ://[^/\s:@]*:(?P<url>[^/\s@]+)@
        | (?i:\b(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|client[_-]?secret)["']?\s*[=:]\s*["']?)(?P<named>[^\s&;,"']{3,})
        "#,
    )
});

fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

/// The text that stands for what a detector has found.
pub(super) fn placeholder(detector: Detector) -> &'static str {
    match detector {
        Detector::Card => "[card]",
        Detector::Mail => "[mail]",
        Detector::Token => "[token]",
    }
}

/// The text without what a detector finds in it.
pub(super) fn hide(detector: Detector, text: &str) -> Cow<'_, str> {
    let pattern = match detector {
        Detector::Card => &CARD,
        Detector::Mail => &MAIL,
        Detector::Token => &TOKEN,
    };
    // A pattern that does not compile hides everything; the tests below show that they do.
    let Some(pattern) = &**pattern else { return Cow::Borrowed(placeholder(detector)) };
    pattern.replace_all(text, |found: &Captures<'_>| replaced(detector, found))
}

fn replaced(detector: Detector, found: &Captures<'_>) -> String {
    let whole = found.get_match();
    let is_hidden = detector != Detector::Card || is_card(whole.as_str());
    if !is_hidden {
        return whole.as_str().to_owned();
    }
    // What stands around a token tells what it is, and is left.
    let token = ["scheme", "jwt", "prefixed", "url", "named"].iter().find_map(|name| found.name(name));
    let (start, end) = token.map_or((whole.start(), whole.end()), |token| (token.start(), token.end()));
    let text = whole.as_str();
    let (before, after) = (&text[..start - whole.start()], &text[end - whole.start()..]);
    format!("{before}{}{after}", placeholder(detector))
}

/// The checksum of ISO/IEC 7812-1 (Luhn).
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
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
            (Detector::Token, "Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [token]"),
            (Detector::Token, "eyJhbGciOi.eyJzdWIiOi.c2ln x", "[token] x"),
            (Detector::Token, "key spdr_0123456789_abcdefghij", "key [token]"),
            (Detector::Token, "postgres://app:hunter2@db/shop", "postgres://app:[token]@db/shop"),
            (Detector::Token, "/login?user=ada&password=hunter2&x=1", "/login?user=ada&password=[token]&x=1"),
        ] {
            assert_eq!(hide(detector, text), hidden);
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        for (detector, text) in [
            (Detector::Card, "4111111111111112"),
            (Detector::Card, "1764541200000000000"),
            (Detector::Card, "0af7651916cd43dd8448eb211c80319c"),
            (Detector::Mail, "me@localhost and @example.org"),
            (Detector::Token, "the token of the game; Bearer x; https://shop.example/a:b"),
        ] {
            assert_eq!(hide(detector, text), text);
        }
    }
}
