//! State shared by all handlers: the store, the limits, the clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::response::Response;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use spandrel_engine::Limits;
use spandrel_proto::{Caller, Tenants, UnixNanos};
use spandrel_quota::{Ledger, Places};
use spandrel_storage::TraceStore;

use crate::answers::{IngestDelay, TopicReader};
use crate::asker::Asker;
use crate::executor::{Output, QueryExecutor, StreamError};
use crate::problem::Problem;
use crate::rate::RateWindow;
use crate::slices::Slices;
use crate::span_counters::SpanCounters;

/// The interval between two samples of the number of appended spans.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The limits of queries, and the values that the status endpoint repeats for other parts of the server.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    /// Spans of one tree answer; the rest follows by cursor.
    pub max_tree_spans: usize,
    /// Traces of a search that names no limit.
    pub default_search_limit: usize,
    /// The largest limit of a search.
    pub max_search_limit: usize,
    /// Points in one series of an aggregate at the most.
    pub max_aggregate_points: u64,
    /// What one question in TraceQL may take.
    pub question: Limits,
    /// Queries that run at once; more wait.
    pub max_concurrent_queries: usize,
    /// How long a query waits for its permit before it is refused.
    pub queue_timeout: Duration,
    /// How long a client may read nothing of a streamed response before it is cut off.
    pub stall_timeout: Duration,
    /// The server's version, repeated by `GET /api/v1/status`.
    pub version: String,
    /// The addresses that the server listens on by the name of their port, repeated by `GET /api/v1/status`.
    pub listen: BTreeMap<String, SocketAddr>,
    /// The names of those ports that speak TLS, repeated likewise.
    pub encrypted: Vec<String>,
    /// Limits of other parts of the server, repeated by `GET /api/v1/status`.
    pub limits: Map<String, Value>,
    /// OpenAPI documents of routes that other parts of the server add: their `paths` and `components` are shown with
    /// those of this crate.
    pub more_openapi: Vec<&'static str>,
    /// How long spans took until they could be found, repeated by `GET /api/v1/status`.
    pub ingest_delays: IngestDelays,
    /// What reads topics of Kafka, repeated likewise.
    pub topic_readers: TopicReaders,
    /// What tenants may ask; `None` where they are not told apart.
    pub ledger: Option<Arc<Ledger>>,
    /// The time of day; replaced in tests.
    pub clock: fn() -> UnixNanos,
}

/// Asks a part of the server that takes spans in.
#[derive(Clone)]
pub struct Ask<T>(Arc<dyn Fn() -> Vec<T> + Send + Sync>);

/// How long spans took until they could be found.
pub type IngestDelays = Ask<IngestDelay>;
/// How those are doing that read topics of Kafka.
pub type TopicReaders = Ask<TopicReader>;

/// The state behind the router. Cloning shares it.
#[derive(Clone)]
pub struct QueryState {
    shared: Arc<Shared>,
    /// The store as the caller of this request sees it.
    store: Arc<dyn TraceStore>,
    asker: Asker,
}

struct Shared {
    store: Arc<dyn TraceStore>,
    config: QueryConfig,
    executor: QueryExecutor,
    appended: Mutex<RateWindow>,
    started: UnixNanos,
    mesh_slices: Arc<Slices>,
    span_metrics: Mutex<FxHashMap<Tenants, Arc<Mutex<SpanCounters>>>>,
}

/// Counters of more tenants, and groups of tenants that are asked for together, are not kept.
const MAX_COUNTERS: usize = 1_000;

// === impl Ask ===

impl<T> Ask<T> {
    /// The function is called for each question.
    pub fn new(ask: impl Fn() -> Vec<T> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn get(&self) -> Vec<T> {
        (self.0)()
    }
}

impl<T: 'static> Default for Ask<T> {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Ask<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ask").field(&self.get()).finish()
    }
}

// === impl QueryConfig ===

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            max_tree_spans: 200_000,
            default_search_limit: 20,
            max_search_limit: 1_000,
            max_aggregate_points: 11_000,
            question: Limits::default(),
            max_concurrent_queries: 16,
            queue_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen: BTreeMap::new(),
            encrypted: Vec::new(),
            limits: Map::new(),
            more_openapi: Vec::new(),
            ingest_delays: IngestDelays::default(),
            topic_readers: TopicReaders::default(),
            ledger: None,
            clock: system_clock,
        }
    }
}

