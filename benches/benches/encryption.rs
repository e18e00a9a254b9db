//! What encryption at rest adds: a block encrypted and decrypted, small ranges of it, a catalog row, and the same commits
//! and reads over memory with and without.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set itself up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::TenantId;
use spandrel_storage::encryption::{EncryptedEngine, MemoryKeys};
use spandrel_storage::engine::{Change, Engine, MemoryEngine, NewBlock};

const MIB: usize = 1 << 20;

fn change(id: u64, bytes: Bytes) -> Change {
    let add = NewBlock { id: BlockId(id), bytes, row: vec![1; 500], short_lived: true, index: Vec::new() };
    Change { tenant: TenantId::default(), hour: Hour(1), adds: vec![add], removes: Vec::new() }
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    let keyring = MemoryKeys::random().and_then(|keys| keys.open()).expect("keys");
    let encrypted = |below: MemoryEngine| -> Arc<dyn Engine> {
        Arc::new(EncryptedEngine::new(Arc::new(below) as Arc<dyn Engine>, keyring.clone()))
    };
    let engines: [(&str, Arc<dyn Engine>); 2] =
        [("plain", Arc::new(MemoryEngine::default())), ("encrypted", encrypted(MemoryEngine::default()))];
    let block =
        Bytes::from((0..MIB).map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect::<Vec<_>>());
    let key = |block| BlockKey { tenant: TenantId::default(), hour: Hour(1), block: BlockId(block) };
    let mut group = criterion.benchmark_group("encryption");
    for (name, engine) in &engines {
        group.throughput(Throughput::Bytes(MIB as u64));
        group.bench_function(format!("commit_1mib_{name}"), |bencher| {
            bencher.iter(|| engine.commit(&change(1, block.clone())).expect("a commit"));
        });
        group.bench_function(format!("read_1mib_{name}"), |bencher| {
            bencher.iter(|| black_box(engine.get_range(&key(1), 0..MIB as u64)).expect("a block"));
        });
        group.throughput(Throughput::Elements(1));
        for length in [500, 4_000, 40_000] {
            group.bench_function(format!("read_{length}_{name}"), |bencher| {
                let mut at = 0;
                bencher.iter(|| {
                    at = (at + 77_777) % (MIB as u64 - length);
                    black_box(engine.get_range(&key(1), at..at + length)).expect("a range")
                });
            });
        }
        // A small append: 4 KiB is some 50 spans.
        group.bench_function(format!("commit_4kib_{name}"), |bencher| {
            bencher.iter(|| engine.commit(&change(2, block.slice(..4_096))).expect("a commit"));
        });
        group.bench_function(format!("rows_{name}"), |bencher| {
            bencher.iter(|| black_box(engine.catalog_rows()).expect("rows").len());
        });
    }
    group.finish();
    criterion.final_summary();
}
