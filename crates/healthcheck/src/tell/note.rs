//! One message to people: everything that is new, together.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    config::Quiet,
    kept::Told,
    rules::{Alert, Level},
    words::{duration, harmless, moment},
};

/// What lasts is told again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// More lines help nobody; the rest is counted.
const LINES_MAX: usize = 15;
/// The longest line, in characters.
const LINE_MAX: usize = 110;

/// What is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// What is wrong and was not told yet, or long ago.
    pub wrong: Vec<Alert>,
    /// What was told and is over, by key.
    pub over: BTreeMap<String, Told>,
    /// How much else is still wrong, and known.
    pub still: usize,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

impl Note {
    /// The difference between what is wrong now and what was told. In a quiet time, only what is critical. `own` is
    /// the key of an alert that the reader cannot be told: that they cannot be told.
    pub fn new(
        alerts: &[Alert],
        told: &BTreeMap<String, Told>,
        quiet: Option<Quiet>,
        own: &str,
        at_ms: u64,
    ) -> Self {
        let least = match quiet {
            Some(quiet) if quiet.holds(at_ms) => Level::Critical,
            _ => Level::Warning,
        };
        let is_new = |alert: &&Alert| match told.get(&alert.key()) {
            None => true,
            Some(told) => {
                let again = u64::try_from(AGAIN_AFTER.as_millis()).unwrap_or(u64::MAX);
                told.level != alert.level || at_ms.saturating_sub(told.at_ms) >= again
            }
        };
        let others = || alerts.iter().filter(|alert| alert.key() != own);
        let wrong: Vec<Alert> =
            others().filter(|alert| alert.level >= least).filter(is_new).cloned().collect();
        let lasts = |key: &String| alerts.iter().any(|alert| alert.key() == *key);
        let over = told.iter().filter(|(key, told)| told.level >= least && !lasts(key));
        let over = over.map(|(key, told)| (key.clone(), told.clone())).collect();
        let still =
            others().filter(|alert| told.contains_key(&alert.key()) && !wrong.contains(alert)).count();
        Self { wrong, over, still, at_ms }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty() && self.over.is_empty()
    }

    /// How bad the news are.
    pub fn level(&self) -> Level {
        self.wrong.iter().map(|alert| alert.level).max().unwrap_or_default()
    }

    /// What the reader knows once this is told.
    pub fn note_down(&self, told: &mut BTreeMap<String, Told>) {
        for key in self.over.keys() {
            told.remove(key);
        }
        for alert in &self.wrong {
            let entry = Told {
                level: alert.level,
                title: alert.title(),
                since_ms: alert.since_ms,
                at_ms: self.at_ms,
            };
            told.insert(alert.key(), entry);
        }
    }

    /// One line, of plain ASCII.
    pub fn title(&self) -> String {
        let things = |count: usize| if count == 1 { "1 thing".to_owned() } else { format!("{count} things") };
        match (self.wrong.len(), self.over.len(), self.still) {
            (0, _, 0) => "Vigie: all is well again".to_owned(),
            (0, over, still) => format!("Vigie: {} over, {still} still wrong", things(over)),
            (wrong, ..) => {
                let critical = self.wrong.iter().filter(|alert| alert.level == Level::Critical).count();
                match critical {
                    0 => format!("Vigie: {} to look at", things(wrong)),
                    _ => format!("Vigie: {} wrong", things(wrong)),
                }
            }
        }
    }

