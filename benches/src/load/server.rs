//! The measured server, started on free ports.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::Failure;
use crate::client::Connection;
use crate::flags::{Flags, Protocol};
use crate::machine::Meter;

/// A server that is ready. Killed when it is dropped.
pub(crate) struct Server {
    http: String,
    otlp_http: String,
    otlp_grpc: String,
    pub(crate) pid: u32,
    /// The time from the start until it was ready.
    pub(crate) ready_after: Duration,
    child: Child,
}

/// The fields of `GET /api/v1/status` that are used here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) span_count: u64,
    pub(crate) store_bytes: u64,
    pub(crate) unsealed_span_count: u64,
}

/// The limit for a start or a stop. Both are quick unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// The durability of all measurements, unless the flags for the server set another.
const DURABILITY: &str = "--durability";

/// The interval between two status requests: long, because they cost CPU time of the server.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The contract promises 60 s; longer times are still reported.
const SEALED_WITHIN: Duration = Duration::from_secs(600);
/// The server has settled once it has used very little CPU time for so many seconds in a row,
const STILL_SECONDS: u32 = 12;
/// or after this time.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// The CPU time that it may use in one of these seconds.
const NEXT_TO_NOTHING: Duration = Duration::from_millis(80);

// === impl Server ===

impl Server {
    /// Starts a server on a data directory; returns when it is ready.
    pub(crate) async fn start(flags: &Flags, data_dir: &Path) -> Result<Self, Failure> {
        let began = Instant::now();
        let mut child = command(flags, data_dir)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}; see --binary", flags.binary.display()))?;
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let mut server = Self {
            http: String::new(),
            otlp_http: String::new(),
            otlp_grpc: String::new(),
            pid: child.id().ok_or("the server ended at once; its log says why")?,
            ready_after: Duration::ZERO,
            child,
        };
        let ready = async {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["listening", "http", address] => address.clone_into(&mut server.http),
                    ["listening", "otlp-http", address] => address.clone_into(&mut server.otlp_http),
                    ["listening", "otlp-grpc", address] => address.clone_into(&mut server.otlp_grpc),
                    ["ready"] => return Ok(()),
                    _ => {}
                }
            }
            Err::<(), Failure>("the server ended before it was ready; its log says why".into())
        };
        tokio::time::timeout(PATIENCE, ready)
            .await
            .map_err(|_| format!("the server was not ready after {PATIENCE:?}"))??;
        server.ready_after = began.elapsed();
        Ok(server)
    }

    /// The address for spans.
    pub(crate) fn otlp(&self, protocol: Protocol) -> &str {
        match protocol {
            Protocol::Http => &self.otlp_http,
            Protocol::Grpc => &self.otlp_grpc,
        }
    }

    /// A connection for queries.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        Connection::http1(&self.http).await
    }

    /// The current status.
    pub(crate) async fn status(&self) -> Result<Status, Failure> {
        let answer = self.connect().await?.get("/api/v1/status").await?;
        if !answer.status.is_success() {
            return Err(format!("/api/v1/status answered {}", answer.status).into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Waits until `unsealedSpanCount` is 0.
    pub(crate) async fn wait_until_sealed(&self) -> Result<(), Failure> {
        let began = Instant::now();
        while self.status().await?.unsealed_span_count > 0 {
            if began.elapsed() > SEALED_WITHIN {
                return Err(format!("unsealedSpanCount is not 0 after {SEALED_WITHIN:?}").into());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until replaced blocks are deleted and the engine has given their space back.
    pub(crate) async fn settle(&self) {
        let began = Instant::now();
        let mut still = 0;
        while still < STILL_SECONDS && began.elapsed() < SETTLED_WITHIN {
            let second = Meter::start(self.pid);
            sleep(Duration::from_secs(1)).await;
            still = if second.spent().server < NEXT_TO_NOTHING { still + 1 } else { 0 };
        }
    }

    /// Stops the server by SIGTERM and asserts success; returns the time.
    pub(crate) async fn stop(mut self) -> Result<Duration, Failure> {
        let began = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await?;
        if !sent.success() {
            return Err(format!("the server (process {}) is not there any more", self.pid).into());
        }
        match self.ended().await? {
            status if status.success() => Ok(began.elapsed()),
            status => Err(format!("after SIGTERM the server ended with {status}").into()),
        }
    }

    /// Kills the server with SIGKILL.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        self.child.start_kill()?;
        self.ended().await?;
        Ok(())
    }

    async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        Ok(status.map_err(|_| format!("the server did not end within {PATIENCE:?}"))??)
    }
}

fn command(flags: &Flags, data_dir: &Path) -> Command {
    let mut command = Command::new(&flags.binary);
    command.arg("serve").arg("--data-dir").arg(data_dir);
    for port in ["--http-addr", "--otlp-http-addr", "--otlp-grpc-addr"] {
        command.args([port, "127.0.0.1:0"]);
    }
    // Several servers run at the same time, and this port is a fixed one unless told otherwise.
    command.args(["--zipkin-addr", "off"]);
    if !flags.serve_flags.iter().any(|flag| flag.starts_with(DURABILITY)) {
        command.args([DURABILITY, "sync"]);
    }
    // By the environment, which earlier versions do not know either.
    command.env("SPANDREL_ZIPKIN_ADDR", "off");
    command.args(&flags.serve_flags).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// An empty data directory, which is removed at the end.
pub(crate) fn empty_data_dir(below: Option<&Path>) -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("spandrel-bench-");
    Ok(match below {
        Some(directory) => builder.tempdir_in(directory)?,
        None => builder.tempdir()?,
    })
}
