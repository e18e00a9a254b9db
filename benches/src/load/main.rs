//! Drives a running server and reports what it costs: see [`flags::Flags`], or `--help`.
//!
//! ```sh
//! cargo run --release -p spandrel-benches -- --binary target/release/spandrel --spans 100000
//! ```
//!
//! It measures and checks (counts, answers, the orderly end), but never judges speed.

mod client;
mod exporter;
mod flags;
mod ingest;
mod latencies;
mod process;
mod questions;
mod report;
mod run;
mod server;

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::flags::Flags;

/// Why there is no report. The text is for whoever started the driver.
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(flags: &Flags) -> Result<(), Failure> {
    let report = run::run(flags).await?;
    write!(std::io::stdout().lock(), "{report}")?;
    if let Some(file) = &flags.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
