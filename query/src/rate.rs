//! The rate at which a count grows, over a short window.

use std::collections::VecDeque;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(10);

/// Samples of a growing count.
#[derive(Debug, Default)]
pub(crate) struct RateWindow(VecDeque<(Duration, u64)>);

// === impl RateWindow ===

impl RateWindow {
    /// Records the count at a moment, given as the time since any fixed one.
    pub(crate) fn note(&mut self, at: Duration, count: u64) {
        self.0.push_back((at, count));
        // One sample as old as the window stays, so that the rate covers the whole window.
        while self.0.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Growth per second; zero until there are two samples.
    pub(crate) fn per_second(&self) -> f64 {
        match (self.0.front(), self.0.back()) {
            (Some((from, before)), Some((to, after))) if to > from => {
                after.saturating_sub(*before) as f64 / (*to - *from).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cover_the_window_only() {
        let mut rate = RateWindow::default();
        assert_eq!(rate.per_second(), 0.0);
        for second in 0..=100 {
            rate.note(Duration::from_secs(second), if second < 50 { 1000 * second } else { 50_000 });
            let wanted = match second {
                0 => 0.0,
                1..=50 => 1000.0,
                51..60 => 100.0 * (60 - second) as f64,
                _ => 0.0,
            };
            assert_eq!(rate.per_second(), wanted, "at {second}");
            assert!(rate.0.len() <= 12);
        }
    }
}
