//! Takes over what an encrypted store has from before: records that are not encrypted, and blocks whose data key was
//! deleted while nothing was running. Blocks that are not encrypted are left to background work.

use std::collections::BTreeMap;

use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::TenantId;

use crate::engine::{Change, EngineError};
use crate::records::{encryption, expired_rollups};
use crate::store::core::Core;
use crate::store::maintenance::FormatUpgrades;

/// Removes blocks from the catalog, and records, that cannot be read any more. The blocks were not adopted.
pub(super) fn remove_ended(core: &Core) -> Result<(), EngineError> {
    let Some(engine) = core.engine.encryption() else { return Ok(()) };
    let mut windows: BTreeMap<(TenantId, Hour), Vec<BlockId>> = BTreeMap::new();
    let is_adopted = |key: &BlockKey| {
        core.tenants.get(&key.tenant).is_some_and(|state| state.view().get(key.block).is_some())
    };
    // A key that was deleted since the catalog was read is left to background work, which knows of views.
    for key in engine.ended_blocks()?.into_iter().filter(|key| !is_adopted(key)) {
        // Rows of the trace index may still name it.
        core.committer.observe_block_id(key.block);
        windows.entry((key.tenant, key.hour)).or_default().push(key.block);
    }
    for ((tenant, hour), removes) in windows {
        tracing::warn!(%tenant, hour = hour.0, blocks = removes.len(), "the data key of these blocks was deleted: they are removed");
        core.commit(&Change { tenant, hour, adds: Vec::new(), removes })?;
    }
    expired_rollups::remove_ended(&*core.engine, engine).map(drop)
}

/// Encrypts the records that are not, and notes that files may still hold plain bytes until everything is taken over.
pub(super) fn records(core: &Core, upgrades: &FormatUpgrades) -> Result<(), EngineError> {
    // Noted first: after a kill in between nothing else would tell that the files still hold the plain ones.
    if upgrades.has_plain_blocks() || encryption::has_plain(&*core.engine)? {
        encryption::note_plain(&*core.engine)?;
    }
    encryption::encrypt_plain(&*core.engine)?;
    upgrades.expect_plain_files(encryption::is_plain_noted(&*core.engine)?);
    Ok(())
}
