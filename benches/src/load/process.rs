//! Statistics of the kernel about a process with all its threads and children: CPU time, memory, disk.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// User and system time that a process, its children and theirs have used so far.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let own = parse_cpu_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    // A process that has just ended has no time of its own: the kernel adds it to its parent's.
    Some(own + children(pid).into_iter().filter_map(cpu_time).sum::<Duration>())
}

/// The peak memory of a process in bytes, plus the peak of each of its children.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: u64 = field(&status, "VmHWM")?.trim_end_matches("kB").trim().parse().ok()?;
    Some((kib << 10) + children(pid).into_iter().filter_map(peak_memory).sum::<u64>())
}

/// What a directory takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskUsage {
    /// Allocated bytes, as `du` counts. Some files are allocated ahead of their writes.
    pub(crate) allocated: u64,
    /// The lengths of all files, as `ls` counts.
    pub(crate) length: u64,
}

/// The size of all files in a directory and below.
pub(crate) fn disk_usage(directory: &Path) -> DiskUsage {
    // The server deletes files meanwhile; an unreadable one is deleted.
    let Ok(entries) = fs::read_dir(directory) else { return DiskUsage::default() };
    let usage = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
        Ok(meta) => DiskUsage { allocated: meta.blocks() * BLOCK, length: meta.len() },
        Err(_) => DiskUsage::default(),
    };
    entries.flatten().map(usage).fold(DiskUsage::default(), |a, b| DiskUsage {
        allocated: a.allocated + b.allocated,
        length: a.length + b.length,
    })
}

/// The unit of `st_blocks`, which does not depend on the file system.
const BLOCK: u64 = 512;

/// The unit of times in `/proc`: `USER_HZ` is 100 on every Linux.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The kernel lists children by the thread that started them.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread =
        |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let lists = threads.flatten().map(of_thread).collect::<String>();
    lists.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The name of the process, in brackets, may contain anything; numbers follow it, the state first.
    let numbers: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // User and system time: its own, then that of ended children.
    let ticks = |at: usize| numbers.get(at)?.parse::<u32>().ok();
    Some(TICK * (ticks(11)? + ticks(12)? + ticks(13)? + ticks(14)?))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn reads_all_times_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 900 0 0 0 150 25 7 7 20 0 9 0 1000 1 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1_890)));
        assert_eq!(parse_cpu_time("42 (x"), None);
    }

    #[test]
    fn knows_this_process_and_its_children() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_some());
        assert!(peak_memory(pid).unwrap() > 1 << 20);
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(children(pid).contains(&child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn counts_what_lies_below() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("below/file"), vec![1; 100_000]).unwrap();
        let usage = disk_usage(directory.path());
        assert_eq!(usage.length, 100_000);
        assert!((100_000..200_000).contains(&usage.allocated));
    }
}
