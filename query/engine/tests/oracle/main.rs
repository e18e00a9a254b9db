//! The engine answers as the documents say: random spans, in stores of different states, are asked random
//! questions, and a plain evaluator gives the answers that are expected.
//!
//! A failure names its seed. `SPANDREL_SEED=<seed> cargo test -p spandrel-engine --test oracle` runs that
//! seed alone; seeds and cases that failed once are kept in `regressions.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod counts;
mod describe;
mod generate;
mod plain;
mod regressions;
mod search;
mod series;
mod store;
mod world;

use std::fmt::{self, Display};
use std::panic::{self, AssertUnwindSafe};

use proptest::prelude::any;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use spandrel_proto::{TimeRange, UnixNanos};
use spandrel_traceql::ast::{Body, Metrics};

use generate::dice::Dice;
use generate::queries;
use generate::spans::{BEGIN, MINUTE, MINUTES, SECOND, batches};
use plain::metrics::Points;
use plain::trace::Sent;
use world::{World, traces_of};

/// Seeds that one run tries.
const SEEDS: u32 = 50;
/// Questions of each kind about the spans of a seed.
const QUESTIONS: usize = 8;

/// A query and what is asked besides it.
#[derive(Debug, Clone)]
struct Question {
    query: String,
    begin: u64,
    end: Option<u64>,
    /// For series.
    step: u64,
}

#[test]
fn answers_are_those_of_the_plain_evaluator() {
    if let Ok(seed) = std::env::var("SPANDREL_SEED") {
        return check_seed(seed.parse().expect("SPANDREL_SEED is a number"));
    }
    let config = Config { cases: SEEDS, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let checked = TestRunner::new(config).run(&any::<u64>(), |seed| {
        let checked = panic::catch_unwind(|| check_seed(seed));
        checked.map_err(|_| TestCaseError::fail(format!("SPANDREL_SEED={seed}")))
    });
    checked.unwrap();
}

/// Random questions would say little if most of them had no answer, or if all spans matched.
#[test]
fn most_questions_match_some_spans_and_not_all() {
    let (mut asked, mut some, mut all) = (0, 0, 0);
    for seed in 0..200 {
        let dice = Dice::new(seed);
        let traces = traces_of(&batches(&dice, false));
        let pipeline = queries::pipeline(&dice, 2, true);
        let spans: usize = traces.iter().map(|trace| trace.spans.len()).sum();
        let matched: usize = traces.iter().map(|trace| trace.matched(&pipeline).len()).sum();
        asked += 1;
        some += usize::from(matched > 0);
        all += usize::from(matched == spans);
    }
    assert!(
        some * 100 >= asked * 50 && all * 100 <= asked * 25,
        "{some} match some and {all} all of {asked}"
    );
}

/// Asks random questions about random spans.
fn check_seed(seed: u64) {
    let dice = Dice::new(seed);
    // Series may count spans that were sent twice.
    let [with_duplicates, without] = [true, false].map(|duplicates| World::of(batches(&dice, duplicates)));
    for number in 0..QUESTIONS {
        check(&with_duplicates, &traces_question(&dice, number), &format!("SPANDREL_SEED={seed}"));
        check(&without, &series_question(&dice, number), &format!("SPANDREL_SEED={seed}"));
    }
}

fn traces_question(dice: &Dice, number: usize) -> Question {
    let pipeline = match number % 4 {
        0 => queries::plain_filter(dice),
        _ => queries::pipeline(dice, 2, true),
    };
    let begin = if dice.percent(60) { 0 } else { time(dice) };
    let end = dice.percent(40).then(|| time(dice).max(begin + 1));
    Question { query: pipeline.to_string(), begin, end, step: 0 }
}

fn series_question(dice: &Dice, number: usize) -> Question {
    let metrics = match number % 4 {
        0 => queries::rollup(dice),
        1 => queries::compare(dice, BEGIN),
        _ => queries::metrics(dice),
    };
    let begin = if dice.percent(60) { BEGIN } else { time(dice) };
    let end = if dice.percent(60) { BEGIN + MINUTES * MINUTE } else { time(dice) }.max(begin + 1);
    let step = dice.pick(&[10 * SECOND, MINUTE, MINUTE, 3 * MINUTE, 60 * MINUTE]);
    Question { query: metrics.to_string(), begin, end: Some(end), step }
}

/// Mostly a whole half of a minute.
fn time(dice: &Dice) -> u64 {
    BEGIN + dice.below(2 * MINUTES) * MINUTE / 2 + dice.pick(&[0, 0, 0, 1_500_001])
}

/// Asserts that stores of all states answer a question as they should.
fn check(world: &World, question: &Question, hint: &str) {
    if difference(world, question).is_none() {
        return;
    }
    let batches = reduced(world.batches.clone(), question);
    let difference = difference(&World::of(batches.clone()), question).expect("it still differs");
    panic!("{hint}\n{question}\n{}{difference}", describe::describe(&batches));
}

/// How an answer differs, or the panic that came instead of it.
fn difference(world: &World, question: &Question) -> Option<String> {
    let compared = panic::catch_unwind(AssertUnwindSafe(|| compared(world, question)));
    compared.unwrap_or_else(|panic| match panic.downcast::<String>() {
        Ok(text) => Some(*text),
        Err(_) => Some("a panic without a text".to_owned()),
    })
}

fn compared(world: &World, question: &Question) -> Option<String> {
    let Question { query, begin, end, step } = question;
    let parsed = spandrel_traceql::parse(query).unwrap_or_else(|error| panic!("{query}\n{error}"));
    match &parsed.body {
        Body::Traces(pipeline) => {
            let range = TimeRange { start: UnixNanos(*begin), end: end.map(UnixNanos) };
            search::difference(world, pipeline, range)
        }
        Body::Metrics(metrics) => {
            let points = Points { begin: *begin, end: end.expect("series have an end"), step: *step };
            let of_counts = match metrics {
                Metrics::Compare { spans, selection, .. } => {
                    counts::difference_of_comparison(world, spans, selection, points)
                }
                Metrics::Fold { spans, by, .. } => {
                    by.iter().find_map(|field| counts::difference_of_values(world, spans, field, points))
                }
                _ => None,
            };
            of_counts.or_else(|| series::difference(world, metrics, points))
        }
    }
}

/// As few of the spans as still show a difference.
fn reduced(mut batches: Vec<Vec<Sent>>, question: &Question) -> Vec<Vec<Sent>> {
    for batch in 0..batches.len() {
        for span in (0..batches[batch].len()).rev() {
            let mut fewer = batches.clone();
            fewer[batch].remove(span);
            if difference(&World::of(fewer.clone()), question).is_some() {
                batches = fewer;
            }
        }
    }
    batches
}

impl Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = |time: u64| time.saturating_sub(BEGIN);
        write!(f, "{} from +{}", self.query, since(self.begin))?;
        match self.end {
            Some(end) => write!(f, " to +{} in steps of {}", since(end), self.step),
            None => Ok(()),
        }
    }
}
