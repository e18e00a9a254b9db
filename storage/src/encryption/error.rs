//! Why the keys of an encrypted store cannot be used.

use std::collections::BTreeSet;

use super::cipher::CipherError;
use super::keys::KeyId;
use crate::engine::EngineError;

/// Why keys cannot be used. The text says what is missing and how to give it, and never contains a key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// The store is encrypted, and no master key is given.
    #[error(
        "the store is encrypted, and its master key {fingerprint} is missing: give it with --encryption-key-file, \
         in the variable SPANDREL_ENCRYPTION_KEY, or with --encryption-key-command"
    )]
    NoMasterKey {
        /// The fingerprint of the key.
        fingerprint: String,
    },
    /// The data are encrypted, and there is no keyring.
    #[error(
        "the store is encrypted, and its keyring is missing: put keyring.json back into the data directory (a backup of \
         the store has the keys, too), and give the master key with --encryption-key-file or another of its flags"
    )]
    NoKeyring,
    /// The given master key is another one.
    #[error(
        "{file} is encrypted under master key {needed}, but {place} gives master key {given}; give the right one, or \
         put back the {file} that belongs to it"
    )]
    WrongMasterKey {
        /// The path of the keyring.
        file: String,
        /// The fingerprint of the key that is needed.
        needed: String,
        /// The fingerprint of the given key.
        given: String,
        /// Where the given key comes from.
        place: String,
    },
    /// The master key cannot be read.
    #[error("the master key cannot be read from {place}: {error}")]
    Source {
        /// Where it should come from.
        place: String,
        /// What is wrong.
        error: String,
    },
    /// Data name keys that the keyring does not have.
    #[error(
        "the data are encrypted with data keys that {file} does not have ({names}); put back the {file} that belongs to \
         this store, or restore a backup, which has its keys",
        names = listed(.ids)
    )]
    Unknown {
        /// The IDs of the keys.
        ids: BTreeSet<KeyId>,
        /// The path of the keyring.
        file: String,
    },
    /// A data key is encrypted under another master key than the given one.
    #[error("data key {id} is encrypted under master key {needed}, not under {given}; nothing was changed")]
    OtherMasterKey {
        /// The ID of the data key.
        id: KeyId,
        /// The fingerprint of its master key.
        needed: String,
        /// The fingerprint of the given key.
        given: String,
    },
    /// The data key was deleted.
    #[error("data key {0} was deleted, and with it everything that it encrypts")]
    Ended(KeyId),
    /// The keyring is damaged.
    #[error("{file} is damaged: {reason}; put back a copy of it")]
    Damaged {
        /// The path of the keyring.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The keyring cannot be read or written.
    #[error("{0}")]
    File(String),
    /// The cipher failed.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// The IDs of keys for an error, which shows a few of them.
fn listed(ids: &BTreeSet<KeyId>) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
    match ids.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl From<KeyError> for EngineError {
    fn from(error: KeyError) -> Self {
        match error {
            error @ KeyError::Ended(_) => Self::key_ended(error),
            error => Self::key(error),
        }
    }
}
