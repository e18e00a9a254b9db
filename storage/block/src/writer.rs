//! Writes blocks: adds spans in order, fills a page, encodes it, and assembles the block.
//!
//! Spans are pushed as wire bytes ([`BlockWriter::push`]), or copied, in a merge or a rewrite, as rows of pages
//! (`merge.rs`). A fresh block, which is merged within seconds, has no derived sections: rollups and edges are derived
//! when it is merged, or when a query needs them before (`derive.rs`). Its filter is returned and stays in memory.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustc_hash::FxHashSet;
use spandrel_proto::otlp::{SpanKey, StatusCode};
use spandrel_proto::{SpanId, TraceId, UnixNanos};

use crate::compression::{Compressor, Unit};
use crate::derive::edge_span;
use crate::dictionary::Dictionary;
use crate::edges::{EdgeBuilder, PeerCandidates};
use crate::error::WriteError;
use crate::exemplar::Exemplar;
use crate::filter::{FilterBuilder, FilterPart};
use crate::flags::{RowFlags, shown_duration};
use crate::format::{Assembler, Contents, SectionKind};
use crate::gather::Gather;
use crate::interner::Interner;
use crate::keys::RowRange;
use crate::meta::{BlockMeta, CatalogRow, OperationMeta, ServiceMeta};
use crate::page::columns::PageColumns;
use crate::page::row::{Row, links_of};
use crate::page::shred::{MAX_SHAPES, MAX_SLOTS, Shredder, SpanFields};
use crate::page::tree::TreeOrder;
use crate::page::{EncodedPage, PageEncoder};
use crate::rollup::{RollupBuilder, RollupRow};
use crate::semantics;
use crate::shape::Class;
use crate::tables::BlockTables;
use crate::token::Token;
use crate::traces::TraceTable;
use crate::zone_map::ZoneMap;

/// Writes one block.
pub struct BlockWriter {
    shredder: Shredder,
    pub(crate) tables: BlockTables,
    columns: PageColumns,
    /// Where the rows of the current page are copied from, if they are not pushed.
    pub(crate) gather: Gather,
    encoder: PageEncoder,
    /// The trace of the last row; `page_bytes` is the size of its page's rows.
    last_trace: TraceId,
    page_bytes: usize,
    body_bytes: usize,
    rows: u32,
    pages: Vec<(u32, EncodedPage)>,
    traces: TraceTable,
    bounds: BlockBounds,
    /// Tokens of the current page; the memory is reused for the next one.
    tokens: FxHashSet<u64>,
    filters: FilterBuilder,
    derived: Option<DerivedSections>,
    tree: TreeOrder,
    serial: u64,
    /// Whether the rows are log records, and not spans.
    logs: bool,
}

/// Collects the sections that are derived from the columns.
#[derive(Default)]
struct DerivedSections {
    rollups: RollupBuilder,
    edges: EdgeBuilder,
    zone_maps: Vec<ZoneMap>,
    /// For each row in the order of pushing, the row where it is stored; rows beyond the end did not move.
    places: Vec<u32>,
}

/// The bounds of the rows so far, for the zone map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockBounds {
    failed: u32,
    start: (u64, u64),
    duration: (u64, u64),
    sequence: (u64, u64),
    kinds: u8,
    statuses: u8,
}

/// A finished block with its catalog and index entries.
#[derive(Debug, Clone)]
pub struct FinishedBlock {
    /// The encoded block.
    pub bytes: Bytes,
    /// Its catalog row.
    pub row: CatalogRow,
    /// Its traces, for the index.
    pub traces: TraceTable,
    /// The filter of a fresh block, which is not stored but kept in memory until the block is merged.
    pub filter: Option<FilterPart>,
}

thread_local! {
    /// Memory of the last block that the thread wrote; the next one is of similar size.
    static SPARE: RefCell<(PageColumns, Interner)> = RefCell::default();
}

/// Larger text buffers are freed instead of kept for the next block.
const MAX_SPARE_TEXTS: usize = 8 << 20;

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Fresh blocks are compressed fast, because they are compressed again when they are merged.
const FRESH_ZSTD_LEVEL: i32 = -8;
/// The number of sections: of a block (zone map, dictionary, texts, traces), derived ones without filters (rollups,
/// edges, zone maps of pages), and those of each page.
const COMMON_SECTIONS: usize = 4;
const DERIVED_SECTIONS: usize = 3;
const SECTIONS_OF_PAGE: usize = 3;

