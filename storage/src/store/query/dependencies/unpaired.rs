//! Spans whose other side of a call is in another block.
//!
//! Unpaired callees of all blocks are sorted by the trace and span that they refer to. Then the trace table of each
//! block is searched: only traces that a callee of another block refers to are read.

use std::sync::Arc;

use spandrel_block::edges::{Reference, Relation, choose};
use spandrel_block::{BlockEdges, Exemplar, FormatError, RowRange, TraceTable};
use spandrel_proto::{SpanId, TraceId};

use super::Steps;
use super::graph::Graph;
use super::side::{Side, SideReader, trace_of};
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};

/// The unpaired spans of all blocks. Blocks are identified by their index within the answer.
#[derive(Default)]
pub(super) struct UnpairedSpans {
    callees: Vec<Open>,
    /// For the first callee that refers to a span: the number of spans with its ID that were found.
    met: Vec<u8>,
    found: Vec<Found>,
    /// For each callee, whether the answer's blocks contain a possible caller. Known after all were searched.
    is_paired: Vec<bool>,
}

/// An unpaired callee, sorted by the span that it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Open {
    /// The trace of its caller.
    pub(super) trace: TraceId,
    caller: SpanId,
    pub(super) block: u32,
    pub(super) row: u32,
    pub(super) by: Reference,
    /// Whether its caller is in its own trace, so that its own block need not be searched again.
    is_own_trace: bool,
}

/// A span that may be the caller of a callee.
#[derive(Debug, Clone, Copy)]
struct Found {
    callee: u32,
    /// Its block; `None` for a block beyond the answer's.
    block: Option<u32>,
    row: u32,
    side: Side,
}

/// The most spans with the same ID that are compared, because comparing all with each callee could take too long.
const MAX_CALLERS: u8 = 32;

/// Callers in the answer's blocks that a callee answers: block and row, sorted.
pub(super) struct Answered(Vec<(u32, u32)>);

// === impl UnpairedSpans ===

impl UnpairedSpans {
    /// Adds the unpaired callees of a block.
    pub(super) fn add(&mut self, block: usize, edges: &BlockEdges, traces: &TraceTable) {
        let open = edges.open_callees.iter().filter_map(|callee| {
            Some(Open {
                trace: callee.trace.or_else(|| trace_of(traces, callee.row))?,
                caller: callee.caller,
                block: block as u32,
                row: callee.row,
                by: callee.by,
                is_own_trace: callee.trace.is_none(),
            })
        });
        self.callees.extend(open);
    }

    /// Sorts the callees by the span that they refer to.
    pub(super) fn sort(&mut self) {
        self.callees.sort_unstable();
        self.met = vec![0; self.callees.len()];
    }

