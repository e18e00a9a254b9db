//! Results and their conditions: as a table for people, one column for each size, and as JSON for `--compare`.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::results::{self, Measurement, shown};
use crate::size::SizeReport;

/// The results of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) sizes: Vec<SizeReport>,
}

/// Conditions that influence the results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) cpu_model: String,
    pub(crate) cores: usize,
    pub(crate) protocol: String,
    pub(crate) connections: u16,
    pub(crate) seed: u64,
    pub(crate) serve_flags: Vec<String>,
}

const NAME: usize = 50;
const TARGET: usize = 8;
const CELL: usize = 18;

// === the table ===

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.sizes.split_first() else { return Ok(()) };
        writeln!(f, "spandrel {}, {}", first.version, self.conditions)?;
        let sizes = self.sizes.iter().map(|size| results::spans(size.spans));
        let grown = more.iter().map(|size| growth_name(first, size));
        let heads: String = sizes.chain(grown).map(|name| cell(&name, None)).collect();
        writeln!(f, "{}", format!("\n{:<NAME$}{:>TARGET$}{heads}", "", "target").trim_end())?;
        for section in &first.sections {
            writeln!(f, "\n{}", section.title)?;
            for measurement in &section.results {
                let results: Vec<_> = self
                    .sizes
                    .iter()
                    .filter_map(|size| size.measurement(&section.title, &measurement.name))
                    .collect();
                write_row(f, &results)?;
            }
        }
        self.write_summary(f)
    }
}

impl Report {
    fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.sizes.iter().flat_map(|size| &size.sections).flat_map(|section| &section.results);
        let (met, with_target) = (
            all().filter_map(Measurement::is_met).filter(|met| *met).count(),
            all().filter_map(Measurement::is_met).count(),
        );
        writeln!(f, "\n{met} of {with_target} results meet their target")?;
        for size in &self.sizes {
            for measurement in size.sections.iter().flat_map(|section| &section.results) {
                if let Some(note) = &measurement.note {
                    writeln!(f, "  {}, {}: {note}", results::spans(size.spans), measurement.name)?;
                }
            }
        }
        Ok(())
    }
}

/// One measurement at each size, and its growth from the first size to each other.
fn write_row(f: &mut fmt::Formatter<'_>, results: &[&Measurement]) -> fmt::Result {
    let Some((first, more)) = results.split_first() else { return Ok(()) };
    let target = first.at_most.map(shown).unwrap_or_default();
    let cells = results.iter().map(|measurement| cell(&shown(measurement.value), measurement.is_met()));
    let growth = more.iter().filter(|_| first.value > 0.0).map(|measurement| {
        let times = measurement.value / first.value;
        cell(&format!("x {times:.2}"), first.growth_at_most.map(|target| times <= target))
    });
    let name = format!("  {}", first.name);
    let line = format!("{name:<NAME$}{target:>TARGET$}{}", cells.chain(growth).collect::<String>());
    writeln!(f, "{}", line.trim_end())
}

fn cell(value: &str, is_met: Option<bool>) -> String {
    const VERDICT: usize = 8;
    let verdict = match is_met {
        Some(true) => " met",
        Some(false) => " NOT MET",
        None => "",
    };
    format!("{value:>width$}{verdict:<VERDICT$}", width = CELL - VERDICT)
}

fn growth_name(first: &SizeReport, other: &SizeReport) -> String {
    format!("{}->{}", results::spans(first.spans), results::spans(other.spans))
}

impl Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_model, cores, protocol, connections, seed, serve_flags } = self;
        write!(f, "{cpu_model}, {cores} cores\n{protocol}, {connections} connections, seed {seed}")?;
        if !serve_flags.is_empty() {
            write!(f, ", serve {}", serve_flags.join(" "))?;
        }
        Ok(())
    }
}

// === impl SizeReport ===

impl SizeReport {
    /// A measurement by its name.
    pub(crate) fn measurement(&self, section: &str, name: &str) -> Option<&Measurement> {
        let section = self.sections.iter().find(|found| found.title == section)?;
        section.results.iter().find(|measurement| measurement.name == name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::results::Section;

    /// A report of two sizes with one measurement.
    pub(crate) fn report(values: [f64; 2]) -> Report {
        let size = |spans, value| SizeReport {
            spans,
            version: "1".to_owned(),
            sections: vec![Section::new(
                "Questions",
                vec![Measurement::new("trace, p99 ms", value).at_most(4.0).grows_at_most(1.5)],
            )],
        };
        let conditions = Conditions {
            cpu_model: "a processor".to_owned(),
            cores: 2,
            protocol: "OTLP/HTTP".to_owned(),
            connections: 4,
            seed: 7,
            serve_flags: Vec::new(),
        };
        Report { conditions, sizes: vec![size(1_000_000, values[0]), size(5_000_000, values[1])] }
    }

    #[test]
    fn the_table_says_which_targets_are_met() {
        let table = report([3.0, 4.5]).to_string();
        let row = table.lines().find(|line| line.contains("trace, p99 ms")).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words, "trace, p99 ms 4 3 met 4.50 NOT MET x 1.50 met".split(' ').collect::<Vec<_>>());
        assert!(table.contains("1 of 2 results"), "{table}");
        assert!(table.contains("1M->5M"), "{table}");
    }
}
