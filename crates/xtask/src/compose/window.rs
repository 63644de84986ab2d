//! A time during which something was done to the stack, and what became of all that people said meanwhile.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    people::People,
    report::{Trial, seconds},
};
use crate::{
    chaos::{
        kinds::Platform,
        ledger::{Ledger, Line},
    },
    shell,
};

/// A command is answered within 60 s or not at all; after the last one so long is waited for replies.
const SETTLE_LIMIT: Duration = Duration::from_secs(75);
/// A second reply would come within this time.
const SECOND_REPLY: Duration = Duration::from_secs(3);
/// Lines of one trial that broke a promise and are told.
const MOST_TOLD: usize = 20;
const POLL: Duration = Duration::from_millis(200);

/// When something was done.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// What.
    pub name: &'static str,
    /// Where nobody can hear, or finish saying, what was on its way: Twitch repeats nothing.
    pub spared: Option<Platform>,
    /// From when.
    pub begin: Duration,
    /// Until when.
    pub end: Duration,
    /// How long the deed itself took.
    pub took: Duration,
}

impl Window {
    fn lines<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a Line> {
        ledger.lines().iter().filter(|line| (self.begin..=self.end).contains(&line.said))
    }

    /// Nobody could hear it, or finish saying the answer.
    fn spares(&self, line: &Line) -> bool {
        line.heard == 0 || self.spared == Some(line.place.platform)
    }

    /// What became of it.
    #[must_use]
    pub fn judge(&self, ledger: &Ledger) -> Trial {
        let mut trial = Trial { name: self.name, took: self.took, ..Trial::default() };
        for line in self.lines(ledger) {
            trial.commands += 1;
            match line.replies.len() {
                0 if self.spares(line) => trial.unheard += 1,
                0 => trial.lost += 1,
                1 => trial.answered += 1,
                _ => trial.doubled += 1,
            }
            trial.longest = trial.longest.max(line.latency().unwrap_or_default());
        }
        trial
    }
}

/// Waits for replies that are late, and for those that come twice.
pub async fn settle(windows: &[Window], people: &People) {
    let last = people.now();
    let lost = || windows.iter().map(|window| window.judge(&people.ledger()).lost).sum::<usize>();
    while lost() > 0 && people.now() < last + SETTLE_LIMIT {
        sleep(POLL).await;
    }
    sleep(SECOND_REPLY).await;
}

/// Names each line that was lost or answered twice.
pub fn tell(windows: &[Window], ledger: &Ledger) {
    let broken = |window: &&Window, line: &&Line| match line.replies.len() {
        0 => !window.spares(line),
        count => count > 1,
    };
    for window in windows {
        for line in window.lines(ledger).filter(|line| broken(&window, line)).take(MOST_TOLD) {
            let Line { place, event, said, replies, .. } = line;
            let (since, event) =
                (seconds(said.saturating_sub(window.begin)), event.as_deref().unwrap_or("?"));
            let (platform, replies) = (place.platform.name(), replies.len());
            shell::complain(&format!(
                "{}: {event} on {platform}, said after {since}, has {replies} replies",
                window.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::ledger::Place;

    #[test]
    fn a_line_without_a_reply_is_lost_unless_nobody_could_hear_it() {
        let mut ledger = Ledger::default();
        for (number, (platform, heard)) in
            [(Platform::Discord, 1), (Platform::Twitch, 1), (Platform::Twitch, 0), (Platform::Discord, 1)]
                .into_iter()
                .enumerate()
        {
            let place = Place { platform, channel: "a".to_owned() };
            ledger.begin(place, Duration::from_secs(1));
            ledger.told(number, &format!("m{number}"), heard);
        }
        let place = Place { platform: Platform::Discord, channel: "a".to_owned() };
        ledger.seen(&place, "tok0000003 ahoy", Duration::from_secs(3));
        let judge = |spared| {
            let (end, took) = (Duration::from_secs(9), Duration::ZERO);
            let trial = Window { name: "a", spared, begin: Duration::ZERO, end, took }.judge(&ledger);
            (trial.commands, trial.answered, trial.lost, trial.unheard)
        };
        assert_eq!(judge(None), (4, 1, 2, 1));
        assert_eq!(judge(Some(Platform::Twitch)), (4, 1, 1, 2));
    }
}
