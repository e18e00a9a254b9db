//! A block by itself: written, merged, decoded and read. The only benchmark that depends on its sections.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::Criterion;
use spandrel_block::{
    BlockMeta, BlockWriter, CorePage, Dictionary, FinishedBlock, Header, IdsPage, OpenPage, PageRows,
    Rebuilder, Section, SectionKind, SourceBlock, TextTable, TraceTable, ValuesPage,
};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::{Decoded, SpanView};

use super::{NOW, decoded, group_of, requests};

/// Requests of a fresh block, and blocks of a merge.
const REQUESTS_PER_BLOCK: usize = 4;
const BLOCKS: usize = 8;
const LEVEL: i32 = 1;

/// A span with its resource and scope, as the block writer takes it.
struct Row<'a> {
    resource: &'a Bytes,
    scope: &'a Bytes,
    span: &'a [u8],
}

/// A block, with the decoded parts that every page needs.
struct Block {
    bytes: Bytes,
    header: Header,
    dictionary: Arc<Dictionary>,
    texts: Arc<TextTable>,
    /// The trace of each row.
    traces: Vec<TraceId>,
}

pub fn block(criterion: &mut Criterion) {
    let (bodies, _) = requests(500 * (REQUESTS_PER_BLOCK * BLOCKS) as u64);
    let requests: Vec<Decoded> = bodies.into_iter().map(decoded).collect();
    let batches: Vec<Vec<Row<'_>>> = requests.chunks(REQUESTS_PER_BLOCK).map(sorted_rows).collect();
    let fresh: Vec<Block> = batches.iter().map(|rows| Block::new(write_block(rows).bytes)).collect();
    let merged = Block::new(merge(&fresh).bytes);
    let page = merged.page(0);
    let rows = &batches[0];

    let mut group = group_of(criterion, "block", rows.len() as u64);
    group.bench_function("write a fresh block", |b| b.iter(|| write_block(black_box(rows))));
    group.bench_function("read spans", |b| {
        b.iter(|| rows.iter().filter(|row| SpanView::parse(black_box(row.span)).is_ok()).count());
    });
    drop(group);

    let mut group = group_of(criterion, "block", merged.traces.len() as u64);
    group.sample_size(10);
    group.bench_function("merge fresh blocks", |b| b.iter(|| merge(black_box(&fresh))));
    drop(group);

    let mut group = group_of(criterion, "page", page.core.rows() as u64);
    group.bench_function("decode its core", |b| b.iter(|| merged.core(0)));
    group.bench_function("decode it whole", |b| {
        b.iter(|| decode_columns(&merged.page(0)));
    });
    group.bench_function("rebuild its spans", |b| b.iter(|| rebuild(&page, &merged.traces)));
    group.bench_function("go to its last row", |b| {
        let last = page.core.rows() - 1;
        b.iter(|| Rebuilder::new(page.clone(), black_box(last)).row());
    });
}

fn sorted_rows(batch: &[Decoded]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for request in batch {
        for span in &request.spans {
            let row = Row {
                resource: &request.resources[span.resource as usize],
                scope: &request.scopes[span.scope as usize],
                span: &request.body[span.at.clone()],
            };
            rows.push(((span.trace_id, span.start, span.span_id), row));
        }
    }
    rows.sort_by_key(|(key, _)| *key);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn write_block(rows: &[Row<'_>]) -> FinishedBlock {
    let mut writer = BlockWriter::fresh().expect("a compressor");
    for row in rows {
        let resource = writer.resource(row.resource).expect("a resource");
        let scope = writer.scope(row.scope);
        writer.push(resource, scope, row.span, 1).expect("a span");
    }
    writer.finish(0, NOW).expect("a block")
}

/// Merges like the background merge, without removing duplicates: the smallest key of all blocks comes next.
fn merge(blocks: &[Block]) -> FinishedBlock {
    let mut inputs: Vec<_> = blocks.iter().map(Block::rows).collect();
    let mut heads: Vec<Option<PageRows>> = inputs.iter_mut().map(Iterator::next).collect();
    let mut writer = BlockWriter::new(LEVEL).expect("a compressor");
    loop {
        let keys = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.key()?, at)));
        let Some((_, at)) = keys.min() else { break };
        let Some(head) = &mut heads[at] else { break };
        head.copy_to(&mut writer).expect("a row");
        if head.key().is_none() {
            heads[at] = inputs[at].next();
        }
    }
    writer.finish(1, NOW).expect("a block")
}

/// Decodes every column and text; returns how many columns there are.
fn decode_columns(page: &OpenPage) -> usize {
    page.values.local_texts().expect("texts");
    let slots = page.dictionary.slots.iter().enumerate();
    slots
        .filter(|(at, slot)| page.values.column(*at as u32, slot.encoding).expect("a column").is_some())
        .count()
}

/// Rebuilds the spans of a block's first page; returns their bytes.
fn rebuild(page: &OpenPage, traces: &[TraceId]) -> usize {
    let mut spans = Rebuilder::new(page.clone(), 0);
    let (mut span, mut bytes) = (Vec::new(), 0);
    for trace in &traces[..page.core.rows()] {
        span.clear();
        spans.next(*trace, &mut span).expect("a span");
        bytes += black_box(&span).len();
    }
    bytes
}

// === impl Block ===

impl Block {
    fn new(bytes: Bytes) -> Self {
        let header = Header::parse(&bytes).expect("a header");
        let one = |kind| decode(&bytes, header.section(kind).expect("a section"));
        let meta = BlockMeta::decode(&one(SectionKind::Meta)).expect("zone data");
        let traces = TraceTable::decode(one(SectionKind::Traces), meta.traces as usize, meta.spans);
        let traces = traces.expect("traces").entries().to_vec().into_iter();
        Self {
            dictionary: Arc::new(Dictionary::decode(one(SectionKind::Dictionary)).expect("a dictionary")),
            texts: Arc::new(TextTable::decode(&one(SectionKind::Texts)).expect("texts")),
            traces: traces.flat_map(|(id, rows)| std::iter::repeat_n(id, rows.rows as usize)).collect(),
            header,
            bytes,
        }
    }

    fn section(&self, kind: SectionKind, page: usize) -> Bytes {
        decode(&self.bytes, &self.header.pages(kind)[page])
    }

    fn core(&self, page: usize) -> CorePage {
        CorePage::decode(&self.section(SectionKind::Core, page), &self.dictionary).expect("a core")
    }

    fn page(&self, page: usize) -> OpenPage {
        let core = Arc::new(self.core(page));
        let ids = IdsPage::decode(&self.section(SectionKind::Ids, page), core.rows()).expect("IDs");
        let values = self.section(SectionKind::Values, page);
        let values = ValuesPage::open(values, &core, &self.dictionary).expect("values");
        let (dictionary, texts) = (self.dictionary.clone(), self.texts.clone());
        OpenPage { dictionary, texts, core, ids: Arc::new(ids), values: Arc::new(values) }
    }

    fn rows(&self) -> impl Iterator<Item = PageRows> {
        let tables = SourceBlock::new(self.dictionary.clone(), self.texts.clone()).expect("tables");
        let cores = self.header.pages(SectionKind::Core);
        cores.iter().enumerate().map(move |(at, section)| {
            let page = self.page(at);
            let first = section.first_row as usize;
            let runs = page.core.traces.iter().map(|begin| self.traces[first + *begin as usize]).collect();
            PageRows::new(&tables, page, runs).expect("rows")
        })
    }
}

fn decode(block: &Bytes, section: &Section) -> Bytes {
    let range = section.range();
    section.decode(block.slice(range.start as usize..range.end as usize)).expect("a sound section")
}
