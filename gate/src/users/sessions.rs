//! Sessions of browsers, in memory: a restart ends them all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::identity::Identity;
use crate::random;
use crate::secret::Secret;

/// How long sessions live, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    /// A session that was not used for so long has ended (`sessionIdle`).
    pub idle: Duration,
    /// A session ends after this time in any case (`sessionLifetime`).
    pub lifetime: Duration,
    /// More sessions than this end the one that was not used the longest (`maxSessions`).
    pub max: usize,
}

/// Every session, by the hash of its token, so that a copy of the map holds no token.
pub(super) struct Sessions {
    limits: SessionLimits,
    sessions: Mutex<FxHashMap<[u8; 32], Session>>,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    User {
        name: String,
        /// The hash of the password at the time of login: another one ends the session.
        password: String,
    },
    /// Who has logged in elsewhere.
    Known(Arc<Identity>),
}

struct Session {
    owner: Owner,
    begun: Instant,
    used: Instant,
}

/// Characters of a token: 43 of 62 are just above 256 bits.
const TOKEN: usize = 43;
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// === impl SessionLimits ===

impl Default for SessionLimits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(8 * 3600), lifetime: Duration::from_secs(24 * 3600), max: 10_000 }
    }
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self { limits, sessions: Mutex::default() }
    }

    /// Begins a session, and returns its token.
    pub(super) fn begin(&self, owner: Owner, now: Instant) -> Result<Secret, getrandom::Error> {
        let token = Secret::new(random::text(TOKEN, ALPHABET)?);
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.limits.max {
            sessions.retain(|_, session| session.is_alive(&self.limits, now));
        }
        if sessions.len() >= self.limits.max {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| sessions.remove(&oldest));
        }
        sessions.insert(hash(&token), Session { owner, begun: now, used: now });
        Ok(token)
    }

    /// Whose session a token is. Notes the use.
    pub(super) fn owner(&self, token: &Secret, now: Instant) -> Option<Owner> {
        let mut sessions = self.sessions.lock();
        let hash = hash(token);
        let session = sessions.get_mut(&hash)?;
        if !session.is_alive(&self.limits, now) {
            sessions.remove(&hash);
            return None;
        }
        session.used = now;
        Some(session.owner.clone())
    }

    /// Ends a session, and returns whose it was.
    pub(super) fn end(&self, token: &Secret) -> Option<Owner> {
        self.sessions.lock().remove(&hash(token)).map(|session| session.owner)
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.limits.lifetime
    }
}

fn hash(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.reveal()).into()
}

// === impl Session ===

impl Session {
    fn is_alive(&self, limits: &SessionLimits, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < limits.idle
            && now.saturating_duration_since(self.begun) < limits.lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner::User { name: name.to_owned(), password: "p".to_owned() }
    }

    fn sessions(max: usize) -> (Sessions, Instant) {
        let limits = SessionLimits { idle: Duration::from_secs(10), lifetime: Duration::from_secs(25), max };
        (Sessions::new(limits), Instant::now())
    }

    #[test]
    fn a_session_ends_when_it_is_idle_when_it_is_old_and_by_logout() {
        let (sessions, now) = sessions(10);
        let at = |seconds| now + Duration::from_secs(seconds);
        let token = sessions.begin(owner("ada"), now).unwrap();
        assert_eq!(sessions.owner(&token, at(9)), Some(owner("ada")));
        assert_eq!(sessions.owner(&token, at(18)), Some(owner("ada")), "each use counts");
        assert_eq!(sessions.owner(&token, at(25)), None, "but not for ever");
        let idle = sessions.begin(owner("ada"), now).unwrap();
        assert_eq!(sessions.owner(&idle, at(10)), None);
        let left = sessions.begin(owner("ada"), now).unwrap();
        sessions.end(&left);
        assert_eq!(sessions.owner(&left, now), None);
        assert_eq!(sessions.owner(&Secret::new("guessed"), now), None);
    }

    #[test]
    fn the_longest_unused_session_makes_room() {
        let (sessions, now) = sessions(2);
        let at = |seconds| now + Duration::from_secs(seconds);
        let first = sessions.begin(owner("a"), now).unwrap();
        let second = sessions.begin(owner("b"), at(1)).unwrap();
        sessions.owner(&first, at(2));
        let third = sessions.begin(owner("c"), at(3)).unwrap();
        let alive = [&first, &second, &third].map(|token| sessions.owner(token, at(3)).is_some());
        assert_eq!(alive, [true, false, true]);
    }
}
