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
//! What RocksDB does not notice is that the log is gone that it wrote to last, or all of it: it opens with what the
//! others hold and with what was written out, as if nothing had come after that. Names that end in `.log` invite to
//! be tidied up, so the store has a mark of its newest log (`mark.rs`), and does not open without it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{DBRecoveryMode, ErrorKind};

use crate::disk::Disk;
use crate::engine::{Database, OpenError, is_no_space};
use crate::live::LiveBlocks;
use crate::mark::{self, LogMark};
use crate::options;
use crate::orphans::BlobFiles;

/// An empty file of this name says that log files are gone for good, and to go on without what they held.
pub(crate) const NO_LOG: &str = "000000.log";

/// Only the torn end of the last log may be missing.
pub(crate) const STRICT: DBRecoveryMode = DBRecoveryMode::TolerateCorruptedTailRecords;

/// A database that is open.
pub(crate) struct Opened {
    pub(crate) db: Database,
    pub(crate) mark: LogMark,
    /// The end of its log was damaged and is cut off, or all of it was given up.
    pub(crate) log_was_cut: bool,
}

/// The files of a store, as far as they say whether something is missing.
#[derive(Debug, Default)]
struct Files {
    head: bool,
    data: bool,
    /// The number of the newest log.
    log: Option<u64>,
    no_log: bool,
    mark: bool,
    /// The number of the log that has to be there, or a later one.
    noted: Option<u64>,
}

/// Looks for what RocksDB does not notice. Returns whether log files were given up.
pub(crate) fn admit(path: &Path) -> Result<bool, OpenError> {
    let files = Files::list(path).map_err(|error| OpenError::Folder { path: path.to_owned(), error })?;
    if files.have_lost_their_head() {
        return Err(OpenError::Headless { path: path.to_owned() });
    }
    if files.have_lost_their_log() && !files.no_log {
        let missing = files.noted.map_or_else(|| "*.log".to_owned(), mark::log_name);
        return Err(OpenError::Logless { path: path.to_owned(), missing });
    }
    Ok(files.have_lost_their_log())
}

/// Opens the database of a data directory.
pub(crate) fn open(path: &Path, disk: &Disk, live: &LiveBlocks) -> Result<Opened, OpenError> {
    let given_up = admit(path)?;
    let open = |recovery| {
        let families = options::families(live, disk.reserve_bytes());
        let mut database = options::database(recovery);
        // What RocksDB has noted of logs goes with this one start.
        database.set_track_and_verify_wals_in_manifest(!given_up);
        Database::open_cf_descriptors(&database, path, families)
    };
    let blobs = BlobFiles::list(path);
    let mut opened = open(STRICT);
    // Opening may write out what the log of a killed process holds, which takes room.
    if opened.as_ref().is_err_and(is_no_space) {
        disk.release_reserve();
        opened = open(STRICT);
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
        .map(|db| {
            let mark = LogMark::new(path.to_owned());
            let marked = mark.keep(&db);
            match marked {
                // On a full disk there may be no room for it. It is one more line of defence.
                Err(error) => tracing::warn!(%error, "which log is the newest cannot be noted"),
                // It was said for this time, and a mark of what is there now is in the place of the old one. Left
                // alone it would give up what is lost the next time.
                Ok(()) => drop(fs::remove_file(path.join(NO_LOG))),
            }
            if given_up {
                tracing::error!("log files were given up: what they held is missing");
            }
            Opened { db, mark, log_was_cut: log_was_cut || given_up }
        })
}

/// Whether a file is damaged or gone.
pub(crate) fn is_damage(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Corruption || error.as_ref().contains("No such file")
}

fn failed_to_open(path: &Path, error: rocksdb::Error) -> OpenError {
    let path = path.to_owned();
    if is_no_space(&error) {
        OpenError::NoSpace { path, error }
    } else if is_damage(&error) {
        OpenError::Damaged { path, error }
    } else {
        OpenError::Rocks { path, error }
    }
}

// === impl Files ===

impl Files {
    /// What is there; nothing in a folder that is not there yet.
    fn list(path: &Path) -> io::Result<Self> {
        let mut files = Self { noted: mark::read(path), ..Self::default() };
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries?,
        };
        for entry in entries {
            let name = PathBuf::from(entry?.file_name());
            match name.extension().and_then(OsStr::to_str) {
                Some("sst" | "blob") => files.data = true,
                Some("log") if name.as_os_str() == NO_LOG => files.no_log = true,
                Some("log") => files.log = files.log.max(mark::log_number(&name)),
                _ if name.as_os_str() == mark::MARK => files.mark = true,
                _ if name.as_os_str() == "CURRENT" => files.head = true,
                _ => {}
            }
        }
        Ok(files)
    }

    /// Whether there are data, and the file that leads to them is gone: RocksDB would take that for a new
    /// store, and remove the data. A store that is being made has that file before it has data.
    fn have_lost_their_head(&self) -> bool {
        !self.head && (self.data || self.log.is_some())
    }

    /// Whether there has been a log that is not there any more: any at all, or the newest. A store that is being
    /// made has one before it has data, and an old one goes after a new one has come.
    fn have_lost_their_log(&self) -> bool {
        (self.mark || self.data) && (self.log.is_none() || self.log < self.noted)
    }
}
