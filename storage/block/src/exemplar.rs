//! Exemplars: traces that stand for a point of a series or an edge.

use serde::{Deserialize, Serialize};
use spandrel_proto::TraceId;

/// A span to show as an example. A failed span ranks above others, a longer one above shorter ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exemplar {
    /// Whether it failed, as `docs/semantics.md#failed` defines it.
    pub failed: bool,
    /// Its duration, in nanoseconds.
    pub duration: u64,
    /// The trace that contains it.
    pub trace: TraceId,
}
