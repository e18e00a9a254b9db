//! The cost of queries, counted at the engine: a trace by ID takes one seek in the index and one read of a page,
//! whatever else is stored; an absent value takes one read of a filter for each block; *newest first* stops at the
//! blocks that decide the answer. The numbers are exact: one more read slows lookups on every disk, and tests of
//! answers do not notice it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spandrel_block::{BlockId, SectionKind};
use spandrel_proto::TraceId;
use spandrel_storage::engine::MemoryEngine;
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate, SearchPlan};
use spandrel_tests::counting::{Asked, CountingEngine};
use spandrel_tests::harness::{Backend, Harness, config, plan};
use spandrel_tests::spans::{HOUR, Sent, sent, text, trace_id};

const WINDOWS: u64 = 12;
/// Enough for several pages of a block.
const TRACES: u64 = 1_000;
const SPANS: u64 = 5;
/// The ID of a trace in the first, the sixth and the last window.
const LONG: u64 = 500_001;
/// The ID of a trace whose spans are stored in two windows.
const RESENT: u64 = 500_002;

/// A store and the engine that counts its reads.
struct Counted {
    harness: Harness,
    engine: Arc<CountingEngine>,
}

// === impl Counted ===

impl Counted {
    fn new() -> Self {
        let engine = CountingEngine::new(Arc::new(MemoryEngine::default()));
        let harness = Harness::with(Backend::Own(engine.clone()), config());
        Self { harness, engine }
    }

    /// One sealed block of several pages for each window.
    fn sealed(windows: u64) -> Self {
        let mut counted = Self::new();
        (0..windows).for_each(|window| counted.fill(window));
        let blocks = counted.harness.engine().catalog_rows().unwrap().len() as u64;
        assert_eq!(blocks, windows, "one block for each window");
        counted.engine.take();
        counted
    }

    fn fill(&mut self, window: u64) {
        let mut spans: Vec<Sent> = (0..TRACES).flat_map(|n| trace_of(window, n)).collect();
        if [0, 5, WINDOWS - 1].contains(&window) {
            spans.extend((1..=3).map(|n| sent(LONG, window * 10 + n).at(window * HOUR + n, 1)));
        }
        if [2, 7].contains(&window) {
            spans.extend((1..=3).map(|n| sent(RESENT, n).at(2 * HOUR + n, 1)));
        }
        spans.chunks(1_000).for_each(|part| self.harness.append(part));
        self.harness.store().seal_all();
        self.harness.clock.advance(HOUR);
    }

    /// Looks a trace up: its number of spans, the seeks, and the reads.
    fn lookup(&self, trace: TraceId) -> (usize, usize, Asked) {
        let (spans, asked) = self.engine.during(|| self.harness.trace(trace));
        (spans.len(), asked.seeks, asked)
    }

    fn search(&self, plan: &SearchPlan) -> (usize, Asked) {
        let (answer, asked) = self.engine.during(|| self.harness.search(plan));
        assert!(!answer.partial);
        (answer.traces.len(), asked)
    }
}

/// The spans of a trace, with values of its window alone and one value that all spans have.
fn trace_of(window: u64, n: u64) -> impl Iterator<Item = Sent> {
    (1..=SPANS).map(move |span| {
        sent(id(window, n), span)
            .at(window * HOUR + n * 1_000 + span, 1_000 + n)
            .with("user", text(&format!("user {window} {n}")))
            .with("size", Value::IntValue((n * 7) as i64))
            .with("method", text("GET"))
    })
}

fn id(window: u64, n: u64) -> u64 {
    1 + window * TRACES + n
}

/// The sections of one page. They are adjacent and read at once.
const PAGE: [Option<SectionKind>; 3] =
    [Some(SectionKind::Core), Some(SectionKind::Ids), Some(SectionKind::Values)];

fn attribute(key: &str, value: &str) -> Predicate {
    let field = Field::Attribute(AttributeScope::Span, key.to_owned());
    Predicate::Compare(field, Comparison::Eq(Literal::String(value.to_owned())))
}

fn blocks(asked: &Asked) -> BTreeSet<BlockId> {
    asked.reads.iter().map(|(key, _)| key.block).collect()
}

#[test]
fn a_trace_takes_one_seek_and_one_read() {
    let counted = Counted::sealed(WINDOWS);
    for window in 0..WINDOWS {
        let (spans, seeks, asked) = counted.lookup(trace_id(id(window, 10)));
        assert_eq!((spans as u64, seeks, asked.reads.len()), (SPANS, 1, 1), "{asked:?}");
        let read = PAGE.map(|section| (section, 1));
        assert_eq!(counted.engine.sections(&asked), BTreeMap::from(read), "one page, as a whole");
        let (_, seeks, asked) = counted.lookup(trace_id(id(window, 11)));
        assert_eq!((seeks, asked.reads.len()), (1, 0), "its page is known: {asked:?}");
        let (_, seeks, asked) = counted.lookup(trace_id(id(window, TRACES - 1)));
        assert_eq!((seeks, asked.reads.len()), (1, 1), "another page: {asked:?}");
    }
    let (spans, seeks, asked) = counted.lookup(trace_id(999_999_999));
    assert_eq!((spans, seeks, asked.reads.len()), (0, 1, 0), "nobody sent it: {asked:?}");
}

