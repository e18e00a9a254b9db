//! The API of the trace store for collector and query: one trait with its contract, and its answers.

use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spandrel_block::{BlockId, EdgeKind, EdgeTotals, Exemplar, LatencySketch};
use spandrel_proto::otlp::{Decoded, SpanKind, StatusCode};
use spandrel_proto::{SpanId, TenantId, TimeRange, TraceId, UnixNanos};

use crate::backups::Backups;
use crate::check::Check;
use crate::deletion::Deletions;
use crate::error::{AppendError, ReadError};
use crate::pins::Pins;
use crate::plan::{AggregatePlan, Position, ScanPlan, SearchPlan};
use crate::scanned::Scanned;
use crate::table::{FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, TableFold, TraceJudge};

/// Requests of one tenant that are appended together.
#[derive(Debug, Clone, Copy)]
pub struct TenantBatch<'a> {
    /// Whose they are.
    pub tenant: &'a TenantId,
    /// Their spans.
    pub requests: &'a [Decoded],
}

/// Stores spans and answers queries about them.
///
/// # Contract
/// - **Durable.** `append` returns `Ok` only when every span of the batch survives the failures that the store's
///   durability covers; with `sync` that is SIGKILL and power loss. After an error none of the batch needs to be
///   stored, and none of it was acknowledged.
/// - **Visible.** Acknowledged spans are found by `trace`, `search`, `aggregate` and the names from that moment on, and
///   after a restart.
/// - **Logs** that belong to spans are stored and removed with their traces, and never count as spans.
/// - **Unchanged.** `trace` returns the bytes that were sent, resource and scope included. Spans equal in resource,
///   scope and every field are returned once; spans that share an ID but differ are all returned.
/// - **Tenants** never see each other's data.
/// - **Damage** costs the damaged block and no other: answers contain the rest and say that they are partial.
/// - All methods block; call them from threads that may wait. They may be called from any thread.
pub trait TraceStore: Send + Sync {
    /// Stores the spans of several requests in one durable step.
    fn append(&self, tenant: &TenantId, requests: &[Decoded]) -> Result<(), AppendError>;

