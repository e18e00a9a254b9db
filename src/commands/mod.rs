//! The commands that talk to a running server or look at a data directory; one file each.

pub(crate) mod backup;
mod backup_set;
pub(crate) mod check;
pub(crate) mod client;
mod progress;
pub(crate) mod restore;

/// An end with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) message: String,
}
