//! The flags of the driver.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Starts a server for each size, sends that many spans as fast as they are acknowledged, waits until all are sealed
/// and background work is done, runs queries, stops, kills and restarts the server, and prints the cost of each step.
#[derive(Debug, Clone, Parser)]
#[command(name = "spandrel-benches")]
pub(crate) struct Flags {
    /// The server's binary
    #[arg(long, env = "SPANDREL_BIN", value_name = "PATH", default_value = "target/release/spandrel")]
    pub(crate) binary: PathBuf,
    /// Where data directories are created, and removed at the end [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,

    /// Spans to send, each number into an empty store of its own: 1M, 500k, 20000
    #[arg(long, value_delimiter = ',', default_value = "1M,5M", value_parser = count, value_name = "SPANS,...")]
    pub(crate) sizes: Vec<u64>,
    /// Spans of one request
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) request_spans: u16,
    /// Requests in flight at the same time, each on its own connection
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Transport of the spans
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    pub(crate) protocol: Protocol,
    /// Spans to send at the end in small requests, as sidecars do, before the server is killed
    #[arg(long, default_value = "100k", value_parser = count, value_name = "SPANS")]
    pub(crate) small_spans: u64,

    /// Spans to send while queries run
    #[arg(long, default_value = "1M", value_parser = count, value_name = "SPANS")]
    pub(crate) beside_spans: u64,

    /// The most queries of each kind
    #[arg(long, default_value_t = 1_000)]
    pub(crate) questions: u32,
    /// The most seconds for each kind of query
    #[arg(long, default_value_t = 10)]
    pub(crate) question_seconds: u64,

    /// Determines IDs and content [default: different in each run]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Also write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// At the end, also record where the CPU time goes, with perf; writes a flame graph and tables to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) profile: Option<PathBuf>,
    /// Spans to send for the profile, to a separate server
    #[arg(long, default_value = "1M", value_parser = count, value_name = "SPANS")]
    pub(crate) profile_spans: u64,
    /// Only compare a server that has this feature with one that has not, by turns, with the first of the sizes
    #[arg(long, value_enum)]
    pub(crate) beside: Option<Feature>,
    /// How often both are measured
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u16,
    /// How many tenants send in turn, with `--beside tenants`
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tenants: u32,
    /// Measure nothing: compare the results of the second report with those of the first
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    pub(crate) compare: Vec<PathBuf>,
    /// Flags for the server, after `--`
    #[arg(last = true, value_name = "SERVE_FLAG")]
    pub(crate) serve_flags: Vec<String>,
}

/// The transport of the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP/HTTP, protobuf
    Http,
    /// OTLP/gRPC
    Grpc,
}

/// A feature whose cost is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Feature {
    /// Encryption at rest
    Encryption,
    /// Many tenants with small loads, beside one tenant with all of it
    Tenants,
}

/// Parses a number of spans; `k` stands for thousands and `M` for millions.
fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let number: Option<u64> = digits.parse().ok();
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(spans) if spans > 0 => Ok(spans),
        _ => Err(format!("{text}: expected a number of spans, as in 20000, 500k or 5M")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_have_a_unit() {
        assert_eq!((count("20000"), count("500k"), count("5M")), (Ok(20_000), Ok(500_000), Ok(5_000_000)));
        for bad in ["", "0", "M", "5G", "-1", "99999999999999999M"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_are_consistent() {
        let flags = Flags::parse_from(["spandrel-benches", "--sizes", "1M,50M", "--", "--retention", "2d"]);
        assert_eq!(flags.sizes, [1_000_000, 50_000_000]);
        assert_eq!(flags.serve_flags, ["--retention", "2d"]);
        assert!(Flags::try_parse_from(["spandrel-benches", "--compare", "a.json"]).is_err());
    }
}
