//! The trees of the traces of a table, from its columns: parents, the walk down, the root, and where segments begin.
//! What a question does not need is not computed.
//!
//! No function recurses, so a chain of a million spans cannot overflow the stack.

pub mod parents;

use std::cell::OnceCell;
use std::ops::Range;

use rustc_hash::FxHashMap;
use spandrel_proto::SpanId;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::semantics::{RootCandidate, root_of};
use spandrel_storage::table::{AttributeLevel, ColumnName, SpanTable, Value, ValueColumn};

use parents::{NamedParent, Node, Place};

/// The trees of a table with the rows of whole traces, those of each sorted by (start, span ID).
#[derive(Debug)]
pub(crate) struct Tree<'t> {
    /// The rows of each trace.
    traces: Vec<Range<usize>>,
    nodes: Vec<Node>,
    flags: Option<&'t ValueColumn>,
    /// The row of each row's parent.
    places: Vec<Option<u32>>,
    walk: OnceCell<Walk>,
    /// By trace.
    roots: OnceCell<Vec<Root>>,
    /// Whether each row is the first of its segment.
    entries: OnceCell<Vec<bool>>,
}

/// The rows numbered by a walk down the tree of each trace and up again.
#[derive(Debug, Default)]
struct Walk {
    child_counts: Vec<u32>,
    /// The number of each row when it is entered and left, from 1.
    left: Vec<u64>,
    right: Vec<u64>,
}

#[derive(Debug)]
struct Root {
    row: usize,
    /// That of the trace.
    duration: u64,
}

/// Bit of a span's flags: [`IS_REMOTE`] is valid.
const HAS_IS_REMOTE: i64 = 0x100;
/// Bit of a span's flags: the parent is remote.
const IS_REMOTE: i64 = 0x200;

// === impl Tree ===

impl<'t> Tree<'t> {
    /// Builds the trees; `columns` are those of the table.
    pub(crate) fn of(table: &'t SpanTable, columns: &[ColumnName]) -> Self {
        let identities = identities(table, columns);
        let nodes: Vec<Node> = (0..table.rows()).map(|row| node(table, row, identities[row])).collect();
        let traces: Vec<Range<usize>> = rows_of_traces(table).collect();
        let mut places = Vec::with_capacity(nodes.len());
        for rows in &traces {
            let below = |place: Place| place.parent().map(|parent| (rows.start + parent) as u32);
            places.extend(parents::resolve(&nodes[rows.clone()]).into_iter().map(below));
        }
        let flags = column(table, columns, &ColumnName::Flags);
        let (walk, roots, entries) = Default::default();
        Self { traces, nodes, flags, places, walk, roots, entries }
    }

    fn walk(&self) -> &Walk {
        self.walk.get_or_init(|| {
            let count = self.nodes.len();
            let mut walk = Walk { child_counts: vec![0; count], left: vec![0; count], right: vec![0; count] };
            for (rows, root) in self.traces.iter().zip(self.roots()) {
                walk.down(rows, &self.places, root.row);
            }
            walk
        })
    }

    fn roots(&self) -> &[Root] {
        self.roots.get_or_init(|| {
            let root = |rows: &Range<usize>| {
                let nodes = &self.nodes[rows.clone()];
                Root { row: rows.start + root(nodes), duration: duration(nodes) }
            };
            self.traces.iter().map(root).collect()
        })
    }

    fn root_of(&self, row: usize) -> &Root {
        &self.roots()[self.traces.partition_point(|rows| rows.end <= row)]
    }

    /// Whether a row is outside of its parent's segment (`docs/semantics.md#segment`).
    fn begins_segment(&self, row: usize) -> bool {
        let Some(parent) = self.parent(row) else { return true };
        let enters = matches!(self.nodes[row].kind, SpanKind::Server | SpanKind::Consumer);
        let flags = self.flags.and_then(|column| Some(&column.values[column.codes.of_row(row).last()?]));
        let parent_is_local =
            matches!(flags, Some(Value::Int(flags)) if flags & (HAS_IS_REMOTE | IS_REMOTE) == HAS_IS_REMOTE);
        self.nodes[row].identity != self.nodes[parent].identity || enters && !parent_is_local
    }

    pub(crate) fn parent(&self, row: usize) -> Option<usize> {
        self.places[row].map(|parent| parent as usize)
    }

    /// The parent of each row.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.places.iter().map(|parent| parent.map(|parent| parent as usize))
    }

    pub(crate) fn child_count(&self, row: usize) -> u64 {
        u64::from(self.walk().child_counts[row])
    }

    pub(crate) fn left(&self, row: usize) -> u64 {
        self.walk().left[row]
    }

    pub(crate) fn right(&self, row: usize) -> u64 {
        self.walk().right[row]
    }

    /// The root of a row's trace.
    pub(crate) fn root(&self, row: usize) -> usize {
        self.root_of(row).row
    }

    /// The duration of a row's trace.
    pub(crate) fn duration(&self, row: usize) -> u64 {
        self.root_of(row).duration
    }

    pub(crate) fn is_entry(&self, row: usize) -> bool {
        self.entries.get_or_init(|| (0..self.nodes.len()).map(|row| self.begins_segment(row)).collect())[row]
    }
}

