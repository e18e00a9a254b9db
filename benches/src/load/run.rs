//! One measurement from its beginning to its end. Reads like what it does; how is in the other files.

use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use spandrel_benches::corpus::{Batching, CorpusConfig, KnownTrace};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Failure;
use crate::flags::{Flags, Protocol};
use crate::ingest::{self, Load, Sent};
use crate::latencies::Latencies;
use crate::process;
use crate::questions::{self, Answers, Bounds, Kind};
use crate::report::{Conditions, Disk, Ingest, Report, Restart};
use crate::server::{self, Server, Status};

/// How often the server is asked how far it is: rarely, because its CPU time is being measured.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The contract promises 60 s.
const SEALED_WITHIN: Duration = Duration::from_secs(120);
/// The store counts as settled once its size stayed the same for so long...
const STILL: Duration = Duration::from_secs(8);
/// ...or after this.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Measures as the flags say.
pub(crate) async fn run(flags: &Flags) -> Result<Report, Failure> {
    // Kept until the end: its directory goes with it.
    let home = match &flags.server_http {
        Some(_) => None,
        None => Some(server::empty_data_dir(flags.work_dir.as_deref())?),
    };
    let server = open(flags, home.as_ref()).await?;
    let seed = flags.seed.unwrap_or_else(|| Rng::new().u64(..));
    let before = server.status().await?;
    let disk_before = server.disk_usage();
    let load_average = process::load_average();
    let since = (nanos_now() - Duration::from_secs(60).as_nanos()).to_string();

    say(&format!("sending {} spans", flags.spans));
    let (ingest, traces) = measure_ingest(&server, &bulk(flags, &server, seed)).await?;
    say("waiting until the store is settled");
    let after = settle(&server).await?;
    let disk = Disk::grown((&before, disk_before), (&after, server.disk_usage()));
    let answers = ask_everything(&server, flags, &traces, &since, seed).await?;
    let small = match small(flags, &server, seed) {
        None => None,
        Some(load) => {
            say(&format!("sending {} spans in small requests", load.corpus.spans));
            Some(measure_ingest(&server, &load).await?.0)
        }
    };
    let peak_memory_bytes = server.pid.and_then(process::peak_memory);

    let acknowledged = before.span_count + ingest.spans + small.as_ref().map_or(0, |small| small.spans);
    check_count(&server.status().await?, acknowledged)?;
    let conditions = Conditions::new(&before, seed, load_average, flags);
    let restart = stop_and_look_again(server, flags, home.as_ref(), acknowledged).await?;
    Ok(Report { conditions, ingest, disk, answers, small, peak_memory_bytes, restart })
}

async fn open(flags: &Flags, home: Option<&TempDir>) -> Result<Server, Failure> {
    match (home, &flags.binary, &flags.server_http) {
        (Some(home), Some(binary), _) => Server::start(binary, home.path(), &flags.serve_flags).await,
        (_, _, Some(url)) => Server::running(url, flags),
        _ => Err("either --binary or --server-http has to be given".into()),
    }
}

fn bulk(flags: &Flags, server: &Server, seed: u64) -> Load {
    Load {
        authority: server.otlp(flags.protocol).to_owned(),
        protocol: flags.protocol,
        connections: flags.connections,
        chunked: false,
        corpus: CorpusConfig {
            seed,
            spans: flags.spans,
            request_spans: flags.request_spans.into(),
            batching: Batching::Collector,
        },
    }
}

/// What a mesh of sidecars sends: few spans of one instance each, over many connections, in chunks.
fn small(flags: &Flags, server: &Server, seed: u64) -> Option<Load> {
    let spans = flags.small_spans.unwrap_or(flags.spans / 10);
    (spans > 0).then(|| Load {
        authority: server.otlp(flags.protocol).to_owned(),
        protocol: flags.protocol,
        connections: flags.small_connections,
        chunked: flags.protocol == Protocol::Http,
        corpus: CorpusConfig {
            seed: seed.wrapping_add(1),
            spans,
            request_spans: flags.small_request_spans.into(),
            batching: Batching::Sidecar,
        },
    })
}

