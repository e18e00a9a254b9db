//! A set of backups in a directory: its files, and the order in which they are written.
//!
//! Whenever the process is killed or the power fails, every file that has its final name is complete, and every
//! manifest has all its blocks. [`Files`] does the writing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use spandrel_proto::UnixNanos;

use super::{BackupId, ContentHash, Manifest, ManifestError};

/// A directory with its files. Names are relative to it, with `/` between their parts.
///
/// # Contract
/// The bytes of a file are durable when `write` returns. A change of names is durable when the folder has been synced:
/// names created by `write`, `rename` or `make_folder`, and names removed by `remove`.
pub trait Files {
    /// The path of a file, for messages.
    fn place(&self, name: &str) -> String;

    /// The names and lengths of the files in a folder, without folders.
    fn files(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;

    /// The names of the folders in a folder.
    fn folders(&self, folder: &str) -> io::Result<Vec<String>>;

    /// The bytes of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Writes a file and syncs its bytes.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Renames a file, and replaces a file that has the new name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Creates a folder unless it exists.
    fn make_folder(&mut self, folder: &str) -> io::Result<()>;

    /// Makes changes of names in a folder durable.
    fn sync_folder(&mut self, folder: &str) -> io::Result<()>;

    /// Locks a file until the value is dropped. Returns whether no lock of another process conflicts.
    fn lock(&mut self, name: &str, lock: FileLock) -> io::Result<bool>;
}

/// How a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLock {
    /// Against every other process.
    Exclusive,
    /// Shared with other readers.
    Shared,
}

/// A directory of backups, locked by its one writer or shared by readers.
pub struct BackupSet<F> {
    files: F,
    /// The stored contents by hash, with their lengths.
    here: BTreeMap<ContentHash, u64>,
    /// Folders whose entries have changed since they were last synced.
    unsynced: BTreeSet<String>,
}

/// The beginning of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStart {
    /// Its ID.
    pub id: BackupId,
    /// Hashes of contents that the set already has and that need not be sent.
    pub have: Vec<ContentHash>,
}

/// What is wrong with a directory of backups. The text contains advice.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A file cannot be read or written.
    #[error("{place}: {error}")]
    Io {
        /// The path of the file.
        place: String,
        /// The error of the file system.
        error: io::Error,
    },
    /// The directory contains other files.
    #[error(
        "{0} is no directory of backups; name one that `spandrel backup` made, or a new one to begin there"
    )]
    Foreign(String),
    /// A newer version wrote its layout.
    #[error("{0} was made by a newer Spandrel; use that one")]
    Newer(String),
    /// Another process has locked it.
    #[error("{0} is in use by another backup or restore; wait for it")]
    Taken(String),
    /// It contains no backup.
    #[error("there is no backup in {0} yet")]
    Empty(String),
    /// It does not contain this backup.
    #[error("there is no backup {id} in {place}; `spandrel backup list {place}` shows those that are")]
    Unknown {
        /// The ID of the backup.
        id: BackupId,
        /// The path of the directory.
        place: String,
    },
    /// A manifest cannot be read.
    #[error("{place}: {error}")]
    Manifest {
        /// The path of its file.
        place: String,
        /// The error of decoding it.
        error: ManifestError,
    },
    /// A file that a backup needs is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// The bytes of a file that a backup needs do not match its hash.
    #[error("{0} is damaged: its bytes are not those that were backed up")]
    Damaged(String),
}

const ROOT: &str = "";
const MARKER: &str = "SPANDREL-BACKUPS";
const MARKER_TITLE: &str = "spandrel-backups ";
const LAYOUT_VERSION: u32 = 1;
/// Lists backups that are in progress, failed or about to be removed. The next run tells the store to forget them.
const PENDING: &str = "PENDING";
const BLOCKS: &str = "blocks";
const BACKUPS: &str = "backups";
/// The suffix of incomplete files.
const UNFINISHED: &str = ".unfinished";

fn manifest_name(id: BackupId) -> String {
    format!("{BACKUPS}/{id}.manifest")
}

fn folder_of(hash: ContentHash) -> String {
    let name = hash.to_string();
    format!("{BLOCKS}/{}", name.split_at(2).0)
}

fn block_name(hash: ContentHash) -> String {
    format!("{}/{hash}.block", folder_of(hash))
}

// === opening ===

impl<F: Files> BackupSet<F> {
    /// Opens a directory to add a backup; an empty directory becomes a set of backups.
    pub fn open_to_write(files: F) -> Result<Self, SetError> {
        let mut set = Self { files, here: BTreeMap::new(), unsynced: BTreeSet::new() };
        let found = set.list(ROOT)?;
        if !found.iter().any(|(name, _)| name == MARKER) {
            let leftover = format!("{MARKER}{UNFINISHED}");
            let is_empty =
                found.iter().all(|(name, _)| *name == leftover) && set.list_folders(ROOT)?.is_empty();
            if !is_empty {
                return Err(SetError::Foreign(set.files.place(ROOT)));
            }
            set.write_whole(MARKER, format!("{MARKER_TITLE}{LAYOUT_VERSION}\n").as_bytes())?;
            set.sync(ROOT)?;
        }
        set.admit(FileLock::Exclusive)?;
        for folder in [BLOCKS, BACKUPS] {
            set.files.make_folder(folder).map_err(set.failed(folder))?;
        }
        set.sync(ROOT)?;
        set.remove_leftovers()?;
        set.look_around()?;
        Ok(set)
    }

