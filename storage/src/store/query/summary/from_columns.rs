//! The summary of a whole trace from the columns of its rows. Decodes only the root of a failed trace, and spans for
//! which columns cannot decide whether they match.
//!
//! If a span may be stored twice, the trace is summarised from its spans (`from_spans.rs`), because columns cannot
//! identify duplicates.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use spandrel_block::semantics::{self, RootCandidate, root_of};
use spandrel_block::{Dictionary, FormatError, OpenValues, Rebuilder, RowFlags, RowRange, shown_duration};
use spandrel_proto::otlp::SpanView;
use spandrel_proto::{SpanId, TraceId, UnixNanos};

use crate::api::TraceSummary;
use crate::plan::SearchPlan;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::store::query::pruning::{BlockPredicate, ColumnRow, RowMatch};
use crate::store::query::summary::from_spans::{MAX_MATCHED_IDS, count_services};
use crate::store::read::matcher;

/// Builds the summary of a trace.
pub(crate) struct ColumnSummary<'s> {
    reader: &'s BlockReader,
    plan: &'s SearchPlan,
    trace: TraceId,
    parts: Vec<Part>,
    rows: Vec<Row>,
}

/// A block that contains rows of the trace.
struct Part {
    entry: Arc<BlockEntry>,
    dictionary: Arc<Dictionary>,
}

/// The columns of a span.
struct Row {
    start: u64,
    span_id: [u8; 8],
    parent: [u8; 8],
    end: u64,
    part: u32,
    /// Its row in the block.
    row: u32,
    class: u32,
    matches: bool,
}

/// A parent ID that is neither empty nor the ID of any span.
const FOREIGN: &[u8] = &[1];

// === impl ColumnSummary ===

impl<'s> ColumnSummary<'s> {
    pub(crate) fn new(reader: &'s BlockReader, plan: &'s SearchPlan, trace: TraceId) -> Self {
        Self { reader, plan, trace, parts: Vec::new(), rows: Vec::new() }
    }

    /// Adds the rows of a block; `predicate` is that of the plan, prepared for the block.
    pub(crate) fn add_part(
        &mut self,
        entry: &Arc<BlockEntry>,
        rows: RowRange,
        predicate: &BlockPredicate,
    ) -> Result<(), BlockError> {
        let (mut row, end) = (rows.first, rows.first.saturating_add(rows.rows));
        while row < end {
            let (number, first) = self.reader.page_of(entry, row)?;
            let behind = self.add_page(entry, number, first, row - first..end - first, predicate)?;
            row = first + behind;
        }
        self.parts.push(Part { entry: entry.clone(), dictionary: self.reader.dictionary(entry)? });
        Ok(())
    }

    /// Adds the given rows of a page that exist, and returns the row behind the last one.
    fn add_page(
        &mut self,
        entry: &BlockEntry,
        number: u32,
        first: u32,
        rows: Range<u32>,
        predicate: &BlockPredicate,
    ) -> Result<u32, BlockError> {
        let core = self.reader.core(entry, number)?;
        let ids = self.reader.ids(entry, number, core.rows())?;
        let here = rows.start as usize..core.rows().min(rows.end as usize);
        if here.is_empty() {
            return Err(FormatError::Damaged("header").into());
        }
        let (tests, mut attributes, mut spans) = (predicate.tests(), Vec::new(), None);
        if !tests.is_empty() {
            let page = self.reader.page(entry, number, Caching::Keep)?;
            let values = OpenValues::from(&page);
            for test in tests {
                attributes.push(test.matches(&values)?);
            }
            spans = Some(Rebuilder::new(page, here.start));
        }
        for at in here.clone() {
            let (start, duration) = (core.start[at], core.duration[at]);
            let columns = ColumnRow {
                class: core.class[at],
                resource_scope: core.resource_scope[at],
                duration: shown_duration(start, duration),
            };
            let matches = self.plan.range.contains(UnixNanos(start))
                && match predicate.row_match(columns, &|test| attributes[test][at]) {
                    RowMatch::No => false,
                    RowMatch::Yes => true,
                    RowMatch::Maybe => match &mut spans {
                        Some(spans) => matcher::row_matches(&self.plan.predicate, spans, at, self.trace)?,
                        None => true,
                    },
                };
            self.rows.push(Row {
                start,
                span_id: ids.span_id[at].to_be_bytes(),
                parent: ids.parent[at].to_be_bytes(),
                end: start.checked_add(duration).unwrap_or(start),
                part: self.parts.len() as u32,
                row: first + at as u32,
                class: core.class[at],
                matches,
            });
        }
        Ok(here.end as u32)
    }

