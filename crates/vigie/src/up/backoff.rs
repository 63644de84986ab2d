//! How long to wait before a part is started again.

use std::time::Duration;

/// The first wait: short, since most parts end once and for a passing reason.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// A part that ran for so long is well again.
const STABLE: Duration = Duration::from_secs(60);

/// Waits that double, with a quarter of jitter, until a part ran for a stable minute.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait after a run of this length.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= STABLE {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        // Parts that ended together, such as with NATS, must not come back as one herd.
        wait.mul_f32(0.75 + fastrand::f32() / 2.0).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_stable_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.after(Duration::ZERO)).collect();
        assert!(waits[0] >= FIRST.mul_f32(0.75) && waits[0] <= FIRST.mul_f32(1.25), "{waits:?}");
        assert!(waits[11] > LONGEST / 2 && waits.iter().all(|wait| *wait <= LONGEST), "{waits:?}");
        assert!(backoff.after(STABLE) <= FIRST.mul_f32(1.25));
    }
}
