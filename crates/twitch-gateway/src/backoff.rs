//! Waits that grow from one try to the next.

use std::{ops::Range, time::Duration};

/// Doubles from one wait to the next, with a quarter of chance in both directions, so that not all
/// bots of the world come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    waits: Range<Duration>,
    next: Duration,
}

impl Backoff {
    /// From the first wait to the longest.
    #[must_use]
    pub const fn new(waits: Range<Duration>) -> Self {
        Self { next: waits.start, waits }
    }

    /// How long to wait now.
    pub fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.waits.end);
        wait.mul_f64(0.75 + fastrand::f64() / 2.0)
    }

    /// The next wait is the first again.
    pub const fn reset(&mut self) {
        self.next = self.waits.start;
    }
}
