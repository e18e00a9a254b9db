//! The server that is measured: started here, or found running.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;
use crate::client::{Connection, authority};
use crate::flags::{Flags, Protocol};
use crate::process;

/// Where a server is reached and what may be known of its process.
pub(crate) struct Server {
    http: String,
    otlp_http: String,
    otlp_grpc: String,
    pub(crate) pid: Option<u32>,
    pub(crate) data_dir: Option<PathBuf>,
    /// The process, when it was started here.
    child: Option<Child>,
}

/// What `GET /api/v1/status` tells, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) span_count: u64,
    pub(crate) store_bytes: u64,
    pub(crate) unsealed_span_count: u64,
}

/// How long a start or a stop may take. Both are quick unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

// === impl Server ===

impl Server {
    /// A server that somebody else started.
    pub(crate) fn running(http: &str, flags: &Flags) -> Result<Self, Failure> {
        Ok(Self {
            http: authority(http)?,
            otlp_http: authority(&flags.otlp_http)?,
            otlp_grpc: authority(&flags.otlp_grpc)?,
            pid: flags.pid,
            data_dir: flags.data_dir.clone(),
            child: None,
        })
    }

    /// Starts a server on free ports; returns when it is ready.
    pub(crate) async fn start(binary: &Path, data_dir: &Path, flags: &[String]) -> Result<Self, Failure> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data-dir").arg(data_dir);
        for port in ["--http-addr", "--otlp-http-addr", "--otlp-grpc-addr"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let mut server = Self {
            http: String::new(),
            otlp_http: String::new(),
            otlp_grpc: String::new(),
            pid: child.id(),
            data_dir: Some(data_dir.to_owned()),
            child: Some(child),
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
        Ok(server)
    }

    /// Where spans are sent.
    pub(crate) fn otlp(&self, protocol: Protocol) -> &str {
        match protocol {
            Protocol::Http => &self.otlp_http,
            Protocol::Grpc => &self.otlp_grpc,
        }
    }

    /// A connection for questions.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        Connection::http1(&self.http).await
    }

    /// How much it holds.
    pub(crate) async fn status(&self) -> Result<Status, Failure> {
        let answer = self.connect().await?.get("/api/v1/status").await?;
        if !answer.status.is_success() {
            return Err(format!("/api/v1/status answered {}", answer.status).into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// CPU time used so far; `None` when the process is not known.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        self.pid.and_then(process::cpu_time)
    }

    /// What its data takes on disk; `None` when the directory is not known.
    pub(crate) fn disk_usage(&self) -> Option<u64> {
        self.data_dir.as_deref().map(process::disk_usage)
    }

    /// Stops a server that was started here as a user would; `None` for any other.
    pub(crate) async fn stop(mut self) -> Result<Option<ExitStatus>, Failure> {
        let (Some(child), Some(pid)) = (&mut self.child, self.pid) else { return Ok(None) };
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        if !sent.success() {
            return Err(format!("the server (process {pid}) is not there any more").into());
        }
        let status = tokio::time::timeout(PATIENCE, child.wait())
            .await
            .map_err(|_| format!("the server did not stop within {PATIENCE:?} of SIGTERM"))?;
        Ok(Some(status?))
    }
}

/// An empty data directory, removed in the end.
pub(crate) fn empty_data_dir(below: Option<&Path>) -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("spandrel-bench-");
    Ok(match below {
        Some(directory) => builder.tempdir_in(directory)?,
        None => builder.tempdir()?,
    })
}
