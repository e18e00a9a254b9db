//! A directory of backups: block files under the hash of their bytes, and manifests.
//!
//! The layout is described in `spandrel_storage::backup`. The one place that writes there, and so the
//! one that knows in which order: a file appears under its name only when its bytes are synced, and a
//! manifest only when its blocks are. Whenever the process is killed, what has a name is whole.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use spandrel_storage::backup::{BackupId, ContentHash, Manifest, ManifestError};

/// A directory of backups that is held against others: by its one writer, or by readers.
pub(crate) struct BackupSet {
    directory: PathBuf,
    /// Directories with files that were named since they were last synced.
    unsynced: HashSet<PathBuf>,
    _lock: File,
}

/// What is wrong with a directory of backups. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{0} is no directory of backups; name one that `spandrel backup` made, or a new one to begin there"
    )]
    Foreign(PathBuf),
    #[error("{0} was made by a newer Spandrel; use that one")]
    Newer(PathBuf),
    #[error("{0} is in use by another backup or restore; wait for it")]
    Taken(PathBuf),
    #[error("there is no backup in {0} yet")]
    Empty(PathBuf),
    #[error("there is no backup {id} in {directory}; `spandrel backup list {directory}` shows those that are", directory = directory.display())]
    Unknown { id: BackupId, directory: PathBuf },
    #[error("{path}: {error}")]
    Manifest { path: PathBuf, error: ManifestError },
    #[error("{0} is missing")]
    Missing(PathBuf),
    #[error("{0} is damaged: its bytes are not those that were backed up")]
    Damaged(PathBuf),
}

const MARKER: &str = "SPANDREL-BACKUPS";
const MARKER_TITLE: &str = "spandrel-backups ";
const LAYOUT_VERSION: u32 = 1;
/// Names the backup under way and those that came to nothing: the server is told of these.
const PENDING: &str = "PENDING";
const BLOCKS: &str = "blocks";
const BACKUPS: &str = "backups";
/// How files that are not whole yet end.
const UNFINISHED: &str = ".unfinished";

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SetError + use<> {
    let path = path.to_owned();
    move |error| SetError::Io { path, error }
}

/// Makes names that were given in a directory survive power loss.
fn sync_directory(path: &Path) -> Result<(), SetError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed(path))
}

/// Writes a file so that it is whole once it has its name. The directory is not synced yet.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SetError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(failed(path))
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, SetError> {
    let all = fs::read_dir(directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    all.map_err(failed(directory))
}

// === opening ===

impl BackupSet {
    /// Opens the directory to write a backup into it; one that is missing or empty becomes one.
    pub(crate) fn open_to_write(directory: &Path) -> Result<Self, SetError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        if !directory.join(MARKER).exists() {
            let leftover = format!("{MARKER}{UNFINISHED}");
            if entries(directory)?.iter().any(|entry| entry.file_name() != leftover.as_str()) {
                return Err(SetError::Foreign(directory.to_owned()));
            }
            let title = format!("{MARKER_TITLE}{LAYOUT_VERSION}\n");
            write_whole(&directory.join(MARKER), title.as_bytes())?;
            sync_directory(directory)?;
        }
        let set = Self::open(directory, File::try_lock)?;
        for part in [BLOCKS, BACKUPS] {
            fs::create_dir_all(directory.join(part)).map_err(failed(directory))?;
        }
        sync_directory(directory)?;
        set.remove_leftovers()?;
        Ok(set)
    }

    /// Opens the directory to read from it.
    pub(crate) fn open_to_read(directory: &Path) -> Result<Self, SetError> {
        Self::open(directory, File::try_lock_shared)
    }

    fn open(directory: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, SetError> {
        let path = directory.join(MARKER);
        let marker = match File::open(&path) {
            Ok(marker) => marker,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SetError::Foreign(directory.to_owned()));
            }
            Err(error) => return Err(failed(&path)(error)),
        };
        let title = fs::read_to_string(&path).map_err(failed(&path))?;
        match title.strip_prefix(MARKER_TITLE).and_then(|version| version.trim().parse::<u32>().ok()) {
            Some(LAYOUT_VERSION) => {}
            Some(newer) if newer > LAYOUT_VERSION => return Err(SetError::Newer(directory.to_owned())),
            _ => return Err(SetError::Foreign(directory.to_owned())),
        }
        lock(&marker).map_err(|error| match error {
            TryLockError::WouldBlock => SetError::Taken(directory.to_owned()),
            TryLockError::Error(error) => failed(&path)(error),
        })?;
        Ok(Self { directory: directory.to_owned(), unsynced: HashSet::new(), _lock: marker })
    }

    /// What a killed run has not finished.
    fn remove_leftovers(&self) -> Result<(), SetError> {
        let mut directories = vec![self.directory.clone(), self.directory.join(BACKUPS)];
        directories.extend(self.block_directories()?);
        for directory in directories {
            for entry in entries(&directory)? {
                if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                    fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
                }
            }
        }
        Ok(())
    }

    fn block_directories(&self) -> Result<Vec<PathBuf>, SetError> {
        let all = entries(&self.directory.join(BLOCKS))?;
        Ok(all.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect())
    }
}

