//! Two reports side by side: how each measurement has changed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::report::Report;
use crate::results::{self, shown};

/// A table of all results that both reports have, with the second divided by the first.
pub(crate) fn compare(before: &Path, after: &Path) -> Result<String, Failure> {
    Ok(table(&read(before)?, &read(after)?)?)
}

fn read(file: &Path) -> Result<Report, Failure> {
    let bytes = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let report = serde_json::from_slice(&bytes);
    Ok(report.map_err(|error| format!("{} is no report of --json: {error}", file.display()))?)
}

fn table(before: &Report, after: &Report) -> Result<String, std::fmt::Error> {
    let mut out = format!("before: {}\nafter:  {}\n", before.conditions, after.conditions);
    for size in &after.sizes {
        let Some(same) = before.sizes.iter().find(|old| old.spans == size.spans) else { continue };
        let title = format!("{} spans", results::spans(size.spans));
        writeln!(out, "\n{title:<50}{:>14}{:>14}{:>16}", "before", "after", "after / before")?;
        for section in &size.sections {
            for measurement in &section.results {
                let Some(old) = same.measurement(&section.title, &measurement.name) else { continue };
                let ratio = if old.value == 0.0 {
                    String::new()
                } else {
                    format!("{:.3}", measurement.value / old.value)
                };
                let (old, new) = (shown(old.value), shown(measurement.value));
                writeln!(out, "  {:<48}{old:>14}{new:>14}{ratio:>16}", measurement.name)?;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn results_are_compared_size_by_size() {
        let (before, mut after) = (report([2.0, 4.0]), report([3.0, 4.0]));
        after.sizes.remove(1);
        let table = table(&before, &after).unwrap();
        assert!(table.contains("1.500"), "{table}");
        assert_eq!(table.matches("trace, p99 ms").count(), 1, "{table}");
    }

    #[test]
    fn reports_survive_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        fs::write(&file, serde_json::to_vec(&report([2.0, 4.0])).unwrap()).unwrap();
        assert!(compare(&file, &file).unwrap().contains("1.000"));
        fs::write(&file, "{}").unwrap();
        assert!(compare(&file, &file).unwrap_err().to_string().contains("no report"));
    }
}
