//! What is counted of actions. The names are those of `/metrics`, with `vigie_` in front.

use protocol::{DropReason, OutcomeBody};
use service::{Counter, CounterVec, Gauge, Histogram, Metrics};

/// Upper bounds of the ranges of a platform's answer times, in seconds.
const ANSWER_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Upper bounds of the ranges of the whole time of an answer, in seconds. Above the last it is of no use.
const REPLY_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The numbers of a gateway's actions; cheap to clone.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Actions taken from NATS.
    pub(crate) taken: Counter,
    outcomes: CounterVec,
    dropped: CounterVec,
    last_platform_us: Gauge,
    platform_seconds: Histogram,
    reply_seconds: Histogram,
}

impl Numbers {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            taken: metrics.counter("actions", "Actions taken from NATS"),
            outcomes: metrics
                .counter_vec("outcomes", "What became of actions", "kind")
                .known(&["sent", "dropped", "queued"]),
            dropped: metrics.counter_vec("actions_dropped", "Actions dropped, by why", "reason"),
            last_platform_us: metrics
                .gauge("last_platform_us", "The platform's last answer time, in microseconds"),
            platform_seconds: metrics.histogram(
                "platform_seconds",
                "The platform's answer times",
                ANSWER_SECONDS,
            ),
            reply_seconds: metrics.histogram(
                "reply_seconds",
                "From what a person did to the platform having the answer",
                REPLY_SECONDS,
            ),
        }
    }

    /// Counts an outcome.
    pub(crate) fn outcome(&self, outcome: &OutcomeBody) {
        let kind = match outcome {
            OutcomeBody::Queued { .. } => "queued",
            OutcomeBody::Dropped { reason, .. } => {
                self.dropped.with(label(*reason)).inc();
                "dropped"
            }
            OutcomeBody::Sent { platform_us, total_us, .. } => {
                let seconds = |us| std::time::Duration::from_micros(us).as_secs_f64();
                self.last_platform_us.set(seconds(*platform_us) * 1e6);
                self.platform_seconds.observe(seconds(*platform_us));
                self.reply_seconds.observe(seconds(*total_us));
                "sent"
            }
        };
        self.outcomes.with(kind).inc();
    }
}

const fn label(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Expired => "expired",
        DropReason::Uncertain => "uncertain",
        DropReason::RateLimited => "rate_limited",
        DropReason::Forbidden => "forbidden",
        DropReason::NotFound => "not_found",
        DropReason::Invalid => "invalid",
        DropReason::Unsupported => "unsupported",
        DropReason::Refused => "refused",
        DropReason::Unreachable => "unreachable",
    }
}
