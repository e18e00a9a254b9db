//! The timing of merges: they wait while ingest is busy, up to a bound of unsealed spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spandrel_block::CatalogRow;
use spandrel_proto::{TenantId, UnixNanos};
use spandrel_storage::engine::{Catalog as _, MemoryEngine};
use spandrel_storage::{BlockTraceStore, Clock, StoreConfig, TraceStore};
use spandrel_tests::spans::{BEGIN, decoded, sent, text};

/// A clock that advances with each reading, so that a store with many appends seems busy.
struct Ticking(AtomicU64);

const TICK: u64 = 10_000_000;
const BLOCKS: u64 = 80;

impl Clock for Ticking {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.fetch_add(TICK, Ordering::Relaxed))
    }
}

/// A store with recent appends and more fresh blocks than an idle store would merge.
fn busy(config: StoreConfig) -> BlockTraceStore {
    let clock = Arc::new(Ticking(AtomicU64::new(BEGIN)));
    let store = BlockTraceStore::open(Arc::new(MemoryEngine::default()), clock, config).unwrap();
    for n in 1..=BLOCKS {
        store.append(&TenantId::default(), &[decoded(&[sent(n, 1)])]).unwrap();
        // The age of a block counts from the first one.
        assert!(n > 1 || !store.maintain(), "a merge of one block");
    }
    store
}

/// Blocks are never old enough to be merged because of their age.
fn patient() -> StoreConfig {
    StoreConfig { merge_age: Duration::from_secs(3600), ..StoreConfig::default() }
}

fn unsealed(store: &BlockTraceStore) -> u64 {
    store.status().unsealed_span_count
}

#[test]
fn merges_wait_while_ingest_is_busy_and_no_longer() {
    let store = busy(patient());
    assert!(!store.maintain());
    assert_eq!(unsealed(&store), BLOCKS);
    // Some rounds later the last append is old enough.
    let rounds = (0..1000).take_while(|_| !store.maintain()).count();
    assert!(rounds < 1000);
    assert_eq!(unsealed(&store), 0);
}

#[test]
fn merges_do_not_wait_for_ever_more_spans() {
    let store = busy(StoreConfig { merge_spans: BLOCKS, ..patient() });
    assert!(store.maintain());
    assert_eq!(unsealed(&store), 0);
}

#[test]
fn merges_do_not_wait_until_senders_are_sent_away() {
    let store = busy(StoreConfig { max_unsealed_spans: BLOCKS / 3 * 4, ..patient() });
    assert!(store.maintain());
    assert_eq!(unsealed(&store), 0);
}

#[test]
fn merges_do_not_wait_until_senders_are_sent_away_for_others() {
    let config = StoreConfig { max_unsealed_spans: BLOCKS / 3 * 8, ..patient() };
    let store = busy(config);
    assert!(!store.maintain(), "half of what may wait");
    let other = TenantId::new("other").unwrap();
    store.append(&other, &[decoded(&(1..=BLOCKS).map(|n| sent(n, 1)).collect::<Vec<_>>())]).unwrap();
    assert!(store.maintain());
}

#[test]
fn busy_merges_wait_no_less_than_others() {
    let store = busy(StoreConfig { merge_blocks: 1_000, merge_blocks_busy: 2, ..patient() });
    assert!(!store.maintain());
    assert_eq!(unsealed(&store), BLOCKS);
}

#[test]
fn merges_do_not_wait_for_ever_more_blocks() {
    let store = busy(StoreConfig { merge_blocks_busy: BLOCKS as usize, ..patient() });
    assert!(store.maintain());
    assert_eq!(unsealed(&store), 0);
}

#[test]
fn merges_do_not_wait_until_blocks_are_old() {
    let store = busy(StoreConfig { merge_age_busy: Duration::from_secs(1), ..patient() });
    assert!(!store.maintain(), "old at other times, either");
    let store = busy(StoreConfig {
        merge_age: Duration::from_secs(1),
        merge_age_busy: Duration::from_secs(3600),
        ..patient()
    });
    assert!(!store.maintain(), "not while it is busy");
    let at_once = Duration::from_secs(1);
    let store = busy(StoreConfig { merge_age: at_once, merge_age_busy: at_once, ..patient() });
    assert!(store.maintain());
    assert_eq!(unsealed(&store), 0);
}

#[test]
fn merges_of_large_spans_take_fewer_of_them() {
    let store = busy(StoreConfig { merge_spans: BLOCKS, sealed_bytes: 16_000, ..patient() });
    assert!(store.maintain());
    assert!((BLOCKS / 2..BLOCKS).contains(&unsealed(&store)), "{} spans wait", unsealed(&store));
    store.seal_all();
    assert_eq!(unsealed(&store), 0);
}

#[test]
fn blocks_that_are_full_of_large_spans_are_not_merged_again() {
    let engine = Arc::new(MemoryEngine::default());
    let clock = Arc::new(Ticking(AtomicU64::new(BEGIN)));
    // A merge takes blocks of 4,000 bytes, and what it writes has more than half of that.
    let config = StoreConfig { sealed_bytes: 16_000, ..patient() };
    let store = BlockTraceStore::open(engine.clone(), clock, config).unwrap();
    // Printable, and almost as long after compression.
    let noise = |n: u64| -> String {
        let numbers = (1..1_000).map(|at| (n * 7_919 + 31).wrapping_pow(at) >> 32);
        numbers.map(|number| char::from(b'!' + (number % 90) as u8)).collect()
    };
    for n in 1..=BLOCKS {
        let span = sent(n, 1).with("noise", text(&noise(n)));
        store.append(&TenantId::default(), &[decoded(&[span])]).unwrap();
    }
    store.seal_all();
    while store.maintain() {}
    let rows = engine.catalog_rows().unwrap();
    let blocks: Vec<CatalogRow> = rows.iter().map(|(_, row)| CatalogRow::decode(row).unwrap()).collect();
    // One more merge would be due for eight small blocks.
    assert!(blocks.len() > 8, "{} blocks", blocks.len());
    assert!(blocks.iter().all(|block| block.bytes > 2_000), "{blocks:?}");
    assert_eq!(blocks.iter().map(|block| block.meta.level).max(), Some(1));
}

/// The low-priority thread and the urgent one never have the same work.
#[test]
fn work_that_can_wait_is_left_alone_when_senders_would_be_sent_away() {
    let store = busy(StoreConfig { max_unsealed_spans: BLOCKS / 3 * 4, ..patient() });
    assert!(!store.maintain_low_priority());
    assert_eq!(unsealed(&store), BLOCKS, "it is left to those who do not give way");
    assert!(store.maintain_urgent());
    assert_eq!(unsealed(&store), 0);
    let store = busy(StoreConfig { merge_spans: BLOCKS, ..patient() });
    assert!(!store.maintain_urgent());
    assert_eq!(unsealed(&store), BLOCKS, "there is time");
    assert!(store.maintain_low_priority());
    assert_eq!(unsealed(&store), 0);
}
