//! Small durable records beside the blocks, such as pins and the list of backups.

use serde::{Deserialize, Serialize};
use spandrel_proto::TenantId;

use super::EngineError;

/// A small record of the store itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// The kind of the record, such as `pin`.
    pub kind: String,
    /// The name of the record, unique within its kind.
    pub name: String,
    /// The encoded value.
    pub value: Vec<u8>,
}

/// Small durable records that belong to the store as a whole, such as pins and the list of backups. The engine does not
/// interpret their bytes.
pub trait Records: Send + Sync {
    /// Every record of a kind with its name, sorted by name.
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError>;

    /// Replaces a record, or removes it. Durable like a commit.
    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError>;

    /// Writes a record with data of a tenant, which an engine that encrypts does with a key of that tenant.
    fn put_record_of(
        &self,
        _tenant: &TenantId,
        kind: &str,
        name: &str,
        value: &[u8],
    ) -> Result<(), EngineError> {
        self.put_record(kind, name, Some(value))
    }

    /// Writes many records. Engines may write them in one step.
    fn put_records(&self, records: &[StoreRecord]) -> Result<(), EngineError> {
        let mut put = records.iter();
        put.try_for_each(|record| self.put_record(&record.kind, &record.name, Some(&record.value)))
    }
}
