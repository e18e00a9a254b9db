//! Numbers of blocks, which never come again: rows of the trace index outlive the block that they
//! point into, and must not point into another one that has its number.
//!
//! Each opening of a store takes a range of numbers behind all that were taken before, and notes that
//! durably before it gives one. Clocks may stand still or jump; they only give the first number of all.

use std::sync::atomic::Ordering;

use spandrel_block::{BlockId, record};

use crate::engine::EngineError;
use crate::store::BlockTraceStore;

pub(crate) const RECORD: &str = "numbers";
const NAME: &str = "blocks";
pub(crate) const VERSION: u8 = 1;
/// More than one opening can use up.
const RANGE: u64 = 1 << 32;

/// The first number that was not taken yet.
pub(crate) fn read(value: &[u8]) -> Result<u64, EngineError> {
    record::decode(VERSION, value)
        .map_err(|error| EngineError::Io(format!("the record of block numbers: {error}")))
}

impl BlockTraceStore {
    /// Takes a range of numbers. Comes when all numbers in the catalog were seen.
    pub(crate) fn take_numbers(&self) -> Result<(), EngineError> {
        self.see_block(BlockId(self.clock.now().0));
        for (_, value) in self.engine.records(RECORD)? {
            match read(&value) {
                Ok(taken) => self.see_block(BlockId(taken)),
                Err(error) => {
                    self.damaged_records.report(&error, "numbers of blocks are given by the clock");
                }
            }
        }
        let taken = self.next_block.load(Ordering::Relaxed).saturating_add(RANGE);
        let value = record::encode(VERSION, &taken).map_err(|error| EngineError::Io(error.to_string()))?;
        match self.engine.put_record(RECORD, NAME, Some(&value)) {
            // A store on a full disk can be read and cleaned; the clock has to do.
            Err(EngineError::NoSpace(_)) => Ok(()),
            result => result,
        }
    }
}
