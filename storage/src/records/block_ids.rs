//! The record of the first block ID that is not reserved yet.

use spandrel_block::record;

use crate::engine::{EngineError, Records};

/// The kind of the engine's record.
pub(crate) const RECORD: &str = "numbers";
const NAME: &str = "blocks";
pub(crate) const VERSION: u8 = 1;

pub(crate) fn read(value: &[u8]) -> Result<u64, EngineError> {
    record::decode(VERSION, value).map_err(|error| EngineError::damaged_record(RECORD, NAME, error))
}

pub(crate) fn write(engine: &dyn Records, first_free: u64) -> Result<(), EngineError> {
    let value = record::encode(VERSION, &first_free)?;
    engine.put_record(RECORD, NAME, Some(&value))
}
