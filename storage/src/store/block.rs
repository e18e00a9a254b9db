//! One block as the store reads it: sections fetched when asked for, decoded once, kept in a bounded cache.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use spandrel_block::record::RecordError;
use spandrel_block::{
    BlockEdges, BlockKey, CatalogRow, ChunkRows, Dictionary, FormatError, Header, RollupRow, RowFlags,
    Section, SectionKind, TokenFilter, TraceTable, decode_column,
};
use spandrel_proto::otlp::wire::WireError;

use crate::engine::{Engine, EngineError};

/// A block of the catalog. As long as somebody holds one, its bytes are not deleted.
#[derive(Debug)]
pub(crate) struct BlockEntry {
    pub(crate) key: BlockKey,
    pub(crate) row: CatalogRow,
}

/// Why a part of a block cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum BlockError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("a stored span does not decode: {0}")]
    Wire(#[from] WireError),
}

/// Reads blocks through a cache of decoded parts.
pub(crate) struct BlockReader {
    engine: Arc<dyn Engine>,
    cache: Cache<PartKey, Part, PartWeighter>,
}

/// Block, section, and for body chunks which one.
type PartKey = (u64, SectionKey, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SectionKey {
    Header,
    Section(SectionKind),
}

#[derive(Clone)]
enum Part {
    Header(Arc<Header>),
    Dictionary(Arc<Dictionary>),
    Traces(Arc<TraceTable>),
    Wide(Arc<Vec<u64>>),
    Flags(Arc<Vec<RowFlags>>),
    Operations(Arc<Vec<u32>>),
    Filter(Arc<TokenFilter>),
    Rollups(Arc<Vec<RollupRow>>),
    Edges(Arc<BlockEdges>),
    Chunk(Bytes),
}

#[derive(Clone)]
struct PartWeighter;

/// Parts that come and go are counted at least so much, for the cache's own entry.
const ENTRY_BYTES: u64 = 128;

macro_rules! part {
    ($self:ident, $entry:ident, $kind:expr, $variant:ident, $decode:expr) => {{
        let key = ($entry.key.block.0, SectionKey::Section($kind), 0);
        if let Some(Part::$variant(part)) = $self.cache.get(&key) {
            return Ok(part);
        }
        let bytes = $self.section($entry, $kind)?;
        let part = Arc::new($decode(bytes)?);
        $self.cache.insert(key, Part::$variant(part.clone()));
        Ok(part)
    }};
}

// === impl BlockReader ===

impl BlockReader {
    pub(crate) fn new(engine: Arc<dyn Engine>, cache_bytes: u64) -> Self {
        // An estimate of how many parts fit; it sizes the cache's tables, not its contents.
        let parts = (cache_bytes / (32 << 10)).max(64) as usize;
        Self { engine, cache: Cache::with_weighter(parts, cache_bytes, PartWeighter) }
    }

    pub(crate) fn header(&self, entry: &BlockEntry) -> Result<Arc<Header>, BlockError> {
        let key = (entry.key.block.0, SectionKey::Header, 0);
        if let Some(Part::Header(header)) = self.cache.get(&key) {
            return Ok(header);
        }
        let header = Arc::new(Header::parse(&self.fetch(entry, 0..u64::from(entry.row.header_bytes))?)?);
        self.cache.insert(key, Part::Header(header.clone()));
        Ok(header)
    }

    pub(crate) fn dictionary(&self, entry: &BlockEntry) -> Result<Arc<Dictionary>, BlockError> {
        part!(self, entry, SectionKind::Dictionary, Dictionary, Dictionary::decode)
    }

    pub(crate) fn traces(&self, entry: &BlockEntry) -> Result<Arc<TraceTable>, BlockError> {
        let meta = &entry.row.meta;
        let decode = |bytes| TraceTable::decode(bytes, meta.traces as usize, meta.spans);
        part!(self, entry, SectionKind::Traces, Traces, decode)
    }

    pub(crate) fn starts(&self, entry: &BlockEntry) -> Result<Arc<Vec<u64>>, BlockError> {
        part!(self, entry, SectionKind::Start, Wide, |bytes| column(entry, bytes))
    }

    pub(crate) fn durations(&self, entry: &BlockEntry) -> Result<Arc<Vec<u64>>, BlockError> {
        part!(self, entry, SectionKind::Duration, Wide, |bytes| column(entry, bytes))
    }

    pub(crate) fn sequences(&self, entry: &BlockEntry) -> Result<Arc<Vec<u64>>, BlockError> {
        part!(self, entry, SectionKind::Sequence, Wide, |bytes| column(entry, bytes))
    }

    pub(crate) fn flags(&self, entry: &BlockEntry) -> Result<Arc<Vec<RowFlags>>, BlockError> {
        let narrow = |bytes| {
            column(entry, bytes).map(|v| v.into_iter().map(|flags| RowFlags(flags as u8)).collect::<Vec<_>>())
        };
        part!(self, entry, SectionKind::Flags, Flags, narrow)
    }

    /// Indices into the dictionary's operations, each checked.
    pub(crate) fn operations(&self, entry: &BlockEntry) -> Result<Arc<Vec<u32>>, BlockError> {
        let known = self.dictionary(entry)?.operations.len() as u64;
        let narrow = |bytes| {
            let wide = column(entry, bytes)?;
            if wide.iter().any(|index| *index >= known) {
                return Err(FormatError::Damaged("column"));
            }
            Ok(wide.into_iter().map(|index| index as u32).collect::<Vec<_>>())
        };
        part!(self, entry, SectionKind::Operation, Operations, narrow)
    }

    pub(crate) fn filter(&self, entry: &BlockEntry) -> Result<Arc<TokenFilter>, BlockError> {
        let decode = |bytes: Bytes| TokenFilter::decode(&bytes).ok_or(FormatError::Damaged("token filter"));
        part!(self, entry, SectionKind::Filter, Filter, decode)
    }

    pub(crate) fn rollups(&self, entry: &BlockEntry) -> Result<Arc<Vec<RollupRow>>, BlockError> {
        let known = self.dictionary(entry)?.operations.len();
        let decode = |bytes: Bytes| -> Result<Vec<RollupRow>, BlockError> {
            let rows = RollupRow::decode_all(&bytes)?;
            let counted = rows.iter().try_fold(0u64, |sum, row| sum.checked_add(row.count));
            let in_order = rows.iter().all(|row| (row.operation as usize) < known)
                && counted == Some(u64::from(entry.row.meta.spans));
            in_order.then_some(rows).ok_or(FormatError::Damaged("rollups").into())
        };
        part!(self, entry, SectionKind::Rollups, Rollups, decode)
    }

    /// Blocks that were written before edges were known lack them.
    pub(crate) fn edges(&self, entry: &BlockEntry) -> Result<Arc<BlockEdges>, BlockError> {
        let services = self.dictionary(entry)?.services.len();
        let decode = |bytes: Bytes| BlockEdges::decode(&bytes, entry.row.meta.spans, services);
        part!(self, entry, SectionKind::Edges, Edges, decode)
    }

    /// Keeps edges that were found in another way.
    pub(crate) fn keep_edges(&self, entry: &BlockEntry, edges: &Arc<BlockEdges>) {
        let key = (entry.key.block.0, SectionKey::Section(SectionKind::Edges), 0);
        self.cache.insert(key, Part::Edges(edges.clone()));
    }

    /// The rows of one body chunk. `keep` says whether it is likely to be asked for again.
    pub(crate) fn chunk(
        &self,
        entry: &BlockEntry,
        index: usize,
        keep: bool,
    ) -> Result<ChunkRows, BlockError> {
        let key = (entry.key.block.0, SectionKey::Section(SectionKind::Body), index as u32);
        if let Some(Part::Chunk(bytes)) = self.cache.get(&key) {
            return Ok(ChunkRows::new(bytes));
        }
        let header = self.header(entry)?;
        let section = header.chunks().get(index).ok_or(FormatError::Damaged("header"))?;
        let stored = self.fetch(entry, section.range())?;
        // Every chunk of the block is inflated with the first one: that is kept in any case.
        let first = match (section.needs_first_chunk(), index) {
            (false, _) => None,
            (true, 0) => return Err(FormatError::Damaged("header").into()),
            (true, _) => Some(self.chunk(entry, 0, true)?),
        };
        let bytes = section.decode(stored, first.as_ref().map(ChunkRows::bytes))?;
        if keep || index == 0 {
            self.cache.insert(key, Part::Chunk(bytes.clone()));
        }
        Ok(ChunkRows::new(bytes))
    }

    fn section(&self, entry: &BlockEntry, kind: SectionKind) -> Result<Bytes, BlockError> {
        let section: Section = *self.header(entry)?.section(kind)?;
        Ok(section.decode(self.fetch(entry, section.range())?, None)?)
    }

    fn fetch(&self, entry: &BlockEntry, range: std::ops::Range<u64>) -> Result<Bytes, BlockError> {
        let mut parts = self.engine.get_ranges(&entry.key, &[range])?;
        Ok(parts.pop().unwrap_or_default())
    }
}

fn column(entry: &BlockEntry, bytes: Bytes) -> Result<Vec<u64>, FormatError> {
    decode_column(&bytes, entry.row.meta.spans as usize)
}

// === impl PartWeighter ===

impl Weighter<PartKey, Part> for PartWeighter {
    fn weight(&self, _key: &PartKey, part: &Part) -> u64 {
        let bytes = match part {
            Part::Header(header) => header.chunks().len() * 40 + 600,
            Part::Dictionary(dictionary) => {
                let records = dictionary.resources.iter().chain(&dictionary.scopes);
                records.map(|record| record.len() + 64).sum::<usize>() + dictionary.operations.len() * 80
            }
            Part::Traces(traces) => traces.entries().len() * 24,
            Part::Wide(values) => values.len() * 8,
            Part::Flags(flags) => flags.len(),
            Part::Operations(operations) => operations.len() * 4,
            Part::Filter(filter) => filter.size(),
            Part::Rollups(rows) => rows.len() * 512,
            Part::Edges(edges) => edges.size(),
            Part::Chunk(bytes) => bytes.len(),
        };
        bytes as u64 + ENTRY_BYTES
    }
}
