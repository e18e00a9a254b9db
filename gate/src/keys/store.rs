//! The keys that a running server accepts: a map in memory, renewed when the file changes.
//!
//! A check is a hash, a look into the map and a comparison; now and then it also looks whether the file was replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use subtle::ConstantTimeEq as _;

use super::file::{Key, KeyError, KeyFile, NewKey};
use super::token::KeyToken;
use crate::file::{self, Durable, Stamp};
use crate::identity::{Identity, Via};
use crate::roles::Roles;
use crate::seldom::Seldom;

/// The time of day; tests move it.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The keys of a data directory in use.
pub struct Keys {
    file: KeyFile,
    roles: Arc<Roles>,
    clock: Clock,
    known: RwLock<Arc<Known>>,
    looks: Seldom,
    notice: OnceLock<Notice>,
}

type Notice = Box<dyn Fn(&ForeignChange) + Send + Sync>;

/// A change that another process has made to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignChange {
    Created(Key),
    Revoked(Key),
}

/// The content of the file at one moment.
#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    keys: FxHashMap<String, Arc<Entry>>,
}

struct Entry {
    key: Key,
    hash: [u8; 32],
    /// `None` if the configuration does not have its role.
    identity: Option<Arc<Identity>>,
    /// Seconds since 1970; 0 for never.
    used: AtomicU64,
}

/// A key and when it was last accepted, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: Key,
    pub used: Option<u64>,
}

/// Why a token is no valid key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not the text of a key, an unknown key, or a wrong one; a caller learns no more.
    #[error("it is no key of this server, or a revoked one")]
    Wrong,
    /// The right key, too late.
    #[error("the key has expired")]
    Expired,
    /// The right key, whose role is not in the configuration any more, or not yet.
    #[error("the role of the key is not in the configuration of this server (roles)")]
    UnknownRole,
}

/// How old the knowledge of the file may be: a revoked key is refused this long after.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When each key was last accepted, which may be a minute behind after a crash.
const USES: &str = "keys.used.json";

// === impl Keys ===

impl Keys {
    /// Reads the keys of a data directory.
    pub fn open(file: KeyFile, roles: Arc<Roles>, clock: Clock) -> Result<Self, KeyError> {
        let keys = Self {
            file,
            roles,
            clock,
            known: RwLock::default(),
            looks: Seldom::new(LOOK_EVERY),
            notice: OnceLock::new(),
        };
        drop(keys.reload()?);
        let uses = fs::read(keys.uses_path()).ok();
        let uses: BTreeMap<String, u64> =
            uses.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        for (id, entry) in &keys.known.read().keys {
            entry.used.store(uses.get(id).copied().unwrap_or_default(), Ordering::Relaxed);
        }
        Ok(keys)
    }

    /// Calls back about each key that another process creates or revokes. The first call counts.
    pub fn on_foreign_change(&self, notice: impl Fn(&ForeignChange) + Send + Sync + 'static) {
        let _ = self.notice.set(Box::new(notice));
    }

    pub fn is_empty(&self) -> bool {
        self.known.read().keys.is_empty()
    }

    /// Whose key a text is. Notes the use.
    pub fn check(&self, text: &str) -> Result<Arc<Identity>, Rejected> {
        let token = KeyToken::parse(text).ok_or(Rejected::Wrong)?;
        self.look_now_and_then();
        let entry = match self.entry(token.id()) {
            Some(entry) => entry,
            // Made a moment ago by another process.
            None => {
                self.look();
                self.entry(token.id()).ok_or(Rejected::Wrong)?
            }
        };
        if !bool::from(entry.hash.ct_eq(&token.hash())) {
            return Err(Rejected::Wrong);
        }
        let now = self.now();
        if entry.key.is_expired(now) {
            return Err(Rejected::Expired);
        }
        // Written once a second only, so that cores which check the same key do not contend for it.
        if entry.used.load(Ordering::Relaxed) != now {
            entry.used.store(now, Ordering::Relaxed);
        }
        entry.identity.clone().ok_or(Rejected::UnknownRole)
    }

