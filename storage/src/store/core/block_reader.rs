//! Reads blocks: fetches sections when they are needed, decodes them once, and keeps them in a bounded cache.
//!
//! Blocks of format 1 are converted to today's format when they are first read, and kept in the cache as a whole, so
//! the layers above do not see the difference.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use spandrel_block::record::RecordError;
use spandrel_block::{
    BlockEdges, BlockId, BlockKey, CatalogRow, CorePage, Dictionary, FilterPart, FormatError, Header,
    IdsPage, OpenPage, OpenValues, RollupRow, Section, SectionKind, TextTable, Token, TraceTable,
    UpgradeError, ValuesPage, ZoneMap, derive,
};
use spandrel_proto::otlp::wire::WireError;

use crate::engine::{Engine, EngineError};

/// A block of the catalog. Its bytes are not deleted while a reader holds it.
#[derive(Debug)]
pub(crate) struct BlockEntry {
    pub(crate) key: BlockKey,
    pub(crate) row: CatalogRow,
    /// The filter of a fresh block that this process wrote; it is not stored.
    pub(crate) filter: Option<Arc<FilterPart>>,
    /// Estimated bytes of memory that a fresh block takes until it is merged.
    pub(crate) memory_bytes: u64,
    /// Whether a merge carried its rows over.
    pub(crate) carried_over: bool,
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
    #[error("a block of an older format cannot be read: {0}")]
    Upgrade(#[from] UpgradeError),
}

/// Reads blocks through a cache of decoded parts.
pub(crate) struct BlockReader {
    engine: Arc<dyn Engine>,
    cache: Cache<PartKey, Part, PartWeighter>,
}

/// Whether decoded pages stay in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// They are likely to be read again.
    Keep,
    /// They are read once, for example by a merge.
    Skip,
}