    /// Appends batches of several tenants, each as [`TraceStore::append`] does; stores that can do it in one durable
    /// step should. The result of each batch is at its place.
    fn append_all(&self, batches: &[TenantBatch<'_>]) -> Vec<Result<(), AppendError>> {
        batches.iter().map(|batch| self.append(batch.tenant, batch.requests)).collect()
    }

    /// The spans of one trace by (start, span ID); `None` when there are none.
    fn trace(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError>;

    /// The log records of one trace, as rows: `Span` messages whose events are the records of the span with that ID
    /// ([`spandrel_proto::otlp::logs_of`]); by (time, span ID), equal rows once; `None` when there are none.
    fn trace_logs(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let _ = (tenant, id);
        Ok(None)
    }

    /// Whether there may be logs of spans, whose values tables of whole traces have among those of events, and tables
    /// of single spans do not.
    fn has_logs(&self, tenant: &TenantId) -> bool {
        let _ = tenant;
        false
    }

    /// Finds traces with at least one span that satisfies the plan.
    fn search(&self, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError>;

    /// Returns every trace with at least one span that satisfies the plan, whole and once, in no particular order and
    /// in bounded memory: as stored at the time of the call, whatever arrives or is removed meanwhile.
    fn scan(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError>;

    /// Finds traces like `search`, in the same order and with the same pages, but only those that a judge accepts. Each
    /// judge runs in a thread of its own and sees traces one at a time: those whose rank may be in the answer as far as
    /// is known when a batch of them begins. The first batch has as many traces as a page needs. The first judge is
    /// shown the traces of the answer. The matched spans of a summary are those that a judge named.
    fn select(
        &self,
        tenant: &TenantId,
        plan: &SelectPlan,
        judges: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError>;

    /// Passes over all spans that satisfy the plan, page by page, as stored: spans sent twice are counted twice until
    /// their blocks are merged, as in `aggregate`. Each fold runs in a thread of its own.
    fn fold_spans(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError>;

    /// Passes over all traces with a span that satisfies the plan: each table is one whole trace, as a judge sees it,
    /// or several. Each trace comes once. Each fold runs in a thread of its own.
    fn fold_traces(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError>;

    /// A number that is another one as soon as a span in the range is added or removed, so that what was counted of the
    /// range stays true as long as it is the same. It may change without that, because blocks are merged. `None` where
    /// that is not known.
    fn version(&self, _tenant: &TenantId, _range: TimeRange) -> Option<u64> {
        None
    }

    /// The attributes of spans, resources, events, links and scopes in blocks that touch the range, sorted by level and
    /// key.
    fn attributes(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<KnownAttribute>, ReadError>;

    /// Counts spans and their latencies over time.
    fn aggregate(&self, tenant: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError>;

    /// Finds which services call which, over every minute that the range touches.
    fn dependencies(&self, tenant: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError>;

    /// The names of all services, sorted.
    fn services(&self, tenant: &TenantId) -> Vec<String>;

    /// The operations of one service, sorted by name and kind.
    fn operations(&self, tenant: &TenantId, service: &str) -> Vec<Operation>;

    /// The amount of stored data.
    fn status(&self) -> StoreStatus;

    /// The amount of data of one tenant. What is of the store as a whole, as damage and the rate of ingest, is zero.
    fn tenant_status(&self, tenant: &TenantId) -> StoreStatus;

    /// The tenants that have data, sorted.
    fn tenants(&self) -> Vec<TenantId>;

    /// Why nothing can be stored now, if so; readiness and error responses use it.
    fn refusal(&self) -> Option<AppendError>;

    /// Deletions, if this store has them.
    fn as_deletions(&self) -> Option<&dyn Deletions> {
        None
    }

    /// Pins, if this store has them.
    fn as_pins(&self) -> Option<&dyn Pins> {
        None
    }

    /// Backups, if this store takes them.
    fn as_backups(&self) -> Option<&dyn Backups> {
        None
    }

    /// Checks, if this store has them.
    fn as_check(&self) -> Option<&dyn Check> {
        None
    }
}

/// The spans of one trace, read while they are iterated over.
pub struct TraceSpans {
    /// Number of stored spans, duplicates included: an upper bound.
    pub stored: u64,
    pub(crate) spans: Box<dyn Iterator<Item = Result<StoredSpan, ReadError>> + Send>,
    pub(crate) damage: Damage,
}

/// The traces of a scan, found and read while they are iterated over.
pub struct TraceScan<'s> {
    /// Number of traces in the blocks that may contain a match: an upper bound. `None` where it would tell of spans that
    /// are hidden.
    pub traces_at_most: Option<u64>,
    /// Number of known damaged blocks, whose spans will be missing.
    pub damaged_blocks: u64,
    pub(crate) traces: Box<dyn Iterator<Item = Result<ScannedTrace, ReadError>> + Send + 's>,
    pub(crate) damage: Damage,
}

/// One trace of a scan.
pub type ScannedTrace = (TraceId, TraceSpans);

/// Counts blocks that could not be read for an answer. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Damage(Arc<Met>);

#[derive(Debug, Default)]
struct Met {
    /// Blocks of which it was known before.
    known: HashSet<BlockId>,
    blocks: AtomicU64,
    new_blocks: AtomicU64,
    /// That of the parts of the answer.
    parts: Vec<Damage>,
}

/// One span as it was sent. The parts are slices of shared buffers, so cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSpan {
    /// A `ResourceSpans` message without its scope spans.
    pub resource: Bytes,
    /// A `ScopeSpans` message without its spans.
    pub scope: Bytes,
    /// A `Span` message.
    pub span: Bytes,
    /// Whether the span has failed, as [`crate::semantics::has_failed`] defines it.
    pub failed: bool,
}

/// The result of a search.
#[derive(Debug, Clone, Default)]
pub struct SearchAnswer {
    /// The traces, in the order of the plan.
    pub traces: Vec<TraceSummary>,
    /// For each of them, by what it was sorted: larger ones come first. As of the snapshot, so the summary need not say
    /// the same.
    pub keys: Vec<u64>,
    /// The position of the next page; `None` on the last page.
    pub next: Option<Position>,
    /// Traces may be missing, because of damaged blocks or a limit.
    pub partial: bool,
    /// The work of the search.
    pub scanned: Scanned,
    /// The last commit that the search has seen.
    pub snapshot: u64,
}

/// A summary of one whole trace as stored, and which of its spans matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSummary {
    /// Its ID.
    pub id: TraceId,
    /// The root's service.
    pub root_service: String,
    /// The root's name.
    pub root_name: String,
    /// The root's status as sent.
    pub status: StatusCode,
    /// The root's error code.
    pub error_code: Option<String>,
    /// The earliest start of a span.
    pub start: UnixNanos,
    /// The latest end minus the earliest start, in nanoseconds.
    pub duration: u64,
    /// Number of spans.
    pub span_count: u64,
    /// Number of failed spans.
    pub error_count: u64,
    /// Its services, sorted by name.
    pub services: Vec<ServiceCount>,
    /// IDs of the earliest matching spans, at most 20.
    pub matched_span_ids: Vec<SpanId>,
    /// Number of matching spans.
    pub matched_span_count: u64,
}

/// The spans of one service in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCount {
    /// The service's name.
    pub name: String,
    /// Number of spans.
    pub span_count: u64,
    /// Number of failed spans.
    pub error_count: u64,
}

/// A span name of a service, with its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// The span's name.
    pub name: String,
    /// The span's kind.
    pub kind: SpanKind,
}

/// The result of an aggregate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AggregateAnswer {
    /// One series for each combination of labels.
    pub series: Vec<Series>,
    /// The counts are too low, because damaged blocks were left out.
    pub partial: bool,
    /// Some counted spans were expired by a rule, so their starts are known by the minute only.
    pub estimated: bool,
}

/// One series of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The service, if it is a label.
    pub service: Option<String>,
    /// The operation, if it is a label.
    pub operation: Option<String>,
    /// The kind, if it is a label.
    pub kind: Option<SpanKind>,
    /// Points with spans, sorted by time.
    pub points: Vec<Point>,
}

/// The spans that start within one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The beginning of the step.
    pub time: UnixNanos,
    /// Number of spans.
    pub request_count: u64,
    /// Number of failed spans.
    pub error_count: u64,
    /// The durations of the spans, in nanoseconds.
    pub latency: LatencySketch,
    /// The worst span: failed ones before others, then the longest.
    pub worst: Option<Exemplar>,
}

// === impl Point ===

impl Point {
    pub(crate) fn empty(time: UnixNanos) -> Self {
        let latency = LatencySketch::default();
        Self { time, request_count: 0, error_count: 0, latency, worst: None }
    }

    /// Adds the spans of another point.
    pub fn add(&mut self, other: &Self) {
        self.request_count += other.request_count;
        self.error_count += other.error_count;
        self.latency.merge(&other.latency);
        self.worst = self.worst.max(other.worst);
    }
}

/// The edges of the service map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DependencyAnswer {
    /// Edges by caller, callee and kind, each once.
    pub edges: Vec<Dependency>,
    /// Calls may be missing, because of damaged blocks or the limit of callers that are looked up outside the range.
    pub partial: bool,
}

/// Calls of one kind between two services, one of which may send no spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    /// The calling service.
    pub caller: String,
    /// The called service.
    pub callee: String,
    /// The kind of call.
    pub kind: EdgeKind,
    /// Count, errors, latency and exemplars of the calls.
    pub totals: EdgeTotals,
}

