//! How long traces live: the first rule that a span satisfies gives the span its retention, else the default retention
//! applies; and a trace lives as long as its longest-lived span, as a whole.
//!
//! Logs live as long as the trace that they belong to; while no span of it is stored, the default retention applies.
//!
//! So an earlier rule overrides a later one for a span, and a longer retention overrides a shorter one for a trace. All
//! windows count: a failed span in one window keeps the spans of its trace in all others.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use spandrel_block::Hour;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanView};
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::api::Damage;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, Caching};
use crate::store::core::config::{RetentionRule, StoreConfig};
use crate::store::read::matcher;
use crate::store::read::merge_iter::{BlockRows, SpanRow};
use crate::store::read::trace_reader::TraceReader;
use crate::store::write::replace::{RewriteError, check_damage};
use crate::store::write::rewrite;

/// The retentions of a tenant's traces.
pub(crate) struct Rules<'c> {
    rules: &'c [RetentionRule],
    retention: Duration,
}

/// A retention that a window has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpiredTtl {
    pub(crate) time: Duration,
    /// No retention is longer, so only pinned traces stay.
    pub(crate) is_longest: bool,
}

// === impl Rules ===

impl<'c> Rules<'c> {
    pub(crate) fn of(config: &'c StoreConfig, tenant: &TenantId) -> Self {
        let own = config.tenants.get(tenant);
        Self {
            rules: own.and_then(|own| own.rules.as_deref()).unwrap_or(&config.retention_rules),
            retention: own.and_then(|own| own.retention).unwrap_or(config.retention),
        }
    }

    /// The longest retention that a window has exceeded.
    pub(crate) fn expired_ttl(&self, hour: Hour, now: UnixNanos) -> Option<ExpiredTtl> {
        let times: BTreeSet<Duration> =
            self.rules.iter().map(|rule| rule.keep).chain([self.retention]).collect();
        let time = times.iter().rev().find(|time| hour.end() <= now.minus(**time))?;
        Some(ExpiredTtl { time: *time, is_longest: times.last() == Some(time) })
    }

    /// The retention of a span by itself.
    fn time_of(&self, row: &SpanRow) -> Result<Duration, WireError> {
        let (span, resource) = (SpanView::parse(&row.span)?, ResourceView::parse(&row.resource)?);
        for rule in self.rules {
            if matcher::matches(&rule.predicate, &span, &resource)? {
                return Ok(rule.keep);
            }
        }
        Ok(self.retention)
    }

    /// Whether a span lives longer than `time`. An unreadable one does.
    fn lives_on(&self, row: &SpanRow, time: Duration) -> bool {
        self.time_of(row).map_or(true, |its| its > time)
    }

    /// The traces of some blocks of a window that live longer than `time`.
    pub(crate) fn retained_traces(
        &self,
        reader: TraceReader<'_>,
        blocks: &[Arc<BlockEntry>],
        time: Duration,
    ) -> Result<HashSet<TraceId>, RewriteError> {
        let (logs, spans): (Vec<_>, Vec<_>) = blocks.iter().cloned().partition(|entry| entry.row.meta.logs);
        let mut retained = HashSet::new();
        let mut others = HashSet::new();
        let mut rows = rewrite::read(reader.core, &spans)?;
        for row in rows.by_ref() {
            let trace = row.key.trace();
            if retained.contains(&trace) {
                continue;
            }
            if self.lives_on(&row, time) {
                others.remove(&trace);
                retained.insert(trace);
            } else {
                others.insert(trace);
            }
        }
        // Traces behind the damage may live on.
        check_damage(reader.core, rows.take_failed())?;
        // Logs live as long as the spans of their trace, and those of no span by the default.
        for entry in &logs {
            match reader.core.reader.traces(entry) {
                Ok(traces) => {
                    let unknown = traces.entries().iter().map(|(trace, _)| *trace);
                    others.extend(unknown.filter(|trace| !retained.contains(trace)));
                }
                Err(error) => check_damage(reader.core, vec![(entry.clone(), error)])?,
            }
        }
        let here: HashSet<_> = blocks.iter().map(|entry| entry.key.block).collect();
        for trace in others {
            let parts = reader.parts(trace);
            if parts.is_empty() && self.retention > time {
                retained.insert(trace);
                continue;
            }
            let mut elsewhere = parts.into_iter().filter(|(entry, _)| !here.contains(&entry.key.block));
            if elsewhere.any(|(entry, rows)| {
                let rows = rows.first..rows.first.saturating_add(rows.rows);
                self.any_lives_on(reader.core, &entry, rows, time)
            }) {
                retained.insert(trace);
            }
        }
        Ok(retained)
    }

    /// Whether a row lives longer; assumed if the block cannot be read.
    fn any_lives_on(
        &self,
        core: &Core,
        entry: &Arc<BlockEntry>,
        rows: std::ops::Range<u32>,
        time: Duration,
    ) -> bool {
        let look = || {
            let mut rows = BlockRows::open(&core.reader, entry, rows.clone(), Caching::Keep)?;
            while let Some(row) = rows.advance()? {
                if self.lives_on(&row, time) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        look().unwrap_or_else(|error| {
            core.report_damage(entry, &error, &Damage::default());
            true
        })
    }
}
