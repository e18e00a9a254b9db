//! Logs are stored and removed with their traces, and nothing that counts or searches spans knows of them.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::json;
use spandrel_proto::otlp::{DecodeLimits, Decoded, SpanView, decode_json_logs_request, logs_of};
use spandrel_proto::{TenantId, TimeRange, TraceId};
use spandrel_storage::plan::{AggregatePlan, GroupBy, Predicate, Stop};
use spandrel_storage::table::{AttributeLevel, ColumnName, FoldPlan, SkippedColumns};
use spandrel_storage::{Deletions, Pins, RetentionRule, StoreStatus, TenantBatch, TraceStore};

use super::deletion::{begin, finish, ids, with};
use super::{Open, aggregate};
use crate::harness::Harness;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, attribute, decoded, sent, span_id, trace_id};
use crate::tables::{Row, over_traces, tables};

const DAY: u64 = 24 * HOUR;

/// A log record in short: trace, span, time as an offset to `BEGIN`, text.
type Log = (u64, u64, u64, String);

/// A request of log records of service `shop`.
pub fn logs(records: &[Log]) -> Decoded {
    let record = |(trace, span, at, body): &Log| {
        json!({
            "traceId": trace_id(*trace).to_string(), "spanId": span_id(*span).to_string(),
            "attributes": [{ "key": "at", "value": { "intValue": at.to_string() } }],
            "timeUnixNano": (BEGIN + at).to_string(), "body": { "stringValue": body }, "eventName": "happened",
        })
    };
    let records: Vec<_> = records.iter().map(record).collect();
    let attributes = json!([{ "key": "service.name", "value": { "stringValue": "logger" } }]);
    let scopes = json!([{ "logRecords": records }]);
    let request =
        json!({ "resourceLogs": [{ "resource": { "attributes": attributes }, "scopeLogs": scopes }] });
    let limits = DecodeLimits { max_span_bytes: 1 << 20, max_resource_bytes: 1 << 16, max_nesting: 16 };
    decode_json_logs_request(&mut request.to_string().as_bytes(), &limits).unwrap()
}

fn log(trace: u64, span: u64, at: u64) -> Log {
    (trace, span, at, format!("{trace} {span} {at}"))
}

/// The log records of a trace, sorted.
fn stored(harness: &Harness, tenant: &TenantId, trace: TraceId) -> Vec<Log> {
    let Some(rows) = harness.store().trace_logs(tenant, trace).unwrap() else { return Vec::new() };
    let damage = rows.damage();
    let mut found = Vec::new();
    for row in rows {
        let row = row.unwrap();
        let view = SpanView::parse(&row.span).unwrap();
        let number = |id: &[u8]| u64::from_be_bytes(id[id.len() - 8..].try_into().unwrap());
        for log in logs_of(&view) {
            let log = log.unwrap();
            let Some(spandrel_proto::otlp::AnyValue::String(body)) = log.body else { panic!("{log:?}") };
            let at = log.event.time - BEGIN;
            found.push((number(view.trace_id), number(view.span_id), at, body.to_owned()));
        }
    }
    assert_eq!(damage.blocks(), 0, "blocks are damaged");
    found.sort();
    found
}

