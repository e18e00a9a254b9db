//! Finds the blocks of a trace, and its spans in all of them; every reader of whole traces uses this.

use std::ops::Range;
use std::sync::Arc;

use spandrel_block::{BlockId, CorePage, FormatError, RowRange};
use spandrel_proto::{TenantId, TraceId};

use super::merge_iter::{BlockRows, MergedRows, SpanRow};
use crate::api::{Damage, TraceSpans};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;

/// A part of a trace: its rows in one block.
pub(crate) type Part = (Arc<BlockEntry>, RowRange);

/// The traces of a tenant at one moment.
#[derive(Clone, Copy)]
pub(crate) struct TraceReader<'s> {
    pub(crate) core: &'s Core,
    pub(crate) tenant: &'s TenantId,
    pub(crate) state: &'s TenantState,
    pub(crate) view: &'s View,
}

// === impl TraceReader ===

impl TraceReader<'_> {
    /// The spans of a trace, read while they are iterated over; `None` if there are none.
    pub(crate) fn trace(&self, trace: TraceId) -> Option<TraceSpans> {
        let parts = self.parts(trace);
        (!parts.is_empty()).then(|| self.spans(trace, parts, &Damage::default()))
    }

    /// The spans of parts that were found before, for readers outside of the store.
    pub(crate) fn spans(&self, trace: TraceId, parts: Vec<Part>, damage: &Damage) -> TraceSpans {
        let stored = parts.iter().map(|(_, rows)| u64::from(rows.rows)).sum();
        let rows = self.merged_parts(trace, parts, damage);
        let spans = rows.map(|row| Ok(row.into_stored()));
        TraceSpans { stored, spans: Box::new(spans), damage: damage.clone() }
    }

    /// The rows of a trace's log records, read in the same way; `None` if there are none.
    pub(crate) fn logs(&self, trace: TraceId) -> Option<TraceSpans> {
        let parts = self.log_parts(trace);
        (!parts.is_empty()).then(|| self.spans(trace, parts, &Damage::default()))
    }

    /// The parts of a trace in the view that are logs.
    pub(crate) fn log_parts(&self, trace: TraceId) -> Vec<Part> {
        let mut parts = self.all_parts(trace);
        parts.retain(|(entry, _)| entry.row.meta.logs);
        parts
    }

    /// The parts of a trace in the view that are spans.
    pub(crate) fn parts(&self, trace: TraceId) -> Vec<Part> {
        let mut parts = self.all_parts(trace);
        parts.retain(|(entry, _)| !entry.row.meta.logs);
        parts
    }

    /// The parts of a trace in the view, spans and logs. The view is older than the index that is read: blocks that the index no longer
    /// names are not in the view, and blocks that the view does not contain yet are left out.
    pub(crate) fn all_parts(&self, trace: TraceId) -> Vec<Part> {
        let mut parts = self.state.fresh_parts(trace);
        match self.core.engine.find_trace(self.tenant, trace) {
            Ok(found) => parts.extend(found),
            Err(error) => {
                tracing::error!(%trace, %error, "the trace index cannot be read; blocks are asked one by one");
                parts.extend(self.parts_by_table(trace));
            }
        }
        self.visible(trace, parts)
    }

    /// The parts of each of these traces that are spans; the traces have to be sorted, each once.
    pub(crate) fn parts_of_each(&self, traces: &[TraceId]) -> Vec<Vec<Part>> {
        self.of_each(traces, false)
    }

    /// The same for those that are logs.
    pub(crate) fn logs_of_each(&self, traces: &[TraceId]) -> Vec<Vec<Part>> {
        self.of_each(traces, true)
    }

    fn of_each(&self, traces: &[TraceId], logs: bool) -> Vec<Vec<Part>> {
        let of_kind = |mut parts: Vec<Part>| {
            parts.retain(|(entry, _)| entry.row.meta.logs == logs);
            parts
        };
        let indexed = match self.core.engine.find_traces(self.tenant, traces) {
            Ok(indexed) => indexed,
            // The error is reported for each trace that it concerns.
            Err(_) => return traces.iter().map(|trace| of_kind(self.all_parts(*trace))).collect(),
        };
        let mut indexed = indexed.into_iter().peekable();
        let of_trace = |(at, trace): (usize, &TraceId)| {
            let mut parts = self.state.fresh_parts(*trace);
            while let Some((_, block, rows)) = indexed.next_if(|(of, ..)| *of == at) {
                parts.push((block, rows));
            }
            of_kind(self.visible(*trace, parts))
        };
        traces.iter().enumerate().map(of_trace).collect()
    }

    /// The parts of a trace that are in the view and not deleted.
    fn visible(&self, trace: TraceId, parts: Vec<(BlockId, RowRange)>) -> Vec<Part> {
        let mut parts = self.view.resolve_all(parts);
        parts.retain(|(entry, _)| !self.state.deleted.hides(trace, entry));
        parts
    }

    /// The sealed parts of a trace by the blocks' own tables: the index is a hint, and damage of it must not hide
    /// spans.
    fn parts_by_table(&self, trace: TraceId) -> impl Iterator<Item = (BlockId, RowRange)> {
        self.view.iter().filter(|entry| entry.row.meta.level > 0).filter_map(move |entry| {
            let traces = self.core.reader.traces(entry);
            traces
                .inspect_err(|error| self.core.report_damage(entry, error, &Damage::default()))
                .ok()
                .and_then(|traces| Some((entry.key.block, traces.find(trace)?)))
        })
    }

    /// The spans of a trace whose parts these are, sorted by key, each once.
    pub(crate) fn merged_parts(
        &self,
        trace: TraceId,
        found: Vec<Part>,
        damage: &Damage,
    ) -> impl Iterator<Item = SpanRow> + Send + use<> {
        let mut parts = Vec::new();
        for (entry, rows) in found {
            match BlockRows::open_trace(&self.core.reader, &entry, trace, rows) {
                Ok(rows) => parts.push(rows),
                Err(error) => self.core.report_damage(&entry, &error, damage),
            }
        }
        // It is unknown which traces such a block contains, so a part may be missing.
        for block in self.state.unindexed.lock().iter() {
            if self.view.get(*block).is_some() {
                damage.add_block(*block);
            }
        }
        let mut merged = MergedRows::new(parts);
        let (damaged, damage) = (self.core.quarantine.blocks.clone(), damage.clone());
        std::iter::from_fn(move || {
            let row = merged.next();
            for (entry, error) in merged.take_failed() {
                damaged.report(&entry, &error, &damage);
            }
            row
        })
    }
}

/// Visits rows of a block in stored order, until `visit` returns false.
pub(crate) fn each_row(
    core: &Core,
    entry: &BlockEntry,
    rows: RowRange,
    mut visit: impl FnMut(&CorePage, usize) -> bool,
) -> Result<(), BlockError> {
    each_page(core, entry, rows, |page, mut here| here.all(|row| visit(page, row)))
}

/// Visits rows of a block page by page. All rows of a trace in one page start no later than those in the next, which
/// `verify` checks.
pub(crate) fn each_page(
    core: &Core,
    entry: &BlockEntry,
    rows: RowRange,
    mut visit: impl FnMut(&CorePage, Range<usize>) -> bool,
) -> Result<(), BlockError> {
    let (mut row, end) = (rows.first, rows.first.saturating_add(rows.rows));
    while row < end {
        let (number, first) = core.reader.page_of(entry, row)?;
        let page = core.reader.core(entry, number)?;
        let here = (row - first) as usize..page.rows().min((end - first) as usize);
        if here.is_empty() {
            return Err(FormatError::Damaged("header").into());
        }
        row = first + here.end as u32;
        if !visit(&page, here) {
            return Ok(());
        }
    }
    Ok(())
}