    /// Returns the summary; `None` if a span may be stored twice, or without rows.
    pub(crate) fn finish(mut self) -> Result<Option<TraceSummary>, BlockError> {
        self.rows.sort_by_key(|row| (row.start, row.span_id));
        // A block contains each span once, unless an earlier program wrote it, which compared bytes only.
        let is_copy = |pair: &[Row]| (pair[0].start, pair[0].span_id) == (pair[1].start, pair[1].span_id);
        if self.rows.windows(2).any(is_copy) {
            return Ok(None);
        }
        let Some(root) = self.root() else { return Ok(None) };
        let root = &self.rows[root];
        let (service, name) = self.operation(root);
        let start = self.rows.iter().map(|row| row.start).min().unwrap_or_default();
        let end = self.rows.iter().map(|row| row.end).max().unwrap_or_default();
        let mut services: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let mut matched = (Vec::new(), 0);
        for row in &self.rows {
            let counts = services.entry(self.operation(row).0).or_default();
            counts.0 += 1;
            counts.1 += u64::from(self.flags(row).failed());
            if row.matches {
                matched.1 += 1;
                if matched.0.len() < MAX_MATCHED_IDS {
                    matched.0.push(SpanId::from_bytes(row.span_id));
                }
            }
        }
        let error_code = if self.flags(root).failed() { self.error_code(root)? } else { None };
        Ok(Some(TraceSummary {
            id: self.trace,
            root_service: service.to_owned(),
            root_name: name.to_owned(),
            status: self.flags(root).status(),
            error_code,
            start: UnixNanos(start),
            duration: end - start,
            span_count: self.rows.len() as u64,
            error_count: services.values().map(|counts| counts.1).sum(),
            matched_span_count: matched.1,
            matched_span_ids: matched.0,
            services: count_services(services),
        }))
    }

    fn root(&self) -> Option<usize> {
        let candidates = self.rows.iter().map(|row| {
            let parent_id = match self.flags(row).has_parent() {
                false => &[][..],
                // A parent ID of another length, which no span has.
                true if row.parent == [0; 8] => FOREIGN,
                true => &row.parent[..],
            };
            RootCandidate { start: row.start, span_id: &row.span_id, parent_id }
        });
        root_of(&candidates.collect::<Vec<_>>())
    }

    fn flags(&self, row: &Row) -> RowFlags {
        self.parts[row.part as usize].dictionary.flags(row.class)
    }

    /// The names of its service and operation.
    fn operation(&self, row: &Row) -> (&str, &str) {
        let dictionary = &self.parts[row.part as usize].dictionary;
        let (service, name) = &dictionary.operations[dictionary.operation(row.class) as usize];
        (&dictionary.services[*service as usize], name)
    }

    fn error_code(&self, row: &Row) -> Result<Option<String>, BlockError> {
        let entry = &self.parts[row.part as usize].entry;
        let (number, first) = self.reader.page_of(entry, row.row)?;
        let page = self.reader.page(entry, number, Caching::Keep)?;
        let mut span = Vec::new();
        Rebuilder::new(page, (row.row - first) as usize).next(self.trace, &mut span)?;
        Ok(semantics::error_code(&SpanView::parse(&span)?)?)
    }
}
