//! Where a trace lies, and its spans from all of its parts: what every reader of whole traces goes
//! through.

use std::ops::Range;
use std::sync::Arc;

use spandrel_block::{BlockId, CorePage, FormatError, RowRange};
use spandrel_proto::{TenantId, TraceId};

use crate::api::Damage;
use crate::store::BlockTraceStore;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::view::{TenantState, View};
use crate::store::query::search;
use crate::store::read::merge_iter::{self, BlockRows, MergedRows};

impl BlockTraceStore {
    /// Where a trace lies in a view. The view is older than the index that is asked: what the index
    /// no longer knows is not in the view, and what the view does not know yet is left out.
    pub(crate) fn parts(
        &self,
        tenant: &TenantId,
        state: &TenantState,
        view: &View,
        trace: TraceId,
    ) -> Vec<(Arc<BlockEntry>, RowRange)> {
        let mut parts = state.fresh_parts(trace);
        match self.engine.find(tenant, trace) {
            Ok(found) => parts.extend(found),
            Err(error) => {
                tracing::error!(%trace, %error, "the trace index cannot be read; blocks are asked one by one");
                parts.extend(self.tabled_parts(view, trace));
            }
        }
        search::in_view(view, parts).filter(|(entry, _)| !state.is_hidden(trace, entry)).collect()
    }

    /// Where sealed parts of a trace lie by the blocks' own tables: the index is a hint, and one that
    /// is damaged hides nothing.
    fn tabled_parts(&self, view: &View, trace: TraceId) -> impl Iterator<Item = (BlockId, RowRange)> {
        view.iter().filter(|entry| entry.row.meta.level > 0).filter_map(move |entry| {
            let traces = self.reader.traces(entry);
            traces
                .inspect_err(|error| self.report_damage(entry, error, &Damage::default()))
                .ok()
                .and_then(|traces| Some((entry.key.block, traces.find(trace)?)))
        })
    }

    /// The spans of a trace in a view, in order, each once.
    pub(crate) fn merged_rows(
        &self,
        tenant: &TenantId,
        state: &TenantState,
        view: &View,
        trace: TraceId,
        damage: &Damage,
    ) -> impl Iterator<Item = merge_iter::SpanRow> + Send + use<> {
        self.merged_parts(state, view, trace, self.parts(tenant, state, view, trace), damage)
    }

    /// The same of parts that were found already.
    pub(crate) fn merged_parts(
        &self,
        state: &TenantState,
        view: &View,
        trace: TraceId,
        found: Vec<(Arc<BlockEntry>, RowRange)>,
        damage: &Damage,
    ) -> impl Iterator<Item = merge_iter::SpanRow> + Send + use<> {
        let mut parts = Vec::new();
        for (entry, rows) in found {
            match BlockRows::open_trace(&self.reader, &entry, trace, rows) {
                Ok(rows) => parts.push(rows),
                Err(error) => self.report_damage(&entry, &error, damage),
            }
        }
        // What such a block held of the trace, nobody can tell: the answer may lack it.
        state.unindexed.lock().iter().filter(|block| view.get(**block).is_some()).for_each(|_| damage.add());
        let mut merged = MergedRows::new(parts);
        let (damaged, damage) = (self.damaged.clone(), damage.clone());
        std::iter::from_fn(move || {
            let row = merged.next();
            merged.take_failed().iter().for_each(|(entry, error)| damaged.report(entry, error, &damage));
            row
        })
    }

    /// Visits rows of a block as they are stored, until told to stop.
    pub(crate) fn each_row(
        &self,
        entry: &BlockEntry,
        rows: RowRange,
        mut visit: impl FnMut(&CorePage, usize) -> bool,
    ) -> Result<(), BlockError> {
        self.each_page(entry, rows, |page, mut here| here.all(|row| visit(page, row)))
    }

    /// The same page by page. All rows of a trace in one page start no later than those in the next: `verify` looks.
    pub(crate) fn each_page(
        &self,
        entry: &BlockEntry,
        rows: RowRange,
        mut visit: impl FnMut(&CorePage, Range<usize>) -> bool,
    ) -> Result<(), BlockError> {
        let (mut row, end) = (rows.first, rows.first.saturating_add(rows.rows));
        while row < end {
            let (number, first) = self.reader.page_of(entry, row)?;
            let page = self.reader.core(entry, number)?;
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
}
