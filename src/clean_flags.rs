//! The rules by which spans are cleaned: the value of `--clean`, the list under `clean` of the configuration file, and the
//! keys of hashes, which come from the environment alone.

use std::env;
use std::fs;

use serde_json::Value;
use spandrel_clean::{HashKey, Registry, RuleSet};

/// Rules that were checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CleanRules {
    written: Vec<Value>,
}

/// The variable with the key of hashes; `_NAME` behind it for a key with a name, `_FILE` behind that for a file.
const KEY: &str = "SPANDREL_CLEAN_KEY";

/// Reads the value of the flag.
pub(crate) fn rules(text: &str) -> Result<CleanRules, String> {
    let rules = RuleSet::parse(text, &hash_key, &Registry::default());
    let rules = rules.map_err(|error| {
        format!("allowed is a list like [{{\"name\": \"pings\", \"match\": \"{{ name = \\\"ping\\\" }}\", \"drop\": true}}]: {error}")
    })?;
    Ok(CleanRules { written: rules.written().to_vec() })
}

/// Checks the rules of a configuration file; the error has their place in it.
pub(crate) fn check_file(text: &str) -> Result<(), String> {
    let rules = RuleSet::parse_file(text, &hash_key, &Registry::default());
    rules.map(drop).map_err(|error| format!("clean: {error}"))
}

/// Finds the key of a hash.
pub(crate) fn hash_key(name: Option<&str>) -> Result<HashKey, String> {
    let variable = match name {
        None => KEY.to_owned(),
        // Its variable would be that of the path of another key, and the path would become the key.
        Some(name) if name.to_ascii_uppercase().replace('-', "_").ends_with("FILE") => {
            return Err(format!("{name:?} is no name of a key: names that end in \"file\" stand for files"));
        }
        Some(name)
            if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !name.is_empty() =>
        {
            format!("{KEY}_{}", name.to_ascii_uppercase().replace('-', "_"))
        }
        Some(name) => {
            return Err(format!("{name:?} is no name of a key; allowed are letters, digits, - and _"));
        }
    };
    let file = format!("{variable}_FILE");
    let bytes = match (env::var(&variable), env::var(&file)) {
        (Ok(key), _) => key.into_bytes(),
        (Err(_), Ok(path)) => {
            fs::read(&path).map_err(|error| format!("cannot read {path} ({file}): {error}"))?
        }
        (Err(_), Err(_)) => {
            return Err(format!(
                "a hash needs a key: set {variable}, or {file} to a file with it, to at least {} random bytes",
                HashKey::MIN_BYTES
            ));
        }
    };
    // What an editor leaves behind a key is no part of it.
    HashKey::new(bytes.trim_ascii()).map_err(|error| format!("{variable}: {error}"))
}

// === impl CleanRules ===

impl CleanRules {
    pub(crate) fn to_json(&self) -> Value {
        self.written.clone().into()
    }

    /// As a text that is read again.
    pub(crate) fn text(&self) -> String {
        self.to_json().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_checked_and_read_back() {
        let read = rules(r#"[{"name": "a", "match": "{ name = \"x\" }", "drop": true}]"#).unwrap();
        assert_eq!(rules(&read.text()), Ok(read));
        assert!(rules("[{\"name\": \"a\"}]").unwrap_err().contains("does nothing"));
        let error =
            rules("[{\"name\": \"a\", \"hash\": \"span.x\", \"hash-key\": \"not-there\"}]").unwrap_err();
        assert!(error.contains("SPANDREL_CLEAN_KEY_NOT_THERE"), "{error}");
        assert!(hash_key(Some("a b")).is_err());
        assert!(check_file("clean:\n  - name: a\n").unwrap_err().contains("line 2, column 5"));
    }
}
