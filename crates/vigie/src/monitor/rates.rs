//! How much passes in a second, over the last ten.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::events::Kind;

/// The time that is looked back on.
const SPAN: Duration = Duration::from_secs(10);
/// One count covers this.
const STEP: Duration = Duration::from_millis(500);

/// Events, actions and outcomes.
type Counts = [u32; 3];

/// Counts of the last seconds.
pub(super) struct Rates {
    begun: Instant,
    steps: VecDeque<(Instant, Counts)>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { begun: Instant::now(), steps: VecDeque::new() }
    }
}

impl Rates {
    pub(super) fn count(&mut self, what: Kind) {
        let now = Instant::now();
        if self.steps.back().is_none_or(|(since, _)| now.duration_since(*since) >= STEP) {
            self.steps.push_back((now, Counts::default()));
        }
        if let Some((_, counts)) = self.steps.back_mut() {
            counts[place(what)] += 1;
        }
    }

    /// Events, actions and outcomes in a second.
    pub(super) fn now(&mut self) -> [f64; 3] {
        let now = Instant::now();
        while self.steps.front().is_some_and(|(since, _)| now.duration_since(*since) > SPAN) {
            self.steps.pop_front();
        }
        // Right after the start there is less to look back on.
        let span = SPAN.min(now.duration_since(self.begun)).max(Duration::from_secs(1)).as_secs_f64();
        [0, 1, 2].map(|at| {
            let sum: u32 = self.steps.iter().map(|(_, counts)| counts[at]).sum();
            f64::from(sum) / span
        })
    }
}

const fn place(what: Kind) -> usize {
    match what {
        Kind::Event => 0,
        Kind::Action => 1,
        Kind::Outcome => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passed_longer_ago_does_not_count() {
        let mut rates = Rates::default();
        for _ in 0..20 {
            rates.count(Kind::Event);
        }
        rates.count(Kind::Outcome);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(rates.now(), [2.0, 0.0, 0.1]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rates.now(), [0.0, 0.0, 0.0]);
    }
}
