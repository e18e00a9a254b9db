//! Users of a running server: logging in, and whose request it is.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use super::file::{User, UserError, UserFile};
use super::password;
use super::sessions::{Owner, SessionLimits, Sessions};
use crate::attempts::{Attempts, Origin};
use crate::file::Stamp;
use crate::identity::{Identity, Via};
use crate::roles::Roles;
use crate::secret::Secret;
use crate::seldom::Seldom;

/// The users of a data directory in use.
pub struct Users {
    file: UserFile,
    roles: Arc<Roles>,
    known: RwLock<Arc<Known>>,
    looks: Seldom,
    sessions: Sessions,
    /// Hashes that are computed at once.
    hashing: Semaphore,
    by_address: Attempts,
    by_name: Attempts<String>,
    /// Compared with when there is no such user, so that the answer takes as long.
    decoy: String,
    notice: OnceLock<Notice>,
}

type Notice = Box<dyn Fn(&User, Changed) + Send + Sync>;

/// What another process has done to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Put,
    Removed,
}

#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    users: FxHashMap<String, User>,
}

/// Why a login fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many failed attempts")]
    TooMany(Duration),
    #[error("too many logins at once")]
    Busy,
    #[error("the session cannot be begun: {0}")]
    Random(String),
}

/// Each hash takes a core for some 20 ms, and 19 MiB.
const HASHES_AT_ONCE: usize = 2;
/// How long a login waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// Failed attempts for one name from all addresses, and one more after each interval. It is larger than what one
/// address may try, so that a stranger needs many addresses to keep a user out for a while.
const NAME_BURST: u32 = 100;
const NAME_INTERVAL: Duration = Duration::from_secs(3);
/// How old the knowledge of the file may be: a removed user is refused this long after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

// === impl Users ===

impl Users {
    /// Reads the users of a data directory. `burst` failed logins of an address are allowed at once, and one more
    /// `every` so often.
    pub fn open(
        file: UserFile,
        roles: Arc<Roles>,
        limits: SessionLimits,
        burst: u32,
        every: Duration,
    ) -> Result<Self, UserError> {
        let users = Self {
            file,
            roles,
            known: RwLock::default(),
            looks: Seldom::new(LOOK_EVERY),
            sessions: Sessions::new(limits),
            hashing: Semaphore::new(HASHES_AT_ONCE),
            by_address: Attempts::new(burst, every),
            by_name: Attempts::new(NAME_BURST, NAME_INTERVAL),
            decoy: password::hash(&Secret::new("nobody has this password")).map_err(UserError::Hash)?,
            notice: OnceLock::new(),
        };
        users.reload()?;
        Ok(users)
    }

    /// Calls back about each user that a command adds, changes or removes. The first call counts.
    pub(crate) fn on_change(&self, notice: impl Fn(&User, Changed) + Send + Sync + 'static) {
        let _ = self.notice.set(Box::new(notice));
    }

    pub fn is_empty(&self) -> bool {
        self.known.read().users.is_empty()
    }