fn append_logs(harness: &Harness, records: &[Log]) {
    harness.store().append(&TenantId::default(), &[logs(records)]).unwrap();
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Whatever spans and logs come in whatever order and batches, before and after merges: every answer about spans is that
/// of a store that has never seen a log, and the logs of a trace are those that were sent.
pub fn logs_are_found_with_their_trace_and_count_as_nothing(open: Open) {
    for seed in 0..3 {
        let mut dice = Dice(seed);
        let (mut with, mut without) = (open(), open());
        let mut sent_logs: BTreeMap<u64, Vec<Log>> = BTreeMap::new();
        for batch in 0..6 {
            let spans: Vec<Sent> = (0..dice.below(5))
                .map(|at| {
                    let status = if dice.below(3) == 0 { 2 } else { 0 };
                    let one = sent(1 + dice.below(5), 100 * batch + at + 1)
                        .at(dice.below(MINUTE), dice.below(SECOND));
                    if at > 0 { one.parent(100 * batch + 1).status(status) } else { one.service("web") }
                })
                .collect();
            let records: Vec<Log> = (0..dice.below(6))
                .map(|_| log(1 + dice.below(6), 1 + dice.below(600), dice.below(MINUTE)))
                .collect();
            let requests = [decoded(&spans), logs(&records)];
            let tenant = TenantId::default();
            // Together, or one after the other.
            if dice.below(2) == 0 {
                with.store().append(&tenant, &requests).unwrap();
            } else {
                with.store().append(&tenant, &requests[1..]).unwrap();
                with.store().append(&tenant, &requests[..1]).unwrap();
            }
            without.append(&spans);
            records.into_iter().for_each(|log| sent_logs.entry(log.0).or_default().push(log));
            if dice.below(3) == 0 {
                with.store().seal_all();
                without.store().seal_all();
            }
            if dice.below(4) == 0 {
                with.clock.advance(HOUR);
                without.clock.advance(HOUR);
            }
        }
        sent_logs.values_mut().for_each(|logs| logs.sort());
        with.whatever_happens(|with| {
            for trace in 1..8 {
                let wanted = sent_logs.get(&trace).cloned().unwrap_or_default();
                assert_eq!(stored(with, &TenantId::default(), trace_id(trace)), wanted, "seed {seed}");
            }
        });
        without.whatever_happens(|_| {});
        check_alike(&with, &without);
    }
}

fn check_alike(with: &Harness, without: &Harness) {
    let tenant = TenantId::default();
    let (ours, theirs) = (with.store(), without.store());
    for trace in 1..8 {
        assert_eq!(with.trace(trace_id(trace)), without.trace(trace_id(trace)));
    }
    assert_eq!(with.find(Predicate::All), without.find(Predicate::All));
    let by_name = GroupBy { service: true, operation: true, kind: true };
    for step in [MINUTE, SECOND] {
        let plan = AggregatePlan { group_by: by_name, step, ..aggregate::plan() };
        assert_eq!(ours.aggregate(&tenant, &plan).unwrap(), theirs.aggregate(&tenant, &plan).unwrap());
    }
    assert_eq!(
        ours.dependencies(&tenant, TimeRange::ALL).unwrap(),
        theirs.dependencies(&tenant, TimeRange::ALL).unwrap()
    );
    assert_eq!(ours.services(&tenant), theirs.services(&tenant));
    assert_eq!(ours.operations(&tenant, "logger"), []);
    let counts = |status: StoreStatus| (status.span_count, status.trace_count, status.oldest, status.newest);
    assert_eq!(counts(ours.status()), counts(theirs.status()));
    assert_eq!(counts(ours.tenant_status(&tenant)), counts(theirs.tenant_status(&tenant)));
}

/// Rules and pins decide about a trace by its spans, and its logs stay or go with it, also those of another window.
pub fn logs_live_and_go_with_their_trace(open: Open) {
    let mut harness = open();
    let keep = Duration::from_nanos(DAY);
    harness.config.retention_rules = vec![RetentionRule { predicate: with("service.name", "chatty"), keep }];
    harness.restart();
    let tenant = TenantId::default();
    let spans = [sent(1, 1), sent(2, 1).service("chatty"), sent(3, 1).service("chatty"), sent(4, 1)];
    harness.append(&spans);
    append_logs(&harness, &[log(1, 1, 1), log(2, 1, 2), log(3, 1, 3), log(4, 1, 4)]);
    harness.clock.advance(HOUR);
    append_logs(&harness, &[log(1, 1, 5), log(2, 7, 6)]);
    harness.store().pin(&tenant, trace_id(3)).unwrap().unwrap();
    harness.store().seal_all();
    let count = |harness: &Harness| {
        (1..5).map(|trace| stored(harness, &TenantId::default(), trace_id(trace)).len()).collect::<Vec<_>>()
    };
    harness.whatever_happens(|harness| assert_eq!(count(harness), [2, 2, 1, 1]));
    harness.clock.advance(DAY);
    harness.maintain(2);
    harness.whatever_happens(|harness| {
        assert_eq!(ids(harness), [1, 3, 4]);
        let left = count(harness);
        assert_eq!((left[0], left[2], left[3]), (2, 1, 1));
        // What came an hour later belongs to a window that has not expired, or to no span any more.
        assert!(left[1] <= 1, "{left:?}");
    });
    let deletion = harness.store().delete(
        &tenant,
        &spandrel_storage::plan::ScanPlan { predicate: with("service.name", "shop"), range: TimeRange::ALL },
    );
    finish(&harness, &deletion.unwrap());
    harness.whatever_happens(|harness| {
        let left = count(harness);
        assert_eq!((left[0], left[2], left[3]), (0, 1, 0));
    });
    harness.clock.advance(30 * DAY);
    harness.maintain(3);
    harness.whatever_happens(|harness| assert_eq!(count(harness), [0, 0, 1, 0], "the pinned one stays"));
}

/// While no span of a trace is stored, its logs stay for the default retention.
pub fn logs_of_no_span_live_by_the_default(open: Open) {
    let mut harness = open();
    let keep = Duration::from_nanos(DAY);
    harness.config.retention_rules = vec![RetentionRule { predicate: with("service.name", "chatty"), keep }];
    harness.restart();
    append_logs(&harness, &[log(1, 1, 1)]);
    harness.clock.advance(DAY + 2 * HOUR);
    harness.maintain(2);
    let count = |harness: &Harness| stored(harness, &TenantId::default(), trace_id(1)).len();
    harness.whatever_happens(|harness| assert_eq!(count(harness), 1));
    harness.clock.advance(30 * DAY);
    harness.maintain(2);
    harness.whatever_happens(|harness| {
        assert_eq!(count(harness), 0);
        assert_eq!(harness.store().status().log_row_count, 0);
    });
}

/// Deleting everything leaves no trace of which only logs are stored.
pub fn traces_of_logs_alone_are_deleted_with_everything(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1)]);
    append_logs(&harness, &[log(1, 1, 1), log(2, 1, 2)]);
    let deletion = begin(&harness, Predicate::All);
    let of = |harness: &Harness, trace| stored(harness, &TenantId::default(), trace_id(trace));
    assert_eq!((of(&harness, 1), of(&harness, 2)), (Vec::new(), Vec::new()), "hidden at once");
    let deletion = finish(&harness, &deletion);
    assert_eq!((deletion.traces, deletion.spans), (2, 1));
    harness.whatever_happens(|harness| {
        assert_eq!((of(harness, 1), of(harness, 2)), (Vec::new(), Vec::new()));
    });
}

