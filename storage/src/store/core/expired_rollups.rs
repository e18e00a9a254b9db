//! The rollups of expired spans in memory: loaded when the store is opened, read by aggregates, added and dropped by
//! `lifecycle`, which decides when.

use std::sync::Arc;

use spandrel_proto::{TimeRange, UnixNanos};

use super::Core;
use super::tenant::TenantState;
use super::view::View;
use crate::api::Damage;
use crate::engine::EngineError;
use crate::records::expired_rollups::{self, ExpiredRollup, ExpiredRollupRow};

/// The consequence of an unreadable rollup, for the log.
const MISSING: &str = "aggregates lack spans that a rule has removed";

// === impl Core ===

impl Core {
    /// Loads the list of rollups. A rollup whose blocks are still live comes from a step that was killed before its
    /// commit, and is removed.
    pub(crate) fn load_expired_rollups(&self) -> Result<(), EngineError> {
        for (name, listed) in expired_rollups::listed(&*self.engine)? {
            let rollup = match listed {
                Ok(rollup) => rollup,
                Err(error) => {
                    self.set_rollup_aside(name, &error)?;
                    continue;
                }
            };
            self.committer.observe_block_id(rollup.id());
            let state = self.tenants.get_or_new(rollup.tenant());
            if counts_in(&rollup, &state.view()) {
                state.expired_rollups.write().push(Arc::new(rollup));
            } else {
                rollup.remove(&*self.engine)?;
            }
        }
        Ok(())
    }

    /// Quarantines an unreadable rollup. Its tenant and blocks are unknown, so every aggregate is partial until it
    /// would have expired. Its time is the last minute of its rows if they can be read, else the current time.
    fn set_rollup_aside(&self, name: String, error: &EngineError) -> Result<(), EngineError> {
        let (id, last) = expired_rollups::what_is_left(&*self.engine, &name)?;
        if let Some(id) = id {
            self.committer.observe_block_id(id);
        }
        self.quarantine.records.report(error, MISSING);
        self.quarantine.rollups.lock().insert(name, last.unwrap_or_else(|| self.clock.now()));
        Ok(())
    }

    /// Removes unreadable rollups whose time is before `horizon`.
    pub(crate) fn drop_unreadable_rollups(&self, horizon: UnixNanos) -> Result<(), EngineError> {
        let unreadable = self.quarantine.rollups.lock().clone();
        for (name, _) in unreadable.into_iter().filter(|(_, last)| *last <= horizon) {
            expired_rollups::remove(&*self.engine, &name)?;
            self.quarantine.rollups.lock().remove(&name);
        }
        Ok(())
    }

    /// Writes the rollup of spans that are about to leave their blocks. It counts from the commit on.
    pub(crate) fn keep_expired_rollup(
        &self,
        state: &TenantState,
        rollup: ExpiredRollup,
        rows: &[ExpiredRollupRow],
    ) -> Result<Arc<ExpiredRollup>, EngineError> {
        rollup.write(&*self.engine, rows)?;
        let rollup = Arc::new(rollup);
        state.expired_rollups.write().push(rollup.clone());
        Ok(rollup)
    }

    /// Drops a rollup whose retention is over, or whose commit has failed.
    pub(crate) fn drop_expired_rollup(
        &self,
        state: &TenantState,
        rollup: &Arc<ExpiredRollup>,
    ) -> Result<(), EngineError> {
        state.expired_rollups.write().retain(|known| known != rollup);
        rollup.remove(&*self.engine)
    }

    /// The rows of spans that have expired from the view and may have started in the range; without damaged ones.
    pub(crate) fn expired_rollup_rows(
        &self,
        state: &TenantState,
        view: &View,
        range: &TimeRange,
        damage: &Damage,
    ) -> Result<Vec<ExpiredRollupRow>, EngineError> {
        for _ in self.quarantine.rollups.lock().keys() {
            damage.add();
        }
        let listed = state.expired_rollups.read().clone();
        let mut found = Vec::new();
        for rollup in listed.iter().filter(|rollup| counts_in(rollup, view) && rollup.touches(range)) {
            for rows in rollup.rows(&*self.engine)? {
                match rows {
                    Ok(rows) => found.extend(rows.into_iter().filter(|row| row.touches(range))),
                    Err(error) => {
                        damage.add();
                        self.quarantine.records.report(&error, MISSING);
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Whether a rollup counts in a view: if the view has none of the blocks that contained the spans.
fn counts_in(rollup: &ExpiredRollup, view: &View) -> bool {
    !rollup.blocks().any(|block| view.get(block).is_some())
}
