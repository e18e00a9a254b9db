//! The block format: the block writer for sizes and CPU time, the real store for queries.

use std::path::Path;
use std::sync::Arc;

use spandrel_block::BlockWriter;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_rocks::{DataDir, Durability, RocksEngine};
use spandrel_storage::plan::{
    AttributeScope, Comparison, Effort, Field, Literal, Order, Predicate, ScanPlan, SearchPlan,
};
use spandrel_storage::{BlockTraceStore, StoreConfig, SystemClock, TraceSpans, TraceStore};

use super::Costs;
use super::clock::{asked, measured};
use super::input::{GROUP, Input, RARE};

/// The level of sealed blocks.
const ZSTD_LEVEL: i32 = 1;

pub fn measure(input: &Input) -> Costs {
    let (mut bytes, encode) = measured(|| write_blocks(input));
    // The index row of each trace: a key of about 33 bytes, and the rows of the block.
    bytes += input.traces as u64 * 40;
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), input);
    let reopened = || open(folder.path());
    let by_id = asked(&input.wanted, reopened, |store, (id, _)| {
        let trace = store.trace(&TenantId::default(), *id).expect("readable").expect("stored");
        assert!(trace.fold(0, |spans, span| spans + usize::from(span.is_ok())) > 0);
    });
    let by_value = asked(&input.wanted, reopened, |store, (id, order)| {
        let found = store.search(&TenantId::default(), &search(order)).expect("an answer");
        assert_eq!(found.traces[0].id, *id);
    });
    let absent_value = asked(&input.absent(), reopened, |store, order| {
        let found = store.search(&TenantId::default(), &search(order)).expect("an answer");
        assert!(found.traces.is_empty());
    });
    let store = open(folder.path());
    let (spans, decode) = measured(|| read_all(&store));
    assert_eq!(spans, input.spans.len());
    Costs { name: "own blocks, zstd 1".to_owned(), bytes, encode, decode, by_id, by_value, absent_value }
}

/// Writes all spans as sealed blocks; returns the bytes with catalog rows.
fn write_blocks(input: &Input) -> u64 {
    let write = |spans: &[super::input::Span]| {
        let mut writer = BlockWriter::new(ZSTD_LEVEL).expect("a writer");
        for span in spans {
            let resource = writer.resource(&span.resource).expect("a resource");
            let scope = writer.scope(&span.scope);
            writer.push(resource, scope, &span.bytes, 1).expect("a span");
        }
        let block = writer.finish(1, UnixNanos(1)).expect("a block");
        (block.bytes.len() + block.row.encode().expect("a row").len()) as u64
    };
    input.spans.chunks(GROUP).map(write).sum()
}

fn open(folder: &Path) -> BlockTraceStore {
    let disk = DataDir::lock(folder, 1 << 20).expect("the folder");
    let engine = RocksEngine::open(disk, Durability::Os).expect("an engine");
    BlockTraceStore::open(Arc::new(engine), Arc::new(SystemClock), StoreConfig::default()).expect("a store")
}

fn fill(folder: &Path, input: &Input) {
    let store = open(folder);
    for requests in input.requests.chunks(20) {
        store.append(&TenantId::default(), requests).expect("room");
    }
    store.seal_all();
    store.close().expect("a clean end");
}

fn read_all(store: &BlockTraceStore) -> usize {
    let everything = ScanPlan { predicate: Predicate::All, range: TimeRange::ALL };
    let scan = store.scan(&TenantId::default(), &everything).expect("a scan");
    let count = |trace: TraceSpans| trace.fold(0, |spans, span| spans + usize::from(span.is_ok()));
    scan.map(|trace| count(trace.expect("readable").1)).sum()
}

fn search(order: &str) -> SearchPlan {
    let field = Field::Attribute(AttributeScope::Span, RARE.to_owned());
    let predicate = Predicate::Compare(field, Comparison::Eq(Literal::String(order.to_owned())));
    let effort = Effort::default();
    SearchPlan { predicate, range: TimeRange::ALL, order: Order::Newest, limit: 20, after: None, effort }
}
