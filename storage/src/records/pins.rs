//! The record of each pinned trace: the name contains the trace, the value the time since when it is pinned.

use std::error::Error;

use spandrel_block::record;
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::engine::{EngineError, Records};

/// The kind of the engine's records.
pub(crate) const RECORD: &str = "pin";
pub(crate) const VERSION: u8 = 1;
/// Separates tenant and trace in a record's name; no tenant name contains it.
const SEPARATOR: char = '/';

/// Reads the tenant, the trace and the time of a pin.
pub(crate) fn read(name: &str, value: &[u8]) -> Result<(TenantId, TraceId, UnixNanos), EngineError> {
    let (tenant, trace) = read_name(name)?;
    let since: u64 = record::decode(VERSION, value).map_err(|error| unreadable(name, error))?;
    Ok((tenant, trace, UnixNanos(since)))
}

/// Reads tenant and trace from the name of a pin's record, which also works for a damaged value.
pub(crate) fn read_name(name: &str) -> Result<(TenantId, TraceId), EngineError> {
    let (tenant, trace) = name.split_once(SEPARATOR).ok_or_else(|| unreadable(name, "its name"))?;
    let tenant = TenantId::new(tenant).map_err(|error| unreadable(name, error))?;
    let trace = trace.parse::<TraceId>().map_err(|error| unreadable(name, error))?;
    Ok((tenant, trace))
}

pub(crate) fn write(
    engine: &dyn Records,
    tenant: &TenantId,
    trace: TraceId,
    since: UnixNanos,
) -> Result<(), EngineError> {
    let value = record::encode(VERSION, &since.0)?;
    engine.put_record(RECORD, &name(tenant, trace), Some(&value))
}

pub(crate) fn remove(engine: &dyn Records, tenant: &TenantId, trace: TraceId) -> Result<(), EngineError> {
    engine.put_record(RECORD, &name(tenant, trace), None)
}

fn name(tenant: &TenantId, trace: TraceId) -> String {
    format!("{tenant}{SEPARATOR}{trace}")
}

fn unreadable(name: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> EngineError {
    EngineError::damaged_record(RECORD, name, error)
}
