//! What is kept of keys, and the file that keeps it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::token::KeyToken;
use crate::file::{FileError, ListFile, Stamp};
use crate::roles::RoleName;
use crate::tenants::TenantGrant;

/// The keys of one data directory.
#[derive(Debug, Clone)]
pub struct KeyFile {
    file: ListFile,
}

/// What is kept of a key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub role: RoleName,
    /// A [`TenantGrant`].
    pub tenant: String,
    /// SHA-256 of the whole text, in hex.
    hash: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970 from which it is no longer accepted; `None` for never.
    pub expires: Option<u64>,
}

/// What a new key is for.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub role: RoleName,
    pub tenants: TenantGrant,
    /// At most [`NewKey::MAX_NAME`] characters, none of them a control character.
    pub name: String,
    /// How long it is accepted; `None` for ever.
    pub lasts: Option<Duration>,
}

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("no key has the ID {0}; `spandrel keys list` shows those there are")]
    Unknown(String),
    #[error("there are {MAX_KEYS} keys, which is the most (maxKeys); revoke some first")]
    TooMany,
    #[error(
        "the name of a key has at most {} characters, none of them a control character",
        NewKey::MAX_NAME
    )]
    Name,
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The most keys of a data directory (`maxKeys`): all of them are in memory, about 500 bytes each.
pub const MAX_KEYS: usize = 10_000;

const FILE: &str = "keys.json";

// === impl KeyFile ===

impl KeyFile {
    pub fn of(data_dir: &Path) -> Self {
        Self { file: ListFile::new(data_dir, FILE) }
    }

    pub(super) fn directory(&self) -> &Path {
        self.file.directory()
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.file.stamp()
    }

    /// Every key, also those that have expired. A missing file is one without keys.
    pub fn read(&self) -> Result<Vec<Key>, KeyError> {
        let keys: Vec<Key> = self.file.read()?;
        self.require_whole(&keys)?;
        Ok(keys)
    }

    fn require_whole(&self, keys: &[Key]) -> Result<(), KeyError> {
        match keys.iter().find(|key| !key.is_whole()) {
            Some(key) => {
                let reason = format!("the tenant or the hash of key {} is not valid", key.id);
                Err(self.file.damaged(reason).into())
            }
            None => Ok(()),
        }
    }

    /// Makes a key. The token is nowhere else: it has to be shown to its owner now.
    pub fn create(&self, new: NewKey, now: u64) -> Result<(Key, KeyToken), KeyError> {
        new.check_name()?;
        self.file.change(|keys: &mut Vec<Key>| {
            self.require_whole(keys)?;
            if keys.len() >= MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            let token = loop {
                let token = KeyToken::random().map_err(KeyError::Random)?;
                if keys.iter().all(|key| key.id != token.id()) {
                    break token;
                }
            };
            let key = Key {
                id: token.id().to_owned(),
                name: new.name,
                role: new.role,
                tenant: new.tenants.to_string(),
                hash: hex(&token.hash()),
                created: now,
                expires: new.lasts.map(|lasts| now.saturating_add(lasts.as_secs())),
            };
            keys.push(key.clone());
            Ok((key, token))
        })
    }

    /// Removes a key, and returns it.
    pub fn revoke(&self, id: &str) -> Result<Key, KeyError> {
        self.file.change(|keys: &mut Vec<Key>| {
            self.require_whole(keys)?;
            let at = keys.iter().position(|key| key.id == id);
            at.map(|at| keys.remove(at)).ok_or_else(|| KeyError::Unknown(id.to_owned()))
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

// === impl Key, NewKey ===

impl Key {
    /// SHA-256 of the text. Reading the file has checked that it is there.
    pub(crate) fn hash(&self) -> Option<[u8; 32]> {
        unhex(&self.hash)
    }

    pub(crate) fn grant(&self) -> Option<TenantGrant> {
        self.tenant.parse().ok()
    }

    fn is_whole(&self) -> bool {
        self.hash().is_some() && self.grant().is_some()
    }

    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl NewKey {
    /// Characters of a name.
    pub const MAX_NAME: usize = 128;

    /// Whether the name can be kept.
    pub fn check_name(&self) -> Result<(), KeyError> {
        let fits = self.name.chars().count() <= Self::MAX_NAME && !self.name.chars().any(char::is_control);
        fits.then_some(()).ok_or(KeyError::Name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::roles::Role;

    fn new(name: &str) -> NewKey {
        NewKey {
            role: Role::Read.into(),
            tenants: TenantGrant::default(),
            name: name.to_owned(),
            lasts: None,
        }
    }

    #[test]
    fn keeps_everything_but_the_key_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::of(&directory.path().join("data"));
        let (key, token) =
            file.create(NewKey { lasts: Some(Duration::from_secs(60)), ..new("ci") }, 1_000).unwrap();
        assert_eq!((key.created, key.expires), (1_000, Some(1_060)));
        assert_eq!(file.read().unwrap(), [key]);
        let text = fs::read_to_string(file.file.path()).unwrap();
        assert!(!text.contains(&token.text().reveal()[16..]), "{text}");
        let mode = |name: &str| file.directory().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(FILE), mode("keys.json.lock")), (0o600, 0o600));
    }

    #[test]
    fn a_revoked_key_is_gone_and_an_unknown_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::of(directory.path());
        assert_eq!(file.read().unwrap(), []);
        let (key, _) = file.create(new("a"), 0).unwrap();
        let (kept, _) = file.create(new("b"), 0).unwrap();
        assert_eq!(file.revoke(&key.id).unwrap(), key);
        assert_eq!(file.read().unwrap(), [kept]);
        assert!(file.revoke(&key.id).unwrap_err().to_string().contains(&key.id));
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::of(directory.path());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| drop(file.create(new("x"), 0).unwrap())));
            }
        });
        assert_eq!(file.read().unwrap().len(), 20);
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::of(directory.path());
        let key =
            r#"{"id":"a","name":"","role":"read","tenant":"default","hash":"00","created":0,"expires":null}"#;
        for text in ["", "{", r#"{"version":2,"list":[]}"#, &format!(r#"{{"version":1,"list":[{key}]}}"#)] {
            fs::write(file.file.path(), text).unwrap();
            for error in [file.read().unwrap_err(), file.create(new("a"), 0).unwrap_err()] {
                assert!(error.to_string().contains("keys.json is damaged"), "{error}");
            }
            assert_eq!(fs::read_to_string(file.file.path()).unwrap(), text);
        }
    }

    #[test]
    fn names_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::of(directory.path());
        assert!(file.create(new(&"ü".repeat(NewKey::MAX_NAME)), 0).is_ok());
        for name in ["ü".repeat(NewKey::MAX_NAME + 1), "a\nb".to_owned()] {
            assert!(matches!(file.create(new(&name), 0), Err(KeyError::Name)));
        }
    }
}