/// A page with this many rows ends at the next trace.
const PAGE_ROWS: usize = 2048;
/// A page with this many bytes of spans ends at the next row.
const PAGE_BYTES: usize = 16 << 20;
/// A page that one trace fills further ends within the trace.
const MAX_PAGE_ROWS: usize = 2 * PAGE_ROWS;

// === impl BlockWriter ===

impl BlockWriter {
    /// Starts a sealed block whose columns are compressed at a zstd level.
    pub fn new(zstd_level: i32) -> Result<Self, WriteError> {
        Ok(Self::with(Compressor::new(zstd_level, Unit::Column)?, Some(DerivedSections::default())))
    }

    /// Starts a fresh block, without derived sections: it is merged soon.
    pub fn fresh() -> Result<Self, WriteError> {
        Ok(Self::with(Compressor::new(FRESH_ZSTD_LEVEL, Unit::Section)?, None))
    }

    fn with(compressor: Compressor, derived: Option<DerivedSections>) -> Self {
        let (columns, texts) = SPARE.take();
        Self {
            shredder: if derived.is_some() { Shredder::with_peers() } else { Shredder::default() },
            tables: BlockTables::new(texts, derived.is_none()),
            columns,
            gather: Gather::default(),
            encoder: PageEncoder::new(compressor),
            last_trace: TraceId::default(),
            page_bytes: 0,
            body_bytes: 0,
            rows: 0,
            pages: Vec::new(),
            traces: TraceTable::default(),
            bounds: BlockBounds::default(),
            tokens: FxHashSet::default(),
            filters: FilterBuilder::default(),
            derived,
            tree: TreeOrder::default(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            logs: false,
        }
    }

    /// Makes it a block of log records if `logs` says so; all rows of a block are of one kind.
    #[must_use]
    pub fn of_logs(mut self, logs: bool) -> Self {
        self.logs = logs;
        self
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.tables.is_fresh()
    }

    /// A number that identifies the block among those that are being written.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Number of rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Size of the rows so far in bytes, before compression.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes + self.tables.resource_bytes()
    }

    /// How full its schema is in percent: slots or shapes, whichever is fuller. Pushed spans respect the limits; merged
    /// blocks bring their own slots and shapes.
    pub fn schema_percent(&self) -> usize {
        let share = |known: usize, limit: usize| known * 100 / limit;
        share(self.tables.schema.slots.len(), MAX_SLOTS)
            .max(share(self.tables.schema.shapes.len(), MAX_SHAPES))
    }

    /// Returns the index of a resource, which is added if it is new.
    pub fn resource(&mut self, record: &Bytes) -> Result<u32, WriteError> {
        Ok(self.tables.resource(record)?)
    }

    /// Returns the index of a scope, which is added if it is new.
    pub fn scope(&mut self, record: &Bytes) -> u32 {
        self.tables.resources.scope(record)
    }

    /// Adds a span. Spans have to be sorted by (trace ID, start, span ID); a sealed block sorts those of one trace in a
    /// page in the order of their tree.
    pub fn push(
        &mut self,
        resource: u32,
        scope: u32,
        message: &[u8],
        sequence: u64,
    ) -> Result<(), WriteError> {
        self.push_known(resource, scope, SpanKey::parse(message)?, message, sequence)
    }

    /// Like [`Self::push`], for a span whose key is parsed already.
    pub fn push_known(
        &mut self,
        resource: u32,
        scope: u32,
        key: SpanKey,
        message: &[u8],
        sequence: u64,
    ) -> Result<(), WriteError> {
        if self.gather.len() > 0 {
            self.cut_page();
        }
        self.begin_row(key.trace_id);
        let (shape, fields) =
            self.shredder.span(&mut self.tables.schema, &mut self.columns, message, key.start, flags_of)?;
        let service = self.tables.resources.dictionary.resource_services[resource as usize];
        let operation = self.tables.operation(service, fields.name);
        let class = self.tables.class(Class { operation, shape });
        let resource_scope = self.tables.resources.resource_scope(resource, scope);
        let parent = fields.parent_id.try_into().map_or(0, u64::from_be_bytes);
        let row = Row {
            class,
            resource_scope,
            start: key.start,
            duration: fields.end.wrapping_sub(key.start),
            sequence,
            span_id: key.span_id,
            parent,
        };
        if self.derived.is_some() {
            let links = if fields.has_links { links_of(message)? } else { Vec::new() };
            self.push_edge(&row, fields.flags, &fields.peers, links);
        }
        self.push_row(row, message.len());
        Ok(())
    }

