//! The trace store as collector and query see it: one trait with its contract, and its answers.

use bytes::Bytes;
use spandrel_block::Exemplar;
use spandrel_block::{EdgeKind, EdgeTotals, LatencySketch};
use spandrel_proto::otlp::{Decoded, SpanKind, StatusCode};
use spandrel_proto::{SpanId, TenantId, TimeRange, TraceId, UnixNanos};

use crate::backups::Backups;
use crate::check::Check;
use crate::deletion::Deletions;
use crate::error::{AppendError, ReadError};
use crate::pins::Pins;
use crate::plan::{AggregatePlan, Position, ScanPlan, SearchPlan};

/// Keeps spans and finds them again.
///
/// # Contract
/// - **Durable.** `append` returns `Ok` only when every span of the batch survives what the store's
///   durability promises; with `sync` that is SIGKILL and power loss. After an error none of the
///   batch has to be there, and nothing of it was acknowledged.
/// - **Visible.** What `append` acknowledged is found by `trace`, `search`, `aggregate` and the names
///   from that moment on, and after a restart.
/// - **Unchanged.** `trace` gives back the bytes that came in, resource and scope included. Spans
///   equal in resource, scope and every field are given once; spans that share an ID but differ are
///   all given.
/// - **Tenants** never see each other's data.
/// - **Damage** costs the damaged block and no other: answers go on and say that they are partial.
/// - All methods block; call them from threads that may wait. They may be called from any thread.
pub trait TraceStore: Send + Sync {
    /// Stores the spans of several requests in one durable step.
    fn append(&self, tenant: &TenantId, requests: &[Decoded]) -> Result<(), AppendError>;

    /// The spans of one trace by (start, span ID); `None` when there are none.
    fn trace(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError>;

    /// Traces with at least one span that satisfies the plan.
    fn search(&self, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError>;

    /// Every trace with at least one span that satisfies the plan, whole and once, in no promised
    /// order and in bounded memory: as stored at this moment, whatever arrives or goes meanwhile.
    fn scan(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError>;

    /// Counts and latencies over time.
    fn aggregate(&self, tenant: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError>;

    /// Which services call which, over every minute that the range touches.
    fn dependencies(&self, tenant: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError>;

    /// The names of all services, sorted.
    fn services(&self, tenant: &TenantId) -> Vec<String>;

    /// The operations of one service, sorted by name and kind.
    fn operations(&self, tenant: &TenantId, service: &str) -> Vec<Operation>;

    /// How much there is.
    fn status(&self) -> StoreStatus;

    /// Why nothing can be stored right now, if so: readiness and error texts are made of it.
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

/// The spans of one trace, read as they are asked for.
pub struct TraceSpans {
    /// Spans stored, duplicates included: an upper bound.
    pub stored: u64,
    pub(crate) spans: Box<dyn Iterator<Item = Result<StoredSpan, ReadError>> + Send>,
    pub(crate) damage: Damage,
}

/// Traces of a scan, found and read as they are asked for.
pub struct TraceScan<'s> {
    /// Traces in the blocks that may hold a match: an upper bound.
    pub traces_at_most: u64,
    /// Blocks that are known to be damaged: what they hold will be missing.
    pub damaged_blocks: u64,
    pub(crate) traces: Box<dyn Iterator<Item = Result<ScannedTrace, ReadError>> + Send + 's>,
    pub(crate) damage: Damage,
}

/// One trace of a scan.
pub type ScannedTrace = (TraceId, TraceSpans);

/// Counts what could not be read while an answer was made.
#[derive(Debug, Clone, Default)]
pub struct Damage(pub(crate) std::sync::Arc<std::sync::atomic::AtomicU64>);

/// One span as it came in. The parts are slices of shared buffers: cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSpan {
    /// A `ResourceSpans` message without its scope spans.
    pub resource: Bytes,
    /// A `ScopeSpans` message without its spans.
    pub scope: Bytes,
    /// A `Span` message.
    pub span: Bytes,
    /// Whether it has failed, by [`crate::semantics::has_failed`].
    pub failed: bool,
}

/// What a search found.
#[derive(Debug, Clone, Default)]
pub struct SearchAnswer {
    /// The traces, in the order asked for.
    pub traces: Vec<TraceSummary>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<Position>,
    /// Something was left out: damaged blocks, or a limit was met.
    pub partial: bool,
    /// What it took.
    pub scanned: Scanned,
}

/// What a search touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Blocks in the catalog for this tenant.
    pub blocks: u64,
    /// Blocks whose columns were read.
    pub blocks_read: u64,
    /// Spans looked at.
    pub spans: u64,
}

/// One trace, described as a whole as stored, and which of its spans matched.
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
    /// Earliest start.
    pub start: UnixNanos,
    /// Latest end minus earliest start.
    pub duration: u64,
    /// Its spans.
    pub span_count: u64,
    /// Its failed spans.
    pub error_count: u64,
    /// Its services, sorted by name.
    pub services: Vec<ServiceCount>,
    /// Spans that matched, the earliest 20 of them.
    pub matched_span_ids: Vec<SpanId>,
    /// How many matched.
    pub matched_span_count: u64,
}

/// A service's share of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCount {
    /// Its name.
    pub name: String,
    /// Its spans.
    pub span_count: u64,
    /// Its failed spans.
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

/// What an aggregate counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AggregateAnswer {
    /// One for each value of the labels that are grouped by.
    pub series: Vec<Series>,
    /// Damaged blocks were left out: the counts are too low.
    pub partial: bool,
    /// Spans are counted that a rule has let go, and when exactly they were is not known any more.
    pub estimated: bool,
}

/// One line of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The service, when grouped by it.
    pub service: Option<String>,
    /// The operation, when grouped by it.
    pub operation: Option<String>,
    /// The kind, when grouped by it.
    pub kind: Option<SpanKind>,
    /// Points that have spans, by time.
    pub points: Vec<Point>,
}

