//! Failures in a row of what is tried again and again: when to tell, and when it is serious.

use std::time::Duration;

use tokio::time::Instant;

/// The failures since the last success.
#[derive(Debug, Default)]
pub struct Streak {
    since: Option<Instant>,
}

impl Streak {
    /// It failed; gives for how long it has. Zero is the first time, which is worth a warning.
    pub fn failed(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }

    /// It succeeded; `true` when it had failed before.
    pub const fn succeeded(&mut self) -> bool {
        self.since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_begins_with_a_failure_and_ends_with_a_success() {
        let (mut streak, now) = (Streak::default(), Instant::now());
        assert!(!streak.succeeded());
        assert_eq!(streak.failed(now), Duration::ZERO);
        assert_eq!(streak.failed(now + Duration::from_secs(31)), Duration::from_secs(31));
        assert!(streak.succeeded() && !streak.succeeded());
        assert_eq!(streak.failed(now), Duration::ZERO);
    }
}
