//! How the load of an edge was spread, beside what policies would give.

use std::collections::BTreeMap;

use spandrel_mesh::balance::{self, Fit, Policy, PolicyFit, Share, Verdict};
use spandrel_mesh::edge::Edge;

use crate::answers::{MeshBalance, MeshExpected, MeshPolicy};
use crate::params::Params;
use crate::problem::Problem;

/// Of `weights`, so many are taken.
const MOST_WEIGHTS: usize = 1_000;

/// The parameter `weights`: `NAME:WEIGHT`, with commas between them.
pub(super) fn weights(params: &Params) -> Result<BTreeMap<String, f64>, Problem> {
    let mut weights = BTreeMap::new();
    for text in params.text("weights").unwrap_or_default().split(',').filter(|text| !text.is_empty()) {
        let weight =
            text.rsplit_once(':').and_then(|(name, weight)| Some((name.trim(), weight.trim().parse().ok()?)));
        match weight {
            Some((name, weight)) if (0.0..=1e9).contains(&weight) && weights.len() < MOST_WEIGHTS => {
                weights.insert(name.to_owned(), weight);
            }
            _ => {
                let allowed = format!(
                    "up to {MOST_WEIGHTS} pods, versions or zones with their weights, as in payment-v1:3,payment-v2:1"
                );
                return Err(Problem::parameter("weights", format!("{text:?} is not one of {allowed}"))
                    .allowing(allowed));
            }
        }
    }
    Ok(weights)
}

pub(super) fn of(edge: &Edge, weights: &BTreeMap<String, f64>) -> MeshBalance {
    let names: Vec<&String> = edge.instances.keys().collect();
    let shares = edge.shares(weights);
    let held = balance::fits(&shares);
    let verdict = balance::judge(&shares, &held);
    let policies = match verdict {
        // Nothing can be said of any policy.
        Verdict::OneInstance => Vec::new(),
        _ => held.iter().map(|held| policy(held, &names)).collect(),
    };
    MeshBalance {
        verdict: word(&verdict).into(),
        policy: first_policy(&verdict).map(Into::into),
        text: text(&verdict, &shares, &names),
        policies,
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::OneInstance => "oneInstance",
        Verdict::TooFew { .. } => "tooFew",
        Verdict::Agrees(_) => "agrees",
        Verdict::Uneven { .. } => "uneven",
    }
}

/// The first policy that agrees; policies are sorted by how little they suppose.
fn first_policy(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Agrees(policies) => policies.first().map(|policy| policy.name()),
        _ => None,
    }
}

fn text(verdict: &Verdict, shares: &[Share], names: &[&String]) -> String {
    let total: u64 = shares.iter().map(|share| share.first_attempts).sum();
    match verdict {
        Verdict::OneInstance => "there are no two instances to balance".to_owned(),
        Verdict::TooFew { needed } => {
            format!("too few to tell: {total} first attempts, {needed} are needed")
        }
        Verdict::Agrees(policies) => {
            let words: Vec<&str> = policies.iter().map(|policy: &Policy| policy.words()).collect();
            format!("{total} first attempts agree with {}", words.join(" and with "))
        }
        Verdict::Uneven { instance, times } => {
            let name = names.get(*instance).map_or("", |name| name);
            let fitting = balance::fitting_weights(shares).map(|weights| {
                let weights: Vec<String> = weights.iter().map(u64::to_string).collect();
                format!("; weights of {} would explain it", weights.join(" : "))
            });
            let uneven = format!("{name} gets {times:.1} times its equal share of {total} first attempts");
            uneven + &fitting.unwrap_or_default()
        }
    }
}

fn policy(held: &PolicyFit, names: &[&String]) -> MeshPolicy {
    let expected = |(name, count): (&&String, &f64)| MeshExpected {
        instance: (*name).clone(),
        expected_first_attempt_count: (count * 10.0).round() / 10.0,
    };
    MeshPolicy {
        policy: held.policy.name().into(),
        fit: held.fit.name().into(),
        needed_count: match held.fit {
            Fit::TooFew { needed } => Some(needed),
            Fit::Agrees | Fit::RuledOut => None,
        },
        expected: names.iter().zip(&held.expected).map(expected).collect(),
    }
}
