//! Finds the spans of a block that satisfy a predicate: prunes its pages by Bloom filters and zone maps, then rows by
//! columns, and decodes spans last.

use std::ops::Range;
use std::sync::Arc;

use spandrel_block::{
    CorePage, Dictionary, FormatError, Rebuilder, SectionKind, ServiceMeta, TraceTable, shown_duration,
};
use spandrel_proto::{TimeRange, TraceId, UnixNanos};

use crate::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::store::core::view::View;
use crate::store::query::pruning::{
    AttributeMatches, BlockFilters, BlockPredicate, ColumnRow, FilterPredicate, RowMatch,
};
use crate::store::read::matcher;

/// Which spans a query is about.
pub(crate) struct SpanFilter<'p> {
    predicate: &'p Predicate,
    range: &'p TimeRange,
    /// Spans of later commits do not match.
    snapshot: u64,
    /// Neither do those of this commit and of earlier ones.
    after: u64,
    filter: FilterPredicate,
}

/// A block with pages that may have matching rows.
pub(crate) struct BlockScan<'s> {
    filter: &'s SpanFilter<'s>,
    reader: &'s Arc<BlockReader>,
    entry: Arc<BlockEntry>,
    dictionary: Arc<Dictionary>,
    predicate: BlockPredicate,
    pages: Vec<u32>,
}

/// A row that matches.
#[derive(Debug, Clone)]
pub(crate) struct MatchingRow<'p> {
    /// Its number in the page.
    pub(crate) row: usize,
    pub(crate) trace: TraceId,
    /// The rows of the trace in the page.
    pub(crate) trace_rows: Range<usize>,
    /// The columns that every row of the page has.
    pub(crate) page: &'p CorePage,
}

/// The trace of each row of a page.
struct PageTraces {
    table: Arc<TraceTable>,
    core: Arc<CorePage>,
    /// The index of the page's first trace in the table.
    first: usize,
}

// === impl SpanFilter ===

impl<'p> SpanFilter<'p> {
    pub(crate) fn new(predicate: &'p Predicate, range: &'p TimeRange, snapshot: u64) -> Self {
        Self { predicate, range, snapshot, after: 0, filter: FilterPredicate::new(predicate) }
    }

    /// Leaves out spans of a commit and of those before it.
    pub(crate) fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    /// Blocks that may hold a matching span, by their zone maps.
    pub(crate) fn blocks(&self, view: &View) -> Vec<Arc<BlockEntry>> {
        let may_match = |entry: &&Arc<BlockEntry>| {
            let meta = &entry.row.meta;
            meta.touches(self.range)
                && meta.min_sequence <= self.snapshot
                && (self.after == 0 || meta.max_sequence > self.after)
                && zone_may_match(self.predicate, entry)
        };
        view.spans().filter(may_match).cloned().collect()
    }

    /// Prepares the block; `None` if none of its pages can have a matching row.
    pub(crate) fn open<'s>(
        &'s self,
        reader: &'s Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
    ) -> Result<Option<BlockScan<'s>>, BlockError> {
        let pages = self.pages_that_may_match(reader, entry)?;
        if pages.is_empty() {
            return Ok(None);
        }
        let dictionary = reader.dictionary(entry)?;
        let predicate = BlockPredicate::new(self.predicate, &dictionary)?;
        if let BlockPredicate::Constant(false) = predicate {
            return Ok(None);
        }
        let pages = self.pages_left(reader, entry, pages, &predicate, &dictionary)?;
        let scan = BlockScan { filter: self, reader, entry: entry.clone(), dictionary, predicate, pages };
        Ok((!scan.pages.is_empty()).then_some(scan))
    }

    /// The pages that may match, by the Bloom filters alone.
    fn pages_that_may_match(&self, reader: &BlockReader, entry: &BlockEntry) -> Result<Vec<u32>, BlockError> {
        let pages = 0..reader.pages(entry)? as u32;
        if self.filter.is_open() {
            return Ok(pages.collect());
        }
        let filters = BlockFilters::new(reader, entry);
        let mut left = Vec::new();
        for page in pages {
            if self.filter.may_match(&filters, page as usize)? {
                left.push(page);
            }
        }
        Ok(left)
    }

    /// The pages that may match, by their zone maps, and by the Bloom filters after resources were evaluated.
    fn pages_left(
        &self,
        reader: &BlockReader,
        entry: &BlockEntry,
        mut pages: Vec<u32>,
        predicate: &BlockPredicate,
        dictionary: &Dictionary,
    ) -> Result<Vec<u32>, BlockError> {
        if let Some(zones) = reader.zones(entry)? {
            pages.retain(|page| {
                let zone = &zones[*page as usize];
                zone.touches(self.range) && predicate.may_match_zone(zone, dictionary)
            });
        }
        if !pages.is_empty() && !predicate.tests().is_empty() {
            let filters = BlockFilters::new(reader, entry);
            let mut left = Vec::new();
            for page in pages {
                if predicate.may_match_filter(&filters, page as usize)? {
                    left.push(page);
                }
            }
            pages = left;
        }
        Ok(pages)
    }
}

