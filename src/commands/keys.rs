//! `spandrel keys`: creates, lists and revokes API keys, of a data directory or of a running server.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use spandrel_gate::api::{CreateKey, CreatedKey, KeyAnswer, KeysAnswer};
use spandrel_gate::audit::{self, Event, Record};
use spandrel_gate::keys::{Key, KeyFile, Keys, Listed, NewKey, system_clock};
use spandrel_gate::{RoleName, TenantGrant};
use ureq::http::Method;

use super::client::{Client, ServerFlag, escape};
use super::key::KeyFlag;
use super::output::{self, plain};
use crate::outgoing::TlsClientFlags;
use crate::units;

/// The arguments of `spandrel keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysFlags {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Create a key, and print it: it is shown this once, alone on the last line of standard output
    Create(CreateFlags),
    /// List the keys, without their secrets
    List(Place),
    /// Revoke a key, which a running server refuses from then on
    Revoke(RevokeFlags),
}

#[derive(Debug, Args)]
struct CreateFlags {
    /// What the key is for: ingest, read, edit, admin, audit, or a role of the server's configuration
    #[arg(long)]
    role: RoleName,
    /// The tenant whose data the key is for; several with | between them, or * for all [default: default]
    #[arg(long)]
    tenant: Option<TenantGrant>,
    /// A name by which to recognise it
    #[arg(long)]
    name: Option<String>,
    /// The time after which it is refused, as in 30d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct RevokeFlags {
    /// The ID of the key, which is the part after `spdr_`
    id: String,
    #[command(flatten)]
    place: Place,
}

/// Where the keys are.
#[derive(Debug, Args)]
struct Place {
    /// The data directory of the keys; a server may be using it
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// The server of the keys instead, as an admin
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    tls: TlsClientFlags,
    #[command(flatten)]
    key: KeyFlag,
}

pub(crate) fn run(flags: KeysFlags) -> Result<(), Box<dyn Error>> {
    match flags.command {
        KeysCommand::Create(flags) => create(flags),
        KeysCommand::List(place) => list(&place),
        KeysCommand::Revoke(flags) => revoke(&flags),
    }
}

fn create(flags: CreateFlags) -> Result<(), Box<dyn Error>> {
    let CreateFlags { role, tenant, name, expires, place } = flags;
    let created = match place.client()? {
        Some(client) => {
            let lifetime_nano = expires.map(|expires| u64::try_from(expires.as_nanos())).transpose()?;
            let tenant = tenant.map(|tenant| tenant.to_string());
            let body = serde_json::to_vec(&CreateKey { role, tenant, name, lifetime_nano })?;
            client.send(Method::POST, "/api/v1/keys", &[], Some(body))?.json()?
        }
        None => {
            note_configured(&role);
            let tenants = tenant.unwrap_or_default();
            let new = NewKey { role, tenants, name: name.unwrap_or_default(), lasts: expires };
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let (key, token) = KeyFile::of(&place.data_dir).create(new, now)?;
            place.record(&key, "created")?;
            let about = KeyAnswer::from(Listed { key, used: None });
            CreatedKey { key: token.text().reveal().to_owned(), about }
        }
    };
    let CreatedKey { key, about } = created;
    eprintln!(
        "created key {} with role {} in {}; keep it now, it is not shown again",
        about.id,
        about.role,
        place.name()
    );
    Ok(output::print_line(&key)?)
}

fn list(place: &Place) -> Result<(), Box<dyn Error>> {
    let keys = match place.client()? {
        Some(client) => client.get("/api/v1/keys", &[])?.json::<KeysAnswer>()?.keys,
        None => {
            let keys = Keys::open(KeyFile::of(&place.data_dir), Arc::default(), system_clock())?;
            keys.list().into_iter().map(KeyAnswer::from).collect()
        }
    };
    if keys.is_empty() {
        eprintln!("there are no keys in {}", place.name());
    }
    output::print(|out| Ok(keys.iter().try_for_each(|key| writeln!(out, "{}", line(key)))?))
}

fn revoke(flags: &RevokeFlags) -> Result<(), Box<dyn Error>> {
    let RevokeFlags { id, place } = flags;
    match place.client()? {
        Some(client) => {
            client.send(Method::DELETE, &format!("/api/v1/keys/{}", escape(id)), &[], None)?;
        }
        None => {
            let key = KeyFile::of(&place.data_dir).revoke(id)?;
            place.record(&key, "revoked")?;
        }
    }
    Ok(output::print_line(&format!("revoked key {id}"))?)
}

/// Says that a role has to be defined for a running server to accept it.
pub(super) fn note_configured(role: &RoleName) {
    if !role.is_built_in() {
        eprintln!("the role {role} has to be in the configuration of the server (roles), or it is refused");
    }
}

fn line(key: &KeyAnswer) -> String {
    let time = |time: &Option<String>| time.as_deref().map_or("never".to_owned(), output::time);
    let KeyAnswer { id, name, role, tenant, created_unix_nano, expires_unix_nano, last_used_unix_nano } = key;
    format!(
        "{id}  {role:<6}  tenant {tenant}  created {}  expires {}  used {}  {}",
        output::time(created_unix_nano),
        time(expires_unix_nano),
        time(last_used_unix_nano),
        plain(name)
    )
    .trim_end()
    .to_owned()
}

// === impl Place ===

impl Place {
    fn client(&self) -> Result<Option<Client>, Box<dyn Error>> {
        let Some(server) = &self.server else { return Ok(None) };
        Ok(Some(Client::new(&ServerFlag::at(server, &self.tls, &self.key))?))
    }

    /// Adds the change to the audit log of the data directory, if it has one.
    fn record(&self, key: &Key, what: &str) -> std::io::Result<()> {
        let record = Record::new(Event::Keys).about(&key.id, &key.role);
        audit::append_unless_open(&self.data_dir, record.because(format!("{what} on the data directory")))
    }

    fn name(&self) -> String {
        self.server.clone().unwrap_or_else(|| self.data_dir.display().to_string())
    }
}
