//! What was measured and under which conditions, as a table for people and as JSON for scripts.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::flags::{Flags, Protocol};
use crate::latencies::Latencies;
use crate::process;
use crate::questions::Answers;
use crate::server::Status;

/// Everything that a run has found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) ingest: Ingest,
    pub(crate) disk: Disk,
    pub(crate) answers: Vec<Answers>,
    pub(crate) small: Option<Ingest>,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) restart: Option<Restart>,
}

/// What the figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    version: String,
    cpu_model: String,
    cores: usize,
    /// Before and after: other work on the machine makes everything slower.
    load_average_before: String,
    load_average_after: String,
    protocol: &'static str,
    seed: u64,
    serve_flags: Vec<String>,
    spans_stored_before: u64,
}

/// How sending went.
#[derive(Debug, Serialize)]
pub(crate) struct Ingest {
    pub(crate) spans: u64,
    pub(crate) requests: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) connections: u16,
    pub(crate) retries: u64,
    pub(crate) seconds: f64,
    pub(crate) spans_per_second: f64,
    pub(crate) acknowledgement: Latencies,
    pub(crate) sealed_after_seconds: f64,
    pub(crate) cpu_seconds_per_million_acknowledged: Option<f64>,
    pub(crate) cpu_seconds_per_million_sealed: Option<f64>,
}

/// What the store takes once it is settled, before small requests come.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    /// What it grew by, as the server counts.
    store_bytes_per_span: f64,
    store_bytes: u64,
    /// As the file system counts: with what is set aside for a full disk or allocated ahead, which
    /// does not grow with the spans. Compare it with that of the empty store.
    disk_usage_bytes: Option<u64>,
    disk_usage_bytes_before: Option<u64>,
}

/// The orderly end, and the second start on the same data.
#[derive(Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) stop_seconds: f64,
    pub(crate) start_seconds: f64,
    pub(crate) span_count: u64,
}

// === impl Conditions ===

impl Conditions {
    pub(crate) fn new(status: &Status, seed: u64, load_average_before: String, flags: &Flags) -> Self {
        Self {
            version: status.version.clone(),
            cpu_model: process::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_average_before,
            load_average_after: process::load_average(),
            protocol: match flags.protocol {
                Protocol::Http => "OTLP/HTTP",
                Protocol::Grpc => "OTLP/gRPC",
            },
            seed,
            serve_flags: flags.serve_flags.clone(),
            spans_stored_before: status.span_count,
        }
    }
}

// === impl Disk ===

impl Disk {
    /// From status and disk usage before and after.
    pub(crate) fn grown(before: (&Status, Option<u64>), after: (&Status, Option<u64>)) -> Self {
        let spans = after.0.span_count.saturating_sub(before.0.span_count).max(1);
        let bytes = after.0.store_bytes.saturating_sub(before.0.store_bytes);
        Self {
            store_bytes_per_span: bytes as f64 / spans as f64,
            store_bytes: after.0.store_bytes,
            disk_usage_bytes: after.1,
            disk_usage_bytes_before: before.1,
        }
    }
}

// === the table ===

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.conditions)?;
        write!(f, "\n{}", heading("sending"))?;
        write!(f, "{}", self.ingest)?;
        if let Some(small) = &self.small {
            write!(f, "\n{}", heading("sending small requests, as sidecars do"))?;
            write!(f, "{small}")?;
        }
        write!(f, "\n{}", heading("disk and memory"))?;
        row(f, "bytes per span, storeBytes", &number(self.disk.store_bytes_per_span, 1))?;
        row(f, "storeBytes, MB", &megabytes(Some(self.disk.store_bytes)))?;
        row(f, "disk usage, MB", &megabytes(self.disk.disk_usage_bytes))?;
        row(f, "disk usage before, MB", &megabytes(self.disk.disk_usage_bytes_before))?;
        row(f, "peak memory, MB", &megabytes(self.peak_memory_bytes))?;
        write!(f, "\n{}", heading("questions, ms (all answers were checked)"))?;
        let columns = ["", "count", "p50", "p95", "p99", "max", "CPU each"];
        writeln!(f, "{:<NAME$}{}", columns[0], cells(columns[1..].iter().map(ToString::to_string)))?;
        for answers in &self.answers {
            write!(f, "{answers}")?;
        }
        if let Some(restart) = &self.restart {
            write!(f, "\n{}", heading("end and second start (exit 0, every acknowledged span is there)"))?;
            row(f, "spans found again", &grouped(restart.span_count))?;
            row(f, "stop, s", &number(restart.stop_seconds, 2))?;
            row(f, "start, s", &number(restart.start_seconds, 2))?;
        }
        Ok(())
    }
}

