//! Finds addresses of the Internet protocol, versions 4 and 6.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The longest text of an address.
const MAX_LENGTH: usize = 45;

/// Whether a text may hold an address.
pub(super) fn may_hold(bytes: &[u8]) -> bool {
    let mut marks = memchr::memchr2_iter(b'.', b':', bytes);
    marks.any(|at| {
        let near = |at: Option<usize>| at.and_then(|at| bytes.get(at));
        let is_part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
        near(at.checked_sub(1)).is_none_or(is_part) && near(Some(at + 1)).is_none_or(is_part)
    })
}

/// The text with `placeholder` for each address; `None` without one.
pub(super) fn hide(text: &str, placeholder: &str) -> Option<String> {
    let (mut seen, mut kept) = (String::new(), 0);
    for word in words(text) {
        if let Some(found) = address_in(text, word) {
            seen.push_str(&text[kept..found.start]);
            seen.push_str(placeholder);
            kept = found.end;
        }
    }
    (kept > 0).then(|| seen + &text[kept..])
}

/// Stretches of characters of which an address is made, not glued to a word.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.' || byte == b':';
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let begin = at + bytes[at..].iter().position(|byte| is_part(*byte))?;
            let length = bytes[begin..].iter().position(|byte| !is_part(*byte));
            at = length.map_or(bytes.len(), |length| begin + length);
            if at - begin >= 3 {
                return Some(begin..at);
            }
        }
        None
    })
}

fn address_in(text: &str, word: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_letter = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    let glued = (is_letter(word.start.checked_sub(1)), is_letter(Some(word.end)));
    // The end of a sentence, the colon behind a name.
    let trimmed = text[word.clone()].trim_end_matches(['.', ':']);
    let lead = trimmed.len() - trimmed.trim_start_matches('.').len();
    let range = word.start + lead..word.start + trimmed.len();
    if glued == (false, false) && is_version_6(&text[range.clone()]) {
        return Some(range);
    }
    version_4(text, range)
}

fn is_version_6(text: &str) -> bool {
    if text.len() > MAX_LENGTH || text.matches(':').count() < 2 || !text.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    text.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

/// Four numbers with dots between them, perhaps with a port behind, or letters around.
fn version_4(text: &str, word: Range<usize>) -> Option<Range<usize>> {
    let part = &text[word.clone()];
    let begin = part.rfind(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let digits = |range: Range<usize>| part.get(range);
    let rest = digits(begin..part.len())?;
    let host = rest.split(':').find(|host| host.matches('.').count() == 3)?;
    let offset = begin + rest.find(host)?;
    let address: Ipv4Addr = host.parse().ok()?;
    // A browser calls its version 120.0.0.0, and no machine has an address like that.
    let is_harmless = address.is_loopback() || address.octets()[1..] == [0, 0, 0];
    let begin = word.start + offset;
    (!is_harmless).then(|| begin..begin + host.len())
}
