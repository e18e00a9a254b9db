//! What the driver can be told, and what contradicts itself.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Drives a real server: sends a corpus as fast as it is acknowledged, waits until it is sealed, asks
/// for traces, searches, and reports what all that took.
#[derive(Debug, Clone, Parser)]
#[command(name = "spandrel-benches")]
pub(crate) struct Flags {
    /// Start this binary on free ports and an empty data directory, and stop it in the end
    #[arg(long, env = "SPANDREL_BIN", value_name = "PATH", required_unless_present = "server_http")]
    pub(crate) binary: Option<PathBuf>,
    /// Where the data directory is made [default: the system's place for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,

    /// Drive the server that answers here instead, as in http://127.0.0.1:16686
    #[arg(long, value_name = "URL")]
    pub(crate) server_http: Option<String>,
    /// Its OTLP/HTTP
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4318")]
    pub(crate) otlp_http: String,
    /// Its OTLP/gRPC
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317")]
    pub(crate) otlp_grpc: String,
    /// Its process, to measure CPU and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Its data directory, to measure the disk
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Spans to send
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) spans: u64,
    /// Spans of one request
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) request_spans: u16,
    /// Requests under way at the same time, each on a connection of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// How spans are sent
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    pub(crate) protocol: Protocol,

    /// Spans to send afterwards in small requests, as sidecars do; 0 for none [default: a tenth of --spans]
    #[arg(long)]
    pub(crate) small_spans: Option<u64>,
    /// Spans of one small request
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) small_request_spans: u16,
    /// Connections that small requests come from
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) small_connections: u16,

    /// Questions of each kind at the most
    #[arg(long, default_value_t = 1_000)]
    pub(crate) questions: u32,
    /// Seconds for each kind of question at the most
    #[arg(long, default_value_t = 10)]
    pub(crate) question_seconds: u64,

    /// Decides IDs and content; a server that has seen a seed needs another [default: another each time]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Also write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Flags for the server that is started, behind `--`
    #[arg(last = true, value_name = "SERVE_FLAG")]
    pub(crate) serve_flags: Vec<String>,
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP/HTTP, protobuf
    Http,
    /// OTLP/gRPC
    Grpc,
}
