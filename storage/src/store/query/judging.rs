//! Asks the judge of a select, and remembers what it said of the traces that may be in the answer.

use std::collections::HashMap;

use spandrel_proto::{SpanId, TraceId};

use crate::api::{Damage, TraceSummary};
use crate::store::query::summary::from_spans::MAX_MATCHED_IDS;
use crate::store::query::table::TraceTables;
use crate::store::read::trace_reader::{Part, TraceReader};
use crate::table::{ColumnName, SpanTable, TraceJudge, Verdict};

/// A judge at work.
pub(crate) struct Judging<'s> {
    judge: &'s mut dyn TraceJudge,
    tables: TraceTables<'s>,
    accepted: HashMap<TraceId, MatchedSpans>,
    /// The judge has ended the search.
    pub(crate) is_stopped: bool,
}

/// The spans of a trace that the judge named.
struct MatchedSpans {
    /// The first ones.
    ids: Vec<SpanId>,
    count: u64,
}

// === impl Judging ===

impl<'s> Judging<'s> {
    /// The judge sees no spans of commits behind `snapshot`.
    pub(crate) fn new(judge: &'s mut dyn TraceJudge, columns: &'s [ColumnName], snapshot: u64) -> Self {
        let tables = TraceTables::new(columns, true, snapshot);
        Self { judge, tables, accepted: HashMap::new(), is_stopped: false }
    }

    /// Whether the judge accepts a trace, given its parts.
    pub(crate) fn accepts(
        &mut self,
        traces: TraceReader<'_>,
        trace: TraceId,
        parts: Vec<Part>,
        damage: &Damage,
    ) -> bool {
        let Some(table) = self.tables.table(traces, trace, parts, damage) else { return false };
        match self.judge.judge(&table) {
            Verdict::No => false,
            Verdict::Matches(rows) => {
                self.accepted.insert(trace, MatchedSpans::of(&table, &rows));
                true
            }
            Verdict::Stop => {
                self.is_stopped = true;
                false
            }
        }
    }

    /// Forgets a trace that is not in the answer.
    pub(crate) fn forget(&mut self, trace: TraceId) {
        self.accepted.remove(&trace);
    }

    /// Puts the spans that the judge named into the summary of the trace.
    pub(crate) fn complete(&mut self, summary: &mut TraceSummary) {
        if let Some(MatchedSpans { ids, count }) = self.accepted.remove(&summary.id) {
            (summary.matched_span_ids, summary.matched_span_count) = (ids, count);
        }
    }
}

// === impl MatchedSpans ===

impl MatchedSpans {
    fn of(table: &SpanTable, rows: &[u32]) -> Self {
        let id = |row: &u32| table.span_id.get(*row as usize).map(|id| SpanId::from_bytes(id.to_be_bytes()));
        Self { ids: rows.iter().filter_map(id).take(MAX_MATCHED_IDS).collect(), count: rows.len() as u64 }
    }
}
