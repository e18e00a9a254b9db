//! The time step of series: what a request names, or one that is easy to read on an axis.

use crate::duration::{self, SECOND, parse_duration};
use crate::problem::Problem;

/// A query that names no step gets about this many points.
const USUAL_POINTS: u64 = 60;

/// Steps that are easy to read on an axis, in seconds. Longer steps are whole days.
const USUAL_STEPS: [u64; 11] = [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200];

const DAY: u64 = 86_400 * SECOND;

/// The step that a request names, or the usual one for a range of that width, with at most as many points as a named limit allows.
pub(super) fn step(text: Option<&str>, width: u64, max_points: u64, limit: &str) -> Result<u64, Problem> {
    let Some(text) = text else { return Ok(usual_step(width, max_points)) };
    let seconds = text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(SECOND));
    let Some(step) = seconds.or_else(|| parse_duration(text)).filter(|step| *step > 0) else {
        let allowed = format!("whole seconds, or {}", duration::ALLOWED);
        return Err(Problem::parameter("step", format!("{text:?} is not a step; allowed: {allowed}"))
            .allowing(allowed));
    };
    if width / step > max_points {
        let least = width.div_ceil(max_points).div_ceil(SECOND);
        let detail = format!(
            "the range would have more than {max_points} points ({limit}); \
             use a step of {least}s or more, or a shorter range"
        );
        return Err(Problem::parameter("step", detail));
    }
    Ok(step)
}

/// The first usual step that covers the range with at most sixty points, or fewer if the limit is lower.
fn usual_step(width: u64, max_points: u64) -> u64 {
    let least = width.div_ceil(USUAL_POINTS.min(max_points).max(1));
    let usual = USUAL_STEPS.iter().map(|seconds| seconds * SECOND).find(|step| *step >= least);
    usual.unwrap_or_else(|| least.div_ceil(DAY) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600 * SECOND;

    #[test]
    fn the_usual_step_gives_about_sixty_points() {
        let check = |seconds: u64, step: u64| {
            assert_eq!(usual_step(seconds * SECOND, 100), step * SECOND, "{seconds}")
        };
        check(0, 60);
        check(900, 60);
        check(3_600, 60);
        check(3_601, 120);
        check(86_400, 1_800);
        check(604_800, 10_800);
        check(365 * 86_400, 7 * 86_400);
        assert!(usual_step(u64::MAX, 100) >= u64::MAX / USUAL_POINTS);
        assert_eq!(usual_step(3_600 * SECOND, 10), 600 * SECOND);
    }

    #[test]
    fn steps_are_positive_and_not_too_many() {
        let check = |text, nanos| assert_eq!(step(Some(text), HOUR, 100, "maxPoints").ok(), nanos, "{text}");
        check("60", Some(60 * SECOND));
        check("60s", Some(60 * SECOND));
        check("5m", Some(300 * SECOND));
        check("36s", Some(36 * SECOND));
        check("35s", None);
        check("0", None);
        check("-1", None);
        check("x", None);
        assert!(step(Some("1s"), HOUR, 100, "maxPoints").unwrap_err().detail().contains("a step of 36s"));
    }
}
