//! What a command may ask about the world. The worker answers from NATS, tests from a table.

use std::{pin::Pin, time::Duration};

use protocol::{Platform, ServiceStats};

/// What every service says of itself, once all that live have answered.
pub type Gathering<'a> = Pin<Box<dyn Future<Output = Vec<ServiceStats>> + Send + 'a>>;

/// What is known of the world.
pub trait Facts: Send + Sync {
    /// Now, in Unix microseconds.
    fn now_us(&self) -> u64;

    /// The worker that answers.
    fn me(&self) -> Me;

    /// How long the last answer on a platform took, if there has been one.
    fn last_latency(&self, platform: Platform) -> Option<Latency>;

    /// Asks every service for its figures; empty when none answers in time.
    fn services(&self) -> Gathering<'_>;
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Version and commit, `0.1.0 (abc1234)`.
    pub build: String,
    /// Which of several: `<host>-<process id>`.
    pub instance: String,
    /// How long it runs.
    pub uptime: Duration,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The request to the platform, in microseconds.
    pub platform_us: u64,
    /// From reading the question to the platform's answer, in microseconds.
    pub total_us: u64,
}
