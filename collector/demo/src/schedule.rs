//! Schedules the scenes: visits at a rate with swings and bursts, and jobs at fixed times.
//!
//! The caller passes the time, so tests need not wait.

use crate::rng::Rng;
use crate::scenario::Scene;
use std::time::{Duration, SystemTime};

/// The time before the start that the demo plays at once, so that charts are not empty.
pub(crate) const WARM_UP: Duration = Duration::from_secs(60);
const WARM_UP_VISITS: f64 = 50.0;

const SWING_PERIOD: f64 = 180.0;
const SWING: f64 = 0.5;
const BURST_EVERY: f64 = 75.0;
const BURST_LENGTH: f64 = 8.0;
const BURST_FACTOR: f64 = 2.5;

const ANALYTICS_EVERY: Duration = Duration::from_secs(5);
const SETTLEMENT_EVERY: Duration = Duration::from_secs(60);
/// The first settlement is part of the warm-up.
const FIRST_SETTLEMENT: Duration = Duration::from_secs(30);

/// When the next visit and the next jobs are due.
pub(crate) struct Schedule {
    epoch: SystemTime,
    /// Visits per second on average.
    rate: f64,
    visit: SystemTime,
    analytics: SystemTime,
    settlement: SystemTime,
}

impl Schedule {
    /// A schedule that begins with the warm-up before `start`, and has `rate` visits per second after it.
    pub(crate) fn starting(start: SystemTime, rate: f64) -> Self {
        let epoch = start - WARM_UP;
        let (analytics, settlement) = (epoch + ANALYTICS_EVERY, epoch + FIRST_SETTLEMENT);
        Self { epoch, rate, visit: epoch, analytics, settlement }
    }

    /// The next scene and its time, if it is due by `now`; scenes come in order of time.
    pub(crate) fn due(&mut self, now: SystemTime, rng: &mut Rng) -> Option<(SystemTime, Scene)> {
        let at = self.visit.min(self.analytics).min(self.settlement);
        if at > now {
            return None;
        }
        let scene = if at == self.settlement {
            self.settlement += SETTLEMENT_EVERY;
            Scene::Settlement
        } else if at == self.analytics {
            self.analytics += ANALYTICS_EVERY;
            Scene::Analytics
        } else {
            self.visit += rng.until_next(self.rate_at(at));
            rng.weighted(Scene::VISITS)
        };
        Some((at, scene))
    }

    /// Skips everything before `now`: the computer slept, or its clock was set.
    pub(crate) fn skip_to(&mut self, now: SystemTime) {
        self.visit = now;
        self.analytics = now + ANALYTICS_EVERY;
        self.settlement = now + SETTLEMENT_EVERY;
    }

    fn rate_at(&self, at: SystemTime) -> f64 {
        let elapsed = at.duration_since(self.epoch).unwrap_or_default();
        match elapsed.checked_sub(WARM_UP) {
            Some(live) => self.rate * intensity(live.as_secs_f64()),
            None => WARM_UP_VISITS / WARM_UP.as_secs_f64(),
        }
    }
}

/// The factor on the rate of visits after so many seconds; 1 on average.
fn intensity(seconds: f64) -> f64 {
    let swing = 1.0 + SWING * (std::f64::consts::TAU * seconds / SWING_PERIOD).sin();
    let burst = if seconds % BURST_EVERY >= BURST_EVERY - BURST_LENGTH { BURST_FACTOR } else { 1.0 };
    let average_burst = 1.0 + (BURST_FACTOR - 1.0) * BURST_LENGTH / BURST_EVERY;
    swing * burst / average_burst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn all_due(schedule: &mut Schedule, now: SystemTime) -> Vec<(SystemTime, Scene)> {
        let mut rng = Rng::new(Some(5));
        std::iter::from_fn(|| schedule.due(now, &mut rng)).collect()
    }

    fn visits(due: &[(SystemTime, Scene)]) -> usize {
        due.iter().filter(|(_, scene)| !matches!(scene, Scene::Analytics | Scene::Settlement)).count()
    }

    #[test]
    fn the_warm_up_fills_the_minute_before_the_start() {
        let due = all_due(&mut Schedule::starting(start(), 10.0), start());
        assert!((35..=70).contains(&visits(&due)), "{} visits", visits(&due));
        assert!(due.iter().all(|(at, _)| (start() - WARM_UP..=start()).contains(at)));
        assert!(due.iter().any(|(_, scene)| *scene == Scene::Settlement));
    }

    #[test]
    fn the_rate_is_kept_on_average_and_varies() {
        let mut schedule = Schedule::starting(start(), 10.0);
        all_due(&mut schedule, start());
        let quarter_hour = Duration::from_secs(900);
        let due = all_due(&mut schedule, start() + quarter_hour);
        assert!((8_300..9_700).contains(&visits(&due)), "{} visits in 900 s at 10/s", visits(&due));
        assert!(due.is_sorted_by_key(|(at, _)| *at));

        let in_second = |second: u64| {
            let from = start() + Duration::from_secs(second);
            due.iter().filter(|(at, _)| (from..from + Duration::from_secs(5)).contains(at)).count()
        };
        assert!(in_second(68) > 2 * in_second(60), "a burst: {} after {}", in_second(68), in_second(60));
    }

    #[test]
    fn jobs_run_by_the_clock() {
        let due = all_due(&mut Schedule::starting(start(), 1.0), start() + Duration::from_secs(240));
        let count = |wanted| due.iter().filter(|(_, scene)| *scene == wanted).count();
        assert_eq!((count(Scene::Settlement), count(Scene::Analytics)), (5, 60));
    }

    #[test]
    fn a_gap_is_not_made_up_for() {
        let mut schedule = Schedule::starting(start(), 10.0);
        all_due(&mut schedule, start());
        let later = start() + Duration::from_secs(3600);
        schedule.skip_to(later);
        assert!(all_due(&mut schedule, later).len() <= 1);
    }
}