    /// Prepares for a row of a trace that is copied. All rows of a page are copied, or all are pushed.
    pub(crate) fn begin_copied_row(&mut self, trace: TraceId) {
        if self.columns.rows() > self.gather.len() {
            self.cut_page();
        }
        self.begin_row(trace);
    }

    /// Prepares for a row of a trace: ends the page if it is full.
    fn begin_row(&mut self, trace: TraceId) {
        let rows = self.columns.rows();
        let is_new = rows == 0 || trace != self.last_trace;
        let full =
            self.page_bytes >= PAGE_BYTES || if is_new { rows >= PAGE_ROWS } else { rows >= MAX_PAGE_ROWS };
        if full && rows > 0 {
            self.cut_page();
        }
        if is_new || self.columns.rows() == 0 {
            self.columns.traces.push(self.columns.rows() as u32);
        }
        self.last_trace = trace;
        self.traces.push_row(trace);
    }

    /// Adds a row to the columns that every row has; `bytes` is the size that counts when pages are cut.
    pub(crate) fn push_row(&mut self, row: Row, bytes: usize) {
        self.page_bytes += bytes;
        self.body_bytes += bytes;
        let class = self.tables.schema.classes[row.class as usize];
        let flags = RowFlags(self.tables.schema.shapes.get(class.shape).flags);
        let shown = shown_duration(row.start, row.duration);
        if let Some(derived) = &mut self.derived {
            let span = Exemplar { failed: flags.failed(), duration: shown, trace: self.last_trace };
            derived.rollups.add(row.start, class.operation, flags, span);
        }
        self.bounds.see(row.start, row.sequence, shown, flags);
        let columns = &mut self.columns;
        columns.class.push(row.class);
        columns.resource_scope.push(row.resource_scope);
        columns.start.push(row.start);
        columns.duration.push(row.duration);
        columns.sequence.push(row.sequence);
        columns.span_id.push(u64::from_be_bytes(*row.span_id.as_bytes()));
        columns.parent.push(row.parent);
        self.rows += 1;
    }

    /// Adds the input of edges from a row; has to be called before the row is added.
    pub(crate) fn push_edge(
        &mut self,
        row: &Row,
        flags: u32,
        peers: &PeerCandidates<'_>,
        links: Vec<(TraceId, SpanId)>,
    ) {
        let Some(derived) = &mut self.derived else { return };
        let (service, of_class) =
            self.tables.schema.service_and_flags(row.class, &self.tables.resources.dictionary.operations);
        let span = edge_span(row, service, of_class, flags);
        derived.edges.push(self.last_trace, span, peers, || links.into_iter());
    }

    /// Like [`Self::push_edge`], given texts that may name the peer of a call, with their slots.
    pub(crate) fn push_known_edge(&mut self, row: &Row, flags: u32, texts: &[(u32, u32)]) {
        let Some(derived) = &mut self.derived else { return };
        let mut peers = PeerCandidates::default();
        for (slot, text) in texts {
            peers.see(&self.tables.schema.slots.get(*slot).name, self.tables.schema.texts.get(*text));
        }
        let (service, of_class) =
            self.tables.schema.service_and_flags(row.class, &self.tables.resources.dictionary.operations);
        let span = edge_span(row, service, of_class, flags);
        derived.edges.push(self.last_trace, span, &peers, std::iter::empty);
    }

    fn cut_page(&mut self) {
        self.encode_page();
        self.encoder.share_texts(&self.columns, &self.tables.schema);
        self.columns.clear();
        self.page_bytes = 0;
    }

