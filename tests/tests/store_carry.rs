//! Traces that go on where a merge ends: they are not cut there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use spandrel_block::CatalogRow;
use spandrel_proto::TenantId;
use spandrel_storage::{StoreConfig, TraceStore};
use spandrel_tests::harness::{Ground, Harness, config};
use spandrel_tests::spans::{sent, trace_id};

/// Fresh blocks, each of which begins a trace and ends the one before.
const BLOCKS: u64 = 60;
/// Spans of a trace in each of its two blocks.
const HALF: u64 = 6;
/// A trace that is in every block.
const LONG: u64 = 9_999;

/// Merges are due at once, and take a few blocks each.
fn eager() -> StoreConfig {
    StoreConfig { merge_spans: 1, sealed_rows: 100, ..config() }
}

/// A trace's first half in one block, its second in the next, and something of the long one in both.
fn fill(harness: &Harness, long: u64) {
    for block in 1..=BLOCKS {
        let half = |trace: u64, first: u64| (first..first + HALF).map(move |span| sent(trace, span));
        let mut spans: Vec<_> = half(block, HALF + 1).chain(half(block + 1, 1)).collect();
        spans.extend((0..long).map(|n| sent(LONG, block * long + n)));
        harness.append(&spans);
    }
}

fn unsealed(harness: &Harness) -> u64 {
    harness.store().status().unsealed_span_count
}

/// In how many sealed blocks a trace lies.
fn parts(harness: &Harness, trace: u64) -> usize {
    harness.engine().find(&TenantId::default(), trace_id(trace)).unwrap().len()
}

fn check_spans(harness: &Harness, long: u64) {
    for trace in 2..=BLOCKS {
        let ids: Vec<_> = harness.trace(trace_id(trace)).iter().map(|span| span.id()).collect();
        let expected: Vec<_> = (1..=2 * HALF).map(|span| sent(trace, span).id()).collect();
        assert_eq!(ids, expected, "trace {trace}");
    }
    assert_eq!(harness.trace(trace_id(LONG)).len() as u64, BLOCKS * long);
    assert_eq!(harness.store().status().span_count, BLOCKS * (2 * HALF + long));
}

#[test]
fn traces_lie_in_one_sealed_block() {
    for ground in [Ground::memory(), Ground::quick_rocks()] {
        let mut harness = Harness::with(ground, eager());
        fill(&harness, 1);
        let mut merges = 0;
        while unsealed(&harness) > 0 {
            let before = unsealed(&harness);
            assert!(harness.store().maintain());
            assert!(unsealed(&harness) < before, "a merge that gets nowhere");
            check_spans(&harness, 1);
            merges += 1;
        }
        assert!(merges > 4, "{merges} merges cut no trace");
        let cut: Vec<u64> = (2..=BLOCKS).filter(|trace| parts(&harness, *trace) != 1).collect();
        assert_eq!(cut, [0u64; 0]);
        // What goes on for ever is cut: its rows are left once, not again and again.
        assert!((2..=merges).contains(&parts(&harness, LONG)), "{} parts", parts(&harness, LONG));
        harness.whatever_happens(|harness| check_spans(harness, 1));
    }
}

/// What was left is a block like any other: it survives, and is merged with what it waits for.
#[test]
fn what_was_left_survives_a_restart() {
    let mut harness = Harness::with(Ground::quick_rocks(), eager());
    fill(&harness, 1);
    while unsealed(&harness) > 0 {
        assert!(harness.store().maintain());
        harness.restart();
        check_spans(&harness, 1);
    }
    assert!((2..=BLOCKS).all(|trace| parts(&harness, trace) == 1));
}

/// A trace of more rows than a merge may leave is cut; the others are not.
#[test]
fn most_of_a_merge_is_sealed() {
    let harness = Harness::with(Ground::memory(), eager());
    fill(&harness, 20);
    assert!(harness.store().maintain());
    let fresh =
        harness.engine().read().unwrap().into_iter().map(|(_, row)| CatalogRow::decode(&row).unwrap().meta);
    let left: Vec<u32> =
        fresh.filter(|meta| meta.level == 0).map(|meta| meta.spans).filter(|spans| *spans < 32).collect();
    assert_eq!(left, [HALF as u32], "the half of one trace, and nothing of the long one");
    harness.store().seal_all();
    assert_eq!(unsealed(&harness), 0);
    check_spans(&harness, 20);
    assert!((2..=BLOCKS).all(|trace| parts(&harness, trace) == 1));
}
