//! What happens on the local Twitch beside talk, and its troubles.

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Control,
    reply::{Body, Refused},
};
use crate::{
    feed::Platform,
    people::Person,
    twitch::{Change, Refusal, Settings, Standing, Twitch},
};

/// Why EventSub subscriptions can end. Source: EventSub reference, "Revoking your subscription".
const REVOCATIONS: [&str; 3] = ["authorization_revoked", "user_removed", "version_removed"];

pub fn router() -> Router<Control> {
    Router::new()
        .route("/sandbox/twitch/faults", get(faults).put(set_faults))
        .route("/sandbox/twitch/certificate", get(certificate))
        .route("/sandbox/twitch/{what}", post(happen))
}

async fn faults(State(control): State<Control>) -> Json<Settings> {
    Json(control.twitch.faults().get())
}

/// Turns the knobs that are named and leaves the others.
async fn set_faults(State(control): State<Control>, Body(change): Body<Change>) -> Json<Settings> {
    Json(control.twitch.faults().set(change))
}

async fn certificate(State(control): State<Control>) -> String {
    control.twitch.tls_certificate_pem()
}

/// `POST /sandbox/twitch/{what}`: the last part of the path chooses the variant, the body fills it.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
enum Happening {
    /// A raid arrives.
    Raid { channel: Option<String>, viewers: u32 },
    /// Somebody subscribes.
    Subscribe { channel: Option<String>, person: Person },
    /// Somebody subscribes again, perhaps with a text.
    Resub {
        channel: Option<String>,
        person: Person,
        months: u16,
        #[serde(default)]
        text: String,
    },
    /// Somebody gives subscriptions: one to a person, or several to whoever.
    Gift { channel: Option<String>, person: Person, to: Option<Person>, count: Option<u32> },
    /// A moderator announces something.
    Announce { channel: Option<String>, person: Person, text: String },
    /// Somebody follows.
    Follow { channel: Option<String>, person: Person },
    /// The stream starts or ends.
    Live { channel: Option<String>, live: bool },
    /// All lines go.
    Clear { channel: Option<String> },
    /// An account may not talk for a while; 0 seconds is for ever.
    Timeout { channel: Option<String>, login: String, seconds: u32 },
    /// It may again.
    Unban { channel: Option<String>, login: String },
    /// One line goes.
    Delete { channel: Option<String>, message: String },
    /// An account becomes moderator, VIP, or neither.
    Standing { channel: Option<String>, login: String, standing: Standing },
    /// Nobody can join or talk in a suspended channel.
    Suspend { channel: Option<String>, suspended: bool },
    /// A NOTICE by its `msg-id`.
    Notice { channel: Option<String>, msg_id: String },
    /// A line exactly as given, to all who joined a channel, or to every client.
    Raw { channel: Option<String>, line: String },
    /// Every connection is cut.
    Drop {},
    /// Every client is told RECONNECT.
    Reconnect {},
    /// Every EventSub socket is closed with a code.
    CloseEventsub { code: u16 },
    /// Every EventSub subscription ends.
    RevokeSubscriptions { status: String },
    /// An access token is no longer known.
    RevokeToken { token: String },
    /// An access token runs out.
    ExpireToken { token: String },
    /// The next Helix requests are answered 429.
    ExhaustHelix {},
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
        .map_err(|error| Refused::bad(format!("cannot do {what} on twitch: {error}")))?;
    let result = match happening.channel() {
        Some(named) => {
            let channel = control.channel(Platform::Twitch, named.as_deref())?;
            in_channel(&control.twitch, &channel, happening)?
        }
        None => everywhere(&control.twitch, happening)?,
    };
    Ok(Json(json!({ "done": true, "result": result })))
}

impl Happening {
    /// The channel as it was named, for those that happen in one.
    fn channel(&self) -> Option<Option<String>> {
        match self {
            Self::Raid { channel, .. }
            | Self::Subscribe { channel, .. }
            | Self::Resub { channel, .. }
            | Self::Gift { channel, .. }
            | Self::Announce { channel, .. }
            | Self::Follow { channel, .. }
            | Self::Live { channel, .. }
            | Self::Clear { channel }
            | Self::Timeout { channel, .. }
            | Self::Unban { channel, .. }
            | Self::Delete { channel, .. }
            | Self::Standing { channel, .. }
            | Self::Suspend { channel, .. }
            | Self::Notice { channel, .. } => Some(channel.clone()),
            _ => None,
        }
    }
}

/// Returns the id of the message that it made, where it made one.
fn in_channel(twitch: &Twitch, channel: &str, happening: Happening) -> Result<Value, Refusal> {
    use Happening as H;
    let id = match happening {
        H::Raid { viewers, .. } => twitch.raid(channel, viewers)?,
        H::Subscribe { person, .. } => twitch.subscribe(channel, person)?,
        H::Resub { person, months, text, .. } => twitch.resub(channel, person, months, &text)?,
        H::Gift { person, to: Some(to), .. } => twitch.gift(channel, person, to)?,
        H::Gift { person, to: None, count, .. } => twitch.gift_many(channel, person, count.unwrap_or(1))?,
        H::Announce { person, text, .. } => twitch.announce(channel, person, &text)?,
        H::Notice { msg_id, .. } => return Ok(json!(twitch.send_notice(channel, &msg_id)?)),
        quiet => {
            match quiet {
                H::Follow { person, .. } => twitch.follow(channel, person)?,
                H::Live { live, .. } => twitch.go_live(channel, live)?,
                H::Timeout { login, seconds, .. } => twitch.timeout(channel, &login, seconds)?,
                H::Unban { login, .. } => twitch.unban(channel, &login)?,
                H::Delete { message, .. } => twitch.delete(channel, &message)?,
                H::Standing { login, standing, .. } => twitch.set_standing(channel, &login, standing)?,
                H::Suspend { suspended, .. } => twitch.suspend(channel, suspended)?,
                H::Clear { .. } => twitch.clear_chat(channel)?,
                _ => {}
            }
            return Ok(Value::Null);
        }
    };
    Ok(json!(id))
}

/// Returns how many it concerned, where that is known.
fn everywhere(twitch: &Twitch, happening: Happening) -> Result<Value, Refused> {
    use Happening as H;
    Ok(match happening {
        H::Raw { channel, line } => json!(twitch.inject_raw(channel.as_deref(), line.as_bytes())?),
        H::RevokeSubscriptions { status } => {
            let known = REVOCATIONS.into_iter().find(|known| *known == status);
            let expected = || Refused::bad(format!("expected a status of {}", REVOCATIONS.join(", ")));
            json!(twitch.revoke_subscriptions(known.ok_or_else(expected)?))
        }
        H::RevokeToken { token } => json!(twitch.revoke_token(&token)),
        H::ExpireToken { token } => json!(twitch.expire_token(&token)),
        other => {
            match other {
                H::Drop {} => twitch.drop_connections(),
                H::Reconnect {} => twitch.reconnect_all(),
                H::CloseEventsub { code } => twitch.close_eventsub(code),
                H::ExhaustHelix {} => twitch.exhaust_helix(),
                H::Mend {} => twitch.faults().clear(),
                _ => {}
            }
            Value::Null
        }
    })
}
