//! Which of a service's numbers tell a person most.

use protocol::ServiceStats;

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
    let mut parts: Vec<String> = TELLING
        .iter()
        .filter(|(name, ..)| *name == service.service)
        .filter_map(|(_, metric, one, many)| {
            // Before the first heartbeat there is nothing to tell.
            let value = sum(service, metric).filter(|value| *value > 0 || *metric != HEARTBEAT)?;
            Some(format!("{} {}", grouped(value), if value == 1 { one } else { many }))
        })
        .collect();
    // What is merely off is worth a word here, since the service is ready all the same.
    if service.ready && !service.reason.is_empty() {
        parts.insert(0, service.reason.clone());
    }
    parts.join(", ")
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

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
