//! The attempts of an edge over time, by instance, and what changed in them: an instance that got its share and then
//! nothing (it died, was ejected, or lost its traffic to a failover), and one that came back or joined.
//!
//! That an instance gets nothing for a while may be chance. If it had the share `p` of the attempts before and gets none
//! of the next `n`, chance alone explains that with the probability `(1 - p)^n`; below [`CHANCE`] it is told.

use std::collections::BTreeMap;

/// Attempts by step and instance.
#[derive(Debug, Default)]
pub struct Timeline {
    /// For each instance its attempts by step.
    instances: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    pub change: Change,
    pub instance: String,
    /// The step in which the instance was seen last before it got nothing, or first after that.
    pub step: u32,
    /// Attempts of the instance, and of all, beside which the others are held.
    pub share: (u64, u64),
    /// Attempts in a row that all went to others.
    pub without: u64,
    /// Whether spans of the time in which it got nothing may still be on their way.
    pub is_settled: bool,
    /// Whom these went to, those with most first, some of them.
    pub others: Vec<(String, u64)>,
}

/// What changed for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It got its share, and then nothing.
    Left,
    /// It gets its share again.
    Returned,
    /// It gets a share, and got nothing before.
    Joined,
}

/// What chance explains with a smaller probability than this is told.
pub const CHANCE: f64 = 0.001;
/// Of each edge are told so many changes, and of each change so many others.
const MOST_SHIFTS: usize = 200;
const MOST_OTHERS: usize = 5;
/// Shares are taken of so many steps with attempts.
const SHARE_STEPS: usize = 20;

// === impl Timeline ===

impl Timeline {
    /// Whether it is the first attempt of the instance in the step.
    pub(crate) fn add(&mut self, step: u32, instance: &str) -> bool {
        if !self.instances.contains_key(instance) {
            self.instances.insert(instance.to_owned(), BTreeMap::new());
        }
        let count = self.instances.get_mut(instance).map(|steps| {
            let count = steps.entry(step).or_default();
            *count += 1;
            *count
        });
        count == Some(1)
    }

    /// Adds another one, whose steps are parts of those that `of` gives.
    pub(crate) fn merge(&mut self, other: &Self, of: impl Fn(u32) -> u32) {
        for (instance, steps) in &other.instances {
            let own = self.instances.entry(instance.clone()).or_default();
            for (step, count) in steps {
                *own.entry(of(*step)).or_default() += count;
            }
        }
    }

    /// Instances of steps.
    pub(crate) fn cells(&self) -> usize {
        self.instances.values().map(BTreeMap::len).sum()
    }

    /// Gives instances other names.
    pub(crate) fn rename(&mut self, name: impl Fn(&str) -> String) {
        let mut renamed = Self::default();
        for (instance, steps) in std::mem::take(&mut self.instances) {
            let one = Self { instances: BTreeMap::from([(name(&instance), steps)]) };
            renamed.merge(&one, |step| step);
        }
        *self = renamed;
    }

    /// Steps with attempts, and how many each instance got.
    pub fn steps(&self) -> BTreeMap<u32, BTreeMap<String, u64>> {
        let mut all: BTreeMap<u32, BTreeMap<String, u64>> = BTreeMap::new();
        for (instance, steps) in &self.instances {
            for (step, count) in steps {
                all.entry(*step).or_default().insert(instance.clone(), *count);
            }
        }
        all
    }

    /// What changed, by time. Of steps from `unsettled` on, spans may still be on their way.
    pub fn shifts(&self, unsettled: Option<u32>) -> Vec<Shift> {
        let steps = self.steps();
        let steps: Vec<(u32, &BTreeMap<String, u64>)> =
            steps.iter().map(|(step, counts)| (*step, counts)).collect();
        let totals: Vec<u64> = steps.iter().map(|(_, counts)| counts.values().sum()).collect();
        let settled =
            unsettled.map_or(steps.len(), |unsettled| steps.partition_point(|(step, _)| *step < unsettled));
        let of = |instance: &String| shifts_of(&steps, &totals, settled, instance);
        let mut shifts: Vec<Shift> = self.instances.keys().flat_map(of).collect();
        shifts.sort_by(|a, b| a.step.cmp(&b.step).then_with(|| a.instance.cmp(&b.instance)));
        shifts.truncate(MOST_SHIFTS);
        shifts
    }
}

/// The first `settled` of the steps are those of which all spans have arrived.
fn shifts_of(
    steps: &[(u32, &BTreeMap<String, u64>)],
    totals: &[u64],
    settled: usize,
    instance: &str,
) -> Vec<Shift> {
    let mut shifts = Vec::new();
    let got = |at: usize| steps[at].1.get(instance).copied().unwrap_or(0);
    let mut at = 0;
    while at < steps.len() {
        if got(at) > 0 {
            at += 1;
            continue;
        }
        let begin = at;
        while at < steps.len() && got(at) == 0 {
            at += 1;
        }
        let gap = &steps[begin..at];
        let without: u64 = totals[begin..at].iter().sum();
        let of_settled: u64 = totals[begin..at.min(settled).max(begin)].iter().sum();
        let shift = |change, step, share| Shift {
            is_settled: is_no_chance(share, of_settled),
            change,
            instance: instance.to_owned(),
            step,
            share,
            without,
            others: others(gap),
        };
        let before = share(steps[..begin].iter().rev(), instance);
        let after = share(steps[at..].iter(), instance);
        if begin > 0 && is_no_chance(before, without) {
            shifts.push(shift(Change::Left, steps[begin - 1].0, before));
        }
        if at < steps.len() && is_no_chance(after, without) {
            let change = if begin > 0 { Change::Returned } else { Change::Joined };
            shifts.push(shift(change, steps[at].0, after));
        }
    }
    shifts
}

