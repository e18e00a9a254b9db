//! Whole blocks, read by a store: a damaged block with valid checksums affects itself and nothing else, whatever the
//! query.
#![no_main]

use std::sync::Arc;

use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_fuzz::{repair_block, row_of};
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::engine::{Catalog, Change, MemoryEngine, NewBlock};
use spandrel_storage::plan::{
    AggregatePlan, AttributeScope, Comparison, Effort, Field, GroupBy, KindFilter, Literal, Order, Predicate,
    SearchPlan, Stop,
};
use spandrel_storage::{BlockTraceStore, Clock, StoreConfig, TraceStore};

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000)
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut block = bytes.to_vec();
    repair_block(&mut block);
    // Counts are limited, so that the fuzzer finds mistakes instead of large numbers.
    let Some(row) = row_of(&block).filter(|row| row.meta.spans <= 10_000 && row.meta.traces <= 10_000) else {
        return;
    };
    let engine = MemoryEngine::default();
    let key = BlockKey { tenant: TenantId::default(), hour: Hour::of(Stopped.now()), block: BlockId(1) };
    let rows = spandrel_block::RowRange { first: 0, rows: row.meta.spans };
    let index = vec![(TraceId::MIN, rows), (TraceId::MAX, rows)];
    let Ok(encoded) = row.encode() else { return };
    let add = NewBlock { id: key.block, bytes: block.into(), row: encoded, short_lived: false, index };
    let change = Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![add], removes: Vec::new() };
    engine.commit(&change).expect("memory takes what comes");
    let store = BlockTraceStore::open(Arc::new(engine), Arc::new(Stopped), StoreConfig::default())
        .expect("the row decodes");
    ask(&store, &key.tenant);
    store.seal_all();
    ask(&store, &key.tenant);
});

fn ask(store: &BlockTraceStore, tenant: &TenantId) {
    for id in [TraceId::MIN, TraceId::MAX, TraceId::from_bytes([1; 16])] {
        if let Ok(Some(spans)) = store.trace(tenant, id) {
            spans.for_each(drop);
        }
    }
    let attribute = Field::Attribute(AttributeScope::Any, "k".to_owned());
    let predicates = [
        Predicate::All,
        Predicate::Absent(attribute.clone()),
        Predicate::Compare(attribute, Comparison::Eq(Literal::Int(1))),
        Predicate::Compare(Field::Name, Comparison::Ne(Literal::String("x".to_owned()))),
        Predicate::Compare(Field::Duration, Comparison::Gt(Literal::Int(0))),
    ];
    for predicate in predicates {
        for order in [Order::Newest, Order::Longest] {
            let plan = SearchPlan {
                predicate: predicate.clone(),
                range: TimeRange::ALL,
                order,
                limit: 3,
                after: None,
                effort: Effort::default(),
            };
            let _ = store.search(tenant, &plan);
        }
    }
    for step in [1 << 50, 60_000_000_000] {
        let range = TimeRange { start: UnixNanos(0), end: Some(UnixNanos::MAX) };
        let group_by = GroupBy { service: true, operation: true, kind: true };
        let plan = AggregatePlan {
            service: None,
            operation: None,
            kind: KindFilter::Any,
            group_by,
            range,
            step,
            max_points: 100,
            stop: Stop::default(),
        };
        let _ = store.aggregate(tenant, &plan);
    }
    let _ = store.dependencies(tenant, TimeRange::ALL);
    let _ = (store.services(tenant), store.operations(tenant, "shop"), store.status());
}
