//! The data directory: its lock, its free space, and a reserve file that makes deletion possible on a full disk.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::layout::Layout;

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDir {
    directory: PathBuf,
    reserve_bytes: u64,
    _lock: File,
}

/// Why a data directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has locked it.
    #[error(
        "{0} is used by another process, perhaps a server: stop it first. A second server needs a --data-dir of its own; \
         `spandrel check` checks a running one with --server"
    )]
    Taken(PathBuf),
    /// It cannot be created or opened.
    #[error("cannot use {path} as the data directory: {error}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
}

const LOCK_FILE: &str = "LOCK";
const RESERVE_FILE: &str = "RESERVE";
/// Deleting a window writes a few log records and a manifest.
const RESERVE_FILE_BYTES: u64 = 2 << 20;
/// The reserve is at most this fraction of the file system.
const RESERVE_SHARE: u64 = 16;

// === impl DataDir ===

impl DataDir {
    /// Locks a directory, which is created if it is missing. `reserve_bytes` stay free on the disk.
    pub fn lock(directory: &Path, reserve_bytes: u64) -> Result<Self, LockError> {
        let io = |error| LockError::Io { path: directory.to_owned(), error };
        make_durable(directory).map_err(io)?;
        let lock = File::options().create(true).append(true).open(directory.join(LOCK_FILE)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Taken(directory.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut data_dir = Self { directory: directory.to_owned(), reserve_bytes, _lock: lock };
        if let Some(capacity) = data_dir.capacity() {
            data_dir.reserve_bytes = reserve_bytes.min(capacity / RESERVE_SHARE);
        }
        data_dir.keep_reserve();
        Ok(data_dir)
    }

    /// Syncs the directory's entries. Without that a power loss may lose a synced file together with its entry.
    pub(crate) fn sync_entries(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// The path of the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes that have to stay free; fewer than configured on a small disk.
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    /// Bytes that can still be written; `None` if the file system does not report it.
    pub fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.directory).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Bytes of the whole file system, free or not; `None` if it does not report them.
    pub fn capacity(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.directory).ok()?;
        Some(stat.f_blocks.saturating_mul(stat.f_frsize))
    }

    /// Bytes that the store in use takes on disk. The disk quota removes windows until this is below its bound, so it
    /// counts only bytes that removing windows frees: neither the reserve nor the damaged store that a repair has
    /// replaced, which stays until the operator removes it.
    pub fn stored_bytes(&self) -> u64 {
        tree_bytes(&Layout(&self.directory).in_use())
    }

    /// Creates the reserve file while there is plenty of room, so that deleting stays possible on a full disk.
    pub fn keep_reserve(&self) {
        let path = self.directory.join(RESERVE_FILE);
        let plenty = self.free_bytes().is_some_and(|free| free > self.reserve_bytes.saturating_mul(4));
        if plenty && !path.exists() {
            let made = File::create(&path).and_then(|file| {
                let flags = rustix::fs::FallocateFlags::empty();
                Ok(rustix::fs::fallocate(&file, flags, 0, RESERVE_FILE_BYTES.min(self.reserve_bytes))?)
            });
            if let Err(error) = made {
                tracing::debug!(%error, "no reserve file: the file system does not set room aside");
                self.release_reserve();
            }
        }
    }

    /// Removes the reserve file, to give deleting room on a full disk.
    pub fn release_reserve(&self) {
        let _ = fs::remove_file(self.directory.join(RESERVE_FILE));
    }
}

/// Creates a directory and its missing parents, and syncs their entries.
fn make_durable(directory: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        directory.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    fs::create_dir_all(directory)?;
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    missing.iter().try_for_each(|made| File::open(parent(made))?.sync_all())
}

fn tree_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => tree_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let held = DataDir::lock(directory.path(), 1 << 20).unwrap();
        let error = DataDir::lock(directory.path(), 1 << 20).unwrap_err();
        assert!(error.to_string().contains("used by another process"), "{error}");
        drop(held);
        DataDir::lock(directory.path(), 1 << 20).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::lock(file.path(), 0).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn counts_what_the_store_can_give_back() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::lock(directory.path(), 1 << 20).unwrap();
        assert_eq!(data_dir.stored_bytes(), 0, "the reserve does not count");
        for name in ["store", "store/sub", "store.damaged", "store.repaired"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("file"), [0; 1000]).unwrap();
        }
        assert_eq!(data_dir.stored_bytes(), 2000);
    }
}
