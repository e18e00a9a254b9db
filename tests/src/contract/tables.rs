//! Tables show the spans that were sent: to the folds of a pass, and to the judge of a select.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Status};
use prost::Message;
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::{
    AggregatePlan, AttributeScope, Comparison, Effort, Field, Literal, Order, Predicate, ScanPlan,
    SearchPlan, Stop,
};
use spandrel_storage::table::{
    AttributeLevel, ColumnName, FoldPlan, KnownAttribute, SelectPlan, SkippedColumns, SpanTable, TableFold,
    TraceJudge, Verdict,
};
use spandrel_storage::{BlockTraceStore, Deletions, SearchAnswer, StoreConfig, TraceStore};

use super::Open;
use super::search::{ORDERS, predicates, shop};
use crate::harness::{Harness, plan};
use crate::oracle;
use crate::rewrite::rewritten;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, attribute, read, request, sent, text, trace_id};
use crate::tables::{Collector, Row, columns, expected, over_spans, over_traces, rows, tables, traces};

fn all(predicate: Predicate) -> FoldPlan {
    FoldPlan {
        predicate,
        range: TimeRange::ALL,
        columns: Vec::new(),
        ids: true,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: Stop::default(),
    }
}

/// The expected rows of a pass over spans.
fn matching(spans: &[Sent], plan: &FoldPlan) -> Vec<Row> {
    let in_range = |sent: &&Sent| plan.range.contains(UnixNanos(sent.start()));
    let own = spans.iter().filter(in_range).filter(|sent| oracle::matches(&plan.predicate, sent));
    sorted(own.map(|sent| expected(sent, &plan.columns, plan.ids)).collect())
}