async fn measure_ingest(server: &Server, load: &Load) -> Result<(Ingest, Vec<KnownTrace>), Failure> {
    let cpu_before = server.cpu_time();
    let cpu_since = || server.cpu_time().zip(cpu_before).map(|(now, before)| now.saturating_sub(before));
    let sent = ingest::send(load).await?;
    let cpu_acknowledged = cpu_since();
    let began = Instant::now();
    while server.status().await?.unsealed_span_count > 0 {
        if began.elapsed() > SEALED_WITHIN {
            return Err(format!("unsealedSpanCount is not 0 after {SEALED_WITHIN:?}").into());
        }
        sleep(LOOK_EVERY).await;
    }
    let Sent { spans, requests, bytes, retries, took, latencies, traces } = sent;
    let per_million = |cpu: Duration| cpu.as_secs_f64() * 1e6 / spans.max(1) as f64;
    let ingest = Ingest {
        spans,
        requests,
        wire_bytes: bytes,
        connections: load.connections,
        retries,
        seconds: took.as_secs_f64(),
        spans_per_second: spans as f64 / took.as_secs_f64(),
        acknowledgement: Latencies::of(latencies),
        sealed_after_seconds: began.elapsed().as_secs_f64(),
        cpu_seconds_per_million_acknowledged: cpu_acknowledged.map(per_million),
        cpu_seconds_per_million_sealed: cpu_since().map(per_million),
    };
    Ok((ingest, traces))
}

/// Waits until replaced blocks are deleted and the engine has given their space back.
async fn settle(server: &Server) -> Result<Status, Failure> {
    let began = Instant::now();
    let (mut last, mut changed) = (server.status().await?, Instant::now());
    while changed.elapsed() < STILL && began.elapsed() < SETTLED_WITHIN {
        sleep(LOOK_EVERY).await;
        let status = server.status().await?;
        if status.store_bytes != last.store_bytes {
            changed = Instant::now();
        }
        last = status;
    }
    Ok(last)
}

async fn ask_everything(
    server: &Server,
    flags: &Flags,
    traces: &[KnownTrace],
    since: &str,
    seed: u64,
) -> Result<Vec<Answers>, Failure> {
    let bounds = Bounds { questions: flags.questions, time: Duration::from_secs(flags.question_seconds) };
    let mut rng = Rng::with_seed(seed);
    let mut answers = Vec::new();
    for kind in Kind::ALL {
        say(&format!("asking: {kind:?}"));
        answers.push(questions::ask(kind, server, traces, since, bounds, &mut rng).await?);
    }
    Ok(answers)
}

fn check_count(status: &Status, acknowledged: u64) -> Result<(), Failure> {
    if status.span_count == acknowledged {
        return Ok(());
    }
    Err(format!("{acknowledged} spans were acknowledged, the server has {}", status.span_count).into())
}

/// A server that was started here has to end well, and to find everything again.
async fn stop_and_look_again(
    server: Server,
    flags: &Flags,
    home: Option<&TempDir>,
    acknowledged: u64,
) -> Result<Option<Restart>, Failure> {
    let Some(home) = home else { return Ok(None) };
    say("stopping, and starting again on the same data");
    let began = Instant::now();
    check_end(server.stop().await?)?;
    let stop_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let server = open(flags, Some(home)).await?;
    let start_seconds = began.elapsed().as_secs_f64();
    let status = server.status().await?;
    check_count(&status, acknowledged)?;
    check_end(server.stop().await?)?;
    Ok(Some(Restart { stop_seconds, start_seconds, span_count: status.span_count }))
}

fn check_end(status: Option<ExitStatus>) -> Result<(), Failure> {
    match status {
        Some(status) if !status.success() => {
            Err(format!("after SIGTERM the server ended with {status}").into())
        }
        _ => Ok(()),
    }
}

fn nanos_now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// Progress, for whoever waits; the report alone goes to standard output.
fn say(text: &str) {
    eprintln!("{text}");
}
