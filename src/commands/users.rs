//! `spandrel users`: adds, lists and removes users of the web UI, on a data directory.

use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use spandrel_gate::audit::{self, Event, Record};
use spandrel_gate::users::{NewUser, User, UserFile};
use spandrel_gate::{RoleName, Secret, TenantGrant};

use super::keys::note_configured;
use super::output::{self, plain};

/// The arguments of `spandrel users`.
#[derive(Debug, Args)]
pub(crate) struct UsersFlags {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Add a user, or give the one of this name another password and role, which ends its sessions
    ///
    /// The password is the first line of --password-file, or of standard input.
    Add(AddFlags),
    /// List the users
    List(Place),
    /// Remove a user, whose sessions end
    Remove(RemoveFlags),
}

#[derive(Debug, Args)]
struct AddFlags {
    /// The name to log in with
    name: String,
    /// What the user may do: ingest, read, edit, admin, audit, or a role of the server's configuration
    #[arg(long)]
    role: RoleName,
    /// The tenant whose data the user sees; several with | between them, or * for all [default: default]
    #[arg(long)]
    tenant: Option<TenantGrant>,
    /// A file whose first line is the password [default: standard input]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct RemoveFlags {
    /// The name of the user
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The data directory of the users; a server may be using it
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
}

/// The most that is read for a password.
const MAX_INPUT: u64 = 64 << 10;

pub(crate) fn run(flags: UsersFlags) -> Result<(), Box<dyn Error>> {
    match flags.command {
        UsersCommand::Add(flags) => add(flags),
        UsersCommand::List(place) => list(&place),
        UsersCommand::Remove(flags) => remove(&flags),
    }
}

fn add(flags: AddFlags) -> Result<(), Box<dyn Error>> {
    let AddFlags { name, role, tenant, password_file, place } = flags;
    let tenants = tenant.unwrap_or_default();
    note_configured(&role);
    let mut text = String::new();
    match &password_file {
        Some(path) => {
            let file = std::fs::File::open(path);
            let file = file.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            file.take(MAX_INPUT).read_to_string(&mut text)?
        }
        None => std::io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text)?,
    };
    let password = Secret::new(text.lines().next().unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let user = place.file().put(NewUser { name, role, tenants, password }, now)?;
    place.record(&user, "added")?;
    Ok(output::print_line(&format!("added user {} with role {}", plain(&user.name), user.role))?)
}

fn list(place: &Place) -> Result<(), Box<dyn Error>> {
    let users = place.file().read()?;
    let time = |user: &User| output::date_time(user.created.saturating_mul(1_000_000_000));
    output::print(|out| {
        for user in &users {
            let User { name, role, tenant, .. } = user;
            writeln!(out, "{role:<6}  tenant {tenant}  since {}  {}", time(user), plain(name))?;
        }
        Ok(())
    })
}

fn remove(flags: &RemoveFlags) -> Result<(), Box<dyn Error>> {
    let user = flags.place.file().remove(&flags.name)?;
    flags.place.record(&user, "removed")?;
    Ok(output::print_line(&format!("removed user {}", plain(&user.name)))?)
}

// === impl Place ===

impl Place {
    fn file(&self) -> UserFile {
        UserFile::of(&self.data_dir)
    }

    /// Adds the change to the audit log of the data directory, if it has one that no server is writing.
    fn record(&self, user: &User, what: &str) -> std::io::Result<()> {
        let record = Record::new(Event::Users).about(&user.name, &user.role);
        audit::append_unless_open(&self.data_dir, record.because(format!("{what} on the data directory")))
    }
}