impl Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&heading("conditions"))?;
        row(f, "spandrel", &format!("{} {}", self.version, self.serve_flags.join(" ")))?;
        row(f, "processor", &format!("{}, {} cores", self.cpu_model, self.cores))?;
        row(f, "load average before", &self.load_average_before)?;
        row(f, "load average after", &self.load_average_after)?;
        row(f, "protocol", self.protocol)?;
        row(f, "seed", &self.seed.to_string())?;
        row(f, "spans stored before", &grouped(self.spans_stored_before))
    }
}

impl Display for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_request = self.spans as f64 / self.requests.max(1) as f64;
        let bytes_per_span = self.wire_bytes as f64 / self.spans.max(1) as f64;
        let latency = &self.acknowledgement;
        row(f, "spans acknowledged", &grouped(self.spans))?;
        row(f, "requests", &grouped(self.requests))?;
        row(f, "spans per request", &number(per_request, 1))?;
        row(f, "bytes per span, on the wire", &number(bytes_per_span, 0))?;
        row(f, "connections", &self.connections.to_string())?;
        row(f, "sent again when overloaded", &grouped(self.retries))?;
        row(f, "spans/s", &grouped(self.spans_per_second as u64))?;
        let percentiles = [latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms];
        let [p50, p95, p99, max] = percentiles.map(|ms| number(ms, 2));
        row(f, "acknowledged within, ms", &format!("p50 {p50}   p95 {p95}   p99 {p99}   max {max}"))?;
        row(f, "CPU s per million, acknowledged", &known(self.cpu_seconds_per_million_acknowledged, 2))?;
        row(f, "CPU s per million, sealed", &known(self.cpu_seconds_per_million_sealed, 2))?;
        row(f, "sealed after, s", &number(self.sealed_after_seconds, 1))
    }
}

impl Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = &self.latency;
        let milliseconds = [times.p50_ms, times.p95_ms, times.p99_ms, times.max_ms].map(|ms| number(ms, 2));
        let values = [times.count.to_string()].into_iter().chain(milliseconds).chain([known(self.cpu_ms, 2)]);
        writeln!(f, "{:<NAME$}{}", format!("  {}", self.question), cells(values))
    }
}

const NAME: usize = 36;
const CELL: usize = 10;

fn heading(text: &str) -> String {
    format!("{text}\n{}\n", "-".repeat(text.len()))
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{:<NAME$}{}", format!("  {name}"), value.trim_end())
}

fn cells(values: impl Iterator<Item = String>) -> String {
    values.map(|value| format!("{value:>CELL$}")).collect()
}

fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

/// A value that needs `--pid` or `--data-dir` when the server was not started here.
fn known(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "not known".to_owned(), |value| number(value, digits))
}

fn megabytes(bytes: Option<u64>) -> String {
    known(bytes.map(|bytes| bytes as f64 / 1e6), 1)
}

/// With a comma before every third digit.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn growth_is_told_per_span() {
        let status = |span_count, store_bytes| Status {
            version: String::new(),
            span_count,
            store_bytes,
            unsealed_span_count: 0,
        };
        let disk = Disk::grown((&status(100, 5_000), None), (&status(300, 25_000), Some(64_000)));
        assert_eq!((disk.store_bytes_per_span, disk.disk_usage_bytes), (100.0, Some(64_000)));
    }
}
