//! A store in memory, filled in different ways: what an answer says must not depend on how.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_request};
use spandrel_proto::{TenantId, UnixNanos};
use spandrel_storage::engine::MemoryEngine;
use spandrel_storage::{BlockTraceStore, Clock, StoreConfig, TraceStore};

use crate::generate::spans::{BATCHES, BEGIN, MINUTE};
use crate::plain::trace::Sent;

/// How the batches of spans lie in a store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    /// None is merged.
    Fresh,
    /// All are in one merged block.
    Sealed,
    /// The first half is merged.
    Half,
    /// In two merged blocks of different hours, so that the second one has late spans.
    Late,
}

pub const STATES: [State; 4] = [State::Fresh, State::Sealed, State::Half, State::Late];

/// A clock that is moved.
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

/// A store with the batches.
pub fn store(batches: &[Vec<Sent>], state: State) -> BlockTraceStore {
    let clock = Arc::new(ManualClock(AtomicU64::new(BEGIN + 10 * MINUTE)));
    let engine = Arc::new(MemoryEngine::default());
    let store = BlockTraceStore::open(engine, clock.clone(), StoreConfig::default()).unwrap();
    let append = |batch: &Vec<Sent>| {
        if !batch.is_empty() {
            store.append(&TenantId::default(), &[decoded(batch)]).unwrap();
        }
    };
    let (early, late) = batches.split_at(BATCHES / 2);
    early.iter().for_each(append);
    if matches!(state, State::Half | State::Late) {
        store.seal_all();
    }
    if state == State::Late {
        clock.0.fetch_add(90 * MINUTE, Ordering::Relaxed);
    }
    late.iter().for_each(append);
    if matches!(state, State::Sealed | State::Late) {
        store.seal_all();
    }
    store
}

pub fn decoded(spans: &[Sent]) -> Decoded {
    let resource_spans = |sent: &Sent| ResourceSpans {
        resource: Some(sent.resource.clone()),
        scope_spans: vec![ScopeSpans {
            scope: Some(sent.scope.clone()),
            spans: vec![sent.span.clone()],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest { resource_spans: spans.iter().map(resource_spans).collect() };
    let decoded = decode_request(request.encode_to_vec().into(), &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.spans.len(), spans.len(), "no span is refused");
    decoded
}
