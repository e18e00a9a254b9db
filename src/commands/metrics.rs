//! `spandrel metrics`: series that a TraceQL query makes, as plots in a terminal, else as rows.

use std::error::Error;
use std::io::{IsTerminal, Write, stdout};

use clap::Args;
use serde_json::{Map, Value};
use spandrel_query::answers::{MetricsAnswer, MetricsSeries};

use super::client::{Client, ServerFlag};
use super::output::{self, Format, plain};

/// The arguments of `spandrel metrics`.
#[derive(Debug, Args)]
pub(crate) struct MetricsFlags {
    /// A TraceQL query that ends in a metrics stage, as in '{ kind = server } | rate() by(resource.service.name)'
    query: String,
    /// Beginning of the range: RFC 3339, now-2h, Unix seconds or nanoseconds [default: now-1h]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// End of the range [default: now]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// The width of a point: whole seconds, or a duration like 5m [default: about 60 points]
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    /// The most spans that stand for points, of each series
    #[arg(long, value_name = "COUNT")]
    exemplars: Option<u32>,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format; text is a plot in a terminal, else rows of time, value and labels
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Columns of a plot.
const WIDTH: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) fn run(flags: MetricsFlags) -> Result<(), Box<dyn Error>> {
    let exemplars = flags.exemplars.map(|count| count.to_string());
    let parameters = [
        ("q", Some(flags.query.as_str())),
        ("start", flags.start.as_deref()),
        ("end", flags.end.as_deref()),
        ("step", flags.step.as_deref()),
        ("exemplars", exemplars.as_deref()),
    ];
    let answer = Client::new(&flags.server)?.get("/api/v1/metrics", &parameters)?;
    if flags.format == Format::Json {
        return output::pass_through(answer);
    }
    let answer: MetricsAnswer = answer.json()?;
    let in_durations = makes_durations(&flags.query);
    output::print(|out| match stdout().is_terminal() {
        true => plots(out, &answer, in_durations),
        false => rows(out, &answer),
    })?;
    if answer.series.is_empty() {
        eprintln!("no span matches in this range; look further back with --start, as in now-24h");
    }
    if let Some(reason) = &answer.partial_reason {
        eprintln!("the answer is partial ({reason}): not everything in the range could be looked at");
    }
    Ok(())
}

/// Whether the values are durations, which people read in units.
fn makes_durations(query: &str) -> bool {
    let after_pipe = query.rsplit('|').find(|stage| stage.contains("_over_time"));
    let stage: String = after_pipe.unwrap_or_default().split_whitespace().collect();
    ["min", "max", "avg", "sum", "quantile"].iter().any(|function| {
        ["duration", "span:duration", "trace:duration"]
            .iter()
            .any(|field| stage.starts_with(&format!("{function}_over_time({field}")))
    })
}

fn rows(out: &mut dyn Write, answer: &MetricsAnswer) -> Result<(), Box<dyn Error>> {
    for series in &answer.series {
        let labels = labels(&series.labels);
        for point in &series.points {
            writeln!(out, "{}\t{}\t{labels}", output::time(&point.time_unix_nano), point.value)?;
        }
    }
    Ok(())
}

fn plots(out: &mut dyn Write, answer: &MetricsAnswer, in_durations: bool) -> Result<(), Box<dyn Error>> {
    let times: Vec<u64> = answer.series.iter().flat_map(times).collect();
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return Ok(()) };
    let show = |value: f64| {
        if in_durations && value >= 0.0 { output::duration(value as u64) } else { short(value) }
    };
    writeln!(out, "{:<WIDTH$}  {:>10}  {:>10}  SERIES", "PLOT", "LAST", "MAX")?;
    for series in &answer.series {
        let values = series.points.iter().map(|point| point.value);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        let latest = series.points.last().map_or(f64::NAN, |point| point.value);
        let plot = plot(series, *first, *last, answer.step_nano);
        writeln!(out, "{plot}  {:>10}  {:>10}  {}", show(latest), show(most), labels(&series.labels))?;
    }
    let span = (output::date_time(*first), output::date_time(*last));
    let step = output::duration(answer.step_nano);
    writeln!(out, "{} to {}, a point every {step}; each plot is scaled by itself from 0", span.0, span.1)?;
    Ok(())
}

fn times(series: &MetricsSeries) -> impl Iterator<Item = u64> + '_ {
    series.points.iter().filter_map(|point| point.time_unix_nano.parse().ok())
}

/// One bar for each column: the largest of the points that lie in it.
fn plot(series: &MetricsSeries, first: u64, last: u64, step: u64) -> String {
    let points = (last - first) / step.max(1) + 1;
    let width = WIDTH.min(usize::try_from(points).unwrap_or(WIDTH)) as u64;
    let mut columns = vec![f64::NAN; width as usize];
    for (time, point) in times(series).zip(&series.points) {
        let at = (u128::from((time - first) / step.max(1)) * u128::from(width) / u128::from(points)) as usize;
        columns[at] = columns[at].max(point.value);
    }
    let most = columns.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| match value.is_nan() || most <= 0.0 {
        true => ' ',
        false => BARS[((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    format!("{:<WIDTH$}", columns.iter().map(bar).collect::<String>())
}

/// A number with about four significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e15 => format!("{value:.3e}"),
        size if size >= 1000.0 => {
            format!("{}{}", if value < 0.0 { "-" } else { "" }, output::count(size.round() as u64))
        }
        size if size == size.trunc() => format!("{value}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn labels(labels: &Map<String, Value>) -> String {
    let label = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{}={}", plain(name), plain(text)),
        Value::Null => format!("{}=nil", plain(name)),
        other => format!("{}={other}", plain(name)),
    };
    let all: Vec<String> = labels.iter().map(label).collect();
    if all.is_empty() { "all".to_owned() } else { all.join(" ") }
}

#[cfg(test)]
mod tests {
    use spandrel_query::answers::MetricsPoint;

    use super::*;

    #[test]
    fn a_plot_has_a_bar_for_each_point_and_gaps_where_there_is_none() {
        let point = |time: u64, value: f64| MetricsPoint { time_unix_nano: time.to_string(), value };
        let points = vec![point(0, 8.0), point(10, 1.0), point(30, 4.0)];
        let series = MetricsSeries { labels: Map::new(), points, exemplars: Vec::new() };
        assert_eq!(plot(&series, 0, 30, 10).trim_end(), "█▁ ▄");
    }

    #[test]
    fn durations_are_recognised_and_numbers_are_short() {
        assert!(makes_durations("{ } | quantile_over_time(duration, 0.9) by(name) | topk(3)"));
        assert!(
            !makes_durations("{ } | rate()") && !makes_durations("{ duration > 1s } | max_over_time(.a)")
        );
        assert_eq!([0.0, 12.0, 0.12345, -1234.5].map(short), ["0", "12", "0.1235", "-1,235"]);
    }
}
