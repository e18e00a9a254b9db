//! Pins: traces that retention does not remove.
//!
//! Each pin is a small record of the engine. All pins are in memory, because retention looks up each trace that it is
//! about to remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use super::Lifecycle;
use crate::engine::EngineError;
use crate::error::LifecycleError;
use crate::failpoint::{self, Failpoint};
use crate::records;
use crate::store::read::trace_reader::TraceReader;

/// The pinned traces of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Pins(RwLock<BTreeMap<TenantId, Arc<PinnedTraces>>>);

/// The pinned traces of a tenant, with the time since when they are pinned.
pub(crate) type PinnedTraces = BTreeMap<TraceId, UnixNanos>;

// === impl Pins ===

impl Pins {
    /// The current pins of a tenant.
    pub(crate) fn of(&self, tenant: &TenantId) -> Arc<PinnedTraces> {
        self.0.read().get(tenant).cloned().unwrap_or_default()
    }

    fn change(&self, tenant: &TenantId, change: impl FnOnce(&mut PinnedTraces) -> Option<UnixNanos>) {
        let mut all = self.0.write();
        change(Arc::make_mut(all.entry(tenant.clone()).or_default()));
    }
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Loads the pins. A damaged record still names its trace, but not the time.
    pub(crate) fn load_pins(&self) -> Result<(), EngineError> {
        for (name, value) in self.core.engine.records(records::pins::RECORD)? {
            let pin = records::pins::read(&name, &value);
            if let Err(error) = &pin {
                let follows = "the trace stays pinned, if its name can be read";
                self.core.quarantine.records.report(error, follows);
            }
            let Ok((tenant, trace)) = records::pins::read_name(&name) else { continue };
            let since = pin.map_or(UnixNanos(0), |(.., since)| since);
            self.pins.change(&tenant, |pins| pins.insert(trace, since));
        }
        Ok(())
    }

    /// Pins a stored trace. Returns the time since when it is pinned.
    pub(crate) fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, LifecycleError> {
        // Excludes retention, because an acknowledged pin must hold.
        let _lock = self.try_lock()?;
        // A finished deletion removes the pins of its traces, so an acknowledged pin would be lost.
        if self.is_being_deleted(tenant, trace) {
            return Ok(None);
        }
        // A damaged pin holds, but its time is unknown, so it is written again.
        if let Some(since) = self.pins.of(tenant).get(&trace).filter(|since| since.0 > 0) {
            return Ok(Some(*since));
        }
        let core = &*self.core;
        let Some(state) = core.tenants.get(tenant) else { return Ok(None) };
        let reader = TraceReader { core, tenant, state: &state, view: &state.view() };
        if reader.all_parts(trace).is_empty() {
            return Ok(None);
        }
        let since = core.clock.now();
        records::pins::write(&*core.engine, tenant, trace, since)?;
        failpoint::reach(Failpoint::PinWritten);
        self.pins.change(tenant, |pins| pins.insert(trace, since));
        Ok(Some(since))
    }

    /// Removes a pin. Returns whether there was one.
    pub(crate) fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, LifecycleError> {
        let _lock = self.try_lock()?;
        Ok(self.unpin_locked(tenant, trace)?)
    }

    /// Like [`Self::unpin`]; the caller has to hold the lifecycle lock.
    pub(super) fn unpin_locked(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, EngineError> {
        if !self.pins.of(tenant).contains_key(&trace) {
            return Ok(false);
        }
        records::pins::remove(&*self.core.engine, tenant, trace)?;
        failpoint::reach(Failpoint::UnpinWritten);
        self.pins.change(tenant, |pins| pins.remove(&trace));
        // Spans that only this pin kept may have expired.
        self.retention.forget();
        self.quota.forget_spent();
        Ok(true)
    }

    /// The pinned traces of a tenant.
    pub(crate) fn pins(&self, tenant: &TenantId) -> Arc<PinnedTraces> {
        self.pins.of(tenant)
    }
}