// === blocks ===

impl BackupSet {
    /// Where the bytes of this hash lie.
    pub(crate) fn path(&self, hash: ContentHash) -> PathBuf {
        let name = hash.to_string();
        let (first, _) = name.split_at(2);
        self.directory.join(BLOCKS).join(first).join(format!("{name}.block"))
    }

    /// The blocks that are here, with their length.
    pub(crate) fn blocks(&self) -> Result<HashMap<ContentHash, u64>, SetError> {
        let mut found = HashMap::new();
        for directory in self.block_directories()? {
            for entry in entries(&directory)? {
                let name = entry.file_name();
                let hash = name.to_str().and_then(|name| name.strip_suffix(".block"));
                let Some(hash) = hash.and_then(|hash| hash.parse().ok()) else { continue };
                let length = entry.metadata().map_err(failed(&entry.path()))?.len();
                found.insert(hash, length);
            }
        }
        Ok(found)
    }

    /// Keeps bytes under their hash. They are durable once a manifest was written after it.
    pub(crate) fn put(&mut self, hash: ContentHash, bytes: &[u8]) -> Result<(), SetError> {
        let path = self.path(hash);
        let Some(directory) = path.parent().map(Path::to_owned) else {
            return Err(SetError::Missing(path));
        };
        if !directory.exists() {
            fs::create_dir(&directory).map_err(failed(&directory))?;
            self.unsynced.insert(self.directory.join(BLOCKS));
        }
        write_whole(&path, bytes)?;
        self.unsynced.insert(directory);
        Ok(())
    }

    /// The bytes of this hash, checked against it.
    pub(crate) fn read(&self, hash: ContentHash) -> Result<Vec<u8>, SetError> {
        let path = self.path(hash);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SetError::Missing(path)),
            Err(error) => return Err(failed(&path)(error)),
        };
        if ContentHash::of(&bytes) == hash { Ok(bytes) } else { Err(SetError::Damaged(path)) }
    }

    /// Removes the blocks that no backup has. Returns how many.
    pub(crate) fn remove_blocks_but(&self, kept: &HashSet<ContentHash>) -> Result<usize, SetError> {
        let gone: Vec<_> = self.blocks()?.into_keys().filter(|hash| !kept.contains(hash)).collect();
        for hash in &gone {
            let path = self.path(*hash);
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        Ok(gone.len())
    }
}

// === manifests ===

impl BackupSet {
    fn manifest_path(&self, id: BackupId) -> PathBuf {
        self.directory.join(BACKUPS).join(format!("{id}.manifest"))
    }

    /// The backups that are here, oldest first.
    pub(crate) fn ids(&self) -> Result<Vec<BackupId>, SetError> {
        let all = entries(&self.directory.join(BACKUPS))?;
        let id = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".manifest")?.parse().ok();
        let mut ids: Vec<BackupId> = all.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// One backup; the newest unless it is named.
    pub(crate) fn manifest(&self, id: Option<BackupId>) -> Result<Manifest, SetError> {
        let ids = self.ids()?;
        let id = match id {
            None => *ids.last().ok_or_else(|| SetError::Empty(self.directory.clone()))?,
            Some(id) if ids.contains(&id) => id,
            Some(id) => return Err(SetError::Unknown { id, directory: self.directory.clone() }),
        };
        let path = self.manifest_path(id);
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        Manifest::decode(&text).map_err(|error| SetError::Manifest { path, error })
    }

    /// Completes a backup: from now on it is there, whatever happens.
    pub(crate) fn put_manifest(&mut self, manifest: &Manifest) -> Result<(), SetError> {
        for directory in self.unsynced.drain() {
            sync_directory(&directory)?;
        }
        write_whole(&self.manifest_path(manifest.id), manifest.encode().as_bytes())?;
        sync_directory(&self.directory.join(BACKUPS))
    }

    /// Removes a backup; its blocks stay until they are removed.
    pub(crate) fn remove_manifest(&self, id: BackupId) -> Result<(), SetError> {
        let path = self.manifest_path(id);
        fs::remove_file(&path).map_err(failed(&path))?;
        sync_directory(&self.directory.join(BACKUPS))
    }

    /// The backups that were begun here and came to nothing.
    pub(crate) fn pending(&self) -> Vec<BackupId> {
        let text = fs::read_to_string(self.directory.join(PENDING)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Notes which backup is under way, and which came to nothing before it.
    pub(crate) fn set_pending(&self, ids: &[BackupId]) -> Result<(), SetError> {
        let path = self.directory.join(PENDING);
        if ids.is_empty() {
            fs::remove_file(&path).map_err(failed(&path))?;
        } else {
            let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
            write_whole(&path, text.as_bytes())?;
        }
        sync_directory(&self.directory)
    }
}