    /// Finds possible callers in a block.
    pub(super) fn find_callers(
        &mut self,
        reader: &Arc<BlockReader>,
        graph: &mut Graph,
        block: usize,
        entry: &Arc<BlockEntry>,
    ) -> Result<(), BlockError> {
        if self.callees.is_empty() {
            return Ok(());
        }
        let traces = reader.traces(entry)?;
        let mut sides: Option<SideReader> = None;
        let mut from = 0;
        for (trace, rows) in traces.entries() {
            from += self.callees[from..].partition_point(|open| open.trace < *trace);
            let group = self.callees[from..].partition_point(|open| open.trace == *trace);
            let group = from..from + group;
            let here = |open: &Open| open.is_own_trace && open.block == block as u32;
            if self.callees[group.clone()].iter().all(here) {
                continue;
            }
            for (row, id) in span_ids(reader, entry, *rows)? {
                let mut at =
                    group.start + self.callees[group.clone()].partition_point(|open| open.caller < id);
                if at == group.end || self.callees[at].caller != id {
                    continue;
                }
                if self.met[at] == MAX_CALLERS {
                    continue;
                }
                self.met[at] += 1;
                while at < group.end && self.callees[at].caller == id {
                    if !here(&self.callees[at]) {
                        let sides = match &mut sides {
                            Some(known) => known,
                            none => none.insert(SideReader::read(reader, entry, graph)?),
                        };
                        let side = sides.side(row)?;
                        self.found.push(Found { callee: at as u32, block: Some(block as u32), row, side });
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// The callees without a possible caller, sorted by block and row.
    pub(super) fn unpaired(&mut self) -> Vec<Open> {
        self.is_paired = vec![false; self.callees.len()];
        self.found.iter().for_each(|found| self.is_paired[found.callee as usize] = true);
        let callees = self.callees.iter().zip(&self.is_paired);
        let mut unpaired: Vec<Open> =
            callees.filter(|(_, paired)| !**paired).map(|(open, _)| *open).collect();
        unpaired.sort_unstable_by_key(|open| (open.block, open.row));
        unpaired
    }

    /// Finds possible callers of unpaired callees among rows of a block beyond the answer's.
    pub(super) fn find_in_parts(
        &mut self,
        reader: &BlockReader,
        graph: &mut Graph,
        entry: &BlockEntry,
        mut parts: Vec<(TraceId, RowRange)>,
    ) -> Result<(), BlockError> {
        let sides = SideReader::read(reader, entry, graph)?;
        parts.sort_unstable_by_key(|(_, rows)| rows.first);
        for (trace, rows) in parts {
            let from = self.callees.partition_point(|open| open.trace < trace);
            let end = from + self.callees[from..].partition_point(|open| open.trace == trace);
            for (row, id) in span_ids(reader, entry, rows)? {
                let first = from + self.callees[from..end].partition_point(|open| open.caller < id);
                let same = self.callees[first..end].partition_point(|open| open.caller == id);
                if same == 0 || self.met[first] == MAX_CALLERS {
                    continue;
                }
                self.met[first] += 1;
                let side = sides.side(row)?;
                let unpaired = (first..first + same).filter(|callee| !self.is_paired[*callee]);
                self.found.extend(unpaired.map(|at| Found { callee: at as u32, block: None, row, side }));
            }
        }
        Ok(())
    }

    /// Adds the edges between paired spans, and returns the answered callers.
    pub(super) fn join(mut self, reader: &BlockReader, steps: &mut Steps<'_>) -> Answered {
        // Sorted by the block of the callee, so that the columns of each block are read once.
        let callees = &self.callees;
        self.found.sort_unstable_by_key(|found| (callees[found.callee as usize].block, found.callee));
        let mut answered = Vec::new();
        let mut rest = self.found.as_slice();
        steps.each(|steps, block, entry| {
            let of_block = |found: &Found| callees[found.callee as usize].block as usize == block;
            let (found, others) = rest.split_at(rest.iter().take_while(|found| of_block(found)).count());
            rest = others;
            if found.is_empty() {
                return Ok(());
            }
            let sides = SideReader::read(reader, entry, &mut steps.graph)?;
            for candidates in found.chunk_by(|a, b| a.callee == b.callee) {
                let open = &callees[candidates[0].callee as usize];
                pair(open, &sides.side(open.row)?, candidates, &mut steps.graph, &mut answered);
            }
            Ok(())
        });
        let mut answered = Answered(answered);
        answered.sort();
        answered
    }
}

/// Pairs a callee with one of the possible callers.
fn pair(open: &Open, callee: &Side, candidates: &[Found], graph: &mut Graph, answered: &mut Vec<(u32, u32)>) {
    let seen = candidates.iter().map(|found| found.side.candidate(callee));
    let Some(caller) = choose(seen, callee.start).map(|at| candidates[at].side) else { return };
    let relation = Relation::of(open.by, caller.kind, callee.kind, caller.service == callee.service);
    if let Some(kind) = relation.edge {
        let call = Exemplar {
            failed: caller.failed || callee.failed,
            duration: callee.duration,
            trace: callee.trace,
        };
        graph.add_call((caller.service, callee.service, kind), callee.start, call);
    }
    if relation.answers {
        // The same span may be in several blocks until they are merged.
        let same = candidates.iter().filter(|found| found.side == caller);
        answered.extend(same.filter_map(|found| Some((found.block?, found.row))));
    }
}

/// Reads the span IDs of some rows.
pub(super) fn span_ids(
    reader: &BlockReader,
    entry: &BlockEntry,
    rows: RowRange,
) -> Result<Vec<(u32, SpanId)>, BlockError> {
    let end = rows.first.saturating_add(rows.rows);
    let mut ids = Vec::with_capacity(rows.rows as usize);
    let mut row = rows.first;
    while row < end {
        let (page, first) = reader.page_of(entry, row)?;
        let core = reader.core(entry, page)?;
        let page = reader.ids(entry, page, core.rows())?;
        let here = page.span_id.iter().skip((row - first) as usize).take((end - row) as usize);
        let before = ids.len();
        ids.extend((row..).zip(here.map(|id| SpanId::from_bytes(id.to_be_bytes()))));
        if ids.len() == before {
            return Err(FormatError::Damaged("header").into());
        }
        row = rows.first + ids.len() as u32;
    }
    Ok(ids)
}

// === impl Answered ===

impl Answered {
    /// Adds a caller; [`Self::sort`] has to be called before the next lookup.
    pub(super) fn add(&mut self, block: usize, row: u32) {
        self.0.push((block as u32, row));
    }

    pub(super) fn sort(&mut self) {
        self.0.sort_unstable();
        self.0.dedup();
    }

    pub(super) fn contains(&self, block: usize, row: u32) -> bool {
        self.0.binary_search(&(block as u32, row)).is_ok()
    }

    /// The answered rows of one block.
    pub(super) fn rows(&self, block: usize) -> &[(u32, u32)] {
        let from = self.0.partition_point(|(known, _)| (*known as usize) < block);
        let count = self.0[from..].partition_point(|(known, _)| *known as usize == block);
        &self.0[from..from + count]
    }
}
