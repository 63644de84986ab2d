//! Listens in NATS to what becomes of each line, so that a lost one can be followed: was its event
//! stored, was its reply stored, what was its outcome. While NATS is away it sees nothing, so what it did
//! not see may nevertheless have been.

use bus::{Bus, Incoming, Options};
use protocol::{DropReason, Outcome, OutcomeBody, Platform};
use serde_json::Value;

use super::{
    ledger::{ACTION, EVENT},
    load::Shared,
    stack::Stack,
};

/// Listens for ever.
///
/// # Errors
/// When NATS cannot be reached at the start.
pub async fn listen(stack: &Stack, shared: &Shared) -> anyhow::Result<()> {
    let bus = Bus::connect(Options { url: stack.nats_url.clone(), name: "chaos".to_owned() }).await?;
    let mut events = bus.subscribe("event.>").await?;
    let mut actions = bus.subscribe("action.>").await?;
    let mut outcomes = bus.subscribe("outcome.>").await?;
    let mut dead = bus.subscribe("dead.>").await?;
    loop {
        tokio::select! {
            Some(message) = events.next() => stored(stack, shared, &message, EVENT),
            Some(message) = actions.next() => stored(stack, shared, &message, ACTION),
            Some(message) = outcomes.next() => outcome(stack, shared, &message),
            Some(message) = dead.next() => stored(stack, shared, &message, "dead letter"),
            else => anyhow::bail!("the connection to NATS was closed"),
        }
    }
}

/// The id of an action is that of its event, a colon, and a number.
fn event_of(id: &str) -> &str {
    match id.match_indices(':').nth(1) {
        Some((at, _)) => &id[..at],
        None => id,
    }
}

fn stored(stack: &Stack, shared: &Shared, message: &Incoming, what: &str) {
    let payload: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
    if let Some(id) = payload["id"].as_str() {
        shared.ledger().trace(event_of(id), what.to_owned(), false, stack.now());
    }
}

fn outcome(stack: &Stack, shared: &Shared, message: &Incoming) {
    let Ok(outcome) = message.decode::<Outcome>() else { return };
    let (what, uncertain) = match &outcome.body {
        OutcomeBody::Sent { .. } => ("sent".to_owned(), false),
        OutcomeBody::Queued { wait_ms } => (format!("waits for {wait_ms} ms"), false),
        OutcomeBody::Dropped { reason, detail } => {
            // Whether an API that failed has sent it, it does not say.
            let failed = outcome.platform == Platform::Twitch && *reason == DropReason::Unreachable;
            (format!("dropped as {reason}: {detail}"), failed || *reason == DropReason::Uncertain)
        }
    };
    shared.ledger().trace(event_of(outcome.action.as_str()), what, uncertain, stack.now());
}

#[cfg(test)]
mod tests {
    use super::event_of;

    #[test]
    fn an_action_leads_to_its_event() {
        assert_eq!(event_of("discord:123:0"), "discord:123");
        assert_eq!(event_of("twitch:ab-cd"), "twitch:ab-cd");
    }
}