/// The expected rows of a trace. Spans that share start and ID have no fixed order, so they are sorted.
fn whole(spans: &[Sent], id: TraceId, plan: &FoldPlan) -> Vec<Row> {
    sorted(oracle::trace(spans, id).iter().map(|sent| expected(sent, &plan.columns, plan.ids)).collect())
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

/// Asserts that a pass over spans shows the matching ones, and a pass over traces the whole traces, each once.
pub fn check(harness: &Harness, spans: &[Sent], plan: &FoldPlan) {
    check_spans(harness, spans, plan);
    check_traces(harness, spans, plan);
}

fn check_spans(harness: &Harness, spans: &[Sent], plan: &FoldPlan) {
    let expected = matching(spans, plan);
    for threads in [1, 3] {
        let found = sorted(tables(harness, over_spans, plan, threads).concat());
        assert_eq!(found, expected, "{plan:?}");
    }
}

/// Asserts that a pass over traces shows whole traces, each once.
pub fn check_traces(harness: &Harness, spans: &[Sent], plan: &FoldPlan) {
    let search = SearchPlan { range: plan.range, ..crate::harness::plan(plan.predicate.clone()) };
    let expected: BTreeMap<String, Vec<Row>> = oracle::search(spans, &search)
        .iter()
        .map(|summary| (summary.id.to_string(), whole(spans, summary.id, plan)))
        .collect();
    for threads in [1, 3] {
        let mut found = BTreeMap::new();
        for table in traces(harness, plan, threads) {
            let places = |row: &Row| (row.start, row.ids.map(|(id, _)| id));
            assert!(!plan.ids || table.is_sorted_by_key(places), "{table:?}");
            let trace = table[0].trace.clone();
            assert!(found.insert(trace.clone(), sorted(table)).is_none(), "{trace} came twice");
        }
        assert_eq!(found, expected, "{plan:?}");
    }
}

/// Every predicate, over all time and over a part, with and without columns.
pub fn passes_show_what_searches_find(open: Open) {
    let mut harness = open();
    let batches = shop();
    for batch in &batches {
        harness.append(batch);
        harness.clock.advance(20 * MINUTE);
    }
    let spans = batches.concat();
    let part = TimeRange { start: UnixNanos(BEGIN + 15 * SECOND), end: Some(UnixNanos(BEGIN + 30 * SECOND)) };
    harness.whatever_happens(|harness| {
        for (at, predicate) in predicates().into_iter().enumerate() {
            let columns = if at % 2 == 0 { columns(&["amount", "region"]) } else { Vec::new() };
            let plan = FoldPlan { columns, ids: at % 3 > 0, ..all(predicate) };
            check(harness, &spans, &plan);
            check(harness, &spans, &FoldPlan { range: part, ..plan });
        }
    });
}

/// The keys of the attributes of [`varied`].
const KEYS: [&str; 4] = ["k", "other", "service.name", "never"];

/// Spans whose attributes have every type, at every level, once or repeated, and spans without any.
fn varied() -> Vec<Sent> {
    let any = |value| AnyValue { value: Some(value) };
    let array = |values: Vec<AnyValue>| Value::ArrayValue(ArrayValue { values });
    let list = || Value::KvlistValue(KeyValueList { values: vec![attribute("k", text("inner"))] });
    let values: Vec<Option<AnyValue>> = [
        text("blue"),
        text(""),
        text("3"),
        Value::IntValue(3),
        Value::IntValue(-70_000),
        Value::IntValue(i64::MIN),
        Value::DoubleValue(3.0),
        Value::DoubleValue(-0.0),
        Value::DoubleValue(f64::NAN),
        Value::BoolValue(true),
        Value::BoolValue(false),
        Value::BytesValue(b"blue".to_vec()),
        Value::BytesValue(Vec::new()),
        array(Vec::new()),
        array(vec![any(text("a")), any(Value::IntValue(3)), AnyValue::default(), any(list())]),
        array(vec![any(array(vec![any(text("blue"))])), any(Value::DoubleValue(2.5))]),
        list(),
    ]
    .into_iter()
    .map(|value| Some(any(value)))
    .chain([None, Some(AnyValue::default())])
    .collect();
    let own = |key: &str, value: &Option<AnyValue>| KeyValue {
        key: key.to_owned(),
        value: value.clone(),
        ..KeyValue::default()
    };
    let event = |time: u64, name: &str, attributes: Vec<KeyValue>| Event {
        time_unix_nano: time,
        name: name.to_owned(),
        attributes,
        ..Event::default()
    };
    let link = |n: u8, attributes: Vec<KeyValue>| Link {
        trace_id: vec![n; 16],
        span_id: vec![n; 8],
        attributes,
        ..Link::default()
    };
    let mut spans = Vec::new();
    for (n, value) in (1u64..).zip(&values) {
        let next = &values[n as usize % values.len()];
        let plain = |span: u64| {
            sent((n * 5 + span) % 61 + 1, 100 * n + span).at(n * SECOND + span, n).name(&format!("{}", n % 3))
        };
        let with = |span: u64, attributes: Vec<KeyValue>| {
            let mut one = plain(span);
            one.span.attributes = attributes;
            one
        };
        spans.push(plain(1));
        spans.push(with(2, vec![own("k", value)]));
        spans.push(
            with(3, vec![own("other", value), own("k", value), own("k", next), own("k", value)])
                .parent(100 * n + 1),
        );
        let mut on_resource = plain(4);
        on_resource
            .resource
            .resource
            .get_or_insert_default()
            .attributes
            .extend([own("k", value), own("k", next)]);
        spans.push(on_resource);
        let mut in_scope = plain(5);
        in_scope.scope = ScopeSpans { scope: Some(Default::default()), ..ScopeSpans::default() };
        let scope = in_scope.scope.scope.get_or_insert_default();
        (scope.name, scope.version) = (format!("scope {}", n % 3), "1".to_owned());
        scope.attributes = vec![own("other", value), own("k", next)];
        spans.push(in_scope);
        let mut eventful = with(6, vec![own("other", value)]).at(n * SECOND, 1);
        eventful.span.events = vec![
            event(eventful.start() + n, "exception", vec![own("k", value), own("other", value)]),
            event(0, "", Vec::new()),
            event(u64::MAX, "exception", vec![own("k", next), own("k", value)]),
        ];
        eventful.span.status = Some(Status { code: (n % 3) as i32, message: format!("m{}", n % 2) });
        spans.push(eventful);
        let mut linked = plain(7);
        linked.span.links =
            vec![link(n as u8, vec![own("k", value)]), Link::default(), link(1, vec![own("k", next)])];
        linked.span.events = vec![event(linked.start(), "one", vec![own("other", next)])];
        linked.span.flags = [0, 1, 0x300, 0x12345][n as usize % 4];
        linked.span.trace_state = if n % 2 == 0 { "a=b".to_owned() } else { String::new() };
        spans.push(linked);
        // Zipkin's shared spans: one ID, two spans.
        spans.push(with(1, vec![own("k", value)]).kind(3).at(n * SECOND + 1, n));
    }
    spans
}

/// Every column of spans with every type of value.
pub fn columns_have_what_was_sent(open: Open) {
    let mut harness = open();
    let spans = varied();
    let (first, second) = spans.split_at(spans.len() / 2);
    first.chunks(17).for_each(|part| harness.append(part));
    harness.store().seal_all();
    second.chunks(23).for_each(|part| harness.append(part));
    let exists = |key: &str| Predicate::Exists(Field::Attribute(AttributeScope::Span, key.to_owned()));
    harness.whatever_happens(|harness| {
        for predicate in [Predicate::All, exists("k"), exists("other"), exists("never")] {
            check(harness, &spans, &FoldPlan { columns: columns(&KEYS), ..all(predicate.clone()) });
            for column in columns(&KEYS) {
                check_spans(
                    harness,
                    &spans,
                    &FoldPlan { columns: vec![column], ids: false, ..all(predicate.clone()) },
                );
            }
        }
    });
}

/// Spans in unusual bytes: among usual ones, or alone.
pub fn unusual_bytes_read_the_same(open: Open) {
    let mut harness = open();
    let mut spans = Vec::new();
    for (n, part) in varied().chunks(11).enumerate() {
        let body = request(part).encode_to_vec();
        let body = if n % 2 == 0 { rewritten(&body, n as u64) } else { body };
        let kept = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        spans.extend(crate::spans::flatten(&kept));
        harness.store().append(&TenantId::default(), &[read(body)]).unwrap();
    }
    harness.whatever_happens(|harness| {
        check(harness, &spans, &FoldPlan { columns: columns(&KEYS), ..all(Predicate::All) });
    });
}

/// Spans that were sent twice come twice in a pass over spans until they are merged, and once in one over traces.
pub fn duplicates_come_once_in_a_trace(open: Open) {
    let mut harness = open();
    let twice: Vec<Sent> =
        (1..=4).map(|n| sent(1, n).at(n, 1).with("k", Value::IntValue(n as i64))).collect();
    let late = [sent(1, 9).at(0, 1).with("k", text("late")), sent(2, 1)];
    harness.append(&twice);
    harness.append(&late);
    harness.append(&twice);
    let spans = [twice.as_slice(), &late].concat();
    let plan = FoldPlan { columns: columns(&["k"]), ..all(Predicate::All) };
    check_spans(&harness, &[spans.clone(), twice].concat(), &plan);
    check_traces(&harness, &spans, &plan);
    check_select(&harness, &spans, &crate::harness::plan(Predicate::All), |_| true);
    harness.store().seal_all();
    harness.whatever_happens(|harness| {
        check(harness, &spans, &plan);
        check_select(harness, &spans, &crate::harness::plan(Predicate::All), |_| true);
    });
}

/// A fold that has enough ends the pass for all.
pub fn a_fold_ends_its_pass(open: Open) {
    let harness = open();
    for n in 1..=40 {
        harness.append(&[sent(n, 1)]);
    }
    for pass in [over_spans, over_traces] {
        let mut fold = Collector { enough: Some(3), ..Collector::default() };
        let answer = pass(&harness, &all(Predicate::All), &mut [&mut fold as &mut dyn TableFold]).unwrap();
        assert_eq!((fold.tables.len(), answer.partial), (3, true));
        let answer = pass(&harness, &all(Predicate::All), &mut []).unwrap();
        assert_eq!(answer.scanned.spans, 0, "nobody to show spans to");
    }
}

/// A pass tells the last commit that it has seen, and a later one shows what was stored since, wherever it lies now.
pub fn a_pass_goes_on_where_an_earlier_one_ended(open: Open) {
    let mut harness = open();
    let nothing = FoldPlan { predicate: Predicate::Or(Vec::new()), ..all(Predicate::All) };
    let old = [sent(1, 1), sent(2, 1)];
    harness.append(&old);
    let after = over_spans(&harness, &nothing, &mut []).unwrap().snapshot;
    assert_eq!(over_traces(&harness, &nothing, &mut []).unwrap().snapshot, after);
    let new = [sent(2, 2).at(5, 1), sent(3, 1)];
    harness.append(&new);
    let spans = [&old[..], &new].concat();
    harness.whatever_happens(|harness| {
        let plan = FoldPlan { after, ..all(Predicate::All) };
        let found = sorted(tables(harness, over_spans, &plan, 2).concat());
        assert_eq!(found, matching(&new, &plan));
        let found = traces(harness, &plan, 2);
        let whole: BTreeSet<Vec<Row>> = [2, 3].map(|n| whole(&spans, trace_id(n), &plan)).into();
        assert_eq!(found.into_iter().map(sorted).collect::<BTreeSet<_>>(), whole);
        let all = FoldPlan { after: 0, ..plan };
        assert_eq!(sorted(tables(harness, over_spans, &all, 1).concat()), matching(&spans, &all));
    });
}

/// Counts the values of the first column.
struct CountValues(usize);

impl TableFold for CountValues {
    fn add(&mut self, table: &SpanTable) -> bool {
        self.0 += (0..table.rows()).map(|row| table.columns[0].codes.of_row(row).count()).sum::<usize>();
        true
    }
}

/// A column that a fold skips is empty from then on; without a fold that skips it, it is not.
pub fn skipped_columns_are_empty(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1).with("k", text("a")), sent(2, 1).with("k", text("b"))]);
    harness.whatever_happens(|harness| {
        let skipped = SkippedColumns::none_of(1);
        let column = ColumnName::Attribute(AttributeLevel::Span, "k".to_owned());
        let plan = FoldPlan { columns: vec![column], skipped: skipped.clone(), ..all(Predicate::All) };
        let values = || {
            let mut fold = CountValues(0);
            over_spans(harness, &plan, &mut [&mut fold as &mut dyn TableFold]).unwrap();
            fold.0
        };
        assert_eq!(values(), 2);
        skipped.skip(0);
        assert_eq!(values(), 0);
    });
}

