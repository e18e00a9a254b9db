//! The configuration of a store, and its clock.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use spandrel_proto::{TenantId, UnixNanos};

use crate::plan::Predicate;

/// Bounds and periods of a store. `/api/v1/status` shows every bound.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Age, counted from arrival, at which retention removes a window.
    pub retention: Duration,
    /// Other retentions for some traces: the first rule that a span satisfies gives its retention, and a trace lives as
    /// long as its longest-lived span.
    pub retention_rules: Vec<RetentionRule>,
    /// How long the rollups of expired spans stay; `None` for as long as the retention.
    pub rollup_retention: Option<Duration>,
    /// What is kept of some tenants for other times.
    pub tenants: BTreeMap<TenantId, TenantRetention>,
    /// Bytes on the disk above which the oldest windows are removed; `None` without a bound.
    pub max_disk_bytes: Option<u64>,
    /// A window's fresh blocks are merged once there are this many of them...
    pub merge_blocks: usize,
    /// ...or this many while ingest is busy...
    pub merge_blocks_busy: usize,
    /// ...or, whether ingest is busy or not, once they contain this many spans...
    pub merge_spans: u64,
    /// ...or once the oldest has this age...
    pub merge_age: Duration,
    /// ...or this age while ingest is busy.
    pub merge_age_busy: Duration,
    /// How long a request for a deletion or a pin waits for retention and other deletions.
    pub cleaning_patience: Duration,
    /// How long a block that a merge has replaced stays on disk for readers in other processes, unless space or a
    /// deletion needs it removed earlier.
    pub replaced_grace: Duration,
    /// Share of a core, in percent, that appends take while ingest counts as busy.
    pub busy_percent: u64,
    /// The most blocks that one merge reads, each with a page in memory. Unless blocks are small, a merge takes fewer:
    /// those whose spans fill a merged block.
    pub max_merge_blocks: usize,
    /// Spans in fresh blocks above which `append` refuses more, as back-pressure.
    pub max_unsealed_spans: u64,
    /// Memory of fresh blocks above which `append` refuses more: their traces, and filters over their values.
    pub max_unsealed_bytes: u64,
    /// Rows at which a merged block is cut, at the next trace.
    pub sealed_rows: u32,
    /// Bytes of spans at which a merged block is cut, at the next trace.
    pub sealed_bytes: usize,
    /// Bytes of decoded parts of blocks that the cache keeps in memory.
    pub cache_bytes: u64,
    /// Bytes that stay free on the disk: below, `append` refuses, so that merging and deleting can go on.
    pub reserve_bytes: u64,
    /// The most traces that a search compares, unless it is sorted newest first; beyond, its answer is partial.
    pub max_candidates: usize,
    /// The most traces that a query of the service map looks up for callers that began long before its range, and the
    /// most pages that it reads for them; beyond, its answer is partial.
    pub max_caller_lookups: usize,
}

/// Another retention for traces that have a certain span.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    /// The predicate that the span satisfies.
    pub predicate: Predicate,
    /// Age, counted from arrival, at which the span's window no longer keeps the trace.
    pub keep: Duration,
}

/// How long the data of a tenant are kept, where that differs from the others.
#[derive(Debug, Clone, Default)]
pub struct TenantRetention {
    /// Instead of [`StoreConfig::retention`].
    pub retention: Option<Duration>,
    /// Instead of [`StoreConfig::retention_rules`].
    pub rules: Option<Vec<RetentionRule>>,
    /// Instead of [`StoreConfig::rollup_retention`].
    pub rollup_retention: Option<Duration>,
}

/// The value of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitValue {
    /// A number of blocks, spans or bytes, or a share in percent; the name of the limit tells which.
    Number(u64),
    /// A period.
    Time(Duration),
}

/// The source of the time. Injected, so that tests control it.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> UnixNanos;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(7 * 24 * 3600),
            retention_rules: Vec::new(),
            rollup_retention: None,
            tenants: BTreeMap::new(),
            max_disk_bytes: None,
            merge_blocks: 64,
            merge_blocks_busy: 4_096,
            merge_spans: 6_000_000,
            merge_age: Duration::from_secs(10),
            merge_age_busy: Duration::from_secs(30),
            cleaning_patience: Duration::from_secs(2),
            replaced_grace: Duration::from_secs(5),
            busy_percent: 35,
            max_merge_blocks: 512,
            max_unsealed_spans: 8_000_000,
            max_unsealed_bytes: 256 << 20,
            sealed_rows: 200_000,
            sealed_bytes: 96 << 20,
            cache_bytes: 64 << 20,
            reserve_bytes: 64 << 20,
            max_candidates: 200_000,
            max_caller_lookups: 100_000,
        }
    }
}

impl StoreConfig {
    /// How long the rollups of a tenant's expired spans stay.
    pub fn rollup_retention(&self, tenant: &TenantId) -> Duration {
        let own = self.tenants.get(tenant);
        let retention = own.and_then(|own| own.retention).unwrap_or(self.retention);
        own.and_then(|own| own.rollup_retention).or(self.rollup_retention).unwrap_or(retention)
    }

    /// The longest time that rollups stay, of any tenant.
    pub(crate) fn longest_rollup_retention(&self) -> Duration {
        let default = self.rollup_retention.unwrap_or(self.retention);
        self.tenants.keys().map(|tenant| self.rollup_retention(tenant)).fold(default, Duration::max)
    }

    /// The limits by name, for messages and for the status response.
    pub fn limits(&self) -> Vec<(&'static str, LimitValue)> {
        use LimitValue::{Number, Time};
        let max_disk = self.max_disk_bytes.map(|bytes| ("maxDiskBytes", Number(bytes)));
        let always = [
            ("retentionSeconds", Number(self.retention.as_secs())),
            ("maxUnsealedSpans", Number(self.max_unsealed_spans)),
            ("maxUnsealedBytes", Number(self.max_unsealed_bytes)),
            ("mergeBlocks", Number(self.merge_blocks as u64)),
            ("mergeBlocksBusy", Number(self.merge_blocks_busy as u64)),
            ("mergeSpans", Number(self.merge_spans)),
            ("mergeAge", Time(self.merge_age)),
            ("mergeAgeBusy", Time(self.merge_age_busy)),
            ("cleaningPatience", Time(self.cleaning_patience)),
            ("replacedGrace", Time(self.replaced_grace)),
            ("busyPercent", Number(self.busy_percent)),
            ("maxMergeBlocks", Number(self.max_merge_blocks as u64)),
            ("sealedRows", Number(u64::from(self.sealed_rows))),
            ("sealedBytes", Number(self.sealed_bytes as u64)),
            ("cacheBytes", Number(self.cache_bytes)),
            ("reserveBytes", Number(self.reserve_bytes)),
            ("maxCandidates", Number(self.max_candidates as u64)),
            ("maxCallerLookups", Number(self.max_caller_lookups as u64)),
        ];
        always.into_iter().chain(max_disk).collect()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixNanos {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixNanos(since.as_nanos() as u64)
    }
}
