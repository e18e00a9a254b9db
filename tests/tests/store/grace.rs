//! Replaced blocks lose their grace period when the disk is full. In memory, where deleted blocks free their bytes at
//! once and a test sets the free space.

use std::time::Duration;

use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::engine::{BlockStore, EngineError, MemoryEngine};
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{AppendError, Deletions, StoreConfig, TraceStore};
use spandrel_tests::contract::deletion::{finish, with};
use spandrel_tests::harness::{self, Backend, Harness};
use spandrel_tests::spans::{HOUR, SECOND, Sent, decoded, sent, text, trace_id};

const BLOCKS: usize = 4;
const GRACE: Duration = Duration::from_secs(1_000);

fn on(engine: &MemoryEngine, config: StoreConfig) -> Harness {
    let config = StoreConfig { replaced_grace: GRACE, ..config };
    Harness::with(Backend::Memory(engine.clone()), config)
}

fn fill(harness: &Harness, trace: u64) {
    for part in 1..=BLOCKS as u64 {
        let noise = |n: u64| format!("{:x}", (n + part * 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let spans: Vec<Sent> =
            (1..100).map(|n| sent(trace, part * 100 + n).with("k", text(&noise(n)))).collect();
        harness.append(&spans);
    }
}

/// A store with replaced blocks in their grace period; its clock stands still.
fn waiting(engine: &MemoryEngine, config: StoreConfig) -> Harness {
    let harness = on(engine, config);
    fill(&harness, 1);
    harness.store().seal_all();
    harness.maintain(3);
    assert_eq!(engine.unreferenced().unwrap().len(), BLOCKS, "they wait");
    harness
}

/// A store with one window and without replaced blocks, and its size.
fn one_window() -> (MemoryEngine, u64) {
    let engine = MemoryEngine::default();
    let harness = waiting(&engine, harness::config());
    harness.clock.advance(HOUR);
    harness.maintain(1);
    let window = harness.store().status().store_bytes;
    (engine, window)
}

#[test]
fn below_the_reserve_they_go_at_once() {
    let engine = MemoryEngine::default();
    let harness = waiting(&engine, harness::config());
    engine.leave_free(Some(harness.config.reserve_bytes));
    harness.maintain(1);
    assert_eq!(engine.unreferenced().unwrap().len(), BLOCKS, "there is room enough");
    engine.leave_free(Some(harness.config.reserve_bytes - 1));
    assert!(matches!(harness.store().refusal(), Some(AppendError::DiskFull { .. })));
    harness.maintain(1);
    assert_eq!(engine.unreferenced().unwrap(), []);
    assert_eq!(harness.trace(trace_id(1)).len(), 99 * BLOCKS);
}

#[test]
fn below_the_reserve_merges_leave_nothing_behind() {
    let engine = MemoryEngine::default();
    let harness = waiting(&engine, harness::config());
    fill(&harness, 2);
    engine.leave_free(Some(harness.config.reserve_bytes - 1));
    harness.store().seal_all();
    assert_eq!(harness.store().status().fresh_block_count, 0);
    assert_eq!(engine.unreferenced().unwrap(), []);
}

#[test]
fn a_merge_without_room_makes_some() {
    let engine = MemoryEngine::default();
    let harness = waiting(&engine, StoreConfig { reserve_bytes: 0, ..harness::config() });
    engine.leave_free(Some(1));
    harness.maintain(1);
    assert_eq!(engine.unreferenced().unwrap().len(), BLOCKS, "nobody needs room");
    fill(&harness, 2);
    harness.store().seal_all();
    assert_eq!(harness.store().status().fresh_block_count, BLOCKS as u64, "the merge had room");
    assert_eq!(engine.unreferenced().unwrap(), []);
    engine.leave_free(None);
    harness.store().seal_all();
    assert_eq!(harness.store().status().fresh_block_count, 0);
    assert_eq!(engine.unreferenced().unwrap().len(), BLOCKS, "later ones have their grace again");
}

/// A deletion first rewrites blocks, for which it needs room, and then deletes the replaced ones.
#[test]
fn a_rewrite_without_room_makes_some() {
    let engine = MemoryEngine::default();
    let harness = on(&engine, StoreConfig { reserve_bytes: 0, ..harness::config() });
    fill(&harness, 1);
    harness.append(&[sent(2, 1).service("secret")]);
    harness.store().seal_all();
    engine.leave_free(Some(1));
    let plan = ScanPlan { predicate: with("service.name", "secret"), range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    assert_eq!(engine.unreferenced().unwrap().len(), BLOCKS + 1, "they wait");
    harness.maintain(2);
    assert_eq!(harness.store().status().span_count, 99 * BLOCKS as u64 + 1, "the deletion had room");
    assert_eq!(engine.unreferenced().unwrap(), []);
    engine.leave_free(None);
    // A failed job pauses before it is tried again.
    harness.clock.advance(10 * SECOND);
    finish(&harness, &deletion);
}

#[test]
fn a_write_without_room_makes_some() {
    let engine = MemoryEngine::default();
    let harness = waiting(&engine, harness::config());
    engine.fail_commits(Some(EngineError::no_space("on purpose")));
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(2, 1)])]);
    assert!(matches!(refused, Err(AppendError::DiskFull { .. })), "{refused:?}");
    harness.maintain(1);
    assert_eq!(engine.unreferenced().unwrap(), []);
}

