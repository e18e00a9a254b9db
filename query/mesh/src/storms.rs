//! Retries of an edge: what they cost, whether they helped, and when there were so many that they were a load of their
//! own (a retry storm).

use std::collections::BTreeMap;

/// The requests of an edge in one step, and what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub requests: u64,
    pub attempts: u64,
    /// Nanoseconds that attempts took before the last one of their request.
    pub extra_nanos: u64,
    /// Requests that an attempt after the first one rescued.
    pub rescued: u64,
    /// Requests that were tried again and failed all the same.
    pub failed: u64,
}

/// The load of an edge over time.
#[derive(Debug, Default)]
pub struct Loads {
    steps: BTreeMap<u32, Load>,
}

/// Steps in a row in which requests took too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    pub first_step: u32,
    pub last_step: u32,
    pub load: Load,
}

/// Fewer requests are no storm: one of two that is tried again would be half of all.
const LEAST_REQUESTS: u64 = 10;
/// The most storms of one edge that an answer tells.
const MOST_STORMS: usize = 100;

// === impl Loads ===

impl Loads {
    /// The load of a step, and whether it is new.
    pub(crate) fn at(&mut self, step: u32) -> (&mut Load, bool) {
        let is_new = !self.steps.contains_key(&step);
        (self.steps.entry(step).or_default(), is_new)
    }

    /// Adds others, whose steps are parts of those that `of` gives.
    pub(crate) fn merge(&mut self, other: &Self, of: impl Fn(u32) -> u32) {
        for (step, load) in &other.steps {
            self.steps.entry(of(*step)).or_default().add(load);
        }
    }

    pub(crate) fn cells(&self) -> usize {
        self.steps.len()
    }

    /// Of all steps together.
    pub fn total(&self) -> Load {
        let mut total = Load::default();
        self.steps.values().for_each(|load| total.add(load));
        total
    }

    /// The storms: steps that follow each other, in each of which there were so many attempts for each request, and in
    /// all of which together enough requests.
    pub fn storms(&self, attempts_of_a_request: f64) -> Vec<Storm> {
        let mut storms: Vec<Storm> = Vec::new();
        for (step, load) in &self.steps {
            if (load.attempts as f64) < attempts_of_a_request * load.requests as f64 || load.requests == 0 {
                continue;
            }
            match storms.last_mut() {
                Some(storm) if storm.last_step + 1 == *step => {
                    storm.last_step = *step;
                    storm.load.add(load);
                }
                _ => storms.push(Storm { first_step: *step, last_step: *step, load: *load }),
            }
        }
        storms.retain(|storm| storm.load.requests >= LEAST_REQUESTS);
        storms.truncate(MOST_STORMS);
        storms
    }
}

// === impl Load ===

impl Load {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.extra_nanos = self.extra_nanos.saturating_add(other.extra_nanos);
        self.rescued += other.rescued;
        self.failed += other.failed;
    }

    /// Attempts that retries added.
    pub fn extra_attempts(&self) -> u64 {
        self.attempts.saturating_sub(self.requests)
    }
}

// === impl Storm ===

impl Storm {
    /// The storm in words.
    pub fn text(&self) -> String {
        let Load { requests, attempts, rescued, failed, .. } = self.load;
        let times = attempts as f64 / requests.max(1) as f64;
        format!(
            "{requests} requests took {attempts} attempts, {times:.1} each; retries rescued {rescued} of them, \
             and {failed} failed all the same"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(steps: &[(u32, u64, u64)]) -> Loads {
        let mut loads = Loads::default();
        for (step, requests, attempts) in steps {
            *loads.at(*step).0 = Load { requests: *requests, attempts: *attempts, ..Load::default() };
        }
        loads
    }

    #[test]
    fn a_storm_is_as_long_as_requests_take_too_many_attempts() {
        let loads = loads(&[(0, 50, 55), (1, 50, 90), (2, 50, 140), (3, 50, 51), (5, 6, 18), (9, 20, 40)]);
        let storms = loads.storms(1.5);
        let told: Vec<_> = storms.iter().map(|storm| (storm.first_step, storm.last_step)).collect();
        assert_eq!(told, [(1, 2), (9, 9)]);
        assert_eq!((storms[0].load.requests, storms[0].load.extra_attempts()), (100, 130));
        assert!(storms[0].text().starts_with("100 requests took 230 attempts, 2.3 each"));
    }

    #[test]
    fn a_pause_ends_a_storm() {
        let storms = loads(&[(1, 20, 60), (3, 20, 60)]).storms(1.5);
        assert_eq!(storms.len(), 2);
        assert_eq!(loads(&[(1, 20, 60)]).total().extra_attempts(), 40);
    }
}
