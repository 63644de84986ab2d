//! One event, action or outcome as a line.

use bus::Incoming;
use protocol::{
    Action, ActionBody, Batch, CommunityId, Content, DecodeError, Event, EventBody, Outcome, OutcomeBody,
    Platform,
};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};

use crate::paint::{self, Paint};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something happened.
    Event,
    /// Something is to be done.
    Action,
    /// Something was done, or not.
    Outcome,
}

impl Kind {
    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Event, Self::Action, Self::Outcome].into_iter().find(|kind| kind.as_str() == name)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Action => "action",
            Self::Outcome => "outcome",
        }
    }
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it is about.
    pub what: Kind,
    /// `command`, `reply`, `sent`, ...
    pub kind: &'static str,
    /// Where.
    pub platform: Platform,
    /// Where.
    pub community: CommunityId,
    at_ms: u64,
    text: String,
    trace: String,
    payload: Value,
}

impl Line {
    /// Reads what came in; a batch becomes many lines, and what is none of the three becomes none.
    ///
    /// # Errors
    /// [`DecodeError`] when it is of another version or shape.
    pub(crate) fn read(incoming: &Incoming) -> Result<Vec<Self>, DecodeError> {
        let trace = service::trace::id(incoming.trace.as_deref().unwrap_or_default()).to_owned();
        let first = incoming.subject.split('.').next().unwrap_or_default();
        Ok(match first {
            "event" => vec![Self::of_event(&incoming.decode::<Event>()?, &trace)],
            "chatter" => {
                incoming.decode::<Batch>()?.events.iter().map(|event| Self::of_event(event, &trace)).collect()
            }
            "action" => vec![Self::of_action(&incoming.decode::<Action>()?, trace)],
            "outcome" => vec![Self::of_outcome(&incoming.decode::<Outcome>()?, trace)],
            _ => Vec::new(),
        })
    }

    fn of_event(event: &Event, trace: &str) -> Self {
        let text = match &event.body {
            EventBody::Message(message) => format!("{}: {}", message.author.name, message.text),
            EventBody::Command(command) => {
                format!("{}: {}", command.message.author.name, command.message.text)
            }
            EventBody::Raid(raid) => format!("{} brings {} viewers", raid.from.name, raid.viewers),
            EventBody::Subscription(sub) => {
                format!("{} subscribed ({}), month {}", sub.user.name, sub.plan, sub.months)
            }
            EventBody::Gift(gift) => {
                let from = gift.from.as_ref().map_or("somebody", |author| &author.name);
                format!("{from} gave {} subscriptions ({})", gift.count, gift.plan)
            }
        };
        Self {
            what: Kind::Event,
            kind: event.body.kind(),
            platform: event.platform,
            community: event.community.clone(),
            at_ms: event.at_ms,
            text,
            trace: trace.to_owned(),
            payload: serde_json::to_value(event).unwrap_or_default(),
        }
    }

    fn of_action(action: &Action, trace: String) -> Self {
        let text = match &action.body {
            ActionBody::Reply { content, .. } | ActionBody::Send { content } => gist(content),
            ActionBody::Edit { message, content } => format!("{message}: {}", gist(content)),
            ActionBody::Delete { message } => message.to_string(),
            ActionBody::React { message, emoji } => format!("{emoji} under {message}"),
        };
        Self {
            what: Kind::Action,
            kind: action.body.kind(),
            platform: action.platform,
            community: action.community.clone(),
            // An action has no time of its own; what caused it was read at this one.
            at_ms: action.cause_received_us / 1000,
            text,
            trace,
            payload: serde_json::to_value(action).unwrap_or_default(),
        }
    }

    fn of_outcome(outcome: &Outcome, trace: String) -> Self {
        let (kind, text) = match &outcome.body {
            OutcomeBody::Sent { platform_us, total_us, .. } => {
                ("sent", format!("{} in all, platform {}", ms(*total_us), ms(*platform_us)))
            }
            OutcomeBody::Queued { wait_ms } => ("queued", format!("for at least {wait_ms} ms")),
            OutcomeBody::Dropped { reason, detail } => ("dropped", format!("{reason}: {detail}")),
        };
        Self {
            what: Kind::Outcome,
            kind,
            platform: outcome.platform,
            community: outcome.community.clone(),
            at_ms: outcome.at_ms,
            text,
            trace,
            payload: serde_json::to_value(outcome).unwrap_or_default(),
        }
    }

