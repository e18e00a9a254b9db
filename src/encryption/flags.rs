//! The settings of encryption at rest: where the master key comes from.
//!
//! It comes from a file, a variable or a command: an argument would be seen by everybody who lists processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use spandrel_storage::encryption::{MasterKey, MasterKeySource};
use zeroize::Zeroizing;

use super::command;
use crate::units;

/// Where the master key is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EncryptionFlags {
    /// A file with the master key, under which the store is encrypted: 32 bytes in hex or base64, as `spandrel encryption
    /// key` prints them [default: the key in the variable SPANDREL_ENCRYPTION_KEY, or none, and nothing is encrypted]
    #[arg(long, env = "SPANDREL_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
    /// A command that prints the master key, run without a shell; its words are separated by spaces, none is quoted
    #[arg(long, env = "SPANDREL_ENCRYPTION_KEY_COMMAND", value_name = "COMMAND")]
    encryption_key_command: Option<String>,
    /// How long that command may take [default: 30s]
    #[arg(long, env = "SPANDREL_ENCRYPTION_KEY_TIMEOUT", value_name = "DURATION", value_parser = units::parse_duration)]
    encryption_key_timeout: Option<Duration>,
}

/// The flags, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncryptionSettings {
    file: Option<PathBuf>,
    command: Option<String>,
    timeout: Duration,
}

/// A file that gives a master key.
#[derive(Debug)]
pub(crate) struct FileSource(pub(crate) PathBuf);

/// A place that gives the master key.
#[derive(Debug)]
enum Source {
    File(FileSource),
    Variable,
    Command(String, Duration),
}

const VARIABLE: &str = "SPANDREL_ENCRYPTION_KEY";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

// === impl EncryptionFlags ===

impl EncryptionFlags {
    /// These flags, completed by those of the file.
    pub(crate) fn over(self, file: Self) -> EncryptionSettings {
        let none_here = self.encryption_key_file.is_none() && self.encryption_key_command.is_none();
        // A flag replaces the place that the file gives, whichever kind it is.
        let place = if none_here { file.clone() } else { self.clone() };
        EncryptionSettings {
            file: place.encryption_key_file,
            command: place.encryption_key_command,
            timeout: self.encryption_key_timeout.or(file.encryption_key_timeout).unwrap_or(DEFAULT_TIMEOUT),
        }
    }

    /// The settings of a command, which reads no file.
    pub(crate) fn settings(&self) -> EncryptionSettings {
        self.clone().over(Self::default())
    }
}

// === impl EncryptionSettings ===

impl EncryptionSettings {
    /// Refuses two places.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (&self.file, &self.command) {
            (Some(file), Some(command)) => Err(format!(
                "--encryption-key-file {} and --encryption-key-command {command:?} contradict each other; allowed is one \
                 place for the master key",
                file.display()
            )),
            (None, Some(command)) if command.split_whitespace().next().is_none() => Err(
                "--encryption-key-command is empty; allowed is a program with its arguments, like /usr/bin/fetch-key spandrel"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// The place of the master key; `None` if there is none, and nothing is encrypted.
    pub(crate) fn source(&self) -> Result<Option<Arc<dyn MasterKeySource>>, String> {
        self.check()?;
        let source = match (&self.file, &self.command) {
            (Some(file), _) => Source::File(FileSource(file.clone())),
            (None, Some(command)) => Source::Command(command.clone(), self.timeout),
            (None, None) if std::env::var_os(VARIABLE).is_some() => Source::Variable,
            (None, None) => return Ok(None),
        };
        Ok(Some(Arc::new(source)))
    }

    /// The settings in the notation of the file. The key itself is never shown.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Value)> {
        let file = self.file.as_ref().map(|file| file.display().to_string().into());
        let rows = [
            ("encryption-key-file", file),
            ("encryption-key-command", self.command.clone().map(Value::from)),
            ("encryption-key-timeout", Some(units::duration_word(self.timeout).into())),
        ];
        rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The master key that a command needs.
pub(crate) fn require_master(flags: &EncryptionFlags) -> Result<MasterKey, String> {
    let source = flags.settings().source()?.ok_or_else(|| {
        format!("the master key is missing: give it with --encryption-key-file, in the variable {VARIABLE}, or with --encryption-key-command")
    })?;
    source.read().map_err(|error| format!("the master key cannot be read from {}: {error}", source.place()))
}

/// Reads a key from its text, which is overwritten in memory.
fn parse(text: String) -> Result<MasterKey, String> {
    MasterKey::parse(&Zeroizing::new(text)).map_err(|error| error.to_string())
}

// === impl FileSource, Source ===

impl MasterKeySource for FileSource {
    fn read(&self) -> Result<MasterKey, String> {
        parse(std::fs::read_to_string(&self.0).map_err(|error| error.to_string())?)
    }

    fn place(&self) -> String {
        format!("--encryption-key-file {}", self.0.display())
    }
}

impl MasterKeySource for Source {
    fn read(&self) -> Result<MasterKey, String> {
        match self {
            Self::File(file) => file.read(),
            Self::Variable => parse(std::env::var(VARIABLE).map_err(|_| "it is not text".to_owned())?),
            Self::Command(command, timeout) => parse(command::output(command, *timeout)?),
        }
    }

    fn place(&self) -> String {
        match self {
            Self::File(file) => file.place(),
            Self::Variable => VARIABLE.to_owned(),
            Self::Command(command, _) => format!("--encryption-key-command {command:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(file: Option<&str>, command: Option<&str>) -> EncryptionFlags {
        EncryptionFlags {
            encryption_key_file: file.map(PathBuf::from),
            encryption_key_command: command.map(str::to_owned),
            encryption_key_timeout: None,
        }
    }

    #[test]
    fn one_place_gives_the_key_and_flags_stand_above_the_file() {
        let settings = flags(Some("a"), None).over(flags(None, Some("fetch")));
        assert_eq!((settings.file, settings.command), (Some("a".into()), None));
        let settings = EncryptionFlags::default().over(flags(None, Some("fetch")));
        assert_eq!(settings.command.as_deref(), Some("fetch"));
        let error = flags(Some("a"), Some("fetch")).settings().check().unwrap_err();
        assert!(error.contains("--encryption-key-file a") && error.contains("allowed is"), "{error}");
        assert!(flags(None, Some(" ")).settings().check().is_err());
    }

    #[test]
    fn a_file_gives_its_key_and_errors_do_not_repeat_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = || flags(file.path().to_str(), None).settings().source().unwrap().unwrap();
        for (text, is_key) in
            [("ab".repeat(32), true), ("ab".repeat(31), false), ("secret words".to_owned(), false)]
        {
            std::fs::write(file.path(), format!("{text}\n")).unwrap();
            match source().read() {
                Ok(_) => assert!(is_key),
                Err(error) => {
                    assert!(!is_key && error.contains("64 digits") && !error.contains(&text), "{error}")
                }
            }
        }
        assert!(source().place().contains(file.path().to_str().unwrap()));
    }
}