    fn encode_page(&mut self) {
        let rows = self.columns.rows() as u32;
        let first = self.rows - rows;
        self.tree.find_parents(&mut self.columns);
        // Fresh blocks keep the order of keys.
        let moves = self.derived.is_some() && self.tree.find_order(&self.columns);
        if self.gather.len() > 0 {
            self.gather.fill(&mut self.columns, self.tree.order());
        } else if moves {
            self.tree.move_values(&mut self.columns, &self.tables.schema);
        }
        self.tree.move_rows(&mut self.columns);
        if let Some((derived, order)) = self.derived.as_mut().zip(self.tree.order()) {
            derived.note_order(first, order);
        }
        let page = self.encoder.encode(&self.columns, &self.tables.schema, &mut self.tokens);
        self.pages.push((first, page));
        self.filters.push_page(self.tokens.drain().map(Token));
        if let Some(DerivedSections { zone_maps, .. }) = &mut self.derived {
            zone_maps.push(self.columns.zone_map(&self.tables.schema.slots));
        }
    }

    /// Returns the block, which must have at least one span.
    pub fn finish(mut self, level: u8, created: UnixNanos) -> Result<FinishedBlock, WriteError> {
        if self.columns.rows() > 0 {
            self.encode_page();
            self.columns.clear();
        }
        // Frees the pages that rows came from.
        self.gather = Gather::default();
        let mut dictionary = std::mem::take(&mut self.tables.resources.dictionary);
        dictionary.slots = self.tables.schema.slots.slots().to_vec();
        dictionary.shapes = self.tables.schema.shapes.shapes().to_vec();
        dictionary.classes = std::mem::take(&mut self.tables.schema.classes);
        let traces = self.traces.entries().len() as u32;
        let meta = self.bounds.meta(level, created, self.rows, traces, service_metas(&dictionary));
        let meta = BlockMeta { logs: self.logs, ..meta };
        let tokens = self.tables.resources.tokens();
        let (contents, filters) = match &self.derived {
            Some(_) => (Contents::Whole, self.filters.finish(&tokens)),
            None => (Contents::WithoutDerived, Vec::new()),
        };
        let derived = if contents == Contents::Whole { DERIVED_SECTIONS + filters.len() } else { 0 };
        let sections = COMMON_SECTIONS + derived + SECTIONS_OF_PAGE * self.pages.len();
        let mut out = Assembler::new(sections);
        // The first sections are those that every reader needs: together with the header they are one read.
        out.add(SectionKind::Meta, 0, &meta.encode()?, self.encoder.compressor());
        out.add(SectionKind::Dictionary, 0, &dictionary.encode(), self.encoder.compressor());
        self.add_texts(&mut out);
        out.add(SectionKind::Traces, 0, &self.traces.encode(), self.encoder.compressor());
        let filter = match self.derived.take() {
            Some(derived) => {
                derived.add_to(&mut out, self.encoder.compressor())?;
                for (part, filter) in filters.iter().enumerate() {
                    out.add_as_is(SectionKind::Filter, part as u32, filter);
                }
                None
            }
            None => Some(self.filters.whole(&tokens)),
        };
        self.add_pages(&mut out);
        let (bytes, header_bytes) = out.finish(contents);
        let row = CatalogRow { bytes: bytes.len() as u64, header_bytes, meta };
        self.encoder.keep();
        if self.tables.schema.texts.bytes() <= MAX_SPARE_TEXTS {
            self.tables.schema.texts.clear();
            SPARE.set((self.columns, self.tables.schema.texts));
        }
        Ok(FinishedBlock { bytes: bytes.into(), row, traces: self.traces, filter })
    }

    fn add_texts(&mut self, out: &mut Assembler) {
        let mut texts = Vec::new();
        let shared = self.encoder.shared_texts().to_vec();
        self.encoder.put_texts(
            &mut texts,
            shared.iter().map(|text| self.tables.schema.texts.get(*text)),
            &[],
        );
        out.add_as_is(SectionKind::Texts, 0, &texts);
    }

    fn add_pages(&mut self, out: &mut Assembler) {
        let pages = std::mem::take(&mut self.pages);
        out.reserve(pages.iter().map(|(_, page)| page.core.len() + page.ids.len() + page.values.len()).sum());
        let compressor = self.encoder.compressor();
        for (first_row, page) in pages {
            // IDs are random and do not compress.
            out.add_as_is(SectionKind::Ids, first_row, &page.ids);
            for (kind, bytes) in [(SectionKind::Core, &page.core), (SectionKind::Values, &page.values)] {
                match compressor.unit() {
                    Unit::Column => out.add_as_is(kind, first_row, bytes),
                    Unit::Section => out.add(kind, first_row, bytes, compressor),
                }
            }
        }
    }
}