/// The attributes of every level, with the types of their values.
pub fn attributes_have_names_and_types(open: Open) {
    let mut harness = open();
    let event = Event { attributes: vec![attribute("why", text("x"))], ..Event::default() };
    let mut first = sent(1, 1).with("k", text("a")).with("ok", Value::BoolValue(true));
    first.span.events.push(event);
    let second = sent(2, 1).with("k", Value::IntValue(1)).on_resource("zone", Value::DoubleValue(0.5));
    harness.append(&[first.at(0, 1), second.at(HOUR, 1)]);
    harness.whatever_happens(|harness| {
        let names = |range: TimeRange| -> Vec<String> {
            let known = harness.store().attributes(&TenantId::default(), range).unwrap();
            let name = |known: KnownAttribute| format!("{:?} {} {:?}", known.level, known.key, known.types);
            known.into_iter().map(name).filter(|name| !name.contains("service.name")).collect()
        };
        let known = names(TimeRange::ALL);
        for wanted in
            ["Span k [String, Int]", "Span ok [Bool]", "Event why [String]", "Resource zone [Double]"]
        {
            assert!(known.iter().any(|name| name == wanted), "{wanted} is not in {known:?}");
        }
        let later = TimeRange { start: UnixNanos(BEGIN + 2 * HOUR), end: None };
        assert_eq!(names(later), [""; 0]);
    });
}