    /// Opens a set of backups to read from it.
    pub fn open_to_read(files: F) -> Result<Self, SetError> {
        let mut set = Self { files, here: BTreeMap::new(), unsynced: BTreeSet::new() };
        set.admit(FileLock::Shared)?;
        set.look_around()?;
        Ok(set)
    }

    fn admit(&mut self, lock: FileLock) -> Result<(), SetError> {
        let here = self.files.place(ROOT);
        let title = match self.files.read(MARKER) {
            Ok(title) => String::from_utf8_lossy(&title).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SetError::Foreign(here)),
            Err(error) => return Err(self.failed(MARKER)(error)),
        };
        match title.strip_prefix(MARKER_TITLE).and_then(|version| version.trim().parse::<u32>().ok()) {
            Some(LAYOUT_VERSION) => {}
            Some(newer) if newer > LAYOUT_VERSION => return Err(SetError::Newer(here)),
            _ => return Err(SetError::Foreign(here)),
        }
        let held = self.files.lock(MARKER, lock).map_err(self.failed(MARKER))?;
        if held { Ok(()) } else { Err(SetError::Taken(here)) }
    }

    /// Removes the unfinished files of a killed run.
    fn remove_leftovers(&mut self) -> Result<(), SetError> {
        let mut folders = vec![ROOT.to_owned(), BACKUPS.to_owned()];
        folders.extend(self.block_folders()?);
        for folder in folders {
            for (name, _) in self.list(&folder)? {
                if name.ends_with(UNFINISHED) {
                    self.remove(&joined(&folder, &name))?;
                }
            }
        }
        Ok(())
    }

    fn block_folders(&self) -> Result<Vec<String>, SetError> {
        Ok(self.list_folders(BLOCKS)?.iter().map(|folder| joined(BLOCKS, folder)).collect())
    }

    fn look_around(&mut self) -> Result<(), SetError> {
        for folder in self.block_folders()? {
            for (name, length) in self.list(&folder)? {
                let hash = name.strip_suffix(".block").and_then(|hash| hash.parse::<ContentHash>().ok());
                self.here.extend(hash.map(|hash| (hash, length)));
            }
        }
        Ok(())
    }
}

// === single files ===

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

impl<F: Files> BackupSet<F> {
    fn failed(&self, name: &str) -> impl FnOnce(io::Error) -> SetError + use<F> {
        let place = self.files.place(name);
        move |error| SetError::Io { place, error }
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SetError> {
        self.files.files(folder).map_err(self.failed(folder))
    }

    fn list_folders(&self, folder: &str) -> Result<Vec<String>, SetError> {
        self.files.folders(folder).map_err(self.failed(folder))
    }

    /// Writes a file so that it is complete once it has its name. The name is not durable yet.
    fn write_whole(&mut self, name: &str, bytes: &[u8]) -> Result<(), SetError> {
        let unfinished = format!("{name}{UNFINISHED}");
        self.files.write(&unfinished, bytes).map_err(self.failed(&unfinished))?;
        self.files.rename(&unfinished, name).map_err(self.failed(name))
    }

    fn sync(&mut self, folder: &str) -> Result<(), SetError> {
        self.files.sync_folder(folder).map_err(self.failed(folder))
    }

    fn remove(&mut self, name: &str) -> Result<(), SetError> {
        self.files.remove(name).map_err(self.failed(name))
    }
}

// === content ===

impl<F: Files> BackupSet<F> {
    /// The path of the directory, for messages.
    pub fn place(&self) -> String {
        self.files.place(ROOT)
    }

    /// The path of the file with the contents of this hash, for messages.
    pub fn place_of(&self, hash: ContentHash) -> String {
        self.files.place(&block_name(hash))
    }