/// Replaced blocks count as stored. They are deleted before any window, which stays if that makes enough room.
#[test]
fn no_window_goes_for_what_is_replaced() {
    let (engine, window) = one_window();
    // Room for both windows, but not also for the replaced blocks of one.
    let config = StoreConfig { max_disk_bytes: Some(window * 5 / 2), ..harness::config() };
    let mut harness = on(&engine, config);
    harness.clock.advance(2 * HOUR);
    fill(&harness, 2);
    harness.store().seal_all();
    harness.maintain(5);
    assert_eq!(engine.unreferenced().unwrap(), []);
    assert!(harness.store().status().store_bytes <= window * 5 / 2);
    harness.whatever_happens(|harness| {
        let found = [1, 2].map(|trace| harness.trace(trace_id(trace)).len());
        assert_eq!(found, [99 * BLOCKS; 2], "a window went for what was replaced");
    });
}

/// A failed delete is tried again, for space and privacy, and a deletion does not finish before it succeeds.
#[test]
fn a_delete_that_fails_is_tried_again() {
    let engine = MemoryEngine::default();
    let harness = waiting(&engine, harness::config());
    engine.fail_deletes(Some(EngineError::no_space("full")));
    let plan = ScanPlan { predicate: with("k", "nothing"), range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    harness.clock.advance(GRACE.as_nanos() as u64);
    harness.maintain(5);
    assert_eq!(engine.unreferenced().unwrap().len(), BLOCKS, "it failed");
    let is_done = || {
        let known = harness.store().deletion(&TenantId::default(), deletion.id).unwrap();
        known.unwrap().finished.is_some()
    };
    assert!(!is_done());
    engine.fail_deletes(None);
    harness.clock.advance(10 * SECOND);
    harness.maintain(5);
    assert_eq!((engine.unreferenced().unwrap().len(), is_done()), (0, true));
}

/// Blocks that cannot be deleted do not protect windows: the oldest is removed, and then appends are refused.
#[test]
fn the_bound_of_the_disk_does_not_wait_for_a_delete_that_fails() {
    let (engine, window) = one_window();
    let config = StoreConfig { max_disk_bytes: Some(window * 3 / 2), ..harness::config() };
    let harness = on(&engine, config);
    harness.clock.advance(2 * HOUR);
    engine.fail_deletes(Some(EngineError::damaged("a table")));
    fill(&harness, 2);
    harness.store().seal_all();
    for _ in 0..10 {
        harness.clock.advance(10 * SECOND);
        harness.maintain(1);
    }
    assert_eq!([1, 2].map(|trace| harness.trace(trace_id(trace)).len()), [0, 99 * BLOCKS]);
    assert!(matches!(harness.store().refusal(), Some(AppendError::DiskFull { .. })));
    engine.fail_deletes(None);
    for _ in 0..10 {
        harness.clock.advance(10 * SECOND);
        harness.maintain(1);
    }
    assert_eq!(engine.unreferenced().unwrap(), []);
    assert!(harness.store().refusal().is_none());
}
