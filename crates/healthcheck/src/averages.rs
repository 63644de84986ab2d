//! The last five minutes, and the last hour.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What is averaged is so old at most.
const AVERAGED: Duration = Duration::from_secs(300);
/// Failures and dead letters are counted for so long.
pub const COUNTED: Duration = Duration::from_secs(3600);
/// More of either need not be told apart.
const KEPT_MAX: usize = 1024;

/// Numbers of the last minutes.
#[derive(Debug, Default)]
pub struct Averages {
    latency_ms: VecDeque<(Instant, f64)>,
    memory_mb: VecDeque<(Instant, f64)>,
    failures: VecDeque<(Instant, u64)>,
    letters: VecDeque<(Instant, u64)>,
}

impl Averages {
    /// Notes what a look found.
    pub fn look(&mut self, now: Instant, latency_ms: Option<f64>, memory_mb: f64) {
        if let Some(latency_ms) = latency_ms {
            push(&mut self.latency_ms, now, latency_ms);
        }
        push(&mut self.memory_mb, now, memory_mb);
        forget(&mut self.latency_ms, now, AVERAGED);
        forget(&mut self.memory_mb, now, AVERAGED);
        forget(&mut self.failures, now, COUNTED);
        forget(&mut self.letters, now, COUNTED);
    }

    /// Notes that something failed in the background.
    pub fn failed(&mut self, now: Instant, count: u64) {
        push(&mut self.failures, now, count);
    }

    /// Notes new dead letters.
    pub fn died(&mut self, now: Instant, letters: u64) {
        push(&mut self.letters, now, letters);
    }

    /// Of the last five minutes, in milliseconds.
    pub fn latency_ms(&self) -> Option<f64> {
        mean(&self.latency_ms)
    }

    /// Of the last five minutes, in MB.
    pub fn memory_mb(&self) -> Option<f64> {
        mean(&self.memory_mb)
    }

    /// Of the last hour.
    pub fn failures(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum()
    }

    /// Of the last hour.
    pub fn letters(&self) -> u64 {
        self.letters.iter().map(|(_, count)| count).sum()
    }
}

fn push<T>(kept: &mut VecDeque<(Instant, T)>, now: Instant, value: T) {
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back((now, value));
}

fn forget<T>(kept: &mut VecDeque<(Instant, T)>, now: Instant, after: Duration) {
    kept.retain(|(at, _)| now.saturating_duration_since(*at) < after);
}

fn mean(kept: &VecDeque<(Instant, f64)>) -> Option<f64> {
    let sum: f64 = kept.iter().map(|(_, value)| value).sum();
    (!kept.is_empty()).then(|| sum / kept.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_counts_no_more() {
        let start = Instant::now();
        let mut averages = Averages::default();
        averages.look(start, Some(10.0), 100.0);
        averages.look(start + AVERAGED / 2, Some(20.0), 200.0);
        averages.failed(start, 2);
        assert_eq!(
            (averages.latency_ms(), averages.memory_mb(), averages.failures()),
            (Some(15.0), Some(150.0), 2)
        );
        averages.look(start + AVERAGED, None, 200.0);
        assert_eq!((averages.latency_ms(), averages.memory_mb()), (Some(20.0), Some(200.0)));
        averages.look(start + COUNTED, None, 0.0);
        assert_eq!((averages.latency_ms(), averages.failures()), (None, 0));
    }
}