    /// Whether a user has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.known.read().users.contains_key(name)
    }

    /// How long a session lives at most.
    pub(crate) fn session_lifetime(&self) -> Duration {
        self.sessions.lifetime()
    }

    /// Checks a password, and begins a session.
    pub(crate) async fn login(
        self: &Arc<Self>,
        origin: Option<Origin>,
        name: &str,
        password: Secret,
    ) -> Result<(Secret, Identity), LoginError> {
        let now = Instant::now();
        let wait = origin.and_then(|origin| self.by_address.wait(&origin, now));
        if let Some(wait) = wait.or(self.by_name.wait(&name.to_owned(), now)) {
            return Err(LoginError::TooMany(wait));
        }
        self.look();
        let user = self.known.read().users.get(name).cloned();
        let hash = user.as_ref().map_or(&self.decoy, |user| &user.password).clone();
        let is_right = {
            let turn = tokio::time::timeout(PATIENCE, self.hashing.acquire()).await;
            let Ok(Ok(_turn)) = turn else { return Err(LoginError::Busy) };
            let is_bounded = password.reveal().len() <= password::MAX_BYTES;
            let verify = move || is_bounded && password::verify(&password, &hash);
            tokio::task::spawn_blocking(verify).await.unwrap_or(false)
        };
        match user.filter(|_| is_right).and_then(|user| Some((self.identity(&user)?, user))) {
            Some((identity, user)) => {
                let owner = Owner::User { name: user.name, password: user.password };
                let token = self.sessions.begin(owner, Instant::now());
                Ok((token.map_err(|error| LoginError::Random(error.to_string()))?, identity))
            }
            None => {
                origin.and_then(|origin| self.by_address.fail(origin, now));
                self.by_name.fail(name.to_owned(), now);
                Err(LoginError::Wrong)
            }
        }
    }

    /// Begins a session of someone who has logged in elsewhere. It ends as all others do.
    pub(crate) fn begin(&self, identity: Identity) -> Result<Secret, LoginError> {
        let token = self.sessions.begin(Owner::Known(Arc::new(identity)), Instant::now());
        token.map_err(|error| LoginError::Random(error.to_string()))
    }

    /// Whose session it is, while the user is there and has the password with which it began.
    pub(crate) fn session(&self, token: &Secret) -> Option<Arc<Identity>> {
        self.look_now_and_then();
        let (name, password) = match self.sessions.owner(token, Instant::now())? {
            Owner::User { name, password } => (name, password),
            Owner::Known(identity) => return Some(identity),
        };
        let known = self.known.read().clone();
        let user = known.users.get(&name).filter(|user| user.password == password);
        match user {
            Some(user) => self.identity(user).map(Arc::new),
            None => {
                self.sessions.end(token);
                None
            }
        }
    }

    /// Ends a session. Returns who it was of, if that person had logged in elsewhere.
    pub(crate) fn logout(&self, token: &Secret) -> Option<Arc<Identity>> {
        match self.sessions.end(token)? {
            Owner::Known(identity) => Some(identity),
            Owner::User { .. } => None,
        }
    }

    fn look_now_and_then(&self) {
        if self.looks.is_due() {
            self.look();
        }
    }

    /// Reads the file if it was replaced. A file that cannot be read changes nothing.
    fn look(&self) {
        if self.file.stamp() != self.known.read().stamp
            && let Err(error) = self.reload()
        {
            tracing::error!(%error, "the users stay those of before");
        }
    }

    fn reload(&self) -> Result<(), UserError> {
        let stamp = self.file.stamp();
        let read = self.file.read()?;
        let users: FxHashMap<String, User> = read.into_iter().map(|user| (user.name.clone(), user)).collect();
        let mut known = self.known.write();
        if let Some(notice) = self.notice.get() {
            let put = users.values().filter(|user| known.users.get(&user.name) != Some(user));
            put.for_each(|user| notice(user, Changed::Put));
            let removed = known.users.values().filter(|user| !users.contains_key(&user.name));
            removed.for_each(|user| notice(user, Changed::Removed));
        }
        *known = Arc::new(Known { stamp, users });
        Ok(())
    }

    /// `None` for a role that the configuration does not have.
    fn identity(&self, user: &User) -> Option<Identity> {
        let role = self.roles.find(&user.role)?;
        Some(Identity { name: user.name.clone(), role, tenants: user.grant()?, via: Via::Session })
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::roles::Role;
    use crate::tenants::TenantGrant;
    use crate::users::NewUser;

    fn put(file: &UserFile, password: &str) {
        let new = NewUser {
            name: "ada".to_owned(),
            role: Role::Edit.into(),
            tenants: TenantGrant::default(),
            password: Secret::new(password),
        };
        file.put(new, 0).unwrap();
    }

    fn users() -> (Arc<Users>, UserFile, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = UserFile::of(directory.path());
        put(&file, "correct horse");
        let users = Users::open(
            file.clone(),
            Arc::default(),
            SessionLimits::default(),
            3,
            Duration::from_secs(3_600),
        )
        .unwrap();
        (Arc::new(users), file, directory)
    }

    fn origin() -> Option<Origin> {
        Some(Origin::of("192.0.2.1".parse().unwrap()))
    }

    #[tokio::test]
    async fn the_right_password_begins_a_session_and_a_wrong_one_does_not() {
        let (users, _, _directory) = users();
        let (token, identity) = users.login(origin(), "ada", Secret::new("correct horse")).await.unwrap();
        assert_eq!((identity.name.as_str(), identity.role.base()), ("ada", Role::Edit));
        assert_eq!(users.session(&token).as_deref(), Some(&identity));
        for (name, password) in [("ada", "wrong horse"), ("eve", "correct horse")] {
            let refused = users.login(None, name, Secret::new(password)).await;
            assert_eq!(refused.err(), Some(LoginError::Wrong));
        }
        users.logout(&token);
        assert_eq!(users.session(&token), None);
    }

    #[tokio::test]
    async fn attempts_are_bounded_by_address_even_with_the_right_password() {
        let (users, _, _directory) = users();
        for _ in 0..3 {
            let refused = users.login(origin(), "ada", Secret::new("wrong")).await;
            assert_eq!(refused.err(), Some(LoginError::Wrong));
        }
        let late = users.login(origin(), "ada", Secret::new("correct horse")).await;
        assert!(matches!(late, Err(LoginError::TooMany(_))));
        let elsewhere = Some(Origin::of("192.0.2.2".parse().unwrap()));
        assert!(users.login(elsewhere, "ada", Secret::new("correct horse")).await.is_ok());
    }

    #[tokio::test]
    async fn another_password_or_the_end_of_the_user_ends_sessions() {
        let (users, file, _directory) = users();
        let (token, _) = users.login(origin(), "ada", Secret::new("correct horse")).await.unwrap();
        put(&file, "battery staple");
        users.looks.end();
        assert_eq!(users.session(&token), None);
        let (token, _) = users.login(origin(), "ada", Secret::new("battery staple")).await.unwrap();
        file.remove("ada").unwrap();
        users.looks.end();
        assert_eq!(users.session(&token), None);
    }
}