// === impl BlockScan ===

impl BlockScan<'_> {
    pub(crate) fn entry(&self) -> &Arc<BlockEntry> {
        &self.entry
    }

    pub(crate) fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// The pages that may have matching rows.
    pub(crate) fn pages(&self) -> &[u32] {
        &self.pages
    }

    /// Shows the matching rows of a page in their order. `take` returns the row at which to go on. Returns the number
    /// of rows whose columns were read.
    pub(crate) fn each_match(
        &self,
        number: u32,
        mut take: impl FnMut(MatchingRow<'_>) -> usize,
    ) -> Result<u64, BlockError> {
        let columns = self.reader.core(&self.entry, number)?;
        let read = columns.rows() as u64;
        let mut rows: Vec<usize> = (0..columns.rows()).collect();
        // The columns that every row has exclude most pages.
        if !self.matches_all(&columns) {
            rows.retain(|row| self.row_match(&columns, *row, &|_| RowMatch::Maybe) != RowMatch::No);
        }
        if rows.is_empty() {
            return Ok(read);
        }
        let attributes = self.attribute_matches(number)?;
        let row_match = |row: usize| match attributes.is_empty() {
            // Without tests of attributes, the first look has decided.
            true => RowMatch::Yes,
            false => self.row_match(&columns, row, &|test| attributes[test][row]),
        };
        let names = PageTraces::new(self.reader, &self.entry, &columns, number)?;
        let (mut next, mut trace, mut spans) = (0, None::<(TraceId, Range<usize>)>, None);
        for row in rows {
            if row < next {
                continue;
            }
            let matches = match row_match(row) {
                RowMatch::No => false,
                RowMatch::Yes => true,
                RowMatch::Maybe => self.span_matches(number, row, names.trace_of(row)?.0, &mut spans)?,
            };
            if matches {
                let (trace, trace_rows) = match trace.take().filter(|(_, rows)| row < rows.end) {
                    Some(known) => trace.insert(known).clone(),
                    None => trace.insert(names.trace_of(row)?).clone(),
                };
                next = take(MatchingRow { row, trace, trace_rows, page: &columns });
            }
        }
        Ok(read)
    }

    /// Whether all rows of a page match, as a predicate that asks nothing and the page's starts tell at once.
    fn matches_all(&self, columns: &CorePage) -> bool {
        let SpanFilter { range, snapshot, after, .. } = self.filter;
        matches!(self.predicate, BlockPredicate::Constant(true))
            && self.entry.row.meta.max_sequence <= *snapshot
            && *after == 0
            && columns.start.iter().all(|start| range.contains(UnixNanos(*start)))
    }

    fn attribute_matches(&self, number: u32) -> Result<AttributeMatches, BlockError> {
        let tests = self.predicate.tests();
        if tests.is_empty() {
            return Ok(Vec::new());
        }
        let page = self.reader.values(&self.entry, number)?;
        tests.into_iter().map(|test| Ok(test.matches(&page)?)).collect()
    }

    /// Whether the span of a row satisfies the predicate; `spans` keeps its place in the page.
    fn span_matches(
        &self,
        number: u32,
        row: usize,
        trace: TraceId,
        spans: &mut Option<Rebuilder>,
    ) -> Result<bool, BlockError> {
        let spans = match spans {
            Some(known) => known,
            none => {
                let page = self.reader.page(&self.entry, number, Caching::Keep)?;
                none.insert(Rebuilder::new(page, row))
            }
        };
        matcher::row_matches(self.filter.predicate, spans, row, trace)
    }

    fn row_match(&self, columns: &CorePage, row: usize, attributes: &dyn Fn(usize) -> RowMatch) -> RowMatch {
        let SpanFilter { range, snapshot, after, .. } = self.filter;
        let all_visible = self.entry.row.meta.max_sequence <= *snapshot;
        if !range.contains(UnixNanos(columns.start[row]))
            || !(all_visible || columns.sequence[row] <= *snapshot)
            || *after > 0 && columns.sequence[row] <= *after
        {
            return RowMatch::No;
        }
        let duration = shown_duration(columns.start[row], columns.duration[row]);
        let row_columns =
            ColumnRow { class: columns.class[row], resource_scope: columns.resource_scope[row], duration };
        self.predicate.row_match(row_columns, attributes)
    }
}

