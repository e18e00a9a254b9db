//! After a purge RocksDB's files contain nothing of a deletion, even if its rows share files with others.

use std::sync::Arc;
use std::time::Duration;

use spandrel_proto::{TenantId, TimeRange};
use spandrel_rocks::Durability;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{Deletions, StoreConfig, TraceStore};
use spandrel_tests::contract::deletion::{finish, with};
use spandrel_tests::forensics::files_with;
use spandrel_tests::harness::{Backend, Harness, config};
use spandrel_tests::spans::{HOUR, Sent, sent, text, trace_id};

const MARKER: &str = "mallory-7Kq2xW";

fn marked(trace: u64, span: u64) -> Sent {
    sent(trace, span).name(MARKER).with("user", text(MARKER)).service(&format!("of {MARKER}"))
}

/// Blocks of other tenants and windows share files with the deleted ones. Some of them are flushed, some are not, and
/// some rows are in lower levels.
#[test]
fn neighbours_in_a_file_are_moved_away() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    // A grace period far longer than the test: a purge must not wait for it.
    let config = StoreConfig { replaced_grace: Duration::from_secs(30 * 24 * 3600), ..config() };
    let mut harness = Harness::with(Backend::Rocks(directory.clone(), Durability::Sync), config);
    let others: Vec<TenantId> = (0..3).map(|n| TenantId::new(&format!("other-{n}")).unwrap()).collect();
    for window in 0..4 {
        for (n, other) in others.iter().enumerate() {
            let spans: Vec<Sent> =
                (1..200).map(|span| sent(window * 10 + n as u64 + 1, span).with("k", text("v"))).collect();
            harness.append_for(other, &spans);
        }
        harness.append(&[sent(1, window + 1), marked(100 + window, 1), marked(200, window + 1)]);
        harness.store().seal_all();
        match window {
            0 => harness.engine().flush().unwrap(),
            1 => harness.restart(),
            2 => harness.engine().compact().unwrap(),
            _ => {}
        }
        harness.clock.advance(HOUR);
    }
    assert!(!files_with(directory.path(), MARKER).is_empty(), "this test would not find it anyway");
    // A reader of a deleted trace reads it to its end, and the deletion waits.
    let mut reading = harness.store().trace(&TenantId::default(), trace_id(200)).unwrap().unwrap();
    let plan = ScanPlan { predicate: with("user", MARKER), range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    harness.maintain(20);
    assert!(harness.store().deletion(&TenantId::default(), deletion.id).unwrap().unwrap().finished.is_none());
    assert_eq!(reading.by_ref().count(), 4);
    drop(reading);
    assert_eq!(finish(&harness, &deletion).spans, 8);
    for _ in 0..2 {
        assert!(files_with(directory.path(), MARKER).is_empty());
        for (n, other) in others.iter().enumerate() {
            for window in 0..4 {
                assert_eq!(harness.trace_for(other, trace_id(window * 10 + n as u64 + 1)).len(), 199);
            }
        }
        assert_eq!(harness.trace(trace_id(1)).len(), 4);
        harness.restart();
    }
}
