//! Opening what a power loss, a full disk or a broken file left.
//!
//! Every acknowledged write was synced before the next one began, so a power loss can tear only the
//! log's last group of writes, which nobody was told about. What of that group reached the disk is the
//! disk's choice: its end may be missing, and with it this is over before anybody notices, or its middle,
//! which looks like damage. So damage in the log is first taken seriously, and then, if nothing else is
//! wrong, cut off with all that follows it: what is left is what the store was at one moment, where
//! skipping over the damage could keep a deletion without the merge that made it harmless. It is told
//! aloud, because a bit that flipped in the log looks the same.
//!
//! What RocksDB does not notice is that its log is gone as a whole: it opens with what was written out, as if
//! nothing had come after that. Names that end in `.log` invite to be tidied up, so the store has a mark that
//! there is a log, and does not open without one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rocksdb::{DBRecoveryMode, ErrorKind};

use crate::disk::Disk;
use crate::engine::{Database, OpenError, is_no_space};
use crate::live::LiveBlocks;
use crate::options;
use crate::orphans::BlobFiles;

/// A file beside the log, which says to people what it means.
const MARK: &str = "HAS-LOG";
const MARK_TEXT: &str = "\
    This store has a write-ahead log: files whose names end in .log. They hold acknowledged spans, and without\n\
    them the store does not open.\n";

/// A database that is open.
pub(crate) struct Opened {
    pub(crate) db: Database,
    /// The end of its log was damaged and is cut off.
    pub(crate) log_was_cut: bool,
}

/// Opens the database of a data directory.
pub(crate) fn open(path: &Path, disk: &Disk, live: &LiveBlocks) -> Result<Opened, OpenError> {
    if has_lost_its_head(path) {
        return Err(OpenError::Headless { path: path.to_owned() });
    }
    if has_lost_its_log(path) {
        return Err(OpenError::Logless { path: path.to_owned() });
    }
    let open = |recovery| {
        let families = options::families(live, disk.reserve_bytes());
        Database::open_cf_descriptors(&options::database(recovery), path, families)
    };
    let blobs = BlobFiles::list(path);
    // Only the torn end of the last log may be missing.
    let strict = DBRecoveryMode::TolerateCorruptedTailRecords;
    let mut opened = open(strict);
    // Opening may write out what the log of a killed process holds, which takes room.
    if opened.as_ref().is_err_and(is_no_space) {
        disk.release_reserve();
        opened = open(strict);
    }
    let mut log_was_cut = false;
    opened
        .or_else(|error| match error.kind() {
            ErrorKind::Corruption => open(DBRecoveryMode::PointInTime).inspect(|_| {
                log_was_cut = true;
                metrics::counter!("spandrel_store_log_cut_total").increment(1);
                tracing::error!(
                    %error,
                    "the end of the write-ahead log was damaged, and is cut off. After a power loss that is \
                     harmless: it was not acknowledged. If there was none, check the disk: acknowledged spans \
                     may be missing"
                );
            }),
            _ => Err(error),
        })
        .map_err(|error| failed_to_open(path, error))
        .inspect(|db| match blobs {
            Ok(blobs) => blobs.remove_orphans(db, &options::ALL),
            Err(error) => tracing::warn!(%error, "what a killed process was writing is not looked for"),
        })
        .map(|db| Opened { db, log_was_cut })
}

fn failed_to_open(path: &Path, error: rocksdb::Error) -> OpenError {
    let path = path.to_owned();
    let is_damage = error.kind() == ErrorKind::Corruption || error.as_ref().contains("No such file");
    if is_no_space(&error) {
        OpenError::NoSpace { path, error }
    } else if is_damage {
        OpenError::Damaged { path, error }
    } else {
        OpenError::Rocks { path, error }
    }
}

/// Notes that there is a log, once that would outlive power loss: entries of one folder become durable in
/// their order, and all of them with the sync. Before this nothing is acknowledged.
pub(crate) fn mark(path: &Path) -> io::Result<()> {
    let mark = path.join(MARK);
    if !mark.exists() {
        fs::write(mark, MARK_TEXT)?;
    }
    File::open(path)?.sync_all()
}

/// Whether there are data, and the file that leads to them is gone: RocksDB would take that for a new
/// store, and remove the data. A store that is being made has that file before it has data.
fn has_lost_its_head(path: &Path) -> bool {
    !path.join("CURRENT").exists() && has_any(path, &["sst", "blob", "log"])
}

/// Whether there has been a log, and none is left. A store that is being made has one before it has data, and
/// an old one goes after a new one has come.
fn has_lost_its_log(path: &Path) -> bool {
    (path.join(MARK).exists() || has_any(path, &["sst", "blob"])) && !has_any(path, &["log"])
}

/// Whether a folder has a file of one of these kinds.
fn has_any(path: &Path, kinds: &[&str]) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        kinds.contains(&path.extension().and_then(|extension| extension.to_str()).unwrap_or_default())
    })
}
