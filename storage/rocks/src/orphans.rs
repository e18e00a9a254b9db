//! Orphans: blob files that a killed process was writing and that no table refers to.
//!
//! RocksDB (seen in 11.8) removes unreferenced files when it opens a database, except blob files without a footer,
//! because such a file may still be written to. A process that is killed during a flush leaves one, and it would stay
//! forever: up to a blob file of disk for each kill, holding spans that a user may have deleted since. A file that
//! existed before the database was opened and that its state does not name is not being written to, so it is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::database::Database;

/// The blob files in a database's directory.
pub(crate) struct BlobFiles(BTreeSet<PathBuf>);

/// The property that describes the current tables and blob files of a family.
const TABLES: &str = "rocksdb.sstables";
const BLOB_FILES: &str = "rocksdb.num-blob-files";
const LOOKS: usize = 10;

// === impl BlobFiles ===

impl BlobFiles {
    /// Lists the blob files. Has to be called before the database is opened, so that no new file is taken for an
    /// orphan.
    pub(crate) fn list(path: &Path) -> io::Result<Self> {
        let mut found = BTreeSet::new();
        if path.exists() {
            for entry in fs::read_dir(path)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "blob") {
                    found.insert(path);
                }
            }
        }
        Ok(Self(found))
    }

    /// Removes the files that the open database does not refer to. Keeps all of them if RocksDB does not say which ones
    /// it refers to.
    pub(crate) fn remove_orphans(self, db: &Database, families: &[&str]) {
        let left: Vec<PathBuf> = self.0.into_iter().filter(|file| file.exists()).collect();
        if left.is_empty() {
            return;
        }
        // A compaction may end between the count and the list; then the next attempt succeeds.
        let Some(live) = (0..LOOKS).find_map(|_| live(db, families)) else {
            tracing::warn!("RocksDB does not say which blob files it has; those of a killed process stay");
            return;
        };
        for file in left.iter().filter(|file| number_of(file).is_some_and(|number| !live.contains(&number))) {
            match fs::remove_file(file) {
                Ok(()) => tracing::info!(file = %file.display(), "removed what a killed process was writing"),
                // RocksDB has removed it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "what a killed process was writing stays");
                }
            }
        }
    }
}

fn number_of(file: &Path) -> Option<u64> {
    file.file_stem()?.to_str()?.parse().ok()
}

/// The numbers of all blob files of the current state; `None` unless RocksDB lists as many as it counts.
fn live(db: &Database, families: &[&str]) -> Option<BTreeSet<u64>> {
    let mut live = BTreeSet::new();
    for family in families {
        let handle = db.cf_handle(family)?;
        let count = db.property_int_value_cf(&handle, BLOB_FILES).ok()??;
        let tables = db.property_value_cf(&handle, TABLES).ok()??;
        let numbers = told_numbers(&tables);
        if numbers.len() as u64 != count {
            return None;
        }
        live.extend(numbers);
    }
    Some(live)
}

/// Reads the number of each blob file from a description of tables.
fn told_numbers(tables: &str) -> BTreeSet<u64> {
    let numbers = tables.split("blob_file_number: ").skip(1);
    numbers.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use spandrel_block::{BlockId, BlockKey, Hour};
    use spandrel_proto::TenantId;
    use spandrel_storage::engine::{BlockStore as _, Catalog as _, Change, Engine as _, NewBlock};

    use super::*;
    use crate::{DataDir, Durability, RocksEngine};

    fn open(directory: &Path) -> RocksEngine {
        RocksEngine::open(DataDir::lock(directory, 1 << 20).unwrap(), Durability::Sync).unwrap()
    }

    fn blobs(directory: &Path) -> BTreeSet<PathBuf> {
        BlobFiles::list(&directory.join("store")).unwrap().0
    }

    #[test]
    fn what_a_killed_process_was_writing_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = bytes::Bytes::from(vec![7; 200_000]);
        let mut change =
            Change { tenant: TenantId::default(), hour: Hour(1), adds: Vec::new(), removes: Vec::new() };
        for (id, short_lived) in [(1, true), (2, false)] {
            let row = spandrel_block::record::encode(1, &0u8).unwrap();
            let id = BlockId(id);
            change.adds.push(NewBlock { id, bytes: bytes.clone(), row, short_lived, index: Vec::new() });
        }
        let engine = open(directory.path());
        engine.commit(&change).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let live = blobs(directory.path());
        assert_eq!(live.len(), 2, "one for each family");
        // An orphan that was just created, one with a header and some rows, and a live file that lost its footer.
        for (number, length) in [(3, 0), (900, 5_000)] {
            let orphan = directory.path().join(format!("store/{number:06}.blob"));
            fs::write(orphan, &fs::read(live.first().unwrap()).unwrap()[..length]).unwrap();
        }
        let cut = live.last().unwrap();
        let length = fs::metadata(cut).unwrap().len();
        fs::File::options().write(true).open(cut).unwrap().set_len(length - 8).unwrap();
        assert_eq!(blobs(directory.path()).len(), 4);
        let engine = open(directory.path());
        assert_eq!(blobs(directory.path()), live);
        let key = |id| BlockKey { tenant: TenantId::default(), hour: Hour(1), block: BlockId(id) };
        let read = engine.get_ranges(&key(1), std::slice::from_ref(&(0..200_000))).unwrap();
        assert_eq!(read, [bytes]);
    }
}
