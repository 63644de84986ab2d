//! What people do on the local Discord beside talk, and its troubles.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Control,
    reply::{Body, Chosen, Refused, done_with},
};
use crate::{discord::Knobs, feed::Platform, people::Person};

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

/// Returns the id of what came of it, where something did.
async fn happen(
    State(control): State<Control>,
    Chosen(happening): Chosen<Happening>,
) -> Result<Json<Value>, Refused> {
    use Happening as H;
    let discord = &control.discord;
    let at = |named: Option<String>| control.channel(Platform::Discord, named.as_deref());
    let result = match happening {
        H::Reply { person, channel, message, text } => {
            json!(discord.reply(person, &at(channel)?, &message, &text)?)
        }
        H::Edit { person, channel, message, text } => {
            json!(discord.edit(person, &at(channel)?, &message, &text)?)
        }
        H::Delete { person, channel, message } => json!(discord.delete(person, &at(channel)?, &message)?),
        H::React { person, channel, message, emoji } => {
            json!(discord.react(person, &at(channel)?, &message, &emoji)?)
        }
        H::Select { person, channel, message, custom_id, values } => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            json!(discord.select(person, &at(channel)?, &message, &custom_id, &values)?)
        }
        H::Submit { person, interaction, values } => json!(discord.submit(person, &interaction, &values)?),
        H::Typing { person, channel } => json!(discord.type_in(person, &at(channel)?)?),
        H::Join { person, guild } => json!(discord.join(person, &guild)?),
        H::Leave { person, guild } => json!(discord.leave(person, &guild)?),
        H::Drop {} => json!(discord.drop_connections()),
        H::Close { code } if may_be_sent(code) => json!(discord.close_all(code)),
        H::Close { .. } => {
            return Err(Refused::bad("expected a close code that may be sent, such as 4000, 4004 or 1001"));
        }
        H::Reconnect {} => json!(discord.reconnect_all()),
        H::Invalidate { resumable } => json!(discord.invalidate_sessions(resumable)),
        H::Heartbeat {} => json!(discord.request_heartbeats()),
        H::Raw { payload } => json!(discord.send_raw(&payload)),
        H::Dispatch { data, .. } if !data.is_object() => {
            return Err(Refused::bad("expected data that is a JSON object"));
        }
        H::Dispatch { name, data } => json!(discord.dispatch_raw(&name, &data)),
        H::RenewToken {} => json!(discord.renew_token()),
        H::Mend {} => json!(discord.faults().set(Knobs::default())),
    };
    Ok(done_with(&result))
}

/// Source: RFC 6455, section 7.4; 1004 to 1006 are never on the wire.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
