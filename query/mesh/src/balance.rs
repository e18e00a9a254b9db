//! Compares how many first attempts each instance of a service got with what policies of load balancing would give.
//!
//! Retries are left out: they go where the first attempt did not, and make every distribution look even. The test is
//! Pearson's chi-squared: with observed counts `o` and expected counts `e` of `n` instances, the sum of `(o - e)² / e`
//! has `n - 1` degrees of freedom. It is a fair test where every `e` is at least 5. Its quantiles come from the
//! approximation of Wilson and Hilferty (1931): the cube root of `x / k` is about normal, with mean `1 - 2 / 9k` and
//! variance `2 / 9k`. A policy is ruled out where so large a sum has a chance of less than one in fifty.

/// What an instance got, and what policies need to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    pub first_attempts: u64,
    /// The mean duration of its answers, in nanoseconds; 0 if there is none.
    pub mean_nanos: f64,
    /// What it was configured to get, if that was said.
    pub weight: Option<f64>,
    /// How many first attempts least request would have sent to it ([`crate::replay`]), if that is known.
    pub least_request: Option<f64>,
}

/// A policy that the counts are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Every instance gets the same.
    RoundRobin,
    /// Every instance gets in proportion to its weight.
    Weighted,
    /// Of two instances taken at random, the one with fewer open requests gets it.
    LeastRequest,
    /// An instance gets more if it answers faster: in inverse proportion to its mean duration.
    LeastResponseTime,
}

/// The counts of all instances beside a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyFit {
    pub policy: Policy,
    /// What each instance would have got.
    pub expected: Vec<f64>,
    pub fit: Fit,
}

/// Whether counts may come from a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Agrees,
    RuledOut,
    /// So many first attempts are needed before that can be said.
    TooFew {
        needed: u64,
    },
}

/// What the counts say.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// There is nothing to balance.
    OneInstance,
    /// So many first attempts are needed before anything can be said.
    TooFew { needed: u64 },
    /// The counts are what these policies would give.
    Agrees(Vec<Policy>),
    /// The instance at this place gets so many times its equal share, and no policy explains it.
    Uneven { instance: usize, times: f64 },
}

const POLICIES: [Policy; 4] =
    [Policy::RoundRobin, Policy::Weighted, Policy::LeastRequest, Policy::LeastResponseTime];
/// The smallest expected count for which the test is fair.
const LEAST_EXPECTED: f64 = 5.0;
/// The standard normal quantile that one in fifty exceeds.
const ONE_IN_FIFTY: f64 = 2.054;
/// Weights are looked for up to this one.
const MOST_WEIGHT: u64 = 10;

/// The shares of all instances of a service beside each policy that can be computed.
pub fn fits(shares: &[Share]) -> Vec<PolicyFit> {
    let total: u64 = shares.iter().map(|share| share.first_attempts).sum();
    if shares.len() < 2 || total == 0 {
        return Vec::new();
    }
    let held = |policy: Policy| {
        let expected = policy.expected(shares)?;
        // An instance with a weight of zero gets nothing, and says nothing of the others.
        let is_none = |(share, expected): (&Share, &f64)| *expected == 0.0 && share.first_attempts > 0;
        let least = expected.iter().copied().filter(|expected| *expected > 0.0).fold(f64::INFINITY, f64::min);
        let fit = if shares.iter().zip(&expected).any(is_none) {
            Fit::RuledOut
        } else if least < LEAST_EXPECTED {
            // So many in all that the smallest share would be large enough.
            Fit::TooFew { needed: (total as f64 * LEAST_EXPECTED / least).ceil() as u64 }
        } else if is_likely(shares, &expected) {
            Fit::Agrees
        } else {
            Fit::RuledOut
        };
        Some(PolicyFit { policy, expected, fit })
    };
    POLICIES.into_iter().filter_map(held).collect()
}