/// Beyond the limit of candidates, the answer of a pass over traces is partial.
pub fn too_many_traces_are_a_partial_pass(open: Open) {
    let mut harness = open();
    harness.config = StoreConfig { max_candidates: 10, ..harness.config.clone() };
    harness.restart();
    for n in 1..=10 {
        harness.append(&[sent(n, 1)]);
    }
    assert_eq!(traces(&harness, &all(Predicate::All), 2).len(), 10);
    harness.append(&[sent(11, 1)]);
    let mut fold = Collector::default();
    let answer = over_traces(&harness, &all(Predicate::All), &mut [&mut fold as &mut dyn TableFold]).unwrap();
    assert!(answer.partial && fold.tables.len() >= 10, "{} traces", fold.tables.len());
    assert_eq!(tables(&harness, over_spans, &all(Predicate::All), 2).concat().len(), 11);
}

/// What is being deleted is in no table.
pub fn deleted_traces_are_in_no_table(open: Open) {
    let mut harness = open();
    let mut spans: Vec<Sent> = (1..=6).map(|n| sent(n, 1).at(n, 1)).collect();
    harness.append(&spans[..3]);
    harness.store().seal_all();
    harness.append(&spans[3..]);
    let name = Predicate::Compare(Field::Duration, Comparison::Ge(Literal::Int(0)));
    let early = TimeRange { start: UnixNanos(0), end: Some(UnixNanos(BEGIN + 3)) };
    let store: &BlockTraceStore = harness.store();
    store.delete(&TenantId::default(), &ScanPlan { predicate: name, range: early }).unwrap();
    spans.retain(|sent| sent.start() >= BEGIN + 3);
    harness.whatever_happens(|harness| {
        check(harness, &spans, &all(Predicate::All));
        check_select(harness, &spans, &plan(Predicate::All), |_| true);
    });
}

