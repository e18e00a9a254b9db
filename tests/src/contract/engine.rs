//! The contract of every engine with the store above it.
// Clippy takes a list of one range for a mistake.
#![allow(clippy::single_range_in_vec_init)]

use std::sync::Arc;

use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::TenantId;
use spandrel_storage::Engine;
use spandrel_storage::engine::{Change, EngineError, NewBlock};

use super::Open;
use crate::spans::{sent, trace_id};

/// A harness with one stored block, the block, and an empty change of its window.
fn one_block(open: Open) -> (crate::harness::Harness, BlockKey, Vec<u8>, Change) {
    let harness = open();
    harness.append(&[sent(1, 1)]);
    let (key, row) = harness.engine().catalog_rows().unwrap().pop().unwrap();
    let change = Change { tenant: key.tenant.clone(), hour: key.hour, adds: Vec::new(), removes: Vec::new() };
    (harness, key, row, change)
}

fn block(id: u64, row: &[u8]) -> NewBlock {
    NewBlock {
        id: BlockId(id),
        bytes: vec![id as u8; 100_000].into(),
        row: row.to_vec(),
        short_lived: false,
        index: vec![(trace_id(id), spandrel_block::RowRange { first: 0, rows: 1 })],
    }
}

/// Adds never conflict. Removes conflict if the row is already removed or was never there.
pub fn a_commit_needs_the_rows_that_it_removes(open: Open) {
    let (harness, key, row, change) = one_block(open);
    let engine: &Arc<dyn Engine> = harness.engine();
    let replace = |old: u64, new: u64| Change {
        adds: vec![block(new, &row)],
        removes: vec![BlockId(old)],
        ..change.clone()
    };
    engine.commit(&replace(key.block.0, 100)).unwrap();
    assert!(matches!(engine.commit(&replace(key.block.0, 101)), Err(EngineError::Conflict)));
    assert!(matches!(engine.commit(&replace(999, 102)), Err(EngineError::Conflict)));
    let elsewhere = Change { hour: Hour(key.hour.0 + 1), ..replace(100, 103) };
    assert!(matches!(engine.commit(&elsewhere), Err(EngineError::Conflict)));
    let foreign = Change { tenant: TenantId::new("other").unwrap(), ..replace(100, 104) };
    assert!(matches!(engine.commit(&foreign), Err(EngineError::Conflict)));
    let blocks: Vec<u64> = engine.catalog_rows().unwrap().into_iter().map(|(key, _)| key.block.0).collect();
    assert_eq!(blocks, [100]);
    engine.commit(&replace(100, 105)).unwrap();
}

/// A failed commit has applied none of its removes, blocks and index rows.
pub fn a_failed_commit_leaves_nothing(open: Open) {
    let (harness, key, row, change) = one_block(open);
    let engine = harness.engine();
    let broken =
        Change { adds: vec![block(100, &row)], removes: vec![key.block, BlockId(999)], ..change.clone() };
    assert!(matches!(engine.commit(&broken), Err(EngineError::Conflict)));
    assert_eq!(engine.catalog_rows().unwrap(), [(key.clone(), row.clone())]);
    assert_eq!(engine.unreferenced().unwrap(), []);
    assert_eq!(engine.find_trace(&key.tenant, trace_id(100)).unwrap(), []);
    let missing = change.key(BlockId(100));
    assert!(matches!(engine.get_ranges(&missing, &[0..10]), Err(EngineError::NotFound(_))));
}

/// Readers may still use blocks that a merge has replaced.
pub fn removed_blocks_stay_readable_until_they_are_deleted(open: Open) {
    let (harness, key, row, change) = one_block(open);
    let engine = harness.engine();
    engine.commit(&Change { adds: vec![block(100, &row), block(101, &row)], ..change.clone() }).unwrap();
    engine.commit(&Change { removes: vec![BlockId(100), key.block], ..change.clone() }).unwrap();
    let removed = change.key(BlockId(100));
    let parts = engine.get_ranges(&removed, &[65_000..66_000, 0..1, 99_999..100_000]).unwrap();
    assert_eq!(parts.iter().map(bytes::Bytes::len).collect::<Vec<_>>(), [1000, 1, 1]);
    assert!(parts.iter().flatten().all(|byte| *byte == 100));
    let mut waiting = engine.unreferenced().unwrap();
    waiting.sort();
    assert_eq!(waiting, [removed.clone(), key.clone()]);
    engine.delete_blocks(&waiting).unwrap();
    engine.delete_blocks(&waiting).unwrap();
    assert_eq!(engine.unreferenced().unwrap(), []);
    // A block is deleted as a whole, although its catalog row names fewer bytes than were written.
    assert!(matches!(engine.get_ranges(&removed, &[0..10]), Err(EngineError::NotFound(_))));
    assert_eq!(engine.get_ranges(&change.key(BlockId(101)), &[0..10]).unwrap()[0], vec![101; 10]);
}

/// Reading an unknown block is an error with its key; deleting one is no error.
pub fn unknown_blocks_are_named(open: Open) {
    let (harness, key, _, _) = one_block(open);
    let unknown = BlockKey { block: BlockId(999), ..key };
    let error = harness.engine().get_ranges(&unknown, &[0..1]).unwrap_err();
    assert!(matches!(&error, EngineError::NotFound(key) if *key == unknown), "{error:?}");
    harness.engine().delete_blocks(&[unknown]).unwrap();
}

/// A lookup of many traces has what lookups of each have, whatever lies between them and whose it is.
pub fn many_traces_are_found_like_one(open: Open) {
    let (harness, key, row, change) = one_block(open);
    let engine = harness.engine();
    let with = |id: u64, traces: &[u64]| NewBlock {
        index: traces
            .iter()
            .map(|n| (trace_id(*n), spandrel_block::RowRange { first: *n as u32, rows: 1 }))
            .collect(),
        ..block(id, &row)
    };
    let every: Vec<u64> = (1..=100).collect();
    let odd: Vec<u64> = (1..=100).filter(|n| n % 2 > 0).collect();
    engine.commit(&Change { adds: vec![with(100, &every), with(101, &odd)], ..change.clone() }).unwrap();
    let foreign = Change { tenant: TenantId::new("other").unwrap(), ..change.clone() };
    engine.commit(&Change { adds: vec![with(102, &[5, 50, 200])], ..foreign.clone() }).unwrap();
    for tenant in [&key.tenant, &foreign.tenant] {
        for wanted in [(0..=220).collect(), vec![0, 1, 3, 50, 51, 99, 100, 101, 200, 300], vec![300], vec![]]
        {
            let traces: Vec<_> = wanted.iter().map(|n| trace_id(*n)).collect();
            let each = traces.iter().enumerate().flat_map(|(at, trace)| {
                let found = engine.find_trace(tenant, *trace).unwrap();
                found.into_iter().map(move |(block, rows)| (at, block, rows))
            });
            assert_eq!(engine.find_traces(tenant, &traces).unwrap(), each.collect::<Vec<_>>(), "{wanted:?}");
        }
    }
}
