//! Keeps the rules in force up to date: those of the configuration file are read again when the file has changed, those of
//! the API are kept in the data directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use spandrel_clean::Cleaner;
use spandrel_collector::{CleanApi, RuleFile};
use spandrel_gate::{FileError, ListFile};

use crate::clean_flags::{self, CleanRules};

/// Where the rules of the configuration are from.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CleanSettings {
    pub(crate) rules: CleanRules,
    /// The file that is looked at for changes; `None` where a flag or a variable has the rules.
    pub(crate) file: Option<PathBuf>,
}

/// The rules of the API, as they were sent.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    rules: String,
}

/// Where they are kept.
struct KeptRules(ListFile);

/// The file of the rules of the API in a data directory.
const FILE: &str = "clean.json";

/// What tells a file from the one before.
type Version = Option<(SystemTime, u64)>;

// === impl CleanSettings ===

impl CleanSettings {
    /// Puts the rules in force. They were checked when they were read, so this fails only if a key has gone since.
    pub(crate) fn put_in_force(&self, cleaner: &Cleaner) -> Result<(), String> {
        let rules = cleaner.parse(&self.rules.text(), &clean_flags::hash_key);
        let rules = rules.map_err(|error| format!("clean: {error}"))?;
        if !rules.is_empty() {
            tracing::info!(
                rules = rules.written().len(),
                "spans are cleaned by the rules of the configuration"
            );
        }
        cleaner.configure(rules);
        Ok(())
    }

    /// Looks for a changed file until the runtime ends.
    pub(crate) async fn watch(self, cleaner: Arc<Cleaner>, interval: Duration) {
        let Some(file) = self.file else { return };
        // A change since the start is one, too.
        let (mut seen, mut rules) = (None, self.rules.text());
        loop {
            tokio::time::sleep(interval).await;
            let now = version(&file);
            if now.is_none() || now == seen {
                continue;
            }
            seen = now;
            let (file, cleaner, known) = (file.clone(), cleaner.clone(), rules.clone());
            let looked = tokio::task::spawn_blocking(move || take(&file, &cleaner, &known)).await;
            match looked {
                Ok(Ok(Some(taken))) => rules = taken,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "the rules of the changed file are refused; the ones before stay in force")
                }
                Err(_) => tracing::error!("reading the rules of the changed file has panicked"),
            }
        }
    }
}

/// The routes of the rules; those that were kept are put in force first.
pub(crate) fn api(data_dir: &Path, cleaner: Arc<Cleaner>) -> Result<CleanApi, String> {
    let file = ListFile::new(data_dir, FILE);
    let kept: Vec<Kept> = file.read().map_err(|error| error.to_string())?;
    if let Some(Kept { rules }) = kept.first() {
        let rules = cleaner.parse(rules, &clean_flags::hash_key).map_err(|error| {
            let place = file.path();
            let place = place.display();
            format!(
                "the rules of the API in {place} cannot be put in force: {error}; mend what they need, or remove the \
                 file to start with the rules of the configuration"
            )
        })?;
        let count = rules.written().len();
        tracing::info!(
            rules = count,
            "spans are cleaned by rules of the API; those of the configuration wait"
        );
        cleaner.give(Some(rules));
    }
    Ok(CleanApi::new(cleaner, Box::new(clean_flags::hash_key), Box::new(KeptRules(file))))
}

// === impl KeptRules ===

impl RuleFile for KeptRules {
    fn save(&self, rules: Option<&str>) -> Result<(), String> {
        let change = |kept: &mut Vec<Kept>| {
            kept.clear();
            kept.extend(rules.map(|rules| Kept { rules: rules.to_owned() }));
            Ok::<_, FileError>(())
        };
        self.0.change(change).map_err(|error| error.to_string())
    }
}

fn version(file: &PathBuf) -> Version {
    let meta = fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Puts the rules of a file in force, if they are others; returns them then.
fn take(file: &PathBuf, cleaner: &Cleaner, known: &str) -> Result<Option<String>, String> {
    let place = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {place}: {error}"))?;
    let rules = cleaner.parse_file(&text, &clean_flags::hash_key);
    let rules = rules.map_err(|error| format!("{place}: clean: {error}"))?;
    let written = serde_json::Value::from(rules.written().to_vec()).to_string();
    if written == known {
        return Ok(None);
    }
    tracing::info!(rules = rules.written().len(), "spans are cleaned by the rules of the changed file");
    cleaner.configure(rules);
    Ok(Some(written))
}