/// Accepts the traces that a function names; all their spans match.
struct Chooser<'c> {
    chooses: &'c (dyn Fn(&str) -> bool + Sync),
    seen: Vec<Vec<Row>>,
    shown: Vec<String>,
    /// The number of traces after which it ends the search.
    enough: usize,
    /// The number of traces of the answer before which it ends that.
    room: usize,
}

impl<'c> Chooser<'c> {
    fn new(chooses: &'c (dyn Fn(&str) -> bool + Sync)) -> Self {
        Self { chooses, seen: Vec::new(), shown: Vec::new(), enough: usize::MAX, room: usize::MAX }
    }
}

impl TraceJudge for Chooser<'_> {
    fn judge(&mut self, table: &SpanTable) -> Vec<Verdict> {
        let (rows, mut begin) = (rows(table), 0);
        let mut verdict = |(trace, end): &(TraceId, u32)| {
            if self.seen.len() == self.enough {
                return Verdict::Stop;
            }
            let own = begin..*end;
            begin = *end;
            self.seen.push(rows[own.start as usize..own.end as usize].to_vec());
            match (self.chooses)(&trace.to_string()) {
                true => Verdict::Matches(own.collect()),
                false => Verdict::No,
            }
        };
        table.traces.iter().map(&mut verdict).collect()
    }

    fn show(&mut self, table: &SpanTable) -> bool {
        let has_room = self.shown.len() < self.room;
        if has_room {
            self.shown.push(table.traces[0].0.to_string());
        }
        has_room
    }
}

