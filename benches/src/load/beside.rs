//! A feature beside its absence: two servers that differ in it alone take the same spans by turns, and the report says
//! what the feature costs. What differs between rounds, such as other work of the machine, meets both.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tokio::process::Command;

use crate::Failure;
use crate::exporter::TenantNames;
use crate::flags::{Feature, Flags};
use crate::ground_truth::GroundTruth;
use crate::ingest::{self, Load};
use crate::machine::{self, Meter};
use crate::process;
use crate::questions::{Asker, Bounds, Kind};
use crate::results::{Measurement, shown};
use crate::say;
use crate::server::{self, Server};

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Without,
    With,
}

/// The queries that are compared.
const KINDS: [Kind; 4] = [Kind::UsualTrace, Kind::RareValue, Kind::Failed, Kind::Service];

/// Measures a feature in some rounds; returns the report.
pub(crate) async fn measure(flags: &Flags, feature: Feature) -> Result<String, Failure> {
    let seed = flags.seed.unwrap_or_else(|| Rng::new().u64(..));
    let spans = flags.sizes.first().copied().unwrap_or(1_000_000);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..flags.rounds {
        // The first of a round meets another state of the machine than the second.
        let order = if round % 2 == 0 { [Side::Without, Side::With] } else { [Side::With, Side::Without] };
        for side in order {
            say(&format!("== round {} of {}: {}", round + 1, flags.rounds, side.name(feature, flags)));
            let results = measure_side(flags, feature, side, spans, seed.wrapping_add(round.into())).await?;
            match side {
                Side::Without => without.push(results),
                Side::With => with.push(results),
            }
        }
    }
    let heads = (Side::Without.name(feature, flags), Side::With.name(feature, flags));
    Ok(table(&heads, &without, &with))
}

async fn measure_side(
    flags: &Flags,
    feature: Feature,
    side: Side,
    spans: u64,
    seed: u64,
) -> Result<Vec<Measurement>, Failure> {
    let home = server::empty_data_dir(flags.work_dir.as_deref())?;
    machine::check_room(home.path(), spans)?;
    let data_dir = home.path().join("data");
    let flags = &Flags { serve_flags: side.serve_flags(flags, feature, home.path()).await?, ..flags.clone() };
    let server = Server::start(flags, &data_dir).await?;
    let mut load = Load::bulk(flags, &server, spans, seed);
    load.tenants = side.tenants(flags, feature);

    let meter = Meter::start(server.pid);
    let sent = ingest::send(&load).await?;
    let acknowledged = meter.spent();
    server.wait_until_sealed().await?;
    server.settle().await;
    let settled = meter.spent();
    let per_million = |cpu: Duration| cpu.as_secs_f64() * 1e6 / sent.spans as f64;
    let disk = process::disk_usage(&data_dir).length as f64 / sent.spans as f64;
    let peak = process::peak_memory(server.pid).unwrap_or_default() as f64 / 1e6;
    let mut results = vec![
        Measurement::new("CPU s per million, until acknowledged", per_million(acknowledged.server)),
        Measurement::new("CPU s per million, until settled", per_million(settled.server)),
        Measurement::new("s until acknowledged", sent.took.as_secs_f64()),
        Measurement::new("bytes per span on disk", disk),
        Measurement::new("peak memory, MB", peak),
    ];
    // Questions are those of the default tenant.
    if load.tenants.is_empty() {
        let bounds = Bounds { questions: flags.questions, time: Duration::from_secs(flags.question_seconds) };
        let ground_truth = GroundTruth::new(sent.known)?;
        let mut asker = Asker::new(&server, &ground_truth, load.corpus.begins, seed).await?;
        for kind in KINDS {
            results.extend(asker.ask(kind, bounds).await?);
        }
    }
    server.stop().await?;
    Ok(results)
}

/// The medians of all rounds, and their ratio.
fn table(heads: &(String, String), without: &[Vec<Measurement>], with: &[Vec<Measurement>]) -> String {
    let mut out = format!("{:<50}{:>18}{:>18}{:>10}\n", "medians", heads.0, heads.1, "ratio");
    for (at, measurement) in without.first().into_iter().flatten().enumerate() {
        let median = |side: &[Vec<Measurement>]| {
            let mut values: Vec<f64> =
                side.iter().filter_map(|results| Some(results.get(at)?.value)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let (without, with) = (median(without), median(with));
        let (name, ratio) = (&measurement.name, with / without);
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<50}{:>18}{:>18}{ratio:>10.3}", shown(without), shown(with));
    }
    out
}

// === impl Side ===

impl Side {
    fn name(self, feature: Feature, flags: &Flags) -> String {
        match (feature, self) {
            (Feature::Encryption, Self::Without) => "plain".to_owned(),
            (Feature::Encryption, Self::With) => "encrypted".to_owned(),
            (Feature::Tenants, Self::Without) => "one tenant".to_owned(),
            (Feature::Tenants, Self::With) => format!("{} tenants", flags.tenants),
        }
    }

    fn tenants(self, flags: &Flags, feature: Feature) -> TenantNames {
        match (feature, self) {
            (Feature::Encryption, _) => TenantNames::default(),
            (Feature::Tenants, Self::Without) => TenantNames::in_turn(1),
            (Feature::Tenants, Self::With) => TenantNames::in_turn(flags.tenants),
        }
    }

    async fn serve_flags(self, flags: &Flags, feature: Feature, home: &Path) -> Result<Vec<String>, Failure> {
        let mut all = flags.serve_flags.clone();
        match (feature, self) {
            (Feature::Encryption, Self::Without) => {}
            (Feature::Encryption, Self::With) => {
                let key = Command::new(&flags.binary).args(["encryption", "key"]).output().await?;
                let file = home.join("store.key");
                fs::write(&file, key.stdout)?;
                all.extend(["--encryption-key-file".to_owned(), file.display().to_string()]);
            }
            (Feature::Tenants, _) => all.push("--multitenancy".to_owned()),
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_compares_medians() {
        let side = |values: [f64; 3]| values.map(|value| vec![Measurement::new("CPU", value)]);
        let heads = ("plain".to_owned(), "encrypted".to_owned());
        let table = table(&heads, &side([9.0, 2.0, 1.0]), &side([3.0, 90.0, 1.0]));
        assert!(table.lines().nth(1).unwrap().ends_with("1.500"), "{table}");
    }
}
