//! Cursors: where the next page begins, and a fingerprint of the query, as one opaque word.
//!
//! A record begins with a version and a kind, so that a cursor of another release or endpoint is refused. Times in it
//! are resolved: `now-1h` means the same moment for every page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use spandrel_proto::{TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::Position;

use crate::problem::Problem;

const VERSION: u8 = 1;
const SEARCH: u8 = 1;
const TREE: u8 = 2;

/// The position in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SearchCursor {
    /// Hash of the parameters that must not change.
    pub(crate) fingerprint: u64,
    pub(crate) range: TimeRange,
    pub(crate) position: Position,
}

/// The position in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TreeCursor {
    /// Hash of the trace ID and of the parameters that must not change.
    pub(crate) fingerprint: u64,
    /// Spans of the whole trace. If their number has changed, the order of the tree may have changed.
    pub(crate) span_count: u64,
    /// Spans of the pages so far.
    pub(crate) offset: u64,
}

// === impl SearchCursor ===

impl SearchCursor {
    pub(crate) fn encode(&self) -> String {
        let end = self.range.end;
        let mut record = Record::begin(SEARCH);
        record.number(self.fingerprint);
        record.number(self.range.start.0);
        record.number(u64::from(end.is_some()));
        record.number(end.map_or(0, |end| end.0));
        record.number(self.position.key);
        record.number(self.position.snapshot);
        record.0.extend_from_slice(self.position.trace.as_bytes());
        record.encode()
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Problem> {
        let (numbers, trace) = fields::<6, 16>(text, SEARCH)?;
        let [fingerprint, start, has_end, end, key, snapshot] = numbers;
        let end = (has_end != 0).then_some(UnixNanos(end));
        let position = Position { key, trace: TraceId::from_bytes(trace), snapshot };
        Ok(Self { fingerprint, range: TimeRange { start: UnixNanos(start), end }, position })
    }
}

// === impl TreeCursor ===

impl TreeCursor {
    pub(crate) fn encode(&self) -> String {
        let mut record = Record::begin(TREE);
        record.number(self.fingerprint);
        record.number(self.span_count);
        record.number(self.offset);
        record.encode()
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Problem> {
        let ([fingerprint, span_count, offset], []) = fields::<3, 0>(text, TREE)?;
        Ok(Self { fingerprint, span_count, offset })
    }
}

/// A number for a list of texts; the same for the same texts on every machine and in every release.
pub(crate) fn fingerprint_of(parts: &[&str]) -> u64 {
    // FNV-1a. The byte 0xff, which no UTF-8 text contains, separates the parts.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The refusal of a cursor that was given for another query.
pub(crate) fn other_query() -> Problem {
    Problem::parameter(
        "cursor",
        "this cursor was given for other parameters; repeat those, or leave the cursor out to begin again",
    )
}

struct Record(Vec<u8>);

// === impl Record ===

impl Record {
    fn begin(kind: u8) -> Self {
        Self(vec![VERSION, kind])
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }
}

/// Decodes the numbers of a record of this kind, and the bytes that follow them.
fn fields<const NUMBERS: usize, const BYTES: usize>(
    text: &str,
    kind: u8,
) -> Result<([u64; NUMBERS], [u8; BYTES]), Problem> {
    let not_ours = || {
        Problem::parameter(
            "cursor",
            "this is not a cursor of this endpoint; take nextCursor of the page before, or leave it out",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_ours())?;
    let body = bytes.strip_prefix(&[VERSION, kind]).ok_or_else(not_ours)?;
    let (numbers, rest) = body.split_at_checked(8 * NUMBERS).ok_or_else(not_ours)?;
    let mut decoded = [0; NUMBERS];
    for (number, bytes) in decoded.iter_mut().zip(numbers.as_chunks::<8>().0) {
        *number = u64::from_be_bytes(*bytes);
    }
    Ok((decoded, rest.try_into().map_err(|_| not_ours())?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(numbers in any::<[u64; 5]>(), trace in any::<[u8; 16]>(), end in any::<Option<u64>>()) {
            let [fingerprint, start, key, snapshot, offset] = numbers;
            let range = TimeRange { start: UnixNanos(start), end: end.map(UnixNanos) };
            let position = Position { key, trace: TraceId::from_bytes(trace), snapshot };
            let search = SearchCursor { fingerprint, range, position };
            prop_assert_eq!(SearchCursor::decode(&search.encode()), Ok(search));
            let tree = TreeCursor { fingerprint, span_count: key, offset };
            prop_assert_eq!(TreeCursor::decode(&tree.encode()), Ok(tree));
            prop_assert!(TreeCursor::decode(&search.encode()).is_err());
            prop_assert!(SearchCursor::decode(&tree.encode()).is_err());
        }

        #[test]
        fn anything_else_is_refused(text in "[A-Za-z0-9_=-]{0,60}") {
            prop_assert!(SearchCursor::decode(&text).is_err());
        }
    }

    #[test]
    fn fingerprints_tell_where_a_text_ends() {
        assert_ne!(fingerprint_of(&["a", "b"]), fingerprint_of(&["ab", ""]));
        assert_ne!(fingerprint_of(&["a", ""]), fingerprint_of(&["a"]));
        assert_eq!(fingerprint_of(&[]), 0xcbf2_9ce4_8422_2325);
    }
}
