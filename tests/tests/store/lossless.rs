//! Spans are returned as they were sent, field for field: random requests through the decoder, the store and OTLP's
//! JSON, compared with the generated types.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{
    DecodeLimits, Decoded, SpanRecord, SpanView, decode_json_request, write_request_json,
};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate, SearchPlan};
use spandrel_storage::semantics::has_failed;
use spandrel_storage::{StoredSpan, TraceStore};
use spandrel_tests::arbitrary::{cases, requests};
use spandrel_tests::harness::{Backend, Harness, plan};
use spandrel_tests::oracle;
use spandrel_tests::rewrite::rewritten;
use spandrel_tests::spans::{Sent, decode, flatten, from_json, read};

/// Asserts that every trace of the store equals the sent spans.
fn check(harness: &Harness, sent: &[Sent]) -> Result<(), TestCaseError> {
    for id in sent.iter().map(Sent::trace).collect::<BTreeSet<_>>() {
        let expected = oracle::trace(sent, id);
        let found = harness.trace(id);
        prop_assert_eq!(found.len(), expected.len());
        // Spans with the same start and ID have no fixed order.
        for span in &expected {
            prop_assert!(found.contains(span), "{:?} is not among {:?}", span, found);
        }
        let places = |spans: &[Sent]| spans.iter().map(|span| (span.start(), span.id())).collect::<Vec<_>>();
        prop_assert_eq!(places(&found), places(&expected));
    }
    Ok(())
}

fn comes_back(backend: Backend, requests: &[ExportTraceServiceRequest]) -> Result<(), TestCaseError> {
    let mut harness = Harness::new(backend);
    let mut sent = Vec::new();
    for request in requests {
        harness.store().append(&TenantId::default(), &[decode(request)]).unwrap();
        sent.extend(flatten(request));
    }
    check(&harness, &sent)?;
    harness.restart();
    check(&harness, &sent)?;
    harness.store().seal_all();
    check(&harness, &sent)?;
    harness.restart();
    check(&harness, &sent)
}

/// Stored spans written as JSON and read again.
fn through_json(spans: &[StoredSpan]) -> (String, Vec<StoredSpan>) {
    let mut json = Vec::new();
    let records = spans.iter().map(|stored| SpanRecord {
        resource: &stored.resource,
        scope: &stored.scope,
        span: &stored.span,
    });
    write_request_json(&mut json, records).unwrap();
    let decoded = decode_json_request(&mut &*json, &DecodeLimits::default()).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    (String::from_utf8(json).unwrap(), stored(&decoded))
}

fn records(request: &ExportTraceServiceRequest) -> Vec<StoredSpan> {
    stored(&decode(request))
}

fn stored(decoded: &Decoded) -> Vec<StoredSpan> {
    let stored = |span: &spandrel_proto::otlp::DecodedSpan| StoredSpan {
        resource: decoded.resources[span.resource as usize].clone(),
        scope: decoded.scopes[span.scope as usize].clone(),
        span: decoded.body.slice(span.at.clone()),
        failed: has_failed(&SpanView::parse(&decoded.body[span.at.clone()]).unwrap()).unwrap(),
    };
    decoded.spans.iter().map(stored).collect()
}

/// A resend in other bytes is stored once, and counts once after the merge.
fn other_bytes_change_nothing(request: &ExportTraceServiceRequest, seed: u64) -> Result<(), TestCaseError> {
    let harness = Harness::new(Backend::memory());
    let body = request.encode_to_vec();
    let odd = rewritten(&body, seed);
    let theirs = ExportTraceServiceRequest::decode(odd.as_slice()).unwrap();
    let said = |request: &ExportTraceServiceRequest| {
        flatten(request).iter().map(Sent::says_only).collect::<Vec<_>>()
    };
    prop_assert_eq!(said(&theirs), said(request), "generated code reads the same");
    let ways = [decode(request), from_json(through_json(&records(request)).0.as_bytes()), read(odd)];
    let sent = flatten(request);
    for way in &ways {
        harness.store().append(&TenantId::default(), std::slice::from_ref(way)).unwrap();
    }
    harness.store().append(&TenantId::default(), &ways).unwrap();
    check(&harness, &sent)?;
    harness.store().seal_all();
    check(&harness, &sent)?;
    prop_assert_eq!(harness.store().status().span_count, oracle::distinct(&sent).len() as u64);
    Ok(())
}

