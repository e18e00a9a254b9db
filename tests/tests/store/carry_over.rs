//! Traces that continue past a merge are carried over as a whole, so that each trace ends up in one sealed block.

use spandrel_block::{BlockId, CatalogRow};
use spandrel_proto::TenantId;
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use spandrel_storage::{StoreConfig, TraceStore};
use spandrel_tests::harness::{Backend, Harness, config};
use spandrel_tests::spans::{sent, text, trace_id};

/// Fresh blocks, each of which begins a trace and ends the one before.
const BLOCKS: u64 = 60;
/// Spans of a trace in each of its two blocks.
const HALF: u64 = 6;
/// A trace that is in every block.
const LONG: u64 = 9_999;

/// Merges start at once and take a few blocks each.
fn eager() -> StoreConfig {
    StoreConfig { merge_spans: 1, sealed_rows: 100, ..config() }
}

/// The first half of a trace is in one block and the second in the next; the long trace has spans in both.
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

/// The number of sealed blocks that have spans of a trace.
fn parts(harness: &Harness, trace: u64) -> usize {
    harness.engine().find_trace(&TenantId::default(), trace_id(trace)).unwrap().len()
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

/// The range of commits of the rows that the last merge carried over: fresh blocks other than the appended ones.
fn left(harness: &Harness, appended: &[BlockId]) -> Option<(u64, u64)> {
    let rows = harness.engine().catalog_rows().unwrap().into_iter();
    let metas = rows.filter(|(key, _)| !appended.contains(&key.block));
    let metas = metas.map(|(_, row)| CatalogRow::decode(&row).unwrap().meta).filter(|meta| meta.level == 0);
    let commits: Vec<_> = metas.map(|meta| (meta.min_sequence, meta.max_sequence)).collect();
    assert!(commits.len() <= 1, "{commits:?}");
    commits.first().copied()
}

fn blocks(harness: &Harness) -> Vec<BlockId> {
    harness.engine().catalog_rows().unwrap().into_iter().map(|(key, _)| key.block).collect()
}

/// Merges step by step until no span is unsealed, and asserts that no row is carried over twice. Returns how many
/// merges have carried rows over.
fn merge_all(harness: &mut Harness, check: impl Fn(&mut Harness)) -> usize {
    let (appended, mut last, mut some) = (blocks(harness), 0, 0);
    while unsealed(harness) > 0 {
        let before = unsealed(harness);
        assert!(harness.store().maintain());
        assert!(unsealed(harness) < before, "a merge that gets nowhere");
        if let Some((first, newest)) = left(harness, &appended) {
            assert!(first > last, "commit {first} was left before");
            (last, some) = (newest, some + 1);
        }
        check(harness);
    }
    some
}

#[test]
fn traces_lie_in_one_sealed_block() {
    for backend in [Backend::memory(), Backend::quick_rocks()] {
        let mut harness = Harness::with(backend, eager());
        fill(&harness, 1);
        let some = merge_all(&mut harness, |harness| check_spans(harness, 1));
        assert!(some > 4, "{some} merges left something");
        let cut: Vec<u64> = (2..=BLOCKS).filter(|trace| parts(&harness, *trace) != 1).collect();
        assert_eq!(cut, [0u64; 0]);
        assert!(parts(&harness, LONG) > 2, "what goes on for ever is cut");
        harness.whatever_happens(|harness| check_spans(harness, 1));
    }
}

/// A carried-over block survives a restart, and is merged with the blocks that arrived after it.
#[test]
fn what_was_left_survives_a_restart() {
    let mut harness = Harness::with(Backend::quick_rocks(), eager());
    fill(&harness, 1);
    let some = merge_all(&mut harness, |harness| {
        harness.restart();
        check_spans(harness, 1);
    });
    assert!(some > 4, "{some} merges left something");
    assert!((2..=BLOCKS).all(|trace| parts(&harness, trace) == 1));
}

/// An append is one commit; the rows of a single commit are carried over only once as well.
#[test]
fn rows_of_one_commit_are_left_once() {
    let mut harness = Harness::with(Backend::memory(), eager());
    for block in 1..=BLOCKS {
        let mut spans: Vec<_> = (1..=30).map(|span| sent(block, span)).collect();
        // The long trace has a span in the last block of each merge.
        spans.extend((block % 4 == 0).then(|| sent(LONG, block)));
        harness.append(&spans);
    }
    let some = merge_all(&mut harness, |_| {});
    assert!(some > 2, "{some} merges left something");
    assert_eq!(harness.trace(trace_id(LONG)).len() as u64, BLOCKS / 4);
}

/// Carried-over rows have no duplicates, and are found like fresh ones.
#[test]
fn what_is_left_is_like_what_is_fresh() {
    let mut harness = Harness::with(Backend::memory(), eager());
    for block in 1..=BLOCKS {
        let of = |trace: u64, span: u64| sent(trace, span).with("of", text(&format!("trace {trace}")));
        let mut spans: Vec<_> =
            (1..=HALF).flat_map(|span| [of(block, 90 + span), of(block + 1, span)]).collect();
        spans.extend([of(block, 1), of(block + 1, 1)]);
        harness.append(&spans);
    }
    let key = || Field::Attribute(AttributeScope::Span, "of".to_owned());
    let check = |harness: &Harness| {
        for trace in 2..=BLOCKS {
            assert_eq!(harness.trace(trace_id(trace)).len() as u64, 2 * HALF, "trace {trace}");
            let value = Comparison::Eq(Literal::String(format!("trace {trace}")));
            let found = harness.find(Predicate::Compare(key(), value));
            let counts: Vec<_> = found.iter().map(|found| (found.id, found.span_count)).collect();
            assert_eq!(counts, [(trace_id(trace), 2 * HALF)]);
        }
    };
    let some = merge_all(&mut harness, |harness| check(harness));
    assert!(some > 4, "{some} merges left something");
    harness.whatever_happens(check);
}

/// A trace with more rows than a merge may carry over is split; the others are not.
#[test]
fn most_of_a_merge_is_sealed() {
    let mut harness = Harness::with(Backend::memory(), eager());
    fill(&harness, 20);
    let appended = blocks(&harness);
    assert!(harness.store().maintain());
    assert!(left(&harness, &appended).is_some_and(|(first, last)| first == last), "one half of one trace");
    merge_all(&mut harness, |harness| check_spans(harness, 20));
    assert!((2..=BLOCKS).all(|trace| parts(&harness, trace) == 1));
}

/// Large spans are carried over in several blocks, each within its limit.
#[test]
fn what_is_left_is_cut_by_its_size() {
    let mut harness = Harness::with(Backend::memory(), StoreConfig { sealed_bytes: 10_000, ..eager() });
    for block in 1..=12 {
        let large = |span: u64| sent(LONG, span).with("large", text(&format!("{span:05000}")));
        let mut spans: Vec<_> = (1..=25).map(|span| sent(block, span)).collect();
        spans.extend((0..12).filter(|_| block % 4 == 0).map(|n| large(20 * block + n)));
        harness.append(&spans);
    }
    let appended = blocks(&harness);
    assert!(harness.store().maintain());
    let rows = harness
        .engine()
        .catalog_rows()
        .unwrap()
        .into_iter()
        .filter(|(key, _)| !appended.contains(&key.block));
    let spans = rows.map(|(_, row)| CatalogRow::decode(&row).unwrap().meta).filter(|meta| meta.level == 0);
    let spans: Vec<u32> = spans.map(|meta| meta.spans).collect();
    // The carried-over rows are split at four times the limit.
    assert!(spans.len() == 2 && spans.iter().sum::<u32>() == 12, "{spans:?}");
    harness.store().seal_all();
    assert_eq!((unsealed(&harness), harness.trace(trace_id(LONG)).len()), (0, 36));
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(LONG)).len(), 36));
}
