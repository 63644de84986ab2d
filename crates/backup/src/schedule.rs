//! When something is due, whatever the clock does. In UTC, which has no hour twice or never.
//!
//! A clock that stood still, or a service that did not run, missed something: it is due once, at once. A clock
//! that was ahead and is put right makes nothing wait for the time it had shown.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use croner::Cron;

/// A cron expression.
#[derive(Clone, Debug)]
pub struct Timetable(Cron);

impl Timetable {
    /// Reads `minute hour day month weekday`; `off` is never.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Option<Self>, String> {
        if text == "off" {
            return Ok(None);
        }
        let cron = Cron::from_str(text).map_err(|error| error.to_string())?;
        Ok(Some(Self(cron)))
    }

    /// The first time after this one, in Unix milliseconds; `None` when there is none.
    #[must_use]
    pub fn after(&self, unix_ms: u64) -> Option<u64> {
        let from = DateTime::<Utc>::from_timestamp_millis(i64::try_from(unix_ms).ok()?)?;
        let next = self.0.find_next_occurrence(&from, false).ok()?;
        u64::try_from(next.timestamp_millis()).ok()
    }
}

/// One thing that is done again and again.
#[derive(Clone, Debug)]
pub struct Due {
    timetable: Option<Timetable>,
    /// Since when nothing was missed, in Unix milliseconds.
    since_ms: u64,
}

impl Due {
    /// Goes on from when it was last done; the first time, from now.
    pub fn new(timetable: Option<Timetable>, last_ms: Option<u64>, now_ms: u64) -> Self {
        Self { timetable, since_ms: last_ms.unwrap_or(now_ms).min(now_ms) }
    }

    /// When it is due next, in Unix milliseconds.
    pub fn next(&self) -> Option<u64> {
        self.timetable.as_ref()?.after(self.since_ms)
    }

    /// Whether it is due, once for all times that passed.
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        // The clock was put back.
        self.since_ms = self.since_ms.min(now_ms);
        let due = self.next().is_some_and(|next| next <= now_ms);
        if due {
            self.since_ms = now_ms;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    /// 2026-11-22T00:00:00Z
    const START: u64 = 1_795_305_600_000;

    fn due(text: &str, last: Option<u64>, now: u64) -> Due {
        Due::new(Timetable::read(text).unwrap(), last, now)
    }

    #[test]
    fn it_is_due_once_a_day() {
        let mut daily = due("30 3 * * *", None, START);
        assert_eq!(daily.next(), Some(START + 3 * HOUR + 30 * MINUTE));
        let times = (0..3 * 24 * 60).filter(|minute| daily.is_due(START + minute * MINUTE)).count();
        assert_eq!(times, 3);
    }

    #[test]
    fn what_was_missed_is_done_once_at_the_start() {
        let mut daily = due("30 3 * * *", Some(START), START + 5 * DAY);
        assert!(daily.is_due(START + 5 * DAY));
        assert!(!daily.is_due(START + 5 * DAY + MINUTE));
        assert_eq!(daily.next(), Some(START + 5 * DAY + 3 * HOUR + 30 * MINUTE));
    }

    #[test]
    fn a_clock_that_was_years_ahead_keeps_nothing_waiting() {
        let ahead = START + 5000 * DAY;
        let mut daily = due("30 3 * * *", Some(ahead), START);
        assert!(!daily.is_due(START));
        assert!(daily.is_due(START + 4 * HOUR));
        // Also when it is put right while this runs.
        let mut daily = due("30 3 * * *", None, ahead);
        assert!(!daily.is_due(START));
        assert!(daily.is_due(START + 4 * HOUR));
    }

    #[test]
    fn a_clock_that_jumps_ahead_makes_it_due_once() {
        let mut daily = due("30 3 * * *", None, 0);
        assert!(daily.is_due(START));
        assert!(!daily.is_due(START + 1));
    }

    #[test]
    fn off_is_never() {
        let mut never = due("off", None, START);
        assert!(!never.is_due(START + 100 * DAY) && never.next().is_none());
        assert!(Timetable::read("61 * * * *").is_err() && Timetable::read("daily at four").is_err());
    }
}
