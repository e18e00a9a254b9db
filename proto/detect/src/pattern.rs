//! Finds what a regular expression describes: mail addresses, tokens, phone numbers, private keys.

use std::sync::LazyLock;

use regex::{Captures, Regex};

pub(super) static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r"(?i)[\p{L}\p{N}._%+'-]{1,64}(?:@|%(?:25)*40)[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})*\.\p{L}{2,24}",
    )
});
/// Nothing has to stand before a token: it may be glued to a word. Where a prefix also ends common words, more has to
/// follow it, and `sk-` ends so many (`task-`, `disk-`) that no letter may stand before it.
pub(super) static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r#"(?x)
        (?i-u:bearer|basic)(?:\s|%20|\+)+(?P<scheme>[A-Za-z0-9._~+/=-]{8,})
        | (?P<jwt>eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)
        | (?P<prefixed>
            (?:spdr_|gh[pousr]_|github_pat_|glpat-|[spr]k_(?:live|test)_|xox[abeprs]-|AIza|dckr_pat_|hvs\.)[A-Za-z0-9_.-]{10,}
            | (?:AKIA|ASIA)[A-Z0-9]{12,}
            | (?:(?-u:\b)sk-|npm_|SG\.)[A-Za-z0-9_.-]{20,}
          )
        | ://[^/\s:@]*:(?P<url>[^/\s]+)@
        | ://(?P<user>[^/\s:@]{16,})@
        | (?i-u:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key)[\\"']*\s*(?:[=:]|%3[Dd])\s*[\\"']*(?P<named>[^\s&;,"'\\]+)
        "#,
    )
});

/// An international number, the American form, or a number that is named as one. A plain row of digits is none.
pub(super) static PHONE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r#"(?x)
        (?:^|[^0-9A-Za-z+.])(?P<phone>(?:\+|%2[Bb])[1-9](?:[\x20\xa0.()/-]{0,2}[0-9]){7,14})(?-u:\b)
        | (?:^|[^0-9A-Za-z+.-])(?P<american>(?:\([2-9][0-9]{2}\)\x20?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-.][0-9]{4})(?-u:\b)
        | (?:(?i-u:phone|mobile|telefon|handy)|(?:^|[^A-Za-z])(?i-u:tel|fax|msisdn))(?i-u:[_-]?(?:no|number|nr))?[\\"']*\s*(?:[=:]|%3[Dd])\s*[\\"']*(?P<named>(?:\+|%2[Bb])?[0-9(](?:[\x20\xa0.()/-]{0,2}[0-9]){5,14})
        "#,
    )
});
pub(super) static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r"(?xs)
        -----BEGIN\ (?:[A-Z0-9]+\ )*PRIVATE\ KEY(?:\ BLOCK)?-----.*?(?:-----END\ (?:[A-Z0-9]+\ )*PRIVATE\ KEY(?:\ BLOCK)?-----|$)
        | AGE-SECRET-KEY-1[0-9A-Za-z]{20,}
        ",
    )
});

/// The names of the groups above: what stands around them tells what they are, and is left.
const PARTS: [&str; 8] = ["scheme", "jwt", "prefixed", "url", "user", "named", "phone", "american"];

fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

/// The text with `placeholder` for each match. A pattern that does not compile hides everything.
pub(super) fn hide(pattern: Option<&Regex>, text: &str, placeholder: &str) -> Option<String> {
    let Some(pattern) = pattern else { return Some(placeholder.to_owned()) };
    let replaced = |found: &Captures<'_>| {
        let whole = found.get_match();
        let hidden = PARTS.iter().find_map(|part| found.name(part)).unwrap_or(whole);
        let (start, end) = (hidden.start() - whole.start(), hidden.end() - whole.start());
        let text = whole.as_str();
        format!("{}{placeholder}{}", &text[..start], &text[end..])
    };
    pattern.is_match(text).then(|| pattern.replace_all(text, replaced).into_owned())
}
