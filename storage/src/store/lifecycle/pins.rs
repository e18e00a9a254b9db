//! Traces that stay whatever retention says.
//!
//! Each pin is a small record of the engine, and all of them are in memory: retention asks for each
//! trace that is about to go.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::RwLock;
use spandrel_block::record;
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::cleaning::CleaningError;
use crate::engine::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::store::BlockTraceStore;

/// The pinned traces of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Pins(RwLock<BTreeMap<TenantId, Arc<Pinned>>>);

/// The pinned traces of a tenant, and since when they are.
pub(crate) type Pinned = BTreeMap<TraceId, UnixNanos>;

/// The kind of the engine's records that pins are.
pub(crate) const RECORD: &str = "pin";
pub(crate) const VERSION: u8 = 1;
/// Between tenant and trace in a record's name: no tenant has it in its own.
const SEPARATOR: char = '/';

// === impl Pins ===

impl Pins {
    /// The pins of a tenant right now.
    pub(crate) fn of(&self, tenant: &TenantId) -> Arc<Pinned> {
        self.0.read().get(tenant).cloned().unwrap_or_default()
    }

    fn change(&self, tenant: &TenantId, change: impl FnOnce(&mut Pinned) -> Option<UnixNanos>) {
        let mut all = self.0.write();
        change(Arc::make_mut(all.entry(tenant.clone()).or_default()));
    }
}

/// What a record says: which trace, and since when.
pub(crate) fn read(name: &str, value: &[u8]) -> Result<(TenantId, TraceId, UnixNanos), EngineError> {
    let (tenant, trace) = read_name(name)?;
    let since: u64 = record::decode(VERSION, value).map_err(|error| unreadable(name, error))?;
    Ok((tenant, trace, UnixNanos(since)))
}

/// Which trace a pin holds: its name alone says that.
fn read_name(name: &str) -> Result<(TenantId, TraceId), EngineError> {
    let (tenant, trace) = name.split_once(SEPARATOR).ok_or_else(|| unreadable(name, "its name"))?;
    let tenant = TenantId::new(tenant).map_err(|error| unreadable(name, error))?;
    let trace = trace.parse::<TraceId>().map_err(|error| unreadable(name, error))?;
    Ok((tenant, trace))
}

fn unreadable(name: &str, error: impl Display) -> EngineError {
    EngineError::Io(format!("the record of pin {name}: {error}"))
}

// === impl BlockTraceStore ===

impl BlockTraceStore {
    /// The pins that the engine remembers. Of a damaged one it is forgotten since when it holds, not what.
    pub(crate) fn load_pins(&self) -> Result<(), EngineError> {
        for (name, value) in self.engine.records(RECORD)? {
            if let Err(error) = read(&name, &value) {
                self.damaged_records.report(&error, "the trace stays pinned, if its name can be read");
            }
            let Ok((tenant, trace)) = read_name(&name) else { continue };
            let since = read(&name, &value).map_or(UnixNanos(0), |(.., since)| since);
            self.pins.change(&tenant, |pins| pins.insert(trace, since));
        }
        Ok(())
    }

    pub(crate) fn pin_trace(
        &self,
        tenant: &TenantId,
        trace: TraceId,
    ) -> Result<Option<UnixNanos>, CleaningError> {
        // Whoever drops windows waits: a pin that was answered must hold.
        let _turn = self.turn()?;
        // A deletion takes the pins of its traces when it is done: one that was answered would be lost.
        if self.is_being_deleted(tenant, trace) {
            return Ok(None);
        }
        // A damaged pin holds, and does not know since when: it is written anew.
        if let Some(since) = self.pins.of(tenant).get(&trace).filter(|since| since.0 > 0) {
            return Ok(Some(*since));
        }
        let Some(state) = self.tenant(tenant) else { return Ok(None) };
        if self.parts(tenant, &state, &state.view(), trace).is_empty() {
            return Ok(None);
        }
        let since = self.clock.now();
        let value = record::encode(VERSION, &since.0).map_err(|error| EngineError::Io(error.to_string()))?;
        self.engine.put_record(RECORD, &name(tenant, trace), Some(&value))?;
        failpoint::reach(Failpoint::PinWritten);
        self.pins.change(tenant, |pins| pins.insert(trace, since));
        Ok(Some(since))
    }

    pub(crate) fn unpin_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, CleaningError> {
        let _turn = self.turn()?;
        Ok(self.take_pin(tenant, trace)?)
    }

    /// The same for whoever has his turn.
    pub(crate) fn take_pin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, EngineError> {
        if !self.pins.of(tenant).contains_key(&trace) {
            return Ok(false);
        }
        self.engine.put_record(RECORD, &name(tenant, trace), None)?;
        failpoint::reach(Failpoint::UnpinWritten);
        self.pins.change(tenant, |pins| pins.remove(&trace));
        // What this pin alone has kept is due now.
        self.retained.forget();
        self.limit.forget_spent();
        Ok(true)
    }
}

fn name(tenant: &TenantId, trace: TraceId) -> String {
    format!("{tenant}{SEPARATOR}{trace}")
}
