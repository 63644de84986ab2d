//! What the service counts. The names are those of `/metrics`, with `vigie_` in front.

use service::{Counter, CounterVec};

use crate::rooms::Gauges;

/// Everything that is counted; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Events given to NATS.
    pub events: Counter,
    /// Commands among them.
    pub commands: Counter,
    /// Lines that are no event, by reason.
    pub passed: CounterVec,
    /// Lines that were not read, by reason.
    pub rejected: CounterVec,
    /// CLEARCHAT and CLEARMSG: what moderators took away.
    pub cleared: Counter,
    /// Connections that ended, by cause.
    pub disconnects: CounterVec,
    /// Times that reading waited for NATS.
    pub stalls: Counter,
    /// Messages that Twitch took, by way.
    pub sent: CounterVec,
    /// Times that the API failed and chat was used instead.
    pub api_failures: Counter,
    /// What stands now.
    pub rooms: Gauges,
}

impl Stats {
    /// Registers everything.
    #[must_use]
    pub fn new(metrics: &service::Metrics) -> Self {
        Self {
            events: metrics.counter("events", "Events given to NATS"),
            commands: metrics.counter("commands", "Chat commands among the events"),
            passed: metrics.counter_vec("lines_passed", "Chat lines that are no event", "reason"),
            rejected: metrics.counter_vec("lines_rejected", "Lines that could not be read", "reason"),
            cleared: metrics.counter("messages_cleared", "Lines by which moderators removed messages"),
            disconnects: metrics.counter_vec("disconnects", "Connections to Twitch that ended", "cause"),
            stalls: metrics.counter("intake_stalls", "Times that reading chat waited for NATS"),
            sent: metrics.counter_vec("messages_sent", "Chat messages that Twitch took", "way"),
            api_failures: metrics
                .counter("api_failures", "Times that Twitch's API failed, and chat was used instead"),
            rooms: Gauges {
                joined: metrics.gauge("channels_joined", "Channels that are joined"),
                refused: metrics.gauge("channels_refused", "Channels that Twitch does not let the bot join"),
                communities: metrics.gauge("communities", "Channels that the bot is in"),
                connections: metrics.gauge("connections", "Connections to Twitch that are up"),
            },
        }
    }
}