/// Judges the shares of all instances of a service by what was held against them.
pub fn judge(shares: &[Share], held: &[PolicyFit]) -> Verdict {
    let total: u64 = shares.iter().map(|share| share.first_attempts).sum();
    if shares.len() < 2 {
        return Verdict::OneInstance;
    }
    let needed = (LEAST_EXPECTED * shares.len() as f64).ceil() as u64;
    if total < needed {
        return Verdict::TooFew { needed };
    }
    let agreeing: Vec<Policy> =
        held.iter().filter(|held| held.fit == Fit::Agrees).map(|held| held.policy).collect();
    if !agreeing.is_empty() {
        return Verdict::Agrees(agreeing);
    }
    let needed = |held: &PolicyFit| match held.fit {
        Fit::TooFew { needed } => Some(needed),
        Fit::Agrees | Fit::RuledOut => None,
    };
    if let Some(needed) = held.iter().filter_map(needed).max() {
        return Verdict::TooFew { needed };
    }
    let most = shares.iter().enumerate().max_by_key(|(_, share)| share.first_attempts);
    let (instance, share) = most.unwrap_or((0, &shares[0]));
    let equal = total as f64 / shares.len() as f64;
    Verdict::Uneven { instance, times: share.first_attempts as f64 / equal }
}

/// The smallest whole weights, at most ten, that would give counts like these; `None` where equal ones do, or none.
pub fn fitting_weights(shares: &[Share]) -> Option<Vec<u64>> {
    let largest = shares.iter().map(|share| share.first_attempts).max()? as f64;
    for most in 2..=MOST_WEIGHT {
        let weight = |share: &Share| (share.first_attempts as f64 * most as f64 / largest).round() as u64;
        let weights: Vec<u64> = shares.iter().map(weight).collect();
        let weighted: Vec<Share> = shares
            .iter()
            .zip(&weights)
            .map(|(share, weight)| Share { weight: Some(*weight as f64), ..*share })
            .collect();
        let expected = Policy::Weighted.expected(&weighted)?;
        let is_fair = expected.iter().all(|expected| *expected >= LEAST_EXPECTED);
        if is_fair && is_likely(shares, &expected) {
            return Some(weights).filter(|weights| weights.iter().any(|weight| *weight != weights[0]));
        }
    }
    None
}

/// Whether the observed counts may come from the expected ones, each of which is large enough for the test.
fn is_likely(shares: &[Share], expected: &[f64]) -> bool {
    let part =
        |(share, expected): (&Share, &f64)| (share.first_attempts as f64 - expected).powi(2) / expected;
    let is_expected = |(_, expected): &(&Share, &f64)| **expected > 0.0;
    let sum: f64 = shares.iter().zip(expected).filter(is_expected).map(part).sum();
    match expected.iter().filter(|expected| **expected > 0.0).count() {
        // Everything goes to the only one that is to get anything.
        0 | 1 => true,
        count => normal_of_chi_squared(sum, count - 1) < ONE_IN_FIFTY,
    }
}

/// The standard normal value that is as unlikely as this sum with so many degrees of freedom.
fn normal_of_chi_squared(sum: f64, degrees_of_freedom: usize) -> f64 {
    let k = degrees_of_freedom as f64;
    let variance = 2.0 / (9.0 * k);
    ((sum / k).cbrt() - (1.0 - variance)) / variance.sqrt()
}

// === impl Policy ===

impl Policy {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundRobin",
            Self::Weighted => "weighted",
            Self::LeastRequest => "leastRequest",
            Self::LeastResponseTime => "leastResponseTime",
        }
    }

    /// The name in sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::Weighted => "the given weights",
            Self::LeastRequest => "least request",
            Self::LeastResponseTime => "least response time",
        }
    }

    /// What each instance would get; `None` where something that this needs is not known.
    fn expected(self, shares: &[Share]) -> Option<Vec<f64>> {
        let total: u64 = shares.iter().map(|share| share.first_attempts).sum();
        let weight = |share: &Share| match self {
            Self::RoundRobin => Some(1.0),
            Self::Weighted => share.weight,
            Self::LeastRequest => share.least_request,
            Self::LeastResponseTime => (share.mean_nanos > 0.0).then(|| 1.0 / share.mean_nanos),
        };
        let weights: Option<Vec<f64>> = shares.iter().map(weight).collect();
        let weights = weights?;
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return None;
        }
        Some(weights.into_iter().map(|weight| total as f64 * weight / sum).collect())
    }
}

// === impl Fit ===

impl Fit {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::RuledOut => "ruledOut",
            Self::TooFew { .. } => "tooFew",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(counts: &[(u64, f64)]) -> Vec<Share> {
        let share = |&(first_attempts, mean_nanos)| Share { first_attempts, mean_nanos, ..Share::default() };
        counts.iter().map(share).collect()
    }

