//! A keyring in memory, and a master key that a test can exchange. For tests and benchmarks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::error::KeyError;
use super::keyring::{KeyFile, Keyring, MasterKeySource, Stamp};
use super::keys::{KeyEntry, MasterKey};

/// A keyring in memory. Clones share it, so that a "restart" is a second keyring over a clone.
#[derive(Debug, Clone)]
pub struct MemoryKeys {
    entries: Arc<Mutex<(u64, Vec<KeyEntry>)>>,
    master: Arc<Mutex<MasterKey>>,
    /// The file cannot be written.
    is_read_only: Arc<AtomicBool>,
}

// === impl MemoryKeys ===

impl MemoryKeys {
    /// An empty keyring with a new master key.
    pub fn random() -> Result<Self, KeyError> {
        let master = Arc::new(Mutex::new(MasterKey::random()?));
        Ok(Self { entries: Arc::default(), master, is_read_only: Arc::default() })
    }

    /// Opens the keyring with its master key.
    pub fn open(&self) -> Result<Arc<Keyring>, KeyError> {
        let this = Arc::new(self.clone());
        let keyring = Keyring::open(this.clone(), Some(this), Arc::new(|| 0))?;
        keyring.map(Arc::new).ok_or_else(|| KeyError::File("there is no keyring".to_owned()))
    }

    /// The master key that is given now.
    pub fn master(&self) -> MasterKey {
        self.master.lock().clone()
    }

    /// Lets every change fail from now on, as a full disk does.
    pub fn make_read_only(&self) {
        self.is_read_only.store(true, Ordering::Relaxed);
    }

    /// Gives another master key from now on.
    pub fn exchange_master(&self, master: MasterKey) {
        *self.master.lock() = master;
    }
}

impl KeyFile for MemoryKeys {
    fn read(&self) -> Result<Vec<KeyEntry>, KeyError> {
        Ok(self.entries.lock().1.clone())
    }

    fn change(
        &self,
        change: &mut dyn FnMut(&mut Vec<KeyEntry>) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        if self.is_read_only.load(Ordering::Relaxed) {
            return Err(KeyError::File("the keyring cannot be written".to_owned()));
        }
        let mut entries = self.entries.lock();
        let mut changed = entries.1.clone();
        change(&mut changed)?;
        *entries = (entries.0 + 1, changed);
        Ok(())
    }

    fn stamp(&self) -> Stamp {
        Stamp(Some([self.entries.lock().0, 0, 0, 0]))
    }

    fn place(&self) -> String {
        "the keyring".to_owned()
    }
}

impl MasterKeySource for MemoryKeys {
    fn read(&self) -> Result<MasterKey, String> {
        Ok(self.master())
    }

    fn place(&self) -> String {
        "the test".to_owned()
    }
}