/// The amount of data in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Number of spans, including duplicates that are not merged yet.
    pub span_count: u64,
    /// Number of traces: exact in small stores, an estimate within 2 % in large ones.
    pub trace_count: u64,
    /// Number of stored rows of logs: the records of one request that belong to one span are a row.
    pub log_row_count: u64,
    /// Bytes that the store takes on disk.
    pub store_bytes: u64,
    /// Blocks that wait to be merged.
    pub fresh_block_count: u64,
    /// Spans and rows of logs in these blocks.
    pub unsealed_span_count: u64,
    /// Start of the earliest span; `None` in an empty store.
    pub oldest: Option<UnixNanos>,
    /// Start of the latest span; `None` in an empty store.
    pub newest: Option<UnixNanos>,
    /// Spans appended since the store was opened.
    pub appended_spans: u64,
    /// Number of quarantined blocks.
    pub damaged_blocks: u64,
    /// The write-ahead log was damaged when the store was opened, and was truncated there, or it was abandoned:
    /// acknowledged spans may be missing.
    pub wal_truncated: bool,
    /// Number of damaged records beside the blocks (catalog rows, pins, expired rollups, finished deletions).
    pub damaged_records: u64,
}

// === impl StoreStatus ===

impl StoreStatus {
    /// The data of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            span_count: self.span_count + other.span_count,
            trace_count: self.trace_count + other.trace_count,
            log_row_count: self.log_row_count + other.log_row_count,
            store_bytes: self.store_bytes + other.store_bytes,
            fresh_block_count: self.fresh_block_count + other.fresh_block_count,
            unsealed_span_count: self.unsealed_span_count + other.unsealed_span_count,
            oldest: self.oldest.into_iter().chain(other.oldest).min(),
            newest: self.newest.max(other.newest),
            appended_spans: self.appended_spans + other.appended_spans,
            damaged_blocks: self.damaged_blocks + other.damaged_blocks,
            wal_truncated: self.wal_truncated || other.wal_truncated,
            damaged_records: self.damaged_records + other.damaged_records,
        }
    }
}

