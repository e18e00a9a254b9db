//! Corruption of a closed RocksDB store: single bits of its files, as a disk flips them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IteratorMode, Options};

/// An offset inside the first block of data of a table.
const IN_THE_FIRST_BLOCK: usize = 20;

/// Rows of a column family by their keys.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Opens the database in a folder with RocksDB itself, for reading.
fn look(store: &Path) -> DB {
    let families = DB::list_cf(&Options::default(), store).unwrap();
    DB::open_cf_for_read_only(&Options::default(), store, families, false).unwrap()
}

/// The tables of a column family, oldest first.
pub fn tables(store: &Path, family: &str) -> Vec<PathBuf> {
    let files = look(store).live_files().unwrap().into_iter();
    let of_family = files.filter(|file| file.column_family_name == family);
    let mut tables: Vec<PathBuf> =
        of_family.map(|file| store.join(file.name.trim_start_matches('/'))).collect();
    tables.sort();
    tables
}

/// Every row of a column family.
pub fn rows(store: &Path, family: &str) -> Rows {
    let db = look(store);
    let rows = db.iterator_cf(db.cf_handle(family).unwrap(), IteratorMode::Start);
    rows.map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())).unwrap()).collect()
}

/// Flips a bit of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Flips a bit in the data of tables.
pub fn damage(tables: &[PathBuf]) {
    assert!(!tables.is_empty(), "there is no table to damage");
    tables.iter().for_each(|table| flip(table, IN_THE_FIRST_BLOCK));
}
