//! What is counted of requests to Discord. The names are those of `/metrics`, with `vigie_` in front.

use service::{CounterVec, Gauge, Metrics};

use super::headers::Scope;

/// The numbers of the requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Counts {
    /// How far this machine's clock is ahead of Discord's, in seconds.
    pub(super) clock_ahead_s: Gauge,
    requests: CounterVec,
}

impl Counts {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            clock_ahead_s: metrics
                .gauge("clock_ahead_seconds", "How far this machine's clock is ahead of Discord's"),
            requests: metrics
                .counter_vec(
                    "discord_requests",
                    "Requests to Discord's API, by how they were answered",
                    "answer",
                )
                .known(&["ok", "limited_bucket", "limited_shared", "limited_global"]),
        }
    }

    /// Counts one try that Discord answered with `status`; `limited` is whose limit a 429 spoke of.
    pub(super) fn answered(&self, status: reqwest::StatusCode, limited: Option<Scope>) {
        let answer = match limited {
            Some(Scope::Global) => "limited_global",
            Some(Scope::Shared) => "limited_shared",
            Some(Scope::User) => "limited_bucket",
            None if status.is_success() => "ok",
            None if status.is_server_error() => "failed",
            None => "refused",
        };
        self.requests.with(answer).inc();
    }

    /// Counts one try that had no answer.
    pub(super) fn unanswered(&self) {
        self.requests.with("none").inc();
    }
}
