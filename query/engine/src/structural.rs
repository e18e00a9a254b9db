//! Relations between spans in the tree of a trace, each in one pass over its rows.

use std::ops::Range;

use spandrel_traceql::ast::{Relation, StructuralResult};

use crate::tree::Tree;

/// The rows that a structural operator returns, ascending. Both sides have rows of one trace, whose rows are `trace`.
pub(crate) fn join(
    tree: &Tree<'_>,
    trace: &Range<usize>,
    relation: Relation,
    result: StructuralResult,
    left: Vec<u32>,
    right: Vec<u32>,
) -> Vec<u32> {
    let parents = Parents { tree, trace };
    let below = parents.related(relation, &left, &right);
    match result {
        StructuralResult::Right => below,
        StructuralResult::RightWithout => {
            right.into_iter().filter(|row| below.binary_search(row).is_err()).collect()
        }
        StructuralResult::Both => {
            let mut both = parents.related(inverse(relation), &right, &left);
            both.extend(below);
            both.sort_unstable();
            both.dedup();
            both
        }
    }
}

/// The relation seen from the other side.
fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

/// The parents of the rows of one trace. Rows are counted from its first one.
struct Parents<'t> {
    tree: &'t Tree<'t>,
    trace: &'t Range<usize>,
}

// === impl Parents ===

impl Parents<'_> {
    /// The rows of the right side that are in the relation to a row of the left side, ascending.
    fn related(&self, relation: Relation, left: &[u32], right: &[u32]) -> Vec<u32> {
        if left.is_empty() || right.is_empty() {
            return Vec::new();
        }
        let own = |row: &u32| *row as usize - self.trace.start;
        let mut is_left = vec![false; self.trace.len()];
        left.iter().for_each(|row| is_left[own(row)] = true);
        let holds = match relation {
            Relation::Child => self.children(&is_left),
            Relation::Parent => self.parents(&is_left),
            Relation::Descendant => self.descendants(&is_left),
            Relation::Ancestor => self.ancestors(&is_left),
            Relation::Sibling => self.siblings(&is_left),
        };
        right.iter().copied().filter(|row| holds[own(row)]).collect()
    }

    fn of(&self, row: usize) -> Option<usize> {
        self.tree.parent(self.trace.start + row).map(|parent| parent - self.trace.start)
    }

    fn children(&self, of: &[bool]) -> Vec<bool> {
        (0..of.len()).map(|row| self.of(row).is_some_and(|parent| of[parent])).collect()
    }

    fn parents(&self, of: &[bool]) -> Vec<bool> {
        let mut parents = vec![false; of.len()];
        for row in (0..of.len()).filter(|row| of[*row]) {
            if let Some(parent) = self.of(row) {
                parents[parent] = true;
            }
        }
        parents
    }

    fn descendants(&self, of: &[bool]) -> Vec<bool> {
        let mut below: Vec<Option<bool>> = vec![None; of.len()];
        let mut path = Vec::new();
        for row in 0..of.len() {
            // Up to a row that is known, and down again.
            let mut at = Some(row);
            while let Some(row) = at.filter(|row| below[*row].is_none()) {
                path.push(row);
                at = self.of(row);
            }
            while let Some(row) = path.pop() {
                let is_below = |parent: usize| of[parent] || below[parent] == Some(true);
                below[row] = Some(self.of(row).is_some_and(is_below));
            }
        }
        below.into_iter().map(|below| below == Some(true)).collect()
    }

    fn ancestors(&self, of: &[bool]) -> Vec<bool> {
        let mut above = vec![false; of.len()];
        for row in (0..of.len()).filter(|row| of[*row]) {
            let mut at = self.of(row);
            while let Some(parent) = at.filter(|parent| !above[*parent]) {
                above[parent] = true;
                at = self.of(parent);
            }
        }
        above
    }

    /// A span is not its own sibling, and spans without a parent have none.
    fn siblings(&self, of: &[bool]) -> Vec<bool> {
        let mut children = vec![0u32; of.len()];
        for row in (0..of.len()).filter(|row| of[*row]) {
            if let Some(parent) = self.of(row) {
                children[parent] += 1;
            }
        }
        let others = |row: usize| self.of(row).is_some_and(|parent| children[parent] > u32::from(of[row]));
        (0..of.len()).map(others).collect()
    }
}
