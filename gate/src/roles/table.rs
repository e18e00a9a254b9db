//! What each of the five roles may do: one table, and nothing else in the server decides it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an identity is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends spans, and reads nothing.
    Ingest,
    /// Asks and exports.
    Read,
    /// Asks, pins and deletes.
    Edit,
    /// Does everything but read the audit log.
    Admin,
    /// Reads the audit log, and no span.
    Audit,
}

/// What a route may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Send spans.
    Ingest,
    /// Ask for spans and what they add up to, and export them.
    Read,
    /// Read the server's own metrics.
    Metrics,
    /// Pin and delete traces.
    Edit,
    /// Take backups and check the store: both reach the data of everybody.
    Operate,
    /// Create, list and revoke keys.
    Keys,
    /// Read the audit log.
    Audit,
}

/// The permissions of each role.
///
/// An admin does not read the audit log, so that an admin's key alone does not show what others asked. It is no
/// barrier: an admin may create a key with the role `audit`. Creating it leaves a line in the log.
const TABLE: [(Role, &[Permission]); 5] = {
    use Permission::{Audit, Edit, Ingest, Keys, Metrics, Operate, Read};
    [
        (Role::Ingest, &[Ingest]),
        (Role::Read, &[Read, Metrics]),
        (Role::Edit, &[Read, Metrics, Edit]),
        (Role::Admin, &[Ingest, Read, Metrics, Edit, Operate, Keys]),
        (Role::Audit, &[Audit]),
    ]
};

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role; there are ingest, read, edit, admin and audit")]
pub struct UnknownRole(String);

// === impl Role ===

impl Role {
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Read, Self::Edit, Self::Admin, Self::Audit];

    pub fn may(self, permission: Permission) -> bool {
        TABLE.iter().any(|(role, permissions)| *role == self && permissions.contains(&permission))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Edit => "edit",
            Self::Admin => "admin",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let known = Self::ALL.into_iter().find(|role| role.name() == text);
        known.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

// === impl Permission ===

impl Permission {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Metrics => "metrics",
            Self::Edit => "edit",
            Self::Operate => "operate",
            Self::Keys => "keys",
            Self::Audit => "audit",
        }
    }

    /// Whether it reaches beyond the data of a tenant: metrics and backups are of the server as a whole.
    pub fn is_of_server(self) -> bool {
        matches!(self, Self::Metrics | Self::Operate | Self::Audit)
    }

    /// Whether what it allows belongs to one tenant.
    pub fn is_of_one_tenant(self) -> bool {
        matches!(self, Self::Ingest | Self::Edit)
    }

    /// The roles that have it, for the answer to a request that lacks it.
    pub fn roles(self) -> Vec<&'static str> {
        Role::ALL.into_iter().filter(|role| role.may(self)).map(Role::name).collect()
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_in_the_table_under_its_name() {
        for role in Role::ALL {
            assert_eq!(TABLE.iter().filter(|(listed, _)| *listed == role).count(), 1, "{role}");
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert!(
            "root".parse::<Role>().unwrap_err().to_string().contains("ingest, read, edit, admin and audit")
        );
    }

    #[test]
    fn who_sends_does_not_read_and_who_reads_does_not_change() {
        use Permission::{Audit, Edit, Ingest, Keys, Operate, Read};
        assert!(Role::Ingest.may(Ingest) && !Role::Ingest.may(Read));
        assert!(Role::Read.may(Read) && !Role::Read.may(Edit) && !Role::Read.may(Ingest));
        assert!(Role::Edit.may(Edit) && !Role::Edit.may(Operate) && !Role::Edit.may(Keys));
        assert!(Role::Admin.may(Keys) && !Role::Admin.may(Audit));
        assert!(Role::Audit.may(Audit) && !Role::Audit.may(Read));
    }
}
