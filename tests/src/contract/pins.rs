//! A pinned trace outlives retention and never a deletion.

use spandrel_proto::TenantId;
use spandrel_storage::plan::Predicate;
use spandrel_storage::{Pins, TraceStore};

use super::Open;
use super::deletion::{begin, finish, ids};
use crate::spans::{HOUR, MINUTE, sent, trace_id};

const DAY: u64 = 24 * HOUR;

/// Retention removes only the rest of a pinned trace's windows. A deletion also removes pinned traces.
pub fn pinned_traces_stay(open: Open) {
    let mut harness = open();
    let tenant = TenantId::default();
    assert_eq!(harness.store().pin(&tenant, trace_id(1)).unwrap(), None, "there is nothing to pin");
    for window in 1..4 {
        harness.append(&[sent(1, window), sent(2, window), sent(10 + window, 1)]);
        harness.clock.advance(HOUR);
    }
    let since = harness.store().pin(&tenant, trace_id(1)).unwrap().unwrap();
    harness.clock.advance(MINUTE);
    assert_eq!(harness.store().pin(&tenant, trace_id(1)).unwrap(), Some(since), "pinned once");
    harness.clock.advance(8 * DAY);
    harness.maintain(2);
    harness.whatever_happens(|harness| {
        assert_eq!(ids(harness), [1]);
        assert_eq!(harness.trace(trace_id(1)).len(), 3);
        assert_eq!(harness.store().pins(&tenant), [(trace_id(1), since)]);
    });
    assert!(harness.store().unpin(&tenant, trace_id(1)).unwrap());
    assert!(!harness.store().unpin(&tenant, trace_id(1)).unwrap());
    harness.maintain(2);
    assert_eq!(ids(&harness), [0; 0]);
    assert_eq!(harness.store().status().span_count, 0);
    harness.append(&[sent(5, 1)]);
    harness.store().pin(&tenant, trace_id(5)).unwrap();
    let deletion = begin(&harness, Predicate::All);
    finish(&harness, &deletion);
    assert_eq!(harness.store().pins(&tenant), []);
    assert_eq!(ids(&harness), [0; 0]);
}
