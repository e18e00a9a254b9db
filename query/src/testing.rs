//! Fixtures for tests: spans from compact text, and a store that holds them.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status};
use parking_lot::Mutex;
use prost::Message;
use spandrel_proto::otlp::{
    DecodeLimits, Decoded, DecodedSpan, SpanKind, SpanView, decode_json_logs_request,
};
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::RowFlags;
use spandrel_storage::backup::{BackupId, Manifest};
use spandrel_storage::check::{CheckProgress, CheckReport};
use spandrel_storage::plan::{AggregatePlan, ScanPlan, SearchPlan};
use spandrel_storage::semantics::has_failed;
use spandrel_storage::table::{
    AttributeLevel, Classes, Codes, FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, SpanClass, SpanTable,
    TableFold, TraceJudge, Value, ValueColumn, ValueType,
};
use spandrel_storage::{
    AggregateAnswer, AppendError, BackupError, BackupReceiver, Backups, Check, Damage, Deletion, DeletionId,
    Deletions, Dependency, DependencyAnswer, LifecycleError, Operation, Pins, ReadError, ReceiverGone,
    SearchAnswer, Series, StoreStatus, StoredSpan, TraceScan, TraceSpans, TraceStore,
};

/// The trace that spans of tests belong to.
pub(crate) const TRACE: &str = "000000000000000000000000000000aa";

pub(crate) fn string(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

pub(crate) fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// A span as the store keeps it.
pub(crate) fn stored(resource: Vec<KeyValue>, span: &Span) -> StoredSpan {
    let resource = ResourceSpans {
        resource: Some(Resource { attributes: resource, ..Default::default() }),
        ..Default::default()
    };
    let scope =
        InstrumentationScope { name: "test".to_owned(), version: "1".to_owned(), ..Default::default() };
    let scope = ScopeSpans { scope: Some(scope), ..Default::default() };
    let span = span.encode_to_vec();
    StoredSpan {
        resource: Bytes::from(resource.encode_to_vec()),
        scope: Bytes::from(scope.encode_to_vec()),
        failed: SpanView::parse(&span).and_then(|view| has_failed(&view)).unwrap(),
        span: Bytes::from(span),
    }
}

/// Rows of logs of a service as the store keeps them, from records in OTLP's JSON; the trace is [`TRACE`].
pub(crate) fn logs(service: &str, mut records: serde_json::Value) -> Vec<StoredSpan> {
    for record in records.as_array_mut().into_iter().flatten() {
        record["traceId"] = TRACE.into();
    }
    let attributes = serde_json::json!([{ "key": "service.name", "value": { "stringValue": service } }]);
    let request = serde_json::json!({ "resourceLogs": [{
        "resource": { "attributes": attributes }, "scopeLogs": [{ "scope": { "name": "log" }, "logRecords": records }],
    }] });
    let decoded =
        decode_json_logs_request(&mut request.to_string().as_bytes(), &DecodeLimits::default()).unwrap();
    let stored = |row: &DecodedSpan| StoredSpan {
        resource: decoded.resources[row.resource as usize].clone(),
        scope: decoded.scopes[row.scope as usize].clone(),
        span: decoded.span_bytes(row),
        failed: false,
    };
    decoded.logs.iter().map(stored).collect()
}

/// One span per line: `id parent kind service start..end`, then any of `error`, `ok`, `flags=0x300`,
/// `res.key=value`, `key=value`. IDs are hex, `-` is no parent and `-` no service.
pub(crate) fn spans(text: &str) -> Vec<StoredSpan> {
    let mut spans: Vec<(u64, u64, StoredSpan)> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(span).collect();
    spans.sort_by_key(|(start, id, _)| (*start, *id));
    spans.into_iter().map(|(_, _, stored)| stored).collect()
}

fn span(line: &str) -> (u64, u64, StoredSpan) {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("too few words: {line}"));
    let id = u64::from_str_radix(word(), 16).unwrap();
    let parent = word();
    let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    let kind_word = word();
    let kind = kinds.iter().position(|kind| *kind == kind_word).unwrap() as i32;
    let service = word();
    let (start, end) = word().split_once("..").unwrap();
    let start: u64 = start.parse().unwrap();
    let mut span = Span {
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: format!("op-{id:x}"),
        kind,
        start_time_unix_nano: start,
        end_time_unix_nano: end.parse().unwrap(),
        ..Default::default()
    };
    if parent != "-" {
        span.parent_span_id = u64::from_str_radix(parent, 16).unwrap().to_be_bytes().to_vec();
    }
    let mut resource = Vec::new();
    if service != "-" {
        resource.push(string("service.name", service));
    }
    for extra in words {
        match extra.split_once('=') {
            None => span.status = Some(status_of(extra)),
            Some(("flags", flags)) => span.flags = u32::from_str_radix(&flags[2..], 16).unwrap(),
            Some((key, value)) => match key.strip_prefix("res.") {
                Some(key) => resource.push(string(key, value)),
                None => span.attributes.push(string(key, value)),
            },
        }
    }
    (start, id, stored(resource, &span))
}

