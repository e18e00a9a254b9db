//! The demo's random number generator. It makes all random decisions, so that a seed repeats a run.
//!
//! Trace and span IDs come from the SDK's own generator; otherwise two runs with the same seed would send different
//! spans with the same IDs.

use std::time::Duration;

pub(crate) struct Rng(fastrand::Rng);

impl Rng {
    /// The same seed gives the same decisions; without a seed every run differs.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed))
    }

    /// True with this probability.
    pub(crate) fn likely(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    /// A whole number from `low` up to and including `high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        self.0.usize(low..=high)
    }

    /// A hexadecimal token of 16 digits.
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.0.u64(..))
    }

    /// One of the choices, with equal probability.
    pub(crate) fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.0.usize(..N)]
    }

    /// One of the choices, by weight.
    pub(crate) fn weighted<T: Copy, const N: usize>(&mut self, choices: [(u32, T); N]) -> T {
        let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.0.u32(..total);
        let mut place = 0;
        while drawn >= choices[place].0 {
            drawn -= choices[place].0;
            place += 1;
        }
        choices[place].1
    }

    /// A random time as in real services: most are near `median_ms`, one in fifty is far above it.
    pub(crate) fn around(&mut self, median_ms: f64) -> Duration {
        let tail = if self.likely(0.02) { 3.0 + 5.0 * self.0.f64() } else { 1.0 };
        millis(median_ms * (0.35 * self.normal()).exp() * tail)
    }

    /// The time until the next event, if events happen `per_second` times on average.
    pub(crate) fn until_next(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.0.f64()).ln() / per_second)
    }

    /// A standard normal value (Box-Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.f64()).cos()
    }
}

pub(crate) fn millis(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let mut rng = Rng::new(Some(seed));
            (rng.token(), rng.between(0, 1000), rng.around(10.0), rng.until_next(3.0))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn times_have_the_given_median_and_a_heavy_tail() {
        let mut rng = Rng::new(Some(1));
        let mut times: Vec<_> = (0..10_000).map(|_| rng.around(100.0)).collect();
        times.sort();
        assert!((millis(95.0)..millis(105.0)).contains(&times[5_000]), "median {:?}", times[5_000]);
        assert!(times[9_950] > millis(300.0), "p99.5 {:?}", times[9_950]);
    }

    #[test]
    fn weights_are_kept() {
        let mut rng = Rng::new(Some(1));
        let often = (0..4_000).filter(|_| rng.weighted([(1, 'a'), (3, 'b')]) == 'b').count();
        assert!((2_850..3_150).contains(&often), "{often} of 4000 with a weight of 3 in 4");
    }
}
