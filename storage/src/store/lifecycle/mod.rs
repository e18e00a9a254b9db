//! How long spans live: retention by age, rule and quota, pins against it, and the deletions that users ask for.

pub(crate) mod deletion;
pub(crate) mod disk_quota;
pub(crate) mod expired_rollups;
pub(crate) mod pins;
pub(crate) mod retention;
pub(crate) mod rules;
