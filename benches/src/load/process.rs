//! What the kernel knows about the server's process, the disk and the machine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// User and system time that a process has used so far.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    parse_cpu_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The most memory that a process has held at once, in bytes.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: u64 = field(&status, "VmHWM")?.trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}

/// The bytes that a directory takes on disk, as `du` counts them.
pub(crate) fn disk_usage(directory: &Path) -> u64 {
    // Files come and go while the server runs: what cannot be read is not there any more.
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let usage = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
        Ok(meta) => meta.blocks() * BLOCK,
        Err(_) => 0,
    };
    entries.flatten().map(usage).sum()
}

/// The machine's processor.
pub(crate) fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&info, "model name").unwrap_or("unknown").to_owned()
}

/// Processes that ran or wanted to, on average over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK: u64 = 512;

/// The unit of times in `/proc/PID/stat`: `USER_HZ`, 100 a second wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The name of the process, in brackets, may hold anything; numbers follow it, the state first.
    let numbers: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| numbers.get(at)?.parse::<u32>().ok();
    Some(TICK * (ticks(11)? + ticks(12)?))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_user_and_system_time_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 900 0 0 0 150 25 7 7 20 0 9 0 1000 1 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(parse_cpu_time("42 (x"), None);
    }

    #[test]
    fn knows_this_process() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_some());
        assert!(peak_memory(pid).unwrap() > 1 << 20);
    }

    #[test]
    fn counts_what_lies_below() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("below/file"), vec![1; 100_000]).unwrap();
        assert!((100_000..200_000).contains(&disk_usage(directory.path())));
    }
}
