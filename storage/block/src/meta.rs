//! The zone map of a block, which the catalog contains, so that queries skip blocks without reading them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{TimeRange, UnixNanos};

use crate::record::{self, RecordError};

/// The zone map: bounds and counts of a block's spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// 0 for fresh blocks, 1 more than its inputs for a merged block.
    pub level: u8,
    /// When the block was written, by the server's clock.
    pub created: UnixNanos,
    /// Number of spans.
    pub spans: u32,
    /// Number of distinct traces.
    pub traces: u32,
    /// Number of failed spans.
    pub failed: u32,
    /// The earliest start of a span.
    pub min_start: UnixNanos,
    /// The latest start of a span.
    pub max_start: UnixNanos,
    /// The shortest duration as shown, in nanoseconds.
    pub min_duration: u64,
    /// The longest duration as shown, in nanoseconds.
    pub max_duration: u64,
    /// The smallest sequence number of a commit that stored one of its spans.
    pub min_sequence: u64,
    /// The largest sequence number of a commit that stored one of its spans.
    pub max_sequence: u64,
    /// Bit n is set when a span has kind n.
    pub kinds: u8,
    /// Bit n is set when a span has status n.
    pub statuses: u8,
    /// Services with their operations, sorted by the name of the service.
    pub services: Vec<ServiceMeta>,
    /// Whether its rows are log records of spans, and not spans. The version of the record says it.
    #[serde(skip)]
    pub logs: bool,
}

/// A service that has spans in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMeta {
    /// The name of the service.
    pub name: String,
    /// Its operations, sorted by name.
    pub operations: Vec<OperationMeta>,
}

/// A span name of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationMeta {
    /// The name.
    pub name: String,
    /// Bit n is set when a span of the name has kind n.
    pub kinds: u8,
}

/// A row of the catalog: the size of a live block, and its zone map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRow {
    /// Size of the block in bytes.
    pub bytes: u64,
    /// Size of its header in bytes.
    pub header_bytes: u32,
    /// Its zone map.
    pub meta: BlockMeta,
}

/// The versions of zone maps and catalog rows: of blocks of spans, and of blocks of logs, which are laid out alike. A
/// Spandrel that knows no logs must not take them for spans, so it refuses the second one as newer than itself.
const SPANS_VERSION: u8 = 1;
const LOGS_VERSION: u8 = 2;

/// Decodes a record of either version; whether it is of logs.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, bool), RecordError> {
    match record::decode(SPANS_VERSION, bytes) {
        Err(RecordError::Version { .. }) => Ok((record::decode(LOGS_VERSION, bytes)?, true)),
        spans => Ok((spans?, false)),
    }
}

// === impl BlockMeta ===

impl BlockMeta {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode(self.version(), self)
    }

    /// Decodes the zone map from its section.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (meta, logs) = decode(bytes)?;
        Ok(Self { logs, ..meta })
    }

    /// Number of its rows that are spans: all or none.
    pub fn span_rows(&self) -> u32 {
        if self.logs { 0 } else { self.spans }
    }

    fn version(&self) -> u8 {
        if self.logs { LOGS_VERSION } else { SPANS_VERSION }
    }

    /// Whether a span of the block may start in the range.
    pub fn touches(&self, range: &TimeRange) -> bool {
        range.touches(self.min_start, self.max_start)
    }
}

// === impl OperationMeta ===

impl OperationMeta {
    /// The kinds of its spans.
    pub fn kinds(&self) -> impl Iterator<Item = SpanKind> + use<> {
        let kinds = self.kinds;
        (0..8).filter(move |bit| kinds & (1 << bit) != 0).map(SpanKind::from_raw)
    }
}

// === impl CatalogRow ===

impl CatalogRow {
    /// Encodes the row as a record.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode(self.meta.version(), self)
    }

    /// Decodes a row.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (mut row, logs): (Self, bool) = decode(bytes)?;
        row.meta.logs = logs;
        Ok(row)
    }

    /// Whether a newer Spandrel wrote the row.
    pub fn is_newer(bytes: &[u8]) -> bool {
        record::is_newer(LOGS_VERSION, bytes)
    }
}
