//! Reserves block IDs, which are never reused: rows of the trace index outlive the block that they name, and must not
//! name another block with its ID.
//!
//! Each time a store is opened, it reserves a range behind all reserved ones, durably before it uses an ID. Clocks may
//! stand still or jump, so the clock gives only the very first ID, and a substitute if the record is lost.

use spandrel_block::BlockId;

use super::Core;
use crate::engine::EngineError;
use crate::records::block_ids;

/// More IDs than one opening can use.
const RANGE: u64 = 1 << 32;

impl Core {
    /// Reserves a range of IDs, after all IDs in the catalog were observed.
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
            // A store on a full disk must still open, for queries and deletions; IDs then follow the clock.
            Err(EngineError::NoSpace(_)) => Ok(()),
            result => result,
        }
    }
}