fn select(harness: &Harness, plan: &SearchPlan, judges: &mut [&mut dyn TraceJudge]) -> SearchAnswer {
    let columns = columns(&["k", "amount"]);
    let plan = SelectPlan { search: plan.clone(), companions: Vec::new(), columns };
    harness.store().select(&TenantId::default(), &plan, judges).unwrap()
}

/// Reads all pages of a select, and compares with what the oracle expects of the traces that the judge chooses.
fn check_select(
    harness: &Harness,
    spans: &[Sent],
    plan: &SearchPlan,
    chooses: impl Fn(TraceId) -> bool + Sync,
) {
    let mut expected = oracle::search(spans, plan);
    expected.retain(|summary| chooses(summary.id));
    let every = SearchPlan { range: TimeRange::ALL, ..crate::harness::plan(Predicate::All) };
    let (mut found, mut next) = (Vec::new(), plan.clone());
    let table = FoldPlan { columns: columns(&["k", "amount"]), ..all(Predicate::All) };
    loop {
        let by_text = |id: &str| chooses(id.parse().unwrap());
        let mut judges: [Chooser<'_>; 3] = std::array::from_fn(|_| Chooser::new(&by_text));
        let [first, second, third] = &mut judges;
        let answer = select(harness, &next, &mut [first, second, third]);
        assert!(!answer.partial && answer.traces.len() <= plan.limit);
        let ids: Vec<String> = answer.traces.iter().map(|trace| trace.id.to_string()).collect();
        assert_eq!(judges[0].shown, ids);
        for seen in judges.into_iter().flat_map(|judge| judge.seen) {
            let id: TraceId = seen[0].trace.parse().unwrap();
            assert!(seen.is_sorted_by_key(|row| (row.start, row.ids.map(|(id, _)| id))), "{seen:?}");
            assert_eq!(sorted(seen), whole(spans, id, &table), "{plan:?}");
        }
        found.extend(answer.traces);
        match answer.next {
            Some(position) => next.after = Some(position),
            None => break,
        }
    }
    assert_eq!(found.len(), expected.len(), "{plan:?}");
    for (expected, found) in expected.iter().zip(&found) {
        // Every span matches, whatever the plan says.
        let expected = oracle::summarise(expected.id, &oracle::trace(spans, expected.id), &every);
        assert_eq!(expected, *found, "{plan:?}");
    }
}

/// Every order in pages of several sizes, with a judge who accepts all traces, some, or none.
pub fn a_select_has_the_order_of_a_search(open: Open) {
    let mut harness = open();
    let batches = shop();
    for batch in &batches {
        harness.append(batch);
        harness.clock.advance(20 * MINUTE);
    }
    let spans = batches.concat();
    let failed = Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)));
    let number = |id: TraceId| u128::from_be_bytes(*id.as_bytes());
    harness.whatever_happens(|harness| {
        for order in ORDERS {
            for limit in [1, 3, 100] {
                let all = SearchPlan { order, limit, ..plan(Predicate::All) };
                check_select(harness, &spans, &all, |_| true);
                check_select(harness, &spans, &all, |id| number(id) % 3 > 0);
                check_select(harness, &spans, &all, |_| false);
                let failed = SearchPlan { predicate: failed.clone(), ..all };
                check_select(harness, &spans, &failed, |id| number(id) % 2 > 0);
            }
        }
    });
}

