//! A directory on disk as [`Files`], for a set of backups.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use spandrel_storage::backup::{BackupSet, FileLock, Files, SetError};

pub(super) struct Directory {
    path: PathBuf,
    /// The locked file; the lock lasts as long as this value.
    held: Option<File>,
}

/// Opens a directory for writing a backup; creates it if it is missing.
pub(super) fn open_to_write(path: &Path) -> Result<BackupSet<Directory>, SetError> {
    let failed = |error| SetError::Io { place: path.display().to_string(), error };
    fs::create_dir_all(path).map_err(failed)?;
    BackupSet::open_to_write(Directory { path: path.to_owned(), held: None })
}

/// Opens a directory of backups for reading.
pub(super) fn open_to_read(path: &Path) -> Result<BackupSet<Directory>, SetError> {
    BackupSet::open_to_read(Directory { path: path.to_owned(), held: None })
}

// === impl Directory ===

impl Directory {
    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    fn entries(&self, folder: &str) -> io::Result<Vec<fs::DirEntry>> {
        fs::read_dir(self.path(folder))?.collect()
    }
}

fn name(entry: &fs::DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

impl Files for Directory {
    fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn files(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in self.entries(folder)? {
            let meta = entry.metadata()?;
            if !meta.is_dir() {
                found.push((name(&entry), meta.len()));
            }
        }
        Ok(found)
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = self.entries(folder)?;
        Ok(entries.iter().filter(|entry| entry.path().is_dir()).map(name).collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.path(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(folder))
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn lock(&mut self, name: &str, lock: FileLock) -> io::Result<bool> {
        let file = File::open(self.path(name))?;
        let locked = match lock {
            FileLock::Exclusive => file.try_lock(),
            FileLock::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => {
                self.held = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
