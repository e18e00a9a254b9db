//! Pins: traces that stay whatever retention says.

use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::error::LifecycleError;

/// Pins traces and unpins them.
///
/// # Contract
/// - A pinned trace outlives retention, its rules and the disk quota; it never outlives a deletion.
/// - All methods block; call them from threads that may wait.
pub trait Pins: Send + Sync {
    /// Pins a trace that is stored. Returns since when it is pinned; `None` when it is not stored, or is being
    /// deleted: what arrives of it meanwhile can be pinned when that is done.
    fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, LifecycleError>;

    /// Takes the pin away. Returns whether there was one.
    fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, LifecycleError>;

    /// The pinned traces and since when they are, by trace ID.
    fn pins(&self, tenant: &TenantId) -> Vec<(TraceId, UnixNanos)>;
}
