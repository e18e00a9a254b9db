//! The machine: its processor, its free disk space, and the use of its CPU.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::process::{self, TICK};

/// Measures time, the server's CPU time and that of all other processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    server: u32,
    began: Instant,
    at_begin: Cpu,
}

/// The cost of some work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    /// CPU time of the server.
    pub(crate) server: Duration,
    /// CPU time of this driver, which makes the requests.
    pub(crate) driver: Duration,
    /// The share of all cores that went to neither the server nor this driver.
    pub(crate) others_share: f64,
}

/// CPU time used so far.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    server: Duration,
    driver: Duration,
    machine: Duration,
}

/// Disk space that a span may need for a while, in fresh and merged blocks, before replaced ones are deleted.
const ROOM_PER_SPAN: u64 = 250;
const ROOM_TO_SPARE: u64 = 1 << 30;

/// The machine's processor.
pub(crate) fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model).to_owned()
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Refuses a measurement for which the disk has no room.
pub(crate) fn check_room(directory: &Path, spans: u64) -> Result<(), Failure> {
    let needed = spans * ROOM_PER_SPAN + ROOM_TO_SPARE;
    match free_bytes(directory) {
        Some(free) if free < needed => Err(format!(
            "{spans} spans need up to {} MB in {}, where {} are free: make room, or name another place with --work-dir",
            needed / 1_000_000,
            directory.display(),
            free / 1_000_000
        )
        .into()),
        _ => Ok(()),
    }
}

/// `None` if `df` lacks these options.
fn free_bytes(directory: &Path) -> Option<u64> {
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(directory).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().nth(1)?.trim().parse().ok()
}

// === impl Meter ===

impl Meter {
    /// Starts now. The server's process has to run until the end.
    pub(crate) fn start(server: u32) -> Self {
        Self { server, began: Instant::now(), at_begin: Cpu::now(server) }
    }

    /// The cost so far.
    pub(crate) fn spent(&self) -> Spent {
        let wall = self.began.elapsed();
        let now = Cpu::now(self.server);
        let server = now.server.saturating_sub(self.at_begin.server);
        let driver = now.driver.saturating_sub(self.at_begin.driver);
        let machine = now.machine.saturating_sub(self.at_begin.machine);
        let others = machine.saturating_sub(server + driver).as_secs_f64();
        let others_share = others / (wall.as_secs_f64() * cores() as f64).max(1e-3);
        Spent { wall, server, driver, others_share }
    }
}

// === impl Cpu ===

impl Cpu {
    fn now(server: u32) -> Self {
        // The server is a child of this process.
        let server_time = process::cpu_time(server).unwrap_or_default();
        let both = process::cpu_time(std::process::id()).unwrap_or_default();
        Self {
            server: server_time,
            driver: both.saturating_sub(server_time),
            machine: parse_busy(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default(),
        }
    }
}

/// Busy time of all cores, with the time that the hypervisor took.
fn parse_busy(stat: &str) -> Option<Duration> {
    let ticks: Vec<u32> = stat.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
    let [user, nice, system, _idle, _waiting, irq, soft_irq, stolen, ..] = ticks[..] else { return None };
    Some(TICK * (user + nice + system + irq + soft_irq + stolen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_and_waiting_is_not_busy() {
        let stat = "cpu  100 10 30 5000 700 1 2 7 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_busy(stat), Some(Duration::from_millis(1_500)));
        assert_eq!(parse_busy("cpu 1 2"), None);
    }

    #[test]
    fn knows_how_much_room_there_is() {
        let directory = tempfile::tempdir().unwrap();
        assert!(free_bytes(directory.path()).unwrap() > 0);
        let error = check_room(directory.path(), 1 << 50).unwrap_err().to_string();
        assert!(error.contains("--work-dir"), "{error}");
    }
}
