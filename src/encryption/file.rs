//! The file of the keyring, `keyring.json` in the data directory, and the engine that encrypts with its keys.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use spandrel_gate::{FileError, ListFile};
use spandrel_storage::Engine;
use spandrel_storage::encryption::{
    EncryptedEngine, KeyEntry, KeyError, KeyFile, Keyring, MasterKeySource, Stamp,
};

/// The data keys of a data directory, encrypted.
#[derive(Debug, Clone)]
pub(crate) struct DataKeys(ListFile);

/// An error of the file, or of what is done with its entries.
enum ChangeError {
    File(FileError),
    Key(KeyError),
}

const FILE: &str = "keyring.json";

/// Reads the keyring of a data directory; `None` if nothing is encrypted. Fails if the master key is missing or wrong,
/// before anything of the store is opened.
pub(crate) fn open_keyring(
    data_dir: &Path,
    source: Option<Arc<dyn MasterKeySource>>,
) -> Result<Option<Arc<Keyring>>, KeyError> {
    let keyring = Keyring::open(Arc::new(DataKeys::of(data_dir)), source, Arc::new(DataKeys::now))?;
    Ok(keyring.map(Arc::new))
}

/// The engine of a store: one that encrypts, if there are keys.
pub(crate) fn open_engine(engine: Arc<dyn Engine>, keyring: Option<Arc<Keyring>>) -> Arc<dyn Engine> {
    match keyring {
        Some(keyring) => Arc::new(EncryptedEngine::new(engine, keyring)),
        None => engine,
    }
}

// === impl DataKeys ===

impl DataKeys {
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(ListFile::new(data_dir, FILE))
    }

    /// Seconds since 1970.
    pub(crate) fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

impl KeyFile for DataKeys {
    fn read(&self) -> Result<Vec<KeyEntry>, KeyError> {
        self.0.read().map_err(key_error)
    }

    fn change(
        &self,
        change: &mut dyn FnMut(&mut Vec<KeyEntry>) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let changed = self.0.change(|entries| change(entries).map_err(ChangeError::Key));
        changed.map_err(|error| match error {
            ChangeError::File(error) => key_error(error),
            ChangeError::Key(error) => error,
        })
    }

    fn stamp(&self) -> Stamp {
        Stamp(self.0.stamp().map(spandrel_gate::Stamp::numbers))
    }

    fn place(&self) -> String {
        self.0.path().display().to_string()
    }
}

/// Unlike that of other files of the data directory, the content of this one cannot be made anew.
fn key_error(error: FileError) -> KeyError {
    match error {
        FileError::Damaged { path, reason } => KeyError::Damaged { file: path.display().to_string(), reason },
        error @ FileError::Io { .. } => KeyError::File(error.to_string()),
    }
}

impl From<FileError> for ChangeError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
