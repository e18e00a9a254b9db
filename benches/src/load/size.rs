//! The measurement of one size, from an empty data directory to the last restart. This file has the order of the steps;
//! other files implement them.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spandrel_benches::corpus::CorpusConfig;
use spandrel_proto::UnixNanos;

use crate::Failure;
use crate::flags::Flags;
use crate::ground_truth::GroundTruth;
use crate::ingest::{self, Load, Sent};
use crate::interleaved::MeasuredStore;
use crate::latencies::Latencies;
use crate::machine::{self, Meter, Spent};
use crate::mixed_load::{self, MixedLoad};
use crate::process;
use crate::questions::{Asker, Bounds, Kind};
use crate::results::{Measurement, Section};
use crate::say;
use crate::server::{self, Server};
use crate::targets;

/// The results of one size.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SizeReport {
    /// The requested number; the real one may be larger, because traces are whole.
    pub(crate) spans: u64,
    pub(crate) version: String,
    pub(crate) sections: Vec<Section>,
}

/// The state of the server after ingest, and its cost.
struct Ingested {
    ground_truth: GroundTruth,
    spans: u64,
    results: Vec<Measurement>,
}

/// Measures one size; returns the store, too.
pub(crate) async fn measure(
    flags: &Flags,
    spans: u64,
    seed: u64,
) -> Result<(SizeReport, MeasuredStore), Failure> {
    let home = server::empty_data_dir(flags.work_dir.as_deref())?;
    let data_dir = home.path();
    machine::check_room(data_dir, spans)?;
    let server = Server::start(flags, data_dir).await?;
    let version = server.status().await?.version;
    let load = Load::bulk(flags, &server, spans, seed);
    let begins = load.corpus.begins;

    let mut ingested = ingest(&server, &load).await?;
    let space = space(&server, data_dir, ingested.spans).await?;
    let questions = ask(flags, &server, &ingested.ground_truth, begins, seed).await?;
    let peak = Measurement::new("peak memory with questions, MB", peak_memory(&server));
    let MixedLoad { results: beside, spans: more } =
        mixed_load::measure(flags, &server, &ingested.ground_truth, begins, seed.wrapping_add(1)).await?;
    ingested.spans += more;
    let restarts = restart(flags, server, data_dir, &ingested, seed.wrapping_add(2)).await?;

    let sections = vec![
        Section::new("Spans in", ingested.results),
        Section::new("Space", space.into_iter().chain([peak]).collect()),
        Section::new("Questions", questions),
        Section::new("Questions beside other work", beside),
        Section::new("Restarts", restarts),
    ];
    Ok((
        SizeReport { spans, version, sections },
        MeasuredStore { home, ground_truth: ingested.ground_truth, begins },
    ))
}

/// Sends the whole corpus, and waits until the server has nothing left to do.
async fn ingest(server: &Server, load: &Load) -> Result<Ingested, Failure> {
    let CorpusConfig { spans, seed, begins, .. } = load.corpus;
    say(&format!("sending {spans} spans"));
    let meter = Meter::start(server.pid);
    let sent = ingest::send(load).await?;
    let acknowledged = meter.spent();
    let Sent { spans, requests, bytes, retries, took, latencies, known } = sent;

    let ground_truth = GroundTruth::new(known)?;
    Asker::new(server, &ground_truth, begins, seed).await?.check_newest().await?;
    let queryable = meter.spent();
    say("waiting until all of it is sealed, and the server has settled");
    server.wait_until_sealed().await?;
    let sealed = meter.spent();
    server.settle().await;
    let settled = meter.spent();
    check_count(server, spans).await?;

    let latencies = Latencies::of(latencies);
    let per_million = |spent: Spent| spent.server.as_secs_f64() * 1e6 / spans as f64;
    let driver = acknowledged.driver.as_secs_f64() * 1e6 / spans as f64;
    let results = vec![
        Measurement::new("CPU s per million, until acknowledged", per_million(acknowledged))
            .at_most(targets::CPU_QUERYABLE),
        Measurement::new("CPU s per million, until queryable", per_million(queryable))
            .at_most(targets::CPU_QUERYABLE),
        Measurement::new("CPU s per million, until sealed", per_million(sealed)).at_most(targets::CPU_SEALED),
        Measurement::new("CPU s per million, until settled", per_million(settled))
            .at_most(targets::CPU_SEALED),
        Measurement::new("acknowledged, p50 ms", latencies.p50_ms),
        Measurement::new("acknowledged, p99 ms", latencies.p99_ms),
        Measurement::new("spans/s", spans as f64 / took.as_secs_f64()),
        Measurement::new("sealed after, s", (sealed.wall - acknowledged.wall).as_secs_f64()),
        Measurement::new("bytes per span on the wire", bytes as f64 / spans as f64),
        Measurement::new("spans per request", spans as f64 / requests as f64),
        Measurement::new("sent again when overloaded", retries as f64),
        Measurement::new("CPU s per million of the driver, sending", driver),
        Measurement::new("CPU of others while sending, % of the machine", acknowledged.others_share * 1e2),
        Measurement::new("CPU of others until settled, % of the machine", settled.others_share * 1e2),
    ];
    Ok(Ingested { ground_truth, spans, results })
}