    pub fn create(&self, new: NewKey) -> Result<(Key, KeyToken), KeyError> {
        let created = self.file.create(new, self.now())?;
        self.reload()?;
        Ok(created)
    }

    pub fn revoke(&self, id: &str) -> Result<Key, KeyError> {
        let revoked = self.file.revoke(id)?;
        self.reload()?;
        Ok(revoked)
    }

    /// Every key, the oldest first.
    pub fn list(&self) -> Vec<Listed> {
        self.look();
        let known = self.known.read().clone();
        let mut listed: Vec<Listed> = known.keys.values().map(|entry| entry.listed()).collect();
        listed.sort_by(|one, other| (one.key.created, &one.key.id).cmp(&(other.key.created, &other.key.id)));
        listed
    }

    /// Writes down when the keys were last used.
    pub fn save_uses(&self) -> std::io::Result<()> {
        let uses: BTreeMap<String, u64> =
            self.list().into_iter().filter_map(|Listed { key, used }| Some((key.id, used?))).collect();
        file::replace(&self.uses_path(), &serde_json::to_vec(&uses)?, Durable::No)
    }

    fn now(&self) -> u64 {
        file::seconds((self.clock)())
    }

    fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        self.known.read().keys.get(id).cloned()
    }

    fn uses_path(&self) -> PathBuf {
        self.file.directory().join(USES)
    }

    fn look_now_and_then(&self) {
        if self.looks.is_due() {
            self.look();
        }
    }

    /// Reads the file if it was replaced. A file that cannot be read changes nothing: keys that were good stay good.
    fn look(&self) {
        if self.file.stamp() == self.known.read().stamp {
            return;
        }
        match self.reload() {
            Ok(changes) => {
                if let Some(notice) = self.notice.get() {
                    changes.iter().for_each(notice);
                }
            }
            Err(error) => tracing::error!(%error, "the keys stay those of before"),
        }
    }

    /// Reads the file. Returns the keys that were added or revoked since it was last read.
    fn reload(&self) -> Result<Vec<ForeignChange>, KeyError> {
        // The stamp is taken first: a file that is replaced in between is read again.
        let stamp = self.file.stamp();
        let read = self.file.read()?;
        // Held until the end, so that two readers do not both see the same change.
        let mut known = self.known.write();
        let before = known.clone();
        let entries = read.into_iter().filter_map(|key| Entry::new(key, &self.roles, &before));
        let keys = entries.map(|entry| (entry.key.id.clone(), Arc::new(entry))).collect();
        *known = Arc::new(Known { stamp, keys });
        let changes = [
            before.without(&known).map(ForeignChange::Revoked).collect::<Vec<_>>(),
            known.without(&before).map(ForeignChange::Created).collect(),
        ];
        Ok(changes.concat())
    }
}

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

// === impl Known, Entry ===

impl Known {
    /// The keys that another state does not have.
    fn without<'k>(&'k self, other: &'k Self) -> impl Iterator<Item = Key> + 'k {
        let gone = self.keys.iter().filter(|(id, _)| !other.keys.contains_key(*id));
        gone.map(|(_, entry)| entry.key.clone())
    }
}

impl Entry {
    fn new(key: Key, roles: &Roles, before: &Known) -> Option<Self> {
        let used = before.keys.get(&key.id).map_or(0, |entry| entry.used.load(Ordering::Relaxed));
        let tenants = key.grant()?;
        let identity = roles.find(&key.role).map(|role| Identity {
            name: if key.name.is_empty() { key.id.clone() } else { key.name.clone() },
            role,
            tenants,
            via: Via::Key(key.id.clone()),
        });
        Some(Self { hash: key.hash()?, identity: identity.map(Arc::new), used: used.into(), key })
    }

