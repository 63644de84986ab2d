//! How often sessions may be started: `max_concurrency` and the daily budget.
//! Source: <https://docs.discord.com/developers/events/gateway#session-start-limit-object>.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::discord::Options;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What an IDENTIFY gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A session.
    Granted,
    /// Too soon after another one of the same key.
    TooSoon,
    /// The day's budget is used up: Discord ends all sessions and resets the token.
    UsedUp,
}

/// What was used of the limits.
#[derive(Debug, Default)]
pub struct Starts {
    last: HashMap<u32, Instant>,
    day: Option<Instant>,
    used: u32,
}

impl Starts {
    /// What is left of `total`, and milliseconds until all of it is there again.
    pub fn left(&mut self, total: u32) -> (u32, u64) {
        if self.day.is_some_and(|day| day.elapsed() >= DAY) {
            (self.day, self.used) = (None, 0);
        }
        let reset = self.day.map_or(Duration::ZERO, |day| DAY.saturating_sub(day.elapsed()));
        (total.saturating_sub(self.used), u64::try_from(reset.as_millis()).unwrap_or(u64::MAX))
    }

    /// Asks for one start of `shard`.
    pub fn take(&mut self, options: &Options, shard: u32) -> Start {
        let key = shard % options.max_concurrency.max(1);
        if self.last.get(&key).is_some_and(|last| last.elapsed() < options.identify_window) {
            return Start::TooSoon;
        }
        if self.left(options.identify_total).0 == 0 {
            return Start::UsedUp;
        }
        self.day.get_or_insert_with(Instant::now);
        self.used += 1;
        self.last.insert(key, Instant::now());
        Start::Granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_turn_and_the_day_its_budget() {
        let options = Options { max_concurrency: 2, identify_total: 2, ..Options::default() };
        let mut starts = Starts::default();
        assert_eq!(starts.take(&options, 0), Start::Granted);
        assert_eq!(starts.take(&options, 2), Start::TooSoon, "shard 2 shares the key of shard 0");
        assert_eq!(starts.take(&options, 1), Start::Granted);
        let options = Options { identify_window: Duration::ZERO, ..options };
        assert_eq!(starts.take(&options, 0), Start::UsedUp);
        assert_eq!(starts.left(2).0, 0);
    }
}
