//! Spans as columns: what the store hands to a query engine that looks at many spans.
//!
//! A table holds the rows of one trace or of one page. Values are numbered: a column lists its distinct values once, and
//! a row refers to them by code, so that an engine compares each distinct value once and groups by code. Nothing here
//! knows a query language.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spandrel_block::RowFlags;
use spandrel_proto::{TimeRange, TraceId};

use crate::plan::{Predicate, SearchPlan, Stop};
use crate::scanned::Scanned;

/// A column that a question reads besides those that every span has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnName {
    /// An attribute.
    Attribute(AttributeLevel, String),
    /// The message of the span's status, if it is not empty.
    StatusMessage,
    /// The span's trace state, if it is not empty.
    TraceState,
    /// The span's flags as an integer, if they are not zero.
    Flags,
    /// The names of the span's events.
    EventName,
    /// For each event, its time minus the span's start in nanoseconds.
    EventTimeSinceStart,
    /// The trace IDs of the span's links, as lower-case hex.
    LinkTraceId,
    /// The span IDs of the span's links, as lower-case hex.
    LinkSpanId,
    /// The name of the span's scope, if it is not empty.
    ScopeName,
    /// The version of the span's scope, if it is not empty.
    ScopeVersion,
}

/// What an attribute belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeLevel {
    /// The span itself.
    Span,
    /// Its resource. `service.name` reads as the service ([`crate::semantics::service_name`]), so it is never absent.
    Resource,
    /// Its events, in their order.
    Event,
    /// Its links, in their order.
    Link,
    /// Its instrumentation scope.
    Scope,
}

/// An attribute that some span has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAttribute {
    /// What it belongs to.
    pub level: AttributeLevel,
    /// Its key.
    pub key: String,
    /// The types of its values, without repetition.
    pub types: Vec<ValueType>,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named like the variants of Value")]
pub enum ValueType {
    Empty,
    String,
    Bool,
    Int,
    Double,
    Bytes,
    Array,
    KeyValues,
}

/// Spans as columns. All vectors of rows have the same length.
#[derive(Debug, Clone, Default)]
pub struct SpanTable {
    /// The traces of the rows, each with the row behind its last one.
    pub traces: Vec<(TraceId, u32)>,
    /// Index into `classes`.
    pub class: Vec<u32>,
    /// What `class` refers to. Tables of pages of one block share it; the table of a trace has its own.
    pub classes: Arc<Classes>,
    /// Nanoseconds since the epoch.
    pub start: Vec<u64>,
    /// In nanoseconds; zero when a span ends before it starts.
    pub duration: Vec<u64>,
    /// Big-endian span IDs. Empty unless the plan asked for IDs.
    pub span_id: Vec<u64>,
    /// Big-endian span IDs of parents; zero without a parent, and for a parent ID of another length than eight bytes.
    /// Empty unless the plan asked for IDs.
    pub parent_id: Vec<u64>,
    /// The columns that were asked for, in that order.
    pub columns: Vec<ValueColumn>,
}

/// Services, names and flags of spans, by class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Classes {
    /// Names of services, each once.
    pub services: Vec<String>,
    /// Names of spans, each once.
    pub names: Vec<String>,
    /// The classes.
    pub classes: Vec<SpanClass>,
}

/// What all spans of a class have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanClass {
    /// Index into [`Classes::services`].
    pub service: u32,
    /// Index into [`Classes::names`].
    pub name: u32,
    /// Kind, status, failure, and whether the span has a parent.
    pub flags: RowFlags,
}

/// The values of a column.
#[derive(Debug, Clone, Default)]
pub struct ValueColumn {
    /// The distinct values. Tables of a pass may share them, and then not all of them need occur; none if no row has a
    /// value.
    pub values: Arc<Vec<Value>>,
    /// Which of them each row has.
    pub codes: Codes,
    /// The list that `values` are the beginning of, if tables share it. What a fold has found out about one of these
    /// values holds for the value with that index in every table with that list.
    pub list: Option<ListId>,
}

