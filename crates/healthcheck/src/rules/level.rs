//! From a value to how bad it is, with hysteresis: a bound must be reached for a while before it counts, and the
//! value must stay well below it for a while before that is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is not.
    #[default]
    Fine,
    /// Somebody should look at it, soon.
    Warning,
    /// The bot does not work, or will stop working.
    Critical,
}

/// From where on a value is bad.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A warning from here on.
    pub warning: Option<f64>,
    /// Critical from here on.
    pub critical: Option<f64>,
    /// It is over below this share of the bound.
    pub clear: f64,
    /// How long a bound must be reached before it counts.
    pub hold: Duration,
    /// How long the value must stay below before it is over.
    pub calm: Duration,
}

impl Bounds {
    const fn of(&self, level: Level) -> Option<f64> {
        match level {
            Level::Fine => None,
            Level::Warning => self.warning,
            Level::Critical => self.critical,
        }
    }

    /// The worst level that a value keeps up once it is there.
    pub fn kept_up(&self, value: f64) -> Level {
        let keeps = |level| self.of(level).is_some_and(|bound| value >= bound * self.clear);
        [Level::Critical, Level::Warning].into_iter().find(|level| keeps(*level)).unwrap_or_default()
    }
}

/// How bad one thing is, over time.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    level: Level,
    /// Since when the bound of a warning, and of critical, is reached.
    reached: [Option<Duration>; 2],
    /// Since when the value is below what keeps the level up.
    below: Option<Duration>,
}

impl Judge {
    /// One that starts at a level, as before a restart.
    pub fn at(level: Level) -> Self {
        Self { level, ..Self::default() }
    }

    /// The level now.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether it can be forgotten: nothing is bad, or about to be.
    pub fn is_idle(&self) -> bool {
        self.level == Level::Fine && self.reached == [None, None]
    }

    /// Whether the value is below what keeps the level up, not yet for long enough.
    pub const fn is_ending(&self) -> bool {
        self.below.is_some()
    }

    /// Nobody can tell the value now: what is to hold must hold from when it is known again.
    pub const fn pause(&mut self) {
        self.reached = [None, None];
        self.below = None;
    }

    /// Takes the value at a time, which never goes back; gives the level.
    pub fn judge(&mut self, bounds: &Bounds, now: Duration, value: f64) -> Level {
        for (level, reached) in [Level::Warning, Level::Critical].into_iter().zip(&mut self.reached) {
            let is_reached = bounds.of(level).is_some_and(|bound| value >= bound);
            *reached = is_reached.then(|| reached.unwrap_or(now));
            if reached.is_some_and(|since| now.saturating_sub(since) >= bounds.hold) {
                self.level = self.level.max(level);
            }
        }
        let kept_up = bounds.kept_up(value);
        self.below = (kept_up < self.level).then(|| self.below.unwrap_or(now));
        if self.below.is_some_and(|since| now.saturating_sub(since) >= bounds.calm) {
            self.level = kept_up;
            self.below = None;
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        warning: Some(70.0),
        critical: Some(85.0),
        clear: 0.9,
        hold: Duration::from_secs(60),
        calm: Duration::from_secs(30),
    };

    fn run(judge: &mut Judge, values: &[f64]) -> Vec<Level> {
        let at = |n: usize| Duration::from_secs(5 * n as u64);
        values.iter().enumerate().map(|(n, value)| judge.judge(&BOUNDS, at(n), *value)).collect()
    }

    #[test]
    fn a_bound_counts_after_it_held_and_ends_well_below_it() {
        let mut judge = Judge::default();
        let values: Vec<f64> = [vec![90.0; 13], vec![80.0; 10], vec![64.0; 10], vec![60.0; 10]].concat();
        let levels = run(&mut judge, &values);
        assert!(levels[..12].iter().all(|level| *level == Level::Fine), "{levels:?}");
        // 80 keeps critical (85 * 0.9) up, 64 keeps only the warning up, 60 nothing.
        assert!(levels[12..29].iter().all(|level| *level == Level::Critical), "{levels:?}");
        assert!(levels[29..39].iter().all(|level| *level == Level::Warning), "{levels:?}");
        assert_eq!(levels[39..], [Level::Fine; 4]);
        assert!(judge.is_idle());
    }

    proptest! {
        #[test]
        fn what_does_not_hold_is_never_told(values in prop::collection::vec(0.0..200.0_f64, 1..200)) {
            // Every twelfth value is fine, so that nothing is reached for a whole minute.
            let values: Vec<f64> =
                values.iter().enumerate().map(|(n, value)| if n % 12 == 0 { 0.0 } else { *value }).collect();
            let levels = run(&mut Judge::default(), &values);
            prop_assert!(levels.iter().all(|level| *level == Level::Fine));
        }

        #[test]
        fn it_rises_only_after_a_full_hold_and_falls_only_after_a_full_calm(
            values in prop::collection::vec(40.0..100.0_f64, 1..300),
        ) {
            let mut judge = Judge::default();
            let levels = run(&mut judge, &values);
            for n in 1..levels.len() {
                let (before, now) = (levels[n - 1], levels[n]);
                if now > before {
                    let bound = BOUNDS.of(now).unwrap();
                    prop_assert!(n >= 12 && values[n - 12..=n].iter().all(|value| *value >= bound));
                }
                if now < before {
                    let bound = BOUNDS.of(before).unwrap() * BOUNDS.clear;
                    prop_assert!(n >= 6 && values[n - 6..=n].iter().all(|value| *value < bound));
                }
            }
        }

        #[test]
        fn between_its_bounds_nothing_changes(level in 0..3_usize, value in 64.0..70.0_f64) {
            let level = [Level::Fine, Level::Warning, Level::Critical][level];
            let levels = run(&mut Judge::at(level), &vec![value; 100]);
            // Critical falls to the warning that the value keeps up; nothing rises, and no warning ends.
            let expected = level.min(Level::Warning);
            prop_assert_eq!(*levels.last().unwrap(), expected);
        }
    }
}
