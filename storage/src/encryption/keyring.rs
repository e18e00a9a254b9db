//! The data keys of a store in use: read from a file that others may change meanwhile, such as the command that rotates
//! keys.
//!
//! The file is passed in. A key is durable in it before anything is encrypted with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use spandrel_proto::TenantId;

use super::changes::end_data_keys;
use super::error::KeyError;
use super::keys::{DataKey, KeyEntry, KeyId, MasterKey, ReadEntry};

/// The file of a keyring.
///
/// # Contract
/// `change` excludes other processes, passes the entries as they are in the file, and makes the new ones durable as a
/// whole, or changes nothing if the function fails.
pub trait KeyFile: Send + Sync {
    /// Its entries; none if there is no file.
    fn read(&self) -> Result<Vec<KeyEntry>, KeyError>;

    /// Changes the entries.
    fn change(
        &self,
        change: &mut dyn FnMut(&mut Vec<KeyEntry>) -> Result<(), KeyError>,
    ) -> Result<(), KeyError>;

    /// Tells the file from the one that replaces it.
    fn stamp(&self) -> Stamp;

    /// Its path, for messages.
    fn place(&self) -> String;
}

/// The identity of one version of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp(pub Option<[u64; 4]>);

/// Where the master key comes from.
pub trait MasterKeySource: Send + Sync {
    /// Reads the key anew.
    fn read(&self) -> Result<MasterKey, String>;

    /// Names the place, never the key.
    fn place(&self) -> String;
}

/// The time in seconds since 1970, by which keys are dated.
pub type Seconds = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The data keys of a store in use.
pub struct Keyring {
    file: Arc<dyn KeyFile>,
    source: Arc<dyn MasterKeySource>,
    now: Seconds,
    state: RwLock<Arc<State>>,
    /// Counts the versions of `state`.
    version: AtomicU64,
    /// Allows one change at a time. The version of the file that could not be read, so that this is logged once.
    changing: Mutex<Option<Stamp>>,
    /// Whether keys were deleted since this was last asked.
    has_ended: AtomicBool,
    /// Counts how often keys were deleted.
    ends: AtomicU64,
}

struct State {
    stamp: Stamp,
    master: MasterKey,
    keys: HashMap<KeyId, Known>,
    /// The key for new data, by tenant.
    current: HashMap<Option<TenantId>, Arc<DataKey>>,
    /// Tenants of which a key was deleted.
    ended: HashSet<TenantId>,
}

#[derive(Clone)]
enum Known {
    Live(Arc<DataKey>),
    Ended,
}

// === impl Keyring ===

impl Keyring {
    /// Reads a keyring; `None` if there is none and no master key is given, so that nothing is encrypted. An encrypted
    /// store without its master key is an error. Changes nothing: a key is made when something is encrypted with it.
    pub fn open(
        file: Arc<dyn KeyFile>,
        source: Option<Arc<dyn MasterKeySource>>,
        now: Seconds,
    ) -> Result<Option<Self>, KeyError> {
        let stamp = file.stamp();
        let entries = file.read()?;
        let Some(source) = source else {
            return match entries.iter().find(|entry| entry.ended.is_none()).or(entries.first()) {
                None => Ok(None),
                Some(entry) => Err(KeyError::NoMasterKey { fingerprint: entry.master.clone() }),
            };
        };
        let master = read_master(&*source)?;
        let state = State::new(&*file, &*source, stamp, &entries, master, None)?;
        Ok(Some(Self {
            file,
            source,
            now,
            state: RwLock::new(Arc::new(state)),
            version: AtomicU64::new(0),
            changing: Mutex::default(),
            has_ended: AtomicBool::new(true),
            ends: AtomicU64::new(0),
        }))
    }

    /// The key for new data of a tenant, or for records of the store; a new one is made if there is none.
    pub(super) fn current(&self, tenant: Option<&TenantId>) -> Result<Arc<DataKey>, KeyError> {
        let known = |state: &State| state.current.get(&tenant.cloned()).cloned();
        if let Some(key) = known(&self.state.read()) {
            return Ok(key);
        }
        let _one_change = self.changing.lock();
        self.reload()?;
        if let Some(key) = known(&self.state.read()) {
            return Ok(key);
        }
        let key = DataKey::random(tenant.cloned())?;
        self.add(&key)?;
        self.reload()?;
        known(&self.state.read()).ok_or_else(|| self.damaged("a key that was added is not in it"))
    }

