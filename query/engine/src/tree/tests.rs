//! Trees of small tables: parents, the walk, the root and where segments begin.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use spandrel_proto::TraceId;
use spandrel_storage::RowFlags;
use spandrel_storage::table::{Classes, Codes, SpanClass};

use super::*;

/// A table of spans (ID, parent, kind, service), which start one after the other.
fn table(spans: &[(u64, u64, u8, u32)]) -> SpanTable {
    let class = |(_, parent, kind, service): &(u64, u64, u8, u32)| SpanClass {
        service: *service,
        name: 0,
        flags: RowFlags(kind | u8::from(*parent > 0) << 6),
    };
    let classes = Classes {
        services: vec!["shop".to_owned(), "cart".to_owned()],
        names: vec!["work".to_owned()],
        classes: spans.iter().map(class).collect(),
    };
    SpanTable {
        traces: vec![(TraceId::from_bytes([1; 16]), spans.len() as u32)],
        class: (0..spans.len() as u32).collect(),
        classes: Arc::new(classes),
        start: (0..spans.len() as u64).map(|at| 100 + at).collect(),
        duration: spans.iter().map(|_| 50).collect(),
        span_id: spans.iter().map(|span| span.0).collect(),
        parent_id: spans.iter().map(|span| span.1).collect(),
        columns: Vec::new(),
    }
}

const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

#[test]
fn a_walk_numbers_the_spans() {
    let spans = table(&[(1, 0, SERVER, 0), (2, 1, INTERNAL, 0), (3, 2, INTERNAL, 0), (4, 1, SERVER, 1)]);
    let tree = Tree::of(&spans, &[]);
    let numbers: Vec<_> = (0..4).map(|row| (tree.left(row), tree.right(row), tree.parent(row))).collect();
    assert_eq!(numbers, [(1, 8, None), (2, 5, Some(0)), (3, 4, Some(1)), (6, 7, Some(0))]);
    assert_eq!((0..4).map(|row| tree.child_count(row)).collect::<Vec<_>>(), [2, 1, 0, 0]);
    assert_eq!((tree.root(2), tree.duration(3)), (0, 53));
    assert_eq!((0..4).map(|row| tree.is_entry(row)).collect::<Vec<_>>(), [true, false, false, true]);
}

#[test]
fn flags_say_that_a_server_is_local() {
    let mut spans = table(&[(1, 0, SERVER, 0), (2, 1, SERVER, 0), (3, 1, SERVER, 0)]);
    let column = |codes| ValueColumn {
        values: Arc::new(vec![Value::Int(0x100), Value::Int(0x300)]),
        codes,
        list: None,
    };
    spans.columns = vec![column(Codes::One(vec![0, 1, 2]))];
    let tree = Tree::of(&spans, &[ColumnName::Flags]);
    assert_eq!((0..3).map(|row| tree.is_entry(row)).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn cycles_are_cut_and_a_long_chain_is_no_recursion() {
    let cycle = table(&[(1, 2, INTERNAL, 0), (2, 1, INTERNAL, 0)]);
    let tree = Tree::of(&cycle, &[]);
    assert_eq!((tree.parent(0), tree.parent(1)), (None, Some(0)));
    let chain: Vec<_> = (1..200_000u64).map(|id| (id, id - 1, INTERNAL, 0)).collect();
    let chain = table(&chain);
    let tree = Tree::of(&chain, &[]);
    assert_eq!((tree.left(199_998), tree.right(0)), (199_999, 2 * 199_999));
}