/// Every span of a summary that the judge did not name is no match, and no more than twenty are listed.
pub fn the_judge_names_the_matching_spans(open: Open) {
    struct Namer(Vec<u32>);
    impl TraceJudge for Namer {
        fn judge(&mut self, _: &SpanTable) -> Vec<Verdict> {
            vec![Verdict::Matches(self.0.clone())]
        }
    }
    let mut harness = open();
    let spans: Vec<Sent> = (1..=50).map(|n| sent(1, n).at(n, 1)).collect();
    spans.chunks(9).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        for named in [vec![3, 40], (0..30).collect(), Vec::new()] {
            let answer = select(harness, &plan(Predicate::All), &mut [&mut Namer(named.clone())]);
            let trace = &answer.traces[0];
            let ids: Vec<_> = named.iter().take(20).map(|row| spans[*row as usize].id()).collect();
            assert_eq!((&trace.matched_span_ids, trace.matched_span_count), (&ids, named.len() as u64));
            assert_eq!(trace.span_count, 50);
        }
    });
}

/// A judge that stops leaves the traces that it accepted.
pub fn a_judge_ends_the_search(open: Open) {
    let harness = open();
    let spans: Vec<Sent> = (1..=30).map(|n| sent(n, 1).at(n * SECOND, n)).collect();
    harness.append(&spans);
    for order in ORDERS {
        let plan = SearchPlan { order, limit: 20, ..plan(Predicate::All) };
        let mut judge = Chooser { enough: 4, ..Chooser::new(&|_| true) };
        let answer = select(&harness, &plan, &mut [&mut judge]);
        assert_eq!((answer.traces.len(), answer.partial, answer.next), (4, true, None), "{order:?}");
        let mut judge = Chooser { room: 2, ..Chooser::new(&|_| true) };
        let answer = select(&harness, &plan, &mut [&mut judge]);
        assert_eq!((answer.traces.len(), answer.partial, answer.next), (2, true, None), "{order:?}");
    }
}

/// The judge sees no more traces than the order needs.
pub fn a_judge_sees_what_may_be_in_front(open: Open) {
    let harness = open();
    for window in 0..6 {
        let spans: Vec<_> = (1..=10).map(|n| sent(10 * window + n, 1).at(window * HOUR + n, n)).collect();
        harness.append(&spans);
        harness.clock.advance(HOUR);
        harness.store().seal_all();
    }
    for order in ORDERS {
        let mut judge = Chooser::new(&|_| true);
        let three = SearchPlan { order, limit: 3, ..plan(Predicate::All) };
        let answer = select(&harness, &three, &mut [&mut judge]);
        assert_eq!((answer.traces.len(), judge.seen.len()), (3, 4), "{order:?}");
        if order == Order::Newest {
            assert!(answer.scanned.blocks_read <= 1, "{} blocks", answer.scanned.blocks_read);
        }
    }
}

/// Spans that arrive between two pages are in no table of the second one.
pub fn later_spans_are_not_judged(open: Open) {
    let harness = open();
    let spans: Vec<Sent> = (1..=6).map(|n| sent(n, 1).at(n * SECOND, 1)).collect();
    harness.append(&spans);
    let mut plan = SearchPlan { limit: 2, ..plan(Predicate::All) };
    let mut found = BTreeSet::new();
    loop {
        let mut judge = Chooser::new(&|_| true);
        let answer = select(&harness, &plan, &mut [&mut judge]);
        assert!(judge.seen.iter().all(|table| table.len() == 1), "{:?}", judge.seen);
        found.extend(answer.traces.iter().map(|trace| trace.id));
        let Some(next) = answer.next else { break };
        plan.after = Some(next);
        harness.append(&(1..=6).map(|n| sent(n, 2).at(0, 1)).collect::<Vec<_>>());
        harness.append(&[sent(100 + found.len() as u64, 1)]);
    }
    assert_eq!(found, (1..=6).map(trace_id).collect());
}