fn status_of(word: &str) -> Status {
    let code = match word {
        "error" => status::StatusCode::Error,
        "ok" => status::StatusCode::Ok,
        other => panic!("{other} is no status"),
    };
    Status { code: code.into(), ..Default::default() }
}

/// A store with one trace that records the plans it gets and returns the prepared answers.
#[derive(Default)]
pub(crate) struct FakeStore {
    /// The spans of the trace [`TRACE`].
    pub(crate) spans: Vec<StoredSpan>,
    /// Rows of logs of that trace.
    pub(crate) logs: Vec<StoredSpan>,
    pub(crate) found: SearchAnswer,
    pub(crate) series: Vec<Series>,
    pub(crate) status: StoreStatus,
    pub(crate) searches: Mutex<Vec<SearchPlan>>,
    pub(crate) scans: Mutex<Vec<ScanPlan>>,
    pub(crate) folds: Mutex<Vec<FoldPlan>>,
    pub(crate) aggregates: Mutex<Vec<AggregatePlan>>,
    pub(crate) edges: Vec<Dependency>,
    pub(crate) edge_ranges: Mutex<Vec<TimeRange>>,
    /// Every scan meets a damaged block.
    pub(crate) damaging: bool,
    /// Every read fails.
    pub(crate) broken: bool,
    /// Whether the store deletes, pins, takes backups and checks.
    pub(crate) maintains: bool,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) pins: Vec<(TraceId, UnixNanos)>,
    pub(crate) backups: Vec<Manifest>,
}

impl FakeStore {
    fn readable(&self) -> Result<(), ReadError> {
        if self.broken { Err(ReadError::Io("on purpose".to_owned())) } else { Ok(()) }
    }
}

fn one_span(plan: &FoldPlan) -> SpanTable {
    let class = SpanClass { service: 0, name: 0, flags: RowFlags(2) };
    let classes =
        Classes { services: vec!["cart".to_owned()], names: vec!["GET /".to_owned()], classes: vec![class] };
    let column = || ValueColumn {
        values: Arc::new(vec![Value::String("x".to_owned())]),
        codes: Codes::One(vec![1]),
        list: None,
    };
    SpanTable {
        traces: vec![(TraceId::from_bytes([7; 16]), 1)],
        class: vec![0],
        classes: Arc::new(classes),
        start: vec![plan.range.start.0],
        duration: vec![1_000],
        span_id: vec![1],
        parent_id: vec![0],
        columns: plan.columns.iter().map(|_| column()).collect(),
    }
}

impl TraceStore for FakeStore {
    fn append(&self, _: &TenantId, _: &[Decoded]) -> Result<(), AppendError> {
        Err(AppendError::Closed)
    }

    fn trace(&self, _: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        self.readable()?;
        let known = id.to_string() == TRACE && !self.spans.is_empty();
        Ok(known.then(|| TraceSpans::from_spans(self.spans.clone())))
    }

    fn trace_logs(&self, _: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        self.readable()?;
        let known = id.to_string() == TRACE && !self.logs.is_empty();
        Ok(known.then(|| TraceSpans::from_spans(self.logs.clone())))
    }

    fn search(&self, _: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        self.readable()?;
        self.searches.lock().push(plan.clone());
        Ok(self.found.clone())
    }

    fn scan(&self, _: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        self.readable()?;
        self.scans.lock().push(plan.clone());
        let trace = || (TRACE.parse().unwrap(), TraceSpans::from_spans(self.spans.clone()));
        let traces = (!self.spans.is_empty()).then(trace);
        let damage = Damage::default();
        if self.damaging {
            damage.add();
        }
        Ok(TraceScan::from_traces(traces.into_iter().collect()).with_damage(damage))
    }

