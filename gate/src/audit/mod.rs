//! The audit log: what was asked, changed and refused, as JSON lines that are chained by their hashes.
//!
//! Each line holds the SHA-256 of the line before it, so that a line that is changed, removed or moved breaks the chain.
//! The chain alone proves nothing against a process that may write the files and computes all later hashes anew: keep
//! the head (sequence number and hash of the last line, printed at start, at stop and by `spandrel audit verify`)
//! somewhere else, or send the lines elsewhere.

mod chain;
mod files;
mod hash;
mod log;
mod read;
mod record;
mod verify;

pub use chain::Head;
pub use files::{AuditFiles, FilesConfig};
pub use log::{AuditConfig, AuditError, AuditLog, append_unless_open};
pub use read::{last_head, lines_after};
pub use record::{Event, Phase, Record};
pub use verify::{Report, verify};

#[cfg(test)]
mod tests;
