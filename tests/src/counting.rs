//! An engine that counts the cost of a query: seeks in the trace index, and the parts of blocks that are read. On a
//! slow disk these decide how fast the store is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use spandrel_block::{BlockId, BlockKey, CatalogRow, Header, RowRange, SectionKind};
use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::Engine;
use spandrel_storage::engine::{BlockStore, Catalog, Change, EngineError, Records, TraceIndex};

use crate::delegate::delegate;

/// Delegates every call to an engine and counts the reads.
pub struct CountingEngine {
    inner: Arc<dyn Engine>,
    asked: Mutex<Asked>,
}

/// The reads of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Seeks in the trace index.
    pub seeks: usize,
    /// Parts of blocks that were read, in order.
    pub reads: Vec<(BlockKey, Range<u64>)>,
}

// === impl CountingEngine ===

impl CountingEngine {
    /// An engine with no reads yet.
    pub fn new(inner: Arc<dyn Engine>) -> Arc<Self> {
        Arc::new(Self { inner, asked: Mutex::default() })
    }

    /// The result of `question` and its reads; no other thread may use the engine meanwhile.
    pub fn during<T>(&self, question: impl FnOnce() -> T) -> (T, Asked) {
        self.take();
        let answer = question();
        (answer, self.take())
    }

    /// The reads since the last call.
    pub fn take(&self) -> Asked {
        std::mem::take(&mut self.asked.lock())
    }

    /// How many of these reads touched each section; `None` stands for the header.
    pub fn sections(&self, asked: &Asked) -> BTreeMap<Option<SectionKind>, usize> {
        let mut touched = BTreeMap::new();
        for (key, range) in &asked.reads {
            let (header, header_bytes) = self.header(key);
            let in_header = (range.start < header_bytes).then_some(None);
            let meets = |section: &Range<u64>| section.start < range.end && range.start < section.end;
            let sections = header.sections().iter().filter(|section| meets(&section.range()));
            for part in in_header.into_iter().chain(sections.map(|section| Some(section.kind))) {
                *touched.entry(part).or_default() += 1;
            }
        }
        touched
    }

    fn header(&self, key: &BlockKey) -> (Header, u64) {
        let rows = self.inner.catalog_rows().unwrap();
        let (_, row) = rows.iter().find(|(known, _)| known == key).unwrap();
        let header_bytes = u64::from(CatalogRow::decode(row).unwrap().header_bytes);
        let bytes = self.inner.get_range(key, 0..header_bytes).unwrap();
        (Header::parse(&bytes).unwrap(), header_bytes)
    }
}

impl BlockStore for CountingEngine {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        let reads = ranges.iter().map(|range| (key.clone(), range.clone()));
        self.asked.lock().reads.extend(reads);
        self.inner.get_ranges(key, ranges)
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        self.inner.delete_blocks(keys)
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.unreferenced()
    }
}

impl TraceIndex for CountingEngine {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        self.asked.lock().seeks += 1;
        self.inner.find_trace(tenant, trace)
    }
}

impl Catalog for CountingEngine {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        self.inner.catalog_rows()
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        self.inner.commit(change)
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        self.inner.put_catalog_row(key, row)
    }
}

impl Records for CountingEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        self.inner.records(kind)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        self.inner.put_record(kind, name, value)
    }
}

delegate!(CountingEngine);
