//! What is kept of users, and the file that keeps it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::password;
use crate::file::{FileError, ListFile, Stamp};
use crate::roles::RoleName;
use crate::secret::Secret;
use crate::tenants::TenantGrant;

/// The users of one data directory.
#[derive(Debug, Clone)]
pub struct UserFile {
    file: ListFile,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    pub role: RoleName,
    /// A [`TenantGrant`].
    pub tenant: String,
    /// The password, as argon2id in the PHC format.
    pub(super) password: String,
    /// Seconds since 1970.
    pub created: u64,
}

/// A user to be added, or to replace the one of the same name.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// At most [`NewUser::MAX_NAME`] characters, none of them a control character.
    pub name: String,
    pub role: RoleName,
    pub tenants: TenantGrant,
    pub password: Secret,
}

/// Why users cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there is no user {0}; `spandrel users list` shows those there are")]
    Unknown(String),
    #[error("there are {MAX_USERS} users, which is the most (maxUsers); remove some first")]
    TooMany,
    #[error("the name of a user has 1 to {} characters, none of them a control character", NewUser::MAX_NAME)]
    Name,
    #[error(
        "a password has {} characters or more, and at most {} bytes",
        password::MIN_CHARACTERS,
        password::MAX_BYTES
    )]
    Password,
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// The most users of a data directory (`maxUsers`).
pub(crate) const MAX_USERS: usize = 10_000;

const FILE: &str = "users.json";

// === impl UserFile ===

impl UserFile {
    pub fn of(data_dir: &Path) -> Self {
        Self { file: ListFile::new(data_dir, FILE) }
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.file.stamp()
    }

    /// Every user. A missing file is one without users.
    pub fn read(&self) -> Result<Vec<User>, UserError> {
        let users: Vec<User> = self.file.read()?;
        self.require_whole(&users)?;
        Ok(users)
    }

    fn require_whole(&self, users: &[User]) -> Result<(), UserError> {
        match users.iter().find(|user| !user.is_whole()) {
            Some(user) => {
                let reason = format!("the tenant or the password of {} is not valid", user.name);
                Err(self.file.damaged(reason).into())
            }
            None => Ok(()),
        }
    }

    /// Adds a user, or replaces role, tenant and password of the one who has the name. That ends the user's sessions.
    pub fn put(&self, new: NewUser, now: u64) -> Result<User, UserError> {
        let NewUser { name, role, tenants, password } = new;
        let length = name.chars().count();
        if length == 0 || length > NewUser::MAX_NAME || name.chars().any(char::is_control) {
            return Err(UserError::Name);
        }
        let text = password.reveal();
        if text.chars().count() < password::MIN_CHARACTERS || text.len() > password::MAX_BYTES {
            return Err(UserError::Password);
        }
        let password = password::hash(&password).map_err(UserError::Hash)?;
        let user = User { name, role, tenant: tenants.to_string(), password, created: now };
        self.file.change(|users: &mut Vec<User>| {
            self.require_whole(users)?;
            users.retain(|other| other.name != user.name);
            if users.len() >= MAX_USERS {
                return Err(UserError::TooMany);
            }
            users.push(user.clone());
            Ok(user)
        })
    }

    /// Removes a user, and returns it. Its sessions end.
    pub fn remove(&self, name: &str) -> Result<User, UserError> {
        self.file.change(|users: &mut Vec<User>| {
            self.require_whole(users)?;
            let at = users.iter().position(|user| user.name == name);
            at.map(|at| users.remove(at)).ok_or_else(|| UserError::Unknown(name.to_owned()))
        })
    }
}

// === impl User, NewUser ===

impl User {
    pub(super) fn grant(&self) -> Option<TenantGrant> {
        self.tenant.parse().ok()
    }

    fn is_whole(&self) -> bool {
        self.grant().is_some() && password::is_hash(&self.password)
    }
}

impl NewUser {
    /// Characters of a name.
    pub const MAX_NAME: usize = 128;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Role;

    fn new(name: &str, password: &str) -> NewUser {
        NewUser {
            name: name.to_owned(),
            role: Role::Read.into(),
            tenants: TenantGrant::default(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn a_user_is_added_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = UserFile::of(directory.path());
        let first = file.put(new("ada", "0123456789"), 7).unwrap();
        let second = file.put(new("ada", "9876543210"), 8).unwrap();
        assert_ne!(first.password, second.password);
        assert_eq!(file.read().unwrap(), std::slice::from_ref(&second));
        assert_eq!(file.remove("ada").unwrap(), second);
        assert!(file.remove("ada").unwrap_err().to_string().contains("ada"));
        assert!(!std::fs::read_to_string(directory.path().join(FILE)).unwrap().contains("9876543210"));
    }

    #[test]
    fn names_and_passwords_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let file = UserFile::of(directory.path());
        for name in ["", "a\nb", &"x".repeat(129)] {
            assert!(matches!(file.put(new(name, "0123456789"), 0), Err(UserError::Name)), "{name:?}");
        }
        for password in ["012345678", &"x".repeat(1025)] {
            assert!(matches!(file.put(new("ada", password), 0), Err(UserError::Password)));
        }
    }
}
