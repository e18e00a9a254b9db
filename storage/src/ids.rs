//! IDs of backups and deletions.

use std::fmt::{self, Display};
use std::str::FromStr;

/// The ID of a backup. Later backups have larger IDs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(pub u64);

/// The ID of a deletion. Later deletions have larger IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeletionId(pub u64);

// === impl BackupId ===

impl Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for BackupId {
    type Err = ();

    /// Accepts 16 lower-case digits only: files are found by name, so an ID has one spelling.
    fn from_str(text: &str) -> Result<Self, ()> {
        let id = u64::from_str_radix(text, 16).map(Self).map_err(|_| ())?;
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

// === impl DeletionId ===

impl Display for DeletionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for DeletionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| plain);
        number.map(Self).ok_or_else(|| format!("{text:?} is not the ID of a deletion: 16 hex digits"))
    }
}
