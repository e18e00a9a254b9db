//! The recorder: Linux `perf`, which samples the CPU clock of a process with its stacks.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::Failure;

/// A `perf` with permission to record.
pub(crate) struct Perf {
    event: &'static str,
}

/// A running recording.
pub(crate) struct Recording {
    process: Child,
    file: PathBuf,
}

/// Samples a second and core. Odd, so that samples do not coincide with periodic work.
const FREQUENCY: &str = "499";
/// The bytes of each stack that are copied, to be unwound later.
const STACKS: &str = "dwarf,16384";
/// With the kernel's part if that is allowed, else without it.
const EVENTS: [&str; 2] = ["cpu-clock", "cpu-clock:u"];
const PATIENCE: Duration = Duration::from_secs(30);

const NOT_INSTALLED: &str = "\
a profile needs perf, which is not installed: `apt-get install linux-perf` on Debian, \
`apt-get install linux-tools-generic` on Ubuntu, `perf` elsewhere";
const NOT_ALLOWED: &str = "\
perf may not record here: `sysctl kernel.perf_event_paranoid=2` as root lets users record their own \
processes, containers need the capability PERFMON";

// === impl Perf ===

impl Perf {
    /// Finds out which events may be recorded; the error says how to allow it.
    pub(crate) async fn find() -> Result<Self, Failure> {
        let mut why = String::new();
        for event in EVENTS {
            let mut probe = Command::new("perf");
            probe.args([
                "record",
                "--quiet",
                "--no-buildid-cache",
                "-e",
                event,
                "-o",
                "/dev/null",
                "--",
                "true",
            ]);
            let output = probe.output().await.map_err(|error| format!("{NOT_INSTALLED} ({error})"))?;
            if output.status.success() {
                return Ok(Self { event });
            }
            why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        }
        Err(format!("{NOT_ALLOWED} ({why})").into())
    }

    /// Starts to record a process, into a file in a directory.
    pub(crate) async fn record(&self, process: u32, directory: &Path) -> Result<Recording, Failure> {
        let file = directory.join("perf.data");
        let mut command = Command::new("perf");
        command.args(["record", "--quiet", "--no-buildid-cache", "-e", self.event, "-F", FREQUENCY]);
        command.args(["--call-graph", STACKS, "-p", &process.to_string(), "-o"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut recorder = command.spawn()?;
        // `perf` records from the moment at which it begins to write.
        let began = Instant::now();
        while std::fs::metadata(&file).map_or(0, |meta| meta.len()) == 0 {
            if recorder.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                return Err("perf did not begin to record; it says why above".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Recording { process: recorder, file })
    }
}

// === impl Recording ===

impl Recording {
    /// Ends the recording, and returns the stacks as `perf script` prints them.
    pub(crate) async fn finish(mut self) -> Result<String, Failure> {
        let pid = self.process.id().ok_or("perf has ended before the server")?;
        Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
        tokio::time::timeout(PATIENCE, self.process.wait()).await.map_err(|_| "perf did not end")??;
        let mut command = Command::new("perf");
        // Names of inlined functions would take hours, because `perf` starts a process for each lookup.
        command.args(["script", "--no-inline", "-F", "comm,ip,sym,dso", "-i"]).arg(&self.file);
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().await?;
        if !output.status.success() {
            return Err(format!("perf script ended with {}", output.status).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
