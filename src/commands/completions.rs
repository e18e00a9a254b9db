//! `spandrel completions`: scripts by which shells complete commands and flags.

use std::error::Error;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

/// The arguments of `spandrel completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsFlags {
    /// The shell, as in: spandrel completions bash > ~/.local/share/bash-completion/completions/spandrel
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for a shell, generated from the command line's definition.
pub(crate) fn run(flags: &CompletionsFlags, mut commands: Command) -> Result<(), Box<dyn Error>> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut commands, "spandrel", &mut script);
    output::print(|out| Ok(out.write_all(&script)?))
}
