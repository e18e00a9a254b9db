//! Interleaved measurements: lookups of traces by ID in stores of all sizes, in turn, to show how their latency grows
//! with the size of the store.
//!
//! The same machine may differ by a third within minutes, and a store that was just filled differs from one that was
//! restarted. So all stores are started again at the end, warmed up alike, and each query to one of them is followed by
//! one to the next.

use std::time::{Duration, Instant};

use spandrel_proto::UnixNanos;
use tempfile::TempDir;

use crate::Failure;
use crate::flags::Flags;
use crate::ground_truth::GroundTruth;
use crate::latencies::Latencies;
use crate::questions::{Asker, Kind};
use crate::results::{Measurement, Section};
use crate::say;
use crate::server::Server;
use crate::targets;

/// A store after its measurement.
pub(crate) struct MeasuredStore {
    pub(crate) home: TempDir,
    pub(crate) ground_truth: GroundTruth,
    pub(crate) begins: UnixNanos,
}

/// The kinds of queries that are interleaved.
const KINDS: [Kind; 2] = [Kind::UsualTrace, Kind::AnyTrace];

/// Queries all stores; returns a section for each.
pub(crate) async fn measure(
    flags: &Flags,
    stores: &[MeasuredStore],
    seed: u64,
) -> Result<Vec<Section>, Failure> {
    say("asking all sizes by turns");
    let mut servers = Vec::new();
    for store in stores {
        servers.push(Server::start(flags, store.home.path()).await?);
    }
    let mut askers = Vec::new();
    for (store, server) in stores.iter().zip(&servers) {
        askers.push(Asker::new(server, &store.ground_truth, store.begins, seed).await?);
    }
    let mut results = vec![Vec::new(); stores.len()];
    for kind in KINDS {
        for asker in &mut askers {
            asker.warm_up(kind).await?;
        }
        for (results, times) in results.iter_mut().zip(ask(flags, &mut askers, kind).await?) {
            let [p50, p95, p99] = Measurement::percentiles(kind.name(), &Latencies::of(times));
            let p99 = p99.at_most(targets::TRACE_P99).grows_at_most(targets::TRACE_P99_GROWTH);
            results.extend([p50, p95, p99]);
        }
    }
    drop(askers);
    for server in servers {
        server.stop().await?;
    }
    Ok(results.into_iter().map(|results| Section::new("By turns", results)).collect())
}

/// The times of each store.
async fn ask(flags: &Flags, askers: &mut [Asker<'_>], kind: Kind) -> Result<Vec<Vec<Duration>>, Failure> {
    let mut times = vec![Vec::new(); askers.len()];
    let began = Instant::now();
    let bound = Duration::from_secs(flags.question_seconds) * askers.len() as u32;
    for turn in 0..2 * flags.questions as usize {
        if began.elapsed() > bound {
            break;
        }
        for (asker, times) in askers.iter_mut().zip(&mut times) {
            times.push(asker.next(kind, turn).await?);
        }
    }
    Ok(times)
}
