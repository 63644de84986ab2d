//! What is counted; the names are in `docs/metrics.md`.

use std::time::Duration;

use service::{Counter, CounterVec, Gauge, Histogram, Metrics};

use crate::answer::Answer;

/// A forge waits for at most ten seconds.
const ANSWER_SECONDS: [f64; 7] = [0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0];
/// Why a connection is closed without an answer.
pub const CROWDED: &str = "crowded";
/// It did not send a request in time.
pub const SLOW: &str = "slow";
/// What it sent is no HTTP, or it went away.
pub const BROKEN: &str = "broken";

/// The numbers of the service.
#[derive(Clone, Debug)]
pub struct Numbers {
    requests: CounterVec,
    /// Connections that were closed without an answer, by why.
    pub closed: CounterVec,
    /// How long answers take, the body included.
    pub seconds: Histogram,
    /// When the deployer last accepted, in seconds since 1970.
    pub accepted_at: Gauge,
    /// Connections that came in.
    pub connections: Counter,
}

impl Numbers {
    /// Adds them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let names = Answer::ALL.map(Answer::name);
        let requests = metrics.counter_vec("webhook_requests", "Requests, by what was answered", "answer");
        let closed = metrics.counter_vec("webhook_closed", "Connections closed without an answer", "reason");
        Self {
            requests: requests.known(&names),
            closed: closed.known(&[CROWDED, SLOW, BROKEN]),
            seconds: metrics.histogram(
                "webhook_answer_seconds",
                "From a request's head to its answer",
                &ANSWER_SECONDS,
            ),
            accepted_at: metrics
                .gauge("webhook_accepted_timestamp_seconds", "When the deployer last accepted"),
            connections: metrics.counter("webhook_connections", "Connections that came in"),
        }
    }

    /// Counts an answer.
    pub fn answered(&self, answer: Answer, took: Duration) {
        self.requests.with(answer.name()).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
