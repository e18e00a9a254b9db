//! The record of each pinned trace: its name says which trace, its value since when.

use std::error::Error;

use spandrel_block::record;
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::engine::{EngineError, Records};

/// The kind of the engine's records.
pub(crate) const RECORD: &str = "pin";
pub(crate) const VERSION: u8 = 1;
/// Between tenant and trace in a record's name: no tenant has it in its own.
const SEPARATOR: char = '/';

/// Reads a pin: which trace, and since when.
pub(crate) fn read(name: &str, value: &[u8]) -> Result<(TenantId, TraceId, UnixNanos), EngineError> {
    let (tenant, trace) = read_name(name)?;
    let since: u64 = record::decode(VERSION, value).map_err(|error| unreadable(name, error))?;
    Ok((tenant, trace, UnixNanos(since)))
}

/// Which trace a pin holds: the name of its record alone says that.
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
