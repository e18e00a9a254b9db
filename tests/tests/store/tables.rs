//! Tables of random spans, in usual and in other bytes: their rows are those of the oracle, whether they are read from
//! columns or from spans that were put together.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::{AttributeScope, Field, Predicate, Stop};
use spandrel_storage::table::{FoldPlan, SkippedColumns};
use spandrel_tests::arbitrary::{cases, requests};
use spandrel_tests::contract::tables::{check, check_traces};
use spandrel_tests::harness::{Backend, Harness};
use spandrel_tests::rewrite::rewritten;
use spandrel_tests::spans::{Sent, flatten, read};
use spandrel_tests::tables::columns;

/// The keys of random attributes, and one that none has.
const KEYS: [&str; 6] = ["k", "error", "http.route", "service.name", "", "never"];

fn plans() -> Vec<FoldPlan> {
    let exists = Predicate::Exists(Field::Attribute(AttributeScope::Any, "k".to_owned()));
    let plan = |predicate| FoldPlan {
        predicate,
        range: TimeRange::ALL,
        columns: columns(&KEYS),
        ids: true,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: Stop::default(),
    };
    [Predicate::All, exists].map(plan).into()
}

/// Requests, some of them in other bytes, and their spans.
fn encoded(requests: &[ExportTraceServiceRequest], seed: u64) -> (Vec<Decoded>, Vec<Sent>) {
    let (mut bodies, mut sent) = (Vec::new(), Vec::new());
    for (n, request) in requests.iter().enumerate() {
        let body = request.encode_to_vec();
        let body = if seed >> n & 1 == 1 { rewritten(&body, seed) } else { body };
        sent.extend(flatten(&ExportTraceServiceRequest::decode(body.as_slice()).unwrap()));
        bodies.push(read(body));
    }
    (bodies, sent)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn tables_have_what_was_sent(requests in prop::collection::vec(requests(), 1..5), seed: u64, sealed in 0usize..5) {
        let (bodies, sent) = encoded(&requests, seed);
        let harness = Harness::new(Backend::memory());
        for (n, body) in bodies.iter().enumerate() {
            harness.store().append(&TenantId::default(), std::slice::from_ref(body)).unwrap();
            if n == sealed {
                harness.store().seal_all();
            }
        }
        for step in ["as it came", "sealed"] {
            plans().iter().for_each(|plan| check(&harness, &sent, plan));
            if step == "as it came" {
                harness.store().seal_all();
            }
        }
    }

    /// Spans that were sent twice are put together, because columns cannot tell that they are one.
    #[test]
    fn tables_of_columns_are_those_of_spans(requests in prop::collection::vec(requests(), 1..4), seed: u64) {
        let (bodies, sent) = encoded(&requests, seed);
        let harness = Harness::new(Backend::memory());
        for body in bodies.iter().chain(&bodies) {
            harness.store().append(&TenantId::default(), std::slice::from_ref(body)).unwrap();
        }
        for plan in plans() {
            check_traces(&harness, &sent, &plan);
            check_traces(&harness, &sent, &FoldPlan { ids: false, ..plan });
        }
    }
}