    fn listed(&self) -> Listed {
        let used = self.used.load(Ordering::Relaxed);
        Listed { key: self.key.clone(), used: (used > 0).then_some(used) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use parking_lot::Mutex;

    use super::*;
    use crate::roles::Role;

    /// Keys whose clock shows the number.
    fn keys(directory: &tempfile::TempDir) -> (Keys, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(1_000));
        let shown = now.clone();
        let clock: Clock = Arc::new(move || UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed)));
        (Keys::open(KeyFile::of(directory.path()), Arc::default(), clock).unwrap(), now)
    }

    fn new(lasts: Option<Duration>) -> NewKey {
        NewKey { role: Role::Edit.into(), tenants: "acme".parse().unwrap(), name: "ci".to_owned(), lasts }
    }

    #[test]
    fn a_key_names_its_owner_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, _) = keys(&directory);
        let (key, token) = keys.create(new(None)).unwrap();
        let identity = keys.check(token.text().reveal()).unwrap();
        assert_eq!(
            (identity.name.as_str(), identity.role.base(), identity.tenants.to_string().as_str()),
            ("ci", Role::Edit, "acme")
        );
        assert_eq!(identity.via, Via::Key(key.id.clone()));
        keys.revoke(&key.id).unwrap();
        assert_eq!(keys.check(token.text().reveal()), Err(Rejected::Wrong));
    }

    #[test]
    fn another_secret_under_a_known_id_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, _) = keys(&directory);
        let (key, _) = keys.create(new(None)).unwrap();
        let forged = KeyToken::of(key.id, &"x".repeat(43));
        assert_eq!(keys.check(forged.text().reveal()), Err(Rejected::Wrong));
        let unknown = KeyToken::random().unwrap();
        assert_eq!(keys.check(unknown.text().reveal()), Err(Rejected::Wrong));
        assert_eq!(keys.check("spdr_"), Err(Rejected::Wrong));
    }

    #[test]
    fn a_key_expires_in_the_second_that_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, now) = keys(&directory);
        let (_, token) = keys.create(new(Some(Duration::from_secs(60)))).unwrap();
        now.store(1_059, Ordering::Relaxed);
        assert!(keys.check(token.text().reveal()).is_ok());
        now.store(1_060, Ordering::Relaxed);
        assert_eq!(keys.check(token.text().reveal()), Err(Rejected::Expired));
    }

    #[test]
    fn a_key_of_another_process_is_seen_at_once_and_its_end_soon() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, _) = keys(&directory);
        let file = KeyFile::of(directory.path());
        let noticed = Arc::new(Mutex::new(Vec::new()));
        let notes = noticed.clone();
        keys.on_foreign_change(move |change| notes.lock().push(change.clone()));
        let (key, token) = file.create(new(None), 0).unwrap();
        assert!(keys.check(token.text().reveal()).is_ok());
        file.revoke(&key.id).unwrap();
        keys.looks.end();
        assert_eq!(keys.check(token.text().reveal()), Err(Rejected::Wrong));
        keys.create(new(None)).unwrap();
        let seen = [ForeignChange::Created(key.clone()), ForeignChange::Revoked(key)];
        assert_eq!(*noticed.lock(), seen, "its own changes are none of another process");
    }

    #[test]
    fn a_file_that_was_damaged_later_leaves_the_keys_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, _) = keys(&directory);
        let (_, token) = keys.create(new(None)).unwrap();
        fs::write(directory.path().join("keys.json"), "{").unwrap();
        keys.look();
        assert!(keys.check(token.text().reveal()).is_ok());
    }

    #[test]
    fn the_last_use_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (before, now) = keys(&directory);
        let (used, token) = before.create(new(None)).unwrap();
        let (unused, _) = before.create(new(None)).unwrap();
        now.store(2_000, Ordering::Relaxed);
        before.check(token.text().reveal()).unwrap();
        before.save_uses().unwrap();
        let (after, _) = keys(&directory);
        let uses: BTreeMap<String, Option<u64>> =
            after.list().into_iter().map(|listed| (listed.key.id, listed.used)).collect();
        assert_eq!(uses, BTreeMap::from([(used.id, Some(2_000)), (unused.id, None)]));
    }
}
