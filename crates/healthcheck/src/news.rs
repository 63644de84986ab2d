//! What happened once and people should know: deploys that ended, and what else is in the audit trail. What lasts is
//! told by `rules`.

use std::{ops::RangeInclusive, time::Duration};

use protocol::control::{Audit, AuditResult, Deploy, DeployState};
use serde::{Deserialize, Serialize};

use crate::{
    rules::Level,
    words::{duration, harmless, moment},
};

/// So much waits for a channel; of more, the oldest of what is least bad is not told, and counted.
pub const WAITING_MAX: usize = 20;
/// Older news are none: a channel that did not work for so long is not flooded when it does again.
const FOR: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// The longest title, in characters.
const TITLE_MAX: usize = 100;
/// The longest text, in characters: as much as a deploy keeps of what failed.
const TEXT_MAX: usize = 2000;
/// What stands for lines that are left out.
const ELIDED: &str = "\n> …";
/// What every channel can carry in a title.
const PLAIN: RangeInclusive<char> = ' '..='~';

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The number of its entry in the audit trail.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// How bad; fine is good news, told without noise.
    pub level: Level,
    /// One line of plain ASCII.
    pub title: String,
    /// What there is to know; may have many lines.
    pub text: String,
}

/// What waits to be told by one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// The oldest first.
    pub news: Vec<News>,
    /// How many more there were.
    pub dropped: u64,
}

impl Waiting {
    /// Adds what is new at this time, in Unix milliseconds.
    pub fn add(&mut self, new: &[News], at_ms: u64) {
        self.news.extend_from_slice(new);
        self.news.retain(|news| news.is_new(at_ms));
        while self.news.len() > WAITING_MAX {
            // The first of those that are least bad is the oldest of them.
            let least = self.news.iter().enumerate().min_by_key(|(_, news)| news.level);
            if let Some((at, _)) = least {
                self.news.remove(at);
                self.dropped += 1;
            }
        }
    }
}

impl News {
    /// What people should know of an entry; `None` when they need not, or when a rule tells it. `deploy` is what the
    /// deployer says of the same, when it says anything.
    pub fn of(number: u64, entry: &Audit, deploy: Option<&Deploy>) -> Option<Self> {
        let Audit { object, by, words, .. } = entry;
        let asked = format!("asked by {by}");
        let took = deploy.map(|deploy| deploy.ended_ms.saturating_sub(deploy.began_ms));
        let took = took.map(|ms| format!("in {}, ", duration(Duration::from_millis(ms)))).unwrap_or_default();
        let (level, title, text) = match (entry.service.as_str(), entry.verb.as_str(), entry.result) {
            ("deployer", "request", AuditResult::Done) => (Level::Fine, words.clone(), took + &asked),
            ("deployer", "rollback", AuditResult::Done) => {
                (Level::Fine, format!("went back to {object}"), took + &asked)
            }
            ("deployer", "request" | "rollback", AuditResult::Failed) => {
                let (level, title) = failed(object, deploy);
                (level, title, format!("{took}{asked}\n{words}"))
            }
            ("deployer", "request" | "rollback", AuditResult::Refused) => {
                (Level::Warning, format!("{object} was not rolled out"), format!("{words}\n{asked}"))
            }
            // Refused: its settings or the engine do not let it, so that it never will be.
            ("deployer", "self-update", AuditResult::Failed | AuditResult::Refused) => {
                (Level::Warning, format!("the deployer is not that of {object}"), format!("{words}\n{asked}"))
            }
            ("deployer", "check", AuditResult::Done) => {
                (Level::Fine, format!("there is something new: {object}"), words.clone())
            }
            ("backup", "restore", AuditResult::Done) => {
                (Level::Fine, format!("restored from {object}"), format!("{words}\n{asked}"))
            }
            ("backup", "restore", AuditResult::Failed) => {
                (Level::Critical, format!("restoring {object} failed"), format!("{words}\n{asked}"))
            }
            ("backup", "verify", AuditResult::Failed) => {
                (Level::Warning, "backups are not whole".to_owned(), format!("{words}\n{asked}"))
            }
            // That a backup or a drill failed lasts until a better one, and is told by the rule for it.
            _ => return None,
        };
        let (title, text) = (plain(&title), cut(&text));
        Some(Self { number, at_ms: entry.at_ms, level, title, text })
    }

    /// Whether it is worth telling at this time, in Unix milliseconds.
    pub fn is_new(&self, at_ms: u64) -> bool {
        u128::from(at_ms.saturating_sub(self.at_ms)) < FOR.as_millis()
    }

    /// For a person, in at most so many characters: what it is, its first words, and of the rest the end, which is
    /// where a log says what went wrong.
    pub fn told(&self, characters: usize) -> String {
        let sign = match self.level {
            Level::Critical => '🔴',
            Level::Warning => '🟠',
            Level::Fine => '🔵',
        };
        let mut lines = self.text.lines().map(harmless).filter(|line| !line.trim().is_empty());
        let first = lines.next().map(|line| format!(" – {line}")).unwrap_or_default();
        let head: String = format!("{sign} {}{first}", self.title).chars().take(characters).collect();
        let mut left = characters.saturating_sub(head.chars().count() + ELIDED.chars().count());
        let all: Vec<String> = lines.map(|line| format!("> {}", line.trim_end())).collect();
        let fits = |line: &&String| {
            let needed = line.chars().count() + 1;
            let fits = needed <= left;
            left = left.saturating_sub(needed);
            fits
        };
        let kept = all.iter().rev().take_while(fits).count();
        let mut told = head;
        if kept < all.len() {
            told += ELIDED;
        }
        for line in &all[all.len() - kept..] {
            told.push('\n');
            told += line;
        }
        told
    }