/// Logs of one tenant are in no answer about another, and both may come in one batch.
pub fn tenants_never_see_logs_of_each_other(open: Open) {
    let mut harness = open();
    let (one, other) = (TenantId::new("one").unwrap(), TenantId::new("other").unwrap());
    let (first, second) = ([logs(&[log(1, 1, 1)])], [logs(&[log(1, 1, 2)])]);
    let batches =
        [TenantBatch { tenant: &one, requests: &first }, TenantBatch { tenant: &other, requests: &second }];
    harness.store().append_all(&batches).into_iter().for_each(|result| result.unwrap());
    harness.whatever_happens(|harness| {
        assert_eq!(stored(harness, &one, trace_id(1)), [log(1, 1, 1)]);
        assert_eq!(stored(harness, &other, trace_id(1)), [log(1, 1, 2)]);
        assert!(stored(harness, &TenantId::default(), trace_id(1)).is_empty());
    });
}

/// The tables of traces whose logs came as logs are those of traces whose logs came as span events: in whatever order
/// they came, before merges and after them. Logs of spans that are not stored are in none.
pub fn tables_have_logs_among_the_events(open: Open) {
    let (mut with_logs, mut with_events) = (open(), open());
    let mut dice = Dice(5);
    for trace in 1..7 {
        let mut spans: Vec<Sent> =
            (1..4).map(|span| sent(trace, span).at(span, SECOND).name(&format!("op-{span}"))).collect();
        let records: Vec<Log> =
            (0..dice.below(6)).map(|at| log(trace, 1 + dice.below(4), 10 * at + dice.below(10))).collect();
        let request = [logs(&records)];
        let tenant = TenantId::default();
        let is_early = dice.below(2) == 0;
        if is_early {
            with_logs.store().append(&tenant, &request).unwrap();
        }
        with_logs.append(&spans);
        if !is_early {
            with_logs.store().append(&tenant, &request).unwrap();
        }
        for (_, span, at, _) in records.iter().filter(|(_, span, ..)| *span < 4) {
            spans[*span as usize - 1].span.events.push(Event {
                time_unix_nano: BEGIN + at,
                name: "happened".to_owned(),
                attributes: vec![attribute("at", Value::IntValue(at.cast_signed()))],
                ..Event::default()
            });
        }
        with_events.append(&spans);
    }
    let column = ColumnName::Attribute(AttributeLevel::Event, "at".to_owned());
    let plan = FoldPlan {
        predicate: Predicate::All,
        range: TimeRange::ALL,
        columns: vec![ColumnName::EventName, ColumnName::EventTimeSinceStart, column],
        ids: true,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: Stop::default(),
    };
    let shown = |harness: &mut Harness| {
        let mut all: Vec<Vec<Vec<Row>>> = Vec::new();
        let seen = std::cell::RefCell::new(&mut all);
        harness.whatever_happens(|harness| {
            for ids in [true, false] {
                let mut tables = tables(harness, over_traces, &FoldPlan { ids, ..plan.clone() }, 2);
                tables.sort();
                seen.borrow_mut().push(tables);
            }
        });
        all
    };
    let (ours, theirs) = (shown(&mut with_logs), shown(&mut with_events));
    // A table that was joined has IDs, which nothing looks at where none were asked for.
    let without_ids = |all: Vec<Vec<Vec<Row>>>| {
        let bare = |row: Row| Row { ids: None, ..row };
        let of_tables = |tables: Vec<Vec<Row>>| {
            let mut rows: Vec<Row> = tables.into_iter().flatten().map(bare).collect();
            rows.sort();
            rows
        };
        all.into_iter().map(of_tables).collect::<Vec<_>>()
    };
    assert_eq!(without_ids(ours), without_ids(theirs));
}
