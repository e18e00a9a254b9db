//! The files of a log: appended to, synced, begun anew by size and by day, and removed by age.
//!
//! `audit/audit-SEQ.jsonl` begins with the line of that number; `audit/HEAD` names the last line that was synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::chain::{Head, Link};
use super::hash::{Hash, Removed};
use super::record::{Event, Record};
use crate::file::give_to_owner;

/// How long and in which pieces a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Bytes from which on a new file is begun (`maxAuditFileBytes`).
    pub max_file_bytes: u64,
    /// The age, by a file's last line, at which the file is removed.
    pub retention: Duration,
}

/// The files of a log, open for writing by one process.
pub struct AuditFiles {
    folder: PathBuf,
    config: FilesConfig,
    head: Head,
    /// The file that is written, its bytes, and when it was begun.
    current: Option<Current>,
    head_file: File,
    /// Held as long as the log is open.
    _lock: File,
}

struct Current {
    file: File,
    bytes: u64,
    begun: SystemTime,
}

/// A file of a log on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// The number of its first line, by its name.
    pub(super) first: u64,
}

/// The folder in a data directory.
const FOLDER: &str = "audit";
const LOCK: &str = "LOCK";
pub(super) const HEAD: &str = "HEAD";
/// A file is begun at least so often, so that a quiet log can age, too.
const FILE_SPAN: Duration = Duration::from_secs(24 * 3600);
/// The most bytes of a line: a target has 64 KiB, a body 1 MiB, and JSON may write a byte as six.
pub(super) const MAX_LINE: u64 = 8 << 20;

// === impl FilesConfig ===

impl Default for FilesConfig {
    fn default() -> Self {
        Self { max_file_bytes: 64 << 20, retention: Duration::from_secs(90 * 24 * 3600) }
    }
}

// === impl AuditFiles ===

impl AuditFiles {
    /// The folder of a data directory's log.
    pub fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join(FOLDER)
    }

    /// Opens a log, or begins one. A last line without its end is removed: its request was never answered. The
    /// error is `WouldBlock` while another process writes the log.
    pub fn open(folder: &Path, config: FilesConfig, now: SystemTime) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = private().truncate(false).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        let head_file = private().truncate(false).read(true).open(folder.join(HEAD))?;
        let expected = read_head(&folder.join(HEAD))?;
        let (head, current) = last_line(folder)?;
        let folder = folder.to_owned();
        let mut files = Self { folder, config, head, current, head_file, _lock: lock };
        let is_gap = match expected {
            Some(expected) => {
                expected.seq > head.seq || (expected.seq == head.seq && expected.hash != head.hash)
            }
            None => head.seq > 0,
        };
        if is_gap {
            let expected =
                expected.map_or("a line that nobody knows any more".to_owned(), |head| head.to_string());
            tracing::error!(expected, found = %head, "lines of the audit log may be missing or changed");
            let record = Record { expected: Some(expected), ..Record::new(Event::Gap) };
            files.append(&[record], now)?;
        }
        Ok(files)
    }

    pub fn head(&self) -> Head {
        self.head
    }

    /// Appends lines and syncs them: all are durable when this returns. After an error the log ends where it did before.
    pub fn append(&mut self, records: &[Record], now: SystemTime) -> io::Result<()> {
        self.rotate(now)?;
        self.write(records, now)
    }

    fn write(&mut self, records: &[Record], now: SystemTime) -> io::Result<()> {
        let (mut bytes, mut head) = (Vec::new(), self.head);
        for record in records {
            let (line, next) = head.next(record, now);
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            head = next;
        }
        let current = match &mut self.current {
            Some(current) => current,
            None => self.current.insert(Current::create(&self.folder, self.head.seq + 1, now)?),
        };
        let written = current.file.write_all(&bytes).and_then(|()| current.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stay in front of the next.
            current.file.set_len(current.bytes)?;
            current.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        current.bytes += bytes.len() as u64;
        self.head = head;
        // Not synced: after a power loss it may name an earlier line, never one that is not there.
        self.head_file.write_all_at(format!("{head}\n").as_bytes(), 0)?;
        let length = format!("{head}\n").len() as u64;
        self.head_file.set_len(length)
    }

    /// Begins a new file when the current one is large or old, and removes files that are too old.
    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let is_over = self.current.as_ref().is_some_and(|current| {
            let age = now.duration_since(current.begun).unwrap_or_default();
            current.bytes >= self.config.max_file_bytes || age >= FILE_SPAN
        });
        if is_over {
            self.current = None;
        }
        self.remove_old(now)
    }

    fn remove_old(&mut self, now: SystemTime) -> io::Result<()> {
        let mut listed = list(&self.folder)?;
        if self.current.is_some() {
            listed.pop();
        }
        let is_old = |file: &LogFile| {
            let modified = file.path.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|time| now.duration_since(time).unwrap_or_default() >= self.config.retention)
        };
        let old: Vec<LogFile> = listed.into_iter().take_while(is_old).collect();
        let Some(last) = old.last() else { return Ok(()) };
        let Some(end) = end_of(&last.path)?.head else { return Ok(()) };
        let removed = Some(Removed { seq: end.seq, hash: end.hash });
        self.write(&[Record { removed, ..Record::new(Event::Retention) }], now)?;
        // The line that explains it is durable, so that a crash in between leaves more than it says, not less.
        old.iter().try_for_each(|file| fs::remove_file(&file.path))
    }
}

