//! Reads whole blocks for tests: every row with its resource and scope, and pages as merges read them.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod wire;

use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{
    BlockEdges, BlockMeta, BlockWriter, CorePage, Dictionary, FilterPart, FinishedBlock, Header, IdsPage,
    OpenPage, PageRows, Rebuilder, RollupRow, RowKey, Section, SectionKind, SourceBlock, TextTable, Token,
    TraceTable, ValuesPage, ZoneMap, derive,
};
use spandrel_proto::otlp::SpanKey;
use spandrel_proto::{SpanId, TraceId, UnixNanos};

/// The creation time of test blocks.
pub const CREATED: UnixNanos = UnixNanos(1_700_000_005_000_000_000);

/// A span as it is pushed: resource, scope, span, sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pushed {
    pub resource: Bytes,
    pub scope: Bytes,
    pub span: Bytes,
    pub sequence: u64,
}

/// A row as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRow {
    pub trace: TraceId,
    pub pushed: Pushed,
    pub start: u64,
    pub duration: u64,
    pub span_id: SpanId,
    pub service: String,
    pub operation: String,
    pub flags: u8,
}

/// All sections of a block of today's format, decoded.
pub struct OpenBlock {
    pub meta: BlockMeta,
    pub dictionary: Arc<Dictionary>,
    pub texts: Arc<TextTable>,
    pub traces: TraceTable,
    /// All parts of the filters; empty for a block without derived sections.
    pub filters: Vec<FilterPart>,
    pub rollups: Vec<RollupRow>,
    pub edges: BlockEdges,
    /// Empty for a block without derived sections.
    pub zones: Vec<ZoneMap>,
    pub pages: Vec<OpenPage>,
}

impl Pushed {
    pub fn key(&self) -> RowKey {
        let key = SpanKey::parse(&self.span).unwrap();
        RowKey::new(key.trace_id, key.start, key.span_id)
    }
}

/// Writes a sealed block; spans may have any order, and equal keys are sorted by sequence.
pub fn write(spans: &[Pushed]) -> FinishedBlock {
    write_with(BlockWriter::new(3).unwrap(), 1, spans)
}

/// Like [`write`], but a fresh block.
pub fn write_fresh(spans: &[Pushed]) -> FinishedBlock {
    write_with(BlockWriter::fresh().unwrap(), 0, spans)
}

fn write_with(mut writer: BlockWriter, level: u8, spans: &[Pushed]) -> FinishedBlock {
    let mut spans: Vec<&Pushed> = spans.iter().collect();
    spans.sort_by_cached_key(|pushed| (pushed.key(), pushed.sequence));
    for Pushed { resource, scope, span, sequence } in spans {
        let (resource, scope) = (writer.resource(resource).unwrap(), writer.scope(scope));
        writer.push(resource, scope, span, *sequence).unwrap();
    }
    writer.finish(level, CREATED).unwrap()
}

/// The decoded bytes of a section.
pub fn section(block: &Bytes, section: &Section) -> Bytes {
    let range = section.range();
    section.decode(block.slice(range.start as usize..range.end as usize)).unwrap()
}

impl OpenBlock {
    pub fn new(block: &Bytes) -> Self {
        let header = Header::parse(block).unwrap();
        let one = |kind| section(block, header.section(kind).unwrap());
        let meta = BlockMeta::decode(&one(SectionKind::Meta)).unwrap();
        let dictionary = Arc::new(Dictionary::decode(one(SectionKind::Dictionary)).unwrap());
        let texts = Arc::new(TextTable::decode(&one(SectionKind::Texts)).unwrap());
        let traces = one(SectionKind::Traces);
        let traces = TraceTable::decode(traces, meta.traces as usize, meta.spans).unwrap();
        let services = dictionary.services.len();
        let pages = (0..header.pages(SectionKind::Core).len()).map(|page| {
            let of = |kind| section(block, &header.pages(kind)[page]);
            let core = Arc::new(CorePage::decode(&of(SectionKind::Core), &dictionary).unwrap());
            let ids = Arc::new(IdsPage::decode(&of(SectionKind::Ids), core.rows()).unwrap());
            let values = ValuesPage::open(of(SectionKind::Values), &core, &dictionary).unwrap();
            let (dictionary, texts) = (dictionary.clone(), texts.clone());
            OpenPage { dictionary, texts, core, ids, values: Arc::new(values) }
        });
        let pages: Vec<OpenPage> = pages.collect();
        let (filters, rollups, edges, zones) = if header.is_without_derived() {
            let cores: Vec<_> = pages.iter().map(|page| page.core.clone()).collect();
            let rollups = derive::rollups(&dictionary, &cores, &traces).unwrap();
            (Vec::new(), rollups, derive::edges(&pages, &traces).unwrap(), Vec::new())
        } else {
            let rollups = RollupRow::decode_all(&one(SectionKind::Rollups)).unwrap();
            let edges = BlockEdges::decode(&one(SectionKind::Edges), meta.spans, services).unwrap();
            let zones = ZoneMap::decode_all(&one(SectionKind::Zones), pages.len(), &dictionary).unwrap();
            let parts = header.pages(SectionKind::Filter);
            let part = |at| {
                FilterPart::decode(section(block, at), parts.len(), pages.len(), header.version()).unwrap()
            };
            (parts.iter().map(part).collect(), rollups, edges, zones)
        };
        Self { pages, filters, rollups, edges, zones, meta, dictionary, texts, traces }
    }

    /// Whether the filter of a page contains a token.
    pub fn page_knows(&self, page: usize, token: Token) -> bool {
        self.filters[FilterPart::of_token(token, self.filters.len())].page_knows(page, token)
    }

