//! `spandrel encryption`: makes master keys, shows and rotates the keys of a data directory, and ends those of a tenant.
//!
//! A server may be using the data directory: it notices a changed keyring at once.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use spandrel_gate::audit::{self, Event, Record};
use spandrel_storage::encryption::{
    KeyError, KeyFile as _, MasterKey, MasterKeySource, TenantId, begin_data_keys, end_data_keys, rewrap,
};

use super::output;
use crate::encryption::{DataKeys, EncryptionFlags, FileSource, require_master};

/// The arguments of `spandrel encryption`.
#[derive(Debug, Args)]
pub(crate) struct EncryptionCommandFlags {
    #[command(subcommand)]
    command: EncryptionCommand,
}

#[derive(Debug, Subcommand)]
enum EncryptionCommand {
    /// Print a new master key, to be kept outside of the data directory: without it the data are lost
    Key,
    /// List the data keys of a data directory, which are never shown themselves
    Status(Place),
    /// Encrypt the data keys under another master key, begin new data keys, or both; a running server goes on
    ///
    /// After --new-key-file give the new key to the server at the place of the old one: until then it goes on with the
    /// data keys that it has. Older backups still need the old master key. New data keys are for new data; what is
    /// stored keeps its keys until it is rewritten or removed.
    Rotate(RotateFlags),
    /// Delete the data keys of a tenant, which ends all its data at once and for good
    ///
    /// Nobody can decrypt the tenant's blocks any more; a running server removes them. Spans that arrive later get a new
    /// key. Backups hold the keys as they were, encrypted under the master key: delete those backups, too.
    End(EndFlags),
}

#[derive(Debug, Args)]
struct Place {
    /// The data directory; a server may be using it
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
}

#[derive(Debug, Args)]
struct RotateFlags {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    encryption: EncryptionFlags,
    /// A file with the new master key
    #[arg(long, value_name = "FILE", required_unless_present = "data_keys")]
    new_key_file: Option<PathBuf>,
    /// Begin a new data key for each tenant
    #[arg(long)]
    data_keys: bool,
}

#[derive(Debug, Args)]
struct EndFlags {
    /// The tenant whose data end
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(flags: EncryptionCommandFlags) -> Result<(), Box<dyn Error>> {
    match flags.command {
        EncryptionCommand::Key => Ok(output::print_line(&MasterKey::random()?.reveal())?),
        EncryptionCommand::Status(place) => status(&place),
        EncryptionCommand::Rotate(flags) => rotate(&flags),
        EncryptionCommand::End(flags) => end(&flags),
    }
}

fn status(place: &Place) -> Result<(), Box<dyn Error>> {
    let entries = place.keys().read()?;
    if entries.is_empty() {
        return Ok(output::print_line("nothing is encrypted here")?);
    }
    output::print(|out| {
        for entry in &entries {
            let owner =
                entry.tenant.as_deref().map_or("store".to_owned(), |tenant| format!("tenant {tenant}"));
            let state = match entry.ended {
                None => format!("under master key {}", entry.master),
                Some(ended) => format!("deleted {}", date(ended)),
            };
            writeln!(out, "{}  {owner}  created {}  {state}", entry.id, date(entry.created))?;
        }
        Ok(())
    })
}

fn rotate(flags: &RotateFlags) -> Result<(), Box<dyn Error>> {
    let keys = flags.place.keys();
    let old = require_master(&flags.encryption)?;
    let new = flags.new_key_file.as_ref().map(|path| FileSource(path.clone()).read()).transpose()?;
    let (mut wrapped, mut begun) = (0, 0);
    keys.change(&mut |entries| {
        if entries.is_empty() {
            return Err(KeyError::File(format!("nothing is encrypted here: there is no {}", keys.place())));
        }
        if let Some(new) = &new {
            wrapped = rewrap(entries, &old, new)?;
        }
        if flags.data_keys {
            begun = begin_data_keys(entries, new.as_ref().unwrap_or(&old), DataKeys::now())?;
        }
        Ok(())
    })?;
    if let Some(new) = &new {
        let done = format!("encrypted {wrapped} data keys under master key {}", new.fingerprint());
        flags.place.record(&done)?;
        output::print_line(&format!("{done}; now give it to the server at the place of the old one"))?;
    }
    if flags.data_keys {
        let done = format!("began {begun} new data keys");
        flags.place.record(&done)?;
        output::print_line(&done)?;
    }
    Ok(())
}

fn end(flags: &EndFlags) -> Result<(), Box<dyn Error>> {
    let tenant = TenantId::new(&flags.tenant)?;
    let mut ended = 0;
    flags.place.keys().change(&mut |entries| {
        ended = end_data_keys(entries, &tenant, DataKeys::now());
        Ok(())
    })?;
    if ended == 0 {
        return Err(format!("tenant {tenant} has no data key in {}", flags.place.data_dir.display()).into());
    }
    let done = format!("deleted {ended} data keys of tenant {tenant}");
    flags.place.record(&done)?;
    Ok(output::print_line(&format!(
        "{done}: its data have ended, except for backups, which hold the keys under the master key"
    ))?)
}

fn date(seconds: u64) -> String {
    output::date_time(seconds.saturating_mul(1_000_000_000))
}

// === impl Place ===

impl Place {
    fn keys(&self) -> DataKeys {
        DataKeys::of(&self.data_dir)
    }

    /// Adds the change to the audit log of the data directory, if it has one.
    fn record(&self, what: &str) -> std::io::Result<()> {
        audit::append_unless_open(&self.data_dir, Record::new(Event::Keys).because(what.to_owned()))
    }
}
