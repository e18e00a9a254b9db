//! The handle of an open RocksDB, and what its errors mean.

use std::sync::Arc;

use rocksdb::{BoundColumnFamily, ErrorKind};
use spandrel_storage::EngineError;

/// A RocksDB whose column families can be named from any thread.
pub(crate) type Database = rocksdb::DBWithThreadMode<rocksdb::MultiThreaded>;

pub(crate) fn family<'d>(db: &'d Database, name: &str) -> Result<Arc<BoundColumnFamily<'d>>, EngineError> {
    db.cf_handle(name).ok_or_else(|| EngineError::io(format!("column family {name} is missing")))
}

pub(crate) fn failure(error: rocksdb::Error) -> EngineError {
    if is_no_space(&error) {
        EngineError::no_space(error)
    } else if is_damage(&error) {
        EngineError::damaged(error)
    } else {
        EngineError::io(error)
    }
}

pub(crate) fn is_no_space(error: &rocksdb::Error) -> bool {
    let said = |text: &str| error.as_ref().contains(text);
    error.kind() == ErrorKind::IOError && (said("No space left") || said("quota exceeded"))
}

/// Whether a file is damaged or gone.
pub(crate) fn is_damage(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Corruption || error.as_ref().contains("No such file")
}