// === impl PageTraces ===

impl PageTraces {
    fn new(
        reader: &BlockReader,
        entry: &BlockEntry,
        core: &Arc<CorePage>,
        page: u32,
    ) -> Result<Self, BlockError> {
        let table = reader.traces(entry)?;
        let header = reader.header(entry)?;
        let row = header.pages(SectionKind::Core)[page as usize].first_row;
        let first = table.entries().partition_point(|(_, rows)| rows.first + rows.rows <= row);
        Ok(Self { table, core: core.clone(), first })
    }

    /// The trace of a row, and its rows in the page.
    fn trace_of(&self, row: usize) -> Result<(TraceId, Range<usize>), BlockError> {
        let run = self.core.traces.partition_point(|begin| *begin as usize <= row) - 1;
        let begin = self.core.traces[run] as usize;
        let end = self.core.traces.get(run + 1).map_or(self.core.rows(), |end| *end as usize);
        let entry = self.table.entries().get(self.first + run);
        let (trace, _) = entry.ok_or(FormatError::Damaged("trace table"))?;
        Ok((*trace, begin..end))
    }
}

/// Whether a block may contain a matching span, by its zone map.
fn zone_may_match(predicate: &Predicate, entry: &BlockEntry) -> bool {
    let meta = &entry.row.meta;
    match predicate {
        Predicate::And(parts) => {
            parts.iter().all(|part| zone_may_match(part, entry)) && zone_has_operation(parts, entry)
        }
        Predicate::Or(parts) => parts.iter().any(|part| zone_may_match(part, entry)),
        Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true))) => meta.failed > 0,
        Predicate::Compare(Field::Status, Comparison::Eq(Literal::Status(status))) => {
            meta.statuses & (1 << *status as u8) != 0
        }
        Predicate::Compare(Field::Duration, comparison) => match comparison {
            Comparison::Gt(Literal::Int(bound)) => i128::from(meta.max_duration) > i128::from(*bound),
            Comparison::Ge(Literal::Int(bound)) => i128::from(meta.max_duration) >= i128::from(*bound),
            Comparison::Lt(Literal::Int(bound)) => i128::from(meta.min_duration) < i128::from(*bound),
            Comparison::Le(Literal::Int(bound)) => i128::from(meta.min_duration) <= i128::from(*bound),
            _ => true,
        },
        Predicate::Compare(..) => zone_has_operation(std::slice::from_ref(predicate), entry),
        Predicate::All | Predicate::Exists(_) | Predicate::Absent(_) => true,
    }
}

/// Whether the block has an operation with both the service and the name of the predicate.
fn zone_has_operation(parts: &[Predicate], entry: &BlockEntry) -> bool {
    let (mut service, mut name) = (None, None);
    for part in parts {
        match part {
            Predicate::Compare(Field::Name, Comparison::Eq(Literal::String(wanted))) => {
                name = Some(wanted.as_str())
            }
            Predicate::Compare(
                Field::Attribute(AttributeScope::Resource, key),
                Comparison::Eq(Literal::String(wanted)),
            ) if key == "service.name" => service = Some(wanted.as_str()),
            _ => {}
        }
    }
    let has_name = |known: &ServiceMeta| {
        name.is_none_or(|name| known.operations.binary_search_by(|o| o.name.as_str().cmp(name)).is_ok())
    };
    let services = &entry.row.meta.services;
    match service {
        Some(service) => services
            .binary_search_by(|s| s.name.as_str().cmp(service))
            .is_ok_and(|at| has_name(&services[at])),
        None => name.is_none() || services.iter().any(has_name),
    }
}
