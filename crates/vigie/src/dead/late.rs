//! Whether what a dead letter holds comes too late to be done, and how it is given the present time. The
//! services decide; this only foresees it, so that nobody gives a letter back to see it thrown away.

use bus::Letter;
use protocol::{ACTION_LIFE_MS, Action, COMMAND_LIFE_MS, Event, EventBody};
use serde_json::Value;

use crate::paint;

/// What comes too late, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// A command that was asked so long ago.
    Command {
        /// In milliseconds.
        age_ms: u64,
    },
    /// An action whose time is over since.
    Action {
        /// In milliseconds.
        over_ms: u64,
    },
}

impl Late {
    /// `None` for what may still be done, and for what this build cannot read.
    pub(super) fn of(letter: &Letter, now_ms: u64) -> Option<Self> {
        if let Ok(event) = protocol::decode::<Event>(&letter.payload) {
            let age_ms = now_ms.saturating_sub(event.at_ms);
            let is_late = matches!(event.body, EventBody::Command(_)) && age_ms > COMMAND_LIFE_MS;
            return is_late.then_some(Self::Command { age_ms });
        }
        let action = protocol::decode::<Action>(&letter.payload).ok()?;
        let over_ms = now_ms.saturating_sub(action.expires_at_ms);
        (over_ms > 0).then_some(Self::Action { over_ms })
    }

    /// Why it would be thrown away.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Command { age_ms } => format!(
                "it is a command that was asked {} ago, and workers run none that is older than {} s",
                paint::duration(age_ms / 1000),
                COMMAND_LIFE_MS / 1000
            ),
            Self::Action { over_ms } => format!(
                "its action was to be done by {} ago, and gateways do none that is late",
                paint::duration(over_ms / 1000)
            ),
        }
    }

    /// The payload as if it had happened now; its ids stay, so what was done for them is not done again.
    ///
    /// # Errors
    /// When the payload is no JSON, which it was when it was found to be late.
    pub(super) fn renewed(self, letter: &Letter, now_us: u64) -> serde_json::Result<Vec<u8>> {
        let now_ms = now_us / 1000;
        let times = match self {
            Self::Command { .. } => [("at_ms", now_ms), ("received_us", now_us)],
            Self::Action { .. } => {
                [("expires_at_ms", now_ms + ACTION_LIFE_MS), ("cause_received_us", now_us)]
            }
        };
        // Not by its type: fields that this build does not know stay.
        let mut payload: Value = serde_json::from_slice(&letter.payload)?;
        for (field, time) in times {
            payload[field] = time.into();
        }
        serde_json::to_vec(&payload)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;

    const NOW_US: u64 = 1_700_000_100_000_000;
    const NOW_MS: u64 = NOW_US / 1000;

    fn letter(payload: &Value) -> Letter {
        Letter {
            number: 1,
            at: OffsetDateTime::UNIX_EPOCH,
            stream: "EVENTS".to_owned(),
            subject: None,
            id: None,
            reason: None,
            attempts: None,
            trace: None,
            payload: payload.to_string().into(),
        }
    }

    fn event(at_ms: u64, kind: &str) -> Value {
        let message =
            json!({ "id": "9", "channel": "7", "author": { "id": "5", "name": "Max" }, "text": "!ping" });
        let body = match kind {
            "command" => json!({ "command": { "message": message, "prefix": "!" } }),
            _ => json!({ "message": message }),
        };
        json!({ "v": 1, "id": "discord:9", "platform": "discord", "community": "42", "at_ms": at_ms,
                "received_us": at_ms * 1000, "body": body, "new_field": [1] })
    }

    fn action(expires_at_ms: u64) -> Value {
        json!({ "v": 1, "id": "discord:9:0", "platform": "discord", "community": "42", "channel": "7",
                "cause": "discord:9", "cause_received_us": 1, "expires_at_ms": expires_at_ms,
                "delivery": "at_most_once", "body": { "send": { "content": { "text": "Pong!" } } } })
    }

    #[test]
    fn a_command_is_late_after_a_minute_and_an_action_when_its_time_is_over() {
        let late = |payload: &Value| Late::of(&letter(payload), NOW_MS);
        assert_eq!(late(&event(NOW_MS - 60_000, "command")), None);
        assert_eq!(late(&event(NOW_MS - 60_001, "command")), Some(Late::Command { age_ms: 60_001 }));
        assert_eq!(late(&event(0, "message")), None);
        assert_eq!(late(&action(NOW_MS)), None);
        assert_eq!(late(&action(NOW_MS - 1)), Some(Late::Action { over_ms: 1 }));
        let mut unknown = event(0, "command");
        unknown["v"] = 9.into();
        for payload in [unknown, json!({}), json!("text"), json!(null)] {
            assert_eq!(late(&payload), None, "{payload}");
        }
    }

    #[test]
    fn what_is_renewed_is_in_time_and_otherwise_as_it_was() {
        for (mut payload, fields) in [
            (event(5, "command"), ["at_ms", "received_us"]),
            (action(5), ["expires_at_ms", "cause_received_us"]),
        ] {
            let old = letter(&payload);
            let renewed = Late::of(&old, NOW_MS).unwrap().renewed(&old, NOW_US).unwrap();
            let mut renewed: Value = serde_json::from_slice(&renewed).unwrap();
            assert_eq!(Late::of(&letter(&renewed), NOW_MS), None);
            for field in fields {
                payload[field] = Value::Null;
                renewed[field] = Value::Null;
            }
            assert_eq!(renewed, payload);
        }
    }
}
