//! Mixed load: the latency of queries while the server ingests and merges.

use std::time::Duration;

use spandrel_proto::UnixNanos;

use crate::Failure;
use crate::flags::Flags;
use crate::ground_truth::GroundTruth;
use crate::ingest::{self, Load};
use crate::latencies::Latencies;
use crate::questions::{Asker, Kind};
use crate::results::Measurement;
use crate::say;
use crate::server::Server;

/// The kinds of queries, in turn.
const KINDS: [Kind; 2] = [Kind::UsualTrace, Kind::RareValue];
/// Queries between two checks of the progress of merges.
const BETWEEN_LOOKS: usize = 20;

/// The measurements, and the number of spans that were sent for them.
pub(crate) struct MixedLoad {
    pub(crate) results: Vec<Measurement>,
    pub(crate) spans: u64,
}

/// The server's other work.
#[derive(Clone, Copy)]
enum Work {
    Ingest,
    Merges,
}

/// Sends more spans and queries the others, first during ingest and then during merges.
pub(crate) async fn measure(
    flags: &Flags,
    server: &Server,
    ground_truth: &GroundTruth,
    begins: UnixNanos,
    seed: u64,
) -> Result<MixedLoad, Failure> {
    say(&format!("asking while {} more spans are sent and merged", flags.beside_spans));
    let load = Load::bulk(flags, server, flags.beside_spans, seed);
    let mut asker = Asker::new(server, ground_truth, begins, seed).await?;
    for kind in KINDS {
        asker.warm_up(kind).await?;
    }
    let sending = tokio::spawn(async move { ingest::send(&load).await });
    let mut times = [const { Vec::new() }; KINDS.len()];
    while !sending.is_finished() {
        ask_each(&mut asker, &mut times).await?;
    }
    let sent = sending.await??;
    let mut results = Work::Ingest.results(times);
    results.extend(Work::Merges.results(beside_merges(server, &mut asker).await?));
    Ok(MixedLoad { results, spans: sent.spans })
}

/// Merges begin when ingest has been idle for a while; earlier queries do not count.
async fn beside_merges(
    server: &Server,
    asker: &mut Asker<'_>,
) -> Result<[Vec<Duration>; KINDS.len()], Failure> {
    let most = server.status().await?.unsealed_span_count;
    let mut counted = [const { Vec::new() }; KINDS.len()];
    loop {
        let mut times = [const { Vec::new() }; KINDS.len()];
        for _ in 0..BETWEEN_LOOKS {
            ask_each(asker, &mut times).await?;
        }
        match server.status().await?.unsealed_span_count {
            waiting if waiting == most && waiting > 0 => {}
            waiting => {
                counted.iter_mut().zip(times).for_each(|(counted, times)| counted.extend(times));
                if waiting == 0 {
                    return Ok(counted);
                }
            }
        }
    }
}

async fn ask_each(asker: &mut Asker<'_>, times: &mut [Vec<Duration>]) -> Result<(), Failure> {
    for (kind, times) in KINDS.into_iter().zip(times) {
        times.push(asker.next(kind, times.len()).await?);
    }
    Ok(())
}

// === impl Work ===

impl Work {
    fn results(self, times: [Vec<Duration>; KINDS.len()]) -> Vec<Measurement> {
        let beside = match self {
            Self::Ingest => "beside ingest",
            Self::Merges => "beside merges",
        };
        let of = |(kind, times): (Kind, Vec<Duration>)| {
            Measurement::percentiles(&format!("{beside}: {}", kind.name()), &Latencies::of(times))
        };
        KINDS.into_iter().zip(times).flat_map(of).collect()
    }
}
