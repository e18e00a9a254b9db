//! The rules that are in force: those of the configuration, unless others were given by the API.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::counts::Registry;
use crate::parse::{FindKey, RuleError};
use crate::rules::RuleSet;

/// Rules that change while requests are cleaned; a request sees those of one moment.
#[derive(Default)]
pub struct Cleaner {
    registry: Registry,
    rules: RwLock<InForce>,
}

/// Where the rules in force are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    Configuration,
    /// The API, which wins.
    Api,
}

#[derive(Default)]
struct InForce {
    configured: Arc<RuleSet>,
    given: Option<Arc<RuleSet>>,
}

// === impl Cleaner ===

impl Cleaner {
    /// The rules of this moment.
    pub fn rules(&self) -> Arc<RuleSet> {
        let rules = self.rules.read();
        rules.given.as_ref().unwrap_or(&rules.configured).clone()
    }

    /// The rules of this moment, and where they are from.
    pub fn in_force(&self) -> (Arc<RuleSet>, Origin) {
        let rules = self.rules.read();
        match &rules.given {
            Some(given) => (given.clone(), Origin::Api),
            None => (rules.configured.clone(), Origin::Configuration),
        }
    }

    /// Reads rules that go on counting where rules of the same names have counted.
    pub fn parse(&self, text: &str, find_key: FindKey<'_>) -> Result<RuleSet, RuleError> {
        RuleSet::parse(text, find_key, &self.registry)
    }

    /// The same for the rules of a configuration file.
    pub fn parse_file(&self, text: &str, find_key: FindKey<'_>) -> Result<RuleSet, RuleError> {
        RuleSet::parse_file(text, find_key, &self.registry)
    }

    /// Puts the rules of the configuration in force, unless the API has given others.
    pub fn configure(&self, rules: RuleSet) {
        self.rules.write().configured = Arc::new(rules);
    }

    /// Puts rules of the API in force; `None` returns to those of the configuration.
    pub fn give(&self, rules: Option<RuleSet>) {
        self.rules.write().given = rules.map(Arc::new);
    }
}
