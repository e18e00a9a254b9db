//! Takes over what an encrypted store has from before: records that are not encrypted, and blocks whose data key was
//! deleted while nothing was running. Blocks that are not encrypted are left to background work.

use std::collections::BTreeMap;

use spandrel_block::{BlockId, Hour};
use spandrel_proto::TenantId;

use crate::engine::{Change, EngineError};
use crate::records::encryption;
use crate::store::core::Core;
use crate::store::maintenance::FormatUpgrades;

/// Removes blocks from the catalog that nobody can read any more. They were not adopted.
pub(super) fn remove_ended(core: &Core) -> Result<(), EngineError> {
    let Some(engine) = core.engine.encryption() else { return Ok(()) };
    engine.take_ended();
    let mut windows: BTreeMap<(TenantId, Hour), Vec<BlockId>> = BTreeMap::new();
    for key in engine.ended_blocks()? {
        // Rows of the trace index may still name it.
        core.committer.observe_block_id(key.block);
        windows.entry((key.tenant, key.hour)).or_default().push(key.block);
    }
    for ((tenant, hour), removes) in windows {
        tracing::warn!(%tenant, hour = hour.0, blocks = removes.len(), "the data key of these blocks was deleted: they are removed");
        core.commit(&Change { tenant, hour, adds: Vec::new(), removes })?;
    }
    Ok(())
}

/// Encrypts the records that are not, and notes that files may still hold plain bytes until everything is taken over.
pub(super) fn records(core: &Core, upgrades: &FormatUpgrades) -> Result<(), EngineError> {
    let rewritten = encryption::encrypt_plain(&*core.engine)?;
    if rewritten > 0 || upgrades.has_plain_blocks() {
        encryption::note_plain(&*core.engine)?;
    }
    upgrades.expect_plain_files(encryption::is_plain_noted(&*core.engine)?);
    Ok(())
}
