//! One message to people: everything that is new, together, both what lasts and what happened once.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    config::Quiet,
    kept::{Channel, Told},
    news::News,
    rules::{Alert, Level},
    words::{duration, harmless, moment},
};

/// What lasts is told again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// More lines help nobody; the rest is counted.
const LINES_MAX: usize = 15;
/// The longest line, in characters.
const LINE_MAX: usize = 110;
/// The longest that one of the news takes, with its log, in characters.
const NEWS_MAX: usize = 800;
/// The longest text of all, in characters. Discord takes 2000, with the title.
const TEXT_MAX: usize = 1750;

/// What is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// What is wrong and was not told yet, or long ago.
    pub wrong: Vec<Alert>,
    /// What was told and is over, by key.
    pub over: BTreeMap<String, Told>,
    /// What happened, the worst first.
    pub news: Vec<News>,
    /// How much more happened than could wait.
    pub dropped: u64,
    /// How much else is still wrong, and known.
    pub still: usize,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

/// What a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Wrong,
    News,
    Over,
}

impl Note {
    /// The difference between what is wrong now and what was told, and what happened since. In a quiet time, only
    /// what is critical. Of what is silent only the end is told, to who was told of it. `own` is the key of an alert
    /// that the reader cannot be told: that they cannot be told.
    pub fn new(
        alerts: &[Alert],
        kept: &Channel,
        is_silent: impl Fn(&Alert) -> bool,
        quiet: Option<Quiet>,
        own: &str,
        at_ms: u64,
    ) -> Self {
        let (least, is_quiet) = match quiet {
            Some(quiet) if quiet.holds(at_ms) => (Level::Critical, true),
            _ => (Level::Warning, false),
        };
        let told = &kept.told;
        let is_new = |alert: &&Alert| match told.get(&alert.key()) {
            None => true,
            Some(told) => {
                let again = u64::try_from(AGAIN_AFTER.as_millis()).unwrap_or(u64::MAX);
                told.level != alert.level || at_ms.saturating_sub(told.at_ms) >= again
            }
        };
        let others = || alerts.iter().filter(|alert| alert.key() != own);
        let loud = others().filter(|alert| alert.level >= least && !is_silent(alert));
        let wrong: Vec<Alert> = loud.filter(is_new).cloned().collect();
        let lasts = |key: &String| alerts.iter().any(|alert| alert.key() == *key);
        let over = told.iter().filter(|(key, told)| told.level >= least && !lasts(key));
        let over = over.map(|(key, told)| (key.clone(), told.clone())).collect();
        let is_known = |alert: &&Alert| told.contains_key(&alert.key()) || is_silent(alert);
        let still = others().filter(|alert| !wrong.contains(alert)).filter(is_known).count();
        let news = kept.waiting.news.iter().filter(|news| news.is_new(at_ms));
        let mut news: Vec<News> =
            news.filter(|news| !is_quiet || news.level == Level::Critical).cloned().collect();
        news.sort_by_key(|news| std::cmp::Reverse(news.level));
        let dropped = if news.is_empty() { 0 } else { kept.waiting.dropped };
        Self { wrong, over, news, dropped, still, at_ms }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty() && self.over.is_empty() && self.news.is_empty()
    }

    /// How bad the news are.
    pub fn level(&self) -> Level {
        self.levels().max().unwrap_or_default()
    }

    /// Whether something failed that was not to last.
    pub fn has_bad_news(&self) -> bool {
        self.news.iter().any(|news| news.level > Level::Fine)
    }

    fn levels(&self) -> impl Iterator<Item = Level> {
        let wrong = self.wrong.iter().map(|alert| alert.level);
        wrong.chain(self.news.iter().map(|news| news.level))
    }

    /// What the reader knows once this is told.
    pub fn note_down(&self, kept: &mut Channel) {
        let is_told = |news: &News| self.news.iter().any(|told| told.number == news.number);
        kept.waiting.news.retain(|news| !is_told(news) && news.is_new(self.at_ms));
        kept.waiting.dropped -= self.dropped.min(kept.waiting.dropped);
        let told = &mut kept.told;
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
        let (bad, over, still) =
            (self.levels().filter(|level| *level > Level::Fine).count(), self.over.len(), self.still);
        match (self.news.as_slice(), bad) {
            // What happened says more than that something did.
            ([news], _) if self.wrong.is_empty() && over == 0 => format!("Vigie: {}", news.title),
            ([news, more @ ..], _) if self.wrong.is_empty() && over == 0 => {
                format!("Vigie: {}, and {} more", news.title, more.len())
            }
            (_, 0) if still == 0 => "Vigie: all is well again".to_owned(),
            (_, 0) => format!("Vigie: {} over, {still} still wrong", things(over)),
            _ => match self.level() {
                Level::Critical => format!("Vigie: {} wrong", things(bad)),
                _ => format!("Vigie: {} to look at", things(bad)),
            },
        }
    }