    /// For a program.
    pub fn json(&self) -> serde_json::Value {
        let at = moment(self.at_ms);
        serde_json::json!({ "level": self.level, "title": self.title, "text": self.text, "at": at })
    }
}

/// How bad a deploy is that failed. When nobody can say whether the version before is back, somebody must look.
fn failed(object: &str, deploy: Option<&Deploy>) -> (Level, String) {
    match deploy.map(|deploy| (deploy.state, deploy.from.as_deref())) {
        Some((DeployState::RolledBackTo, from)) => {
            let back = from.map_or_else(|| "the version before".to_owned(), str::to_owned);
            (Level::Warning, format!("{object} failed and was rolled back: {back} runs again"))
        }
        Some((DeployState::RollbackFailed, _)) => {
            (Level::Critical, format!("{object} failed, and so did going back: look at once"))
        }
        _ => (Level::Critical, format!("{object} failed")),
    }
}

fn plain(title: &str) -> String {
    let first = title.lines().next().unwrap_or_default();
    first.chars().map(|c| if PLAIN.contains(&c) { c } else { '?' }).take(TITLE_MAX).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use protocol::VERSION;

    use super::*;

    fn entry(verb: &str, result: AuditResult, words: &str) -> Audit {
        Audit {
            v: VERSION,
            at_ms: 61_000,
            service: if matches!(verb, "create" | "verify") { "backup" } else { "deployer" }.to_owned(),
            by: "hook:site".to_owned(),
            verb: verb.to_owned(),
            object: "1.3.0".to_owned(),
            result,
            words: words.to_owned(),
        }
    }

    fn deploy(state: DeployState) -> Deploy {
        Deploy {
            id: "deploy-1".to_owned(),
            by: "hook:site".to_owned(),
            from: Some("1.2.0".to_owned()),
            to: "1.3.0".to_owned(),
            began_ms: 20_000,
            ended_ms: 61_000,
            state,
            words: String::new(),
        }
    }

    fn news(number: u64, level: Level) -> News {
        News { number, at_ms: 1, level, title: "so".to_owned(), text: "and so".to_owned() }
    }

    #[test]
    fn a_deploy_is_told_as_it_ended() {
        let told = |verb, result, state| {
            let news = News::of(7, &entry(verb, result, "updated to 1.3.0 (0123abc)"), state).unwrap();
            (news.level, news.title, news.text)
        };
        let good = deploy(DeployState::RolledOut);
        let (level, title, text) = told("request", AuditResult::Done, Some(&good));
        assert_eq!((level, title.as_str()), (Level::Fine, "updated to 1.3.0 (0123abc)"));
        assert_eq!(text, "in 41 s, asked by hook:site");
        let back = deploy(DeployState::RolledBackTo);
        let (level, title, text) = told("request", AuditResult::Failed, Some(&back));
        let expected = "1.3.0 failed and was rolled back: 1.2.0 runs again";
        assert_eq!((level, title.as_str()), (Level::Warning, expected));
        assert_eq!(text, "in 41 s, asked by hook:site\nupdated to 1.3.0 (0123abc)");
        let lost = deploy(DeployState::RollbackFailed);
        assert_eq!(told("rollback", AuditResult::Failed, Some(&lost)).0, Level::Critical);
        assert_eq!(told("request", AuditResult::Failed, None).0, Level::Critical, "nobody knows");
        assert_eq!(told("request", AuditResult::Refused, None).0, Level::Warning);
        for result in [AuditResult::Failed, AuditResult::Refused] {
            assert_eq!(told("self-update", result, None).1, "the deployer is not that of 1.3.0");
        }
        assert_eq!(News::of(7, &entry("self-update", AuditResult::Done, ""), None), None);
        assert_eq!(News::of(7, &entry("request", AuditResult::Begun, ""), None), None);
        assert_eq!(News::of(7, &entry("create", AuditResult::Failed, ""), None), None, "a rule tells it");
    }

    #[test]
    fn a_title_is_plain_whatever_a_version_is_called() {
        let mut strange = entry("check", AuditResult::Done, "");
        strange.object = "1.3\r\nX: é\u{1b}[2J".to_owned() + &"x".repeat(500);
        let title = News::of(1, &strange, None).unwrap().title;
        assert!(
            title.is_ascii() && !title.contains(['\r', '\n', '\u{1b}']) && title.len() <= TITLE_MAX,
            "{title}"
        );
    }

    #[test]
    fn of_a_long_log_the_end_is_told() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let text = format!("in 41 s\n{}\n1.2.0 runs again", lines.join("\n"));
        let told = News { text, ..news(1, Level::Warning) }.told(200);
        assert!(told.chars().count() <= 200, "{told}");
        assert!(told.starts_with("🟠 so – in 41 s\n> …\n> line "), "{told}");
        assert!(told.ends_with("\n> line 99\n> 1.2.0 runs again"), "{told}");
        assert_eq!(news(1, Level::Fine).told(200), "🔵 so – and so");
    }

    #[test]
    fn when_many_come_the_worst_are_kept() {
        let mut waiting = Waiting::default();
        waiting.add(&[news(0, Level::Critical)], 2);
        let many: Vec<News> = (1..=30).map(|number| news(number, Level::Fine)).collect();
        waiting.add(&many, 2);
        assert_eq!((waiting.news.len(), waiting.dropped), (WAITING_MAX, 11));
        assert_eq!((waiting.news[0].number, waiting.news[1].number), (0, 12));
        waiting.add(&[], 4 * 24 * 60 * 60 * 1000);
        assert_eq!(waiting.news, [], "it is too old");
    }
}
