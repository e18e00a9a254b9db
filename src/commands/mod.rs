//! The commands that talk to a running server or read a data directory, each in its own file.

pub(crate) mod audit;
pub(crate) mod backup;
mod backup_dir;
mod backup_inspect;
pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod clean;
pub(crate) mod client;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod encryption;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod keys;
pub(crate) mod manual;
pub(crate) mod metrics;
pub(crate) mod noise;
mod output;
mod progress;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod search;
pub(crate) mod services;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod trace;
pub(crate) mod users;

/// An error with its own exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) message: String,
}