    /// The complete backups of the set, oldest first.
    pub fn ids(&self) -> Result<Vec<BackupId>, SetError> {
        let found = self.list(BACKUPS)?;
        let id = |(name, _): &(String, u64)| name.strip_suffix(".manifest")?.parse().ok();
        let mut ids: Vec<BackupId> = found.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads a manifest; the newest one if `id` is `None`.
    pub fn manifest(&self, id: Option<BackupId>) -> Result<Manifest, SetError> {
        let ids = self.ids()?;
        let id = match id {
            None => *ids.last().ok_or_else(|| SetError::Empty(self.place()))?,
            Some(id) if ids.contains(&id) => id,
            Some(id) => return Err(SetError::Unknown { id, place: self.place() }),
        };
        let name = manifest_name(id);
        let text = self.files.read(&name).map_err(self.failed(&name))?;
        Manifest::decode(&String::from_utf8_lossy(&text))
            .map_err(|error| SetError::Manifest { place: self.files.place(&name), error })
    }

    /// Reads the contents of this hash, and checks them.
    pub fn read(&self, hash: ContentHash) -> Result<Vec<u8>, SetError> {
        let name = block_name(hash);
        let bytes = match self.files.read(&name) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SetError::Missing(self.files.place(&name)));
            }
            Err(error) => return Err(self.failed(&name)(error)),
        };
        if ContentHash::of(&bytes) == hash {
            Ok(bytes)
        } else {
            Err(SetError::Damaged(self.files.place(&name)))
        }
    }

    /// Whether the set has the contents of this hash.
    pub fn has(&self, hash: ContentHash) -> bool {
        self.here.contains_key(&hash)
    }

    /// Backups that the store may remember though the set does not have them: failed and removed ones.
    pub fn forgettable(&self) -> Result<Vec<BackupId>, SetError> {
        let kept = self.ids()?;
        Ok(self.pending().into_iter().filter(|id| !kept.contains(id)).collect())
    }

    fn pending(&self) -> Vec<BackupId> {
        let text = self.files.read(PENDING).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(|line| line.parse().ok()).collect()
    }
}

// === adding a backup ===

impl<F: Files> BackupSet<F> {
    /// Gives a backup an ID larger than that of every other one in the set, and records it as pending before the store
    /// learns of it. If the process is killed, the next run can tell the store that the backup failed.
    pub fn begin(&mut self, now: UnixNanos) -> Result<BackupStart, SetError> {
        let mut pending = self.pending();
        let latest = self.ids()?.into_iter().chain(pending.iter().copied()).max();
        let id = BackupId(now.0.max(latest.map_or(0, |id| id.0.saturating_add(1))));
        pending.push(id);
        self.set_pending(&pending)?;
        // A file whose length differs from its manifest is damaged and is fetched again.
        let known = self.lengths();
        self.here.retain(|hash, length| known.get(hash).is_none_or(|known| known == length));
        Ok(BackupStart { id, have: self.here.keys().copied().collect() })
    }

    /// The lengths of contents by their hash, from all readable manifests.
    fn lengths(&self) -> BTreeMap<ContentHash, u64> {
        let manifests =
            self.ids().unwrap_or_default().into_iter().filter_map(|id| self.manifest(Some(id)).ok());
        let blocks = manifests.flat_map(|backup| backup.blocks);
        blocks.filter_map(|block| Some((block.hash?, block.bytes))).collect()
    }

    /// Stores contents under their hash. They are durable once a backup is completed.
    pub fn put(&mut self, hash: ContentHash, bytes: &[u8]) -> Result<(), SetError> {
        let folder = folder_of(hash);
        if self.unsynced.insert(folder.clone()) {
            self.files.make_folder(&folder).map_err(self.failed(&folder))?;
            self.unsynced.insert(BLOCKS.to_owned());
        }
        self.write_whole(&block_name(hash), bytes)?;
        self.here.insert(hash, bytes.len() as u64);
        Ok(())
    }

    /// Completes a backup, which is durable when this returns.
    pub fn complete(&mut self, backup: &Manifest) -> Result<(), SetError> {
        for folder in std::mem::take(&mut self.unsynced) {
            self.sync(&folder)?;
        }
        self.write_whole(&manifest_name(backup.id), backup.encode().as_bytes())?;
        self.sync(BACKUPS)
    }

    /// Removes all but the newest backups, and the contents that no remaining backup needs. Returns how many backups
    /// it removed. Removes nothing if a manifest cannot be read, since it is unknown which contents that one needs.
    pub fn keep(&mut self, count: usize) -> Result<usize, SetError> {
        let ids = self.ids()?;
        let (old, kept) = ids.split_at(ids.len().saturating_sub(count));
        let mut needed = HashSet::new();
        for id in kept {
            needed.extend(self.manifest(Some(*id))?.hashes());
        }
        if !old.is_empty() {
            self.set_pending(&[self.pending().as_slice(), old].concat())?;
            for id in old {
                self.remove(&manifest_name(*id))?;
            }
            // The removal of a manifest must be durable before its blocks are removed.
            self.sync(BACKUPS)?;
        }
        let gone: Vec<ContentHash> =
            self.here.keys().copied().filter(|hash| !needed.contains(hash)).collect();
        for hash in gone {
            self.remove(&block_name(hash))?;
            self.here.remove(&hash);
        }
        Ok(old.len())
    }

    /// Ends a run, after the store was told which pending backups failed.
    pub fn end(&mut self) -> Result<(), SetError> {
        self.set_pending(&[])
    }

    fn set_pending(&mut self, ids: &[BackupId]) -> Result<(), SetError> {
        if ids.is_empty() {
            self.remove(PENDING)?;
        } else {
            let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
            self.write_whole(PENDING, text.as_bytes())?;
        }
        self.sync(ROOT)
    }
}
