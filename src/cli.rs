//! The command line: the commands and their help.

use std::error::Error;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::backup::{self, BackupFlags};
use crate::commands::check::{self, CheckFlags};
use crate::commands::completions::{self, CompletionsFlags};
use crate::commands::delete::{self, DeleteFlags};
use crate::commands::export::{self, ExportFlags};
use crate::commands::manual::{self, ManualFlags};
use crate::commands::repair::{self, RepairFlags};
use crate::commands::restore::{self, RestoreFlags};
use crate::commands::search::{self, SearchFlags};
use crate::commands::services::{self, ServicesFlags};
use crate::commands::stats::{self, StatsFlags};
use crate::commands::trace::{self, TraceFlags};
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
    /// Run the server: receive OTLP, store it, answer questions, show the UI.
    ///
    /// Settings come from flags, then from the environment (SPANDREL_*), then from the file given
    /// with --config, then from the defaults. Standard output gets a line `listening NAME HOST:PORT`
    /// for each port, then `ready`; logs go to standard error (filter them with SPANDREL_LOG, as in
    /// `info` or `spandrel_storage=debug`).
    Serve(Box<ServeFlags>),
    /// Send a live e-commerce workload to a running server, to have something to look at.
    Demo(DemoFlags),
    /// Bring a backup of a running server into a directory; show or verify those that are there.
    ///
    /// Only blocks that the directory does not have yet are fetched, each verified when it arrives. A
    /// backup that was interrupted leaves the earlier ones as they are; run it again to go on.
    Backup(BackupFlags),
    /// Put a backup into a data directory that no server is using.
    Restore(RestoreFlags),
    /// Check every checksum, index and catalog row of a store; exits with 1 if something is damaged.
    Check(CheckFlags),
    /// Put all that can be read of a damaged store into a new one, which takes its place.
    ///
    /// For a store that does not open, or takes no more writes, since a file of it is damaged. Catalog and index
    /// are rebuilt from the blocks; pins, deletions under way and counts stay. It needs room for a second
    /// copy. The damaged store stays beside the new one until you remove it: see the last line of the
    /// report. Exits with 0 if everything could be read, with 1 if some of it is damaged or lost, and with 2 if
    /// nothing was done. A repair that is interrupted leaves the store as it was; run it again.
    Repair(RepairFlags),
    /// Show one trace as a tree
    Trace(TraceFlags),
    /// Find traces of which a span matches
    Search(SearchFlags),
    /// List services, or the operations of one
    Services(ServicesFlags),
    /// Show how much is stored
    Stats(StatsFlags),
    /// Delete traces for good, whole, wherever one of their spans matches
    ///
    /// Queries stop finding them at once; with --wait the command returns when no file of the server holds a byte of
    /// them, and names the backups that still do.
    Delete(DeleteFlags),
    /// Write traces to a file, for other tools
    Export(ExportFlags),
    /// Print a script that lets a shell complete commands and flags
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
        Command::Services(flags) => services::run(flags),
        Command::Stats(flags) => stats::run(flags),
        Command::Delete(flags) => delete::run(flags),
        Command::Export(flags) => export::run(flags),
        Command::Completions(flags) => completions::run(&flags, Cli::command()),
        Command::Manual(flags) => manual::run(&flags, Cli::command()),
    }
}
