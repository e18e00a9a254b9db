//! Reads the first fields of a span at once, if they are encoded as by nearly all exporters.
//!
//! Other spans are read field by field.

/// The fields that exporters write first: each once, in this order, with minimal lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanHead<'a> {
    /// Field 1.
    pub trace_id: &'a [u8; 16],
    /// Field 2.
    pub span_id: &'a [u8; 8],
    /// Field 4; may be missing.
    pub parent_id: Option<&'a [u8; 8]>,
    /// Field 5, of fewer than 128 bytes, not checked to be UTF-8.
    pub name: &'a [u8],
    /// Field 6, from 1 to 5.
    pub kind: u8,
    /// Field 7.
    pub start: u64,
    /// Field 8.
    pub end: u64,
    /// The length of these fields.
    pub length: usize,
}

impl<'a> SpanHead<'a> {
    /// Reads the first fields of a span; `None` if they are encoded differently.
    #[inline]
    pub fn parse(span: &'a [u8]) -> Option<Self> {
        let (trace_id, rest) = id(span, 0x0a)?;
        let (span_id, rest) = id(rest, 0x12)?;
        let (parent_id, rest) = match id(rest, 0x22) {
            Some((parent, rest)) => (Some(parent), rest),
            None => (None, rest),
        };
        let [0x2a, length @ 0..0x80, rest @ ..] = rest else { return None };
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let [0x30, kind @ 1..=5, rest @ ..] = rest else { return None };
        let (start, rest) = time(rest, 0x39)?;
        let (end, rest) = time(rest, 0x41)?;
        let length = span.len() - rest.len();
        Some(Self { trace_id, span_id, parent_id, name, kind: *kind, start, end, length })
    }
}

#[inline]
fn id<const N: usize>(bytes: &[u8], tag: u8) -> Option<(&[u8; N], &[u8])> {
    match bytes {
        [first, length, rest @ ..] if *first == tag && usize::from(*length) == N => rest.split_first_chunk(),
        _ => None,
    }
}

#[inline]
fn time(bytes: &[u8], tag: u8) -> Option<(u64, &[u8])> {
    let (time, rest) = bytes.strip_prefix(&[tag])?.split_first_chunk()?;
    Some((u64::from_le_bytes(*time), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::{Reader, Value};
    use super::*;

    fn written(parent: bool, name: &[u8]) -> Vec<u8> {
        let mut span = [&[0x0a, 16][..], &[1; 16], &[0x12, 8], &[2; 8]].concat();
        if parent {
            span.extend_from_slice(&[0x22, 8, 3, 3, 3, 3, 3, 3, 3, 3]);
        }
        span.extend_from_slice(&[0x2a, name.len() as u8]);
        span.extend_from_slice(name);
        span.extend_from_slice(&[0x30, 2, 0x39, 7, 0, 0, 0, 0, 0, 0, 0, 0x41, 9, 0, 0, 0, 0, 0, 0, 0]);
        span
    }

    #[test]
    fn what_exporters_write_is_read() {
        for parent in [false, true] {
            let mut span = written(parent, b"GET /");
            let length = span.len();
            span.extend_from_slice(&[0x7a, 0]);
            let head = SpanHead::parse(&span).unwrap();
            assert_eq!((head.trace_id, head.span_id), (&[1; 16], &[2; 8]));
            assert_eq!(head.parent_id, parent.then_some(&[3; 8]));
            assert_eq!((head.name, head.kind, head.start, head.end), (&b"GET /"[..], 2, 7, 9));
            assert_eq!(head.length, length);
        }
    }

    proptest! {
        /// A byte is changed or the end is cut off: the result is `None` or equals the fields.
        #[test]
        fn it_says_what_the_fields_say(parent: bool, name in "[a-z]{0,9}", at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut span = written(parent, name.as_bytes());
            let at = at.index(span.len());
            span[at] = byte;
            span.truncate(span.len() - cut.index(span.len() + 1) / 8);
            let Some(head) = SpanHead::parse(&span) else { return Ok(()) };
            let mut reader = Reader::new(&span);
            let mut seen = Vec::new();
            while reader.offset() < head.length {
                let field = reader.next_field().unwrap().unwrap();
                seen.push((field.number, field.value));
            }
            prop_assert_eq!(reader.offset(), head.length);
            let mut said = vec![(1, Value::Bytes(head.trace_id)), (2, Value::Bytes(head.span_id))];
            said.extend(head.parent_id.map(|parent| (4, Value::Bytes(parent))));
            said.push((5, Value::Bytes(head.name)));
            said.push((6, Value::Varint(head.kind.into())));
            said.extend([(7, Value::Fixed64(head.start)), (8, Value::Fixed64(head.end))]);
            prop_assert_eq!(seen, said);
        }
    }
}