impl Current {
    fn create(folder: &Path, first: u64, now: SystemTime) -> io::Result<Self> {
        let file = private().append(true).create_new(true).open(folder.join(name(first)))?;
        give_to_owner(folder, &file);
        File::open(folder)?.sync_all()?;
        Ok(Self { file, bytes: 0, begun: now })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn name(first: u64) -> String {
    format!("audit-{first:020}.jsonl")
}

/// The files of a folder, the oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let first = name.and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok());
        if let Some(first) = first {
            files.push(LogFile { path, first });
        }
    }
    files.sort_by_key(|file| file.first);
    Ok(files)
}

/// The head that the log should have; `None` if none was ever written, or it is damaged.
pub(super) fn read_head(path: &Path) -> io::Result<Option<Head>> {
    match fs::read(path) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finds the last whole line, and opens its file to go on there.
fn last_line(folder: &Path) -> io::Result<(Head, Option<Current>)> {
    let mut files = list(folder)?;
    while let Some(last) = files.pop() {
        let End { head, whole_bytes } = end_of(&last.path)?;
        let mut file = OpenOptions::new().append(true).open(&last.path)?;
        if file.metadata()?.len() > whole_bytes {
            tracing::warn!(file = %last.path.display(), "the unfinished last line of the audit log is removed");
            file.set_len(whole_bytes)?;
            file.sync_all()?;
        }
        let Some(head) = head else {
            // Begun by a process that was killed before its first line.
            fs::remove_file(&last.path)?;
            continue;
        };
        file.seek(SeekFrom::End(0))?;
        let begun = last.path.metadata()?.created().unwrap_or(SystemTime::UNIX_EPOCH);
        return Ok((head, Some(Current { file, bytes: whole_bytes, begun })));
    }
    Ok((Head::EMPTY, None))
}

/// Where the whole lines of a file end, and what the last of them is.
struct End {
    head: Option<Head>,
    whole_bytes: u64,
}

fn end_of(path: &Path) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = length.min(2 * MAX_LINE);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole_bytes = length - tail + whole as u64;
    let Some(lines) = bytes[..whole].strip_suffix(b"\n") else { return Ok(End { head: None, whole_bytes }) };
    let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = &lines[begin..];
    let damaged =
        || io::Error::other(format!("the last line of {} is no line of an audit log", path.display()));
    let link: Link = serde_json::from_slice(line).map_err(|_| damaged())?;
    Ok(End { head: Some(Head { seq: link.seq, hash: Hash::of(line) }), whole_bytes })
}
