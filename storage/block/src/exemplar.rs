//! Which span of many is worth looking at.

use serde::{Deserialize, Serialize};
use spandrel_proto::TraceId;

/// A span worth looking at. Failed ones are worse than others, and longer ones worse than shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exemplar {
    /// Whether it failed.
    pub failed: bool,
    /// How long it took.
    pub duration: u64,
    /// Where to look.
    pub trace: TraceId,
}
