//! Compares the block format with Parquet: the same sealed spans and the same queries.
//!
//!     cargo bench -p spandrel-benches --bench parquet -- --spans 500000
//!
//! Both sides get spans sorted by trace and start, as a merge has them, and neither may lose anything. The Parquet side
//! ([`table`]) uses all that its format offers: typed columns for the attributes that the corpus has, dictionaries,
//! delta encodings, page index, bloom filters. The other side is the block writer and the real store over RocksDB, with
//! complete answers: spans without duplicates, full summaries. Files are in the page cache, and nothing is read or
//! decoded before a query ([`clock`] measures the times).

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot set itself up has no result"
)]

mod clock;
mod input;
mod lookup;
mod own;
mod table;

use std::time::Duration;

use clap::Parser;

use self::input::Input;

#[derive(Parser)]
struct Flags {
    /// Spans in the corpus
    #[arg(long, default_value_t = 200_000)]
    spans: u64,
    /// Seed of the corpus
    #[arg(long, default_value_t = 20_260_401)]
    seed: u64,
    /// Queries of each kind
    #[arg(long, default_value_t = 40)]
    questions: usize,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// The cost of one way of storing spans.
pub struct Costs {
    name: String,
    bytes: u64,
    encode: Duration,
    decode: Duration,
    /// The time of each query to a file that was just opened.
    by_id: Duration,
    by_value: Duration,
    absent_value: Duration,
}

fn main() {
    let flags = Flags::parse();
    let input = Input::new(flags.spans, flags.seed, flags.questions);
    let spans = input.spans.len() as f64;
    println!(
        "{} spans of {} traces, {:.0} bytes each on the wire",
        input.spans.len(),
        input.traces,
        input.bytes() as f64 / spans
    );
    let costs = [table::measure(&input, 1), table::measure(&input, 3), own::measure(&input)];
    println!(
        "\n| | bytes/span | encode us/span | decode us/span | by ID ms | by value ms | absent value ms |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for Costs { name, bytes, encode, decode, by_id, by_value, absent_value } in &costs {
        println!(
            "| {name} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            *bytes as f64 / spans,
            encode.as_secs_f64() * 1e6 / spans,
            decode.as_secs_f64() * 1e6 / spans,
            by_id.as_secs_f64() * 1e3,
            by_value.as_secs_f64() * 1e3,
            absent_value.as_secs_f64() * 1e3,
        );
    }
}
