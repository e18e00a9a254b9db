//! Pins: traces that retention does not remove.

use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::error::LifecycleError;

/// Pins traces and unpins them.
///
/// # Contract
/// - A pinned trace outlives retention, its rules and the disk quota; it never outlives a deletion.
/// - All methods block; call them from threads that may wait.
pub trait Pins: Send + Sync {
    /// Pins a stored trace. Returns the time since when it is pinned; `None` if it is not stored, or is being deleted:
    /// spans of it that arrive meanwhile can be pinned after the deletion.
    fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, LifecycleError>;

    /// Removes a pin. Returns whether there was one.
    fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, LifecycleError>;

    /// The pinned traces with the time since when they are pinned, sorted by trace ID.
    fn pins(&self, tenant: &TenantId) -> Vec<(TraceId, UnixNanos)>;
}
