//! Above the disk quota the oldest windows go, and ingest is refused when none can go.

use std::time::Duration;

use spandrel_proto::TenantId;
use spandrel_storage::TraceStore;

use super::Open;
use crate::harness::Harness;
use crate::spans::{HOUR, MINUTE, Sent, sent, text, trace_id};

/// Above the quota the store removes the oldest windows of all tenants, and no more than necessary.
pub fn the_oldest_windows_go_first(open: Open) {
    let mut harness = open();
    let other = TenantId::new("other").unwrap();
    for window in 0..6 {
        let tenant = if window % 2 == 0 { TenantId::default() } else { other.clone() };
        fill(&harness, &tenant, window);
        harness.clock.advance(HOUR);
        harness.store().seal_all();
        harness.maintain(1);
    }
    harness.restart();
    let full = settled(&harness);
    harness.config.max_disk_bytes = Some(full * 6 / 10);
    harness.restart();
    let left = settled(&harness);
    assert!(left <= full * 6 / 10, "{left} of {full} bytes are left");
    assert!(left > full * 3 / 10, "{left} of {full} bytes are left: too much went");
    let kept: Vec<bool> = (0..6)
        .map(|window| {
            let tenant = if window % 2 == 0 { TenantId::default() } else { other.clone() };
            !harness.trace_for(&tenant, trace_id(window * 10_000 + 1)).is_empty()
        })
        .collect();
    assert!(kept.is_sorted(), "not the oldest went: {kept:?}");
    assert!(kept[5] && !kept[0], "{kept:?}");
    assert!(harness.store().refusal().is_none());
}

/// The window that receives spans cannot be removed: if it is the only one, ingest is refused.
pub fn ingest_waits_only_when_nothing_can_go(open: Open) {
    let mut harness = open();
    fill(&harness, &TenantId::default(), 0);
    harness.store().seal_all();
    harness.restart();
    let full = settled(&harness);
    harness.config.max_disk_bytes = Some(full / 2);
    harness.restart();
    settled(&harness);
    let refusal = harness.store().refusal().expect("a refusal").to_string();
    assert!(refusal.contains("the disk is full"), "{refusal}");
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
    harness.clock.advance(HOUR);
    assert!(
        harness.store().refusal().is_none(),
        "the window may go now, and ingest does not wait until it has"
    );
    harness.append(&[sent(3, 1)]);
    settled(&harness);
    assert!(harness.store().refusal().is_none());
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(3)).len()), (vec![], 1));
    harness.append(&[sent(2, 1)]);
    assert_eq!(harness.trace(trace_id(2)).len(), 1);
}

/// Appends several megabytes of incompressible spans to one window.
fn fill(harness: &Harness, tenant: &TenantId, window: u64) {
    for part in 0..4 {
        let spans: Vec<Sent> = (0..250)
            .map(|n| {
                let n = window * 10_000 + part * 250 + n + 1;
                sent(n, 1).with("noise", text(&noise(n)))
            })
            .collect();
        harness.append_for(tenant, &spans);
    }
}

fn noise(n: u64) -> String {
    let mut x = n;
    let word = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", x >> 32)
    };
    (0..500).map(word).collect()
}

/// The stored bytes once background work has nothing left to do.
fn settled(harness: &Harness) -> u64 {
    harness.clock.advance(MINUTE);
    let (mut bytes, mut same) = (0, 0);
    // Engines delete files with a delay.
    while same < 50 {
        harness.maintain(1);
        let now = harness.store().status().store_bytes;
        same = if now == bytes { same + 1 } else { 0 };
        bytes = now;
        std::thread::sleep(Duration::from_millis(4));
    }
    bytes
}