    /// For a program.
    pub(crate) fn json(&self) -> String {
        let mut line = json!({ "what": self.what.as_str(), "kind": self.kind, "payload": self.payload });
        if !self.trace.is_empty() {
            line["trace"] = json!(self.trace);
        }
        line.to_string()
    }

    /// For a person.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let what = format!("{:<7} {:<12}", self.what.as_str(), self.kind);
        let what = match (self.what, self.kind) {
            (_, "dropped") => paint.bad(&what),
            (Kind::Event, "message") => paint.faint(&what),
            (Kind::Event, _) => paint.strong(&what),
            (Kind::Outcome, _) => paint.good(&what),
            (Kind::Action, _) => what,
        };
        let place = format!("{:<7} {:<19}", self.platform.as_str(), self.community.as_str());
        let trace =
            if self.trace.is_empty() { String::new() } else { paint.faint(&format!("  {}", self.trace)) };
        format!("{}  {what} {place} {}{trace}", paint.faint(&clock(self.at_ms)), paint::harmless(&self.text))
    }
}

/// What a content says, in one line.
fn gist(content: &Content) -> String {
    let card = content.card.as_ref().map(|card| format!("[{}]", card.title)).unwrap_or_default();
    let separator = if card.is_empty() || content.text.is_empty() { "" } else { " " };
    format!("{}{separator}{card}", content.text)
}

fn ms(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

/// The time of day in UTC, as in the services' logs.
fn clock(unix_ms: u64) -> String {
    let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| unix_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn incoming(subject: &str, payload: &Value, trace: Option<&str>) -> Incoming {
        let bytes = serde_json::to_vec(payload).unwrap();
        Incoming { subject: subject.to_owned(), payload: bytes.into(), trace: trace.map(str::to_owned) }
    }

    fn message(text: &str) -> Value {
        json!({ "id": "9", "channel": "7", "author": { "id": "5", "name": "Max" }, "text": text })
    }

    fn event(body: &Value) -> Value {
        json!({ "v": 1, "id": "discord:9", "platform": "discord", "community": "42",
                "at_ms": 1_700_000_000_123_u64, "received_us": 1_700_000_000_130_000_u64, "body": body })
    }

    fn outcome(body: &Value) -> Value {
        json!({ "v": 1, "action": "discord:9:0", "platform": "discord", "community": "42",
                "at_ms": 1_700_000_000_150_u64, "body": body })
    }

    #[test]
    fn a_command_from_line_to_reply() {
        let command = event(&json!({ "command": { "message": message("!ping\x1b[2J"), "prefix": "!" } }));
        let action = json!({ "v": 1, "id": "discord:9:0", "platform": "discord", "community": "42",
            "channel": "7", "cause": "discord:9", "cause_received_us": 1_700_000_000_130_000_u64,
            "expires_at_ms": 1_700_000_060_000_u64, "delivery": "at_most_once",
            "body": { "reply": { "to": "9", "content": { "text": "Pong!", "card": { "title": "Legs" } } } } });
        let sent = outcome(&json!({ "sent": { "message": "10", "platform_us": 4200, "total_us": 9100 } }));
        let dropped = outcome(&json!({ "dropped": { "reason": "forbidden", "detail": "Missing Access" } }));
        let batch = json!({ "v": 1, "platform": "twitch",
            "events": [event(&json!({ "message": message("hello") })), event(&json!({ "message": message("you") }))] });
        let all = [
            incoming("event.discord.42.command", &command, Some(TRACE)),
            incoming("action.discord.3.42", &action, Some(TRACE)),
            incoming("outcome.discord.42", &sent, Some(TRACE)),
            incoming("outcome.discord.42", &dropped, None),
            incoming("chatter.discord", &batch, None),
        ];
        let lines: Vec<Line> = all.iter().flat_map(|one| Line::read(one).unwrap()).collect();
        let text: Vec<String> = lines.iter().map(|line| line.render(Paint::plain())).collect();
        insta::assert_snapshot!(text.join("\n"));
        insta::assert_snapshot!(lines[2].json());
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_what_is_unknown_is_passed_by() {
        assert!(Line::read(&incoming("event.discord.42.command", &json!({ "v": 7 }), None)).is_err());
        assert!(Line::read(&incoming("control.backup.create", &json!({}), None)).unwrap().is_empty());
    }
}
