//! The tree of one trace, from the columns of its table: parents, the walk down, the root, and where segments begin.
//!
//! No function recurses, so a chain of a million spans cannot overflow the stack.

pub mod parents;

use rustc_hash::FxHashMap;
use spandrel_proto::SpanId;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::semantics::{RootCandidate, root_of};
use spandrel_storage::table::{AttributeLevel, ColumnName, SpanTable, Value, ValueColumn};

use parents::{NamedParent, Node, Place};

/// The tree of a table with the rows of one trace, sorted by (start, span ID).
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The row of each row's parent.
    places: Vec<Option<u32>>,
    /// Every row, parents before children, siblings by start.
    walk: Vec<u32>,
    child_counts: Vec<u32>,
    /// The number of each row when the tree is walked down and up again, from 1.
    left: Vec<u64>,
    right: Vec<u64>,
    root: usize,
    duration: u64,
    /// Whether each row is the first of its segment.
    entries: Vec<bool>,
}

/// Bit of a span's flags: [`IS_REMOTE`] is valid.
const HAS_IS_REMOTE: i64 = 0x100;
/// Bit of a span's flags: the parent is remote.
const IS_REMOTE: i64 = 0x200;

// === impl Tree ===

impl Tree {
    /// Builds the tree; `columns` are those of the table.
    pub(crate) fn of(table: &SpanTable, columns: &[ColumnName]) -> Self {
        let identities = identities(table, columns);
        let nodes: Vec<Node> = (0..table.rows()).map(|row| node(table, row, identities[row])).collect();
        let places: Vec<Option<u32>> = parents::resolve(&nodes)
            .into_iter()
            .map(|place| if let Place::Below(parent) = place { Some(parent) } else { None })
            .collect();
        let mut tree = Self { root: root(&nodes), duration: duration(&nodes), places, ..Self::default() };
        tree.walk_down();
        let flags = column(table, columns, &ColumnName::Flags);
        tree.entries = (0..nodes.len()).map(|row| tree.begins_segment(row, flags, &nodes)).collect();
        tree
    }

    /// Numbers the rows by a walk down each tree and up again.
    fn walk_down(&mut self) {
        let count = self.places.len();
        self.child_counts = vec![0; count];
        self.places.iter().flatten().for_each(|parent| self.child_counts[*parent as usize] += 1);
        // Children by parent, each list by start, since rows are sorted by it.
        let mut begins = vec![0u32; count + 1];
        for (row, children) in self.child_counts.iter().enumerate() {
            begins[row + 1] = begins[row] + children;
        }
        let (mut next, mut children) = (begins.clone(), vec![0u32; begins[count] as usize]);
        for (row, parent) in self.places.iter().enumerate() {
            if let Some(parent) = parent {
                children[next[*parent as usize] as usize] = row as u32;
                next[*parent as usize] += 1;
            }
        }
        (self.left, self.right) = (vec![0; count], vec![0; count]);
        let mut number = 0;
        // A row on the stack is entered at its first visit, and left at its second.
        let mut stack = self.tops();
        stack.reverse();
        while let Some(&row) = stack.last() {
            let at = row as usize;
            number += 1;
            if self.left[at] > 0 {
                self.right[at] = number;
                stack.pop();
                continue;
            }
            self.left[at] = number;
            self.walk.push(row);
            stack.extend(children[begins[at] as usize..begins[at + 1] as usize].iter().rev());
        }
    }

    /// The rows without a parent; that of the tree with the root comes first.
    fn tops(&self) -> Vec<u32> {
        let mut first = self.root;
        while let Some(parent) = self.places.get(first).copied().flatten() {
            first = parent as usize;
        }
        let mut tops: Vec<u32> =
            (0u32..).zip(&self.places).filter(|(_, p)| p.is_none()).map(|(row, _)| row).collect();
        tops.sort_by_key(|row| *row as usize != first);
        tops
    }

    /// Whether a row is outside of its parent's segment (`docs/semantics.md#segment`).
    fn begins_segment(&self, row: usize, flags: Option<&ValueColumn>, nodes: &[Node]) -> bool {
        let Some(parent) = self.parent(row) else { return true };
        let enters = matches!(nodes[row].kind, SpanKind::Server | SpanKind::Consumer);
        let flags = flags.and_then(|column| Some(&column.values[column.codes.of_row(row).last()?]));
        let parent_is_local =
            matches!(flags, Some(Value::Int(flags)) if flags & (HAS_IS_REMOTE | IS_REMOTE) == HAS_IS_REMOTE);
        nodes[row].identity != nodes[parent].identity || enters && !parent_is_local
    }

    pub(crate) fn parent(&self, row: usize) -> Option<usize> {
        self.places[row].map(|parent| parent as usize)
    }

    /// The parent of each row.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        self.places.iter().map(|parent| parent.map(|parent| parent as usize))
    }

    /// Every row, parents before children.
    pub(crate) fn walk(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.walk.iter().map(|row| *row as usize)
    }

    pub(crate) fn child_count(&self, row: usize) -> u64 {
        u64::from(self.child_counts[row])
    }

    pub(crate) fn left(&self, row: usize) -> u64 {
        self.left[row]
    }

    pub(crate) fn right(&self, row: usize) -> u64 {
        self.right[row]
    }

    pub(crate) fn root(&self) -> usize {
        self.root
    }

    pub(crate) fn duration(&self) -> u64 {
        self.duration
    }

    pub(crate) fn is_entry(&self, row: usize) -> bool {
        self.entries[row]
    }
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
    let mut known: FxHashMap<[usize; 3], u32> = FxHashMap::default();
    (0..table.rows())
        .map(|row| {
            let code = |at: usize| parts[at].and_then(|column| column.codes.of_row(row).last());
            let code = |at| code(at).map_or(0, |code| code + 1);
            let service = table.classes.classes[table.class[row] as usize].service as usize;
            let next = known.len() as u32;
            *known.entry([service, code(0), code(1)]).or_insert(next)
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
