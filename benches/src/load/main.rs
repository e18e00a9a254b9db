//! Drives a real server and prints its cost beside the targets: see [`flags::Flags`], or `--help`.
//!
//! ```sh
//! cargo run --release -p spandrel-benches -- --binary target/release/spandrel --sizes 100k
//! ```
//!
//! It measures, checks every answer, and compares with the targets. A missed target is printed and is no error, because
//! on a busy machine everything is slow. A wrong answer or a lost span is an error.

mod beside;
mod client;
mod compare;
mod exporter;
mod flags;
mod ground_truth;
mod ingest;
mod interleaved;
mod latencies;
mod machine;
mod mixed_load;
mod process;
mod profile;
mod questions;
mod report;
mod results;
mod run;
mod server;
mod size;
mod targets;

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::flags::Flags;

/// Why there is no report. The text is for the user of the driver.
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &Flags) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    if let [before, after] = &flags.compare[..] {
        write!(out, "{}", compare::compare(before, after)?)?;
        return Ok(());
    }
    if let Some(feature) = flags.beside {
        write!(out, "{}", beside::measure(flags, feature).await?)?;
        return Ok(());
    }
    if flags.profile.is_some() {
        // Fails before the measurement rather than after it.
        profile::check().await?;
    }
    let report = run::measure(flags).await?;
    write!(out, "{report}")?;
    if let Some(file) = &flags.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
        say(&format!("the same as JSON, for --compare: {}", file.display()));
    }
    if let Some(directory) = &flags.profile {
        let profile = profile::measure(flags, directory, report.conditions.seed).await?;
        write!(out, "\n{}", profile.text)?;
        say(&format!("flame graph: {}", profile.flame_graph.display()));
    }
    Ok(())
}

/// Prints progress to standard error; only the report goes to standard output.
fn say(text: &str) {
    eprintln!("{text}");
}
