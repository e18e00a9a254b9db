//! `spandrel audit`: checks the audit log of a data directory.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use spandrel_gate::audit::{self, AuditFiles, Head, Report};

use super::Exit;
use super::output;

/// The arguments of `spandrel audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditFlags {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that no line is changed, missing or moved; exits with 1 if one is
    ///
    /// The lines are chained by their hashes, so that a change to one breaks the chain. That the whole log was written
    /// anew shows only in comparison with a head that was kept elsewhere: the last line of this command's output, or
    /// the head that the server logs when it starts and stops.
    Verify(VerifyFlags),
}

#[derive(Debug, Args)]
struct VerifyFlags {
    /// The data directory, or its audit folder; a server may be using it
    #[arg(env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    directory: PathBuf,
    /// A head that was noted earlier, which the log has to contain
    #[arg(long, value_name = "SEQ:HASH")]
    head: Option<Head>,
}

const DAMAGED: u8 = 1;
const NOT_CHECKED: u8 = 2;

pub(crate) fn run(flags: AuditFlags) -> Result<(), Box<dyn Error>> {
    let AuditCommand::Verify(VerifyFlags { directory, head }) = flags.command;
    let report = verify(&directory, head).map_err(|message| Exit { code: NOT_CHECKED, message })?;
    for line in report.findings.iter().chain(&report.notes) {
        output::print_line(line)?;
    }
    output::print_line(&format!(
        "{} lines in {} files, from line {}",
        report.lines, report.files, report.first
    ))?;
    output::print_line(&format!("head {}", report.head))?;
    match report.is_whole() {
        true => Ok(()),
        false => {
            Err(Exit { code: DAMAGED, message: "the audit log was changed, or is incomplete".to_owned() }
                .into())
        }
    }
}

fn verify(directory: &Path, head: Option<Head>) -> Result<Report, String> {
    let inside = AuditFiles::folder(directory);
    let folder = if inside.is_dir() { inside.as_path() } else { directory };
    audit::verify(folder, head)
        .map_err(|error| format!("cannot read the audit log in {}: {error}", folder.display()))
}
