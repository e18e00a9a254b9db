//! The key by which a command shows a server who it is.
//!
//! It comes from a file or the environment: an argument would be seen by everybody who lists processes.

use std::path::PathBuf;

use clap::Args;
use spandrel_gate::Secret;

/// Where the key is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyFlag {
    /// A file with the key for the server [default: the key in the variable SPANDREL_KEY, or none]
    #[arg(long, env = "SPANDREL_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
}

const VARIABLE: &str = "SPANDREL_KEY";

// === impl KeyFlag ===

impl KeyFlag {
    /// The key, if there is one.
    pub(crate) fn key(&self) -> Result<Option<Secret>, String> {
        let (text, place) = match &self.key_file {
            Some(path) => {
                let place = format!("--key-file {}", path.display());
                let text = std::fs::read_to_string(path);
                (text.map_err(|error| format!("cannot read {place}: {error}"))?, place)
            }
            None => match std::env::var(VARIABLE) {
                Ok(text) => (text, VARIABLE.to_owned()),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => return Err(format!("{VARIABLE}: {error}")),
            },
        };
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{place} holds no key; allowed is one word, as `spandrel keys create` prints it"
            ));
        }
        Ok(Some(Secret::new(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Secret>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        KeyFlag { key_file: Some(file.path().to_owned()) }.key()
    }

    #[test]
    fn a_file_holds_one_key_and_errors_do_not_repeat_it() {
        assert_eq!(read(" spdr_a_b\n").unwrap().unwrap().reveal(), "spdr_a_b");
        for text in ["", " \n", "two words", "lines\nof it", "ü"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("--key-file") && !error.contains("words of"), "{error}");
        }
    }
}
