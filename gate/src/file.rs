//! A small JSON file of the data directory: a list that the server and commands read, and change under a lock, also at
//! the same time. Old or new content is there at every moment, also after a power loss, and the owner alone reads it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One file, by its place.
#[derive(Debug, Clone)]
pub struct ListFile {
    directory: PathBuf,
    name: &'static str,
}

/// Why a file cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot {action} {}: {error}", path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
    #[error("{} is damaged: {reason}; restore it from a copy, or remove it and begin anew", path.display())]
    Damaged { path: PathBuf, reason: String },
}

/// Tells one file from the one that replaces it: each has an inode of its own while the other exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

/// Whether a replaced file has to survive a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    No,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    version: u32,
    list: Vec<T>,
}

const VERSION: u32 = 1;

// === impl Stamp ===

impl Stamp {
    /// The same as numbers, for those who compare them elsewhere.
    pub fn numbers(self) -> [u64; 4] {
        let (seconds, nanos) = self.modified;
        [self.inode, seconds as u64, nanos as u64, self.length]
    }
}

// === impl ListFile ===

impl ListFile {
    /// The file of a name in a directory, which need not exist.
    pub fn new(directory: &Path, name: &'static str) -> Self {
        Self { directory: directory.to_owned(), name }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What tells this version of the file from others; `None` if there is no file.
    pub fn stamp(&self) -> Option<Stamp> {
        let meta = fs::metadata(self.path()).ok()?;
        Some(Stamp { inode: meta.ino(), modified: (meta.mtime(), meta.mtime_nsec()), length: meta.len() })
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> FileError {
        FileError::Damaged { path: self.path(), reason: reason.into() }
    }

    /// The list. A missing file is an empty one.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, FileError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FileError::Io { action: "read", path, error }),
        };
        let document: Document<T> =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(error.to_string()))?;
        match document.version {
            VERSION => Ok(document.list),
            other => Err(self.damaged(format!("its version is {other}, and this program knows {VERSION}"))),
        }
    }

    /// Reads the list, changes it, and replaces the file. An error of `change` leaves the file as it was.
    pub fn change<T, R, E>(&self, change: impl FnOnce(&mut Vec<T>) -> Result<R, E>) -> Result<R, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<FileError>,
    {
        let directory = &self.directory;
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |error| FileError::Io { action, path, error }
        };
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
        // The file itself cannot be the lock, because it is replaced.
        let lock = directory.join(format!("{}.lock", self.name));
        let held = private().create(true).truncate(false).open(&lock).map_err(failed("open", &lock))?;
        give_to_owner(directory, &held);
        held.lock().map_err(failed("lock", &lock))?;
        let mut list = self.read()?;
        let result = change(&mut list)?;
        let path = self.path();
        let bytes = serde_json::to_vec_pretty(&Document { version: VERSION, list })
            .map_err(|error| self.damaged(error.to_string()))?;
        replace(&path, &bytes, Durable::Yes).map_err(failed("write", &path))?;
        Ok(result)
    }
}

/// Replaces a file by one that only its owner may read.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = private().create(true).truncate(true).open(&temporary)?;
    if let Some(directory) = path.parent() {
        give_to_owner(directory, &file);
    }
    file.write_all(bytes)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if durable == Durable::Yes => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Gives a new file to the owner of its directory: root makes keys for a service that has a user of its own. Another
/// user is not allowed to, and keeps the file.
pub(crate) fn give_to_owner(directory: &Path, file: &File) {
    let (Ok(directory), Ok(own)) = (directory.metadata(), file.metadata()) else { return };
    if directory.uid() != own.uid() {
        let _ = fchown(file, Some(directory.uid()), Some(directory.gid()));
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
