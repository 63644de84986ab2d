//! Keeps a rate: the load generator and the replay send one thing per turn.

use std::time::Duration;

use tokio::time::Instant;

/// After a stall longer than this the missed turns are given up, not made up in one burst.
const MOST_BEHIND: Duration = Duration::from_secs(1);
/// While behind, other tasks get their turn at least this often.
const YIELD_EVERY: u64 = 32;

/// Turns at a fixed rate, counted from the first one, so that rounding does not add up.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    per_second: f64,
    turns: u64,
}

impl Pace {
    /// So many turns per second, which must be above 0.
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        Self { start: Instant::now(), per_second, turns: 0 }
    }

    /// Waits for the next turn; the first comes at once.
    pub async fn turn(&mut self) {
        let now = Instant::now();
        let due = self.next(now);
        if due > now {
            tokio::time::sleep_until(due).await;
        } else if self.turns.is_multiple_of(YIELD_EVERY) {
            tokio::task::yield_now().await;
        }
    }

    /// When the next turn is due, seen from `now`.
    fn next(&mut self, now: Instant) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "2^53 turns take longer than any run")]
        let due = self.start + Duration::from_secs_f64(self.turns as f64 / self.per_second);
        self.turns += 1;
        let behind = now.saturating_duration_since(due);
        if behind > MOST_BEHIND {
            self.start += behind;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_does_not_add_up() {
        let mut pace = Pace::new(300.0);
        let start = pace.start;
        let last = (0..=900).map(|_| pace.next(start)).last().unwrap();
        assert_eq!(last - start, Duration::from_secs(3));
    }

    #[test]
    fn a_long_stall_is_not_made_up_in_one_burst() {
        let mut pace = Pace::new(100.0);
        let start = pace.start;
        pace.next(start);
        let late = start + Duration::from_secs(60);
        let overdue = (0..50).filter(|_| pace.next(late) <= late).count();
        assert_eq!(overdue, 1, "the one that was missed; the others keep the rate from now on");
    }
}
