//! A block that a merge has replaced stays readable by its ID for the grace period, and longer for readers that have
//! opened it. The disk bound and deletions do not wait for the grace period.

use std::time::Duration;

use spandrel_block::BlockKey;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::engine::EngineError;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{Deletions, TraceStore};

use super::Open;
use super::deletion::{finish, with};
use crate::harness::Harness;
use crate::spans::{BEGIN, HOUR, SECOND, Sent, sent, text, trace_id};

const GRACE: u64 = 10 * SECOND;
const DAY: u64 = 24 * HOUR;

fn with_grace(open: Open) -> Harness {
    let mut harness = open();
    harness.config.replaced_grace = Duration::from_nanos(GRACE);
    harness.restart();
    harness
}

/// Merges a few blocks and returns the replaced ones.
fn merged(harness: &Harness) -> Vec<BlockKey> {
    (1..=3).for_each(|n| harness.append(&[sent(n, 1), sent(4, n).with("user", text("mallory"))]));
    let mut replaced: Vec<BlockKey> =
        harness.engine().catalog_rows().unwrap().into_iter().map(|(key, _)| key).collect();
    replaced.sort();
    harness.store().seal_all();
    assert_eq!(harness.engine().catalog_rows().unwrap().len(), 1, "nothing was merged");
    replaced
}

/// The replaced blocks that are still stored. Asserts that all others are deleted.
fn kept(harness: &Harness, replaced: &[BlockKey]) -> Vec<BlockKey> {
    let mut kept = harness.engine().unreferenced().unwrap();
    kept.sort();
    for key in replaced {
        let read = harness.engine().get_range(key, 0..64);
        match kept.contains(key) {
            true => assert_eq!(read.unwrap().len(), 64),
            false => assert!(matches!(&read, Err(EngineError::NotFound(gone)) if gone == key), "{read:?}"),
        }
    }
    kept
}

/// Replaced blocks stay exactly as long as the grace period, however many rounds of background work run.
pub fn replaced_blocks_stay_for_their_grace(open: Open) {
    let mut harness = with_grace(open);
    let replaced = merged(&harness);
    assert_eq!(kept(&harness, &replaced), replaced);
    harness.clock.advance(GRACE - 1);
    harness.maintain(3);
    assert_eq!(kept(&harness, &replaced), replaced);
    harness.clock.advance(1);
    harness.maintain(1);
    assert_eq!(kept(&harness, &replaced), []);
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(4)).len(), 3));
}

/// The grace period is not durable: a store that opens deletes every block without a catalog row.
pub fn no_grace_outlives_the_process(open: Open) {
    let mut harness = with_grace(open);
    let replaced = merged(&harness);
    harness.restart();
    assert_eq!(kept(&harness, &replaced), []);
    assert_eq!(harness.trace(trace_id(4)).len(), 3);
}

/// A slow reader keeps its blocks beyond the grace period; they are deleted when it ends.
pub fn a_reader_outlives_the_grace(open: Open) {
    let harness = with_grace(open);
    let spans: Vec<Sent> =
        (1..=5000).map(|n| sent(1, n).at(n, 1).with("k", text(&"x".repeat(100)))).collect();
    spans.chunks(1000).for_each(|part| harness.append(part));
    let mut reading = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().unwrap();
    reading.next().unwrap().unwrap();
    harness.store().seal_all();
    harness.clock.advance(GRACE * 10);
    harness.maintain(3);
    assert_eq!(harness.engine().unreferenced().unwrap().len(), 5);
    let damage = reading.damage();
    assert_eq!((reading.count(), damage.blocks()), (4999, 0));
    harness.maintain(1);
    assert_eq!(harness.engine().unreferenced().unwrap(), []);
}

/// A deletion deletes replaced blocks at once, because it is finished only when no file holds the spans. The clock
/// stands still here.
pub fn a_deletion_ends_the_grace(open: Open) {
    let mut harness = with_grace(open);
    let replaced = merged(&harness);
    assert_eq!(kept(&harness, &replaced), replaced);
    let plan = ScanPlan { predicate: with("user", "mallory"), range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    assert_eq!(finish(&harness, &deletion).spans, 3);
    assert_eq!(kept(&harness, &replaced), []);
    // Later merges have a grace period again.
    let replaced = merged_again(&harness);
    assert_eq!(kept(&harness, &replaced), replaced);
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(4)), []));
}

/// Merges a few more blocks and returns the replaced ones.
fn merged_again(harness: &Harness) -> Vec<BlockKey> {
    let known = harness.engine().catalog_rows().unwrap();
    (11..=13).for_each(|n| harness.append(&[sent(n, 1)]));
    let now = harness.engine().catalog_rows().unwrap();
    let mut replaced: Vec<BlockKey> =
        now.into_iter().filter(|row| !known.contains(row)).map(|(key, _)| key).collect();
    replaced.sort();
    harness.store().seal_all();
    replaced
}

/// A deletion waits for the readers of its blocks, whether they or their grace period end first.
pub fn a_deletion_waits_for_readers_and_not_for_the_grace(open: Open) {
    let harness = with_grace(open);
    (1..=3).for_each(|n| harness.append(&[sent(1, n).with("user", text("mallory"))]));
    let reading = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().unwrap();
    harness.store().seal_all();
    let plan = ScanPlan { predicate: with("user", "mallory"), range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    harness.maintain(20);
    let now = harness.store().deletion(&TenantId::default(), deletion.id).unwrap().unwrap();
    assert_eq!(now.finished, None, "somebody reads what it deletes");
    assert_eq!(reading.count(), 3);
    finish(&harness, &deletion);
    assert_eq!(harness.engine().unreferenced().unwrap(), []);
}

/// Blocks that retention removes were not merged, so they are deleted in the same round.
pub fn what_retention_takes_has_no_grace(open: Open) {
    let harness = with_grace(open);
    merged(&harness);
    harness.clock.advance(GRACE);
    harness.maintain(1);
    harness.clock.advance(8 * DAY);
    harness.maintain(1);
    assert_eq!(harness.store().status().span_count, 0);
    assert_eq!(harness.engine().unreferenced().unwrap(), []);
}

/// Above the disk bound replaced blocks are deleted at once, before anything else is removed.
pub fn the_bound_of_the_disk_ends_the_grace(open: Open) {
    let mut harness = with_grace(open);
    harness.config.max_disk_bytes = Some(1);
    harness.restart();
    let replaced = merged(&harness);
    assert_eq!(kept(&harness, &replaced), []);
    assert_eq!(harness.trace(trace_id(4)).len(), 3);
}

/// The grace period also ends if the clock jumps back by at least its length.
pub fn a_clock_that_jumps_back_ends_the_grace(open: Open) {
    let harness = with_grace(open);
    let replaced = merged(&harness);
    harness.clock.set(BEGIN - GRACE + 1);
    harness.maintain(1);
    assert_eq!(kept(&harness, &replaced), replaced, "a small step is none");
    harness.clock.set(BEGIN - GRACE);
    harness.maintain(1);
    assert_eq!(kept(&harness, &replaced), []);
}
