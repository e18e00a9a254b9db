//! The command line: the commands and their help.

use std::error::Error;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::audit::{self, AuditFlags};
use crate::commands::backup::{self, BackupFlags};
use crate::commands::certificate::{self, CertificateFlags};
use crate::commands::check::{self, CheckFlags};
use crate::commands::clean::{self, CleanFlags};
use crate::commands::completions::{self, CompletionsFlags};
use crate::commands::delete::{self, DeleteFlags};
use crate::commands::encryption::{self, EncryptionCommandFlags};
use crate::commands::export::{self, ExportFlags};
use crate::commands::import::{self, ImportFlags};
use crate::commands::keys::{self, KeysFlags};
use crate::commands::manual::{self, ManualFlags};
use crate::commands::metrics::{self, MetricsFlags};
use crate::commands::noise::{self, NoiseFlags};
use crate::commands::repair::{self, RepairFlags};
use crate::commands::restore::{self, RestoreFlags};
use crate::commands::search::{self, SearchFlags};
use crate::commands::services::{self, ServicesFlags};
use crate::commands::stats::{self, StatsFlags};
use crate::commands::tail::{self, TailFlags};
use crate::commands::trace::{self, TraceFlags};
use crate::commands::users::{self, UsersFlags};
use crate::config::{self, ServeFlags};
use crate::demo::{self, DemoFlags};
use crate::serve;

/// `--version` prints this after the name: version, commit, profile and date of the commit. `-V` prints the version
/// alone.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("SPANDREL_BUILD_COMMIT"),
    " of ",
    env!("SPANDREL_BUILD_DATE"),
    ", ",
    env!("SPANDREL_BUILD_PROFILE"),
    " build)"
);