/// Identifies a list of distinct values that is only ever added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListId(u64);

/// The values of rows, by number.
#[derive(Debug, Clone)]
pub enum Codes {
    /// For each row the index of its value plus one; 0 without a value.
    One(Vec<u32>),
    /// The same for the only rows that may have a value.
    Few {
        /// These rows, ascending. Columns of a table may share them.
        rows: Arc<Vec<u32>>,
        /// For each of these rows.
        codes: Vec<u32>,
    },
    /// The same for groups of rows.
    Grouped {
        /// By row. Columns of a table that group its rows in the same way share them.
        groups: Arc<Vec<u32>>,
        /// By group.
        codes: Vec<u32>,
    },
    /// For columns in which a row has several values (events, links, repeated keys): for each row the index in `codes`
    /// behind its last one; `codes` are indices of values.
    Many {
        /// By row.
        ends: Vec<u32>,
        /// By value.
        codes: Vec<u32>,
    },
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A value of no type.
    Empty,
    /// Text.
    String(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// A list of key-values, as a `KeyValueList` message.
    KeyValues(Vec<u8>),
}

/// A search in which judges have the last word, who see each trace as a table.
#[derive(Debug, Clone)]
pub struct SelectPlan {
    /// Which traces to look at. Its predicate holds for at least one span, in the range, of each trace that a judge may
    /// accept; it need not be exact. Each judge is a thread, whatever its effort says.
    pub search: SearchPlan,
    /// Each trace that a judge may accept has, for each of these, a span that satisfies it, whenever that starts. Most
    /// traces without such spans are not shown.
    pub companions: Vec<Predicate>,
    /// The columns of the tables.
    pub columns: Vec<ColumnName>,
}

/// Decides about traces, in one thread.
pub trait TraceJudge: Send {
    /// Looks at all spans of one or more traces, those of each sorted by (start, span ID), with IDs, equal spans once; a
    /// verdict for each of the traces, in their order. Spans that were stored later than the first page was computed are
    /// left out, so that pages stay consistent.
    fn judge(&mut self, table: &SpanTable) -> Vec<Verdict>;

    /// Sees each trace of the answer, in the answer's order, in a table of its own. `false` ends the answer before it.
    fn show(&mut self, table: &SpanTable) -> bool {
        let _ = table;
        true
    }
}

/// What a judge says of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The trace does not match.
    No,
    /// It matches; the rows of the matching spans in the table, ascending.
    Matches(Vec<u32>),
    /// The search ends here, later verdicts do not count; the answer is partial.
    Stop,
}

/// A pass over many spans in no particular order.
#[derive(Debug, Clone)]
pub struct FoldPlan {
    /// The spans to look at.
    pub predicate: Predicate,
    /// Only spans that start in this range.
    pub range: TimeRange,
    /// The columns of the tables.
    pub columns: Vec<ColumnName>,
    /// Whether the tables have IDs.
    pub ids: bool,
    /// Only spans of later commits count: the [`FoldAnswer::snapshot`] of an earlier pass, or 0 for all.
    pub after: u64,
    /// Columns that stay empty from the moment on in which a fold skips them. Not for passes over traces.
    pub skipped: SkippedColumns,
    /// Asked for each page and each trace: ends the pass, also while it shows nothing.
    pub stop: Stop,
}

/// The columns of a pass that no fold needs any more, by number. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct SkippedColumns(Arc<[AtomicBool]>);

/// Takes tables in one thread.
pub trait TableFold: Send {
    /// Adds the rows of a table. `false` ends the pass; the answer is partial then.
    fn add(&mut self, table: &SpanTable) -> bool;
}

/// How a pass went.
#[derive(Debug, Clone, Copy, Default)]
pub struct FoldAnswer {
    /// Spans may be missing, because of damaged blocks or a limit, or because a fold ended the pass.
    pub partial: bool,
    /// The last commit whose spans the pass has seen.
    pub snapshot: u64,
    /// The work.
    pub scanned: Scanned,
}

