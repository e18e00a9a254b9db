//! The value of `--tenants`: how long the data of tenants are kept, and what tenants may take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spandrel_proto::TenantId;
use spandrel_quota::{QuotaConfig, TenantLimits};
use spandrel_storage::TenantRetention;

use crate::retention_flags::{self, Rule};
use crate::units;

/// Settings by the name of a tenant, or `*` for all others.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TenantSettings {
    usual: Option<OneTenant>,
    tenants: BTreeMap<TenantId, OneTenant>,
}

/// The settings of one tenant.
#[derive(Debug, Clone, PartialEq, Default)]
struct OneTenant {
    retention: Option<Duration>,
    rollup_retention: Option<Duration>,
    rules: Option<Vec<Rule>>,
    limits: TenantLimits,
}

/// The same as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollup_retention: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention_rules: Option<Vec<Value>>,
    #[serde(flatten)]
    limits: TenantLimits,
}

const OTHERS: &str = "*";
const MEMBERS: [&str; 9] = [
    "retention",
    "rollup-retention",
    "retention-rules",
    "max-spans-per-second",
    "max-bytes-per-second",
    "max-stored-bytes",
    "max-questions",
    "max-scanned-bytes-per-second",
    "each-key",
];

/// Reads a mapping of tenants.
pub(crate) fn tenants(text: &str) -> Result<TenantSettings, String> {
    let example = r#"allowed is a mapping like {"shop": {"retention": "3d"}}"#;
    let all: BTreeMap<String, Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| format!("{example}: {error}"))?;
    let mut settings = TenantSettings::default();
    for (name, members) in all {
        let one = OneTenant::read(members).map_err(|error| format!("{name}: {error}"))?;
        if name == OTHERS {
            settings.usual = Some(one);
            continue;
        }
        let tenant =
            TenantId::new(&name).map_err(|error| format!("{name:?}: {error}, or * for all others"))?;
        settings.tenants.insert(tenant, one);
    }
    match &settings.usual {
        Some(OneTenant { retention: None, rollup_retention: None, rules: None, .. }) | None => Ok(settings),
        Some(_) => Err(
            "*: retention, rollup-retention and retention-rules of all others are settings of their own: --retention, \
             --rollup-retention, --retention-rules"
                .to_owned(),
        ),
    }
}

// === impl OneTenant ===

impl OneTenant {
    fn read(members: Map<String, Value>) -> Result<Self, String> {
        if let Some(unknown) = members.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
            return Err(format!("unknown member {unknown:?}; allowed are {}", MEMBERS.join(", ")));
        }
        let written: Written =
            serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())?;
        let time = |text: Option<String>| text.as_deref().map(units::parse_retention).transpose();
        let rule = |rule: Value| match rule {
            Value::String(text) => retention_flags::rule(&text),
            Value::Object(members) => {
                let words = Rule::words(&members).ok_or("a retention rule has match and keep")?;
                retention_flags::rule(&words)
            }
            other => Err(format!("{other} is no retention rule")),
        };
        let rules = written.retention_rules.map(|rules| rules.into_iter().map(rule).collect());
        Ok(Self {
            retention: time(written.retention)?,
            rollup_retention: time(written.rollup_retention)?,
            rules: rules.transpose()?,
            limits: written.limits,
        })
    }

    fn written(&self) -> Written {
        let word = |time: Option<Duration>| time.map(units::duration_word);
        Written {
            retention: word(self.retention),
            rollup_retention: word(self.rollup_retention),
            retention_rules: self.rules.as_ref().map(|rules| rules.iter().map(Rule::to_json).collect()),
            limits: self.limits.clone(),
        }
    }
}

// === impl TenantSettings ===

impl TenantSettings {
    pub(crate) fn is_empty(&self) -> bool {
        self.usual.is_none() && self.tenants.is_empty()
    }

    pub(crate) fn to_json(&self) -> Value {
        let usual = self.usual.iter().map(|one| (OTHERS.to_owned(), one));
        let tenants = self.tenants.iter().map(|(tenant, one)| (tenant.to_string(), one));
        let value = |one: &OneTenant| serde_json::to_value(one.written()).unwrap_or_default();
        usual.chain(tenants).map(|(name, one)| (name, value(one))).collect()
    }

    /// The retentions for the store.
    pub(crate) fn retentions(&self) -> Result<BTreeMap<TenantId, TenantRetention>, String> {
        let of = |(tenant, one): (&TenantId, &OneTenant)| {
            let rules = one.rules.as_ref().map(|rules| rules.iter().map(Rule::for_store).collect());
            let rules = rules.transpose()?;
            let (retention, rollup_retention) = (one.retention, one.rollup_retention);
            Ok((tenant.clone(), TenantRetention { retention, rules, rollup_retention }))
        };
        self.tenants.iter().map(of).collect()
    }

    /// The quotas.
    pub(crate) fn quotas(&self) -> QuotaConfig {
        let limits = |(tenant, one): (&TenantId, &OneTenant)| (tenant.clone(), one.limits.clone());
        QuotaConfig {
            usual: self.usual.as_ref().map(|one| one.limits.clone()).unwrap_or_default(),
            tenants: self.tenants.iter().map(limits).collect(),
            ..QuotaConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_as_they_are_printed() {
        let text = r#"{"*": {"max-questions": 4}, "shop": {"retention": "3d", "retention-rules":
            ["30d: { failed }", {"match": "{ }", "keep": "1d"}], "max-stored-bytes": 5, "each-key": {"max-bytes-per-second": 7}}}"#;
        let settings = tenants(text).unwrap();
        let printed = settings.to_json();
        assert_eq!(tenants(&printed.to_string()), Ok(settings.clone()));
        assert_eq!(printed["shop"]["retention"], "3days");
        assert_eq!(printed["*"]["max-questions"], 4);
        let shop = TenantId::new("shop").unwrap();
        assert_eq!(settings.retentions().unwrap()[&shop].rules.as_ref().unwrap().len(), 2);
        let quotas = settings.quotas();
        assert_eq!(
            (quotas.tenants[&shop].max_stored_bytes, quotas.usual.own.max_questions),
            (Some(5), Some(4))
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("[]", "mapping"),
            (r#"{"a/b": {}}"#, "a/b"),
            (r#"{"shop": {"retentio": "3d"}}"#, "retentio"),
            (r#"{"shop": {"retention": "3"}}"#, "shop"),
            (r#"{"shop": {"max-questions": -1}}"#, "shop"),
            (r#"{"shop": {"each-key": {"max-stored-bytes": 1}}}"#, "max-stored-bytes"),
            (r#"{"*": {"retention": "3d"}}"#, "--retention"),
        ] {
            let error = tenants(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
