//! What is wrong: values of a look against their bounds, and what of that is new.

mod level;
mod readings;
mod table;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use level::Level;
use level::{Bounds, Judge};
pub use readings::readings;
pub use table::{Rule, rule};

/// More things to judge than any bot has; what is more is passed by.
const JUDGED_MAX: usize = 1024;

/// So many times faster everything goes: 1, but for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(pub u32);

impl Default for Pace {
    fn default() -> Self {
        Self(1)
    }
}

impl Pace {
    /// A time at this pace.
    #[must_use]
    pub fn of(self, time: Duration) -> Duration {
        time / self.0.max(1)
    }
}

/// A value that may be bad.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The rule.
    pub rule: &'static Rule,
    /// What it is about, such as a service; empty when there is only one.
    pub subject: String,
    /// How much; `None` when nobody can tell yet.
    pub value: Option<f64>,
    /// What a person should know, in one line.
    pub text: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The name of the rule.
    pub rule: String,
    /// What it is about; may be empty.
    pub subject: String,
    /// How bad.
    pub level: Level,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
    /// What a person should know, in one line.
    pub text: String,
}

impl Alert {
    /// The same for the same thing.
    pub fn key(&self) -> String {
        format!("{}/{}", self.rule, self.subject)
    }

    /// How people and programs name it: `disk`, `silent/backup`.
    pub fn name(&self) -> String {
        if self.subject.is_empty() { self.rule.clone() } else { self.key() }
    }

    /// What it is called, in a few words.
    pub fn title(&self) -> String {
        let what = rule(&self.rule).map_or(self.rule.as_str(), |rule| rule.what);
        if self.subject.is_empty() { what.to_owned() } else { format!("{}: {what}", self.subject) }
    }
}

/// Something got worse or better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How it is now; its level may be fine.
    pub alert: Alert,
    /// How it was.
    pub before: Level,
}

/// Everything that is judged.
#[derive(Debug)]
pub struct Rules {
    pace: Pace,
    judged: BTreeMap<(&'static str, String), Judged>,
}

#[derive(Debug)]
struct Judged {
    judge: Judge,
    since_ms: u64,
    text: String,
}

impl Rules {
    /// With what was wrong before a restart.
    pub fn new(pace: Pace, before: &[Alert]) -> Self {
        let judged = before.iter().filter_map(|alert| {
            // A rule of another version has nobody to end it.
            let name = rule(&alert.rule)?.name;
            let judged =
                Judged { judge: Judge::at(alert.level), since_ms: alert.since_ms, text: alert.text.clone() };
            Some(((name, alert.subject.clone()), judged))
        });
        Self { pace, judged: judged.take(JUDGED_MAX).collect() }
    }

