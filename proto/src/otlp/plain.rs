//! Checks attributes at once if they are encoded as by nearly all exporters.
//!
//! Other attributes are checked in full (`decode.rs`).

/// The length of the plain attributes at the front of a span: a key and a plain value of ASCII, each encoded once and
/// with a length of one byte. They have no flaw; the rest of the span is checked in full.
#[inline]
pub(super) fn plain_attributes(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let mut end = at;
        for _ in 0..RUN {
            let Some(length) = text_attribute(&bytes[end..]) else { break };
            end += length;
        }
        // Checks the texts of a run together, and one by one only to find those that are not ASCII.
        if bytes[at..end].is_ascii() {
            at = end;
        } else {
            while bytes[at..at + field_length(bytes, at)].is_ascii() {
                at += field_length(bytes, at);
            }
            return at;
        }
        match &bytes[at..] {
            [0x4a, length @ 0..0x80, rest @ ..]
                if rest.get(..usize::from(*length)).is_some_and(is_plain_attribute) =>
            {
                at += 2 + usize::from(*length);
            }
            _ => return at,
        }
    }
}

/// Attributes that are checked together. Longer runs would be checked repeatedly if many texts are not ASCII.
const RUN: usize = 32;

/// The length of a plain attribute with a text; whether the text is ASCII is not checked.
#[inline]
fn text_attribute(bytes: &[u8]) -> Option<usize> {
    let [0x4a, length @ 0..0x80, rest @ ..] = bytes else { return None };
    let length = usize::from(*length);
    let [0x0a, key @ 0..0x80, attribute @ ..] = rest.get(..length)? else { return None };
    let [0x12, value @ 0..0x80, 0x0a, text @ 0..0x80, letters @ ..] = attribute.get(usize::from(*key)..)?
    else {
        return None;
    };
    let fits = usize::from(*value) == letters.len() + 2 && usize::from(*text) == letters.len();
    fits.then_some(2 + length)
}

/// The length of a field whose own length is one byte.
fn field_length(bytes: &[u8], at: usize) -> usize {
    2 + usize::from(bytes[at + 1])
}

/// Whether an attribute has a key and a plain value of ASCII, each encoded once and with a length of one byte.
#[inline]
pub(super) fn is_plain_attribute(bytes: &[u8]) -> bool {
    let [0x0a, key_length @ 0..0x80, rest @ ..] = bytes else { return false };
    let Some((key, [0x12, length @ 0..0x80, value @ ..])) = rest.split_at_checked(usize::from(*key_length))
    else {
        return false;
    };
    usize::from(*length) == value.len()
        && key.is_ascii()
        && match value {
            [0x0a, length @ 0..0x80, text @ ..] => usize::from(*length) == text.len() && text.is_ascii(),
            [0x10, 0..0x80] | [0x18, 0..0x80] | [0x21, _, _, _, _, _, _, _, _] => true,
            [0x18, upper @ .., 0..0x80] => upper.len() < 9 && upper.iter().all(|byte| *byte >= 0x80),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::put_varint;
    use super::*;

    fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        put_varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    }

    fn attribute(key: &[u8], value: &[u8]) -> Vec<u8> {
        field(0x4a, &[field(0x0a, key), field(0x12, value)].concat())
    }

    fn text(text: &[u8]) -> Vec<u8> {
        attribute(b"key", &field(0x0a, text))
    }

    /// The same result, one attribute after another.
    fn slowly(mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        while let [0x4a, length @ 0..0x80, rest @ ..] = bytes {
            let Some(attribute) = rest.get(..usize::from(*length)).filter(|bytes| is_plain_attribute(bytes))
            else {
                break;
            };
            bytes = &rest[attribute.len()..];
        }
        all - bytes.len()
    }

    #[test]
    fn stops_in_front_of_what_has_to_be_looked_at() {
        let plain =
            [text(b"a"), attribute(b"n", &[0x18, 0xc8, 0x01]), text(b""), attribute(b"b", &[0x10, 1])];
        let plain = plain.concat().repeat(50);
        for odd in [
            text("ä".as_bytes()),
            text(&[0xff]),
            attribute(b"k", &[]),
            attribute(b"k", &field(0x2a, b"")),
            text(&[b'x'; 200]),
            attribute(&[0xff], &[0x10, 1]),
            vec![0x31, 1, 2, 3, 4, 5, 6, 7, 8],
            vec![0x4a],
            vec![0x4a, 9, 0x0a],
            vec![0x4a, 0],
        ] {
            let bytes = [&plain[..], &odd, &plain].concat();
            assert_eq!(plain_attributes(&bytes), plain.len(), "{odd:?}");
            assert_eq!(plain_attributes(&odd), 0, "{odd:?}");
        }
        assert_eq!(plain_attributes(&plain), plain.len());
        assert_eq!(plain_attributes(&[]), 0);
    }

    proptest! {
        #[test]
        fn is_as_strict_as_one_by_one(parts in prop::collection::vec(prop_oneof![
            8 => "[a-z]{0,8}".prop_map(|value| text(value.as_bytes())),
            2 => (0i64..1000).prop_map(|n| { let mut value = vec![0x18]; put_varint(&mut value, n as u64); attribute(b"n", &value) }),
            1 => any::<f64>().prop_map(|n| attribute(b"d", &[&[0x21][..], &n.to_le_bytes()].concat())),
            1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| text(&bytes)),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ], 0..80)) {
            let bytes = parts.concat();
            prop_assert_eq!(plain_attributes(&bytes), slowly(&bytes));
        }
    }
}