/// Opening reads headers and trace tables. The first reader of a block also reads its dictionary.
#[test]
fn after_a_restart_the_first_look_into_a_block_takes_two_reads_more() {
    let mut counted = Counted::sealed(WINDOWS);
    counted.harness.restart();
    for window in 0..WINDOWS {
        let (spans, seeks, asked) = counted.lookup(trace_id(id(window, 10)));
        assert_eq!((spans as u64, seeks, asked.reads.len()), (SPANS, 1, 3), "{asked:?}");
        let words = [Some(SectionKind::Dictionary), Some(SectionKind::Texts)];
        let read = words.into_iter().chain(PAGE).map(|section| (section, 1));
        assert_eq!(counted.engine.sections(&asked), read.collect());
        let (_, seeks, asked) = counted.lookup(trace_id(id(window, TRACES - 1)));
        assert_eq!((seeks, asked.reads.len()), (1, 1), "another page: {asked:?}");
    }
}

#[test]
fn a_trace_in_several_blocks_takes_one_seek_and_a_read_for_each() {
    let counted = Counted::sealed(WINDOWS);
    for (trace, spans, blocks_of) in [(LONG, 9, 3), (RESENT, 3, 2)] {
        let (found, seeks, asked) = counted.lookup(trace_id(trace));
        assert_eq!((found, seeks, asked.reads.len()), (spans, 1, blocks_of), "{asked:?}");
        assert_eq!(blocks(&asked).len(), blocks_of);
    }
}

/// Memory has the places of fresh spans, so no trace table is read. The index has no rows of fresh blocks, but is read
/// once because older parts of the trace may be sealed.
#[test]
fn a_fresh_trace_is_found_without_reading_tables() {
    let mut counted = Counted::sealed(2);
    let of_block = |block: u64| trace_of(20, block).map(move |span| span.name("fresh"));
    (0..30).for_each(|block| counted.harness.append(&of_block(block).collect::<Vec<_>>()));
    let mut indexed = 0;
    counted.harness.engine().each_index_row(&mut |_| indexed += 1).unwrap();
    assert_eq!(indexed, 2 * TRACES + 1, "fresh traces are not in the index");
    for restarted in [false, true] {
        if restarted {
            counted.harness.restart();
        }
        let (spans, seeks, asked) = counted.lookup(trace_id(id(20, 7)));
        assert_eq!((spans as u64, seeks, blocks(&asked).len()), (SPANS, 1, 1), "{asked:?}");
        let touched = counted.engine.sections(&asked);
        assert!(!touched.contains_key(&Some(SectionKind::Traces)), "{touched:?}");
        let reads = asked.reads.len();
        assert_eq!(reads, if restarted { 3 } else { 4 }, "the header, which opening reads: {asked:?}");
        let (_, seeks, asked) = counted.lookup(trace_id(id(20, 7)));
        assert_eq!((seeks, asked.reads.len()), (1, 0), "{asked:?}");
    }
}

#[test]
fn an_absent_value_takes_one_read_of_a_filter_for_each_block() {
    let mut counted = Counted::sealed(WINDOWS);
    for restarted in [false, true] {
        if restarted {
            counted.harness.restart();
        }
        let absent = plan(attribute("user", "nobody"));
        let (found, asked) = counted.search(&absent);
        assert_eq!((found, asked.seeks, asked.reads.len() as u64), (0, 0, WINDOWS), "{asked:?}");
        let touched: Vec<_> = counted.engine.sections(&asked).into_keys().collect();
        assert_eq!(touched, [Some(SectionKind::Filter)]);
        let (_, asked) = counted.search(&absent);
        assert_eq!(asked, Asked::default(), "filters are kept");
        // For an unknown operation the catalog alone is enough.
        let name = Comparison::Eq(Literal::String("nothing".to_owned()));
        let (found, asked) = counted.search(&plan(Predicate::Compare(Field::Name, name)));
        assert_eq!((found, asked), (0, Asked::default()));
    }
}

#[test]
fn a_value_of_one_block_reads_pages_of_that_block_alone() {
    let counted = Counted::sealed(WINDOWS);
    let (found, asked) = counted.search(&plan(attribute("user", "user 3 17")));
    assert_eq!(found, 1);
    let with_pages: BTreeSet<BlockId> = asked
        .reads
        .iter()
        .filter(|read| {
            let one = Asked { seeks: 0, reads: vec![(*read).clone()] };
            counted.engine.sections(&one).contains_key(&Some(SectionKind::Core))
        })
        .map(|(key, _)| key.block)
        .collect();
    assert_eq!((with_pages.len(), blocks(&asked).len() as u64), (1, WINDOWS), "{asked:?}");
}

/// The cost does not depend on the number of older windows.
#[test]
fn newest_first_reads_the_newest_windows_alone() {
    let everybody = [
        Predicate::All,
        attribute("method", "GET"),
        Predicate::Compare(Field::Duration, Comparison::Gt(Literal::Int(0))),
    ];
    let asked = |counted: &Counted, predicate: &Predicate| {
        let last = counted.harness.engine().catalog_rows().unwrap().iter().map(|(key, _)| key.hour).max();
        let (found, asked) = counted.search(&SearchPlan { limit: 20, ..plan(predicate.clone()) });
        assert_eq!(found, 20);
        assert!(asked.reads.iter().all(|(key, _)| Some(key.hour) == last), "{predicate:?}: {asked:?}");
        (asked.seeks, counted.engine.sections(&asked))
    };
    let (mut few, mut many) = (Counted::sealed(2), Counted::sealed(WINDOWS));
    for predicate in &everybody {
        for restarted in [false, true] {
            if restarted {
                few.harness.restart();
                many.harness.restart();
            }
            assert_eq!(asked(&few, predicate), asked(&many, predicate), "{predicate:?}");
        }
    }
}
