//! The service map with failing engines, over blocks of older formats, and over many random histories. In memory, so
//! that many runs are fast.

use spandrel_block::{BlockId, CatalogRow};
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::engine::{Catalog as _, Change, MemoryEngine, NewBlock};
use spandrel_storage::{EdgeKind, TraceStore};
use spandrel_tests::contract::dependencies::check_history;
use spandrel_tests::harness::{Backend, Harness};
use spandrel_tests::server::{number, workspace_root};
use spandrel_tests::spans::{HOUR, Sent, sent, text};

/// `SPANDREL_SEED=n` runs one history, `SPANDREL_HISTORIES=n` that many.
#[test]
fn every_history_gives_the_edges_of_its_spans() {
    let seeds = match number("SPANDREL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1_000..1_000 + number("SPANDREL_HISTORIES").unwrap_or(500),
    };
    for seed in seeds {
        let told = format!("with SPANDREL_SEED={seed}");
        let shown = std::panic::catch_unwind(|| check_history(Harness::new(Backend::memory()), seed));
        assert!(shown.is_ok(), "{told}");
    }
}

/// Calls from the shop to the bank, and to a database, in two blocks.
fn two_blocks(engine: &MemoryEngine) -> Harness {
    let harness = Harness::new(Backend::Memory(engine.clone()));
    let call = |n: u64| -> Vec<Sent> {
        vec![
            sent(n, 1).service("shop").kind(3),
            sent(n, 2).service("bank").parent(1),
            sent(n, 3).service("shop").kind(3).with("db.system", text("redis")),
        ]
    };
    harness.append(&(1..=50).flat_map(call).collect::<Vec<_>>());
    harness.clock.advance(HOUR);
    harness.append(&(51..=100).flat_map(call).collect::<Vec<_>>());
    harness
}

/// At every place of the damage the edges are complete or the answer is partial.
#[test]
fn damage_is_told_or_does_not_matter() {
    let engine = MemoryEngine::default();
    drop(two_blocks(&engine));
    let key = engine.block_keys().into_iter().min_by_key(|key| key.block).unwrap();
    let row = engine.catalog_rows().unwrap().into_iter().find(|(known, _)| *known == key).unwrap().1;
    let bytes = CatalogRow::decode(&row).unwrap().bytes as usize;
    let (mut partial, mut whole) = (0, 0);
    for at in (0..bytes).step_by(13) {
        let engine = MemoryEngine::default();
        let mut harness = two_blocks(&engine);
        let key = engine.block_keys().into_iter().min_by_key(|key| key.block).unwrap();
        engine.damage(&key, at);
        harness.restart();
        let answer = harness.store().dependencies(&TenantId::default(), TimeRange::ALL).unwrap();
        let found: Vec<_> = answer.edges.iter().map(|e| (&*e.callee, e.totals.count)).collect();
        if answer.partial {
            assert_eq!(found, [("bank", 50), ("redis", 50)], "byte {at}");
            partial += 1;
        } else {
            assert_eq!(found, [("bank", 100), ("redis", 100)], "byte {at}");
            whole += 1;
        }
    }
    assert!(
        partial > 0 && whole > 0,
        "{partial} partial, {whole} whole: the damage is not where it should be"
    );
}

/// A block of format 1, from before edges were stored.
#[test]
fn blocks_without_edges_have_those_of_their_spans() {
    let fixture =
        |name: &str| std::fs::read(workspace_root().join("storage/block/fixtures").join(name)).unwrap();
    let engine = MemoryEngine::default();
    let (bytes, row) = (fixture("block-v1.bin"), fixture("row-v1.bin"));
    let block = NewBlock { id: BlockId(7), bytes: bytes.into(), row, short_lived: false, index: Vec::new() };
    let hour = spandrel_block::Hour(472_222);
    let change = Change { tenant: TenantId::default(), hour, adds: vec![block], removes: Vec::new() };
    engine.commit(&change).unwrap();
    let mut harness = Harness::new(Backend::Memory(engine));
    harness.whatever_happens(|harness| {
        let answer = harness.store().dependencies(&TenantId::default(), TimeRange::ALL).unwrap();
        assert!(!answer.partial);
        let found: Vec<_> = answer
            .edges
            .iter()
            .map(|e| (&*e.caller, &*e.callee, e.kind, e.totals.count, e.totals.errors))
            .collect();
        let expected = [
            ("shop", "cart", EdgeKind::Rpc, 1, 1),
            ("user", "cart", EdgeKind::Virtual, 400, 0),
            ("user", "shop", EdgeKind::Virtual, 1, 1),
        ];
        assert_eq!(found, expected);
    });
}