/// The attempts of an instance, and all, in the first of some steps.
fn share<'s>(
    steps: impl Iterator<Item = &'s (u32, &'s BTreeMap<String, u64>)>,
    instance: &str,
) -> (u64, u64) {
    let (mut own, mut all) = (0, 0);
    for (_, counts) in steps.take(SHARE_STEPS) {
        own += counts.get(instance).copied().unwrap_or(0);
        all += counts.values().sum::<u64>();
    }
    (own, all)
}

fn others(gap: &[(u32, &BTreeMap<String, u64>)]) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<&String, u64> = BTreeMap::new();
    for (instance, count) in gap.iter().flat_map(|(_, counts)| counts.iter()) {
        *sums.entry(instance).or_default() += count;
    }
    let mut others: Vec<(String, u64)> = sums.into_iter().map(|(name, sum)| (name.clone(), sum)).collect();
    others.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    others.truncate(MOST_OTHERS);
    others
}

fn is_no_chance((own, all): (u64, u64), without: u64) -> bool {
    if own == 0 || all == 0 {
        return false;
    }
    // A share that was seen so many times may be a little smaller.
    let share = (own as f64 / all as f64).min(all as f64 / (all as f64 + 1.0));
    (1.0 - share).powf(without as f64) < CHANCE
}

// === impl Change ===

impl Change {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Returned => "returned",
            Self::Joined => "joined",
        }
    }
}

// === impl Shift ===

impl Shift {
    /// What happened, in words.
    pub fn text(&self) -> String {
        let Self { change, instance, share: (own, all), without, .. } = self;
        match change {
            Change::Left => {
                format!("{instance} got {own} of {all} attempts, and then none of the next {without}")
            }
            Change::Returned => {
                format!("{instance} got none of {without} attempts, and then {own} of the next {all} again")
            }
            Change::Joined => {
                format!(
                    "{instance} got none of the first {without} attempts, and then {own} of the next {all}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timeline with a letter for each attempt, and a word for each step.
    fn timeline(steps: &[&str]) -> Timeline {
        let mut timeline = Timeline::default();
        for (step, attempts) in (0..).zip(steps) {
            for instance in attempts.chars() {
                timeline.add(step, &instance.to_string());
            }
        }
        timeline
    }

    fn told(steps: &[&str]) -> Vec<(&'static str, String, u32)> {
        let shifts = timeline(steps).shifts(None);
        shifts.into_iter().map(|shift| (shift.change.name(), shift.instance, shift.step)).collect()
    }

    #[test]
    fn what_may_still_change_is_said() {
        let steps = ["abab", "baba", "abab", "aaaa", "aaaa", "aaaa", "aaaa"];
        let is_settled = |unsettled| {
            let shifts = timeline(&steps).shifts(unsettled);
            assert_eq!(shifts.len(), 1, "{shifts:?}");
            shifts[0].is_settled
        };
        assert!(is_settled(None));
        assert!(is_settled(Some(6)), "twelve attempts without the instance are settled");
        assert!(!is_settled(Some(4)));
    }

    #[test]
    fn an_instance_that_dies_and_comes_back_is_told() {
        let steps = ["abab", "baba", "abab", "aaaa", "aaaa", "aaaa", "abab", "baba"];
        assert_eq!(told(&steps), [("left", "b".to_owned(), 2), ("returned", "b".to_owned(), 6)]);
        let left = &timeline(&steps).shifts(None)[0];
        assert_eq!(
            (left.share, left.without, left.others.clone()),
            ((6, 12), 12, vec![("a".to_owned(), 12)])
        );
        assert_eq!(left.text(), "b got 6 of 12 attempts, and then none of the next 12");
    }

    #[test]
    fn what_chance_explains_is_not_told() {
        assert_eq!(told(&["abab", "aaaa", "abab"]), []);
        assert_eq!(told(&["aaaaaaaaab", "aaaaaaaaaa", "aaaaaaaaab"]), []);
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn an_instance_that_joins_is_told_where_the_first_ones_are_not() {
        assert_eq!(told(&["aaaaa", "aaaaa", "ababab", "bababa"]), [("joined", "b".to_owned(), 2)]);
        assert_eq!(told(&["abab", "abab"]), []);
    }

    #[test]
    fn a_failover_is_one_that_left_and_one_that_joined() {
        let steps = ["aaaaaa", "aaaaaa", "bbbbbb", "bbbbbb"];
        assert_eq!(told(&steps), [("left", "a".to_owned(), 1), ("joined", "b".to_owned(), 2)]);
    }
}