    /// Judges the readings of a look. What has no reading any more is fine, unless `unknown` says that nobody can
    /// tell now. `now` is how long this watch has run, `unix_ms` what people's clocks show. Gives what changed.
    pub fn judge(
        &mut self,
        readings: Vec<Reading>,
        unknown: impl Fn(&Rule) -> bool,
        now: Duration,
        unix_ms: u64,
    ) -> Vec<Change> {
        let mut values: BTreeMap<(&'static str, String), (Option<f64>, String)> = BTreeMap::new();
        for reading in readings.into_iter().take(JUDGED_MAX) {
            values.insert((reading.rule.name, reading.subject), (reading.value, reading.text));
        }
        for key in self.judged.keys() {
            values.entry(key.clone()).or_insert((Some(0.0), String::new()));
        }
        let mut changes = Vec::new();
        for ((name, subject), (value, text)) in values {
            let Some((rule, value)) = rule(name).filter(|rule| !unknown(rule)).zip(value) else {
                if let Some(judged) = self.judged.get_mut(&(name, subject)) {
                    judged.judge.pause();
                }
                continue;
            };
            if now < rule.within
                && let Some(judged) = self.judged.get_mut(&(name, subject.clone()))
                && rule.bounds.kept_up(value) < judged.judge.level()
            {
                // It was counted before the start of the watch.
                judged.judge.pause();
                continue;
            }
            let bounds = Bounds {
                hold: self.pace.of(rule.bounds.hold),
                calm: self.pace.of(rule.bounds.calm),
                ..rule.bounds
            };
            let judged = self.judged.entry((name, subject.clone())).or_insert_with(|| Judged {
                judge: Judge::default(),
                since_ms: unix_ms,
                text: String::new(),
            });
            let before = judged.judge.level();
            let level = judged.judge.judge(&bounds, now, value);
            if before == Level::Fine && level > before {
                judged.since_ms = unix_ms;
            }
            // What was wrong is told as it was at its worst, not as it was when it was nearly over.
            if level >= before && !judged.judge.is_ending() && !text.is_empty() {
                judged.text = text;
            }
            if level != before {
                let (since_ms, text) = (judged.since_ms, judged.text.clone());
                let alert = Alert { rule: name.to_owned(), subject, level, since_ms, text };
                changes.push(Change { alert, before });
            }
        }
        self.judged.retain(|_, judged| !judged.judge.is_idle());
        changes
    }

    /// Everything that is wrong now, the worst first.
    pub fn alerts(&self) -> Vec<Alert> {
        let bad = self.judged.iter().filter(|(_, judged)| judged.judge.level() > Level::Fine);
        let mut alerts: Vec<Alert> = bad
            .map(|((name, subject), judged)| Alert {
                rule: (*name).to_owned(),
                subject: subject.clone(),
                level: judged.judge.level(),
                since_ms: judged.since_ms,
                text: judged.text.clone(),
            })
            .collect();
        alerts.sort_by(|a, b| (b.level, a.since_ms, &a.rule).cmp(&(a.level, b.since_ms, &b.rule)));
        alerts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(name: &str, subject: &str, value: f64) -> Reading {
        let rule = rule(name).unwrap();
        Reading { rule, subject: subject.to_owned(), value: Some(value), text: format!("{value}") }
    }

    /// Judges one reading at a time in seconds, which is that of people's clocks as well.
    fn judge(rules: &mut Rules, readings: Vec<Reading>, at_s: u64) -> Vec<Change> {
        rules.judge(readings, |_| false, Duration::from_secs(at_s), at_s * 1000)
    }

    #[test]
    fn what_is_wrong_is_told_once_and_so_is_its_end() {
        let mut rules = Rules::new(Pace(1), &[]);
        assert_eq!(judge(&mut rules, vec![reading("disk", "", 96.0)], 1), []);
        let changes = judge(&mut rules, vec![reading("disk", "", 96.0)], 61);
        assert_eq!((changes[0].before, changes[0].alert.level), (Level::Fine, Level::Critical));
        assert_eq!(judge(&mut rules, vec![reading("disk", "", 97.0)], 66), []);
        assert_eq!(rules.alerts()[0].since_ms, 61_000);
        judge(&mut rules, vec![reading("disk", "", 10.0)], 71);
        let changes = judge(&mut rules, vec![reading("disk", "", 10.0)], 131);
        assert_eq!((changes[0].before, changes[0].alert.level), (Level::Critical, Level::Fine));
        assert_eq!(changes[0].alert.text, "97");
        assert_eq!(rules.alerts(), []);
    }

    #[test]
    fn what_nobody_can_tell_stays_as_it_is() {
        let mut rules = Rules::new(Pace(1), &[]);
        judge(&mut rules, vec![reading("silent", "command-worker", 40.0)], 1);
        let nobody = rules.judge(Vec::new(), |rule| rule.needs_nats, Duration::from_secs(2), 2000);
        assert_eq!(nobody, []);
        let untried = Reading { value: None, ..reading("silent", "command-worker", 0.0) };
        assert_eq!(judge(&mut rules, vec![untried], 3), []);
        assert_eq!(rules.alerts().len(), 1);
        assert_eq!(judge(&mut rules, Vec::new(), 4).len(), 1);
    }

    /// What waited while NATS was away is old when it is back, and gone a moment later.
    #[test]
    fn what_nobody_could_tell_did_not_hold_meanwhile() {
        let mut rules = Rules::new(Pace(1), &[]);
        judge(&mut rules, vec![reading("lag", "EVENTS", 50.0)], 1);
        rules.judge(Vec::new(), |rule| rule.needs_nats, Duration::from_secs(6), 6000);
        assert_eq!(judge(&mut rules, vec![reading("lag", "EVENTS", 600.0)], 600), []);
        assert_eq!(judge(&mut rules, vec![reading("lag", "EVENTS", 600.0)], 610).len(), 1);
    }

    /// A restart of the watch once said that dead letters were over, since it had not seen any itself.
    #[test]
    fn what_was_counted_before_a_restart_is_over_when_its_time_is() {
        let mut rules = Rules::new(Pace(1), &[]);
        judge(&mut rules, vec![reading("dead", "", 1.0), reading("restarts", "backup", 7.0)], 1);
        let before = rules.alerts();
        let mut rules = Rules::new(Pace(1), &before);
        assert_eq!(
            judge(&mut rules, vec![reading("dead", "", 0.0), reading("restarts", "backup", 1.0)], 599),
            []
        );
        assert_eq!(rules.alerts(), before);
        assert_eq!(judge(&mut rules, vec![reading("dead", "", 2.0)], 601).len(), 1, "restarts are over");
        assert_eq!(judge(&mut rules, Vec::new(), 3599), []);
        assert_eq!(judge(&mut rules, Vec::new(), 3600).len(), 1);
        assert_eq!(rules.alerts(), []);
    }

    #[test]
    fn a_restart_forgets_nothing_and_tells_nothing_twice() {
        let mut rules = Rules::new(Pace(1), &[]);
        judge(&mut rules, vec![reading("silent", "backup", 40.0)], 1);
        let mut rules = Rules::new(Pace(1), &rules.alerts());
        assert_eq!(judge(&mut rules, vec![reading("silent", "backup", 40.0)], 9), []);
        assert_eq!(rules.alerts()[0].since_ms, 1000);
        let old = Alert { rule: "of-another-version".to_owned(), ..rules.alerts()[0].clone() };
        assert_eq!(Rules::new(Pace(1), &[old]).alerts(), []);
    }
}