async fn space(server: &Server, data_dir: &Path, spans: u64) -> Result<Vec<Measurement>, Failure> {
    let status = server.status().await?;
    let disk = process::disk_usage(data_dir);
    let per_span = |bytes: u64| bytes as f64 / spans as f64;
    Ok(vec![
        Measurement::new("bytes per span on disk, allocated", per_span(disk.allocated))
            .at_most(targets::BYTES_PER_SPAN),
        Measurement::new("bytes per span on disk, lengths of files", per_span(disk.length))
            .at_most(targets::BYTES_PER_SPAN),
        Measurement::new("bytes per span, storeBytes", per_span(status.store_bytes)),
        Measurement::new("peak memory until settled, MB", peak_memory(server)).at_most(targets::PEAK_MEMORY),
    ])
}

async fn ask(
    flags: &Flags,
    server: &Server,
    ground_truth: &GroundTruth,
    begins: UnixNanos,
    seed: u64,
) -> Result<Vec<Measurement>, Failure> {
    let bounds = Bounds { questions: flags.questions, time: Duration::from_secs(flags.question_seconds) };
    let mut asker = Asker::new(server, ground_truth, begins, seed).await?;
    let meter = Meter::start(server.pid);
    let mut results = Vec::new();
    for kind in Kind::ALL {
        say(&format!("asking: {kind:?}"));
        results.extend(asker.ask(kind, bounds).await?);
    }
    results.push(Measurement::new("spans of the largest trace", ground_truth.largest.spans.into()));
    let others = meter.spent().others_share * 1e2;
    results.push(Measurement::new("CPU of others while asking, % of the machine", others));
    Ok(results)
}

/// Restarts the server after a stop, and after a kill right behind the last acknowledgement.
async fn restart(
    flags: &Flags,
    server: Server,
    data_dir: &Path,
    ingested: &Ingested,
    seed: u64,
) -> Result<Vec<Measurement>, Failure> {
    say("stopping, and starting again on the same data");
    let stopped_after = server.stop().await?;
    let server = Server::start(flags, data_dir).await?;
    check_count(&server, ingested.spans).await?;
    let ready_after_stop = server.ready_after;

    say(&format!("sending {} spans in small requests, and killing the server", flags.small_spans));
    let load = Load::small(flags, &server, flags.small_spans, seed);
    let meter = Meter::start(server.pid);
    let sent = ingest::send(&load).await?;
    let cpu = meter.spent().server.as_secs_f64() * 1e6 / sent.spans as f64;
    server.kill().await?;
    let server = Server::start(flags, data_dir).await?;
    let found = server.status().await?.span_count;
    let lost = (ingested.spans + sent.spans).saturating_sub(found);
    let newest = GroundTruth::new(sent.known)?;
    Asker::new(&server, &newest, load.corpus.begins, seed).await?.check_newest().await?;
    let ready_after_kill = server.ready_after;
    server.stop().await?;

    let acknowledged = Latencies::of(sent.latencies);
    Ok(vec![
        Measurement::new("stopped after, s", stopped_after.as_secs_f64()),
        Measurement::new("ready after a stop, s", ready_after_stop.as_secs_f64()),
        Measurement::new("ready after SIGKILL, s", ready_after_kill.as_secs_f64())
            .at_most(targets::READY_AFTER_KILL),
        Measurement::new("spans lost by SIGKILL", lost as f64).at_most(targets::LOST),
        Measurement::new("small requests: CPU s per million, acknowledged", cpu),
        Measurement::new("small requests: spans/s", sent.spans as f64 / sent.took.as_secs_f64()),
        Measurement::new("small requests: acknowledged, p99 ms", acknowledged.p99_ms),
    ])
}

async fn check_count(server: &Server, acknowledged: u64) -> Result<(), Failure> {
    let found = server.status().await?.span_count;
    if found == acknowledged {
        return Ok(());
    }
    Err(format!("{acknowledged} spans were acknowledged, the server has {found}").into())
}

/// The peak memory in MB.
fn peak_memory(server: &Server) -> f64 {
    process::peak_memory(server.pid).unwrap_or_default() as f64 / 1e6
}