    /// A line for each thing.
    pub fn lines(&self) -> Vec<String> {
        let wrong = self.wrong.iter().map(|alert| {
            let sign = if alert.level == Level::Critical { '🔴' } else { '🟠' };
            format!("{sign} {} – {}", alert.title(), alert.text)
        });
        let over = self.over.values().map(|told| {
            let lasted = Duration::from_millis(self.at_ms.saturating_sub(told.since_ms));
            format!("🟢 {} – over after {}", told.title, duration(lasted))
        });
        let mut lines: Vec<String> = wrong.chain(over).map(|line| shortened(&harmless(&line))).collect();
        let more = lines.len().saturating_sub(LINES_MAX);
        lines.truncate(LINES_MAX);
        if more > 0 {
            lines.push(format!("… and {more} more"));
        }
        if self.still > 0 && !self.wrong.is_empty() {
            lines.push(format!("({} more known already)", self.still));
        }
        lines
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct One<'a> {
            rule: &'a str,
            subject: &'a str,
            level: Level,
            title: String,
            text: &'a str,
            since: String,
        }
        let wrong = self.wrong.iter().map(|alert| One {
            rule: &alert.rule,
            subject: &alert.subject,
            level: alert.level,
            title: alert.title(),
            text: &alert.text,
            since: moment(alert.since_ms),
        });
        let over = self.over.iter().map(|(key, told)| {
            let (rule, subject) = key.split_once('/').unwrap_or((key, ""));
            One {
                rule,
                subject,
                level: Level::Fine,
                title: told.title.clone(),
                text: "",
                since: moment(told.since_ms),
            }
        });
        serde_json::json!({
            "v": 1,
            "kind": "alert",
            "level": self.level(),
            "title": self.title(),
            // Where a chat takes such a webhook, this is what it shows.
            "text": format!("{}\n{}", self.title(), self.lines().join("\n")),
            "at": moment(self.at_ms),
            "wrong": wrong.collect::<Vec<_>>(),
            "over": over.collect::<Vec<_>>(),
        })
    }
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= LINE_MAX {
        return line.to_owned();
    }
    line.chars().take(LINE_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn alert(rule: &str, subject: &str, level: Level) -> Alert {
        let text = "so and so".to_owned();
        Alert { rule: rule.to_owned(), subject: subject.to_owned(), level, since_ms: 1000, text }
    }

    fn note(alerts: &[Alert], told: &BTreeMap<String, Told>, at_ms: u64) -> Note {
        Note::new(alerts, told, None, "channel/ntfy", at_ms)
    }

    #[test]
    fn what_is_new_is_told_together_and_once() {
        let alerts = [
            alert("silent", "discord-gateway", Level::Critical),
            alert("disk", "", Level::Warning),
            alert("channel", "ntfy", Level::Warning),
        ];
        let mut told = BTreeMap::new();
        let first = note(&alerts, &told, 61_000);
        assert_eq!(first.title(), "Vigie: 2 things wrong");
        assert_eq!(
            first.lines(),
            ["🔴 discord-gateway: does not answer – so and so", "🟠 disk nearly full – so and so"]
        );
        first.note_down(&mut told);
        assert!(note(&alerts, &told, 62_000).is_empty());
        let worse = [alerts[0].clone(), alert("disk", "", Level::Critical)];
        assert_eq!(note(&worse, &told, 63_000).wrong.len(), 1);
        let again = note(&alerts, &told, 61_000 + DAY_MS);
        assert_eq!(again.wrong.len(), 2, "what lasts is told again after a day");
    }

    #[test]
    fn what_is_over_is_told_only_to_those_who_know_of_it() {
        let mut told = BTreeMap::new();
        let alerts = [alert("nats", "", Level::Critical), alert("disk", "", Level::Warning)];
        note(&alerts, &told, 1000).note_down(&mut told);
        let over = note(&alerts[1..], &told, 181_000);
        assert_eq!(over.title(), "Vigie: 1 thing over, 1 still wrong");
        assert_eq!(over.lines(), ["🟢 NATS cannot be reached – over after 3 min"]);
        over.note_down(&mut told);
        let over = note(&[], &told, 182_000);
        assert_eq!(over.title(), "Vigie: all is well again");
        over.note_down(&mut told);
        assert!(told.is_empty() && note(&[], &told, 183_000).is_empty());
    }

    #[test]
    fn a_quiet_time_lets_only_the_critical_through() {
        let quiet = Some(Quiet { from: 0, until: 60 });
        let alerts = [alert("nats", "", Level::Critical), alert("disk", "", Level::Warning)];
        let mut told = BTreeMap::new();
        let at_night = Note::new(&alerts, &told, quiet, "", 1000);
        assert_eq!(at_night.wrong, alerts[..1]);
        at_night.note_down(&mut told);
        let in_the_morning = Note::new(&alerts, &told, quiet, "", 3_600_000);
        assert_eq!(in_the_morning.wrong, alerts[1..]);
    }

    #[test]
    fn a_flood_stays_short() {
        let alerts: Vec<Alert> =
            (0..100).map(|n| alert("silent", &format!("{n}{}", "x".repeat(500)), Level::Critical)).collect();
        let text = note(&alerts, &BTreeMap::new(), 0).lines().join("\n");
        assert!(text.chars().count() < 1800, "Discord takes 2000");
        assert!(text.ends_with("… and 85 more"), "{text}");
    }
}
