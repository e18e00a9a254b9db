//! Reserves numbers of blocks, which never come again: rows of the trace index outlive the block that they point
//! into, and must not point into another one that has its number.
//!
//! Each opening of a store reserves a range behind all that were reserved before, durably before it gives one. Clocks
//! may stand still or jump: the clock gives the first number of all, and serves where the record is lost.

use spandrel_block::BlockId;

use super::Core;
use crate::engine::EngineError;
use crate::records::block_ids;

/// More than one opening can use up.
const RANGE: u64 = 1 << 32;

impl Core {
    /// Reserves a range of numbers, once all numbers in the catalog were observed.
    pub(crate) fn reserve_block_ids(&self) -> Result<(), EngineError> {
        self.committer.observe_block_id(BlockId(self.clock.now().0));
        for (_, value) in self.engine.records(block_ids::RECORD)? {
            match block_ids::read(&value) {
                Ok(reserved) => self.committer.observe_block_id(BlockId(reserved)),
                Err(error) => {
                    self.quarantine.records.report(&error, "numbers of blocks are given by the clock");
                }
            }
        }
        let first_free = self.committer.first_free_block().saturating_add(RANGE);
        match block_ids::write(&*self.engine, first_free) {
            // A store on a full disk can be read and cleaned; the clock has to do.
            Err(EngineError::NoSpace(_)) => Ok(()),
            result => result,
        }
    }
}