// === impl Walk ===

impl Walk {
    /// Numbers the rows of a trace.
    fn down(&mut self, rows: &Range<usize>, places: &[Option<u32>], root: usize) {
        let (base, places) = (rows.start, &places[rows.clone()]);
        let counts = &mut self.child_counts[rows.clone()];
        places.iter().flatten().for_each(|parent| counts[*parent as usize - base] += 1);
        // Children by parent, each list by start, since rows are sorted by it.
        let mut begins = vec![0u32; rows.len() + 1];
        for (row, children) in counts.iter().enumerate() {
            begins[row + 1] = begins[row] + children;
        }
        let (mut next, mut children) = (begins.clone(), vec![0u32; begins[rows.len()] as usize]);
        for (row, parent) in places.iter().enumerate() {
            if let Some(parent) = parent {
                let next = &mut next[*parent as usize - base];
                children[*next as usize] = row as u32;
                *next += 1;
            }
        }
        let (left, right) = (&mut self.left[rows.clone()], &mut self.right[rows.clone()]);
        let mut number = 0;
        // A row on the stack is entered at its first visit, and left at its second.
        let mut stack = tops(places, base, root);
        stack.reverse();
        while let Some(&row) = stack.last() {
            let at = row as usize;
            number += 1;
            if left[at] > 0 {
                right[at] = number;
                stack.pop();
                continue;
            }
            left[at] = number;
            stack.extend(children[begins[at] as usize..begins[at + 1] as usize].iter().rev());
        }
    }
}

/// The rows of a trace without a parent, counted from `base`; that of the tree with the root comes first.
fn tops(places: &[Option<u32>], base: usize, root: usize) -> Vec<u32> {
    let mut first = root - base;
    while let Some(parent) = places.get(first).copied().flatten() {
        first = parent as usize - base;
    }
    let mut tops: Vec<u32> = (0u32..).zip(places).filter(|(_, p)| p.is_none()).map(|(row, _)| row).collect();
    tops.sort_by_key(|row| *row as usize != first);
    tops
}

/// The rows of each trace of a table.
pub(crate) fn rows_of_traces(table: &SpanTable) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut begin = 0;
    table.traces.iter().map(move |(_, end)| {
        let rows = begin..*end as usize;
        begin = rows.end;
        rows
    })
}

fn node(table: &SpanTable, row: usize, identity: u32) -> Node {
    let (start, flags) = (table.start[row], table.flags(row));
    let named_parent = match table.parent_id[row] {
        0 if flags.has_parent() => NamedParent::Invalid,
        0 => NamedParent::None,
        id => NamedParent::Id(SpanId::from_bytes(id.to_be_bytes())),
    };
    let end = start.saturating_add(table.duration[row]);
    let id = SpanId::from_bytes(table.span_id[row].to_be_bytes());
    Node { id, named_parent, kind: flags.kind(), start, end, identity }
}

/// Numbers the service instances of the rows.
fn identities(table: &SpanTable, columns: &[ColumnName]) -> Vec<u32> {
    let attribute = |key: &str| ColumnName::Attribute(AttributeLevel::Resource, key.to_owned());
    let parts = [attribute("service.namespace"), attribute("service.instance.id")]
        .map(|name| column(table, columns, &name));
    let service = |row: usize| table.classes.classes[table.class[row] as usize].service;
    if parts.iter().flatten().all(|column| column.values.is_empty()) {
        return (0..table.rows()).map(service).collect();
    }
    let mut known: FxHashMap<[usize; 3], u32> = FxHashMap::default();
    (0..table.rows())
        .map(|row| {
            let code = |at: usize| parts[at].and_then(|column| column.codes.of_row(row).last());
            let code = |at| code(at).map_or(0, |code| code + 1);
            let next = known.len() as u32;
            *known.entry([service(row) as usize, code(0), code(1)]).or_insert(next)
        })
        .collect()
}

fn column<'t>(table: &'t SpanTable, columns: &[ColumnName], name: &ColumnName) -> Option<&'t ValueColumn> {
    columns.iter().position(|known| known == name).map(|at| &table.columns[at])
}

fn root(nodes: &[Node]) -> usize {
    let mut candidates = Vec::with_capacity(nodes.len());
    for node in nodes {
        let (span_id, parent_id) = (node.id.as_bytes(), node.named_parent.as_bytes());
        candidates.push(RootCandidate { start: node.start, span_id, parent_id });
    }
    root_of(&candidates).unwrap_or_default()
}

fn duration(nodes: &[Node]) -> u64 {
    let start = nodes.iter().map(|node| node.start).min().unwrap_or_default();
    nodes.iter().map(|node| node.end).max().unwrap_or_default() - start
}

#[cfg(test)]
mod tests;
