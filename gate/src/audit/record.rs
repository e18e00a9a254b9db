//! What a line of the audit log says.

use std::net::IpAddr;

use serde::Serialize;

use super::hash::Removed;
use crate::identity::{Identity, Via};
use crate::roles::RoleName;
use crate::routes::{Audited, Change};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The server began to write the log.
    Start,
    /// The server stopped properly.
    Stop,
    Login,
    Logout,
    /// A request that the gate did not let pass.
    Refusal,
    Question,
    Export,
    Pin,
    Deletion,
    Backup,
    Check,
    /// A key was created, revoked or listed.
    Keys,
    /// The rules that clean spans were replaced.
    Rules,
    /// A user was added, changed or removed.
    Users,
    /// Files of the log were removed for their age.
    Retention,
    /// The log did not end where it should have when it was opened: lines are missing or changed.
    Gap,
}

/// Whether a change is about to be made or was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Begin,
    End,
}

/// One line without its place in the log. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The name of the key or user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<&'static str>,
    /// The ID of the key with which the caller came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query, as they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The body of the request, for changes whose path does not name what they change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What was changed: the ID of a key, or the name of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many traces the answer holds, where it says so before it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<u64>,
    /// Why it was refused, or what the server itself has to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Refusals since the last line that were too many to be written one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<Removed>,
    /// The head that a log should have had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<String>,
}

// === impl Record ===

impl Record {
    pub fn new(event: Event) -> Self {
        Self {
            event,
            phase: None,
            who: None,
            role: None,
            via: None,
            key_id: None,
            tenant: None,
            address: None,
            method: None,
            target: None,
            body: None,
            subject: None,
            status: None,
            traces: None,
            reason: None,
            suppressed: None,
            removed: None,
            expected: None,
        }
    }

    /// Says who it was.
    #[must_use]
    pub fn by(mut self, identity: &Identity) -> Self {
        self.who = Some(identity.name.clone());
        self.role = Some(identity.role.name.clone());
        self.via = Some(identity.via.name());
        self.tenant = Some(identity.tenants.to_string());
        if let Via::Key(id) = &identity.via {
            self.key_id = Some(id.clone());
        }
        self
    }

    /// Says which key or user it is about, and what it is for.
    #[must_use]
    pub fn about(mut self, id: &str, role: &RoleName) -> Self {
        self.subject = Some(id.to_owned());
        self.role = Some(role.clone());
        self
    }

    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

// === impl Event ===

impl Event {
    /// The event of an allowed request, if it leaves a line.
    pub(crate) fn of(audited: Audited) -> Option<Self> {
        match audited {
            Audited::No => None,
            Audited::Question => Some(Self::Question),
            Audited::Export => Some(Self::Export),
            Audited::Change(change) => Some(match change {
                Change::Pin => Self::Pin,
                Change::Deletion => Self::Deletion,
                Change::Backup => Self::Backup,
                Change::Check => Self::Check,
                Change::Keys => Self::Keys,
                Change::Rules => Self::Rules,
                Change::Logout => Self::Logout,
            }),
        }
    }
}
