//! What people do on the local Discord beside talk, and its troubles.

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Control,
    reply::{Body, Refused},
};
use crate::{
    discord::{Discord, Knobs, Refusal},
    feed::Platform,
    people::Person,
};

pub fn router() -> Router<Control> {
    Router::new()
        .route("/sandbox/discord/faults", get(faults).put(set_faults))
        .route("/sandbox/discord/{what}", post(happen))
}

async fn faults(State(control): State<Control>) -> Json<Knobs> {
    Json(control.discord.faults().get())
}

/// Turns the knobs that are named and leaves the others.
async fn set_faults(
    State(control): State<Control>,
    Body(change): Body<Value>,
) -> Result<Json<Knobs>, Refused> {
    let knobs = control.discord.faults().merge(&change);
    knobs.map(Json).map_err(|error| Refused::bad(format!("expected the knobs of GET: {error}")))
}

/// `POST /sandbox/discord/{what}`: the last part of the path chooses the variant, the body fills it.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
enum Happening {
    /// A line that answers another.
    Reply { person: Person, channel: Option<String>, message: String, text: String },
    /// A line changes.
    Edit { person: Person, channel: Option<String>, message: String, text: String },
    /// A line goes.
    Delete { person: Person, channel: Option<String>, message: String },
    /// An emoji under a line.
    React { person: Person, channel: Option<String>, message: String, emoji: String },
    /// Values of a select menu are chosen.
    Select {
        person: Person,
        channel: Option<String>,
        message: String,
        custom_id: String,
        values: Vec<String>,
    },
    /// The form that an interaction opened is sent.
    Submit { person: Person, interaction: String, values: Map<String, Value> },
    /// Somebody begins to type.
    Typing { person: Person, channel: Option<String> },
    /// Somebody joins a guild.
    Join { person: Person, guild: String },
    /// Somebody leaves it.
    Leave { person: Person, guild: String },
    /// Every connection is cut.
    Drop {},
    /// Every connection is closed with a code.
    Close { code: u16 },
    /// Every client is asked to reconnect (op 7).
    Reconnect {},
    /// Every session is invalid (op 9).
    Invalidate {
        #[serde(default)]
        resumable: bool,
    },
    /// Every client is asked for a heartbeat (op 1).
    Heartbeat {},
    /// A payload exactly as given, to every connection.
    Raw { payload: String },
    /// An event of any name.
    Dispatch { name: String, data: Value },
    /// The token is good again after the day's identifies were used up.
    RenewToken {},
    /// Every knob goes back.
    Mend {},
}

async fn happen(
    State(control): State<Control>,
    Path(what): Path<String>,
    Body(mut body): Body<Value>,
) -> Result<Json<Value>, Refused> {
    let Value::Object(fields) = &mut body else {
        return Err(Refused::bad("expected a JSON object"));
    };
    fields.insert("what".to_owned(), json!(what));
    let happening: Happening = serde_json::from_value(body)
        .map_err(|error| Refused::bad(format!("cannot do {what} on discord: {error}")))?;
    let result = match happening.channel() {
        Some(named) => {
            let channel = control.channel(Platform::Discord, named.as_deref())?;
            in_channel(&control.discord, &channel, happening)?
        }
        None => everywhere(&control.discord, happening)?,
    };
    Ok(Json(json!({ "done": true, "result": result })))
}

impl Happening {
    /// The channel as it was named, for those that happen in one.
    fn channel(&self) -> Option<Option<String>> {
        match self {
            Self::Reply { channel, .. }
            | Self::Edit { channel, .. }
            | Self::Delete { channel, .. }
            | Self::React { channel, .. }
            | Self::Select { channel, .. }
            | Self::Typing { channel, .. } => Some(channel.clone()),
            _ => None,
        }
    }
}

/// Returns the id of what came of it, where something did.
fn in_channel(discord: &Discord, channel: &str, happening: Happening) -> Result<Value, Refusal> {
    use Happening as H;
    match happening {
        H::Reply { person, message, text, .. } => {
            return Ok(json!(discord.reply(person, channel, &message, &text)?));
        }
        H::Select { person, message, custom_id, values, .. } => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            return Ok(json!(discord.select(person, channel, &message, &custom_id, &values)?));
        }
        H::Edit { person, message, text, .. } => discord.edit(person, channel, &message, &text)?,
        H::Delete { person, message, .. } => discord.delete(person, channel, &message)?,
        H::React { person, message, emoji, .. } => discord.react(person, channel, &message, &emoji)?,
        H::Typing { person, .. } => discord.type_in(person, channel)?,
        _ => {}
    }
    Ok(Value::Null)
}

fn everywhere(discord: &Discord, happening: Happening) -> Result<Value, Refused> {
    use Happening as H;
    match happening {
        H::Submit { person, interaction, values } => {
            return Ok(json!(discord.submit(person, &interaction, &values)?));
        }
        H::Join { person, guild } => discord.join(person, &guild)?,
        H::Leave { person, guild } => discord.leave(person, &guild)?,
        H::Close { code } if may_be_sent(code) => discord.close_all(code),
        H::Close { .. } => {
            return Err(Refused::bad("expected a close code that may be sent, such as 4000, 4004 or 1001"));
        }
        H::Dispatch { data, .. } if !data.is_object() => {
            return Err(Refused::bad("expected data that is a JSON object"));
        }
        H::Dispatch { name, data } => discord.dispatch_raw(&name, &data),
        H::Raw { payload } => discord.send_raw(&payload),
        H::Drop {} => discord.drop_connections(),
        H::Reconnect {} => discord.reconnect_all(),
        H::Invalidate { resumable } => discord.invalidate_sessions(resumable),
        H::Heartbeat {} => discord.request_heartbeats(),
        H::RenewToken {} => discord.renew_token(),
        H::Mend {} => discord.faults().set(Knobs::default()),
        _ => {}
    }
    Ok(Value::Null)
}

/// Source: RFC 6455, section 7.4; 1004 to 1006 are never on the wire.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
