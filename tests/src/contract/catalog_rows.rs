//! Unreadable rows of the catalog are rebuilt from their blocks, or keep the store from opening.

use spandrel_block::{BlockKey, CatalogRow, record};
use spandrel_proto::TenantId;
use spandrel_storage::TraceStore;
use spandrel_storage::check::check;
use spandrel_storage::engine::{Change, EngineError};
use spandrel_storage::plan::Predicate;

use super::Open;
use crate::harness::Harness;
use crate::spans::{HOUR, Sent, sent, trace_id};

/// A sealed block and a fresh one, each with one trace, in two windows.
fn two_blocks(open: Open) -> Harness {
    let harness = open();
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.clock.advance(HOUR);
    harness.append(&spans(2));
    harness
}

fn spans(trace: u64) -> Vec<Sent> {
    (1..=40).map(|n| sent(trace, n).service(if n % 2 == 0 { "cart" } else { "shop" }).at(n, 1)).collect()
}

fn rows(harness: &Harness) -> Vec<(BlockKey, Vec<u8>)> {
    harness.engine().catalog_rows().unwrap()
}

/// The test damages every row in several ways, one after the other.
pub fn a_row_follows_from_its_block(open: Open) {
    let mut harness = two_blocks(open);
    for (at, (key, row)) in rows(&harness).into_iter().enumerate() {
        for damaged in [&flipped(&row, 0), &flipped(&row, 5), &flipped(&row, row.len() - 1), &row[..7], &[]] {
            harness.engine().put_catalog_row(&key, damaged).unwrap();
            harness.restart();
            let what = format!("row {at}, {} of {} bytes", damaged.len(), row.len());
            assert_eq!(harness.store().status().damaged_records, 1, "{what}: it is told");
            assert_eq!(rows(&harness)[at], (key.clone(), row.clone()), "{what}: it is not what it was");
            assert_eq!(
                (harness.trace(trace_id(1)), harness.trace(trace_id(2))),
                (spans(1), spans(2)),
                "{what}"
            );
            assert_eq!(harness.find(Predicate::All).len(), 2, "{what}");
            let report = check(&**harness.engine(), &mut |_| true).unwrap();
            assert!(report.is_fine(), "{what}: {report:?}");
            harness.restart();
            assert_eq!(harness.store().status().damaged_records, 0, "{what}: it is damaged no more");
        }
    }
    harness.store().seal_all();
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(2)), spans(2)));
}

fn flipped(row: &[u8], at: usize) -> Vec<u8> {
    let mut row = row.to_vec();
    row[at] ^= 1;
    row
}

/// Without the block the store cannot tell which answers lack spans, nor which spans a deletion has to remove.
pub fn a_row_whose_block_is_gone_keeps_the_store_closed(open: Open) {
    let mut harness = two_blocks(open);
    let (key, row) = rows(&harness).pop().unwrap();
    let change =
        Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![], removes: vec![key.block] };
    harness.engine().commit(&change).unwrap();
    harness.engine().delete_blocks(std::slice::from_ref(&key)).unwrap();
    harness.engine().put_catalog_row(&key, &row[1..]).unwrap();
    let why = harness.try_restart().unwrap_err();
    assert!(why.contains("`spandrel repair`") && why.contains(&format!("block {}:", key.block.0)), "{why}");
}

/// Removing must not need the row: a restore replaces blocks without reading their rows.
pub fn a_block_without_a_readable_row_can_be_removed(open: Open) {
    let harness = two_blocks(open);
    let engine = harness.engine();
    for (key, row) in rows(&harness) {
        engine.put_catalog_row(&key, &row[1..]).unwrap();
        let (tenant, hour) = (key.tenant.clone(), key.hour);
        engine.commit(&Change { tenant, hour, adds: vec![], removes: vec![key.block] }).unwrap();
    }
    let mut removed = engine.unreferenced().unwrap();
    removed.sort();
    assert_eq!(removed.len(), 2);
    engine.delete_blocks(&removed).unwrap();
    for key in &removed {
        assert!(
            matches!(engine.get_range(key, 0..1), Err(EngineError::NotFound(missing)) if missing == *key)
        );
        assert_eq!(engine.read_prefix(key).unwrap(), [0u8; 0][..]);
    }
    assert!(!engine.stored_blocks().unwrap().iter().any(|key| removed.contains(key)));
}

/// A newer row is not damage, and must not be overwritten.
pub fn a_newer_row_is_refused(open: Open) {
    let mut harness = two_blocks(open);
    let (key, row) = rows(&harness).pop().unwrap();
    let newer = record::encode(9, &CatalogRow::decode(&row).unwrap()).unwrap();
    harness.engine().put_catalog_row(&key, &newer).unwrap();
    let engine = harness.engine().clone();
    let opened =
        spandrel_storage::BlockTraceStore::open(engine, harness.clock.clone(), harness.config.clone());
    let why = opened.err().unwrap().to_string();
    assert!(why.contains("newer Spandrel") && why.contains(&key.block.0.to_string()), "{why}");
    assert_eq!(rows(&harness).pop(), Some((key.clone(), newer)));
    harness.engine().put_catalog_row(&key, &row).unwrap();
    harness.restart();
    assert_eq!(harness.trace_for(&TenantId::default(), trace_id(2)), spans(2));
}