// === impl TraceSpans ===

impl TraceSpans {
    /// Creates the answer from spans in memory, for tests of the layers above the store.
    pub fn from_spans(spans: Vec<StoredSpan>) -> Self {
        Self {
            stored: spans.len() as u64,
            spans: Box::new(spans.into_iter().map(Ok)),
            damage: Damage::default(),
        }
    }

    /// The same, of which parts could not be read.
    #[must_use]
    pub fn with_damage(self, damage: Damage) -> Self {
        Self { damage, ..self }
    }

    /// Counts the parts of the trace that could not be read so far.
    pub fn damage(&self) -> Damage {
        self.damage.clone()
    }
}

impl Iterator for TraceSpans {
    type Item = Result<StoredSpan, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.spans.next()
    }
}

// === impl TraceScan ===

impl TraceScan<'_> {
    /// Creates a scan of traces in memory, for tests of the layers above the store.
    pub fn from_traces(traces: Vec<ScannedTrace>) -> Self {
        Self {
            traces_at_most: Some(traces.len() as u64),
            damaged_blocks: 0,
            traces: Box::new(traces.into_iter().map(Ok)),
            damage: Damage::default(),
        }
    }

    /// The same, of which parts could not be read.
    #[must_use]
    pub fn with_damage(self, damage: Damage) -> Self {
        Self { damage, ..self }
    }

    /// The same scan, which does not tell how many traces there are.
    #[must_use]
    pub fn uncounted(self) -> Self {
        Self { traces_at_most: None, ..self }
    }

    /// Counts the parts that could not be read so far, of all traces of the scan.
    pub fn damage(&self) -> Damage {
        self.damage.clone()
    }
}

impl Iterator for TraceScan<'_> {
    type Item = Result<ScannedTrace, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.traces.next()
    }
}

// === impl Damage ===

impl Damage {
    /// Tells what is met from what was known before.
    pub(crate) fn knowing(known: HashSet<BlockId>) -> Self {
        Self(Arc::new(Met { known, ..Met::default() }))
    }

    /// That of all parts of an answer.
    pub fn of_parts(parts: Vec<Self>) -> Self {
        Self(Arc::new(Met { parts, ..Met::default() }))
    }

    /// How often a block was left out.
    pub fn blocks(&self) -> u64 {
        let of_parts = self.0.parts.iter().map(Self::blocks).sum::<u64>();
        self.0.blocks.load(Ordering::Relaxed) + of_parts
    }

    /// How often a block was left out of which it was not known before.
    pub fn new_blocks(&self) -> u64 {
        let of_parts = self.0.parts.iter().map(Self::new_blocks).sum::<u64>();
        self.0.new_blocks.load(Ordering::Relaxed) + of_parts
    }

    pub(crate) fn add_block(&self, block: BlockId) {
        match self.0.known.contains(&block) {
            true => drop(self.0.blocks.fetch_add(1, Ordering::Relaxed)),
            false => self.add(),
        }
    }

    /// Counts something that was not known to be unreadable.
    pub fn add(&self) {
        self.0.blocks.fetch_add(1, Ordering::Relaxed);
        self.0.new_blocks.fetch_add(1, Ordering::Relaxed);
    }
}
