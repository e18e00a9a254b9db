//! Rollups of a block: requests, errors and latencies by minute, operation and kind.
//!
//! They count every span of the block once, so that counts over whole minutes are answered without
//! touching a column. Stored as a record of version 1.

use serde::{Deserialize, Serialize};

use crate::flags::RowFlags;
use crate::record::{self, RecordError};
use crate::sketch::LatencySketch;

/// Nanoseconds of a rollup's minute.
pub const MINUTE: u64 = 60_000_000_000;

/// Spans that started in the same minute, of one operation, kind and parenthood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupRow {
    /// Minutes since the epoch.
    pub minute: u32,
    /// Index into the dictionary's operations.
    pub operation: u32,
    /// The bits for kind and parent of [`RowFlags`].
    flags: u8,
    /// Spans.
    pub count: u64,
    /// Failed spans.
    pub errors: u64,
    /// Their durations.
    pub latency: LatencySketch,
}

const VERSION: u8 = 1;
/// Kind and parent: what tells requests and kinds apart.
const KEPT: u8 = 0b0100_0111;

/// What rollups are gathered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RollupKey {
    minute: u32,
    operation: u32,
    flags: u8,
}

// === impl RollupKey ===

impl RollupKey {
    pub(crate) fn of(start: u64, operation: u32, flags: RowFlags) -> Self {
        Self { minute: (start / MINUTE) as u32, operation, flags: flags.0 & KEPT }
    }
}

// === impl RollupRow ===

impl RollupRow {
    pub(crate) fn new(key: RollupKey) -> Self {
        let RollupKey { minute, operation, flags } = key;
        Self { minute, operation, flags, count: 0, errors: 0, latency: LatencySketch::default() }
    }

    pub(crate) fn add(&mut self, duration: u64, failed: bool) {
        self.count += 1;
        self.errors += u64::from(failed);
        self.latency.add(duration);
    }

    /// Kind and parent of its spans; status and failure are not told apart here.
    pub fn flags(&self) -> RowFlags {
        RowFlags(self.flags)
    }

    /// The first nanosecond of its minute.
    pub fn start(&self) -> u64 {
        u64::from(self.minute) * MINUTE
    }

    pub(crate) fn encode_all(rows: &[Self]) -> Result<Vec<u8>, RecordError> {
        record::encode(VERSION, &rows)
    }

    /// Rollups back from their section.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, RecordError> {
        let rows: Vec<Self> = record::decode(VERSION, bytes)?;
        match rows.iter().all(Self::is_consistent) {
            true => Ok(rows),
            false => Err(RecordError::Payload("a rollup contradicts itself".to_owned())),
        }
    }

    /// Within time, and counted alike by everything that counts.
    fn is_consistent(&self) -> bool {
        u64::from(self.minute) <= u64::MAX / MINUTE
            && self.errors <= self.count
            && self.latency.checked_count() == Some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollups_that_contradict_themselves_are_refused() {
        let key = RollupKey::of(u64::MAX, 0, RowFlags(2));
        let mut row = RollupRow::new(key);
        row.add(7, true);
        let decode = |row: &RollupRow| {
            RollupRow::decode_all(&RollupRow::encode_all(std::slice::from_ref(row)).unwrap())
        };
        assert_eq!(decode(&row), Ok(vec![row.clone()]));
        for broken in [
            RollupRow { minute: u32::MAX, ..row.clone() },
            RollupRow { errors: 2, ..row.clone() },
            RollupRow { count: 2, ..row.clone() },
        ] {
            assert!(matches!(decode(&broken), Err(RecordError::Payload(_))), "{broken:?}");
        }
    }
}
