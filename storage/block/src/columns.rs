//! The columns of a block: what most questions ask of a span, row by row.
//!
//! A column is stored as its smallest value (8 bytes), a width in bytes (1) and the differences to
//! the smallest value in byte planes: first the lowest byte of every row, then the next. Planes of
//! high bytes are nearly constant and cost next to nothing once compressed; a constant column has
//! width 0.

use spandrel_proto::otlp::{SpanKind, SpanView, StatusCode};

use crate::format::FormatError;
use crate::semantics;

/// All columns of a block, decoded. Indexed by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Start in nanoseconds.
    pub start: Vec<u64>,
    /// End minus start, wrapping: an end before its start comes back as it was.
    pub duration: Vec<u64>,
    /// Kind, status, failed, parent.
    pub flags: Vec<RowFlags>,
    /// Index into the dictionary's operations.
    pub operation: Vec<u32>,
    /// The commit that stored the span.
    pub sequence: Vec<u64>,
}

/// Small facts of a span in one byte: kind (bits 0 to 2), status (3 and 4), failed (5), has a parent (6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowFlags(pub u8);

// === impl Columns ===

impl Columns {
    /// The duration that people see: zero for an end before its start.
    pub fn shown_duration(&self, row: usize) -> u64 {
        shown_duration(self.start[row], self.duration[row])
    }

    /// When the span of a row ended.
    pub fn end(&self, row: usize) -> u64 {
        self.start[row].wrapping_add(self.duration[row])
    }
}

/// Zero for an end before its start, which wraps around.
pub(crate) fn shown_duration(start: u64, duration: u64) -> u64 {
    if start.checked_add(duration).is_some() { duration } else { 0 }
}

// === impl RowFlags ===

impl RowFlags {
    /// The flags of a span.
    pub fn of(span: &SpanView<'_>, failed: bool) -> Self {
        let kind = match span.raw_kind {
            known @ 1..=5 => known as u8,
            _ => 0,
        };
        let status = match span.status() {
            StatusCode::Unset => 0,
            StatusCode::Ok => 1,
            StatusCode::Error => 2,
        };
        let has_parent = !semantics::is_parentless(span.parent_span_id);
        Self(kind | status << 3 | u8::from(failed) << 5 | u8::from(has_parent) << 6)
    }

    /// The kind; kinds that OTLP does not define read as unspecified.
    pub fn kind(self) -> SpanKind {
        SpanKind::from_raw(i32::from(self.0 & 7))
    }

    /// The status as sent.
    pub fn status(self) -> StatusCode {
        StatusCode::from_raw(i32::from(self.0 >> 3 & 3))
    }

    /// Whether the span has failed.
    pub fn failed(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// Whether the span has a parent.
    pub fn has_parent(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// Whether the span is a request.
    pub fn is_request(self) -> bool {
        semantics::is_request(self.kind(), self.has_parent())
    }
}

// === encoding ===

/// Encodes a column.
pub(crate) fn encode(values: impl ExactSizeIterator<Item = u64> + Clone) -> Vec<u8> {
    let min = values.clone().min().unwrap_or(0);
    let range = values.clone().max().unwrap_or(0) - min;
    let width = (64 - range.leading_zeros()).div_ceil(8) as usize;
    let rows = values.len();
    let mut out = vec![0; 9 + width * rows];
    out[..8].copy_from_slice(&min.to_le_bytes());
    out[8] = width as u8;
    for (row, value) in values.enumerate() {
        for (plane, byte) in (value - min).to_le_bytes()[..width].iter().enumerate() {
            out[9 + plane * rows + row] = *byte;
        }
    }
    out
}

/// Decodes a column of `rows` values.
pub fn decode_column(bytes: &[u8], rows: usize) -> Result<Vec<u64>, FormatError> {
    let damaged = FormatError::Damaged("column");
    let (min, rest) = bytes.split_first_chunk::<8>().ok_or(damaged.clone())?;
    let (&width, planes) = rest.split_first().ok_or(damaged.clone())?;
    if width > 8 || planes.len() != usize::from(width) * rows {
        return Err(damaged);
    }
    let mut values = vec![u64::from_le_bytes(*min); rows];
    for (plane, bytes) in planes.chunks_exact(rows.max(1)).enumerate() {
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = value.wrapping_add(u64::from(*byte) << (8 * plane));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_come_back(values in prop_oneof![
            prop::collection::vec(any::<u64>(), 0..50),
            prop::collection::vec(5u64..6, 0..50),
            prop::collection::vec(1_700_000_000_000_000_000u64..1_700_000_000_100_000_000, 0..50),
        ]) {
            let bytes = encode(values.iter().copied());
            prop_assert_eq!(decode_column(&bytes, values.len()).unwrap(), values.clone());
            prop_assert!(decode_column(&bytes[..bytes.len() - 1], values.len()).is_err());
            if !values.is_empty() && bytes.len() > 9 {
                prop_assert!(decode_column(&bytes, values.len() + 1).is_err());
            }
        }

        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..60), rows in 0usize..20) {
            let _ = decode_column(&bytes, rows);
        }
    }

    #[test]
    fn frozen_version_1() {
        assert_eq!(encode([258u64, 1, 2].into_iter()), [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn an_end_before_its_start_has_no_duration() {
        let columns =
            Columns { start: vec![100], duration: vec![40u64.wrapping_sub(100)], ..Columns::default() };
        assert_eq!((columns.shown_duration(0), columns.end(0)), (0, 40));
    }
}
