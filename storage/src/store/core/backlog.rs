//! The backlog, from which back-pressure follows: how much waits to be merged, as a share of the bound.

use std::sync::atomic::{AtomicU64, Ordering};

use spandrel_proto::UnixNanos;

use super::block_reader::BlockEntry;
use super::config::StoreConfig;
use super::ingest_load::IngestLoad;

/// Counts the fresh blocks that wait to be merged, and their memory.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    appended_spans: AtomicU64,
    unsealed_spans: AtomicU64,
    /// Memory of fresh blocks: their traces, and filters over their values.
    unsealed_bytes: AtomicU64,
    /// The time of the last append; zero before the first.
    last_append: AtomicU64,
    pub(crate) load: IngestLoad,
}

/// Above this share of what may wait, merges are urgent.
const HIGH_WATERMARK_PERCENT: u64 = 75;

// === impl Backlog ===

impl Backlog {
    pub(crate) fn appended(&self, spans: u64, now: UnixNanos) {
        self.last_append.store(now.0, Ordering::Relaxed);
        self.appended_spans.fetch_add(spans, Ordering::Relaxed);
    }

    /// Adds a fresh block to the backlog.
    pub(crate) fn add(&self, fresh: &BlockEntry) {
        self.unsealed_spans.fetch_add(u64::from(fresh.row.meta.spans), Ordering::Relaxed);
        self.unsealed_bytes.fetch_add(fresh.memory_bytes, Ordering::Relaxed);
    }

    /// Removes a fresh block that has left the catalog.
    pub(crate) fn remove(&self, fresh: &BlockEntry) {
        self.unsealed_spans.fetch_sub(u64::from(fresh.row.meta.spans), Ordering::Relaxed);
        self.unsealed_bytes.fetch_sub(fresh.memory_bytes, Ordering::Relaxed);
    }

    /// Number of spans appended since the store was opened.
    pub(crate) fn appended_spans(&self) -> u64 {
        self.appended_spans.load(Ordering::Relaxed)
    }

    /// Number of spans that wait to be merged.
    pub(crate) fn unsealed_spans(&self) -> u64 {
        self.unsealed_spans.load(Ordering::Relaxed)
    }

    /// The time of the last append; zero before the first.
    pub(crate) fn last_append(&self) -> UnixNanos {
        UnixNanos(self.last_append.load(Ordering::Relaxed))
    }

    /// The fill level of the backlog in percent of its bounds; the fuller one counts.
    pub(crate) fn percent_full(&self, config: &StoreConfig) -> u64 {
        let StoreConfig { max_unsealed_spans, max_unsealed_bytes, .. } = *config;
        let percent = |waiting: &AtomicU64, most: u64| {
            waiting.load(Ordering::Relaxed).saturating_mul(100) / most.max(1)
        };
        percent(&self.unsealed_spans, max_unsealed_spans)
            .max(percent(&self.unsealed_bytes, max_unsealed_bytes))
    }

    /// Whether merges are urgent.
    pub(crate) fn above_high_watermark(&self, config: &StoreConfig) -> bool {
        self.percent_full(config) >= HIGH_WATERMARK_PERCENT
    }
}
