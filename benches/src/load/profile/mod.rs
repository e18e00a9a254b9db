//! The server's CPU time during ingest and merges, recorded by `perf`: tables by stage and by function, and a flame
//! graph.
//!
//! It needs no build of its own: stacks are unwound by tables that every build has. Recording costs CPU time, so it
//! runs apart from the measurements that have targets.

mod flame;
mod perf;
mod stacks;
mod stages;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::flags::Flags;
use crate::ingest::{self, Load};
use crate::machine::Meter;
use crate::profile::perf::Perf;
use crate::profile::stacks::Stacks;
use crate::results;
use crate::say;
use crate::server::{self, Server};

/// The tables and the paths of a profile.
pub(crate) struct Profile {
    /// Stages and functions, as a table.
    pub(crate) text: String,
    pub(crate) flame_graph: PathBuf,
}

/// Functions in the table.
const FUNCTIONS: usize = 30;

/// Whether a profile can be made here; the error says what is missing.
pub(crate) async fn check() -> Result<(), Failure> {
    Perf::find().await.map(drop)
}

/// Sends spans to a new server and records it until it has settled.
pub(crate) async fn measure(flags: &Flags, directory: &Path, seed: u64) -> Result<Profile, Failure> {
    let spans = flags.profile_spans;
    let perf = Perf::find().await?;
    fs::create_dir_all(directory)?;
    let home = server::empty_data_dir(flags.work_dir.as_deref())?;
    let server = Server::start(flags, home.path()).await?;

    say(&format!("== profile of {} spans", results::spans(spans)));
    let recording = perf.record(server.pid, home.path()).await?;
    let meter = Meter::start(server.pid);
    let sent = ingest::send(&Load::bulk(flags, &server, spans, seed)).await?;
    server.wait_until_sealed().await?;
    server.settle().await;
    let spent = meter.spent();
    say("reading the stacks; this takes a while");
    let stacks = Stacks::parse(&recording.finish().await?);
    server.stop().await?;
    if stacks.samples() == 0 {
        return Err("perf recorded nothing; is the server idle?".into());
    }

    let cpu = spent.server.as_secs_f64() * 1e6 / sent.spans as f64;
    let text = table(&stacks, cpu)?;
    let flame_graph = directory.join("flame.svg");
    fs::write(&flame_graph, flame::draw(&stacks, &format!("{} spans", results::spans(spans)))?)?;
    fs::write(directory.join("stages.txt"), &text)?;
    fs::write(directory.join("stacks.folded"), stacks.folded())?;
    Ok(Profile { text, flame_graph })
}

/// `cpu`: CPU seconds per million spans, all stages together.
fn table(stacks: &Stacks, cpu: f64) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let all = stacks.samples() as f64;
    writeln!(out, "{:<46}{:>10}{:>22}", "CPU by stage", "share", "CPU s per million")?;
    for (stage, samples) in stages::by_stage(stacks) {
        let share = samples as f64 / all;
        writeln!(out, "  {stage:<44}{:>8.1} %{:>22.2}", share * 1e2, share * cpu)?;
    }
    writeln!(out, "  {:<44}{:>8.1} %{cpu:>22.2}", "all", 100.0)?;
    writeln!(out, "\n{:<12}{:<34}function, without what it calls", "share", "stage")?;
    for (function, stage, samples) in stages::by_function(stacks).into_iter().take(FUNCTIONS) {
        writeln!(out, "{:>7.1} %   {stage:<34}{function}", samples as f64 / all * 1e2)?;
    }
    Ok(out)
}