    fn add(&self, key: &DataKey) -> Result<(), KeyError> {
        let now = (self.now)();
        self.file.change(&mut |entries| {
            entries.push(key.wrapped(&self.master_for(entries)?, now)?);
            Ok(())
        })
    }

    /// The master key of these entries. After a rotation the source has to give the new one.
    fn master_for(&self, entries: &[KeyEntry]) -> Result<MasterKey, KeyError> {
        let known = self.state.read().master.clone();
        if check_master(&*self.file, &*self.source, entries, &known).is_ok() {
            return Ok(known);
        }
        let new = read_master(&*self.source)?;
        check_master(&*self.file, &*self.source, entries, &new)?;
        Ok(new)
    }

    /// The key that encrypted data name.
    pub(super) fn key(&self, id: KeyId) -> Result<Arc<DataKey>, KeyError> {
        let find = || self.state.read().keys.get(&id).cloned();
        let found = match find() {
            // It may have been added a moment ago by another process.
            None => {
                let _one_change = self.changing.lock();
                self.reload()?;
                find()
            }
            found => found,
        };
        match found {
            Some(Known::Live(key)) => Ok(key),
            Some(Known::Ended) => Err(KeyError::Ended(id)),
            None => Err(self.unknown(BTreeSet::from([id]))),
        }
    }