// === impl SkippedColumns ===

impl SkippedColumns {
    /// None of so many columns is skipped yet.
    pub fn none_of(columns: usize) -> Self {
        Self((0..columns).map(|_| AtomicBool::new(false)).collect())
    }

    /// Skips a column from now on.
    pub fn skip(&self, column: usize) {
        if let Some(skipped) = self.0.get(column) {
            skipped.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn contains(&self, column: usize) -> bool {
        self.0.get(column).is_some_and(|skipped| skipped.load(Ordering::Relaxed))
    }
}

// === impl ListId ===

impl ListId {
    /// The ID of a new list.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

// === impl Codes ===

impl Default for Codes {
    fn default() -> Self {
        Self::One(Vec::new())
    }
}

impl Codes {
    /// No row has a value.
    pub(crate) fn none() -> Self {
        Self::Few { rows: Arc::default(), codes: Vec::new() }
    }

    /// The indices of a row's values.
    pub fn of_row(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let (code, many) = match self {
            Self::One(codes) => (codes.get(row), &[][..]),
            Self::Few { rows, codes } => {
                let place = rows.binary_search_by_key(&row, |known| *known as usize);
                (place.ok().and_then(|place| codes.get(place)), &[][..])
            }
            Self::Grouped { groups, codes } => {
                (groups.get(row).and_then(|group| codes.get(*group as usize)), &[][..])
            }
            Self::Many { ends, codes } => {
                let begin = row.checked_sub(1).map_or(0, |before| ends[before] as usize);
                (None, &codes[begin..ends[row] as usize])
            }
        };
        let one = code.and_then(|code| code.checked_sub(1));
        one.into_iter().chain(many.iter().copied()).map(|code| code as usize)
    }

    /// The same for each row of a table with so many rows: [`Self::One`], or [`Self::Many`].
    pub fn by_row(&self, count: usize) -> Cow<'_, Self> {
        match self {
            Self::One(_) | Self::Many { .. } => Cow::Borrowed(self),
            Self::Few { rows, codes } => {
                let mut all = vec![0; count];
                rows.iter().zip(codes).for_each(|(row, code)| all[*row as usize] = *code);
                Cow::Owned(Self::One(all))
            }
            Self::Grouped { groups, codes } => {
                Cow::Owned(Self::One(groups.iter().map(|group| codes[*group as usize]).collect()))
            }
        }
    }
}

// === impl SpanTable ===

impl SpanTable {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.class.len()
    }

    /// The service of a row.
    pub fn service(&self, row: usize) -> &str {
        &self.classes.services[self.class_of(row).service as usize]
    }

    /// The name of a row.
    pub fn name(&self, row: usize) -> &str {
        &self.classes.names[self.class_of(row).name as usize]
    }

    /// Kind, status and failure of a row.
    pub fn flags(&self, row: usize) -> RowFlags {
        self.class_of(row).flags
    }

    fn class_of(&self, row: usize) -> SpanClass {
        self.classes.classes[self.class[row] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_the_same_however_they_are_kept() {
        let by_row = [2, 0, 1, 2];
        let all = [
            Codes::One(by_row.to_vec()),
            Codes::Few { rows: Arc::new(vec![0, 1, 2, 3]), codes: by_row.to_vec() },
            Codes::Few { rows: Arc::new(vec![0, 2, 3]), codes: vec![2, 1, 2] },
            Codes::Grouped { groups: Arc::new(vec![1, 0, 2, 1]), codes: vec![0, 2, 1] },
        ];
        for codes in all {
            let values: Vec<Vec<usize>> = (0..5).map(|row| codes.of_row(row).collect()).collect();
            assert_eq!(values, [vec![1], vec![], vec![0], vec![1], vec![]], "{codes:?}");
            assert!(matches!(&*codes.by_row(4), Codes::One(codes) if *codes == by_row), "{codes:?}");
        }
    }
}
