//! Zone data: what the catalog knows of a block without reading it.

use serde::{Deserialize, Serialize};
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{TimeRange, UnixNanos};

use crate::record::{self, RecordError};

/// Bounds and counts of a block's spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// 0 for fresh blocks, one more for each merge.
    pub level: u8,
    /// When the block was written, by the server's clock.
    pub created: UnixNanos,
    /// Its spans.
    pub spans: u32,
    /// Its traces.
    pub traces: u32,
    /// Its failed spans.
    pub failed: u32,
    /// Earliest start.
    pub min_start: UnixNanos,
    /// Latest start.
    pub max_start: UnixNanos,
    /// Shortest duration.
    pub min_duration: u64,
    /// Longest duration.
    pub max_duration: u64,
    /// First commit that stored a span of it.
    pub min_sequence: u64,
    /// Last commit that stored a span of it.
    pub max_sequence: u64,
    /// Bit n is set when a span has kind n.
    pub kinds: u8,
    /// Bit n is set when a span has status n.
    pub statuses: u8,
    /// Services with their operations, sorted by name.
    pub services: Vec<ServiceMeta>,
}

/// A service that has spans in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMeta {
    /// Its name.
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

/// A row of the catalog: a block that exists, how long it is, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRow {
    /// Bytes of the block.
    pub bytes: u64,
    /// Bytes of its header.
    pub header_bytes: u32,
    /// Its zone map.
    pub meta: BlockMeta,
}

const META_VERSION: u8 = 1;
const ROW_VERSION: u8 = 1;

// === impl BlockMeta ===

impl BlockMeta {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode(META_VERSION, self)
    }

    /// Zone data back from its section.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        record::decode(META_VERSION, bytes)
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
    /// Its bytes.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode(ROW_VERSION, self)
    }

    /// Back from its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        record::decode(ROW_VERSION, bytes)
    }

    /// Whether a newer Spandrel has written it.
    pub fn is_newer(bytes: &[u8]) -> bool {
        record::is_newer(ROW_VERSION, bytes)
    }
}
