//! Opens the database of a damaged store for reading. Changes none of its files.
//!
//! RocksDB opens the first tables together with the database, and fails if the frame of one is damaged or the file is
//! missing. Without paranoid checks it opens, and each read of that table fails. But then it also skips damage in the
//! log, which could keep a deletion without the merge that made it harmless (`recovery.rs`). So RocksDB itself checks
//! the log first: its files are linked into a new, empty database, which has no tables that could be damaged.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{DBRecoveryMode, ErrorKind, Options};

use crate::database::{Database, is_damage};
use crate::error::RocksOpenError;
use crate::live_blocks::LiveBlocks;
use crate::options;
use crate::recovery::{self, NO_LOG, STRICT};
use crate::wal_marker;

/// Larger than the log numbers that a new database uses itself.
const FIRST_LOG: u64 = 1_000;

/// Opens a database, and returns whether the end of its log is missing. `scratch` is a folder that does not exist yet;
/// it may exist afterwards.
pub(crate) fn open(
    path: &Path,
    scratch: &Path,
    reserve_bytes: u64,
) -> Result<(Database, bool), RocksOpenError> {
    // If something else is damaged, it is unknown what an abandoned log would have changed. (And RocksDB crashes
    // when it opens a database for reading only and has to drop its record of log files.)
    if recovery::admit(path)? {
        return Err(RocksOpenError::WalAbandoned { path: path.to_owned() });
    }
    let open = |recovery, is_paranoid| {
        let mut database = options::database(recovery);
        database.set_paranoid_checks(is_paranoid);
        let families = options::families(&LiveBlocks::default(), reserve_bytes);
        Database::open_cf_descriptors_read_only(&database, path, families, false)
    };
    let error = match open(STRICT, true) {
        Ok(db) => return Ok((db, false)),
        Err(error) => error,
    };
    // As in `recovery.rs`, this succeeds if only the end of the log is damaged.
    if error.kind() == ErrorKind::Corruption
        && let Ok(db) = open(DBRecoveryMode::PointInTime, true)
    {
        return Ok((db, true));
    }
    if !is_damage(&error) {
        return Err(RocksOpenError::Rocks { path: path.to_owned(), error });
    }
    let folder = |error| RocksOpenError::Folder { path: path.to_owned(), error };
    if !logs_are_sound(path, scratch).map_err(folder)? {
        return Err(RocksOpenError::WalAlsoDamaged { path: path.to_owned(), error });
    }
    let db =
        open(STRICT, false).map_err(|error| RocksOpenError::Unreadable { path: path.to_owned(), error })?;
    if is_of_an_earlier_moment(&db, path).map_err(folder)? {
        return Err(RocksOpenError::WalAlsoDamaged { path: path.to_owned(), error });
    }
    Ok((db, false))
}

/// Whether the manifest has lost its end. Then it names tables that compactions have replaced, and not the tables that
/// replaced them, so data that was deleted since would come back.
fn is_of_an_earlier_moment(db: &Database, path: &Path) -> io::Result<bool> {
    let named: BTreeSet<u64> = db
        .live_files()
        .map_err(io::Error::other)?
        .iter()
        .filter_map(|file| table_number(&file.name))
        .collect();
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        there.extend(entry?.file_name().to_str().and_then(table_number));
    }
    Ok(named.iter().any(|table| !there.contains(table)) && there.last() > named.last())
}

fn table_number(name: &str) -> Option<u64> {
    name.trim_start_matches('/').strip_suffix(".sst")?.parse().ok()
}

/// Whether RocksDB can replay every log of a store.
fn logs_are_sound(path: &Path, scratch: &Path) -> io::Result<bool> {
    let mut options = Options::default();
    options.create_if_missing(true);
    drop(Database::open(&options, scratch).map_err(io::Error::other)?);
    for (log, number) in logs(path)?.into_iter().zip(FIRST_LOG..) {
        let link = scratch.join(wal_marker::log_name(number));
        // The store may be on another disk.
        fs::hard_link(&log, &link).or_else(|_| fs::copy(&log, &link).map(drop))?;
    }
    options.set_wal_recovery_mode(STRICT);
    options.set_paranoid_checks(true);
    match Database::open_for_read_only(&options, scratch, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Corruption => Ok(false),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// The log files of a store, oldest first.
fn logs(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = PathBuf::from(entry?.file_name());
        if let Some(number) = wal_marker::log_number(&name).filter(|_| name.as_os_str() != NO_LOG) {
            found.push((number, path.join(name)));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, log)| log).collect())
}
