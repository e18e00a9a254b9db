//! `spandrel manual`: the manual pages, generated from the command line's definition.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::output;

/// The arguments of `spandrel manual`.
#[derive(Debug, Args)]
pub(crate) struct ManualFlags {
    /// Write the pages of all commands into this directory, as spandrel.1, spandrel-serve.1 and so on
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Prints spandrel(1) in roff, or writes the pages of all commands.
pub(crate) fn run(flags: &ManualFlags, commands: Command) -> Result<(), Box<dyn Error>> {
    // The short version: the long one names the commit, which would change the pages with every build.
    let commands = commands.long_version(None);
    match &flags.output_dir {
        Some(directory) => {
            let write = || {
                std::fs::create_dir_all(directory)?;
                clap_mangen::generate_to(commands, directory)
            };
            write().map_err(|error| format!("cannot write to {}: {error}", directory.display()).into())
        }
        None => {
            let mut page = Vec::new();
            Man::new(commands).render(&mut page)?;
            output::print(|out| Ok(out.write_all(&page)?))
        }
    }
}