    /// A line for each thing, and more for what has a log. What is critical comes first: all else may be cut.
    pub fn lines(&self) -> Vec<String> {
        let line = |alert: &Alert| {
            let sign = if alert.level == Level::Critical { '🔴' } else { '🟠' };
            shortened(&harmless(&format!("{sign} {} – {}", alert.title(), alert.text)))
        };
        let (critical, others): (Vec<&Alert>, Vec<&Alert>) =
            self.wrong.iter().partition(|alert| alert.level == Level::Critical);
        let over = self.over.values().map(|told| {
            let lasted = Duration::from_millis(self.at_ms.saturating_sub(told.since_ms));
            shortened(&harmless(&format!("🟢 {} – over after {}", told.title, duration(lasted))))
        });
        // What happened once is not seen anywhere else, so that it is left out after what lasts.
        let all: Vec<(Kind, String)> = critical
            .into_iter()
            .map(|alert| (Kind::Wrong, line(alert)))
            .chain(self.news.iter().map(|news| (Kind::News, news.told(NEWS_MAX))))
            .chain(others.into_iter().map(|alert| (Kind::Wrong, line(alert))))
            .chain(over.map(|line| (Kind::Over, line)))
            .collect();
        let mut left = TEXT_MAX;
        let fits = |(_, line): &&(Kind, String)| {
            let needed = line.chars().count() + 1;
            let fits = needed <= left;
            left = left.saturating_sub(needed);
            fits
        };
        let shown = all.iter().take(LINES_MAX).take_while(fits).count();
        let (shown, cut) = all.split_at(shown);
        let mut lines: Vec<String> = shown.iter().map(|(_, line)| line.clone()).collect();
        let more = cut.len() as u64 + self.dropped;
        if more > 0 {
            let has = |kind| cut.iter().any(|(cut, _)| *cut == kind);
            let wrong = if has(Kind::Wrong) { "; `/health/detailed` has all that is wrong" } else { "" };
            let done = if has(Kind::News) || self.dropped > 0 {
                "; `vigie audit` has all that was done"
            } else {
                ""
            };
            lines.push(format!("… and {more} more{wrong}{done}"));
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
            "kind": if self.wrong.is_empty() && self.over.is_empty() { "news" } else { "alert" },
            "level": self.level(),
            "title": self.title(),
            // Where a chat takes such a webhook, this is what it shows.
            "text": format!("{}\n{}", self.title(), self.lines().join("\n")),
            "at": moment(self.at_ms),
            "wrong": wrong.collect::<Vec<_>>(),
            "over": over.collect::<Vec<_>>(),
            "news": self.news.iter().map(News::json).collect::<Vec<_>>(),
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

    fn note(alerts: &[Alert], kept: &Channel, at_ms: u64) -> Note {
        Note::new(alerts, kept, |_| false, None, "channel/ntfy", at_ms)
    }

    fn news(number: u64, level: Level, title: &str) -> News {
        News { number, at_ms: 1, level, title: title.to_owned(), text: "asked by cli".to_owned() }
    }

    #[test]
    fn what_is_new_is_told_together_and_once() {
        let alerts = [
            alert("silent", "discord-gateway", Level::Critical),
            alert("disk", "", Level::Warning),
            alert("channel", "ntfy", Level::Warning),
        ];
        let mut told = Channel::default();
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
        let mut told = Channel::default();
        let alerts = [alert("nats", "", Level::Critical), alert("disk", "", Level::Warning)];
        note(&alerts, &told, 1000).note_down(&mut told);
        let over = note(&alerts[1..], &told, 181_000);
        assert_eq!(over.title(), "Vigie: 1 thing over, 1 still wrong");
        assert_eq!(over.lines(), ["🟢 NATS cannot be reached – over after 3 min"]);
        over.note_down(&mut told);
        let over = note(&[], &told, 182_000);
        assert_eq!(over.title(), "Vigie: all is well again");
        over.note_down(&mut told);
        assert!(told == Channel::default() && note(&[], &told, 183_000).is_empty());
    }

    #[test]
    fn a_quiet_time_lets_only_the_critical_through() {
        let quiet = Some(Quiet { from: 0, until: 60 });
        let alerts = [alert("nats", "", Level::Critical), alert("disk", "", Level::Warning)];
        let mut told = Channel::default();
        let at_night = Note::new(&alerts, &told, |_| false, quiet, "", 1000);
        assert_eq!(at_night.wrong, alerts[..1]);
        at_night.note_down(&mut told);
        let in_the_morning = Note::new(&alerts, &told, |_| false, quiet, "", 3_600_000);
        assert_eq!(in_the_morning.wrong, alerts[1..]);
    }

    #[test]
    fn of_what_is_silent_only_the_end_is_told_to_those_who_know_of_it() {
        let (disk, hot) = (alert("disk", "", Level::Warning), alert("temperature", "", Level::Warning));
        let silent = |alerts: &[Alert], kept: &Channel, at_ms| {
            Note::new(alerts, kept, |alert| alert.rule == "disk", None, "", at_ms)
        };
        let mut told = Channel::default();
        note(std::slice::from_ref(&disk), &told, 1000).note_down(&mut told);
        assert!(
            silent(std::slice::from_ref(&disk), &told, 2 * DAY_MS).is_empty(),
            "else it is told again after a day"
        );
        let over = silent(&[], &told, 2 * DAY_MS);
        assert_eq!(over.title(), "Vigie: all is well again");
        over.note_down(&mut told);
        // It comes and goes meanwhile.
        assert!(
            silent(std::slice::from_ref(&disk), &told, 3 * DAY_MS).is_empty()
                && silent(&[], &told, 3 * DAY_MS).is_empty()
        );
        let both = [disk, hot];
        silent(&both, &told, 3 * DAY_MS).note_down(&mut told);
        let over = silent(&both[..1], &told, 3 * DAY_MS);
        assert_eq!(over.title(), "Vigie: 1 thing over, 1 still wrong", "all is not well");
    }

    #[test]
    fn a_flood_stays_short() {
        let alerts: Vec<Alert> =
            (0..100).map(|n| alert("silent", &format!("{n}{}", "x".repeat(500)), Level::Critical)).collect();
        let text = note(&alerts, &Channel::default(), 0).lines().join("\n");
        assert!(text.chars().count() < 1800, "Discord takes 2000");
        assert!(text.ends_with("… and 85 more; `/health/detailed` has all that is wrong"), "{text}");
    }

    #[test]
    fn what_happened_is_told_once_the_worst_first() {
        let mut kept = Channel::default();
        let bad = news(2, Level::Warning, "1.3.0 failed");
        kept.waiting.add(&[news(1, Level::Fine, "updated to 1.2.0"), bad], 1);
        let both = note(&[], &kept, 2);
        assert_eq!(
            (both.title().as_str(), both.level()),
            ("Vigie: 1.3.0 failed, and 1 more", Level::Warning)
        );
        assert_eq!(both.lines(), ["🟠 1.3.0 failed – asked by cli", "🔵 updated to 1.2.0 – asked by cli"]);
        assert_eq!((both.json()["kind"].as_str(), both.has_bad_news()), (Some("news"), true));
        kept.waiting.add(&[news(3, Level::Fine, "updated to 1.4.0")], 1);
        both.note_down(&mut kept);
        let good = note(&[], &kept, 2);
        assert_eq!((good.title().as_str(), good.level()), ("Vigie: updated to 1.4.0", Level::Fine));
        let wrong = note(&[alert("disk", "", Level::Warning)], &kept, 2);
        assert_eq!(wrong.title(), "Vigie: 1 thing to look at");
        good.note_down(&mut kept);
        assert!(kept == Channel::default() && note(&[], &kept, 2).is_empty());
    }

    #[test]
    fn at_night_only_what_is_critical_happened() {
        let quiet = Some(Quiet { from: 0, until: 60 });
        let mut kept = Channel::default();
        kept.waiting.add(&[news(1, Level::Fine, "updated"), news(2, Level::Critical, "lost")], 1);
        let at_night = Note::new(&[], &kept, |_| false, quiet, "", 1000);
        assert_eq!(at_night.title(), "Vigie: lost");
        at_night.note_down(&mut kept);
        let in_the_morning = Note::new(&[], &kept, |_| false, quiet, "", 3_600_000);
        assert_eq!(in_the_morning.title(), "Vigie: updated");
    }

    /// They were cut, and counted as told, when news with a long log came at the same time.
    #[test]
    fn what_is_critical_is_told_before_news() {
        let mut kept = Channel::default();
        let text = format!("the log\n{}", "so and so, and so on\n".repeat(90));
        let long: Vec<News> =
            (0..5).map(|n| News { text: text.clone(), ..news(n, Level::Warning, "failed") }).collect();
        kept.waiting.add(&long, 1);
        let lines = note(&[alert("nats", "", Level::Critical)], &kept, 2).lines();
        assert_eq!(lines[0], "🔴 NATS cannot be reached – so and so");
        assert!(lines[1].starts_with("🟠 failed – the log"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "… and 3 more; `vigie audit` has all that was done");
    }

    #[test]
    fn a_flood_of_what_happened_stays_short_and_is_counted() {
        let mut kept = Channel::default();
        let text = format!("the log\n{}", "so and so, and so on\n".repeat(90));
        let flood: Vec<News> =
            (0..30).map(|n| News { text: text.clone(), ..news(n, Level::Warning, "failed") }).collect();
        kept.waiting.add(&flood, 1);
        let note = note(&[alert("disk", "", Level::Warning)], &kept, 2);
        let text = note.lines().join("\n");
        assert!(text.chars().count() + note.title().len() < 1950, "Discord takes 2000");
        let more =
            "… and 29 more; `/health/detailed` has all that is wrong; `vigie audit` has all that was done";
        assert!(text.ends_with(more), "{text}");
        note.note_down(&mut kept);
        assert_eq!(kept.waiting, crate::news::Waiting::default());
    }
}