/// A distributed tracing backend: collector, store, query and web UI in one binary.
#[derive(Debug, Parser)]
#[command(name = "spandrel", version, long_version = LONG_VERSION, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: receive OTLP, store it, answer queries, show the UI.
    ///
    /// Settings come from flags, then from the environment (SPANDREL_*), then from the file given
    /// with --config, then from the defaults. Standard output gets a line `listening NAME HOST:PORT`
    /// for each port, then `ready`; logs go to standard error (filter them with SPANDREL_LOG, as in
    /// `info` or `spandrel_storage=debug`).
    Serve(Box<ServeFlags>),
    /// Send a live e-commerce workload to a running server, so that there are traces to look at.
    Demo(DemoFlags),
    /// Fetch a backup of a running server into a directory; list or verify the backups in it.
    ///
    /// Only blocks that the directory does not have yet are fetched, and each is verified when it arrives. An
    /// interrupted backup does not change the earlier ones; run it again to continue.
    Backup(BackupFlags),
    /// Restore a backup into a data directory that no server is using.
    Restore(RestoreFlags),
    /// Check every checksum, index and catalog row of a store; exits with 1 if something is damaged.
    Check(CheckFlags),
    /// Copy everything that can be read of a damaged store into a new store, which replaces it.
    ///
    /// For a store that does not open, or refuses writes, because one of its files is damaged. Catalog and index are
    /// rebuilt from the blocks; pins, deletions in progress and rollups of expired spans are kept. It needs disk space
    /// for a second copy. The damaged store stays beside the new one until you remove it: see the last line of the
    /// report. Exits with 0 if everything could be read, with 1 if something is damaged or lost, and with 2 if nothing
    /// was done. An interrupted repair leaves the store unchanged; run it again.
    Repair(RepairFlags),
    /// Show one trace as a tree
    Trace(TraceFlags),
    /// Find traces that match a TraceQL query
    Search(SearchFlags),
    /// Compute series over time with a TraceQL query, and plot them
    Metrics(MetricsFlags),
    /// Show traces that match as they arrive, until it is interrupted
    Tail(TailFlags),
    /// List services, or the operations of one
    Services(ServicesFlags),
    /// Show the amount of stored data
    Stats(StatsFlags),
    /// Delete traces for good: every trace with a span that matches, as a whole
    ///
    /// Queries stop finding them immediately; with --wait the command returns when no file of the server contains a
    /// byte of them, and lists the backups that still do.
    Delete(DeleteFlags),
    /// Write traces to a file for other tools
    Export(ExportFlags),
    /// Send the traces of files to a server by OTLP
    ///
    /// Each file is OTLP in protobuf or JSON (as `spandrel export` writes it), Zipkin's JSON of version 2, or the JSON that
    /// Jaeger's UI downloads, plain or compressed with gzip or zstd. A server that has no room is waited for. After an
    /// import that broke off run it again: a server knows the spans that it has. Exits with 1 if spans were refused.
    Import(ImportFlags),
    /// Make an authority, a server certificate and a client certificate for trying TLS.
    ///
    /// Nothing is overwritten: an authority that is there already signs what is missing, so removing server.crt and
    /// server.key and running the command again gives a new server certificate of the same authority. Keys are readable
    /// by you alone. Production takes its certificates from an authority that keeps its key elsewhere.
    Certificate(CertificateFlags),
    /// Create, list and revoke API keys
    ///
    /// A server that was started with --require-auth takes a key as `Authorization: Bearer KEY`, as password of Basic,
    /// or as `X-API-Key`. The other commands send the key of --key-file or of the variable SPANDREL_KEY.
    Keys(KeysFlags),
    /// Add, list and remove users of the web UI
    Users(UsersFlags),
    /// Make and rotate the keys of encryption at rest, and end those of a tenant
    Encryption(EncryptionCommandFlags),
    /// Show, try and change the rules by which a server cleans spans before it stores them
    ///
    /// Rules drop, thin out, rename, redact and cut spans; docs/cleaning.md describes them. Changing them needs the
    /// permission `operate` for the whole server.
    Clean(Box<CleanFlags>),
    /// Show what takes the room of stored spans, what of it is noise, and the rules that would remove it
    ///
    /// Probes, polling, names with IDs in them, attributes that are always alike, personal data: for each a rule and what
    /// it would save. `--format yaml` prints the rules alone, to be read, tried with `spandrel clean --try`, and set.
    Noise(NoiseFlags),
    /// Check the audit log of a data directory
    Audit(AuditFlags),
    /// Print a script with which a shell completes commands and flags
    Completions(CompletionsFlags),
    /// Print the manual page, in roff
    Manual(ManualFlags),
}

/// Runs the command of the command line.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Command::Serve(flags) => {
            let print = flags.print_config;
            let settings = config::resolve(*flags)?;
            if print { config::print(&settings) } else { serve::run(settings) }
        }
        Command::Demo(flags) => demo::run(flags),
        Command::Backup(flags) => backup::run(flags),
        Command::Restore(flags) => restore::run(flags),
        Command::Check(flags) => check::run(&flags),
        Command::Repair(flags) => repair::run(&flags),
        Command::Trace(flags) => trace::run(flags),
        Command::Search(flags) => search::run(flags),
        Command::Metrics(flags) => metrics::run(flags),
        Command::Tail(flags) => tail::run(flags),
        Command::Services(flags) => services::run(flags),
        Command::Stats(flags) => stats::run(flags),
        Command::Delete(flags) => delete::run(flags),
        Command::Export(flags) => export::run(flags),
        Command::Import(flags) => import::run(flags),
        Command::Certificate(flags) => certificate::run(&flags),
        Command::Keys(flags) => keys::run(flags),
        Command::Users(flags) => users::run(flags),
        Command::Encryption(flags) => encryption::run(flags),
        Command::Clean(flags) => clean::run(*flags),
        Command::Noise(flags) => noise::run(flags),
        Command::Audit(flags) => audit::run(flags),
        Command::Completions(flags) => completions::run(&flags, Cli::command()),
        Command::Manual(flags) => manual::run(&flags, Cli::command()),
    }
}
