//! API keys: their text, the file that keeps them, and what a running server knows of them.
//!
//! A key is 256 random bits, so its SHA-256 is kept instead of a slow password hash: there is no list of likely keys to
//! try, and a slow hash would cost every request.

mod file;
mod store;
mod token;

pub use file::{Key, KeyError, KeyFile, MAX_KEYS, NewKey};
pub use store::{Clock, ForeignChange, Keys, Listed, Rejected, system_clock};
pub use token::KeyToken;