/// The plan's signal ends searches, selects and aggregates; what they have found is a partial answer.
pub fn a_signal_ends_every_query(open: Open) {
    let harness = open();
    for n in 1..=10 {
        harness.append(&[sent(n, 1)]);
    }
    harness.store().seal_all();
    harness.append(&[sent(11, 1)]);
    for order in ORDERS {
        let begun = SearchPlan { order, ..plan(Predicate::All) };
        assert!(!harness.search(&begun).partial);
        let over = Effort { threads: 2, stop: Stop::new(|| true) };
        let over = SearchPlan { effort: over, ..begun };
        let answer = harness.search(&over);
        assert_eq!((answer.traces.len(), answer.partial, answer.next), (0, true, None), "{order:?}");
        let mut judge = Chooser::new(&|_| true);
        assert!(select(&harness, &over, &mut [&mut judge]).partial);
        assert_eq!(judge.seen.len(), 0, "{order:?}");
    }
    for step in [1, MINUTE] {
        let over = AggregatePlan { step, stop: Stop::new(|| true), ..super::aggregate::plan() };
        let answer = harness.store().aggregate(&TenantId::default(), &over).unwrap();
        assert_eq!((answer.series.len(), answer.partial), (0, true));
    }
}

/// Traces that lie in sealed and in fresh blocks are found in several of them, and are in the answer once and whole.
pub fn traces_in_many_blocks_come_once(open: Open) {
    let mut harness = open();
    let mut spans = Vec::new();
    for round in 0..5u64 {
        let batch: Vec<Sent> = (1..=40).map(|n| sent(n, 10 * n + round).at(n * SECOND + round, n)).collect();
        harness.append(&batch);
        spans.extend(batch);
        if round < 2 {
            harness.clock.advance(HOUR);
            harness.store().seal_all();
        }
    }
    harness.whatever_happens(|harness| {
        for order in ORDERS {
            let effort = Effort { threads: 4, stop: Stop::default() };
            for limit in [3, 1000] {
                let plan = SearchPlan { order, limit, effort: effort.clone(), ..plan(Predicate::All) };
                let answer = harness.search(&plan);
                let mut expected = oracle::search(&spans, &plan);
                expected.truncate(limit);
                assert_eq!(expected, answer.traces, "{order:?}");
            }
        }
    });
}

/// A select that leaves out traces without companions, in one block and across blocks, however many threads there are.
pub fn companions_leave_out_no_match(open: Open) {
    let mut harness = open();
    let mut spans = Vec::new();
    for n in 1..=60u64 {
        let cart = sent(n, 1).at(n * SECOND, 1).name("a");
        let pay = sent(n, 2).at(n * SECOND + 1, 1).name("b");
        let both = if n % 3 == 0 { vec![cart, pay] } else { vec![pay] };
        // Of every sixth trace the halves lie in different blocks.
        let blocks: Vec<&[Sent]> = if n % 6 == 0 { both.chunks(1).collect() } else { vec![&both] };
        for block in blocks {
            harness.append(block);
            if n % 6 == 0 {
                harness.clock.advance(MINUTE);
                harness.store().seal_all();
            }
        }
        spans.extend(both);
    }
    let name = |name: &str| Predicate::Compare(Field::Name, Comparison::Eq(Literal::String(name.to_owned())));
    let wanted: BTreeSet<TraceId> = (1..=20).map(|n| trace_id(3 * n)).collect();
    harness.whatever_happens(|harness| {
        for order in ORDERS {
            let search = SearchPlan { order, ..plan(name("b")) };
            let plan = SelectPlan { search, companions: vec![name("a")], columns: Vec::new() };
            let has_both = |id: &str| wanted.contains(&id.parse().unwrap());
            let mut judges: [Chooser<'_>; 2] = std::array::from_fn(|_| Chooser::new(&has_both));
            let [first, second] = &mut judges;
            let answer = harness.store().select(&TenantId::default(), &plan, &mut [first, second]).unwrap();
            let found: BTreeSet<TraceId> = answer.traces.iter().map(|trace| trace.id).collect();
            assert_eq!((found, answer.partial), (wanted.clone(), false), "{order:?}");
            let judged: usize = judges.iter().map(|judge| judge.seen.len()).sum();
            assert!(judged < 60, "{judged} were judged");
        }
    });
}
