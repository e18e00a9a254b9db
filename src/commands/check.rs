//! `spandrel check`: compares everything that is stored with its checksums and its index.
//!
//! Exit code 0: nothing is wrong. 1: damage was found and is described. 2: the check did not run.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use spandrel_query::answers::{CheckLine, CheckProgress};
use spandrel_rocks::{DataDir, Durability, RocksEngine};
use spandrel_storage::StoreConfig;
use spandrel_storage::check::{self, CheckReport, Finding, FindingKind};
use ureq::http::Method;

use super::Exit;
use super::client::{Client, ClientError, ServerFlag};
use super::key::KeyFlag;
use super::output;
use super::progress::Progress;
use crate::encryption::{EncryptionFlags, open_engine, open_keyring};
use crate::outgoing::TlsClientFlags;

/// The arguments of `spandrel check`.
#[derive(Debug, Args)]
pub(crate) struct CheckFlags {
    /// The store to check; no server may be using it
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Let a running server check its store instead, while it stays in use
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    tls: TlsClientFlags,
    #[command(flatten)]
    key: KeyFlag,
    #[command(flatten)]
    encryption: EncryptionFlags,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

const DAMAGED: u8 = 1;
const NOT_CHECKED: u8 = 2;

pub(crate) fn run(flags: &CheckFlags) -> Result<(), Box<dyn Error>> {
    let report = match &flags.server {
        Some(server) => of_server(&ServerFlag::at(server, &flags.tls, &flags.key)),
        None => of_directory(&flags.data_dir, &flags.encryption),
    };
    let report = report.map_err(|error| Exit { code: NOT_CHECKED, message: error.to_string() })?;
    match flags.format {
        Format::Text => tell(&report)?,
        Format::Json => output::print_line(&serde_json::to_string_pretty(&report)?)?,
    }
    if report.is_fine() {
        return Ok(());
    }
    Err(Exit { code: DAMAGED, message: advice(&report) }.into())
}

/// What users can do about the damage. Damaged blocks alone are served as far as they can be read; damage of other
/// files may keep the store from opening or from accepting spans.
fn advice(report: &CheckReport) -> String {
    let count = report.findings.len() as u64 + report.more_findings;
    // Findings about the store itself say in their own text when a repair helps.
    let repair = if report.findings.iter().any(|finding| finding.kind == FindingKind::Index) {
        "; stop the server and run `spandrel repair`, which puts all that can be read into a new store"
    } else {
        ""
    };
    format!(
        "damage found: {count} findings; a server sets damaged blocks aside and serves the rest, and \
         `spandrel restore` brings back what a backup has{repair}"
    )
}

fn of_directory(directory: &Path, encryption: &EncryptionFlags) -> Result<CheckReport, Box<dyn Error>> {
    if !RocksEngine::exists(directory) {
        return Err(format!("there is no store in {}; name it with --data-dir", directory.display()).into());
    }
    let disk = DataDir::lock(directory, StoreConfig::default().reserve_bytes)?;
    let keyring = open_keyring(directory, encryption.settings().source()?)?;
    let engine = match RocksEngine::open(disk, Durability::Sync) {
        Ok(engine) => open_engine(Arc::new(engine), keyring),
        Err(error) if error.is_damage() => return Ok(CheckReport::of_store(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let mut bar = None;
    let report = check::check(&*engine, &mut |now| {
        bar.get_or_insert_with(|| Progress::of_bytes("check", now.of_bytes)).set(now.bytes);
        true
    });
    bar.iter().for_each(Progress::finish);
    report.ok_or_else(|| "the check was given up".into())
}

fn of_server(server: &ServerFlag) -> Result<CheckReport, Box<dyn Error>> {
    let client = Client::new(server)?;
    let answer = client.send(Method::POST, "/api/v1/check", &[], None)?;
    let mut bar = None;
    for line in BufReader::new(answer.reader()).lines() {
        let line = line.map_err(|error| ClientError::Unusable(error.to_string()))?;
        match serde_json::from_str(&line).map_err(|error| ClientError::Unusable(error.to_string()))? {
            CheckLine::Progress(CheckProgress { byte_count, of_byte_count }) => {
                bar.get_or_insert_with(|| Progress::of_bytes("check", of_byte_count)).set(byte_count);
            }
            CheckLine::Report(report) => {
                bar.iter().for_each(Progress::finish);
                return Ok(report);
            }
        }
    }
    Err("the server ended the check without a report; its log says why".into())
}

fn tell(report: &CheckReport) -> std::io::Result<()> {
    output::print_line(&format!(
        "checked {} spans in {} blocks, {}, and {} index rows ({} of them of blocks that are gone, which go \
         in time); {} replaced blocks wait to be deleted",
        report.span_count,
        report.block_count,
        output::bytes(report.byte_count),
        report.index_row_count,
        report.stale_index_row_count,
        report.replaced_block_count,
    ))?;
    if report.plain_block_count > 0 {
        output::print_line(&format!(
            "{} blocks are not encrypted yet; they are from before encryption was switched on, and a server rewrites them \
             in time",
            report.plain_block_count
        ))?;
    }
    for finding in &report.findings {
        output::print_line(&described(finding))?;
    }
    if report.more_findings > 0 {
        output::print_line(&format!("and {} more", report.more_findings))?;
    }
    if report.is_fine() { output::print_line("nothing is wrong") } else { Ok(()) }
}

/// The block of a finding, as text.
pub(crate) fn place(block: &str, tenant: &str, hour: u32) -> String {
    let arrived = output::date_time(u64::from(hour) * 3_600_000_000_000);
    format!(" [block {block}, tenant {tenant}, arrived from {arrived}]")
}

fn described(finding: &Finding) -> String {
    let kind = match finding.kind {
        FindingKind::Store => "store",
        FindingKind::CatalogRow => "catalog row",
        FindingKind::Block => "block",
        FindingKind::Index => "index",
        FindingKind::Unreferenced => "unreferenced",
        FindingKind::Backups => "list of backups",
    };
    let place = match (&finding.tenant, finding.hour, &finding.block) {
        (Some(tenant), Some(hour), Some(block)) => place(block, tenant, hour),
        _ => String::new(),
    };
    format!("{kind}: {}{place}", finding.detail)
}