/// The machine's clock; a time before 1970 becomes 1970.
fn system_clock() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

// === impl QueryState ===

impl QueryState {
    pub fn new(store: Arc<dyn TraceStore>, config: QueryConfig) -> Self {
        let places = match config.ledger {
            None => Places::of_one(config.max_concurrent_queries),
            Some(_) => Places::shared(config.max_concurrent_queries),
        };
        let executor = QueryExecutor::new(places, config.queue_timeout, config.stall_timeout);
        let appended = Mutex::new(RateWindow::default());
        let asker = Asker { ledger: config.ledger.clone(), ..Asker::default() };
        let (started, mesh_slices, span_metrics) = ((config.clock)(), Arc::default(), Mutex::default());
        let shared =
            Shared { store: store.clone(), config, executor, appended, started, mesh_slices, span_metrics };
        Self { shared: Arc::new(shared), store, asker }
    }

    pub(crate) fn store(&self) -> Arc<dyn TraceStore> {
        self.store.clone()
    }

    /// The same state for a caller, over what it sees of the store.
    pub(crate) fn of(&self, caller: Caller, store: Arc<dyn TraceStore>) -> Self {
        let asker = Asker { caller, ledger: self.asker.ledger.clone() };
        Self { shared: self.shared.clone(), store, asker }
    }

    /// The same state over the whole store.
    pub(crate) fn whole(&self) -> Self {
        Self { store: self.shared.store.clone(), ..self.clone() }
    }

    pub(crate) fn asker(&self) -> &Asker {
        &self.asker
    }

    pub(crate) fn config(&self) -> &QueryConfig {
        &self.shared.config
    }

    #[cfg(test)]
    pub(crate) fn executor(&self) -> &QueryExecutor {
        &self.shared.executor
    }

    pub(crate) fn now(&self) -> UnixNanos {
        (self.shared.config.clock)()
    }

    /// Runs a query against the store on a blocking thread, once a permit is free.
    pub(crate) async fn run_query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn TraceStore) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.store();
        self.shared.executor.run(&self.asker, move || query(&*store)).await
    }

    /// Streams the answer of a query.
    pub(crate) async fn stream(
        &self,
        content_type: &'static str,
        query: impl FnOnce(&mut Output) -> Result<(), StreamError> + Send + 'static,
    ) -> Result<Response, Problem> {
        self.shared.executor.stream(&self.asker, content_type, query).await
    }

    /// Spans appended per second, over the last few seconds.
    pub(crate) fn ingest_spans_per_second(&self) -> f64 {
        self.shared.appended.lock().per_second()
    }

    /// What was counted of meshes before, and whose data the caller asks about.
    pub(crate) fn mesh_slices(&self) -> (Arc<Slices>, Tenants) {
        (self.shared.mesh_slices.clone(), self.asker.caller.tenants.clone())
    }

    /// The span metrics of what the caller sees.
    pub(crate) fn span_metrics(&self) -> Arc<Mutex<SpanCounters>> {
        let mut all = self.shared.span_metrics.lock();
        let is_full = all.len() >= MAX_COUNTERS;
        if is_full && !all.contains_key(&self.asker.caller.tenants) {
            // Scrapers know counters that begin again; what one of before has counted does not count twice.
            let other = all.keys().next().cloned();
            other.and_then(|other| all.remove(&other));
        }
        let since = if is_full { self.now() } else { self.shared.started };
        let new = || Arc::new(Mutex::new(SpanCounters::since(since)));
        all.entry(self.asker.caller.tenants.clone()).or_insert_with(new).clone()
    }

    /// Samples the number of appended spans until the state is dropped.
    pub(crate) fn watch_ingest(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(watch(Arc::downgrade(&self.shared)));
    }
}

async fn watch(shared: Weak<Shared>) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let sample = tokio::task::spawn_blocking(move || {
            let appended = shared.store.status().appended_spans;
            shared.appended.lock().note(begun.elapsed(), appended);
        });
        if sample.await.is_err() {
            return;
        }
    }
}
