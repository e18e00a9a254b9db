//! Identifiers of 16 and 8 bytes for those of SkyWalking. They are the same in every process and version, because the
//! segments of a trace arrive apart from each other.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use crate::hex;

/// The trace ID of a text: its own digits where it is a UUID or 32 hex digits, else a hash of it; all zero for an empty
/// one.
pub fn trace_id(text: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    if text.is_empty() || hex::parse(text, &mut id) || of_uuid(text, &mut id) {
        return id;
    }
    xxh3_128(text).to_be_bytes()
}

/// The ID of the span of this number in a segment; all zero where the segment has no ID.
pub(super) fn span_id(segment: &[u8], number: i32) -> [u8; 8] {
    if segment.is_empty() {
        return [0; 8];
    }
    // Zero would be no ID.
    xxh3_64_with_seed(segment, u64::from(number.cast_unsigned())).max(1).to_be_bytes()
}

fn of_uuid(text: &[u8], id: &mut [u8; 16]) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    if text.len() != 36 || DASHES.iter().any(|at| text[*at] != b'-') {
        return false;
    }
    let (mut digits, mut length) = ([0; 32], 0);
    for byte in text.iter().filter(|byte| **byte != b'-').take(32) {
        digits[length] = *byte;
        length += 1;
    }
    length == 32 && hex::parse(&digits, id)
}