/// The block, the section, and for pages the number of the page.
type PartKey = (u64, SectionKey, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SectionKey {
    Source,
    Section(SectionKind),
}

/// Where the sections of a block are read from.
#[derive(Clone)]
enum Source {
    Engine(Arc<Header>),
    /// Converted from an older format.
    Memory(Arc<Header>, Bytes),
}

/// Stored sections of a page that were read together.
struct PageBytes {
    /// The offset of `bytes` in the block.
    begin: u64,
    bytes: Bytes,
    sections: Vec<Section>,
}

const PAGE_KINDS: [SectionKind; 3] = [SectionKind::Ids, SectionKind::Core, SectionKind::Values];

#[derive(Clone)]
enum Part {
    Source(Source),
    Dictionary(Arc<Dictionary>),
    Traces(Arc<TraceTable>),
    Filters(Arc<FilterPart>),
    Zones(Arc<Vec<ZoneMap>>),
    Rollups(Arc<Vec<RollupRow>>),
    Edges(Arc<BlockEdges>),
    Texts(Arc<TextTable>),
    Core(Arc<CorePage>),
    Ids(Arc<IdsPage>),
    Values(Arc<ValuesPage>),
}

#[derive(Clone)]
struct PartWeighter;

/// The least weight of a small part, which stands for the cache's own entry.
const ENTRY_BYTES: u64 = 128;

/// Returns a part from the cache, or else reads it and adds it to the cache.
macro_rules! part {
    ($self:ident, $entry:ident, $kind:expr, $page:expr, $keep:expr, $variant:ident, $make:expr) => {{
        let key = ($entry.key.block.0, SectionKey::Section($kind), $page);
        if let Some(Part::$variant(part)) = $self.cache.get(&key) {
            return Ok(part);
        }
        let part = Arc::new($make);
        if $keep {
            $self.cache.insert(key, Part::$variant(part.clone()));
        }
        Ok(part)
    }};
}

// === impl BlockEntry ===

impl BlockEntry {
    /// An entry for a block of which only the catalog row is known.
    pub(crate) fn new(key: BlockKey, row: CatalogRow) -> Self {
        // An append is one commit, and all spans of its block have its number. Rows that were carried over from a
        // single append look the same, and may be carried over once more.
        let carried_over = row.meta.level == 0 && row.meta.min_sequence < row.meta.max_sequence;
        Self { key, row, filter: None, memory_bytes: 0, carried_over }
    }
}

// === impl BlockReader ===

impl BlockReader {
    pub(crate) fn new(engine: Arc<dyn Engine>, cache_bytes: u64) -> Self {
        // An estimate of how many parts fit; it sizes the cache's tables and does not bound its contents.
        let parts = (cache_bytes / (32 << 10)).max(64) as usize;
        Self { engine, cache: Cache::with_weighter(parts, cache_bytes, PartWeighter) }
    }

    /// Removes blocks that are gone from the cache, to make room for others.
    pub(crate) fn forget(&self, blocks: &HashSet<BlockId>) {
        self.cache.retain(|(block, ..), _| !blocks.contains(&BlockId(*block)));
    }

    /// Reads the sections that every query of a block begins with. Damage is reported by the reader that needs them.
    pub(crate) fn warm(&self, entry: &BlockEntry) {
        let _ = self.dictionary(entry).and_then(|_| self.texts(entry));
    }

    pub(crate) fn header(&self, entry: &BlockEntry) -> Result<Arc<Header>, BlockError> {
        Ok(self.source(entry)?.header().clone())
    }

    pub(crate) fn dictionary(&self, entry: &BlockEntry) -> Result<Arc<Dictionary>, BlockError> {
        let kind = SectionKind::Dictionary;
        part!(self, entry, kind, 0, true, Dictionary, Dictionary::decode(self.section(entry, kind, 0)?)?)
    }

    /// The trace table, which is the same in every format, so an old block need not be converted for it.
    pub(crate) fn traces(&self, entry: &BlockEntry) -> Result<Arc<TraceTable>, BlockError> {
        let key = (entry.key.block.0, SectionKey::Section(SectionKind::Traces), 0);
        if let Some(Part::Traces(traces)) = self.cache.get(&key) {
            return Ok(traces);
        }
        let section = *self.stored_header(entry)?.section(SectionKind::Traces)?;
        let bytes = section.decode(self.fetch(entry, section.range())?)?;
        let meta = &entry.row.meta;
        let traces = Arc::new(TraceTable::decode(bytes, meta.traces as usize, meta.spans)?);
        self.cache.insert(key, Part::Traces(traces.clone()));
        Ok(traces)
    }

    /// Whether the block has format 1, which has to be converted.
    pub(crate) fn is_old(&self, entry: &BlockEntry) -> Result<bool, BlockError> {
        Ok(!self.stored_header(entry)?.is_columnar())
    }

    pub(crate) fn texts(&self, entry: &BlockEntry) -> Result<Arc<TextTable>, BlockError> {
        let kind = SectionKind::Texts;
        part!(self, entry, kind, 0, true, Texts, TextTable::decode(&self.section(entry, kind, 0)?)?)
    }

    /// The part of its Bloom filters that contains a token; `None` for a block without filters.
    pub(crate) fn filters(
        &self,
        entry: &BlockEntry,
        token: Token,
    ) -> Result<Option<Arc<FilterPart>>, BlockError> {
        if let Some(filter) = &entry.filter {
            return Ok(Some(filter.clone()));
        }
        let header = self.header(entry)?;
        if header.is_without_derived() {
            return Ok(None);
        }
        let number = FilterPart::of_token(token, header.pages(SectionKind::Filter).len()) as u32;
        self.filter_part(entry, &header, number).map(Some)
    }

    fn filter_part(
        &self,
        entry: &BlockEntry,
        header: &Header,
        number: u32,
    ) -> Result<Arc<FilterPart>, BlockError> {
        let kind = SectionKind::Filter;
        let (parts, pages) = (header.pages(kind).len(), header.pages(SectionKind::Core).len());
        let read = || -> Result<FilterPart, BlockError> {
            let section = owned(self.section(entry, kind, number)?);
            let part = FilterPart::decode(section, parts, pages, header.version());
            Ok(part.ok_or(FormatError::Damaged("token filter"))?)
        };
        part!(self, entry, kind, number, true, Filters, read()?)
    }

    /// The zone maps of its pages; `None` for a block without derived sections.
    pub(crate) fn zones(&self, entry: &BlockEntry) -> Result<Option<Arc<Vec<ZoneMap>>>, BlockError> {
        let header = self.header(entry)?;
        if header.is_without_derived() {
            return Ok(None);
        }
        self.stored_zones(entry, header.pages(SectionKind::Core).len()).map(Some)
    }

    fn stored_zones(&self, entry: &BlockEntry, pages: usize) -> Result<Arc<Vec<ZoneMap>>, BlockError> {
        let kind = SectionKind::Zones;
        let read = || -> Result<Vec<ZoneMap>, BlockError> {
            Ok(ZoneMap::decode_all(&self.section(entry, kind, 0)?, pages, &*self.dictionary(entry)?)?)
        };
        part!(self, entry, kind, 0, true, Zones, read()?)
    }

    pub(crate) fn rollups(&self, entry: &BlockEntry) -> Result<Arc<Vec<RollupRow>>, BlockError> {
        let kind = SectionKind::Rollups;
        let read = || -> Result<Vec<RollupRow>, BlockError> {
            let dictionary = self.dictionary(entry)?;
            if self.header(entry)?.is_without_derived() {
                let cores: Result<Vec<_>, BlockError> =
                    (0..self.pages(entry)? as u32).map(|page| self.core(entry, page)).collect();
                return Ok(derive::rollups(&dictionary, &cores?, &*self.traces(entry)?)?);
            }
            let rows = RollupRow::decode_all(&self.section(entry, kind, 0)?)?;
            let counted = rows.iter().try_fold(0u64, |sum, row| sum.checked_add(row.count));
            let in_order = rows.iter().all(|row| (row.operation as usize) < dictionary.operations.len())
                && counted == Some(u64::from(entry.row.meta.spans));
            if in_order { Ok(rows) } else { Err(FormatError::Damaged("rollups").into()) }
        };
        part!(self, entry, kind, 0, true, Rollups, read()?)
    }

    pub(crate) fn edges(&self, entry: &BlockEntry) -> Result<Arc<BlockEdges>, BlockError> {
        let kind = SectionKind::Edges;
        let read = || -> Result<BlockEdges, BlockError> {
            if self.header(entry)?.is_without_derived() {
                let pages: Result<Vec<_>, BlockError> = (0..self.pages(entry)? as u32)
                    .map(|page| self.page(entry, page, Caching::Skip))
                    .collect();
                return Ok(derive::edges(&pages?, &*self.traces(entry)?)?);
            }
            let services = self.dictionary(entry)?.services.len();
            Ok(BlockEdges::decode(&self.section(entry, kind, 0)?, entry.row.meta.spans, services)?)
        };
        part!(self, entry, kind, 0, true, Edges, read()?)
    }

    /// The number of pages.
    pub(crate) fn pages(&self, entry: &BlockEntry) -> Result<usize, BlockError> {
        if let Some(filter) = &entry.filter {
            return Ok(filter.pages());
        }
        Ok(self.source(entry)?.header().pages(SectionKind::Core).len())
    }

    /// The columns that every row of a page has.
    pub(crate) fn core(&self, entry: &BlockEntry, page: u32) -> Result<Arc<CorePage>, BlockError> {
        let (dictionary, kind) = (self.dictionary(entry)?, SectionKind::Core);
        let read =
            || CorePage::decode(&self.section(entry, kind, page)?, &dictionary).map_err(BlockError::from);
        part!(self, entry, kind, page, true, Core, read()?)
    }

    pub(crate) fn ids(&self, entry: &BlockEntry, page: u32, rows: usize) -> Result<Arc<IdsPage>, BlockError> {
        let kind = SectionKind::Ids;
        part!(self, entry, kind, page, true, Ids, IdsPage::decode(&self.section(entry, kind, page)?, rows)?)
    }

    /// A page with everything that is needed to read its rows.
    pub(crate) fn page(
        &self,
        entry: &BlockEntry,
        page: u32,
        caching: Caching,
    ) -> Result<OpenPage, BlockError> {
        let keep = caching == Caching::Keep;
        let read = self.read_page(entry, page)?;
        let section = |kind| match read.as_ref().and_then(|read| read.decode(kind)) {
            Some(decoded) => Ok(decoded?),
            None => self.section(entry, kind, page),
        };
        let dictionary = self.dictionary(entry)?;
        let core = || -> Result<Arc<CorePage>, BlockError> {
            let kind = SectionKind::Core;
            part!(self, entry, kind, page, keep, Core, CorePage::decode(&section(kind)?, &dictionary)?)
        };
        let core = core()?;
        let ids = || -> Result<Arc<IdsPage>, BlockError> {
            let kind = SectionKind::Ids;
            part!(self, entry, kind, page, keep, Ids, IdsPage::decode(&section(kind)?, core.rows())?)
        };
        let values = || -> Result<Arc<ValuesPage>, BlockError> {
            let kind = SectionKind::Values;
            part!(
                self,
                entry,
                kind,
                page,
                keep,
                Values,
                ValuesPage::open(
                    if keep { owned(section(kind)?) } else { section(kind)? },
                    &core,
                    &dictionary
                )?
            )
        };
        let (ids, values) = (ids()?, values()?);
        Ok(OpenPage { texts: self.texts(entry)?, dictionary, core, ids, values })
    }

    /// A page without the IDs of its rows.
    pub(crate) fn values(&self, entry: &BlockEntry, page: u32) -> Result<OpenValues, BlockError> {
        let (dictionary, core) = (self.dictionary(entry)?, self.core(entry, page)?);
        let values = || -> Result<Arc<ValuesPage>, BlockError> {
            let kind = SectionKind::Values;
            let bytes = || self.section(entry, kind, page).map(owned);
            part!(self, entry, kind, page, true, Values, ValuesPage::open(bytes()?, &core, &dictionary)?)
        };
        let values = values()?;
        Ok(OpenValues { texts: self.texts(entry)?, dictionary, core, values })
    }

    /// Reads the sections of a page, which are contiguous, at once; `None` if that saves nothing.
    fn read_page(&self, entry: &BlockEntry, page: u32) -> Result<Option<PageBytes>, BlockError> {
        let Source::Engine(header) = self.source(entry)? else { return Ok(None) };
        let known = |kind| self.cache.peek(&(entry.key.block.0, SectionKey::Section(kind), page)).is_some();
        if known(SectionKind::Values) {
            return Ok(None);
        }
        let mut sections = Vec::with_capacity(PAGE_KINDS.len());
        for kind in PAGE_KINDS.into_iter().filter(|kind| !known(*kind)) {
            let section = header.pages(kind).get(page as usize).ok_or(FormatError::Missing(kind))?;
            sections.push(*section);
        }
        let begin = sections.iter().map(|section| section.range().start).min().unwrap_or(0);
        let end = sections.iter().map(|section| section.range().end).max().unwrap_or(0);
        let length: u64 = sections.iter().map(|section| u64::from(section.stored)).sum();
        // Blocks of this program have them side by side; others need not.
        if end.saturating_sub(begin) != length {
            return Ok(None);
        }
        Ok(Some(PageBytes { begin, bytes: self.fetch(entry, begin..end)?, sections }))
    }

    /// The page that contains a row, and the first row of that page.
    pub(crate) fn page_of(&self, entry: &BlockEntry, row: u32) -> Result<(u32, u32), BlockError> {
        let header = self.header(entry)?;
        let page = header.page_of(row)?;
        Ok((page as u32, header.pages(SectionKind::Core)[page].first_row))
    }

    fn source(&self, entry: &BlockEntry) -> Result<Source, BlockError> {
        let key = (entry.key.block.0, SectionKey::Source, 0);
        if let Some(Part::Source(source)) = self.cache.get(&key) {
            return Ok(source);
        }
        let header = self.stored_header(entry)?;
        if header.is_columnar() {
            return Ok(Source::Engine(header));
        }
        let upgraded = spandrel_block::upgrade(&self.fetch(entry, 0..entry.row.bytes)?)?;
        let source = Source::Memory(Arc::new(Header::parse(&upgraded.bytes)?), upgraded.bytes);
        self.cache.insert(key, Part::Source(source.clone()));
        Ok(source)
    }

    /// The stored header, of any format.
    fn stored_header(&self, entry: &BlockEntry) -> Result<Arc<Header>, BlockError> {
        let key = (entry.key.block.0, SectionKey::Source, 0);
        if let Some(Part::Source(Source::Engine(header))) = self.cache.get(&key) {
            return Ok(header);
        }
        let header = Arc::new(Header::parse(&self.fetch(entry, 0..u64::from(entry.row.header_bytes))?)?);
        if header.is_columnar() {
            self.cache.insert(key, Part::Source(Source::Engine(header.clone())));
        }
        Ok(header)
    }

    fn section(&self, entry: &BlockEntry, kind: SectionKind, page: u32) -> Result<Bytes, BlockError> {
        let source = self.source(entry)?;
        let section: Section =
            *source.header().pages(kind).get(page as usize).ok_or(FormatError::Missing(kind))?;
        let stored = match &source {
            Source::Engine(_) => self.fetch(entry, section.range())?,
            Source::Memory(_, bytes) => {
                bytes.slice(section.range().start as usize..section.range().end as usize)
            }
        };
        Ok(section.decode(stored)?)
    }

    fn fetch(&self, entry: &BlockEntry, range: std::ops::Range<u64>) -> Result<Bytes, BlockError> {
        // A damaged header must not make an engine allocate without bound.
        if range.start > range.end || range.end > entry.row.bytes {
            return Err(FormatError::Damaged("header").into());
        }
        let mut parts = self.engine.get_ranges(&entry.key, &[range])?;
        Ok(parts.pop().unwrap_or_default())
    }
}

/// Copies bytes that share memory with others. A slice in the cache would keep everything in memory that was read with
/// it, which the cache does not count.
fn owned(bytes: Bytes) -> Bytes {
    if bytes.is_unique() { bytes } else { Bytes::copy_from_slice(&bytes) }
}

// === impl PageBytes ===

impl PageBytes {
    /// Decodes a section; `None` if it was not read.
    fn decode(&self, kind: SectionKind) -> Option<Result<Bytes, FormatError>> {
        let section = self.sections.iter().find(|section| section.kind == kind)?;
        // The checksum of a section that is cut short does not match.
        let clamp = |at: u64| ((at - self.begin) as usize).min(self.bytes.len());
        let range = section.range();
        Some(section.decode(self.bytes.slice(clamp(range.start)..clamp(range.end))))
    }
}

// === impl Source ===

impl Source {
    fn header(&self) -> &Arc<Header> {
        match self {
            Self::Engine(header) | Self::Memory(header, _) => header,
        }
    }
}

// === impl PartWeighter ===

impl Weighter<PartKey, Part> for PartWeighter {
    fn weight(&self, _key: &PartKey, part: &Part) -> u64 {
        let bytes = match part {
            Part::Source(source) => {
                let memory = match source {
                    Source::Engine(_) => 0,
                    Source::Memory(_, bytes) => bytes.len(),
                };
                source.header().sections().len() * 40 + memory
            }
            Part::Dictionary(dictionary) => dictionary.size(),
            Part::Traces(traces) => traces.entries().len() * 24,
            Part::Filters(filters) => filters.size(),
            Part::Zones(zones) => zones.iter().map(ZoneMap::size).sum(),
            Part::Rollups(rows) => rows.len() * 512,
            Part::Edges(edges) => edges.size(),
            Part::Texts(texts) => texts.size(),
            Part::Core(core) => core.size(),
            Part::Ids(ids) => ids.size(),
            Part::Values(values) => values.size(),
        };
        bytes as u64 + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use spandrel_block::{BlockWriter, Hour};
    use spandrel_proto::{TenantId, UnixNanos};

    use super::*;
    use crate::engine::{BlockStore as _, Catalog as _, Change, MemoryEngine, NewBlock};

    /// Stores a block of one span in an engine.
    fn put(engine: &MemoryEngine, id: u64) -> BlockEntry {
        put_written(engine, id, BlockWriter::fresh().unwrap())
    }

    fn put_written(engine: &MemoryEngine, id: u64, mut writer: BlockWriter) -> BlockEntry {
        let resource = writer.resource(&Bytes::new()).unwrap();
        let scope = writer.scope(&Bytes::new());
        let span = [&[10, 16][..], &[7; 16], &[18, 8], &[7; 8], &[57], &[1; 8]].concat();
        writer.push(resource, scope, &span, 1).unwrap();
        let block = writer.finish(0, UnixNanos(1)).unwrap();
        let (tenant, hour, id) = (TenantId::default(), Hour(1), BlockId(id));
        let row = block.row.encode().unwrap();
        let add = NewBlock { id, row, bytes: block.bytes, short_lived: true, index: Vec::new() };
        let change = Change { tenant, hour, adds: vec![add], removes: Vec::new() };
        engine.commit(&change).unwrap();
        BlockEntry::new(change.key(id), block.row)
    }

    #[test]
    fn what_is_kept_of_a_page_keeps_nothing_else_alive() {
        let engine = Arc::new(MemoryEngine::default());
        let reader = BlockReader::new(engine.clone(), 1 << 20);
        let entry = put_written(&engine, 1, BlockWriter::new(1).unwrap());
        let block = engine.get_range(&entry.key, 0..entry.row.bytes).unwrap();
        let merge = reader.page(&entry, 0, Caching::Skip).unwrap();
        engine.delete_blocks(std::slice::from_ref(&entry.key)).unwrap();
        assert!(!block.is_unique(), "a reader that reads a page once borrows it");
        drop(merge);
        let engine = Arc::new(MemoryEngine::default());
        let reader = BlockReader::new(engine.clone(), 1 << 20);
        let entry = put_written(&engine, 1, BlockWriter::new(1).unwrap());
        let block = engine.get_range(&entry.key, 0..entry.row.bytes).unwrap();
        drop(reader.page(&entry, 0, Caching::Keep).unwrap());
        engine.delete_blocks(std::slice::from_ref(&entry.key)).unwrap();
        assert!(block.is_unique());
    }

    #[test]
    fn nothing_is_kept_of_blocks_that_are_gone() {
        let engine = Arc::new(MemoryEngine::default());
        let reader = BlockReader::new(engine.clone(), 1 << 20);
        let (gone, alive) = (put(&engine, 1), put(&engine, 2));
        for entry in [&gone, &alive] {
            reader.page(entry, 0, Caching::Keep).unwrap();
            reader.traces(entry).unwrap();
        }
        let kept = |entry: &BlockEntry| {
            reader.cache.iter().filter(|((block, ..), _)| *block == entry.key.block.0).count()
        };
        let all = kept(&alive);
        assert_eq!((kept(&gone), all > 5), (all, true));
        reader.warm(&alive);
        assert_eq!(kept(&alive), all, "it was warm");
        reader.forget(&HashSet::from([gone.key.block]));
        assert_eq!((kept(&gone), kept(&alive)), (0, all));
        reader.warm(&gone);
        assert_eq!(kept(&gone), 3, "header, dictionary and texts");
        // A reader that still holds the block can read it again.
        assert!(reader.page(&gone, 0, Caching::Keep).is_ok());
    }
}
