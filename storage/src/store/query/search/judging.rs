//! Asks the judges of a select, each in a thread of its own.

use spandrel_proto::{SpanId, TraceId};

use crate::api::Damage;
use crate::store::query::summary::from_spans::MAX_MATCHED_IDS;
use crate::store::query::table::TraceTables;
use crate::store::read::trace_reader::{Part, TraceReader};
use crate::table::{ColumnName, SpanTable, TraceJudge, Verdict};

/// A judge at work.
pub(super) struct Judging<'s> {
    judge: &'s mut dyn TraceJudge,
    tables: TraceTables<'s>,
}

/// What became of a trace that was judged.
pub(super) enum Judgement {
    No,
    Accepted(MatchedSpans),
    /// The judge has ended the search.
    Stop,
}

/// The spans of a trace that the judge named.
#[derive(Debug, Default)]
pub(super) struct MatchedSpans {
    /// The first ones.
    pub(super) ids: Vec<SpanId>,
    pub(super) count: u64,
}

// === impl Judging ===

impl<'s> Judging<'s> {
    /// The judge sees no spans of commits behind `snapshot`.
    pub(super) fn new(judge: &'s mut dyn TraceJudge, columns: &'s [ColumnName], snapshot: u64) -> Self {
        Self { judge, tables: TraceTables::new(columns, true, snapshot) }
    }

    /// Asks the judge about traces, given the parts of each. Those after which it ended the search are left out.
    pub(super) fn judge(
        &mut self,
        traces: TraceReader<'_>,
        wanted: &[(TraceId, Vec<Part>)],
        damage: &Damage,
    ) -> Vec<Judgement> {
        let (judge, mut judgements) = (&mut self.judge, Vec::with_capacity(wanted.len()));
        self.tables.each_table(traces, wanted, damage, |table| {
            let verdicts = judge.judge(table);
            for ((trace, _), verdict) in table.traces.iter().zip(verdicts) {
                // A trace without spans has no table.
                while wanted.get(judgements.len()).is_some_and(|(other, _)| other != trace) {
                    judgements.push(Judgement::No);
                }
                judgements.push(match verdict {
                    Verdict::No => Judgement::No,
                    Verdict::Matches(rows) => Judgement::Accepted(MatchedSpans::of(table, &rows)),
                    Verdict::Stop => Judgement::Stop,
                });
                if matches!(judgements.last(), Some(Judgement::Stop)) {
                    return false;
                }
            }
            true
        });
        judgements
    }

    /// Shows a trace that is in the answer. `false` ends the answer before it.
    pub(super) fn show(
        &mut self,
        traces: TraceReader<'_>,
        trace: TraceId,
        parts: Vec<Part>,
        damage: &Damage,
    ) -> bool {
        self.tables.table(traces, trace, parts, damage).is_none_or(|table| self.judge.show(&table))
    }
}

// === impl MatchedSpans ===

impl MatchedSpans {
    fn of(table: &SpanTable, rows: &[u32]) -> Self {
        let id = |row: &u32| table.span_id.get(*row as usize).map(|id| SpanId::from_bytes(id.to_be_bytes()));
        Self { ids: rows.iter().filter_map(id).take(MAX_MATCHED_IDS).collect(), count: rows.len() as u64 }
    }
}
