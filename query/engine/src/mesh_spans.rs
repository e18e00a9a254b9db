//! Reads the spans of whole traces as a mesh understands them, from the columns of tables and not from spans, so that
//! each distinct combination of attributes is read once.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_mesh::facts::Facts;
use spandrel_mesh::span::MeshSpan;
use spandrel_mesh::texts::{KEYS, Texts};
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{SpanId, TenantId, TimeRange};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::Predicate;
use spandrel_storage::table::{
    AttributeLevel, Classes, Codes, ColumnName, ListId, SpanTable, TableFold, ValueColumn,
};

use crate::bind::Columns;
use crate::error::QueryError;
use crate::limits::{Budget, Partial};
use crate::mesh::see;
use crate::pass::{Tables, fold_plan, pass};

/// Takes the spans of one trace after the other.
pub trait TraceFold: Send {
    /// The spans of a trace.
    fn add(&mut self, spans: &[MeshSpan]);
}

/// Shows all traces with a matching span to workers; returns these, at least one, and why they may have missed something.
pub fn fold_traces<W: TraceFold>(
    store: &dyn TraceStore,
    tenant: &TenantId,
    predicate: Predicate,
    range: TimeRange,
    budget: &Budget,
    worker: impl Fn() -> W,
) -> Result<(Vec<W>, Option<Partial>), QueryError> {
    let mut columns = Columns::default();
    columns.needs_ids = true;
    for level in [AttributeLevel::Resource, AttributeLevel::Span] {
        for key in KEYS {
            columns.number(ColumnName::Attribute(level, key.to_owned()));
        }
    }
    let plan = fold_plan(predicate, range, &columns, budget);
    let reader = || Reader {
        inner: worker(),
        budget,
        known: FxHashMap::default(),
        classes: Arc::default(),
        lists: Vec::new(),
    };
    let (readers, partial) = pass((store, tenant), &plan, Tables::Traces, budget, reader)?;
    Ok((readers.into_iter().map(|reader| reader.inner).collect(), budget.met().or(partial)))
}

struct Reader<'q, W> {
    inner: W,
    budget: &'q Budget,
    /// What spans with the same name and values say.
    known: FxHashMap<Box<[u32]>, Arc<Facts>>,
    /// What the numbers in `known` refer to: the classes, and the list of each column with values.
    classes: Arc<Classes>,
    lists: Vec<Option<ListId>>,
}

/// A column with values: its key, and the numbers of its values by row.
struct Input<'t> {
    key: &'static str,
    column: &'t ValueColumn,
    codes: Cow<'t, Codes>,
}

/// More combinations are forgotten: addresses and sizes may make nearly each span another one.
const MOST_KNOWN: usize = 100_000;

// === impl Reader ===

impl<W: TraceFold> TableFold for Reader<'_, W> {
    fn add(&mut self, table: &SpanTable) -> bool {
        if !self.budget.allows() {
            return false;
        }
        self.forget_others(table);
        let inputs: Vec<Input<'_>> = KEYS
            .into_iter()
            .cycle()
            .zip(&table.columns)
            .filter(|(_, column)| !column.values.is_empty())
            .map(|(key, column)| Input { key, column, codes: column.codes.by_row(table.rows()) })
            .collect();
        let mut combination = Vec::with_capacity(inputs.len() + 1);
        let mut spans = Vec::new();
        let mut row = 0;
        for (_, end) in &table.traces {
            spans.clear();
            while row < *end as usize {
                combination.clear();
                combination.push(table.class[row]);
                let last = |codes: &Codes| codes.of_row(row).last().map_or(0, |code| code as u32 + 1);
                combination.extend(inputs.iter().map(|input| last(&input.codes)));
                let facts = match self.known.get(&combination[..]) {
                    Some(facts) => facts.clone(),
                    None => {
                        let facts = Arc::new(read(table, row, &inputs, &combination[1..]));
                        self.known.insert(combination.clone().into(), facts.clone());
                        facts
                    }
                };
                spans.push(span(table, row, facts));
                row += 1;
            }
            self.inner.add(&spans);
        }
        true
    }
}

impl<W> Reader<'_, W> {
    /// Numbers of values are those of their lists; where a table has lists of its own, nothing is known of it.
    fn forget_others(&mut self, table: &SpanTable) {
        let lists: Vec<Option<ListId>> = table
            .columns
            .iter()
            .filter(|column| !column.values.is_empty())
            .map(|column| column.list)
            .collect();
        let is_known = Arc::ptr_eq(&self.classes, &table.classes)
            && lists == self.lists
            && lists.iter().all(Option::is_some);
        if !is_known || self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        self.classes = table.classes.clone();
        self.lists = lists;
    }
}

fn read(table: &SpanTable, row: usize, inputs: &[Input<'_>], codes: &[u32]) -> Facts {
    let mut texts = Texts::default();
    for (Input { key, column, .. }, code) in inputs.iter().zip(codes).filter(|(_, code)| **code > 0) {
        see(&mut texts, key, &column.values[*code as usize - 1]);
    }
    Facts::of(table.name(row), &texts)
}

fn span(table: &SpanTable, row: usize, facts: Arc<Facts>) -> MeshSpan {
    let id = |id: u64| SpanId::from_bytes(id.to_be_bytes());
    MeshSpan {
        id: id(table.span_id[row]),
        parent: Some(table.parent_id[row]).filter(|parent| *parent != 0).map(id),
        start: table.start[row],
        duration: table.duration[row],
        is_client: table.flags(row).kind() == SpanKind::Client,
        facts,
    }
}
