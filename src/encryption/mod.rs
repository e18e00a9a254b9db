//! Encryption at rest, as the binary sets it up: where the master key comes from, and the file of the keyring.
//! `spandrel_storage::encryption` does the rest.

mod command;
mod file;
mod flags;

pub(crate) use file::{DataKeys, open_engine, open_keyring};
pub(crate) use flags::{EncryptionFlags, EncryptionSettings, FileSource, require_master};
