//! Traces by ID, asked of stores of all sizes by turns: how a question grows with what is stored.
//!
//! Minutes apart the same machine may differ by a third, and a store that was just filled differs from one that
//! was started again. So all are started again in the end, warmed up alike, and each question to one of them is
//! followed by one to the next.

use std::time::{Duration, Instant};

use spandrel_proto::UnixNanos;
use tempfile::TempDir;

use crate::Failure;
use crate::bars;
use crate::facts::Facts;
use crate::figures::{Figure, Section};
use crate::flags::Flags;
use crate::latencies::Latencies;
use crate::questions::{Asker, Kind};
use crate::say;
use crate::server::Server;

/// A store that was measured, as it was left.
pub(crate) struct Kept {
    pub(crate) home: TempDir,
    pub(crate) facts: Facts,
    pub(crate) begins: UnixNanos,
}

/// What is asked by turns.
const KINDS: [Kind; 2] = [Kind::UsualTrace, Kind::AnyTrace];

/// Asks all stores; gives a section for each.
pub(crate) async fn measure(flags: &Flags, stores: &[Kept], seed: u64) -> Result<Vec<Section>, Failure> {
    say("asking all sizes by turns");
    let mut servers = Vec::new();
    for store in stores {
        servers.push(Server::start(flags, store.home.path()).await?);
    }
    let mut askers = Vec::new();
    for (store, server) in stores.iter().zip(&servers) {
        askers.push(Asker::new(server, &store.facts, store.begins, seed).await?);
    }
    let mut figures = vec![Vec::new(); stores.len()];
    for kind in KINDS {
        for asker in &mut askers {
            asker.warm_up(kind).await?;
        }
        for (figures, times) in figures.iter_mut().zip(ask(flags, &mut askers, kind).await?) {
            let [p50, p95, p99] = Figure::percentiles(kind.name(), &Latencies::of(times));
            let p99 = p99.at_most(bars::TRACE_P99).grows_at_most(bars::TRACE_P99_GROWTH);
            figures.extend([p50, p95, p99]);
        }
    }
    drop(askers);
    for server in servers {
        server.stop().await?;
    }
    Ok(figures.into_iter().map(|figures| Section::new("By turns", figures)).collect())
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
