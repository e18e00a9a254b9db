//! Finds the numbers of payment cards, by their lengths, first digits and checksum.

use std::ops::Range;

/// A card has so many digits.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// More characters between two groups of digits than these make them two numbers.
const MAX_GAP: usize = 3;
/// The bytes behind a text in a message that may read like digits: a tag, and a time.
const BEHIND: usize = 9;
/// Longer rows of digits and gaps may hold anything: to look closer would take longer than to hide.
const MAX_RUN: usize = 256;

/// Whether a card may be among these bytes: thirteen digits follow on each other, with gaps of a few characters, and they
/// hold one. Whatever is that long has one of each thirteen bytes, so that the others need no look.
pub(super) fn may_hold(bytes: &[u8]) -> bool {
    let step = *CARD_DIGITS.start();
    let (mut at, mut end) = (step - 1, 0);
    while let Some(byte) = bytes.get(at) {
        if is_part(*byte) {
            let begin =
                bytes[end..at].iter().rposition(|byte| !is_part(*byte)).map_or(end, |back| end + back + 1);
            end = bytes[at..].iter().position(|byte| !is_part(*byte)).map_or(bytes.len(), |on| at + on);
            if end - begin >= step && may_be_card(&bytes[begin..end]) {
                return true;
            }
            at = end;
        }
        at += step;
    }
    false
}

/// What a card in a text may be made of.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'.' | b'_' | b'+' | 0xc2 | 0xa0)
}

/// Whether digits with gaps are a card. What stands before a text in a message is its length, which may read like a
/// digit, and behind it a tag and a number, which may as well.
fn may_be_card(run: &[u8]) -> bool {
    if run.iter().filter(|byte| byte.is_ascii_digit()).count() < *CARD_DIGITS.start() {
        return false;
    }
    if run.len() > MAX_RUN {
        return true;
    }
    let begin = run.iter().position(u8::is_ascii_digit).unwrap_or_default();
    let end = run.iter().rposition(u8::is_ascii_digit).map_or(run.len(), |last| last + 1);
    let run = &run[begin..end];
    let finds = |run: &[u8]| std::str::from_utf8(run).map_or(true, |run| hide(run, "").is_some());
    // Field 6 of one byte or of four, and field 7 of eight.
    let is_tag = |end: &usize| matches!(run[*end], b'0' | b'5' | b'9');
    let ends = (run.len().saturating_sub(BEHIND).max(1)..run.len()).filter(is_tag);
    ends.chain([run.len()]).any(|end| finds(&run[..end]) || finds(&run[1..end]))
}

/// The text with `placeholder` for each card; `None` without one.
pub(super) fn hide(text: &str, placeholder: &str) -> Option<String> {
    let groups = digit_groups(text);
    let (mut seen, mut kept, mut at) = (String::new(), 0, 0);
    while at < groups.len() {
        match card_at(text, &groups, at) {
            Some((card, next)) => {
                seen.push_str(&text[kept..card.start]);
                seen.push_str(placeholder);
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