    /// Whether a page may have a token, or has attributes that are stored as bytes.
    pub fn page_may_have(&self, page: usize, token: Token) -> bool {
        self.filters[FilterPart::of_token(token, self.filters.len())].page_may_have(page, token)
    }

    /// Whether a resource may have a token.
    pub fn resources_may_have(&self, token: Token) -> bool {
        self.filters[FilterPart::of_token(token, self.filters.len())].resources_may_have(token)
    }

    /// The trace of each row.
    pub fn trace_of_rows(&self) -> Vec<TraceId> {
        let runs = self.traces.entries().iter();
        runs.flat_map(|(trace, rows)| std::iter::repeat_n(*trace, rows.rows as usize)).collect()
    }

    pub fn rows(&self) -> Vec<ReadRow> {
        let mut traces = self.trace_of_rows().into_iter();
        let mut rows = Vec::new();
        for page in &self.pages {
            let mut spans = Rebuilder::new(page.clone(), 0);
            rows.extend((0..page.core.rows()).map(|row| read_row(&mut spans, row, traces.next().unwrap())));
        }
        assert_eq!(traces.next(), None, "traces have more rows than pages");
        rows
    }

    /// Like [`Self::rows`], sorted by key.
    pub fn rows_by_key(&self) -> Vec<ReadRow> {
        let mut rows = self.rows();
        // The sort is stable: rows with the same key and commit keep their order.
        rows.sort_by_cached_key(|row| (row.pushed.key(), row.pushed.sequence));
        rows
    }

    /// Unpaired spans, with the span in place of the row number.
    fn open_edges(&self) -> Vec<(Pushed, String)> {
        let rows = self.rows();
        let said = |row: u32, what: String| (rows[row as usize].pushed.clone(), what);
        let callers = self
            .edges
            .open_callers
            .iter()
            .map(|open| said(open.row, format!("{:?}", (open.callee, open.kind))));
        let callees = self.edges.open_callees.iter();
        let callees = callees.map(|open| said(open.row, format!("{:?}", (open.by, open.trace, open.caller))));
        let mut all: Vec<_> = callers.chain(callees).collect();
        all.sort();
        all
    }

    /// The pages as a merge reads them.
    pub fn page_rows(&self) -> Vec<PageRows> {
        let traces = self.trace_of_rows();
        let block = SourceBlock::new(self.dictionary.clone(), self.texts.clone()).unwrap();
        let mut first = 0;
        let pages = self.pages.iter().map(|page| {
            let runs = page.core.traces.iter().map(|begin| traces[first + *begin as usize]).collect();
            first += page.core.rows();
            PageRows::new(&block, page.clone(), runs).unwrap()
        });
        pages.collect()
    }
}

/// Reads the next row of a page.
pub fn read_row(spans: &mut Rebuilder, row: usize, trace: TraceId) -> ReadRow {
    assert_eq!(spans.row(), row);
    let mut span = Vec::new();
    spans.next(trace, &mut span).unwrap();
    let OpenPage { dictionary, core, ids, .. } = spans.page();
    let (resource, scope) = dictionary.resource_and_scope(core.resource_scope[row]);
    let (service, operation) = &dictionary.operations[dictionary.operation(core.class[row]) as usize];
    ReadRow {
        trace,
        pushed: Pushed {
            resource: resource.clone(),
            scope: scope.clone(),
            span: span.into(),
            sequence: core.sequence[row],
        },
        start: core.start[row],
        duration: core.duration[row],
        span_id: SpanId::from_bytes(ids.span_id[row].to_be_bytes()),
        service: dictionary.services[*service as usize].clone(),
        operation: operation.clone(),
        flags: dictionary.flags(core.class[row]).0,
    }
}

/// Merges blocks by copying their rows; duplicates are kept.
pub fn merge(blocks: &[Bytes]) -> FinishedBlock {
    let mut pages: Vec<std::vec::IntoIter<PageRows>> =
        blocks.iter().map(|block| OpenBlock::new(block).page_rows().into_iter()).collect();
    let mut heads: Vec<Option<PageRows>> = pages.iter_mut().map(Iterator::next).collect();
    let mut writer = BlockWriter::new(3).unwrap();
    loop {
        let keys = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.key()?, at)));
        let Some((_, at)) = keys.min() else { break };
        let head = heads[at].as_mut().unwrap();
        head.copy_to(&mut writer).unwrap();
        if head.key().is_none() {
            heads[at] = pages[at].next();
        }
    }
    writer.finish(1, CREATED).unwrap()
}

/// Asserts that two blocks have the same content: the same rows in any order, and the same derived data.
pub fn assert_same(a: &Bytes, b: &Bytes) {
    let (a, b) = (OpenBlock::new(a), OpenBlock::new(b));
    for (row, (a, b)) in a.rows_by_key().iter().zip(&b.rows_by_key()).enumerate() {
        assert_eq!(a, b, "row {row}");
    }
    // Levels may differ, as queries do not use them.
    assert_eq!(BlockMeta { level: 0, ..a.meta.clone() }, BlockMeta { level: 0, ..b.meta.clone() });
    assert_eq!(a.traces.entries(), b.traces.entries());
    assert_eq!(a.dictionary.services, b.dictionary.services);
    assert_eq!(a.dictionary.operations, b.dictionary.operations);
    assert_eq!(a.rollups, b.rollups);
    assert_eq!(a.open_edges(), b.open_edges());
    assert_eq!((&a.edges.complete, &a.edges.tentative), (&b.edges.complete, &b.edges.tentative));
}
