//! What the worker counts, as `/metrics` and the answer to `$SRV.STATS` tell it.

use service::{Counter, CounterVec, Gauge, Histogram, Metrics};

/// The upper bounds of the ranges of a command's time, in seconds.
const COMMAND_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The upper bounds of the ranges of a command's time on the way to a worker, in seconds. The last is the age
/// at which a command is too late.
const QUEUE_SECONDS: [f64; 10] = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Everything that is counted.
pub struct Numbers {
    /// Events taken, each message of a batch for itself.
    pub events: Counter,
    /// Chat messages that are no command.
    pub messages: CounterVec,
    /// Raids, subscriptions and gifts.
    pub community_events: CounterVec,
    /// Chat commands and interactions that were run.
    pub commands: CounterVec,
    /// Chat commands that get no answer.
    pub passed: CounterVec,
    /// Commands that were answered with an apology.
    pub errors: CounterVec,
    /// Slash commands, presses and completions.
    pub interactions: CounterVec,
    /// What another version wrote, or nobody who knows the format.
    pub undecodable: Counter,
    /// Actions stored for the gateways.
    pub actions: CounterVec,
    /// Commands taken and not finished.
    pub in_flight: Gauge,
    /// From a gateway reading a chat command to a worker taking it.
    pub queue_seconds: Histogram,
    /// From taking a chat command to its actions being stored.
    pub command_seconds: Histogram,
}

impl Numbers {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            events: metrics.counter("events", "Events taken, each message of a batch for itself"),
            messages: metrics.counter_vec("messages", "Chat messages that are no command", "platform"),
            community_events: metrics.counter_vec(
                "community_events",
                "Raids, subscriptions and gifts",
                "kind",
            ),
            commands: metrics.counter_vec("commands", "Commands that were run", "command"),
            passed: metrics.counter_vec("commands_passed", "Chat commands that get no answer", "reason"),
            errors: metrics
                .counter_vec("errors", "Commands that were answered with an apology", "reason")
                .known(&["failed", "panicked", "late", "poison"]),
            interactions: metrics.counter_vec(
                "interactions",
                "Slash commands, presses and completions",
                "answer",
            ),
            undecodable: metrics.counter("undecodable", "Messages of another version or shape"),
            actions: metrics.counter_vec("actions", "Actions stored for the gateways", "platform"),
            in_flight: metrics.gauge("in_flight", "Commands taken and not finished"),
            queue_seconds: metrics.histogram(
                "queue_seconds",
                "From a gateway reading a chat command to a worker taking it",
                &QUEUE_SECONDS,
            ),
            command_seconds: metrics.histogram(
                "command_seconds",
                "From taking a chat command to its actions being stored",
                &COMMAND_SECONDS,
            ),
        }
    }
}
