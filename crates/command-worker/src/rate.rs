//! How many events a second there were lately.

use std::time::Duration;

/// Over how many seconds the rate is taken.
const WINDOW: usize = 10;

/// Counts by second; the second in progress does not count yet.
#[derive(Debug, Default)]
pub struct Rate {
    seconds: [u32; WINDOW + 1],
    now: u64,
}

impl Rate {
    /// Counts events at a time since the start.
    pub fn add(&mut self, at: Duration, events: u32) {
        let slot = self.advance(at);
        self.seconds[slot] = self.seconds[slot].saturating_add(events);
    }

    /// The mean of the last ten full seconds, or of all since the start.
    pub fn per_second(&mut self, at: Duration) -> f64 {
        let current = self.advance(at);
        let counted: u32 = self
            .seconds
            .iter()
            .enumerate()
            .filter_map(|(slot, events)| (slot != current).then_some(*events))
            .sum();
        let seconds = self.now.clamp(1, WINDOW as u64);
        // At most ten.
        #[allow(clippy::cast_precision_loss)]
        let seconds = seconds as f64;
        f64::from(counted) / seconds
    }

    /// Empties the seconds that nothing was counted in, and gives the slot of this one.
    fn advance(&mut self, at: Duration) -> usize {
        let slots = self.seconds.len() as u64;
        let to = at.as_secs().max(self.now);
        for second in (self.now + 1..=to).take(self.seconds.len()) {
            self.seconds[slot(second, slots)] = 0;
        }
        if to - self.now >= slots {
            self.seconds = [0; WINDOW + 1];
        }
        self.now = to;
        slot(to, slots)
    }
}

// The remainder is below eleven.
#[allow(clippy::cast_possible_truncation)]
const fn slot(second: u64, slots: u64) -> usize {
    (second % slots) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_mean_of_the_last_ten_seconds() {
        let at = Duration::from_secs;
        let mut rate = Rate::default();
        assert!(rate.per_second(at(0)).abs() < 1e-9);
        rate.add(at(0), 30);
        assert!((rate.per_second(at(1)) - 30.0).abs() < 1e-9);
        rate.add(at(2), 30);
        assert!((rate.per_second(at(3)) - 20.0).abs() < 1e-9);
        assert!((rate.per_second(at(10)) - 6.0).abs() < 1e-9);
        assert!((rate.per_second(at(12)) - 3.0).abs() < 1e-9);
        assert!(rate.per_second(at(13)).abs() < 1e-9);
        rate.add(at(1_000), 10);
        assert!((rate.per_second(at(1_001)) - 1.0).abs() < 1e-9);
    }
}
