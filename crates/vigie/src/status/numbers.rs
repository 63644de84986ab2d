//! Which of a service's numbers tell a person most.

use protocol::ServiceStats;

use crate::paint;

/// How long Discord takes to acknowledge a heartbeat.
const HEARTBEAT: &str = "gateway_latency_ms";

/// A number worth a look: the service, its metric, one of it, several of it. A metric with a label is
/// summed up.
const TELLING: [(&str, &str, &str, &str); 13] = [
    ("discord-gateway", "shards", "shard", "shards"),
    ("discord-gateway", "communities", "community", "communities"),
    ("discord-gateway", HEARTBEAT, "ms heartbeat", "ms heartbeat"),
    ("discord-gateway", "events_total", "event", "events"),
    ("discord-gateway", "commands_total", "command", "commands"),
    ("discord-gateway", "interactions_total", "interaction", "interactions"),
    ("discord-gateway", "actions_total", "action", "actions"),
    ("twitch-gateway", "channels_joined", "channel", "channels"),
    ("twitch-gateway", "events_total", "event", "events"),
    ("twitch-gateway", "commands_total", "command", "commands"),
    ("twitch-gateway", "actions_total", "action", "actions"),
    ("command-worker", "commands_total", "command", "commands"),
    ("command-worker", "interactions_total", "interaction", "interactions"),
];

/// The telling numbers of a service in one line; those of a service that is not known here are left to
/// `--json`.
pub(super) fn of(service: &ServiceStats) -> String {
    // What is switched off is worth a word here, since the service is ready all the same; and then
    // there is nothing to be told of numbers that stay zero.
    let off = service.ready && !service.reason.is_empty();
    let worth = |metric: &str, value: u64| value > 0 || !(off || metric == HEARTBEAT);
    let numbers =
        TELLING.iter().filter(|(name, ..)| *name == service.service).filter_map(|(_, metric, one, many)| {
            let value = sum(service, metric).filter(|value| worth(metric, *value))?;
            Some(format!("{} {}", paint::grouped(value), if value == 1 { one } else { many }))
        });
    let reason = off.then(|| format!("off: {}", service.reason));
    reason.into_iter().chain(numbers).collect::<Vec<_>>().join(", ")
}

/// The value of a metric, or the sum over its label.
fn sum(service: &ServiceStats, metric: &str) -> Option<u64> {
    let labelled = |name: &str| name.strip_prefix(metric).is_some_and(|rest| rest.starts_with('.'));
    let mut values = service
        .metrics
        .iter()
        .filter(|(name, _)| *name == metric || labelled(name))
        .map(|(_, value)| *value)
        .peekable();
    values.peek()?;
    let total = values.sum::<f64>().round();
    // Counters of a bot stay far below 2^53, and no number here is negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let total = total.max(0.0) as u64;
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_is_off_says_so_and_shows_no_zeros() {
        let mut service = ServiceStats {
            v: protocol::VERSION,
            service: "discord-gateway".to_owned(),
            instance: String::new(),
            build: String::new(),
            uptime_s: 0,
            ready: true,
            reason: "discord: DISCORD_TOKEN is not set".to_owned(),
            resident_bytes: 0,
            metrics: [("shards".to_owned(), 0.0), (HEARTBEAT.to_owned(), 0.0)].into(),
        };
        assert_eq!(of(&service), "off: discord: DISCORD_TOKEN is not set");
        service.reason.clear();
        assert_eq!(of(&service), "0 shards");
    }
}
