//! Users of the web UI: their passwords, and the sessions of their browsers.

mod file;
mod password;
mod sessions;
mod store;

pub(crate) use file::MAX_USERS;
pub use file::{NewUser, User, UserError, UserFile};
pub use sessions::SessionLimits;
pub(crate) use store::Changed;
pub use store::{LoginError, Users};