    /// Like a search whose traces the judges all accept: the answers are prepared, so no table is shown.
    fn select(
        &self,
        tenant: &TenantId,
        plan: &SelectPlan,
        _: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError> {
        self.search(tenant, &plan.search)
    }

    /// One span that has the value `x` in every column.
    fn fold_spans(
        &self,
        _: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        self.readable()?;
        self.folds.lock().push(plan.clone());
        let ended = folds.first_mut().is_some_and(|fold| !fold.add(&one_span(plan)));
        Ok(FoldAnswer { partial: ended, ..FoldAnswer::default() })
    }

    fn attributes(&self, _: &TenantId, _: TimeRange) -> Result<Vec<KnownAttribute>, ReadError> {
        self.readable()?;
        let types = vec![ValueType::String, ValueType::Int];
        Ok(vec![KnownAttribute { level: AttributeLevel::Span, key: "http.route".to_owned(), types }])
    }

    fn fold_traces(
        &self,
        _: &TenantId,
        _: &FoldPlan,
        _: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        self.readable()?;
        Ok(FoldAnswer::default())
    }

    fn aggregate(&self, _: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        self.readable()?;
        self.aggregates.lock().push(plan.clone());
        Ok(AggregateAnswer { series: self.series.clone(), ..AggregateAnswer::default() })
    }

    fn dependencies(&self, _: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError> {
        self.readable()?;
        self.edge_ranges.lock().push(range);
        Ok(DependencyAnswer { edges: self.edges.clone(), partial: false })
    }

    fn services(&self, _: &TenantId) -> Vec<String> {
        vec!["cart".to_owned(), "gate/way".to_owned()]
    }

    fn operations(&self, _: &TenantId, service: &str) -> Vec<Operation> {
        let operation = |name: &str, kind| Operation { name: name.to_owned(), kind };
        match service {
            "gate/way" => vec![operation("GET /", SpanKind::Server), operation("call", SpanKind::Other(9))],
            _ => Vec::new(),
        }
    }

    fn status(&self) -> StoreStatus {
        self.status
    }

    fn tenant_status(&self, _: &TenantId) -> StoreStatus {
        self.status()
    }

    fn tenants(&self) -> Vec<TenantId> {
        vec![TenantId::default()]
    }

    fn refusal(&self) -> Option<AppendError> {
        None
    }

    fn as_deletions(&self) -> Option<&dyn Deletions> {
        self.maintains.then_some(self)
    }

    fn as_pins(&self) -> Option<&dyn Pins> {
        self.maintains.then_some(self)
    }

    fn as_backups(&self) -> Option<&dyn Backups> {
        self.maintains.then_some(self)
    }

    fn as_check(&self) -> Option<&dyn Check> {
        self.maintains.then_some(self)
    }
}

impl Deletions for FakeStore {
    fn delete(&self, _: &TenantId, _: &ScanPlan) -> Result<Deletion, LifecycleError> {
        self.readable()?;
        Ok(self.deletions[0].clone())
    }

    fn delete_tenant(&self, _: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        self.readable()?;
        Ok(self.deletions.clone())
    }

    fn deletion(&self, _: &TenantId, id: DeletionId) -> Result<Option<Deletion>, LifecycleError> {
        self.readable()?;
        Ok(self.deletions.iter().find(|deletion| deletion.id == id).cloned())
    }

    fn deletions(&self, _: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        self.readable()?;
        Ok(self.deletions.clone())
    }
}

impl Pins for FakeStore {
    fn pin(&self, _: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, LifecycleError> {
        self.readable()?;
        Ok((trace.to_string() == TRACE).then_some(UnixNanos(5)))
    }

    fn unpin(&self, _: &TenantId, trace: TraceId) -> Result<bool, LifecycleError> {
        self.readable()?;
        Ok(self.pins.iter().any(|(pinned, _)| *pinned == trace))
    }

    fn pins(&self, _: &TenantId) -> Vec<(TraceId, UnixNanos)> {
        self.pins.clone()
    }
}

impl Backups for FakeStore {
    fn back_up(&self, name: Option<BackupId>, receiver: &mut dyn BackupReceiver) -> Result<(), BackupError> {
        match (self.broken, name) {
            (true, _) => Err(BackupError::Gone(ReceiverGone)),
            (false, Some(id)) if self.backups.iter().any(|backup| backup.id == id) => {
                Err(BackupError::Known(id))
            }
            (false, _) => Ok(receiver.begin(&self.backups[0])?),
        }
    }

    fn backups(&self) -> Result<Vec<Manifest>, BackupError> {
        if self.broken { Err(BackupError::Gone(ReceiverGone)) } else { Ok(self.backups.clone()) }
    }

    fn forget_backup(&self, id: BackupId) -> Result<bool, BackupError> {
        Ok(self.backups()?.iter().any(|backup| backup.id == id))
    }
}

impl Check for FakeStore {
    fn check(&self, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport> {
        let goes_on = watch(&CheckProgress { bytes: 1, of_bytes: 2 });
        goes_on.then(|| CheckReport::of_store("a file is gone".to_owned()))
    }
}