/// The spans that start within one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Where the step begins.
    pub time: UnixNanos,
    /// Spans counted.
    pub request_count: u64,
    /// Failed spans among them.
    pub error_count: u64,
    /// Their durations.
    pub latency: LatencySketch,
    /// The worst of them: a failed one before others, then the longest.
    pub worst: Option<Exemplar>,
}

// === impl Point ===

impl Point {
    pub(crate) fn empty(time: UnixNanos) -> Self {
        let latency = LatencySketch::default();
        Self { time, request_count: 0, error_count: 0, latency, worst: None }
    }

    /// Counts the spans of another point here.
    pub(crate) fn add(&mut self, other: &Self) {
        self.request_count += other.request_count;
        self.error_count += other.error_count;
        self.latency.merge(&other.latency);
        self.worst = self.worst.max(other.worst);
    }
}

/// Who calls whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DependencyAnswer {
    /// By caller, callee and kind, each once.
    pub edges: Vec<Dependency>,
    /// Calls may be missing: damaged blocks were left out, or more callers lie outside the range than are looked up.
    pub partial: bool,
}

/// Calls of one kind from one service to another, or from or to something that sends no spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    /// Who calls.
    pub caller: String,
    /// Who is called.
    pub callee: String,
    /// What kind of call it is.
    pub kind: EdgeKind,
    /// The calls.
    pub totals: EdgeTotals,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Spans, duplicates that were not merged away yet included.
    pub span_count: u64,
    /// Traces: exact for small stores, an estimate within 2 % for large ones.
    pub trace_count: u64,
    /// Bytes that the store takes on disk.
    pub store_bytes: u64,
    /// Blocks that wait to be merged.
    pub fresh_block_count: u64,
    /// Spans in them.
    pub unsealed_span_count: u64,
    /// Start of the earliest span; `None` in an empty store.
    pub oldest: Option<UnixNanos>,
    /// Start of the latest span.
    pub newest: Option<UnixNanos>,
    /// Spans appended since the store was opened.
    pub appended_spans: u64,
    /// Blocks set aside because they are damaged.
    pub damaged_blocks: u64,
    /// The write-ahead log was damaged when the store was opened, and was truncated there, or it was abandoned:
    /// acknowledged spans may be missing.
    pub wal_truncated: bool,
    /// Small records beside the blocks (catalog rows, pins, counts, deletions that are done) that were damaged.
    pub damaged_records: u64,
}

// === impl TraceSpans ===

impl TraceSpans {
    /// A trace whose spans are already at hand: for tests of what stands above the store.
    pub fn from_spans(spans: Vec<StoredSpan>) -> Self {
        Self {
            stored: spans.len() as u64,
            spans: Box::new(spans.into_iter().map(Ok)),
            damage: Damage::default(),
        }
    }

    /// Parts of the trace that could not be read so far.
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
    /// A scan of traces that are already at hand: for tests of what stands above the store.
    pub fn from_traces(traces: Vec<ScannedTrace>) -> Self {
        Self {
            traces_at_most: traces.len() as u64,
            damaged_blocks: 0,
            traces: Box::new(traces.into_iter().map(Ok)),
            damage: Damage::default(),
        }
    }

    /// Parts of traces that could not be read so far, of all the scan's traces together.
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
    /// Blocks that were left out.
    pub fn blocks(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
