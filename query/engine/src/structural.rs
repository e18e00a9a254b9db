//! Relations between spans in the tree of a trace, each in one pass over its rows.

use spandrel_traceql::ast::{Relation, StructuralResult};

use crate::tree::Tree;

/// The rows that a structural operator returns, ascending.
pub(crate) fn join(
    tree: &Tree,
    relation: Relation,
    result: StructuralResult,
    left: Vec<u32>,
    right: Vec<u32>,
) -> Vec<u32> {
    let below = related(tree, relation, &left, &right);
    match result {
        StructuralResult::Right => below,
        StructuralResult::RightWithout => {
            right.into_iter().filter(|row| below.binary_search(row).is_err()).collect()
        }
        StructuralResult::Both => {
            let mut both = related(tree, inverse(relation), &right, &left);
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

/// The rows of the right side that are in the relation to a row of the left side, ascending.
fn related(tree: &Tree, relation: Relation, left: &[u32], right: &[u32]) -> Vec<u32> {
    if left.is_empty() || right.is_empty() {
        return Vec::new();
    }
    let count = tree.parents().count();
    let mut is_left = vec![false; count];
    left.iter().for_each(|row| is_left[*row as usize] = true);
    let holds = match relation {
        Relation::Child => children(tree, &is_left),
        Relation::Parent => parents(tree, &is_left),
        Relation::Descendant => descendants(tree, &is_left),
        Relation::Ancestor => ancestors(tree, &is_left),
        Relation::Sibling => siblings(tree, &is_left),
    };
    right.iter().copied().filter(|row| holds[*row as usize]).collect()
}

fn children(tree: &Tree, of: &[bool]) -> Vec<bool> {
    tree.parents().map(|parent| parent.is_some_and(|parent| of[parent])).collect()
}

fn parents(tree: &Tree, of: &[bool]) -> Vec<bool> {
    let mut parents = vec![false; of.len()];
    for (row, parent) in tree.parents().enumerate() {
        if let Some(parent) = parent {
            parents[parent] |= of[row];
        }
    }
    parents
}

fn descendants(tree: &Tree, of: &[bool]) -> Vec<bool> {
    let mut below = vec![false; of.len()];
    for row in tree.walk() {
        below[row] = tree.parent(row).is_some_and(|parent| of[parent] || below[parent]);
    }
    below
}

fn ancestors(tree: &Tree, of: &[bool]) -> Vec<bool> {
    let mut above = vec![false; of.len()];
    for row in tree.walk().rev() {
        if let Some(parent) = tree.parent(row) {
            above[parent] |= of[row] || above[row];
        }
    }
    above
}

/// A span is not its own sibling, and spans without a parent have none.
fn siblings(tree: &Tree, of: &[bool]) -> Vec<bool> {
    let mut children = vec![0u32; of.len()];
    for (row, parent) in tree.parents().enumerate() {
        if let Some(parent) = parent {
            children[parent] += u32::from(of[row]);
        }
    }
    let others = |(row, parent): (usize, Option<usize>)| {
        parent.is_some_and(|parent| children[parent] > u32::from(of[row]))
    };
    tree.parents().enumerate().map(others).collect()
}
