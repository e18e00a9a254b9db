//! Rollups of a block: requests, errors and latencies by minute, operation and kind.
//!
//! They count every span of the block once, so that counts over whole minutes are answered without reading a column.
//! Stored as a record of version 2; version 1 had no exemplars.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::exemplar::Exemplar;
use crate::flags::RowFlags;
use crate::record::{self, RecordError};
use crate::sketch::{LatencySketch, SketchCounter, bucket_of};

/// Nanoseconds in a minute, the time step of rollups.
pub const MINUTE: u64 = 60_000_000_000;

/// Counts of the spans that started in the same minute and have the same operation, kind and parenthood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupRow {
    /// Minutes since the epoch.
    pub minute: u32,
    /// Index into the dictionary's operations.
    pub operation: u32,
    /// The bits of [`RowFlags`] for kind and parent.
    flags: u8,
    /// Number of spans.
    pub count: u64,
    /// Number of failed spans.
    pub errors: u64,
    /// Their durations as shown, in nanoseconds.
    pub latency: LatencySketch,
    /// The worst span: failed ones before others, then the longest. `None` in version 1.
    pub worst: Option<Exemplar>,
}

/// A row of version 1.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct OldRow {
    minute: u32,
    operation: u32,
    flags: u8,
    count: u64,
    errors: u64,
    latency: LatencySketch,
}

const VERSION: u8 = 2;
/// The bits that rollups distinguish: kind and parent.
const KEPT: u8 = 0b0100_0111;

#[derive(Debug, Default)]
pub(crate) struct RollupBuilder {
    index: FxHashMap<RollupKey, u32>,
    rows: Vec<Gathered>,
}

/// A row that is being built. Durations are kept as bucket numbers and counted together at the end.
#[derive(Debug)]
struct Gathered {
    key: RollupKey,
    errors: u64,
    buckets: Vec<u16>,
    max: u64,
    worst: Option<Exemplar>,
}

/// Rollups are grouped by this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RollupKey {
    minute: u32,
    operation: u32,
    flags: u8,
}

// === impl RollupBuilder ===

impl RollupBuilder {
    pub(crate) fn add(&mut self, start: u64, operation: u32, flags: RowFlags, span: Exemplar) {
        let key = RollupKey { minute: (start / MINUTE) as u32, operation, flags: flags.0 & KEPT };
        let at = *self.index.entry(key).or_insert_with(|| {
            self.rows.push(Gathered { key, errors: 0, buckets: Vec::new(), max: 0, worst: None });
            self.rows.len() as u32 - 1
        });
        let row = &mut self.rows[at as usize];
        row.errors += u64::from(span.failed);
        row.buckets.push(bucket_of(span.duration));
        row.max = row.max.max(span.duration);
        row.worst = row.worst.max(Some(span));
    }

    /// Returns the rows, sorted by key.
    pub(crate) fn finish(mut self) -> Vec<RollupRow> {
        self.rows.sort_unstable_by_key(|row| row.key);
        let mut counter = SketchCounter::default();
        let finish = |row: Gathered| {
            let RollupKey { minute, operation, flags } = row.key;
            let (count, latency) = (row.buckets.len() as u64, counter.count(&row.buckets, row.max));
            RollupRow { minute, operation, flags, count, errors: row.errors, latency, worst: row.worst }
        };
        self.rows.into_iter().map(finish).collect()
    }
}

// === impl RollupRow ===

impl RollupRow {
    /// Kind and parent of its spans; the bits of status and failure are zero.
    pub fn flags(&self) -> RowFlags {
        RowFlags(self.flags)
    }

    /// The first nanosecond of the minute.
    pub fn start(&self) -> u64 {
        u64::from(self.minute) * MINUTE
    }

    pub(crate) fn encode_all(rows: &[Self]) -> Result<Vec<u8>, RecordError> {
        record::encode(VERSION, &rows)
    }

    /// Decodes the rows from their section.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, RecordError> {
        let rows: Vec<Self> = match bytes.first() {
            Some(1) => record::decode::<Vec<OldRow>>(1, bytes)?.into_iter().map(Self::from).collect(),
            _ => record::decode(VERSION, bytes)?,
        };
        match rows.iter().all(Self::is_consistent) {
            true => Ok(rows),
            false => Err(RecordError::Payload("a rollup contradicts itself".to_owned())),
        }
    }

    /// Whether its minute is a possible time and its counts agree with each other.
    fn is_consistent(&self) -> bool {
        u64::from(self.minute) <= u64::MAX / MINUTE
            && self.errors <= self.count
            && self.latency.checked_count() == Some(self.count)
    }
}

impl From<OldRow> for RollupRow {
    fn from(old: OldRow) -> Self {
        let OldRow { minute, operation, flags, count, errors, latency } = old;
        Self { minute, operation, flags, count, errors, latency, worst: None }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::TraceId;

    use super::*;

    #[test]
    fn rollups_that_contradict_themselves_are_refused() {
        let mut builder = RollupBuilder::default();
        let trace = TraceId::from_bytes([7; 16]);
        builder.add(u64::MAX, 0, RowFlags(2), Exemplar { failed: true, duration: 7, trace });
        let row = builder.finish().remove(0);
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

    #[test]
    fn version_1_has_everything_but_the_worst() {
        let mut builder = RollupBuilder::default();
        let span =
            |failed, duration, trace| Exemplar { failed, duration, trace: TraceId::from_bytes([trace; 16]) };
        for span in [span(false, 9, 1), span(true, 5, 2), span(true, 6, 3)] {
            builder.add(u64::MAX, 3, RowFlags(2), span);
        }
        let row = builder.finish().remove(0);
        assert_eq!(row.worst, Some(span(true, 6, 3)));
        let RollupRow { minute, operation, flags, count, errors, latency, .. } = row.clone();
        let old = vec![OldRow { minute, operation, flags, count, errors, latency }];
        let bytes = record::encode(1, &old).unwrap();
        assert_eq!(RollupRow::decode_all(&bytes), Ok(vec![RollupRow { worst: None, ..row }]));
    }
}