    /// Whether the key that encrypted data name was deleted. A key that is not in the keyring is an error.
    pub(super) fn is_ended(&self, id: KeyId) -> Result<bool, KeyError> {
        match self.key(id) {
            Ok(_) => Ok(false),
            Err(KeyError::Ended(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The error about keys that are not in the keyring.
    pub(super) fn unknown(&self, ids: BTreeSet<KeyId>) -> KeyError {
        KeyError::Unknown { ids, file: self.file.place() }
    }

    /// Deletes the data keys of a tenant, and with them everything that they encrypt.
    pub(super) fn end(&self, tenant: &TenantId) -> Result<(), KeyError> {
        let _one_change = self.changing.lock();
        self.reload()?;
        if !self.state.read().current.contains_key(&Some(tenant.clone())) {
            return Ok(());
        }
        let now = (self.now)();
        self.file.change(&mut |entries| {
            end_data_keys(entries, tenant, now);
            Ok(())
        })?;
        self.reload()
    }

    /// Whether a key of the tenant was deleted: then everything of the tenant that is not encrypted ends, too.
    pub(super) fn has_ended_key_of(&self, tenant: &TenantId) -> bool {
        self.state.read().ended.contains(tenant)
    }

    /// Reads the file again if it was replaced. A file that cannot be read changes nothing. Returns whether keys were
    /// deleted, so that data are to be removed.
    pub fn look(&self) -> bool {
        if self.file.stamp() != self.state.read().stamp {
            self.look_again();
        }
        self.has_ended.load(Ordering::Acquire)
    }

    fn look_again(&self) {
        let mut unreadable = self.changing.lock();
        match self.reload() {
            Ok(()) => *unreadable = None,
            Err(error) => {
                let stamp = Some(self.file.stamp());
                if *unreadable != stamp {
                    tracing::error!(%error, "the keyring was changed and stays as it was for this server");
                }
                *unreadable = stamp;
            }
        }
    }

    /// A number that changes with the keys.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How often keys were deleted.
    pub(super) fn ends(&self) -> u64 {
        self.ends.load(Ordering::Acquire)
    }

    /// Asks for another look at what has ended, if keys were deleted since `ends` was read: what was written meanwhile may
    /// be encrypted with one.
    pub(super) fn note_ends_since(&self, ends: u64) {
        if self.ends() != ends {
            self.has_ended.store(true, Ordering::Release);
        }
    }

    /// Whether keys may have been deleted since this was last asked.
    pub(super) fn take_ended(&self) -> bool {
        self.has_ended.swap(false, Ordering::AcqRel)
    }

    fn reload(&self) -> Result<(), KeyError> {
        let before = self.state.read().clone();
        let stamp = self.file.stamp();
        if stamp == before.stamp {
            return Ok(());
        }
        let entries = self.file.read()?;
        // During a rotation known data keys go on without the new master key, and new ones wait for it.
        let master = self.master_for(&entries).unwrap_or_else(|error| {
            tracing::warn!(%error, "the keyring has another master key now; no data key can be made until it is given");
            before.master.clone()
        });
        let state = State::new(&*self.file, &*self.source, stamp, &entries, master, Some(&before))?;
        let lost: BTreeSet<KeyId> =
            before.keys.keys().filter(|id| !state.keys.contains_key(id)).copied().collect();
        if !lost.is_empty() {
            return Err(self.unknown(lost));
        }
        let has_ended = state.ended.len() > before.ended.len() || state.lost_keys_of(&before);
        *self.state.write() = Arc::new(state);
        self.version.fetch_add(1, Ordering::AcqRel);
        // After the keys themselves: who sees it finds what has ended by them.
        if has_ended {
            self.ends.fetch_add(1, Ordering::AcqRel);
            self.has_ended.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The entries of all keys, for a backup.
    pub(super) fn entries(&self) -> Result<Vec<KeyEntry>, KeyError> {
        self.file.read()
    }

    /// Adds the keys of a backup, except for those that are there or were deleted.
    pub fn import(&self, entries: &[KeyEntry]) -> Result<(), KeyError> {
        let _one_change = self.changing.lock();
        let master = self.master_for(&self.file.read()?)?;
        for entry in entries.iter().filter(|entry| entry.ended.is_none()) {
            // Fails for another master key, before anything is changed.
            check_master(&*self.file, &*self.source, std::slice::from_ref(entry), &master)?;
            entry.unwrap(&master)?;
        }
        self.file.change(&mut |here| {
            let known: HashSet<String> = here.iter().map(|entry| entry.id.clone()).collect();
            let new: Vec<_> = entries.iter().filter(|entry| !known.contains(&entry.id)).cloned().collect();
            // In front, so that the newest key of each tenant stays that of this store.
            here.splice(0..0, new);
            Ok(())
        })?;
        self.reload()
    }

    fn damaged(&self, reason: &str) -> KeyError {
        KeyError::Damaged { file: self.file.place(), reason: reason.to_owned() }
    }
}

fn read_master(source: &dyn MasterKeySource) -> Result<MasterKey, KeyError> {
    source.read().map_err(|error| KeyError::Source { place: source.place(), error })
}

/// The fingerprint of the master key that the newest key is encrypted under.
fn needed_master(entries: &[KeyEntry]) -> Option<&str> {
    entries.iter().rev().find(|entry| entry.ended.is_none()).map(|entry| entry.master.as_str())
}

fn check_master(
    file: &dyn KeyFile,
    source: &dyn MasterKeySource,
    entries: &[KeyEntry],
    master: &MasterKey,
) -> Result<(), KeyError> {
    match needed_master(entries) {
        Some(needed) if needed != master.fingerprint() => Err(KeyError::WrongMasterKey {
            file: file.place(),
            needed: needed.to_owned(),
            given: master.fingerprint().to_owned(),
            place: source.place(),
        }),
        _ => Ok(()),
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("file", &self.file.place()).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    /// Decrypts the keys; those that `before` has need no master key.
    fn new(
        file: &dyn KeyFile,
        source: &dyn MasterKeySource,
        stamp: Stamp,
        entries: &[KeyEntry],
        master: MasterKey,
        before: Option<&State>,
    ) -> Result<Self, KeyError> {
        let mut state =
            Self { stamp, master, keys: HashMap::new(), current: HashMap::new(), ended: HashSet::new() };
        for entry in entries {
            let damaged = |reason: String| KeyError::Damaged { file: file.place(), reason };
            let ReadEntry { id, tenant } =
                entry.read().ok_or_else(|| damaged(format!("the entry of key {} is not valid", entry.id)))?;
            if entry.ended.is_some() {
                state.keys.insert(id, Known::Ended);
                state.ended.extend(tenant);
                continue;
            }
            let known = before.and_then(|before| match before.keys.get(&id) {
                Some(Known::Live(key)) if key.tenant() == tenant.as_ref() => Some(key.clone()),
                _ => None,
            });
            let key = match known {
                Some(key) => key,
                None => {
                    check_master(file, source, std::slice::from_ref(entry), &state.master)?;
                    let unwrapped = entry.unwrap(&state.master);
                    Arc::new(unwrapped.map_err(|error| damaged(format!("key {id}: {error}")))?)
                }
            };
            state.current.insert(tenant, key.clone());
            state.keys.insert(id, Known::Live(key));
        }
        Ok(state)
    }

    /// Whether a key that was there is deleted.
    fn lost_keys_of(&self, before: &State) -> bool {
        let live = before.keys.iter().filter(|(_, known)| matches!(known, Known::Live(_)));
        live.into_iter().any(|(id, _)| matches!(self.keys.get(id), Some(Known::Ended)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::changes::{begin_data_keys, rewrap};
    use super::super::memory::MemoryKeys;
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn open_without(keys: &MemoryKeys) -> Result<Option<Keyring>, KeyError> {
        Keyring::open(Arc::new(keys.clone()), None, Arc::new(|| 0))
    }

    #[test]
    fn without_a_key_the_error_says_which_one_is_missing_and_nothing_is_changed() {
        let keys = MemoryKeys::random().unwrap();
        assert!(open_without(&keys).unwrap().is_none(), "nothing is encrypted yet");
        keys.open().unwrap();
        assert_eq!(KeyFile::read(&keys).unwrap(), [], "opening makes no key");
        keys.open().unwrap().current(None).unwrap();
        let (right, before) = (keys.master(), KeyFile::read(&keys).unwrap());
        let error = open_without(&keys).unwrap_err().to_string();
        for part in [right.fingerprint(), "--encryption-key-file", "SPANDREL_ENCRYPTION_KEY"] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
        keys.exchange_master(MasterKey::random().unwrap());
        let error = keys.open().unwrap_err().to_string();
        for part in [right.fingerprint(), keys.master().fingerprint(), "the keyring", "the test"] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
        assert_eq!(KeyFile::read(&keys).unwrap(), before);
        keys.exchange_master(right);
        keys.open().unwrap();
        assert_eq!(KeyFile::read(&keys).unwrap(), before);
    }

    #[test]
    fn each_tenant_has_a_key_that_lasts() {
        let keys = MemoryKeys::random().unwrap();
        let keyring = keys.open().unwrap();
        let (a, b) = (tenant("a"), tenant("b"));
        let id = |keyring: &Keyring, tenant: Option<&TenantId>| keyring.current(tenant).unwrap().id();
        let of_a = id(&keyring, Some(&a));
        assert!(of_a != id(&keyring, Some(&b)) && of_a != id(&keyring, None));
        let other = keys.open().unwrap();
        assert_eq!(id(&other, Some(&a)), of_a);
        // Another process makes a key, and this one needs it.
        let late = id(&other, Some(&tenant("late")));
        assert_eq!(keyring.key(late).unwrap().tenant(), Some(&tenant("late")));
        assert!(matches!(keyring.key(KeyId(7)), Err(KeyError::Unknown { .. })));
    }

    #[test]
    fn a_file_that_lacks_known_keys_is_not_taken() {
        let keys = MemoryKeys::random().unwrap();
        let keyring = keys.open().unwrap();
        let [of_a, of_b] = ["a", "b"].map(|name| keyring.current(Some(&tenant(name))).unwrap().id());
        let whole = KeyFile::read(&keys).unwrap();
        let replace = |with: &[KeyEntry]| {
            let put = |entries: &mut Vec<KeyEntry>| {
                *entries = with.to_vec();
                Ok(())
            };
            keys.change(&mut { put }).unwrap();
        };
        replace(&whole[1..]);
        keyring.look();
        assert!(keyring.key(of_a).is_ok() && keyring.key(of_b).is_ok(), "it stays as it was");
        let error = keyring.current(Some(&tenant("c"))).unwrap_err().to_string();
        assert!(error.contains(&of_a.to_string()) && error.contains("put back"), "{error}");
        assert!(!error.contains(&of_b.to_string()), "{error}");
        replace(&whole);
        keyring.current(Some(&tenant("c"))).unwrap();
    }

    #[test]
    fn a_rotation_goes_on_with_known_keys_until_the_new_master_key_is_given() {
        let keys = MemoryKeys::random().unwrap();
        let keyring = keys.open().unwrap();
        keyring.take_ended();
        let before = keyring.current(Some(&tenant("a"))).unwrap().id();
        let (old, new) = (keys.master(), MasterKey::random().unwrap());
        keys.change(&mut |entries| {
            assert_eq!(rewrap(entries, &old, &new)?, 1);
            Ok(())
        })
        .unwrap();
        assert!(!keyring.look());
        assert_eq!(keyring.current(Some(&tenant("a"))).unwrap().id(), before);
        assert!(matches!(keyring.current(Some(&tenant("b"))), Err(KeyError::WrongMasterKey { .. })));
        keys.exchange_master(new.clone());
        keyring.current(Some(&tenant("b"))).unwrap();
        // New data keys are used at once, and the old ones still decrypt.
        keys.change(&mut |entries| {
            assert_eq!(begin_data_keys(entries, &new, 1)?, 2);
            Ok(())
        })
        .unwrap();
        assert!(!keyring.look());
        assert_ne!(keyring.current(Some(&tenant("a"))).unwrap().id(), before);
        assert!(keyring.key(before).is_ok());
        assert!(KeyFile::read(&keys).unwrap().iter().all(|entry| entry.master == new.fingerprint()));
    }

    #[test]
    fn a_deleted_key_is_gone_for_good() {
        let keys = MemoryKeys::random().unwrap();
        let keyring = keys.open().unwrap();
        keyring.take_ended();
        let (a, b) = (tenant("a"), tenant("b"));
        let [of_a, of_b] = [&a, &b].map(|tenant| keyring.current(Some(tenant)).unwrap().id());
        let backup = keyring.entries().unwrap();
        keys.change(&mut |entries| {
            assert_eq!(end_data_keys(entries, &a, 9), 1);
            Ok(())
        })
        .unwrap();
        assert!(keyring.look() && keyring.take_ended() && !keyring.look());
        for keyring in [keyring, keys.open().unwrap()] {
            assert!(matches!(keyring.key(of_a), Err(KeyError::Ended(id)) if id == of_a));
            assert!(keyring.key(of_b).is_ok() && keyring.has_ended_key_of(&a));
            assert_ne!(keyring.current(Some(&a)).unwrap().id(), of_a, "new data get a new key");
            keyring.import(&backup).unwrap();
            assert!(keyring.key(of_a).is_err(), "a backup does not bring it back");
        }
    }

    #[test]
    fn keys_of_a_backup_are_added_behind_those_that_are_used() {
        let [one, other] = [(); 2].map(|()| MemoryKeys::random().unwrap());
        let from = one.open().unwrap();
        let old = from.current(Some(&tenant("a"))).unwrap().id();
        let into = other.open().unwrap();
        let entries = from.entries().unwrap();
        let refused = into.import(&entries).unwrap_err();
        assert!(matches!(refused, KeyError::WrongMasterKey { .. }), "{refused}");
        other.exchange_master(one.master());
        let other = MemoryKeys::random().unwrap();
        other.exchange_master(one.master());
        let into = other.open().unwrap();
        let new = into.current(Some(&tenant("a"))).unwrap().id();
        into.import(&entries).unwrap();
        assert_eq!(into.current(Some(&tenant("a"))).unwrap().id(), new);
        assert!(into.key(old).is_ok());
    }

    #[test]
    fn a_damaged_entry_is_named() {
        let keys = MemoryKeys::random().unwrap();
        keys.open().unwrap().current(None).unwrap();
        keys.change(&mut |entries| {
            entries[0].tenant = Some("a".to_owned());
            Ok(())
        })
        .unwrap();
        let error = keys.open().unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("put back a copy"), "{error}");
    }
}
