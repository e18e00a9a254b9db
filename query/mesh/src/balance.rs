//! Compares how many first attempts each instance of a service got with what a policy of load balancing would give.
//!
//! Retries are left out: they go where the first attempt did not, and make every distribution look even. The test is
//! Pearson's chi-squared: with observed counts `o` and expected counts `e` of `n` instances, the sum of `(o - e)² / e`
//! has `n - 1` degrees of freedom. It is a fair test where every `e` is at least 5. Its quantiles come from the
//! approximation of Wilson and Hilferty (1931): the cube root of `x / k` is about normal, with mean `1 - 2 / 9k` and
//! variance `2 / 9k`. A policy is ruled out where so large a sum has a chance of less than one in a hundred.

/// What an instance got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    pub first_attempts: u64,
    /// The mean duration of its answers, in nanoseconds; 0 if there is none.
    pub mean_nanos: f64,
}

/// A policy that the counts are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Every instance gets the same.
    RoundRobin,
    /// An instance gets more if it answers faster: in inverse proportion to its mean duration. Least request comes
    /// close to it, because slow instances have more requests open.
    LeastResponseTime,
}

/// What the counts say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// There is nothing to balance.
    OneInstance,
    /// So many first attempts are needed before anything can be said.
    TooFew { needed: u64 },
    /// The counts are what the policy would give.
    Agrees(Policy),
    /// The instance at this place gets so many times its equal share, and neither policy explains it.
    Uneven { instance: usize, times: f64 },
}

/// The smallest expected count for which the test is fair.
const LEAST_EXPECTED: f64 = 5.0;
/// The standard normal quantile that one in a hundred exceeds.
const ONE_IN_A_HUNDRED: f64 = 2.326;

/// Judges the shares of all instances of a service.
pub fn judge(shares: &[Share]) -> Verdict {
    let total: u64 = shares.iter().map(|share| share.first_attempts).sum();
    if shares.len() < 2 {
        return Verdict::OneInstance;
    }
    let needed = (LEAST_EXPECTED * shares.len() as f64).ceil() as u64;
    if total < needed {
        return Verdict::TooFew { needed };
    }
    let mut needed = 0;
    for policy in [Policy::RoundRobin, Policy::LeastResponseTime] {
        let Some(expected) = policy.expected(shares) else { continue };
        let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
        if least < LEAST_EXPECTED {
            // So many in all that the smallest share would be large enough.
            needed = needed.max((total as f64 * LEAST_EXPECTED / least.max(f64::MIN_POSITIVE)).ceil() as u64);
        } else if is_likely(shares, &expected) {
            return Verdict::Agrees(policy);
        }
    }
    if needed > 0 {
        return Verdict::TooFew { needed };
    }
    let most = shares.iter().enumerate().max_by_key(|(_, share)| share.first_attempts);
    let (instance, share) = most.unwrap_or((0, &shares[0]));
    let equal = total as f64 / shares.len() as f64;
    Verdict::Uneven { instance, times: share.first_attempts as f64 / equal }
}

/// Whether the observed counts may come from the expected ones, each of which is large enough for the test.
fn is_likely(shares: &[Share], expected: &[f64]) -> bool {
    let part =
        |(share, expected): (&Share, &f64)| (share.first_attempts as f64 - expected).powi(2) / expected;
    let sum: f64 = shares.iter().zip(expected).map(part).sum();
    normal_of_chi_squared(sum, shares.len() - 1) < ONE_IN_A_HUNDRED
}

/// The standard normal value that is as unlikely as this sum with so many degrees of freedom.
fn normal_of_chi_squared(sum: f64, freedom: usize) -> f64 {
    let k = freedom as f64;
    let variance = 2.0 / (9.0 * k);
    ((sum / k).cbrt() - (1.0 - variance)) / variance.sqrt()
}

// === impl Policy ===

impl Policy {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundRobin",
            Self::LeastResponseTime => "leastResponseTime",
        }
    }

    /// The name in sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::LeastResponseTime => "least response time",
        }
    }

    /// What each instance would get; `None` where the durations that this needs are missing.
    fn expected(self, shares: &[Share]) -> Option<Vec<f64>> {
        let total: u64 = shares.iter().map(|share| share.first_attempts).sum();
        let weight = |share: &Share| match self {
            Self::RoundRobin => Some(1.0),
            Self::LeastResponseTime => (share.mean_nanos > 0.0).then(|| 1.0 / share.mean_nanos),
        };
        let weights: Option<Vec<f64>> = shares.iter().map(weight).collect();
        let weights = weights?;
        let sum: f64 = weights.iter().sum();
        Some(weights.into_iter().map(|weight| total as f64 * weight / sum).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(counts: &[(u64, f64)]) -> Vec<Share> {
        counts.iter().map(|&(first_attempts, mean_nanos)| Share { first_attempts, mean_nanos }).collect()
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // The 99th percentiles of chi-squared with 1, 2, 5 and 10 degrees of freedom.
        for (freedom, sum) in [(1, 6.635), (2, 9.210), (5, 15.086), (10, 23.209)] {
            assert!((normal_of_chi_squared(sum, freedom) - ONE_IN_A_HUNDRED).abs() < 0.06, "{freedom}");
        }
    }

    #[test]
    fn even_counts_agree_with_round_robin() {
        assert_eq!(judge(&shares(&[(10, 1e6), (10, 1e6)])), Verdict::Agrees(Policy::RoundRobin));
        assert_eq!(judge(&shares(&[(130, 1e6), (100, 1e6)])), Verdict::Agrees(Policy::RoundRobin));
    }

    #[test]
    fn faster_instances_may_get_more() {
        let fast_and_slow = shares(&[(80, 10e6), (20, 40e6)]);
        assert_eq!(judge(&fast_and_slow), Verdict::Agrees(Policy::LeastResponseTime));
        assert_eq!(judge(&shares(&[(80, 10e6), (20, 10e6)])), Verdict::Uneven { instance: 0, times: 1.6 });
    }

    #[test]
    fn few_counts_say_nothing() {
        assert_eq!(judge(&shares(&[(8, 1e6), (0, 0.0)])), Verdict::TooFew { needed: 10 });
        // Least response time would give the slow one three of these, too few to rule it out.
        assert!(matches!(judge(&shares(&[(100, 1e6), (4, 30e6)])), Verdict::TooFew { needed: 155..=156 }));
        assert_eq!(judge(&shares(&[(8, 1e6)])), Verdict::OneInstance);
        assert_eq!(judge(&[]), Verdict::OneInstance);
    }
}