// === impl DerivedSections ===

impl DerivedSections {
    /// Records the order of the rows of a page, whose first row is `first`.
    fn note_order(&mut self, first: u32, order: &[u32]) {
        self.places.extend(self.places.len() as u32..first + order.len() as u32);
        for (place, row) in order.iter().enumerate() {
            self.places[(first + row) as usize] = first + place as u32;
        }
    }

    fn add_to(self, out: &mut Assembler, compressor: &mut Compressor) -> Result<(), WriteError> {
        let rollups = RollupRow::encode_all(&self.rollups.finish())?;
        out.add(SectionKind::Rollups, 0, &rollups, compressor);
        let mut edges = self.edges.into_edges();
        edges.put_rows(|row| self.places.get(row as usize).copied().unwrap_or(row));
        out.add(SectionKind::Edges, 0, &edges.encode()?, compressor);
        out.add(SectionKind::Zones, 0, &ZoneMap::encode_all(&self.zone_maps), compressor);
        Ok(())
    }
}

fn flags_of(fields: &SpanFields<'_>) -> u8 {
    let status = StatusCode::from_raw(fields.status);
    let failed = semantics::failed(status, fields.error);
    let has_parent = !semantics::is_parentless(fields.parent_id);
    RowFlags::of_parts(fields.kind, status, failed, has_parent).0
}

/// Builds services and operations, both sorted by name, with the kinds of each operation's rows.
pub(crate) fn service_metas(dictionary: &Dictionary) -> Vec<ServiceMeta> {
    let mut kinds = vec![0u8; dictionary.operations.len()];
    for (class, of) in dictionary.classes.iter().enumerate() {
        kinds[of.operation as usize] |= 1 << (dictionary.flags(class as u32).0 & 7);
    }
    // A block has some hundred operations of some ten services: names of services are compared once.
    let mut services: Vec<(&str, Vec<OperationMeta>)> =
        dictionary.services.iter().map(|name| (name.as_str(), Vec::new())).collect();
    for ((service, name), kinds) in dictionary.operations.iter().zip(kinds).filter(|(_, kinds)| *kinds > 0) {
        services[*service as usize].1.push(OperationMeta { name: name.clone(), kinds });
    }
    services.retain(|(_, operations)| !operations.is_empty());
    services.sort_unstable_by_key(|(name, _)| *name);
    let service = |(name, mut operations): (&str, Vec<OperationMeta>)| {
        operations.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        ServiceMeta { name: name.to_owned(), operations }
    };
    services.into_iter().map(service).collect()
}

// === impl BlockBounds ===

impl Default for BlockBounds {
    fn default() -> Self {
        let nothing = (u64::MAX, 0);
        Self { failed: 0, start: nothing, duration: nothing, sequence: nothing, kinds: 0, statuses: 0 }
    }
}

impl BlockBounds {
    pub(crate) fn see(&mut self, start: u64, sequence: u64, shown_duration: u64, flags: RowFlags) {
        let widen = |(min, max): (u64, u64), value: u64| (min.min(value), max.max(value));
        self.failed += u32::from(flags.failed());
        self.start = widen(self.start, start);
        self.duration = widen(self.duration, shown_duration);
        self.sequence = widen(self.sequence, sequence);
        self.kinds |= 1 << (flags.0 & 7);
        self.statuses |= 1 << (flags.0 >> 3 & 3);
    }

    pub(crate) fn meta(
        &self,
        level: u8,
        created: UnixNanos,
        spans: u32,
        traces: u32,
        services: Vec<ServiceMeta>,
    ) -> BlockMeta {
        BlockMeta {
            level,
            created,
            spans,
            traces,
            failed: self.failed,
            min_start: UnixNanos(self.start.0),
            max_start: UnixNanos(self.start.1),
            min_duration: self.duration.0,
            max_duration: self.duration.1,
            min_sequence: self.sequence.0,
            max_sequence: self.sequence.1,
            kinds: self.kinds,
            statuses: self.statuses,
            services,
            logs: false,
        }
    }
}

// === impl FinishedBlock ===

impl FinishedBlock {
    /// The rows of each trace, sorted by trace ID, for the index.
    pub fn trace_rows(&self) -> &[(TraceId, RowRange)] {
        self.traces.entries()
    }
}