    fn verdict(shares: &[Share]) -> Verdict {
        judge(shares, &fits(shares))
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // The 98th percentiles of chi-squared with 1, 2, 5 and 10 degrees of freedom.
        for (freedom, sum) in [(1, 5.412), (2, 7.824), (5, 13.388), (10, 21.161)] {
            assert!((normal_of_chi_squared(sum, freedom) - ONE_IN_FIFTY).abs() < 0.06, "{freedom}");
        }
    }

    #[test]
    fn even_counts_agree_with_round_robin() {
        assert_eq!(verdict(&shares(&[(10, 1e6), (10, 9e6)])), Verdict::Agrees(vec![Policy::RoundRobin]));
        let both = Verdict::Agrees(vec![Policy::RoundRobin, Policy::LeastResponseTime]);
        assert_eq!(verdict(&shares(&[(120, 1e6), (100, 1e6)])), both);
    }

    #[test]
    fn faster_instances_may_get_more() {
        let fast_and_slow = shares(&[(80, 10e6), (20, 40e6)]);
        assert_eq!(verdict(&fast_and_slow), Verdict::Agrees(vec![Policy::LeastResponseTime]));
        assert_eq!(verdict(&shares(&[(80, 10e6), (20, 10e6)])), Verdict::Uneven { instance: 0, times: 1.6 });
    }

    #[test]
    fn weights_that_were_said_are_tested() {
        let mut weighted = shares(&[(180, 1e6), (60, 1e6)]);
        assert_eq!(verdict(&weighted), Verdict::Uneven { instance: 0, times: 1.5 });
        (weighted[0].weight, weighted[1].weight) = (Some(3.0), Some(1.0));
        assert_eq!(verdict(&weighted), Verdict::Agrees(vec![Policy::Weighted]));
        (weighted[0].weight, weighted[1].weight) = (Some(1.0), Some(3.0));
        assert_eq!(verdict(&weighted), Verdict::Uneven { instance: 0, times: 1.5 });
    }

    #[test]
    fn a_weight_of_zero_is_nothing_at_all() {
        let of = |counts: &[(u64, f64)], weights: &[f64]| {
            let mut shares = shares(counts);
            shares.iter_mut().zip(weights).for_each(|(share, weight)| share.weight = Some(*weight));
            let fits = fits(&shares);
            fits.into_iter().find(|fit| fit.policy == Policy::Weighted).map(|fit| fit.fit)
        };
        assert_eq!(of(&[(100, 1e6), (0, 0.0)], &[100.0, 0.0]), Some(Fit::Agrees));
        assert_eq!(of(&[(99, 1e6), (1, 1e6)], &[100.0, 0.0]), Some(Fit::RuledOut));
        assert_eq!(of(&[(50, 1e6), (50, 1e6), (0, 0.0)], &[1.0, 1.0, 0.0]), Some(Fit::Agrees));
        assert_eq!(of(&[(50, 1e6), (50, 1e6)], &[0.0, 0.0]), None);
    }

    #[test]
    fn the_smallest_weights_that_fit_are_found() {
        assert_eq!(fitting_weights(&shares(&[(180, 1e6), (60, 1e6)])), Some(vec![3, 1]));
        assert_eq!(fitting_weights(&shares(&[(66, 1e6), (34, 1e6)])), Some(vec![2, 1]));
        assert_eq!(fitting_weights(&shares(&[(100, 1e6), (100, 1e6)])), None);
        assert_eq!(fitting_weights(&shares(&[(9_000, 1e6), (3, 1e6)])), None);
    }

    #[test]
    fn few_counts_say_nothing() {
        assert_eq!(verdict(&shares(&[(8, 1e6), (0, 0.0)])), Verdict::TooFew { needed: 10 });
        // Least response time would give the slow one three of these, too few to rule it out.
        assert!(matches!(verdict(&shares(&[(100, 1e6), (4, 30e6)])), Verdict::TooFew { needed: 155..=156 }));
        assert_eq!(verdict(&shares(&[(8, 1e6)])), Verdict::OneInstance);
        assert_eq!(verdict(&[]), Verdict::OneInstance);
    }
}
