//! Windows follow the clock and are removed as a whole, and their space on disk is freed.

use std::time::Duration;

use spandrel_block::{BlockKey, Hour};
use spandrel_proto::{TenantId, UnixNanos};
use spandrel_storage::plan::Predicate;
use spandrel_storage::{TenantRetention, TraceStore};

use super::Open;
use crate::harness::Harness;
use crate::spans::{BEGIN, HOUR, Sent, sent, text, trace_id};

const DAY: u64 = 24 * HOUR;

fn hours(harness: &Harness) -> Vec<u64> {
    let mut keys: Vec<BlockKey> =
        harness.engine().catalog_rows().unwrap().into_iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.into_iter().map(|key| u64::from(key.hour.0)).collect()
}

/// The age of a window counts from the hour of arrival; times of spans do not matter.
pub fn windows_go_by_arrival(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1).times(u64::MAX - 5, u64::MAX), sent(2, 1)]);
    harness.clock.advance(HOUR);
    harness.append(&[sent(3, 1).times(1, 2), sent(2, 2)]);
    // The last nanosecond of the first window is not old enough yet.
    harness.clock.set(BEGIN + HOUR + 7 * DAY - 1);
    harness.store().seal_all();
    assert_eq!(harness.store().status().trace_count, 3);
    // One nanosecond later the window expires.
    harness.clock.advance(1);
    harness.maintain(1);
    for _ in 0..2 {
        assert!(harness.trace(trace_id(1)).is_empty());
        assert_eq!(harness.trace(trace_id(3)).len(), 1);
        assert_eq!(harness.trace(trace_id(2)), [sent(2, 2)]);
        let status = harness.store().status();
        assert_eq!((status.span_count, status.trace_count), (2, 2));
        assert_eq!(harness.find(Predicate::All).len(), 2);
        harness.restart();
    }
    harness.clock.advance(HOUR);
    harness.maintain(1);
    harness.restart();
    assert_eq!(harness.store().status().span_count, 0);
    assert!(harness.store().services(&TenantId::default()).is_empty());
}

/// A tenant may keep its data for another time than the others.
pub fn tenants_have_retentions_of_their_own(open: Open) {
    let mut harness = open();
    let (short, usual) = (TenantId::new("short").unwrap(), TenantId::default());
    let own = TenantRetention { retention: Some(Duration::from_nanos(DAY)), ..TenantRetention::default() };
    harness.config.tenants.insert(short.clone(), own);
    harness.restart();
    for tenant in [&short, &usual] {
        harness.append_for(tenant, &[sent(1, 1)]);
    }
    harness.clock.advance(2 * DAY);
    harness.maintain(1);
    assert!(harness.trace_for(&short, trace_id(1)).is_empty());
    assert_eq!(harness.trace_for(&usual, trace_id(1)), [sent(1, 1)]);
}

/// Checks the stored bytes that the engine reports.
pub fn dropped_windows_give_their_space_back(open: Open) {
    let mut harness = open();
    // Incompressible text, so that the bytes on disk are those of spans.
    let noise = |n: u64| {
        let mut x = n + 1;
        let word = |_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:08x}", x >> 32)
        };
        (0..500).map(word).collect::<String>()
    };
    let batch = |from: u64| -> Vec<Sent> {
        (from..from + 500).map(|n| sent(n + 1, 1).with("noise", text(&noise(n)))).collect()
    };
    for window in 0..4 {
        (0..4).for_each(|part| harness.append(&batch(window * 10_000 + part * 500)));
        harness.clock.advance(HOUR);
        // A round between windows: engines flush, so that windows do not share a file.
        harness.store().seal_all();
        harness.maintain(1);
    }
    let full = harness.store().status().store_bytes;
    assert!(full > 8_000_000, "{full}");
    harness.clock.set(BEGIN + 7 * DAY + 3 * HOUR);
    // One round drops the window; a later one deletes the blocks that have no reader.
    harness.maintain(3);
    let left = harness.store().status().store_bytes;
    assert!(left < full / 2, "{left} of {full} bytes are still taken with one window of four left");
    harness.restart();
    assert_eq!(harness.store().status().span_count, 2000);
    assert_eq!(harness.trace(trace_id(30_001)).len(), 1);
    harness.clock.advance(HOUR);
    harness.maintain(3);
    let empty = harness.store().status().store_bytes;
    assert!(empty < full / 20, "{empty} of {full} bytes are taken by nothing");
}

/// Holds while the store runs and after a restart.
pub fn a_clock_that_runs_backwards_opens_no_older_window(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1)]);
    harness.clock.set(BEGIN - 5 * HOUR);
    harness.append(&[sent(2, 1)]);
    harness.restart();
    harness.clock.set(0);
    harness.append(&[sent(3, 1)]);
    let now = u64::from(Hour::of(UnixNanos(BEGIN)).0);
    assert_eq!(hours(&harness), [now; 3]);
    harness.store().seal_all();
    harness.clock.set(BEGIN + 2 * HOUR);
    harness.append(&[sent(4, 1)]);
    assert_eq!(hours(&harness), [now, now + 2]);
    (1..=4).for_each(|n| assert_eq!(harness.trace(trace_id(n)).len(), 1));
}

/// Index rows outlive their block, and must not lead to a later one, whatever its ID.
pub fn what_was_dropped_stays_away(open: Open) {
    let mut harness = open();
    for restart in [false, true] {
        for n in 1..=3 {
            harness.append(&[sent(n, 1), sent(n + 10, 2).with("old", text("yes"))]);
        }
        harness.store().seal_all();
        harness.clock.advance(8 * DAY);
        harness.maintain(2);
        if restart {
            harness.restart();
        }
        for n in 21..=26 {
            harness.append(&[sent(n, 1)]);
        }
        harness.whatever_happens(|harness| {
            for n in (1..=3).chain(11..=13) {
                assert_eq!(harness.trace(trace_id(n)), [], "a dropped trace shows another's spans");
            }
            for n in 21..=26 {
                assert_eq!(harness.trace(trace_id(n)), [sent(n, 1)]);
            }
            assert_eq!(harness.find(Predicate::All).len(), 6);
        });
        harness.clock.advance(8 * DAY);
        harness.maintain(2);
    }
}

/// A reader that has begun reads the trace to its end.
pub fn a_window_goes_while_it_is_read(open: Open) {
    let harness = open();
    let spans: Vec<Sent> =
        (1..=5000).map(|n| sent(1, n).at(n, 1).with("k", text(&"x".repeat(100)))).collect();
    spans.chunks(1000).for_each(|part| harness.append(part));
    let mut reading = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().unwrap();
    let first = reading.next().unwrap().unwrap();
    assert_eq!(Sent::from_stored(&first), spans[0]);
    harness.store().seal_all();
    harness.clock.advance(8 * DAY);
    harness.maintain(3);
    assert!(harness.trace(trace_id(1)).is_empty());
    let damage = reading.damage();
    assert_eq!((reading.count(), damage.blocks()), (4999, 0));
    // Once the readers have ended, the blocks are deleted.
    harness.maintain(3);
    assert_eq!(harness.engine().unreferenced().unwrap(), []);
}