/// The store builds summaries from columns, or from spans if a duplicate is stored. Both have to be equal.
fn is_summarised_the_same(requests: &[ExportTraceServiceRequest]) -> Result<(), TestCaseError> {
    let decoded: Vec<_> = requests.iter().map(decode).collect();
    let (columns, spans) = (Harness::new(Backend::memory()), Harness::new(Backend::memory()));
    let parts = Harness::new(Backend::memory());
    for request in &decoded {
        parts.store().append(&TenantId::default(), std::slice::from_ref(request)).unwrap();
    }
    columns.store().append(&TenantId::default(), &decoded).unwrap();
    spans.store().append(&TenantId::default(), &decoded).unwrap();
    spans.store().append(&TenantId::default(), &decoded).unwrap();
    let key = |key: &str| Field::Attribute(AttributeScope::Any, key.to_owned());
    let keys = ["error", "service.name", "a", ""].map(|name| Predicate::Exists(key(name)));
    let others = [
        Predicate::All,
        Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true))),
        Predicate::Compare(Field::Duration, Comparison::Gt(Literal::Int(1_000))),
        Predicate::Absent(key("error")),
    ];
    for predicate in keys.into_iter().chain(others) {
        let everything = SearchPlan { limit: 1_000, ..plan(predicate) };
        let found = columns.search(&everything).traces;
        prop_assert_eq!(&found, &spans.search(&everything).traces, "{:?}", everything.predicate);
        prop_assert_eq!(&found, &parts.search(&everything).traces, "parts: {:?}", everything.predicate);
        columns.store().seal_all();
        prop_assert_eq!(&found, &columns.search(&everything).traces, "sealed: {:?}", everything.predicate);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn spans_come_back_from_memory(requests in prop::collection::vec(requests(), 1..4)) {
        comes_back(Backend::memory(), &requests)?;
    }

    #[test]
    fn spans_that_are_sent_again_in_other_bytes_are_one(request in requests(), seed: u64) {
        other_bytes_change_nothing(&request, seed)?;
    }

    #[test]
    fn summaries_of_columns_are_those_of_spans(requests in prop::collection::vec(requests(), 1..4)) {
        is_summarised_the_same(&requests)?;
    }
}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn spans_come_back_from_rocksdb(requests in prop::collection::vec(requests(), 1..4)) {
        comes_back(Backend::quick_rocks(), &requests)?;
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn json_is_lossless(request in requests()) {
        let (json, back) = through_json(&records(&request));
        prop_assert_eq!(back.iter().map(Sent::from_stored).collect::<Vec<_>>(), flatten(&request), "{}", json);
    }

    /// Generated types read the JSON that we write. They require every field of an entity reference, and have no
    /// infinity.
    #[test]
    fn others_read_our_json(mut request in requests()) {
        for resource in request.resource_spans.iter_mut().filter_map(|spans| spans.resource.as_mut()) {
            resource.entity_refs.clear();
        }
        let (json, ours) = through_json(&records(&request));
        prop_assume!(!json.contains("Infinity\""));
        let theirs = serde_json::from_str::<ExportTraceServiceRequest>(&json);
        prop_assert!(theirs.is_ok(), "{:?} {}", theirs, json);
        prop_assert_eq!(flatten(&theirs.unwrap()), ours.iter().map(Sent::from_stored).collect::<Vec<_>>(), "{}", json);
    }
}

#[test]
fn nan_stays_nan_in_json() {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let span = spandrel_tests::spans::sent(1, 1).with("nan", Value::DoubleValue(f64::NAN));
    let (json, back) = through_json(&records(&spandrel_tests::spans::request(&[span])));
    assert!(json.contains("NaN"), "{json}");
    let value = Sent::from_stored(&back[0]).span.attributes[0].value.clone().unwrap().value;
    assert!(matches!(value, Some(Value::DoubleValue(double)) if double.is_nan()));
}
